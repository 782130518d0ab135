//! A disk that isn't mounted looks like an empty folder: what the machine itself says against it.

use super::mountinfo::{Mounts, unescape};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where a machine writes down what is to be mounted where.
#[derive(Debug, Clone)]
pub struct MountTables {
    /// A file as `/etc/fstab`.
    pub fstab: PathBuf,
    /// A folder with systemd's units.
    pub units: PathBuf,
}

impl Default for MountTables {
    fn default() -> Self {
        Self { fstab: "/etc/fstab".into(), units: "/etc/systemd/system".into() }
    }
}

impl MountTables {
    /// Returns the places at which something is to be mounted, each with where that is written. What can't be read says nothing.
    fn places(&self) -> Vec<(PathBuf, PathBuf)> {
        let fstab = std::fs::read(&self.fstab).unwrap_or_default();
        let lines = fstab.split(|&byte| byte == b'\n');
        let mut places: Vec<_> =
            lines.filter_map(place_of).map(|place| (place, self.fstab.clone())).collect();
        for unit in std::fs::read_dir(&self.units).into_iter().flatten().flatten() {
            let path = unit.path();
            if path.extension().is_some_and(|ending| ending == "mount")
                && let Ok(text) = std::fs::read_to_string(&path)
                && let Some(place) = text.lines().find_map(|line| line.trim().strip_prefix("Where="))
            {
                places.push((place.trim().into(), path));
            }
        }
        places
    }
}

/// Returns where a line of `fstab` mounts something.
fn place_of(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    let device = fields.next().filter(|device| !device.starts_with(b"#"))?;
    let place = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    let kind = fields.next().unwrap_or_default();
    (!device.is_empty() && kind != b"swap" && place.is_absolute() && place != Path::new("/")).then_some(place)
}

/// Returns what of the named paths, or of what is captured below them, lies where something is to be mounted and isn't.
pub(super) fn unmounted(
    tables: &MountTables,
    mounts: &Mounts,
    roots: &[PathBuf],
    is_captured: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let mut doubts = Vec::new();
    for (place, written) in tables.places() {
        let concerned = is_captured(&place) || roots.iter().any(|root| root.starts_with(&place));
        let doubt =
            format!("nothing is mounted at {}, where {} has a disk", place.display(), written.display());
        if concerned && mounts.at(&place).is_none() && !doubts.contains(&doubt) {
            doubts.push(doubt);
        }
    }
    doubts
}

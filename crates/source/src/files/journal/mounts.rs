//! What is mounted where the named paths lie: a mount that comes, goes or is replaced changes a tree without any event in it.

use super::Key;
use super::group::{Group, Layout};
use crate::files::mountinfo;
use crate::machine::{device_of, look};
use rustix::fs::{FileType, Statx};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// The mounts that the named paths lie on, and those within them.
#[derive(Debug)]
pub(super) struct Mounts {
    /// Held open: the kernel tells through it of every mount since.
    list: File,
    pub(super) all: Vec<Mount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    line: Vec<u8>,
    place: PathBuf,
    device: u64,
    kind: String,
    /// It may not answer: nobody looks at it here.
    is_distant: bool,
    /// What stands there: a line says which directory was bound there by its name only.
    stands: Option<Key>,
    is_dir: bool,
    /// It lies within a named path, or is the one that a named path lies on.
    holds: bool,
}

impl Mounts {
    pub(super) fn read(paths: &[PathBuf]) -> io::Result<Self> {
        let mut list = File::open("/proc/self/mountinfo")?;
        let mut text = Vec::new();
        list.read_to_end(&mut text)?;
        let mut all = Vec::new();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let known = mountinfo::Mount::parse(line);
            let known = known.ok_or_else(|| io::Error::other("mountinfo makes no sense"))?;
            let mount = Mount {
                line: line.to_owned(),
                is_distant: known.is_distant(),
                place: known.place,
                device: known.device,
                kind: known.kind,
                stands: None,
                is_dir: true,
                holds: false,
            };
            if paths.iter().any(|path| path.starts_with(&mount.place) || mount.place.starts_with(path)) {
                all.push(mount);
            }
        }
        for path in paths {
            // The last of the deepest: a later mount lies over an earlier one.
            let under = all.iter_mut().filter(|mount| path.starts_with(&mount.place));
            if let Some(mount) = under.max_by_key(|mount| mount.place.components().count()) {
                mount.holds = true;
            }
            all.iter_mut().filter(|mount| mount.place.starts_with(path)).for_each(|mount| mount.holds = true);
        }
        for mount in all.iter_mut().filter(|mount| !mount.is_distant) {
            if let Ok(stat) = look(&mount.place) {
                mount.stands = Some(key(&stat));
                mount.is_dir = FileType::from_raw_mode(stat.stx_mode.into()).is_dir();
            }
        }
        Ok(Self { list, all })
    }

    /// Returns whether anything was mounted or unmounted anywhere since these were read.
    pub(super) fn moved(&self) -> bool {
        mountinfo::have_moved(&self.list)
    }

    /// Watches the file systems that can be watched. One that can't is walked at every run, whole.
    pub(super) fn mark(&self, group: &Group) {
        for mount in self.all.iter().filter(|mount| mount.holds) {
            if let Some(layout) = Layout::of(&mount.kind)
                && let Err(error) = group.mark(&mount.place, mount.device, layout)
            {
                tracing::debug!(place = %mount.place.display(), "not watched: {error}");
            }
        }
    }

    /// Returns the directories in which a file is mounted over a file: its own directory, which events tell of, is elsewhere.
    pub(super) fn around_files(&self) -> Vec<Key> {
        let files = self.all.iter().filter(|mount| mount.holds && !mount.is_dir);
        files.filter_map(|mount| Some(key(&look(mount.place.parent()?).ok()?))).collect()
    }
}

pub(super) fn key(stat: &Statx) -> Key {
    Key { device: device_of(stat), inode: stat.stx_ino }
}

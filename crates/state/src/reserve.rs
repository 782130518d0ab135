//! Room that is kept on the disk of the state: where something else has taken all the rest, the state can still be written. What waits on that disk for the vaults
//! would never go otherwise, since that it went must be noted.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, OpenOptions};
use std::io::Result;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What takes the room.
const FILE: &str = "state.reserve";
/// How much it is.
const BYTES: u64 = 4 << 20;
/// With less than this left on the disk it is given up, and as long as there is less than that none is taken.
const LOW_BYTES: u64 = 1 << 20;
const ENOUGH_BYTES: u64 = 64 << 20;

/// Keeps room in the folder of a state, where there is enough. That it can't is no fault.
pub fn keep_room(dir: &Path) {
    let path = dir.join(FILE);
    if path.exists() || free(dir).is_none_or(|free| free < ENOUGH_BYTES) {
        return;
    }
    let take = || -> Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?)
    };
    if take().is_err() {
        let _ = fs::remove_file(&path);
    }
}

/// Gives it up where the disk is nearly full.
pub(crate) fn release(dir: &Path) {
    if free(dir).is_some_and(|free| free < LOW_BYTES) {
        let _ = fs::remove_file(dir.join(FILE));
    }
}

fn free(dir: &Path) -> Option<u64> {
    let stat = statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "mounting is another's work")]
mod tests {
    use super::*;
    use crate::{Expect, Kv, Sqlite};
    use std::process::Command;

    struct Mounted(std::path::PathBuf);

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }

    #[test]
    fn a_state_on_a_full_disk_can_be_written_out_of_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let words = ["-t", "tmpfs", "-o", "size=80m", "testkit"];
        if !Command::new("mount").args(words).arg(dir.path()).status().is_ok_and(|done| done.success()) {
            return;
        }
        let mounted = Mounted(dir.path().to_owned());
        let dir = mounted.0.as_path();
        let state = Sqlite::open(dir).unwrap();
        let fill = || {
            let mut file = OpenOptions::new().create(true).append(true).open(dir.join("other")).unwrap();
            while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        };
        let value = vec![7; 20_000];
        keep_room(dir);
        fill();
        for number in 0..20 {
            let _ = state.put(&format!("a{number}"), &value, Expect::Any).unwrap();
        }
        assert!(!dir.join(FILE).exists());
        // It is taken again only where there is enough.
        keep_room(dir);
        assert!(!dir.join(FILE).exists());
        fs::remove_file(dir.join("other")).unwrap();
        keep_room(dir);
        assert_eq!(fs::metadata(dir.join(FILE)).unwrap().len(), BYTES);
    }
}

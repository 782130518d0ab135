//! A small file system of its own.

use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::path::Path;
use tempfile::TempDir;

/// A file system in memory with room for so many bytes, unmounted when dropped. Takes root.
///
/// It fills up like a disk, and made read-only it refuses root too, whom permissions don't stop.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one with room for `bytes`, rounded up to pages of 4 KiB.
    #[must_use]
    pub fn mount(bytes: u64) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "a test disk is mounted by root: run the tests as root"
        );
        let folder = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={bytes},mode=0755")).unwrap();
        rustix::mount::mount("testkit", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str())
            .expect("mount a tmpfs (in a container: --cap-add SYS_ADMIN)");
        Self { folder }
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes it read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        rustix::mount::mount_remount(self.path(), flags, c"").unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached: a file that some process still holds open must not keep the mount alive.
        let _ = rustix::mount::unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}

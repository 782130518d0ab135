//! The immutable flag, as the kernel's own tools see it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder in which files may carry the immutable flag, which is taken off when this is dropped, or nobody could remove the folder.
/// Takes root.
#[derive(Debug)]
pub struct Flags {
    folder: PathBuf,
}

impl Flags {
    /// Watches over a folder. Make it after the folder's own guard, so that it is dropped before it.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let flags = Self { folder: folder.to_owned() };
        let probe = folder.join("probe");
        std::fs::write(&probe, "").unwrap();
        flags.set(&probe, true);
        flags.set(&probe, false);
        std::fs::remove_file(probe).unwrap();
        flags
    }

    /// Sets the flag of a file, or takes it off.
    pub fn set(&self, file: &Path, on: bool) {
        let status = Command::new("chattr").arg(if on { "+i" } else { "-i" }).arg(file).status();
        assert!(
            status.expect("chattr: apt-get install e2fsprogs").success(),
            "the immutable flag takes root with CAP_LINUX_IMMUTABLE, and a file system that has it: run the tests as root"
        );
    }

    /// Changes a file as nobody can while it carries the flag, which it has again afterwards.
    pub fn lifted(&self, file: &Path, change: impl FnOnce(&Path)) {
        self.set(file, false);
        change(file);
        if file.exists() {
            self.set(file, true);
        }
    }

    /// Returns whether a file carries the flag.
    #[must_use]
    pub fn has(&self, file: &Path) -> bool {
        let output = Command::new("lsattr").arg("-d").arg(file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().contains('i')
    }
}

impl Drop for Flags {
    fn drop(&mut self) {
        let _ = Command::new("chattr").args(["-R", "-f", "-i"]).arg(&self.folder).status();
    }
}

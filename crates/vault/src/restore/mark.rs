//! A mark in the target while a restore is on its way, for the day on which the machine itself dies in its middle.
//!
//! A program that is killed leaves files that are whole, or under a temporary name. A machine that loses its power may leave a file with its
//! name, size and time, and without its content. Whoever finds a mark from before the last start of the machine compares contents.

use crate::BlobId;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

const PREFIX: &str = ".releve-restore-";

/// The mark of one restore.
pub(super) struct Mark {
    dir: Arc<OwnedFd>,
    point: String,
    own: Option<String>,
    /// An earlier restore into this folder was cut off by a crash of the machine.
    pub(super) is_after_crash: bool,
}

impl Mark {
    /// Leaves a mark. Where none can be left, nothing much can be written either, and the restore will say so.
    pub(super) fn leave(dir: Arc<OwnedFd>, tree: &BlobId) -> Self {
        let mut mark = Self { dir, point: tree.short(), own: None, is_after_crash: false };
        let Ok(boot) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return mark };
        let boot: String = boot.chars().filter(char::is_ascii_hexdigit).take(12).collect();
        mark.is_after_crash = mark.all().iter().any(|name| !name.ends_with(&boot));
        let own = format!("{PREFIX}{}-{boot}", mark.point);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::openat(&mark.dir, &own, flags, Mode::RUSR | Mode::WUSR) {
            let _ = File::from(file).sync_all();
            let _ = rustix::fs::fsync(&mark.dir);
            mark.own = Some(own);
        }
        mark
    }

    /// Takes away the own mark, since everything is on the disk, and where the whole point is (`all`) older ones of it as well.
    pub(super) fn remove(self, all: bool) {
        let older = format!("{PREFIX}{}-", self.point);
        let older = self.all().into_iter().filter(|name| all && name.starts_with(&older));
        for name in self.own.iter().cloned().chain(older) {
            let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
        }
    }

    fn all(&self) -> Vec<String> {
        let entries = Dir::read_from(&self.dir).into_iter().flatten().flatten();
        let name = |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok().map(str::to_owned);
        entries.filter_map(name).filter(|name| name.starts_with(PREFIX)).collect()
    }
}

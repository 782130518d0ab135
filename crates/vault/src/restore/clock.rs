//! What the target makes of a time: some file systems know whole seconds only, or every other one, or end in 2038.
//!
//! Nothing is assumed of any: a file without a name is given the time in question, and looked at.

use super::file::temporary_name;
use crate::Timestamp;
use crate::format::write_time;
use crate::mutex::lock;
use rustix::fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// By so much a time may be off on a file system that doesn't know it better, without being told.
const COARSEST: u64 = 2;

/// The file systems that were asked, each with a file to ask by; `None` where none can be made.
#[derive(Default)]
pub(super) struct Clock(Mutex<BTreeMap<u64, Option<OwnedFd>>>);

impl Clock {
    /// Returns whether what stands in this folder has the time `wanted`, as well as its file system can hold it.
    pub(super) fn is_at(&self, dir: &OwnedFd, stat: &Stat, wanted: Timestamp) -> bool {
        let there = mtime(stat);
        there == wanted || self.makes_of(dir, stat.st_dev, wanted) == Some(there)
    }

    fn makes_of(&self, dir: &OwnedFd, device: u64, time: Timestamp) -> Option<Timestamp> {
        let mut asked = lock(&self.0);
        let file = asked.entry(device).or_insert_with(|| nameless(dir)).as_ref()?;
        rustix::fs::futimens(file, &both(time, time)).ok()?;
        rustix::fs::fstat(file).ok().as_ref().map(mtime)
    }
}

/// Returns what is to be told of the time that an entry has, now that its file system has done its best.
pub(super) fn differs(node: Timestamp, stat: &Stat) -> Option<String> {
    let there = mtime(stat);
    (there.seconds.abs_diff(node.seconds) > COARSEST)
        .then(|| format!("time: {} can't be held here, it is now {}", write_time(node), write_time(there)))
}

/// Returns both times of an entry as the kernel takes them.
pub(super) fn both(accessed: Timestamp, modified: Timestamp) -> Timestamps {
    let spec = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: spec(accessed), last_modification: spec(modified) }
}

fn mtime(stat: &Stat) -> Timestamp {
    // A kernel gives less than a billion.
    Timestamp { seconds: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(u32::MAX) }
}

/// Returns an open file that nobody sees, in this folder.
fn nameless(dir: &OwnedFd) -> Option<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags | OFlags::TMPFILE, mode).ok().or_else(|| {
        let name = temporary_name();
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, &name, flags, mode).ok()?;
        let _ = rustix::fs::unlinkat(dir, &name, AtFlags::empty());
        Some(file)
    })
}

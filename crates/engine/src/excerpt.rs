//! A part of a system as SQL, out of a point that can only be restored whole: restored into a room of its own, cut out there, and the room
//! removed, whatever became of it.

use crate::recover::{Hands, put_back};
use crate::{Error, Result, source_of};
use plan::{Runbook, StepKind, SystemName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use source::{Cutting, Excerpt};
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault::Progress;
use vault::restore::{RestoreOptions, restore};

/// What the rooms are called: with the system, and the process that made it.
const PREFIX: &str = "releve-sql-";
/// The file that whoever uses a room keeps locked.
const LOCK: &str = "lock";
/// How long what a killed run has left may take to end, before it is killed too.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A folder for a point on its way, gone with its owner.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    /// Locked for as long as somebody works here, which ends with him.
    _lock: File,
}

impl Room {
    /// Makes one below `work`, and clears what killed runs have left there: their servers, and their folders.
    pub fn make(work: &Path, system: &SystemName, told: &dyn Fn(&str)) -> Result<Self> {
        clear(work, told);
        let path = work.join(format!("{PREFIX}{system}-{}", std::process::id()));
        let wrong =
            |error: std::io::Error| Error::new(format!("make the folder {}: {error}", path.display()));
        fs::create_dir_all(work).map_err(wrong)?;
        // Whoever runs the server must get through, and see nothing.
        let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
        DirBuilder::new().mode(mode).create(&path).map_err(wrong)?;
        let lock = File::create_new(path.join(LOCK)).map_err(wrong)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| wrong(error.into()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns where a runbook has to restore to.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Restores what the runbook says into the room and writes what is wanted of it. Returns what that is, for a person. After an error `out` may
/// have got a part. `is_over` tells that nobody waits any more.
pub fn excerpt(
    book: &Runbook,
    hands: &Hands<'_>,
    room: &Room,
    wanted: &Excerpt,
    out: &mut dyn Write,
    is_over: &(dyn Fn() -> bool + Sync),
) -> Result<String> {
    if let Some(blocker) = book.blockers.first() {
        return Err(Error::new(blocker.clone()));
    }
    let entry = book.systems.first().ok_or_else(|| Error::new("no system is named"))?;
    let name = &entry.system;
    let system =
        hands.plan.systems.get(name).ok_or_else(|| Error::new(format!("there is no system `{name}`")))?;
    let source = source_of(hands.plan, system, hands.secrets)?;
    let cutter = source.excerpts().ok_or_else(|| Error::new("nothing of it can be had as SQL"))?;
    let to = room.root();
    // Hundreds of gigabytes are not fetched for a server that can't run here.
    let surveyed = hands.survey.point(&entry.choice.point.id);
    let point = &surveyed.ok_or_else(|| Error::new("the point has vanished"))?.point;
    let vaults: Vec<_> =
        hands.vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let probe = RestoreOptions {
        only: vec![cutter.probe()],
        roots: point.snapshot.paths.iter().map(PathBuf::from).collect(),
        ..RestoreOptions::new(&to)
    };
    restore(&vaults, point.tree, &probe, &Arc::new(Progress::default()))?;
    cutter.check(&to)?;
    let (report, _, _) =
        put_back(entry, system, &StepKind::Restore, book, hands, &Arc::new(Progress::default()))?;
    if !report.is_whole() {
        let why = crate::recover::findings(&report).join("; ");
        return Err(Error::new(format!("the point did not come back whole: {why}"))
            .help("take another one: --point ID"));
    }
    if is_over() {
        return Err(Error::new("stopped"));
    }
    let told = |text: &str| hands.observer.event(Some(name), text);
    let cutting = Cutting { to: &to, room: &room.path.join("s"), wanted, told: &told, is_over };
    Ok(cutter.write(&cutting, out)?)
}

/// Removes the rooms in which nobody works any more.
fn clear(work: &Path, told: &dyn Fn(&str)) {
    for entry in fs::read_dir(work).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_room = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // In a folder for everybody somebody else may have made one of this name.
        let is_ours = entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        if !is_room || !is_ours {
            continue;
        }
        let locked = File::open(path.join(LOCK)).ok();
        let is_used = match &locked {
            Some(lock) => flock(lock, FlockOperation::NonBlockingLockExclusive).is_err(),
            // Made in this instant by another run, or left by one that came no further.
            None => entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|made| made.elapsed().is_ok_and(|age| age < END_WITHIN)),
        };
        if is_used {
            continue;
        }
        told(&format!("removing {}, which a run that was killed has left", path.display()));
        end_all_in(&path);
        let _ = fs::remove_dir_all(&path);
    }
}

/// Ends the processes that work in a folder: at once, but so that they can tidy up after themselves.
fn end_all_in(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    let processes: Vec<OwnedFd> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Looked at when the number can't become another's any more without our noticing.
            fs::read_link(entry.path().join("cwd")).ok()?.starts_with(&folder).then_some(process)
        })
        .collect();
    let until = Instant::now() + END_WITHIN;
    for process in &processes {
        let _ = pidfd_send_signal(process, Signal::QUIT);
    }
    for process in &processes {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref());
        if !matches!(ended, Ok(1..)) {
            let _ = pidfd_send_signal(process, Signal::KILL);
            let _ =
                poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_has_left_is_removed_and_what_another_uses_is_not() {
        let work = tempfile::tempdir().unwrap();
        let left = work.path().join("releve-sql-shop-1");
        fs::create_dir(&left).unwrap();
        File::create(left.join(LOCK)).unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("600").current_dir(&left).spawn().unwrap();
        let used = work.path().join("releve-sql-shop-2");
        fs::create_dir(&used).unwrap();
        let lock = File::create(used.join(LOCK)).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        fs::create_dir(work.path().join("other")).unwrap();
        let room = Room::make(work.path(), &"shop".into(), &|_| {}).unwrap();
        assert!(!sleeper.wait().unwrap().success());
        assert!(!left.exists() && used.exists() && work.path().join("other").exists());
        let path = room.path.clone();
        assert!(path.exists());
        drop(room);
        assert!(!path.exists());
    }
}

//! Lock files, as restic understands them: anyone may share a repository, unless someone has it for himself.
//!
//! A lock is refreshed every five minutes. One whose process is gone is stale, and where that can't be seen one that was not refreshed for half an hour: whoever meets it removes it, and the holder, should he come back, sees that he lost it.

use crate::store::listing;
use crate::{Error, FileId, FileKind, Kind, Repository, Result};
use jiff::Timestamp;
use process::{Life, Process};
use serde::{Deserialize, Serialize};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// As restic: a live holder refreshes six times before anyone may think him dead.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);
const STALE_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);
/// Since its last sign a lock is relied on for so long without looking.
const SURE_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(20);
/// A lock that is from so far in the future was written by a clock that was wrong, and would never grow old.
const AHEAD_MAX: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How a repository is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// To read or to add: others may do so too.
    Shared,
    /// To remove: nobody else may be there.
    Exclusive,
}

/// Who holds the lock, as others are told.
#[derive(Debug, Clone)]
pub struct Holder {
    /// This machine's name.
    pub hostname: String,
    /// Who runs us.
    pub username: String,
}

/// A held lock. Dropping it removes the file.
#[derive(Debug)]
pub struct Lock {
    guard: Guard,
    stop: Option<Sender<()>>,
    refresher: Option<JoinHandle<()>>,
}

/// Asks whether a lock is still held: a machine that slept, or lost its network, comes back to a vault in which others did not wait.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) repository: Arc<Repository>,
    kind: LockKind,
    holder: Holder,
    /// The lock's file, and when it was written.
    file: Arc<Mutex<(FileId, Timestamp)>>,
}

impl Guard {
    /// Returns an error unless the lock is held, for long enough to do one more thing. Called before whatever relies on it.
    pub(crate) fn check(&self) -> Result<()> {
        let written = crate::mutex::lock(&self.file).1;
        let age = Timestamp::now().duration_since(written);
        if age >= jiff::SignedDuration::ZERO && age < SURE_FOR {
            return Ok(());
        }
        self.refresh()
    }

    /// Puts a new file in the old one's place, if that is still there: nobody sees a gap.
    fn refresh(&self) -> Result<()> {
        let mut file = crate::mutex::lock(&self.file);
        let store = self.repository.store();
        if store.size(FileKind::Lock, &file.0.to_string())?.is_none() {
            let what = "nobody: our own lock was removed while we gave no sign; what was begun is begun anew";
            return Err(Error::new(format!("lock {}", self.repository.address()), Kind::Locked(what.into())));
        }
        let (new, now) = (write(&self.repository, self.kind, &self.holder)?, Timestamp::now());
        let _ = store.remove(FileKind::Lock, &file.0.to_string());
        *file = (new, now);
        Ok(())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct WireLock {
    time: Timestamp,
    exclusive: bool,
    hostname: String,
    username: String,
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    /// Which process exactly, for us alone: restic passes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<String>,
}

impl WireLock {
    fn is_stale(&self, here: &str, now: Timestamp) -> bool {
        let us = Process::this();
        let process = self.process.as_ref().and_then(|process| process.parse::<Process>().ok());
        match process.map(|process| process.life(us)) {
            Some(Life::Gone) => return true,
            // Whatever its clock said, or ours says: it sees by itself when it has lost it.
            Some(Life::Lives) => return false,
            Some(Life::Unknown) | None => {}
        }
        let age = now.duration_since(self.time);
        if age > STALE_AFTER || age < -AHEAD_MAX {
            return true;
        }
        // As restic does: a name and a number are all that it has. Ours says more, and what can't be seen from here may live.
        let on_this_machine = self.process.is_none() && self.hostname == here;
        on_this_machine && self.pid != std::process::id() && !is_alive(self.pid)
    }
}

fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return true };
    // EPERM means that it is there and not ours.
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

impl Lock {
    /// Takes a lock, after removing stale ones. [`Kind::Locked`] says who is in the way.
    pub fn take(repository: &Arc<Repository>, kind: LockKind, holder: &Holder) -> Result<Self> {
        check_conflicts(repository, kind, holder, None)?;
        let name = match write(repository, kind, holder) {
            // Whoever makes room needs a little of it first.
            Err(error) if kind == LockKind::Exclusive && error.is_full() => {
                if !repository.store().use_reserve()? {
                    return Err(error);
                }
                write(repository, kind, holder)?
            }
            other => other?,
        };
        // Two may have looked at the same instant: now that both files are there, both look again, and an exclusive one yields.
        if let Err(error) = check_conflicts(repository, kind, holder, Some(name)) {
            let _ = repository.store().remove(FileKind::Lock, &name.to_string());
            return Err(error);
        }
        let file = Arc::new(Mutex::new((name, Timestamp::now())));
        let guard = Guard { repository: Arc::clone(repository), kind, holder: holder.clone(), file };
        let (stop, stopped) = channel();
        let refreshed = guard.clone();
        let refresher = std::thread::spawn(move || {
            while stopped.recv_timeout(REFRESH_EVERY) == Err(RecvTimeoutError::Timeout) {
                // A vault that is out of reach now is tried again in five minutes; whoever relies on the lock asks first.
                let _ = refreshed.refresh();
            }
            let name = crate::mutex::lock(&refreshed.file).0;
            let _ = refreshed.repository.store().remove(FileKind::Lock, &name.to_string());
        });
        Ok(Self { guard, stop: Some(stop), refresher: Some(refresher) })
    }

    /// Returns what asks whether the lock is still held.
    pub(crate) fn guard(&self) -> Guard {
        self.guard.clone()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(refresher) = self.refresher.take() {
            let _ = refresher.join();
        }
    }
}

/// Returns whether this is what a lock says, once it is opened.
pub(crate) fn is_lock(json: &[u8]) -> bool {
    serde_json::from_slice::<WireLock>(json).is_ok()
}

fn write(repository: &Repository, kind: LockKind, holder: &Holder) -> Result<FileId> {
    let lock = WireLock {
        time: Timestamp::now(),
        exclusive: kind == LockKind::Exclusive,
        hostname: holder.hostname.clone(),
        username: holder.username.clone(),
        pid: std::process::id(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        process: Some(Process::this().to_string()),
    };
    repository.write_sealed(FileKind::Lock, &lock)
}

fn check_conflicts(
    repository: &Repository,
    kind: LockKind,
    holder: &Holder,
    own: Option<FileId>,
) -> Result<()> {
    for listed in listing(repository.store(), FileKind::Lock)? {
        if own.is_some_and(|own| own.to_string() == listed.name) {
            continue;
        }
        let json = match repository.read_sealed(FileKind::Lock, &listed.name) {
            Ok(json) => json,
            Err(error) if error.is_not_found() => continue,
            // A lock that makes no sense excludes nobody; one that we may not read may exclude us.
            Err(error) if matches!(error.kind, Kind::Damaged(_)) => continue,
            Err(error) => return Err(error),
        };
        let Ok(other) = serde_json::from_slice::<WireLock>(&json) else { continue };
        if other.is_stale(&holder.hostname, Timestamp::now()) {
            let _ = repository.store().remove(FileKind::Lock, &listed.name);
        } else if other.exclusive || kind == LockKind::Exclusive {
            let who = format!(
                "{}@{} (process {}) since {}; it is taken for dead when it has ended, and where that can't be seen half an hour after its last sign",
                other.username, other.hostname, other.pid, other.time
            );
            return Err(Error::new(format!("lock {}", repository.address()), Kind::Locked(who)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Password, store};

    fn held() -> (tempfile::TempDir, Arc<Repository>, Lock) {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("file://{}", folder.path().join("vault").display());
        let place = store::open(&address, &store::Credentials::default()).unwrap();
        let vault = Repository::create(place, &Password::new(b"x".to_vec()), "here", Timestamp::UNIX_EPOCH);
        let vault = Arc::new(vault.unwrap());
        let holder = Holder { hostname: "here".into(), username: "me".into() };
        let lock = Lock::take(&vault, LockKind::Shared, &holder).unwrap();
        (folder, vault, lock)
    }

    /// As a machine that slept for an hour sees it.
    fn sleep(lock: &Lock) {
        let hour = jiff::SignedDuration::from_hours(1);
        crate::mutex::lock(&lock.guard.file).1 -= hour;
    }

    #[test]
    fn one_is_stale_when_its_process_is_gone_and_never_while_it_lives() {
        let lock = |process: Option<&str>, pid: u32, hours: i64| WireLock {
            time: Timestamp::UNIX_EPOCH - jiff::SignedDuration::from_hours(hours),
            exclusive: true,
            hostname: "here".into(),
            username: "me".into(),
            pid,
            uid: 0,
            gid: 0,
            process: process.map(str::to_owned),
        };
        let us = Process::this().to_string();
        let stale = |lock: WireLock| lock.is_stale("here", Timestamp::UNIX_EPOCH);
        assert!(!stale(lock(Some(&us), 1, 1000)) && !stale(lock(Some(&us), 1, -1000)), "a clock has jumped");
        let (before, namespace) = us.rsplit_once('/').unwrap();
        let earlier = format!("{}/1/{namespace}", before.rsplit_once('/').unwrap().0);
        assert!(stale(lock(Some(&earlier), std::process::id(), 0)), "the number is another's now");
        // Another machine, or a container that can't be seen, although it calls itself as we do.
        assert!(!stale(lock(Some("other/boot/7/8/9"), i32::MAX as u32, 0)));
        assert!(stale(lock(Some("other/boot/7/8/9"), i32::MAX as u32, 1)));
        // As restic writes them.
        assert!(stale(lock(None, i32::MAX as u32, 0)) && !stale(lock(None, 1, 0)) && stale(lock(None, 1, 1)));
    }

    #[test]
    fn a_lock_that_nobody_removed_meanwhile_is_held_on() {
        let (_folder, vault, lock) = held();
        sleep(&lock);
        lock.guard().check().unwrap();
        assert_eq!(vault.store().list(FileKind::Lock).unwrap().len(), 1);
        drop(lock);
        assert_eq!(vault.store().list(FileKind::Lock).unwrap().len(), 0);
    }

    #[test]
    fn a_lock_that_was_taken_for_dead_is_lost_and_what_relied_on_it_ends() {
        let (_folder, vault, lock) = held();
        let name = vault.store().list(FileKind::Lock).unwrap().remove(0).name;
        vault.store().remove(FileKind::Lock, &name).unwrap();
        sleep(&lock);
        let writer = crate::packer::PackWriter::new(&lock);
        let sink = [&writer];
        let mut press = crate::sink::Press::new();
        crate::sink::Sink::new(&sink).put(crate::BlobKind::Data, b"content", &mut press);
        let error = writer.finish().unwrap_err();
        assert!(matches!(error.kind, Kind::Locked(_)), "{error}");
        assert!(vault.store().list(FileKind::Index).unwrap().is_empty(), "nothing may rely on it");
    }
}

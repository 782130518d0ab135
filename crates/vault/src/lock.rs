//! Lock files, as restic understands them: anyone may share a repository, unless someone has it for himself.
//!
//! A lock is refreshed every five minutes, by a new file. One whose process is gone is dead. Where that can't be seen, one that was not refreshed for
//! half an hour may be, and clocks may be wrong: it is dead once it was seen not to change for longer than a refresh takes, by what we have waited alone.
//! Whoever meets a dead one removes it. The holder, should he come back, sees that he lost it.

use crate::store::listing;
use crate::{Error, FileId, FileKind, Kind, Repository, Result};
use jiff::Timestamp;
use plain::Name;
use process::{Life, Process};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// As restic: a live holder refreshes six times before anyone may think him dead.
const REFRESH_EVERY: Duration = Duration::from_secs(5 * 60);
/// A lock is doubted whose sign is so far from now, before it or after it: a clock that is ahead writes locks that would never grow old.
const STALE_AFTER: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);
/// A lock that is doubted is dead once it was seen not to change for so long: a refresh, and the time that it may take.
const UNCHANGED_FOR: Duration = Duration::from_secs(6 * 60);
/// One that is older than this by its own clock and by the store's is dead at once.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// Since its last sign a lock is relied on for so long without looking.
const SURE_FOR: jiff::SignedDuration = jiff::SignedDuration::from_mins(20);

/// When this process saw a lock first, by a clock that nobody sets. A lock's file never changes, and nobody can foresee its name: the same name is the
/// same sign, in whatever vault, and however often that was opened meanwhile.
static SEEN: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

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

/// Is told who is in the way, and for how long it has been waited.
type Told = dyn Fn(&str, Duration) -> bool + Send + Sync;

/// How long a lock that is in the way is waited for, and who hears of it.
#[derive(Clone)]
pub struct Wait {
    /// In all.
    pub within: Duration,
    /// Between two looks, about.
    pub every: Duration,
    /// Is told at each look who is in the way, and for how long it has been waited. `false` ends the waiting.
    pub tell: Arc<Told>,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({:?})", self.within)
    }
}

/// What this process knows of the locks of a vault.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Locks that are in nobody's way and stay there: they aren't read again.
    passed: HashSet<String>,
    /// What the store said when it refused to remove one.
    pub(crate) refused: Option<String>,
    pub(crate) wait: Option<Wait>,
    /// How long a doubted lock must not have changed, where that isn't as long as usual.
    pub(crate) unchanged_for: Option<Duration>,
    /// Doubted locks that are not old by the store's clock, as far as it tells.
    not_old: HashSet<String>,
}

impl Repository {
    /// Sets how long whoever wants a lock here waits for those who are in his way; unless it is set, not at all.
    pub fn wait_for_locks(&self, wait: Wait) {
        crate::mutex::lock(&self.locks).wait = Some(wait);
    }

    /// Sets how long a lock that looks too old must have been seen not to change until it is believed dead. Less than its holder takes to refresh it is for
    /// those who know that he is dead.
    pub fn believe_dead_after(&self, unchanged: Duration) {
        crate::mutex::lock(&self.locks).unchanged_for = Some(unchanged);
    }

    /// Returns what the store said when it refused to remove a lock, if it did: these credentials have no right to delete.
    #[must_use]
    pub fn refuses_removal(&self) -> Option<String> {
        crate::mutex::lock(&self.locks).refused.clone()
    }
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
        if age < jiff::SignedDuration::ZERO || age >= SURE_FOR {
            return self.refresh();
        }
        match self.kind {
            LockKind::Shared => Ok(()),
            // Whoever removes must be alone now, not twenty minutes ago.
            LockKind::Exclusive => self.look(),
        }
    }

    /// Looks whether the lock is still there, whatever any clock says: others may have taken it for dead by theirs. Called before a point is written.
    pub(crate) fn look(&self) -> Result<()> {
        self.is_there(&crate::mutex::lock(&self.file).0)
    }

    fn is_there(&self, file: &FileId) -> Result<()> {
        match self.repository.store().size(FileKind::Lock, &file.to_string())? {
            Some(_) => Ok(()),
            None => Err(Error::new(format!("lock {}", self.repository.address()), Kind::LockLost)),
        }
    }

    /// Puts a new file in the old one's place, if that is still there: nobody sees a gap.
    fn refresh(&self) -> Result<()> {
        let mut file = crate::mutex::lock(&self.file);
        self.is_there(&file.0)?;
        let (new, now) = (write(&self.repository, self.kind, &self.holder)?, Timestamp::now());
        remove(&self.repository, &file.0.to_string());
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

/// What a lock says of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Lives,
    Dead,
    /// Nobody can see him from here, and by the clocks he has given no sign for too long.
    Doubtful,
}

impl WireLock {
    fn sign(&self, here: &str, now: Timestamp) -> Sign {
        let us = Process::this();
        let process = self.process.as_ref().and_then(|process| process.parse::<Process>().ok());
        match process.map(|process| process.life(us)) {
            Some(Life::Gone) => return Sign::Dead,
            // Whatever its clock said, or ours says: it sees by itself when it has lost it.
            Some(Life::Lives) => return Sign::Lives,
            Some(Life::Unknown) | None => {}
        }
        // As restic does: a name and a number are all that it has. Ours says more, and what can't be seen from here may live.
        let on_this_machine = self.process.is_none() && self.hostname == here;
        if on_this_machine && self.pid != std::process::id() && !is_alive(self.pid) {
            return Sign::Dead;
        }
        if now.duration_since(self.time).abs() > STALE_AFTER { Sign::Doubtful } else { Sign::Lives }
    }
}

/// What becomes of a lock that is doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Dead,
    /// It may be, and only who has a lock of his own there can tell by the store's clock; without one it is watched for so long.
    ToBeSeen(Duration),
    /// For so long it must not change yet.
    Watched(Duration),
}

/// Returns what becomes of this lock, which is doubted. `own` is our own lock there: what the store's clock says of the one shows beside the other.
fn doubt(repository: &Repository, name: &str, lock: &WireLock, now: Timestamp, own: Option<FileId>) -> Doubt {
    let first = {
        let mut seen = crate::mutex::lock(&SEEN);
        if !seen.contains_key(name) {
            seen.retain(|_, first| first.elapsed() < OLD);
        }
        *seen.entry(name.to_owned()).or_insert_with(Instant::now)
    };
    let mut known = crate::mutex::lock(&repository.locks);
    let left = known.unchanged_for.unwrap_or(UNCHANGED_FOR).saturating_sub(first.elapsed());
    if left.is_zero() {
        return Doubt::Dead;
    }
    let is_old = Duration::try_from(now.duration_since(lock.time)).is_ok_and(|age| age > OLD);
    if !is_old || known.not_old.contains(name) {
        return Doubt::Watched(left);
    }
    let Some(own) = own else { return Doubt::ToBeSeen(left) };
    let written = |name: &str| repository.store().written(FileKind::Lock, name);
    let age = written(&own.to_string()).zip(written(name)).map(|(own, other)| own.duration_since(other));
    match age {
        Some(Ok(age)) if age > OLD => Doubt::Dead,
        _ => {
            known.not_old.insert(name.to_owned());
            Doubt::Watched(left)
        }
    }
}

fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return true };
    // EPERM means that it is there and not ours.
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

impl Lock {
    /// Takes a lock, after removing stale ones. Who is in the way is waited for as long as
    /// [`Repository::wait_for_locks`] has it; then [`Kind::Locked`] says who it is.
    pub fn take(repository: &Arc<Repository>, kind: LockKind, holder: &Holder) -> Result<Self> {
        waiting(repository, || Self::take_at_once(repository, kind, holder))
    }

    /// Waits, as [`take`](Self::take) does, until nobody is in the way of such a lock, and takes none: for what is better waited for
    /// before something else is held up.
    pub fn await_free(repository: &Repository, kind: LockKind, holder: &Holder) -> Result<()> {
        // Who adds takes a lock afterwards, and looks again; who removes may do so without one.
        let looks_again = kind == LockKind::Shared;
        waiting(repository, || check_conflicts(repository, kind, holder, None, looks_again))
    }

    fn take_at_once(repository: &Arc<Repository>, kind: LockKind, holder: &Holder) -> Result<Self> {
        check_conflicts(repository, kind, holder, None, true)?;
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
        if let Err(error) = check_conflicts(repository, kind, holder, Some(name), false) {
            remove(repository, &name.to_string());
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
            remove(&refreshed.repository, &name.to_string());
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

fn waiting<T>(repository: &Repository, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let (place, who) = match attempt() {
            Err(Error { place, kind: Kind::Locked(who) }) => (place, who),
            other => return other,
        };
        let waited = begun.elapsed();
        let wait = crate::mutex::lock(&repository.locks).wait.clone();
        match wait.filter(|wait| waited < wait.within && (wait.tell)(&who, waited)) {
            // Two that wait for each other must not come in step.
            Some(wait) => std::thread::park_timeout(wait.every / 2 + wait.every.mul_f64(chance())),
            None if waited.as_secs() > 0 => {
                let who = format!("{who}; waited for {} s", waited.as_secs());
                return Err(Error::new(place, Kind::Locked(who)));
            }
            None => return Err(Error::new(place, Kind::Locked(who))),
        }
    }
}

fn chance() -> f64 {
    let mut byte = [0u8];
    let _ = crate::crypto::random(&mut byte);
    f64::from(byte[0]) / 255.0
}

/// Removes a lock. A store that refuses is remembered: its credentials may have no right to, and nobody's data is at stake.
fn remove(repository: &Repository, name: &str) -> bool {
    let removed = repository.store().remove(FileKind::Lock, name);
    if let Err(Error { kind: Kind::Refused(why), .. }) = &removed {
        crate::mutex::lock(&repository.locks).refused.get_or_insert_with(|| why.clone());
    }
    removed.is_ok()
}

fn check_conflicts(
    repository: &Repository,
    kind: LockKind,
    holder: &Holder,
    own: Option<FileId>,
    looks_again: bool,
) -> Result<()> {
    for listed in listing(repository.store(), FileKind::Lock)? {
        let is_own = own.is_some_and(|own| own.to_string() == listed.name);
        if is_own || crate::mutex::lock(&repository.locks).passed.contains(&listed.name) {
            continue;
        }
        let pass = || _ = crate::mutex::lock(&repository.locks).passed.insert(listed.name.clone());
        let json = match repository.read_sealed(FileKind::Lock, &listed.name) {
            Ok(json) => json,
            Err(error) if error.is_not_found() => continue,
            // A lock that makes no sense excludes nobody; one that we may not read may exclude us.
            Err(error) if matches!(error.kind, Kind::Damaged(_)) => {
                pass();
                continue;
            }
            Err(error) => return Err(error),
        };
        let Ok(other) = serde_json::from_slice::<WireLock>(&json) else {
            pass();
            continue;
        };
        let now = Timestamp::now();
        let mut watched = None;
        let is_dead = match other.sign(&holder.hostname, now) {
            Sign::Lives => false,
            Sign::Dead => true,
            Sign::Doubtful => match doubt(repository, &listed.name, &other, now, own) {
                Doubt::Dead => true,
                Doubt::ToBeSeen(_) if looks_again => continue,
                Doubt::ToBeSeen(left) | Doubt::Watched(left) => {
                    watched = Some(left);
                    false
                }
            },
        };
        if is_dead {
            // One refusal is enough: the others would be refused as well, now and at the next look.
            let is_refused = crate::mutex::lock(&repository.locks).refused.is_some();
            if is_refused || !remove(repository, &listed.name) {
                pass();
            }
        } else if other.exclusive || kind == LockKind::Exclusive {
            let until = match watched {
                None => {
                    "it is taken for dead when it has ended, and where that can't be seen half an hour after its last sign"
                        .to_owned()
                }
                // In whole minutes: who is told of it once is not told at each look.
                Some(left) => format!(
                    "that is too far from now for one that lives, or a clock is wrong: it is taken for dead when it has not changed for {} min more",
                    left.as_secs().div_ceil(60)
                ),
            };
            let who = format!(
                "{}@{} (process {}) since {}; {until}",
                Name::of(&other.username),
                Name::of(&other.hostname),
                other.pid,
                other.time
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

    fn holder() -> Holder {
        Holder { hostname: "here".into(), username: "me".into() }
    }

    fn patient(within: Duration, told: &Arc<Mutex<Vec<String>>>) -> Wait {
        let told = Arc::clone(told);
        let tell = move |who: &str, _| {
            crate::mutex::lock(&told).push(who.to_owned());
            true
        };
        Wait { within, every: Duration::from_millis(5), tell: Arc::new(tell) }
    }

    #[test]
    fn a_lock_that_is_in_the_way_is_waited_for_and_its_holder_is_named() {
        let (_folder, vault, lock) = held();
        let told = Arc::default();
        vault.wait_for_locks(patient(Duration::from_secs(60), &told));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while crate::mutex::lock(&told).len() < 2 {
                    std::thread::yield_now();
                }
                drop(lock);
            });
            Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap();
        });
        assert!(crate::mutex::lock(&told).first().is_some_and(|who| who.contains("me@here")));
    }

    /// A store whose credentials may add and read, and not delete.
    #[derive(Debug)]
    struct AddOnly(Box<dyn crate::Store>, Arc<Mutex<u32>>);

    impl crate::Store for AddOnly {
        fn address(&self) -> String {
            self.0.address()
        }
        fn create(&self) -> Result<()> {
            self.0.create()
        }
        fn entries(&self, kind: FileKind) -> Result<Vec<crate::store::Listed>> {
            self.0.entries(kind)
        }
        fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
            self.0.read(kind, name)
        }
        fn read_range(&self, kind: FileKind, name: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
            self.0.read_range(kind, name, range)
        }
        fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
            self.0.size(kind, name)
        }
        fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
            self.0.write(kind, name, bytes)
        }
        fn remove(&self, _: FileKind, _: &str) -> Result<()> {
            *crate::mutex::lock(&self.1) += 1;
            Err(Error::new("remove", Kind::Refused("AccessDenied".into())))
        }
        fn lanes(&self) -> usize {
            1
        }
        fn is_local(&self) -> bool {
            true
        }
    }

    #[test]
    fn without_the_right_to_delete_old_locks_are_tried_once_and_it_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let place = store::in_folder(&folder.path().join("vault"));
        let removals = Arc::default();
        let place = Box::new(AddOnly(place, Arc::clone(&removals)));
        let vault = Repository::create(place, &Password::new(b"x".to_vec()), "here", Timestamp::UNIX_EPOCH);
        let vault = Arc::new(vault.unwrap());
        for hour in 1..=5 {
            let old = WireLock {
                time: Timestamp::now() - jiff::SignedDuration::from_hours(hour),
                exclusive: true,
                hostname: "elsewhere".into(),
                username: "me".into(),
                pid: 1,
                uid: 0,
                gid: 0,
                process: None,
            };
            vault.write_sealed(FileKind::Lock, &old).unwrap();
        }
        assert_eq!(vault.refuses_removal(), None);
        vault.believe_dead_after(Duration::ZERO);
        drop(Lock::take(&vault, LockKind::Shared, &holder()).unwrap());
        assert_eq!(*crate::mutex::lock(&removals), 2, "one old lock, and our own");
        assert_eq!(vault.refuses_removal().as_deref(), Some("AccessDenied"));
        drop(Lock::take(&vault, LockKind::Shared, &holder()).unwrap());
        assert_eq!(*crate::mutex::lock(&removals), 3, "our own");
    }

    #[test]
    fn waiting_for_a_lock_ends_when_its_time_is_over_or_nobody_wants_it() {
        let (_folder, vault, _lock) = held();
        let told = Arc::default();
        vault.wait_for_locks(patient(Duration::from_millis(30), &told));
        let error = Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap_err();
        assert!(matches!(error.kind, Kind::Locked(_)) && !crate::mutex::lock(&told).is_empty(), "{error}");
        let every = Duration::from_secs(60);
        vault.wait_for_locks(Wait { within: every, every, tell: Arc::new(|_, _| false) });
        let begun = Instant::now();
        Lock::await_free(&vault, LockKind::Exclusive, &holder()).unwrap_err();
        assert!(begun.elapsed() < every / 2);
        Lock::await_free(&vault, LockKind::Shared, &holder()).unwrap();
    }

    fn wire(process: Option<&str>, pid: u32, time: Timestamp) -> WireLock {
        WireLock {
            time,
            exclusive: true,
            hostname: "elsewhere".into(),
            username: "me".into(),
            pid,
            uid: 0,
            gid: 0,
            process: process.map(str::to_owned),
        }
    }

    fn hours(hours: i64) -> jiff::SignedDuration {
        jiff::SignedDuration::from_hours(hours)
    }

    #[test]
    fn one_is_dead_when_its_process_is_gone_never_while_it_lives_and_doubted_where_that_is_not_seen() {
        let lock = |process: Option<&str>, pid: u32, ago: i64| {
            let lock = wire(process, pid, Timestamp::UNIX_EPOCH - hours(ago));
            WireLock { hostname: "here".into(), ..lock }.sign("here", Timestamp::UNIX_EPOCH)
        };
        let us = Process::this().to_string();
        assert_eq!(
            [lock(Some(&us), 1, 1000), lock(Some(&us), 1, -1000)],
            [Sign::Lives; 2],
            "a clock has jumped"
        );
        let (before, namespace) = us.rsplit_once('/').unwrap();
        let earlier = format!("{}/1/{namespace}", before.rsplit_once('/').unwrap().0);
        assert_eq!(lock(Some(&earlier), std::process::id(), 0), Sign::Dead, "the number is another's now");
        // Another machine, or a container that can't be seen, although it calls itself as we do.
        let other = |ago| lock(Some("other/boot/7/8/9"), i32::MAX as u32, ago);
        assert_eq!([other(0), other(1), other(-1)], [Sign::Lives, Sign::Doubtful, Sign::Doubtful]);
        // As restic writes them.
        let restic = |pid, ago| lock(None, pid, ago);
        assert_eq!(
            [restic(i32::MAX as u32, 0), restic(1, 0), restic(1, 1)],
            [Sign::Dead, Sign::Lives, Sign::Doubtful]
        );
    }

    #[test]
    fn whose_clock_is_wrong_is_not_taken_for_dead_while_he_gives_signs_by_ours() {
        let (_folder, vault, lock) = held();
        drop(lock);
        let unchanged = Duration::from_secs(2);
        vault.believe_dead_after(unchanged);
        for ahead in [hours(-1), hours(1)] {
            let sign =
                || vault.write_sealed(FileKind::Lock, &wire(None, 7, Timestamp::now() + ahead)).unwrap();
            let (mut file, begun) = (sign(), Instant::now());
            // He refreshes it, for longer than one that doesn't change may stand.
            while begun.elapsed() < unchanged * 2 {
                let error = Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap_err();
                assert!(error.to_string().contains("a clock is wrong"), "{error}");
                let next = sign();
                remove(&vault, &file.to_string());
                file = next;
                std::thread::park_timeout(unchanged / 20);
            }
            // A lock that is in nobody's way stays as long.
            drop(Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap_err());
            std::thread::park_timeout(unchanged + unchanged / 10);
            drop(Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap());
            assert_eq!(vault.store().list(FileKind::Lock).unwrap(), [], "it was dead, and is gone");
        }
    }

    #[test]
    fn one_that_is_older_than_a_day_by_both_clocks_is_dead_at_once_and_by_one_of_them_it_is_not() {
        let (folder, vault, lock) = held();
        drop(lock);
        let old = vault.write_sealed(FileKind::Lock, &wire(None, 7, Timestamp::now() - hours(25))).unwrap();
        // Our clock, or its own, is wrong: it was written just now.
        Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap_err();
        let (now, day) = (std::time::SystemTime::now(), Duration::from_secs(25 * 3600));
        let file = std::fs::File::open(folder.path().join("vault/locks").join(old.to_string())).unwrap();
        file.set_modified(now - day).unwrap();
        let anew =
            Repository::open(store::in_folder(&folder.path().join("vault")), &Password::new(b"x".to_vec()));
        drop(Lock::take(&Arc::new(anew.unwrap()), LockKind::Exclusive, &holder()).unwrap());
        assert_eq!(vault.store().list(FileKind::Lock).unwrap(), []);
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
    fn a_lock_that_somebody_took_for_dead_is_missed_before_a_point_is_written_whatever_the_clocks_say() {
        let (_folder, vault, lock) = held();
        lock.guard().look().unwrap();
        let name = vault.store().list(FileKind::Lock).unwrap().remove(0).name;
        vault.store().remove(FileKind::Lock, &name).unwrap();
        lock.guard().check().unwrap();
        let error = lock.guard().look().unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("run it again"), "{error}");
        drop(lock);
        // Whoever removes looks each time.
        let lock = Lock::take(&vault, LockKind::Exclusive, &holder()).unwrap();
        let name = vault.store().list(FileKind::Lock).unwrap().remove(0).name;
        vault.store().remove(FileKind::Lock, &name).unwrap();
        lock.guard().check().unwrap_err();
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
        assert!(matches!(error.kind, Kind::LockLost), "{error}");
        assert!(vault.store().list(FileKind::Index).unwrap().is_empty(), "nothing may rely on it");
    }
}

//! What changed since the last capture, from the kernel's own account: so that a backup of millions of unchanged files costs what
//! changed and not what exists.
//!
//! A [`Journal`] is used only where it is complete; wherever that is in doubt the whole tree is walked, and nothing is lost but
//! time. It knows directories by inode number and never by path: a directory is looked at if an event named it, skipped if none
//! named anything at or below it. A directory that it has never seen needs no event: the one it appeared in had one.
//! What events don't tell, and how it is found all the same: docs/journal.md.

mod group;
mod memory;
mod mounts;
#[cfg(test)]
mod tests;
mod writers;

use group::{Group, Told};
use memory::Memory;
use mounts::{Mount, Mounts};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CapabilitySet, capabilities};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};
use vault::{Node, Since};

/// How long the journal is believed without a walk of everything. No list of what a kernel doesn't tell is ever known to be whole:
/// what is missing in ours is found a day later at most.
const WALK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Changed directories that are remembered for each source: some 50 MiB. Beyond, a walk of everything costs hardly more.
const CHANGED_MAX: usize = 1 << 20;

/// How long a capture waits until it has read all events that came before it.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// A directory or a file: its file system, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
}

/// Keeps account, in a thread of its own, of the directories in which something changes. One for each process; a clone is the same one.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    group: Group,
    trusted: Vec<u32>,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    of: HashMap<String, Account>,
    buffer: Vec<u8>,
}

/// What is known of one source since its last capture.
#[derive(Default)]
struct Account {
    /// The last capture, if it can be referred to.
    kept: Option<Kept>,
    /// A capture is under way: events of directories that nobody knows yet count too.
    under_way: bool,
    /// Directories in which something changed.
    changed: HashSet<Key>,
    /// Files of which something changed that no directory was told of.
    loose: HashSet<Key>,
    /// Files that went while a capture was under way.
    gone: Vec<Key>,
    /// Why what changed isn't known.
    lost: Option<String>,
}

struct Kept {
    point: String,
    definition: String,
    mounts: Vec<Mount>,
    memory: Memory,
    walked: Instant,
    walked_at: SystemTime,
}

impl Journal {
    /// Begins to keep account. An error says why this machine, or this process, can't.
    ///
    /// What each process has open must be seen. `trusted` are the ids of those for which somebody vouches that they write to nothing
    /// that is captured, should the kernel refuse a look into them.
    pub fn new(trusted: &[u32]) -> Result<Self, String> {
        complete_here()?;
        writers::find(&Memory::default(), trusted)?;
        let group = Group::new().map_err(|error| format!("fanotify: {error}"))?;
        let shared = Arc::new(Shared { group, trusted: trusted.to_owned(), accounts: Mutex::default() });
        let watched = Arc::downgrade(&shared);
        let reader = move || {
            while let Some(shared) = watched.upgrade() {
                shared.wait();
            }
        };
        let thread = std::thread::Builder::new().name("journal".into());
        thread.spawn(reader).map_err(|error| format!("no thread: {error}"))?;
        Ok(Self(shared))
    }

    /// Forgets everything: the next capture of every source walks all of it. For when a vault may lack what a point says it has.
    pub fn forget(&self) {
        for account in self.0.lock().of.values_mut() {
            account.kept = None;
            account.lost = Some("it was told to forget".into());
        }
    }

    /// Begins a capture of the source called `name`.
    pub(super) fn begin(&self, name: &str, definition: String, paths: &[PathBuf]) -> Result<Run, String> {
        complete_here()?;
        let shared = &self.0;
        let mounts = Mounts::read(paths).map_err(|error| format!("what is mounted: {error}"))?;
        let all_stand = shared.group.still_marked().is_ok_and(|all| all);
        mounts.mark(&shared.group);
        let kept = {
            let mut accounts = shared.lock();
            let account = accounts.of.entry(name.to_owned()).or_default();
            if account.under_way {
                return Err("another capture is under way".into());
            }
            account.under_way = true;
            account.kept.take()
        };
        // From here on a run that is dropped ends the capture.
        let mut run = Run {
            journal: self.clone(),
            name: name.to_owned(),
            definition,
            mounts,
            begun: (Instant::now(), SystemTime::now()),
            held: RwLock::new(Held { kept, ..Held::default() }),
            own: HashSet::new(),
            above: HashSet::new(),
            fresh: Mutex::default(),
            asked: AtomicBool::new(false),
            done: AtomicBool::new(false),
        };
        run.settle(all_stand);
        Ok(run)
    }
}

/// Returns whether this process is told, and can see, all that matters; an error says what not.
fn complete_here() -> Result<(), String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    const NEEDED: [(CapabilitySet, &str); 3] = [
        (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    ];
    let has = capabilities(None).map_err(|error| format!("its capabilities: {error}"))?.effective;
    if let Some((_, name)) = NEEDED.iter().find(|(needed, _)| !has.contains(*needed)) {
        return Err(format!("it takes {name}"));
    }
    // The first of the kernel's pid namespaces has a fixed number.
    let namespace =
        std::fs::read_link("/proc/self/ns/pid").map_err(|error| format!("/proc/self/ns/pid: {error}"))?;
    if namespace != Path::new("pid:[4026531836]") {
        return Err("in a container the processes outside can't be seen".into());
    }
    if Path::new("/proc/net/rpc/nfsd").exists() {
        return Err("the kernel's NFS server changes files by number".into());
    }
    let overlay = read("/proc/filesystems")?.lines().any(|line| line.ends_with("\toverlay"));
    if overlay && kernel() < (6, 5) {
        return Err("before Linux 6.5 nobody is told of what containers write through overlayfs".into());
    }
    Ok(())
}

fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events for a moment, and takes them in.
    fn wait(&self) {
        let mut fds = [PollFd::from_borrowed_fd(self.group.fd(), PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
        match poll(&mut fds, Some(&moment)) {
            Ok(0) => {}
            Ok(_) => {
                self.take_in(&mut self.lock());
            }
            Err(_) => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }

    /// Takes in one lot of events. `false`: there are none.
    fn take_in(&self, accounts: &mut Accounts) -> bool {
        let Accounts { of, buffer } = accounts;
        let read = self.group.read(buffer, |told| of.values_mut().for_each(|account| account.take_in(&told)));
        read.unwrap_or_else(|error| {
            of.values_mut().for_each(|account| account.lose(&format!("fanotify: {error}")));
            false
        })
    }

    /// Takes in all that happened until now.
    fn catch_up(&self, accounts: &mut Accounts) {
        let until = Instant::now() + CATCH_UP_MAX;
        while self.take_in(accounts) {
            if Instant::now() > until {
                accounts
                    .of
                    .values_mut()
                    .for_each(|account| account.lose("events come faster than they can be read"));
                return;
            }
        }
    }
}

impl Account {
    fn take_in(&mut self, told: &Told) {
        let known = self.kept.as_mut().map(|kept| &mut kept.memory);
        let collects = self.under_way;
        match (told, known) {
            (Told::Directory(key), known) => {
                if collects || known.is_some_and(|known| known.dirs.contains_key(key)) {
                    self.changed.insert(*key);
                }
            }
            (Told::Loose(key), known) => {
                if collects || known.is_some_and(|known| known.files.contains(*key)) {
                    self.loose.insert(*key);
                }
            }
            (Told::Gone(key), known) => {
                self.loose.remove(key);
                match known {
                    Some(known) => known.files.remove(*key),
                    // One that isn't noted makes a file that gets its number look as if it had been captured: no harm but time.
                    None if collects && self.gone.len() < CHANGED_MAX => self.gone.push(*key),
                    None => {}
                }
            }
            (Told::Lost, _) => self.lose("events were dropped"),
        }
        if self.changed.len() + self.loose.len() > CHANGED_MAX {
            self.lose("too much has changed");
        }
    }

    fn lose(&mut self, why: &str) {
        self.lost.get_or_insert_with(|| why.to_owned());
        self.kept = None;
        self.changed = HashSet::new();
        self.loose = HashSet::new();
        self.gone = Vec::new();
    }

    /// Ends a capture; what it knew of the last one is brought up to date.
    fn end(&mut self, kept: Option<Kept>) -> Option<Kept> {
        self.under_way = false;
        let gone = std::mem::take(&mut self.gone);
        kept.map(|mut kept| {
            gone.into_iter().for_each(|file| kept.memory.files.remove(file));
            kept
        })
    }
}

/// A capture that the journal accompanies.
pub(crate) struct Run {
    journal: Journal,
    name: String,
    definition: String,
    mounts: Mounts,
    begun: (Instant, SystemTime),
    /// What this capture may refer to, and what changed before it began; nothing once it is over.
    held: RwLock<Held>,
    /// Directories that must be looked at.
    own: HashSet<Key>,
    /// Directories on the way to one of them.
    above: HashSet<Key>,
    fresh: Mutex<Fresh>,
    asked: AtomicBool,
    done: AtomicBool,
}

#[derive(Default)]
struct Held {
    kept: Option<Kept>,
    changed: HashSet<Key>,
    loose: HashSet<Key>,
}

#[derive(Default)]
struct Fresh {
    memory: Memory,
    listed: HashSet<Key>,
}

impl Run {
    /// Decides whether the last capture can be referred to, and what must be looked at.
    fn settle(&mut self, all_stand: bool) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut doubt = match &held.kept {
            None => Some("there is no capture to refer to".to_owned()),
            Some(kept) => kept.doubt(&self.definition, &self.mounts, all_stand).map(str::to_owned),
        };
        // First who may write unseen, then the events: a file that was open when its process was looked at is found here, and one
        // that was closed before has told so by then.
        let mut writing = HashSet::new();
        if let (Some(kept), None) = (&held.kept, &doubt) {
            match writers::find(&kept.memory, &self.journal.0.trusted) {
                Ok(found) => writing = found,
                Err(why) => doubt = Some(why),
            }
        }
        let mut accounts = self.journal.0.lock();
        self.journal.0.catch_up(&mut accounts);
        if let Some(account) = accounts.of.get_mut(&self.name) {
            held.changed = std::mem::take(&mut account.changed);
            held.loose = std::mem::take(&mut account.loose);
            doubt = account.lost.take().or(doubt);
        }
        drop(accounts);
        if let (Some(kept), None) = (&held.kept, &doubt) {
            if held.loose.iter().any(|file| kept.memory.files.contains(*file)) {
                doubt = Some("a file has got another name, or was written to by its number".into());
            } else {
                let around = self.mounts.around_files();
                let changed = held.changed.iter().chain(&writing).chain(&around).copied();
                (self.own, self.above) = kept.memory.spread(changed);
            }
        }
        if let Some(why) = doubt {
            tracing::debug!(source = self.name, "everything is walked: {why}");
            held.kept = None;
        }
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Held {
        std::mem::take(&mut *self.held.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the point that [`since`](Self::since) speaks of.
    pub(crate) fn refers_to(&self) -> Option<String> {
        self.held().kept.as_ref().map(|kept| kept.point.clone())
    }

    pub(super) fn since(&self, device: u64, inode: u64) -> Since {
        self.asked.store(true, Relaxed);
        let key = Key { device, inode };
        match &self.held().kept {
            Some(kept) if kept.memory.dirs.contains_key(&key) && !self.own.contains(&key) => {
                if self.above.contains(&key) { Since::Deeper } else { Since::Nothing }
            }
            _ => Since::Unknown,
        }
    }

    /// Notes what a directory was found to hold.
    pub(super) fn listed(&self, device: u64, inode: u64, nodes: &[Node]) {
        let watched = self.journal.0.group.is_marked(device);
        let key = Key { device, inode };
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.listed.insert(key);
        fresh.memory.listed(key, nodes, watched);
    }

    /// The capture is whole, and its point called `point`: the next one may refer to it.
    pub(crate) fn keep(&self, point: &str) {
        if self.done.swap(true, Relaxed) {
            return;
        }
        let held = self.take();
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        let journal = &self.journal.0;
        let mut accounts = journal.lock();
        // A file that went while this capture ran must be struck out of what is known now, not after its number was given out again.
        journal.catch_up(&mut accounts);
        let Some(account) = accounts.of.get_mut(&self.name) else { return };
        let kept = match (account.end(held.kept), self.asked.load(Relaxed)) {
            (Some(mut kept), true) => {
                kept.memory.merge(fresh.memory, &fresh.listed);
                point.clone_into(&mut kept.point);
                kept
            }
            _ => Kept {
                point: point.to_owned(),
                definition: self.definition.clone(),
                mounts: self.mounts.all.clone(),
                memory: fresh.memory,
                walked: self.begun.0,
                walked_at: self.begun.1,
            },
        };
        if self.mounts.moved() {
            account.lose("something was mounted during the capture");
        }
        if account.lost.is_none() {
            account.changed.retain(|key| kept.memory.dirs.contains_key(key));
            account.loose.retain(|key| kept.memory.files.contains(*key));
            account.kept = Some(kept);
        }
    }
}

impl Drop for Run {
    /// A capture that came to nothing: what it was to find is still to be found.
    fn drop(&mut self) {
        if self.done.swap(true, Relaxed) {
            return;
        }
        let held = self.take();
        let mut accounts = self.journal.0.lock();
        let Some(account) = accounts.of.get_mut(&self.name) else { return };
        let kept = account.end(held.kept);
        if account.lost.is_none() {
            account.changed.extend(held.changed);
            account.loose.extend(held.loose);
            account.kept = kept;
        }
    }
}

impl Kept {
    /// Returns why this capture can't be referred to.
    fn doubt(&self, definition: &str, mounts: &Mounts, all_stand: bool) -> Option<&'static str> {
        if !all_stand {
            Some("a file system was unmounted")
        } else if self.definition != definition {
            Some("the source is another one")
        } else if self.mounts != mounts.all {
            Some("something else is mounted")
        } else if self.is_old() {
            Some("it is time to walk everything")
        } else {
            None
        }
    }

    fn is_old(&self) -> bool {
        // The one clock stands still while the machine sleeps, the other one can be set.
        let by_date = SystemTime::now().duration_since(self.walked_at).unwrap_or(WALK_EVERY);
        self.walked.elapsed() >= WALK_EVERY || by_date >= WALK_EVERY
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

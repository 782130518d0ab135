//! Several vaults as one source: read from the one that is expected to answer first, and what is bad there from the next.
//!
//! Each vault has its own readers, threads that may be left behind: a read that hangs costs its deadline, not the restore.
//! How fast a vault is, is measured with every read; until then a local one is taken for fast. One that
//! fails is asked last for a while, and one that only fails is asked no more than now and then.
//!
//! Memory: an answer is held by whoever asked for it, so at most one for each thread that reads.

use crate::budget::Folders;
use crate::catalogue::Location;
use crate::mutex::lock;
use crate::repository::Opener;
use crate::{BlobId, BlobKind, Error, FileId, Kind, Node, Repository, Result, format};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a read may take before the next vault is asked.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How many times that a read may take when there is nobody else to ask. A vault that has failed for as long is asked only
/// now and then.
const LAST_RESORT: u32 = 12;
/// How often a vault that only fails is asked nevertheless.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A read of at most so many bytes tells of the vault's latency, a longer one of its rate.
const SMALL: u64 = 64 << 10;

/// Vaults, and what is known of their speed.
pub(crate) struct VaultSet {
    members: Vec<Member>,
    patience: Duration,
}

/// The vaults that were asked for a blob already: a bit for each of the first 32.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tried(u32);

impl Tried {
    pub(crate) fn add(&mut self, member: usize) {
        self.0 |= bit(member);
    }

    fn has(self, member: usize) -> bool {
        self.0 & bit(member) != 0
    }
}

// What lies beyond the mask is never taken for untried twice: the last bit stands for all of them.
fn bit(member: usize) -> u32 {
    1 << member.min(31)
}

struct Member {
    repository: Arc<Repository>,
    requests: Sender<Request>,
    speed: Arc<Mutex<Speed>>,
    /// A vault that has failed for so long is asked no more than now and then.
    hopeless_after: Duration,
    fault: Mutex<Option<String>>,
    /// What came of looking through the packs that no index names.
    searched: Mutex<Searched>,
    /// For each pack with trees, the stretch that they take: asked of distant vaults, whose answers come late and long.
    tree_extents: OnceLock<HashMap<u32, Range<u32>>>,
}

/// Whether the packs that no index names were looked through, and anything was found.
#[derive(Debug, Clone, Copy)]
enum Searched {
    /// Not yet, after so many tries that failed.
    NotYet(u32),
    Found(bool),
}

struct Request {
    pack: FileId,
    range: Range<u64>,
    answer: Sender<Result<Vec<u8>>>,
    /// Nobody waits any longer.
    given_up: Arc<AtomicBool>,
}

impl VaultSet {
    pub(crate) fn new(vaults: &[Arc<Repository>], patience: Duration) -> Self {
        let members =
            vaults.iter().map(|vault| Member::new(Arc::clone(vault), patience * LAST_RESORT)).collect();
        Self { members, patience }
    }

    pub(crate) fn repository(&self, member: usize) -> Option<&Repository> {
        self.members.get(member).map(|member| &*member.repository)
    }

    /// Returns the vaults, the one that is expected to answer first before the others.
    pub(crate) fn ranking(&self) -> Vec<usize> {
        let expected = |member: &Member| lock(&member.speed).expected(1 << 20);
        let mut ranking: Vec<(Duration, usize)> =
            self.members.iter().enumerate().map(|(at, member)| (expected(member), at)).collect();
        ranking.sort();
        ranking.into_iter().map(|(_, at)| at).collect()
    }

    /// Returns where to read a blob: in the first vault of `ranking` that has it and was not tried.
    pub(crate) fn place(
        &self,
        ranking: &[usize],
        kind: BlobKind,
        id: &BlobId,
        tried: Tried,
    ) -> Option<(usize, Location)> {
        ranking.iter().filter(|member| !tried.has(**member)).find_map(|&at| {
            let location = self.members.get(at)?.repository.catalogue().places(kind, id).next()?;
            Some((at, location))
        })
    }

    /// Reads a range of a pack, by its number in this vault. Where there is somebody else to ask, not for longer than patience has it.
    pub(crate) fn read(&self, member: usize, pack: u32, range: Range<u64>, others: bool) -> Result<Vec<u8>> {
        let member = self.members.get(member).ok_or_else(no_vault)?;
        let id = member.repository.catalogue().pack(pack).ok_or_else(no_vault)?;
        let length = range.end.saturating_sub(range.start);
        let within = match others {
            true => self.patience,
            // The store itself watches whether anything moves: what is slow and alone is waited for.
            false => self.patience * LAST_RESORT + lock(&member.speed).expected(length) * 60,
        };
        member.read(id, range, within)
    }

    /// Returns whether there is somebody else to ask.
    pub(crate) fn is_shared(&self) -> bool {
        self.members.len() > 1
    }

    /// Remembers what was wrong with a vault: the first such thing is told.
    pub(crate) fn blame(&self, member: usize, what: impl FnOnce() -> String) {
        if let Some(member) = self.members.get(member) {
            lock(&member.fault).get_or_insert_with(what);
        }
    }

    /// Returns a blob, wherever a sound copy of it is: every place of every vault is tried, those named by no index too.
    pub(crate) fn blob(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<u8>> {
        let mut opener = Opener::default();
        let ranking = self.ranking();
        let mut last = None;
        let mut again = Vec::new();
        for &at in &ranking {
            match self.blob_in(at, kind, id, self.patience, &mut opener) {
                Ok(plain) => return Ok(plain),
                Err(error) => {
                    if error.is_retryable() {
                        again.push(at);
                    }
                    last = Some(error);
                }
            }
        }
        for at in ranking {
            let Some(member) = self.members.get(at) else { continue };
            if member.search() && !again.contains(&at) {
                again.push(at);
            }
        }
        for at in again {
            match self.blob_in(at, kind, id, self.patience * LAST_RESORT, &mut opener) {
                Ok(plain) => return Ok(plain),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_vault))
    }

    fn blob_in(
        &self,
        at: usize,
        kind: BlobKind,
        id: &BlobId,
        within: Duration,
        opener: &mut Opener,
    ) -> Result<Vec<u8>> {
        let member = self.members.get(at).ok_or_else(no_vault)?;
        let places: Vec<(FileId, Location)> = {
            let catalogue = member.repository.catalogue();
            let named = |place: Location| Some((catalogue.pack(place.pack)?, place));
            catalogue.places(kind, id).filter_map(named).collect()
        };
        let address = || member.repository.address();
        let mut last = None;
        for (pack, place) in places {
            let read = member.read(pack, place.range(), within).and_then(|mut sealed| {
                let plain = member.repository.open_blob(&mut sealed, place.uncompressed, id, opener);
                plain.map(<[u8]>::to_vec).map_err(|what| {
                    Error::damaged(
                        format!("blob {} of pack {} in {}", id.short(), pack.short(), address()),
                        what,
                    )
                })
            });
            match read {
                Ok(plain) => return Ok(plain),
                Err(error) => {
                    self.blame(at, || error.to_string());
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| {
            Error::new(format!("read blob {} from {}", id.short(), address()), Kind::NotFound)
        }))
    }

    /// Returns the entries of a directory.
    pub(crate) fn tree(&self, id: &BlobId) -> Result<Vec<Node>> {
        let malformed = |what| Error::damaged(format!("tree {}", id.short()), what);
        self.entries(id)?.into_iter().collect::<Result<_, String>>().map_err(malformed)
    }

    /// Returns the entries of a directory, each for itself.
    pub(crate) fn entries(&self, id: &BlobId) -> Result<Vec<Result<Node, String>>> {
        let json = self.blob(BlobKind::Tree, id)?;
        format::tree::read_each(&json).map_err(|what| Error::damaged(format!("tree {}", id.short()), what))
    }

    /// Returns the bounds for a walk of a point in them.
    pub(crate) fn folders(&self) -> Folders {
        Folders::of(self.members.iter().map(|member| &*member.repository))
    }

    /// Returns the length of a blob's plain text, as the index of some vault has it.
    pub(crate) fn plain_length(&self, kind: BlobKind, id: &BlobId) -> Option<u64> {
        self.members.iter().find_map(|member| member.repository.lengths(kind, id)).map(|(_, plain)| plain)
    }

    /// Returns the length that a blob takes in a pack, as the index of some vault has it; 0 if none names it.
    pub(crate) fn stored_length(&self, kind: BlobKind, id: &BlobId) -> u64 {
        let place = |member: &Member| member.repository.catalogue().places(kind, id).next();
        self.members.iter().find_map(place).map_or(0, |place| u64::from(place.length))
    }

    /// Looks through the packs that no index names, in every vault and once: an index may be what was lost.
    pub(crate) fn search(&self) {
        self.members.iter().for_each(|member| _ = member.search());
    }

    /// Returns how long a range is worth reading in one go, within `most`: of a distant vault what comes in half a second, of a
    /// local one what stays in a core's cache.
    pub(crate) fn stretch(&self, member: usize, most: u64) -> u64 {
        let Some(member) = self.members.get(member) else { return most };
        let worth = match member.repository.store().is_local() {
            true => 1 << 20,
            false => (lock(&member.speed).rate / 2.0) as u64,
        };
        worth.clamp(256 << 10, most.max(256 << 10))
    }

    /// Returns the stretch to read along with one tree: trees that are needed soon lie close to it, and before a distant vault answers once, it
    /// could have sent many.
    pub(crate) fn around_tree(&self, member: usize, place: &Location) -> Range<u64> {
        let Some(member) = self.members.get(member) else { return place.range() };
        let (before, behind) =
            if member.repository.store().is_local() { (96 << 10, 32 << 10) } else { (3 << 20, 1 << 20) };
        let extents =
            member.tree_extents.get_or_init(|| member.repository.catalogue().extents(BlobKind::Tree));
        let extent = extents.get(&place.pack).cloned().unwrap_or(0..0);
        let own = place.range();
        let start = own.start.saturating_sub(before).max(u64::from(extent.start)).min(own.start);
        start..(own.end + behind).min(u64::from(extent.end)).max(own.end)
    }

    /// Returns how many calls at a time make the fastest of them fastest, and never fewer than there are cores.
    pub(crate) fn lanes(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        self.members.iter().map(|member| member.repository.store().lanes()).max().unwrap_or(1).max(cores)
    }

    /// Returns for each vault, by address, the first thing that was wrong with it.
    pub(crate) fn into_faults(self) -> BTreeMap<String, String> {
        let told = |member: Member| {
            let fault = member.fault.into_inner().unwrap_or_else(PoisonError::into_inner)?;
            Some((member.repository.address(), fault))
        };
        self.members.into_iter().filter_map(told).collect()
    }
}

impl Member {
    fn new(repository: Arc<Repository>, hopeless_after: Duration) -> Self {
        let speed = Arc::new(Mutex::new(Speed::assumed(repository.store().is_local())));
        let (requests, todo) = unbounded();
        for _ in 0..repository.store().lanes() {
            let (repository, todo, speed) = (Arc::clone(&repository), todo.clone(), Arc::clone(&speed));
            // Not waited for by anyone: it ends with the last request, or with the process if its read never ends.
            std::thread::spawn(move || read_all(&repository, &todo, &speed));
        }
        let (fault, tree_extents) = Default::default();
        let searched = Mutex::new(Searched::NotYet(0));
        Self { repository, requests, speed, hopeless_after, fault, searched, tree_extents }
    }

    fn read(&self, pack: FileId, range: Range<u64>, within: Duration) -> Result<Vec<u8>> {
        let place =
            || crate::store::place(self.repository.store(), "read", crate::FileKind::Pack, &pack.to_string());
        let expected = {
            let mut speed = lock(&self.speed);
            if !speed.may_ask(self.hopeless_after) {
                let what = "it has failed for a while, and is asked again in a moment";
                return Err(Error::new(place(), Kind::Unreachable(what.into())));
            }
            speed.expected(range.end.saturating_sub(range.start)).saturating_sub(speed.penalty)
        };
        let (answer, answered) = bounded(1);
        let given_up = Arc::new(AtomicBool::new(false));
        let request = Request { pack, range, answer, given_up: Arc::clone(&given_up) };
        // The readers live as long as this end of the channel.
        let _ = self.requests.send(request);
        let within = within + expected * 4;
        match answered.recv_timeout(within) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                given_up.store(true, Relaxed);
                lock(&self.speed).failed();
                let what = format!("no answer for {:.0} s", within.as_secs_f64());
                Err(Error::new(place(), Kind::Unreachable(what)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::new(place(), Kind::Interrupted)),
        }
    }

    /// Looks through the packs that no index names, once, and returns whether there were any. One that doesn't answer is not waited for, and one that
    /// fails is asked again a few times: that nothing was heard is not that nothing is there.
    fn search(&self) -> bool {
        // Whoever comes meanwhile waits for the answer too.
        let mut searched = lock(&self.searched);
        let failed = match *searched {
            Searched::Found(found) => return found,
            Searched::NotYet(failed) => failed,
        };
        let (answer, answered) = bounded(1);
        let repository = Arc::clone(&self.repository);
        std::thread::spawn(move || answer.send(repository.learn_unindexed()));
        let why = match answered.recv_timeout(self.hopeless_after) {
            Ok(Ok(packs)) => {
                *searched = Searched::Found(packs > 0);
                return packs > 0;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{} doesn't say which packs it has", self.repository.address()),
        };
        lock(&self.fault).get_or_insert(why);
        *searched = if failed >= 2 { Searched::Found(false) } else { Searched::NotYet(failed + 1) };
        false
    }
}

fn read_all(repository: &Repository, todo: &Receiver<Request>, speed: &Mutex<Speed>) {
    for request in todo {
        if request.given_up.load(Relaxed) {
            continue;
        }
        let length = request.range.end.saturating_sub(request.range.start);
        let begun = Instant::now();
        let result =
            repository.store().read_range(crate::FileKind::Pack, &request.pack.to_string(), request.range);
        match &result {
            Ok(_) => lock(speed).observed(length, begun.elapsed()),
            // A pack that is damaged or gone says nothing about the next one.
            Err(error) if matches!(error.kind, Kind::Damaged(_) | Kind::NotFound) => {}
            Err(_) => lock(speed).failed(),
        }
        let _ = request.answer.send(result);
    }
}

/// What is known of a vault's speed.
#[derive(Debug)]
struct Speed {
    latency: Duration,
    /// Bytes a second, of one read among those that run side by side.
    rate: f64,
    /// How much later it is expected to answer since it has failed.
    penalty: Duration,
    failing_since: Option<Instant>,
    asked: Instant,
}

impl Speed {
    /// Returns what is assumed before anything was read.
    fn assumed(local: bool) -> Self {
        let (latency, rate) =
            if local { (Duration::from_micros(200), 500e6) } else { (Duration::from_millis(50), 2e6) };
        Self { latency, rate, penalty: Duration::ZERO, failing_since: None, asked: Instant::now() }
    }

    fn expected(&self, bytes: u64) -> Duration {
        self.latency + Duration::from_secs_f64(bytes as f64 / self.rate.max(1.0)) + self.penalty
    }

    fn observed(&mut self, bytes: u64, took: Duration) {
        if bytes <= SMALL {
            self.latency = (self.latency * 3 + took) / 4;
        } else {
            let moving = took.saturating_sub(self.latency).max(Duration::from_micros(1));
            self.rate = self.rate * 0.75 + bytes as f64 / moving.as_secs_f64() * 0.25;
        }
        self.penalty = Duration::ZERO;
        self.failing_since = None;
    }

    fn failed(&mut self) {
        self.penalty = (self.penalty * 4).clamp(Duration::from_secs(1), Duration::from_secs(3600));
        self.failing_since.get_or_insert_with(Instant::now);
    }

    /// Returns whether it makes sense to ask: not one that has failed for long, but for a try now and then.
    fn may_ask(&mut self, hopeless_after: Duration) -> bool {
        let hopeless = self.failing_since.is_some_and(|since| since.elapsed() > hopeless_after);
        if hopeless && self.asked.elapsed() < PROBE_EVERY {
            return false;
        }
        self.asked = Instant::now();
        true
    }
}

fn no_vault() -> Error {
    Error::new("read", Kind::Unsupported("no vault to read from".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_vault_is_read_first_until_it_is_measured_to_be_slower() {
        let (mut near, mut far) = (Speed::assumed(true), Speed::assumed(false));
        assert!(near.expected(1 << 20) < far.expected(1 << 20));
        for _ in 0..20 {
            near.observed(1 << 20, Duration::from_secs(2));
            far.observed(1 << 20, Duration::from_millis(60));
        }
        assert!(near.expected(1 << 20) > far.expected(1 << 20));
    }

    #[test]
    fn a_vault_that_fails_is_asked_last_until_it_answers_again() {
        let (mut near, far) = (Speed::assumed(true), Speed::assumed(false));
        near.failed();
        assert!(near.expected(1 << 20) > far.expected(1 << 20));
        near.observed(1 << 20, Duration::from_millis(2));
        assert!(near.expected(1 << 20) < far.expected(1 << 20));
    }

    #[test]
    fn a_vault_that_only_fails_is_asked_now_and_then() {
        let mut speed = Speed::assumed(false);
        speed.failed();
        assert!(speed.may_ask(Duration::from_secs(60)));
        assert!(!speed.may_ask(Duration::ZERO));
        speed.observed(1, Duration::ZERO);
        assert!(speed.may_ask(Duration::ZERO));
    }
}

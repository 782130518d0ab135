//! Writes blobs to one vault: gathers them in packs, uploads several at a time, and names them in index files.
//!
//! Order of what becomes durable: packs, then the index that names them; the caller writes the snapshot after
//! [`PackWriter::finish`]. A crash in between leaves packs that nothing names, which is harmless. Where the vault goes away in between, this machine keeps
//! which these are, and the next run names them: so it goes on where the one before was.
//!
//! Memory: a pack of data and one of trees that are open or wait for an uploader, and one under way for each: with the sizes below
//! 22 MiB + 17 MiB for each uploader. What a written pack took is kept for the next where the store gives it back. A vault that is
//! slow slows the caller down; one that fails is dropped and the caller goes on.

use crate::format;
use crate::format::index::{self, Index, IndexedPack};
use crate::format::pack::{self, Entry};
use crate::lock::{Guard, Lock};
use crate::mutex::lock;
use crate::pool::Pool;
use crate::{BlobId, BlobKind, Error, FileId, FileKind, Repository, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// restic's default size for a pack of data.
const DATA_PACK_SIZE: usize = 16 << 20;
/// Trees are read one by one: small packs keep them close together without holding memory.
const TREE_PACK_SIZE: usize = 4 << 20;
/// Room is asked for beyond what the C library keeps for later (32 MiB): a pack that is gone then gives its memory back at once, and
/// what is never touched costs nothing.
const PACK_ROOM: usize = 33 << 20;
/// A backup changes some folders: their trees are kept here for the prune that follows them. Of a first one the others are read when it comes.
const TREES_KEPT: u64 = 256;
/// As many threads as usually add blobs at once.
const SEALED_SPARE: usize = 2;
/// A crash costs the upload of what no index names yet: at most this many blobs, or this many packs, or what went over a thin line
/// in so long. No pack has more blobs either, so that one index may name it.
pub(crate) const INDEX_BLOBS_MAX: usize = 40_000;
/// The first index comes soon, for a first backup may be broken off at once; each further one takes twice as long, up to the second of these.
const INDEX_PACKS: (usize, usize) = (4, 64);
const INDEX_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// Writes blobs to one vault. All methods may be called from several threads.
pub(crate) struct PackWriter {
    shared: Arc<Shared>,
    data: Mutex<Pack>,
    trees: Mutex<Pack>,
    trees_kept: AtomicU64,
    /// For blobs on their way into a pack.
    sealed: Pool,
    queue: Option<Sender<Pack>>,
    uploaders: Vec<JoinHandle<()>>,
}

struct Shared {
    repository: Arc<Repository>,
    guard: Guard,
    /// What this run has taken on and no index names yet, so that two threads with the same content store it once.
    claimed: [Mutex<HashSet<(BlobKind, BlobId)>>; 16],
    to_index: Mutex<ToIndex>,
    /// The memory of a pack that was written, for the next.
    written: Pool,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
    bytes_written: AtomicU64,
}

/// Packs that are durable and in no index yet.
struct ToIndex {
    packs: Vec<IndexedPack>,
    /// When an index was written last, or the first pack was begun.
    since: Instant,
    /// How many packs make the next one due, and how long after the last.
    due: (usize, Duration),
}

/// A pack on its way: open, or waiting for an uploader.
#[derive(Default)]
struct Pack {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl PackWriter {
    /// Starts the uploaders. What is written counts only while the lock is held.
    pub(crate) fn new(lock: &Lock) -> Self {
        let guard = lock.guard();
        let repository = Arc::clone(&guard.repository);
        let lanes = repository.store().lanes();
        // A disk wants one writer; a distant store several, since each waits for an answer.
        let uploaders = if repository.store().is_local() { 1 } else { lanes.clamp(2, 5) };
        let shared = Arc::new(Shared {
            repository,
            guard,
            claimed: Default::default(),
            to_index: Mutex::new(ToIndex::new()),
            written: Pool::new(1),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
            bytes_written: AtomicU64::new(0),
        });
        let (queue, packs) = bounded(0);
        let uploaders = (0..uploaders)
            .map(|_| {
                let (shared, packs) = (Arc::clone(&shared), packs.clone());
                std::thread::spawn(move || shared.upload_all(&packs))
            })
            .collect();
        let ([data, trees], trees_kept) = Default::default();
        Self {
            shared,
            data,
            trees,
            trees_kept,
            sealed: Pool::new(SEALED_SPARE),
            queue: Some(queue),
            uploaders,
        }
    }

    /// Returns the vault that is written to.
    pub(crate) fn repository(&self) -> &Arc<Repository> {
        &self.shared.repository
    }

    /// Returns whether the vault lacks this blob; then the caller must [`add`](Self::add) it, for nobody else will.
    pub(crate) fn claim(&self, kind: BlobKind, id: &BlobId) -> bool {
        if self.has_failed() {
            return false;
        }
        let Some(shard) = self.shared.shard(id) else { return false };
        // Locked before the index is asked: meanwhile nobody moves it from here to there.
        let mut claimed = lock(shard);
        !self.shared.repository.has(kind, id) && claimed.insert((kind, *id))
    }

    /// Adds a claimed blob. `stored` is its plain text compressed, or as it is where `uncompressed` is 0. A failure of
    /// the vault shows in [`failed`](Self::has_failed) and in [`finish`](Self::finish).
    pub(crate) fn add(&self, kind: BlobKind, id: BlobId, stored: &[u8], uncompressed: u32) {
        if self.has_failed() {
            return;
        }
        // Sealed before the lock is taken: it is most of the work.
        let mut sealed = self.sealed.take();
        sealed.clear();
        if let Err(error) = self.shared.repository.key().seal_into(stored, &mut sealed) {
            return self.shared.fail(Error::io(self.shared.repository.address(), error));
        }
        if kind == BlobKind::Tree
            && let Some(cache) = self.shared.repository.cache()
            && self.trees_kept.fetch_add(1, Relaxed) < TREES_KEPT
        {
            cache.keep_tree(&id, &sealed);
        }
        let (open, limit) = match kind {
            BlobKind::Data => (&self.data, DATA_PACK_SIZE),
            BlobKind::Tree => (&self.trees, TREE_PACK_SIZE),
        };
        let mut open = lock(open);
        // Both fit in 32 bits: a pack is closed at its limit and a blob is shorter than 1 GiB.
        let offset = u32::try_from(open.bytes.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        if open.bytes.is_empty() {
            open.bytes = self.shared.written.take();
            open.bytes.clear();
            open.bytes.reserve_exact(PACK_ROOM);
        }
        open.bytes.extend_from_slice(&sealed);
        self.sealed.give(sealed);
        open.entries.push(Entry { id, kind, offset, length, uncompressed });
        if open.bytes.len() >= limit || open.entries.len() >= INDEX_BLOBS_MAX {
            // Under the lock: until somebody takes the pack nobody begins another.
            self.enqueue(std::mem::take(&mut *open));
        }
    }

    /// Names what an earlier run of this machine has uploaded before the vault went away, so that it isn't uploaded again. For whoever only adds: one that also
    /// removes has
    /// decided already what becomes of packs that nothing names.
    pub(crate) fn take_up(&self) {
        self.shared.take_up();
    }

    /// Returns whether this vault is lost for this run.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Relaxed)
    }

    /// Takes the vault for lost for this run.
    pub(crate) fn give_up(&self, error: Error) {
        self.shared.fail(error);
    }

    /// Uploads what is left, writes the index, and returns the bytes written: everything added is durable now.
    pub(crate) fn finish(mut self) -> Result<u64> {
        for open in [&self.data, &self.trees] {
            let rest = std::mem::take(&mut *lock(open));
            if !rest.entries.is_empty() {
                self.enqueue(rest);
            }
        }
        self.join();
        let rest = lock(&self.shared.to_index).take();
        // What is durable is worth an index, whatever became of the rest: the next backup goes on from there.
        self.shared.write_index(rest);
        match lock(&self.shared.failure).take() {
            Some(error) => Err(error),
            None => Ok(self.shared.bytes_written.load(Relaxed)),
        }
    }

    fn enqueue(&self, pack: Pack) {
        if let Some(queue) = &self.queue {
            // The receivers live until the queue is dropped.
            let _ = queue.send(pack);
        }
    }

    fn join(&mut self) {
        drop(self.queue.take());
        for uploader in self.uploaders.drain(..) {
            if uploader.join().is_err() {
                let place = self.shared.repository.address();
                self.shared.fail(Error::io(place, std::io::Error::other("an uploader died")));
            }
        }
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        self.join();
    }
}

impl ToIndex {
    fn new() -> Self {
        Self { packs: Vec::new(), since: Instant::now(), due: (INDEX_PACKS.0, INDEX_EVERY.0) }
    }

    fn is_due(&self) -> bool {
        let blobs: usize = self.packs.iter().map(|pack| pack.entries.len()).sum();
        let (packs, every) = self.due;
        blobs >= INDEX_BLOBS_MAX || self.packs.len() >= packs || self.since.elapsed() >= every
    }

    fn take(&mut self) -> Vec<IndexedPack> {
        self.since = Instant::now();
        let (packs, every) = self.due;
        self.due = ((packs * 2).min(INDEX_PACKS.1), (every * 2).min(INDEX_EVERY.1));
        std::mem::take(&mut self.packs)
    }
}

impl Shared {
    fn upload_all(&self, packs: &Receiver<Pack>) {
        // After a failure the queue is drained, so that nobody waits for a place in it.
        for pack in packs {
            if self.failed.load(Relaxed) {
                continue;
            }
            match self.upload(pack) {
                Ok(pack) => {
                    let due = {
                        let mut waiting = lock(&self.to_index);
                        waiting.packs.push(pack);
                        if waiting.is_due() { waiting.take() } else { Vec::new() }
                    };
                    self.write_index(due);
                }
                Err(error) => self.fail(error),
            }
        }
    }

    fn upload(&self, mut pack: Pack) -> Result<IndexedPack> {
        let header = pack::write_header(self.repository.key(), &pack.entries)
            .map_err(|error| Error::io(self.repository.address(), error))?;
        pack.bytes.extend_from_slice(&header);
        let id = FileId::of(&pack.bytes);
        let length = pack.bytes.len() as u64;
        let bytes = self.repository.store().write_owned(FileKind::Pack, &id.to_string(), pack.bytes)?;
        self.written.give(bytes);
        self.bytes_written.fetch_add(length, Relaxed);
        Ok(IndexedPack { id, entries: pack.entries })
    }

    /// Names packs, and returns whether they are named.
    fn write_index(&self, packs: Vec<IndexedPack>) -> bool {
        if packs.is_empty() {
            return true;
        }
        let index = Index { packs, ..Index::default() };
        // Without the lock these packs, or others that they make do with, may have been taken for leftovers and be gone.
        let written = self.guard.check();
        match written.and_then(|()| self.repository.write_sealed(FileKind::Index, &index)) {
            Ok(file) => {
                self.repository.learn_from(file, &index.packs);
                for entry in index.packs.iter().flat_map(|pack| &pack.entries) {
                    self.shard(&entry.id).map(|shard| lock(shard).remove(&(entry.kind, entry.id)));
                }
                true
            }
            Err(error) => {
                self.keep_for_later(index.packs);
                self.fail(error);
                false
            }
        }
    }

    /// Names what an earlier run of this machine has uploaded before the vault went away, as far as that is still there. No prune takes it meanwhile: we have the lock.
    fn take_up(&self) {
        let packs = self.unindexed();
        let Some(cache) = self.repository.cache().filter(|_| !packs.is_empty()) else { return };
        // Of what doesn't answer nothing is concluded: the next run asks again.
        let Ok(listed) = self.repository.store().list(FileKind::Pack) else { return };
        let sizes: HashMap<&str, u64> =
            listed.iter().map(|listed| (listed.name.as_str(), listed.size)).collect();
        let is_there = |pack: &IndexedPack| {
            let blobs = pack.entries.iter().map(|entry| (entry.length, entry.uncompressed != 0));
            let is_new = |entry: &Entry| !self.repository.has(entry.kind, &entry.id);
            sizes.get(pack.id.to_string().as_str()) == Some(&pack::length(blobs))
                && pack.entries.iter().any(is_new)
        };
        // Who is killed in between names them once more, which is found out.
        if self.write_index(packs.into_iter().filter(is_there).collect()) {
            cache.keep_unindexed(None);
        }
    }

    /// Returns what was uploaded and is in no index, as far as this machine knows.
    fn unindexed(&self) -> Vec<IndexedPack> {
        let read = || {
            let mut sealed = self.repository.cache()?.unindexed()?;
            let plain = self.repository.key().open(&mut sealed).ok()?;
            let json = format::unpack_json(FileKind::Index, plain).ok()?;
            Some(index::read(&json)?.packs)
        };
        read().unwrap_or_default()
    }

    /// Keeps what no index could name. What can't be kept is uploaded again.
    fn keep_for_later(&self, packs: Vec<IndexedPack>) {
        let Some(cache) = self.repository.cache() else { return };
        let own: HashSet<FileId> = packs.iter().map(|pack| pack.id).collect();
        let before = self.unindexed().into_iter().filter(|pack| !own.contains(&pack.id));
        let packs = before.chain(packs).collect();
        let index = Index { packs, ..Index::default() };
        let sealed = format::pack_json(&index).and_then(|json| self.repository.key().seal(&json));
        if let Ok(sealed) = sealed {
            cache.keep_unindexed(Some(&sealed));
        }
    }

    fn shard(&self, id: &BlobId) -> Option<&Mutex<HashSet<(BlobKind, BlobId)>>> {
        self.claimed.get(usize::from(id.0[0]) % self.claimed.len())
    }

    fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.failed.store(true, Relaxed);
    }
}

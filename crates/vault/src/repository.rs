//! One repository: its key, its index, its blobs.
//!
//! Invariants: a blob that is handed out has been checked against its own hash; a file is written once and
//! under its own hash; nothing is in the catalogue that is not durable in the store.

use crate::cache::Cache;
use crate::catalogue::{Catalogue, Location};
use crate::crypto::Key;
use crate::format::config::Config;
use crate::format::index::{Index, IndexedPack};
use crate::format::pack::{self, Entry};
use crate::format::{self, BlobKind};
use crate::lanes::in_lanes;
use crate::open::Lost;
use crate::store::Listed;
use crate::{BlobId, Error, FileId, FileKind, Kind, Node, Result, Snapshot, Store};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// No blob is longer; what one of its kind can have, `budget.rs` knows.
const BLOB_MAX: usize = 1 << 30;

/// Index files that are read at once have so many bytes together: their JSON has five times as many. Of small ones that is hundreds.
const INDEX_BYTES_AT_ONCE: u64 = 8 << 20;

/// How often a listing of indexes is made anew because one of them went while they were read.
const LISTED_AGAIN: u32 = 3;

/// How much room an inflater keeps for the next blob.
const KEPT: usize = 16 << 20;

/// A repository, opened with its key.
pub struct Repository {
    store: Box<dyn Store>,
    key: Key,
    key_id: Option<FileId>,
    config: Config,
    /// Why the config is not the one that was written.
    pub(crate) lost: Option<Lost>,
    cache: Option<Cache>,
    /// What is kept here is not looked at.
    afresh: AtomicBool,
    /// When its packs were looked for last, and whether something has made that doubtful since.
    pub(crate) looked: Mutex<Option<Instant>>,
    pub(crate) doubted: AtomicBool,
    catalogue: RwLock<Catalogue>,
    pub(crate) locks: Mutex<crate::lock::Known>,
    pub(crate) signers: crate::snapshots::Signers,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.address())
    }
}

/// A password. Wiped from memory when dropped, never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes of a password.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns whether both are the same; how long it takes says nothing about where they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Returns the bytes: to be written where the owner keeps them, and shown to nobody.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The snapshots that could be read, oldest first, and the errors of those that could not, or for which there was no memory.
pub type Listing = (Vec<(FileId, Snapshot)>, Vec<Error>);

/// A thread's own inflater and its buffer, kept from blob to blob: setting them up costs more than a small blob.
#[derive(Default)]
pub(crate) struct Opener {
    inflater: Option<zstd::bulk::Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Opener {
    fn inflate(&mut self, packed: &[u8], length: usize) -> Option<&mut [u8]> {
        if self.inflater.is_none() {
            self.inflater = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        self.plain.clear();
        // One large tree must not be paid for until the end.
        self.plain.shrink_to(length.max(KEPT));
        self.plain.reserve(length);
        self.inflater.as_mut()?.decompress_to_buffer(packed, &mut self.plain).ok()?;
        Some(&mut self.plain)
    }
}

/// What [`Repository::load_index`] met.
#[derive(Debug, Default)]
pub struct IndexReport {
    /// Index files that could not be read or make no sense. What only they name is not known until a repair.
    pub damaged: Vec<Error>,
}

impl Repository {
    /// Puts together what was opened. `lost` says why the config is not the one that was written.
    pub(crate) fn assemble(
        store: Box<dyn Store>,
        key: Key,
        key_id: Option<FileId>,
        config: Config,
        lost: Option<Lost>,
    ) -> Self {
        Self {
            store,
            key,
            key_id,
            config,
            lost,
            cache: None,
            afresh: AtomicBool::new(false),
            looked: Mutex::default(),
            doubted: AtomicBool::new(false),
            catalogue: RwLock::default(),
            locks: Mutex::default(),
            signers: crate::snapshots::Signers::new(),
        }
    }

    /// Keeps what never changes of it on this machine from now on.
    pub fn keep_in(&mut self, cache: &Cache) {
        self.cache = Some(cache.of(self.id()));
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// From now on everything is read from the vault itself: for whoever asks whether it is sound there.
    pub(crate) fn look_afresh(&self) {
        self.afresh.store(true, Relaxed);
    }

    fn kept(&self) -> Option<&Cache> {
        self.cache.as_ref().filter(|_| !self.afresh.load(Relaxed))
    }

    /// Returns what is wrong with the vault's `config`, if that could not be read: all else can be, and a repair writes it anew.
    #[must_use]
    pub fn lost_config(&self) -> Option<&str> {
        self.lost.as_ref().map(|lost| lost.why.as_str())
    }

    /// Says under which id it was known before its config was lost. One that has its config keeps its own.
    pub fn known_as(&mut self, id: &str) {
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.lost.is_some() && is_id {
            id.clone_into(&mut self.config.id);
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the key file that opened it; `None` if it was opened with the master key.
    #[must_use]
    pub fn key_id(&self) -> Option<FileId> {
        self.key_id
    }

    /// Returns the repository's own id: 64 hexadecimal digits, given at its creation.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Returns the address, without secrets.
    #[must_use]
    pub fn address(&self) -> String {
        self.store.address()
    }

    /// Returns where its files lie.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Returns whether blobs may be stored compressed here: not in format 1.
    pub(crate) fn compresses(&self) -> bool {
        self.config.version >= 2
    }

    /// Returns an error unless new points may be written here: format 1 has no compression and is only read.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.config.version == 2 {
            return Ok(());
        }
        let what = "writing to a repository of format 1; `restic migrate upgrade_repo_v2` makes it format 2";
        Err(Error::new(self.address(), Kind::Unsupported(what.into())))
    }

    /// Reads every index file, several at a time. What was known before is forgotten. Damaged index files are
    /// reported and passed over; a listing that fails is an error.
    pub fn load_index(&self) -> Result<IndexReport> {
        for _ in 1..LISTED_AGAIN {
            if let Some(report) = self.load_listed(false)? {
                return Ok(report);
            }
        }
        Ok(self.load_listed(true)?.unwrap_or_default())
    }

    /// Reads the index files as they are listed now. `None` if one went meanwhile, since somebody writes them anew; unless that is to be taken as it is.
    fn load_listed(&self, gone_is_damaged: bool) -> Result<Option<IndexReport>> {
        let listed = self.store.list(FileKind::Index)?;
        self.cached_are(FileKind::Index, &listed);
        let (mut catalogue, mut report) = (Catalogue::default(), IndexReport::default());
        let mut gone = false;
        self.each_index(&listed, |file, index| {
            let index = index.unwrap_or_else(|error| {
                gone |= error.is_not_found();
                report.damaged.push(error);
                Index::default()
            });
            catalogue.add_index(file, &index.packs);
        });
        if gone && !gone_is_damaged {
            return Ok(None);
        }
        let mut known = self.catalogue_mut();
        if !self.afresh.load(Relaxed) {
            // That an index names them still doesn't bring packs back.
            catalogue.forget(known.gone().clone());
        }
        *known = catalogue;
        drop(known);
        Ok(Some(report))
    }

    /// What is kept here of files that the vault doesn't list goes.
    pub(crate) fn cached_are(&self, kind: FileKind, listed: &[Listed]) {
        if let Some(cache) = &self.cache {
            cache.keep_only(kind, listed);
        }
    }

    /// Reads these index files, some at a time: as JSON a blob takes several times what it takes in the catalogue.
    fn each_index(&self, listed: &[Listed], mut take: impl FnMut(FileId, Result<Index>)) {
        let mut rest = listed;
        while !rest.is_empty() {
            let mut bytes = 0u64;
            let fits = |listed: &&Listed| {
                bytes = bytes.saturating_add(listed.size);
                bytes <= INDEX_BYTES_AT_ONCE
            };
            let (batch, others) = rest.split_at(rest.iter().take_while(fits).count().clamp(1, rest.len()));
            self.indexes(batch).into_iter().for_each(|(file, index)| take(file, index));
            rest = others;
        }
    }

    /// Takes what these index files say for all that there is.
    pub(crate) fn know(&self, indexes: &[(FileId, Result<Index>)]) {
        let mut catalogue = Catalogue::default();
        for (file, index) in indexes {
            catalogue.add_index(*file, index.as_ref().map_or(&[], |index| &index.packs));
        }
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = catalogue;
    }

    /// Reads these index files.
    pub(crate) fn indexes(&self, listed: &[Listed]) -> Vec<(FileId, Result<Index>)> {
        let read = |listed: &Listed| {
            let damaged = || {
                let place = crate::store::place(self.store(), "read", FileKind::Index, &listed.name);
                Error::damaged(place, "not an index")
            };
            let json = self.read_sealed(FileKind::Index, &listed.name)?;
            format::index::read(&json).ok_or_else(damaged)
        };
        let results = self.for_each(listed, read);
        // A listing holds nothing but names.
        listed
            .iter()
            .zip(results)
            .filter_map(|(listed, index)| Some((listed.name.parse().ok()?, index)))
            .collect()
    }

    /// Brings the index up to date. Whoever adds to the vault calls it under his lock: what was known before may have been pruned since.
    pub fn refresh_index(&self) -> Result<()> {
        let mut listed = self.store.list(FileKind::Index)?;
        let names: HashSet<FileId> = listed.iter().filter_map(|listed| listed.name.parse().ok()).collect();
        let known = self.catalogue().files().clone();
        if !known.is_subset(&names) {
            return self.load_index().map(drop);
        }
        listed.retain(|listed| listed.name.parse().is_ok_and(|id| !known.contains(&id)));
        // One that can't be read is noted all the same: nobody comes back to it for every backup.
        self.each_index(&listed, |file, index| {
            self.learn_from(file, &index.map(|index| index.packs).unwrap_or_default());
        });
        Ok(())
    }

    /// Seals and writes a file that isn't a pack, under the hash of its sealed bytes.
    pub(crate) fn write_sealed(&self, kind: FileKind, value: &impl Serialize) -> Result<FileId> {
        let place = || format!("write {} in {}", kind.folder(), self.address());
        let packed = format::pack_json(value).map_err(|error| Error::io(place(), error))?;
        let sealed = self.key.seal(&packed).map_err(|error| Error::io(place(), error))?;
        let id = FileId::of(&sealed);
        self.store.write(kind, &id.to_string(), &sealed)?;
        if let Some(cache) = &self.cache {
            cache.keep_file(kind, &id.to_string(), &sealed);
        }
        Ok(id)
    }

    /// Reads a file that isn't a pack: checks its hash and its seal, and returns the JSON. What this machine has kept of it is as good: its name is its hash.
    pub(crate) fn read_sealed(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        if let Some(json) = self.kept().and_then(|cache| self.open_json(kind, &cache.file(kind, name)?)) {
            return Ok(json);
        }
        let sealed = self.store.read(kind, name)?;
        let damaged =
            |what: &str| Error::damaged(crate::store::place(self.store(), "read", kind, name), what);
        if FileId::of(&sealed).to_string() != name {
            return Err(damaged("its content doesn't match its name"));
        }
        let opened = self.key.open(&mut sealed.clone()).map(|plain| format::unpack_json(kind, plain));
        let json = opened.map_err(|_| damaged("it doesn't open with this repository's key"))?;
        let json = json.map_err(damaged)?;
        if let Some(cache) = &self.cache {
            cache.keep_file(kind, name, &sealed);
        }
        Ok(json)
    }

    /// Opens a file that isn't a pack.
    pub(crate) fn open_json(&self, kind: FileKind, sealed: &[u8]) -> Option<Vec<u8>> {
        format::unpack_json(kind, self.key.open(&mut sealed.to_vec()).ok()?).ok()
    }

    pub(crate) fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn catalogue_mut(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes blobs known that no index names: their packs were just read.
    pub(crate) fn learn(&self, packs: &[IndexedPack]) {
        let mut catalogue = self.catalogue_mut();
        for pack in packs {
            catalogue.is_back(&pack.id);
            catalogue.add(pack);
        }
        // Good enough to read from; whoever adds has to read the indexes anew.
        catalogue.forget_files();
    }

    /// Makes blobs known that an index file, just written, names.
    pub(crate) fn learn_from(&self, file: FileId, packs: &[IndexedPack]) {
        self.catalogue.write().unwrap_or_else(PoisonError::into_inner).add_index(file, packs);
    }

    /// Returns whether the index names this blob.
    #[must_use]
    pub fn has(&self, kind: BlobKind, id: &BlobId) -> bool {
        self.catalogue().has(kind, id)
    }

    /// Returns how long a blob is as it is stored, and how long its plain text, as the index has it.
    pub(crate) fn lengths(&self, kind: BlobKind, id: &BlobId) -> Option<(u64, u64)> {
        let place = self.catalogue().places(kind, id).next()?;
        let stored = u64::from(place.length).saturating_sub(crate::crypto::OVERHEAD as u64);
        Some((stored, u64::from(place.plain_length())))
    }

    /// Returns the plain text of a blob, checked against its hash. Every pack of this vault that has it is tried.
    pub fn blob(&self, kind: BlobKind, id: &BlobId) -> Result<Vec<u8>> {
        let places: Vec<_> = {
            let catalogue = self.catalogue();
            catalogue.places(kind, id).map(|place| (catalogue.pack(place.pack), place)).collect()
        };
        let mut first_error = None;
        for (pack, location) in places {
            let Some(pack) = pack else { continue };
            match self.blob_at(pack, &location, id) {
                Ok(plain) => return Ok(plain),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let place = || format!("read blob {} from {}", id.short(), self.address());
        Err(first_error.unwrap_or_else(|| Error::new(place(), Kind::NotFound)))
    }

    /// Returns the plain text of a blob at this place.
    pub(crate) fn blob_at(&self, pack: FileId, location: &Location, id: &BlobId) -> Result<Vec<u8>> {
        let mut sealed = self.store.read_range(FileKind::Pack, &pack.to_string(), location.range())?;
        let mut opener = Opener::default();
        let opened = self.open_blob(&mut sealed, location.uncompressed, id, &mut opener);
        opened.map(<[u8]>::to_vec).map_err(|what| {
            let place = crate::store::place(self.store(), "read", FileKind::Pack, &pack.to_string());
            Error::damaged(place, format!("blob {}: {what}", id.short()))
        })
    }

    /// Opens a sealed blob, inflates it, and checks it against its hash. `uncompressed` is 0 for a blob stored as it is.
    pub(crate) fn open_blob<'o>(
        &self,
        sealed: &'o mut [u8],
        uncompressed: u32,
        id: &BlobId,
        opener: &'o mut Opener,
    ) -> Result<&'o [u8], &'static str> {
        let stored = self.key.open(sealed).map_err(|_| "its seal is broken")?;
        check_stored(stored, uncompressed, id, opener)
    }

    /// Opens a sealed blob, checks it as [`open_blob`](Self::open_blob) does, and returns it as it is stored: compressed where `uncompressed` is above 0.
    pub(crate) fn open_stored<'s>(
        &self,
        sealed: &'s mut [u8],
        uncompressed: u32,
        id: &BlobId,
        opener: &mut Opener,
    ) -> Result<&'s [u8], &'static str> {
        let stored = self.key.open(sealed).map_err(|_| "its seal is broken")?;
        check_stored(stored, uncompressed, id, opener)?;
        Ok(stored)
    }

    /// Reads the headers of the packs that no index names, and makes known what is in them. Returns how many packs that were: an
    /// index that is lost is no loss of data.
    pub(crate) fn learn_unindexed(&self) -> Result<usize> {
        let mut unnamed = self.store.list(FileKind::Pack)?;
        {
            let catalogue = self.catalogue();
            unnamed.retain(|listed| listed.name.parse().is_ok_and(|id| !catalogue.knows_pack(id)));
        }
        let mut found = Vec::new();
        for pack in self.for_each(&unnamed, |listed| self.read_header(listed)) {
            match pack {
                Ok(pack) => found.extend(pack),
                // A pack without a sound header is one more that is lost; one that was out of reach may be read later.
                Err(error) if error.is_retryable() => return Err(error),
                Err(_) => {}
            }
        }
        self.learn(&found);
        Ok(found.len())
    }

    pub(crate) fn read_header(&self, listed: &Listed) -> Result<Option<IndexedPack>> {
        crate::packs::header(self.store(), &self.key, listed)
    }

    /// Returns the entries of a directory.
    pub fn tree(&self, id: &BlobId) -> Result<Vec<Node>> {
        let json = self.blob(BlobKind::Tree, id)?;
        format::tree::read(&json)
            .map_err(|what| Error::damaged(format!("tree {} in {}", id.short(), self.address()), what))
    }

    /// Returns the entries of a directory, as this machine has kept it or as the vault has it: for what only asks what is in it, not whether it is there.
    pub(crate) fn known_tree(&self, id: &BlobId) -> Result<Vec<Node>> {
        let kept = self.kept().and_then(|cache| cache.tree(id));
        let place = self.catalogue().places(BlobKind::Tree, id).next();
        if let (Some(mut sealed), Some(place)) = (kept, place) {
            let mut opener = Opener::default();
            let opened = self.open_blob(&mut sealed, place.uncompressed, id, &mut opener);
            if let Some(nodes) = opened.ok().and_then(|json| format::tree::read(json).ok()) {
                return Ok(nodes);
            }
        }
        let Some((cache, place)) = self.cache.as_ref().zip(place) else { return self.tree(id) };
        let pack = self.catalogue().pack(place.pack);
        let Some(pack) = pack else { return self.tree(id) };
        let Ok(sealed) = self.store.read_range(FileKind::Pack, &pack.to_string(), place.range()) else {
            return self.tree(id);
        };
        let mut opener = Opener::default();
        let opened =
            self.open_blob(&mut sealed.clone(), place.uncompressed, id, &mut opener).map(format::tree::read);
        match opened {
            Ok(Ok(nodes)) => {
                cache.keep_tree(id, &sealed);
                Ok(nodes)
            }
            _ => self.tree(id),
        }
    }

    /// Returns what the header of a whole pack says is in it. `None` if it is damaged.
    pub(crate) fn header_of(&self, pack: &[u8]) -> Option<Vec<Entry>> {
        let (rest, trailer) = pack.split_last_chunk()?;
        let length = pack::header_length(*trailer, pack.len() as u64)?;
        let start = rest.len().checked_sub(usize::try_from(length).ok()?)?;
        pack::read_header(self.key.open(&mut rest.get(start..)?.to_vec()).ok()?)
    }

    /// Calls `work` for every file, as many at a time as the store likes, and returns the results in order.
    pub(crate) fn for_each<T: Sync, R: Send>(&self, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        in_lanes(self.store.lanes(), items, work)
    }
}

/// Inflates a blob as it was stored, and checks it against its hash.
fn check_stored<'o>(
    stored: &'o [u8],
    uncompressed: u32,
    id: &BlobId,
    opener: &'o mut Opener,
) -> Result<&'o [u8], &'static str> {
    let plain = match uncompressed {
        0 => stored,
        length if length as usize <= BLOB_MAX => {
            opener.inflate(stored, length as usize).ok_or("it doesn't decompress")?
        }
        _ => return Err("its length makes no sense"),
    };
    if uncompressed > 0 && plain.len() != uncompressed as usize {
        return Err("its length differs from the index");
    }
    if BlobId::of(plain) != *id {
        return Err("its content doesn't match its hash");
    }
    Ok(plain)
}

//! The packs of a vault, by what its listing, its indexes and their own headers say of them.

use crate::crypto::Key;
use crate::format::index::IndexedPack;
use crate::format::pack;
use crate::store::Listed;
use crate::{Error, FileId, FileKind, Repository, Result, Store};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// The packs of a vault.
pub(crate) struct Packs {
    pub(crate) sizes: HashMap<FileId, u64>,
    pub(crate) indexes: HashSet<FileId>,
    /// Index files that can't be read.
    pub(crate) damaged: Vec<(FileId, Error)>,
    /// Named by an index, and whole.
    pub(crate) live: Vec<IndexedPack>,
    /// Named by an index, and not there or of a wrong length.
    pub(crate) gone: Vec<IndexedPack>,
    pub(crate) marked: Vec<(IndexedPack, Timestamp)>,
    pub(crate) unnamed: Vec<IndexedPack>,
}

impl Packs {
    /// Looks at all of them. The repository then knows the unnamed and the marked ones too.
    pub(crate) fn list(vault: &Repository) -> Result<Self> {
        // Before the index: what a backup adds meanwhile is then indexed and not listed, which is found out below.
        let listed = vault.store().list(FileKind::Pack)?;
        let index_files = vault.indexes(&vault.store().list(FileKind::Index)?);
        vault.know(&index_files);
        let mut known: HashMap<FileId, IndexedPack> = HashMap::new();
        let mut marks: HashMap<FileId, (IndexedPack, Timestamp)> = HashMap::new();
        let mut indexes = HashSet::new();
        let mut damaged = Vec::new();
        for (file, index) in index_files {
            indexes.insert(file);
            let index = match index {
                Ok(index) => index,
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    damaged.push((file, error));
                    continue;
                }
            };
            for pack in index.packs {
                match known.get_mut(&pack.id) {
                    Some(other) => merge(other, pack),
                    None => _ = known.insert(pack.id, pack),
                }
            }
            for (pack, time) in index.marked {
                // Of several marks the latest counts.
                let time = time.unwrap_or(Timestamp::MAX);
                let later = marks.get(&pack.id).map_or(time, |(_, other)| time.max(*other));
                marks.insert(pack.id, (pack, later));
            }
        }
        let sizes: HashMap<FileId, u64> =
            listed.iter().filter_map(|listed| Some((listed.name.parse().ok()?, listed.size))).collect();
        // What an index names is not on its way out, whatever a mark says: a prune that was killed leaves such.
        marks.retain(|id, _| !known.contains_key(id) && sizes.contains_key(id));
        let is_whole = |pack: &IndexedPack| {
            let length =
                pack::length(pack.entries.iter().map(|entry| (entry.length, entry.uncompressed > 0)));
            sizes.get(&pack.id) == Some(&length)
        };
        let (live, gone): (Vec<_>, Vec<_>) = known.into_values().partition(is_whole);
        let named: HashSet<FileId> =
            live.iter().map(|pack| pack.id).chain(gone.iter().map(|pack| pack.id)).collect();
        let unnamed: Vec<_> = listed
            .into_iter()
            .filter(|listed| {
                listed.name.parse().is_ok_and(|id| !named.contains(&id) && !marks.contains_key(&id))
            })
            .collect();
        let unnamed = vault.for_each(&unnamed, |listed| {
            let id = listed.name.parse().ok();
            match (id, vault.read_header(listed)) {
                (_, Err(error)) if error.is_retryable() => Err(error),
                (_, Ok(Some(pack))) => Ok(Some(pack)),
                // Without a sound header: nobody can know what is in it, and all that is needed has to be elsewhere.
                (id, _) => Ok(id.map(|id| IndexedPack { id, entries: Vec::new() })),
            }
        });
        let unnamed: Vec<IndexedPack> =
            unnamed.into_iter().flat_map(Result::transpose).collect::<Result<_>>()?;
        let marked: Vec<_> = marks.into_values().collect();
        // So that the trees of points can be followed through them.
        vault.learn(&unnamed);
        vault.learn(&marked.iter().map(|(pack, _)| pack.clone()).collect::<Vec<_>>());
        Ok(Self { sizes, indexes, damaged, live, gone, marked, unnamed })
    }

    pub(crate) fn size(&self, id: &FileId) -> u64 {
        self.sizes.get(id).copied().unwrap_or(0)
    }
}

/// Reads what a pack says of itself, at its end. `None` if that is damaged.
pub(crate) fn header(store: &dyn Store, key: &Key, listed: &Listed) -> Result<Option<IndexedPack>> {
    let trailer = pack::TRAILER as u64;
    let Some(end) = listed.size.checked_sub(trailer) else { return Ok(None) };
    let bytes = store.read_range(FileKind::Pack, &listed.name, end..listed.size)?;
    let length = bytes.try_into().ok().and_then(|bytes| pack::header_length(bytes, listed.size));
    let (Some(length), Ok(id)) = (length, listed.name.parse()) else { return Ok(None) };
    let Some(start) = end.checked_sub(length) else { return Ok(None) };
    let mut sealed = store.read_range(FileKind::Pack, &listed.name, start..end)?;
    let entries = key.open(&mut sealed).ok().and_then(|plain| pack::read_header(plain));
    Ok(entries.map(|entries| IndexedPack { id, entries }))
}

/// Two index files may each name a part of one pack.
pub(crate) fn merge(pack: &mut IndexedPack, other: IndexedPack) {
    let known: HashSet<u32> = pack.entries.iter().map(|entry| entry.offset).collect();
    pack.entries.extend(other.entries.into_iter().filter(|entry| !known.contains(&entry.offset)));
    pack.entries.sort_by_key(|entry| entry.offset);
}

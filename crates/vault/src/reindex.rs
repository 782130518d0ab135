//! Changes what the indexes of a vault say: the new files are written first, then the old ones go. In between a pack is named twice, and never
//! not at all. Only under an exclusive lock.

use crate::format::index::{Index, IndexedPack};
use crate::lock::{Lock, LockKind};
use crate::packer::INDEX_BLOBS_MAX;
use crate::packs::merge;
use crate::store::Listed;
use crate::{Error, FileId, FileKind, Holder, Kind, Repository, Result, Store};
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// So many index files are worth merging into few: whoever opens the vault reads each of them.
pub(crate) const INDEXES_MAX: usize = 32;

/// Merges the index files of a vault if there are many small ones and nobody else is in it; otherwise the next run may.
pub(crate) fn merge_if_many(vault: &Arc<Repository>, holder: &Holder) {
    let count = vault.catalogue().files().len();
    let blobs = vault.catalogue().len();
    if count <= INDEXES_MAX || blobs / INDEX_BLOBS_MAX > count / 2 {
        return;
    }
    let merge = || -> Result<()> {
        let _lock = Lock::take(vault, LockKind::Exclusive, holder)?;
        let files = names(vault, FileKind::Index)?;
        let change = Change { merge: true, ..Change::default() };
        reindex(vault, &files, change, Timestamp::now(), &mut Vec::new()).map(drop)
    };
    // The point is made; what is left undone here costs the next reader some requests.
    let _ = merge();
}

/// What changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Packs that are on their way out from now on.
    pub(crate) mark: HashMap<FileId, IndexedPack>,
    /// The same, for packs that an index names.
    pub(crate) mark_named: HashSet<FileId>,
    /// Packs that come (back) into the index.
    pub(crate) restore: Vec<IndexedPack>,
    /// Packs that are named and aren't there.
    pub(crate) drop: HashSet<FileId>,
    /// Marked packs whose files are gone.
    pub(crate) removed: HashSet<FileId>,
    /// Index files that can't be read: all that they named is named elsewhere now.
    pub(crate) unreadable: Vec<FileId>,
    /// All index files are written anew, into few.
    pub(crate) merge: bool,
}

/// Carries out the change in these index files, and returns the packs that were marked. What the store refuses to remove is a finding.
pub(crate) fn reindex(
    vault: &Repository,
    files: &BTreeSet<FileId>,
    mut change: Change,
    now: Timestamp,
    findings: &mut Vec<String>,
) -> Result<Vec<FileId>> {
    let unreadable: HashSet<FileId> = change.unreadable.iter().copied().collect();
    let readable = files.iter().filter(|file| !unreadable.contains(file));
    let listed: Vec<Listed> = readable.map(|id| Listed { name: id.to_string(), size: 0 }).collect();
    let restored: HashSet<FileId> = change.restore.iter().map(|pack| pack.id).collect();
    // By their names: several files may name one pack.
    let mut packs: HashMap<FileId, IndexedPack> =
        std::mem::take(&mut change.restore).into_iter().map(|pack| (pack.id, pack)).collect();
    let mut marked: HashMap<FileId, (IndexedPack, Timestamp)> = HashMap::new();
    let mut old = std::mem::take(&mut change.unreadable);
    // Kept apart, since they are found on the way.
    let mut named: HashMap<FileId, IndexedPack> = HashMap::new();
    let moves = |id: &FileId| {
        change.mark.contains_key(id)
            || change.mark_named.contains(id)
            || change.drop.contains(id)
            || restored.contains(id)
    };
    for (file, index) in vault.indexes(&listed) {
        let index = index?;
        let is_touched = change.merge
            || index.packs.iter().any(|pack| moves(&pack.id))
            || index.marked.iter().any(|(pack, _)| moves(&pack.id) || change.removed.contains(&pack.id));
        if !is_touched {
            continue;
        }
        old.push(file);
        for pack in index.packs {
            let into = match (change.mark_named.contains(&pack.id), moves(&pack.id)) {
                (true, _) => &mut named,
                (false, true) => continue,
                (false, false) => &mut packs,
            };
            match into.get_mut(&pack.id) {
                Some(other) => merge(other, pack),
                None => _ = into.insert(pack.id, pack),
            }
        }
        let stays = |pack: &IndexedPack| !moves(&pack.id) && !change.removed.contains(&pack.id);
        let waiting = index.marked.into_iter().filter_map(|(pack, time)| Some((pack, time?)));
        for (pack, time) in waiting.filter(|(pack, _)| stays(pack)) {
            let time = marked.get(&pack.id).map_or(time, |(_, other)| time.max(*other));
            marked.insert(pack.id, (pack, time));
        }
    }
    named.extend(change.mark);
    let new: Vec<FileId> = named.keys().copied().collect();
    marked.extend(named.into_iter().map(|(id, pack)| (id, (pack, now))));
    write(vault, packs.into_values().collect(), marked.into_values().collect())?;
    let old: Vec<String> = old.iter().map(ToString::to_string).collect();
    let refused = vault.store().remove_all(FileKind::Index, &old)?;
    findings.extend(refused.into_iter().map(|(_, error)| error.to_string()));
    vault.load_index()?;
    Ok(new)
}

fn write(vault: &Repository, packs: Vec<IndexedPack>, marked: Vec<(IndexedPack, Timestamp)>) -> Result<()> {
    let packs = packs.into_iter().map(|pack| (pack, None));
    let all = packs.chain(marked.into_iter().map(|(pack, time)| (pack, Some(time))));
    let (mut index, mut blobs) = (Index::default(), 0);
    let write = |index: &mut Index| -> Result<()> {
        let index = std::mem::take(index);
        if !index.packs.is_empty() || !index.marked.is_empty() {
            vault.write_sealed(FileKind::Index, &index)?;
        }
        Ok(())
    };
    for (pack, time) in all {
        blobs += pack.entries.len();
        match time {
            None => index.packs.push(pack),
            Some(_) => index.marked.push((pack, time)),
        }
        if blobs >= INDEX_BLOBS_MAX {
            blobs = 0;
            write(&mut index)?;
        }
    }
    write(&mut index)
}

/// Removes a file. One that the store protects is a finding, and no reason to stop.
pub(crate) fn removed(
    store: &dyn Store,
    kind: FileKind,
    id: &FileId,
    findings: &mut Vec<String>,
) -> Result<bool> {
    match store.remove(kind, &id.to_string()) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind, Kind::Refused(_)) => {
            findings.push(error.to_string());
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Returns the names of all files of a kind.
pub(crate) fn names(vault: &Repository, kind: FileKind) -> Result<BTreeSet<FileId>> {
    Ok(vault.store().list(kind)?.into_iter().filter_map(|listed| listed.name.parse().ok()).collect())
}

/// Returns the error for a vault that is not as it was when it was decided what to do.
pub(crate) fn has_changed(vault: &Repository, verb: &str) -> Error {
    let what = "someone who has changed it since it was looked at";
    Error::new(format!("{verb} {}", vault.address()), Kind::Locked(what.into()))
}

//! Makes room for the lock of a prune where not even that can be written any more.
//!
//! Without a lock, so only while nobody else's is listed, and only what nobody writes or counts on then: temporary files that killed writers have left, packs that
//! no index names and nothing needs, and at last the points that this very prune takes out. One by one, oldest first, until the lock can be written.

use super::carry::is_as_it_was;
use super::{PruneOptions, PrunePlan, Sum};
use crate::lock::{Lock, LockKind};
use crate::{Error, FileId, FileKind, Repository, Result};
use std::sync::Arc;

/// What was removed before the lock was there.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) forgotten: Vec<FileId>,
    pub(super) packs: Sum,
}

/// Takes the lock that could not be written since the vault is `full`.
pub(super) fn lock(
    vault: &Arc<Repository>,
    plan: &PrunePlan,
    options: &PruneOptions,
    full: Error,
) -> Result<(Lock, Made)> {
    let mut packs = oldest_first(vault, FileKind::Pack, plan.work.unnamed.clone()).into_iter();
    let going = plan.forget.iter().map(|id| (*id, 0)).collect();
    let mut points = oldest_first(vault, FileKind::Snapshot, going).into_iter();
    let (mut made, mut full) = (Made::default(), full);
    loop {
        // Who has come meanwhile is at work here, and is told of instead.
        Lock::await_free(vault, LockKind::Exclusive, &options.holder)?;
        let store = vault.store();
        if !store.remove_left_behind()? {
            is_as_it_was(vault, &plan.work, &made.forgotten)?;
            if let Some((id, size)) = packs.next() {
                store.remove(FileKind::Pack, &id.to_string())?;
                made.packs.add(size);
            } else if let Some((id, _)) = points.next() {
                store.remove(FileKind::Snapshot, &id.to_string())?;
                made.forgotten.push(id);
            } else {
                return Err(full);
            }
        }
        match Lock::take(vault, LockKind::Exclusive, &options.holder) {
            Ok(lock) => return Ok((lock, made)),
            Err(error) if error.is_full() => full = error,
            Err(error) => return Err(error),
        }
    }
}

/// Sorts files by when they were written. Where the store can't tell, or removing gives back nothing, there are none.
fn oldest_first(vault: &Repository, kind: FileKind, files: Vec<(FileId, u64)>) -> Vec<(FileId, u64)> {
    let written = |id: &FileId| vault.store().written(kind, &id.to_string());
    let mut dated: Vec<_> = files.into_iter().filter_map(|file| Some((written(&file.0)?, file))).collect();
    dated.sort_unstable();
    dated.into_iter().map(|(_, file)| file).collect()
}

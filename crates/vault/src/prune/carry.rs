//! Carries out what was decided, in an order that leaves the vault whole wherever it is interrupted: needed blobs are written to new packs
//! before anything goes; points go before the index lets go of their blobs; files of packs go last.

use super::{PruneOptions, PrunePlan, PruneReport, Work, room};
use crate::catalogue::PackContents;
use crate::lanes::in_lanes;
use crate::lock::{Lock, LockKind};
use crate::packer::PackWriter;
use crate::reindex::{Change, has_changed, names, reindex};
use crate::repository::Opener;
use crate::{BlobId, Error, FileId, FileKind, Kind, Progress, Repository, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How far apart two blobs of a pack may lie to be read together.
const GAP_MAX: u64 = 256 << 10;
/// So many files go between two looks at the lock.
const REMOVED_AT_ONCE: usize = 1000;

/// Does what `plan` says, with what came since spared too. [`Kind::Locked`] where someone else is in the vault, or something in it has vanished since it was
/// looked at: look again.
pub fn carry_out(
    vault: &Arc<Repository>,
    plan: &PrunePlan,
    options: &PruneOptions,
    progress: &Progress,
) -> Result<PruneReport> {
    if plan.is_empty() {
        return Ok(PruneReport::default());
    }
    match Lock::take(vault, LockKind::Exclusive, &options.holder) {
        Ok(lock) => {
            let again;
            let plan = match is_as_it_was(vault, &plan.work, &[]) {
                Ok(()) => plan,
                Err(changed) if matches!(changed.kind, Kind::Locked(_)) => {
                    again = super::look::again(vault, plan, options, progress, changed)?;
                    &again
                }
                Err(error) => return Err(error),
            };
            under(&lock, vault, plan, options, progress, PruneReport::default())
        }
        Err(error) if options.at_once && error.is_full() => {
            let (lock, made) = room::lock(vault, plan, options, error)?;
            let report =
                PruneReport { forgotten: made.forgotten, removed: made.packs, ..PruneReport::default() };
            // What was decided rests on what is no longer as it was.
            let mut options = options.clone();
            options.known.retain(|id| !report.forgotten.contains(id));
            let plan = super::plan(vault, &options, progress)?;
            under(&lock, vault, &plan, &options, progress, report)
        }
        Err(error) => Err(error),
    }
}

/// Does what `plan` says, under the lock.
fn under(
    lock: &Lock,
    vault: &Arc<Repository>,
    plan: &PrunePlan,
    options: &PruneOptions,
    progress: &Progress,
    mut report: PruneReport,
) -> Result<PruneReport> {
    let work = &plan.work;
    is_as_it_was(vault, work, &[])?;
    if options.at_once {
        check_alone(vault, work)?;
    }
    progress.set_phase("writing packs anew");
    progress.expect(plan.repack.packs, plan.repack_bytes);
    let rewritten = repack(lock, work, options, progress, &mut report)?;
    if progress.is_stopped() {
        return Err(Error::new(format!("prune {}", vault.address()), Kind::Interrupted));
    }
    progress.set_phase("removing");
    lock.guard().check()?;
    for some in plan.forget.chunks(REMOVED_AT_ONCE) {
        lock.guard().check()?;
        let names: Vec<String> = some.iter().map(ToString::to_string).collect();
        // A point that the store doesn't let go still needs what it needs.
        if let Some((_, error)) = vault.store().remove_all(FileKind::Snapshot, &names)?.into_iter().next() {
            return Err(error);
        }
        report.forgotten.extend(some);
    }
    remove_packs(vault, lock, &work.remove, &mut report)?;
    progress.set_phase("writing the index");
    let mut let_go = work.let_go.clone();
    let marked = loop {
        let change = Change {
            mark: work.mark.iter().map(|pack| (pack.id, pack.clone())).collect(),
            mark_named: rewritten.clone(),
            restore: work.restore.clone(),
            drop: work.gone.iter().copied().chain(work.let_go.iter().map(|(id, _)| *id)).collect(),
            removed: really_gone(vault, work)?,
            merge: work.merge,
            ..Change::default()
        };
        lock.guard().check()?;
        match reindex(vault, &work.indexes, change, options.now, &mut report.findings) {
            // Nor has an index room: one pack goes before the index lets go of it. Killed in between, the index names a pack that is gone, which nothing needs and
            // nobody counts on without looking.
            Err(error) if options.at_once && error.is_full() => {
                if !vault.store().use_reserve()? {
                    let Some(pack) = let_go.pop() else { return Err(error) };
                    remove_packs(vault, lock, &[pack], &mut report)?;
                }
            }
            marked => break marked?,
        }
    };
    for pack in marked {
        report.marked.add(work.sizes.get(&pack).copied().unwrap_or(0));
    }
    remove_packs(vault, lock, &let_go, &mut report)?;
    vault.store().keep_reserve();
    Ok(report)
}

/// Removes packs that the index doesn't name.
fn remove_packs(
    vault: &Repository,
    lock: &Lock,
    packs: &[(FileId, u64)],
    report: &mut PruneReport,
) -> Result<()> {
    for some in packs.chunks(REMOVED_AT_ONCE) {
        lock.guard().check()?;
        let names: Vec<String> = some.iter().map(|(id, _)| id.to_string()).collect();
        let refused = vault.store().remove_all(FileKind::Pack, &names)?;
        let stays: HashSet<&String> = refused.iter().map(|(name, _)| name).collect();
        for ((_, size), _) in some.iter().zip(&names).filter(|(_, name)| !stays.contains(name)) {
            report.removed.add(*size);
        }
        report.findings.extend(refused.iter().map(|(_, error)| error.to_string()));
    }
    Ok(())
}

/// Compares the vault with what the decision rests on; these points are `gone` by our own hand.
pub(super) fn is_as_it_was(vault: &Repository, work: &Work, gone: &[FileId]) -> Result<()> {
    let points = names(vault, FileKind::Snapshot)?;
    let are_same = points.iter().eq(work.snapshots.iter().filter(|id| !gone.contains(id)));
    if are_same && names(vault, FileKind::Index)? == work.indexes {
        return Ok(());
    }
    Err(has_changed(vault, "prune"))
}

/// Somebody who writes without a lock shows in packs that weren't there: what he counts on may be what is about to go.
fn check_alone(vault: &Repository, work: &Work) -> Result<()> {
    match names(vault, FileKind::Pack)?.iter().all(|id| work.sizes.contains_key(id)) {
        true => Ok(()),
        false => Err(has_changed(vault, "prune")),
    }
}

/// Returns the removed packs that are gone: a store may protect one.
fn really_gone(vault: &Repository, work: &Work) -> Result<HashSet<FileId>> {
    let removed: HashSet<FileId> = work.remove.iter().map(|(id, _)| *id).collect();
    if removed.is_empty() {
        return Ok(removed);
    }
    let there = names(vault, FileKind::Pack)?;
    Ok(removed.into_iter().filter(|id| !there.contains(id)).collect())
}

/// Writes the needed blobs of packs into new ones, until the time is up. Returns the packs of which all are durable elsewhere now.
fn repack(
    lock: &Lock,
    work: &Work,
    options: &PruneOptions,
    progress: &Progress,
    report: &mut PruneReport,
) -> Result<HashSet<FileId>> {
    if work.repack.is_empty() {
        return Ok(HashSet::new());
    }
    let begun = Instant::now();
    let writer = PackWriter::new(lock);
    let vault = &lock.guard().repository;
    let done = Mutex::new((HashSet::new(), Vec::new(), 0u64));
    let lock = || crate::mutex::lock(&done);
    let results = in_lanes(vault.store().lanes(), &work.repack, |pack| {
        if progress.is_stopped() || writer.has_failed() {
            return Ok(());
        }
        if begun.elapsed() >= options.repack_within {
            lock().2 += 1;
            return Ok(());
        }
        match move_blobs(vault, pack, &writer) {
            Ok(bytes) => {
                progress.add(1, bytes);
                lock().0.insert(pack.id);
                Ok(())
            }
            Err(error) if error.is_retryable() => Err(error),
            // What is damaged stays where it is, for a repair to heal.
            Err(error) => {
                lock().1.push(error.to_string());
                Ok(())
            }
        }
    });
    writer.finish()?;
    results.into_iter().collect::<Result<Vec<()>>>()?;
    let (rewritten, findings, left) = std::mem::take(&mut *lock());
    for pack in &rewritten {
        report.repacked.add(work.sizes.get(pack).copied().unwrap_or(0));
    }
    report.findings.extend(findings);
    report.left = left;
    Ok(rewritten)
}

/// Writes these blobs of a pack anew. Each is held against its hash; one that isn't sound is an error.
fn move_blobs(vault: &Repository, pack: &PackContents, writer: &PackWriter) -> Result<u64> {
    let mut blobs = pack.blobs.clone();
    blobs.sort_by_key(|(_, _, place)| place.offset);
    let mut opener = Opener::default();
    let mut moved = 0;
    let mut stored = Vec::new();
    for run in blobs.chunk_by(|(_, _, a), (_, _, b)| b.range().start <= a.range().end + GAP_MAX) {
        let (Some((_, _, first)), Some((_, _, last))) = (run.first(), run.last()) else { continue };
        let range = first.range().start..last.range().end;
        let mut bytes = vault.store().read_range(FileKind::Pack, &pack.id.to_string(), range.clone())?;
        for (kind, id, place) in run {
            let own = place.range();
            let at = |byte: u64| usize::try_from(byte.saturating_sub(range.start)).unwrap_or(usize::MAX);
            let sealed = bytes.get_mut(at(own.start)..at(own.end)).ok_or("it overlaps another");
            let sealed = sealed.and_then(|sealed| place.check(*kind).map(|()| sealed));
            let opened =
                sealed.and_then(|sealed| vault.open_stored(sealed, place.uncompressed, id, &mut opener));
            let opened = opened.map_err(|what| damaged(vault, pack.id, id, what))?;
            moved += opened.len() as u64;
            stored.push((*kind, *id, opened.to_vec(), place.uncompressed));
        }
    }
    // Only once all are known to be sound: a pack that stays needs no copies.
    for (kind, id, stored, uncompressed) in stored {
        writer.add(kind, id, &stored, uncompressed);
    }
    Ok(moved)
}

fn damaged(vault: &Repository, pack: FileId, id: &BlobId, what: &str) -> Error {
    let place = crate::store::place(vault.store(), "read", FileKind::Pack, &pack.to_string());
    Error::damaged(place, format!("blob {}: {what}: run `releve repair`", id.short()))
}

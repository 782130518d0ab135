//! Looks at a vault and decides what a prune will do to each pack.

use super::{PruneOptions, PrunePlan};
use crate::catalogue::{Catalogue, Location, PackContents};
use crate::format::index::IndexedPack;
use crate::format::pack::Entry;
use crate::packs::Packs;
use crate::reach::{Reached, reach};
use crate::reindex::{INDEXES_MAX, names};
use crate::{BlobId, BlobKind, Error, FileId, FileKind, Progress, Repository, Result, Snapshot};
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Packs smaller than this are worth writing together, once there are so many of them.
const SMALL: u64 = 2 << 20;
const SMALL_COUNT: usize = 16;
/// So many of them are read in one run: each is a request, and the next run has its turn too.
const SMALL_AT_ONCE: usize = 32;

/// Looks at the vault, whose index is read anew, and decides. Fails where something is missing that points need: first repair.
pub fn plan(vault: &Arc<Repository>, options: &PruneOptions, progress: &Progress) -> Result<PrunePlan> {
    progress.set_phase("looking at the points");
    vault.check_writable()?;
    let (snapshots, damaged) = vault.snapshots()?;
    if let Some(error) = damaged.into_iter().next() {
        return Err(error);
    }
    let listed: HashSet<FileId> = snapshots.iter().map(|(id, _)| *id).collect();
    check_shrunk(vault, options, &listed)?;
    let goes = |id: &FileId| listed.contains(id) && !options.keep.contains(id);
    let forget: HashSet<FileId> = options.forget.iter().copied().filter(goes).collect();
    let roots: Vec<BlobId> =
        snapshots.iter().filter(|(id, _)| !forget.contains(id)).map(|(_, snapshot)| snapshot.tree).collect();

    progress.set_phase("looking at the packs");
    let mut packs = Packs::list(vault)?;
    if let Some((_, error)) = packs.damaged.pop() {
        return Err(error);
    }
    progress.set_phase("following the trees");
    let (needed, mut unread) =
        reach(vault.store().lanes(), roots.iter().copied(), |id| vault.known_tree(id), progress)?;
    if let Some((_, error)) = unread.pop() {
        return Err(error);
    }
    let mut plan = packs.decide(vault, &needed, options)?;
    plan.points_kept = roots.len() as u64;
    plan.forget = forget.into_iter().collect();
    plan.forget.sort_unstable();
    plan.work.snapshots = listed.into_iter().collect();
    plan.work.logs = snapshots.iter().filter_map(|(id, snapshot)| Some((*id, log_of(snapshot)?))).collect();
    Ok(plan)
}

/// Looks at the vault again, under the lock, where it is not as it was when `plan` was made. What came since is spared like all else that a point needs, and what
/// goes is what was decided. `changed` where something vanished, unless it is a log of which a newer one is there: a stream goes on every few seconds.
pub(super) fn again(
    vault: &Arc<Repository>,
    plan: &PrunePlan,
    options: &PruneOptions,
    progress: &Progress,
    changed: Error,
) -> Result<PrunePlan> {
    let work = &plan.work;
    let there = names(vault, FileKind::Snapshot)?;
    let gone: HashSet<FileId> = work.snapshots.difference(&there).copied().collect();
    if !gone.is_empty() {
        let (snapshots, _) = vault.snapshots()?;
        let new = snapshots.iter().filter(|(id, _)| !work.snapshots.contains(id));
        let new: HashSet<String> = new.filter_map(|(_, snapshot)| log_of(snapshot)).collect();
        let goes_on = |id: &FileId| work.logs.get(id).is_some_and(|log| new.contains(log));
        if !gone.iter().all(goes_on) {
            return Err(changed);
        }
    }
    let mut options = options.clone();
    options.known.retain(|id| !gone.contains(id));
    self::plan(vault, &options, progress)
}

/// Returns whose log a snapshot is, if it is one.
fn log_of(snapshot: &Snapshot) -> Option<String> {
    let log = snapshot.releve.as_ref()?.log.as_ref()?;
    let identity = log.identity.as_deref().unwrap_or_default();
    Some(format!("{} {identity}", snapshot.tag("system").unwrap_or_default()))
}

/// A point that was there and is not listed may be one that is only not listed: its blobs would look unneeded.
fn check_shrunk(vault: &Repository, options: &PruneOptions, listed: &HashSet<FileId>) -> Result<()> {
    let missing: Vec<String> =
        options.known.iter().filter(|id| !listed.contains(id)).map(FileId::short).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    let what = match missing.len() {
        1 => format!("1 point that was here before is not listed ({named})"),
        many => format!("{many} points that were here before are not listed ({named}…)"),
    };
    Err(Error::damaged(vault.address(), what))
}

impl Packs {
    fn decide(self, vault: &Repository, needed: &Reached, options: &PruneOptions) -> Result<PrunePlan> {
        let mut catalogue = Catalogue::default();
        self.live.iter().for_each(|pack| catalogue.add(pack));
        let marked = self.marked.iter().map(|(pack, _)| pack).collect();
        let (rescued, marked) = self.take_needed(vault, &mut catalogue, needed, marked)?;
        let (adopted, unnamed) =
            self.take_needed(vault, &mut catalogue, needed, self.unnamed.iter().collect())?;
        let is_accepted = |kind| options.accept_lost && kind == BlobKind::Data;
        let lost: Vec<_> =
            needed.iter().filter(|(kind, id)| !is_accepted(*kind) && !catalogue.has(*kind, id)).collect();
        if let Some((_, first)) = lost.first() {
            let what = format!(
                "{} blobs that points need are in no pack here ({}…): nothing is pruned before that is repaired",
                lost.len(),
                first.short()
            );
            return Err(Error::damaged(vault.address(), what));
        }
        let mut plan = PrunePlan { bytes: self.sizes.values().sum(), ..PrunePlan::default() };
        for pack in &rescued {
            plan.rescue.add(self.size(&pack.id));
        }
        for pack in &adopted {
            plan.adopt.add(self.size(&pack.id));
        }
        let times: HashMap<FileId, Timestamp> =
            self.marked.iter().map(|(pack, time)| (pack.id, *time)).collect();
        let delay = SignedDuration::try_from(options.delay).unwrap_or(SignedDuration::MAX);
        let due = options.now.checked_sub(delay).unwrap_or(Timestamp::MIN);
        for pack in marked {
            let size = self.size(&pack.id);
            match times.get(&pack.id) {
                Some(time) if *time <= due || options.at_once => {
                    plan.remove.add(size);
                    plan.work.remove.push((pack.id, size));
                }
                Some(time) if *time <= options.now => plan.wait.add(size),
                // A mark without a time, or from the future since a clock was wrong: its delay begins now.
                _ => {
                    plan.mark.add(size);
                    plan.work.mark.push(pack.clone());
                }
            }
        }
        for pack in unnamed {
            let size = self.size(&pack.id);
            if options.at_once {
                plan.remove.add(size);
                plan.work.remove.push((pack.id, size));
                plan.work.unnamed.push((pack.id, size));
                continue;
            }
            plan.mark.add(size);
            plan.work.mark.push(pack.clone());
        }
        self.sort_live(vault, &mut plan, &catalogue, needed, options)?;
        plan.work.restore = rescued.into_iter().chain(adopted).cloned().collect();
        plan.work.merge = self.indexes.len() > INDEXES_MAX && !options.at_once;
        plan.work.gone = self.gone.into_iter().map(|pack| pack.id).collect();
        plan.work.sizes = self.sizes;
        plan.work.indexes = self.indexes.into_iter().collect();
        Ok(plan)
    }

    /// Takes into the catalogue those of the packs that hold needed blobs that it lacks, all of them sound: a pack may be out of the
    /// index because it is damaged. Returns them, and the others.
    fn take_needed<'p>(
        &self,
        vault: &Repository,
        catalogue: &mut Catalogue,
        needed: &Reached,
        packs: Vec<&'p IndexedPack>,
    ) -> Result<(Vec<&'p IndexedPack>, Vec<&'p IndexedPack>)> {
        let (mut taken, mut others) = (Vec::new(), Vec::new());
        for pack in packs {
            let lacks =
                |entry: &&Entry| needed.has(entry.kind, &entry.id) && !catalogue.has(entry.kind, &entry.id);
            let lacking: Vec<&Entry> = pack.entries.iter().filter(lacks).collect();
            let looks = vault.for_each(&lacking, |entry| {
                let Entry { offset, length, uncompressed, .. } = **entry;
                vault
                    .blob_at(pack.id, &Location { pack: 0, offset, length, uncompressed }, &entry.id)
                    .map(drop)
            });
            let mut is_sound = !lacking.is_empty();
            for look in looks {
                match look {
                    Err(error) if error.is_retryable() => return Err(error),
                    look => is_sound &= look.is_ok(),
                }
            }
            if is_sound {
                catalogue.add(pack);
                taken.push(pack);
            } else {
                others.push(pack);
            }
        }
        Ok((taken, others))
    }

    /// Sorts the packs of the index into those that stay, those that nothing needs, and those worth writing anew.
    fn sort_live(
        &self,
        vault: &Repository,
        plan: &mut PrunePlan,
        catalogue: &Catalogue,
        needed: &Reached,
        options: &PruneOptions,
    ) -> Result<()> {
        let live: HashMap<FileId, &IndexedPack> = self.live.iter().map(|pack| (pack.id, pack)).collect();
        let mut uses: Vec<Use> = Vec::new();
        let kept = keep_one_each(catalogue, needed);
        let mut given_up: Vec<&IndexedPack> = Vec::new();
        let removed: HashSet<FileId> = plan.work.remove.iter().map(|(id, _)| *id).collect();
        given_up.extend(self.marked.iter().map(|(pack, _)| pack).filter(|pack| removed.contains(&pack.id)));
        for contents in &kept {
            given_up.extend(contents.blobs.is_empty().then(|| live.get(&contents.id)).flatten());
        }
        check_replaced(vault, needed, &kept, &given_up)?;
        for contents in kept {
            let used: u64 = contents.blobs.iter().map(|(_, _, place)| u64::from(place.length)).sum();
            plan.bytes_needed += used;
            let size = self.size(&contents.id);
            let Some(pack) = live.get(&contents.id) else { continue };
            if contents.blobs.is_empty() && options.at_once {
                plan.remove.add(size);
                plan.work.let_go.push((pack.id, size));
                continue;
            }
            if contents.blobs.is_empty() {
                plan.mark.add(size);
                plan.work.mark.push((*pack).clone());
                continue;
            }
            let all: u64 = pack.entries.iter().map(|entry| u64::from(entry.length)).sum();
            uses.push(Use { contents, used, unused: all.saturating_sub(used), size });
        }
        let unused: u64 = uses.iter().map(|each| each.unused).sum();
        let total: u64 = uses.iter().map(|each| each.size).sum();
        let mut too_much = unused.saturating_sub((total as f64 * options.unused.clamp(0.0, 1.0)) as u64);
        let small = uses.iter().filter(|each| each.is_small()).count() >= SMALL_COUNT;
        // What gives back most for what it costs comes first.
        uses.sort_by(|a, b| {
            (b.unused * a.used.max(1)).cmp(&(a.unused * b.used.max(1))).then(a.size.cmp(&b.size))
        });
        let mut budget = if options.at_once { 0 } else { options.repack_max };
        let mut small_left = SMALL_AT_ONCE;
        for each in uses {
            let for_size = small && each.is_small() && small_left > 0;
            let worth = (each.unused > 0 && too_much > 0) || for_size;
            if !worth || each.used > budget {
                continue;
            }
            small_left = small_left.saturating_sub(usize::from(each.is_small()));
            budget -= each.used;
            too_much = too_much.saturating_sub(each.unused);
            plan.repack.add(each.size);
            plan.repack_bytes += each.used;
            plan.work.repack.push(each.contents);
        }
        Ok(())
    }
}

/// A pack with needed blobs.
struct Use {
    contents: PackContents,
    used: u64,
    unused: u64,
    size: u64,
}

impl Use {
    fn is_small(&self) -> bool {
        self.size < SMALL
    }
}

/// Returns every pack with the needed blobs that are counted for it. A blob that lies in several counts for the one with most
/// needed bytes: the others may become free.
fn keep_one_each(catalogue: &Catalogue, needed: &Reached) -> Vec<PackContents> {
    let mut packs = catalogue.by_pack();
    packs.iter_mut().for_each(|pack| pack.blobs.retain(|(kind, id, _)| needed.has(*kind, id)));
    packs.sort_by_cached_key(|pack| {
        let used: u64 = pack.blobs.iter().map(|(_, _, place)| u64::from(place.length)).sum();
        (std::cmp::Reverse(used), pack.id)
    });
    let mut seen: HashSet<(BlobKind, BlobId)> = HashSet::new();
    let is_twice = |(kind, id): (BlobKind, &BlobId)| catalogue.places(kind, id).nth(1).is_some();
    for pack in &mut packs {
        pack.blobs.retain(|(kind, id, _): &(BlobKind, BlobId, Location)| {
            !is_twice((*kind, id)) || seen.insert((*kind, *id))
        });
    }
    packs
}

/// Reads what takes the place of needed blobs in packs that are given up: for a copy that isn't sound none goes.
fn check_replaced(
    vault: &Repository,
    needed: &Reached,
    kept: &[PackContents],
    given_up: &[&IndexedPack],
) -> Result<()> {
    let entries = given_up.iter().flat_map(|pack| &pack.entries);
    let replaced: HashSet<(BlobKind, BlobId)> = entries
        .filter(|entry| needed.has(entry.kind, &entry.id))
        .map(|entry| (entry.kind, entry.id))
        .collect();
    let copies: Vec<(FileId, BlobId, Location)> = kept
        .iter()
        .flat_map(|pack| pack.blobs.iter().map(|(kind, id, place)| (pack.id, *kind, *id, *place)))
        .filter(|(_, kind, id, _)| replaced.contains(&(*kind, *id)))
        .map(|(pack, _, id, place)| (pack, id, place))
        .collect();
    let looks = vault.for_each(&copies, |(pack, id, place)| vault.blob_at(*pack, place, id).map(drop));
    looks.into_iter().collect()
}

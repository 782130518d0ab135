//! The snapshots of a vault, all of them: what a look at it holds in memory at once.
//!
//! Each has its bound, and so have all of them together: whoever can write into a vault can put half a million of them there. Each file has a share of the memory that
//! no other can take from it; what is heavier shares what is free besides, and of that the heaviest is passed over, and named. So nobody pushes out an ordinary point
//! with some heavy ones, nor what a known machine has signed with what it hasn't.

use crate::catalogue::Catalogue;
use crate::mutex::lock;
use crate::store::Listed;
use crate::{
    BlobKind, Error, FileId, FileKind, Listing, PointInfo, Repository, Result, Snapshot, UnreadInfo, budget,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a text costs besides its letters: its place in a list that has room for more, and in the allocator's books.
const TEXT: u64 = 64;

/// The keys whose signature under a snapshot is believed here, as far as that is known.
pub(crate) type Signers = OnceLock<HashSet<String>>;

/// Which go first where there is not room for all: in that order, the last before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// No heavier than each may be, or signed by a known machine.
    Own,
    Heavy,
}

/// Snapshots as they are read, within the budget of their vault.
struct Held<'v> {
    signers: Option<&'v HashSet<String>>,
    budget: u64,
    weight: u64,
    kept: BTreeMap<(Class, u64, FileId), Snapshot>,
    over: Vec<(FileId, u64)>,
}

impl<'v> Held<'v> {
    fn new(signers: Option<&'v HashSet<String>>, budget: u64) -> Self {
        Self { signers, budget, weight: 0, kept: BTreeMap::new(), over: Vec::new() }
    }

    fn take(&mut self, (file, snapshot): (FileId, Snapshot)) {
        let weight = weigh(&snapshot);
        // To look at a signature takes longer than all else: only where it may matter.
        let is_own = weight <= budget::SNAPSHOT_SHARE
            || self
                .signers
                .is_some_and(|known| snapshot.signed().is_some_and(|signed| known.contains(&signed.by)));
        let class = if is_own { Class::Own } else { Class::Heavy };
        self.weight = self.weight.saturating_add(weight);
        self.kept.insert((class, weight, file), snapshot);
        while self.weight > self.budget {
            let Some(((_, weight, file), _)) = self.kept.pop_last() else { return };
            self.weight = self.weight.saturating_sub(weight);
            self.over.push((file, weight));
        }
    }
}

impl Repository {
    /// Says whose signatures are known here: where a vault holds more than there is memory for, what they have signed goes last.
    pub fn knows_signers(&self, keys: HashSet<String>) {
        // Who said so first was asked about the same state.
        let _ = self.signers.set(keys);
    }

    /// Returns all snapshots, and the errors of those that could not be read, or for which all of them together leave no memory. An index that was read before is
    /// brought up to date for them.
    pub fn snapshots(&self) -> Result<Listing> {
        let mut names = self.store().list(FileKind::Snapshot)?;
        self.cached_are(FileKind::Snapshot, &names);
        // What one of them inflates to goes with its length: the large ones come last, one at a time.
        names.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| a.name.cmp(&b.name)));
        let held = Mutex::new(Held::new(self.signers.get(), budget::snapshots(names.len())));
        let alone = Mutex::new(());
        let read = |listed: &Listed| -> Result<()> {
            let _alone = (listed.size > budget::SNAPSHOT_ALONE).then(|| lock(&alone));
            let snapshot = self.read_snapshot(&listed.name)?;
            lock(&held).take(snapshot);
            Ok(())
        };
        let mut damaged = Vec::new();
        for result in self.for_each(&names, read) {
            match result {
                Ok(()) => {}
                // Removed between the listing and the reading, by a prune: not there, not damaged.
                Err(error) if error.is_not_found() => {}
                // What could not be asked is not damaged, and what is not seen may be the newest point.
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        let held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
        damaged.extend(held.over.iter().map(|(file, weight)| self.over(file, *weight, held.budget)));
        let mut snapshots: Vec<(FileId, Snapshot)> =
            held.kept.into_iter().map(|((_, _, file), snapshot)| (file, snapshot)).collect();
        // Of the same time they are in the order of their names, however long it took to read them.
        snapshots.sort_by(|(a, x), (b, y)| x.time.cmp(&y.time).then_with(|| a.cmp(b)));
        // A snapshot is written last, and the root of its tree last before: what came since the index was read would look as if it were lost.
        let lags = |catalogue: &Catalogue| {
            let knows = |(_, snapshot): &(FileId, Snapshot)| catalogue.has(BlobKind::Tree, &snapshot.tree);
            !catalogue.files().is_empty() && !snapshots.iter().all(knows)
        };
        if lags(&self.catalogue()) {
            self.refresh_index()?;
        }
        Ok((snapshots, damaged))
    }

    fn over(&self, file: &FileId, weight: u64, budget: u64) -> Error {
        let what = format!(
            "all snapshots of this vault together take more than the {} MB of memory that there are for so many, and this one {} kB: it is passed over; \
            if nobody of yours has made it, `restic forget` takes it away",
            budget >> 20,
            weight >> 10
        );
        Error::damaged(crate::store::place(self.store(), "read", FileKind::Snapshot, &file.to_string()), what)
    }

    pub(crate) fn read_snapshot(&self, name: &str) -> Result<(FileId, Snapshot)> {
        let json = self.read_sealed(FileKind::Snapshot, name)?;
        let damaged = |what: String| {
            Error::damaged(crate::store::place(self.store(), "read", FileKind::Snapshot, name), what)
        };
        let id = name.parse().map_err(|_| damaged("not a name of a snapshot".into()))?;
        let snapshot = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        Ok((id, snapshot))
    }

    /// Writes a snapshot. Everything that it needs must be durable, and indexed, before.
    pub(crate) fn write_snapshot(&self, snapshot: &Snapshot) -> Result<FileId> {
        self.write_sealed(FileKind::Snapshot, snapshot)
    }
}

/// Returns about how many bytes of memory a snapshot takes, with the point that is made of it: that has a copy of what Relève knows.
fn weigh(snapshot: &Snapshot) -> u64 {
    let lists = [&snapshot.paths, &snapshot.excludes, &snapshot.tags].into_iter().map(|list| texts(list));
    let signature = snapshot.signature.as_ref();
    let signature = signature.map_or(0, |signature| {
        signature.by.len() as u64 + signature.seal.len() as u64 + signature.text.len() as u64
    });
    let few = [&snapshot.hostname, &snapshot.username].into_iter().map(|text| text.len() as u64);
    let fixed =
        size_of::<Snapshot>() as u64 + snapshot.program_version.as_ref().map_or(0, |text| text.len() as u64);
    let info = snapshot.releve.as_ref().map_or(0, |info| 2 * weigh_info(info));
    fixed + lists.sum::<u64>() + few.sum::<u64>() + signature + info
}

fn weigh_info(info: &PointInfo) -> u64 {
    let pairs = |list: &Vec<UnreadInfo>| {
        list.iter().map(|one| 2 * TEXT + one.path.len() as u64 + one.why.len() as u64).sum::<u64>()
    };
    let lists =
        [&info.unread, &info.details, &info.left_out, &info.notes].into_iter().map(pairs).sum::<u64>();
    let made_with =
        info.made_with.iter().map(|(name, value)| 2 * TEXT + name.len() as u64 + value.len() as u64);
    let options = [&info.position, &info.whole_at, &info.identity, &info.suspicious, &info.since];
    let options = options.into_iter().flatten().map(|text| text.len() as u64);
    let log = info.log.as_ref().map_or(0, |log| {
        let paths = log.timelines.iter().flat_map(|line| &line.path).map(|(_, at)| TEXT + at.len() as u64);
        let earlier = log.earlier.iter().map(|part| part.from.len() as u64 + part.to.len() as u64);
        let runs = log.runs.iter().map(|run| {
            let missing = run.missing.as_ref().map_or(0, |missing| missing.len() as u64);
            run.from.len() as u64 + run.to.len() as u64 + missing
        });
        let passed = log.passed.keys().map(|id| 2 * TEXT + id.len() as u64);
        let entries = log.timelines.len() + log.earlier.len() + log.runs.len();
        let few = [&log.identity, &log.missing].into_iter().flatten().map(|text| text.len() as u64);
        let few = few.sum::<u64>() + log.from.len() as u64;
        few + paths.sum::<u64>()
            + earlier.sum::<u64>()
            + runs.sum::<u64>()
            + passed.sum::<u64>()
            + 3 * TEXT * entries as u64
    });
    let all = info.source.len() as u64 + texts(&info.doubts) + texts(&info.mounted);
    all + lists + made_with.sum::<u64>() + options.sum::<u64>() + log
}

fn texts(list: &[String]) -> u64 {
    list.iter().map(|text| TEXT + text.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlobId, SigningKey};

    fn snapshot(paths: usize) -> Snapshot {
        let tree = BlobId::of(b"tree");
        let json = format!(
            r#"{{"time":"2026-11-30T10:00:00Z","tree":"{tree}","paths":[{}"/srv"],"hostname":"shop-1","tags":["releve","system:shop","point:0123456789ab"]}}"#,
            r#""/p","#.repeat(paths)
        );
        serde_json::from_str(&json).unwrap()
    }

    fn file(number: u32) -> FileId {
        FileId::of(&number.to_be_bytes())
    }

    #[test]
    fn ordinary_points_are_had_whatever_lies_beside_them_and_what_is_heavy_goes_first() {
        let heavy = snapshot(100_000);
        let light = snapshot(3);
        assert!(weigh(&heavy) > 6_000_000 && weigh(&light) < budget::SNAPSHOT_SHARE / 2, "{}", weigh(&light));
        // In whatever order they come.
        for is_first in [true, false] {
            let mut held = Held::new(None, budget::snapshots(1040));
            let forged = |held: &mut Held<'_>| (0..40).for_each(|at| held.take((file(at), heavy.clone())));
            if is_first {
                forged(&mut held);
            }
            (100..1100).for_each(|at| held.take((file(at), light.clone())));
            if !is_first {
                forged(&mut held);
            }
            assert_eq!(held.kept.keys().filter(|(class, ..)| *class == Class::Own).count(), 1000);
            assert!(held.weight <= held.budget && held.over.len() > 20, "{}", held.over.len());
            assert_eq!(held.over.len() + held.kept.len(), 1040);
        }
    }

    #[test]
    fn what_a_known_machine_has_signed_is_no_more_pushed_out_than_an_ordinary_point() {
        let key = SigningKey::from_seed(&"1".repeat(64)).unwrap();
        let mut signed = snapshot(100_000);
        key.sign(&mut signed, None);
        let known = HashSet::from([key.public()]);
        let forged = snapshot(90_000);
        assert!(weigh(&signed) > weigh(&forged));
        for (signers, is_kept) in [(Some(&known), true), (None, false)] {
            let mut held = Held::new(signers, budget::snapshots(20));
            held.take((file(100), signed.clone()));
            (0..40).for_each(|at| held.take((file(at), forged.clone())));
            assert_eq!(held.kept.keys().any(|(_, _, name)| *name == file(100)), is_kept);
        }
    }
}

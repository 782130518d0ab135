//! Takes points out of a vault, and gives back the room of what no point needs any more.
//!
//! In two calls: [`plan`] looks and decides, and what it returns can be shown; [`carry_out`] does that and nothing else, under an
//! exclusive lock. What came since is looked at under the lock, and needs what it needs; where something vanished, nothing is done.
//!
//! In two phases: a pack that nothing needs is taken out of the index and marked; its file is removed by a later run, when the mark
//! is older than any backup or restore may be, and if still nothing needs it. So a backup that overlooked a lock, a restore that
//! was under way and a decision that was wrong all have that long.
//!
//! When a disk is full there is no time for a delay: [`PruneOptions::at_once`] takes both phases in one run, after the index has let go, under the exclusive
//! lock, and only if no pack has come that wasn't there when it was looked at. Where the disk has not even room for the lock, a little is made first (`room.rs`),
//! and then all of it is looked at afresh.
//!
//! Nothing is concluded from absence: a point that was seen before and is not listed, an index that can't be read, a blob that is nowhere
//! stop it, since what is not seen can't be spared.

mod carry;
mod look;
mod room;

pub use carry::carry_out;
pub use look::plan;

use crate::catalogue::PackContents;
use crate::format::index::IndexedPack;
use crate::{FileId, Holder};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// What to take out, and how careful to be.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// The snapshots of the points to take out.
    pub forget: Vec<FileId>,
    /// Snapshots that stay, whatever else names them: the last word.
    pub keep: Vec<FileId>,
    /// All snapshots that are known to be in the vault, from earlier looks: one of them missing stops the prune.
    pub known: Vec<FileId>,
    /// Pieces of files that no vault has any more are known to be lost, and don't stop the prune.
    pub accept_lost: bool,
    /// How long a pack that nothing needs stays: longer than any backup takes.
    pub delay: Duration,
    /// Room is needed now: what nothing needs goes at once, without its delay, and nothing is written anew.
    pub at_once: bool,
    /// Unneeded bytes that may stay in packs with needed ones, as a share of all.
    pub unused: f64,
    /// How many bytes of packs are written anew at most.
    pub repack_max: u64,
    /// For how long packs are written anew at most: what is left is done next time.
    pub repack_within: Duration,
    /// Now, by the clock of this machine.
    pub now: Timestamp,
    /// This machine and user, for the lock.
    pub holder: Holder,
}

/// What a prune will do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PrunePlan {
    /// Snapshots that are removed.
    pub forget: Vec<FileId>,
    /// How many stay.
    pub points_kept: u64,
    /// Packs that nothing needs: they are marked.
    pub mark: Sum,
    /// Packs of which the needed blobs are written into new ones; then they are marked.
    pub repack: Sum,
    /// Needed bytes in them: what is written.
    pub repack_bytes: u64,
    /// Marked packs that are needed again: they come back into the index.
    pub rescue: Sum,
    /// Packs with needed blobs that no index names: they come into the index.
    pub adopt: Sum,
    /// Packs that are removed: marked for long enough, and still needed by nothing.
    pub remove: Sum,
    /// Packs that were marked and wait for their time.
    pub wait: Sum,
    /// Bytes of all packs now.
    pub bytes: u64,
    /// Bytes that points need.
    pub bytes_needed: u64,
    #[serde(skip)]
    pub(crate) work: Work,
}

/// Packs, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub packs: u64,
    /// Of how many bytes together.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

impl PrunePlan {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forget.is_empty()
            && [self.mark, self.repack, self.rescue, self.adopt, self.remove].iter().all(|sum| sum.packs == 0)
            && !self.work.merge
    }
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PruneReport {
    /// Snapshots that were removed.
    pub forgotten: Vec<FileId>,
    /// Packs that were marked, those that were written anew among them.
    pub marked: Sum,
    /// Packs that were written anew.
    pub repacked: Sum,
    /// Packs that were removed.
    pub removed: Sum,
    /// Packs that were left for the next time, since time was up.
    pub left: u64,
    /// What the store refused to remove (it is protected), or what turned out to be damaged.
    pub findings: Vec<String>,
}

/// What carrying out needs to know. What it rests on is compared with the vault as it is then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    snapshots: BTreeSet<FileId>,
    /// Those of them that are logs, and whose: one that went on since takes the place of one that was looked at.
    logs: HashMap<FileId, String>,
    indexes: BTreeSet<FileId>,
    /// Packs to be marked, and those that no index names and nothing needs.
    mark: Vec<IndexedPack>,
    /// With the blobs that are needed.
    repack: Vec<PackContents>,
    /// Rescued and adopted.
    restore: Vec<IndexedPack>,
    remove: Vec<(FileId, u64)>,
    /// Those of them that no index names at all.
    unnamed: Vec<(FileId, u64)>,
    /// Packs that the index still names, that nothing needs, and that go at once: first out of the index.
    let_go: Vec<(FileId, u64)>,
    /// Packs that an index names and that are not there; nothing needs them.
    gone: Vec<FileId>,
    /// Lengths of the packs that are there.
    sizes: HashMap<FileId, u64>,
    /// There are so many small index files that they are worth merging.
    merge: bool,
}

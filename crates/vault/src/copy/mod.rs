//! Copies restore points to a vault that lacks them: what a vault missed while it was out of reach, it gets later.
//!
//! ```text
//! walk.rs    the trees of the point, from the source that answers first  ─▶ blobs that the target's index lacks
//! carry.rs   stretches of source packs, several at once ─▶ each blob opened, checked against its hash, handed on as it is stored
//! packer.rs  sealed with the target's key ─▶ packs, uploaded several at a time ─▶ index ─▶ the snapshot, last
//! ```
//!
//! Nothing is cut or compressed anew. Every tree is walked although the target may name it: a backup that was killed leaves trees
//! whose contents it never wrote. Of several points in one run, what an earlier one has completed is not walked again.
//!
//! Whoever is killed has lost what no index names yet (see `packer.rs`): the next run copies the rest.
//!
//! Memory: 64 MiB for what is read, the longest blob for each reader, the packs under way (`packer.rs`), and some 100 bytes for each
//! blob that is missing and each tree of the points.

mod carry;
mod walk;

use crate::lock::{Holder, Lock, LockKind};
use crate::packer::PackWriter;
use crate::set::{PATIENCE, VaultSet};
use crate::{BlobId, Error, FileId, Kind, Progress, Repository, Result, Snapshot};
use std::collections::HashSet;
use std::sync::Arc;

/// A point that was copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// The snapshot's name in the target.
    pub snapshot: FileId,
    /// Bytes that were written for it.
    pub bytes: u64,
}

/// What a vault lacks of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lacks {
    /// Pieces of content and folders.
    pub blobs: u64,
    /// The bytes that they take in the vaults that have them, as indexes say: about what has to be moved.
    pub bytes: u64,
}

impl Lacks {
    fn of(missing: &walk::Missing) -> Self {
        Self { blobs: (missing.data.len() + missing.trees.len()) as u64, bytes: missing.bytes }
    }
}

/// The copies of one run into one vault.
pub struct Copying {
    set: VaultSet,
    target: Arc<Repository>,
    /// Trees that the target has with all that is below them.
    complete: HashSet<BlobId>,
    lock: Lock,
    _locks: Vec<Lock>,
}

/// Counts what a vault lacks of several points, without touching it.
pub struct Estimate {
    set: VaultSet,
    target: Option<Arc<Repository>>,
    complete: HashSet<BlobId>,
    counted: HashSet<BlobId>,
}

/// Copies one point into `target`: [`Copying`] for a single one.
pub fn copy(
    sources: &[Arc<Repository>],
    target: &Arc<Repository>,
    snapshot: &Snapshot,
    holder: &Holder,
    progress: &Progress,
) -> Result<Copied> {
    Copying::begin(sources, target, holder)?.copy(snapshot, progress)
}

impl Copying {
    /// Locks the vaults for as long as this lives. All indexes are loaded.
    pub fn begin(sources: &[Arc<Repository>], target: &Arc<Repository>, holder: &Holder) -> Result<Self> {
        target.check_writable()?;
        let lock = Lock::take(target, LockKind::Shared, holder)?;
        let mut locks = Vec::new();
        target.refresh_index()?;
        target.look_for_packs();
        for source in sources {
            match Lock::take(source, LockKind::Shared, holder) {
                Ok(lock) => locks.push(lock),
                Err(error) if matches!(error.kind, Kind::Locked(_)) => return Err(error),
                // A vault that can only be read can't be locked, and is a good source all the same.
                Err(_) => {}
            }
        }
        let set = VaultSet::new(sources, PATIENCE);
        Ok(Self { set, target: Arc::clone(target), complete: HashSet::new(), lock, _locks: locks })
    }

    /// Copies the point of this snapshot. Each blob is taken from the first of the sources that has it sound; one that none has is an
    /// error, and the target gets no snapshot: a copy with a hole is not a copy. What was copied until then stays, for the next try.
    pub fn copy(&mut self, snapshot: &Snapshot, progress: &Progress) -> Result<Copied> {
        self.copy_if(snapshot, |_| Ok(()), progress)
    }

    /// As [`copy`](Self::copy), where somebody may refuse it before anything is written, by what is missing: there may be no room.
    pub fn copy_if(
        &mut self,
        snapshot: &Snapshot,
        allowed: impl FnOnce(Lacks) -> Result<()>,
        progress: &Progress,
    ) -> Result<Copied> {
        progress.set_phase("looking for what is missing");
        let missing = walk::missing(
            &self.set,
            |kind, id| self.target.has(kind, id),
            snapshot.tree,
            &self.complete,
            progress,
        )?;
        allowed(Lacks::of(&missing))?;
        progress.expect(0, missing.bytes);
        progress.set_phase("copying");
        let writer = PackWriter::new(&self.lock);
        let carried = carry::carry(&self.set, &writer, &missing, progress);
        // Whatever became of the rest: what has arrived is worth an index.
        let bytes = writer.finish()?;
        carried?;
        self.lock.guard().look()?;
        let snapshot = self.target.write_snapshot(snapshot)?;
        self.complete.extend(missing.walked);
        Ok(Copied { snapshot, bytes })
    }
}

impl Estimate {
    /// Compares with `target`; without one, with a vault that has nothing. All indexes are loaded.
    #[must_use]
    pub fn new(sources: &[Arc<Repository>], target: Option<Arc<Repository>>) -> Self {
        let (complete, counted) = Default::default();
        Self { set: VaultSet::new(sources, PATIENCE), target, complete, counted }
    }

    /// Returns what the vault lacks of this point, apart from what it lacks of those that were asked for before.
    pub fn lacks(&mut self, snapshot: &Snapshot, progress: &Progress) -> Result<Lacks> {
        let has = |kind, id: &BlobId| {
            self.counted.contains(id) || self.target.as_ref().is_some_and(|target| target.has(kind, id))
        };
        let missing = walk::missing(&self.set, has, snapshot.tree, &self.complete, progress)?;
        let lacks = Lacks::of(&missing);
        self.counted.extend(missing.data.iter().chain(&missing.trees).map(|(id, _)| *id));
        self.complete.extend(missing.walked);
        Ok(lacks)
    }
}

fn interrupted() -> Error {
    Error::new("copy", Kind::Interrupted)
}

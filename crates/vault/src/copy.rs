//! Copies a restore point to a vault that lacks it: what a vault missed while it was out of reach, it gets later.
//!
//! Every tree is walked although the target may name it: a backup that was killed leaves trees whose contents it
//! never wrote. The snapshot is written last, as in a backup.

use crate::lock::{Holder, Lock, LockKind};
use crate::packer::PackWriter;
use crate::repository::in_lanes;
use crate::set::VaultSet;
use crate::sink::{Press, Sink};
use crate::{BlobId, BlobKind, Error, FileId, Kind, NodeKind, Progress, Repository, Result, Snapshot};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Blobs that are fetched together; each is 4 MiB at most, and a lane holds one.
const BATCH: usize = 64;

/// A point that was copied.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// The snapshot's name in the target.
    pub snapshot: FileId,
    /// Bytes that were written for it.
    pub bytes: u64,
}

/// Copies the point of this snapshot into `target`. Each blob is taken from the first of `sources` that has it sound; one that
/// none has is an error, and the target gets no snapshot: a copy with a hole is not a copy. All indexes are loaded.
pub fn copy(
    sources: &[Arc<Repository>],
    target: &Arc<Repository>,
    snapshot: &Snapshot,
    holder: &Holder,
    progress: &Progress,
) -> Result<Copied> {
    target.check_writable()?;
    let _target_lock = Lock::take(target, LockKind::Shared, holder)?;
    target.refresh_index()?;
    let mut source_locks = Vec::new();
    for source in sources {
        match Lock::take(source, LockKind::Shared, holder) {
            Ok(lock) => source_locks.push(lock),
            Err(error) if matches!(error.kind, Kind::Locked(_)) => return Err(error),
            // A vault that can only be read can't be locked, and is a good source all the same.
            Err(_) => {}
        }
    }
    if let Some(info) = &snapshot.releve {
        progress.expect(info.files, info.bytes);
    }
    progress.set_phase("copying");
    let set = VaultSet::new(sources, crate::set::PATIENCE);
    let writer = PackWriter::new(Arc::clone(target));
    let writers = [&writer];
    Copy { set: &set, sink: Sink::new(&writers), target, progress, presses: Mutex::default() }
        .tree(snapshot.tree)?;
    let bytes = writer.finish()?;
    let snapshot = target.write_snapshot(snapshot)?;
    Ok(Copied { snapshot, bytes })
}

struct Copy<'a> {
    set: &'a VaultSet,
    sink: Sink<'a>,
    target: &'a Repository,
    progress: &'a Progress,
    presses: Mutex<Vec<Press>>,
}

impl Copy<'_> {
    fn tree(&self, root: BlobId) -> Result<()> {
        let mut seen = HashSet::from([root]);
        let mut stack = vec![root];
        let mut wanted = Vec::new();
        let mut asked = HashSet::new();
        while let Some(tree) = stack.pop() {
            if self.progress.is_stopped() {
                return Err(Error::new("copy", Kind::Interrupted));
            }
            for node in self.set.tree(&tree)? {
                self.progress.add(u64::from(!node.is_dir()), node.size());
                match node.kind {
                    NodeKind::Dir { subtree: Some(subtree) } if seen.insert(subtree) => stack.push(subtree),
                    NodeKind::File { content, .. } => {
                        let missing = content.into_iter().filter(|id| !self.target.has(BlobKind::Data, id));
                        wanted.extend(missing.filter(|id| asked.insert(*id)));
                    }
                    _ => {}
                }
            }
            if wanted.len() >= BATCH {
                self.fetch(BlobKind::Data, &std::mem::take(&mut wanted))?;
            }
        }
        self.fetch(BlobKind::Data, &wanted)?;
        let trees: Vec<BlobId> = seen.into_iter().filter(|id| !self.target.has(BlobKind::Tree, id)).collect();
        self.fetch(BlobKind::Tree, &trees)?;
        // A fetch that was asked to stop has left things out: no snapshot may follow.
        if self.progress.is_stopped() { Err(Error::new("copy", Kind::Interrupted)) } else { Ok(()) }
    }

    fn fetch(&self, kind: BlobKind, ids: &[BlobId]) -> Result<()> {
        let results = in_lanes(self.set.lanes(), ids, |id| {
            if self.progress.is_stopped() || self.sink.is_lost() {
                return Ok(());
            }
            let plain = self.set.blob(kind, id)?;
            let mut press = self.lock().pop().unwrap_or_else(Press::new);
            self.sink.put(kind, &plain, &mut press);
            self.lock().push(press);
            Ok(())
        });
        results.into_iter().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Press>> {
        self.presses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

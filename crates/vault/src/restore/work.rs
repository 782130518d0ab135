//! The workers: each reads a stretch, opens its blobs and writes them, or does a handful of small tasks.

use super::batch::{Batch, Stretch, Want};
use super::examine::Item;
use super::file::{self, FileJob};
use super::folder::{Folder, Target, open_target};
use super::mark::Mark;
use super::walk::{Walk, pieces};
use super::{Part, RestoreOptions, RestoreReport};
use crate::mutex::lock;
use crate::repository::Opener;
use crate::set::VaultSet;
use crate::stretch::stretches;
use crate::trees::Trees;
use crate::{BlobId, BlobKind, Error, Kind, Progress, Result};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The longest stretch: more at a time makes nothing faster.
const STRETCH_MAX: u64 = 4 << 20;
/// How often what was written is sent on to the disk, and after how much of it: the disk works while we do.
const SEND_ON_EVERY: Duration = Duration::from_millis(200);
const SEND_ON_BYTES: u64 = 256 << 20;

/// What a worker takes at a time.
pub(super) enum Work<'a> {
    Read(Stretch<'a>),
    /// Blobs that no index names.
    Seek(Vec<Want<'a>>),
    Tasks(Vec<Task<'a>>),
}

/// Something small.
pub(super) enum Task<'a> {
    /// What is no file.
    Make(Item<'a>),
    /// A file that is there already.
    Keep(Item<'a>),
    /// A file that may be there already, as a whole or in part.
    Compare(Item<'a>),
    /// A file without content to read.
    Finish(Arc<FileJob<'a>>),
}

/// How much is done at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) workers: usize,
    /// Bytes of a stretch.
    pub(super) stretch: u64,
    /// Bytes of a blob that each worker may hold inflated; a longer one is held by one of them at a time.
    plain: u64,
}

impl Limits {
    fn new(set: &VaultSet, memory: u64) -> Self {
        let workers = set.lanes();
        // Half for stretches, half for what comes out of them and for the walk.
        let share = memory / 2 / workers as u64;
        Self { workers, stretch: share.clamp(256 << 10, STRETCH_MAX), plain: share.max(1 << 20) }
    }
}

pub(super) fn restore(
    set: VaultSet,
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<RestoreReport> {
    // Asked first: without the root there is nothing to begin with.
    let mut trees = Trees::new(&set);
    trees.read(&tree)?;
    let mut options = options.clone();
    let dir = Arc::new(open_target(&options.target)?);
    let mark = Mark::leave(Arc::clone(&dir), &tree);
    let compared_after_crash = mark.is_after_crash && !options.verify;
    options.verify |= mark.is_after_crash;
    let target = Target::new(&options, progress);
    let root = target.root(dir)?;
    run(trees, &tree, &target, root);
    if progress.is_stopped() {
        return Err(Error::new(format!("restore to {}", options.target.display()), Kind::Interrupted));
    }
    progress.set_phase("writing to the disk");
    // Success is said only after the data is on the disk.
    target.sync()?;
    // What comes first is only half of it: the other half still has to see an older mark, and to compare.
    mark.remove(options.only.is_empty() && !matches!(options.part, Part::First(_)));
    let mut report = target.take_report();
    report.vault_faults = set.into_faults();
    report.compared_after_crash = compared_after_crash;
    Ok(report)
}

fn run<'a>(trees: Trees<'_>, tree: &BlobId, target: &Arc<Target<'a>>, root: Arc<Folder<'a>>) {
    let set = trees.set();
    let limits = Limits::new(set, target.options.memory);
    let (send, work) = bounded(limits.workers * 2);
    let (done, ended) = bounded::<()>(0);
    let large = Mutex::new(());
    let large = &large;
    std::thread::scope(|scope| {
        for _ in 0..limits.workers {
            let (work, done) = (work.clone(), done.clone());
            scope.spawn(move || {
                let opener = Opener::default();
                Worker { set, progress: target.progress, limits, large, opener }.all(&work);
                drop(done);
            });
        }
        drop((work, done));
        scope.spawn(move || send_on(target, &ended));
        Walk::new(trees, Arc::clone(target), root, limits, send).walk(tree);
    });
    target.links.clear();
}

/// Sends what was written on to the disk, until the workers have ended.
fn send_on(target: &Target<'_>, ended: &Receiver<()>) {
    let mut sent = target.progress.bytes.load(Ordering::Relaxed);
    while ended.recv_timeout(SEND_ON_EVERY) == Err(RecvTimeoutError::Timeout) {
        let written = target.progress.bytes.load(Ordering::Relaxed);
        if written.saturating_sub(sent) >= SEND_ON_BYTES {
            sent = written;
            // An error comes again at the end, where it counts.
            let _ = target.sync();
        }
    }
}

struct Worker<'w> {
    set: &'w VaultSet,
    progress: &'w Progress,
    limits: Limits,
    /// Held by whoever has a blob in hand that is larger than his share.
    large: &'w Mutex<()>,
    opener: Opener,
}

impl Worker<'_> {
    fn all(&mut self, work: &Receiver<Work<'_>>) {
        for work in work {
            // What was asked to stop only empties the queue.
            if self.progress.is_stopped() {
                continue;
            }
            match work {
                Work::Read(stretch) => self.stretch(stretch),
                Work::Seek(wants) => self.seek(wants),
                Work::Tasks(tasks) => self.tasks(tasks),
            }
        }
    }

    /// What several files lack is read together: of files that follow one another it lies together.
    fn tasks(&mut self, tasks: Vec<Task<'_>>) {
        let mut batch = Batch::default();
        for task in tasks {
            match task {
                Task::Make(item) => {
                    let outcome = file::make(&item.folder, &item.node);
                    item.tell(outcome);
                }
                Task::Keep(item) => item.keep(),
                Task::Finish(job) => job.piece_done(),
                Task::Compare(item) => {
                    let pieces = pieces(self.set, &item.node);
                    let is_empty = pieces.placed.is_empty();
                    let Some((job, to_read)) = item.compare(pieces) else { continue };
                    if is_empty {
                        job.piece_done();
                    }
                    to_read.into_iter().for_each(|piece| batch.add(piece, Arc::clone(&job)));
                }
            }
        }
        self.read(batch.take());
    }

    fn read(&mut self, wants: Vec<Want<'_>>) {
        if wants.is_empty() {
            return;
        }
        let (stretches, homeless) = stretches(self.set, BlobKind::Data, wants, self.limits.stretch);
        stretches.into_iter().for_each(|stretch| self.stretch(stretch));
        self.seek(homeless);
    }

    /// Reads a stretch and delivers what is sound in it; the rest is read from elsewhere.
    fn stretch(&mut self, stretch: Stretch<'_>) {
        let bad = stretch.read(self.set, |repository, sealed, uncompressed, want| {
            let alone = (u64::from(uncompressed) > self.limits.plain).then(|| lock(self.large));
            // A blob that lies in the pack twice over has been opened, and is no longer sealed.
            let done = match repository.open_blob(sealed, uncompressed, &want.id, &mut self.opener) {
                Ok(plain) => {
                    deliver(want, plain);
                    Ok(())
                }
                Err(what) => Err((want, what)),
            };
            if alone.is_some() {
                self.opener = Opener::default();
            }
            done
        });
        self.read(bad);
    }

    /// Looks for each blob on its own, everywhere. What is nowhere is lost.
    fn seek(&mut self, wants: Vec<Want<'_>>) {
        for want in wants {
            if self.progress.is_stopped() {
                return;
            }
            match self.set.blob(BlobKind::Data, &want.id) {
                Ok(plain) => deliver(want, &plain),
                Err(error) => {
                    for (file, at) in want.targets {
                        // Out of reach is not lost: no placeholder is written for what may be there tomorrow.
                        match error.is_retryable() {
                            true => file.fail(format!("it could not be read: {error}")),
                            false => file.lose(at..at.saturating_add(want.length)),
                        }
                        file.piece_done();
                    }
                }
            }
        }
    }
}

fn deliver(want: Want<'_>, plain: &[u8]) {
    let is_zero = file::is_zero(plain);
    // By value: a file is closed as soon as it is finished, however many want the same.
    for (file, at) in want.targets {
        // The places of all pieces behind it rest on its length, and that is only what an index said.
        if plain.len() as u64 != want.length {
            file.fail(format!("the index of a vault is wrong about the length of blob {}", want.id.short()));
        } else if is_zero && file.has_holes() {
            file.leave_hole(want.length);
        } else {
            file.write(at, plain);
        }
        file.piece_done();
    }
}

//! Captures an [`Input`] into several vaults at once: read, cut, hashed and compressed once, sealed for each.
//!
//! ```text
//! walker ──directories──▶ lists, compares with the point before ──files that may have changed──▶ readers
//! readers: read, cut; small files are hashed and compressed on the spot ──pieces of large files──▶ hashers
//! hashers: hash, ask each vault whether it has it, compress ──▶ a PackWriter for each vault ──▶ uploaders
//! ```
//!
//! A directory's tree is written by whoever finishes its last entry, so trees follow their contents. A snapshot
//! is written last, after its vault has everything durable. A vault that fails is dropped and the others go on.
//!
//! What an input can't let anybody choose the order of ([`Input::pour`]) comes first, and is cut, hashed and sent in the same way.
//!
//! An input that knows what changed since the point before ([`Input::since`]) is believed only where every vault holds that very
//! point: then directories are taken over as they are, unlisted. Whatever is in doubt is walked.
//!
//! What it doesn't promise: a consistent instant. A file that changes while it is read is read again and, if it goes on
//! changing, named; consistency across files is the source's business.

mod append;
mod aside;
mod kinds;
mod look;
mod pour;
mod read;
mod scrambled;
mod slot;
mod tally;
mod waiting;
mod walk;

pub use append::{Addition, append, files_of, is_same};

use crate::lanes::in_lanes;
use crate::lock::{Holder, Lock, LockKind};
use crate::packer::PackWriter;
use crate::{
    BlobId, Change, Error, FileId, Input, Kind, PointInfo, Progress, Repository, Result, Snapshot, Unread,
    UnreadInfo,
};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many unread things the point itself remembers. The count is exact; the rest of the list is in the report.
const UNREAD_REMEMBERED: usize = 1000;

/// What a backup needs to know besides its input and its vaults.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The id of the new point: the same in every vault.
    pub point: String,
    /// The system that is captured.
    pub system: String,
    /// How it is captured: `files`, `sqlite`, `command`.
    pub source: String,
    /// When the capture began.
    pub time: Timestamp,
    /// What is captured, as absolute paths.
    pub paths: Vec<String>,
    /// What is left out.
    pub excludes: Vec<String>,
    /// This machine and user: noted in the snapshot and in lock files.
    pub holder: Holder,
    /// The point before, of which what didn't change is taken over unread.
    pub parent: Option<(FileId, Snapshot)>,
    /// Threads that hash and compress; as many more read. 0: one for each core.
    pub threads: usize,
    /// What makes the point doubtful although all was read.
    pub doubts: Vec<String>,
}

/// What a backup did.
#[derive(Debug)]
pub struct BackupReport {
    /// The root of the point.
    pub tree: BlobId,
    /// What is known of the point; `info.unread_count` above 0 makes it incomplete.
    pub info: PointInfo,
    /// Everything that could not be read or trusted.
    pub unread: Vec<Unread>,
    /// Everything that lacks something besides its content.
    pub details: Vec<Unread>,
    /// Whether the input's word was taken for what did not change. If not, everything was looked at.
    pub believed: bool,
    /// For each vault, in the order given: the snapshot and the bytes written, or why it doesn't have the point.
    pub vaults: Vec<Result<Written>>,
}

/// A point that one vault holds now.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// The snapshot's name.
    pub snapshot: FileId,
    /// Bytes that were written for it: what was new, sealed.
    pub bytes: u64,
    /// Packs that the vault's index names and that are gone. The point does without them; older ones may lack what they held.
    pub gone: u64,
}

/// Captures `input` into `vaults`, whose indexes are loaded. Fails as a whole only where there is no point anywhere: it
/// was interrupted, or nothing could be listed at all. One vault's failure is in the report.
pub fn backup(
    input: &dyn Input,
    vaults: &[Arc<Repository>],
    options: &BackupOptions,
    progress: &Progress,
) -> Result<BackupReport> {
    backup_since(input, vaults, options, &[], progress)
}

/// As [`backup`], and takes the input's word for what changed since the parent ([`Input::since`]). `parents` are the snapshots of the
/// parent's point, one for each vault and in their order: unless each of them is there, everything is looked at.
pub fn backup_since(
    input: &dyn Input,
    vaults: &[Arc<Repository>],
    options: &BackupOptions,
    parents: &[FileId],
    progress: &Progress,
) -> Result<BackupReport> {
    backup_signed(input, vaults, options, parents, (&|_| (), &|_| ()), progress)
}

/// Says what a point is worth.
pub type Judge<'a> = dyn Fn(&mut PointInfo) + 'a;
/// Signs one.
pub type Sign<'a> = dyn Fn(&mut Snapshot) + 'a;

/// As [`backup_since`], and lets `judge` say what the point is worth, by what it holds, and `sign` sign it once all of it is known.
pub fn backup_signed(
    input: &dyn Input,
    vaults: &[Arc<Repository>],
    options: &BackupOptions,
    parents: &[FileId],
    (judge, sign): (&Judge<'_>, &Sign<'_>),
    progress: &Progress,
) -> Result<BackupReport> {
    let begun = Instant::now();
    let targets = targets(vaults, options, Duration::ZERO)?;
    let writers: Vec<&PackWriter> = targets.iter().flatten().map(|(_, writer)| writer).collect();
    if let Some((_, parent)) = &options.parent
        && let Some(info) = &parent.releve
    {
        progress.expect(info.files, info.bytes);
    }
    progress.set_phase("reading");
    let mut believed = holds_parent(vaults, &targets, options, parents);
    let first = Walk { believed, may_end: true };
    let captured = match walk::capture(input, &writers, options, first, progress)? {
        Some(captured) => captured,
        None => {
            believed = false;
            look_again(&writers);
            let all = Walk { believed, may_end: false };
            let again = walk::capture(input, &writers, options, all, progress)?;
            again.ok_or_else(|| Error::new("backup", Kind::Damaged("the point before".into())))?
        }
    };
    for (writer, gone) in look_again(&writers) {
        // Pieces may have been left out by then because it was said to have them.
        let place = writer.repository().address();
        let what = format!("{gone} packs that its index names are gone; the next backup does without them");
        writer.give_up(Error::damaged(place, what));
    }
    drop(writers);

    let mut unread = captured.unread;
    unread.extend(input.finish());
    let details = captured.details;
    let parent = options.parent.as_ref().and_then(|(_, snapshot)| snapshot.releve.as_ref());
    let mounted = parent.map(|info| info.mounted.as_slice()).unwrap_or_default();
    let mut info = PointInfo {
        source: options.source.clone(),
        files: captured.files,
        bytes: captured.bytes,
        links: captured.links,
        specials: captured.specials,
        unread_count: unread.len() as u64,
        unread: unread.iter().take(UNREAD_REMEMBERED).map(UnreadInfo::from).collect(),
        details_count: details.len() as u64,
        details: details.iter().take(UNREAD_REMEMBERED).map(UnreadInfo::from).collect(),
        left_out: input.left_out().iter().map(UnreadInfo::from).collect(),
        notes: input.notes().iter().take(UNREAD_REMEMBERED).map(UnreadInfo::from).collect(),
        doubts: options.doubts.iter().cloned().chain(input.doubts(mounted)).collect(),
        mounted: input.mounted(mounted),
        change: captured.change,
        ended: ended(input, options, begun),
        position: input.position(),
        whole_at: input.whole_at(),
        identity: input.identity(),
        made_with: input.made_with(),
        since: options.parent.as_ref().and_then(|(_, parent)| parent.tag("point").map(str::to_owned)),
        ..PointInfo::default()
    };
    judge(&mut info);
    let mut snapshot = snapshot(options, captured.tree, info.clone());
    sign(&mut snapshot);

    let done = register(targets, &snapshot, progress);
    for vault in vaults.iter().zip(&done).filter_map(|(vault, done)| done.is_ok().then_some(vault)) {
        crate::reindex::merge_if_many(vault, &options.holder);
        vault.store().keep_reserve();
    }
    let vaults = done;
    Ok(BackupReport { tree: captured.tree, info, unread, details, believed, vaults })
}

/// Returns when a capture had ended: by the clock of what was captured, where that said so, since it may have taken long to begin.
fn ended(input: &dyn Input, options: &BackupOptions, begun: Instant) -> Option<jiff::Timestamp> {
    let said = input.ended().and_then(|ended| {
        jiff::Timestamp::new(ended.seconds, i32::try_from(ended.nanos).unwrap_or_default()).ok()
    });
    let took = || jiff::SignedDuration::try_from(begun.elapsed()).ok();
    said.or_else(|| options.time.checked_add(took()?).ok())
}

/// A vault that is written to, under its lock.
type Target = (Lock, PackWriter);

/// Makes the vaults ready to be written to. An error means that none of them is.
/// Their packs are looked for, unless they were `within` this time.
fn targets(
    vaults: &[Arc<Repository>],
    options: &BackupOptions,
    within: Duration,
) -> Result<Vec<Result<Target>>> {
    let target = |vault: &Arc<Repository>| {
        vault.check_writable()?;
        let lock = Lock::take(vault, LockKind::Shared, &options.holder)?;
        vault.refresh_index()?;
        vault.look_for_packs_within(within);
        let writer = PackWriter::new(&lock);
        writer.take_up();
        Ok((lock, writer))
    };
    // Side by side: one that waits for somebody's lock must not keep the others.
    let mut targets: Vec<Result<Target>> = in_lanes(vaults.len(), vaults, target);
    if targets.iter().any(Result::is_ok) {
        return Ok(targets);
    }
    // Nobody to write to: each vault's own error says it better than a sum of them.
    let first = targets.drain(..).find_map(Result::err);
    Err(first.unwrap_or_else(|| Error::new("backup", Kind::Unsupported("no vault to write to".into()))))
}

/// Looks for the packs of those vaults from which something could not be read that they should have, and returns where more are gone than was known.
fn look_again<'a>(writers: &[&'a PackWriter]) -> Vec<(&'a PackWriter, u64)> {
    let doubted = writers.iter().copied().filter(|writer| writer.repository().is_doubted());
    let found = doubted.filter_map(|writer| {
        let known = writer.repository().packs_gone();
        let gone = writer.repository().look_for_packs();
        (gone > known).then_some((writer, gone))
    });
    found.collect()
}

/// Waits in each vault until everything is durable, and registers the point there.
fn register(targets: Vec<Result<Target>>, snapshot: &Snapshot, progress: &Progress) -> Vec<Result<Written>> {
    progress.set_phase("finishing");
    let written = |target: Result<Target>| {
        let (lock, writer) = target?;
        let repository = Arc::clone(writer.repository());
        let bytes = writer.finish()?;
        if progress.is_stopped() {
            return Err(Error::new("backup", Kind::Interrupted));
        }
        // Nothing is called done whose packs somebody may have taken for leftovers meanwhile.
        lock.guard().look()?;
        let snapshot = repository.write_snapshot(snapshot)?;
        drop(lock);
        Ok(Written { snapshot, bytes, gone: repository.packs_gone() })
    };
    // Side by side: a distant vault's last uploads must not keep the local point waiting.
    std::thread::scope(|scope| {
        let threads: Vec<_> = targets.into_iter().map(|target| scope.spawn(|| written(target))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Returns whether every vault that is written to holds the point before, whole. Asked under the locks: from now on nobody
/// takes anything away that it needs.
fn holds_parent(
    vaults: &[Arc<Repository>],
    targets: &[Result<Target>],
    options: &BackupOptions,
    parents: &[FileId],
) -> bool {
    let Some((_, parent)) = &options.parent else { return false };
    let whole = parent.releve.as_ref().is_some_and(|info| info.unread_count == 0 && info.details_count == 0);
    whole
        && parents.len() == vaults.len()
        && vaults.iter().zip(targets).zip(parents).all(|((vault, target), file)| {
            target.is_err()
                || vault.packs_gone() == 0
                    && vault.read_snapshot(&file.to_string()).is_ok_and(|(_, snapshot)| {
                        snapshot.tree == parent.tree && snapshot.tag("point") == parent.tag("point")
                    })
        })
}

fn snapshot(options: &BackupOptions, tree: BlobId, info: PointInfo) -> Snapshot {
    let mut tags =
        vec!["releve".to_owned(), format!("system:{}", options.system), format!("point:{}", options.point)];
    if info.unread_count > 0 {
        tags.push("incomplete".to_owned());
    }
    Snapshot {
        time: options.time,
        // A parent is one vault's own snapshot: its name means nothing in another, so none is noted.
        parent: None,
        tree,
        paths: options.paths.clone(),
        hostname: options.holder.hostname.clone(),
        username: options.holder.username.clone(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        excludes: options.excludes.clone(),
        tags,
        original: None,
        program_version: Some(concat!("releve ", env!("CARGO_PKG_VERSION")).to_owned()),
        releve: Some(info),
        signature: None,
    }
}

impl From<&Unread> for UnreadInfo {
    fn from(unread: &Unread) -> Self {
        Self { path: unread.path.to_string_lossy().into_owned(), why: unread.why.clone() }
    }
}

/// How the input is walked.
#[derive(Debug, Clone, Copy)]
struct Walk {
    /// It is believed what it says of what changed.
    believed: bool,
    /// It may end early, to be begun once more.
    may_end: bool,
}

/// What the walk found.
struct Captured {
    tree: BlobId,
    files: u64,
    links: u64,
    specials: u64,
    bytes: u64,
    change: Change,
    unread: Vec<Unread>,
    details: Vec<Unread>,
}

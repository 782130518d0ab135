//! Walks the input, decides what must be read, and writes each directory's tree when its last entry is done.
//!
//! Where the input is believed, directories in which nothing changed are taken over unlisted. Their files are counted as what is
//! left of the point before when all that was met of it elsewhere is taken away.

mod before;

use super::pour::Poured;
use super::read::{Piece, Reader};
use super::slot::{Dir, Entry, Slot, close};
use super::tally::Tally;
use super::waiting::Watched;
use super::{BackupOptions, Captured, Walk};
use crate::budget::Folders;
use crate::format::holdable;
use crate::packer::PackWriter;
use crate::pool::Pool;
use crate::sink::{Press, Sink};
use crate::{
    BlobId, Change, Error, Input, Kind, Node, NodeKind, Progress, Repository, Result, Since, Timestamp,
    Unread,
};
use before::Counts;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Entries on their way to a reader. Small: an entry waiting here is one whose `stat` grows old.
const JOBS: usize = 256;
/// Pieces on their way to a hasher, of 4 MiB at most.
const PIECES: usize = 4;

/// A file's time is only as fine as the kernel's tick, or a whole second on some file systems: a change so shortly before the
/// point began may bear a time that another change bears as well.
const SETTLED_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// What all threads of one backup share.
pub(super) struct Shared<'a> {
    pub(super) input: &'a dyn Input,
    pub(super) sink: Sink<'a>,
    pub(super) progress: &'a Progress,
    pub(super) unread: Mutex<Vec<Unread>>,
    /// What lacks something besides its content.
    pub(super) details: Mutex<Vec<Unread>>,
    pub(super) presses: Mutex<Vec<Press>>,
    /// For pieces of large files.
    buffers: Pool,
    pub(super) root: Mutex<Option<BlobId>>,
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) links: AtomicU64,
    pub(super) specials: AtomicU64,
    pub(super) tally: Tally,
    /// Contents are looked at: there is a point before.
    pub(super) looks: bool,
    /// Files that are being read, or wait for it.
    reading: Mutex<usize>,
    all_read: Condvar,
}

#[expect(clippy::large_enum_variant, reason = "nearly every job is a file")]
enum Job<'a> {
    File { path: PathBuf, node: Node, slot: Slot<'a>, entry: Entry, awaited: Awaited<'a> },
    Finish(Arc<Dir<'a>>),
}

/// Counts a file among those that are read, or wait for it, until it is dropped: also where its reader has died, or nobody reads any more. Whoever waits for all
/// of them would wait for ever else.
struct Awaited<'a>(&'a Shared<'a>);

impl<'a> Awaited<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        *lock(&shared.reading) += 1;
        Self(shared)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut reading = lock(&self.0.reading);
        *reading = reading.saturating_sub(1);
        if *reading == 0 {
            self.0.all_read.notify_all();
        }
    }
}

/// A directory that waits for the walker, with the tree that it had in the point before.
struct ToWalk<'a> {
    dir: Arc<Dir<'a>>,
    path: PathBuf,
    before: Option<BlobId>,
    /// Its entries are as they were; only directories in it are to be asked about.
    deeper: bool,
}

/// An entry that waits until all else was read, with what it was in the point before.
struct Late<'a> {
    path: PathBuf,
    node: Node,
    old: Option<Node>,
    slot: Slot<'a>,
}

/// Captures the input. `None`: it was believed, and a tree of the point before can't be read, without which the totals are not
/// known; or one that a vault should have can't, and it is to be seen first what else it lacks. To be done again without believing.
pub(super) fn capture(
    input: &dyn Input,
    writers: &[&PackWriter],
    options: &BackupOptions,
    how: Walk,
    progress: &Progress,
) -> Result<Option<Captured>> {
    let watched = Watched::new(input);
    let shared = Shared {
        input: &watched,
        sink: Sink::new(writers),
        progress,
        unread: Mutex::default(),
        details: Mutex::default(),
        presses: Mutex::default(),
        buffers: Pool::new(PIECES),
        root: Mutex::default(),
        files: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        links: AtomicU64::new(0),
        specials: AtomicU64::new(0),
        tally: Tally::of(&options.paths),
        looks: options.parent.is_some(),
        reading: Mutex::default(),
        all_read: Condvar::new(),
    };
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        n => n,
    };
    let (jobs, todo) = bounded(JOBS);
    let (pieces, cut) = bounded(PIECES);
    let (ends, ended) = bounded::<()>(0);
    let walked = std::thread::scope(|scope| {
        // Dropped on every way out, and by each reader: then nobody waits any longer.
        let ends = ends;
        scope.spawn(|| watched.watch(progress, &ended));
        for _ in 0..threads.clamp(1, 8) {
            let (todo, pieces, cut, ends) = (todo.clone(), pieces.clone(), cut.clone(), ends.clone());
            scope.spawn(|| {
                read_all(&shared, todo, pieces);
                // The walk may be over long before: whoever still reads is told to stop, too.
                drop(ends);
            });
            scope.spawn(|| hash_all(&shared, cut));
        }
        drop((todo, cut));
        let poured = Poured::take_all(&shared, pieces).map_err(|error| match progress.is_stopped() {
            true => Error::new("backup", Kind::Interrupted),
            false => Error::io("read what to back up", error),
        })?;
        Walker::new(&shared, writers, options, how, jobs, poured).walk()
    })?;
    if progress.is_stopped() {
        return Err(Error::new("backup", Kind::Interrupted));
    }
    let Some(rest) = walked else { return Ok(None) };
    let change = shared.tally.conclude(&nearest(writers));
    let Some(tree) = *lock(&shared.root) else {
        return Err(Error::io("backup", io::Error::other("the root of the point was never completed")));
    };
    let (bytes_new, incompressible) = shared.sink.counted();
    Ok(Some(Captured {
        tree,
        files: shared.files.load(Relaxed) + rest.files,
        links: shared.links.load(Relaxed) + rest.links,
        specials: shared.specials.load(Relaxed) + rest.specials,
        bytes: shared.bytes.load(Relaxed) + rest.bytes,
        change: Change { bytes_new, incompressible, ..change },
        unread: std::mem::take(&mut *lock(&shared.unread)),
        details: std::mem::take(&mut *lock(&shared.details)),
    }))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a thread owns its ends of the channels, so that they close with it"
)]
fn read_all<'a>(shared: &'a Shared<'a>, todo: Receiver<Job<'a>>, pieces: Sender<Piece<'a>>) {
    let mut reader = Reader {
        input: shared.input,
        sink: &shared.sink,
        pieces,
        press: Press::new(),
        zeros: None,
        buffer: Vec::new(),
        buffers: &shared.buffers,
        progress: shared.progress,
        looks: shared.looks,
    };
    for job in &todo {
        match job {
            Job::File { path, node, slot, entry, awaited } => {
                reader.file(&path, node, slot, entry);
                drop(awaited);
            }
            Job::Finish(dir) => close(dir),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as above")]
fn hash_all<'a>(shared: &'a Shared<'a>, cut: Receiver<Piece<'a>>) {
    let mut press = Press::new();
    cut.iter().for_each(|piece| piece.store(&shared.sink, &mut press, &shared.buffers));
}

struct Walker<'a> {
    shared: &'a Shared<'a>,
    options: &'a BackupOptions,
    jobs: Sender<Job<'a>>,
    /// Where trees of the point before are read, nearest first.
    vaults: Vec<Arc<Repository>>,
    /// When the point before was begun: what changed since may have changed after it was read.
    before: Option<Timestamp>,
    /// The input is asked what changed, and believed.
    believed: bool,
    /// What was met of the point before, where the input is believed.
    met: Counts,
    /// A tree of the point before could not be read.
    lost: bool,
    /// Whether a vault could not give one that it should have, and its packs were not looked for just now; `None`: all is walked anyway.
    doubtful: Option<bool>,
    late: Vec<Late<'a>>,
    poured: Poured<'a>,
    /// The folders of the point before that are gone, as they are counted.
    folders: Folders,
}

impl<'a> Walker<'a> {
    fn new(
        shared: &'a Shared<'a>,
        writers: &[&PackWriter],
        options: &'a BackupOptions,
        how: Walk,
        jobs: Sender<Job<'a>>,
        poured: Poured<'a>,
    ) -> Self {
        let vaults = nearest(writers);
        let before = options.parent.as_ref().map(|(_, snapshot)| {
            let nanos = snapshot.time.as_nanosecond() - SETTLED_AFTER.as_nanos() as i128;
            Timestamp {
                seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MIN),
                nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
            }
        });
        // What has come by itself doesn't come twice.
        let doubtful = (how.may_end && poured.is_empty()).then_some(false);
        Self {
            shared,
            options,
            jobs,
            folders: Folders::of(vaults.iter().map(|vault| &**vault)),
            vaults,
            before,
            believed: how.believed,
            met: Counts::default(),
            lost: false,
            doubtful,
            late: Vec::new(),
            poured,
        }
    }

    /// Returns what was taken over unlisted.
    fn walk(mut self) -> Result<Option<Counts>> {
        let root = Arc::new(Dir {
            shared: self.shared,
            nodes: Mutex::default(),
            open: AtomicUsize::new(1),
            own: Mutex::new(None),
        });
        let before = self.options.parent.as_ref().map(|(_, snapshot)| snapshot.tree);
        let mut stack = vec![ToWalk { dir: root, path: PathBuf::new(), before, deeper: false }];
        loop {
            let Some(next) = stack.pop() else {
                let late = std::mem::take(&mut self.late);
                if late.is_empty() {
                    break;
                }
                self.shared.wait_for_readers();
                for Late { path, node, old, slot } in late {
                    self.visit(path, node, old, slot, &mut stack);
                }
                continue;
            };
            if self.shared.progress.is_stopped() || self.shared.sink.is_lost() {
                // Nothing will be registered; what is under way drains by itself.
                break;
            }
            self.directory(next, &mut stack)?;
            if (self.believed && self.lost) || self.doubtful == Some(true) {
                return Ok(None);
            }
        }
        let rest = self.rest();
        self.shared.tally.unchanged(rest.files.saturating_sub(rest.links + rest.specials));
        self.shared.progress.add(rest.files, rest.bytes);
        Ok(Some(rest))
    }

    fn directory(&mut self, next: ToWalk<'a>, stack: &mut Vec<ToWalk<'a>>) -> Result<()> {
        if next.deeper && self.unlisted(&next, stack) {
            return Ok(());
        }
        let ToWalk { dir, path, before, .. } = next;
        let mut unread = Vec::new();
        let listed = self.shared.input.list(&path, &mut unread);
        lock(&self.shared.unread).append(&mut unread);
        let mut nodes = match listed {
            Ok(nodes) => nodes,
            Err(error) if path.as_os_str().is_empty() => {
                return Err(Error::io("list what to back up", error));
            }
            Err(error) => {
                let slot = lock(&dir.own).take();
                if let Some((node, slot)) = slot {
                    if error.kind() == io::ErrorKind::NotFound {
                        self.count_removed(&path, before);
                        slot.leave_out();
                        return Ok(());
                    }
                    *lock(&dir.own) = Some((node, slot));
                }
                self.note(&path, format!("could not be listed: {error}"));
                Vec::new()
            }
        };
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // A listing is no set: union mounts and network disks give a name twice, and a tree that did could not be restored.
        nodes.dedup_by(|a, b| a.name == b.name);
        let before = self.tree_before(before);
        before.iter().for_each(|old| self.meet(old));
        let mut before = before.into_iter().peekable();
        lock(&dir.nodes).resize(nodes.len(), None);
        dir.open.fetch_add(nodes.len(), AcqRel);
        let first_child = stack.len();
        for (at, mut node) in nodes.into_iter().enumerate() {
            while let Some(gone) = before.next_if(|old| old.name < node.name) {
                self.removed(&path, &gone);
            }
            let old = before.next_if(|old| old.name == node.name);
            let slot = Slot { dir: Arc::clone(&dir), at };
            // A time of access changes with every look, ours included: kept, it would make every tree a new one.
            node.meta.atime = node.meta.mtime;
            let child = path.join(OsStr::from_bytes(&node.name));
            match self.shared.input.is_late(&child) {
                true => self.late.push(Late { path: child, node, old, slot }),
                false => self.visit(child, node, old, slot, stack),
            }
        }
        before.for_each(|gone| self.removed(&path, &gone));
        self.leave(dir, first_child, stack);
        Ok(())
    }

    /// Captures an entry, or leaves it on the stack if it is a directory.
    fn visit(
        &mut self,
        path: PathBuf,
        mut node: Node,
        old: Option<Node>,
        slot: Slot<'a>,
        stack: &mut Vec<ToWalk<'a>>,
    ) {
        if node.is_dir() {
            if let Some(old) = &old {
                self.shared.tally.gone(path.parent().unwrap_or(&path), old);
            }
            let since = self.since(&path, &node, old.as_ref());
            let subtree = self.take_over_dir(&path, &mut node, old);
            self.descend(path, node, slot, subtree, since, stack);
        } else {
            if let Some(Node { kind: NodeKind::Dir { subtree }, .. }) = old {
                self.count_removed(&path, subtree);
            }
            self.entry(path, node, old, slot);
        }
    }

    /// Ends the walk of a directory, whose children lie on the stack from `first_child` on.
    fn leave(&self, dir: Arc<Dir<'a>>, first_child: usize, stack: &mut [ToWalk<'a>]) {
        // The stack is walked from its end: reversed, the children come in the order of their names.
        if let Some(children) = stack.get_mut(first_child..) {
            children.reverse();
        }
        // Whoever takes the last entry away writes the tree; a reader does it here, to keep the walker walking.
        let _ = self.jobs.send(Job::Finish(dir));
    }

    /// Asks what changed in a directory since the point before, where that can be believed: it is the same directory.
    fn since(&self, path: &Path, node: &Node, old: Option<&Node>) -> Since {
        let same = old.is_some_and(|old| {
            matches!(old.kind, NodeKind::Dir { subtree: Some(_) })
                && (old.meta.inode, old.meta.device) == (node.meta.inode, node.meta.device)
        });
        if self.believed && same { self.shared.input.since(path, node) } else { Since::Unknown }
    }

    /// Takes a directory over, or leaves it on the stack to be walked.
    fn descend(
        &self,
        path: PathBuf,
        mut node: Node,
        slot: Slot<'a>,
        before: Option<BlobId>,
        since: Since,
        stack: &mut Vec<ToWalk<'a>>,
    ) {
        if since == Since::Nothing {
            node.kind = NodeKind::Dir { subtree: before };
            return slot.fill(node);
        }
        let own = Mutex::new(Some((node, slot)));
        let nodes = Mutex::default();
        let dir = Arc::new(Dir { shared: self.shared, nodes, open: AtomicUsize::new(1), own });
        stack.push(ToWalk { dir, path, before, deeper: since == Since::Deeper });
    }

    /// Takes the entries of a directory over from the point before and looks only at the directories in it that may have changed.
    /// `false`: it must be listed after all.
    fn unlisted(&mut self, next: &ToWalk<'a>, stack: &mut Vec<ToWalk<'a>>) -> bool {
        let mut nodes = self.tree_before(next.before);
        if self.lost {
            return false;
        }
        let mut known = Vec::with_capacity(nodes.len());
        for node in &mut nodes {
            let path = next.path.join(OsStr::from_bytes(&node.name));
            let NodeKind::Dir { subtree } = node.kind else {
                known.push((path, Since::Nothing, None));
                continue;
            };
            let since = self.since(&path, node, Some(node));
            let mut before = subtree;
            if since == Since::Unknown {
                let Ok(mut now) = self.shared.input.look(&path) else { return false };
                if !now.is_dir() || now.meta.inode != node.meta.inode || now.meta.device != node.meta.device {
                    return false;
                }
                now.meta.atime = now.meta.mtime;
                now.name.clone_from(&node.name);
                before = self.take_over_dir(&path, &mut now, Some(node.clone()));
                *node = now;
            }
            known.push((path, since, before));
        }
        lock(&next.dir.nodes).resize(nodes.len(), None);
        let first_child = stack.len();
        for (at, (node, (path, since, before))) in nodes.into_iter().zip(known).enumerate() {
            if since == Since::Nothing {
                // Not through a slot: what is taken over is counted as a whole, at the end.
                if let Some(place) = lock(&next.dir.nodes).get_mut(at) {
                    *place = Some(node);
                }
            } else {
                next.dir.open.fetch_add(1, AcqRel);
                let slot = Slot { dir: Arc::clone(&next.dir), at };
                self.descend(path, node, slot, before, since, stack);
            }
        }
        self.leave(Arc::clone(&next.dir), first_child, stack);
        true
    }

    fn entry(&mut self, path: PathBuf, mut node: Node, old: Option<Node>, slot: Slot<'a>) {
        let folder = path.parent().unwrap_or(&path);
        if self.poured.holds(&path) {
            let entry = Entry { place: self.shared.tally.place(folder), before: old.map(Box::new) };
            return match self.shared.input.describe(&path, &mut node) {
                Ok(()) => self.poured.place(&path, node, slot, entry),
                Err(error) => slot.fail(&path, &error.to_string()),
            };
        }
        if !matches!(node.kind, NodeKind::File { .. }) {
            if let Some(old) = &old {
                self.shared.tally.gone(folder, old);
            }
            self.shared.progress.add(1, 0);
            return match self.shared.input.describe(&path, &mut node) {
                Ok(()) => slot.fill(node),
                Err(error) if error.kind() == io::ErrorKind::NotFound => slot.leave_out(),
                Err(error) => slot.fail(&path, &error.to_string()),
            };
        }
        if let Some(same) = old.as_ref().filter(|old| self.is_unchanged(old, &node))
            && let NodeKind::File { content, .. } = &same.kind
            && self.shared.sink.everywhere(content)
        {
            self.shared.tally.unchanged(1);
            self.shared.progress.add(1, same.size());
            let same = self.described_again(&path, same.clone(), &node);
            return slot.fill(carried_over(same, &node));
        }
        let awaited = Awaited::new(self.shared);
        let entry = Entry { place: self.shared.tally.place(folder), before: old.map(Box::new) };
        // The receivers live as long as the walker sends.
        let _ = self.jobs.send(Job::File { path, node, slot, entry, awaited });
    }

    /// Completes the node of a directory, from the point before where it says the same, and returns the tree that it had there.
    fn take_over_dir(&self, path: &Path, node: &mut Node, old: Option<Node>) -> Option<BlobId> {
        let subtree = old.as_ref().and_then(|old| match old.kind {
            NodeKind::Dir { subtree } => subtree,
            _ => None,
        });
        match old {
            Some(old) if old.meta.unread.is_empty() && self.is_unchanged(&old, node) => {
                node.meta.xattrs = old.meta.xattrs;
                node.meta.user = old.meta.user;
                node.meta.group = old.meta.group;
            }
            _ => {
                if let Err(error) = self.shared.input.describe(path, node)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    self.note(path, format!("its attributes could not be read: {error}"));
                }
            }
        }
        subtree
    }

    /// Returns whether an entry is what it was when the point before was taken. Its `ctime` tells of every change, but a change
    /// within the clock tick of the capture itself leaves no trace: such an entry is read again.
    fn is_unchanged(&self, old: &Node, new: &Node) -> bool {
        let settled = self.before.is_some_and(|before| new.meta.ctime < before && new.meta.mtime < before);
        settled
            && std::mem::discriminant(&old.kind) == std::mem::discriminant(&new.kind)
            && old.meta.ctime == holdable(new.meta.ctime)
            && old.meta.mtime == holdable(new.meta.mtime)
            && old.meta.inode == new.meta.inode
            && old.size() == new.size()
    }

    /// Looks once more for what an unchanged file lacked in the point before: it may be readable by now, and if not, it is told again.
    fn described_again(&self, path: &Path, mut old: Node, new: &Node) -> Node {
        if old.meta.unread.is_empty() {
            return old;
        }
        let mut now = new.clone();
        if self.shared.input.describe(path, &mut now).is_ok() && self.is_unchanged(&old, &now) {
            now.meta.atime = old.meta.atime;
            old.meta = now.meta;
        }
        old
    }

    fn note(&self, path: &Path, why: String) {
        lock(&self.shared.unread).push(Unread { path: path.to_owned(), why });
    }
}

/// Returns the vaults that are written to, nearest first.
fn nearest(writers: &[&PackWriter]) -> Vec<Arc<Repository>> {
    let mut vaults: Vec<_> = writers.iter().map(|writer| Arc::clone(writer.repository())).collect();
    vaults.sort_by_key(|vault| !vault.store().is_local());
    vaults
}

/// Returns the old node under the numbers that the inode has now: a file system's own number may change at a reboot.
fn carried_over(mut old: Node, new: &Node) -> Node {
    old.meta.device = new.meta.device;
    old.meta.links = new.meta.links;
    old
}

impl Shared<'_> {
    fn wait_for_readers(&self) {
        let mut reading = lock(&self.reading);
        while *reading > 0 {
            reading = self.all_read.wait(reading).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

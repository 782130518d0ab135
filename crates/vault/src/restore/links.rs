//! Hard links: the first name of an inode is written, the others are linked to it as soon as it stands.
//!
//! Where a file system makes no more links to it, or none at all, a name becomes a file of its own, to which the next ones are linked; that is told.

use super::attributes::{Before, Wanted};
use super::file::{self, Place};
use super::folder::{Entered, Folder, Target};
use super::report::Outcome;
use crate::mutex::lock;
use crate::{BlobId, DeviceKind, Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// How much of a file is copied at a time where it can't be linked.
const COPIED_AT_ONCE: usize = 1 << 20;

/// An inode of the machine that was captured: its file system and its number.
pub(super) type Inode = (u64, u64);

/// The inodes with several names, until all of their names were met.
#[derive(Default)]
pub(super) struct Links<'a>(Mutex<HashMap<Inode, Group<'a>>>);

struct Group<'a> {
    /// How many names are still to come, as the point has it.
    missing: u64,
    /// The hash of what its content is made of.
    content: BlobId,
    /// What all of its names are, without the content.
    node: Arc<Node>,
    state: State<'a>,
}

enum State<'a> {
    /// The first name is on its way; these wait for it.
    Waiting(Vec<Name<'a>>),
    Stands(Arc<First>),
    Failed(String),
}

/// A name to be linked.
pub(super) struct Name<'a> {
    pub(super) folder: Arc<Folder<'a>>,
    pub(super) name: OsString,
}

/// Where a name stands: its folder and itself.
#[derive(Clone, PartialEq, Eq)]
struct Stands(PathBuf, OsString);

/// The name that stands.
pub(super) struct First {
    at: Stands,
    node: Arc<Node>,
    /// A file of its own that took the place of another name, since that could not be linked: others are linked to it.
    copy: Mutex<Option<Stands>>,
    /// Parts of it are in no vault: then its other names are damaged as well.
    missing: Vec<Range<u64>>,
}

/// What to do with a name that was met.
pub(super) enum Met {
    /// Write the file, and say when it stands.
    First,
    /// It is linked later, by whoever writes the first.
    Later,
    /// Link it now.
    Now(Arc<First>),
    /// The first could not be written.
    Failed(String),
    /// Another inode of the same number: a file of its own.
    Another,
}

fn content(node: &Node) -> BlobId {
    match &node.kind {
        NodeKind::File { content, .. } => {
            BlobId::of(&content.iter().flat_map(|id| id.0).collect::<Vec<u8>>())
        }
        NodeKind::Symlink { target } => BlobId::of(target),
        NodeKind::Device { number, .. } => BlobId::of(&number.to_be_bytes()),
        NodeKind::Dir { .. } | NodeKind::Fifo | NodeKind::Socket => BlobId::of(b""),
    }
}

fn without_content(node: &Node) -> Arc<Node> {
    let mut node = node.clone();
    if let NodeKind::File { content, .. } = &mut node.kind {
        *content = Vec::new();
    }
    Arc::new(node)
}

/// Returns the inode of an entry that has several names: not of a folder, nor of a socket, which nobody makes.
pub(super) fn inode(node: &Node) -> Option<Inode> {
    let linked = node.meta.links > 1 && node.meta.inode != 0;
    (linked && !matches!(node.kind, NodeKind::Dir { .. } | NodeKind::Socket))
        .then_some((node.meta.device, node.meta.inode))
}

impl<'a> Links<'a> {
    /// Takes note of another name of an inode.
    pub(super) fn meet(&self, inode: Inode, node: &Node, name: impl FnOnce() -> Name<'a>) -> Met {
        let content = content(node);
        let mut groups = lock(&self.0);
        let Some(group) = groups.get_mut(&inode) else {
            let state = State::Waiting(Vec::new());
            let missing = node.meta.links.saturating_sub(1);
            groups.insert(inode, Group { missing, content, node: without_content(node), state });
            return Met::First;
        };
        // A number may be given to another file while the capture runs, and not every snapshot says on which file system it was.
        if group.content != content || kind(&group.node) != kind(node) {
            return Met::Another;
        }
        group.missing = group.missing.saturating_sub(1);
        let all = group.missing == 0;
        let met = match &mut group.state {
            State::Waiting(names) => {
                names.push(name());
                return Met::Later;
            }
            State::Stands(first) => Met::Now(Arc::clone(first)),
            State::Failed(why) => Met::Failed(why.clone()),
        };
        if all {
            groups.remove(&inode);
        }
        met
    }

    /// A name stands since an earlier part of the restore: returns who waited for it, or `None` if it is another inode.
    pub(super) fn stands(&self, inode: Inode, node: &Node, first: &Arc<First>) -> Option<Vec<Name<'a>>> {
        let content = content(node);
        let mut groups = lock(&self.0);
        let group = groups.entry(inode).or_insert_with(|| Group {
            missing: node.meta.links,
            content,
            node: without_content(node),
            state: State::Waiting(Vec::new()),
        });
        if group.content != content {
            return None;
        }
        group.missing = group.missing.saturating_sub(1);
        let before = std::mem::replace(&mut group.state, State::Stands(Arc::clone(first)));
        if group.missing == 0 {
            groups.remove(&inode);
        }
        match before {
            State::Waiting(names) => Some(names),
            State::Stands(_) | State::Failed(_) => Some(Vec::new()),
        }
    }

    /// The first name has come to its end: links those that waited for it.
    pub(super) fn settle(&self, inode: Inode, folder: &Arc<Folder<'a>>, outcome: &Outcome, name: &OsStr) {
        let result = match (&outcome.skipped, &outcome.damaged) {
            (Some(why), _) => Err(format!("another name of it could not be written: {why}")),
            (None, Some((damaged, missing))) => Ok((damaged.clone(), missing.clone())),
            (None, None) => Ok((name.to_owned(), Vec::new())),
        };
        let (result, waiting) = {
            let mut groups = lock(&self.0);
            let Some(group) = groups.get_mut(&inode) else { return };
            let result = result.map(|(name, missing)| {
                let at = Stands(folder.path(), name);
                Arc::new(First { at, node: Arc::clone(&group.node), copy: Mutex::default(), missing })
            });
            let state = match &result {
                Ok(first) => State::Stands(Arc::clone(first)),
                Err(why) => State::Failed(why.clone()),
            };
            let before = std::mem::replace(&mut group.state, state);
            if group.missing == 0 {
                groups.remove(&inode);
            }
            match before {
                State::Waiting(names) => (result, names),
                State::Stands(_) | State::Failed(_) => (result, Vec::new()),
            }
        };
        for waiting in waiting {
            match &result {
                Ok(first) => waiting.link_to(first),
                Err(why) => waiting.note(Outcome::skipped(why.clone())),
            }
        }
    }

    /// Forgets everyone: the walk is over.
    pub(super) fn clear(&self) {
        let forgotten = std::mem::take(&mut *lock(&self.0));
        // Not under the lock: whoever waited may be the last to leave a folder.
        drop(forgotten);
    }
}

/// Returns what stands in a folder of the target, for other names to be linked to.
pub(super) fn standing(target: &Target<'_>, folder: PathBuf, node: &Node) -> Option<Arc<First>> {
    let name = OsStr::from_bytes(&node.name);
    let dir = target.open(&folder).ok()?;
    let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let at = Stands(folder, name.to_owned());
    let first = First { at, node: without_content(node), copy: Mutex::default(), missing: Vec::new() };
    (FileType::from_raw_mode(stat.st_mode) == kind(node)).then(|| Arc::new(first))
}

fn kind(node: &Node) -> FileType {
    match &node.kind {
        NodeKind::File { .. } => FileType::RegularFile,
        NodeKind::Dir { .. } => FileType::Directory,
        NodeKind::Symlink { .. } => FileType::Symlink,
        NodeKind::Fifo => FileType::Fifo,
        NodeKind::Socket => FileType::Socket,
        NodeKind::Device { kind: DeviceKind::Block, .. } => FileType::BlockDevice,
        NodeKind::Device { kind: DeviceKind::Character, .. } => FileType::CharacterDevice,
    }
}

impl Name<'_> {
    /// Links this name to the one that stands.
    pub(super) fn link_to(&self, first: &First) {
        self.note(link(first, self));
    }

    pub(super) fn note(&self, outcome: Outcome) {
        let target = self.folder.target();
        target.report().note(outcome, || self.folder.path().join(&self.name));
        target.progress.add(1, 0);
    }
}

fn link(first: &First, name: &Name<'_>) -> Outcome {
    let entered = match name.folder.enter() {
        Ok(entered) => entered,
        Err(why) => return Outcome::skipped(why),
    };
    let at = Place { dir: &entered.handle, standing: entered.standing };
    let own = if first.missing.is_empty() { name.name.clone() } else { file::damaged_name(&name.name) };
    let whole = |outcome: Outcome| match first.missing.is_empty() {
        true => outcome,
        false => Outcome {
            restored: false,
            unchanged: false,
            damaged: Some((own.clone(), first.missing.clone())),
            ..outcome
        },
    };
    let mut refused = None;
    let mut tried = None;
    loop {
        let copy = lock(&first.copy).clone();
        for stands in std::iter::once(&first.at).filter(|_| tried.is_none()).chain(&copy) {
            let dir = match name.folder.target().open(&stands.0) {
                Ok(dir) => dir,
                Err(error) => return Outcome::skipped(io::Error::from(error).to_string()),
            };
            if entered.standing && is_same(&dir, &stands.1, at.dir, &own) {
                let note = (stands != &first.at).then(|| of_its_own(refused.as_ref()));
                return whole(Outcome::unchanged(note.into_iter().collect()));
            }
            let linked = file::put(at, &own, |temporary| {
                rustix::fs::linkat(&dir, &stands.1, at.dir, temporary, AtFlags::empty())
            });
            match linked {
                Ok(()) => {
                    let note = (stands != &first.at).then(|| of_its_own(refused.as_ref()));
                    let not_set = note.into_iter().collect();
                    return whole(Outcome { restored: true, not_set, ..Outcome::default() });
                }
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        let mut held = lock(&first.copy);
        // Somebody else has made one meanwhile.
        if *held != copy && tried != Some(held.clone()) {
            tried = Some(held.clone());
            continue;
        }
        let mut outcome = copied(first, name, &entered, &own);
        if outcome.skipped.is_none() {
            *held = Some(Stands(name.folder.path(), own.clone()));
            outcome.not_set.insert(0, of_its_own(refused.as_ref()));
        }
        return whole(outcome);
    }
}

fn of_its_own(refused: Option<&io::Error>) -> String {
    match refused {
        Some(error) => format!("it is no hard link but a file of its own: {error}"),
        None => "it is no hard link but a file of its own".into(),
    }
}

/// Makes a name a file of its own, with the content of the one that it can't be linked to; one that is right is left as it is.
fn copied(first: &First, name: &Name<'_>, entered: &Entered, own: &OsStr) -> Outcome {
    let mut node = (*first.node).clone();
    node.name = own.as_bytes().to_vec();
    let target = name.folder.target();
    let NodeKind::File { size, sparse, .. } = node.kind else { return file::make(&name.folder, &node) };
    let at = Place { dir: &entered.handle, standing: entered.standing };
    let source = || -> io::Result<File> {
        let dir = target.open(&first.at.0)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(rustix::fs::openat(&dir, &first.at.1, flags, Mode::empty())?))
    };
    let wanted = Wanted::new(&node, target);
    if entered.standing
        && !target.options.verify
        && first.missing.is_empty()
        && let Ok(stat) = rustix::fs::statat(at.dir, own, AtFlags::SYMLINK_NOFOLLOW)
        && file::looks_the_same(&node, &stat, at.dir, &target.clock)
    {
        return Outcome::unchanged(file::refresh(at.dir, &node, &stat, &wanted));
    }
    let mut not_set = Vec::new();
    let put = source().and_then(|source| {
        file::put(at, own, |temporary| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let copy = File::from(rustix::fs::openat(at.dir, temporary, flags, Mode::RUSR | Mode::WUSR)?);
            copy_content(&source, &copy, sparse)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            let stat = rustix::fs::fstat(&copy)?;
            not_set = wanted.set(copy.as_fd(), Before::Standing(&stat));
            Ok(())
        })
    });
    match put {
        Ok(()) => Outcome { restored: true, bytes: size, not_set, ..Outcome::default() },
        Err(error) => Outcome::skipped(error.to_string()),
    }
}

fn copy_content(from: &File, to: &File, sparse: bool) -> io::Result<()> {
    let mut buffer = vec![0; COPIED_AT_ONCE];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut buffer, at)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        match (bytes.is_empty(), sparse) {
            (true, _) => return to.set_len(at),
            (false, true) => file::write_with_holes(to, bytes, at)?,
            (false, false) => to.write_all_at(bytes, at)?,
        }
        at += read as u64;
    }
}

/// Returns whether both names are of one inode already. To rename one over the other would do nothing, and leave both.
fn is_same(a: &OwnedFd, name_a: &OsString, b: &OwnedFd, name_b: &OsString) -> bool {
    let inode = |dir: &OwnedFd, name: &OsString| -> Result<_, Errno> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    matches!((inode(a, name_a), inode(b, name_b)), (Ok(a), Ok(b)) if a == b)
}

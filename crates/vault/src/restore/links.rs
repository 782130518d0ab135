//! Hard links: the first name of an inode is written, the others are linked to it as soon as it stands.

use super::file::{self, Place};
use super::folder::{Folder, open_below};
use super::report::Outcome;
use crate::mutex::lock;
use crate::{BlobId, Node, NodeKind};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

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

/// The name that stands.
pub(super) struct First {
    folder: PathBuf,
    name: OsString,
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
    let NodeKind::File { content, .. } = &node.kind else { return BlobId::of(b"") };
    BlobId::of(&content.iter().flat_map(|id| id.0).collect::<Vec<u8>>())
}

/// Returns the inode of a file that has several names.
pub(super) fn inode(node: &Node) -> Option<Inode> {
    let linked = node.meta.links > 1 && node.meta.inode != 0;
    (linked && matches!(node.kind, NodeKind::File { .. })).then_some((node.meta.device, node.meta.inode))
}

impl<'a> Links<'a> {
    /// Takes note of another name of an inode.
    pub(super) fn meet(&self, inode: Inode, node: &Node, name: impl FnOnce() -> Name<'a>) -> Met {
        let content = content(node);
        let mut groups = lock(&self.0);
        let Some(group) = groups.get_mut(&inode) else {
            let state = State::Waiting(Vec::new());
            groups.insert(inode, Group { missing: node.meta.links.saturating_sub(1), content, state });
            return Met::First;
        };
        // A number may be given to another file while the capture runs, and not every snapshot says on which file system it was.
        if group.content != content {
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
        let result = result.map(|(name, missing)| Arc::new(First { folder: folder.path(), name, missing }));
        let waiting = {
            let mut groups = lock(&self.0);
            let Some(group) = groups.get_mut(&inode) else { return };
            let state = match &result {
                Ok(first) => State::Stands(Arc::clone(first)),
                Err(why) => State::Failed(why.clone()),
            };
            let before = std::mem::replace(&mut group.state, state);
            if group.missing == 0 {
                groups.remove(&inode);
            }
            match before {
                State::Waiting(names) => names,
                State::Stands(_) | State::Failed(_) => Vec::new(),
            }
        };
        for waiting in waiting {
            let outcome = match &result {
                Ok(first) => match folder.enter() {
                    Ok(entered) => link(&entered.handle, first, &waiting),
                    Err(why) => Outcome::skipped(why),
                },
                Err(why) => Outcome::skipped(why.clone()),
            };
            waiting.note(outcome);
        }
    }

    /// Forgets everyone: the walk is over.
    pub(super) fn clear(&self) {
        let forgotten = std::mem::take(&mut *lock(&self.0));
        // Not under the lock: whoever waited may be the last to leave a folder.
        drop(forgotten);
    }
}

/// Returns a file that stands below `root`, for other names to be linked to.
pub(super) fn standing(root: &OwnedFd, folder: PathBuf, name: &OsStr) -> Option<Arc<First>> {
    let dir = open_below(root, &folder).ok()?;
    let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let first = First { folder, name: name.to_owned(), missing: Vec::new() };
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| Arc::new(first))
}

impl Name<'_> {
    /// Links this name to the one that stands, by its path below `root`.
    pub(super) fn link_to(&self, first: &First, root: &OwnedFd) {
        let outcome = match open_below(root, &first.folder) {
            Ok(folder) => link(&folder, first, self),
            Err(error) => Outcome::skipped(io::Error::from(error).to_string()),
        };
        self.note(outcome);
    }

    pub(super) fn note(&self, outcome: Outcome) {
        let target = self.folder.target();
        target.report().note(outcome, || self.folder.path().join(&self.name));
        target.progress.add(1, 0);
    }
}

fn link(first_folder: &OwnedFd, first: &First, name: &Name<'_>) -> Outcome {
    let entered = match name.folder.enter() {
        Ok(entered) => entered,
        Err(why) => return Outcome::skipped(why),
    };
    let at = Place { dir: &entered.handle, standing: entered.standing };
    let own = if first.missing.is_empty() { name.name.clone() } else { file::damaged_name(&name.name) };
    if entered.standing && is_same(first_folder, &first.name, at.dir, &own) {
        return Outcome::unchanged(Vec::new());
    }
    let linked = file::put(at, &own, |temporary| {
        rustix::fs::linkat(first_folder, &first.name, at.dir, temporary, AtFlags::empty())
    });
    match linked {
        Ok(()) if first.missing.is_empty() => Outcome { restored: true, ..Outcome::default() },
        Ok(()) => Outcome { damaged: Some((own, first.missing.clone())), ..Outcome::default() },
        Err(error) => Outcome::skipped(error.to_string()),
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

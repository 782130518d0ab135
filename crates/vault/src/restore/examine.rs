//! Looks at what stands in the target already, so that only what differs is read and written.
//!
//! A piece of a file that is right where it stands is copied from there: its hash tells, and no vault need be asked.

use super::attributes::{CAPABILITY, Wanted};
use super::file::{self, FileJob, Pieces, keeps_its_names, looks_the_same};
use super::folder::{Entered, Folder};
use super::links::Inode;
use super::report::Outcome;
use crate::{BlobId, Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// An entry that is not a directory.
pub(super) struct Item<'a> {
    pub(super) folder: Arc<Folder<'a>>,
    pub(super) node: Node,
    pub(super) inode: Option<Inode>,
}

/// A file that is only partly right, and the pieces that have to be read for it.
pub(super) type Missing<'a> = (Arc<FileJob<'a>>, Vec<(u64, BlobId)>);

/// What to do with a file, from a first look at what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is right, but for its attributes, perhaps.
    Same,
    /// Some of it may be right: compare content.
    Compare,
    /// Write it.
    Write,
}

/// Takes a first look.
pub(super) fn look(entered: &Entered, node: &Node, wanted: &Wanted<'_>, verify: bool) -> Look {
    let NodeKind::File { content, .. } = &node.kind else { return Look::Write };
    if !entered.standing {
        return Look::Write;
    }
    let Some(stat) = stat(&entered.handle, node) else { return Look::Write };
    match looks_the_same(node, &stat) {
        // Size and time are easily given to another file: not one that runs as somebody else, nor one of another owner.
        true if !verify && !is_privileged(node) && stat.st_uid == wanted.uid() => Look::Same,
        true => Look::Compare,
        // Of a single piece nothing is right if its file differs; that it was only touched is rare.
        false if content.len() > 1 || verify => Look::Compare,
        false => Look::Write,
    }
}

fn is_privileged(node: &Node) -> bool {
    node.meta.mode & 0o6000 != 0 || node.meta.xattrs.iter().any(|xattr| xattr.name == CAPABILITY)
}

impl<'a> Item<'a> {
    /// Keeps what stands there; its attributes are set where they differ.
    pub(super) fn keep(self) {
        let outcome = match self.folder.enter() {
            Ok(entered) => self.refreshed(&entered),
            Err(why) => Outcome::skipped(why),
        };
        self.folder.target().progress.add(0, self.node.size());
        self.tell(outcome);
    }

    pub(super) fn tell(self, outcome: Outcome) {
        file::tell(&self.folder, &self.node.name, self.inode, outcome);
    }

    fn refreshed(&self, entered: &Entered) -> Outcome {
        let wanted = Wanted::new(&self.node, self.folder.target().options);
        match stat(&entered.handle, &self.node) {
            Some(stat) => Outcome::unchanged(file::refresh(&entered.handle, &self.node, &stat, &wanted)),
            None => Outcome::skipped("it went away while it was looked at"),
        }
    }

    /// Compares what stands there piece by piece. Returns the pieces that have to be read, and the job that they are for; the others were copied.
    /// `None` if everything is right.
    pub(super) fn compare(
        self,
        pieces: Pieces,
        length: impl Fn(&BlobId) -> Option<u64>,
    ) -> Option<Missing<'a>> {
        let standing = self.folder.enter().ok().and_then(|entered| {
            let stat = stat(&entered.handle, &self.node)?;
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let name = OsStr::from_bytes(&self.node.name);
            let file =
                rustix::fs::openat(&entered.handle, name, flags, Mode::empty()).ok().filter(|_| regular)?;
            Some((File::from(file), stat))
        });
        let mut buffer = Vec::new();
        let mut is_right = |file: &File, at: u64, id: &BlobId| {
            let length = length(id)?;
            // An index may claim any length: no memory is taken for what can't be there.
            if at.saturating_add(length) > file.metadata().ok()?.len() {
                return None;
            }
            let length = usize::try_from(length).ok()?;
            buffer.resize(length, 0);
            file.read_exact_at(&mut buffer, at).ok()?;
            (BlobId::of(&buffer) == *id).then_some(buffer.clone())
        };
        let Some((file, stat)) = standing else {
            let job = FileJob::new(self.folder, self.node, self.inode, &pieces);
            return Some((job, pieces.placed));
        };
        let mut wrong = pieces.placed.iter().map(|(at, id)| is_right(&file, *at, id).is_none());
        let all_right = u64::try_from(stat.st_size) == Ok(pieces.size())
            && pieces.lost.is_empty()
            && keeps_its_names(&self.node, &stat)
            && !wrong.any(|wrong| wrong);
        if all_right {
            self.keep();
            return None;
        }
        let job = FileJob::new(self.folder, self.node, self.inode, &pieces);
        let mut to_read = Vec::new();
        for (at, id) in pieces.placed {
            match is_right(&file, at, &id) {
                Some(plain) => {
                    job.write(at, &plain);
                    job.piece_done();
                }
                None => to_read.push((at, id)),
            }
        }
        Some((job, to_read))
    }
}

fn stat(dir: &OwnedFd, node: &Node) -> Option<Stat> {
    rustix::fs::statat(dir, OsStr::from_bytes(&node.name), AtFlags::SYMLINK_NOFOLLOW).ok()
}

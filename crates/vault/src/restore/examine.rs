//! Looks at what stands in the target already, so that only what differs is read and written.
//!
//! A piece of a file that is right where it stands is copied from there: its hash tells, and no vault need be asked.

use super::attributes::{CAPABILITY, Wanted};
use super::clock::Clock;
use super::file::{self, FileJob, Piece, Pieces, keeps_its_names, looks_the_same};
use super::folder::{Entered, Folder};
use super::links::Inode;
use super::report::Outcome;
use crate::{BlobId, Node, NodeKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
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
pub(super) type Missing<'a> = (Arc<FileJob<'a>>, Vec<Piece>);

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
pub(super) fn look(entered: &Entered, node: &Node, wanted: &Wanted<'_>, verify: bool, clock: &Clock) -> Look {
    let NodeKind::File { content, .. } = &node.kind else { return Look::Write };
    if !entered.standing {
        return Look::Write;
    }
    let Some(stat) = stat(&entered.handle, node) else { return Look::Write };
    match looks_the_same(node, &stat, &entered.handle, clock) {
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
        let wanted = Wanted::new(&self.node, self.folder.target());
        match stat(&entered.handle, &self.node) {
            Some(stat) => Outcome::unchanged(file::refresh(&entered.handle, &self.node, &stat, &wanted)),
            None => Outcome::skipped("it went away while it was looked at"),
        }
    }

    /// Compares what stands there piece by piece. Returns the pieces that have to be read, and the job that they are for; the others were copied.
    /// `None` if everything is right.
    pub(super) fn compare(self, pieces: Pieces) -> Option<Missing<'a>> {
        let standing = self.folder.enter().ok().and_then(|entered| {
            let stat = stat(&entered.handle, &self.node)?;
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let name = OsStr::from_bytes(&self.node.name);
            let file =
                rustix::fs::openat(&entered.handle, name, flags, Mode::empty()).ok().filter(|_| regular)?;
            Some((File::from(file), stat))
        });
        let Some((file, stat)) = standing else {
            let job = FileJob::new(self.folder, self.node, self.inode, &pieces);
            return Some((job, pieces.placed));
        };
        let mut there = There { file, plain: Vec::new(), zeros: None };
        let all_right = u64::try_from(stat.st_size) == Ok(pieces.size())
            && pieces.lost.is_empty()
            && keeps_its_names(&self.node, &stat)
            && pieces.placed.iter().all(|piece| there.has(piece).is_some());
        if all_right {
            self.keep();
            return None;
        }
        let job = FileJob::new(self.folder, self.node, self.inode, &pieces);
        let mut to_read = pieces.placed;
        // Looked at anew: only what was hashed in this instant is written.
        to_read.retain(|piece| {
            match there.has(piece) {
                Some(Standing::Hole) if job.has_holes() => job.leave_hole(piece.length),
                Some(Standing::Hole) => job.write(piece.at, &zeros(piece)),
                Some(Standing::Bytes) => job.write(piece.at, &there.plain),
                None => return true,
            }
            job.piece_done();
            false
        });
        Some((job, to_read))
    }
}

/// A file that stands in the target, and the piece of it that was looked at last.
struct There {
    file: File,
    plain: Vec<u8>,
    /// The hash of so many zeros, once a hole of that length was met.
    zeros: Option<(u64, BlobId)>,
}

/// How a piece that is right stands there.
enum Standing {
    /// In the buffer.
    Bytes,
    /// As a hole, which nobody need read.
    Hole,
}

impl There {
    fn has(&mut self, piece: &Piece) -> Option<Standing> {
        // An index may claim any length: no memory is taken for what can't be there.
        let within =
            self.file.metadata().is_ok_and(|meta| piece.at.saturating_add(piece.length) <= meta.len());
        let length = usize::try_from(piece.length).ok()?;
        if !within {
            return None;
        }
        if length > 0 && self.is_hole(piece) {
            let zeros = match self.zeros {
                Some((known, id)) if known == piece.length => id,
                _ => BlobId::of(&vec![0; length]),
            };
            self.zeros = Some((piece.length, zeros));
            return (zeros == piece.id).then_some(Standing::Hole);
        }
        self.plain.resize(length, 0);
        let right =
            self.file.read_exact_at(&mut self.plain, piece.at).is_ok() && BlobId::of(&self.plain) == piece.id;
        right.then_some(Standing::Bytes)
    }

    fn is_hole(&self, piece: &Piece) -> bool {
        match rustix::fs::seek(&self.file, SeekFrom::Data(piece.at)) {
            Ok(data) => data >= piece.at.saturating_add(piece.length),
            Err(error) => error == Errno::NXIO,
        }
    }
}

/// Returns the bytes of a piece that is a hole; one that doesn't fit into memory was not found to be one.
fn zeros(piece: &Piece) -> Vec<u8> {
    usize::try_from(piece.length).map_or_else(|_| Vec::new(), |length| vec![0; length])
}

fn stat(dir: &OwnedFd, node: &Node) -> Option<Stat> {
    rustix::fs::statat(dir, OsStr::from_bytes(&node.name), AtFlags::SYMLINK_NOFOLLOW).ok()
}

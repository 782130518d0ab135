//! One file on its way back: written beside its name piece by piece, by whoever has a piece, and renamed when the last one is in place.

use super::attributes::{Before, Wanted, chmod};
use super::clock::Clock;
use super::folder::{Entered, Folder, Me};
use super::links::{self, Inode};
use super::report::Outcome;
use crate::mutex::lock;
use crate::{BlobId, DeviceKind, Node, NodeKind};
use process::{Life, Process};
use rustix::fs::{AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What is appended to the name of a file of which parts are in no vault.
const DAMAGED: &str = ".releve-damaged";
/// The longest name that Linux knows.
const NAME_MAX: usize = 255;
/// Zeros shorter than a block of the file system make no hole.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// From this length on a file's room is asked for beforehand.
const PREALLOCATED: u64 = 1 << 20;

/// A file, and how many of its pieces are still to come.
pub(super) struct FileJob<'a> {
    folder: Arc<Folder<'a>>,
    /// Without its content: who put it into a batch knows that.
    node: Node,
    inode: Option<Inode>,
    size: u64,
    sparse: bool,
    /// Its length is known for sure, and is not only what a tree claims.
    known: bool,
    left: AtomicUsize,
    out: OnceLock<Result<Out, String>>,
    failed: OnceLock<String>,
    missing: Mutex<Vec<Range<u64>>>,
    note: Option<String>,
}

struct Out {
    file: File,
    temporary: OsString,
    entered: Entered,
    /// How it was made; `None`: it has to be looked at.
    mode: Option<u32>,
}

/// A piece of a file: where it goes, and the length that an index gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) id: BlobId,
    pub(super) length: u64,
}

/// The pieces of a file, and where they go.
pub(super) struct Pieces {
    pub(super) placed: Vec<Piece>,
    /// What can't be placed, or is in no vault for sure.
    pub(super) lost: Vec<Range<u64>>,
    size: u64,
    note: Option<String>,
}

impl Pieces {
    /// Returns the length that the file will have.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Places pieces whose lengths are known, or not: those before the first unknown from the front, those behind the last from the back.
    pub(super) fn new(node: &Node, length: impl Fn(&BlobId) -> Option<u64>) -> Self {
        let NodeKind::File { size, content, .. } = &node.kind else {
            return Self { placed: Vec::new(), lost: Vec::new(), size: 0, note: None };
        };
        let mut placed = Vec::with_capacity(content.len());
        let mut at = 0u64;
        let mut ids = content.iter();
        let complete = ids.by_ref().try_for_each(|id| {
            let length = length(id)?;
            placed.push(Piece { at, id: *id, length });
            at = at.saturating_add(length);
            Some(())
        });
        if complete.is_some() {
            let note = (at != *size).then(|| {
                format!("its length is {at}, and {size} was noted: the length in the vault is right")
            });
            return Self { placed, lost: Vec::new(), size: at, note };
        }
        let front = at;
        let mut end = front.max(*size);
        let mut behind = Vec::new();
        for id in ids.rev() {
            let Some(length) = length(id) else { break };
            let Some(at) = end.checked_sub(length).filter(|at| *at >= front) else { break };
            end = at;
            behind.push(Piece { at, id: *id, length });
        }
        placed.extend(behind.into_iter().rev());
        let lost = at_least_a_byte(front..end);
        Self { placed, size: lost.end.max(*size), lost: vec![lost], note: None }
    }
}

impl<'a> FileJob<'a> {
    /// Returns the job for a file with these pieces. Without any, it is finished by [`FileJob::piece_done`] called once.
    pub(super) fn new(
        folder: Arc<Folder<'a>>,
        mut node: Node,
        inode: Option<Inode>,
        pieces: &Pieces,
    ) -> Arc<Self> {
        let sparse = matches!(node.kind, NodeKind::File { sparse: true, .. });
        if let NodeKind::File { content, .. } = &mut node.kind {
            *content = Vec::new();
        }
        Arc::new(Self {
            folder,
            node,
            inode,
            size: pieces.size,
            sparse,
            known: pieces.lost.is_empty(),
            left: AtomicUsize::new(pieces.placed.len().max(1)),
            out: OnceLock::new(),
            failed: OnceLock::new(),
            missing: Mutex::new(pieces.lost.clone()),
            note: pieces.note.clone(),
        })
    }

    /// Writes a piece. What fails is told when the file is finished.
    pub(super) fn write(&self, at: u64, plain: &[u8]) {
        if self.failed.get().is_some() {
            return;
        }
        let written = self.out().and_then(|out| {
            let written = if self.sparse {
                write_with_holes(&out.file, plain, at)
            } else {
                out.file.write_all_at(plain, at)
            };
            written.map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => self.folder.target().progress.add(0, plain.len() as u64),
            Err(why) => self.fail(why),
        }
    }

    /// Returns whether zeros are put back as holes.
    pub(super) fn has_holes(&self) -> bool {
        self.sparse
    }

    /// Leaves a piece that is all zeros to the file system: nothing is written.
    pub(super) fn leave_hole(&self, length: u64) {
        self.folder.target().progress.add(0, length);
    }

    /// The file can't be written.
    pub(super) fn fail(&self, why: String) {
        let _ = self.failed.set(why);
    }

    /// A piece is in no vault.
    pub(super) fn lose(&self, range: Range<u64>) {
        lock(&self.missing).push(at_least_a_byte(range));
    }

    /// Another piece was written or lost. After the last one the file gets its attributes and its name.
    pub(super) fn piece_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let outcome = self.finish();
            tell(&self.folder, &self.node.name, self.inode, outcome);
        }
    }

    fn out(&self) -> Result<&Out, String> {
        self.out.get_or_init(|| self.create()).as_ref().map_err(Clone::clone)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted::new(&self.node, self.folder.target())
    }

    fn create(&self) -> Result<Out, String> {
        let entered = self.folder.enter()?;
        let Me { umask, .. } = self.folder.target().me;
        let mode =
            self.wanted().plain_mode().filter(|mode| entered.plain && mode & umask == 0).unwrap_or(0o600);
        let temporary = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&entered.handle, &temporary, flags, Mode::from_raw_mode(mode));
        let file = File::from(opened.map_err(|error| io::Error::from(error).to_string())?);
        let mode = entered.plain.then_some(mode);
        let out = Out { file, temporary, entered, mode };
        if self.size >= PREALLOCATED && self.known && !self.sparse {
            // Not every file system can, and a file without it is as good; but one that has no room says so now.
            let asked = rustix::fs::fallocate(&out.file, FallocateFlags::empty(), 0, self.size);
            if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = asked {
                remove(&out.entered.handle, &out.temporary);
                return Err(io::Error::from(error).to_string());
            }
        }
        Ok(out)
    }

    fn finish(&self) -> Outcome {
        match self.complete() {
            Ok(outcome) => outcome,
            Err(why) => {
                if let Some(Ok(out)) = self.out.get() {
                    remove(&out.entered.handle, &out.temporary);
                }
                Outcome::skipped(why)
            }
        }
    }

    fn complete(&self) -> Result<Outcome, String> {
        if let Some(why) = self.failed.get() {
            return Err(why.clone());
        }
        let out = self.out()?;
        let mut missing = std::mem::take(&mut *lock(&self.missing));
        if self.sparse || !missing.is_empty() {
            // It may end in a hole, or in something that is missing.
            out.file.set_len(self.size).map_err(|error| error.to_string())?;
        }
        let Me { uid, gid, .. } = self.folder.target().me;
        let stat;
        let before = match out.mode {
            Some(mode) => Before::New { uid, gid, mode },
            None => {
                stat = rustix::fs::fstat(&out.file).map_err(|error| io::Error::from(error).to_string())?;
                Before::Standing(&stat)
            }
        };
        let mut not_set = self.wanted().set(out.file.as_fd(), before);
        not_set.extend(self.note.clone());
        let name = OsStr::from_bytes(&self.node.name);
        let at = Place { dir: &out.entered.handle, standing: out.entered.standing };
        if missing.is_empty() {
            rename_over(at, &out.temporary, name).map_err(|error| error.to_string())?;
            if at.standing {
                // What an earlier restore could not give back whole has come back whole.
                let damaged = damaged_name(name);
                if self.folder.had_damaged(&damaged) {
                    remove(at.dir, &damaged);
                }
            }
            return Ok(Outcome { restored: true, bytes: self.size, not_set, ..Outcome::default() });
        }
        let damaged = damaged_name(name);
        rename_over(at, &out.temporary, &damaged).map_err(|error| error.to_string())?;
        join(&mut missing);
        let lost: u64 = missing.iter().map(|range| range.end - range.start).sum();
        let bytes = self.size.saturating_sub(lost);
        Ok(Outcome { bytes, not_set, damaged: Some((damaged, missing)), ..Outcome::default() })
    }
}

impl Drop for FileJob<'_> {
    fn drop(&mut self) {
        if *self.left.get_mut() == 0 {
            return;
        }
        if let Some(Ok(out)) = self.out.get() {
            remove(&out.entered.handle, &out.temporary);
        }
        // The restore was asked to stop before the last piece; anything else would be a mistake of ours, and is told.
        if !self.folder.target().progress.is_stopped() {
            let outcome = Outcome::skipped("it was not finished");
            tell(&self.folder, &self.node.name, self.inode, outcome);
        }
    }
}

/// Reports what became of an entry, and links the other names of its inode to it.
pub(super) fn tell(folder: &Arc<Folder<'_>>, name: &[u8], inode: Option<Inode>, outcome: Outcome) {
    let name = OsStr::from_bytes(name);
    let target = folder.target();
    if let Some(inode) = inode {
        target.links.settle(inode, folder, &outcome, name);
    }
    target.report().note(outcome, || folder.path().join(name));
    target.progress.add(1, 0);
}

/// Puts back what is no file and no directory.
pub(super) fn make(folder: &Arc<Folder<'_>>, node: &Node) -> Outcome {
    made(folder, node).unwrap_or_else(Outcome::skipped)
}

fn made(folder: &Arc<Folder<'_>>, node: &Node) -> Result<Outcome, String> {
    let options = folder.target().options;
    let (kind, number) = match &node.kind {
        // Nothing to give back, and nothing lost.
        NodeKind::Socket | NodeKind::Dir { .. } | NodeKind::File { .. } => {
            return Ok(Outcome::unchanged(Vec::new()));
        }
        NodeKind::Device { .. } if options.no_devices => return Err("devices were refused".into()),
        NodeKind::Device { kind: DeviceKind::Character, number } => (FileType::CharacterDevice, *number),
        NodeKind::Device { kind: DeviceKind::Block, number } => (FileType::BlockDevice, *number),
        NodeKind::Fifo => (FileType::Fifo, 0),
        NodeKind::Symlink { .. } => (FileType::Symlink, 0),
    };
    let name = OsStr::from_bytes(&node.name);
    let entered = folder.enter()?;
    let wanted = Wanted::new(node, folder.target());
    let at = Place { dir: &entered.handle, standing: entered.standing };
    if entered.standing
        && let Some(stat) = standing(at.dir, name, node, kind, number)
    {
        if !wanted.is_on(at.dir, name, &stat, &node.kind) {
            return Ok(Outcome::unchanged(wanted.set_by_name(at.dir, name, &node.kind)));
        }
        return Ok(Outcome::unchanged(wanted.lacks(&stat)));
    }
    let mut not_set = Vec::new();
    let put = put(at, name, |temporary| {
        match &node.kind {
            NodeKind::Symlink { target } => {
                rustix::fs::symlinkat(OsStr::from_bytes(target), at.dir, temporary)?;
            }
            _ => rustix::fs::mknodat(at.dir, temporary, kind, Mode::RUSR | Mode::WUSR, number)?,
        }
        not_set = wanted.set_by_name(at.dir, temporary, &node.kind);
        Ok(())
    });
    put.map_err(|error| error.to_string())?;
    Ok(Outcome { restored: true, not_set, ..Outcome::default() })
}

/// Returns how an entry stands there, if it is the one in the point.
fn standing(dir: &OwnedFd, name: &OsStr, node: &Node, kind: FileType, number: u64) -> Option<Stat> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let same = match &node.kind {
        NodeKind::Symlink { target } => rustix::fs::readlinkat(dir, name, Vec::new())
            .is_ok_and(|there| there.as_bytes() == target.as_slice()),
        NodeKind::Device { .. } => stat.st_rdev == number,
        _ => true,
    };
    // One with names that the point doesn't give it would be changed under them too.
    (FileType::from_raw_mode(stat.st_mode) == kind && same && keeps_its_names(node, &stat)).then_some(stat)
}

/// Sets what may differ on a file whose content is right. Returns what could not be set.
pub(super) fn refresh(dir: &OwnedFd, node: &Node, stat: &Stat, wanted: &Wanted<'_>) -> Vec<String> {
    let name = OsStr::from_bytes(&node.name);
    if wanted.is_on(dir, name, stat, &node.kind) {
        return wanted.lacks(stat);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = || rustix::fs::openat(dir, name, flags, Mode::empty());
    let opened = match open() {
        Err(Errno::ACCESS) => {
            // Ours, without permission for ourselves: the right mode is set right after.
            let _ = chmod(dir, name, Mode::RUSR | Mode::WUSR);
            open()
        }
        other => other,
    };
    match opened {
        Ok(file) => match rustix::fs::fstat(&file) {
            // Owner and setuid are for the file that was looked at, and for no other that took its name.
            Ok(now) if is_the_same(&now, stat) => wanted.set(file.as_fd(), Before::Standing(stat)),
            _ => vec!["attributes: it changed while it was looked at".into()],
        },
        Err(error) => vec![format!("attributes: {}", io::Error::from(error))],
    }
}

/// A directory to put something into.
#[derive(Clone, Copy)]
pub(super) struct Place<'d> {
    pub(super) dir: &'d OwnedFd,
    /// It was there before: something may stand in the way.
    pub(super) standing: bool,
}

/// Makes something under a temporary name, and renames it.
pub(super) fn put(
    at: Place<'_>,
    name: &OsStr,
    make: impl FnOnce(&OsStr) -> rustix::io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_name();
    let put = make(&temporary).map_err(io::Error::from).and_then(|()| rename_over(at, &temporary, name));
    if put.is_err() {
        remove(at.dir, &temporary);
    }
    put
}

/// Renames; an empty directory in the way goes, a full one stays and is an error.
fn rename_over(at: Place<'_>, temporary: &OsStr, name: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat(at.dir, temporary, at.dir, name) {
        Err(Errno::ISDIR) => {
            rustix::fs::unlinkat(at.dir, name, AtFlags::REMOVEDIR).map_err(|error| match error {
                Errno::NOTEMPTY => {
                    io::Error::other("a folder that is not empty stands in its place: move it away")
                }
                other => other.into(),
            })?;
            Ok(rustix::fs::renameat(at.dir, temporary, at.dir, name)?)
        }
        other => Ok(other?),
    }
}

fn remove(dir: &OwnedFd, name: &OsStr) {
    let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
}

/// Returns whether all of these are zeros, and they are no fewer than a hole needs.
pub(super) fn is_zero(plain: &[u8]) -> bool {
    plain.len() >= BLOCK && plain.chunks(BLOCK).all(|block| ZEROS.get(..block.len()) == Some(block))
}

pub(super) fn write_with_holes(file: &File, plain: &[u8], at: u64) -> io::Result<()> {
    // Cut where the file system's blocks are, not where the piece begins.
    let first = (BLOCK - (at % BLOCK as u64) as usize).min(plain.len());
    let (head, rest) = plain.split_at_checked(first).unwrap_or((plain, &[]));
    let blocks = std::iter::once(head).chain(rest.chunks(BLOCK));
    let (mut from, mut to) = (0usize, 0usize);
    let flush = |from: usize, to: usize| match plain.get(from..to) {
        Some(run) if !run.is_empty() => file.write_all_at(run, at + from as u64),
        _ => Ok(()),
    };
    for block in blocks {
        let end = to + block.len();
        if ZEROS.get(..block.len()) == Some(block) {
            flush(from, to)?;
            from = end;
        }
        to = end;
    }
    flush(from, to)
}

/// Returns the range, of one byte if it has none: what is lost is never nothing, although its length may be unknown.
fn at_least_a_byte(range: Range<u64>) -> Range<u64> {
    range.start..range.end.max(range.start.saturating_add(1))
}

/// Joins ranges that touch.
fn join(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges.drain(..).filter(|range| !range.is_empty()) {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    *ranges = joined;
}

/// Returns the name of a file of which parts are missing. A name that would be too long is cut, and stays one of its own.
pub(super) fn damaged_name(name: &OsStr) -> OsString {
    let mut bytes = name.as_bytes().to_vec();
    if bytes.len() + DAMAGED.len() > NAME_MAX {
        let own = format!("~{}", BlobId::of(&bytes).short());
        bytes.truncate(NAME_MAX - DAMAGED.len() - own.len());
        bytes.extend(own.bytes());
    }
    bytes.extend(DAMAGED.bytes());
    OsString::from_vec(bytes)
}

/// Returns whether a name is one that a damaged file gets.
pub(super) fn is_damaged_name(name: &OsStr) -> bool {
    name.as_bytes().ends_with(DAMAGED.as_bytes())
}

/// Returns a name that nobody else uses; it says whose it is.
pub(super) fn temporary_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    static PREFIX: OnceLock<String> = OnceLock::new();
    let prefix = PREFIX.get_or_init(|| format!(".releve-{}-{:08x}-", Process::this().tag(), run()));
    format!("{prefix}{number}.tmp").into()
}

/// Returns what tells this run of the program from another with the same number: in a container it is the same every time.
fn run() -> u32 {
    static RUN: OnceLock<u32> = OnceLock::new();
    *RUN.get_or_init(|| {
        let mut bytes = [0; 4];
        // Without randomness two runs with one number may be taken for the same, and leave each other's files alone.
        let _ = crate::crypto::random(&mut bytes);
        u32::from_le_bytes(bytes)
    })
}

/// Returns whether a name is a temporary one of a run that has ended. One that can't be seen, of another machine or container, may still be at work.
fn is_left_behind(name: &[u8]) -> bool {
    let owner = || {
        let middle = name.strip_prefix(b".releve-")?.strip_suffix(b".tmp")?;
        let mut parts = std::str::from_utf8(middle).ok()?.split('-');
        let (process, its_run) = (parts.next()?, u32::from_str_radix(parts.next()?, 16).ok()?);
        parts.next()?.parse::<u64>().ok()?;
        Some((process, its_run))
    };
    let us = Process::this();
    owner().is_some_and(|(process, its_run)| match Process::from_tag(process, us) {
        Some(process) if process == *us => its_run != run(),
        Some(process) => process.life(us) == Life::Gone,
        // As older versions called them: by the number alone.
        None => process.parse::<u32>().is_ok_and(|number| match number == us.pid() {
            true => its_run != run(),
            false => !std::path::Path::new(&format!("/proc/{number}")).exists(),
        }),
    })
}

/// Removes what restores that were killed left half-written in a directory, and returns the names of the damaged files that
/// they, or others, finished.
pub(super) fn tidy(dir: &OwnedFd) -> HashSet<OsString> {
    let mut damaged = HashSet::new();
    let Ok(entries) = Dir::read_from(dir) else { return damaged };
    for entry in entries.flatten() {
        let name = entry.file_name().to_bytes();
        if name.ends_with(DAMAGED.as_bytes()) {
            damaged.insert(OsString::from_vec(name.to_vec()));
        } else if is_left_behind(name) {
            remove(dir, OsStr::from_bytes(name));
        }
    }
    damaged
}

fn is_the_same(a: &Stat, b: &Stat) -> bool {
    let of = |stat: &Stat| {
        (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_nlink)
    };
    of(a) == of(b)
}

/// Returns whether a file that stands there is to be taken for the one in the point: same size and time.
pub(super) fn looks_the_same(node: &Node, stat: &Stat, dir: &OwnedFd, clock: &Clock) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && u64::try_from(stat.st_size) == Ok(node.size())
        && keeps_its_names(node, stat)
        && clock.is_at(dir, stat, node.meta.mtime)
}

/// Returns whether the inode that stands there has no other names that the point doesn't give it: they would be changed too.
pub(super) fn keeps_its_names(node: &Node, stat: &Stat) -> bool {
    stat.st_nlink == 1 || (links::inode(node).is_some() && stat.st_nlink <= node.meta.links)
}

//! Writes one entry that is not a directory: beside its name, whole, with all its attributes, then renamed over it.

use crate::set::VaultSet;
use crate::{BlobKind, DeviceKind, Meta, Node, NodeKind, Timestamp};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is appended to the name of a file of which parts are in no vault.
pub(super) const DAMAGED: &str = ".releve-damaged";
/// Zeros shorter than a block of the file system make no hole.
const BLOCK: usize = 4096;

/// What became of one entry.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) restored: bool,
    pub(super) unchanged: bool,
    pub(super) bytes: u64,
    pub(super) missing: Option<Vec<Range<u64>>>,
    pub(super) skipped: Option<String>,
    pub(super) not_set: Vec<String>,
}

impl Outcome {
    pub(super) fn skipped(error: impl Into<io::Error>) -> Self {
        Self { skipped: Some(error.into().to_string()), ..Self::default() }
    }
}

/// Puts one entry into an open directory.
pub(super) fn entry(set: &VaultSet<'_>, dir: &OwnedFd, node: &Node, compare: bool) -> Outcome {
    let name = OsStr::from_bytes(&node.name);
    let result = match &node.kind {
        NodeKind::File { .. } if is_there(set, dir, name, node, compare) => {
            return Outcome { unchanged: true, not_set: refresh(dir, name, node), ..Outcome::default() };
        }
        NodeKind::File { .. } => file(set, dir, name, node),
        NodeKind::Symlink { target } => made(dir, name, node, |temporary| {
            rustix::fs::symlinkat(OsStr::from_bytes(target), dir, temporary)
        }),
        NodeKind::Fifo => made(dir, name, node, |temporary| {
            rustix::fs::mknodat(dir, temporary, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        }),
        NodeKind::Device { kind, number } => made(dir, name, node, |temporary| {
            let kind = match kind {
                DeviceKind::Character => FileType::CharacterDevice,
                DeviceKind::Block => FileType::BlockDevice,
            };
            rustix::fs::mknodat(dir, temporary, kind, Mode::RUSR | Mode::WUSR, *number)
        }),
        // Nothing to give back, and nothing lost.
        NodeKind::Socket | NodeKind::Dir { .. } => return Outcome { unchanged: true, ..Outcome::default() },
    };
    result.unwrap_or_else(Outcome::skipped)
}

/// Returns whether the file stands there already: same size and time, or same content where asked to compare.
fn is_there(set: &VaultSet<'_>, dir: &OwnedFd, name: &OsStr, node: &Node, compare: bool) -> bool {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    let same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && u64::try_from(stat.st_size) == Ok(node.size())
        && stat.st_mtime == node.meta.mtime.seconds
        && u64::from(node.meta.mtime.nanos) == stat.st_mtime_nsec
        // A file with other names must not keep them, nor one without lose them.
        && (stat.st_nlink > 1) == (node.meta.links > 1);
    same && (!compare || is_equal(set, dir, name, node).unwrap_or(false))
}

fn is_equal(set: &VaultSet<'_>, dir: &OwnedFd, name: &OsStr, node: &Node) -> io::Result<bool> {
    let NodeKind::File { content, .. } = &node.kind else { return Ok(false) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    let mut at = 0;
    for id in content {
        let Ok(plain) = set.blob(BlobKind::Data, id) else { return Ok(false) };
        let mut there = vec![0; plain.len()];
        file.read_exact_at(&mut there, at)?;
        if there != plain {
            return Ok(false);
        }
        at += plain.len() as u64;
    }
    Ok(true)
}

/// Sets what may differ although the content is the same.
fn refresh(dir: &OwnedFd, name: &OsStr, node: &Node) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => attributes(&file, &node.meta),
        Err(error) => vec![format!("attributes: {}", io::Error::from(error))],
    }
}

fn file(set: &VaultSet<'_>, dir: &OwnedFd, name: &OsStr, node: &Node) -> io::Result<Outcome> {
    let NodeKind::File { size, content, sparse } = &node.kind else { return Ok(Outcome::default()) };
    let temporary = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    let guard = RemoveOnDrop { dir, name: Some(&temporary) };
    let mut at = 0u64;
    let mut missing: Vec<Range<u64>> = Vec::new();
    let count = content.len();
    for (number, id) in content.iter().enumerate() {
        match set.blob(BlobKind::Data, id) {
            Ok(plain) => {
                if *sparse {
                    write_with_holes(&file, &plain, at)?;
                } else {
                    file.write_all_at(&plain, at)?;
                }
                at += plain.len() as u64;
            }
            Err(_) => {
                let length = lost_length(set, node, number, count, at);
                missing.push(at..at + length);
                at += length;
            }
        }
    }
    // Ends in a hole, or in something that is missing.
    if at > 0 && (*sparse || !missing.is_empty()) {
        file.set_len(at.max(if missing.is_empty() { at } else { *size }))?;
    }
    let mut outcome = Outcome { restored: missing.is_empty(), bytes: at, ..Outcome::default() };
    if missing.is_empty() && at != *size {
        outcome
            .not_set
            .push(format!("its length is {at}, and {size} was noted: the length in the vault is right"));
    }
    outcome.not_set.extend(attributes(&file, &node.meta));
    let mut final_name = name.to_owned();
    if !missing.is_empty() {
        final_name.push(DAMAGED);
        outcome.missing = Some(missing);
    }
    rename_over(dir, &temporary, &final_name)?;
    guard.keep();
    Ok(outcome)
}

/// Returns how many bytes a lost blob had: the index of some vault may still know, else it follows from the rest of the file.
fn lost_length(set: &VaultSet<'_>, node: &Node, number: usize, count: usize, at: u64) -> u64 {
    let NodeKind::File { content, size, .. } = &node.kind else { return 0 };
    let known = |id| set.plain_length(BlobKind::Data, id);
    if let Some(length) = content.get(number).and_then(known) {
        return length;
    }
    let behind: u64 = content.get(number + 1..count).unwrap_or_default().iter().filter_map(known).sum();
    size.saturating_sub(at).saturating_sub(behind)
}

fn write_with_holes(file: &File, plain: &[u8], at: u64) -> io::Result<()> {
    let mut offset = 0;
    for block in plain.chunks(BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at + offset)?;
        }
        offset += block.len() as u64;
    }
    Ok(())
}

/// Makes something that is not a file, under a temporary name, with its attributes, and renames it.
fn made(
    dir: &OwnedFd,
    name: &OsStr,
    node: &Node,
    make: impl FnOnce(&OsStr) -> rustix::io::Result<()>,
) -> io::Result<Outcome> {
    let temporary = temporary_name();
    make(&temporary)?;
    let guard = RemoveOnDrop { dir, name: Some(&temporary) };
    let not_set = attributes_by_name(dir, &temporary, node);
    rename_over(dir, &temporary, name)?;
    guard.keep();
    Ok(Outcome { restored: true, not_set, ..Outcome::default() })
}

/// Renames; an empty directory in the way goes, a full one stays and is an error.
fn rename_over(dir: &OwnedFd, temporary: &OsStr, name: &OsStr) -> io::Result<()> {
    match rustix::fs::renameat(dir, temporary, dir, name) {
        Err(Errno::ISDIR) => {
            rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(|error| match error {
                Errno::NOTEMPTY => {
                    io::Error::other("a folder that is not empty stands in its place: move it away")
                }
                other => other.into(),
            })?;
            Ok(rustix::fs::renameat(dir, temporary, dir, name)?)
        }
        other => Ok(other?),
    }
}

/// Sets owner, mode, extended attributes and times on an open file or directory; returns what could not be set.
pub(super) fn attributes(file: impl AsFd, meta: &Meta) -> Vec<String> {
    let file = file.as_fd();
    let mut not_set = Vec::new();
    let mut noted = |what: &str, result: rustix::io::Result<()>| {
        if let Err(error) = result {
            not_set.push(format!("{what}: {}", io::Error::from(error)));
        }
    };
    let stat = rustix::fs::fstat(file);
    if stat.is_ok_and(|stat| stat.st_uid != meta.uid || stat.st_gid != meta.gid) {
        noted(
            "owner",
            rustix::fs::fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))),
        );
    }
    // After the owner: changing that clears setuid. Before the attributes: an ACL is kept in the mode's group bits.
    if stat.is_ok_and(|stat| stat.st_mode & 0o7777 != meta.mode || stat.st_uid != meta.uid) || stat.is_err() {
        noted("mode", rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode)));
    }
    for xattr in &meta.xattrs {
        let name = OsStr::from_bytes(&xattr.name);
        let result = rustix::fs::fsetxattr(file, name, &xattr.value, XattrFlags::empty());
        noted(&format!("attribute {}", name.to_string_lossy()), result);
    }
    noted("times", rustix::fs::futimens(file, &times(meta)));
    not_set
}

fn attributes_by_name(dir: &OwnedFd, name: &OsStr, node: &Node) -> Vec<String> {
    let meta = &node.meta;
    let mut not_set = Vec::new();
    let mut noted = |what: &str, result: rustix::io::Result<()>| {
        if let Err(error) = result {
            not_set.push(format!("{what}: {}", io::Error::from(error)));
        }
    };
    let owner = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    noted("owner", rustix::fs::chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW));
    if !matches!(node.kind, NodeKind::Symlink { .. }) {
        noted("mode", rustix::fs::chmodat(dir, name, Mode::from_raw_mode(meta.mode), AtFlags::empty()));
    }
    noted("times", rustix::fs::utimensat(dir, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW));
    not_set
}

fn times(meta: &Meta) -> Timestamps {
    let spec = |time: Timestamp| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: spec(meta.atime), last_modification: spec(meta.mtime) }
}

/// Returns a name that nobody else uses: a program that was killed leaves it behind, and it says whose it is.
fn temporary_name() -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".releve-{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)).into()
}

struct RemoveOnDrop<'a> {
    dir: &'a OwnedFd,
    name: Option<&'a OsStr>,
}

impl RemoveOnDrop<'_> {
    fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            let _ = rustix::fs::unlinkat(self.dir, name, AtFlags::empty());
        }
    }
}

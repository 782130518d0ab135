//! What stands in a folder of the target beside what the point has there: for whoever knows what a program makes of both together.
//!
//! A restore removes nothing. What a program kept beside its data may undo what comes back, though: a journal is played into the database that it lies beside.
//! Which names mean that isn't known here.

use super::RestoreOptions;
use super::extras::{Seen, compare};
use super::report::Trouble;
use super::through::open_through;
use super::walk::relative;
use crate::{BlobId, NodeKind, Progress, Repository, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of the target in which something stands that doesn't come back there.
#[derive(Debug)]
pub struct Neighbours<'a> {
    /// Below the target.
    pub folder: &'a Path,
    /// The names of the files that the point has in it.
    pub held: &'a BTreeSet<OsString>,
    /// What else is in it.
    pub extra: &'a [OsString],
    /// Only these files come back into it, and not the folder: the point may have some of `extra`, too.
    pub is_part: bool,
}

/// Shows each folder in which a restore with these options would leave something that the point doesn't have, other file systems too, and what stands beside single
/// files that come back. Returns what could not be
/// looked at.
pub fn beside(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
    seen: &mut dyn FnMut(&Neighbours<'_>),
) -> Result<Vec<Trouble>> {
    let mut unknown = Vec::new();
    let mut folder = |found: Seen<'_>| {
        let (folder, nodes, extra, is_part) = match found {
            Seen::Unknown(trouble) => return unknown.push(trouble),
            Seen::Folder { extra: [], .. } | Seen::Part { others: [], .. } => return,
            Seen::Folder { path, nodes, extra } => (path, nodes, extra, false),
            Seen::Part { path, nodes, others } => (path, nodes, others, true),
        };
        let files = nodes.iter().filter(|node| matches!(node.kind, NodeKind::File { .. }));
        let held = files.map(|node| OsString::from_vec(node.name.clone())).collect();
        seen(&Neighbours { folder, held: &held, extra, is_part });
    };
    compare(vaults, tree, options, true, progress, &mut folder)?;
    Ok(unknown)
}

/// What stands in a target, reached as a restore reaches it: through no link but those above what was captured.
#[derive(Debug)]
pub struct There {
    root: OwnedFd,
    roots: Vec<PathBuf>,
}

impl There {
    /// Opens the target of these options; `None` where there is none.
    pub fn open(options: &RestoreOptions) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&options.target, flags, Mode::empty()) {
            Ok(root) => Ok(Some(Self { root, roots: relative(&options.roots) })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns how a file begins, so many bytes at most; `None` where no file has this name.
    pub fn head(&self, path: &Path, bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let (dir, name) = match self.place(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // A pipe is no reason to wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut head = Vec::new();
        file.take(bytes).read_to_end(&mut head)?;
        Ok(Some(head))
    }

    /// Returns when something was written last, in seconds since 1970; `None` where nothing has this name.
    pub fn modified(&self, path: &Path) -> Option<i64> {
        let (dir, name) = self.place(path).ok()?;
        let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(stat.st_mtime)
    }

    /// Gives a file another name in its folder, which nothing there has, for good. Returns whether it was there.
    pub fn set_aside(&self, path: &Path, to: &OsStr) -> io::Result<bool> {
        let (dir, name) = match self.place(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::renameat_with(&dir, name, &dir, to, RenameFlags::NOREPLACE) {
            // Not every file system can; then it is looked first.
            Err(Errno::INVAL | Errno::NOSYS) => {
                if rustix::fs::statat(&dir, to, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Err(Errno::EXIST.into());
                }
                rustix::fs::renameat(&dir, name, &dir, to)?;
            }
            other => other?,
        }
        // It has its name; what a crash would undo is done again by whoever goes on.
        let _ = rustix::fs::fsync(&dir);
        Ok(true)
    }

    fn place<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let above = path.parent().unwrap_or(Path::new(""));
        Ok((open_through(&self.root, above, &self.roots)?, name))
    }
}

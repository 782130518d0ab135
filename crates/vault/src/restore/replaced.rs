//! What a restore takes away that stands in its target, and what of it is newer: shown beforehand.

use super::RestoreOptions;
use super::report::Trouble;
use super::through::{follow, is_above, open_through};
use super::walk::{Wish, check_name, relative, wish};
use crate::set::VaultSet;
use crate::trees::Trees;
use crate::{BlobId, Error, Kind, Node, NodeKind, Progress, Repository, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is said of something that keeps all below it from coming back.
pub const NOTHING_BELOW: &str = "stays, and nothing is restored below it";

/// How many are named: nobody reads more.
const NAMED_MAX: usize = 1000;

/// Finds what stands in the target where the point has something of another kind: what goes for it, and what stays, so that the point's own is
/// not restored. A file in the place of a file is no such thing. At most a thousand are named.
pub fn replaced(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<Vec<Trouble>> {
    let (only, roots) = (relative(&options.only), relative(&options.roots));
    let mut found = Vec::new();
    meet(vaults, tree, options, progress, &mut |met| {
        let Some(why) = judge(met.root, met.dir, met.node, met.path, &roots, &only) else { return Then::On };
        found.push(Trouble { path: met.path.to_owned(), why });
        if found.len() < NAMED_MAX { Then::Past } else { Then::Stop }
    })?;
    Ok(found)
}

/// Files of the target that were changed after an instant and that a restore writes over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overwritten {
    /// How many there are.
    pub count: u64,
    /// The one that was changed last, below the target, and when: in seconds since 1970.
    pub newest: Option<(i64, PathBuf)>,
}

/// Counts what a restore with these options writes over although it was changed after `since`, in seconds since 1970. What is as in the point by its size and time isn't.
pub fn overwritten(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    since: i64,
    progress: &Progress,
) -> Result<Overwritten> {
    let mut found = Overwritten::default();
    meet(vaults, tree, options, progress, &mut |met| {
        if let NodeKind::File { size, .. } = met.node.kind
            && let Ok(stat) =
                rustix::fs::statat(met.dir, OsStr::from_bytes(&met.node.name), AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_mtime > since
            && (stat.st_mtime != met.node.meta.mtime.seconds || u64::try_from(stat.st_size) != Ok(size))
        {
            found.count += 1;
            let newest = found.newest.as_ref().map(|(time, _)| *time);
            if newest.is_none_or(|newest| stat.st_mtime > newest) {
                found.newest = Some((stat.st_mtime, met.path.to_owned()));
            }
        }
        Then::On
    })?;
    Ok(found)
}

/// An entry of a point that is asked for, in a folder that the target has too.
struct Met<'m> {
    root: &'m OwnedFd,
    dir: &'m OwnedFd,
    node: &'m Node,
    /// Below the target.
    path: &'m Path,
}

/// What is looked at next.
enum Then {
    /// What is below it, too.
    On,
    /// Nothing that is below it.
    Past,
    /// Nothing more.
    Stop,
}

/// Shows each entry of a point that is asked for, in the folders that the target has too.
fn meet(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
    seen: &mut dyn FnMut(&Met<'_>) -> Then,
) -> Result<()> {
    let set = VaultSet::new(vaults, options.patience);
    let mut trees = Trees::new(&set);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = || format!("look at {}", options.target.display());
    let root = match rustix::fs::open(&options.target, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Error::io(place(), error.into())),
    };
    let (only, roots) = (relative(&options.only), relative(&options.roots));
    let without = relative(&options.without);
    let mut folders = set.folders();
    let mut stack = vec![(PathBuf::new(), tree, 0)];
    while let Some((path, tree, depth)) = stack.pop() {
        if progress.is_stopped() {
            return Err(Error::new(place(), Kind::Interrupted));
        }
        // What isn't there yet has nothing in the way; what can't be entered is told by the restore.
        let Ok(dir) = open_through(&root, &path, &roots) else { continue };
        // So is what is in no vault.
        let Ok(nodes) = trees.read(&tree) else { continue };
        // And what comes without end.
        if folders.enter(&tree, nodes.len(), depth).is_err() {
            continue;
        }
        let mut met = HashSet::new();
        for node in nodes.into_iter().flatten().filter(|node| check_name(&node.name).is_ok()) {
            let child = path.join(OsStr::from_bytes(&node.name));
            let wished = wish(&only, &child);
            let is_silent = options.silent.contains(&child) || without.contains(&child);
            // A second entry of this name is not restored.
            let is_second = !met.insert(node.name.clone());
            if is_second || is_silent || wished == Wish::No || (wished == Wish::OnTheWay && !node.is_dir()) {
                continue;
            }
            match seen(&Met { root: &root, dir: &dir, node: &node, path: &child }) {
                Then::Stop => return Ok(()),
                Then::Past => {}
                Then::On => {
                    if let NodeKind::Dir { subtree: Some(subtree) } = node.kind {
                        stack.push((child, subtree, depth + 1));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns what becomes of what stands in the place of an entry, if it is of another kind.
fn judge(
    root: &OwnedFd,
    dir: &OwnedFd,
    node: &Node,
    path: &Path,
    roots: &[PathBuf],
    only: &[PathBuf],
) -> Option<String> {
    let name = OsStr::from_bytes(&node.name);
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let link = || match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(target) => format!("a link to {}", String::from_utf8_lossy(target.as_bytes())),
        Err(_) => "a link".to_owned(),
    };
    let standing = FileType::from_raw_mode(stat.st_mode);
    let what = match standing {
        FileType::Symlink => link(),
        FileType::RegularFile => "a file".to_owned(),
        FileType::Directory => "a folder".to_owned(),
        FileType::Fifo => "a pipe".to_owned(),
        FileType::Socket => "a socket".to_owned(),
        _ => "a device".to_owned(),
    };
    let kind = match &node.kind {
        NodeKind::Dir { .. } if standing == FileType::Directory => return None,
        NodeKind::Dir { .. } if is_above(roots, path) && standing == FileType::Symlink => {
            let why = follow(root, path).err()?;
            return Some(format!("{what} {NOTHING_BELOW}: {why}"));
        }
        NodeKind::Dir { .. } if is_above(roots, path) || is_above(only, path) => {
            return Some(format!("{what} {NOTHING_BELOW}: the point has a folder here"));
        }
        NodeKind::Dir { .. } => "a folder",
        NodeKind::File { .. } if standing == FileType::RegularFile => return None,
        NodeKind::File { .. } => "a file",
        NodeKind::Symlink { target } if standing == FileType::Symlink => {
            let same = rustix::fs::readlinkat(dir, name, Vec::new());
            if same.is_ok_and(|there| there.as_bytes() == target.as_slice()) {
                return None;
            }
            "another link"
        }
        NodeKind::Symlink { .. } => "a link",
        NodeKind::Fifo if standing == FileType::Fifo => return None,
        NodeKind::Fifo => "a pipe",
        NodeKind::Device { .. } if matches!(standing, FileType::BlockDevice | FileType::CharacterDevice) => {
            return None;
        }
        NodeKind::Device { .. } => "a device",
        // None is made.
        NodeKind::Socket => return None,
    };
    if standing == FileType::Directory && is_mount_point(dir, name) {
        return Some(format!(
            "{what} on which something is mounted stays: {kind} of the point is not restored here: unmount it first"
        ));
    }
    if standing == FileType::Directory && !is_empty(dir, name) {
        return Some(format!("{what} that isn't empty stays: {kind} of the point is not restored here"));
    }
    Some(format!("{what} goes: the point has {kind} here"))
}

/// Returns whether something is mounted on a folder: nobody can take that away. Kernels before 5.8 don't tell.
fn is_mount_point(dir: &OwnedFd, name: &OsStr) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let looked = rustix::fs::statx(dir, name, flags, StatxFlags::empty());
    looked.is_ok_and(|looked| looked.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn is_empty(dir: &OwnedFd, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, name, flags, Mode::empty());
    let entries = opened.and_then(|opened| Dir::read_from(&opened));
    entries.is_ok_and(|entries| {
        entries.flatten().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
    })
}

//! What lies in the target and not in the point: shown first, then removed as it was shown.

use super::report::Trouble;
use super::through::open_through;
use super::walk::{Wish, check_name, relative, wish};
use super::{RestoreOptions, SILENT};
use crate::set::VaultSet;
use crate::trees::Trees;
use crate::{BlobId, Error, Kind, Node, NodeKind, Progress, Repository, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Entries of the target that the point does not have: nothing else is removed by [`Extras::remove`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extras {
    target: PathBuf,
    roots: Vec<PathBuf>,
    /// Below the target. A directory stands for all that is in it. May be taken out by the caller, not added to.
    pub paths: BTreeSet<PathBuf>,
    /// Directories of which it can't be said what is too much, since they can't be read, here or in the vaults.
    pub unknown: Vec<Trouble>,
}

/// Finds what a restore with these options leaves in the target although the point does not have it. Looks only inside of what was captured
/// ([`RestoreOptions::roots`]) and asked for ([`RestoreOptions::only`]), and nowhere where a file system begins.
pub fn extras(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<Extras> {
    let set = VaultSet::new(vaults, options.patience);
    let mut trees = Trees::new(&set);
    let (only, roots) = (relative(&options.only), relative(&options.roots));
    let mut found = Extras {
        target: options.target.clone(),
        roots: roots.clone(),
        paths: BTreeSet::new(),
        unknown: Vec::new(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::open(&options.target, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(found),
        Err(error) => return Err(Error::io(format!("look at {}", options.target.display()), error.into())),
    };
    let wished = |path: &Path| (wish(&roots, path), wish(&only, path));
    // With the file system of the folder above, where that is inside of what was captured.
    let mut stack = vec![(PathBuf::new(), tree, None)];
    while let Some((path, tree, above)) = stack.pop() {
        if progress.is_stopped() {
            return Err(Error::new(format!("look at {}", options.target.display()), Kind::Interrupted));
        }
        // What is mounted here doesn't answer, and is nobody's leftover.
        if options.silent.contains(&path) {
            continue;
        }
        let mut unknown = |why: String| found.unknown.push(Trouble { path: path.clone(), why });
        let nodes = match trees.read(&tree) {
            Ok(nodes) => nodes,
            Err(error) => {
                unknown(format!("what is in this folder is in no vault: {error}"));
                continue;
            }
        };
        // Without the name of an entry, nothing here can be called too much.
        if let Some(why) = nodes.iter().find_map(|node| node.as_ref().err()) {
            unknown(format!("an entry makes no sense: {why}"));
            continue;
        }
        let nodes: Vec<Node> = nodes.into_iter().flatten().collect();
        let names: HashSet<&[u8]> = nodes.iter().map(|node| node.name.as_slice()).collect();
        let mut device = above;
        if wished(&path) == (Wish::Asked, Wish::Asked) {
            let listed = open_through(&root, &path, &roots)
                .and_then(|dir| Ok((rustix::fs::fstat(&dir)?.st_dev, list(&dir)?)));
            match listed {
                // Something else is mounted here: the point holds an empty folder, and what is in it is nobody's leftover.
                Ok((own, _)) if above.is_some_and(|above| above != own) => continue,
                Ok((own, there)) => {
                    device = Some(own);
                    let extra = there.into_iter().filter(|name| !names.contains(name.as_bytes()));
                    for extra in extra.map(|name| path.join(name)) {
                        let is_silent = options.silent.iter().any(|silent| silent.starts_with(&extra));
                        match is_silent {
                            true => found.unknown.push(Trouble { path: extra, why: SILENT.to_owned() }),
                            false => {
                                found.paths.insert(extra);
                            }
                        }
                    }
                }
                // Not there yet, or no directory: the restore makes one, and then nothing else is in it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => {
                    unknown(io::Error::from(error).to_string());
                    continue;
                }
            }
        }
        for node in &nodes {
            let child = path.join(OsStr::from_bytes(&node.name));
            if let NodeKind::Dir { subtree: Some(subtree) } = node.kind
                && check_name(&node.name).is_ok()
                && !matches!(wished(&child), (Wish::No, _) | (_, Wish::No))
            {
                stack.push((child, subtree, device));
            }
        }
    }
    Ok(found)
}

impl Extras {
    /// Removes what was found, through directory handles and following no link. Directories go with all that is in them, but nothing on
    /// another file system does. Returns how many entries are gone, and what could not be removed.
    #[must_use]
    pub fn remove(&self) -> (u64, Vec<Trouble>) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut trouble = Vec::new();
        let mut removed = 0;
        let root = match rustix::fs::open(&self.target, flags, Mode::empty()) {
            Ok(root) => root,
            Err(error) => {
                let why = io::Error::from(error).to_string();
                return (0, vec![Trouble { path: self.target.clone(), why }]);
            }
        };
        for path in &self.paths {
            let (Some(name), Some(above)) = (path.file_name(), path.parent()) else { continue };
            let gone = open_through(&root, above, &self.roots).and_then(|dir| remove(&dir, name));
            match gone {
                Ok(()) => removed += 1,
                // The restore itself has taken it away: a damaged file that came back whole, say.
                Err(Errno::NOENT) => {}
                Err(error) => {
                    trouble.push(Trouble { path: path.clone(), why: io::Error::from(error).to_string() });
                }
            }
        }
        let _ = rustix::fs::syncfs(&root);
        (removed, trouble)
    }
}

fn list(dir: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    // A listing is no set, and what was removed once isn't there a second time.
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Removes an entry, and all that is in it: an open directory for each level, and no deeper than there are handles.
fn remove(dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    let device = rustix::fs::fstat(dir)?.st_dev;
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return rustix::fs::unlinkat(dir, name, AtFlags::empty());
    }
    // Another file system: what is mounted there is nobody's leftover.
    if stat.st_dev != device {
        return Err(Errno::BUSY);
    }
    let open = |dir: &OwnedFd, name: &OsStr| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::empty())
    };
    let first = open(dir, name)?;
    let mut stack = vec![(list(&first)?, first, name.to_owned())];
    while let Some((names, handle, own)) = stack.last_mut() {
        if let Some(child) = names.pop() {
            let stat = rustix::fs::statat(&*handle, &child, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                rustix::fs::unlinkat(&*handle, &child, AtFlags::empty())?;
            } else if stat.st_dev != device {
                return Err(Errno::BUSY);
            } else {
                let below = open(handle, &child)?;
                stack.push((list(&below)?, below, child));
            }
            continue;
        }
        let own = std::mem::take(own);
        stack.pop();
        let above = stack.last().map_or(dir, |(_, handle, _)| handle);
        rustix::fs::unlinkat(above, &own, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

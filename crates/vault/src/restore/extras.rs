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
    let mut found = Extras {
        target: options.target.clone(),
        roots: relative(&options.roots),
        paths: BTreeSet::new(),
        unknown: Vec::new(),
    };
    let (paths, unknown) = (&mut found.paths, &mut found.unknown);
    let mut seen = |seen: Seen<'_>| match seen {
        Seen::Unknown(trouble) => unknown.push(trouble),
        Seen::Folder { path, extra, .. } => paths.extend(extra.iter().map(|name| path.join(name))),
        // What else is in a folder of which only some was asked for is nobody's leftover.
        Seen::Part { .. } => {}
    };
    compare(vaults, tree, options, false, progress, &mut seen)?;
    Ok(found)
}

/// What [`compare`] has seen.
pub(super) enum Seen<'a> {
    /// A folder of which nothing can be said, or something too much that nobody looks at.
    Unknown(Trouble),
    /// A folder of the target that the point has too.
    Folder {
        /// Below the target.
        path: &'a Path,
        /// What the point has in it.
        nodes: &'a [Node],
        /// What is in it, and the point has not.
        extra: &'a [OsString],
    },
    /// A folder of the target of which only single files were asked for.
    Part {
        /// Below the target.
        path: &'a Path,
        /// What of the point comes back into it.
        nodes: &'a [Node],
        /// What else is in it.
        others: &'a [OsString],
    },
}

/// Holds the folders of the target against those of the point. Where a file system begins inside of what was captured it goes on only if it `crosses`,
/// and then it shows folders too of which only single files were asked for.
pub(super) fn compare(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    crosses: bool,
    progress: &Progress,
    seen: &mut dyn FnMut(Seen<'_>),
) -> Result<()> {
    let set = VaultSet::new(vaults, options.patience);
    let mut trees = Trees::new(&set);
    let (only, roots) = (relative(&options.only), relative(&options.roots));
    let without = relative(&options.without);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::open(&options.target, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Error::io(format!("look at {}", options.target.display()), error.into())),
    };
    let wished = |path: &Path| (wish(&roots, path), wish(&only, path));
    let mut folders = set.folders();
    // With the file system of the folder above, where that is inside of what was captured, and how many lie above it.
    let mut stack = vec![(PathBuf::new(), tree, None, 0)];
    while let Some((path, tree, above, depth)) = stack.pop() {
        if progress.is_stopped() {
            return Err(Error::new(format!("look at {}", options.target.display()), Kind::Interrupted));
        }
        // What is mounted here doesn't answer, and is nobody's leftover.
        if options.silent.contains(&path) {
            continue;
        }
        let mut unknown = |why: String| seen(Seen::Unknown(Trouble { path: path.clone(), why }));
        let nodes = match trees.read(&tree) {
            Ok(nodes) => nodes,
            Err(error) => {
                unknown(format!("what is in this folder is in no vault: {error}"));
                continue;
            }
        };
        if let Err(why) = folders.enter(&tree, nodes.len(), depth) {
            unknown(why.into());
            continue;
        }
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
                Ok((own, _)) if !crosses && above.is_some_and(|above| above != own) => continue,
                Ok((own, there)) => {
                    device = Some(own);
                    // Another's is nothing that is too much here, nor is what it lies in.
                    let is_anothers = |path: &Path| {
                        without.iter().any(|other| other.starts_with(path) || path.starts_with(other))
                    };
                    let is_silent =
                        |path: &Path| options.silent.iter().any(|silent| silent.starts_with(path));
                    let extra = there.into_iter().filter(|name| !names.contains(name.as_bytes()));
                    let extra = extra.filter(|name| !is_anothers(&path.join(name)));
                    let (silent, extra): (Vec<OsString>, Vec<OsString>) =
                        extra.partition(|name| is_silent(&path.join(name)));
                    for name in silent {
                        let why = SILENT.to_owned();
                        seen(Seen::Unknown(Trouble { path: path.join(name), why }));
                    }
                    seen(Seen::Folder { path: &path, nodes: &nodes, extra: &extra });
                }
                // Not there yet, or no directory: the restore makes one, and then nothing else is in it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => {
                    unknown(io::Error::from(error).to_string());
                    continue;
                }
            }
        } else if crosses {
            let is_left = |place: &Path| {
                options.silent.iter().any(|silent| silent == place)
                    || without.iter().any(|other| other == place)
            };
            let is_asked = |place: &Path| wished(place) == (Wish::Asked, Wish::Asked) && !is_left(place);
            let asked: Vec<Node> = files(&nodes, &|name| is_asked(&path.join(name)));
            if !asked.is_empty() {
                match open_through(&root, &path, &roots).and_then(|dir| list(&dir)) {
                    Ok(mut others) => {
                        others.retain(|name| {
                            let place = path.join(name);
                            !is_asked(&place) && !is_left(&place)
                        });
                        seen(Seen::Part { path: &path, nodes: &asked, others: &others });
                    }
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => unknown(io::Error::from(error).to_string()),
                }
            }
        }
        let mut met = HashSet::new();
        for node in &nodes {
            let child = path.join(OsStr::from_bytes(&node.name));
            // A second entry of this name is not restored.
            if met.insert(node.name.as_slice())
                && let NodeKind::Dir { subtree: Some(subtree) } = node.kind
                && check_name(&node.name).is_ok()
                && !without.contains(&child)
                && !matches!(wished(&child), (Wish::No, _) | (_, Wish::No))
            {
                stack.push((child, subtree, device, depth + 1));
            }
        }
    }
    Ok(())
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

/// Returns the files of a folder whose names are meant.
fn files(nodes: &[Node], is_meant: &dyn Fn(&OsStr) -> bool) -> Vec<Node> {
    let files = nodes.iter().filter(|node| matches!(node.kind, NodeKind::File { .. }));
    files.filter(|node| is_meant(OsStr::from_bytes(&node.name))).cloned().collect()
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

//! The files of this machine as a backup sees them.
//!
//! An unchanged backup costs what this file costs, so a directory is opened once, read in one stream, and each entry
//! is looked at once, by its name in the open directory. With a [`journal`](super::journal) it costs only what changed.

use super::content::FileContent;
use super::exclude::Excludes;
use super::journal::Run;
use super::reach::{Reach, stat_open};
use super::roots::{Branch, Roots, names};
use crate::machine::{self, Names};
use rustix::fs::{CWD, OFlags, RawDir, StatxFlags, fstatfs, readlinkat_raw, statx};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use vault::{Content, Input, Node, NodeKind, Since, Unread};

/// What the kernel fills of a directory in one call: some 500 names of usual length.
const LISTING_BYTES: usize = 32 * 1024;

/// File systems that the kernel makes up: proc, sysfs, cgroup, cgroup2, devpts, debugfs, tracefs, securityfs, pstore, bpf,
/// configfs, mqueue, hugetlbfs, binfmt_misc, fusectl, efivarfs, nsfs, rpc_pipefs, selinuxfs, smackfs.
#[rustfmt::skip]
const MADE_UP: [u64; 20] = [
    0x9FA0, 0x6265_6572, 0x0027_E0EB, 0x6367_7270, 0x1CD1, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6165_676C, 0xCAFE_4A11,
    0x6265_6570, 0x1980_0202, 0x9584_58F6, 0x4249_4E4D, 0x6573_5543, 0xDE5E_81E4, 0x6E73_6673, 0x6759_6969, 0xF97C_FF8C, 0x4341_5D53,
];

/// The files below the named paths.
pub(crate) struct Tree {
    reach: Reach,
    roots: Roots,
    excludes: Excludes,
    one_file_system: bool,
    owners: Names,
    /// Which file systems are made up by the kernel, by their number.
    made_up: RwLock<HashMap<u64, bool>>,
    /// What changed since the last capture, where that is known.
    journal: Option<Arc<Run>>,
}

/// Where in the tree of named paths a directory is.
struct Spot<'a> {
    /// What was named below this directory, if anything.
    branch: Option<&'a Branch>,
    /// The file system of the nearest named path above, if the directory is inside one. `None` inside: it could not be looked at.
    inside: Option<Option<u64>>,
}

impl Tree {
    /// Opens the view; the folders in `excludes` are resolved.
    pub(super) fn open(
        roots: Roots,
        excludes: Excludes,
        one_file_system: bool,
        journal: Option<Arc<Run>>,
    ) -> io::Result<Self> {
        let reach = Reach::new()?;
        for (path, branch) in root_branches(roots.top(), PathBuf::new()) {
            // One that isn't there is reported when its directory is listed.
            if let Ok(stat) = reach.stat(&path) {
                let _ = branch.device.set(machine::device_of(&stat));
            }
        }
        Ok(Self {
            reach,
            roots,
            excludes,
            one_file_system,
            owners: Names::default(),
            made_up: RwLock::default(),
            journal,
        })
    }

    pub(super) fn root_paths(&self) -> Vec<PathBuf> {
        self.roots.paths()
    }

    fn spot(&self, dir: &Path) -> Spot<'_> {
        let mut spot = Spot { branch: Some(self.roots.top()), inside: None };
        let mut path = Vec::from(b"/");
        let enter = |spot: &mut Spot<'_>, branch: &Branch| {
            if branch.is_root {
                spot.inside = Some(branch.device.get().copied());
            }
        };
        enter(&mut spot, self.roots.top());
        for name in names(dir) {
            let Some(branch) = spot.branch else { break };
            spot.branch = branch.children.get(name);
            if let Some(child) = spot.branch {
                extend(&mut path, name.as_bytes());
                // Left out, but on the way to something that was named.
                if spot.inside.is_some() && (self.excludes.matches(&path) || self.excludes.matches_dir(&path))
                {
                    spot.inside = None;
                }
                enter(&mut spot, child);
            }
        }
        spot
    }

    fn is_made_up(&self, device: u64, fd: BorrowedFd<'_>) -> io::Result<bool> {
        if let Some(known) = self.made_up.read().unwrap_or_else(PoisonError::into_inner).get(&device) {
            return Ok(*known);
        }
        #[expect(clippy::cast_sign_loss, reason = "the numbers are bit patterns of 32 bits")]
        let magic = fstatfs(fd)?.f_type as u64 & 0xFFFF_FFFF;
        let made_up = MADE_UP.contains(&magic);
        self.made_up.write().unwrap_or_else(PoisonError::into_inner).insert(device, made_up);
        Ok(made_up)
    }

    /// Reports what keeps the named paths at and below `branch` from being captured, given what stands there.
    fn check_named(&self, path: &Path, branch: &Branch, node: &Node, unread: &mut Vec<Unread>) {
        let broken: Vec<(PathBuf, String)> = match node.kind {
            NodeKind::Symlink { .. } => branch
                .below(path)
                .into_iter()
                .filter_map(|named| {
                    let through = match named == path {
                        true => "is a symbolic link".to_owned(),
                        false => format!("goes through the symbolic link {}", path.display()),
                    };
                    let why = match named.canonicalize() {
                        Ok(real) if self.roots.cover(&real) => return None,
                        Ok(real) => format!(
                            "{through} to {real}: name {real} in the paths too",
                            real = real.display()
                        ),
                        Err(error) => format!("{through} that leads nowhere: {error}"),
                    };
                    Some((named, why))
                })
                .collect(),
            NodeKind::Dir { .. } => Vec::new(),
            _ => {
                let why = format!("{} is not a directory", path.display());
                branch
                    .below(path)
                    .into_iter()
                    .filter(|named| named != path)
                    .map(|named| (named, why.clone()))
                    .collect()
            }
        };
        unread.extend(broken.into_iter().map(|(path, why)| Unread { path, why }));
    }
}

impl Input for Tree {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let spot = self.spot(dir);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::NONBLOCK;
        let fd = self.reach.open(dir, flags)?;
        let stat = stat_open(fd.as_fd())?;
        let here = machine::device_of(&stat);
        let wanted = match spot.inside {
            None => false,
            Some(Some(root)) if root != here => {
                !self.one_file_system && !self.is_made_up(here, fd.as_fd())?
            }
            Some(_) => true,
        };
        let mut listing = Listing {
            tree: self,
            fd: fd.as_fd(),
            path: Path::new("/").join(dir).into_os_string().into_encoded_bytes(),
            branch: spot.branch,
            nodes: Vec::new(),
            unread,
        };
        if wanted {
            listing.everything()?;
        } else {
            listing.only_named();
        }
        let nodes = listing.nodes;
        if let Some(journal) = &self.journal {
            journal.listed(here, stat.stx_ino, &nodes);
        }
        Ok(nodes)
    }

    /// Directories on the way to a named path are few, and listed every time.
    fn since(&self, dir: &Path, node: &Node) -> Since {
        let spot = self.spot(dir);
        let inside = spot.inside.is_some() && spot.branch.is_none_or(|branch| branch.children.is_empty());
        match &self.journal {
            Some(journal) if inside => journal.since(node.meta.device, node.meta.inode),
            _ => Since::Unknown,
        }
    }

    fn look(&self, path: &Path) -> io::Result<Node> {
        let name = path.file_name().unwrap_or_default().as_bytes().to_owned();
        Ok(machine::node(name, &self.reach.stat(path)?))
    }

    /// A file is looked at once more, so that one which changed since it was listed can be read whole at a second attempt.
    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        let named = self.reach.name(path)?;
        match &mut node.kind {
            NodeKind::Symlink { target } => *target = read_link(&named.path)?,
            NodeKind::File { .. } => {
                let stat = machine::look(&named.path)?;
                let now = machine::node(Vec::new(), &stat);
                if !matches!(now.kind, NodeKind::File { .. }) {
                    return Err(io::Error::other("is no longer a regular file"));
                }
                (node.meta, node.kind) = (now.meta, now.kind);
            }
            _ => {}
        }
        node.meta.unread.clear();
        machine::fill_xattrs(named.path.as_os_str().as_bytes(), &mut node.meta);
        self.owners.fill(&mut node.meta);
        Ok(())
    }

    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>> {
        let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::NOCTTY;
        // A pipe that took the file's place must not hold us up.
        let fd = match self.reach.open(path, flags | OFlags::NONBLOCK) {
            // A file server holds a lease on the file and must be given the time to hand it back.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.reach.open(path, flags),
            other => other,
        }?;
        Ok(Box::new(FileContent::new(fd, node)?))
    }
}

/// One directory while it is read.
struct Listing<'a> {
    tree: &'a Tree,
    fd: BorrowedFd<'a>,
    /// Its absolute path.
    path: Vec<u8>,
    branch: Option<&'a Branch>,
    nodes: Vec<Node>,
    unread: &'a mut Vec<Unread>,
}

impl<'a> Listing<'a> {
    /// Lists all that is there and not left out.
    fn everything(&mut self) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(LISTING_BYTES);
        let mut entries = RawDir::new(self.fd, buffer.spare_capacity_mut());
        let mut found = BTreeSet::new();
        let length = self.path.len();
        let look_up = !self.tree.excludes.is_empty();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = name.to_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            let child = self.branch.and_then(|branch| branch.children.get(OsStr::from_bytes(bytes)));
            if child.is_some() {
                found.insert(bytes.to_owned());
            }
            if look_up {
                self.path.truncate(length);
                extend(&mut self.path, bytes);
            }
            if child.is_none() && look_up && self.tree.excludes.matches(&self.path) {
                continue;
            }
            if let Some(node) = self.look(name, length) {
                let left_out = look_up && node.is_dir() && self.tree.excludes.matches_dir(&self.path);
                match child {
                    Some(child) => self.push_named(node, child, length),
                    None if left_out => {}
                    None => self.nodes.push(node),
                }
            }
        }
        self.path.truncate(length);
        for (name, child) in self.named() {
            if !found.contains(name.as_bytes()) {
                self.missing(name.as_bytes(), child);
            }
        }
        Ok(())
    }

    /// Lists only what leads to a named path.
    fn only_named(&mut self) {
        let length = self.path.len();
        for (name, child) in self.named() {
            let Ok(c_name) = std::ffi::CString::new(name.as_bytes()) else { continue };
            match self.stat(&c_name) {
                Ok(node) => self.push_named(node, child, length),
                Err(Errno::NOENT) => self.missing(name.as_bytes(), child),
                Err(error) => self.unreadable(name.as_bytes(), length, error),
            }
        }
    }

    /// Returns what leads to named paths from here.
    fn named(&self) -> impl Iterator<Item = (&'a OsString, &'a Branch)> + use<'a> {
        self.branch.into_iter().flat_map(|branch| &branch.children)
    }

    /// Looks at one entry. One that can't be looked at is reported; one that vanished meanwhile is not: it isn't there.
    fn look(&mut self, name: &CStr, length: usize) -> Option<Node> {
        match self.stat(name) {
            Ok(node) => Some(node),
            Err(Errno::NOENT) => None,
            Err(error) => {
                self.unreadable(name.to_bytes(), length, error);
                None
            }
        }
    }

    fn stat(&self, name: &CStr) -> Result<Node, Errno> {
        let stat = statx(self.fd, name, machine::LOOK, StatxFlags::BASIC_STATS)?;
        Ok(machine::node(name.to_bytes().to_owned(), &stat))
    }

    fn push_named(&mut self, node: Node, child: &Branch, length: usize) {
        let path = self.join(&node.name, length);
        if self.tree.excludes.is_in_folder(&path) {
            let left_out = |path| Unread {
                path,
                why: "left out: a vault lies here, and would be backed up into itself".to_owned(),
            };
            self.unread.extend(child.below(&path).into_iter().map(left_out));
            return;
        }
        self.tree.check_named(&path, child, &node, self.unread);
        self.nodes.push(node);
    }

    fn missing(&mut self, name: &[u8], child: &Branch) {
        let path = self.join(name, self.path.len());
        let gone = |path| Unread { path, why: "does not exist".to_owned() };
        self.unread.extend(child.below(&path).into_iter().map(gone));
    }

    fn unreadable(&mut self, name: &[u8], length: usize, error: Errno) {
        let path = self.join(name, length);
        self.unread.push(Unread { path, why: io::Error::from(error).to_string() });
    }

    fn join(&self, name: &[u8], length: usize) -> PathBuf {
        let dir = self.path.get(..length).unwrap_or_default();
        Path::new(OsStr::from_bytes(dir)).join(OsStr::from_bytes(name))
    }
}

fn root_branches(branch: &Branch, path: PathBuf) -> Vec<(PathBuf, &Branch)> {
    let deeper: Vec<_> =
        branch.children.iter().flat_map(|(name, child)| root_branches(child, path.join(name))).collect();
    branch.is_root.then_some((path, branch)).into_iter().chain(deeper).collect()
}

/// Appends a name to an absolute path.
fn extend(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    let mut target = Vec::with_capacity(256);
    loop {
        let length = readlinkat_raw(CWD, path, rustix::buffer::spare_capacity(&mut target))?;
        if length < target.capacity() {
            return Ok(target);
        }
        // Linux keeps no link longer than 4,095 bytes, so this ends.
        let larger = target.capacity() * 4;
        target = Vec::with_capacity(larger);
    }
}

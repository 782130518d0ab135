//! One directory while it is listed: what is wanted of it, and how that is looked at.

use super::reach::Reach;
use super::roots::Branch;
use super::tree::{Stand, Tree};
use crate::machine;
use rustix::fs::{FileType, OFlags, RawDir, StatxFlags, statx};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vault::{Input, Meta, Node, NodeKind, Unread};

/// What the kernel fills of a directory in one call: some 500 names of usual length.
const LISTING_BYTES: usize = 32 * 1024;

/// An entry of a directory on a distant mount; not looked at where something else is mounted on it.
pub(super) type Listed = (CString, FileType, Option<Result<Node, Errno>>);

/// What is known of an entry.
enum Look {
    /// Nothing yet: it may be looked at like any other.
    AsUsual,
    /// It is not to be listed.
    Not,
    Is(Node),
    Done(Result<Node, Errno>),
    Failed(String),
}

impl Look {
    /// Takes what somebody else has seen, where nothing is known.
    fn or(self, looked: Option<Result<Node, Errno>>) -> Self {
        match (self, looked) {
            (Self::AsUsual, Some(looked)) => Self::Done(looked),
            (known, _) => known,
        }
    }
}

/// One directory while it is read.
pub(super) struct Listing<'a> {
    pub(super) tree: &'a Tree,
    /// It itself, unless it is looked at by others, as something that may not answer.
    pub(super) fd: Option<BorrowedFd<'a>>,
    /// Something is mounted below it.
    pub(super) has_mounts: bool,
    /// Its absolute path.
    pub(super) path: Vec<u8>,
    pub(super) branch: Option<&'a Branch>,
    pub(super) nodes: Vec<Node>,
    pub(super) unread: &'a mut Vec<Unread>,
}

impl<'a> Listing<'a> {
    /// Lists all that is there and not left out.
    pub(super) fn everything(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(LISTING_BYTES);
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        let mut found = BTreeSet::new();
        let length = self.path.len();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            self.entry(entry.file_name(), entry.file_type(), None, length, &mut found);
        }
        self.end(length, &found);
        Ok(())
    }

    /// As [`everything`](Self::everything), with what somebody else has listed.
    pub(super) fn each(&mut self, listed: Vec<Listed>) {
        let mut found = BTreeSet::new();
        let length = self.path.len();
        for (name, kind, looked) in listed {
            self.entry(&name, kind, looked, length, &mut found);
        }
        self.end(length, &found);
    }

    /// Takes one entry. It is looked at only if it is wanted, whatever stands there.
    fn entry(
        &mut self,
        name: &CStr,
        kind: FileType,
        looked: Option<Result<Node, Errno>>,
        length: usize,
        found: &mut BTreeSet<Vec<u8>>,
    ) {
        let bytes = name.to_bytes();
        if matches!(bytes, b"." | b"..") {
            return;
        }
        let child = self.branch.and_then(|branch| branch.children.get(OsStr::from_bytes(bytes)));
        if child.is_some() {
            found.insert(bytes.to_owned());
        }
        let look_up = !self.tree.excludes.is_empty();
        if look_up || self.has_mounts {
            self.path.truncate(length);
            extend(&mut self.path, bytes);
        }
        if child.is_none() && look_up {
            let excludes = &self.tree.excludes;
            if excludes.matches(&self.path) || kind == FileType::Directory && excludes.matches_dir(&self.path)
            {
                return;
            }
        }
        let known = if self.has_mounts { self.on_mount(name, child.is_some()) } else { Look::AsUsual };
        let looked = known.or(looked);
        let node = match looked {
            Look::Not => return,
            Look::Is(node) => Some(node),
            Look::Failed(why) => {
                self.unread.push(Unread { path: self.join(bytes, length), why });
                None
            }
            Look::Done(Err(error)) => self.not_looked(bytes, length, error),
            Look::Done(Ok(node)) => Some(node),
            Look::AsUsual => match self.stat(name) {
                Ok(node) => Some(node),
                Err(error) => self.not_looked(bytes, length, error),
            },
        };
        let Some(node) = node else { return };
        let left_out = look_up && node.is_dir() && self.tree.excludes.matches_dir(&self.path);
        if child.is_none()
            && !left_out
            && let Some(pattern) = self.tree.excludes.mistaken(&self.path, node.is_dir())
        {
            self.tree.is_mistaken(self.join(bytes, length), pattern);
        }
        match child {
            Some(child) => self.push_named(node, child, length),
            None if left_out => {}
            None => self.nodes.push(node),
        }
    }

    /// Reports what was named and isn't there.
    fn end(&mut self, length: usize, found: &BTreeSet<Vec<u8>>) {
        self.path.truncate(length);
        for (name, child) in self.named() {
            if !found.contains(name.as_bytes()) {
                self.missing(name.as_bytes(), child);
            }
        }
    }

    /// Returns what an entry is on which something is mounted that may not answer.
    fn on_mount(&self, name: &CStr, is_named: bool) -> Look {
        let path = Path::new(OsStr::from_bytes(&self.path));
        let Some(mount) = self.tree.mounts.at(path).filter(|mount| mount.is_distant()) else {
            return Look::AsUsual;
        };
        match self.tree.stand(machine::inside(path)) {
            Stand::LeftOut if !is_named && mount.closed_by(rustix::process::geteuid().as_raw()).is_some() => {
                Look::Not
            }
            // What the place looks like without the mount nobody can see: as `mkdir` would make it.
            Stand::LeftOut => Look::Is(Node {
                name: name.to_bytes().to_owned(),
                meta: Meta { mode: 0o755, device: mount.device, links: 1, ..Meta::default() },
                kind: NodeKind::Dir { subtree: None },
            }),
            Stand::Plain | Stand::Distant(_) => match self.tree.look(machine::inside(path)) {
                Ok(node) => Look::Is(node),
                Err(error) => Look::Failed(error.to_string()),
            },
        }
    }

    /// Lists only what leads to a named path.
    pub(super) fn only_named(&mut self) {
        let length = self.path.len();
        for (name, child) in self.named() {
            let Ok(c_name) = std::ffi::CString::new(name.as_bytes()) else { continue };
            match self.look_at_named(&c_name, length) {
                Ok(node) => self.push_named(node, child, length),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.missing(name.as_bytes(), child),
                Err(error) => {
                    let path = self.join(name.as_bytes(), length);
                    self.unread.push(Unread { path, why: error.to_string() });
                }
            }
        }
    }

    /// Returns what leads to named paths from here.
    fn named(&self) -> impl Iterator<Item = (&'a OsString, &'a Branch)> + use<'a> {
        self.branch.into_iter().flat_map(|branch| &branch.children)
    }

    /// Reports an entry that can't be looked at; one that vanished meanwhile is no fault: it isn't there.
    fn not_looked(&mut self, name: &[u8], length: usize, error: Errno) -> Option<Node> {
        if error != Errno::NOENT {
            self.unreadable(name, length, error);
        }
        None
    }

    fn stat(&self, name: &CStr) -> Result<Node, Errno> {
        stat_in(self.fd.ok_or(Errno::BADF)?, name)
    }

    /// Looks at something on the way to a named path.
    fn look_at_named(&self, name: &CStr, length: usize) -> io::Result<Node> {
        let path = self.join(name.to_bytes(), length);
        match self.tree.stand(machine::inside(&path)) {
            Stand::Plain if self.fd.is_some() => Ok(self.stat(name)?),
            _ => self.tree.look(machine::inside(&path)),
        }
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

/// Lists a directory and looks at all in it, but for what is `mounted` there.
pub(super) fn list_whole(reach: &Reach, dir: &Path, mounted: &BTreeSet<Vec<u8>>) -> io::Result<Vec<Listed>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::NONBLOCK;
    let fd = reach.open(dir, flags)?;
    let mut buffer = Vec::with_capacity(LISTING_BYTES);
    let mut entries = RawDir::new(&fd, buffer.spare_capacity_mut());
    let mut listed = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_owned();
        let looked = (!mounted.contains(name.to_bytes())).then(|| stat_in(fd.as_fd(), &name));
        listed.push((name, entry.file_type(), looked));
    }
    Ok(listed)
}

fn stat_in(dir: BorrowedFd<'_>, name: &CStr) -> Result<Node, Errno> {
    let stat = statx(dir, name, machine::LOOK, StatxFlags::BASIC_STATS)?;
    Ok(machine::node(name.to_bytes().to_owned(), &stat))
}

/// Appends a name to an absolute path.
pub(super) fn extend(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

//! What a person should know of a point before it comes back: what lies outside of what is meant, and what gives rights to whoever finds it.
//!
//! A point says which paths it holds, and its tree is what comes back. So the tree is walked: above the paths that are meant every name is looked at, below them
//! every entry. A folder that an earlier point holds under the same id is the same to the last attribute, and is not walked again.

use super::RestoreOptions;
use super::attributes::CAPABILITY;
use super::walk::{Wish, check_name, relative, wish};
use crate::id::hex;
use crate::set::{PATIENCE, VaultSet};
use crate::trees::Trees;
use crate::{BlobId, BlobKind, Node, NodeKind, Repository};
use md5::{Digest, Md5};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many are named that lie outside, and how many folders that nobody can look into.
const NAMED_MAX: usize = 1000;
/// How many entries that give rights are told apart.
const RIGHTS_MAX: usize = 10_000;
/// No program is longer.
const PROGRAM_MAX: u64 = 256 << 20;

/// What a file gives to whoever starts or opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// What its owner may.
    Setuid,
    /// What its group may.
    Setgid,
    /// A part of what root may.
    Capability,
    /// A disk, or the memory, say.
    Device,
}

impl fmt::Display for Gives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setuid => "setuid",
            Self::Setgid => "setgid",
            Self::Capability => "capabilities",
            Self::Device => "a device",
        })
    }
}

/// An entry that gives rights, and that the earlier point doesn't have just so.
#[derive(Debug, Clone)]
pub struct Right {
    /// Where, absolute as it was captured.
    pub path: PathBuf,
    /// The entry.
    pub node: Node,
    /// What it gives.
    pub gives: Vec<Gives>,
    /// The earlier point has one of the same name that gives as much, with another content or owner.
    pub stood: bool,
}

/// What was found in a point.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Something of what is meant is in it.
    pub found: bool,
    /// Of what is meant, that of which nothing was seen in it, absolute.
    pub absent: Vec<PathBuf>,
    /// What else it holds, absolute, each without what is below it; a thousand at most.
    pub outside: Vec<PathBuf>,
    /// What gives rights, of what is meant.
    pub rights: Vec<Right>,
    /// Folders that could not be looked into.
    pub unknown: Vec<PathBuf>,
    /// There is more of the last two than is named: what is not named is not known.
    pub is_more: bool,
}

/// What is asked of what gives rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Nothing: then only what lies at the paths that are meant is looked at, and above them.
    Unasked,
    /// All of it.
    All,
    /// What the earlier point with this root doesn't have just so.
    Since(BlobId),
}

/// Says of a path, absolute as it was captured, that what gives rights there does not come back.
pub type Withholds = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// A folder that is still to be looked into.
struct Next {
    path: PathBuf,
    tree: BlobId,
    before: Option<BlobId>,
    depth: usize,
}

/// Looks through the point with this root, of which the paths `inside` are meant; all of it where there are none.
#[must_use]
pub fn held(vaults: &[Arc<Repository>], tree: BlobId, inside: &[PathBuf], rights: Rights) -> Held {
    let set = VaultSet::new(vaults, PATIENCE);
    let mut trees = Trees::new(&set);
    let mut folders = set.folders();
    let inside = relative(inside);
    let absent = inside.iter().map(|path| Path::new("/").join(path)).collect();
    let mut held = Held { absent, ..Held::default() };
    let before = match rights {
        Rights::Since(before) => Some(before),
        Rights::Unasked | Rights::All => None,
    };
    let mut stack = vec![Next { path: PathBuf::new(), tree, before, depth: 0 }];
    while let Some(next) = stack.pop() {
        let nodes = trees.read(&next.tree).ok();
        let nodes = nodes.filter(|nodes| folders.enter(&next.tree, nodes.len(), next.depth).is_ok());
        let Some(nodes) = nodes else {
            held.close(&next.path);
            continue;
        };
        let mut earlier = earlier(&mut trees, next.before.as_ref());
        for node in nodes.into_iter().flatten().filter(|node| check_name(&node.name).is_ok()) {
            let child = next.path.join(OsStr::from_bytes(&node.name));
            let wished = wish(&inside, &child);
            if wished == Wish::No || (wished == Wish::OnTheWay && !node.is_dir()) {
                held.add_outside(&child);
                continue;
            }
            if wished == Wish::Asked {
                held.see(&child);
            }
            let before = earlier.remove(&node.name);
            if let NodeKind::Dir { subtree: Some(subtree) } = node.kind {
                let before = match before.map(|before| before.kind) {
                    Some(NodeKind::Dir { subtree }) => subtree,
                    _ => None,
                };
                let leads = inside.iter().any(|path| *path != child && path.starts_with(&child));
                if leads || rights != Rights::Unasked && before != Some(subtree) {
                    stack.push(Next { path: child, tree: subtree, before, depth: next.depth + 1 });
                }
                continue;
            }
            if rights != Rights::Unasked {
                held.add_right(&child, node, before.as_ref());
            }
        }
    }
    held
}

impl Held {
    /// Notes that something that is meant is there.
    fn see(&mut self, path: &Path) {
        self.found = true;
        if !self.absent.is_empty() {
            let path = Path::new("/").join(path);
            self.absent.retain(|absent| !path.starts_with(absent));
        }
    }

    fn close(&mut self, path: &Path) {
        match self.unknown.len() < NAMED_MAX {
            true => self.unknown.push(Path::new("/").join(path)),
            false => self.is_more = true,
        }
    }

    fn add_outside(&mut self, path: &Path) {
        if self.outside.len() < NAMED_MAX {
            self.outside.push(Path::new("/").join(path));
        }
    }

    fn add_right(&mut self, path: &Path, node: Node, before: Option<&Node>) {
        let gives = gives(&node);
        if gives.is_empty() || before.is_some_and(|before| is_same(before, &node)) {
            return;
        }
        if self.rights.len() >= RIGHTS_MAX {
            self.is_more = true;
            return;
        }
        let stood = before.is_some_and(|before| {
            let gave = self::gives(before);
            gives.iter().all(|gives| gave.contains(gives))
        });
        self.rights.push(Right { path: Path::new("/").join(path), node, gives, stood });
    }
}

/// Returns the entries of a folder as the earlier point has it, by name; none where it can't be had: then it vouches for nothing.
fn earlier(trees: &mut Trees<'_>, tree: Option<&BlobId>) -> HashMap<Vec<u8>, Node> {
    let nodes = tree.and_then(|tree| trees.read(tree).ok()).unwrap_or_default();
    nodes.into_iter().flatten().map(|node| (node.name.clone(), node)).collect()
}

/// Returns what an entry gives.
fn gives(node: &Node) -> Vec<Gives> {
    let mode = |bit: u32| node.meta.mode & bit != 0;
    match node.kind {
        NodeKind::Device { .. } => vec![Gives::Device],
        NodeKind::File { .. } => {
            let found = [
                (Gives::Setuid, mode(0o4000)),
                (Gives::Setgid, mode(0o2000)),
                (Gives::Capability, capability(node).is_some()),
            ];
            found.into_iter().filter(|(_, is)| *is).map(|(gives, _)| gives).collect()
        }
        _ => Vec::new(),
    }
}

fn capability(node: &Node) -> Option<&[u8]> {
    node.meta.xattrs.iter().find(|xattr| xattr.name == CAPABILITY).map(|xattr| xattr.value.as_slice())
}

/// Returns whether two entries give the same to the same, with the same content.
fn is_same(a: &Node, b: &Node) -> bool {
    let content = match (&a.kind, &b.kind) {
        (NodeKind::File { size, content, .. }, NodeKind::File { size: other, content: others, .. }) => {
            size == other && content == others
        }
        (a, b) => a == b,
    };
    let of = |node: &Node| (node.meta.mode & 0o7777, node.meta.uid, node.meta.gid);
    content && of(a) == of(b) && capability(a) == capability(b)
}

/// Takes from an entry of this folder what it gives, where that does not come back, and notes that with it. Says why, where nothing of it comes back.
pub(super) fn withhold(node: &mut Node, folder: &Path, options: &RestoreOptions) -> Option<String> {
    let withholds = options.withholds.as_ref()?;
    let gives = gives(node);
    if gives.is_empty() || !withholds(&Path::new("/").join(folder).join(OsStr::from_bytes(&node.name))) {
        return None;
    }
    let said = gives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let said = format!("{said}, which nothing vouches for");
    if gives.contains(&Gives::Device) {
        return Some(said);
    }
    node.meta.mode &= !0o6000;
    node.meta.xattrs.retain(|xattr| xattr.name != CAPABILITY);
    node.meta.unread.push(said);
    None
}

/// Returns what gives the MD5 sum of a file's content, as package databases have it; `None` for what is no program, or not whole in any vault.
pub fn md5(vaults: &[Arc<Repository>]) -> impl Fn(&Node) -> Option<String> {
    let set = VaultSet::new(vaults, PATIENCE);
    move |node| sum(&set, node)
}

fn sum(set: &VaultSet, node: &Node) -> Option<String> {
    let NodeKind::File { size, content, .. } = &node.kind else { return None };
    if *size > PROGRAM_MAX {
        return None;
    }
    let (mut sum, mut read) = (Md5::new(), 0);
    for id in content {
        let plain = set.blob(BlobKind::Data, id).ok()?;
        read += plain.len() as u64;
        if read > *size {
            return None;
        }
        sum.update(&plain);
    }
    (read == *size).then(|| hex(&sum.finalize()))
}

//! What a point has beside single files that are asked for: for whoever knows what is only whole together.

use super::RestoreOptions;
use super::walk::{Wish, check_name, relative, wish};
use crate::set::VaultSet;
use crate::trees::Trees;
use crate::{BlobId, BlobKind, Node, NodeKind, Repository};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A folder of a point of which only some files are asked for.
pub struct Company<'a> {
    /// Below the root of the point.
    pub folder: &'a Path,
    /// The names of the files in it that are asked for.
    pub asked: &'a BTreeSet<OsString>,
    /// What else the point has in it.
    pub others: &'a [OsString],
    nodes: &'a [Node],
    set: &'a VaultSet,
}

impl Company<'_> {
    /// Returns how a file of the point begins, so many bytes at most; `None` where none has this name, or no vault gives it.
    #[must_use]
    pub fn head(&self, name: &OsStr, bytes: usize) -> Option<Vec<u8>> {
        let node = self.nodes.iter().find(|node| node.name == name.as_bytes())?;
        let NodeKind::File { content, .. } = &node.kind else { return None };
        let Some(first) = content.first() else { return Some(Vec::new()) };
        let plain = self.set.blob(BlobKind::Data, first).ok()?;
        Some(plain.get(..bytes).unwrap_or(&plain).to_vec())
    }
}

impl fmt::Debug for Company<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Company")
            .field("folder", &self.folder)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

/// Shows each folder of the point with this root of which [`only`](RestoreOptions::only) asks for single files. What can't be read is told by the restore.
pub fn company(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    seen: &mut dyn FnMut(&Company<'_>),
) {
    let only = relative(&options.only);
    let folders = only.iter().filter_map(|path| path.parent());
    let folders: BTreeSet<&Path> = folders.filter(|folder| wish(&only, folder) != Wish::Asked).collect();
    if folders.is_empty() {
        return;
    }
    let set = VaultSet::new(vaults, options.patience);
    let mut trees = Trees::new(&set);
    for folder in folders {
        let Some(nodes) = entries(&mut trees, tree, folder) else { continue };
        let (mut asked, mut others) = (BTreeSet::new(), Vec::new());
        for node in nodes.iter().filter(|node| check_name(&node.name).is_ok()) {
            let name = OsStr::from_bytes(&node.name);
            let is_asked = wish(&only, &folder.join(name)) == Wish::Asked;
            match node.kind {
                NodeKind::File { .. } if is_asked => _ = asked.insert(name.to_owned()),
                _ if !is_asked => others.push(name.to_owned()),
                _ => {}
            }
        }
        if !asked.is_empty() {
            seen(&Company { folder, asked: &asked, others: &others, nodes: &nodes, set: &set });
        }
    }
}

/// Returns what the point has in a folder.
fn entries(trees: &mut Trees<'_>, tree: BlobId, folder: &Path) -> Option<Vec<Node>> {
    let mut nodes: Vec<Node> = trees.read(&tree).ok()?.into_iter().flatten().collect();
    for name in folder {
        let below = nodes.iter().find(|node| node.name == name.as_bytes())?;
        let NodeKind::Dir { subtree: Some(subtree) } = below.kind else { return None };
        nodes = trees.read(&subtree).ok()?.into_iter().flatten().collect();
    }
    Some(nodes)
}

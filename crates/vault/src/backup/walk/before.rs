//! What was in the point before: read where it is needed, and counted where it is gone or taken over unlisted.

use super::Walker;
use crate::{BlobId, BlobKind, Change, Node, NodeKind};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Counts of entries of the point before.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) links: u64,
    pub(super) specials: u64,
    pub(super) bytes: u64,
}

impl Walker<'_> {
    /// Returns what is left of the point before when what was met of it is taken away.
    pub(super) fn rest(&self) -> Counts {
        let parent = self.options.parent.as_ref().and_then(|(_, snapshot)| snapshot.releve.as_ref());
        match parent {
            Some(info) if self.believed => {
                let Change { files_new, files_changed, files_unchanged, counted, .. } = info.change;
                // An older program didn't say what is no file; it said how many are.
                let links = match counted {
                    0 => info.files.saturating_sub(files_new + files_changed + files_unchanged),
                    _ => info.links,
                };
                Counts {
                    files: info.files.saturating_sub(self.met.files),
                    links: links.saturating_sub(self.met.links + self.met.specials * u64::from(counted == 0)),
                    specials: info.specials.saturating_sub(self.met.specials),
                    bytes: info.bytes.saturating_sub(self.met.bytes),
                }
            }
            _ => Counts::default(),
        }
    }

    /// Returns the tree of the point before; empty where it can't be read, which costs reading again and loses nothing.
    pub(super) fn tree_before(&mut self, tree: Option<BlobId>) -> Vec<Node> {
        let Some(tree) = tree else { return Vec::new() };
        let mut found = None;
        for vault in &self.vaults {
            match vault.tree(&tree) {
                Ok(nodes) => {
                    found = Some(nodes);
                    break;
                }
                Err(error) if error.says_damage() && vault.has(BlobKind::Tree, &tree) => {
                    let grows = vault.grows_doubtful();
                    self.doubtful = self.doubtful.map(|doubtful| doubtful || grows);
                }
                Err(_) => {}
            }
        }
        self.lost |= found.is_none();
        found.unwrap_or_default()
    }

    /// Counts what was in the point before and is looked at by itself.
    pub(super) fn meet(&mut self, old: &Node) {
        if !old.is_dir() {
            self.met.files += 1;
            self.met.bytes += old.size();
            match old.kind {
                NodeKind::File { .. } | NodeKind::Dir { .. } => {}
                NodeKind::Symlink { .. } => self.met.links += 1,
                NodeKind::Fifo | NodeKind::Socket | NodeKind::Device { .. } => self.met.specials += 1,
            }
        }
    }

    /// Counts an entry of the directory at `path` that was met and that is gone from it.
    pub(super) fn removed(&mut self, path: &Path, gone: &Node) {
        match gone.kind {
            NodeKind::Dir { subtree } => {
                self.count_removed(&path.join(OsStr::from_bytes(&gone.name)), subtree);
            }
            _ => self.shared.tally.gone(path, gone),
        }
    }

    /// Counts what was in a directory that is gone.
    pub(super) fn count_removed(&mut self, path: &Path, tree: Option<BlobId>) {
        let mut stack = vec![(path.to_owned(), tree, 0)];
        while let Some((path, tree, depth)) = stack.pop() {
            let nodes = self.tree_before(tree);
            if tree.is_some_and(|tree| self.folders.enter(&tree, nodes.len(), depth).is_err()) {
                // What is in it can't be told, as if it could not be read.
                self.lost = true;
                continue;
            }
            for node in nodes {
                self.meet(&node);
                match node.kind {
                    NodeKind::Dir { subtree } => {
                        stack.push((path.join(OsStr::from_bytes(&node.name)), subtree, depth + 1));
                    }
                    _ => self.shared.tally.gone(&path, &node),
                }
            }
        }
    }
}

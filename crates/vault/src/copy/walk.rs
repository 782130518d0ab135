//! Finds out what of a point a vault lacks: every tree is read, and every blob in it looked up in the vault's index.

use super::interrupted;
use crate::set::VaultSet;
use crate::trees::Trees;
use crate::{BlobId, BlobKind, Error, NodeKind, Progress, Result};
use std::collections::HashSet;

/// What is missing of one point, in the order of the walk, each with its length in a pack: files that follow one another lie
/// together in the sources, and will in the target.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) data: Vec<(BlobId, u64)>,
    pub(super) trees: Vec<(BlobId, u64)>,
    /// Of both together.
    pub(super) bytes: u64,
    /// The trees that were looked through, those that are not missing too.
    pub(super) walked: HashSet<BlobId>,
}

/// Looks through the trees below `root`, but for those that are known to be complete.
pub(super) fn missing(
    set: &VaultSet,
    has: impl Fn(BlobKind, &BlobId) -> bool,
    root: BlobId,
    complete: &HashSet<BlobId>,
    progress: &Progress,
) -> Result<Missing> {
    let mut missing = Missing::default();
    if complete.contains(&root) {
        return Ok(missing);
    }
    let mut trees = Trees::new(set);
    let mut asked = HashSet::new();
    let mut stack = vec![root];
    missing.walked.insert(root);
    while let Some(tree) = stack.pop() {
        if progress.is_stopped() {
            return Err(interrupted());
        }
        let entries = trees.read(&tree)?;
        if !has(BlobKind::Tree, &tree) {
            let length = set.stored_length(BlobKind::Tree, &tree);
            missing.trees.push((tree, length));
            missing.bytes += length;
        }
        let first_child = stack.len();
        for entry in entries {
            let node = entry.map_err(|what| Error::damaged(format!("tree {}", tree.short()), what))?;
            match node.kind {
                NodeKind::Dir { subtree: Some(subtree) }
                    if !complete.contains(&subtree) && missing.walked.insert(subtree) =>
                {
                    stack.push(subtree);
                }
                NodeKind::File { content, .. } => {
                    for id in content {
                        if has(BlobKind::Data, &id) || !asked.insert(id) {
                            continue;
                        }
                        let length = set.stored_length(BlobKind::Data, &id);
                        missing.data.push((id, length));
                        missing.bytes += length;
                    }
                }
                _ => {}
            }
        }
        if let Some(children) = stack.get_mut(first_child..) {
            children.reverse();
        }
    }
    Ok(missing)
}

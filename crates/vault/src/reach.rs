//! Which blobs points need: all that can be reached from their roots.

use crate::catalogue::BlobSet;
use crate::lanes::in_lanes;
use crate::{BlobId, BlobKind, Error, Kind, Node, NodeKind, Progress, Result};

/// The blobs that some points need. About 40 bytes of memory for each.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    data: BlobSet,
    trees: BlobSet,
}

impl Reached {
    pub(crate) fn has(&self, kind: BlobKind, id: &BlobId) -> bool {
        match kind {
            BlobKind::Data => self.data.contains(id),
            BlobKind::Tree => self.trees.contains(id),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (BlobKind, BlobId)> {
        let data = self.data.iter().map(|id| (BlobKind::Data, *id));
        data.chain(self.trees.iter().map(|id| (BlobKind::Tree, *id)))
    }
}

/// How many trees are read before what they need is noted.
const BATCH: usize = 64;

/// Follows all trees below `roots`, each once. Returned as well: the trees that can't be read, so that what is below them isn't known.
pub(crate) fn reach(
    lanes: usize,
    roots: impl IntoIterator<Item = BlobId>,
    read: impl Fn(&BlobId) -> Result<Vec<Node>> + Sync,
    progress: &Progress,
) -> Result<(Reached, Vec<(BlobId, Error)>)> {
    let mut reached = Reached::default();
    let mut unread = Vec::new();
    let mut level: Vec<BlobId> = roots.into_iter().filter(|root| reached.trees.insert(*root)).collect();
    while !level.is_empty() {
        let mut next = Vec::new();
        // A batch at a time, and of each tree only what it needs: folders of a hundred thousand entries come by the thousand.
        for batch in level.chunks(BATCH) {
            let trees = in_lanes(lanes, batch, |id| {
                let nodes = if progress.is_stopped() { Ok(Vec::new()) } else { read(id) };
                progress.add(1, 0);
                nodes.map(needs)
            });
            for (id, needs) in batch.iter().zip(trees) {
                match needs {
                    Ok((subtrees, content)) => {
                        next.extend(subtrees.into_iter().filter(|subtree| reached.trees.insert(*subtree)));
                        reached.data.extend(content);
                    }
                    Err(error) => unread.push((*id, error)),
                }
            }
        }
        if progress.is_stopped() {
            return Err(Error::new("follow the trees", Kind::Interrupted));
        }
        level = next;
    }
    Ok((reached, unread))
}

/// Returns the trees and the pieces of files that a tree needs.
fn needs(nodes: Vec<Node>) -> (Vec<BlobId>, Vec<BlobId>) {
    let (mut trees, mut data) = (Vec::new(), Vec::new());
    for node in nodes {
        match node.kind {
            NodeKind::Dir { subtree } => trees.extend(subtree),
            NodeKind::File { content, .. } => data.extend(content),
            _ => {}
        }
    }
    (trees, data)
}

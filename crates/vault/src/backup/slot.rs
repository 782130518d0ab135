//! Places of entries in directories under way: whoever fills or gives up the last one writes the directory's tree.

use super::walk::{Shared, lock};
use crate::sink::Press;
use crate::{BlobKind, Node, NodeKind, Unread, format};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The place of one entry in its directory. It must be filled or left out: the directory waits for it.
pub(super) struct Slot<'a> {
    pub(super) dir: Arc<Dir<'a>>,
    pub(super) at: usize,
}

/// A directory whose entries are being captured.
pub(super) struct Dir<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) nodes: Mutex<Vec<Option<Node>>>,
    /// Entries under way, and 1 for the walker.
    pub(super) open: AtomicUsize,
    /// Its own node and its place in the directory above; none at the root.
    pub(super) own: Mutex<Option<(Node, Slot<'a>)>>,
}

impl Slot<'_> {
    /// Puts the captured entry in its place.
    pub(super) fn fill(self, node: Node) {
        let shared = self.dir.shared;
        if !node.is_dir() {
            shared.files.fetch_add(1, Relaxed);
            shared.bytes.fetch_add(node.size(), Relaxed);
        }
        if let Some(place) = lock(&self.dir.nodes).get_mut(self.at) {
            *place = Some(node);
        }
        close(self.dir);
    }

    /// Counts a file that has come by itself as one that is what it was.
    pub(super) fn count_same(&self) {
        self.dir.shared.same.fetch_add(1, Relaxed);
    }

    /// Leaves the entry out: it has vanished.
    pub(super) fn leave_out(self) {
        close(self.dir);
    }

    /// Leaves the entry out and says why: it makes the point incomplete.
    pub(super) fn fail(self, path: &Path, why: &str) {
        self.note(path, why);
        close(self.dir);
    }

    /// Says that the entry can't be trusted, and keeps it.
    pub(super) fn note(&self, path: &Path, why: &str) {
        lock(&self.dir.shared.unread).push(Unread { path: path.to_owned(), why: why.to_owned() });
    }
}

/// Counts one entry as done; the last one writes the tree, and so on upwards. A loop and no recursion: paths can be deep.
pub(super) fn close(mut dir: Arc<Dir<'_>>) {
    while dir.open.fetch_sub(1, AcqRel) == 1 {
        let shared = dir.shared;
        let mut nodes: Vec<Node> = std::mem::take(&mut *lock(&dir.nodes)).into_iter().flatten().collect();
        let json = format::tree::write(&mut nodes);
        let mut press = lock(&shared.presses).pop().unwrap_or_else(Press::new);
        let tree = shared.sink.put(BlobKind::Tree, &json, &mut press);
        lock(&shared.presses).push(press);
        let own = lock(&dir.own).take();
        let Some((mut node, slot)) = own else {
            *lock(&shared.root) = Some(tree);
            return;
        };
        node.kind = NodeKind::Dir { subtree: Some(tree) };
        if let Some(place) = lock(&slot.dir.nodes).get_mut(slot.at) {
            *place = Some(node);
        }
        dir = slot.dir;
    }
}

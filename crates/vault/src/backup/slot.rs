//! Places of entries in directories under way: whoever fills or gives up the last one writes the directory's tree.

use super::look::Look;
use super::tally::Place;
use super::walk::{Shared, lock};
use crate::format::{holdable, write_time};
use crate::sink::Press;
use crate::{BlobKind, Node, NodeKind, Unread, format};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// The place of one entry in its directory. It must be filled or left out: the directory waits for it.
pub(super) struct Slot<'a> {
    pub(super) dir: Arc<Dir<'a>>,
    pub(super) at: usize,
}

/// What is known of a file whose content is not known yet.
pub(super) struct Entry {
    /// Its folder, as [`tally`](super::tally) holds folders against each other.
    pub(super) place: Place,
    /// What had its name in the point before.
    pub(super) before: Option<Box<Node>>,
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
            match node.kind {
                NodeKind::File { .. } | NodeKind::Dir { .. } => {}
                NodeKind::Symlink { .. } => _ = shared.links.fetch_add(1, Relaxed),
                NodeKind::Fifo | NodeKind::Socket | NodeKind::Device { .. } => {
                    shared.specials.fetch_add(1, Relaxed);
                }
            }
        }
        self.place(node);
        close(self.dir);
    }

    /// Puts an entry in its place; what it lacks besides its content is told.
    fn place(&self, mut node: Node) {
        keep_holdable(&mut node);
        if !node.meta.unread.is_empty() {
            let path = self.dir.path().join(OsStr::from_bytes(&node.name));
            let why = node.meta.unread.join("; ");
            lock(&self.dir.shared.details).push(Unread { path, why });
        }
        if let Some(place) = lock(&self.dir.nodes).get_mut(self.at) {
            *place = Some(node);
        }
    }

    /// Puts a file in its place whose content is known now, and counts what became of it.
    pub(super) fn complete(self, entry: &Entry, node: Node, look: Option<Look>) {
        self.dir.shared.tally.file(entry.place, entry.before.as_deref(), &node, look);
        self.fill(node);
    }

    /// Leaves a file out that was listed and has vanished since.
    pub(super) fn vanish(self, entry: &Entry) {
        if let Some(before) = &entry.before {
            self.dir.shared.tally.gone(&self.dir.path(), before);
        }
        self.leave_out();
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

impl Dir<'_> {
    /// Returns where it lies. Asked only where there is something to tell: no directory need remember its path.
    fn path(&self) -> PathBuf {
        let mut names = Vec::new();
        let mut above =
            lock(&self.own).as_ref().map(|(node, slot)| (node.name.clone(), Arc::clone(&slot.dir)));
        while let Some((name, dir)) = above {
            names.push(OsString::from_vec(name));
            above = lock(&dir.own).as_ref().map(|(node, slot)| (node.name.clone(), Arc::clone(&slot.dir)));
        }
        names.iter().rev().collect()
    }
}

/// Gives an entry a time that the vault can hold, and says so.
fn keep_holdable(node: &mut Node) {
    let meta = &mut node.meta;
    let kept = holdable(meta.mtime);
    if kept != meta.mtime {
        let (was, kept) = (meta.mtime.seconds, write_time(kept));
        meta.unread.push(format!("time: no vault holds {was} seconds since 1970; {kept} is kept for it"));
    }
    meta.mtime = kept;
    meta.atime = holdable(meta.atime);
    meta.ctime = holdable(meta.ctime);
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
        slot.place(node);
        dir = slot.dir;
    }
}

//! Folders that take two names for one, as those of Windows and macOS do: the second of them would take the place of the first.

use super::file::temporary_name;
use super::folder::Folder;
use crate::Node;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The names of such a folder, by what it takes them for.
pub(super) struct Folding(HashMap<String, String>);

impl Folding {
    /// `None` where the point has no two such names, or the folder tells them apart.
    pub(super) fn of(nodes: &[Result<Node, String>], folder: &Arc<Folder<'_>>) -> Option<Self> {
        let mut seen = HashSet::new();
        if nodes.iter().flatten().map(folded).all(|name| seen.insert(name)) {
            return None;
        }
        folder.enter().is_ok_and(|entered| folds(&entered.handle)).then(|| Self(HashMap::new()))
    }

    /// Takes a name, or returns whose it is already.
    pub(super) fn taken(&mut self, node: &Node) -> Option<String> {
        let name = String::from_utf8_lossy(&node.name).into_owned();
        match self.0.entry(folded(node)) {
            Entry::Occupied(other) => Some(other.get().clone()),
            Entry::Vacant(place) => {
                place.insert(name);
                None
            }
        }
    }
}

/// Returns whether a folder takes names for one that differ only in the case of their letters: tried out.
fn folds(dir: &OwnedFd) -> bool {
    let name = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let Ok(_file) = rustix::fs::openat(dir, &name, flags, Mode::RUSR | Mode::WUSR) else { return false };
    let folds = rustix::fs::statat(dir, name.to_ascii_uppercase(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let _ = rustix::fs::unlinkat(dir, &name, AtFlags::empty());
    folds
}

fn folded(node: &Node) -> String {
    String::from_utf8_lossy(&node.name).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Meta, NodeKind};

    #[test]
    fn the_second_of_two_names_that_fold_to_one_is_named_with_the_first() {
        let node = |name: &str| Node { name: name.into(), meta: Meta::default(), kind: NodeKind::Fifo };
        let mut folding = Folding(HashMap::new());
        assert_eq!(folding.taken(&node("Été")), None);
        assert_eq!(folding.taken(&node("other")), None);
        assert_eq!(folding.taken(&node("éTÉ")), Some("Été".into()));
    }

    #[test]
    fn an_ordinary_folder_does_not_fold_and_nothing_is_left_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir: OwnedFd = std::fs::File::open(folder.path()).unwrap().into();
        assert!(!folds(&dir));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

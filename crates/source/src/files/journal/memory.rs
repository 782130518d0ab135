//! What is remembered of the directories of a point: where each lies, and which can't be skipped. Some 100 bytes for each directory,
//! and an eighth of a byte or so for each file.

use super::Key;
use std::collections::{HashMap, HashSet};
use vault::{Node, NodeKind};

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Every directory that was seen, and the one it lies in.
    pub(super) dirs: HashMap<Key, Key>,
    /// Further places of a directory that was seen in several: mounted twice, or moved.
    also: HashMap<Key, Vec<Key>>,
    /// Directories of which events don't tell everything: they hold a file with several names, or lie where nothing is watched.
    always: HashSet<Key>,
    /// Files with one name.
    pub(super) files: Numbers,
}

impl Memory {
    /// Notes what a directory holds. `watched`: events tell of it.
    pub(super) fn listed(&mut self, dir: Key, nodes: &[Node], watched: bool) {
        let mut always = !watched;
        for node in nodes {
            let key = Key { device: node.meta.device, inode: node.meta.inode };
            match node.kind {
                NodeKind::Dir { .. } => self.lies_in(key, dir),
                _ if node.meta.links > 1 => always = true,
                _ => self.files.insert(key),
            }
        }
        if always {
            self.always.insert(dir);
        } else {
            self.always.remove(&dir);
        }
        self.dirs.entry(dir).or_insert(dir);
    }

    fn lies_in(&mut self, dir: Key, parent: Key) {
        match self.dirs.insert(dir, parent) {
            Some(other) if other != parent && other != dir => {
                let also = self.also.entry(dir).or_default();
                if !also.contains(&other) {
                    also.push(other);
                }
            }
            _ => {}
        }
    }

    /// Takes in what was listed since. `listed` are the directories of which it knows anew.
    pub(super) fn merge(&mut self, fresh: Self, listed: &HashSet<Key>) {
        for (dir, parent) in fresh.dirs {
            if dir == parent {
                self.dirs.entry(dir).or_insert(dir);
            } else {
                self.lies_in(dir, parent);
            }
        }
        for (dir, parents) in fresh.also {
            let also = self.also.entry(dir).or_default();
            also.extend(parents.iter().filter(|parent| !also.contains(parent)).copied().collect::<Vec<_>>());
        }
        self.always.retain(|dir| !listed.contains(dir));
        self.always.extend(fresh.always);
        self.files.merge(fresh.files);
    }

    /// Returns which directories must be looked at, and which lie on the way to one of them.
    pub(super) fn spread(&self, changed: impl IntoIterator<Item = Key>) -> (HashSet<Key>, HashSet<Key>) {
        let own: HashSet<Key> = changed
            .into_iter()
            .filter(|key| self.dirs.contains_key(key))
            .chain(self.always.iter().copied())
            .collect();
        let mut above = HashSet::new();
        let mut open: Vec<Key> = own.iter().copied().collect();
        while let Some(dir) = open.pop() {
            let parents = self.dirs.get(&dir).into_iter().chain(self.also.get(&dir).into_iter().flatten());
            for parent in parents.filter(|parent| **parent != dir) {
                if above.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        (own, above)
    }
}

/// A set of inode numbers: file systems give them out in runs of 64 and more.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<Key, u64>);

impl Numbers {
    fn split(key: Key) -> (Key, u64) {
        (Key { inode: key.inode >> 6, ..key }, 1 << (key.inode & 63))
    }

    pub(super) fn insert(&mut self, key: Key) {
        let (word, bit) = Self::split(key);
        *self.0.entry(word).or_default() |= bit;
    }

    pub(super) fn remove(&mut self, key: Key) {
        let (word, bit) = Self::split(key);
        if let Some(bits) = self.0.get_mut(&word) {
            *bits &= !bit;
        }
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        let (word, bit) = Self::split(key);
        self.0.get(&word).is_some_and(|bits| bits & bit != 0)
    }

    fn merge(&mut self, other: Self) {
        for (word, bits) in other.0 {
            *self.0.entry(word).or_default() |= bits;
        }
    }
}

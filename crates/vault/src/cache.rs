//! What never changes in a vault, kept on this machine as it is stored there: sealed, so that nothing is told to whoever finds it.
//!
//! Snapshots and indexes are called by their hash, trees by that of their plain text, so whatever is read here is held against its name: a file that is
//! wrong or gone costs a request, and nothing else. It is never asked whether something *is* in the vault: that only the vault knows.
//! What was uploaded to a vault that went away before an index could name it is kept too ([`crate::packer`]): it is taken up if the vault lists it.
//! When its packs were looked for last is kept as well: a wrong word there costs a listing, or puts one off by a day.

use crate::store::Listed;
use crate::{BlobId, FileId, FileKind};
use jiff::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Larger files are few, and a request for each is nothing.
const FILE_MAX: usize = 16 << 20;
const TREE_MAX: usize = 1 << 20;
/// So many trees of one vault are kept: those of a hundred thousand folders are read in long stretches anyway.
const TREES_MAX: usize = 4096;
/// Holds when all packs were seen to be there.
const LOOKED: &str = "looked";

/// Holds what was uploaded and could not be named by an index, sealed as one.
const UNINDEXED: &str = "unindexed";

/// Holds the name of the key that opened the vault last.
const KEY: &str = "key";
/// So many vaults are looked through for theirs.
const VAULTS_MAX: usize = 100;

/// A folder with what was kept of one vault, or of none yet.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    /// How many trees lie there; counted when the first is kept.
    trees: Arc<AtomicUsize>,
}

impl Cache {
    /// Returns the cache in this folder, which holds one for each vault. Nothing is made before something is kept.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), trees: Arc::new(AtomicUsize::new(usize::MAX)) }
    }

    /// Remembers which key opened the repository with this id: only its name, which is no secret.
    pub fn remember_key(&self, id: &str, key: FileId) {
        if self.key_of(id) != Some(key) {
            let own = self.of(id);
            own.keep(&own.folder, KEY, key.to_string().as_bytes());
        }
    }

    /// Returns which key opened the repository with this id last, as far as that is known.
    #[must_use]
    pub fn key_of(&self, id: &str) -> Option<FileId> {
        fs::read_to_string(self.of(id).folder.join(KEY)).ok()?.trim().parse().ok()
    }

    /// Returns which keys have opened vaults from here, that of the repository with this id first: which vault is whose need not be known, since a key is tried
    /// where it lies.
    #[must_use]
    pub fn keys(&self, first: Option<&str>) -> Vec<FileId> {
        let mut keys: Vec<FileId> = first.and_then(|id| self.key_of(id)).into_iter().collect();
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten().take(VAULTS_MAX);
        let others = folders.filter_map(|folder| fs::read_to_string(folder.path().join(KEY)).ok());
        for key in others.filter_map(|text| text.trim().parse().ok()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Returns the cache of one repository.
    pub(crate) fn of(&self, id: &str) -> Self {
        Self::new(&self.folder.join(id.get(..16).unwrap_or(id)))
    }

    /// Returns a file as the vault has it, if it was kept and is what its name says.
    pub(crate) fn file(&self, kind: FileKind, name: &str) -> Option<Vec<u8>> {
        if !is_kept(kind) {
            return None;
        }
        let bytes = fs::read(self.folder.join(kind.folder()).join(name)).ok()?;
        (FileId::of(&bytes).to_string() == name).then_some(bytes)
    }

    /// Keeps a file. What can't be kept is asked for again.
    pub(crate) fn keep_file(&self, kind: FileKind, name: &str, sealed: &[u8]) {
        if is_kept(kind) && sealed.len() <= FILE_MAX {
            self.keep(&self.folder.join(kind.folder()), name, sealed);
        }
    }

    /// What the vault doesn't list any more goes: so there is never more here than there.
    pub(crate) fn keep_only(&self, kind: FileKind, listed: &[Listed]) {
        let Ok(entries) = fs::read_dir(self.folder.join(kind.folder())) else { return };
        let listed: HashSet<&str> = listed.iter().map(|listed| listed.name.as_str()).collect();
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_none_or(|name| !listed.contains(name)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Returns a tree as a pack has it, sealed; whoever opens it holds it against its name.
    pub(crate) fn tree(&self, id: &BlobId) -> Option<Vec<u8>> {
        fs::read(self.trees_folder().join(id.to_string())).ok()
    }

    /// Keeps a tree. When there are too many, all go, and those that are needed come again.
    pub(crate) fn keep_tree(&self, id: &BlobId, sealed: &[u8]) {
        if sealed.len() > TREE_MAX {
            return;
        }
        let folder = self.trees_folder();
        let mut count = self.trees.load(Relaxed);
        if count == usize::MAX {
            count = fs::read_dir(&folder).map_or(0, Iterator::count);
        }
        if count >= TREES_MAX {
            let _ = fs::remove_dir_all(&folder);
            count = 0;
        }
        self.trees.store(count + 1, Relaxed);
        self.keep(&folder, &id.to_string(), sealed);
    }

    /// Returns when all packs were seen to be there, as far as that is known.
    pub(crate) fn looked(&self) -> Option<Timestamp> {
        fs::read_to_string(self.folder.join(LOOKED)).ok()?.trim().parse().ok()
    }

    /// Keeps when all packs were seen to be there; `None`: some are not.
    pub(crate) fn keep_looked(&self, looked: Option<Timestamp>) {
        match looked {
            Some(looked) => self.keep(&self.folder, LOOKED, looked.to_string().as_bytes()),
            None => _ = fs::remove_file(self.folder.join(LOOKED)),
        }
    }

    /// Returns what was uploaded and is in no index, as it was kept; whoever takes it up asks the vault whether it is still there.
    pub(crate) fn unindexed(&self) -> Option<Vec<u8>> {
        fs::read(self.folder.join(UNINDEXED)).ok()
    }

    /// Keeps what was uploaded and is in no index; `None`: nothing is any more.
    pub(crate) fn keep_unindexed(&self, sealed: Option<&[u8]>) {
        match sealed {
            Some(sealed) => self.keep(&self.folder, UNINDEXED, sealed),
            None => _ = fs::remove_file(self.folder.join(UNINDEXED)),
        }
    }

    fn trees_folder(&self) -> PathBuf {
        self.folder.join("trees")
    }

    fn keep(&self, folder: &Path, name: &str, bytes: &[u8]) {
        let write = || -> std::io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let temporary = folder.join(format!("{name}.{}", std::process::id()));
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, folder.join(name)));
            if written.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            written
        };
        // A full disk here is no fault of the vault's: it only costs time.
        let _ = write();
    }
}

fn is_kept(kind: FileKind) -> bool {
    matches!(kind, FileKind::Snapshot | FileKind::Index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_held_against_its_name_and_goes_with_the_listing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path()).of("0123456789abcdef0123");
        let name = FileId::of(b"sealed").to_string();
        cache.keep_file(FileKind::Snapshot, &name, b"sealed");
        assert_eq!(cache.file(FileKind::Snapshot, &name).unwrap(), b"sealed");
        let path = folder.path().join("0123456789abcdef/snapshots").join(&name);
        fs::write(&path, b"tampered").unwrap();
        assert_eq!(cache.file(FileKind::Snapshot, &name), None);
        cache.keep_file(FileKind::Snapshot, &name, b"sealed");
        cache.keep_only(FileKind::Snapshot, &[]);
        assert!(!path.exists());
        cache.keep_file(FileKind::Lock, &name, b"sealed");
        assert_eq!(cache.file(FileKind::Lock, &name), None);
    }

    #[test]
    fn the_key_that_opened_a_vault_is_known_for_that_vault_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let key = FileId::of(b"a key");
        cache.remember_key("0123456789abcdef0123", key);
        assert_eq!(cache.key_of("0123456789abcdef0123"), Some(key));
        assert_eq!(cache.key_of("f123456789abcdef0123"), None);
        // Who doesn't know which vault it is finds it all the same, after that of the one that it should be.
        let other = FileId::of(b"another");
        assert_eq!(cache.keys(None), [key]);
        cache.remember_key("f123456789abcdef0123", other);
        assert_eq!(cache.keys(Some("f123456789abcdef0123")), [other, key]);
        assert_eq!(cache.keys(Some("0123456789abcdef0123")), [key, other]);
    }

    #[test]
    fn trees_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        for number in 0..=TREES_MAX {
            cache.keep_tree(&BlobId::of(&number.to_be_bytes()), b"x");
        }
        assert_eq!(fs::read_dir(folder.path().join("trees")).unwrap().count(), 1);
    }
}

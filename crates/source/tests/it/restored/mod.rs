//! From a tree through two vaults and back: whatever is damaged, what comes back is right, and what doesn't is named.

mod damage;
mod faults;
mod holes;
mod lesser;
mod standing;
mod through;

use source::{Files, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use testkit::tree;
use vault::backup::{BackupOptions, backup};
use vault::restore::{RestoreOptions, RestoreReport, restore};
use vault::store::Credentials;
use vault::{BlobId, Holder, Password, Progress, Repository, Store, Timestamp};

/// A tree, the two vaults that hold it, and a place to restore to.
struct Pair {
    folder: TempDir,
    tree: BlobId,
}

impl Pair {
    /// Backs up what `fill` puts into a folder.
    fn of(fill: impl FnOnce(&Path)) -> Self {
        let mut pair = Self { folder: tempfile::tempdir().unwrap(), tree: BlobId::from_bytes([0; 32]) };
        fs::create_dir(pair.data()).unwrap();
        fill(&pair.data());
        let vaults = ["near", "far"].map(|name| {
            let now = jiff::Timestamp::UNIX_EPOCH;
            Arc::new(Repository::create(pair.store(name), &password(), "here", now).unwrap())
        });
        let scratch = pair.path("scratch");
        fs::create_dir(&scratch).unwrap();
        let capture = Files::new([pair.data()]).capture(&scratch, Timestamp::default()).unwrap();
        let options = BackupOptions {
            point: "0123456789ab".into(),
            system: "shop".into(),
            source: "files".into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            paths: vec![pair.data().display().to_string()],
            excludes: Vec::new(),
            holder: Holder { hostname: "here".into(), username: "me".into() },
            parent: None,
            threads: 0,
            doubts: Vec::new(),
        };
        let report = backup(capture.input(), &vaults, &options, &Progress::default()).unwrap();
        assert!(report.unread.is_empty(), "{:?}", report.unread);
        assert!(report.vaults.iter().all(Result::is_ok));
        pair.tree = report.tree;
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn store(&self, vault: &str) -> Box<dyn Store> {
        let address = format!("file://{}", self.path(vault).display());
        vault::store::open(&address, &Credentials::default()).unwrap()
    }

    /// Opens a vault as it is now.
    fn open(&self, vault: &str) -> Arc<Repository> {
        open(self.store(vault))
    }

    fn both(&self) -> Vec<Arc<Repository>> {
        ["near", "far"].map(|vault| self.open(vault)).to_vec()
    }

    fn options(&self) -> RestoreOptions {
        RestoreOptions { roots: vec![self.data()], ..RestoreOptions::new(self.path("out")) }
    }

    fn restore(&self, vaults: &[Arc<Repository>], options: &RestoreOptions) -> RestoreReport {
        restore(vaults, self.tree, options, &Progress::default()).unwrap()
    }

    /// Where the data come back.
    fn back(&self) -> PathBuf {
        self.path("out").join(self.data().strip_prefix("/").unwrap())
    }

    /// Fails the test unless everything is back as it was.
    fn is_back(&self) {
        let differences = tree::compare(&self.data(), &self.back());
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(leftovers(&self.path("out")), BTreeSet::new());
    }

    /// Fails the test unless each file is back as it was, or told: which bytes are missing, and all others in place; or why it could not be
    /// written.
    fn is_honest(&self, report: &RestoreReport) {
        assert_eq!(leftovers(&self.path("out")), BTreeSet::new());
        let told: BTreeMap<PathBuf, _> =
            report.damaged.iter().map(|damaged| (damaged.path.clone(), &damaged.missing)).collect();
        let skipped: BTreeSet<&Path> = report.skipped.iter().map(|trouble| trouble.path.as_path()).collect();
        let mut missing = 0;
        for path in files(&self.data()) {
            let below = path.strip_prefix(self.data()).unwrap();
            let inside = self.data().strip_prefix("/").unwrap().join(below);
            let back = self.back().join(below);
            if fs::symlink_metadata(&back).is_ok() {
                assert!(same_content(&path, &back), "{path:?} came back with another content");
                continue;
            }
            missing += 1;
            let mut name = inside.file_name().unwrap().to_owned();
            name.push(".releve-damaged");
            match told.get(&inside.with_file_name(&name)) {
                Some(ranges) => {
                    let damaged = fs::File::open(back.with_file_name(&name)).unwrap();
                    let whole = fs::read(&path).unwrap();
                    let mut there = vec![0; whole.len()];
                    damaged.read_exact_at(&mut there, 0).unwrap();
                    assert!(!ranges.is_empty());
                    for (at, (is, was)) in there.iter().zip(&whole).enumerate() {
                        let lost = ranges.iter().any(|range| range.contains(&(at as u64)));
                        assert!(lost || is == was, "byte {at} of {path:?} is wrong and not named");
                    }
                }
                None => assert!(
                    inside.ancestors().any(|above| skipped.contains(above)),
                    "{inside:?} is neither back nor named: {report:?}"
                ),
            }
        }
        assert_eq!(report.is_whole(), missing == 0 && report.not_set_count == 0 && report.skipped_count == 0);
    }
}

fn password() -> Password {
    Password::new(b"x".to_vec())
}

fn open(store: Box<dyn Store>) -> Arc<Repository> {
    let repository = Repository::open(store, &password()).unwrap();
    repository.load_index().unwrap();
    Arc::new(repository)
}

/// Returns all that is no directory below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path());
        }
    }
    found
}

/// Returns what restores leave while they run.
fn leftovers(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = files(folder);
    found.retain(|path| {
        let name = path.file_name().unwrap().as_bytes();
        name.starts_with(b".releve-")
    });
    found
}

fn same_content(a: &Path, b: &Path) -> bool {
    let (meta_a, meta_b) = (fs::symlink_metadata(a).unwrap(), fs::symlink_metadata(b).unwrap());
    if meta_a.is_file() && meta_b.is_file() {
        return fs::read(a).unwrap() == fs::read(b).unwrap();
    }
    meta_a.file_type() == meta_b.file_type() && meta_a.rdev() == meta_b.rdev()
}

/// Returns the files of one kind in a vault: `data`, `index`, `snapshots`.
fn stored(pair: &Pair, vault: &str, kind: &str) -> Vec<PathBuf> {
    files(&pair.path(vault).join(kind)).into_iter().collect()
}

/// Writes a file of a vault anew: it is read-only for everyone.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Returns the entry's name with the ending that a damaged file gets.
fn damaged(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap().to_owned();
    name.push(OsStr::new(".releve-damaged"));
    path.with_file_name(name)
}

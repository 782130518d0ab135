//! Copies between vaults: few reads, nothing twice, nothing unsound. restic writes the sources and judges the targets.

use crate::faulty_store::{Call, Faults, FaultyStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use testkit::{Random, Restic};
use vault::copy::{Copying, Estimate, copy};
use vault::store::in_folder;
use vault::{FileKind, Holder, Kind, Password, Progress, Repository, Snapshot};

const PASSWORD: &str = "correct horse battery staple";

struct Vaults(TempDir);

impl Vaults {
    /// Makes a folder with data, and restic's repository `source` that holds it.
    fn new(format: &str, write: impl FnOnce(&Path)) -> Self {
        let vaults = Self(tempfile::tempdir().unwrap());
        fs::create_dir(vaults.data()).unwrap();
        write(&vaults.data());
        let restic = vaults.restic("source");
        restic.must(&["init", "--repository-version", format]);
        restic.must(&["backup", vaults.data().to_str().unwrap()]);
        vaults
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn restic(&self, name: &str) -> Restic {
        Restic::new(self.0.path().join(name).display().to_string(), PASSWORD)
    }

    fn open(&self, name: &str, faults: &Faults) -> Arc<Repository> {
        let store = FaultyStore::new(in_folder(&self.0.path().join(name)), faults);
        let vault = Repository::open(Box::new(store), &password()).unwrap();
        vault.load_index().unwrap();
        Arc::new(vault)
    }

    fn create(&self, name: &str) {
        let store = in_folder(&self.0.path().join(name));
        Repository::create(store, &password(), "shop-1", jiff::Timestamp::UNIX_EPOCH).unwrap();
    }

    /// Fails the test unless restic takes `name` for sound and restores the data from it.
    fn holds_the_data(&self, name: &str) {
        let (restic, out) = (self.restic(name), self.0.path().join(format!("out-{name}")));
        restic.must(&["check", "--read-data"]);
        restic.must(&["restore", "latest", "--target", out.to_str().unwrap()]);
        let differences =
            testkit::tree::compare(&self.data(), &out.join(self.data().strip_prefix("/").unwrap()));
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

fn password() -> Password {
    Password::new(PASSWORD.into())
}

fn holder() -> Holder {
    Holder { hostname: "shop-1".into(), username: "root".into() }
}

fn newest(vault: &Repository) -> Snapshot {
    vault.snapshots().unwrap().0.pop().unwrap().1
}

/// So many small files of noise in folders of ten.
fn small_files(folder: &Path, files: usize) {
    let mut random = Random::new(7);
    for at in 0..files {
        let below = folder.join(format!("{:03}", at / 10));
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join(at.to_string()), random.bytes(2000)).unwrap();
    }
}

#[test]
fn thousands_of_small_blobs_are_read_in_a_few_stretches() {
    let vaults = Vaults::new("2", |data| small_files(data, 3000));
    vaults.create("target");
    let faults = Faults::default();
    let (source, target) = (vaults.open("source", &faults), vaults.open("target", &Faults::default()));
    let snapshot = newest(&source);
    copy(&[source], &target, &snapshot, &holder(), &Progress::default()).unwrap();
    let reads = faults.count(Call::Read, FileKind::Pack);
    assert!(reads < 100, "{reads} reads of 3300 blobs");
    vaults.holds_the_data("target");
}

#[test]
fn what_compresses_is_handed_on_as_it_is_stored() {
    let vaults = Vaults::new("2", |data| {
        fs::write(data.join("text"), "the same words again and again\n".repeat(300_000)).unwrap();
    });
    vaults.create("target");
    let (source, target) =
        (vaults.open("source", &Faults::default()), vaults.open("target", &Faults::default()));
    let snapshot = newest(&source);
    let lacks = Estimate::new(&[Arc::clone(&source)], Some(Arc::clone(&target)))
        .lacks(&snapshot, &Progress::default())
        .unwrap();
    let copied = copy(&[source], &target, &snapshot, &holder(), &Progress::default()).unwrap();
    // Beside the blobs themselves a pack has a header, and nothing was compressed into another length.
    let headers = lacks.blobs * 41 + 2 * 36;
    assert!((lacks.bytes..=lacks.bytes + headers).contains(&copied.bytes), "{lacks:?} {copied:?}");
    vaults.holds_the_data("target");
}

#[test]
fn what_an_old_format_stored_uncompressed_is_compressed() {
    let vaults = Vaults::new("1", |data| {
        fs::write(data.join("text"), "the same words again and again\n".repeat(100_000)).unwrap();
    });
    vaults.create("target");
    let (source, target) =
        (vaults.open("source", &Faults::default()), vaults.open("target", &Faults::default()));
    let snapshot = newest(&source);
    let copied = copy(&[source], &target, &snapshot, &holder(), &Progress::default()).unwrap();
    assert!(copied.bytes < 100_000, "{copied:?}");
    vaults.holds_the_data("target");
}

#[test]
fn a_blob_that_is_bad_in_one_source_comes_from_the_next() {
    let vaults = Vaults::new("2", |data| small_files(data, 300));
    for target in ["second", "target", "other"] {
        vaults.create(target);
    }
    let sound = vaults.open("source", &Faults::default());
    let second = vaults.open("second", &Faults::default());
    let snapshot = newest(&sound);
    copy(&[sound], &second, &snapshot, &holder(), &Progress::default()).unwrap();

    let faults = Faults::default();
    let bad = vaults.open("source", &faults);
    faults.damage(FileKind::Pack, 0, usize::MAX);
    let target = vaults.open("target", &Faults::default());
    let sources = [Arc::clone(&bad), second];
    copy(&sources, &target, &snapshot, &holder(), &Progress::default()).unwrap();
    vaults.holds_the_data("target");

    let other = vaults.open("other", &Faults::default());
    let alone = copy(&[bad], &other, &snapshot, &holder(), &Progress::default());
    assert!(matches!(alone.unwrap_err().kind, Kind::Damaged(_)));
    assert!(other.snapshots().unwrap().0.is_empty(), "a copy with a hole is not a copy");
}

#[test]
fn what_arrived_before_the_target_failed_is_not_sent_again() {
    let vaults = Vaults::new("2", |data| {
        fs::write(data.join("noise"), Random::new(8).bytes(60 << 20)).unwrap();
    });
    vaults.create("target");
    let source = vaults.open("source", &Faults::default());
    let snapshot = newest(&source);
    let faults = Faults::default();
    faults.fail(Call::Write, FileKind::Pack, 2, usize::MAX, || Kind::Full);
    let target = vaults.open("target", &faults);
    let sources = [source];
    let failed = copy(&sources, &target, &snapshot, &holder(), &Progress::default());
    assert!(matches!(failed.unwrap_err().kind, Kind::Full));
    assert!(target.snapshots().unwrap().0.is_empty());

    let target = vaults.open("target", &Faults::default());
    let lacks =
        Estimate::new(&sources, Some(Arc::clone(&target))).lacks(&snapshot, &Progress::default()).unwrap();
    let copied = copy(&sources, &target, &snapshot, &holder(), &Progress::default()).unwrap();
    // Two packs of 16 MiB were there already.
    assert!(copied.bytes < 30 << 20, "{copied:?}");
    assert!(copied.bytes.abs_diff(lacks.bytes) < 10_000, "{copied:?} {lacks:?}");
    vaults.holds_the_data("target");
}

#[test]
fn a_copy_that_is_stopped_leaves_no_snapshot_and_what_it_wrote() {
    let vaults = Vaults::new("2", |data| small_files(data, 500));
    vaults.create("target");
    let (source, target) =
        (vaults.open("source", &Faults::default()), vaults.open("target", &Faults::default()));
    let snapshot = newest(&source);
    let progress = Progress::default();
    progress.stop();
    let sources = [source];
    let stopped = copy(&sources, &target, &snapshot, &holder(), &progress);
    assert!(matches!(stopped.unwrap_err().kind, Kind::Interrupted));
    assert!(target.snapshots().unwrap().0.is_empty());
    vaults.restic("target").must(&["check", "--read-data"]);
}

#[test]
fn what_one_point_completed_is_neither_walked_nor_counted_again() {
    let vaults = Vaults::new("2", |data| small_files(data, 500));
    vaults.create("target");
    let faults = Faults::default();
    let source = vaults.open("source", &faults);
    let target = vaults.open("target", &Faults::default());
    let snapshot = newest(&source);
    let sources = [source];
    let mut estimate = Estimate::new(&sources, None);
    assert!(estimate.lacks(&snapshot, &Progress::default()).unwrap().bytes > 1_000_000);
    assert_eq!(estimate.lacks(&snapshot, &Progress::default()).unwrap().bytes, 0);

    let mut run = Copying::begin(&sources, &target, &holder()).unwrap();
    run.copy(&snapshot, &Progress::default()).unwrap();
    let before = faults.count(Call::Read, FileKind::Pack);
    assert_eq!(run.copy(&snapshot, &Progress::default()).unwrap().bytes, 0);
    assert_eq!(faults.count(Call::Read, FileKind::Pack), before);
}

#[test]
fn a_tree_that_the_target_names_is_no_proof_of_what_is_below_it() {
    let vaults = Vaults::new("2", |data| small_files(data, 100));
    vaults.create("target");
    let source = vaults.open("source", &Faults::default());
    let snapshot = newest(&source);
    let sources = [source];
    let target = vaults.open("target", &Faults::default());
    copy(&sources, &target, &snapshot, &holder(), &Progress::default()).unwrap();
    // All data packs are lost, the trees are not: an index is made from what is left.
    let is_data = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        fs::metadata(path).unwrap().len() > 150_000 && name.len() == 64
    };
    let packs = fs::read_dir(vaults.0.path().join("target/data")).unwrap();
    let packs = packs.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let lost: Vec<PathBuf> = packs.map(|pack| pack.unwrap().path()).filter(|path| is_data(path)).collect();
    assert!(!lost.is_empty());
    lost.iter().for_each(|pack| fs::remove_file(pack).unwrap());
    vaults.restic("target").must(&["rebuild-index"]);

    let target = vaults.open("target", &Faults::default());
    copy(&sources, &target, &snapshot, &holder(), &Progress::default()).unwrap();
    vaults.holds_the_data("target");
}

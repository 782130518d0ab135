//! A vault over time: points come and go, things break, and every point that should be there comes back whole.

mod guarded;
mod pruned;
mod repaired;
mod rounds;

use source::{Files, Source};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use testkit::{Restic, tree};
use vault::backup::{BackupOptions, backup};
use vault::keys::MasterKey;
use vault::prune::{PruneOptions, PruneReport, carry_out, plan};
use vault::restore::{RestoreOptions, restore};
use vault::store::{Credentials, Listed};
use vault::{
    BlobId, Error, FileId, FileKind, Holder, Kind, Password, Progress, Repository, Result, Store, Timestamp,
};

const DAY: i64 = 24 * 3600;
const DELAY: Duration = Duration::from_secs(3 * 24 * 3600);
const PASSWORD: &str = "correct horse battery staple";

/// A folder that changes, a vault for its points, and what each point must give back.
struct Life {
    folder: TempDir,
    /// By snapshot: the root, and where a copy of the data of that time lies.
    points: BTreeMap<FileId, (BlobId, PathBuf)>,
    made: u32,
    /// Seconds since the epoch.
    now: i64,
    /// The first is the one whose snapshots name the points.
    vaults: Vec<&'static str>,
    /// What opens each vault: a password takes time on purpose.
    keys: BTreeMap<&'static str, MasterKey>,
    /// How long files carry the immutable flag.
    guarded_for: Option<jiff::SignedDuration>,
}

impl Life {
    fn new() -> Self {
        Self::with(&["vault"])
    }

    fn with(vaults: &[&'static str]) -> Self {
        let mut life = Self::without_vaults();
        vaults.iter().for_each(|vault| life.create(vault));
        life
    }

    fn without_vaults() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (points, keys) = (BTreeMap::new(), BTreeMap::new());
        let (vaults, guarded_for) = (Vec::new(), None);
        let life = Self { folder, points, made: 0, now: 100 * DAY, vaults, keys, guarded_for };
        fs::create_dir(life.data()).unwrap();
        life
    }

    fn create(&mut self, vault: &'static str) {
        let created = Repository::create(self.store(vault), &password(), "here", self.time()).unwrap();
        self.keys.insert(vault, MasterKey::of(&created));
        self.vaults.push(vault);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn time(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.now).unwrap()
    }

    fn store(&self, vault: &str) -> Box<dyn Store> {
        let address = format!("file://{}", self.path(vault).display());
        let limits = vault::store::Limits::default();
        vault::store::open_held(&address, &Credentials::default(), &limits, self.guarded_for).unwrap()
    }

    fn open(&self, vault: &str) -> Arc<Repository> {
        self.open_in(self.store(vault), vault)
    }

    /// Opens a vault through another store. What is none of the vaults is a copy of the first.
    fn open_in(&self, store: Box<dyn Store>, vault: &str) -> Arc<Repository> {
        let key = self.keys.get(vault).unwrap_or(&self.keys["vault"]);
        let repository = Repository::open_with_master(store, key).unwrap();
        repository.load_index().unwrap();
        Arc::new(repository)
    }

    /// Runs restic, which must succeed.
    fn restic(&self, vault: &str, arguments: &[&str]) {
        let output = Restic::new(self.path(vault).display().to_string(), PASSWORD).run(arguments);
        assert!(output.success, "{}\n{}", output.stdout, output.stderr);
    }

    /// Writes a file of this name, with content that nothing else has.
    fn write(&self, name: &str, bytes: usize) {
        let seed = u64::from(self.made) << 32 | u64::from(sum(name));
        fs::write(self.data().join(name), testkit::Random::new(seed).bytes(bytes)).unwrap();
    }

    /// Lives through some days, each with a file of its own, which goes the day after, and one that changes. Returns the points.
    fn days(&mut self, count: u32, changes: usize, own: usize) -> Vec<FileId> {
        let day = |day| {
            self.now += DAY;
            self.write("changes", changes);
            self.write(&format!("of-day-{day}"), own);
            if day > 0 {
                fs::remove_file(self.data().join(format!("of-day-{}", day - 1))).unwrap();
            }
            self.backup()
        };
        (0..count).map(day).collect()
    }

    /// Makes a point of the data as they are, in every vault.
    fn backup(&mut self) -> FileId {
        let vaults: Vec<_> = self.vaults.iter().map(|vault| self.open(vault)).collect();
        self.backup_to(&vaults).unwrap()
    }

    fn backup_to(&mut self, vaults: &[Arc<Repository>]) -> Result<FileId> {
        let scratch = self.path("scratch");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir(&scratch).unwrap();
        let capture = Files::new([self.data()]).capture(&scratch, Timestamp::default()).unwrap();
        self.made += 1;
        let options = BackupOptions {
            point: format!("{:012x}", self.made),
            system: "shop".into(),
            source: "files".into(),
            time: self.time(),
            paths: vec![self.data().display().to_string()],
            excludes: Vec::new(),
            holder: holder(),
            parent: None,
            threads: 0,
            doubts: Vec::new(),
        };
        let report = backup(capture.input(), vaults, &options, &Progress::default())?;
        let written = report.vaults.into_iter().next().unwrap()?;
        let copy = self.path(&format!("copy-{}", self.made));
        let status = std::process::Command::new("cp").arg("-a").arg(self.data()).arg(&copy).status().unwrap();
        assert!(status.success());
        self.points.insert(written.snapshot, (report.tree, copy));
        Ok(written.snapshot)
    }

    fn options(&self, forget: &[FileId]) -> PruneOptions {
        PruneOptions {
            forget: forget.to_vec(),
            keep: Vec::new(),
            known: self.points.keys().copied().collect(),
            accept_lost: false,
            at_once: false,
            delay: DELAY,
            unused: 0.0,
            repack_max: u64::MAX,
            repack_within: Duration::from_secs(3600),
            now: self.time(),
            holder: holder(),
        }
    }

    /// Takes these points out of the vault, and forgets them.
    fn prune(&mut self, forget: &[FileId]) -> PruneReport {
        let vault = self.open("vault");
        let report = prune(&vault, &self.options(forget)).unwrap();
        forget.iter().for_each(|id| _ = self.points.remove(id));
        report
    }

    /// Fails the test unless every point comes back whole, and restic finds nothing wrong.
    fn is_whole(&self) {
        self.gives_back("vault");
        self.restic("vault", &["check", "--read-data"]);
    }

    /// Fails the test unless every point comes back whole from this vault alone.
    fn gives_back(&self, name: &str) {
        let vault = self.open(name);
        let (snapshots, damaged) = vault.snapshots().unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        let there: Vec<BlobId> = snapshots.iter().map(|(_, snapshot)| snapshot.tree).collect();
        for (id, (root, copy)) in &self.points {
            assert!(there.contains(root), "point {id} is gone from {name}");
            let out = self.path("out");
            let _ = fs::remove_dir_all(&out);
            let report =
                restore(&[Arc::clone(&vault)], *root, &RestoreOptions::new(&out), &Progress::default())
                    .unwrap();
            assert!(report.is_whole(), "{report:?}");
            let differences = tree::compare(copy, &out.join(self.data().strip_prefix("/").unwrap()));
            assert!(differences.is_empty(), "{differences:#?}");
        }
    }

    /// Returns the bytes of all packs.
    fn bytes(&self) -> u64 {
        self.store("vault").list(FileKind::Pack).unwrap().iter().map(|listed| listed.size).sum()
    }

    fn files(&self, kind: FileKind) -> Vec<PathBuf> {
        let listed = self.store("vault").list(kind).unwrap();
        listed.iter().map(|listed| self.path("vault").join(kind.path(&listed.name))).collect()
    }

    /// Makes a copy of the vault under another name.
    fn copy_vault(&self, to: &str) {
        let _ = fs::remove_dir_all(self.path(to));
        let status = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.path("vault"))
            .arg(self.path(to))
            .status()
            .unwrap();
        assert!(status.success());
    }
}

fn sum(name: &str) -> u32 {
    name.bytes().fold(17, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

fn password() -> Password {
    Password::new(PASSWORD.as_bytes().to_vec())
}

fn holder() -> Holder {
    Holder { hostname: "here".into(), username: "me".into() }
}

fn prune(vault: &Arc<Repository>, options: &PruneOptions) -> Result<PruneReport> {
    let progress = Progress::default();
    let planned = plan(vault, options, &progress)?;
    carry_out(vault, &planned, options, &progress)
}

/// A store that stops doing anything after so many changes, as if the program were killed there.
#[derive(Debug)]
struct Mortal {
    store: Box<dyn Store>,
    left: AtomicI64,
    /// What it doesn't let anyone remove.
    protects: Option<FileKind>,
    lists: Lists,
}

/// How a store answers when it is asked what is in it.
#[derive(Debug)]
enum Lists {
    Whole,
    /// After so many listings all break off.
    Fails(AtomicI64),
    /// Files of this kind are not shown, about one in three; the seed chooses them. Who knows a name can still read it.
    Short(FileKind, u32),
}

impl Mortal {
    fn new(store: Box<dyn Store>, changes: i64) -> Box<Self> {
        Box::new(Self { store, left: AtomicI64::new(changes), protects: None, lists: Lists::Whole })
    }

    fn alive(&self, cost: i64) -> Result<()> {
        if self.left.fetch_sub(cost, SeqCst) - cost < 0 {
            self.left.store(-1_000_000, SeqCst);
            return Err(Error::new("do anything", Kind::Io(std::io::Error::other("dead"))));
        }
        Ok(())
    }
}

impl Store for Mortal {
    fn address(&self) -> String {
        self.store.address()
    }
    fn create(&self) -> Result<()> {
        self.store.create()
    }
    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        self.alive(0)?;
        let mut listed = self.store.list(kind)?;
        match &self.lists {
            Lists::Fails(left) if left.fetch_sub(1, SeqCst) <= 0 => {
                return Err(Error::new("list", Kind::Unreachable("the listing broke off".into())));
            }
            Lists::Short(short, seed) if *short == kind => {
                listed.retain(|listed| !(sum(&listed.name) ^ seed).is_multiple_of(3));
            }
            _ => {}
        }
        Ok(listed)
    }
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.alive(0)?;
        self.store.read(kind, name)
    }
    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.alive(0)?;
        self.store.read_range(kind, name, range)
    }
    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        self.alive(0)?;
        self.store.size(kind, name)
    }
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.alive(1)?;
        self.store.write(kind, name, bytes)
    }
    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.alive(1)?;
        if self.protects == Some(kind) {
            return Err(Error::new("remove", Kind::Refused("it is protected".into())));
        }
        self.store.remove(kind, name)
    }
    fn lanes(&self) -> usize {
        1
    }
    fn is_local(&self) -> bool {
        true
    }
}

/// Removes the locks that a program which was killed has left.
fn unlock(vault: &Path) {
    for lock in fs::read_dir(vault.join("locks")).unwrap() {
        fs::remove_file(lock.unwrap().path()).unwrap();
    }
}

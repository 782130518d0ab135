//! How often a distant vault is asked, and that what is kept of it here is only ever a matter of speed.

use crate::bytes::Bytes;
use crate::faulty_store::{Call, Faults, FaultyStore};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tempfile::TempDir;
use testkit::{FaultyProxy, Restic, S3Server};
use vault::backup::{BackupOptions, Written, backup};
use vault::keys::MasterKey;
use vault::prune::{PruneOptions, carry_out, plan};
use vault::store::{Credentials, in_folder, open};
use vault::verify::{VerifyOptions, Window, verify};
use vault::{
    Cache, Content, FileId, FileKind, Holder, Input, Kind, Meta, Node, NodeKind, Password, Progress,
    Repository, Result, Unread,
};

const PASSWORD: &str = "a password as long as they come, and random enough";

/// One file, whose content is its number.
struct One(u32);

impl Input for One {
    fn list(&self, _dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let kind = NodeKind::File { size: 4, content: Vec::new(), sparse: false };
        let meta = Meta { mode: 0o600, links: 1, inode: u64::from(self.0) + 1, ..Meta::default() };
        Ok(vec![Node { name: b"file".to_vec(), meta, kind }])
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        Ok(Box::new(Bytes(io::Cursor::new(self.0.to_be_bytes().to_vec()))))
    }
}

fn holder() -> Holder {
    Holder { hostname: "here".into(), username: "me".into() }
}

pub(crate) fn point(vault: &Arc<Repository>, number: u32) -> FileId {
    written(vault, number, number).snapshot
}

fn written(vault: &Arc<Repository>, number: u32, content: u32) -> Written {
    let (snapshots, _) = vault.snapshots().unwrap();
    let options = BackupOptions {
        point: format!("{number:012x}"),
        system: "shop".into(),
        source: "files".into(),
        time: Timestamp::from_second(1_700_000_000 + i64::from(number) * 3600).unwrap(),
        paths: vec!["/file".into()],
        excludes: Vec::new(),
        holder: holder(),
        parent: snapshots.into_iter().next_back(),
        threads: 1,
        doubts: Vec::new(),
    };
    let report = backup(&One(content), std::slice::from_ref(vault), &options, &Progress::default()).unwrap();
    report.vaults.into_iter().next().unwrap().unwrap()
}

/// A bucket with many small points, seen through something that counts.
struct Far {
    server: S3Server,
    proxy: FaultyProxy,
    cache: TempDir,
    master: MasterKey,
}

impl Far {
    fn with(points: u32) -> Self {
        let server = S3Server::start();
        let proxy = FaultyProxy::before(server.port());
        // Made in the folder behind the server: that is not what is counted.
        let folder = server.folder().join("vault");
        let vault =
            Repository::create(in_folder(&folder), &Password::new(PASSWORD.into()), "here", Timestamp::now());
        let vault = Arc::new(vault.unwrap());
        (0..points).for_each(|number| _ = point(&vault, number));
        let master = MasterKey::of(&vault);
        let _ = fs::remove_file(folder.join("releve-reserve"));
        Self { server, proxy, cache: tempfile::tempdir().unwrap(), master }
    }

    /// Opens the vault as a run of the program does.
    fn open(&self) -> Arc<Repository> {
        let keys = Credentials {
            access_key: Some(S3Server::ACCESS_KEY.into()),
            secret_key: Some(S3Server::SECRET_KEY.into()),
            session_token: None,
            renew: None,
        };
        let place = open(&self.server.address_at(self.proxy.port(), "vault"), &keys).unwrap();
        let mut vault = Repository::open_with_master(place, &self.master).unwrap();
        vault.keep_in(&Cache::new(self.cache.path()));
        vault.load_index().unwrap();
        Arc::new(vault)
    }

    fn counted<T>(&self, work: impl FnOnce() -> T) -> (usize, T) {
        let before = self.proxy.seen().len();
        let done = work();
        (self.proxy.seen().len() - before, done)
    }

    fn kept(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.cache.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => found.push(path),
                }
            }
        }
        found
    }

    fn requests(&self, from: usize) -> Vec<String> {
        self.proxy.seen().iter().skip(from).map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

#[test]
fn many_points_cost_few_requests_once_they_are_known() {
    let far = Far::with(123);
    let cold = far.counted(|| far.open().snapshots().unwrap()).0;
    let (look, (snapshots, damaged)) = far.counted(|| far.open().snapshots().unwrap());
    assert_eq!((snapshots.len(), damaged.len()), (123, 0));
    assert!(look <= 6 && look < cold, "{look} requests, {cold} the first time");

    // The first backup of a day looks whether all packs are there.
    point(&far.open(), 999);
    let before = far.proxy.seen().len();
    let (made, ()) = far.counted(|| _ = point(&far.open(), 1000));
    // One of them looks whether the lock is still there, before the point is written.
    assert!(made <= 16, "{made} requests: {:#?}", far.requests(before));

    // What no rule keeps goes, and small packs are written together.
    let vault = far.open();
    let forget: Vec<FileId> = snapshots.iter().take(100).map(|(id, _)| *id).collect();
    let options = PruneOptions {
        forget,
        keep: Vec::new(),
        known: Vec::new(),
        accept_lost: false,
        at_once: false,
        delay: Duration::from_secs(3 * 24 * 3600),
        unused: 0.05,
        repack_max: u64::MAX,
        repack_within: Duration::from_secs(3600),
        now: Timestamp::now(),
        holder: holder(),
    };
    let before = far.proxy.seen().len();
    let (asked, report) = far.counted(|| {
        let planned = plan(&vault, &options, &Progress::default()).unwrap();
        carry_out(&vault, &planned, &options, &Progress::default()).unwrap()
    });
    assert_eq!(report.forgotten.len(), 100);
    assert!(asked < 100, "{asked} requests: {:#?}", far.requests(before));
    let folder = far.server.folder().join("vault");
    Restic::new(folder.display().to_string(), PASSWORD).must(&["check", "--read-data"]);
}

#[test]
fn what_is_kept_here_tells_nothing_and_a_wrong_or_missing_part_only_costs_time() {
    let far = Far::with(3);
    let points = |vault: &Repository| -> Result<usize> { Ok(vault.snapshots()?.0.len()) };
    assert_eq!(points(&far.open()).unwrap(), 3);
    assert!(!far.kept().is_empty());
    for path in far.kept() {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"hostname"), "{path:?} can be read");
        // One is damaged, another gone, another not to be had.
        fs::write(&path, b"damaged").unwrap();
    }
    assert_eq!(points(&far.open()).unwrap(), 3);
    for path in far.kept() {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(points(&far.open()).unwrap(), 3);
    fs::remove_dir_all(far.cache.path()).unwrap();
    fs::write(far.cache.path(), b"no folder").unwrap();
    assert_eq!(points(&far.open()).unwrap(), 3);
    fs::remove_file(far.cache.path()).unwrap();
    fs::create_dir(far.cache.path()).unwrap();

    // Whether something is there, and sound, only the vault knows.
    let vault = far.open();
    assert_eq!(points(&vault).unwrap(), 3);
    let gone = vault.store().list(FileKind::Snapshot).unwrap().remove(0);
    let gone = far.server.folder().join("vault/snapshots").join(&gone.name);
    let whole = fs::read(&gone).unwrap();
    fs::write(&gone, b"damaged").unwrap();
    let look = VerifyOptions { read: Window::default(), holder: holder() };
    let report = verify(&far.open(), &look, &Progress::default()).unwrap();
    assert_eq!((report.finding_count, report.sound.len()), (1, 2), "{report:?}");
    fs::write(&gone, whole).unwrap();
    fs::remove_file(&gone).unwrap();
    assert_eq!(points(&far.open()).unwrap(), 2);
}

#[test]
fn packs_that_went_since_the_last_look_are_missed_when_the_point_before_cannot_be_read() {
    let far = Far::with(0);
    assert_eq!(written(&far.open(), 1, 7).gone, 0);
    let packs = || fs::read_dir(far.server.folder().join("vault/data")).unwrap().flatten();
    for pack in packs().flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten()) {
        fs::remove_file(pack.path()).unwrap();
    }
    // The index names all of its content.
    assert_eq!(written(&far.open(), 2, 7).gone, 2);
    let look = VerifyOptions { read: Window { from: 0.0, share: 1.0 }, holder: holder() };
    let report = verify(&far.open(), &look, &Progress::default()).unwrap();
    // The same content made the first one whole again.
    assert_eq!((report.sound.len(), report.unsound.len()), (2, 0), "{:?}", report.findings);
    // As long as the index names them, each backup looks.
    assert_eq!(written(&far.open(), 3, 7).gone, 2);
}

#[test]
fn what_was_uploaded_before_a_vault_went_away_is_taken_up_by_the_next_backup() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Faults::default());
    let store = || Box::new(FaultyStore::new(in_folder(&folder.path().join("vault")), &faults));
    let made =
        Repository::create(store(), &Password::new(PASSWORD.into()), "here", Timestamp::now()).unwrap();
    let master = MasterKey::of(&Arc::new(made));
    let opened = || {
        let mut vault = Repository::open_with_master(store(), &master).unwrap();
        vault.keep_in(&Cache::new(&folder.path().join("cache")));
        Arc::new(vault)
    };
    let options = |number: u32| BackupOptions {
        point: format!("{number:012x}"),
        system: "shop".into(),
        source: "files".into(),
        time: Timestamp::from_second(1_700_000_000).unwrap(),
        paths: vec!["/file".into()],
        excludes: Vec::new(),
        holder: holder(),
        parent: None,
        threads: 1,
        doubts: Vec::new(),
    };
    let packs = || faults.count(Call::Write, FileKind::Pack);
    faults.fail(Call::Write, FileKind::Index, 0, usize::MAX, || Kind::Unreachable("cut".into()));
    let failed = backup(&One(1), &[opened()], &options(1), &Progress::default());
    assert!(
        failed.is_err() || failed.is_ok_and(|report| report.vaults.iter().all(std::result::Result::is_err))
    );
    let uploaded = packs();
    assert!(uploaded > 0);
    faults.heal();
    // What is kept of them goes only once an index names them: whoever writes that one may be killed.
    let place = folder.path().to_owned();
    let files = |place: &Path| fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let lost = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&lost);
    faults.meanwhile(move || {
        let is_named = files(&place.join("vault/index")).next().is_some();
        let is_kept = files(&place.join("cache")).any(|own| own.join("unindexed").exists());
        seen.fetch_or(!is_named && !is_kept, Relaxed);
    });
    let report = backup(&One(1), &[opened()], &options(2), &Progress::default()).unwrap();
    assert!(!lost.load(Relaxed), "what was uploaded was known to nobody");
    assert!(report.vaults.iter().all(std::result::Result::is_ok));
    assert_eq!(packs(), uploaded, "nothing is uploaded twice");
    let listed = fs::read_dir(folder.path().join("vault/snapshots")).unwrap();
    assert_eq!(listed.count(), 1);
}

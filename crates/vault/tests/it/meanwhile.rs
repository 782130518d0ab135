//! What is read while others write: packs are written first, then indexes, then points, and whoever reads goes the other way.

use crate::faulty_store::{Faults, FaultyStore};
use crate::requests::point;
use jiff::Timestamp;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vault::backup::{BackupOptions, BackupReport, backup};
use vault::copy::copy;
use vault::keys::{MasterKey, prove};
use vault::store::in_folder;
use vault::verify::{VerifyOptions, Window, verify};
use vault::{
    Content, FileKind, Holder, Input, Kind, Meta, Node, NodeKind, Password, Progress, Repository, Unread,
};

/// A vault with one point, to which somebody else adds one before each call on the store.
fn busy(folder: &Path) -> (Arc<Repository>, Faults, Arc<AtomicU32>) {
    let folder = folder.join("vault");
    let password = Password::new("a password as long as they come, and random enough".into());
    let other =
        Arc::new(Repository::create(in_folder(&folder), &password, "here", Timestamp::UNIX_EPOCH).unwrap());
    point(&other, 0);
    let faults = Faults::default();
    let store = Box::new(FaultyStore::new(in_folder(&folder), &faults));
    let vault = Repository::open_with_master(store, &MasterKey::of(&other)).unwrap();
    vault.load_index().unwrap();
    let made = Arc::new(AtomicU32::new(0));
    let (count, turn) = (Arc::clone(&made), Mutex::new(()));
    faults.meanwhile(move || {
        if let Ok(_turn) = turn.try_lock() {
            point(&other, count.fetch_add(1, Relaxed) + 1);
        }
    });
    (Arc::new(vault), faults, made)
}

#[test]
fn a_vault_that_is_written_to_is_verified_and_nothing_of_what_comes_is_called_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, _, made) = busy(folder.path());
    for _ in 0..3 {
        let holder = Holder { hostname: "here".into(), username: "me".into() };
        let options = VerifyOptions { read: Window::ALL, holder };
        let report = verify(&vault, &options, &Progress::default()).unwrap();
        assert_eq!(report.finding_count, 0, "{:?}", report.findings);
    }
    assert!(made.load(Relaxed) > 9);
}

#[test]
fn each_point_that_is_listed_can_be_read_whenever_the_index_was() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, ..) = busy(folder.path());
    for _ in 0..3 {
        let (snapshots, damaged) = vault.snapshots().unwrap();
        assert!(damaged.is_empty());
        for (_, snapshot) in &snapshots {
            vault.tree(&snapshot.tree).unwrap();
        }
    }
    assert!(prove(&vault).unwrap().findings.is_empty());
}

/// A file that a program prints, while something else happens.
struct Printed<'a> {
    meanwhile: &'a (dyn Fn() + Sync),
    opened: AtomicU32,
    /// What is wrong with it in the end.
    wrong: Option<&'static str>,
}

struct Words(io::Cursor<&'static str>, Option<&'static str>);

impl io::Read for Words {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Words {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        self.1.map_or(Ok(true), |wrong| Err(io::Error::other(wrong)))
    }
}

impl Input for Printed<'_> {
    fn list(&self, _dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let kind = NodeKind::File { size: 0, content: Vec::new(), sparse: false };
        let meta = Meta { mode: 0o600, links: 1, inode: 1, ..Meta::default() };
        Ok(vec![Node { name: b"dump".to_vec(), meta, kind }])
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        self.opened.fetch_add(1, Relaxed);
        (self.meanwhile)();
        Ok(Box::new(Words(io::Cursor::new("half of it"), self.wrong)))
    }
}

fn made(folder: &Path) -> Arc<Repository> {
    let password = Password::new("a password as long as they come, and random enough".into());
    let vault = Repository::create(in_folder(folder), &password, "here", Timestamp::UNIX_EPOCH).unwrap();
    vault.load_index().unwrap();
    Arc::new(vault)
}

fn holder() -> Holder {
    Holder { hostname: "here".into(), username: "me".into() }
}

fn options() -> BackupOptions {
    BackupOptions {
        point: vault::new_point_id().unwrap(),
        system: "shop".into(),
        source: "command".into(),
        time: Timestamp::now(),
        paths: vec!["/dump".into()],
        excludes: Vec::new(),
        holder: holder(),
        parent: None,
        threads: 1,
        doubts: Vec::new(),
    }
}

fn back_up(vaults: &[Arc<Repository>], input: &Printed<'_>) -> BackupReport {
    backup(input, vaults, &options(), &Progress::default()).unwrap()
}

/// What a machine does whose clock is wrong.
fn take_for_dead(vault: &Repository) {
    for lock in vault.store().list(FileKind::Lock).unwrap() {
        vault.store().remove(FileKind::Lock, &lock.name).unwrap();
    }
}

#[test]
fn a_point_is_in_no_vault_in_which_somebody_removed_the_lock_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let vaults = [made(&folder.path().join("near")), made(&folder.path().join("far"))];
    let meanwhile = || take_for_dead(&vaults[1]);
    let input = Printed { meanwhile: &meanwhile, opened: AtomicU32::new(0), wrong: None };
    let report = back_up(&vaults, &input);
    assert!(report.vaults[0].is_ok(), "{report:?}");
    let error = report.vaults[1].as_ref().unwrap_err();
    assert!(matches!(error.kind, Kind::LockLost) && error.to_string().contains("run it again"), "{error}");
    assert_eq!(vaults[1].store().list(FileKind::Snapshot).unwrap(), []);
    // What is left there harms nothing, and the point comes with the next copy.
    let (_, snapshot) = vaults[0].snapshots().unwrap().0.pop().unwrap();
    copy(&vaults[..1], &vaults[1], &snapshot, &holder(), &Progress::default()).unwrap();
    assert!(prove(&vaults[1]).unwrap().findings.is_empty());
}

#[test]
fn a_source_that_fails_says_so_in_its_own_words_and_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let vault = made(&folder.path().join("vault"));
    let why = "sh exited with status 3: cannot connect to server";
    let input = Printed { meanwhile: &|| (), opened: AtomicU32::new(0), wrong: Some(why) };
    let report = back_up(&[vault], &input);
    let said: Vec<&str> = report.unread.iter().map(|unread| unread.why.as_str()).collect();
    assert_eq!((said.as_slice(), input.opened.load(Relaxed)), ([why].as_slice(), 1));
    assert_eq!((report.info.unread_count, report.info.bytes), (1, 10), "{report:?}");
}

/// A file that can't be opened until nobody waits for it any longer, or for ten seconds.
struct Stuck<'a> {
    progress: &'a Progress,
    given_up: Arc<AtomicU32>,
}

impl Input for Stuck<'_> {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        Printed { meanwhile: &|| (), opened: AtomicU32::new(0), wrong: None }.list(dir, unread)
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, _path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        // The walk is over by then: only readers are left.
        testkit::pause(Duration::from_millis(300));
        self.progress.stop();
        for _ in 0..200 {
            if self.given_up.load(Relaxed) > 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            testkit::pause(Duration::from_millis(50));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn stop(&self) {
        self.given_up.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_reader_that_waits_is_told_to_stop_although_the_walk_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let vault = made(&folder.path().join("vault"));
    let progress = Progress::default();
    let input = Stuck { progress: &progress, given_up: Arc::default() };
    let begun = Instant::now();
    let error = backup(&input, &[vault], &options(), &progress).unwrap_err();
    assert!(matches!(error.kind, Kind::Interrupted), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

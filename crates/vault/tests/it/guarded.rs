//! A folder whose files carry the immutable flag: what that keeps from whom, and that we get by with it.

use jiff::{SignedDuration, Timestamp};
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use testkit::Flags;
use vault::immutable::{HoldOptions, HoldReport, UndeleteOptions, hold, undelete};
use vault::store::{Canary, Credentials, Limits, open_held};
use vault::{FileId, FileKind, Holder, Kind, Lock, LockKind, Password, Progress, Repository, Store};

const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
const CONTENT: [FileKind; 3] = [FileKind::Pack, FileKind::Index, FileKind::Snapshot];

fn store(folder: &Path, period: Option<SignedDuration>) -> Box<dyn Store> {
    let address = format!("file://{}", folder.display());
    open_held(&address, &Credentials::default(), &Limits::default(), period).unwrap()
}

struct Place {
    flags: Flags,
    folder: TempDir,
    repository: Arc<Repository>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = Flags::of(folder.path());
        let password = Password::new(b"secret".to_vec());
        let created =
            Repository::create(store(folder.path(), Some(MONTH)), &password, "host", Timestamp::now());
        Self { flags, repository: Arc::new(created.unwrap()), folder }
    }

    fn put(&self, kind: FileKind, content: &[u8]) -> (String, PathBuf) {
        let name = FileId::of(content).to_string();
        self.repository.store().write(kind, &name, content).unwrap();
        let path = self.folder.path().join(kind.path(&name));
        (name, path)
    }

    fn look(&self, now: Timestamp, dry_run: bool) -> HoldReport {
        hold(&self.repository, &HoldOptions { now, dry_run }, &Progress::default()).unwrap()
    }

    fn is_listed(&self, kind: FileKind, name: &str) -> bool {
        self.repository.store().list(kind).unwrap().iter().any(|listed| listed.name == name)
    }

    /// Makes a file as old as this.
    fn age(&self, path: &Path, days: i64) {
        let written = Timestamp::now() - SignedDuration::from_hours(24 * days);
        self.flags.lifted(path, |path| {
            fs::File::options().write(true).open(path).unwrap().set_modified(written.into()).unwrap();
        });
    }

    fn hidden(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("hidden");
        let Ok(kinds) = fs::read_dir(folder) else { return Vec::new() };
        let files = kinds.flat_map(|kind| fs::read_dir(kind.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn rm_rf_of_a_guarded_vault_leaves_every_file() {
    let place = Place::new();
    CONTENT.iter().for_each(|kind| _ = place.put(*kind, format!("{kind:?}").as_bytes()));
    let before = files(place.folder.path());
    assert_eq!(before.len(), 5, "{before:?}");
    assert!(before.iter().all(|file| place.flags.has(file)), "{before:?}");
    let removed = Command::new("rm").arg("-rf").arg(place.folder.path()).output().unwrap();
    assert!(!removed.status.success(), "{removed:?}");
    let mut after = files(place.folder.path());
    after.retain(|file| before.contains(file));
    assert_eq!(after.len(), before.len());
    assert!(before.iter().all(|file| fs::File::options().write(true).open(file).is_err()));
}

#[test]
fn locks_are_not_guarded_and_go() {
    let place = Place::new();
    let holder = Holder { hostname: "host".into(), username: "me".into() };
    let lock = Lock::take(&place.repository, LockKind::Shared, &holder).unwrap();
    let locks = files(&place.folder.path().join("locks"));
    assert!(locks.iter().all(|lock| !place.flags.has(lock)), "{locks:?}");
    drop(lock);
    assert_eq!(files(&place.folder.path().join("locks")), [] as [PathBuf; 0]);
    assert_eq!(place.hidden(), [] as [PathBuf; 0]);
}

#[test]
fn what_is_removed_before_its_time_is_out_of_sight_and_comes_back() {
    let place = Place::new();
    for kind in [FileKind::Key, FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        let (name, path) = place.put(kind, b"content");
        place.age(&path, 29);
        place.repository.store().remove(kind, &name).unwrap();
        assert!(!path.exists() && !place.is_listed(kind, &name));
        let [hidden] = place.hidden().try_into().unwrap();
        assert!(place.flags.has(&hidden) && fs::remove_file(&hidden).is_err());
        let early = place.look(Timestamp::now(), false);
        assert_eq!((early.hidden, early.freed, early.finding_count), (1, 0, 0), "{early:?}");
        let options = UndeleteOptions { since: None, dry_run: false };
        let back = undelete(place.repository.store(), &options, &Progress::default()).unwrap();
        assert_eq!((back.hidden.len(), back.failures.len()), (1, 0), "{back:?}");
        assert_eq!(place.repository.store().read(kind, &name).unwrap(), b"content");
        assert!(place.flags.has(&path), "it is guarded as before");
        // Hidden once more, it goes when its time is over, and not before.
        place.repository.store().remove(kind, &name).unwrap();
        let late = Timestamp::now() + SignedDuration::from_hours(36);
        assert_eq!(place.look(late, true).hidden, 1, "a dry run frees nothing");
        assert_eq!((place.look(late, false).freed, place.hidden().len()), (1, 0));
    }
}

#[test]
fn what_is_removed_after_its_time_is_gone_at_once() {
    let place = Place::new();
    for kind in CONTENT {
        let (name, path) = place.put(kind, b"content");
        place.age(&path, 31);
        place.repository.store().remove(kind, &name).unwrap();
        assert!(!path.exists());
    }
    assert_eq!(place.hidden(), [] as [PathBuf; 0]);
}

#[test]
fn a_file_that_a_killed_writer_or_another_program_left_gets_the_flag_at_the_next_look() {
    let place = Place::new();
    let (_, path) = place.put(FileKind::Pack, b"pack");
    place.flags.set(&path, false);
    let looked = place.look(Timestamp::now(), true);
    assert_eq!((looked.extended, looked.until), (1, None), "{looked:?}");
    assert!(!place.flags.has(&path), "a dry run changes nothing");
    let report = place.look(Timestamp::now(), false);
    assert_eq!((report.files, report.extended, report.held), (3, 1, 2), "{report:?}");
    assert!(report.until.unwrap() <= Timestamp::now() + MONTH && place.flags.has(&path));
    // A move out of sight that was killed half-way.
    let (name, _) = place.put(FileKind::Pack, b"another");
    place.repository.store().remove(FileKind::Pack, &name).unwrap();
    let [hidden] = place.hidden().try_into().unwrap();
    place.flags.set(&hidden, false);
    place.look(Timestamp::now(), false);
    assert!(place.flags.has(&hidden));
}

#[test]
fn writing_what_is_there_changes_nothing_and_writing_over_damage_keeps_what_was_there() {
    let place = Place::new();
    let (name, path) = place.put(FileKind::Snapshot, b"content");
    place.put(FileKind::Snapshot, b"content");
    assert_eq!(place.hidden(), [] as [PathBuf; 0]);
    place.flags.lifted(&path, |path| fs::write(path, b"c0ntent").unwrap());
    place.put(FileKind::Snapshot, b"content");
    assert_eq!(fs::read(&path).unwrap(), b"content");
    assert!(place.flags.has(&path));
    assert_eq!(place.hidden().len(), 1);
    let left = files(path.parent().unwrap());
    assert_eq!(left, std::slice::from_ref(&path), "no temporary file stays");
    let report = place.look(Timestamp::now(), false);
    assert_eq!((report.finding_count, report.hidden), (0, 0), "{report:?}");
    assert!(place.is_listed(FileKind::Snapshot, &name));
    // What is in sight is guarded, whatever lies hidden under the same name.
    place.flags.set(&path, false);
    assert_eq!(place.look(Timestamp::now(), true).extended, 1);
    place.look(Timestamp::now(), false);
    assert!(place.flags.has(&path));
}

#[test]
fn who_promises_nothing_is_told_why_a_guarded_file_stays() {
    let place = Place::new();
    let (name, path) = place.put(FileKind::Snapshot, b"content");
    let plain = store(place.folder.path(), None);
    let error = plain.remove(FileKind::Snapshot, &name).unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)) && error.to_string().contains("immutable_for"), "{error}");
    assert!(path.exists() && plain.versions().is_none());
    plain.write(FileKind::Snapshot, &name, b"content").unwrap();
}

#[test]
fn a_canary_shows_whether_the_flag_keeps_anybody_from_anything() {
    let place = Place::new();
    let versions = place.repository.store().versions().unwrap();
    assert_eq!(versions.try_canary().unwrap(), Canary::Guarded);
    // One that a killed try left is in nobody's way.
    let canary = place.folder.path().join("releve-canary");
    fs::write(&canary, "").unwrap();
    place.flags.set(&canary, true);
    assert_eq!(versions.try_canary().unwrap(), Canary::Guarded);
    assert!(!canary.exists());
}

/// A file system that knows no flags.
struct Plain(TempDir);

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn where_there_is_no_flag_all_works_and_the_canary_says_why_it_is_not_guarded() {
    let disk = Plain(tempfile::tempdir().unwrap());
    rustix::mount::mount("testkit", disk.0.path(), "ramfs", MountFlags::empty(), c"").unwrap();
    let store = store(disk.0.path(), Some(MONTH));
    store.create().unwrap();
    let name = FileId::of(b"content").to_string();
    store.write(FileKind::Snapshot, &name, b"content").unwrap();
    store.write(FileKind::Snapshot, &name, b"content").unwrap();
    let Canary::Lost(why) = store.versions().unwrap().try_canary().unwrap() else {
        panic!("it is called guarded")
    };
    assert!(why.contains("has no immutable flag"), "{why}");
    store.remove(FileKind::Snapshot, &name).unwrap();
    assert!(store.list(FileKind::Snapshot).unwrap().is_empty());
    assert!(!disk.0.path().join("releve-canary").exists());
}

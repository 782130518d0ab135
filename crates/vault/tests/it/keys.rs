//! Keys: whoever has a password that was given gets in, whoever has one that was taken doesn't, and somebody always does.

use crate::faulty_store::{Call, Faults, FaultyStore};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use testkit::Restic;
use vault::keys::{self, KEYS_MAX, MasterKey};
use vault::store::{Credentials, open};
use vault::{FileId, FileKind, Holder, Kind, Lock, LockKind, Password, Repository, Result};

// Of the length that costs least: these tests open a vault some hundred times.
const FIRST: &str = "the first password, as long as they come, and random";
const SECOND: &str = "the second password, as long as they come, and random";
const SHORT: &str = "quick brown fox";

/// A vault in a folder, and the faults of its store.
struct Place {
    folder: TempDir,
    faults: Faults,
}

impl Place {
    /// Makes an empty vault that opens with [`FIRST`].
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), faults: Faults::default() };
        Repository::create(place.store(), &password(FIRST), "shop-1", now()).unwrap();
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    fn store(&self) -> Box<dyn vault::Store> {
        let inner = open(&format!("file://{}", self.path().display()), &Credentials::default()).unwrap();
        Box::new(FaultyStore::new(inner, &self.faults))
    }

    fn open(&self, text: &str) -> Result<Arc<Repository>> {
        Repository::open(self.store(), &password(text)).map(Arc::new)
    }

    fn key_files(&self) -> usize {
        fs::read_dir(self.path().join("keys")).unwrap().count()
    }

    /// Returns what the judge says of a password.
    fn restic_opens(&self, text: &str) -> bool {
        let output = Restic::new(self.path().display().to_string(), text).run(&["snapshots"]);
        assert!(output.success || output.stderr.contains("wrong password"), "{}", output.stderr);
        output.success
    }
}

fn password(text: &str) -> Password {
    Password::new(text.as_bytes().to_vec())
}

fn holder() -> Holder {
    Holder { hostname: "shop-1".into(), username: "hugo".into() }
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_790_000_000).unwrap()
}

fn is_wrong_password(result: Result<Arc<Repository>>) -> bool {
    result.is_err_and(|error| matches!(error.kind, Kind::WrongPassword { .. }))
}

#[test]
fn restic_opens_with_every_password_that_was_added_and_with_none_that_was_removed() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let second = keys::add(&vault, &password(SECOND), &holder(), now()).unwrap();
    let short = keys::add(&vault, &password(SHORT), &holder(), now()).unwrap();
    assert!(second.created && short.created);
    for text in [FIRST, SECOND, SHORT] {
        assert!(place.restic_opens(text), "{text}");
        assert_eq!(place.open(text).unwrap().id(), vault.id());
    }
    let (listed, unread) = keys::list(vault.store()).unwrap();
    assert!(listed.len() == 3 && unread.is_empty());
    let cost = |id: FileId| listed.iter().find(|key| key.id == id).unwrap().guess_memory();
    assert!(cost(short.id) >= 4 * cost(second.id), "a short password is dearer to guess");
    assert!(keys::remove(&vault, second.id, &password(FIRST), &holder()).unwrap());
    assert!(!keys::remove(&vault, second.id, &password(FIRST), &holder()).unwrap());
    assert!(!place.restic_opens(SECOND) && is_wrong_password(place.open(SECOND)));
    assert!(place.restic_opens(FIRST) && place.restic_opens(SHORT));
    Restic::new(place.path().display().to_string(), SHORT).must(&["check"]);
}

#[test]
fn a_key_of_restics_is_a_key_here_and_is_known_by_its_name() {
    let place = Place::new();
    let file = place.folder.path().join("new");
    fs::write(&file, SECOND).unwrap();
    let restic = Restic::new(place.path().display().to_string(), FIRST);
    restic.must(&["key", "add", "--new-password-file", file.to_str().unwrap()]);
    let vault = place.open(SECOND).unwrap();
    let theirs = vault.key_id().unwrap();
    assert_ne!(place.open(FIRST).unwrap().key_id().unwrap(), theirs);
    assert!(keys::list(vault.store()).unwrap().0.iter().any(|key| key.id == theirs));
    assert!(keys::remove(&place.open(FIRST).unwrap(), theirs, &password(FIRST), &holder()).unwrap());
    assert!(!place.restic_opens(SECOND));
}

#[test]
fn the_last_key_and_the_one_in_use_stay() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let first = vault.key_id().unwrap();
    let error = keys::remove(&vault, first, &password(FIRST), &holder()).unwrap_err();
    assert!(error.to_string().contains("only key"), "{error}");
    let second = keys::add(&vault, &password(SECOND), &holder(), now()).unwrap();
    let error = keys::remove(&vault, first, &password(FIRST), &holder()).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    // A key file that nobody can read opens nothing, and is no reason to remove the one that does.
    fs::write(place.path().join("keys").join(second.id.to_string()), "{}").unwrap();
    assert!(keys::remove(&vault, first, &password(SECOND), &holder()).is_err());
    assert!(place.open(FIRST).is_ok());
}

#[test]
fn a_password_that_opens_already_gets_no_second_key() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let added = keys::add(&vault, &password(FIRST), &holder(), now()).unwrap();
    assert_eq!((added.id, added.created), (vault.key_id().unwrap(), false));
    assert_eq!(place.key_files(), 1);
}

#[test]
fn a_rotation_replaces_the_password_and_nothing_else_opens() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let rotation = keys::rotate(&vault, &password(SECOND), &holder(), now()).unwrap();
    assert!(place.open(FIRST).is_ok() && place.open(SECOND).is_ok(), "both open until it is finished");
    rotation.finish().unwrap();
    assert!(is_wrong_password(place.open(FIRST)) && place.open(SECOND).is_ok());
    assert!(!place.restic_opens(FIRST) && place.restic_opens(SECOND));
    let vault = place.open(SECOND).unwrap();
    let same = keys::rotate(&vault, &password(SECOND), &holder(), now()).unwrap_err();
    assert!(matches!(same.kind, Kind::KeyRefused(_)), "{same}");
    assert!(place.open(SECOND).is_ok());
}

#[test]
fn wherever_a_rotation_fails_there_is_a_way_in_and_a_second_try_succeeds() {
    let mut failed = Vec::new();
    for (call, tries) in
        [(Call::List, 3), (Call::Read, 4), (Call::Write, 1), (Call::Size, 1), (Call::Remove, 1)]
    {
        for skip in 0..tries {
            let place = Place::new();
            let vault = place.open(FIRST).unwrap();
            place.faults.fail(call, FileKind::Key, skip, 1, || Kind::Unreachable("cut".into()));
            let rotated =
                keys::rotate(&vault, &password(SECOND), &holder(), now()).and_then(keys::Rotation::finish);
            place.faults.heal();
            let (old, new) = (place.open(FIRST), place.open(SECOND));
            match rotated {
                Ok(()) => assert!(is_wrong_password(old) && new.is_ok(), "{call:?} {skip}"),
                Err(error) => {
                    failed.push((call, skip));
                    assert!(old.is_ok() || new.is_ok(), "{call:?} {skip}: {error}");
                    if let Ok(vault) = old {
                        let again = keys::rotate(&vault, &password(SECOND), &holder(), now()).unwrap();
                        again.finish().unwrap();
                    }
                    assert!(place.open(SECOND).is_ok() && is_wrong_password(place.open(FIRST)));
                    assert_eq!(place.key_files(), 1, "{call:?} {skip}");
                }
            }
        }
    }
    // Two listings, three readings, one of each other: what is not among them succeeded.
    assert_eq!(failed.len(), 8, "{failed:?}");
}

#[test]
fn a_new_key_that_comes_back_damaged_does_not_count() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    // The first read is of the key that is there.
    place.faults.damage(FileKind::Key, 1, 1);
    let error = keys::rotate(&vault, &password(SECOND), &holder(), now()).unwrap_err();
    assert!(matches!(error.kind, Kind::Damaged(_)), "{error}");
    assert_eq!(place.key_files(), 1);
    assert!(place.open(FIRST).is_ok() && is_wrong_password(place.open(SECOND)));
}

#[test]
fn two_who_remove_each_others_key_do_not_both_succeed() {
    for _ in 0..3 {
        let place = Place::new();
        let first = place.open(FIRST).unwrap();
        let added = keys::add(&first, &password(SECOND), &holder(), now()).unwrap();
        let second = place.open(SECOND).unwrap();
        let old = first.key_id().unwrap();
        std::thread::scope(|scope| {
            let one = scope.spawn(|| keys::remove(&first, added.id, &password(FIRST), &holder()));
            let other = scope.spawn(|| keys::remove(&second, old, &password(SECOND), &holder()));
            let both = one.join().unwrap().is_ok() && other.join().unwrap().is_ok();
            assert!(!both, "each relied on the key that the other removed");
        });
        assert!(place.open(FIRST).is_ok() || place.open(SECOND).is_ok());
    }
}

#[test]
fn a_failed_listing_is_never_taken_for_a_vault_without_keys() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let added = keys::add(&vault, &password(SECOND), &holder(), now()).unwrap();
    place.faults.fail(Call::Read, FileKind::Key, 0, 10, || Kind::Unreachable("cut".into()));
    assert!(keys::remove(&vault, added.id, &password(FIRST), &holder()).unwrap_err().is_retryable());
    assert!(keys::add(&vault, &password(SHORT), &holder(), now()).unwrap_err().is_retryable());
    place.faults.heal();
    assert_eq!(place.key_files(), 2);
}

#[test]
fn no_more_keys_are_added_than_restic_looks_at() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let folder = place.path().join("keys");
    let own = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let own = fs::read(own).unwrap();
    for number in 1..KEYS_MAX {
        let another = [own.as_slice(), &vec![b' '; number]].concat();
        fs::write(folder.join(FileId::of(&another).to_string()), another).unwrap();
    }
    let error = keys::add(&vault, &password(SECOND), &holder(), now()).unwrap_err();
    assert!(matches!(error.kind, Kind::KeyRefused(_)), "{error}");
    assert_eq!(place.key_files(), KEYS_MAX);
}

#[test]
fn the_master_key_opens_a_vault_that_has_lost_every_key_file() {
    let place = Place::new();
    let paper = MasterKey::of(&place.open(FIRST).unwrap()).to_paper().to_uppercase();
    let id = place.open(FIRST).unwrap().id().to_owned();
    fs::remove_dir_all(place.path().join("keys")).unwrap();
    let error = place.open(FIRST).unwrap_err();
    assert!(matches!(error.kind, Kind::WrongPassword { keys: 0 }), "{error}");
    let master = MasterKey::from_paper(&paper).unwrap();
    assert_eq!(master.repository(), Some(id.as_str()));
    let vault = Arc::new(Repository::open_with_master(place.store(), &master).unwrap());
    assert_eq!((vault.id(), vault.key_id()), (id.as_str(), None));
    assert!(keys::rotate(&vault, &password(SECOND), &holder(), now()).is_err(), "there is none to replace");
    keys::add(&vault, &password(SECOND), &holder(), now()).unwrap();
    assert!(place.restic_opens(SECOND) && !place.restic_opens(FIRST));
    let other = Place::new();
    let error = Repository::open_with_master(other.store(), &master).unwrap_err();
    assert!(matches!(error.kind, Kind::WrongMasterKey), "{error}");
}

#[test]
fn whoever_is_at_work_in_the_vault_is_waited_for_and_nothing_is_removed() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let added = keys::add(&vault, &password(SECOND), &holder(), now()).unwrap();
    let at_work = Lock::take(&place.open(FIRST).unwrap(), LockKind::Shared, &holder()).unwrap();
    let error = keys::remove(&vault, added.id, &password(FIRST), &holder()).unwrap_err();
    assert!(matches!(error.kind, Kind::Locked(_)), "{error}");
    let error = keys::rotate(&vault, &password(SHORT), &holder(), now()).unwrap_err();
    assert!(matches!(error.kind, Kind::Locked(_)), "{error}");
    assert_eq!(place.key_files(), 2);
    drop(at_work);
    assert!(keys::remove(&vault, added.id, &password(FIRST), &holder()).unwrap());
}

#[test]
fn a_planted_key_that_costs_a_fortune_to_try_holds_nobody_up_and_moves_no_cursor() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let own = place.path().join("keys").join(vault.key_id().unwrap().to_string());
    let json = fs::read_to_string(own).unwrap();
    let mut dear: serde_json::Value = serde_json::from_str(&json).unwrap();
    (dear["N"], dear["p"]) = (1_048_576.into(), 64.into());
    let dear = dear.to_string();
    let planted = dear.replace("shop-1", "\\u001b[2J");
    assert!(planted != dear && dear != json, "{json}");
    for number in 1..6 {
        fs::write(place.path().join("keys").join(format!("{number:064x}")), &planted).unwrap();
    }
    let begun = std::time::Instant::now();
    place.open(FIRST).unwrap();
    assert!(begun.elapsed().as_secs() < 15, "a key that costs minutes was tried first");
    let (listed, _) = keys::list(vault.store()).unwrap();
    assert!(listed.len() == 6 && listed.iter().all(|key| !key.hostname.contains('\u{1b}')));
}

#[test]
fn a_hundred_planted_keys_are_not_tried_and_the_key_that_worked_last_needs_no_other() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let own = vault.key_id().unwrap();
    let json = fs::read_to_string(place.path().join("keys").join(own.to_string())).unwrap();
    let mut planted: serde_json::Value = serde_json::from_str(&json).unwrap();
    // 16 MiB each, and some hundredths of a second: a hundred of restic's own cost a minute.
    (planted["N"], planted["r"], planted["p"]) = (16_384.into(), 8.into(), 1.into());
    for number in 0..100 {
        planted["username"] = number.to_string().into();
        let planted = planted.to_string();
        let name = FileId::of(planted.as_bytes()).to_string();
        fs::write(place.path().join("keys").join(name), planted).unwrap();
    }
    let error = place.open(SECOND).unwrap_err();
    assert!(matches!(error.kind, Kind::KeysLeft { tried: 21, junk: 0, left: 80 }), "{error}");
    let read = place.faults.count(Call::Read, FileKind::Key);
    Repository::open_known(place.store(), &password(FIRST), Some(own)).unwrap();
    assert_eq!(place.faults.count(Call::Read, FileKind::Key), read + 1, "only that one is read");
    let error = Repository::open_known(place.store(), &password(SECOND), Some(own)).unwrap_err();
    assert!(matches!(error.kind, Kind::KeysLeft { tried: 21, junk: 0, left: 80 }), "{error}");
    assert_eq!(place.faults.count(Call::Read, FileKind::Key), read + 102, "and none is read twice");
    place.faults.fail(Call::Read, FileKind::Key, 0, 1, || Kind::Unreachable("cut".into()));
    let error = place.open(SECOND).unwrap_err();
    assert!(error.is_retryable(), "the one that could not be read may be the one: {error}");
    // One that is gone, or opens nothing, costs one try.
    place.open(FIRST).unwrap();
    Repository::open_known(place.store(), &password(FIRST), Some(FileId::of(b"gone"))).unwrap();
}

#[test]
fn thousands_of_files_that_are_no_keys_keep_nobody_out_of_a_folder() {
    let place = Place::new();
    let own = place.open(FIRST).unwrap().key_id().unwrap();
    for number in 0..3000u32 {
        // Of a key's length, under the name of their content, and some under another.
        let junk: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(500).collect();
        let name = FileId::of(&junk).to_string();
        let name = if number % 3 == 0 { format!("{number:08x}{}", &name[8..]) } else { name };
        fs::write(place.path().join("keys").join(name), junk).unwrap();
    }
    let begun = std::time::Instant::now();
    assert_eq!(place.open(FIRST).unwrap().key_id(), Some(own));
    assert!(begun.elapsed().as_secs() < 15, "they were looked through for bits that have turned");
    let error = place.open(SECOND).unwrap_err();
    assert!(matches!(error.kind, Kind::KeysDamaged { damaged: 3000, keys: 3001 }), "{error}");
    // Nor from another way in.
    let vault = place.open(FIRST).unwrap();
    assert!(keys::add(&vault, &password(SECOND), &holder(), now()).unwrap().created);
    // The key that worked last is read by its name, whichever of several that is.
    let read = place.faults.count(Call::Read, FileKind::Key);
    let known = [FileId::of(b"another vault's"), own];
    Repository::open_known(place.store(), &password(FIRST), known).unwrap();
    assert_eq!(place.faults.count(Call::Read, FileKind::Key), read + 1);
}

#[test]
fn no_secret_is_in_an_error_or_shown() {
    let place = Place::new();
    let vault = place.open(FIRST).unwrap();
    let error = keys::remove(&vault, vault.key_id().unwrap(), &password(FIRST), &holder()).unwrap_err();
    let rotation = keys::rotate(&vault, &password(SECOND), &holder(), now()).unwrap();
    for text in [error.to_string(), format!("{error:?} {rotation:?} {:?}", password(FIRST))] {
        assert!(!text.contains(FIRST) && !text.contains(SECOND), "{text}");
    }
}

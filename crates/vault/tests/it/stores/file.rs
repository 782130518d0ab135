//! A folder as a store.

use crate::contract::{Freedom, keeps_the_contract, listing, name};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use testkit::{Random, SmallDisk};
use vault::store::{Credentials, open};
use vault::{FileKind, Kind, Store};

fn at(path: &Path) -> Box<dyn Store> {
    open(&format!("file://{}", path.display()), &Credentials::default()).unwrap()
}

fn created() -> (TempDir, Box<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = at(folder.path());
    store.create().unwrap();
    store.write(FileKind::Config, "config", b"config").unwrap();
    (folder, store)
}

fn age(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_contract(&*at(&folder.path().join("a/new/vault")), &Freedom { folders: true });
}

#[test]
fn only_the_owner_can_read_it() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("vault");
    let store = at(&root);
    store.create().unwrap();
    let id = name(b"x");
    store.write(FileKind::Pack, &id, b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    for folder in [root.clone(), root.join("data"), root.join("data/00"), root.join("keys")] {
        assert_eq!(mode(&folder), 0o700, "{folder:?}");
    }
    assert_eq!(mode(&root.join(FileKind::Pack.path(&id))), 0o600);
}

#[test]
fn foreign_files_are_not_listed() {
    let (folder, store) = created();
    let upper = name(b"x").to_uppercase();
    for junk in [
        "keys/.releve-0123456789abcdef",
        "keys/notes.txt",
        &format!("keys/{upper}"),
        "data/ab/x",
        "data/README",
    ] {
        fs::write(folder.path().join(junk), b"junk").unwrap();
    }
    fs::create_dir(folder.path().join("data/zz")).unwrap();
    assert_eq!(listing(&*store, FileKind::Key), []);
    assert_eq!(listing(&*store, FileKind::Pack), []);
}

#[test]
fn what_is_no_file_is_listed_named_and_replaced_and_holds_nobody_up() {
    let (folder, store) = created();
    let id = name(b"x");
    let make = |what: &str, path: &Path| match what {
        "a pipe" => {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        }
        "a socket" => {
            // The kernel takes no long path for one.
            let short = folder.path().join("s");
            std::os::unix::net::UnixListener::bind(&short).unwrap();
            fs::rename(short, path).unwrap();
        }
        "a folder" => fs::create_dir(path).unwrap(),
        // It never ends.
        _ => symlink("/dev/zero", path).unwrap(),
    };
    for kind in [FileKind::Config].into_iter().chain(FileKind::LISTED) {
        let called = if kind == FileKind::Config { "config" } else { id.as_str() };
        let path = folder.path().join(kind.path(called));
        for what in ["a pipe", "a socket", "a folder", "a device"] {
            store.remove(kind, called).unwrap();
            make(what, &path);
            if kind != FileKind::Config {
                assert_eq!(listing(&*store, kind), [(id.clone(), 0)], "{kind:?}: {what}");
            }
            assert_eq!(store.size(kind, called).unwrap(), Some(0));
            for read in [store.read(kind, called), store.read_range(kind, called, 0..1)] {
                let error = read.unwrap_err();
                assert!(error.says_damage() && error.to_string().contains(what), "{kind:?}: {error}");
            }
            store.write(kind, called, b"x").unwrap();
            assert_eq!(store.read(kind, called).unwrap(), b"x", "{kind:?}: {what}");
            store.remove(kind, called).unwrap();
            make(what, &path);
            store.remove(kind, called).unwrap();
            assert_eq!(store.size(kind, called).unwrap(), None, "{kind:?}: {what}");
        }
        store.write(FileKind::Config, "config", b"config").unwrap();
    }
}

#[test]
fn a_listing_that_fails_is_an_error() {
    let (folder, store) = created();
    let id = name(b"pack");
    store.write(FileKind::Pack, &id, b"pack").unwrap();
    // A file where a folder of packs should be can't be listed, not even by root.
    let first = folder.path().join("data/00");
    fs::remove_dir(&first).unwrap();
    fs::write(&first, b"").unwrap();
    assert!(store.list(FileKind::Pack).is_err());
    fs::remove_file(&first).unwrap();
    assert_eq!(store.list(FileKind::Pack).unwrap().len(), 1);
    fs::remove_dir_all(folder.path().join("snapshots")).unwrap();
    let error = store.list(FileKind::Snapshot).unwrap_err();
    assert!(matches!(error.kind, Kind::NoRepository), "{error}");
}

#[test]
fn a_disk_that_is_not_mounted_is_not_filled() {
    let mount_point = tempfile::tempdir().unwrap();
    let store = at(mount_point.path());
    for kind in FileKind::LISTED {
        let error = store.write(kind, &name(b"x"), b"x").unwrap_err();
        assert!(matches!(error.kind, Kind::NoRepository), "{error}");
    }
    assert_eq!(fs::read_dir(mount_point.path()).unwrap().count(), 0);
}

#[test]
fn an_empty_folder_that_got_lost_in_copying_is_made_again() {
    let (folder, store) = created();
    fs::remove_dir(folder.path().join("locks")).unwrap();
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    for kind in [FileKind::Lock, FileKind::Pack] {
        store.write(kind, &name(b"x"), b"x").unwrap();
        assert_eq!(store.read(kind, &name(b"x")).unwrap(), b"x");
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let disk = SmallDisk::mount(4 << 20);
    let store = at(disk.path());
    store.create().unwrap();
    let small = Random::new(1).bytes(2 << 20);
    store.write(FileKind::Pack, &name(&small), &small).unwrap();
    let large = Random::new(2).bytes(3 << 20);
    let error = store.write(FileKind::Pack, &name(&large), &large).unwrap_err();
    assert!(matches!(error.kind, Kind::Full), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(store.size(FileKind::Pack, &name(&large)).unwrap(), None);
    assert_eq!(listing(&*store, FileKind::Pack).len(), 1);
    // Its half is gone too: what fits, fits again.
    let fits = Random::new(3).bytes(1 << 20);
    store.write(FileKind::Pack, &name(&fits), &fits).unwrap();
    assert!(store.read(FileKind::Pack, &name(&small)).unwrap() == small);
}

#[test]
fn a_read_only_disk_refuses_writes_and_is_read() {
    let disk = SmallDisk::mount(4 << 20);
    let store = at(disk.path());
    store.create().unwrap();
    store.write(FileKind::Pack, &name(b"x"), b"x").unwrap();
    disk.set_read_only(true);
    for result in [
        store.write(FileKind::Pack, &name(b"y"), b"y"),
        store.remove(FileKind::Pack, &name(b"x")),
        store.create(),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    }
    assert_eq!(store.read(FileKind::Pack, &name(b"x")).unwrap(), b"x");
    assert_eq!(store.list(FileKind::Pack).unwrap().len(), 1);
}

#[test]
fn nothing_is_written_through_a_link_that_leads_outside() {
    let (folder, store) = created();
    let outside = tempfile::tempdir().unwrap();
    let id = name(b"x");
    for inside in ["snapshots", &format!("data/{}", &id[..2]), "data"] {
        let inside = folder.path().join(inside);
        fs::rename(&inside, inside.with_extension("away")).unwrap();
        symlink(outside.path(), &inside).unwrap();
    }
    for kind in [FileKind::Snapshot, FileKind::Pack] {
        let error = store.write(kind, &id, b"x").unwrap_err();
        assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    }
    fs::write(outside.path().join(&id), b"mine").unwrap();
    assert!(store.remove(FileKind::Snapshot, &id).is_err());
    assert_eq!(fs::read(outside.path().join(&id)).unwrap(), b"mine");
    assert!(store.create().is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_place_of_a_file_is_replaced_and_not_followed() {
    let (folder, store) = created();
    let victim = folder.path().join("victim");
    fs::write(&victim, b"mine").unwrap();
    let id = name(b"x");
    symlink(&victim, folder.path().join(FileKind::Key.path(&id))).unwrap();
    store.write(FileKind::Key, &id, b"x").unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
    assert_eq!(store.read(FileKind::Key, &id).unwrap(), b"x");
}

#[test]
fn what_killed_writers_left_is_tidied_up_after_a_day() {
    let (folder, store) = created();
    let id = name(b"x");
    let left: Vec<_> = ["keys", "data/00", &format!("data/{}", &id[..2]), "."]
        .map(|place| folder.path().join(place).join(".releve-0123456789abcdef"))
        .into();
    let young = folder.path().join("keys/.releve-fedcba9876543210");
    for path in left.iter().chain([&young]) {
        fs::write(path, b"half").unwrap();
    }
    left.iter().for_each(|path| age(path, 2));
    at(folder.path()).write(FileKind::Pack, &id, b"x").unwrap();
    assert!(!left[2].exists() && left[1].exists());
    store.create().unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    assert!(young.exists());
}

#[test]
fn a_damaged_file_can_be_written_anew() {
    let (folder, store) = created();
    let id = name(b"content");
    store.write(FileKind::Pack, &id, b"content").unwrap();
    let path = folder.path().join(FileKind::Pack.path(&id));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for damaged in [&b"conteNt"[..], b"cont"] {
        fs::write(&path, damaged).unwrap();
        store.write(FileKind::Pack, &id, b"content").unwrap();
        assert_eq!(store.read(FileKind::Pack, &id).unwrap(), b"content");
    }
}

#[test]
fn for_want_of_room_what_a_killed_writer_left_goes_one_by_one_and_nothing_else() {
    let (folder, store) = created();
    let ours =
        ["keys", "data/ab", "index"].map(|dir| folder.path().join(dir).join(".releve-0123456789abcdef"));
    let others = ["data/ab/.releve-notes", "keys/notes", "locks/.releve-0123456789abcdef"]
        .map(|path| folder.path().join(path));
    for path in ours.iter().chain(&others) {
        fs::write(path, "left").unwrap();
    }
    for left in (0..3).rev() {
        assert!(store.remove_left_behind().unwrap());
        assert_eq!(ours.iter().filter(|path| path.exists()).count(), left);
    }
    assert!(!store.remove_left_behind().unwrap() && others.iter().all(|path| path.exists()));
    let id = name(b"x");
    assert_eq!(store.written(FileKind::Pack, &id), None);
    store.write(FileKind::Pack, &id, b"x").unwrap();
    assert!(store.written(FileKind::Pack, &id).is_some());
}

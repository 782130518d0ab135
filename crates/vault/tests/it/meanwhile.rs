//! What is read while others write: packs are written first, then indexes, then points, and whoever reads goes the other way.

use crate::faulty_store::{Faults, FaultyStore};
use crate::requests::point;
use jiff::Timestamp;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use vault::keys::{MasterKey, prove};
use vault::store::in_folder;
use vault::verify::{VerifyOptions, Window, verify};
use vault::{Holder, Password, Progress, Repository};

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

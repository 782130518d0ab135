//! Every store keeps the contract, also when what it stands on breaks.

mod file;
mod pace;
mod s3;
mod sftp;

use crate::contract::{Freedom, keeps_the_contract, name};
use crate::faulty_store::{Call, Faults, FaultyStore};
use std::time::Duration;
use testkit::S3Server;
use vault::store::{Asking, Credentials, Limits, open, open_with};
use vault::{FileKind, Kind};

#[test]
fn an_address_that_makes_no_sense_is_told_what_to_write() {
    for (address, hint) in [
        ("/srv/vault", "file:///srv/vault"),
        ("ftp://host/vault", "sftp://bucket"),
        ("s3://b?endpoint=http://s3.example", "https://s3.example"),
        ("sftp://me:secret@host/x", "ssh-copy-id"),
    ] {
        let error = open(address, &Credentials::default()).unwrap_err();
        assert!(matches!(error.kind, Kind::BadAddress(_)), "{error}");
        let text = error.to_string();
        assert!(hint == "sftp://bucket" || text.contains(hint), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_wrapper_without_faults_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/vault", folder.path().display());
    let inner = open(&address, &Credentials::default()).unwrap();
    keeps_the_contract(&FaultyStore::new(inner, &Faults::default()), &Freedom { folders: true });
}

#[test]
fn a_store_that_lists_names_twice_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/vault", folder.path().display());
    let faults = Faults::default();
    FileKind::LISTED.into_iter().for_each(|kind| faults.list_twice(kind));
    let store = FaultyStore::new(open(&address, &Credentials::default()).unwrap(), &faults);
    keeps_the_contract(&store, &Freedom { folders: true });
}

#[test]
fn a_folder_that_is_only_asked_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/vault", folder.path().display());
    let limits = Limits { asking: Asking::within(Duration::from_secs(20)), ..quick() };
    let store = open_with(&address, &Credentials::default(), &limits).unwrap();
    keeps_the_contract(&*store, &Freedom { folders: true });
}

#[test]
fn of_two_lengths_under_one_name_the_one_that_the_name_leads_to_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/vault", folder.path().display());
    let faults = Faults::default();
    let store = FaultyStore::new(open(&address, &Credentials::default()).unwrap(), &faults);
    let store: &dyn vault::Store = &store;
    store.create().unwrap();
    let id = name(b"content");
    store.write(FileKind::Snapshot, &id, b"content").unwrap();
    faults.list_shorter(FileKind::Snapshot);
    assert_eq!(crate::contract::listing(store, FileKind::Snapshot), [(id, 7)]);
}

#[test]
fn a_wrapper_fails_as_planned() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("file://{}/vault", folder.path().display());
    let faults = Faults::default();
    let store = FaultyStore::new(open(&address, &Credentials::default()).unwrap(), &faults);
    let store: &dyn vault::Store = &store;
    store.create().unwrap();
    let id = name(b"content");
    faults.fail(Call::Write, FileKind::Pack, 1, 1, || Kind::Full);
    store.write(FileKind::Pack, &id, b"content").unwrap();
    assert!(matches!(store.write(FileKind::Pack, &id, b"content").unwrap_err().kind, Kind::Full));
    store.write(FileKind::Pack, &id, b"content").unwrap();
    faults.damage(FileKind::Pack, 0, 2);
    assert_ne!(store.read(FileKind::Pack, &id).unwrap(), b"content");
    faults.heal();
    assert_eq!(store.read(FileKind::Pack, &id).unwrap(), b"content");
    assert_eq!(faults.count(Call::Write, FileKind::Pack), 3);
}

fn credentials() -> Credentials {
    Credentials {
        access_key: Some(S3Server::ACCESS_KEY.into()),
        secret_key: Some(S3Server::SECRET_KEY.into()),
        session_token: None,
        renew: None,
    }
}

// Bounds that a test can wait for.
fn quick() -> Limits {
    Limits {
        pause: Duration::from_millis(10),
        patience: Duration::from_secs(1),
        stall: Duration::from_millis(700),
        bytes_per_second_min: 8 << 20,
        ..Limits::default()
    }
}

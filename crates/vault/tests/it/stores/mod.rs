//! Every store keeps the contract, also when what it stands on breaks.

mod file;
mod pace;
mod s3;
mod sftp;

use crate::contract::{Freedom, keeps_the_contract, name};
use crate::faulty_store::{Call, Faults, FaultyStore};
use std::time::Duration;
use testkit::S3Server;
use vault::store::{Credentials, Limits, open};
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
    }
}

// Bounds that a test can wait for.
fn quick() -> Limits {
    Limits {
        tries: 4,
        pause: Duration::from_millis(10),
        patience: Duration::from_secs(10),
        stall: Duration::from_millis(700),
        bytes_per_second_min: 8 << 20,
        pace: None,
    }
}

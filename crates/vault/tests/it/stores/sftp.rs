//! A folder behind a real OpenSSH server as a store.

use super::quick;
use crate::contract::{Freedom, keeps_the_contract, listing, name};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::{Random, SmallDisk, SshServer};
use vault::store::{Credentials, Limits, open, open_with};
use vault::{FileKind, Kind, Store};

fn limits() -> Limits {
    // A login takes its time on a busy machine.
    Limits { stall: Duration::from_secs(10), patience: Duration::from_secs(12), ..quick() }
}

fn at(address: &str) -> Box<dyn Store> {
    open_with(address, &Credentials::default(), &limits()).unwrap()
}

fn created(server: &SshServer) -> Box<dyn Store> {
    let store = at(&server.address("vault"));
    store.create().unwrap();
    store.write(FileKind::Config, "config", b"config").unwrap();
    store
}

#[test]
fn a_folder_behind_ssh_keeps_the_contract() {
    let server = SshServer::start();
    let store = open(&server.address("a/new/vault"), &Credentials::default()).unwrap();
    keeps_the_contract(&*store, &Freedom { folders: true });
}

#[test]
fn connections_that_drop_are_made_anew() {
    let server = SshServer::start();
    let store = created(&server);
    for round in 0..3u8 {
        let content = [round; 1000];
        store.write(FileKind::Pack, &name(&content), &content).unwrap();
        server.drop_connections();
        assert_eq!(store.read(FileKind::Pack, &name(&content)).unwrap(), content);
    }
}

#[test]
fn a_connection_that_drops_in_the_middle_of_a_write_is_survived() {
    let server = SshServer::start();
    let store = created(&server);
    let content = Random::new(1).bytes(64 << 20);
    std::thread::scope(|scope| {
        let write = scope.spawn(|| store.write(FileKind::Pack, &name(&content), &content));
        let folder = server.folder().join("vault/data").join(&name(&content)[..2]);
        let begun = testkit::wait_until(Duration::from_secs(10), || {
            fs::read_dir(&folder)
                .unwrap()
                .flatten()
                .any(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 0))
        });
        assert!(begun);
        server.drop_connections();
        write.join().unwrap().unwrap();
    });
    assert!(store.read(FileKind::Pack, &name(&content)).unwrap() == content);
    assert_eq!(listing(&*store, FileKind::Pack).len(), 1);
}

#[test]
fn a_server_that_is_down_is_out_of_reach_and_found_again() {
    let mut server = SshServer::start();
    created(&server);
    let limits = Limits { patience: Duration::from_secs(1), ..limits() };
    let store = open_with(&server.address("vault"), &Credentials::default(), &limits).unwrap();
    server.kill();
    let start = Instant::now();
    for error in [
        store.list(FileKind::Pack).unwrap_err(),
        store.read(FileKind::Config, "config").unwrap_err(),
        store.size(FileKind::Config, "config").unwrap_err(),
        store.write(FileKind::Pack, &name(b"x"), b"x").unwrap_err(),
    ] {
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
        assert!(error.is_retryable());
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    server.restart();
    assert_eq!(store.read(FileKind::Config, "config").unwrap(), b"config");
}

#[test]
fn silence_behind_ssh_is_given_up() {
    let server = SshServer::start();
    created(&server);
    let limits = Limits { patience: Duration::from_millis(1500), stall: Duration::from_secs(1), ..quick() };
    let store = open_with(&server.address("vault"), &Credentials::default(), &limits).unwrap();
    store.read(FileKind::Config, "config").unwrap();
    server.freeze();
    let start = Instant::now();
    let error = store.write(FileKind::Pack, &name(b"x"), b"x").unwrap_err();
    server.thaw();
    assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8));
    store.write(FileKind::Pack, &name(b"x"), b"x").unwrap();
}

#[test]
fn a_server_with_an_unknown_key_is_refused() {
    let server = SshServer::start();
    fs::write(server.known_hosts(), "").unwrap();
    let error = at(&server.address("vault")).create().unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    assert!(error.to_string().contains("by hand"), "{error}");
}

#[test]
fn a_key_that_the_server_does_not_know_is_refused() {
    let server = SshServer::start();
    let other = SshServer::start();
    fs::copy(other.identity(), server.identity()).unwrap();
    let error = at(&server.address("vault")).create().unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    assert!(error.to_string().contains("ssh-copy-id"), "{error}");
}

#[test]
fn a_full_disk_behind_ssh_is_said_and_leaves_nothing() {
    let server = SshServer::start();
    let disk = SmallDisk::mount(4 << 20);
    let store = at(&server.address_of(disk.path()));
    store.create().unwrap();
    let small = Random::new(1).bytes(2 << 20);
    store.write(FileKind::Pack, &name(&small), &small).unwrap();
    let large = Random::new(2).bytes(3 << 20);
    let error = store.write(FileKind::Pack, &name(&large), &large).unwrap_err();
    assert!(matches!(error.kind, Kind::Full), "{error}");
    assert_eq!(store.size(FileKind::Pack, &name(&large)).unwrap(), None);
    let fits = Random::new(3).bytes(1 << 20);
    store.write(FileKind::Pack, &name(&fits), &fits).unwrap();
}

#[test]
fn a_read_only_disk_behind_ssh_refuses() {
    let server = SshServer::start();
    let disk = SmallDisk::mount(4 << 20);
    let store = at(&server.address_of(disk.path()));
    store.create().unwrap();
    store.write(FileKind::Pack, &name(b"x"), b"x").unwrap();
    disk.set_read_only(true);
    let error = store.write(FileKind::Pack, &name(b"y"), b"y").unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    assert_eq!(store.read(FileKind::Pack, &name(b"x")).unwrap(), b"x");
}

#[test]
fn a_listing_behind_ssh_that_fails_is_an_error() {
    let server = SshServer::start();
    let store = created(&server);
    let first = server.folder().join("vault/data/00");
    fs::remove_dir(&first).unwrap();
    fs::write(&first, b"").unwrap();
    assert!(store.list(FileKind::Pack).is_err());
}

#[test]
fn an_empty_mount_point_behind_ssh_is_not_filled() {
    let server = SshServer::start();
    let store = created(&server);
    let root = server.folder().join("vault");
    fs::remove_dir(root.join("locks")).unwrap();
    store.write(FileKind::Lock, &name(b"x"), b"x").unwrap();
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    let error = store.write(FileKind::Pack, &name(b"x"), b"x").unwrap_err();
    assert!(matches!(error.kind, Kind::NoRepository), "{error}");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn what_killed_writers_left_behind_ssh_is_tidied_up_after_a_day() {
    let server = SshServer::start();
    let store = created(&server);
    let folder = server.folder().join("vault/keys");
    let (old, young) = (folder.join(".releve-0123456789abcdef"), folder.join(".releve-fedcba9876543210"));
    fs::write(&old, b"half").unwrap();
    fs::write(&young, b"half").unwrap();
    assert!(Command::new("touch").args(["-d", "2 days ago"]).arg(&old).status().unwrap().success());
    store.write(FileKind::Key, &name(b"x"), b"x").unwrap();
    assert!(!old.exists() && young.exists());
    assert_eq!(listing(&*store, FileKind::Key).len(), 1);
}

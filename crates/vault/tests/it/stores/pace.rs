//! Uploads at a rate, to every kind of store: held back as told, and neither taken for dead nor broken by it.

use super::{credentials, quick};
use crate::contract::{Freedom, keeps_the_contract, name};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use testkit::{Random, S3Server, SshServer};
use vault::store::{Credentials, Limits, Pace, open_with};
use vault::{FileKind, Store};

const RATE: u64 = 200_000;

fn at(address: &str, rate: u64) -> Box<dyn Store> {
    let pace = Pace::new(move || Some(rate));
    let stall = Duration::from_secs(if address.starts_with("sftp") { 10 } else { 1 });
    let limits = Limits { pace: Some(pace), stall, patience: stall, ..quick() };
    let keys = if address.starts_with("s3") { credentials() } else { Credentials::default() };
    open_with(address, &keys, &limits).unwrap()
}

/// Writes three packs at once and reads them.
fn is_held_back(store: &dyn Store) {
    store.create().unwrap();
    let mut random = Random::new(3);
    let packs: Vec<Vec<u8>> = (0..3).map(|_| random.bytes(150_000)).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for pack in &packs {
            scope.spawn(|| store.write(FileKind::Pack, &name(pack), pack).unwrap());
        }
    });
    let taken = begun.elapsed().as_secs_f64();
    // All three are under way together, longer than a store may be silent.
    let due = 450_000.0 / RATE as f64;
    assert!((due * 0.85..due * 3.0 + 5.0).contains(&taken), "{taken} s instead of {due} s");
    let begun = Instant::now();
    for pack in &packs {
        assert!(store.read(FileKind::Pack, &name(pack)).unwrap() == *pack);
    }
    assert!(begun.elapsed().as_secs_f64() < due / 2.0, "reading is not held back");
}

#[test]
fn uploads_to_a_folder_are_held_back_and_reading_is_not() {
    let folder = tempfile::tempdir().unwrap();
    is_held_back(&*at(&format!("file://{}/vault", folder.path().display()), RATE));
}

#[test]
fn uploads_to_a_bucket_are_held_back_and_reading_is_not() {
    let server = S3Server::start();
    is_held_back(&*at(&server.address("vault"), RATE));
}

#[test]
fn uploads_over_ssh_are_held_back_and_reading_is_not() {
    let server = SshServer::start();
    is_held_back(&*at(&server.address("vault"), RATE));
}

#[test]
fn a_store_at_a_rate_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let (server, ssh) = (S3Server::start(), SshServer::start());
    let fast = 500_000_000;
    let local = format!("file://{}/vault", folder.path().display());
    keeps_the_contract(&*at(&local, fast), &Freedom { folders: true });
    keeps_the_contract(&*at(&server.address("vault"), fast), &Freedom { folders: false });
    keeps_the_contract(&*at(&ssh.address("vault"), fast), &Freedom { folders: true });
}

#[test]
fn small_files_pass_and_a_limit_that_ends_lets_the_rest_go() {
    let folder = tempfile::tempdir().unwrap();
    let rate = Arc::new(AtomicU64::new(1000));
    let asked = Arc::clone(&rate);
    let pace = Pace::new(move || Some(asked.load(Relaxed)).filter(|rate| *rate > 0));
    let limits = Limits { pace: Some(pace), ..quick() };
    let address = format!("file://{}/vault", folder.path().display());
    let store = open_with(&address, &Credentials::default(), &limits).unwrap();
    store.create().unwrap();
    let begun = Instant::now();
    let small = vec![1; 10_000];
    (0..20u8).for_each(|at| store.write(FileKind::Lock, &name(&[at]), &small).unwrap());
    let pack = vec![2; 100_000];
    std::thread::scope(|scope| {
        scope.spawn(|| store.write(FileKind::Pack, &name(&pack), &pack).unwrap());
        testkit::pause(Duration::from_millis(300));
        rate.store(0, Relaxed);
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

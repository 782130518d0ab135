//! What is held, for how long, and what comes back.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::{Bucket, LockedBucket, MotoServer, S3Server};
use vault::immutable::{HoldOptions, UndeleteOptions, hold, undelete};
use vault::store::{Canary, Credentials, Limits, Pace, open_held};
use vault::{FileId, FileKind, Holder, Kind, Lock, LockKind, Password, Progress, Repository, Store};

const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn keys() -> Credentials {
    Credentials {
        access_key: Some(S3Server::ACCESS_KEY.into()),
        secret_key: Some(S3Server::SECRET_KEY.into()),
        session_token: None,
        renew: None,
    }
}

fn store(address: &str, period: Option<SignedDuration>) -> Box<dyn Store> {
    open_held(address, &keys(), &Limits::default(), period).unwrap()
}

fn vault(server: &MotoServer) -> Arc<Repository> {
    let place = store(&server.address("vault"), Some(MONTH));
    let password = Password::new(b"secret".to_vec());
    Arc::new(Repository::create(place, &password, "host", Timestamp::now()).unwrap())
}

fn put(repository: &Repository, kind: FileKind, content: &[u8]) -> String {
    let name = FileId::of(content).to_string();
    repository.store().write(kind, &name, content).unwrap();
    name
}

fn held(repository: &Repository, now: Timestamp, dry_run: bool) -> vault::immutable::HoldReport {
    hold(repository, &HoldOptions { now, dry_run }, &Progress::default()).unwrap()
}

/// Returns for each key the mode and the end of its hold, as Amazon's client sees them.
fn audit(server: &MotoServer) -> BTreeMap<String, (Option<String>, Option<String>)> {
    serde_json::from_str(&server.audit()).unwrap()
}

#[test]
fn every_kind_of_file_is_held_from_the_start_and_locks_are_not() {
    let server = MotoServer::start(Bucket::Locked);
    let repository = vault(&server);
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        put(&repository, kind, format!("{kind:?}").as_bytes());
    }
    let holder = Holder { hostname: "host".into(), username: "me".into() };
    let lock = Lock::take(&repository, LockKind::Shared, &holder).unwrap();
    let now = Timestamp::now();
    let seen = audit(&server);
    assert_eq!(seen.len(), 6, "{seen:?}");
    for (key, (mode, until)) in &seen {
        if key.starts_with("vault/locks/") {
            assert_eq!(mode, &None, "{key}");
            continue;
        }
        let until: Timestamp = until.as_ref().unwrap().parse().unwrap();
        assert_eq!(mode.as_deref(), Some("COMPLIANCE"), "{key}");
        assert!((until - MONTH - now).get_seconds().abs() < 120, "{key} {until}");
    }
    drop(lock);
    assert!(repository.store().list(FileKind::Lock).unwrap().is_empty());
}

#[test]
fn what_lies_in_an_archive_is_asked_for_once_and_is_there_later() {
    let server = MotoServer::start(Bucket::Locked);
    let vault = vault(&server);
    crate::requests::point(&vault, 1);
    let packs = server.freeze();
    assert!(packs >= 2, "{packs}");
    vault.load_index().unwrap();
    let tree = vault.snapshots().unwrap().0.pop().unwrap().1.tree;
    let ask = || vault::thaw::thaw(&vault, tree, 7, &Progress::default()).unwrap();
    let first = ask();
    assert!(first.is_waiting() && first.asked > 0 && first.findings.is_empty(), "{first:?}");
    // moto's archive is quick: with the trees there, what they name is asked for.
    let (mut asked, mut last) = (first.asked, first);
    for _ in 0..3 {
        last = ask();
        asked += last.asked;
    }
    assert_eq!((asked, last.under_way + last.there), (packs, packs), "{last:?}");
}

#[test]
fn a_folder_has_no_archive() {
    let folder = tempfile::tempdir().unwrap();
    let place = vault::store::in_folder(folder.path());
    let error = place.thaw(FileKind::Pack, &"0".repeat(64), 7).unwrap_err();
    assert!(matches!(error.kind, Kind::Unsupported(_)), "{error}");
}

#[test]
fn what_is_held_is_sent_at_the_rate_that_was_set() {
    let server = MotoServer::start(Bucket::Locked);
    // 200 kB at 100 kB/s take longer than a store may be silent.
    let limits = Limits {
        pace: Some(Pace::new(|| Some(100_000))),
        stall: SignedDuration::from_secs(1).unsigned_abs(),
        ..Limits::default()
    };
    let place = open_held(&server.address("vault"), &keys(), &limits, Some(MONTH)).unwrap();
    let pack = testkit::Random::new(5).bytes(200_000);
    let name = FileId::of(&pack).to_string();
    let begun = std::time::Instant::now();
    place.write_owned(FileKind::Pack, &name, pack.clone()).unwrap();
    assert!(begun.elapsed().as_secs_f64() > 1.7, "{:?}", begun.elapsed());
    assert!(place.read(FileKind::Pack, &name).unwrap() == pack);
    let seen = audit(&server);
    assert!(seen.values().all(|(mode, _)| mode.as_deref() == Some("COMPLIANCE")), "{seen:?}");
}

#[test]
fn a_hold_is_made_longer_when_half_of_it_is_over_and_not_before() {
    let server = MotoServer::start(Bucket::Locked);
    let repository = vault(&server);
    put(&repository, FileKind::Snapshot, b"a");
    let now = Timestamp::now();
    let early = held(&repository, now + DAY, false);
    assert_eq!((early.files, early.held, early.extended), (3, 3, 0), "{early:?}");
    let looked = held(&repository, now + 20 * DAY, true);
    assert_eq!((looked.held, looked.extended), (0, 3), "{looked:?}");
    assert!(looked.until.unwrap() < now + 31 * DAY, "a dry run holds nothing");
    let late = held(&repository, now + 20 * DAY, false);
    assert_eq!(late.extended, 3, "{late:?}");
    assert!(late.until.unwrap() > now + 49 * DAY);
    let again = held(&repository, now + 21 * DAY, false);
    assert_eq!((again.held, again.extended), (3, 0), "{again:?}");
    assert_eq!(again.until.map(Timestamp::as_second), late.until.map(Timestamp::as_second));
}

#[test]
fn what_was_written_without_a_hold_can_be_deleted_now_and_is_held_from_then_on() {
    let server = MotoServer::start(Bucket::Locked);
    let repository = vault(&server);
    let loose = store(&server.address("vault"), None);
    loose.write(FileKind::Snapshot, &FileId::of(b"restic's").to_string(), b"restic's").unwrap();
    assert_eq!(held(&repository, Timestamp::now(), true).until, None);
    let report = held(&repository, Timestamp::now(), false);
    assert_eq!((report.extended, report.until.is_some()), (1, true), "{report:?}");
}

#[test]
fn only_a_store_that_refuses_to_delete_a_held_file_is_proven() {
    let try_canary = |address: &str| store(address, Some(MONTH)).versions().unwrap().try_canary().unwrap();
    let lost = |address: &str| match try_canary(address) {
        Canary::Lost(why) => why,
        other => panic!("{address} is called {other:?}"),
    };
    let locked = MotoServer::start(Bucket::Locked);
    assert_eq!(try_canary(&locked.address("vault")), Canary::Held);
    let lenient = MotoServer::start(Bucket::Lenient);
    assert!(lost(&lenient.address("vault")).contains("made shorter"));
    let plain = MotoServer::start(Bucket::Plain);
    assert!(lost(&plain.address("vault")).contains("nothing can be written as held"));
    // It takes the words of Object Lock and does nothing about them.
    let deaf = S3Server::start();
    assert!(lost(&deaf.address("vault")).contains("keeps no versions"));
    // It checks every signature before it says that it doesn't know the request.
    let place = store(&deaf.address("vault"), Some(MONTH));
    let error = place.versions().unwrap().versions(FileKind::Pack).unwrap_err();
    assert!(error.to_string().contains("NotImplemented"), "{error}");
}

#[test]
fn hidden_and_overwritten_files_come_back_and_what_was_hidden_long_ago_stays_away() {
    let server = MotoServer::start(Bucket::Locked);
    let repository = vault(&server);
    let pruned = put(&repository, FileKind::Snapshot, b"pruned");
    repository.store().remove(FileKind::Snapshot, &pruned).unwrap();
    testkit::pause(std::time::Duration::from_millis(1100));
    let intrusion = Timestamp::now();
    testkit::pause(std::time::Duration::from_millis(1100));
    let hidden = put(&repository, FileKind::Pack, b"hidden");
    let overwritten = put(&repository, FileKind::Pack, b"overwritten");
    let both = put(&repository, FileKind::Index, b"both");
    let place = store(&server.address("vault"), None);
    let config = place.read(FileKind::Config, "config").unwrap();
    for (kind, name) in
        [(FileKind::Pack, &overwritten), (FileKind::Index, &both), (FileKind::Config, &"config".to_owned())]
    {
        place.write(kind, name, b"pay us").unwrap();
    }
    for (kind, name) in [(FileKind::Pack, &hidden), (FileKind::Index, &both)] {
        place.remove(kind, name).unwrap();
    }
    // A file of the intruder's own, that he hid himself: nothing that anyone would miss.
    let junk = FileId::of(b"junk").to_string();
    place.write(FileKind::Index, &junk, b"something else").unwrap();
    place.remove(FileKind::Index, &junk).unwrap();

    let back = |dry_run| {
        let options = UndeleteOptions { since: Some(intrusion), dry_run };
        let report = undelete(&*place, &options, &Progress::default()).unwrap();
        assert!(report.failures.is_empty(), "{report:?}");
        (report.hidden.len(), report.overwritten.len())
    };
    assert_eq!(back(true), (2, 2));
    assert!(place.read(FileKind::Pack, &hidden).is_err(), "a dry run changes nothing");
    assert_eq!(back(false), (2, 2));
    assert_eq!(place.read(FileKind::Pack, &hidden).unwrap(), b"hidden");
    assert_eq!(place.read(FileKind::Pack, &overwritten).unwrap(), b"overwritten");
    assert_eq!(place.read(FileKind::Index, &both).unwrap(), b"both");
    assert_eq!(place.read(FileKind::Config, "config").unwrap(), config);
    assert!(place.read(FileKind::Snapshot, &pruned).unwrap_err().is_not_found());
    assert!(place.read(FileKind::Index, &junk).unwrap_err().is_not_found());
    assert_eq!(back(false), (0, 0), "a second time there is nothing to do");
}

#[test]
fn a_listing_of_many_pages_is_complete() {
    let server = LockedBucket::start();
    let place = store(&server.address("vault"), Some(MONTH));
    for content in 0u8..20 {
        let name = FileId::of(&[content]).to_string();
        place.write(FileKind::Pack, &name, &[content]).unwrap();
        if content % 2 == 0 {
            place.remove(FileKind::Pack, &name).unwrap();
        }
    }
    let versions = place.versions().unwrap().versions(FileKind::Pack).unwrap();
    assert_eq!(versions.iter().filter(|version| !version.is_mark).count(), 20);
    assert_eq!(versions.iter().filter(|version| version.is_mark && version.is_current).count(), 10);
}

#[test]
fn an_overwritten_file_is_a_finding_and_the_right_version_is_what_is_held() {
    let server = MotoServer::start(Bucket::Locked);
    let repository = vault(&server);
    let name = put(&repository, FileKind::Snapshot, b"right");
    store(&server.address("vault"), None).write(FileKind::Snapshot, &name, b"wrong").unwrap();
    let report = held(&repository, Timestamp::now() + 20 * DAY, false);
    assert_eq!(report.finding_count, 1, "{report:?}");
    assert!(report.findings[0].contains("overwrote"), "{report:?}");
    let versions = repository.store().versions().unwrap();
    let all = versions.versions(FileKind::Snapshot).unwrap();
    let ends: Vec<_> =
        all.iter().map(|version| versions.held_until(FileKind::Snapshot, version).unwrap()).collect();
    assert!(ends[0].unwrap() > Timestamp::now() + 45 * DAY, "{ends:?}");
    assert_eq!(ends[1], None);
}

#[test]
fn a_bucket_without_object_lock_is_not_written_to_as_if_it_had_one() {
    let server = MotoServer::start(Bucket::Plain);
    let place = store(&server.address("vault"), Some(MONTH));
    let error = Repository::create(place, &Password::new(b"secret".to_vec()), "host", Timestamp::now());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("create the bucket with Object Lock"), "{error}");
    assert!(audit(&server).is_empty());
}

#[test]
fn an_account_of_ssh_holds_nothing_and_says_so() {
    let error = open_held("sftp://nas/vault", &keys(), &Limits::default(), Some(MONTH)).unwrap_err();
    assert!(matches!(error.kind, Kind::Unsupported(_)), "{error}");
}

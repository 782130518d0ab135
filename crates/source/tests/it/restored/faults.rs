//! Vaults that die, hang or lie while they are read, and targets that give out.

use super::{Pair, open, password};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::{Fault, FaultyProxy, Random, S3Server, SmallDisk, When, tree};
use vault::restore::{RestoreOptions, restore};
use vault::store::{Credentials, Limits, Listed, open_with};
use vault::{Error, FileKind, Kind, Progress, Repository, Result, Store};

/// What a store does with packs after so many reads of them.
#[derive(Debug, Clone, Copy)]
enum Then {
    Dies,
    Hangs,
    Refuses,
    /// Gives other bytes than those asked for.
    Lies,
    /// Says that nothing is there.
    Forgets,
}

/// A store that is sound for a while.
#[derive(Debug)]
struct Failing {
    inner: Box<dyn Store>,
    sound: AtomicUsize,
    then: Then,
    /// Lets go of whoever hangs, so that the test ends.
    released: Arc<AtomicBool>,
    /// It was asked after it had given out.
    gave_out: Arc<AtomicBool>,
}

impl Failing {
    fn fault(&self, range: &Range<u64>) -> Option<Result<Vec<u8>>> {
        if self.sound.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return None;
        }
        self.gave_out.store(true, Ordering::Relaxed);
        let error = |kind| Some(Err(Error::new("read", kind)));
        match self.then {
            Then::Dies => error(Kind::Unreachable("it is dead".into())),
            Then::Refuses => error(Kind::Refused("not you".into())),
            Then::Forgets => error(Kind::NotFound),
            Then::Lies => Some(Ok(Random::new(1).bytes((range.end - range.start) as usize))),
            Then::Hangs => {
                while !self.released.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                error(Kind::Unreachable("it hung".into()))
            }
        }
    }
}

impl Store for Failing {
    fn address(&self) -> String {
        self.inner.address()
    }
    fn create(&self) -> Result<()> {
        self.inner.create()
    }
    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        self.inner.list(kind)
    }
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.inner.read(kind, name)
    }
    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.fault(&range).unwrap_or_else(|| self.inner.read_range(kind, name, range))
    }
    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        self.inner.size(kind, name)
    }
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.inner.write(kind, name, bytes)
    }
    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.inner.remove(kind, name)
    }
    fn lanes(&self) -> usize {
        self.inner.lanes()
    }
    fn is_local(&self) -> bool {
        self.inner.is_local()
    }
}

fn failing(pair: &Pair, vault: &str, sound: usize, then: Then) -> (Arc<Repository>, Arc<AtomicBool>) {
    let (vault, released, _) = giving_out(pair, vault, sound, then);
    (vault, released)
}

/// Returns the vault, what lets go of whoever hangs in it, and whether it was asked after it had given out.
fn giving_out(
    pair: &Pair,
    vault: &str,
    sound: usize,
    then: Then,
) -> (Arc<Repository>, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (released, gave_out) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (inner, sound) = (pair.store(vault), AtomicUsize::new(sound));
    let store =
        Failing { inner, sound, then, released: Arc::clone(&released), gave_out: Arc::clone(&gave_out) };
    (open(Box::new(store)), released, gave_out)
}

#[test]
fn a_vault_that_gives_out_in_the_middle_costs_time_and_no_data() {
    let pair = Pair::of(|data| _ = tree::grow(data, 7, 120));
    for then in [Then::Dies, Then::Hangs, Then::Refuses, Then::Lies, Then::Forgets] {
        let _ = fs::remove_dir_all(pair.path("out"));
        let (near, released, gave_out) = giving_out(&pair, "near", 3, then);
        let options = RestoreOptions { patience: Duration::from_millis(300), ..pair.options() };
        let report = pair.restore(&[near, pair.open("far")], &options);
        released.store(true, Ordering::Relaxed);
        assert!(report.is_whole(), "{then:?}: {report:?}");
        // A vault that answers later than the other may not be asked so often.
        let told = report.vault_faults.keys().any(|vault| vault.ends_with("near"));
        assert!(told || !gave_out.load(Ordering::Relaxed), "{then:?}: {report:?}");
        pair.is_back();
    }
}

#[test]
fn of_a_lone_vault_that_gives_out_what_was_read_is_there_and_the_rest_is_named() {
    let pair = Pair::of(|data| _ = tree::grow(data, 8, 60));
    for then in [Then::Dies, Then::Refuses, Then::Lies, Then::Forgets] {
        let _ = fs::remove_dir_all(pair.path("out"));
        let (near, _) = failing(&pair, "near", 12, then);
        let options = RestoreOptions { patience: Duration::from_millis(20), ..pair.options() };
        let report = pair.restore(&[near], &options);
        assert!(!report.is_whole(), "{then:?}");
        pair.is_honest(&report);
    }
}

/// Two vaults: `far` is taken to an S3 server behind a proxy, `near` is gone but for its trees.
struct Distant {
    pair: Pair,
    _server: S3Server,
    proxy: FaultyProxy,
    far: Arc<Repository>,
}

fn distant() -> Distant {
    let pair = Pair::of(|data| _ = tree::grow(data, 9, 60));
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let folder = server.folder().join("far");
    copy(&pair.path("far"), &folder);
    let limits = Limits {
        pause: Duration::from_millis(5),
        patience: Duration::from_millis(350),
        stall: Duration::from_millis(300),
        ..Limits::default()
    };
    let credentials = Credentials {
        access_key: Some(S3Server::ACCESS_KEY.into()),
        secret_key: Some(S3Server::SECRET_KEY.into()),
        session_token: None,
        renew: None,
    };
    let store = open_with(&server.address_at(proxy.port(), "far"), &credentials, &limits).unwrap();
    let repository = Repository::open(store, &password()).unwrap();
    repository.load_index().unwrap();
    Distant { pair, _server: server, proxy, far: Arc::new(repository) }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            _ = fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_distant_vault_alone_gives_everything_back() {
    let Distant { pair, far, proxy: _proxy, _server } = distant();
    let report = pair.restore(&[far], &pair.options());
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
}

#[test]
fn a_distant_vault_that_refuses_stalls_or_lies_is_made_up_for_by_the_other() {
    let Distant { pair, proxy, far, _server } = distant();
    for fault in [
        Fault::Status(500),
        Fault::Status(403),
        Fault::Status(404),
        Fault::StallAnswer(400),
        // Less than it said that it would send.
        Fault::CutAnswer(2000),
        Fault::LoseAnswer,
    ] {
        let _ = fs::remove_dir_all(pair.path("out"));
        proxy.plan(When::request("GET", "/data/"), fault);
        // The distant one comes first in the list and is the only one that has all; the local one has lost half of its packs.
        let near = pair.open("near");
        let options = RestoreOptions { patience: Duration::from_millis(500), ..pair.options() };
        let report = pair.restore(&[Arc::clone(&far), near], &options);
        proxy.heal();
        assert!(report.is_whole(), "{fault:?}: {report:?}");
        pair.is_back();
    }
}

#[test]
fn a_distant_vault_makes_up_for_a_local_one_that_was_wiped() {
    let Distant { pair, proxy, far, _server } = distant();
    let near = pair.open("near");
    fs::remove_dir_all(pair.path("near/data")).unwrap();
    proxy.plan(When::request("GET", "/data/").first(2), Fault::Status(503));
    let report = pair.restore(&[near, far], &pair.options());
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
}

#[test]
fn of_a_distant_vault_that_sends_another_body_nothing_is_taken() {
    let Distant { pair, _server: server, far, proxy: _proxy } = distant();
    for path in super::files(&server.folder().join("far/data")) {
        let length = fs::metadata(&path).unwrap().len() as usize;
        super::overwrite(&path, &Random::new(2).bytes(length));
    }
    let result = restore(&[Arc::clone(&far)], pair.tree, &pair.options(), &Progress::default());
    assert!(matches!(result.unwrap_err().kind, Kind::Damaged(_)));
    let report = pair.restore(&[far, pair.open("near")], &pair.options());
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
}

#[test]
fn a_target_that_is_full_names_what_did_not_fit_and_holds_the_rest() {
    let pair = Pair::of(|data| {
        tree::grow(data, 10, 40);
        fs::write(data.join("noise"), Random::new(1).bytes(24 << 20)).unwrap();
    });
    let disk = SmallDisk::mount(20 << 20);
    std::os::unix::fs::symlink(disk.path(), pair.path("out")).unwrap();
    let report = pair.restore(&pair.both(), &pair.options());
    pair.is_honest(&report);
    let full = report.skipped.iter().find(|trouble| trouble.path.ends_with("noise")).unwrap();
    assert!(full.why.contains("No space left"), "{full:?}");
    assert!(report.restored > 0);
}

#[test]
fn a_target_that_is_read_only_is_an_error_or_names_everything() {
    let pair = Pair::of(|data| _ = tree::grow(data, 11, 20));
    let disk = SmallDisk::mount(20 << 20);
    std::os::unix::fs::symlink(disk.path(), pair.path("out")).unwrap();
    disk.set_read_only(true);
    let report = pair.restore(&pair.both(), &pair.options());
    assert!(report.is_nothing(), "{report:?}");
    assert!(report.skipped[0].why.contains("Read-only"), "{:?}", report.skipped[0]);
    assert!(report.skipped_count as usize >= super::files(&pair.data()).len());
    disk.set_read_only(false);
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    pair.is_back();
}

#[test]
fn a_hundred_megabytes_come_back_within_little_memory_and_few_handles() {
    let pair = Pair::of(|data| {
        for folder in 0..300 {
            fs::create_dir(data.join(format!("{folder}"))).unwrap();
            fs::write(data.join(format!("{folder}/a")), format!("{folder}")).unwrap();
        }
        for number in 0..150 {
            fs::write(data.join(format!("large-{number}")), Random::new(number).bytes(700_000)).unwrap();
        }
    });
    let open_now = || fs::read_dir("/proc/self/fd").unwrap().count();
    let (progress, before) = (Progress::default(), open_now());
    let vaults = pair.both();
    let options = RestoreOptions { memory: 8 << 20, ..pair.options() };
    let most = std::thread::scope(|scope| {
        let restoring = scope.spawn(|| restore(&vaults, pair.tree, &options, &progress).unwrap());
        let mut most = 0;
        while !restoring.is_finished() {
            most = most.max(open_now());
            std::thread::park_timeout(Duration::from_millis(2));
        }
        assert!(restoring.join().unwrap().is_whole());
        most
    });
    pair.is_back();
    assert!(most < before + 700, "{most} open files");
}

#[test]
fn an_interrupted_restore_goes_on_where_it_was() {
    let pair = Pair::of(|data| _ = tree::grow(data, 12, 200));
    let progress = Progress::default();
    progress.stop();
    let stopped = restore(&pair.both(), pair.tree, &pair.options(), &progress);
    assert!(matches!(stopped.unwrap_err().kind, Kind::Interrupted));
    let (near, released) = failing(&pair, "near", 30, Then::Hangs);
    let progress = Progress::default();
    let options = RestoreOptions { patience: Duration::from_millis(100), ..pair.options() };
    std::thread::scope(|scope| {
        let restoring = scope.spawn(|| restore(&[near], pair.tree, &options, &progress));
        let begun = Instant::now();
        while progress.bytes.load(Ordering::Relaxed) == 0 && begun.elapsed() < Duration::from_secs(10) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        progress.stop();
        released.store(true, Ordering::Relaxed);
        assert!(restoring.join().unwrap().is_err());
    });
    let first = super::files(&pair.path("out")).len();
    let report = pair.restore(&pair.both(), &pair.options());
    assert!(report.is_whole(), "{report:?}");
    assert!(report.unchanged > 0 || first == 0, "{report:?}");
    pair.is_back();
}

#[test]
fn a_file_that_lost_its_content_with_the_machines_power_is_noticed() {
    let pair = Pair::of(|data| fs::write(data.join("a"), Random::new(1).bytes(100_000)).unwrap());
    assert!(pair.restore(&pair.both(), &pair.options()).is_whole());
    let back = pair.back().join("a");
    let time = fs::metadata(&back).unwrap().modified().unwrap();
    fs::write(&back, vec![0; 100_000]).unwrap();
    fs::File::options().write(true).open(&back).unwrap().set_modified(time).unwrap();
    // As it looks to whoever trusts size and time.
    let report = pair.restore(&pair.both(), &pair.options());
    assert_eq!((report.unchanged, report.compared_after_crash), (1, false));
    // The mark of a restore that was on its way when the machine died.
    fs::write(pair.path("out/.releve-restore-00000000-000000000000"), "").unwrap();
    let report = pair.restore(&pair.both(), &pair.options());
    assert_eq!((report.restored, report.compared_after_crash), (1, true));
    assert_eq!(fs::metadata(&back).unwrap().size(), 100_000);
    // What came first is half of it: the other half compares too.
    let mark = pair.path(&format!("out/.releve-restore-{}-000000000000", pair.tree.short()));
    for (part, all) in [("first", false), ("rest", true)] {
        fs::write(&mark, "").unwrap();
        let is_first: vault::restore::IsFirst = Arc::new(|_| false);
        let part = if part == "first" {
            vault::restore::Part::First(is_first)
        } else {
            vault::restore::Part::Rest(is_first)
        };
        assert!(pair.restore(&pair.both(), &RestoreOptions { part, ..pair.options() }).compared_after_crash);
        assert_eq!(mark.exists(), !all);
    }
    fs::remove_file(pair.path("out/.releve-restore-00000000-000000000000")).unwrap();
    pair.is_back();
}

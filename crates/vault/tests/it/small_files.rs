//! One bit turned, empty, noise, gone, no file at all: what becomes of each small file of a vault. The table in docs/format.md, line by line.

use crate::faulty_store::{Call, Faults, FaultyStore};
use crate::sample::{PASSWORD, comes_back, holder, sample};
use jiff::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use testkit::Restic;
use vault::keys::{self, MasterKey};
use vault::repair::{RepairOptions, carry_out, examine};
use vault::store::in_folder;
use vault::verify::{VerifyOptions, Window, verify};
use vault::{Kind, Lock, LockKind, Password, Progress, Repository, Result};

const SECOND: &str = "the second password, as long as they come, and random";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Harm {
    Bit,
    Empty,
    Noise,
    Gone,
    /// A pipe has its name, which keeps whoever opens it waiting.
    Pipe,
    Folder,
}

const ALL: [Harm; 6] = [Harm::Bit, Harm::Empty, Harm::Noise, Harm::Gone, Harm::Pipe, Harm::Folder];

/// A copy of the sample, with a second key.
struct Place {
    folder: TempDir,
    path: PathBuf,
    vault: Arc<Repository>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, vault) = sample(folder.path());
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        keys::add(&vault, &password(SECOND), &holder(), now).unwrap();
        Self { folder, path, vault }
    }

    fn only(&self, folder: &str) -> PathBuf {
        fs::read_dir(self.path.join(folder)).unwrap().next().unwrap().unwrap().path()
    }

    fn harm(path: &Path, harm: Harm) {
        let mut bytes = fs::read(path).unwrap();
        match harm {
            Harm::Bit => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
            }
            Harm::Empty => bytes.clear(),
            Harm::Noise => bytes = testkit::Random::new(7).bytes(bytes.len()),
            Harm::Gone => return fs::remove_file(path).unwrap(),
            Harm::Pipe => {
                fs::remove_file(path).unwrap();
                let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
                return rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
            }
            Harm::Folder => {
                fs::remove_file(path).unwrap();
                return fs::create_dir(path).unwrap();
            }
        }
        fs::write(path, bytes).unwrap();
    }

    fn open(&self, text: &str) -> Result<Arc<Repository>> {
        let vault = Repository::open(in_folder(&self.path), &password(text))?;
        vault.load_index()?;
        Ok(Arc::new(vault))
    }

    /// Repairs the vault from itself alone, and returns what was found. After that nothing is left to do.
    fn repair(&self) -> Vec<String> {
        let options = RepairOptions { read: Window::ALL, now: Timestamp::now(), holder: holder() };
        let progress = Progress::default();
        let vault = self.open(SECOND).unwrap();
        let plan = examine(&vault, &[], &options, &progress).unwrap();
        let report = carry_out(&vault, &[], &plan, &options, &progress).unwrap();
        assert_eq!((report.lost, &report.findings), (0, &Vec::new()), "{plan:?}");
        let vault = self.open(SECOND).unwrap();
        assert_eq!(vault.lost_config(), None);
        let again = examine(&vault, &[], &options, &progress).unwrap();
        assert!(again.is_empty(), "{again:?}");
        plan.findings
    }

    fn gives_back(&self, text: &str) {
        comes_back(&self.open(text).unwrap(), &self.folder.path().join("out"));
    }

    /// Both judges accept the vault.
    fn is_accepted(&self) {
        Restic::new(self.path.display().to_string(), SECOND).must(&["check"]);
    }
}

fn password(text: &str) -> Password {
    Password::new(text.as_bytes().to_vec())
}

#[test]
fn without_its_config_a_vault_is_read_and_repaired() {
    for harm in ALL {
        let place = Place::new();
        let id = place.vault.id().to_owned();
        Place::harm(&place.path.join("config"), harm);
        let vault = place.open(PASSWORD).unwrap();
        assert!(vault.lost_config().is_some(), "{harm:?}");
        assert_eq!(vault.id() == id, harm == Harm::Bit, "{harm:?}: a turned bit loses nothing");
        assert_eq!(vault.id(), place.open(SECOND).unwrap().id(), "it is the same however often it is opened");
        let options = VerifyOptions { read: Window::default(), holder: holder() };
        let report = verify(&vault, &options, &Progress::default()).unwrap();
        assert_eq!((report.finding_count, report.sound.len()), (1, 1), "{report:?}");
        place.gives_back(PASSWORD);
        let found = place.repair();
        assert!(found.iter().any(|what| what.starts_with("config: ")), "{harm:?}: {found:?}");
        if harm != Harm::Noise {
            place.is_accepted();
        }
    }
}

#[test]
fn without_its_config_a_vault_opens_with_its_master_key_and_with_no_other() {
    let (place, other) = (Place::new(), Place::new());
    let master = MasterKey::of(&place.vault);
    fs::remove_file(place.path.join("config")).unwrap();
    fs::remove_dir_all(place.path.join("keys")).unwrap();
    let mut vault = Repository::open_with_master(in_folder(&place.path), &master).unwrap();
    assert_eq!(vault.lost_config(), Some("it is gone"));
    let id = other.vault.id().replace(|_| true, "a");
    vault.known_as(&id);
    assert_eq!(vault.id(), id, "what this machine remembers counts");
    fs::write(other.path.join("config"), b"").unwrap();
    // The sample's copies have one master key: another vault is one that was made anew.
    let strange = other.folder.path().join("strange");
    Repository::create(in_folder(&strange), &password(SECOND), "here", Timestamp::now()).unwrap();
    fs::remove_file(strange.join("config")).unwrap();
    let error = Repository::open_with_master(in_folder(&strange), &master).unwrap_err();
    assert!(matches!(error.kind, Kind::NoRepository), "{error}");
}

#[test]
fn a_vault_that_lost_its_config_is_never_made_anew() {
    let place = Place::new();
    fs::remove_file(place.path.join("config")).unwrap();
    fs::remove_dir_all(place.path.join("keys")).unwrap();
    let made = Repository::create(in_folder(&place.path), &password(SECOND), "here", Timestamp::now());
    assert!(matches!(made.unwrap_err().kind, Kind::AlreadyExists));
}

#[test]
fn a_damaged_key_of_several_is_put_right_or_goes_and_the_others_open() {
    for harm in ALL {
        let place = Place::new();
        let id = place.vault.key_id().unwrap();
        Place::harm(&place.path.join("keys").join(id.to_string()), harm);
        let opened = place.open(PASSWORD);
        assert_eq!(opened.is_ok(), harm == Harm::Bit, "{harm:?}: the turned bit is found by the key's name");
        place.gives_back(SECOND);
        let found = place.repair();
        assert_eq!(found.len(), usize::from(harm != Harm::Gone), "{harm:?}: {found:?}");
        place.is_accepted();
    }
}

#[test]
fn where_every_key_is_junk_it_is_said_that_they_are_and_the_master_key_opens() {
    for harm in [Harm::Empty, Harm::Noise, Harm::Pipe, Harm::Folder] {
        let place = Place::new();
        let master = MasterKey::of(&place.vault);
        for key in fs::read_dir(place.path.join("keys")).unwrap() {
            Place::harm(&key.unwrap().path(), harm);
        }
        let error = place.open(PASSWORD).unwrap_err();
        assert!(matches!(error.kind, Kind::KeysDamaged { damaged: 2, keys: 2 }), "{harm:?}: {error}");
        assert!(Repository::open_with_master(in_folder(&place.path), &master).is_ok());
    }
}

#[test]
fn a_key_that_was_changed_and_opens_still_gets_the_name_of_what_it_says() {
    let place = Place::new();
    let old = place.path.join("keys").join(place.vault.key_id().unwrap().to_string());
    let text = fs::read_to_string(&old).unwrap();
    fs::write(&old, format!("{text}\n\n")).unwrap();
    let found = place.repair();
    assert!(found.len() == 1 && found[0].contains("gets the name"), "{found:?}");
    assert!(!old.exists());
    place.gives_back(PASSWORD);
    place.is_accepted();
}

#[test]
fn a_damaged_snapshot_is_put_right_or_goes() {
    for harm in ALL {
        let place = Place::new();
        Place::harm(&place.only("snapshots"), harm);
        let (snapshots, damaged) = place.open(SECOND).unwrap().snapshots().unwrap();
        assert_eq!((snapshots.len(), damaged.len()), (0, usize::from(harm != Harm::Gone)), "{harm:?}");
        place.repair();
        match harm {
            Harm::Bit => place.gives_back(SECOND),
            _ => assert!(place.open(SECOND).unwrap().snapshots().unwrap().0.is_empty()),
        }
        if harm != Harm::Noise {
            place.is_accepted();
        }
    }
}

#[test]
fn a_snapshot_that_another_key_sealed_is_no_point_of_this_vault_and_goes() {
    let place = Place::new();
    let strange = testkit::Random::new(3).bytes(300);
    let name = vault::FileId::of(&strange).to_string();
    fs::write(place.path.join("snapshots").join(&name), strange).unwrap();
    let look = || {
        let options = VerifyOptions { read: Window::default(), holder: holder() };
        verify(&place.open(SECOND).unwrap(), &options, &Progress::default()).unwrap()
    };
    assert_eq!((look().finding_count, look().sound.len()), (1, 1));
    // What `verify` sends people to does help.
    place.repair();
    assert_eq!((look().finding_count, look().sound.len()), (0, 1));
    place.is_accepted();
}

#[test]
fn a_lost_index_is_made_anew_from_the_packs() {
    for harm in ALL {
        let place = Place::new();
        Place::harm(&place.only("index"), harm);
        place.gives_back(SECOND);
        assert!(!place.repair().is_empty() || harm == Harm::Gone);
        place.is_accepted();
    }
}

#[test]
fn a_junk_lock_holds_nobody_up_and_is_cleared_away() {
    for harm in ALL {
        let place = Place::new();
        let lock = Lock::take(&place.vault, LockKind::Shared, &holder()).unwrap();
        Place::harm(&place.only("locks"), harm);
        let found = place.repair();
        assert_eq!(found.len(), usize::from(harm != Harm::Gone), "{harm:?}: {found:?}");
        drop(lock);
        place.is_accepted();
    }
}

#[test]
fn a_pipe_in_the_place_of_a_pack_is_named_and_holds_nobody_up() {
    let place = Place::new();
    let folders = fs::read_dir(place.path.join("data")).unwrap().map(|folder| folder.unwrap().path());
    let pack = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).next().unwrap().unwrap();
    Place::harm(&pack.path(), Harm::Pipe);
    let options = VerifyOptions { read: Window::ALL, holder: holder() };
    let report = verify(&place.open(SECOND).unwrap(), &options, &Progress::default()).unwrap();
    let name = pack.file_name().into_string().unwrap();
    assert!(report.findings.iter().any(|what| what.contains(&name[..8])), "{report:?}");
    assert!(report.sound.is_empty(), "{report:?}");
}

#[test]
fn what_could_not_be_looked_at_is_neither_sound_nor_broken() {
    let place = Place::new();
    let whys: [fn() -> Kind; 2] = [
        || Kind::Archived("InvalidObjectState: it lies in an archive".into()),
        || Kind::Refused("AccessDenied: not yours".into()),
    ];
    for why in whys {
        let faults = Faults::default();
        let store = FaultyStore::new(in_folder(&place.path), &faults);
        let vault = Arc::new(Repository::open(Box::new(store), &password(PASSWORD)).unwrap());
        faults.fail(Call::Read, vault::FileKind::Pack, 0, 1000, why);
        let options = VerifyOptions { read: Window::ALL, holder: holder() };
        let report = verify(&vault, &options, &Progress::default()).unwrap();
        assert_eq!((report.finding_count, report.sound.len(), report.unsound.len()), (0, 0, 0), "{report:?}");
        assert_eq!(report.unknown.len(), 1, "{report:?}");
        assert!(report.unread_count > 0);
        let archived = matches!(why(), Kind::Archived(_));
        assert_eq!(!report.archived.is_empty(), archived, "{report:?}");
        // A repair that may not look says so, and changes nothing.
        let options = RepairOptions { read: Window::ALL, now: Timestamp::now(), holder: holder() };
        let error = examine(&vault, &[], &options, &Progress::default()).unwrap_err();
        assert!(!error.says_damage(), "{error}");
        faults.heal();
        let options = VerifyOptions { read: Window::ALL, holder: holder() };
        let report = verify(&vault, &options, &Progress::default()).unwrap();
        assert_eq!((report.unread_count, report.sound.len()), (0, 1), "{report:?}");
    }
}

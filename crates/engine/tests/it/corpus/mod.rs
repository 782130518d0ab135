//! Labelled histories of real files, really captured: who changed them, an office at work or somebody who encrypts or destroys, is to be told.
//!
//! Every history comes from its number alone. Rules are mended with even numbers before the eyes; what is published is from odd ones. A
//! share of them runs with every change, all of them with `cargo xtask corpus`, which writes the table in `docs/tampering.md`.

mod attacks;
mod deletions;
mod office;

use attacks::Attack;
use deletions::Destruction;
use jiff::Timestamp;
use office::{Office, Story};
use plan::deleted::{self, Lost};
use plan::ruined::{self, Ruined};
use plan::scrambled::{self, Scrambled};
use source::{Files, Source};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use testkit::Random;
use vault::backup::{BackupOptions, backup};
use vault::store::in_folder;
use vault::{Holder, Password, Progress, Repository, Snapshot};

/// Backups before the attack, and after it or without any.
const QUIET: usize = 3;
const AFTER: usize = 2;

/// Histories without an attack and with one, of all.
const PEACEFUL: u64 = 100;
const ATTACKED: u64 = 100;
const DESTROYED: u64 = 100;
/// The share of them that runs with every change: within some seconds.
const SHARE_PEACEFUL: u64 = 9;
const SHARE_ATTACKED: u64 = 6;
/// Those in which something goes that came lately, or that is kept elsewhere, and those that set times; of the destructions one of each sort.
const GOING: [u64; 10] = [26, 27, 28, 29, 30, 31, 32, 33, 34, 35];
const SHARE_DESTROYED: [u64; 8] = [0, 3, 6, 7, 10, 11, 12, 13];

/// What a history is labelled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Peaceful,
    Encrypted,
    Destroyed,
}

/// A place for all histories: what is in it already changes nothing about what is counted.
struct Vault {
    folder: tempfile::TempDir,
    vault: Arc<Repository>,
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = Password::new(b"correct horse battery staple".to_vec());
        let place = folder.path().join("vault");
        Repository::create(in_folder(&place), &password, "office", Timestamp::UNIX_EPOCH).unwrap();
        let vault = Repository::open(in_folder(&place), &password).unwrap();
        vault.load_index().unwrap();
        Self { folder, vault: Arc::new(vault) }
    }

    /// Captures a folder after the point before.
    fn back_up(&self, root: &Path, parent: Option<(vault::FileId, Snapshot)>) -> (vault::FileId, Snapshot) {
        let now = Timestamp::now();
        let at = vault::Timestamp { seconds: now.as_second(), nanos: 0 };
        let capture = Files::new([root]).capture(Path::new("/nowhere"), at).unwrap();
        let options = BackupOptions {
            point: vault::new_point_id().unwrap(),
            system: "office".into(),
            source: "files".into(),
            time: now,
            paths: vec![root.display().to_string()],
            excludes: Vec::new(),
            holder: Holder { hostname: "office".into(), username: "root".into() },
            parent,
            threads: 2,
            doubts: Vec::new(),
        };
        let report =
            backup(capture.input(), &[Arc::clone(&self.vault)], &options, &Progress::default()).unwrap();
        assert!(report.unread.is_empty(), "{:?}", report.unread);
        let written = report.vaults.into_iter().next().unwrap().unwrap();
        let found = self.vault.snapshots().unwrap().0;
        found.into_iter().find(|(id, _)| *id == written.snapshot).unwrap()
    }
}

/// What came of one history.
#[derive(Debug)]
struct Outcome {
    label: String,
    kind: Kind,
    is_told: bool,
    /// Which backup showed what.
    #[expect(dead_code, reason = "shown where a history is judged wrongly")]
    what: Vec<String>,
}

/// What the backups of a history counted, as it is judged.
#[derive(Default)]
struct History {
    scrambled: Vec<Scrambled>,
    lost: Vec<Lost>,
    ruined: Vec<Ruined>,
}

impl History {
    /// Adds a point, and says what about it is a sign. What shows one is no history for what comes after it.
    fn add(&mut self, snapshot: &Snapshot, held: u64, day: usize) -> Option<String> {
        let change = snapshot.releve.clone().unwrap().change;
        let there = change.files_changed + change.files_unchanged + change.files_removed;
        // A backup a day: the machine needs a second for it.
        let time = Timestamp::from_second(1_700_000_000 + i64::try_from(day).unwrap() * 86_400).unwrap();
        let (files, bytes) = (change.files_scrambled, change.bytes_scrambled);
        self.scrambled.push(Scrambled { time, there, files, held, bytes, trusted: false });
        self.lost.push(Lost {
            time,
            there: there - change.files_aside,
            gone: change.files_removed + change.files_emptied - change.files_moved - change.files_aside,
            came: change.files_new - change.files_moved - change.files_passing,
            held,
            bytes_gone: change.bytes_lost,
            bytes_came: change.bytes_came,
            bytes_back: change.bytes_came.saturating_sub(change.bytes_new),
            packed: change.bytes_packed,
            trusted: false,
        });
        let (changed, veiled, ruined) = (change.files_changed, change.files_veiled, change.files_ruined);
        let point = Ruined { there, changed, veiled, ruined };
        let sign = scrambled::sign(&self.scrambled)
            .or_else(|| ruined::sign(&point, &self.ruined))
            .or_else(|| deleted::sign(&self.lost, None).map(|sign| sign.what));
        self.ruined.push(point);
        if sign.is_some() {
            self.scrambled.pop();
            self.lost.pop();
            self.ruined.pop();
        }
        sign
    }
}

/// Runs the history of this number.
fn run(vault: &Vault, seed: u64, kind: Kind) -> Outcome {
    // What is peaceful or encrypted is what it always was.
    let salt = match kind {
        Kind::Peaceful => 0,
        Kind::Encrypted => 1,
        Kind::Destroyed => 2,
    };
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9) + salt);
    let home = tempfile::tempdir_in(vault.folder.path()).unwrap();
    let mut office = Office::found(home.path(), &mut random);
    let attack = (kind == Kind::Encrypted).then(|| Attack::numbered(seed, &mut random));
    let destruction = Destruction::numbered(seed);
    let story = Story::numbered(seed);
    let (label, strikes) = match (&attack, kind) {
        (Some(attack), _) => (attack.name(), attack.backups()),
        (None, Kind::Destroyed) => (destruction.name(), destruction.backups()),
        (None, _) => (story.name().to_owned(), AFTER),
    };
    if kind == Kind::Peaceful {
        story.prepare(&mut office, &mut random);
    }
    let (mut history, mut what, mut held, mut there) = (History::default(), Vec::new(), 0, 0);
    let mut parent: Option<(vault::FileId, Snapshot)> = None;
    for step in 0..QUIET + strikes {
        match &attack {
            _ if step == 0 => {}
            Some(attack) if step >= QUIET => {
                office.work(&mut random);
                attack.strike(office.root(), step - QUIET, &mut random);
            }
            None if step >= QUIET && kind == Kind::Destroyed => {
                office.work(&mut random);
                destruction.strike(office.root(), &mut there, &mut random);
            }
            None if step == QUIET && kind == Kind::Peaceful => story.happen(&mut office, &mut random),
            _ => office.work(&mut random),
        }
        if step + 1 == QUIET && kind == Kind::Peaceful {
            story.begin(&mut office, &mut random);
        }
        let point = vault.back_up(office.root(), parent.take());
        let sign = history.add(&point.1, held, step);
        what.extend(sign.map(|sign| format!("backup {step} {sign}")));
        held = point.1.releve.as_ref().map_or(0, |info| info.bytes);
        parent = Some(point);
    }
    Outcome { label, kind, is_told: !what.is_empty(), what }
}

/// Runs histories on all cores.
fn run_all(histories: Vec<(u64, Kind)>) -> Vec<Outcome> {
    let todo = std::sync::Mutex::new(histories.into_iter());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let vault = Vault::new();
            let next = || todo.lock().unwrap().next();
            std::iter::from_fn(next).map(|(seed, kind)| run(&vault, seed, kind)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_share_of_the_labelled_histories_is_judged_right() {
    // Even numbers: those that the rules were made with.
    let peaceful = (0..SHARE_PEACEFUL).chain(GOING).map(|n| (2 * n, Kind::Peaceful));
    let encrypted = (0..SHARE_ATTACKED).map(|n| (2 * n, Kind::Encrypted));
    let destroyed = SHARE_DESTROYED.map(|n| (2 * n, Kind::Destroyed));
    let wrong: Vec<Outcome> = run_all(peaceful.chain(encrypted).chain(destroyed).collect())
        .into_iter()
        .filter(|outcome| outcome.is_told == (outcome.kind == Kind::Peaceful))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "which page the table goes into is handed over by the environment"
)]
#[ignore = "takes minutes: cargo xtask corpus"]
fn all_labelled_histories() {
    let odd = |count: u64, kind: Kind| (0..count).map(move |n| (2 * n + 1, kind));
    let all = [(PEACEFUL, Kind::Peaceful), (ATTACKED, Kind::Encrypted), (DESTROYED, Kind::Destroyed)];
    let outcomes = run_all(all.iter().flat_map(|(count, kind)| odd(*count, *kind)).collect());
    let mut rows: BTreeMap<(Kind, String), (u32, u32)> = BTreeMap::new();
    for outcome in &outcomes {
        let row = rows.entry((outcome.kind, outcome.label.clone())).or_default();
        row.0 += 1;
        row.1 += u32::from(outcome.is_told);
        if outcome.is_told == (outcome.kind == Kind::Peaceful) {
            println!("{outcome:?}");
        }
    }
    let sum = |kind: Kind| {
        let of = outcomes.iter().filter(|outcome| outcome.kind == kind);
        (of.clone().count(), of.filter(|outcome| outcome.is_told).count())
    };
    let mut text = "| what happens | histories | told |\n|---|---:|---:|\n".to_owned();
    let mut last = None;
    for ((kind, label), (count, told)) in rows {
        if last != Some(kind) {
            let title = match kind {
                Kind::Peaceful => "no attack",
                Kind::Encrypted => "encryption",
                Kind::Destroyed => "deletion, and overwriting that isn't encryption",
            };
            let (count, told) = sum(kind);
            writeln!(text, "| **{title}** | **{count}** | **{told}** |").unwrap();
            last = Some(kind);
        }
        writeln!(text, "| {label} | {count} | {told} |").unwrap();
    }
    println!("{text}");
    if let Ok(page) = std::env::var("CORPUS_PAGE") {
        let before = std::fs::read_to_string(&page).unwrap();
        let (head, rest) = before.split_once("<!-- table -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end of table -->").unwrap();
        std::fs::write(&page, format!("{head}<!-- table -->\n{text}<!-- end of table -->{tail}")).unwrap();
    }
    let (peaceful, alarms) = sum(Kind::Peaceful);
    assert!(alarms * 100 <= peaceful, "{alarms} alarms");
    for kind in [Kind::Encrypted, Kind::Destroyed] {
        let (attacks, told) = sum(kind);
        assert!(told * 100 >= attacks * 99, "{kind:?}: {told} of {attacks} told");
    }
}

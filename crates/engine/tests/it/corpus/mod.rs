//! Labelled histories of real files, really captured: who changed them, an office at work or somebody who encrypts, is to be told.
//!
//! Every history comes from its number alone. Rules are mended with even numbers before the eyes; what is published is from odd ones. A
//! share of them runs with every change, all of them with `cargo xtask corpus`, which writes the table in `docs/tampering.md`.

mod attacks;
mod office;

use attacks::Attack;
use jiff::Timestamp;
use office::{Office, Story};
use plan::scrambled::{Scrambled, sign};
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
/// The share of them that runs with every change: within some seconds.
const SHARE_PEACEFUL: u64 = 9;
const SHARE_ATTACKED: u64 = 6;

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
    is_attack: bool,
    is_told: bool,
    /// Which backup showed what.
    #[expect(dead_code, reason = "shown where a history is judged wrongly")]
    what: Vec<String>,
}

/// Runs the history of this number.
fn run(vault: &Vault, seed: u64, is_attack: bool) -> Outcome {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9) + u64::from(is_attack));
    let home = tempfile::tempdir_in(vault.folder.path()).unwrap();
    let mut office = Office::found(home.path(), &mut random);
    let attack = is_attack.then(|| Attack::numbered(seed, &mut random));
    let story = Story::numbered(seed);
    let label = attack.as_ref().map_or_else(|| story.name().to_owned(), Attack::name);
    let steps = QUIET + attack.as_ref().map_or(AFTER, Attack::backups);
    let (mut history, mut what, mut held) = (Vec::new(), Vec::new(), 0);
    let mut parent: Option<(vault::FileId, Snapshot)> = None;
    for step in 0..steps {
        match &attack {
            _ if step == 0 => {}
            Some(attack) if step >= QUIET => {
                office.work(&mut random);
                attack.strike(office.root(), step - QUIET, &mut random);
            }
            None if step == QUIET => story.happen(&mut office, &mut random),
            _ => office.work(&mut random),
        }
        let point = vault.back_up(office.root(), parent.take());
        history.push(Scrambled { held, ..counted(&point.1, step) });
        held = point.1.releve.as_ref().map_or(0, |info| info.bytes);
        // What shows a sign is no history for what comes after it.
        if let Some(sign) = sign(&history) {
            what.push(format!("backup {step} {sign}"));
            history.pop();
        }
        parent = Some(point);
    }
    Outcome { label, is_attack, is_told: !what.is_empty(), what }
}

fn counted(snapshot: &Snapshot, day: usize) -> Scrambled {
    let change = snapshot.releve.clone().unwrap().change;
    Scrambled {
        // A backup a day: the machine needs a second for it.
        time: Timestamp::from_second(1_700_000_000 + i64::try_from(day).unwrap() * 86_400).unwrap(),
        there: change.files_changed + change.files_unchanged + change.files_removed,
        files: change.files_scrambled,
        held: 0,
        bytes: change.bytes_scrambled,
        trusted: false,
    }
}

/// Runs histories on all cores.
fn run_all(histories: Vec<(u64, bool)>) -> Vec<Outcome> {
    let todo = std::sync::Mutex::new(histories.into_iter());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let vault = Vault::new();
            let next = || todo.lock().unwrap().next();
            std::iter::from_fn(next).map(|(seed, attack)| run(&vault, seed, attack)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_share_of_the_labelled_histories_is_judged_right() {
    // Even numbers: those that the rules were made with.
    let even = |count: u64, attack: bool| (0..count).map(move |n| (2 * n, attack));
    let histories = even(SHARE_PEACEFUL, false).chain(even(SHARE_ATTACKED, true));
    let wrong: Vec<Outcome> = run_all(histories.collect())
        .into_iter()
        .filter(|outcome| outcome.is_told != outcome.is_attack)
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
    let odd = |count: u64, attack: bool| (0..count).map(move |n| (2 * n + 1, attack));
    let outcomes = run_all(odd(PEACEFUL, false).chain(odd(ATTACKED, true)).collect());
    let mut rows: BTreeMap<(bool, String), (u32, u32)> = BTreeMap::new();
    for outcome in &outcomes {
        let row = rows.entry((outcome.is_attack, outcome.label.clone())).or_default();
        row.0 += 1;
        row.1 += u32::from(outcome.is_told);
        if outcome.is_told != outcome.is_attack {
            println!("{outcome:?}");
        }
    }
    let sum = |attack: bool| {
        let of = outcomes.iter().filter(|outcome| outcome.is_attack == attack);
        (of.clone().count(), of.filter(|outcome| outcome.is_told).count())
    };
    let (peaceful, alarms) = sum(false);
    let (attacks, told) = sum(true);
    let mut text = format!(
        "| what happens | histories | told |\n|---|---:|---:|\n| **no attack** | **{peaceful}** | **{alarms}** |\n"
    );
    let mut is_attack = false;
    for ((attack, label), (count, told_of)) in rows {
        if attack && !is_attack {
            is_attack = true;
            writeln!(text, "| **encryption** | **{attacks}** | **{told}** |").unwrap();
        }
        writeln!(text, "| {label} | {count} | {told_of} |").unwrap();
    }
    println!("{text}");
    if let Ok(page) = std::env::var("CORPUS_PAGE") {
        let before = std::fs::read_to_string(&page).unwrap();
        let (head, rest) = before.split_once("<!-- table -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end of table -->").unwrap();
        std::fs::write(&page, format!("{head}<!-- table -->\n{text}<!-- end of table -->{tail}")).unwrap();
    }
    assert!(
        alarms * 100 <= peaceful && told * 100 >= attacks * 99,
        "{alarms} alarms, {told} of {attacks} told"
    );
}

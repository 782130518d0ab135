//! What breaks in one vault is made whole from the other; what is broken in both is named, and the next backup heals what it can.

use super::*;
use std::os::unix::fs::FileExt;
use vault::repair::{RepairOptions, RepairPlan, RepairReport, carry_out, examine};
use vault::verify::Window;

/// Two vaults that hold the same two points.
fn pair() -> Life {
    let mut life = Life::with(&["vault", "other"]);
    for n in 0..2 {
        life.now += DAY;
        life.write("changes", 150_000);
        life.write(&format!("file-{n}"), 60_000);
        fs::create_dir_all(life.data().join(format!("folder-{n}"))).unwrap();
        fs::write(life.data().join(format!("folder-{n}/inner")), format!("inner {n}")).unwrap();
        life.backup();
    }
    life
}

fn options(life: &Life) -> RepairOptions {
    RepairOptions { read: Window::ALL, now: life.time(), holder: holder() }
}

fn repair(life: &Life, vault: &str, others: &[&str]) -> (RepairPlan, RepairReport) {
    let (vault, others) = (life.open(vault), others.iter().map(|other| life.open(other)).collect::<Vec<_>>());
    let progress = Progress::default();
    let planned = examine(&vault, &others, &options(life), &progress).unwrap();
    let report = carry_out(&vault, &others, &planned, &options(life), &progress).unwrap();
    (planned, report)
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 16], at).unwrap();
}

#[test]
fn a_vault_that_is_whole_needs_nothing() {
    let life = pair();
    let (planned, report) = repair(&life, "vault", &["other"]);
    assert!(planned.is_empty() && planned.packs_read > 0, "{planned:?}");
    assert_eq!((report.healed, report.lost), (0, 0));
}

#[test]
fn whatever_breaks_in_one_vault_is_healed_from_the_other() {
    let life = pair();
    let packs = life.files(FileKind::Pack);
    let indexes = life.files(FileKind::Index);
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    type Damage<'a> = Box<dyn Fn(&dyn Fn(&Path) -> PathBuf) + 'a>;
    let mut damages: Vec<(String, Damage<'_>)> = Vec::new();
    for (n, pack) in packs.iter().enumerate() {
        damages.push((format!("pack {n} gone"), Box::new(move |of| fs::remove_file(of(pack)).unwrap())));
        damages.push((format!("a blob of pack {n} flipped"), Box::new(move |of| flip(&of(pack), 20))));
        damages.push((
            format!("the header of pack {n} flipped"),
            Box::new(move |of| flip(&of(pack), length(pack) - 10)),
        ));
        damages.push((
            format!("pack {n} cut"),
            Box::new(move |of| {
                fs::File::options().write(true).open(of(pack)).unwrap().set_len(length(pack) / 2).unwrap();
            }),
        ));
    }
    for (n, index) in indexes.iter().enumerate() {
        damages.push((format!("index {n} gone"), Box::new(move |of| fs::remove_file(of(index)).unwrap())));
        damages.push((format!("index {n} flipped"), Box::new(move |of| flip(&of(index), 30))));
    }
    damages.push((
        "all indexes gone".into(),
        Box::new(|of| indexes.iter().for_each(|index| fs::remove_file(of(index)).unwrap())),
    ));
    damages.push((
        "all packs gone".into(),
        Box::new(|of| packs.iter().for_each(|pack| fs::remove_file(of(pack)).unwrap())),
    ));
    damages.push((
        "everything but keys, config and snapshots gone".into(),
        Box::new(|of| packs.iter().chain(&indexes).for_each(|file| fs::remove_file(of(file)).unwrap())),
    ));
    for (what, damage) in damages {
        life.copy_vault("copy");
        damage(&|path| life.path("copy").join(path.strip_prefix(life.path("vault")).unwrap()));
        let (planned, report) = repair(&life, "copy", &["other"]);
        assert!(!planned.is_empty(), "{what} was not noticed");
        assert_eq!((report.lost, planned.blobs_nowhere), (0, 0), "{what}: {report:?}");
        life.gives_back("copy");
        life.restic("copy", &["check", "--read-data"]);
        let (again, _) = repair(&life, "copy", &["other"]);
        assert!(again.is_empty(), "{what}: {again:?}");
        // What is out of the index by now goes in time, and nothing else does.
        let known = Vec::new();
        for days in [0, 10] {
            let options = PruneOptions { known: known.clone(), ..life.options(&[]) };
            let options =
                PruneOptions { now: jiff::Timestamp::from_second(life.now + days * DAY).unwrap(), ..options };
            prune(&life.open("copy"), &options).unwrap();
        }
        life.gives_back("copy");
    }
}

#[test]
fn what_somebody_adds_while_it_is_looked_at_keeps_nothing_from_being_healed() {
    let mut life = pair();
    flip(&life.files(FileKind::Pack)[0], 20);
    let (vault, others) = (life.open("vault"), [life.open("other")]);
    let progress = Progress::default();
    let planned = examine(&vault, &others, &options(&life), &progress).unwrap();
    assert_eq!(planned.bad_packs().count(), 1);
    // As an agent that streams a log does every few seconds.
    life.write("late", 10_000);
    life.backup();
    let report = carry_out(&vault, &others, &planned, &options(&life), &progress).unwrap();
    assert!(report.healed > 0 && report.lost == 0 && report.findings.is_empty(), "{report:?}");
    assert!(examine(&vault, &others, &options(&life), &progress).unwrap().is_empty());
    life.is_whole();
}

#[test]
fn what_is_broken_everywhere_is_named_and_stored_again_by_the_next_backup() {
    let mut life = pair();
    // The file of the first day, in every vault: its pack is the only one with a blob of its length.
    for vault in ["vault", "other"] {
        for pack in life.store(vault).list(FileKind::Pack).unwrap() {
            if pack.size > 200_000 {
                fs::remove_file(life.path(vault).join(FileKind::Pack.path(&pack.name))).unwrap();
            }
        }
    }
    let (planned, report) = repair(&life, "vault", &["other"]);
    assert!(planned.packs > 0 && report.lost > 0, "{planned:?} {report:?}");
    let named: Vec<String> = report.touched.iter().map(|(_, path)| path.display().to_string()).collect();
    assert!(named.iter().any(|path| path.ends_with("/file-0")), "{named:?}");
    repair(&life, "other", &["vault"]);
    // The files are still on the server; those that changed since are lost with their points.
    life.points.clear();
    life.backup();
    life.gives_back("vault");
    life.gives_back("other");
}

#[test]
fn of_a_folder_that_is_lost_all_below_it_is_lost_and_it_is_no_file() {
    let life = pair();
    for vault in ["vault", "other"] {
        for pack in life.store(vault).list(FileKind::Pack).unwrap() {
            fs::remove_file(life.path(vault).join(FileKind::Pack.path(&pack.name))).unwrap();
        }
    }
    let (_, report) = repair(&life, "vault", &["other"]);
    assert!(report.folders_count > 0 && report.touched_count == 0, "{report:?}");
    assert!(report.folders.iter().all(|(_, path)| path.as_os_str() == "/"), "{report:?}");
    // Nobody is left who could say what lay there.
    assert_eq!(report.below_count, 0, "{report:?}");
}

#[test]
fn a_snapshot_that_cannot_be_read_is_taken_out_and_copied_again() {
    let mut life = pair();
    let first = life.files(FileKind::Snapshot)[0].clone();
    // One bit would be turned back.
    flip(&first, 25);
    flip(&first, 60);
    let (planned, _) = repair(&life, "vault", &["other"]);
    assert_eq!(planned.snapshots.len(), 1, "{planned:?}");
    let (vault, other) = (life.open("vault"), life.open("other"));
    let there: Vec<BlobId> = vault.snapshots().unwrap().0.iter().map(|(_, snapshot)| snapshot.tree).collect();
    assert_eq!(there.len(), 1);
    for (_, snapshot) in other.snapshots().unwrap().0 {
        if !there.contains(&snapshot.tree) {
            vault::copy::copy(&[Arc::clone(&other)], &vault, &snapshot, &holder(), &Progress::default())
                .unwrap();
        }
    }
    life.is_whole();
    life.now += DAY;
}

#[test]
fn a_repair_that_is_killed_anywhere_is_ended_by_the_next() {
    let life = pair();
    let packs = life.files(FileKind::Pack);
    let mut killed = 0;
    loop {
        life.copy_vault("copy");
        let of = |path: &Path| life.path("copy").join(path.strip_prefix(life.path("vault")).unwrap());
        fs::remove_file(of(&packs[0])).unwrap();
        flip(&of(&packs[1]), 20);
        flip(&of(&life.files(FileKind::Index)[0]), 30);
        let vault = life.open_in(Mortal::new(life.store("copy"), killed), "copy");
        let others = [life.open("other")];
        let planned = examine(&vault, &others, &options(&life), &Progress::default()).unwrap();
        let result = carry_out(&vault, &others, &planned, &options(&life), &Progress::default());
        drop(vault);
        unlock(&life.path("copy"));
        repair(&life, "copy", &["other"]);
        life.gives_back("copy");
        life.restic("copy", &["check", "--read-data"]);
        if result.is_ok() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 4, "only {killed} instants were tried");
}

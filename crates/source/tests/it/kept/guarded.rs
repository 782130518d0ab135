//! A life in vaults whose files carry the immutable flag: nobody who writes there is kept from his work.

use super::*;
use jiff::SignedDuration;
use testkit::Flags;
use vault::immutable::{HoldOptions, UndeleteOptions, hold, undelete};
use vault::repair::{RepairOptions, carry_out as mend, examine};
use vault::verify::Window;

#[test]
fn guarded_vaults_are_filled_pruned_repaired_and_synced_like_any_other() {
    let mut life = Life::without_vaults();
    let flags = Flags::of(life.folder.path());
    life.guarded_for = Some(SignedDuration::from_hours(24));
    life.create("vault");
    life.create("other");
    let points = life.days(4, 60_000, 30_000);
    assert!(life.files(FileKind::Pack).iter().all(|pack| flags.has(pack)));
    let (root, copy) = life.points[&points[0]].clone();

    // A prune, in both of its phases: to all that look, the room is free.
    let full = life.bytes();
    let report = life.prune(&points[..2]);
    assert!(report.forgotten.len() == 2 && report.findings.is_empty(), "{report:?}");
    life.is_whole();
    life.now += 10 * DAY;
    let report = life.prune(&[]);
    assert!(report.removed.packs > 0 && report.findings.is_empty(), "{report:?}");
    assert!(life.bytes() < full);
    life.is_whole();

    // A mistake of the prune's is taken back.
    undelete(&*life.store("vault"), &UndeleteOptions { since: None, dry_run: false }, &Progress::default())
        .unwrap();
    life.points.insert(points[0], (root, copy));
    life.is_whole();

    // A repair, of damage that no program could do.
    let packs = life.files(FileKind::Pack);
    flags.lifted(&packs[0], |pack| {
        let mut bytes = fs::read(pack).unwrap();
        bytes[20] ^= 1;
        fs::write(pack, bytes).unwrap();
    });
    flags.lifted(&packs[1], |pack| fs::remove_file(pack).unwrap());
    flags.lifted(&life.files(FileKind::Index)[0], |index| fs::write(index, "broken").unwrap());
    let options = RepairOptions { read: Window::ALL, now: life.time(), holder: holder() };
    let (vault, others) = (life.open("vault"), [life.open("other")]);
    let planned = examine(&vault, &others, &options, &Progress::default()).unwrap();
    assert!(!planned.is_empty());
    let report = mend(&vault, &others, &planned, &options, &Progress::default()).unwrap();
    assert!(report.lost == 0 && report.findings.is_empty(), "{report:?}");
    drop(vault);
    life.is_whole();

    // A sync.
    life.create("third");
    let (vault, third) = (life.open("vault"), life.open("third"));
    for (_, snapshot) in vault.snapshots().unwrap().0 {
        vault::copy::copy(&[Arc::clone(&vault)], &third, &snapshot, &holder(), &Progress::default()).unwrap();
    }
    drop((vault, third));
    life.gives_back("third");

    // Once its time is over, what was pruned goes for good, and nothing else does.
    let hidden = || walk(&life.path("vault/hidden"));
    assert!(!hidden().is_empty());
    let late = jiff::Timestamp::now() + SignedDuration::from_hours(25);
    let vault = life.open("vault");
    let report = hold(&vault, &HoldOptions { now: late, dry_run: false }, &Progress::default()).unwrap();
    assert!(report.freed > 0 && report.finding_count == 0, "{report:?}");
    assert_eq!(hidden(), [] as [PathBuf; 0]);
    drop(vault);
    life.is_whole();
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let kinds = fs::read_dir(folder).unwrap();
    kinds
        .flat_map(|kind| fs::read_dir(kind.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect()
}

//! Points are taken out, and the room of what nothing needs comes back: later, and never more than that.

use super::*;

/// Five days, each with a file of its own and one that changes; small parts of packs become free.
fn five_days() -> (Life, Vec<FileId>) {
    let mut life = Life::new();
    let points = life.days(5, 200_000, 100_000);
    (life, points)
}

/// A point of ten files, and a day later one of the first of them alone.
fn ten_files_and_then_one() -> (Life, FileId) {
    let mut life = Life::new();
    for n in 0..10 {
        life.write(&format!("file-{n}"), 100_000);
    }
    let all = life.backup();
    (1..10).for_each(|n| fs::remove_file(life.data().join(format!("file-{n}"))).unwrap());
    life.now += DAY;
    life.backup();
    (life, all)
}

#[test]
fn what_no_point_needs_is_marked_first_and_removed_after_the_delay() {
    let (mut life, points) = five_days();
    let before = life.bytes();
    let report = life.prune(&points[..3]);
    let set = |ids: &[vault::FileId]| {
        ids.iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(set(&report.forgotten), set(&points[..3]));
    assert!(report.findings.is_empty() && report.removed.packs == 0, "{report:?}");
    assert!(report.marked.packs >= 3 && life.bytes() >= before, "{report:?}");
    life.is_whole();
    // Nothing happens before the delay is over …
    life.now += 2 * DAY;
    assert_eq!(life.prune(&[]).removed.packs, 0);
    // … and then everything that was marked goes.
    life.now += 2 * DAY;
    let removed = life.prune(&[]).removed;
    assert_eq!(removed, report.marked);
    assert!(life.bytes() < before / 2 + 20_000, "{} of {before}", life.bytes());
    life.is_whole();
    let again = life.prune(&[]);
    assert_eq!((again.marked.packs, again.removed.packs), (0, 0), "there is nothing left to do: {again:?}");
}

#[test]
fn of_a_pack_that_is_needed_in_part_only_that_part_stays() {
    let (mut life, all) = ten_files_and_then_one();
    let report = life.prune(&[all]);
    assert_eq!(report.repacked.packs, 1, "{report:?}");
    life.now += 4 * DAY;
    life.prune(&[]);
    assert!(life.bytes() < 120_000, "{}", life.bytes());
    life.is_whole();
}

#[test]
fn wherever_it_is_killed_every_point_comes_back_and_the_next_prune_ends_it() {
    let (mut life, points) = five_days();
    // Marked packs that are due, packs to be written anew, an index that was lost: every kind of change at once.
    for n in 0..3 {
        life.write(&format!("more-{n}"), 50_000);
    }
    let wide = life.backup();
    life.prune(&points[..2]);
    fs::remove_file(life.data().join("more-0")).unwrap();
    life.now += 4 * DAY;
    life.backup();
    let forget = [points[2], wide];
    let options = life.options(&forget);
    forget.iter().for_each(|id| _ = life.points.remove(id));
    let mut killed = 0;
    loop {
        life.copy_vault("copy");
        let store = Mortal::new(life.store("copy"), i64::from(killed));
        let vault = life.open_in(store, "copy");
        let result = prune(&vault, &options);
        drop(vault);
        unlock(&life.path("copy"));
        life.gives_back("copy");
        life.restic("copy", &["check", "--read-data"]);
        let after =
            prune(&life.open("copy"), &PruneOptions { known: Vec::new(), ..options.clone() }).unwrap();
        life.gives_back("copy");
        life.restic("copy", &["check", "--read-data"]);
        if result.is_ok() {
            assert!(after.marked.packs == 0 && after.removed.packs == 0, "{after:?}");
            break;
        }
        killed += 1;
    }
    assert!(killed > 8, "only {killed} instants were tried");
}

#[test]
fn a_point_that_needs_marked_packs_after_all_gets_them_back() {
    let (mut life, points) = five_days();
    let snapshot = life.path("vault").join(FileKind::Snapshot.path(&points[0].to_string()));
    let kept = fs::read(&snapshot).unwrap();
    let (root, copy) = life.points[&points[0]].clone();
    life.prune(&points[..2]);
    // A backup that overlooked the lock, and took what it needs for there.
    fs::write(&snapshot, kept).unwrap();
    life.points.insert(points[0], (root, copy));
    life.now += 10 * DAY;
    let vault = life.open("vault");
    let planned = plan(&vault, &life.options(&[]), &Progress::default()).unwrap();
    assert!(planned.rescue.packs > 0, "{planned:?}");
    life.prune(&[]);
    life.is_whole();
    life.now += 10 * DAY;
    life.prune(&[]);
    life.is_whole();
}

#[test]
fn a_backup_that_began_before_a_prune_takes_nothing_for_there_that_went() {
    let (mut life, points) = five_days();
    // It knows the index as it was …
    let early = life.open("vault");
    let forget: Vec<FileId> = points.clone();
    life.prune(&forget);
    // … and what it stores was in the points that went.
    life.backup_to(&[early]).unwrap();
    life.is_whole();
    life.now += 10 * DAY;
    life.prune(&[]);
    life.is_whole();
}

#[test]
fn a_point_that_is_not_listed_any_more_stops_it() {
    let (life, points) = five_days();
    let hidden = life.path("vault").join(FileKind::Snapshot.path(&points[1].to_string()));
    fs::rename(&hidden, life.path("hidden")).unwrap();
    let before = life.bytes();
    let error = prune(&life.open("vault"), &life.options(&points[3..4])).unwrap_err();
    assert!(error.to_string().contains("1 point that was here before is not listed"), "{error}");
    fs::rename(life.path("hidden"), &hidden).unwrap();
    assert_eq!(life.bytes(), before);
    life.is_whole();
}

#[test]
fn an_index_that_is_not_listed_costs_no_pack() {
    let (mut life, points) = five_days();
    fs::remove_file(&life.files(FileKind::Index)[0]).unwrap();
    life.prune(&points[..1]);
    life.now += 10 * DAY;
    life.prune(&[]);
    life.is_whole();
}

#[test]
fn with_a_needed_pack_missing_nothing_is_pruned() {
    let (life, points) = five_days();
    let packs = life.files(FileKind::Pack);
    fs::remove_file(&packs[0]).unwrap();
    let vault = life.open("vault");
    let needed =
        plan(&vault, &PruneOptions { forget: points.clone(), ..life.options(&[]) }, &Progress::default());
    assert!(needed.is_ok(), "nothing is needed by no point: {needed:?}");
    let error = prune(&vault, &life.options(&[])).unwrap_err();
    assert!(error.to_string().contains("repair") || matches!(error.kind, Kind::NotFound), "{error}");
    assert_eq!(life.files(FileKind::Snapshot).len(), 5);
}

#[test]
fn a_copy_is_only_given_up_for_one_that_is_sound() {
    let mut life = Life::new();
    life.write("a", 100_000);
    life.write("b", 50_000);
    life.backup();
    // Another program stores the same again: each blob is in two packs now.
    life.copy_vault("twin");
    for kind in [FileKind::Index, FileKind::Snapshot] {
        for entry in fs::read_dir(life.path("twin").join(kind.folder())).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    for pack in life.store("twin").list(FileKind::Pack).unwrap() {
        life.store("twin").remove(FileKind::Pack, &pack.name).unwrap();
    }
    let twin = life.open("twin");
    life.backup_to(&[twin]).unwrap();
    for kind in [FileKind::Pack, FileKind::Index] {
        for listed in life.store("twin").list(kind).unwrap() {
            let path = kind.path(&listed.name);
            fs::create_dir_all(life.path("vault").join(&path).parent().unwrap()).unwrap();
            fs::copy(life.path("twin").join(&path), life.path("vault").join(&path)).unwrap();
        }
    }
    let twin = life
        .points
        .keys()
        .copied()
        .find(|id| !life.path("vault").join(FileKind::Snapshot.path(&id.to_string())).exists());
    life.points.remove(&twin.unwrap());
    let packs = life.files(FileKind::Pack);
    assert_eq!(packs.len(), 4);
    let mut refused = 0;
    // Those with data; the trees of the folders above differ.
    for pack in packs.iter().filter(|pack| fs::metadata(pack).unwrap().len() > 100_000) {
        life.copy_vault("copy");
        let pack = life.path("copy").join(pack.strip_prefix(life.path("vault")).unwrap());
        let mut bytes = fs::read(&pack).unwrap();
        bytes[40] ^= 1;
        fs::write(&pack, bytes).unwrap();
        for _ in 0..2 {
            // Whichever of the two is damaged: the other is not given up for it.
            match prune(&life.open("copy"), &life.options(&[])) {
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error.kind, Kind::Damaged(_)), "{error}");
                }
            }
            life.now += 10 * DAY;
        }
        life.gives_back("copy");
    }
    assert_eq!(refused, 2, "one of the twins is the copy that would be kept");
    life.prune(&[]);
    life.is_whole();
    life.now += 10 * DAY;
    life.prune(&[]);
    assert_eq!(life.files(FileKind::Pack).len(), 2);
    life.is_whole();
}

#[test]
fn many_small_packs_become_few_large_ones() {
    let mut life = Life::new();
    // As many as one run takes.
    for n in 0..16 {
        life.write(&format!("file-{n}"), 3_000);
        life.backup();
    }
    assert_eq!(life.files(FileKind::Pack).len(), 32);
    life.prune(&[]);
    life.now += 4 * DAY;
    life.prune(&[]);
    assert!(life.files(FileKind::Pack).len() <= 4, "{:?}", life.files(FileKind::Pack));
    assert!(life.files(FileKind::Index).len() <= 2, "{:?}", life.files(FileKind::Index));
    life.is_whole();
}

#[test]
fn whoever_is_in_the_vault_is_waited_for() {
    let (life, points) = five_days();
    let vault = life.open("vault");
    let elsewhere = Holder { hostname: "elsewhere".into(), username: "them".into() };
    let lock = vault::Lock::take(&vault, vault::LockKind::Shared, &elsewhere).unwrap();
    let error = prune(&vault, &life.options(&points[..1])).unwrap_err();
    assert!(matches!(error.kind, Kind::Locked(_)), "{error}");
    drop(lock);
    prune(&vault, &life.options(&points[..1])).unwrap();
}

#[test]
fn what_came_since_it_was_looked_at_is_spared_and_where_something_vanished_nothing_goes() {
    let (mut life, points) = five_days();
    let vault = life.open("vault");
    let options = life.options(&points[..1]);
    let planned = plan(&vault, &options, &Progress::default()).unwrap();
    life.write("late", 10_000);
    let late = life.backup();
    // What is needed by it was in no index when it was decided, and what goes is what was decided.
    let report = carry_out(&vault, &planned, &options, &Progress::default()).unwrap();
    assert_eq!(report.forgotten, points[..1]);
    life.points.remove(&points[0]);
    life.is_whole();
    // A point that somebody hides meanwhile would look unneeded.
    let options = life.options(&points[1..2]);
    let planned = plan(&vault, &options, &Progress::default()).unwrap();
    let hidden = life.path("vault").join(FileKind::Snapshot.path(&late.to_string()));
    let kept = fs::read(&hidden).unwrap();
    fs::remove_file(&hidden).unwrap();
    let error = carry_out(&vault, &planned, &options, &Progress::default()).unwrap_err();
    assert!(matches!(error.kind, Kind::Locked(_)), "{error}");
    fs::write(&hidden, kept).unwrap();
    life.is_whole();
}

#[test]
fn restic_prunes_what_we_marked_and_we_go_on_after_it() {
    let (mut life, points) = five_days();
    life.prune(&points[..2]);
    life.restic("vault", &["prune"]);
    life.is_whole();
    life.now += 10 * DAY;
    life.prune(&points[2..3]);
    life.is_whole();
}

#[test]
fn a_point_that_the_store_does_not_let_go_keeps_what_it_needs() {
    let (mut life, points) = five_days();
    life.prune(&points[..1]);
    life.now += 10 * DAY;
    let mut store = Mortal::new(life.store("vault"), i64::MAX);
    store.protects = Some(FileKind::Snapshot);
    let before = life.bytes();
    let vault = life.open_in(store, "vault");
    let error = prune(&vault, &life.options(&points[1..2])).unwrap_err();
    assert!(matches!(error.kind, Kind::Refused(_)), "{error}");
    drop(vault);
    assert_eq!(life.bytes(), before);
    life.is_whole();
    life.now += 10 * DAY;
    life.prune(&[]);
    life.is_whole();
}

#[test]
fn a_marked_pack_stays_while_what_took_its_place_is_not_sound() {
    let (mut life, all) = ten_files_and_then_one();
    let old = life.files(FileKind::Pack);
    assert_eq!(life.prune(&[all]).repacked.packs, 1);
    for pack in life.files(FileKind::Pack).into_iter().filter(|pack| !old.contains(pack)) {
        let mut bytes = fs::read(&pack).unwrap();
        bytes[50] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    life.now += 10 * DAY;
    let error = prune(&life.open("vault"), &life.options(&[])).unwrap_err();
    assert!(matches!(error.kind, Kind::Damaged(_)), "{error}");
    // Nobody else has it, and it is still there.
    let options =
        vault::repair::RepairOptions { read: vault::verify::Window::ALL, now: life.time(), holder: holder() };
    let vault = life.open("vault");
    let planned = vault::repair::examine(&vault, &[], &options, &Progress::default()).unwrap();
    let report = vault::repair::carry_out(&vault, &[], &planned, &options, &Progress::default()).unwrap();
    assert_eq!(report.lost, 0, "{planned:?}");
    drop(vault);
    life.is_whole();
}

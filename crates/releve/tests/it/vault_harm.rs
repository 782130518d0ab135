//! What becomes of a vault that is full, that lost its config, that may not be read, or that can't be asked.

use crate::world::World;
use std::fs;
use std::io::Write;
use testkit::{Fault, FaultyProxy, Random, S3Server, SmallDisk, When};

const ROUND: usize = 8 << 20;

#[test]
fn a_full_vault_gives_back_room_at_once_and_takes_the_next_point() {
    let world = World::new();
    let disk = SmallDisk::mount(32 << 20);
    let near = format!("file://{}", disk.path().join("near").display());
    world.write_plan(&near, &world.vault("far"), "");
    for round in 1..=2 {
        fs::write(world.data().join("large"), Random::new(round).bytes(ROUND)).unwrap();
        world.run(&["backup"]).exits(0);
    }
    let first = world.points()[0]["id"].as_str().unwrap().to_owned();
    // Somebody else takes all that is left.
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
    fs::write(world.data().join("large"), Random::new(3).bytes(ROUND / 2)).unwrap();
    world.run(&["backup"]).exits(1).says("no space left").says("releve prune --now");
    world.run(&["status"]).says("THE DISK IS FULL").says("releve prune near --now");

    world.run(&["prune", "near", "--forget", &first, "--now", "--dry-run"]).exits(0).says("at once");
    world.run(&["prune", "near", "--forget", &first, "--now"]).exits(2).says("nobody is there to say yes");
    world.run(&["prune", "near", "--forget", &first, "--now", "--yes"]).exits(0).says("given back");
    world.run(&["backup"]).exits(0);
    world.run(&["verify", "near", "--read-data", "all"]).exits(0);
    world.restores_whole("out");
    let restic = testkit::Restic::new(disk.path().join("near").display().to_string(), crate::world::PASSWORD);
    restic.must(&["check", "--read-data"]);
}

#[test]
fn a_vault_that_is_full_to_the_last_byte_makes_room_for_the_lock_of_its_prune() {
    let world = World::new();
    // Too small for a reserve.
    let disk = SmallDisk::mount(12 << 20);
    let near = format!("file://{}", disk.path().join("near").display());
    world.write_plan(&near, &world.vault("far"), "");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace("vaults = [\"near\", \"far\"]", "vaults = [\"near\"]");
    fs::write(world.path("plan.toml"), plan).unwrap();
    for round in 1..=2 {
        fs::write(world.data().join("large"), Random::new(round).bytes(4 << 20)).unwrap();
        world.run(&["backup"]).exits(0);
    }
    let first = world.points()[0]["id"].as_str().unwrap().to_owned();
    let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
    while filler.write_all(&[7; 4096]).is_ok() {}
    fs::write(world.data().join("large"), Random::new(3).bytes(2 << 20)).unwrap();
    world.run(&["backup"]).exits(2).says("no space left");
    world.run(&["alerts"]).says("no space left");
    // With nothing to take out there is nothing to make room with, and it isn't said to do the same again.
    let run = world.run(&["prune", "near", "--now", "--yes"]);
    assert!(!run.err.contains("releve prune --now"), "{}", run.err);

    world.run(&["prune", "near", "--forget", &first, "--now", "--yes"]).exits(0).says("1 point taken out");
    assert_eq!(world.points().len(), 1);
    world.run(&["backup"]).exits(0);
    world.run(&["verify", "near", "--read-data", "all"]).exits(0);
    let restic = testkit::Restic::new(disk.path().join("near").display().to_string(), crate::world::PASSWORD);
    restic.must(&["check", "--read-data"]);
}

#[test]
fn keys_that_are_junk_are_no_matter_for_a_repair_and_the_hint_says_what_is() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["key", "export", "--vault", "near", "--to", "m"]).exits(0);
    fs::remove_dir_all(world.path("far")).unwrap();
    for key in crate::world::files(&world.path("near/keys")) {
        fs::write(key, "").unwrap();
    }
    for verb in [&["verify", "near"][..], &["backup"], &["repair", "near", "--yes"]] {
        let run = world.run(verb).says("releve key add --master FILE");
        assert!(!run.err.contains("heals it"), "{verb:?}: {}", run.err);
    }
    world
        .run(&["key", "add", "--vault", "near", "--master", "m", "--new-password-file", "near.key"])
        .exits(0);
    world.run(&["repair", "near", "--yes"]);
    world.restores_whole("out");
    world.restic("near").must(&["check", "--read-data"]);
}

#[test]
fn junk_in_a_vault_is_counted_by_every_verb_and_three_of_it_are_named() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    for folder in ["snapshots", "index", "locks", "keys"] {
        for number in 0..40_u32 {
            let name = format!("{number:08x}{}", "ab".repeat(28));
            fs::write(world.path("near").join(folder).join(name), [7; 200]).unwrap();
        }
    }
    for verb in [
        &["points"][..],
        &["status"],
        &["backup"],
        &["recover", "--dry-run"],
        &["restore", "shop", "--to", "out"],
        &["sync"],
        &["verify", "near"],
        &["key", "list"],
    ] {
        let run = world.run(verb);
        let lines = run.out.lines().chain(run.err.lines());
        let named = lines.filter(|line| line.contains("damaged: ")).count();
        assert!((1..=45).contains(&named), "{verb:?}: {named}\n{}", run.err);
        if verb != ["verify", "near"] {
            assert!(named <= 8, "{verb:?}: {named}\n{}\n{}", run.out, run.err);
            run.says("37 more").says("40 in all");
        }
    }
}

#[test]
fn a_vault_without_its_config_serves_says_so_and_is_repaired() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    fs::remove_dir_all(world.path("far")).unwrap();
    fs::remove_file(world.path("near/config")).unwrap();
    world.run(&["points"]).says("its config can't be read (it is gone)").says("releve repair near");
    world.restores_whole("out");
    world.run(&["repair", "near", "--yes"]).says("config");
    world.run(&["repair", "near", "--dry-run"]).says("nothing to repair");
    world.restic("near").must(&["check", "--read-data"]);
    // It is the vault that it was.
    world.run(&["verify", "near", "--read-data", "all"]).exits(0);
}

/// A world whose vault `far` is a bucket behind a proxy.
fn behind(proxy: &FaultyProxy, server: &S3Server) -> World {
    let world = World::new();
    fs::write(world.path("access"), S3Server::ACCESS_KEY).unwrap();
    fs::write(world.path("secret"), S3Server::SECRET_KEY).unwrap();
    world.write_plan(&world.vault("near"), &server.address_at(proxy.port(), "far"), "");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let keys = format!(
        "[vaults.far]\naccess_key = {{ file = {:?} }}\nsecret_key = {{ file = {:?} }}",
        world.path("access"),
        world.path("secret")
    );
    fs::write(world.path("plan.toml"), plan.replace("[vaults.far]", &keys)).unwrap();
    world
}

#[test]
fn a_vault_that_opens_and_cannot_be_listed_counts_as_not_asked_whatever_the_verb() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let world = behind(&proxy, &server);
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    proxy.plan(When::request("GET", "snapshots%2F"), Fault::Status(403));
    // It takes the point, and nobody finds that there.
    world.run(&["backup"]).exits(1).says("in far, near").says("far: its points can't be listed");
    let is_told = || {
        let told = world.run(&["alerts"]).out;
        told.contains("its points can't be listed") && !told.contains("not seen any more")
    };
    assert!(is_told());
    let verbs: [&[&str]; 6] =
        [&["status"], &["points"], &["verify", "near"], &["sync"], &["recover", "--dry-run"], &["alerts"]];
    for verb in verbs {
        world.run(verb);
        assert!(is_told(), "{verb:?}");
    }
    world.run(&["recover", "--dry-run"]).says("vault `far` can't be read: list snapshots");
    // What is nowhere else may lie there.
    fs::rename(world.path("near"), world.path("away")).unwrap();
    world.run(&["recover", "shop", "--dry-run"]).exits(2).says("`far` (list snapshots");
    world.run(&["restore", "shop", "--to", "out"]).exits(2).says("vault far could not be asked");
    fs::rename(world.path("away"), world.path("near")).unwrap();
    proxy.heal();
    world.run(&["backup"]).exits(0);
    assert!(!is_told());
}

#[test]
fn a_config_that_only_its_store_calls_too_long_is_told_as_that_and_not_written_over() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let world = behind(&proxy, &server);
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    let config = server.folder().join("far/config");
    let long = vec![b'x'; 100_000];
    fs::write(&config, &long).unwrap();
    let told = world.run(&["backup"]).exits(1).says("its config is refused (").says("in far, near");
    assert!(!told.err.contains("releve repair far"), "{}", told.err);
    // All else can be read: whoever puts such a thing there keeps nobody from what is in the vault.
    world.run(&["restore", "shop", "--to", "out", "--vault", "far"]).exits(0);
    world.run(&["repair", "far", "--yes"]).says("it is not written over");
    assert_eq!(fs::read(&config).unwrap(), long);
    // Once it is gone, which anybody can see, it is.
    fs::remove_file(&config).unwrap();
    world.run(&["repair", "far", "--yes"]).exits(0);
    world.run(&["backup"]).exits(0);
}

#[test]
fn what_may_not_be_read_is_not_called_damaged_and_keeps_its_proof() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let world = behind(&proxy, &server);
    fs::write(world.data().join("file"), Random::new(1).bytes(200_000)).unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["verify", "far", "--read-data", "all"]).exits(0);
    let proof = || world.run(&["status", "--json"]).json()["systems"][0]["verified"].clone();
    let before = proof();
    assert!(before.is_string(), "{before}");
    proxy.plan(When::request("GET", "/data/"), Fault::Status(403));
    let run = world.run(&["verify", "far", "--read-data", "all"]).exits(2);
    let run = run.says("could not be verified").says("what was proven before counts on");
    assert!(!run.err.contains("DAMAGED") && !run.out.contains("DAMAGED"), "{}", run.err);
    let told = world.run(&["verify", "far", "--read-data", "all", "--json"]).exits(2).json();
    let told = &told["vaults"][0];
    assert_eq!((&told["unknown"].as_array().unwrap().len(), &told["unsound"]), (&1, &serde_json::json!([])));
    assert_eq!(proof(), before);
}

#[test]
fn no_point_is_said_to_be_nowhere_while_a_vault_could_not_be_asked() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    fs::rename(world.path("near"), world.path("away")).unwrap();
    for snapshot in crate::world::files(&world.path("far/snapshots")) {
        fs::remove_file(snapshot).unwrap();
    }
    world
        .run(&["restore", "shop", "--to", "out"])
        .exits(2)
        .says("in the vaults that could be asked")
        .says("vault near could not be asked");
    world.run(&["restore", "shop", "--to", "out", "--point", "abcdef"]).exits(2).says("vault near could not");
    world.run(&["recover", "shop", "--yes"]).says("could not be asked: `near`");
}

/// Removes all packs of a vault of this world.
fn take_packs(world: &World, vault: &str) {
    let folders = fs::read_dir(world.path(vault).join("data")).unwrap().flatten();
    for pack in folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten()) {
        fs::remove_file(pack.path()).unwrap();
    }
}

#[test]
fn packs_that_are_gone_are_counted_on_by_no_backup_and_each_says_so() {
    let world = World::new();
    for n in 0..5 {
        fs::write(world.data().join(format!("file-{n}")), Random::new(n).bytes(100_000)).unwrap();
    }
    world.run(&["backup"]).exits(0);
    ["near", "far"].iter().for_each(|vault| take_packs(&world, vault));
    // Nothing has changed, and all of it is stored anew.
    let told = world.run(&["backup"]).exits(1).says("near is DAMAGED").says("far is DAMAGED");
    told.says("releve repair near");
    world.restores_whole("out");
    world.run(&["alerts"]).says("near is damaged");
    world.run(&["sync"]).exits(1).says("releve repair far");
    world.run(&["backup"]).exits(1).says("near is DAMAGED");
    world.restores_whole("again");
}

#[test]
fn what_one_vault_has_lost_comes_from_the_other() {
    let world = World::new();
    fs::write(world.data().join("old"), Random::new(1).bytes(100_000)).unwrap();
    world.run(&["backup"]).exits(0);
    // The first point alone needs it.
    fs::write(world.data().join("old"), Random::new(2).bytes(100_000)).unwrap();
    world.run(&["backup"]).exits(0);
    take_packs(&world, "near");
    world.run(&["backup"]).exits(1).says("near is DAMAGED");
    world.run(&["repair", "near", "--yes"]).exits(0);
    world.run(&["verify", "near", "--read-data", "all"]).exits(0).says("3 of 3 points can come back");
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_point_that_is_whole_in_no_vault_is_no_point_to_come_back_to() {
    let world = World::new();
    fs::write(world.data().join("file"), Random::new(1).bytes(100_000)).unwrap();
    world.run(&["backup"]).exits(0);
    ["near", "far"].iter().for_each(|vault| take_packs(&world, vault));
    world.run(&["verify"]).exits(1).says("0 of 1 points can come back");
    world.run(&["status"]).exits(1).says("no restore point is whole any more").says("near is damaged");
    world.run(&["recover", "--dry-run"]).says("NO WHOLE POINT IS LEFT");
    world.run(&["backup"]).exits(1);
    let status = world.run(&["status"]).exits(1);
    assert!(
        status.out.contains("you would lose") && !status.out.contains("no restore point is whole"),
        "{}",
        status.out
    );
}

//! A vault in a folder with `immutable_for`: guarded against mistakes and programs, and never called immutable.

use crate::world::{PASSWORD, Run, World, files, finish, same};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::Flags;
use testkit::tree::grow;

/// A world whose vault `near` is guarded.
fn guarded() -> (World, Flags) {
    let world = World::new();
    let flags = Flags::of(&world.path(""));
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let promise = "[vaults.near]\nimmutable_for = \"30 days\"";
    fs::write(world.path("plan.toml"), plan.replace("[vaults.near]", promise)).unwrap();
    (world, flags)
}

fn near(world: &World) -> serde_json::Value {
    let status = world.run(&["status", "--json"]).json();
    status["vaults"].as_array().unwrap().iter().find(|place| place["vault"] == "near").unwrap().clone()
}

fn point(world: &World, seed: u64) -> String {
    let part = world.data().join(format!("part-{seed}"));
    grow(&part, seed, 30);
    // restic knows no link whose target is no text.
    fs::remove_file(part.join("odd/dangling")).unwrap();
    world.run(&["backup"]).exits(0);
    world.points().last().unwrap()["id"].as_str().unwrap().to_owned()
}

/// Runs the program as root of a container is run: without the right to change the flag.
fn without_the_right(world: &World, arguments: &[&str]) -> Run {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--bounding-set=-linux_immutable", "--inh-caps=-linux_immutable"]);
    let inner = world.command(arguments);
    setpriv.current_dir(world.path("")).arg(inner.get_program()).args(inner.get_args());
    finish(&mut setpriv)
}

#[test]
fn rm_rf_of_a_guarded_vault_takes_nothing_and_every_program_reads_it() {
    let (world, flags) = guarded();
    point(&world, 1);
    world.run(&["status"]).says("never looked at");
    world.run(&["immutable"]).exits(0).says("near: guarded").says("root of that machine can");
    let place = near(&world);
    assert_eq!((&place["immutable"]["state"], &place["fine"]), (&"guarded".into(), &true.into()), "{place}");
    world.run(&["status"]).says("whoever is root there can delete everything");
    let told = world.run(&["immutable", "--json"]).exits(0).json();
    assert_eq!(
        (&told["vaults"][0]["guarded"], &told["vaults"][0]["extended"]),
        (&true.into(), &0.into()),
        "{told}"
    );

    let before = files(&world.path("near"));
    assert!(before.len() > 5 && before.iter().all(|file| flags.has(file)), "{before:?}");
    let rm = Command::new("rm").arg("-rf").arg(world.path("near")).output().unwrap();
    assert!(!rm.status.success());
    let after = files(&world.path("near"));
    assert_eq!(before, after);
    // Of folders that were empty rm leaves nothing: they are made again where they are needed.
    assert!(!world.path("near/locks").exists());
    world.run(&["backup"]).exits(0);
    fs::remove_dir_all(world.path("far")).unwrap();
    world.restores_whole("out");
    world.restic("near").must(&["check", "--read-data"]);
    world.restic("near").must(&["restore", "latest", "--target", world.path("by-restic").to_str().unwrap()]);
    same(&world.data(), &world.restored("by-restic"));
}

#[test]
fn a_prune_before_the_time_only_hides_and_after_the_time_removes() {
    let (world, flags) = guarded();
    let first = point(&world, 1);
    let second = point(&world, 2);
    point(&world, 3);
    let snapshots = || files(&world.path("near/snapshots"));
    world.run(&["prune", "near", "--yes", "--forget", &first]).exits(0).says("1 point taken out");
    assert_eq!((snapshots().len(), files(&world.path("near/hidden/snapshots")).len()), (2, 1));
    world.run(&["immutable", "near"]).exits(0).says("guarded").says("1 points among them");
    world.run(&["undelete", "near"]).exits(0);
    assert_eq!(snapshots().len(), 3);
    world.run(&["restore", "shop", "--to", "first", "--point", &first, "--vault", "near"]);

    // The month passes.
    for file in files(&world.path("near")) {
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 86_400);
        flags.lifted(&file, |file| {
            fs::File::options().append(true).open(file).unwrap().set_modified(long_ago).unwrap();
        });
    }
    world.run(&["immutable", "near"]).exits(0).says("guarded");
    world.run(&["prune", "near", "--yes", "--forget", &second]).exits(0).says("1 point taken out");
    assert_eq!((snapshots().len(), files(&world.path("near/hidden/snapshots")).len()), (2, 0));
    world.run(&["immutable", "near"]).exits(0).says("guarded");
    world.restic("near").must(&["check", "--read-data"]);
    world.restores_whole("out");
}

#[test]
fn keys_of_a_guarded_vault_are_added_rotated_and_removed() {
    let (world, flags) = guarded();
    point(&world, 1);
    world.secret("new", "another horse, another battery, and forty more characters");
    world.run(&["key", "rotate", "--vault", "near", "--new-password-file", "new"]).exits(0);
    let keys = files(&world.path("near/keys"));
    assert!(keys.len() == 1 && flags.has(&keys[0]), "{keys:?}");
    assert!(!world.restic("near").run(&["snapshots"]).success, "{PASSWORD} opens nothing any more");
    point(&world, 2);
    world.run(&["immutable", "near"]).exits(0).says("guarded");
}

#[test]
fn without_the_right_to_set_the_flag_a_backup_is_made_and_nothing_is_called_guarded() {
    let (world, flags) = guarded();
    grow(&world.data(), 1, 30);
    without_the_right(&world, &["backup"]).exits(0);
    without_the_right(&world, &["immutable"]).exits(1).says("NOT PROVEN").says("CAP_LINUX_IMMUTABLE");
    let place = near(&world);
    assert_eq!(
        (&place["immutable"]["state"], &place["fine"]),
        (&"not_proven".into(), &false.into()),
        "{place}"
    );
    world.run(&["status"]).exits(1).says("CAP_LINUX_IMMUTABLE");
    // Who has the right makes up for it.
    world.run(&["immutable"]).exits(0).says("guarded");
    let all = files(&world.path("near"));
    assert!(all.iter().all(|file| flags.has(file)), "{all:?}");
    // And what is guarded is out of reach of who has not.
    let snapshot: &Path = &files(&world.path("near/snapshots"))[0];
    let rm = Command::new("setpriv")
        .args(["--bounding-set=-linux_immutable", "--inh-caps=-linux_immutable", "chattr", "-i"])
        .arg(snapshot)
        .output()
        .unwrap();
    assert!(!rm.status.success() && flags.has(snapshot));
    without_the_right(&world, &["backup"]).exits(0);
}

#[test]
fn the_agent_guards_what_another_program_wrote() {
    let (world, flags) = guarded();
    point(&world, 1);
    world.restic("near").must(&["backup", world.data().to_str().unwrap()]);
    let loose = |world: &World| files(&world.path("near")).iter().filter(|file| !flags.has(file)).count();
    assert!(loose(&world) > 0);
    world.run(&["agent", "--once"]);
    assert_eq!(loose(&world), 0);
    assert_eq!(near(&world)["immutable"]["state"], "guarded");
}

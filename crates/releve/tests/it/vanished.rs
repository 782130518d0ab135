//! Points that vanish from the vaults: every verb that looks says so, and what a person accepts is accepted for all.

use crate::judged::noise;
use crate::world::{World, files};
use std::fs;

const VAULTS: [&str; 2] = ["near", "far"];
const MISSED: &str = "points that were here are not listed any more";

/// A world with two points, each in both vaults.
fn two_points() -> World {
    let world = World::new();
    for n in 0..30 {
        let text = format!("order {n} of the day, to be sent on\n").repeat(60);
        fs::write(world.data().join(format!("order-{n}.txt")), text).unwrap();
    }
    world.run(&["backup"]).exits(0);
    fs::write(world.data().join("order-30.txt"), "one more of the next day\n".repeat(60)).unwrap();
    world.run(&["backup"]).exits(0);
    world
}

/// Takes all points out of sight.
fn hide(world: &World, vault: &str) {
    let snapshots = world.path(vault).join("snapshots");
    fs::rename(&snapshots, world.path(&format!("{vault}-hidden"))).unwrap();
    fs::create_dir(snapshots).unwrap();
}

/// Puts them back beside what came since.
fn show(world: &World, vault: &str) {
    for file in files(&world.path(&format!("{vault}-hidden"))) {
        fs::rename(&file, world.path(vault).join("snapshots").join(file.file_name().unwrap())).unwrap();
    }
}

/// Takes the newest point of a vault out of sight.
fn hide_newest(world: &World, vault: &str) {
    let newest = world.points().last().unwrap()["id"].as_str().unwrap().to_owned();
    let snapshots = world.restic(vault).must(&["snapshots", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&snapshots).unwrap();
    let tag = format!("point:{newest}");
    let of_newest =
        all.as_array().unwrap().iter().find(|snapshot| {
            snapshot["tags"].as_array().unwrap().iter().any(|own| own.as_str() == Some(&tag))
        });
    let name = of_newest.unwrap()["id"].as_str().unwrap();
    fs::remove_file(world.path(vault).join("snapshots").join(name)).unwrap();
}

#[test]
fn every_verb_that_looks_says_what_has_vanished() {
    let world = two_points();
    world.run(&["verify", "--read-data", "all"]).exits(0);
    let verified = world.run(&["status", "--json"]).json()["systems"][0]["verified"].clone();
    assert!(verified.is_string(), "{verified}");
    VAULTS.iter().for_each(|vault| hide(&world, vault));
    let none = "2 points of it were seen in far and near";
    let table: [(&[&str], i32, &[&str]); 10] = [
        (&["points"], 1, &["vault near: 2 ", "vault far: 2 ", MISSED, "--accept-missing"]),
        (
            &["status"],
            1,
            &["GONE", none, "vault near: 2 ", "ALERT Points that were in the vault near are gone"],
        ),
        (
            &["alerts"],
            1,
            &["Points that were in the vault far are gone", "releve prune far --accept-missing"],
        ),
        (&["verify", "--read-data", "all"], 1, &["near: 2 ", MISSED, "near: POINTS ARE GONE: 0 of 0 points"]),
        (&["sync"], 1, &["vault near: 2 ", MISSED, "2 points that this machine has seen are in no vault"]),
        (&["recover", "--dry-run"], 2, &["there is no restore point", none]),
        (&["restore", "shop", "--to", "out"], 2, &["there is no restore point", none]),
        (&["prune", "--yes"], 2, &[MISSED, "nothing is pruned", "--accept-missing"]),
        (&["agent", "--once"], 1, &["near: 2 ", MISSED]),
        (&["incident", "open", "--scenario", "hardware-failure", "--quiet"], 0, &["GONE from near: 2 "]),
    ];
    for (verb, code, told) in table {
        let mut run = world.run(verb).exits(code);
        for text in told {
            run = run.says(text);
        }
    }
    let points = world.run(&["points", "--json"]).exits(1).json();
    assert_eq!(points["vanished"].as_array().unwrap().len(), 4, "{points}");
    assert_eq!(points["vanished"][0]["system"], "shop");
    let status = world.run(&["status", "--json"]).exits(1).json();
    assert_eq!((&status["fine"], status["vanished"].as_array().unwrap().len()), (&false.into(), 4));
    // What was proven is proven still, once it is back, and nobody is told of it any more.
    VAULTS.iter().for_each(|vault| show(&world, vault));
    world.run(&["points"]).exits(0);
    assert_eq!(world.run(&["status", "--json"]).json()["systems"][0]["verified"], verified);
    world.run(&["verify", "--read-data", "all"]).exits(0).says("near: sound: 2 of 2 points can come back");
    let alerts = world.run(&["alerts", "--json"]).json();
    let open = alerts["alerts"].as_array().unwrap();
    assert!(open.iter().all(|alert| alert["kind"] != "vanished"), "{alerts}");
}

#[test]
fn an_older_state_is_never_taken_for_the_newest_without_a_word() {
    let world = two_points();
    VAULTS.iter().for_each(|vault| hide_newest(&world, vault));
    let newer = "1 newer point of shop was seen in far and near";
    world.run(&["recover", "--dry-run"]).exits(0).says(newer).says("takes an older state");
    world.run(&["restore", "shop", "--to", "out"]).exits(0).says(newer);
    world.run(&["status"]).exits(1).says("GONE").says(newer);
    world.run(&["points"]).exits(1).says("1 point that was here is not");
    // It is held against the one that is left, so that it can be judged.
    let made = world.run(&["backup", "--json"]).exits(1).json();
    assert_eq!(made["systems"][0]["record"]["suspicious"], serde_json::Value::Null, "{made}");
    assert_eq!(made["systems"][0]["vanished"].as_array().unwrap().len(), 2, "{made}");
    world.run(&["alerts"]).exits(1).says("Points that were in the vault near are gone");
}

#[test]
fn a_system_whose_known_points_are_gone_is_never_simply_new() {
    let world = two_points();
    VAULTS.iter().for_each(|vault| hide(&world, vault));
    for n in 0..31 {
        fs::write(world.data().join(format!("order-{n}.txt")), noise(n + 7)).unwrap();
    }
    let made = world.run(&["backup"]).exits(1).says("SUSPICIOUS").says("GONE from near: 2 ");
    made.says("the 2 points before it are gone")
        .says("31 files")
        .says("nobody can tell what has changed since");
    world.run(&["backup"]).exits(1).says("SUSPICIOUS");
    // A person has looked: it was on purpose, in both vaults, and is as it is.
    let newest = world.points().last().unwrap()["id"].as_str().unwrap().to_owned();
    world.run(&["points", "--trust", &newest]);
    world.run(&["prune", "--yes"]).exits(2).says(MISSED);
    world.run(&["prune", "--yes", "--accept-missing"]).exits(0);
    world.run(&["backup"]).exits(0);
    world.run(&["alerts"]).exits(0).says("nothing is wrong");
    let points = world.run(&["points", "--json"]).json();
    assert_eq!(points["vanished"].as_array().unwrap().len(), 0, "{points}");
    world.restores_whole("out");
}

#[test]
fn what_another_vault_has_comes_back_and_is_missed_no_more() {
    let world = two_points();
    hide(&world, "near");
    world.run(&["restore", "shop", "--to", "out"]).exits(0);
    world.run(&["sync"]).exits(1).says("vault near: 2 ").says("copied to near");
    world.run(&["points"]).exits(0);
    world.run(&["prune", "--yes"]).exits(0);
    world.run(&["verify"]).exits(0).says("near: sound: 2 of 2 points");
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_machine_that_has_seen_nothing_claims_nothing() {
    let world = two_points();
    VAULTS.iter().for_each(|vault| hide(&world, vault));
    fs::remove_dir_all(world.path("state")).unwrap();
    world.run(&["points"]).exits(0);
    let run = world.run(&["recover", "--dry-run"]).exits(2).says("there is no restore point");
    assert!(!run.out.contains("were seen") && !run.err.contains("were seen"), "{}\n{}", run.out, run.err);
}

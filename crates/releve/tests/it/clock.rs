//! A clock that was wrong: what it made never counts as newer than what came after.

use crate::world::{Run, World, finish};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

/// Runs the program while the clock shows this time.
fn at(world: &World, time: &str, arguments: &[&str]) -> Run {
    let own = world.command(arguments);
    let mut command = Command::new("faketime");
    command.arg(time).arg(own.get_program()).args(own.get_args());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(world.path("")).stdin(Stdio::null());
    command.env("NO_FAKE_STAT", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    finish(&mut command)
}

/// Puts a file there and makes a point of it, and returns that point's id.
fn backed_up(world: &World, time: &str, file: &str) -> String {
    let before = ids(world, time);
    fs::write(world.data().join(file), format!("work of {time}")).unwrap();
    let made = at(world, time, &["backup"]);
    let new = ids(world, time).into_iter().find(|id| !before.contains(id));
    new.unwrap_or_else(|| panic!("{time}: {} {}", made.out, made.err))
}

fn ids(world: &World, time: &str) -> Vec<String> {
    let points = at(world, time, &["points", "--json"]).json();
    let id = |point: &Value| point["id"].as_str().unwrap().to_owned();
    points["points"].as_array().unwrap().iter().map(id).collect()
}

fn taken(world: &World, time: &str) -> String {
    let runbook = at(world, time, &["recover", "--dry-run", "--json"]).json();
    runbook["systems"][0]["choice"]["point"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_point_of_a_wrong_clock_is_never_the_newest_whoever_begins_the_inventory_anew() {
    let world = World::new();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace(
        "vaults = [\"near\", \"far\"]\nevery = \"1 hour\"",
        "vaults = [\"near\"]\nevery = \"1 day\"\nkeep = { last = 5 }",
    );
    fs::write(world.path("plan.toml"), plan.replace("rpo = \"1 hour\"", "rpo = \"1 day\"")).unwrap();
    for day in 1..=3 {
        backed_up(&world, &format!("2026-12-0{day} 08:00:00"), &format!("f{day}"));
    }
    at(&world, "2026-12-03 09:00:00", &["prune", "near", "--yes"]).exits(0);
    backed_up(&world, "2027-12-04 08:00:00", "f4");
    at(&world, "2027-12-04 08:01:00", &["prune", "near", "--yes"]);
    backed_up(&world, "2026-12-05 08:00:00", "f5");
    let newest = backed_up(&world, "2026-12-06 08:00:00", "f6");
    assert_eq!(taken(&world, "2026-12-06 08:30:00"), newest);
    // What the refusal of a prune says to type.
    at(&world, "2026-12-06 08:31:00", &["prune", "near", "--yes"]).exits(2).says("--trust-clock");
    // Whoever doesn't say yes has changed nothing.
    at(&world, "2026-12-06 08:32:00", &["prune", "near", "--trust-clock"]).exits(64).says("--yes");
    at(&world, "2026-12-06 08:33:00", &["prune", "near", "--yes"]).exits(2).says("--trust-clock");
    at(&world, "2026-12-06 09:00:00", &["prune", "near", "--trust-clock", "--yes"]).exits(0);
    assert_eq!(taken(&world, "2026-12-06 12:00:00"), newest);
    // Nor once its time has come.
    assert_eq!(taken(&world, "2027-12-05 08:00:00"), newest);
    // A state that is lost has seen nothing: its first look makes nothing younger.
    fs::remove_dir_all(world.path("state")).unwrap();
    let newest = backed_up(&world, "2026-12-07 08:00:00", "f7");
    at(&world, "2026-12-07 09:00:00", &["prune", "near", "--yes"]);
    assert_eq!(taken(&world, "2026-12-07 12:00:00"), newest);
}

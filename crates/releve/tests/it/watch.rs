//! A recovery that is watched from another terminal, and what it says of itself before it is late.

use crate::world::{World, finish};
use serde_json::Value;
use std::process::Child;
use std::time::Duration;
use testkit::wait_until;

const WITHIN: Duration = Duration::from_secs(60);

/// A world whose shop has a backup, with this in its part of the plan, and this promise.
fn world(rto: &str, more: &str) -> World {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("rto = \"1 hour\"", &format!("rto = {rto:?}")))
        .unwrap();
    world.run(&["backup"]).exits(0);
    world
}

/// Returns what is watched, once it is like this.
fn watched(world: &World, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let is_there = wait_until(WITHIN, || {
        let run = world.run(&["recover", "--watch", "--json"]);
        last = if run.code == 0 { run.json()["recovery"].clone() } else { Value::Null };
        is_so(&last)
    });
    assert!(is_there, "{last:#}");
    last
}

fn ends(mut recovery: Child, code: i32) {
    assert_eq!(recovery.wait().unwrap().code(), Some(code));
}

#[test]
fn it_is_warned_before_the_promise_is_missed_and_once_more_when_it_is() {
    let world = world("4 seconds", "recover.after = [{ wait = \"9 seconds\" }]\n");
    let told = world.run(&["recover", "--yes"]).exits(0);
    let at = |text: &str| {
        let lines: Vec<&str> = told.err.lines().filter(|line| line.contains(text)).collect();
        assert_eq!(lines.len(), 1, "{text}: {}", told.err);
        lines[0].split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let (before, after) = (at("shop will likely be late"), at("shop is late: 4 seconds was promised"));
    // Looking at the vaults was part of the time, and comes before the first line.
    assert!(before < 4.0 && after > before, "{before} {after}");
    assert!(told.err.contains("a smaller part first: name in systems.shop.recover.first"), "{}", told.err);
}

#[test]
fn what_is_in_time_is_not_warned_of() {
    let world = world("1 hour", "recover.after = [{ wait = \"2 seconds\" }]\n");
    let told = world.run(&["recover", "--yes"]).exits(0);
    assert!(!told.err.contains("late"), "{}", told.err);
}

#[test]
fn what_a_recovery_has_shown_is_expected_of_the_next_unless_it_found_everything_in_place() {
    let world = world("1 hour", "");
    let recover = || world.run(&["recover", "--yes"]).exits(0).err.contains("all is expected back");
    // Everything is in its place: that shows how long looking takes.
    assert!(!recover());
    std::fs::remove_file(world.data().join("page")).unwrap();
    assert!(!recover());
    std::fs::remove_file(world.data().join("page")).unwrap();
    assert!(recover());
}

#[test]
fn who_is_waited_for_is_shown_with_what_to_type_at_80_columns() {
    let ask =
        "Is the new disk in the server, and has somebody looked whether its light is green and not amber?";
    let more = format!(
        "deputy = \"claire\"\nrecover.before = [{{ ask = {ask:?}, who = \"hugo\", within = \"1 hour\", answers = [\"yes\", \"no\"] }}]\n"
    );
    let world = world("1 hour", &more);
    let recovery = world.start(&["recover", "--yes", "--wait"]);
    let seen = watched(&world, |seen| seen["awaited"][0]["who"] == "hugo");
    let step = seen["awaited"][0]["step"].to_string();
    assert_eq!(seen["awaited"][0]["answer"][1], format!("releve answer {step} no"));
    assert_eq!(seen["awaited"][0]["due"], 3600.0);
    assert_eq!(seen["systems"][0]["back"], Value::Null);
    assert_eq!(seen["systems"][0]["rto"], "unknown");
    assert!(seen["by"].is_string() && seen["elapsed_seconds"].as_f64().unwrap() > 0.0);
    let in_locale =
        |locale: &str| finish(world.command(&["recover", "--watch"]).env("LC_ALL", locale)).exits(0);
    let shown = in_locale("C");
    let shown = shown.says("hugo since 00:").says(&format!("type: releve answer {step} yes"));
    let shown = shown.says("of 1:00:00").says("nobody knows when");
    for line in shown.out.lines() {
        assert!(line.len() <= 80 && line.is_ascii(), "{line:?}");
    }
    for line in in_locale("C.UTF-8").says("\u{2591}").out.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    world.run(&["answer", &step, "yes"]).exits(0);
    ends(recovery, 0);
    world.run(&["recover", "--watch"]).exits(2).says("no recovery is under way");
}

#[test]
fn what_is_under_way_is_shown_with_its_time_and_the_pause_with_its_reason() {
    let go = tempfile::tempdir().unwrap();
    let more = format!(
        "recover.after = [{{ run = [\"sh\", \"-c\", \"until test -e go; do sleep 0.1; done\"], directory = {:?}, within = \"10 minutes\" }}, {{ wait = \"1 second\" }}]\n",
        go.path()
    );
    let world = world("1 hour", &more);
    let recovery = world.start(&["recover", "--yes"]);
    let is_running = |seen: &Value| {
        seen["systems"][0]["now"][0]["what"].as_str().is_some_and(|what| what.starts_with("run: sh"))
    };
    let seen = watched(&world, is_running);
    let of_shop = &seen["systems"][0];
    assert!(of_shop["share"].as_f64().unwrap() > 0.0 && of_shop["critical"] == true, "{seen:#}");
    assert_eq!(seen["critical"].as_array().unwrap().len(), 2, "{seen:#}");
    world.run(&["recover", "--pause", "--because", "lunch"]).exits(0);
    watched(&world, |seen| seen["paused"] == "lunch");
    world.run(&["recover", "--watch"]).exits(0).says("PAUSED: lunch").says("run: sh -c");
    world.run(&["recover", "--go-on"]).exits(0);
    watched(&world, |seen| seen["paused"].is_null());
    std::fs::write(go.path().join("go"), "").unwrap();
    ends(recovery, 0);
}

#[test]
fn what_nobody_carries_out_any_more_and_what_failed_is_said() {
    let world = world("1 hour", "recover.after = [{ wait = \"10 minutes\" }]\n");
    let mut recovery = world.start(&["recover", "--yes"]);
    watched(&world, |seen| seen["systems"][0]["now"][0]["what"] == "wait 10 minutes");
    recovery.kill().unwrap();
    recovery.wait().unwrap();
    let shown = world.run(&["recover", "--watch"]).exits(0);
    shown.says("Nobody carries it out: releve recover --resume goes on with it");
    let number = watched(&world, |seen| seen["by"].is_null())["systems"][0]["now"][0]["step"].to_string();
    world.run(&["recover", "--yes", "--skip", &number, "--because", "enough"]).exits(1);
}

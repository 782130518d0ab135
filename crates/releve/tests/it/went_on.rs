//! A recovery that was killed, and what a person types then.

use crate::world::World;
use serde_json::Value;
use std::time::Duration;
use testkit::wait_until;

/// A world whose shop is started by a command that leaves a line behind and then takes long, the first time.
fn world() -> World {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let (log, pid) = (world.path("log"), world.path("pid"));
    let script = format!(
        "echo start >> {}; test -e {1} && exit 0; echo $$ > {1}; exec sleep 120",
        log.display(),
        pid.display()
    );
    let start = format!("recover.start = {{ command = [\"sh\", \"-c\", {script:?}] }}\n");
    let check = format!("check = [{{ file = {:?} }}]\n", world.data().join("page"));
    world.write_plan(&world.vault("near"), &world.vault("far"), &format!("{start}{check}"));
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    world
}

/// Kills a recovery, and the command that it was waiting for.
fn killed_while_it_starts(world: &World) {
    let mut recovery = world.start(&["recover", "--yes"]);
    assert!(wait_until(Duration::from_secs(60), || world.path("pid").exists()), "it never started anything");
    recovery.kill().unwrap();
    recovery.wait().unwrap();
    let pid = std::fs::read_to_string(world.path("pid")).unwrap();
    let _ = std::process::Command::new("kill").arg(pid.trim()).status();
}

fn starts(world: &World) -> usize {
    std::fs::read_to_string(world.path("log")).unwrap().lines().count()
}

fn steps(world: &World) -> Vec<Value> {
    let shown = world.run(&["recover", "--show", "--json"]).exits(0).json();
    shown["recoveries"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|open| open["steps"].as_array().unwrap().clone())
        .collect()
}

/// Returns the number of the step that starts the shop.
fn number(world: &World) -> String {
    let is_start = |step: &Value| step["what"].as_str().unwrap().starts_with("start");
    steps(world).into_iter().find(is_start).unwrap()["step"].to_string()
}

#[test]
fn what_was_under_way_and_must_not_be_done_twice_waits_for_a_persons_word() {
    let world = world();
    killed_while_it_starts(&world);
    // What came back meanwhile is somebody's work, and is not restored again.
    std::fs::write(world.data().join("page"), "edited since").unwrap();
    let left = world.run(&["recover", "--yes"]).exits(2);
    let left = left.says("Going on with the recovery that began").says("1 of 3 steps are done");
    let left = left.says("nobody knows whether this is done: start").says("steps are left");
    assert!(!left.out.contains("works"), "{}", left.out);
    assert_eq!(starts(&world), 1);
    world.run(&["recover", "--show"]).exits(0).says("put its data back").says("--resume goes on with it");
    world.run(&["recover", "--yes", "--done", &number(&world)]).exits(0);
    assert_eq!(starts(&world), 1);
    assert_eq!(std::fs::read_to_string(world.data().join("page")).unwrap(), "edited since");
    assert!(steps(&world).is_empty());
    // The next one is a new one.
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(std::fs::read_to_string(world.data().join("page")).unwrap(), "page");
    assert_eq!(starts(&world), 2);
}

#[test]
fn it_is_done_again_or_skipped_if_a_person_says_so_and_a_word_on_another_step_is_refused() {
    let world = world();
    killed_while_it_starts(&world);
    world.run(&["recover", "--yes", "--done", "0"]).exits(2).says("neither in doubt nor failed");
    world.run(&["recover", "--yes", "--done", "99"]).exits(2).says("no step 99");
    world.run(&["recover", "--yes", "--skip", &number(&world)]).exits(64).says("--because");
    world.run(&["recover", "--yes", "--again", &number(&world)]).exits(0);
    assert_eq!(starts(&world), 2);
}

#[test]
fn a_step_that_is_skipped_is_told_with_its_reason() {
    let world = world();
    killed_while_it_starts(&world);
    let number = number(&world);
    let told =
        world.run(&["recover", "--yes", "--skip", &number, "--because", "it runs in the cloud meanwhile"]);
    told.exits(1).says("was skipped: it runs in the cloud meanwhile");
}

#[test]
fn one_recovery_of_a_system_is_open_at_a_time_and_does_what_the_plan_says_or_nothing() {
    let world = world();
    killed_while_it_starts(&world);
    world.run(&["recover", "--yes", "--point", "last verified"]).exits(2).says("--anew forgets it");
    // Somebody has changed what starts it.
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("echo start", "echo other")).unwrap();
    let corrected = world.run(&["recover", "--yes", "--resume"]).exits(2).says("The plan has been corrected");
    corrected.says("is now").says("echo other").says("nobody knows whether this is done: start");
    assert_eq!(starts(&world), 1, "what was begun by the former plan is for a person to say");
    std::fs::write(world.path("plan.toml"), plan).unwrap();
    let mut other = world.start(&["recover", "--yes", "--again", &number(&world)]);
    assert!(other.wait().unwrap().success());
    assert_eq!(starts(&world), 2);
    world.run(&["recover", "--yes", "--resume"]).exits(2).says("no recovery is open");
    let _ = std::fs::remove_file(world.path("pid"));
    killed_while_it_starts(&world);
    // Anew, and what was begun by the one that is forgotten is known still.
    let anew = world.run(&["recover", "--yes", "--anew"]).exits(2).says("is forgotten");
    anew.says("nobody knows whether this is done: start");
    assert_eq!(starts(&world), 3);
    world.run(&["recover", "--yes", "--anew", "--again", "99"]).exits(2).says("was not begun");
    world.run(&["recover", "--yes", "--anew", "--done", &number(&world)]).exits(0);
    assert_eq!(starts(&world), 3);
    assert!(steps(&world).is_empty());
}

#[test]
fn it_goes_on_by_the_plan_that_was_corrected_meanwhile_and_does_nothing_twice() {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let log = world.path("log");
    let say = |what: &str| format!("[\"sh\", \"-c\", \"echo {what} >> {}\"]", log.display());
    let plan = |after: &str| {
        let steps = format!(
            "recover.before = [{{ run = {} }}]\nrecover.start = {{ command = {} }}\nrecover.after = [{after}]\n",
            say("before"),
            say("start")
        );
        world.write_plan(&world.vault("near"), &world.vault("far"), &steps);
    };
    plan("{ run = [\"false\"] }");
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes"]).exits(2);
    std::fs::write(world.data().join("page"), "edited since").unwrap();
    plan(&format!("{{ run = {} }}, {{ run = {} }}", say("right"), say("more")));
    let went_on = world.run(&["recover", "--yes", "--resume"]).exits(0).says("The plan has been corrected");
    let went_on = went_on.says("  was      ").says("    is now ").says("  new      ");
    assert!(!went_on.err.contains("  gone     "), "{}", went_on.err);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "before\nstart\nright\nmore\n");
    assert_eq!(std::fs::read_to_string(world.data().join("page")).unwrap(), "edited since");
    assert!(steps(&world).is_empty());
}

#[test]
fn nobody_goes_on_with_a_recovery_that_another_process_carries_out() {
    let world = world();
    let mut recovery = world.start(&["recover", "--yes"]);
    assert!(wait_until(Duration::from_secs(60), || world.path("pid").exists()));
    world.run(&["recover", "--yes"]).exits(2).says("is being carried out");
    world.run(&["recover", "--yes", "--anew"]).exits(2).says("is being carried out");
    world.run(&["recover", "--show"]).exits(0).says("is being carried out");
    let pid = std::fs::read_to_string(world.path("pid")).unwrap();
    let _ = std::process::Command::new("kill").arg(pid.trim()).status();
    recovery.wait().unwrap();
}

#[test]
fn a_step_that_nobody_knows_the_end_of_is_shown_in_doubt_as_soon_as_nobody_carries_it_out() {
    let world = world();
    killed_while_it_starts(&world);
    let start = steps(&world).into_iter().find(|step| step["what"].as_str().unwrap().starts_with("start"));
    assert_eq!(start.unwrap()["is"]["state"], "doubt");
    world.run(&["recover", "--show"]).exits(0).says("doubt: done or not?");
}

#[test]
fn a_step_that_begins_anew_is_not_shown_as_one_that_never_began() {
    let world = self::world();
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let repeatable = plan.replace("start = { command", "start = { repeatable = true, command");
    std::fs::write(world.path("plan.toml"), repeatable).unwrap();
    killed_while_it_starts(&world);
    let broken_off: Vec<_> = steps(&world).iter().map(|step| step["broken_off"].clone()).collect();
    assert_eq!(broken_off, [false, true, false]);
    world.run(&["recover", "--show"]).exits(0).says("broken off, half done").says("waits");
}

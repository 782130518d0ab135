//! The bad day.

use crate::world::{World, finish, hostname, same};
use std::fs;
use testkit::tree::grow;

#[test]
fn a_recovery_shows_what_it_will_do_and_touches_nothing_until_told() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    fs::remove_file(world.data().join("a")).unwrap();
    world.run(&["recover", "--dry-run"]).exits(0).says("the newest complete point").says("replaces");
    assert!(!world.data().join("a").exists());
    world.run(&["recover"]).exits(64).says("--yes");
    assert!(!world.data().join("a").exists());
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["system"], "shop");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(world.data().join("a")).unwrap(), "a");
}

#[test]
fn another_machine_is_refused_unless_it_stands_in() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace(&format!("name = {:?}", hostname()), "name = \"burnt\""))
        .unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("--stand-in");
    world.run(&["recover", "--yes", "--stand-in"]).exits(0);
}

#[test]
fn a_bare_machine_with_the_plan_and_the_keys_is_enough() {
    let world = World::new();
    grow(&world.data(), 51, 50);
    world.run(&["backup"]).exits(0);
    fs::rename(world.data(), world.path("what-it-was")).unwrap();
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::remove_dir_all(world.path("near")).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
    same(&world.path("what-it-was"), &world.data());
}

#[test]
fn systems_come_back_in_the_order_of_their_needs_and_are_timed_until_they_answer() {
    let world = World::new();
    let log = world.path("log");
    let record = |word: &str| format!("command = [\"sh\", \"-c\", \"echo {word} >> {}\"]", log.display());
    fs::write(world.data().join("a"), "a").unwrap();
    let more = format!(
        "needs = [\"base\"]\nrecover.stop = {{ {} }}\nrecover.start = {{ {} }}\ncheck = [{{ {} }}]\n\
         [systems.base]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{:?}] }}\n\
         recover.stop = {{ {} }}\nrecover.start = {{ {} }}\n",
        record("stop-shop"),
        record("start-shop"),
        record("check-shop"),
        world.path("base"),
        record("stop-base"),
        record("start-base"),
    );
    fs::create_dir(world.path("base")).unwrap();
    fs::write(world.path("base/settings"), "a").unwrap();
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    let told = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    let lines: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines, ["stop-shop", "stop-base", "start-base", "start-shop", "check-shop"]);
    for system in told["recovered"]["systems"].as_array().unwrap() {
        assert!(system["rta_seconds"].as_f64().unwrap() > 0.0, "{system}");
    }
}

#[test]
fn a_system_that_does_not_answer_is_not_back() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let more = "check = [{ command = [\"false\"], within = \"1 second\" }]";
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes"]).exits(2).says("NOT BACK").says("check failed");
}

#[test]
fn what_people_must_do_is_asked_and_never_taken_for_done() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let more = "[scenarios.attack]\ncause = \"cyberattack\"\nrestore_point = \"last clean\"\nisolate = [\"server\"]\n\
        before = [{ ask = \"Unplug the switch\", who = \"claire\" }]";
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    world.run(&["backup"]).exits(0);
    world
        .run(&["recover", "--scenario", "attack", "--yes"])
        .exits(1)
        .says("not confirmed: Claire: Unplug the switch")
        .says("cut server off");
}

#[test]
fn nothing_to_restore_from_is_said_before_anything_is_touched() {
    let world = World::new();
    world.run(&["recover", "--yes"]).exits(2).says("no restore point");
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes", "--point", "deadbeef"]).exits(2);
    let unknown = finish(&mut world.command(&["recover", "--yes", "--before", "yesterday"]));
    assert_eq!(unknown.code, 64, "{}", unknown.err);
}

#[test]
fn a_plan_that_names_other_paths_than_the_point_holds_is_said_before_anything_is_touched() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let named = |paths: &[std::path::PathBuf]| {
        let one = format!("paths = [{:?}]", world.data());
        assert!(plan.contains(&one), "{plan}");
        fs::write(world.path("plan.toml"), plan.replace(&one, &format!("paths = {paths:?}"))).unwrap();
    };
    let (typo, data) = (world.path("datas"), world.data());
    fs::remove_file(data.join("a")).unwrap();
    named(std::slice::from_ref(&typo));
    let said = format!("the plan names {}, the point holds {}", typo.display(), data.display());
    world.run(&["recover", "--dry-run"]).exits(2).says(&said).says("correct `paths`");
    world.run(&["recover", "--yes"]).exits(2).says("releve restore shop --to DIR --path");
    world.run(&["check"]).exits(1).says(&said);
    assert!(!data.join("a").exists() && !typo.exists());
    named(&[data.clone(), typo.clone()]);
    let one = format!("the plan names {}, which the point does not hold", typo.display());
    world.run(&["recover", "--dry-run"]).exits(0).says(&one);
    named(std::slice::from_ref(&data));
    world.run(&["recover", "--yes"]).exits(0);
    assert!(data.join("a").exists());
}

//! What can be typed, and what it promises.

use crate::world::{World, files, finish};
use std::process::Command;

const VERBS: [&str; 15] = [
    "init",
    "check",
    "backup",
    "points",
    "restore",
    "recover",
    "verify",
    "sync",
    "key",
    "status",
    "agent",
    "state",
    "schema",
    "completions",
    "demo",
];

#[test]
fn every_verb_explains_itself_with_examples() {
    let world = World::new();
    for verb in VERBS {
        let run = world.run(&[verb, "--help"]).exits(0);
        assert!(run.out.contains("Examples:"), "{verb}: {}", run.out);
    }
}

#[test]
fn the_plan_that_init_writes_passes_check_and_its_first_backup_can_be_tried() {
    let world = World::new();
    let folder = world.path("fresh");
    let dir = folder.to_str().unwrap();
    world.run(&["init", "--dir", dir]).exits(0).says("plan.toml");
    let plan = folder.join("plan.toml");
    let check = |arguments: &[&str]| {
        finish(Command::new(env!("CARGO_BIN_EXE_releve")).arg("--plan").arg(&plan).args(arguments))
    };
    // Other tests' servers may run on this machine, and are found: their secrets aren't here.
    check(&["check", "--offline"]).exits(0).says("warning");
    world.run(&["init", "--dir", dir]).exits(2).says("--force");
}

#[test]
fn check_names_all_faults_at_once_with_their_lines() {
    let world = World::new();
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let wrong =
        plan.replace("owner = \"hugo\"", "owner = \"hug\"").replace("rpo = \"1 hour\"", "rpo = \"5 minuts\"");
    std::fs::write(world.path("plan.toml"), wrong).unwrap();
    let told = world.run(&["check", "--json"]).exits(65).json();
    let errors: Vec<_> =
        told["diagnostics"].as_array().unwrap().iter().filter(|one| one["severity"] == "error").collect();
    assert_eq!(errors.len(), 2, "{told}");
    assert!(errors.iter().all(|error| error["line"].as_u64().unwrap() > 1 && error["help"].is_string()));
}

#[test]
fn check_finds_what_the_plan_counts_on_and_this_machine_lacks_with_its_line() {
    let world = World::new();
    world.run(&["check", "--offline"]).exits(0);
    std::fs::remove_file(world.path("near.key")).unwrap();
    std::fs::remove_dir(world.data()).unwrap();
    let found = world.run(&["check", "--json"]).exits(1).json();
    let all = found["diagnostics"].as_array().unwrap();
    for code in ["missing-secret", "missing-path"] {
        let one = all.iter().find(|one| one["code"] == code).unwrap_or_else(|| panic!("{code}: {found}"));
        assert!(one["line"].as_u64().unwrap() > 1 && one["help"].is_string(), "{one}");
    }
    assert!(all.iter().any(|one| one["code"] == "nobody-told"), "{found}");
    let offline = world.run(&["check", "--offline", "--json"]).exits(0).json();
    assert!(!offline.to_string().contains("missing-"), "{offline}");
}

#[test]
fn check_refuses_the_password_that_the_first_backup_refuses_and_no_other() {
    let world = World::new();
    std::fs::write(world.path("near.key"), "pw\n").unwrap();
    std::fs::write(world.data().join("a"), "a").unwrap();
    let said = "the new password is refused: it has fewer than 15 characters";
    let told = world.run(&["check", "--json"]).exits(1).json();
    let mut all = told["diagnostics"].as_array().unwrap().iter();
    let weak = all.find(|one| one["code"] == "weak-password").unwrap_or_else(|| panic!("{told}"));
    assert!(weak["message"].as_str().unwrap().contains(said) && weak["help"].is_string(), "{weak}");
    world.run(&["backup"]).exits(1).says(said);
    std::fs::write(world.path("near.key"), crate::world::PASSWORD).unwrap();
    world.run(&["backup"]).exits(0);
    let told = world.run(&["check", "--json"]);
    assert!(!told.out.contains("weak-password"), "{}", told.out);
}

#[test]
fn the_schema_and_the_completions_are_printed() {
    let world = World::new();
    assert!(world.run(&["schema"]).exits(0).json()["$schema"].is_string());
    for shell in ["bash", "zsh", "fish"] {
        world.run(&["completions", shell]).exits(0).says("recover");
    }
}

#[test]
fn json_is_one_document_and_nothing_else_is_said() {
    let world = World::new();
    std::fs::write(world.data().join("a"), "a").unwrap();
    for arguments in [
        &["backup"][..],
        &["points"],
        &["status"],
        &["verify"],
        &["sync"],
        &["recover", "--yes"],
        &["state", "verify"],
    ] {
        let run = world.run(&[arguments, &["--json"]].concat());
        run.json();
        assert_eq!(run.err, "", "{arguments:?}");
    }
}

#[test]
fn nothing_is_left_beside_the_state_and_the_vaults() {
    let world = World::new();
    std::fs::write(world.data().join("a"), "a").unwrap();
    let before = files(&world.path("")).len();
    world.run(&["check"]).exits(0);
    world.run(&["recover", "--dry-run"]);
    let after = files(&world.path(""));
    let own = after.iter().filter(|path| path.starts_with(world.path("state"))).count();
    assert_eq!(after.len() - own, before, "{after:?}");
}

/// Runs the program with nobody behind its output, and fails the test if it panics; returns its exit status.
fn unread(world: &World, arguments: &[&str]) -> Option<i32> {
    let nobody = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let run = world.command(arguments).stdout(nobody()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    let deaf = world.command(arguments).stdout(nobody()).stderr(nobody()).status().unwrap();
    // A panic ends with 101, whether anybody hears of it or not.
    assert!(deaf.code().is_some_and(|code| code != 101), "{arguments:?}: {deaf}");
    run.status.code()
}

#[test]
fn a_reader_who_has_seen_enough_gets_no_complaint_from_any_verb() {
    let world = World::new();
    let help = world.run(&["help"]).exits(0).out;
    let (_, verbs) = help.split_once("Commands:").unwrap();
    let (verbs, _) = verbs.split_once("\n\n").unwrap();
    let verbs: Vec<_> = verbs.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.len() > 20, "{help}");
    for verb in &verbs {
        unread(&world, &[verb, "--help"]);
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert_eq!(unread(&world, &["completions", shell]), Some(141), "{shell}");
    }
    for shows in [&["status"][..], &["points"], &["schema"], &["scenarios"], &["incident", "list", "--json"]]
    {
        assert_eq!(unread(&world, shows), Some(141), "{shows:?}");
    }
    for more in [
        &["check"][..],
        &["--version"],
        &["nonsense"],
        &["key", "list"],
        &["key", "generate"],
        &["immutable"],
        &["state", "verify"],
        &["isolate", "--dry-run"],
        &["incident", "show"],
        &["scenarios", "show", "ransomware"],
        &["recover", "--dry-run"],
        &["recover", "--show"],
        &["answer", "3"],
        &["prune"],
        &["sync", "--dry-run"],
        &["restore", "shop", "--to", "out"],
        &["notify", "test", "--dry-run"],
        &["init", "--dir", "plan"],
    ] {
        unread(&world, more);
    }
}

#[test]
fn what_is_done_is_done_to_its_end_although_nobody_reads_of_it() {
    let world = World::new();
    std::fs::write(world.data().join("a"), "a").unwrap();
    assert_eq!(unread(&world, &["backup", "--json"]), Some(0));
    assert_eq!(unread(&world, &["verify", "--read-data", "all", "--json"]), Some(0));
    std::fs::remove_file(world.data().join("a")).unwrap();
    assert_eq!(unread(&world, &["recover", "--yes", "--json"]), Some(0));
    assert!(world.data().join("a").exists());
}

#[test]
fn what_a_full_disk_did_not_take_is_said() {
    let world = World::new();
    std::fs::write(world.data().join("a"), "a").unwrap();
    let full = |arguments: &[&str], code: i32| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let run = finish(world.command(arguments).stdout(full)).exits(code);
        assert!(!run.err.contains("panicked"), "{arguments:?}: {}", run.err);
        run
    };
    let lost = "can't be written: No space left";
    full(&["backup"], 0);
    // What only shows something has failed.
    for shows in [
        &["schema"][..],
        &["completions", "bash"],
        &["points"],
        &["status"],
        &["scenarios"],
        &["incident", "list"],
    ] {
        full(shows, 2).says(lost);
    }
    full(&["--help"], 2);
    // A secret is printed nowhere else.
    let run = full(&["key", "generate"], 2).says(lost);
    assert!(run.err.lines().all(|line| line.starts_with("error: ")), "{}", run.err);
    // What is done is done to its end, and what could not be printed is said beside: a finding.
    for (acts, said) in [
        (&["backup", "--json"][..], "\"record\""),
        (&["verify", "--read-data", "all", "--json"], "\"vault\""),
        (&["restore", "shop", "--to", "out", "--json"], "\"restored\""),
        (&["sync", "--json"], "{"),
        (&["prune", "--dry-run", "--json"], "{"),
        (&["recover", "--yes"], "BACK AFTER"),
        (&["recover", "--yes", "--json"], "\"recovered\""),
    ] {
        if acts[0] == "recover" {
            std::fs::remove_file(world.data().join("a")).unwrap();
        }
        let run = full(acts, 1).says(lost).says(said).says("what was done is done");
        assert!(world.data().join("a").exists(), "{}", run.err);
    }
    // Nothing is left open by that.
    world.run(&["recover", "--show", "--json"]).exits(0).says("\"recoveries\": []");
}

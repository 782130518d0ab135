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
    check(&["check"]).exits(0).says("warning");
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

#[test]
fn a_reader_who_has_seen_enough_gets_no_complaint() {
    let world = World::new();
    for verb in ["status", "points", "schema"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = world.command(&[verb]).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(run.status.code(), Some(141), "{verb}");
    }
}

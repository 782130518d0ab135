//! The README's first command.

use crate::world::{World, finish};
use std::fs;

#[test]
fn the_demo_brings_the_company_back_five_times_and_leaves_nothing_behind() {
    let world = World::new();
    fs::create_dir(world.path("tmp")).unwrap();
    fs::write(world.data().join("mine.txt"), "mine").unwrap();
    let data = world.data();
    let told = finish(
        world.command(&["demo", "--json", "--data", data.to_str().unwrap()]).env("TMPDIR", world.path("tmp")),
    )
    .exits(0)
    .json();
    let crashes = told["crashes"].as_array().unwrap();
    assert_eq!(crashes.len(), 5, "{told}");
    assert!(crashes.iter().all(|crash| crash["files_checked"].as_u64().unwrap() > 40), "{told}");
    let left: Vec<_> = fs::read_dir(world.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(fs::read_to_string(world.data().join("mine.txt")).unwrap(), "mine");
}

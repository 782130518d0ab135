//! The README's first command.

use crate::world::{World, finish};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The server's database is a cluster of PostgreSQL where another user can get to it, and SQLite otherwise.
#[test]
fn the_demo_crashes_a_real_cluster_where_one_can_run_and_says_which_database_it_has() {
    let world = World::new();
    fs::set_permissions(world.path(""), PermissionsExt::from_mode(0o711)).unwrap();
    let told = finish(world.command(&["demo"]).env("TMPDIR", world.path(""))).exits(0);
    assert!(told.out.contains("orders in a PostgreSQL "), "{}", told.out);
    // Its server has ended with it.
    let works_there = |entry: fs::DirEntry| {
        fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(world.path("")))
    };
    assert!(!fs::read_dir("/proc").unwrap().any(|entry| works_there(entry.unwrap())));
}

#[test]
fn the_demo_brings_the_company_back_five_times_and_leaves_nothing_behind() {
    let world = World::new();
    fs::create_dir(world.path("demo")).unwrap();
    fs::write(world.data().join("mine.txt"), "mine").unwrap();
    let data = world.data();
    let told = finish(
        world
            .command(&["demo", "--json", "--data", data.to_str().unwrap()])
            .env("TMPDIR", world.path("demo")),
    )
    .exits(0)
    .json();
    let crashes = told["crashes"].as_array().unwrap();
    assert_eq!(crashes.len(), 5, "{told}");
    assert!(crashes.iter().all(|crash| crash["files_checked"].as_u64().unwrap() > 40), "{told}");
    let left: Vec<_> = fs::read_dir(world.path("demo")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(fs::read_to_string(world.data().join("mine.txt")).unwrap(), "mine");
}

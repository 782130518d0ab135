//! Killed at any instant: every earlier point stays whole, the next run succeeds, restic finds nothing wrong.

use crate::world::{World, files};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::tree::grow;
use testkit::{Random, pause, wait_until};

const KILLS: usize = 25;

/// Returns how long a whole run takes here: kills are spread over it.
fn whole_run(world: &World, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    world.run(arguments).exits(0);
    begun.elapsed()
}

fn kill_after(world: &World, arguments: &[&str], time: Duration) {
    let mut child = world.start(arguments);
    pause(time);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn a_backup_killed_at_any_instant_costs_nothing_that_was_there() {
    let world = World::new();
    let mut random = Random::new(41);
    grow(&world.data(), 41, 100);
    let noise = |random: &mut Random| fs::write(world.data().join("noise"), random.bytes(6 << 20)).unwrap();
    noise(&mut random);
    let time = whole_run(&world, &["backup"]);
    world.run(&["restore", "shop", "--to", "first"]).exits(0);
    let first = world.points()[0]["id"].as_str().unwrap().to_owned();
    for _ in 0..KILLS {
        noise(&mut random);
        kill_after(&world, &["backup"], time.mul_f64(random.below(1000) as f64 / 900.0));
    }
    for vault in ["near", "far"] {
        let restic = world.restic(vault);
        // The dead leave their locks: restic wants to be told that they are dead, we see it.
        restic.must(&["unlock"]);
        restic.must(&["check", "--read-data"]);
    }
    world.run(&["restore", "shop", "--to", "first-again", "--point", &first]).exits(0);
    crate::world::same(&world.path("first"), &world.path("first-again"));
    world.run(&["backup"]).exits(0);
    world.restores_whole("out");
    world.run(&["verify", "--read-data", "all"]).exits(0);
}

#[test]
fn a_first_backup_killed_within_seconds_is_not_uploaded_again_from_its_beginning() {
    let world = World::new();
    fs::write(world.data().join("noise"), Random::new(45).bytes(128 << 20)).unwrap();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let near_only = plan.replace(r#"vaults = ["near", "far"]"#, r#"vaults = ["near"]"#);
    let slow = near_only.replace("[vaults.near]\n", "[vaults.near]\nbandwidth = \"40 MB/s\"\n");
    fs::write(world.path("plan.toml"), slow).unwrap();
    let of = |folder: &str| match world.path(folder).exists() {
        true => files(&world.path(folder)),
        false => Vec::new(),
    };
    let uploaded = || -> u64 {
        of("near/data").iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum()
    };
    // What is being written still has another name.
    let is_index = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == 64);
    let is_named = || of("near/index").iter().any(is_index);
    let mut child = world.start(&["backup"]);
    let named = wait_until(Duration::from_secs(60), is_named);
    let _ = child.kill();
    child.wait().unwrap();
    assert!(named && uploaded() < 112 << 20, "the first index came with the last pack: {} bytes", uploaded());
    fs::write(world.path("plan.toml"), near_only).unwrap();
    world.run(&["backup"]).exits(0);
    // What was under way, and no more, comes twice.
    assert!(uploaded() < 176 << 20, "{} bytes", uploaded());
}

#[test]
fn a_restore_killed_at_any_instant_leaves_whole_files_and_goes_on_where_it_was() {
    let world = World::new();
    let mut random = Random::new(43);
    grow(&world.data(), 43, 150);
    fs::write(world.data().join("noise"), random.bytes(8 << 20)).unwrap();
    world.run(&["backup"]).exits(0);
    let time = whole_run(&world, &["restore", "shop", "--to", "measured"]);
    let mut kept = 0;
    for round in 0..KILLS {
        // Every few rounds from the beginning, else over what the one before left.
        if round % 5 == 0 {
            let _ = fs::remove_dir_all(world.path("out"));
        }
        kill_after(
            &world,
            &["restore", "shop", "--to", "out"],
            time.mul_f64(random.below(1000) as f64 / 900.0),
        );
        // It may not have come so far as to make it.
        fs::create_dir_all(world.path("out")).unwrap();
        for path in files(&world.path("out")) {
            let Ok(below) = path.strip_prefix(world.restored("out")) else { continue };
            if path.file_name().unwrap().to_string_lossy().starts_with(".releve-") {
                continue;
            }
            let (original, meta) = (world.data().join(below), fs::symlink_metadata(&path).unwrap());
            if meta.is_file() {
                kept += 1;
                assert!(
                    fs::read(&original).unwrap() == fs::read(&path).unwrap(),
                    "{below:?} is half-written"
                );
            }
        }
    }
    assert!(kept > 0, "every run was killed before it had restored anything");
    world.restores_whole("out");
    let left = files(&world.path("out"));
    assert!(
        !left.iter().any(|path| path.file_name().unwrap().to_string_lossy().starts_with(".releve-")),
        "{left:?}"
    );
}

#[test]
fn a_sync_killed_at_any_instant_goes_on_where_it_was() {
    let world = World::new();
    let mut random = Random::new(42);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let near_only = plan.replace(r#"vaults = ["near", "far"]"#, r#"vaults = ["near"]"#);
    grow(&world.data(), 42, 50);
    let mut time = Duration::from_millis(500);
    for _ in 0..KILLS {
        fs::write(world.path("plan.toml"), &near_only).unwrap();
        fs::write(world.data().join("noise"), random.bytes(6 << 20)).unwrap();
        world.run(&["backup"]).exits(0);
        fs::write(world.path("plan.toml"), &plan).unwrap();
        if !world.path("far").exists() {
            time = whole_run(&world, &["sync"]);
            continue;
        }
        kill_after(&world, &["sync"], time.mul_f64(random.below(1000) as f64 / 900.0));
    }
    world.restic("far").must(&["unlock"]);
    world.restic("far").must(&["check", "--read-data"]);
    world.run(&["sync"]).exits(0);
    world.run(&["points"]).exits(0);
    world.restic("far").must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

//! Copies between vaults, at a rate, by hand, and in several attempts.

use crate::world::{World, files};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::tree::grow;
use testkit::{Random, SmallDisk, pause, wait_until};

const BOTH: &str = r#"vaults = ["near", "far"]"#;
const NEAR: &str = r#"vaults = ["near"]"#;

/// Puts one text of the plan for another.
fn edit(world: &World, from: &str, to: &str) {
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    assert!(plan.contains(from), "{plan}");
    fs::write(world.path("plan.toml"), plan.replacen(from, to, 1)).unwrap();
}

/// A world whose points are in the vault near, and wanted in far as well.
fn with_point_in_near(seed: u64, noise: usize) -> World {
    let world = World::new();
    grow(&world.data(), seed, 60);
    fs::write(world.data().join("noise"), Random::new(seed).bytes(noise)).unwrap();
    edit(&world, BOTH, NEAR);
    world.run(&["backup"]).exits(0);
    edit(&world, NEAR, BOTH);
    world
}

fn limit(world: &World, bandwidth: &str) {
    edit(world, "[vaults.far]\n", &format!("[vaults.far]\nbandwidth = {bandwidth}\n"));
}

#[test]
fn a_dry_run_says_how_many_bytes_would_be_sent_and_the_run_sends_them() {
    let world = with_point_in_near(61, 3_000_000);
    // What one verb calls missing no other calls well.
    for verb in ["status", "alerts"] {
        world.run(&[verb]).exits(1).says("not in far");
    }
    // Nobody has made the vault yet: the run does, so that is nothing which stands against it.
    let told = world.run(&["sync", "--dry-run"]).exits(0).says("vault far would be created");
    told.says("would be copied to far: ").says("would be sent in all");
    let told = world.run(&["sync", "--dry-run", "--json"]).exits(0).json();
    let expected = told["missing"][0]["bytes"].as_u64().unwrap();
    assert!(!world.path("far").exists());
    let sent = world.run(&["sync", "--json"]).exits(0).json()["bytes_written"].as_u64().unwrap();
    // Packs have headers too.
    assert!((expected..expected + 50_000).contains(&sent), "{expected} {sent}");
    world.run(&["sync", "--dry-run"]).exits(0).says("nothing is missing");
    let alerts = world.run(&["alerts"]);
    assert!(!alerts.out.contains("not in far"), "{}", alerts.out);
}

#[test]
fn several_points_are_copied_newest_first_and_what_they_share_once() {
    let world = with_point_in_near(62, 2_000_000);
    edit(&world, BOTH, NEAR);
    fs::write(world.data().join("more"), Random::new(1).bytes(100_000)).unwrap();
    world.run(&["backup"]).exits(0);
    edit(&world, NEAR, BOTH);
    let told = world.run(&["sync", "--dry-run", "--json"]).json();
    let bytes = |at: usize| told["missing"][at]["bytes"].as_u64().unwrap();
    assert!(bytes(0) > 2_000_000 && bytes(1) < 50_000, "{told}");
    let points = world.points();
    let done = world.run(&["sync", "--json"]).exits(0).json();
    assert_eq!(done["copied"][0][0], points[1]["id"], "{done}");
    let sent = done["bytes_written"].as_u64().unwrap();
    assert!(sent < bytes(0) + bytes(1) + 50_000, "{done}");
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn what_keep_would_let_go_comes_back_by_no_sync_and_by_no_disk_that_is_carried() {
    let world = with_point_in_near(65, 200_000);
    edit(&world, BOTH, NEAR);
    fs::write(world.data().join("more"), Random::new(2).bytes(10_000)).unwrap();
    world.run(&["backup"]).exits(0);
    edit(&world, NEAR, &format!("{BOTH}\nkeep = {{ last = 1 }}"));
    let let_go = "1 copy is not made of older points";
    world.run(&["sync", "--seed", "disk", "--vault", "far"]).exits(0).says(let_go);
    world.run(&["sync"]).exits(0).says("copied to far").says(let_go);
    world.run(&["prune", "far", "--dry-run"]).exits(0).says("1 point stays, 0 would go");
    world.run(&["sync"]).exits(0).says("nothing is missing").says(let_go);
}

#[test]
fn what_a_disk_has_no_room_for_is_not_begun_and_said() {
    let world = with_point_in_near(66, 24 << 20);
    let disk = SmallDisk::mount(8 << 20);
    let far = disk.path().join("far");
    edit(&world, &world.vault("far"), &format!("file://{}", far.display()));
    let no_room = "1 copy is left out: there is no room in far";
    world.run(&["sync"]).exits(2).says("it takes 30.").says("no space left").says(no_room);
    assert_eq!(files(&far.join("data")), Vec::<PathBuf>::new());
    world.run(&["sync", "--dry-run"]).exits(1).says("it takes 30.").says(no_room);
}

#[test]
fn what_a_vault_lacked_that_was_away_is_no_alarm_once_it_was_copied_there() {
    let world = World::new();
    fs::write(world.data().join("file"), "content").unwrap();
    world.run(&["backup"]).exits(0);
    fs::rename(world.path("far"), world.path("away")).unwrap();
    fs::write(world.data().join("more"), "content").unwrap();
    world.run(&["backup"]).says("not in far");
    fs::rename(world.path("away"), world.path("far")).unwrap();
    world.run(&["sync"]).exits(0).says("copied to far");
    let alerts = world.run(&["alerts"]);
    assert!(!alerts.out.contains("lacks something"), "{}", alerts.out);
    let verified = world.run(&["verify", "far"]);
    assert!(!verified.err.contains("incomplete/shop"), "{}", verified.err);
}

#[test]
fn only_the_vault_that_was_named_is_filled() {
    let world = with_point_in_near(63, 1000);
    world.run(&["sync", "--vault", "near"]).exits(0).says("nothing is missing");
    world.run(&["sync", "--vault", "fra"]).exits(64).says("far");
    world.run(&["sync", "--vault", "far"]).exits(0).says("copied to far");
}

#[test]
fn an_interrupted_sync_says_so_and_the_next_one_sends_only_the_rest() {
    let world = with_point_in_near(64, 96 << 20);
    limit(&world, "\"40 MB/s\"");
    let mut child = world.command(&["sync"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let is_pack = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.len() > 1 << 20);
    let begun = || world.path("far/config").exists() && files(&world.path("far/data")).iter().any(is_pack);
    assert!(wait_until(Duration::from_secs(60), begun), "nothing arrives in far");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{said}");
    assert!(said.contains("interrupted: the next run goes on where this one was"), "{said}");
    world.restic("far").must(&["check", "--read-data"]);
    let expected =
        world.run(&["sync", "--dry-run", "--json"]).json()["missing"][0]["bytes"].as_u64().unwrap();
    assert!((1 << 20..85 << 20).contains(&expected), "{expected} bytes are left");
    let sent = world.run(&["sync", "--json"]).exits(0).json()["bytes_written"].as_u64().unwrap();
    assert!(sent < expected + 50_000, "{sent} {expected}");
    world.restic("far").must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

#[test]
fn uploads_keep_to_the_limit_of_the_hour_and_a_restore_does_not() {
    let world = with_point_in_near(65, 3_000_000);
    limit(
        &world,
        r#"[{ from = "00:00", to = "12:00", limit = "8 Mbit/s" }, { from = "12:00", to = "24:00", limit = "1 MB/s" }]"#,
    );
    let begun = Instant::now();
    world.run(&["sync"]).exits(0).says("uploads to far are limited to").says("copied to far");
    let taken = begun.elapsed();
    assert!(taken > Duration::from_millis(2800), "3 MB at 1 MB/s in {taken:?}");
    fs::write(world.data().join("noise"), Random::new(66).bytes(2_000_000)).unwrap();
    let begun = Instant::now();
    world.run(&["backup"]).exits(0).says("uploads to far are limited to");
    assert!(begun.elapsed() > Duration::from_millis(1800), "{:?}", begun.elapsed());
    fs::remove_dir_all(world.path("near")).unwrap();
    edit(&world, "8 Mbit/s", "1 kB/s");
    edit(&world, "1 MB/s", "1 kB/s");
    let begun = Instant::now();
    world.restores_whole("out");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn a_limit_of_other_hours_is_none() {
    let world = with_point_in_near(67, 1_000_000);
    // Four hours from now, wherever the night is.
    let then = |hours: i64| {
        let then = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        then.to_zoned(jiff::tz::TimeZone::UTC).strftime("%H:00").to_string()
    };
    limit(&world, &format!("[{{ from = {:?}, to = {:?}, limit = \"1 kB/s\" }}]", then(4), then(6)));
    let run = world.run(&["sync"]).exits(0).says("copied to far");
    assert!(!run.err.contains("limited"), "{}", run.err);
}

#[test]
fn the_first_copy_travels_on_a_disk_and_then_only_the_difference_over_the_line() {
    let world = with_point_in_near(68, 5_000_000);
    let disk = world.path("disk");
    let disk = disk.to_str().unwrap();
    world.run(&["sync", "--seed", disk, "--vault", "far", "--dry-run"]).exits(0).says("would be copied to");
    assert!(!world.path("disk").exists());
    world.run(&["sync", "--seed", disk, "--vault", "far"]).exits(0).says("is ready to be carried to far");
    assert!(!world.path("far").exists(), "the vault itself is not touched");
    world.restic("disk").must(&["check", "--read-data"]);
    world.run(&["sync", "--seed", disk, "--vault", "far"]).exits(0).says("nothing is missing");

    // Near the vault: without what is near the company, and without what was remembered.
    fs::rename(world.path("near"), world.path("away")).unwrap();
    fs::rename(world.path("state"), world.path("state-away")).unwrap();
    world.run(&["sync", "--from", disk, "--vault", "far"]).exits(0).says("copied to far");
    world.run(&["sync", "--from", disk, "--vault", "far"]).exits(0).says("nothing is missing");
    world.restic("far").must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::rename(world.path("state-away"), world.path("state")).unwrap();
    fs::rename(world.path("away"), world.path("near")).unwrap();

    edit(&world, BOTH, NEAR);
    fs::write(world.data().join("later"), Random::new(9).bytes(200_000)).unwrap();
    world.run(&["backup"]).exits(0);
    edit(&world, NEAR, BOTH);
    let sent = world.run(&["sync", "--json"]).exits(0).json()["bytes_written"].as_u64().unwrap();
    assert!((200_000..400_000).contains(&sent), "{sent}");
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn a_seed_put_in_the_vaults_place_is_the_vault() {
    let world = with_point_in_near(69, 1_000_000);
    world.run(&["sync", "--seed", "disk", "--vault", "far"]).exits(0);
    fs::rename(world.path("disk"), world.path("far")).unwrap();
    world.run(&["sync"]).exits(0).says("nothing is missing");
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

#[test]
fn a_seed_for_the_only_vault_there_is_gets_nothing_and_that_is_no_failure() {
    let world = World::new();
    fs::write(world.data().join("file"), "of the only vault").unwrap();
    let plan = world.path("plan.toml");
    let text = fs::read_to_string(&plan).unwrap();
    let (before, rest) = text.split_once("[vaults.far]").unwrap();
    let (_, after) = rest.split_once("[policy]").unwrap();
    let after = after.replace(r#"["near", "far"]"#, r#"["near"]"#);
    fs::write(&plan, format!("{before}[policy]{after}")).unwrap();
    world.run(&["backup"]).exits(0);
    let run = world.run(&["sync", "--seed", "disk", "--vault", "near"]).exits(0).says("nothing is missing");
    assert!(!run.out.contains("ready to be carried") && !run.err.contains("ready to be carried"));
}

#[test]
fn a_seed_goes_into_no_folder_of_somebody_elses_and_comes_from_none() {
    let world = with_point_in_near(70, 1000);
    fs::create_dir(world.path("photos")).unwrap();
    fs::write(world.path("photos/a"), "a").unwrap();
    world.run(&["sync", "--seed", "photos", "--vault", "far"]).exits(2).says("something else in this folder");
    assert_eq!(files(&world.path("photos")).len(), 1);
    world.run(&["sync", "--seed", "unmounted/disk", "--vault", "far"]).exits(2).says("is the disk mounted?");
    world.run(&["sync", "--from", "photos", "--vault", "far"]).exits(2).says("there is no seed in");
    world.run(&["sync", "--seed", "disk"]).exits(64);
    fs::create_dir_all(world.path("fresh/lost+found")).unwrap();
    world.run(&["sync", "--seed", "fresh", "--vault", "far"]).exits(0);
    fs::write(world.path("far.key"), "another").unwrap();
    world
        .run(&["sync", "--from", "fresh", "--vault", "far"])
        .exits(2)
        .says("password of the vault it was filled for");
}

#[test]
fn a_seed_that_was_killed_while_it_was_filled_is_filled_on() {
    let world = with_point_in_near(71, 20 << 20);
    let arguments = ["sync", "--seed", "disk", "--vault", "far"];
    let mut child = world.start(&arguments);
    assert!(wait_until(Duration::from_secs(60), || world.path("disk/config").exists()));
    pause(Duration::from_millis(30));
    let _ = child.kill();
    child.wait().unwrap();
    world.run(&arguments).exits(0);
    world.restic("disk").must(&["check", "--read-data"]);
}

//! Protect, look, put back.

use crate::world::{World, same};
use std::fs;
use std::time::Duration;
use testkit::tree::grow;

#[test]
fn everything_that_a_file_system_knows_comes_back() {
    let world = World::new();
    grow(&world.data(), 1, 300);
    world.run(&["backup"]).exits(0).says("created vault near");
    world.restores_whole("out");
}

#[test]
fn a_second_backup_reads_only_what_changed_and_the_first_point_stays_what_it_was() {
    let world = World::new();
    grow(&world.data(), 2, 100);
    fs::write(world.data().join("price"), "10").unwrap();
    fs::write(world.data().join("gone"), "gone").unwrap();
    // Older than the two seconds in which a file's time proves nothing.
    testkit::pause(Duration::from_millis(2200));
    world.run(&["backup"]).exits(0);
    world.run(&["restore", "shop", "--to", "before"]).exits(0);

    fs::write(world.data().join("price"), "12").unwrap();
    fs::remove_file(world.data().join("gone")).unwrap();
    let document = world.run(&["backup", "--json"]).exits(0).json();
    assert!(document["systems"][0]["bytes_new"].as_u64().unwrap() <= 2, "{document}");
    world.restores_whole("now");

    let first = world.points()[0]["id"].as_str().unwrap().to_owned();
    world.run(&["restore", "shop", "--to", "again", "--point", &first]).exits(0);
    same(&world.path("before"), &world.path("again"));
}

#[test]
fn a_change_that_keeps_size_and_time_is_noticed() {
    let world = World::new();
    let file = world.data().join("a");
    fs::write(&file, "one").unwrap();
    testkit::pause(Duration::from_millis(2200));
    world.run(&["backup"]).exits(0);
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "two").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    world.run(&["backup"]).exits(0);
    world.restores_whole("out");
}

#[test]
fn points_are_listed_with_all_that_scripts_need() {
    let world = World::new();
    fs::write(world.data().join("a"), vec![7; 1000]).unwrap();
    world.run(&["backup"]).exits(0);
    let point = &world.points()[0];
    assert_eq!(
        (&point["system"], &point["bytes"], &point["files"]),
        (&"shop".into(), &1000.into(), &1.into())
    );
    assert_eq!(
        (&point["vaults"], &point["complete"], &point["missing"]),
        (&serde_json::json!(["far", "near"]), &true.into(), &serde_json::json!([]))
    );
    assert!(point["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[test]
fn a_path_comes_back_alone_and_one_that_is_not_there_is_an_error() {
    let world = World::new();
    fs::create_dir_all(world.data().join("x/y")).unwrap();
    fs::write(world.data().join("x/y/wanted"), "1").unwrap();
    fs::write(world.data().join("x/other"), "2").unwrap();
    world.run(&["backup"]).exits(0);
    let wanted = world.data().join("x/y/wanted");
    world.run(&["restore", "shop", "--to", "out", "--path", wanted.to_str().unwrap()]).exits(0);
    assert_eq!(fs::read_to_string(world.restored("out").join("x/y/wanted")).unwrap(), "1");
    assert!(!world.restored("out").join("x/other").exists());
    world
        .run(&["restore", "shop", "--to", "out2", "--path", "/no/such"])
        .exits(2)
        .says("nothing in the point");
}

#[test]
fn the_newest_point_from_before_an_instant_is_taken() {
    let world = World::new();
    fs::write(world.data().join("a"), "old").unwrap();
    world.run(&["backup"]).exits(0);
    testkit::pause(Duration::from_millis(50));
    let between = jiff::Timestamp::now().to_string();
    testkit::pause(Duration::from_millis(50));
    fs::write(world.data().join("a"), "new!").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["restore", "shop", "--to", "out", "--before", &between]).exits(0);
    assert_eq!(fs::read_to_string(world.restored("out").join("a")).unwrap(), "old");
    world
        .run(&["restore", "shop", "--to", "out", "--before", "2001-01-01T00:00Z"])
        .exits(2)
        .says("from before");
}

#[test]
fn a_restore_over_a_damaged_folder_mends_it_and_leaves_what_is_right_alone() {
    let world = World::new();
    grow(&world.data(), 3, 50);
    fs::write(world.data().join("kept"), "kept").unwrap();
    world.run(&["backup"]).exits(0);
    world.restores_whole("out");
    fs::remove_file(world.restored("out").join("kept")).unwrap();
    let again = world.run(&["restore", "shop", "--to", "out", "--json"]).exits(0).json();
    // Links and devices are made anew each time; no content but the missing file's is written.
    assert_eq!(again["bytes"], 4, "{again}");
    same(&world.data(), &world.restored("out"));
}

#[test]
fn content_that_changed_under_the_same_size_and_time_is_found_by_comparing() {
    let world = World::new();
    fs::write(world.data().join("a"), "right").unwrap();
    world.run(&["backup"]).exits(0);
    world.restores_whole("out");
    let file = world.restored("out").join("a");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "wrong").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    world.run(&["restore", "shop", "--to", "out"]).exits(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "wrong");
    world.run(&["restore", "shop", "--to", "out", "--verify"]).exits(0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "right");
}

#[test]
fn a_command_that_fails_makes_the_point_incomplete_and_no_status_hides_it() {
    let world = World::new();
    let source =
        r#"command = { dump = ["sh", "-c", "echo half; exit 3"], load = ["sh", "-c", "cat > loaded"] }"#;
    world.write_plan_of(&world.vault("near"), &world.vault("far"), source, "");
    world.run(&["backup"]).exits(1).says("INCOMPLETE");
    assert_eq!(world.points()[0]["complete"], false);
    let status = world.run(&["status", "--json"]).exits(1).json();
    assert_eq!(status["fine"], false);
    assert_eq!(status["systems"][0]["newest_complete"], serde_json::Value::Null);
}

#[test]
fn what_a_command_printed_is_read_back_by_the_other() {
    let world = World::new();
    let source = format!(
        r#"command = {{ dump = ["echo", "the dump"], load = ["sh", "-c", "cat > {}"] }}"#,
        world.path("loaded").display()
    );
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(world.path("loaded")).unwrap(), "the dump\n");
}

#[test]
fn a_database_is_whole_although_somebody_writes_into_it() {
    let world = World::new();
    let path = world.data().join("orders.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.execute_batch("create table a (x integer); create table b (x integer)").unwrap();
    let source = format!("sqlite = {{ path = {path:?} }}");
    world.write_plan_of(
        &world.vault("near"),
        &world.vault("far"),
        &source,
        "check = [{ sql = \"select count(*) > 0 from a\" }]",
    );
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let writer = rusqlite::Connection::open(&path).unwrap();
            writer.busy_timeout(Duration::from_secs(10)).unwrap();
            for x in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                writer
                    .execute_batch(&format!(
                        "begin; insert into a values ({x}); insert into b values ({x}); commit"
                    ))
                    .unwrap();
            }
        });
        testkit::pause(Duration::from_millis(200));
        world.run(&["backup"]).exits(0);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(database);
    fs::remove_file(&path).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
    let database = rusqlite::Connection::open(&path).unwrap();
    let (a, b): (i64, i64) = database
        .query_row("select (select count(*) from a), (select count(*) from b)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!(a > 0 && a == b, "{a} {b}");
}

#[test]
fn status_says_what_would_be_lost_and_never_calls_the_untested_fine() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["status"]).exits(1);
    world.run(&["backup"]).exits(0);
    let untested = world.run(&["status"]).exits(1).says("if this crashed now, you would lose").says("NEVER");
    assert!(!untested.out.contains("ok  "), "{}", untested.out);
    world.run(&["verify", "--read-data", "all"]).exits(0);
    world.run(&["status"]).exits(1).says("UNKNOWN");
    world.run(&["recover", "--yes"]).exits(0);
    let known = world.run(&["status", "--json"]).exits(0).json();
    assert_eq!(known["fine"], true, "{known}");
    // A point that is younger than the verification takes nothing from it.
    fs::write(world.data().join("a"), "b").unwrap();
    world.run(&["backup"]).exits(0);
    let since =
        world.run(&["status"]).exits(0).says("all of it; sound").says("not verified yet (made since)");
    assert!(!since.out.contains("NEVER"), "{}", since.out);
    let since = world.run(&["status", "--json"]).exits(0).json();
    let system = &since["systems"][0];
    assert_eq!(
        (&system["verified"], &system["verifications"][0]["sound"]),
        (&serde_json::Value::Null, &true.into())
    );
}

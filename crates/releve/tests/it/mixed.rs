//! A recovery never mixes two states: not with what a newer one left beside, not with another system's part, and not with an older point that nobody chose.

use crate::world::{World, files};
use std::fs;
use std::path::{Path, PathBuf};

const DATABASE: &[u8] = b"SQLite format 3\0and pages";
const JOURNAL: &[u8] = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7and pages of the crash";

/// Returns what was set aside in a folder.
fn aside(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.contains(".releve-set-aside-"));
    names.sort();
    names
}

#[test]
fn what_sqlite_would_play_into_a_database_of_the_point_is_set_aside_and_nothing_else() {
    let world = World::new();
    let data = world.data();
    fs::write(data.join("a.db"), DATABASE).unwrap();
    // One that was open when the point was made came with its log.
    fs::write(data.join("open.db"), DATABASE).unwrap();
    fs::write(data.join("open.db-wal"), "of the point").unwrap();
    fs::write(data.join("letter"), "no database").unwrap();
    world.run(&["backup"]).exits(0);
    let crash = || {
        // One is written over, of the other only the log is newer.
        fs::write(data.join("a.db"), b"SQLite format 3\0and newer pages").unwrap();
        fs::write(data.join("a.db-journal"), JOURNAL).unwrap();
        fs::write(data.join("a.db-shm"), "shared").unwrap();
        fs::write(data.join("open.db-wal"), "of the crash").unwrap();
        fs::write(data.join("letter-wal"), "a text of somebody").unwrap();
    };
    crash();
    let journal = data.join("a.db-journal").display().to_string();
    world.run(&["recover", "--dry-run"]).exits(0).says(&journal).says("is set aside");
    assert!(aside(&data).is_empty());
    let is_right = || {
        assert_eq!(fs::read(data.join("a.db")).unwrap(), DATABASE);
        assert_eq!(fs::read(data.join("open.db-wal")).unwrap(), b"of the point");
        assert!(!data.join("a.db-journal").exists() && !data.join("a.db-shm").exists());
        assert!(data.join("letter-wal").exists());
        let names = aside(&data);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].starts_with("a.db-journal.") && names[1].starts_with("a.db-shm."), "{names:?}");
        assert_eq!(fs::read(data.join(&names[0])).unwrap(), JOURNAL);
        names.iter().for_each(|name| fs::remove_file(data.join(name)).unwrap());
    };
    world.run(&["recover", "--yes"]).exits(0).says("was of a newer state of its database");
    is_right();
    crash();
    world.run(&["restore", "shop", "--to", "/"]).exits(0).says("was of a newer state of its database");
    is_right();
    // One file alone has its folder's company, too, also what the point has there but isn't asked for. The others keep theirs.
    crash();
    let alone = |name: &str| {
        let path = data.join(name).display().to_string();
        let args = ["restore", "shop", "--to", "/", "--path", &path];
        world.run(&args).exits(0).says("was of a newer state of its database");
        assert_eq!(fs::read(data.join(name)).unwrap(), DATABASE);
        aside(&data)
    };
    let names = alone("a.db");
    assert!(!data.join("a.db-journal").exists() && !data.join("a.db-shm").exists());
    assert_eq!(fs::read(data.join("open.db-wal")).unwrap(), b"of the crash");
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(alone("open.db").len(), 3);
    assert!(!data.join("open.db-wal").exists() && data.join("letter-wal").exists());
}

#[test]
fn newer_files_of_other_databases_are_named_and_stay() {
    let world = World::new();
    let data = world.data();
    for (name, text) in [("CURRENT", "MANIFEST-000001"), ("MANIFEST-000001", "m"), ("000002.ldb", "t")] {
        fs::write(data.join(name), text).unwrap();
    }
    world.run(&["backup"]).exits(0);
    fs::write(data.join("000003.log"), "of the crash").unwrap();
    world.run(&["recover", "--dry-run"]).exits(0).says("LevelDB or RocksDB").says("000003.log");
    world.run(&["recover", "--yes"]).exits(1).says("there stand 1 newer files");
    assert!(data.join("000003.log").exists());
    fs::remove_file(data.join("000003.log")).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
}

/// Adds a system that has a folder of the other's as its own.
fn with_inner(world: &World) -> PathBuf {
    let inner = world.data().join("sub");
    fs::create_dir(&inner).unwrap();
    let more = format!(
        "[systems.inner]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{inner:?}] }}\n"
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    inner
}

#[test]
fn of_two_systems_one_below_the_other_each_place_comes_back_from_one_point() {
    let world = World::new();
    let inner = with_inner(&world);
    fs::write(world.data().join("own"), "own").unwrap();
    let write = |text: &str| {
        for n in 0..60 {
            let letter = format!("{text}: letter {n} of the day, to be read and answered\n").repeat(20);
            fs::write(inner.join(format!("f{n}")), letter).unwrap();
        }
    };
    let are =
        |text: &str| files(&inner).iter().all(|file| fs::read_to_string(file).unwrap().starts_with(text));
    write("old");
    world.run(&["check"]).says("and both capture it");
    world.run(&["backup"]).exits(0);
    write("newest");
    world.run(&["backup", "inner"]).exits(0);
    for _ in 0..2 {
        fs::remove_dir_all(world.data()).unwrap();
        world.run(&["recover", "--yes"]).exits(0).says("`shop` leaves it out");
        assert!(are("newest"));
        assert_eq!((files(&inner).len(), world.data().join("own").exists()), (60, true));
    }
    // Alone, the wider one has all that it holds.
    fs::remove_dir_all(world.data()).unwrap();
    world.run(&["recover", "shop", "--yes"]).exits(0).says("`releve recover shop inner`");
    assert!(are("old"));
    assert_eq!(files(&inner).len(), 60);
}

#[test]
fn of_a_place_that_another_system_puts_back_nothing_is_foretold() {
    let world = World::new();
    let inner = with_inner(&world);
    fs::write(inner.join("x"), "a file").unwrap();
    world.run(&["backup"]).exits(0);
    fs::remove_file(inner.join("x")).unwrap();
    fs::create_dir(inner.join("x")).unwrap();
    fs::write(inner.join("x/y"), "in a folder").unwrap();
    world.run(&["backup", "inner"]).exits(0);
    let foretold = |args: &[&str]| {
        let book = world.run(&[&["recover", "--dry-run", "--json"], args].concat()).exits(0).json();
        let warnings = book["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap());
        warnings.filter(|warning| warning.contains("/sub/x: a folder")).count()
    };
    assert_eq!(foretold(&["shop"]), 1, "alone it puts its own file there");
    assert_eq!(foretold(&[]), 0);
}

#[test]
fn the_newest_point_that_cant_be_read_is_missed_and_the_older_one_no_quiet_answer() {
    let world = World::new();
    fs::write(world.data().join("a"), "first").unwrap();
    world.run(&["backup"]).exits(0);
    let before: Vec<Vec<PathBuf>> =
        ["near", "far"].map(|vault| files(&world.path(vault).join("snapshots"))).to_vec();
    fs::write(world.data().join("a"), "second").unwrap();
    world.run(&["backup"]).exits(0);
    for (vault, before) in ["near", "far"].into_iter().zip(before) {
        let snapshots = files(&world.path(vault).join("snapshots"));
        let newest = snapshots.into_iter().find(|file| !before.contains(file)).unwrap();
        fs::remove_file(&newest).unwrap();
        fs::write(newest, "").unwrap();
    }
    let said = "1 newer point of shop can't be read in far and near";
    world.run(&["recover", "--dry-run"]).exits(1).says(said);
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(1).json();
    assert!(book["systems"][0]["lacks"].as_str().unwrap().contains(said), "{book}");
    world.run(&["alerts"]).exits(1).says("can't be read");
    // A light look that only counts names doesn't end that.
    world.run(&["recover", "--yes"]).exits(1).says(said);
    assert_eq!(fs::read(world.data().join("a")).unwrap(), b"first");
}

#[test]
fn begun_anew_what_was_done_once_stays_done_and_nothing_behind_what_is_in_doubt_runs() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let log = world.path("log");
    let run = |name: &str, more: &str| {
        format!("{{ run = [\"sh\", \"-c\", \"echo {name} >> {}{more}\"] }}", log.display())
    };
    let more = format!("recover.before = [{}, {}]\n", run("one", ""), run("two", "; sleep 20"));
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    fs::remove_file(world.data().join("a")).unwrap();
    let mut killed = world.start(&["recover", "--yes"]);
    let has_two = || fs::read_to_string(&log).is_ok_and(|text| text.contains("two"));
    let begun = std::time::Instant::now();
    while !has_two() && begun.elapsed().as_secs() < 20 {
        testkit::pause(std::time::Duration::from_millis(50));
    }
    // Noted before it began.
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.run(&["recover", "--anew", "--yes"]).exits(2).says("stays as it is (done");
    assert!(!world.data().join("a").exists(), "nothing behind it ran");
    let shown = world.run(&["recover", "--show", "--json"]).exits(0).json();
    let steps = shown["recoveries"][0]["steps"].as_array().unwrap();
    let doubts: Vec<_> = steps.iter().filter(|step| step["is"]["state"] == "doubt").collect();
    assert_eq!(doubts.len(), 1, "{shown}");
    let doubt = doubts[0]["step"].to_string();
    world.run(&["recover", "--resume", "--done", &doubt, "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(world.data().join("a")).unwrap(), "a");
    assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\n");
}

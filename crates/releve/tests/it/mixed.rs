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
    // One file alone has its folder's company, too. The others keep theirs.
    crash();
    let path = data.join("a.db").display().to_string();
    let run = world.run(&["restore", "shop", "--to", "/", "--path", &path]).exits(0);
    run.says("was of a newer state of its database");
    assert_eq!(fs::read(data.join("a.db")).unwrap(), DATABASE);
    assert!(!data.join("a.db-journal").exists() && !data.join("a.db-shm").exists());
    assert_eq!(fs::read(data.join("open.db-wal")).unwrap(), b"of the crash");
    assert_eq!(aside(&data).len(), 2, "{:?}", aside(&data));
}

#[test]
fn what_belongs_to_a_database_of_the_point_comes_with_it_when_it_is_named_alone() {
    const WAL: &[u8] = b"\x37\x7f\x06\x82and what was committed last";
    let world = World::new();
    let data = world.data();
    let put = |name: &str, bytes: &[u8]| fs::write(data.join(name), bytes).unwrap();
    let files: [(&str, &[u8]); 12] = [
        ("a.db", DATABASE),
        ("a.db-wal", WAL),
        ("a.db-shm", b"shared"),
        ("a.db-mj0A1B2C9D4", b"names of journals"),
        ("b.db", DATABASE),
        ("b.db-journal", JOURNAL),
        // An empty log is none, and what only has the name of one isn't touched.
        ("c.db", DATABASE),
        ("c.db-wal", b""),
        ("letter", b"a text"),
        ("letter-wal", b"another"),
        ("t.MYI", b"half of a table"),
        ("t.MYD", b"the other half"),
    ];
    for (name, bytes) in files {
        put(name, bytes);
    }
    world.run(&["backup"]).exits(0);
    let restore = |to: &str, names: &[&str], more: &[&str]| {
        let paths: Vec<String> = names.iter().map(|name| data.join(name).display().to_string()).collect();
        let mut args = vec!["restore", "shop", "--to", to];
        paths.iter().for_each(|path| args.extend(["--path", path.as_str()]));
        args.extend(more);
        world.run(&args)
    };
    let there = |to: &str| {
        let entries = fs::read_dir(world.restored(to)).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    };
    // What is named, what comes back, what is said of it, and the exit status.
    let table: [(&[&str], &str, &str, i32); 7] = [
        (
            &["a.db"],
            "a.db a.db-wal",
            "a.db-wal comes along: without it what was committed last is missing",
            0,
        ),
        (
            &["b.db"],
            "a.db-mj0A1B2C9D4 b.db b.db-journal",
            "b.db-journal comes along: without it a transaction",
            0,
        ),
        (&["a.db", "a.db-wal"], "a.db a.db-wal", "2 restored", 0),
        (&["c.db"], "c.db", "1 restored", 0),
        (&["letter"], "letter", "1 restored", 0),
        (&["a.db-wal"], "a.db-wal", "a.db-wal comes without ", 1),
        (&["t.MYI"], "t.MYI", "of MyISAM the point has 1 more here", 1),
    ];
    for (at, (names, expected, said, code)) in table.into_iter().enumerate() {
        let to = format!("out{at}");
        let dry = restore(&to, names, &["--dry-run"]).exits(0);
        if !said.ends_with(" restored") {
            dry.says(said);
        }
        restore(&to, names, &[]).exits(code).says(said);
        assert_eq!(there(&to), expected, "{names:?}");
    }
    // In place too, where a log of the crash stands; and also where what is too much is removed.
    let ways: [&[&str]; 2] = [&[], &["--delete", "--yes"]];
    for more in ways {
        put("a.db", b"SQLite format 3\0and newer pages");
        put("a.db-wal", b"\x37\x7f\x06\x82of the crash");
        restore("/", &["a.db"], more).exits(0).says("comes along");
        assert_eq!(fs::read(data.join("a.db")).unwrap(), DATABASE);
        assert_eq!(fs::read(data.join("a.db-wal")).unwrap(), WAL);
    }
    let told = restore("/", &["a.db"], &["--dry-run", "--json"]).exits(0).json();
    assert!(told["along"][0].as_str().unwrap().contains("a.db-wal comes along"), "{told}");
    // What comes first isn't half of a database for a while.
    let first = data.join("a.db").display().to_string();
    let run = world.run(&["restore", "shop", "--to", "first", "--first", &first]).exits(0);
    run.says("what comes first is complete: 4 entries");
}

#[test]
fn what_was_changed_since_the_point_is_said_before_it_is_written_over() {
    let world = World::new();
    let data = world.data();
    for name in ["a", "b", "same"] {
        fs::write(data.join(name), "of the point").unwrap();
    }
    world.run(&["backup"]).exits(0);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    for name in ["a", "b"] {
        fs::write(data.join(name), "work of today").unwrap();
        fs::File::options().write(true).open(data.join(name)).unwrap().set_modified(later).unwrap();
    }
    fs::write(data.join("new"), "not in the point").unwrap();
    let args = ["restore", "shop", "--to", "/"];
    let dry = world.run(&["restore", "shop", "--to", "/", "--dry-run"]).exits(0);
    dry.says("2 files changed after this point was made would be overwritten");
    assert_eq!(fs::read(data.join("a")).unwrap(), b"work of today");
    let told = world.run(&["restore", "shop", "--to", "/", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(told["overwrites_newer"], 2, "{told}");
    world.run(&args).exits(0).says("2 files changed after this point was made are overwritten");
    assert_eq!(fs::read(data.join("a")).unwrap(), b"of the point");
    let again = world.run(&args).exits(0);
    assert!(!again.err.contains("overwritten"), "{}", again.err);
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

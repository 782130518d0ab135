//! SQLite databases, busy and idle.

use crate::machine::{Folder, run};
use crate::walk::{Walked, now, walk};
use rusqlite::Connection;
use source::{Kind, Landing, Source, Sqlite, Stands};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A database in which every transaction leaves the two tables with the same sum.
fn create(path: &Path, mode: &str, rows: u32) -> Connection {
    let db = Connection::open(path).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE a (n INTEGER, pad BLOB); CREATE TABLE b (n INTEGER, pad BLOB);
         WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {rows})
         INSERT INTO a SELECT n, randomblob(500) FROM r;
         INSERT INTO b SELECT * FROM a;"
    ))
    .unwrap();
    db
}

fn capture(path: &Path, scratch: &Path) -> Walked {
    let capture = Sqlite::new(path).unwrap().capture(scratch, now()).unwrap();
    assert_eq!(capture.paths(), [path]);
    let walked = walk(capture.input());
    drop(capture);
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "a temporary copy was left");
    walked
}

/// Writes what was captured to a file of its own and asks it.
fn ask<T: rusqlite::types::FromSql>(content: &[u8], question: &str) -> T {
    let folder = Folder::new();
    let path = folder.write("copy.db", content);
    assert_eq!(run("sqlite3", &[&path, &"PRAGMA integrity_check"]).trim(), "ok");
    Connection::open(path).unwrap().query_row(question, [], |row| row.get(0)).unwrap()
}

#[test]
fn an_idle_database_comes_under_its_own_path_with_its_owner_and_mode() {
    for mode in ["delete", "wal"] {
        let folder = Folder::new();
        let (path, scratch) = (folder.dir("var/lib").join("orders.db"), folder.dir("scratch"));
        drop(create(&path, mode, 100));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(&path, Some(1234), Some(1235)).unwrap();
        run("setfattr", &[&"-n", &"user.x", &"-v", &"y", &path]);

        let before = fs::read(&path).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let walked = capture(&path, &scratch);
        assert!(before == fs::read(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);
        assert_eq!(walked.unread, []);
        assert_eq!(walked.below(&folder.path), ["var", "var/lib", "var/lib/orders.db"]);
        let (node, stat) = (&walked.nodes[&path], fs::metadata(&path).unwrap());
        assert_eq!((node.meta.mode, node.meta.uid, node.meta.gid), (0o640, 1234, 1235));
        assert_eq!(node.meta.mtime.seconds, stat.mtime());
        assert_eq!(node.meta.xattrs[0].name, b"user.x");
        assert_eq!(node.size(), walked.contents[&path].len() as u64);
        assert_eq!(ask::<u32>(&walked.contents[&path], "SELECT count(*) FROM b"), 100);
        let left: Vec<_> =
            fs::read_dir(folder.join("var/lib")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["orders.db"], "{mode}");
        // The mode of the journal is part of the database.
        assert_eq!(ask::<String>(&walked.contents[&path], "PRAGMA journal_mode"), mode);
    }
}

#[test]
fn an_unchanged_database_gives_the_same_bytes_and_the_same_entry() {
    for mode in ["delete", "wal"] {
        let folder = Folder::new();
        let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
        let db = create(&path, mode, 1000);
        let first = capture(&path, &scratch);
        let second = capture(&path, &scratch);
        assert!(first.contents[&path] == second.contents[&path]);
        assert_eq!(first.nodes[&path], second.nodes[&path]);
        // One commit, which in WAL mode doesn't touch the database file, shows in the entry.
        db.execute("INSERT INTO a VALUES (1, NULL)", []).unwrap();
        let third = capture(&path, &scratch);
        assert_ne!(first.nodes[&path].meta.mtime, third.nodes[&path].meta.mtime);
        assert_eq!(ask::<u32>(&third.contents[&path], "SELECT count(*) FROM a"), 1001);
    }
}

#[test]
fn a_copy_under_a_busy_writer_is_one_consistent_state() {
    for mode in ["delete", "truncate", "wal"] {
        let folder = Folder::new();
        let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
        let mut db = create(&path, mode, 20_000);
        let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writer = std::thread::spawn({
            let (stop, commits) = (stop.clone(), commits.clone());
            move || {
                while !stop.load(Relaxed) {
                    // Both tables, all over the file: a copy from two moments would not agree with itself.
                    let step =
                        db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
                    step.execute("UPDATE a SET n = n + 1 WHERE rowid % 1000 = 7", []).unwrap();
                    step.execute("UPDATE b SET n = n + 1 WHERE rowid % 1000 = 7", []).unwrap();
                    step.commit().unwrap();
                    commits.fetch_add(1, Relaxed);
                }
            }
        });
        while commits.load(Relaxed) < 3 {
            std::thread::yield_now();
        }
        let start = Instant::now();
        let before = commits.load(Relaxed);
        for _ in 0..3 {
            let walked = capture(&path, &scratch);
            assert_eq!(walked.unread, []);
            let differ: i64 =
                ask(&walked.contents[&path], "SELECT (SELECT sum(n) FROM a) - (SELECT sum(n) FROM b)");
            assert_eq!(differ, 0, "{mode}");
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{mode} took {:?}", start.elapsed());
        assert!(commits.load(Relaxed) > before, "{mode}: the writer never got through");
        stop.store(true, Relaxed);
        writer.join().unwrap();
    }
}

#[test]
fn a_database_that_stays_locked_is_given_up_in_time() {
    let folder = Folder::new();
    let path = folder.join("orders.db");
    let db = create(&path, "delete", 10);
    db.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let source = Sqlite::new(&path).unwrap().patience(Duration::from_millis(400));
    let start = Instant::now();
    let error = source.capture(&folder.path, now()).unwrap_err();
    assert!(matches!(error.kind, Kind::Locked { .. }) && error.is_retryable(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn what_is_no_database_is_said_to_be_none() {
    let folder = Folder::new();
    let scratch = folder.dir("scratch");
    let text = folder
        .write("text.db", "This is not a database at all, but long enough to look like one. ".repeat(20));
    let kind = |path: &Path| Sqlite::new(path).unwrap().capture(&scratch, now()).unwrap_err().kind;
    assert!(matches!(kind(&text), Kind::NotADatabase));
    assert!(matches!(kind(&folder.dir("dir.db")), Kind::NotADatabase));
    assert!(matches!(kind(&folder.join("gone.db")), Kind::NotFound));
    assert!(!folder.join("gone.db").exists());
    assert!(matches!(Sqlite::new("relative.db").unwrap_err().kind, Kind::Invalid(_)));
    assert!(matches!(Sqlite::new("/a/../b.db").unwrap_err().kind, Kind::Invalid(_)));
}

#[test]
fn a_damaged_database_is_kept_and_said_to_be_damaged() {
    let folder = Folder::new();
    let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
    drop(create(&path, "delete", 1000));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 8192 * 4096;
    bytes[middle..middle + 4096].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let walked = capture(&path, &scratch);
    assert!(walked.why(&path).starts_with("the database is damaged:"), "{:?}", walked.unread);
    assert_eq!(walked.contents[&path].len(), bytes.len());
}

#[test]
fn a_database_on_a_read_only_file_system_is_captured() {
    let folder = Folder::new();
    let (path, scratch) = (folder.dir("ro").join("orders.db"), folder.dir("scratch"));
    drop(create(&path, "wal", 10));
    run("mount", &[&"--bind", &folder.join("ro"), &folder.join("ro")]);
    run("mount", &[&"-o", &"remount,bind,ro", &folder.join("ro")]);
    let walked = std::panic::catch_unwind(|| capture(&path, &scratch));
    run("umount", &[&folder.join("ro")]);
    assert_eq!(ask::<u32>(&walked.unwrap().contents[&path], "SELECT count(*) FROM a"), 10);
}

#[test]
fn a_writer_that_died_is_named_as_the_trouble() {
    let folder = Folder::new();
    let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
    let db = create(&path, "delete", 2000);
    // A transaction too large for memory has written to the file; its journal knows what was there before.
    db.execute_batch("PRAGMA cache_size = 10; BEGIN IMMEDIATE; UPDATE a SET pad = randomblob(500)").unwrap();
    let dead = folder.dir("dead");
    for suffix in ["", "-journal"] {
        fs::copy(format!("{}{suffix}", path.display()), dead.join(format!("orders.db{suffix}"))).unwrap();
    }
    let error = Sqlite::new(dead.join("orders.db")).unwrap().capture(&scratch, now()).unwrap_err();
    assert!(matches!(error.kind, Kind::NeedsRecovery), "{error}");
}

/// A capture of the database, as a vault would restore it under `staging`.
fn stage(walked: &Walked, path: &Path, staging: &Path) -> PathBuf {
    let staged = staging.join(path.strip_prefix("/").unwrap());
    fs::create_dir_all(staged.parent().unwrap()).unwrap();
    fs::write(&staged, &walked.contents[path]).unwrap();
    fs::set_permissions(&staged, fs::Permissions::from_mode(walked.nodes[path].meta.mode)).unwrap();
    std::os::unix::fs::chown(&staged, Some(1234), Some(1235)).unwrap();
    staged
}

#[test]
fn a_database_is_put_back_without_its_old_log() {
    let folder = Folder::new();
    let (path, scratch, staging) =
        (folder.dir("db").join("orders.db"), folder.dir("scratch"), folder.dir("staging"));
    let db = create(&path, "wal", 100);
    let walked = capture(&path, &scratch);
    stage(&walked, &path, &staging);
    // Later commits lie in the log alone, and the writer dies without cleaning up.
    db.execute("DELETE FROM a", []).unwrap();
    let log = fs::read(folder.join("db/orders.db-wal")).unwrap();
    let source = Sqlite::new(&path).unwrap();
    let error = source.put_back(&staging, None, None, &|_| ()).unwrap_err();
    assert!(matches!(error.kind, Kind::InUse(_)) && error.is_retryable(), "{error}");
    drop(db);
    fs::write(folder.join("db/orders.db-wal"), log).unwrap();
    fs::write(folder.join("db/orders.db-shm"), "").unwrap();

    assert_eq!(source.landing(None), Landing::Staging { near: Some(folder.join("db")) });
    let standing = source.occupied(None).unwrap();
    assert_eq!(standing.len(), 2, "the database and its log: {standing:?}");
    for _ in 0..2 {
        // Whatever died half-way is done again.
        let done = source.put_back(&staging, None, None, &|_| ()).unwrap();
        assert_eq!((done.into, done.bytes), (vec![path.clone()], walked.nodes[&path].size()));
        let names: Vec<_> =
            fs::read_dir(folder.join("db")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["orders.db"]);
        assert_eq!(fs::metadata(&path).unwrap().uid(), 1234);
    }
    let db = Connection::open(&path).unwrap();
    assert_eq!(db.query_row("SELECT count(*) FROM a", [], |row| row.get::<_, u32>(0)).unwrap(), 100);
}

#[test]
fn a_database_is_put_back_where_nothing_was_and_elsewhere() {
    let folder = Folder::new();
    let (path, scratch) = (folder.dir("var/lib").join("orders.db"), folder.dir("scratch"));
    drop(create(&path, "delete", 10));
    let walked = capture(&path, &scratch);
    // Another file system than the target's, so that it has to be copied.
    let staging = tempfile::tempdir_in("/dev/shm").unwrap();
    let staged = stage(&walked, &path, staging.path());
    fs::set_permissions(staged.parent().unwrap(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::remove_dir_all(folder.join("var")).unwrap();
    let source = Sqlite::new(&path).unwrap();
    assert_eq!(source.occupied(None).unwrap()[0].stands, Stands::Nothing);
    assert_eq!(source.landing(None), Landing::Staging { near: Some(folder.path.clone()) });
    source.put_back(staging.path(), None, None, &|_| ()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), walked.contents[&path]);
    assert_eq!(fs::metadata(&path).unwrap().gid(), 1235);
    assert_eq!(fs::metadata(folder.join("var/lib")).unwrap().mode() & 0o7777, 0o711);

    let to = folder.join("to");
    let there = source.put_back(staging.path(), Some(&to), None, &|_| ()).unwrap().into.remove(0);
    assert_eq!(there, to.join(path.strip_prefix("/").unwrap()));
    assert_eq!(fs::read(there).unwrap(), walked.contents[&path]);
}

#[test]
fn a_damaged_database_replaces_nothing() {
    let folder = Folder::new();
    let (path, staging) = (folder.join("orders.db"), folder.dir("staging"));
    drop(create(&path, "delete", 1000));
    let good = fs::read(&path).unwrap();
    let staged = staging.join(path.strip_prefix("/").unwrap());
    fs::create_dir_all(staged.parent().unwrap()).unwrap();
    let source = Sqlite::new(&path).unwrap();
    assert!(matches!(source.put_back(&staging, None, None, &|_| ()).unwrap_err().kind, Kind::NotInPoint));
    let mut bad = good.clone();
    bad[8192..12288].fill(0x5A);
    for bad in [
        &bad[..],
        &good[..good.len() / 2],
        b"no database, but as long as the header of one would be. ".repeat(20).as_slice(),
    ] {
        fs::write(&staged, bad).unwrap();
        let error = source.put_back(&staging, None, None, &|_| ()).unwrap_err();
        assert!(matches!(error.kind, Kind::Damaged(_) | Kind::NotADatabase), "{error}");
        assert!(fs::read(&path).unwrap() == good);
    }
}

#[test]
fn a_path_through_links_leads_to_the_database() {
    let folder = Folder::new();
    let (scratch, staging) = (folder.dir("scratch"), folder.dir("staging"));
    drop(create(&folder.dir("data").join("real.db"), "wal", 10));
    symlink("real.db", folder.join("data/link.db")).unwrap();
    symlink("data", folder.join("lib")).unwrap();
    let path = folder.join("lib/link.db");
    let walked = capture(&path, &scratch);
    assert_eq!(walked.below(&folder.path), ["lib", "lib/link.db"]);
    assert!(walked.nodes[&folder.join("lib")].is_dir());
    stage(&walked, &path, &staging);
    let done = Sqlite::new(&path).unwrap().put_back(&staging, None, None, &|_| ()).unwrap();
    assert_eq!(done.into, [folder.join("data/real.db")]);
    assert!(folder.join("data/link.db").is_symlink());
}

/// Odd databases: their names, what makes them, and whether something about them can't be checked without their application.
const ODD: &[(&str, &str, bool)] = &[
    (
        "without-rowid",
        "CREATE TABLE t (a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES ('x', 1), ('y', 2)",
        false,
    ),
    (
        "fts5",
        "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('an oak table'), ('a chair')",
        false,
    ),
    ("rtree", "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 2.5, 3.5)", false),
    ("utf16", "PRAGMA encoding = 'UTF-16be'; CREATE TABLE t (a); INSERT INTO t VALUES ('é€𝄞')", false),
    (
        "pages-512",
        "PRAGMA page_size = 512; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(9000)), (1)",
        false,
    ),
    (
        "pages-65536",
        "PRAGMA page_size = 65536; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(200000)), (1)",
        false,
    ),
    (
        "auto-vacuum",
        "PRAGMA auto_vacuum = 2; CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(90000)), (1); DELETE FROM t WHERE a <> 1",
        false,
    ),
    (
        "numbers",
        "PRAGMA user_version = 4711; PRAGMA application_id = 305419896; CREATE TABLE t (a); INSERT INTO t VALUES (1)",
        false,
    ),
    (
        "strict",
        "CREATE TABLE t (a INTEGER, b ANY) STRICT; INSERT INTO t VALUES (1, 'x'), (2, x'00ff')",
        false,
    ),
    (
        "generated",
        "CREATE TABLE t (a, b AS (a * 2) STORED, c AS (a || 'x')); CREATE INDEX i ON t (c); INSERT INTO t (a) VALUES (1)",
        false,
    ),
    ("blob", "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(5000000)), (randomblob(3000000))", false),
    ("a ?&=#%41\n;'\" name", "CREATE TABLE t (a); INSERT INTO t VALUES (1)", false),
    ("--init=x", "CREATE TABLE \"--x\" (a); INSERT INTO \"--x\" VALUES (1)", false),
    ("-%s;\u{1}\u{1b}[2K", "CREATE TABLE t (a); INSERT INTO t VALUES (1)", false),
    (
        "own-function",
        "CREATE TABLE t (a INTEGER); CREATE INDEX i ON t (abs(a)); INSERT INTO t VALUES (1), (2)",
        true,
    ),
    (
        "own-function-partial",
        "CREATE TABLE t (a INTEGER); CREATE INDEX i ON t (a) WHERE abs(a) > 1; INSERT INTO t VALUES (1), (2)",
        true,
    ),
    (
        "own-function-generated",
        "CREATE TABLE t (a INTEGER, b AS (abs(a))); CREATE INDEX i ON t (b); INSERT INTO t (a) VALUES (1), (2)",
        true,
    ),
    (
        "own-collation",
        "CREATE TABLE t (a TEXT COLLATE nocase); CREATE INDEX i ON t (a); INSERT INTO t VALUES ('x'), ('y')",
        true,
    ),
    (
        "own-collation-key",
        "CREATE TABLE t (a TEXT COLLATE nocase PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES ('x'), ('y')",
        true,
    ),
];

/// Makes functions and collations of SQLite's own into ones that only an application knows.
const OWN: &str = "PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(replace(sql, 'abs(', 'own_function('), 'nocase', 'own_collation');";

/// What `sqlite3` makes of a database: its content as it can be read without the application, and what its header says.
fn dump(path: &Path) -> String {
    let out = std::process::Command::new("sqlite3").arg(path).arg(".dump").output().unwrap();
    let header = "SELECT user_version, application_id, page_size, encoding, auto_vacuum FROM pragma_user_version, \
        pragma_application_id, pragma_page_size, pragma_encoding, pragma_auto_vacuum";
    let numbers = std::process::Command::new("sqlite3").arg(path).arg(header).output().unwrap();
    let text = [out.stdout, numbers.stdout].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn odd_databases_come_back_as_they_were_and_what_could_not_be_checked_is_no_fault() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let scratch = folder.dir("scratch");
    let mut made: Vec<(PathBuf, bool)> = Vec::new();
    for (name, sql, needs_application) in ODD {
        let path = folder.dir("db").join(format!("{name}.db"));
        let db = Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        if *needs_application {
            db.execute_batch(OWN).unwrap();
        }
        made.push((path, *needs_application));
    }
    let nothing = folder.write("db/nothing.db", "");
    let unnamed = folder.join("db").join(std::ffi::OsStr::from_bytes(b"not-\xff\xfe-text.db"));
    drop(create(&unnamed, "delete", 10));
    // Its last commits lie in the log alone, and whoever wrote them died.
    let (alive, hot) = (folder.dir("alive").join("hot.db"), folder.dir("db").join("hot.db"));
    let writer = create(&alive, "wal", 50);
    fs::copy(&alive, &hot).unwrap();
    fs::copy(alive.with_extension("db-wal"), hot.with_extension("db-wal")).unwrap();
    drop(writer);
    made.extend([(nothing, false), (unnamed, false), (hot.clone(), false)]);

    for (path, needs_application) in made {
        let name = path.display();
        let captured = Sqlite::new(&path).unwrap().capture(&scratch, now()).unwrap();
        let walked = walk(captured.input());
        assert_eq!(walked.unread, [], "{name}");
        let notes = captured.input().notes();
        assert_eq!(notes.len(), usize::from(needs_application), "{name}: {notes:?}");
        assert!(notes.iter().all(|note| note.why.contains("own_")), "{name}: {notes:?}");
        drop(captured);
        let before = dump(&path);
        assert!(before.contains("CREATE") || path.ends_with("nothing.db"), "{name}: {before}");

        let staging = folder.dir("staging");
        stage(&walked, &path, &staging);
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            let _ = fs::remove_file(file);
        }
        let told = std::sync::Mutex::new(Vec::new());
        let say = |text: &str| told.lock().unwrap().push(text.to_owned());
        let done = Sqlite::new(&path).unwrap().put_back(&staging, None, None, &say).unwrap();
        assert_eq!((done.into, done.findings), (vec![path.clone()], Vec::<String>::new()), "{name}");
        let told = told.into_inner().unwrap();
        let is_said = told.iter().any(|told| told.contains("could not be checked whole"));
        assert_eq!(is_said, needs_application, "{name}: {told:?}");
        assert_eq!(before, dump(&path), "{name}");
        fs::remove_dir_all(&staging).unwrap();
    }
    assert_eq!(ask::<u32>(&fs::read(&hot).unwrap(), "SELECT count(*) FROM b"), 50);
}

#[test]
fn an_index_that_does_not_agree_with_its_table_is_told_and_costs_nobody_the_database() {
    let folder = Folder::new();
    let (path, scratch, staging) = (folder.join("odd.db"), folder.dir("scratch"), folder.dir("staging"));
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE t (a INTEGER); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1), (2);
         PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (-a)' WHERE name = 'i'",
    )
    .unwrap();
    drop(db);
    let captured = Sqlite::new(&path).unwrap().capture(&scratch, now()).unwrap();
    let walked = walk(captured.input());
    assert_eq!(walked.unread, []);
    assert!(
        captured.input().notes()[0].why.contains("missing from index i"),
        "{:?}",
        captured.input().notes()
    );
    drop(captured);
    stage(&walked, &path, &staging);
    let done = Sqlite::new(&path).unwrap().put_back(&staging, None, None, &|_| ()).unwrap();
    assert!(done.findings[0].contains("REINDEX"), "{done:?}");
}

#[test]
fn a_database_of_which_the_schema_is_damaged_is_kept_too() {
    for mode in ["delete", "wal"] {
        let folder = Folder::new();
        let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
        let db = create(&path, mode, 100);
        db.execute_batch(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABEL a' WHERE name = 'a'",
        )
        .unwrap();
        drop(db);
        let walked = capture(&path, &scratch);
        assert!(walked.why(&path).starts_with("the database is damaged:"), "{mode}: {:?}", walked.unread);
        assert_eq!(walked.contents[&path].len(), fs::read(&path).unwrap().len());
    }
}

#[test]
fn a_view_without_an_end_fails_the_check_that_asks_it_and_holds_nobody_up() {
    let folder = Folder::new();
    let (path, scratch) = (folder.join("orders.db"), folder.dir("scratch"));
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE t (i); INSERT INTO t VALUES (1);
         CREATE VIEW orders AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
    )
    .unwrap();
    drop(db);
    let source = Sqlite::new(&path).unwrap();
    let why =
        source.holds_within("SELECT count(*) FROM orders", std::time::Duration::from_secs(1)).unwrap_err();
    assert!(why.contains("no answer within 1 s"), "{why}");
    assert_eq!(source.holds("SELECT count(*) = 1 FROM t"), Ok(()));
    assert_eq!(capture(&path, &scratch).unread, []);
}

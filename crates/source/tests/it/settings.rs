//! Settings that a cluster brings along: each that can stop its recovery, divert it, or keep people from working after it, tried on a copy of one server.
//! What becomes of each is the table "Settings that come along" of docs/postgres.md.

use source::{Postgres, Source};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What becomes of a cluster with these settings.
enum Becomes {
    /// It serves, and there is nothing to be said.
    Served,
    /// It serves, and these words are among what is said.
    Hindered(&'static [&'static str]),
    /// It doesn't come up, and these words say why, and what to do.
    Stopped(&'static [&'static str]),
}

use Becomes::{Hindered, Served, Stopped};

/// Those that are led away or do no harm stand together: any of them would be seen. `HERE` is the folder of the case.
static CASES: [(&str, Becomes); 15] = [
    (
        "hot_standby = on\nrecovery_min_apply_delay = '1h'\nrecovery_end_command = 'touch HERE/ran'\n\
        archive_cleanup_command = 'touch HERE/ran'\nrestore_command = 'touch HERE/ran; false'\nrecovery_target_time = '2020-01-01'\n\
        recovery_target_action = 'shutdown'\nrecovery_target_inclusive = off\nrecovery_target_timeline = '7'\n\
        primary_conninfo = 'host=127.0.0.1 port=1'\nprimary_slot_name = 'gone'\n\
        max_connections = 50\nmax_worker_processes = 20\nmax_locks_per_transaction = 100\nmax_prepared_transactions = 10",
        Served,
    ),
    (
        "statement_timeout = 1\nlock_timeout = 1\nidle_session_timeout = 250\nidle_in_transaction_session_timeout = 250\n\
        default_transaction_isolation = 'serializable'\ndefault_tablespace = 'gone'\ntemp_tablespaces = 'gone'\n\
        archive_mode = on\narchive_command = 'false'\nexternal_pid_file = '/proc/releve/pid'\nident_file = '/proc/releve/ident'",
        Served,
    ),
    ("archive_mode = on\narchive_library = 'releve_none'\nwal_level = logical", Served),
    ("synchronous_standby_names = '*'", Hindered(&["synchronous_standby_names = '*'", "ALTER SYSTEM SET"])),
    ("default_transaction_read_only = on", Hindered(&["refuses everybody's writes", "ALTER SYSTEM SET"])),
    ("shared_preload_libraries = 'releve_none'", Stopped(&["has ended", "releve_none", "postgresql.conf"])),
    ("session_preload_libraries = 'releve_none'", Stopped(&["lets nobody in", "releve_none", "--resume"])),
    ("port = 1", Stopped(&["is not where the url says", "port 1,"])),
    ("huge_pages = on\nshared_buffers = '8000GB'", Stopped(&["shared memory", "postgresql.conf"])),
    ("hba_file = '/proc/releve/hba'", Stopped(&["pg_hba.conf", "--resume"])),
    ("data_directory = '/proc/releve/data'", Stopped(&["/proc/releve/data"])),
    ("include '/proc/releve/more.conf'", Stopped(&["postgresql.conf"])),
    ("ssl = on\nssl_cert_file = '/proc/releve/crt'", Stopped(&["/proc/releve/crt"])),
    ("unix_socket_directories = '/proc/releve'\nlisten_addresses = '203.0.113.77'", Stopped(&["has ended"])),
    ("logging_collector = on\nlog_directory = '/proc/releve/log'", Stopped(&["/proc/releve/log"])),
];

/// Copies a running cluster as its documentation says, into a folder beside it.
fn copy_of(cluster: &testkit::Postgres) -> PathBuf {
    let (data, copy) = (cluster.data(), cluster.path("copy"));
    let by_hand = format!("\\! cp -a '{}' '{}'", data.display(), copy.display());
    let mut psql = cluster.psql();
    psql.args(["-c", "select pg_backup_start('copy', true)", "-c", &by_hand]);
    let said = psql.args(["-c", "select labelfile from pg_backup_stop(false)"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let label = &said[said.find("START WAL LOCATION").unwrap()..];
    std::fs::write(copy.join("backup_label"), label).unwrap();
    let own = std::fs::metadata(&data).unwrap();
    chown(copy.join("backup_label"), Some(own.uid()), Some(own.gid())).unwrap();
    std::fs::remove_file(copy.join("postmaster.pid")).unwrap();
    // The log of that time.
    let from = data.join("pg_wal/.");
    let done = Command::new("cp").arg("-a").arg(from).arg(copy.join("pg_wal")).status().unwrap();
    assert!(done.success());
    copy
}

/// Brings back the cluster in a folder of the case, and says what becomes of it.
fn becomes(
    cluster: &testkit::Postgres,
    copy: &Path,
    number: usize,
    settings: &str,
) -> Result<Vec<String>, String> {
    let here = cluster.folder_of(&format!("case-{number}"));
    // Beside all others, where what is started is ended with them.
    let data = cluster.path(&format!("data-{number}"));
    let done = Command::new("cp").arg("-a").args([copy, data.as_path()]).status().unwrap();
    assert!(done.success());
    let file = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&file).unwrap();
    let settings = settings.replace("HERE", &here.display().to_string());
    let own = format!("{text}\nunix_socket_directories = '{}'\nport = 5432\n{settings}\n", here.display());
    std::fs::write(&file, own).unwrap();
    // What stands there by ALTER SYSTEM, or by hand: all of it is the cluster's own, and the last line has no end.
    let auto = data.join("postgresql.auto.conf");
    let own = format!(
        "# \u{e9}\nrecovery_target_action = 'shutdown'\nrecovery_target_xid = '3'\nrecovery_end_command = 'touch {0}/ran'\n\
        restore_command = 'touch {0}/ran; false'",
        here.display()
    );
    std::fs::write(&auto, &own).unwrap();
    let url = format!("postgres://postgres@{}:5432/postgres", here.display().to_string().replace('/', "%2F"));
    let source = Postgres::new(&url, &data).unwrap();
    source.put_back(Path::new("/"), None, None, &|_| ()).unwrap();
    let notes = source.open(false, &|_| ()).map_err(|error| error.to_string())?;
    let mut psql = cluster.psql();
    psql.env(
        "PGOPTIONS",
        "-c statement_timeout=0 -c synchronous_commit=local -c default_transaction_read_only=off",
    );
    psql.args(["-p", "5432", "-h"]).arg(&here).args(["-c", "insert into t values (2)"]);
    assert!(psql.status().unwrap().success(), "it takes writes: {settings}");
    assert!(!here.join("ran").exists(), "a command of the cluster's own has run: {settings}");
    assert_eq!(std::fs::read_to_string(&auto).unwrap(), own, "{settings}");
    let shows = |name: &str| {
        let mut psql = cluster.psql();
        psql.env("PGOPTIONS", "-c statement_timeout=0");
        psql.args(["-p", "5432", "-h"]).arg(&here).args(["-c", &format!("show {name}")]);
        String::from_utf8(psql.output().unwrap().stdout).unwrap()
    };
    // Before PostgreSQL 14 it takes a restart; when it has read its files is for the server to say.
    let is_shown = || shows("restore_command").contains("/ran; false");
    let is_old = shows("server_version_num").starts_with("13");
    assert!(is_old || testkit::wait_until(Duration::from_secs(10), is_shown), "{settings}");
    Ok(notes)
}

#[test]
fn no_setting_that_comes_along_stops_or_diverts_a_recovery_without_a_word() {
    let cluster = testkit::Postgres::start_as("shared_buffers = '2MB'", &["--wal-segsize=1"]);
    cluster.tell("create table t (n int)");
    let copy = copy_of(&cluster);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let (cluster, copy) = (&cluster, &copy);
        let threads: Vec<_> = CASES
            .iter()
            .enumerate()
            .map(|(number, (settings, _))| scope.spawn(move || becomes(cluster, copy, number, settings)))
            .collect();
        let became = threads.into_iter().map(|thread| thread.join().unwrap());
        let judged = became.zip(&CASES).filter_map(|(became, (settings, expected))| {
            let has = |said: &str, words: &[&str]| words.iter().all(|word| said.contains(word));
            let is_right = match (expected, &became) {
                (Served, Ok(notes)) => notes.is_empty(),
                (Hindered(words), Ok(notes)) => notes.len() == 1 && has(&notes.concat(), words),
                (Stopped(words), Err(said)) => has(said, words),
                _ => false,
            };
            (!is_right).then(|| format!("{settings}: {became:?}"))
        });
        judged.collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// No right of its own, as the role that the documents recommend, and the server speaks of what is not right as long as nobody has mended it.
#[test]
fn texts_that_another_version_sorted_are_told_until_their_indexes_are_rebuilt() {
    let cluster = testkit::Postgres::start("shared_buffers = '2MB'");
    let has_icu = cluster.ask("select count(*) from pg_collation where collname = 'fr-x-icu'") == "1";
    if !has_icu {
        return;
    }
    cluster.tell("create database \"les ventes\" locale_provider icu icu_locale 'fr' template template0");
    cluster.tell("create table names (n text collate \"fr-x-icu\" primary key)");
    cluster.tell("create role low login; revoke temporary on database postgres from public");
    let source = Postgres::new(&cluster.url("low"), cluster.data()).unwrap();
    let notes = || source.open(true, &|_| ()).unwrap().join("\n");
    assert_eq!(notes(), "", "and a role that may make no table commits all the same");
    // As a cluster that comes from a machine with another ICU.
    cluster.tell("update pg_database set datcollversion = '1' where datname = 'les ventes'");
    cluster.tell("update pg_collation set collversion = '1' where collname = 'fr-x-icu'");
    let said = notes();
    let typed = [
        "REINDEX DATABASE \"les ventes\"; ALTER DATABASE \"les ventes\" REFRESH COLLATION VERSION;",
        "REINDEX DATABASE \"postgres\"; ALTER COLLATION pg_catalog.\"fr-x-icu\" REFRESH VERSION;",
    ];
    assert!(typed.iter().all(|typed| said.contains(typed)) && said.lines().count() == 2, "{said}");
    assert_eq!(notes(), said, "it is said again");
    cluster.run(&format!("{}\n\\c \"les ventes\"\n{}\n", typed[1], typed[0]));
    assert_eq!(notes(), "");
}

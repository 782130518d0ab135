//! A part of a cluster as SQL, had through a server that is thrown away.

use crate::postgres::{Agent, protected, time, wait_for_log, world};
use crate::world::{Run, World};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use testkit::{Postgres, SmallDisk, wait_until};

/// Runs `restore --as-sql` with these words more; the cluster is restored below the folder `work`, where its owner gets to.
fn restore(cluster: &Postgres, world: &World, more: &[&str]) -> Run {
    let work = cluster.folder_of("work").display().to_string();
    let words = ["restore", "shop", "--as-sql", "--work", &work];
    let run = world.run(&[&words, more].concat());
    assert_eq!(left(cluster), Vec::<String>::new(), "{}", run.err);
    run
}

/// Returns what lies in the folder in which clusters are restored, and whatever still runs there.
fn left(cluster: &Postgres) -> Vec<String> {
    let work = cluster.folder_of("work");
    let names = std::fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path().display().to_string());
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        let at = std::fs::read_link(process.path().join("cwd")).ok()?;
        at.starts_with(&work).then(|| process.path().display().to_string())
    });
    names.chain(processes).collect()
}

/// Feeds SQL to the live server, all or nothing.
fn feed(cluster: &Postgres, sql: &str) -> Result<(), String> {
    let mut psql = cluster.psql();
    psql.arg("-1").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut psql = psql.spawn().unwrap();
    // It reads no further after an error.
    let _ = psql.stdin.take().unwrap().write_all(sql.as_bytes());
    let said = psql.wait_with_output().unwrap();
    if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
}

/// A folder of PostgreSQL's programs in which `pg_dump` is this script; `$REAL` is the real one.
pub(crate) fn programs(cluster: &Postgres, script: &str) -> String {
    let _ = std::fs::remove_dir_all(cluster.path("bin"));
    let bin = cluster.folder_of("bin");
    let real = std::fs::read_dir("/usr/lib/postgresql").unwrap().map(|version| version.unwrap().path());
    let real = real.max().unwrap().join("bin");
    for program in std::fs::read_dir(&real).unwrap().flatten() {
        std::os::unix::fs::symlink(program.path(), bin.join(program.file_name())).unwrap();
    }
    std::fs::remove_file(bin.join("pg_dump")).unwrap();
    let real = real.join("pg_dump");
    // It is asked who it is before it is used.
    let version = match script.contains("--version") {
        true => "",
        false => "case $1 in --version) exec $REAL --version;; esac",
    };
    let text = format!("#!/bin/sh\nREAL={}\n{version}\n{script}\n", real.display());
    std::fs::write(bin.join("pg_dump"), text).unwrap();
    std::fs::set_permissions(bin.join("pg_dump"), PermissionsExt::from_mode(0o755)).unwrap();
    bin.display().to_string()
}

#[test]
fn a_table_dropped_by_mistake_comes_back_as_it_was_right_before_and_the_live_cluster_is_not_touched() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell(
        "create table invoices (n serial primary key, due date not null, note text) ; create index on invoices (due);
         insert into invoices (due, note) select date '2026-01-01' + i, E'a\\tb\\\\' || i from generate_series(1, 500) i;
         create schema sales; create table sales.lines (n int, y int) partition by range (y);
         create table sales.lines_25 partition of sales.lines for values from (2025) to (2026);
         create table sales.lines_26 partition of sales.lines for values from (2026) to (2027);
         insert into sales.lines select i, 2025 + i % 2 from generate_series(1, 100) i",
    );
    let all = "select md5(string_agg(i::text, ';' order by n)) from invoices i";
    let lines = "select md5(string_agg(l::text, ';' order by n)) from sales.lines l";
    let (before, before_lines) = (cluster.ask(all), cluster.ask(lines));
    let at = time(&cluster);
    cluster.tell("update invoices set note = 'spoilt'; drop table invoices; drop table sales.lines");
    cluster.tell("insert into t values (7)");
    wait_for_log(&world);
    let process = std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap();
    let run = restore(&cluster, &world, &["--table", "invoices", "--table", "sales.LINES", "--before", &at]);
    let run = run.exits(0).says("rolled forward to");
    assert_eq!(process, std::fs::read_to_string(cluster.data().join("postmaster.pid")).unwrap());
    assert_eq!(cluster.ask("select to_regclass('invoices') is null"), "t");
    feed(&cluster, &run.out).unwrap();
    assert_eq!(cluster.ask(all), before);
    assert_eq!(cluster.ask(lines), before_lines);
    assert_eq!(cluster.ask("select n from t"), "7");
    // The sequence goes on, the index is there. The log counts a sequence some numbers ahead.
    let next: u32 =
        cluster.ask("insert into invoices (due) values ('2026-01-01') returning n").parse().unwrap();
    assert!((501..600).contains(&next), "{next}");
    assert_eq!(cluster.ask("select count(*) from pg_indexes where tablename = 'invoices'"), "2");
}

#[test]
fn a_database_is_written_into_a_file_that_only_its_owner_reads() {
    let (cluster, world) = protected("", ", wal = \"none\"", "1 hour");
    cluster.tell("create database crm");
    cluster.tell("alter database crm set session_preload_libraries = 'not_there'");
    let fill =
        "create table \"Odd \"\"name\" (n int); insert into \"Odd \"\"name\" select generate_series(1, 10);
        create table \"--file=x;%s\" (n int); insert into \"--file=x;%s\" values (7)";
    assert!(
        cluster
            .psql()
            .args(["-d", "crm", "-c", fill])
            .env("PGOPTIONS", "-c session_preload_libraries=")
            .status()
            .unwrap()
            .success()
    );
    world.run(&["backup"]).exits(0);
    let file = world.path("crm.sql");
    let output = file.display().to_string();
    restore(&cluster, &world, &["--database", "crm", "--output", &output]).exits(0);
    let sql = std::fs::read_to_string(&file).unwrap();
    assert!(sql.contains("CREATE TABLE public.\"Odd \"\"name\"") && sql.contains("\n10\n"), "{sql}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let run = restore(&cluster, &world, &["--database", "crm", "--table", "Odd \"name"]).exits(0);
    feed(&cluster, &run.out).unwrap();
    // A name that looks like an option is a name.
    let run = restore(&cluster, &world, &["--database", "crm", "--table=--file=x;%s"]).exits(0);
    feed(&cluster, &run.out).unwrap();
    assert_eq!(cluster.ask("select n from \"--file=x;%s\""), "7");
    assert_eq!(cluster.ask("select count(*) from \"Odd \"\"name\""), "10");
}

#[test]
fn what_is_not_there_is_named_with_what_comes_nearest_and_nonsense_is_refused_before_anything_is_restored() {
    let (cluster, world) = protected("", ", wal = \"none\"", "1 hour");
    cluster.tell("create table invoices (n int); create schema old; create table old.invoices (n int)");
    cluster.tell("create database crm");
    assert!(
        cluster.psql().args(["-d", "crm", "-c", "create table persons (n int)"]).status().unwrap().success()
    );
    world.run(&["backup"]).exits(0);
    restore(&cluster, &world, &["--table", "invoice"]).exits(2).says("public.invoices");
    restore(&cluster, &world, &["--table", "invoices"])
        .exits(2)
        .says("old.invoices or public.invoices: write which");
    restore(&cluster, &world, &["--table", "persons"]).exits(2).says("is in --database crm");
    restore(&cluster, &world, &["--database", "cmr"]).exits(2).says("there are: crm, postgres");
    restore(&cluster, &world, &["--database", "-d x"]).exits(2).says("there are: crm, postgres");
    restore(&cluster, &world, &[]).exits(64).says("--table NAME");
    restore(&cluster, &world, &["--table", "t", "--to", "/x"]).exits(64);
    restore(&cluster, &world, &["--table", "t", "--until", "nonsense"]).exits(64);
    world.run(&["restore", "shop", "--table", "t"]).exits(64);
    let output = world.path("t.sql").display().to_string();
    restore(&cluster, &world, &["--table", "tt", "--output", &output]).exits(2);
    assert!(!world.path("t.sql").exists() && !world.path("t.sql.releve-part").exists());
    // Where its owner can't get to, no server is started, and nothing was fetched for it.
    std::fs::create_dir(world.path("closed")).unwrap();
    std::fs::set_permissions(world.path("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let closed = world.path("closed").display().to_string();
    world
        .run(&["restore", "shop", "--as-sql", "--table", "t", "--work", &closed])
        .exits(2)
        .says("choose a folder that everybody may enter");
}

#[test]
fn a_cluster_that_finds_no_room_is_not_begun_with() {
    let (cluster, world) = protected("", ", wal = \"none\"", "1 hour");
    let small = SmallDisk::mount(8 << 20);
    let work = small.path().display().to_string();
    let run = world.run(&["restore", "shop", "--as-sql", "--table", "t", "--work", &work]).exits(2);
    let run = run.says("the whole cluster is restored for it, which takes").says("are free in");
    assert!(run.err.contains("--work DIR"), "{}", run.err);
    assert_eq!(std::fs::read_dir(small.path()).unwrap().count(), 0);
    drop(cluster);
}

#[test]
fn a_dump_that_fails_or_ends_early_leaves_no_file_and_lets_nobody_take_its_half_for_a_whole() {
    let cluster = Postgres::start("");
    cluster.tell("create table t as select i, repeat('x', 100) x from generate_series(1, 1000) i");
    for (script, said) in [
        ("exec 3>&1; $REAL \"$@\" | head -c 5000 >&3", "without its last line"),
        ("$REAL \"$@\" | head -c 5000; echo lost >&2; exit 3", "exited with status 3: lost"),
    ] {
        let bin = programs(&cluster, script);
        let world = world(&cluster, &format!(", wal = \"none\", programs = {bin:?}"), "1 hour", "");
        world.run(&["backup"]).exits(0);
        let output = world.path("t.sql").display().to_string();
        restore(&cluster, &world, &["--table", "t", "--output", &output]).exits(2).says(said);
        assert!(!world.path("t.sql").exists() && !world.path("t.sql.releve-part").exists());
        let half = restore(&cluster, &world, &["--table", "t"]).exits(2).out;
        assert!(half.len() >= 5000, "{half}");
        cluster.tell("alter table t rename to kept");
        let error = feed(&cluster, &half).unwrap_err();
        assert!(!error.is_empty());
        assert_eq!(cluster.ask("select to_regclass('t') is null"), "t", "half of a table was taken for one");
        cluster.tell("alter table kept rename to t");
    }
}

/// Starts a restore whose output nobody reads, and waits until it is written.
fn stuck(cluster: &Postgres, world: &World) -> Child {
    let work = cluster.folder_of("work").display().to_string();
    let mut restore = world.command(&["restore", "shop", "--as-sql", "--table", "big", "--work", &work]);
    let mut restore = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    restore.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert!(left(cluster).iter().any(|name| name.starts_with("/proc")), "no server runs");
    restore
}

#[test]
fn killed_it_leaves_no_server_and_the_next_run_removes_what_lies_there() {
    let (cluster, world) = protected("", ", wal = \"none\"", "1 hour");
    cluster.tell("create table big as select i, repeat('x', 1000) x from generate_series(1, 20000) i");
    world.run(&["backup"]).exits(0);
    let mut killed = stuck(&cluster, &world);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(left(&cluster).iter().any(|name| name.contains("/.releve-")));
    restore(&cluster, &world, &["--table", "t"]).exits(0).says("which a run that was killed has left");

    // Ctrl-C takes its time to tidy up.
    let interrupted = stuck(&cluster, &world);
    let pid = rustix::process::Pid::from_child(&interrupted);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = interrupted.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(2), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(String::from_utf8_lossy(&said.stderr).contains("stopped"));
    assert!(said.stdout.ends_with(b"END$$;\n"));
    assert!(wait_until(Duration::from_secs(20), || left(&cluster).is_empty()), "{:?}", left(&cluster));
}

#[test]
fn the_server_that_is_thrown_away_listens_nowhere_and_does_nothing_of_its_own() {
    let cluster = Postgres::start("");
    cluster.tell("alter system set shared_preload_libraries = 'not_there'");
    cluster.tell("alter system set archive_command = 'touch /tmp/releve-was-here'");
    cluster.tell("create table t (n int)");
    let seen = cluster.folder_of("seen").join("settings");
    let ask = format!(
        "for name in listen_addresses archive_mode shared_preload_libraries default_transaction_read_only autovacuum \
           max_worker_processes; do psql -X -A -t \"$(echo \"$*\" | sed 's/.*--dbname=//; s/ --.*//')\" -c \"select '$name=' || current_setting('$name')\"; done > {}; \
         psql -X \"$(echo \"$*\" | sed 's/.*--dbname=//; s/ --.*//')\" -c 'create table x (n int)' >> {0} 2>&1; id -u >> {0}; exec $REAL \"$@\"",
        seen.display()
    );
    let bin = programs(&cluster, &ask);
    let world = world(&cluster, &format!(", wal = \"none\", programs = {bin:?}"), "1 hour", "");
    world.run(&["backup"]).exits(0);
    restore(&cluster, &world, &["--table", "t"]).exits(0);
    let text = std::fs::read_to_string(&seen).unwrap();
    for line in [
        "listen_addresses=\n",
        "archive_mode=off\n",
        "shared_preload_libraries=\n",
        "default_transaction_read_only=on\n",
        "autovacuum=off\n",
        "max_worker_processes=0\n",
        "read-only transaction",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(cluster.data()).unwrap());
    assert!(text.lines().last() == Some(uid.to_string().as_str()), "{text}");
    assert!(!Path::new("/tmp/releve-was-here").exists());
}

/// All files below a folder, with what is in them.
fn files_below(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => _ = found.insert(entry.path(), std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    found
}

#[test]
fn a_tablespace_that_the_log_makes_is_made_in_the_room_and_the_live_one_is_not_touched() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    let live = cluster.folder_of("ts2");
    cluster.tell(&format!("create tablespace ts2 location '{}'", live.display()));
    cluster.tell("create table u (n int, state text) tablespace ts2; insert into u select i, 'old' from generate_series(1, 5000) i");
    let at = time(&cluster);
    cluster
        .tell("update u set state = 'new'; insert into u select i, 'new' from generate_series(5001, 5175) i");
    cluster.tell("checkpoint");
    wait_for_log(&world);
    drop(agent);
    let links = || std::fs::read_dir(cluster.data().join("pg_tblspc")).unwrap().count();
    let (before, linked) = (files_below(&live), links());
    assert!(before.len() > 1);
    let run = restore(&cluster, &world, &["--table", "u", "--before", &at]).exits(0);
    assert_eq!(run.out.matches("\told\n").count(), 5000);
    assert!(before == files_below(&live), "the live tablespace was written to");
    // A copy that somebody else starts has no walls: it can't be started.
    let to = cluster.folder_of("beside").display().to_string();
    let run = world.run(&["recover", "--yes", "--to", &to]).exits(2);
    run.says(&format!("its log makes a tablespace in {}", live.display()));
    let beside = Path::new(&to).join(cluster.data().strip_prefix("/").unwrap());
    assert!(!beside.join("global/pg_control").exists() && beside.join("base").exists());
    assert!(before == files_below(&live), "the live tablespace was written to");
    assert_eq!(linked, links());
    assert_eq!(cluster.ask("select count(*) from u where state = 'new'"), "5175");
}

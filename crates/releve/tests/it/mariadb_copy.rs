//! A MariaDB server whose files are copied while it is written to, and put back without it.

use crate::mariadb_log::{WITH_LOG, Writer, count, next_second};
use crate::postgres::{Agent, promised, wait_for_log};
use crate::world::{World, closed};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use testkit::{MariadbServer, wait_until};

/// Writes the plan for this server, with these words more for its source.
fn plan(world: &World, server: &MariadbServer, more: &str) {
    fs::write(world.path("url"), server.url()).unwrap();
    let source = format!(
        "mariadb = {{ copy = \"physical\", data_directory = {:?}, url = {{ file = {:?} }}{more} }}",
        server.data(),
        world.path("url")
    );
    let recover = format!(
        "recover.stop = {{ command = {:?} }}\nrecover.start = {{ command = {:?} }}\ncheck = [{{ sql = \"select count(*) >= 0 from shop.t\" }}]",
        server.stop_command(),
        server.start_command()
    );
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, &recover);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan =
        if more.contains("stream") { plan.replace("rpo = \"1 hour\"", "rpo = \"3 seconds\"") } else { plan };
    fs::write(world.path("plan.toml"), plan).unwrap();
}

/// A server with tables of three engines, of which no point was made yet; and its world.
fn server(options: &[&str], more: &str) -> (MariadbServer, World) {
    let server = MariadbServer::start_with(options);
    let world = World::new();
    plan(&world, &server, more);
    server.run(
        "create database shop; create table shop.t (n int primary key) engine=innodb;
        create table shop.aria (n int primary key) engine=aria; create table shop.isam (n int primary key) engine=myisam;
        create table shop.journal (n bigint auto_increment primary key, at datetime(6)) engine=innodb",
    );
    (server, world)
}

/// Numbers in each of the three tables, one after the other, without a pause.
struct Three(Child);

impl Three {
    fn begin(server: &MariadbServer) -> Self {
        let mut child = server.session();
        let mut to = child.stdin.take().unwrap();
        std::thread::spawn(move || {
            for n in 1.. {
                let row = format!(
                    "insert into shop.t values ({n}); insert into shop.aria values ({n}); insert into shop.isam values ({n});"
                );
                if writeln!(to, "{row}").is_err() {
                    return;
                }
            }
        });
        Self(child)
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails the test unless the three tables are of one instant, and returns how long the first is.
fn three(server: &MariadbServer) -> u64 {
    let counts = ["t", "aria", "isam"].map(|table| {
        let said = server.ask(&format!("select count(*), ifnull(max(n), 0) from shop.{table}"));
        let (count, max) = said.split_once('\t').unwrap();
        assert_eq!(count, max, "a row is missing in {table}");
        count.parse::<u64>().unwrap()
    });
    assert!(counts[0] >= counts[1] && counts[1] >= counts[2] && counts[2] + 1 >= counts[0], "{counts:?}");
    counts[0]
}

/// A folder of programs in which `mariadb-backup` is this script; the real one is `$REAL`.
fn programs(world: &World, script: &str) -> String {
    let folder = world.path("programs");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    for name in ["mariadb", "mariadb-binlog", "mariadb-check"] {
        symlink(Path::new("/usr/bin").join(name), folder.join(name)).unwrap();
    }
    let path = folder.join("mariadb-backup");
    fs::write(&path, format!("#!/bin/sh\nREAL=/usr/bin/mariadb-backup\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!(", programs = {folder:?}")
}

#[test]
fn every_row_up_to_the_promised_instant_is_back_in_tables_of_each_engine() {
    let (mut server, world) = server(&WITH_LOG, ", log = \"stream\"");
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    let (writer, three_tables) = (Writer::begin(&server), Three::begin(&server));
    wait_for_log(&world);
    writer.wait_for(300);
    // The copy is made of files that change meanwhile.
    server.run("create table shop.gone (n int); insert into shop.gone values (1)");
    world.run(&["backup"]).exits(0);
    server.run("drop table shop.gone; create table shop.later (n int); insert into shop.later values (7); create user 'late'@'%'");
    writer.wait_for(200);
    let (before, target) = next_second(&server);
    writer.wait_for(300);
    wait_for_log(&world);
    let promised = promised(&world);
    server.kill();
    drop((agent, three_tables));
    let written = writer.written();
    // Neither the server's disk nor what waited beside it is left.
    fs::remove_dir_all(world.path("state/log")).unwrap();
    fs::remove_dir_all(server.data()).unwrap();

    let due = written.iter().filter(|(_, at)| at.as_str() < promised.as_str()).count();
    let at_target = written.iter().filter(|(_, at)| at.as_str() < target.as_str()).count();
    assert!(at_target > 300 && due > at_target + 200, "{at_target}, {due} of {}", written.len());
    // Whom the server runs as may write beside its data.
    let beside = |name: &str| {
        let mut path = server.data().into_os_string();
        path.push(name);
        std::path::PathBuf::from(path)
    };
    world.refuses_planted(&beside(".releve-binlog"));
    // What goes when a recovery begins goes itself, and nothing that it leads to.
    let victim = world.victim();
    let before_it = closed(&victim);
    symlink(&victim, beside(".releve-recovery")).unwrap();
    world.run(&["recover", "--yes"]).exits(0).says("preparing the copy").says("replaying the binary log");
    assert_eq!(closed(&victim), before_it);
    assert!(count(&server) >= due, "{} came back and {due} were promised", count(&server));
    let all = three(&server);
    assert_eq!(server.ask("select n from shop.later"), "7");
    assert_eq!(server.ask("select count(*) from mysql.user where user = 'late'"), "1");
    assert_eq!(server.ask("select count(*) from mysql.user where user like 'releve%'"), "0");
    assert_eq!(
        server.ask("check table shop.t, shop.aria, shop.isam, mysql.global_priv").matches("OK").count(),
        4
    );
    // Nothing is left of the recovery.
    let home = server.data().parent().unwrap().to_owned();
    let left = |folder: &Path| {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("releve") || name.starts_with("xtrabackup")).collect::<Vec<_>>()
    };
    assert_eq!((left(&home), left(&server.data())), (vec![], vec![]));

    // Once more, to an instant in between: the server runs, and is stopped.
    world.run(&["recover", "--yes", "--before", &before]).exits(0);
    assert!(count(&server) >= at_target, "{} of {at_target}", count(&server));
    assert!(server.ask("select max(at) from shop.journal") < target);
    assert!(three(&server) < all);
    // And the point by itself.
    let points = world.points();
    let first = points.iter().find(|point| point["system"] == "shop").unwrap();
    world.run(&["recover", "--yes", "--point", first["id"].as_str().unwrap()]).exits(0);
    assert_eq!((count(&server), three(&server)), (0, 0));
    assert_eq!(server.ask("show tables in shop like 'later'"), "");
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn a_copy_that_ended_early_or_did_not_end_well_makes_no_point() {
    let (server, world) = server(&[], "");
    for (script, why) in [
        (
            "case $* in *--backup*) $REAL \"$@\" | head -c 3000000;; *) exec $REAL \"$@\";; esac",
            "ended early",
        ),
        // A stream that is whole, and nobody says so.
        ("$REAL \"$@\" 2>\"$0.log\" || exit 1\ngrep based \"$0.log\" >&2 || true", "completed OK!"),
        ("$REAL \"$@\" || exit 1\ncase $* in *--backup*) exit 7;; esac", "status 7"),
        ("case $* in *--backup*) exit 0;; *) exec $REAL \"$@\";; esac", "completed OK!"),
    ] {
        plan(&world, &server, &programs(&world, script));
        world.run(&["backup"]).exits(2).says(why);
        assert!(world.points().is_empty(), "{script}");
    }
    plan(&world, &server, &programs(&world, "exec $REAL \"$@\""));
    world.run(&["backup"]).exits(0);
}

#[test]
fn tools_of_another_series_another_data_directory_and_a_server_that_runs_are_refused() {
    let (server, world) = server(&[], "");
    plan(
        &world,
        &server,
        &programs(&world, "echo mariadb-backup based on MariaDB server 10.6.18-MariaDB Linux >&2"),
    );
    world.run(&["backup"]).exits(2).says("both must be of one series");
    plan(&world, &server, &programs(&world, "exit 1"));
    world.run(&["backup"]).exits(2).says("install the package mariadb-backup");
    plan(&world, &server, "");
    let good = fs::read_to_string(world.path("plan.toml")).unwrap();
    let data = format!("data_directory = {:?}", server.data());
    fs::write(world.path("plan.toml"), good.replace(&data, &format!("data_directory = {:?}", world.data())))
        .unwrap();
    world.run(&["backup"]).exits(2).says("correct data_directory or the url");
    fs::write(world.path("plan.toml"), &good).unwrap();
    world.run(&["backup"]).exits(0);
    server.run("insert into shop.t values (1)");
    let stop = format!("{:?}", server.stop_command());
    fs::write(world.path("plan.toml"), good.replace(&stop, "[\"true\"]")).unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("in use by the server");
    assert_eq!(server.ask("select count(*) from shop.t"), "1");
}

#[test]
fn a_recovery_that_is_killed_while_it_prepares_puts_the_files_back_again_and_goes_on() {
    let (mut server, world) = server(&[], "");
    server.run("use shop; insert into t select seq from seq_1_to_20000");
    world.run(&["backup"]).exits(0);
    let files = crate::world::files(&server.data());
    server.kill();
    // Half-done work: files of the copy are spoilt, with their length as it was.
    let spoilt = "case $* in *--prepare*) for f in ibdata1 shop/t.ibd ib_logfile0; do
        dd if=/dev/urandom of=\"$DATA/$f\" bs=4096 count=3 conv=notrunc 2>/dev/null; done
        touch \"$0.begun\"; exec sleep 600;; *) exec $REAL \"$@\";; esac";
    let script = format!("DATA='{}'\n{spoilt}", server.data().display());
    plan(&world, &server, &programs(&world, &script));
    let mut recovery = world.start(&["recover", "--yes"]);
    let begun = world.path("programs/mariadb-backup.begun");
    assert!(wait_until(Duration::from_secs(120), || begun.exists()));
    recovery.kill().unwrap();
    recovery.wait().unwrap();
    plan(&world, &server, &programs(&world, "exec $REAL \"$@\""));
    // Of another time: it would be taken for a part of the server.
    fs::write(server.data().join("aria_log.00000099"), "stale").unwrap();
    fs::write(server.data().join("undo001"), "stale").unwrap();
    world.run(&["recover", "--yes"]).exits(0).says("Going on with the recovery");
    assert_eq!(server.ask("select count(*), sum(n) from shop.t"), "20000\t200010000");
    assert_eq!(server.ask("check table shop.t"), "shop.t\tcheck\tstatus\tOK");
    assert!(!server.data().join("aria_log.00000099").exists() && !server.data().join("undo001").exists());
    // With the owner and the modes that they had.
    assert!(files.contains(&server.data().join("shop/t.ibd")));
    let mode = fs::metadata(server.data().join("shop/t.ibd")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_second_point_stores_little_and_beside_there_is_a_data_directory_that_starts() {
    let (server, world) = server(&[], "");
    server.run("use shop; create table large (n int primary key, text varchar(200)); insert into large select seq, md5(seq * 7) from seq_1_to_300000");
    server.run("set global innodb_max_dirty_pages_pct = 0");
    let settled = || server.ask("show global status like 'Innodb_buffer_pool_pages_dirty'").ends_with("\t0");
    assert!(wait_until(Duration::from_secs(60), settled));
    let stored = || {
        world.run(&["backup"]).exits(0);
        let packs = crate::world::files(&world.path("near/data"));
        packs.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>()
    };
    let first = stored();
    server.run("update shop.large set text = 'changed' where n = 4711");
    let second = stored() - first;
    assert!(first > 8 << 20 && second < first / 3, "{first} and then {second} more");

    world.run(&["recover", "--yes", "--to", "look"]).exits(0);
    let data = world.path("look").join(server.data().strip_prefix("/").unwrap());
    // The other one was not touched.
    server.run("update shop.large set text = 'later' where n = 4711");
    let beside = MariadbServer::on(&data);
    assert_eq!(beside.ask("select text from shop.large where n = 4711"), "changed");
    assert_eq!(beside.ask("select count(*) from shop.large"), "300000");
}

#[test]
fn what_only_the_disk_of_the_server_has_still_is_back_too() {
    let logs = tempfile::tempdir().unwrap();
    let elsewhere = format!("--log-bin={}", logs.path().join("shop-bin").display());
    let (mut server, world) = comes_back_from_its_own_log(&WITH_LOG);
    // It crashes again before there is a point, and nothing is left of its disk: what came from there is in the vaults. What was written since is not, and said.
    server.run("insert into shop.t values (4)");
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    fs::remove_dir_all(world.path("state/log")).unwrap();
    let all = "select group_concat(n order by n) from shop.t";
    world.run(&["recover", "--yes"]).exits(1).says("ended its log, and no point was made since");
    assert_eq!(server.ask(all), "1,2,3");
    // And where its disk shows that nothing was written since, nothing is missing.
    server.kill();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(server.ask(all), "1,2,3");
    // A log that goes on from nothing, of a server that runs: known before anything is overwritten.
    server.run("insert into shop.t values (5)");
    world.run(&["recover", "--dry-run"]).exits(1).says("goes on from nothing in the vaults");
    // Its disk dies once more: all that was written since the last recovery lies beside then, and comes back with what the finding names.
    server.kill();
    let run = world.run(&["recover", "--yes"]).exits(1).says("had been begun anew");
    assert_eq!(server.ask(all), "1,2,3");
    let way =
        run.err.split_once("this brings it back: ").or_else(|| run.out.split_once("this brings it back: "));
    let (command, _) = way.unwrap().1.split_once(" | mariadb ").unwrap();
    let printed = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(printed.status.success(), "{command}: {}", String::from_utf8_lossy(&printed.stderr));
    let mut session = server.session();
    session.stdin.take().unwrap().write_all(&printed.stdout).unwrap();
    assert!(session.wait().unwrap().success());
    assert_eq!(server.ask(all), "1,2,3,5");
    drop((server, world));
    let (server, world) = comes_back_from_its_own_log(&[&elsewhere, WITH_LOG[1]]);
    assert_eq!(fs::read_dir(logs.path()).unwrap().count(), 2, "one file and its index");
    // What is written from then on is in a log of its own, which no point leads into: it is no proof that an instant is reached, and it is not thrown away.
    server.run("insert into shop.t values (4)");
    let (before, _) = next_second(&server);
    server.run("insert into shop.t values (5)");
    world.run(&["recover", "--yes", "--before", &before]).exits(1).says("had been begun anew");
    let mut left = server.data().into_os_string();
    left.push(".releve-binlog-left-1");
    let left: Vec<_> = fs::read_dir(left).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.contains(&"shop-bin.000001".into()), "{left:?}");
}

#[test]
fn a_dry_run_ends_as_the_recovery_does_where_the_log_of_a_dead_disk_is_damaged() {
    let (mut server, world) = server(&WITH_LOG, ", log = \"stream\"");
    world.run(&["backup"]).exits(0);
    server.run("insert into shop.t values (1); insert into shop.t values (2)");
    let newest = server.ask("show master status").split('\t').next().unwrap().to_owned();
    server.kill();
    let log = server.data().join(newest);
    let sound = fs::read(&log).unwrap();
    // It ends in the middle of an event: that was never committed.
    fs::write(&log, &sound[..sound.len() - 3]).unwrap();
    world.run(&["recover", "--dry-run"]).exits(0);
    let mut damaged = sound;
    let last = damaged.len() - 3;
    damaged[last] ^= 1;
    fs::write(&log, damaged).unwrap();
    for how in ["--dry-run", "--yes"] {
        world.run(&["recover", how]).exits(1).says("can't be read from byte");
    }
    assert_eq!(server.ask("select group_concat(n) from shop.t"), "1");
}

fn comes_back_from_its_own_log(options: &[&str]) -> (MariadbServer, World) {
    let (mut server, world) = server(options, ", log = \"stream\"");
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    wait_for_log(&world);
    drop(agent);
    server.run("insert into shop.t values (2); flush binary logs; insert into shop.t values (3)");
    server.kill();
    // Damage that keeps it from starting; its log is sound.
    fs::write(server.data().join("ibdata1"), "damaged").unwrap();
    world.run(&["recover", "--dry-run"]).exits(0).says("it is brought into the vaults first");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(server.ask("select group_concat(n order by n) from shop.t"), "1,2,3");
    // Its log begins anew, and a new point is asked for.
    assert_eq!(server.ask("show binary logs").lines().count(), 1);
    (server, world)
}

#[test]
fn a_copy_with_damaged_tables_is_incomplete_and_names_them() {
    let (mut server, world) = server(&[], "");
    server.run(
        "insert into shop.isam select seq from shop.seq_1_to_1000; insert into shop.aria select seq from shop.seq_1_to_5000; flush tables",
    );
    world.run(&["backup"]).exits(0);
    server.kill();
    let open = |name: &str| fs::OpenOptions::new().write(true).open(server.data().join(name)).unwrap();
    // One is cut off, which nobody has met; of the other its server finds a page that isn't one.
    open("shop/isam.MYD").set_len(1000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&open("shop/aria.MAD"), &[0; 8192], 3 * 8192).unwrap();
    server.restart();
    let _ = server.ask("check table shop.aria");
    let run = world.run(&["backup"]).exits(1);
    run.says("table shop.isam is damaged")
        .says("table shop.aria is damaged")
        .says("REPAIR TABLE `shop`.`isam`");
    let _ = server.ask("repair table shop.isam, shop.aria");
    world.run(&["backup"]).exits(0);
}

#[test]
fn few_rights_are_enough_and_the_password_is_nowhere_to_be_seen() {
    let (mut server, world) = server(&WITH_LOG, "");
    server.run(
        "create user releve@'%' identified by 'the secret word';
        grant reload, process, binlog monitor, replication slave on *.* to releve@'%'; grant select on shop.t to releve@'%'",
    );
    let seen = world.path("seen");
    let script = format!("echo \"$*\" >>'{0}'; env >>'{0}'; exec $REAL \"$@\"", seen.display());
    plan(&world, &server, &(programs(&world, &script) + ", log = \"stream\""));
    fs::write(world.path("url"), server.url_of("releve", "the%20secret%20word")).unwrap();
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1), (2)");
    wait_for_log(&world);
    drop(agent);
    server.kill();
    fs::remove_dir_all(server.data()).unwrap();
    world.run(&["recover", "--yes"]).exits(0).says("NOT looked through for damage").says("GRANT SELECT");
    assert_eq!(server.ask("select count(*) from shop.t"), "2");
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains("--backup") && seen.contains("--prepare"));
    assert!(!seen.contains("secret word"));
    // With one right more all tables are looked at.
    server.run("grant select on *.* to releve@'%'");
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes"]).exits(0).says("looked through for damage: mysql, shop");
}

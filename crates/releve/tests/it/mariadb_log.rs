//! A MariaDB server whose binary log is kept: crashed, and brought back to the second.

use crate::postgres::{Agent, log_of, promised, wait_for_log};
use crate::world::World;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{MariadbServer, pause, wait_until};

pub(crate) const WITH_LOG: [&str; 2] = ["--log-bin=mariadb-bin", "--server-id=7"];

/// Writes the plan, and the address into a file.
fn plan(world: &World, url: &str, log: &str) {
    std::fs::write(world.path("url"), url).unwrap();
    let source = format!("mariadb = {{ url = {{ file = {:?} }}, log = {log:?} }}", world.path("url"));
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("rpo = \"1 hour\"", "rpo = \"3 seconds\"")).unwrap();
}

/// A server with a table `shop.t` of numbers and one for a writer, of which a first point was made; and its world.
pub(crate) fn protected(options: &[&str]) -> (MariadbServer, World) {
    let server = MariadbServer::start_with(&[&WITH_LOG, options].concat());
    let world = World::new();
    plan(&world, &server.url(), "stream");
    server.run(
        "create database shop; create table shop.t (n int primary key);
        create table shop.journal (n bigint auto_increment primary key, at datetime(6))",
    );
    world.run(&["backup"]).exits(0);
    (server, world)
}

/// Returns the numbers in the table `t`.
fn numbers(server: &MariadbServer) -> String {
    server.ask("select group_concat(n order by n) from shop.t")
}

/// Returns what the server says, by its own clock, when the next second has begun: as `--before` takes it, and as it writes times.
pub(crate) fn next_second(server: &MariadbServer) -> (String, String) {
    let second = || server.ask("select date_format(utc_timestamp(), '%Y-%m-%d %H:%i:%s')");
    let now = second();
    assert!(wait_until(Duration::from_secs(5), || second() > now));
    let now = second();
    (format!("{}Z", now.replace(' ', "T")), now)
}

/// Returns the GTID of the newest transaction.
fn newest_transaction(server: &MariadbServer) -> String {
    server.ask("select @@gtid_binlog_pos")
}

/// An empty server in the place of one that was lost.
fn replace(server: &mut MariadbServer) {
    server.destroy();
    server.restart();
}

/// One who writes without a pause: each number is committed before the next is begun.
pub(crate) struct Writer {
    child: Child,
    /// The numbers, and when the server has committed them by its own clock.
    written: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Writer {
    pub(crate) fn begin(server: &MariadbServer) -> Self {
        let mut child = server.session();
        let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(from).lines();
            let statement = "insert into shop.journal (at) values (utc_timestamp(6)); select last_insert_id(), utc_timestamp(6);";
            while writeln!(to, "{statement}").is_ok() {
                let Some(Ok(line)) = lines.next() else { return };
                let (number, at) = line.split_once('\t').unwrap();
                list.lock().unwrap().push((number.parse().unwrap(), at.to_owned()));
            }
        });
        Self { child, written }
    }

    pub(crate) fn written(&self) -> Vec<(u64, String)> {
        self.written.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, more: usize) {
        let wanted = self.written().len() + more;
        assert!(
            wait_until(Duration::from_secs(60), || self.written().len() >= wanted),
            "nobody writes any more"
        );
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns what the agent has said.
fn said(world: &World) -> String {
    std::fs::read_to_string(world.path("agent.log")).unwrap_or_default()
}

pub(crate) fn count(server: &MariadbServer) -> usize {
    server.ask("select count(*) from shop.journal").parse().unwrap()
}

#[test]
fn every_transaction_up_to_the_promised_instant_is_back_and_none_from_after_the_target() {
    let (mut server, world) = protected(&["--max-allowed-packet=64M"]);
    let agent = Agent::begin(&world);
    let writer = Writer::begin(&server);
    wait_for_log(&world);
    writer.wait_for(300);
    let (before, target) = next_second(&server);
    writer.wait_for(300);
    // The log goes on in other files, and in one that is longer than a piece of it.
    server.run("flush binary logs; create table shop.large (bytes longblob)");
    server.run("insert into shop.large values (repeat(md5(1), 700000)); insert into shop.large values (repeat(md5(2), 400000)); flush binary logs");
    // What was read of a file is in the log, too, and a recovery reads nothing else.
    let rows = world.path("rows");
    std::fs::write(&rows, "1\n2\n").unwrap();
    server.run(&format!(
        "create table shop.loaded (n int primary key); set session binlog_format = statement; load data local infile '{}' into table shop.loaded",
        rows.display()
    ));
    std::fs::remove_file(rows).unwrap();
    writer.wait_for(100);
    wait_for_log(&world);
    let promised = promised(&world);
    server.kill();
    drop(agent);
    let written = writer.written();
    // Neither the server's disk nor what waited beside it is left.
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    replace(&mut server);

    let due = written.iter().filter(|(_, at)| at.as_str() < promised.as_str()).count();
    let at_target = written.iter().filter(|(_, at)| at.as_str() < target.as_str()).count();
    assert!(at_target > 100 && due > at_target + 300, "{at_target}, {due} of {}", written.len());
    world
        .run(&["recover", "--yes"])
        .exits(0)
        .says("rolled forward to the end of its log")
        .says("replaying the binary log");
    assert!(count(&server) >= due, "{} came back and {due} were promised", count(&server));
    assert_eq!(server.ask("select sum(length(bytes)) from shop.large"), (1_100_000 * 32).to_string());
    assert_eq!(server.ask("select group_concat(n) from shop.loaded"), "1,2");

    // Once more, to an instant in between.
    replace(&mut server);
    world.run(&["recover", "--yes", "--before", &before]).exits(0);
    assert!(count(&server) >= at_target, "{} of {at_target}", count(&server));
    assert!(server.ask("select max(at) from shop.journal") < target);
    server.run("insert into shop.journal (at) values (now())");
    // The point by itself, without its log.
    let id = world.points()[0]["id"].as_str().unwrap().to_owned();
    world.run(&["recover", "--yes", "--point", &id]).exits(0);
    assert_eq!(count(&server), 0);
    // Nothing was spoilt in the vaults by all that.
    // An agent that was killed leaves its lock, as whoever is killed does.
    world.restic("far").must(&["unlock"]);
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn positions_and_transactions_are_reached_and_nonsense_is_refused_before_anything_is_touched() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    let position = server.ask("show master status");
    let position = position.split('\t').take(2).collect::<Vec<_>>().join(":");
    server.run("insert into shop.t values (2); delete from shop.t");
    let doomed = newest_transaction(&server);
    server.run("insert into shop.t values (3)");
    wait_for_log(&world);
    drop(agent);
    for (until, expected) in [(format!("position {position}"), "1"), (format!("transaction {doomed}"), "1,2")]
    {
        replace(&mut server);
        world.run(&["recover", "--yes", "--until", &until]).exits(0);
        assert_eq!(numbers(&server), expected, "{until}");
    }
    for (until, why) in [
        ("position 0/16B3748", "is no position"),
        ("transaction 4711", "write its GTID"),
        ("name before-migration", "no points with names"),
        ("transaction 0-9-4711", "transaction 0-9-4711 is not in the log"),
        ("position mariadb-bin.000077:4", "is not in the log"),
    ] {
        world.run(&["recover", "--yes", "--until", until]).exits(2).says(why);
    }
    assert_eq!(numbers(&server), "1,2");
    // Beside, it comes as statements.
    world.run(&["recover", "--yes", "--to", "look", "--until", &format!("position {position}")]).exits(0);
    let statements = std::fs::read_to_string(world.path("look/mariadb-replay.sql")).unwrap();
    assert!(statements.contains("values (1)") && !statements.contains("values (2)"), "{statements}");
    assert!(!world.path("look/mariadb-log").exists());
}

#[test]
fn what_a_living_server_has_still_is_not_lost_and_after_going_back_a_new_point_is_asked_for() {
    let (server, world) = protected(&["--gtid-strict-mode=ON"]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    wait_for_log(&world);
    // Nobody carries it any more.
    drop(agent);
    server.run("insert into shop.t values (2); flush binary logs; insert into shop.t values (3); drop table shop.journal");
    let doomed = newest_transaction(&server);
    server.run("insert into shop.t values (4)");
    let recovered = world.run(&["recover", "--yes", "--until", &format!("transaction {doomed}")]).exits(0);
    assert_eq!(numbers(&server), "1,2,3");
    assert_eq!(server.ask("select count(*) from shop.journal"), "0");
    assert_eq!(server.ask("select @@global.gtid_strict_mode"), "1");
    // What was loaded is no part of the log: that begins anew, and the newest point doesn't lead into it. It is said at once, although nobody carries it.
    let recovered = recovered.says("its log ends with this recovery");
    recovered.says("in no vault, and the next crash loses it").says("way out: releve backup shop now");
    let broken = log_of(&world)["broken"].to_string();
    assert!(broken.contains("has ended it"), "{broken}");
    server.run("insert into shop.t values (9)");
    // Nobody gets by himself to what somebody went back behind. It was the wrong instant: the later one can still be had, and what came since is lost.
    world.run(&["recover", "--dry-run"]).says("went back behind what came after").says("--until newest");
    world.run(&["recover", "--yes", "--until", "newest"]).exits(1).says("had begun its binary log anew");
    assert_eq!(numbers(&server), "1,2,3,4");
    // An agent makes the point that is needed at once, long before one is due.
    let _agent = Agent::begin(&world);
    let goes_on = || log_of(&world)["broken"].is_null();
    assert!(wait_until(Duration::from_secs(60), goes_on), "{}\n{}", log_of(&world), said(&world));
    server.run("insert into shop.t values (5)");
    wait_for_log(&world);
    assert!(log_of(&world)["broken"].is_null(), "{}\n{}", log_of(&world), said(&world));
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&server), "1,2,3,4,5");
}

/// Kills the server, the agent or both at random instants under load, takes the server's disk, and the spool or not, and recovers each time.
#[expect(clippy::print_stdout, reason = "a trial of many rounds is followed, and repeated from its seed")]
fn kill_at_random(rounds: usize, seed: u64) {
    println!("seed {seed}");
    let (mut server, world) = protected(&["--max-binlog-size=64K"]);
    let mut random = testkit::Random::new(seed);
    for round in 0..rounds {
        let mut agent = Some(Agent::begin(&world));
        let mut writer = Writer::begin(&server);
        wait_for_log(&world);
        pause(Duration::from_millis(random.below(1500) as u64));
        if round % 2 == 1 {
            // The agent dies on its way, and another takes over from what it left.
            drop(agent.take());
            pause(Duration::from_millis(random.below(500) as u64));
            agent = Some(Agent::begin(&world));
            wait_for_log(&world);
        }
        if round % 4 == 0 {
            // The server dies, comes again, and the agent goes on with it.
            drop(writer);
            server.restart();
            writer = Writer::begin(&server);
            writer.wait_for(50);
            wait_for_log(&world);
        }
        let promised = promised(&world);
        // What lies behind a gap would be no promise.
        assert!(log_of(&world)["broken"].is_null(), "round {round}: {}", log_of(&world));
        let takes_spool = random.once_in(3);
        if round % 4 >= 2 {
            drop(agent.take());
        }
        server.kill();
        drop(agent);
        if takes_spool {
            std::fs::remove_dir_all(world.path("state/log")).unwrap();
        }
        let written = writer.written();
        drop(writer);
        let due = written.iter().rev().find(|(_, at)| at.as_str() < promised.as_str()).map_or(0, |(n, _)| *n);
        replace(&mut server);
        let mut run = world.run(&["recover", "--yes"]);
        // Behind what was promised a file may be there and not the end of the one before.
        if run.code != 0 {
            run = run.exits(1).says("log breaks off");
        }
        let back: u64 = server.ask("select coalesce(max(n), 0) from shop.journal").parse().unwrap();
        println!("round {round}: spool lost {takes_spool}: {due} due, {back} back");
        assert!(
            back >= due,
            "round {round}: {back} came back and {due} were promised by {promised}\n{}",
            run.err
        );
        // Numbers that were given out and not committed are left out by the server itself.
        let there = server.ask("select n from shop.journal");
        let there: std::collections::BTreeSet<u64> =
            there.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let lost: Vec<_> = written.iter().filter(|(n, _)| *n <= back && !there.contains(n)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        world.run(&["backup"]).exits(0);
    }
}

#[test]
fn killed_at_random_the_server_the_agent_or_both_lose_nothing_that_was_promised() {
    kill_at_random(3, 21);
}

/// Run by `cargo xtask kills`, with how many rounds and from which seed.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how many rounds and from which seed is handed over by the environment"
)]
#[ignore = "takes many minutes: cargo xtask kills"]
fn killed_at_random_many_times_a_mariadb_server_loses_nothing_that_was_promised() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    kill_at_random(number("KILL_ROUNDS").unwrap_or(20) as usize, number("KILL_SEED").unwrap_or(21));
}

#[test]
fn a_purged_file_is_a_gap_that_is_told_and_a_new_point_closes_it() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    wait_for_log(&world);
    drop(agent);
    server.run(
        "insert into shop.t values (2); flush binary logs; insert into shop.t values (3); flush binary logs",
    );
    let newest = server.ask("show master status").split('\t').next().unwrap().to_owned();
    let purged = || {
        // As long as a dump thread reads it, it isn't purged.
        server.run(&format!("purge binary logs to '{newest}'"));
        server.ask("show binary logs").lines().count() == 1
    };
    assert!(wait_until(Duration::from_secs(30), purged));
    let agent = Agent::begin(&world);
    let broken = || {
        log_of(&world)["broken"]
            .as_str()
            .is_some_and(|why| why.contains("the rest of binary log 000001 is missing"))
    };
    assert!(wait_until(Duration::from_secs(60), broken), "{}\n{}", log_of(&world), said(&world));
    world.run(&["status"]).exits(1).says("BROKEN");
    world.run(&["recover", "--dry-run"]).says("its log breaks off");
    // An instant behind the gap can't be had, however far the log goes there.
    let (time, _) = next_second(&server);
    for how in ["--dry-run", "--yes"] {
        let run = world.run(&["recover", how, "--before", &time]).exits(2).says("its log breaks off");
        // Each way out that it names is one.
        if let Some((_, way)) = run.err.split_once("--before ") {
            let way = way.split_whitespace().next().unwrap();
            world.run(&["recover", "--dry-run", "--before", way]).exits(0);
        }
        let earlier = ["recover", "--dry-run", "--before", &time, "--or-earlier"];
        world.run(&earlier).exits(0).says("as far as its log goes");
    }
    assert_eq!(numbers(&server), "1,2,3");
    // Nothing was begun, which would keep points from being made.
    world.run(&["backup"]).exits(0);
    assert!(
        wait_until(Duration::from_secs(60), || log_of(&world)["broken"].is_null()),
        "{}\n{}",
        log_of(&world),
        said(&world)
    );
    server.run("insert into shop.t values (4)");
    wait_for_log(&world);
    drop(agent);
    replace(&mut server);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&server), "1,2,3,4");
}

#[test]
fn a_log_that_only_the_server_has_is_brought_into_the_vaults_first_and_one_that_is_gone_is_refused() {
    let (server, world) = protected(&[]);
    server.run("insert into shop.t values (1), (2)");
    let (time, _) = next_second(&server);
    server.run("insert into shop.t values (3)");
    let before = ["recover", "--yes", "--before", &time];
    // Nobody has ever carried it.
    let dry = world.run(&["recover", "--dry-run", "--before", &time]).exits(0);
    dry.says("lies still in the binary log of").says("it is brought into the vaults first");
    assert!(log_of(&world)["until"].is_null(), "a dry run touches nothing");
    world.run(&before).exits(0);
    assert_eq!(numbers(&server), "1,2");
    assert!(!log_of(&world)["until"].is_null());
    // Where the server has begun its log anew nothing leads on.
    world.run(&["backup"]).exits(0);
    server.run("insert into shop.t values (4)");
    let (time, _) = next_second(&server);
    server.run("reset master; insert into shop.t values (5)");
    let dry = world.run(&["recover", "--dry-run", "--before", &time]);
    assert!(!dry.out.contains("lies still") && !dry.err.contains("lies still"), "{}{}", dry.out, dry.err);
    assert_ne!(dry.code, 0, "the recovery itself is refused");
    dry.says("goes on from nothing in the vaults");
    world.run(&["recover", "--yes", "--before", &time]).exits(2);
    assert_eq!(numbers(&server), "1,2,4,5");
}

#[test]
fn what_a_killed_recovery_has_left_on_an_empty_server_is_nobodys() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1); flush binary logs; insert into shop.t values (2)");
    wait_for_log(&world);
    replace(&mut server);
    // The new one's log is received too, and doesn't go on from the old one's.
    let broken = || log_of(&world)["broken"].as_str().is_some_and(|why| why.contains("is missing"));
    assert!(wait_until(Duration::from_secs(60), broken), "{}\n{}", log_of(&world), said(&world));
    drop(agent);
    let mut recovery = world.start(&["recover", "--yes"]);
    let loaded =
        || server.ask("select count(*) from information_schema.tables where table_schema = 'shop'") != "0";
    let has_begun = wait_until(Duration::from_secs(60), loaded);
    recovery.kill().unwrap();
    recovery.wait().unwrap();
    assert!(has_begun);
    assert_eq!(server.ask("show databases like 'releve\\_before'"), "releve_before");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&server), "1,2");
    assert_eq!(server.ask("show databases like 'releve%'"), "");
}

#[test]
fn a_log_that_was_begun_anew_is_never_taken_for_the_old_one() {
    let (server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    wait_for_log(&world);
    drop(agent);
    // As many files as before, and one more, of the same names.
    server
        .run("reset master; insert into shop.t values (2); flush binary logs; insert into shop.t values (3)");
    let agent = Agent::begin(&world);
    let broken = || log_of(&world)["broken"].as_str().is_some_and(|why| why.contains("is missing"));
    assert!(wait_until(Duration::from_secs(60), broken), "{}\n{}", log_of(&world), said(&world));
    drop(agent);
    // What is known to be missing is no success.
    let short = world.run(&["recover", "--yes"]).exits(1).says("its log breaks off");
    short.says("what was committed after that is not back").says("had begun its binary log anew");
    assert_eq!(numbers(&server), "1");
    // While it is being received it is noticed too.
    world.run(&["backup"]).exits(0);
    let _agent = Agent::begin(&world);
    assert!(
        wait_until(Duration::from_secs(60), || log_of(&world)["broken"].is_null()),
        "{}\n{}",
        log_of(&world),
        said(&world)
    );
    server.run("insert into shop.t values (5)");
    wait_for_log(&world);
    server.run("reset master; insert into shop.t values (6)");
    assert!(wait_until(Duration::from_secs(60), broken), "{}\n{}", log_of(&world), said(&world));
}

#[test]
fn a_server_without_a_binary_log_is_said_plainly_and_never_fine() {
    let server = MariadbServer::start();
    let world = World::new();
    plan(&world, &server.url(), "stream");
    server.run("create database shop");
    world.run(&["backup"]).exits(0);
    let _agent = Agent::begin(&world);
    assert!(
        wait_until(Duration::from_secs(60), || said(&world).contains("the server keeps no binary log")),
        "{}",
        said(&world)
    );
    world.run(&["status"]).exits(1).says("BROKEN: the newest point does not say where in the log it lies");
    world.run(&["recover", "--yes"]).exits(0);
    // Without a log nothing may be promised that is less than the time between two points.
    plan(&world, &server.url(), "none");
    world.run(&["check"]).exits(65).says("log = \"stream\"");
}

#[test]
fn a_password_that_was_changed_is_read_anew_and_its_rights_are_enough() {
    let (server, world) = protected(&[]);
    server.run("create user releve@localhost identified by 'one'; create user releve@'127.0.0.1' identified by 'one';
        grant select, show view, trigger, event, binlog monitor, replication slave on *.* to releve@localhost;
        grant select, show view, trigger, event, binlog monitor, replication slave on *.* to releve@'127.0.0.1'");
    let url = |password: &str| std::fs::write(world.path("url"), server.url_of("releve", password)).unwrap();
    url("one");
    world.run(&["backup"]).exits(0);
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    server.run("set password for releve@localhost = password('two'); set password for releve@'127.0.0.1' = password('two')");
    assert!(
        wait_until(Duration::from_secs(60), || said(&world).contains("Access denied")),
        "{}",
        said(&world)
    );
    url("two");
    wait_for_log(&world);
    assert!(!said(&world).contains("one") || !said(&world).contains("two@"), "{}", said(&world));
    // Who loads the dump loses the rights that he had for it, and comes to the end all the same.
    let doomed = {
        server.run("insert into shop.t values (1)");
        newest_transaction(&server)
    };
    server.run("delete from shop.t");
    server.run("grant all on *.* to releve@localhost with grant option; grant all on *.* to releve@'127.0.0.1' with grant option");
    wait_for_log(&world);
    world.run(&["recover", "--yes", "--until", &format!("transaction {doomed}")]).exits(0);
    assert_eq!(numbers(&server), "NULL");
}

#[test]
fn events_do_not_run_while_what_they_did_is_replayed() {
    let (mut server, world) = protected(&["--event-scheduler=ON"]);
    server.run("create event shop.purge on schedule every 1 second do delete from shop.t where n < 100; insert into shop.t values (500)");
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    server.run("drop event shop.purge; insert into shop.t values (1)");
    wait_for_log(&world);
    drop(agent);
    replace(&mut server);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&server), "1,500");
    assert_eq!(server.ask("select @@global.event_scheduler"), "ON");
}

#[test]
fn what_came_while_the_dump_was_made_may_be_in_it_already() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let makes = scope.spawn(|| {
            let mut made = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                made += 1;
                server.run(&format!(
                    "create user u{made}; create event shop.e{made} on schedule every 1 year do select 1; insert into shop.t values ({made})"
                ));
            }
            made
        });
        world.run(&["backup"]).exits(0);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        makes.join().unwrap()
    });
    wait_for_log(&world);
    drop(agent);
    // Between the position of the data and the end of the dump something happened.
    world.run(&["restore", "shop", "--to", "look"]).exits(0);
    let dump = std::fs::read_to_string(world.path("look/mariadb.sql")).unwrap();
    let span = dump.lines().find(|line| line.starts_with("-- releve: binary log of")).unwrap();
    let (from, to) = span.split_once(" from ").unwrap().1.split_once(" to ").unwrap();
    assert_ne!(from, to);
    replace(&mut server);
    world.run(&["recover", "--yes"]).exits(0);
    for question in [
        "select count(*) from shop.t",
        "select count(*) from mysql.user where user like 'u%'",
        "select count(*) from information_schema.events",
    ] {
        assert_eq!(server.ask(question), made.to_string(), "{question}");
    }
}

/// Lets the server know one time zone, beside its log.
fn knows_paris(server: &MariadbServer) {
    let made = std::process::Command::new("mariadb-tzinfo-to-sql")
        .args(["--skip-write-binlog", "/usr/share/zoneinfo/Europe/Paris", "Europe/Paris"])
        .output()
        .unwrap();
    server.run(&format!("use mysql; {}", String::from_utf8_lossy(&made.stdout)));
}

#[test]
fn what_only_some_servers_allow_or_have_is_back_on_a_fresh_one() {
    let (mut server, world) = protected(&[]);
    knows_paris(&server);
    let agent = Agent::begin(&world);
    // Each of these would end a replay by itself: errors 1118, 4119, 1298, 1524 and 1286.
    let columns: String = (0..200).map(|n| format!(", c{n} char(50) character set latin1")).collect();
    for statements in [
        &*format!(
            "set innodb_strict_mode = 0; create table shop.wide (id int primary key{columns}) engine=innodb"
        ),
        "create table shop.versions (n int) with system versioning; insert into shop.versions values (1);
            set system_versioning_alter_history = keep; alter table shop.versions add more int",
        "set time_zone = 'Europe/Paris'; create table shop.times (at timestamp); insert into shop.times values ('2026-06-01 12:00:00')",
        "install soname 'auth_ed25519'; create user e@localhost identified via ed25519 using password('geheim')",
        "install soname 'ha_archive'; create table shop.old (n int) engine=archive; insert into shop.old values (7)",
        "insert into shop.t values (1)",
    ] {
        server.run(statements);
    }
    wait_for_log(&world);
    drop(agent);
    replace(&mut server);
    world
        .run(&["recover", "--yes"])
        .exits(0)
        .says("loading those of this machine")
        .says("was installed there");
    assert_eq!(numbers(&server), "1");
    for (question, answer) in [
        ("select count(*) from information_schema.columns where table_name = 'wide'", "201"),
        ("select n from shop.versions for system_time all", "1"),
        ("select unix_timestamp(at) from shop.times", "1780308000"),
        ("select json_value(priv, '$.plugin') from mysql.global_priv where user = 'e'", "ed25519"),
        ("select n from shop.old", "7"),
        ("select engine from information_schema.tables where table_name = 'old'", "ARCHIVE"),
    ] {
        assert_eq!(server.ask(question), answer, "{question}");
    }
}

#[test]
fn a_statement_that_fails_is_named_with_its_place_what_comes_after_and_the_way_on() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    server.run("insert into shop.t values (1)");
    // Nothing in the log makes this table.
    server.run("set sql_log_bin = 0; create table shop.unlogged (n int, secret varchar(20))");
    server.run("insert into shop.unlogged (n, secret) values (4711, 'geheim')");
    let doomed = newest_transaction(&server);
    server.run("insert into shop.t values (2); insert into shop.t values (3)");
    wait_for_log(&world);
    drop(agent);
    // Over a server that is at work it leaves what stood there.
    world.run(&["recover", "--yes"]).exits(2).says("what stood there before was put back: shop");
    assert_eq!(numbers(&server), "1,2,3");
    replace(&mut server);
    let run = world.run(&["recover", "--yes", "--anew"]).exits(2).says("NOT BACK").says("ERROR 1146");
    let run = run.says("insert into shop.unlogged (n, secret) values (4711,").says("are not: 3 transactions");
    assert!(!run.err.contains("geheim") && !run.out.contains("geheim"), "{}", run.err);
    run.says(&format!("--until 'transaction {doomed}'")).says("at mariadb-bin.00000");
    assert_eq!(numbers(&server), "1");
    replace(&mut server);
    world.run(&["recover", "--yes", "--until", &format!("transaction {doomed}")]).exits(0);
    assert_eq!(numbers(&server), "1");
}

#[test]
fn a_transaction_that_was_prepared_before_the_dump_and_committed_after_it_is_back() {
    let (mut server, world) = protected(&[]);
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        let makes = scope.spawn(|| {
            let mut session = server.session();
            let mut to = session.stdin.take().unwrap();
            let mut made = 0;
            // One of them is prepared at nearly any moment.
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                made += 1;
                writeln!(to, "xa start 'x{made}'; insert into shop.t values ({made}); xa end 'x{made}'; xa prepare 'x{made}';").unwrap();
                pause(Duration::from_millis(300));
                writeln!(to, "xa commit 'x{made}';").unwrap();
            }
            drop(to);
            session.wait().unwrap();
            made
        });
        for _ in 0..2 {
            world.run(&["backup"]).exits(0);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        makes.join().unwrap()
    });
    wait_for_log(&world);
    drop(agent);
    replace(&mut server);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(server.ask("select count(*) from shop.t"), made.to_string());
    assert_eq!(server.ask("xa recover"), "");

    // One that nobody ends is told, and is in the way of what replaces its tables.
    server.run("xa start 'left'; insert into shop.t values (9000); xa end 'left'; xa prepare 'left'");
    world.run(&["backup"]).exits(1).says("the transaction 'left' is prepared and nobody ends it");
    let refused = world.run(&["recover", "--yes"]).exits(2);
    refused.says("XA ROLLBACK 'left'").says("nothing was replaced");
    assert_eq!(server.ask("select count(*) from shop.t"), made.to_string());
}

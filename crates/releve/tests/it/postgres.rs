//! A real PostgreSQL cluster: copied under load, crashed, and brought back to the second.

use crate::world::{World, files, finish};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Postgres, wait_until};

/// A world whose plan protects the cluster, with these words more for its source and its system.
pub(crate) fn world(cluster: &Postgres, source: &str, rpo: &str, more: &str) -> World {
    let world = World::new();
    std::fs::write(world.path("url"), cluster.url("postgres")).unwrap();
    let source = format!(
        "postgres = {{ data_directory = {:?}, url = {{ file = {:?} }}{source} }}",
        cluster.data(),
        world.path("url")
    );
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, more);
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("rpo = \"1 hour\"", &format!("rpo = {rpo:?}")))
        .unwrap();
    world
}

/// A cluster with these settings and a table `t` of numbers, of which a first point was made; and its world.
pub(crate) fn protected(settings: &str, source: &str, rpo: &str) -> (Postgres, World) {
    let cluster = Postgres::start(settings);
    let world = world(&cluster, source, rpo, "");
    cluster.tell("create table t (n int)");
    world.run(&["backup"]).exits(0);
    (cluster, world)
}

/// Returns the numbers in the table `t`.
pub(crate) fn numbers(cluster: &Postgres) -> String {
    cluster.ask("select string_agg(n::text, ',' order by n) from t")
}

/// Returns the instant up to which everything is promised to be in the vaults, as the server writes times.
pub(crate) fn promised(world: &World) -> String {
    log_of(world)["until"].as_str().unwrap().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// Returns the server's time, as `--before` takes it.
pub(crate) fn time(cluster: &Postgres) -> String {
    cluster.ask("select clock_timestamp()").replace(' ', "T").replace("+00", "Z")
}

/// Returns where a segment of WAL lies in the cluster.
fn segment_path(cluster: &Postgres, segment: &str) -> String {
    cluster.data().join("pg_wal").join(segment).display().to_string()
}

/// One who writes without a pause: each number is committed before the next is begun.
pub(crate) struct Writer {
    child: Child,
    /// The numbers, and when the server has committed them by its own clock.
    pub(crate) written: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Writer {
    pub(crate) fn begin(cluster: &Postgres) -> Self {
        cluster.tell("create table if not exists journal (n bigserial primary key, at timestamptz default clock_timestamp())");
        let mut child = cluster
            .psql()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let written = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(from).lines();
            // What is asked after the commit: until then nothing was promised.
            while writeln!(
                to,
                "insert into journal default values returning n \\gset\nselect :n, clock_timestamp();"
            )
            .is_ok()
            {
                let Some(Ok(line)) = lines.next() else { return };
                let (number, at) = line.split_once('|').unwrap();
                list.lock().unwrap().push((number.parse().unwrap(), at.to_owned()));
            }
        });
        Self { child, written }
    }

    /// Returns how many were committed by now.
    fn count(&self) -> usize {
        self.written.lock().unwrap().len()
    }

    pub(crate) fn wait_for(&self, more: usize) {
        let wanted = self.count() + more;
        assert!(wait_until(Duration::from_secs(60), || self.count() >= wanted), "nobody writes any more");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent that runs; killed when dropped.
pub(crate) struct Agent(Child);

impl Agent {
    pub(crate) fn begin(world: &World) -> Self {
        let log = std::fs::File::create(world.path("agent.log")).unwrap();
        Self(world.command(&["agent"]).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn log_of(world: &World) -> Value {
    world.run(&["status", "--json"]).json()["systems"][0]["log"].clone()
}

/// Waits until the log in the vaults reaches what is committed now.
pub(crate) fn wait_for_log(world: &World) {
    let now = jiff::Timestamp::now().to_string();
    let reached = || log_of(world)["until"].as_str().is_some_and(|until| until > now.as_str());
    let said = || std::fs::read_to_string(world.path("agent.log")).unwrap_or_default();
    assert!(wait_until(Duration::from_secs(60), reached), "{}\n{}", log_of(world), said());
}

#[test]
fn a_cluster_under_load_comes_back_whole_with_its_tablespaces_and_nothing_of_what_stood_there() {
    let cluster = Postgres::start("");
    let space = cluster.folder_of("space");
    cluster.tell(&format!("create tablespace far location '{}'", space.display()));
    cluster.tell(
        "create table orders (n int) tablespace far; insert into orders select generate_series(1, 1000)",
    );
    cluster.tell("create unlogged table fleeting (n int); insert into fleeting values (1)");
    cluster.fill(2);
    let world = world(&cluster, "", "1 hour", "check = [{ sql = \"select count(*) = 1000 from orders\" }]");
    world.run(&["backup"]).exits(0);
    let mut load = cluster.load(&["-c", "4", "-T", "60"]);
    let writer = Writer::begin(&cluster);
    writer.wait_for(200);
    let before = writer.count();
    // The second copy takes over what didn't change.
    let made = world.run(&["backup", "--json"]).exits(0).json();
    assert!(made["systems"][0]["record"]["complete"] == Value::Bool(true), "{made}");
    drop(writer);
    let _ = load.kill();
    let _ = load.wait();
    world.run(&["recover", "--yes"]).exits(2).says("stop it first");
    cluster.kill();
    // What another time has left there is no part of the cluster.
    std::fs::write(cluster.data().join("base/999999"), "left over").unwrap();
    std::fs::remove_dir_all(cluster.data().join("pg_xact")).unwrap();
    std::fs::remove_dir_all(&space).unwrap();
    let back = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    assert_eq!(back["recovered"]["systems"][0]["checks_passed"], 1, "{back}");
    assert!(!cluster.data().join("base/999999").exists());
    assert!(cluster.ask("select count(*) from journal").parse::<usize>().unwrap() >= before);
    assert_eq!(cluster.ask("select count(*) from fleeting"), "0");
    assert_eq!(
        cluster.ask("select sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts"),
        "t"
    );
    assert_eq!(cluster.amcheck(), "");
    world.restic("far").must(&["check", "--read-data"]);
}

/// Heals one vault, of which a byte was turned, while the other is pruned, again and again, beside an agent that streams a log into both.
fn tend(world: &World) {
    // Who streams is waited for.
    let run = |arguments: &[&str]| finish(world.command(arguments).env("RELEVE_PATIENCE", "60"));
    for _ in 0..5 {
        let packs = files(&world.path("near/data")).into_iter();
        // Not one that is being written.
        let packs = packs.filter(|pack| pack.file_name().is_some_and(|name| name.len() == 64));
        let pack = packs.max_by_key(|pack| std::fs::metadata(pack).map_or(0, |meta| meta.len())).unwrap();
        let bytes = std::fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        let file = std::fs::File::options().write(true).open(&pack).unwrap();
        file.write_all_at(&[bytes[middle] ^ 1], middle as u64).unwrap();
        std::thread::scope(|scope| {
            let pruned = scope.spawn(|| run(&["prune", "far", "--yes"]));
            run(&["repair", "near", "--yes"]).exits(0);
            pruned.join().unwrap().exits(0);
        });
    }
    assert!(!world.run(&["alerts"]).out.contains("could not be pruned"));
}

#[test]
fn every_transaction_up_to_the_promised_instant_is_back_and_none_from_after_the_target() {
    let cluster = Postgres::start("");
    cluster.fill(1);
    let world = world(&cluster, "", "3 seconds", "");
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    let writer = Writer::begin(&cluster);
    wait_for_log(&world);
    writer.wait_for(300);
    let at_target = writer.written.lock().unwrap().clone();
    let target = cluster.ask("select clock_timestamp()");
    tend(&world);
    writer.wait_for(300);
    wait_for_log(&world);
    let promised = promised(&world);
    cluster.destroy();
    drop(agent);
    let written = writer.written.lock().unwrap().clone();
    // Neither the server's disk nor what waited beside it is left.
    std::fs::remove_dir_all(world.path("state/log")).unwrap();

    let due = written.iter().filter(|(_, at)| at.as_str() < promised.as_str()).count();
    assert!(due > at_target.len(), "{due} of {}", written.len());
    // Whom the server runs as may write beside its data.
    world.refuses_planted(&cluster.path("data.releve-wal"));
    world.run(&["recover", "--yes"]).exits(0).says("rolled forward to the end of its log");
    let back = cluster.ask("select count(*) from journal").parse::<usize>().unwrap();
    assert!(back >= due, "{back} came back and {due} were promised");
    assert_eq!(cluster.amcheck(), "");

    // Once more, to an instant in between.
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &target.replace(' ', "T").replace("+00", "Z")]).exits(0);
    let back: u64 = cluster.ask("select max(n) from journal").parse().unwrap();
    let latest = cluster.ask("select max(at) from journal");
    assert!(latest <= target, "{latest} is after {target}");
    // The one that was being written when we asked may be in or not.
    assert!(back + 1 >= at_target.last().unwrap().0, "{back} of {}", at_target.len());
    cluster.tell("insert into journal default values");
}

#[test]
fn named_points_positions_and_transactions_are_reached_and_nonsense_is_refused_before_anything_is_touched() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    cluster.tell("select pg_create_restore_point('before-migration')");
    let position = cluster.ask("select pg_current_wal_insert_lsn()");
    let doomed = cluster.ask("begin; insert into t values (2); select pg_current_xact_id(); commit");
    cluster.tell("insert into t values (3)");
    wait_for_log(&world);
    // It would make a point of each history at once, and the next place be asked for in two.
    drop(agent);
    for (until, expected) in [
        ("name before-migration".to_owned(), "1"),
        (format!("position {position}"), "1"),
        // The history after it has given its number out once more.
        (format!("transaction {doomed} on timeline 1"), "1"),
    ] {
        cluster.kill();
        world.run(&["recover", "--yes", "--until", &until]).exits(0);
        assert_eq!(numbers(&cluster), expected, "{until}");
    }
    cluster.kill();
    let before = std::fs::read(cluster.data().join("global/pg_control")).unwrap();
    world.run(&["recover", "--yes", "--until", "position nowhere"]).exits(2).says("is no position");
    world.run(&["recover", "--yes", "--until", "nonsense"]).exits(64).says("names no place in a log");
    assert!(before == std::fs::read(cluster.data().join("global/pg_control")).unwrap());
}

#[test]
fn a_gap_in_the_log_is_told_when_it_arises_and_a_new_copy_closes_it() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    cluster.tell("insert into t values (99)");
    wait_for_log(&world);
    drop(agent);
    // Somebody drops the slot, and the server throws away what nobody keeps any more.
    assert!(wait_until(Duration::from_secs(10), || cluster
        .ask("select count(*) from pg_replication_slots where active")
        == "0"));
    cluster.tell("select pg_drop_replication_slot('releve_wal')");
    for n in 0..4 {
        cluster.tell(&format!("insert into t values ({n})"));
        cluster.tell("select pg_switch_wal()");
        cluster.tell("checkpoint");
    }
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    let agent = Agent::begin(&world);
    let broken = || log_of(&world)["broken"].as_str().is_some_and(|why| why.contains("is missing"));
    assert!(
        wait_until(Duration::from_secs(30), broken),
        "{} {}",
        log_of(&world),
        std::fs::read_to_string(world.path("agent.log")).unwrap_or_default()
    );
    world.run(&["status"]).exits(1).says("BROKEN");
    // From the point it is rolled forward as far as that, which is no success.
    let dry =
        world.run(&["recover", "--dry-run"]).exits(2).says("rolled forward to where its log breaks off");
    dry.says("what came after that can't come back");
    world.run(&["recover", "--yes", "--to", "look"]).exits(1).says("its log breaks off");
    world.run(&["backup"]).exits(0);
    let said = || std::fs::read_to_string(world.path("agent.log")).unwrap_or_default();
    let closed = wait_until(Duration::from_secs(30), || log_of(&world)["broken"].is_null());
    assert!(closed, "{}\n{}\n{}", log_of(&world), world.run(&["points"]).out, said());
    cluster.tell("insert into t values (100)");
    wait_for_log(&world);
    cluster.destroy();
    drop(agent);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(cluster.ask("select count(*) from t"), "6");
}

#[test]
fn the_server_itself_hands_its_segments_over_and_gets_them_back() {
    let (cluster, world) = protected("archive_mode = on", ", wal = \"archive\"", "1 hour");
    // The server runs as another user, who must be able to get at the plan and the vaults.
    let push = |name: &str| world.run(&["wal", "push", "shop", &segment_path(&cluster, name)]);
    cluster.tell("insert into t values (1)");
    let segment = cluster.ask("select pg_walfile_name(pg_switch_wal())");
    push(&segment).exits(0);
    push(&segment).exits(0);
    let original = std::fs::read(segment_path(&cluster, &segment)).unwrap();
    let fetched = world.path("fetched");
    let to = fetched.display().to_string();
    world.run(&["wal", "fetch", "shop", &segment, &to]).exits(0);
    assert!(original == std::fs::read(&fetched).unwrap());
    world.run(&["wal", "fetch", "shop", "0000000100000000000000FF", &to]).exits(1);
    world.run(&["wal", "fetch", "shop", "../../etc/passwd", &to]).exits(1);
    world.run(&["wal", "push", "shop", "/etc/passwd"]).exits(64);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(cluster.ask("select count(*) from t"), "1");
}

#[test]
fn a_replica_that_was_promoted_goes_on_in_the_same_log() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    wait_for_log(&world);
    // Recovered once, it is in a timeline of its own; the agent goes on with that.
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    cluster.tell("insert into t values (2)");
    wait_for_log(&world);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "1,2");
}

#[test]
fn a_damaged_page_makes_the_point_incomplete_and_is_named() {
    let cluster = Postgres::start("");
    cluster.tell("create table t (pad text); insert into t select repeat('x', 1000) from generate_series(1, 1000); checkpoint");
    let file = cluster.data().join(cluster.ask("select pg_relation_filepath('t')"));
    let world = world(&cluster, ", wal = \"none\"", "1 hour", "");
    world.run(&["backup"]).exits(0);
    cluster.stop();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8192 * 3 + 5000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    cluster.start_again();
    world.run(&["backup"]).exits(1).says("1 damaged pages (wrong checksum): 3");
}

#[test]
fn what_can_not_be_copied_says_why_and_leaves_no_secret_behind() {
    let cluster = Postgres::start("");
    let world = world(&cluster, "", "1 hour", "");
    cluster.tell("create role weak login");
    std::fs::write(world.path("url"), cluster.url("weak:geheim")).unwrap();
    let run = world.run(&["backup"]).exits(2).says("pg_read_all_settings");
    assert!(!run.err.contains("geheim"), "{}", run.err);
    std::fs::write(world.path("url"), "postgres:/geheim:nonsense:::").unwrap();
    let run = world.run(&["backup"]).exits(2).says("postgres://user:password@host:port/database");
    assert!(!run.err.contains("geheim"), "{}", run.err);
    std::fs::write(world.path("url"), cluster.url("postgres")).unwrap();
    let other = Postgres::start("");
    std::fs::write(world.path("url"), other.url("postgres")).unwrap();
    world.run(&["backup"]).exits(2).says("keeps its data in");
    std::fs::write(world.path("url"), cluster.url("postgres")).unwrap();
    cluster.stop();
    world.run(&["backup"]).exits(2).says("connect to PostgreSQL at");
}

#[test]
fn after_a_recovery_to_an_earlier_instant_the_agent_goes_on_from_there_and_the_later_one_can_still_be_had() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    let early = time(&cluster);
    for _ in 0..3 {
        cluster.tell("select pg_switch_wal()");
        cluster.tell("insert into t values (2)");
    }
    // A point of this history, which the recovery to the earlier instant leaves.
    world.run(&["backup"]).exits(0);
    let late = time(&cluster);
    cluster.tell("insert into t values (9)");
    wait_for_log(&world);
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!(numbers(&cluster), "1");
    // What the agent had received was ahead of the server that goes on now.
    cluster.tell("insert into t values (5)");
    wait_for_log(&world);
    // A new point is needed; where nobody asks for it, the agent makes it at once.
    world.run(&["status"]).exits(1);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "1,5");
    wait_for_log(&world);
    // It was the wrong instant: a later one lies on the timeline that was left.
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &late]).exits(0);
    assert_eq!(numbers(&cluster), "1,2,2,2");
    cluster.tell("insert into t values (6)");
    wait_for_log(&world);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "1,2,2,2,6");
}

#[test]
fn the_segment_in_which_a_timeline_was_left_is_kept_and_an_instant_behind_its_end_is_no_success() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    let early = time(&cluster);
    cluster.tell("insert into t values (2)");
    let late = time(&cluster);
    cluster.tell("insert into t values (9)");
    wait_for_log(&world);
    cluster.kill();
    let dead = jiff::Timestamp::now().to_string();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!(numbers(&cluster), "1");
    // The next timeline gets the same segments whole.
    for _ in 0..2 {
        cluster.tell("insert into t values (5)");
        cluster.tell("select pg_switch_wal()");
    }
    wait_for_log(&world);
    cluster.kill();
    // From the vaults alone.
    std::fs::remove_dir_all(world.path("state/log/shop/left-behind")).unwrap_or_default();
    world.run(&["recover", "--yes", "--before", &late]).exits(0);
    assert_eq!(numbers(&cluster), "1,2");
    cluster.kill();
    // Whether its server wrote more before it died, nobody knows.
    let run = world.run(&["recover", "--yes", "--before", &dead]).exits(1);
    run.says("history that a recovery has left ends without its server's word");
    assert_eq!(numbers(&cluster), "1,2,9");
}

#[test]
fn segments_that_are_handed_over_at_the_same_time_are_all_in_the_log() {
    let (cluster, world) = protected("archive_mode = on", ", wal = \"archive\"", "3 seconds");
    let _agent = Agent::begin(&world);
    let mut segments = Vec::new();
    for n in 0..6 {
        cluster.tell(&format!("insert into t values ({n})"));
        segments.push(cluster.ask("select pg_walfile_name(pg_switch_wal())"));
    }
    let push = |segment: &String| {
        let mut push = world.command(&["wal", "push", "shop", &segment_path(&cluster, segment)]);
        push.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<Child> = segments.iter().map(push).collect();
    for push in running {
        let push = push.wait_with_output().unwrap();
        assert!(push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));
    }
    let fetched = world.path("fetched").display().to_string();
    for segment in &segments {
        world.run(&["wal", "fetch", "shop", segment, &fetched]).exits(0);
    }
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(cluster.ask("select count(*) from t"), "6");
}

#[test]
fn a_server_whose_pid_file_an_intruder_took_is_still_seen_at_work() {
    let (cluster, world) = protected("", "", "1 hour");
    let file = cluster.data().join("postmaster.pid");
    let named = std::fs::read(&file).unwrap();
    std::fs::write(&file, "noise").unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("stop it first");
    std::fs::write(&file, named).unwrap();
}

#[test]
fn a_recovery_that_a_running_server_would_end_is_not_begun() {
    let (cluster, world) = protected("", "", "1 hour");
    cluster.tell("insert into t values (1)");
    for how in ["--dry-run", "--yes"] {
        world.run(&["recover", how]).exits(2).says("stop it first").says("recover.stop");
    }
    world.run(&["recover", "--dry-run", "--to", "look"]).exits(0);
    assert_eq!(numbers(&cluster), "1", "it runs as before");
    // No recovery is open, which would keep it away.
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_folder_that_a_new_machine_lacks_for_a_tablespace_is_made_for_who_runs_the_server() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    let space = cluster.folder_of("later");
    cluster.tell(&format!("create tablespace later location '{}'", space.display()));
    cluster.tell("create table far (n int) tablespace later; insert into far values (7)");
    wait_for_log(&world);
    drop(agent);
    cluster.destroy();
    std::fs::remove_dir_all(&space).unwrap();
    // Who runs the server may not make it below a folder of root's: root does, and hands it over.
    world.run(&["recover", "--yes"]).exits(0);
    let (made, own) = (std::fs::metadata(&space).unwrap(), std::fs::metadata(cluster.data()).unwrap());
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (own.uid(), own.gid(), 0o700));
    assert_eq!(cluster.ask("select n from far"), "7");
}

#[test]
fn an_instant_of_a_timeline_is_looked_for_on_the_way_to_it_and_not_behind_what_was_left() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    let good = time(&cluster);
    // What was left goes far beyond what comes after it.
    for _ in 0..6 {
        cluster.tell("insert into t values (666)");
        cluster.tell("select pg_switch_wal()");
    }
    wait_for_log(&world);
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &good]).exits(0);
    cluster.tell("insert into t values (2)");
    let later = time(&cluster);
    cluster.tell("insert into t values (3)");
    wait_for_log(&world);
    cluster.kill();
    let run = world.run(&["recover", "--yes", "--before", &later]).exits(0);
    assert_eq!(numbers(&cluster), "1,2", "{good} {later}\n{}", run.err);
}

#[test]
fn a_cluster_that_is_made_anew_in_the_same_place_loses_nothing_to_the_names_of_the_one_before() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    for n in 1..=6 {
        cluster.tell(&format!("insert into t values ({n})"));
        cluster.tell("select pg_switch_wal()");
    }
    let early = time(&cluster);
    cluster.tell("insert into t values (7)");
    wait_for_log(&world);
    let before = cluster.ask("select system_identifier from pg_control_system()");
    cluster.destroy();
    cluster.remake("");
    assert_ne!(cluster.ask("select system_identifier from pg_control_system()"), before);
    cluster.tell("create table t (n int)");
    // It is told at once, and until there is a point of it.
    let told = || log_of(&world)["broken"].as_str().is_some_and(|why| why.contains("is another one"));
    assert!(wait_until(Duration::from_secs(60), told), "{}", log_of(&world));
    world.run(&["status"]).exits(1).says("releve backup shop");
    world.run(&["backup"]).exits(0);
    assert!(wait_until(Duration::from_secs(30), || log_of(&world)["broken"].is_null()), "{}", log_of(&world));
    for n in 101..=106 {
        cluster.tell(&format!("insert into t values ({n})"));
        cluster.tell("select pg_switch_wal()");
    }
    wait_for_log(&world);
    // What the one before held can still be had, from its own log.
    let work = cluster.folder_of("work").display().to_string();
    let words = ["restore", "shop", "--as-sql", "--table", "t", "--before", &early, "--work", &work];
    let sql = world.run(&words).exits(0).out;
    assert!(sql.contains("\n6\n") && !sql.contains("\n7\n") && !sql.contains("\n101\n"), "{sql}");
    cluster.destroy();
    drop(agent);
    // Neither the server's disk nor what waited beside it is left.
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    world.run(&["recover", "--yes"]).exits(0).says("rolled forward to the end of its log");
    assert_eq!(numbers(&cluster), "101,102,103,104,105,106");
    // Over the one that stands there now, whose WAL has the same names.
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!(numbers(&cluster), "1,2,3,4,5,6");
}

#[test]
fn segments_that_another_cluster_hands_over_under_the_same_names_go_into_a_log_of_their_own() {
    let (cluster, world) = protected("archive_mode = on", ", wal = \"archive\"", "1 hour");
    let push = |name: &str| world.run(&["wal", "push", "shop", &segment_path(&cluster, name)]);
    let hand_over = |numbers: std::ops::RangeInclusive<u32>| {
        let one = |n: u32| {
            cluster.tell(&format!("insert into t values ({n})"));
            let segment = cluster.ask("select pg_walfile_name(pg_switch_wal())");
            push(&segment).exits(0);
            segment
        };
        numbers.map(one).collect::<Vec<String>>()
    };
    let mut first = hand_over(1..=5);
    let early = time(&cluster);
    first.extend(hand_over(6..=6));
    cluster.destroy();
    cluster.remake("archive_mode = on");
    cluster.tell("create table t (n int)");
    let segment = cluster.ask("select pg_walfile_name(pg_switch_wal())");
    push(&segment).exits(0).says("is another one");
    world.run(&["backup"]).exits(0);
    let second = hand_over(101..=106);
    assert!(second.iter().any(|name| first.contains(name)), "{first:?} {second:?}");
    // What is fetched is of the one that runs.
    let shared = second.iter().find(|name| first.contains(*name)).unwrap();
    let fetched = world.path("fetched");
    world.run(&["wal", "fetch", "shop", shared, &fetched.display().to_string()]).exits(0);
    assert!(std::fs::read(&fetched).unwrap() == std::fs::read(segment_path(&cluster, shared)).unwrap());
    // Another content under a name that is kept already is refused, and is in no vault.
    let path = segment_path(&cluster, &second[0]);
    let original = std::fs::read(&path).unwrap();
    let mut other = original.clone();
    other[5000] ^= 1;
    std::fs::write(&path, &other).unwrap();
    push(&second[0]).exits(2).says("is another than the one of its name");
    std::fs::write(&path, &original).unwrap();
    cluster.destroy();
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "101,102,103,104,105,106");
    cluster.destroy();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!(numbers(&cluster), "1,2,3,4,5");
}

#[test]
fn a_position_that_is_not_in_the_log_stops_nothing() {
    let cluster = Postgres::start("");
    let mark = tempfile::tempdir().unwrap();
    let stopped = mark.path().join("stopped");
    let more = format!("recover.stop = {{ command = [\"touch\", {stopped:?}] }}\n");
    let world = world(&cluster, "", "3 seconds", &more);
    cluster.tell("create table t (n int)");
    world.run(&["backup"]).exits(0);
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    for how in ["--dry-run", "--yes"] {
        let run = world.run(&["recover", how, "--until", "position FF/2DB68"]);
        run.exits(2).says("position FF/2DB68 is not in the log");
        assert!(!stopped.exists());
    }
    for name in ["name before-migration", "name --target=x", "name %s;\\'drop", "name -"] {
        world.run(&["recover", "--dry-run", "--until", name]).exits(2).says("that is not in its log");
    }
    cluster.tell("insert into t values (1)");
    assert_eq!(numbers(&cluster), "1", "it runs as before");
}

#[test]
fn whoever_owns_a_database_lends_no_names_to_our_sessions() {
    let (cluster, world) = protected("", "", "3 seconds");
    let spy = |signature: &str, returns: &str, value: &str| {
        cluster.tell(&format!(
            "create function evil.{signature} returns {returns} language plpgsql as $$ begin insert into evil.ran values ('{signature}'); return {value}; end $$"
        ));
    };
    cluster.tell("create schema evil; create table evil.ran (what text)");
    spy("set_config(text, text, boolean)", "text", "$2");
    spy("current_setting(text)", "text", "pg_catalog.current_setting($1)");
    spy("pg_is_in_recovery()", "boolean", "pg_catalog.pg_is_in_recovery()");
    spy("pg_current_wal_insert_lsn()", "pg_lsn", "pg_catalog.pg_current_wal_insert_lsn()");
    spy("clock_timestamp()", "timestamptz", "pg_catalog.clock_timestamp()");
    for setting in ["search_path = evil, pg_catalog, public", "statement_timeout = '1ms'"] {
        cluster.tell(&format!("alter database postgres set {setting}"));
    }
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    drop(agent);
    world.run(&["backup"]).exits(0);
    assert_eq!(
        cluster.ask("set statement_timeout = 0; select pg_catalog.string_agg(what, ', ') from evil.ran"),
        ""
    );
}

#[test]
fn what_lies_in_the_server_still_is_in_the_vaults_before_anything_is_refused_or_replaced() {
    let (cluster, world) = protected("", "", "1 hour");
    // No agent has ever run. Some of it lies in segments that are whole, and some in one that is written to.
    cluster.tell("insert into t values (1), (2)");
    cluster.tell("select pg_switch_wal()");
    cluster.tell("insert into t values (3)");
    let before = time(&cluster);
    cluster.tell("insert into t values (99)");
    let dry = world.run(&["recover", "--dry-run", "--before", &before]);
    let dry = dry.says("lies still in").says("it is brought into the vaults first");
    assert!(!dry.out.contains("no log of it") && !dry.err.contains("no log of it"), "{}{}", dry.out, dry.err);
    assert!(log_of(&world)["until"].is_null(), "a dry run touches nothing");
    // Beside a server that runs.
    world.run(&["recover", "--yes", "--to", "look", "--before", &before]).exits(0);
    let until = log_of(&world)["until"].as_str().unwrap().to_owned();
    assert!(until.as_str() >= &before[..19], "{until} {before}");
    // And what a server that has died wrote since.
    cluster.tell("insert into t values (4)");
    let later = time(&cluster);
    cluster.tell("drop table t");
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &later]).exits(0).says("is in vault near now");
    assert_eq!(numbers(&cluster), "1,2,3,4,99");
}

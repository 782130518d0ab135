//! How far a recovery really gets, and what it says of that: instants that the log doesn't hold, places that are several, tables that no point holds.

use crate::mariadb_log::{Writer as MariadbWriter, count, next_second, protected as protected_mariadb};
use crate::postgres::{Agent, log_of, numbers, protected, time, wait_for_log};
use crate::world::World;
use serde_json::Value;
use std::time::Duration;
use testkit::{MariadbServer, wait_until};

/// Commits without the agent, and returns an instant after that, as `--before` takes it.
fn commit_unseen(server: &MariadbServer) -> String {
    server.run("insert into shop.journal (at) values (utc_timestamp(6))");
    next_second(server).0
}

#[test]
fn an_instant_behind_the_end_of_the_log_is_refused_and_nothing_is_missing_silently() {
    let (mut server, world) = protected_mariadb(&[]);
    let agent = Agent::begin(&world);
    let writer = MariadbWriter::begin(&server);
    wait_for_log(&world);
    writer.wait_for(50);
    drop(writer);
    wait_for_log(&world);
    drop(agent);
    let before = commit_unseen(&server);
    let all = count(&server);
    // Nobody has the last seconds any more.
    server.destroy();
    server.restart();
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    server.run("create database untouched");
    let run = world.run(&["recover", "--yes", "--before", &before]).exits(2);
    let run = run.says("the log is not known to go as far as").says("its log is known to be whole up to");
    // It was ended before anything was touched: nothing waits for it.
    let run = run.says("nothing was touched").says("--or-earlier");
    world.run(&["recover", "--show", "--json"]).exits(0).says("\"recoveries\": []");
    world.run(&["recover", "--show"]).exits(0).says("no recovery is open here");
    assert_eq!(
        server.ask("select count(*) from information_schema.schemata where schema_name = 'shop'"),
        "0"
    );
    // The way out that it names is one.
    let (_, way) = run.err.split_once(": --before ").unwrap();
    let way = way.split_whitespace().next().unwrap().to_owned();
    world.run(&["recover", "--yes", "--anew", "--before", &way]).exits(0);
    let reached = count(&server);
    assert!(reached > 0 && reached < all, "{reached} of {all}");
    // Whoever says that earlier will do gets what there is, and is told.
    let earlier = world.run(&["recover", "--yes", "--anew", "--or-earlier", "--before", &before]).exits(1);
    earlier.says("what was committed in between is missing");
    assert!(count(&server) >= reached && count(&server) < all, "{} of {all}", count(&server));
}

#[test]
fn all_systems_go_to_an_instant_together_and_a_cluster_without_its_log_only_after_a_yes() {
    let (cluster, world) = protected("", "", "1 hour");
    let pages = format!(
        "[systems.pages]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{:?}] }}\n",
        world.data()
    );
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan + &pages).unwrap();
    let page = world.data().join("a");
    std::fs::write(&page, "before").unwrap();
    world.run(&["backup"]).exits(0);
    let before = time(&cluster);
    cluster.tell("insert into t values (1)");
    std::fs::write(&page, "later").unwrap();
    // No agent has ever carried its log, and it is gone with its disk.
    cluster.destroy();
    let all = ["recover", "--yes", "--before", &before];
    let run = world.run(&all).exits(2).says("`shop`: no log of it is in any vault").says("--or-earlier");
    assert!(!run.err.contains("--point"), "{}", run.err);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "later");
    let work = cluster.folder_of("work").display().to_string();
    let sql = ["restore", "shop", "--as-sql", "--table", "t", "--work", &work];
    let run = world.run(&[&sql[..], &["--before", &before]].concat()).exits(2).says("no log of it");
    let (_, point) = run.err.split_once("with --point ").unwrap();
    let point = point.split_whitespace().next().unwrap().to_owned();
    let run = world.run(&[&sql[..], &["--point", &point]].concat()).exits(0);
    assert!(run.out.contains("CREATE TABLE"), "{}", run.out);
    // A point is of one system: which one, is said.
    let way = format!("releve recover shop --point {point}");
    world.run(&["recover", "--dry-run", "--point", &point]).exits(2).says(&way);
    let run = world.run(&[&all[..], &["--or-earlier"]].concat()).exits(0);
    run.says("it comes back to point").says("before then");
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "before");
    assert_eq!(cluster.ask("select count(*) from t"), "0");
}

#[test]
fn a_cluster_that_is_not_known_to_have_come_as_far_as_asked_is_a_finding_with_what_was_reached() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    cluster.tell("insert into t values (1)");
    wait_for_log(&world);
    drop(agent);
    cluster.tell("insert into t values (2)");
    let late = time(&cluster);
    // What stood in the old cluster alone is gone with it.
    cluster.destroy();
    std::fs::remove_dir_all(world.path("state/log")).unwrap();
    let run = world.run(&["recover", "--yes", "--before", &late]).exits(1);
    run.says("was asked for, and its log is known to be whole up to")
        .says("what was committed in between is missing");
    assert_eq!(numbers(&cluster), "1");
}

#[test]
fn a_position_that_lies_on_two_timelines_is_refused_with_both_named_and_each_can_be_had() {
    let (cluster, world) = protected("", "", "3 seconds");
    let _agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    cluster.tell("select pg_create_restore_point('here')");
    cluster.tell("insert into t select generate_series(2, 500)");
    let position = cluster.ask("select pg_current_wal_insert_lsn()");
    cluster.tell("insert into t values (501)");
    wait_for_log(&world);
    cluster.kill();
    world.run(&["recover", "--yes", "--until", "name here"]).exits(0);
    assert_eq!(numbers(&cluster), "1");
    cluster.tell("insert into t select generate_series(1001, 3000)");
    wait_for_log(&world);
    cluster.kill();
    let control = std::fs::read(cluster.data().join("global/pg_control")).unwrap();
    let until = format!("position {position}");
    let run = world.run(&["recover", "--yes", "--until", &until]).exits(2);
    run.says(&format!("'{until} on timeline 1' or '{until} on timeline 2'"));
    assert!(control == std::fs::read(cluster.data().join("global/pg_control")).unwrap());
    let on = format!("{until} on timeline 1");
    world.run(&["recover", "--yes", "--anew", "--until", &on]).exits(0);
    assert_eq!(cluster.ask("select count(*) || ' ' || max(n) from t"), "500 500");
    world.run(&["recover", "--yes", "--until", "position 0/1 on timeline two"]).exits(64);
}

#[test]
fn a_table_that_no_point_holds_comes_out_of_a_point_with_a_warning_and_status_1() {
    let (cluster, world) = protected("", ", wal = \"none\"", "1 hour");
    cluster.tell("create unlogged table sessions (n int); insert into sessions values (1)");
    world.run(&["backup"]).exits(0);
    let work = cluster.folder_of("work").display().to_string();
    let restore = |more: &[&str]| {
        let words = ["restore", "shop", "--as-sql", "--work", &work];
        world.run(&[&words, more].concat())
    };
    let run =
        restore(&["--table", "sessions"]).exits(1).says("public.sessions comes out empty: it is unlogged");
    assert!(run.out.contains("CREATE UNLOGGED TABLE"), "{}", run.out);
    restore(&["--table", "t"]).exits(0);
    let output = world.path("all.sql").display().to_string();
    let told = restore(&["--database", "postgres", "--output", &output, "--json"]).exits(1).json();
    assert!(told["not_held"][0].as_str().unwrap().contains("public.sessions"), "{told}");
    assert_eq!(told["reasons"][0], "the newest complete point");
    // What was verified is known here too.
    restore(&["--table", "t", "--point", "last verified"]).exits(2).says("was verified yet");
    world.run(&["verify", "--read-data", "all"]).exits(0);
    restore(&["--table", "t", "--point", "last verified"]).exits(0).says("that was verified");
}

/// Returns how the shop came back.
fn recovered(world: &World, more: &[&str], code: i32) -> Value {
    let arguments: Vec<&str> = ["recover", "--yes", "--json"].iter().chain(more).copied().collect();
    world.run(&arguments).exits(code).json()["recovered"]["systems"][0].clone()
}

#[test]
fn what_is_lost_is_counted_up_to_the_crash_however_late_it_is_recovered() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    cluster.tell("insert into t values (1)");
    wait_for_log(&world);
    drop(agent);
    cluster.destroy();
    let until = log_of(&world)["until"].as_str().unwrap().to_owned();
    // Whoever finds the time for it only now doesn't lose more by that.
    assert!(wait_until(Duration::from_secs(10), || {
        let until: jiff::Timestamp = until.parse().unwrap();
        jiff::Timestamp::now().duration_since(until).as_secs() >= 4
    }));
    world.run(&["recover", "--dry-run"]).exits(0).says("the last sign of life in its log is of");
    let told = recovered(&world, &[], 0);
    assert!(told["rpa_seconds"].as_u64().unwrap() <= 1, "{told}");
    assert_eq!(told["crash"]["basis"]["log"].as_str().map(|at| &at[..19]), Some(&until[..19]), "{told}");
    cluster.kill();
    let text = world.run(&["recover", "--yes", "--crashed-at", &until]).exits(0);
    text.says("the crash was then, as you say");
    world.run(&["recover", "--yes", "--crashed-at", "2999-01-01T00:00Z"]).exits(64);
}

#[test]
fn a_recovery_that_failed_before_tells_when_the_crash_was_at_the_latest() {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let ready = world.path("ready");
    let more = format!(
        "check = [{{ file = {:?} }}]\nrecover.start = {{ command = [\"test\", \"-e\", {ready:?}] }}\n",
        world.data().join("page")
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    let crashed = jiff::Timestamp::now().to_string();
    let first = recovered(&world, &[], 2);
    assert_eq!(first["crash"]["basis"], "unknown", "{first}");
    let second = recovered(&world, &[], 2);
    assert_eq!(second["crash"]["basis"], "tried", "{second}");
    // What a person says once of it counts for each further try.
    recovered(&world, &["--crashed-at", &crashed], 2);
    for code in [2, 0] {
        if code == 0 {
            std::fs::write(&ready, "").unwrap();
        }
        let said = recovered(&world, &[], code);
        assert!(said["crash"]["basis"]["saidbefore"].is_string(), "{said}");
        assert_eq!(said["crash"]["at"].as_str().map(|at| &at[..19]), Some(&crashed[..19]), "{said}");
    }
    // It was back: what follows is another crash.
    assert_eq!(recovered(&world, &[], 0)["crash"]["basis"], "unknown");
}

#[test]
fn what_was_verified_is_known_to_a_restore_and_it_says_why_it_takes_which_point() {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    world.run(&["backup"]).exits(0);
    let restore = |point: &str, more: &[&str]| {
        let words = ["restore", "shop", "--to", "look", "--point", point];
        world.run(&[&words, more].concat())
    };
    restore("last verified", &[]).exits(2).says("none of the 1 points was verified yet");
    world.run(&["verify", "--read-data", "all"]).exits(0);
    restore("last verified", &[]).exits(0).says("the newest complete point that was verified");
    restore("latest", &["--dry-run"]).exits(0).says(": the newest complete point");
    let told = restore("last verified", &["--json"]).exits(0).json();
    assert_eq!(told["reasons"][0], "the newest complete point that was verified");
}

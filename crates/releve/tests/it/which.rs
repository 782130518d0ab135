//! Which point and which timeline of a PostgreSQL cluster a recovery takes, with a real server.

use crate::postgres::{Agent, numbers, protected, time, wait_for_log};
use testkit::Postgres;

fn timeline(cluster: &Postgres) -> u32 {
    let name = cluster.ask("select pg_walfile_name(pg_current_wal_lsn())");
    u32::from_str_radix(&name[..8], 16).unwrap()
}

/// Returns the ids of the system's points, the oldest first.
fn points(world: &crate::world::World) -> Vec<String> {
    let all = world.run(&["points", "--json"]).json();
    let mut all: Vec<(String, String)> = all["points"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|point| point["system"] == "shop")
        .map(|point| (point["time"].as_str().unwrap().to_owned(), point["id"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    all.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn a_place_from_between_two_points_is_had_from_the_older_one_and_a_dropped_database_from_before_its_drop() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("create database crm");
    cluster.tell("insert into t values (1)");
    cluster.tell("select pg_create_restore_point('mark')");
    let position = cluster.ask("select pg_current_wal_insert_lsn()");
    let before = time(&cluster);
    let dropping = cluster.ask("select pg_snapshot_xmax(pg_current_snapshot())");
    cluster.tell("drop database crm");
    cluster.tell("insert into t values (2)");
    world.run(&["backup"]).exits(0);
    wait_for_log(&world);
    // It would make a point of each history at once.
    drop(agent);
    let all = points(&world);
    // The newest point lies behind each of these.
    for (how, place) in [
        ("--until", "name mark".to_owned()),
        ("--until", format!("position {position} on timeline 1")),
        ("--before", before),
        ("--until", format!("transaction {dropping} on timeline 1")),
    ] {
        cluster.kill();
        world.run(&["recover", "--yes", how, &place]).exits(0);
        assert_eq!(numbers(&cluster), "1", "{place}");
        assert_eq!(
            cluster.ask("select datconnlimit from pg_database where datname = 'crm'"),
            "-1",
            "{place}"
        );
        let crm = cluster
            .data()
            .join("base")
            .join(cluster.ask("select oid from pg_database where datname = 'crm'"));
        assert!(crm.join("PG_VERSION").exists(), "{place}");
    }
    // From a point that a person names, and from one that lies behind it before anything is touched.
    cluster.kill();
    world.run(&["recover", "--yes", "--point", &all[0], "--until", "name mark on timeline 1"]).exits(0);
    assert_eq!(numbers(&cluster), "1");
    let run = world.run(&["recover", "--dry-run", "--point", &all[1], "--until", "name mark on timeline 1"]);
    run.exits(2).says("is whole only behind");
}

#[test]
fn what_a_recovery_went_back_to_comes_again_with_what_was_written_since_and_no_timeline_twice() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    cluster.tell("insert into t values (1)");
    let early = time(&cluster);
    cluster.tell("delete from t");
    wait_for_log(&world);
    drop(agent);
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!((numbers(&cluster).as_str(), timeline(&cluster)), ("1", 2));
    cluster.tell("insert into t values (5)");
    let on_two = time(&cluster);
    cluster.tell("insert into t values (6)");
    cluster.kill();
    // No agent ran: its disk has it still.
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!((numbers(&cluster).as_str(), timeline(&cluster)), ("1,5,6", 3));
    // A point that comes back by itself begins a history of its own too, and the others stay what they are.
    let first = points(&world).remove(0);
    cluster.kill();
    world.run(&["recover", "--yes", "--point", &first]).exits(0);
    let bare = timeline(&cluster);
    cluster.kill();
    world.run(&["recover", "--yes", "--point", &first]).exits(0);
    assert_eq!((bare, timeline(&cluster), numbers(&cluster).as_str()), (4, 5, ""));
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &on_two]).exits(0);
    assert_eq!(numbers(&cluster), "1,5");
    // The disk is gone, and with it what was written since: what was chosen then comes, and it is said.
    cluster.kill();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    cluster.tell("insert into t values (7)");
    cluster.destroy();
    let run = world.run(&["recover", "--yes"]);
    run.exits(1).says("what was committed since is not back");
    assert_eq!(numbers(&cluster), "1");
}

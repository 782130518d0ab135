//! Systems whose data belongs together: captured at the same time, brought back to one instant.

use crate::world::World;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;
use testkit::{Postgres, wait_until};

/// A world with a shop of files, and the cluster of its orders, of which nothing is older than promised.
fn world(cluster: &Postgres) -> World {
    let world = World::new();
    std::fs::write(world.path("url"), cluster.url("postgres")).unwrap();
    let orders = format!(
        "consistent_with = [\"orders\"]\n[systems.orders]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"3 seconds\"\nowner = \"hugo\"\n\
         source.postgres = {{ data_directory = {:?}, url = {{ file = {:?} }} }}\n",
        cluster.data(),
        world.path("url")
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &orders);
    world
}

fn seconds(made: &Value, system: usize) -> f64 {
    let started = made["systems"][system]["record"]["started"].as_str().unwrap();
    started.parse::<Timestamp>().unwrap().as_millisecond() as f64 / 1000.0
}

#[test]
fn a_database_is_rolled_to_the_instant_of_the_files_that_it_belongs_to_and_no_further() {
    let cluster = Postgres::start("");
    let world = world(&cluster);
    std::fs::write(world.data().join("invoice"), "1").unwrap();
    cluster.tell("create table invoices (n int); insert into invoices values (1)");
    // Whoever names one of them means both.
    let made = world.run(&["backup", "orders", "--json"]).exits(0).json();
    assert!((seconds(&made, 0) - seconds(&made, 1)).abs() < 2.0, "{made}");
    let agent = world.start(&["agent"]);
    let logged = || {
        let now = Timestamp::now().to_string();
        let until = |status: &Value| status["systems"][0]["log"]["until"].as_str().map(str::to_owned);
        let reached = || until(&world.run(&["status", "--json"]).json()).is_some_and(|until| until > now);
        assert!(wait_until(Duration::from_secs(60), reached));
    };
    logged();
    // A second pair of points; then a change in each that no common instant holds.
    std::fs::write(world.data().join("invoice"), "2").unwrap();
    cluster.tell("insert into invoices values (2)");
    world.run(&["backup"]).exits(0);
    cluster.tell("insert into invoices values (3)");
    logged();
    let status = world.run(&["status", "--json"]).json();
    let group = &status["systems"][0]["group"];
    assert_eq!(group["systems"], serde_json::json!(["orders", "shop"]), "{status}");
    kill(agent);
    cluster.destroy();
    std::fs::remove_dir_all(world.data()).unwrap();
    let shown = world.run(&["recover", "--dry-run"]).exits(0).says("orders, shop belong together");
    assert!(shown.err.contains("all of them exactly"), "{}", shown.err);
    assert!(shown.err.contains("by itself it could come back to"), "{}", shown.err);
    let back = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    assert_eq!(std::fs::read_to_string(world.data().join("invoice")).unwrap(), "2");
    assert_eq!(cluster.ask("select string_agg(n::text, ',' order by n) from invoices"), "1,2", "{back}");
    // One alone may be brought further, and that is said.
    cluster.destroy();
    let alone = world.run(&["recover", "orders", "--yes"]).exits(0);
    assert!(alone.err.contains("may not fit what is there"), "{}", alone.err);
    assert_eq!(cluster.ask("select string_agg(n::text, ',' order by n) from invoices"), "1,2,3");
}

fn kill(mut agent: std::process::Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

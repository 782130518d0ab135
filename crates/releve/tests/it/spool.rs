//! A log that waits for its vaults on a small disk.

use crate::postgres::{Agent, numbers, wait_for_log, world};
use std::time::Duration;
use testkit::{Postgres, SmallDisk, wait_until};

#[test]
fn a_spool_that_has_taken_its_disk_and_the_states_empties_itself_when_the_vaults_are_back() {
    let cluster = Postgres::start_as("", &["--wal-segsize=1"]);
    let world = world(&cluster, "", "3 seconds", "");
    let disk = SmallDisk::mount(16 << 20);
    std::os::unix::fs::symlink(disk.path(), world.path("state")).unwrap();
    cluster.tell("create table t (n int)");
    world.run(&["backup"]).exits(0);
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    let away = |name: &str| world.path(&format!("{name}-away"));
    for name in ["near", "far"] {
        std::fs::rename(world.path(name), away(name)).unwrap();
    }
    cluster.tell("create table filler as select repeat('x', 100) from generate_series(1, 200000)");
    let said = || std::fs::read_to_string(world.path("agent.log")).unwrap_or_default();
    let is_told = || said().contains("has no room for 4 more segments");
    assert!(wait_until(Duration::from_secs(30), is_told), "{}", said());
    for name in ["near", "far"] {
        std::fs::rename(away(name), world.path(name)).unwrap();
    }
    cluster.tell("insert into t values (7)");
    // Nobody has to make room.
    wait_for_log(&world);
    drop(agent);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "7");
}

//! A log that waits for its vaults on a small disk.

use crate::mariadb_log::protected;
use crate::postgres::{Agent, log_of, numbers, wait_for_log, world};
use crate::world::World;
use std::process::Command;
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
    without_vaults(&world, "has no room for 4 more segments", || {
        cluster.tell("create table filler as select repeat('x', 100) from generate_series(1, 200000)");
    });
    cluster.tell("insert into t values (7)");
    // Nobody has to make room.
    wait_for_log(&world);
    drop(agent);
    cluster.destroy();
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(numbers(&cluster), "7");
}

#[test]
fn a_binary_log_leaves_room_for_what_carries_it_away_too() {
    let (server, world) = protected(&["--max-binlog-size=1M"]);
    let disk = SmallDisk::mount(24 << 20);
    let state = world.path("state");
    let moved = Command::new("cp").arg("-a").arg(state.join(".")).arg(disk.path()).status().unwrap();
    assert!(moved.success());
    std::fs::remove_dir_all(&state).unwrap();
    std::os::unix::fs::symlink(disk.path(), &state).unwrap();
    server.run("create table shop.filler (text varchar(100))");
    let agent = Agent::begin(&world);
    wait_for_log(&world);
    without_vaults(&world, "has no room for 4 MB more of binary log", || {
        let row = "insert into shop.filler select repeat('x', 100) from shop.seq_1_to_8000;";
        server.run(&format!("set session binlog_format = row; {}", row.repeat(40)));
    });
    server.run("insert into shop.t values (7)");
    wait_for_log(&world);
    assert!(log_of(&world)["broken"].is_null(), "{}", log_of(&world));
    drop(agent);
}

/// Takes the vaults away until the agent has said this of what is written meanwhile.
fn without_vaults(world: &World, text: &str, write: impl FnOnce()) {
    let away = |name: &str| world.path(&format!("{name}-away"));
    for name in ["near", "far"] {
        std::fs::rename(world.path(name), away(name)).unwrap();
    }
    write();
    let said = || std::fs::read_to_string(world.path("agent.log")).unwrap_or_default();
    let is_told = || said().contains(text);
    assert!(wait_until(Duration::from_secs(30), is_told), "{}", said());
    for name in ["near", "far"] {
        std::fs::rename(away(name), world.path(name)).unwrap();
    }
}

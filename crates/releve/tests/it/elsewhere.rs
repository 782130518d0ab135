//! A machine that has something else than the one on which a point was made.

use crate::postgres::{numbers, world};
use testkit::Postgres;

#[test]
fn a_machine_that_lacks_the_version_of_a_point_is_told_before_anything_is_stopped() {
    let cluster = Postgres::start("");
    let folder = tempfile::tempdir().unwrap();
    let stopped = folder.path().join("stopped");
    let more = format!("recover.stop = {{ command = [\"touch\", {stopped:?}] }}\n");
    let world = world(&cluster, "", "1 hour", &more);
    cluster.tell("create table t (n int); insert into t values (1)");
    world.run(&["backup"]).exits(0);
    // Where its programs are looked for there are none of that version.
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let elsewhere = format!("postgres = {{ programs = {:?}, ", folder.path());
    std::fs::write(world.path("plan.toml"), plan.replace("postgres = { ", &elsewhere)).unwrap();
    for how in ["--dry-run", "--yes"] {
        world.run(&["recover", how]).exits(2).says("captured from PostgreSQL").says("install it");
        assert!(!stopped.exists());
    }
    let to = folder.path().join("look").display().to_string();
    world.run(&["recover", "--dry-run", "--to", &to]).exits(0).says("captured from PostgreSQL");
    assert_eq!(numbers(&cluster), "1", "it runs as before");
    std::fs::write(world.path("plan.toml"), plan).unwrap();
    let run = world.run(&["recover", "--dry-run"]).exits(0);
    assert!(!run.out.contains("captured from"), "{}", run.out);
}

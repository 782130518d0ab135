//! What lies on the disk of a PostgreSQL server that has crashed: worth no more than what the vaults hold whole.

use crate::postgres::{Agent, numbers, protected, time, wait_for_log};
use std::fs::File;
use std::os::unix::fs::FileExt;

#[test]
fn a_last_segment_that_a_crash_has_spoilt_costs_nothing_of_what_the_vaults_have() {
    let (cluster, world) = protected("", "", "3 seconds");
    let mut all = String::new();
    for (number, harm) in [(1, "zeros"), (2, "junk"), (3, "cut")] {
        let agent = Agent::begin(&world);
        wait_for_log(&world);
        let place =
            cluster.ask("select file_offset from pg_walfile_name_offset(pg_current_wal_insert_lsn())");
        let place: u64 = place.parse().unwrap();
        cluster.tell(&format!("insert into t values ({number})"));
        let name = cluster.ask("select pg_walfile_name(pg_current_wal_insert_lsn())");
        wait_for_log(&world);
        drop(agent);
        let separator = if all.is_empty() { "" } else { "," };
        all = format!("{all}{separator}{number}");
        cluster.kill();
        let segment = File::options().write(true).open(cluster.data().join("pg_wal").join(name)).unwrap();
        match harm {
            "zeros" => segment.write_all_at(&[0; 20_000], place).unwrap(),
            "junk" => segment.write_all_at(&[0xA5; 300], place).unwrap(),
            _ => segment.set_len(place).unwrap(),
        }
        // What waits beside is not all that knows better.
        if harm != "zeros" {
            std::fs::remove_dir_all(world.path("state/log")).unwrap();
        }
        let run = world.run(&["recover", "--yes"]);
        assert_eq!(numbers(&cluster), all, "{harm}: {}\n{}", run.out, run.err);
        if harm != "zeros" {
            run.says("the vault's is kept");
        }
    }
    // Nor did any of that take it out of them.
    cluster.destroy();
    world.run(&["recover", "--yes", "--until", "newest"]);
    assert_eq!(numbers(&cluster), all);
}

#[test]
fn an_instant_is_led_to_by_what_a_backup_has_left_in_the_old_server_alone() {
    let (cluster, world) = protected("", "", "3 seconds");
    let agent = Agent::begin(&world);
    cluster.tell("insert into t values (1)");
    wait_for_log(&world);
    drop(agent);
    testkit::pause(std::time::Duration::from_millis(50));
    let early = time(&cluster);
    cluster.tell("insert into t values (9)");
    cluster.stop();
    world.run(&["recover", "--yes", "--before", &early]).exits(0);
    assert_eq!(numbers(&cluster), "1");
    cluster.tell("insert into t values (2)");
    let then = time(&cluster);
    cluster.tell("insert into t values (3)");
    // Its checkpoint gives the segment in which they lie another name.
    world.run(&["backup"]).exits(0);
    cluster.stop();
    let run = world.run(&["recover", "--yes", "--before", &then]);
    assert_eq!(numbers(&cluster), "1,2", "{}", run.out);
    // Without the disk nothing leads to an instant from after going back: what was left then is not brought instead.
    cluster.tell("insert into t values (4)");
    let late = time(&cluster);
    cluster.destroy();
    let run = world.run(&["recover", "--yes", "--before", &late]);
    run.exits(2).says("nothing is there of its log from after the recovery of").says("--until newest");
}

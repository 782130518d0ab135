//! The schedule, kept by a process that is started, reloaded and stopped like any service.

use crate::world::World;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;
use testkit::wait_until;

const SOON: Duration = Duration::from_secs(30);

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn point_count(world: &World) -> usize {
    let run = world.run(&["points", "--json"]);
    if run.code == 2 { 0 } else { run.json()["points"].as_array().unwrap().len() }
}

#[test]
fn what_is_due_is_done_once_and_not_again_before_its_time() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["agent", "--once"]).exits(0);
    assert_eq!(point_count(&world), 1);
    world.run(&["agent", "--once"]).exits(0);
    assert_eq!(point_count(&world), 1);
}

#[test]
fn an_agent_catches_up_takes_over_a_changed_plan_and_stops_cleanly() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let mut agent = world.start(&["agent"]);
    assert!(wait_until(SOON, || point_count(&world) == 1));
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), "this is no plan").unwrap();
    testkit::pause(Duration::from_millis(1500));
    assert!(agent.try_wait().unwrap().is_none(), "a wrong plan must not end the agent");
    let faster = plan.replace("every = \"1 hour\"", "every = \"2 seconds\"");
    fs::write(world.path("plan.toml"), faster).unwrap();
    signal(&agent, "-HUP");
    assert!(wait_until(SOON, || point_count(&world) >= 3));
    signal(&agent, "-TERM");
    assert!(agent.wait().unwrap().success());
    world.run(&["verify", "--read-data", "all"]).exits(0);
}

#[test]
fn two_runs_of_one_system_never_go_at_once() {
    let world = World::new();
    let source = r#"command = { dump = ["sh", "-c", "sleep 4; echo done"], load = ["cat"] }"#;
    world.write_plan_of(&world.vault("near"), &world.vault("far"), source, "");
    let mut first = world.start(&["backup"]);
    testkit::pause(Duration::from_secs(2));
    world.run(&["backup"]).exits(2).says("a backup of shop is under way");
    assert!(first.wait().unwrap().success());
    world.run(&["backup"]).exits(0);
}

/// Takes root outside of a container, and says so where it isn't.
#[test]
fn an_agent_lists_what_changed_and_its_points_lack_nothing() {
    let world = World::new();
    for dir in 0..20 {
        let dir = world.data().join(format!("dir-{dir}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "first").unwrap();
    }
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace("every = \"1 hour\"", "every = \"2 seconds\"")).unwrap();
    let said = || fs::read_to_string(world.path("said")).unwrap();
    let mut agent = world
        // Where the tests run in a sandbox, its first process can't be looked into.
        .command(&["agent", "--trust-process", "1"])
        .stdout(std::process::Stdio::null())
        .stderr(fs::File::create(world.path("said")).unwrap())
        .spawn()
        .unwrap();
    assert!(wait_until(SOON, || said().contains("change journal: ")));
    assert!(
        said().contains("change journal: on"),
        "this test needs root outside of a container, and a kernel with fanotify: {}",
        said()
    );
    // What is mounted by other tests meanwhile makes it look at everything, now and then.
    assert!(wait_until(SOON, || said().contains("by the change journal")), "{}", said());
    for round in 0..4 {
        fs::write(world.data().join(format!("dir-{round}")).join("file"), format!("changed {round}"))
            .unwrap();
        fs::create_dir_all(world.data().join(format!("new-{round}/below"))).unwrap();
        fs::remove_dir_all(world.data().join(format!("dir-{}", 10 + round))).unwrap();
        let before = point_count(&world);
        // The one under way may have begun before the change.
        assert!(wait_until(SOON, || point_count(&world) >= before + 2));
        let to = format!("out-{round}");
        world.restores_whole(&to);
    }
    signal(&agent, "-TERM");
    assert!(agent.wait().unwrap().success());
    assert!(said().matches("by the change journal").count() > 3, "{}", said());
    world.run(&["verify", "--read-data", "all"]).exits(0);
}

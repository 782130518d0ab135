//! Recoveries that keep a machine from doing harm meanwhile: cut off the network, and with what it would do of itself held back.

use crate::world::World;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;
use testkit::{Switch, wait_until};

const LONG: Duration = Duration::from_secs(60);

fn world(more: impl FnOnce(&World) -> String, management: &str) -> World {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let more = more(&world);
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace("[hosts.server]\n", &format!("[hosts.server]\n{management}\n"));
    std::fs::write(world.path("plan.toml"), plan).unwrap();
    world.run(&["check"]).exits(0);
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    world
}

struct UnderWay(Child);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn begin(world: &World, arguments: &[&str]) -> UnderWay {
    let said = std::fs::File::create(world.path("said")).unwrap();
    let mut command = world.command(arguments);
    command.stdout(Stdio::from(said.try_clone().unwrap())).stderr(Stdio::from(said));
    UnderWay(command.spawn().unwrap())
}

fn said(world: &World) -> String {
    std::fs::read_to_string(world.path("said")).unwrap_or_default()
}

#[test]
fn the_machine_is_cut_off_while_it_comes_back_and_gets_its_network_back_at_the_end() {
    let switch = Switch::with(&[1, 10, 66]);
    let world = world(
        |world| {
            let gate = world.path("gate");
            let wait = format!("until test -e {}; do sleep 0.1; done", gate.display());
            format!(
                "check = [{{ file = {:?} }}]\nrecover.before = [{{ run = [\"sh\", \"-c\", {wait:?}] }}]\n\
                 [scenarios.attack]\ncause = \"cyberattack\"\nisolate = [\"server\"]\nafter = [{{ release = \"server\" }}]\n",
                world.data().join("page")
            )
        },
        "management = [\"192.0.2.10\"]",
    );
    let _service = switch.on(1, || TcpListener::bind(("::", 22)).unwrap());
    let reaches = |from: u8, within: Duration| {
        let to: SocketAddr = "192.0.2.1:22".parse().unwrap();
        switch.on(from, || TcpStream::connect_timeout(&to, within).is_ok())
    };
    assert!(reaches(66, LONG));
    let mut recovery = switch.on(1, || begin(&world, &["recover", "--yes", "--scenario", "attack"]));
    assert!(wait_until(LONG, || said(&world).contains("running sh")), "{}", said(&world));
    assert!(said(&world).contains("server is cut off the network"), "{}", said(&world));
    assert!(!reaches(66, Duration::from_millis(1500)) && reaches(10, LONG));
    std::fs::write(world.path("gate"), "").unwrap();
    assert!(wait_until(LONG, || matches!(recovery.0.try_wait(), Ok(Some(_)))), "{}", said(&world));
    assert_eq!(recovery.0.wait().unwrap().code(), Some(0), "{}", said(&world));
    assert!(said(&world).contains("server has its network back"), "{}", said(&world));
    assert!(reaches(66, LONG) && world.data().join("page").exists());
}

#[test]
fn without_a_way_in_a_person_cuts_the_machine_off() {
    let world = world(|_| "[scenarios.attack]\ncause = \"cyberattack\"\nisolate = [\"server\"]\n".into(), "");
    world
        .run(&["recover", "--yes", "--scenario", "attack"])
        .exits(1)
        .says("not confirmed: someone: cut server off");
}

/// A system that would destroy its data if its jobs were not held back: what holds them leaves a file, what releases them takes it away.
fn with_jobs(more: &str) -> World {
    world(
        |world| {
            let held = world.path("held");
            let hold = format!(
                "recover.hold = [{{ command = [\"touch\", {held:?}], release = [\"rm\", {held:?}] }}]\nrecover.start = {{ command = [\"test\", \"-e\", {held:?}] }}\n"
            );
            format!(
                "{hold}check = [{{ file = {:?}, within = \"1 second\" }}]\n{more}\n",
                world.data().join("page")
            )
        },
        "",
    )
}

#[test]
fn its_jobs_stay_off_until_the_checks_have_passed() {
    let world = with_jobs("");
    world.run(&["recover", "--dry-run"]).exits(0).says("holds     touch").says("releases  touch");
    world.run(&["recover", "--yes"]).exits(0).says("held back: touch").says("goes on again: touch");
    assert!(!world.path("held").exists());
    // The checks fail: it stays held, and everybody can see that.
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("data/page\"", "data/other\"")).unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("still held back: touch").says("releve release shop");
    assert!(world.path("held").exists());
    world.run(&["status"]).says("held back since");
    world.run(&["release", "shop", "--dry-run"]).exits(0).says("held back: touch");
    world.run(&["release", "shop"]).exits(64).says("nobody is there to say yes");
    world.run(&["release", "shop", "--yes"]).exits(0).says("goes on again: touch");
    assert!(!world.path("held").exists());
    world.run(&["release", "shop", "--yes"]).exits(0).says("nothing is held back");
    world.run(&["release", "shpo", "--yes"]).exits(64).says("shop");
}

#[test]
fn a_person_releases_them_where_the_plan_says_so_and_nobody_waits_for_that() {
    let world = with_jobs("recover.released_by = \"claire\"");
    let run = world.run(&["recover", "--yes", "--json"]).exits(1);
    let system = &run.json()["recovered"]["systems"][0];
    assert!(system["rta_seconds"].as_f64().is_some(), "it is back: {system}");
    assert!(
        run.json()["recovered"]["unconfirmed"][0].as_str().unwrap().contains("Claire: Look at it"),
        "{}",
        run.out
    );
    assert!(world.path("held").exists());
    world.run(&["release", "shop", "--yes"]).exits(0);
    let mut recovery = begin(&world, &["recover", "--yes", "--wait"]);
    assert!(wait_until(LONG, || said(&world).contains("to do: Claire: Look at it")), "{}", said(&world));
    let shown = world.run(&["recover", "--show", "--json"]).json();
    let steps = shown["recoveries"][0]["steps"].as_array().unwrap().clone();
    let ask = steps.iter().find(|step| step["what"].as_str().unwrap().starts_with("Look at it")).unwrap();
    world.run(&["answer", &ask["step"].to_string(), "release", "--by", "claire"]).exits(0);
    assert!(wait_until(LONG, || matches!(recovery.0.try_wait(), Ok(Some(_)))), "{}", said(&world));
    assert_eq!(recovery.0.wait().unwrap().code(), Some(0), "{}", said(&world));
    assert!(!world.path("held").exists());
}

#[test]
fn what_cannot_be_held_back_keeps_it_from_coming_back() {
    let world = with_jobs("");
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    std::fs::write(world.path("plan.toml"), plan.replace("command = [\"touch\"", "command = [\"false\""))
        .unwrap();
    world.run(&["recover", "--yes"]).exits(2);
    assert!(!world.data().join("page").exists());
}

#[test]
fn whoever_overwrites_something_sees_on_which_machine_and_what_runs_there() {
    let world = world(|_| String::new(), "");
    std::fs::write(world.data().join("open"), "by somebody").unwrap();
    let held = world.data().join("open");
    let mut tail =
        std::process::Command::new("tail").arg("-f").arg(&held).stdout(Stdio::null()).spawn().unwrap();
    let seen = wait_until(LONG, || world.run(&["recover", "--dry-run"]).err.contains("runs there: "));
    let shown = world.run(&["recover", "--dry-run"]);
    let _ = tail.kill();
    let _ = tail.wait();
    assert!(seen, "{}", shown.err);
    shown.says("fingerprint").says("tail");
}

//! What the program tells people by itself, through a real mail server and a real address for heartbeats.

use crate::notify::{relays, world};
use serde_json::json;
use std::time::Duration;
use testkit::{MailServer, Manner, Receiver, wait_until};

#[test]
fn a_backup_by_cron_that_lacks_something_is_told_once_and_when_it_is_over() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    let path = world.path("plan.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = good.split_once("source.files").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    let of = |script: &str| {
        let dump = format!("[\"sh\", \"-c\", \"{script}\"]");
        format!("{before}source.command = {{ dump = {dump}, load = [\"cat\"] }}\n{after}")
    };
    std::fs::write(&path, of("echo the first half; exit 1")).unwrap();
    world.run(&["backup"]).exits(1).says("alert incomplete/shop");
    world.run(&["backup"]).exits(1);
    let told = world.run(&["alerts", "--json"]).exits(1).json();
    assert_eq!(told["alerts"][0]["alert"], json!("incomplete/shop"), "{told}");
    world.run(&["status"]).exits(1).says("ALERT The newest restore point of").says("releve backup shop");
    let mails = server.wait_for(1);
    assert!(mails[0]["body"].as_str().unwrap().contains("releve backup shop"), "{}", mails[0]);
    std::fs::write(&path, of("echo the first half; echo and the second")).unwrap();
    world.run(&["backup"]).exits(0);
    let mails = server.wait_for(2);
    assert!(mails[1]["body"].as_str().unwrap().contains("It is over"), "{}", mails[1]);
    world.run(&["backup"]).exits(0);
    world.run(&["alerts"]).exits(0).says("nothing is wrong");
    assert_eq!(server.messages().len(), 2);
}

#[test]
fn the_agent_is_heard_elsewhere_and_missed_here_once_it_is_gone() {
    let server = MailServer::start(Manner::Takes);
    let pings = Receiver::start(200);
    let heartbeat = format!(
        "{}\nheartbeat = {{ url = {{ command = [\"echo\", \"{}/ping\"] }}, every = \"1 second\" }}",
        relays(&[&server]),
        pings.url()
    );
    let world = world(&heartbeat, "");
    std::fs::write(world.data().join("page"), "x").unwrap();
    let mut agent = world.start(&["agent"]);
    assert!(wait_until(Duration::from_secs(30), || !pings.sent().is_empty()));
    assert_eq!(pings.sent()[0].path, "/ping");
    // As if it had been killed a while ago.
    agent.kill().unwrap();
    agent.wait().unwrap();
    let state = state::State::open(&world.path("state")).unwrap();
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    state.note_beat(&state::Beat { at: long_ago, stopped: false }).unwrap();
    drop(state);
    world.run(&["status"]).exits(1).says("ALERT The agent on").says("systemctl status releve-agent");
    world.run(&["alerts", "--dismiss", "agent"]).exits(0).says("nothing is wrong");
}

#[test]
fn the_heartbeat_keeps_its_time_while_a_round_waits_for_a_relay_that_hangs() {
    let stuck = MailServer::start(Manner::Stalls);
    let pings = Receiver::start(200);
    let notify = format!(
        "{}\ntry_for = \"14 seconds\"\nheartbeat = {{ url = {{ command = [\"echo\", \"{}/ping\"] }}, every = \"5 seconds\" }}",
        relays(&[&stuck]),
        pings.url()
    );
    let world = world(&notify, "");
    std::fs::write(world.data().join("page"), "x").unwrap();
    // An alert that is open already, and of which nobody was told: the first round does.
    let path = world.path("plan.toml");
    let told = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, told.split_once("[notify]").unwrap().0).unwrap();
    world.run(&["backup"]).exits(0);
    std::fs::rename(world.path("far"), world.path("away")).unwrap();
    world.run(&["backup"]).exits(1);
    world.run(&["alerts"]).exits(1).says("nobody is told: the plan has no [notify]");
    std::fs::write(&path, told).unwrap();
    let mut agent = world.start(&["agent"]);
    let come = |count, seconds| wait_until(Duration::from_secs(seconds), || pings.sent().len() >= count);
    let (first, second) = (come(1, 10), come(2, 8));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(first && second, "{first} {second}: {:?}", pings.sent());
    assert_eq!(pings.sent()[0].path, "/ping/fail");
}

#[test]
fn a_backup_that_gives_way_to_another_is_no_alarm() {
    let server = MailServer::start(Manner::Takes);
    let world = world(&relays(&[&server]), "");
    std::fs::write(world.data().join("page"), "x").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["incident", "open", "--scenario", "hardware-failure", "shop", "--quiet"]).exits(0);
    world.run(&["backup"]).exits(2);
    world.run(&["alerts"]).exits(0).says("nothing is wrong");
    assert!(server.messages().is_empty());
}

#[test]
fn a_state_that_was_lost_is_no_broken_promise_where_the_vaults_hold_a_point_of_now() {
    let world = crate::world::World::new();
    std::fs::write(world.data().join("page"), "x").unwrap();
    world.run(&["backup"]).exits(0);
    std::fs::remove_dir_all(world.path("state")).unwrap();
    // Somebody has looked whether all is well for longer than what was promised.
    let hours_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(5);
    state::State::open(&world.path("state")).unwrap().watched_since(hours_ago).unwrap();
    world.run(&["alerts"]).exits(0).says("nothing is wrong");
    let alerts = world.run(&["status", "--json"]).json()["alerts"].clone();
    assert!(!alerts.to_string().contains("rpo/shop"), "{alerts}");
    let verify = world.run(&["verify"]);
    assert!(!verify.err.contains("rpo/shop"), "{}", verify.err);
}

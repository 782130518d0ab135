//! `isolate` and `release` as a person types them, on a machine of a network of its own.

use crate::world::{World, finish, hostname};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use testkit::Switch;

/// A world whose machine has this management.
fn world(management: &str) -> World {
    let world = World::new();
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let named = format!("[hosts.server]\nmanagement = {management}\n");
    std::fs::write(world.path("plan.toml"), plan.replace("[hosts.server]\n", &named)).unwrap();
    world
}

fn reaches(switch: &Switch, from: u8, to: &str, within: Duration) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    switch.on(from, || TcpStream::connect_timeout(&to, within).is_ok())
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(1500);

#[test]
fn a_machine_is_cut_off_shown_as_such_and_given_back() {
    let switch = Switch::with(&[1, 10, 66]);
    let world = world("[\"192.0.2.10\"]");
    let run = |arguments: &[&str]| switch.on(1, || world.run(arguments));
    let _service = switch.on(1, || TcpListener::bind(("::", 22)).unwrap());
    run(&["release", "--yes"]).exits(0).says("this machine isn't isolated");
    let shown = run(&["isolate", "--dry-run"]).exits(0).says("management 192.0.2.10").says(&hostname());
    assert!(
        shown.out.starts_with("add table inet releve\ndelete table inet releve\ntable inet releve {"),
        "{}",
        shown.out
    );
    run(&["isolate"]).exits(64).says("nobody is there to say yes");
    assert!(reaches(&switch, 66, "192.0.2.1:22", LONG), "nothing was done yet");

    run(&["isolate", "--yes"]).exits(0).says("isolated. `releve release` gives back what was");
    assert!(!reaches(&switch, 66, "192.0.2.1:22", SHORT) && reaches(&switch, 10, "192.0.2.1:22", LONG));
    run(&["isolate", "--yes"]).exits(0).says("it is isolated like that already");
    let status = run(&["status", "--json"]).json();
    assert_eq!(status["isolated"]["standing"]["state"], "holds", "{status}");
    run(&["status"]).says("this machine is isolated since");
    run(&["release"]).exits(64).says("nobody is there to say yes");

    let lost = switch.on(1, || Command::new("/usr/sbin/nft").args(["flush", "ruleset"]).status().unwrap());
    assert!(lost.success());
    run(&["status"]).exits(1).says("NOT ISOLATED any more");
    run(&["alerts"]).exits(1).says("is not cut off any more as it was").says("releve isolate");
    let again = run(&["isolate", "--yes", "--json"]).exits(0).json();
    assert_eq!(
        (&again["changed"], &again["ways"][0]["networks"][0]),
        (&true.into(), &"192.0.2.10".into()),
        "{again}"
    );
    let released = run(&["release", "--yes", "--json"]).exits(0).json();
    assert_eq!(
        (&released["changed"], &released["isolated"]),
        (&true.into(), &serde_json::Value::Null),
        "{released}"
    );
    assert!(reaches(&switch, 66, "192.0.2.1:22", LONG));
}

#[test]
fn whoever_would_cut_himself_off_is_warned() {
    let switch = Switch::with(&[1]);
    let warned = |world: &World, connection: Option<&str>, more: &[&str]| {
        switch.on(1, || {
            let mut command = world.command(&[&["isolate", "--dry-run"], more].concat());
            command.env_remove("SSH_CONNECTION");
            if let Some(connection) = connection {
                command.env("SSH_CONNECTION", connection);
            }
            finish(&mut command).exits(0)
        })
    };
    warned(&world("[]"), None, &[]).says("WARNING: nobody gets in any more, by ssh either");
    let known = world("[\"192.0.2.0/24:22\"]");
    warned(&known, Some("203.0.113.9 50000 192.0.2.1 22"), &[]).says(
        "your own connection comes from 203.0.113.9 to port 22 and is cut: add --management 203.0.113.9",
    );
    for fine in [
        warned(&known, Some("192.0.2.10 50000 192.0.2.1 22"), &[]),
        warned(&known, Some("203.0.113.9 50000 192.0.2.1 22"), &["--management", "203.0.113.9"]),
    ] {
        assert!(!fine.err.contains("WARNING"), "{}", fine.err);
    }
    warned(&known, Some("192.0.2.10 50000 192.0.2.1 2222"), &[]).says("to port 2222 and is cut");
}

#[test]
fn the_vaults_are_kept_reachable_where_that_is_asked_for() {
    let switch = Switch::with(&[1, 10, 66]);
    let world = World::new();
    world.write_plan(&world.vault("near"), "sftp://releve@192.0.2.66:2222//srv/releve", "");
    let _server = switch.on(66, || TcpListener::bind(("::", 2222)).unwrap());
    let isolated = |more: &[&str]| {
        let arguments = [&["isolate", "--yes", "--management", "192.0.2.10"], more].concat();
        switch.on(1, || world.run(&arguments)).exits(0)
    };
    isolated(&[]);
    assert!(!reaches(&switch, 1, "192.0.2.66:2222", SHORT));
    isolated(&["--keep-vaults"]).says("vault far at 192.0.2.66 port 2222");
    assert!(reaches(&switch, 1, "192.0.2.66:2222", LONG));
}

#[test]
fn a_plan_that_is_lost_keeps_nobody_from_isolating() {
    let switch = Switch::with(&[1, 10]);
    let world = World::new();
    std::fs::write(world.path("plan.toml"), "nonsense").unwrap();
    let run = |arguments: &[&str]| switch.on(1, || world.run(arguments));
    run(&["isolate", "--yes"]).exits(2).says("is wrong").says("releve isolate --management 192.0.2.10");
    run(&["isolate", "--yes", "--management", "192.0.2.10"])
        .exits(1)
        .says("only --management gets through")
        .says("isolated.");
    run(&["isolate", "--management", "192.0.2.10/24"]).exits(64).says("write 192.0.2.0/24 for the network");
    run(&["release", "--yes"]).exits(0).says("released");
}

#[test]
fn what_is_missing_to_isolate_is_named() {
    let switch = Switch::with(&[1]);
    let world = world("[\"192.0.2.10\"]");
    let behind = |program: &[&str]| {
        let inner = world.command(&["isolate", "--yes"]);
        let (program, arguments) = program.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(inner.get_program()).args(inner.get_args()).current_dir(world.path(""));
        switch.on(1, || finish(&mut command))
    };
    behind(&["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .exits(2)
        .says("isolating takes root (CAP_NET_ADMIN): nothing was changed")
        .says("sudo");
    let hidden = "mount -t tmpfs none /usr/sbin; exec \"$0\" \"$@\"";
    behind(&["unshare", "--mount", "sh", "-c", hidden])
        .exits(2)
        .says("nft isn't installed")
        .says("apt install nftables");
    let ruleset = switch.on(1, || Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().unwrap());
    assert_eq!(String::from_utf8(ruleset.stdout).unwrap(), "");
}

//! Walls around the verbs that read vaults: what the kernel keeps is tried in `src/walls.rs`; here is that they stand before a vault is asked.

use crate::world::World;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts the verb with a vault that gives no answer, and returns whether it had given up what it doesn't need by the time that it asked.
fn is_walled(world: &World, verb: &[&str]) -> bool {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace("PORT", &port.to_string())).unwrap();
    let mut command = world.command(verb);
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let asked = loop {
        match silent.accept() {
            Ok(asked) => break asked,
            Err(_) if begun.elapsed() < Duration::from_secs(20) => std::thread::yield_now(),
            Err(error) => panic!("{verb:?} asks no vault: {error}"),
        }
    };
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(asked);
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write(world.path("plan.toml"), plan).unwrap();
    status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"]))
}

#[test]
fn verbs_that_read_vaults_are_walled_in_before_they_ask_one() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let far = "s3://bucket/vault?endpoint=http://127.0.0.1:PORT&region=us-east-1";
    world.write_plan(&world.vault("near"), far, "");
    let walled: [&[&str]; 7] = [
        &["points"],
        &["verify", "far"],
        &["restore", "shop", "--to", "out"],
        &["prune", "far", "--dry-run"],
        &["repair", "far", "--dry-run"],
        &["sync", "--dry-run"],
        &["undelete", "far", "--dry-run"],
    ];
    for verb in walled {
        assert!(is_walled(&world, verb), "{verb:?}");
    }
    // What looks at the machine, or writes wherever a point says.
    for verb in [&["status"][..], &["restore", "shop", "--to", "/", "--dry-run"]] {
        assert!(!is_walled(&world, verb), "{verb:?}");
    }
    // What the plan has started is meant to do anything.
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let secret = format!("password = {{ file = {:?} }}", world.path("far.key"));
    assert!(plan.contains(&secret));
    let command = format!("password = {{ command = [\"cat\", {:?}] }}", world.path("far.key"));
    fs::write(world.path("plan.toml"), plan.replace(&secret, &command)).unwrap();
    assert!(!is_walled(&world, &["points"]));
}

#[test]
fn the_unit_is_no_more_exposed_than_the_page_says() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let page = fs::read_to_string(format!("{root}/docs/security.md")).unwrap();
    assert!(page.contains("says 2.5 of 10"), "the figure below is the page's");
    let unit = format!("{root}/packaging/releve-agent.service");
    let words = ["security", "--offline=true", "--no-pager", "--threshold=25", &unit];
    let asked = Command::new("systemd-analyze").args(words).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stdout));
}

//! An intruder on the protected server, with all that it holds: programs, keys, passwords.

use crate::world::{PASSWORD, Run, World, files, finish, hostname, same};
use std::fs;
use std::path::PathBuf;
use testkit::tree::grow;
use testkit::{Bucket, LockedBucket, MotoServer, Restic, S3Server, SshServer};

fn adapt(world: &World, plan: &str, from: &str, to: &str) -> String {
    let text = fs::read_to_string(world.path(plan)).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

/// A world whose vault `far` is a bucket that is to be immutable.
fn bucket_world(address: &str) -> World {
    let world = World::new();
    fs::write(world.path("access"), S3Server::ACCESS_KEY).unwrap();
    fs::write(world.path("secret"), S3Server::SECRET_KEY).unwrap();
    world.write_plan(&world.vault("near"), address, "");
    let keys = format!(
        "[vaults.far]\nimmutable_for = \"30 days\"\naccess_key = {{ file = {:?} }}\nsecret_key = {{ file = {:?} }}",
        world.path("access"),
        world.path("secret")
    );
    fs::write(world.path("plan.toml"), adapt(&world, "plan.toml", "[vaults.far]", &keys)).unwrap();
    world
}

/// Makes a point of three states of the data, and keeps what each must restore to.
fn three_points(world: &World) -> Vec<(String, PathBuf)> {
    (1..=3)
        .map(|seed| {
            grow(&world.data().join(format!("part-{seed}")), seed, 60);
            world.run(&["backup"]).exits(0);
            let id = world.points().last().unwrap()["id"].as_str().unwrap().to_owned();
            let kept = format!("kept-{seed}");
            world.run(&["restore", "shop", "--to", &kept, "--point", &id]).exits(0);
            (id, world.restored(&kept))
        })
        .collect()
}

fn status_of(world: &World, vault: &str) -> serde_json::Value {
    let status = world.run(&["status", "--json"]).json();
    status["vaults"].as_array().unwrap().iter().find(|place| place["vault"] == vault).unwrap().clone()
}

#[test]
fn an_intruder_with_every_key_of_the_server_loses_no_kept_point_of_a_bucket_of_moto() {
    let server = MotoServer::start(Bucket::Locked);
    every_kept_point_survives(&server.address("far"), || server.attack());
    let restic = Restic::new(server.restic_address("far"), PASSWORD)
        .env("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY);
    restic.must(&["check", "--read-data"]);
}

#[test]
fn an_intruder_with_every_key_of_the_server_loses_no_kept_point_of_a_bucket_that_checks_signatures() {
    let server = LockedBucket::start();
    every_kept_point_survives(&server.address("far"), || server.attack());
}

fn every_kept_point_survives(address: &str, attack: impl Fn() -> String) {
    let world = bucket_world(address);
    let points = three_points(&world);
    assert_eq!(status_of(&world, "far")["immutable"]["state"], "not_proven", "never looked at is not fine");
    world.run(&["immutable"]).exits(0).says("proven");
    assert_eq!(status_of(&world, "far")["immutable"]["state"], "proven");

    fs::remove_dir_all(world.path("near")).unwrap();
    let harm: serde_json::Value = serde_json::from_str(&attack()).unwrap();
    assert_eq!(harm["shortened"], 0, "{harm}");
    assert_eq!((&harm["suspended"], &harm["emptied"]), (&false.into(), &false.into()), "{harm}");
    let deleted = harm["deleted"].as_array().unwrap();
    assert!(deleted.iter().all(|key| key.as_str().unwrap().contains("/locks/")), "{harm}");
    world.run(&["restore", "shop", "--to", "too-soon"]).exits(2);

    world.run(&["undelete", "far", "--dry-run"]).exits(0).says("would be brought back");
    world.run(&["undelete", "far"]).exits(0);
    for (id, kept) in &points {
        let to = format!("back-{id}");
        world.run(&["restore", "shop", "--to", &to, "--point", id]);
        same(kept, &world.restored(&to));
    }
    world.run(&["verify", "far", "--read-data", "all"]).exits(0);
    world.run(&["immutable"]).exits(0).says("proven");
}

#[test]
fn a_store_that_lets_a_held_file_go_is_never_shown_as_proven() {
    let server = MotoServer::start(Bucket::Lenient);
    let world = bucket_world(&server.address("far"));
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["immutable"]).exits(1).says("NOT PROVEN").says("made shorter");
    let place = status_of(&world, "far");
    assert_eq!((&place["immutable"]["state"], &place["fine"]), (&"not_proven".into(), &false.into()));
    world.run(&["status"]).exits(1).says("NOT PROVEN");
}

#[test]
fn the_agent_proves_and_a_changed_promise_is_not_proven_by_the_old_proof() {
    let server = MotoServer::start(Bucket::Locked);
    let world = bucket_world(&server.address("far"));
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["agent", "--once"]).exits(0);
    assert_eq!(status_of(&world, "far")["immutable"]["state"], "proven");
    fs::write(world.path("plan.toml"), adapt(&world, "plan.toml", "30 days", "60 days")).unwrap();
    assert_eq!(status_of(&world, "far")["immutable"]["state"], "not_proven");
    let longer = world.run(&["immutable", "--json"]).exits(0).json();
    assert_eq!(longer["vaults"][0]["extended"], longer["vaults"][0]["files"], "{longer}");
}

#[test]
fn a_vault_without_the_promise_is_not_called_immutable() {
    let world = World::new();
    world.run(&["immutable"]).exits(0).says("can delete everything");
    world.run(&["immutable", "near"]).exits(2).says("doesn't say");
    world.run(&["undelete", "near"]).exits(2).says("keeps no versions");
}

/// The protected server and the machine that fetches, each with a plan and a state of its own.
struct Pulled {
    world: World,
    _ssh: SshServer,
}

impl Pulled {
    fn new() -> Self {
        let world = World::new();
        let ssh = SshServer::start_read_only();
        let puller = |name: &str| format!("[hosts.nas]\nsite = \"there\"\nname = {name:?}\n[vaults.near]");
        let pulled = "[vaults.far]\npulled_by = \"nas\"";
        let plan = adapt(&world, "plan.toml", "[vaults.far]", pulled);
        let server = plan.replace("[vaults.near]", &puller("the-nas"));
        let nas = plan
            .replace("[vaults.near]", &puller(&hostname()))
            .replace(
                &format!("[hosts.server]\nsite = \"here\"\nname = {:?}", hostname()),
                "[hosts.server]\nsite = \"here\"\nname = \"the-server\"",
            )
            .replace(&world.vault("near"), &ssh.address_of(&world.path("near")));
        fs::write(world.path("plan.toml"), server).unwrap();
        fs::write(world.path("nas.toml"), nas).unwrap();
        Self { world, _ssh: ssh }
    }

    fn on_nas(&self, arguments: &[&str]) -> Run {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_releve"));
        command
            .current_dir(self.world.path(""))
            .arg("--plan")
            .arg(self.world.path("nas.toml"))
            .arg("--state")
            .arg(self.world.path("nas-state"))
            .args(arguments)
            .stdin(std::process::Stdio::null());
        finish(&mut command)
    }
}

#[test]
fn a_server_has_no_way_into_the_vault_that_another_machine_fills_and_does_not_miss_it() {
    let pulled = Pulled::new();
    let world = &pulled.world;
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["sync"]).exits(0);
    world.run(&["points"]).exits(0).says("can't be seen from here");
    assert!(!world.path("far").exists(), "the server wrote where only the nas may");
    let place = status_of(world, "far");
    assert_eq!((&place["seen"], &place["newest"]), (&false.into(), &serde_json::Value::Null));
    world.run(&["status"]).exits(1).says("NOT SEEN from here, and not counted");

    for verb in ["prune", "repair"] {
        world.run(&[verb, "--dry-run"]).exits(0);
        world.run(&[verb, "far", "--dry-run"]).exits(2).says("only nas writes to vault `far`");
    }
    world.run(&["sync", "--vault", "far"]).exits(2).says("only nas writes to vault `far`");

    pulled.on_nas(&["agent", "--once"]).exits(0);
    pulled.on_nas(&["sync", "--vault", "near"]).exits(2).says("copies to nothing else than far");
    let before = files(&world.path("near"));
    pulled.on_nas(&["sync"]).exits(0).says("nothing is missing");
    assert_eq!(before, files(&world.path("near")), "whoever fetches writes nowhere else");
    pulled.on_nas(&["status"]).says("pulled by nas; its newest point is of");
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn an_intruder_who_owns_the_server_loses_no_kept_point_of_a_pulled_vault() {
    let pulled = Pulled::new();
    let world = &pulled.world;
    let points = three_points(world);
    pulled.on_nas(&["sync"]).exits(0);

    // A point of encrypted files, snapshots gone, packs overwritten: fetched or not, nothing that was kept suffers.
    for file in files(&world.data()) {
        let _ = fs::remove_file(&file);
        fs::write(file, "pay us").unwrap();
    }
    let kept = files(&world.path("near/snapshots"));
    world.run(&["backup"]).exits(1).says("overwritten with zeros");
    kept.into_iter().take(2).for_each(|snapshot| fs::remove_file(snapshot).unwrap());
    for pack in files(&world.path("near/data")) {
        fs::write(pack, "pay us").unwrap();
    }
    pulled.on_nas(&["sync"]).exits(2).says("failed: point");
    fs::remove_dir_all(world.path("near")).unwrap();
    pulled.on_nas(&["agent", "--once"]).exits(1).says("gone or empty");
    for (id, kept) in &points {
        let to = format!("back-{id}");
        pulled.on_nas(&["restore", "shop", "--to", &to, "--point", id]);
        same(kept, &world.restored(&to));
    }
    world.restic("far").must(&["check", "--read-data"]);
}

//! Debian's restic judges what we write, and writes what we read.

use crate::world::{PASSWORD, World, same};
use std::fs;
use testkit::tree::grow;
use testkit::{Restic, S3Server, SshServer};

pub(crate) fn s3_world(server: &S3Server) -> World {
    let world = World::new();
    fs::write(world.path("access"), S3Server::ACCESS_KEY).unwrap();
    fs::write(world.path("secret"), S3Server::SECRET_KEY).unwrap();
    let keys = format!(
        "[vaults.far]\naccess_key = {{ file = {:?} }}\nsecret_key = {{ file = {:?} }}",
        world.path("access"),
        world.path("secret")
    );
    world.write_plan(&world.vault("near"), &server.address("far"), "");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap().replace("[vaults.far]", &keys);
    fs::write(world.path("plan.toml"), plan).unwrap();
    world
}

/// Debian's restic loses the bytes of a link's target that are not UTF-8; later ones, and we, keep them.
fn grow_for_restic(world: &World, seed: u64, files: usize) {
    grow(&world.data(), seed, files);
    fs::remove_file(world.data().join("odd/dangling")).unwrap();
}

#[test]
fn restic_accepts_and_restores_what_we_write() {
    let world = World::new();
    grow_for_restic(&world, 11, 200);
    fs::write(world.data().join("long"), testkit::Random::new(5).bytes(20_000_000)).unwrap();
    world.run(&["backup"]).exits(0);
    fs::write(world.data().join("long"), testkit::Random::new(6).bytes(9_000_000)).unwrap();
    world.run(&["backup"]).exits(0);
    for vault in ["near", "far"] {
        let restic = world.restic(vault);
        restic.must(&["check", "--read-data"]);
        let out = world.path(&format!("out-{vault}"));
        restic.must(&["restore", "latest", "--target", out.to_str().unwrap()]);
        same(&world.data(), &out.join(world.data().strip_prefix("/").unwrap()));
    }
}

#[test]
fn restic_accepts_what_we_write_to_s3_and_it_comes_back() {
    let server = S3Server::start();
    let world = s3_world(&server);
    grow(&world.data(), 12, 100);
    world.run(&["backup"]).exits(0);
    // Through the folder that holds the objects: this server's listing leaves out what Debian's restic looks for, its own packs too.
    Restic::new(server.folder().join("far").display().to_string(), PASSWORD).must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

#[test]
fn restic_accepts_what_we_write_over_sftp_and_it_comes_back() {
    let server = SshServer::start();
    let world = World::new();
    world.write_plan(&world.vault("near"), &server.address("far"), "");
    grow(&world.data(), 13, 100);
    world.run(&["backup"]).exits(0);
    Restic::new(server.folder().join("far").display().to_string(), PASSWORD).must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

#[test]
fn we_restore_what_restic_wrote_and_go_on_in_its_repository() {
    let world = World::new();
    grow_for_restic(&world, 14, 200);
    let restic = world.restic("near");
    restic.must(&["init", "--repository-version", "2"]);
    restic.must(&["backup", world.data().to_str().unwrap()]);
    let point = world.points()[0].clone();
    let id = point["id"].as_str().unwrap();
    world.run(&["restore", "shop", "--to", "out", "--point", &id[..12]]).exits(0);
    same(&world.data(), &world.restored("out"));
    world.run(&["backup"]).exits(0);
    restic.must(&["check", "--read-data"]);
    world.run(&["verify", "near", "--read-data", "all"]).exits(0);
}

#[test]
fn a_repository_of_format_1_is_read_and_not_written() {
    let world = World::new();
    grow_for_restic(&world, 15, 50);
    let restic = world.restic("near");
    restic.must(&["init", "--repository-version", "1"]);
    restic.must(&["backup", world.data().to_str().unwrap()]);
    let id = world.points()[0]["id"].as_str().unwrap().to_owned();
    world.run(&["restore", "shop", "--to", "out", "--point", &id]).exits(0);
    same(&world.data(), &world.restored("out"));
    world.run(&["backup"]).exits(1).says("migrate upgrade_repo_v2");
    restic.must(&["check"]);
}

#[test]
fn a_copied_point_is_accepted_by_restic_too() {
    let world = World::new();
    grow(&world.data(), 16, 100);
    let far = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), far.replace(r#"vaults = ["near", "far"]"#, r#"vaults = ["near"]"#))
        .unwrap();
    world.run(&["backup"]).exits(0);
    fs::write(world.path("plan.toml"), far).unwrap();
    world.run(&["points"]).exits(1).says("not in far");
    world.run(&["sync", "--dry-run"]).exits(0).says("would be copied to far");
    world.run(&["sync"]).exits(0).says("copied to far");
    world.run(&["sync"]).exits(0).says("nothing is missing");
    world.restic("far").must(&["check", "--read-data"]);
    fs::remove_dir_all(world.path("near")).unwrap();
    world.restores_whole("out");
}

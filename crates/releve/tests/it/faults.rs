//! What goes wrong, and what is said and saved then.

use crate::oracle::s3_world;
use crate::world::{World, files};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::tree::grow;
use testkit::{Fault, FaultyProxy, Random, S3Server, SmallDisk, When, free_port};

/// Changes one byte in the middle of each of these files.
fn flip(paths: &[PathBuf]) {
    for path in paths {
        flip_every(path, usize::try_from(fs::metadata(path).unwrap().len()).unwrap());
    }
}

/// Changes one bit in the middle of every stretch of `stride` bytes that the file has whole.
fn flip_every(path: &Path, stride: usize) {
    let mut bytes = fs::read(path).unwrap();
    for stretch in bytes.chunks_exact_mut(stride.max(1)) {
        stretch[stride / 2] ^= 0x40;
    }
    // Vault files are read-only for everyone.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn packs(vault: &Path) -> Vec<PathBuf> {
    files(&vault.join("data"))
}

#[test]
fn a_vault_that_fills_up_leaves_the_other_complete() {
    let disk = SmallDisk::mount(8 << 20);
    let world = World::new();
    fs::write(world.data().join("noise"), Random::new(1).bytes(24 << 20)).unwrap();
    let far = disk.path().join("far");
    world.write_plan(&world.vault("near"), &format!("file://{}", far.display()), "");
    world.run(&["backup"]).exits(1).says("no space left").says("not in far");
    let point = &world.points()[0];
    assert_eq!((&point["complete"], &point["missing"]), (&false.into(), &serde_json::json!(["far"])));
    world.restic("near").must(&["check", "--read-data"]);
    world.restores_whole("out");
    let status = world.run(&["status"]).exits(1).says("not in far");
    // Neither another backup nor a sync gets anything into it before.
    status.says("first releve prune far --now, then releve sync").says("First make room in the vault");
}

#[test]
fn a_target_that_fills_up_is_an_error_that_names_what_is_missing() {
    let disk = SmallDisk::mount(8 << 20);
    let world = World::new();
    fs::write(world.data().join("noise"), Random::new(1).bytes(24 << 20)).unwrap();
    fs::write(world.data().join("small"), "small").unwrap();
    world.run(&["backup"]).exits(0);
    let to = disk.path().join("out");
    world
        .run(&["restore", "shop", "--to", to.to_str().unwrap()])
        .exits(1)
        .says("noise")
        .says("No space left");
    assert!(to.join(world.data().strip_prefix("/").unwrap()).join("small").exists());
}

#[test]
fn a_read_only_vault_is_read_and_its_refusal_is_said() {
    let disk = SmallDisk::mount(32 << 20);
    let world = World::new();
    grow(&world.data(), 21, 20);
    let far = disk.path().join("far");
    world.write_plan(&world.vault("near"), &format!("file://{}", far.display()), "");
    world.run(&["backup"]).exits(0);
    disk.set_read_only(true);
    world.run(&["backup"]).exits(1).says("Read-only file system");
    fs::remove_dir_all(world.path("near")).unwrap();
    world.run(&["verify", "far", "--read-data", "all"]).exits(0);
    world.restores_whole("out");
}

#[test]
fn a_wrong_password_is_called_that() {
    let world = World::new();
    grow(&world.data(), 22, 10);
    world.run(&["backup"]).exits(0);
    fs::write(world.path("far.key"), "wrong").unwrap();
    world.run(&["backup"]).exits(1).says("wrong password");
    world.run(&["restore", "shop", "--to", "out"]).exits(0).says("wrong password");
    fs::write(world.path("near.key"), "wrong").unwrap();
    world.run(&["backup"]).exits(2).says("wrong password");
    world.run(&["points"]).exits(2);
    fs::remove_file(world.path("near.key")).unwrap();
    world.run(&["backup"]).exits(2).says("near.key");
}

#[test]
fn a_secret_is_never_said() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let run = world.run(&["backup"]).exits(0);
    fs::write(world.path("far.key"), "another secret").unwrap();
    let failed = world.run(&["backup"]).exits(1);
    for text in [run.out, run.err, failed.out, failed.err] {
        assert!(!text.contains("horse") && !text.contains("another secret"), "{text}");
    }
}

#[test]
fn a_vault_that_was_there_and_is_gone_is_never_made_anew_quietly() {
    let world = World::new();
    grow(&world.data(), 23, 10);
    world.run(&["backup"]).exits(0);
    fs::remove_dir_all(world.path("far")).unwrap();
    world.run(&["backup"]).exits(1).says("gone or empty");
    fs::create_dir(world.path("far")).unwrap();
    world.run(&["backup"]).exits(1).says("gone or empty");
    world.run(&["state", "forget-vault", "far"]).exits(0);
    world.run(&["sync"]).exits(0).says("created vault far");
    world.run(&["points"]).exits(0);
    world.restic("far").must(&["check", "--read-data"]);
}

#[test]
fn a_vault_that_was_exchanged_is_noticed() {
    let world = World::new();
    grow(&world.data(), 24, 10);
    world.run(&["backup"]).exits(0);
    fs::remove_dir_all(world.path("far")).unwrap();
    world.restic("far").must(&["init"]);
    world.run(&["backup"]).exits(1).says("another repository than before");
}

#[test]
fn a_refused_connection_leaves_the_local_point_and_sync_makes_up_for_it() {
    let server = S3Server::start();
    let world = s3_world(&server);
    grow(&world.data(), 25, 20);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let dead = plan.replace(&format!("127.0.0.1:{}", server.port()), &format!("127.0.0.1:{}", free_port()));
    fs::write(world.path("plan.toml"), dead).unwrap();
    world.run(&["backup"]).exits(1).says("not in far");
    fs::write(world.path("plan.toml"), plan).unwrap();
    world.run(&["sync"]).exits(0).says("copied to far");
    world.run(&["verify", "far", "--read-data", "all"]).exits(0);
}

#[test]
fn an_endpoint_that_answers_500_or_cuts_in_the_middle_costs_its_copy_and_nothing_else() {
    for fault in [Fault::Status(500), Fault::CutRequest(1000)] {
        let server = S3Server::start();
        let proxy = FaultyProxy::before(server.port());
        let world = s3_world(&server);
        let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
        let through =
            plan.replace(&format!("127.0.0.1:{}", server.port()), &format!("127.0.0.1:{}", proxy.port()));
        fs::write(world.path("plan.toml"), through).unwrap();
        fs::write(world.data().join("noise"), Random::new(7).bytes(3 << 20)).unwrap();
        proxy.plan(When::request("PUT", "/data/"), fault);
        world.run(&["backup"]).exits(1).says("not in far");
        world.restic("near").must(&["check", "--read-data"]);
        proxy.heal();
        world.run(&["backup"]).exits(0);
        world.run(&["verify", "--read-data", "all"]).exits(0);
    }
}

#[test]
fn a_short_fault_is_ridden_out() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let world = s3_world(&server);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let through =
        plan.replace(&format!("127.0.0.1:{}", server.port()), &format!("127.0.0.1:{}", proxy.port()));
    fs::write(world.path("plan.toml"), through).unwrap();
    grow(&world.data(), 26, 20);
    proxy.plan(When::request("PUT", "/data/").first(1), Fault::Status(503));
    proxy.plan(When::request("PUT", "/index/").first(1), Fault::LoseAnswer);
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_damaged_pack_is_read_from_the_other_vault() {
    let world = World::new();
    grow(&world.data(), 27, 100);
    world.run(&["backup"]).exits(0);
    // Vaults on this machine are read in the order of their names.
    flip(&packs(&world.path("far")));
    world.run(&["verify", "far", "--read-data", "all"]).exits(1).says("DAMAGED");
    world.run(&["restore", "shop", "--to", "out"]).exits(0).says("something is wrong with");
    crate::world::same(&world.data(), &world.restored("out"));
}

#[test]
fn what_is_in_no_vault_is_named_and_the_rest_comes_back() {
    let world = World::new();
    fs::write(world.data().join("small"), "small").unwrap();
    world.run(&["backup"]).exits(0);
    let held = |vault: &str| packs(&world.path(vault));
    let before = [held("near"), held("far")].concat();
    fs::write(world.data().join("noise"), Random::new(3).bytes(20 << 20)).unwrap();
    world.run(&["backup"]).exits(0);
    // The two vaults cut their packs at other places, so every blob of the noise is hit in both.
    for pack in [held("near"), held("far")].concat() {
        if !before.contains(&pack) && fs::metadata(&pack).unwrap().len() > 1 << 18 {
            flip_every(&pack, 1 << 18);
        }
    }
    let report = world.run(&["restore", "shop", "--to", "out", "--json"]).exits(1).json();
    let damaged = report["damaged"].as_u64().unwrap();
    assert_eq!(damaged, 1, "{report}");
    assert!(world.restored("out").join("noise.releve-damaged").exists());
    assert!(!world.restored("out").join("noise").exists());
    assert_eq!(fs::read_to_string(world.restored("out").join("small")).unwrap(), "small");
    world.run(&["recover", "--to", "beside", "--yes"]).exits(1).says("in no vault");
}

#[test]
fn a_pack_that_is_gone_or_cut_is_found_without_reading_the_data() {
    let world = World::new();
    grow(&world.data(), 28, 50);
    world.run(&["backup"]).exits(0);
    world.run(&["verify"]).exits(0);
    let pack = packs(&world.path("far")).pop().unwrap();
    let bytes = fs::read(&pack).unwrap();
    fs::remove_file(&pack).unwrap();
    world.run(&["verify", "far"]).exits(1).says("is gone");
    fs::write(&pack, &bytes[..bytes.len() - 10]).unwrap();
    world.run(&["verify", "far"]).exits(1).says("bytes and not");
    world.run(&["verify", "near"]).exits(0);
}

#[test]
fn a_damaged_index_or_snapshot_is_said_and_passed_over() {
    for folder in ["index", "snapshots"] {
        let world = World::new();
        grow(&world.data(), 29, 20);
        world.run(&["backup"]).exits(0);
        flip(&files(&world.path("near").join(folder)));
        world.run(&["verify", "near"]).exits(1).says(folder);
        world.restores_whole("out");
        if folder == "snapshots" {
            let told = world.run(&["backup"]).exits(1).says("warning: vault near: a snapshot can't be read");
            assert!(!told.err.contains("INCOMPLETE"), "{}", told.err);
            // Also in a vault that nobody needs to ask for the points before.
            flip(&files(&world.path("far/snapshots")));
            let told = world.run(&["backup", "--json"]).exits(1).json();
            assert!(told["systems"][0]["damaged"].to_string().contains("far"), "{told}");
        }
    }
}

#[test]
fn a_lock_of_a_dead_process_stops_nobody_and_a_live_exclusive_one_does() {
    let world = World::new();
    grow(&world.data(), 30, 20);
    world.run(&["backup"]).exits(0);
    // A lock that is still being written has another name, and holds nobody back.
    let locks = || {
        let mut locks = files(&world.path("near/locks"));
        locks.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
        locks
    };
    let mut killed = world.start(&["backup"]);
    testkit::wait_until(std::time::Duration::from_secs(20), || {
        !locks().is_empty() || killed.try_wait().unwrap().is_some()
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.run(&["backup"]).exits(0);
    assert!(locks().is_empty());
}

#[test]
fn a_plan_that_is_wrong_ends_with_65_and_wrong_words_with_64() {
    let world = World::new();
    world.run(&["restore", "shpo", "--to", "out"]).exits(64).says("shop");
    world.run(&["frobnicate"]).exits(64);
    world.run(&["recover", "--scenario", "flood"]).exits(64);
    fs::write(world.path("plan.toml"), "[systems.shop]\nhots = 1\n").unwrap();
    world.run(&["backup"]).exits(65).says("host");
    fs::remove_file(world.path("plan.toml")).unwrap();
    world.run(&["check"]).exits(2).says("read the plan");
}

#[test]
fn a_state_that_is_lost_or_corrupt_is_made_anew_from_the_vaults() {
    let world = World::new();
    grow(&world.data(), 31, 20);
    world.run(&["backup"]).exits(0);
    let state = files(&world.path("state")).into_iter().filter(|path| path.is_file()).collect::<Vec<_>>();
    for path in &state {
        fs::write(path, "this is no database, and long enough to be taken for one".repeat(200)).unwrap();
    }
    world.run(&["backup"]).exits(2).says("releve state rebuild");
    world.restores_whole("out");
    let rebuilt = world.run(&["state", "rebuild"]).exits(1).says("1 points");
    rebuilt.says("a hold on removals may be lost: releve prune --hold sets it again");
    world.run(&["backup"]).exits(0);
    world.run(&["state", "verify"]).exits(0);
    // What is whole is set aside by nobody's slip.
    let kept = || {
        let state = files(&world.path("state"));
        state.iter().filter(|path| path.display().to_string().contains("damaged")).count()
    };
    let before = kept();
    world
        .run(&["state", "rebuild"])
        .exits(64)
        .says("nothing is wrong with")
        .says("nobody is there to say yes");
    assert_eq!(kept(), before);
    fs::remove_dir_all(world.path("state")).unwrap();
    world.run(&["recover", "--to", "beside", "--yes"]).exits(0);
    world.run(&["state", "rebuild", "--yes"]).exits(0).says("2 points");
    let told = world.run(&["state", "rebuild", "--yes", "--json"]).exits(0).json();
    assert!(told["points"] == 2 && told["kept"].is_string() && told["lost"].is_array(), "{told}");
    // What nobody knows is not forgotten.
    world.run(&["state", "forget-vault", "nosuch"]).exits(64).says("there is no vault `nosuch`");
    world.run(&["state", "forget-vault", "far"]).exits(0);
}

#[test]
fn a_full_disk_under_the_state_is_called_that_and_a_rebuild_there_changes_nothing() {
    let disk = SmallDisk::mount(4 << 20);
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    fs::create_dir(disk.path().join("state")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("state"), world.path("state")).unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["prune", "--hold", "police"]).exits(0);
    let fill = disk.path().join("fill");
    let mut file = fs::File::create(&fill).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let said = world.run(&["backup"]).exits(2).says("is full: make room");
    assert!(!said.err.contains("state rebuild"), "{}", said.err);
    world.run(&["state", "rebuild", "--yes"]).exits(2).says("nothing was changed");
    drop(file);
    fs::remove_file(&fill).unwrap();
    let left = files(&disk.path().join("state"));
    assert!(!left.iter().any(|path| path.display().to_string().contains("damaged")), "{left:?}");
    world.run(&["backup"]).exits(0);
    world.run(&["prune", "--yes"]).exits(2).says("police");
    world.run(&["state", "rebuild", "--yes"]).exits(0).says("1 hold on removals");
    world.run(&["prune", "--yes"]).exits(2).says("police");
}

#[test]
fn of_vaults_that_could_not_be_opened_nothing_is_concluded() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let first = world.run(&["status"]).exits(1).says("none yet: releve backup shop");
    assert!(!first.out.contains("releve sync") && !first.out.contains("releve verify"), "{}", first.out);
    world.run(&["backup"]).exits(0);
    let keys = ["near.key", "far.key"].map(|key| world.path(key));
    // One of two: what it holds isn't known, and is not said to be missing.
    fs::rename(&keys[0], world.path("away")).unwrap();
    let one = world.run(&["status"]).exits(1).says("you would lose").says("could not be asked");
    assert!(!one.out.contains("releve sync"), "{}", one.out);
    let points = world.run(&["points", "--json"]).exits(1).json();
    let point = &points["points"][0];
    assert_eq!(
        (&point["missing"], &point["unknown_in"]),
        (&serde_json::json!([]), &serde_json::json!(["near"]))
    );
    assert_eq!(point["complete"], false);
    // Both: everything may be there.
    fs::rename(&keys[1], world.path("far.away")).unwrap();
    let none = world.run(&["status"]).exits(2).says("not known: vault").says("this machine knows of is of");
    for wrong in ["would be lost", "releve sync", "releve verify", "NEVER: releve"] {
        assert!(!none.out.contains(wrong), "{wrong}: {}", none.out);
    }
    let json = world.run(&["status", "--json"]).exits(2).json();
    assert!(
        json["systems"][0]["last_known"].is_string() && json["systems"][0]["not_known"].is_string(),
        "{json}"
    );
    world.run(&["points"]).exits(2).says("not known: vault");
}

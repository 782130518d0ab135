//! `releve restore`, as a person types it.

use crate::world::{World, files, finish, same};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use testkit::tree::grow;

fn world() -> World {
    let world = World::new();
    fs::create_dir(world.data().join("app")).unwrap();
    fs::write(world.data().join("app/config"), "config").unwrap();
    grow(&world.data().join("archive"), 61, 20);
    world.run(&["backup"]).exits(0);
    world
}

#[test]
fn what_comes_first_is_said_to_be_complete() {
    let world = world();
    let run = world.run(&["restore", "shop", "--to", "out", "--first", "app"]).exits(0);
    run.says("what comes first is complete: 1 entries");
    same(&world.data(), &world.restored("out"));
    let told = world.run(&["restore", "shop", "--to", "json", "--first", "app/", "--json"]).exits(0).json();
    assert!(told["first_seconds"].as_f64().unwrap() <= told["seconds"].as_f64().unwrap(), "{told}");
    world
        .run(&["restore", "shop", "--to", "none", "--first", "nothing"])
        .exits(0)
        .says("nothing in the point is to come first");
    world.run(&["restore", "shop", "--to", "bad", "--first", "!x"]).exits(64).says("!x");
}

#[test]
fn nothing_is_removed_that_was_not_shown_and_agreed_to() {
    let world = world();
    world.run(&["restore", "shop", "--to", "out"]).exits(0);
    let extra = world.restored("out").join("extra");
    fs::write(&extra, "extra").unwrap();
    world.run(&["restore", "shop", "--to", "out"]).exits(0);
    world
        .run(&["restore", "shop", "--to", "out", "--delete", "--dry-run"])
        .exits(0)
        .says("extra")
        .says("1 entries would be removed");
    world.run(&["restore", "shop", "--to", "out", "--delete"]).exits(64).says("--yes");
    assert!(extra.exists());
    let told = world.run(&["restore", "shop", "--to", "out", "--delete", "--yes", "--json"]).exits(0).json();
    assert_eq!(told["deleted"], 1, "{told}");
    same(&world.data(), &world.restored("out"));
}

#[test]
fn vaults_keys_and_what_the_plan_excludes_are_nobodys_leftovers() {
    let world = World::new();
    let source = format!("files = {{ paths = [{:?}], exclude = [\"cache\"] }}", world.path(""));
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    fs::write(world.data().join("a"), "a").unwrap();
    fs::create_dir(world.data().join("cache")).unwrap();
    world.run(&["backup"]).exits(0);
    fs::write(world.path("far.key.old"), "extra").unwrap();
    let told =
        world.run(&["restore", "shop", "--to", "/", "--delete", "--dry-run", "--json"]).exits(0).json();
    let removed: Vec<&str> =
        told["remove"].as_array().unwrap().iter().filter_map(|path| path.as_str()).collect();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(removed[0].ends_with("far.key.old"), "{removed:?}");
}

#[test]
fn an_ordinary_user_gets_what_he_may_have_and_is_told_the_rest() {
    let world = World::new();
    let file = |name: &str, mode: u32, owner: u32| {
        let path = world.data().join(name);
        fs::write(&path, name).unwrap();
        std::os::unix::fs::chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("mine", 0o444, 65534);
    file("foreign", 0o640, 1234);
    file("setuid", 0o4755, 1234);
    file("locked", 0o000, 65534);
    let _ =
        Command::new("setfattr").args(["-n", "user.x", "-v", "y"]).arg(world.data().join("mine")).status();
    std::os::unix::fs::chown(world.data(), Some(65534), Some(65534)).unwrap();
    world.run(&["backup"]).exits(0);
    let open = fs::Permissions::from_mode(0o755);
    // The user may read plan, keys and vaults, and write to one folder.
    for path in [world.path(""), world.path("near"), world.path("far")] {
        Command::new("chmod").args(["-R", "a+rX"]).arg(&path).status().unwrap();
    }
    file("locked", 0o000, 65534);
    fs::create_dir(world.path("home")).unwrap();
    fs::set_permissions(world.path("home"), open).unwrap();
    std::os::unix::fs::chown(world.path("home"), Some(65534), Some(65534)).unwrap();
    let restore =
        || {
            let inner =
                world.command(&["--state", "home/state", "restore", "shop", "--to", "home/out", "--json"]);
            let mut outer = Command::new("setpriv");
            outer.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(inner.get_program());
            // The last --state counts; the world's own belongs to root.
            outer.args(inner.get_args().filter(|argument| {
                *argument != "--state" && !argument.to_string_lossy().ends_with("/state")
            }));
            outer.arg("--state").arg(world.path("home/state")).current_dir(world.path("")).env("TZ", "UTC");
            finish(&mut outer)
        };
    for round in 0..2 {
        let told = restore().exits(1).json();
        let named: Vec<String> =
            told["not_set_entries"].as_array().unwrap().iter().map(|entry| entry.to_string()).collect();
        assert!(
            named.iter().any(|entry| entry.contains("foreign") && entry.contains("owner")),
            "{round}: {named:?}"
        );
        assert!(
            named.iter().any(|entry| entry.contains("setuid") && entry.contains("setuid and setgid")),
            "{round}: {named:?}"
        );
        assert!(
            !named.iter().any(|entry| entry.contains("mine") || entry.contains("locked")),
            "{round}: {named:?}"
        );
    }
    let back = |name: &str| {
        fs::metadata(world.path("home/out").join(world.data().strip_prefix("/").unwrap()).join(name)).unwrap()
    };
    assert_eq!(back("setuid").mode() & 0o7777, 0o755);
    assert_eq!(back("mine").mode() & 0o7777, 0o444);
    assert_eq!(back("locked").mode() & 0o7777, 0o000);
    assert!(files(&world.path("home/out")).len() >= 4);
}

#[test]
fn nothing_that_came_back_is_a_failure_and_something_a_finding() {
    let world = world();
    let disk = testkit::SmallDisk::mount(1 << 20);
    disk.set_read_only(true);
    let to = disk.path().to_str().unwrap().to_owned();
    world.run(&["restore", "shop", "--to", &to]).exits(2).says("Read-only file system");
    world.run(&["restore", "shop", "--to", "out", "--memory", "lots"]).exits(64).says("no size");
    world.run(&["restore", "shop", "--to", "out", "--memory", "16MB"]).exits(0);
    same(&world.data(), &world.restored("out"));
}

#[test]
fn a_limit_on_the_length_of_files_costs_the_files_beyond_it_and_nothing_else() {
    let world = World::new();
    fs::write(world.data().join("long"), testkit::Random::new(1).bytes(3 << 20)).unwrap();
    fs::write(world.data().join("short"), "short").unwrap();
    world.run(&["backup"]).exits(0);
    let inner = world.command(&["restore", "shop", "--to", "out"]);
    let mut outer = Command::new("prlimit");
    outer.arg("--fsize=1048576").arg(inner.get_program()).args(inner.get_args());
    finish(outer.current_dir(world.path(""))).exits(1).says("long: File too large");
    assert_eq!(fs::read_to_string(world.restored("out").join("short")).unwrap(), "short");
    assert!(!world.restored("out").join("long").exists());
}

#[test]
fn a_system_starts_before_its_archives_are_back() {
    let world = World::new();
    fs::create_dir(world.data().join("app")).unwrap();
    fs::write(world.data().join("app/config"), "config").unwrap();
    grow(&world.data().join("archive"), 62, 200);
    let more = format!(
        "recover.first = [\"app\"]\nrecover.start = {{ command = [\"cp\", {:?}, {:?}] }}\ncheck = [{{ file = {:?} }}]\n",
        world.data().join("app/config"),
        world.path("started"),
        world.path("started"),
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    fs::rename(world.data(), world.path("what-it-was")).unwrap();
    world.run(&["recover", "--dry-run"]).exits(0).says("before the rest");
    let told = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    let system = &told["recovered"]["systems"][0];
    assert!(system["complete_seconds"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!(system["checks_passed"], 1);
    same(&world.path("what-it-was"), &world.data());
}

#[test]
fn a_dry_run_shows_what_would_be_taken_away_and_what_stays_in_the_way() {
    let world = world();
    world.run(&["restore", "shop", "--to", "out"]).exits(0);
    let app = world.restored("out").join("app");
    fs::remove_dir_all(&app).unwrap();
    std::os::unix::fs::symlink("/etc", &app).unwrap();
    let run = world.run(&["restore", "shop", "--to", "out", "--dry-run"]).exits(0);
    run.says("app: a link to /etc goes: the point has a folder here");
    let run = world.run(&["restore", "shop", "--to", "out", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(run["taken_away"].as_array().unwrap().len(), 1, "{run}");
    let run = world.run(&["recover", "shop", "--to", "out", "--dry-run"]).exits(0);
    run.says("a link to /etc goes: the point has a folder here");
    assert!(app.is_symlink());
}

#[test]
fn what_an_incomplete_point_lacks_is_named_and_nothing_is_removed_for_it() {
    let world = World::new();
    let (page, never) = (world.data().join("page"), world.path("never"));
    fs::write(&page, "page").unwrap();
    std::os::unix::fs::symlink("page", world.data().join("link")).unwrap();
    let source = format!("files = {{ paths = [{:?}, {never:?}] }}", world.data());
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    world.run(&["backup"]).exits(1).says("INCOMPLETE");
    let lacks = format!("not whole in the point: {}", never.display());
    let run = world.run(&["restore", "shop", "--to", "out"]).exits(1).says(&lacks);
    assert!(!run.err.contains("newest complete"), "{}", run.err);
    run.says("no complete point fits: this is the newest incomplete point");
    let point = world.points()[0]["id"].as_str().unwrap().to_owned();
    let told = world.run(&["restore", "shop", "--to", "out", "--point", &point, "--json"]).exits(1).json();
    assert!(told["whole"] == false && told["findings"].to_string().contains(&lacks), "{told}");
    let dry = world.run(&["restore", "shop", "--to", "out", "--dry-run"]).exits(0).says(&lacks);
    dry.says("1 files (4 B)");
    // It may be the only copy.
    let extra = world.restored("out").join("extra");
    fs::write(&extra, "extra").unwrap();
    let run = world.run(&["restore", "shop", "--to", "out", "--delete", "--yes"]).exits(1);
    run.says("nothing is removed");
    assert!(extra.exists());
    // What was asked for is whole.
    let part = |path: &std::path::Path| {
        world.run(&["restore", "shop", "--to", "part", "--path", path.to_str().unwrap()])
    };
    part(&page).exits(0);
    part(&never).exits(2).says("nothing in the point has this path").says(&lacks);
}

#[test]
fn a_link_is_called_a_file_by_no_verb() {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        std::os::unix::fs::symlink("nowhere", world.data().join(name)).unwrap();
    }
    world.run(&["backup"]).exits(0).says("0 files, 4 links");
    let point = &world.points()[0];
    assert_eq!((&point["files"], &point["links"]), (&0.into(), &4.into()), "{point}");
    let dry = world.run(&["recover", "--dry-run"]).exits(0).says("reads     0 files");
    assert!(!dry.err.contains("4 files"), "{}", dry.err);
    world.run(&["restore", "shop", "--to", "out", "--dry-run"]).exits(0).says("0 files (0 B)");
}

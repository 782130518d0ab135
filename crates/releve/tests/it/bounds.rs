//! The plan is the boundary: what a point's tree holds besides is named and left, and after an attack nothing comes back as root's that nobody vouches for.

use crate::world::{PASSWORD, World, hostname};
use serde_json::{Value, json};
use source::{Files, Source as _};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::backup::{BackupOptions, backup};
use vault::store::Credentials;
use vault::{Holder, Password, Progress, Repository, Timestamp};

/// Makes both vaults with a point of `shop` in them that says that it holds the plan's folder, and holds these.
fn forge(world: &World, paths: [PathBuf; 2]) {
    let now = jiff::Timestamp::now();
    let vaults = ["near", "far"].map(|name| {
        let store = vault::store::open(&world.vault(name), &Credentials::default()).unwrap();
        let password = Password::new(PASSWORD.as_bytes().to_vec());
        Arc::new(Repository::create(store, &password, &hostname(), now).unwrap())
    });
    let capture = Files::new(paths).capture(&world.path("tmp"), Timestamp::default()).unwrap();
    let options = BackupOptions {
        point: "0123456789ab".into(),
        system: "shop".into(),
        source: "files".into(),
        time: now,
        paths: vec![world.data().display().to_string()],
        excludes: Vec::new(),
        holder: Holder { hostname: hostname(), username: "root".into() },
        parent: None,
        threads: 0,
        doubts: Vec::new(),
    };
    let report = backup(capture.input(), &vaults, &options, &Progress::default()).unwrap();
    assert!(report.vaults.iter().all(Result::is_ok));
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Returns what a recovery like this would do.
fn book(world: &World, more: &[&str]) -> Value {
    world.run(&[&["recover", "--dry-run", "--json"], more].concat()).exits(0).json()["systems"][0].clone()
}

#[test]
fn a_tree_that_holds_more_than_its_point_says_writes_nothing_beside_the_plan() {
    let world = World::new();
    fs::write(world.data().join("order.txt"), "the first order\n".repeat(60)).unwrap();
    let beside = world.path("beside");
    fs::create_dir(&beside).unwrap();
    program(&beside.join("evil"), "a shell");
    forge(&world, [world.data(), beside.clone()]);
    fs::remove_dir_all(&beside).unwrap();
    fs::remove_file(world.data().join("order.txt")).unwrap();
    let entry = book(&world, &[]);
    assert_eq!((&entry["left"], &entry["only"]), (&json!([beside]), &json!([world.data()])), "{entry}");
    let named = beside.display().to_string();
    let shown = world.run(&["recover", "--dry-run"]).exits(0).says(&format!("leaves    {named}"));
    shown.says("outside of what it is made of").says(&format!("--to DIR --path {named}"));
    world.run(&["recover", "--yes"]).exits(0);
    assert!(world.data().join("order.txt").exists() && !beside.exists());
    // It comes by an explicit word.
    world.run(&["restore", "shop", "--to", "look", "--path", &named]).exits(0);
    assert!(world.path("look").join(named.trim_start_matches('/')).join("evil").exists());
}

#[test]
fn after_an_attack_rights_come_back_only_where_they_stood_before_and_one_word_gives_them_back() {
    let world = World::new();
    let attack = "[scenarios.attack]\ncause = \"cyberattack\"\nrestore_point = \"latest\"\n";
    world.write_plan(&world.vault("near"), &world.vault("far"), attack);
    fs::write(world.data().join("order.txt"), "the first order\n".repeat(60)).unwrap();
    let (own, evil) = (world.data().join("own"), world.data().join("evil"));
    program(&own, "what the company starts");
    world.run(&["backup"]).exits(0);
    program(&evil, "what somebody else would like to start");
    world.run(&["backup"]).exits(0);
    let points = world.points();
    let (first, second) = (points[0]["id"].as_str().unwrap(), points[1]["id"].as_str().unwrap());
    // When nobody has attacked it comes back as it was, and is said where it is root's.
    assert_eq!(book(&world, &[])["withheld"], Value::Null);
    if fs::metadata(&evil).unwrap().uid() == 0 {
        let shown = world.run(&["recover", "--dry-run"]).exits(0);
        assert!(!shown.err.contains(&format!("{} (setuid", own.display())), "{}", shown.err);
        shown.says(&format!("{} (setuid root) gives whoever starts it more", evil.display())).says(first);
    }
    let withheld = book(&world, &["--scenario", "attack"])["withheld"].clone();
    let entries = withheld["entries"].as_object().unwrap();
    assert_eq!(entries.keys().collect::<Vec<_>>(), [&evil.display().to_string()], "{withheld}");
    assert_eq!(withheld["vouched_by"], first);
    let again = format!("releve restore shop --point {second} --to / --path {}", evil.display());
    // Also what stands there already loses it.
    let recovered = world.run(&["recover", "--scenario", "attack", "--yes"]).exits(1);
    recovered.says("comes back without its rights").says("which nothing vouches for").says(&again);
    assert_eq!((mode(&own), mode(&evil)), (0o4755, 0o755));
    // The incident is open: nobody needs to name the scenario again.
    assert_eq!(book(&world, &[])["withheld"]["entries"], withheld["entries"]);
    let words: Vec<&str> = again.split(' ').skip(1).collect();
    world.run(&words).exits(0);
    assert_eq!(mode(&evil), 0o4755);
    // Of the first point nothing is from before.
    let none = book(&world, &["--scenario", "attack", "--point", first])["withheld"].clone();
    assert_eq!(
        (none["entries"].as_object().unwrap().len(), &none["vouched_by"]),
        (1, &Value::Null),
        "{none}"
    );
    world
        .run(&["recover", "--dry-run", "--scenario", "attack", "--point", first])
        .says("there is no earlier point");
}

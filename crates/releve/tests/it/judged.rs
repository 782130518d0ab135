//! One judgement of a point, from outside: every verb says the same, and a person's trust is heard by all.

use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that nobody can tell from encrypted ones, other ones for each number.
pub(crate) fn noise(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..512).flat_map(|_| next().to_le_bytes()).collect()
}

fn texts(world: &World) {
    for n in 0..40 {
        let text = format!("order {n} of the day, to be sent on\n").repeat(60);
        fs::write(world.data().join(format!("order-{n}.txt")), text).unwrap();
    }
}

fn empty(world: &World) {
    fs::remove_dir_all(world.data()).unwrap();
    fs::create_dir(world.data()).unwrap();
}

fn id(world: &World, at: usize) -> String {
    world.points()[at]["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_encryption_is_told_by_every_verb_and_taken_by_none_until_a_person_trusts_it() {
    let world = World::new();
    texts(&world);
    world.run(&["backup"]).exits(0);
    for n in 0..40 {
        fs::write(world.data().join(format!("order-{n}.txt")), noise(n + 7)).unwrap();
    }
    let made = world.run(&["backup", "--json"]).exits(1).json();
    let why = made["systems"][0]["record"]["suspicious"].as_str().unwrap().to_owned();
    // It never becomes what is usual.
    world.run(&["backup"]).exits(1).says("SUSPICIOUS").says("releve points --trust");
    let (good, bad) = (id(&world, 0), id(&world, 2));
    world.run(&["points"]).exits(1).says("SUSPICIOUS").says(&why);
    assert_eq!(world.points()[1]["rating"], "suspicious");
    let status = world.run(&["status", "--json"]).exits(1).json();
    assert_eq!(status["systems"][0]["suspicious"][0]["id"], bad.as_str());
    assert_eq!(status["systems"][0]["newest_complete"], world.points()[0]["time"]);
    world.run(&["status"]).exits(1).says("LEFT OUT").says(&bad);
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["choice"]["point"]["id"], good.as_str());
    assert_eq!(book["systems"][0]["choice"]["left_out"][0]["id"], bad.as_str());
    world.run(&["recover", "--dry-run"]).exits(0).says(&format!("--point {bad}"));
    let to = world.path("look").display().to_string();
    world.run(&["restore", "shop", "--to", &to, "--dry-run"]).exits(0).says(&good).says(&bad);
    world.run(&["recover", "--dry-run", "--point", &bad]).exits(0).says("SUSPICIOUS");
    world.run(&["prune", "--dry-run"]).exits(0).says("suspicious: shop point");

    // The one before it is as it was.
    world.run(&["points", "--trust", &bad]).exits(1).says("counts as good from now on");
    assert_eq!(world.points()[2]["rating"], "good");
    world.run(&["status"]).says("newest");
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["choice"]["point"]["id"], bad.as_str());
    fs::write(world.data().join("one more"), "as usual").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--dry-run", "--json"]).exits(0).says(&id(&world, 3));
}

#[test]
fn a_source_that_lost_nearly_everything_is_told_and_the_next_recovery_brings_it_back() {
    let world = World::new();
    empty(&world);
    for name in ["one", "two", "three"] {
        fs::write(world.data().join(name), name).unwrap();
    }
    world.run(&["backup"]).exits(0);
    for name in ["one", "two", "three"] {
        fs::remove_file(world.data().join(name)).unwrap();
    }
    for _ in 0..2 {
        let made = world.run(&["backup"]).exits(1);
        made.says("SUSPICIOUS").says("3 gone").says("lost nearly everything");
    }
    // Files that have nothing to do with it don't make up for them.
    for name in ["four", "five", "six"] {
        fs::write(world.data().join(name), "something else").unwrap();
    }
    world.run(&["backup"]).exits(1).says("still lacks 3 of the 3 files that were gone in point");
    world.run(&["recover", "--yes"]).exits(0).says("was left out");
    assert_eq!(fs::read_to_string(world.data().join("two")).unwrap(), "two");
    world.run(&["backup"]).exits(0);
    world.run(&["status"]).says("newest");
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["choice"]["point"]["id"], id(&world, 4).as_str());
    assert_eq!(book["systems"][0]["choice"]["left_out"], serde_json::json!([]));
}

#[test]
fn a_first_point_that_holds_nothing_is_told() {
    let world = World::new();
    empty(&world);
    world.run(&["backup"]).exits(1).says("is the first one, and holds nothing");
    world.run(&["recover", "--dry-run"]).exits(0).says("NO GOOD POINT IS LEFT");
}

#[test]
fn one_file_that_holds_most_of_a_system_and_is_encrypted_is_told() {
    let world = World::new();
    texts(&world);
    let image = world.data().join("disk.img");
    fs::write(&image, "a sector of a disk that a machine runs from\n".repeat(70_000)).unwrap();
    world.run(&["backup"]).exits(0);
    fs::write(&image, testkit::Random::new(5).bytes(3 << 20)).unwrap();
    let made = world.run(&["backup"]).exits(1);
    made.says("SUSPICIOUS")
        .says("has 1 file whose content became noise since the last good point")
        .says("of the bytes there were");
}

#[test]
fn half_of_the_files_deleted_and_contents_changed_behind_their_times_are_told() {
    let world = World::new();
    texts(&world);
    let file = |n: usize| world.data().join(format!("order-{n}.txt"));
    world.run(&["backup"]).exits(0);
    (0..24).for_each(|n| fs::remove_file(file(n)).unwrap());
    world.run(&["backup"]).exits(1).says("SUSPICIOUS").says("24 of 40 files (60%)");
    world.run(&["recover", "--yes"]).exits(0);
    world.run(&["backup"]).exits(0);
    // Neither noise nor a change of length, and the times say that nothing happened.
    for n in 0..40 {
        let modified = fs::metadata(file(n)).unwrap().modified().unwrap();
        let bytes: Vec<u8> = fs::read(file(n)).unwrap().iter().map(|byte| byte ^ 0x15).collect();
        fs::write(file(n), bytes).unwrap();
        fs::File::options().write(true).open(file(n)).unwrap().set_modified(modified).unwrap();
    }
    world.run(&["backup"]).exits(1).says("SUSPICIOUS").says("somebody set the times back");
}

#[test]
fn a_slow_deletion_names_where_it_began_and_last_clean_goes_before_it_whatever_else_comes() {
    let world = World::new();
    texts(&world);
    world.run(&["backup"]).exits(0);
    for n in 0..20 {
        fs::remove_file(world.data().join(format!("order-{n}.txt"))).unwrap();
        if [4, 9, 14].contains(&n) {
            world.run(&["backup"]).exits(0);
        }
    }
    let told = world.run(&["backup"]).exits(1);
    told.says("lost, with 3 points before it").says("20 of 40 files (50%)").says("; it began with point ");
    for n in 0..60 {
        fs::write(world.data().join(format!("minutes-{n}.txt")), format!("meeting {n}\n").repeat(90))
            .unwrap();
    }
    let still = world.run(&["backup"]).exits(1);
    still.says("lost, with 3 points before it").says("20 of 40 files (50%)").says("; it began with point ");
    let book = world.run(&["recover", "--scenario", "ransomware", "--dry-run", "--json"]).json();
    assert_eq!(book["systems"][0]["choice"]["point"]["id"], id(&world, 0).as_str());
}

#[test]
fn a_prune_hides_no_slow_encryption_and_an_edited_plan_no_loss() {
    let world = World::new();
    let keep = "policy.keep = { last = 1 }\n";
    world.write_plan(&world.vault("near"), &world.vault("far"), keep);
    texts(&world);
    let encrypt = |n: u64| fs::write(world.data().join(format!("order-{n}.txt")), noise(n + 7)).unwrap();
    world.run(&["backup"]).exits(0);
    for n in 0..4 {
        encrypt(n);
        world.run(&["backup"]).exits(0);
    }
    world.run(&["prune", "--yes"]).exits(0);
    encrypt(4);
    for _ in 0..2 {
        let made = world.run(&["backup"]).exits(1);
        made.says("has, with 4 points before it, 5 files").says("it began with");
        world.run(&["prune", "--yes"]).exits(0);
    }
    empty(&world);
    let source = format!("files = {{ paths = [{:?}], exclude = [\"*.tmp\"] }}", world.data());
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, keep);
    world.run(&["backup"]).exits(1).says("lost nearly everything").says("`exclude` was edited");
}

#[test]
fn a_path_that_the_plan_names_no_more_is_told_until_a_person_says_that_it_is_meant() {
    let world = World::new();
    for n in 0..60 {
        fs::write(world.data().join(format!("{n}.txt")), format!("text {n}\n").repeat(50)).unwrap();
    }
    let plan = |source: &str| world.write_plan_of(&world.vault("near"), &world.vault("far"), source, "");
    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("page"), "of something else").unwrap();
    world.run(&["backup"]).exits(0);
    let good = id(&world, 0);
    // A typo that names another folder which is there.
    plan(&format!("files = {{ paths = [{other:?}] }}"));
    let said = format!("{} is no longer captured: 60 files went with it", world.data().display());
    world.run(&["backup"]).exits(1).says(&said).says("correct `paths`");
    world.run(&["backup"]).exits(0);
    world.run(&["status"]).exits(1).says(&format!("DROPPED   {said}")).says("ALERT Something of shop");
    world.run(&["alerts"]).exits(1).says(&said);
    let way =
        format!("releve restore shop --point {} --to DIR --path {}", &good[..8], world.data().display());
    world.run(&["recover", "--dry-run"]).exits(0).says(&way);
    world.run(&["points", "--trust", &id(&world, 2)]).says("counts as good");
    assert!(!world.run(&["alerts"]).out.contains("no longer captured"));
    // A pattern that takes more than was meant.
    let texts = |more: &str| plan(&format!("files = {{ paths = [{:?}]{more} }}", world.data()));
    texts("");
    world.run(&["backup"]);
    texts(", exclude = [\"1*.txt\", \"2*.txt\"]");
    world.run(&["backup"]).exits(1).says("since `exclude` has 1*.txt, 2*.txt");
    // A system that is called otherwise is captured still; one that is taken out is not.
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    let renamed = |to: &str| text.replace("[systems.shop]", &format!("[systems.{to}]"));
    fs::write(world.path("plan.toml"), renamed("store")).unwrap();
    assert!(!world.run(&["alerts"]).out.contains("no system `shop`"));
    fs::write(world.path("plan.toml"), renamed("store").replace("data\"]", "other\"]")).unwrap();
    world.run(&["alerts"]).exits(1).says("the plan has no system `shop` any more").says("--dismiss shop");
    world.run(&["alerts", "--dismiss", "nothing"]).exits(64).says("there are: shop, agent");
    world.run(&["alerts", "--dismiss", "shop"]);
    assert!(!world.run(&["alerts"]).out.contains("no system `shop`"));
}

/// A disk below the source; it goes with the test.
struct Below(PathBuf);

impl Below {
    fn mount(place: &Path) -> Self {
        fs::create_dir(place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "testkit"]).arg(place).status().unwrap();
        assert!(mounted.success(), "a test disk is mounted by root");
        Self(place.to_owned())
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_disk_below_the_source_that_is_gone_is_told_until_a_person_trusts_that() {
    let world = World::new();
    texts(&world);
    let place = world.data().join("disk");
    let disk = Below::mount(&place);
    fs::write(place.join("order"), "to be sent on").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["backup"]).exits(0);
    drop(disk);
    let name = format!("{} was a mount of its own at the last point", place.display());
    for _ in 0..2 {
        world.run(&["backup"]).exits(1).says("SUSPICIOUS").says(&name);
    }
    let (good, bad) = (id(&world, 1), id(&world, 3));
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["choice"]["point"]["id"], good.as_str());
    world.run(&["points", "--trust", &bad]).exits(1).says("counts as good from now on");
    world.run(&["backup"]).exits(0);
    // What lay on it would come back into the folder below, out of sight.
    let name = format!("{} had a file system of its own", place.display());
    world.run(&["recover", "--dry-run", "--point", &good]).exits(0).says(&name).says("mount it first");
    let without = world.run(&["recover", "--dry-run", "--point", &bad]).exits(0);
    assert!(!without.err.contains(&name), "{}", without.err);
    world.run(&["recover", "--yes", "--point", &good]).exits(1).says(&name);
}

#[test]
fn what_has_been_mounted_where_the_point_has_something_is_said_before_a_recovery() {
    let world = World::new();
    texts(&world);
    let (file, folder) = (world.data().join("a-file"), world.data().join("a-folder"));
    fs::write(&file, "a file").unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), "and one in a folder").unwrap();
    world.run(&["backup"]).exits(0);
    fs::remove_file(&file).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let disks = [Below::mount(&file), Below::mount(&folder)];
    let stays = format!("{}: a folder on which something is mounted stays", file.display());
    let onto = format!("{} has a file system of its own mounted", folder.display());
    world.run(&["recover", "--dry-run"]).says(&stays).says(&onto);
    drop(disks);
    let without = world.run(&["recover", "--dry-run"]);
    assert!(!without.err.contains(&onto) && !without.out.contains(&onto), "{}", without.err);
}

#[test]
fn a_newer_point_that_lacks_something_is_told_by_status_until_a_whole_one_is_made() {
    let world = World::new();
    texts(&world);
    world.run(&["backup"]).exits(0);
    let more = world.path("more");
    let source = format!("files = {{ paths = [{:?}, {more:?}] }}", world.data());
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    world.run(&["backup"]).exits(1).says("INCOMPLETE");
    let lacking = id(&world, 1);
    world.run(&["status"]).exits(1).says(&format!("LEFT OUT  {lacking}")).says("not read; the first: ");
    let status = world.run(&["status", "--json"]).exits(1).json();
    let left_out = &status["systems"][0]["suspicious"];
    assert_eq!((&left_out[0]["id"], &left_out[0]["rating"]), (&lacking.into(), &"incomplete".into()));
    fs::create_dir(&more).unwrap();
    world.run(&["backup"]).exits(0);
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(status["systems"][0]["suspicious"], serde_json::json!([]));
}

//! The bad day.

use crate::world::{World, finish, hostname, same};
use std::fs;
use std::process::Command;
use testkit::tree::grow;

#[test]
fn a_recovery_shows_what_it_will_do_and_touches_nothing_until_told() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    fs::remove_file(world.data().join("a")).unwrap();
    world.run(&["recover", "--dry-run"]).exits(0).says("the newest complete point").says("replaces");
    assert!(!world.data().join("a").exists());
    world.run(&["recover"]).exits(64).says("--yes");
    assert!(!world.data().join("a").exists());
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    assert_eq!(book["systems"][0]["system"], "shop");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(fs::read_to_string(world.data().join("a")).unwrap(), "a");
}

#[test]
fn another_machine_is_refused_unless_it_stands_in() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace(&format!("name = {:?}", hostname()), "name = \"burnt\""))
        .unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("--stand-in");
    world.run(&["recover", "--yes", "--stand-in"]).exits(0);
}

#[test]
fn a_bare_machine_with_the_plan_and_the_keys_is_enough() {
    let world = World::new();
    grow(&world.data(), 51, 50);
    world.run(&["backup"]).exits(0);
    fs::rename(world.data(), world.path("what-it-was")).unwrap();
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::remove_dir_all(world.path("near")).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
    same(&world.path("what-it-was"), &world.data());
}

#[test]
fn systems_come_back_in_the_order_of_their_needs_and_are_timed_until_they_answer() {
    let world = World::new();
    let log = world.path("log");
    let record = |word: &str| format!("command = [\"sh\", \"-c\", \"echo {word} >> {}\"]", log.display());
    fs::write(world.data().join("a"), "a").unwrap();
    let more = format!(
        "needs = [\"base\"]\nrecover.stop = {{ {} }}\nrecover.start = {{ {} }}\ncheck = [{{ {} }}]\n\
         [systems.base]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{:?}] }}\n\
         recover.stop = {{ {} }}\nrecover.start = {{ {} }}\n",
        record("stop-shop"),
        record("start-shop"),
        record("check-shop"),
        world.path("base"),
        record("stop-base"),
        record("start-base"),
    );
    fs::create_dir(world.path("base")).unwrap();
    fs::write(world.path("base/settings"), "a").unwrap();
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    let told = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    let lines: Vec<String> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines, ["stop-shop", "stop-base", "start-base", "start-shop", "check-shop"]);
    for system in told["recovered"]["systems"].as_array().unwrap() {
        assert!(system["rta_seconds"].as_f64().unwrap() > 0.0, "{system}");
    }
}

#[test]
fn a_system_that_does_not_answer_is_not_back() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let more = "check = [{ command = [\"false\"], within = \"1 second\" }]";
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes"]).exits(2).says("NOT BACK").says("check failed");
    // At once, in the first line of the system, and everywhere somebody may look.
    let status = world.run(&["status"]).exits(1).says("ALERT A recovery of shop has failed");
    let mut lines = status.out.lines().skip_while(|line| !line.starts_with("!!  shop"));
    let first = lines.nth(1).unwrap();
    assert!(first.contains("NOT BACK: the recovery of shop") && first.contains("check failed"), "{first}");
    assert!(lines.next().unwrap().contains("releve recover --resume shop"), "{}", status.out);
    assert!(
        !status.out.contains("you would lose") && !status.out.contains("never recovered"),
        "{}",
        status.out
    );
    let told = world.run(&["status", "--json"]).exits(1).json();
    assert_eq!(told["systems"][0]["unfinished"]["state"], "failed");
    world.run(&["points"]).says("NOT BACK: the recovery of shop");
    world.run(&["alerts"]).exits(1).says("A recovery of shop has failed").says("--forget shop");
    world.run(&["incident", "open", "--scenario", "hardware-failure", "shop", "--quiet"]).exits(0);
    world.run(&["incident", "show"]).exits(0).says("NOT BACK: the recovery of shop");
    world.run(&["recover", "--forget"]).exits(0);
    world.run(&["alerts"]).exits(0).says("nothing is wrong");
    assert!(!world.run(&["status"]).out.contains("NOT BACK"));
}

#[test]
fn what_people_must_do_is_asked_and_never_taken_for_done() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let more = "[scenarios.attack]\ncause = \"cyberattack\"\nrestore_point = \"last clean\"\nisolate = [\"server\"]\n\
        before = [{ ask = \"Unplug the switch\", who = \"claire\" }]";
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    world.run(&["backup"]).exits(0);
    world
        .run(&["recover", "--scenario", "attack", "--yes"])
        .exits(1)
        .says("not confirmed: Claire: Unplug the switch")
        .says("cut server off");
}

#[test]
fn nothing_to_restore_from_is_said_before_anything_is_touched() {
    let world = World::new();
    world.run(&["recover", "--yes"]).exits(2).says("no restore point");
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--yes", "--point", "deadbeef"]).exits(2);
    let unknown = finish(&mut world.command(&["recover", "--yes", "--before", "yesterday"]));
    assert_eq!(unknown.code, 64, "{}", unknown.err);
}

#[test]
fn a_plan_that_names_other_paths_than_the_point_holds_is_said_before_anything_is_touched() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let named = |paths: &[std::path::PathBuf]| {
        let one = format!("paths = [{:?}]", world.data());
        assert!(plan.contains(&one), "{plan}");
        fs::write(world.path("plan.toml"), plan.replace(&one, &format!("paths = {paths:?}"))).unwrap();
    };
    let (typo, data) = (world.path("datas"), world.data());
    fs::remove_file(data.join("a")).unwrap();
    named(std::slice::from_ref(&typo));
    let said = format!("the plan names {}, the point holds {}", typo.display(), data.display());
    world.run(&["recover", "--dry-run"]).exits(2).says(&said).says("correct `paths`");
    world.run(&["recover", "--yes"]).exits(2).says("releve restore shop --to DIR --path");
    world.run(&["check"]).exits(1).says("other-paths");
    assert!(!data.join("a").exists() && !typo.exists());
    named(&[data.clone(), typo.clone()]);
    let one = format!("the plan names {}, which the point does not hold", typo.display());
    world.run(&["recover", "--dry-run"]).exits(0).says(&one);
    named(std::slice::from_ref(&data));
    world.run(&["recover", "--yes"]).exits(0);
    assert!(data.join("a").exists());
}

/// A world whose data lie behind what is a link to a folder that isn't there by now, and which notes when something is stopped.
fn behind_a_dead_link() -> (World, std::path::PathBuf) {
    let world = World::new();
    let app = world.path("srv/app");
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("a"), "a").unwrap();
    let more = format!("recover.stop = {{ command = [\"touch\", {:?}] }}\n", world.path("stopped"));
    let source = format!("files = {{ paths = [{app:?}] }}");
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, &more);
    world.run(&["backup"]).exits(0);
    fs::rename(world.path("srv"), world.path("what-it-was")).unwrap();
    std::os::unix::fs::symlink("/releve-not-mounted", world.path("srv")).unwrap();
    (world, app)
}

#[test]
fn a_link_that_leads_nowhere_is_named_before_anything_is_stopped() {
    let (world, app) = behind_a_dead_link();
    let said = format!("{}: a link to /releve-not-mounted stays", world.path("srv").display());
    for how in ["--dry-run", "--yes"] {
        world.run(&["recover", how]).exits(2).says(&said).says("mount what belongs there");
    }
    assert!(!world.path("stopped").exists(), "nothing is begun that can't end");
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(2).json();
    assert!(book["blockers"][0].as_str().unwrap().contains("/releve-not-mounted"), "{book}");
    fs::remove_file(world.path("srv")).unwrap();
    world.run(&["recover", "--yes"]).exits(0);
    assert!(app.join("a").exists() && world.path("stopped").exists());
}

#[test]
fn where_a_step_may_mount_what_is_missing_a_dead_link_is_the_reason_and_not_the_point() {
    let (world, _) = behind_a_dead_link();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace("recover.stop", "recover.before = [{ run = [\"true\"] }]\nrecover.stop");
    fs::write(world.path("plan.toml"), plan).unwrap();
    let run = world.run(&["recover", "--yes"]).exits(2);
    let said =
        format!("{}: it is a link to /releve-not-mounted, which isn't there", world.path("srv").display());
    let run = run.says(&said);
    assert!(!run.out.contains("does not hold it") && !run.err.contains("does not hold it"), "{}", run.out);
}

#[test]
fn programs_that_a_recovery_runs_and_that_are_not_here_are_named_beforehand() {
    let world = World::new();
    let more = "recover.start = { command = [\"releve-no-such-program\"] }\n";
    world.write_plan(&world.vault("near"), &world.vault("far"), more);
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["recover", "--dry-run"]).exits(0).says("the program releve-no-such-program isn't here");
}

#[test]
fn a_recovery_writes_nothing_that_the_plan_does_not_name_any_more_and_says_so() {
    let world = World::new();
    let (src, extra) = (world.data().join("src"), world.data().join("extra"));
    let names = |paths: &[&std::path::Path]| {
        let source = format!("files = {{ paths = {paths:?} }}");
        world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    };
    for folder in [&src, &extra] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a"), "as it was").unwrap();
    }
    names(&[&src, &extra]);
    world.run(&["backup"]).exits(0);
    names(&[&src]);
    fs::write(src.join("a"), "broken").unwrap();
    fs::write(extra.join("a"), "new work of today").unwrap();
    let left = format!("--path {}", extra.display());
    world.run(&["recover", "--dry-run"]).exits(0).says(&left).says("is left as it is").says("leaves");
    let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
    let system = &book["systems"][0];
    assert_eq!(system["left"], serde_json::json!([extra]));
    let standing: Vec<_> =
        system["standing"].as_array().unwrap().iter().map(|there| &there["path"]).collect();
    assert_eq!(standing, [&serde_json::json!(src)]);
    world.run(&["recover", "--yes"]).exits(0).says(&left);
    assert_eq!(fs::read_to_string(src.join("a")).unwrap(), "as it was");
    assert_eq!(fs::read_to_string(extra.join("a")).unwrap(), "new work of today");
    // Beside nothing is overwritten, and all of it comes.
    let beside = world.path("beside");
    world.run(&["recover", "--yes", "--to", beside.to_str().unwrap()]).exits(0).says("comes beside");
    assert_eq!(fs::read_to_string(world.restored("beside").join("extra/a")).unwrap(), "as it was");
    // And the way that was named brings it.
    let point = world.points()[0]["id"].as_str().unwrap().to_owned();
    let path = extra.to_str().unwrap().to_owned();
    world.run(&["restore", "shop", "--point", &point, "--to", "/", "--path", &path]).exits(0);
    assert_eq!(fs::read_to_string(extra.join("a")).unwrap(), "as it was");
}

#[test]
fn what_a_recovery_went_back_behind_is_not_brought_back_by_the_next_one() {
    let world = World::new();
    let page = world.data().join("index.html");
    let backup = |content: &str| {
        fs::write(&page, content).unwrap();
        world.run(&["backup"]).exits(0);
        world.points().last().unwrap()["id"].as_str().unwrap().to_owned()
    };
    let good = backup("it works");
    let bad = backup("a bad upgrade");
    let looked = world.path("look").display().to_string();
    // A look beside goes back behind nothing.
    world.run(&["recover", "--yes", "--to", &looked, "--point", &good]).exits(0);
    let taken = || {
        let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
        book["systems"][0]["choice"]["point"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(taken(), bad);
    let back = world.run(&["recover", "--yes", "--point", &good]).exits(0);
    back.says("it went back").says("releve backup shop");
    assert_eq!(fs::read_to_string(&page).unwrap(), "it works");
    assert_eq!(taken(), good);
    // An instant from after it is of what was chosen then, whatever recovery comes since.
    let then = jiff::Timestamp::now().to_string();
    let as_of_then = || {
        let book = world.run(&["recover", "--dry-run", "--json", "--before", &then]).exits(0).json();
        book["systems"][0]["choice"]["point"]["id"].as_str().unwrap().to_owned()
    };
    assert_eq!(as_of_then(), good);
    world.run(&["recover", "--dry-run"]).exits(0).says("went back before it").says("points --trust");
    world.run(&["status"]).exits(1).says("NEEDED").says("releve backup shop");
    world.run(&["points"]).exits(1).says("went back before it");
    assert_eq!(world.points()[1]["rating"], "suspicious");
    // The next point ends it.
    let since = backup("it works, and more");
    assert_eq!(taken(), since);
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(as_of_then(), good);
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(status["systems"][0]["went_back"], serde_json::Value::Null);
    assert_eq!(status["systems"][0]["suspicious"], serde_json::json!([]));
    world.run(&["points", "--trust", &bad]).exits(0);
    assert_eq!(world.points()[1]["rating"], "good");
}

#[test]
fn a_recovery_of_an_incomplete_point_names_what_it_lacks_beforehand_and_ends_with_1() {
    let world = World::new();
    let loaded = world.path("loaded");
    let source = format!(
        r#"command = {{ dump = ["sh", "-c", "echo half; exit 3"], load = ["sh", "-c", "cat > {}"] }}"#,
        loaded.display()
    );
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    world.run(&["backup"]).exits(1).says("INCOMPLETE");
    let lacks = "not whole in the point: ";
    world.run(&["recover", "--dry-run"]).exits(0).says(lacks).says("exited with status 3");
    let recovered = world.run(&["recover", "--yes", "--json"]).exits(1).json();
    let findings = recovered["recovered"]["systems"][0]["findings"].to_string();
    assert!(findings.contains(lacks) && findings.contains("exited with status 3"), "{findings}");
    assert_eq!(fs::read_to_string(loaded).unwrap(), "half\n");
}

#[test]
fn a_database_that_only_its_application_can_check_is_backed_up_and_comes_back() {
    let world = World::new();
    let database = world.path("own.db");
    for (index, own) in [("abs(a)", "abs"), ("a COLLATE nocase", "nocase")] {
        let sql = format!(
            "CREATE TABLE t (a); CREATE INDEX i ON t ({index}); INSERT INTO t VALUES (1), (2);
             PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{own}', 'own_thing');"
        );
        let made = Command::new("sqlite3").arg(&database).arg(sql).status().unwrap();
        assert!(made.success());
        let source = format!("sqlite = {{ path = {database:?} }}");
        world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
        world.run(&["backup"]).exits(0).says("could not be checked whole").says("own_thing");
        let before = fs::read(&database).unwrap();
        fs::remove_file(&database).unwrap();
        world.run(&["recover", "--yes"]).exits(0);
        assert_eq!(fs::read(&database).unwrap().len(), before.len());
        fs::remove_file(&database).unwrap();
    }
}

//! Whom the program believes: a plan and secrets that somebody else could have written are refused, told and not taken over, and a person's word lets them in.

use crate::world::{World, finish};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::wait_until;

const SOON: Duration = Duration::from_secs(30);
const NOBODY: u32 = 65_534;

/// Why it isn't believed, whether doing that takes root, what is done, and how it is undone.
type Case<'a> = (&'a str, bool, &'a dyn Fn(), &'a dyn Fn());

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Puts a plan in the place of the one of now that somebody else could have written.
fn edit_as_somebody_else(world: &World, from: &str, to: &str) {
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    assert!(text.contains(from));
    fs::write(world.path("plan.new"), text.replace(from, to)).unwrap();
    mode(&world.path("plan.new"), 0o666);
    fs::rename(world.path("plan.new"), world.path("plan.toml")).unwrap();
}

fn points(world: &World) -> usize {
    let run = world.run(&["points", "--json", "--trust-plan"]);
    if run.code == 2 { 0 } else { run.json()["points"].as_array().unwrap().len() }
}

#[test]
fn a_plan_or_a_secret_that_somebody_else_could_have_written_is_refused_and_a_finding() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let (plan, key, folder) = (world.path("plan.toml"), world.path("near.key"), world.path(""));
    let plans: [Case<'_>; 4] = [
        ("everybody can write to", false, &|| mode(&plan, 0o666), &|| mode(&plan, 0o644)),
        ("user 65534", true, &|| chown(&plan, Some(NOBODY), None).unwrap(), &|| {
            chown(&plan, Some(0), None).unwrap();
        }),
        ("user 65534", true, &|| chown(&folder, Some(NOBODY), None).unwrap(), &|| {
            chown(&folder, Some(0), None).unwrap();
        }),
        ("everybody can write to", true, &|| mode(&folder, 0o777), &|| mode(&folder, 0o700)),
    ];
    for (why, takes_root, change, undo) in plans {
        if takes_root && !is_root() {
            continue;
        }
        change();
        world.run(&["points"]).exits(2).says("is not believed").says(why).says("--trust-plan");
        world.run(&["isolate", "--dry-run"]).exits(2).says("is not believed");
        world.run(&["check"]).exits(1).says("others-write").says(why);
        world.run(&["points", "--trust-plan"]).exits(0).says("is followed as it is (--trust-plan)").says(why);
        undo();
        world.run(&["points"]).exits(0);
    }
    mode(&key, 0o666);
    let refused = world.run(&["backup"]).says("is not believed");
    assert_ne!(refused.code, 0);
    world.run(&["check"]).exits(1).says("others-write").says("near.key");
    world.run(&["key", "check", "--password-file", "near.key"]).exits(2).says("is not believed");
    world.run(&["backup", "--trust-plan"]).exits(0).says("is taken as it is (--trust-plan)");
    // Whoever gets to it can read it: said, and no reason to be without a backup.
    mode(&key, 0o644);
    assert!(!world.run(&["backup"]).exits(0).err.contains("can read the secret"));
    mode(&folder, 0o711);
    world.run(&["backup"]).exits(0).says("everybody on this machine can read the secret");
    world.run(&["check"]).exits(1).says("others-read");
    assert!(
        is_root(),
        "the rest is as it should be; what takes another user's files takes root: run the tests as root"
    );
}

#[test]
fn a_state_that_somebody_else_could_have_a_hand_in_is_refused_and_no_link_in_it_is_followed() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    let state = world.path("state");
    let cases: [Case<'_>; 4] = [
        ("everybody can write to", false, &|| mode(&state, 0o777), &|| mode(&state, 0o700)),
        // Who may not remove what is there may still put a link where nothing is.
        ("everybody can write to", false, &|| mode(&state, 0o1777), &|| mode(&state, 0o700)),
        ("the group 65534 can write", true, &|| group(&state, 0o770), &|| mode(&state, 0o700)),
        ("user 65534", true, &|| chown(&state, Some(NOBODY), None).unwrap(), &|| {
            chown(&state, Some(0), None).unwrap();
        }),
    ];
    for (why, takes_root, change, undo) in cases {
        if takes_root && !is_root() {
            continue;
        }
        change();
        for verb in ["backup", "status"] {
            world.run(&[verb]).exits(2).says("the state in").says("is not believed").says(why);
        }
        world.run(&["check"]).exits(1).says("others-write").says("the state in");
        world.run(&["points", "--trust-plan"]).exits(0).says("is taken as it is (--trust-plan)").says(why);
        undo();
        world.run(&["points"]).exits(0);
    }
    let file = state.join("state.db");
    mode(&file, 0o666);
    world.run(&["status"]).exits(2).says("state.db").says("everybody can write to it");
    mode(&file, 0o600);
    // What this program makes itself is never refused by it, whatever the umask.
    let made = world.command(&["status"]);
    let mut open = Command::new("/bin/sh");
    open.args(["-c", "umask 000; exec \"$0\" \"$@\" status"]).arg(made.get_program());
    open.arg("--plan").arg(world.path("plan.toml")).arg("--state").arg(world.path("made/new/state"));
    for (name, value) in made.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        open.env(name, value);
    }
    let status = finish(open.current_dir(world.path("")).stdin(Stdio::null()));
    assert!(!status.err.contains("is not believed"), "{}", status.err);
    for (folder, bits) in [("made", 0o755), ("made/new", 0o755), ("made/new/state", 0o700)] {
        let found = fs::metadata(world.path(folder)).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, bits, "{folder}");
    }
    fs::rename(&state, world.path("before")).unwrap();
    fs::create_dir(&state).unwrap();
    for name in ["state.db", "state.lock", "state.db-wal"] {
        std::os::unix::fs::symlink(world.path("victim"), state.join(name)).unwrap();
        let backup = world.run(&["backup"]).says(name).says("it is a link");
        assert_ne!(backup.code, 0);
        assert!(!world.path("victim").exists(), "{name}");
        fs::remove_file(state.join(name)).unwrap();
    }
    fs::remove_dir_all(&state).unwrap();
    fs::rename(world.path("before"), &state).unwrap();
    world.run(&["points"]).exits(0);
}

/// Gives a folder to a group that isn't root's.
fn group(path: &Path, bits: u32) {
    chown(path, None, Some(NOBODY)).unwrap();
    mode(path, bits);
}

#[test]
fn an_edit_by_somebody_else_is_told_and_the_agent_goes_by_the_plan_from_before_until_it_is_accepted() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    let said = || fs::read_to_string(world.path("said")).unwrap();
    let mut agent = world
        .command(&["agent"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(world.path("said")).unwrap())
        .spawn()
        .unwrap();
    assert!(wait_until(SOON, || points(&world) == 1));
    edit_as_somebody_else(&world, "every = \"1 hour\"", "every = \"2 seconds\"");
    assert!(wait_until(SOON, || said().contains("is not the plan that was accepted")), "{}", said());
    world.run(&["status"]).exits(1).says("Somebody has changed the plan").says("releve plan accept");
    world.run(&["alerts", "--json"]).exits(1).says("\"plan\"");
    testkit::pause(Duration::from_secs(2));
    assert_eq!(points(&world), 1);
    // Nobody is there to say yes; what it would be is shown.
    world.run(&["plan", "accept"]).exits(64).says("- every = \"1 hour\"").says("+ every = \"2 seconds\"");
    assert_eq!(points(&world), 1);
    world.run(&["plan", "accept", "--yes"]).exits(0).says("accepted: ");
    world.run(&["plan", "accept"]).exits(0).says("accepted already");
    assert!(wait_until(SOON, || said().contains("the plan has changed: taken over")), "{}", said());
    assert!(wait_until(SOON, || points(&world) >= 2));
    // What was accepted is followed by every verb, whoever could write there.
    world.run(&["points"]).exits(0);
    let stop = Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
    assert!(stop.success() && agent.wait().unwrap().success());
    // Nor does a new start take it over, with whatever word it is started.
    edit_as_somebody_else(&world, "every = \"2 seconds\"", "every = \"3 seconds\"");
    world.run(&["agent", "--once"]).says("stays in force");
    world.run(&["--trust-plan", "agent", "--once"]).says("stays in force");
    // Nor does whoever only shuts the file: what is in it is somebody else's all the same.
    mode(&world.path("plan.toml"), 0o644);
    world.run(&["agent", "--once"]).says("stays in force");
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), text.replace("every = \"3 seconds\"", "every = \"4 seconds\""))
        .unwrap();
    let own = world.run(&["agent", "--once"]);
    assert!(!own.err.contains("stays in force"), "{}", own.err);
    let state = state::State::open(&world.path("state")).unwrap();
    let how: Vec<String> = state
        .records()
        .unwrap()
        .into_iter()
        .filter_map(|record| match record.body {
            state::Body::Plan(accepted) => Some(accepted.how),
            _ => None,
        })
        .collect();
    assert_eq!(how, ["first", "said", "own"]);
}

#[test]
fn what_is_told_of_a_plan_is_over_once_it_is_its_owners_again_also_without_an_agent_and_that_of_another_stays()
 {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["agent", "--once"]);
    edit_as_somebody_else(&world, "every = \"1 hour\"", "every = \"2 hours\"");
    world.run(&["alerts"]).exits(1).says("Somebody has changed the plan");
    let state = || state::State::open(&world.path("state")).unwrap();
    let seen = Some(("changed", false));
    for sign in ["plan/edited//elsewhere/plan.toml", "plan/edited"] {
        state().note_sign(sign, seen, jiff::Timestamp::now()).unwrap();
    }
    mode(&world.path("plan.toml"), 0o644);
    let text = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), text.replace("every = \"2 hours\"", "every = \"3 hours\"")).unwrap();
    world.run(&["status"]);
    // What an older program told of all plans at once goes with it.
    let left: Vec<String> = state().signs("plan/edited").unwrap().into_keys().collect();
    assert_eq!(left, ["//elsewhere/plan.toml"]);
}

#[test]
fn the_first_start_with_a_plan_of_somebody_elses_takes_a_persons_word() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    mode(&world.path("plan.toml"), 0o666);
    world.run(&["agent", "--once"]).exits(2).says("releve plan accept");
    assert_eq!(points(&world), 0);
    world.run(&["--trust-plan", "agent", "--once"]).exits(0);
    assert_eq!(points(&world), 1);
    edit_as_somebody_else(&world, "every = \"1 hour\"", "every = \"2 seconds\"");
    world.run(&["--trust-plan", "agent", "--once"]).says("stays in force");
    assert_eq!(points(&world), 1);
}

#[test]
fn a_check_refuses_what_use_would_refuse() {
    let world = World::new();
    let cases = [
        ("s3://b?endpoint=http://s3.example", "without TLS"),
        ("s3://b?endpoint=https://s3.example&regoin=x", "regoin"),
        ("sftp://-oProxyCommand=x/y", "is not the name of a host"),
    ];
    for (near, why) in cases {
        world.write_plan(near, &world.vault("far"), "");
        for arguments in [&["check"][..], &["check", "--offline"]] {
            world.run(arguments).exits(65).says("bad-url").says(why);
        }
    }
    let source = format!("files = {{ paths = [\"{}/../data\"] }}", world.data().display());
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
    world.run(&["check"]).exits(65).says("bad-source").says("contains `..`");
}

/// Only where the machine has no plan of its own.
#[test]
fn root_is_told_which_plan_is_taken_where_none_was_named() {
    if Path::new("/etc/releve/plan.toml").exists() {
        return;
    }
    let world = World::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_releve"));
    command.current_dir(world.path("")).arg("--state").arg(world.path("state")).args(["check", "--offline"]);
    let run = finish(&mut command).exits(0);
    assert_eq!(run.err.contains("the plan is /"), is_root(), "{}", run.err);
}

//! Keys as people handle them: the drill of a lost password, rotation, the safe.

use crate::oracle::s3_world;
use crate::world::{PASSWORD, Run, World, finish, same};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Restic, S3Server, free_port, pause};

const SAFE: &str = "what lies in the safe since spring, as long as they come";
const NEW: &str = "what nobody has ever heard before, as long as they come";

/// A world with a point in both vaults, and files with other passwords beside.
fn world() -> World {
    let world = World::new();
    fs::write(world.data().join("a"), "what the company needs").unwrap();
    world.secret("safe", &format!("{SAFE}\n"));
    world.secret("new", &format!("{NEW}\n"));
    world.run(&["backup"]).exits(0);
    world
}

fn restic_opens(world: &World, vault: &str, password: &str) -> bool {
    Restic::new(world.path(vault).display().to_string(), password).run(&["snapshots"]).success
}

/// Runs the program with this on its standard input.
fn fed(world: &World, arguments: &[&str], input: &str) -> Run {
    let mut command = world.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

fn key_of(world: &World, vault: &str) -> String {
    let told = world.run(&["key", "list", "--json", "--vault", vault]).exits(0).json();
    let keys = told["vaults"][0]["keys"].as_array().unwrap().clone();
    let in_use = keys.iter().find(|key| key["in_use"] == true).unwrap();
    in_use["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_drill_of_a_lost_password_file_ends_with_the_system_back() {
    let world = world();
    for vault in ["near", "far"] {
        world
            .run(&["key", "add", "--vault", vault, "--new-password-file", "safe"])
            .exits(0)
            .says("added, and opened");
    }
    // The machine is gone: its passwords, its state, its data.
    for gone in ["near.key", "far.key"] {
        fs::remove_file(world.path(gone)).unwrap();
    }
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::rename(world.data(), world.path("what-it-was")).unwrap();
    world.run(&["recover", "--yes"]).exits(2).says("near.key");
    world
        .run(&["key", "check", "--password-file", "safe"])
        .exits(0)
        .says("near: opens")
        .says("far: opens")
        .says("1 point,");
    for vault in ["near", "far"] {
        let key = format!("{vault}.key");
        world.run(&["key", "generate", "--to", &key]).exits(0);
        world
            .run(&["key", "add", "--vault", vault, "--password-file", "safe", "--new-password-file", &key])
            .exits(0);
        assert!(restic_opens(&world, vault, fs::read_to_string(world.path(&key)).unwrap().trim()));
    }
    world.run(&["recover", "--yes"]).exits(0);
    same(&world.path("what-it-was"), &world.data());
    world.run(&["backup"]).exits(0);
}

#[test]
fn the_drill_of_every_password_lost_ends_with_the_system_back() {
    let world = world();
    world
        .run(&["key", "export", "--vault", "far", "--to", "far.master"])
        .exits(0)
        .says("opened the vault with it");
    for gone in ["near.key", "far.key"] {
        fs::remove_file(world.path(gone)).unwrap();
    }
    // The near vault is lost, and an intruder has removed the keys of the far one.
    for gone in ["state", "near", "far/keys"] {
        fs::remove_dir_all(world.path(gone)).unwrap();
    }
    fs::rename(world.data(), world.path("what-it-was")).unwrap();
    fs::write(world.path("far.key"), PASSWORD).unwrap();
    world.run(&["key", "list", "--vault", "far"]).exits(1).says("key add --master");
    fs::remove_file(world.path("far.key")).unwrap();
    world
        .run(&["key", "check", "--master", "far.master", "--vault", "far"])
        .exits(0)
        .says("opens with the master key");
    // It was typed from paper: only the lines, in capitals.
    let paper = fs::read_to_string(world.path("far.master")).unwrap();
    let typed: Vec<_> =
        paper.lines().filter(|line| line.trim().starts_with("key ")).map(str::to_uppercase).collect();
    fs::write(world.path("typed"), typed.join("\n")).unwrap();
    world.run(&["key", "generate", "--to", "far.key"]).exits(0);
    world
        .run(&["key", "add", "--vault", "far", "--master", "typed", "--new-password-file", "far.key"])
        .exits(0);
    world.run(&["recover", "--yes"]).exits(0);
    same(&world.path("what-it-was"), &world.data());
    let restic = Restic::new(
        world.path("far").display().to_string(),
        fs::read_to_string(world.path("far.key")).unwrap().trim(),
    );
    restic.must(&["check", "--read-data"]);
}

#[test]
fn check_says_of_each_vault_whether_it_opens_and_needs_no_password_file() {
    let world = world();
    world.run(&["key", "list"]).exits(0).says("NEVER CHECKED");
    for gone in ["near.key", "far.key"] {
        fs::rename(world.path(gone), world.path(&format!("{gone}.away"))).unwrap();
    }
    world.run(&["key", "check", "--password-file", "near.key.away"]).exits(0).says("far: opens");
    let wrong = world.run(&["key", "check", "--password-file", "safe", "--json"]).exits(1);
    assert_eq!(wrong.err, "");
    for vault in wrong.json()["vaults"].as_array().unwrap() {
        assert_eq!(vault["opens"], false);
        assert!(vault["failure"].as_str().unwrap().contains("wrong password"), "{vault}");
    }
    fs::rename(world.path("far"), world.path("unplugged")).unwrap();
    world
        .run(&["key", "check", "--password-file", "near.key.away"])
        .exits(2)
        .says("near: opens")
        .says("could not be asked");
    fs::rename(world.path("unplugged"), world.path("far")).unwrap();
    world.run(&["key", "check", "--password-file", "missing"]).exits(2).says("missing");
    world.run(&["key", "check"]).exits(64).says("nobody is there");
    for gone in ["near.key", "far.key"] {
        fs::rename(world.path(&format!("{gone}.away")), world.path(gone)).unwrap();
    }
    // The failed checks after it are told apart from the good one, and removal of the key makes it void.
    world.run(&["key", "list"]).exits(0).says("last seen to open it");
    world.run(&["key", "rotate", "--vault", "near", "--new-password-file", "new"]).exits(0);
    let told = world.run(&["key", "list", "--json"]).exits(0).json();
    assert!(told["vaults"][1]["vault"] == "near" && told["vaults"][1]["checked"].is_null(), "{told}");
    assert!(told["vaults"][0]["checked"].is_string(), "{told}");
    world.run(&["state", "verify"]).exits(0);
}

#[test]
fn a_vault_that_opens_and_can_not_be_read_is_a_finding() {
    let world = world();
    for folder in ["index", "snapshots"] {
        for path in crate::world::files(&world.path("near").join(folder)) {
            fs::write(path, "this is not what was written").unwrap();
        }
    }
    world
        .run(&["key", "check", "--password-file", "near.key", "--vault", "near"])
        .exits(1)
        .says("could not be read");
    world
        .run(&["key", "list"])
        .exits(0)
        .says("near: whether the secret in the safe opens it was NEVER CHECKED");
}

#[test]
fn a_master_key_opens_its_own_vault_and_says_which() {
    let world = world();
    world.run(&["key", "export", "--vault", "near", "--to", "m"]).exits(0);
    let told = world.run(&["key", "check", "--master", "m", "--json"]).exits(0).json();
    assert!(told["vaults"][1]["opens"] == true && told["vaults"][0]["opens"] == false, "{told}");
    world
        .run(&["key", "check", "--master", "m", "--vault", "far"])
        .exits(1)
        .says("does not open")
        .says("the paper says");
    let paper = fs::read_to_string(world.path("m")).unwrap();
    let line = paper.lines().find(|line| line.trim().starts_with("key 4")).unwrap();
    let letter = line.chars().nth(9).unwrap();
    let other = if letter == '7' { '8' } else { '7' };
    // By its place: the same letter may stand in the words before.
    let slip: String = line.chars().enumerate().map(|(at, own)| if at == 9 { other } else { own }).collect();
    fs::write(world.path("slip"), paper.replace(line, &slip)).unwrap();
    world.run(&["key", "check", "--master", "slip"]).exits(2).says("line 4 of the key has a slip in it");
    fs::write(world.path("slip"), paper.replace(line, "")).unwrap();
    world.run(&["key", "check", "--master", "slip"]).exits(2).says("line 4 of the key is missing");
}

#[test]
fn an_export_is_for_its_owner_alone_and_never_written_over() {
    let world = world();
    let told = world.run(&["key", "export", "--vault", "near", "--to", "m", "--json"]).exits(0);
    assert_eq!(told.err, "");
    let paper = fs::read_to_string(world.path("m")).unwrap();
    assert_eq!(fs::metadata(world.path("m")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        paper.contains("near")
            && paper.contains("releve key add")
            && paper.lines().all(|line| line.chars().count() <= 80)
    );
    let repository = told.json()["repository"].as_str().unwrap().to_owned();
    assert!(paper.contains(&repository));
    for line in paper.lines().filter(|line| line.trim().starts_with("key ")) {
        assert!(!told.out.contains(&line.trim()[8..]), "the secret is in the document");
    }
    world.run(&["key", "export", "--vault", "near", "--to", "m"]).exits(2).says("never written over");
    assert_eq!(fs::read_to_string(world.path("m")).unwrap(), paper);
    world.run(&["key", "export", "--to", "n"]).exits(64).says("--vault NAME");
}

#[test]
fn a_rotation_puts_the_new_password_where_the_plan_has_it() {
    let world = world();
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(world.path("near.key"), mode).unwrap();
    let old = key_of(&world, "near");
    world
        .run(&["key", "rotate", "--vault", "near", "--new-password-file", "new", "--dry-run"])
        .exits(0)
        .says("would be replaced");
    assert_eq!(key_of(&world, "near"), old);
    let told =
        world.run(&["key", "rotate", "--vault", "near", "--new-password-file", "new", "--json"]).exits(0);
    assert_eq!(told.err, "");
    assert_eq!(told.json()["vaults"][0]["old"], old.as_str());
    assert_eq!(fs::read_to_string(world.path("near.key")).unwrap().trim(), NEW);
    assert_eq!(fs::metadata(world.path("near.key")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(restic_opens(&world, "near", NEW) && !restic_opens(&world, "near", PASSWORD));
    assert!(restic_opens(&world, "far", PASSWORD), "the other vault is as it was");
    world.run(&["backup"]).exits(0);
    world.restores_whole("out");
    world
        .run(&["key", "rotate", "--vault", "near", "--new-password-file", "new"])
        .exits(2)
        .says("the one in use");
}

#[test]
fn a_rotation_killed_at_any_instant_leaves_the_machine_a_way_in_and_goes_on() {
    let world = world();
    let words = |round: usize| format!("the password of round {round}, as long as they come");
    let rotate = ["key", "rotate", "--vault", "near", "--new-password-file", "next"];
    fs::write(world.path("next"), words(0)).unwrap();
    let begun = Instant::now();
    world.run(&rotate).exits(0);
    let whole = begun.elapsed();
    const KILLS: usize = 6;
    for round in 1..=2 * KILLS {
        fs::write(world.path("next"), words(round)).unwrap();
        let old = fs::read_dir(world.path("near/keys")).unwrap().next().unwrap().unwrap().path();
        let mut child = world.start(&rotate);
        if round <= KILLS {
            pause(whole.mul_f64(round as f64 / KILLS as f64));
        } else {
            // The old key is gone, and the lock most often is not.
            while old.exists() && child.try_wait().unwrap().is_none() {}
        }
        let _ = child.kill();
        child.wait().unwrap();
        world.run(&["points"]).exits(0);
        let again = world.run(&rotate);
        assert!(again.code == 0 || again.err.contains("the one in use"), "{}", again.err);
        assert!(
            restic_opens(&world, "near", &words(round)) && !restic_opens(&world, "near", &words(round - 1))
        );
        // What a killed writer left half-written has a name of its own, and is no key.
        let is_key = |name: &std::ffi::OsString| name.len() == 64;
        let names = fs::read_dir(world.path("near/keys")).unwrap().map(|entry| entry.unwrap().file_name());
        let keys: Vec<_> = names.filter(is_key).collect();
        assert_eq!(keys.len(), 1, "{keys:?}: {}", again.err);
    }
    world.restores_whole("out");
}

#[test]
fn a_password_that_is_not_in_a_file_is_not_pulled_from_under_the_machine() {
    let world = world();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let file = format!("password = {{ file = {:?} }}", world.path("near.key"));
    fs::write(world.path("plan.toml"), plan.replace(&file, "password = { env = \"NEAR\" }")).unwrap();
    let with = |password: &str, arguments: &[&str]| finish(world.command(arguments).env("NEAR", password));
    let rotate = ["key", "rotate", "--vault", "near", "--new-password-file", "new"];
    with(PASSWORD, &rotate).exits(1).says("the old key stays").says("releve key remove");
    with(PASSWORD, &["points"]).exits(0);
    // From the safe's side, too: the key that the plan still opens with is not removed.
    let not_yet =
        ["key", "rotate", "--vault", "near", "--password-file", "new", "--new-password-file", "new"];
    with(PASSWORD, &not_yet).exits(2).says("the plan's password opens");
    with(NEW, &rotate).exits(0).says("the old one is gone");
    with(NEW, &["points"]).exits(0);
    assert!(!restic_opens(&world, "near", PASSWORD));
}

#[test]
fn vaults_that_share_a_password_file_are_rotated_together_or_not_at_all() {
    let world = world();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace("far.key", "near.key")).unwrap();
    let one = ["key", "rotate", "--vault", "near", "--new-password-file", "new"];
    world.run(&one).exits(64).says("--vault near --vault far");
    assert_eq!(fs::read_to_string(world.path("near.key")).unwrap(), PASSWORD);
    fs::rename(world.path("far"), world.path("unplugged")).unwrap();
    let both = [&one[..], &["--vault", "far"]].concat();
    world.run(&both).exits(2).says("the old key stays");
    assert_eq!(fs::read_to_string(world.path("near.key")).unwrap(), PASSWORD);
    fs::rename(world.path("unplugged"), world.path("far")).unwrap();
    world.run(&both).exits(0);
    world.run(&["points"]).exits(0);
    assert!(
        ["near", "far"]
            .iter()
            .all(|vault| restic_opens(&world, vault, NEW) && !restic_opens(&world, vault, PASSWORD))
    );
}

#[test]
fn a_key_is_removed_by_name_after_being_shown_and_never_the_one_in_use() {
    let world = world();
    let in_use = key_of(&world, "near");
    let added = world
        .run(&["key", "add", "--vault", "near", "--new-password-file", "safe", "--json"])
        .exits(0)
        .json();
    let id = added["vaults"][0]["key"].as_str().unwrap();
    let remove = ["key", "remove", &id[..8], "--vault", "near"];
    world.run(&remove).exits(64).says("--yes");
    world.run(&[&remove[..], &["--dry-run"]].concat()).exits(0).says("would be removed");
    assert!(restic_opens(&world, "near", SAFE));
    world
        .run(&["key", "remove", &in_use, "--vault", "near", "--yes"])
        .exits(2)
        .says("in use")
        .says("key rotate");
    // Opened from the safe, the machine's own key is in use all the same.
    let from_safe = ["key", "remove", &in_use, "--vault", "near", "--yes", "--password-file", "safe"];
    world.run(&from_safe).exits(2).says("the plan's password opens");
    world.run(&[&remove[..], &["--yes"]].concat()).exits(0).says("removed");
    assert!(!restic_opens(&world, "near", SAFE) && restic_opens(&world, "near", PASSWORD));
    world.run(&["key", "remove", id, "--vault", "near", "--yes"]).exits(0).says("nothing to remove");
    world.run(&["key", "remove", "abcdef", "--vault", "near", "--yes"]).exits(2).says("no key is called");
}

#[test]
fn a_weak_password_is_refused_wherever_it_would_become_one_and_the_way_out_is_said() {
    let world = world();
    for weak in ["short", "passwordpassword", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        fs::write(world.path("weak"), weak).unwrap();
        for verb in ["add", "rotate"] {
            let arguments = ["key", verb, "--vault", "near", "--new-password-file", "weak"];
            let run = world.run(&arguments).exits(2).says("refused").says("releve key generate");
            assert!(!run.err.contains(weak), "{}", run.err);
        }
    }
    assert_eq!(fs::read_dir(world.path("near/keys")).unwrap().count(), 1);
    // The first password of a vault too. One that opens a vault already goes on doing so.
    let fresh = World::new();
    fs::write(fresh.data().join("a"), "a").unwrap();
    fs::write(fresh.path("far.key"), "short").unwrap();
    fresh.run(&["backup"]).exits(1).says("create vault `far`").says("releve key generate");
    assert!(!fresh.path("far").exists());
    Restic::new(fresh.path("far").display().to_string(), "short").must(&[
        "init",
        "--repository-version",
        "2",
    ]);
    fresh.run(&["backup"]).exits(0);
}

#[test]
fn a_generated_passphrase_can_be_typed_from_paper_and_a_slip_is_called_that() {
    let world = world();
    let passphrase =
        finish(Command::new(env!("CARGO_BIN_EXE_releve")).args(["key", "generate"]).current_dir("/"))
            .exits(0)
            .out;
    fed(&world, &["key", "add", "--vault", "near", "--new-password-file", "-"], &passphrase).exits(0);
    assert!(restic_opens(&world, "near", passphrase.trim()));
    let check = ["key", "check", "--vault", "near", "--password-file", "-"];
    fed(&world, &check, &passphrase.to_uppercase().replace('-', " ")).exits(0);
    let digit = passphrase.chars().find(|sign| matches!(sign, '2'..='9')).unwrap();
    let slip = passphrase.replacen(digit, if digit == '9' { "8" } else { "9" }, 1);
    fed(&world, &check, &slip).exits(1).says("with a slip in it");
    fed(&world, &["key", "add", "--vault", "near", "--new-password-file", "-"], &slip)
        .exits(2)
        .says("not written as it was printed");
    world.run(&["key", "generate", "--json"]).exits(64).says("--to FILE");
    world.run(&["key", "generate", "--to", "g", "--json"]).exits(0).json();
    world.run(&["key", "generate", "--to", "g"]).exits(2).says("never written over");
    assert_eq!(fs::metadata(world.path("g")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_password_is_asked_for_on_a_terminal_and_not_shown() {
    let world = world();
    let program = world.command(&["key", "add", "--vault", "near"]);
    let words: Vec<_> = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .current_dir(world.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = script.stdin.take().unwrap();
    let mut screen = script.stdout.take().unwrap();
    let mut shown = String::new();
    let mut until = |text: &str, shown: &mut String| {
        let mut byte = [0];
        while !shown.ends_with(text) && screen.read(&mut byte).unwrap() == 1 {
            shown.push(char::from(byte[0]));
        }
        assert!(shown.ends_with(text), "{text:?} is not in {shown}");
        // What is typed before the echo is off is thrown away.
        pause(Duration::from_millis(300));
    };
    for question in ["New password: ", "The same again: "] {
        until(question, &mut shown);
        writeln!(keyboard, "{SAFE}").unwrap();
    }
    until("added, and opened", &mut shown);
    drop(keyboard);
    script.wait().unwrap();
    assert!(!shown.contains("safe since"), "{shown}");
    assert!(restic_opens(&world, "near", SAFE));
}

#[test]
fn the_safe_opens_a_vault_in_s3_whose_keys_were_lost_with_the_machine() {
    let server = S3Server::start();
    let world = s3_world(&server);
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    fs::rename(world.path("far.key"), world.path("safe")).unwrap();
    for gone in ["access", "secret"] {
        fs::remove_file(world.path(gone)).unwrap();
    }
    let check = ["key", "check", "--vault", "far", "--password-file", "safe"];
    world.run(&check).exits(2).says("AWS_ACCESS_KEY_ID");
    let mut command = world.command(&check);
    command.env("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY);
    finish(&mut command).exits(0).says("far: opens");
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let dead = plan.replace(&format!("127.0.0.1:{}", server.port()), &format!("127.0.0.1:{}", free_port()));
    fs::write(world.path("plan.toml"), dead).unwrap();
    finish(&mut command).exits(2).says("could not be asked");
}

#[test]
fn every_verb_opens_a_vault_by_the_key_that_worked_last_and_who_knows_none_is_told_the_way() {
    let world = world();
    fs::rename(world.path("far"), world.path("far-away")).unwrap();
    let keys = world.path("near").join("keys");
    let own = fs::read_to_string(keys.join(key_of(&world, "near"))).unwrap();
    let mut planted: serde_json::Value = serde_json::from_str(&own).unwrap();
    // Cheaper than any of ours, so that they are tried before it, and so many that it is tried no more.
    planted["N"] = 2.into();
    for number in 0..1100 {
        planted["username"] = number.to_string().into();
        fs::write(keys.join(format!("{number:064x}")), planted.to_string()).unwrap();
    }
    let left = "are not tried";
    let restore = ["restore", "shop", "--to", "restored"];
    let verbs: [&[&str]; 5] = [
        &["recover", "--to", "recovered", "--yes"],
        &restore,
        &["points"],
        &["status"],
        &["state", "verify"],
    ];
    for verb in verbs {
        let run = world.run(verb);
        assert!(!run.err.contains(left) && !run.out.contains(left), "{verb:?}: {}\n{}", run.out, run.err);
    }
    assert!(world.restored("recovered").join("a").exists() && world.restored("restored").join("a").exists());
    // What this machine keeps of vaults outlives its state.
    fs::remove_file(world.path("state/state.db")).unwrap();
    for companion in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(world.path("state").join(companion));
    }
    world.run(&["recover", "--to", "again", "--yes"]);
    assert!(world.restored("again").join("a").exists());
    fs::remove_dir_all(world.path("state")).unwrap();
    world.run(&["recover", "--dry-run"]).exits(2).says(left).says("grep -LZ '^{'").says("releve key list");
}

#[test]
fn no_secret_is_said_and_json_is_one_document() {
    let world = world();
    let mut said = String::new();
    for arguments in [
        &["key", "list"][..],
        &["key", "add", "--vault", "near", "--new-password-file", "safe"],
        &["key", "add", "--vault", "near", "--new-password-file", "safe"],
        &["key", "check", "--password-file", "safe"],
        &["key", "check", "--password-file", "new"],
        &["key", "rotate", "--vault", "far", "--new-password-file", "new"],
        &["key", "export", "--vault", "far", "--to", "m"],
        &["key", "check", "--master", "m"],
        &["key", "list"],
    ] {
        let run = world.run(&[arguments, &["--json"]].concat());
        run.json();
        assert_eq!(run.err, "", "{arguments:?}");
        said.push_str(&run.out);
        said.push_str(&world.run(arguments).err);
    }
    for record in crate::world::files(&world.path("state")) {
        said.push_str(&String::from_utf8_lossy(&fs::read(record).unwrap()));
    }
    for secret in [PASSWORD, SAFE, NEW] {
        assert!(!said.contains(secret), "{said}");
    }
    let paper = fs::read_to_string(world.path("m")).unwrap();
    for line in paper.lines().filter(|line| line.trim().starts_with("key ")) {
        assert!(!said.contains(&line.trim()[8..]));
    }
}

//! What programs that Relève starts see, which ones it starts, and what becomes of secrets that they print.

use crate::world::{PASSWORD, World, files, finish};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A password that comes out of the environment, and one that a program prints.
const OF_ENVIRONMENT: &str = "walnut-harbour-seventeen-lanterns-drift";

/// Returns a step that writes what `script` prints into a file of the world.
fn into(world: &World, name: &str, script: &str) -> String {
    let script = format!("({script}) > {} 2>&1", world.path(name).display());
    format!("run = [\"sh\", \"-c\", {script:?}]")
}

fn read(world: &World, name: &str) -> String {
    fs::read_to_string(world.path(name)).unwrap_or_default()
}

/// Has the vault `near` opened by what this names.
fn opened_by(world: &World, secret: &str) {
    let plan = read(world, "plan.toml");
    let key = format!("{{ file = {:?} }}", world.path("near.key"));
    assert!(plan.contains(&key));
    fs::write(world.path("plan.toml"), plan.replacen(&key, secret, 1)).unwrap();
}

/// Returns the command in an environment with secrets for us, and with programs in front of the machine's own.
fn inherits(world: &World, arguments: &[&str]) -> Command {
    let mut path = world.path("planted").into_os_string();
    path.push(":/usr/sbin:/usr/bin:/sbin:/bin");
    let mut command = world.command(arguments);
    command.env("NEAR", OF_ENVIRONMENT).env("AWS_SECRET_ACCESS_KEY", "not-for-others").env("PATH", path);
    command.env("ASKED_FOR", "this one").env("PGPASSWORD", "nor-this").env("LD_LIBRARY_PATH", "/nowhere");
    command
}

#[test]
fn a_program_sees_of_our_environment_only_what_it_asks_for_and_none_that_is_planted_is_run() {
    let world = World::new();
    fs::create_dir(world.path("planted")).unwrap();
    let marker = world.path("planted-ran");
    for name in ["id", "sh", "setsid", "runuser", "setpriv", "systemctl", "env"] {
        let program = world.path("planted").join(name);
        fs::write(&program, format!("#!/bin/bash\necho {name} >> {}\nexit 9\n", marker.display())).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(world.data().join("page"), "page").unwrap();
    let seen = "/usr/bin/env; echo UMASK=$(umask); echo OURS=$(sed -n 's/^Umask:.//p' /proc/$PPID/status)";
    let core = "echo CORE=$(sed -n 's/^Max core file size *//p' /proc/$PPID/limits)";
    let hook = |name: &str| {
        let line = into(&world, name, seen);
        line.trim_start_matches("run = ").to_owned()
    };
    let source = format!(
        "files = {{ paths = [{:?}], before = {}, after = {}, env = [\"ASKED_FOR\"] }}",
        world.data(),
        hook("before"),
        hook("after")
    );
    let steps = [
        format!("{{ {}, env = [\"GREETING=hello\", \"ASKED_FOR\"] }}", into(&world, "step", seen)),
        format!("{{ {} }}", into(&world, "plain", &format!("{seen}; {core}"))),
        "{ run = [\"id\", \"-u\"], contains = \"0\" }".to_owned(),
        "{ run = [\"sh\", \"-c\", \"echo $USER at $HOME; env\"], user = \"nobody\", contains = \"nobody at /\" }"
            .to_owned(),
    ];
    let check = format!("check = [{{ file = {:?} }}]\n", world.data().join("page"));
    let more = format!("{check}recover.before = [{}]\n", steps.join(", "));
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, &more);
    opened_by(&world, "{ env = \"NEAR\" }");
    // As a person's shell has it, whatever the tests were started with.
    for arguments in [&["backup"][..], &["recover", "--yes"]] {
        let inner = inherits(&world, arguments);
        let mut outer = Command::new("/bin/sh");
        outer.args(["-c", "umask 022; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        finish(outer.current_dir(world.path(""))).exits(0);
    }
    assert_eq!(read(&world, "planted-ran"), "", "what lies in the caller's PATH is run");
    for (name, asked) in [("before", true), ("after", true), ("step", true), ("plain", false)] {
        let seen = read(&world, name);
        assert_eq!(seen.contains("ASKED_FOR=this one"), asked, "{name}: {seen}");
        for secret in [OF_ENVIRONMENT, "not-for-others", "nor-this", "/nowhere", "planted", "RELEVE_PATIENCE"]
        {
            assert!(!seen.contains(secret), "{name} sees {secret}: {seen}");
        }
        assert!(seen.contains("PATH=/usr/local/") && seen.contains("TZ=UTC"), "{name}: {seen}");
        // What we make is ours alone; what they make is as whoever started us would have it.
        assert!(seen.contains("UMASK=0022") && seen.contains("OURS=0077"), "{name}: {seen}");
    }
    assert!(read(&world, "step").contains("GREETING=hello"));
    assert!(read(&world, "plain").contains("CORE=0 "), "{}", read(&world, "plain"));
}

#[test]
fn a_secret_that_a_program_prints_is_shown_and_kept_nowhere() {
    let world = World::new();
    fs::write(world.data().join("page"), "page").unwrap();
    let key = world.path("near.key");
    let script = format!("cat {0}; echo; base64 -w0 {0}; echo; echo the end; exit 3", key.display());
    let check = format!("check = [{{ file = {:?} }}]\n", world.data().join("page"));
    let more = format!("{check}recover.before = [{{ run = [\"sh\", \"-c\", {script:?}] }}]\n");
    let source = format!("files = {{ paths = [{:?}], before = [\"sh\", \"-c\", {script:?}] }}", world.data());
    world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, &more);
    let hook = world.run(&["backup"]);
    let shown = format!("{}{}", hook.out, hook.err);
    assert!(shown.contains("(secret)") && shown.contains("the end"), "{shown}");
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["backup"]).exits(0);
    let step = world.run(&["recover", "--yes"]).exits(2);
    let shown = format!("{shown}{}{}{}", step.out, step.err, world.run(&["recover", "--show"]).out);
    assert!(step.err.contains("(secret)") || step.out.contains("(secret)"), "{shown}");
    let encoded = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";
    for secret in [PASSWORD, encoded] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
        for file in files(&world.path("state")) {
            let kept = fs::read(&file).unwrap();
            let is_there = kept.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{secret} is in {}", file.display());
        }
    }
}

#[test]
fn a_program_that_holds_a_secret_is_bounded_and_what_it_complains_of_is_shown_harmless() {
    let world = World::new();
    fs::write(world.data().join("page"), "page").unwrap();
    opened_by(&world, "{ command = [\"sh\", \"-c\", \"yes a-secret-without-an-end\"] }");
    world.run(&["backup"]).says("prints more than a secret may be long, 64 KB");
    world.write_plan(&world.vault("near"), &world.vault("far"), "");
    let asks = format!("printf 'which card?\\033[2K\\n' >&2; echo '{PASSWORD}'");
    opened_by(&world, &format!("{{ command = [\"sh\", \"-c\", {asks:?}] }}"));
    let run = world.run(&["backup"]).exits(0).says("which card?");
    assert!(!run.err.contains('\u{1b}') && !run.out.contains('\u{1b}'), "{:?}", run.err);
}

//! A company whose files, vault, programs and processes are called what an attacker likes: nothing of it does more on a terminal than to stand there.

use crate::notify::{relays, world};
use crate::world::{PASSWORD, Run, World};
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::{MailServer, Manner, wait_until};

/// A line that would be believed if it stood on its own.
const LIE: &str = "error: all is well";
/// Moves the cursor up, wipes a line and begins one of its own; commands of eight bits; what turns and hides, and a tag.
const EVIL: &str =
    "x\u{1b}[2A\u{1b}[K\nerror: all is well\r\u{9b}2J\u{202e}gpj\u{200b}\u{2066}\u{feff}\u{2028}\u{e0041}y";
/// What a program says that fails.
const FAILS: &str =
    r"printf '\033[2A\033[K\nerror: all is well\n\302\2332J\342\200\256gpj\342\200\213\n' >&2; exit 3";
/// The name of a process has fifteen bytes.
const COMM: &str = r"cd data && printf '\033[2A\033[K\nok' > /proc/$$/comm && read x";

/// Whether a letter may be printed, but where a terminal is drawn on: written out anew here, so that the program isn't its own judge.
fn may_stand(letter: char) -> bool {
    let is_ours = matches!(letter, '\n' | '\t');
    let hides = matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}');
    is_ours || !(letter.is_control() || hides)
}

fn is_harmless(what: &str, text: &str) {
    if let Some(letter) = text.chars().find(|letter| !may_stand(*letter)) {
        panic!("{what} prints {letter:?}: {text:?}");
    }
    for line in text.lines() {
        assert!(!line.trim_start().starts_with(LIE), "{what} prints a line of somebody else's: {text}");
    }
}

/// A process that has the data open, under a name of its own; gone with its input.
struct Holder(Child);

impl Holder {
    fn begin(world: &World) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", COMM]).current_dir(world.path("")).stdin(Stdio::piped());
        let holder = Self(command.spawn().unwrap());
        let name = format!("/proc/{}/comm", holder.0.id());
        let is_named = || fs::read_to_string(&name).is_ok_and(|name| name.contains("ok"));
        assert!(wait_until(Duration::from_secs(20), is_named));
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that is called what an attacker likes.
fn plant(world: &World, name: &str) {
    fs::write(world.data().join(format!("{name}{EVIL}")), name).unwrap();
}

/// A company of two systems, whose vault `near` holds points of somebody else's besides.
fn company(server: &MailServer) -> World {
    let dump = format!(
        "[systems.dump]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\n\
         source.command = {{ dump = [\"sh\", \"-c\", {FAILS:?}], load = [\"cat\"] }}\n"
    );
    let world = world(&relays(&[server]), &dump);
    let path = world.path("plan.toml");
    let plan = fs::read_to_string(&path).unwrap();
    let fails = format!("{{ command = [\"sh\", \"-c\", {FAILS:?}] }}");
    let own = format!("deputy = \"claire\"\ncheck = [{fails}]\nrecover.start = {fails}\n");
    fs::write(&path, plan.replacen("deputy = \"claire\"\n", &own, 1)).unwrap();
    plant(&world, "kept");
    plant(&world, "gone");
    is_shown(&world.run(&["backup"]), "backup");
    let restic = world.restic("near");
    let data = world.data().display().to_string();
    for system in [format!("system:{EVIL}"), "system:shop".to_owned()] {
        restic.must(&["backup", "--host", EVIL, "--tag", &system, &data]);
    }
    let key = world.path("new.key").display().to_string();
    fs::write(&key, format!("another {PASSWORD}")).unwrap();
    restic.must(&["key", "add", "--host", EVIL, "--user", EVIL, "--new-password-file", &key]);
    fs::remove_file(world.data().join(format!("gone{EVIL}"))).unwrap();
    world
}

/// Fails the test unless something of what is hostile is shown, and is harmless.
fn is_shown(run: &Run, what: &str) {
    let text = format!("{}\n{}", run.out, run.err);
    is_harmless(what, &text);
    assert!(text.contains(r"\u{1b}[2A"), "{what} shows nothing of it: {text}");
}

#[test]
fn nothing_that_others_have_named_does_more_than_stand_there_whatever_is_typed() {
    let server = MailServer::start(Manner::Takes);
    let world = company(&server);
    let _holder = Holder::begin(&world);
    plant(&world, "new");
    let (out, key, report) = (world.path("out"), world.path("near.key"), world.path("report.md"));
    let [out, key, report] = [&out, &key, &report].map(|path| path.to_str().unwrap());
    // Before anything is begun: what runs there stands above the question.
    is_shown(&world.run(&["recover", "--dry-run"]), "recover --dry-run");
    asked(&world);
    // Each verb once as people type it, and once as scripts do; `true`: it is sure to meet something of it.
    let verbs: &[(bool, &[&str])] = &[
        (false, &["check", "--offline"]),
        (false, &["check"]),
        (true, &["backup"]),
        (true, &["points"]),
        (true, &["status"]),
        (false, &["verify", "--read-data", "all"]),
        (false, &["sync"]),
        (false, &["prune", "--dry-run"]),
        (false, &["prune", "--yes"]),
        (false, &["alerts"]),
        (true, &["key", "list"]),
        (false, &["key", "check", "--password-file", key, "--vault", "near"]),
        (false, &["state", "verify"]),
        (false, &["restore", "shop", "--to", out, "--path", EVIL]),
        (false, &["restore", "shop", "--to", out]),
        (false, &["restore", "shop", "--to", "/", "--delete", "--dry-run"]),
        (true, &["recover", "--yes", "shop"]),
        (false, &["recover", "--show"]),
        (true, &["recover", "--yes", "shop", "--resume"]),
        (false, &["incident", "open", "--scenario", "ransomware", "--quiet", "--seen", EVIL]),
        (true, &["incident", "log", EVIL]),
        (false, &["incident", "show"]),
        (false, &["incident", "report"]),
        (false, &["incident", "report", "--markdown", report]),
        (false, &["incident", "list"]),
        (false, &["repair", "near", "--dry-run"]),
        (false, &["immutable"]),
        (false, &["undelete", "near"]),
        (false, &["scenarios"]),
        (false, &["notify", "queue"]),
        (false, &["isolate", "--dry-run", "--management", "192.0.2.1"]),
        (false, &["release"]),
        (false, &["answer", "7", EVIL]),
        (false, &["ack", EVIL]),
        (false, &["state", "rebuild", "--yes"]),
        (true, &["points"]),
    ];
    for (is_met, arguments) in verbs {
        let what = arguments.join(" ");
        let run = world.run(arguments);
        is_harmless(&what, &run.out);
        is_harmless(&what, &run.err);
        if *is_met {
            is_shown(&run, &what);
        }
        let run = world.run(&[arguments, &["--json"][..]].concat());
        is_harmless(&what, &run.out);
        is_harmless(&what, &run.err);
    }
    is_harmless("the report", &fs::read_to_string(report).unwrap());
    for mail in server.wait_for(1) {
        is_harmless("a mail", &mail["body"].as_str().unwrap().replace("\r\n", "\n"));
        for header in mail["headers"].as_array().unwrap() {
            is_harmless("a mail's header", &header[1].as_str().unwrap().replace("\r\n", "\n"));
        }
    }
    // A document says exactly what it was.
    let keys = world.run(&["points", "--json"]).json();
    let systems: Vec<_> = keys["points"].as_array().unwrap().iter().map(|point| &point["system"]).collect();
    assert!(systems.iter().any(|system| **system == EVIL), "{systems:?}");
}

/// Somebody is asked at a terminal, and what runs there stands above the question.
fn asked(world: &World) {
    let asked = world.command(&["recover", "shop"]);
    let words: Vec<String> = std::iter::once(asked.get_program())
        .chain(asked.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(world.path(""));
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut terminal = terminal.spawn().unwrap();
    terminal.stdin.take().unwrap().write_all(b"n\n").unwrap();
    let output = terminal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(
        text.contains("Carry this out?") && text.contains(r"runs there: \u{1b}[2A\u{1b}[K\nok"),
        "{text:?}"
    );
    assert!(!text.contains("\u{1b}[2A\u{1b}[K\n"), "{text:?}");
}

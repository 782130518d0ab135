//! What programs print, and what they are fed.

use crate::machine::{Folder, run};
use crate::walk::{now, read, walk};
use process::Words;
use source::{Capture, Command, Kind, Landing, Program, Source, Stands};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use vault::Node;

fn sh(script: &str) -> Program {
    Program::new(Words::written(["sh", "-c", script])).unwrap()
}

fn command(dump: &str, load: &str) -> Command {
    Command::new("orders.sql", sh(dump), sh(load)).unwrap()
}

fn open(dump: &str) -> (Capture, Node) {
    let capture = command(dump, "cat").capture(Path::new("/nowhere"), now()).unwrap();
    let node = capture.input().list(Path::new(""), &mut Vec::new()).unwrap().remove(0);
    (capture, node)
}

fn read_all(dump: &str) -> Result<Vec<u8>, String> {
    let (capture, node) = open(dump);
    let bytes = read(capture.input(), Path::new("orders.sql"), &node).map_err(|error| error.to_string());
    assert_eq!(capture.input().finish(), []);
    bytes
}

#[test]
fn what_the_program_prints_is_one_file() {
    let capture = command("seq 1 300000", "cat").capture(Path::new("/nowhere"), now()).unwrap();
    assert_eq!(capture.paths(), [Path::new("/orders.sql")]);
    let walked = walk(capture.input());
    assert_eq!(walked.unread, []);
    let path = Path::new("/orders.sql");
    assert_eq!(walked.contents[path], run("seq", &[&"1", &"300000"]).into_bytes());
    let node = &walked.nodes[path];
    assert_eq!((node.size(), node.meta.mode, node.meta.mtime), (0, 0o600, now()));
}

#[test]
fn a_program_that_fails_after_half_of_its_output_makes_the_point_incomplete() {
    let why = read_all("seq 1 100000; echo 'lost the connection' >&2; exit 3").unwrap_err();
    assert_eq!(why, "sh exited with status 3: lost the connection");
}

#[test]
fn a_program_that_is_killed_makes_the_point_incomplete() {
    assert_eq!(read_all("echo half; kill -9 $$").unwrap_err(), "sh was killed by signal 9");
}

#[test]
fn a_program_that_prints_nothing_makes_the_point_incomplete() {
    assert_eq!(
        read_all("echo 'no such table' >&2").unwrap_err(),
        "sh ended well but printed nothing: no such table"
    );
}

#[test]
fn a_program_that_asks_at_a_terminal_fails_at_once() {
    let begun = std::time::Instant::now();
    let why = read_all("read answer </dev/tty && echo $answer").unwrap_err();
    assert!(why.contains("/dev/tty"), "{why}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(60));
}

#[test]
fn a_program_without_a_path_that_does_not_exist_is_named_too() {
    let missing = Program::new(["no-such-program"]).unwrap();
    assert!(missing.output().unwrap_err().starts_with("no-such-program could not be started: "));
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let missing = Program::new(["/no/such/program", "secret"]).unwrap();
    let capture = Command::new("x", missing, sh("cat")).unwrap().capture(Path::new("/"), now()).unwrap();
    let walked = walk(capture.input());
    let why = walked.why(Path::new("/x"));
    assert!(why.starts_with("/no/such/program could not be started: No such file"), "{why}");
    assert!(!why.contains("secret"));
}

#[test]
fn a_program_that_was_never_run_makes_the_point_incomplete() {
    let (capture, _) = open("echo x");
    let unread = capture.input().finish();
    assert_eq!((unread.len(), unread[0].why.as_str()), (1, "sh was not run"));
}

#[test]
fn a_talkative_program_is_never_stuck_in_its_complaints() {
    let bytes = read_all("for i in 1 2 3 4 5; do seq 1 50000 >&2; echo $i; done").unwrap();
    assert_eq!(bytes, b"1\n2\n3\n4\n5\n");
    let why = read_all("seq 1 50000 >&2; echo x; echo last >&2; exit 1").unwrap_err();
    assert!(why.ends_with("49999\n50000\nlast") && why.len() < 4200, "{why}");
}

#[test]
fn a_program_that_takes_too_long_is_ended() {
    let folder = Folder::new();
    let late = folder.join("late");
    let script = format!("echo x; (sleep 1.5; touch {}) & sleep 60", late.display());
    let dump = sh(&script).within(Duration::from_millis(300));
    let start = Instant::now();
    let capture = Command::new("x", dump, sh("cat")).unwrap().capture(Path::new("/"), now()).unwrap();
    let walked = walk(capture.input());
    assert_eq!(walked.why(Path::new("/x")), "sh did not end within 0.3 s");
    assert!(start.elapsed() < Duration::from_secs(5));
    run("sleep", &[&"1.7"]);
    assert!(!late.exists(), "what it had started went on");
}

#[test]
fn a_backup_that_stops_in_the_middle_ends_the_program() {
    let folder = Folder::new();
    let (pid, late) = (folder.join("pid"), folder.join("late"));
    let script = format!("echo $$ > {}; yes; touch {}", pid.display(), late.display());
    let (capture, node) = open(&script);
    let mut content = capture.input().open(Path::new("orders.sql"), &node).unwrap();
    content.read_exact(&mut [0; 100]).unwrap();
    let pid = fs::read_to_string(pid).unwrap();
    drop(content);
    drop(capture);
    assert!(!Path::new("/proc").join(pid.trim()).exists());
    assert!(!late.exists());
}

#[test]
fn a_program_whose_child_keeps_the_pipe_is_read_to_the_end() {
    assert_eq!(read_all("(sleep 0.3; echo child) & echo parent").unwrap(), b"parent\nchild\n");
    // One that only keeps the complaints doesn't hold us up.
    let start = Instant::now();
    assert_eq!(read_all("echo x; sleep 7 >/dev/null & exit 0").unwrap(), b"x\n");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_dump_is_fed_to_the_loader() {
    let folder = Folder::new();
    let staging = folder.dir("staging");
    let dump: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(staging.join("orders.sql"), &dump).unwrap();
    let loaded = folder.join("loaded");
    let source = command("true", &format!("cat > {}; seq 1 100000; echo done >&2", loaded.display()));
    assert_eq!(source.landing(None), Landing::Staging { near: None });
    let done = source.put_back(&staging, None, None, &|_| ()).unwrap();
    assert_eq!((done.bytes, done.into), (3_000_000, vec!["sh".into()]));
    assert!(fs::read(loaded).unwrap() == dump);
    assert_eq!(source.occupied(None).unwrap()[0].stands, Stands::Unknown);
}

#[test]
fn a_loader_that_fails_or_stops_early_is_an_error() {
    let folder = Folder::new();
    folder.write("orders.sql", vec![b'\n'; 3_000_000]);
    let fails = |load: &str| command("true", load).put_back(&folder.path, None, None, &|_| ()).unwrap_err();
    let error = fails("cat > /dev/null; echo 'relation exists' >&2; exit 1");
    assert_eq!(error.to_string(), "load orders.sql: sh exited with status 1: relation exists");
    assert!(fails("head -c 10; exec 0<&-; sleep 0.1").to_string().contains("ended well after taking only"));
    assert!(fails("exit 7").to_string().contains("exited with status 7"));
    fs::remove_file(folder.join("orders.sql")).unwrap();
    assert!(matches!(fails("cat").kind, Kind::NotInPoint));
}

#[test]
fn under_a_directory_the_dump_is_just_a_file() {
    let folder = Folder::new();
    let source = command("true", "touch /nowhere/at/all");
    assert_eq!(source.landing(Some(&folder.path)), Landing::Final(folder.path.clone()));
    assert_eq!(source.occupied(Some(&folder.path)).unwrap()[0].stands, Stands::Nothing);
    let dump = folder.write("orders.sql", "x");
    assert_eq!(source.put_back(&folder.path, Some(&folder.path), None, &|_| ()).unwrap().into, [dump]);
}

#[test]
fn senseless_names_and_commands_are_refused() {
    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert!(Command::new(name, sh("true"), sh("true")).is_err(), "{name:?}");
    }
    assert!(Program::new(Words::written(Vec::<String>::new())).is_err());
    assert!(Program::new([""]).is_err());
}

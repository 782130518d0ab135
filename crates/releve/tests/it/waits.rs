//! Vaults that hang, are busy, or may only be added to: what others have to do with it.

use crate::oracle::s3_world;
use crate::world::{World, finish};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::tree::grow;
use testkit::{Fault, FaultyProxy, MariadbServer, Postgres, S3Server, SilentMount, When};
use vault::{Holder, Lock, LockKind, Password, Repository};

/// Returns a world whose vault `far` is a bucket behind a proxy, with a point in both vaults.
fn behind(server: &S3Server) -> (World, FaultyProxy) {
    let proxy = FaultyProxy::before(server.port());
    let world = s3_world(server);
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let through =
        plan.replace(&format!("127.0.0.1:{}", server.port()), &format!("127.0.0.1:{}", proxy.port()));
    fs::write(world.path("plan.toml"), through).unwrap();
    grow(&world.data(), 3, 20);
    world.run(&["backup"]).exits(0);
    (world, proxy)
}

#[test]
fn a_vault_that_hangs_costs_the_others_seconds_and_the_next_command_knows_of_it() {
    let server = S3Server::start();
    let (world, proxy) = behind(&server);
    proxy.plan(When::any(), Fault::StallAnswer(0));
    let timed = |arguments: &[&str]| {
        let begun = Instant::now();
        (world.run(arguments), begun.elapsed())
    };
    let (run, took) = timed(&["points"]);
    run.exits(1).says("no answer for 5 s");
    assert!(took < Duration::from_secs(9), "{took:?}");
    // From now on it is only looked at on the way.
    let (run, took) = timed(&["status"]);
    run.exits(1).says("silent since");
    assert!(took < Duration::from_secs(5), "{took:?}");
    fs::remove_dir_all(world.data()).unwrap();
    let (run, took) = timed(&["recover", "--yes", "--json"]);
    assert!(took < Duration::from_secs(6), "{took:?}");
    let recovered = run.json()["recovered"]["systems"][0].clone();
    let rta = recovered["rta_seconds"].as_f64().unwrap();
    assert!(rta >= 2.0, "what was waited for the vault counts: {recovered}");
    // It answers again, and nothing is held against it.
    proxy.heal();
    world.run(&["points"]).exits(0);
    world.run(&["backup"]).exits(0);
}

/// Answers every request with a head that is right and a byte each second, until the test's process ends; returns the port.
fn dripping() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || {
                let mut client = client.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let _ =
                    client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n");
                while client.write_all(b" ").is_ok() {
                    testkit::pause(Duration::from_secs(1));
                }
            });
        }
    });
    port
}

#[test]
fn a_vault_that_answers_a_byte_at_a_time_is_named_passed_over_and_known_to_the_next_command() {
    let world = World::new();
    grow(&world.data(), 3, 20);
    world.run(&["backup"]).exits(0);
    let keys = ["access", "secret"].map(|key| {
        fs::write(world.path(key), "abc").unwrap();
        format!("{key}_key = {{ file = {:?} }}\n", world.path(key))
    });
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let url = format!("\"s3://b/p?endpoint=http://127.0.0.1:{}\"\n{}", dripping(), keys.concat());
    let plan = plan.replace(&format!("{:?}", world.vault("far")), &url);
    fs::write(world.path("plan.toml"), plan).unwrap();
    let begun = Instant::now();
    world.run(&["points"]).exits(1).says("vault far").says("too slow");
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    fs::remove_dir_all(world.data()).unwrap();
    let begun = Instant::now();
    world.run(&["recover", "--yes"]);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(world.data().exists(), "what is in the other vault is back");
}

#[test]
fn a_backup_waits_for_an_exclusive_lock_and_says_whose_it_is() {
    let world = World::new();
    grow(&world.data(), 4, 10);
    world.run(&["backup"]).exits(0);
    let place = vault::store::open(&world.vault("near"), &vault::store::Credentials::default()).unwrap();
    let near = Repository::open(place, &Password::new(crate::world::PASSWORD.into())).unwrap();
    let restic = Holder { hostname: "elsewhere".into(), username: "restic".into() };
    let lock = Lock::take(&Arc::new(near), LockKind::Exclusive, &restic).unwrap();
    for verb in ["backup", "verify"] {
        // As long as it is held, for a limited time.
        world.run(&[verb]).says("restic@elsewhere").says("waited for 2 s");
    }
    let mut command = world.command(&["backup"]);
    let mut backup = command.env("RELEVE_PATIENCE", "60").stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(backup.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = said.inspect(|line| eprintln!("{line}"));
    assert!(said.any(|line| line.contains("waiting for a lock") && line.contains("restic@elsewhere")));
    drop(lock);
    assert_eq!(said.filter(|line| line.contains("not in near")).count(), 0);
    assert!(backup.wait().unwrap().success());
    world.restic("near").must(&["check"]);
}

#[test]
fn a_prune_that_waits_for_somebody_shows_its_plan_once() {
    let world = World::new();
    world.write_plan(&world.vault("near"), &world.vault("far"), "[policy.keep]\nlast = 1\n");
    for number in 0..3 {
        fs::write(world.data().join("file"), format!("content {number}")).unwrap();
        world.run(&["backup"]).exits(0);
    }
    let place = vault::store::open(&world.vault("near"), &vault::store::Credentials::default()).unwrap();
    let near = Repository::open(place, &Password::new(crate::world::PASSWORD.into())).unwrap();
    let other = Holder { hostname: "elsewhere".into(), username: "somebody".into() };
    let mut lock = Some(Lock::take(&Arc::new(near), LockKind::Shared, &other).unwrap());
    let mut command = world.command(&["prune", "near", "--yes"]);
    let mut prune = command.env("RELEVE_PATIENCE", "60").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(prune.stderr.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("waiting for a lock") {
            drop(lock.take());
        }
        said.push(line);
    }
    assert!(prune.wait().unwrap().success(), "{said:#?}");
    assert!(lock.is_none(), "nobody waited: {said:#?}");
    assert_eq!(said.iter().filter(|line| line.contains("1 point stays")).count(), 1, "{said:#?}");
}

#[test]
fn a_busy_vault_has_one_patience_for_all_calls_says_so_and_nobody_who_is_told_to_end_waits() {
    let server = S3Server::start();
    let (world, proxy) = behind(&server);
    let grown = |seed: u64| {
        for file in 0..6 {
            let noise = testkit::Random::new(seed + file).bytes(8 << 20);
            fs::write(world.data().join(format!("noise-{file}")), noise).unwrap();
        }
    };
    grown(100);
    proxy.plan(When::request("", "/data/"), Fault::Busy(4));
    let begun = Instant::now();
    let run = finish(world.command(&["backup"]).env("RELEVE_PATIENCE", "10"));
    run.exits(1).says("vault far is busy").says("not in far");
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    // Somebody has all the time of the world, until he has not.
    proxy.heal();
    proxy.plan(When::request("", "/data/"), Fault::Busy(60));
    grown(200);
    let mut command = world.command(&["backup"]);
    let mut backup = command.env("RELEVE_PATIENCE", "600").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(backup.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("vault far is busy")));
    let begun = Instant::now();
    let pid = rustix::process::Pid::from_child(&backup);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    said.for_each(drop);
    assert!(!backup.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn what_somebody_ends_is_no_failure_to_record() {
    let server = S3Server::start();
    let (world, proxy) = behind(&server);
    proxy.plan(When::request("GET", "/data/"), Fault::Busy(60));
    let mut command = world.command(&["verify", "far", "--read-data", "all"]);
    let mut verify = command.env("RELEVE_PATIENCE", "600").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(verify.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("vault far is busy")));
    let pid = rustix::process::Pid::from_child(&verify);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    said.for_each(drop);
    assert_eq!(verify.wait().unwrap().code(), Some(2));
    proxy.heal();
    let state = state::State::open(&world.path("state")).unwrap();
    let records = state.records().unwrap();
    assert!(!records.iter().any(|record| matches!(record.body, state::Body::Verification(_))), "{records:?}");
}

#[test]
fn a_dump_that_fails_says_how_and_what_it_complained_of() {
    let world = World::new();
    for (script, why) in [
        (
            "echo half; echo 'cannot connect to server' >&2; exit 3",
            "sh exited with status 3: cannot connect to server",
        ),
        ("echo half; kill -9 $$", "sh was killed by signal 9"),
        ("echo 'no such database' >&2", "sh ended well but printed nothing: no such database"),
        ("true", "sh ended well but printed nothing"),
    ] {
        let source = format!("command = {{ dump = [\"sh\", \"-c\", {script:?}], load = [\"cat\"] }}");
        world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
        let run = world.run(&["backup"]).exits(1).says("INCOMPLETE").says(why);
        assert!(!run.out.contains("changed while") && !run.err.contains("changed while"), "{}", run.err);
    }
}

/// Speaks SFTP for `ssh`, and lets nobody look at the folders above `VAULT`.
const BLIND_SSH: &str = r#"#!/usr/bin/env python3
import os, struct, subprocess, sys, threading
vault = os.environ["VAULT"]
server = subprocess.Popen(["/usr/lib/openssh/sftp-server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
out = threading.Lock()
def take(stream, length):
    data = b""
    while len(data) < length:
        piece = stream.read(length - len(data))
        if not piece: os._exit(0)
        data += piece
    return data
def packet(stream): return take(stream, struct.unpack(">I", take(stream, 4))[0])
def put(stream, data): stream.write(struct.pack(">I", len(data)) + data); stream.flush()
def answers():
    while True:
        data = packet(server.stdout)
        with out: put(sys.stdout.buffer, data)
threading.Thread(target=answers, daemon=True).start()
while True:
    data = packet(sys.stdin.buffer)
    if data[0] in (7, 17):
        path = data[9:9 + struct.unpack(">I", data[5:9])[0]].decode()
        if not path.startswith(vault):
            with out: put(sys.stdout.buffer, b"\x65" + data[1:5] + struct.pack(">I", 3) + struct.pack(">I", 2) + b"no" + struct.pack(">I", 0))
            continue
    put(server.stdin, data)
"#;

#[test]
fn a_vault_behind_ssh_is_made_where_the_folders_above_may_not_be_looked_at() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    grow(&world.data(), 5, 5);
    let (programs, vault) = (world.path("programs"), world.path("above/between/vault"));
    fs::create_dir_all(&programs).unwrap();
    fs::create_dir_all(&vault).unwrap();
    let blind = BLIND_SSH.replace("os.environ[\"VAULT\"]", &format!("{vault:?}"));
    fs::write(programs.join("ssh"), blind).unwrap();
    fs::set_permissions(programs.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    world.write_plan(&world.vault("near"), &format!("sftp://server/{}", vault.display()), "");
    // Where programs are is not for an environment to say: the test's lies over the machine's own, for this run alone.
    let inner = world.command(&["backup"]);
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", "mount --bind \"$0\" /usr/bin/ssh && exec \"$@\""]);
    outer.arg(programs.join("ssh")).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(outer.current_dir(world.path("")).stdin(Stdio::null())).exits(0);
    world.restic("above/between/vault").must(&["check", "--read-data"]);
}

#[test]
fn the_log_in_a_healthy_vault_is_not_late_because_another_hangs() {
    let server = S3Server::start();
    let proxy = FaultyProxy::before(server.port());
    let cluster = testkit::Postgres::start("");
    let world = crate::postgres::world(&cluster, "", "3 seconds", "");
    fs::write(world.path("access"), S3Server::ACCESS_KEY).unwrap();
    fs::write(world.path("secret"), S3Server::SECRET_KEY).unwrap();
    let keys = format!(
        "[vaults.far]\naccess_key = {{ file = {:?} }}\nsecret_key = {{ file = {:?} }}",
        world.path("access"),
        world.path("secret")
    );
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan.replace(&world.vault("far"), &server.address_at(proxy.port(), "far"));
    fs::write(world.path("plan.toml"), plan.replace("[vaults.far]", &keys)).unwrap();
    world.run(&["backup"]).exits(0);
    let place = vault::store::open(&world.vault("near"), &vault::store::Credentials::default()).unwrap();
    let near = Repository::open(place, &Password::new(crate::world::PASSWORD.into())).unwrap();
    let reaches = |instant: jiff::Timestamp| {
        let (snapshots, _) = near.snapshots().unwrap();
        let logs = snapshots.into_iter().filter_map(|(_, snapshot)| snapshot.releve?.log?.until);
        logs.max().is_some_and(|until| until > instant)
    };
    let _agent = crate::postgres::Agent::begin(&world);
    let begun = jiff::Timestamp::now();
    assert!(testkit::wait_until(Duration::from_secs(60), || reaches(begun)));
    // In the middle of whatever is under way.
    proxy.plan(When::any(), Fault::StallAnswer(0));
    cluster.tell("create table t (n int)");
    let hung = jiff::Timestamp::now();
    let in_time = testkit::wait_until(Duration::from_secs(20), || reaches(hung));
    assert!(in_time, "{}", fs::read_to_string(world.path("agent.log")).unwrap_or_default());
    // And again, while the other is being tried.
    let later = jiff::Timestamp::now();
    assert!(testkit::wait_until(Duration::from_secs(20), || reaches(later)));
}

/// Returns a world with a system of files, `shop`, and this one, `base`.
fn beside(source: &str, url: &str) -> World {
    let world = World::new();
    grow(&world.data(), 5, 3);
    fs::write(world.path("url"), url).unwrap();
    let source = source.replace("URL", &format!("url = {{ file = {:?} }}", world.path("url")));
    let more = format!(
        "[systems.base]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.{source}\n"
    );
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world
}

/// Ends a run by one signal, once it has begun to wait, and returns how long it took from then.
fn ended(world: &World, arguments: &[&str]) -> Duration {
    let mut child = world.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    testkit::pause(Duration::from_millis(1500));
    assert!(child.try_wait().unwrap().is_none(), "{arguments:?} did not wait");
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    child.wait().unwrap();
    begun.elapsed()
}

#[test]
fn a_postgresql_server_that_takes_connections_and_answers_nothing_is_told_and_holds_up_nobody() {
    let cluster = Postgres::start("");
    let url = |more: &str| format!("{}{more}", cluster.url("postgres"));
    let world = beside(&format!("postgres = {{ URL, data_directory = {:?} }}", cluster.data()), &url(""));
    world.run(&["backup"]).exits(0);
    cluster.freeze();
    for arguments in [&["backup", "base"][..], &["agent", "--once"]] {
        // An agent has nothing to do yet that is due.
        if arguments == ["agent", "--once"] {
            fs::remove_dir_all(world.path("state")).unwrap();
        }
        let took = ended(&world, arguments);
        assert!(took < Duration::from_secs(3), "{arguments:?}: {took:?}");
    }
    fs::write(world.path("url"), url("?connect_timeout=1")).unwrap();
    for arguments in [&["backup"][..], &["status"], &["check"], &["recover", "--dry-run"]] {
        let begun = Instant::now();
        let run = world.run(arguments);
        assert!(begun.elapsed() < Duration::from_secs(12), "{arguments:?}: {:?}", begun.elapsed());
        if arguments == ["backup"] {
            let run =
                run.exits(2).says("base: no restore point").says("takes connections and doesn't answer");
            assert!(run.out.contains("shop: ") || run.err.contains("shop: "), "{}{}", run.out, run.err);
        }
    }
    cluster.thaw();
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_mariadb_server_that_takes_connections_and_answers_nothing_is_left_at_the_first_word() {
    let server = MariadbServer::start();
    let world = beside("mariadb = { URL }", &server.url());
    world.run(&["backup"]).exits(0);
    server.freeze();
    let took = ended(&world, &["backup", "base"]);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Not begun, or asked within seconds.
    let begun = Instant::now();
    world.run(&["recover", "--dry-run"]);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    server.thaw();
    world.run(&["backup"]).exits(0);
}

#[test]
fn a_program_that_took_the_question_and_does_not_answer_keeps_no_run_from_ending() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    fs::create_dir(world.data().join("dead")).unwrap();
    let mount = SilentMount::taking(&world.data().join("dead"));
    let mut child = world.start(&["backup"]);
    let begun = Instant::now();
    while !mount.was_asked() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it was never looked at");
        testkit::pause(Duration::from_millis(20));
    }
    // It may have been asked by whoever waits for it now.
    testkit::pause(Duration::from_millis(300));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let begun = Instant::now();
    let mut ended = None;
    while ended.is_none() && begun.elapsed() < Duration::from_secs(8) {
        testkit::pause(Duration::from_millis(50));
        ended = child.try_wait().unwrap();
    }
    // Else nothing ends it, not even being killed.
    drop(mount);
    child.wait().unwrap();
    assert!(ended.is_some(), "it was there as long as the mount");
}

#[test]
fn a_mount_that_does_not_answer_is_named_and_keeps_nothing_else_from_coming_back() {
    let world = World::new();
    let dead = world.data().join("dead");
    fs::create_dir(&dead).unwrap();
    let page = world.data().join("page");
    fs::write(&page, "page").unwrap();
    world.run(&["backup"]).exits(0);
    let mount = SilentMount::over(&dead, 0);
    for arguments in [
        &["recover", "--dry-run"][..],
        &["recover", "--yes"],
        &["restore", "shop", "--to", "/"],
        &["restore", "shop", "--to", "/", "--delete", "--dry-run"],
    ] {
        fs::write(&page, "not the page").unwrap();
        let begun = Instant::now();
        world.run(arguments).exits(0).says(&format!("what is mounted at {} doesn't answer", dead.display()));
        assert!(begun.elapsed() < Duration::from_secs(15), "{arguments:?}: {:?}", begun.elapsed());
        let is_back = fs::read(&page).unwrap() == b"page";
        assert_eq!(is_back, !arguments.contains(&"--dry-run"), "{arguments:?}");
    }
    drop(mount);
    // Where all of it lies there, nothing else could come back.
    let world = World::new();
    fs::write(world.data().join("page"), "page").unwrap();
    world.run(&["backup"]).exits(0);
    let mount = SilentMount::over(&world.data(), 0);
    world.run(&["recover", "--yes"]).exits(2).says("doesn't answer");
    world.run(&["restore", "shop", "--to", "/"]).exits(2).says("doesn't answer");
    let took = ended(&world, &["backup"]);
    assert!(took < Duration::from_secs(5), "its path is the mount, and nobody waits any longer: {took:?}");
    drop(mount);
    world.run(&["recover", "--yes"]).exits(0);
}

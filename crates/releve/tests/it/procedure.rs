//! Recoveries whose steps the plan writes out, and people who take part from elsewhere.

use crate::world::{World, finish};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::Duration;
use testkit::{MailServer, Manner, SmallDisk, pause, wait_until};

const LONG: Duration = Duration::from_secs(60);

/// Appends its name and what it is told to the log of the world: what was done, in its order.
fn log(world: &World, what: &str) -> String {
    let script = format!("echo {what} >> {}", world.path("log").display());
    format!("run = [\"sh\", \"-c\", {script:?}]")
}

/// A world whose shop is a page, and has these lines in the plan besides.
fn world(more: impl FnOnce(&World) -> String) -> World {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let check = format!("check = [{{ file = {:?} }}]\n", world.data().join("page"));
    let more = format!("{check}{}", more(&world));
    world.write_plan(&world.vault("near"), &world.vault("far"), &more);
    world.run(&["check", "--offline"]).exits(0);
    world.run(&["backup"]).exits(0);
    std::fs::remove_file(world.data().join("page")).unwrap();
    world
}

fn done(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A recovery under way, with what it says in a file; killed when the test ends.
struct UnderWay(Child);

impl UnderWay {
    fn begin(world: &World, more: &[&str]) -> Self {
        let said = std::fs::File::create(world.path("said")).unwrap();
        let arguments: Vec<&str> = ["recover", "--yes"].iter().chain(more).copied().collect();
        let mut command = world.command(&arguments);
        command.stdout(Stdio::from(said.try_clone().unwrap())).stderr(Stdio::from(said));
        Self(command.spawn().unwrap())
    }

    fn ends(&mut self) -> i32 {
        let ended = wait_until(LONG, || matches!(self.0.try_wait(), Ok(Some(_))));
        assert!(ended, "it goes on and on");
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(world: &World) -> String {
    std::fs::read_to_string(world.path("said")).unwrap_or_default()
}

fn wait_for(world: &World, text: &str) {
    assert!(wait_until(LONG, || said(world).contains(text)), "{text:?} is not in:\n{}", said(world));
}

fn steps(world: &World) -> Vec<Value> {
    let shown = world.run(&["recover", "--show", "--json"]).exits(0).json();
    let open = shown["recoveries"].as_array().unwrap();
    open.iter().flat_map(|open| open["steps"].as_array().unwrap().clone()).collect()
}

/// Returns the number of the step that does this.
fn number(world: &World, what: &str) -> String {
    let is_it = |step: &Value| step["what"].as_str().unwrap().contains(what);
    let found = steps(world).into_iter().find(is_it);
    found.unwrap_or_else(|| panic!("{what}: {:?}", steps(world)))["step"].to_string()
}

#[test]
fn steps_are_done_where_the_plan_puts_them_and_in_the_cases_that_they_are_for() {
    let world = world(|world| {
        let before = [
            format!("{{ {}, when = {{ causes = [\"human error\"] }} }}", log(world, "before")),
            format!("{{ {}, when = {{ scenarios = [\"other\"] }} }}", log(world, "never")),
        ];
        let mut plan = format!("recover.before = [{}]\n", before.join(", "));
        let _ = writeln!(
            plan,
            "recover.start = {{ command = [\"sh\", \"-c\", \"echo start >> {}\"] }}",
            world.path("log").display()
        );
        let page = world.data().join("page");
        let after = format!(
            "run = [\"sh\", \"-c\", \"echo $GREETING from $PWD; cat {}; echo after >> {}\"]",
            page.display(),
            world.path("log").display()
        );
        let _ = writeln!(
            plan,
            "recover.after = [{{ {after}, env = [\"GREETING=hello\"], directory = \"/usr\", contains = \"hello from /usr\\npage\", user = \"root\" }}]"
        );
        let scenario = |name: &str, cause: &str| format!("[scenarios.{name}]\ncause = {cause:?}\n");
        let first =
            format!("before = [{{ {} }}]\nafter = [{{ {} }}]\n", log(world, "first"), log(world, "last"));
        plan + &scenario("mistake", "human error") + &first + &scenario("other", "software bug")
    });
    let run = world.run(&["recover", "--yes", "--scenario", "mistake"]).exits(0);
    run.says("checks    ").says("runs      sh -c");
    assert_eq!(done(&world), ["first", "before", "start", "after", "last"]);
    assert_eq!(std::fs::read_to_string(world.data().join("page")).unwrap(), "page");
    // Without a scenario only what belongs to the system is done.
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(done(&world)[5..], ["start", "after"]);
}

#[test]
fn what_a_command_must_not_do_is_a_failure_that_says_what_it_printed() {
    for (step, told) in [
        ("run = [\"sh\", \"-c\", \"echo the disk is on fire; exit 7\"]", "the disk is on fire"),
        ("run = [\"echo\", \"almost\"], contains = \"done\"", "did not print \"done\", but: almost"),
        ("run = [\"sleep\", \"300\"], within = \"1 second\"", "did not end within 1 s"),
        ("run = [\"no-such-program\"]", "can't be run"),
        ("run = [\"true\"], user = \"nobody-at-all\"", "nobody-at-all"),
        ("run = [\"false\"], expect = 3", "and not 3"),
    ] {
        let world = world(|_| format!("recover.before = [{{ {step} }}]\n"));
        world.run(&["recover", "--yes"]).exits(2).says(told).says("--resume tries again");
        assert!(!world.data().join("page").exists(), "what waits for a step that failed is not done: {step}");
    }
}

#[test]
fn a_person_answers_from_elsewhere_and_what_is_done_depends_on_it() {
    let world = world(|world| {
        let ask =
            "{ ask = \"Keep the disk?\", name = \"disk\", answers = [\"yes\", \"no\"], who = \"claire\" }";
        let on = |answer: &str| {
            format!("{{ {}, when = {{ asked = \"disk\", answered = [\"{answer}\"] }} }}", log(world, answer))
        };
        format!("recover.before = [{ask}, {}, {}]\n", on("yes"), on("no"))
    });
    world.run(&["answer", "0", "no"]).exits(2).says("no recovery is being carried out");
    let mut recovery = UnderWay::begin(&world, &["--wait"]);
    wait_for(&world, "Claire: Keep the disk? [yes / no]");
    world.run(&["answer", "0", "perhaps"]).exits(64).says("one of: yes, no");
    world.run(&["answer", "0"]).exits(64).says("one of: yes, no");
    world.run(&["answer", "3", "yes"]).exits(2).says("asks nobody anything");
    world.run(&["answer", "0", "no", "--by", "clair"]).exits(64).says("claire");
    world.run(&["answer", "0", "no", "--by", "claire"]).exits(0).says("Keep the disk?: no");
    assert_eq!(recovery.ends(), 0, "{}", said(&world));
    assert!(said(&world).contains("Keep the disk?: no (by claire)"), "{}", said(&world));
    assert_eq!(done(&world), ["no"]);
    // Where nobody is waited for, what depends on an answer is left out, and that is told.
    std::fs::remove_file(world.path("log")).unwrap();
    world.run(&["recover", "--yes"]).exits(1).says("not confirmed: Claire: Keep the disk?");
    assert_eq!(done(&world), Vec::<String>::new());
}

#[test]
fn nothing_is_overwritten_before_two_different_persons_have_approved() {
    let world = world(|_| "recover.approvals = 2\n".into());
    let mut recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "0 of 2 have approved");
    let step = number(&world, "2 persons approve");
    world.run(&["answer", &step, "approve"]).exits(64).says("who approves?");
    world.run(&["answer", &step, "approve", "--by", "hugo"]).exits(0);
    world.run(&["answer", &step, "approve", "--by", "hugo"]).exits(0);
    wait_for(&world, "1 of 2 have approved");
    assert!(!world.data().join("page").exists());
    // Who carries it out dies: what was approved counts.
    drop(recovery);
    recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "1 of 2 have approved");
    world.run(&["answer", &step, "approve", "--by", "claire"]).exits(0);
    assert_eq!(recovery.ends(), 0, "{}", said(&world));
    assert!(world.data().join("page").exists());
    std::fs::remove_file(world.data().join("page")).unwrap();
    recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "0 of 2 have approved");
    world.run(&["answer", &step, "refuse", "--by", "claire"]).exits(0);
    assert_eq!(recovery.ends(), 2, "{}", said(&world));
    assert!(said(&world).contains("claire has refused") && !world.data().join("page").exists());
}

#[test]
fn a_recovery_is_paused_goes_on_and_is_ended_from_another_terminal() {
    let world = world(|world| {
        let gate = world.path("gate");
        let wait =
            format!("{{ run = [\"sh\", \"-c\", \"until test -e {}; do sleep 0.1; done\"] }}", gate.display());
        format!(
            "recover.before = [{wait}]\nrecover.after = [{{ {} }}, {{ run = [\"sleep\", \"300\"], within = \"1 hour\" }}]\n",
            log(world, "after")
        )
    });
    world.run(&["recover", "--pause", "--because", "x"]).exits(2).says("no recovery is being carried out");
    world.run(&["recover", "--pause"]).exits(64).says("--because");
    let mut recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "running sh");
    world.run(&["recover", "--pause", "--because", "the disk is full"]).exits(0);
    wait_for(&world, "paused: the disk is full");
    std::fs::write(world.path("gate"), "").unwrap();
    // What ran has ended, and nothing else begins.
    let is_done = || steps(&world)[0]["is"]["state"] == "done";
    assert!(wait_until(LONG, is_done), "{:?}", steps(&world));
    pause(Duration::from_secs(2));
    assert!(!world.data().join("page").exists());
    world.run(&["recover", "--go-on"]).exits(0);
    assert!(wait_until(LONG, || done(&world) == ["after"]), "{}", said(&world));
    wait_for(&world, "running sleep 300");
    world.run(&["recover", "--abort", "--because", "the wrong point"]).exits(0);
    assert_eq!(recovery.ends(), 2, "{}", said(&world));
    assert!(said(&world).contains("ended before its end: the wrong point"), "{}", said(&world));
    // What is left is known, and what is back is not touched when somebody takes it up.
    world.run(&["recover", "--show"]).says("has ended, and not everything is done");
    std::fs::write(world.data().join("page"), "edited since").unwrap();
    let skipped = number(&world, "sleep 300");
    world.run(&["recover", "--yes", "--skip", &skipped, "--because", "not today"]).exits(1).says("not today");
    assert_eq!(std::fs::read_to_string(world.data().join("page")).unwrap(), "edited since");
    assert_eq!(done(&world), ["after"]);
    world.run(&["recover", "--show"]).exits(0);
    assert!(steps(&world).is_empty());
}

#[test]
fn a_recovery_that_somebody_interrupts_ends_what_is_done_only_once_and_the_same_command_goes_on() {
    let world = world(|world| {
        let (log, gate) = (world.path("log").display().to_string(), world.path("gate").display().to_string());
        let script =
            format!("echo begun >> {log}; until test -e {gate}; do sleep 0.1; done; echo ended >> {log}");
        format!(
            "recover.before = [{{ run = [\"sh\", \"-c\", {script:?}] }}, {{ ask = \"Look at the rack\" }}]\n"
        )
    });
    let interrupt = |recovery: &UnderWay| {
        kill_process(Pid::from_child(&recovery.0), Signal::INT).unwrap();
    };
    let mut recovery = UnderWay::begin(&world, &["--wait"]);
    assert!(wait_until(LONG, || done(&world) == ["begun"]), "{}", said(&world));
    interrupt(&recovery);
    wait_for(&world, "is being left");
    assert!(matches!(recovery.0.try_wait(), Ok(None)));
    std::fs::write(world.path("gate"), "").unwrap();
    assert_eq!(recovery.ends(), 2, "{}", said(&world));
    assert!(said(&world).contains("releve recover --resume shop"), "{}", said(&world));
    assert_eq!((done(&world).join(" ").as_str(), world.data().join("page").exists()), ("begun ended", false));
    // It goes on behind that, and waits for nobody once it is to end.
    let mut recovery = UnderWay::begin(&world, &["--wait"]);
    wait_for(&world, "to do: ");
    interrupt(&recovery);
    assert_eq!(recovery.ends(), 2, "{}", said(&world));
    world.run(&["recover", "--yes"]).exits(1).says("not confirmed");
    assert_eq!((done(&world).join(" ").as_str(), world.data().join("page").exists()), ("begun ended", true));
    // Who can't wait says it twice.
    std::fs::remove_file(world.path("gate")).unwrap();
    let mut recovery = UnderWay::begin(&world, &[]);
    assert!(wait_until(LONG, || done(&world).len() == 3), "{}", said(&world));
    interrupt(&recovery);
    wait_for(&world, "is being left");
    interrupt(&recovery);
    assert!(wait_until(LONG, || matches!(recovery.0.try_wait(), Ok(Some(_)))), "{}", said(&world));
    assert_eq!(recovery.0.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
    std::fs::write(world.path("gate"), "").unwrap();
}

#[test]
fn a_step_that_failed_is_tried_again_while_the_others_go_on() {
    let world = world(|world| {
        let gate = world.path("gate");
        let fails = format!("{{ run = [\"test\", \"-e\", {:?}], meanwhile = true }}", gate.join("missing"));
        let other = format!(
            "{{ run = [\"sh\", \"-c\", \"until test -e {}/end; do sleep 0.1; done\"] }}",
            gate.display()
        );
        format!("recover.before = [{fails}, {other}]\nrecover.after = [{{ {} }}]\n", log(world, "after"))
    });
    let mut recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "failed: ");
    std::fs::create_dir(world.path("gate")).unwrap();
    std::fs::write(world.path("gate/missing"), "").unwrap();
    world.run(&["recover", "--again", &number(&world, "missing")]).exits(0);
    let is_done = || steps(&world)[0]["is"]["state"] == "done";
    assert!(wait_until(LONG, is_done), "{:?}\n{}", steps(&world), said(&world));
    std::fs::write(world.path("gate/end"), "").unwrap();
    assert_eq!(recovery.ends(), 0, "{}", said(&world));
    assert_eq!(done(&world), ["after"]);
}

#[test]
fn people_are_told_what_to_do_and_who_comes_after_them_when_they_do_not_answer() {
    let mail = MailServer::start(Manner::Takes);
    let world = world(|world| {
        world.secret("ack.key", "a key of forty characters that nobody knows");
        let key = world.path("ack.key");
        let relay = format!(
            "{{ host = \"127.0.0.1\", port = {}, tls = \"none\", from = \"releve@atelier.example\" }}",
            mail.port()
        );
        format!(
            "deputy = \"claire\"\nrecover.before = [{{ notify = \"It begins\", who = \"claire\" }}, {{ ask = \"Plug in the spare\", who = \"hugo\" }}]\n\
             [notify]\nkey = {{ file = {key:?} }}\nwithin = \"1 second\"\nrelays = [{relay}]\n"
        )
    });
    let plan = std::fs::read_to_string(world.path("plan.toml")).unwrap();
    let plan = plan
        .replace("name = \"Hugo\"", "name = \"Hugo\"\ncontact = [\"mailto:hugo@atelier.example\"]")
        .replace("name = \"Claire\"", "name = \"Claire\"\ncontact = [\"mailto:claire@atelier.example\"]");
    std::fs::write(world.path("plan.toml"), plan).unwrap();
    let mut recovery = UnderWay::begin(&world, &["--wait"]);
    let messages = mail.wait_for(3);
    let bodies: Vec<_> =
        messages.iter().map(|message| message["body"].as_str().unwrap().to_owned()).collect();
    assert!(bodies[0].contains("It begins") && bodies[0].contains("Claire"), "{bodies:?}");
    assert!(bodies[1].contains("Plug in the spare") && bodies[1].contains("Hugo"), "{bodies:?}");
    assert!(bodies[1].contains("releve answer 1"), "{bodies:?}");
    assert!(bodies[2].contains("Plug in the spare") && bodies[2].contains("Claire"), "{bodies:?}");
    // That a message was received is not that it is done.
    let token = bodies[2].split_once("releve ack ").unwrap().1.split_whitespace().next().unwrap();
    finish(&mut world.command(&["ack", token])).exits(0);
    assert!(recovery.0.try_wait().unwrap().is_none());
    world.run(&["answer", "1", "--by", "claire"]).exits(0);
    assert_eq!(recovery.ends(), 0, "{}", said(&world));
}

/// A shop that comes back once the file `gate` is there.
fn behind_a_gate() -> World {
    world(|world| {
        let wait = format!("until test -e {}; do sleep 0.1; done", world.path("gate").display());
        format!("recover.before = [{{ run = [\"sh\", \"-c\", {wait:?}], repeatable = true }}]\n")
    })
}

#[test]
fn a_full_disk_under_the_state_is_said_and_does_not_keep_the_company_down() {
    let world = behind_a_gate();
    let disk = SmallDisk::mount(4 << 20);
    std::fs::rename(world.path("state"), world.path("state-before")).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(world.path("state-before"))
        .arg(disk.path().join("state"))
        .status();
    assert!(copied.unwrap().success());
    std::os::unix::fs::symlink(disk.path().join("state"), world.path("state")).unwrap();
    let mut recovery = UnderWay::begin(&world, &[]);
    wait_for(&world, "running sh");
    let full = std::fs::write(disk.path().join("fill"), vec![0; 8 << 20]);
    assert!(full.is_err(), "the disk has room for everything");
    std::fs::write(world.path("gate"), "").unwrap();
    assert_eq!(recovery.ends(), 0, "{}", said(&world));
    assert!(world.data().join("page").exists());
    assert!(
        said(&world).contains("could not be noted, so that a crash now would forget it"),
        "{}",
        said(&world)
    );
    assert!(said(&world).contains("could not be recorded"), "{}", said(&world));
    // With room again the next one is as any other.
    std::fs::remove_file(disk.path().join("fill")).unwrap();
    std::fs::remove_file(world.data().join("page")).unwrap();
    world.run(&["recover", "--yes", "--anew"]).exits(0);
    assert!(world.data().join("page").exists() && steps(&world).is_empty());
}

/// Lets the wall clock of a command be set by a file, with libfaketime.
pub(crate) fn with_a_clock(world: &World, command: &mut std::process::Command, shift: &str) {
    let library = std::fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let library =
        library.into_iter().find(|library| library.exists()).expect("libfaketime: cargo xtask setup");
    std::fs::write(world.path("clock"), shift).unwrap();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", world.path("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
}

#[test]
fn a_clock_that_jumps_by_an_hour_changes_nothing_of_how_long_it_took() {
    for jump in ["+1h", "-1h"] {
        let world = behind_a_gate();
        let begin = |shift: &str| {
            let mut command = world.command(&["recover", "--yes", "--json"]);
            with_a_clock(&world, &mut command, shift);
            let out = std::fs::File::create(world.path("said")).unwrap();
            UnderWay(command.stdout(out).stderr(Stdio::null()).spawn().unwrap())
        };
        let begun = std::time::Instant::now();
        let is_under_way = || steps(&world).first().is_some_and(|step| step["is"]["state"] == "begun");
        // While it runs …
        let first = begin("+0");
        assert!(wait_until(LONG, is_under_way));
        std::fs::write(world.path("clock"), jump).unwrap();
        pause(Duration::from_secs(1));
        // … and between two that carry it out.
        let killed = first.0.id();
        drop(first);
        // What libfaketime shares among a process and its children stays when that is killed.
        for left in ["faketime_shm_", "sem.faketime_sem_"] {
            let _ = std::fs::remove_file(format!("/dev/shm/{left}{killed}"));
        }
        let mut second = begin("+0");
        std::fs::write(world.path("gate"), "").unwrap();
        assert_eq!(second.ends(), 0, "{jump}: {}", said(&world));
        let told: Value = serde_json::from_str(&said(&world)).unwrap();
        let rta = told["recovered"]["systems"][0]["rta_seconds"].as_f64().unwrap();
        let most = begun.elapsed().as_secs_f64();
        assert!((1.0..=most).contains(&rta), "{jump}: {rta} of {most}");
    }
}

#[test]
fn what_is_loaded_waits_for_what_it_needs_and_plain_files_come_back_at_once() {
    let world = World::new();
    std::fs::write(world.data().join("page"), "page").unwrap();
    let page = world.data().join("page");
    let more = |early: &str| {
        format!(
            "[systems.directory]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nneeds = [\"shop\"]\n\
             source.command = {{ dump = [\"cat\", {page:?}], load = [\"sh\", \"-c\", \"cat {} && cat >/dev/null\"] }}\n{early}\n",
            page.display()
        )
    };
    world.write_plan(&world.vault("near"), &world.vault("far"), &more(""));
    world.run(&["backup"]).exits(0);
    let again = |code: i32| {
        std::fs::remove_file(&page).unwrap();
        let run = world.run(&["recover", "--yes", "--anew"]).exits(code);
        assert!(page.exists(), "{}", run.err);
    };
    again(0);
    // Whoever says so gets the other order.
    let book = |early: &str| {
        world.write_plan(&world.vault("near"), &world.vault("far"), &more(early));
        let book = world.run(&["recover", "--dry-run", "--json"]).exits(0).json();
        let steps = book["steps"].as_array().unwrap().clone();
        let load = steps.into_iter().find(|step| step["system"] == "directory").unwrap();
        load["after"].as_array().unwrap().len()
    };
    assert_eq!((book(""), book("recover.early = true")), (1, 0));
}

#[test]
fn the_dry_run_lists_what_is_stopped_and_what_people_do_at_the_end_stands_at_the_end() {
    let world = world(|world| {
        format!(
            "recover.stop = {{ command = [\"true\", \"stopped\"] }}\n\
             [scenarios.fire]\ncause = \"site loss\"\nbefore = [{{ ask = \"Is it out?\" }}]\n\
             after = [{{ {} }}, {{ ask = \"Call the insurance\" }}]\n",
            log(world, "after")
        )
    });
    let run =
        world.run(&["recover", "--dry-run", "--scenario", "fire"]).exits(0).says("stops     true stopped");
    let (first, end) = run.err.split_once("at the end").unwrap();
    assert!(first.contains("Is it out?") && !first.contains("Call the insurance"), "{}", run.err);
    assert!(end.contains("Call the insurance"), "{}", run.err);
}

//! Who runs what: of several that want the same at once one does it, whoever is dead keeps nobody from anything, and nothing is done without saying so where that can't be known.

use crate::world::{Run, World};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::{SmallDisk, wait_until};

const LONG: Duration = Duration::from_secs(60);

/// A shop that is started by a command, once the file `gate` is there; each start leaves a line in `log`.
fn world(more: impl FnOnce(&World) -> String) -> World {
    let world = World::new();
    fs::write(world.data().join("page"), "page").unwrap();
    let script = format!(
        "echo start >> {}; until test -e {}; do sleep 0.05; done",
        world.path("log").display(),
        world.path("gate").display()
    );
    let start = format!("recover.start = {{ command = [\"sh\", \"-c\", {script:?}] }}\n");
    let check = format!("check = [{{ file = {:?} }}]\n", world.data().join("page"));
    world.write_plan(&world.vault("near"), &world.vault("far"), &format!("{start}{check}{}", more(&world)));
    world.run(&["backup"]).exits(0);
    fs::remove_file(world.data().join("page")).unwrap();
    world
}

fn starts(world: &World) -> usize {
    fs::read_to_string(world.path("log")).unwrap_or_default().lines().count()
}

fn open_gate(world: &World) {
    fs::write(world.path("gate"), "").unwrap();
}

/// A run of the program with what it says in a file; killed when the test ends.
struct UnderWay<'a> {
    child: Child,
    said: String,
    world: &'a World,
}

impl<'a> UnderWay<'a> {
    fn begin(world: &'a World, name: &str, command: &mut Command) -> Self {
        let file = File::create(world.path(name)).unwrap();
        command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(Stdio::from(file));
        Self { child: command.spawn().unwrap(), said: name.to_owned(), world }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.world.path(&self.said)).unwrap_or_default()
    }

    fn says(&self, text: &str) {
        assert!(wait_until(LONG, || self.said().contains(text)), "{text:?} is not in:\n{}", self.said());
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    fn ends(mut self) -> Run {
        assert!(wait_until(LONG, || self.has_ended()), "it goes on and on: {}", self.said());
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Run { code, out: self.said(), err: String::new() }
    }

    fn dies(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_six_recoveries_that_begin_at_once_one_does_and_what_must_not_be_done_twice_is_done_once() {
    let world = world(|_| String::new());
    let mut all: Vec<UnderWay<'_>> = (0..6)
        .map(|n| UnderWay::begin(&world, &format!("said-{n}"), &mut world.command(&["recover", "--yes"])))
        .collect();
    let mut ended = || all.iter_mut().filter_map(|one| one.has_ended().then_some(())).count();
    assert!(wait_until(LONG, || ended() == 5), "{} of them have ended", ended());
    open_gate(&world);
    let (mut done, mut refused) = (0, 0);
    for one in all {
        let one = one.ends();
        match one.code {
            0 => done += 1,
            _ => {
                one.exits(2).says("a recovery of shop is being carried out").says("process ").says("since ");
                refused += 1;
            }
        }
    }
    assert_eq!((done, refused, starts(&world)), (1, 5, 1));
}

#[test]
fn whoever_waits_at_the_question_has_it_and_one_of_another_set_that_overlaps_is_refused_too() {
    let folder = |world: &World| {
        fs::write(world.path("tmp").join("note"), "a note").unwrap();
        format!(
            "[systems.files]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nowner = \"hugo\"\nsource.files = {{ paths = [{:?}] }}\n",
            world.path("tmp")
        )
    };
    let world = world(folder);
    open_gate(&world);
    // A terminal, as somebody types into it.
    let asked = world.command(&["recover", "shop"]);
    let words: Vec<String> = std::iter::once(asked.get_program())
        .chain(asked.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(world.path("")).stdin(Stdio::piped());
    let mut waiting = UnderWay::begin(&world, "asked", &mut terminal);
    waiting.says("Carry this out?");
    for arguments in
        [&["recover", "--yes"][..], &["recover", "--yes", "shop", "files"], &["recover", "--yes", "shop"]]
    {
        world.run(arguments).exits(2).says("a recovery of shop is being carried out");
    }
    world.run(&["recover", "--yes", "files"]).exits(0);
    world.run(&["recover", "--dry-run"]).exits(0);
    world.run(&["backup", "shop"]).exits(2).says("a recovery of shop is being carried out");
    world.run(&["restore", "shop", "--to", "/"]).exits(2).says("a recovery of shop is being carried out");
    world.run(&["restore", "shop", "--to", "beside"]).exits(0);
    assert_eq!(starts(&world), 0);
    std::io::Write::write_all(&mut waiting.child.stdin.take().unwrap(), b"y\n").unwrap();
    waiting.ends().exits(0);
    assert_eq!(starts(&world), 1);
    world.run(&["backup", "shop"]).exits(0);
}

#[test]
fn a_crashed_recovery_whose_number_another_process_has_now_is_gone_on_with() {
    let world = world(|_| String::new());
    let recovery = UnderWay::begin(&world, "said", &mut world.command(&["recover", "--yes"]));
    assert!(wait_until(LONG, || starts(&world) == 1));
    let crashed = recovery.child.id();
    recovery.dies();
    // As if the number had been given to this process, or were the same each time, as in a container.
    let state = rusqlite::Connection::open(world.path("state/state.db")).unwrap();
    let (ours, theirs) = (format!("/{}/", std::process::id()), format!("/{crashed}/"));
    let changed =
        state.execute("UPDATE lease SET holder = replace(holder, ?1, ?2)", [&theirs, &ours]).unwrap();
    assert!(changed > 0);
    drop(state);
    open_gate(&world);
    let left = world.run(&["recover", "--yes"]).exits(2).says("Going on with the recovery that began");
    left.says("nobody knows whether this is done: start");
    assert_eq!(starts(&world), 1);
}

#[test]
fn a_state_that_is_junk_keeps_a_recovery_from_beginning_until_somebody_says_that_it_may_without() {
    let world = world(|_| String::new());
    open_gate(&world);
    fs::write(world.path("state/state.db"), "junk, and no database at all").unwrap();
    let page = world.data().join("page");
    let refused =
        world.run(&["recover", "--yes"]).exits(2).says("the state can't be used, and nothing was done");
    refused.says("--without-state");
    assert!(!page.exists() && starts(&world) == 0);
    // Nothing is at stake: said, and done.
    world.run(&["recover", "--dry-run"]).exits(0).says("the state can't be used");
    world.run(&["recover", "--yes", "--to", "beside"]).exits(0).says("the state can't be used");
    world.run(&["points"]).exits(0).says("the state can't be opened");
    world.run(&["restore", "shop", "--to", "out"]).exits(0).says("the state can't be opened");
    let told = world.run(&["recover", "--yes", "--without-state", "--json"]).exits(0);
    let told = told.says("GOING ON WITHOUT THE STATE").json();
    assert!(told["state"].as_str().unwrap().starts_with("none: "), "{}", told["state"]);
    assert!(page.exists() && starts(&world) == 1);
}

#[test]
fn a_state_of_which_a_crash_left_no_byte_is_damaged_too_and_every_verb_says_so() {
    let world = world(|_| String::new());
    open_gate(&world);
    fs::write(world.path("state/state.db"), "").unwrap();
    let refused = world.run(&["recover", "--yes"]).exits(2).says("nothing was done").says("--without-state");
    refused.says("releve state rebuild");
    assert_eq!(starts(&world), 0);
    let verbs = [
        &["points"][..],
        &["status"],
        &["backup"],
        &["check", "--json"],
        &["recover", "--show"],
        &["alerts"],
    ];
    for verb in verbs {
        world.run(verb).says("it was a state once, and nothing is left in it");
    }
    world.run(&["recover", "--dry-run"]).exits(0).says("the state can't be used");
    world.run(&["state", "rebuild"]).exits(1).says("a recovery that had not ended may be lost");
    world.run(&["recover", "--yes"]).exits(0);
    assert_eq!(starts(&world), 1);
}

#[test]
fn a_state_on_a_full_disk_keeps_a_recovery_from_beginning_too() {
    let world = world(|_| String::new());
    open_gate(&world);
    let disk = SmallDisk::mount(4 << 20);
    fs::rename(world.path("state"), world.path("state-before")).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(world.path("state-before")).arg(disk.path().join("state"));
    assert!(copy.status().unwrap().success());
    std::os::unix::fs::symlink(disk.path().join("state"), world.path("state")).unwrap();
    assert!(
        fs::write(disk.path().join("fill"), vec![0; 8 << 20]).is_err(),
        "the disk has room for everything"
    );
    world.run(&["recover", "--yes"]).exits(2).says("the state can't be used, and nothing was done");
    assert_eq!(starts(&world), 0);
    let told =
        world.run(&["recover", "--yes", "--without-state"]).exits(0).says("GOING ON WITHOUT THE STATE");
    told.says("state: none: ");
    assert_eq!(starts(&world), 1);
    fs::remove_file(disk.path().join("fill")).unwrap();
    let told = world.run(&["recover", "--yes", "--json"]).exits(0).json();
    assert_eq!(told["state"], "noted");
}

#[test]
fn no_point_is_made_by_itself_of_a_system_that_is_down_or_on_its_way_back() {
    let world = world(|_| String::new());
    let newest = |world: &World| world.points().last().unwrap()["id"].clone();
    let before = newest(&world);
    let recovery = UnderWay::begin(&world, "said", &mut world.command(&["recover", "--yes"]));
    assert!(wait_until(LONG, || starts(&world) == 1));
    // What is lost in the middle of it must not become the newest.
    fs::remove_file(world.data().join("page")).unwrap();
    world.run(&["backup"]).exits(2).says("a recovery of shop is being carried out");
    recovery.dies();
    world.run(&["backup"]).exits(2).says("no point is made").says("hasn't ended").says("--during-incident");
    assert_eq!(newest(&world), before);
    let made = world.run(&["backup", "--during-incident", "--json"]).json();
    assert!(
        made["systems"][0]["doubts"][0].as_str().unwrap().starts_with("made although a recovery"),
        "{made}"
    );
    world.run(&["recover", "--forget"]).exits(0).says("is forgotten");
    world.run(&["recover", "--forget"]).exits(0).says("no recovery of these systems is open");
    world.run(&["incident", "open", "--scenario", "ransomware", "--quiet"]);
    world.run(&["backup"]).exits(2).says("no point is made: incident ").says("releve incident close");
    // Back, although the incident is open still.
    open_gate(&world);
    world.run(&["recover", "--yes", "--point", before.as_str().unwrap()]).exits(0);
    world.run(&["backup"]);
    assert_ne!(newest(&world), before);
}

#[test]
fn the_agent_makes_no_point_of_a_system_that_is_down_says_so_once_and_goes_on_when_it_is_over() {
    let world = world(|_| String::new());
    fs::write(world.data().join("page"), "page").unwrap();
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan.replace("every = \"1 hour\"", "every = \"1 second\"")).unwrap();
    world.run(&["incident", "open", "--scenario", "ransomware", "--quiet"]);
    // Due a second after the point before.
    let once = || world.run(&["agent", "--once"]);
    assert!(wait_until(LONG, || once().code == 1));
    once().exits(1).says("shop: no point is made for now: incident ");
    let agent = UnderWay::begin(&world, "agent", &mut world.command(&["agent"]));
    agent.says("shop: no point is made for now: incident ");
    let points = world.points().len();
    std::thread::park_timeout(Duration::from_millis(2500));
    assert_eq!(agent.said().matches("no point is made for now").count(), 1, "{}", agent.said());
    assert_eq!(world.points().len(), points);
    world.run(&["incident", "close", "--learned", "to look twice"]).exits(0);
    agent.says("points are made again");
    agent.says("shop: point ");
}

#[test]
fn two_plans_with_a_system_of_one_name_do_not_touch_each_others_data_on_their_way() {
    let made = |wait: bool| {
        let world = World::new();
        let (gate, loaded) = (world.path("gate"), world.path("loaded"));
        let wait = if wait {
            format!("until test -e {}; do sleep 0.05; done; ", gate.display())
        } else {
            String::new()
        };
        let load = format!("touch {0}; {wait}cat > {0}", loaded.display());
        let source =
            format!("command = {{ dump = [\"echo\", \"the dump\"], load = [\"sh\", \"-c\", {load:?}] }}");
        world.write_plan_of(&world.vault("near"), &world.vault("far"), &source, "");
        world.run(&["backup"]).exits(0);
        world
    };
    let (one, two) = (made(true), made(false));
    let shared = one.path("tmp");
    let on_their_way =
        || fs::read_dir(&shared).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let first = UnderWay::begin(&one, "said", &mut one.command(&["recover", "--yes"]));
    assert!(wait_until(LONG, || one.path("loaded").exists()), "{}", first.said());
    let its = on_their_way();
    assert_eq!(its.len(), 1, "{its:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&its[0]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    assert!(!its[0].display().to_string().contains("shop"), "{its:?}");
    let other = crate::world::finish(two.command(&["recover", "--yes"]).env("TMPDIR", &shared));
    other.exits(0);
    assert_eq!(on_their_way(), its, "what is another's stays");
    // Killed, and found by the next run of the same state alone.
    first.dies();
    crate::world::finish(two.command(&["recover", "--yes"]).env("TMPDIR", &shared)).exits(0);
    assert_eq!(on_their_way(), its);
    open_gate(&one);
    one.run(&["recover", "--yes"]).exits(0);
    assert!(on_their_way().is_empty());
    assert_eq!(fs::read_to_string(one.path("loaded")).unwrap(), "the dump\n");
}

//! A recovery whose program is killed, for real, at every transition of every step: this test's own binary runs as that program.

use engine::judge::Witness;
use engine::protect::{Job, protect};
use engine::recover::{Before, Hands, Journal, Left, Noted, Open, Wish, Word, carry_out};
use engine::survey::survey;
use engine::vaults::{Absent, Opened, Opening, Secrets};
use engine::{Observer, Question, Reply, Result};
use jiff::Timestamp;
use plan::{Available, Plan, RunbookInput, SourceFile, StepState, SystemName, TimeOfDay, Verdict};
use state::State;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Where the child works, and at which note it dies: `PATH`, `4 before`.
const FOLDER: &str = "DIED_FOLDER";
const AT: &str = "DIED_AT";

const HOST: &str = "server";

fn plan(folder: &Path) -> Plan {
    let at = |name: &str| folder.join(name).display().to_string();
    let log = at("log");
    let system = |name: &str, needs: &str| {
        let data = at(name);
        format!(
            "[systems.{name}]\nhost = \"{HOST}\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nneeds = [{needs}]\nsource.files = {{ paths = [{data:?}] }}\n\
             recover.stop = {{ command = [\"true\"] }}\nrecover.start = {{ command = [\"sh\", \"-c\", \"echo {name} >> {log}\"] }}\n\
             recover.after = [{{ run = [\"sh\", \"-c\", \"echo after-{name} >> {log}\"] }}]\ncheck = [{{ file = \"{data}/content\" }}]\n"
        )
    };
    let text = format!(
        "[organisation]\nname = \"Atelier\"\n[sites.here]\n[hosts.{HOST}]\nsite = \"here\"\n[vaults.near]\nurl = \"file://{}\"\nsite = \"here\"\n\
         password = {{ file = {:?} }}\n[policy]\nvaults = [\"near\"]\nevery = \"1 hour\"\n{}{}",
        at("vault"),
        at("key"),
        system("database", ""),
        system("shop", "\"database\"")
    );
    let parsed = plan::parse(&[SourceFile { name: "plan.toml".into(), text }]);
    parsed.plan.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))
}

struct Files;

impl Secrets for Files {
    fn get(&self, secret: &plan::Secret) -> Result<Vec<u8>> {
        match secret {
            plan::Secret::File(path) => Ok(std::fs::read(path).unwrap()),
            other => panic!("{other:?}"),
        }
    }
    fn s3_keys(&self) -> vault::store::Credentials {
        vault::store::Credentials::default()
    }
}

struct Quiet;

impl Observer for Quiet {
    fn event(&self, _: Option<&SystemName>, _: &str) {}
    fn ask(&self, _: &Question<'_>, _: &dyn Fn() -> bool) -> Option<Reply> {
        Some(Reply { answer: String::new(), by: None })
    }
    fn progress(&self, _: &SystemName, _: &Arc<vault::Progress>) {}
}

/// Dies as a killed process does, before or after the note with this number is written.
struct Dying<'a> {
    inner: &'a Open<'a>,
    notes: AtomicUsize,
    at: Option<(usize, bool)>,
}

impl Journal for Dying<'_> {
    /// One after the other, so that it dies between those that are written at once as well.
    fn note(&self, notes: &[Noted]) -> Result<()> {
        for note in notes {
            let number = self.notes.fetch_add(1, SeqCst);
            let is_last = self.at.filter(|(last, _)| *last == number);
            if is_last.is_some_and(|(_, before)| before) {
                die();
            }
            self.inner.note(std::slice::from_ref(note))?;
            if is_last.is_some() {
                die();
            }
        }
        Ok(())
    }

    fn words(&self) -> Result<Vec<(String, Word)>> {
        self.inner.words()
    }

    fn say(&self, word: &Word) -> Result<()> {
        self.inner.say(word)
    }

    fn forget(&self, key: &str) {
        self.inner.forget(key);
    }

    fn name(&self) -> String {
        self.inner.name()
    }
}

fn die() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

fn open(plan: &Plan, absent: Absent) -> Vec<Opened> {
    let opening = Opening {
        plan,
        secrets: &Files,
        seen: &|_| None,
        absent,
        machine: HOST,
        cache: None,
        now: Timestamp::now(),
        clock: Arc::new(|| TimeOfDay::minute(0)),
        asks: &|_| None,
        patience: None,
        wait: None,
        calls: Arc::new(|_: &plan::VaultName| vault::store::Calls::default()),
    };
    opening.open(&["near".into()])
}

fn holder() -> process::Process {
    process::Process::this().clone()
}

/// Makes the data and a point of each system.
fn protected(folder: &Path) {
    std::fs::write(folder.join("key"), "a password that nobody guesses, and long").unwrap();
    for name in ["database", "shop"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("content"), name).unwrap();
    }
    let plan = plan(folder);
    for name in plan.systems.keys() {
        let job = Job {
            plan: &plan,
            name,
            vaults: &open(&plan, Absent::Create),
            secrets: &Files,
            scratch: &folder.join("scratch"),
            holder: vault::Holder { hostname: HOST.into(), username: "root".into() },
            now: Timestamp::now(),
            watch: None,
            doubts: Vec::new(),
            signer: None,
            witness: &Witness::default(),
        };
        assert!(protect(&job, &vault::Progress::default()).unwrap().is_complete());
    }
}

/// Recovers, from where a run before has left it; whoever is asked about a step in doubt looks whether its effect is there.
fn recover(folder: &Path, at: Option<(usize, bool)>) {
    let plan = plan(folder);
    let vaults = open(&plan, Absent::Refuse);
    let survey = survey(&vaults);
    let state = State::open(&folder.join("state")).unwrap();
    let wish = Wish {
        scenario: None,
        systems: plan.systems.keys().cloned().collect(),
        wanted: None,
        to: None,
        or_earlier: false,
    };
    let run = state.open_recoveries().unwrap().pop();
    let (open, left) = match run {
        Some(run) => {
            let (open, mut left) = Open::resume(&state, run, &holder()).unwrap();
            for step in 0..left.book.steps.len() {
                if left.before.states[step] == StepState::Doubt {
                    let system = &left.book.steps[step].system.as_ref().unwrap().0;
                    let is_run = matches!(left.book.steps[step].kind, plan::StepKind::Run(_));
                    let left_behind = if is_run { format!("after-{system}") } else { system.clone() };
                    let is_done = starts(folder).contains(&left_behind);
                    let verdict = if is_done { Verdict::Done } else { Verdict::Again };
                    open.judge(&mut left, step, &verdict).unwrap();
                }
            }
            (open, left)
        }
        None => {
            let facts = |name: &SystemName| Available {
                points: Witness::default().judged(&plan, &survey, name, Timestamp::now()),
                ..Available::default()
            };
            let book = plan::runbook(&RunbookInput {
                plan: &plan,
                scenario: None,
                systems: wish.systems.clone(),
                wanted: None,
                or_earlier: false,
                to: None,
                machine: HOST.into(),
                stands_in: false,
                now: Timestamp::now(),
                available: plan.systems.keys().map(|name| (name.clone(), facts(name))).collect(),
                vaults: vec![("near".into(), Ok(()))],
            });
            (
                Open::begin(&state, &book, &Before::default(), &wish, &plan, &holder()).unwrap().unwrap(),
                Left { book, before: Before::default() },
            )
        }
    };
    let dying = Dying { inner: &open, notes: AtomicUsize::new(0), at };
    let hands = Hands {
        evidence: &plan::outlook::Evidence::default(),
        plan: &plan,
        vaults: &vaults,
        secrets: &Files,
        folder,
        spools: &folder.join("spools"),
        survey: &survey,
        observer: &Quiet,
        verify: false,
        memory: 1 << 26,
        journal: Some(&dying),
        notifier: None,
        patient: false,
    };
    let done = carry_out(&left.book, &hands, left.before).unwrap();
    assert!(!done.is_open && done.is_whole(), "{done:?}");
    std::fs::write(folder.join("notes"), dying.notes.load(SeqCst).to_string()).unwrap();
    open.end().unwrap();
}

/// Returns which systems were started, and whose step after that was done; one line for each time.
fn starts(folder: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// Runs the recovery in a process of its own, and returns whether it came to its end.
fn in_a_process(folder: &Path, at: Option<(usize, bool)>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["died::child", "--exact", "--ignored", "--nocapture"]).env(FOLDER, folder);
    if let Some((at, before)) = at {
        command.env(AT, format!("{at} {before}"));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.code().is_none(), "{said}");
    output.status.success()
}

#[test]
#[ignore = "it is the program that the other test kills"]
#[allow(clippy::disallowed_methods, reason = "so one process of a test tells another what to do")]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let at = std::env::var(AT).ok().map(|at| {
        let (number, before) = at.split_once(' ').unwrap();
        (number.parse().unwrap(), before.parse().unwrap())
    });
    recover(&folder, at);
}

#[test]
fn killed_at_every_transition_it_goes_on_and_starts_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    protected(folder);
    let crash = || {
        for name in ["database", "shop", "state"] {
            let _ = std::fs::remove_dir_all(folder.join(name));
        }
        let _ = std::fs::remove_file(folder.join("log"));
    };
    crash();
    assert!(in_a_process(folder, None));
    let notes: usize = std::fs::read_to_string(folder.join("notes")).unwrap().parse().unwrap();
    // Two systems, each stopped, put back, started, checked, and with a step of the plan after that; each noted before and after.
    assert_eq!(notes, 20);
    for at in 0..notes {
        for before in [true, false] {
            crash();
            assert!(!in_a_process(folder, Some((at, before))), "{at} {before}: it did not die");
            assert!(in_a_process(folder, None), "{at} {before}");
            let mut starts = starts(folder);
            starts.sort();
            assert_eq!(starts, ["after-database", "after-shop", "database", "shop"], "{at} {before}");
            for name in ["database", "shop"] {
                assert_eq!(std::fs::read_to_string(folder.join(name).join("content")).unwrap(), name);
            }
            assert!(State::open(&folder.join("state")).unwrap().open_recoveries().unwrap().is_empty());
        }
    }
}

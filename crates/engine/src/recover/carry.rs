//! Carries out the steps of a runbook, side by side where nothing keeps them apart, and listens to people meanwhile.

use super::lookout::{Lookout, Restores};
use super::talk::{Heard, Talk};
use super::{Before, Hands, Noted, Recovered, SystemRecovered, Told, step};
use crate::{Error, Result, mishap};
use jiff::{SignedDuration, Timestamp};
use plan::{Course, Plan, Runbook, Step, StepKind, StepState, SystemName, VaultName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How many steps are under way at the same time: more would only wait for the same disks and vaults. People and clocks don't count.
const SIDE_BY_SIDE: usize = 32;
/// How often people are listened to.
const LISTEN: Duration = Duration::from_millis(500);

/// What is said when somebody wants this process to end.
const LEAVES: &str = "is being left: nothing new is begun, what may not be done twice comes to its end, and the rest is for whoever goes on. Once more ends it at once";

/// Carries out the runbook, from where it was left. One with blockers is refused.
pub fn carry_out(book: &Runbook, hands: &Hands<'_>, before: Before) -> Result<Recovered> {
    if let Some(blocker) = book.blockers.first() {
        return Err(Error::new(blocker.clone()));
    }
    let started = Timestamp::now() - SignedDuration::try_from(before.elapsed).unwrap_or_default();
    let begun = Instant::now();
    let seconds = || (before.elapsed + begun.elapsed()).as_secs_f64();
    let mut touched = before.follows;
    let mut tainted = BTreeSet::new();
    let mut course = Course::new(book, before.states);
    let mut recovered = Recovered::new(book, started);
    let places: BTreeMap<_, _> =
        book.systems.iter().enumerate().map(|(at, entry)| (&entry.system, at)).collect();
    for (at, told) in before.told {
        recovered.take(&places, book.steps.get(at), told);
    }
    let note = |notes: &[Noted]| -> bool {
        let Some(Err(error)) = hands.journal.map(|journal| journal.note(notes)) else { return true };
        // Back matters more than remembering how: said, and gone on.
        let text = format!("could not be noted, so that a crash now would forget it: {error}");
        let steps = notes.iter().filter_map(|note| book.steps.get(note.at));
        let systems: BTreeSet<_> = steps.map(|step| step.system.as_ref()).collect();
        systems.into_iter().for_each(|system| hands.observer.event(system, &text));
        false
    };
    let talk = Talk::new(hands.journal);
    let restores = Restores::default();
    let mut lookout = Lookout::new(book, hands, &restores);
    std::thread::scope(|scope| {
        let (done, ended) = channel();
        let mut limits = Limits::new(book, hands.plan);
        let mut listened: Option<Instant> = None;
        let mut notes: Vec<Noted> = Vec::new();
        loop {
            if listened.is_none_or(|listened| listened.elapsed() >= LISTEN) {
                listened = Some(Instant::now());
                for heard in talk.listen() {
                    match heard {
                        Heard::Paused(Some(why)) => hands.observer.event(None, &format!("paused: {why}")),
                        Heard::Paused(None) => hands.observer.event(None, "goes on"),
                        Heard::Aborted(why) => hands.observer.event(None, &format!("is being ended: {why}")),
                        Heard::Verdict { key, step, verdict } => {
                            match course.hear(step, &verdict, seconds()) {
                                Err(why) => hands.observer.event(None, &why),
                                // Whoever comes after a crash hears it again, until it is noted.
                                Ok(()) => {
                                    let state = course.states().get(step).cloned().unwrap_or_default();
                                    if !note(&[Noted { at: step, state, told: Told::default() }]) {
                                        continue;
                                    }
                                }
                            }
                            talk.forget(&key);
                        }
                    }
                }
                if hands.observer.leaves() && talk.leave() {
                    hands.observer.event(None, LEAVES);
                }
                if talk.is_left() {
                    // Also those that were only just begun.
                    restores.stop();
                }
                if !talk.is_over() {
                    lookout.look(course.states(), seconds(), talk.paused());
                }
            }
            // Together with what has ended: one write for all that changes at once.
            let mut begun = Vec::new();
            while !talk.is_paused() && !talk.is_ending() {
                let Some(at) = course.begin(seconds(), &mut |at| limits.let_begin(at)) else { break };
                let state = StepState::Begun { seconds: seconds() };
                notes.push(Noted { at, state, told: Told::default() });
                limits.begin(at);
                begun.push(at);
            }
            if !notes.is_empty() {
                note(&std::mem::take(&mut notes));
            }
            for at in begun {
                let Some(step) = book.steps.get(at) else { continue };
                // Who is told something is not told by what is down; nobody else asks, and of thousands of steps it is a long list.
                let tells = step.kind.is_for_people() || matches!(step.kind, StepKind::Notify { .. });
                let down = if tells { down(book, course.states()) } else { BTreeSet::new() };
                let (talk, restores) = (&talk, &restores);
                let at_work = step::AtWork { at, step, book, hands, talk, restores, down, started };
                let done = done.clone();
                scope.spawn(move || {
                    // Whatever becomes of it, it is heard of: nobody waits for a thread that is dead.
                    let result = mishap::caught(|| at_work.run());
                    let _ = done.send((at, result));
                });
            }
            if limits.is_idle() && (talk.is_ending() || !talk.is_paused()) {
                break;
            }
            let first = match ended.recv_timeout(LISTEN) {
                Ok(ended) => ended,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            for (at, result) in std::iter::once(first).chain(ended.try_iter()) {
                limits.end(at);
                let step = book.steps.get(at);
                // It stays begun, as where the process was killed: whoever goes on does it again.
                if talk.is_left() && result.is_err() && step.is_some_and(|step| step.kind.is_repeatable()) {
                    touched |= step.is_some_and(|step| changes(&step.kind));
                    continue;
                }
                let (state, told) = match result {
                    Ok(told) => {
                        touched |= step.is_none_or(|step| changes(&step.kind));
                        let (unconfirmed, answer) = (told.unconfirmed.clone(), told.answer.clone());
                        (StepState::Done { seconds: seconds(), unconfirmed, answer }, told)
                    }
                    Err(error) => {
                        // One that has changed something once is never as it was.
                        if !error.untouched || before.follows {
                            tainted.insert(at);
                        }
                        let untouched = !tainted.contains(&at);
                        touched |= !untouched && step.is_none_or(|step| changes(&step.kind));
                        let system = step.and_then(|step| step.system.as_ref());
                        hands.observer.event(system, &format!("failed: {error}"));
                        let told = Told { untouched, ..Told::default() };
                        (StepState::Failed { why: error.to_string() }, told)
                    }
                };
                notes.push(Noted { at, state: state.clone(), told: told.clone() });
                recovered.take(&places, step, told);
                course.end(at, state);
            }
        }
    });
    recovered.aborted = talk.aborted();
    recovered.conclude(book, course.states(), seconds());
    recovered.untouched = !touched && recovered.is_nothing();
    Ok(recovered)
}

/// Returns whether a step that was begun may have changed anything but what people know.
pub(super) const fn changes(kind: &StepKind) -> bool {
    !matches!(
        kind,
        StepKind::Ask { .. }
            | StepKind::Approve(_)
            | StepKind::Notify { .. }
            | StepKind::Wait(_)
            | StepKind::Check(_)
            | StepKind::Inspect
    )
}

/// Returns the systems that are not back yet.
fn down(book: &Runbook, states: &[StepState]) -> BTreeSet<SystemName> {
    let steps = book.steps.iter().zip(states).filter(|(step, state)| !step.meanwhile && !state.is_settled());
    steps.filter_map(|(step, _)| step.system.clone()).collect()
}

/// What is under way, and how much of it may be.
struct Limits<'a> {
    book: &'a Runbook,
    /// How many may be put back on this machine …
    here: Option<u32>,
    /// … and from each vault.
    vaults: BTreeMap<&'a VaultName, u32>,
    under_way: BTreeSet<usize>,
    /// How many of these take something of the machine.
    busy: usize,
}

impl<'a> Limits<'a> {
    fn new(book: &'a Runbook, plan: &'a Plan) -> Self {
        let here = plan.hosts.iter().filter(|(name, _)| plan.machine_name(name) == book.machine);
        Self {
            book,
            here: here.filter_map(|(_, host)| host.restores).min(),
            vaults: plan.vaults.iter().filter_map(|(name, vault)| Some((name, vault.restores?))).collect(),
            under_way: BTreeSet::new(),
            busy: 0,
        }
    }

    /// Returns whether a step may begin now.
    fn let_begin(&self, at: usize) -> bool {
        let Some(step) = self.book.steps.get(at) else { return false };
        if takes_nothing(step) {
            return true;
        }
        // Asked of each of thousands that could begin, each time one ends: so it is counted as they come and go.
        if self.busy >= SIDE_BY_SIDE {
            return false;
        }
        if self.here.is_none() && self.vaults.is_empty() {
            return true;
        }
        let Some(vault) = self.restores_from(at) else { return true };
        let others: Vec<_> = self.under_way.iter().filter_map(|at| self.restores_from(*at)).collect();
        let fits = |limit: u32, count: usize| count < limit.max(1) as usize;
        let of_vault = others.iter().filter(|other| **other == vault).count();
        self.here.is_none_or(|limit| fits(limit, others.len()))
            && self.vaults.get(vault).is_none_or(|limit| fits(*limit, of_vault))
    }

    /// Returns the vault that a step reads first, if it puts data back.
    fn restores_from(&self, at: usize) -> Option<&'a VaultName> {
        let step = self.book.steps.get(at).filter(|step| step.kind.puts_back())?;
        let entry = self.book.systems.iter().find(|entry| Some(&entry.system) == step.system.as_ref())?;
        entry.vaults.first()
    }

    fn begin(&mut self, at: usize) {
        if self.under_way.insert(at) && self.takes(at) {
            self.busy += 1;
        }
    }

    fn end(&mut self, at: usize) {
        if self.under_way.remove(&at) && self.takes(at) {
            self.busy = self.busy.saturating_sub(1);
        }
    }

    fn takes(&self, at: usize) -> bool {
        self.book.steps.get(at).is_some_and(|step| !takes_nothing(step))
    }

    fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }
}

const fn takes_nothing(step: &Step) -> bool {
    matches!(step.kind, StepKind::Ask { .. } | StepKind::Approve(_) | StepKind::Wait(_))
}

impl Recovered {
    fn new(book: &Runbook, started: Timestamp) -> Self {
        Self {
            started,
            seconds: 0.0,
            systems: book.systems.iter().map(SystemRecovered::new).collect(),
            unconfirmed: Vec::new(),
            failed: Vec::new(),
            findings: Vec::new(),
            aborted: None,
            is_open: false,
            untouched: false,
        }
    }

    /// Takes in what a step has told; `places` says where its system stands among all.
    fn take(&mut self, places: &BTreeMap<&SystemName, usize>, step: Option<&Step>, told: Told) {
        let place = step.and_then(|step| places.get(step.system.as_ref()?).copied());
        if let Some(entry) = place.and_then(|place| self.systems.get_mut(place)) {
            entry.take(told);
        } else {
            self.findings.extend(told.notes);
        }
    }

    fn conclude(&mut self, book: &Runbook, states: &[StepState], seconds: f64) {
        self.seconds = seconds;
        for (step, state) in book.steps.iter().zip(states) {
            match state {
                StepState::Done { unconfirmed: Some(text), .. } => self.unconfirmed.push(text.clone()),
                StepState::Failed { why } if step.system.is_none() => {
                    self.failed.push(format!("{}: {why}", step.kind));
                }
                StepState::Skipped { why } if step.system.is_none() => {
                    self.failed.push(format!("{} was skipped: {why}", step.kind));
                }
                _ => {}
            }
        }
        let mut own: BTreeMap<&SystemName, Vec<(&Step, &StepState)>> = BTreeMap::new();
        for (step, state) in book.steps.iter().zip(states) {
            if let Some(system) = &step.system {
                own.entry(system).or_default().push((step, state));
            }
        }
        for entry in &mut self.systems {
            entry.conclude(own.get(&entry.system).map_or(&[][..], Vec::as_slice));
        }
        let is_left = |state: &StepState| {
            matches!(state, StepState::Waiting | StepState::Begun { .. } | StepState::Doubt)
        };
        self.is_open = self.aborted.is_none() && states.iter().any(is_left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Survey;
    use crate::vaults::Secrets;
    use crate::{Observer, Question, Reply};
    use plan::{Available, Facts, RunbookInput, SourceFile};

    /// Three systems of this machine, each with a point in both vaults.
    fn book(host: &str, vault: &str) -> (Plan, Runbook) {
        let mut text = format!(
            "[organisation]\nname = \"Atelier\"\n[sites.here]\n[hosts.server]\nsite = \"here\"\n{host}\n\
             [vaults.near]\nurl = \"file:///vault\"\nsite = \"here\"\npassword = {{ file = \"/key\" }}\n{vault}\n\
             [policy]\nvaults = [\"near\"]\nevery = \"1 hour\"\n"
        );
        for name in ["a", "b", "c"] {
            text += &format!(
                "[systems.{name}]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.files = {{ paths = [\"/srv/{name}\"] }}\n"
            );
        }
        let plan = plan::parse(&[SourceFile { name: "plan.toml".into(), text }]).plan.unwrap();
        let point = Facts {
            id: "ab12".into(),
            complete: true,
            files: 1,
            bytes: 1,
            vaults: vec!["near".into()],
            ..Facts::default()
        };
        let all = || Available { points: vec![point.clone()], ..Available::default() };
        let book = plan::runbook(&RunbookInput {
            plan: &plan,
            scenario: None,
            systems: vec![],
            wanted: None,
            or_earlier: false,
            to: None,
            machine: "server".into(),
            stands_in: false,
            now: Timestamp::UNIX_EPOCH,
            available: plan.systems.keys().map(|name| (name.clone(), all())).collect(),
            vaults: vec![("near".into(), Ok(()))],
        });
        assert_eq!((book.blockers.len(), book.steps.len()), (0, 3));
        (plan, book)
    }

    #[test]
    fn no_more_is_put_back_at_once_than_the_host_and_the_vault_bear() {
        for (host, vault, at_once) in [("restores = 1", "", 1), ("", "restores = 2", 2), ("", "", 3)] {
            let (plan, book) = book(host, vault);
            let mut limits = Limits::new(&book, &plan);
            let begun = (0..3).filter(|at| {
                let may = limits.let_begin(*at);
                if may {
                    limits.begin(*at);
                }
                may
            });
            assert_eq!(begun.count(), at_once, "{host} {vault}");
            limits.end(0);
            assert!(limits.let_begin(0));
        }
    }

    /// Is told what happens, and panics where a step tells it: what listens to the recovery itself is not a step's thread.
    struct Fatal(std::thread::ThreadId, std::sync::Mutex<Vec<String>>);

    impl Observer for Fatal {
        fn event(&self, _: Option<&SystemName>, text: &str) {
            assert_eq!(std::thread::current().id(), self.0, "injected into: {text}");
            self.1.lock().unwrap().push(text.to_owned());
        }
        fn ask(&self, question: &Question<'_>, _: &dyn Fn() -> bool) -> Option<Reply> {
            panic!("injected into: {}", question.text)
        }
        fn progress(&self, _: &SystemName, _: &std::sync::Arc<vault::Progress>) {
            panic!("injected into a restore")
        }
    }

    struct NoSecrets;

    impl Secrets for NoSecrets {
        fn get(&self, _: &plan::Secret) -> Result<Vec<u8>> {
            Err(Error::new("there is none"))
        }
        fn s3_keys(&self) -> vault::store::Credentials {
            vault::store::Credentials::default()
        }
    }

    #[test]
    fn a_step_whose_thread_panics_has_failed_and_nobody_waits_for_it() {
        let (plan, whole) = book("", "");
        let action = || plan::Action { command: Some(vec!["true".into()]), ..plan::Action::default() };
        let ask = StepKind::Ask { text: "look".into(), who: None, within: None, answers: vec![] };
        let run = plan::Run { command: vec!["true".into()], ..plan::Run::default() };
        let kinds = [
            StepKind::Wait(plan::Period::seconds(1)),
            StepKind::Run(run),
            StepKind::Stop(action()),
            StepKind::Start(action()),
            StepKind::Check(plan::Check { file: Some("/".into()), ..plan::Check::default() }),
            StepKind::Inspect,
            ask,
        ];
        let folder = tempfile::tempdir().unwrap();
        for kind in kinds {
            let mut book = whole.clone();
            let first = Step { kind: kind.clone(), after: vec![], ..book.steps[0].clone() };
            let waits = Step { after: vec![0], ..book.steps[0].clone() };
            book.steps = vec![first, waits];
            let observer = Fatal(std::thread::current().id(), std::sync::Mutex::default());
            let hands = Hands {
                plan: &plan,
                vaults: &[],
                secrets: &NoSecrets,
                folder: folder.path(),
                spools: folder.path(),
                survey: &Survey::default(),
                evidence: &plan::outlook::Evidence::default(),
                observer: &observer,
                verify: false,
                memory: 1 << 26,
                journal: None,
                notifier: None,
                patient: false,
            };
            let recovered = carry_out(&book, &hands, Before::default()).unwrap();
            assert!(!recovered.is_whole(), "{kind}");
            let said = observer.1.lock().unwrap().join("\n");
            assert!(said.contains("failed: a mistake of this program, and not yours"), "{kind}: {said}");
            assert!(said.contains("injected"), "{kind}: {said}");
        }
    }
}

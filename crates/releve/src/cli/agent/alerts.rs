//! Goes rounds, and tells people what is wrong: a thread of its own, since a backup may take hours. Another one looks into the vaults now and then: one that hangs
//! mustn't keep anybody from being told so. A third says elsewhere that they go on.

use super::beats::{Beats, Pulse};
use super::people::end;
use crate::session::Session;
use crate::show::Screen;
use engine::survey::survey;
use engine::{Result, mishap};
use jiff::Timestamp;
use state::Beat;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(15);
/// Between two looks into the vaults, at least and at most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(3600));
/// How long what vaults show is waited for before people are told that a promise is broken.
const ASK_WITHIN: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);

/// The threads that go rounds. Dropped, they end.
pub(super) struct Alerts {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Alerts {
    pub(super) fn keep(session: &Session, screen: &Arc<Screen>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pulse = Pulse::default();
        let keeper = || Keeper {
            session: session.clone(),
            screen: Arc::clone(screen),
            stop: Arc::clone(&stop),
            said: BTreeMap::new(),
            pulse: pulse.clone(),
        };
        let (rounds, looks) = (keeper(), keeper());
        // Nobody waits for a vault that hangs.
        std::thread::spawn(move || looks.look());
        // Nor for whoever takes the heartbeat.
        let beats = Beats::new(session, screen, &stop, &pulse);
        std::thread::spawn(move || beats.go());
        let thread = Some(std::thread::spawn(move || rounds.go()));
        Self { stop, thread }
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        end(self.thread.take());
    }
}

struct Keeper {
    session: Session,
    screen: Arc<Screen>,
    stop: Arc<AtomicBool>,
    /// What was said last, by what it is about: the same is said once.
    said: BTreeMap<&'static str, String>,
    /// How the rounds go.
    pulse: Pulse,
}

impl Keeper {
    fn go(mut self) {
        while !self.stop.load(Relaxed) {
            match mishap::caught(|| self.round()) {
                Ok(()) => self.say("alerts", String::new()),
                Err(error) => {
                    self.say(
                        "alerts",
                        format!("alerts: it could not be looked whether all is well: {error}"),
                    );
                }
            }
            self.wait(ROUND_EVERY);
        }
    }

    fn round(&mut self) -> Result<()> {
        // Where the state can't be opened no round counts, and no heartbeat is sent: whoever waits for it notices.
        let state = self.session.state()?;
        let noted = state.note_beat(&Beat { at: Timestamp::now(), stopped: false });
        self.pulse.begin();
        let (session, holder) = (self.session.clone(), self.session.run_holder());
        let notifier = session.notifier(&state, &holder);
        let watchman = session.watchman(&notifier, true);
        let round = noted.map_err(engine::Error::from).and_then(|()| watchman.round(&|| ask(&session)));
        self.pulse.ended(round.as_ref().err().map(|error| error.message.as_str()));
        let round = round?;
        for line in &round.said {
            self.screen.line(line);
        }
        if let Some(told) = watchman.summarise()? {
            let names: Vec<_> = told.iter().map(|person| person.0.as_str()).collect();
            self.screen.line(&format!("the week's summary was sent to: {}", names.join(", ")));
        }
        Ok(())
    }

    /// Looks into the vaults now and then: whether they answer, and how far systems of other machines are.
    fn look(mut self) {
        let plan = &self.session.plan;
        let elsewhere =
            plan.systems.values().filter(|system| !plan.runs_on(system, &self.session.holder.hostname));
        let every = elsewhere.map(|system| system.rpo.0 / 2).min().unwrap_or(LOOK_EVERY.1);
        let every = every.clamp(LOOK_EVERY.0, LOOK_EVERY.1);
        while !self.stop.load(Relaxed) {
            if let Err(error) = mishap::caught(|| look_once(&self.session)) {
                self.say("vaults", format!("the vaults could not be looked into: {error}"));
            }
            self.wait(every);
        }
    }

    fn wait(&self, time: Duration) {
        // The clock that nobody sets stands still while the machine sleeps: the other one ends the wait then.
        let until = Instant::now() + time;
        let by_clock = Timestamp::now().checked_add(time).unwrap_or(Timestamp::MAX);
        while !self.stop.load(Relaxed) && Instant::now() < until && Timestamp::now() < by_clock {
            std::thread::park_timeout(PAUSE);
        }
    }

    fn say(&mut self, about: &'static str, text: String) {
        if self.said.get(about) != Some(&text) {
            if !text.is_empty() {
                self.screen.line(&text);
            }
            self.said.insert(about, text);
        }
    }
}

/// Looks into the vaults before people are told that a promise is broken, and waits a little for what they show: one that hangs keeps nobody from being told.
fn ask(session: &Session) {
    let (tell, told) = channel();
    let session = session.clone();
    std::thread::spawn(move || {
        // What could not be seen counts as not there.
        let _ = mishap::caught(|| look_once(&session));
        let _ = tell.send(());
    });
    let _ = told.recv_timeout(ASK_WITHIN);
}

/// Looks into the vaults once, and notes for the next round what is seen.
fn look_once(session: &Session) -> Result<()> {
    let state = session.state()?;
    let seen = session.known(Some(&state));
    let vaults = session.peek(&state);
    // What is found is noted by that for the next round, which tells people.
    let (survey, _) = session.looked(Some(&state), &seen, &vaults, survey(&vaults));
    let plan = &session.plan;
    for (name, system) in &plan.systems {
        if plan.runs_on(system, &session.holder.hostname) {
            continue;
        }
        let newest = survey.of(name).rev().find(|surveyed| surveyed.point.complete);
        let point = newest.map(|newest| newest.point.time);
        // That of another system, made in its place, brings nothing back before its first point.
        let log = survey.log(name).filter(|log| newest.is_none_or(|newest| log.is_of(&newest.facts())));
        let log = log.and_then(|log| log.until);
        // A newer one may lie in a vault that doesn't answer: less than what was seen is no news then.
        let seen_whole = survey.unreachable.is_empty();
        let known = state.reached()?.get(&name.0).copied();
        if let Some(reached) = point.max(log).filter(|reached| seen_whole || Some(*reached) > known) {
            state.note_reached(&name.0, reached)?;
        }
    }
    Ok(())
}

//! Goes rounds, and tells people what is wrong: a thread of its own, since a backup may take hours. Another one looks into the vaults now and then: one that hangs
//! mustn't keep anybody from being told so.

use super::people::end;
use crate::session::Session;
use crate::show::Screen;
use engine::survey::survey;
use engine::{Result, mishap};
use jiff::Timestamp;
use state::{Beat, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two rounds.
const ROUND_EVERY: Duration = Duration::from_secs(15);
/// Between two looks into the vaults, at least and at most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(3600));
const PAUSE: Duration = Duration::from_millis(200);
/// The heartbeat comes no more often: each time it is looked whether all is well.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// The threads that go rounds. Dropped, they end.
pub(super) struct Alerts {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Alerts {
    pub(super) fn keep(session: &Session, screen: &Arc<Screen>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let keeper = || Keeper {
            session: session.clone(),
            screen: Arc::clone(screen),
            stop: Arc::clone(&stop),
            said: BTreeMap::new(),
            beaten: None,
        };
        let (rounds, looks) = (keeper(), keeper());
        // Nobody waits for a vault that hangs.
        std::thread::spawn(move || looks.look());
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
    /// When it was told elsewhere last that the agent is alive.
    beaten: Option<Instant>,
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
            self.pause();
        }
    }

    /// Waits for the next round, and says meanwhile that the agent is alive where that is asked for more often.
    fn pause(&mut self) {
        let until = Instant::now() + ROUND_EVERY;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let due = self.due_in().filter(|due| *due < left);
            self.wait(due.unwrap_or(left));
            if due.is_none() || self.stop.load(Relaxed) {
                return;
            }
            // What is wrong is looked for again: an alert may have opened meanwhile.
            if let Err(error) = mishap::caught(|| self.beat_between()) {
                self.say("heartbeat", error.message);
                self.wait(until.saturating_duration_since(Instant::now()));
                return;
            }
        }
    }

    /// Returns in how long the heartbeat is due, if the plan has one.
    fn due_in(&self) -> Option<Duration> {
        let heartbeat = self.session.plan.notify.as_ref()?.heartbeat.as_ref()?;
        let since = self.beaten.map_or(Duration::MAX, |beaten| beaten.elapsed());
        Some(heartbeat.every().saturating_sub(since).max(BEAT_EVERY))
    }

    fn beat_between(&mut self) -> Result<()> {
        let state = self.session.state()?;
        let (session, holder) = (self.session.clone(), self.session.run_holder());
        let notifier = session.notifier(&state, &holder);
        let trouble = session.watchman(&notifier, true).trouble()?;
        self.beat(trouble.as_deref(), &state);
        Ok(())
    }

    fn round(&mut self) -> Result<()> {
        // Where the state can't be opened no heartbeat is sent either: whoever waits for it notices.
        let state = self.session.state()?;
        let noted = state.note_beat(&Beat { at: Timestamp::now(), stopped: false });
        let (session, holder) = (self.session.clone(), self.session.run_holder());
        let notifier = session.notifier(&state, &holder);
        let watchman = session.watchman(&notifier, true);
        let look = || -> Result<_> {
            let round = watchman.round()?;
            // What is open, and what people aren't told of yet: it isn't well before they are.
            Ok((round, self.is_due().then(|| watchman.trouble()).transpose()?))
        };
        let (round, trouble) = match noted.map_err(engine::Error::from).and_then(|()| look()) {
            Ok(seen) => seen,
            Err(error) => {
                self.beat(Some(&error.message), &state);
                return Err(error);
            }
        };
        for line in &round.said {
            self.screen.line(line);
        }
        if let Some(trouble) = trouble {
            self.beat(trouble.as_deref(), &state);
        }
        if let Some(told) = watchman.summarise()? {
            let names: Vec<_> = told.iter().map(|person| person.0.as_str()).collect();
            self.screen.line(&format!("the week's summary was sent to: {}", names.join(", ")));
        }
        Ok(())
    }

    /// Returns whether it is time for the heartbeat, if the plan has one.
    fn is_due(&self) -> bool {
        let heartbeat = self.session.plan.notify.as_ref().and_then(|notify| notify.heartbeat.as_ref());
        let every = heartbeat.map(plan::notify::Heartbeat::every);
        every.is_some_and(|every| self.beaten.is_none_or(|beaten| beaten.elapsed() >= every))
    }

    /// Tells the plan's address that the agent is alive, if it is time.
    fn beat(&mut self, trouble: Option<&str>, state: &State) {
        if !self.is_due() {
            return;
        }
        self.beaten = Some(Instant::now());
        let holder = self.session.run_holder();
        let text = match self.session.notifier(state, &holder).beat(trouble) {
            Ok(()) => String::new(),
            Err(error) => error.message,
        };
        self.say("heartbeat", text);
    }

    /// Looks into the vaults now and then: whether they answer, and how far systems of other machines are.
    fn look(mut self) {
        let plan = &self.session.plan;
        let elsewhere =
            plan.systems.values().filter(|system| !plan.runs_on(system, &self.session.holder.hostname));
        let every = elsewhere.map(|system| system.rpo.0 / 2).min().unwrap_or(LOOK_EVERY.1);
        let every = every.clamp(LOOK_EVERY.0, LOOK_EVERY.1);
        while !self.stop.load(Relaxed) {
            if let Err(error) = mishap::caught(|| self.look_once()) {
                self.say("vaults", format!("the vaults could not be looked into: {error}"));
            }
            self.wait(every);
        }
    }

    fn look_once(&self) -> Result<()> {
        let state = self.session.state()?;
        let seen = self.session.known(Some(&state));
        let vaults = self.session.peek(&state);
        let survey = survey(&vaults);
        // Noted by that for the next round, which tells people.
        let _ = self.session.vanished(Some(&state), &seen, &vaults, &survey);
        let plan = &self.session.plan;
        for (name, system) in &plan.systems {
            if plan.runs_on(system, &self.session.holder.hostname) {
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

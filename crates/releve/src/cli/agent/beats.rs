//! Says elsewhere that the agent is alive (`notify.heartbeat`), on a beat of its own: a round that tells people takes as long as their relays do. It says so only while
//! rounds go on: one that hangs must be noticed by whoever waits for the next beat.

use crate::session::Session;
use crate::show::Screen;
use engine::{Result, mishap};
use jiff::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The heartbeat comes no more often, since each time it is looked whether all is well, and no more seldom.
const EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(365 * 86_400));
/// Rounds that have not ended for so long are dead, unless they were seen to take longer: the time after which the agent counts as gone elsewhere too.
const ALIVE_FOR: Duration = Duration::from_secs(300);
/// Where rounds take long, a dead one is told from a slow one after so many of them.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// How the rounds go. Clones are the same.
#[derive(Debug, Default, Clone)]
pub(super) struct Pulse(Arc<Mutex<Rounds>>);

#[derive(Debug, Default)]
struct Rounds {
    /// When the last one ended, or the first one was begun.
    since: Option<Instant>,
    /// How long the longest of the last ones took, with the pause before it.
    longest: Duration,
    /// Why the last one could not look.
    failure: Option<String>,
}

impl Pulse {
    /// The first round has noted that the agent is there.
    pub(super) fn begin(&self) {
        self.rounds().since.get_or_insert_with(Instant::now);
    }

    /// A round has ended: whole, or with why it could not look.
    pub(super) fn ended(&self, failure: Option<&str>) {
        self.rounds().end(Instant::now(), failure);
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    fn end(&mut self, now: Instant, failure: Option<&str>) {
        let took = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // One that took long is forgotten little by little.
        self.longest = took.max(self.longest / 2);
        self.since = Some(now);
        self.failure = failure.map(str::to_owned);
    }

    fn is_alive(&self, now: Instant) -> bool {
        let alive_for = ALIVE_FOR.max(self.longest.saturating_mul(ROUNDS));
        self.since.is_some_and(|since| now.saturating_duration_since(since) < alive_for)
    }
}

/// The thread of the heartbeat.
pub(super) struct Beats {
    session: Session,
    screen: Arc<Screen>,
    stop: Arc<AtomicBool>,
    pulse: Pulse,
    /// What was said last: the same is said once.
    said: String,
}

impl Beats {
    pub(super) fn new(
        session: &Session,
        screen: &Arc<Screen>,
        stop: &Arc<AtomicBool>,
        pulse: &Pulse,
    ) -> Self {
        let (screen, stop) = (Arc::clone(screen), Arc::clone(stop));
        Self { session: session.clone(), screen, stop, pulse: pulse.clone(), said: String::new() }
    }

    /// Beats until it is stopped, if the plan has a heartbeat.
    pub(super) fn go(mut self) {
        let heartbeat = self.session.plan.notify.as_ref().and_then(|notify| notify.heartbeat.as_ref());
        let Some(every) = heartbeat.map(|heartbeat| heartbeat.every().clamp(EVERY.0, EVERY.1)) else {
            return;
        };
        let (mut due, mut took) = (Due::now(), Duration::ZERO);
        while !self.stop.load(Relaxed) {
            let now = Instant::now();
            // To look takes its time, which is taken from before.
            let is_due = due.is_within(took.min(every / 2), now);
            let failure = {
                let rounds = self.pulse.rounds();
                (is_due && rounds.is_alive(now)).then(|| rounds.failure.clone())
            };
            let Some(failure) = failure else {
                std::thread::park_timeout(PAUSE);
                continue;
            };
            let said = match mishap::caught(|| self.beat(failure, &due)) {
                Ok(looked) => {
                    took = looked;
                    String::new()
                }
                Err(error) => error.message,
            };
            due = due.next(now, every);
            if said != self.said {
                if !said.is_empty() {
                    self.screen.line(&said);
                }
                self.said = said;
            }
        }
    }

    /// Looks what isn't well, and says it when it is time; an alert may have opened since the last round. Returns how long it took to look.
    fn beat(&self, failure: Option<String>, due: &Due) -> Result<Duration> {
        let begun = Instant::now();
        // Where the state can't be opened no heartbeat is sent: whoever waits for it notices.
        let state = self.session.state()?;
        let holder = self.session.run_holder();
        let notifier = self.session.notifier(&state, &holder);
        let trouble = failure.or_else(|| {
            let found = self.session.watchman(&notifier, true).trouble();
            found.unwrap_or_else(|error| Some(error.message))
        });
        let took = begun.elapsed();
        while !due.is_within(Duration::ZERO, Instant::now()) && !self.stop.load(Relaxed) {
            std::thread::park_timeout(PAUSE);
        }
        notifier.beat(trouble.as_deref())?;
        Ok(took)
    }
}

/// When the next beat is due, by both clocks: the one that nobody sets stands still while the machine sleeps.
struct Due {
    at: Instant,
    by_clock: Timestamp,
}

impl Due {
    fn now() -> Self {
        Self { at: Instant::now(), by_clock: Timestamp::now() }
    }

    fn is_within(&self, time: Duration, now: Instant) -> bool {
        now + time >= self.at || Timestamp::now().checked_add(time).is_ok_and(|clock| clock >= self.by_clock)
    }

    /// Returns when the one after it is due. One that came late moves those that follow it.
    fn next(&self, beaten: Instant, every: Duration) -> Self {
        let at = self.at.max(beaten) + every;
        let left = at.saturating_duration_since(Instant::now());
        Self { at, by_clock: Timestamp::now().checked_add(left).unwrap_or(Timestamp::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_end_no_more_silence_the_heartbeat_and_slow_ones_do_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rounds = Rounds::default();
        assert!(!rounds.is_alive(at(0)), "none was begun");
        rounds.since = Some(at(0));
        assert!(rounds.is_alive(at(299)) && !rounds.is_alive(at(300)), "the first one hangs");
        // One that takes four minutes, then one that hangs.
        rounds.end(at(240), Some("the state is full"));
        assert_eq!(rounds.failure.as_deref(), Some("the state is full"));
        assert!(rounds.is_alive(at(240 + 719)) && !rounds.is_alive(at(240 + 720)));
        // What was slow once is not held against those that follow for ever.
        (0..10).for_each(|round| rounds.end(at(256 + 16 * round), None));
        assert!(rounds.failure.is_none() && !rounds.is_alive(at(256 + 144 + 300)));
    }

    #[test]
    fn beats_keep_their_time_and_one_that_was_late_is_not_made_up_for() {
        let every = Duration::from_secs(60);
        let due = Due::now();
        let (early, late) = (due.at - Duration::from_secs(2), due.at + Duration::from_secs(90));
        assert_eq!(due.next(early, every).at, due.at + every, "it was looked before, and said in time");
        assert_eq!(due.next(late, every).at, late + every);
        assert!(!due.next(early, every).is_within(Duration::from_secs(30), due.at));
    }
}

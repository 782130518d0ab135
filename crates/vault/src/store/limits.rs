//! How long a distant store may keep us waiting, and what is tried again meanwhile.

use super::{Asking, Pace};
use crate::Kind;
use std::time::{Duration, Instant};

/// No pause between two tries is longer, but for what the store itself asks for.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A store that asks to be left alone for longer is out of reach for this run.
const AFTER_MAX: Duration = Duration::from_secs(10 * 60);

/// The bounds of one call on a distant store.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The pause before the second try; it doubles with each further one up to eight seconds, and half of it is left to chance.
    pub pause: Duration,
    /// How long it is tried again. The one bound: pauses count, and of each try what it took, but no more than `stall`, so
    /// that what was lost at the end of a long transfer is worth another try.
    pub patience: Duration,
    /// How long a try may pass without a byte.
    pub stall: Duration,
    /// The slowest transfer that is worth waiting for: what has no progress to watch gets `stall` and the time that
    /// its bytes take at this rate.
    pub bytes_per_second_min: u64,
    /// What holds uploads back. Time that passes in it counts against none of these bounds.
    pub pace: Option<Pace>,
    /// Shorter bounds, as long as the store is only asked.
    pub asking: Asking,
}

impl Default for Limits {
    /// A minute of trying, half a minute of silence, 64 KiB/s.
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(200),
            patience: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
            pace: None,
            asking: Asking::default(),
        }
    }
}

/// Why a try failed, and whether another one may do better.
pub(super) enum Failure {
    /// The store is out of reach or out of order: try again.
    Passing(String),
    /// The store is busy, and says how long it wants to be left alone.
    Busy(String, Duration),
    /// The store doesn't take the credentials any more; others may be had.
    Expired(Kind),
    /// Trying again gives the same answer.
    Final(Kind),
}

impl Limits {
    /// Returns how long a try may pass without a byte.
    pub(super) fn stall(&self) -> Duration {
        self.asking.bound().map_or(self.stall, |bound| bound.min(self.stall))
    }

    /// Returns how long a transfer of `bytes` may take.
    pub(super) fn allowance(&self, bytes: usize) -> Duration {
        self.stall() + Duration::from_secs(bytes as u64 / self.bytes_per_second_min.max(1))
    }

    /// Returns how long uploads have been held back until now, all in all.
    pub(super) fn held(&self) -> Duration {
        self.pace.as_ref().map_or(Duration::ZERO, Pace::held)
    }

    /// Tries until it works, fails for good, or patience ends. `attempt` is told how many went before it.
    pub(super) async fn persist<T>(
        &self,
        attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, Kind> {
        self.persist_on(async |time| tokio::time::sleep(time).await, attempt).await
    }

    async fn persist_on<T>(
        &self,
        rest: impl AsyncFn(Duration),
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, Kind> {
        if let Some(what) = self.asking.silent() {
            return Err(Kind::Unreachable(what));
        }
        let bound = self.asking.bound();
        let mut patience = bound.map_or(self.patience, |bound| bound.min(self.patience));
        let mut pause = self.pause;
        let (mut tried, mut spent) = (0, Duration::ZERO);
        loop {
            let (begun, held) = (Instant::now(), self.held());
            let (what, after) = match attempt(tried).await {
                Ok(done) => return Ok(done),
                Err(Failure::Final(kind) | Failure::Expired(kind)) => return Err(kind),
                Err(Failure::Passing(what)) => (what, None),
                Err(Failure::Busy(what, after)) => (what, Some(after)),
            };
            tried += 1;
            spent += begun.elapsed().saturating_sub(self.held().saturating_sub(held)).min(self.stall());
            if let Some(after) = after.filter(|after| bound.is_none() && spent + *after <= AFTER_MAX) {
                // The store knows better than we do how long it takes.
                patience = patience.max(spent + after + self.pause);
            }
            if spent + after.unwrap_or_default() >= patience {
                let times = if tried == 1 { "once".to_owned() } else { format!("{tried} times") };
                let asks = after.map_or_else(String::new, |after| {
                    format!("; the store asks to be left alone for {} s", after.as_secs())
                });
                let what = format!("{what} (tried {times}{asks})");
                self.asking.give_up(&what);
                return Err(Kind::Unreachable(what));
            }
            // Not all in the instant that the store has named either.
            let wait = after.unwrap_or_default() + jittered(pause);
            let wait = wait.min(patience.saturating_sub(spent));
            rest(wait).await;
            spent += wait;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

// Many agents that lost the same server must not all come back in the same instant.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0u8];
    // Without randomness the pause is merely regular.
    let _ = getrandom::fill(&mut byte);
    pause / 2 + (pause / 2) * u32::from(byte[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Persists on a clock that only the waiting moves; `attempt` is told the time.
    fn run<T>(
        limits: &Limits,
        clock: &Cell<Duration>,
        mut attempt: impl FnMut(Duration) -> Result<T, Failure>,
    ) -> Result<T, Kind> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rest = async |time| clock.set(clock.get() + time);
        runtime.block_on(limits.persist_on(rest, async |_| attempt(clock.get())))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn down<T>() -> Result<T, Failure> {
        Err(Failure::Passing("down".into()))
    }

    fn unreachable<T: std::fmt::Debug>(answer: Result<T, Kind>) -> String {
        let Err(Kind::Unreachable(what)) = answer else { panic!("{answer:?}") };
        what
    }

    #[test]
    fn a_store_that_is_down_for_most_of_a_minute_is_waited_for() {
        let answer =
            run(&Limits::default(), &Cell::default(), |now| if now < seconds(55) { down() } else { Ok(()) });
        answer.unwrap();
    }

    #[test]
    fn trying_ends_after_a_minute_and_not_before() {
        let (clock, mut tries) = (Cell::default(), 0);
        let answer = run::<()>(&Limits::default(), &clock, |_| {
            tries += 1;
            down()
        });
        assert_eq!(unreachable(answer), format!("down (tried {tries} times)"));
        assert!((59..=61).contains(&clock.get().as_secs()) && (8..40).contains(&tries), "{clock:?} {tries}");
    }

    #[test]
    fn what_a_busy_store_asks_for_is_obeyed_also_beyond_a_minute() {
        for (busy, after) in [(8, 8), (90, 90), (240, 120)] {
            let (clock, mut tries) = (Cell::default(), 0);
            let answer = run(&Limits::default(), &clock, |now| {
                tries += 1;
                let busy_for = || Err(Failure::Busy("SlowDown".into(), seconds(after)));
                if now < seconds(busy) { busy_for() } else { Ok(()) }
            });
            answer.unwrap();
            assert_eq!(tries, busy / after + 1, "nobody comes before the time: {clock:?}");
        }
        // A store that wants an hour is out of reach for now.
        let clock = Cell::default();
        let answer =
            run::<()>(&Limits::default(), &clock, |_| Err(Failure::Busy("SlowDown".into(), seconds(3600))));
        assert!(unreachable(answer).contains("left alone for 3600 s") && clock.get().is_zero());
    }

    #[test]
    fn what_is_only_asked_is_given_up_soon_and_asked_no_more() {
        let asking = Asking::within(seconds(5));
        let limits = Limits { asking: asking.clone(), ..Limits::default() };
        let (clock, mut tries) = (Cell::default(), 0);
        for _ in 0..10 {
            unreachable(run::<()>(&limits, &clock, |_| {
                tries += 1;
                down()
            }));
        }
        assert!(clock.get() <= seconds(5), "{clock:?}");
        // Worked with, it is tried again.
        asking.end();
        run(&limits, &clock, |_| Ok(())).unwrap();
    }

    #[test]
    fn patience_ends_before_a_second_try() {
        let limits = Limits { patience: Duration::ZERO, ..Limits::default() };
        assert_eq!(unreachable(run::<()>(&limits, &Cell::default(), |_| down())), "down (tried once)");
    }

    #[test]
    fn a_final_failure_is_not_repeated() {
        let mut tries = 0;
        let answer = run::<()>(&Limits::default(), &Cell::default(), |_| {
            tries += 1;
            Err(Failure::Final(Kind::Full))
        });
        assert!(matches!(answer, Err(Kind::Full)));
        assert_eq!(tries, 1);
    }
}

//! How long a distant store may keep us waiting, and what is tried again meanwhile.

use super::{Asking, Calls, Pace};
use crate::Kind;
use std::time::{Duration, Instant};

/// No pause between two tries is longer, but for what the store itself asks for.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// However little patience there is, a try may pass so long without a byte: a store that is slow is not out of reach.
const STALL_LEAST: Duration = Duration::from_secs(5);

/// The bounds of calls on a distant store.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The pause before the second try; it doubles with each further one up to eight seconds, and half of it is left to chance.
    pub pause: Duration,
    /// How long it is tried again. The one bound: pauses count, and of each try what it took, but no more than `stall`, so
    /// that what was lost at the end of a long transfer is worth another try. What earlier calls have waited in vain since the store answered last counts too.
    pub patience: Duration,
    /// How long a store may ask to be left alone, all in all, beyond `patience`: for longer, and it is out of reach for this run.
    pub busy: Duration,
    /// How long a try may pass without a byte; no longer than `patience`, unless that is less than five seconds.
    pub stall: Duration,
    /// The slowest transfer that is worth waiting for: what has no progress to watch gets `stall` and the time that
    /// its bytes take at this rate.
    pub bytes_per_second_min: u64,
    /// What holds uploads back. Time that passes in it counts against none of these bounds.
    pub pace: Option<Pace>,
    /// Shorter bounds, as long as the store is only asked.
    pub asking: Asking,
    /// All calls on the store, for which patience is one.
    pub calls: Calls,
}

impl Default for Limits {
    /// A minute of trying, half a minute of silence, 64 KiB/s.
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(200),
            patience: Duration::from_secs(60),
            busy: Duration::from_secs(10 * 60),
            stall: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
            pace: None,
            asking: Asking::default(),
            calls: Calls::default(),
        }
    }
}

/// Why a try failed, and whether another one may do better.
pub(super) enum Failure {
    /// The store is out of reach or out of order: try again.
    Passing(String),
    /// It answers, and too slowly to come to an end: another try would take as long.
    Slow(String),
    /// The store is busy, and says how long it wants to be left alone.
    Busy(String, Duration),
    /// The store doesn't take the credentials any more; others may be had.
    Expired(Kind),
    /// Trying again gives the same answer.
    Final(Kind),
}

impl Limits {
    /// Returns how long a try may pass without a byte: no longer than patience lasts.
    pub(super) fn stall(&self) -> Duration {
        let stall = self.stall.min(self.patience.max(STALL_LEAST));
        self.asking.bound().map_or(stall, |bound| bound.min(stall))
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
        self.persist_on(async |time| self.calls.rest(time).await, attempt).await
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
        // What is only asked has its own bounds, and who is silent then is told as that.
        let mark = match bound {
            Some(_) => None,
            None => Some(self.calls.mark().map_err(Kind::Unreachable)?),
        };
        let before = || mark.map_or(Duration::ZERO, |mark| self.calls.before(mark));
        let mut patience = bound.map_or(self.patience, |bound| bound.min(self.patience));
        let mut pause = self.pause;
        let (mut tried, mut own) = (0, Duration::ZERO);
        loop {
            let (begun, held) = (Instant::now(), self.held());
            let called = self.calls.while_wanted(attempt(tried)).await;
            let called = called.unwrap_or_else(|| Err(Failure::Passing("no answer yet".into())));
            let (what, after) = match called {
                Ok(done) => {
                    self.calls.answered();
                    return Ok(done);
                }
                Err(Failure::Final(kind) | Failure::Expired(kind)) => {
                    self.calls.answered();
                    return Err(kind);
                }
                Err(Failure::Slow(what)) => {
                    self.asking.give_up(&what);
                    if let Some(mark) = mark {
                        self.calls.give_up(mark, &what);
                    }
                    return Err(Kind::Unreachable(what));
                }
                Err(Failure::Passing(what)) => (what, None),
                Err(Failure::Busy(what, after)) => (what, Some(after)),
            };
            tried += 1;
            own += begun.elapsed().saturating_sub(self.held().saturating_sub(held)).min(self.stall());
            let spent = before() + own;
            if let Some(mark) = mark {
                self.calls.waited(mark, spent);
            }
            if let Some(after) = after.filter(|after| bound.is_none() && spent + *after <= self.busy) {
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
                if let Some(mark) = mark {
                    self.calls.give_up(mark, &what);
                }
                return Err(Kind::Unreachable(what));
            }
            // Not all in the instant that the store has named either.
            let wait = after.unwrap_or_default() + jittered(pause);
            let wait = wait.min(patience.saturating_sub(spent));
            if mark.is_some() {
                self.calls.say(&what, after.is_some(), spent, wait);
            }
            rest(wait).await;
            if self.calls.is_over() {
                return Err(Kind::Unreachable(format!("{what} (nobody waits for it any longer)")));
            }
            own += wait;
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
    fn patience_is_for_all_calls_together_until_one_of_them_is_answered() {
        let calls = || Calls::new(|_| (), || false);
        let limits = Limits { calls: calls(), ..Limits::default() };
        let clock = Cell::default();
        let fails_for = |limits: &Limits, last: u64| {
            let until = clock.get() + seconds(last);
            run(limits, &clock, |now| if now < until { down() } else { Ok(()) })
        };
        for _ in 0..3 {
            fails_for(&limits, 40).unwrap();
        }
        let (begun, mut tries) = (clock.get(), 0);
        for _ in 0..10 {
            unreachable(run::<()>(&limits, &clock, |_| {
                tries += 1;
                down()
            }));
        }
        let waited = clock.get() - begun;
        assert!(waited <= seconds(61) && tries < 40, "{waited:?}, {tries} tries");
        // A store that is busy is obeyed for no longer than somebody has time, whatever it asks for.
        let limits = Limits { patience: seconds(10), busy: seconds(10), calls: calls(), ..limits };
        let begun = clock.get();
        for _ in 0..10 {
            unreachable(run::<()>(&limits, &clock, |_| Err(Failure::Busy("SlowDown".into(), seconds(8)))));
        }
        assert!(clock.get() - begun <= seconds(10), "{:?}", clock.get() - begun);
    }

    #[test]
    fn who_is_told_to_end_waits_no_longer() {
        let limits = Limits { calls: Calls::new(|_| (), || true), ..Limits::default() };
        let mut tries = 0;
        let answer = run::<()>(&limits, &Cell::default(), |_| {
            tries += 1;
            down()
        });
        assert!(unreachable(answer).contains("nobody waits") && tries == 1);
    }

    #[test]
    fn a_single_try_is_silent_for_no_longer_than_somebody_has_time() {
        for (patience, stall) in [(60, 30), (600, 30), (10, 10), (2, 5), (0, 5)] {
            let limits = Limits { patience: seconds(patience), ..Limits::default() };
            assert_eq!(limits.stall(), seconds(stall), "{patience}");
            let asked = Limits { asking: Asking::within(seconds(2)), ..limits };
            assert_eq!(asked.stall(), seconds(2), "{patience}");
        }
        // One that is shorter by itself stays so.
        let limits =
            Limits { patience: Duration::ZERO, stall: Duration::from_millis(200), ..Limits::default() };
        assert_eq!(limits.stall(), Duration::from_millis(200));
    }

    #[test]
    fn patience_ends_before_a_second_try() {
        let limits = Limits { patience: Duration::ZERO, ..Limits::default() };
        assert_eq!(unreachable(run::<()>(&limits, &Cell::default(), |_| down())), "down (tried once)");
    }

    #[test]
    fn who_is_too_slow_is_asked_no_more() {
        let limits = Limits { calls: Calls::new(|_| (), || false), ..Limits::default() };
        let asked = Limits { asking: Asking::within(seconds(5)), ..Limits::default() };
        for limits in [limits, asked] {
            let mut tries = 0;
            for _ in 0..10 {
                let answer = run::<()>(&limits, &Cell::default(), |_| {
                    tries += 1;
                    Err(Failure::Slow("too slow".into()))
                });
                assert_eq!(unreachable(answer), "too slow");
            }
            assert_eq!(tries, 1);
        }
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

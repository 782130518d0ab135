//! How long a distant store may keep us waiting, and what is tried again meanwhile.

use super::Pace;
use crate::Kind;
use std::time::{Duration, Instant};

/// The bounds of one call on a distant store. All of them hold at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How often a call is tried at most, the first time included.
    pub tries: u32,
    /// The pause before the second try; it doubles with each further one, and half of it is left to chance.
    pub pause: Duration,
    /// When no further try is begun, counted from the start of the call.
    pub patience: Duration,
    /// How long a try may pass without a byte.
    pub stall: Duration,
    /// The slowest transfer that is worth waiting for: what has no progress to watch gets `stall` and the time that
    /// its bytes take at this rate.
    pub bytes_per_second_min: u64,
    /// What holds uploads back. Time that passes in it counts against none of these bounds.
    pub pace: Option<Pace>,
}

impl Default for Limits {
    /// Five tries within a minute, half a minute of silence, 64 KiB/s.
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_millis(200),
            patience: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
            pace: None,
        }
    }
}

/// Why a try failed, and whether another one may do better.
pub(super) enum Failure {
    /// The store is out of reach or out of order: try again.
    Passing(String),
    /// Trying again gives the same answer.
    Final(Kind),
}

impl Limits {
    /// Returns how long a transfer of `bytes` may take.
    pub(super) fn allowance(&self, bytes: usize) -> Duration {
        self.stall + Duration::from_secs(bytes as u64 / self.bytes_per_second_min.max(1))
    }

    /// Returns how long uploads have been held back until now, all in all.
    pub(super) fn held(&self) -> Duration {
        self.pace.as_ref().map_or(Duration::ZERO, Pace::held)
    }

    /// Tries until it works, fails for good, or the bounds are reached. `attempt` is told how many went before it.
    pub(super) async fn persist<T>(
        &self,
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, Kind> {
        let (start, held) = (Instant::now(), self.held());
        let mut pause = self.pause;
        let mut tried = 0;
        loop {
            let what = match attempt(tried).await {
                Ok(done) => return Ok(done),
                Err(Failure::Final(kind)) => return Err(kind),
                Err(Failure::Passing(what)) => what,
            };
            tried += 1;
            let elapsed = start.elapsed().saturating_sub(self.held().saturating_sub(held));
            if tried >= self.tries || elapsed + pause >= self.patience {
                let times = if tried == 1 { "once".to_owned() } else { format!("{tried} times") };
                return Err(Kind::Unreachable(format!("{what} (tried {times})")));
            }
            tokio::time::sleep(jittered(pause)).await;
            pause *= 2;
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

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn quick() -> Limits {
        Limits { pause: Duration::from_millis(1), ..Limits::default() }
    }

    #[test]
    fn a_passing_failure_is_tried_again_and_counted() {
        let answer = run(quick().persist(async |tried| match tried {
            0..3 => Err(Failure::Passing("down".into())),
            _ => Ok(tried),
        }));
        assert!(matches!(answer, Ok(3)));
    }

    #[test]
    fn the_number_of_tries_is_bounded() {
        let mut tries = 0;
        let answer = run(quick().persist(async |_| -> Result<(), _> {
            tries += 1;
            Err(Failure::Passing("down".into()))
        }));
        let Err(Kind::Unreachable(what)) = answer else { panic!("{answer:?}") };
        assert_eq!((tries, what.as_str()), (5, "down (tried 5 times)"));
    }

    #[test]
    fn patience_ends_before_the_tries_do() {
        let limits = Limits { patience: Duration::ZERO, ..quick() };
        let answer = run(limits.persist(async |_| -> Result<(), _> { Err(Failure::Passing("down".into())) }));
        let Err(Kind::Unreachable(what)) = answer else { panic!("{answer:?}") };
        assert_eq!(what, "down (tried once)");
    }

    #[test]
    fn a_final_failure_is_not_repeated() {
        let mut tries = 0;
        let answer = run(quick().persist(async |_| -> Result<(), _> {
            tries += 1;
            Err(Failure::Final(Kind::Full))
        }));
        assert!(matches!(answer, Err(Kind::Full)));
        assert_eq!(tries, 1);
    }
}

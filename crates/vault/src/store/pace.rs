//! Holds what is sent to a rate that may change with the time of day: the pieces of all uploads take turns.
//!
//! Nothing is saved up while nobody sends, so no second carries more than the rate allows, but for one piece. Small files (a lock, a snapshot) pass:
//! they must not wait behind packs. Reading is never held back.

use crate::mutex::lock;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is shorter is sent at once.
pub(super) const SMALL: usize = 16 << 10;
/// The longest piece that takes its turn.
const PIECE_MAX: usize = 64 << 10;
/// The shortest one: below, the overhead of sending it would count.
const PIECE_MIN: usize = 1 << 10;
/// So many pieces in a second: a line feels even, and several uploads share it fairly.
const PIECES_PER_SECOND: u64 = 8;

/// How often whoever waits looks whether the process is to end.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Holds uploads back. Clones share one rate.
#[derive(Clone)]
pub struct Pace(Arc<Inner>);

struct Inner {
    rate: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    line: Mutex<Line>,
}

impl Pace {
    /// Asks `rate` before each piece how many bytes may be sent in a second; `None`: as fast as it goes.
    pub fn new(rate: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { rate: Box::new(rate), line: Mutex::default() }))
    }

    /// Returns how much to send at a time now.
    pub(super) fn piece(&self) -> usize {
        piece((self.0.rate)())
    }

    /// Takes a turn for so many bytes, and returns how long to wait for it.
    fn book(&self, bytes: usize) -> Duration {
        match (self.0.rate)() {
            Some(rate) => lock(&self.0.line).book(Instant::now(), bytes, rate),
            None => Duration::ZERO,
        }
    }

    /// Waits for the turn of so many bytes.
    pub(super) async fn turn(&self, bytes: usize) {
        let wait = self.book(bytes);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Waits for the turn of so many bytes, on a thread.
    pub(super) fn block(&self, bytes: usize) {
        let until = Instant::now() + self.book(bytes);
        // Parking may end before its time. Who is to end has hardly anything left to send.
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if process::ending().load(Relaxed) {
                return;
            }
            std::thread::park_timeout(left.min(LOOK_EVERY));
        }
    }

    /// Returns how much time all that was booked so far takes: nobody is to be blamed for waiting that long.
    pub(super) fn held(&self) -> Duration {
        lock(&self.0.line).booked
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pace(…)")
    }
}

/// Who sends next, and when.
#[derive(Debug, Default)]
struct Line {
    /// When all that was booked will have been sent.
    free: Option<Instant>,
    booked: Duration,
}

impl Line {
    fn book(&mut self, now: Instant, bytes: usize, rate: u64) -> Duration {
        let begins = self.free.map_or(now, |free| free.max(now));
        let takes = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.free = Some(begins + takes);
        self.booked += takes;
        begins.saturating_duration_since(now)
    }
}

fn piece(rate: Option<u64>) -> usize {
    let most = rate.map_or(u64::MAX, |rate| rate / PIECES_PER_SECOND);
    usize::try_from(most).unwrap_or(usize::MAX).clamp(PIECE_MIN, PIECE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Sends pieces one after another on a clock that only the waiting moves, and returns the seconds that it took.
    fn seconds(line: &mut Line, begun: Instant, pieces: usize, bytes: usize, rate: u64) -> f64 {
        let mut now = begun;
        for _ in 0..pieces {
            now += line.book(now, bytes, rate);
        }
        (now - begun).as_secs_f64()
    }

    #[test]
    fn a_hundred_pieces_take_the_time_that_the_rate_gives_them() {
        let taken = seconds(&mut Line::default(), Instant::now(), 101, 1000, 10_000);
        assert!((taken - 10.0).abs() < 0.01, "{taken}");
    }

    #[test]
    fn an_idle_hour_saves_nothing_up() {
        let (mut line, begun) = (Line::default(), Instant::now());
        seconds(&mut line, begun, 1, 1000, 1000);
        let later = begun + Duration::from_secs(3600);
        let taken = seconds(&mut line, later, 11, 1000, 1000);
        assert!((taken - 10.0).abs() < 0.01, "{taken}");
    }

    #[test]
    fn those_who_come_at_once_share_the_rate() {
        let (mut line, now) = (Line::default(), Instant::now());
        let waits: Vec<u64> = (0..4).map(|_| line.book(now, 1000, 1000).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 3]);
        assert_eq!(line.booked.as_secs(), 4);
    }

    #[test]
    fn a_rate_that_changes_holds_from_the_next_piece_on() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.book(now, 1000, 1000);
        line.book(now, 1000, 100);
        assert_eq!(line.book(now, 1000, 1000).as_secs(), 11);
    }

    #[test]
    fn a_rate_that_ends_holds_nobody_any_longer() {
        let rate = Arc::new(AtomicU64::new(1));
        let asked = Arc::clone(&rate);
        let pace = Pace::new(move || Some(asked.load(Relaxed)).filter(|rate| *rate > 0));
        assert_eq!(pace.book(1000), Duration::ZERO);
        assert!(pace.book(1000) > Duration::from_secs(900));
        rate.store(0, Relaxed);
        assert_eq!(pace.book(1000), Duration::ZERO);
    }

    #[test]
    fn the_slower_the_rate_the_smaller_the_pieces() {
        assert_eq!(piece(None), PIECE_MAX);
        assert_eq!(piece(Some(125_000)), 15_625);
        assert_eq!(piece(Some(1)), PIECE_MIN);
        assert_eq!(piece(Some(u64::MAX)), PIECE_MAX);
    }
}

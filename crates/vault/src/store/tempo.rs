//! The least rate at which a store gets on while it is read. Who gives a byte now and then is never silent, and never comes to an end either.
//!
//! There is no limit to how long a large vault takes on a thin line: what arrives pays for the time that it took, and only who falls behind by a whole
//! stretch is given up. One account for all calls on a store, so that many small delays are seen as the long one that they are.

use super::Limits;
use super::limits::Failure;
use crate::mutex::lock;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The slowest that is worth waiting for while a vault is only asked, in bytes a second: a line of 1 Mbit/s has thirty times that.
const ASKED_MIN: u64 = 4 << 10;
/// The same while it is worked with.
const WORKED_MIN: u64 = 1 << 10;
/// What each whole answer pays for, however short: a satellite takes as long.
const ANSWER: Duration = Duration::from_millis(500);
/// A page of a listing that has so many names is on the way to its end: most have a thousand.
const FULL_PAGE: usize = 100;
/// Who is only asked may fall behind by so many times what it may be silent.
const SILENCES: u32 = 2;
/// Who is worked with may fall behind by no less than this.
const STRETCH_MIN: Duration = Duration::from_secs(10);

/// Keeps the account of one store. Clones are the same.
#[derive(Clone)]
pub(super) struct Tempo(Arc<Inner>);

struct Inner {
    limits: Limits,
    account: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    /// How far behind it is.
    behind: Duration,
    /// How many wait for it, and since when that has been counted.
    waiting: usize,
    counted: Option<Instant>,
    /// It was given up: whoever comes next begins anew.
    is_closed: bool,
}

impl Account {
    /// Counts the time until now, in which somebody waited or nobody did.
    fn count(&mut self, now: Instant) {
        if let Some(since) = self.counted.replace(now).filter(|_| self.waiting > 0) {
            self.behind += now.saturating_duration_since(since);
        }
    }

    fn pay(&mut self, time: Duration, now: Instant) {
        self.count(now);
        // Nothing is saved up: an hour that went well pays for no silence after it.
        self.behind = self.behind.saturating_sub(time);
    }

    fn begin(&mut self, now: Instant) {
        self.count(now);
        if self.waiting == 0 && self.is_closed {
            (self.behind, self.is_closed) = (Duration::ZERO, false);
        }
        self.waiting += 1;
    }

    fn end(&mut self, now: Instant) {
        self.count(now);
        self.waiting = self.waiting.saturating_sub(1);
    }
}

/// Somebody who waits.
pub(super) struct Waits<'a>(&'a Tempo);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        lock(&self.0.0.account).end(Instant::now());
    }
}

impl Tempo {
    pub(super) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Inner { limits: limits.clone(), account: Mutex::default() }))
    }

    /// Returns by how much it may fall behind.
    fn stretch(&self) -> Duration {
        let limits = &self.0.limits;
        match limits.asking.bound() {
            Some(bound) => bound.saturating_mul(SILENCES),
            // Longer than what is silent throughout is tried again: that is told as what it is.
            None => (limits.patience.max(limits.stall()) * 5 / 4).max(STRETCH_MIN),
        }
    }

    /// Returns how much longer it may take, as it stands.
    pub(super) fn left(&self) -> Duration {
        let stretch = self.stretch();
        let mut account = lock(&self.0.account);
        account.count(Instant::now());
        stretch.saturating_sub(account.behind)
    }

    /// Notes that so many bytes have come.
    pub(super) fn came(&self, bytes: u64) {
        let rate = if self.0.limits.asking.bound().is_some() { ASKED_MIN } else { WORKED_MIN };
        let time = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        lock(&self.0.account).pay(time, Instant::now());
    }

    /// Notes an answer that is whole.
    pub(super) fn answered(&self) {
        let mut account = lock(&self.0.account);
        // The time of several who wait at once is counted once.
        let at_once = u32::try_from(account.waiting + 1).unwrap_or(u32::MAX);
        account.pay(ANSWER / at_once, Instant::now());
    }

    /// Notes a page of a listing. One that brings a name or two and says that there is more pays for its bytes alone; one without any is counted otherwise.
    pub(super) fn page(&self, has_more: bool, names: usize) {
        if !has_more || names == 0 || names >= FULL_PAGE {
            self.answered();
        }
    }

    /// Notes that a try failed by itself: how long that is borne is the business of patience.
    pub(super) fn failed(&self) {
        let mut account = lock(&self.0.account);
        account.count(Instant::now());
        account.behind = Duration::ZERO;
    }

    /// Waits for the next thing that a store gives, which may take `stall`, and in all no longer than its tempo leaves.
    pub(super) async fn wait<T>(&self, stall: Duration, next: impl Future<Output = T>) -> Result<T, Failure> {
        let begun = Instant::now();
        lock(&self.0.account).begin(begun);
        let _waits = Waits(self);
        let mut next = pin!(next);
        loop {
            let wait = stall.saturating_sub(begun.elapsed()).min(self.left());
            if let Ok(done) = timeout(wait, &mut next).await {
                return Ok(done);
            }
            if begun.elapsed() >= stall {
                return Err(Failure::Passing(format!("no answer for {} s", stall.as_secs_f32())));
            }
            if self.left().is_zero() {
                return Err(Failure::Slow(self.give_up()));
            }
        }
    }

    /// Counts the time that something takes on a thread of its own, until what is returned is dropped.
    pub(super) fn busy(&self) -> Waits<'_> {
        lock(&self.0.account).begin(Instant::now());
        Waits(self)
    }

    /// Notes that it is given up, and returns what is said of that.
    pub(super) fn give_up(&self) -> String {
        lock(&self.0.account).is_closed = true;
        let rate = if self.0.limits.asking.bound().is_some() { ASKED_MIN } else { WORKED_MIN };
        let stretch = self.stretch().as_secs_f32();
        format!("too slow: it answers, but for {stretch} s no faster than {} KiB/s", rate >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Asking;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// How long a store is borne that gives so many bytes every second, at most an hour.
    fn borne(asked: bool, bytes: u64) -> Duration {
        let asking = if asked { Asking::within(seconds(5)) } else { Asking::default() };
        let tempo = Tempo::new(&Limits { asking, ..Limits::default() });
        let begun = Instant::now();
        let rate = if asked { ASKED_MIN } else { WORKED_MIN };
        let mut account = Account::default();
        account.begin(begun);
        for second in 1..3600 {
            account.pay(Duration::from_millis(bytes * 1000 / rate), begun + seconds(second));
            if account.behind >= tempo.stretch() {
                return seconds(second);
            }
        }
        seconds(3600)
    }

    #[test]
    fn a_byte_a_second_is_given_up_and_a_thin_line_never() {
        assert!(borne(true, 1) <= seconds(11), "{:?}", borne(true, 1));
        assert!(borne(false, 1) <= seconds(76), "{:?}", borne(false, 1));
        // 1 Mbit/s, which many share.
        for asked in [true, false] {
            assert_eq!(borne(asked, 125_000 / 8), seconds(3600));
        }
    }

    #[test]
    fn whoever_has_less_time_bears_less_of_a_store_that_drips() {
        for (patience, stretch) in [(60, 75_000), (30, 37_500), (10, 12_500), (2, 10_000)] {
            let tempo = Tempo::new(&Limits { patience: seconds(patience), ..Limits::default() });
            assert_eq!(tempo.stretch(), Duration::from_millis(stretch), "{patience}");
        }
    }

    #[test]
    fn an_hour_that_went_well_pays_for_no_silence_after_it() {
        let (mut account, begun) = (Account::default(), Instant::now());
        account.begin(begun);
        account.pay(seconds(100_000), begun + seconds(3600));
        account.count(begun + seconds(3615));
        assert_eq!(account.behind, seconds(15));
        // Nor does it cost anything that nobody waits.
        account.end(begun + seconds(3615));
        account.count(begun + seconds(9999));
        assert_eq!(account.behind, seconds(15));
    }

    #[test]
    fn many_short_delays_are_one_long_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let asking = Asking::within(Duration::from_millis(100));
        let tempo = Tempo::new(&Limits { asking, ..Limits::default() });
        let begun = Instant::now();
        let drip = || async { tokio::time::sleep(Duration::from_millis(50)).await };
        let tries = (0..100).find(|_| {
            matches!(runtime.block_on(tempo.wait(Duration::from_millis(100), drip())), Err(Failure::Slow(_)))
        });
        assert!(tries.is_some() && begun.elapsed() < seconds(2), "{tries:?}");
        // Whoever comes next begins anew.
        runtime.block_on(tempo.wait(Duration::from_millis(100), async {})).unwrap_or_else(|_| panic!());
        assert!(tempo.left() > Duration::from_millis(100));
    }
}

//! Looks ahead while a recovery is carried out: says before a promise is missed, and notes what others can watch.

use super::{Hands, Live};
use plan::outlook::{Basis, Estimates, Outlook, Restoring, Seen, Verdict, outlook};
use plan::{Period, Runbook, StepKind, StepState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vault::Progress;

/// Over how long a rate is measured: shorter and it jumps, longer and it hides what happens now.
const RATE_OVER: Duration = Duration::from_secs(10);
/// A rate over less says nothing.
const RATE_LEAST: Duration = Duration::from_secs(1);
/// How often what can be watched is noted at most.
const SHOW: Duration = Duration::from_secs(1);
/// And of the time, noting it takes at most one part in so many: a disk that is busy giving data back has better to do.
const SHOW_SHARE: u32 = 20;

/// How many deadlines are told of at once: a whole company that will be late is one thing to know.
const AT_ONCE: usize = 8;

/// The restores that are under way, by the places of their steps.
#[derive(Default)]
pub(super) struct Restores(Mutex<BTreeMap<usize, Arc<Progress>>>);

impl Restores {
    /// Counts a restore in until the guard is dropped.
    pub(super) fn begin(&self, at: usize) -> (Arc<Progress>, impl Drop + '_) {
        struct Guard<'a>(&'a Restores, usize);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.all().remove(&self.1);
            }
        }
        let progress = Arc::new(Progress::default());
        self.all().insert(at, Arc::clone(&progress));
        (progress, Guard(self, at))
    }

    /// Stops them: what is back stays, and the next one writes only what differs.
    pub(super) fn stop(&self) {
        self.all().values().for_each(|progress| progress.stop());
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Arc<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Lookout<'a> {
    book: &'a Runbook,
    hands: &'a Hands<'a>,
    restores: &'a Restores,
    estimates: Estimates,
    pace: BTreeMap<usize, Pace>,
    /// What was said of each deadline.
    warned: BTreeMap<(u8, String), Verdict>,
    has_begun: bool,
    shown: Live,
    next_show: Option<Instant>,
}

impl<'a> Lookout<'a> {
    pub(super) fn new(book: &'a Runbook, hands: &'a Hands<'a>, restores: &'a Restores) -> Self {
        Self {
            book,
            hands,
            restores,
            estimates: Estimates::new(book, hands.evidence),
            pace: BTreeMap::new(),
            warned: BTreeMap::new(),
            has_begun: false,
            shown: Live::default(),
            next_show: None,
        }
    }

    /// Looks ahead from here.
    pub(super) fn look(&mut self, states: &[StepState], elapsed: f64, paused: Option<String>) {
        let live = Live { restoring: self.restoring(), paused };
        // Beside nobody waits for anything.
        if self.book.to.is_none() {
            let seen = Seen {
                plan: self.hands.plan,
                book: self.book,
                states,
                elapsed,
                estimates: &self.estimates,
                restoring: &live.restoring,
                paused: live.paused.is_some(),
            };
            let outlook = outlook(&seen);
            if !std::mem::replace(&mut self.has_begun, true) {
                greet(&seen, &outlook, self.hands);
            }
            warn(&mut self.warned, &seen, &outlook, self.hands);
        }
        self.show(live);
    }

    fn restoring(&mut self) -> BTreeMap<usize, Restoring> {
        let all = self.restores.all().clone();
        self.pace.retain(|at, _| all.contains_key(at));
        let of = |(at, progress): (usize, Arc<Progress>)| {
            let bytes = progress.bytes.load(Relaxed);
            let (rate, still_seconds) = self.pace.entry(at).or_default().take(bytes, Instant::now());
            // How much of it comes first, nobody has counted.
            let is_first = self.book.steps.get(at).is_some_and(|step| matches!(step.kind, StepKind::First));
            let expected = if is_first { 0 } else { progress.bytes_expected.load(Relaxed) };
            (at, Restoring { bytes, expected, rate, still_seconds })
        };
        all.into_iter().map(of).collect()
    }

    /// Notes what can be watched, now and then, if it has changed. That it can't be noted harms nobody.
    fn show(&mut self, live: Live) {
        let Some(journal) = self.hands.journal.filter(|_| live != self.shown) else { return };
        let now = Instant::now();
        if self.next_show.is_some_and(|next| now < next) {
            return;
        }
        journal.show(&live);
        self.next_show = Some(now + SHOW.max(now.elapsed() * SHOW_SHARE));
        self.shown = live;
    }
}

/// Says what is expected, where that rests on something.
fn greet(seen: &Seen<'_>, outlook: &Outlook, hands: &Hands<'_>) {
    let mut estimates = (0..seen.book.steps.len()).filter_map(|at| seen.estimates.of(at));
    let is_measured = estimates.any(|estimate| estimate.basis == Basis::Measured);
    if is_measured && outlook.expected.unclear.is_none() {
        let span = Period::seconds(outlook.expected.seconds.ceil() as u64);
        let is_guess = seen.book.steps.iter().enumerate().any(|(at, step)| {
            let basis = seen.estimates.of(at).map(|estimate| estimate.basis);
            step.kind.puts_back() && basis == Some(Basis::Guess)
        });
        let guess = if is_guess { "; that was little, and the rest is a guess" } else { "" };
        let text =
            format!("all is expected back {span:.2} after the beginning, by what was measured before{guess}");
        hands.observer.event(None, &text);
    }
}

/// Warns of each deadline once before it is missed, and once when it is.
fn warn(warned: &mut BTreeMap<(u8, String), Verdict>, seen: &Seen<'_>, outlook: &Outlook, hands: &Hands<'_>) {
    let mut fresh: Vec<_> = outlook
        .threatened()
        .filter(|deadline| warned.get(&deadline.of.key()).is_none_or(|said| *said < deadline.verdict))
        .collect();
    fresh.sort_by(|a, b| b.verdict.cmp(&a.verdict).then(a.due.total_cmp(&b.due)));
    for deadline in &fresh {
        warned.insert(deadline.of.key(), deadline.verdict);
    }
    for deadline in fresh.iter().take(AT_ONCE) {
        let proposal = outlook.proposal(seen, deadline);
        let proposal = proposal.map_or_else(String::new, |proposal| format!(". {proposal}"));
        let text = format!("warning: {}{proposal}", deadline.text(seen.book, seen.elapsed));
        hands.observer.event(deadline.of.system(), &text);
    }
    if let Some(more) = fresh.len().checked_sub(AT_ONCE).filter(|more| *more > 0) {
        let text =
            format!("warning: {more} more deadlines are missed or likely to be: releve recover --watch");
        hands.observer.event(None, &text);
    }
}

/// How fast something goes.
#[derive(Default)]
struct Pace {
    samples: VecDeque<(Instant, u64)>,
    moved: Option<Instant>,
}

impl Pace {
    /// Takes in how many bytes there are, and returns how many come in a second, if that can be said, and for how many seconds none have come.
    fn take(&mut self, bytes: u64, now: Instant) -> (Option<f64>, f64) {
        let is_new = self.samples.back().is_none_or(|(_, last)| *last != bytes);
        let moved = if is_new { now } else { self.moved.unwrap_or(now) };
        self.moved = Some(moved);
        self.samples.push_back((now, bytes));
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_OVER)
        {
            self.samples.pop_front();
        }
        let rate = self.samples.front().and_then(|(from, before)| {
            let over = now.duration_since(*from);
            (over >= RATE_LEAST).then(|| bytes.saturating_sub(*before) as f64 / over.as_secs_f64())
        });
        // To the second: what stands still is not noted anew ten times.
        (rate, now.duration_since(moved).as_secs() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.take(0, begun), (None, 0.0));
        for second in 1..=20 {
            pace.take(second * 1_000, at(second));
        }
        // From here on it is ten times slower.
        for second in 1..=30 {
            pace.take(20_000 + second * 100, at(20 + second));
        }
        assert_eq!(pace.take(23_000, at(50)), (Some(100.0), 0.0));
        assert_eq!(pace.take(23_000, at(70)).1, 20.0);
        assert_eq!(pace.take(23_000, at(90)), (Some(0.0), 40.0));
    }
}

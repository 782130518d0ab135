//! All calls on one store together: patience is for the whole of them, and who waits says so.

use crate::mutex::lock;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

/// What is waited for longer than this is said, and said again so often.
const SAID_AFTER: Duration = Duration::from_secs(3);
const SAID_EVERY: Duration = Duration::from_secs(30);
/// A store that has used up the patience is not called for so long; then one try shows whether it does better.
const GIVEN_UP_FOR: Duration = Duration::from_secs(60);
/// How often somebody who waits looks whether anybody still wants him to.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Once nobody wants anything any more, how long a store that answers nothing is waited for, by all calls under way together: what was taken from it is given back
/// if it does. A call that begins later has `LAST_WORD` for itself: an index, or a lock that goes, may be what it answers.
const PARTING: Duration = Duration::from_secs(2);
const LAST_WORD: Duration = Duration::from_millis(500);
/// Of a store's own words so many letters are said while it is waited for.
const WORDS_MAX: usize = 100;

/// The calls on one store, by whoever opens it: what one has waited in vain, the next doesn't wait once more. Clones are the same; the default counts nothing
/// and tells nobody.
#[derive(Clone, Default)]
pub struct Calls(Option<Arc<Inner>>);

type Told = dyn Fn(&str) + Send + Sync;
type Ended = dyn Fn() -> bool + Send + Sync;

struct Inner {
    told: Box<Told>,
    is_over: Box<Ended>,
    course: Mutex<Course>,
}

/// How it went so far.
#[derive(Default)]
struct Course {
    /// How often the store has done, or refused, what it was asked.
    answers: u64,
    /// How long it has kept somebody waiting since.
    waited: Duration,
    given_up: Option<(String, Instant)>,
    said: Option<Instant>,
    /// Since when nobody wants anything, and it answers nothing.
    over: Option<Instant>,
}

/// How it stood when a call began.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    answers: u64,
    waited: Duration,
}

impl Calls {
    /// Tells `told` what is waited for: `is busy (SlowDown): asked again in 8 s`. Once `is_over` says so, nobody waits any longer.
    pub fn new(
        told: impl Fn(&str) + Send + Sync + 'static,
        is_over: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let course = Mutex::default();
        Self(Some(Arc::new(Inner { told: Box::new(told), is_over: Box::new(is_over), course })))
    }

    /// Returns how it stands, or why the store isn't called now.
    pub(super) fn mark(&self) -> Result<Mark, String> {
        let Some(inner) = &self.0 else { return Ok(Mark { answers: 0, waited: Duration::ZERO }) };
        let course = lock(&inner.course);
        match &course.given_up {
            Some((what, when)) if when.elapsed() < GIVEN_UP_FOR => Err(what.clone()),
            _ => Ok(Mark { answers: course.answers, waited: course.waited }),
        }
    }

    /// Returns what had been waited in vain before a call began, if the store has not answered since.
    pub(super) fn before(&self, mark: Mark) -> Duration {
        let Some(inner) = &self.0 else { return Duration::ZERO };
        if lock(&inner.course).answers == mark.answers { mark.waited } else { Duration::ZERO }
    }

    /// Notes that the store has answered.
    pub(super) fn answered(&self) {
        if let Some(inner) = &self.0 {
            let mut course = lock(&inner.course);
            course.answers += 1;
            (course.waited, course.given_up, course.said, course.over) = Default::default();
        }
    }

    /// Notes that so much was waited in vain by now.
    pub(super) fn waited(&self, mark: Mark, waited: Duration) {
        if let Some(inner) = &self.0 {
            let mut course = lock(&inner.course);
            if course.answers == mark.answers {
                course.waited = course.waited.max(waited);
            }
        }
    }

    /// Notes that patience is used up, unless the store has answered others meanwhile.
    pub(super) fn give_up(&self, mark: Mark, what: &str) {
        if let Some(inner) = &self.0 {
            let mut course = lock(&inner.course);
            if course.answers == mark.answers {
                course.given_up = Some((what.to_owned(), Instant::now()));
            }
        }
    }

    /// Returns whether nobody wants anything of the store any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| (inner.is_over)())
    }

    /// Waits for a call, but for a moment only once nobody wants anything of the store any more: `None` then. What answers in time is done all the same.
    pub(super) async fn while_wanted<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let mut call = pin!(call);
        // What is ready needs no clock.
        if let Poll::Ready(done) =
            std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await
        {
            return Some(done);
        }
        let Some(inner) = &self.0 else { return Some(call.await) };
        let begun = Instant::now();
        loop {
            if let Ok(done) = tokio::time::timeout(LOOK_EVERY, &mut call).await {
                return Some(done);
            }
            if self.is_over() {
                let since = *lock(&inner.course).over.get_or_insert_with(Instant::now);
                if since.elapsed() >= PARTING && begun.elapsed() >= LAST_WORD {
                    return None;
                }
            }
        }
    }

    /// Says what is waited for: `waited` long until now, and for `wait` from now on.
    pub(super) fn say(&self, what: &str, is_busy: bool, waited: Duration, wait: Duration) {
        let Some(inner) = self.0.as_ref().filter(|_| waited + wait >= SAID_AFTER) else { return };
        {
            let mut course = lock(&inner.course);
            if course.said.is_some_and(|said| said.elapsed() < SAID_EVERY) {
                return;
            }
            course.said = Some(Instant::now());
        }
        let words: String = what.lines().next().unwrap_or_default().chars().take(WORDS_MAX).collect();
        let is = if is_busy { "is busy" } else { "does not do what it is asked" };
        let again = wait.as_secs_f64().ceil().max(1.0);
        (inner.told)(&format!("{is} ({words}): asked again in {again} s"));
    }

    /// Waits so long, unless nobody wants it any more.
    pub(super) async fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_answers_nothing_keeps_nobody_who_is_to_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let calls = Calls::new(|_| (), || true);
        let begun = Instant::now();
        let slow = || async { tokio::time::sleep(LOOK_EVERY + Duration::from_millis(50)).await };
        for _ in 0..3 {
            assert_eq!(runtime.block_on(calls.while_wanted(std::future::pending::<()>())), None);
        }
        assert!(begun.elapsed() < PARTING * 2, "it is one moment for all calls: {:?}", begun.elapsed());
        let late = runtime.block_on(calls.while_wanted(slow()));
        assert_eq!(late, Some(()), "a later call has a moment of its own");
        let other = Calls::new(|_| (), || true);
        assert_eq!(runtime.block_on(other.while_wanted(slow())), Some(()), "what answers is waited for");
    }

    fn heard() -> (Calls, Arc<Mutex<Vec<String>>>) {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&heard);
        (Calls::new(move |what| lock(&told).push(what.to_owned()), || false), heard)
    }

    #[test]
    fn what_was_waited_in_vain_counts_for_the_next_call_until_the_store_answers() {
        let (calls, _) = heard();
        let (first, second) = (calls.mark().unwrap(), calls.mark().unwrap());
        calls.waited(first, Duration::from_secs(50));
        let third = calls.clone().mark().unwrap();
        assert_eq!((calls.before(first), calls.before(third)), (Duration::ZERO, Duration::from_secs(50)));
        calls.answered();
        assert_eq!(calls.before(third), Duration::ZERO);
        // One that has begun before says nothing of the store as it is now.
        calls.waited(second, Duration::from_secs(60));
        calls.give_up(second, "down");
        assert!(calls.mark().is_ok_and(|mark| mark.waited.is_zero()));
        calls.give_up(calls.mark().unwrap(), "down");
        assert_eq!(calls.mark().err().as_deref(), Some("down"));
    }

    #[test]
    fn who_waits_says_so_after_some_seconds_and_not_at_every_try() {
        let (calls, heard) = heard();
        let seconds = Duration::from_secs;
        calls.say("SlowDown", true, seconds(1), seconds(1));
        assert!(lock(&heard).is_empty());
        calls.say("SlowDown", true, seconds(0), Duration::from_millis(7300));
        calls.say("SlowDown", true, seconds(8), seconds(8));
        assert_eq!(*lock(&heard), ["is busy (SlowDown): asked again in 8 s"]);
    }

    #[test]
    fn nobody_waits_once_it_is_over() {
        let calls = Calls::new(|_| (), || true);
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(calls.rest(Duration::from_secs(60)));
        assert!(begun.elapsed() < Duration::from_secs(5) && calls.is_over());
    }
}

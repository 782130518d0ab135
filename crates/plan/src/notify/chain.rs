//! Who is told after whom, and who is told now: a value, computed from what has happened, so that a restart changes nothing.

use crate::{PersonName, Plan, SystemName};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a person is in the plan who leads incidents.
const LEAD: &str = "incident lead";

/// Returns who leads incidents, in the order in which they are told.
#[must_use]
pub fn leads(plan: &Plan) -> Vec<PersonName> {
    match plan.notify.as_ref().map(|notify| &notify.leads) {
        Some(leads) if !leads.is_empty() => leads.clone(),
        _ => {
            let by_role = |person: &&PersonName| {
                let role = plan.people.get(*person).and_then(|person| person.role.as_deref());
                role.is_some_and(|role| role.trim().eq_ignore_ascii_case(LEAD))
            };
            plan.people.keys().filter(by_role).cloned().collect()
        }
    }
}

/// Returns who is told about a system, one after the other until one answers: owner, deputy, then who leads incidents.
#[must_use]
pub fn chain(plan: &Plan, system: &SystemName) -> Vec<PersonName> {
    let of = plan.systems.get(system);
    let first = [of.and_then(|of| of.owner.clone()), of.and_then(|of| of.deputy.clone())];
    let mut seen = BTreeSet::new();
    first.into_iter().flatten().chain(leads(plan)).filter(|person| seen.insert(person.clone())).collect()
}

/// What has been done with one of a chain. Times are counted from the beginning of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When they were told; while nothing has taken the message, when that was tried first.
    pub at: Duration,
    /// Whether any way took the message; `None` where nobody knows, since the program was killed meanwhile.
    pub reached: Option<bool>,
    /// When a way that has not taken it yet is tried again; `None` where each of them has refused it for good.
    pub again: Option<Duration>,
    /// When they acknowledged.
    pub answered: Option<Duration>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This one of the chain has answered: nobody else is told.
    Answered(usize),
    /// Tell this one of the chain, for the first time or once more.
    Tell(usize),
    /// Nothing until then.
    Wait(Duration),
    /// All have been tried, somebody was told, and nobody has answered in time.
    Nobody,
    /// All have been tried, and nobody could be told: nobody knows of it.
    Unreached,
}

/// How long who could not be told yet keeps the next one from being told, at most: a relay that is busy for seconds must not wake everybody.
const YET: Duration = Duration::from_secs(60);
/// Before the second try, and between two of them at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Returns how long a way is left alone after so many tries: 5 s, 15 s, 45 s … and never more than 5 minutes.
#[must_use]
pub fn pause(tries: u32) -> Duration {
    let grown = 3_u32.saturating_pow(tries.saturating_sub(1));
    PAUSE.0.saturating_mul(grown).min(PAUSE.1)
}

/// Returns what is to be done at `now` for a chain of `people`, of whom `told` have been told, each given `within` to answer.
///
/// Who can't be reached by any way is not waited for. Who could not be reached *yet* is tried again for as long as the chain takes when nobody answers, and the next one
/// is told meanwhile, after a tenth of `within` and a minute at most. Whoever may have been told by a program that was killed is told again: a message that comes twice is
/// better than none. An answer counts whenever it comes.
#[must_use]
pub fn next(people: usize, told: &[Told], within: Duration, now: Duration) -> Next {
    let first_answer = told.iter().enumerate().filter_map(|(at, told)| Some((told.answered?, at))).min();
    if let Some((_, at)) = first_answer {
        return Next::Answered(at);
    }
    if let Some(at) = told.iter().position(|told| told.reached.is_none()) {
        return Next::Tell(at);
    }
    let end = within.saturating_mul(u32::try_from(people).unwrap_or(u32::MAX));
    let again = |told: &Told| told.again.filter(|again| told.reached == Some(false) && *again < end);
    if let Some(at) = told.iter().position(|told| again(told).is_some_and(|again| again <= now)) {
        return Next::Tell(at);
    }
    // Until when somebody has their time before the next one is told.
    let theirs = |told: &Told| match told.reached {
        Some(true) => told.at.saturating_add(within),
        _ if again(told).is_some() => told.at.saturating_add(YET.min(within / 10)),
        _ => Duration::ZERO,
    };
    let until = told.iter().map(theirs).max().unwrap_or_default();
    let tried = told.iter().filter_map(again).min();
    let ended = told.len() >= people;
    if !ended && now >= until {
        return Next::Tell(told.len());
    }
    let waits = [Some(until).filter(|until| now < *until), tried];
    match waits.into_iter().flatten().min() {
        Some(until) => Next::Wait(until),
        None if told.iter().any(|told| told.reached == Some(true)) => Next::Nobody,
        None => Next::Unreached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(600);

    fn told(at: u64, reached: Option<bool>) -> Told {
        Told { at: Duration::from_secs(at), reached, again: None, answered: None }
    }

    /// Tried first at this second, and to be tried again at that.
    fn not_yet(at: u64, again: u64) -> Told {
        Told { again: Some(Duration::from_secs(again)), ..told(at, Some(false)) }
    }

    fn at(seconds: u64, told: &[Told]) -> Next {
        next(3, told, WITHIN, Duration::from_secs(seconds))
    }

    #[test]
    fn the_next_is_told_when_the_time_is_over_and_not_before() {
        assert_eq!(at(0, &[]), Next::Tell(0));
        assert_eq!(at(599, &[told(0, Some(true))]), Next::Wait(WITHIN));
        assert_eq!(at(600, &[told(0, Some(true))]), Next::Tell(1));
    }

    #[test]
    fn who_cannot_be_reached_is_not_waited_for() {
        assert_eq!(at(0, &[told(0, Some(false))]), Next::Tell(1));
    }

    #[test]
    fn who_may_have_been_told_by_a_killed_program_is_told_again() {
        assert_eq!(at(1, &[told(0, Some(true)), told(1, None)]), Next::Tell(1));
    }

    #[test]
    fn an_answer_ends_it_whenever_it_comes_and_whoever_gives_it() {
        let late = Told { answered: Some(Duration::from_secs(5000)), ..told(0, Some(true)) };
        assert_eq!(at(5001, &[late, told(600, Some(true)), told(1200, None)]), Next::Answered(0));
    }

    #[test]
    fn when_all_were_told_and_nobody_answered_that_is_said() {
        let all = [told(0, Some(true)), told(600, Some(false)), told(600, Some(true))];
        assert_eq!(at(1199, &all), Next::Wait(Duration::from_secs(1200)));
        assert_eq!(at(1200, &all), Next::Nobody);
    }

    #[test]
    fn that_nobody_could_be_told_is_another_thing_than_that_nobody_has_answered() {
        assert_eq!(next(0, &[], WITHIN, Duration::ZERO), Next::Unreached);
        assert_eq!(at(0, &[told(0, Some(false)); 3]), Next::Unreached);
        let one = [told(0, Some(false)), told(0, Some(true)), told(600, Some(false))];
        assert_eq!(at(600, &one), Next::Nobody);
    }

    #[test]
    fn who_could_not_be_told_yet_is_tried_again_and_the_next_one_is_told_meanwhile() {
        assert_eq!(at(4, &[not_yet(0, 5)]), Next::Wait(Duration::from_secs(5)));
        assert_eq!(at(5, &[not_yet(0, 5)]), Next::Tell(0));
        assert_eq!(at(59, &[not_yet(0, 65)]), Next::Wait(Duration::from_secs(60)));
        assert_eq!(at(60, &[not_yet(0, 65)]), Next::Tell(1));
        // The second has it: the first is tried all the same, and the third waits.
        let both = [not_yet(0, 65), told(60, Some(true))];
        assert_eq!(at(61, &both), Next::Wait(Duration::from_secs(65)));
        assert_eq!(at(65, &both), Next::Tell(0));
        assert_eq!(at(660, &[not_yet(0, 700), told(60, Some(true))]), Next::Tell(2));
    }

    #[test]
    fn it_is_tried_for_as_long_as_the_chain_takes_and_once_more_by_who_comes_after_that() {
        let all = |again| [not_yet(0, again), told(0, Some(false)), told(0, Some(false))];
        assert_eq!(at(1000, &all(1799)), Next::Wait(Duration::from_secs(1799)));
        assert_eq!(at(1799, &all(1799)), Next::Tell(0));
        assert_eq!(at(1799, &all(1800)), Next::Unreached);
        // The machine was off meanwhile.
        assert_eq!(at(9000, &all(65)), Next::Tell(0));
    }

    #[test]
    fn pauses_grow_and_end_growing() {
        let pauses: Vec<_> = [1, 2, 3, 4, 5, 6, 1000].map(|tries| pause(tries).as_secs()).into();
        assert_eq!(pauses, [5, 15, 45, 135, 300, 300, 300]);
    }

    #[test]
    fn the_last_one_out_of_reach_leaves_the_one_before_their_time() {
        let all = [told(0, Some(false)), told(0, Some(true)), told(600, Some(false))];
        assert_eq!(
            next(3, &all, Duration::from_secs(900), Duration::from_secs(601)),
            Next::Wait(Duration::from_secs(900))
        );
    }
}

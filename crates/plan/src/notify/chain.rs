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
    /// When they were told.
    pub at: Duration,
    /// Whether any way took the message; `None` where nobody knows, since the program was killed meanwhile.
    pub reached: Option<bool>,
    /// When they acknowledged.
    pub answered: Option<Duration>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This one of the chain has answered: nobody else is told.
    Answered(usize),
    /// Tell this one of the chain.
    Tell(usize),
    /// Nothing until then.
    Wait(Duration),
    /// All have been told, and nobody has answered in time.
    Nobody,
}

/// Returns what is to be done at `now` for a chain of `people`, of whom `told` have been told, each given `within` to answer.
///
/// Who could not be reached is not waited for. Whoever may have been told by a program that was killed is told again: a message that comes
/// twice is better than none. An answer counts whenever it comes.
#[must_use]
pub fn next(people: usize, told: &[Told], within: Duration, now: Duration) -> Next {
    let first_answer = told.iter().enumerate().filter_map(|(at, told)| Some((told.answered?, at))).min();
    if let Some((_, at)) = first_answer {
        return Next::Answered(at);
    }
    let Some(last) = told.last() else { return if people > 0 { Next::Tell(0) } else { Next::Nobody } };
    let until = last.at.saturating_add(within);
    match last.reached {
        None => Next::Tell(told.len() - 1),
        Some(true) if now < until => Next::Wait(until),
        _ if told.len() < people => Next::Tell(told.len()),
        // Someone before the last may have been told shortly before and still answer.
        _ => match told
            .iter()
            .filter(|told| told.reached == Some(true))
            .map(|told| told.at.saturating_add(within))
            .max()
        {
            Some(until) if now < until => Next::Wait(until),
            _ => Next::Nobody,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(600);

    fn told(at: u64, reached: Option<bool>) -> Told {
        Told { at: Duration::from_secs(at), reached, answered: None }
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
        assert_eq!(next(0, &[], WITHIN, Duration::ZERO), Next::Nobody);
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

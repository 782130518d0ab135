//! What a recovery will do, with no choice left open: a value that can be printed, looked at and then carried out.

mod book;
mod forward;
mod procedure;
mod recoveries;
mod steps;
mod struck;

use crate::choose::passed_over;
use crate::crash::lost;
use crate::dropped::dropped;
use crate::group::{self, Aligned, Member};
use crate::judge::Rating;
use crate::paths::{Boundary, boundary, differs, meets};
use crate::room::{Load, Room, judge};
use crate::{
    Choice, Crash, Facts, Period, Plan, Reaches, ScenarioName, Source, System, SystemName, VaultName, Wal,
    Wanted,
};
use crate::{LeftOut, LogFacts, Ordered, Together, Until, choose, recovery_order};
pub use book::{OnlyIf, Replay, Restore, Runbook, Standing, Step, StepKind, Unreached};
use forward::{Forward, aim, follows_choice, instant, leads, left_out_since, lost_since, taken_again};
use jiff::{SignedDuration, Timestamp};
use procedure::{Place, Procedure};
pub use recoveries::{CameBack, left_then};
use std::collections::{BTreeMap, BTreeSet};
use struck::Struck;

/// Everything that the decision rests on.
#[derive(Debug, Clone)]
pub struct RunbookInput<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The cause, with how it chooses and what it asks of people.
    pub scenario: Option<ScenarioName>,
    /// What is to be recovered; everything where empty.
    pub systems: Vec<SystemName>,
    /// Overrides the scenario's choice of restore point.
    pub wanted: Option<Wanted>,
    /// Somebody has said yes to an earlier state of what can't come to the instant of `wanted`.
    pub or_earlier: bool,
    /// Where to: below this folder and nothing else touched; in place where `None`.
    pub to: Option<String>,
    /// What this machine calls itself.
    pub machine: String,
    /// A person has said that this machine stands in for the plan's host, whatever its name.
    pub stands_in: bool,
    /// Now.
    pub now: Timestamp,
    /// For each system of the plan, its points and what stands in their place: a sign of tampering in one counts for all on its machine.
    pub available: BTreeMap<SystemName, Available>,
    /// The vaults, best to read from first, and why one can't be read.
    pub vaults: Vec<(VaultName, Result<(), String>)>,
}

/// What there is of one system.
#[derive(Debug, Clone, Default)]
pub struct Available {
    /// Its points.
    pub points: Vec<Facts>,
    /// Its log, if one is kept beside them.
    pub log: Option<LogFacts>,
    /// The logs of systems that were in its place before, newest first: each of them goes on from points of its own.
    pub former: Vec<LogFacts>,
    /// What stands where it will be restored.
    pub standing: Vec<Standing>,
    /// The file systems that its data go to, as far as that is known.
    pub rooms: Vec<Room>,
    /// The file system that its log goes to, if it has one.
    pub log_room: Option<Room>,
    /// The files of its log: their positions and bytes.
    pub log_files: Vec<(String, u64)>,
    /// When it crashed; right now, where nobody knows.
    pub crash: Option<Crash>,
    /// When its last recovery began, if that went back to an earlier state than the newest there was.
    pub went_back: Option<Timestamp>,
    /// How far that rolled its point forward, if it did: that is what somebody chose then.
    pub went_to: Option<Until>,
    /// The id of the point that it took, and when that says it was made.
    pub went_from: Option<(String, Timestamp)>,
    /// All its recoveries in place, oldest first: an instant lies where the last one before it has led.
    pub recoveries: Vec<CameBack>,
    /// The ids of the points from which a place in its log can be had that somebody has named; `None`: he has named none, or nobody knows.
    pub fitting: Option<BTreeSet<String>>,
    /// Why that place can't be had at all, if that is known.
    pub unplaced: Option<String>,
}

/// How much later than it says the capture of a point may have ended, where an older program made it: that counted from the beginning on, and not the time until then.
const ENDED_LATER: SignedDuration = SignedDuration::from_mins(10);

impl Available {
    /// Returns the log that goes on from points of the system that this one is of.
    #[must_use]
    pub fn log_of(&self, point: &Facts) -> Option<&LogFacts> {
        self.log.iter().chain(&self.former).find(|log| log.is_of(point))
    }

    /// Returns the log of its newest point.
    pub(crate) fn log_of_newest(&self) -> Option<&LogFacts> {
        let newest = self.points.iter().filter(|point| point.complete).max_by_key(|point| point.time);
        newest.map_or(self.log.as_ref(), |newest| self.log_of(newest))
    }

    /// Returns how many bytes of its log a point needs to be rolled forward.
    fn log_bytes(&self, point: &Facts) -> u64 {
        let from = point.position.as_deref().and_then(|position| position.split('@').next());
        let is_needed = |file: &&(String, u64)| from.is_none_or(|from| file.0.as_str() >= from);
        self.log_files.iter().filter(is_needed).map(|(_, bytes)| *bytes).fold(0, u64::saturating_add)
    }
}

/// What a person answers who has looked at a system whose jobs are held back.
const RELEASE: &str = "release";
const KEEP: &str = "keep";

/// Decides what a recovery will do.
#[must_use]
pub fn runbook(input: &RunbookInput<'_>) -> Runbook {
    let plan = input.plan;
    let scenario = input.scenario.as_ref().and_then(|name| plan.scenario(name));
    let scenario = scenario.as_deref();
    let wanted =
        input.wanted.clone().or_else(|| scenario.map(|s| s.restore_point.clone())).unwrap_or_default();
    let selected: Vec<SystemName> =
        if input.systems.is_empty() { plan.systems.keys().cloned().collect() } else { input.systems.clone() };
    let mut book = Runbook {
        scenario: input.scenario.clone(),
        machine: input.machine.clone(),
        to: input.to.clone(),
        decided: input.now,
        ..Runbook::default()
    };
    let beside = input.to.is_some();
    let mut procedure = Procedure::new(input.scenario.as_ref().zip(scenario), beside);
    let mut first: Vec<usize> = Vec::new();
    if let Some(scenario) = scenario {
        for host in scenario.isolate.iter().filter(|_| !beside) {
            first.push(book.push(Vec::new(), None, StepKind::Isolate(host.clone())));
        }
        let place = Place { before: first, running: Vec::new(), system: None, anyway: false };
        first = procedure.push(&mut book, &scenario.before, place);
        first = book.approved(scenario.approvals, first, None, beside);
    }
    for (vault, state) in &input.vaults {
        if let Err(why) = state {
            book.warnings.push(format!("vault `{vault}` can't be read: {why}"));
        }
    }
    let order = recovery_order(plan, &selected);
    let mut ready: BTreeMap<SystemName, Vec<usize>> = BTreeMap::new();
    for name in order.iter().map(|ordered| &ordered.system) {
        let Some(System { recover, .. }) = plan.systems.get(name) else { continue };
        let place = Place { before: first.clone(), running: Vec::new(), system: Some(name), anyway: false };
        let before = procedure.push(&mut book, &recover.before, place);
        ready.insert(name.clone(), book.approved(recover.approvals, before, Some(name), beside));
    }
    let stops = if beside { BTreeMap::new() } else { book.push_stops(plan, &order, &ready) };
    if let Some(name) = input.scenario.as_ref().filter(|_| scenario.is_none()) {
        book.blockers.push(format!("there is no scenario `{name}` in the plan"));
    }
    for name in selected.iter().filter(|name| !plan.systems.contains_key(*name)) {
        book.blockers.push(format!("there is no system `{name}` in the plan"));
    }
    let struck = if wanted == Wanted::LastClean { Struck::new(input) } else { Struck::default() };
    let common = book.align(input, &wanted, &struck, &selected);
    let asks_back = !matches!(wanted, Wanted::Latest | Wanted::Until(Until::Newest));
    let mut last_of: BTreeMap<SystemName, Vec<usize>> = BTreeMap::new();
    for ordered in order {
        let name = ordered.system;
        let Some(system) = plan.systems.get(&name) else { continue };
        for need in &ordered.needs_running {
            book.warnings.push(format!(
                "`{name}` needs `{need}`, which is not part of this recovery: it must be running"
            ));
        }
        let expected = plan.machine_name(&system.host);
        if expected != input.machine && !input.stands_in && input.to.is_none() {
            book.blockers.push(format!(
                "`{name}` belongs on `{expected}`, and this machine is `{}`: if it stands in for it, say so with --stand-in",
                input.machine
            ));
        }
        let (available, elsewhere) = candidates(input, &wanted, &struck, &name);
        let had_points = input.available.get(&name).is_some_and(|available| !available.points.is_empty());
        let unplaced = unplaced(&available, &wanted);
        if unplaced.is_some() || had_points && available.points.is_empty() {
            let why = unplaced.unwrap_or_else(|| match &wanted {
                Wanted::Before(time) => {
                    format!("no point of it was whole before {time}: releve points shows them")
                }
                _ => format!("every point is from after a sign of tampering: {}", elsewhere.join("; ")),
            });
            book.blockers.push(format!("`{name}`: {why}"));
            continue;
        }
        let aligned = common.get(&name);
        let asked = &wanted;
        let wanted = aligned.map_or(asked, |aligned| &aligned.wanted);
        let mut choice = match choose(&available.points, wanted, input.now) {
            Ok(mut choice) => {
                if let Some(aligned) = aligned {
                    let alone = match aligned.alone > aligned.instant {
                        true => format!("; by itself it could come back to {:.0}", aligned.alone),
                        false => String::new(),
                    };
                    choice.reasons = vec![format!("its group comes back to {:.0}{alone}", aligned.instant)];
                    choice.left_out.clone_from(&aligned.left_out);
                    let newest = choice.left_out.first();
                    choice.reasons.extend(newest.map(|newest| passed_over(newest, choice.left_out.len())));
                }
                choice.reasons.extend(elsewhere);
                choice
            }
            Err(why) => {
                let others = others(input, wanted, &name);
                book.blockers.push(format!("`{name}`: {why}{others}{}", unasked(input)));
                continue;
            }
        };
        let crash = available.crash.clone().unwrap_or_else(|| Crash::unknown(input.now));
        let clock_behind = choice.point.is_ahead(input.now);
        choice.loss = match clock_behind {
            true => Period::default(),
            false => crash.lost_since(choice.point.counts()),
        };
        let log = available.log_of(&choice.point);
        let is_others = log.is_none() && available.log.is_some();
        let went_back = available.went_back.filter(|_| aligned.is_none());
        let held_back = log.filter(|_| follows_choice(wanted, went_back));
        let went_to = available.went_to.as_ref();
        // What a recovery went back to is where the system came from: that, and nothing of what was left then.
        let is_left = |time: &Timestamp| held_back.is_some_and(|log| choice.is_left_by(log, *time));
        let left = available.went_back.filter(is_left);
        let again = left.and(went_to).map(as_wanted);
        // What makes a newer point suspicious stops nobody who names an instant.
        let held_back = held_back.filter(|_| *wanted == Wanted::Latest || left.is_some());
        let held_back = held_back.and_then(|log| choice.stops_log(log, available.went_back, went_to));
        if let Some(why) = held_back.as_ref().or(aligned.and_then(|aligned| aligned.stops.as_ref())) {
            choice.reasons.push(why.clone());
            book.warnings.push(format!("`{name}`: {why}"));
        }
        let source = input.plan.systems.get(&name).and_then(|system| system.source.as_ref());
        let keeps_log = source.and_then(Source::wal).is_some_and(|wal| wal != Wal::None);
        // Who has named no instant now takes what there is of the one that was named then.
        let or_earlier = input.or_earlier || again.is_some() && *asked == Wanted::Latest;
        let forward = Forward { name: &name, log, is_others, keeps_log, crash: &crash, or_earlier };
        let rolled = match (&again, &held_back) {
            (Some(again), _) => forward.roll(again, &mut choice),
            (None, Some(_)) => Ok(None),
            (None, None) => forward.roll(wanted, &mut choice),
        };
        let is_not_there = left.or(aligned.and_then(|aligned| aligned.left));
        let lacks = match is_not_there {
            None if *asked != Wanted::Latest => None,
            _ if aligned.is_some() => forward.lacks_alone(&available, input.now),
            Some(time) if rolled.is_ok() => Some(left_out_since(&name, time)),
            _ if held_back.is_some() && again.is_none() => None,
            _ => forward.lacks(&rolled, &choice.point),
        };
        let is_told = left.is_some() || aligned.is_some();
        book.warnings.extend(lacks.iter().filter(|_| is_told).cloned());
        let instant = instant(asked);
        let short = match instant {
            Some(_) if is_not_there.is_some() => is_not_there.map(|time| lost_since(&name, time)),
            // Whoever names an instant has chosen it: an earlier state would only look like it.
            Some(time) if aligned.is_none() => forward.short_of(time, &rolled, &choice.point),
            // The instant of its group takes its place; but a log that isn't there leads to neither.
            Some(_) if !matches!(rolled, Ok(Some(_))) => forward.roll(asked, &mut choice.clone()).err(),
            _ => None,
        };
        let replay = match rolled {
            Ok(replay) => {
                let doubt = replay.as_ref().filter(|_| short.is_none());
                book.warnings.extend(doubt.and_then(|replay| forward.doubt(replay, &choice.point)));
                replay
            }
            Err(why) => {
                match wanted {
                    _ if short.is_some() => {}
                    Wanted::Until(_) | Wanted::From { .. } => book.blockers.push(why),
                    _ => book.warnings.push(why),
                }
                None
            }
        };
        if let Some(time) = instant {
            if replay.is_none() && aligned.is_none() {
                let earlier = forward::apart(choice.point.counts(), time);
                choice.reasons.push(format!("that is {earlier:.2} before then"));
            }
            if let Some(why) = short {
                let there = (&choice.point, available.points.as_slice());
                book.say_unreached(&forward, (time, why), there, replay.is_some());
            }
        }
        book.warn_of_the_way(&name, &choice, replay.as_ref());
        if !choice.point.is_base() {
            let why = choice.point.judgement.why.as_deref().unwrap_or("it is not good");
            book.warnings.push(format!("the point that `{name}` comes back to is SUSPICIOUS: {why}"));
        }
        if !choice.point.complete {
            book.warnings
                .push(format!("the chosen point of `{name}` is incomplete: what it lacks can't come back"));
        }
        if clock_behind {
            book.warnings.push(format!("`{name}`: {}", lost(choice.loss, system.rpo, clock_behind)));
        } else if choice.loss > system.rpo {
            let lost = lost(choice.loss, system.rpo, clock_behind);
            book.warnings.push(format!("`{name}` loses {lost}, and {} was promised", system.rpo));
        }
        let vaults: Vec<_> = input
            .vaults
            .iter()
            .filter(|(vault, state)| state.is_ok() && choice.point.vaults.contains(vault))
            .map(|(vault, _)| vault.clone())
            .collect();
        if vaults.is_empty() {
            book.blockers
                .push(format!("`{name}`: no vault that holds point {} can be read", choice.point.id));
        }
        // Started only after what it needs is started. Plain data comes back at once: independent systems side by side.
        // Nobody may hold its files open meanwhile: neither it nor what uses it.
        let users = stops.get(&name).into_iter().flatten().copied();
        let mut before: Vec<usize> = ready.get(&name).into_iter().flatten().copied().chain(users).collect();
        let running: Vec<usize> =
            ordered.after.iter().flat_map(|need| last_of.get(need).cloned().unwrap_or_default()).collect();
        if !beside && !system.comes_early() {
            before.extend(&running);
        }
        let before = match system.recover.hold.is_empty() || beside {
            true => before,
            // What comes back brings its own jobs with it.
            false => vec![book.push(before, Some(&name), StepKind::Hold(system.recover.hold.clone()))],
        };
        let mut last = if beside {
            vec![book.push(before, Some(&name), StepKind::Restore)]
        } else if system.recover.instead.is_empty() {
            book.push_default(&name, system, before, running)
        } else {
            let place = Place { before, running, system: Some(&name), anyway: false };
            procedure.push(&mut book, &system.recover.instead, place)
        };
        let place = Place { before: last.clone(), running: Vec::new(), system: Some(&name), anyway: false };
        if !beside {
            book.push_release(&name, system, last);
        }
        last = procedure.push(&mut book, &system.recover.after, place);
        last_of.insert(name.clone(), last);
        book.compare(&name, system, &choice.point);
        book.miss(&name, system, &choice.point, input);
        // Beside nothing is overwritten: all of it may come.
        let source = system.source.as_ref().filter(|_| !beside);
        let Boundary { only, left } =
            source.map(|source| boundary(source, &choice.point.paths)).unwrap_or_default();
        let mut standing = available.standing;
        if matches!(source, Some(Source::Files(_))) {
            standing.retain(|standing| meets(&standing.path, &choice.point.paths));
        }
        let stops_group = aligned.is_some_and(|aligned| aligned.stops.is_some());
        let went_back = asks_back || held_back.is_some() || stops_group;
        book.systems.push(Restore {
            system: name,
            choice,
            replay,
            lacks,
            vaults,
            standing,
            only,
            left,
            withheld: None,
            went_back,
            crash: Some(crash),
            clock_behind,
            rto: system.rto,
            rpo: system.rpo,
        });
    }
    if beside {
        book.warnings.push("restored beside: nothing is stopped, started or checked".into());
    }
    book.weigh(input);
    if let Some(scenario) = scenario {
        let waited_for = book.steps.iter().enumerate().filter(|(_, step)| !step.meanwhile);
        let before: Vec<usize> = waited_for.map(|(at, _)| at).collect();
        let place = Place { before, running: Vec::new(), system: None, anyway: true };
        procedure.push(&mut book, &scenario.after, place);
    }
    book
}

/// Returns what there is of a system that a recovery may take, and why the rest is left alone.
fn candidates(
    input: &RunbookInput<'_>,
    wanted: &Wanted,
    struck: &Struck<'_>,
    name: &SystemName,
) -> (Available, Vec<String>) {
    let mut available = input.available.get(name).cloned().unwrap_or_default();
    available.look_as_of(wanted);
    let mut elsewhere = Vec::new();
    if let Some((found, told)) = struck.beside(input.plan, name) {
        available.points.retain(|point| found.spares(point));
        elsewhere = told;
    }
    if let (Some(_), Wanted::Before(time)) = (&available.log, wanted) {
        // It can only be rolled forward from where its capture ended.
        available.points.retain(|point| point.ended.is_none_or(|ended| ended < *time));
        let says_histories = available.log.iter().any(|log| !log.runs.is_empty());
        let is_sure = |point: &Facts| {
            let ended = point.ended.filter(|_| point.whole_at.is_none());
            ended.is_none_or(|ended| ended.checked_add(ENDED_LATER).is_ok_and(|ended| ended < *time))
        };
        // Where there is another, nothing is left to a guess.
        let is_whole = |point: &Facts| {
            let log = available.log_of(point);
            let aim = log.and_then(|log| log.history_at(point, *time));
            point.complete && point.is_base() && log.is_some_and(|log| log.way(point, aim) == Reaches::Whole)
        };
        if says_histories && available.points.iter().any(|point| is_sure(point) && is_whole(point)) {
            available.points.retain(is_sure);
        }
    }
    if let (Wanted::Until(_), Some(fitting)) = (wanted, available.fitting.clone()) {
        available.points.retain(|point| fitting.contains(&point.id));
    }
    if let Some(again) = taken_again(&available, wanted) {
        available.points = again;
        return (available, elsewhere);
    }
    // Who names a point is told why it doesn't lead there.
    let is_named = matches!(wanted, Wanted::From { .. });
    if let (Some(_), Some(aim), false) = (&available.log, aim(wanted), is_named) {
        // After a recovery to an earlier instant the newest point may lie in a history that was left then.
        let leads = |point: &Facts| available.log_of(point).is_none_or(|log| leads(log, point, &aim));
        let leading: Vec<Facts> = available.points.iter().filter(|point| leads(point)).cloned().collect();
        if !leading.is_empty() {
            available.points = leading;
        }
    }
    (available, elsewhere)
}

/// Returns how an instant is asked for.
fn as_wanted(until: &Until) -> Wanted {
    match until.time() {
        Some(time) => Wanted::Before(time),
        None => Wanted::Until(until.clone()),
    }
}

/// Says why no point leads to a place that somebody has named in the log, if that is known.
fn unplaced(available: &Available, wanted: &Wanted) -> Option<String> {
    let (Wanted::Until(until) | Wanted::From { until, .. }) = wanted else { return None };
    if let Some(why) = &available.unplaced {
        return Some(why.clone());
    }
    if let Wanted::From { id, until: Until::Time(time) } = wanted {
        let is_late = |point: &Facts| point.ended.unwrap_or_else(|| point.counts()) >= *time;
        let is_it = |point: &Facts| point.id.starts_with(id.as_str());
        let named = available.points.iter().find(|point| is_it(point))?;
        let late = || format!("point {id} was not whole before {time}: name an earlier one");
        return is_late(named).then(late).or_else(|| available.leads_elsewhere(named, *time));
    }
    let fitting = available.fitting.as_ref()?;
    if let Wanted::From { id, .. } = wanted {
        let is_it = |known: &String| known.starts_with(id.as_str());
        let is_late = available.points.iter().any(|point| is_it(&point.id)) && !fitting.iter().any(is_it);
        return is_late.then(|| {
            format!(
                "point {id} is whole only behind {until}: without --point the newest from before is taken"
            )
        });
    }
    fitting.is_empty().then(|| {
        format!(
            "no point of it was whole before {until}: releve points shows them; to have a point by itself: --point ID, and to try that place from one: --point ID --until WHAT"
        )
    })
}

impl Runbook {
    /// Finds the instants that systems whose data belongs together come back to, and returns what that asks of each.
    fn align(
        &mut self,
        input: &RunbookInput<'_>,
        wanted: &Wanted,
        struck: &Struck<'_>,
        selected: &[SystemName],
    ) -> BTreeMap<SystemName, Aligned> {
        let mut all = BTreeMap::new();
        let groups = Together::new(input.plan);
        for together in groups.grouped(selected) {
            let Some(first) = together.first() else { continue };
            let taken: BTreeSet<&SystemName> = together.iter().collect();
            let left: Vec<_> =
                groups.with(first).iter().copied().filter(|name| !taken.contains(name)).collect();
            if !left.is_empty() {
                self.warnings.push(format!(
                    "{} {} consistent with {}, not part of this recovery: what comes back may not fit what is there",
                    list(&together),
                    if together.len() == 1 { "is" } else { "are" },
                    list(left)
                ));
            }
            if together.len() < 2 {
                continue;
            }
            let there: Vec<_> =
                together.iter().map(|name| (name, candidates(input, wanted, struck, name).0)).collect();
            let members: Vec<_> = there
                .iter()
                .map(|(name, there)| Member {
                    name,
                    points: &there.points,
                    log: there.log_of_newest(),
                    went_back: there.went_back,
                    went_to: there.went_to.as_ref(),
                })
                .collect();
            match group::align(&members, wanted, input.now) {
                Some((group, choices)) => {
                    self.groups.push(group);
                    all.extend(choices);
                }
                None => self.warnings.push(format!("{} don't come back to one instant", list(&together))),
            }
        }
        all
    }

    /// Holds what a point holds against what the plan names: where nothing would be put back, that is said before anything is touched.
    fn compare(&mut self, name: &SystemName, system: &System, point: &Facts) {
        let Some(source) = &system.source else { return };
        let Some(differs) = differs(source, &point.paths) else { return };
        let puts_back = |step: &Step| step.system.as_ref() == Some(name) && step.kind.puts_back();
        let said = differs.said(name, source, Some(&point.id), self.to.is_some());
        match differs.is_all && self.steps.iter().rev().any(puts_back) {
            true => self.blockers.push(said),
            false => self.warnings.push(said),
        }
    }

    /// Says what a point doesn't hold that an earlier one does, since the plan was edited.
    fn miss(&mut self, name: &SystemName, system: &System, point: &Facts, input: &RunbookInput<'_>) {
        let Some((source, there)) = system.source.as_ref().zip(input.available.get(name)) else { return };
        let until: Vec<&Facts> = there.points.iter().filter(|one| one.counts() <= point.counts()).collect();
        // What else speaks against a point that somebody names is said otherwise.
        let all = dropped(input.plan, source, &until).into_iter().filter(|_| point.is_sound());
        self.warnings.extend(all.map(|one| one.missed(name)));
    }

    /// Says that a log is rolled forward, as somebody asks, through what a point is suspicious for.
    fn warn_of_the_way(&mut self, name: &SystemName, choice: &Choice, replay: Option<&Replay>) {
        // Where in the log other places lie is for the server to find out.
        let replay = replay.filter(|replay| matches!(replay.until, Until::Newest | Until::Time(_)));
        let Some(Replay { until, .. }) = replay else { return };
        let is_on_the_way = |left: &&LeftOut| {
            let is_reached = until.time().is_none_or(|time| left.time <= time);
            left.rating == Rating::Suspicious && left.time > choice.point.counts() && is_reached
        };
        if let Some(left) = choice.left_out.iter().rev().find(is_on_the_way) {
            self.warnings.push(format!(
                "`{name}`: the log is rolled forward to {until}, past point {} of {:.0}, which is {}: what happened there happens again",
                left.id, left.time, left.why
            ));
        }
    }
}

/// Says whose point it is that somebody names, where it is another system's: all systems together have none of one name.
fn others(input: &RunbookInput<'_>, wanted: &Wanted, name: &SystemName) -> String {
    let (Wanted::Id(id) | Wanted::From { id, .. }) = wanted else { return String::new() };
    let has = |available: &Available| available.points.iter().any(|point| point.id.starts_with(id.as_str()));
    let mut others = input.available.iter().filter(|(other, there)| *other != name && has(there));
    others.next().map_or_else(String::new, |(other, _)| {
        format!("; point {id} is of `{other}`, and is taken by itself: releve recover {other} --point {id}")
    })
}

/// Says which vaults could not be asked: what is not found in the others may lie there.
fn unasked(input: &RunbookInput<'_>) -> String {
    let failed = input.vaults.iter().filter_map(|(vault, state)| Some((vault, state.as_ref().err()?)));
    let all: Vec<String> = failed.map(|(vault, why)| format!("`{vault}` ({why})")).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("; it may lie in a vault that could not be asked: {}", all.join(", "))
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a SystemName>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

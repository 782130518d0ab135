//! Gathers what a judgement of points rests on: what they say, what this machine saw of them, what was verified and what a person trusts.

mod clock;

use crate::Result;
use crate::proof::{Verified, damaged};
use crate::prune::identity;
use crate::signers::Known;
use crate::survey::{Survey, Surveyed};
use clock::{Clock, InOrder};
use jiff::{SignedDuration, Timestamp};
use plan::judge::{Rating, judge};
use plan::{CameBack, Facts, Plan, SystemName, Until, VaultName};
use serde::Deserialize;
use serde_json::Value;
use state::{Body, Made, Record, Seen, State};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// So far back it counts what this machine's records say of points that are in no vault any more: a month is summed up, and two more tell what is usual.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(93 * 24);
/// How far the time of a point may lie ahead of when it was seen: clocks differ a little.
const AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);

/// What this machine knows of points beyond what they say. The default knows nothing: what they say is all there is.
#[derive(Debug, Default)]
pub struct Witness {
    seen: HashMap<String, Seen>,
    /// The keys that sign points.
    signers: Known,
    trusted: HashSet<String>,
    /// The ids of the points among them.
    trusted_ids: HashSet<String>,
    verified: Verified,
    /// Vaults in which damage was found last.
    damaged: BTreeSet<String>,
    /// When this machine's records begin and end, and where among them it made which point: what a clock that was wrong has noted can be put right by that.
    times: Vec<Timestamp>,
    made: HashMap<String, usize>,
    /// When records were read anew from what the vaults hold: those of that instant say nothing of when a point was made.
    anew: Vec<Timestamp>,
    behind: Behind,
    /// Which of the records are in order, as it was found last: it is the same for all systems.
    in_order: Mutex<Option<InOrder>>,
    /// What points said of themselves that this machine made, by their system: what they counted tells on, whatever a prune has taken since.
    past: HashMap<String, Vec<(Timestamp, String, Value)>>,
}

/// What recoveries went back behind, by the records of this machine.
#[derive(Debug, Default)]
pub struct Behind {
    left: HashMap<String, Vec<Left>>,
    /// When the last recovery of a system began, for those of which it went back.
    went_back: HashMap<String, Timestamp>,
    /// How far that rolled its point forward, if it did.
    went_to: HashMap<String, Until>,
    /// The id of the point that it took, and when that says it was made.
    went_from: HashMap<String, (String, Timestamp)>,
    /// All that brought a system back, oldest first.
    recoveries: HashMap<String, Vec<CameBack>>,
}

/// What one recovery left: the points that were begun after the one that came back, and before it.
#[derive(Debug)]
struct Left {
    after: Timestamp,
    before: Timestamp,
    /// Where its own record stands.
    at: usize,
}

impl Behind {
    /// Reads it from all records, oldest first. Only a recovery in place that brought a system back has left anything.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let mut behind = Self::default();
        for (at, record) in records.iter().enumerate() {
            if let Body::Backup(made) = &record.body {
                behind.made_since(made);
            }
            let Body::Recovery(recovery) = &record.body else { continue };
            let began = recovery.started.unwrap_or(record.time);
            let back = recovery.systems.iter().filter(|check| check.rta_seconds.is_some());
            for check in back.filter(|_| !recovery.beside) {
                behind.went_back.remove(&check.system);
                behind.went_to.remove(&check.system);
                behind.went_from.remove(&check.system);
                let to: Option<Until> =
                    check.went_to.as_deref().and_then(|until| serde_json::from_str(until).ok());
                let from = check.point_time.map(|time| (check.point.clone(), time));
                if check.went_back {
                    behind.went_back.insert(check.system.clone(), began);
                    behind.went_to.extend(to.clone().map(|until| (check.system.clone(), until)));
                    behind.went_from.extend(from.clone().map(|from| (check.system.clone(), from)));
                }
                let came_back = CameBack { began, went_back: check.went_back, to, from };
                behind.recoveries.entry(check.system.clone()).or_default().push(came_back);
                let Some(after) = check.point_time else { continue };
                let left = behind.left.entry(check.system.clone()).or_default();
                // What somebody went forward to again is left no more, nor what leads there.
                for left in left.iter_mut().filter(|left| left.after < after && after < left.before) {
                    left.after = after;
                }
                if check.went_back {
                    left.push(Left { after, before: began, at });
                }
            }
        }
        behind
    }

    /// A point that was made since is from after the recovery, whatever the clock said then.
    fn made_since(&mut self, made: &Made) {
        let before = made.started.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(made.started);
        if let Some(went_back) = self.went_back.get_mut(&made.system).filter(|_| made.failure.is_none()) {
            *went_back = before.min(*went_back);
            if let Some(last) = self.recoveries.get_mut(&made.system).and_then(|all| all.last_mut()) {
                last.began = before.min(last.began);
            }
        }
    }

    /// Returns when the recovery began that went back to before a point that claims to be of `time`. `made` is where its own record stands among all, if this machine made it.
    #[must_use]
    pub fn left_by(&self, system: &str, time: Timestamp, made: Option<usize>) -> Option<Timestamp> {
        let is_left =
            |left: &&Left| left.after < time && time < left.before && made.is_none_or(|made| made < left.at);
        self.left.get(system)?.iter().find(is_left).map(|left| left.before)
    }

    /// Returns what a record has kept of what its point said, with what is known of that since. `at` is where the record stands among all.
    pub(crate) fn recorded(
        &self,
        system: &str,
        said: &Value,
        at: Option<usize>,
        trusted: bool,
    ) -> Option<Facts> {
        let facts = Facts::deserialize(said).ok()?;
        let left_by = self.left_by(system, facts.time, at);
        Some(Facts { left_by, trusted, ..facts })
    }
}

impl Witness {
    /// Reads it from the state.
    pub fn new(plan: &Plan, state: &State) -> Result<Self> {
        Self::of(plan, state, &state.records()?)
    }

    /// As [`new`](Self::new), where these are the state's records.
    pub fn of(plan: &Plan, state: &State, records: &[Record]) -> Result<Self> {
        let of_records = Self::of_records(records);
        let mut seen: HashMap<String, Seen> = HashMap::new();
        let mut written: BTreeSet<String> = BTreeSet::new();
        for vault in plan.vaults.keys() {
            for (snapshot, own) in state.seen(&vault.0)? {
                if of_records.has_written(&own) {
                    written.insert(snapshot);
                }
                // The earliest that any vault showed it: a copy that comes later is not younger for that.
                match seen.get_mut(&own.point) {
                    Some(known) if known.first <= own.first => {}
                    Some(known) => *known = own,
                    None => _ = seen.insert(own.point.clone(), own),
                }
            }
        }
        let signers = Known::read(state)?.with_written(written);
        let found = Self { seen, signers, ..of_records };
        Ok(found.trusting(&state.trusted()?))
    }

    /// Returns whether this machine's own record names what was noted of a snapshot, and that was noted before the record was: a snapshot that somebody else has given
    /// the same name came later.
    fn has_written(&self, seen: &Seen) -> bool {
        let record = seen.point.split(' ').next().and_then(|id| self.record_of(id));
        record.and_then(|at| self.times.get(at)).is_some_and(|recorded| seen.first <= *recorded)
    }

    fn of_records(records: &[Record]) -> Self {
        let made = records.iter().enumerate().filter_map(|(at, record)| match &record.body {
            Body::Backup(made) if !made.point.is_empty() => Some((made.point.clone(), at)),
            _ => None,
        });
        let mut past: HashMap<String, Vec<(Timestamp, String, Value)>> = HashMap::new();
        // What no vault ever got the next point has counted again.
        let told = |made: &Made| made.vaults.values().any(Option::is_none) && !made.facts.is_null();
        for record in records {
            let Body::Backup(made) = &record.body else { continue };
            if told(made) {
                let said = (made.started, made.point.clone(), made.facts.clone());
                past.entry(made.system.clone()).or_default().push(said);
            }
        }
        Self {
            past,
            verified: Verified::of(records),
            damaged: damaged(records),
            times: records.iter().map(|record| record.time).collect(),
            made: made.collect(),
            anew: records.iter().filter(|record| is_anew(record)).map(|record| record.time).collect(),
            behind: Behind::of(records),
            ..Self::default()
        }
    }

    /// Knows no more than which key signs on this machine: it lies beside the state, and is there where that can't be opened.
    #[must_use]
    pub fn of_key(machine: &str, key: &str) -> Self {
        Self { signers: Known::own(machine, key), ..Self::default() }
    }

    /// Takes these points for good too, by what [`identity`] says of them.
    #[must_use]
    pub fn trusting(mut self, points: &[String]) -> Self {
        let id = |point: &String| point.split(' ').next().map(str::to_owned);
        self.trusted_ids.extend(points.iter().filter_map(id));
        self.trusted.extend(points.iter().cloned());
        self
    }

    /// Returns since when a point is proven.
    #[must_use]
    pub fn verified(&self, id: &str) -> Option<Timestamp> {
        self.verified.since(id)
    }

    /// Returns when the last recovery of a system began, if that went back to an earlier state than the newest there was.
    #[must_use]
    pub fn went_back(&self, system: &SystemName) -> Option<Timestamp> {
        self.behind.went_back.get(&system.0).copied()
    }

    /// Returns how far that recovery rolled its point forward, if it did: what somebody chose then.
    #[must_use]
    pub fn went_to(&self, system: &SystemName) -> Option<Until> {
        self.behind.went_to.get(&system.0).cloned()
    }

    /// Returns the id of the point that it took, and when that says it was made.
    #[must_use]
    pub fn went_from(&self, system: &SystemName) -> Option<(String, Timestamp)> {
        self.behind.went_from.get(&system.0).cloned()
    }

    /// Returns all recoveries in place that brought it back, oldest first.
    #[must_use]
    pub fn recoveries(&self, system: &SystemName) -> Vec<CameBack> {
        self.behind.recoveries.get(&system.0).cloned().unwrap_or_default()
    }

    /// Returns when this machine saw each point of a system first, by its id.
    #[must_use]
    pub(crate) fn looks(&self, survey: &Survey, system: &SystemName) -> HashMap<String, Timestamp> {
        let seen = |point: &Surveyed| Some((point.point.id.clone(), self.seen.get(&identity(point))?.first));
        survey.of(system).filter_map(seen).collect()
    }

    /// Returns whether the last that is known of a vault is that it is damaged.
    #[must_use]
    pub fn is_damaged(&self, vault: &VaultName) -> bool {
        self.damaged.contains(&vault.0)
    }

    /// Returns the points of a system, judged, in the order that counts.
    #[must_use]
    pub fn judged(&self, plan: &Plan, survey: &Survey, system: &SystemName, now: Timestamp) -> Vec<Facts> {
        let there: Vec<&Surveyed> = survey.of(system).collect();
        self.judged_of(plan, &there, system, now)
    }

    /// As [`judged`](Self::judged), of points that were sorted out.
    pub(crate) fn judged_of(
        &self,
        plan: &Plan,
        there: &[&Surveyed],
        system: &SystemName,
        now: Timestamp,
    ) -> Vec<Facts> {
        let mut points = self.facts_of(plan, there, system, now);
        points.extend(self.gone(system, &points, now));
        judge(&mut points, home(plan, system), now);
        points.retain(|point| !point.gone);
        // Afterwards: what a point holds is a sign of what happened also where it can't be read any more.
        for point in points.iter_mut().filter(|point| point.broken.is_some()) {
            point.complete = false;
            if matches!(point.judgement.rating, Rating::Good | Rating::Proven) {
                point.judgement.rating = Rating::Incomplete;
            }
        }
        points
    }

    /// Returns what this machine remembers of points of a system that are not among these, not judged yet. They are there to be summed up, and for nothing else.
    pub(crate) fn gone(&self, system: &SystemName, there: &[Facts], now: Timestamp) -> Vec<Facts> {
        let since = now.checked_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        let there: HashSet<&str> = there.iter().map(|point| point.id.as_str()).collect();
        let past = self.past.get(&system.0).into_iter().flatten();
        past.filter(|(started, id, _)| *started >= since && !there.contains(id.as_str()))
            .filter_map(|(_, id, said)| {
                let (at, trusted) = (self.made.get(id).copied(), self.trusted_ids.contains(id));
                let facts = self.behind.recorded(&system.0, said, at, trusted)?;
                Some(Facts { gone: true, vaults: Vec::new(), ..facts })
            })
            .collect()
    }

    /// Returns whether this machine has seen anything in a vault that says it is of a system, or the log of one.
    pub(crate) fn has_seen(&self, system: &str) -> bool {
        self.seen.values().any(|seen| seen.system.as_deref() == Some(system))
    }

    /// Returns the keys that sign points.
    pub(crate) const fn signers(&self) -> &Known {
        &self.signers
    }

    /// Returns whether a person has taken a point for good, by what [`identity`] says of it.
    pub(crate) fn trusts(&self, identity: &str) -> bool {
        self.trusted.contains(identity)
    }

    /// Returns whether a point is signed with a key that this machine knows for its machine.
    pub(crate) fn is_signed(&self, point: &Surveyed) -> bool {
        self.signers.is_signed(point)
    }

    /// Returns what is known of all points of a system, in this order, not judged yet.
    pub(crate) fn facts_of(
        &self,
        plan: &Plan,
        there: &[&Surveyed],
        system: &SystemName,
        now: Timestamp,
    ) -> Vec<Facts> {
        let signing = self.signers.signing(there);
        let clock = self.clock(now);
        let known = |point: &&Surveyed| {
            let unvouched = self.signers.unvouched(point, home(plan, system), &signing);
            Facts { unvouched, ..self.facts(point, &clock, now) }
        };
        there.iter().map(known).collect()
    }

    /// Returns which of the records a clock wrote that was right, looked for once.
    fn clock(&self, now: Timestamp) -> Clock<'_> {
        let mut known = self.in_order.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = Clock::of(&self.times, now, known.as_ref());
        *known = Some(clock.in_order());
        clock
    }

    /// Returns what is known of a point, not judged yet.
    fn facts(&self, point: &Surveyed, clock: &Clock<'_>, now: Timestamp) -> Facts {
        let identity = identity(point);
        let seen = self.seen.get(&identity);
        let facts = point.facts();
        let trusted = self.trusted.contains(&identity);
        let record = self.record_of(&facts.id);
        let by_records = || clock.after(record?);
        // The first look at a vault finds what lay there, whenever that came: of what it finds from a time to come it says nothing, unless a person takes the point for good.
        let is_told = |seen: &&Seen| {
            seen.unseen_at.is_some()
                || trusted
                || facts.time <= seen.first.saturating_add(AHEAD_MAX).unwrap_or(seen.first)
        };
        let first_seen = seen.filter(is_told).map(|seen| seen.first);
        let by_looks = || first_seen.filter(|first| *first <= now);
        // What a clock noted that was ahead is as wrong when its time has come, and after it was noted anew.
        let known = match record.is_some_and(|record| clock.is_ahead(record)) {
            true => by_records().or_else(by_looks),
            false => by_looks().or_else(by_records),
        };
        let is_broken = self.verified.is_broken(&facts.id, &facts.vaults);
        let system = point.point.system.as_deref().unwrap_or_default();
        let left_by = self.behind.left_by(system, facts.time, self.made.get(&facts.id).copied());
        let head = point.point.head.as_ref().filter(|_| record.is_none() && self.is_signed(point));
        Facts {
            first_seen: known.or(first_seen),
            unseen_at: seen.and_then(|seen| seen.unseen_at),
            noted: head.map(|head| head.number),
            trusted,
            verified: self.verified.since(&point.point.id),
            broken: is_broken.then(|| plan::BROKEN.to_owned()),
            left_by,
            ..facts
        }
    }

    /// Returns where the record stands that this machine wrote when it made a point.
    fn record_of(&self, id: &str) -> Option<usize> {
        let at = *self.made.get(id)?;
        (!self.anew.contains(self.times.get(at)?)).then_some(at)
    }
}

fn is_anew(record: &Record) -> bool {
    matches!(record.body, Body::Rebuilt { .. })
}

/// Returns why a point of this machine's own record is suspicious, unless a person has taken it for good since: `trusted` is what the state says of that.
#[must_use]
pub fn suspicious<'a>(made: &'a Made, trusted: &[String]) -> Option<&'a String> {
    made.suspicious.as_ref().filter(|_| !is_trusted(made, trusted))
}

/// Returns whether a person has taken the point of this machine's own record for good.
#[must_use]
pub fn is_trusted(made: &Made, trusted: &[String]) -> bool {
    trusted.iter().any(|point| point.split(' ').next() == Some(made.point.as_str()))
}

/// Returns the machine that the plan has a system on.
pub(crate) fn home<'a>(plan: &'a Plan, system: &SystemName) -> Option<&'a str> {
    plan.systems.get(system).map(|system| plan.machine_name(&system.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use state::{Check, Recovery};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A recovery of `shop` that took the point of so many seconds and began at so many.
    fn recovery(point: i64, began: i64, went_back: bool) -> Recovery {
        let check = Check {
            system: "shop".into(),
            point_time: Some(at(point)),
            rta_seconds: Some(1.0),
            went_back,
            ..Check::default()
        };
        Recovery { started: Some(at(began)), systems: vec![check], ..Recovery::default() }
    }

    fn behind(recoveries: Vec<Recovery>) -> Behind {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for recovery in recoveries {
            let began = recovery.started.unwrap();
            state.append(Body::Recovery(recovery), began).unwrap();
        }
        Behind::of(&state.records().unwrap())
    }

    /// Which of the points of every hundred seconds were left.
    fn left(behind: &Behind) -> Vec<i64> {
        (1..10)
            .map(|hundred| hundred * 100)
            .filter(|time| behind.left_by("shop", at(*time), None).is_some())
            .collect()
    }

    #[test]
    fn what_was_made_between_the_point_and_the_recovery_that_went_back_to_it_is_left() {
        let back = behind(vec![recovery(200, 550, true)]);
        assert_eq!((left(&back), back.went_back.get("shop")), (vec![300, 400, 500], Some(&at(550))));
        assert_eq!(back.left_by("other", at(300), None), None);
        // A point whose record came later was made later, whatever its clock said.
        assert_eq!(back.left_by("shop", at(300), Some(1)), None);
        let newest = behind(vec![recovery(200, 550, false)]);
        assert_eq!((left(&newest), newest.went_back.get("shop")), (vec![], None));
    }

    #[test]
    fn what_a_point_counted_is_known_after_it_is_gone_for_three_months() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for (id, failed) in [("aa", None), ("bb", None), ("cc", Some("no route".to_owned()))] {
            let facts = Facts { id: id.into(), time: at(100), files: 7, ..Facts::default() };
            let made = Made {
                system: "shop".into(),
                point: id.into(),
                started: at(100),
                vaults: [("near".to_owned(), failed)].into(),
                facts: serde_json::to_value(&facts).unwrap(),
                ..Made::default()
            };
            state.append(Body::Backup(made), at(110)).unwrap();
        }
        let records = state.records().unwrap();
        let witness = Witness::of_records(&records).trusting(&["bb tree time".to_owned()]);
        let there = [Facts { id: "aa".into(), ..Facts::default() }];
        let gone = witness.gone(&"shop".into(), &there, at(200));
        let told: Vec<_> =
            gone.iter().map(|point| (point.id.as_str(), point.files, point.gone, point.trusted)).collect();
        assert_eq!(told, [("bb", 7, true, true)], "no vault ever had cc");
        assert!(witness.gone(&"shop".into(), &[], at(100 * 86_400)).is_empty());
        assert!(witness.gone(&"other".into(), &[], at(200)).is_empty());
    }

    #[test]
    fn a_point_that_was_made_since_is_from_after_it_although_the_clock_was_ahead_then() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.append(Body::Recovery(recovery(200, 90_000, true)), at(90_100)).unwrap();
        let made = Made { system: "shop".into(), started: at(700), ..Made::default() };
        state.append(Body::Backup(made), at(710)).unwrap();
        let behind = Behind::of(&state.records().unwrap());
        assert!(*behind.went_back.get("shop").unwrap() < at(700));
    }

    #[test]
    fn a_recovery_beside_or_one_that_failed_leaves_nothing() {
        let beside = Recovery { beside: true, ..recovery(200, 550, true) };
        let mut failed = recovery(200, 550, true);
        failed.systems[0].rta_seconds = None;
        assert_eq!(left(&behind(vec![beside, failed])), Vec::<i64>::new());
    }

    #[test]
    fn what_somebody_went_forward_to_again_is_left_no_more() {
        let forward = behind(vec![recovery(200, 650, true), recovery(400, 700, true)]);
        assert_eq!(left(&forward), [500, 600]);
        let newest = behind(vec![recovery(200, 650, true), recovery(200, 700, false)]);
        assert_eq!((left(&newest), newest.went_back.get("shop")), (vec![300, 400, 500, 600], None));
    }

    #[test]
    fn how_far_somebody_went_back_is_known_until_a_recovery_goes_on() {
        let until = Until::Time(at(300));
        let mut back = recovery(200, 550, true);
        back.systems[0].went_to = serde_json::to_string(&until).ok();
        back.systems[0].point = "ab12".into();
        let known = behind(vec![back.clone()]);
        assert_eq!(known.went_to.get("shop"), Some(&until));
        assert_eq!(known.went_from.get("shop"), Some(&("ab12".to_owned(), at(200))));
        let forward = behind(vec![back.clone(), recovery(200, 600, false)]);
        assert_eq!(forward.went_from.get("shop"), None);
        let all: Vec<_> = forward.recoveries["shop"].iter().map(|one| (one.began, one.went_back)).collect();
        assert_eq!(all, [(at(550), true), (at(600), false)], "what lies between is of the first");
        assert_eq!(behind(vec![back.clone(), recovery(200, 600, true)]).went_to.get("shop"), None);
        assert_eq!(behind(vec![back, recovery(200, 600, false)]).went_to.get("shop"), None);
    }
}

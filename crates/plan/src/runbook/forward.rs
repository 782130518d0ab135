//! How far a point is rolled forward by the log of its system, and what is said where that isn't as far as somebody asks.

use super::recoveries::was_base;
use super::{Available, Replay, Runbook, Unreached};
use crate::{Choice, Crash, Facts, LogFacts, Period, Reaches, SystemName, Until, Wanted, choose};
use jiff::Timestamp;
use std::time::Duration;

/// What rolling one system forward rests on.
pub(super) struct Forward<'a> {
    pub(super) name: &'a SystemName,
    /// The log that goes on from points of the system that the chosen one is of.
    pub(super) log: Option<&'a LogFacts>,
    /// There is a log, of another system that was made in its place.
    pub(super) is_others: bool,
    /// The plan says that one is kept.
    pub(super) keeps_log: bool,
    pub(super) crash: &'a Crash,
    /// Somebody has said yes to an earlier state than the instant that he asks for.
    pub(super) or_earlier: bool,
}

/// Returns how far what is wanted is to be rolled forward. Where a point itself is asked for, behind it lies what it was chosen to avoid.
pub(super) fn aim(wanted: &Wanted) -> Option<Until> {
    match wanted {
        Wanted::Latest => Some(Until::Newest),
        Wanted::Before(time) => Some(Until::Time(*time)),
        Wanted::Until(until) | Wanted::From { until, .. } => Some(until.clone()),
        Wanted::LastVerified | Wanted::LastClean | Wanted::BeforeNamed | Wanted::Id(_) => None,
    }
}

/// Returns the instant that somebody asks for, if he asks for one.
pub(super) fn instant(wanted: &Wanted) -> Option<Timestamp> {
    match wanted {
        Wanted::Before(time) => Some(*time),
        Wanted::From { until, .. } => until.time(),
        _ => None,
    }
}

/// Says what is missing behind a recovery that went back.
pub(super) fn left_out_since(name: &SystemName, time: Timestamp) -> String {
    format!(
        "`{name}`: nothing is there of its log from after the recovery of {time:.0}, which went back: what was committed since is not back"
    )
}

/// The same to who asks for an instant from after it, with the choices that there are.
pub(super) fn lost_since(name: &SystemName, time: Timestamp) -> String {
    format!(
        "{} (releve recover {name} brings what was chosen then; what was left then comes with --before and a time from before it, or all of it with --until newest)",
        left_out_since(name, time)
    )
}

/// Returns whether who wants this wants what somebody chose when a recovery went back, and what came of it since: the newest, or an instant from after it.
pub(super) fn follows_choice(wanted: &Wanted, went_back: Option<Timestamp>) -> bool {
    match wanted {
        Wanted::Latest => true,
        Wanted::Before(time) => went_back.is_some_and(|went_back| *time > went_back),
        _ => false,
    }
}

/// Returns whether a point leads into the history in which `aim` lies.
pub(super) fn leads(log: &LogFacts, point: &Facts, aim: &Until) -> bool {
    match aim.timeline() {
        Some(number) => log.leads_to(point, number),
        None => log.leads(point, aim.time()),
    }
}

/// Returns the points among which a plain recovery chooses after one that went back, while nothing was made or has begun anew since. The newest good one is the one
/// that was taken then, whatever history is the newest; where that is gone, the newest of those from before that leads to where it went.
pub(super) fn taken_again(available: &Available, wanted: &Wanted) -> Option<Vec<Facts>> {
    let time = available.went_back.filter(|_| follows_choice(wanted, available.went_back))?;
    let (id, made) = available.went_from.as_ref()?;
    let is_good = |point: &Facts| was_base(wanted, point);
    // What was made behind an instant that somebody asks for is not of it.
    let is_since = |point: &Facts| {
        point.counts() >= time && instant(wanted).is_none_or(|instant| point.counts() < instant)
    };
    if available.points.iter().any(|point| point.complete && is_good(point) && is_since(point)) {
        return None;
    }
    let is_from_before = |log: &LogFacts, point: &Facts| {
        point.time <= *made && available.went_to.as_ref().is_none_or(|aim| leads(log, point, aim))
    };
    let fits = |point: &&Facts| {
        let log = available.log_of(point).filter(|log| is_good(point) && !log.began_anew(time));
        log.is_some_and(|log| point.id == *id || is_from_before(log, point))
    };
    let fitting = available.points.iter().filter(fits);
    let again = fitting.max_by_key(|point| (point.id == *id, point.complete, point.counts()))?;
    // From an earlier one of the same history its group may need to start; what isn't good is left out as ever, and named.
    let aim = available.went_to.clone().unwrap_or_else(|| Until::Time(again.counts()));
    let leads_there = |point: &Facts| available.log_of(point).is_some_and(|log| leads(log, point, &aim));
    let is_earlier = |point: &Facts| point.complete && point.counts() < again.counts() && leads_there(point);
    let keeps =
        |point: &&Facts| point.id == again.id || !point.is_base() || (again.complete && is_earlier(point));
    Some(available.points.iter().filter(keeps).cloned().collect())
}

/// Returns the history in which `aim` lies, as seen from a point; the newest where that is `None`.
fn history_of(log: &LogFacts, point: &Facts, aim: &Until) -> Option<u32> {
    aim.timeline().or_else(|| log.history_at(point, aim.time()?))
}

/// Returns how long before an instant another was.
pub(super) fn apart(earlier: Timestamp, later: Timestamp) -> Period {
    Period(Duration::try_from(later.duration_since(earlier)).unwrap_or_default())
}

impl Forward<'_> {
    /// Returns how far the chosen point can be rolled forward, and takes that into account; the error says why it can't, although it should.
    pub(super) fn roll(&self, wanted: &Wanted, choice: &mut Choice) -> Result<Option<Replay>, String> {
        let Self { name, keeps_log, crash, .. } = self;
        let Some(until) = aim(wanted) else { return Ok(None) };
        if self.is_others {
            // The log which is kept now goes on from no point of the system that was there before.
            return Err(format!(
                "`{name}`: point {} is of another system than the log that is kept now, which was made in its place: no log goes on from it",
                choice.point.id
            ));
        }
        let Some(log) = self.log else {
            return match wanted {
                Wanted::Before(_) if *keeps_log => Err(format!("`{name}`: no log of it is in any vault")),
                Wanted::Until(_) | Wanted::From { .. } => Err(format!(
                    "`{name}`: no log of it is kept in any vault: only its points can be restored"
                )),
                _ => Ok(None),
            };
        };
        let way = log.way(&choice.point, history_of(log, &choice.point, &until));
        if let Reaches::None { missing } = &way {
            if choice.point.position.is_none() {
                return Err(format!(
                    "`{name}`: point {} does not say where in the log it lies: it can't be rolled forward",
                    choice.point.id
                ));
            }
            let missing =
                missing.as_ref().map_or_else(String::new, |missing| format!(": {missing} is missing"));
            return Err(format!("`{name}`: its log does not go on from point {}{missing}", choice.point.id));
        }
        if let Some(number) = until.timeline().filter(|number| !log.leads_to(&choice.point, *number)) {
            return Err(format!(
                "`{name}`: no point leads into timeline {number} of its log; point {} does not",
                choice.point.id
            ));
        }
        if !leads(log, &choice.point, &until) {
            return Err(format!(
                "`{name}`: point {} lies in a history that a recovery has left, and its log goes on in another: make a backup",
                choice.point.id
            ));
        }
        let broken = match way {
            Reaches::Broken { until, .. } => Some(until),
            Reaches::Whole | Reaches::None { .. } => None,
        };
        let ends = broken.unwrap_or(log.until);
        let reached = match (&until, ends) {
            (Until::Time(time), Some(end)) => Some(end.min(*time)),
            (Until::Time(_), None) => None,
            (Until::Newest, end) => end,
            // Where these lie is for the server to find out.
            _ => None,
        };
        if let Some(reached) = reached.filter(|reached| *reached > choice.point.counts()) {
            choice.loss = crash.lost_since(reached);
        }
        // What comes before the point itself says nothing of how far it is brought.
        let least = ends.filter(|ends| *ends > choice.point.counts());
        choice.reasons.push(match (&until, ends) {
            (Until::Newest, Some(ends)) if broken.is_none() && least.is_none() => {
                format!("the point by itself: its log ends before it, as far as is known (at {ends})")
            }
            (Until::Newest, _) => {
                let end = if broken.is_some() { "where its log breaks off" } else { "the end of its log" };
                let least = least.map_or_else(String::new, |ends| format!(", at least to {ends}"));
                format!("rolled forward to {end}{least}")
            }
            (until, _) => format!("rolled forward to {until}"),
        });
        let reaches_end = match &until {
            Until::Newest => true,
            Until::Time(time) => log.until.is_some_and(|end| end <= *time),
            _ => false,
        };
        // One that was written in a history which a recovery has left is promised no more.
        let is_newest = |history: u32| log.timelines.iter().all(|timeline| timeline.number <= history);
        let sentinel = log.sentinel.filter(|(history, _)| {
            reaches_end && broken.is_none() && (log.runs.is_empty() || is_newest(*history))
        });
        // Where it breaks off later than that, nothing of what is asked for is behind its end.
        let is_whole = until.time().zip(broken.flatten());
        let or_earlier = self.or_earlier || is_whole.is_some_and(|(time, end)| time <= end);
        Ok(Some(Replay { log: log.id.clone(), until, sentinel, or_earlier }))
    }

    /// Returns why the system can't come to an instant that somebody has named, if that is known. `rolled` is how its point is rolled forward.
    pub(super) fn short_of(
        &self,
        time: Timestamp,
        rolled: &Result<Option<Replay>, String>,
        point: &Facts,
    ) -> Option<String> {
        let log = match rolled {
            Err(why) => return Some(why.clone()),
            Ok(replay) => self.log.filter(|_| replay.is_some())?,
        };
        let (until, missing) = broken(log, point, &Until::Time(time))?;
        if until.is_some_and(|until| until >= time) {
            return None;
        }
        Some(self.breaks_off(&missing, point))
    }

    /// Says what is known to be missing in the newest state that there is, if anything is.
    pub(super) fn lacks(&self, rolled: &Result<Option<Replay>, String>, point: &Facts) -> Option<String> {
        match rolled {
            Err(why) => Some(format!("{why}: what came after that point is not back")),
            Ok(replay) => {
                replay.as_ref().filter(|replay| replay.until == Until::Newest)?;
                let (_, missing) = broken(self.log?, point, &Until::Newest)?;
                Some(format!("{}: what came after that is not back", self.breaks_off(&missing, point)))
            }
        }
    }

    /// Says what would be missing in the newest state of the system if it came back by itself: that is missing too where it comes back to the instant of its group,
    /// which is earlier for that very reason.
    pub(super) fn lacks_alone(&self, available: &Available, now: Timestamp) -> Option<String> {
        let mut own = choose(&available.points, &Wanted::Latest, now).ok()?;
        let log = available.log_of(&own.point);
        let forward = Forward { log, is_others: log.is_none() && available.log.is_some(), ..*self };
        let is_left = |time: &Timestamp| log.is_some_and(|log| own.is_left_by(log, *time));
        if let Some(time) = available.went_back.filter(is_left) {
            return Some(left_out_since(self.name, time));
        }
        if log.is_some_and(|log| own.stops_log(log, None, None).is_some()) {
            return None;
        }
        let rolled = forward.roll(&Wanted::Latest, &mut own);
        forward.lacks(&rolled, &own.point)
    }

    /// Names a newer point that lacks something, from which the log leads to an instant to which it doesn't from the chosen one: whether that is better is for a
    /// person to say.
    fn instead(&self, points: &[Facts], chosen: &Facts, time: Timestamp) -> Option<String> {
        let log = self.log?;
        let leads_there = |point: &&Facts| match log.way(point, log.history_at(point, time)) {
            Reaches::Whole => log.leads(point, Some(time)),
            Reaches::Broken { until, .. } => until.is_some_and(|until| until >= time),
            Reaches::None { .. } => false,
        };
        let is_newer = |point: &&Facts| {
            let ended = point.ended.unwrap_or_else(|| point.counts());
            point.is_base() && !point.complete && point.counts() > chosen.counts() && ended < time
        };
        let newer = points.iter().filter(is_newer).filter(leads_there);
        let Facts { id, .. } = newer.max_by_key(|point| point.counts())?;
        Some(format!(
            " Its log leads there from point {id}, which is incomplete: with what that lacks missing, releve recover {} --point {id} --before {time}.",
            self.name
        ))
    }

    /// Says that a log is known to end, or may, before all that is wanted.
    pub(super) fn doubt(&self, replay: &Replay, point: &Facts) -> Option<String> {
        let log = self.log?;
        if let Some((until, missing)) = broken(log, point, &replay.until) {
            let is_whole = until.zip(replay.until.time()).is_some_and(|(end, time)| time <= end);
            return (!is_whole).then(|| {
                format!("{}: what came after that can't come back", self.breaks_off(&missing, point))
            });
        }
        let (until, time) = (log.until?, replay.until.time()?);
        let from = until.max(point.counts());
        (until < time).then(|| {
            format!(
                "`{}`: its log is known to be whole up to {until} only: what was committed from {from} to {time} comes back if its server or this machine has it still",
                self.name
            )
        })
    }

    fn breaks_off(&self, missing: &str, point: &Facts) -> String {
        format!("`{}`: behind point {} its log breaks off ({missing} is missing)", self.name, point.id)
    }
}

/// Returns until when a log is whole on its way from a point to `aim`, and what is missing then, if it breaks off.
fn broken(log: &LogFacts, point: &Facts, aim: &Until) -> Option<(Option<Timestamp>, String)> {
    match log.way(point, history_of(log, point, aim)) {
        Reaches::Broken { until, missing } => Some((until, missing)),
        Reaches::Whole | Reaches::None { .. } => None,
    }
}

impl Runbook {
    /// Says that nothing brings a system to the instant that somebody asks for, and what it would come back to: refused, unless he has said yes to that.
    pub(super) fn say_unreached(
        &mut self,
        forward: &Forward<'_>,
        (time, why): (Timestamp, String),
        (point, points): (&Facts, &[Facts]),
        has_log: bool,
    ) {
        let broken = forward.log.and_then(|log| broken(log, point, &Until::Time(time)));
        let until = broken.and_then(|(until, _)| until).filter(|_| has_log);
        let until = until.filter(|until| *until > point.counts());
        let unreached = Unreached {
            system: forward.name.clone(),
            why,
            point: point.id.clone(),
            time: point.counts(),
            earlier: apart(point.counts(), time),
            has_log,
        };
        let (why, state) = (&unreached.why, unreached.state());
        if forward.or_earlier {
            self.warnings.push(format!("{why}: it comes back to {state}"));
        } else {
            let refused = unreached.refused(time);
            let way = until.map_or_else(String::new, |until| {
                format!(" As of where it breaks off, all systems together: --before {until} instead.")
            });
            let instead = forward.instead(points, point, time).unwrap_or_default();
            self.blockers.push(format!(
                "{refused}{way}{instead} Or the same command with --or-earlier: it then comes back to {state}, and every other system as you asked"
            ));
        }
        self.unreached.push(unreached);
    }
}

impl Unreached {
    /// Says why it doesn't come back to `time`, and how it still may.
    #[must_use]
    pub fn refused(&self, time: Timestamp) -> String {
        let (why, from) = (&self.why, self.time);
        match self.has_log {
            true => format!("{why}, and is not known to go as far as {time}."),
            false => format!(
                "{why}: nothing there tells what was committed from {from} to {time}. If its server is at work, or its log is here still, start `releve agent`, which carries it there, and try again."
            ),
        }
    }
}

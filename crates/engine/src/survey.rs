//! Which restore points there are, as the vaults themselves say.

mod few;
mod listings;
mod places;

use crate::judge::Witness;
use crate::log::is_to_come;
use crate::prune::identity;
use crate::vaults::Opened;
use jiff::Timestamp;
use places::Places;
use plain::Name;
use plan::judge::Changed;
use plan::paths::is_kept;
use plan::{Facts, LogFacts, Plan, SystemName, VaultName};
use source::{is_advice, left_behind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use vault::{FileId, Point, PointInfo, Repository};

pub(crate) use few::first;
pub use few::{Few, few};
pub use listings::{Listings, Unlisted, note_opened};

/// A look at the vaults.
#[derive(Debug, Default)]
pub struct Survey {
    /// All points, oldest first.
    pub points: Vec<Surveyed>,
    /// Vaults that could not be asked, and why: a point may lie there too.
    pub unreachable: Vec<(VaultName, String)>,
    /// Vaults that another machine pulls and that can't be seen from here, by design: no copy in them is counted.
    pub unseen: Vec<(VaultName, String)>,
    /// What came of listing the vaults that have opened: those of the unreachable among them that could not be listed.
    pub listings: Listings,
    /// Those of the unreachable that nobody has made yet, as far as is known: there is nothing in them.
    pub absent: Vec<VaultName>,
    /// Snapshot files that could not be read.
    pub damaged: Vec<(VaultName, String)>,
    /// Logs that nobody vouches for who should, by what [`identity`] says of them, and why: none of them is taken ([`vouched`](Self::vouched)).
    pub strange_logs: BTreeMap<String, String>,
    /// When it was looked, by this machine's clock, if that counts: what is said of a log and is yet to come then is believed by nobody.
    pub now: Option<Timestamp>,
    /// Where the points stand: each of thousands of systems asks for its own.
    pub(crate) places: Places,
}

/// How far a vault's log may be behind another's before it is brought from there: its own next run comes sooner.
const LOG_BEHIND: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// So many things are named that a point lacks.
const NAMED_MAX: usize = 20;

/// A point, with the names of the vaults that hold it.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// The point.
    pub point: Point,
    /// Where it lies, each vault once.
    pub vaults: Vec<VaultName>,
    /// The files that hold it: one vault may hold it twice.
    files: Vec<(VaultName, FileId)>,
}

/// Asks every vault that is open.
#[must_use]
pub fn survey(vaults: &[Opened]) -> Survey {
    let mut unreachable = Vec::new();
    let mut open: Vec<(&VaultName, Arc<Repository>)> = Vec::new();
    for opened in vaults {
        match &opened.repository {
            Ok(repository) => open.push((&opened.name, Arc::clone(repository))),
            Err(error) => unreachable.push((opened.name.clone(), error.to_string())),
        }
    }
    let mut survey = among(&open);
    survey.absent = vaults.iter().filter(|opened| opened.absent).map(|opened| opened.name.clone()).collect();
    unreachable.append(&mut survey.unreachable);
    survey.unreachable = unreachable;
    survey.now = Some(Timestamp::now());
    survey
}

/// Asks these vaults.
pub(crate) fn among(open: &[(&VaultName, Arc<Repository>)]) -> Survey {
    let mut survey = Survey::default();
    let repositories: Vec<Arc<Repository>> =
        open.iter().map(|(_, repository)| Arc::clone(repository)).collect();
    let found = vault::points(&repositories);
    let name = |at: usize| open.get(at).map_or_else(VaultName::default, |(name, _)| (*name).clone());
    for (at, error) in &found.unreachable {
        let (vault, why) = (name(*at), error.to_string());
        survey.unreachable.push((vault.clone(), why.clone()));
        survey.listings.unlisted.push(Unlisted { vault, why, may_pass: error.is_retryable() });
    }
    let is_listed = |at: &usize| found.unreachable.iter().all(|(unlisted, _)| unlisted != at);
    survey.listings.listed = (0..open.len()).filter(is_listed).map(name).collect();
    survey.damaged.extend(found.damaged.iter().map(|(at, error)| (name(*at), error.to_string())));
    survey.points = found
        .points
        .into_iter()
        .map(|point| {
            let files: Vec<_> = point.copies.iter().map(|(at, file)| (name(*at), *file)).collect();
            let mut vaults: Vec<VaultName> = Vec::new();
            for (vault, _) in &files {
                if !vaults.contains(vault) {
                    vaults.push(vault.clone());
                }
            }
            Surveyed { point, vaults, files }
        })
        .collect();
    survey.places = Places::of(&survey.points);
    survey
}

impl Survey {
    /// Returns what is said of the look itself: the vaults that could not be asked, and files that can't be read.
    #[must_use]
    pub fn troubles(&self) -> Vec<(VaultName, String)> {
        let mut troubles = self.unreachable.clone();
        troubles.extend(few(&self.damaged).lines());
        troubles
    }

    /// Says which vaults could not be asked, and why; `None` if all could. What is not found elsewhere may lie there, so nothing is said to be nowhere without it.
    #[must_use]
    pub fn unasked(&self) -> Option<String> {
        let unasked = self.unreachable.iter().chain(&self.unseen);
        let all: Vec<String> =
            unasked.map(|(vault, why)| format!("vault {vault} could not be asked ({why})")).collect();
        (!all.is_empty()).then(|| format!("{}: it may lie there", all.join("; ")))
    }

    /// Returns why it is not known what a vault holds, if it isn't: that nothing was seen in it says nothing.
    #[must_use]
    pub fn unknown(&self, vault: &VaultName) -> Option<&str> {
        let (_, why) = self.unreachable.iter().find(|(unreachable, _)| unreachable == vault)?;
        (!self.absent.contains(vault)).then_some(why.as_str())
    }

    /// Says of which vaults it isn't known what they hold, and why; `None` where it is known of all that this machine could see.
    #[must_use]
    pub fn not_known(&self) -> Option<String> {
        let unknown = self.unreachable.iter().filter(|(vault, _)| !self.absent.contains(vault));
        let all: Vec<String> =
            unknown.map(|(vault, why)| format!("vault {vault} could not be asked ({why})")).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Returns the point of this id.
    #[must_use]
    pub fn point(&self, id: &str) -> Option<&Surveyed> {
        self.all_of_id(id).next()
    }

    fn all_of_id(&self, id: &str) -> impl Iterator<Item = &Surveyed> {
        self.places.of_id(id).iter().filter_map(move |at| self.points.get(*at))
    }

    /// Returns what is called so, the points of a system or its logs, oldest first.
    fn called(&self, name: &str) -> impl DoubleEndedIterator<Item = &Surveyed> {
        self.places.called(name).iter().filter_map(move |at| self.points.get(*at))
    }

    /// Returns the point that these facts are of.
    #[must_use]
    pub fn of_facts(&self, facts: &Facts) -> Option<&Surveyed> {
        // An id can be used again by hand: the time tells them apart.
        let own = |surveyed: &&Surveyed| surveyed.point.time == facts.time;
        self.all_of_id(&facts.id).find(own).or_else(|| self.point(&facts.id))
    }

    /// Sets the vaults aside that another machine than this one pulls and that don't answer here: that is no fault.
    #[must_use]
    pub fn from(mut self, plan: &Plan, machine: &str) -> Self {
        let (unreachable, unseen) =
            self.unreachable.into_iter().partition(|(vault, _)| plan.writes(vault, machine));
        (self.unreachable, self.unseen) = (unreachable, unseen);
        self
    }

    /// Passes over the logs that nobody vouches for who should, from now on.
    #[must_use]
    pub fn vouched(mut self, plan: &Plan, witness: &Witness) -> Self {
        let now = self.now.unwrap_or_else(Timestamp::now);
        let strange = crate::strange::logs(plan, witness, &self, now).into_iter();
        self.strange_logs = strange.map(|strange| (strange.identity, strange.why)).collect();
        self
    }

    /// Returns why a log is passed over, if it is.
    #[must_use]
    pub fn strange_log(&self, log: &Surveyed) -> Option<&str> {
        match self.strange_logs.is_empty() {
            true => None,
            false => self.strange_logs.get(&identity(log)).map(String::as_str),
        }
    }

    /// Returns whether a vault can't be seen from here by design.
    #[must_use]
    pub fn is_unseen(&self, vault: &VaultName) -> bool {
        self.unseen.iter().any(|(unseen, _)| unseen == vault)
    }

    /// Returns the vaults of the policy of a point's system that were seen to lack it. A log is written into each vault by itself, and only one that has stayed
    /// behind lacks it.
    #[must_use]
    pub fn lacking(&self, point: &Surveyed, plan: &Plan) -> Vec<VaultName> {
        let is_log = point.point.system.as_deref().and_then(SystemName::of_log).is_some();
        let lacks = |vault: &VaultName| !self.is_unseen(vault) && (!is_log || self.is_log_for(point, vault));
        point.lacks(plan).into_iter().filter(lacks).collect()
    }

    /// Returns the points of one system, oldest first.
    pub fn of<'a>(&'a self, system: &'a SystemName) -> impl DoubleEndedIterator<Item = &'a Surveyed> {
        self.called(&system.0)
    }

    /// Returns what is known of the newest log of a system: of the one that is there now, if another was in its place before.
    #[must_use]
    pub fn log(&self, system: &SystemName) -> Option<LogFacts> {
        self.newest_log(system, |_| true)?.log().map(|log| self.believed(log))
    }

    /// Returns until when a system's log is said to be whole, where that is yet to come: whoever said it had a clock that was ahead, and it counts for nothing.
    #[must_use]
    pub fn log_ahead(&self, system: &SystemName) -> Option<Timestamp> {
        let until = self.newest_log(system, |_| true)?.log()?.until?;
        self.now.is_some_and(|now| is_to_come(until, now)).then_some(until)
    }

    /// Returns what is known of a log, without what is yet to come.
    fn believed(&self, mut log: LogFacts) -> LogFacts {
        let Some(now) = self.now else { return log };
        let runs = log.runs.iter_mut().map(|run| &mut run.until);
        let earlier = log.earlier.iter_mut().map(|stretch| &mut stretch.until);
        for until in runs.chain(earlier).chain([&mut log.until]) {
            *until = until.filter(|until| !is_to_come(*until, now)).map(|until| until.min(now));
        }
        log
    }

    /// Returns the ids of the logs of this name that a newer one goes on from although they claim a later time.
    pub(crate) fn passed(&self, name: &str) -> BTreeSet<&str> {
        let said = self.called(name).filter(|point| self.strange_log(point).is_none());
        let said = said.filter_map(|point| point.point.info.as_ref()?.log.as_ref());
        said.flat_map(|log| log.passed.keys().map(String::as_str)).collect()
    }

    /// Returns the newest log of each system that was in this one's place before it, newest first.
    #[must_use]
    pub fn former_logs(&self, system: &SystemName) -> Vec<LogFacts> {
        let mut found: Vec<LogFacts> = self.log(system).into_iter().collect();
        let name = system.log();
        let passed = self.passed(&name);
        for surveyed in self.called(&name).rev().filter(|surveyed| surveyed.point.complete) {
            let is_taken = |id: &str| !passed.contains(id) && self.strange_log(surveyed).is_none();
            let Some(log) = surveyed.log().filter(|log| is_taken(&log.id)) else { continue };
            let log = self.believed(log);
            if found.iter().all(|known| known.identity != log.identity) {
                found.push(log);
            }
        }
        found.into_iter().skip(1).collect()
    }

    /// Returns the log of a system that goes on from points like this one.
    #[must_use]
    pub fn log_of(&self, system: &SystemName, point: &Facts) -> Option<LogFacts> {
        self.log(system).into_iter().chain(self.former_logs(system)).find(|log| log.is_of(point))
    }

    /// Returns what is known of the newest log of a system in one vault.
    #[must_use]
    pub fn log_in(&self, system: &SystemName, vault: &VaultName) -> Option<LogFacts> {
        let log = self.newest_log(system, |surveyed| surveyed.vaults.contains(vault))?.log();
        log.map(|log| self.believed(log))
    }

    fn newest_log(&self, system: &SystemName, there: impl Fn(&Surveyed) -> bool) -> Option<&Surveyed> {
        let name = system.log();
        let passed = self.passed(&name);
        let is_log =
            |surveyed: &&Surveyed| surveyed.point.complete && !passed.contains(surveyed.point.id.as_str());
        let is_taken = |surveyed: &&Surveyed| there(surveyed) && self.strange_log(surveyed).is_none();
        let all = || self.called(&name).rev().filter(is_log).filter(is_taken);
        // What another system has left waiting may have come later than its own log.
        all().find(|surveyed| !surveyed.is_former_log()).or_else(|| all().next())
    }

    /// Returns the newest log of the system that wrote this one, where `there` says so.
    fn newest_like(&self, point: &Surveyed, there: impl Fn(&Surveyed) -> bool) -> Option<&Surveyed> {
        let name = point.point.system.as_deref()?;
        let passed = self.passed(name);
        let is_like = |other: &Surveyed| {
            other.point.complete
                && other.identity_of_log() == point.identity_of_log()
                && !passed.contains(other.point.id.as_str())
                && self.strange_log(other).is_none()
        };
        self.called(name).rev().find(|surveyed| is_like(surveyed) && there(surveyed))
    }

    /// Returns the newest log that each of these vaults has of the system that wrote this one, but this.
    pub(crate) fn logs_beside<'s>(
        &'s self,
        point: &Surveyed,
        vaults: impl Iterator<Item = &'s VaultName>,
    ) -> Vec<&'s Surveyed> {
        let newest = vaults.filter_map(|vault| self.newest_like(point, |other| other.vaults.contains(vault)));
        let mut found: Vec<&Surveyed> = newest.filter(|other| other.point.id != point.point.id).collect();
        found.sort_by(|a, b| a.point.id.cmp(&b.point.id));
        found.dedup_by(|a, b| a.point.id == b.point.id);
        found
    }

    /// Returns whether a point is the newest log of its system in some vault: what was there before it is held whole by that one.
    #[must_use]
    pub fn is_newest_log(&self, point: &Surveyed) -> bool {
        if point.point.system.as_deref().and_then(SystemName::of_log).is_none() {
            return false;
        }
        let is_newest = |vault: &VaultName| {
            let newest = self.newest_like(point, |surveyed| surveyed.vaults.contains(vault));
            // Nothing whole is there that could hold it.
            newest.is_none_or(|newest| newest.point.id == point.point.id)
        };
        point.vaults.iter().any(is_newest)
    }

    /// Returns whether a point is the log of a system that a vault lacks: the newest there is, and that vault's own ends clearly earlier.
    fn is_log_for(&self, point: &Surveyed, vault: &VaultName) -> bool {
        let newest =
            self.newest_like(point, |_| true).is_some_and(|newest| newest.point.id == point.point.id);
        let own = self.newest_like(point, |surveyed| surveyed.vaults.contains(vault));
        newest && own.is_none_or(|own| point.point.time.duration_since(own.point.time) > LOG_BEHIND)
    }
}

impl Surveyed {
    /// Returns the files that hold it, in any vault.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.files.iter().map(|(_, file)| *file)
    }

    /// Returns the files that hold it in one vault, each once.
    pub fn files_in<'a>(&'a self, vault: &'a VaultName) -> impl Iterator<Item = FileId> + 'a {
        self.files.iter().filter(move |(name, _)| name == vault).map(|(_, file)| *file)
    }

    /// Returns the vaults of its system's policy that lack the point; none for a point that no system of the plan made.
    #[must_use]
    pub fn lacks(&self, plan: &Plan) -> Vec<VaultName> {
        let name =
            self.point.system.as_deref().map(|name| SystemName::of_log(name).unwrap_or_else(|| name.into()));
        let system = name.and_then(|name| plan.systems.get(&name));
        let policy = system.map(|system| plan.policy_of(system).vaults).unwrap_or_default();
        policy.into_iter().filter(|vault| !self.vaults.contains(vault)).collect()
    }

    /// Says what of these paths (of all, where there are none) could not be captured and is in no vault, a line each.
    #[must_use]
    pub fn not_captured(&self, only: &[String]) -> Vec<String> {
        match &self.point.info {
            Some(info) if info.unread_count > 0 => not_captured(info, only),
            _ if self.point.complete => Vec::new(),
            _ => vec!["the point is incomplete, and doesn't say what it lacks".to_owned()],
        }
    }

    /// Says what the system's own configuration named when the point was made, and is not in it, nor kept by another system, a line each: without it the system doesn't start on
    /// another machine.
    #[must_use]
    pub fn left_behind(&self, plan: &Plan) -> Vec<String> {
        let left = self.point.info.iter().flat_map(|info| left_behind(&info.made_with));
        let left = left.filter(|(path, _)| !is_kept(plan, &path.to_string_lossy()));
        left.map(|(path, why)| format!("{}: {why}", path.display())).collect()
    }

    /// Says what a person should change about the system itself, as it was when the point was made.
    #[must_use]
    pub fn advised(&self) -> Vec<String> {
        let notes = self.point.info.iter().flat_map(|info| &info.notes);
        notes.filter(|note| is_advice(&note.why)).map(|note| note.why.clone()).collect()
    }

    /// Returns the identity of the system that wrote the log which this is, if it says so.
    pub(crate) fn identity_of_log(&self) -> Option<&str> {
        self.point.info.as_ref()?.log.as_ref()?.identity.as_deref()
    }

    /// Returns whether it is the log of a system that another has taken the place of.
    pub(crate) fn is_former_log(&self) -> bool {
        self.point.info.as_ref().and_then(|info| info.log.as_ref()).is_some_and(|log| log.former)
    }

    /// Returns what is known of the log, if that is what it holds.
    pub(crate) fn log(&self) -> Option<LogFacts> {
        let info = self.point.info.as_ref()?.log.clone()?;
        Some(LogFacts {
            id: self.point.id.clone(),
            identity: info.identity,
            since: info.since,
            from: info.from,
            until: info.until,
            sentinel: info.sentinel,
            missing: info.missing,
            timelines: info.timelines.into_iter().map(timeline).collect(),
            earlier: info.earlier.into_iter().map(stretch).collect(),
            runs: info.runs.into_iter().map(run).collect(),
            vaults: self.vaults.clone(),
        })
    }

    /// Returns what it says of itself.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            id: self.point.id.clone(),
            time: self.point.time,
            complete: self.point.complete,
            vaults: self.vaults.clone(),
            host: self.point.snapshot.hostname.clone(),
            paths: self.point.snapshot.paths.clone(),
            excludes: self.point.snapshot.excludes.clone(),
            ..self.point.info.as_ref().map(said).unwrap_or_default()
        }
    }
}

fn not_captured(info: &PointInfo, only: &[String]) -> Vec<String> {
    let is_wanted = |path: &str| {
        let path = below(path);
        let meets = |only: &Path| path.starts_with(only) || only.starts_with(path);
        only.is_empty() || only.iter().any(|only| meets(below(only)))
    };
    let wanted: Vec<_> = info.unread.iter().filter(|unread| is_wanted(&unread.path)).collect();
    let line = |unread: &vault::UnreadInfo| {
        let why = unread.why.lines().next().unwrap_or_default();
        format!("not whole in the point: {}: {why}", shown(&unread.path))
    };
    let mut lines: Vec<String> = wanted.iter().take(NAMED_MAX).map(|unread| line(unread)).collect();
    // The point itself remembers a thousand.
    let forgotten = info.unread_count.saturating_sub(info.unread.len() as u64);
    let more = forgotten.saturating_add(wanted.len().saturating_sub(lines.len()) as u64);
    if more > 0 {
        lines.push(format!("and {more} more that are not whole in the point"));
    }
    lines
}

/// Returns a path out of a point as people know it: from the root on, however it is noted there, and in one line.
#[must_use]
pub fn shown(path: impl AsRef<Path>) -> String {
    Name::path(&Path::new("/").join(path)).to_string()
}

/// Returns a path below the root of a point, whether it was named with a slash before it or without.
fn below(path: &str) -> &Path {
    Path::new(path.trim_start_matches('/'))
}

/// Returns what a point says of its content.
pub(crate) fn said(info: &PointInfo) -> Facts {
    Facts {
        files: info.files,
        others: info.links.saturating_add(info.specials),
        bytes: info.bytes,
        change: changed(&info.change),
        doubts: info.doubts.clone(),
        since: info.since.clone(),
        judged: info.judged,
        recorded: info.suspicious.clone(),
        tampering: info.tampering,
        ended: info.ended,
        position: info.position.clone(),
        whole_at: info.whole_at.clone(),
        identity: info.identity.clone(),
        ..Facts::default()
    }
}

fn changed(change: &vault::Change) -> Changed {
    let vault::Change {
        counted,
        files_new,
        files_changed,
        files_unchanged,
        files_touched,
        files_removed,
        files_moved,
        bytes_removed,
        files_scrambled,
        bytes_scrambled,
        types_changed,
        bytes_new,
        incompressible,
        files_emptied,
        files_veiled,
        files_ruined,
        bytes_lost,
        bytes_came,
        files_aside,
        files_passing,
        bytes_packed,
    } = *change;
    Changed {
        files_new,
        files_changed,
        files_unchanged,
        files_touched,
        files_moved,
        files_removed,
        bytes_new,
        bytes_removed,
        incompressible,
        files_scrambled,
        bytes_scrambled,
        types_changed,
        files_emptied,
        files_veiled,
        files_ruined,
        bytes_lost,
        bytes_came,
        files_aside,
        files_passing,
        bytes_packed,
        counted,
    }
}

fn stretch(stretch: vault::Stretch) -> plan::Stretch {
    let vault::Stretch { from, to, until } = stretch;
    plan::Stretch { from, to, until }
}

fn run(run: vault::Passage) -> plan::Passage {
    let vault::Passage { timeline, from, to, until, missing } = run;
    plan::Passage { timeline, from, to, until, missing }
}

fn timeline(timeline: vault::Timeline) -> plan::Timeline {
    let vault::Timeline { number, begun, path } = timeline;
    plan::Timeline { number, begun, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_point_lacks_is_named_as_far_as_it_was_to_come_back() {
        let unread = |path: &str| vault::UnreadInfo { path: path.into(), why: "refused\nand more".into() };
        let few = vec![unread("srv/shop/a"), unread("/etc/b"), unread("srv")];
        let info = PointInfo { unread_count: 3, unread: few, ..PointInfo::default() };
        assert_eq!(not_captured(&info, &[]).len(), 3);
        let named = not_captured(&info, &["/srv/shop".to_owned()]);
        assert_eq!(
            named,
            ["not whole in the point: /srv/shop/a: refused", "not whole in the point: /srv: refused"]
        );
        let many = (0..1000).map(|n| unread(&n.to_string())).collect();
        let info = PointInfo { unread_count: 1500, unread: many, ..PointInfo::default() };
        let named = not_captured(&info, &[]);
        assert_eq!((named.len(), named[20].as_str()), (21, "and 1480 more that are not whole in the point"));
    }
}

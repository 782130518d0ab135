//! What a server has still of its log, and no vault: it is brought there before anything is decided, and long before what it lies in is replaced.
//!
//! Where no agent ran, or not to the end, it may be all that leads to an instant. A dry run touches nothing: it decides as if it had come, and says so.

use crate::cli::wal::{policy_vaults, spool_of};
use crate::session::Session;
use engine::log::{Carried, Carrier, ended, is_behind, settle};
use engine::survey::{Survey, Surveyed};
use engine::vaults::Opened;
use engine::{Error, Result, source_of};
use jiff::Timestamp;
use plan::{Available, Facts, LogFacts, Runbook, SystemName, Timeline, Until, VaultName, Wal, Wanted};
use source::{Log, LogKind, Still};
use state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// No history is longer: a line for each recovery.
const HISTORY_MAX: u64 = 1 << 20;
/// How long a segment is, unless somebody has built a server otherwise: it says only in which of them a history was left.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How a recovery looks at what is there still.
pub(super) struct Look<'a> {
    pub(super) session: &'a Session,
    pub(super) vaults: &'a [Opened],
    /// Where it is noted what is carried; without one nothing is.
    pub(super) state: Option<&'a State>,
    pub(super) systems: &'a [SystemName],
    pub(super) wanted: Option<&'a Wanted>,
    /// A recovery goes on: what stands there may be its own work.
    pub(super) goes_on: bool,
    pub(super) dry_run: bool,
    /// What stands there is replaced.
    pub(super) in_place: bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// The logs as they will be, where nothing was brought yet.
    logs: BTreeMap<SystemName, LogFacts>,
    said: Vec<String>,
    /// Why nothing may be replaced.
    blockers: Vec<String>,
    /// What is missing in the newest state of a system, as far as that is known beforehand: its log goes no further than a recovery that is over, was begun anew, or is
    /// damaged.
    lacks: BTreeMap<SystemName, Vec<String>>,
    /// Those of them that lack it for an instant, too, which somebody names and nothing that is kept reaches.
    short: BTreeSet<SystemName>,
    is_brought: bool,
}

impl Found {
    /// Lets a system have the log that it will have.
    pub(super) fn add_to(&self, name: &SystemName, available: &mut Available) {
        if let Some(log) = self.logs.get(name) {
            available.log = Some(log.clone());
        }
    }

    /// Returns whether all that there is of the log of a system is in the vaults, or waits for them.
    pub(super) fn is_all_of(&self, name: &SystemName) -> bool {
        !self.logs.contains_key(name)
    }

    /// Says what was found where everybody reads it.
    pub(super) fn say_in(&self, book: &mut Runbook) {
        book.warnings.extend(self.said.iter().cloned());
        book.blockers.extend(self.blockers.iter().cloned());
        for entry in &mut book.systems {
            // Who takes a point for itself wants nothing of what came after it.
            let wants_all = match &entry.replay {
                Some(replay) => replay.until == Until::Newest || self.short.contains(&entry.system),
                None => book.scenario.is_none(),
            };
            let lacks = self.lacks.get(&entry.system).filter(|_| wants_all && entry.lacks.is_none());
            let Some(lacks) = lacks else { continue };
            for one in lacks {
                if !book.warnings.contains(one) {
                    book.warnings.push(one.clone());
                }
            }
            entry.lacks = Some(lacks.join("; "));
        }
    }
}

/// What is known of the log of a system.
struct Known {
    /// Points from which nothing leads on in the vaults, by their positions, the oldest first; then what the vaults have, the last first: what its server has written since
    /// a recovery may go on from one before the last.
    all: Vec<String>,
    /// What they have, by names.
    files: Vec<String>,
    /// The points among them.
    points: Vec<Facts>,
    /// The newest point.
    newest: Facts,
    log: Option<LogFacts>,
}

impl Known {
    /// Returns the log in the vaults, if that is what goes on in what was found.
    fn goes_on(&self, still: &Still) -> Option<&LogFacts> {
        self.log.as_ref().filter(|_| self.files.contains(&still.from))
    }

    /// Says what was found.
    fn said(&self, name: &SystemName, still: &Still) -> String {
        let since = match self.goes_on(still) {
            Some(log) => log.until,
            None => {
                let is_it = |point: &&Facts| point.position.as_ref() == Some(&still.from);
                self.points.iter().find(is_it).map(Facts::counts)
            }
        };
        let since = since.map_or_else(String::new, |since| format!(" from {since:.0} on"));
        format!("`{name}`: its log{since} lies still in {}", still.place)
    }
}

impl Look<'_> {
    /// Looks, and brings it into the vaults unless nothing may be touched. Returns what is in the vaults then.
    /// That something can't be looked at keeps nobody from going on.
    pub(super) fn bring(&self, survey: Survey) -> (Survey, Found) {
        let mut found = Found::default();
        if self.goes_on {
            return (survey, found);
        }
        for name in self.systems {
            if let Err(error) = self.one(name, &survey, &mut found) {
                found.said.push(format!(
                    "`{name}`: what is there still of its log, where it runs or ran, could not be brought into the vaults: {error}"
                ));
            }
        }
        let again = || self.session.vouched(self.state, engine::survey::survey(self.vaults));
        let survey = if found.is_brought { again() } else { survey };
        (survey, found)
    }

    fn one(&self, name: &SystemName, survey: &Survey, found: &mut Found) -> Result<()> {
        let (session, plan) = (self.session, &self.session.plan);
        let Some(system) = plan.systems.get(name) else { return Ok(()) };
        let keeps = system.source.as_ref().and_then(plan::Source::wal).is_some_and(|wal| wal != Wal::None);
        if !keeps || !plan.runs_on(system, &session.holder.hostname) {
            return Ok(());
        }
        let source = source_of(plan, system, session.secrets())?;
        let Some(log) = source.log() else { return Ok(()) };
        let Some(known) = self.known(name, survey, log) else { return Ok(()) };
        // Another system's, made in its place, leads on from nothing.
        let (own, there) = (known.newest.identity.as_ref(), log.identity_at(None));
        if own.zip(there.as_ref()).is_some_and(|(own, there)| own != there) {
            return Ok(());
        }
        let names = policy_vaults(session, name);
        let spool = match self.dry_run {
            // It isn't made where it isn't there.
            true => session.state_dir.join("log").join(&name.0),
            false => spool_of(session, name)?,
        };
        if let Some(identity) = there.as_ref().filter(|_| !self.dry_run) {
            settle(&spool, log, identity)?;
        }
        self.spoilt(name, &known, (survey, log), &spool, found);
        let looked = log.still(&known.all, &spool, false);
        match &looked {
            Ok(Some(_)) => {}
            Ok(None) => self.begun_anew(name, &known, log.has_begun_anew(&spool), found),
            Err(_) => self.begun_anew(name, &known, None, found),
        }
        let Some(there) = looked? else { return Ok(()) };
        if self.dry_run {
            let said = known.said(name, &there);
            found.said.push(format!("{said}: it is brought into the vaults first"));
            let will_be = with_histories(as_it_will_be(&known, &there, &names), &there, log);
            found.logs.insert(name.clone(), will_be);
            return Ok(());
        }
        let still = match log.still(&known.all, &spool, true) {
            Ok(Some(still)) => still,
            Ok(None) => return Ok(()),
            Err(error) if there.is_replaced && self.in_place => {
                let said = known.said(name, &there);
                found.blockers.push(format!(
                    "{said}, may be in no vault, and can't be kept: {error}. It would be replaced: make room, or move it away, and try again"
                ));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let wait = |why: String| {
            let help =
                format!("it lies in {} meanwhile, and the agent carries it from there", spool.display());
            Error::new(why).help(help)
        };
        let Some(state) = self.state else { return Err(wait("there is no state to note it in".into())) };
        let (holder, run) = (session.holder.clone(), session.run_holder());
        let carrier = Carrier::new(name.clone(), log, spool.clone(), holder, run);
        let carrier = carrier.signed_with(&session.state_dir);
        let from = still.from.split('@').next().filter(|_| known.goes_on(&still).is_none());
        let (until, mut failure) = (still.until.and_then(time), None);
        for vault in self.vaults.iter().filter(|vault| names.contains(&vault.name)) {
            let carried = carrier.carry_into(vault, &names, state, until, from, Timestamp::now());
            match carried {
                Ok(carried) if !carried.vaults.is_empty() => {
                    found.is_brought = true;
                    said_less(name, &vault.name, &carried, found);
                    if carried.files > 0 {
                        eprintln!("{}, and is in vault {} now", known.said(name, &still), vault.name);
                    }
                }
                Ok(carried) => failure = carried.failures.into_iter().next().map(|(_, error)| error),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !found.is_brought => Err(wait(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Says what can't be read of the log that stands there. The recovery itself ends with that, so its dry run does, too.
    fn spoilt(
        &self,
        name: &SystemName,
        known: &Known,
        (survey, log): (&Survey, &dyn Log),
        spool: &Path,
        found: &mut Found,
    ) {
        let is_replayed = !matches!(
            self.wanted,
            Some(Wanted::Id(_) | Wanted::LastVerified | Wanted::LastClean | Wanted::BeforeNamed)
        );
        let Some(position) = known.newest.position.as_ref().filter(|_| self.in_place && is_replayed) else {
            return;
        };
        let held = known.log.as_ref().map(|there| self.held(there, survey)).unwrap_or_default();
        let spoilt = log.spoilt(position, &held, spool);
        let said: Vec<String> = spoilt.into_iter().map(|why| format!("`{name}`: {why}")).collect();
        if self.dry_run && !said.is_empty() {
            found.lacks.entry(name.clone()).or_default().extend(said.iter().cloned());
        }
        found.said.extend(said);
    }

    /// Says what can't come back where nothing that the system has written last goes on from what is kept. `has_anew` says whether that is anything, as far as it
    /// stands there.
    fn begun_anew(&self, name: &SystemName, known: &Known, has_anew: Option<bool>, found: &mut Found) {
        let wants_all = matches!(self.wanted, None | Some(Wanted::Latest | Wanted::Until(Until::Newest)));
        if has_anew == Some(true) && self.in_place {
            let since = known.log.as_ref().and_then(|log| log.until).unwrap_or_else(|| known.newest.counts());
            let said = format!(
                "`{name}`: what its server has goes on from nothing in the vaults: its binary log was begun anew (RESET MASTER, or a recovery), or thrown away. \
                What was committed there after {since:.0} is in no vault, is overwritten, and does not come back. If it is needed, make a backup first: releve backup {name}"
            );
            let asked = match self.wanted {
                Some(Wanted::Before(time) | Wanted::From { until: Until::Time(time), .. }) => Some(*time),
                _ => None,
            };
            let is_short = asked.is_some_and(|time| time > since);
            // The recovery itself says so at its end.
            if self.dry_run && (wants_all || is_short) {
                found.lacks.entry(name.clone()).or_default().push(said.clone());
            }
            if is_short {
                found.short.insert(name.clone());
            }
            found.said.push(said);
        }
        let records = self.state.and_then(|state| state.records().ok()).unwrap_or_default();
        let over = ended(&self.session.plan, &records, name).filter(|over| known.newest.counts() < *over);
        if let Some(over) = over.filter(|_| wants_all && has_anew != Some(false)) {
            found.lacks.entry(name.clone()).or_default().push(format!(
                "`{name}`: the recovery of {over:.0} ended its log, and no point was made since: what was committed after it, if anything was, is not back"
            ));
        }
    }

    /// Returns what is known of the log of a system; `None` where nothing more of it is needed.
    fn known(&self, name: &SystemName, survey: &Survey, log: &dyn Log) -> Option<Known> {
        let before = match self.wanted {
            Some(Wanted::Before(time) | Wanted::From { until: Until::Time(time), .. }) => Some(*time),
            _ => None,
        };
        let is_in_time = |point: &Facts| {
            let is_early = before.is_none_or(|time| point.ended.unwrap_or(point.time) < time);
            point.complete && point.position.is_some() && is_early
        };
        let points: Vec<Facts> = survey.of(name).map(Surveyed::facts).filter(is_in_time).collect();
        let newest = points.iter().max_by_key(|point| point.time)?.clone();
        let there = survey.log_of(name, &newest);
        let is_covered = |point: &Facts| there.as_ref().is_some_and(|log| log.continues(point));
        let is_reached = before.zip(there.as_ref().and_then(|log| log.until));
        if is_covered(&newest) && is_reached.is_some_and(|(before, until)| until >= before) {
            return None;
        }
        let mut uncovered: Vec<&Facts> = points
            .iter()
            .filter(|point| point.identity == newest.identity && !is_covered(point))
            // Without an instant only the newest is gone on from.
            .filter(|point| before.is_some() || point.id == newest.id)
            .collect();
        uncovered.sort_by_key(|point| point.time);
        let mut all: Vec<String> = uncovered.iter().filter_map(|point| point.position.clone()).collect();
        let files = there.as_ref().map(|there| self.files_of(there, survey, log)).unwrap_or_default();
        all.extend(files.iter().cloned());
        let mut points: Vec<Facts> = uncovered.into_iter().cloned().collect();
        // What the vaults have may be of a log that its server has begun anew since (a recovery does): then the newest point alone says where it goes on.
        if !log.numbers_histories() && points.iter().all(|point| point.id != newest.id) {
            all.extend(newest.position.clone());
            points.push(newest.clone());
        }
        Some(Known { all, files, points, newest, log: there })
    }

    /// Returns the names of the files of a log in a vault, with their lengths.
    fn held(&self, there: &LogFacts, survey: &Survey) -> Vec<(String, u64)> {
        let Some(point) = survey.point(&there.id).map(|surveyed| &surveyed.point) else { return Vec::new() };
        let mut repositories = self.vaults.iter().filter_map(|vault| vault.repository.as_ref().ok());
        let files = repositories.find_map(|vault| vault::backup::files_of(vault, &point.tree).ok());
        let named = |(path, node): (PathBuf, vault::Node)| {
            Some((path.file_name()?.to_str()?.to_owned(), node.size()))
        };
        files.into_iter().flatten().filter_map(named).collect()
    }

    /// Returns the names of the files of a log in a vault, the last first.
    fn files_of(&self, there: &LogFacts, survey: &Survey, log: &dyn Log) -> Vec<String> {
        let files = self.held(there, survey);
        let mut placed: Vec<(String, bool, String)> = files
            .into_iter()
            .filter_map(|(name, _)| match log.file(&name)?.kind {
                LogKind::Whole(position) => Some((position, true, name)),
                LogKind::Partial(position) => Some((position, false, name)),
                LogKind::Always => None,
            })
            .collect();
        placed.sort_unstable();
        // Kinds that don't tell histories go on from the last alone.
        let last = if log.numbers_histories() { usize::MAX } else { 1 };
        placed.into_iter().rev().map(|(_, _, name)| name).take(last).collect()
    }
}

/// Says what of it stays out of a vault, which has more under its name, or something else.
fn said_less(name: &SystemName, vault: &VaultName, carried: &Carried, found: &mut Found) {
    let named = |path: &String| path.rsplit('/').next().unwrap_or_default().to_owned();
    for file in carried.refused.iter().map(named) {
        found.said.push(format!(
            "`{name}`: {file} as it lies here says something else than vault {vault} has under its name: the vault's is kept, and comes back"
        ));
    }
    for path in &carried.behind {
        found.said.push(format!("`{name}`: {}", is_behind(path, vault)));
    }
}

/// Adds the histories that lie beside what is there still: a log that will have them has begun anew with each.
fn with_histories(mut log: LogFacts, still: &Still, kind: &dyn Log) -> LogFacts {
    for entry in std::fs::read_dir(&still.place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_history = |name: &&str| kind.file(name).is_some_and(|file| file.kind == LogKind::Always);
        let Some(name) = name.to_str().filter(is_history) else { continue };
        // Whoever owns the data may have put something else there.
        let Ok(meta) = entry.metadata() else { continue };
        if !meta.is_file() || meta.len() > HISTORY_MAX {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let Some((number, path)) = kind.history(name, &text, SEGMENT_BYTES) else { continue };
        let begun = meta.modified().ok().and_then(|begun| Timestamp::try_from(begun).ok());
        if log.timelines.iter().all(|known| known.number != number) {
            log.timelines.push(Timeline { number, begun, path });
        }
    }
    log.timelines.sort_by_key(|timeline| timeline.number);
    log
}

/// Returns the log as it will be once what is there still has come.
fn as_it_will_be(known: &Known, still: &Still, names: &[VaultName]) -> LogFacts {
    let until = still.until.and_then(time);
    match known.goes_on(still) {
        Some(log) => LogFacts { until: until.max(log.until), ..log.clone() },
        None => LogFacts {
            id: known.log.as_ref().map(|log| log.id.clone()).unwrap_or_default(),
            identity: known.newest.identity.clone(),
            since: known.log.as_ref().and_then(|log| log.since),
            from: still.from.split('@').next().unwrap_or_default().to_owned(),
            until,
            sentinel: None,
            missing: None,
            timelines: known.log.as_ref().map(|log| log.timelines.clone()).unwrap_or_default(),
            earlier: Vec::new(),
            runs: Vec::new(),
            vaults: names.to_vec(),
        },
    }
}

fn time(time: vault::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, i32::try_from(time.nanos).ok()?).ok()
}

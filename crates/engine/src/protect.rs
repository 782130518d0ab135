//! Makes a restore point of one system.

use crate::judge::{Witness, home};
use crate::place::Place;
use crate::signers::Signer;
use crate::sources::watched_source_of;
use crate::strange::{is_strange, point_of};
use crate::survey::{Listings, Surveyed, among, said};
use crate::vaults::{Opened, Secrets};
use crate::{Result, Watch};
use jiff::Timestamp;
use plan::judge::{RULES, Rating, base, judge_new};
use plan::{Facts, LeftOut, Plan, Source, System, SystemName, VaultName};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use vault::backup::{BackupOptions, backup_signed};
use vault::{
    BlobId, FileId, Holder, Lock, LockKind, PointInfo, Progress, Repository, Snapshot, Unread, UnreadInfo,
};

/// What is needed to make a point.
pub struct Job<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The system.
    pub name: &'a SystemName,
    /// Its vaults, opened.
    pub vaults: &'a [Opened],
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// A folder of the state for temporary copies. What killed runs have left in it is removed.
    pub scratch: &'a Path,
    /// This machine and user.
    pub holder: Holder,
    /// Now.
    pub now: Timestamp,
    /// The change journal, in a process that keeps one.
    pub watch: Option<&'a Watch>,
    /// What makes the point doubtful whatever is read: it is noted in the point.
    pub doubts: Vec<String>,
    /// What this machine knows of the points before.
    pub witness: &'a Witness,
    /// What signs the point; without it nobody does.
    pub signer: Option<&'a Signer>,
}

/// A point that was made.
#[derive(Debug)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// When its capture began.
    pub time: Timestamp,
    /// The root of its content.
    pub tree: BlobId,
    /// What is known of it.
    pub info: PointInfo,
    /// The same, as it is judged.
    pub facts: Facts,
    /// Everything that could not be read or trusted.
    pub unread: Vec<Unread>,
    /// Everything that lacks something besides its content: an attribute that could not be read.
    pub details: Vec<Unread>,
    /// What was left out as no part of the system, and was not in the point before.
    pub left_out: Vec<UnreadInfo>,
    /// Whether only what the change journal named was looked at.
    pub by_journal: bool,
    /// For each vault, the snapshot and the bytes written, or why it doesn't have the point.
    pub vaults: BTreeMap<VaultName, Result<(FileId, u64)>>,
    /// How many packs are gone that a vault's index names, where any are: the point does without them.
    pub gone: BTreeMap<VaultName, u64>,
    /// Snapshots that can't be read in the vaults that have the point: nobody knows what they were.
    pub damaged: Vec<(VaultName, String)>,
    /// What came of listing the vaults that have the point, and those that were asked for points before it: one that takes it and can't be listed has it, and
    /// nobody finds it there.
    pub listings: Listings,
    /// The vaults that have the point and whose config can't be read: all else can, but that is nothing to leave as it is.
    pub without_config: Vec<VaultName>,
    /// Points before it, in the vault that was asked for them, that aren't what they say.
    pub strange: Vec<LeftOut>,
    /// Whether this machine has signed it.
    pub signed: bool,
}

impl Made {
    /// Returns whether everything was read and every vault has it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unread.is_empty() && self.vaults.values().all(Result::is_ok)
    }

    /// Returns the vaults that don't have it.
    pub fn missing(&self) -> impl Iterator<Item = (&VaultName, &crate::Error)> {
        self.vaults.iter().filter_map(|(name, result)| Some((name, result.as_ref().err()?)))
    }
}

/// Captures the system into every vault that is open. An error means that there is no point anywhere. Where no vault has one because somebody has removed our lock,
/// it is done once more.
pub fn protect(job: &Job<'_>, progress: &Progress) -> Result<Made> {
    let (made, is_lock_lost) = attempt(job, progress)?;
    if is_lock_lost && made.vaults.values().all(Result::is_err) && !progress.is_stopped() {
        return attempt(job, progress).map(|(made, _)| made);
    }
    Ok(made)
}

/// Captures the system once; returns whether a vault has no point because our lock there was removed.
fn attempt(job: &Job<'_>, progress: &Progress) -> Result<(Made, bool)> {
    let system = job
        .plan
        .systems
        .get(job.name)
        .ok_or_else(|| crate::Error::new(format!("there is no system `{}`", job.name)))?;
    let open: Vec<(&VaultName, Arc<Repository>)> = job
        .vaults
        .iter()
        .filter_map(|opened| Some((&opened.name, Arc::clone(opened.repository.as_ref().ok()?))))
        .collect();
    let (open, locked) = unlocked(open, &job.holder);
    if open.is_empty() {
        let closed = job.vaults.iter().find_map(|opened| opened.repository.as_ref().err());
        let why = locked.first().map(|(_, error)| error).or(closed);
        let message = match why {
            Some(why) => format!("no vault of `{}` can be written: {why}", job.name),
            None => format!("`{}` has no vault", job.name),
        };
        let help = why.and_then(|why| why.help.clone());
        return Err(crate::Error { help, retryable: true, ..crate::Error::new(message) });
    }
    for (name, repository) in &open {
        if job.witness.is_damaged(name) {
            repository.doubt();
        }
    }
    let repositories: Vec<Arc<Repository>> =
        open.iter().map(|(_, repository)| Arc::clone(repository)).collect();
    let (paths, excludes) = what(system);
    let history = history(job, &open);
    let is_log_signed = is_log_signed(job, system, &history);
    let mut options = BackupOptions {
        point: vault::new_point_id()?,
        system: job.name.0.clone(),
        source: system.source.as_ref().map_or("", Source::kind).to_owned(),
        time: job.now,
        paths,
        excludes,
        holder: job.holder.clone(),
        parent: None,
        threads: 0,
        doubts: job.doubts.clone(),
    };
    let scratch = Place::make(job.scratch, job.scratch, &|_| {})?;
    let journal = job.watch.map(|watch| (watch.journal(), job.name));
    let source = watched_source_of(job.plan, system, job.secrets, journal)?;
    let capture = saying(progress, || source.capture(scratch.path(), instant(job.now)))?;
    if options.paths.is_empty() {
        // Only the server knows where all of it lies.
        options.paths = capture.paths().iter().map(|path| path.display().to_string()).collect();
    }
    options.parent = history.parent(&options.paths);
    let parents = job.watch.map_or_else(Vec::new, |watch| {
        let parent = options.parent.as_ref().map(|(_, snapshot)| snapshot);
        watch.parents(job.name, &capture, parent, open.iter().map(|(name, _)| *name))
    });
    let facts = |info: &PointInfo| Facts {
        id: options.point.clone(),
        time: job.now,
        complete: info.unread_count == 0,
        host: job.holder.hostname.clone(),
        paths: options.paths.clone(),
        excludes: options.excludes.clone(),
        ..said(info)
    };
    let judge = |info: &mut PointInfo| {
        let judgement = judge_new(&history.facts, &facts(info), home(job.plan, job.name), job.now);
        (info.judged, info.log_signed) = (RULES, is_log_signed);
        if matches!(judgement.rating, Rating::Suspicious | Rating::Foreign) {
            (info.suspicious, info.tampering) = (judgement.why, judgement.tampering);
        }
    };
    let sign = |snapshot: &mut Snapshot| {
        if let Some(signer) = job.signer {
            signer.sign(snapshot);
        }
    };
    let by = (&judge as &dyn Fn(&mut PointInfo), &sign as &dyn Fn(&mut Snapshot));
    let report = backup_signed(capture.input(), &repositories, &options, &parents, by, progress)?;
    if let Some(watch) = job.watch
        && report.unread.is_empty()
        && report.details.is_empty()
    {
        let written = open.iter().zip(&report.vaults);
        let snapshots = written
            .filter_map(|((name, _), written)| Some(((*name).clone(), written.as_ref().ok()?.snapshot)));
        watch.keep(job.name, &capture, &options.point, snapshots.collect());
    }
    drop(capture);
    let mut vaults: BTreeMap<VaultName, Result<(FileId, u64)>> = BTreeMap::new();
    let gone = open.iter().filter(|(_, repository)| repository.packs_gone() > 0);
    let gone = gone.map(|(name, repository)| ((*name).clone(), repository.packs_gone())).collect();
    let is_lost = |written: &Result<_, vault::Error>| {
        written.as_ref().is_err_and(|error| matches!(error.kind, vault::Kind::LockLost))
    };
    let is_lock_lost = report.vaults.iter().any(is_lost);
    for ((name, _), written) in open.iter().zip(report.vaults) {
        vaults.insert(
            (*name).clone(),
            written.map(|written| (written.snapshot, written.bytes)).map_err(Into::into),
        );
    }
    vaults.extend(locked.into_iter().map(|(name, error)| (name.clone(), Err(error))));
    for opened in job.vaults {
        if let Err(error) = &opened.repository {
            vaults.insert(opened.name.clone(), Err(error.clone()));
        }
    }
    let lacks_config = |(name, repository): &&Named<'_>| {
        repository.lost_config().is_some() && vaults.get(*name).is_some_and(Result::is_ok)
    };
    let without_config = open.iter().filter(lacks_config).map(|(name, _)| (*name).clone()).collect();
    let there: Vec<&Surveyed> = history.points.iter().collect();
    let is_strange = |facts: &&Facts| {
        facts.is_strange()
            && point_of(facts, &there).is_some_and(|point| is_strange(job.witness, facts, point))
    };
    let strange = history.facts.iter().filter(is_strange).map(LeftOut::of).collect();
    let (damaged, listings) = looked(history, &open, &vaults);
    let facts = facts(&report.info);
    let made = Made {
        id: options.point,
        facts,
        time: job.now,
        tree: report.tree,
        left_out: newly_left_out(&report.info, options.parent.as_ref()),
        info: report.info,
        unread: report.unread,
        details: report.details,
        by_journal: report.believed,
        vaults,
        gone,
        damaged,
        listings,
        without_config,
        strange,
        signed: job.signer.is_some(),
    };
    Ok((made, is_lock_lost))
}

/// Does what may have to wait for a server, and says so where it takes long.
fn saying<T>(progress: &Progress, act: impl FnOnce() -> T) -> T {
    /// After so long a wait is told.
    const LONG: Duration = Duration::from_secs(15);
    let (begun, (done, over)) = (Instant::now(), channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut pause = LONG;
            while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                progress.set_phase(&format!("waiting for its server since {} s", begun.elapsed().as_secs()));
                pause = Duration::from_secs(1);
            }
        });
        let result = act();
        drop(done);
        result
    })
}

/// Returns what was left out this time and not the time before: it is told once.
fn newly_left_out(info: &PointInfo, parent: Option<&(FileId, Snapshot)>) -> Vec<UnreadInfo> {
    let before = parent.and_then(|(_, snapshot)| snapshot.releve.as_ref());
    let known = |new: &UnreadInfo| before.is_some_and(|before| before.left_out.contains(new));
    info.left_out.iter().filter(|new| !known(new)).cloned().collect()
}

/// A vault that is open, with its name.
type Named<'a> = (&'a VaultName, Arc<Repository>);

/// Waits until nobody is in the way in these vaults, before anything is made to stand still, and sets aside those that stay locked.
fn unlocked<'a>(
    open: Vec<Named<'a>>,
    holder: &Holder,
) -> (Vec<Named<'a>>, Vec<(&'a VaultName, crate::Error)>) {
    let waited: Vec<Result<(), vault::Error>> = std::thread::scope(|scope| {
        let wait = |repository| Lock::await_free(repository, LockKind::Shared, holder);
        let threads: Vec<_> =
            open.iter().map(|(_, repository)| scope.spawn(move || wait(repository))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let (mut free, mut locked) = (Vec::new(), Vec::new());
    for ((name, repository), waited) in open.into_iter().zip(waited) {
        match waited {
            Err(error) if matches!(error.kind, vault::Kind::Locked(_)) => locked.push((name, error.into())),
            // Whatever else is wrong shows when it is written to.
            _ => free.push((name, repository)),
        }
    }
    (free, locked)
}

/// Returns whether the log of the system is signed from this point on: a signed one was seen, or none was there before the key that signs the point.
fn is_log_signed(job: &Job<'_>, system: &System, history: &History) -> bool {
    let log = job.name.log();
    let is_first = || !history.has_log && !job.witness.has_seen(&log);
    let can_have_one = system.source.as_ref().and_then(Source::wal).is_some();
    job.signer.is_some() && can_have_one && (job.witness.signers().has_begun(&log) || is_first())
}

/// Returns an instant as vaults write it.
pub(crate) fn instant(time: Timestamp) -> vault::Timestamp {
    let nanos = time.as_nanosecond();
    vault::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0),
        nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}

fn what(system: &System) -> (Vec<String>, Vec<String>) {
    match &system.source {
        Some(Source::Files(files)) => (files.paths.clone(), files.exclude.clone()),
        // What else lies beside it is known once it is captured.
        Some(source) if source.recovers() => (Vec::new(), Vec::new()),
        Some(source) => (source.paths(), Vec::new()),
        None => (Vec::new(), Vec::new()),
    }
}

/// The points of a system that a new one is held against.
#[derive(Default)]
struct History {
    points: Vec<Surveyed>,
    /// The same, judged.
    facts: Vec<Facts>,
    /// The vaults that were asked for them.
    asked: Vec<VaultName>,
    /// One of them holds a log of it.
    has_log: bool,
    /// The snapshots that could not be read there.
    damaged: Vec<(VaultName, String)>,
    /// What came of listing them.
    listings: Listings,
}

/// Returns the points of the system in the nearest vault that has any. A vault that can't be listed is no reason not to make a point: what is not known then is what
/// changed.
fn history(job: &Job<'_>, open: &[(&VaultName, Arc<Repository>)]) -> History {
    let mut nearest: Vec<_> = open.iter().collect();
    nearest.sort_by_key(|(_, repository)| !repository.store().is_local());
    let (mut asked, mut damaged, mut listings) = (Vec::new(), Vec::new(), Listings::default());
    let (log, mut has_log) = (SystemName(job.name.log()), false);
    let there = |opened: &(&VaultName, Arc<Repository>)| {
        let survey = among(std::slice::from_ref(opened));
        asked.push(opened.0.clone());
        has_log |= survey.of(&log).next().is_some();
        let points: Vec<Surveyed> = survey.of(job.name).cloned().collect();
        damaged.extend(survey.damaged);
        listings.extend(survey.listings);
        (!points.is_empty()).then_some(points)
    };
    let points = nearest.into_iter().find_map(there).unwrap_or_default();
    let there: Vec<&Surveyed> = points.iter().collect();
    let mut facts = job.witness.facts_of(job.plan, &there, job.name, job.now);
    facts.extend(job.witness.gone(job.name, &facts, job.now));
    plan::judge::judge(&mut facts, home(job.plan, job.name), job.now);
    History { points, facts, asked, has_log, damaged, listings }
}

/// Returns the snapshots that can't be read in the vaults that were written to, and which of them can't be listed. Those that were not asked before are asked now that the point is made: one that
/// is slow or silent keeps nothing waiting.
fn looked(
    history: History,
    open: &[Named<'_>],
    written: &BTreeMap<VaultName, Result<(FileId, u64)>>,
) -> (Vec<(VaultName, String)>, Listings) {
    let is_written = |name: &VaultName| written.get(name).is_some_and(Result::is_ok);
    let is_left = |(name, _): &&Named<'_>| is_written(name) && !history.asked.contains(name);
    let left: Vec<Named<'_>> = open.iter().filter(is_left).cloned().collect();
    let survey = among(&left);
    let (mut damaged, mut listings) = (history.damaged, history.listings);
    damaged.extend(survey.damaged);
    listings.extend(survey.listings);
    (damaged, listings)
}

impl History {
    /// Returns the snapshot of the point that the new one is counted against: what didn't change since is taken over unread.
    fn parent(&self, paths: &[String]) -> Option<(FileId, Snapshot)> {
        let base = base(&self.facts, paths)?;
        // An id can be forged, and then the one that is older counts, which is the one that was judged first.
        let point =
            self.points.iter().find(|point| point.point.id == base.id && point.point.time == base.time)?;
        let (_, file) = point.point.copies.first()?;
        Some((*file, point.point.snapshot.clone()))
    }
}

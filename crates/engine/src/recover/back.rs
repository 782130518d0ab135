//! Puts the data of one system back where they belong: its point, and the log that goes on from it.

use super::beside::{Settled, look_beside};
use super::bounds::{self, withheld, withholds};
use super::furthest::add_furthest;
use super::histories::bring_histories;
use super::overlap::{left_to_others, nothing_left, without};
use super::unmounted::{silent, unmounted};
use super::{Hands, findings};
use crate::log::{against_kept, spooled, stranger};
use crate::place::{Place, scratch};
use crate::survey::Surveyed;
use crate::vaults::Opened;
use crate::{Error, Result, source_of};
use jiff::Timestamp;
use plan::{Plan, Restore, Runbook, StepKind};
use source::{Landing, Patterns, PutBack};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use vault::restore::{IsFirst, Part, RestoreOptions, RestoreReport, extras, restore};
use vault::{Progress, Repository};

/// Puts the data of one system back, with the log as far as the runbook says. The error says whether that had touched anything.
pub(crate) fn put_back(
    entry: &Restore,
    system: &plan::System,
    kind: &StepKind,
    book: &Runbook,
    hands: &Hands<'_>,
    progress: &Arc<Progress>,
) -> Result<Back> {
    let touched = Cell::new(false);
    let back = bring_back(entry, system, kind, book, hands, progress, &touched);
    back.map_err(|error| Error { untouched: !touched.get(), ..error })
}

/// Puts it back, and tells when it begins to change what stands there.
fn bring_back(
    entry: &Restore,
    system: &plan::System,
    kind: &StepKind,
    book: &Runbook,
    hands: &Hands<'_>,
    progress: &Arc<Progress>,
    touched: &Cell<bool>,
) -> Result<Back> {
    let begun = Instant::now();
    let id = &entry.choice.point.id;
    let surveyed = hands.survey.point(id).ok_or_else(|| Error::new(format!("point {id} has vanished")))?;
    let point = &surveyed.point;
    let vaults = repositories(entry, hands);
    let to = book.to.as_ref().map(PathBuf::from);
    let source = source_of(hands.plan, system, hands.secrets)?;
    // Who broke in may have given his files the size and the time of ours.
    let scenario = book.scenario.as_ref().and_then(|name| hands.plan.scenario(name));
    let attacked = scenario.is_some_and(|scenario| scenario.cause == plan::CYBERATTACK);
    progress.expect(entry.choice.point.files, entry.choice.point.bytes);
    let what = match kind {
        StepKind::First => "what comes first of ",
        StepKind::Rest => "the rest of ",
        _ => "",
    };
    hands.observer.event(Some(&entry.system), &format!("restoring {what}point {} of {}", id, point.time));
    hands.observer.progress(&entry.system, progress);
    let part = part(kind, system)?;
    let landing = source.landing(to.as_deref());
    // No place is written by two at once.
    let shared = without(&left_to_others(entry, book, hands.plan)?, hands.plan);
    if let Some(line) = nothing_left(entry, system, &shared) {
        let seconds = begun.elapsed().as_secs_f64();
        return Ok(Back { report: RestoreReport::default(), lacking: vec![line], seconds });
    }
    let options = |target: &Path| -> Result<RestoreOptions> {
        let target = target.to_owned();
        Ok(RestoreOptions {
            withholds: withholds(entry),
            verify: hands.verify || attacked,
            memory: hands.memory,
            part: part.clone(),
            ..bounds::options(entry, system, surveyed, book, shared.clone(), &landing, target)
        })
    };
    let spool = hands.spools.join(&entry.system.0);
    let told = |text: &str| hands.observer.event(Some(&entry.system), text);
    if let Landing::Final(target) = &landing {
        let silent = silent(entry, surveyed, target);
        if let Some(line) = silent.lines.first().filter(|_| silent.is_all) {
            return Err(Error::new(line.clone()));
        }
        silent.lines.iter().for_each(|line| told(line));
    }
    source.ready(to.as_deref())?;
    let bringing = entry.replay.as_ref().zip(source.log());
    if let Some((replay, log)) = bringing {
        log.check(&until(&replay.until))?;
        check_place(entry, replay, log, &vaults, hands)?;
    }
    let mut settled = Settled::default();
    let (report, put, whole_until) = match &landing {
        Landing::Final(target) => {
            touched.set(true);
            let rolled = match bringing {
                Some((replay, log)) => {
                    let kept = set_aside(entry, log, target, to.as_deref(), &spool, &told)?;
                    Some((replay, log, whole_until(kept, entry, replay, log, &vaults, hands)))
                }
                None => None,
            };
            // What stands there may know of histories that nobody else does.
            let bare = source.log().filter(|log| bringing.is_none() && log.numbers_histories());
            if let Some(log) = bare.filter(|_| !matches!(kind, StepKind::Rest)) {
                set_aside(entry, log, target, to.as_deref(), &spool, &told)?;
            }
            let options = options(target)?;
            let is_files = matches!(system.source, Some(plan::Source::Files(_)));
            let beside = is_files.then(|| look_beside(&vaults, point.tree, &options, progress));
            let report = restore(&vaults, point.tree, &options, progress)?;
            settled = match beside {
                Some(Ok(beside)) => beside.settle(&report, Timestamp::now()),
                Some(Err(why)) => Settled { findings: vec![why], ..Settled::default() },
                None => Settled::default(),
            };
            settled.told.iter().for_each(|line| told(line));
            arrived(progress);
            let exact = source.exact(target, to.as_deref())?;
            if !exact.is_empty() {
                if report.damaged_count > 0 || report.skipped_count > 0 {
                    return Err(Error::new(format!(
                        "the point did not come back whole: {}",
                        findings(&report).join("; ")
                    )));
                }
                clean(&vaults, point.tree, &options, &exact, hands.plan)?;
            }
            if let Some(log) = bare {
                bring_histories(entry, log, target, to.as_deref(), &spool, &vaults, hands)?;
            }
            let replay = match rolled {
                Some((replay, log, whole_until)) => {
                    let wants = log.wants(target, to.as_deref())?;
                    let folder = log.landing(target, to.as_deref());
                    // Whose data it is may put a link in its place at any time.
                    let ours = source::OurFolder::make(&folder)?;
                    bring_log(entry, replay, log, wants, &ours.way(), &vaults, hands)?;
                    let own = entry.choice.point.identity.clone().or_else(|| log.identity_at(to.as_deref()));
                    add_spool(&spool, log, &ours.way(), own.as_deref())?;
                    check_owner(log, &folder, own.as_deref())?;
                    let until = until(&replay.until);
                    Some(source::Replay { log: folder, until, whole_until, must_reach: false })
                }
                None => None,
            };
            // What is put back in parts is not all there before the last of them.
            let put = match kind {
                StepKind::First => PutBack::default(),
                _ => source.put_back(target, to.as_deref(), replay.as_ref(), &told)?,
            };
            (report, put, replay.and_then(|replay| replay.whole_until))
        }
        Landing::Staging { near } => {
            let below = near.clone().unwrap_or_else(std::env::temp_dir);
            if entry.only.is_empty() {
                has_room(&below, entry.choice.point.bytes)?;
            }
            let staging = Place::make(hands.folder, &below, &told)?;
            let mut report = restore(&vaults, point.tree, &options(staging.path())?, progress)?;
            arrived(progress);
            // Whose a dump is that is unpacked for its client is nobody's business; a database is put in place as it lies there.
            if !matches!(system.source, Some(plan::Source::Sqlite(_))) {
                report.forget_not_set();
            }
            if report.damaged_count > 0 || report.skipped_count > 0 {
                // A database with a hole is not put over the one that stands there.
                let kept = staging.keep();
                return Err(Error::new(format!(
                    "the point did not come back whole: {}; what there is lies in {}",
                    findings(&report).join("; "),
                    kept.display()
                )));
            }
            let replay = match bringing {
                Some((replay, log)) => {
                    let wants = log.wants(staging.path(), None)?;
                    let folder = log.landing(staging.path(), None);
                    bring_log(entry, replay, log, wants, &folder, &vaults, hands)?;
                    let made = std::fs::create_dir_all(&spool);
                    made.map_err(|error| {
                        Error::new(format!("make the folder {}: {error}", spool.display()))
                    })?;
                    hands
                        .observer
                        .event(Some(&entry.system), "receiving what the server has still of its log");
                    let kept = log.set_aside(staging.path(), None, &spool)?;
                    let whole_until = whole_until(kept, entry, replay, log, &vaults, hands);
                    add_spool(&spool, log, &folder, entry.choice.point.identity.as_deref())?;
                    let until = until(&replay.until);
                    // Only who has said yes to an earlier state gets one.
                    let must_reach = !replay.or_earlier;
                    Some(source::Replay { log: folder, until, whole_until, must_reach })
                }
                None => None,
            };
            touched.set(true);
            let put = source.put_back(staging.path(), to.as_deref(), replay.as_ref(), &told);
            let put = put.map_err(|error| {
                touched.set(!is_left_alone(&error.kind));
                more_may_be_away(error, hands)
            })?;
            (report, put, replay.and_then(|replay| replay.whole_until))
        }
    };
    let short = entry.replay.as_ref().and_then(|replay| short(replay, put.reach, whole_until, hands));
    for (vault, fault) in &report.vault_faults {
        hands.observer.event(Some(&entry.system), &format!("something is wrong with {vault}: {fault}"));
    }
    let is_anothers = |path: &&PathBuf| {
        let inside = to.as_deref().map_or(path.as_path(), |to| path.strip_prefix(to).unwrap_or(path));
        shared.iter().any(|shared| Path::new("/").join(inside) == *shared)
    };
    let lacking = put.missing.iter().filter(|path| !is_anothers(path)).map(|path| {
        let why = source::in_the_way(path, to.as_deref());
        let why = why.unwrap_or_else(|| "the point does not hold it".to_owned());
        format!("{}: {why}", path.display())
    });
    // Told once, where the data come back in parts.
    let not_captured = match kind {
        StepKind::First => Vec::new(),
        _ => surveyed.not_captured(&entry.only),
    };
    // What has come back lies where nobody sees it once they are mounted.
    let unmounted = match (kind, &to) {
        (StepKind::First, _) | (_, Some(_)) => Vec::new(),
        _ => unmounted(entry, surveyed),
    };
    let not_captured = not_captured.into_iter().chain(unmounted);
    let not_captured = not_captured.chain(withheld(entry, kind, book.to.as_deref()));
    // What breaks off in the vaults may be all that there is: only the source has looked into it.
    let lacks = entry.lacks.clone().filter(|_| !matches!(kind, StepKind::First) && !put.has_all_log);
    let lacking = not_captured.chain(lacking).chain(put.findings).chain(settled.findings);
    let lacking = lacking.chain(short).chain(lacks).collect();
    Ok(Back { report, lacking, seconds: begun.elapsed().as_secs_f64() })
}

/// Makes sure that what is unpacked beside has room: a folder for temporary files is often small, and in memory.
pub(super) fn has_room(below: &Path, bytes: u64) -> Result<()> {
    match crate::room::room_at(below) {
        Some(room) if room.free < bytes => Err(Error::new(format!(
            "{} are unpacked in {} first, and {} are free there: make room, or type TMPDIR=FOLDER before the command, with a folder that has it",
            plan::Size(bytes),
            below.display(),
            plan::Size(room.free)
        ))),
        _ => Ok(()),
    }
}

/// Returns the vaults that a system is read from: those that hold its point come first; another may still hold most of its blobs.
pub(super) fn repositories(entry: &Restore, hands: &Hands<'_>) -> Vec<Arc<Repository>> {
    let mut opened: Vec<&Opened> = hands.vaults.iter().collect();
    opened.sort_by_key(|opened| {
        entry.vaults.iter().position(|name| name == &opened.name).unwrap_or(usize::MAX)
    });
    opened.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect()
}

/// How the data of a system came back.
pub(crate) struct Back {
    pub(crate) report: RestoreReport,
    /// What is not there that was asked for.
    pub(crate) lacking: Vec<String>,
    pub(crate) seconds: f64,
}

/// What has come is all that comes, whatever was expected: from here on the data is put in its place.
fn arrived(progress: &Progress) {
    progress.expect(progress.files.load(Relaxed), progress.bytes.load(Relaxed));
}

/// Makes sure that what is asked for is one place in the log, before anything is touched.
pub(super) fn check_place(
    entry: &Restore,
    replay: &plan::Replay,
    log: &dyn source::Log,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Result<()> {
    if matches!(replay.until, plan::Until::Newest | plan::Until::Time(_)) {
        return Ok(());
    }
    let told = |text: &str| hands.observer.event(Some(&entry.system), text);
    let folder = Place::make(hands.folder, &scratch(), &told)?;
    let is_history = |name: &str| log.file(name).is_some_and(|file| file.kind == source::LogKind::Always);
    let mut files = names_of_log(entry, replay, vaults, hands);
    let names: Vec<String> =
        files.iter().filter(|(name, _)| is_history(name)).map(|(name, _)| name.clone()).collect();
    if !names.is_empty() {
        let wants: source::Wants = Box::new(move |name| names.iter().any(|known| known == name));
        bring_log(entry, replay, log, wants, folder.path(), vaults, hands)?;
    }
    let spool = hands.spools.join(&entry.system.0);
    for path in spooled(&spool, log, entry.choice.point.identity.as_deref()) {
        let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        files.extend(name.map(|name| (name, bytes)));
    }
    Ok(log.check_place(&until(&replay.until), &files, folder.path())?)
}

/// Keeps what stands there of the log, if the system that stands there is the one that comes back: another's has files of the same names.
fn set_aside(
    entry: &Restore,
    log: &dyn source::Log,
    target: &Path,
    to: Option<&Path>,
    spool: &Path,
    told: &dyn Fn(&str),
) -> Result<source::Kept> {
    let Some(own) = entry.choice.point.identity.as_deref() else {
        return Ok(log.set_aside(target, to, spool)?);
    };
    // What an earlier recovery has left there may be another's as well.
    let folder = log.landing(target, to);
    put_away(log, &folder, own, told)?;
    if log.identity_at(to).is_some_and(|there| there != own) {
        told("the system that stands there is another one: nothing of its log is taken");
        return Ok(source::Kept::Unknown);
    }
    let kept = log.set_aside(target, to, spool)?;
    // A recovery that was killed had put back only a part of what says whose it is.
    Ok(match put_away(log, &folder, own, told)? {
        true => source::Kept::Unknown,
        false => kept,
    })
}

/// Puts a folder away in which something of another system's log lies, and returns whether there was any.
fn put_away(log: &dyn source::Log, folder: &Path, own: &str, told: &dyn Fn(&str)) -> Result<bool> {
    let Some((_, of)) = stranger(log, folder, own) else { return Ok(false) };
    let named = |nth: u32| {
        let mut path = folder.to_owned().into_os_string();
        path.push(format!("-{of}-{nth}"));
        PathBuf::from(path)
    };
    let away = (1..1000).map(named).find(|path| !path.exists());
    let away = away.ok_or_else(|| {
        Error::new(format!("log of another system lies in {}: move it away", folder.display()))
    })?;
    std::fs::rename(folder, &away)
        .map_err(|error| Error::new(format!("put {} away: {error}", folder.display())))?;
    told(&format!("log of another system lay in {}: it is in {} now", folder.display(), away.display()));
    Ok(true)
}

/// Makes sure that no file of a log was written by another system than comes back.
fn check_owner(log: &dyn source::Log, folder: &Path, own: Option<&str>) -> Result<()> {
    match own.and_then(|own| Some((own, stranger(log, folder, own)?))) {
        Some((own, (path, of))) => Err(Error::new(format!(
            "{} is of the log of another system ({of}) than the point is of ({own})",
            path.display()
        ))
        .help("restore the point by itself: --point ID")),
        None => Ok(()),
    }
}

/// Returns the point that holds the log which was chosen. A recovery that goes on may find that another has taken its place meanwhile, which holds it whole.
fn log_point<'a>(entry: &Restore, replay: &plan::Replay, hands: &Hands<'a>) -> Option<&'a Surveyed> {
    let survey = hands.survey;
    let again = || survey.point(&survey.log_of(&entry.system, &entry.choice.point)?.id);
    survey.point(&replay.log).or_else(again)
}

/// Returns the names and lengths of the files of a log in the vaults.
fn names_of_log(
    entry: &Restore,
    replay: &plan::Replay,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Vec<(String, u64)> {
    let Some(point) = log_point(entry, replay, hands) else { return Vec::new() };
    let found = vaults.iter().find_map(|vault| vault::backup::files_of(vault, &point.point.tree).ok());
    let name = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
    found.into_iter().flatten().filter_map(|(path, node)| Some((name(&path)?, node.size()))).collect()
}

/// Returns until when all that was committed is known to be in a log, with what there was of it where it comes back.
fn whole_until(
    kept: source::Kept,
    entry: &Restore,
    replay: &plan::Replay,
    log: &dyn source::Log,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Option<vault::Timestamp> {
    // Where it breaks off behind the point, what came after that counts for nothing, wherever it is.
    let carried = log_point(entry, replay, hands).and_then(Surveyed::log);
    let way = carried.as_ref().map(|log| {
        let point = &entry.choice.point;
        let history = match &replay.until {
            plan::Until::Time(time) => log.history_at(point, *time),
            plan::Until::On { timeline, .. } => Some(*timeline),
            _ => None,
        };
        log.way(point, history)
    });
    if let Some(plan::Reaches::Broken { until, .. }) = way {
        return until.map(crate::protect::instant);
    }
    let carried = carried.and_then(|log| log.until).map(crate::protect::instant);
    let here = match kept {
        source::Kept::Unknown => None,
        source::Kept::Until(time) => Some(time),
        // What its server has written last is here, if that goes on from what the vaults have.
        source::Kept::Whole(position) => {
            let position_of = |name: &str| match log.file(name)?.kind {
                source::LogKind::Whole(position) | source::LogKind::Partial(position) => Some(position),
                source::LogKind::Always => None,
            };
            let carried = names_of_log(entry, replay, vaults, hands);
            let newest = carried.iter().filter_map(|(name, _)| position_of(name)).max();
            newest.is_none_or(|newest| newest <= position).then(|| crate::protect::instant(Timestamp::now()))
        }
    };
    carried.max(here)
}

/// Returns whether what is fed to a server, or put in the place of a file, was refused before anything was changed.
const fn is_left_alone(kind: &source::Kind) -> bool {
    use source::Kind;
    matches!(kind, Kind::Damaged(_) | Kind::NotInPoint | Kind::InUse(_))
}

/// Says what may help where a log that was asked for isn't there: it may be in a vault that can't be read.
fn more_may_be_away(error: source::Error, hands: &Hands<'_>) -> Error {
    let is_of_log = error.place == "roll forward";
    let error = Error::from(error);
    let away: Vec<_> = hands.survey.unreachable.iter().map(|(vault, _)| format!("`{vault}`")).collect();
    match is_of_log && !away.is_empty() {
        true => error.help(format!("{} can't be read and may have more of the log", away.join(", "))),
        false => error,
    }
}

/// Says that a log went less far than was asked for, as far as anybody can tell.
fn short(
    replay: &plan::Replay,
    reach: Option<source::Reach>,
    whole_until: Option<vault::Timestamp>,
    hands: &Hands<'_>,
) -> Option<String> {
    let (plan::Until::Time(time), Some(reach)) = (&replay.until, reach) else { return None };
    // Of a history that was left nothing is said by how far the log of the newest one goes.
    let whole_until = whole_until.filter(|_| reach.left.is_none());
    let is_all = reach.is_passed || reach.left == Some(true);
    if is_all || whole_until.is_some_and(|known| known >= crate::protect::instant(*time)) {
        return None;
    }
    let shown = |time: vault::Timestamp| Timestamp::from_second(time.seconds).unwrap_or_default();
    let unknown = match reach.left {
        Some(_) => {
            "what there is of the history that a recovery has left ends without its server's word that it is all"
        }
        None => "nobody knows how far its log is whole",
    };
    let known = whole_until.map_or_else(
        || unknown.to_owned(),
        |known| format!("its log is known to be whole up to {} only", shown(known)),
    );
    let last = reach
        .last
        .map_or_else(String::new, |last| format!(", the last transaction in it is of {}", shown(last)));
    let away: Vec<_> = hands.survey.unreachable.iter().map(|(vault, _)| format!("`{vault}`")).collect();
    let away = match away.is_empty() {
        true => String::new(),
        false => format!("; {} can't be read and may have more", away.join(", ")),
    };
    Some(format!("{time} was asked for, and {known}{last}: what was committed in between is missing{away}"))
}

/// Restores what a system needs of its log into a folder. A hole in it would end the recovery there, and nobody would know.
fn bring_log(
    entry: &Restore,
    replay: &plan::Replay,
    log: &dyn source::Log,
    wants: source::Wants,
    folder: &Path,
    vaults: &[Arc<Repository>],
    hands: &Hands<'_>,
) -> Result<()> {
    let vanished = || Error::new(format!("log {} has vanished", replay.log));
    let surveyed = log_point(entry, replay, hands).ok_or_else(vanished)?;
    hands.observer.event(Some(&entry.system), &format!("restoring its log, to {}", replay.until));
    let is_wanted: IsFirst =
        Arc::new(move |path| path.file_name().and_then(|name| name.to_str()).is_some_and(&wants));
    let options =
        RestoreOptions { part: Part::First(is_wanted), memory: hands.memory, ..RestoreOptions::new(folder) };
    let report = restore(vaults, surveyed.point.tree, &options, &Progress::default())?;
    if report.damaged_count > 0 || report.skipped_count > 0 {
        let why = findings(&report).join("; ");
        return Err(Error::new(format!("the log did not come back whole: {why}"))
            .help("restore the point by itself: --point ID"));
    }
    add_furthest(entry, surveyed, log, folder, vaults, hands)
}

/// Adds what waits on this machine for the vaults, where it is newer than what came from them: the last seconds before a crash that the
/// disk has survived.
pub(super) fn add_spool(spool: &Path, log: &dyn source::Log, folder: &Path, own: Option<&str>) -> Result<()> {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    for from in spooled(spool, log, own) {
        let file = from.file_name().and_then(|name| name.to_str()).and_then(|name| log.file(name));
        let Some(file) = file else { continue };
        let to = folder.join(&file.path);
        if modified(&from) <= modified(&to) || !may_replace(log, &from, &to) {
            continue;
        }
        let made =
            to.parent().map_or(Ok(()), process::child::make_folders).and_then(|()| std::fs::copy(&from, &to));
        made.map_err(|error| Error::new(format!("bring {} to {}: {error}", from.display(), to.display())))?;
    }
    Ok(())
}

/// Returns whether what waits here may take the place of what a vault had: it has all of that. What can't be read doesn't.
pub(super) fn may_replace(log: &dyn source::Log, from: &Path, to: &Path) -> bool {
    let Some(ends) = log.ends().filter(|_| to.exists()) else { return true };
    let goes_on = || -> std::io::Result<bool> {
        let (mut kept, mut found) = (std::fs::File::open(to)?, std::fs::File::open(from)?);
        Ok(against_kept(ends, from, &mut kept, &mut found)? == source::Against::GoesOn)
    };
    goes_on().unwrap_or(false)
}

pub(super) fn until(until: &plan::Until) -> source::Until {
    use source::Until;
    match until {
        plan::Until::Newest => Until::Newest,
        plan::Until::Time(time) => Until::Time(crate::protect::instant(*time)),
        plan::Until::Position(position) => Until::Position(position.clone()),
        plan::Until::On { place, timeline } => {
            Until::On { place: Box::new(self::until(place)), timeline: *timeline }
        }
        plan::Until::Name(name) => Until::Name(name.clone()),
        plan::Until::Transaction(number) => Until::Transaction(number.clone()),
    }
}

/// Removes from these folders what is not in the point: it would be taken for a part of the system. Nothing that holds a vault goes.
fn clean(
    vaults: &[Arc<Repository>],
    tree: vault::BlobId,
    options: &RestoreOptions,
    exact: &[PathBuf],
    plan: &Plan,
) -> Result<()> {
    let mut extras = extras(vaults, tree, options, &Progress::default())?;
    if let Some(unknown) = extras.unknown.first() {
        let path = options.target.join(&unknown.path);
        return Err(Error::new(format!("{}: {}", path.display(), unknown.why)));
    }
    let precious = crate::vaults::local_folders(plan);
    extras.paths.retain(|path| {
        let there = options.target.join(path);
        exact.iter().any(|folder| there.starts_with(folder))
            && !precious.iter().any(|vault| vault.starts_with(&there) || there.starts_with(vault))
    });
    let (_, kept) = extras.remove();
    match kept.first() {
        Some(kept) => {
            let path = options.target.join(&kept.path);
            Err(Error::new(format!("{}: not removed: {}", path.display(), kept.why)))
        }
        None => Ok(()),
    }
}

/// Returns which part of a point a step restores.
fn part(kind: &StepKind, system: &plan::System) -> Result<Part> {
    if !matches!(kind, StepKind::First | StepKind::Rest) {
        return Ok(Part::All);
    }
    let patterns = Patterns::new(&system.recover.first)?;
    let is_first: IsFirst = Arc::new(move |path| source::comes_first(path, &|path| patterns.matches(path)));
    Ok(if matches!(kind, StepKind::First) { Part::First(is_first) } else { Part::Rest(is_first) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_to_be_unpacked_is_refused_with_the_folder_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        has_room(folder.path(), 0).unwrap();
        let said = has_room(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(said.contains(&folder.path().display().to_string()) && said.contains("TMPDIR="), "{said}");
    }
}

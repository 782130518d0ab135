//! `releve restore`.

mod beside;
mod newer;
mod sql;
mod together;

use super::backup::stop_on_signal;
use super::claim::{RESTORE, claim, refusal};
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Failure, Outcome};
use engine::survey::{shown, survey};
use engine::vanished::Vanished;
use engine::vaults::Opened;
use engine::{Error, recover};
use jiff::Timestamp;
use plain::Name;
use plan::{SystemName, Wanted};
use serde_json::json;
use source::Patterns;
use state::{RunLease, State};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use vault::restore::{
    Extras, IsFirst, Names, Part, RestoreOptions, RestoreReport, Trouble, replaced, restore,
};
use vault::{Progress, Repository};

/// What `restore` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve restore shop --to /tmp/look\n  releve restore shop --to /tmp/look --before 2026-11-23T12:00+01:00\n  \
    releve restore shop --to /tmp/look --path /srv/shop/config.toml --point 3f2a91c0\n  \
    releve restore shop --to / --first '/srv/shop/app' --first '*.conf'   the application before its archives\n  \
    releve restore shop --to / --verify --delete --dry-run               what differs from the point, removed as well\n  \
    releve restore orders --table invoices --as-sql --before 2026-11-23T12:00+01:00 | psql -1 -v ON_ERROR_STOP=1 shop\n\n\
    /srv/shop/a comes back as DIR/srv/shop/a. Files that are there already, equal in size and time, are left alone; what differs is\n\
    replaced at once, never half. Interrupted, type the same again. A file of which parts are in no vault comes back as NAME.releve-damaged.\n\
    Exit status 1: something could not be given back; it is named. 2: nothing could."
)]
pub(super) struct Options {
    /// The system
    system: String,
    /// The folder to restore into; made if it isn't there
    #[arg(long, value_name = "DIR", required_unless_present = "as_sql")]
    to: Option<PathBuf>,
    /// The point: its id, the beginning of it, `latest`, `last verified` or `last clean`
    #[arg(long, value_name = "ID", default_value = "latest", conflicts_with = "before")]
    point: String,
    /// The newest complete point from before this instant: 14:05, 2026-11-23 14:05, or with a zone 2026-11-23T14:05+01:00
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Only this, and what is below it; may be repeated. With an SQLite database come its -wal and -journal of the point
    #[arg(long, value_name = "SUB")]
    path: Vec<PathBuf>,
    /// This comes first, and is said to be complete before the rest begins: a pattern as in the plan's `exclude`; may be repeated
    #[arg(long, value_name = "GLOB")]
    first: Vec<String>,
    /// Read from this vault first
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Remove what is in DIR and not in the point, inside of what was captured; it is shown first. What the plan excludes stays
    #[arg(long)]
    delete: bool,
    /// Packs that lie in an archive (Glacier and its like) are asked for, to be readable for so many days; while some are on their way nothing is restored: type the same again later
    #[arg(long, value_name = "DAYS", num_args = 0..=1, default_missing_value = "7", value_parser = clap::value_parser!(u32).range(1..=365))]
    thaw: Option<u32>,
    /// Show what would be done, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask before something is removed
    #[arg(long)]
    yes: bool,
    /// Set owners by their names on this machine, where it knows them, and not by number
    #[arg(long)]
    owner_names: bool,
    /// Restore files without setuid and setgid; they are named
    #[arg(long)]
    no_setuid: bool,
    /// Make no devices; they are named
    #[arg(long)]
    no_devices: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    sql: sql::Sql,
}

/// What `restore` and `recover` both take.
#[derive(Debug, clap::Args)]
pub(super) struct How {
    /// Compare the content of files that look unchanged, instead of trusting their size and time
    #[arg(long)]
    pub(super) verify: bool,
    /// Memory that a restore may take, the vaults' indexes not counted
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = bytes)]
    pub(super) memory: u64,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let Some(system) = session.systems(std::slice::from_ref(&options.system))?.into_iter().next() else {
        return Ok(Exit::Usage);
    };
    if options.sql.is_wanted() {
        return sql::run(session, &system, options);
    }
    let Some(to) = &options.to else { return Ok(Exit::Usage) };
    let wanted = wanted(&options.point, options.before.as_deref())?;
    let first = Patterns::new(&options.first).map_err(usage)?;
    let state = session.state_if_any();
    let _right = in_place(session, state.as_ref(), &system, to, options)?;
    crate::walls::around(session, &[to.as_path()]);
    let seen = session.known(state.as_ref());
    let vaults = open(session, options, state.as_ref())?;
    let survey = survey(&vaults);
    let vanished = session.vanished(state.as_ref(), &seen, &vaults, &survey);
    for (vault, why) in survey.troubles() {
        eprintln!("warning: vault {vault}: {why}");
    }
    let (id, point, reasons) =
        find(session, &survey, &system, &wanted).map_err(|error| none_left(error, &vanished, &system))?;
    warn_of_newer(&vanished, &system, &wanted, point.point.time);
    // A vault that lacks the point may still hold most of its blobs.
    let repositories: Vec<Arc<Repository>> =
        vaults.iter().filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect();
    let screen = Screen::new(session.json, true);
    let begun = Instant::now();
    screen.line(&format!(
        "{} point {id} of {} into {}: {}",
        if options.dry_run { "would restore" } else { "restoring" },
        show::time(point.point.time),
        to.display(),
        reasons.join("; ")
    ));
    let silent = silent_places(to, point)?;
    for place in &silent {
        let place = to.join(place);
        screen.line(&format!("warning: {}: nothing is looked at or put back there", source::silence(&place)));
    }
    let mut restoring = RestoreOptions {
        only: options.path.clone(),
        roots: point.point.snapshot.paths.iter().map(PathBuf::from).collect(),
        silent,
        verify: options.how.verify,
        names: options.owner_names.then(|| Arc::new(Accounts) as Arc<dyn Names>),
        no_setuid: options.no_setuid,
        no_devices: options.no_devices,
        memory: options.how.memory,
        ..RestoreOptions::new(to)
    };
    let whole = together::look(&repositories, point.point.tree, &restoring);
    restoring.only.extend(whole.along.iter().cloned());
    whole.told.iter().for_each(|line| screen.line(line));
    whole.findings.iter().for_each(|line| screen.line(&format!("warning: {line}")));
    // What isn't whole in the point comes back from nowhere: said beforehand, and afterwards.
    let only: Vec<String> = restoring.only.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let lacks = point.not_captured(&only);
    let progress = Arc::new(Progress::default());
    if let Some(info) = &point.point.info {
        progress.expect(info.files, info.bytes);
    }
    if options.delete && !lacks.is_empty() {
        screen.line("warning: nothing is removed: what the point lacks may be here alone");
    }
    let extras = match options.delete && lacks.is_empty() {
        true => {
            Some(extras(session, &system, (&repositories, point.point.tree), &restoring, &screen, &progress)?)
        }
        false => None,
    };
    let made = (point.point.tree, point.point.time);
    let over = newer::warn(&repositories, made, &restoring, (&screen, options.dry_run), &progress);
    let look = |restoring: &RestoreOptions| {
        recover::look_beside(&repositories, point.point.tree, restoring, &progress)
    };
    let seen_before = look(&restoring);
    let newer = beside::foreseen(&seen_before, extras.as_ref());
    newer.iter().for_each(|line| screen.line(&format!("warning: {line}")));
    if let Some(days) = options.thaw.filter(|_| !options.dry_run)
        && thaw(&repositories, point.point.tree, days, &screen)?
    {
        return Ok(Exit::Finding);
    }
    if options.dry_run {
        let goes = replaced(&repositories, point.point.tree, &restoring, &progress)?;
        let said = (lacks.as_slice(), newer.as_slice(), &whole, over);
        return Ok(dry_run(session, (&id, point, &reasons), said, extras.as_ref(), &goes));
    }
    let asked = extras.as_ref().filter(|extras| !extras.paths.is_empty() && !options.yes);
    if let Some(extras) = asked {
        if !std::io::stdin().is_terminal() {
            show::error(
                &Error::new("nobody is there to say yes to what would be removed")
                    .help("--yes for scripts; --dry-run only shows"),
            );
            return Ok(Exit::Usage);
        }
        if !show::confirm(&format!("Restore, and then remove these {} entries?", extras.paths.len())) {
            return Ok(Exit::Failed);
        }
    }
    screen.bar(&system.0, &progress);
    stop_on_signal(&progress);
    let mut report = RestoreReport::default();
    let (mut first_seconds, mut settled) = (None, recover::Settled::default());
    if !options.first.is_empty() {
        let is_first: IsFirst = Arc::new(move |path| source::comes_first(path, &|path| first.matches(path)));
        restoring.part = Part::First(Arc::clone(&is_first));
        let beside = look(&restoring);
        report = restore(&repositories, point.point.tree, &restoring, &progress)?;
        beside::settle(&mut settled, beside, &report);
        first_seconds = Some(begun.elapsed().as_secs_f64());
        screen.line(&first_part(&report, begun.elapsed().as_secs_f64()));
        restoring.part = Part::Rest(is_first);
    }
    // Who was asked may have taken his time, and what came first stands there now.
    let beside = match asked.is_some() || !options.first.is_empty() {
        true => look(&restoring),
        false => seen_before,
    };
    report.merge(restore(&repositories, point.point.tree, &restoring, &progress)?);
    if !options.path.is_empty() && !report.found && report.is_whole() {
        return Err(nothing_has_it(&lacks).into());
    }
    // What is left over may be the only copy of what did not come back.
    let (deleted, kept) = match &extras {
        Some(extras) if report.is_whole() => extras.remove(),
        _ => (0, Vec::new()),
    };
    beside::settle(&mut settled, beside, &report);
    settled.findings.extend(whole.findings);
    let is_whole = report.is_whole() && lacks.is_empty() && settled.findings.is_empty();
    let seconds = begun.elapsed().as_secs_f64();
    let mut findings = lacks;
    findings.extend(recover::findings(&report));
    findings.append(&mut settled.findings);
    if session.json {
        let trouble = |list: &[Trouble]| -> Vec<_> {
            list.iter()
                .map(|trouble| json!({ "path": trouble.path.to_string_lossy(), "why": trouble.why }))
                .collect()
        };
        let damaged: Vec<_> = report
            .damaged
            .iter()
            .map(|damaged| {
                let missing: Vec<_> = damaged.missing.iter().map(|range| [range.start, range.end]).collect();
                json!({ "path": damaged.path.to_string_lossy(), "missing": missing })
            })
            .collect();
        show::print_json(&json!({
            "point": id, "reasons": reasons, "system": system, "restored": report.restored, "unchanged": report.unchanged, "bytes": report.bytes,
            "damaged": report.damaged_count, "skipped": report.skipped_count, "not_set": report.not_set_count,
            "damaged_files": damaged, "skipped_entries": trouble(&report.skipped), "not_set_entries": trouble(&report.not_set),
            "findings": findings, "vault_faults": report.vault_faults, "whole": is_whole,
            "compared_after_crash": report.compared_after_crash, "seconds": seconds, "first_seconds": first_seconds,
            "deleted": deleted, "along": whole.told, "overwrote_newer": over, "set_aside": settled.told, "not_deleted": trouble(&kept),
            "not_looked_at": extras.as_ref().map(|extras| trouble(&extras.unknown)).unwrap_or_default(),
        }));
    } else {
        screen.line(&format!(
            "{} restored ({}), {} there already, {seconds:.1} s",
            report.restored,
            size(report.bytes),
            report.unchanged
        ));
        if report.compared_after_crash {
            screen.line("an earlier restore into this folder was cut off by a crash of the machine: contents were compared");
        }
        settled.told.iter().chain(&findings).for_each(|line| screen.line(&format!("  {line}")));
        for (vault, fault) in &report.vault_faults {
            screen.line(&format!("warning: something is wrong with {vault}: {fault}"));
        }
        if extras.is_some() {
            let not_whole = if report.is_whole() { "" } else { ", since not everything came back" };
            screen.line(&format!("{deleted} removed that are not in the point{not_whole}"));
            kept.iter().for_each(|kept| {
                screen.line(&format!("  {}: not removed: {}", Name::path(&to.join(&kept.path)), kept.why));
            });
        }
    }
    Ok(if report.is_nothing() {
        Exit::Failed
    } else if is_whole && kept.is_empty() && extras.as_ref().is_none_or(|extras| extras.unknown.is_empty()) {
        Exit::Done
    } else {
        Exit::Finding
    })
}

/// Says that nothing of what was asked for is in the point, and whether it was to be.
fn nothing_has_it(lacks: &[String]) -> Error {
    let nothing = "nothing in the point has this path";
    match lacks {
        [] => Error::new(nothing).help("paths are as they were captured: --path /srv/shop/a"),
        lacks => Error::new(format!("{nothing}; {}", lacks.join("; ")))
            .help("`releve points` lists other points: --point ID"),
    }
}

/// Returns what is mounted where a point comes back and doesn't answer, below the target; that it is the target's own is an error.
fn silent_places(to: &Path, point: &engine::survey::Surveyed) -> Result<Vec<PathBuf>, Error> {
    let target = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    if let Some(place) = source::silent_on_the_way(&target) {
        return Err(Error::new(source::silence(&place)).help(format!(
            "mend it or take it away first (umount -l {}), or name another folder",
            place.display()
        )));
    }
    Ok(source::silent_in(&target, &point.point.snapshot.paths))
}

/// Takes the right to write over a system where it lives; beside it nothing is at stake.
fn in_place<'a>(
    session: &Session,
    state: Option<&'a State>,
    system: &SystemName,
    to: &Path,
    options: &Options,
) -> Result<Vec<RunLease<'a>>, Error> {
    if source::silent_on_the_way(&std::path::absolute(to).unwrap_or_else(|_| to.to_owned())).is_some() {
        return Ok(Vec::new());
    }
    let is_in_place = std::fs::canonicalize(to).is_ok_and(|to| to == Path::new("/"));
    let Some(state) = state.filter(|_| is_in_place && !options.dry_run) else { return Ok(Vec::new()) };
    claim(session, state, std::slice::from_ref(&system.0), RESTORE)?
        .map_err(|(system, held)| refusal(&system, &held, RESTORE))
}

/// Opens the vaults, in the order in which they are read.
fn open(session: &Session, options: &Options, state: Option<&State>) -> Result<Vec<Opened>, Error> {
    let mut vaults = session.ask_all(state, state);
    vaults.iter().for_each(Opened::work);
    if let Some(first) = &options.vault {
        if !vaults.iter().any(|opened| &opened.name.0 == first) {
            return Err(Error::new(format!("there is no vault `{first}`")));
        }
        vaults.sort_by_key(|opened| &opened.name.0 != first);
    }
    Ok(vaults)
}

/// Says that what was needed first is there.
pub(super) fn first_part(report: &RestoreReport, seconds: f64) -> String {
    match report.restored + report.unchanged {
        0 if report.is_whole() => "nothing in the point is to come first".into(),
        count if report.is_whole() => {
            format!("what comes first is complete: {count} entries after {seconds:.1} s")
        }
        count => format!("what comes first is there with gaps: {count} entries after {seconds:.1} s"),
    }
}

/// Finds what is too much in the target, and shows it. What a plan excludes is nobody's leftover, nor are the vaults and the keys.
fn extras(
    session: &Session,
    system: &SystemName,
    (repositories, tree): (&[Arc<Repository>], vault::BlobId),
    restoring: &RestoreOptions,
    screen: &Screen,
    progress: &Progress,
) -> Result<Extras, Failure> {
    let mut extras = vault::restore::extras(repositories, tree, restoring, progress)?;
    let excluded = match session.plan.systems.get(system).and_then(|system| system.source.as_ref()) {
        Some(plan::Source::Files(files)) => Patterns::new(&files.exclude)?,
        _ => Patterns::default(),
    };
    let root = std::fs::canonicalize(&restoring.target).unwrap_or_else(|_| restoring.target.clone());
    let precious = session.precious();
    extras.paths.retain(|path| {
        let there = root.join(path);
        let holds =
            precious.iter().find(|precious| precious.starts_with(&there) || there.starts_with(precious));
        if let Some(precious) = holds {
            screen.line(&format!("stays, for {} is there: {}", precious.display(), Name::path(&there)));
        }
        let stays = excluded_below(&excluded, &there, &Path::new("/").join(path));
        if let Some(excluded) = &stays {
            let (excluded, there) = (Name::path(excluded), Name::path(&there));
            screen.line(&format!("stays, the plan excludes {excluded}: {there}"));
        }
        holds.is_none() && stays.is_none()
    });
    if !session.json {
        for path in &extras.paths {
            screen.line(&format!("not in the point: {}", Name::path(&root.join(path))));
        }
        for trouble in &extras.unknown {
            screen.line(&format!("warning: {}: {}", Name::path(&root.join(&trouble.path)), trouble.why));
        }
    }
    Ok(extras)
}

/// Returns what the plan excludes at or below a path: `there` on this machine, `path` as it would have been captured.
fn excluded_below(excluded: &Patterns, there: &Path, path: &Path) -> Option<PathBuf> {
    if excluded.matches(path) {
        return Some(path.to_owned());
    }
    if !there.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return None;
    }
    let names = std::fs::read_dir(there).ok()?.flatten().map(|entry| entry.file_name());
    names.into_iter().find_map(|name| excluded_below(excluded, &there.join(&name), &path.join(&name)))
}

fn dry_run(
    session: &Session,
    (id, point, reasons): (&str, &engine::survey::Surveyed, &[String]),
    (lacks, newer, whole, over): (&[String], &[String], &together::Whole, u64),
    extras: Option<&Extras>,
    goes: &[Trouble],
) -> Exit {
    let info = point.point.info.clone().unwrap_or_default();
    let remove: Vec<_> =
        extras.iter().flat_map(|extras| &extras.paths).map(|path| path.to_string_lossy()).collect();
    if session.json {
        show::print_json(
            &json!({ "point": id, "reasons": reasons, "files": info.regular(), "bytes": info.bytes,
            "complete": point.point.complete, "lacks": lacks, "along": whole.told, "apart": whole.findings,
            "beside": newer, "overwrites_newer": over, "remove": remove,
            "taken_away": goes.iter().map(|goes| json!({ "path": goes.path.to_string_lossy(), "why": goes.why })).collect::<Vec<_>>() }),
        );
    } else {
        let vaults: Vec<_> = point.vaults.iter().map(|vault| vault.0.as_str()).collect();
        eprintln!("{} files ({}), from {}", info.regular(), size(info.bytes), vaults.join(", "));
        lacks.iter().for_each(|lacks| eprintln!("  {lacks}"));
        if extras.is_some() {
            eprintln!("{} entries would be removed", remove.len());
        }
        goes.iter().for_each(|goes| eprintln!("  {}: {}", shown(&goes.path), goes.why));
    }
    Exit::Done
}

fn usage(error: impl std::fmt::Display) -> Failure {
    show::error(&Error::new(error.to_string()));
    Failure::Said(Exit::Usage)
}

/// Users and groups as this machine knows them.
struct Accounts;

impl Names for Accounts {
    fn uid(&self, user: &str) -> Option<u32> {
        Some(nix::unistd::User::from_name(user).ok()??.uid.as_raw())
    }

    fn gid(&self, group: &str) -> Option<u32> {
        Some(nix::unistd::Group::from_name(group).ok()??.gid.as_raw())
    }
}

/// Reads a size as people write it: `256MB`, `1GiB`, `1000000`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size: write 256MB"))?;
    let factor = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(format!("`{unit}` is no unit of size: kB, MB, GB, KiB, MiB, GiB")),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too much"))
}

/// Returns what was asked for on the command line.
pub(super) fn wanted(point: &str, before: Option<&str>) -> Result<Wanted, Failure> {
    let text = match (before.or(point.strip_prefix("before ")), point) {
        (Some(time), _) => return Ok(Wanted::Before(crate::session::past(time)?)),
        (None, "latest" | "last verified" | "last clean") => point.to_owned(),
        (None, id) => return Ok(Wanted::Id(id.to_owned())),
    };
    text.parse().map_err(|why: String| {
        show::error(&Error::new(why));
        Failure::Said(Exit::Usage)
    })
}

/// Asks the archives for what the point needs, and returns whether something has to be waited for.
fn thaw(
    repositories: &[Arc<Repository>],
    tree: vault::BlobId,
    days: u32,
    screen: &Screen,
) -> Result<bool, Error> {
    let mut waiting = false;
    for repository in repositories.iter().filter(|repository| !repository.store().is_local()) {
        let report = match vault::thaw::thaw(repository, tree, days, &Progress::default()) {
            Err(error) if matches!(error.kind, vault::Kind::Unsupported(_)) => continue,
            other => other?,
        };
        let address = repository.address();
        report.findings.iter().for_each(|finding| screen.line(&format!("  {finding}")));
        if report.is_waiting() {
            waiting = true;
            screen.line(&format!(
                "{address}: {} packs were asked for, {} are on their way, {} can be read{}",
                report.asked,
                report.under_way,
                report.there,
                if report.more_to_follow {
                    "; what is in the folders is asked for once these can be read"
                } else {
                    ""
                }
            ));
        }
    }
    if waiting {
        screen.line("an archive takes hours: type the same again then; what was asked for stays readable for so many days");
    }
    Ok(waiting)
}

/// Adds to an error that there is no restore point how many were known.
pub(super) fn none_left(error: Error, vanished: &Vanished, system: &SystemName) -> Error {
    let mut known: Vec<String> = vanished.all(system).into_iter().collect();
    known.extend(vanished.open.iter().cloned());
    match known.is_empty() {
        true => error,
        false => Error { message: format!("{error}; {}", known.join("; ")), ..error },
    }
}

/// Says that newer points than the one that is taken were seen and are gone.
pub(super) fn warn_of_newer(vanished: &Vanished, system: &SystemName, wanted: &Wanted, taken: Timestamp) {
    for said in vanished.clone().among(std::slice::from_ref(system)).strange_said() {
        eprintln!("warning: {said}");
    }
    let until = match wanted {
        // Who names a point knows that there are newer ones.
        Wanted::Id(_) | Wanted::From { .. } => return,
        Wanted::Before(time) => Some(*time),
        _ => None,
    };
    if let Some(newer) = vanished.newer(system, taken, until) {
        eprintln!("warning: {newer}");
    }
}

/// Finds the point, and why it is that one: among the system's own, or any snapshot by its name, for repositories that restic wrote.
fn find<'a>(
    session: &Session,
    survey: &'a engine::survey::Survey,
    system: &SystemName,
    wanted: &Wanted,
) -> Result<(String, &'a engine::survey::Surveyed, Vec<String>), Error> {
    let now = Timestamp::now();
    let witness = session.witness();
    let mut facts = witness.judged(&session.plan, survey, system, now);
    plan::left_then(&mut facts, &witness.recoveries(system), wanted);
    let chosen = plan::choose(&facts, wanted, now);
    let (id, reasons) = match (&chosen, wanted) {
        (Ok(choice), _) => (choice.point.id.clone(), choice.reasons.clone()),
        (Err(_), Wanted::Id(prefix)) => {
            let called: Vec<_> =
                survey.points.iter().filter(|surveyed| surveyed.point.is_called(prefix)).collect();
            match called.as_slice() {
                [one] => (one.point.id.clone(), vec!["asked for by its name".to_owned()]),
                [] => {
                    let help = survey.unasked().unwrap_or_else(|| "`releve points` lists them".into());
                    return Err(Error::new(format!("no point is called `{prefix}`")).help(help));
                }
                _ => {
                    return Err(Error::new(format!("several points are called `{prefix}`"))
                        .help("write more of its id"));
                }
            }
        }
        (Err(why), _) => {
            let error = match survey.unasked() {
                Some(_) => Error::new(format!("{system}: {why} in the vaults that could be asked")),
                None => Error::new(format!("{system}: {why}")),
            };
            return Err(match survey.unasked() {
                Some(unasked) => error.help(unasked),
                None => error,
            });
        }
    };
    survey.point(&id).map(|point| (id, point, reasons)).ok_or_else(|| Error::new("the point has vanished"))
}

//! `releve verify`.

use super::backup::stop_on_signal;
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use engine::proof::{self, Open, Verified};
use engine::survey::survey;
use engine::vanished::Vanished;
use engine::vaults::{Absent, repository};
use jiff::Timestamp;
use plan::{Share, VaultName};
use serde_json::{Value, json};
use state::{Body, Record, State, Verification};
use std::sync::Arc;
use vault::Progress;
use vault::verify::{VerifyOptions, VerifyReport, Window};

/// How many findings are printed for each vault; `--json` names a thousand.
const SHOWN: usize = 20;

/// What `verify` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve verify                         everything is there, and can be followed\n  \
    releve verify --read-data 10%         and a tenth of the data, another one each time, is read and sound\n  \
    releve verify cloud --read-data all   all data of one vault is read: the proof that `status` asks for\n\n\
    From the vault alone. Exit status 1: something is damaged or missing, or was found so before and nobody has mended it, or points that this machine has seen there are gone; it is named; 2: something could not be looked at, which says nothing about it."
)]
pub(super) struct Options {
    /// The vaults; all of them unless named, but those that another machine pulls
    vaults: Vec<String>,
    /// Read and check this much of the data: a share like 10%, or `all`
    #[arg(long, value_name = "SHARE")]
    read_data: Option<Share>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let names = vault_names(session, &options.vaults)?;
    let state = session.state()?;
    crate::walls::around(session, &[]);
    let screen = Screen::new(session.json, false);
    let records = state.records()?;
    let share = options.read_data.map_or(0.0, |share| share.0);
    let exit = show::each(session.json, &names, |name| {
        one(session, &state, &screen, name, window(&records, name, share), &records)
    });
    super::alerts::round(session, &state);
    Ok(exit)
}

/// Returns the vaults that were named, or all but those that another machine pulls.
pub(super) fn vault_names(session: &Session, named: &[String]) -> Result<Vec<VaultName>, Failure> {
    if named.is_empty() {
        let ours = |vault: &&VaultName| session.plan.writes(vault, &session.holder.hostname);
        return Ok(session.plan.vaults.keys().filter(ours).cloned().collect());
    }
    let known = |name: &String| {
        let name = VaultName(name.clone());
        if session.plan.vaults.contains_key(&name) {
            return Ok(name);
        }
        let known: Vec<_> = session.plan.vaults.keys().map(|name| name.0.as_str()).collect();
        show::error(
            &Error::new(format!("there is no vault `{name}`"))
                .help(format!("the plan has: {}", known.join(", "))),
        );
        Err(Failure::Said(Exit::Usage))
    };
    named.iter().map(known).collect()
}

/// Returns the vaults that were named, or all that this machine may write; one that it may not is an error that says who does.
pub(super) fn own_vault_names(session: &Session, named: &[String]) -> Result<Vec<VaultName>, Failure> {
    let names = vault_names(session, named)?;
    names.iter().try_for_each(|name| session.check_writes(name))?;
    Ok(names)
}

/// Returns the packs to read next: where the last verification that read any ended, so that all have their turn.
pub(super) fn window(records: &[Record], name: &VaultName, share: f64) -> Window {
    let before = records.iter().rev().find_map(|record| match &record.body {
        Body::Verification(seen) if seen.vault == name.0 && seen.share > 0.0 && seen.failure.is_none() => {
            Some(seen)
        }
        _ => None,
    });
    Window { from: before.map_or(0.0, |seen| (seen.from + seen.share).rem_euclid(1.0)), share }
}

/// Looks through one vault and records what was found, good or bad.
pub(super) fn one(
    session: &Session,
    state: &State,
    screen: &Screen,
    name: &VaultName,
    window: Window,
    records: &[Record],
) -> (Exit, Value) {
    let mut vanished = Vanished::default();
    let result = attempt(session, state, screen, (name, window), &mut vanished);
    say_vanished(screen, name, &vanished);
    let mut record = Verification {
        vault: name.0.clone(),
        from: window.from,
        share: window.share,
        vanished: vanished.missed.iter().map(|lost| lost.id.clone()).collect(),
        ..Verification::default()
    };
    let (mut open, mut broken) = (None, Vec::new());
    let mut exit = match &result {
        Ok(report) => {
            record.read_share = report.read_share();
            record.bytes_read = report.bytes_read;
            record.points.clone_from(&report.sound);
            record.findings.clone_from(&report.findings);
            record.unknown.clone_from(&report.unknown);
            record.unsound.clone_from(&report.unsound);
            record.failure = unread(report);
            let damaged = report.damaged.iter().take(proof::NAMED_MAX);
            record.packs = Some(damaged.map(ToString::to_string).collect());
            record.without = proof::known_packs(records, &name.0);
            record.without.retain(|pack| !report.present.contains(pack));
            (open, broken) = known(records, &record, report);
            say(screen, name, report, &vanished, (open.as_ref(), broken.len()));
            match (report.unread_count, report.finding_count) {
                (0, 0) if vanished.is_empty() && open.is_none() => Exit::Done,
                (0, _) => Exit::Finding,
                _ => Exit::Failed,
            }
        }
        Err(error) => {
            record.failure = Some(error.to_string());
            record.help.clone_from(&error.help);
            screen.failed(format_args!("{name}: could not be verified"), error);
            Exit::Failed
        }
    };
    let sound: Vec<&String> = record.points.iter().filter(|point| !broken.contains(point)).collect();
    let mut document = json!({ "vault": name, "read_share": record.read_share, "bytes_read": record.bytes_read,
        "sound": sound, "known_damage": open, "known_unsound": broken, "findings": record.findings, "failure": record.failure, "vanished": vanished });
    if let (Ok(report), Some(document)) = (&result, document.as_object_mut()) {
        document.insert("packs".into(), report.packs.into());
        document.insert("packs_read".into(), report.packs_read.into());
        document.insert("packs_unused".into(), report.packs_unused.into());
        document.insert("unsound".into(), report.unsound.clone().into());
        document.insert("unknown".into(), report.unknown.clone().into());
        document.insert("unread".into(), report.unread.clone().into());
        let archived: Vec<String> =
            report.archived.iter().map(|pack| vault::FileKind::Pack.path(&pack.to_string())).collect();
        document.insert("archived".into(), archived.into());
        document.insert("finding_count".into(), report.finding_count.into());
    }
    if !super::was_ended(&result)
        && let Err(error) = state.append(Body::Verification(record), Timestamp::now())
    {
        screen.line(&format!("{name}: what was found could not be recorded: {error}"));
        exit = exit.worse(Exit::Finding);
    }
    (exit, document)
}

fn attempt(
    session: &Session,
    state: &State,
    screen: &Screen,
    (name, window): (&VaultName, Window),
    vanished: &mut Vanished,
) -> Result<VerifyReport, Error> {
    let seen = session.known(Some(state));
    let vaults = session.open(std::slice::from_ref(name), Absent::Refuse, Some(state));
    let repository = repository(&vaults, name)?;
    // A point that is hidden is none that could be verified, and that a forged one is sound proves nothing.
    *vanished = session.vanished(Some(state), &seen, &vaults, &survey(&vaults));
    let progress = Arc::new(Progress::default());
    screen.bar(&name.0, &progress);
    stop_on_signal(&progress);
    let options = VerifyOptions { read: window, holder: session.holder.clone() };
    Ok(vault::verify::verify(&repository, &options, &progress)?)
}

/// Returns the damage that was found before and that nobody has mended since, as far as this verification didn't read it anew and find it whole; and the points that
/// it found sound by what it has read, and that are known to lack something.
fn known(records: &[Record], record: &Verification, report: &VerifyReport) -> (Option<Open>, Vec<String>) {
    let now = Timestamp::now();
    // What is found now is said by itself.
    if report.finding_count > 0 {
        return (None, Vec::new());
    }
    let open = proof::open(records, (now, &Body::Verification(record.clone())), &record.vault);
    if open.is_none() {
        return (None, Vec::new());
    }
    let mut verified = Verified::of(records);
    verified.then(now, record);
    let broken = report.sound.iter().filter(|point| verified.is_unsound(point, &record.vault));
    (open, broken.cloned().collect())
}

/// Says which points were there and are gone.
fn say_vanished(screen: &Screen, name: &VaultName, vanished: &Vanished) {
    if let Some(said) = vanished.said_of(name) {
        screen.line(&format!("{name}: {said}"));
        screen.line("  what was proven of them before counts on, should they come back");
        screen.line(&format!("  hint: {}", engine::vanished::help(name)));
    }
    if let Some(said) = vanished.strange_in(name) {
        screen.line(&format!("{name}: {said}"));
        screen.line(&format!("  hint: {}", engine::strange::HELP));
    }
}

/// Returns why nothing is proven where something could not be looked at.
fn unread(report: &VerifyReport) -> Option<String> {
    let first = report.unread.first()?;
    Some(match report.unread_count {
        1 => format!("a file could not be looked at: {first}"),
        count => format!("{count} files could not be looked at; the first: {first}"),
    })
}

fn say(
    screen: &Screen,
    name: &VaultName,
    report: &VerifyReport,
    vanished: &Vanished,
    (open, broken): (Option<&Open>, usize),
) {
    if let Some(why) = unread(report) {
        screen.line(&format!("{name}: could not be verified: {why}"));
        if !report.archived.is_empty() {
            screen.line(&format!(
                "  {} packs lie in an archive, and can't be read before they are brought back from it: `releve verify {name} --json` lists them (archived), `releve restore SYSTEM --to DIR --thaw` asks for what a point needs",
                report.archived.len()
            ));
        }
        screen.line("  what was proven before counts on until it expires");
        if report.finding_count == 0 && open.is_none() {
            return;
        }
    }
    let points = report.sound.len() + report.unsound.len() + report.unknown.len();
    let read = match report.packs_read {
        0 => "no data read: only that it is there".to_owned(),
        _ => format!("{} read ({:.0}%)", size(report.bytes_read), 100.0 * report.read_share()),
    };
    let verdict = match (report.finding_count, vanished.missed.is_empty()) {
        (0, _) if open.is_some() => "KNOWN TO BE DAMAGED",
        (0, true) => "sound",
        (0, false) => "POINTS ARE GONE",
        _ => "DAMAGED",
    };
    screen.line(&format!(
        "{name}: {verdict}: {} of {points} points can come back; {} packs, {read}",
        report.sound.len().saturating_sub(broken),
        report.packs
    ));
    if let Some(open) = open {
        screen.line(&format!(
            "  found {}, and mended by nobody since: {}",
            show::time(open.since),
            open.what
        ));
        screen.line(&format!(
            "  hint: releve repair {name} heals it from the other vaults; releve verify {name} --read-data all looks whether it is whole by now"
        ));
    }
    report.findings.iter().take(SHOWN).for_each(|finding| screen.line(&format!("  {finding}")));
    let more = report.finding_count.saturating_sub(SHOWN as u64);
    if more > 0 {
        screen.line(&format!("  and {more} more (--json names a thousand)"));
    }
    if report.finding_count > 0 {
        screen.line("  hint: a restore takes what is bad here from the other vaults; `releve repair` heals it from them");
    }
}

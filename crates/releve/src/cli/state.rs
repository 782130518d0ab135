//! `releve state`.

use super::verify::vault_names;
use crate::session::Session;
use crate::show;
use crate::{Exit, Outcome};
use engine::Error;
use engine::heads::{self, Heads, compare};
use engine::signers::{Known, Signer, before, know_own, learn};
use engine::survey::{Survey, Surveyed, survey};
use engine::vaults::{Absent, Opened};
use jiff::Timestamp;
use state::{Body, How, Made, Record, Repaired, State};
use std::collections::HashSet;
use vault::fingerprint;

/// What `state` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve state verify              no record was changed or removed\n  releve state rebuild             after the state was lost or damaged\n  releve state forget-vault local  the old one is lost for good; the next backup makes a new one"
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Set the state aside, damaged or not, and make it anew from what can be read of it and from what the vaults hold. Asks where nothing is wrong with it
    Rebuild {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Check that no record was changed or removed, also by what the points in the vaults say of them
    Verify,
    /// List the keys that sign points, by machine: for the paper in the safe
    Signers,
    /// Forget a vault that is lost for good or was replaced, so that a new one may take its name
    ForgetVault {
        /// The vault's name in the plan
        name: String,
    },
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    match &options.verb {
        Verb::Rebuild { yes } => rebuild(session, *yes),
        Verb::Verify => verify(session),
        Verb::Signers => signers(session),
        Verb::ForgetVault { name } => forget_vault(session, name),
    }
}

/// Forgets a vault: one that the plan has, or that is remembered although the plan has it no more.
fn forget_vault(session: &Session, name: &String) -> Outcome {
    let state = session.state()?;
    if state.vault_seen(name)?.is_none() && state.seen(name)?.is_empty() {
        vault_names(session, std::slice::from_ref(name))?;
    }
    state.forget_vault(name)?;
    damaged_no_more(&state, name, Timestamp::now())?;
    Ok(Exit::Done)
}

/// Records that what was known of the damage of a vault is over: what takes its name is another one.
fn damaged_no_more(state: &State, vault: &str, now: Timestamp) -> Result<(), Error> {
    let is_known = |record: &Record| match &record.body {
        Body::Verification(seen) => seen.vault == vault,
        Body::Backup(made) => made.gone.contains_key(vault),
        Body::Repair(repaired) => repaired.vault == vault,
        _ => false,
    };
    if state.records()?.iter().any(is_known) {
        let over = Repaired { vault: vault.to_owned(), forgotten: true, ..Repaired::default() };
        state.append(Body::Repair(over), now)?;
    }
    Ok(())
}

/// Checks the chain of the records, and holds it against what the points in the vaults say of it.
fn verify(session: &Session) -> Outcome {
    let state = session.state()?;
    let count = chain(&state)?;
    let vaults = session.ask_all(Some(&state), Some(&state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let records = state.records()?;
    if let Some(key) = session.signing_key() {
        know_own(&state, &session.holder.hostname, &key, &survey, Timestamp::now())?;
    }
    let learned = learn(&state, &session.holder.hostname, &survey, &records, Timestamp::now())?;
    session.say_learned(&learned.said);
    let heads = compared(session, &state, &records, &survey)?;
    let is_whole = heads.findings.is_empty();
    let newer = records.iter().filter(|record| record.is_of_newer()).count();
    if session.json {
        let unreachable: Vec<_> = survey.unreachable.iter().map(|(vault, _)| vault).collect();
        show::print_json(
            &serde_json::json!({ "records": count, "newer": newer, "whole": is_whole, "heads": heads,
                "unreachable": unreachable }),
        );
    } else {
        match is_whole {
            true => println!("{count} records, none changed"),
            false if heads.is_new => {
                println!("{count} records, and none of what points of this machine tell of");
            }
            false => println!("{count} records, and they are NOT what this machine wrote"),
        }
        if newer > 0 {
            println!("{newer} records of a newer program: they are part of the chain, and passed over");
        }
        for finding in &heads.findings {
            println!("!! {finding}");
            println!("   {}", heads.help());
        }
        match heads.agreed {
            0 => println!("no point in the vaults vouches for them"),
            1 => println!("1 point in the vaults vouches for them, up to number {}", heads.up_to),
            agreed => println!("{agreed} points in the vaults vouch for them, up to number {}", heads.up_to),
        }
        if heads.from_before > 0 {
            println!(
                "{} points are from before the state was made anew, and name records that were lost then",
                heads.from_before
            );
        }
        for (vault, why) in &survey.unreachable {
            eprintln!("warning: vault {vault}: {why}: what its points say of the records isn't known");
        }
    }
    Ok(if is_whole { Exit::Done } else { Exit::Finding })
}

/// Lists the keys that sign points, as this machine knows them, and which one signs here from now on.
fn signers(session: &Session) -> Outcome {
    let signers = session.state()?.signers()?;
    let machine = session.holder.hostname.as_str();
    let own = own_key(session);
    let signs = |key: &str| own.as_deref() == Some(key);
    if session.json {
        show::print_json(&serde_json::json!({ "machines": signers, "signs_here": own }));
        return Ok(Exit::Done);
    }
    let mut table = show::table(&["machine", "key", "known since", ""]);
    for (host, keys) in &signers {
        for (key, signer) in keys {
            let how = match signer.how {
                _ if host == machine && signs(key) => "this machine's own, which signs here",
                How::Own if host == machine => "this machine's own of before",
                How::Own => "this machine's own",
                How::First => "the first that was seen",
                How::Accepted => "accepted by a person",
                How::Newer => "as a newer program knows",
            };
            table.add_row([host.as_str(), fingerprint(key).as_str(), show::time(signer.since).as_str(), how]);
        }
    }
    let is_noted = |key: &String| signers.get(machine).is_some_and(|keys| keys.contains_key(key));
    if let Some(key) = own.as_ref().filter(|key| !is_noted(key)) {
        // The state is new, or was lost: the next backup notes it.
        table.add_row([machine, fingerprint(key).as_str(), "", "this machine's own, which signs here"]);
    }
    page!("{table}");
    if own.is_none() {
        println!(
            "no key signs here yet: the next backup makes one. Is one of this machine kept somewhere (signing.key, beside its old state)? Put it into {} before",
            session.state_dir.display()
        );
    }
    Ok(Exit::Done)
}

/// Says what was done to the records, if something was: their chain doesn't hold, or isn't what the points in the vaults say. It is noted for the alerts.
pub(super) fn tampered(session: &Session, state: &State, records: &[Record], survey: &Survey) -> Heads {
    let compared = chain(state).and_then(|_| compared(session, state, records, survey));
    compared.unwrap_or_else(|error| broken(&error))
}

/// Checks the chain of the records, and returns how many there are. That it doesn't hold is noted for the alerts.
fn chain(state: &State) -> Result<u64, Error> {
    let count = state.verify().map_err(Error::from);
    count.inspect_err(|error| note(state, &broken(error), &Survey::default()))
}

/// Holds the records against what the points in the vaults say of them. What is found is noted for the alerts.
fn compared(session: &Session, state: &State, records: &[Record], survey: &Survey) -> Result<Heads, Error> {
    let key = own_key(session);
    let known = Known::read(state)?;
    let heads = compare(records, survey, &known, &session.holder.hostname, key.as_deref());
    note(state, &heads, survey);
    Ok(heads)
}

/// Returns the public half of the key that signs here, where there is one that can be read.
fn own_key(session: &Session) -> Option<String> {
    Signer::public_in(&session.state_dir).unwrap_or_else(|error| {
        eprintln!("warning: which key signs here can't be read: {error}");
        None
    })
}

fn broken(error: &Error) -> Heads {
    Heads { findings: vec![error.to_string()], ..Heads::default() }
}

fn note(state: &State, heads: &Heads, survey: &Survey) {
    if let Err(error) = heads::note(state, heads, survey, Timestamp::now()) {
        eprintln!("warning: what was found of the records could not be noted: {error}");
    }
}

/// Makes the state anew, from what can be read of the old one and from the vaults.
fn rebuild(session: &Session, yes: bool) -> Outcome {
    let now = Timestamp::now();
    if let Some(count) = sound(session) {
        eprintln!(
            "nothing is wrong with the chain of the {count} records of {}",
            session.state_dir.display()
        );
        let question = "Set this state aside, and make it anew?";
        if let Some(exit) = show::refused_but(yes, question, "--yes for scripts; nothing was changed") {
            return Ok(exit);
        }
    }
    let vaults = session.open_all(Absent::Refuse, None);
    let survey = survey(&vaults);
    if survey.unreachable.len() == vaults.len() {
        return Err(Error::new("no vault can be read, so nothing was changed")
            .help(survey.unasked().unwrap_or_else(|| "the plan has no vault".into()))
            .into());
    }
    let rebuilt = State::rebuild(&session.state_dir, now, |state| fill(state, &vaults, &survey, now))
        .map_err(|error| Error { message: format!("{error}; nothing was changed"), ..error })?;
    if let Some(kept) = Signer::set_aside(&session.state_dir, now)? {
        eprintln!(
            "warning: the key that signs points is damaged: it is kept as {}, and the next backup makes another",
            kept.display()
        );
    }
    if let Some(kept) = &rebuilt.kept {
        eprintln!("the old state is kept as {}", kept.display());
    }
    if session.json {
        let unreachable: Vec<_> = survey.unreachable.iter().map(|(vault, _)| vault).collect();
        show::print_json(
            &serde_json::json!({ "points": survey.points.len(), "carried": rebuilt.carried, "lost": rebuilt.lost,
                "kept": rebuilt.kept.as_ref().map(|kept| kept.display().to_string()), "unreachable": unreachable }),
        );
    } else {
        println!("rebuilt from {} points", survey.points.len());
        match rebuilt.carried.as_slice() {
            [] => println!("what happened before, other than these, is unknown"),
            carried => println!("taken over from the old state: {}", carried.join(", ")),
        }
    }
    for lost in &rebuilt.lost {
        eprintln!("warning: {lost}");
    }
    for (vault, why) in &survey.unreachable {
        eprintln!("warning: vault {vault}: {why}");
    }
    say_key(session, &survey)?;
    let is_whole = rebuilt.lost.is_empty() && survey.unreachable.is_empty();
    Ok(if is_whole { Exit::Done } else { Exit::Finding })
}

/// Says that another key will sign than has signed this machine's points so far, while its own can still be put back.
fn say_key(session: &Session, survey: &Survey) -> Result<(), Error> {
    let (machine, dir) = (session.holder.hostname.as_str(), &session.state_dir);
    if own_key(session).is_some() {
        return Ok(());
    }
    if let Some(before) = before(&session.state()?, machine, survey, None)? {
        eprintln!(
            "NOTE: no key signs here any more: the next backup makes a new one, and points before are signed with {before}"
        );
        eprintln!(
            "  is the old one kept somewhere (signing.key, beside the old state)? Put it into {} before; else put the new one on paper beside the old one: releve state signers",
            dir.display()
        );
    }
    Ok(())
}

/// Returns how many records the state holds, where it can be read and their chain holds: whoever makes that anew may mean another one.
fn sound(session: &Session) -> Option<u64> {
    // To look for one must not make one.
    if !session.state_dir.join("state.db").exists() {
        return None;
    }
    let count = State::open(&session.state_dir).ok()?.verify().ok()?;
    (count > 0).then_some(count)
}

/// Adds to a new state what the vaults tell.
fn fill(state: &State, vaults: &[Opened], survey: &Survey, now: Timestamp) -> Result<(), Error> {
    let records = state.records()?;
    let known: HashSet<&str> = records
        .iter()
        .filter_map(|record| match &record.body {
            Body::Backup(made) => Some(made.point.as_str()),
            _ => None,
        })
        .collect();
    state.append(Body::Rebuilt { points: survey.points.len() as u64 }, now)?;
    for opened in vaults {
        let Ok(repository) = &opened.repository else { continue };
        // What was seen in another repository says nothing of this one.
        if state.vault_seen(&opened.name.0)?.is_some_and(|seen| seen != repository.id()) {
            state.forget_vault(&opened.name.0)?;
            damaged_no_more(state, &opened.name.0, now)?;
        }
        state.remember_vault(&opened.name.0, repository.id())?;
    }
    let is_new = |surveyed: &&Surveyed| !known.contains(surveyed.point.id.as_str());
    for surveyed in survey.points.iter().filter(is_new) {
        // A log lies beside points: no run that made one has a record either.
        let is_system = |name: &&String| plan::SystemName::of_log(name).is_none();
        let Some(system) = surveyed.point.system.as_ref().filter(is_system) else { continue };
        let info = surveyed.point.info.clone().unwrap_or_default();
        let made = Made {
            system: system.clone(),
            point: surveyed.point.id.clone(),
            started: surveyed.point.time,
            complete: surveyed.point.complete,
            unread: info.unread_count,
            vaults: surveyed.vaults.iter().map(|vault| (vault.0.clone(), None)).collect(),
            files: info.regular(),
            bytes: info.bytes,
            suspicious: info.suspicious,
            paths: surveyed.point.snapshot.paths.clone(),
            facts: serde_json::to_value(surveyed.facts()).unwrap_or_default(),
            ..Made::default()
        };
        state.append(Body::Backup(made), now)?;
    }
    Ok(())
}

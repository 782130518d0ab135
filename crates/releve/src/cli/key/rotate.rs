//! `releve key rotate`: the new key opens before the plan's file has the new password, and that is there before the old key goes.

use super::change::{is_needed, opener};
use super::secret::{self, Secret, Unlocked};
use super::{chosen, event, making, record, state, usage};
use crate::session::Session;
use crate::show::{self, Screen};
use crate::{Exit, Failure, Outcome};
use engine::{Error, Result};
use jiff::Timestamp;
use plan::VaultName;
use serde_json::{Value, json};
use state::{Body, State};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use vault::keys::{self, Rotation};
use vault::{FileId, Holder, Password, Repository};

/// What `key rotate` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key rotate --vault cloud                                   the new password is asked for\n  \
    releve key generate --to new.key && releve key rotate --vault cloud --new-password-file new.key\n  \
    releve key rotate --vault cloud --password-file old.key --new-password-file new.key   the password in the safe, say\n\n\
    The new key is written, read back and opened; then the new password is put into the file that the plan names for it; and only then is\n\
    the old key removed. Killed in between, both open: type the same again. Where the plan has the password from elsewhere, the old key\n\
    stays until you have changed it there (exit status 1).\n\
    The master key stays the same: who had the old password and copied its key file still reads what he copied."
)]
pub(super) struct Rotate {
    /// The vault; need not be named where the plan has only one; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    vaults: Vec<String>,
    /// The file that holds the new password; `-` is standard input; asked for if absent
    #[arg(long, value_name = "PATH")]
    new_password_file: Option<PathBuf>,
    /// Replace the password in this file instead of the plan's; `-` is standard input
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// Show which key would be replaced, and stop
    #[arg(long)]
    dry_run: bool,
}

/// One vault's turn.
struct Turn {
    name: VaultName,
    begun: Result<Begun>,
    /// Where the new password goes before the old key does.
    file: Option<PathBuf>,
    /// Why the old key stays although all went well.
    stays: Option<&'static str>,
}

/// Two keys that both open.
enum Begun {
    Now(Rotation),
    /// By a run that was killed.
    Before {
        vault: Arc<Repository>,
        old: FileId,
        new: FileId,
    },
}

impl Begun {
    fn keys(&self) -> (FileId, FileId) {
        match self {
            Self::Now(rotation) => (rotation.old, rotation.new),
            Self::Before { old, new, .. } => (*old, *new),
        }
    }

    fn finish(self, password: &Password, holder: &Holder) -> Result<()> {
        match self {
            Self::Now(rotation) => rotation.finish()?,
            Self::Before { vault, old, .. } => _ = keys::remove(&vault, old, password, holder)?,
        }
        Ok(())
    }
}

pub(super) fn rotate(session: &Session, options: &Rotate) -> Outcome {
    let names = chosen(session, &options.vaults)?;
    secret::one_pipe([options.password_file.as_deref(), options.new_password_file.as_deref()])?;
    let opener = opener(options.password_file.as_deref())?;
    let screen = Screen::new(session.json, false);
    let state = state(session, &screen);
    if options.dry_run {
        return would_rotate(session, state.as_ref(), &screen, &names, &opener);
    }
    let new = secret::new_password(options.new_password_file.as_deref())?;
    let mut unlocked = Vec::new();
    for name in &names {
        let opened = opener.open(session, state.as_ref(), name);
        let (file, stays) = match &opened {
            Ok(opened) => after(session, &names, name, opened, &new)?,
            // Others may have theirs from its file, and wait for it.
            Err(_) => (file_of(session, name), None),
        };
        unlocked.push((name, opened, file, stays));
    }
    let mut turns = Vec::new();
    for (name, opened, file, stays) in unlocked {
        let begun = opened.and_then(|opened| begin(session, state.as_ref(), name, &opened, &new));
        if let Ok(Begun::Now(rotation)) = &begun {
            // Before anything else is touched: whoever comes after a crash knows which key was to go.
            let (key, replaced) = (rotation.new.to_string(), Some(rotation.old.to_string()));
            record(state.as_ref(), &screen, state::KeyEvent { key, replaced, ..event(name, "rotating") });
        }
        turns.push(Turn { name: name.clone(), begun, file, stays });
    }
    let written = put_down(&turns, &new);
    let (mut exit, mut documents) = (Exit::Done, Vec::new());
    for turn in turns {
        let (status, document) = finish(session, state.as_ref(), &screen, turn, &written, &new);
        exit = exit.worse(status);
        documents.push(document);
    }
    if session.json {
        show::print_json(&json!({ "vaults": documents }));
    }
    Ok(exit)
}

fn would_rotate(
    session: &Session,
    state: Option<&State>,
    screen: &Screen,
    names: &[VaultName],
    opener: &Secret,
) -> Outcome {
    let (mut exit, mut documents) = (Exit::Done, Vec::new());
    for name in names {
        let opened = opener.open(session, state, name);
        let old = opened.as_ref().ok().and_then(|opened| opened.repository.key_id());
        match (&opened, old) {
            (Ok(_), Some(old)) => screen.line(&format!("{name}: key {} would be replaced", old.short())),
            (Ok(_), None) => {}
            (Err(error), _) => {
                exit = exit.worse(Exit::Failed);
                screen.failed(name, error);
            }
        }
        documents.push(json!({ "vault": name, "old": old, "new": null, "removed": false, "written": null,
            "failure": opened.err().map(|error| error.to_string()), "recorded": false }));
    }
    if session.json {
        show::print_json(&json!({ "vaults": documents }));
    }
    Ok(exit)
}

/// Returns where the new password goes, or why the old key must stay: without one of them the machine that types this would be shut out.
fn after(
    session: &Session,
    names: &[VaultName],
    name: &VaultName,
    unlocked: &Unlocked,
    new: &Password,
) -> Result<(Option<PathBuf>, Option<&'static str>), Failure> {
    let Some(old) = &unlocked.password else { return Ok((None, None)) };
    // Only where the plan has the password that goes. One that can't be had opens nothing that could be shut.
    let planned = session.password_of(name);
    if !planned.is_ok_and(|planned| planned.is(old) && !planned.is(new)) {
        return Ok((None, None));
    }
    let Some(path) = file_of(session, name) else {
        return Ok((None, Some("the plan has its password from a command or the environment")));
    };
    let mut others = session.plan.vaults.keys().filter(|other| !names.contains(other));
    match others.find(|other| file_of(session, other).is_some_and(|theirs| theirs == path)) {
        None => Ok((Some(path), None)),
        Some(other) => {
            let path = path.display();
            let what =
                format!("vaults `{name}` and `{other}` have their password from the same file, {path}");
            Err(usage(what, format!("rotate both: --vault {name} --vault {other}; nothing was changed")))
        }
    }
}

/// Returns the file that the plan has a vault's password from.
fn file_of(session: &Session, name: &VaultName) -> Option<PathBuf> {
    match &session.plan.vaults.get(name)?.password {
        Some(plan::Secret::File(path)) => Some(path.into()),
        _ => None,
    }
}

fn begin(
    session: &Session,
    state: Option<&State>,
    name: &VaultName,
    unlocked: &Unlocked,
    new: &Password,
) -> Result<Begun> {
    let vault = &unlocked.repository;
    let in_use = unlocked.password.as_ref().is_some_and(|password| password.is(new));
    match vault.key_id().filter(|_| in_use) {
        None => {
            making(state, name)?;
            Ok(Begun::Now(keys::rotate(vault, new, &session.holder, Timestamp::now())?))
        }
        Some(key) => match interrupted(state, vault, name, key)? {
            Some(old) => match is_needed(session, name, unlocked, old) {
                None => Ok(Begun::Before { vault: Arc::clone(vault), old, new: key }),
                Some(why) => Err(Error::new(format!("key {} is not removed: {why}", old.short()))
                    .help("put the new password where the plan has it, and come back")),
            },
            None => Err(Error::new("the new password is the one in use").help(
                "`releve key list` shows the keys, `releve key remove` removes one that is not in use",
            )),
        },
    }
}

/// Returns the key that an earlier run would have removed, had it come so far; or did, and was killed before it could give back its lock.
fn interrupted(
    state: Option<&State>,
    vault: &Repository,
    name: &VaultName,
    key: FileId,
) -> Result<Option<FileId>> {
    let records = state.map_or_else(|| Ok(Vec::new()), State::records)?;
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Key(event) if event.vault == name.0 && event.key == key.to_string() => {
            Some((event.what == "rotating", event.replaced.as_ref()?.parse().ok()?))
        }
        _ => None,
    });
    let Some((unfinished, old)) = last else { return Ok(None) };
    let (keys, _) = keys::list(vault.store())?;
    Ok((unfinished || keys.iter().any(|key| key.id == old)).then_some(old))
}

/// Puts the new password into each file, once all vaults that have theirs from it open with it. Returns what came of it.
fn put_down(turns: &[Turn], new: &Password) -> BTreeMap<PathBuf, Result<(), String>> {
    let mut files: BTreeMap<PathBuf, Result<(), String>> = BTreeMap::new();
    for turn in turns {
        let Some(file) = &turn.file else { continue };
        let ready = files.entry(file.clone()).or_insert(Ok(()));
        if turn.begun.is_err() {
            let why = "has its password from the same file, and does not open with the new one";
            *ready = Err(format!("vault {} {why}", turn.name));
        }
    }
    for (file, ready) in &mut files {
        if ready.is_ok() {
            *ready = secret::replace(file, new).map_err(|error| error.to_string());
        }
    }
    files
}

fn finish(
    session: &Session,
    state: Option<&State>,
    screen: &Screen,
    turn: Turn,
    written: &BTreeMap<PathBuf, Result<(), String>>,
    new: &Password,
) -> (Exit, Value) {
    let Turn { name, begun, file, stays } = turn;
    let ids = begun.as_ref().ok().map(Begun::keys);
    let put = file.as_ref().and_then(|file| Some((file, written.get(file)?)));
    let result = begun.and_then(|begun| remove_old(&name, begun, put, stays, new, &session.holder));
    let mut event = event(&name, "rotated");
    let exit = match &result {
        Ok(None) => {
            let by = ids.map(|(_, new)| new.short()).unwrap_or_default();
            screen.line(&format!("{name}: opens with key {by} now, and the old one is gone"));
            Exit::Done
        }
        Ok(Some(stays)) => {
            event.failure = Some(stays.to_string());
            screen.failed(&name, stays);
            Exit::Finding
        }
        Err(error) => {
            event.failure = Some(error.to_string());
            screen.failed(&name, error);
            Exit::Failed
        }
    };
    let put = put.filter(|(_, result)| result.is_ok()).map(|(file, _)| file);
    if let Some(file) = put {
        let file = file.display();
        screen.line(&format!("  the new password is in {file}; the copy in the safe is to be replaced"));
    }
    event.key = ids.map(|(_, new)| new.to_string()).unwrap_or_default();
    event.replaced = ids.map(|(old, _)| old.to_string());
    let failure = event.failure.clone();
    let recorded = record(state, screen, event);
    let document = json!({ "vault": name, "old": ids.map(|(old, _)| old), "new": ids.map(|(_, new)| new),
        "removed": matches!(result, Ok(None)), "written": put, "failure": failure, "recorded": recorded });
    (exit, document)
}

/// Removes the old key, if that shuts nobody out. `Some` says why it stays, as it should.
fn remove_old(
    name: &VaultName,
    begun: Begun,
    put: Option<(&PathBuf, &Result<(), String>)>,
    stays: Option<&str>,
    new: &Password,
    holder: &Holder,
) -> Result<Option<Error>> {
    let (old, key) = begun.keys();
    let both = format!("keys {} and {} both open", old.short(), key.short());
    let then = format!("releve key remove {} --vault {name}", old.short());
    if let Some((file, Err(why))) = put {
        return Err(Error::new(format!("the old key stays, {both}: {why}"))
            .help(format!("put the new password into {}, then: {then}", file.display())));
    }
    if let Some(why) = stays {
        return Ok(Some(
            Error::new(format!("the old key stays, {both}: {why}"))
                .help(format!("put the new password there, then: {then}")),
        ));
    }
    begun
        .finish(new, holder)
        .map_err(|error| Error { message: format!("{both}: {error}"), ..error.help(then) })?;
    Ok(None)
}

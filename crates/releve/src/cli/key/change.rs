//! `releve key add` and `remove`: who may open a vault. Neither leaves it, or this machine, without a way in.

use super::secret::{self, Secret, Unlocked};
use super::{Opener, chosen, event, making, only, record, state, usage};
use crate::session::Session;
use crate::show::{self, Screen, confirm};
use crate::{Exit, Outcome};
use engine::{Error, Result};
use jiff::Timestamp;
use plan::VaultName;
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use vault::FileId;
use vault::keys::{self, KeyInfo};

/// What `key add` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key add --vault cloud                                          the new password is asked for\n  \
    releve key add --vault cloud --new-password-file /mnt/usb/cloud.key\n  \
    releve key add --vault cloud --password-file /mnt/usb/cloud.key --new-password-file /etc/releve/cloud.key   when the machine's file is lost\n  \
    releve key add --vault cloud --master cloud.master --new-password-file /etc/releve/cloud.key                when every password is\n\n\
    The key is read back and opened before it counts. A password that opens the vault already is left as it is."
)]
pub(super) struct Add {
    /// The vault; need not be named where the plan has only one; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    vaults: Vec<String>,
    /// The file that holds the new password; `-` is standard input; asked for if absent
    #[arg(long, value_name = "PATH")]
    new_password_file: Option<PathBuf>,
    #[command(flatten)]
    opener: Opener,
}

/// What `key remove` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve key list\n  releve key remove 3f2a91c0 --vault cloud\n\n\
    The last key is never removed, nor the one in use: that one is rotated. Who copied a key file before can still open it with its password.")]
pub(super) struct Remove {
    /// The key, or the beginning of its name
    #[arg(value_name = "ID")]
    id: String,
    /// The vault; need not be named where the plan has only one
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Open with the password in this file instead of the plan's; `-` is standard input
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// Show what would be removed, and stop
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn add(session: &Session, options: &Add) -> Outcome {
    let names = chosen(session, &options.vaults)?;
    let given = options.opener.password_file.as_deref().or(options.opener.master.as_deref());
    secret::one_pipe([given, options.new_password_file.as_deref()])?;
    let opener = options.opener.secret()?;
    let new = secret::new_password(options.new_password_file.as_deref())?;
    let screen = Screen::new(session.json, false);
    let state = state(session, &screen);
    let (mut exit, mut documents) = (Exit::Done, Vec::new());
    for name in &names {
        let added = opener.open(session, state.as_ref(), name).and_then(|unlocked| {
            making(state.as_ref(), name)?;
            Ok(keys::add(&unlocked.repository, &new, &session.holder, Timestamp::now())?)
        });
        let mut event = event(name, "added");
        match &added {
            Ok(added) => {
                event.key = added.id.to_string();
                screen.line(&match added.created {
                    true => format!("{name}: key {} added, and opened", added.id.short()),
                    false => format!("{name}: opens with this password already, by key {}", added.id.short()),
                });
            }
            Err(error) => {
                exit = exit.worse(Exit::Failed);
                event.failure = Some(error.to_string());
                screen.failed(name, error);
            }
        }
        let mut document = json!({ "vault": name, "key": added.as_ref().ok().map(|added| added.id),
            "created": added.as_ref().is_ok_and(|added| added.created), "failure": event.failure });
        let nothing_done = added.as_ref().is_ok_and(|added| !added.created);
        let recorded = nothing_done || record(state.as_ref(), &screen, event);
        if let Some(document) = document.as_object_mut() {
            document.insert("recorded".into(), recorded.into());
        }
        documents.push(document);
    }
    if session.json {
        show::print_json(&json!({ "vaults": documents }));
    }
    Ok(exit)
}

pub(super) fn remove(session: &Session, options: &Remove) -> Outcome {
    let name = only(session, options.vault.as_ref())?;
    let opener = opener(options.password_file.as_deref())?;
    let (keys, _) = keys::list(&*session.place_of(&name)?)?;
    let screen = Screen::new(session.json, options.yes);
    if options.id.len() == 64 && !keys.iter().any(|key| key.id.to_string() == options.id) {
        screen.line(&format!("{name}: there is no such key, so there is nothing to remove"));
        if session.json {
            show::print_json(
                &json!({ "vault": name, "key": options.id, "removed": false, "recorded": false }),
            );
        }
        return Ok(Exit::Done);
    }
    let key = find(&keys, &options.id)?;
    let state = state(session, &screen);
    let unlocked = opener.open(session, state.as_ref(), &name)?;
    if let Some(why) = is_needed(session, &name, &unlocked, key.id) {
        let help =
            "`releve key rotate` replaces it; or put another password where the plan has it, and come back";
        return Err(Error::new(format!("{name}: key {} is not removed: {why}", key.id.short()))
            .help(help)
            .into());
    }
    let what = format!(
        "{name}: key {} of {}, made {}",
        key.id.short(),
        [&key.username, &key.hostname].map(String::as_str).join("@"),
        key.created
    );
    if options.dry_run {
        screen.line(&format!("{what}: would be removed"));
    } else if !options.yes {
        if !std::io::stdin().is_terminal() {
            return Err(usage("nobody is there to say yes", "--yes for scripts; --dry-run only shows"));
        }
        if !confirm(&format!("{what}: remove it? Whoever has only its password is shut out.")) {
            return Ok(Exit::Failed);
        }
    }
    let mut recorded = false;
    if !options.dry_run {
        let stays = unlocked.password.as_ref().ok_or_else(|| Error::new("no password was given"))?;
        keys::remove(&unlocked.repository, key.id, stays, &session.holder)?;
        screen.line(&format!("{name}: key {} removed", key.id.short()));
        let event = state::KeyEvent { key: key.id.to_string(), ..event(&name, "removed") };
        recorded = record(state.as_ref(), &screen, event);
    }
    if session.json {
        show::print_json(
            &json!({ "vault": name, "key": key.id, "removed": !options.dry_run, "recorded": recorded }),
        );
    }
    Ok(Exit::Done)
}

/// Returns what opens a vault: the password in a file, or the plan's.
pub(super) fn opener(password_file: Option<&Path>) -> Result<Secret> {
    Ok(match password_file {
        Some(path) => Secret::Typed(secret::read(path)?),
        None => Secret::Plan,
    })
}

/// Returns the key whose name begins so.
fn find<'a>(keys: &'a [KeyInfo], prefix: &str) -> Result<&'a KeyInfo> {
    let prefix = prefix.to_lowercase();
    let called: Vec<_> = keys.iter().filter(|key| key.id.to_string().starts_with(&prefix)).collect();
    match called.as_slice() {
        [one] if prefix.len() >= 4 => Ok(one),
        [] => Err(Error::new(format!("no key is called `{prefix}`")).help("`releve key list` shows them")),
        _ => Err(Error::new(format!("several keys may be called `{prefix}`")).help("write more of its name")),
    }
}

/// Returns why this key must stay: it opened the vault just now, or it is what the plan's password opens, and this machine would be shut out.
pub(super) fn is_needed(
    session: &Session,
    name: &VaultName,
    unlocked: &Unlocked,
    id: FileId,
) -> Option<&'static str> {
    if unlocked.repository.key_id() == Some(id) {
        return Some("it is the one in use");
    }
    let planned = Secret::Plan.open(session, None, name).ok()?;
    (planned.repository.key_id() == Some(id)).then_some("it is the one that the plan's password opens")
}

//! `releve key`: the passwords of the vaults, and the master keys behind them.

mod change;
mod escrow;
mod rotate;
mod secret;

use super::Global;
use super::verify::vault_names;
use crate::session::Session;
use crate::show::{self, Screen, size, time};
use crate::{Exit, Failure, Outcome};
use engine::Error;
use jiff::Timestamp;
use plan::VaultName;
use secret::Secret;
use serde_json::{Value, json};
use state::{Body, KeyEvent, Record, State};
use std::path::PathBuf;
use vault::keys::{self, KeyInfo};
use vault::passphrase;

/// What `key` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key generate                                    a passphrase for the safe\n  \
    releve key add --vault cloud                           which opens this vault too; it is asked for\n  \
    releve key check                                       and the copy in the safe still does\n  \
    releve key rotate --vault cloud                        another password for the one in use\n  \
    releve key export --vault cloud --to cloud.master      the master key, for the safe\n  \
    releve key add --vault cloud --master cloud.master     when every password is lost\n\n\
    The vaults stay restic repositories: restic opens them with every one of these passwords."
)]
pub(super) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the keys of the vaults, and when one from the safe was last tried
    List(List),
    /// Add a password that opens a vault
    Add(change::Add),
    /// Remove a key: never the last one, nor the one in use
    Remove(change::Remove),
    /// Replace the password in use by a new one
    Rotate(rotate::Rotate),
    /// Try a secret from the safe: does it open the vaults, and can they be read with it?
    Check(escrow::Check),
    /// Write a vault's master key into a file, for the safe
    Export(escrow::Export),
    /// Make a strong passphrase that can be typed from paper
    Generate(Generate),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve key list\n  releve key list --vault cloud --json\n\n\
    No password is needed for it. Exit status 1: the plan's password opens none of a vault's keys.")]
struct List {
    /// The vault; all of them unless named, but those that another machine pulls; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    vaults: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key generate\n  releve key generate --to /etc/releve/cloud.key\n\n\
    The hyphens belong to it. Its last letter gives away a slip."
)]
struct Generate {
    /// Write it into this new file, for its owner alone, and show it nowhere
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    if let Verb::Generate(options) = &options.verb {
        return generate(global, options);
    }
    let session = Session::new(global)?;
    match &options.verb {
        Verb::List(options) => list(&session, options),
        Verb::Add(options) => change::add(&session, options),
        Verb::Remove(options) => change::remove(&session, options),
        Verb::Rotate(options) => rotate::rotate(&session, options),
        Verb::Check(options) => escrow::check(&session, options),
        Verb::Export(options) => escrow::export(&session, options),
        Verb::Generate(_) => Ok(Exit::Usage),
    }
}

fn generate(global: &Global, options: &Generate) -> Outcome {
    let text = passphrase::generate().map_err(|error| Error::new(format!("make a passphrase: {error}")))?;
    match &options.to {
        Some(path) => secret::write_new(path, &text)?,
        None if global.json => {
            return Err(usage("a secret is not put into a JSON document", "--to FILE writes it into a file"));
        }
        None => println!("{}", *text),
    }
    if global.json {
        show::print_json(&json!({ "file": options.to, "bits": passphrase::BITS }));
    } else if let Some(path) = &options.to {
        println!("wrote {}", path.display());
    }
    Ok(Exit::Done)
}

fn list(session: &Session, options: &List) -> Outcome {
    let names = vault_names(session, &options.vaults)?;
    let records = session.state_if_any().map_or_else(|| Ok(Vec::new()), |state| state.records())?;
    let screen = Screen::new(session.json, false);
    let mut table = show::table(&["vault", "key", "made", "on", "by", "a guess takes", ""]);
    let (mut exit, mut documents, mut remarks) = (Exit::Done, Vec::new(), Vec::new());
    for name in &names {
        let looked = session.place_of(name).and_then(|place| Ok(keys::list(&*place)?));
        let (keys, damaged) = match looked {
            Ok(found) => found,
            Err(error) => {
                exit = exit.worse(Exit::Failed);
                screen.failed(name, &error);
                documents.push(json!({ "vault": name, "keys": [], "failure": error.to_string() }));
                continue;
            }
        };
        let opened = Secret::Plan.open(session, None, name);
        let in_use = opened.as_ref().ok().and_then(|unlocked| unlocked.repository.key_id());
        for key in &keys {
            let mark = if Some(key.id) == in_use { "in use" } else { "" };
            table.add_row(row(name, key, mark));
        }
        let checked = checked(&records, name, &keys);
        remarks.push(match checked {
            Some(when) => format!("{name}: a secret from the safe was last seen to open it {}", time(when)),
            None => {
                format!("{name}: whether the secret in the safe opens it was NEVER CHECKED: releve key check")
            }
        });
        if let Err(error) = &opened {
            exit = exit.worse(Exit::Finding);
            remarks.push(format!("{name}: it does not open with what the plan has: {error}"));
            remarks.extend(error.help.iter().map(|help| format!("  hint: {help}")));
        }
        if !damaged.is_empty() {
            exit = exit.worse(Exit::Finding);
        }
        let unread: Vec<_> = damaged.iter().map(|error| (name.clone(), error.to_string())).collect();
        remarks.extend(engine::survey::few(&unread).lines().into_iter().map(|(_, what)| what));
        documents.push(json!({ "vault": name, "keys": keys.iter().map(|key| document(key, in_use == Some(key.id))).collect::<Vec<_>>(),
            "checked": checked, "damaged": damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "failure": opened.as_ref().err().map(ToString::to_string) }));
    }
    if session.json {
        show::print_json(&json!({ "vaults": documents }));
    } else {
        page!("{table}");
        remarks.iter().for_each(|remark| println!("{remark}"));
    }
    Ok(exit)
}

fn row(name: &VaultName, key: &KeyInfo, mark: &str) -> [String; 7] {
    let made = key.created.parse().map_or_else(|_| key.created.clone(), time);
    let (n, r, p) = key.scrypt;
    [
        name.0.clone(),
        key.id.short(),
        made,
        key.hostname.clone(),
        key.username.clone(),
        format!("{} × {p} (scrypt N={n} r={r} p={p})", size(key.guess_memory())),
        mark.to_owned(),
    ]
}

fn document(key: &KeyInfo, in_use: bool) -> Value {
    let (n, r, p) = key.scrypt;
    json!({ "id": key.id, "created": key.created, "hostname": key.hostname, "username": key.username,
        "scrypt": { "n": n, "r": r, "p": p }, "in_use": in_use })
}

/// Returns when a secret was last seen to open the vault and read it. What opened with a key that is gone proves nothing any more.
fn checked(records: &[Record], name: &VaultName, keys: &[KeyInfo]) -> Option<Timestamp> {
    records.iter().rev().find_map(|record| match &record.body {
        Body::Key(event)
            if event.vault == name.0
                && event.what == "checked"
                && event.failure.is_none()
                && event.findings.is_empty()
                && (event.key.is_empty() || keys.iter().any(|key| key.id.to_string() == event.key)) =>
        {
            Some(record.time)
        }
        _ => None,
    })
}

/// What a vault is opened with, where it isn't the plan's password.
#[derive(Debug, clap::Args)]
struct Opener {
    /// Open with the password in this file instead of the plan's; `-` is standard input
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// Open with this exported master key, when no password is left
    #[arg(long, value_name = "PATH", conflicts_with = "password_file")]
    master: Option<PathBuf>,
}

impl Opener {
    fn secret(&self) -> Result<Secret, Failure> {
        match (&self.password_file, &self.master) {
            (_, Some(path)) => Ok(Secret::Master(secret::read_master(path)?)),
            (Some(path), None) => Ok(Secret::Typed(secret::read(path)?)),
            (None, None) => Ok(Secret::Plan),
        }
    }
}

/// Returns the vaults that were named; where the plan has one alone, that one. A change to all is never taken for granted.
fn chosen(session: &Session, named: &[String]) -> Result<Vec<VaultName>, Failure> {
    let mut names = match named {
        [] => session.plan.vaults.keys().cloned().collect(),
        named => vault_names(session, named)?,
    };
    names.sort();
    names.dedup();
    if named.is_empty() && names.len() > 1 {
        let names: Vec<_> = names.iter().map(|name| name.0.as_str()).collect();
        let help = format!("--vault NAME: the plan has {}", names.join(", "));
        return Err(usage("the plan has several vaults, and none was named", help));
    }
    Ok(names)
}

fn only(session: &Session, named: Option<&String>) -> Result<VaultName, Failure> {
    let names = chosen(session, named.map_or(&[], std::slice::from_ref))?;
    names
        .into_iter()
        .next()
        .ok_or_else(|| usage("the plan has no vault", "`releve check` says what it lacks"))
}

fn usage(what: impl Into<String>, help: impl Into<String>) -> Failure {
    show::error(&Error::new(what).help(help));
    Failure::Said(Exit::Usage)
}

/// Opens the state. What must be done when the machine has lost everything is done without.
fn state(session: &Session, screen: &Screen) -> Option<State> {
    let opened = session.state();
    if let Err(error) = &opened {
        screen.line(&format!("warning: nothing of this can be recorded: {error}"));
    }
    opened.ok()
}

/// Notes that a key is about to be made, so that it is known for ours even if nobody comes to record it.
fn making(state: Option<&State>, name: &VaultName) -> engine::Result<()> {
    Ok(state.map_or(Ok(()), |state| state.making_key(&name.0, Timestamp::now()))?)
}

/// Records what was done, and returns whether it could.
fn record(state: Option<&State>, screen: &Screen, event: KeyEvent) -> bool {
    let Some(state) = state else { return false };
    // What is made or removed here is no surprise to whoever looks next.
    if event.failure.is_none() && !event.key.is_empty() {
        let noted = match event.what.as_str() {
            "added" | "rotating" | "rotated" => state.know_key(&event.vault, &event.key),
            "removed" => state.key_removed(&event.vault, &event.key),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            screen.line(&format!("warning: the key could not be noted: {error}"));
        }
    }
    let appended = state.append(Body::Key(event), Timestamp::now());
    if let Err(error) = &appended {
        screen.line(&format!("warning: what happened could not be recorded: {error}"));
    }
    appended.is_ok()
}

fn event(name: &VaultName, what: &str) -> KeyEvent {
    KeyEvent { vault: name.0.clone(), what: what.to_owned(), ..KeyEvent::default() }
}

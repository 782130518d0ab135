//! `releve key check` and `releve key export`: what lies in the safe, and whether it still opens.

use super::secret::{self, Attempt, Secret};
use super::{event, only, record, state};
use crate::cli::verify::vault_names;
use crate::session::Session;
use crate::show::{self, Screen, time};
use crate::{Exit, Outcome};
use engine::Error;
use engine::keys::With;
use jiff::Timestamp;
use plan::VaultName;
use serde_json::{Value, json};
use state::KeyEvent;
use std::fmt::Write as _;
use std::path::PathBuf;
use vault::keys::{self, MasterKey};
use zeroize::Zeroizing;

/// What `key check` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key check                                        the passphrase is asked for\n  \
    releve key check --vault cloud --password-file /mnt/usb/cloud.key\n  pass show releve/cloud | releve key check --vault cloud --password-file -\n  \
    releve key check --master /mnt/usb/cloud.master         opens one vault: it says which\n\n\
    Needs the plan and none of the machine's own password files. Proof is reading: the index, the snapshots and the newest point's root.\n\
    Exit status 1: it opens not all of the vaults (an exported master key: none), or something could not be read with it; 2: a vault could not be asked."
)]
pub(super) struct Check {
    /// The vault; all of them unless named, but those that another machine pulls; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    vaults: Vec<String>,
    /// The password to try; `-` is standard input
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
    /// The exported master key to try
    #[arg(long, value_name = "PATH", conflicts_with = "password_file")]
    master: Option<PathBuf>,
}

/// What `key export` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve key export --vault cloud --to cloud.master\n  releve key check --master cloud.master\n\n\
    It opens everything in the vault, without a password, for as long as the vault is there. Print it, put it into the safe, and remove the file."
)]
pub(super) struct Export {
    /// The vault; need not be named where the plan has only one
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// The new file, for its owner alone
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Open with the password in this file instead of the plan's; `-` is standard input
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

/// What one vault said to the secret.
struct Answer {
    exit: Exit,
    opened: bool,
    event: KeyEvent,
    document: Value,
}

pub(super) fn check(session: &Session, options: &Check) -> Outcome {
    let names = vault_names(session, &options.vaults)?;
    let secret = match (&options.password_file, &options.master) {
        (_, Some(path)) => Secret::Master(secret::read_master(path)?),
        (Some(path), None) => Secret::Typed(secret::read(path)?),
        (None, None) => Secret::Typed(secret::ask("The password from the safe")?),
    };
    let screen = Screen::new(session.json, false);
    let state = state(session, &screen);
    // A master key is one vault's alone. Where none was named, the question is which.
    let searched = matches!(secret, Secret::Master(_)) && options.vaults.is_empty();
    let mut answers: Vec<Answer> =
        names.iter().map(|name| one(session, state.as_ref(), &screen, name, &secret)).collect();
    let found = answers.iter().any(|answer| answer.opened);
    let counts = |answer: &Answer| answer.opened || !(searched && found);
    let exit = answers
        .iter()
        .filter(|answer| counts(answer))
        .fold(Exit::Done, |exit, answer| exit.worse(answer.exit));
    for answer in answers.iter_mut().filter(|answer| counts(answer)) {
        let recorded = record(state.as_ref(), &screen, std::mem::take(&mut answer.event));
        if let Some(document) = answer.document.as_object_mut() {
            document.insert("recorded".into(), recorded.into());
        }
    }
    if session.json {
        let documents: Vec<_> = answers.into_iter().map(|answer| answer.document).collect();
        show::print_json(&json!({ "vaults": documents }));
    }
    Ok(exit)
}

fn one(
    session: &Session,
    state: Option<&state::State>,
    screen: &Screen,
    name: &VaultName,
    secret: &Secret,
) -> Answer {
    let mut event = event(name, "checked");
    let (mut exit, mut opened, mut newest, mut key) = (Exit::Done, false, None, None);
    let attempt = secret.attempt(session, state, name);
    let proven = match attempt {
        Ok(Attempt::Opened(unlocked)) => {
            opened = true;
            key = unlocked.repository.key_id();
            keys::prove(&unlocked.repository).map_err(|error| (Exit::Failed, Error::from(error)))
        }
        Ok(Attempt::Not(error)) => Err((Exit::Finding, error)),
        Err(error) => Err((Exit::Failed, error)),
    };
    match proven {
        Ok(proof) => {
            event.key = key.map(|key| key.to_string()).unwrap_or_default();
            event.points = proof.points;
            newest = proof.newest;
            let by = key.map_or_else(|| "the master key".to_owned(), |key| format!("key {}", key.short()));
            let read = match newest {
                Some(newest) if proof.points == 1 => format!("1 point, of {}", time(newest)),
                Some(newest) => format!("{} points, the newest of {}", proof.points, time(newest)),
                None => "it holds no point yet".to_owned(),
            };
            screen.line(&format!("{name}: opens with {by}; {read}"));
            for finding in &proof.findings {
                exit = Exit::Finding;
                screen.line(&format!("  could not be read: {finding}"));
            }
            event.findings = proof.findings;
        }
        Err((status, error)) => {
            exit = status;
            let what = match (status, opened) {
                (Exit::Finding, _) => "does not open",
                (_, true) => "opens, and could not be read",
                _ => "could not be asked",
            };
            screen.failed(format_args!("{name}: {what}"), &error);
            event.failure = Some(error.to_string());
        }
    }
    let document = json!({ "vault": name, "opens": opened, "key": key, "points": event.points, "newest": newest,
        "findings": event.findings, "failure": event.failure, "recorded": false });
    Answer { exit, opened, event, document }
}

pub(super) fn export(session: &Session, options: &Export) -> Outcome {
    let name = only(session, options.vault.as_ref())?;
    let secret = match &options.password_file {
        Some(path) => Secret::Typed(secret::read(path)?),
        None => Secret::Plan,
    };
    let screen = Screen::new(session.json, false);
    let state = state(session, &screen);
    let unlocked = secret.open(session, state.as_ref(), &name)?;
    let (id, address) = (unlocked.repository.id().to_owned(), unlocked.repository.address());
    let text = paper(session, &name, &address, &MasterKey::of(&unlocked.repository));
    secret::write_new(&options.to, &text)?;
    // Read back and tried: nobody looks at it again before he needs it.
    let tried = secret::read_master(&options.to)
        .and_then(|master| session.open_with(&name, With::Master(&master), None)?.opened());
    if let Err(error) = tried {
        let _ = std::fs::remove_file(&options.to);
        return Err(Error::new(format!(
            "what was exported does not open the vault, and was removed: {error}"
        ))
        .into());
    }
    let recorded = record(state.as_ref(), &screen, event(&name, "exported"));
    if session.json {
        show::print_json(
            &json!({ "vault": name, "repository": id, "file": options.to, "recorded": recorded }),
        );
    } else {
        screen.line(&format!(
            "wrote the master key of {name} to {}, and opened the vault with it",
            options.to.display()
        ));
        screen.line("  print it, put it into the safe, and remove the file: whoever has it reads everything");
    }
    Ok(Exit::Done)
}

/// Returns the page for the safe: what it is, for which vault, how it is used.
fn paper(session: &Session, name: &VaultName, address: &str, master: &MasterKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let _ = write!(
        text,
        "Relève: the master key of the vault \"{name}\"\n\n\
         This opens everything in the vault, without a password, and cannot be changed.\n\
         Keep it in a safe, away from the server and from the vault.\n\n\
         address:    {address}\n\
         exported:   {} on {}\n\
         {}\n\
         Each line ends in four letters that give a slip away. Capitals or not, O or 0,\n\
         and I, l or 1 make no difference. From paper, the seven lines are enough.\n\n\
         Does it still open the vault?\n\
         \x20   releve key check --vault {name} --master FILE\n\
         Every password is lost? This sets a new one, and restic opens with it too:\n\
         \x20   releve key add --vault {name} --master FILE\n",
        time(Timestamp::now()),
        session.holder.hostname,
        *master.to_paper(),
    );
    text
}

//! Fetches into a vault that no other machine writes to: what the agent on its host does, and `releve sync` by hand.

use super::sync::fetch;
use crate::Exit;
use crate::session::Session;
use crate::show::Screen;
use jiff::Timestamp;
use plan::VaultName;
use state::{Body, Pulled, State};

/// Fetches what the other vaults hold and this one lacks, the newest first, and records it, good or bad.
pub(super) fn one(session: &Session, state: &State, screen: &Screen, name: &VaultName) -> Exit {
    let copied = fetch(session, state, screen, name);
    copied.failures.iter().for_each(|failure| screen.line(&format!("failed: {failure}")));
    let exit = if copied.failures.is_empty() { Exit::Done } else { Exit::Finding };
    let points = copied.points.into_iter().map(|(point, _)| point).collect();
    let record = Pulled { vault: name.0.clone(), points, failures: copied.failures };
    match state.append(Body::Pull(record), Timestamp::now()) {
        Ok(_) => exit,
        Err(error) => {
            screen.line(&format!("{name}: what happened could not be recorded: {error}"));
            exit.worse(Exit::Finding)
        }
    }
}

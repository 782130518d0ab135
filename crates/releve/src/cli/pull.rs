//! Fetches into a vault that no other machine writes to: what the agent on its host does, and `releve sync` by hand.

use super::sync::copy;
use crate::Exit;
use crate::session::Session;
use crate::show::{Screen, size};
use engine::survey::survey;
use engine::vaults::Absent;
use jiff::Timestamp;
use plan::VaultName;
use state::{Body, Pulled, State};

/// Fetches what the other vaults hold and this one lacks, the newest first, and records it, good or bad.
pub(super) fn one(session: &Session, state: &State, screen: &Screen, name: &VaultName) -> Exit {
    let vaults = session.open_for(std::slice::from_ref(name), Absent::Create, Some(state));
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let mut record = Pulled { vault: name.0.clone(), ..Pulled::default() };
    for (vault, why) in survey.unreachable.iter().chain(&survey.damaged) {
        record.failures.push(format!("vault {vault}: {why}"));
    }
    for point in survey.points.iter().rev() {
        if !survey.lacking(point, &session.plan).contains(name) {
            continue;
        }
        match copy(session, screen, &vaults, point, name) {
            Ok(copied) => {
                screen.line(&format!(
                    "point {} fetched into {name}: {} written",
                    point.point.id,
                    size(copied.bytes)
                ));
                record.points.push(point.point.id.clone());
            }
            Err(error) => record.failures.push(format!("point {}: {error}", point.point.id)),
        }
    }
    record.failures.iter().for_each(|failure| screen.line(&format!("failed: {failure}")));
    let exit = if record.failures.is_empty() { Exit::Done } else { Exit::Finding };
    match state.append(Body::Pull(record), Timestamp::now()) {
        Ok(_) => exit,
        Err(error) => {
            screen.line(&format!("{name}: what happened could not be recorded: {error}"));
            exit.worse(Exit::Finding)
        }
    }
}

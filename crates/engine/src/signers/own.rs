//! This machine's own key where its state knows nothing of it: the key lies beside the state and outlives it, so it counts from the first verb on, before anything is
//! learned from what somebody may have put into a vault. Where the state can't be opened at all, it is all that is known.

use super::{Known, has_made_points};
use crate::Result;
use crate::prune::identity;
use crate::survey::{Survey, Surveyed};
use jiff::Timestamp;
use plan::SystemName;
use state::{How, Signer, State};
use std::collections::BTreeSet;

/// Notes the key that lies beside a state that is new, or was lost, and what nobody has signed of this machine's points from before it. Of all vaults, before anything is
/// learned from them. A state whose records tell of points that were made here had the note: that it is gone is a finding ([`crate::heads`]), and stays one.
pub fn know_own(state: &State, machine: &str, key: &str, survey: &Survey, now: Timestamp) -> Result<()> {
    let signers = state.signers()?;
    if signers.get(machine).is_some_and(|keys| keys.contains_key(key)) || has_made_points(&state.records()?) {
        return Ok(());
    }
    // In this order: killed in between, it is done again.
    state.note_early(&older(survey, machine, key))?;
    Ok(state.know_signer(machine, key, How::Own, now)?)
}

/// Returns what nobody has signed of a machine's points, as far as it says that it is older than the first that this key has signed; all of it, where that has signed
/// none.
fn older(survey: &Survey, machine: &str, key: &str) -> Vec<String> {
    let is_point = |point: &Surveyed| {
        point.point.system.as_deref().is_some_and(|name| SystemName::of_log(name).is_none())
    };
    let is_here = |point: &&Surveyed| point.point.snapshot.hostname == machine && is_point(point);
    let here: Vec<&Surveyed> = survey.points.iter().filter(is_here).collect();
    let first = first_signed(&here, |by| by == key);
    let is_older = |point: &&&Surveyed| point.point.signer.is_none() && is_before(point, first);
    here.iter().filter(is_older).map(|point| identity(point)).collect()
}

fn first_signed(points: &[&Surveyed], is_key: impl Fn(&str) -> bool) -> Option<Timestamp> {
    let signed = points.iter().filter(|point| point.point.signer.as_deref().is_some_and(&is_key));
    signed.map(|point| point.point.time).min()
}

fn is_before(point: &Surveyed, first: Option<Timestamp>) -> bool {
    first.is_none_or(|first| point.point.time < first)
}

impl Known {
    /// Knows nothing but which key is this machine's own: where there is no state.
    pub(crate) fn own(machine: &str, key: &str) -> Self {
        let signer = Signer { since: Timestamp::UNIX_EPOCH, how: How::Own };
        let keys = [(key.to_owned(), signer)].into();
        Self { signers: [(machine.to_owned(), keys)].into(), ..Self::default() }
    }

    /// Returns which of these points, of one system, say that they are older than the first that their machine has signed: where there is no state, nothing else tells.
    pub(super) fn early_without(&self, there: &[&Surveyed]) -> BTreeSet<String> {
        let mut early = BTreeSet::new();
        if self.has_learned {
            return early;
        }
        for (host, keys) in &self.signers {
            let is_here = |point: &&&Surveyed| point.point.snapshot.hostname == *host;
            let here: Vec<&Surveyed> = there.iter().filter(is_here).copied().collect();
            let first = first_signed(&here, |by| keys.contains_key(by));
            early.extend(here.iter().filter(|point| is_before(point, first)).map(|point| identity(point)));
        }
        early
    }
}

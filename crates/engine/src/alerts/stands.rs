//! How far systems come back by what the vaults hold, whatever this machine's records say: a state that is new, or was lost, names no point, and another may have made some
//! since.

use crate::Result;
use crate::judge::Witness;
use crate::log::is_to_come;
use crate::survey::Survey;
use jiff::Timestamp;
use plan::{Facts, Plan};
use state::State;

/// Notes it, for the alerts, of the systems that run on `machine`. Only where every vault has answered (`is_all`) nothing newer lies elsewhere.
pub(crate) fn note_stands(
    (plan, state, machine): (&Plan, &State, &str),
    witness: &Witness,
    survey: &Survey,
    is_all: bool,
    now: Timestamp,
) -> Result<()> {
    let known = state.stands()?;
    for (name, system) in &plan.systems {
        if !plan.runs_on(system, machine) {
            continue;
        }
        let judged = witness.judged(plan, survey, name, now);
        let stands = judged.iter().filter(|point| is_whole(point)).map(Facts::counts);
        let stands = stands.filter(|time| !is_to_come(*time, now)).max();
        let known = known.get(&name.0).copied();
        let stands = if is_all { stands } else { stands.max(known) };
        if stands != known {
            state.note_stands(&name.0, stands)?;
        }
    }
    Ok(())
}

/// Returns whether a crash costs no more than what came since a point.
fn is_whole(point: &Facts) -> bool {
    point.complete && point.is_base() && !point.gone && point.broken.is_none()
}

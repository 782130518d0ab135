//! What a recovery is kept within: said, and decided, before the question.

use super::is_attack;
use super::said::left_beside;
use crate::session::Session;
use engine::Error;
use engine::incident::{Incident, incidents};
use engine::recover::{Bounds, Wish, keep_within, warn_of_what_goes};
use engine::survey::Survey;
use engine::vaults::Opened;
use plan::{Runbook, ScenarioName, SystemName, Vouchers};
use state::Record;
use std::collections::BTreeSet;

/// Keeps a runbook within the plan's paths and, after an attack, within what earlier points vouch for; says what goes, and what stays beside.
pub(super) fn keep(
    book: &mut Runbook,
    session: &Session,
    (wish, records): (&Wish, &[Record]),
    vouchers: &Vouchers,
    vaults: &[Opened],
    survey: &Survey,
) -> Result<(), Error> {
    let is_named = is_attack(session, wish.scenario.as_ref());
    if is_named {
        let left = left_beside(book, session);
        book.warnings.extend(left);
    }
    let is_open_attack = |incident: &Incident| {
        let scenario = incident.scenario.as_deref().map(ScenarioName::from);
        incident.closed.is_none() && is_attack(session, scenario.as_ref())
    };
    let open = incidents(records).into_iter().filter(is_open_attack);
    let about: BTreeSet<String> = open.flat_map(|incident| incident.systems).collect();
    let attacked = |name: &SystemName| is_named || about.contains(&name.0);
    let (plan, secrets) = (&session.plan, session.secrets());
    keep_within(book, &Bounds { plan, secrets, vaults, survey, vouchers, attacked: &attacked })?;
    warn_of_what_goes(book, plan, secrets, vaults, survey)
}

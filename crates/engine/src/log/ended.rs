//! What the records say of a log: whether a recovery has ended it, or went back behind what it tells.

use super::*;

/// Returns when a recovery has ended the log of a system, if no whole point was made since: nothing that was written after that comes back.
#[must_use]
pub fn ended(plan: &Plan, records: &[Record], name: &SystemName) -> Option<Timestamp> {
    let source = plan.systems.get(name)?.source.as_ref()?;
    if !source.log_ends_with_recovery() {
        return None;
    }
    // By their order and not by their times: a clock may have been set back.
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if has_put_back(recovery, name) => Some(Some(record.time)),
        Body::Backup(made) if made.system == name.0 && made.failure.is_none() && made.unread == 0 => {
            Some(None)
        }
        _ => None,
    });
    last.flatten()
}

/// Returns when a recovery of a system ended that went back to an earlier state, if no whole point was made since: what there is of before is left out, so a new one is needed.
#[must_use]
pub fn went_back(records: &[Record], name: &SystemName) -> Option<Timestamp> {
    let last = records.iter().rev().find_map(|record| match &record.body {
        Body::Recovery(recovery) if has_put_back(recovery, name) => {
            Some(has_gone_back(recovery, name).then_some(record.time))
        }
        Body::Backup(made) if made.system == name.0 && made.failure.is_none() && made.unread == 0 => {
            Some(None)
        }
        _ => None,
    });
    last.flatten()
}

/// Returns whether a recovery in place has brought a system back to an earlier state than the newest there was.
#[must_use]
pub fn has_gone_back(recovery: &Recovery, name: &SystemName) -> bool {
    let is_back =
        |system: &Check| system.system == name.0 && system.went_back && system.rta_seconds.is_some();
    !recovery.beside && recovery.systems.iter().any(is_back)
}

/// Returns whether a recovery has put a system's own data back, whatever came after.
#[must_use]
pub fn has_put_back(recovery: &Recovery, name: &SystemName) -> bool {
    let is_back = |system: &Check| {
        system.system == name.0 && (system.restore_seconds > 0.0 || system.rta_seconds.is_some())
    };
    !recovery.beside && recovery.systems.iter().any(is_back)
}

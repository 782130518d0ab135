//! What stands beside what a restore brings and belongs to a newer state of it: shown beforehand, set aside or named afterwards.

use engine::recover::{Beside, Settled};
use jiff::Timestamp;
use vault::restore::{Extras, RestoreReport};

/// Says what will be set aside and what will stay, but what is removed anyway.
pub(super) fn foreseen(beside: &Result<Beside, String>, extras: Option<&Extras>) -> Vec<String> {
    let is_removed = |path: &std::path::Path| {
        extras.is_some_and(|extras| extras.paths.iter().any(|extra| path.starts_with(extra)))
    };
    match beside {
        Ok(beside) => beside.foreseen(&is_removed),
        Err(why) => vec![why.clone()],
    }
}

/// Sets aside what SQLite would play into what came back, and adds what was done to what was before.
pub(super) fn settle(settled: &mut Settled, beside: Result<Beside, String>, report: &RestoreReport) {
    match beside {
        Ok(beside) => {
            let now = beside.settle(report, Timestamp::now());
            settled.told.extend(now.told);
            settled.findings.extend(now.findings);
        }
        Err(why) => settled.findings.push(why),
    }
}

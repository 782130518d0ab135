//! Places in a log, as people type them.

use crate::cli::restore::wanted;
use crate::session::Session;
use crate::show;
use crate::{Exit, Failure};
use engine::Error;
use engine::recover::Aim;
use engine::survey::Survey;
use engine::vaults::Opened;
use plan::{Until, Wanted};
use std::path::Path;

/// Reads `--until` from a point that is named by its id.
pub(in crate::cli) fn from_wanted(point: &str, until: &str) -> Result<Wanted, Failure> {
    let id = named(point, "with --until give its id")?;
    match until_wanted(until)? {
        Wanted::Until(until) => Ok(Wanted::From { id, until }),
        other => Ok(other),
    }
}

/// Reads `--before` from a point that is named by its id.
pub(super) fn from_before(point: &str, before: &str) -> Result<Wanted, Failure> {
    let id = named(point, "with --before give its id, or none: the newest from before then is taken")?;
    Ok(Wanted::From { id, until: Until::Time(crate::session::past(before)?) })
}

/// Reads the id of a point.
fn named(point: &str, help: &str) -> Result<String, Failure> {
    match wanted(point, None)? {
        Wanted::Id(id) => Ok(id),
        _ => {
            show::error(&Error::new(format!("`{point}` names no single point")).help(help));
            Err(Failure::Said(Exit::Usage))
        }
    }
}

/// Reads `--until`.
pub(in crate::cli) fn until_wanted(text: &str) -> Result<Wanted, Failure> {
    match text.parse() {
        Ok(wanted @ Wanted::Until(_)) => Ok(wanted),
        _ => {
            let help = "write --until newest (the end of its log), 'position 0/16B3748', 'name before-migration' or 'transaction 4711', for MariaDB 'position mariadb-bin.000042:1234' or \
                'transaction 0-1-4711'; where there are several, '… on timeline 2'; for a time, --before";
            show::error(&Error::new(format!("`{text}` names no place in a log")).help(help));
            Err(Failure::Said(Exit::Usage))
        }
    }
}

/// Returns how such a place is looked for.
pub(in crate::cli) fn aim<'a>(
    session: &'a Session,
    vaults: &'a [Opened],
    survey: &'a Survey,
    memory: u64,
    spools: &'a Path,
) -> Aim<'a> {
    let (plan, secrets, folder) = (&session.plan, session.secrets(), session.state_dir.as_path());
    Aim { plan, secrets, vaults, survey, folder, spools, memory }
}

//! Events that were to run once, and whose time passed before a recovery came to them.
//!
//! A server runs each as soon as its event scheduler is on again: one that is to go when it has run has gone in the log where it did, and of one that is to
//! stay no log says whether it ran. So none of them runs by itself after a replay.

use super::session::Session;
use crate::Result;
use std::collections::BTreeSet;

/// Which they are; the server writes their times as those of UTC.
const OVERDUE: &str = "SET NAMES utf8mb4;\nSET TIMESTAMP = DEFAULT, SESSION sql_mode = '';\n\
SELECT db, name, on_completion FROM mysql.event WHERE interval_value IS NULL AND execute_at < UTC_TIMESTAMP() AND status = 'ENABLED';\n";
/// How many are named.
const NAMED_MAX: usize = 10;

/// Switches them off, but for those of databases that `stay` as they were, and says which they are.
pub(super) fn put_out(session: &mut Session<'_>, stay: &BTreeSet<String>, told: &dyn Fn(&str)) -> Result<()> {
    let rows = session.answer(OVERDUE)?;
    let found: Vec<Event> = rows.iter().filter_map(|row| Event::read(row)).collect();
    let found: Vec<Event> = found.into_iter().filter(|event| !stay.contains(&event.database)).collect();
    session.say(&found.iter().map(Event::put_out).collect::<String>())?;
    session.wait()?;
    for (is_kept, what) in [
        (false, "events that were due since and did not run, and are off now"),
        (true, "events that were due once, of which the log doesn't say whether they ran, and are off now"),
    ] {
        let names: Vec<String> =
            found.iter().filter(|event| event.is_kept == is_kept).map(Event::named).collect();
        if let Some(said) = said(&names) {
            told(&format!("{what}: {said}"));
        }
    }
    Ok(())
}

/// One of them.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    database: String,
    name: String,
    /// It stays when it has run.
    is_kept: bool,
}

impl Event {
    fn read(row: &[String]) -> Option<Self> {
        let [database, name, on_completion] = row else { return None };
        let is_kept = on_completion == "PRESERVE";
        Some(Self { database: database.clone(), name: name.clone(), is_kept })
    }

    fn named(&self) -> String {
        let quoted = |text: &str| format!("`{}`", text.replace('`', "``"));
        format!("{}.{}", quoted(&self.database), quoted(&self.name))
    }

    fn put_out(&self) -> String {
        format!("ALTER EVENT {} DISABLE;\n", self.named())
    }
}

/// Names them, and says how many more there are.
fn said(names: &[String]) -> Option<String> {
    let (named, more) = names.split_at(names.len().min(NAMED_MAX));
    match (named, more.len()) {
        ([], _) => None,
        (named, 0) => Some(named.join(", ")),
        (named, more) => Some(format!("{} and {more} more", named.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_whatever_signs_it_has() {
        let row = ["a`b", "e", "DROP"].map(str::to_owned);
        let event = Event::read(&row).unwrap();
        assert!(!event.is_kept);
        assert_eq!(event.put_out(), "ALTER EVENT `a``b`.`e` DISABLE;\n");
        assert_eq!(Event::read(&row[..2]), None);
    }

    #[test]
    fn of_many_the_first_are_named() {
        let names: Vec<String> = (0..12).map(|nth| format!("e{nth}")).collect();
        assert_eq!(said(&[]), None);
        assert_eq!(said(&names[..2]).unwrap(), "e0, e1");
        assert!(said(&names).unwrap().ends_with("e9 and 2 more"));
    }
}

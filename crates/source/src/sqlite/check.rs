//! Whether a database is sound, as far as that can be looked into from outside its application.
//!
//! An application may bring functions and collations of its own, in indexes, generated columns and constraints. Who lacks them can copy such a database and put it
//! back, and can't check all of it: that is said, and is no fault of the database.

use super::bounded::{apart, bound, broken, is_stopped, stopped};
use super::copy::open_immutable;
use rusqlite::{Connection, Error, ErrorCode, ffi};
use std::path::Path;
use std::time::Duration;

/// How thoroughly a database is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Its structure.
    Quick,
    /// Its structure, and that its indexes say the same as its tables.
    Whole,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Its structure is damaged: what it held is lost in part.
    pub(super) damage: Option<String>,
    /// What it holds doesn't agree with its own schema: an index with its table, a value with a constraint. All of it is there.
    pub(super) disagrees: Option<String>,
    /// What could not be looked into.
    pub(super) unchecked: Option<String>,
}

impl Checked {
    /// Sorts what a check says is wrong.
    fn wrong(said: &str) -> Self {
        let mut lines = said.lines();
        let first = lines.next().unwrap_or_default();
        match first.starts_with(DAMAGED) {
            true => Self::damaged(lines.next().unwrap_or(first).to_owned()),
            false => Self {
                disagrees: Some(format!("what it holds doesn't agree with its schema: {first}")),
                ..Self::default()
            },
        }
    }

    fn damaged(why: String) -> Self {
        Self { damage: Some(why), ..Self::default() }
    }
}

/// How SQLite begins what it says of pages; what it says of rows begins otherwise.
const DAMAGED: &str = "*** in database";
/// How long a check of any database may take: what its columns, constraints and indexes compute is its owner's to say.
const CHECK_WITHIN: Duration = Duration::from_secs(600);
/// What is checked in a second on the slowest of disks.
const BYTES_PER_SECOND: u64 = 256 << 10;
/// How many tables are named that could not be checked.
const NAMED_MAX: usize = 5;

/// Checks a database that nobody else uses. An error means that it isn't one, can't be read, or that the process is to end.
pub(super) fn check(path: &Path, how: Check) -> rusqlite::Result<Checked> {
    let bytes = std::fs::metadata(path).map_or(0, |found| found.len());
    check_within(path, how, CHECK_WITHIN + Duration::from_secs(bytes / BYTES_PER_SECOND))
}

/// The same, for so long at most.
fn check_within(path: &Path, how: Check, within: Duration) -> rusqlite::Result<Checked> {
    let wait = process::Wait::begin();
    let (path, late) = (path.to_owned(), || {
        let why = format!("could not be checked whole within {} s", within.as_secs());
        Checked { unchecked: Some(why), ..Checked::default() }
    });
    let work = move || -> rusqlite::Result<Checked> {
        let mut db = open_immutable(&path)?;
        bound(&mut db, within)?;
        whole(&db, how)
    };
    match apart(within, work) {
        Ok(Some(Err(error))) if is_stopped(&error) && !wait.is_over() => Ok(late()),
        Ok(Some(checked)) => checked,
        Ok(None) if !wait.is_over() => Ok(late()),
        Ok(None) => Err(stopped()),
        Err(error) => Err(broken(&error)),
    }
}

fn whole(db: &Connection, how: Check) -> rusqlite::Result<Checked> {
    match run(db, how, None) {
        Ok(wrong) => Ok(wrong.unwrap_or_default()),
        Err(error) => match said_of_lack(&error) {
            Some(why) => by_tables(db, how, why),
            None => damaged(error),
        },
    }
}

/// Checks table by table where something is lacking for the whole, which keeps only what uses it from being looked into.
fn by_tables(db: &Connection, how: Check, why: String) -> rusqlite::Result<Checked> {
    let names = || -> rusqlite::Result<Vec<String>> {
        let mut tables =
            db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
        tables.query_map([], |row| row.get(0))?.collect()
    };
    let names = match names() {
        Ok(names) => names,
        Err(error) => return damaged(error),
    };
    let hows: &[Check] = if how == Check::Whole { &[Check::Whole, Check::Quick] } else { &[Check::Quick] };
    let (mut unchecked, mut disagrees) = (Vec::new(), None);
    for name in names {
        let mut lacks = None;
        for how in hows {
            match run(db, *how, Some(&name)) {
                Ok(None) => break,
                Ok(Some(wrong)) if wrong.damage.is_some() => return Ok(wrong),
                Ok(Some(wrong)) => {
                    disagrees = disagrees.or(wrong.disagrees);
                    break;
                }
                Err(error) => match said_of_lack(&error) {
                    Some(why) => lacks = lacks.or(Some(why)),
                    None => return damaged(error),
                },
            }
        }
        unchecked.extend(lacks.map(|why| format!("{name}: {why}")));
    }
    let more = unchecked.len().saturating_sub(NAMED_MAX);
    unchecked.truncate(NAMED_MAX);
    let what = match (unchecked.is_empty(), more) {
        // No table of its own lacks it: one does that a module of the application makes up.
        (true, _) => why,
        (false, 0) => unchecked.join(", "),
        (false, more) => format!("{}, and {more} more tables", unchecked.join(", ")),
    };
    let unchecked = format!("could not be checked whole, as only its application could: {what}");
    Ok(Checked { disagrees, unchecked: Some(unchecked), ..Checked::default() })
}

/// Runs one check, of one table or of all, and returns what is wrong.
fn run(db: &Connection, how: Check, table: Option<&str>) -> rusqlite::Result<Option<Checked>> {
    let pragma = match how {
        Check::Quick => "quick_check",
        Check::Whole => "integrity_check",
    };
    let of = table.map_or_else(|| "1".to_owned(), |table| format!("'{}'", table.replace('\'', "''")));
    let said = db.query_row(&format!("PRAGMA {pragma}({of})"), [], |row| row.get::<_, String>(0))?;
    Ok((said != "ok").then(|| Checked::wrong(&said)))
}

/// Returns what is lacking for a check: a function, a collation, a module.
fn said_of_lack(error: &Error) -> Option<String> {
    let (of, said) = of_sqlite(error)?;
    // What else goes wrong (a damaged file, a full disk, a lock) has a number of its own.
    (of.extended_code & 0xff == ffi::SQLITE_ERROR).then_some(said)
}

/// Takes what SQLite says of damage that kept it from checking for what was found; anything else stays an error.
fn damaged(error: Error) -> rusqlite::Result<Checked> {
    let is_damage = |of: &ffi::Error| of.code == ErrorCode::DatabaseCorrupt;
    let said = of_sqlite(&error).and_then(|(of, said)| is_damage(of).then_some(said));
    said.map(Checked::damaged).ok_or(error)
}

/// Returns the number and the words of an error of SQLite's own, without the statement that it was in.
fn of_sqlite(error: &Error) -> Option<(&ffi::Error, String)> {
    match error {
        Error::SqliteFailure(of, said) => Some((of, said.clone().unwrap_or_else(|| of.to_string()))),
        Error::SqlInputError { error: of, msg, .. } => Some((of, msg.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_is_not_done_in_its_time_says_so_and_is_no_fault_of_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE t (i); CREATE INDEX o ON t (i);
             WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 50000) INSERT INTO t SELECT x FROM c",
        )
        .unwrap();
        drop(db);
        let checked = check_within(&path, Check::Whole, Duration::ZERO).unwrap();
        assert_eq!((checked.damage, checked.disagrees), (None, None));
        assert!(checked.unchecked.unwrap().contains("within 0 s"));
        assert_eq!(check(&path, Check::Whole).unwrap(), Checked::default());
    }
}

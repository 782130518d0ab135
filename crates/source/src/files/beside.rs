//! What programs keep beside their data, and play into it when they start: left there of a newer state, it undoes what comes back.
//!
//! Only what a name in its folder tells for sure is here. Of SQLite it is also told what the file begins with: that is moved aside by whoever puts files back, as
//! `source.sqlite` removes it. All else is named for people. Lock files and those with a process's number are left out: a program that finds one looks whether that
//! process lives.

use crate::sqlite::BESIDE;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What SQLite keeps beside a database that holds a part of it: what was committed last, or what undoes a transaction that was under way.
const PLAYED: [&str; 2] = ["-wal", "-journal"];

/// How an SQLite database begins, its write-ahead log (either order of bytes), and a rollback journal that is played back.
const SQLITE: &[u8] = b"SQLite format 3\0";
const LOGS: [&[u8]; 3] =
    [&[0x37, 0x7f, 0x06, 0x82], &[0x37, 0x7f, 0x06, 0x83], &[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]];

/// How many bytes of a file tell whether it is SQLite's.
pub const HEAD_BYTES: u64 = 16;

/// What stands in a folder beside what a point has there, and belongs to another state of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Newer {
    /// What has the name of something that SQLite keeps beside a database which the point has: both names.
    pub of_sqlite: Vec<OfSqlite>,
    /// What other programs keep there, each with the name of its format.
    pub of_others: Vec<(&'static str, OsString)>,
}

/// Something that has the name of what SQLite keeps beside a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfSqlite {
    /// The database.
    pub database: OsString,
    /// What is beside it.
    pub name: OsString,
}

/// Returns what of `extra`, which a point doesn't have in a folder of this name, belongs to a newer state of what it `held` there.
#[must_use]
pub fn newer_beside(folder: &OsStr, held: &BTreeSet<OsString>, extra: &[OsString]) -> Newer {
    let mut found = Newer::default();
    for name in extra {
        let database = database_of(name, &BESIDE).filter(|of| held.contains(of));
        if let Some(database) = database {
            found.of_sqlite.push(OfSqlite { database, name: name.clone() });
        } else if let Some(format) = format_of(folder, held, name) {
            found.of_others.push((format, name.clone()));
        }
    }
    found
}

/// What a point has in a folder beside single files of it that are asked for, and belongs to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Together {
    /// What has the name of something that SQLite plays into a database which is asked for.
    pub along: Vec<OfSqlite>,
    /// What is asked for and has the name of something that SQLite plays into a database which the point has, and which isn't asked for.
    pub alone: Vec<OfSqlite>,
    /// What else a program needs beside what is asked for, each with the name of its format.
    pub lacking: Vec<(&'static str, OsString)>,
}

/// Returns what belongs together of what is `asked` for in a folder of a point, and of what `others` the point has there.
#[must_use]
pub fn together(asked: &BTreeSet<OsString>, others: &[OsString]) -> Together {
    let mut found = Together::default();
    let of = |name: &OsString, database: OsString| OfSqlite { database, name: name.clone() };
    for name in others {
        match database_of(name, &PLAYED).filter(|database| asked.contains(database)) {
            Some(database) => found.along.push(of(name, database)),
            // No folder has its name in this: who asks for one segment of a log has chosen.
            None if database_of(name, &BESIDE).is_none() => {
                let format = format_of(OsStr::new(""), asked, name);
                found.lacking.extend(format.map(|format| (format, name.clone())));
            }
            None => {}
        }
    }
    // A journal of several databases at once is played back only where what lists them is there, whichever of them it is named after.
    let is_journal = |of: &&OfSqlite| of.name.as_bytes().ends_with(b"-journal");
    if let Some(database) = found.along.iter().find(is_journal).map(|of| of.database.clone()) {
        let lists = others.iter().filter(|name| super_journal_of(name).is_some());
        found.along.extend(lists.map(|name| of(name, database.clone())));
    }
    for name in asked {
        let database = database_of(name, &PLAYED).filter(|database| others.contains(database));
        found.alone.extend(database.map(|database| of(name, database)));
    }
    found
}

/// Returns whether a path comes first, as `is_first` says or as that of an SQLite database to which it belongs: a program that starts in between would find half of it.
#[must_use]
pub fn comes_first(path: &Path, is_first: &dyn Fn(&Path) -> bool) -> bool {
    let database = || {
        let name = path.file_name()?;
        let of = database_of(name, &BESIDE).or_else(|| super_journal_of(name))?;
        Some(path.with_file_name(of))
    };
    is_first(path) || database().is_some_and(|database| is_first(&database))
}

/// Returns the name of the database beside which SQLite would keep something of this name.
fn database_of(name: &OsStr, suffixes: &[&str]) -> Option<OsString> {
    let of = suffixes.iter().find_map(|suffix| name.as_bytes().strip_suffix(suffix.as_bytes()))?;
    (!of.is_empty()).then(|| OsString::from_vec(of.to_vec()))
}

/// Returns the name of the database after which a list of the journals of several is called: `a.db-mj0A1B2C9D4`.
fn super_journal_of(name: &OsStr) -> Option<OsString> {
    let at = name.as_bytes().len().checked_sub(12).filter(|at| *at > 0)?;
    let (of, end) = name.as_bytes().split_at_checked(at)?;
    let digits = end.strip_prefix(b"-mj")?;
    let is_one = digits.iter().all(u8::is_ascii_hexdigit) && digits.get(6) == Some(&b'9');
    is_one.then(|| OsString::from_vec(of.to_vec()))
}

/// Returns whether SQLite plays what begins with `beside` into what begins with `database`, or takes it for a part of that.
#[must_use]
pub fn is_of_sqlite(database: &[u8], beside: &[u8]) -> bool {
    database.starts_with(SQLITE) || LOGS.iter().any(|log| beside.starts_with(log))
}

/// Returns the format of a database in this folder that `name` is a part of.
fn format_of(folder: &OsStr, held: &BTreeSet<OsString>, name: &OsStr) -> Option<&'static str> {
    let (folder, name) = (folder.to_str().unwrap_or_default(), name.to_str()?);
    let has = |name: &str| held.contains(OsStr::new(name));
    let has_like = |begin: &str| held.iter().any(|held| held.as_bytes().starts_with(begin.as_bytes()));
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let numbered = |begin: &str, digits: usize| {
        let number = name.strip_prefix(begin);
        number.is_some_and(|number| number.len() == digits && number.bytes().all(|b| b.is_ascii_digit()))
    };
    // What one half of a table is beside the other.
    let other_half = |pair: [&str; 2]| {
        let [a, b] = pair;
        let other = |own: &str, other: &str| name.strip_suffix(own).map(|table| format!("{table}{other}"));
        other(a, b).or_else(|| other(b, a)).is_some_and(|other| has(&other))
    };
    let is_leveldb = || has("CURRENT") && has_like("MANIFEST-");
    if is_leveldb() && (name.starts_with("MANIFEST-") || ends(&[".log", ".sst", ".ldb", ".blob"])) {
        return Some("LevelDB or RocksDB");
    }
    if has("dump.rdb") && matches!(name, "appendonly.aof" | "appendonlydir") {
        return Some("Redis");
    }
    if folder == "appendonlydir" && ends(&[".aof", ".rdb", ".manifest"]) && !held.is_empty() {
        return Some("Redis");
    }
    let is_innodb = name.starts_with("ib_logfile") || name == "#innodb_redo" || name.starts_with("undo");
    if has("ibdata1") && is_innodb || folder == "#innodb_redo" && name.starts_with("#ib_redo") {
        return Some("InnoDB");
    }
    if has("aria_log_control") && numbered("aria_log.", 8) {
        return Some("Aria");
    }
    if other_half([".MYD", ".MYI"]) {
        return Some("MyISAM");
    }
    if has("WiredTiger.wt") && ends(&[".wt"]) || folder == "journal" && name.starts_with("WiredTigerLog.") {
        return Some("MongoDB (WiredTiger)");
    }
    // Its own files begin with no name that would tell it: what it logs has a number of ten digits.
    if numbered("log.", 10) && (has_like("__db.") || has_like("log.0") || held.iter().any(|held| is_db(held)))
    {
        return Some("Berkeley DB");
    }
    let is_segment = name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if matches!(folder, "pg_wal" | "pg_xlog") && is_segment {
        return Some("PostgreSQL");
    }
    None
}

fn is_db(name: &OsStr) -> bool {
    let ends: [&[u8]; 3] = [b".db", b".bdb", b".dbp"];
    ends.iter().any(|end| name.as_bytes().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> Vec<OsString> {
        names.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn what_belongs_to_a_newer_state_is_told_by_what_the_point_has_beside_it() {
        let told = |folder: &str, held: &str, extra: &str| {
            let held = names(held).into_iter().collect();
            let found = newer_beside(OsStr::new(folder), &held, &names(extra));
            let sqlite = found.of_sqlite.iter().map(|of| of.name.to_string_lossy().into_owned());
            let others = found.of_others.iter();
            let others = others.map(|(format, name)| format!("{name}: {format}", name = name.display()));
            sqlite.chain(others).collect::<Vec<_>>().join(", ")
        };
        let table = [
            ("d", "a.db b", "a.db-wal b-journal c-wal a.db-shm a.db-wal2", "a.db-wal, b-journal, a.db-shm"),
            ("d", "CURRENT MANIFEST-1 3.ldb", "4.log LOCK", "4.log: LevelDB or RocksDB"),
            ("d", "CURRENT", "4.log", ""),
            ("d", "dump.rdb", "appendonlydir x", "appendonlydir: Redis"),
            ("mysql", "ibdata1", "ib_logfile0 x.log", "ib_logfile0: InnoDB"),
            ("shop", "t.MYI u.frm", "t.MYD u.MYD", "t.MYD: MyISAM"),
            ("ldap", "id2entry.db", "log.0000000012 log.1", "log.0000000012: Berkeley DB"),
            ("logs", "a.txt", "log.0000000012 x.pid x.lock", ""),
            (
                "pg_wal",
                "000000010000000000000001",
                "000000010000000000000002",
                "000000010000000000000002: PostgreSQL",
            ),
        ];
        for (folder, held, extra, expected) in table {
            assert_eq!(told(folder, held, extra), expected, "{held} | {extra}");
        }
    }

    #[test]
    fn what_is_only_whole_together_is_told_by_what_is_asked_for_and_what_the_point_has_beside_it() {
        let told = |asked: &str, others: &str| {
            let found = together(&names(asked).into_iter().collect(), &names(others));
            let show = |of: &[OfSqlite]| {
                let of = of.iter().map(|of| format!("{}>{}", of.name.display(), of.database.display()));
                of.collect::<Vec<_>>().join(" ")
            };
            let lacking = found.lacking.iter();
            let lacking = lacking.map(|(format, name)| format!("{}: {format}", name.display()));
            [show(&found.along), show(&found.alone), lacking.collect::<Vec<_>>().join(", ")].join("|")
        };
        let table = [
            ("a.db", "a.db-wal a.db-shm b.db b.db-wal -wal", "a.db-wal>a.db||"),
            // The list is called after one of the databases, and the journals of the others name it, too.
            (
                "a.db",
                "a.db-journal b.db-mj0A1B2C9D4 b.db-mj0A1B2C8D4",
                "a.db-journal>a.db b.db-mj0A1B2C9D4>a.db||",
            ),
            ("a.db", "b.db-mj0A1B2C9D4", "||"),
            ("a.db-wal", "a.db", "|a.db-wal>a.db|"),
            ("a.db-wal letter", "letter2 a.db-shm", "||"),
            ("a.db-shm", "a.db", "||"),
            ("t.MYI", "t.MYD u.MYD", "||t.MYD: MyISAM"),
            ("dump.rdb", "appendonlydir", "||appendonlydir: Redis"),
            ("000000010000000000000001", "000000010000000000000002", "||"),
        ];
        for (asked, others, expected) in table {
            assert_eq!(told(asked, others), expected, "{asked} of {others}");
        }
    }

    #[test]
    fn what_sqlite_keeps_beside_a_database_comes_first_with_it() {
        let is_first = |path: &Path| path == Path::new("/d/a.db");
        for path in ["/d/a.db", "/d/a.db-wal", "/d/a.db-shm", "/d/a.db-journal", "/d/a.db-mj0A1B2C9D4"] {
            assert!(comes_first(Path::new(path), &is_first), "{path}");
        }
        for path in ["/d/b.db-wal", "/a.db-wal", "/d/a.db.wal", "/d/-wal", "/"] {
            assert!(!comes_first(Path::new(path), &is_first), "{path}");
        }
    }

    #[test]
    fn sqlite_is_told_by_the_head_of_the_database_or_of_its_log() {
        assert!(is_of_sqlite(b"SQLite format 3\0", b""));
        assert!(is_of_sqlite(b"encrypted, perhaps", b"\x37\x7f\x06\x82rest"));
        assert!(!is_of_sqlite(b"", b"\0\0\0\0\0\0\0\0") && !is_of_sqlite(b"a text", b"another"));
    }
}

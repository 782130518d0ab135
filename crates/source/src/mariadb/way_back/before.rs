//! What is asked of a server before anything is set aside: whether it can be, and what is written down because it can't be renamed.

use super::{MARK, is_ours};
use crate::mariadb::client::Client;
use crate::mariadb::definers::literal;
use crate::mariadb::look::Series;
use crate::mariadb::meanwhile::BEFORE;
use crate::mariadb::session::Session;
use crate::mariadb::{BESIDE, limits, way_back};
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What is written down of each database.
pub(super) const VIEWS: &str = "views";
pub(super) const CODE: &str = "code";
pub(super) const TRIGGERS: &str = "triggers";
/// What a database has beside tables: how it is called, where it is listed, and by which columns.
pub(super) const THINGS: [(&str, &str, &str, &str); 4] = [
    ("view", "VIEWS", "TABLE_SCHEMA", "TABLE_NAME"),
    ("trigger", "TRIGGERS", "TRIGGER_SCHEMA", "TRIGGER_NAME"),
    ("routine", "ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_NAME"),
    ("event", "EVENTS", "EVENT_SCHEMA", "EVENT_NAME"),
];
/// The first series in which many tables are renamed at once or not at all.
const RENAMES_AT_ONCE: &str = "10.6-MariaDB";
/// Which tables can't be moved: only those of these engines were seen to be moved and moved back with all that is in them. Others keep names of their own, or files.
pub(in crate::mariadb) const FIXED: &str = "TABLE_TYPE <> 'VIEW' AND (ENGINE IS NULL OR ENGINE NOT IN ('InnoDB', 'MyISAM', 'Aria', 'MEMORY', 'CSV') OR CREATE_OPTIONS LIKE '%DIRECTORY=%')";
/// More would take longer than an instant: some milliseconds each.
const TABLES_MAX: u64 = 20_000;
/// How many obstacles are named.
const NAMED_MAX: usize = 5;
const WITHIN: Duration = Duration::from_secs(3600);
/// What a program may print that prints no rows.
const NOTES_BYTES_MAX: usize = 256 << 20;
const COMPLETED: &str = "-- Dump completed";
const TAIL_BYTES: usize = 256;
/// How much of a text one statement holds: its digits fit into what every server takes.
const PART_BYTES: usize = 256 << 10;
/// How many views one program is told of.
const VIEWS_AT_ONCE: usize = 200;

/// What is written down of a database.
pub(super) struct Note {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) made: String,
    pub(super) said: Vec<(&'static str, Vec<u8>)>,
}

/// Returns which of these databases are there, each with a number that is free.
pub(super) fn standing(client: &Client, made: &BTreeSet<String>) -> Result<Vec<(u32, String)>> {
    let rows = client
        .ask("SELECT SCHEMA_NAME, @@GLOBAL.lower_case_table_names FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")?;
    let rows: Vec<(String, bool)> = rows
        .into_iter()
        .filter_map(|row| <[String; 2]>::try_from(row).ok())
        .map(|[name, lower]| (name, lower != "0"))
        .collect();
    let lower: BTreeSet<String> = made.iter().map(|name| name.to_lowercase()).collect();
    let taken = |number: u32| rows.iter().any(|(name, _)| *name == format!("{}_{number}", way_back::NOTES));
    let mut numbers = (1..).filter(|number| !taken(*number));
    let standing = rows.iter().filter_map(|(name, is_lower)| {
        let is_own = ["information_schema", "performance_schema", "mysql", "sys", BESIDE, BEFORE]
            .contains(&name.as_str());
        let is_made = made.contains(name) || (*is_lower && lower.contains(&name.to_lowercase()));
        (is_made && !is_own && !is_ours(name)).then(|| Some((numbers.next()?, name.clone()))).flatten()
    });
    Ok(standing.collect())
}

/// What can't be moved: of which database, and what it is, for people. What was found first comes first.
pub(super) type Fixed = Vec<(String, String)>;

/// Takes out of these databases those that can't be set aside, and returns what is in the way in each. What hangs together with one by keys goes with it.
pub(super) fn leave_fixed(client: &Client, standing: &mut Vec<(u32, String)>) -> Result<Fixed> {
    let mut fixed = mend(client, standing)?;
    standing.retain(|(_, name)| {
        fixed.iter().all(|(database, _)| database != name && database.to_lowercase() != name.to_lowercase())
    });
    while !standing.is_empty() {
        let found = obstacles(client, standing, &fixed)?;
        if found.is_empty() {
            break;
        }
        let before = standing.len();
        standing.retain(|(_, name)| found.iter().all(|(database, _)| database != name));
        // A name that the server writes in another way than we know it would be asked for without end.
        if standing.len() == before {
            standing.clear();
        }
        fixed.extend(found);
    }
    Ok(fixed)
}

/// Returns these databases and all that hang together with one of them by foreign keys.
pub(in crate::mariadb) fn tied(
    client: &Client,
    mut databases: BTreeSet<String>,
    within: Duration,
) -> Result<BTreeSet<String>> {
    let rows = client.ask_within(
        "SELECT DISTINCT CONSTRAINT_SCHEMA, UNIQUE_CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS
            WHERE CONSTRAINT_SCHEMA <> UNIQUE_CONSTRAINT_SCHEMA",
        within,
    )?;
    let ties: Vec<[String; 2]> = rows.into_iter().filter_map(|row| row.try_into().ok()).collect();
    loop {
        let before = databases.len();
        for [from, to] in &ties {
            if databases.contains(from) || databases.contains(to) {
                databases.extend([from.clone(), to.clone()]);
            }
        }
        if databases.len() == before {
            return Ok(databases);
        }
    }
}

/// Lets the server mend what a crash has left to be mended: it does so with a table that is opened, and only then says of which engine it is. Returns what can't be opened
/// all the same: one statement moves all tables, and such a one would end it.
fn mend(client: &Client, standing: &[(u32, String)]) -> Result<Fixed> {
    let names: Vec<String> = standing.iter().map(|(_, name)| literal(name)).collect();
    let rows = client.ask(&format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({}) AND TABLE_TYPE <> 'VIEW' AND (ENGINE IS NULL OR CREATE_OPTIONS IS NULL)",
        names.join(", ")
    ))?;
    let mut closed = Fixed::new();
    for row in rows {
        let Ok([database, table]) = <[String; 2]>::try_from(row) else { continue };
        let open = format!("SELECT 1 FROM {}.{} LIMIT 0", super::quoted(&database), super::quoted(&table));
        // Some are mended by the first that finds them so, and open for the second.
        let Err(error) = client.ask(&open).or_else(|_| client.ask(&open)) else { continue };
        let said = cannot_open(&database, &table, &error);
        // DROP DATABASE ends over such a one, and takes its files with it all the same.
        if error.kind.to_string().contains("storage engine Aria") {
            let give_up = format!("DROP TABLE {}.{}", super::quoted(&database), super::quoted(&table));
            let why = format!(
                "nothing was replaced: {said}. The load would end over it. Mend it so, or give it up with {give_up} (typed twice: the first says the same), and type the same again"
            );
            return Err(Error::new("load into the server", Kind::Program(why)));
        }
        closed.push((database, said));
    }
    Ok(closed)
}

/// Says what the server says of a table that it can't open, and what to type before the recovery.
fn cannot_open(database: &str, table: &str, error: &Error) -> String {
    let repair = format!("REPAIR TABLE {}.{}", super::quoted(database), super::quoted(table));
    format!(
        "{database}.{table} (which the server can not open: {}; before the recovery {repair}, or with USE_FRM behind it, may mend one of MyISAM or Aria)",
        error.kind
    )
}

/// Returns what is in the way in these databases, where some were left as they are before.
fn obstacles(client: &Client, standing: &[(u32, String)], left: &[(String, String)]) -> Result<Fixed> {
    let names: Vec<String> = standing.iter().map(|(_, name)| literal(name)).collect();
    let names = names.join(", ");
    let left: Vec<String> = left.iter().map(|(name, _)| literal(name)).chain(["''".to_owned()]).collect();
    let left = left.join(", ");
    let rows = client.ask(&format!(
        "SELECT TABLE_SCHEMA, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' (', IFNULL(ENGINE, 'which the server can not open'), IF(CREATE_OPTIONS LIKE '%DIRECTORY=%', ', in a folder of its own', ''), ')')
            FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({names}) AND {FIXED};
        SELECT UNIQUE_CONSTRAINT_SCHEMA, CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME, ' (whose foreign key is one to ', UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME, ', and which stays)')
            FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE UNIQUE_CONSTRAINT_SCHEMA IN ({names}) AND CONSTRAINT_SCHEMA NOT IN ({names});
        SELECT CONSTRAINT_SCHEMA, CONCAT(CONSTRAINT_SCHEMA, '.', TABLE_NAME, ' (whose foreign key is one to ', UNIQUE_CONSTRAINT_SCHEMA, '.', REFERENCED_TABLE_NAME, ', which stays)')
            FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA IN ({names}) AND UNIQUE_CONSTRAINT_SCHEMA IN ({left});
        SELECT TABLE_SCHEMA, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' (which has the name of one of ours)') FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ({names}) AND TABLE_NAME = '{MARK}'"
    ))?;
    let mut found = Fixed::new();
    for row in rows {
        let Ok([database, what]) = <[String; 2]>::try_from(row) else { continue };
        // As we know it: the server may write a name in small letters.
        let known = standing
            .iter()
            .map(|(_, name)| name)
            .find(|name| **name == database || name.to_lowercase() == database.to_lowercase());
        found.push((known.cloned().unwrap_or(database), what));
    }
    Ok(found)
}

/// Says what can't be moved.
pub(super) fn named(fixed: &[(String, String)]) -> String {
    let named = fixed.iter().take(NAMED_MAX).map(|(_, what)| what.as_str()).collect::<Vec<_>>().join(", ");
    match fixed.len().saturating_sub(NAMED_MAX) {
        0 => format!("{named} can't be moved"),
        more => format!("{named} and {more} more can't be moved"),
    }
}

/// Says why what stands there can't be set aside. `bytes` are to come.
pub(super) fn refuses(client: &Client, standing: &[(u32, String)], bytes: u64) -> Result<Option<String>> {
    let names: Vec<String> = standing.iter().map(|(_, name)| literal(name)).collect();
    let names = names.join(", ");
    let head = client.ask(&format!(
        "SELECT VERSION(), @@GLOBAL.datadir, COUNT(*), IFNULL(SUM(DATA_LENGTH + INDEX_LENGTH), 0) DIV 1 FROM information_schema.TABLES
            WHERE TABLE_SCHEMA IN ({names}) AND TABLE_TYPE <> 'VIEW'"
    ))?;
    let said = |column: usize| head.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    if Series::of(said(0)) < Series::of(RENAMES_AT_ONCE) {
        return Ok(Some(
            "the server is older than MariaDB 10.6, and does not rename tables all at once".into(),
        ));
    }
    if said(2).parse::<u64>().unwrap_or_default() > TABLES_MAX {
        return Ok(Some(format!("there are {} tables, and that many take long to rename", said(2))));
    }
    // A server that cuts what each session is given cuts what is written down, too.
    if let Some(why) = limits::cut(client)? {
        return Ok(Some(why));
    }
    // Both lie there for the time of the load.
    let needed = bytes.max(said(3).parse().unwrap_or_default());
    let needed = needed + needed / 10;
    Ok(match free(client, Path::new(said(1))) {
        Some(free) if free < needed => Some(format!(
            "there is no room for both in {}: {} MiB are needed, and {} are free",
            said(1),
            needed >> 20,
            free >> 20
        )),
        _ => None,
    })
}

/// Returns the room where the server's files lie, if that is on this machine.
fn free(client: &Client, folder: &Path) -> Option<u64> {
    if !client.address.is_here() || !folder.join("ibdata1").exists() {
        return None;
    }
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns what is written down: how each database is made, and what in it is no table.
pub(super) fn notes(client: &Client, standing: &[(u32, String)]) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    for (number, name) in standing {
        let row = client.ask(&format!("SHOW CREATE DATABASE IF NOT EXISTS {}", super::quoted(name)))?;
        let made = row.into_iter().next().and_then(|row| row.into_iter().nth(1)).unwrap_or_default();
        let views = client.ask(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'VIEW' AND TABLE_COMMENT = 'VIEW'",
            literal(name)
        ))?;
        let mut said = Vec::new();
        // Without a lock: it would be one on all tables, and a view that is broken would end it.
        let only = ["--no-create-info", "--no-data", "--no-create-db", "--skip-lock-tables"];
        let triggers = ["--skip-routines", "--skip-events", "--triggers", "--databases", "--", name.as_str()];
        said.push((TRIGGERS, printed(client, &[&only[..], &triggers[..]].concat(), true)?));
        let code =
            ["--skip-triggers", "--routines", "--events", "--force", "--databases", "--", name.as_str()];
        said.push((CODE, printed(client, &[&only[..], &code[..]].concat(), false)?));
        for some in views.concat().chunks(VIEWS_AT_ONCE) {
            let mut words = vec![
                "--no-data",
                "--skip-triggers",
                "--skip-add-drop-table",
                "--skip-lock-tables",
                "--force",
                "--",
                name.as_str(),
            ];
            words.extend(some.iter().map(String::as_str));
            said.push((VIEWS, printed(client, &words, false)?));
        }
        notes.push(Note { number: *number, name: name.clone(), made, said });
    }
    Ok(notes)
}

/// Returns what `mariadb-dump` prints. What it can't read costs only itself, unless all of it is needed.
fn printed(client: &Client, words: &[&str], is_all_needed: bool) -> Result<Vec<u8>> {
    let wrong = |why: String| Error::new("write down what stands there", Kind::Program(why));
    let program = client.program("mariadb-dump", words.iter().map(|&word| word.to_owned()))?.within(WITHIN);
    let (text, mut running) = program.printed(NOTES_BYTES_MAX).map_err(wrong)?;
    let ended = running.end(WITHIN);
    let tail = text.get(text.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
    let is_over = String::from_utf8_lossy(tail).contains(COMPLETED);
    match ended {
        Err(why) if is_all_needed || !is_over => Err(wrong(why)),
        _ if !is_over => Err(wrong("mariadb-dump ended without its last line".to_owned())),
        _ => Ok(text),
    }
}

/// Writes a text down in parts.
pub(super) fn write(keeper: &mut Session<'_>, number: u32, kind: &str, text: &[u8]) -> Result<()> {
    for part in text.chunks(PART_BYTES) {
        let digits = part.iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02X}");
            digits
        });
        keeper.say(&format!(
            "INSERT INTO `{}`.`said` (`number`, `kind`, `text`) VALUES ({number}, '{kind}', X'{digits}');\n",
            way_back::NOTES
        ))?;
    }
    Ok(())
}

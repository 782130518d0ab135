//! What a server says of itself before and after a dump, and what follows from that. Pure, but for the question.

use super::client::Client;
use super::rowless::{Rows, rows};
use super::way_back;
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Without these a dump would silently lack something: tables, views, triggers or events that the user can't see.
const NEEDED: [&str; 4] = ["EVENT", "SELECT", "SHOW VIEW", "TRIGGER"];
/// The first series whose users lie in `mysql.global_priv`.
const OLDEST: Series = Series(10, 4);
/// What is said of a view that is listed, but whose columns nobody can name: `mariadb-dump` can't either, and no view could be made over it.
const BLIND: &str = "a function in it, or somebody it works for, isn't there, or the user may not EXECUTE the function (docs/mariadb.md)";
/// How many names one note holds: more help nobody.
const NAMES_MAX: usize = 20;

/// What is asked, in this order: the time must not be later than what it is compared with. Nothing of the server's own is looked at.
const QUESTION: &str = "\
SELECT 'version', VERSION(), @@log_bin, UNIX_TIMESTAMP() DIV 1;
SHOW GRANTS;
SELECT 'engine', ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES';
SELECT IF(GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint', 'exact', 'opens'), TABLE_SCHEMA, TABLE_NAME FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
    AND (ORDINAL_POSITION = 1 OR GENERATION_EXPRESSION = 'ROW START' AND DATA_TYPE = 'bigint');
SELECT 'rounded', TABLE_SCHEMA, TABLE_NAME, MAX(COLUMN_KEY = 'PRI') FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
    GROUP BY BINARY TABLE_SCHEMA, BINARY TABLE_NAME HAVING MAX(COLUMN_TYPE LIKE 'float%' AND COLUMN_TYPE NOT LIKE 'float(%');
SELECT 'table', TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, UNIX_TIMESTAMP(CREATE_TIME) DIV 1, UNIX_TIMESTAMP(UPDATE_TIME) DIV 1, TABLE_COMMENT, CREATE_OPTIONS
    FROM information_schema.TABLES
    WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys');
SELECT 'database', SCHEMA_NAME FROM information_schema.SCHEMATA";

/// How the server calls a folder of its data directory that no database of its own making can have: `lost+found`, `.ssh`. It lists them all the same, can't
/// open some, and makes none.
const STRAY: &str = "#mysql50#";

/// The engines whose tables can lie in folders of their own.
const HAS_FOLDERS: [&str; 3] = ["InnoDB", "MyISAM", "Aria"];

/// Who views and routines work for.
const DEFINERS: &str = "\
SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')";

/// Whether the server can name its position. Where the log holds an event that is longer than `max_allowed_packet`, it can't, and `mariadb-dump`
/// 10.11 crashes over the answer.
const POSITION: &str = "SELECT BINLOG_GTID_POS(
    (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'BINLOG_SNAPSHOT_FILE'),
    (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'BINLOG_SNAPSHOT_POSITION'))";

/// The two first numbers of a version: what decides whether two fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series(u32, u32);

impl Series {
    /// Returns the series in what a program or a server of MariaDB says of its version; of MySQL there is none.
    pub(super) fn of(said: &str) -> Option<Self> {
        let version =
            said.split(|c: char| c.is_whitespace() || c == ',').find(|word| word.contains("-MariaDB"))?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// What a server says of itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    version: String,
    /// Whether it keeps a binary log.
    has_log: bool,
    /// Whether it can tell where in it it is.
    has_position: bool,
    /// Seconds, by its own clock, before it looked at its tables.
    second: u64,
    privileges: BTreeSet<String>,
    /// The engines that know transactions.
    engines: BTreeSet<String>,
    /// Tables whose history counts transactions, which no dump can hold.
    exact: BTreeSet<(String, String)>,
    /// Tables with columns of which a client is told six digits, and the server may have more.
    rounded: BTreeSet<(String, String)>,
    /// Those of them whose rows a log finds by all that is in them, since they have no key.
    keyless: BTreeSet<(String, String)>,
    /// What a recovery that was ended has set aside: databases, and a table of ours in others.
    aside: BTreeSet<String>,
    marked: BTreeSet<String>,
    /// Folders that are no databases.
    strays: BTreeSet<String>,
    /// Those in which tables lie all the same.
    filled: BTreeSet<String>,
    /// In whose name views and routines work: host and user. Of a role there is no host.
    definers: BTreeSet<(String, String)>,
    tables: BTreeMap<(String, String), Table>,
}

#[derive(Debug)]
struct Table {
    kind: String,
    engine: Option<String>,
    created: Option<u64>,
    updated: Option<u64>,
    comment: String,
    /// What it was made with, as the server says it.
    options: String,
}

/// A table that lies in a folder of its own.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) engine: String,
    /// As a statement says them.
    pub(super) folders: String,
}

impl Table {
    /// A table, or a view, that the server itself can't open: the dump would end there.
    fn is_broken(&self) -> bool {
        self.engine.is_none() && !(self.kind == "VIEW" && self.comment == "VIEW")
    }

    /// Returns where its rows are.
    fn rows(&self) -> Rows {
        self.engine.as_ref().map_or(Rows::InDump, |engine| rows(engine, &self.options))
    }
}

impl Facts {
    /// Asks. What changed in this very second may change again without a trace, so it is waited for the next one, twice at most.
    pub(super) fn ask(client: &Client) -> Result<Self> {
        let mut facts = Self::now(client)?;
        for _ in 0..2 {
            if !facts.is_fresh() {
                break;
            }
            let until = Instant::now() + Duration::from_millis(1050);
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
            facts = Self::now(client)?;
        }
        let may_ask =
            ["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"].iter().any(|one| facts.has_privilege(one));
        if facts.has_log && may_ask {
            let answer = client.ask(POSITION);
            facts.has_position =
                answer.is_ok_and(|rows| rows.concat().first().is_some_and(|position| position != "NULL"));
        }
        if facts.tables.values().any(|table| table.kind == "VIEW") {
            match client.ask(DEFINERS) {
                Ok(rows) => facts.definers = rows.concat().iter().filter_map(|one| definer(one)).collect(),
                Err(error) => tracing::warn!("who the views work for is not known: {error}"),
            }
        }
        match Series::of(&facts.version) {
            Some(series) if series >= OLDEST => Ok(facts),
            Some(series) => Err(unfit(
                client,
                &format!(
                    "MariaDB {series} is too old: {OLDEST} is the first that can be dumped with its users"
                ),
            )),
            None => Err(unfit(
                client,
                &format!(
                    "{} is no version of MariaDB: dump a MySQL server with its own mysqldump, as source.command",
                    facts.version
                ),
            )),
        }
    }

    /// Asks, and takes the answer as it is.
    pub(super) fn now(client: &Client) -> Result<Self> {
        client.ask(QUESTION).map(Self::read)
    }

    fn read(rows: Vec<Vec<String>>) -> Self {
        let mut facts = Self::default();
        let mut opens = BTreeSet::new();
        for row in rows {
            let mut row = row.into_iter();
            let mut next = || row.next().filter(|value| value != "NULL").unwrap_or_default();
            let number = |text: String| text.parse().ok();
            match next().as_str() {
                "version" => {
                    (facts.version, facts.has_log) = (next(), next() == "1");
                    facts.second = number(next()).unwrap_or(0);
                }
                "engine" => drop(facts.engines.insert(next())),
                "exact" => {
                    facts.exact.extend(Some((next(), next())).filter(|name| !way_back::is_ours(&name.0)));
                }
                "rounded" => {
                    let (name, has_key) = ((next(), next()), next() == "1");
                    if !way_back::is_ours(&name.0) {
                        facts.keyless.extend((!has_key).then(|| name.clone()));
                        facts.rounded.insert(name);
                    }
                }
                "opens" => drop(opens.insert((next(), next()))),
                "database" => {
                    let name = next();
                    match way_back::is_ours(&name) {
                        true => drop(facts.aside.insert(name)),
                        false => facts.strays.extend(Some(name).filter(|name| name.starts_with(STRAY))),
                    }
                }
                "table" => {
                    let name: (String, String) = (next(), next());
                    let table = Table {
                        kind: next(),
                        engine: Some(next()).filter(|engine| !engine.is_empty()),
                        created: number(next()),
                        updated: number(next()),
                        comment: next(),
                        options: next(),
                    };
                    if name.0.starts_with(STRAY) {
                        facts.filled.insert(name.0);
                    } else if name.1 == way_back::MARK {
                        facts.marked.insert(name.0);
                    } else if !way_back::is_ours(&name.0) {
                        facts.tables.insert(name, table);
                    }
                }
                grant => facts.privileges.extend(everywhere(grant)),
            }
        }
        if facts.has_privilege("SELECT") {
            for (name, table) in &mut facts.tables {
                if table.kind == "VIEW" && table.comment == "VIEW" && !opens.contains(name) {
                    BLIND.clone_into(&mut table.comment);
                }
            }
        }
        facts
    }

    fn is_fresh(&self) -> bool {
        self.tables.values().any(|table| {
            let updated = if self.has_transactions(table) { None } else { table.updated };
            table.created.max(updated) >= Some(self.second)
        })
    }

    fn has_transactions(&self, table: &Table) -> bool {
        table.kind == "VIEW" || table.engine.as_ref().is_some_and(|engine| self.engines.contains(engine))
    }

    fn has_privilege(&self, privilege: &str) -> bool {
        self.privileges.contains(privilege) || self.privileges.contains("ALL PRIVILEGES")
    }

    /// Returns the server's series.
    pub(super) fn series(&self) -> Option<Series> {
        Series::of(&self.version)
    }

    /// Returns the server's version, as it says it.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Returns in whose name views and routines work, by host and user; nobody where there are no views.
    pub(super) fn definers(&self) -> &BTreeSet<(String, String)> {
        &self.definers
    }

    /// Returns the folders that are listed as databases and are none.
    pub(super) fn strays(&self) -> impl Iterator<Item = &String> {
        self.strays.iter()
    }

    /// Returns the databases that a recovery which was ended has left.
    pub(super) fn aside(&self) -> impl Iterator<Item = &String> {
        self.aside.iter()
    }

    /// Returns the databases in which it has left a table.
    pub(super) fn marked(&self) -> impl Iterator<Item = &String> {
        self.marked.iter()
    }

    /// Returns the tables that lie in folders of their own.
    pub(super) fn elsewhere(&self) -> Vec<Elsewhere> {
        let elsewhere = self.tables.iter().filter_map(|((database, name), table)| {
            let engine = table.engine.clone().filter(|engine| HAS_FOLDERS.contains(&engine.as_str()))?;
            let folders = Some(folders_in(&table.options)).filter(|folders| !folders.is_empty())?;
            Some(Elsewhere { database: database.clone(), table: name.clone(), engine, folders })
        });
        elsewhere.collect()
    }

    /// Returns the full names of what has this name, in whichever database.
    pub(super) fn called(&self, table: &str) -> Vec<String> {
        self.tables.keys().filter(|(_, name)| name == table).map(shown).collect()
    }

    /// Returns whether the position in the binary log can be had.
    pub(super) fn has_position(&self) -> bool {
        self.has_position
    }

    /// Returns whether tables keep a history, and a dump can hold it.
    pub(super) fn has_history(&self) -> bool {
        self.exact.is_empty() && self.tables.values().any(|table| table.kind == "SYSTEM VERSIONED")
    }

    /// Returns what the dump must leave out, `database.table`, lest it ends there.
    pub(super) fn broken(&self) -> impl Iterator<Item = String> {
        self.tables.iter().filter(|(_, table)| table.is_broken()).map(|(name, _)| shown(name))
    }

    /// Returns what is known to be missing before anything was dumped.
    pub(super) fn lacks(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let missing: Vec<_> = NEEDED.into_iter().filter(|needed| !self.has_privilege(needed)).collect();
        if !missing.is_empty() {
            notes.push(format!(
                "the user can't see all there is: GRANT {} ON *.* to it (docs/mariadb.md)",
                missing.join(", ")
            ));
        }
        // Its notes alone are nothing that is missed.
        if self.aside.iter().any(|name| name != way_back::NOTES) {
            notes.push(format!(
                "a recovery was ended on this server before its time, and what stood there before lies in {}, which is not in the dump: type the recovery again, which first puts it back (docs/mariadb.md)",
                named(self.aside.iter().cloned())
            ));
        }
        // An empty one, or one without tables, is nothing that anybody misses: each file system has its lost+found.
        notes.extend(self.filled.iter().take(NAMES_MAX).map(|name| {
            format!(
                "the tables in {} are left out: no database can have that name, and none can be made of it; rename its folder {} while the server is stopped, or move the tables into another database",
                plain(name),
                plain(name.trim_start_matches(STRAY))
            )
        }));
        let broken = self.tables.iter().filter(|(_, table)| table.is_broken());
        notes.extend(broken.take(NAMES_MAX).map(|(name, table)| {
            format!("{} is left out, since the server can't open it: {}", plain(&shown(name)), table.comment)
        }));
        let rowless = named(self.with_rows(Rows::InFiles));
        if !rowless.is_empty() {
            notes.push(format!(
                "the rows of {rowless} are not in the dump, since mariadb-dump leaves out what lies in files: save those with a system of their own (source.files), or ALTER TABLE … ENGINE=InnoDB"
            ));
        }
        if !self.exact.is_empty() {
            let names = named(self.exact.iter().map(shown));
            notes.push(format!("the history of rows is left out, since {names} counts it by transactions"));
        }
        notes
    }

    /// Returns what is to be known of it that is no fault.
    pub(super) fn notes(&self) -> Vec<String> {
        let names = named(self.with_rows(Rows::Elsewhere));
        let said = || {
            format!("the rows of {names} are not in the dump, since they lie elsewhere than on this server")
        };
        // A view has them too, and no rows of its own.
        let is_table =
            |name: &&(String, String)| self.tables.get(*name).is_none_or(|table| table.kind != "VIEW");
        let rounded = named(self.rounded.iter().filter(is_table).map(shown));
        let keyless = named(self.keyless.iter().filter(is_table).map(shown));
        let digits = || {
            let unfound = match keyless.is_empty() || !self.has_log {
                true => String::new(),
                false => format!(
                    ". In {keyless}, without a primary key, an UPDATE or DELETE in the binary log may not find its row, and ends a recovery there: give them one"
                ),
            };
            format!(
                "the FLOAT columns of {rounded} are dumped with six digits, as mariadb-dump writes them: make them DOUBLE, or copy the files (copy = \"physical\"){unfound}"
            )
        };
        let rounded = (!rounded.is_empty()).then(digits);
        (!names.is_empty()).then(said).into_iter().chain(rounded).collect()
    }

    /// Returns the names of tables whose rows are there, with their engines.
    fn with_rows(&self, place: Rows) -> impl Iterator<Item = String> {
        self.tables
            .iter()
            .filter(move |(_, table)| table.rows() == place)
            .map(|(name, table)| format!("{} ({})", shown(name), table.engine.as_deref().unwrap_or_default()))
    }

    /// Returns the tables of before that were altered, renamed, dropped or made anew since. One that is new only came after the
    /// instant of the dump, as all that is in it.
    pub(super) fn reshaped(&self, after: &Self) -> Option<String> {
        let changed = self.tables.iter().filter(|(name, table)| {
            let same = after
                .tables
                .get(*name)
                .is_some_and(|now| now.created == table.created && now.engine == table.engine);
            !same && table.kind != "VIEW"
        });
        let names = named(changed.map(|(name, _)| shown(name)));
        (!names.is_empty()).then(|| format!("altered, renamed or dropped while it was dumped: {names}"))
    }

    /// Returns the tables without transactions that aren't known to be of the dump's instant: whoever wrote to them meanwhile was not
    /// kept out. Only MyISAM tells reliably that nobody did.
    pub(super) fn unsteady(&self, after: &Self) -> Option<String> {
        let unsteady = after.tables.iter().filter(|(name, now)| {
            let rested = now.engine.as_deref() == Some("MyISAM")
                && self.tables.get(*name).is_some_and(|before| {
                    before.updated == now.updated && before.updated < Some(self.second)
                });
            !now.is_broken() && !after.has_transactions(now) && !rested && now.rows() == Rows::InDump
        });
        let names = named(unsteady.map(|(name, table)| {
            format!("{} ({})", shown(name), table.engine.as_deref().unwrap_or_default())
        }));
        (!names.is_empty()).then(|| {
            format!("without transactions, so maybe not of the same instant as the rest: {names}; ALTER TABLE … ENGINE=InnoDB, or lock=all in the url")
        })
    }
}

/// Returns what one line of `SHOW GRANTS` allows in all databases. Those of roles that are in force are among the lines.
pub(super) fn everywhere(grant: &str) -> impl Iterator<Item = String> {
    let granted = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON *.* TO "));
    granted.map_or("", |(privileges, _)| privileges).split(", ").map(str::to_owned)
}

fn unfit(client: &Client, why: &str) -> Error {
    Error::new(client.address.to_string(), Kind::Invalid(why.to_owned()))
}

fn shown((database, table): &(String, String)) -> String {
    format!("{database}.{table}")
}

/// Returns a text as it can stand in a line: names may hold line ends and worse.
pub(super) fn plain(text: &str) -> String {
    plain::line(text).into_owned()
}

/// Reads who something works for, `user@host`: a host has no such sign, a user may.
fn definer(text: &str) -> Option<(String, String)> {
    let (user, host) = text.rsplit_once('@')?;
    Some((host.to_owned(), user.to_owned()))
}

/// Returns the folders that a table was told to lie in, as a statement says them.
fn folders_in(options: &str) -> String {
    let folders = ["DATA DIRECTORY='", "INDEX DIRECTORY='"].iter().filter_map(|start| {
        let (_, rest) = options.split_once(start)?;
        let (folder, _) = rest.split_once('\'')?;
        Some(format!("{start}{folder}'"))
    });
    folders.collect::<Vec<_>>().join(" ")
}

/// Returns the names in one line, and how many more there are.
fn named(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.map(|name| plain(&name)).collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let text = names.join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(second: u64, tables: &[(&str, &str, u64, u64)]) -> Facts {
        let mut rows = vec![format!("version\t10.11.6-MariaDB-log\t1\t{second}"), "engine\tInnoDB".into()];
        for (name, engine, created, updated) in tables {
            rows.push(format!("table\tshop\t{name}\tBASE TABLE\t{engine}\t{created}\t{updated}\t"));
        }
        Facts::read(rows.iter().map(|row| row.split('\t').map(str::to_owned).collect()).collect())
    }

    #[test]
    fn versions_are_read_where_programs_and_servers_say_them() {
        for (said, series) in [
            ("10.11.19-MariaDB-0+deb12u1-log", Some(Series(10, 11))),
            (
                "mariadb-dump  Ver 10.19 Distrib 10.6.18-MariaDB, for debian-linux-gnu (x86_64)",
                Some(Series(10, 6)),
            ),
            (
                "mariadb-dump from 11.4.2-MariaDB, client 10.19 for debian-linux-gnu (x86_64)",
                Some(Series(11, 4)),
            ),
            ("8.0.36", None),
            ("mysqldump  Ver 8.0.36 for Linux on x86_64", None),
        ] {
            assert_eq!(Series::of(said), series, "{said}");
        }
        assert!(Series(10, 11) > Series(10, 6) && Series(11, 0) > Series(10, 11));
    }

    #[test]
    fn a_table_that_is_new_is_no_trouble_and_any_other_change_is() {
        let before = facts(100, &[("a", "InnoDB", 1, 1), ("b", "InnoDB", 2, 2)]);
        let then = |tables: &[_]| before.reshaped(&facts(200, tables));
        assert_eq!(then(&[("a", "InnoDB", 1, 150), ("b", "InnoDB", 2, 2), ("c", "InnoDB", 150, 150)]), None);
        assert!(then(&[("a", "InnoDB", 1, 1)]).unwrap().ends_with("shop.b"));
        assert!(then(&[("a", "InnoDB", 2, 1), ("b", "InnoDB", 1, 1)]).unwrap().ends_with("shop.a, shop.b"));
    }

    #[test]
    fn only_a_myisam_table_that_rested_is_known_to_be_of_the_same_instant() {
        let then = |engine, before, after| {
            facts(100, &[("a", engine, 1, before)]).unsteady(&facts(200, &[("a", engine, 1, after)]))
        };
        assert_eq!(then("InnoDB", 50, 150), None);
        assert_eq!(then("MyISAM", 50, 50), None);
        assert!(then("MyISAM", 50, 150).unwrap().contains("shop.a (MyISAM)"));
        assert!(then("MyISAM", 100, 100).is_some(), "written in the second of the look");
        assert!(then("Aria", 50, 50).is_some(), "Aria writes late");
    }

    #[test]
    fn what_the_user_may_not_see_is_named() {
        let mut facts = facts(100, &[]);
        facts.privileges = ["SELECT", "TRIGGER"].map(str::to_owned).into();
        assert!(facts.lacks().concat().contains("GRANT EVENT, SHOW VIEW ON *.*"));
    }

    #[test]
    fn a_folder_that_is_no_database_is_nothing_that_is_missed_unless_tables_lie_in_it() {
        let row = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let mut rows = vec![
            row("version|10.11.6-MariaDB|0|100"),
            row("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"),
            row("database|#mysql50#lost+found"),
            row("database|shop"),
        ];
        let facts = Facts::read(rows.clone());
        assert_eq!((facts.strays().count(), facts.lacks()), (1, Vec::new()));
        rows.push(row("table|#mysql50#lost+found|a|BASE TABLE|InnoDB|1|1||"));
        let notes = Facts::read(rows).lacks();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes.concat().contains("the tables in #mysql50#lost+found are left out"), "{notes:?}");
    }

    #[test]
    fn what_a_recovery_has_set_aside_is_in_no_dump_and_is_said() {
        let row = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let facts = Facts::read(vec![
            row("version|10.11.6-MariaDB|0|100"),
            row("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`"),
            row("table|shop|a|BASE TABLE|InnoDB|1|1||"),
            row("table|shop|releve_was_here|BASE TABLE|InnoDB|1|1||"),
            row("table|releve_was_1|a|BASE TABLE|CONNECT|1|1||"),
            row("database|releve_was_1"),
            row("database|shop"),
        ]);
        assert_eq!(facts.tables.len(), 1);
        assert_eq!(facts.marked().collect::<Vec<_>>(), ["shop"]);
        let lacks = facts.lacks();
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert!(lacks.concat().contains("lies in releve_was_1, which is not in the dump"), "{lacks:?}");
    }

    #[test]
    fn a_view_without_columns_is_left_out_and_one_with_them_is_not() {
        let row = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let facts = Facts::read(vec![
            row("version|10.11.6-MariaDB|0|100"),
            row("GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO `releve`@`localhost`"),
            row("opens|shop|good"),
            row("table|shop|blind|VIEW|NULL|NULL|NULL|VIEW|NULL"),
            row("table|shop|good|VIEW|NULL|NULL|NULL|VIEW|NULL"),
        ]);
        assert_eq!(facts.broken().collect::<Vec<_>>(), ["shop.blind"]);
        assert!(facts.lacks().concat().starts_with("shop.blind is left out, since"), "{:?}", facts.lacks());
    }

    #[test]
    fn where_tables_lie_outside_and_who_a_view_works_for_is_read_as_the_server_says_it() {
        let options = "max_rows=5 DATA DIRECTORY='/srv/fast disk/' INDEX DIRECTORY='/srv/b/'";
        assert_eq!(folders_in(options), "DATA DIRECTORY='/srv/fast disk/' INDEX DIRECTORY='/srv/b/'");
        assert_eq!(folders_in("partitioned"), "");
        let of = |host: &str, user: &str| Some((host.to_owned(), user.to_owned()));
        assert_eq!(definer("a@b@10.%"), of("10.%", "a@b"));
        assert_eq!(definer("readers@"), of("", "readers"));
    }

    #[test]
    fn rows_that_are_in_no_dump_make_it_incomplete_where_they_are_the_servers_own() {
        let facts = facts(
            100,
            &[
                ("a", "InnoDB", 1, 1),
                ("feed", "CONNECT", 1, 1),
                ("far", "FEDERATED", 1, 1),
                ("all", "MRG_MyISAM", 1, 1),
            ],
        );
        let lacks = facts.lacks().concat();
        assert!(lacks.contains("the rows of shop.feed (CONNECT) are not in the dump"), "{lacks}");
        assert_eq!(facts.notes().len(), 1, "{:?}", facts.notes());
        assert!(facts.notes().concat().contains("shop.far (FEDERATED)"), "{:?}", facts.notes());
        // No advice helps them: they keep no rows that could be of another instant.
        assert_eq!(facts.unsteady(&facts), None);
    }

    #[test]
    fn a_thousand_names_are_not_one_line() {
        let names = named((0..1000).map(|n| n.to_string()));
        assert!(names.ends_with("19 and 980 more"), "{names}");
    }
}

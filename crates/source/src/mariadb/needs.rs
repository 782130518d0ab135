//! What a server must have for a dump and a log to go into it: time zones, plugins and engines that not every server has. Neither says it at its beginning,
//! and where it is missing the load would end there, with everything before already replaced: so both are looked through first.

use super::USERS_CUT;
use super::binlog::printed::{Printed, Said, line};
use super::files::Files;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

/// `NO_ENGINE_SUBSTITUTION` in the number that a log writes for `sql_mode`.
const NO_SUBSTITUTION: u64 = 1 << 30;
/// How the lines of a dump and of a log begin that are looked at.
const ZONE_IN_DUMP: &[u8] = b"/*!50003 SET time_zone             = '";
const ZONE_IN_LOG: &str = "SET @@session.time_zone='";
const MODE_IN_LOG: &str = "SET @@session.sql_mode=";
const USERS_IN_DUMP: &[u8] = b"INSERT INTO `global_priv`";
const PLUGIN_IN_DUMP: &str = "\\\"plugin\\\":\\\"";

/// What is needed. Names are in small letters but those of zones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) zones: BTreeSet<String>,
    /// How users log in whom the log makes.
    pub(super) logins: BTreeSet<String>,
    /// How users log in whom the dump has: they come back without it, but can't log in.
    pub(super) logins_later: BTreeSet<String>,
    pub(super) engines: BTreeSet<String>,
    /// The log sets passwords, in plain words or not: a server may have rules for them.
    pub(super) has_passwords: bool,
    /// Not all users are known to be in the dump.
    pub(super) users_are_cut: bool,
    /// InnoDB tables of the dump are compressed by pages: a server may take no writes to such.
    pub(super) has_compressed: bool,
    /// Two names that differ only in capital letters.
    pub(super) twins: Option<(String, String)>,
    /// What of the log a client reads from files.
    pub(super) files: Files,
}

impl Needs {
    /// Adds what a dump needs.
    pub(super) fn read_dump(&mut self, dump: impl Read) -> io::Result<()> {
        let mut from = BufReader::with_capacity(256 << 10, dump);
        let (mut kept, mut tail) = (Vec::new(), Vec::new());
        let (mut in_table, mut in_users, mut database) = (false, false, String::new());
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        while line(&mut from, &mut kept, &mut tail)? {
            if in_users || kept.starts_with(USERS_IN_DUMP) {
                let text = String::from_utf8_lossy(&kept);
                for rest in text.split(PLUGIN_IN_DUMP).skip(1) {
                    let name = rest.split('\\').next().unwrap_or_default();
                    self.logins_later.insert(name.to_lowercase());
                }
                in_users = !tail.trim_ascii_end().ends_with(b";");
            } else if let Some(rest) = kept.strip_prefix(ZONE_IN_DUMP) {
                self.zone(&String::from_utf8_lossy(rest));
            } else if kept.starts_with(USERS_CUT.as_bytes()) {
                self.users_are_cut = true;
            } else if kept.starts_with(b"CREATE TABLE `") {
                in_table = true;
                let table = format!("{database}.{}", named(&kept));
                self.twin(&mut names, table);
            } else if kept.starts_with(b"CREATE DATABASE ") {
                database = named(&kept);
                self.twin(&mut names, database.clone());
            } else if in_table && let Some(rest) = kept.strip_prefix(b") ENGINE=") {
                in_table = false;
                let rest = String::from_utf8_lossy(rest);
                self.has_compressed |= rest.contains(" ROW_FORMAT=COMPRESSED");
                let engine = rest.split(|letter: char| letter.is_whitespace() || letter == ';').next();
                self.engines.extend(engine.map(str::to_lowercase));
            }
            kept.clear();
        }
        Ok(())
    }

    /// Adds what a log needs, as `mariadb-binlog` prints it.
    pub(super) fn read_log(&mut self, printed: impl Read) -> io::Result<()> {
        let mut printed = Printed::new(printed);
        let mut mode = NO_SUBSTITUTION;
        while let Some(said) = printed.read()? {
            let Said::Statement(text) = said else { continue };
            if !printed.is_rows {
                self.files.notice(&text);
                // What of it nobody has looked at may say anything.
                self.files.has_others |= printed.is_cut;
            }
            if let Some(rest) = text.strip_prefix(ZONE_IN_LOG) {
                self.zone(rest);
            } else if let Some(rest) = text.strip_prefix(MODE_IN_LOG) {
                mode = rest.trim().parse().unwrap_or(mode);
            } else if text.starts_with("SET PASSWORD") {
                self.has_passwords = true;
            } else if !text.starts_with("BINLOG") && !text.starts_with("SET ") {
                self.statement(&text, mode & NO_SUBSTITUTION != 0);
            }
        }
        Ok(())
    }

    /// Adds a zone, if it is one with a name, from what begins with it and goes on behind a quote.
    fn zone(&mut self, text: &str) {
        let zone = text.split('\'').next().unwrap_or_default();
        let is_plain = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/+-".contains(&byte));
        let is_named = zone.starts_with(|letter: char| letter.is_ascii_alphabetic());
        if is_plain && is_named && !zone.eq_ignore_ascii_case("SYSTEM") {
            self.zones.insert(zone.to_owned());
        }
    }

    /// Remembers a name that is another one only if capital letters count.
    fn twin(&mut self, names: &mut BTreeMap<String, String>, name: String) {
        let known = names.entry(name.to_lowercase()).or_insert_with(|| name.clone());
        if *known != name && self.twins.is_none() {
            self.twins = Some((known.clone(), name));
        }
    }

    /// Adds what one statement needs. An engine that isn't there may be another's place where the mode allows that.
    fn statement(&mut self, text: &str, needs_engine: bool) {
        let mut words = words(text);
        let mut start = Vec::new();
        while let Some(word) = words.next_plain() {
            match word.as_str() {
                "or" | "replace" | "temporary" | "if" | "not" | "exists" | "online" | "ignore" => {}
                _ => start.push(word),
            }
            if start.len() == 2 {
                break;
            }
        }
        match start.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["create" | "alter", "user"] | ["grant", _] => self.logins_in(words),
            ["create" | "alter", "table"] if needs_engine => self.engine_in(words),
            _ => {}
        }
    }

    fn logins_in(&mut self, mut words: Words<'_>) {
        let mut is_via = false;
        while let Some(word) = words.next() {
            match word {
                Word::Plain(word) if word == "identified" => match words.next() {
                    Some(Word::Plain(word)) if word == "by" => self.has_passwords = true,
                    Some(Word::Plain(word)) if word == "via" || word == "with" => {
                        is_via = true;
                        self.logins.extend(words.next().and_then(Word::name));
                    }
                    _ => {}
                },
                Word::Plain(word) if word == "or" && is_via => {
                    self.logins.extend(words.next().and_then(Word::name));
                }
                Word::Sign(',') => is_via = false,
                _ => {}
            }
        }
    }

    fn engine_in(&mut self, mut words: Words<'_>) {
        let mut depth = 0_i32;
        while let Some(word) = words.next() {
            match word {
                Word::Sign('(') => depth += 1,
                Word::Sign(')') => depth -= 1,
                // A column may be called so.
                Word::Plain(word) if word == "engine" && depth == 0 => {
                    if let Some(Word::Sign('=')) = words.next() {
                        self.engines.extend(words.next().and_then(Word::name));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the databases that a dump makes.
pub(super) fn databases(dump: impl Read) -> io::Result<BTreeSet<String>> {
    let mut from = BufReader::with_capacity(256 << 10, dump);
    let (mut kept, mut tail, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
    while line(&mut from, &mut kept, &mut tail)? {
        if kept.starts_with(b"CREATE DATABASE ") {
            names.insert(named(&kept));
        }
        kept.clear();
    }
    Ok(names)
}

/// Returns the first name in backticks.
fn named(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let rest = text.split_once('`').map_or("", |(_, rest)| rest);
    let mut name = String::new();
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '`' && letters.next_if_eq(&'`').is_none() {
            break;
        }
        name.push(letter);
    }
    name
}

/// A word of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// In small letters.
    Plain(String),
    /// What stood in quotes.
    Quoted(String),
    Sign(char),
}

impl Word {
    /// Returns what it names: a name may stand in quotes, too.
    fn name(self) -> Option<String> {
        match self {
            Self::Plain(word) => Some(word),
            Self::Quoted(word) => Some(word.to_lowercase()),
            Self::Sign(_) => None,
        }
    }
}

/// The words of a statement, without its comments.
struct Words<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
}

fn words(text: &str) -> Words<'_> {
    Words { letters: text.chars().peekable() }
}

impl Words<'_> {
    /// Returns the next, if it is in no quotes and no sign.
    fn next_plain(&mut self) -> Option<String> {
        match self.next() {
            Some(Word::Plain(word)) => Some(word),
            _ => None,
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(letter) = self.letters.next() {
            match letter {
                '\\' if quote != '`' => text.extend(self.letters.next()),
                letter if letter == quote => {
                    if self.letters.next_if_eq(&quote).is_none() {
                        break;
                    }
                    text.push(quote);
                }
                letter => text.push(letter),
            }
        }
        text
    }

    fn skip_comment(&mut self) {
        let mut before = ' ';
        for letter in self.letters.by_ref() {
            if before == '*' && letter == '/' {
                return;
            }
            before = letter;
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Word;
    fn next(&mut self) -> Option<Word> {
        loop {
            let letter = self.letters.next()?;
            match letter {
                '\'' | '"' | '`' => return Some(Word::Quoted(self.quoted(letter))),
                '/' if self.letters.next_if_eq(&'*').is_some() => {
                    // One with an exclamation mark is none: what is in it is carried out.
                    let _ = self.letters.next_if_eq(&'M');
                    match self.letters.next_if_eq(&'!') {
                        Some(_) => while self.letters.next_if(char::is_ascii_digit).is_some() {},
                        None => self.skip_comment(),
                    }
                }
                letter if letter.is_alphanumeric() || letter == '_' => {
                    let mut word = letter.to_lowercase().collect::<String>();
                    while let Some(more) = self.letters.next_if(|more| more.is_alphanumeric() || *more == '_')
                    {
                        word.extend(more.to_lowercase());
                    }
                    return Some(Word::Plain(word));
                }
                letter if letter.is_whitespace() => {}
                letter => return Some(Word::Sign(letter)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_log(text: &str) -> Needs {
        let mut needs = Needs::default();
        needs.read_log(text.as_bytes()).unwrap();
        needs
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_log_needs_the_zones_that_it_names() {
        let needs = of_log(
            "SET @@session.time_zone='Europe/Paris'/*!*/;\ninsert into t values ('SET @@session.time_zone=''Mars''')\n/*!*/;\n\
            SET @@session.time_zone='SYSTEM'/*!*/;\nSET @@session.time_zone='+02:00'/*!*/;\nSET @@session.time_zone='UTC'/*!*/;\n",
        );
        assert_eq!(needs, Needs { zones: set(&["Europe/Paris", "UTC"]), ..Needs::default() });
    }

    #[test]
    fn a_log_needs_the_plugins_by_which_its_users_log_in() {
        for (statement, logins, has_passwords) in [
            (
                "create user e@localhost identified via ed25519 using password('via pam')",
                &["ed25519"][..],
                false,
            ),
            (
                "CREATE OR REPLACE USER IF NOT EXISTS `identified via x` IDENTIFIED WITH 'PAM'",
                &["pam"],
                false,
            ),
            (
                "/* a */ alter user a identified via unix_socket OR gssapi using 'x', b identified by 'or c'",
                &["gssapi", "unix_socket"],
                true,
            ),
            ("grant select on *.* to a identified via named_pipe", &["named_pipe"], false),
            ("insert into t values ('create user e identified via nothing')", &[], false),
        ] {
            let needs = of_log(&format!("{statement}\n/*!*/;\n"));
            assert_eq!(
                needs,
                Needs { logins: set(logins), has_passwords, ..Needs::default() },
                "{statement}"
            );
        }
    }

    #[test]
    fn a_log_needs_the_engines_that_its_tables_name_unless_another_may_stand_in() {
        for (statement, engines) in [
            ("create table a (x int) engine=archive", &["archive"][..]),
            (
                "CREATE OR REPLACE TABLE IF NOT EXISTS a (engine varchar(9) check (engine = 'diesel')) /*!40100 ENGINE = RocksDB */",
                &["rocksdb"],
            ),
            ("alter table a comment 'engine=foo'", &[]),
            ("alter table a add engine int", &[]),
            ("create procedure p() create table x (a int) engine=foo", &[]),
        ] {
            let needs = of_log(&format!("{statement}\n/*!*/;\n"));
            assert_eq!(needs, Needs { engines: set(engines), ..Needs::default() }, "{statement}");
        }
        let text = "SET @@session.sql_mode=0/*!*/;\ncreate table a (x int) engine=tokudb\n/*!*/;\nSET @@session.sql_mode=1411383296/*!*/;\ncreate table a (x int) engine=archive\n/*!*/;\n";
        assert_eq!(of_log(text).engines, set(&["archive"]));
    }

    #[test]
    fn a_log_may_read_files_wherever_in_it_that_could_be_said() {
        let (bad, rows) = ("load data local infile '/etc/shadow' into table t", "Qk9P/+4=\n".repeat(8 << 10));
        for (log, has_others) in [
            (format!("\nBINLOG '\n{rows}'/*!*/;\n"), false),
            ("\nBINLOG '\nlocal/infile=\n'/*!*/;\n".to_owned(), false),
            (format!("BINLOG 'x'/*!*/; {bad}\n/*!*/;\n"), true),
            (format!("BINLOG '\n{rows}'/*!*/; {bad}\n/*!*/;\n"), true),
            (format!("BINLOG '\n{rows}'; {bad}; select '/*!*/;\n"), true),
            // A text that was not closed is, by what looks like the beginning of rows.
            (
                "BINLOG '; load data local infile \"/etc/shadow\" into table t; select '/*!*/;\n".to_owned(),
                true,
            ),
            (format!("insert into t values ('{rows}'); {bad}\n/*!*/;\n"), true),
            ("LOAD DATA LOCAL # /*!*/;\nINFILE '/etc/shadow' INTO TABLE t\n/*!*/;\n".to_owned(), true),
            ("select 'local'/*!*/;\nselect 'infile'/*!*/;\n".to_owned(), false),
        ] {
            let start = log.get(..60).unwrap_or(&log);
            assert_eq!(of_log(&log).files.has_others, has_others, "{start}");
        }
    }

    #[test]
    fn a_dump_needs_zones_for_its_events_engines_for_its_tables_and_plugins_for_its_users() {
        let text = "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop`;\nCREATE TABLE `T``1` (\n  `a` int\n) ENGINE=ARCHIVE DEFAULT CHARSET=latin1;\n\
            CREATE TABLE `t``1` (\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 ROW_FORMAT=COMPRESSED;\nINSERT INTO `t` VALUES ('x\\n) ENGINE=no');\n\
            INSERT INTO `global_priv` (`Host`) VALUES ('%','a','{\\\"plugin\\\":\\\"ed25519\\\",\\\"auth_or\\\":[{\\\"plugin\\\":\\\"pam\\\"}]}'),\n\
            ('%','b','{\\\"plugin\\\":\\\"gssapi\\\"}');\n-- releve: these may not be all users\n\
            INSERT INTO `x` VALUES ('{\\\"plugin\\\":\\\"none\\\"}');\n/*!50003 SET time_zone             = 'Europe/Paris' */ ;;\n";
        let mut needs = Needs::default();
        needs.read_dump(text.as_bytes()).unwrap();
        let wanted = Needs {
            zones: set(&["Europe/Paris"]),
            engines: set(&["archive", "innodb"]),
            logins_later: set(&["ed25519", "gssapi", "pam"]),
            has_compressed: true,
            users_are_cut: true,
            twins: Some(("shop.T`1".into(), "shop.t`1".into())),
            ..Needs::default()
        };
        assert_eq!(needs, wanted);
    }
}

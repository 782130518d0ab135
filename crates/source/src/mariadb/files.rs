//! Files of this machine that a client reads since a text tells it to: with `LOAD DATA LOCAL INFILE '/etc/shadow'` in a dump or a log, the client of root makes rows of
//! it for whoever may read the table. So no client of ours reads any, but for a log in which such statements stand as they were said (`binlog_format = STATEMENT`): what
//! they had read `mariadb-binlog` puts into a folder of ours.

use std::io::{self, BufRead, BufReader, Read};

/// What a client is told that reads none.
pub(super) const NONE: &str = "--skip-local-infile";
/// What is said of a log or a dump that may read others than those that lie in our folder.
pub(super) const OTHERS: &str = "its log has statements that read files (LOAD DATA), and the log or the dump may let the client read others of this machine (LOCAL INFILE)";
/// How `mariadb-binlog` says what a log has read of a file, and how it calls that.
const OWN: &str = "LOAD DATA LOCAL INFILE '";
const OWN_NAME: &str = "/SQL_LOAD_MB-";

/// What of a log reads files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    /// Where `mariadb-binlog` puts those that the log has.
    pub(super) folder: Option<String>,
    /// The log has some.
    pub(super) has_own: bool,
    /// Something in it may read others.
    pub(super) has_others: bool,
    /// What the statements so far may have begun.
    words: Words,
}

impl Files {
    /// Looks at one statement of the log.
    pub(super) fn notice(&mut self, statement: &str) {
        let rest = self.behind_own(statement);
        self.has_own |= rest.is_some();
        rest.unwrap_or(statement).bytes().for_each(|byte| self.words.take(byte));
        self.has_others |= self.words.are_said();
        self.words.end();
    }

    /// Returns what follows in a statement that reads what lies in our folder.
    fn behind_own<'a>(&self, statement: &'a str) -> Option<&'a str> {
        let (path, rest) = statement.strip_prefix(OWN)?.split_once('\'')?;
        let name = path.strip_prefix(self.folder.as_deref()?)?.strip_prefix(OWN_NAME)?;
        (!name.contains(['/', '\\'])).then_some(rest)
    }
}

/// Returns whether a dump may read files: wherever in a statement it says so, in as many lines as that has.
pub(super) fn may_be_read_by(dump: impl Read) -> io::Result<bool> {
    let mut from = BufReader::with_capacity(256 << 10, dump);
    let (mut words, mut has_ended) = (Words::default(), false);
    loop {
        let there = from.fill_buf()?;
        if there.is_empty() {
            return Ok(false);
        }
        for &byte in there {
            words.take(byte);
            if words.are_said() {
                return Ok(true);
            }
            match byte {
                b'\n' if has_ended => words.end(),
                byte if byte.is_ascii_whitespace() => {}
                byte => has_ended = byte == b';',
            }
        }
        let read = there.len();
        from.consume(read);
    }
}

/// The two words of a statement that reads a file, in a text that comes byte by byte.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    /// The last letters, in small ones.
    last: [u8; 6],
    has_local: bool,
    has_infile: bool,
    behind: Behind,
}

/// What stands behind the first of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Behind {
    #[default]
    Else,
    /// Nothing yet but what parts words.
    Gap,
    /// A comment: no sign in it ends the statement.
    Comment,
}

impl Words {
    fn take(&mut self, byte: u8) {
        let [_, a, b, c, d, e] = self.last;
        self.last = [a, b, c, d, e, byte.to_ascii_lowercase()];
        let is_gap = byte <= b' ' || byte >= 0x80 || matches!(byte, b'/' | b'-');
        self.behind = match (self.behind, self.last) {
            (Behind::Comment, _) | (Behind::Gap, [.., b'#'] | [.., b'-', b'-'] | [.., b'/', b'*']) => {
                Behind::Comment
            }
            (_, [_, b'l', b'o', b'c', b'a', b'l']) => Behind::Gap,
            (Behind::Gap, _) if is_gap => Behind::Gap,
            _ => Behind::Else,
        };
        self.has_local |= self.last.ends_with(b"local");
        self.has_infile |= self.last == *b"infile";
    }

    const fn are_said(&self) -> bool {
        self.has_local && self.has_infile
    }

    /// Takes it that a statement ends here, unless this may be in a comment between the two.
    fn end(&mut self) {
        if self.behind != Behind::Comment {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_had_read_is_told_from_all_else_that_a_client_could_be_made_to_read() {
        let own = "LOAD DATA LOCAL INFILE '/tmp/x/SQL_LOAD_MB-1-0' INTO TABLE `t` FIELDS TERMINATED BY '\\t'";
        for (statement, has_own, has_others) in [
            (own, true, false),
            ("insert into t values ('infile')", false, false),
            ("load data local infile '/etc/shadow' into table t", false, true),
            ("LOAD DATA LOCAL INFILE '/tmp/x/SQL_LOAD_MB-1/../../../etc/shadow' INTO TABLE t", false, true),
            ("LOAD DATA LOCAL INFILE '/tmp/y/SQL_LOAD_MB-1-0' INTO TABLE t", false, true),
            ("select 1 /*!*/; Load /* */ Data Local Infile '/etc/shadow' into table t", false, true),
            (format!("{own}/*!*/; load data local infile '/etc/shadow' into table t").as_str(), true, true),
            ("BINLOG 'x'/*!*/; load data local infile '/etc/shadow' into table t", false, true),
        ] {
            let mut files = Files { folder: Some("/tmp/x".to_owned()), ..Files::default() };
            files.notice(statement);
            assert_eq!((files.has_own, files.has_others), (has_own, has_others), "{statement}");
        }
    }

    #[test]
    fn a_dump_that_may_read_files_is_told_however_long_its_lines_are_and_however_many() {
        let long = "x".repeat(300 << 10);
        for (dump, may_read) in [
            ("SELECT 1;\nSELECT 2; load data\tLOCAL infile 'x'\n", true),
            ("SELECT 'local';\nSELECT 'infile';\n", false),
            ("LOAD DATA LOCAL\nINFILE '/etc/shadow' INTO TABLE t;\n", true),
            (
                format!("INSERT INTO t VALUES ('{long}'); LOAD DATA LOCAL INFILE 'x' INTO TABLE t;\n")
                    .as_str(),
                true,
            ),
            (format!("LOAD DATA LOCAL{}INFILE 'x' INTO TABLE t;\n", " ".repeat(300 << 10)).as_str(), true),
            // What a comment holds ends no statement.
            ("LOAD DATA LOCAL /* ;\n;\n*/ INFILE '/etc/shadow' INTO TABLE t;\n", true),
            ("LOAD DATA LOCAL # ;\nINFILE '/etc/shadow' INTO TABLE t;\n", true),
            ("LOAD DATA LOCAL\n-- ;\nINFILE '/etc/shadow' INTO TABLE t;\n", true),
            ("-- Table `local`;\nSELECT 'local/-', 'local'; \n\nSELECT 'infile';\n", false),
        ] {
            let start = dump.get(..80).unwrap_or(dump);
            assert_eq!(may_be_read_by(dump.as_bytes()).unwrap(), may_read, "{start}");
        }
    }
}

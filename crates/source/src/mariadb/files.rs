//! Files of this machine that a client reads since a text tells it to: with `LOAD DATA LOCAL INFILE '/etc/shadow'` in a dump or a log, the client of root makes rows of
//! it for whoever may read the table. So no client of ours reads any, but for a log in which such statements stand as they were said (`binlog_format = STATEMENT`): what
//! they had read `mariadb-binlog` puts into a folder of ours.

use super::binlog::printed::line;
use std::io::{self, BufReader, Read};

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
}

impl Files {
    /// Looks at one statement of the log.
    pub(super) fn notice(&mut self, statement: &str) {
        let rest = self.behind_own(statement);
        self.has_own |= rest.is_some();
        self.has_others |= may_read(rest.unwrap_or(statement));
    }

    /// Returns what follows in a statement that reads what lies in our folder.
    fn behind_own<'a>(&self, statement: &'a str) -> Option<&'a str> {
        let (path, rest) = statement.strip_prefix(OWN)?.split_once('\'')?;
        let name = path.strip_prefix(self.folder.as_deref()?)?.strip_prefix(OWN_NAME)?;
        (!name.contains(['/', '\\'])).then_some(rest)
    }
}

/// Returns whether a dump may read files: wherever in a line it says so.
pub(super) fn may_be_read_by(dump: impl Read) -> io::Result<bool> {
    let mut from = BufReader::with_capacity(256 << 10, dump);
    let (mut kept, mut tail) = (Vec::new(), Vec::new());
    while line(&mut from, &mut kept, &mut tail)? {
        if may_read(&String::from_utf8_lossy(&kept)) {
            return Ok(true);
        }
        kept.clear();
    }
    Ok(false)
}

fn may_read(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("infile") && text.contains("local")
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
        ] {
            let mut files = Files { folder: Some("/tmp/x".to_owned()), ..Files::default() };
            files.notice(statement);
            assert_eq!((files.has_own, files.has_others), (has_own, has_others), "{statement}");
        }
        assert!(may_be_read_by("SELECT 1;\nSELECT 2; load data\tLOCAL infile 'x'\n".as_bytes()).unwrap());
        assert!(!may_be_read_by("SELECT 'local';\nSELECT 'infile';\n".as_bytes()).unwrap());
    }
}

//! What a point says of its copy, for whoever puts it back: a small file among the others.

use crate::mariadb::binlog::Span;
use crate::mariadb::look::Series;
use crate::{Error, Kind, Result, error::at};
use std::path::{Path, PathBuf};

/// What it is called.
pub(super) const FILE: &str = "releve-copy";

/// What is known of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Of the server.
    pub(super) version: String,
    /// Whether names are told apart by their case: a server that does it otherwise doesn't find its tables.
    pub(super) lower_case_table_names: String,
    /// Where the server keeps its binary log, without the numbers; empty if it keeps none.
    pub(super) log: PathBuf,
    /// Where the copy lies in it.
    pub(super) span: Option<Span>,
}

impl Told {
    pub(super) fn text(&self) -> String {
        let span = self.span.as_ref().map(|span| format!("{span}\n")).unwrap_or_default();
        format!(
            "version {}\nlower_case_table_names {}\nlog {}\n{span}",
            self.version,
            self.lower_case_table_names,
            self.log.display()
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Some(Self {
            version: value("version")?.to_owned(),
            lower_case_table_names: value("lower_case_table_names")?.to_owned(),
            log: value("log")?.into(),
            span: text.lines().find_map(|line| line.parse().ok()),
        })
    }

    /// Reads it in a data directory that was restored.
    pub(super) fn read(data: &Path) -> Result<Self> {
        let file = data.join(FILE);
        let text = crate::ours::read(&file).map(|text| String::from_utf8_lossy(&text).into_owned());
        let text = text.map_err(|_| Error::new(at("put back", &file), Kind::NotInPoint))?;
        Self::parse(&text)
            .ok_or_else(|| Error::new(at("read", &file), Kind::Damaged("it says nothing".into())))
    }

    /// Returns the series of the server.
    pub(super) fn series(&self) -> Result<Series> {
        let why = || format!("{} is no version of MariaDB", self.version);
        Series::of(&self.version).ok_or_else(|| Error::new(format!("read {FILE}"), Kind::Damaged(why())))
    }

    /// Returns where it lies in the log.
    pub(super) fn span(&self) -> Result<&Span> {
        let why = "the copy does not say where in the binary log it lies: restore it by itself, with --point";
        self.span.as_ref().ok_or_else(|| Error::new(format!("read {FILE}"), Kind::Damaged(why.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_copy_comes_back() {
        let span = "-- releve: binary log of 6B089F8D from my log.000009 4711 to my log.000009 4711".parse();
        for (log, span) in [("/var/log/mysql/my log", span.ok()), ("", None)] {
            let (version, case) = ("10.11.6-MariaDB-log".to_owned(), "0".to_owned());
            let told = Told { version, lower_case_table_names: case, log: log.into(), span };
            assert_eq!(Told::parse(&told.text()), Some(told));
        }
        assert_eq!(Told::parse("version x"), None);
    }
}

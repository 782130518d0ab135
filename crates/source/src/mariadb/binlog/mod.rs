//! The server's binary log: received as it is written, kept in pieces, and replayed up to an instant.
//!
//! The server writes files, `mariadb-bin.000042` say, of up to a gigabyte. They are kept in pieces ([`piece`]), so that what was added
//! in a few seconds is little. Numbers begin anew whenever somebody makes the log anew; what tells two files of one name apart is the second in which
//! the server began them.

mod anew;
mod events;
mod find;
mod halves;
mod output;
pub(super) mod piece;
pub(super) mod places;
pub(super) mod printed;
pub(super) mod receive;
pub(super) mod replay;
pub(super) mod sound;
mod trouble;

use super::client::Client;
use crate::{Error, Kind, Result, Until};
use piece::Place;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
pub(super) use trouble::line as line_of;

/// How long the server may take to say where it is.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// A position as the server writes it: a file of its log, and bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) file: String,
    pub(super) offset: u64,
}

impl FromStr for Position {
    type Err = ();
    /// Reads `mariadb-bin.000042 1234`, or with a colon.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (file, offset) = text.trim().rsplit_once([' ', ':', '\t']).ok_or(())?;
        let file = file.trim().to_owned();
        piece::number(&file).ok_or(())?;
        Ok(Self { file, offset: offset.parse().map_err(drop)? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file, self.offset)
    }
}

/// Where a dump lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// When the server began the file that the dump begins in, in seconds since 1970.
    pub(super) created: u32,
    /// The instant of the data.
    pub(super) from: Position,
    /// Where the server was when the dump had ended: what doesn't belong to the data (tables that are new, users, events) is of some instant until then.
    pub(super) to: Position,
}

impl Span {
    /// Returns the place of the file that is needed first, or an earlier one.
    pub(super) fn place(&self) -> Option<Place> {
        Some(Place { order: self.created, number: piece::number(&self.from.file)?, piece: 0 })
    }
}

const SPAN: &str = "-- releve: binary log of ";

/// As the dump has it: a line of its own.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SPAN}{:08X} from {} to {}", self.created, self.from, self.to)
    }
}

impl FromStr for Span {
    type Err = ();
    fn from_str(line: &str) -> Result<Self, ()> {
        let (created, rest) = line.strip_prefix(SPAN).and_then(|rest| rest.split_once(" from ")).ok_or(())?;
        let (from, to) = rest.split_once(" to ").ok_or(())?;
        let created = u32::from_str_radix(created, 16).map_err(drop)?;
        Ok(Self { created, from: from.parse()?, to: to.parse()? })
    }
}

/// Returns where the server's log ends.
pub(super) fn end(client: &Client) -> Result<Position> {
    end_and_resets(client).map(|(end, _)| end)
}

/// Returns where the server's log ends, and how often by then somebody has made it begin anew (or reset something else) since the server was started.
fn end_and_resets(client: &Client) -> Result<(Position, String)> {
    let question = "SHOW MASTER STATUS; SHOW GLOBAL STATUS LIKE 'Com_reset'";
    let mut rows = client.ask_within(question, ASK_WITHIN)?;
    let resets = rows.pop().unwrap_or_default().concat();
    let row = rows.first().ok_or_else(|| no_log(client))?;
    if row.iter().skip(2).any(|filter| !filter.is_empty()) {
        let why = "the server leaves databases out of its binary log (binlog_do_db, binlog_ignore_db): take that out of its settings";
        return Err(invalid(client, why));
    }
    let offset = row.get(1).and_then(|offset| offset.parse().ok());
    match (row.first(), offset) {
        (Some(file), Some(offset)) => Ok((Position { file: file.clone(), offset }, resets)),
        _ => Err(no_log(client)),
    }
}

/// Returns whether the server keeps a log.
pub(super) fn is_kept(client: &Client) -> Result<bool> {
    let rows = client.ask_within("SELECT @@GLOBAL.log_bin", ASK_WITHIN)?;
    Ok(rows.concat().first().is_some_and(|said| said == "1"))
}

/// Makes sure that the server keeps a log from which all can be made again.
fn check(client: &Client) -> Result<()> {
    let rows = client.ask_within("SELECT @@GLOBAL.log_bin, @@GLOBAL.binlog_format", ASK_WITHIN)?;
    let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    if said(0) != "1" {
        return Err(no_log(client));
    }
    if said(1) == "STATEMENT" {
        let why = "binlog_format is STATEMENT, and some statements do something else when they are made again: set it to MIXED or ROW";
        return Err(invalid(client, why));
    }
    Ok(())
}

fn no_log(client: &Client) -> Error {
    invalid(
        client,
        "the server keeps no binary log: write log_bin below [mysqld] in its settings and restart it, or log = \"none\" in the plan",
    )
}

fn invalid(client: &Client, why: &str) -> Error {
    Error::new(client.address.to_string(), Kind::Invalid(why.to_owned()))
}

/// Returns when the server began one of its files, in seconds since 1970.
pub(super) fn created(client: &Client, file: &str) -> Result<u32> {
    // The first event is all that is asked for.
    let options = ["--read-from-remote-server", "--stop-position=5", file];
    let said = client.run("mariadb-binlog", &options, ASK_WITHIN)?;
    first_seconds(&String::from_utf8_lossy(&said))
        .ok_or_else(|| invalid(client, &format!("{file} does not begin as a binary log does")))
}

/// Returns the time of the first event in what `mariadb-binlog` prints: its first bytes, which stand there as base64.
fn first_seconds(text: &str) -> Option<u32> {
    let line = text.lines().skip_while(|line| !line.starts_with("BINLOG '")).nth(1)?;
    let mut bits: u64 = 0;
    for letter in line.bytes().take(6) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(value);
    }
    // 36 bits, of which the first 32 are the bytes, lowest first.
    u32::try_from(bits >> 4).ok().map(u32::swap_bytes)
}

/// Returns whether a file of a log holds any transaction; of one that can't be read to its last byte (it is encrypted, say) that is taken for granted.
pub(super) fn holds_any(path: &Path) -> bool {
    let mut is_any = false;
    let read = events::transactions(path, |_| {
        is_any = true;
        ControlFlow::Break(())
    });
    let bytes = path.metadata().map_or(u64::MAX, |meta| meta.len());
    is_any || !read.is_ok_and(|end| end == bytes)
}

/// Returns an error if this is no instant that a binary log knows.
pub(super) fn check_until(until: &Until) -> Result<()> {
    let wrong = match until {
        Until::On { place, .. } => return check_until(place),
        Until::Position(position) if position.parse::<Position>().is_err() => {
            format!(
                "`{position}` is no position: write mariadb-bin.000042:1234, as SHOW MASTER STATUS says it"
            )
        }
        Until::Transaction(id) if !is_gtid(id) => {
            format!("`{id}` is no transaction: write its GTID, 0-1-4711")
        }
        Until::Name(_) => {
            "a MariaDB server has no points with names: write a position, a transaction or a time".into()
        }
        _ => return Ok(()),
    };
    Err(Error::new("roll forward", Kind::Invalid(wrong)))
}

fn is_gtid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_dump_lies_survives_its_line() {
        let position = |text: &str| text.parse::<Position>().unwrap();
        let span = Span {
            created: 0x6B08_9F8D,
            from: position("shop bin.000009 4711"),
            to: position("shop bin.1000010:256"),
        };
        assert_eq!(span.to_string().parse(), Ok(span));
        for text in ["", "mariadb-bin.000001", "mariadb-bin 12", "mariadb-bin.000001:x"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_second_in_which_a_file_was_begun_is_read() {
        let text = "DELIMITER /*!*/;\n# at 4\nBINLOG '\njZ8Iaw8HAAAA/AAAAAAB\n";
        assert_eq!(first_seconds(text), Some(0x6B08_9F8D));
        assert_eq!(first_seconds("ERROR: no such file"), None);
    }

    #[test]
    fn only_what_a_binary_log_knows_is_an_instant() {
        for until in [Until::Newest, Until::Position("a.000001:4".into()), Until::Transaction("0-1-2".into())]
        {
            check_until(&until).unwrap();
        }
        for until in
            [Until::Position("0/16B3748".into()), Until::Transaction("4711".into()), Until::Name("x".into())]
        {
            assert!(check_until(&until).is_err(), "{until:?}");
        }
    }
}

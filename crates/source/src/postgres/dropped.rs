//! When the log dropped a database, for whoever misses the one that his url names.

use super::history::{History, chain, committed, lsn_of};
use super::places::read_paths;
use super::way::on_way;
use jiff::Timestamp;
use std::path::Path;

/// In so many segments it is looked, from the last one back.
const LOOKED_MAX: usize = 64;

/// Returns when a database was dropped last on the way that the cluster in `data` has come through the WAL in `log`, if that tells.
pub(super) fn last(data: &Path, log: &Path, programs: Option<&Path>) -> Option<Timestamp> {
    let history = History::read(log, data, programs).ok()?;
    // The server itself has written which way it came.
    let paths = read_paths(&data.join("pg_wal")).ok()?;
    let newest = paths.keys().max().copied()?;
    let (way, _) = on_way(&chain(&paths, newest), &history.segments, history.bytes);
    let mut behind = String::new();
    for (segment, left) in way.iter().rev().take(LOOKED_MAX) {
        let drops = history.records("Database", &segment.path).ok()?;
        let ends = history.records("Transaction", &segment.path).ok()?;
        let is_drop =
            |line: &&str| line.contains("desc: DROP") && lsn_of(line).is_some_and(|lsn| lsn < *left);
        if let Some(number) = drops.lines().filter(is_drop).filter_map(transaction).next_back() {
            let is_its = |line: &&str| transaction(line) == Some(number);
            return ends.lines().chain(behind.lines()).filter(is_its).find_map(committed);
        }
        behind = ends;
    }
    None
}

/// Reads which transaction a record is of from a line of `pg_waldump`: `… tx:        888, lsn: …`.
fn transaction(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("tx:")?;
    rest.split(',').next().map(str::trim)
}

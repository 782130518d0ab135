//! What lies where in a data directory: what is copied, what is left out, what PostgreSQL checks by itself.
//!
//! From PostgreSQL's own documentation, "Making a Base Backup Using the Low Level API" (what may be left out) and "Database File Layout".

use std::path::Path;

/// What becomes of an entry of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is copied as it is found, however it changes: what the WAL says of it is applied when it comes back.
    Data,
    /// Its pages carry checksums, where the cluster has them.
    Pages,
    /// It must not change while it is read: the WAL doesn't know it.
    Steady,
    /// A directory of which only the name is kept.
    Empty,
    /// The log of changes: what the copy needs of it comes at the end.
    Wal,
    /// The state of the whole cluster: it is read last of all data.
    Control,
    /// It belongs to the running server, not to the data.
    LeftOut,
}

/// Directories whose content a server makes anew.
const EMPTY: [&str; 7] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"];
/// Files at the top that belong to a running server, or to another recovery than the one that is to come.
const LEFT_OUT: [&str; 8] = [
    "postmaster.pid",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "recovery.signal",
    "standby.signal",
    "postgresql.auto.conf.tmp",
];
/// Where relations lie.
const RELATIONS: [&str; 3] = ["base", "global", "pg_tblspc"];

/// Returns what the entry at `path`, relative to the data directory, is.
pub(super) fn part(path: &Path) -> Part {
    let mut names = path.iter().map(|name| name.to_str().unwrap_or_default());
    let (Some(first), rest) = (names.next(), names.next()) else { return Part::Data };
    let last = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match rest {
        None if first == "pg_wal" => Part::Wal,
        None if EMPTY.contains(&first) => Part::Empty,
        None if LEFT_OUT.contains(&first) => Part::LeftOut,
        None if RELATIONS.contains(&first) || first.starts_with("pg_") => Part::Data,
        // The server's own log, and where it is.
        None if matches!(first, "log" | "current_logfiles") || is_log(first) => Part::Data,
        None => Part::Steady,
        Some("pg_control") if first == "global" => Part::Control,
        // A link, and below it the tablespace's own place, which is a root by itself.
        Some(_) if first == "pg_tblspc" && path.iter().count() == 2 => Part::Data,
        Some(_) if RELATIONS.contains(&first) => relation(last),
        Some(_) => Part::Data,
    }
}

/// Returns what an entry below a tablespace is, or below `base` or `global`.
pub(super) fn relation(name: &str) -> Part {
    if name.starts_with("pgsql_tmp") || name == "pg_internal.init" || is_temporary(name) {
        return Part::LeftOut;
    }
    if Relation::parse(name).is_some() { Part::Pages } else { Part::Data }
}

/// What a server says, in a file that somebody lets it write here: it may be cut off or begun anew while it is read, and nothing depends on it.
fn is_log(name: &str) -> bool {
    name == "logfile" || name == "serverlog" || name.ends_with(".log") || name.contains(".log.")
}

/// A relation of one session: `t3_16384`.
fn is_temporary(name: &str) -> bool {
    let Some((backend, relation)) = name.strip_prefix('t').and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    is_number(backend) && relation.starts_with(|c: char| c.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A file of a relation: `16384`, `16384_fsm`, `16384.1`, `16384_init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    /// The number that its files bear.
    pub(super) node: &'a str,
    /// Which of its forks: empty for the main one.
    pub(super) fork: &'a str,
    /// Which of its files, of a gigabyte each unless the server was built otherwise.
    pub(super) segment: u32,
}

impl<'a> Relation<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (name, segment) = match name.split_once('.') {
            Some((name, segment)) if is_number(segment) => (name, segment.parse().ok()?),
            Some(_) => return None,
            None => (name, 0),
        };
        let (node, fork) = name.split_once('_').unwrap_or((name, ""));
        (is_number(node) && matches!(fork, "" | "fsm" | "vm" | "init")).then_some(Self {
            node,
            fork,
            segment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_what_the_documentation_calls_it() {
        let parts = [
            ("PG_VERSION", Part::Steady),
            ("postgresql.auto.conf", Part::Steady),
            ("base", Part::Data),
            ("base/5/16384", Part::Pages),
            ("base/5/16384.12", Part::Pages),
            ("base/5/16384_vm", Part::Pages),
            ("base/5/PG_VERSION", Part::Data),
            ("base/5/pg_filenode.map", Part::Data),
            ("base/5/pg_internal.init", Part::LeftOut),
            ("base/5/t3_16384", Part::LeftOut),
            ("base/pgsql_tmp", Part::LeftOut),
            ("global/pg_control", Part::Control),
            ("global/1262", Part::Pages),
            ("pg_wal", Part::Wal),
            ("pg_xact/0000", Part::Data),
            ("pg_replslot", Part::Empty),
            ("pg_tblspc/16400", Part::Data),
            ("log/postgresql-Mon.log", Part::Data),
            ("logfile", Part::Data),
            ("server.log.1", Part::Data),
            ("pg_ident.conf", Part::Data),
            ("postgresql.conf", Part::Steady),
            ("postmaster.pid", Part::LeftOut),
            ("standby.signal", Part::LeftOut),
        ];
        for (path, is) in parts {
            assert_eq!(part(Path::new(path)), is, "{path}");
        }
    }

    #[test]
    fn the_number_of_a_file_of_a_relation_is_known() {
        assert_eq!(Relation::parse("16384.3").unwrap().segment, 3);
        assert_eq!(Relation::parse("16384_init").unwrap().fork, "init");
        assert!(Relation::parse("16384.3.conf").is_none());
        assert!(Relation::parse("16384_x").is_none());
    }
}

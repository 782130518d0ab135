//! Tables whose rows are in no dump: `mariadb-dump` leaves out those of engines that keep them elsewhere, and doesn't say so.
//!
//! What is not named here is taken for dumped with its rows, as those are that docs/mariadb.md lists.

/// Where the rows of such a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// In the dump, as those of any other.
    InDump,
    /// It has none of its own, or they are those of other tables of the dump.
    None,
    /// On another server, or made anew from what lies elsewhere.
    Elsewhere,
    /// In a file that the server itself writes, and nobody else saves.
    InFiles,
}

/// Kinds of CONNECT tables that show what another table, server or program has.
const SHOWN: [&str; 15] = [
    "mysql", "odbc", "jdbc", "mongo", "proxy", "tbl", "xcol", "xcl", "occur", "pivot", "dir", "vir", "wmi",
    "mac", "cat",
];

/// Returns where the rows of a table of this engine are, made with these options as the server says them.
pub(super) fn rows(engine: &str, options: &str) -> Rows {
    match engine.to_ascii_lowercase().as_str() {
        "mrg_myisam" | "blackhole" | "sequence" => Rows::None,
        "federated" | "spider" | "sphinx" | "oqgraph" | "s3" => Rows::Elsewhere,
        "connect" => match option(options, "table_type") {
            Some(kind) if SHOWN.contains(&kind.to_ascii_lowercase().as_str()) => Rows::Elsewhere,
            _ => Rows::InFiles,
        },
        _ => Rows::InDump,
    }
}

/// Returns the value of an option, in whatever case its name is written.
fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let lower = options.to_ascii_lowercase();
    let at = lower.find(&format!("`{name}`='"))?;
    let rest = options.get(at..)?.split_once("='")?.1;
    rest.split('\'').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_engine_and_a_file_of_connect_is_the_servers_own() {
        for (engine, options, wanted) in [
            ("InnoDB", "", Rows::InDump),
            ("ARCHIVE", "", Rows::InDump),
            ("CSV", "", Rows::InDump),
            ("ROCKSDB", "", Rows::InDump),
            ("MRG_MyISAM", "", Rows::None),
            ("BLACKHOLE", "", Rows::None),
            ("FEDERATED", "", Rows::Elsewhere),
            ("SPIDER", "", Rows::Elsewhere),
            ("CONNECT", "", Rows::InFiles),
            ("CONNECT", "`table_type`='csv' `file_name`='feed.csv'", Rows::InFiles),
            ("CONNECT", "`TABLE_TYPE`='MYSQL' `dbname`='d'", Rows::Elsewhere),
            ("CONNECT", "partitioned `table_type`='Tbl'", Rows::Elsewhere),
        ] {
            assert_eq!(rows(engine, options), wanted, "{engine} {options}");
        }
    }
}

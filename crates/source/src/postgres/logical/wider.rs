//! The second try with a dump that a server refuses, on a wider path: a dump is loaded with names looked for nowhere but where they say, and a function that names
//! another one without its schema fails there, and with it the index, the constraint or the materialized view that calls it.

use super::client::{Client, literal};
use crate::Result;
use std::collections::BTreeSet;
use std::io::{self, Cursor, Read};

/// The line of a dump that empties the path.
const EMPTY: &[u8] = b"\nSELECT pg_catalog.set_config('search_path', '', false);\n";
/// How far from the beginning of what is loaded it stands at most.
const HEAD_BYTES: u64 = 64 << 10;
/// The schemas of a database, and the paths that it, its roles and its server were given.
const SCHEMAS: &str = "SELECT nspname, quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
    ORDER BY nspname <> 'public', oid";
const PATHS: &str = "SELECT substr(c, 13) FROM pg_db_role_setting, unnest(setconfig) c WHERE c LIKE 'search\\_path=%' \
    AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY setdatabase DESC, setrole";

/// Returns the path on which a database may be loaded that has its schemas already: the server's own names first, then the paths that were set for it, then all of it.
pub(super) fn path_of(client: &Client, database: &[u8]) -> Result<String> {
    let paths: Vec<String> = client.ask(database, PATHS)?.into_iter().flatten().collect();
    let schemas: Vec<(String, String)> = client
        .ask(database, SCHEMAS)?
        .into_iter()
        .filter_map(|row| Some((row.first()?.clone(), row.get(1)?.clone())))
        // The line is in the encoding of the dump.
        .filter(|(name, _)| name.is_ascii())
        .collect();
    Ok(widened(&paths, &schemas))
}

/// Returns one path of several, of the schemas that there are: each by its name, and as SQL writes it.
fn widened(paths: &[String], schemas: &[(String, String)]) -> String {
    let mut named = BTreeSet::new();
    let mut path = vec!["pg_catalog".to_owned()];
    let said = paths.iter().flat_map(|path| path.split(',')).filter_map(|part| {
        let part = part.trim();
        schemas.iter().find(|(name, quoted)| quoted == part || name == part)
    });
    for (name, quoted) in said.chain(schemas) {
        if named.insert(name) {
            path.push(quoted.clone());
        }
    }
    path.join(", ")
}

/// Returns what is loaded with another path than none; `None` where it doesn't empty it.
pub(super) fn on_path(mut rest: impl Read, path: &str) -> io::Result<Option<impl Read>> {
    let mut head = Vec::new();
    (&mut rest).take(HEAD_BYTES).read_to_end(&mut head)?;
    let Some(at) = head.windows(EMPTY.len()).position(|line| line == EMPTY) else { return Ok(None) };
    let (before, after) = head.split_at(at);
    let line = format!("\nSELECT pg_catalog.set_config('search_path', {}, false);\n", literal(path));
    let after = after.get(EMPTY.len()..).unwrap_or_default();
    let head = [before, line.as_bytes(), after].concat();
    Ok(Some(Cursor::new(head).chain(rest)))
}

/// Counts the lines of a text that passes, and remembers the last that ended the rows of a table.
#[derive(Debug, Default)]
pub(super) struct Lines {
    count: u64,
    /// What has come of the line that isn't over: as much as tells it from others.
    begun: Vec<u8>,
    pub(super) last_rows: u64,
}

impl Lines {
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.count += 1;
                    if self.begun == b"\\." {
                        self.last_rows = self.count;
                    }
                    self.begun.clear();
                }
                byte if self.begun.len() < 3 => self.begun.push(*byte),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn the_server_s_names_come_first_then_the_paths_that_were_set_and_each_schema_once() {
        let schemas = [("public", "public"), ("app", "app"), ("Old one", "\"Old one\"")];
        let schemas = schemas.map(|(name, quoted)| (name.to_owned(), quoted.to_owned()));
        let paths = ["\"$user\", app, public".to_owned(), "nowhere, app".to_owned()];
        assert_eq!(widened(&paths, &schemas), "pg_catalog, app, public, \"Old one\"");
    }

    #[test]
    fn only_the_line_that_empties_the_path_is_another() {
        let mut file = tempfile::tempfile().unwrap();
        let dump =
            "SET a = 1;\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE t ();\n";
        file.write_all(dump.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        on_path(file, "pg_catalog, \"it's\"").unwrap().unwrap().read_to_string(&mut text).unwrap();
        let line = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, \"it''s\"', false);";
        assert_eq!(text, format!("SET a = 1;\n{line}\nCREATE TABLE t ();\n"));
    }

    #[test]
    fn where_the_last_rows_end_is_known_however_the_text_comes() {
        let mut lines = Lines::default();
        for part in ["COPY t FROM stdin;\n1\n", "\\", ".\n\nCREATE", " INDEX;\n\\.x\n"] {
            lines.follow(part.as_bytes());
        }
        assert_eq!((lines.last_rows, lines.count), (3, 6));
    }
}

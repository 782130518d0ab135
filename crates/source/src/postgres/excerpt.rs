//! One database, or some of its tables, as SQL: found by name in a server aside, and dumped by `pg_dump`.

use super::aside::{Aside, Start, with};
use super::dumped::carry;
use super::server::sort;
use super::session::Session;
use crate::{Cut, Cutting, Error, Excerpt, Kind, Result};
use std::io::Write;
use std::path::Path;

/// How many names an error holds.
const NAMES_MAX: usize = 20;
/// What can be dumped by its name: tables, partitioned ones, views, materialized ones, sequences, foreign tables.
const RELATIONS: &str = "SELECT n.nspname::text, c.relname::text, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2";
/// A table and what it is made of: partitions, or tables that inherit from it.
const PARTS: &str = "WITH RECURSIVE part(oid) AS (SELECT $1::oid UNION SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid) \
    SELECT n.nspname::text, c.relname::text, c.oid FROM part JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace";

/// What no copy of a cluster holds, of these relations, or of all where none is named: tables that the log leaves out, and rows that lie on another server.
const NOT_HELD: &str = "SELECT n.nspname::text, c.relname::text, c.relkind = 'f' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE (c.relkind = 'f' OR c.relpersistence = 'u' AND c.relkind IN ('r', 'S')) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND (cardinality($1::oid[]) = 0 OR c.oid = ANY ($1)) ORDER BY 1, 2";

/// A relation: its schema, its name, its number in the catalogue.
type Relation = (String, String, u32);

/// Writes what is wanted of the cluster. Returns what that is, for a person.
pub(super) fn write(
    data: &Path,
    users: &[&str],
    usual: &str,
    programs: Option<&Path>,
    cutting: &Cutting<'_>,
    out: &mut dyn Write,
) -> Result<Cut> {
    let (told, is_over) = (cutting.told, cutting.is_over);
    told("starting a server on it that nobody else reaches");
    let start = Start { data, to: cutting.to, room: cutting.room, users, programs, told, is_over };
    with(&start, |server| {
        let wanted = cutting.wanted;
        let databases = databases(server)?;
        let database = wanted.database.as_deref().unwrap_or(usual);
        if !databases.iter().any(|known| known == database) {
            let said = missing("database", database, &databases);
            return Err(Error::new(
                "find what is wanted",
                Kind::Invalid(format!("{said}; --database names one")),
            ));
        }
        let (arguments, oids, what) = match wanted.tables.is_empty() {
            true => (Vec::new(), Vec::new(), format!("database {database}")),
            false => tables(server, database, &databases, wanted)?,
        };
        let not_held = not_held(server, database, &oids)?;
        told(&format!("recovered; dumping {what}"));
        carry(&server.pg_dump(database, arguments)?, out)?;
        Ok(Cut { what, not_held })
    })
}

/// Returns what of a database comes out empty, whatever was in it, and why.
fn not_held(server: &Aside, database: &str, oids: &[u32]) -> Result<Vec<String>> {
    let mut client = server.connect(database)?;
    let rows = client.query(NOT_HELD, &[&oids]).map_err(|error| sort("look at the tables", &error))?;
    let said = |row: &tokio_postgres::Row| {
        let why = match row.get(2) {
            true => "a foreign table: its rows lie on another server",
            false => "unlogged: no point and no log holds what is in it",
        };
        format!("{}.{} comes out empty: it is {why}", row.get::<_, String>(0), row.get::<_, String>(1))
    };
    Ok(rows.iter().map(said).collect())
}

fn databases(server: &Aside) -> Result<Vec<String>> {
    let mut client = server.connect("template1").or_else(|_| server.connect("postgres"))?;
    let question =
        "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
    let rows = client.query(question, &[]).map_err(|error| sort("list the databases", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the arguments that choose the tables, their numbers in the catalogue, and what they are.
fn tables(
    server: &Aside,
    database: &str,
    databases: &[String],
    wanted: &Excerpt,
) -> Result<(Vec<String>, Vec<u32>, String)> {
    let mut client = server.connect(database)?;
    let there = relations(&mut client)?;
    let mut arguments = vec!["--strict-names".to_owned()];
    let (mut names, mut oids) = (Vec::new(), Vec::new());
    for table in &wanted.tables {
        let wrong = |why: String| Error::new("find what is wanted", Kind::Invalid(why));
        let (schema, name, oid) = match find(&there, table).as_slice() {
            [one] => (*one).clone(),
            [] => {
                let known: Vec<String> = there.iter().map(shown).collect();
                let said = missing("table", table, &known);
                let elsewhere = elsewhere(server, database, databases, table);
                return Err(wrong(format!("in the database {database} {said}{elsewhere}")));
            }
            several => {
                let all: Vec<String> = several.iter().map(|one| shown(one)).collect();
                return Err(wrong(format!("`{table}` may be {}: write which", all.join(" or "))));
            }
        };
        let rows = client.query(PARTS, &[&oid]).map_err(|error| sort("look at a table", &error))?;
        oids.extend(rows.iter().map(|row| row.get::<_, u32>(2)));
        arguments.extend(rows.iter().map(|row| {
            let quoted = |column: usize| format!("\"{}\"", row.get::<_, String>(column).replace('"', "\"\""));
            format!("--table={}.{}", quoted(0), quoted(1))
        }));
        let parts = match rows.len() {
            0 | 1 => String::new(),
            parts => format!(" with {} parts", parts - 1),
        };
        names.push(format!("{schema}.{name}{parts}"));
    }
    Ok((arguments, oids, format!("{} of database {database}", names.join(", "))))
}

fn relations(client: &mut Session) -> Result<Vec<Relation>> {
    let rows = client.query(RELATIONS, &[]).map_err(|error| sort("list the tables", &error))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Returns what a person may mean: as it is written, or else whatever its case.
fn find<'a>(there: &'a [Relation], wanted: &str) -> Vec<&'a Relation> {
    let same = |name: &str, ours: &str, exact: bool| match exact {
        true => name == ours,
        false => name.eq_ignore_ascii_case(ours),
    };
    for exact in [true, false] {
        let found: Vec<&Relation> = there
            .iter()
            .filter(|relation| {
                let (names, written) =
                    ([relation.1.clone(), shown(relation)], [wanted.to_owned(), plain(wanted)]);
                names.iter().any(|name| written.iter().any(|written| same(name, written, exact)))
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Returns a name without the quotes that SQL would want around it.
fn plain(name: &str) -> String {
    name.replace("\"\"", "\u{0}").replace('"', "").replace('\u{0}', "\"")
}

fn shown((schema, name, _): &Relation) -> String {
    format!("{schema}.{name}")
}

/// Says that something isn't there, and what comes nearest.
fn missing(kind: &str, name: &str, known: &[String]) -> String {
    let alike = |known: &str| {
        let last = known.rsplit('.').next().unwrap_or(known);
        strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, last))
    };
    let mut near: Vec<&String> = known.iter().collect();
    near.sort_by(|a, b| alike(b).total_cmp(&alike(a)));
    let names: Vec<&str> = near.iter().take(NAMES_MAX).map(|name| name.as_str()).collect();
    match (names.as_slice(), known.len().saturating_sub(NAMES_MAX)) {
        ([], _) => format!("there is no {kind} `{name}`, nor any other at this instant"),
        (names, 0) => format!("there is no {kind} `{name}` at this instant; there are: {}", names.join(", ")),
        (names, more) => {
            format!(
                "there is no {kind} `{name}` at this instant; the nearest are: {} and {more} more",
                names.join(", ")
            )
        }
    }
}

/// Says in which other databases the table is.
fn elsewhere(server: &Aside, database: &str, databases: &[String], table: &str) -> String {
    let has = |other: &&String| {
        let there = server.connect(other).and_then(|mut client| relations(&mut client));
        there.is_ok_and(|there| !find(&there, table).is_empty())
    };
    let others: Vec<String> = databases
        .iter()
        .filter(|other| *other != database)
        .filter(has)
        .map(|name| format!("--database {name}"))
        .collect();
    if others.is_empty() { String::new() } else { format!("; one of that name is in {}", others.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_found_as_people_write_it_and_never_guessed_among_several() {
        let there: Vec<Relation> =
            [("public", "invoices"), ("old", "invoices"), ("public", "Mixed"), ("public", "a.b")]
                .map(|(schema, name)| (schema.to_owned(), name.to_owned(), 1))
                .into();
        let names = |wanted: &str| find(&there, wanted).into_iter().map(shown).collect::<Vec<_>>();
        assert_eq!(names("old.invoices"), ["old.invoices"]);
        assert_eq!(names("invoices").len(), 2);
        assert_eq!(names("mixed"), ["public.Mixed"]);
        assert_eq!(names("public.\"Mixed\""), ["public.Mixed"]);
        assert_eq!(names("\"a.b\""), ["public.a.b"]);
        assert!(names("invoice").is_empty());
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_comes_nearest() {
        let known = ["public.orders", "public.invoices"].map(str::to_owned);
        let said = missing("table", "invoice", &known);
        assert!(said.ends_with("there are: public.invoices, public.orders"), "{said}");
    }
}

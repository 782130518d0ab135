//! What a dump must leave out since its user may not read it: `pg_dump` would end there.

use super::client::{Client, bytes_of, unhex};
use crate::Result;

/// How many names a note holds.
const NAMES_MAX: usize = 20;
/// What `pg_dump` would stop at. The rows of a table with row security are only read by whom it doesn't concern; all else of it is.
const UNREADABLE: &str = "c.relname, n.nspname, NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) AS is_closed \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
    AND (NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) \
    OR (c.relkind IN ('r', 'p') AND row_security_active(c.oid))) ORDER BY 3, 4";
/// Large objects that it may not read: their rights are asked of nobody before PostgreSQL 18.
const LARGE_OBJECTS: &str = "SELECT m.oid FROM pg_largeobject_metadata m \
    WHERE current_setting('is_superuser') <> 'on' AND current_setting('lo_compat_privileges') <> 'on' AND NOT pg_has_role(m.lomowner, 'USAGE') \
    AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT' \
    AND CASE a.grantee WHEN 0 THEN true ELSE pg_has_role(a.grantee, 'USAGE') END) ORDER BY 1";
/// Subscriptions, which `pg_dump` leaves out with no more than a warning.
const SUBSCRIPTIONS: &str = "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid \
    WHERE d.datname = current_database() AND current_setting('is_superuser') <> 'on' ORDER BY 1";

/// What is left out of the dump of a database.
pub(super) struct Lacking {
    /// Whole tables, by the bytes of the names of their schemas and their own.
    pub(super) tables: Vec<(Vec<u8>, Vec<u8>)>,
    /// The rows of these.
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// All large objects.
    pub(super) large_objects: bool,
    /// The same for a person, with what to grant.
    pub(super) notes: Vec<String>,
}

/// Asks a database what of it the user may not read.
pub(super) fn look(client: &Client, database: &[u8]) -> Result<Lacking> {
    let question = format!("SELECT {}, {}, {UNREADABLE}", bytes_of("n.nspname"), bytes_of("c.relname"));
    let (mut tables, mut rows) = (Vec::new(), Vec::new());
    let (mut closed, mut secured) = (Vec::new(), Vec::new());
    for row in client.ask(database, &question)? {
        let [schema, table, name, schema_name, is_closed] = row.as_slice() else { continue };
        let (Some(schema), Some(table)) = (unhex(schema), unhex(table)) else { continue };
        let (left_out, names) =
            if is_closed == "t" { (&mut tables, &mut closed) } else { (&mut rows, &mut secured) };
        left_out.push((schema, table));
        names.push(format!("{schema_name}.{name}"));
    }
    let objects: Vec<String> = client.ask(database, LARGE_OBJECTS)?.into_iter().flatten().collect();
    let subscriptions: Vec<String> = client.ask(database, SUBSCRIPTIONS)?.into_iter().flatten().collect();
    let large_objects = !objects.is_empty();
    let told = [
        (closed, "its user may not read, so they are left out: ", ": GRANT pg_read_all_data to it"),
        (
            secured,
            "row security hides rows of these tables from its user, so their rows are left out: ",
            ": ALTER ROLE … BYPASSRLS, or dump as a superuser",
        ),
        (
            objects,
            "its user may not read some large objects, so that all are left out: ",
            ": GRANT SELECT ON LARGE OBJECT … to it, or dump as a superuser",
        ),
        (
            subscriptions,
            "only a superuser can dump subscriptions, so they are left out: ",
            ": dump as a superuser",
        ),
    ];
    let told = told.into_iter().filter(|(names, ..)| !names.is_empty());
    let notes = told.map(|(names, what, way)| format!("{what}{}{way}", list(names))).collect();
    Ok(Lacking { tables, rows, large_objects, notes })
}

/// Returns the first of some names.
fn list(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

//! What a server that has recovered is asked before anybody is told that it is back: whether a write is committed, and what will keep people from their work all the
//! same.

use super::logical::quoted;
use super::server::{Address, Server, sort};
use crate::Result;
use std::collections::BTreeMap;

/// How many databases are named.
const NAMED_MAX: usize = 20;

/// A table that nobody else sees. What a cluster was set to, all transactions only reading, holds no longer in it.
const IN_A_TABLE: &str = "BEGIN READ WRITE; SET LOCAL statement_timeout = '60s'; CREATE TEMPORARY TABLE releve_written (n int4) ON COMMIT DROP; \
    INSERT INTO pg_temp.releve_written VALUES (1); COMMIT";
/// Where we may make none, in the log alone, from where it is made durable in the same way.
const IN_THE_LOG: &str = "ROLLBACK; BEGIN READ WRITE; SET LOCAL statement_timeout = '60s'; \
    SELECT pg_logical_emit_message(true, 'releve', 'written'); COMMIT";
const STANDBYS: &str = "SELECT current_setting('synchronous_standby_names') WHERE current_setting('synchronous_standby_names') <> '' \
    AND NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))";
/// What was set for one user or one database is meant.
const READ_ONLY: &str = "SELECT 'on'::text FROM pg_settings WHERE name = 'default_transaction_read_only' AND reset_val = 'on' \
    AND source IN ('configuration file', 'command line', 'environment variable')";
/// From PostgreSQL 15 on a database remembers by which version its texts were sorted.
const DATABASES: &str = "SELECT datname::text, datcollversion::text, pg_database_collation_actual_version(oid)::text, datallowconn FROM pg_database \
    WHERE datcollversion <> pg_database_collation_actual_version(oid) ORDER BY datname";
/// Whose removal had begun and not ended at the instant that came back. Where its files are there it was invalid before, as it was captured: no recovery has taken anything from it.
const INVALID: &str = "SELECT datname::text FROM pg_database WHERE datconnlimit = -2 AND CASE \
    WHEN dattablespace <> 1663 THEN true ELSE (pg_stat_file('base/' || oid, true)).size IS NULL END ORDER BY datname";
/// Of whoever may not look for files.
const MAYBE_INVALID: &str = "SELECT datname::text FROM pg_database WHERE datconnlimit = -2 ORDER BY datname";
const SEES_FILES: &str =
    "SELECT 'yes'::text WHERE has_function_privilege('pg_stat_file(text, boolean)', 'execute')";
const OPEN: &str = "SELECT datname::text FROM pg_database WHERE datallowconn AND has_database_privilege(oid, 'CONNECT') ORDER BY datname";
/// The collations that something in a database names.
const COLLATIONS: &str = "SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.collname), c.collversion::text, \
    pg_collation_actual_version(c.oid)::text FROM pg_depend d JOIN pg_collation c ON d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid \
    JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.collversion <> pg_collation_actual_version(c.oid) ORDER BY 1";

impl Server {
    /// Commits a write. Until then nobody knows that it takes any: its disk may be full.
    pub(super) fn commits(&mut self) -> Result<()> {
        let wrong = |error: &super::session::Failed| sort("write to the recovered server", error);
        let Err(error) = self.client.batch_execute(IN_A_TABLE) else { return Ok(()) };
        // A right that is missing, or a trigger of somebody's, is ours to do without; a full disk is not.
        let may_pass = |class: &str| !["53", "58", "XX"].iter().any(|grave| class.starts_with(grave));
        match error.code() {
            Some(code) if may_pass(code.code()) => {
                self.client.batch_execute(IN_THE_LOG).map_err(|error| wrong(&error))
            }
            _ => Err(wrong(&error)),
        }
    }

    /// Says what keeps those from working who write, although it takes our writes: a standby that nobody brought back, a setting.
    pub(super) fn hinders(&mut self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if let Some(names) = self.only(STANDBYS)? {
            found.push(format!(
                "every commit waits for a standby that is not there (synchronous_standby_names = '{names}'): start it, or type: ALTER SYSTEM SET \
                 synchronous_standby_names = ''; SELECT pg_reload_conf();"
            ));
        }
        // A server looks at what a statement may call before it calls anything: so these are two.
        let which = if self.only(SEES_FILES)?.is_some() { INVALID } else { MAYBE_INVALID };
        let invalid = self.client.query(which, &[]).map_err(|error| sort("ask the server", &error))?;
        for row in invalid.iter().take(NAMED_MAX) {
            let name: String = row.get(0);
            found.push(format!(
                "the database {name} is NOT BACK: at that instant its removal had begun, and its files are gone. To have it: recover once more, to an instant \
                 some seconds earlier; else type: DROP DATABASE {};",
                quoted(&name)
            ));
        }
        if self.only(READ_ONLY)?.is_some() {
            found.push(
                "it refuses everybody's writes, as it did when it was captured (default_transaction_read_only = on): if that is over, type: ALTER SYSTEM SET \
                 default_transaction_read_only = off; SELECT pg_reload_conf();"
                    .to_owned(),
            );
        }
        Ok(found)
    }

    fn only(&mut self, query: &str) -> Result<Option<String>> {
        let row = self.client.query_opt(query, &[]).map_err(|error| sort("ask the server", &error))?;
        Ok(row.map(|row| row.get(0)))
    }
}

/// What is to be typed in one database.
#[derive(Debug, Default)]
struct Resorted {
    /// `1.2, here it is 1.3`.
    versions: Vec<String>,
    /// What tells the server that it was done.
    refresh: Vec<String>,
    lets_nobody_in: bool,
}

/// Says of which databases texts were sorted by another version of the C library or of ICU than is here: their indexes may not find what is there. It is said as long
/// as nobody has rebuilt them and told the server. `told` hears what could not be asked.
pub(super) fn resorted(server: &mut Server, address: &Address, told: &dyn Fn(&str)) -> Vec<String> {
    let mut found: BTreeMap<String, Resorted> = BTreeMap::new();
    let text = |row: &tokio_postgres::Row, at: usize| row.try_get::<_, String>(at).unwrap_or_default();
    if server.major() >= 15 {
        let rows = server
            .client
            .query(DATABASES, &[])
            .map_err(|error| sort("ask for versions of collations", &error));
        for row in or_told(rows, told) {
            let own = found.entry(text(&row, 0)).or_default();
            own.versions.push(format!("{}, here it is {}", text(&row, 1), text(&row, 2)));
            own.refresh.push(format!("ALTER DATABASE {} REFRESH COLLATION VERSION;", quoted(&text(&row, 0))));
            own.lets_nobody_in = !row.try_get(3).unwrap_or(true);
        }
    }
    let rows = server.client.query(OPEN, &[]).map_err(|error| sort("ask for databases", &error));
    for database in or_told(rows, told).iter().map(|row| text(row, 0)) {
        let rows = address.in_database(&database).connect().and_then(|mut server| {
            let place = || format!("ask for versions of collations in {database}");
            server.client.query(COLLATIONS, &[]).map_err(|error| sort(place(), &error))
        });
        for row in or_told(rows, told) {
            let own = found.entry(database.clone()).or_default();
            own.versions.push(format!("{} {}, here it is {}", text(&row, 0), text(&row, 1), text(&row, 2)));
            own.refresh.push(format!("ALTER COLLATION {} REFRESH VERSION;", text(&row, 0)));
        }
    }
    let more = found.len().saturating_sub(NAMED_MAX);
    let mut lines: Vec<String> = found.iter().take(NAMED_MAX).map(|(name, own)| said(name, own)).collect();
    lines.extend(
        (more > 0).then(|| format!("and {more} more databases whose texts were sorted by another version")),
    );
    lines
}

fn or_told(rows: Result<Vec<tokio_postgres::Row>>, told: &dyn Fn(&str)) -> Vec<tokio_postgres::Row> {
    rows.unwrap_or_else(|error| {
        told(&format!("whether its text indexes are right on this machine could not be asked: {error}"));
        Vec::new()
    })
}

fn said(name: &str, own: &Resorted) -> String {
    let (versions, refresh) = (own.versions.join("; "), own.refresh.join(" "));
    if own.lets_nobody_in {
        // A template of which nobody's data are.
        return format!(
            "the database {name} was made with another version of the C library or ICU ({versions}): type: {refresh}"
        );
    }
    format!(
        "the texts of the database {name} were sorted by another version of the C library or ICU ({versions}), and its text indexes may not find what is there: \
         connect to it and type: REINDEX DATABASE {}; {refresh}",
        quoted(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_names_the_database_as_sql_does() {
        let mut own = Resorted { versions: vec!["1, here it is 2".into()], ..Resorted::default() };
        own.refresh.push("ALTER DATABASE \"it's \"\"so\" REFRESH COLLATION VERSION;".into());
        let line = said("it's \"so", &own);
        assert!(line.contains("type: REINDEX DATABASE \"it's \"\"so\"; ALTER DATABASE"), "{line}");
        own.lets_nobody_in = true;
        assert!(!said("template0", &own).contains("REINDEX"), "nobody can connect to it");
    }
}

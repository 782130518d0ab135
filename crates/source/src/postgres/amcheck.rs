//! Looks through a running cluster for damage that no checksum shows, with PostgreSQL's own `pg_amcheck`: what a table holds, and whether its
//! indexes agree with it.
//!
//! Nothing is installed: the extension amcheck takes a superuser, and would be in the database from then on. Where it isn't, that is said.

use super::programs::program;
use super::server::{Address, Server, sort};
use crate::{Inspection, Program, Result};
use process::Words;
use std::path::Path;
use std::time::Duration;

/// How long it may take: beyond that a person does it when he has the time.
const WITHIN: Duration = Duration::from_secs(3600);
/// How much of its output is looked at, and how many findings are told.
const OUTPUT_BYTES_MAX: usize = 16 << 20;
const FINDINGS_MAX: usize = 100;
/// The first version that has the program.
const MAJOR_MIN: i32 = 14;

const DATABASES: &str =
    "SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname";
const RIGHTS: &str = "SELECT bool_and(has_schema_privilege(p.pronamespace, 'usage') AND has_function_privilege(p.oid, 'execute')) \
    FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass \
    JOIN pg_proc p ON p.oid = d.objid WHERE e.extname = 'amcheck' AND p.proname IN ('bt_index_check', 'verify_heapam')";

/// Looks through all databases that can be.
pub(super) fn inspect(address: &Address, programs: Option<&Path>) -> Result<Inspection> {
    let mut server = address.connect()?;
    let mut inspection = Inspection::default();
    let databases = server.databases()?;
    if server.major() < MAJOR_MIN {
        inspection.left_out.push(format!("PostgreSQL {} has no pg_amcheck", server.major()));
        return Ok(inspection);
    }
    let check = match program("pg_amcheck", &server.major().to_string(), programs) {
        Ok(path) => path,
        Err(why) => {
            inspection.left_out.push(why.to_string());
            return Ok(inspection);
        }
    };
    for database in databases {
        let rights = address.in_database(&database).connect().and_then(|mut server| server.may_amcheck());
        match rights {
            Ok(Some(true)) => inspection.looked_through.push(database),
            Ok(Some(false)) => inspection
                .left_out
                .push(format!("{database}: its user may not call the functions of the extension amcheck")),
            Ok(None) => {
                inspection.left_out.push(format!("{database}: the extension amcheck is not installed in it"));
            }
            Err(why) => inspection.left_out.push(format!("{database}: {why}")),
        }
    }
    if inspection.looked_through.is_empty() {
        return Ok(inspection);
    }
    let mut command = Words::of(check).words(["--no-password", "--heapallindexed"]);
    if let Some(database) = address.database() {
        command = command.option("--maintenance-db", database);
    }
    for name in &inspection.looked_through {
        command = command.option("--database", literal(name));
    }
    let program = Program::new(command)?.environment(address.environment()).confined().within(WITHIN);
    let ended = program.printed(OUTPUT_BYTES_MAX).and_then(|(printed, mut running)| {
        inspection.findings = findings(&String::from_utf8_lossy(&printed));
        running.end(WITHIN)
    });
    // With findings it ends badly, too.
    if let (Err(why), true) = (ended, inspection.findings.is_empty()) {
        let databases = std::mem::take(&mut inspection.looked_through).join(", ");
        inspection.left_out.push(format!("{databases}: {why}"));
    }
    Ok(inspection)
}

impl Server {
    fn databases(&mut self) -> Result<Vec<String>> {
        let rows = self.client.query(DATABASES, &[]).map_err(|error| sort("ask for databases", &error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Returns whether the functions of the extension may be called; `None` where it isn't.
    fn may_amcheck(&mut self) -> Result<Option<bool>> {
        let row = self.client.query_one(RIGHTS, &[]);
        Ok(row.map_err(|error| sort("ask for the extension amcheck", &error))?.get(0))
    }
}

/// Returns a pattern that only this name fits.
fn literal(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads what the program has found: the relation in a line, and what is wrong with it in indented ones.
fn findings(printed: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        match found.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
            Some(last) => *last = format!("{last} {}", line.trim()),
            None => found.push(line.trim().to_owned()),
        }
    }
    let more = found.len().saturating_sub(FINDINGS_MAX);
    found.truncate(FINDINGS_MAX);
    found.extend((more > 0).then(|| format!("and {more} more")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_names_its_relation_and_what_is_wrong() {
        let printed = "heap table \"shop.public.t\", block 0, offset 1, attribute 0:\n    attribute ends too early\n\
            btree index \"shop.public.t_n\":\n    ERROR:  item order invariant violated\n    DETAIL:  Lower index tid\n";
        assert_eq!(
            findings(printed),
            [
                "heap table \"shop.public.t\", block 0, offset 1, attribute 0: attribute ends too early",
                "btree index \"shop.public.t_n\": ERROR:  item order invariant violated DETAIL:  Lower index tid"
            ]
        );
        assert!(findings("\n").is_empty());
        assert_eq!(findings(&"x\n".repeat(150)).last().unwrap(), "and 50 more");
    }

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(literal("a*\"b"), "\"a*\"\"b\"");
    }
}

//! Who else is connected to a server: what he writes while it is loaded gets in the way of that, or is lost.

use super::LOOK_WITHIN;
use super::client::Client;
use super::definers::literal;
use crate::{Error, Kind};
use std::collections::BTreeMap;

/// The server's own threads, replicas and the agent, which receives its log, write nothing; whoever has our name is taken for us.
const QUESTION: &str = "\
SELECT USER, HOST FROM information_schema.PROCESSLIST
    WHERE ID <> CONNECTION_ID() AND USER <> SUBSTRING_INDEX(USER(), '@', 1)
    AND USER NOT IN ('system user', 'event_scheduler', 'unauthenticated user')
    AND COMMAND NOT IN ('Daemon', 'Binlog Dump', 'Slave_IO', 'Slave_SQL', 'Slave_worker')";

/// What a statement of a dump or a log runs into when somebody else changes rows and tables meanwhile: a key that is there already, a row, a table or a
/// database that isn't, a table that is, a lock.
const CROSSED: [u32; 11] = [1032, 1049, 1050, 1062, 1146, 1205, 1213, 1216, 1217, 1451, 1452];

/// Returns who is connected, by user and host; nobody where it can't be asked.
pub(super) fn connected(client: &Client) -> Vec<String> {
    client.ask_within(QUESTION, LOOK_WITHIN).map(named).unwrap_or_default()
}

fn named(rows: Vec<Vec<String>>) -> Vec<String> {
    let mut all: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in rows {
        let mut row = row.into_iter();
        let (Some(user), Some(host)) = (row.next(), row.next()) else { continue };
        // Each connection has a port of its own.
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let plain = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map(|(host, _)| host.to_owned());
        *all.entry((user, plain.unwrap_or(host))).or_default() += 1;
    }
    let named = all.into_iter().map(|((user, host), count)| match count {
        1 => format!("{user} from {host}"),
        many => format!("{user} from {host} ({many} connections)"),
    });
    named.collect()
}

/// How an error of a replay says of which rows it is.
const ROWS_OF: &str = "that is rows of ";

/// Says who is the likely cause, where a load or a replay ran into what somebody else has written.
pub(super) fn blame(client: &Client, error: Error, is_replayed: bool) -> Error {
    let Error { place, kind } = error;
    let said = |said: String| {
        let why = rounded(client, &said).unwrap_or_else(|| cause(&connected(client), is_replayed));
        said + &why
    };
    let kind = match kind {
        Kind::Server { said: text, is_down } if is_crossed(&text) => {
            Kind::Server { said: said(text), is_down }
        }
        Kind::Program(text) if is_crossed(&text) => Kind::Program(said(text)),
        other => other,
    };
    Error { place, kind }
}

/// Says that a row of a log isn't found, where that is since a dump has not all its digits.
fn rounded(client: &Client, said: &str) -> Option<String> {
    let table = said.contains("ERROR 1032 ").then(|| table_in(said)).flatten()?;
    let asked = client.ask_within(
        &format!(
            "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) = {}
                AND COLUMN_TYPE LIKE 'float%' AND COLUMN_TYPE NOT LIKE 'float(%'",
            literal(&table)
        ),
        LOOK_WITHIN,
    );
    let count = asked.ok()?.concat().concat();
    (count != "0").then(|| {
        format!(
            "; the likely cause: {table} has a FLOAT column, of which a dump has six digits, and no key by which its rows are found. With copy = \"physical\" it comes back whole; \
            of this point, what --until says above does"
        )
    })
}

/// Returns the table of whose rows an error says that it is, as `database.table`.
fn table_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once(ROWS_OF)?;
    let (name, _) = rest.split_once(" of transaction ")?;
    let (database, table) = name.strip_prefix('`')?.strip_suffix('`')?.split_once("`.`")?;
    Some(format!("{}.{}", database.replace("``", "`"), table.replace("``", "`")))
}

fn is_crossed(said: &str) -> bool {
    CROSSED.iter().any(|code| said.contains(&format!("ERROR {code} ")))
}

fn cause(others: &[String], is_replayed: bool) -> String {
    match (others.is_empty(), is_replayed) {
        (false, is_replayed) => {
            let earlier = match is_replayed {
                true => ". If it is the same then, and one wrote while an earlier recovery failed: recover to right before that, with --before",
                false => "",
            };
            format!(
                "; the likely cause: somebody else writes to this server: {}; stop that, and recover again{earlier}",
                others.join(", ")
            )
        }
        // What came during an earlier one stands in the server's log from then on, among what is replayed.
        (true, true) => "; if an application wrote to this server just now, during the recovery: stop it, and type the same again. If one wrote while an earlier recovery failed: \
            recover to right before that, with --before"
            .to_owned(),
        (true, false) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_is_named_once_with_his_host_and_without_his_ports() {
        let row = |user: &str, host: &str| vec![user.to_owned(), host.to_owned()];
        let rows = vec![
            row("app", "10.0.0.5:40112"),
            row("cron", "localhost"),
            row("app", "10.0.0.5:40114"),
            row("app", "db-client.example:555"),
        ];
        assert_eq!(
            named(rows),
            ["app from 10.0.0.5 (2 connections)", "app from db-client.example", "cron from localhost"]
        );
    }

    #[test]
    fn the_table_of_an_error_is_read() {
        let said = "ERROR 1032 (HY000) at line 348: Can't find record in 'f'; that is rows of `shop`.`f``s` of transaction 0-7-6, at b.000001 1380";
        assert_eq!(table_in(said).unwrap(), "shop.f`s");
        assert_eq!(table_in("that is `drop table t` of transaction 0-7-6"), None);
    }

    #[test]
    fn only_an_error_that_somebody_else_can_have_made_is_blamed_on_him() {
        assert!(is_crossed("ERROR 1062 (23000) at line 40441: Duplicate entry '32907' for key 'PRIMARY'"));
        assert!(!is_crossed("ERROR 1064 (42000) at line 1: You have an error in your SQL syntax"));
        let others = ["app from 10.0.0.5".to_owned()];
        assert!(cause(&others, true).contains("app from 10.0.0.5"));
        for others in [&[][..], &others] {
            let said = cause(others, true);
            assert!(said.contains("--before") && said.contains("stop "), "{said}");
        }
        assert!(!cause(&others, false).contains("--before"));
        assert_eq!(cause(&[], false), "");
    }
}

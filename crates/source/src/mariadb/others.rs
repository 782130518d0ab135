//! Who else is connected to a server: what he writes while it is loaded gets in the way of that, or is lost.

use super::LOOK_WITHIN;
use super::client::Client;
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

/// Says who is the likely cause, where a load or a replay ran into what somebody else has written.
pub(super) fn blame(client: &Client, error: Error, is_replayed: bool) -> Error {
    let Error { place, kind } = error;
    let kind = match kind {
        Kind::Server { said, is_down } if is_crossed(&said) => {
            Kind::Server { said: format!("{said}{}", cause(&connected(client), is_replayed)), is_down }
        }
        Kind::Program(said) if is_crossed(&said) => {
            Kind::Program(format!("{said}{}", cause(&connected(client), is_replayed)))
        }
        other => other,
    };
    Error { place, kind }
}

fn is_crossed(said: &str) -> bool {
    CROSSED.iter().any(|code| said.contains(&format!("ERROR {code} ")))
}

fn cause(others: &[String], is_replayed: bool) -> String {
    match (others.is_empty(), is_replayed) {
        (false, _) => format!(
            "; the likely cause: somebody else writes to this server: {}; stop that, and recover again",
            others.join(", ")
        ),
        // It stands in the server's log from then on, among what is replayed.
        (true, true) => {
            "; if somebody wrote to this server while an earlier recovery failed, recover to right before that, with --before".to_owned()
        }
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
    fn only_an_error_that_somebody_else_can_have_made_is_blamed_on_him() {
        assert!(is_crossed("ERROR 1062 (23000) at line 40441: Duplicate entry '32907' for key 'PRIMARY'"));
        assert!(!is_crossed("ERROR 1064 (42000) at line 1: You have an error in your SQL syntax"));
        let others = ["app from 10.0.0.5".to_owned()];
        assert!(cause(&others, true).contains("app from 10.0.0.5"));
        assert!(cause(&[], true).contains("--before"));
        assert_eq!(cause(&[], false), "");
    }
}

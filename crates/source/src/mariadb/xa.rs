//! Transactions of several servers (XA) that are prepared and not ended: they are in no dump, keep their locks whoever goes, and may be ended at any time.

use super::client::Client;
use crate::{Error, Kind, Result};
use std::time::{Duration, Instant};

/// How long one is waited for: whoever prepares one ends it at once, unless he is gone.
const WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Says which ones were there before a dump and stayed. What began later, and was quick, is in the log.
pub(super) fn lasting(client: &Client) -> Vec<String> {
    let Ok(mut all) = prepared(client) else { return Vec::new() };
    let until = Instant::now() + WITHIN;
    while !all.is_empty() && Instant::now() < until {
        std::thread::park_timeout(LOOK_EVERY);
        let Ok(now) = prepared(client) else { break };
        all.retain(|name| now.contains(name));
    }
    let told = all.iter().map(|name| {
        format!("the transaction {name} is prepared and nobody ends it: what it did is not in the dump; type XA COMMIT {name}, or XA ROLLBACK {name}")
    });
    told.collect()
}

/// Refuses a server on which one holds its locks: what is to be replaced would be waited for, a day long.
pub(super) fn none_in_the_way(client: &Client) -> Result<()> {
    let Some(name) = prepared(client)?.into_iter().next() else { return Ok(()) };
    let why = format!(
        "the transaction {name} is prepared on this server and locks what is to be replaced: type XA ROLLBACK {name}, or XA COMMIT {name}"
    );
    Err(Error::new(client.address.to_string(), Kind::Invalid(why)))
}

/// Returns whether the server knows any.
pub(super) fn is_any(client: &Client) -> Result<bool> {
    prepared(client).map(|all| !all.is_empty())
}

/// Returns their names, as statements write them.
fn prepared(client: &Client) -> Result<Vec<String>> {
    let rows = client.ask("XA RECOVER FORMAT = 'SQL'")?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().nth(3)).collect())
}

//! How a database takes the place of another: what stands there is closed and set aside under another name, comes back if anything fails, and goes when the new one
//! is in.
//!
//! ```text
//! NAME                what people use
//! NAME.releve-old     what stood there, closed: it comes back unless the new one takes its place
//! NAME.releve-gone    what stood there, closed, when the new one had taken its place
//! ```
//!
//! Whatever fails, what people use lets them in again. A run that was killed may leave it closed: a database that is loaded was open when it was dumped, so the next
//! run opens it.

use super::ASIDE;
use super::client::{Client, bytes_of, literal, quoted, unhex};
use crate::{Error, Kind, Result};

/// What the name of a database ends with in the place of which another has come.
const GONE: &str = ".releve-gone";
/// A name has 63 bytes at most.
const NAME_BYTES_MAX: usize = 63;

/// Returns what a database is called while another takes its place.
pub(super) fn aside(name: &str) -> String {
    with(name, ASIDE)
}

/// Returns a database's own name, as much as there is room for, with an ending.
fn with(name: &str, ending: &str) -> String {
    let whole = format!("{name}{ending}");
    if whole.len() <= NAME_BYTES_MAX {
        return whole;
    }
    let mark = format!(".{:08x}{ending}", crc32fast::hash(name.as_bytes()));
    let room = NAME_BYTES_MAX.saturating_sub(mark.len());
    let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{mark}", name.get(..end).unwrap_or_default())
}

/// Returns whether a closed database is one that was set aside.
pub(super) fn is_ours(name: &str) -> bool {
    name.ends_with(ASIDE) || name.ends_with(GONE)
}

/// Returns whether a database of this name is there, and whether anything is that may have been set aside of it.
pub(super) fn standing(client: &Client, name: &str) -> Result<(bool, bool)> {
    let (own, before, gone) = (literal(name), literal(&aside(name)), literal(&with(name, GONE)));
    let question =
        format!("SELECT datname = {own} FROM pg_database WHERE datname IN ({own}, {before}, {gone})");
    let found: Vec<String> = client.ask(client.neutral(), &question)?.into_iter().flatten().collect();
    let is_any = |what: &str| found.iter().any(|found| found == what);
    Ok((is_any("t"), is_any("f")))
}

pub(super) fn is_there(client: &Client, name: &str) -> Result<bool> {
    bytes_at(client, name).map(|found| found.is_some())
}

/// Returns the name of a database as the server holds it, by which it is reached; `None` where it isn't there.
pub(super) fn bytes_at(client: &Client, name: &str) -> Result<Option<Vec<u8>>> {
    let question =
        format!("SELECT {} FROM pg_database WHERE datname = {}", bytes_of("datname"), literal(name));
    let rows = client.ask(client.neutral(), &question)?;
    Ok(rows.first().and_then(|row| row.first()).and_then(|text| unhex(text)))
}

/// Closes what stands there and sets it aside.
pub(super) fn set_aside(client: &Client, name: &str) -> Result<()> {
    let moved = close(client, name).and_then(|()| rename(client, name, &aside(name)));
    if moved.is_err() {
        // Whatever failed, it is used.
        let _ = open(client, name);
    }
    moved
}

/// Takes what was loaded of a database away, and gives the one that was set aside its name again. What people use lets them in afterwards.
pub(super) fn take_back(client: &Client, name: &str) -> Result<()> {
    let there = aside(name);
    if !was_set_aside(client, &there)? {
        return Ok(());
    }
    if let Err(error) = drop_it(client, name) {
        let _ = open(client, name);
        return Err(error);
    }
    rename(client, &there, name)?;
    open(client, name)
}

/// Removes what stood there before another took its place, where an earlier run could not.
pub(super) fn clear(client: &Client, name: &str) -> Result<()> {
    let gone = with(name, GONE);
    if was_set_aside(client, &gone)? { drop_it(client, &gone) } else { Ok(()) }
}

/// Returns whether a database is there that was set aside. Another of its name is somebody's.
fn was_set_aside(client: &Client, name: &str) -> Result<bool> {
    let question = format!("SELECT datallowconn FROM pg_database WHERE datname = {}", literal(name));
    let rows = client.ask(client.neutral(), &question)?;
    match rows.first().and_then(|row| row.first()).map(String::as_str) {
        None => Ok(false),
        // What we set aside is closed from before it has its name.
        Some("t") => {
            let why = format!(
                "a database `{name}` is there that lets people in, so it may be somebody's, and Relève needs the name: rename it, or drop it if nobody wants it"
            );
            Err(Error::new(client.address.to_string(), Kind::Invalid(why)))
        }
        Some(_) => Ok(true),
    }
}

/// Lets go of what stood there, now that the new one has its place. That it can't go costs nobody the new one: then the answer says what is left.
pub(super) fn let_go(client: &Client, name: &str) -> Result<Option<String>> {
    let (before, gone) = (aside(name), with(name, GONE));
    if !is_there(client, &before)? {
        return Ok(None);
    }
    // From here on it doesn't come back.
    rename(client, &before, &gone)?;
    let dropped = drop_it(client, &gone);
    Ok(dropped.err().map(|error| {
        format!("what stood there before is the database `{gone}` still, which nobody enters; it could not be dropped ({error}): drop it by hand")
    }))
}

/// Removes a database, if it is there. One that could not be removed may be closed.
pub(super) fn drop_it(client: &Client, name: &str) -> Result<()> {
    let Some(database) = bytes_at(client, name)? else { return Ok(()) };
    unsubscribe(client, &database, name)?;
    close(client, name)?;
    client.tell(client.neutral(), &format!("DROP DATABASE {}", quoted(name)))
}

/// Lets people in a database again.
pub(super) fn open(client: &Client, name: &str) -> Result<()> {
    client.tell(client.neutral(), &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", quoted(name)))
}

fn rename(client: &Client, from: &str, to: &str) -> Result<()> {
    client.tell(client.neutral(), &format!("ALTER DATABASE {} RENAME TO {}", quoted(from), quoted(to)))
}

/// Removes the subscriptions of a database: with one it can't be dropped. What their publishers keep for them stays there, since the database that comes
/// in the place of this one may go on with it.
fn unsubscribe(client: &Client, database: &[u8], name: &str) -> Result<()> {
    let subscriptions = subscriptions(client, name)?;
    if subscriptions.is_empty() {
        return Ok(());
    }
    open(client, name)?;
    for subscription in subscriptions {
        let subscription = quoted(&subscription);
        for statement in [
            format!("ALTER SUBSCRIPTION {subscription} DISABLE"),
            format!("ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)"),
            format!("DROP SUBSCRIPTION {subscription}"),
        ] {
            client.tell(database, &statement)?;
        }
    }
    Ok(())
}

/// Returns the names of the subscriptions of a database.
pub(super) fn subscriptions(client: &Client, name: &str) -> Result<Vec<String>> {
    let question = format!(
        "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = {} ORDER BY 1",
        literal(name)
    );
    Ok(client.ask(client.neutral(), &question)?.into_iter().flatten().collect())
}

/// Lets nobody in a database, and sends away who is.
fn close(client: &Client, name: &str) -> Result<()> {
    client
        .tell(client.neutral(), &format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", quoted(name)))?;
    let sent = format!(
        "SELECT pg_terminate_backend(pid), pg_sleep(0.2) FROM pg_stat_activity WHERE datname = {}",
        literal(name)
    );
    let mut left = client.ask(client.neutral(), &sent)?;
    for _ in 0..50 {
        if left.is_empty() {
            return Ok(());
        }
        left = client.ask(client.neutral(), &sent)?;
    }
    let why = format!("somebody stays connected to the database {name}: stop what uses it");
    Err(Error::new(client.address.to_string(), Kind::InUse(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_name_there_is_another_that_the_server_takes() {
        assert_eq!(aside("shop"), "shop.releve-old");
        let long = "n".repeat(63);
        let accents = "é".repeat(31);
        for name in [long.as_str(), accents.as_str(), &"n".repeat(53)] {
            let (other, gone) = (aside(name), with(name, GONE));
            assert!(other.len() <= 63 && other.ends_with(ASIDE) && other != name, "{other}");
            assert!(gone.len() <= 63 && is_ours(&gone) && gone != other, "{gone}");
        }
        assert_ne!(aside(&format!("{long}a")), aside(&format!("{long}b")));
    }
}

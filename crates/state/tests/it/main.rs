//! The contracts of the state: of the store behind it, and of the records above it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test may panic, and so may what only tests call"
)]

mod damage;
mod kv;
mod lease;
mod ledger;
mod watch;

use jiff::Timestamp;
use state::{Kv, Outcome, Revision};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// Takes a write for done.
fn done(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Done(revision) => revision,
        Outcome::Conflict(stands) => panic!("a conflict with {stands:?}"),
    }
}

fn keys(store: &dyn Kv, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().into_iter().map(|(key, _)| key).collect()
}

//! What a newer program has written into the records: it is kept as it is, is part of the chain, and is passed over by whoever reads.

use crate::ledger::{hash, parse, sealed};
use crate::{Body, Record, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// What every record has, whatever it tells of.
#[derive(Debug, Deserialize)]
struct Frame {
    number: u64,
    time: Timestamp,
    #[serde(rename = "body")]
    _body: Kind,
    previous: String,
    hash: String,
}

#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(rename = "kind")]
    _kind: String,
}

/// Reads a record. One that fits its own hash and can't be read as one of ours is a newer program's, also where only what is in it is of a kind that isn't known (an entry
/// of an incident); one that doesn't is damaged.
pub(crate) fn read(key: &str, value: &[u8]) -> Result<Record> {
    let wrong = match parse::<Record>(key, value) {
        Ok(record) => return Ok(record),
        Err(wrong) => wrong,
    };
    let is_as_written = |frame: &Frame| sealed(value).is_some_and(|content| hash(content) == frame.hash);
    let frame = serde_json::from_slice::<Frame>(value).ok().filter(is_as_written);
    let Some(Frame { number, time, previous, hash, .. }) = frame else { return Err(wrong) };
    Ok(Record { number, time, body: Body::Unknown, previous, hash })
}

impl Record {
    /// Returns whether a newer program has written it: what it says isn't known here.
    #[must_use]
    pub fn is_of_newer(&self) -> bool {
        self.body == Body::Unknown
    }
}

//! Whether records are a chain: each fits the one before it, and none of the newest is gone. The note of the newest is written before the first record is, so that
//! records without it are a sign of somebody's hand as well.

use crate::ledger::{hash, parse, record_key, sealed};
use crate::{Error, Result};
use serde::Deserialize;

/// Where the number and the hash of the newest record stand.
pub(crate) const HEAD: &str = "head";
/// Where records are there and that isn't.
pub(crate) const NEWEST: &str = "the newest record";
pub(crate) const HEADLESS: &str =
    "which one it is isn't noted any more: somebody has removed that, and maybe the newest records with it";

/// What the first record has before it.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Checks that these records, in the order of their keys, are a chain that ends no sooner than at this head; returns how many there are.
pub(crate) fn check_chain<'a>(
    records: impl Iterator<Item = (&'a str, &'a [u8])>,
    head: &(u64, String),
) -> Result<u64> {
    match chain(records, head) {
        (count, None) => Ok(count),
        (_, Some(error)) => Err(error),
    }
}

/// Returns how many of these records are a chain from the first on, and what is wrong with the one behind them, if something is.
pub(crate) fn chain<'a>(
    records: impl Iterator<Item = (&'a str, &'a [u8])>,
    head: &(u64, String),
) -> (u64, Option<Error>) {
    let mut previous = NO_HASH.to_owned();
    let mut whole = 0;
    for (key, value) in records {
        let count = whole + 1;
        let link: Link = match parse(key, value) {
            Ok(link) => link,
            Err(error) => return (whole, Some(error)),
        };
        let fits = key == record_key(count)
            && link.number == count
            && link.previous == previous
            && sealed(value).is_some_and(|content| hash(content) == link.hash)
            && (head.0 != count || head.1 == link.hash);
        if !fits {
            let error = Error::corrupt(
                format!("record {}", link.number),
                "it doesn't fit the chain: it was changed, or one before it is gone",
            );
            return (whole, Some(error));
        }
        previous = link.hash;
        whole = count;
    }
    let gone =
        || Error::corrupt(format!("record {}", whole + 1), "it is gone: the newest records were removed");
    (whole, (head.0 > whole).then(gone))
}

/// Reads the number and the hash of the newest record.
pub(crate) fn read_head(value: &[u8]) -> Result<(u64, String)> {
    parse(HEAD, value)
}

/// Returns the head of no records.
pub(crate) fn no_head() -> (u64, String) {
    (0, NO_HASH.to_owned())
}

/// What the chain needs of a record, whatever else a newer version has put into it.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    number: u64,
    previous: String,
    pub(crate) hash: String,
}

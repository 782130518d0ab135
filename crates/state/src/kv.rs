//! The small key-value interface that everything durable goes through. SQLite stands behind it today, etcd later.

use crate::ledger::parse;
use crate::{Result, State};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long a key may be, in bytes. Keys are paths of a few names; this leaves room and fits any store.
pub const KEY_BYTES_MAX: usize = 1024;
/// How long a value may be, in bytes: what etcd takes by default in one request (1.5 MiB), less room for the key.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Counts changes of the whole store. Each change has a revision of its own, greater than all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// A value and the revision at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes, as they were put.
    pub value: Vec<u8>,
    /// When they were put.
    pub revision: Revision,
}

/// What must stand under a key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The value that was written at this revision, unchanged.
    Revision(Revision),
    /// Whatever; the last writer wins.
    Any,
}

/// What came of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a conflict means that nothing was written"]
pub enum Outcome {
    /// It happened, at this revision.
    Done(Revision),
    /// It did not: this stands there instead of what was expected, `None` for nothing.
    Conflict(Option<Revision>),
}

/// Says that a key changed. Read the key for what it holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which key.
    pub key: String,
    /// Its newest change.
    pub revision: Revision,
    /// Whether it is gone.
    pub deleted: bool,
}

/// A right that is held until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What the right is to.
    pub name: String,
    /// Who has it, in the holder's own words.
    pub holder: String,
    /// The fencing token: greater for each new grant under this name. Whoever acts for the holder shows it,
    /// and what is acted on refuses one that is smaller than the greatest it has seen.
    pub token: u64,
    /// From this instant on another may take it.
    pub expires: Timestamp,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the lease may be another's"]
pub enum Grant {
    /// It is ours.
    Held(Lease),
    /// It is another's, still.
    Taken(Lease),
}

/// Where durable facts lie. The contract, which `tests/it/kv.rs` holds every implementation to:
///
/// - **Keys** are text of 1 to [`KEY_BYTES_MAX`] bytes, compared byte by byte; by custom paths with `/`. **Values** are any
///   bytes, [`VALUE_BYTES_MAX`] at most. Anything else is `Unstorable`, and nothing is written.
/// - **One order.** All writes happen one after another, across threads, processes and, where the store is distributed, hosts. What a call
///   returned as done, every later call of anyone sees.
/// - **Whole or not at all, and durable on return.** A writer killed at any instant leaves the old value or the new one.
/// - **A conflict is an answer**, not an error: somebody else was faster. Read again, decide again.
/// - **An error leaves open** whether a write happened. A caller that must know reads the key.
/// - **Retries live here**: an implementation waits out contention for a bounded time and then says `Busy`, which is retryable.
/// - **Absence is observed.** A store that can't be reached is an error, never `None` and never an empty list.
/// - **Time is the caller's.** A lease is judged by the `now` that is passed in. Callers whose clocks differ by more than
///   they add to the lease's life can each think that they hold it: that is what the token is for.
/// - Calls come from several threads at once.
pub trait Kv: Send + Sync + fmt::Debug {
    /// Returns what stands under `key`.
    fn get(&self, key: &str) -> Result<Option<Versioned>>;

    /// Puts `value` under `key` if what stands there is as expected.
    fn put(&self, key: &str, value: &[u8], expect: Expect) -> Result<Outcome>;

    /// Puts each value under its key, whatever stands there: all of them at one instant, or none.
    fn put_all(&self, values: &[(String, Vec<u8>)]) -> Result<()>;

    /// Removes `key` if what stands there is as expected. Removing what isn't there with [`Expect::Any`] or
    /// [`Expect::Absent`] is done without a change, at the current revision.
    fn delete(&self, key: &str, expect: Expect) -> Result<Outcome>;

    /// Returns all keys that begin with `prefix` (all keys, if it is empty) as they stood at one instant, in the order of their bytes.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>>;

    /// Returns the revision of the newest change. Watching from here misses nothing that comes later.
    fn revision(&self) -> Result<Revision>;

    /// Watches the keys that begin with `prefix`, for changes after `after`.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch + '_>>;

    /// Takes the lease `name` for `holder` until `now + ttl`, if nobody has it or it has expired. A holder that has it
    /// already is not given it twice: two runs of one holder must exclude each other too.
    fn lease(&self, name: &str, holder: &str, ttl: SignedDuration, now: Timestamp) -> Result<Grant>;

    /// Prolongs a lease to `now + ttl`. `LeaseLost` if it has expired, even where nobody took it since.
    fn renew(&self, lease: &Lease, ttl: SignedDuration, now: Timestamp) -> Result<Lease>;

    /// Ends the lease `name` if it still has this token; harmless otherwise. For its holder, and for one who has
    /// *observed* that the holder is dead.
    fn release(&self, name: &str, token: u64) -> Result<()>;

    /// Returns the lease `name` as it was last granted and not released, expired or not.
    fn holder(&self, name: &str) -> Result<Option<Lease>>;
}

/// What is seen of changes, one after another.
///
/// Every change of a watched key is followed by an event for that key with its revision or a later one: several changes of one
/// key may come as one event, none is lost. Events come in the order of their revisions. A watcher that was away for so long that deletions were forgotten meanwhile gets `Compacted`.
pub trait Watch {
    /// Waits until something changes, `timeout` at most, and returns what did: at most a thousand events, the rest with
    /// the next call. Empty when the time is over.
    fn next(&mut self, timeout: Duration) -> Result<Vec<Event>>;
}

impl State {
    /// Returns what stands under a key.
    pub(crate) fn one<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.kv().get(key)?.map(|found| parse(key, &found.value)).transpose()
    }

    /// Returns what stands under all keys that begin so, by what follows in their names.
    pub(crate) fn named<T: DeserializeOwned>(&self, before: &str) -> Result<BTreeMap<String, T>> {
        let found = self.kv().list(before)?.into_iter().map(|(key, found)| {
            let name = key.strip_prefix(before).unwrap_or_default().to_owned();
            Ok((name, parse(&key, &found.value)?))
        });
        found.collect()
    }
}

//! What is going on, and what happened: records that nobody can edit quietly, above a small key-value store.
//!
//! Read in this order: [`Kv`] (the interface that everything durable goes through), [`Sqlite`] (one file behind it),
//! [`State`] (records, leases, open recoveries and what is known of vaults, above any of them).
//!
//! All of it can be lost: a recovery needs none of it, and the points themselves are in the vaults.

mod accepted;
mod alerts;
mod backups;
mod chain;
mod error;
mod incidents;
mod inventory;
mod keyfiles;
mod kv;
mod lease;
mod ledger;
mod links;
mod making;
mod messages;
mod newer;
mod rebuild;
mod reserve;
mod runs;
mod signers;
mod sqlite;

pub use accepted::{Accepted, accepted};
pub use alerts::{Alerted, Beat, Sign};
pub use backups::runs_of;
pub use error::{Error, Kind, Result};
pub use incidents::{Action, Answered, Closing, Entry, Moment, Opening, Role, StepEntry};
pub use inventory::{Hold, Seen};
pub use keyfiles::OddKey;
pub use kv::{
    Event, Expect, Grant, KEY_BYTES_MAX, Kv, Lease, Outcome, Revision, VALUE_BYTES_MAX, Versioned, Watch,
};
pub use lease::{Held, RunLease};
pub use ledger::{
    Body, Check, Copied, Immutability, KeyEvent, Made, Pruned, Pulled, Record, Recovery, Repaired, State,
    Verification,
};
pub use messages::{Acknowledged, Found, Message, Notified, Tried};
pub use rebuild::Rebuilt;
pub use reserve::keep_room;
pub use runs::Run;
pub use signers::{How, Signer, Signers};
pub use sqlite::Sqlite;

//! Restore points in repositories of the restic format (version 2): written, read and verified here.
//!
//! A *vault* is one repository in one place. Several vaults hold the same restore point under the same tree
//! id, because a tree is named by the hash of what it says and not by who stores it: that is what lets a blob
//! that is bad in one vault be taken from another.
//!
//! Read in this order: [`Store`] (where bytes lie), [`Repository`] (what they mean), [`Input`] (what is
//! captured), [`backup()`](backup::backup), [`restore()`](restore::restore).
//!
//! ```
//! # fn main() -> vault::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let address = format!("file://{}", folder.path().join("vault").display());
//! # let now = jiff::Timestamp::UNIX_EPOCH;
//! use std::sync::Arc;
//! use vault::{Password, Repository, store};
//!
//! let place = store::open(&address, &store::Credentials::default())?;
//! let vault = Repository::create(place, &Password::new(b"secret".to_vec()), "shop-1", now)?;
//! vault.load_index()?;
//! assert!(vault::points(&[Arc::new(vault)]).points.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Everything here is synchronous, knows no plan, prints nothing and reads no environment.

pub mod backup;
mod budget;
mod cache;
mod catalogue;
pub mod copy;
mod crypto;
mod error;
mod format;
mod gone;
#[cfg(any(test, feature = "fuzz"))]
pub mod hostile;
mod id;
pub mod immutable;
mod input;
pub mod keys;
mod lanes;
mod lock;
mod mend;
mod mutex;
mod node;
mod open;
mod packer;
mod packs;
pub mod passphrase;
mod points;
mod pool;
mod progress;
pub mod prune;
mod reach;
mod reindex;
pub mod repair;
mod repository;
pub mod restore;
mod set;
mod signature;
mod sink;
mod small;
mod snapshots;
pub mod store;
mod stretch;
pub mod thaw;
mod trees;
pub mod verify;

#[cfg(feature = "fuzz")]
pub use format::fuzz;

pub use cache::Cache;
pub use error::{Error, Kind, Result};
pub use format::BlobKind;
pub use format::snapshot::{
    COUNTED, Change, LogInfo, Passage, PointInfo, Snapshot, Stretch, Timeline, UnreadInfo,
};
pub use id::{BlobId, FileId, Id};
pub use input::{Content, Input, Since, Unread, Vessel};
pub use lock::{Holder, Lock, LockKind, Wait};
pub use node::{DeviceKind, Meta, Node, NodeKind, Timestamp, Xattr};
pub use points::{Found, Point, new_point_id, points};
pub use progress::Progress;
pub use repository::{IndexReport, Listing, Password, Repository};
pub use signature::{Head, Signature, Signed, SigningKey, fingerprint};
pub use store::{FileKind, Store};

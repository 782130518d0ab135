//! Real servers, damaged places and trees of files, for tests only.
//!
//! - [`S3Server`], [`SshServer`], [`MariadbServer`]: the real thing on a free port of this machine, gone when dropped.
//! - [`MotoServer`], [`LockedBucket`]: S3 servers with versions and Object Lock, and an intruder who holds their keys.
//! - [`MailServer`], [`Receiver`]: a mail server and a web server that keep what they are sent, or won't take it.
//! - [`FaultyProxy`]: stands before an HTTP server and breaks what the test tells it to break.
//! - [`SmallDisk`]: a file system that fills up, and that can be made read-only under root's hands.
//! - [`Flags`]: a folder whose files may carry the immutable flag, and that goes all the same.
//! - [`Postgres`]: a cluster of its own, whose server can be killed, and started again.
//! - [`Switch`]: machines on a network of their own, in namespaces; [`on_a_machine_of_its_own`]: one with a systemd of its own.
//! - [`tree`]: files of every kind that a file system knows, and what differs between two trees.
//! - [`Restic`]: the independent judge of what we write.
//!
//! What a test needs and this machine doesn't have is a panic that says how to get it, never a test that is skipped.
//! Everything here panics where a test would.
//!
//! ```
//! use testkit::{Fault, FaultyProxy, S3Server, When};
//!
//! let server = S3Server::start();
//! let proxy = FaultyProxy::before(server.port());
//! proxy.plan(When::request("PUT", "/data/").first(2), Fault::Status(500));
//! let address = server.address_at(proxy.port(), "vault");
//! assert!(address.starts_with("s3://"));
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "only tests use this crate, and a test that cannot go on panics"
)]

mod disk;
mod flags;
mod locked;
mod machines;
mod mail;
mod mariadb;
mod moto;
mod net;
mod postgres;
mod proxy;
mod random;
mod receiver;
mod restic;
mod s3;
mod ssh;
mod systemd;
pub mod tree;

pub use disk::{FormattedDisk, SilentMount, SmallDisk};
pub use flags::Flags;
pub use locked::LockedBucket;
pub use machines::Switch;
pub use mail::{MailServer, Manner};
pub use mariadb::MariadbServer;
pub use moto::{Bucket, MotoServer};
pub use net::{free_port, pause, wait_for_tcp, wait_until};
pub use postgres::Postgres;
pub use proxy::{Fault, FaultyProxy, Seen, When};
pub use random::Random;
pub use receiver::{Receiver, Sent};
pub use restic::{Output, Restic};
pub use s3::S3Server;
pub use ssh::SshServer;
pub use systemd::on_a_machine_of_its_own;

//! The program from outside, as a user types it, with real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics"
)]

mod agent;
mod alerts;
mod alone;
mod bounds;
mod children;
mod cli;
mod clock;
mod company;
mod demo;
mod elsewhere;
mod excerpt;
mod faults;
mod growth;
mod guarded;
mod held;
mod hostile_print;
mod immutable;
mod incident;
mod isolate;
mod judged;
mod kept;
mod keys;
mod killed;
mod main_job;
mod mariadb;
mod mariadb_copy;
mod mariadb_log;
mod mixed;
mod notify;
mod odd_cluster;
mod old_disk;
mod oracle;
mod pg_dump;
mod postgres;
mod procedure;
mod proof;
mod reached;
mod recovery;
mod restore;
mod signed;
mod spool;
mod sync;
mod together;
mod trust;
mod vanished;
mod vault_harm;
mod waits;
mod walls;
mod watch;
mod week;
mod went_on;
mod which;
mod world;

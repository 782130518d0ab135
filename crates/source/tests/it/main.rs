//! Captures of real trees, databases and programs on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may panic, and so may what only tests call"
)]

mod command;
mod files;
mod journal;
mod kept;
mod limits;
mod machine;
mod mariadb;
mod mounts;
mod odd_postgres;
mod planted;
mod refused_postgres;
mod restored;
mod settings;
mod sqlite;
mod walk;

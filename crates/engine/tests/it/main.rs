//! What the engine promises, with real vaults and a real state.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics"
)]

mod blast;
mod corpus;
mod died;
mod isolate;
mod quarantine;

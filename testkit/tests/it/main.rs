//! The tools are tested too: one that sees nothing would let everything pass.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics"
)]

mod oracle;
mod trees;

//! The vault from outside, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test that cannot go on panics"
)]

mod bytes;
mod changed;
mod contract;
mod copy;
mod details;
mod faulty_store;
mod guarded;
mod huge;
mod immutable;
mod keys;
mod meanwhile;
mod pour;
mod requests;
mod sample;
mod small_files;
mod stores;

//! What the plan crate promises, from outside.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test may panic, and so may what only tests call"
)]

mod bandwidth;
mod base;
mod design;
mod diagnostics;
mod files;
mod growth;
mod judged;
mod notify;
mod outlook;
mod properties;
mod reference;
mod runbook;
mod slowly;
mod steps;

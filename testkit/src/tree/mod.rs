//! Trees of files: [`grow`] makes one with everything that a file system knows, [`compare`] finds what differs.

mod compare;
mod grow;

pub use compare::{Difference, compare};
pub use grow::grow;

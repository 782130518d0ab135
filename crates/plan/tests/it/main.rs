//! What the plan crate promises, from outside.

mod base;
mod design;
mod diagnostics;
mod files;
mod properties;
mod reference;

//! What Relève answers over HTTP: for now, the links in messages to people.

mod acknowledge;
mod guests;

pub(crate) use acknowledge::{Links, listen};

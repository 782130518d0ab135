//! What Relève answers over HTTP: for now, the links in messages to people.

mod acknowledge;

pub(crate) use acknowledge::{Links, listen};

//! Captures of real trees, databases and programs on this machine.

mod command;
mod files;
mod limits;
mod machine;
mod sqlite;
mod walk;

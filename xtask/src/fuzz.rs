//! `cargo xtask fuzz`: cargo-fuzz, or what it lacks.

use crate::root;
use crate::run::{Failure, Result, output, run};
use std::process::Command;

/// What `fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A target; without one, they are listed
    target: Option<String>,
    /// How long
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
}

pub(crate) fn run_target(options: &Options) -> Result {
    if !root().join("fuzz/Cargo.toml").is_file() {
        return Err(Failure::new("there is no folder fuzz/ with targets in this checkout"));
    }
    if output(Command::new("cargo").args(["+nightly", "--version"])).is_err() {
        return Err(Failure::new("fuzzing needs a nightly toolchain: rustup toolchain install nightly"));
    }
    if output(Command::new("cargo").args(["fuzz", "--version"])).is_err() {
        return Err(Failure::new("fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz@0.13.2"));
    }
    let mut command = Command::new("cargo");
    command.arg("+nightly").arg("fuzz").current_dir(root());
    match &options.target {
        None => command.arg("list"),
        Some(target) => {
            command.args(["run", target, "--"]).arg(format!("-max_total_time={}", options.seconds))
        }
    };
    run(&mut command)
}

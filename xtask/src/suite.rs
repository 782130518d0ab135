//! `cargo xtask test`: what must be green before a change is taken in.

use crate::run::{Failure, Result, cargo, run};
use crate::{root, setup, tidy};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Seconds that the database of advisories may take to come.
const FETCH_SECONDS: &str = "120";

/// Runs every stage and stops at the first that fails. The tests come last, so that their own summary ends the output.
pub(crate) fn run_all() -> Result {
    stage("setup", || setup::ensure(false))?;
    stage("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    stage("tidy", || tidy::run(&root()))?;
    stage("dependencies", dependencies)?;
    stage("clippy", || {
        run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    })?;
    stage("documentation", || {
        run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings"))
    })?;
    stage("examples", || run(&mut cargo(&["test", "--workspace", "--doc", "--locked"])))?;
    println!("== tests");
    run(&mut cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]))
        .map_err(|failure| Failure { message: String::new(), ..failure })
}

/// What `kills` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Kills {
    /// How often
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u32,
    /// From which number the random instants come: the same again with the same [default: one of its own for each run]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Runs the trial that is too long for every change.
pub(crate) fn kill(options: &Kills) -> Result {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = options.seed.unwrap_or_else(|| now.map_or(0, |now| now.as_secs()));
    println!("{} rounds, --seed {seed}", options.rounds);
    let words = [
        "nextest",
        "run",
        "--workspace",
        "--run-ignored",
        "only",
        "--no-capture",
        "-E",
        "test(killed_at_random_many_times)",
    ];
    let mut trial = cargo(&words);
    run(trial.env("KILL_ROUNDS", options.rounds.to_string()).env("KILL_SEED", seed.to_string()))
}

/// What `corpus` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Corpus {
    /// Write the table into docs/tampering.md
    #[arg(long)]
    write: bool,
}

/// Runs the histories of which every change runs only a share.
pub(crate) fn corpus(options: &Corpus) -> Result {
    let words = [
        "nextest",
        "run",
        "--package",
        "engine",
        "--run-ignored",
        "only",
        "--no-capture",
        "-E",
        "test(all_labelled_histories)",
    ];
    let mut trial = cargo(&words);
    if options.write {
        trial.env("CORPUS_PAGE", root().join("docs/tampering.md"));
    }
    run(&mut trial)
}

fn stage(name: &str, work: impl FnOnce() -> Result) -> Result {
    println!("== {name}");
    let begun = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("== {name}: {verdict}, {:.0} s", begun.elapsed().as_secs_f64());
    result
}

fn dependencies() -> Result {
    run(&mut cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    // A machine that builds may be cut off from the network; then there is nothing to compare with, and that is said.
    let mut fetch = Command::new("timeout");
    fetch.args([FETCH_SECONDS, "cargo", "deny", "fetch", "db"]).current_dir(root());
    let fetched = fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !fetched.is_ok_and(|status| status.success()) {
        println!(
            "notice: the database of advisories could not be fetched: known vulnerabilities were NOT looked for"
        );
        return Ok(());
    }
    run(&mut cargo(&["deny", "--frozen", "check", "advisories"]))
}

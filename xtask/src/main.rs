//! Developer commands: `cargo xtask setup`, `test`, `tidy`, `bench`, `kills`, `corpus`, `fuzz`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for a terminal")]
#![expect(
    clippy::disallowed_types,
    reason = "it starts what developers would type, with their own environment"
)]

mod bench;
mod fuzz;
mod run;
mod setup;
mod suite;
mod tidy;

use clap::{Parser, Subcommand};
use run::Failure;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Developer commands of Relève.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what the tests need
    Setup {
        /// Say what is missing, install nothing
        #[arg(long)]
        check: bool,
    },
    /// Everything that must be green before a change is taken in
    Test,
    /// The house rules that no compiler checks
    Tidy,
    /// Compare with other programs on the same data
    Bench {
        #[command(subcommand)]
        what: BenchVerb,
    },
    /// Kill a server and an agent at random instants under load, again and again, and recover: nothing that was promised may be lost
    Kills(suite::Kills),
    /// Run all labelled histories of files, attacks and none, and say which are told
    Corpus(suite::Corpus),
    /// Feed a parser with garbage that learns; without a target, list them
    Fuzz(fuzz::Options),
}

#[derive(Debug, Subcommand)]
enum BenchVerb {
    /// First backup, unchanged, 1% changed, and one large file: against restic, borg and rustic
    Backup(bench::backup::Options),
    /// Small files, one large file, a database, a damaged copy, and S3 far away: against cp, restic, borg and rustic
    Restore(bench::restore::Options),
    /// Ten thousand to a million files, one to a thousand points: how time and memory grow
    Growth(bench::growth::Options),
    /// A vault here copied to S3 far away: against restic
    Sync(bench::sync::Options),
    /// A PostgreSQL cluster copied, copied again, destroyed and opened again: against pg_basebackup and pgBackRest
    Postgres(bench::cluster::Options),
    /// A recovery of 10,000 steps that do nothing
    Recovery(bench::recovery::Options),
    /// Run a command and write down its time and memory
    #[command(hide = true)]
    Measure(bench::measure::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Setup { check } => setup::verb(check),
        Verb::Test => suite::run_all(),
        Verb::Tidy => tidy::run(&root()),
        Verb::Bench { what: BenchVerb::Backup(options) } => bench::backup::run(&options),
        Verb::Bench { what: BenchVerb::Restore(options) } => bench::restore::run(&options),
        Verb::Bench { what: BenchVerb::Growth(options) } => bench::growth::run(&options),
        Verb::Bench { what: BenchVerb::Sync(options) } => bench::sync::run(&options),
        Verb::Bench { what: BenchVerb::Postgres(options) } => bench::cluster::run(&options),
        Verb::Bench { what: BenchVerb::Recovery(options) } => bench::recovery::run(&options),
        Verb::Bench { what: BenchVerb::Measure(options) } => bench::measure::run(&options),
        Verb::Kills(options) => suite::kill(&options),
        Verb::Corpus(options) => suite::corpus(&options),
        Verb::Fuzz(options) => fuzz::run_target(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, status }) => {
            if !message.is_empty() {
                eprintln!("error: {message}");
            }
            ExitCode::from(status)
        }
    }
}

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

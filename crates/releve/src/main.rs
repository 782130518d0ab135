//! The program: what was typed, what it means, what people are shown. Only here is anything printed, an environment variable
//! read, an exit status chosen.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment and the exit status are the program's business"
)]

#[macro_use]
mod print;
mod cli;
#[cfg(feature = "demo")]
mod demo;
mod http;
mod session;
mod show;
mod walls;

use clap::Parser;
use std::process::ExitCode;

/// What a run came to. The numbers are an interface: scripts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done.
    Done = 0,
    /// Done, with something missing or a finding.
    Finding = 1,
    /// Could not do it.
    Failed = 2,
    /// Wrong usage.
    Usage = 64,
    /// The plan is wrong.
    Plan = 65,
}

impl Exit {
    /// Returns the worse of two.
    pub(crate) fn worse(self, other: Self) -> Self {
        if (other as u8) > (self as u8) { other } else { self }
    }
}

/// Why a run ended early: said already, or to be said.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Everything has been printed; this is the status.
    Said(Exit),
    /// To be printed, with the way out; could not do it.
    Error(engine::Error),
}

impl<E: Into<engine::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

pub(crate) type Outcome = Result<Exit, Failure>;

fn main() -> ExitCode {
    process::child::begin();
    let filter = tracing_subscriber::EnvFilter::try_from_env("RELEVE_LOG").unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| print::Log).init();
    engine::net::begin();
    engine::mishap::watch();
    raise_handles();
    survive_limits();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_wrong = error.use_stderr();
            let printed = error.print();
            let is_lost = printed.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe);
            return ExitCode::from(match (is_wrong, is_lost) {
                (true, _) => Exit::Usage as u8,
                (false, true) => Exit::Failed as u8,
                (false, false) => Exit::Done as u8,
            });
        }
    };
    let exit = match cli::run(arguments) {
        Ok(exit) => exit,
        Err(Failure::Said(exit)) => exit,
        Err(Failure::Error(error)) => {
            show::error(&error);
            Exit::Failed
        }
    };
    let exit = print::lost().map_or(exit, |lost| exit.worse(lost));
    ExitCode::from(exit as u8)
}

/// Takes the signal for a file that grew beyond its limit as what it is: an error of one write, not the end of a recovery.
fn survive_limits() {
    let ignored = std::sync::Arc::default();
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored);
}

/// Takes as many open files as the system lets us have: it grants fewer by default for the sake of programs from another time.
fn raise_handles() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it a restore holds fewer folders open, and is slower.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

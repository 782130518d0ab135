//! Seconds, processor seconds and peak memory of another program.
//!
//! The system keeps the peak of *all* children of a process in one number. So each measured program gets a parent of its own: this
//! program again, as `bench measure`.

use crate::run::{Failure, Result, words};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What `bench measure` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where to write the numbers
    numbers: PathBuf,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Taken {
    pub(super) seconds: f64,
    /// User and system time of all threads.
    pub(super) processor: f64,
    pub(super) peak_bytes: f64,
}

/// Runs a command to its end and returns what it took; its failure is an error with what it said.
pub(super) fn measure(command: &Command, folder: &Path) -> Result<Taken> {
    let numbers = folder.join("numbers");
    let own = std::env::current_exe().map_err(Failure::at("find this program"))?;
    let mut around = Command::new(own);
    around
        .args(["bench", "measure"])
        .arg(&numbers)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        around.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => around.env(name, value),
            None => around.env_remove(name),
        };
    }
    let output = around.stdin(Stdio::null()).output().map_err(Failure::at("start this program again"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(Failure::new(format!(
            "{}: {}\n{}",
            words(command),
            output.status,
            String::from_utf8_lossy(&said).trim()
        )));
    }
    let text =
        std::fs::read_to_string(&numbers).map_err(Failure::at(format_args!("read {}", numbers.display())))?;
    Taken::parse(&text)
        .ok_or_else(|| Failure::new(format!("{} holds no numbers: {text:?}", numbers.display())))
}

/// `cargo xtask bench measure`.
pub(crate) fn run(options: &Options) -> Result {
    let (program, arguments) = options.command.split_first().ok_or_else(|| Failure::new("no command"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    let begun = Instant::now();
    let status = command.status().map_err(Failure::at(words(&command)))?;
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        return Err(Failure {
            message: String::new(),
            status: status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        });
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(Failure::at("ask what it took"))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    // Linux counts in KiB.
    let taken =
        Taken { seconds, processor: micros as f64 / 1e6, peak_bytes: usage.max_rss() as f64 * 1024.0 };
    std::fs::write(&options.numbers, taken.text())
        .map_err(Failure::at(format_args!("write {}", options.numbers.display())))
}

impl std::fmt::Display for Taken {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:.2} s, {:.0} MB", self.seconds, self.peak_bytes / 1e6)
    }
}

impl Taken {
    fn text(self) -> String {
        format!("{} {} {}", self.seconds, self.processor, self.peak_bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse::<f64>().ok());
        Some(Self { seconds: numbers.next()??, processor: numbers.next()??, peak_bytes: numbers.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_file() {
        let taken = Taken { seconds: 1.25, processor: 2.5, peak_bytes: 127e6 };
        assert_eq!(Taken::parse(&taken.text()), Some(taken));
        assert_eq!(Taken::parse("1.0 2.0"), None);
    }

    #[test]
    fn a_program_that_fails_gives_its_status_and_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = folder.path().join("numbers");
        let run_script = |script: &str| {
            run(&Options {
                numbers: numbers.clone(),
                command: ["sh", "-c", script].map(OsString::from).to_vec(),
            })
        };
        assert_eq!(run_script("exit 3").unwrap_err().status, 3);
        assert!(!numbers.exists());
        run_script("sleep 0.2").unwrap();
        let taken = Taken::parse(&std::fs::read_to_string(&numbers).unwrap()).unwrap();
        assert!(taken.seconds >= 0.2 && taken.peak_bytes > 100_000.0, "{taken:?}");
    }
}

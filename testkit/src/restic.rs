//! restic as the judge of what we write: Debian's, which is old and what many have, and a current one, which refuses more.

use std::io::ErrorKind;
use std::process::Command;
use tempfile::TempDir;

/// The name under which `cargo xtask setup` installs a restic of now.
const CURRENT: &str = "restic-current";

/// What changes nothing.
const ASKED_OF_BOTH: [&str; 3] = ["check", "snapshots", "ls"];

/// restic on one repository, with a cache of its own.
#[derive(Debug)]
pub struct Restic {
    repository: String,
    password: String,
    environment: Vec<(String, String)>,
    cache: TempDir,
}

/// What a run of restic left.
#[derive(Debug)]
pub struct Output {
    /// Whether it succeeded.
    pub success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Restic {
    /// Returns restic for the repository, in restic's own notation: a folder, `s3:http://…`, `sftp:…`.
    #[must_use]
    pub fn new(repository: impl Into<String>, password: &str) -> Self {
        Self {
            repository: repository.into(),
            password: password.to_owned(),
            environment: Vec::new(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// Sets an environment variable for it: keys for S3, say.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it: `run(&["check", "--read-data"])`. What only looks is asked of both, and the one that refuses counts.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.run_as("restic", arguments);
        if !output.success || !arguments.first().is_some_and(|verb| ASKED_OF_BOTH.contains(verb)) {
            return output;
        }
        let current = self.run_as(CURRENT, arguments);
        if current.success { output } else { current }
    }

    fn run_as(&self, program: &str, arguments: &[&str]) -> Output {
        let output = Command::new(program)
            .args(["--repo", &self.repository, "--cache-dir"])
            .arg(self.cache.path())
            .args(arguments)
            .env("RESTIC_PASSWORD", &self.password)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("{program} judges what we write, and it is missing: cargo xtask setup")
            }
            other => other.unwrap(),
        };
        Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and returns what it printed; panics with its complaints if it fails.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.success, "restic {arguments:?} failed:\n{}{}", output.stdout, output.stderr);
        output.stdout
    }
}

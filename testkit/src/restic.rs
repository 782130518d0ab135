//! Debian's restic, as the judge of what we write.

use std::io::ErrorKind;
use std::process::Command;
use tempfile::TempDir;

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

    /// Runs it: `run(&["check", "--read-data"])`.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new("restic")
            .args(["--repo", &self.repository, "--cache-dir"])
            .arg(self.cache.path())
            .args(arguments)
            .env("RESTIC_PASSWORD", &self.password)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output();
        let output = match output {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("restic judges what we write, and it is missing: apt-get install restic")
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

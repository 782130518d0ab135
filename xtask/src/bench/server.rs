//! The S3 server that vaults are restored from: a process of its own, so that its memory and time are nobody's.

use super::tools::released;
use crate::run::{Failure, Result, cargo, run};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running server; it stops when dropped, and takes its objects along.
pub(super) struct Server {
    process: Child,
    port: u16,
    bucket: String,
    access_key: String,
    secret_key: String,
    objects: PathBuf,
}

/// Where in an S3 server a repository is, and the keys to it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// Of this machine: the server's, or that of a line to it.
    pub(super) port: u16,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

impl Server {
    /// Builds and starts a server that keeps its objects below `folder`.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        run(&mut cargo(&[
            "build",
            "--release",
            "--locked",
            "--package",
            "testkit",
            "--example",
            "s3_server",
        ]))?;
        std::fs::create_dir_all(folder).map_err(Failure::at(format_args!("make {}", folder.display())))?;
        let mut process = Command::new(released("examples/s3_server")?)
            .env("TMPDIR", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::at("start the S3 server"))?;
        let mut line = String::new();
        if let Some(said) = process.stdout.take() {
            let read = BufReader::new(said).read_line(&mut line);
            read.map_err(Failure::at("listen to the S3 server"))?;
        }
        Self::parse(&line, process).ok_or_else(|| Failure::new(format!("the S3 server said {line:?}")))
    }

    fn parse(line: &str, process: Child) -> Option<Self> {
        let mut words = line.trim_end().splitn(5, ' ').map(str::to_owned);
        Some(Self {
            process,
            port: words.next()?.parse().ok()?,
            bucket: words.next()?.rsplit_once('/')?.1.to_owned(),
            access_key: words.next()?,
            secret_key: words.next()?,
            objects: words.next()?.into(),
        })
    }

    /// Returns the port it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the place for a repository, seen without a line.
    pub(super) fn remote(&self, prefix: &str) -> Remote {
        Remote {
            port: self.port,
            bucket: self.bucket.clone(),
            prefix: prefix.to_owned(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
        }
    }

    /// Returns the folder where the objects of a repository lie.
    pub(super) fn objects(&self, prefix: &str) -> PathBuf {
        self.objects.join(prefix)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Its end is awaited, since it removes its objects before.
        let _ = self.process.wait();
    }
}

impl Remote {
    /// Returns the address of the repository as our plan has it.
    pub(super) fn url(&self, region: &str) -> String {
        format!("s3://{}/{}?endpoint={}&region={region}", self.bucket, self.prefix, self.endpoint())
    }

    /// Returns the server's address.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

//! moto's S3 server, which knows versions and Object Lock, and Amazon's own client for what an intruder does to it.

use crate::{free_port, wait_until};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/moto/bin/python3");
const SERVER: &str = include_str!("server.py");
const CLIENT: &str = include_str!("client.py");

/// How the bucket of a [`MotoServer`] is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// Without versions and without Object Lock.
    Plain,
    /// With both, as S3 keeps them.
    Locked,
    /// With both, as moto keeps them: a retention can be made shorter by anyone.
    Lenient,
}

/// An S3 server on a free port of this machine, with one bucket. Killed when dropped.
#[derive(Debug)]
pub struct MotoServer {
    port: u16,
    server: Child,
}

impl MotoServer {
    /// The bucket that is there.
    pub const BUCKET: &str = "vaults";

    /// Starts a server.
    #[must_use]
    pub fn start(bucket: Bucket) -> Self {
        assert!(Path::new(PYTHON).exists(), "there is no moto: cargo xtask setup");
        let port = free_port();
        let kind = match bucket {
            Bucket::Plain => "PLAIN",
            Bucket::Locked => "LOCK",
            Bucket::Lenient => "LENIENT",
        };
        let server = Command::new(PYTHON)
            .args(["-c", SERVER, &port.to_string(), Self::BUCKET, kind])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { port, server };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let up = wait_until(Duration::from_secs(60), || TcpStream::connect(address).is_ok());
        assert!(up, "moto doesn't listen on port {port}");
        server
    }

    /// Returns the vault's address for `prefix` in the bucket. moto takes any keys.
    #[must_use]
    pub fn address(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}?endpoint={}&region=us-east-1", Self::BUCKET, self.url())
    }

    /// Returns the address as restic writes it.
    #[must_use]
    pub fn restic_address(&self, prefix: &str) -> String {
        format!("s3:{}/{}/{prefix}", self.url(), Self::BUCKET)
    }

    /// Does all the harm that the credentials allow, and returns what worked as JSON: `shortened` (retentions), `deleted` (keys of
    /// versions), `suspended` (the versions), `emptied` (the bucket). Afterwards each key is hidden, overwritten, or both.
    #[must_use]
    pub fn attack(&self) -> String {
        client(&self.url(), "attack")
    }

    /// Moves all packs into an archive, and returns how many there are.
    #[must_use]
    pub fn freeze(&self) -> u64 {
        client(&self.url(), "freeze").trim().parse().unwrap()
    }

    /// Returns as JSON for each key the mode and the end of its retention.
    #[must_use]
    pub fn audit(&self) -> String {
        client(&self.url(), "audit")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Runs Amazon's client on the bucket of a server.
pub(crate) fn client(url: &str, verb: &str) -> String {
    assert!(Path::new(PYTHON).exists(), "there is no client of Amazon's: cargo xtask setup");
    let output = Command::new(PYTHON).args(["-c", CLIENT, url, MotoServer::BUCKET, verb]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

//! A mail server, aiosmtpd's, whose messages lie in a folder.

use crate::{free_port, wait_until};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/moto/bin/python3");
const SERVER: &str = include_str!("mail.py");

/// How a [`MailServer`] treats its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes everything.
    Takes,
    /// It takes no recipient.
    Refuses,
    /// It says "later" (451) of every recipient, until it is told to [relent](MailServer::relent).
    Busy,
    /// It falls silent once it is told who sends.
    Stalls,
    /// It takes everything from who has encrypted the line and logged in.
    AsksForMore,
}

/// A mail server on a free port of this machine. Killed when dropped.
#[derive(Debug)]
pub struct MailServer {
    port: u16,
    folder: TempDir,
    server: Child,
}

impl MailServer {
    /// The user that it knows, where it asks.
    pub const USER: &str = "testkit";
    /// The password that belongs to it.
    pub const PASSWORD: &str = "testkit-secret";

    /// Starts a server.
    #[must_use]
    pub fn start(manner: Manner) -> Self {
        assert!(Path::new(PYTHON).exists(), "there is no aiosmtpd: cargo xtask setup");
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let (word, line) = match manner {
            Manner::Takes => ("ACCEPT", "PLAIN"),
            Manner::Refuses => ("REFUSE", "PLAIN"),
            Manner::Busy => ("BUSY", "PLAIN"),
            Manner::Stalls => ("SLOW", "PLAIN"),
            Manner::AsksForMore => ("ACCEPT", "STARTTLS"),
        };
        let mut command = Command::new(PYTHON);
        command.args(["-c", SERVER, &port.to_string()]).arg(folder.path()).args([word, line]);
        if manner == Manner::AsksForMore {
            make_certificate(folder.path());
            command.args([folder.path().join("server.pem"), folder.path().join("server.key")]);
        }
        let server =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { port, folder, server };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let up = wait_until(Duration::from_secs(60), || TcpStream::connect(address).is_ok());
        assert!(up, "the mail server doesn't listen on port {port}");
        server
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the file with the authority that its certificate for `localhost` comes from, where it encrypts.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Lets one that is busy take everything from now on.
    pub fn relent(&self) {
        std::fs::write(self.folder.path().join("relented"), "").unwrap();
    }

    /// Returns all that it took, oldest first: `from`, `to`, `headers` (pairs, names in small letters), `body`, `tls`, `defects` (what Python's parser of mails, which
    /// isn't ours, finds against the standards), `ascii` (nothing in it needs more than seven bits).
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// Waits until it has taken so many, and returns them.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        let came = wait_until(Duration::from_secs(60), || self.messages().len() >= count);
        assert!(came, "{} of {count} messages came", self.messages().len());
        self.messages()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes an authority and a certificate of it for `localhost`, with OpenSSL.
fn make_certificate(folder: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("there is no openssl: cargo xtask setup");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout authority.key -out authority.pem -days 2 -subj /CN=testkit"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        .unwrap();
    openssl(
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names -out server.pem",
    );
}

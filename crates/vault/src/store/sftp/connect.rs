//! Starts `ssh` and begins an SFTP session over it.

use super::super::address::SftpAddress;
use super::super::limits::{Failure, Limits};
use super::super::tempo::Tempo;
use super::session::Session;
use crate::Kind;
use process::{Kept, Start, Words};
use russh_sftp::client::{Config, RawSftpSession};
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

/// How much of what ssh complains about is kept.
const WORDS_MAX: usize = 4096;

/// Waiting is bounded where progress can be seen, around the requests; this only keeps the protocol's own shorter bound
/// out of the way, which would give up a slow line that works.
const REQUEST_SECONDS_MAX: u64 = 24 * 60 * 60;

/// The running `ssh`. It is killed when this is dropped.
pub(super) struct Ssh {
    child: Child,
    words: Arc<Mutex<Vec<u8>>>,
}

impl Ssh {
    /// Returns the last thing that ssh said before it ended; nothing if it still runs.
    pub(super) async fn last_words(&mut self) -> Option<String> {
        timeout(Duration::from_millis(500), self.child.wait()).await.ok()?.ok()?;
        // The end is seen before the last line is read.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&words);
        let words = process::masked(&words);
        words.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(ToOwned::to_owned)
    }
}

/// Connects and logs in.
pub(super) async fn connect(
    address: &SftpAddress,
    limits: &Limits,
    tempo: &Tempo,
) -> Result<Session, Failure> {
    let started = command(address, limits).and_then(|mut ssh| ssh.spawn());
    let mut child = started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Final(Kind::Unsupported(
            "there is no ssh on this machine; install it (Debian: apt install openssh-client)".into(),
        )),
        _ => Failure::Final(Kind::Io(error)),
    })?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Failure::Final(Kind::Io(io::Error::other("ssh came without its pipes"))));
    };
    let mut ssh = Ssh { child, words: Arc::default() };
    tokio::spawn(listen(stderr, ssh.words.clone()));
    let config = Config { request_timeout_secs: REQUEST_SECONDS_MAX, ..Config::default() };
    let raw = RawSftpSession::new_with_config(tokio::io::join(stdout, stdin), config);
    match timeout(limits.stall(), raw.init()).await {
        Ok(Ok(version)) => Ok(Session::new(raw, ssh, version.extensions, limits, tempo)),
        Ok(Err(error)) => {
            let words = ssh.last_words().await.unwrap_or_else(|| error.to_string());
            Err(refusal(&words, address))
        }
        Err(_) => Err(Failure::Passing(format!("no answer for {} s", limits.stall().as_secs_f32()))),
    }
}

#[expect(clippy::disallowed_types, reason = "what tokio waits for")]
fn command(address: &SftpAddress, limits: &Limits) -> io::Result<tokio::process::Command> {
    // No terminal, no forwarded screen, no forwarded agent, and no question that nobody would answer.
    let mut words =
        Words::from(["ssh", "-T", "-x", "-a", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes"])
            .words([
                "-o",
                "RemoteCommand=none",
                "-o",
                "ServerAliveInterval=10",
                "-o",
                "ServerAliveCountMax=3",
            ])
            .pair("-o", format!("ConnectTimeout={}", limits.stall().as_secs().max(1)));
    if let Some(identity) = &address.identity {
        words = words.words(["-o", "IdentitiesOnly=yes"]).pair("-i", identity.replace('%', "%%"));
    }
    if let Some(known_hosts) = &address.known_hosts {
        let known_hosts = format!("UserKnownHostsFile=\"{}\"", known_hosts.replace('%', "%%"));
        words = words.pair("-o", known_hosts);
    }
    if let Some(port) = address.port {
        words = words.pair("-p", port.to_string());
    }
    if let Some(user) = &address.user {
        words = words.pair("-l", user);
    }
    let words = words.word("-s").data([address.host.as_str(), "sftp"]);
    let mut command = tokio::process::Command::from(Start::new(words, Kept::Ssh)?.into_command());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C at the terminal is for us: we still have to finish what we are writing.
    command.process_group(0);
    Ok(command)
}

async fn listen(mut stderr: ChildStderr, words: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(piece.iter().take(length));
        let excess = words.len().saturating_sub(WORDS_MAX);
        words.drain(..excess);
    }
}

// ssh has one exit status for all of its failures: its words, which are not translated, are all there is to sort by.
fn refusal(words: &str, address: &SftpAddress) -> Failure {
    let login = match &address.user {
        Some(user) => format!("{user}@{}", address.host),
        None => address.host.clone(),
    };
    let port = address.port.map(|port| format!(" -p {port}")).unwrap_or_default();
    let way_out = if words.contains("Host key verification failed") {
        format!("connect once by hand to look at the server's key and accept it: ssh{port} {login}")
    } else if words.contains("Permission denied") || words.contains("Too many authentication failures") {
        format!("let the server know our key: ssh-copy-id{port} {login}")
    } else if words.contains("subsystem request failed") {
        "the server offers no SFTP; switch it on in its sshd_config (Subsystem sftp internal-sftp)".to_owned()
    } else {
        return Failure::Passing(words.to_owned());
    };
    Failure::Final(Kind::Refused(format!("{words}; {way_out}")))
}

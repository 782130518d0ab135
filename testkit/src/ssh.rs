//! A real OpenSSH server for SFTP, run by the current user.

use crate::{free_port, wait_for_tcp};
use rustix::process::{Pid, Signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

/// An SSH server on a free port of this machine, with keys of its own and a folder to put things into. Killed when
/// dropped.
#[derive(Debug)]
pub struct SshServer {
    port: u16,
    home: TempDir,
    read_only: bool,
    server: Option<Child>,
}

impl SshServer {
    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// Starts a server that only lets its files be read.
    #[must_use]
    pub fn start_read_only() -> Self {
        Self::start_as(true)
    }

    fn start_as(read_only: bool) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "there is no {SSHD}: apt-get install openssh-server openssh-client"
        );
        if rustix::process::geteuid().is_root() {
            // Root's sshd locks itself into this folder, and only the system's own start script makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("files")).unwrap();
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "testkit", "-f"])
                .arg(home.path().join(key))
                .status()
                .expect("ssh-keygen: apt-get install openssh-client");
            assert!(made.success());
        }
        let mut server = Self { port: free_port(), home, read_only, server: None };
        let host_key = fs::read_to_string(server.home.path().join("host.pub")).unwrap();
        fs::write(server.known_hosts(), format!("[127.0.0.1]:{} {host_key}", server.port)).unwrap();
        fs::write(server.home.path().join("sshd_config"), server.config()).unwrap();
        server.restart();
        server
    }

    /// Returns the vault's address for `name` in the server's folder.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        self.address_of(&self.folder().join(name))
    }

    /// Returns the vault's address for any folder of this machine.
    #[must_use]
    pub fn address_of(&self, folder: &Path) -> String {
        format!(
            "sftp://127.0.0.1:{}/{}?identity={}&known_hosts={}",
            self.port,
            folder.display(),
            self.identity().display(),
            self.known_hosts().display()
        )
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder that the addresses lead into, to look at and to damage.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("files")
    }

    /// Returns the private key that opens it.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.home.path().join("user")
    }

    /// Returns the file with the server's public key. Empty it, and the server is a stranger.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.home.path().join("known_hosts")
    }

    /// Kills the server and everyone who is connected to it, without a word of farewell.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
    }

    /// Kills the connections and leaves the server running.
    pub fn drop_connections(&self) {
        let eldest = self.server.as_ref().map(Child::id);
        self.family()
            .into_iter()
            .filter(|pid| Some(*pid) != eldest)
            .for_each(|pid| signal(pid, Signal::KILL));
    }

    /// Falls silent, with all connections open, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after a [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it on the same port, with the same keys, after a [`kill`](Self::kill).
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let server = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(self.home.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        wait_for_tcp(self.port);
    }

    /// Returns what the server has said since it was started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, what: Signal) {
        self.family().into_iter().for_each(|pid| signal(pid, what));
    }

    fn family(&self) -> Vec<u32> {
        self.server.as_ref().map_or_else(Vec::new, |server| family(server.id()))
    }

    fn config(&self) -> String {
        let home = self.home.path().display();
        let sftp = if self.read_only { "internal-sftp -R" } else { "internal-sftp" };
        format!(
            "Port {}\n\
             ListenAddress 127.0.0.1\n\
             HostKey {home}/host\n\
             AuthorizedKeysFile {home}/user.pub\n\
             PidFile none\n\
             StrictModes no\n\
             UsePAM no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n\
             MaxStartups 100\n\
             Subsystem sftp {sftp}\n",
            self.port
        )
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(pid: u32, what: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // Gone already is as good.
        let _ = rustix::process::kill_process(pid, what);
    }
}

// The process and all that descend from it: each connection has two, in sessions of their own.
fn family(eldest: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything; after it come the state and the parent.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![eldest];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

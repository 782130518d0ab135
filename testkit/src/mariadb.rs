//! A real MariaDB server, run by the current user in a folder of its own.

use crate::{free_port, wait_until};
use rustix::process::{Pid, Signal};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to start: two of them on a small machine, with a recovery after a crash, need some seconds.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A MariaDB server on a socket, and on a free port of this machine, with an empty data directory and a `root` who needs no password. Nothing of the
/// installed service is used. Killed when dropped.
#[derive(Debug)]
pub struct MariadbServer {
    port: u16,
    home: TempDir,
    options: Vec<String>,
    server: Option<Child>,
}

impl MariadbServer {
    /// Starts a fresh server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a fresh server with more options.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server =
            Self { port: free_port(), home: tempfile::tempdir().unwrap(), options, server: None };
        fs::create_dir(server.home.path().join("tmp")).unwrap();
        server.install();
        server.restart();
        server
    }

    /// Starts a server on a data directory that is there already, which it takes.
    #[must_use]
    pub fn on(data: &Path) -> Self {
        let mut server =
            Self { port: free_port(), home: tempfile::tempdir().unwrap(), options: Vec::new(), server: None };
        fs::create_dir(server.home.path().join("tmp")).unwrap();
        fs::rename(data, server.data()).unwrap();
        server.restart();
        server
    }

    fn install(&self) {
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", self.data().display()))
            .env("TMPDIR", self.home.path().join("tmp"))
            .output()
            .expect("mariadb-install-db: apt-get install mariadb-server");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Kills the server, if it runs, and starts it on what its data directory holds.
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.home.path().join("log")).unwrap();
        let server = self.server_command().stdin(Stdio::null()).stderr(log).spawn();
        self.server = Some(server.expect("mariadbd: apt-get install mariadb-server"));
        let is_up = wait_until(START_WITHIN, || self.client(&self.root(), "select 1").status.success());
        assert!(is_up, "{}", self.log());
    }

    fn server_command(&self) -> Command {
        let mut command = Command::new("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--user={}", user()))
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.home.path().join("pid").display()))
            .arg(format!("--port={}", self.port))
            // A server removes what others left in the folder of temporary tables: also what they still use.
            .arg(format!("--tmpdir={}", self.home.path().join("tmp").display()))
            .args(["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"])
            // The disk is not what is tested, and a crash of the machine isn't either.
            .args(["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0"])
            .args(&self.options);
        command
    }

    /// Returns a command that starts the server on what its data directory holds, and returns at once. [`kill`](Self::kill) ends that one too.
    #[must_use]
    pub fn start_command(&self) -> [String; 2] {
        let server = self.server_command();
        let words = std::iter::once(server.get_program()).chain(server.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let log = self.home.path().join("log");
        self.script("start", &format!("setsid {} </dev/null >'{}' 2>&1 &", words.join(" "), log.display()))
    }

    /// Returns a command that stops the server in order, whoever has started it, and waits until it has ended.
    #[must_use]
    pub fn stop_command(&self) -> [String; 2] {
        let pid = self.home.path().join("pid");
        let text = format!(
            "pid=$(cat '{}') || exit 0\nkill $pid\nwhile [ -d /proc/$pid ] && ! grep -q ' Z ' /proc/$pid/stat; do sleep 0.1; done",
            pid.display()
        );
        self.script("stop", &text)
    }

    fn script(&self, name: &str, text: &str) -> [String; 2] {
        let path = self.home.path().join(name);
        fs::write(&path, text).unwrap();
        ["/bin/sh".to_owned(), path.display().to_string()]
    }

    /// Returns the process that the server's own file names, if it is at work in the data directory.
    fn named(&self) -> Option<Pid> {
        let pid: i32 = fs::read_to_string(self.home.path().join("pid")).ok()?.trim().parse().ok()?;
        let works_here =
            fs::read_link(format!("/proc/{pid}/cwd")).ok()? == self.data().canonicalize().ok()?;
        works_here.then(|| Pid::from_raw(pid)).flatten()
    }

    /// Kills the server, without a word of farewell.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        if let Some(pid) = self.named() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            wait_until(START_WITHIN, || self.named().is_none());
        }
    }

    /// Kills the server and destroys all that it has; [`restart`](Self::restart) then starts an empty one.
    pub fn destroy(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).unwrap();
        self.install();
    }

    /// Falls silent, with all connections open, until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after a [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, what: Signal) {
        let pid = self.server.as_ref().and_then(|server| Pid::from_raw(server.id().cast_signed()));
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, what).unwrap();
        }
    }

    /// Returns the address of `root` at the socket.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mysql://root@localhost?socket={}", self.socket().display())
    }

    /// Returns the address of a user at the port. Signs in the password must be written as an address wants them.
    #[must_use]
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}", self.port)
    }

    /// Returns the port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket it listens at.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// Returns its data directory, to destroy.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Returns what the server has said since it was started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Carries out statements as `root`; what goes wrong is a panic.
    pub fn run(&self, sql: &str) {
        drop(self.ask(sql));
    }

    /// Returns what `root` is answered: lines, with tabs between the columns.
    #[must_use]
    pub fn ask(&self, sql: &str) -> String {
        let output = self.client(&self.root(), sql);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        assert!(output.status.success(), "{}\n{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// Returns a client that is logged in as `root` and reads statements.
    #[must_use]
    pub fn session(&self) -> Child {
        self.command(&self.root()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn root(&self) -> [String; 3] {
        ["--user=root".into(), "--protocol=socket".into(), format!("--socket={}", self.socket().display())]
    }

    fn command(&self, who: &[String]) -> Command {
        let mut command = Command::new("mariadb");
        command.arg("--no-defaults").args(who).args([
            "--batch",
            "--binary-mode",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            "--unbuffered",
        ]);
        command
    }

    fn client(&self, who: &[String], sql: &str) -> Output {
        let mut client = self
            .command(who)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mariadb: apt-get install mariadb-client");
        // A server that isn't there makes it end before it has read anything.
        let _ = client.stdin.take().unwrap().write_all(sql.as_bytes());
        client.wait_with_output().unwrap()
    }
}

impl Drop for MariadbServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server refuses to run as root, unless it is told to.
fn user() -> String {
    if rustix::process::geteuid().is_root() { "root".into() } else { whoami() }
}

fn whoami() -> String {
    let name = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8_lossy(&name.stdout).trim().to_owned()
}

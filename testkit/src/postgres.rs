//! A PostgreSQL cluster, in a folder of its own.

use crate::net::{free_port, wait_until};
use rustix::process::{Pid, Signal};
use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// What tests run with: nothing is made durable by the server, and a killed one leaves no shared memory behind.
const SETTINGS: &str = "fsync = off\nlisten_addresses = ''\nlog_min_messages = fatal\nmax_wal_senders = 8\ndynamic_shared_memory_type = mmap\n";

/// A cluster whose server runs, reached through a socket in its folder; stopped and gone when dropped. Pages carry checksums.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    owner: Option<(u32, u32)>,
    /// What `initdb` is told besides.
    initdb: &'static [&'static str],
}

impl Postgres {
    /// Makes a cluster and starts its server, with these lines more in its configuration.
    #[must_use]
    pub fn start(settings: &str) -> Self {
        Self::start_as(settings, &[])
    }

    /// The same, of which `initdb` is told this: an encoding, say.
    #[must_use]
    pub fn start_as(settings: &str, initdb: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A server refuses to run as root.
        let owner = rustix::process::geteuid().is_root().then(|| (number("-u"), number("-g")));
        let cluster = Self { folder, port: free_port(), owner, initdb };
        std::fs::set_permissions(cluster.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let _ = cluster.folder_of("sock");
        cluster.own(cluster.folder.path());
        cluster.remake(settings);
        cluster
    }

    /// Makes another cluster in the place of one that is gone, and starts its server.
    pub fn remake(&self, settings: &str) {
        let data = self.data();
        let words = ["-k", "-N", "-A", "trust", "-U", "postgres"];
        let words = words.iter().chain(self.initdb).map(OsStr::new);
        self.program("initdb", words.chain([OsStr::new("-D"), data.as_ref()]));
        let sockets =
            format!("unix_socket_directories = '{}'\nport = {}\n", self.path("sock").display(), self.port);
        let mut text = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        text.push_str(&format!("{SETTINGS}{sockets}{settings}\n"));
        std::fs::write(data.join("postgresql.conf"), text).unwrap();
        self.start_again();
    }

    /// Makes a replica of this cluster, and starts it.
    #[must_use]
    pub fn replica(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let replica = Self { folder, port: free_port(), owner: self.owner, initdb: self.initdb };
        std::fs::set_permissions(replica.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let _ = replica.folder_of("sock");
        replica.own(replica.folder.path());
        let (data, sockets, port) = (replica.data(), self.path("sock"), self.port.to_string());
        let words: [&OsStr; 11] = [
            "-D".as_ref(),
            data.as_ref(),
            "-R".as_ref(),
            "-c".as_ref(),
            "fast".as_ref(),
            "-U".as_ref(),
            "postgres".as_ref(),
            "-h".as_ref(),
            sockets.as_ref(),
            "-p".as_ref(),
            port.as_ref(),
        ];
        replica.program("pg_basebackup", words);
        let mut text = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        let sockets = replica.path("sock");
        text.push_str(&format!(
            "unix_socket_directories = '{}'\nport = {}\n",
            sockets.display(),
            replica.port
        ));
        std::fs::write(data.join("postgresql.conf"), text).unwrap();
        replica.start_again();
        replica
    }

    /// Returns a path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Makes a folder that belongs to the server: for a tablespace, say.
    #[must_use]
    pub fn folder_of(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        self.own(&path);
        path
    }

    /// Returns how the server is reached as this user.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        self.url_in(&self.path("sock"), user)
    }

    fn url_in(&self, sockets: &Path, user: &str) -> String {
        let sockets = sockets.display().to_string().replace('/', "%2F");
        format!("postgres://{user}@{sockets}:{}/postgres", self.port)
    }

    /// Returns a command of `psql`, not started.
    #[must_use]
    pub fn psql(&self) -> Command {
        let mut psql = Command::new(bin("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-p",
        ]);
        psql.arg(self.port.to_string()).arg("-h").arg(self.path("sock"));
        psql
    }

    /// Asks the server, and returns what it answers, a line for each row.
    #[must_use]
    pub fn ask(&self, query: &str) -> String {
        let said = self.psql().args(["-c", query]).output().unwrap();
        assert!(said.status.success(), "{query}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    /// Tells the server to do something.
    pub fn tell(&self, statement: &str) {
        let _ = self.ask(statement);
    }

    /// Lets `psql` read a text in UTF-8, which may go from database to database.
    pub fn run(&self, text: &str) {
        let file = self.path("run.sql");
        std::fs::write(&file, text).unwrap();
        let said = self.psql().env("PGCLIENTENCODING", "UTF8").arg("-f").arg(&file).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Returns what `pg_dumpall` prints of all databases and roles.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut dump = Command::new(bin("pg_dumpall"));
        dump.args(["-U", "postgres", "-p", &self.port.to_string(), "-h"]).arg(self.path("sock"));
        let said = dump.output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let is_of_this_run =
            |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
        text.lines().filter(|line| !is_of_this_run(line)).map(|line| format!("{line}\n")).collect()
    }

    /// Fills the tables of `pgbench`.
    pub fn fill(&self, scale: u32) {
        self.pgbench(&["-i", "-q", "-s", &scale.to_string()]);
    }

    /// Runs `pgbench` to its end.
    pub fn pgbench(&self, arguments: &[&str]) {
        let done = self.pgbench_command(arguments).output().unwrap();
        assert!(done.status.success(), "pgbench: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Lets `pgbench` run; it ends with the server at the latest.
    #[must_use]
    pub fn load(&self, arguments: &[&str]) -> Child {
        self.pgbench_command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn pgbench_command(&self, arguments: &[&str]) -> Command {
        let mut pgbench = Command::new(bin("pgbench"));
        pgbench.args(["-U", "postgres", "-p", &self.port.to_string(), "-h"]).arg(self.path("sock"));
        pgbench.args(arguments).arg("postgres");
        pgbench
    }

    /// Returns what `pg_amcheck` finds in all databases: nothing, where all is well.
    #[must_use]
    pub fn amcheck(&self) -> String {
        let mut check = Command::new(bin("pg_amcheck"));
        check.args(["--all", "--install-missing", "--heapallindexed", "-U", "postgres", "-p"]);
        let said = check.arg(self.port.to_string()).arg("-h").arg(self.path("sock")).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        if said.status.success() { text } else { format!("{} {text}", said.status) }
    }

    /// Starts the server.
    pub fn start_again(&self) {
        self.start_in(&self.data());
    }

    /// Starts a server on another data directory, with the same socket.
    pub fn start_in(&self, data: &Path) {
        let log = self.path("log");
        let words = [
            OsStr::new("-D"),
            data.as_ref(),
            "-l".as_ref(),
            log.as_ref(),
            "-w".as_ref(),
            "-t".as_ref(),
            "60".as_ref(),
            "start".as_ref(),
        ];
        self.program("pg_ctl", words);
    }

    /// Ends the server as it should end.
    pub fn stop(&self) {
        let data = self.data();
        self.program(
            "pg_ctl",
            [OsStr::new("-D"), data.as_ref(), "-m".as_ref(), "fast".as_ref(), "-w".as_ref(), "stop".as_ref()],
        );
    }

    /// Kills the server and all its processes, as a power cut would.
    pub fn kill(&self) {
        kill(&self.data());
    }

    /// Falls silent until [`thaw`](Self::thaw): the kernel takes connections, and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on after a [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, what: Signal) {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| Pid::from_raw(line.trim().parse().ok()?));
        rustix::process::kill_process(pid.unwrap(), what).unwrap();
    }

    /// Removes the data directory: a disk has died.
    pub fn destroy(&self) {
        self.kill();
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    fn program<'a>(&self, name: &str, words: impl IntoIterator<Item = &'a OsStr>) {
        let mut command = Command::new(bin(name));
        command.args(words).current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        // Files and no pipes: a server that stays would keep them open.
        let said = self.path("said");
        let file = std::fs::File::create(&said).unwrap();
        let done = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        let text = || std::fs::read_to_string(&said).unwrap_or_default();
        let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(done.success(), "{name}: {}\n{}", text(), log());
    }

    fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.owner {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Also what a test has started on another data directory in this folder.
        for entry in std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            kill(&entry.path());
        }
    }
}

/// Kills the server of a data directory, if one runs, and waits until nothing of it is left.
fn kill(data: &Path) {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return };
    let Some(process) = text.lines().next().and_then(|line| line.trim().parse().ok()) else { return };
    let Some(process) = Pid::from_raw(process) else { return };
    let _ = rustix::process::kill_process(process, Signal::KILL);
    let gone = |folder: &Path| {
        !Path::new("/proc").join(process.as_raw_nonzero().to_string()).exists() && !is_used(folder)
    };
    assert!(wait_until(Duration::from_secs(20), || gone(data)), "a process of the server stays");
}

fn is_used(data: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok())
        .any(|folder| folder == data)
}

/// Returns one of PostgreSQL's programs, of the newest version that is here.
fn bin(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| panic!("there is no {name}: cargo xtask setup"))
}

/// Returns a number of the user `postgres`, whom Debian's package makes.
fn number(which: &str) -> u32 {
    let said = Command::new("id").args([which, "postgres"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    text.trim().parse().expect("a user `postgres`: cargo xtask setup")
}

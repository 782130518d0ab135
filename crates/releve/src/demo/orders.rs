//! The company's order database: a PostgreSQL cluster of its own where that is installed, an SQLite file otherwise.
//!
//! The server belongs to nobody's service: it is started and killed by the demo, and listens on a socket in the demo's folder alone.

use super::{Failed, io};
use nix::unistd::{Uid, User};
use postgres::NoTls;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the orders lie below the server's disk.
const FOLDER: &str = "srv/orders";

/// Where packages put PostgreSQL's programs, a folder for each version.
const PROGRAMS: &str = "/usr/lib/postgresql";

/// The order database of a company.
pub(super) enum Orders {
    /// A file.
    Sqlite(PathBuf),
    /// A cluster.
    Postgres(Cluster),
}

/// A PostgreSQL cluster of the demo's own.
pub(super) struct Cluster {
    data: PathBuf,
    socket: PathBuf,
    programs: PathBuf,
    version: String,
    /// Whom the server runs as: it refuses to be root.
    owner: Option<User>,
}

impl Orders {
    /// Makes the empty order database of a new company. `run` is a folder that no crash takes.
    pub(super) fn found(disk: &Path, run: &Path) -> Result<Self, Failed> {
        let folder = disk.join(FOLDER);
        fs::create_dir_all(&folder).map_err(io("make the company's folders"))?;
        if let Some(cluster) = Cluster::found(&folder, run)? {
            return Ok(Self::Postgres(cluster));
        }
        let path = folder.join("orders.db");
        let failed = |error: rusqlite::Error| Failed(format!("create the orders: {error}"));
        let connection = Connection::open(&path).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection
            .execute_batch("create table orders (id integer primary key, article text not null, price integer not null, placed text not null)")
            .map_err(failed)?;
        Ok(Self::Sqlite(path))
    }

    /// Returns what it is, for a person.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Sqlite(_) => "its orders in SQLite (there is no PostgreSQL that could run here)".into(),
            Self::Postgres(cluster) => {
                format!(
                    "its orders in a PostgreSQL {} cluster of its own, with an agent that streams its WAL",
                    cluster.version
                )
            }
        }
    }

    /// Returns where its files lie.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Sqlite(path) => path,
            Self::Postgres(cluster) => &cluster.data,
        }
    }

    /// Returns whether every change goes into the vaults as it happens.
    pub(super) const fn has_log(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Returns the address that a [`Ledger`] opens.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(cluster) => cluster.url(),
        }
    }

    /// Starts its server, if it has one and none runs.
    pub(super) fn start(&self) -> Result<(), Failed> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(cluster) => cluster.start(),
        }
    }

    /// Kills its server, if it has one, as a power cut does.
    pub(super) fn kill(&self) {
        if let Self::Postgres(cluster) = self {
            kill_server(&cluster.data);
            // A machine that starts again has nothing in there.
            for entry in fs::read_dir(&cluster.socket).into_iter().flatten().flatten() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Kills the server that runs in a data directory, and waits until it is gone. By where it works and not by the file that names it: an
/// intruder has encrypted that too.
pub(super) fn kill_server(data: &Path) {
    for _ in 0..1000 {
        let at_work = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let is_there = fs::read_link(entry.path().join("cwd")).ok()? == data;
            Pid::from_raw(number).filter(|_| is_there && name.trim() == "postgres")
        });
        let at_work: Vec<_> = at_work.collect();
        if at_work.is_empty() {
            return;
        }
        for pid in at_work {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

impl Cluster {
    /// Makes a cluster, where everything that it takes is here.
    fn found(folder: &Path, run: &Path) -> Result<Option<Self>, Failed> {
        let owner = match Uid::effective().is_root() {
            true => match User::from_name("postgres") {
                Ok(Some(user)) => Some(user),
                _ => return Ok(None),
            },
            false => None,
        };
        let (Some((version, programs)), socket) = (installed(), run.join("postgres")) else {
            return Ok(None);
        };
        // A socket's path has at most 107 bytes; its name takes some.
        if socket.as_os_str().len() > 80 || (owner.is_some() && !is_open_to_others(run)) {
            return Ok(None);
        }
        let cluster = Self { data: folder.join("data"), socket, programs, version, owner };
        for folder in [&cluster.data, &cluster.socket] {
            fs::create_dir_all(folder).map_err(io("make the cluster's folders"))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
                .map_err(io("make the cluster's folders"))?;
            if let Some(owner) = &cluster.owner {
                chown(folder, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
                    .map_err(io("make the cluster's folders"))?;
            }
        }
        cluster.run(
            "initdb",
            &[
                "--auth=trust",
                "--username=releve",
                "--data-checksums",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "-D",
            ],
        )?;
        // What a killed server shares lies in its own folder, and goes with it.
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_slot_wal_keep_size = '1GB'\ndynamic_shared_memory_type = mmap\n",
            cluster.socket.display()
        );
        let path = cluster.data.join("postgresql.conf");
        let text = fs::read_to_string(&path).map_err(io("read the cluster's settings"))?;
        fs::write(&path, text + &settings).map_err(io("write the cluster's settings"))?;
        cluster.start()?;
        let failed = |error: postgres::Error| Failed(format!("create the orders: {error}"));
        let mut client = postgres::Client::connect(&cluster.url(), NoTls).map_err(failed)?;
        client
            .batch_execute("create table orders (id bigint primary key, article text not null, price int not null, placed timestamptz not null)")
            .map_err(failed)?;
        Ok(Some(cluster))
    }

    fn url(&self) -> String {
        let socket = self.socket.display().to_string();
        format!("postgres://releve@{}/postgres", socket.replace('%', "%25").replace('/', "%2F"))
    }

    fn start(&self) -> Result<(), Failed> {
        if postgres::Client::connect(&self.url(), NoTls).is_ok() {
            return Ok(());
        }
        self.run("pg_ctl", &["start", "--wait", "--silent", "--log=/dev/null", "-D"])
    }

    /// Runs one of PostgreSQL's programs as the cluster's owner; the data directory is its last argument.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failed> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).arg(&self.data).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        // A Ctrl-C for the demo is not one for its server.
        command.process_group(0);
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        let output = command.stderr(Stdio::piped()).spawn().and_then(|child| child.wait_with_output());
        let output = output.map_err(io(program))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failed(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
        }
    }
}

/// Returns whether another user can get to a folder.
fn is_open_to_others(folder: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map(|meta| meta.permissions().mode());
    folder.ancestors().skip(1).all(|path| mode(path).is_ok_and(|mode| mode & 0o001 != 0))
}

/// Returns the newest PostgreSQL that is installed whole, and the folder of its programs.
fn installed() -> Option<(String, PathBuf)> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(PROGRAMS)
        .ok()?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| {
            ["initdb", "pg_ctl", "pg_receivewal"].iter().all(|name| folder.join(name).exists())
        })
        .collect();
    versions.sort();
    versions.pop().map(|(version, folder)| (version.to_string(), folder))
}

/// An open order database.
pub(super) enum Ledger {
    /// A file.
    Sqlite(Connection),
    /// A server.
    Postgres(postgres::Client),
}

impl Ledger {
    /// Opens the database at an address of [`Orders::address`].
    pub(super) fn open(address: &str) -> Result<Self, String> {
        if address.starts_with("postgres:") {
            return postgres::Client::connect(address, NoTls)
                .map(Self::Postgres)
                .map_err(|error| error.to_string());
        }
        let open = || {
            let connection = Connection::open_with_flags(address, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        };
        open().map(Self::Sqlite).map_err(|error: rusqlite::Error| error.to_string())
    }

    /// A customer orders a lamp.
    pub(super) fn order(&mut self) -> Result<(), String> {
        match self {
            Self::Sqlite(connection) => connection
                .execute("insert into orders (article, price, placed) values ('Lampe de bureau', 4900, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", [])
                .map(drop)
                .map_err(|error| error.to_string()),
            // Numbers without gaps, unlike a sequence's, so that a missing order is seen.
            Self::Postgres(client) => client
                .batch_execute("insert into orders select coalesce(max(id), 0) + 1, 'Lampe de bureau', 4900, clock_timestamp() from orders")
                .map_err(|error| error.to_string()),
        }
    }

    /// Returns how many orders there are.
    pub(super) fn count(&mut self) -> Result<i64, String> {
        self.number("select count(*) from orders")
    }

    /// Returns how many orders there are that were placed before this instant.
    pub(super) fn count_before(&mut self, time: jiff::Timestamp) -> Result<i64, String> {
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        self.number(&format!("select count(*) from orders where placed <= '{time}'"))
    }

    /// Returns how many orders are missing between the first and the last, after the database itself was asked whether it is whole.
    pub(super) fn gaps(&mut self) -> Result<i64, String> {
        if let Self::Sqlite(connection) = self {
            let verdict: String = connection
                .query_row("pragma integrity_check", [], |row| row.get(0))
                .map_err(|error| error.to_string())?;
            if verdict != "ok" {
                return Err(verdict);
            }
        }
        self.number("select coalesce(max(id), 0) - count(*) from orders")
    }

    fn number(&mut self, query: &str) -> Result<i64, String> {
        match self {
            Self::Sqlite(connection) => {
                connection.query_row(query, [], |row| row.get(0)).map_err(|error| error.to_string())
            }
            Self::Postgres(client) => {
                client.query_one(query, &[]).and_then(|row| row.try_get(0)).map_err(|error| error.to_string())
            }
        }
    }
}

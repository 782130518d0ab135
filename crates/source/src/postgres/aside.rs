//! A server that reads what was restored beside, for one run, and is thrown away.
//!
//! It is kept from everything: a socket in a folder that only its user may enter and no network, a configuration of ours alone, no libraries that
//! others have it load, no workers, no archive, nothing to replicate from, and every transaction read-only. It runs as the owner of the
//! data, never as root, and ends with us. It runs behind walls, too: what its log makes elsewhere, where the live server has its own, it makes in the room.

use super::led::OURS;
use super::programs::{program, version_of};
use super::server::{OUR_PATH, sort};
use super::session::{Failed, Session};
use crate::error::at;
use crate::program::Running;
use crate::walls::Walls;
use crate::{Error, Kind, Program, Result};
use process::Words;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;

/// How often it is looked after: its words are read, so that it is never stuck in them.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a person is told that it still recovers.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to end, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How long one question may wait for its connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The port, which only names its socket.
const PORT: u16 = 5432;
/// The longest path that the kernel takes for a socket, and how long its name is.
const SOCKET_BYTES_MAX: usize = 107 - "/.s.PGSQL.5432".len();
/// How many prepared transactions more than the cluster had may come up while it recovers: the log may tell of a higher limit.
const PREPARED_MORE: u32 = 256;

/// What stands in every session, whatever a database or a user was given: it can neither write nor load a library.
const SESSION: &str = "-c default_transaction_read_only=on -c session_preload_libraries= -c local_preload_libraries= \
    -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c synchronous_commit=local ";
/// Limits that came later, by the first version that has each: an older one refuses a session that names it.
const LATER: [(u32, &str); 2] = [(14, " -c idle_session_timeout=0"), (17, " -c transaction_timeout=0")];

/// A server that was started. Dropped, it ends.
struct Server {
    running: Mutex<Running>,
    is_done: AtomicBool,
}

/// One that has recovered.
pub(super) struct Aside {
    sockets: PathBuf,
    version: String,
    owner: (u32, u32),
    /// One who may read everything.
    user: String,
    programs: Option<PathBuf>,
}

/// What is started, and who waits for it.
pub(super) struct Start<'a> {
    pub(super) data: &'a Path,
    /// The folder below which all of it was restored.
    pub(super) to: &'a Path,
    /// A folder that isn't there yet, for its socket and its configuration.
    pub(super) room: &'a Path,
    /// Who may be a user of this cluster.
    pub(super) users: &'a [&'a str],
    pub(super) programs: Option<&'a Path>,
    pub(super) told: &'a dyn Fn(&str),
    /// Whether nobody waits any more.
    pub(super) is_over: &'a (dyn Fn() -> bool + Sync),
}

/// Returns who owns a cluster, and so runs its server. The error says why he can't.
pub(super) fn owner(data: &Path) -> Result<(u32, u32)> {
    let probe = data.join("PG_VERSION");
    let found = fs::metadata(&probe).map_err(|error| Error::io(at("look at", &probe), error))?;
    let place = || format!("start a server on {}", data.display());
    let is_root = rustix::process::geteuid().is_root();
    if found.uid() == 0 && is_root {
        let why = "it belongs to root, and PostgreSQL refuses to run as root: run this as another user";
        return Err(Error::new(place(), Kind::Invalid(why.into())));
    }
    let owner = (found.uid(), found.gid());
    let reads = Program::new(Words::of("/usr/bin/test").pair("-r", &probe))?;
    match reads.by(owner.0, owner.1).run() {
        Ok(()) => Ok(owner),
        Err(_) => {
            let why = format!(
                "its owner (user {}) can't get there: choose a folder that everybody may enter, --work DIR",
                owner.0
            );
            Err(Error::new(place(), Kind::Invalid(why)))
        }
    }
}

/// Starts a server and hands it to `work` once it has recovered. It has ended when this returns.
pub(super) fn with<T>(start: &Start<'_>, work: impl FnOnce(&Aside) -> Result<T>) -> Result<T> {
    let owner = owner(start.data)?;
    let version = version_of(start.data)?;
    configure(start, owner, &version)?;
    let postgres = program("postgres", &version, start.programs)?;
    // Behind walls a link to it would lead nowhere.
    let postgres = postgres.canonicalize().unwrap_or(postgres);
    let config = format!("config_file={}", start.room.join("postgresql.conf").display());
    let command = Words::of(&postgres).pair("-D", start.data).pair("-c", config);
    let program = Program::new(command)?.by(owner.0, owner.1).ending_with_us();
    let program = program.environment(vec![("LC_ALL", "C".into())]).within(Duration::MAX);
    let mut walls = walls(start, &postgres, owner)?;
    let (mut work, mut led) = (Some(work), Vec::new());
    loop {
        let program = walls.iter().fold(program.clone(), |program, walls| program.behind(walls.clone()));
        let running = program.start(Stdio::null());
        let running =
            running.map_err(|why| Error::new(at("start a server on", start.data), Kind::Program(why)))?;
        let server = Server { running: Mutex::new(running), is_done: AtomicBool::new(false) };
        let result = std::thread::scope(|scope| {
            scope.spawn(|| server.watch(start.is_over));
            let _done = Done(&server.is_done);
            let user = server.recovered(start, &version)?;
            let programs = start.programs.map(Path::to_owned);
            let aside =
                Aside { sockets: start.room.to_owned(), version: version.clone(), owner, user, programs };
            match work.take() {
                Some(work) => work(&aside),
                None => Err(Error::new("read what was restored", Kind::Program("was read already".into()))),
            }
        });
        server.end();
        let is_over = (start.is_over)();
        match (result, walls.take()) {
            (Err(_), _) if is_over => {
                return Err(Error::new("read what was restored", Kind::Program("stopped".into())));
            }
            // It stands where it has got to, and goes on from there.
            (Err(error), Some(built)) if work.is_some() => match missing(&error) {
                Some(place) if !led.contains(&place) => {
                    (start.told)(&format!(
                        "its log makes {}: it makes it in {}",
                        place.display(),
                        start.room.display()
                    ));
                    let into = start.room.join(format!("made-{}", led.len()));
                    let made =
                        fs::DirBuilder::new().mode(0o700).create(&into).and_then(|()| give(&into, owner));
                    made.map_err(|error| Error::io(at("make the folder", &into), error))?;
                    // Below the copy itself, so that nothing of it is hidden.
                    walls = Some(built.leads(&place, &into).writes(start.to).writes(start.room));
                    led.push(place);
                }
                _ => return Err(error),
            },
            (result, _) => return result,
        }
    }
}

/// Returns what the server may see and write. `None` where this machine can't build walls, if the log is harmless without.
fn walls(start: &Start<'_>, postgres: &Path, owner: (u32, u32)) -> Result<Option<Walls>> {
    let root = start.room.join("root");
    let made = fs::DirBuilder::new().mode(0o755).create(&root);
    made.map_err(|error| Error::io(at("make the folder", &root), error))?;
    // From `…/bin/postgres`: its libraries lie beside.
    let programs = postgres.parent().and_then(Path::parent);
    let walls = Walls::at(&root);
    let walls = match programs.filter(|programs| programs.parent().is_some()) {
        Some(programs) => walls.reads(programs),
        None => walls,
    };
    let walls = walls.writes(start.to).writes(start.room);
    let trial = Program::new(["/usr/bin/true"])?.by(owner.0, owner.1).behind(walls.clone()).run();
    let Err(why) = trial else { return Ok(Some(walls)) };
    let mut log = start.data.as_os_str().to_owned();
    log.push(super::WAL_BESIDE);
    let folders = [PathBuf::from(log), start.data.join("pg_wal")];
    let strays = super::history::strays(&folders, start.to, start.data, start.programs)?;
    if let Some(stray) = strays.first() {
        let why = format!(
            "its log makes a tablespace in {}, and a server can't be kept out of there on this machine: {why}",
            stray.display()
        );
        return Err(Error::new(at("start a server on", start.data), Kind::Invalid(why)));
    }
    (start.told)(&format!("no walls can be built on this machine; its log makes nothing elsewhere ({why})"));
    Ok(None)
}

/// Returns the folder that a server lacked for a tablespace when it ended.
fn missing(error: &Error) -> Option<PathBuf> {
    let Kind::Program(why) = &error.kind else { return None };
    let (before, _) = why.rsplit_once("\" does not exist")?;
    let (_, place) = before.rsplit_once("FATAL:  directory \"")?;
    Some(PathBuf::from(place)).filter(|place| place.is_absolute())
}

/// Lets the one who looks after a server go, on every way out.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Server {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads its words, and ends it when nobody waits any more: whoever reads from it then hears of that.
    fn watch(&self, is_over: &(dyn Fn() -> bool + Sync)) {
        let mut was_told = false;
        while !self.is_done.load(Ordering::Relaxed) {
            if self.running().over().is_some() {
                return;
            }
            if is_over() && !was_told {
                self.running().signal(Signal::INT);
                was_told = true;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Waits until it has recovered, and returns a user that may read everything.
    fn recovered(&self, start: &Start<'_>, version: &str) -> Result<String> {
        let place = || at("recover", start.data);
        let (begun, mut tell_at) = (Instant::now(), Instant::now() + TELL_EVERY);
        loop {
            if let Some(why) = self.running().over() {
                return Err(Error::new(place(), Kind::Program(why)));
            }
            match superuser(start, version) {
                Ok(Some(user)) => return Ok(user),
                Ok(None) => {
                    let why = format!(
                        "none of its users {} is there, and no other name is known here",
                        start.users.join(", ")
                    );
                    return Err(Error::new(place(), Kind::Invalid(why)));
                }
                // Not ready to let anybody in.
                Err(_) => {}
            }
            if Instant::now() >= tell_at {
                (start.told)(&format!("it recovers since {} s", begun.elapsed().as_secs()));
                tell_at = Instant::now() + TELL_EVERY;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Ends it: in order, and if that takes too long at once.
    fn end(&self) {
        let begun = Instant::now();
        let mut last = None;
        while self.running().over().is_none() {
            let signal = match begun.elapsed() {
                passed if passed > END_WITHIN => return,
                passed if passed > END_WITHIN / 2 => Signal::QUIT,
                _ => Signal::INT,
            };
            if last != Some(signal) {
                self.running().signal(signal);
                last = Some(signal);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Returns a user that may read everything; `None` if nobody knows the cluster's users. The error is one of the server that may pass.
fn superuser(start: &Start<'_>, version: &str) -> Result<Option<String>, Failed> {
    let question = "SELECT rolname::text FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1";
    for user in start.users {
        for database in ["postgres", "template1"] {
            match connect(start.room, user, database, version)
                .and_then(|mut client| client.query_opt(question, &[]))
            {
                Ok(Some(row)) => return Ok(Some(row.get(0))),
                Ok(None) => return Ok(None),
                // This user, or this database, is not there: another may be.
                Err(error) if error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// Returns what stands in every session with a server of this version.
fn session(version: &str) -> String {
    let version: u32 = version.parse().unwrap_or_default();
    let later = LATER.iter().filter(|(first, _)| version >= *first).map(|(_, option)| *option);
    [SESSION, OUR_PATH].into_iter().chain(later).collect()
}

fn connect(sockets: &Path, user: &str, database: &str, version: &str) -> Result<Session, Failed> {
    let mut config = Config::new();
    config.host_path(sockets).port(PORT).user(user).dbname(database).connect_timeout(CONNECT_WITHIN);
    config.options(session(version)).application_name("releve");
    Session::open(&config)
}

/// Writes all that leads the server, and takes away what led it before.
fn configure(start: &Start<'_>, owner: (u32, u32), version: &str) -> Result<()> {
    let room = start.room;
    if room.as_os_str().len() > SOCKET_BYTES_MAX {
        let why = format!(
            "a socket there would have too long a path: choose a shorter one than {}",
            room.display()
        );
        return Err(Error::new("start a server", Kind::Invalid(why)));
    }
    let auto = start.data.join("postgresql.auto.conf");
    let text = fs::read(&auto).map_err(|error| Error::io(at("read", &auto), error))?;
    let text = String::from_utf8_lossy(&text);
    let ours: String =
        text.lines().skip_while(|line| !line.starts_with(OURS)).map(|line| format!("{line}\n")).collect();
    fs::write(&auto, ours).map_err(|error| Error::io(at("write", &auto), error))?;
    let limits = limits(start, owner, version)?;
    let event_triggers = match version.parse::<u32>() {
        Ok(17..) => "event_triggers = off\n",
        _ => "",
    };
    let path = room.display().to_string().replace('\'', "''");
    let settings = format!(
        "hba_file = '{path}/pg_hba.conf'\nident_file = '{path}/pg_ident.conf'\nunix_socket_directories = '{path}'\n\
        listen_addresses = ''\nport = {PORT}\nunix_socket_permissions = 0700\nssl = off\n\
        default_transaction_read_only = on\narchive_mode = off\nhot_standby = off\n{event_triggers}\
        shared_preload_libraries = ''\nautovacuum = off\nmax_worker_processes = 0\nmax_logical_replication_workers = 0\n\
        max_parallel_workers = 0\nmax_wal_senders = 0\nmax_replication_slots = 0\nsynchronous_standby_names = ''\n\
        fsync = off\njit = off\nhuge_pages = off\ndynamic_shared_memory_type = mmap\n\
        logging_collector = off\nlog_destination = 'stderr'\nlog_line_prefix = ''\nlc_messages = 'C'\n{limits}"
    );
    let write = || -> std::io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(room)?;
        for (name, text) in [
            ("postgresql.conf", settings.as_str()),
            ("pg_hba.conf", "local all all trust\n"),
            ("pg_ident.conf", ""),
        ] {
            fs::write(room.join(name), text)?;
            give(&room.join(name), owner)?;
        }
        give(room, owner)
    };
    write().map_err(|error| Error::io(at("make the folder", room), error))
}

/// Gives a file to who runs the server. Whoever isn't root runs it himself.
fn give(path: &Path, (uid, gid): (u32, u32)) -> std::io::Result<()> {
    if rustix::process::geteuid().is_root() { chown(path, Some(uid), Some(gid)) } else { Ok(()) }
}

/// Returns the limits that the cluster had, as settings: what it had open must have room again, and so must the locks of a dump of all.
fn limits(start: &Start<'_>, owner: (u32, u32), version: &str) -> Result<String> {
    let control = program("pg_controldata", version, start.programs)?;
    let program = Program::new(Words::of(control).data([start.data]))?.by(owner.0, owner.1);
    let said = program.environment(vec![("LC_ALL", "C".into())]).output();
    let said = said.map_err(|why| Error::new(at("look at", start.data), Kind::Program(why)))?;
    let said = String::from_utf8_lossy(&said);
    let value = |name: &str| -> u32 {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" setting:"));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    Ok(format!(
        "max_connections = {}\nmax_locks_per_transaction = {}\nmax_prepared_transactions = {}\n",
        value("max_connections").max(20),
        value("max_locks_per_xact").max(64),
        value("max_prepared_xacts").saturating_add(PREPARED_MORE),
    ))
}

impl Aside {
    pub(super) fn connect(&self, database: &str) -> Result<Session> {
        let connected = connect(&self.sockets, &self.user, database, &self.version);
        connected.map_err(|error| sort(format!("open the database {database}"), &error))
    }

    /// Returns `pg_dump` of one database, with these arguments more.
    pub(super) fn pg_dump(
        &self,
        database: &str,
        arguments: impl IntoIterator<Item = String>,
    ) -> Result<Program> {
        let dump = program("pg_dump", &self.version, self.programs.as_deref())?;
        let quoted = |value: &str| format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"));
        let to = format!(
            "host={} port={PORT} user={} dbname={}",
            quoted(&self.sockets.display().to_string()),
            quoted(&self.user),
            quoted(database)
        );
        let command = Words::of(dump).words(["--no-password", "--lock-wait-timeout=60000"]);
        let command = command.option("--dbname", to).told(arguments);
        let environment = vec![("PGOPTIONS", session(&self.version)), ("PGAPPNAME", "releve".to_owned())];
        let program = Program::new(command)?.environment(environment);
        Ok(program.by(self.owner.0, self.owner.1).ending_with_us().within(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_names_no_limit_that_its_server_does_not_know() {
        assert!(session("13").ends_with(" -c synchronous_commit=local -c search_path=pg_catalog,pg_temp"));
        assert!(session("15").ends_with(" -c idle_session_timeout=0"));
        assert!(session("17").contains("idle_session_timeout=0 -c transaction_timeout=0"));
    }
}

//! The embedded store: one SQLite file, `state.db`, used by the agent and by commands at the same time.
//!
//! ```text
//! kv(key, value, revision)     what stands; a change replaces the row
//! gone(key, revision)          deletions, for watchers; only the newest GONE_MAX are kept
//! lease(name, holder, token, expires_ms)
//! counter(name, value)         revision: the newest change; forgotten: the newest deletion that is no longer in `gone`
//! ```
//!
//! Every process that has the file open holds a shared lock on `state.lock` beside it, so that nobody moves the file
//! away under another's feet: that one's writes would go into the damaged copy.

use crate::kv::{
    Event, Expect, Grant, KEY_BYTES_MAX, Kv, Lease, Outcome, Revision, VALUE_BYTES_MAX, Versioned, Watch,
};
use crate::making::{LOST, Making};
use crate::{Error, Kind, Result, links, reserve};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The layout that this version writes, kept in `PRAGMA user_version`.
pub(crate) const LAYOUT: i64 = 1;
/// Marks the file as ours (`PRAGMA application_id`): "Relv".
const APPLICATION: i64 = 0x5265_6c76;
/// What belongs to the file, and last itself.
pub(crate) const COMPANIONS: [&str; 3] = ["-wal", "-shm", ""];
/// How long a call waits for other processes. Writes take milliseconds, so this is a stuck disk or a stopped process.
const BUSY: Duration = Duration::from_secs(20);
/// What SQLite asks for at once at most: the pages of its shared memory.
const ROOM_TRIED: usize = 32 << 10;
/// How many deletions watchers can look back on.
const GONE_MAX: u64 = 10_000;
/// How many events one look returns.
const EVENTS_MAX: u64 = 1000;
/// How often a watcher looks for what other processes wrote: SQLite has no way to be told.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const TABLES: &str = "
    CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    CREATE UNIQUE INDEX kv_revision ON kv (revision);
    CREATE TABLE gone (key BLOB PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    CREATE UNIQUE INDEX gone_revision ON gone (revision);
    CREATE TABLE lease (name BLOB PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, expires_ms INTEGER NOT NULL)
        WITHOUT ROWID, STRICT;
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
    INSERT INTO counter VALUES ('revision', 0), ('forgotten', 0);
";

/// The store in `state.db` of one directory.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Told when this process wrote something.
    written: Condvar,
    is_new: bool,
    /// Held for as long as the file is open.
    _lock: File,
}

impl Sqlite {
    /// Opens the store in `dir`, and makes both where they aren't there: the directory for its owner alone (0700), the
    /// file too (0600). A directory that exists keeps its permissions. The whole file is checked first; one in which nothing
    /// stands any more is damaged, and no new one.
    pub fn open(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        reserve::release(dir);
        let path = dir.join("state.db");
        let place = format!("open {}", path.display());
        let lock = lock_file(dir)?;
        lock.lock_shared().map_err(|error| Error::io(&place, dir, &error))?;
        let making = Making::begin(dir, &place)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(&path, flags).map_err(|error| sqlite_error(&place, dir, &error))?;
        let is_new = prepare(&mut connection, &making, &place, dir)?;
        making.end(dir, &place)?;
        Ok(Self { path, connection: Mutex::new(connection), written: Condvar::new(), is_new, _lock: lock })
    }

    /// Returns whether this call made the file: what was known before, if anything was, is in the vaults.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Moves the store of `dir` out of the way, whole, to `state.db.damaged-<time>`; returns where to, `None` if
    /// there was nothing. Refused (`InUse`) while any process has it open.
    pub fn set_aside(dir: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
        let path = dir.join("state.db");
        let place = format!("move {} aside", path.display());
        let failed = |error: std::io::Error| Error::io(&place, dir, &error);
        if !path.try_exists().map_err(failed)? {
            return Ok(None);
        }
        let _alone = alone(dir, &place)?;
        let stamp = now.strftime("%Y%m%dT%H%M%S%.fZ");
        let target = dir.join(format!("state.db.damaged-{stamp}"));
        // The companions hold the newest writes. They go first: without its log the file is older, with a foreign log it is ruined.
        for companion in COMPANIONS {
            let from = dir.join(format!("state.db{companion}"));
            if from.try_exists().map_err(failed)? {
                let to = dir.join(format!("state.db.damaged-{stamp}{companion}"));
                std::fs::rename(&from, &to).map_err(failed)?;
            }
        }
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(Some(target))
    }

    /// Puts everything into the file itself, on the disk: what lies beside it is not needed any more.
    pub(crate) fn settle(&self) -> Result<()> {
        let place = format!("write {}", self.path.display());
        let is_busy = self.read(&place, |db| {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
        })?;
        if is_busy != 0 {
            return Err(Error::new(place, Kind::Busy));
        }
        let synced = File::open(&self.path).and_then(|file| file.sync_all());
        synced.map_err(|error| Error::io(place, self.dir(), &error))
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves no half-done work here: transactions roll back when dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, verb: &str, name: &str) -> String {
        format!("{verb} {name} in {}", self.path.display())
    }

    /// Runs `work` in one write transaction. What it returned as done is on the disk.
    fn write<T>(&self, place: &str, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        reserve::release(self.dir());
        let mut connection = self.connection();
        let result = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|write| {
            let result = work(&write)?;
            write.commit()?;
            Ok(result)
        });
        drop(connection);
        self.written.notify_all();
        result.map_err(|error| sqlite_error(place, self.dir(), &error))
    }

    fn read<T>(&self, place: &str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection()).map_err(|error| sqlite_error(place, self.dir(), &error))
    }
}

impl Kv for Sqlite {
    fn get(&self, key: &str) -> Result<Option<Versioned>> {
        self.read(&self.place("read", key), |db| {
            db.prepare_cached("SELECT value, revision FROM kv WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| {
                    Ok(Versioned { value: row.get(0)?, revision: Revision(row.get(1)?) })
                })
                .optional()
        })
    }

    fn put(&self, key: &str, value: &[u8], expect: Expect) -> Result<Outcome> {
        let place = self.place("write", key);
        storable(&place, key, value)?;
        self.write(&place, |db| {
            let stands = stands(db, key)?;
            if !fits(expect, stands) {
                return Ok(Outcome::Conflict(stands));
            }
            put(db, key, value).map(Outcome::Done)
        })
    }

    fn put_all(&self, values: &[(String, Vec<u8>)]) -> Result<()> {
        let Some((first, _)) = values.first() else { return Ok(()) };
        let place = self.place("write", first);
        for (key, value) in values {
            storable(&place, key, value)?;
        }
        self.write(&place, |db| {
            for (key, value) in values {
                put(db, key, value)?;
            }
            Ok(())
        })
    }

    fn delete(&self, key: &str, expect: Expect) -> Result<Outcome> {
        self.write(&self.place("remove", key), |db| {
            let stands = stands(db, key)?;
            if !fits(expect, stands) {
                return Ok(Outcome::Conflict(stands));
            }
            if stands.is_none() {
                return counter(db, "revision").map(|revision| Outcome::Done(Revision(revision)));
            }
            let revision = next_revision(db)?;
            db.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key.as_bytes()])?;
            db.prepare_cached("INSERT OR REPLACE INTO gone VALUES (?1, ?2)")?
                .execute((key.as_bytes(), revision.0))?;
            forget_deletions(db)?;
            Ok(Outcome::Done(revision))
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>> {
        self.read(&self.place("list", prefix), |db| {
            let mut query = db.prepare_cached(
                "SELECT key, value, revision FROM kv WHERE key >= ?1 AND (?2 IS NULL OR key < ?2) ORDER BY key",
            )?;
            let rows = query.query_map((prefix.as_bytes(), after_prefix(prefix)), |row| {
                let versioned = Versioned { value: row.get(1)?, revision: Revision(row.get(2)?) };
                Ok((key_text(row.get(0)?)?, versioned))
            })?;
            rows.collect()
        })
    }

    fn revision(&self) -> Result<Revision> {
        self.read(&self.place("read", "the revision"), |db| counter(db, "revision")).map(Revision)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watch + '_>> {
        Ok(Box::new(SqliteWatch { store: self, prefix: prefix.to_owned(), after }))
    }

    fn lease(&self, name: &str, holder: &str, ttl: SignedDuration, now: Timestamp) -> Result<Grant> {
        let place = self.place("take lease", name);
        storable(&place, name, holder.as_bytes())?;
        let expires = expiry(&place, ttl, now)?;
        self.write(&place, |db| {
            match read_lease(db, name)? {
                Some(lease) if now < lease.expires => return Ok(Grant::Taken(lease)),
                _ => {}
            }
            // The revision only ever grows, also over a release: so does the token.
            let token = next_revision(db)?.0;
            db.prepare_cached("INSERT OR REPLACE INTO lease VALUES (?1, ?2, ?3, ?4)")?.execute((
                name.as_bytes(),
                holder,
                token,
                expires.as_millisecond(),
            ))?;
            Ok(Grant::Held(Lease { name: name.to_owned(), holder: holder.to_owned(), token, expires }))
        })
    }

    fn renew(&self, lease: &Lease, ttl: SignedDuration, now: Timestamp) -> Result<Lease> {
        let place = self.place("renew lease", &lease.name);
        let expires = expiry(&place, ttl, now)?;
        let renewed = self.write(&place, |db| {
            db.prepare_cached(
                "UPDATE lease SET expires_ms = ?1 WHERE name = ?2 AND token = ?3 AND expires_ms > ?4",
            )?
            .execute((
                expires.as_millisecond(),
                lease.name.as_bytes(),
                lease.token,
                now.as_millisecond(),
            ))
        })?;
        if renewed == 0 {
            return Err(Error::new(place, Kind::LeaseLost));
        }
        Ok(Lease { expires, ..lease.clone() })
    }

    fn release(&self, name: &str, token: u64) -> Result<()> {
        self.write(&self.place("release lease", name), |db| {
            db.prepare_cached("DELETE FROM lease WHERE name = ?1 AND token = ?2")?
                .execute((name.as_bytes(), token))
        })?;
        Ok(())
    }

    fn holder(&self, name: &str) -> Result<Option<Lease>> {
        self.read(&self.place("read lease", name), |db| read_lease(db, name))
    }
}

struct SqliteWatch<'a> {
    store: &'a Sqlite,
    prefix: String,
    after: Revision,
}

impl SqliteWatch<'_> {
    fn look(&mut self) -> Result<Vec<Event>> {
        let place = self.store.place("watch", &self.prefix);
        let after = self.after.0;
        let (forgotten, newest, events) = self.store.read(&place, |db| {
            // One transaction, so that the revision that we go on from belongs to what we saw.
            let db = db.unchecked_transaction()?;
            let newest = counter(&db, "revision")?;
            let forgotten = counter(&db, "forgotten")?;
            if newest == after {
                return Ok((forgotten, newest, Vec::new()));
            }
            let mut query = db.prepare_cached(
                "SELECT key, revision, 0 FROM kv
                  WHERE revision > ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)
                 UNION ALL
                 SELECT key, revision, 1 FROM gone
                  WHERE revision > ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3)
                 ORDER BY 2 LIMIT ?4",
            )?;
            let rows = query.query_map(
                (after, self.prefix.as_bytes(), after_prefix(&self.prefix), EVENTS_MAX),
                |row| {
                    Ok(Event {
                        key: key_text(row.get(0)?)?,
                        revision: Revision(row.get(1)?),
                        deleted: row.get(2)?,
                    })
                },
            )?;
            Ok((forgotten, newest, rows.collect::<rusqlite::Result<Vec<_>>>()?))
        })?;
        if forgotten > after {
            return Err(Error::new(place, Kind::Compacted(after)));
        }
        self.after = match events.last() {
            Some(last) if events.len() as u64 == EVENTS_MAX => last.revision,
            _ => Revision(newest),
        };
        Ok(events)
    }
}

impl Watch for SqliteWatch<'_> {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Event>> {
        let began = Instant::now();
        loop {
            let events = self.look()?;
            let left = timeout.saturating_sub(began.elapsed());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            // A write between the look and the wait is noticed at the next look.
            let connection = self.store.connection();
            drop(self.store.written.wait_timeout(connection, left.min(LOOK_EVERY)));
        }
    }
}

pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    // It alone is closed to others: what comes back beside it may belong to them. Nobody else may write to one above it, whatever the umask: it would be refused.
    let parents = dir.parent().map_or(Ok(()), |above| process::child::make_folders_within(above, 0o755));
    parents
        .and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(dir))
        .map_err(|error| Error::io(format!("make the state directory {}", dir.display()), dir, &error))
}

fn lock_file(dir: &Path) -> Result<File> {
    // Whoever opens anything here comes by first.
    links::refuse(dir)?;
    let path = dir.join("state.lock");
    links::own().open(&path).map_err(|error| Error::io(format!("open {}", path.display()), dir, &error))
}

/// Keeps everybody else out of the state, for as long as what is returned lives; `InUse` where somebody is in it.
pub(crate) fn alone(dir: &Path, place: &str) -> Result<File> {
    let lock = lock_file(dir)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::new(place, Kind::InUse)),
        Err(TryLockError::Error(error)) => Err(Error::io(place, dir, &error)),
    }
}

/// Checks the file, or fills it where it is being made; returns whether it was.
fn prepare(db: &mut Connection, making: &Making, place: &str, dir: &Path) -> Result<bool> {
    let failed = |error| sqlite_error(place, dir, &error);
    db.busy_timeout(BUSY).map_err(failed)?;
    let layout: i64 = db.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(failed)?;
    if layout > LAYOUT {
        return Err(Error::new(place, Kind::Newer { found: layout, known: LAYOUT }));
    }
    use_write_ahead_log(db).map_err(failed)?;
    // FULL: a power cut after the commit loses nothing, not only a crash of the program.
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;").map_err(failed)?;
    let is_new = fill(db, making, place, dir)?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(Error::corrupt(place, verdict));
    }
    Ok(is_new)
}

/// Switches to the write-ahead log. SQLite answers "busy" at once where two processes switch at the same time, so that is repeated here.
fn use_write_ahead_log(db: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match db.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0)) {
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            other => return other.map(drop),
        }
    }
}

fn fill(db: &mut Connection, making: &Making, place: &str, dir: &Path) -> Result<bool> {
    let failed = |error| sqlite_error(place, dir, &error);
    let write = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let number = |pragma| write.query_row(pragma, (), |row| row.get::<_, i64>(0)).map_err(failed);
    let (layout, application) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (layout, application, tables) {
        (LAYOUT, APPLICATION, _) => return Ok(false),
        (0, 0, 0) if making.is_on().map_err(|error| Error::io(place, dir, &error))? => {}
        (0, 0, 0) => return Err(Error::corrupt(place, LOST)),
        (layout, APPLICATION, _) if layout > LAYOUT => {
            return Err(Error::new(place, Kind::Newer { found: layout, known: LAYOUT }));
        }
        _ => return Err(Error::corrupt(place, "an SQLite database, but not one of Relève's")),
    }
    write.execute_batch(TABLES).map_err(failed)?;
    write.pragma_update(None, "application_id", APPLICATION).map_err(failed)?;
    write.pragma_update(None, "user_version", LAYOUT).map_err(failed)?;
    write.commit().map_err(failed)?;
    Ok(true)
}

fn put(db: &Connection, key: &str, value: &[u8]) -> rusqlite::Result<Revision> {
    let revision = next_revision(db)?;
    db.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3)")?.execute((
        key.as_bytes(),
        value,
        revision.0,
    ))?;
    db.prepare_cached("DELETE FROM gone WHERE key = ?1")?.execute([key.as_bytes()])?;
    Ok(revision)
}

fn counter(db: &Connection, name: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT value FROM counter WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

fn next_revision(db: &Connection) -> rusqlite::Result<Revision> {
    db.prepare_cached("UPDATE counter SET value = value + 1 WHERE name = 'revision' RETURNING value")?
        .query_row((), |row| row.get(0).map(Revision))
}

fn stands(db: &Connection, key: &str) -> rusqlite::Result<Option<Revision>> {
    db.prepare_cached("SELECT revision FROM kv WHERE key = ?1")?
        .query_row([key.as_bytes()], |row| row.get(0).map(Revision))
        .optional()
}

fn fits(expect: Expect, stands: Option<Revision>) -> bool {
    match expect {
        Expect::Absent => stands.is_none(),
        Expect::Revision(revision) => stands == Some(revision),
        Expect::Any => true,
    }
}

/// Drops the oldest deletions beyond `GONE_MAX`, and remembers up to where watchers can no longer look back.
fn forget_deletions(db: &Connection) -> rusqlite::Result<()> {
    let last: Option<u64> = db
        .prepare_cached("SELECT revision FROM gone ORDER BY revision DESC LIMIT 1 OFFSET ?1")?
        .query_row([GONE_MAX], |row| row.get(0))
        .optional()?;
    if let Some(last) = last {
        db.prepare_cached("UPDATE counter SET value = max(value, ?1) WHERE name = 'forgotten'")?
            .execute([last])?;
        db.prepare_cached("DELETE FROM gone WHERE revision <= ?1")?.execute([last])?;
    }
    Ok(())
}

fn read_lease(db: &Connection, name: &str) -> rusqlite::Result<Option<Lease>> {
    db.prepare_cached("SELECT holder, token, expires_ms FROM lease WHERE name = ?1")?
        .query_row([name.as_bytes()], |row| {
            let expires = Timestamp::from_millisecond(row.get(2)?)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(2, 0))?;
            Ok(Lease { name: name.to_owned(), holder: row.get(0)?, token: row.get(1)?, expires })
        })
        .optional()
}

fn expiry(place: &str, ttl: SignedDuration, now: Timestamp) -> Result<Timestamp> {
    now.checked_add(ttl)
        .and_then(|expires| Timestamp::from_millisecond(expires.as_millisecond()))
        .map_err(|error| Error::new(place, Kind::Unstorable(error.to_string())))
}

/// Returns the first key after all those that begin with `prefix`, `None` where there is no end.
pub(crate) fn after_prefix(prefix: &str) -> Option<Vec<u8>> {
    let mut bytes = prefix.as_bytes().to_vec();
    // No byte of a text is 0xff, so the last one can be raised.
    let last = bytes.last_mut()?;
    *last = last.saturating_add(1);
    Some(bytes)
}

fn key_text(bytes: Vec<u8>) -> rusqlite::Result<String> {
    String::from_utf8(bytes).map_err(|error| rusqlite::Error::Utf8Error(0, error.utf8_error()))
}

fn storable(place: &str, key: &str, value: &[u8]) -> Result<()> {
    let why = if key.is_empty() {
        "an empty key".to_owned()
    } else if key.len() > KEY_BYTES_MAX {
        format!("a key of {} bytes, at most {KEY_BYTES_MAX}", key.len())
    } else if value.len() > VALUE_BYTES_MAX {
        format!("a value of {} bytes, at most {VALUE_BYTES_MAX}", value.len())
    } else {
        return Ok(());
    };
    Err(Error::new(place, Kind::Unstorable(why)))
}

/// Tries whether the folder takes a few pages more: a quota shows in no other way.
fn has_no_room(dir: &Path) -> bool {
    let path = dir.join(format!("state.room-{}", std::process::id()));
    let tried =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).and_then(|mut file| {
            let written = file.write_all(&[1; ROOM_TRIED]).and_then(|()| file.sync_all());
            let removed = std::fs::remove_file(&path);
            written.and(removed)
        });
    let is_full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    tried.is_err_and(|error| is_full(error.kind()))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(crate) fn sqlite_error(place: &str, dir: &Path, error: &rusqlite::Error) -> Error {
    let full = || Kind::Full(dir.display().to_string());
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Corrupt(error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::DiskFull) => full(),
        // SQLite tells of a full disk by other names where it makes or lengthens what lies beside its file.
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if has_no_room(dir) => full(),
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            Kind::Refused(error.to_string())
        }
        Some(_) => Kind::Other(error.to_string()),
        // Not SQLite but what it returned: a row of another shape than we wrote.
        None => Kind::Corrupt(error.to_string()),
    };
    Error::new(place, kind)
}

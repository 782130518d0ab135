//! The consistent copy.
//!
//! ```text
//! open the database to read
//! WAL mode:          hold one read transaction and copy: it sees one state, and nobody waits for it
//! rollback journal:  copy in small steps, letting go in between; SQLite starts over when somebody wrote
//!                    after three fresh starts, or a quarter of our patience: as in WAL mode, while writers wait
//! check the copy
//! ```
//!
//! Every wait has an end: a lock that others hold is waited for until our patience is over, and a copy under a read
//! transaction can't be made to start over.

use super::beside;
use super::check::{Check, Checked, check};
use crate::error::at;
use crate::{Error, Kind, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::fs::StatVfsMountFlags;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Small steps hold up a writer for some milliseconds each: 256 pages of 4 KiB are 1 MiB.
const STEP_PAGES: i32 = 256;
/// Under a read transaction the size of a step only decides how often we look at the clock.
const PINNED_STEP_PAGES: i32 = 16 * 1024;
/// What writers get between two steps.
const PAUSE: Duration = Duration::from_millis(5);
/// Up to this length a copy is checked whole, which takes a second: larger ones are when they are put back.
const WHOLE_CHECK_MAX_BYTES: u64 = 64 << 20;
/// How often writers may make us start over.
const RESTARTS_MAX: u32 = 3;

/// A copy, and what is to be said of it.
pub(super) struct Copy {
    pub(super) file: NamedTempFile,
    pub(super) bytes: u64,
    pub(super) checked: Checked,
}

/// Copies the database at `path` into a file in `scratch`.
pub(super) fn copy(path: &Path, scratch: &Path, patience: Duration) -> Result<Copy> {
    let place = || at("copy", path);
    let wrong = |error: rusqlite::Error| sort(place(), &error, path, patience);
    let temporary = |error| Error::io(at("write a temporary copy in", scratch), error);
    let file =
        tempfile::Builder::new().prefix("releve-").suffix(".db").tempfile_in(scratch).map_err(temporary)?;

    let from = open(path).map_err(wrong)?;
    let until = Instant::now() + patience;
    from.busy_timeout(patience).map_err(wrong)?;
    // Not asked of SQLite, which would read the schema for it: a database of which that is damaged is copied as well.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_whole = !is_in_wal_mode(&real) && {
        // Here a lock only means that the writers go first.
        from.busy_timeout(Duration::ZERO).map_err(wrong)?;
        in_steps(&from, &mut target(file.path()).map_err(wrong)?, Instant::now() + patience / 4)
            .map_err(wrong)?
    };
    if !is_whole {
        from.busy_timeout(until.saturating_duration_since(Instant::now())).map_err(wrong)?;
        // What an abandoned copy left can't be undone without a journal.
        file.as_file().set_len(0).map_err(temporary)?;
        pinned(&from, &mut target(file.path()).map_err(wrong)?, until).map_err(wrong)?;
    }
    drop(from);

    let bytes = file.as_file().metadata().map_err(temporary)?.len();
    let how = if bytes <= WHOLE_CHECK_MAX_BYTES { Check::Whole } else { Check::Quick };
    let checked = check(file.path(), how).map_err(wrong)?;
    Ok(Copy { file, bytes, checked })
}

fn target(path: &Path) -> rusqlite::Result<Connection> {
    let to = Connection::open(path)?;
    // If we die, the copy is worth nothing anyway.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    Ok(to)
}

/// Copies step by step. Returns whether it got to the end.
fn in_steps(from: &Connection, to: &mut Connection, until: Instant) -> rusqlite::Result<bool> {
    let backup = Backup::new(from, to)?;
    let (mut restarts, mut remaining) = (0, i32::MAX);
    while restarts <= RESTARTS_MAX && Instant::now() < until {
        match backup.step(STEP_PAGES)? {
            StepResult::Done => return Ok(true),
            StepResult::More => {
                let left = backup.progress().remaining;
                restarts += u32::from(left >= remaining);
                remaining = left;
            }
            _ => {}
        }
        std::thread::park_timeout(PAUSE);
    }
    Ok(false)
}

/// Copies while a read transaction keeps the state as it is.
fn pinned(from: &Connection, to: &mut Connection, until: Instant) -> rusqlite::Result<()> {
    from.execute_batch("BEGIN")?;
    // Read from the header alone, whatever became of the schema.
    from.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(PINNED_STEP_PAGES)? {
            StepResult::Done => break,
            StepResult::More => {}
            _ if Instant::now() >= until => return Err(busy()),
            _ => std::thread::park_timeout(PAUSE),
        }
    }
    drop(backup);
    from.execute_batch("COMMIT")
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let log = std::fs::metadata(beside(&real, "-wal")).ok();
    let is_empty = log.as_ref().is_none_or(|log| log.len() == 0);
    // On a read-only file system nobody writes, and SQLite needs to be told that it needn't either.
    let mount = rustix::fs::statvfs(&real);
    if is_empty && mount.is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return open_immutable(&real);
    }
    // Even to read in WAL mode, SQLite makes the log that isn't there. One that may write takes it away again when it is the last to
    // close; one that may not would leave it, perhaps with an owner that locks out the database's own programs.
    let access = match log.is_none() && is_in_wal_mode(&real) {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let db = Connection::open_with_flags(&real, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.execute_batch("PRAGMA query_only = ON")?;
    Ok(db)
}

/// Opens a database that nobody writes to, without any file beside it.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
}

/// Sorts what SQLite says into our kinds.
pub(super) fn sort(place: String, error: &rusqlite::Error, path: &Path, patience: Duration) -> Error {
    let said = error.to_string();
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let kind = match error.sqlite_error_code() {
        _ if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) => Kind::NeedsRecovery,
        Some(ErrorCode::NotADatabase) => Kind::NotADatabase,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Kind::Locked { seconds: patience.as_secs() }
        }
        Some(ErrorCode::DiskFull) => Kind::Full,
        Some(ErrorCode::PermissionDenied) => Kind::Refused(said),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => match std::fs::File::open(path) {
            Err(error) => return Error::io(place, error),
            Ok(_) if is_in_wal_mode(path) => Kind::FolderNotWritable,
            Ok(_) => Kind::Sqlite(said),
        },
        _ => Kind::Sqlite(said),
    };
    Error::new(place, kind)
}

/// Returns whether the header says that the database is in WAL mode: byte 18 of the file, 2 in that mode.
fn is_in_wal_mode(path: &Path) -> bool {
    let mut header = [0; 19];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut header));
    read.is_ok() && header.last() == Some(&2)
}

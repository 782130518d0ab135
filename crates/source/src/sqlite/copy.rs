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

use super::bounded::stopped;
use super::check::{Check, Checked, check};
use super::place::{Door, Place};
use crate::error::at;
use crate::{Error, Kind, Result};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use process::Wait;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use std::fs::File;
use std::io::{self, Read};
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

/// Copies the database at `place` into a file in `scratch`.
pub(super) fn copy(place: &Place, scratch: &Path, patience: Duration) -> Result<Copy> {
    let real = place.real();
    let wrong = |error: rusqlite::Error| sort(at("copy", &real), &error, || place.read(""), patience);
    let temporary = |error| Error::io(at("write a temporary copy in", scratch), error);
    let file =
        tempfile::Builder::new().prefix("releve-").suffix(".db").tempfile_in(scratch).map_err(temporary)?;

    let until = Instant::now() + patience;
    // Not asked of SQLite, which would read the schema for it: a database of which that is damaged is copied as well.
    let is_whole = !is_in_wal_mode(place.read("")) && {
        let mut to = target(file.path()).map_err(wrong)?;
        place.inside(|door| {
            let from = open(door, place, patience)?;
            // Here a lock only means that the writers go first.
            from.busy_timeout(Duration::ZERO).map_err(wrong)?;
            in_steps(&from, &mut to, Instant::now() + patience / 4).map_err(wrong)
        })?
    };
    if !is_whole {
        // What an abandoned copy left can't be undone without a journal.
        file.as_file().set_len(0).map_err(temporary)?;
        let mut to = target(file.path()).map_err(wrong)?;
        place.inside(|door| {
            let from = open(door, place, patience)?;
            from.busy_timeout(until.saturating_duration_since(Instant::now())).map_err(wrong)?;
            pinned(&from, &mut to, until).map_err(wrong)?;
            door.judge()
        })?;
    }

    let bytes = file.as_file().metadata().map_err(temporary)?.len();
    let how = if bytes <= WHOLE_CHECK_MAX_BYTES { Check::Whole } else { Check::Quick };
    let checked = check(file.path(), how).map_err(wrong)?;
    Ok(Copy { file, bytes, checked })
}

fn target(path: &Path) -> rusqlite::Result<Connection> {
    let to = Connection::open(path)?;
    // If we die, the copy is worth nothing anyway. Asked for a random number now, SQLite doesn't look for the machine's in the database's folder later.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; SELECT random()")?;
    Ok(to)
}

/// Copies step by step. Returns whether it got to the end.
fn in_steps(from: &Connection, to: &mut Connection, until: Instant) -> rusqlite::Result<bool> {
    let (backup, wait) = (Backup::new(from, to)?, Wait::begin());
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
        if wait.is_over() {
            return Err(stopped());
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
    let (backup, wait) = (Backup::new(from, to)?, Wait::begin());
    loop {
        if wait.is_over() {
            return Err(stopped());
        }
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

fn open(door: &Door<'_>, place: &Place, patience: Duration) -> Result<Connection> {
    let wrong = |error: rusqlite::Error| sort(at("copy", &place.real()), &error, || place.read(""), patience);
    door.try_it()?;
    let log = place.beside("-wal");
    // On a read-only file system nobody writes, and SQLite needs to be told that it needn't either.
    if log.as_ref().is_none_or(|log| log.stx_size == 0) && place.is_read_only() {
        let db = open_immutable(&door.path).map_err(wrong)?;
        return door.judge().map(|()| db);
    }
    // Even to read in WAL mode, SQLite makes the log that isn't there. One that may write takes it away again when it is the last to
    // close; one that may not would leave it, perhaps with an owner that locks out the database's own programs.
    let access = match log.is_none() && is_in_wal_mode(place.read("")) {
        true => OpenFlags::SQLITE_OPEN_READ_WRITE,
        false => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let db =
        Connection::open_with_flags(&door.path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(wrong)?;
    door.judge()?;
    db.execute_batch("PRAGMA query_only = ON").map_err(wrong)?;
    db.busy_timeout(patience).map_err(wrong)?;
    Ok(db)
}

/// Opens a database that nobody writes to, without any file beside it.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let path = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
}

/// Sorts what SQLite says into our kinds. `file` opens what it is said of, after SQLite has closed it.
pub(super) fn sort(
    place: String,
    error: &rusqlite::Error,
    file: impl Fn() -> io::Result<File>,
    patience: Duration,
) -> Error {
    let said = error.to_string();
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let kind = match error.sqlite_error_code() {
        _ if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) => Kind::NeedsRecovery,
        Some(ErrorCode::NotADatabase) => Kind::NotADatabase,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Kind::Locked { seconds: patience.as_secs() }
        }
        // Somebody wants the process to end.
        Some(ErrorCode::OperationInterrupted) => {
            return Error::io(place, io::ErrorKind::Interrupted.into());
        }
        Some(ErrorCode::DiskFull) => Kind::Full,
        Some(ErrorCode::PermissionDenied) => Kind::Refused(said),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => match file() {
            Err(error) => return Error::io(place, error),
            Ok(file) => match is_in_wal_mode(Ok(file)) {
                true => Kind::FolderNotWritable,
                false => Kind::Sqlite(said),
            },
        },
        _ => Kind::Sqlite(said),
    };
    Error::new(place, kind)
}

/// Returns whether the header says that the database is in WAL mode: byte 18 of the file, 2 in that mode.
fn is_in_wal_mode(file: io::Result<File>) -> bool {
    let mut header = [0; 19];
    file.and_then(|mut file| file.read_exact(&mut header)).is_ok() && header.last() == Some(&2)
}

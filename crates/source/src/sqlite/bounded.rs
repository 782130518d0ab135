//! Every question to SQLite has an end. A database may belong to somebody who wishes us ill: a view has no end where its owner wants none, and what a column, a
//! constraint or an index computes takes as long as he likes.
//!
//! SQLite itself is told to stop, which it does between two of its steps; one step may take hours, so nobody waits for the thread that asks either.

use process::Wait;
use rusqlite::{Connection, Error, ErrorCode, ffi};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// After so many steps of its own SQLite asks whether it may go on: some microseconds.
const STEPS: i32 = 4096;
/// How often somebody looks whether the process is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What SQLite gets to stop by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Makes SQLite stop after this time, and when the process is to end.
pub(super) fn bound(db: &mut Connection, within: Duration) -> rusqlite::Result<()> {
    let (wait, begun) = (Wait::begin(), Instant::now());
    db.progress_handler(STEPS, Some(move || wait.is_over() || begun.elapsed() >= within))
}

/// Does this in a thread of its own. Returns nothing where it hasn't ended within this time and a little more, or the process is to end: the thread is left to itself.
pub(super) fn apart<T: Send + 'static>(
    within: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (wait, begun) = (Wait::begin(), Instant::now());
    let (done, answer) = channel();
    let thread = std::thread::Builder::new().name("sqlite-asked".to_owned());
    thread.spawn(move || {
        // Nobody may wait for it any more.
        let _ = done.send(work());
    })?;
    let mut over: Option<Instant> = None;
    loop {
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(answer) => return Ok(Some(answer)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the thread that asks SQLite has died"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if wait.is_over() || begun.elapsed() >= within {
            let over = over.get_or_insert_with(Instant::now);
            if over.elapsed() >= GRACE {
                return Ok(None);
            }
        }
    }
}

/// Returns what SQLite says when it was told to stop.
pub(super) fn stopped() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERRUPT), None)
}

/// Returns what is said where the question could not be asked to its end.
pub(super) fn broken(error: &io::Error) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERNAL), Some(error.to_string()))
}

/// Returns whether SQLite was told to stop.
pub(super) fn is_stopped(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_stops_after_its_time_and_a_step_without_end_is_not_waited_for() {
        let mut db = Connection::open_in_memory().unwrap();
        bound(&mut db, Duration::from_millis(100)).unwrap();
        let endless =
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
        let error = db.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(is_stopped(&error), "{error}");
        assert!(is_stopped(&stopped()));

        let begun = Instant::now();
        let left = apart(Duration::ZERO, || testkit::pause(Duration::from_secs(600)));
        assert!(left.unwrap().is_none() && begun.elapsed() < Duration::from_secs(60));
        assert_eq!(apart(Duration::from_secs(60), || 1).unwrap(), Some(1));
        // A thread that dies was told nothing.
        let died = broken(
            &apart(Duration::from_secs(60), || panic!("on purpose")).map(|_: Option<()>| ()).unwrap_err(),
        );
        assert!(!is_stopped(&died) && died.to_string().contains("has died"), "{died}");
    }
}

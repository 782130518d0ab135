//! What is printed, and what happens when nobody reads it any more: these `print!`, `println!` and `eprintln!` stand in for the standard ones, which panic.
//!
//! A verb that only shows something ends without a word (`releve status | head`). One that does something goes on to its end: a recovery isn't left half-way because
//! a pager was closed, or the disk behind its output is full: what that doesn't take goes to standard error, and the exit status says so at the end.

use crate::Exit;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What a shell says of a program that a closed pipe has ended.
const PIPE_CLOSED: i32 = 128 + 13;

/// What is done matters more than who reads of it.
static GOES_ON: AtomicBool = AtomicBool::new(false);
/// What is printed may be said beside instead.
static REPORTS: AtomicBool = AtomicBool::new(false);
/// Something that should have been printed is nowhere, although somebody would read it.
static LOST: AtomicBool = AtomicBool::new(false);

macro_rules! println {
    () => { $crate::print::out(format_args!("")) };
    ($($text:tt)*) => { $crate::print::out(format_args!($($text)*)) };
}
macro_rules! print {
    ($($text:tt)*) => { $crate::print::raw(format!($($text)*).as_bytes()) };
}
macro_rules! eprintln {
    () => { $crate::print::err(format_args!(""), "\n") };
    ($($text:tt)*) => { $crate::print::err(format_args!($($text)*), "\n") };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::print::err(format_args!($($text)*), "") };
}

/// Says that this run does something: it goes on when nobody reads what is printed.
pub(crate) fn go_on() {
    GOES_ON.store(true, Relaxed);
}

/// Says that what is printed only reports what was done, and holds no secret: somebody is to hear of it, where standard output doesn't take it.
pub(crate) fn report() {
    REPORTS.store(true, Relaxed);
}

/// Says at the end that something which was printed is lost although somebody would read it (the disk behind it is full, say), and returns the status for
/// that: what was done is done, and that this can't be read is a finding; what only shows something has failed.
pub(crate) fn lost() -> Option<Exit> {
    if !LOST.load(Relaxed) {
        return None;
    }
    let (why, exit) = match REPORTS.load(Relaxed) {
        true => ("what was done is done, and what could not be printed stands above", Exit::Finding),
        false => ("free some room there, and type it again", Exit::Failed),
    };
    err(format_args!("error: standard output did not take all that was printed: {why}"), "\n");
    Some(exit)
}

/// Prints a line.
pub(crate) fn out(text: Arguments<'_>) {
    raw(format!("{text}\n").as_bytes());
}

/// Prints these bytes.
pub(crate) fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        if !GOES_ON.load(Relaxed) {
            std::process::exit(PIPE_CLOSED);
        }
        return;
    }
    if !LOST.swap(true, Relaxed) {
        err(format_args!("error: what is printed can't be written: {error}"), "\n");
    }
    if REPORTS.load(Relaxed) {
        // Whoever acts is heard all the same: under systemd this is the journal.
        let _ = std::io::stderr().write_all(bytes);
    }
}

/// Says something beside what is printed. Where nobody hears it, that is all.
pub(crate) fn err(text: Arguments<'_>, end: &str) {
    let _ = std::io::stderr().write_all(format!("{text}{end}").as_bytes());
}

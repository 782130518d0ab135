//! What is printed, and what happens when nobody reads it any more: these `println!` and `eprintln!` stand in for the standard ones, which panic.
//!
//! Whatever is printed goes through here, and nothing in it that somebody else has written does more than stand there ([`plain`]). What `println!`, `eprintln!`
//! and `eprint!` print is one statement: where it has a further line, because something that was named in it had one, that line is marked and looks like none
//! of ours. Several lines of our own, such as a table, are printed by `page!`; what they name was made harmless piece by piece. Only what was asked for as it is
//! (SQL, a log's file) goes past this.
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
macro_rules! page {
    ($($text:tt)*) => { $crate::print::page(format_args!($($text)*)) };
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

/// Prints a statement.
pub(crate) fn out(text: Arguments<'_>) {
    raw(format!("{}\n", plain::statement(&text.to_string())).as_bytes());
}

/// Prints lines of ours.
pub(crate) fn page(text: Arguments<'_>) {
    let mut text = plain::page(&text.to_string());
    if !text.ends_with('\n') {
        text.push('\n');
    }
    raw(text.as_bytes());
}

/// Prints these bytes as they are.
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
    let text = text.to_string();
    let _ = std::io::stderr().write_all(format!("{}{end}", plain::statement(&text)).as_bytes());
}

/// Says lines of ours beside what is printed, in colours where they have some.
pub(crate) fn styled(text: &str) {
    let _ = std::io::stderr().write_all(format!("{}\n", plain::styled(text)).as_bytes());
}

/// Where the program's own log goes (`RELEVE_LOG`): it names all that it meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stderr().write_all(plain::styled(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

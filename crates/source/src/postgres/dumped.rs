//! What `pg_dump` and `pg_dumpall` print, and whether it is all of it.

use crate::{Error, Kind, Program, Result};
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

/// How long a program may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(60);
const PIECE_BYTES: usize = 64 * 1024;
/// How much of the end is kept to find the last line in.
const TAIL_BYTES: usize = 512;

/// The end of a dump, kept while it passes.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn follow(&mut self, printed: &[u8]) {
        self.0.extend_from_slice(printed.get(printed.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
        let spare = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..spare);
    }

    /// Returns whether it says that the dump came to its end: the program may end well and have printed half of it.
    pub(super) fn is_whole(&self) -> bool {
        // At the beginning of a line, where a row of a table can't bring it: it would still be followed by the end of the rows.
        let text = String::from_utf8_lossy(&self.0);
        let mut lines = text.lines().rev().map(str::trim).filter(|line| !matches!(*line, "" | "--"));
        // Newer ones add a line of their own after it.
        let last = lines.by_ref().find(|line| !line.starts_with(r"\unrestrict "));
        matches!(
            last,
            Some("-- PostgreSQL database dump complete" | "-- PostgreSQL database cluster dump complete")
        )
    }
}

/// Carries all that a dump prints, and makes sure that it is whole.
pub(super) fn carry(program: &Program, out: &mut dyn Write) -> Result<()> {
    let place = || format!("run {}", program.name());
    let wrong = |why: String| Error::new(place(), Kind::Program(why));
    let mut running = program.start(Stdio::null()).map_err(wrong)?;
    let (mut piece, mut tail) = (vec![0; PIECE_BYTES], Tail::default());
    loop {
        let read = running.read(&mut piece).map_err(|error| wrong(running.broken(&error)))?;
        if read == 0 {
            break;
        }
        let printed = piece.get(..read).unwrap_or_default();
        tail.follow(printed);
        out.write_all(printed).map_err(|error| Error::io("write what was dumped", error))?;
    }
    running.end(GRACE).map_err(wrong)?;
    match tail.is_whole() {
        true => out.flush().map_err(|error| Error::io("write what was dumped", error)),
        false => Err(wrong(running.say("ended well, but without its last line"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_of_a_dump_says_that_it_is_whole() {
        let is_whole = |text: &str| {
            let mut tail = Tail::default();
            text.as_bytes().chunks(7).for_each(|piece| tail.follow(piece));
            tail.is_whole()
        };
        let end = "--\n-- PostgreSQL database dump complete\n--\n\n";
        assert!(is_whole(&format!("COPY t FROM stdin;\n1\n\\.\n\n{end}")));
        assert!(is_whole(&format!("SELECT 1;\n{end}\\unrestrict abc\n\n")));
        assert!(is_whole("--\n-- PostgreSQL database cluster dump complete\n--\n"));
        assert!(!is_whole("COPY t FROM stdin;\n-- PostgreSQL database dump complete\n2\n"));
        assert!(!is_whole("COPY t FROM stdin;\n1\n"));
        assert!(!is_whole(""));
    }
}

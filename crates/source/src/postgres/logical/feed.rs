//! Feeds a text to `psql` that only passes it on to the server. Of a text as it stands `psql` does more: a line `\! rm -r /` in a forged dump, or in a name that an older
//! `pg_dump` copied from a hostile database into a comment, is a command of whoever loads it, and that is root.

use super::client::Client;
use super::wider::Lines;
use crate::{Error, Program, Result};
use std::fs::File;
use std::io::{self, Read};
use std::process::Stdio;
use std::time::Duration;

/// How long one load may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much is carried at a time, and how much of what was refused is kept.
const PIECE_BYTES: usize = 64 << 10;
const WORDS_BYTES: usize = 64 << 10;
/// How `psql` names what it refuses to do itself. It passes over what stands behind that, and evaluates none of it.
const REFUSED: &str = " error: backslash commands are restricted";

/// A `psql` that takes statements.
pub(super) struct Loader {
    program: Program,
    /// What alone would let it do more than pass them on; `None` where it knows no such mode.
    key: Option<String>,
    stops: bool,
}

/// What a server was fed with.
pub(super) struct Fed {
    pub(super) bytes: u64,
    /// What it refused, where it was to go on.
    pub(super) errors: Vec<String>,
    /// What was meant for `psql` itself, and was not done.
    pub(super) command: Option<String>,
    /// Something was refused before the last rows were in: some may be missing.
    pub(super) lacks_rows: bool,
}

impl Loader {
    /// Returns one for a database, which stops at the first statement that is refused, or goes on.
    pub(super) fn new(client: &Client, database: impl AsRef<[u8]>, stops: bool) -> Result<Self> {
        let program = client.loader(database, stops)?;
        let key = client.can_restrict().then(key).transpose();
        Ok(Self { program, key: key.map_err(|error| Error::io("make a key", error))?, stops })
    }

    /// Feeds it a text to its end, before which so many lines of the dump stand. The error says what was refused, if it is to stop there.
    pub(super) fn feed(&self, mut text: impl Read, before: u64) -> Result<Fed, String> {
        let mut running = self.program.clone().within(WITHIN).start(Stdio::piped())?;
        running.remember(WORDS_BYTES);
        let (mut piece, mut bytes) = (vec![0; PIECE_BYTES], 0);
        let (mut lines, mut watch) = (Lines::default(), Watch::new(self.key.is_none(), !self.stops));
        let named = |why: String| command_at(&why, before).unwrap_or(why);
        if let Some(key) = &self.key {
            let first = format!("\\restrict {key}\n");
            running.write(first.as_bytes())?;
            lines.follow(first.as_bytes());
        }
        loop {
            let read = match text.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|error| error.to_string())?,
            };
            if read == 0 {
                break;
            }
            let read_now = piece.get(..read).unwrap_or_default();
            watch.follow(read_now).map_err(|(found, line)| found.told(before + line))?;
            running.write(read_now).map_err(named)?;
            lines.follow(read_now);
            bytes += read as u64;
        }
        running.close();
        running.end(WITHIN).map_err(named)?;
        let said = running.said();
        // `psql:<stdin>:17: ERROR:  …`: the line in which a statement ends.
        let errors = said.lines().filter_map(|line| line.split_once("ERROR:  "));
        // Of more than is remembered nobody knows where the first was.
        let lacks_rows = said.len() >= WORDS_BYTES / 2
            || errors.clone().any(|(place, _)| line_at(place).is_none_or(|line| line <= lines.last_rows));
        let errors = errors.map(|(_, why)| why.to_owned()).collect();
        // Behind the first error it may be rows of a table that isn't there.
        let mut first = said.lines().take_while(|line| !line.contains("ERROR:  "));
        let command = first.find_map(|line| command_at(line, before));
        Ok(Fed { bytes, errors, command, lacks_rows })
    }
}

/// Returns what nobody can guess who wrote a dump: letters and digits, as `psql` wants it.
fn key() -> io::Result<String> {
    let mut bytes = [0; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

/// Returns the line in a place as `psql` names it.
fn line_at(place: &str) -> Option<u64> {
    place.trim_end().trim_end_matches(':').rsplit(':').next()?.parse().ok()
}

/// Returns what to say where `psql` has refused to do something itself; `None` where it says something else.
fn command_at(said: &str, before: u64) -> Option<String> {
    let (place, _) = said.split_once(REFUSED)?;
    // The first line was ours.
    let line = line_at(place)?.saturating_sub(1) + before;
    Some(format!(
        "line {line} of the dump is a command for psql itself, which pg_dump never writes there: somebody may have put it in, and psql refused it; take another restore point"
    ))
}

/// The only command that `psql` takes behind our `\restrict`. What stands in backticks behind it some run before they look for the key (15.14 to 15.18 and
/// their sisters: CVE-2026-18408), so that no `psql` is given one.
const RELEASE: &[u8] = b"unrestrict";
/// Variables that `psql` fills with what the server has said of an error, and puts in where a text names them: commands and all.
const FILLED: [&[u8]; 2] = [b"LAST_ERROR_", b"SQLSTATE"];

/// Why a line isn't given to `psql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It may be what an older one runs.
    Doubtful,
    Release,
    /// `psql` goes on behind such a byte with the next line, as if they were one.
    Zero,
    Filled,
}

impl Found {
    /// Returns what to say of the line.
    fn told(self, line: u64) -> String {
        let what = format!("line {line} of the dump may be a command for psql itself");
        let why = match self {
            Self::Doubtful => {
                return format!(
                    "{what}, which would run it, and the psql that is here is too old to be kept from that: install one of 13.22, 14.19, 15.14, 16.10, 17.6, 18 or newer, or name its folder as `programs`"
                );
            }
            Self::Release => "`\\unrestrict`, which pg_dump writes nowhere but at the two ends",
            Self::Zero => "it holds a zero byte, which pg_dump never writes and which hides others",
            Self::Filled => "`:LAST_ERROR_…` or `:SQLSTATE`, for which psql takes what a server has said",
        };
        format!(
            "{what} ({why}): it was not given to psql; take another restore point, or load this one by hand if it is known to be right (docs/pg-dump.md)"
        )
    }
}

/// Looks for what `psql` might do itself, and knows nothing of quotes and rows: which text is in them it decides by what the server says, too. For an older one
/// a backslash may begin nothing but what does no harm anywhere: what rows and texts hold mostly.
struct Watch {
    is_old: bool,
    release: Word,
    /// What is looked for behind a colon: only where it goes on behind an error there is one to tell of.
    filled: Vec<Word>,
    /// How many lines are over.
    lines: u64,
    /// The last three bytes, the last one first.
    before: [u8; 3],
    after: After,
    /// A command may stand in this line already. What is in backticks behind it would be run.
    is_command: bool,
}

/// A word that is looked for behind a sign, however the text comes in pieces.
struct Word {
    word: &'static [u8],
    /// What is missing of it; `None` where it isn't this one.
    rest: Option<&'static [u8]>,
}

impl Word {
    const fn new(word: &'static [u8]) -> Self {
        Self { word, rest: None }
    }

    const fn begin(&mut self) {
        self.rest = Some(self.word);
    }

    /// Takes the next byte. Returns whether the word is whole.
    fn is_whole_with(&mut self, byte: u8) -> bool {
        let Some(rest) = self.rest.take() else { return false };
        self.rest = rest.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest);
        self.rest.is_some_and(<[u8]>::is_empty)
    }
}

/// What stands before a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Else,
    Backslash,
    /// One that may be the last byte of a letter: in some encodings it is.
    Doubtful,
}

impl Watch {
    fn new(is_old: bool, goes_on: bool) -> Self {
        let filled = if goes_on { Vec::from(FILLED.map(Word::new)) } else { Vec::new() };
        Self {
            is_old,
            release: Word::new(RELEASE),
            filled,
            lines: 0,
            before: [0; 3],
            after: After::Else,
            is_command: false,
        }
    }

    /// Follows a text. The error is what was found, and its line.
    fn follow(&mut self, bytes: &[u8]) -> Result<(), (Found, u64)> {
        for &byte in bytes {
            if let Some(found) = self.finds(byte) {
                return Err((found, self.lines + 1));
            }
            self.after = match (byte, self.after) {
                (b'\\', After::Else) if !self.may_be_within_a_letter() => After::Backslash,
                (b'\\', After::Else | After::Doubtful) => After::Doubtful,
                // Twice is one that means itself.
                _ => After::Else,
            };
            if self.after != After::Else {
                self.release.begin();
            }
            if byte == b':' {
                self.filled.iter_mut().for_each(Word::begin);
            }
            if byte == b'\n' {
                self.lines += 1;
                self.is_command = false;
            }
            let [last, last_but_one, _] = self.before;
            self.before = [byte, last, last_but_one];
        }
        Ok(())
    }

    /// Returns what a byte makes of those before it.
    fn finds(&mut self, byte: u8) -> Option<Found> {
        let is_open = self.after != After::Else;
        if byte == 0 {
            return Some(Found::Zero);
        }
        let is_release = self.release.is_whole_with(byte);
        // Each of them has to see the byte.
        let found = self.filled.iter_mut().filter_map(|word| word.is_whole_with(byte).then_some(())).count();
        let is_filled = found > 0;
        if self.is_old && ((is_open && !is_harmless(byte)) || (byte == b'`' && (is_open || self.is_command)))
        {
            return Some(Found::Doubtful);
        }
        self.is_command |= (is_open && byte != b'\\') || self.after == After::Doubtful;
        match (is_release, is_filled) {
            (true, _) => Some(Found::Release),
            (false, true) => Some(Found::Filled),
            (false, false) => None,
        }
    }

    /// Returns whether the byte that comes may be the last one of a letter that began before it: the second (SJIS, BIG5, GBK, UHC), the third (JOHAB) or
    /// the fourth (GB18030).
    const fn may_be_within_a_letter(&self) -> bool {
        let [last, second, third] = self.before;
        !last.is_ascii() || second == 0x8f || (!third.is_ascii() && second.is_ascii_digit())
    }
}

/// Returns whether no command that begins with this runs, reads or writes anything: of letters those that rows are written with, `\d`, and `\x`.
const fn is_harmless(byte: u8) -> bool {
    match byte {
        b'b' | b'd' | b'f' | b'n' | b'N' | b'r' | b't' | b'v' | b'x' => true,
        b'!' | b'?' => false,
        byte => !byte.is_ascii_alphabetic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(text: &str, piece: usize) -> Result<(), u64> {
        let mut watch = Watch::new(true, false);
        text.as_bytes().chunks(piece).try_for_each(|piece| watch.follow(piece)).map_err(|(_, line)| line)
    }

    /// What is found in each of these, as a newer `psql` is fed with it, however it comes in pieces.
    fn found(text: &[u8], goes_on: bool) -> Option<(Found, u64)> {
        let of = |piece: usize| {
            let mut watch = Watch::new(false, goes_on);
            text.chunks(piece).try_for_each(|piece| watch.follow(piece)).err()
        };
        let whole = of(text.len());
        assert!([1, 2, 3, 7, 11].iter().all(|piece| of(*piece) == whole), "{text:?}");
        whole
    }

    #[test]
    fn no_psql_is_given_the_one_command_that_it_takes_from_others_however_it_is_hidden() {
        for command in [
            b"\\unrestrict `touch x`".as_slice(),
            b"\\unrestrict",
            b"\\unrestrict\tabc",
            b"\\unrestrict\rabc",
            b"\\unrestrict\x0cabc",
            b"\\unrestrict\\unrestrict",
            b"SELECT 1 \\unrestrict `touch x`",
            b"\\;\\unrestrict `touch x`",
            b"\\\\\\unrestrict `touch x`",
            b"\\u\\unrestrict `touch x`",
            b"\x95\\\\unrestrict `touch x`",
            b"\x8fA\\\\unrestrict `touch x`",
            b"\x810A\\\\unrestrict `touch x`",
        ] {
            let text = [b"SELECT 1;\n\n", command, b"\n"].concat();
            assert_eq!(found(&text, false), Some((Found::Release, 3)), "{command:?}");
        }
        assert_eq!(found(b"\\unres\0\ntrict `touch x`\n", false), Some((Found::Zero, 1)));
        assert_eq!(found(b"SELECT 1 \\\0\n! touch x\n", false), Some((Found::Zero, 1)));
        assert!(follow("SELECT 1 \\\0\n! touch x\n", 1).is_err());
    }

    #[test]
    fn rows_and_functions_that_speak_of_it_are_given_to_psql() {
        for text in [
            "COPY t FROM stdin;\nthen \\\\unrestrict abc\t\\\\\\\\unrestrict\n\\.\n",
            "SELECT 'unrestrict', '\\unrestric', '\\n\\unrestric t', '\\! \\restrict a :LAST_ERROR_MESSAGE';\n",
            "COMMENT ON TABLE t IS 'a\\\nunrestrict';\n",
        ] {
            assert_eq!(found(text.as_bytes(), false), None, "{text}");
        }
    }

    #[test]
    fn what_a_server_said_is_put_into_no_text() {
        for text in ["\n:LAST_ERROR_MESSAGE\n", "\nSELECT ::LAST_ERROR_SQLSTATE", "\n:SQLSTATE"] {
            assert_eq!(found(text.as_bytes(), true), Some((Found::Filled, 2)), "{text}");
        }
        assert_eq!(found(b"ALTER ROLE a SET b TO ':LAST :ERROR :SQL';\n", true), None);
    }

    #[test]
    fn what_was_not_given_to_psql_is_told_with_its_line() {
        for found in [Found::Doubtful, Found::Release, Found::Zero, Found::Filled] {
            assert!(found.told(7).starts_with("line 7 of the dump may be a command for psql itself"));
        }
    }

    #[test]
    fn an_old_psql_is_given_nothing_that_it_might_run_wherever_that_stands() {
        for command in [
            "\\! touch x",
            "SELECT 1 \\! touch x",
            "$$ \\! touch x",
            "\\\\\\! touch x",
            "\\copy t to program 'touch x'",
            "\\o |touch x",
            "\\i x",
            "SELECT 1 \\g |touch x",
            "\\w |touch x",
            "\\connect x",
            "\\set a `touch x`",
            "\\f `touch x`",
            "\\N\t`touch x`",
            "\\` touch x`",
            "\u{8868}\\\\! touch x",
            "\u{3041}0a\\\\! touch x",
            "\\unrestrict `touch x`",
        ] {
            for piece in [1, 3, 100] {
                assert_eq!(follow(&format!("SELECT 1;\n\n{command}\n"), piece), Err(3), "{command}");
            }
        }
    }

    #[test]
    fn an_old_psql_is_given_rows_and_texts_as_they_are_mostly() {
        for text in [
            "COPY t FROM stdin;\n1\t\\N\ta\\tb\\nc\tC:\\\\users\\\\x\t\\\\x00ff\n\\.\n",
            "SELECT E'it\\'s \\\\ \\x41', '\\d+(\\.\\d+)?';\nCOMMENT ON TABLE t IS '`code`';\n",
            "COPY t FROM stdin;\n`code` and\\nmore\n\\.\n",
        ] {
            assert_eq!(follow(text, 2), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_line_is_the_one_of_the_dump() {
        let said = "psql exited with status 3: psql:<stdin>:18: error: backslash commands are restricted; only \\unrestrict is allowed";
        assert!(command_at(said, 100).unwrap().starts_with("line 117 of the dump is a command for psql"));
        assert_eq!(command_at("psql:<stdin>:2: ERROR:  division by zero", 0), None);
    }

    #[test]
    fn no_two_keys_are_the_same() {
        assert_ne!(key().unwrap(), key().unwrap());
    }
}

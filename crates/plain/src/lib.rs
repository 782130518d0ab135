//! What others have written, made harmless before people see it: names of files and processes, what stands in a vault, what servers and programs say.
//!
//! A name can hold what moves a cursor, colours or hides what stands beside it, turns the direction of a line, or begins a line that looks like one of ours.
//! Here that is decided once: [`acts`] says which letters do more than stand there, and each way of showing a text lets none of them through.
//!
//! | what | for | a line's end | the rest |
//! |---|---|---|---|
//! | [`Name`] | a name in a sentence of ours | `\n` | as escapes, blanks too where they stand in a row; no longer than [`NAME_MAX`] |
//! | [`line()`] | a cell of a table, a field | `\n` | as escapes |
//! | [`statement`] | what is printed as one piece | goes on behind a mark | as escapes; no longer than [`STATEMENT_MAX`] |
//! | [`page`], [`styled`] | several lines of ours | stays | as escapes |
//! | [`words`] | prose for people: mails, messages, reports | a blank | blanks, in a row as one |
//! | [`json`] | a document: exact | stays | as JSON's escapes |
//!
//! ```
//! use plain::{Name, statement};
//! assert_eq!(Name::of("sh\x1b[2A\x1b[K").to_string(), r"sh\u{1b}[2A\u{1b}[K");
//! assert_eq!(statement("error: no\nall is well"), "error: no\n    | all is well");
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;

/// How long a name may be, in letters: a path of a sane system, several times. Of a longer one the middle is left out.
pub const NAME_MAX: usize = 400;
/// How long one piece may be that is printed, in letters.
pub const STATEMENT_MAX: usize = 20_000;

/// What a further line begins with of something that was to be one: no line of ours does.
const GOES_ON: &str = "\n    | ";
/// How long what colours something may be, in bytes.
const STYLE_MAX: usize = 24;

/// Returns whether a letter does more than to stand there: it moves the cursor, ends the line, turns its direction, hides, or can't be seen at all.
#[must_use]
pub const fn acts(letter: char) -> bool {
    matches!(
        letter,
        // The controls, of ASCII and of Latin-1 (U+009B begins a command as ESC [ does).
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // What has no width: a soft hyphen, joiners, fillers, selectors of a variant, the byte order mark.
        | '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        // Marks of direction, and the ends of a line and of a paragraph.
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Tags: a second text behind the one that is seen.
        | '\u{e0000}'..='\u{e0fff}'
    )
}

/// A name of something that isn't ours, as it can stand in a sentence: in one line, with nothing in it that acts, and of a length that a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Returns a name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut shown = String::with_capacity(text.len());
        // Many blanks push what follows into a line of its own, and one at the beginning belongs to nobody.
        let mut is_behind_blank = true;
        for letter in text.chars() {
            let is_blank = letter.is_whitespace() || letter == '\u{2800}';
            match is_blank && is_behind_blank {
                true if !acts(letter) => shown.extend(letter.escape_unicode()),
                _ => put(&mut shown, letter),
            }
            is_behind_blank = is_blank;
        }
        Self(middle(&shown, NAME_MAX))
    }

    /// Returns a path as a name.
    #[must_use]
    pub fn path(path: &Path) -> Self {
        Self::of(&path.to_string_lossy())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Returns a text in one line, whole.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    text.chars().for_each(|letter| put(&mut shown, letter));
    Cow::Owned(shown)
}

/// Returns what is printed as one piece: where it has further lines all the same, because something that was named in it had, each stands behind a mark.
#[must_use]
pub fn statement(text: &str) -> Cow<'_, str> {
    if text.len() <= STATEMENT_MAX && !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut letters = text.chars();
    for letter in letters.by_ref().take(STATEMENT_MAX) {
        match letter {
            '\n' => shown.push_str(GOES_ON),
            '\t' => shown.push('\t'),
            letter => put(&mut shown, letter),
        }
    }
    if letters.next().is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// Returns several lines of ours: what others have named in them was made harmless before, so that no line is theirs.
#[must_use]
pub fn page(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            letter => put(&mut shown, letter),
        }
    }
    shown
}

/// Returns several lines of ours as [`page`] does, with the colours that they have.
#[must_use]
pub fn styled(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\x1b') {
        shown.push_str(&page(before));
        match style(behind) {
            Some((style, behind)) => {
                shown.push('\x1b');
                shown.push_str(style);
                rest = behind;
            }
            None => {
                put(&mut shown, '\x1b');
                rest = behind;
            }
        }
    }
    shown.push_str(&page(rest));
    shown
}

/// Returns what colours something (ECMA-48: SGR) at the beginning of what stands behind an escape, and what follows.
fn style(text: &str) -> Option<(&str, &str)> {
    let codes = text.strip_prefix('[')?;
    let end = codes.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    let is_style = end <= STYLE_MAX && codes.get(end..)?.starts_with('m');
    // The bracket, the codes and the m.
    if is_style { text.split_at_checked(end + 2) } else { None }
}

/// Returns a JSON document that says the same without a letter that acts: JSON leaves most of them as they are, and they stand in its texts alone.
#[must_use]
pub fn json(document: &str) -> Cow<'_, str> {
    if !document.chars().any(|letter| acts(letter) && letter != '\n') {
        return Cow::Borrowed(document);
    }
    let mut shown = String::with_capacity(document.len() + 16);
    for letter in document.chars() {
        if !acts(letter) || matches!(letter, '\n' | '\t') {
            shown.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    Cow::Owned(shown)
}

/// Returns prose in one line: what acts is a blank, and blanks in a row are one.
#[must_use]
pub fn words(text: &str) -> String {
    let spaced: String = text.chars().map(|letter| if acts(letter) { ' ' } else { letter }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the beginning of a text where it is longer than that, in letters.
#[must_use]
pub fn head(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Returns a text with its middle left out where it is longer than that, in letters.
#[must_use]
pub fn middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most || most < 3 {
        return text.to_owned();
    }
    let (head, tail) = ((most - 1) / 2, most / 2);
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}…{tail}")
}

/// Writes a letter, or how it is written where it acts.
fn put(shown: &mut String, letter: char) {
    match letter {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        letter if acts(letter) => shown.extend(letter.escape_unicode()),
        letter => shown.push(letter),
    }
}

#[cfg(test)]
mod tests;

//! Secrets that this process has read. What other programs print is kept and shown without them: a step that prints its environment, a client that repeats an address.
//!
//! ```
//! process::remember_secret(b"correct horse");
//! assert_eq!(process::masked("bad password: correct horse!"), "bad password: (secret)!");
//! assert_eq!(process::masked("?key=correct%20horse"), "?key=(secret)");
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

/// Shorter ones are words that stand in any text.
const SHORTEST: usize = 6;
/// What stands in the place of one.
const MASK: &str = "(secret)";
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What a secret may look like.
struct Form {
    text: String,
    /// Its beginning is no word that stands in other texts too, as an address begins.
    is_opaque: bool,
}

/// The longest first.
static KNOWN: RwLock<Vec<Form>> = RwLock::new(Vec::new());

/// Remembers a secret: its value, and the password in it where it is an address.
pub fn remember_secret(secret: &[u8]) {
    let text = std::str::from_utf8(secret).unwrap_or_default();
    let is_opaque = !text.contains("://");
    let mut found: Vec<Form> = forms(secret).into_iter().map(|text| Form { text, is_opaque }).collect();
    if let Some(password) = password_of(text) {
        let both = forms(password.as_bytes()).into_iter().chain(forms(&decoded(password)));
        found.extend(both.map(|text| Form { text, is_opaque: true }));
    }
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    for form in found {
        if form.text.len() >= SHORTEST && !known.iter().any(|known| known.text == form.text) {
            known.push(form);
        }
    }
    known.sort_by_key(|form| std::cmp::Reverse(form.text.len()));
}

/// Returns what a program has printed without the secrets in it. One that is cut off at the beginning or the end of the text is one all the same.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut shown = Cow::Borrowed(text);
    for form in known.iter().filter(|form| text.contains(&form.text)) {
        shown = Cow::Owned(shown.replace(&form.text, MASK));
    }
    let opaque = || known.iter().filter(|form| form.is_opaque).map(|form| form.text.as_str());
    if let Some(length) = opaque().filter_map(|form| rest_at_start(&shown, form)).max() {
        shown = Cow::Owned(format!("{MASK}{}", shown.get(length..).unwrap_or_default()));
    }
    if let Some(length) = opaque().filter_map(|form| begun_at_end(&shown, form)).max() {
        shown = Cow::Owned(format!("{}{MASK}", shown.get(..shown.len() - length).unwrap_or_default()));
    }
    shown
}

/// Returns how much of the end of a secret a text begins with, if that is enough to be one.
fn rest_at_start(text: &str, form: &str) -> Option<usize> {
    let lengths = (enough(form)..form.len()).rev();
    let mut rests = lengths.filter_map(|length| form.get(form.len() - length..));
    rests.find(|rest| text.starts_with(rest)).map(str::len)
}

/// Returns how much of the beginning of a secret a text ends with, if that is enough to be one.
fn begun_at_end(text: &str, form: &str) -> Option<usize> {
    let lengths = (enough(form)..form.len()).rev();
    let mut begun = lengths.filter_map(|length| form.get(..length));
    begun.find(|begun| text.ends_with(begun)).map(str::len)
}

/// Returns how much of a secret is as good as all of it: less of a passphrase may be a word of any text.
fn enough(form: &str) -> usize {
    SHORTEST.max(form.len() / 2)
}

/// Returns what a secret may look like: as it is, in an address, and in base64, alone or behind something else (`user:`).
fn forms(secret: &[u8]) -> Vec<String> {
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms: Vec<String> = std::str::from_utf8(secret).iter().map(|text| (*text).to_owned()).collect();
    for (spared, lower) in [("-_.~", false), ("-_.~", true), ("-_.~!*'()", false)] {
        forms.push(percent(secret, spared, lower));
    }
    for before in 0..3 {
        let encoded = base64(secret, before);
        forms.push(encoded.replace('+', "-").replace('/', "_"));
        forms.push(encoded);
    }
    forms
}

fn percent(secret: &[u8], spared: &str, lower: bool) -> String {
    let mut text = String::new();
    for byte in secret {
        let letter = char::from(*byte);
        let _ = match (letter.is_ascii_alphanumeric() || spared.contains(letter), lower) {
            (true, _) => write!(text, "{letter}"),
            (false, true) => write!(text, "%{byte:02x}"),
            (false, false) => write!(text, "%{byte:02X}"),
        };
    }
    text
}

/// Returns those letters of a text in base64 that say a secret alone, where so many bytes (of three) stand before it.
fn base64(secret: &[u8], before: usize) -> String {
    let mut text = String::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in std::iter::repeat_n(&0, before).chain(secret) {
        bits = (bits << 8) | u32::from(*byte);
        count += 8;
        while count >= 6 {
            count -= 6;
            let at = usize::try_from((bits >> count) & 63).unwrap_or_default();
            text.extend(LETTERS.get(at).map(|letter| char::from(*letter)));
        }
        bits &= 63;
    }
    // The first letters say what stands before it, too.
    let foreign = [0, 2, 3].get(before).copied().unwrap_or_default();
    text.split_off(foreign)
}

/// Returns the password in an address: `scheme://user:password@host`.
fn password_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let login = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?.0;
    Some(login.split_once(':')?.1)
}

/// Returns what a text in an address stands for.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_however_it_is_written_and_short_words_are_not() {
        remember_secret(b"tr0ub4dor/&3");
        remember_secret(b"pw");
        remember_secret(b"postgres://hugo:s3cr%40t-of-hugo@db/orders");
        for (said, shown) in [
            ("VAULT=tr0ub4dor/&3;", "VAULT=(secret);"),
            ("?p=tr0ub4dor%2F%263", "?p=(secret)"),
            ("?p=tr0ub4dor%2f%263", "?p=(secret)"),
            // What of base64 says a part of the last byte stays.
            ("Basic dHIwdWI0ZG9yLyYz", "Basic (secret)"),
            ("Basic dTp0cjB1YjRkb3IvJjM=", "Basic dTp(secret)M="),
            ("s3cr@t-of-hugo", "(secret)"),
            ("at s3cr%40t-of-hugo", "at (secret)"),
            ("postgres://hugo:s3cr%40t-of-hugo@db/orders", "(secret)"),
            // Cut off, before and behind.
            ("4dor/&3 was wrong", "(secret) was wrong"),
            ("it was tr0ub4", "it was (secret)"),
            ("pw, db, orders: nothing of it", "pw, db, orders: nothing of it"),
            ("no role is called postgres", "no role is called postgres"),
        ] {
            assert_eq!(masked(said), shown, "{said}");
        }
    }
}

//! What a server is left with when a load breaks off: which databases are the point's, and which still what they were.

use super::binlog::line_of;
use super::binlog::printed::line;
use crate::{Error, Kind};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const DATABASE: &[u8] = b"-- Current Database: `";
const OVER_USERS: [&[u8]; 2] = [b"DELETE FROM `mysql`.`global_priv`", b"REPLACE INTO `mysql`.`global_priv`"];

/// Adds to an error of the client what the server is left with, if it says at which line. It had been given `before` lines before the dump; these databases were
/// `put_back` since.
pub(super) fn at(dump: &Path, before: u64, error: Error, put_back: &BTreeSet<String>) -> Error {
    match error {
        Error { place, kind: Kind::Server { said, is_down } } => {
            let line = line_of(&said).and_then(|line| line.checked_sub(before));
            let left = line.and_then(|line| left(File::open(dump).ok()?, line).ok());
            let left = left.map(|left| left.without(put_back));
            let said = said + &left.map_or_else(String::new, |left| left.said());
            Error { place, kind: Kind::Server { said, is_down } }
        }
        other => other,
    }
}

/// What a load had come to at one line of a dump.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    /// All their tables are there.
    whole: Vec<String>,
    half: Option<String>,
    untouched: Vec<String>,
    /// Users and rights are those of the dump, or on their way.
    has_users: bool,
}

/// Reads it from the dump.
fn left(dump: impl Read, until: u64) -> io::Result<Left> {
    let mut from = BufReader::with_capacity(256 << 10, dump);
    let (mut kept, mut tail, mut lines) = (Vec::new(), Vec::new(), 0);
    let mut left = Left::default();
    // Each database comes once more for its views, and for its events.
    let mut is_again = false;
    while line(&mut from, &mut kept, &mut tail)? {
        lines += 1;
        if let Some(rest) = kept.strip_prefix(DATABASE) {
            let rest = String::from_utf8_lossy(rest);
            let name = rest.trim_end().trim_end_matches('`').replace("``", "`");
            is_again |= left.all().any(|known| *known == name);
            if lines < until {
                left.whole.extend(left.half.take());
                left.half = Some(name).filter(|name| !left.whole.contains(name));
            } else if !is_again {
                left.untouched.push(name);
            } else {
                break;
            }
        } else if lines < until && OVER_USERS.iter().any(|over| kept.starts_with(over)) {
            left.has_users = true;
        }
        kept.clear();
    }
    Ok(left)
}

impl Left {
    /// Returns the same once these are again what they were.
    fn without(mut self, put_back: &BTreeSet<String>) -> Self {
        let (back, whole): (Vec<String>, Vec<String>) =
            self.whole.into_iter().partition(|name| put_back.contains(name));
        let half_back = self.half.take_if(|name| put_back.contains(&*name));
        self.whole = whole;
        self.untouched = back.into_iter().chain(half_back).chain(self.untouched).collect();
        self
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.whole.iter().chain(&self.half).chain(&self.untouched)
    }

    /// Says it, for the end of a sentence.
    fn said(&self) -> String {
        let mut said = String::new();
        let mut add = |what: &str, names: &[String]| {
            if !names.is_empty() {
                let _ = write!(said, "; {what}: {}", names.join(", "));
            }
        };
        add("databases that have all tables of the point", &self.whole);
        add("half loaded", self.half.as_slice());
        add("as they were", &self.untouched);
        said.push_str(match self.has_users {
            true => "; users are those of the point",
            false => "; users are as they were",
        });
        if !self.whole.is_empty() || self.half.is_some() {
            said.push_str(". Views and events may be missing");
        }
        said.push_str(". When that is mended, the same command loads all again");
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_back_is_as_it_was() {
        let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let left = Left {
            whole: all(&["a", "new"]),
            half: Some("b".into()),
            untouched: all(&["c"]),
            has_users: false,
        };
        let put_back = all(&["a", "b", "c"]).into_iter().collect();
        let said = left.without(&put_back).said();
        assert!(said.contains("all tables of the point: new; as they were: a, b, c; users are"), "{said}");
    }

    #[test]
    fn databases_are_whole_half_or_untouched_by_the_line_at_which_the_load_broke_off() {
        let text = "-- Server version\n-- Current Database: `a`\nCREATE\n-- Current Database: `b``c`\nCREATE\n-- Current Database: `d`\nCREATE\n\
            -- Current Database: `a`\nVIEW\n-- Current Database: `b``c`\nDELETE FROM `mysql`.`global_priv`;\n";
        let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for (line, whole, half, untouched, has_users) in [
            (1, &[][..], None, &["a", "b`c", "d"][..], false),
            (3, &[], Some("a"), &["b`c", "d"], false),
            (5, &["a"], Some("b`c"), &["d"], false),
            (9, &["a", "b`c", "d"], None, &[], false),
            (12, &["a", "b`c", "d"], None, &[], true),
        ] {
            let wanted = Left {
                whole: names(whole),
                half: half.map(str::to_owned),
                untouched: names(untouched),
                has_users,
            };
            assert_eq!(left(text.as_bytes(), line).unwrap(), wanted, "{line}");
        }
    }
}

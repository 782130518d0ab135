//! The pieces in which a binary log is kept, and their positions.
//!
//! `mariadb-bin.000042.6B089F8D.6B089F8D.0003` is the fourth piece of the file of that number that the server began in that second. All pieces of a
//! file are equally long but the last, which is shorter, and empty if need be: so a whole piece tells whether one more must follow. Behind one
//! another they are the file.
//!
//! A server says that it began a file when the statement began that made it do so, which may be earlier than the file before. So the second stands there
//! twice: as the server says it, to tell the file, and as it is in order, which is never earlier than that of the file before.

use crate::{LogFile, LogKind};
use std::path::Path;

/// How long a piece is: it is read anew each time that something was added to it.
pub(in crate::mariadb) const PIECE_BYTES: u64 = 16 << 20;

/// What ends the name of a piece to which something may be added.
pub(super) const PARTIAL: &str = ".partial";

/// Which piece, of which file. In order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::mariadb) struct Place {
    /// When the server began the file, in seconds since 1970, and not before the one that it follows on.
    pub(in crate::mariadb) order: u32,
    /// The number of the file.
    pub(in crate::mariadb) number: u64,
    /// The number of the piece in the file.
    pub(in crate::mariadb) piece: u32,
}

impl Place {
    /// Returns it as a text; texts are in the same order.
    pub(in crate::mariadb) fn position(self) -> String {
        format!("{:08X}{:010}{:04X}", self.order, self.number, self.piece)
    }

    /// Reads a position.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parts = is_plain.then(|| Some((text.get(..8)?, text.get(8..18)?, text.get(18..)?))).flatten()?;
        Some(Self {
            order: u32::from_str_radix(parts.0, 16).ok()?,
            number: parts.1.parse().ok()?,
            piece: u32::from_str_radix(parts.2, 16).ok()?,
        })
    }

    /// Returns whether both are of one file.
    pub(super) fn is_beside(self, other: Self) -> bool {
        (self.order, self.number) == (other.order, other.number)
    }
}

/// A file that holds a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mariadb) struct Piece {
    /// What the server calls the file.
    pub(in crate::mariadb) file: String,
    /// When the server says that it began it, in seconds since 1970.
    pub(in crate::mariadb) created: u32,
    pub(in crate::mariadb) place: Place,
    pub(in crate::mariadb) is_whole: bool,
}

impl Piece {
    /// Reads the name of a piece; `None` for anything else.
    pub(in crate::mariadb) fn parse(name: &str) -> Option<Self> {
        let (plain, is_whole) = match name.strip_suffix(PARTIAL) {
            Some(plain) => (plain, false),
            None => (name, true),
        };
        let (rest, piece) = plain.rsplit_once('.')?;
        let (rest, order) = rest.rsplit_once('.')?;
        let (file, created) = rest.rsplit_once('.')?;
        let hex = |text: &str, digits: usize| {
            let is_plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        let place = Place { order: hex(order, 8)?, number: number(file)?, piece: hex(piece, 4)? };
        Some(Self { file: file.to_owned(), created: hex(created, 8)?, place, is_whole })
    }

    /// Returns the name of its file.
    pub(in crate::mariadb) fn name(&self) -> String {
        let Place { order, piece, .. } = self.place;
        let end = if self.is_whole { "" } else { PARTIAL };
        format!("{}.{:08X}.{order:08X}.{piece:04X}{end}", self.file, self.created)
    }
}

/// Returns the number of a file, by what the server calls it.
pub(in crate::mariadb) fn number(file: &str) -> Option<u64> {
    let (base, number) = file.rsplit_once('.')?;
    let is_plain = (6..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && !base.is_empty() && !base.contains('/')).then(|| number.parse().ok()).flatten()
}

/// Returns what a file of this name is to a log that is kept.
pub(in crate::mariadb) fn log_file(name: &str) -> Option<LogFile> {
    let piece = Piece::parse(name)?;
    let position = piece.place.position();
    // A folder for each file of the server: what is added then writes few names anew.
    let folder = format!("{}.{:08X}", piece.file, piece.place.order);
    let kind = if piece.is_whole { LogKind::Whole(position) } else { LogKind::Partial(position) };
    Some(LogFile { path: Path::new(&folder).join(name), kind })
}

/// Returns what is missing between a piece and the next one that is there. `whole` is how long the first is, if it is whole.
pub(in crate::mariadb) fn gap(before: &str, whole: Option<u64>, next: &str) -> Option<String> {
    let (Some(before), Some(next)) = (Place::parse(before), Place::parse(next)) else {
        return Some(format!("what follows {before}"));
    };
    let rest = || Some(format!("the rest of binary log {:06}", before.number));
    match whole {
        // Whether the server went on from it nobody has seen: the next file of that number may be another's.
        None => rest(),
        Some(PIECE_BYTES) => {
            let is_next = next == Place { piece: before.piece + 1, ..before };
            if is_next { None } else { rest() }
        }
        Some(_) => {
            let is_next = next.number == before.number + 1 && next.piece == 0 && next.order >= before.order;
            (!is_next).then(|| format!("binary log {:06}", before.number + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(order: u32, number: u64, piece: u32) -> Place {
        Place { order, number, piece }
    }

    #[test]
    fn each_piece_has_its_place_in_the_log() {
        let whole = log_file("shop.bin.000042.6B089F8D.6B089F90.000A").unwrap();
        assert_eq!(whole.path, Path::new("shop.bin.000042.6B089F90/shop.bin.000042.6B089F8D.6B089F90.000A"));
        assert_eq!(whole.kind, LogKind::Whole("6B089F900000000042000A".into()));
        let partial = log_file("shop.bin.000042.6B089F8D.6B089F90.000A.partial").unwrap();
        assert_eq!(partial.kind, LogKind::Partial("6B089F900000000042000A".into()));
        for name in [
            "mariadb-bin.000042",
            "mariadb-bin.index",
            "mariadb-bin.42.6B089F8D.6B089F8D.0000",
            "incoming-12",
        ] {
            assert!(log_file(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_file_is_followed_by_the_next_and_by_no_other_of_that_number() {
        let gap = |before: Place, whole, next: Place| gap(&before.position(), whole, &next.position());
        let last = place(100, 7, 1);
        assert_eq!(gap(last, Some(12), place(200, 8, 0)), None);
        assert_eq!(gap(place(100, 7, 0), Some(PIECE_BYTES), last), None);
        // Nobody saw the server go on.
        assert_eq!(gap(last, None, place(200, 8, 0)).unwrap(), "the rest of binary log 000007");
        assert_eq!(gap(last, Some(PIECE_BYTES), place(200, 8, 0)).unwrap(), "the rest of binary log 000007");
        assert_eq!(gap(last, Some(12), place(200, 9, 0)).unwrap(), "binary log 000008");
        assert_eq!(gap(last, Some(12), place(99, 8, 0)).unwrap(), "binary log 000008");
        assert_eq!(gap(last, Some(12), place(200, 8, 1)).unwrap(), "binary log 000008");
    }

    proptest! {
        #[test]
        fn positions_are_in_order_as_texts(a in (any::<u32>(), 0u64..9_999_999_999, 0u32..0xFFFF), b in (any::<u32>(), 0u64..9_999_999_999, 0u32..0xFFFF)) {
            let (a, b) = (place(a.0, a.1, a.2), place(b.0, b.1, b.2));
            prop_assert_eq!(a.cmp(&b), a.position().cmp(&b.position()));
            prop_assert_eq!(Place::parse(&a.position()), Some(a));
            let piece = Piece { file: format!("bin.{:06}", a.number), created: b.order, place: a, is_whole: b.piece % 2 == 0 };
            prop_assert_eq!(Piece::parse(&piece.name()), Some(piece));
        }

        #[test]
        fn any_text_is_a_piece_or_none(text in ".{0,60}") {
            let _ = Piece::parse(&text);
            let _ = Place::parse(&text);
            let _ = gap(&text, Some(1), &text);
        }
    }
}

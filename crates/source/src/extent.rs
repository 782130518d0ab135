//! What a file of a log is to another of its name: whether it may take its place.
//!
//! A disk that has crashed, or that somebody has written to, holds what it holds. What was kept elsewhere as a whole is only ever replaced by itself and more.

use std::io::{self, Read, Seek};

/// How much is compared at once.
const PIECE: usize = 64 << 10;

/// What a file that was found is to the one of its name that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// All that the kept one holds is in it, and perhaps more: it may take its place.
    GoesOn,
    /// It ends before the kept one does, and is the same until there.
    Behind,
    /// It says something else.
    Differs,
}

/// Compares a file that was found with the one that is kept. `ends_at` says up to where either holds anything.
pub fn against(
    kept: &mut (impl Read + Seek),
    found: &mut (impl Read + Seek),
    ends_at: &dyn Fn(&mut dyn Read) -> io::Result<u64>,
) -> io::Result<Against> {
    kept.rewind()?;
    found.rewind()?;
    let same = common(kept, found)?;
    kept.rewind()?;
    let holds_all = same >= ends_at(kept)?;
    found.rewind()?;
    let against = match holds_all {
        true => Against::GoesOn,
        false if same >= ends_at(found)? => Against::Behind,
        false => Against::Differs,
    };
    found.rewind()?;
    Ok(against)
}

/// Returns how many bytes both begin with.
fn common(one: &mut impl Read, other: &mut impl Read) -> io::Result<u64> {
    let (mut left, mut right, mut same) = (Vec::new(), Vec::new(), 0);
    loop {
        left.clear();
        right.clear();
        one.by_ref().take(PIECE as u64).read_to_end(&mut left)?;
        other.by_ref().take(PIECE as u64).read_to_end(&mut right)?;
        let equal = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
        same += equal as u64;
        if equal < PIECE {
            return Ok(same);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_is_kept_gives_way_to_itself_and_more_alone() {
        // What counts ends at the last that isn't zero.
        let ends_at = |file: &mut dyn Read| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1))
        };
        let of = |kept: &[u8], found: &[u8]| {
            against(&mut Cursor::new(kept), &mut Cursor::new(found), &ends_at).unwrap()
        };
        assert_eq!(of(b"abc\0\0", b"abcd\0"), Against::GoesOn);
        assert_eq!(of(b"abc\0\0", b"abc"), Against::GoesOn);
        assert_eq!(of(b"abc\0\0", b"ab\0\0\0"), Against::Behind);
        assert_eq!(of(b"abc", b""), Against::Behind);
        assert_eq!(of(b"abc\0\0", b"abX\0\0"), Against::Differs);
        assert_eq!(of(b"", b"junk"), Against::GoesOn);
        let long = vec![7; 3 * PIECE + 5];
        let mut hurt = long.clone();
        hurt[2 * PIECE + 1] = 8;
        assert_eq!((of(&long, &long), of(&long, &hurt)), (Against::GoesOn, Against::Differs));
    }
}

//! Whether a position is one place in a log, or one in each of several: whoever begins a log anew (`RESET MASTER`) makes the server count its files from the
//! beginning, and names come again.

use super::Position;
use super::piece::{PIECE_BYTES, Piece};
use crate::{Error, Kind, Result, Until};
use std::collections::BTreeMap;

/// Returns an error if a position lies in several files of one name; it names the choices, by the second in which the server began each. Files of the log are known
/// by their names and lengths.
pub(in crate::mariadb) fn check(until: &Until, files: &[(String, u64)]) -> Result<()> {
    let (text, begun) =
        match until {
            Until::Position(text) => (text, None),
            Until::On { place, timeline } => match &**place {
                Until::Position(text) => (text, Some(*timeline)),
                _ => return invalid(
                    "only a position has a timeline in MariaDB: a transaction's GTID and a time are its own"
                        .into(),
                ),
            },
            _ => return Ok(()),
        };
    let Ok(position) = text.parse::<Position>() else { return invalid(format!("`{text}` is no position")) };
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    for (name, bytes) in files {
        let Some(piece) = Piece::parse(name).filter(|piece| piece.file == position.file) else { continue };
        let end = ends.entry(piece.created).or_default();
        *end = (*end).max(u64::from(piece.place.piece) * PIECE_BYTES + bytes);
    }
    let all: Vec<u32> =
        ends.iter().filter(|(_, end)| position.offset <= **end).map(|(begun, _)| *begun).collect();
    let choices = || {
        let said = |begun: &u32| {
            let time = jiff::Timestamp::from_second(i64::from(*begun)).unwrap_or_default();
            format!("'position {text} on timeline {begun}' (begun {time})")
        };
        all.iter().map(said).collect::<Vec<_>>().join(" or ")
    };
    match begun {
        // One that lies nowhere in the vaults may be with the server.
        None if all.len() < 2 => Ok(()),
        None => invalid(format!(
            "position {text} lies in {} files of that name, since the log was begun anew: write {}",
            all.len(),
            choices()
        )),
        Some(begun) if all.contains(&begun) => Ok(()),
        Some(begun) => invalid(match all.is_empty() {
            true => format!("position {text} is not in the log"),
            false => format!("position {text} is in no file that was begun at {begun}: write {}", choices()),
        }),
    }
}

fn invalid(why: String) -> Result<()> {
    Err(Error::new("roll forward", Kind::Invalid(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_two_files_of_one_name_is_refused_with_both_named() {
        let files: Vec<(String, u64)> = [
            ("mariadb-bin.000001.6B089F8D.6B089F8D.0000", 5_000),
            ("mariadb-bin.000001.6B08A000.6B08A000.0000.partial", 800),
            ("mariadb-bin.000002.6B089F90.6B089F90.0000", 5_000),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into();
        let at = |text: &str| Until::Position(text.into());
        check(&at("mariadb-bin.000001:900"), &files).unwrap();
        check(&at("mariadb-bin.000002:100"), &files).unwrap();
        let said = check(&at("mariadb-bin.000001:700"), &files).unwrap_err().to_string();
        assert!(said.contains("on timeline 1795727245'") && said.contains("' (begun 20"), "{said}");
        let on = |timeline| Until::On { place: Box::new(at("mariadb-bin.000001:700")), timeline };
        check(&on(0x6B08_A000), &files).unwrap();
        assert!(check(&on(7), &files).is_err());
    }
}

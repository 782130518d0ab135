//! What a recovery will find that it can't read of the log on a dead disk: known before it begins, so that a dry run says it too.

use super::set_aside::{Found, Raw, base, damaged, end, find, headless};
use crate::error::at;
use crate::mariadb::binlog::piece::{Piece, Place};
use crate::mariadb::binlog::receive::Known;
use crate::mariadb::binlog::replay::pieces;
use crate::mariadb::binlog::sound::Walk;
use crate::ours::open_file;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Says what in these folders can't be read, and is missed by who goes on from the point at this position. Of the log there are these pieces, with their lengths, and
/// what waits in the spool.
pub(super) fn spoilt(
    folders: &[PathBuf],
    position: &str,
    held: &[(String, u64)],
    spool: &Path,
) -> Result<Vec<String>> {
    let Some(from) = Known::read(position.split('@').next().unwrap_or(position)).map(|known| known.place)
    else {
        return Ok(Vec::new());
    };
    let there = kept(from, held, spool);
    let (mut raws, mut strange): (Vec<Raw>, Vec<Raw>) = (Vec::new(), Vec::new());
    for folder in folders {
        let Found { raws: some, strange: others } = find(folder)?;
        raws.extend(some);
        strange.extend(others);
    }
    raws.sort_by_key(|raw| raw.number);
    let (mut said, mut its, mut before): (Vec<String>, Option<String>, Option<u64>) =
        (Vec::new(), None, None);
    for raw in &raws {
        let is_of_it = |piece: &Piece| piece.file == raw.name && piece.created == raw.created;
        let is_known = there.iter().any(|(piece, ..)| is_of_it(piece));
        let is_first = raw.number == from.number && raw.created == from.order;
        let follows = before.is_some_and(|before| before.checked_add(1) == Some(raw.number));
        before = (is_known || is_first || follows).then_some(raw.number);
        if before.is_none() {
            continue;
        }
        its = its.or_else(|| base(&raw.name).map(str::to_owned));
        let kept = end(there.iter().filter(|(piece, ..)| is_of_it(piece)));
        if kept >= raw.bytes {
            continue;
        }
        let walked = open_file(&raw.path).and_then(|mut file| Walk::of(&mut file, raw.bytes));
        let walk = walked.map_err(|error| Error::io(at("read", &raw.path), error))?;
        if walk.is_wrong {
            said.push(damaged(raw, walk.end.max(kept)));
        }
    }
    let its = its.or_else(|| there.first().and_then(|(piece, ..)| base(&piece.file).map(str::to_owned)));
    let is_missed = |raw: &&Raw| {
        let is_its = its.is_some() && base(&raw.name) == its.as_deref() && raw.number >= from.number;
        is_its && end(there.iter().filter(|(piece, ..)| piece.file == raw.name)) < raw.bytes
    };
    said.extend(strange.iter().filter(is_missed).map(headless));
    Ok(said)
}

/// Returns the pieces that there will be from a place on.
fn kept(from: Place, held: &[(String, u64)], spool: &Path) -> Vec<(Piece, PathBuf, u64)> {
    let held = held.iter().filter_map(|(name, bytes)| Some((Piece::parse(name)?, PathBuf::new(), *bytes)));
    // A dry run makes no spool where there is none.
    let waiting = pieces(spool).unwrap_or_default().into_values();
    held.chain(waiting).filter(|(piece, ..)| piece.place >= from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::binlog::sound::tests::{add, head};
    use std::fs;

    const KNOWN: &str = "b.000003.00000064.00000064.0000.partial";

    fn text(rows: &[&[u8]]) -> Vec<u8> {
        let mut text = head(100, true);
        rows.iter().for_each(|row| add(&mut text, 2, 100, row, true));
        text
    }

    #[test]
    fn what_is_damaged_behind_what_the_vaults_have_is_known_beforehand_and_nothing_else_is() {
        let all = text(&[b"one", b"two", b"three"]);
        let (one, two) = (text(&[b"one"]).len(), text(&[b"one", b"two"]).len());
        let mut bad = all.clone();
        bad[two + 20] ^= 1;
        let torn = all[..all.len() - 1].to_vec();
        let position = Place { order: 100, number: 3, piece: 0 }.position();
        for (disk, held, told) in [
            (&all, one, 0),
            (&bad, one, 1),
            // The vaults have all of it.
            (&bad, bad.len(), 0),
            // It ended in the middle of an event, which was never committed.
            (&torn, one, 0),
        ] {
            let (data, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(data.path().join("b.000003"), disk).unwrap();
            let held = [(KNOWN.to_owned(), held as u64)];
            let said = spoilt(&[data.path().to_owned()], &position, &held, spool.path()).unwrap();
            assert_eq!(said.len(), told, "{said:?}");
            assert!(said.iter().all(|said| said.contains("b.000003 can't be read from byte")), "{said:?}");
        }
        // One that has lost its beginning, and one of another time behind a gap.
        let (data, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(data.path().join("b.000003"), &all).unwrap();
        fs::write(data.path().join("b.000004"), vec![0; 60]).unwrap();
        fs::write(data.path().join("b.000009"), &bad).unwrap();
        let said = spoilt(&[data.path().to_owned()], &position, &[], &spool.path().join("none")).unwrap();
        let [said] = &*said else { panic!("{said:?}") };
        assert!(said.contains("b.000004") && said.contains("its beginning is damaged"), "{said}");
    }
}

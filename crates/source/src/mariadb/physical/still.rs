//! The binary log that lies where its server has ended: what no vault has may be there, and goes with the files that are replaced.

use super::set_aside::{Raw, base, read};
use crate::error::at;
use crate::mariadb::binlog::piece::{PIECE_BYTES, Piece, Place};
use crate::mariadb::binlog::receive::{Known, write_piece};
use crate::mariadb::binlog::sound::{Walk, goes_on};
use crate::ours::open_file;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What lies there and goes on from something that is known.
#[derive(Debug)]
pub(super) struct Lying {
    /// Each follows on the one before.
    raws: Vec<Raw>,
    /// It goes on from here.
    from: Place,
}

impl Lying {
    /// Looks in these folders for what goes on from one of those that are known, names of pieces and positions: from the first that it does.
    pub(super) fn look<'k, K: AsRef<str>>(
        folders: &[PathBuf],
        known: &'k [K],
    ) -> Result<Option<(&'k K, Self)>> {
        let there = folders.iter().map(|folder| read(folder)).collect::<Result<Vec<_>>>()?;
        Ok(known.iter().find_map(|known| Some((known, Self::of(&there, known.as_ref())?))))
    }

    /// Returns what goes on from something that is known, of the files in each of some folders.
    fn of(there: &[Vec<Raw>], known: &str) -> Option<Self> {
        // A position may have a history behind it.
        let text = known.split('@').next().unwrap_or(known);
        let known = Known::read(text)?;
        let named = Piece::parse(text).map(|piece| piece.file);
        for raws in there {
            let is_it = |raw: &Raw| {
                let is_named = named.as_ref().is_none_or(|file| *file == raw.name);
                is_named && raw.number == known.place.number && raw.created == known.created
            };
            let Some(first) = raws.iter().position(is_it) else { continue };
            let raws = raws.get(first..).unwrap_or_default();
            let (own, mut next) = (raws.first().and_then(|raw| base(&raw.name)), known.place.number);
            // Others lie there too: of a replica, or from before the log had its name.
            let follows = |raw: &&Raw| {
                let follows = raw.number == next && base(&raw.name) == own;
                next += u64::from(follows);
                follows
            };
            return Some(Self { raws: raws.iter().filter(follows).cloned().collect(), from: known.place });
        }
        None
    }

    /// Returns where it lies.
    pub(super) fn folder(&self) -> &Path {
        self.raws.first().and_then(|raw| raw.path.parent()).unwrap_or(Path::new(""))
    }

    /// Copies it into a spool.
    pub(super) fn copy(&self, spool: &Path) -> Result<()> {
        let (mut order, mut all) = (self.from.order, Vec::new());
        for raw in &self.raws {
            order = order.max(raw.created);
            all.push((raw, order));
        }
        // From the newest on: a file is finished only in a spool that has what follows.
        for (nth, (raw, order)) in all.into_iter().rev().enumerate() {
            self.copy_file(raw, order, nth > 0, spool)?;
        }
        Ok(())
    }

    fn copy_file(&self, raw: &Raw, order: u32, is_finished: bool, spool: &Path) -> Result<()> {
        let wrong = |error| Error::io(at("keep", &raw.path), error);
        let mut from = open_file(&raw.path).map_err(wrong)?;
        // Its server may have ended in the middle of an event, and its disk may have spoilt it.
        let bytes = Walk::of(&mut from, raw.bytes).map_err(wrong)?.end;
        // What is torn is never finished: whoever has a part of it isn't told that the next file follows.
        let is_finished = is_finished && bytes == raw.bytes;
        for piece in 0.. {
            let begin = u64::from(piece) * PIECE_BYTES;
            let length = bytes.saturating_sub(begin).min(PIECE_BYTES);
            let place = Place { order, number: raw.number, piece };
            let is_whole = length == PIECE_BYTES || is_finished;
            if place >= self.from {
                let piece = Piece { file: raw.name.clone(), created: raw.created, place, is_whole };
                // What waits there came from the server itself: what lies here is taken where it goes on from that.
                if !is_more(spool, &mut from, begin, &piece).map_err(wrong)? {
                    break;
                }
                write_piece(spool, &mut from, (begin, length), &piece).map_err(wrong)?;
            }
            if length < PIECE_BYTES {
                break;
            }
        }
        Ok(())
    }
}

/// Returns whether a file goes on, where this piece of it begins, from what a spool has of that, if it has anything.
fn is_more(spool: &Path, from: &mut File, begin: u64, piece: &Piece) -> io::Result<bool> {
    for is_whole in [true, false] {
        let name = Piece { is_whole, ..piece.clone() }.name();
        match open_file(&spool.join(name)) {
            Ok(mut there) => return goes_on(&mut there, from, begin),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::binlog::sound::tests::{add, head};
    use crate::mariadb::binlog::sound::without_flag;
    use std::fs;

    #[test]
    fn what_a_disk_has_spoilt_is_not_taken_for_what_its_server_wrote() {
        let text = |rows: &[&[u8]]| {
            let mut text = head(100, true);
            rows.iter().for_each(|row| add(&mut text, 2, 100, row, true));
            text
        };
        let (all, some) = (text(&[b"one", b"two", b"three"]), text(&[b"one", b"two"]));
        let mut received = some.clone();
        without_flag(&mut received, 0);
        let spoilt = |at: usize| {
            let mut text = all.clone();
            text[at] ^= 1;
            text
        };
        let mut other = text(&[b"one", b"TWO", b"three"]);
        other.extend(b"more");
        let one = text(&[b"one"]).len();
        for (disk, wanted) in [
            (all.clone(), all.len()),
            // In what came from the server, and behind it.
            (spoilt(one + 20), some.len()),
            (spoilt(some.len() + 20), some.len()),
            (other, some.len()),
        ] {
            let (data, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let known = "b.000001.00000064.00000064.0000.partial";
            fs::write(spool.path().join(known), &received).unwrap();
            fs::write(data.path().join("b.000001"), disk).unwrap();
            let (_, lying) = Lying::look(&[data.path().to_owned()], &[known]).unwrap().unwrap();
            lying.copy(spool.path()).unwrap();
            assert_eq!(names(spool.path()), [format!("{known} {wanted}")]);
            let there = fs::read(spool.path().join(known)).unwrap();
            assert!(there.starts_with(&received));
        }
        // One that was torn is not finished, although its server has gone on to the next.
        let (data, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(data.path().join("b.000001"), &all[..all.len() - 1]).unwrap();
        fs::write(data.path().join("b.000002"), head(101, true)).unwrap();
        let lying = Lying::look(&[data.path().to_owned()], &["b.000001.00000064.00000064.0000.partial"]);
        lying.unwrap().unwrap().1.copy(spool.path()).unwrap();
        let next = format!("b.000002.00000065.00000065.0000.partial {}", head(101, true).len());
        let first = format!("b.000001.00000064.00000064.0000.partial {}", some.len());
        assert_eq!(names(spool.path()), [first, next]);
    }

    /// A file of a log that was begun in this second, with so many events of 19 bytes, and a torn one.
    fn log_of(folder: &Path, name: &str, created: u32, events: usize, torn: usize) {
        let mut text = b"\xfebin".to_vec();
        for _ in 0..events {
            text.extend(created.to_le_bytes());
            text.extend([15, 1, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        text.extend(vec![1; torn]);
        fs::write(folder.join(name), text).unwrap();
    }

    fn names(spool: &Path) -> Vec<String> {
        let entries = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap());
        let named = entries.map(|entry| {
            format!("{} {}", entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())
        });
        let mut names: Vec<String> = named.collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_dead_server_has_written_goes_on_from_what_is_known_up_to_its_last_whole_event() {
        let (data, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log_of(data.path(), "b.000002", 99, 5, 0);
        log_of(data.path(), "b.000003", 100, 2, 0);
        log_of(data.path(), "b.000004", 101, 3, 7);
        // Of a replica, and of another log behind a gap.
        log_of(data.path(), "relay.000004", 101, 9, 0);
        log_of(data.path(), "b.000009", 102, 9, 0);
        let folders = [data.path().to_owned()];
        let look = |known: &str| Some(Lying::look(&folders, &[known]).unwrap()?.1);
        look("b.000003.00000064.00000070.0000.partial").unwrap().copy(spool.path()).unwrap();
        let wanted = ["b.000003.00000064.00000070.0000 42", "b.000004.00000065.00000070.0000.partial 61"];
        assert_eq!(names(spool.path()), wanted);
        // Once more, since more has come.
        log_of(data.path(), "b.000004", 101, 4, 0);
        look(&Place { order: 100, number: 3, piece: 0 }.position()).unwrap();
        look("b.000004.00000065.00000070.0000.partial").unwrap().copy(spool.path()).unwrap();
        assert_eq!(names(spool.path())[1], "b.000004.00000065.00000070.0000.partial 80");
        for another in ["b.000003.00000065.00000070.0000", "b.000005.00000064.00000070.0000", "nonsense"] {
            assert!(look(another).is_none(), "{another}");
        }
    }
}

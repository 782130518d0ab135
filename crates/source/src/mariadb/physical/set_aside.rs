//! The binary log that stands where a copy is put back: its end may be in no vault yet.

use crate::error::at;
use crate::mariadb::binlog::piece::{PIECE_BYTES, Piece, Place, number};
use crate::mariadb::binlog::replay::pieces;
use crate::mariadb::binlog::sound::{Walk, goes_on};
use crate::mariadb::binlog::{Span, holds_any};
use crate::ours::open_file;
use crate::{Error, Kept, OurFolder, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Where it lies meanwhile.
const FOLDER: &str = "set-aside";
/// In there: nobody had anything of his in the server.
const FRESH: &str = "fresh";
/// What each server has beside databases of people's.
const SERVERS_OWN: [&str; 4] = ["mysql", "performance_schema", "sys", "#innodb_redo"];
/// What a database is described by, of which nothing else is there.
const OF_A_DATABASE: &str = "db.opt";
/// How each of its files begins.
const MAGIC: [u8; 4] = [0xFE, b'b', b'i', b'n'];

/// What became of what was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// The names of what goes on from nothing: of a log that was begun anew.
    pub(super) apart: Vec<String>,
    /// What stands there that its server has not written so, for people.
    pub(super) spoilt: Vec<String>,
}

/// A file of the server's log.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) name: String,
    pub(super) number: u64,
    /// When the server began it, in seconds since 1970.
    pub(super) created: u32,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What stands in a folder under the names of a log.
pub(super) struct Found {
    pub(super) raws: Vec<Raw>,
    /// What has such a name, isn't empty, and doesn't begin as a log does: spoilt, or somebody else's.
    pub(super) strange: Vec<Raw>,
}

/// Returns whether a data directory has a database of people's with anything in it: a server that was just made has none, or an empty one.
pub(super) fn has_own(data: &Path) -> bool {
    let databases = fs::read_dir(data).into_iter().flatten().flatten();
    let own = databases.filter(|entry| SERVERS_OWN.iter().all(|name| entry.file_name() != *name));
    let mut things = own.flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().flatten());
    things.any(|thing| thing.file_name() != OF_A_DATABASE)
}

/// Keeps the server's log that lies in these folders, in a folder within `log`; `is_fresh` where its server had nothing of anybody's. It has ended: what lies
/// there is all that it wrote.
pub(super) fn keep(folders: &[PathBuf], log: &Path, is_fresh: bool) -> Result<Kept> {
    let aside = log.join(FOLDER);
    for folder in folders {
        let Found { raws, strange } = find(folder)?;
        for raw in raws.into_iter().chain(strange) {
            let ours = OurFolder::make(log)?;
            let within = ours.way().join(FOLDER);
            fs::create_dir_all(&within).map_err(|error| Error::io(at("make the folder", &aside), error))?;
            if is_fresh {
                let noted = fs::write(within.join(FRESH), "");
                noted.map_err(|error| Error::io(at("note what was there in", &aside), error))?;
            }
            let to = within.join(&raw.name);
            // It stays where it is, so that nothing is lost if the recovery ends before it has begun.
            let kept = fs::remove_file(&to)
                .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                .and_then(|()| fs::hard_link(&raw.path, &to))
                .or_else(|_| fs::copy(&raw.path, &to).map(drop));
            kept.map_err(|error| Error::io(at("keep", &raw.path), error))?;
        }
    }
    // A recovery that was killed may have kept it before.
    let Found { mut raws, mut strange } = find(&aside)?;
    strange.retain(|strange| raws.iter().any(|raw| base(&raw.name) == base(&strange.name)));
    raws.append(&mut strange);
    let newest = raws.into_iter().max_by_key(|raw| raw.number);
    // How far one goes that was spoilt nobody knows.
    let newest = newest.filter(|raw| {
        let walked = open_file(&raw.path).and_then(|mut file| Walk::of(&mut file, raw.bytes));
        walked.is_ok_and(|walk| !walk.is_wrong)
    });
    let position = |raw: &Raw| Place { order: raw.created, number: raw.number, piece: u32::MAX }.position();
    Ok(newest.as_ref().map_or(Kept::Unknown, |newest| Kept::Whole(position(newest))))
}

/// Adds what was kept to the pieces in `log`, where it goes on from them or from where a copy lies. What came from the server itself stays as it is.
/// A server that nobody had anything in has written nothing that is missed.
pub(super) fn add(log: &Path, span: &Span) -> Result<Added> {
    let aside = log.join(FOLDER);
    let (Found { raws, strange }, is_fresh) = (find(&aside)?, aside.join(FRESH).exists());
    let wrong = |error| Error::io(at("arrange", log), error);
    let mut before: Option<(u64, u32)> = None;
    let mut added = Added::default();
    if !is_fresh {
        added.spoilt = unread(log, span, &strange)?;
    }
    for (nth, raw) in raws.iter().enumerate() {
        let found = pieces(log).map_err(wrong)?;
        let known = found.values().find(|(piece, ..)| piece.file == raw.name && piece.created == raw.created);
        let order = known
            .map(|(piece, ..)| piece.place.order)
            .or_else(|| (raw.name == span.from.file && raw.created == span.created).then_some(span.created))
            .or_else(|| {
                let (_, order) = before.filter(|(number, _)| number + 1 == raw.number)?;
                Some(order.max(raw.created))
            });
        before = order.map(|order| (raw.number, order));
        let Some(order) = order else {
            // What the server began before the point lies before it.
            if raw.created > span.created && !is_fresh && holds_any(&raw.path) {
                added.apart.push(raw.name.clone());
            }
            continue;
        };
        let mut from = open_file(&raw.path).map_err(wrong)?;
        let walk = Walk::of(&mut from, raw.bytes).map_err(wrong)?;
        let is_whole = walk.end == raw.bytes;
        let is_finished = is_whole && raws.get(nth + 1).is_some_and(|next| next.number == raw.number + 1);
        let is_of_it = |piece: &Piece| (piece.place.order, piece.place.number) == (order, raw.number);
        let kept = end(found.values().filter(|(piece, ..)| is_of_it(piece)));
        if walk.is_wrong && kept < raw.bytes {
            added.spoilt.push(damaged(raw, walk.end.max(kept)));
        }
        for piece in 0.. {
            let begin = u64::from(piece) * PIECE_BYTES;
            let length = walk.end.saturating_sub(begin).min(PIECE_BYTES);
            let place = Place { order, number: raw.number, piece };
            let is_whole = length == PIECE_BYTES || is_finished;
            let there = found.get(&place);
            let is_more = match there {
                Some((there, ..)) if there.is_whole => false,
                Some((_, path, bytes)) if *bytes <= length => {
                    let mut there = open_file(path).map_err(wrong)?;
                    let is_more = goes_on(&mut there, &mut from, begin).map_err(wrong)?;
                    if !is_more {
                        added.spoilt.push(format!(
                            "what stood in {} is not what its server had handed out before: what is in the vaults was taken, and nothing of what stood there",
                            raw.name
                        ));
                        break;
                    }
                    is_more
                }
                Some(_) => false,
                None => true,
            };
            if is_more {
                let piece = Piece { file: raw.name.clone(), created: raw.created, place, is_whole };
                if let Some((_, path, _)) = there {
                    fs::remove_file(path).map_err(wrong)?;
                }
                from.seek(SeekFrom::Start(begin)).map_err(wrong)?;
                let mut to = File::create(log.join(piece.name())).map_err(wrong)?;
                io::copy(&mut (&mut from).take(length), &mut to).map_err(wrong)?;
            }
            if length < PIECE_BYTES {
                break;
            }
        }
    }
    Ok(added)
}

/// Says what of the log of a copy can't be read at all, but what the vaults have.
fn unread(log: &Path, span: &Span, strange: &[Raw]) -> Result<Vec<String>> {
    let found = pieces(log).map_err(|error| Error::io(at("arrange", log), error))?;
    // What lies before the copy is missed by nobody.
    let from = number(&span.from.file).unwrap_or_default();
    let is_its = |raw: &&Raw| base(&raw.name) == base(&span.from.file) && raw.number >= from;
    let is_more = |raw: &&Raw| end(found.values().filter(|(piece, ..)| piece.file == raw.name)) < raw.bytes;
    Ok(strange.iter().filter(is_its).filter(is_more).map(headless).collect())
}

/// Says that a file can't be read from a byte on.
pub(super) fn damaged(raw: &Raw, from: u64) -> String {
    format!(
        "what stood in {} can't be read from byte {from} on (of {} bytes; damaged by a crash or the disk, or encrypted), and what stands behind that isn't taken: what was committed there and had not come into the vaults is not back",
        raw.name, raw.bytes
    )
}

/// Says that a file can't be read at all.
pub(super) fn headless(raw: &Raw) -> String {
    format!(
        "what stood in {} (of {} bytes) can't be read: its beginning is damaged, by a crash or the disk. What was committed there and had not come into the vaults is not back",
        raw.name, raw.bytes
    )
}

/// Returns up to where these pieces have a file, in bytes.
pub(super) fn end<'p>(pieces: impl Iterator<Item = &'p (Piece, PathBuf, u64)>) -> u64 {
    let ends = pieces.map(|(piece, _, bytes)| u64::from(piece.place.piece) * PIECE_BYTES + bytes);
    ends.max().unwrap_or_default()
}

/// Returns the name of a log, by that of one of its files.
pub(super) fn base(file: &str) -> Option<&str> {
    file.rsplit_once('.').map(|(base, _)| base)
}

/// Moves what was kept out of `log`, which goes when the system serves, to a folder beside it that stays. Returns its path.
pub(super) fn leave(log: &Path) -> Result<PathBuf> {
    let named = |nth: u32| {
        let mut path = log.to_owned().into_os_string();
        path.push(format!("-left-{nth}"));
        PathBuf::from(path)
    };
    let free = (1..1000).map(named).find(|path| path.symlink_metadata().is_err());
    let left = free.unwrap_or_else(|| named(1000));
    let ours = OurFolder::make(log)?;
    fs::rename(ours.way().join(FOLDER), &left)
        .map_err(|error| Error::io(at("keep the log in", &left), error))?;
    Ok(left)
}

/// Removes a server's log and what it knows of it, by the path without the number.
pub(super) fn remove(base: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (base.parent(), base.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let rest = file.to_str().and_then(|file| file.strip_prefix(name));
        let is_part = rest.is_some_and(|rest| {
            rest == ".index" || rest == ".state" || number(&format!("x{rest}")).is_some()
        });
        if is_part {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| Error::io(at("remove", &path), error))?;
        }
    }
    Ok(())
}

/// Returns the files of a log in a folder, in order; none where there is no folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Raw>> {
    Ok(find(folder)?.raws)
}

/// Returns what stands in a folder under the names of a log, each in order.
pub(super) fn find(folder: &Path) -> Result<Found> {
    let mut found = Found { raws: Vec::new(), strange: Vec::new() };
    let wrong = |error| Error::io(at("read", folder), error);
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(found);
        }
        other => other.map_err(wrong)?,
    };
    for entry in entries {
        let entry = entry.map_err(wrong)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(number) = number(&name) else { continue };
        let path = entry.path();
        // A pipe of that name is waited for by nobody, and what a link leads to is no log of this server.
        let Ok(mut file) = open_file(&path) else { continue };
        let (mut magic, mut second) = ([0; 4], [0; 4]);
        // Its server had only begun it: there is nothing in it.
        if file.read_exact(&mut magic).and_then(|()| file.read_exact(&mut second)).is_err() {
            continue;
        }
        let bytes = file.metadata().map_err(wrong)?.len();
        let into = if magic == MAGIC { &mut found.raws } else { &mut found.strange };
        into.push(Raw { name, number, created: u32::from_le_bytes(second), path, bytes });
    }
    found.raws.sort_by_key(|raw| raw.number);
    found.strange.sort_by_key(|raw| raw.number);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mariadb::binlog::sound::tests::{add as add_event, head as sound_head};

    fn log_of(folder: &Path, name: &str, created: u32, bytes: usize) {
        let mut text = [&MAGIC[..], &created.to_le_bytes()].concat();
        text.extend([15, 1, 0, 0, 0, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // A transaction of any length.
        text.extend(created.to_le_bytes());
        text.extend([162, 1, 0, 0, 0, u8::try_from(bytes - 23).unwrap(), 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        text.resize(bytes, b'x');
        fs::write(folder.join(name), text).unwrap();
    }

    fn names(log: &Path) -> Vec<String> {
        pieces(log)
            .unwrap()
            .into_values()
            .map(|(piece, _, bytes)| format!("{} {bytes}", piece.name()))
            .collect()
    }

    fn span() -> Span {
        let position = || "b.000003 4".parse().unwrap();
        Span { created: 100, from: position(), to: position() }
    }

    #[test]
    fn what_stands_there_goes_on_from_what_was_carried() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // The vaults know the fourth as one that is later than it says; its end and the fifth they don't have.
        fs::write(log.path().join("b.000003.00000064.00000064.0000"), "whole").unwrap();
        fs::write(log.path().join("b.000004.00000065.00000070.0000.partial"), MAGIC).unwrap();
        for (name, created, bytes) in [("b.000003", 100, 60), ("b.000004", 101, 60), ("b.000005", 102, 70)] {
            log_of(data.path(), name, created, bytes);
        }
        fs::write(data.path().join("b.000006"), "no log").unwrap();
        keep(&[data.path().to_owned()], log.path(), false).unwrap();
        keep(&[data.path().to_owned()], log.path(), false).unwrap();
        add(log.path(), &span()).unwrap();
        assert_eq!(
            names(log.path()),
            [
                "b.000003.00000064.00000064.0000 5",
                "b.000004.00000065.00000070.0000 60",
                "b.000005.00000066.00000070.0000.partial 70"
            ]
        );
        remove(&data.path().join("b")).unwrap();
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_disk_has_spoilt_takes_nothing_of_what_came_from_the_server_and_is_told() {
        let text = |rows: &[&[u8]]| {
            let mut text = sound_head(100, true);
            rows.iter().for_each(|row| add_event(&mut text, 2, 100, row, true));
            text
        };
        let (all, some) = (text(&[b"one", b"two", b"three"]), text(&[b"one", b"two"]));
        let spoilt = |at: usize| {
            let mut text = all.clone();
            text[at] ^= 1;
            text
        };
        let one = text(&[b"one"]).len();
        for (disk, bytes, told) in [
            (all.clone(), all.len(), 0),
            (all[..all.len() - 2].to_vec(), some.len(), 0),
            (spoilt(one + 20), some.len(), 1),
            (spoilt(some.len() + 20), some.len(), 1),
            (text(&[b"one", b"TWO", b"three"]), some.len(), 1),
        ] {
            let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let known = "b.000003.00000064.00000064.0000.partial";
            fs::write(log.path().join(known), &some).unwrap();
            fs::write(data.path().join("b.000003"), disk).unwrap();
            keep(&[data.path().to_owned()], log.path(), false).unwrap();
            let added = add(log.path(), &span()).unwrap();
            assert_eq!((added.apart.len(), added.spoilt.len()), (0, told), "{added:?}");
            assert_eq!(names(log.path()), [format!("{known} {bytes}")]);
            assert!(fs::read(log.path().join(known)).unwrap().starts_with(&some));
        }
    }

    #[test]
    fn what_has_lost_its_beginning_is_told_unless_the_vaults_have_it() {
        for (name, carried, told) in [
            ("b.000003", 0, 1),
            ("b.000003", 40, 1),
            ("b.000003", 60, 0),
            // The next is of the log, too; what lies before the copy and another's file are not.
            ("b.000004", 0, 1),
            ("b.000002", 0, 0),
            ("other.000003", 0, 0),
        ] {
            let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            if carried > 0 {
                let known = log.path().join("b.000003.00000064.00000064.0000.partial");
                fs::write(known, vec![1; carried]).unwrap();
            }
            fs::write(data.path().join(name), vec![0; 60]).unwrap();
            let kept = keep(&[data.path().to_owned()], log.path(), false).unwrap();
            assert!(matches!(kept, Kept::Unknown), "{name}");
            let added = add(log.path(), &span()).unwrap();
            assert_eq!((added.apart.len(), added.spoilt.len()), (0, told), "{name} {carried}: {added:?}");
        }
        // How far a log goes whose newest file can't be read is not told by the one before.
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log_of(data.path(), "b.000003", 100, 60);
        fs::write(data.path().join("b.000004"), vec![0; 60]).unwrap();
        assert!(matches!(keep(&[data.path().to_owned()], log.path(), false).unwrap(), Kept::Unknown));
    }

    #[test]
    fn what_a_fresh_server_has_written_of_its_users_is_no_log_that_was_begun_anew() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log_of(data.path(), "b.000001", 999, 60);
        for folder in ["mysql", "sys", "test"] {
            fs::create_dir(data.path().join(folder)).unwrap();
            fs::write(data.path().join(folder).join("db.opt"), "").unwrap();
        }
        fs::write(data.path().join("mysql/user.frm"), "").unwrap();
        assert!(!has_own(data.path()));
        keep(&[data.path().to_owned()], log.path(), true).unwrap();
        assert_eq!(add(log.path(), &span()).unwrap(), Added::default());
        fs::write(data.path().join("test/t.frm"), "").unwrap();
        assert!(has_own(data.path()));
    }

    #[test]
    fn a_log_of_another_time_is_not_taken_for_what_follows() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(log.path().join("b.000003.00000064.00000064.0000.partial"), "whole").unwrap();
        log_of(data.path(), "b.000003", 999, 60);
        log_of(data.path(), "b.000004", 999, 60);
        keep(&[data.path().to_owned()], log.path(), false).unwrap();
        assert_eq!(add(log.path(), &span()).unwrap().apart, ["b.000003", "b.000004"]);
        assert_eq!(names(log.path()), ["b.000003.00000064.00000064.0000.partial 5"]);
        // Nothing else has it: it stays when the rest goes.
        let left = leave(log.path()).unwrap();
        assert_eq!(fs::read_dir(&left).unwrap().count(), 2);
        fs::remove_dir_all(left).unwrap();
    }
}

//! The binary log that stands where a copy is put back: its end may be in no vault yet.

use crate::error::at;
use crate::mariadb::binlog::piece::{PIECE_BYTES, Piece, Place, number};
use crate::mariadb::binlog::replay::pieces;
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

/// A file of the server's log.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) name: String,
    pub(super) number: u64,
    /// When the server began it, in seconds since 1970.
    pub(super) created: u32,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
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
        for raw in read(folder)? {
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
    let newest = read(&aside)?.into_iter().max_by_key(|raw| raw.number);
    let position = |raw: &Raw| Place { order: raw.created, number: raw.number, piece: u32::MAX }.position();
    Ok(newest.as_ref().map_or(Kept::Unknown, |newest| Kept::Whole(position(newest))))
}

/// Adds what was kept to the pieces in `log`, where it goes on from them or from where a copy lies. Returns the names of what doesn't: of a log that was begun anew.
/// A server that nobody had anything in has written nothing that is missed.
pub(super) fn add(log: &Path, span: &Span) -> Result<Vec<String>> {
    let aside = log.join(FOLDER);
    let (raws, is_fresh) = (read(&aside)?, aside.join(FRESH).exists());
    let wrong = |error| Error::io(at("arrange", log), error);
    let mut before: Option<(u64, u32)> = None;
    let mut apart = Vec::new();
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
                apart.push(raw.name.clone());
            }
            continue;
        };
        let is_finished = raws.get(nth + 1).is_some_and(|next| next.number == raw.number + 1);
        let mut from = File::open(&raw.path).map_err(wrong)?;
        for piece in 0.. {
            let begin = u64::from(piece) * PIECE_BYTES;
            let length = raw.bytes.saturating_sub(begin).min(PIECE_BYTES);
            let place = Place { order, number: raw.number, piece };
            let is_whole = length == PIECE_BYTES || is_finished;
            let there = found.get(&place);
            if there.is_none_or(|(there, _, bytes)| !there.is_whole && *bytes <= length) {
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
    Ok(apart)
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

/// Returns where the files of a log lie in a folder.
pub(super) fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(read(folder)?.into_iter().map(|raw| raw.path).collect())
}

/// Returns the files of a log in a folder, in order; none where there is no folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Raw>> {
    let wrong = |error| Error::io(at("read", folder), error);
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(wrong)?,
    };
    let mut raws = Vec::new();
    for entry in entries {
        let entry = entry.map_err(wrong)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(number) = number(&name) else { continue };
        let path = entry.path();
        // A pipe of that name is waited for by nobody, and what a link leads to is no log of this server.
        let Ok(mut file) = open_file(&path) else { continue };
        let (mut magic, mut second) = ([0; 4], [0; 4]);
        if file.read_exact(&mut magic).and_then(|()| file.read_exact(&mut second)).is_err() || magic != MAGIC
        {
            continue;
        }
        let bytes = file.metadata().map_err(wrong)?.len();
        raws.push(Raw { name, number, created: u32::from_le_bytes(second), path, bytes });
    }
    raws.sort_by_key(|raw| raw.number);
    Ok(raws)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(folder: &Path, name: &str, created: u32, bytes: usize) {
        let mut text = [&MAGIC[..], &created.to_le_bytes()].concat();
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
        fs::write(log.path().join("b.000004.00000065.00000070.0000.partial"), "part").unwrap();
        for (name, created, bytes) in [("b.000003", 100, 50), ("b.000004", 101, 60), ("b.000005", 102, 70)] {
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
    fn what_a_fresh_server_has_written_of_its_users_is_no_log_that_was_begun_anew() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        log_of(data.path(), "b.000001", 999, 50);
        for folder in ["mysql", "sys", "test"] {
            fs::create_dir(data.path().join(folder)).unwrap();
            fs::write(data.path().join(folder).join("db.opt"), "").unwrap();
        }
        fs::write(data.path().join("mysql/user.frm"), "").unwrap();
        assert!(!has_own(data.path()));
        keep(&[data.path().to_owned()], log.path(), true).unwrap();
        assert_eq!(add(log.path(), &span()).unwrap(), Vec::<String>::new());
        fs::write(data.path().join("test/t.frm"), "").unwrap();
        assert!(has_own(data.path()));
    }

    #[test]
    fn a_log_of_another_time_is_not_taken_for_what_follows() {
        let (data, log) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(log.path().join("b.000003.00000064.00000064.0000.partial"), "whole").unwrap();
        log_of(data.path(), "b.000003", 999, 50);
        log_of(data.path(), "b.000004", 999, 50);
        keep(&[data.path().to_owned()], log.path(), false).unwrap();
        assert_eq!(add(log.path(), &span()).unwrap(), ["b.000003", "b.000004"]);
        assert_eq!(names(log.path()), ["b.000003.00000064.00000064.0000.partial 5"]);
        // Nothing else has it: it stays when the rest goes.
        let left = leave(log.path()).unwrap();
        assert_eq!(fs::read_dir(&left).unwrap().count(), 2);
        fs::remove_dir_all(left).unwrap();
    }
}

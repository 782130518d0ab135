//! The number of the timeline that a cluster begins whose point comes back by itself.
//!
//! A server takes the first number behind its own of which it is handed no history. Without its log it would take one that an earlier recovery has had, and
//! its WAL would have the names of another's.

use super::restore::{SET_ASIDE, give};
use super::wal::{Lsn, WalFile};
use crate::error::at;
use crate::ours::OurFolder;
use crate::{Error, Result};
use std::fs;
use std::path::Path;

/// Keeps all numbers up to `newest` from being taken: a history without a word stands for each of which none is in `log`.
pub(super) fn number(log: &Path, newest: u32) -> Result<()> {
    let ours = OurFolder::make(log)?;
    for name in (2..=newest).map(|number| format!("{number:08X}.history")) {
        let place = log.join(&name);
        let is_there = [&place, &log.join("history").join(&name), &log.join(SET_ASIDE).join(&name)];
        if !is_there.iter().any(|path| path.exists()) {
            ours.create(name.as_ref()).map_err(|error| Error::io(at("write", &place), error))?;
        }
    }
    Ok(())
}

/// Brings the histories that are known into the top of `log`, for the owner of the cluster in `data`. Returns the timeline of its point, if there are any.
pub(super) fn histories(log: &Path, data: &Path, owner: (u32, u32)) -> Result<Option<String>> {
    if !log.is_dir() {
        return Ok(None);
    }
    let ours = OurFolder::make(log)?;
    let top = ours.way();
    for folder in [top.join("history"), top.join(SET_ASIDE), data.join("pg_wal")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_history = name.to_str().is_some_and(is_history);
            let place = top.join(&name);
            // A word stands in the place of none.
            let is_known = fs::metadata(&place).is_ok_and(|there| there.len() > 0);
            if is_history && !is_known && entry.file_type().is_ok_and(|kind| kind.is_file()) {
                let wrong = |error| Error::io(at("keep", &entry.path()), error);
                let bytes = crate::ours::read(&entry.path()).map_err(wrong)?;
                let mut made = ours.create(&name).map_err(wrong)?;
                std::io::Write::write_all(&mut made, &bytes).map_err(wrong)?;
            }
        }
    }
    let wrong = |error| Error::io(at("arrange", log), error);
    for entry in fs::read_dir(&top).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        if entry.file_name().to_str().is_some_and(is_history) {
            give(&entry.path(), owner).map_err(wrong)?;
        }
    }
    let label = data.join("backup_label");
    let text = fs::read_to_string(&label).map_err(|error| Error::io(at("read", &label), error))?;
    Ok(begun(&text).map(|(number, _)| number.to_string()))
}

fn is_history(name: &str) -> bool {
    matches!(WalFile::parse(name, 1 << 20), Some(WalFile::History(_)))
}

/// Returns the timeline on which a copy was begun, and where, from its label.
pub(super) fn begun(label: &str) -> Option<(u32, Lsn)> {
    let of = |name: &str| label.lines().find_map(|line| line.strip_prefix(name));
    let place = of("START WAL LOCATION: ")?.split(' ').next()?.parse().ok()?;
    Some((of("START TIMELINE: ")?.trim().parse().ok()?, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_number_that_was_had_is_not_free_whether_its_history_is_known_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("main"), dir.path().join("main.releve-wal"));
        fs::create_dir_all(data.join("pg_wal")).unwrap();
        fs::write(data.join("backup_label"), "START WAL LOCATION: 0/2000028 (file x)\nSTART TIMELINE: 2\n")
            .unwrap();
        fs::write(data.join("pg_wal/00000002.history"), "1\t0/100\tx\n").unwrap();
        let own = fs::metadata(dir.path()).unwrap();
        let own = (own.uid(), own.gid());
        assert_eq!(histories(&log, &data, own).unwrap(), None);
        fs::create_dir_all(log.join("history")).unwrap();
        fs::write(log.join("history/00000003.history"), "1\t0/100\tx\n").unwrap();
        number(&log, 4).unwrap();
        assert_eq!(histories(&log, &data, own).unwrap().as_deref(), Some("2"));
        let bytes =
            |number: u32| fs::metadata(log.join(format!("{number:08X}.history"))).map(|meta| meta.len()).ok();
        assert_eq!([2, 3, 4, 5].map(bytes), [Some(10), Some(10), Some(0), None]);
    }
}

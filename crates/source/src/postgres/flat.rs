//! Brings what there is of a log, from the vaults, from the spool and from the old `pg_wal`, into one folder for the server, each segment once.
//!
//! What stood on the disk that has crashed is worth no more than what is kept elsewhere: it counts where it has all of that, and may go further.

use super::extent::end_of;
use super::restore::{SET_ASIDE, give};
use super::wal::WalFile;
use crate::error::at;
use crate::ours::open_file;
use crate::{Against, Error, Result, against};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A segment of the old `pg_wal` that has less than what is kept of it, or something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) said: String,
    /// It says something else, and doesn't merely end earlier.
    pub(super) differs: bool,
}

/// Brings all files of the log into its top folder, with the owner of the cluster. The beginning of a segment takes the place of
/// the whole one, where that isn't there; one that had not got its length yet, on a disk that was full, holds nothing, and the server would
/// refuse it. `own` is the folder with the WAL of the point itself. Returns which segments that stood here are not what is kept of them.
pub(super) fn flatten(
    log: &Path,
    owner: (u32, u32),
    segment_bytes: u64,
    own: Option<&Path>,
) -> Result<Vec<Lost>> {
    let wrong = |error| Error::io(at("arrange", log), error);
    let aside = log.join(SET_ASIDE);
    let mut folders = vec![log.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            match entry.file_type().map_err(wrong)?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    let is_aside = |file: &Path| file.starts_with(&aside);
    // The one that the server wrote last may have lost its length, and lacks nothing; one before it does.
    let here = files.iter().filter(|file| is_aside(file) && is_in_its_place(file, segment_bytes));
    let last = here.filter_map(|file| file.file_name()).max().map(ToOwned::to_owned);
    // Whole ones first, whose names have no ending, then their beginnings, and what stood here after what was kept.
    files.sort_by_key(|file| (is_aside(file), file.extension().is_some()));
    let mut lost = Vec::new();
    // The folder itself stays ours: whose it is could put links into it.
    for file in files {
        // What is no file would lead elsewhere, or keep whoever reads it waiting.
        let found = fs::symlink_metadata(&file).map_err(wrong)?;
        if !found.is_file() {
            fs::remove_file(&file).map_err(wrong)?;
            continue;
        }
        let is_partial = file.extension().is_some_and(|extension| extension == "partial");
        if is_partial && found.len() != segment_bytes {
            fs::remove_file(&file).map_err(wrong)?;
            continue;
        }
        let name = if is_partial { file.file_stem() } else { file.file_name() };
        let name = name.unwrap_or_default();
        let Some(kind) = name.to_str().and_then(|name| WalFile::parse(name, segment_bytes)) else {
            continue;
        };
        let place = log.join(name);
        let is_segment = matches!(kind, WalFile::Whole(_));
        if is_segment && is_aside(&file) {
            if found.len() != segment_bytes {
                if found.len() < segment_bytes && last.as_deref() != Some(name) {
                    fs::remove_file(&file).map_err(wrong)?;
                    continue;
                }
                let whole = File::options().write(true).open(&file);
                whole.and_then(|whole| whole.set_len(segment_bytes)).map_err(wrong)?;
            }
            let points = own.map(|own| own.join(name));
            match not_all_of(&file, [Some(&place), points.as_ref()]).map_err(wrong)? {
                None => fs::rename(&file, &place).map_err(wrong)?,
                // What waits there for its next use is nothing of this place.
                Some(_) if !is_in_its_place(&file, segment_bytes) => fs::remove_file(&file).map_err(wrong)?,
                Some(differs) => {
                    let what = if differs { "says something else than" } else { "ends before" };
                    let said = format!(
                        "segment {} as it stood in pg_wal {what} what was kept of it, which came back instead: what its server wrote after that is not back",
                        name.display()
                    );
                    lost.push(Lost { said, differs });
                    fs::remove_file(&file).map_err(wrong)?;
                }
            }
        } else {
            // What comes from a vault was checked, and wins over what an earlier recovery has left here. A whole one of which the beginning says something else was
            // never that.
            let is_whole = is_segment && !is_partial;
            let takes_place = is_whole || !place.exists();
            let is_better = || not_all_of(&place, [Some(&file), None]).map(|lacks| lacks.is_some());
            if takes_place || is_partial && is_better().map_err(wrong)? {
                fs::rename(&file, &place).map_err(wrong)?;
            }
        }
        if place.exists() {
            give(&place, owner).map_err(wrong)?;
        }
    }
    Ok(lost)
}

/// Returns whether a segment lacks something that one of these holds; and whether it says something else.
pub(super) fn not_all_of(file: &Path, kept: [Option<&PathBuf>; 2]) -> io::Result<Option<bool>> {
    for kept in kept.into_iter().flatten() {
        let mut kept = match open_file(kept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match against(&mut kept, &mut open_file(file)?, &end_of)? {
            Against::GoesOn => {}
            Against::Behind => return Ok(Some(false)),
            Against::Differs => return Ok(Some(true)),
        }
    }
    Ok(None)
}

/// Returns whether a segment says itself that it belongs where its name says: it doesn't wait for its next use.
fn is_in_its_place(file: &Path, segment_bytes: u64) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    let Some(WalFile::Whole(segment)) = name.and_then(|name| WalFile::parse(name, segment_bytes)) else {
        return false;
    };
    let mut head = [0; 16];
    let read = open_file(file).and_then(|mut file| file.read_exact(&mut head));
    let address = head.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_ne_bytes);
    read.is_ok() && address == segment.number.checked_mul(segment_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::extent::tests::{BYTES, segment};
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn flat(log: &Path, own: Option<&Path>) -> Vec<Lost> {
        let user = fs::metadata(log).unwrap();
        flatten(log, (user.uid(), user.gid()), BYTES as u64, own).unwrap()
    }

    /// The one in which the segments of these tests lie.
    const NAME: &str = "000000010000000000000004";

    #[test]
    fn a_segment_that_a_full_disk_has_cut_off_is_not_handed_to_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| fs::write(dir.path().join(name), vec![0; bytes]).unwrap();
        write("000000010000000000000004.partial", 8);
        write("000000010000000000000005.partial", BYTES);
        flat(dir.path(), None);
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["000000010000000000000005"]);
    }

    #[test]
    fn what_stood_on_the_disk_comes_back_only_where_it_has_all_that_was_kept() {
        let two = segment(&[(100, 1), (9_000, 2)]);
        let cases = [
            (segment(&[(100, 1)]), false, Some(false)),
            (segment(&[(100, 1), (9_000, 3)]), false, Some(true)),
            (segment(&[(100, 1), (9_000, 2), (9_000, 3)]), true, None),
            // It has lost its length, and nothing else.
            (segment(&[(100, 1), (9_000, 2), (900, 3)])[..20_000].to_vec(), true, None),
            (two[..5_000].to_vec(), false, Some(false)),
        ];
        for (there, is_taken, lost) in cases {
            // From a vault, and from the point itself.
            for is_points in [false, true] {
                let (dir, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
                let (log, own) = (dir.path(), own.path());
                fs::create_dir_all(log.join(SET_ASIDE)).unwrap();
                fs::create_dir_all(log.join(&NAME[..16])).unwrap();
                fs::write(log.join(SET_ASIDE).join(NAME), &there).unwrap();
                let kept = match is_points {
                    true => own.join(NAME),
                    false => log.join(&NAME[..16]).join(format!("{NAME}.partial")),
                };
                fs::write(kept, &two).unwrap();
                let told = flat(log, Some(own));
                assert_eq!(told.first().map(|lost| lost.differs), lost);
                let mut whole = there.clone();
                whole.resize(BYTES, 0);
                match fs::read(log.join(NAME)) {
                    Ok(handed) => assert!(handed == if is_taken { &*whole } else { &*two }),
                    // The server takes the one of the point.
                    Err(_) => assert!(is_points && !is_taken),
                }
            }
        }
    }

    #[test]
    fn one_before_the_last_that_is_short_is_not_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let aside = dir.path().join(SET_ASIDE);
        fs::create_dir_all(&aside).unwrap();
        fs::write(aside.join(NAME), &segment(&[(100, 1)])[..5_000]).unwrap();
        let mut next = segment(&[(100, 1)]);
        next[8..16].copy_from_slice(&(5_u64 << 20).to_ne_bytes());
        fs::write(aside.join("000000010000000000000005"), next).unwrap();
        assert!(flat(dir.path(), None).is_empty());
        assert!(!dir.path().join(NAME).exists() && dir.path().join("000000010000000000000005").exists());
    }
}

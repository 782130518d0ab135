//! The segments that a point has of its own: it needs them to become whole, and a server asks the log for each before it looks there.

use crate::error::at;
use crate::ours::{OurFolder, give, open_file};
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// How much is read at a time, from the end.
const AT_ONCE: u64 = 1 << 20;

/// Lets the log hand out a point's own segment where it has only the beginning of it: whoever received it died while the point was made.
pub(super) fn keep_longer(log: &OurFolder, data: &Path, owner: (u32, u32)) -> Result<()> {
    for entry in fs::read_dir(data.join("pg_wal")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let wrong = |error| Error::io(at("keep", &entry.path()), error);
        let (Ok(mut own), Ok(mut there)) = (open_file(&entry.path()), open_file(&log.way().join(&name)))
        else {
            continue;
        };
        if written(&mut there).map_err(wrong)? >= written(&mut own).map_err(wrong)? {
            continue;
        }
        own.rewind().map_err(wrong)?;
        let kept = log.create(&name).and_then(|mut kept| {
            io::copy(&mut own, &mut kept)?;
            give(&kept, owner)?;
            kept.sync_all()
        });
        kept.map_err(wrong)?;
    }
    Ok(())
}

/// Returns up to where a segment has been written: behind that are zeros.
fn written(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let begin = end.saturating_sub(AT_ONCE);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(begin))?;
        Read::by_ref(file).take(end - begin).read_to_end(&mut bytes)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_longer_of_two_beginnings_of_a_segment_is_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("main"), dir.path().join("main.releve-wal"));
        fs::create_dir_all(data.join("pg_wal")).unwrap();
        let ours = OurFolder::make(&log).unwrap();
        let segment = |bytes: usize| [vec![7; bytes], vec![0; (3 << 20) - bytes]].concat();
        for (name, own, there) in [("longer", 2_000_000, 10), ("shorter", 10, 2_000_000), ("alone", 5, 0)] {
            fs::write(data.join("pg_wal").join(name), segment(own)).unwrap();
            if there > 0 {
                fs::write(log.join(name), segment(there)).unwrap();
            }
        }
        let meta = fs::metadata(dir.path()).unwrap();
        keep_longer(&ours, &data, (meta.uid(), meta.gid())).unwrap();
        for name in ["longer", "shorter"] {
            assert!(fs::read(log.join(name)).unwrap() == segment(2_000_000), "{name}");
        }
        assert!(!log.join("alone").exists());
    }
}

//! The segments that a point has of its own: it needs them to become whole, and a server asks the log for each before it looks there.

use super::extent::end_of;
use crate::error::at;
use crate::ours::{OurFolder, give, open_file};
use crate::{Against, Error, Result, against};
use std::fs;
use std::io::{self, Seek};
use std::path::Path;

/// Lets the log hand out a point's own segment where it has only the beginning of it: whoever received it died while the point was made.
pub(super) fn keep_longer(log: &OurFolder, data: &Path, owner: (u32, u32)) -> Result<()> {
    for entry in fs::read_dir(data.join("pg_wal")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let wrong = |error| Error::io(at("keep", &entry.path()), error);
        let (Ok(mut own), Ok(mut there)) = (open_file(&entry.path()), open_file(&log.way().join(&name)))
        else {
            continue;
        };
        if against(&mut own, &mut there, &end_of).map_err(wrong)? != Against::Behind {
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

#[cfg(test)]
mod tests {
    use super::super::extent::tests::segment as records;
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

    #[test]
    fn what_a_segment_held_before_its_use_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path().join("main"), dir.path().join("main.releve-wal"));
        fs::create_dir_all(data.join("pg_wal")).unwrap();
        let ours = OurFolder::make(&log).unwrap();
        let (one, two) = (records(&[(100, 1)]), records(&[(100, 1), (9_000, 2)]));
        let junk = |mut segment: Vec<u8>| {
            segment[20_000..].fill(0xA5);
            segment
        };
        for (name, own, there, handed) in [
            ("longer", junk(two.clone()), &one, junk(two.clone())),
            ("shorter", junk(one.clone()), &two, two.clone()),
            ("other", junk(two.clone()), &records(&[(100, 1), (9_000, 3)]), records(&[(100, 1), (9_000, 3)])),
        ] {
            fs::write(data.join("pg_wal").join(name), own).unwrap();
            fs::write(log.join(name), there).unwrap();
            let meta = fs::metadata(dir.path()).unwrap();
            keep_longer(&ours, &data, (meta.uid(), meta.gid())).unwrap();
            assert!(fs::read(log.join(name)).unwrap() == handed, "{name}");
        }
    }
}

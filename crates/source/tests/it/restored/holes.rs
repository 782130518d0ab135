//! Holes: they cost nothing on the way into a vault, and none on the way back.

use super::Pair;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

/// What `lastlog` looks like where a user has a very high number.
const LENGTH: u64 = 1 << 40;

#[test]
fn a_file_of_a_terabyte_that_is_one_hole_is_there_and_back_at_once() {
    let begun = std::time::Instant::now();
    let pair = Pair::of(|data| {
        let mut file = fs::File::create(data.join("lastlog")).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(SeekFrom::Start(LENGTH / 2 + 77)).unwrap();
        file.write_all(&[7; 3 << 20]).unwrap();
        file.set_len(LENGTH + 1).unwrap();
    });
    let (both, options) = (pair.both(), pair.options());
    for turn in 0..3 {
        let mut options = options.clone();
        // The last time all of its content is compared.
        options.verify = turn == 2;
        let report = pair.restore(&both, &options);
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(report.restored, u64::from(turn == 0), "turn {turn}");
    }
    let back = pair.back().join("lastlog");
    let meta = fs::metadata(&back).unwrap();
    assert_eq!(meta.len(), LENGTH + 1);
    assert!(meta.blocks() * 512 < 16 << 20, "{} blocks", meta.blocks());
    let read = |path: &std::path::Path, at: u64, length: usize| {
        let mut bytes = vec![1; length];
        std::os::unix::fs::FileExt::read_exact_at(&fs::File::open(path).unwrap(), &mut bytes, at).unwrap();
        bytes
    };
    for (at, length) in [(0, 8 << 20), (LENGTH / 2 - (4 << 20), 12 << 20), (LENGTH - 4095, 4096)] {
        assert!(read(&back, at, length) == read(&pair.data().join("lastlog"), at, length), "at {at}");
    }
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

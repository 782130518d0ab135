//! Whether what was read of a file that grew meanwhile is still its beginning: a log that is written to is whole as far as it was
//! long when it was opened.
//!
//! What was read is remembered by checksums, and looked at once more: all of a file up to 64 MiB, and of a longer one its first and its
//! last mebibyte and 4 KiB of every one between. A database that grows writes to its beginning too, and isn't taken for a log.

use crc32fast::Hasher;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BLOCK: u64 = 1 << 20;
const WHOLE_MAX: u64 = 64 << 20;
const PROBE: u64 = 4 << 10;

/// The beginning of a file as it was read.
pub(super) struct Beginning {
    /// How long the file was when it was opened.
    length: u64,
    position: u64,
    /// One for each block that was passed, and the one under way.
    sums: Vec<u32>,
    hasher: Hasher,
    /// A hole was passed over: what grows with holes in it is no log.
    has_holes: bool,
}

impl Beginning {
    pub(super) fn of(length: u64) -> Self {
        Self { length, position: 0, sums: Vec::new(), hasher: Hasher::new(), has_holes: false }
    }

    /// Returns how much of it is left to be read.
    pub(super) const fn left(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    /// Takes note of bytes that were read.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = self.position % BLOCK;
            let probe = self.probe(self.position / BLOCK);
            let part = if within < probe { probe - within } else { BLOCK - within };
            let part = usize::try_from(part).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(part);
            if within < probe {
                self.hasher.update(now);
            }
            self.position += part as u64;
            if within < probe && within + part as u64 == probe {
                self.sums.push(std::mem::take(&mut self.hasher).finalize());
            }
            bytes = later;
        }
    }

    /// Takes note that a hole was passed over.
    pub(super) const fn skip(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes);
        self.has_holes = true;
    }

    /// Returns whether all of it was read, and is in the file as it was.
    pub(super) fn stands_in(&self, file: &File) -> io::Result<bool> {
        if self.has_holes || self.position != self.length {
            return Ok(false);
        }
        let mut buffer = vec![0; BLOCK as usize];
        for (block, sum) in (0..).zip(&self.sums) {
            let length = usize::try_from(self.probe(block)).unwrap_or(usize::MAX);
            let Some(buffer) = buffer.get_mut(..length) else { return Ok(false) };
            match file.read_exact_at(buffer, block * BLOCK) {
                Ok(()) if crc32fast::hash(buffer) == *sum => {}
                Ok(()) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Returns how much of a block is looked at.
    fn probe(&self, block: u64) -> u64 {
        let length = self.length.saturating_sub(block * BLOCK).min(BLOCK);
        let is_end = (block + 2) * BLOCK > self.length;
        if self.length <= WHOLE_MAX || block == 0 || is_end { length } else { length.min(PROBE) }
    }
}

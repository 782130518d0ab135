//! How things look inside the files of a repository: restic's format, version 2, as its `doc/design.rst`
//! publishes it. Parsing and writing only; what they mean is [`crate::repository`]'s business.

pub(crate) mod config;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub(crate) mod index;
pub(crate) mod key;
pub(crate) mod pack;
pub(crate) mod snapshot;
pub(crate) mod tree;

use jiff::Timestamp as Instant;
use serde::Serialize;
use std::io::{self, BufWriter, Read};

/// By so much the room for what is inflated grows.
const INFLATED_STEP: usize = 1 << 20;

/// What a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobKind {
    /// A piece of a file.
    Data,
    /// The list of a directory's entries.
    Tree,
}

/// Wraps what goes into an index, snapshot or lock file: a version byte, then zstd. An index has tens of megabytes as text, which is
/// why it is never there as a whole.
pub(crate) fn pack_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut out = BufWriter::new(zstd::stream::write::Encoder::new(vec![2], 3)?);
    serde_json::to_writer(&mut out, value)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
}

/// Undoes [`pack_json`], and takes the bare JSON that version 1 wrote. `None` if it is neither.
pub(crate) fn unpack_json(plain: &[u8]) -> Option<Vec<u8>> {
    match plain {
        [b'{' | b'[', ..] => Some(plain.to_vec()),
        // No index or snapshot is anywhere near this; a bomb would be.
        [2, compressed @ ..] => inflate(compressed, 1 << 30),
        _ => None,
    }
}

/// Returns what `compressed` inflates to, `None` if it is damaged or longer than `limit` bytes.
pub(crate) fn inflate(compressed: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = zstd::stream::read::Decoder::with_buffer(compressed).ok()?;
    loop {
        // A buffer that doubles would hold twice what is in it.
        out.reserve_exact(INFLATED_STEP);
        let read = reader.by_ref().take(INFLATED_STEP as u64).read_to_end(&mut out).ok()?;
        if out.len() > limit {
            return None;
        }
        if read < INFLATED_STEP {
            return Some(out);
        }
    }
}

/// Writes an instant as restic does: RFC 3339 with up to nine digits, in UTC.
pub(crate) fn write_time(time: crate::Timestamp) -> String {
    let time = Instant::new(time.seconds, i32::try_from(time.nanos).unwrap_or(0));
    time.unwrap_or_default().to_string()
}

/// Reads an RFC 3339 instant with any offset.
pub(crate) fn read_time(text: &str) -> Option<crate::Timestamp> {
    let time: Instant = text.parse().ok()?;
    // jiff rounds toward zero before 1970; file systems round down.
    let total = time.as_nanosecond();
    Some(crate::Timestamp {
        seconds: i64::try_from(total.div_euclid(1_000_000_000)).ok()?,
        nanos: u32::try_from(total.rem_euclid(1_000_000_000)).ok()?,
    })
}

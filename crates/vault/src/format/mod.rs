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

use crate::{FileKind, budget};
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp as Instant};
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

/// Undoes [`pack_json`], and takes the bare JSON that version 1 wrote. `Err` says why it is neither, or more than a file of this kind can be.
pub(crate) fn unpack_json(kind: FileKind, plain: &[u8]) -> Result<Vec<u8>, &'static str> {
    let json = match plain {
        [b'{' | b'[', ..] => plain.to_vec(),
        [2, compressed @ ..] => inflate(compressed, budget::inflated(kind, compressed.len()))
            .ok_or("it doesn't decompress, or to more than such a file holds")?,
        _ => return Err("neither JSON nor zstd"),
    };
    match kind == FileKind::Snapshot && !budget::is_snapshot(&json) {
        true => Err("it has more parts than any snapshot"),
        false => Ok(json),
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

/// The first and the last instant that RFC 3339 has, and with it restic: the years 0 to 9999.
pub(crate) const EARLIEST: crate::Timestamp = crate::Timestamp { seconds: -62_167_219_200, nanos: 0 };
pub(crate) const LATEST: crate::Timestamp = crate::Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 };

/// Returns the instant nearest to `time` that a tree can hold.
pub(crate) fn holdable(time: crate::Timestamp) -> crate::Timestamp {
    crate::Timestamp { nanos: time.nanos.min(999_999_999), ..time }.clamp(EARLIEST, LATEST)
}

/// 1970 without a zone: an instant's own type ends some hours before the year 9999 does.
const BEGINNING: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Writes an instant as restic does: RFC 3339 with up to nine digits, in UTC. What the years 0 to 9999 don't hold becomes the nearest
/// that they do: see [`holdable`], by which whoever captures learns of it.
pub(crate) fn write_time(time: crate::Timestamp) -> String {
    let time = holdable(time);
    // Below a billion, so it fits.
    let nanos = time.nanos.cast_signed();
    let beyond = || {
        let since = SignedDuration::new(time.seconds, nanos);
        format!("{}Z", BEGINNING.saturating_add(since))
    };
    Instant::new(time.seconds, nanos).map_or_else(|_| beyond(), |time| time.to_string())
}

/// Reads an RFC 3339 instant with any offset.
pub(crate) fn read_time(text: &str) -> Option<crate::Timestamp> {
    let total = match text.parse::<Instant>() {
        Ok(time) => time.as_nanosecond(),
        // The last hours of the year 9999.
        Err(_) => text.strip_suffix('Z')?.parse::<DateTime>().ok()?.duration_since(BEGINNING).as_nanos(),
    };
    // jiff rounds toward zero before 1970; file systems round down.
    Some(crate::Timestamp {
        seconds: i64::try_from(total.div_euclid(1_000_000_000)).ok()?,
        nanos: u32::try_from(total.rem_euclid(1_000_000_000)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_what_rfc_3339_holds_are_written_and_read() {
        assert_eq!(write_time(EARLIEST), "0000-01-01T00:00:00Z");
        assert_eq!(write_time(LATEST), "9999-12-31T23:59:59.999999999Z");
        for time in [EARLIEST, LATEST] {
            assert_eq!(read_time(&write_time(time)), Some(time));
        }
    }

    proptest! {
        #[test]
        fn any_time_becomes_the_nearest_that_a_vault_can_hold(seconds: i64, nanos: u32, near in -400_000_000_000i64..400_000_000_000) {
            for seconds in [seconds, near] {
                let time = Timestamp { seconds, nanos };
                let text = write_time(time);
                prop_assert!(text.len() >= 20 && text.as_bytes()[4] == b'-', "{}", text);
                prop_assert_eq!(read_time(&text), Some(holdable(time)));
            }
        }
    }
}

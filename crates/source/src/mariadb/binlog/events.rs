//! Where transactions begin in a file of a binary log: only the headers of its events are read.
//!
//! The layout is MariaDB's "Event Header" and "GTID_EVENT"; numbers have their lowest byte first.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

const MAGIC: &[u8; 4] = b"\xfebin";
const HEADER_BYTES: usize = 19;
/// The event that begins a transaction.
const GTID: u8 = 162;
/// What of it is read: sequence number and domain.
const GTID_BYTES: usize = 12;

/// Where a transaction begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) offset: u64,
    /// When it was begun to be committed, in seconds since 1970, by the clock of the server where it was made.
    pub(super) second: u32,
    /// Its domain, server and number.
    pub(super) gtid: (u32, u32, u64),
}

/// Tells `each` where transactions begin in a file, in order, until it breaks off. Returns where the last event ends that is there whole.
pub(super) fn transactions(path: &Path, mut each: impl FnMut(Begun) -> ControlFlow<()>) -> io::Result<u64> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut magic = [0; 4];
    if bytes < 4 {
        return Ok(0);
    }
    reader.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no binary log"));
    }
    let mut offset = 4;
    while offset + HEADER_BYTES as u64 <= bytes {
        let mut header = [0; HEADER_BYTES];
        reader.read_exact(&mut header)?;
        let [a, b, c, d, kind, e, f, g, h, i, j, k, l, ..] = header;
        let length = u64::from(u32::from_le_bytes([i, j, k, l]));
        if length < HEADER_BYTES as u64 {
            let why = format!("at {offset} no event begins");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if offset + length > bytes {
            break;
        }
        let mut read = HEADER_BYTES as u64;
        if kind == GTID && length >= (HEADER_BYTES + GTID_BYTES) as u64 {
            let mut body = [0; GTID_BYTES];
            reader.read_exact(&mut body)?;
            read += GTID_BYTES as u64;
            let [s0, s1, s2, s3, s4, s5, s6, s7, d0, d1, d2, d3] = body;
            let number = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
            let gtid = (u32::from_le_bytes([d0, d1, d2, d3]), u32::from_le_bytes([e, f, g, h]), number);
            let begun = Begun { offset, second: u32::from_le_bytes([a, b, c, d]), gtid };
            if each(begun).is_break() {
                return Ok(offset);
            }
        }
        reader.seek_relative(i64::try_from(length - read).unwrap_or(i64::MAX))?;
        offset += length;
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u8, second: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
        let mut event = second.to_le_bytes().to_vec();
        event.push(kind);
        event.extend(7u32.to_le_bytes());
        event.extend(length.to_le_bytes());
        event.extend([0; 6]);
        event.extend(body);
        event
    }

    fn gtid(second: u32, number: u64) -> Vec<u8> {
        let mut body = number.to_le_bytes().to_vec();
        body.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        event(GTID, second, &body)
    }

    fn read(bytes: &[u8]) -> io::Result<(Vec<Begun>, u64)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut begun = Vec::new();
        let end = transactions(file.path(), |one| {
            begun.push(one);
            ControlFlow::Continue(())
        })?;
        Ok((begun, end))
    }

    #[test]
    fn transactions_are_found_and_a_torn_end_is_none() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(event(15, 100, &[1; 40]));
        let first = bytes.len() as u64;
        bytes.extend(gtid(101, 1));
        bytes.extend(event(2, 101, b"insert"));
        let second = bytes.len() as u64;
        bytes.extend(gtid(102, 2));
        let end = bytes.len() as u64;
        bytes.extend(event(2, 102, b"insert"));
        bytes.pop();
        let begun = |offset, second, number| Begun { offset, second, gtid: (3, 7, number) };
        assert_eq!(read(&bytes).unwrap(), (vec![begun(first, 101, 1), begun(second, 102, 2)], end));
    }

    #[test]
    fn what_is_no_binary_log_is_an_error_or_empty() {
        assert!(read(b"something else").is_err());
        assert_eq!(read(b"\xfe").unwrap(), (vec![], 0));
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0; 40]);
        assert!(read(&bytes).is_err());
    }
}

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
/// What of it is read: sequence number, domain and flags.
const GTID_BYTES: usize = 13;
/// Its flags: a number of the group that it was committed in follows; it prepares a transaction that is committed by another; it ends such a one.
const IN_GROUP: u8 = 0x02;
const PREPARES: u8 = 0x40;
const ENDS: u8 = 0x80;
/// How long that number is, and what is before the name of a prepared one: its format, and how long the two parts of its name are.
const GROUP_BYTES: u64 = 8;
const XA_BYTES: usize = 6;

/// Where a transaction begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) offset: u64,
    /// When it was begun to be committed, in seconds since 1970, by the clock of the server where it was made.
    pub(super) second: u32,
    /// Its domain, server and number.
    pub(super) gtid: (u32, u32, u64),
    /// What it does to a transaction of several servers (XA).
    pub(super) xa: Option<Xa>,
}

/// One half of a transaction that is prepared first, and ended later by whoever asks for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Xa {
    Prepares(String),
    /// Commits it or rolls it back.
    Ends(String),
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
            let [s0, s1, s2, s3, s4, s5, s6, s7, d0, d1, d2, d3, flags] = body;
            let number = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
            let gtid = (u32::from_le_bytes([d0, d1, d2, d3]), u32::from_le_bytes([e, f, g, h]), number);
            let xa = match flags & (PREPARES | ENDS) {
                0 => None,
                _ => {
                    let mut rest = Vec::new();
                    (&mut reader).take(length - read).read_to_end(&mut rest)?;
                    read = length;
                    let skip = if flags & IN_GROUP == 0 { 0 } else { GROUP_BYTES };
                    name(&rest, skip).map(|name| match flags & PREPARES {
                        0 => Xa::Ends(name),
                        _ => Xa::Prepares(name),
                    })
                }
            };
            let begun = Begun { offset, second: u32::from_le_bytes([a, b, c, d]), gtid, xa };
            if each(begun).is_break() {
                return Ok(offset);
            }
        }
        reader.seek_relative(i64::try_from(length - read).unwrap_or(i64::MAX))?;
        offset += length;
    }
    Ok(offset)
}

/// Returns the name of a prepared transaction as statements write it, from what follows the flags.
fn name(rest: &[u8], skip: u64) -> Option<String> {
    let rest = rest.get(usize::try_from(skip).ok()?..)?;
    let (head, data) = rest.split_at_checked(XA_BYTES)?;
    let &[f0, f1, f2, f3, first, second] = head else { return None };
    let (first, second) = (usize::from(first), usize::from(second));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (global, branch) = (data.get(..first)?, data.get(first..first + second)?);
    Some(format!("X'{}',X'{}',{}", hex(global), hex(branch), u32::from_le_bytes([f0, f1, f2, f3])))
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
        let begun = |offset, second, number| Begun { offset, second, gtid: (3, 7, number), xa: None };
        assert_eq!(read(&bytes).unwrap(), (vec![begun(first, 101, 1), begun(second, 102, 2)], end));
    }

    #[test]
    fn what_prepares_a_transaction_and_what_ends_it_are_told_with_its_name() {
        // As MariaDB 10.11 writes them, and one in a group.
        let one = |tail: &[u8]| {
            let mut bytes = MAGIC.to_vec();
            let mut body = 9u64.to_le_bytes().to_vec();
            body.extend([0; 4]);
            body.extend(tail);
            bytes.extend(event(GTID, 100, &body));
            bytes.extend(event(2, 100, b"insert"));
            read(&bytes).unwrap().0.pop().unwrap().xa
        };
        let name = "X'7831',X'',1".to_owned();
        assert_eq!(one(b"\x4c\x01\0\0\0\x02\0x1\xff\x01\x02\x03\x04"), Some(Xa::Prepares(name.clone())));
        assert_eq!(one(b"\x8d\x01\0\0\0\x02\0x1\x01\x02\x03\x04"), Some(Xa::Ends(name.clone())));
        assert_eq!(one(b"\x8f\0\0\0\0\0\0\0\x07\x01\0\0\0\x02\0x1\x01\x02\x03\x04"), Some(Xa::Ends(name)));
        assert_eq!(one(b"\x8f\0\0"), None);
        assert_eq!(one(&[0x29, 0, 0, 0, 0, 0, 0]), None);
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

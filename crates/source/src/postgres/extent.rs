//! How far a segment of WAL holds anything: what lies behind its last whole record is an end that was never written, something older, or damage.
//!
//! A record says how long it is, where the one before it began, and carries a checksum (CRC-32C) of itself; a page says which place of the WAL it is. So a file tells by
//! itself where it ends (PostgreSQL: `xlog_internal.h`, `xlogrecord.h`).

use std::array::from_fn;
use std::io::{self, Read};

/// A page begins with a record that the page before has begun.
const CONTINUES: u16 = 0x0001;
/// Its header is a long one: that of the first page of a segment.
const LONG: u16 = 0x0002;
/// What a page before has begun was given up: its server ended in the middle of it.
const GIVEN_UP: u16 = 0x0008;
const PAGE_HEAD: usize = 24;
const SEGMENT_HEAD: usize = 40;
const RECORD_HEAD: usize = 24;
/// Where in the head of a record its checksum is, the last part of it.
const SUM_AT: usize = 20;
/// The largest page that a server can be built with.
const PAGE_MAX: usize = 64 << 10;

/// Returns up to where a segment holds records, in bytes from its beginning; of what doesn't begin like a segment, up to the last byte that isn't zero.
pub(super) fn end_of(file: &mut dyn Read) -> io::Result<u64> {
    let mut head = [0; SEGMENT_HEAD];
    let there = fill(file, &mut head)?;
    let begin = Page::of(&head).filter(|page| there == SEGMENT_HEAD && page.flags & LONG != 0);
    let page_bytes = four(&head, 36).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let is_sound = page_bytes.is_power_of_two() && (1024..=PAGE_MAX).contains(&page_bytes);
    let Some(begin) = begin.filter(|_| is_sound) else {
        return last_byte(head.get(..there).unwrap_or_default(), file);
    };
    let mut page = head.to_vec();
    page.resize(page_bytes, 0);
    if let Some(rest) = page.get_mut(SEGMENT_HEAD..) {
        // What is missing of it reads as zeros.
        fill(file, rest)?;
    }
    let walk = Walk {
        file,
        page,
        begun: 0,
        at: SEGMENT_HEAD,
        magic: begin.magic,
        address: begin.address,
        sum: table(),
    };
    walk.end(&begin)
}

/// Returns where the last byte that isn't zero ends.
fn last_byte(begun: &[u8], file: &mut dyn Read) -> io::Result<u64> {
    let (mut end, mut at) = (0_u64, 0_u64);
    let mut look = |bytes: &[u8]| {
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            end = at + last as u64 + 1;
        }
        at += bytes.len() as u64;
    };
    look(begun);
    let mut buffer = vec![0; PAGE_MAX];
    loop {
        let read = fill(file, &mut buffer)?;
        look(buffer.get(..read).unwrap_or_default());
        if read < buffer.len() {
            return Ok(end);
        }
    }
}

/// Reads until a buffer is full or nothing more comes, and returns how much that was.
fn fill(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn eight(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What the head of a page says.
struct Page {
    magic: u16,
    flags: u16,
    address: u64,
    /// How much of the record comes that a page before has begun.
    rest: usize,
}

impl Page {
    fn of(head: &[u8]) -> Option<Self> {
        let magic = two(head, 0).filter(|magic| *magic != 0)?;
        let rest = usize::try_from(four(head, 16)?).ok()?;
        Some(Self { magic, flags: two(head, 2)?, address: eight(head, 8)?, rest })
    }
}

/// What comes behind a page.
enum Turned {
    /// The rest of the record.
    Goes,
    /// Another record: this one was given up.
    Anew,
    /// Nothing that belongs there.
    Ends,
}

/// A walk through a segment, from record to record.
struct Walk<'f> {
    file: &'f mut dyn Read,
    page: Vec<u8>,
    /// Where this page begins in the file, and where in it we are.
    begun: u64,
    at: usize,
    magic: u16,
    /// Where the segment begins in the WAL.
    address: u64,
    sum: [u32; 256],
}

impl Walk<'_> {
    /// Returns where the last whole record ends.
    fn end(mut self, first: &Page) -> io::Result<u64> {
        let mut end = 0;
        if first.flags & CONTINUES != 0 {
            // Its beginning lies in the segment before, and with that its checksum.
            if !self.skip(first.rest)? {
                return Ok(self.place());
            }
            end = self.place();
        }
        let mut before = None;
        loop {
            self.at = self.at.next_multiple_of(8);
            if self.at >= self.page.len() && !matches!(self.turn(0)?, Turned::Goes) {
                return Ok(end);
            }
            let begun = self.address.saturating_add(self.place());
            match self.record(begun, before)? {
                Turned::Goes => (before, end) = (Some(begun), self.place()),
                // It was never one.
                Turned::Anew => before = None,
                Turned::Ends => return Ok(end),
            }
        }
    }

    /// Returns where in the file we are.
    fn place(&self) -> u64 {
        self.begun.saturating_add(self.at as u64)
    }

    /// Goes over the rest of a record, and returns whether all of it is there.
    fn skip(&mut self, mut left: usize) -> io::Result<bool> {
        loop {
            let some = left.min(self.page.len().saturating_sub(self.at));
            (self.at, left) = (self.at + some, left - some);
            if left == 0 {
                return Ok(true);
            }
            match self.turn(left)? {
                Turned::Goes => {}
                Turned::Anew => return Ok(true),
                Turned::Ends => return Ok(false),
            }
        }
    }

    /// Reads the record that begins at `begun`; the one before it did at `before`, if that is known.
    fn record(&mut self, begun: u64, before: Option<u64>) -> io::Result<Turned> {
        let length = four(&self.page, self.at).and_then(|length| usize::try_from(length).ok());
        let Some(mut left) = length.filter(|length| *length >= RECORD_HEAD) else { return Ok(Turned::Ends) };
        let mut head: Vec<u8> = Vec::with_capacity(RECORD_HEAD);
        let mut sum = u32::MAX;
        loop {
            let rest = self.page.get(self.at..).unwrap_or_default();
            let some = rest.get(..left.min(rest.len())).unwrap_or_default();
            let (own, data) = some.split_at(some.len().min(RECORD_HEAD - head.len()));
            head.extend(own);
            sum = added(&self.sum, sum, data);
            (self.at, left) = (self.at + some.len(), left - some.len());
            // One that doesn't go on from the last is something older: nothing of it needs to be read.
            let comes_after = || match before {
                Some(before) => eight(&head, 8) == Some(before),
                None => eight(&head, 8).is_some_and(|before| before < begun),
            };
            if head.len() == RECORD_HEAD && !comes_after() {
                return Ok(Turned::Ends);
            }
            if left == 0 {
                break;
            }
            match self.turn(left)? {
                Turned::Goes => {}
                other => return Ok(other),
            }
        }
        let sum = added(&self.sum, sum, head.get(..SUM_AT).unwrap_or_default());
        Ok(if four(&head, SUM_AT) == Some(!sum) { Turned::Goes } else { Turned::Ends })
    }

    /// Goes to the next page, on which so much of a record is `left`.
    fn turn(&mut self, left: usize) -> io::Result<Turned> {
        let bytes = self.page.len();
        let read = fill(self.file, &mut self.page)?;
        // What is missing of it reads as zeros.
        self.page.get_mut(read..).unwrap_or_default().fill(0);
        let begun = self.begun.saturating_add(bytes as u64);
        let page = Page::of(&self.page)
            .filter(|page| page.magic == self.magic && page.address == self.address.saturating_add(begun));
        let Some(page) = page else { return Ok(Turned::Ends) };
        (self.begun, self.at) = (begun, if page.flags & LONG != 0 { SEGMENT_HEAD } else { PAGE_HEAD });
        Ok(match page.flags & CONTINUES != 0 {
            true if page.rest == left && left > 0 => Turned::Goes,
            true => Turned::Ends,
            false if left == 0 => Turned::Goes,
            false if page.flags & GIVEN_UP != 0 => Turned::Anew,
            false => Turned::Ends,
        })
    }
}

/// Returns what a byte does to a CRC-32C.
fn table() -> [u32; 256] {
    from_fn(|byte| {
        let byte = u32::try_from(byte).unwrap_or_default();
        (0..8).fold(byte, |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 })
    })
}

/// Adds bytes to a CRC-32C.
fn added(table: &[u32; 256], sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        table.get(usize::from(low ^ byte)).copied().unwrap_or_default() ^ sum >> 8
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As long as the shortest segment.
    pub(in crate::postgres) const BYTES: usize = 1 << 20;
    const PAGE: usize = 8192;
    /// Where the segments of these tests begin.
    const ADDRESS: u64 = 4 << 20;

    /// Returns a segment with records of these lengths of data, each filled with its byte, as a server writes them.
    pub(in crate::postgres) fn segment(records: &[(usize, u8)]) -> Vec<u8> {
        let mut file = vec![0; BYTES];
        let head = |file: &mut Vec<u8>, at: usize, rest: usize| {
            let flags = if at == 0 { LONG } else { 0 } | if rest > 0 { CONTINUES } else { 0 };
            file[at..at + 2].copy_from_slice(&0xD110_u16.to_ne_bytes());
            file[at + 2..at + 4].copy_from_slice(&flags.to_ne_bytes());
            file[at + 4..at + 8].copy_from_slice(&1_u32.to_ne_bytes());
            file[at + 8..at + 16].copy_from_slice(&(ADDRESS + at as u64).to_ne_bytes());
            file[at + 16..at + 20].copy_from_slice(&u32::try_from(rest).unwrap().to_ne_bytes());
        };
        head(&mut file, 0, 0);
        file[24..32].copy_from_slice(&77_u64.to_ne_bytes());
        file[32..36].copy_from_slice(&u32::try_from(BYTES).unwrap().to_ne_bytes());
        file[36..40].copy_from_slice(&u32::try_from(PAGE).unwrap().to_ne_bytes());
        let (mut at, mut before) = (SEGMENT_HEAD, ADDRESS - 100);
        for (data, byte) in records {
            at = at.next_multiple_of(8);
            if at % PAGE == 0 {
                head(&mut file, at, 0);
                at += PAGE_HEAD;
            }
            let mut record = vec![*byte; RECORD_HEAD + data];
            let length = u32::try_from(record.len()).unwrap();
            record[..4].copy_from_slice(&length.to_ne_bytes());
            record[8..16].copy_from_slice(&before.to_ne_bytes());
            let sum = added(&table(), added(&table(), u32::MAX, &record[RECORD_HEAD..]), &record[..SUM_AT]);
            record[SUM_AT..RECORD_HEAD].copy_from_slice(&(!sum).to_ne_bytes());
            before = ADDRESS + at as u64;
            for (done, byte) in record.iter().enumerate() {
                if at % PAGE == 0 {
                    head(&mut file, at, record.len() - done);
                    at += PAGE_HEAD;
                }
                file[at] = *byte;
                at += 1;
            }
        }
        file
    }

    fn end(file: &[u8]) -> u64 {
        end_of(&mut &*file).unwrap()
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(!added(&table(), u32::MAX, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_segment_ends_behind_its_last_whole_record_whatever_lies_behind() {
        let two = segment(&[(100, 1), (20_000, 2)]);
        let three = segment(&[(100, 1), (20_000, 2), (3_000, 3)]);
        let (second, third) = (end(&two), end(&three));
        assert_eq!(end(&segment(&[(100, 1)])), (SEGMENT_HEAD + RECORD_HEAD + 100) as u64);
        assert!(second > 20_124 && third > second + 3_000 && third < second + 3_200, "{second} {third}");
        // Zeros, junk, and the end of something longer.
        for junk in [0, 0xA5] {
            let mut hurt = three.clone();
            hurt[usize::try_from(second).unwrap() + 50..].fill(junk);
            assert_eq!(end(&hurt), second, "{junk}");
        }
        assert_eq!(end(&three[..usize::try_from(third).unwrap() - 1]), second);
        let mut hurt = three.clone();
        hurt[60] ^= 1;
        assert_eq!(end(&hurt), 0, "a record that was changed is none, nor is what follows");
        let mut moved = three;
        moved[PAGE + 8] ^= 0xFF;
        assert_eq!(end(&moved), (SEGMENT_HEAD + RECORD_HEAD + 100) as u64, "a page of another place");
    }

    #[test]
    fn what_is_no_segment_ends_at_its_last_byte() {
        assert_eq!((end(&[]), end(&[0; 99]), end(&[1, 2, 0, 0])), (0, 0, 2));
        let mut long = vec![0; PAGE_MAX * 2];
        long[PAGE_MAX + 5] = 1;
        assert_eq!(end(&long), PAGE_MAX as u64 + 6);
    }
}

//! How far a file of a binary log is what its server wrote: by the sum that each event ends with.
//!
//! A machine that lost power leaves files that are as long as they were, with zeros at their end; a disk that fails, or an intruder, leaves anything anywhere.
//! What follows on such a place can't be read by `mariadb-binlog` either. So a log ends there, and nothing behind it takes the place of what is kept.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

const MAGIC: &[u8; 4] = b"\xfebin";
const HEADER_BYTES: usize = 19;
/// The event that each file begins with: which says whether the others have sums, five bytes before its end.
const DESCRIBES: u8 = 15;
const DESCRIBES_BYTES_MIN: u64 = 81;
const DESCRIBES_BYTES_MAX: u64 = 1 << 16;
const CRC32: u8 = 1;
const SUM_BYTES: u64 = 4;
/// A flag of that first event says that its server has the file open. Its sum is without it, and a server sends it without.
pub(in crate::mariadb) const FLAG_AT: u64 = 4 + 17;
pub(in crate::mariadb) const IN_USE: u8 = 1;

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::mariadb) struct Walk {
    /// Where the last event ends that is whole and right.
    pub(in crate::mariadb) end: u64,
    /// What begins there is nothing that a server wrote. Without it, it may be the beginning of an event.
    pub(in crate::mariadb) is_wrong: bool,
    has_sums: bool,
}

/// The beginning of an event.
struct Header {
    bytes: [u8; HEADER_BYTES],
    kind: u8,
    length: u64,
    /// Where it says that it ends: the last bits of that.
    next: u32,
}

impl Walk {
    /// Reads a file of so many bytes from its beginning.
    pub(in crate::mariadb) fn of(file: &mut File, bytes: u64) -> io::Result<Self> {
        let mut walk = Self::default();
        walk.on(file, bytes)?;
        Ok(walk)
    }

    /// Reads on, in a file that has so many bytes by now.
    pub(in crate::mariadb) fn on(&mut self, file: &mut File, bytes: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.end))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        if self.end == 0 && !self.is_wrong && bytes >= MAGIC.len() as u64 {
            let mut magic = [0; MAGIC.len()];
            file.read_exact(&mut magic)?;
            self.is_wrong = &magic != MAGIC;
            self.end = if self.is_wrong { 0 } else { MAGIC.len() as u64 };
        }
        while !self.is_wrong && self.end >= 4 && self.end + HEADER_BYTES as u64 <= bytes {
            let header = Header::read(&mut file)?;
            let end = self.end.saturating_add(header.length);
            // Some events are said to end nowhere, and nothing is one of no kind.
            let is_here = header.next == 0 || u64::from(header.next) == end & u64::from(u32::MAX);
            if header.length < HEADER_BYTES as u64 || header.kind == 0 || !is_here && !self.has_sums {
                self.is_wrong = true;
            } else if end > bytes {
                self.is_wrong = !is_here;
                break;
            } else if self.is_right(&header, &mut file)? {
                self.end = end;
            } else {
                self.is_wrong = true;
            }
        }
        Ok(())
    }

    /// Reads the rest of an event that is all there. Returns whether it is as it was written.
    fn is_right(&mut self, header: &Header, file: &mut impl BufRead) -> io::Result<bool> {
        let rest = header.length - HEADER_BYTES as u64;
        if header.kind == DESCRIBES && header.length >= DESCRIBES_BYTES_MIN {
            if header.length > DESCRIBES_BYTES_MAX {
                return Ok(false);
            }
            let mut body = Vec::new();
            (&mut *file).take(rest).read_to_end(&mut body)?;
            let Some((body, sum)) = body.split_last_chunk::<4>() else { return Ok(false) };
            let mut head = header.bytes;
            without_flag(&mut head, MAGIC.len() as u64);
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&head);
            hasher.update(body);
            self.has_sums = body.last() == Some(&CRC32);
            return Ok(hasher.finalize() == u32::from_le_bytes(*sum));
        }
        if !self.has_sums {
            skip(file, rest, |_| ())?;
            return Ok(true);
        }
        let Some(summed) = rest.checked_sub(SUM_BYTES) else { return Ok(false) };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header.bytes);
        skip(file, summed, |bytes| hasher.update(bytes))?;
        let mut sum = [0; 4];
        file.read_exact(&mut sum)?;
        Ok(hasher.finalize() == u32::from_le_bytes(sum))
    }
}

impl Header {
    fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact(&mut bytes)?;
        let [_, _, _, _, kind, _, _, _, _, l0, l1, l2, l3, n0, n1, n2, n3, _, _] = bytes;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        Ok(Self { bytes, kind, length, next: u32::from_le_bytes([n0, n1, n2, n3]) })
    }
}

/// Hands so many bytes to `each`, in parts.
fn skip(file: &mut impl BufRead, bytes: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let some = file.fill_buf()?;
        if some.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(some.len());
        each(some.get(..taken).unwrap_or_default());
        file.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// The files of a log in order, what is missing behind them, and what another server has written behind that.
type Assembled = (Vec<PathBuf>, Option<String>, Vec<PathBuf>);

/// Cuts files of ours where something in them is damaged: behind that, nothing is known to follow.
pub(super) fn cut((mut files, mut missing, mut behind): Assembled) -> io::Result<Assembled> {
    let count = files.len();
    for (nth, path) in files.iter().enumerate() {
        let mut file = File::options().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        let walk = Walk::of(&mut file, bytes)?;
        // The last may end in the middle of an event: more of it was on its way.
        if walk.is_wrong || walk.end < bytes && nth + 1 < count {
            file.set_len(walk.end)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            missing = Some(format!("the rest of {name}, which is damaged behind {},", walk.end));
            behind.clear();
            files.truncate(nth + 1);
            break;
        }
    }
    Ok((files, missing, behind))
}

/// Returns whether `here` begins, at this byte, with all that `kept` has. The flag of a file that is open makes no difference.
pub(in crate::mariadb) fn goes_on(kept: &mut File, here: &mut File, begin: u64) -> io::Result<bool> {
    let mut left = kept.metadata()?.len();
    kept.seek(SeekFrom::Start(0))?;
    here.seek(SeekFrom::Start(begin))?;
    let (mut kept, mut here) = (BufReader::new(kept), BufReader::new(here));
    let mut offset = begin;
    let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(a.len());
        let (Some(a), Some(b)) = (a.get_mut(..part), b.get_mut(..part)) else { return Ok(false) };
        kept.read_exact(a)?;
        match here.read_exact(b) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        without_flag(a, offset);
        without_flag(b, offset);
        if a != b {
            return Ok(false);
        }
        left -= part as u64;
        offset += part as u64;
    }
    Ok(true)
}

/// Takes the flag of an open file out of bytes that begin there in it.
pub(in crate::mariadb) fn without_flag(bytes: &mut [u8], begin: u64) {
    let at = FLAG_AT.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
    if let Some(flag) = at.and_then(|at| bytes.get_mut(at)) {
        *flag &= !IN_USE;
    }
}

#[cfg(test)]
pub(in crate::mariadb) mod tests {
    use super::*;

    /// The beginning of a file as a server writes it that has it open, with sums or without.
    pub(in crate::mariadb) fn head(second: u32, has_sums: bool) -> Vec<u8> {
        let mut body = vec![0; 82];
        body.push(u8::from(has_sums));
        let mut file = MAGIC.to_vec();
        add(&mut file, DESCRIBES, second, &body, true);
        file[usize::try_from(FLAG_AT).unwrap()] |= IN_USE;
        file
    }

    /// Adds an event.
    pub(in crate::mariadb) fn add(file: &mut Vec<u8>, kind: u8, second: u32, body: &[u8], has_sum: bool) {
        let length = HEADER_BYTES + body.len() + if has_sum { 4 } else { 0 };
        let next = u32::try_from(file.len() + length).unwrap();
        let mut event = second.to_le_bytes().to_vec();
        event.push(kind);
        event.extend(7u32.to_le_bytes());
        event.extend(u32::try_from(length).unwrap().to_le_bytes());
        event.extend(next.to_le_bytes());
        event.extend([0; 2]);
        event.extend(body);
        if has_sum {
            event.extend(crc32fast::hash(&event).to_le_bytes());
        }
        file.extend(event);
    }

    fn walk(bytes: &[u8]) -> (u64, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let walk = Walk::of(&mut File::open(file.path()).unwrap(), bytes.len() as u64).unwrap();
        (walk.end, walk.is_wrong)
    }

    #[test]
    fn a_log_ends_where_its_server_has_not_written_it() {
        for has_sums in [true, false] {
            let mut whole = head(100, has_sums);
            let first = whole.len();
            add(&mut whole, 2, 101, b"insert one", has_sums);
            let second = whole.len();
            add(&mut whole, 2, 102, b"insert two", has_sums);
            let (all, second) = (whole.len() as u64, second as u64);
            assert_eq!(walk(&whole), (all, false));
            // Its server has ended in the middle of an event.
            let at = |end: u64| whole.get(..usize::try_from(end).unwrap()).unwrap().to_vec();
            for torn in [1, 5, 12] {
                assert_eq!(walk(&at(all - torn)), (second, false), "{torn}");
            }
            // What was to come is zeros, or something else.
            let mut zeros = at(second);
            zeros.resize(whole.len(), 0);
            assert_eq!(walk(&zeros), (second, true));
            let mut junk = at(second);
            junk.resize(whole.len(), 0xA7);
            assert_eq!(walk(&junk), (second, true));
            // And what is as long as it should be has another content.
            let mut changed = whole.clone();
            changed[first + HEADER_BYTES + 3] ^= 1;
            let wanted = if has_sums { (first as u64, true) } else { (all, false) };
            assert_eq!(walk(&changed), wanted);
        }
        assert_eq!(walk(b"something else"), (0, true));
        assert_eq!(walk(b"\xfe"), (0, false));
        let mut spoilt = head(100, true);
        spoilt[40] ^= 1;
        assert_eq!(walk(&spoilt), (4, true));
    }

    #[test]
    fn a_file_that_grows_is_read_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = head(100, true);
        let mut walk = Walk::default();
        for nth in 0..3 {
            let before = bytes.len() as u64;
            add(&mut bytes, 2, 101, b"insert", true);
            std::fs::write(file.path(), &bytes).unwrap();
            let mut open = File::open(file.path()).unwrap();
            walk.on(&mut open, bytes.len() as u64 - 1).unwrap();
            assert_eq!((walk.end, walk.is_wrong), (before, false), "{nth}");
            walk.on(&mut open, bytes.len() as u64).unwrap();
            assert_eq!(walk.end, bytes.len() as u64);
        }
    }

    #[test]
    fn a_damaged_log_is_replayed_up_to_the_damage_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = head(100, true);
        let end = whole.len();
        add(&mut whole, 2, 101, b"insert", true);
        let mut zeros = whole.clone();
        zeros[end..].fill(0);
        let torn = &whole[..whole.len() - 3];
        let cut = |contents: &[&[u8]]| {
            let paths = contents.iter().enumerate().map(|(nth, content)| {
                let path = folder.path().join(format!("b.00000{nth}"));
                std::fs::write(&path, content).unwrap();
                path
            });
            let (files, missing, _) = cut((paths.collect(), None, Vec::new())).unwrap();
            let last = files.last().unwrap().metadata().unwrap().len();
            (files.len(), usize::try_from(last).unwrap(), missing)
        };
        let damaged = |nth| Some(format!("the rest of b.00000{nth}, which is damaged behind {end},"));
        assert_eq!(cut(&[&whole, &whole]), (2, whole.len(), None));
        assert_eq!(cut(&[&whole, torn]), (2, torn.len(), None));
        assert_eq!(cut(&[&whole, &zeros]), (2, end, damaged(1)));
        assert_eq!(cut(&[torn, &whole]), (1, end, damaged(0)));
        assert_eq!(cut(&[&zeros, &whole]), (1, end, damaged(0)));
    }

    #[test]
    fn what_goes_on_begins_with_all_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            File::open(path).unwrap()
        };
        let mut disk = head(100, true);
        let mut kept = disk.clone();
        without_flag(&mut kept, 0);
        add(&mut disk, 2, 101, b"insert", true);
        let is = |kept: &[u8], disk: &[u8], begin: u64| {
            goes_on(&mut file("kept", kept), &mut file("disk", disk), begin).unwrap()
        };
        assert!(is(&kept, &disk, 0));
        assert!(is(&disk[50..60], &disk, 50));
        assert!(!is(&disk, &kept, 0));
        assert!(!is(&[1; 30], &disk, 0));
    }
}

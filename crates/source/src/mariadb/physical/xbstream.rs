//! The stream in which `mariadb-backup` sends its files: chunks of many files, one after the other, each with its checksum.
//!
//! ```text
//! "XBSTCK01" | flags 1 | type 1 | length of the path 4 | path | P: length 8, offset 8, CRC-32 4, bytes
//!                                                              E: nothing; the file has ended
//! ```

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const MAGIC: &[u8; 8] = b"XBSTCK01";
/// Chunks of this kind may be passed over by whoever doesn't know them.
const IGNORABLE: u8 = 1;
const PATH_MAX: u32 = 4096;
/// `mariadb-backup` sends ten megabytes at a time.
const PAYLOAD_MAX: u64 = 256 << 20;

/// A chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk<'a> {
    /// The next bytes of a file.
    Bytes(PathBuf, &'a [u8], u64),
    /// The end of a file.
    End(PathBuf),
}

/// Reads chunks.
pub(super) struct Chunks<R> {
    from: R,
    payload: Vec<u8>,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, payload: Vec::new() }
    }

    /// Returns where it reads from.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// Returns the next chunk; `None` where the stream ends between two. What isn't as it was sent is an error.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk<'_>>> {
        loop {
            let mut magic = [0; 8];
            match self.read(&mut magic)? {
                0 => return Ok(None),
                8 if magic == *MAGIC => {}
                8 => return Err(wrong("what it sends is no stream of files")),
                _ => return Err(early()),
            }
            let [flags, kind, a, b, c, d] = self.exactly::<6>()?;
            let length = u32::from_le_bytes([a, b, c, d]);
            if length > PATH_MAX {
                return Err(wrong("a path in its stream is too long"));
            }
            let mut path = vec![0; length as usize];
            if self.read(&mut path)? < path.len() {
                return Err(early());
            }
            match kind {
                b'E' => return Ok(Some(Chunk::End(inner(&path)?))),
                // Whatever it is, it is built like bytes.
                b'P' => {}
                _ if flags & IGNORABLE != 0 => {}
                _ => return Err(wrong("its stream holds something that is not known here")),
            }
            let bytes = u64::from_le_bytes(self.exactly()?);
            let offset = u64::from_le_bytes(self.exactly()?);
            let checksum = u32::from_le_bytes(self.exactly()?);
            if bytes > PAYLOAD_MAX {
                return Err(wrong("a chunk in its stream is too long"));
            }
            let mut payload = std::mem::take(&mut self.payload);
            payload.resize(usize::try_from(bytes).unwrap_or_default(), 0);
            let is_whole = self.read(&mut payload)? == payload.len();
            self.payload = payload;
            if !is_whole {
                return Err(early());
            }
            if crc32fast::hash(&self.payload) != checksum {
                return Err(wrong("its stream was damaged on the way: a checksum is wrong"));
            }
            if kind == b'P' {
                return Ok(Some(Chunk::Bytes(inner(&path)?, &self.payload, offset)));
            }
        }
    }

    /// Fills the buffer, unless the stream ends.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.from.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn exactly<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        if self.read(&mut bytes)? == N { Ok(bytes) } else { Err(early()) }
    }
}

/// Returns a path that stays inside of the data directory.
fn inner(path: &[u8]) -> io::Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let is_plain = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let plain: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match path.components().all(|part| is_plain(&part)) && plain.components().next().is_some() {
        true => Ok(plain),
        false => {
            Err(wrong(&format!("it sends {}, which lies outside of the data directory", path.display())))
        }
    }
}

fn early() -> io::Error {
    wrong("its stream ended early")
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(path: &str, payload: &[u8], offset: u64) -> Vec<u8> {
        let mut chunk =
            [&MAGIC[..], &[0, b'P'], &(path.len() as u32).to_le_bytes(), path.as_bytes()].concat();
        chunk.extend((payload.len() as u64).to_le_bytes());
        chunk.extend(offset.to_le_bytes());
        chunk.extend(crc32fast::hash(payload).to_le_bytes());
        chunk.extend(payload);
        chunk
    }

    fn end(path: &str) -> Vec<u8> {
        [&MAGIC[..], &[0, b'E'], &(path.len() as u32).to_le_bytes(), path.as_bytes()].concat()
    }

    /// Returns the names and lengths of all chunks, and how the stream ended.
    fn read(stream: &[u8]) -> (Vec<(String, Option<usize>)>, io::Result<()>) {
        let (mut chunks, mut found) = (Chunks::new(stream), Vec::new());
        loop {
            match chunks.next() {
                Ok(Some(Chunk::Bytes(path, bytes, _))) => {
                    found.push((path.display().to_string(), Some(bytes.len())));
                }
                Ok(Some(Chunk::End(path))) => found.push((path.display().to_string(), None)),
                Ok(None) => return (found, Ok(())),
                Err(error) => return (found, Err(error)),
            }
        }
    }

    #[test]
    fn files_come_in_pieces_among_each_other_and_what_may_be_passed_over_is() {
        let mut strange = bytes("x", b"?", 0);
        (strange[8], strange[9]) = (IGNORABLE, b'S');
        let stream = [bytes("./a/b.ibd", b"one", 0), strange, bytes("c", b"", 0), end("c"), end("a/b.ibd")];
        let (found, ended) = read(&stream.concat());
        ended.unwrap();
        let expected = [("a/b.ibd", Some(3)), ("c", Some(0)), ("c", None), ("a/b.ibd", None)];
        assert_eq!(found, expected.map(|(path, length)| (path.to_owned(), length)));
    }

    #[test]
    fn what_was_damaged_or_leads_elsewhere_is_an_error() {
        let mut damaged = bytes("a", b"payload", 0);
        *damaged.last_mut().unwrap() ^= 1;
        let mut unknown = bytes("a", b"", 0);
        unknown[9] = b'S';
        for (stream, why) in [
            (damaged, "checksum is wrong"),
            (unknown, "not known here"),
            (bytes("../a", b"x", 0), "outside of the data directory"),
            (bytes("/etc/passwd", b"x", 0), "outside of the data directory"),
            (end(""), "outside of the data directory"),
            (b"completed OK!".to_vec(), "no stream of files"),
        ] {
            let error = read(&stream).1.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_stream_that_was_cut_inside_of_a_chunk_is_never_whole(cut in 1usize..200) {
            let stream = [bytes("a", &[7; 60], 0), end("a"), bytes("b/c", &[8; 40], 0), end("b/c")];
            let between: Vec<usize> = stream.iter().scan(0, |at, chunk| { *at += chunk.len(); Some(*at) }).collect();
            let whole = stream.concat();
            let cut = cut.min(whole.len());
            prop_assert_eq!(read(&whole[..cut]).1.is_ok(), between.contains(&cut));
        }

        #[test]
        fn any_bytes_are_a_stream_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
        }
    }
}

//! What a test's input holds: bytes in memory that nobody changes.

use std::io;
use vault::Content;

pub(crate) struct Bytes(pub(crate) io::Cursor<Vec<u8>>);

impl io::Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Bytes {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        Ok(true)
    }
}

//! A file that a program reads, as fast as it takes it.

use super::PIECE_BYTES;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ChildStdin;

pub(super) struct Feed {
    pub(super) file: File,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) buffer: Vec<u8>,
    pub(super) sent: u64,
}

impl Feed {
    /// Sends what the program takes now. A program that stops reading is judged by how it ends.
    pub(super) fn send(&mut self) -> io::Result<()> {
        while let Some(stdin) = &mut self.stdin {
            if self.buffer.is_empty() {
                self.buffer.resize(PIECE_BYTES, 0);
                let read = self.file.read(&mut self.buffer)?;
                self.buffer.truncate(read);
                if read == 0 {
                    self.stdin = None;
                    continue;
                }
            }
            match stdin.write(&self.buffer) {
                Ok(taken) => {
                    self.sent += taken as u64;
                    self.buffer.drain(..taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

//! An open file, read from its start: holes without reading the disk, and a look back at the end.

use super::grew::Beginning;
use super::reach::stat_open;
use crate::machine;
use rustix::fs::{Advice, FileType, SeekFrom, Statx, fadvise, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use vault::{Content, Node, NodeKind, Timestamp};

/// From this length on the kernel is told that we read on and on: below, it reads it all ahead anyway.
const ADVISE_MIN_BYTES: u64 = 1 << 20;

/// An open regular file.
pub(super) struct FileContent {
    file: File,
    listed: Identity,
    opened: Identity,
    holes: Option<Holes>,
    /// What is read: no more than was there when it was opened. Where the kernel makes content up it has no length, and all is read.
    beginning: Option<Beginning>,
}

/// What tells one content of one file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

/// Where in a file with holes we are.
struct Holes {
    position: u64,
    /// Data go from `position` to here if `in_data`, zeros otherwise.
    until: u64,
    in_data: bool,
}

impl FileContent {
    /// Takes over the file that was opened for the entry `node`.
    pub(super) fn new(fd: OwnedFd, node: &Node) -> io::Result<Self> {
        let stat = stat_open(fd.as_fd())?;
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return Err(io::Error::other("is no longer a regular file"));
        }
        let opened = Identity::of(&stat);
        if opened.size >= ADVISE_MIN_BYTES {
            // Advice that isn't taken is no error.
            let _ = fadvise(&fd, 0, None, Advice::Sequential);
        }
        let sparse = matches!(machine::node(Vec::new(), &stat).kind, NodeKind::File { sparse: true, .. });
        Ok(Self {
            file: File::from(fd),
            listed: Identity {
                device: node.meta.device,
                inode: node.meta.inode,
                size: node.size(),
                mtime: node.meta.mtime,
                ctime: node.meta.ctime,
            },
            opened,
            beginning: (opened.size > 0).then(|| Beginning::of(opened.size)),
            holes: sparse.then_some(Holes { position: 0, until: 0, in_data: true }),
        })
    }
}

impl Identity {
    fn of(stat: &Statx) -> Self {
        let node = machine::node(Vec::new(), stat);
        Self {
            device: node.meta.device,
            inode: node.meta.inode,
            size: stat.stx_size,
            mtime: node.meta.mtime,
            ctime: node.meta.ctime,
        }
    }
}

impl Read for FileContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.beginning.as_ref().map_or(u64::MAX, Beginning::left);
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let read = match &mut self.holes {
            None => self.file.read(buffer)?,
            Some(holes) => holes.read(&self.file, buffer)?,
        };
        if let Some(beginning) = &mut self.beginning {
            beginning.pass(buffer.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}

impl Holes {
    fn read(&mut self, file: &File, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || (self.position >= self.until && !self.next(file)?) {
            return Ok(0);
        }
        let room = usize::try_from(self.until - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..room).unwrap_or_default();
        let read = match self.in_data {
            true => file.read_at(piece, self.position)?,
            false => {
                piece.fill(0);
                room
            }
        };
        self.position += read as u64;
        Ok(read)
    }

    /// Finds the stretch that begins here. Returns false at the end of the file.
    fn next(&mut self, file: &File) -> io::Result<bool> {
        let size = stat_open(file.as_fd())?.stx_size;
        if self.position >= size {
            return Ok(false);
        }
        let data = match seek(file, SeekFrom::Data(self.position)) {
            Ok(data) => data.min(size),
            Err(Errno::NXIO) => size,
            // A file system that can't tell, for whatever reason: all is data. Where the holes are is a detail.
            Err(_) => self.position,
        };
        self.in_data = data == self.position;
        self.until = match self.in_data {
            true => seek(file, SeekFrom::Hole(self.position)).unwrap_or(size).clamp(self.position + 1, size),
            false => data,
        };
        Ok(true)
    }
}

impl Content for FileContent {
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool> {
        let now = Identity::of(&stat_open(self.file.as_fd())?);
        if now == self.opened && now == self.listed && now.size == bytes_read {
            return Ok(true);
        }
        let same = |one: &Identity| (one.device, one.inode) == (now.device, now.inode);
        let grew = same(&self.listed)
            && same(&self.opened)
            && self.listed.size <= self.opened.size
            && self.opened.size <= now.size
            && self.listed.size < now.size;
        match &self.beginning {
            Some(beginning) if grew && bytes_read == self.opened.size => beginning.stands_in(&self.file),
            _ => Ok(false),
        }
    }

    fn hole(&mut self) -> u64 {
        let Some(holes) = &mut self.holes else { return 0 };
        let here = holes.position < holes.until || holes.next(&self.file).unwrap_or(false);
        let hole = if here && !holes.in_data { holes.until - holes.position } else { 0 };
        hole.min(self.beginning.as_ref().map_or(u64::MAX, Beginning::left))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match &mut self.holes {
            Some(holes) if !holes.in_data && bytes <= holes.until - holes.position => {
                holes.position += bytes;
                if let Some(beginning) = &mut self.beginning {
                    beginning.skip(bytes);
                }
                Ok(())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

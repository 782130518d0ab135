//! An input that holds one file, and the directories on the way to it: what databases and commands are captured as.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use vault::{Content, Input, Meta, Node, NodeKind, Timestamp, Unread};

/// One file, with the directories above it.
pub(crate) struct Lone<S> {
    /// Outermost first, the file last. Complete: there is nothing left for `describe`.
    pub(crate) chain: Vec<Node>,
    /// Where the content comes from.
    pub(crate) stream: S,
}

/// Where the content of the one file comes from.
pub(crate) trait Stream: Send + Sync {
    /// Opens it, from its start.
    fn open(&self) -> io::Result<Box<dyn Content>>;
    /// What went wrong as a whole.
    fn finish(&self) -> Vec<Unread>;
    /// What is to be said of it that is no fault.
    fn notes(&self) -> Vec<Unread> {
        Vec::new()
    }
    /// What it waits for in vain.
    fn waits(&self) -> Option<String> {
        None
    }
    /// Where in the system's log it lies.
    fn position(&self) -> Option<String> {
        None
    }
}

impl<S> Lone<S> {
    /// Returns a file at the root that there is only while it is read.
    pub(crate) fn streamed(name: &str, now: Timestamp, stream: S) -> Self {
        let meta = Meta { mode: 0o600, mtime: now, atime: now, ctime: now, links: 1, ..Meta::default() };
        let kind = NodeKind::File { size: 0, content: Vec::new(), sparse: false };
        Self { chain: vec![Node { name: name.as_bytes().to_vec(), meta, kind }], stream }
    }

    /// Returns the entry of the chain at `path`, and the one below it.
    fn depth(&self, path: &Path) -> io::Result<usize> {
        let depth = path.components().count();
        let same = |(node, part): (&Node, std::path::Component<'_>)| {
            OsStr::from_bytes(&node.name) == part.as_os_str()
        };
        match depth <= self.chain.len() && self.chain.iter().zip(path.components()).all(same) {
            true => Ok(depth),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl<S: Stream> Input for Lone<S> {
    fn list(&self, dir: &Path, _unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        match self.chain.get(self.depth(dir)?) {
            Some(node) => Ok(vec![node.clone()]),
            None => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn describe(&self, _path: &Path, _node: &mut Node) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        match self.depth(path)? == self.chain.len() {
            true => self.stream.open(),
            false => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn finish(&self) -> Vec<Unread> {
        self.stream.finish()
    }

    fn notes(&self) -> Vec<Unread> {
        self.stream.notes()
    }

    fn waits(&self) -> Option<String> {
        self.stream.waits()
    }

    fn position(&self) -> Option<String> {
        self.stream.position()
    }
}

/// A file that nobody writes to any more.
pub(crate) struct Whole {
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Content for Whole {
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool> {
        Ok(bytes_read == self.bytes)
    }
}

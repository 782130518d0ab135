//! One entry of a tree: a file, a directory, a link, with everything that is needed to put it back.

use crate::BlobId;

/// A point in time, as file systems keep it: seconds since 1970 (negative before) and nanoseconds (0 to 999,999,999).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

/// An extended attribute. ACLs and capabilities are kept as the attributes that Linux stores them in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// Name with its namespace, `user.comment` say. Any bytes but NUL.
    pub name: Vec<u8>,
    /// Value, any bytes.
    pub value: Vec<u8>,
}

/// What every entry has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner, by number.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// Owner, by name, where the machine knew one.
    pub user: Option<String>,
    /// Group, by name, where the machine knew one.
    pub group: Option<String>,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last access. Equal to `mtime` where a source doesn't keep it.
    pub atime: Timestamp,
    /// Last change of the inode: can't be set, serves to see that nothing changed.
    pub ctime: Timestamp,
    /// Inode number; 0 where there is none.
    pub inode: u64,
    /// Number of the file system that the inode is on.
    pub device: u64,
    /// How many names the inode has. More than 1 on a file: a hard link.
    pub links: u64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// What of all this could not be read or kept, each with why: `attribute user.x: Permission denied`. Nearly always empty.
    pub unread: Vec<String>,
}

/// A character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// The blobs whose plain texts, one after another, are the content.
        content: Vec<BlobId>,
        /// It had holes: put zeros back as holes.
        sparse: bool,
    },
    /// A directory; its tree is known once it has been stored.
    Dir {
        /// The blob that lists what is in it.
        subtree: Option<BlobId>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as stored: any bytes.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket. Kept for completeness; a restore makes none, since a dead socket serves nobody.
    Socket,
    /// A device.
    Device {
        /// Which sort.
        kind: DeviceKind,
        /// The device number, as `stat` gives it in `st_rdev`.
        number: u64,
    },
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name in the directory: any bytes but `/` and NUL when it comes from a source; *anything* when it comes
    /// from a vault, so a restore must look before it uses it.
    pub name: Vec<u8>,
    /// Owner, times, mode, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: NodeKind,
}

impl Node {
    /// Returns the length of a file in bytes, 0 for everything else.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self.kind {
            NodeKind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Returns whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, NodeKind::Dir { .. })
    }
}

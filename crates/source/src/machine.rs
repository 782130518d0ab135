//! What the machine says about an entry, turned into the words of a restore point.

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp, makedev, statx};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use vault::{DeviceKind, Meta, Node, NodeKind, Timestamp, Xattr};

/// Holes are cut in whole blocks, and no file system uses smaller ones for files longer than this.
const SPARSE_MIN_BYTES: u64 = 4096;

/// Returns the entry that `stat` describes.
pub(crate) fn node(name: Vec<u8>, stat: &Statx) -> Node {
    let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => NodeKind::Dir { subtree: None },
        FileType::Symlink => NodeKind::Symlink { target: Vec::new() },
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::CharacterDevice => device(DeviceKind::Character, stat),
        FileType::BlockDevice => device(DeviceKind::Block, stat),
        _ => NodeKind::File {
            size: stat.stx_size,
            content: Vec::new(),
            sparse: stat.stx_size >= SPARSE_MIN_BYTES && stat.stx_blocks.saturating_mul(512) < stat.stx_size,
        },
    };
    let meta = Meta {
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: timestamp(stat.stx_mtime),
        atime: timestamp(stat.stx_atime),
        ctime: timestamp(stat.stx_ctime),
        inode: stat.stx_ino,
        device: device_of(stat),
        links: stat.stx_nlink.into(),
        ..Meta::default()
    };
    Node { name, meta, kind }
}

/// A look at an entry itself, which mounts nothing.
pub(crate) const LOOK: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

/// Looks at what lies at `path`.
pub(crate) fn look(path: &Path) -> Result<Statx, Errno> {
    statx(CWD, path, LOOK, StatxFlags::BASIC_STATS)
}

/// Returns the number of the file system that the entry is on.
pub(crate) fn device_of(stat: &Statx) -> u64 {
    makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

fn device(kind: DeviceKind, stat: &Statx) -> NodeKind {
    NodeKind::Device { kind, number: makedev(stat.stx_rdev_major, stat.stx_rdev_minor) }
}

fn timestamp(stamp: StatxTimestamp) -> Timestamp {
    Timestamp { seconds: stamp.tv_sec, nanos: stamp.tv_nsec }
}

/// How many attributes of one entry that can't be read are named; the others are counted.
const NAMED_MAX: usize = 3;

/// Fills in the extended attributes of the entry at `path` itself (a link is not followed), sorted by name, and names those that can't be read.
pub(crate) fn fill_xattrs(path: &[u8], meta: &mut Meta) {
    let (xattrs, mut unread) = xattrs(path);
    if unread.len() > NAMED_MAX {
        let more = unread.split_off(NAMED_MAX).len();
        unread.push(format!("and {more} more attributes"));
    }
    meta.xattrs = xattrs;
    meta.unread.append(&mut unread);
}

/// Returns the extended attributes of the entry at `path` itself, and of those that can't be read, why.
pub(crate) fn xattrs(path: &[u8]) -> (Vec<Xattr>, Vec<String>) {
    let names = match grow(|buffer| rustix::fs::llistxattr(path, buffer)) {
        Ok(names) => names,
        // The file system keeps none.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return (Vec::new(), Vec::new()),
        Err(error) => {
            let why = format!("its attributes could not be listed: {}", io::Error::from(error));
            return (Vec::new(), vec![why]);
        }
    };
    let (mut xattrs, mut unread) = (Vec::new(), Vec::new());
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        match grow(|buffer| rustix::fs::lgetxattr(path, name, buffer)) {
            Ok(value) => xattrs.push(Xattr { name: name.to_owned(), value }),
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => {
                let name = String::from_utf8_lossy(name);
                unread.push(format!("attribute {name}: {}", io::Error::from(error)));
            }
        }
    }
    xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    (xattrs, unread)
}

/// Calls `read` with ever larger buffers until what it has to say fits. Linux keeps 64 KiB per attribute and per list at most.
fn grow(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut large = vec![0; 64 * 1024 + 1];
    let length = read(&mut large)?;
    large.truncate(length);
    Ok(large)
}

/// The names of owners, each looked up once: a directory service may stand behind them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    users: RwLock<HashMap<u32, Option<String>>>,
    groups: RwLock<HashMap<u32, Option<String>>>,
}

impl Names {
    /// Fills in the names of the owners of `meta`, where the machine knows them.
    pub(crate) fn fill(&self, meta: &mut Meta) {
        use nix::unistd::{Gid, Group, Uid, User};
        meta.user = known(&self.users, meta.uid, |id| {
            User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name)
        });
        meta.group = known(&self.groups, meta.gid, |id| {
            Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name)
        });
    }
}

fn known(
    cache: &RwLock<HashMap<u32, Option<String>>>,
    id: u32,
    look_up: impl FnOnce(u32) -> Option<String>,
) -> Option<String> {
    if let Some(name) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return name.clone();
    }
    let name = look_up(id);
    cache.write().unwrap_or_else(PoisonError::into_inner).insert(id, name.clone());
    name
}

/// Locks, also after somebody panicked while he held it.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the absolute path inside the restore point: without its leading slash.
pub(crate) fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

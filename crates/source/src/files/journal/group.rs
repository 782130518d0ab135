//! The kernel's own account of what changes: a fanotify group, and what its events say.
//!
//! Events name directories and files by the handles of their file system. A handle is read for the inode number in it, which is coarser than
//! the handle: a number that is used again makes too much look changed, never too little.

use super::Key;
use crate::machine::device_of;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, major, minor, open, statvfs, statx};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// From linux/fanotify.h: events name the directory, and the file too, so that one without a known directory isn't dropped.
const REPORT: u32 = 0x200 | 0x400;

/// Of an event's records: the object itself; its directory, with a name or without.
const OBJECT: u8 = 1;
const DIRECTORY: [u8; 2] = [2, 3];

/// An event's head, and that of each of its records with file system, handle length and handle kind.
const HEAD: usize = 24;
const RECORD_HEAD: usize = 4 + 8 + 8;

/// Bytes that are read at once: some thousand events.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// What an event tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Something changed in this directory, or of itself.
    Directory(Key),
    /// Something changed of a file of which no directory is told: a name more or less, or a write by someone who opened it by number.
    Loose(Key),
    /// A file is gone, and its number free.
    Gone(Key),
    /// Events were dropped, or one makes no sense.
    Lost,
}

/// A group, and the file systems that it watches.
#[derive(Debug)]
pub(super) struct Group {
    fanotify: Fanotify,
    marked: RwLock<Marked>,
}

#[derive(Debug, Default)]
struct Marked {
    devices: HashMap<u64, Layout>,
    /// The devices of a file system's own id: copies of a disk have the same.
    ids: HashMap<u64, Vec<u64>>,
}

/// How a file system puts an inode number into a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// ext4: number, generation.
    Ext4,
    /// XFS: number of 64 bits (or 32), generation.
    Xfs,
    /// tmpfs: generation, number.
    Tmpfs,
}

impl Layout {
    /// Returns how handles of this kind of file system are made. Others don't tell of all changes, or it isn't known that they do.
    pub(super) fn of(kind: &str) -> Option<Self> {
        match kind {
            "ext4" => Some(Self::Ext4),
            "xfs" => Some(Self::Xfs),
            "tmpfs" => Some(Self::Tmpfs),
            _ => None,
        }
    }

    fn inode(self, kind: u32, handle: &[u8]) -> Option<u64> {
        let word = |at: usize| u32_at(handle, at * 4).map(u64::from);
        let long = |low: usize| Some(word(low)? | word(low + 1)? << 32);
        match (self, kind, handle.len()) {
            (Self::Ext4 | Self::Xfs, 1, 8) => word(0),
            (Self::Xfs, 0x81, 12) => Some(u64::from_ne_bytes(handle.get(..8)?.try_into().ok()?)),
            (Self::Tmpfs, 1, 12) => long(1),
            _ => None,
        }
    }
}

impl Group {
    pub(super) fn new() -> io::Result<Self> {
        // A queue with a bound overflows with every `rm -r`; the thread that reads keeps this one short.
        let flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_UNLIMITED_QUEUE
            | InitFlags::FAN_UNLIMITED_MARKS
            | InitFlags::from_bits_retain(REPORT);
        let fanotify = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE)?;
        Ok(Self { fanotify, marked: RwLock::default() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fanotify.as_fd()
    }

    pub(super) fn is_marked(&self, device: u64) -> bool {
        self.marked.read().unwrap_or_else(PoisonError::into_inner).devices.contains_key(&device)
    }

    /// Watches the file system that is mounted at `place`, if it is the `device`.
    pub(super) fn mark(&self, place: &Path, device: u64, layout: Layout) -> io::Result<()> {
        if self.is_marked(device) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match open(place, flags, Mode::empty()) {
            // A file can be a mount point, and lies on a file system that is mounted elsewhere too.
            Err(rustix::io::Errno::NOTDIR) => open(place, flags - OFlags::DIRECTORY, Mode::empty())?,
            other => other?,
        };
        let stat = statx(&dir, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        if device_of(&stat) != device {
            return Err(io::Error::other("another file system is mounted over it"));
        }
        let id = statvfs(place)?.f_fsid;
        self.check_layout(place, stat.stx_ino, layout)?;
        let events = MaskFlags::FAN_MODIFY
            | MaskFlags::FAN_ATTRIB
            | MaskFlags::FAN_CLOSE_WRITE
            | MaskFlags::FAN_CREATE
            | MaskFlags::FAN_DELETE
            | MaskFlags::FAN_MOVED_FROM
            | MaskFlags::FAN_MOVED_TO
            | MaskFlags::FAN_DELETE_SELF
            | MaskFlags::FAN_ONDIR;
        let mut marked = self.marked.write().unwrap_or_else(PoisonError::into_inner);
        let whole = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        self.fanotify.mark(whole, events, rustix::fs::CWD, Some(place))?;
        marked.devices.insert(device, layout);
        marked.ids.entry(id).or_default().push(device);
        Ok(())
    }

    /// Has the kernel show the handle of a directory whose number is known: how handles are made is each file system's own business.
    fn check_layout(&self, place: &Path, inode: u64, layout: Layout) -> io::Result<()> {
        let mask = MaskFlags::FAN_DELETE_SELF | MaskFlags::FAN_ONDIR;
        self.fanotify.mark(MarkFlags::FAN_MARK_ADD, mask, rustix::fs::CWD, Some(place))?;
        let shown = self.shown();
        self.fanotify.mark(MarkFlags::FAN_MARK_REMOVE, mask, rustix::fs::CWD, Some(place))?;
        let of_inode = format!("fanotify ino:{inode:x} ");
        let fits = shown?.lines().filter(|line| line.starts_with(&of_inode)).any(|line| {
            let field = |name: &str| line.split(' ').find_map(|part| part.strip_prefix(name));
            let kind = field("fhandle-type:").and_then(|kind| u32::from_str_radix(kind, 16).ok());
            let handle = field("f_handle:").and_then(from_hex);
            kind.zip(handle).and_then(|(kind, handle)| layout.inode(kind, &handle)) == Some(inode)
        });
        if fits { Ok(()) } else { Err(io::Error::other("its handles are of a kind that isn't known")) }
    }

    /// Returns whether the marks of all these devices still stand: a file system that was unmounted took its mark with it, and is
    /// another one when it comes back. What is gone is forgotten.
    pub(super) fn still_marked(&self) -> io::Result<bool> {
        let shown = self.shown()?;
        let standing: Vec<u64> = shown
            .lines()
            .filter_map(|line| {
                let raw = line.strip_prefix("fanotify sdev:")?.split(' ').next()?;
                u64::from_str_radix(raw, 16).ok()
            })
            .collect();
        let mut marked = self.marked.write().unwrap_or_else(PoisonError::into_inner);
        let stands = |device: &u64| {
            // The kernel's own form of a device number, not that of `stat`.
            standing.contains(&((u64::from(major(*device)) << 20) | u64::from(minor(*device))))
        };
        let before = marked.devices.len();
        marked.devices.retain(|device, _| stands(device));
        marked.ids.values_mut().for_each(|devices| devices.retain(stands));
        Ok(marked.devices.len() == before)
    }

    fn shown(&self) -> io::Result<String> {
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.fd().as_raw_fd()))
    }

    /// Reads what there is, without waiting. `false`: there is nothing.
    pub(super) fn read(&self, buffer: &mut Vec<u8>, tell: impl FnMut(Told)) -> io::Result<bool> {
        buffer.resize(BUFFER_BYTES, 0);
        let length = match rustix::io::read(self.fd(), buffer.as_mut_slice()) {
            Ok(length) => length,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let marked = self.marked.read().unwrap_or_else(PoisonError::into_inner);
        marked.tell(buffer.get(..length).unwrap_or_default(), tell);
        Ok(length > 0)
    }
}

impl Marked {
    fn tell(&self, mut events: &[u8], mut tell: impl FnMut(Told)) {
        while !events.is_empty() {
            let length = u32_at(events, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            let (Some(event), true) = (events.get(..length), length >= HEAD) else {
                return tell(Told::Lost);
            };
            self.event(event, &mut tell);
            events = events.get(length..).unwrap_or_default();
        }
    }

    fn event(&self, event: &[u8], tell: &mut impl FnMut(Told)) {
        let head = u16_at(event, 6).map_or(HEAD, usize::from);
        let mask = event.get(8..16).and_then(|mask| Some(u64::from_ne_bytes(mask.try_into().ok()?)));
        let (Some(mask), Some(mut records)) = (mask, event.get(head..)) else { return tell(Told::Lost) };
        let mask = MaskFlags::from_bits_retain(mask);
        if event.get(4) != Some(&nix::sys::fanotify::FANOTIFY_METADATA_VERSION)
            || mask.contains(MaskFlags::FAN_Q_OVERFLOW)
        {
            return tell(Told::Lost);
        }
        let (mut directories, mut objects) = (Vec::new(), Vec::new());
        while let Some(length) = u16_at(records, 2).map(usize::from)
            && length >= 4
            && let Some(record) = records.get(..length)
        {
            match record.first() {
                Some(kind) if DIRECTORY.contains(kind) => directories = self.keys(record),
                Some(&OBJECT) => objects = self.keys(record),
                _ => {}
            }
            records = records.get(length..).unwrap_or_default();
        }
        // A file whose name the kernel doesn't know stands as its own directory.
        let is_dir = mask.contains(MaskFlags::FAN_ONDIR);
        let nameless = directories.is_empty() || (!is_dir && directories == objects);
        if directories.is_empty() && objects.is_empty() {
            return tell(Told::Lost);
        }
        directories.into_iter().for_each(|key| tell(Told::Directory(key)));
        if !is_dir && nameless {
            let gone = mask.contains(MaskFlags::FAN_DELETE_SELF);
            objects.into_iter().for_each(|key| tell(if gone { Told::Gone(key) } else { Told::Loose(key) }));
        }
    }

    /// Returns what a record names; nothing if that can't be told.
    fn keys(&self, record: &[u8]) -> Vec<Key> {
        let read = || {
            let id = u64::from(u32_at(record, 4)?) | (u64::from(u32_at(record, 8)?) << 32);
            let length = usize::try_from(u32_at(record, 12)?).ok()?;
            let kind = u32_at(record, 16)?;
            let handle = record.get(RECORD_HEAD..RECORD_HEAD.checked_add(length)?)?;
            let of = |device: &u64| {
                Some(Key { device: *device, inode: self.devices.get(device)?.inode(kind, handle)? })
            };
            self.ids.get(&id)?.iter().map(of).collect::<Option<Vec<Key>>>()
        };
        read().unwrap_or_default()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: u64 = 5;

    fn told(event: &[u8]) -> Vec<Told> {
        let mut marked = Marked::default();
        marked.devices.insert(DEVICE, Layout::Ext4);
        marked.ids.insert(9, vec![DEVICE]);
        let mut all = Vec::new();
        marked.tell(event, |told| all.push(told));
        all
    }

    fn event(mask: MaskFlags, records: &[(u8, u32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(HEAD + records.len() * 28).unwrap().to_ne_bytes());
        bytes.extend([nix::sys::fanotify::FANOTIFY_METADATA_VERSION, 0, 24, 0]);
        bytes.extend(mask.bits().to_ne_bytes());
        bytes.extend([0; 8]);
        for (kind, inode) in records {
            bytes.extend([*kind, 0, 28, 0]);
            bytes.extend(9u64.to_ne_bytes());
            [8, 1, *inode, 77].into_iter().for_each(|word: u32| bytes.extend(word.to_ne_bytes()));
        }
        bytes
    }

    fn key(inode: u64) -> Key {
        Key { device: DEVICE, inode }
    }

    #[test]
    fn an_overflow_and_what_makes_no_sense_lose_everything() {
        assert_eq!(told(&event(MaskFlags::FAN_Q_OVERFLOW, &[])), [Told::Lost]);
        assert_eq!(told(&event(MaskFlags::FAN_MODIFY, &[])), [Told::Lost]);
        assert_eq!(told(&[1, 0, 0, 0]), [Told::Lost]);
        let mut unknown = event(MaskFlags::FAN_MODIFY, &[(3, 1)]);
        unknown[HEAD + 4] = 8;
        assert_eq!(told(&unknown), [Told::Lost]);
    }

    #[test]
    fn a_directory_is_told_if_there_is_one_and_the_file_if_there_is_none() {
        let both = event(MaskFlags::FAN_MODIFY, &[(3, 2), (1, 7)]);
        assert_eq!(told(&both), [Told::Directory(key(2))]);
        assert_eq!(told(&event(MaskFlags::FAN_ATTRIB, &[(1, 7)])), [Told::Loose(key(7))]);
        let gone = MaskFlags::FAN_ATTRIB | MaskFlags::FAN_DELETE_SELF;
        assert_eq!(told(&event(gone, &[(1, 7)])), [Told::Gone(key(7))]);
        // A file without a known name stands as its own directory.
        let nameless = event(MaskFlags::FAN_MODIFY, &[(3, 7), (1, 7)]);
        assert_eq!(told(&nameless), [Told::Directory(key(7)), Told::Loose(key(7))]);
    }
}

//! Who could write without an event: a program that has a file open for writing may write through a mapping or with the kernel's
//! asynchronous I/O, of which nobody is told until it closes the file. The folders of such files count as changed at every run.
//!
//! Where this can't be seen for every process, the journal isn't used.

use super::memory::Memory;
use super::{Key, mounts};
use crate::machine::look;
use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxAttributes, StatxFlags, statx};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Whether there is such a process that isn't any more: it has closed its files, which is told.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Returns the directories of what `memory` knows and someone could write to unseen. An error says why that can't be told. Where the
/// kernel refuses a look into one of the processes in `trusted`, it counts as one that writes to nothing.
pub(super) fn find(memory: &Memory, trusted: &[u32]) -> Result<HashSet<Key>, String> {
    let mut found = HashSet::new();
    let processes = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    for process in processes {
        let process = process.map_err(|error| format!("/proc: {error}"))?;
        if process.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
            let path = process.path();
            for find in [open_files, mappings] {
                match find(&path, memory, &mut found) {
                    Ok(()) => {}
                    Err(Trouble::Io(error)) if is_gone(&error) => {}
                    Err(Trouble::Io(error))
                        if error.kind() == io::ErrorKind::PermissionDenied
                            && trusted.iter().any(|id| process.file_name() == id.to_string().as_str()) => {}
                    Err(Trouble::Io(error)) => return Err(format!("{}: {error}", path.display())),
                    Err(Trouble::Unplaced(file)) => {
                        return Err(format!(
                            "{}, open in {}, can't be placed",
                            file.display(),
                            path.display()
                        ));
                    }
                }
            }
        }
    }
    loops(memory, &mut found)?;
    Ok(found)
}

enum Trouble {
    Io(io::Error),
    /// The folder of this file can't be told.
    Unplaced(PathBuf),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn open_files(process: &Path, memory: &Memory, found: &mut HashSet<Key>) -> Result<(), Trouble> {
    for open in fs::read_dir(process.join("fd"))? {
        let open = open?.path();
        let Some(stat) = what(&open)? else { continue };
        let counts = FileType::from_raw_mode(stat.stx_mode.into()).is_file()
            && stat.stx_nlink > 0
            && memory.files.contains(mounts::key(&stat));
        if !counts {
            continue;
        }
        let Some(number) = open.file_name() else { continue };
        let about = match fs::read_to_string(process.join("fdinfo").join(number)) {
            Err(error) if is_gone(&error) => continue,
            about => about?,
        };
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        // O_RDONLY is 0. Flags that can't be read may be anything.
        if flags.is_none_or(|flags| flags & 3 != 0) {
            match fs::read_link(&open) {
                Err(error) if is_gone(&error) => {}
                path => place(process, &path?, mounts::key(&stat), memory, found)?,
            }
        }
    }
    Ok(())
}

/// A shared mapping counts whatever it allows: it can be made writable and back between two looks.
fn mappings(process: &Path, memory: &Memory, found: &mut HashSet<Key>) -> Result<(), Trouble> {
    let maps = fs::read(process.join("maps"))?;
    for line in maps.split(|&byte| byte == b'\n') {
        // range, rights, offset, device, inode, path
        let fields: Vec<&[u8]> = line.splitn(6, |&byte| byte == b' ').collect();
        let [range, rights, _, device, inode, path] = fields.as_slice() else { continue };
        if rights.get(3) != Some(&b's') {
            continue;
        }
        let Some(key) = key_of(device, inode) else { return Err(Trouble::Unplaced(process.join("maps"))) };
        if !memory.files.contains(key) {
            continue;
        }
        // A mapping that was cut in two meanwhile stands under other names: what the line says of it is enough.
        let mapped = what(&process.join("map_files").join(OsStr::from_bytes(range)))?;
        if mapped.is_none_or(|stat| stat.stx_nlink > 0) {
            place(process, Path::new(OsStr::from_bytes(path.trim_ascii_start())), key, memory, found)?;
        }
    }
    Ok(())
}

fn key_of(device: &[u8], inode: &[u8]) -> Option<Key> {
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = rustix::fs::makedev(number(major)?, number(minor)?);
    Some(Key { device, inode: std::str::from_utf8(inode).ok()?.parse().ok()? })
}

/// Returns what is open there; nothing if it is gone.
fn what(open: &Path) -> Result<Option<Statx>, Trouble> {
    // What a dead server knows isn't asked for: this looks for local files.
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match statx(CWD, open, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => Ok(Some(stat)),
        Err(error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => Err(Trouble::Io(error.into())),
        // Gone, or on a mount that is dead: none that is watched.
        Err(_) => Ok(None),
    }
}

/// Adds the folder of an open file, which the process sees at `path`.
fn place(
    process: &Path,
    path: &Path,
    file: Key,
    memory: &Memory,
    found: &mut HashSet<Key>,
) -> Result<(), Trouble> {
    let own = process.join("root").join(path.strip_prefix("/").unwrap_or(path));
    for seen in [own.as_path(), path] {
        if let Some(dir) = folder_of(seen, file)
            && memory.dirs.contains_key(&dir)
        {
            found.insert(dir);
            return Ok(());
        }
    }
    Err(Trouble::Unplaced(path.to_owned()))
}

/// Returns the folder of the file at this path, if it is that file, and lies there itself: what is mounted over another file has its
/// folder elsewhere.
fn folder_of(path: &Path, file: Key) -> Option<Key> {
    let stat = look(path).ok()?;
    let is_mount = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    (mounts::key(&stat) == file && !is_mount).then_some(())?;
    // A folder that is a link in the process's own view would be followed by the kernel as well.
    let flags = AtFlags::NO_AUTOMOUNT;
    Some(mounts::key(&statx(CWD, path.parent()?, flags, StatxFlags::BASIC_STATS).ok()?))
}

/// A loop device writes to its file as the kernel, which no process has open.
fn loops(memory: &Memory, found: &mut HashSet<Key>) -> Result<(), String> {
    let devices = match fs::read_dir("/sys/block") {
        Ok(devices) => devices,
        Err(error) => return Err(format!("/sys/block: {error}")),
    };
    for device in devices {
        let device = device.map_err(|error| format!("/sys/block: {error}"))?.path();
        let mut file = match fs::read(device.join("loop/backing_file")) {
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(format!("{}: {error}", device.display())),
            Ok(file) => file,
        };
        if fs::read(device.join("ro")).is_ok_and(|only_read| only_read.trim_ascii() == b"1") {
            continue;
        }
        if file.last() == Some(&b'\n') {
            file.pop();
        }
        let file = PathBuf::from(OsString::from_vec(file));
        let unplaced =
            || format!("{}, which {} writes to, can't be placed", file.display(), device.display());
        let key = mounts::key(&look(&file).map_err(|_| unplaced())?);
        if memory.files.contains(key) {
            let dir = folder_of(&file, key).filter(|dir| memory.dirs.contains_key(dir));
            found.insert(dir.ok_or_else(unplaced)?);
        }
    }
    Ok(())
}

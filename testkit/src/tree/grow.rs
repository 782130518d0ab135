//! Makes a tree of files of every kind, the same one for the same seed.

use crate::Random;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Fills `root`, which is made if it isn't there, with about `files` regular files and some of everything else: folders
/// (deep, empty), links (hard, symbolic, dangling), holes, a pipe, and names, owners, times, modes, attributes and ACLs
/// out of the ordinary. Devices and foreign owners only where the tests run as root, attributes only where the file
/// system has them.
///
/// Returns how many bytes the regular files hold.
pub fn grow(root: &Path, seed: u64, files: usize) -> u64 {
    fs::create_dir_all(root).unwrap();
    let mut random = Random::new(seed);
    let mut folders = vec![root.to_owned()];
    let mut made: Vec<PathBuf> = Vec::new();
    let mut bytes = 0;
    for number in 0..files {
        if number % 8 == 0 {
            let folder = folders[random.below(folders.len())].join(name(&mut random, number, "d"));
            fs::create_dir(&folder).unwrap();
            folders.push(folder);
        }
        let path = folders[random.below(folders.len())].join(name(&mut random, number, "f"));
        let content = content(&mut random);
        bytes += content.len() as u64;
        fs::write(&path, content).unwrap();
        made.push(path);
    }
    bytes += oddities(root, &mut random, &made);
    for path in made.iter().chain(folders.iter().skip(1)) {
        dress(path, &mut random);
    }
    // Times last, and folders after what is in them: every change of a folder sets its time anew.
    set_times(root, &mut random);
    bytes
}

fn name(random: &mut Random, number: usize, kind: &str) -> OsString {
    let mut name = format!("{kind}{number:04}").into_bytes();
    match random.below(6) {
        0 => name.extend(b"\xff\xfe not utf-8"),
        1 => name.extend(" à l'été \"quoted\"".as_bytes()),
        2 => name.extend(b"\nline\\break\t"),
        3 => name.extend(vec![b'x'; 200]),
        _ => {}
    }
    OsString::from_vec(name)
}

fn content(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => Vec::new(),
        1 => vec![random.next_u64() as u8],
        2 => b"the same line again\n".repeat(random.below(20_000)),
        3 => {
            let length = 1 + random.below(3 << 20);
            random.bytes(length)
        }
        _ => {
            let length = random.below(30_000);
            random.bytes(length)
        }
    }
}

fn oddities(root: &Path, random: &mut Random, made: &[PathBuf]) -> u64 {
    let at = root.join("odd");
    fs::create_dir(&at).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    let deep = (0..40).fold(at.join("deep"), |path, level| path.join(format!("level-{level}")));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), b"down here").unwrap();
    if let Some(first) = made.first() {
        fs::hard_link(first, at.join("hard-1")).unwrap();
        fs::hard_link(first, deep.join("hard-2")).unwrap();
    }
    std::os::unix::fs::symlink("../odd/empty", at.join("link")).unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"/nowhere/\xff"), at.join("dangling")).unwrap();

    let mut sparse = fs::File::create(at.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(3 << 20)).unwrap();
    sparse.write_all(&random.bytes(5000)).unwrap();
    sparse.set_len(8 << 20).unwrap();

    rustix::fs::mknodat(CWD, at.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    if rustix::process::geteuid().is_root() {
        // In a container root may be forbidden to make devices.
        let number = rustix::fs::makedev(1, 3);
        let _ = rustix::fs::mknodat(
            CWD,
            at.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            number,
        );
    }
    let secret = at.join("secret");
    fs::write(&secret, b"nobody may read this").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();

    let attributed = at.join("attributes");
    fs::write(&attributed, b"look closer").unwrap();
    for (name, value) in
        [("user.comment", &b"caf\xc3\xa9"[..]), ("user.bytes", b"\0\xff\0"), ("user.empty", b"")]
    {
        // Not every file system has them.
        let _ = rustix::fs::lsetxattr(&attributed, name, value, XattrFlags::empty());
    }
    let _ = Command::new("setfacl").args(["-m", "u:1234:rw,g:4321:r"]).arg(&attributed).output();
    let _ = Command::new("setfacl").args(["-d", "-m", "u:1234:rwx"]).arg(at.join("empty")).output();
    (8 << 20) + 9 + 20 + 11
}

fn dress(path: &Path, random: &mut Random) {
    if rustix::process::geteuid().is_root() && random.once_in(4) {
        let (owner, group) = (Uid::from_raw(1000 + random.below(9) as u32), Gid::from_raw(2000));
        rustix::fs::chownat(CWD, path, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    let folder = path.is_dir();
    let mode = match random.below(8) {
        0 if !folder => 0o4755,
        1 if folder => 0o3775,
        2 => 0o700,
        3 if !folder => 0o444,
        _ if folder => 0o755,
        _ => 0o644,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_times(folder: &Path, random: &mut Random) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The order of a folder is the file system's, and the times must not depend on it.
    entries.sort();
    for path in entries {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            set_times(&path, random);
        }
        // From 1966 to 2044, with every nanosecond.
        let seconds = random.below(2_461_000_000) as i64 - 126_000_000;
        let time = Timespec { tv_sec: seconds, tv_nsec: random.below(1_000_000_000) as i64 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

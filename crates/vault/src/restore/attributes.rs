//! Sets what an entry has besides its content: owner, mode, extended attributes, times.
//!
//! The order matters. A change of owner clears setuid and capabilities, so it comes first. An ordinary user may set attributes only while
//! the mode lets him write, so they come before the mode. So does an ACL: the mode's group bits are its mask, which without it would be the
//! group's rights. Capabilities come after the mode, times last.

use super::clock::{Clock, both, differs};
use super::folder::Target;
use crate::{Meta, Node, NodeKind, Xattr};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

const SETUID_SETGID: u32 = 0o6000;
const ACL: &[u8] = b"system.posix_acl_access";
pub(super) const CAPABILITY: &[u8] = b"security.capability";

/// What there is to set on one entry, after the options have had their say.
pub(super) struct Wanted<'a> {
    meta: &'a Meta,
    clock: &'a Clock,
    uid: u32,
    gid: u32,
    mode: u32,
    refused: Option<&'static str>,
}

/// How the entry was before: that spares calls.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    /// Made just now with this owner, this mode, and no attributes.
    New { uid: u32, gid: u32, mode: u32 },
    /// It was there; what it has too much is taken away.
    Standing(&'a Stat),
}

impl<'a> Wanted<'a> {
    pub(super) fn new(node: &'a Node, target: &'a Target<'_>) -> Self {
        let (meta, clock, options) = (&node.meta, &target.clock, target.options);
        let names = options.names.as_deref();
        let by_name =
            |name: &Option<String>, look: &dyn Fn(&str) -> Option<u32>| name.as_deref().and_then(look);
        let uid = names.and_then(|names| by_name(&meta.user, &|user| names.uid(user))).unwrap_or(meta.uid);
        let gid = names.and_then(|names| by_name(&meta.group, &|group| names.gid(group))).unwrap_or(meta.gid);
        let special = meta.mode & SETUID_SETGID != 0 && !node.is_dir();
        if special && options.no_setuid {
            let mode = meta.mode & !SETUID_SETGID;
            return Self { meta, clock, uid, gid, mode, refused: Some("setuid and setgid were refused") };
        }
        Self { meta, clock, uid, gid, mode: meta.mode, refused: None }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns what it lets everybody do but write.
    pub(super) fn passable(&self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o055)
    }

    /// Returns the mode that a new file may be made with, so that nothing needs to be set afterwards: only for a plain one.
    pub(super) fn plain_mode(&self) -> Option<u32> {
        (self.mode & !0o777 == 0 && self.meta.xattrs.is_empty()).then_some(self.mode)
    }

    /// Sets everything on an open file or directory, and returns what could not be set.
    pub(super) fn set(&self, file: BorrowedFd<'_>, before: Before<'_>) -> Vec<String> {
        let mut done = Done::new(self);
        done.owner(before, |uid, gid| rustix::fs::fchown(file, uid, gid));
        if let Before::Standing(_) = before {
            let list = xattr_names(|buffer| rustix::fs::flistxattr(file, buffer));
            done.remove(list, |name| rustix::fs::fremovexattr(file, name));
        }
        let set = |xattr: &Xattr| {
            rustix::fs::fsetxattr(file, OsStr::from_bytes(&xattr.name), &xattr.value, XattrFlags::empty())
        };
        done.xattrs(|name| name != CAPABILITY, set);
        done.mode(before, |mode| rustix::fs::fchmod(file, mode));
        done.xattrs(|name| name == CAPABILITY, set);
        done.noted("times", rustix::fs::futimens(file, &self.times()));
        done.not_set.extend(rustix::fs::fstat(file).ok().and_then(|stat| differs(self.meta.mtime, &stat)));
        done.not_set
    }

    /// Sets everything on what can't be opened for it: a link, a pipe, a device. `dir` is the directory that it is in.
    pub(super) fn set_by_name(&self, dir: &OwnedFd, name: &OsStr, kind: &NodeKind) -> Vec<String> {
        let mut done = Done::new(self);
        let before = Before::New { uid: u32::MAX, gid: u32::MAX, mode: u32::MAX };
        done.owner(before, |uid, gid| rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW));
        let path = proc_path(dir, name);
        let list = xattr_names(|buffer| rustix::fs::llistxattr(&path, buffer));
        done.remove(list, |name| rustix::fs::lremovexattr(&path, name));
        let set = |xattr: &Xattr| {
            rustix::fs::lsetxattr(&path, OsStr::from_bytes(&xattr.name), &xattr.value, XattrFlags::empty())
        };
        done.xattrs(|_| true, set);
        if !matches!(kind, NodeKind::Symlink { .. }) {
            done.mode(before, |mode| chmod(dir, name, mode));
        }
        let times = rustix::fs::utimensat(dir, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW);
        done.noted("times", times);
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        done.not_set.extend(stat.and_then(|stat| differs(self.meta.mtime, &stat)));
        done.not_set
    }

    /// Returns whether an entry that stands there has all of this already.
    pub(super) fn is_on(&self, dir: &OwnedFd, name: &OsStr, stat: &Stat, kind: &NodeKind) -> bool {
        let mode = matches!(kind, NodeKind::Symlink { .. }) || stat.st_mode & 0o7777 == self.mode;
        let owner = (stat.st_uid, stat.st_gid) == (self.uid, self.gid);
        if !(mode && owner && self.clock.is_at(dir, stat, self.meta.mtime)) {
            return false;
        }
        let path = proc_path(dir, name);
        let names = xattr_names(|buffer| rustix::fs::llistxattr(&path, buffer));
        let ours = names.iter().filter(|name| is_ours(name.as_bytes())).count();
        ours == self.meta.xattrs.iter().filter(|xattr| is_ours(&xattr.name)).count()
            && self.meta.xattrs.iter().all(|xattr| {
                // One byte more than expected, so that a longer value is not taken for it.
                let mut value = vec![0; xattr.value.len() + 1];
                let length = rustix::fs::lgetxattr(&path, OsStr::from_bytes(&xattr.name), &mut value[..]);
                length.is_ok_and(|length| value.get(..length) == Some(&xattr.value))
            })
    }

    /// Returns what an entry that has all of this still lacks: what the capture could not read, and what the target can't hold.
    pub(super) fn lacks(&self, stat: &Stat) -> Vec<String> {
        self.meta.unread.iter().cloned().chain(differs(self.meta.mtime, stat)).collect()
    }

    fn times(&self) -> Timestamps {
        both(self.meta.atime, self.meta.mtime)
    }
}

/// What was set so far.
struct Done<'w> {
    wanted: &'w Wanted<'w>,
    mode: u32,
    owner_changed: bool,
    not_set: Vec<String>,
}

impl<'w> Done<'w> {
    fn new(wanted: &'w Wanted<'w>) -> Self {
        let refused = wanted.refused.map(str::to_owned).into_iter();
        let not_set = refused.chain(wanted.meta.unread.iter().cloned()).collect();
        Self { wanted, mode: wanted.mode, owner_changed: false, not_set }
    }

    fn noted(&mut self, what: &str, result: rustix::io::Result<()>) {
        if let Err(error) = result {
            self.not_set.push(format!("{what}: {}", io::Error::from(error)));
        }
    }

    fn owner(
        &mut self,
        before: Before<'_>,
        set: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) {
        let (uid, gid) = match before {
            Before::New { uid, gid, .. } => (uid, gid),
            Before::Standing(stat) => (stat.st_uid, stat.st_gid),
        };
        if (uid, gid) == (self.wanted.uid, self.wanted.gid) {
            return;
        }
        self.owner_changed = true;
        // The kernel takes the last number for "leave it as it is".
        if self.wanted.uid == u32::MAX || self.wanted.gid == u32::MAX {
            self.mode &= !SETUID_SETGID;
            self.not_set.push("owner: there is no owner of this number".into());
            return;
        }
        let result = set(Some(Uid::from_raw(self.wanted.uid)), Some(Gid::from_raw(self.wanted.gid)));
        if result.is_err() && self.mode & SETUID_SETGID != 0 {
            // Otherwise a program of theirs would run as somebody else: as whoever restores.
            self.mode &= !SETUID_SETGID;
            self.not_set.push("setuid and setgid, since the owner is another".into());
        }
        match result {
            Err(Errno::PERM) if !rustix::process::geteuid().is_root() => {
                self.not_set.push("owner: only root can give files away".into());
            }
            result => self.noted("owner", result),
        }
    }

    fn mode(&mut self, before: Before<'_>, set: impl FnOnce(Mode) -> rustix::io::Result<()>) {
        let there = match before {
            Before::New { mode, .. } => mode,
            Before::Standing(stat) => stat.st_mode & 0o7777,
        };
        if there != self.mode || self.owner_changed || matches!(before, Before::Standing(_)) {
            let mode = Mode::from_raw_mode(self.mode);
            self.noted("mode", set(mode));
        }
    }

    fn xattrs(&mut self, which: impl Fn(&[u8]) -> bool, set: impl Fn(&Xattr) -> rustix::io::Result<()>) {
        for xattr in self.wanted.meta.xattrs.iter().filter(|xattr| which(&xattr.name)) {
            let result = set(xattr);
            if result.is_err() && xattr.name == ACL {
                self.mode &= !0o070;
            }
            self.noted(&format!("attribute {}", String::from_utf8_lossy(&xattr.name)), result);
        }
    }

    fn remove(&mut self, there: Vec<OsString>, remove: impl Fn(&OsStr) -> rustix::io::Result<()>) {
        for name in there {
            let known = self.wanted.meta.xattrs.iter().any(|xattr| xattr.name == name.as_bytes());
            if !known && is_ours(name.as_bytes()) {
                match remove(&name) {
                    Err(Errno::NODATA) => {}
                    result => self.noted(&format!("attribute {} removed", name.to_string_lossy()), result),
                }
            }
        }
    }
}

/// Returns whether an attribute is the file's own business. Labels that the kernel gives by its own rules (SELinux, IMA) are not taken away.
fn is_ours(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name.starts_with(b"system.posix_acl_")
        || name == CAPABILITY
}

/// Returns the names of the attributes that `list` finds; none where the file system has none, or doesn't say.
pub(super) fn xattr_names(list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Vec<OsString> {
    let mut buffer = [0u8; 1024];
    let mut large = Vec::new();
    let listed = match list(&mut buffer) {
        Ok(length) => buffer.get(..length),
        Err(Errno::RANGE) => {
            // The kernel's own bound.
            large.resize(64 << 10, 0);
            list(&mut large).ok().and_then(|length| large.get(..length))
        }
        Err(_) => None,
    };
    let names = listed.unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| OsString::from_vec(name.to_vec())).collect()
}

/// Sets the mode of what has this name, unless it is a link: a plain `fchmodat` would follow one that somebody puts there meanwhile.
pub(super) fn chmod(dir: &OwnedFd, name: &OsStr, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), mode)
}

/// Returns a path that leads to a name in an open directory: there are no calls for attributes that take both. It goes through the handle,
/// so nobody can bend it.
fn proc_path(dir: &OwnedFd, name: &OsStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
    path.push(name);
    path
}

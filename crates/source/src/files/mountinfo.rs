//! What is mounted where, as the kernel lists it: known without a look at any of it, which a dead server would hold up.

use crate::machine::lock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::makedev;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// File systems with a server or a program behind them, which may not answer.
const DISTANT: [&str; 13] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "afs",
    "lustre",
    "beegfs",
    "glusterfs",
    "virtiofs",
    "autofs",
];

/// What the kernel makes up, and what a program puts there for its own time: a container's layers, a package, a folder that mounts
/// what is asked for. That one of them is gone means nothing.
const PASSING: [&str; 28] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "mqueue",
    "hugetlbfs",
    "binfmt_misc",
    "fusectl",
    "efivarfs",
    "nsfs",
    "rpc_pipefs",
    "selinuxfs",
    "smackfs",
    "autofs",
    "overlay",
    "squashfs",
    "erofs",
    "ramfs",
    "aufs",
    "fuse.lxcfs",
];

/// All mounts of this process, by their places; of several at one place the last, which lies over the others.
#[derive(Debug, Default)]
pub struct Mounts(BTreeMap<PathBuf, Mount>);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub place: PathBuf,
    /// The number of the device, as `stat` gives it.
    pub device: u64,
    /// What of its file system is seen there: `/` unless it is a part that was mounted elsewhere.
    pub within: PathBuf,
    /// The type of its file system: `ext4`, `nfs4`.
    pub kind: String,
    /// Where that is from: `/dev/sda1`, `nas:/export`.
    pub source: String,
    /// Nothing can be written there.
    pub is_read_only: bool,
    options: String,
}

impl Mounts {
    /// Reads them from the kernel's list.
    pub fn read() -> io::Result<Self> {
        Self::parse(&std::fs::read("/proc/self/mountinfo")?)
    }

    /// Returns them as they are now, read anew only after something was mounted or unmounted: whoever asks for each of ten thousand paths reads the list once.
    pub(super) fn now() -> io::Result<Arc<Self>> {
        static LAST: Mutex<Option<(File, Arc<Mounts>)>> = Mutex::new(None);
        let mut last = lock(&LAST);
        if let Some((list, mounts)) = last.as_ref()
            && !have_moved(list)
        {
            return Ok(Arc::clone(mounts));
        }
        let mut list = File::open("/proc/self/mountinfo")?;
        let mut text = Vec::new();
        list.read_to_end(&mut text)?;
        let mounts = Arc::new(Self::parse(&text)?);
        *last = Some((list, Arc::clone(&mounts)));
        Ok(mounts)
    }

    /// Reads them from a list as `mountinfo` is one.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let mut mounts = BTreeMap::new();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let mount = Mount::parse(line).ok_or_else(|| io::Error::other("mountinfo makes no sense"))?;
            mounts.insert(mount.place.clone(), mount);
        }
        Ok(Self(mounts))
    }

    /// Returns all of them.
    pub fn all(&self) -> impl Iterator<Item = &Mount> {
        self.0.values()
    }

    /// Returns whether what lies at the absolute `path` is mounted when somebody asks for it, and goes again by itself.
    pub(super) fn comes_by_itself(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.at(above).is_some_and(|mount| mount.kind == "autofs"))
    }

    /// Returns what is mounted at this very path.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        self.0.get(path)
    }

    /// Returns the mount that the absolute `path` lies on.
    #[must_use]
    pub fn under(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|above| self.0.get(above))
    }

    /// Returns whether something that may not answer is mounted at, above or below one of these paths.
    pub(super) fn any_distant(&self, paths: &[PathBuf]) -> bool {
        let mut distant = self.0.values().filter(|mount| mount.is_distant());
        distant.any(|mount| {
            paths.iter().any(|path| path.starts_with(&mount.place) || mount.place.starts_with(path))
        })
    }

    /// Returns the names in a folder on which something is mounted.
    pub(super) fn names_in(&self, folder: &Path) -> std::collections::BTreeSet<Vec<u8>> {
        let inside = self.0.keys().filter(|place| place.parent() == Some(folder));
        inside.filter_map(|place| Some(place.file_name()?.as_bytes().to_vec())).collect()
    }

    /// Returns whether anything is mounted below this path.
    pub(super) fn any_below(&self, path: &Path) -> bool {
        let mut behind =
            self.0.range::<Path, _>((std::ops::Bound::Excluded(path), std::ops::Bound::Unbounded));
        // Places sort as their names do, one by one: what lies below comes right behind.
        behind.next().is_some_and(|(place, _)| place.starts_with(path))
    }
}

impl Mount {
    /// Reads a line of `mountinfo` (proc(5)).
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = std::str::from_utf8(fields.nth(2)?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let (within, place, own) = (unescape(fields.next()?), unescape(fields.next()?), fields.next()?);
        let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
        let text = |field: &[u8]| OsStr::from_bytes(field).to_string_lossy().into_owned();
        let kind = text(behind.next()?);
        let source = text(&unescape(behind.next().unwrap_or(b"")));
        let options = text(behind.next().unwrap_or(b""));
        let is_read_only = [&text(own), &options].iter().any(|all| all.split(',').any(|one| one == "ro"));
        Some(Self {
            place: PathBuf::from(OsString::from_vec(place)),
            device: makedev(major.parse().ok()?, minor.parse().ok()?),
            within: PathBuf::from(OsString::from_vec(within)),
            kind,
            source,
            is_read_only,
            options,
        })
    }

    /// Returns whether somebody else has to answer for whoever looks at it. If the machine's own root doesn't, nothing runs here either.
    pub(super) fn is_distant(&self) -> bool {
        self.place != Path::new("/") && (self.is_fuse() || DISTANT.contains(&self.kind.as_str()))
    }

    /// Returns whether it comes and goes as programs do: nobody misses it. Engines of containers call the memory they give to one `shm`.
    pub(super) fn is_passing(&self) -> bool {
        PASSING.contains(&self.kind.as_str()) || self.kind == "tmpfs" && self.source == "shm"
    }

    /// Returns the user who alone may look at it, if that isn't `user`: not even root may.
    pub(super) fn closed_by(&self, user: u32) -> Option<u32> {
        if !self.is_fuse() || self.options.split(',').any(|option| option == "allow_other") {
            return None;
        }
        let owner = self.options.split(',').find_map(|option| option.strip_prefix("user_id="));
        owner.and_then(|owner| owner.parse().ok()).filter(|owner| *owner != user)
    }

    fn is_fuse(&self) -> bool {
        self.kind == "fuse" || self.kind == "fuseblk" || self.kind.starts_with("fuse.")
    }
}

/// Returns whether anything was mounted or unmounted anywhere since the kernel's list was opened, or since this was asked of it last: the kernel tells it through what is
/// held open.
pub(super) fn have_moved(list: &File) -> bool {
    let mut fds = [PollFd::new(list, PollFlags::PRI)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut fds, Some(&now)), Ok(0))
}

/// Space, tab, newline and backslash stand as three octal digits.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                plain.push(code);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_mounted_and_who_may_look() {
        let line = br"36 35 0:61 / /home/u/my\040drive rw,nosuid shared:7 - fuse.gvfsd-fuse gvfsd rw,user_id=1000,group_id=1000";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.place.as_path(), mount.device), (Path::new("/home/u/my drive"), makedev(0, 61)));
        assert!(mount.is_distant());
        assert_eq!((mount.closed_by(0), mount.closed_by(1000)), (Some(1000), None));
        let open = [line.as_slice(), b",allow_other"].concat();
        assert_eq!(Mount::parse(&open).unwrap().closed_by(0), None);
        let disk = Mount::parse(b"36 35 8:1 / /srv rw - ext4 /dev/sda1 rw,user_id=5").unwrap();
        assert_eq!((disk.within.as_path(), disk.source.as_str()), (Path::new("/"), "/dev/sda1"));
        assert!(!disk.is_read_only);
        for line in
            ["36 35 8:1 / /srv ro - ext4 /dev/sda1 rw", "36 35 8:1 / /srv rw shared:1 - ext4 /dev/sda1 ro"]
        {
            assert!(Mount::parse(line.as_bytes()).unwrap().is_read_only, "{line}");
        }
        assert!(!disk.is_distant() && disk.closed_by(0).is_none() && !disk.is_passing());
        for passing in ["overlay overlay rw", "tmpfs shm rw", "autofs systemd-1 rw", "squashfs /dev/loop3 ro"]
        {
            let line = format!("36 35 0:61 / /srv/x rw shared:7 - {passing}");
            assert!(Mount::parse(line.as_bytes()).unwrap().is_passing(), "{passing}");
        }
        assert_eq!(Mount::parse(b"36 35 8 /"), None);
    }
}

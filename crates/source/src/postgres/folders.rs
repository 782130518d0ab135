//! Makes the folder of a tablespace that a recovery wants and a new machine lacks, as root, for who runs the server.
//!
//! What a log names was written by whoever may write to the database: so none is made where the machine obeys what lies in a folder (`/etc/…`, `.ssh`), none through a
//! link, and none in a folder that is somebody else's.

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Where a machine does what is written there, or its programs keep what they trust.
const OBEYED: [&str; 13] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys",
    "/usr",
];
/// The same, but for what is said of it.
const VARIABLE: (&str, [&str; 3]) = ("/var", ["/var/lib/postgresql", "/var/lib/pgsql", "/var/tmp"]);
/// How deep a folder lies at least that belongs to one cluster: `/var/lib/pg`.
const OWN_DEPTH: usize = 4;

/// Makes the folder `place` for its owner alone, and those above it that are missing for root. `data` is the cluster's data directory; `None` where a
/// tablespace of the point lies beside it. The error says why it isn't made.
pub(super) fn make(place: &Path, data: Option<&Path>, owner: (u32, u32)) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root makes folders for others".to_owned());
    }
    if data.is_some_and(|data| is_obeyed(place, data)) {
        return Err("what lies there may be obeyed by this machine, so it is for a person to say".to_owned());
    }
    let name = place.file_name().ok_or("it has no name")?;
    let parent = place.parent().unwrap_or(Path::new("/"));
    let said = |error: io::Error| error.to_string();
    let mut here = at_root().map_err(said)?;
    for part in parent.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(part) => here = enter(&here, part)?,
            Component::ParentDir | Component::Prefix(_) => return Err("its path has `..` in it".to_owned()),
        }
    }
    is_roots(&here)?;
    let made = fresh(&here, name, Mode::RWXU).map_err(said)?;
    fchown(&made, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
        .map_err(|error| said(error.into()))
}

/// Returns whether what lies at a place may be obeyed by the machine.
fn is_obeyed(place: &Path, data: &Path) -> bool {
    let below = |folder: &&str| place.starts_with(folder);
    // Beside the cluster's own folders nobody else's are.
    let mut own = data.ancestors().skip(1).filter(|folder| folder.components().count() >= OWN_DEPTH);
    let (variable, but) = VARIABLE;
    let is_variable = place.starts_with(variable) && !but.iter().any(below);
    OBEYED.iter().any(below) || is_variable && !own.any(|folder| place.starts_with(folder))
}

fn at_root() -> io::Result<OwnedFd> {
    Ok(open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a folder below another, made for root where it is missing; follows no link.
fn enter(here: &OwnedFd, name: &OsStr) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let shown = Path::new(name).display();
    match openat(here, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            is_roots(here)?;
            let mode = Mode::from_raw_mode(0o755);
            fresh(here, name, mode).map_err(|error| format!("{shown}: {error}"))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => Err(format!("{shown} on the way there is a link or a file")),
        other => other.map_err(|error| format!("{shown}: {}", io::Error::from(error))),
    }
}

/// Makes a folder that wasn't there, and opens it.
fn fresh(here: &OwnedFd, name: &OsStr, mode: Mode) -> io::Result<OwnedFd> {
    // `.ssh`, `.config`: programs obey what is in them.
    if name.as_bytes().starts_with(b".") {
        return Err(io::Error::other("its name begins with a point, so it is for a person to make"));
    }
    mkdirat(here, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(here, name, flags, Mode::empty())?;
    fchmod(&made, mode)?;
    Ok(made)
}

/// Makes sure that nobody but root can put another into the place of what is made in a folder.
fn is_roots(folder: &OwnedFd) -> Result<(), String> {
    let stat: Stat = fstat(folder).map_err(|error| io::Error::from(error).to_string())?;
    let is_open = stat.st_mode & 0o022 != 0 && stat.st_mode & 0o1000 == 0;
    match FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_uid == 0 && !is_open {
        true => Ok(()),
        false => Err(format!(
            "the folder above it belongs to user {} (mode {:04o}), or others may write to it",
            stat.st_uid,
            stat.st_mode & 0o7777
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    /// A user that isn't us.
    const SERVER: u32 = 64_001;

    #[test]
    fn none_is_made_where_a_machine_obeys_what_lies_there() {
        let data = Path::new("/var/lib/pg15/main");
        for place in ["/etc/cron.d/x", "/usr/lib/x", "/var/spool/cron/x", "/var/lib/sudo"] {
            assert!(is_obeyed(Path::new(place), data), "{place}");
        }
        for place in
            ["/srv/ts", "/mnt/fast/pg/ts", "/ts", "/var/lib/pg15/ts", "/var/lib/postgresql/ts", "/varied"]
        {
            assert!(!is_obeyed(Path::new(place), data), "{place}");
        }
        assert!(is_obeyed(Path::new("/var/lib/x"), Path::new("/srv/main")));
    }

    #[test]
    fn below_a_folder_of_roots_it_is_made_and_handed_over_and_through_a_link_it_is_not() {
        assert!(
            rustix::process::geteuid().is_root(),
            "files of other users take root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let make = |place: &Path| make(place, Some(Path::new("/srv/main")), (SERVER, SERVER));
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        let place = top.join("fast/ts");
        make(&place).unwrap();
        let (above, made) = (fs::metadata(top.join("fast")).unwrap(), fs::metadata(&place).unwrap());
        assert_eq!((above.uid(), above.mode() & 0o7777), (0, 0o755));
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (SERVER, SERVER, 0o700));
        assert!(make(&place).is_err(), "what stands there is nobody's to give away");
        symlink(top.join("fast"), top.join("link")).unwrap();
        assert!(make(&top.join("link/ts2")).unwrap_err().contains("is a link or a file"));
        assert!(!top.join("fast/ts2").exists());
        chown(top.join("fast"), Some(SERVER), None).unwrap();
        assert!(make(&top.join("fast/ts3")).unwrap_err().contains(&format!("belongs to user {SERVER}")));
        assert!(make(&top.join(".ssh")).is_err());
    }
}

//! Who is believed: whether somebody else could have written a file that decides what we do, or can read a secret. Asked of what was opened, and of each folder on the
//! way there.
//!
//! Read in this order: [`reach`] (opens a file, and notes whose everything on the way is), [`objection`] (pure: who else could have changed it), [`is_open`] (pure: who
//! else can read it).

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;
use source::{Ends, Met, walk};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// The sign that the agent goes by an older plan than what stands in the file.
pub const SIGN: &str = "plan/edited";

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const OTHERS_PASS: u32 = 0o001;

/// A folder, a link or a file on the way to a file, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it really lies: no link is in it.
    pub path: PathBuf,
    /// Whose it is.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its kind and its permissions, as `stat` has them.
    pub mode: u32,
    /// Its group's permissions are those of a list of users and groups.
    pub has_acl: bool,
    /// Nobody but who runs this program, and root, is in its group.
    pub is_own_group: bool,
}

/// A file that was opened.
#[derive(Debug)]
pub struct Reached {
    /// The file.
    pub file: File,
    /// What is on the way: each folder from the root on, each link, and the file itself at the end.
    pub way: Vec<Place>,
}

/// Why something isn't believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// Who else could have changed what.
    pub why: String,
    /// What ends that.
    pub way_out: String,
}

/// Opens a file to read it, folder by folder, so that what is judged is what is read, whatever takes a name meanwhile.
pub fn reach(path: &Path) -> io::Result<Reached> {
    let mut way = Vec::new();
    let there = walk(path, Ends::Opened, &mut |met: Met<'_>| {
        way.push(place(met.path, met.opened, met.stat));
        Ok(())
    })?;
    let [name] = there.rest.as_slice() else { return Err(Errno::NOENT.into()) };
    // What whoever started us has opened already (/dev/stdin, a pipe of a shell) has no place of its own.
    let is_in_proc = there.is_in_proc();
    let links = if is_in_proc { OFlags::empty() } else { OFlags::NOFOLLOW };
    let file = openat(&there.folder, name, OFlags::RDONLY | OFlags::CLOEXEC | links, Mode::empty())?;
    let stat = fstat(&file)?;
    if !is_in_proc || FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        way.push(place(&there.real(), file.as_fd(), &stat));
    }
    Ok(Reached { file: File::from(file), way })
}

/// Returns who else could have changed a file that `uid` reads, `None` where nobody could but himself and root. Root believes a file only if nobody could have put
/// another in its place either: in a folder with the sticky bit nobody can whose the file isn't. For anybody else the file alone counts.
#[must_use]
pub fn objection(uid: u32, way: &[Place]) -> Option<Objection> {
    match uid {
        ROOT => way.iter().find_map(|place| other_hands(uid, place)),
        _ => way.last().and_then(|file| other_hands(uid, file)),
    }
}

/// Returns who else could put something into a folder in which `uid` reads and writes files of its own, `None` where nobody could but himself and root. As with a file,
/// root asks it of each folder on the way as well: a sticky one, like `/tmp`, will do only above a folder that is there and root's. One that isn't there yet holds
/// nothing.
pub fn objection_within(uid: u32, folder: &Path) -> io::Result<Option<Objection>> {
    let mut way = Vec::new();
    // What lies in it is not asked: only the folders are.
    let there = walk(&folder.join("state.db"), Ends::Kept, &mut |met: Met<'_>| {
        way.push(place(met.path, met.opened, met.stat));
        Ok(())
    })?;
    Ok(match there.rest.len() {
        1 => within(uid, &way),
        _ if uid == ROOT => objection(uid, &way),
        _ => None,
    })
}

/// As [`objection_within`], of the way to a folder that is there.
fn within(uid: u32, way: &[Place]) -> Option<Objection> {
    let (folder, above) = way.split_last()?;
    let mut above = above.iter().filter(|_| uid == ROOT);
    // Sticky or not, whoever writes there can take a name that isn't taken yet.
    let open = Place { mode: folder.mode & !STICKY, ..folder.clone() };
    above.find_map(|place| other_hands(uid, place)).or_else(|| other_hands(uid, &open))
}

/// Returns whether everybody on the machine can read a file.
#[must_use]
pub fn is_open(way: &[Place]) -> bool {
    let Some((file, before)) = way.split_last() else { return false };
    let is_folder = |place: &&Place| FileType::from_raw_mode(place.mode) == FileType::Directory;
    let mut above = before.iter().filter(is_folder).filter(|folder| file.path.starts_with(&folder.path));
    FileType::from_raw_mode(file.mode) == FileType::RegularFile
        && file.mode & OTHERS_READ != 0
        && above.all(|folder| folder.mode & OTHERS_PASS != 0)
}

/// Returns who runs this program.
#[must_use]
pub fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Returns who can change what is at a place, but for `uid` and root.
fn other_hands(uid: u32, place: &Place) -> Option<Objection> {
    let (path, kind) = (place.path.display(), FileType::from_raw_mode(place.mode));
    if place.uid != uid && place.uid != ROOT {
        let why = format!("{path} belongs to the user {}, who can change it", place.uid);
        let way_out = match uid {
            ROOT => format!("if it is right as it is: chown root {path}"),
            _ => format!("if {path} is right as it is, make a copy of your own"),
        };
        return Some(Objection { why, way_out });
    }
    // A link has no permissions, and what lies in such a folder can only be renamed or removed by whom it belongs to.
    if kind == FileType::Symlink || (kind == FileType::Directory && place.mode & STICKY != 0) {
        return None;
    }
    if place.mode & OTHERS_WRITE != 0 {
        let why = format!("everybody can write to {path} (mode {:04o})", place.mode & 0o7777);
        return Some(Objection { why, way_out: format!("chmod o-w {path}") });
    }
    // For root there is no other group than root's.
    let is_own = place.gid == ROOT || uid != ROOT && place.is_own_group;
    match place.mode & GROUP_WRITES != 0 {
        true if place.has_acl => Some(Objection {
            why: format!("a list of permissions lets others write to {path} (getfacl shows it)"),
            way_out: format!("setfacl -b {path}"),
        }),
        true if !is_own => Some(Objection {
            why: format!("the group {} can write to {path} (mode {:04o})", place.gid, place.mode & 0o7777),
            way_out: format!("chmod g-w {path}"),
        }),
        _ => None,
    }
}

fn place(path: &Path, opened: BorrowedFd<'_>, stat: &Stat) -> Place {
    let Stat { st_uid: uid, st_gid: gid, st_mode: mode, .. } = *stat;
    // Only where they could say more than the mode.
    let group_writes = mode & GROUP_WRITES != 0 && FileType::from_raw_mode(mode) != FileType::Symlink;
    let has_acl =
        group_writes && process::has_acl(Path::new(&format!("/proc/self/fd/{}", opened.as_raw_fd())));
    let is_own_group = group_writes && process::is_own_group(gid, &[us(), ROOT]);
    Place { path: path.to_owned(), uid, gid, mode, has_acl, is_own_group }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const FOLDER: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    const LINK: u32 = 0o120_777;
    const HUGO: u32 = 1000;
    /// Nobody else is in it, and it has another number than he has.
    const HUGOS_OWN: u32 = 1007;

    fn at(path: &str, uid: u32, gid: u32, mode: u32) -> Place {
        Place { path: path.into(), uid, gid, mode, has_acl: false, is_own_group: gid == HUGOS_OWN }
    }

    /// Returns the way to `/etc/plan`, with this folder and this file at its end.
    fn way(folder: (u32, u32, u32), file: (u32, u32, u32)) -> Vec<Place> {
        vec![
            at("/", 0, 0, FOLDER | 0o755),
            at("/etc", folder.0, folder.1, FOLDER | folder.2),
            at("/etc/plan", file.0, file.1, FILE | file.2),
        ]
    }

    #[test]
    fn root_believes_what_nobody_else_could_have_put_there() {
        let (own, shut) = ((0, 0, 0o755), (0, 0, 0o644));
        let cases = [
            ("root's", way(own, shut), true),
            ("root's group writes", way((0, 0, 0o775), (0, 0, 0o664)), true),
            ("of nobody, for everybody", way(own, (65_534, 65_534, 0o666)), false),
            ("of another", way(own, (HUGO, HUGO, 0o600)), false),
            ("everybody writes", way(own, (0, 0, 0o666)), false),
            ("another group writes", way(own, (0, 50, 0o664)), false),
            ("another group reads", way(own, (0, 50, 0o640)), true),
            ("a group writes that somebody has for himself", way(own, (0, HUGOS_OWN, 0o664)), false),
            ("in a folder of another", way((HUGO, HUGO, 0o755), shut), false),
            ("in a folder of everybody", way((0, 0, 0o777), shut), false),
            ("in a folder of another group", way((0, 50, 0o775), shut), false),
            ("root's in /tmp", way((0, 0, 0o1777), shut), true),
            ("of another in /tmp", way((0, 0, 0o1777), (HUGO, HUGO, 0o644)), false),
            ("for everybody in /tmp", way((0, 0, 0o1777), (0, 0, 0o666)), false),
            ("in a sticky folder of another", way((HUGO, 0, 0o1777), shut), false),
        ];
        for (what, way, is_believed) in cases {
            assert_eq!(objection(0, &way).is_none(), is_believed, "{what}: {:?}", objection(0, &way));
        }
    }

    #[test]
    fn anybody_else_believes_his_own_file_and_roots() {
        let open = (0, 0, 0o777);
        let cases = [
            ("his own", (HUGO, HUGO, 0o644), true),
            ("his own group writes", (HUGO, HUGOS_OWN, 0o664), true),
            ("root's, and his own group writes", (0, HUGOS_OWN, 0o664), true),
            ("a group of his number writes that others are in", (HUGO, HUGO, 0o664), false),
            ("root's", (0, 0, 0o644), true),
            ("everybody writes", (HUGO, HUGO, 0o646), false),
            ("a common group writes", (HUGO, 100, 0o664), false),
            ("of another", (HUGO + 1, HUGO, 0o644), false),
        ];
        for (what, file, is_believed) in cases {
            assert_eq!(objection(HUGO, &way(open, file)).is_none(), is_believed, "{what}");
        }
    }

    #[test]
    fn in_a_folder_for_files_of_ones_own_nobody_else_may_write_sticky_or_not() {
        let cases = [
            ("root's", (0, 0, 0o755), (0, 0, 0o700), true, true),
            ("root's in /tmp", (0, 0, 0o1777), (0, 0, 0o755), true, true),
            ("his", (0, 0, 0o755), (HUGO, HUGO, 0o700), false, true),
            ("his in a folder of his", (HUGO, HUGO, 0o755), (HUGO, HUGO, 0o755), false, true),
            ("root's in a folder of his", (HUGO, HUGO, 0o755), (0, 0, 0o755), false, true),
            ("root's in a sticky folder of his", (HUGO, 0, 0o1777), (0, 0, 0o755), false, true),
            ("another's", (0, 0, 0o755), (HUGO + 1, HUGO, 0o755), false, false),
            ("for everybody", (0, 0, 0o755), (0, 0, 0o777), false, false),
            ("for everybody, sticky", (0, 0, 0o755), (0, 0, 0o1777), false, false),
            ("for a group", (0, 0, 0o755), (0, 50, 0o775), false, false),
        ];
        let way = |above: (u32, u32, u32), folder: (u32, u32, u32)| {
            vec![
                at("/", 0, 0, FOLDER | 0o755),
                at("/x", above.0, above.1, FOLDER | above.2),
                at("/x/state", folder.0, folder.1, FOLDER | folder.2),
            ]
        };
        for (what, above, folder, for_root, for_him) in cases {
            let way = way(above, folder);
            assert_eq!(within(0, &way).is_none(), for_root, "root, {what}: {:?}", within(0, &way));
            assert_eq!(within(HUGO, &way).is_none(), for_him, "he, {what}: {:?}", within(HUGO, &way));
        }
        let dir = tempfile::tempdir().unwrap();
        let state = fs::canonicalize(dir.path()).unwrap().join("state");
        assert_eq!(objection_within(us(), &state.join("deeper")).unwrap(), None, "nothing is there yet");
        fs::create_dir(&state).unwrap();
        assert_eq!(objection_within(us(), &state).unwrap(), None);
        fs::set_permissions(&state, Permissions::from_mode(0o1777)).unwrap();
        let found = objection_within(us(), &state).unwrap().unwrap();
        assert!(found.why.contains(&state.display().to_string()), "{found:?}");
    }

    #[test]
    fn a_link_counts_by_whose_it_is_and_a_list_of_permissions_by_what_it_may_say() {
        let mut linked = way((0, 0, 0o1777), (0, 0, 0o644));
        linked.insert(2, at("/etc/link", 0, 0, LINK));
        assert_eq!(objection(0, &linked), None);
        linked[2].uid = HUGO;
        assert!(
            objection(0, &linked)
                .is_some_and(|found| found.why.contains("/etc/link belongs to the user 1000"))
        );
        let mut listed = way((0, 0, 0o755), (0, 0, 0o664));
        listed[2].has_acl = true;
        assert_eq!(objection(0, &listed).map(|found| found.way_out), Some("setfacl -b /etc/plan".into()));
    }

    #[test]
    fn a_secret_is_open_where_everybody_gets_to_it() {
        let own = (0, 0, 0o755);
        assert!(is_open(&way(own, (0, 0, 0o644))));
        assert!(!is_open(&way(own, (0, 0, 0o640))));
        assert!(!is_open(&way((0, 0, 0o700), (0, 0, 0o644))));
        // A closed folder that only a link lies in closes nothing.
        let mut linked = way(own, (0, 0, 0o644));
        linked.insert(1, at("/root", 0, 0, FOLDER | 0o700));
        linked.insert(2, at("/root/link", 0, 0, LINK));
        assert!(is_open(&linked));
        assert!(!is_open(&[]));
    }

    #[test]
    fn what_is_judged_is_what_is_read_and_everything_on_the_way_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir_all(real.join("a/b")).unwrap();
        fs::write(real.join("a/b/plan"), "text").unwrap();
        symlink("../a/b", real.join("a/up")).unwrap();
        symlink(real.join("a/up"), real.join("link")).unwrap();
        let mut reached = reach(&real.join("link/plan")).unwrap();
        let mut text = String::new();
        reached.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        assert_eq!(reached.way.last().unwrap().path, real.join("a/b/plan"));
        for on_the_way in [real.join("link"), real.join("a/up"), real.join("a/b"), PathBuf::from("/")] {
            assert!(reached.way.iter().any(|place| place.path == on_the_way), "{on_the_way:?}");
        }
        assert_eq!(objection(us(), &reached.way), None);
        fs::set_permissions(real.join("a/b/plan"), Permissions::from_mode(0o666)).unwrap();
        let found = objection(us(), &reach(&real.join("link/plan")).unwrap().way).unwrap();
        assert!(found.why.contains("everybody can write to"), "{found:?}");
        // Neither a folder nor what isn't there is a file; a circle of links ends.
        symlink("round", real.join("round")).unwrap();
        assert!(reach(&real.join("missing")).is_err() && reach(&real.join("round")).is_err());
        assert!(reach(&real.join("a/b/plan/below")).is_err() && reach(Path::new("/")).is_err());
    }
}

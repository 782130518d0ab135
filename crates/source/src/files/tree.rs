//! The files of this machine as a backup sees them.
//!
//! An unchanged backup costs what this file costs, so a directory is opened once, read in one stream, and each entry
//! is looked at once, by its name in the open directory. With a [`journal`](super::journal) it costs only what changed.

use super::content::FileContent;
use super::doubt::{MountTables, unmounted};
use super::exclude::Excludes;
use super::guard::{Guard, Guarded, PATIENCE};
use super::journal::Run;
use super::listing::{Listing, extend, list_whole};
use super::mountinfo::{Mount, Mounts};
use super::reach::{Reach, stat_open};
use super::roots::{Branch, Roots, names};
use crate::machine::{self, Names, lock};
use rustix::fs::{CWD, OFlags, fstatfs, readlinkat_raw};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use vault::{Content, Input, Node, NodeKind, Since, Unread};

/// File systems that the kernel makes up: proc, sysfs, cgroup, cgroup2, devpts, debugfs, tracefs, securityfs, pstore, bpf,
/// configfs, mqueue, hugetlbfs, binfmt_misc, fusectl, efivarfs, nsfs, rpc_pipefs, selinuxfs, smackfs.
#[rustfmt::skip]
const MADE_UP: [u64; 20] = [
    0x9FA0, 0x6265_6572, 0x0027_E0EB, 0x6367_7270, 0x1CD1, 0x6462_6720, 0x7472_6163, 0x7363_6673, 0x6165_676C, 0xCAFE_4A11,
    0x6265_6570, 0x1980_0202, 0x9584_58F6, 0x4249_4E4D, 0x6573_5543, 0xDE5E_81E4, 0x6E73_6673, 0x6759_6969, 0xF97C_FF8C, 0x4341_5D53,
];

/// The files below the named paths.
pub(crate) struct Tree {
    reach: Arc<Reach>,
    roots: Roots,
    pub(super) excludes: Excludes,
    one_file_system: bool,
    owners: Arc<Names>,
    pub(super) mounts: Mounts,
    /// Something that may not answer is mounted at, above or below a named path.
    any_distant: bool,
    guard: Arc<Guard>,
    tables: MountTables,
    /// Other users' own mounts, which were met.
    closed: Mutex<BTreeMap<PathBuf, String>>,
    /// What was met that a pattern looks like and doesn't match.
    mistaken: Mutex<BTreeMap<PathBuf, String>>,
    /// Which file systems are made up by the kernel, by their number.
    made_up: RwLock<HashMap<u64, bool>>,
    /// What changed since the last capture, where that is known.
    journal: Option<Arc<Run>>,
}

/// How what lies at a path is looked at.
pub(super) enum Stand {
    /// Like anything else.
    Plain,
    /// It lies on the mount at this place, which may not answer.
    Distant(PathBuf),
    /// It lies on a mount that is left out: not at all.
    LeftOut,
}

/// Where in the tree of named paths a directory is.
struct Spot<'a> {
    /// What was named below this directory, if anything.
    branch: Option<&'a Branch>,
    /// The file system of the nearest named path above, if the directory is inside one. `None` inside: it could not be looked at.
    inside: Option<Option<u64>>,
}

impl Tree {
    /// Opens the view; the folders in `excludes` are resolved.
    pub(super) fn open(
        roots: Roots,
        excludes: Excludes,
        one_file_system: bool,
        journal: Option<Arc<Run>>,
        patience: Option<Duration>,
    ) -> io::Result<Self> {
        let mounts = Mounts::read()?;
        let any_distant = mounts.any_distant(&roots.paths());
        let tree = Self {
            reach: Arc::new(Reach::new()?),
            roots,
            excludes,
            one_file_system,
            owners: Arc::default(),
            mounts,
            any_distant,
            guard: Guard::new(patience.unwrap_or(PATIENCE)),
            tables: MountTables::default(),
            closed: Mutex::default(),
            mistaken: Mutex::default(),
            made_up: RwLock::default(),
            journal,
        };
        for (path, branch) in root_branches(tree.roots.top(), PathBuf::new()) {
            // What may not answer is asked by the walk, where it is seen who waits for what.
            if let Stand::Distant(_) = tree.stand(&path) {
                let on = tree.mounts.under(&Path::new("/").join(&path));
                let _ = on.map(|mount| branch.device.set(mount.device));
                continue;
            }
            // One that isn't there is reported when its directory is listed.
            if let Ok(node) = tree.look(&path) {
                let _ = branch.device.set(node.meta.device);
            }
        }
        Ok(tree)
    }

    pub(super) fn with_tables(mut self, tables: MountTables) -> Self {
        self.tables = tables;
        self
    }

    /// Keeps in mind that a pattern looks like what lies here and doesn't match it.
    pub(super) fn is_mistaken(&self, path: PathBuf, pattern: &str) {
        lock(&self.mistaken).insert(path, super::mistakes::said(pattern));
    }

    /// Returns how what lies at `path` (relative to the root) is looked at. Nothing is touched to find out.
    pub(super) fn stand(&self, path: &Path) -> Stand {
        if !self.any_distant {
            return Stand::Plain;
        }
        let path = Path::new("/").join(path);
        let Some(mount) = self.mounts.under(&path).filter(|mount| mount.is_distant()) else {
            return Stand::Plain;
        };
        let Some(root) = self.roots.nearest(&path).filter(|root| !root.starts_with(&mount.place)) else {
            return Stand::Distant(mount.place.clone());
        };
        if let Some(owner) = mount.closed_by(rustix::process::geteuid().as_raw()) {
            let why = format!(
                "only user {owner} may look into what is mounted here ({}): it is taken for no part of the system",
                mount.kind
            );
            lock(&self.closed).insert(mount.place.clone(), why);
            return Stand::LeftOut;
        }
        let roots = root_branches(self.roots.top(), PathBuf::from("/"));
        let device = roots.iter().find(|(path, _)| *path == root).and_then(|(_, branch)| branch.device.get());
        match self.one_file_system && device != Some(&mount.device) {
            true => Stand::LeftOut,
            false => Stand::Distant(mount.place.clone()),
        }
    }

    /// Returns the named paths that lie on a file system of their own, or on the machine's first one.
    fn roots_mounted(&self, own: bool) -> Vec<PathBuf> {
        let first = self.mounts.at(Path::new("/")).map(|mount| mount.device);
        let roots = root_branches(self.roots.top(), PathBuf::from("/")).into_iter();
        let known = roots.filter_map(|(path, branch)| Some((path, *branch.device.get()?)));
        known.filter(|(_, device)| (Some(*device) != first) == own).map(|(path, _)| path).collect()
    }

    /// Returns whether what is mounted at `place` would be captured.
    fn would_capture(&self, place: &Path) -> bool {
        let Some(root) = self.roots.nearest(place) else { return false };
        let left_out = |path: &Path| {
            let path = path.as_os_str().as_bytes();
            self.excludes.matches(path) || self.excludes.matches_dir(path)
        };
        root == place
            || !self.one_file_system && !place.ancestors().take_while(|above| *above != root).any(left_out)
    }

    /// Returns whether what is mounted at `place` would be captured with what lies around it.
    fn is_below(&self, place: &Path) -> bool {
        self.roots.nearest(place).is_some_and(|root| root != place) && self.would_capture(place)
    }

    /// Returns what is mounted below the named paths, is captured with them and holds something. What comes and goes by itself isn't among it.
    fn mounted_below(&self) -> Vec<PathBuf> {
        let user = rustix::process::geteuid().as_raw();
        let lasting = self.mounts.all().filter(|mount| {
            !mount.is_passing()
                && mount.closed_by(user).is_none()
                && !self.mounts.comes_by_itself(&mount.place)
                && self.is_below(&mount.place)
                && self.holds_something(mount)
        });
        lasting.map(|mount| mount.place.clone()).collect()
    }

    /// What can't be asked holds nothing that anybody knows of.
    fn holds_something(&self, mount: &Mount) -> bool {
        let place = mount.place.clone();
        let look = move || -> io::Result<bool> { Ok(std::fs::read_dir(place)?.next().is_some()) };
        match mount.is_distant() {
            true => self.guard.ask(&mount.place, look).unwrap_or(false),
            false => look().unwrap_or(false),
        }
    }

    /// Returns which of the mounts that were there `before` below the named paths are gone, while their folders stay: those of a program's own
    /// (a container, a stick, a session) go with their folders, as a folder does that a person removes.
    fn lost_below<'a>(&'a self, before: &'a [String]) -> impl Iterator<Item = &'a String> {
        before.iter().filter(|place| {
            let place = Path::new(place.as_str());
            let is_folder =
                |inside: &Path| self.look(inside).is_ok_and(|node| matches!(node.kind, NodeKind::Dir { .. }));
            self.is_below(place)
                && self.mounts.at(place).is_none()
                && !self.mounts.comes_by_itself(place)
                && place.strip_prefix("/").is_ok_and(is_folder)
        })
    }

    /// Lists a directory of a mount that may not answer.
    fn list_distant(&self, dir: &Path, place: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let spot = self.spot(dir);
        let path = Path::new("/").join(dir);
        let mut listing = Listing {
            tree: self,
            fd: None,
            has_mounts: self.mounts.any_below(&path),
            path: path.clone().into_os_string().into_encoded_bytes(),
            branch: spot.branch,
            nodes: Vec::new(),
            unread,
        };
        if spot.inside.is_none() {
            listing.only_named();
            return Ok(listing.nodes);
        }
        let (reach, inside) = (Arc::clone(&self.reach), dir.to_owned());
        let mounted: BTreeSet<Vec<u8>> = self.mounts.names_in(&path);
        let listed = self.guard.ask(place, move || list_whole(&reach, &inside, &mounted))?;
        listing.each(listed);
        Ok(listing.nodes)
    }

    pub(super) fn root_paths(&self) -> Vec<PathBuf> {
        self.roots.paths()
    }

    fn spot(&self, dir: &Path) -> Spot<'_> {
        let mut spot = Spot { branch: Some(self.roots.top()), inside: None };
        let mut path = Vec::from(b"/");
        let enter = |spot: &mut Spot<'_>, branch: &Branch| {
            if branch.is_root {
                spot.inside = Some(branch.device.get().copied());
            }
        };
        enter(&mut spot, self.roots.top());
        for name in names(dir) {
            let Some(branch) = spot.branch else { break };
            spot.branch = branch.children.get(name);
            if let Some(child) = spot.branch {
                extend(&mut path, name.as_bytes());
                // Left out, but on the way to something that was named.
                if spot.inside.is_some() && (self.excludes.matches(&path) || self.excludes.matches_dir(&path))
                {
                    spot.inside = None;
                }
                enter(&mut spot, child);
            }
        }
        spot
    }

    fn is_made_up(&self, device: u64, fd: BorrowedFd<'_>) -> bool {
        if let Some(known) = self.made_up.read().unwrap_or_else(PoisonError::into_inner).get(&device) {
            return *known;
        }
        #[expect(clippy::cast_sign_loss, reason = "the numbers are bit patterns of 32 bits")]
        let magic = fstatfs(fd).map(|stat| stat.f_type as u64 & 0xFFFF_FFFF);
        // Refused: its files tell what it is worth.
        let made_up = magic.is_ok_and(|magic| MADE_UP.contains(&magic));
        self.made_up.write().unwrap_or_else(PoisonError::into_inner).insert(device, made_up);
        made_up
    }

    /// Reports what keeps the named paths at and below `branch` from being captured, given what stands there.
    pub(super) fn check_named(&self, path: &Path, branch: &Branch, node: &Node, unread: &mut Vec<Unread>) {
        let broken: Vec<(PathBuf, String)> = match node.kind {
            NodeKind::Symlink { .. } => branch
                .below(path)
                .into_iter()
                .filter_map(|named| {
                    let through = match named == path {
                        true => "is a symbolic link".to_owned(),
                        false => format!("goes through the symbolic link {}", path.display()),
                    };
                    let followed = named.clone();
                    let why = match self.guard.ask(&named, move || followed.canonicalize()) {
                        Ok(real) if self.roots.cover(&real) => return None,
                        Ok(real) => format!(
                            "{through} to {real}: name {real} in the paths too",
                            real = real.display()
                        ),
                        Err(error) => format!("{through} that leads nowhere: {error}"),
                    };
                    Some((named, why))
                })
                .collect(),
            NodeKind::Dir { .. } => Vec::new(),
            _ => {
                let why = format!("{} is not a directory", path.display());
                branch
                    .below(path)
                    .into_iter()
                    .filter(|named| named != path)
                    .map(|named| (named, why.clone()))
                    .collect()
            }
        };
        unread.extend(broken.into_iter().map(|(path, why)| Unread { path, why }));
    }
}

impl Input for Tree {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        match self.stand(dir) {
            Stand::Plain => {}
            Stand::LeftOut => return Ok(Vec::new()),
            Stand::Distant(place) => return self.list_distant(dir, &place, unread),
        }
        let spot = self.spot(dir);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::NONBLOCK;
        let fd = self.reach.open(dir, flags)?;
        let stat = stat_open(fd.as_fd())?;
        let here = machine::device_of(&stat);
        let wanted = match spot.inside {
            None => false,
            Some(Some(root)) if root != here => !self.one_file_system && !self.is_made_up(here, fd.as_fd()),
            Some(_) => true,
        };
        let path = Path::new("/").join(dir);
        let mut listing = Listing {
            tree: self,
            fd: Some(fd.as_fd()),
            has_mounts: self.any_distant && self.mounts.any_below(&path),
            path: path.into_os_string().into_encoded_bytes(),
            branch: spot.branch,
            nodes: Vec::new(),
            unread,
        };
        if wanted {
            listing.everything(fd.as_fd())?;
        } else {
            listing.only_named();
        }
        let nodes = listing.nodes;
        if let Some(journal) = &self.journal {
            journal.listed(here, stat.stx_ino, &nodes);
        }
        Ok(nodes)
    }

    /// Directories on the way to a named path are few, and listed every time.
    fn since(&self, dir: &Path, node: &Node) -> Since {
        let spot = self.spot(dir);
        let inside = spot.inside.is_some() && spot.branch.is_none_or(|branch| branch.children.is_empty());
        match &self.journal {
            Some(journal) if inside => journal.since(node.meta.device, node.meta.inode),
            _ => Since::Unknown,
        }
    }

    fn look(&self, path: &Path) -> io::Result<Node> {
        let name = path.file_name().unwrap_or_default().as_bytes().to_owned();
        let stat = match self.stand(path) {
            Stand::Plain | Stand::LeftOut => self.reach.stat(path)?,
            Stand::Distant(place) => {
                let (reach, path) = (Arc::clone(&self.reach), path.to_owned());
                self.guard.ask(&place, move || reach.stat(&path))?
            }
        };
        Ok(machine::node(name, &stat))
    }

    fn mounted(&self, before: &[String]) -> Vec<String> {
        let is_empty =
            |path: &PathBuf| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let lost = self.roots_mounted(false).into_iter();
        let lost = lost.filter(|path| before.contains(&text(path)) && is_empty(path));
        let own = self.roots_mounted(true).into_iter().chain(self.mounted_below());
        own.chain(lost).map(|path| text(&path)).collect()
    }

    fn doubts(&self, before: &[String]) -> Vec<String> {
        let roots = self.roots.paths();
        let mut doubts = unmounted(&self.tables, &self.mounts, &roots, |place| self.would_capture(place));
        let lost = self.roots_mounted(false).into_iter().map(|path| text(&path));
        doubts.extend(lost.filter(|path| before.contains(path)).map(|path| {
            format!("{path} had a file system of its own at the last point, and has none now: is its disk mounted?")
        }));
        doubts.extend(self.lost_below(before).map(|place| {
            format!("{place} was a mount of its own at the last point, and isn't mounted now: is its disk mounted?")
        }));
        doubts
    }

    fn left_out(&self) -> Vec<Unread> {
        let closed = lock(&self.closed);
        closed.iter().map(|(path, why)| Unread { path: path.clone(), why: why.clone() }).collect()
    }

    fn notes(&self) -> Vec<Unread> {
        let mistaken = lock(&self.mistaken);
        mistaken.iter().map(|(path, why)| Unread { path: path.clone(), why: why.clone() }).collect()
    }

    fn stop(&self) {
        self.guard.stop();
    }

    /// A file is looked at once more, so that one which changed since it was listed can be read whole at a second attempt.
    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        match self.stand(path) {
            Stand::Plain => describe(&self.reach, &self.owners, path, node),
            Stand::LeftOut => Ok(()),
            Stand::Distant(place) => {
                let (reach, owners) = (Arc::clone(&self.reach), Arc::clone(&self.owners));
                let (path, mut described) = (path.to_owned(), node.clone());
                *node = self.guard.ask(&place, move || {
                    describe(&reach, &owners, &path, &mut described)?;
                    Ok(described)
                })?;
                Ok(())
            }
        }
    }

    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>> {
        let Stand::Distant(place) = self.stand(path) else {
            return Ok(Box::new(open(&self.reach, path, node)?));
        };
        let (reach, path, node) = (Arc::clone(&self.reach), path.to_owned(), node.clone());
        let content = self.guard.ask(&place, move || open(&reach, &path, &node))?;
        Ok(Box::new(Guarded::new(&self.guard, &place, content)))
    }
}

fn describe(reach: &Reach, owners: &Names, path: &Path, node: &mut Node) -> io::Result<()> {
    let named = reach.name(path)?;
    match &mut node.kind {
        NodeKind::Symlink { target } => *target = read_link(&named.path)?,
        NodeKind::File { .. } => {
            let stat = machine::look(&named.path)?;
            let now = machine::node(Vec::new(), &stat);
            if !matches!(now.kind, NodeKind::File { .. }) {
                return Err(io::Error::other("is no longer a regular file"));
            }
            (node.meta, node.kind) = (now.meta, now.kind);
        }
        _ => {}
    }
    node.meta.unread.clear();
    machine::fill_xattrs(named.path.as_os_str().as_bytes(), &mut node.meta);
    owners.fill(&mut node.meta);
    Ok(())
}

fn open(reach: &Reach, path: &Path, node: &Node) -> io::Result<FileContent> {
    let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::NOCTTY;
    // A pipe that took the file's place must not hold us up.
    let fd = match reach.open(path, flags | OFlags::NONBLOCK) {
        // A file server holds a lease on the file and must be given the time to hand it back.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => reach.open(path, flags),
        other => other,
    }?;
    FileContent::new(fd, node)
}

/// Returns a path as a point notes it.
fn text(path: &Path) -> String {
    path.display().to_string()
}

fn root_branches(branch: &Branch, path: PathBuf) -> Vec<(PathBuf, &Branch)> {
    let deeper: Vec<_> =
        branch.children.iter().flat_map(|(name, child)| root_branches(child, path.join(name))).collect();
    branch.is_root.then_some((path, branch)).into_iter().chain(deeper).collect()
}

fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    let mut target = Vec::with_capacity(256);
    loop {
        let length = readlinkat_raw(CWD, path, rustix::buffer::spare_capacity(&mut target))?;
        if length < target.capacity() {
            return Ok(target);
        }
        // Linux keeps no link longer than 4,095 bytes, so this ends.
        let larger = target.capacity() * 4;
        target = Vec::with_capacity(larger);
    }
}

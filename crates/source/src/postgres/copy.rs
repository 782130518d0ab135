//! What a backup reads of a running cluster.
//!
//! Files are read while the server writes to them; the WAL of that time, which is read last, makes one state of them. So a point holds
//! all that it needs: with `backup_label` in its place the server finds its way by itself. Without the label it would take what it finds for
//! a cluster that had crashed, and be wrong: where a copy can't be ended properly, `pg_control` is left out as well, and nothing starts.

use super::layout::{self, Part, Relation};
use super::page::{PAGE_BYTES, is_damaged};
use super::server::{Cluster, Server};
use super::wal::{Lsn, Segment, WalFile};
use crate::files::Tree;
use crate::lone::Whole;
use crate::machine::{self, Names, inside};
use rustix::fs::{Mode, OFlags, open};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use vault::{Content, Input, Meta, Node, NodeKind, Timestamp, Unread};

/// A gigabyte: how long a file of a relation gets.
const BLOCKS_PER_FILE: u32 = (1 << 30) / 8192;
/// How long a replica may take to receive the WAL that a copy of it needs.
const RECEIVE_WITHIN: Duration = Duration::from_secs(600);
/// How many damaged pages of one file are named.
const NAMED_MAX: usize = 10;
/// What is only known when the copy has ended.
const MADE: [&str; 2] = ["backup_label", "tablespace_map"];

/// A running copy.
pub(super) struct Copy {
    tree: Tree,
    /// Relative to the root, as a backup names paths.
    data: PathBuf,
    tablespaces: Vec<PathBuf>,
    cluster: Cluster,
    begun: Lsn,
    server: Mutex<Option<Server>>,
    end: OnceLock<Result<End, String>>,
    damaged: Arc<Mutex<Vec<Unread>>>,
    owners: Names,
    now: Timestamp,
}

/// How the copy ended.
struct End {
    /// Where the WAL makes one state of the files, and when that was.
    at: Lsn,
    time: Timestamp,
    label: String,
    map: String,
    control: Vec<u8>,
    /// Of the WAL.
    files: HashSet<WalFile>,
    /// The first of the WAL that the copy doesn't hold whole.
    next: Segment,
}

impl Copy {
    /// Takes over a copy that the server has begun at `begun`.
    pub(super) fn new(
        tree: Tree,
        data: &Path,
        cluster: Cluster,
        server: Server,
        begun: Lsn,
        now: Timestamp,
    ) -> Self {
        Self {
            tree,
            data: inside(data).to_owned(),
            tablespaces: cluster.tablespaces.iter().map(|path| inside(path).to_owned()).collect(),
            cluster,
            begun,
            server: Mutex::new(Some(server)),
            end: OnceLock::new(),
            damaged: Arc::default(),
            owners: Names::default(),
            now,
        }
    }

    /// Returns what lies at a path, if it is part of the cluster.
    fn part(&self, path: &Path) -> Option<Part> {
        if let Ok(below) = path.strip_prefix(&self.data) {
            return Some(layout::part(below));
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        self.tablespaces.iter().any(|tablespace| path.starts_with(tablespace)).then(|| layout::relation(name))
    }

    fn wal_folder(&self) -> PathBuf {
        Path::new("/").join(&self.data).join("pg_wal")
    }

    fn is_wal(&self, path: &Path) -> bool {
        path.strip_prefix(&self.data).is_ok_and(|below| below.starts_with("pg_wal"))
    }

    /// Ends the copy, once. Whoever comes here has been told that all else was read.
    fn end(&self) -> io::Result<&End> {
        let end = self.end.get_or_init(|| {
            let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut server = server.ok_or("the copy was given up")?;
            // What lets go of the server comes last: until then it keeps the WAL.
            let end = self.stop(&mut server);
            if end.is_ok() {
                *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
            }
            end
        });
        end.as_ref().map_err(|why| io::Error::other(format!("the copy did not end well: {why}")))
    }

    fn stop(&self, server: &mut Server) -> Result<End, String> {
        let said = |error: crate::Error| error.to_string();
        // Before the end: on a replica it says up to where the WAL must be applied.
        let control = Path::new("/").join(&self.data).join("global/pg_control");
        let control = std::fs::read(&control).map_err(|error| format!("{}: {error}", control.display()))?;
        let stopped = server.stop().map_err(said)?;
        let segment_bytes = self.cluster.segment_bytes;
        let first =
            first_segment(&stopped.label, segment_bytes).ok_or("backup_label names no segment of WAL")?;
        let last = Segment::of(first.timeline, Lsn(stopped.at.0.saturating_sub(1)), segment_bytes);
        let is_replica = server.is_in_recovery().map_err(said)?;
        if is_replica {
            let until = Instant::now() + RECEIVE_WITHIN;
            while server.replayed().map_err(said)?.is_none_or(|at| at < stopped.at) {
                if Instant::now() > until {
                    return Err(format!("the replica did not receive the WAL up to {} in time", stopped.at));
                }
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
        let segments = (first.number..=last.number).map(|number| Segment { number, ..first });
        let mut files: HashSet<WalFile> = segments.map(WalFile::Whole).collect();
        let (mut there, mut histories) = (HashSet::new(), HashSet::new());
        let folder = self.wal_folder();
        let listing = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in listing.flatten() {
            let file = entry.file_name().to_str().and_then(|name| WalFile::parse(name, segment_bytes));
            match file {
                Some(history @ WalFile::History(_)) => _ = histories.insert(history),
                Some(file) => _ = there.insert(file),
                None => {}
            }
        }
        let mut missing: Vec<_> = files.difference(&there).collect();
        missing.sort();
        if let Some(WalFile::Whole(segment)) = missing.first() {
            return Err(format!("the segment {} of WAL is gone", segment.name(segment_bytes)));
        }
        files.extend(histories);
        // A primary ends the segment with the copy; on a replica it goes on.
        let next = Segment { number: last.number + u64::from(!is_replica), ..last };
        let time = Timestamp {
            seconds: stopped.time.div_euclid(1_000_000),
            nanos: u32::try_from(stopped.time.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
        };
        let (at, label, map) = (stopped.at, stopped.label, stopped.tablespaces);
        Ok(End { at, time, label, map, control, files, next })
    }

    /// Returns the entry of something that only the end of the copy makes, with the owner of its directory.
    fn made(&self, name: &str) -> io::Result<Node> {
        let owner = machine::look(&Path::new("/").join(&self.data))?;
        let meta = Meta {
            mode: 0o600,
            uid: owner.stx_uid,
            gid: owner.stx_gid,
            mtime: self.now,
            atime: self.now,
            ctime: self.now,
            links: 1,
            ..Meta::default()
        };
        let kind = NodeKind::File { size: 0, content: Vec::new(), sparse: false };
        Ok(Node { name: name.as_bytes().to_owned(), meta, kind })
    }

    /// Lists the WAL that belongs to the copy. Its folder may be a link to another disk.
    fn wal(&self) -> io::Result<Vec<Node>> {
        let end = self.end()?;
        let mut nodes = Vec::new();
        for entry in std::fs::read_dir(self.wal_folder())? {
            let entry = entry?;
            let name = entry.file_name();
            let file = name.to_str().and_then(|name| WalFile::parse(name, self.cluster.segment_bytes));
            if file.is_some_and(|file| end.files.contains(&file)) {
                nodes.push(machine::node(name.as_bytes().to_owned(), &machine::look(&entry.path())?));
            }
        }
        match nodes.len() == end.files.len() {
            true => Ok(nodes),
            false => Err(io::Error::other("a segment of WAL that the copy needs has gone")),
        }
    }

    /// Takes out what is no part of the copy.
    fn sift(&self, dir: &Path, nodes: &mut Vec<Node>) {
        nodes.retain(|node| {
            let path = dir.join(std::ffi::OsStr::from_bytes(&node.name));
            self.part(&path) != Some(Part::LeftOut)
        });
        // A relation with an `init` fork isn't logged: after a crash it is empty, and so it is in the copy.
        let relation = |node: &Node| {
            let name = std::str::from_utf8(&node.name).ok()?.to_owned();
            let relation = Relation::parse(&name)?;
            Some((relation.node.to_owned(), relation.fork == "init"))
        };
        let unlogged: HashSet<String> =
            nodes.iter().filter_map(relation).filter(|(_, init)| *init).map(|(node, _)| node).collect();
        if !unlogged.is_empty() {
            nodes.retain(|node| relation(node).is_none_or(|(node, init)| init || !unlogged.contains(&node)));
        }
    }
}

/// Returns the segment in which a copy begins, from its label.
pub(super) fn first_segment(label: &str, segment_bytes: u64) -> Option<Segment> {
    let line = label.lines().find_map(|line| line.strip_prefix("START WAL LOCATION: "))?;
    let name = line.split_once("(file ")?.1.trim_end().strip_suffix(')')?;
    Segment::parse(name, segment_bytes)
}

impl Input for Copy {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let below = dir.strip_prefix(&self.data).ok();
        match below.map(layout::part) {
            Some(Part::Wal) => return self.wal(),
            Some(Part::Empty) => return Ok(Vec::new()),
            _ => {}
        }
        let mut nodes = self.tree.list(dir, unread)?;
        if self.part(dir).is_some() {
            self.sift(dir, &mut nodes);
        }
        if below.is_some_and(|below| below.as_os_str().is_empty()) {
            for name in MADE {
                nodes.push(self.made(name)?);
            }
            if let Some(wal) = nodes.iter_mut().find(|node| node.name == b"pg_wal") {
                wal.kind = NodeKind::Dir { subtree: None };
                wal.meta.mode = if wal.meta.mode == 0o777 { 0o700 } else { wal.meta.mode };
            }
        }
        Ok(nodes)
    }

    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        let is_made =
            path.strip_prefix(&self.data).is_ok_and(|below| MADE.iter().any(|made| below == Path::new(made)));
        match is_made || self.is_wal(path) {
            true => self.owners.fill(&mut node.meta),
            false => self.tree.describe(path, node)?,
        }
        Ok(())
    }

    fn open(&self, path: &Path, node: &Node) -> io::Result<Box<dyn Content>> {
        let below = path.strip_prefix(&self.data).ok().and_then(Path::to_str);
        match below {
            Some("backup_label") => return Ok(Box::new(Made::new(self.end()?.label.as_bytes()))),
            // Where there is no tablespace there is no map.
            Some("tablespace_map") if self.end()?.map.is_empty() => {
                return Err(io::ErrorKind::NotFound.into());
            }
            Some("tablespace_map") => return Ok(Box::new(Made::new(self.end()?.map.as_bytes()))),
            Some("global/pg_control") => return Ok(Box::new(Made::new(&self.end()?.control))),
            _ => {}
        }
        if self.is_wal(path) {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = File::from(open(Path::new("/").join(path), flags, Mode::empty())?);
            return Ok(Box::new(Whole { bytes: file.metadata()?.len(), file }));
        }
        let content = self.tree.open(path, node)?;
        Ok(match self.part(path) {
            Some(Part::Pages) if self.cluster.has_checksums => Box::new(Pages::new(content, path, self)),
            Some(Part::Pages | Part::Data) => Box::new(Moving(content)),
            _ => content,
        })
    }

    fn is_late(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.data) else { return false };
        matches!(layout::part(below), Part::Control | Part::Wal)
            || MADE.iter().any(|made| below == Path::new(made))
    }

    fn position(&self) -> Option<String> {
        let end = self.end.get()?.as_ref().ok()?;
        let name = end.next.name(self.cluster.segment_bytes);
        Some(format!("{}@{}", name.get(8..)?, end.next.timeline))
    }

    fn whole_at(&self) -> Option<String> {
        Some(self.end.get()?.as_ref().ok()?.at.to_string())
    }

    fn ended(&self) -> Option<Timestamp> {
        Some(self.end.get()?.as_ref().ok()?.time)
    }

    fn identity(&self) -> Option<String> {
        super::wal::identity_in_control(&self.end.get()?.as_ref().ok()?.control)
    }

    fn finish(&self) -> Vec<Unread> {
        drop(self.server.lock().unwrap_or_else(PoisonError::into_inner).take());
        std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the end of the copy made.
struct Made(Cursor<Vec<u8>>);

impl Made {
    fn new(bytes: &[u8]) -> Self {
        Self(Cursor::new(bytes.to_owned()))
    }
}

impl Read for Made {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Made {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        Ok(true)
    }
}

/// A file that may change while it is read: the WAL knows how.
struct Moving(Box<dyn Content>);

impl Read for Moving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Content for Moving {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        Ok(true)
    }
}

/// A file of a relation, whose pages are checked as they pass.
struct Pages {
    content: Box<dyn Content>,
    path: PathBuf,
    begun: Lsn,
    first_block: u32,
    passed: u32,
    /// The beginning of a page that hasn't passed whole.
    rest: Vec<u8>,
    doubted: Vec<u32>,
    damaged: Arc<Mutex<Vec<Unread>>>,
}

impl Pages {
    fn new(content: Box<dyn Content>, path: &Path, copy: &Copy) -> Self {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let segment = Relation::parse(name).map_or(0, |relation| relation.segment);
        Self {
            content,
            path: Path::new("/").join(path),
            begun: copy.begun,
            first_block: segment.saturating_mul(BLOCKS_PER_FILE),
            passed: 0,
            rest: Vec::new(),
            doubted: Vec::new(),
            damaged: Arc::clone(&copy.damaged),
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let lacking = (PAGE_BYTES - self.rest.len()).min(bytes.len());
            let (first, later) = bytes.split_at(lacking);
            self.rest.extend_from_slice(first);
            bytes = later;
            if self.rest.len() < PAGE_BYTES {
                return;
            }
            let page = std::mem::take(&mut self.rest);
            self.look(&page);
        }
        let pages = bytes.chunks_exact(PAGE_BYTES);
        self.rest.extend_from_slice(pages.remainder());
        pages.for_each(|page| self.look(page));
    }

    fn look(&mut self, page: &[u8]) {
        if is_damaged(page, self.first_block.wrapping_add(self.passed), self.begun) {
            self.doubted.push(self.passed);
        }
        self.passed += 1;
    }

    /// Looks once more at those that were wrong: one that was just being written is right by now.
    fn look_again(&mut self) -> io::Result<()> {
        let doubted = std::mem::take(&mut self.doubted);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut page = vec![0; PAGE_BYTES];
        let mut wrong = Vec::new();
        for block in doubted {
            match file.read_exact_at(&mut page, u64::from(block) * PAGE_BYTES as u64) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                other => other?,
            }
            if is_damaged(&page, self.first_block.wrapping_add(block), self.begun) {
                wrong.push(block);
            }
        }
        if !wrong.is_empty() {
            let named: Vec<_> = wrong.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let why = format!("{} damaged pages (wrong checksum): {}", wrong.len(), named.join(", "));
            let unread = Unread { path: self.path.clone(), why };
            self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push(unread);
        }
        Ok(())
    }
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.pass(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl Content for Pages {
    fn unchanged(&mut self, _bytes_read: u64) -> io::Result<bool> {
        if !self.doubted.is_empty() {
            self.look_again()?;
        }
        Ok(true)
    }
}

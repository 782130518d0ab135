//! What a backup reads of a running server: the files that `mariadb-backup` sends, each of which becomes a file of the point.
//!
//! They come in an order of their own, and the log of what changed meanwhile among them. Nothing lies on disk in between. A copy that doesn't end
//! well is no copy: there is no point of it.

use super::crashed::Heads;
use super::told::{self, Told};
use super::tools::{Tool, judge};
use super::xbstream::{Chunk, Chunks};
use crate::files::Tree;
use crate::machine::{self, Names};
use crate::mariadb::binlog::{Position, Span, created};
use crate::mariadb::client::Client;
use crate::program::Running;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vault::{Content, Input, Meta, Node, NodeKind, Timestamp, Unread, Vessel};

/// How long a copy may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How soon a program ends whose stream breaks off.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Where in the binary log it lies: as newer ones call the file, and older ones.
const POSITIONS: [&str; 2] = ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"];
/// How many files are read at a time: one disk has hardly more to give to somebody who must not disturb.
const PARALLEL: &str = "--parallel=2";

/// A copy that can be made, and what is known of the one that was.
pub(super) struct Copy {
    pub(super) client: Client,
    pub(super) tool: Tool,
    /// The directories above the data directory, and what stands in it.
    pub(super) tree: Tree,
    /// Relative to the root, as a backup names paths.
    pub(super) data: PathBuf,
    /// What the point says of it; where it lies in the log is known at the end.
    pub(super) told: Told,
    /// The server's log is kept beside the points.
    pub(super) has_log: bool,
    /// For what `mariadb-backup` may want to write.
    pub(super) scratch: PathBuf,
    pub(super) now: Timestamp,
    pub(super) owners: Names,
    /// What has come, relative to the data directory, and how long it is.
    pub(super) come: Mutex<Come>,
}

/// What has come.
#[derive(Default)]
pub(super) struct Come {
    files: BTreeMap<PathBuf, u64>,
    position: Option<String>,
    /// The tables that are damaged in it.
    damaged: Vec<Unread>,
}

impl Copy {
    fn come(&self) -> MutexGuard<'_, Come> {
        self.come.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> crate::Result<Running> {
        let tool = self.tool.path.display().to_string();
        let arguments = [
            "--backup".to_owned(),
            "--stream=xbstream".to_owned(),
            PARALLEL.to_owned(),
            format!("--target-dir={}", self.scratch.join("target").display()),
            format!("--tmpdir={}", self.scratch.display()),
        ];
        let program = self.client.program_at(&self.tool.path, arguments)?.within(WITHIN);
        let program = program.writing(&self.scratch);
        let started = program.ending_with_us().start(Stdio::null());
        started.map_err(|why| crate::Error::new(tool, crate::Kind::Program(why)))
    }

    /// Hands over all that comes. The error says why the copy is none.
    fn take(&self, vessel: &mut dyn Vessel) -> io::Result<()> {
        let mut chunks = Chunks::new(Printed(self.start().map_err(io::Error::other)?));
        let mut come = Come::default();
        let (mut said, mut heads) = (Vec::new(), Heads::default());
        let broken = loop {
            match chunks.next() {
                Ok(None) => break None,
                Err(error) => break Some(error),
                Ok(Some(Chunk::Bytes(path, bytes, offset))) => {
                    let length = come.files.entry(path.clone()).or_default();
                    if path.extension().is_some_and(|extension| extension == "isl") {
                        let why = "a table lies outside of the data directory (DATA DIRECTORY), which can't be put back; write copy = \"logical\"";
                        return Err(io::Error::other(format!("{}: {why}", path.display())));
                    }
                    if offset != *length {
                        return Err(io::Error::other(format!("{} comes with a hole", path.display())));
                    }
                    *length += bytes.len() as u64;
                    heads.take(&path, bytes);
                    if POSITIONS.iter().any(|name| path == Path::new(name)) {
                        said.extend_from_slice(bytes);
                    }
                    vessel.add(&self.data.join(&path), bytes)?;
                }
                Ok(Some(Chunk::End(path))) => {
                    come.files.entry(path.clone()).or_default();
                    vessel.end(&self.data.join(&path))?;
                }
            }
        };
        let running = chunks.into_inner().0;
        let ended = match broken {
            None => judge(running),
            Some(error) => Err(why_broken(running, &error)),
        };
        if let Err(why) = ended {
            let why = self.client.wrong(&why).kind;
            return Err(io::Error::other(format!("the copy did not end well: {why}")));
        }
        let mut told = self.told.clone();
        told.span = self.span(&String::from_utf8_lossy(&said));
        come.position = told.span.as_ref().and_then(|span| Some(span.place()?.position()));
        let text = told.text();
        come.files.insert(told::FILE.into(), text.len() as u64);
        vessel.add(&self.data.join(told::FILE), text.as_bytes())?;
        vessel.end(&self.data.join(told::FILE))?;
        come.damaged = heads.damaged(&come.files, &self.data);
        *self.come() = come;
        Ok(())
    }

    /// Returns where it lies in the log. All of it is of that one instant: `mariadb-backup` has let nobody commit at its end.
    fn span(&self, said: &str) -> Option<Span> {
        if !self.has_log {
            return None;
        }
        let mut words = said.lines().next()?.split('\t');
        let position: Position = format!("{} {}", words.next()?, words.next()?).parse().ok()?;
        match created(&self.client, &position.file) {
            Ok(created) => Some(Span { created, from: position.clone(), to: position }),
            Err(error) => {
                tracing::warn!("where in the binary log the copy lies is not known: {error}");
                None
            }
        }
    }

    /// Returns an entry that looks like what stands there, or like the data directory's own.
    fn node(&self, path: &Path, name: Vec<u8>, length: Option<u64>) -> io::Result<Node> {
        let root = Path::new("/");
        let data = machine::look(&root.join(&self.data))?;
        let kind = match length {
            Some(size) => NodeKind::File { size, content: Vec::new(), sparse: false },
            None => NodeKind::Dir { subtree: None },
        };
        let standing = machine::look(&root.join(&self.data).join(path)).ok();
        let standing = standing.map(|stat| machine::node(Vec::new(), &stat).meta);
        let meta = Meta {
            mode: standing.as_ref().map_or(if length.is_some() { 0o660 } else { 0o700 }, |meta| meta.mode),
            uid: standing.as_ref().map_or(data.stx_uid, |meta| meta.uid),
            gid: standing.as_ref().map_or(data.stx_gid, |meta| meta.gid),
            // Never that of what stands there: it isn't the same content.
            mtime: self.now,
            atime: self.now,
            ctime: self.now,
            links: 1,
            ..Meta::default()
        };
        Ok(Node { name, meta, kind })
    }
}

impl Input for Copy {
    fn pour(&self, vessel: &mut dyn Vessel) -> io::Result<()> {
        self.take(vessel)
    }

    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> io::Result<Vec<Node>> {
        let Ok(below) = dir.strip_prefix(&self.data) else { return self.tree.list(dir, unread) };
        let come = self.come();
        let mut entries: BTreeMap<OsString, Option<u64>> = BTreeMap::new();
        for (path, length) in &come.files {
            let Ok(rest) = path.strip_prefix(below) else { continue };
            let mut parts = rest.components();
            let Some(first) = parts.next() else { continue };
            let is_file = parts.next().is_none();
            entries.insert(first.as_os_str().to_owned(), is_file.then_some(*length));
        }
        let node =
            |(name, length): (OsString, Option<u64>)| self.node(&below.join(&name), name.into_vec(), length);
        entries.into_iter().map(node).collect()
    }

    fn describe(&self, path: &Path, node: &mut Node) -> io::Result<()> {
        match path.strip_prefix(&self.data) {
            Ok(below) if !below.as_os_str().is_empty() => self.owners.fill(&mut node.meta),
            _ => self.tree.describe(path, node)?,
        }
        Ok(())
    }

    fn open(&self, path: &Path, _node: &Node) -> io::Result<Box<dyn Content>> {
        Err(io::Error::other(format!(
            "{} was not sent",
            String::from_utf8_lossy(path.as_os_str().as_bytes())
        )))
    }

    fn position(&self) -> Option<String> {
        self.come().position.clone()
    }

    /// Names the tables that are damaged: an earlier point may have them whole, and is not to be pushed out by one that hasn't.
    fn finish(&self) -> Vec<Unread> {
        self.come().damaged.clone()
    }
}

/// Returns why a stream is broken: the program's own words say it better, if it has ended.
fn why_broken(mut running: Running, error: &io::Error) -> String {
    let until = Instant::now() + ENDS_WITHIN;
    while Instant::now() < until {
        if let Some(why) = running.over() {
            return format!("{error}: {why}");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    error.to_string()
}

/// What the program prints.
struct Printed(Running);

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

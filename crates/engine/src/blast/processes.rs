//! What runs, as `/proc` tells it: who has something open below some paths, and listens where.

use plain::Name;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that has something open there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What the kernel calls it.
    pub name: String,
    /// Whose it is, by name or else by number.
    pub user: String,
    /// How many different files it has open or mapped there, or works in; those that were deleted count too.
    pub open: usize,
    /// TCP ports on which it listens.
    pub listening: BTreeSet<u16>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, name, user, open, listening } = self;
        let (name, user) = (Name::of(name), Name::of(user));
        let files = if *open == 1 { "file" } else { "files" };
        write!(f, "{name} ({user}, process {pid}) has {open} {files} open")?;
        if listening.is_empty() {
            return Ok(());
        }
        /// More say nothing to a person.
        const SHOWN: usize = 4;
        let ports: Vec<_> = listening.iter().take(SHOWN).map(u16::to_string).collect();
        let more = if listening.len() > SHOWN { ", …" } else { "" };
        write!(f, ", port {}{more}", ports.join(", "))
    }
}

/// Returns who has something open below these paths, this program left out, and how many could not be looked into.
pub(super) fn look(paths: &[&Path]) -> io::Result<(Vec<Process>, usize)> {
    let mut below: HashSet<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
    let answering = paths.iter().filter(|path| source::silent_on_the_way(path).is_none());
    below.extend(answering.filter_map(|path| fs::canonicalize(path).ok()));
    // By the folders above it: there may be more paths than any file has of those.
    let is_below = |file: &Path| file.ancestors().any(|above| below.contains(above));
    let users = users();
    let mut found = Vec::new();
    let mut hidden = 0;
    for entry in fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if pid == std::process::id() {
            continue;
        }
        let folder = entry.path();
        let mut files: BTreeSet<PathBuf> = BTreeSet::new();
        let mut sockets = Vec::new();
        match fs::read_dir(folder.join("fd")) {
            Ok(handles) => {
                for target in handles.flatten().filter_map(|handle| fs::read_link(handle.path()).ok()) {
                    let text = target.to_string_lossy();
                    match text.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                        Some(inode) => sockets.extend(inode.parse::<u64>()),
                        None if is_below(&target) => {
                            files.insert(target);
                        }
                        None => {}
                    }
                }
            }
            // It may have ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => continue,
        }
        let links = ["cwd", "root", "exe"].iter().filter_map(|link| fs::read_link(folder.join(link)).ok());
        files.extend(links.filter(|target| is_below(target)));
        files.extend(mapped(&folder).into_iter().filter(|target| is_below(target)));
        if files.is_empty() {
            continue;
        }
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        let uid = entry.metadata().map_or(0, |meta| meta.uid());
        found.push(Process {
            pid,
            name: name.trim().to_owned(),
            user: users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
            open: files.len(),
            listening: listening(&folder, &sockets),
        });
    }
    found.sort_by_key(|process| process.pid);
    Ok((found, hidden))
}

/// Returns the files that a process has mapped into its memory.
fn mapped(folder: &Path) -> Vec<PathBuf> {
    let maps = fs::read(folder.join("maps")).unwrap_or_default();
    // proc_pid_maps(5): a path, where there is one, is the sixth field and begins with a slash.
    let lines = String::from_utf8_lossy(&maps).into_owned();
    lines.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)).map(PathBuf::from)).collect()
}

/// Returns the TCP ports on which these sockets of a process listen, in its own network.
fn listening(folder: &Path, sockets: &[u64]) -> BTreeSet<u16> {
    if sockets.is_empty() {
        return BTreeSet::new();
    }
    let mut ports: BTreeMap<u64, u16> = BTreeMap::new();
    for table in ["net/tcp", "net/tcp6"] {
        let text = fs::read_to_string(folder.join(table)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // proc_net(5): local address, state (0A: listens), inode.
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if let (Some(port), Ok(inode)) = (port, inode.parse()) {
                ports.insert(inode, port);
            }
        }
    }
    sockets.iter().filter_map(|inode| ports.get(inode).copied()).collect()
}

fn users() -> HashMap<u32, String> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    // passwd(5): name, password, number.
    let entry =
        |line: &str| Some((line.split(':').nth(2)?.parse().ok()?, line.split(':').next()?.to_owned()));
    text.lines().filter_map(entry).collect()
}

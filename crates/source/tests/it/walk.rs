//! Reads a capture as a backup does.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use vault::{Input, Node, NodeKind, Timestamp, Unread};

/// All that a capture gave.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// By absolute path.
    pub(crate) nodes: BTreeMap<PathBuf, Node>,
    pub(crate) contents: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) unread: Vec<Unread>,
}

impl Walked {
    /// Returns the paths below `base`, relative to it.
    pub(crate) fn below(&self, base: &Path) -> Vec<String> {
        let below = self.nodes.keys().filter_map(|path| path.strip_prefix(base).ok());
        below.map(|path| path.display().to_string()).filter(|path| !path.is_empty()).collect()
    }

    pub(crate) fn why(&self, path: &Path) -> &str {
        let found: Vec<_> = self.unread.iter().filter(|unread| unread.path == path).collect();
        assert_eq!(found.len(), 1, "{} in {:?}", path.display(), self.unread);
        &found[0].why
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp { seconds: 1_700_000_000, nanos: 5 }
}

/// Walks all of it, reads all files, and finishes.
pub(crate) fn walk(input: &dyn Input) -> Walked {
    let mut walked = Walked::default();
    visit(input, Path::new(""), &mut walked);
    walked.unread.extend(input.finish());
    walked
}

fn visit(input: &dyn Input, dir: &Path, walked: &mut Walked) {
    let nodes = match input.list(dir, &mut walked.unread) {
        Ok(nodes) => nodes,
        Err(error) => return fail(dir, &error, walked),
    };
    for mut node in nodes {
        let path = dir.join(Path::new(std::ffi::OsStr::from_bytes(&node.name)));
        if let Err(error) = input.describe(&path, &mut node) {
            fail(&path, &error, walked);
        }
        match node.kind {
            NodeKind::Dir { .. } => visit(input, &path, walked),
            NodeKind::File { .. } => match read(input, &path, &node) {
                Ok(content) => drop(walked.contents.insert(Path::new("/").join(&path), content)),
                Err(error) => fail(&path, &error, walked),
            },
            _ => {}
        }
        walked.nodes.insert(Path::new("/").join(path), node);
    }
}

/// Reads one file whole, in odd pieces. A file that changed is an error.
pub(crate) fn read(input: &dyn Input, path: &Path, node: &Node) -> std::io::Result<Vec<u8>> {
    let mut content = input.open(path, node)?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 7919];
    loop {
        match content.read(&mut piece)? {
            0 => break,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    match content.unchanged(bytes.len() as u64)? {
        true => Ok(bytes),
        false => Err(std::io::Error::other("changed while it was read")),
    }
}

fn fail(path: &Path, error: &std::io::Error, walked: &mut Walked) {
    walked.unread.push(Unread { path: Path::new("/").join(path), why: error.to_string() });
}

use std::os::unix::ffi::OsStrExt;

//! A small vault that somebody has harmed, as any bytes say: for the fuzzer and the tests.
//!
//! Whatever was done to it, looking at its points, verifying it and restoring from it come to an end, and what is said to have come back whole is what was
//! written.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a panic is what is looked for"
)]

#[cfg(test)]
mod tests;

use crate::format::index::{Index, IndexedPack};
use crate::format::pack::Entry;
use crate::format::tree;
use crate::keys::MasterKey;
use crate::mutex::lock;
use crate::packer::PackWriter;
use crate::restore::{RestoreOptions, restore};
use crate::sink::{Press, Sink};
use crate::store::Listed;
use crate::verify::{VerifyOptions, Window, verify};
use crate::{
    BlobId, BlobKind, Error, FileId, FileKind, Holder, Kind, Lock, LockKind, Meta, Node, NodeKind, Password,
    Progress, Repository, Result, Snapshot, Store,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Much more than any of it takes, and much less than for ever.
const WITHIN: Duration = Duration::from_secs(60);

type Files = BTreeMap<(FileKind, String), Vec<u8>>;

/// A vault in memory. Clones are the same vault.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Files>>);

impl Held {
    fn get<T>(&self, kind: FileKind, name: &str, part: impl FnOnce(&[u8]) -> Result<T, Kind>) -> Result<T> {
        let found = lock(&self.0).get(&(kind, name.to_owned())).ok_or(Kind::NotFound).and_then(|it| part(it));
        found.map_err(|error| Error::new(format!("read {}", kind.path(name)), error))
    }
}

impl Store for Held {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn create(&self) -> Result<()> {
        Ok(())
    }

    fn entries(&self, kind: FileKind) -> Result<Vec<Listed>> {
        let files = lock(&self.0);
        let own = files.iter().filter(|((of, _), _)| *of == kind);
        Ok(own.map(|((_, name), it)| Listed { name: name.clone(), size: it.len() as u64 }).collect())
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.get(kind, name, |bytes| match bytes.len() as u64 {
            length if length > kind.length_max() => Err(crate::budget::too_long(kind, length)),
            _ => Ok(bytes.to_vec()),
        })
    }

    fn read_range(&self, kind: FileKind, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let at = |byte| usize::try_from(byte).unwrap_or(usize::MAX);
        let part = at(range.start)..at(range.end);
        self.get(kind, name, |bytes| {
            bytes.get(part).map(<[u8]>::to_vec).ok_or_else(|| Kind::Damaged("it ends before that".into()))
        })
    }

    fn size(&self, kind: FileKind, name: &str) -> Result<Option<u64>> {
        Ok(lock(&self.0).get(&(kind, name.to_owned())).map(|it| it.len() as u64))
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        lock(&self.0).insert((kind, name.to_owned()), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        lock(&self.0).remove(&(kind, name.to_owned()));
        Ok(())
    }

    fn lanes(&self) -> usize {
        2
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// The vault before anybody came.
struct Sound {
    files: Files,
    master: MasterKey,
    tree: BlobId,
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let held = Held::default();
        let password = Password::new(b"x".to_vec());
        let vault =
            Repository::create(Box::new(held.clone()), &password, "here", jiff::Timestamp::UNIX_EPOCH);
        let vault = Arc::new(vault.unwrap());
        let tree = put(&vault, |add| {
            let below = [file(add, 3), file(add, 4)];
            let below = add(BlobKind::Tree, &tree::write(&mut below.clone()));
            let mut nodes =
                [file(add, 1), file(add, 2), node("below", NodeKind::Dir { subtree: Some(below) })];
            add(BlobKind::Tree, &tree::write(&mut nodes))
        });
        point(&vault, tree);
        let master = MasterKey::of(&vault);
        drop(vault);
        let files = lock(&held.0).clone();
        Sound { files, master, tree }
    })
}

fn holder() -> Holder {
    Holder { hostname: "here".into(), username: "me".into() }
}

/// Adds a blob, and returns its id.
type Add<'a> = dyn FnMut(BlobKind, &[u8]) -> BlobId + 'a;

/// Writes blobs into the vault.
fn put<T>(vault: &Arc<Repository>, work: impl FnOnce(&mut Add<'_>) -> T) -> T {
    let lock = Lock::take(vault, LockKind::Shared, &holder()).unwrap();
    let writer = PackWriter::new(&lock);
    let done = {
        let writers = [&writer];
        let sink = Sink::new(&writers);
        let mut press = Press::new();
        work(&mut |kind, plain| sink.put(kind, plain, &mut press))
    };
    writer.finish().unwrap();
    done
}

/// Writes a point with this root.
fn point(vault: &Repository, tree: BlobId) -> FileId {
    vault.write_snapshot(&snapshot(tree)).unwrap()
}

fn snapshot(tree: BlobId) -> Snapshot {
    let json = serde_json::json!({
        "time": "2026-11-30T12:00:00Z", "tree": tree.to_string(), "paths": ["/"], "hostname": "here",
        "tags": ["releve", "system:shop"],
    });
    serde_json::from_value(json).unwrap()
}

fn node(name: &str, kind: NodeKind) -> Node {
    let meta = Meta {
        mode: 0o755,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        links: 1,
        ..Meta::default()
    };
    Node { name: name.as_bytes().to_vec(), meta, kind }
}

fn text(number: u8) -> String {
    format!("file {number} ").repeat(usize::from(number) * 300)
}

fn file(add: &mut Add<'_>, number: u8) -> Node {
    let text = text(number);
    let content = vec![add(BlobKind::Data, text.as_bytes())];
    node(&format!("file-{number}"), NodeKind::File { size: text.len() as u64, content, sparse: false })
}

/// Harms the vault as `bytes` say, and uses it. `folder` is an empty one, to restore into.
pub fn use_harmed(bytes: &[u8], folder: &Path) {
    let sound = sound();
    let held = Held(Arc::new(Mutex::new(sound.files.clone())));
    let mut said = bytes.iter().copied();
    while let Some(what) = said.next() {
        harm(&held, sound, what, &mut said);
    }
    let begun = Instant::now();
    let Ok(vault) = Repository::open_with_master(Box::new(held), &sound.master) else { return };
    let vault = Arc::new(vault);
    let (Ok(_), Ok((snapshots, _))) = (vault.load_index(), vault.snapshots()) else { return };
    let options = VerifyOptions { read: Window::ALL, holder: holder() };
    let verified = verify(&vault, &options, &Progress::default());
    for (number, (_, snapshot)) in snapshots.iter().enumerate() {
        let to = folder.join(number.to_string());
        let vaults = [Arc::clone(&vault)];
        let options = RestoreOptions::new(&to);
        let Ok(report) = restore(&vaults, snapshot.tree, &options, &Progress::default()) else { continue };
        if snapshot.tree != sound.tree {
            continue;
        }
        if report.is_whole() {
            is_right(&to);
        } else {
            // Who could not look says so; who looked has seen it.
            let saw_nothing = verified.as_ref().is_ok_and(|seen| seen.finding_count + seen.unread_count == 0);
            assert!(!saw_nothing, "{report:?}");
        }
    }
    assert!(begun.elapsed() < WITHIN, "{:?}", begun.elapsed());
}

fn is_right(to: &Path) {
    for number in 1..=4u8 {
        let name = format!("file-{number}");
        let path = if number < 3 { to.join(name) } else { to.join("below").join(name) };
        assert!(std::fs::read_to_string(&path).unwrap() == text(number), "{}", path.display());
    }
}

/// Does one thing to the vault.
fn harm(held: &Held, sound: &Sound, what: u8, said: &mut impl Iterator<Item = u8>) {
    let mut next = || said.next().unwrap_or_default();
    let (which, how, more) = (usize::from(next()), next(), next());
    if what % 8 >= 6 {
        // As whoever has taken the machine over: sealed with the vault's own key.
        let Ok(vault) = Repository::open_with_master(Box::new(held.clone()), &sound.master) else { return };
        return match what % 8 {
            6 => nested(&Arc::new(vault), how, more),
            _ => wild_index(&vault, (which, how, more)),
        };
    }
    let mut files = lock(&held.0);
    if files.is_empty() {
        return;
    }
    let names: Vec<_> = files.keys().cloned().collect();
    let name = &names[which % names.len()];
    let other = &names[usize::from(how) % names.len()];
    let bytes = files[name].clone();
    match what % 8 {
        0 => _ = files.remove(name),
        1 => _ = files.insert(name.clone(), bytes[..bytes.len() * usize::from(how) / 256].to_vec()),
        2 => _ = files.insert(name.clone(), [&bytes[..], &vec![how; usize::from(more) * 300][..]].concat()),
        3 if !bytes.is_empty() => {
            let mut bytes = bytes;
            let at = (usize::from(how) * 256 + usize::from(more)) % bytes.len();
            bytes[at] ^= 1 << (how % 8);
            files.insert(name.clone(), bytes);
        }
        4 => {
            let theirs = files.insert(other.clone(), bytes).unwrap_or_default();
            files.insert(name.clone(), theirs);
        }
        _ => _ = files.insert((name.0, FileId::of(&[how, more]).to_string()), bytes),
    }
}

/// Adds a point whose trees name each other.
fn nested(vault: &Arc<Repository>, fan: u8, depth: u8) {
    if vault.load_index().is_err() {
        return;
    }
    let tree = put(vault, |add| {
        let nodes = [file(add, 1), node("gone", NodeKind::Dir { subtree: Some(BlobId::of(&[fan])) })];
        let mut tree = add(BlobKind::Tree, &tree::write(&mut nodes.clone()));
        for _ in 0..depth % 7 {
            let dir = |number: u8| node(&format!("{number}"), NodeKind::Dir { subtree: Some(tree) });
            let mut nodes: Vec<Node> = (0..=fan % 3).map(dir).collect();
            tree = add(BlobKind::Tree, &tree::write(&mut nodes));
        }
        tree
    });
    point(vault, tree);
}

/// Adds an index that says something else of a blob of the sound vault than is true.
fn wild_index(vault: &Repository, (which, how, more): (usize, u8, u8)) {
    if vault.load_index().is_err() {
        return;
    }
    let mut packs = vault.catalogue().by_pack();
    packs.retain(|pack| !pack.blobs.is_empty());
    let Some(pack) = packs.get(which % packs.len().max(1)) else { return };
    let (kind, id, place) = pack.blobs[usize::from(how) % pack.blobs.len()];
    let wild = [0, 1, 40, place.length, place.length + 1, 1 << 20, 1 << 30, u32::MAX];
    let entry = Entry {
        id,
        kind,
        offset: wild[usize::from(how / 8) % 8],
        length: wild[usize::from(more) % 8],
        uncompressed: wild[usize::from(more / 8) % 8],
    };
    let index = Index { packs: vec![IndexedPack { id: pack.id, entries: vec![entry] }], marked: Vec::new() };
    vault.write_sealed(FileKind::Index, &index).unwrap();
}

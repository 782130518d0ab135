//! The small files of a vault that nothing else watches: keys and locks, and snapshots in which one bit has turned.
//!
//! Junk among them is not harmless: current restic refuses a vault that has a key or a lock which makes no sense. What is put right here loses
//! nothing: a turned bit is turned back, a key under a wrong name gets its own, and only what is neither whole nor of use goes.

use crate::format::key::KeyFile;
use crate::lock::is_lock;
use crate::reindex::removed;
use crate::store::listing;
use crate::{Error, FileId, FileKind, Kind, Repository, Result, Store, mend};

/// A small file that isn't what its name says.
#[derive(Debug, Clone)]
pub(crate) struct Odd {
    pub(crate) kind: FileKind,
    pub(crate) name: String,
    pub(crate) remedy: Remedy,
}

/// What is done about it.
#[derive(Debug, Clone)]
pub(crate) enum Remedy {
    /// This is what was written.
    Mend(Vec<u8>),
    /// A key that may open still, under the name that belongs to its content.
    Rename(Vec<u8>),
    /// Nobody can use it.
    Remove,
}

impl Odd {
    /// Returns what is wrong, and what is done about it.
    pub(crate) fn text(&self) -> String {
        let path = self.kind.path(self.name.get(..8).unwrap_or(&self.name));
        match self.remedy {
            Remedy::Mend(_) => format!("{path}: one bit of it has turned, and is turned back"),
            Remedy::Rename(_) => {
                format!("{path}: a key that was changed; it gets the name of what it says now")
            }
            Remedy::Remove => format!("{path}: it makes no sense to anybody, and is removed"),
        }
    }
}

/// Looks at the keys and the locks of a vault.
pub(crate) fn look(vault: &Repository) -> Result<Vec<Odd>> {
    let mut odd = Vec::new();
    for kind in [FileKind::Key, FileKind::Lock] {
        let listed = listing(vault.store(), kind)?;
        for found in vault.for_each(&listed, |listed| look_at(vault, kind, &listed.name)) {
            odd.extend(found?);
        }
    }
    Ok(odd)
}

/// Looks at one file; `None` if it is as it should be, or gone.
pub(crate) fn look_at(vault: &Repository, kind: FileKind, name: &str) -> Result<Option<Odd>> {
    let Some(bytes) = read(vault.store(), kind, name)? else { return Ok(None) };
    if FileId::of(&bytes).to_string() == name {
        let makes_sense = match kind {
            FileKind::Key => is_key(&bytes),
            FileKind::Lock => vault.open_json(kind, &bytes).is_some_and(|json| is_lock(&json)),
            // Sealed with another key it is no point of this vault, and nobody can ever read it here.
            _ => vault.key().open(&mut bytes.clone()).is_ok(),
        };
        return Ok((!makes_sense).then(|| Odd { kind, name: name.to_owned(), remedy: Remedy::Remove }));
    }
    let named = |bytes: &[u8]| FileId::of(bytes).to_string() == name;
    let remedy = match mend::one_bit(&bytes, named) {
        Some(right) => Remedy::Mend(right),
        None if kind == FileKind::Key && is_key(&bytes) => Remedy::Rename(bytes),
        None => Remedy::Remove,
    };
    Ok(Some(Odd { kind, name: name.to_owned(), remedy }))
}

/// Puts a file right, if it still is as it was looked at.
pub(crate) fn put_right(vault: &Repository, odd: &Odd, findings: &mut Vec<String>) -> Result<()> {
    let again = look_at(vault, odd.kind, &odd.name)?;
    let Some(Odd { remedy, .. }) = again else { return Ok(()) };
    let id: FileId = match odd.name.parse() {
        Ok(id) => id,
        Err(_) => return Ok(()),
    };
    match remedy {
        Remedy::Mend(right) => vault.store().write(odd.kind, &odd.name, &right),
        Remedy::Rename(bytes) => {
            vault.store().write(odd.kind, &FileId::of(&bytes).to_string(), &bytes)?;
            removed(vault.store(), odd.kind, &id, findings).map(drop)
        }
        Remedy::Remove => removed(vault.store(), odd.kind, &id, findings).map(drop),
    }
}

/// Returns the keys and locks that are junk whoever looks at them: no key is needed to tell, so that it works for a vault that can't be opened.
pub(crate) fn junk(store: &dyn Store) -> Result<Vec<(FileKind, String)>> {
    let mut junk = Vec::new();
    for kind in [FileKind::Key, FileKind::Lock] {
        for listed in listing(store, kind)? {
            let Some(bytes) = read(store, kind, &listed.name)? else { continue };
            let is_sound = FileId::of(&bytes).to_string() == listed.name;
            let may_be_of_use = kind == FileKind::Key && is_key(&bytes);
            if !is_sound && !may_be_of_use {
                junk.push((kind, listed.name));
            }
        }
    }
    Ok(junk)
}

fn is_key(bytes: &[u8]) -> bool {
    serde_json::from_slice::<KeyFile>(bytes).is_ok()
}

fn read(store: &dyn Store, kind: FileKind, name: &str) -> Result<Option<Vec<u8>>> {
    match store.read(kind, name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
        // Something that is no file has taken its place: what is in there is none of our bytes.
        Err(Error { kind: Kind::Damaged(_), .. }) => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}

//! What may take the place of what a vault holds of a log: itself and more, and nothing else.
//!
//! What lies on a disk that has crashed is worth no more than what was carried from it while it was sound. This is the one place that decides it, for every kind of log.

use super::*;
use source::{Against, EndOf, against};
use std::ffi::OsString;
use std::io::{Cursor, Seek};
use std::os::unix::fs::MetadataExt;

/// How the name of what there is so far of a file ends.
const BEGUN: &str = "partial";

/// The files that wait and go into no vault, since it has more than they under their names, or something else.
#[derive(Debug, Default)]
pub(super) struct Stands {
    /// They say something else.
    pub(super) differ: BTreeSet<PathBuf>,
    /// They end earlier, and are the same until there.
    pub(super) behind: BTreeSet<PathBuf>,
}

impl Stands {
    /// Returns whether a file goes into no vault.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.differ.contains(path) || self.behind.contains(path)
    }
}

/// What was looked at of what a vault holds, to see what may take its place.
#[derive(Default)]
pub(super) struct Looked {
    /// The file on this machine that came last under a name, by its device and number: it is written to where it is, and grows.
    pub(super) own: BTreeMap<PathBuf, (u64, u64)>,
    /// What the vault holds of the last file that was compared, and under which path.
    kept: Option<(PathBuf, Arc<Vec<u8>>)>,
}

impl Looked {
    /// Notes that these are what the vault holds under their names.
    pub(super) fn note(&mut self, carried: &[&Waiting]) {
        for waiting in carried {
            let path = whole_of(&waiting.file.path);
            match number(waiting) {
                Some(number) => _ = self.own.insert(path, number),
                None => _ = self.own.remove(&path),
            }
        }
        self.kept = None;
    }
}

impl Carrier<'_> {
    /// Returns which of the files that wait must not take the place of what a vault holds. Those of `differing` are known to say something else.
    pub(super) fn stands(
        &self,
        name: &VaultName,
        vault: &Repository,
        held: &mut Held,
        group: &Group,
        differing: BTreeSet<PathBuf>,
    ) -> Result<Stands> {
        let mut stands = Stands { differ: differing, ..Stands::default() };
        let newest = group.files.iter().filter_map(Waiting::position).max();
        let Some(ends) = self.log.ends() else { return Ok(stands) };
        for waiting in &group.files {
            let path = &waiting.file.path;
            // Whole ones have been compared with whole ones; here with the beginning that they take the place of.
            let place = match &waiting.file.kind {
                LogKind::Partial(_) => path.clone(),
                LogKind::Whole(_) if !held.files.contains_key(path) => begun_of(path),
                LogKind::Whole(_) | LogKind::Always => continue,
            };
            let Some(there) = held.files.get(&place).copied() else { continue };
            let may_replace =
                place != *path || there != waiting.bytes || self.may_differ(name, group, waiting, newest);
            let own = held.looked.own.get(&whole_of(path));
            if !may_replace || own.is_some_and(|own| number(waiting) == Some(*own)) {
                continue;
            }
            let known = held.looked.kept.as_ref().filter(|(known, _)| *known == place);
            let kept = match known.map(|(_, kept)| Arc::clone(kept)) {
                Some(kept) => kept,
                None => match read_back(vault, held, &place)? {
                    Some(kept) => Arc::new(kept),
                    // What can't be read back is none the worse for it.
                    None => continue,
                },
            };
            match compare(ends, &kept, waiting)? {
                Against::GoesOn => {}
                // A whole one that ends before its beginning did is none.
                Against::Behind if place == *path => _ = stands.behind.insert(waiting.path.clone()),
                Against::Behind | Against::Differs => _ = stands.differ.insert(waiting.path.clone()),
            }
            held.looked.kept = Some((place, kept));
        }
        Ok(stands)
    }

    /// Returns whether a file that isn't whole yet may have another content without being longer. `newest` is the last position that waits.
    pub(super) fn may_differ(
        &self,
        name: &VaultName,
        group: &Group,
        waiting: &Waiting,
        newest: Option<&str>,
    ) -> bool {
        let is_carried = || lock(&self.same).get(&waiting.in_spool(name, group)) == Some(&true);
        waiting.position() == newest || waiting.is_away && !is_carried()
    }
}

fn compare(ends: EndOf, kept: &[u8], waiting: &Waiting) -> Result<Against> {
    let compared = || {
        let mut found = match &waiting.open {
            Some(open) => open.try_clone()?,
            None => File::open(&waiting.path)?,
        };
        against_kept(ends, &waiting.path, &mut Cursor::new(kept), &mut found)
    };
    compared().map_err(|error| {
        let place = waiting.path.display();
        Error::new(format!("compare {place} with what a vault has of it: {error}"))
    })
}

/// Returns how a file of a log that was found, by its path, stands to what is kept of it. `ends` is what tells where it ends.
pub(crate) fn against_kept(
    ends: EndOf,
    path: &Path,
    kept: &mut (impl Read + Seek),
    found: &mut (impl Read + Seek),
) -> std::io::Result<Against> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    against(kept, found, &|file| ends(name, file))
}

/// Reads what a vault holds under a path; `None` where that is damaged.
fn read_back(vault: &Repository, held: &Held, path: &Path) -> Result<Option<Vec<u8>>> {
    let Some((_, snapshot)) = &held.newest else { return Ok(None) };
    let nodes = files_of(vault, &snapshot.tree)?;
    let Some(NodeKind::File { content, .. }) = nodes.get(path).map(|node| &node.kind) else {
        return Ok(None);
    };
    let mut kept = Vec::new();
    for id in content {
        match vault.blob(BlobKind::Data, id) {
            Ok(piece) => kept.extend(piece),
            Err(error) if error.says_damage() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(kept))
}

/// Returns the device and the number of a file that waits.
fn number(waiting: &Waiting) -> Option<(u64, u64)> {
    let meta = match &waiting.open {
        Some(open) => open.metadata(),
        None => fs::metadata(&waiting.path),
    };
    meta.ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Returns what the beginning of a file is called.
fn begun_of(path: &Path) -> PathBuf {
    let mut begun = OsString::from(path);
    begun.push(".");
    begun.push(BEGUN);
    begun.into()
}

/// Returns what a file is called once it is whole.
fn whole_of(path: &Path) -> PathBuf {
    match path.extension().is_some_and(|extension| extension == BEGUN) {
        true => path.with_extension(""),
        false => path.to_owned(),
    }
}

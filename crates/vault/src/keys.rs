//! The keys of a repository: files that each wrap the one master key with a password of its own.
//!
//! Invariants: a new key counts when it was read back and opened; a key goes only after another has just been seen to open; those who
//! remove hold the repository for themselves, so that no two rely on each other's key.

mod letters;
mod master;

pub use master::{BadPaper, MasterKey};

pub(crate) use letters::{ALPHABET, value};

use crate::budget::too_long;
use crate::crypto::Key;
use crate::format::key::KeyFile;
use crate::lanes::in_lanes;
use crate::store::{Listed, listing, place};
use crate::{
    BlobKind, Error, FileId, FileKind, Holder, Kind, Lock, LockKind, Password, Repository, Result, Store,
    mend,
};
use jiff::Timestamp;
use std::sync::Arc;

/// restic looks at no more when it opens a repository: a further key would open it by chance. Nor do we try more of those that cost anything.
pub const KEYS_MAX: usize = 20;

/// So many key files are read, whatever lies there; of a folder on this machine, where each costs next to nothing, more; and of all no more bytes than these.
const READ_MAX: usize = 1000;
const READ_NEAR_MAX: usize = 20_000;
const READ_BYTES_MAX: u64 = 64 << 20;

/// What is longer is read after all others: a key has some 450 bytes.
const USUAL_MAX: u64 = 4096;
/// What is shorter has no room for a salt and a wrapped key.
const USUAL_MIN: u64 = 150;

/// Where more files than these lie there, none is looked through for a bit that has turned: that takes milliseconds for each.
const MENDED_MAX: usize = 100;

/// Less work than any program makes a try cost: it takes some milliseconds.
const CHEAP: u64 = 1 << 16;

/// What is known of a key without its password.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// Its file.
    pub id: FileId,
    /// When it was made, as its maker wrote it.
    pub created: String,
    /// On which machine.
    pub hostname: String,
    /// By whom.
    pub username: String,
    /// What a guess at its password costs: scrypt's N, r and p.
    pub scrypt: (u64, u32, u32),
}

impl KeyInfo {
    /// Returns the bytes of memory that one guess takes.
    #[must_use]
    pub fn guess_memory(&self) -> u64 {
        let (n, r, _) = self.scrypt;
        n.saturating_mul(u64::from(r)).saturating_mul(128)
    }
}

/// A key that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// The key that opens with the password.
    pub id: FileId,
    /// False: there was one already.
    pub created: bool,
}

/// What a secret was seen to open.
#[derive(Debug, Default)]
pub struct Proof {
    /// How many points are there.
    pub points: u64,
    /// When the newest of them was made; its root was read.
    pub newest: Option<Timestamp>,
    /// What could not be read.
    pub findings: Vec<String>,
}

/// A key whose successor is there and opens. Both open until [`finish`](Self::finish), and if this is dropped.
#[derive(Debug)]
#[must_use = "the old key opens until this is finished"]
pub struct Rotation {
    vault: Arc<Repository>,
    /// The key that goes.
    pub old: FileId,
    /// The key that took its place.
    pub new: FileId,
    password: Password,
    _lock: Lock,
}

/// Returns the keys, oldest first, and the errors of those that could not be read. No password is needed.
pub fn list(store: &dyn Store) -> Result<(Vec<KeyInfo>, Vec<Error>)> {
    let (files, unread, _) = read_all(store, &listing(store, FileKind::Key)?);
    let info = |(id, file): (FileId, KeyFile)| KeyInfo {
        id,
        created: shown(&file.created),
        hostname: shown(&file.hostname),
        username: shown(&file.username),
        scrypt: (file.cost.n, file.cost.r, file.cost.p),
    };
    let mut keys: Vec<_> = files.into_iter().map(info).collect();
    keys.sort_by(|a, b| (&a.created, a.id).cmp(&(&b.created, b.id)));
    Ok((keys, unread))
}

/// Whoever can write to the vault wrote it: nothing in it may move a terminal's cursor.
fn shown(text: &str) -> String {
    plain::Name::of(text).to_string()
}

/// Adds a key that opens with `password`, and returns it once it was read back and has opened. Where one does already, nothing is written.
pub fn add(vault: &Arc<Repository>, password: &Password, maker: &Holder, now: Timestamp) -> Result<Added> {
    // The folder may be what was lost; only one who came in with the master key gets here without it.
    if matches!(vault.store().list(FileKind::Key), Err(Error { kind: Kind::NoRepository, .. })) {
        vault.store().create()?;
    }
    let _lock = Lock::take(vault, LockKind::Shared, maker)?;
    add_locked(vault, password, maker, now)
}

/// Removes a key, unless no other opens with `stays`, the password of one that stays. Returns whether it was there.
pub fn remove(vault: &Arc<Repository>, id: FileId, stays: &Password, who: &Holder) -> Result<bool> {
    let _lock = Lock::take(vault, LockKind::Exclusive, who)?;
    remove_locked(vault, id, stays)
}

/// Begins to replace the key that opened the vault: the new one is there and opens, the old one stays until it is finished.
pub fn rotate(vault: &Arc<Repository>, new: &Password, maker: &Holder, now: Timestamp) -> Result<Rotation> {
    let refused = |why: &str| {
        Error::new(format!("rotate the key of {}", vault.address()), Kind::KeyRefused(why.into()))
    };
    let old = vault
        .key_id()
        .ok_or_else(|| refused("it was opened with the master key, so there is none to replace"))?;
    let lock = Lock::take(vault, LockKind::Exclusive, maker)?;
    let added = add_locked(vault, new, maker, now)?;
    if added.id == old {
        return Err(refused("the new password is the one in use"));
    }
    Ok(Rotation { vault: Arc::clone(vault), old, new: added.id, password: new.clone(), _lock: lock })
}

impl Rotation {
    /// Removes the old key, after the new one has been seen to open once more.
    pub fn finish(self) -> Result<()> {
        remove_locked(&self.vault, self.old, &self.password).map(|_| ())
    }
}

/// Reads the index, the snapshots and the root of the newest: what a secret is worth shows in what it reads.
pub fn prove(vault: &Repository) -> Result<Proof> {
    let mut proof = Proof::default();
    let damaged = vault.load_index()?.damaged;
    let (snapshots, unread) = vault.snapshots()?;
    for error in damaged.into_iter().chain(unread) {
        if error.is_retryable() {
            return Err(error);
        }
        proof.findings.push(error.to_string());
    }
    proof.points = snapshots.len() as u64;
    if let Some((_, newest)) = snapshots.last() {
        proof.newest = Some(newest.time);
        match vault.blob(BlobKind::Tree, &newest.tree) {
            Ok(_) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => proof.findings.push(error.to_string()),
        }
    }
    Ok(proof)
}

/// Returns the master key that the password opens, and the file that it was in. Of several that it opens the one that `fits` counts: a killed
/// creation, or somebody by mistake, leaves others. Those that are `known` to have opened a vault come first, by their names.
pub(crate) fn search(
    store: &dyn Store,
    password: &Password,
    known: impl IntoIterator<Item = FileId>,
    fits: impl Fn(&Key) -> bool,
) -> Result<(Key, FileId)> {
    let mut listed = listing(store, FileKind::Key)?;
    let keys = listed.len();
    let (mut tries, mut others, mut changed) = (0, None, Vec::new());
    for id in known {
        let name = id.to_string();
        let Some(at) = listed.iter().position(|listed| listed.name == name) else { continue };
        let read = listed.get(at).map(|listed| read_one(store, listed, true));
        let Some(Ok(((id, file), turned))) = read else { continue };
        if !file.cost.is_payable() {
            continue;
        }
        match file.unwrap(password) {
            Some(key) if fits(&key) => return Ok((key, id)),
            Some(key) => _ = others.get_or_insert((key, id)),
            None => {}
        }
        // It has had its try.
        tries += 1;
        changed.extend(turned);
        listed.remove(at);
    }
    let (files, mut unread, unseen) = read_all(store, &listed);
    unread.extend(changed);
    let (files, left) = tried(files);
    tries += files.len();
    for (id, file) in files {
        match file.unwrap(password) {
            Some(key) if fits(&key) => return Ok((key, id)),
            Some(key) => _ = others.get_or_insert((key, id)),
            None => {}
        }
    }
    others.ok_or_else(|| not_opened(store, keys, unread, (tries, left + unseen)))
}

/// Returns why no key opens. One that could not be read may be the one; only where all that can't be read is damaged does the master key alone help.
fn not_opened(store: &dyn Store, keys: usize, unread: Vec<Error>, (tried, left): (usize, usize)) -> Error {
    let damaged = unread.len();
    if let Some(other) = unread.into_iter().find(|error| !error.says_damage()) {
        return other;
    }
    let kind = match (left, damaged) {
        (0, 0) => Kind::WrongPassword { keys },
        (0, damaged) => Kind::KeysDamaged { damaged, keys },
        (left, junk) => Kind::KeysLeft { tried, junk, left },
    };
    Error::new(format!("open {}", store.address()), kind)
}

fn add_locked(vault: &Arc<Repository>, password: &Password, maker: &Holder, now: Timestamp) -> Result<Added> {
    let at = || format!("add a key to {}", vault.address());
    let listed = vault.store().list(FileKind::Key)?;
    if let Some(id) = opened_by(vault, &listed, password)? {
        return Ok(Added { id, created: false });
    }
    if listed.len() >= KEYS_MAX {
        // Junk among them keeps nobody from a way in: who has lost all but the master key needs one.
        let (files, _, unseen) = read_all(vault.store(), &listed);
        let keys = files.len() + unseen;
        if keys >= KEYS_MAX {
            let why = format!("it has {keys} keys, and restic tries no more than {KEYS_MAX}");
            return Err(Error::new(at(), Kind::KeyRefused(why)));
        }
    }
    let failed = |error| Error::io(at(), error);
    let file = KeyFile::wrap(vault.key(), password, maker, now).map_err(failed)?;
    let json = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
    let id = FileId::of(&json);
    let name = id.to_string();
    vault.store().write(FileKind::Key, &name, &json)?;
    let opens = |json: &[u8]| {
        let file: KeyFile = serde_json::from_slice(json).ok()?;
        (FileId::of(json) == id && file.unwrap(password)?.is(vault.key())).then_some(())
    };
    let proven = vault.store().read(FileKind::Key, &name).and_then(|json| {
        opens(&json).ok_or_else(|| Error::damaged(at(), "the new key does not open when it is read back"))
    });
    if let Err(error) = proven {
        // Nobody may rely on it. What can't be removed either opens nothing that it should not.
        let _ = vault.store().remove(FileKind::Key, &name);
        return Err(error);
    }
    Ok(Added { id, created: true })
}

fn remove_locked(vault: &Arc<Repository>, id: FileId, stays: &Password) -> Result<bool> {
    let name = id.to_string();
    let at = || place(vault.store(), "remove", FileKind::Key, &name);
    let mut others = vault.store().list(FileKind::Key)?;
    let all = others.len();
    others.retain(|listed| listed.name != name);
    if others.len() == all {
        return Ok(false);
    }
    if opened_by(vault, &others, stays)?.is_none() {
        let why = match others.is_empty() {
            true => "it is the only key: without it the vault is lost",
            false => "it is the key in use: of the others, none opens with the password given",
        };
        return Err(Error::new(at(), Kind::KeyRefused(why.into())));
    }
    vault.store().remove(FileKind::Key, &name)?;
    match vault.store().size(FileKind::Key, &name)? {
        None => Ok(true),
        Some(_) => {
            let why = "the store said that it was removed, and it is still there";
            Err(Error::new(at(), Kind::KeyRefused(why.into())))
        }
    }
}

/// Returns which of these keys opens this very repository with the password, as the store has them now.
fn opened_by(vault: &Repository, listed: &[Listed], password: &Password) -> Result<Option<FileId>> {
    let (files, unread, _) = read_all(vault.store(), listed);
    let opens = |file: &KeyFile| file.unwrap(password).is_some_and(|key| key.is(vault.key()));
    let found = tried(files).0.into_iter().find_map(|(id, file)| opens(&file).then_some(id));
    match unread.into_iter().find(Error::is_retryable) {
        Some(error) if found.is_none() => Err(error),
        _ => Ok(found),
    }
}

/// Returns the keys that are tried, and how many are not. A vault's own, long and random, costs less than a person's: it must not wait for that one at every
/// run. Of those that cost anything there are no more than restic looks at: whoever can write into the vault may have put a hundred there.
fn tried(mut files: Vec<(FileId, KeyFile)>) -> (Vec<(FileId, KeyFile)>, usize) {
    let all = files.len();
    files.retain(|(_, file)| file.cost.is_payable());
    files.sort_by_key(|(_, file)| file.cost.work());
    let cheap = files.iter().filter(|(_, file)| file.cost.work() < CHEAP).count();
    files.truncate(cheap.min(READ_MAX) + KEYS_MAX);
    let left = all - files.len();
    (files, left)
}

/// Reads key files, several at a time, and returns the errors of those that could not be read, and how many were not looked at.
fn read_all(store: &dyn Store, listed: &[Listed]) -> (Vec<(FileId, KeyFile)>, Vec<Error>, usize) {
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    let some = picked(store, listed);
    let mends = listed.len() <= MENDED_MAX;
    for result in in_lanes(store.lanes(), &some, |listed| read_one(store, listed, mends)) {
        match result {
            Ok((file, changed)) => {
                files.push(file);
                unread.extend(changed);
            }
            // Removed since the listing.
            Err(error) if error.is_not_found() => {}
            Err(error) => unread.push(error),
        }
    }
    (files, unread, listed.len() - some.len())
}

/// Returns the files that are read: first those that have a key's length, which tells of junk without a request.
fn picked<'a>(store: &dyn Store, listed: &'a [Listed]) -> Vec<&'a Listed> {
    let most = if store.is_local() { READ_NEAR_MAX } else { READ_MAX };
    let mut all: Vec<&Listed> = listed.iter().collect();
    all.sort_by_key(|listed| !(USUAL_MIN..=USUAL_MAX).contains(&listed.size));
    let mut bytes = 0u64;
    let fits = |listed: &&Listed| {
        bytes = bytes.saturating_add(listed.size.min(FileKind::Key.length_max()));
        bytes <= READ_BYTES_MAX
    };
    all.into_iter().take(most).take_while(fits).collect()
}

/// Returns a key, and what is wrong with its file if that can be made up for: one bit that has turned is found by the hash that it is called by.
fn read_one(store: &dyn Store, listed: &Listed, mends: bool) -> Result<((FileId, KeyFile), Option<Error>)> {
    let damaged = |what: String| Error::damaged(place(store, "read", FileKind::Key, &listed.name), what);
    if listed.size > FileKind::Key.length_max() {
        let place = place(store, "read", FileKind::Key, &listed.name);
        return Err(Error::new(place, too_long(FileKind::Key, listed.size)));
    }
    let mut json = store.read(FileKind::Key, &listed.name)?;
    let id: FileId = listed.name.parse().map_err(|_| damaged("not a name of a key".into()))?;
    let changed = (FileId::of(&json) != id).then(|| damaged("its content doesn't match its name".into()));
    // What doesn't begin as a key does, but for a bit, was none.
    let may_be_key = json.first().is_some_and(|first| (first ^ b'{').count_ones() <= 1);
    if changed.is_some()
        && mends
        && may_be_key
        && let Some(right) = mend::one_bit(&json, |bytes| FileId::of(bytes) == id)
    {
        json = right;
    }
    let file = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
    Ok(((id, file), changed))
}

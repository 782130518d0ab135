//! Who made a point, as this machine can tell: its own key, the keys that it knows of others, and what it concludes of a point that none of them has signed.
//!
//! A key is known for one machine. Where a single one signs for a machine of which none is known, it counts from then on, as with SSH. Where several do, or what nobody
//! signed is mixed with what somebody did, nothing is decided, and the points count as if nobody had signed: which key is right stands on paper, and a person says it
//! (`releve points --signer`). Nobody can tell from vaults alone.
//!
//! A point that nobody has signed is as good as ever where nobody signs for its machine, where this machine's own records name it, and where it is noted here that it was
//! there before a key of its machine was known. What it says of its time is no reason (`signers/hand.rs`).

mod begun;
mod hand;
mod logs;
mod own;

pub use begun::{SIGN, before, note_new, note_seen};
pub(crate) use logs::{LogHand, begin_log, note_logs, promises};
pub use own::know_own;

use crate::prune::identity;
use crate::survey::{Survey, Surveyed};
use crate::{Error, Result};
use hand::{Hand, Reason, Standing};
use jiff::Timestamp;
use plan::{SystemName, Unvouched};
use rustix::process::geteuid;
use state::{Body, How, Record, State};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use vault::{Head, SigningKey, Snapshot, fingerprint};

/// The file beside the state that holds the secret half of this machine's key.
const FILE: &str = "signing.key";
/// No key is longer.
const FILE_MAX: u64 = 1024;
/// So many letters of a key a person has to say: as many as stand on paper.
const LETTERS_MIN: usize = 16;

/// What signs the points that are made here.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    head: Option<Head>,
}

/// The keys that this machine knows, and which points are good without: what a person has accepted, what was there before, what was written here.
#[derive(Debug, Default)]
pub struct Known {
    signers: state::Signers,
    accepted: BTreeSet<String>,
    early: BTreeSet<String>,
    /// The snapshots that this machine has written, by its own records and its inventory.
    written: BTreeSet<String>,
    /// There is a state: what was to be concluded from all vaults is known by now.
    has_learned: bool,
}

/// The machines that these points are of, of which no key is known.
#[derive(Debug, Default)]
pub(crate) struct Signing<'a> {
    /// Those that somebody signs for.
    signed: BTreeSet<&'a str>,
    /// Those that were looked at and of which no key counts.
    open: BTreeSet<&'a str>,
    /// Where there is no state: what says itself that it is older than the first point that its machine has signed.
    early: BTreeSet<String>,
}

/// What a look at the vaults has told of keys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The keys that count from now on, for a person who can compare them.
    pub said: Vec<String>,
    /// The machines of which a person has to say whose key it is, each with what there is and what to type.
    pub open: Vec<String>,
}

impl Signer {
    /// Returns what signs here, if this machine has a key. One that others can read is closed.
    pub fn read(dir: &Path, state: &State) -> Result<Option<Self>> {
        let Some(seed) = read(&dir.join(FILE))? else { return Ok(None) };
        let key = SigningKey::from_seed(&seed).map_err(|error| {
            Error::new(format!("{}: {error}", dir.join(FILE).display()))
                .help("remove it: the next backup makes another, which other machines have to accept once")
        })?;
        let newest = state.newest()?;
        Ok(Some(Self { key, head: newest.map(|(number, hash)| Head { number, hash }) }))
    }

    /// Returns the public half of the key that lies beside the state in a folder, whatever that says of it; `None` where there is none.
    pub fn public_in(dir: &Path) -> Result<Option<String>> {
        let Some(seed) = read(&dir.join(FILE))? else { return Ok(None) };
        let key = SigningKey::from_seed(&seed)
            .map_err(|error| Error::new(format!("{}: {error}", dir.join(FILE).display())))?;
        Ok(Some(key.public()))
    }

    /// Puts a key aside that can't be read, so that the next backup makes another, and returns where it is kept; `None` where nothing is wrong with it.
    pub fn set_aside(dir: &Path, now: Timestamp) -> Result<Option<PathBuf>> {
        let path = dir.join(FILE);
        let is_key = read(&path).map(|seed| seed.is_none_or(|seed| SigningKey::from_seed(&seed).is_ok()));
        if is_key.unwrap_or(false) {
            return Ok(None);
        }
        let kept = dir.join(format!("{FILE}.damaged-{}", now.strftime("%Y%m%dT%H%M%S%.fZ")));
        fs::rename(&path, &kept)
            .map_err(|error| Error::new(format!("put {} aside: {error}", path.display())))?;
        Ok(Some(kept))
    }

    /// Makes this machine's key, unless another run was faster. What the vaults hold by then was to be noted before.
    pub fn make(dir: &Path, state: &State, machine: &str, now: Timestamp) -> Result<Option<Self>> {
        write_new(dir, SigningKey::new_seed()?.as_bytes())?;
        let signer = Self::read(dir, state)?;
        if let Some(signer) = &signer {
            signer.know(state, machine, now)?;
        }
        Ok(signer)
    }

    /// Notes that this is this machine's own key, also where the state was lost or the machine has another name by now.
    pub fn know(&self, state: &State, machine: &str, now: Timestamp) -> Result<()> {
        Ok(state.know_signer(machine, &self.key.public(), How::Own, now)?)
    }

    /// Returns its public half.
    #[must_use]
    pub fn public(&self) -> String {
        self.key.public()
    }

    /// Signs a point, with the newest record of this machine.
    pub fn sign(&self, snapshot: &mut Snapshot) {
        self.key.sign(snapshot, self.head.clone());
    }
}

impl Known {
    /// Reads it from the state.
    pub fn read(state: &State) -> Result<Self> {
        let (signers, accepted, early) = (state.signers()?, state.accepted()?, state.early()?);
        Ok(Self { signers, accepted, early, written: BTreeSet::new(), has_learned: true })
    }

    /// Takes these snapshots for written here.
    #[must_use]
    pub(crate) fn with_written(self, written: BTreeSet<String>) -> Self {
        Self { written, ..self }
    }

    /// Returns what these points, of one system, say of machines of which no key is known. Where there is a state, it was concluded from all that there is.
    pub(crate) fn signing<'a>(&self, there: &[&'a Surveyed]) -> Signing<'a> {
        let mut signing = Signing { early: self.early_without(there), ..Signing::default() };
        for (host, points) in unknown(there.iter().copied(), &self.signers) {
            let standing = Standing::of(&hands(&points, &self.early));
            match standing {
                // Who has lost everything must not be kept from what there is: it counts as before there were signatures, and is said.
                Standing::Open(_) => continue,
                Standing::Nobody => {}
                Standing::One { .. } => _ = signing.signed.insert(host),
            }
            if self.has_learned {
                signing.open.insert(host);
            }
        }
        signing
    }

    /// Returns why nobody vouches for a point, where somebody should. `home` is the machine that the plan has the system on.
    pub(crate) fn unvouched(
        &self,
        point: &Surveyed,
        home: Option<&str>,
        signing: &Signing<'_>,
    ) -> Option<Unvouched> {
        let host = point.point.snapshot.hostname.as_str();
        let is_known = |key: &str| match self.signers.get(host) {
            Some(known) => known.contains_key(key),
            None => !signing.open.contains(host),
        };
        let signs = |host: &str| self.signers.contains_key(host) || signing.signed.contains(host);
        let identity = identity(point);
        let reason = if self.accepted.contains(&identity) {
            Some(Reason::Accepted)
        } else if !signs(host) && !home.is_some_and(signs) {
            Some(Reason::NobodySigns)
        } else if point.files().any(|file| self.written.contains(&file.to_string())) {
            Some(Reason::MadeHere)
        } else {
            let is_early = self.early.contains(&identity) || signing.early.contains(&identity);
            is_early.then_some(Reason::Early)
        };
        let key = point.point.signer.as_deref();
        hand::unvouched(key.map(|key| (key, is_known(key))), reason)
    }

    /// Returns whether a point was signed where these records were kept, as far as is known: not with a key that a person has accepted for a machine of the same name.
    pub(crate) fn is_from_here(&self, point: &Surveyed, machine: &str) -> bool {
        let key = point.point.signer.as_ref().filter(|_| point.point.snapshot.hostname == machine);
        let signer = key.and_then(|key| self.signers.get(machine)?.get(key));
        signer.is_some_and(|signer| matches!(signer.how, How::Own | How::First))
    }

    /// Returns whether a key is noted for any machine, as it is for this one since its first backup.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.signers.values().any(|keys| keys.contains_key(key))
    }

    /// Returns whether a point is signed with a key that this machine knows for its machine.
    pub(crate) fn is_signed(&self, point: &Surveyed) -> bool {
        let known = self.signers.get(&point.point.snapshot.hostname);
        let signer = point.point.signer.as_ref();
        signer.zip(known).is_some_and(|(key, known)| known.contains_key(key))
    }
}

/// Notes, for the machines of which no key is known yet, what of these vaults' points is unsigned and from before, and the key of each that a single one signs for. Of
/// `machine`, this one, none is learned once it has made points without a key: nobody signs for it. A machine of which it isn't plain is named, each time.
/// `records` are those of the state.
pub fn learn(
    state: &State,
    machine: &str,
    survey: &Survey,
    records: &[Record],
    now: Timestamp,
) -> Result<Learned> {
    let (signers, mut early) = (state.signers()?, state.early()?);
    let has_made = has_made_points(records);
    note_inventory(state, has_made, &signers, &mut early, now)?;
    let is_anyone_known =
        !signers.is_empty() || survey.points.iter().any(|point| point.point.signer.is_some());
    let mut learned = Learned::default();
    for (host, points) in unknown(&survey.points, &signers) {
        let is_own = has_made && host == machine;
        let hands = hands(&points, &early);
        let standing = Standing::of(&hands);
        let is_watched = hands.iter().any(|hand| hand.is_early);
        let is_before = |time: Timestamp| match &standing {
            // A machine that nobody has heard of, where others sign, may be made up.
            Standing::Nobody => !is_anyone_known || is_watched || host == machine,
            // It was looked at before anybody signed for it: what came since the last look is from before too.
            Standing::One { first, .. } => is_own || is_watched && time < *first,
            Standing::Open(_) => is_own,
        };
        let unsigned = points.iter().filter(|point| point.point.signer.is_none());
        let new = unsigned.filter(|point| is_before(point.point.time)).map(|point| identity(point));
        let new: Vec<String> = new.filter(|point| !early.contains(point)).collect();
        state.note_early(&new)?;
        match standing {
            _ if is_own => {}
            Standing::Nobody => {}
            Standing::One { key, .. } => {
                state.know_signer(host, &key, How::First, now)?;
                learned.said.push(format!(
                    "points of {host} are signed with the key {}, which this machine didn't know: it counts from now on; compare it with the one on paper (releve state signers)",
                    fingerprint(&key)
                ));
            }
            Standing::Open(there) => learned.open.push(format!(
                "points of {host} are signed with {there}, and this machine knows no key of it: they count as if nobody had signed them; compare with the key on paper, and say which is right: releve points --signer KEY"
            )),
        }
    }
    Ok(learned)
}

/// Returns the key, and the machines that it signs for in these vaults, that a person calls by its first letters, as they stand on paper or longer.
pub fn called(survey: &Survey, shown: &str) -> Result<Vec<(String, String)>> {
    let letters: String = shown.chars().filter(|letter| *letter != '-').collect::<String>().to_lowercase();
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for point in &survey.points {
        let key = point.point.signer.as_ref().filter(|key| key.starts_with(&letters));
        found.extend(key.map(|key| (key.clone(), point.point.snapshot.hostname.clone())));
    }
    let keys = found.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len();
    match (letters.len() < LETTERS_MIN, keys) {
        (true, _) => Err(Error::new(format!("`{shown}` is too short for a key"))
            .help("write all of it that stands on paper: four groups of four letters")),
        (false, 1) => Ok(found.into_iter().map(|(key, host)| (host, key)).collect()),
        (false, 0) => Err(Error::new(format!("no point in the vaults is signed with the key {shown}"))
            .help("`releve points` names the keys that it doesn't know")),
        (false, _) => Err(Error::new(format!("several keys begin with {shown}")).help("write more of it")),
    }
}

/// Notes once what this machine has seen before it had a key: what an older program looked at is known also of a vault that doesn't answer now.
fn note_inventory(
    state: &State,
    has_made: bool,
    signers: &state::Signers,
    early: &mut BTreeSet<String>,
    now: Timestamp,
) -> Result<()> {
    if state.is_early_noted()? {
        return Ok(());
    }
    if has_made {
        let own = signers.values().flat_map(BTreeMap::values).filter(|signer| signer.how == How::Own);
        let seen = state.seen_before(own.map(|signer| signer.since).min())?;
        state.note_early(&seen.iter().cloned().collect::<Vec<_>>())?;
        early.extend(seen);
    }
    Ok(state.early_is_noted(now)?)
}

/// Returns the points, by machine, of those of which no key is known. Logs tell of no key (`signers/logs.rs`), and what restic has put there for itself is nobody's point.
fn unknown<'a>(
    points: impl IntoIterator<Item = &'a Surveyed>,
    known: &state::Signers,
) -> BTreeMap<&'a str, Vec<&'a Surveyed>> {
    let mut hosts: BTreeMap<&str, Vec<&Surveyed>> = BTreeMap::new();
    for point in points {
        let host = point.point.snapshot.hostname.as_str();
        let is_point = point.point.system.as_deref().is_some_and(|name| SystemName::of_log(name).is_none());
        if is_point && !known.contains_key(host) {
            hosts.entry(host).or_default().push(point);
        }
    }
    hosts
}

fn hands<'a>(points: &[&'a Surveyed], early: &BTreeSet<String>) -> Vec<Hand<'a>> {
    let hand = |point: &&'a Surveyed| Hand {
        key: point.point.signer.as_deref(),
        time: point.point.time,
        is_early: early.contains(&identity(point)),
    };
    points.iter().map(hand).collect()
}

/// Returns whether this machine has made points by its own records, and not by those that were read from vaults.
pub(crate) fn has_made_points(records: &[Record]) -> bool {
    let is_made = |record: &Record| matches!(&record.body, Body::Backup(made) if made.failure.is_none());
    records.iter().any(is_made) && !records.iter().any(|record| matches!(record.body, Body::Rebuilt { .. }))
}

/// Reads the secret half of a key; `None` where there is none.
fn read(path: &Path) -> Result<Option<String>> {
    let failed = |error: std::io::Error| Error::new(format!("read {}: {error}", path.display()));
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(nofollow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() || meta.uid() != geteuid().as_raw() && meta.uid() != 0 {
        return Err(Error::new(format!("{} is not a file of ours", path.display()))
            .help("find out who put it there, and remove it: the next backup makes another"));
    }
    if meta.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Writes the secret half of a key for its owner alone, whole or not at all; one that is there stays.
fn write_new(dir: &Path, seed: &[u8]) -> Result<()> {
    // Several systems are captured at once by one process.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let (path, beside) = (dir.join(FILE), dir.join(format!("{FILE}.{}-{number}", std::process::id())));
    let failed = |error: std::io::Error| Error::new(format!("write {}: {error}", path.display()));
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(seed)?;
        file.sync_all()?;
        match fs::hard_link(&beside, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }?;
        File::open(dir)?.sync_all()
    };
    // What a run of this number has left that was killed.
    let _ = fs::remove_file(&beside);
    let written = write();
    let _ = fs::remove_file(&beside);
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_one_that_is_open_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        assert!(Signer::read(dir.path(), &state).unwrap().is_none());
        let made = Signer::make(dir.path(), &state, "shop-1", now).unwrap().unwrap();
        let again = Signer::make(dir.path(), &state, "shop-1", now).unwrap().unwrap();
        assert_eq!(made.public(), again.public());
        assert_eq!(state.signers().unwrap()["shop-1"][&made.public()].how, How::Own);
        let path = dir.path().join(FILE);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Signer::read(dir.path(), &state).unwrap().unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "no key").unwrap();
        assert!(Signer::read(dir.path(), &state).unwrap_err().help.unwrap().contains("remove it"));
        assert!(Signer::set_aside(dir.path(), now).unwrap().is_some_and(|kept| kept.exists()));
        assert_eq!(Signer::set_aside(dir.path(), now).unwrap(), None);
        let another = Signer::make(dir.path(), &state, "shop-1", now).unwrap().unwrap();
        assert_ne!(another.public(), made.public());
        assert_eq!(Signer::set_aside(dir.path(), now).unwrap(), None);
    }

    #[test]
    fn a_link_in_the_place_of_the_key_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join(FILE)).unwrap();
        assert!(Signer::read(dir.path(), &state).is_err());
    }
}

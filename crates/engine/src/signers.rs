//! Who made a point, as this machine can tell: its own key, the keys that it knows of others, and what it concludes of a point that none of them has signed.
//!
//! A key is known for one machine. The first that is seen to sign for a machine of which no key is known counts for it from then on, as with SSH; where several are seen
//! at once, the one that most vaults and most points know. Another needs a person's word (`releve points --accept`): nobody can tell from vaults alone whose it is. So a
//! machine that has lost everything recovers as it always could.
//!
//! A point that nobody has signed is as good as ever where nobody signs for its machine, and where it is older than the first signed one of its system. That it only
//! says so is found by what this machine has seen: where it looked after it knew the key, and the point was not there.

use crate::prune::identity;
use crate::survey::{Survey, Surveyed};
use crate::{Error, Result};
use jiff::Timestamp;
use plan::{Unvouched, VaultName};
use rustix::process::geteuid;
use state::{Body, How, Record, State};
use std::cmp::Reverse;
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

/// What signs the points that are made here.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    head: Option<Head>,
}

/// The keys that this machine knows, and what a person has accepted unsigned.
#[derive(Debug, Default)]
pub struct Known {
    signers: state::Signers,
    accepted: BTreeSet<String>,
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
        Ok(Self { signers: state.signers()?, accepted: state.accepted()? })
    }

    /// Returns why nobody vouches for a point of a system, where somebody should. `home` is the machine that the plan has the system on, `begun` when the first of the
    /// system's signed points was made, `seen` when this machine saw the point first, and when it looked last before.
    pub(crate) fn unvouched(
        &self,
        point: &Surveyed,
        home: Option<&str>,
        begun: Option<Timestamp>,
        (seen, unseen_at): (Option<Timestamp>, Option<Timestamp>),
    ) -> Option<Unvouched> {
        if self.accepted.contains(&identity(point)) {
            return None;
        }
        let host = point.point.snapshot.hostname.as_str();
        if let Some(key) = &point.point.signer {
            let is_unknown = self.signers.get(host).is_some_and(|known| !known.contains_key(key));
            return is_unknown.then(|| Unvouched::By(fingerprint(key)));
        }
        let of = |host: &str| self.signers.get(host).into_iter().flat_map(BTreeMap::values);
        let since = of(host).chain(home.into_iter().flat_map(of)).map(|signer| signer.since).min()?;
        let came_later =
            seen.is_some_and(|seen| seen > since) && unseen_at.is_some_and(|unseen| unseen >= since);
        let is_late = point.point.time >= begun.unwrap_or(since) || came_later;
        is_late.then_some(Unvouched::Unsigned)
    }

    /// Returns whether a point was signed where these records were kept, as far as is known: not with a key that a person has accepted for a machine of the same name.
    pub(crate) fn is_from_here(&self, point: &Surveyed, machine: &str) -> bool {
        let key = point.point.signer.as_ref().filter(|_| point.point.snapshot.hostname == machine);
        let signer = key.and_then(|key| self.signers.get(machine)?.get(key));
        signer.is_some_and(|signer| signer.how != How::Accepted)
    }

    /// Returns whether a point is signed with a key that this machine knows for its machine.
    pub(crate) fn is_signed(&self, point: &Surveyed) -> bool {
        let known = self.signers.get(&point.point.snapshot.hostname);
        let signer = point.point.signer.as_ref();
        signer.zip(known).is_some_and(|(key, known)| known.contains_key(key))
    }
}

/// Notes the keys of machines of which none is known yet, as these vaults show them. Of `machine`, this one, that is none once it has made points without a key: nobody
/// signs for it. Returns what was learned, for a person who can compare it.
pub fn learn(state: &State, machine: &str, survey: &Survey, now: Timestamp) -> Result<Vec<String>> {
    let mut learned = Vec::new();
    for (host, key) in first_keys(survey, &state.signers()?) {
        if host == machine && has_made_points(&state.records()?) {
            continue;
        }
        state.know_signer(&host, &key, How::First, now)?;
        learned.push(format!(
            "points of {host} are signed with the key {}, which this machine didn't know: it counts from now on; compare it with the one on paper (releve state signers)",
            fingerprint(&key)
        ));
    }
    Ok(learned)
}

/// Returns whether this machine has made points by its own records, and not by those that were read from vaults.
fn has_made_points(records: &[Record]) -> bool {
    let is_made = |record: &Record| matches!(&record.body, Body::Backup(made) if made.failure.is_none());
    records.iter().any(is_made) && !records.iter().any(|record| matches!(record.body, Body::Rebuilt { .. }))
}

/// Returns the key of each machine of which none is known: the one that most vaults know, and of these the one of most points, and then of the earliest.
fn first_keys(survey: &Survey, known: &state::Signers) -> Vec<(String, String)> {
    #[derive(Default)]
    struct Signs<'a> {
        vaults: BTreeSet<&'a VaultName>,
        points: usize,
        first: Option<Timestamp>,
    }
    let mut hosts: BTreeMap<&str, BTreeMap<&str, Signs<'_>>> = BTreeMap::new();
    for point in &survey.points {
        let host = point.point.snapshot.hostname.as_str();
        let Some(key) = point.point.signer.as_deref().filter(|_| !known.contains_key(host)) else { continue };
        let signs = hosts.entry(host).or_default().entry(key).or_default();
        signs.vaults.extend(&point.vaults);
        signs.points += 1;
        signs.first = Some(signs.first.map_or(point.point.time, |first| first.min(point.point.time)));
    }
    let best = |(host, keys): (&str, BTreeMap<&str, Signs<'_>>)| {
        let rank = |signs: &Signs<'_>| (signs.vaults.len(), signs.points, Reverse(signs.first));
        let best = keys.into_iter().max_by_key(|(_, signs)| rank(signs))?;
        Some((host.to_owned(), best.0.to_owned()))
    };
    hosts.into_iter().filter_map(best).collect()
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

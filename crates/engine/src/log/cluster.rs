//! Whose a log is: a cluster that was made anew in the place of another writes files of the same names.

use super::*;

/// Says in a spool whose log waits in it.
pub(super) const LIVING: &str = ".identity";

/// What begins the name of a folder in a spool in which the log of one waits that was there before.
pub(super) const BEFORE: &str = "cluster-";

/// How much of a file says who wrote it.
pub(super) const HEAD_BYTES: usize = 64;

/// Returns whose log waits in a spool, if that is known.
#[must_use]
pub fn living(spool: &Path) -> Option<String> {
    let text = fs::read_to_string(spool.join(LIVING)).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| text.to_owned())
}

/// Returns who wrote a file of the log, as it says itself.
#[must_use]
pub fn identity_of(log: &dyn Log, file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    File::open(file).ok()?.take(HEAD_BYTES as u64).read_to_end(&mut head).ok()?;
    log.identity(name, &head)
}

/// Prepares a spool for the log of the system of this identity: what another has left waiting there goes into a folder of its own, from where it is carried too.
pub fn settle(spool: &Path, log: &dyn Log, identity: &str) -> Result<()> {
    let known = living(spool);
    if known.as_deref() == Some(identity) {
        return Ok(());
    }
    let wrong = |error| Error::new(format!("arrange {}: {error}", spool.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(spool).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| log.file(name).is_some()) {
            files.push((identity_of(log, &path), path));
        }
    }
    // What doesn't say it itself came with what does.
    let said = || files.iter().find_map(|(of, _)| of.clone().filter(|of| of != identity));
    let before = known.or_else(said);
    for (of, path) in files {
        let Some(of) = of.or_else(|| before.clone()).filter(|of| of != identity) else { continue };
        let folder = spool.join(format!("{BEFORE}{of}"));
        fs::create_dir_all(&folder).map_err(wrong)?;
        let moved = fs::rename(&path, folder.join(path.file_name().unwrap_or_default()));
        // Another run may be at it.
        if let Err(error) = moved.or_else(|error| if path.exists() { Err(error) } else { Ok(()) }) {
            return Err(wrong(error));
        }
    }
    // Its own: several may hand over at once.
    let new = spool.join(format!("{LIVING}.{}.new", std::process::id()));
    let written = fs::write(&new, identity).and_then(|()| fs::rename(&new, spool.join(LIVING)));
    written.and_then(|()| File::open(spool)?.sync_all()).map_err(wrong)
}

/// Returns the files in a spool that the system of this identity wrote; where it has none, or it isn't known, all that say no other.
#[must_use]
pub fn spooled(spool: &Path, log: &dyn Log, identity: Option<&str>) -> Vec<PathBuf> {
    let all = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let is_file = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| log.file(name).is_some())
        };
        paths.filter(is_file).collect()
    };
    let mut files = all(&spool.join(LEFT_BEHIND));
    // First, since what its server hands over anew of a history that it has left goes no further than to where it left it.
    files.extend(all(spool));
    let Some(identity) = identity else { return files };
    let here = living(spool);
    files.retain(|path| identity_of(log, path).or_else(|| here.clone()).is_none_or(|of| of == identity));
    files.extend(all(&spool.join(format!("{BEFORE}{identity}"))));
    files
}

/// Returns a file of the log in a folder, at any depth, that another system wrote than the one of this identity, and who.
pub(crate) fn stranger(log: &dyn Log, folder: &Path, identity: &str) -> Option<(PathBuf, String)> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if let Some(of) = identity_of(log, &path).filter(|of| of != identity) {
                return Some((path, of));
            }
        }
    }
    None
}

/// Says that a system of another identity was made in the place of the one that the points are of.
#[must_use]
pub fn is_another(name: &SystemName, since: Option<Timestamp>) -> String {
    let since = since.map_or_else(String::new, |since| format!(" since {since:.0}"));
    format!(
        "the cluster behind `{name}` is another one{since}, and nothing that it writes comes back before its first point: releve backup {name}"
    )
}

/// Says that a file waits that is not what a vault, or this machine, holds under its name.
#[must_use]
pub fn is_refused(path: &str) -> String {
    format!(
        "{path} is another than the one of its name that is kept already, of the same cluster: it stays here and goes into no vault. Make a backup, then move it away"
    )
}

/// Says what is wrong with a file that waits and has less than a vault holds under its name.
#[must_use]
pub fn is_behind(path: &str, vault: &VaultName) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    format!(
        "{file} as it lies here ends before what vault {vault} has of it, as a disk leaves it that has lost something: the vault's is kept, and comes back"
    )
}

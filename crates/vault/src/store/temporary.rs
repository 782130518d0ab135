//! Names of files that are still being written. Neither we nor restic take them for files of a repository.

use std::io;

const PREFIX: &str = ".releve-";

/// How old a temporary file must be before it counts as left behind by a writer that was killed: far longer than any
/// single write lasts.
pub(super) const STALE_SECONDS: i64 = 24 * 60 * 60;

/// Returns a name that nobody else uses.
pub(super) fn name() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{PREFIX}{:016x}", u64::from_le_bytes(bytes)))
}

/// Returns whether `name` came from here.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

/// Returns whether `name` is one that [`name`] makes, whole.
pub(super) fn is_ours(name: &[u8]) -> bool {
    let rest = name.strip_prefix(PREFIX.as_bytes());
    rest.is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
}

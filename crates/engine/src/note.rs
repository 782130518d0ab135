//! Small files in the state's folder that say what was done to this machine, so that another process can undo it. Each is written
//! whole or not at all, before what it tells of is done.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Returns what a note says; `None` where there is none.
pub(crate) fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    let failed = |why: String| Error::new(format!("read {}: {why}", path.display()));
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Writes a note, durably.
pub(crate) fn write(folder: &Path, name: &str, note: &impl Serialize) -> Result<()> {
    let path = folder.join(name);
    let failed = |error: io::Error| Error::new(format!("write {}: {error}", path.display()));
    let bytes = serde_json::to_vec_pretty(note).map_err(|error| failed(error.into()))?;
    let new = folder.join(format!("{name}.new"));
    let write = || {
        make(folder)?;
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(failed)
}

/// Removes a note, durably. One that isn't there is no error.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| Error::new(format!("remove {}: {error}", path.display()))),
    }
}

/// Waits until nobody else on this machine has this lock, which goes with what is returned or with the process.
pub(crate) fn lock(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    let lock = || {
        make(folder)?;
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    };
    lock().map_err(|error: io::Error| Error::new(format!("lock {}: {error}", path.display())))
}

fn make(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

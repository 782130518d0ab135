//! What a restore writes over although it was changed after the point was made: said before it begins. It is no question, since scripts rest on there being none.

use crate::show::{Screen, time};
use jiff::Timestamp;
use plain::Name;
use std::sync::Arc;
use vault::restore::{RestoreOptions, overwritten};
use vault::{BlobId, Progress, Repository};

/// Says how many files are newer than the point of this time and are written over, and returns the number.
pub(super) fn warn(
    vaults: &[Arc<Repository>],
    (tree, made): (BlobId, Timestamp),
    restoring: &RestoreOptions,
    (screen, is_dry): (&Screen, bool),
    progress: &Progress,
) -> u64 {
    let found = match overwritten(vaults, tree, restoring, made.as_second(), progress) {
        Ok(found) => found,
        Err(error) => {
            screen.line(&format!("warning: what is newer than the point could not be looked for: {error}"));
            return 0;
        }
    };
    let Some((changed, path)) = &found.newest else { return 0 };
    let (files, are) = if found.count == 1 { ("file", "is") } else { ("files", "are") };
    let are = if is_dry { "would be" } else { are };
    let newest = restoring.target.join(path);
    screen.line(&format!(
        "warning: {} {files} changed after this point was made {are} overwritten (the newest: {}, of {}); --to another folder restores beside",
        found.count,
        Name::path(&newest),
        time(Timestamp::from_second(*changed).unwrap_or_default())
    ));
    found.count
}

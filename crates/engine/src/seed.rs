//! The repository on a disk that is carried by hand to a distant vault: the vault's first copies, under the vault's own password.

use crate::vaults::{Absent, Opening};
use crate::{Error, Result};
use plan::VaultName;
use std::path::Path;
use std::sync::Arc;
use vault::{Kind, Repository, store};

/// What a fresh file system may have in its root: no reason not to take it for empty.
const LOST_AND_FOUND: &str = "lost+found";

impl Opening<'_> {
    /// Opens the seed for a vault in a folder, with its index loaded. With [`Absent::Create`] an empty folder becomes one.
    pub fn open_seed(&self, name: &VaultName, folder: &Path) -> Result<Arc<Repository>> {
        let password = self.password(name)?;
        let place = || store::in_folder(folder);
        let repository = match Repository::open_known(place(), &password, self.last_keys(name)) {
            Ok(repository) => repository,
            Err(error) => match error.kind {
                Kind::NoRepository if self.absent == Absent::Create => {
                    check_empty(folder)?;
                    Repository::create(place(), &password, self.machine, self.now)?
                }
                Kind::NoRepository => {
                    return Err(Error::new(format!("there is no seed in {}", folder.display())).help(
                        format!("releve sync --seed DIR --vault {name} fills one, where the points are"),
                    ));
                }
                Kind::WrongPassword { .. } => {
                    return Err(Error::from(error)
                        .help(format!("a seed is opened with the password of the vault it was filled for; is this one for `{name}`?")));
                }
                Kind::KeysDamaged { .. } => {
                    return Err(Error::from(error).help(format!(
                        "nothing of it is needed: fill it anew in an empty folder, releve sync --seed DIR --vault {name}"
                    )));
                }
                _ => return Err(error.into()),
            },
        };
        let report = repository.load_index()?;
        match report.damaged.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(Arc::new(repository)),
        }
    }
}

/// A disk that isn't mounted, or the wrong one, must not be filled: the folder above must be there, and nothing else in it.
fn check_empty(folder: &Path) -> Result<()> {
    let refused = |what: &str| Error::new(format!("{}: {what}", folder.display()));
    match std::fs::read_dir(folder) {
        Ok(mut entries) => {
            let stranger = entries
                .find(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != LOST_AND_FOUND));
            match stranger {
                None => Ok(()),
                Some(_) => Err(refused("there is something else in this folder")
                    .help("name an empty folder, or one that does not exist yet")),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
            match above.is_none_or(Path::is_dir) {
                true => Ok(()),
                false => Err(refused("the folder above is not there").help("is the disk mounted?")),
            }
        }
        Err(error) => Err(refused(&error.to_string())),
    }
}

//! Where programs are: in the machine's own folders. A `PATH` is inherited, and whoever has written it would choose what root runs.

use crate::has_acl;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a machine keeps programs. The last is NixOS's.
const OWN: [&str; 7] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/run/current-system/sw/bin",
];

/// Returns where programs are looked for, in this order: in the machine's own folders; for anybody but root also where his `PATH` says, after those. For root no folder
/// counts that somebody else could write to.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let own = OWN.iter().map(PathBuf::from).filter(|folder| folder.is_dir());
    if rustix::process::geteuid().is_root() {
        return own.filter(|folder| is_roots(folder)).collect();
    }
    #[expect(clippy::disallowed_methods, reason = "an ordinary user's programs are his own business")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A relative one is a folder that he happens to stand in.
    own.chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute())).collect()
}

/// Returns the folders as a `PATH` for what is started.
pub(super) fn path() -> OsString {
    std::env::join_paths(folders()).unwrap_or_else(|_| "/usr/bin:/bin".into())
}

/// Returns where a program is. One that is named with a path is there.
pub fn find(program: &OsStr) -> io::Result<PathBuf> {
    if program.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let named = Path::new(program);
    if named.is_absolute() {
        // What it lacks otherwise the system says when it is started.
        return fs::metadata(named).map(|_| named.to_owned());
    }
    if program.as_encoded_bytes().contains(&b'/') {
        return Ok(named.to_owned());
    }
    let folders = folders();
    folders.iter().map(|folder| folder.join(program)).find(|path| is_program(path)).ok_or_else(|| {
        let looked = path().to_string_lossy().into_owned();
        let why =
            format!("No such file in {looked} (a program that lies elsewhere is named with its whole path)");
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

/// Returns whether nobody but root can put something into a folder or in its place.
fn is_roots(folder: &Path) -> bool {
    let Ok(real) = folder.canonicalize() else { return false };
    real.ancestors().all(|folder| {
        fs::metadata(folder).is_ok_and(|found| {
            let others = found.mode() & 0o002 != 0 && found.mode() & 0o1000 == 0;
            let group = found.mode() & 0o020 != 0 && (found.gid() != 0 || has_acl(folder));
            found.uid() == 0 && !others && !group
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::tests::{folder, list};

    #[test]
    fn a_folder_that_a_list_lets_others_write_to_is_not_roots_alone() {
        let folder = folder("programs");
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(is_roots(&folder), is_root);
        list(&folder, 1);
        assert!(!is_roots(&folder));
        std::fs::remove_dir(&folder).unwrap();
    }
}

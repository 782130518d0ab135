//! Where PostgreSQL's own programs are: each version has its own.

use crate::error::at;
use crate::{Error, Kind, Program, Result};
use process::Words;
use std::path::{Path, PathBuf};

/// Where packages put them, by the version: Debian's and PostgreSQL's own.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql/", "/bin"), ("/usr/pgsql-", "/bin")];

/// Returns the major version that a data directory belongs to.
pub(super) fn version_of(data: &Path) -> Result<String> {
    let file = data.join("PG_VERSION");
    let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(at("put back", data), Kind::NotInPoint),
        _ => Error::io(at("read", &file), error),
    })?;
    Ok(text.trim().to_owned())
}

/// Returns one of the programs for this version: from the folder that was named, from where packages put them, or as it is found. One of
/// another version would read the files of this one wrongly, or not at all.
pub(super) fn program(name: &str, version: &str, folder: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        let path = folder.join(name);
        return is_of(&path, version, &format!("in `programs`, {}", folder.display())).map(|()| path);
    }
    let packaged =
        FOLDERS.iter().map(|(before, after)| Path::new(&format!("{before}{version}{after}")).join(name));
    if let Some(path) = packaged.into_iter().find(|path| path.exists()) {
        return Ok(path);
    }
    let path = PathBuf::from(name);
    is_of(&path, version, "here").map(|()| path)
}

/// Asks a program for its version.
fn is_of(path: &Path, version: &str, place: &str) -> Result<()> {
    let says = Program::new(Words::of(path).word("--version"))?.output().unwrap_or_default();
    let says = String::from_utf8_lossy(&says).trim().to_owned();
    // `pg_waldump (PostgreSQL) 15.13 (Debian 15.13-1)`
    let found = says
        .split_once("(PostgreSQL) ")
        .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
    if found == Some(version) {
        return Ok(());
    }
    let found = if says.is_empty() { "none is".into() } else { format!("`{says}` is") };
    let why = format!(
        "it takes PostgreSQL {version}, and {found} {place}: install it, or name its folder as `programs`"
    );
    let name = path.file_name().unwrap_or_default().display();
    Err(Error::new(format!("find {name}"), Kind::Invalid(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_of_another_version_is_refused_wherever_it_was_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, says: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        write("pg_waldump", "pg_waldump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)");
        write("pg_ctl", "pg_ctl (PostgreSQL) 18beta1");
        let find = |name: &str, version: &str| program(name, version, Some(dir.path()));
        assert_eq!(find("pg_waldump", "15").unwrap(), dir.path().join("pg_waldump"));
        find("pg_ctl", "18").unwrap();
        let why = find("pg_waldump", "14").unwrap_err().to_string();
        assert!(why.contains("it takes PostgreSQL 14, and `pg_waldump (PostgreSQL) 15.18"), "{why}");
        let why = find("pg_amcheck", "15").unwrap_err().to_string();
        assert!(why.contains("find pg_amcheck: it takes PostgreSQL 15, and none is in `programs`"), "{why}");
    }
}

//! Where PostgreSQL's own programs are: each version has its own.

use crate::error::at;
use crate::{Error, Kind, Program, Result};
use std::path::{Path, PathBuf};

/// Where packages put them, by the version: Debian's and PostgreSQL's own.
const FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql/", "/bin"), ("/usr/pgsql-", "/bin")];

/// What PostgreSQL's own programs would take from our environment and follow, instead of what we tell them.
pub(super) const STRAY: [&str; 30] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGSSLMODE",
    "PGREQUIRESSL",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLNEGOTIATION",
    "PGGSSENCMODE",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
    "PGTZ",
    "PGCONNECT_TIMEOUT",
    "PGDATA",
    "PGSYSCONFDIR",
    "PGSSLCOMPRESSION",
];

/// Returns the major version that a data directory belongs to.
pub(super) fn version_of(data: &Path) -> Result<String> {
    let file = data.join("PG_VERSION");
    let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(at("put back", data), Kind::NotInPoint),
        _ => Error::io(at("read", &file), error),
    })?;
    Ok(text.trim().to_owned())
}

/// Returns one of the programs for this version: from the folder that was named, from where packages put them, or as it is found.
pub(super) fn program(name: &str, version: &str, folder: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = folder {
        return Ok(folder.join(name));
    }
    let packaged =
        FOLDERS.iter().map(|(before, after)| Path::new(&format!("{before}{version}{after}")).join(name));
    if let Some(path) = packaged.into_iter().find(|path| path.exists()) {
        return Ok(path);
    }
    // What is found along the path may be of another version, and says so.
    let says = Program::new([name, "--version"])?.output().unwrap_or_default();
    let says = String::from_utf8_lossy(&says).trim().to_owned();
    let is_it = says.rsplit(' ').next().is_some_and(|found| found.split('.').next() == Some(version))
        || says.contains(&format!(" {version}."));
    match is_it {
        true => Ok(name.into()),
        false => {
            let found = if says.is_empty() { "none is here".into() } else { format!("`{says}` is here") };
            let why = format!(
                "it takes PostgreSQL {version}, and {found}: install it, or name its folder as `programs`"
            );
            Err(Error::new(format!("find {name}"), Kind::Invalid(why)))
        }
    }
}

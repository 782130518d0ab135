//! MariaDB's own programs on the server's side: where they are, and of which series.

use crate::mariadb::client::Client;
use crate::mariadb::look::Series;
use crate::ours::open_file;
use crate::program::{Program, Running};
use crate::{Error, Kind, Result};
use process::Words;
use rustix::process::FlockType;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As it is called now, and as it was.
const BACKUP: [&str; 2] = ["mariadb-backup", "mariabackup"];
/// Where packages put it.
const SERVERS: [&str; 3] = ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd", "/usr/local/sbin/mariadbd"];
/// What works in a data directory.
const WORKERS: [&str; 4] = ["mariadbd", "mysqld", "mariadb-backup", "mariabackup"];
/// What `mariadb-backup` says last, if all is well.
pub(super) const COMPLETED: &str = "completed OK!";
/// How long it may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(600);

/// `mariadb-backup`.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) path: PathBuf,
    pub(super) series: Series,
}

impl Tool {
    /// Finds it.
    pub(super) fn find(client: &Client) -> Result<Self> {
        let mut why = None;
        for name in BACKUP {
            let path = client.path(name);
            let asked = Program::new(Words::of(&path).word("--version"))?.within(Duration::from_secs(10));
            // It says so among its complaints.
            match asked.printed(4096).and_then(|(printed, mut running)| {
                running.end(GRACE)?;
                Ok(format!("{}{}", String::from_utf8_lossy(&printed), running.said()))
            }) {
                Ok(said) => match Series::of(&said) {
                    Some(series) => return Ok(Self { path, series }),
                    None => why = why.or(Some(format!("{} says {}", path.display(), said.trim()))),
                },
                Err(error) => why = why.or(Some(error)),
            }
        }
        let why = why.unwrap_or_default();
        let why = format!(
            "{why}; install the package mariadb-backup of the server's version, or write copy = \"logical\""
        );
        Err(Error::new("find mariadb-backup", Kind::Invalid(why)))
    }

    /// Makes sure that it is of a server's series: it reads and writes what only that knows.
    pub(super) fn fits(&self, server: Series, whose: &str) -> Result<()> {
        if self.series == server {
            return Ok(());
        }
        let why = format!(
            "it is of MariaDB {}, and {whose} of {server}: both must be of one series; install the package mariadb-backup of {server}",
            self.series
        );
        Err(Error::new(self.path.display().to_string(), Kind::Invalid(why)))
    }
}

/// Says how a run of `mariadb-backup` ended that prints no more: well only if it says so itself.
pub(super) fn judge(mut running: Running) -> Result<(), String> {
    running.end(GRACE)?;
    match running.said().trim_end().ends_with(COMPLETED) {
        true => Ok(()),
        false => Err(running.say(&format!("ended without saying \"{COMPLETED}\""))),
    }
}

/// Returns the server's own program.
pub(super) fn server(client: &Client) -> PathBuf {
    let named = client.path("mariadbd");
    let usual = SERVERS.iter().map(PathBuf::from).find(|path| path.exists());
    match (named.is_absolute() && named.exists(), usual) {
        (false, Some(usual)) => usual,
        _ => named,
    }
}

/// Returns who owns a data directory, and so runs its server.
pub(super) fn owner(data: &Path) -> Result<(u32, u32)> {
    let found =
        fs::metadata(data).map_err(|error| Error::io(format!("look at {}", data.display()), error))?;
    Ok((found.uid(), found.gid()))
}

/// Says who works in this data directory, if somebody does: a server, or a `mariadb-backup` that prepares it.
pub(super) fn at_work(data: &Path) -> Option<String> {
    let data = data.canonicalize().ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let is_one = WORKERS.contains(&name.trim());
        (is_one && fs::read_link(entry.path().join("cwd")).ok()? == data).then_some(number)
    });
    processes.min().map(|process| format!("process {process}")).or_else(|| locking(&data))
}

/// Says who holds the lock of InnoDB: a server in a container sees another path, and may have another name.
fn locking(data: &Path) -> Option<String> {
    // What else has that name waits for somebody, for ever.
    let file = open_file(&data.join("ibdata1")).ok()?;
    let lock = rustix::process::fcntl_getlk(&file, &FlockType::WriteLock.into()).ok()??;
    Some(lock.pid.map_or_else(
        || "it is in another container".to_owned(),
        |process| format!("process {}", process.as_raw_nonzero()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn nobody_waits_for_what_only_has_the_name_of_a_file_of_the_server() {
        let data = tempfile::tempdir().unwrap();
        mknodat(CWD, data.path().join("ibdata1"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(locking(data.path()), None);
    }
}

//! Feeds a dump to a server: looks at both first, since from the first statement on there is no way back.

use super::client::{Client, QUIET};
use super::look::Series;
use super::{FILE, WHOLE};
use crate::error::at;
use crate::{Error, Kind, PutBack, Result};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

/// How long a load may take.
const WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest row that a server takes: a row may have been let in before the limit was lowered, or have grown by being written out.
const PACKET_MAX: &str = "1073741824";
/// Where the version stands in a dump, and where its last line does.
const HEAD_BYTES: u64 = 4096;
const TAIL_BYTES: u64 = 256;
/// How many findings of `mariadb-check` an error holds.
const FINDINGS_MAX: usize = 20;

/// A dump that lies in a file.
pub(super) struct Dump {
    pub(super) path: PathBuf,
    file: File,
    bytes: u64,
}

impl Dump {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((found, file)) if found.is_file() => Ok(Self { path, file, bytes: found.len() }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(at("read", &path), error)),
            _ => Err(Error::new(at("put back", &path), Kind::NotInPoint)),
        }
    }

    /// Returns the series of the server that was dumped. A dump that doesn't say it, or isn't whole, is damaged.
    fn series(&mut self) -> Result<Series> {
        let mut text = |from: u64, length: u64| -> io::Result<String> {
            let mut bytes = Vec::new();
            self.file.seek(SeekFrom::Start(from))?;
            (&mut self.file).take(length).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let ends = text(0, HEAD_BYTES).and_then(|head| {
            let tail = text(self.bytes.saturating_sub(TAIL_BYTES), TAIL_BYTES)?;
            // Back to its beginning.
            text(0, 0).map(|_| (head, tail))
        });
        let (head, tail) = ends.map_err(|error| Error::io(at("read", &self.path), error))?;
        let damaged = |why: &str| Error::new(format!("load {FILE}"), Kind::Damaged(why.to_owned()));
        if !tail.trim_end().ends_with(WHOLE) {
            return Err(damaged("the dump ended early, its last line is missing"));
        }
        let version = head.lines().find_map(|line| line.strip_prefix("-- Server version"));
        version.and_then(Series::of).ok_or_else(|| damaged("it does not say which server it is of"))
    }
}

/// Feeds the dump to the server.
pub(super) fn load(client: &Client, mut dump: Dump) -> Result<PutBack> {
    let of = dump.series()?;
    let rows = client.ask("SELECT VERSION(), @@GLOBAL.max_allowed_packet")?;
    let said = |column: usize| rows.first().and_then(|row| row.get(column)).map_or("", String::as_str);
    match Series::of(said(0)) {
        Some(series) if series >= of => {}
        _ => {
            let why = format!(
                "the dump is of MariaDB {of} and the server is {}: it takes the same series or a newer one; nothing was changed",
                said(0)
            );
            return Err(Error::new(client.address.to_string(), Kind::Invalid(why)));
        }
    }
    let longest = |bytes: &str| client.ask(&format!("SET GLOBAL max_allowed_packet = {bytes}")).is_ok();
    let was_raised = said(1) != PACKET_MAX && longest(PACKET_MAX);
    let loaded = feed(client, dump.file);
    if was_raised {
        // Whoever loads may have lost the right to by what he loaded: then it stays so until the server starts again, and harms nobody.
        longest(said(1));
    }
    let bytes = loaded?;
    check(client)?;
    Ok(PutBack { into: vec![client.address.to_string().into()], bytes, ..PutBack::default() })
}

fn feed(client: &Client, file: File) -> Result<u64> {
    // Without the binary mode the client would change line ends inside of routines.
    let options = ["--batch", QUIET, "--binary-mode", "--max-allowed-packet=1G"].map(str::to_owned);
    client.program("mariadb", options)?.within(WITHIN).feed(file).map_err(|why| {
        let Error { place, kind } = client.wrong(&why);
        Error::new(format!("load {FILE} into {place}"), kind)
    })
}

/// Lets the server look at all that was loaded.
fn check(client: &Client) -> Result<()> {
    let names = client.ask(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA
            WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')",
    )?;
    let names: Vec<String> = names.into_iter().flatten().collect();
    if names.is_empty() {
        return Ok(());
    }
    // Quick, since the tables were written just now and all of them were read for that.
    let mut arguments = vec!["--check", "--quick", "--silent", "--databases"];
    arguments.extend(names.iter().map(String::as_str));
    let said = client.run("mariadb-check", &arguments, WITHIN)?;
    let said = String::from_utf8_lossy(&said);
    let bad = said.lines().any(|line| line.trim_start().to_lowercase().starts_with("error"));
    if !bad {
        return Ok(());
    }
    let findings: Vec<_> = said.lines().take(FINDINGS_MAX).map(str::trim).collect();
    let why = format!("mariadb-check found faults in what was loaded: {}", findings.join("; "));
    Err(Error::new(client.address.to_string(), Kind::Program(why)))
}

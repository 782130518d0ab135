//! Starts a cluster that was put back, and waits until it has recovered.

use super::programs::{program, version_of};
use super::server::Address;
use crate::error::at;
use crate::{Error, Kind, Program, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a server that recovers is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a person is told.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long no server may be there at all: somebody else starts it, or it is about to begin.
const ABSENT_MAX: Duration = Duration::from_secs(30);

/// Returns the process of the server that runs in this data directory, if one does.
pub(super) fn running(data: &Path) -> Option<u32> {
    named(data).or_else(|| working(data))
}

/// Returns the one that its file names.
fn named(data: &Path) -> Option<u32> {
    let process: u32 =
        fs::read_to_string(data.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()?;
    let working = fs::read_link(format!("/proc/{process}/cwd"));
    // A process that took over the number of one that has gone works elsewhere. One that we may not look into counts.
    match working {
        Ok(working) => (working == data.canonicalize().ok()?).then_some(process),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(process),
        Err(_) => None,
    }
}

/// Looks for one at work there: who encrypts or deletes files takes the one that names it, and the server goes on.
fn working(data: &Path) -> Option<u32> {
    let data = data.canonicalize().ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let is_server = matches!(name.trim(), "postgres" | "postmaster");
        (is_server && fs::read_link(entry.path().join("cwd")).ok()? == data).then_some(number)
    });
    processes.min()
}

/// Waits until the cluster has recovered and takes writes. Starts it unless somebody else has. Returns what will keep people from working all the same.
pub(super) fn open(
    data: &Path,
    address: &Address,
    programs: Option<&Path>,
    is_started: bool,
    told: &dyn Fn(&str),
) -> Result<Vec<String>> {
    let log = log_of(data);
    if !is_started && running(data).is_none() {
        start(data, &log, programs)?;
    }
    let place = || format!("wait for {}", data.display());
    let (mut seen, mut tell_at) = (Instant::now(), Instant::now() + TELL_EVERY);
    loop {
        match running(data) {
            Some(_) => seen = Instant::now(),
            None if seen.elapsed() > if is_started { ABSENT_MAX } else { Duration::from_secs(2) } => {
                let said = last_words(&log);
                return Err(Error::new(place(), Kind::Program(format!("the server has ended{said}"))));
            }
            None => {}
        }
        // Until it has recovered it lets nobody in.
        if let Ok(mut server) = address.connect()
            && !server.is_in_recovery()?
        {
            told("recovered: it takes writes");
            let _ = fs::remove_file(&log);
            return Ok(server.waits()?.into_iter().collect());
        }
        if Instant::now() >= tell_at {
            let at = at_work(data)
                .map_or_else(String::new, |segment| format!(": WAL applied up to segment {segment}"));
            told(&format!("recovering{at}"));
            tell_at = Instant::now() + TELL_EVERY;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Returns the segment that a server is applying, as the title of its process says.
fn at_work(data: &Path) -> Option<String> {
    let data = data.canonicalize().ok()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let title = fs::read(entry.path().join("cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title);
        let segment = title.split_once("startup recovering ")?.1.get(..24)?.to_owned();
        (fs::read_link(entry.path().join("cwd")).ok()? == data).then_some(segment)
    })
}

fn log_of(data: &Path) -> PathBuf {
    let mut log = data.as_os_str().to_owned();
    log.push(".releve-recovery.log");
    log.into()
}

/// Starts it as its owner, with the configuration that it was started with before.
fn start(data: &Path, log: &Path, programs: Option<&Path>) -> Result<()> {
    let owner = fs::metadata(data).map_err(|error| Error::io(at("look at", data), error))?;
    let file = fs::File::create(log).map_err(|error| Error::io(at("write", log), error))?;
    let _ = std::os::unix::fs::fchown(&file, Some(owner.uid()), Some(owner.gid()));
    let control = program("pg_ctl", &version_of(data)?, programs)?;
    let mut command =
        vec![control.into_os_string(), "-D".into(), data.into(), "-W".into(), "-l".into(), log.into()];
    if let Some(file) = configuration(data) {
        let file = file.replace('\'', r"'\''");
        command.extend(["-o".into(), format!("-c 'config_file={file}'").into()]);
    }
    command.push("start".into());
    let started = Program::new(command)?.within(Duration::from_secs(60)).by(owner.uid(), owner.gid()).run();
    started.map_err(|why| Error::new(at("start the server of", data), Kind::Program(why)))
}

/// Returns the configuration file that the server was started with, where that lies elsewhere: `postmaster.opts` keeps its arguments.
fn configuration(data: &Path) -> Option<String> {
    if data.join("postgresql.conf").exists() {
        return None;
    }
    let arguments = fs::read_to_string(data.join("postmaster.opts")).ok()?;
    let file = arguments.split('"').find_map(|word| word.strip_prefix("config_file="))?;
    Some(file.to_owned())
}

/// Returns the last lines of a log, for the end of a sentence.
fn last_words(log: &Path) -> String {
    crate::program::end_of_log(log).unwrap_or_else(|| ": its own log says why".into())
}

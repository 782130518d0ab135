//! Starts a cluster that was put back, and waits until it has recovered.

use super::dropped;
use super::programs::{program, version_of};
use super::refusals::Refusal;
use super::server::{Address, Closed, Server, Why};
use super::serving::resorted;
use crate::error::at;
use crate::ours;
use crate::program::end_of_log;
use crate::{Error, Kind, Program, Result};
use jiff::Timestamp;
use process::Words;
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

/// How long a server that is ready may let nobody in: it doesn't want us, or listens elsewhere, and will for ever.
const CLOSED_MAX: Duration = Duration::from_secs(4);
/// How long one may have no connection left: whoever has them may be about to end.
const FULL_MAX: Duration = Duration::from_secs(60);
/// How long one that is asked may have paused its recovery: nobody lets it go on.
const PAUSED_MAX: Duration = Duration::from_secs(10);

/// Returns the process of the server that runs in this data directory, if one does.
pub(super) fn running(data: &Path) -> Option<u32> {
    named(data).or_else(|| working(data))
}

/// Returns the process of a server that still runs in this data directory after so long, if it does. One that its file names isn't about to end.
pub(super) fn ended(data: &Path, within: Duration) -> Option<u32> {
    let until = Instant::now() + within;
    loop {
        let process = running(data)?;
        if named(data).is_some() || Instant::now() >= until {
            return Some(process);
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
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

/// Waits until the cluster has recovered and takes writes. Starts it unless somebody else has. The log that leads it lies in `wal`. Returns what will keep people from
/// working all the same.
pub(super) fn open(
    data: &Path,
    wal: &Path,
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
    let (mut closed, mut paused): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        match running(data) {
            Some(_) => seen = Instant::now(),
            None if seen.elapsed() > if is_started { ABSENT_MAX } else { Duration::from_secs(2) } => {
                let why = format!("the server has ended{}{}", last_words(data, &log), way_out(data, ""));
                return Err(Error::new(place(), Kind::Program(why)));
            }
            None => {}
        }
        let is_ready = state(data, READY_LINE).is_some_and(|state| state == "ready");
        match address.knock() {
            // Until it has recovered it lets nobody in, unless it was told to by whoever started it.
            Ok(mut server) => match serves(&mut server, &mut paused) {
                Ok(true) => {
                    let mut notes = server.hinders()?;
                    notes.extend(resorted(&mut server, address, told));
                    told("recovered: it takes writes");
                    let _ = fs::remove_file(&log);
                    return Ok(notes);
                }
                Ok(false) => closed = None,
                // It was just started once more.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            },
            Err(refused) if is_ready && patience(&refused).is_some() => {
                let is_over = patience(&refused)
                    .is_some_and(|patience| closed.get_or_insert_with(Instant::now).elapsed() > patience);
                if is_over {
                    let dropped = (refused.refusal == Some(Refusal::NoDatabase))
                        .then(|| dropped::last(data, wal, programs))
                        .flatten();
                    return Err(lets_nobody_in(data, address, &refused, dropped));
                }
            }
            Err(_) => closed = None,
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

/// Returns whether a server that lets us in has recovered, and has committed a write.
fn serves(server: &mut Server, paused: &mut Option<Instant>) -> Result<bool> {
    if !server.is_in_recovery()? {
        return server.commits().map(|()| true);
    }
    match server.is_paused()? {
        true if paused.get_or_insert_with(Instant::now).elapsed() > PAUSED_MAX => {
            let why = "its recovery is paused, and nobody lets it go on: its log says why. Mostly max_connections, max_worker_processes, max_wal_senders, \
                max_prepared_transactions or max_locks_per_transaction is lower than it was on the server that wrote the log: raise it, start the server \
                again, and go on with --resume";
            Err(Error::new("wait for the recovery", Kind::Program(why.into())))
        }
        true => Ok(false),
        false => {
            *paused = None;
            Ok(false)
        }
    }
}

/// Returns how long a server that is ready is given to let us in; `None` where it is about to begin or to end.
fn patience(closed: &Closed) -> Option<Duration> {
    match (closed.why, closed.refusal) {
        (Why::Passes, Some(Refusal::Full)) => Some(FULL_MAX),
        (Why::Passes, _) => None,
        (Why::Refused | Why::Unreached, _) => Some(CLOSED_MAX),
    }
}

/// Says why a server that runs serves nobody, and what to do. The log dropped a database last at `dropped`.
fn lets_nobody_in(data: &Path, address: &Address, closed: &Closed, dropped: Option<Timestamp>) -> Error {
    let error = &closed.error;
    let what = match closed.why {
        Why::Refused | Why::Passes => format!("it has recovered, and lets nobody in: {error}"),
        Why::Unreached => {
            let (port, folder, address) =
                (state(data, PORT_LINE), state(data, SOCKETS_LINE), state(data, ADDRESS_LINE));
            let named = |what: &str, value: Option<String>| {
                value.filter(|value| !value.is_empty()).map(|value| format!(" {what} {value}"))
            };
            let listens: String =
                [named("port", port), named("socket in", folder), named("address", address)]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(",");
            format!("it has recovered, and is not where the url says: {error}; it listens on{listens}")
        }
    };
    let (user, database) = address.names();
    let own = closed.refusal.and_then(|refusal| refusal.way_out(user.as_deref(), &database, dropped));
    let way = own.map_or_else(|| way_out(data, "end this server, "), |own| format!("\nit is at work: {own}"));
    Error::new(format!("wait for {}", data.display()), Kind::Program(format!("{what}{way}")))
}

/// Says where a setting is mended that the copy has brought along, and how to go on.
fn way_out(data: &Path, first: &str) -> String {
    let named = data.join("postgresql.conf");
    let file = match configuration(data) {
        Some(file) => file,
        None if named.exists() => named.display().to_string(),
        None => "its configuration".to_owned(),
    };
    format!(
        "\nmend in {file} what it names (docs/postgres.md, \"Settings that come along\"), or bring here what is missing; {first}start it if it is a \
         service, and go on with --resume"
    )
}

/// Lines of a running server's file: on which port it listens, where its socket is and at which address, and how far it is.
const PORT_LINE: usize = 3;
const SOCKETS_LINE: usize = 4;
const ADDRESS_LINE: usize = 5;
const READY_LINE: usize = 7;

/// Returns what a running server has noted of itself.
fn state(data: &Path, line: usize) -> Option<String> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().nth(line).map(|line| line.trim().to_owned())
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
    let file = ours::create(log).map_err(|error| Error::io(at("write", log), error))?;
    let _ = ours::give(&file, (owner.uid(), owner.gid()));
    let control = program("pg_ctl", &version_of(data)?, programs)?;
    let mut command = Words::of(control).pair("-D", data).word("-W").pair("-l", log);
    if let Some(file) = configuration(data) {
        let file = file.replace('\'', r"'\''");
        command = command.pair("-o", format!("-c 'config_file={file}'"));
    }
    let started = Program::new(command.word("start"))?
        .within(Duration::from_secs(60))
        .by(owner.uid(), owner.gid())
        .run();
    started.map_err(|why| Error::new(at("start the server of", data), Kind::Program(why)))
}

/// Has a server read its configuration again, which no longer holds what led its recovery. What can't be done is told, and does no harm: it does so at its next start.
pub(super) fn reload(data: &Path, programs: Option<&Path>, told: &dyn Fn(&str)) {
    let ask = || -> Result<()> {
        let owner = fs::metadata(data).map_err(|error| Error::io(at("look at", data), error))?;
        let control = program("pg_ctl", &version_of(data)?, programs)?;
        let words = Words::of(control).pair("-D", data).word("reload");
        let done = Program::new(words)?.within(Duration::from_secs(60)).by(owner.uid(), owner.gid()).run();
        done.map_err(|why| Error::new(at("reload the configuration of", data), Kind::Program(why)))
    };
    if let Err(error) = ask() {
        told(&format!(
            "it shows settings of its recovery (restore_command) until it reads its configuration again: SELECT pg_reload_conf() ({error})"
        ));
    }
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

/// How `current_logfiles` calls the kinds of logs that a server keeps of its own, the plainest first.
const LOGS: [&str; 3] = ["stderr ", "csvlog ", "jsonlog "];

/// Returns the last lines of what a server has said, for the end of a sentence: where it keeps a log of its own, that knows more than what it said before it began that.
fn last_words(data: &Path, log: &Path) -> String {
    let own = || {
        let named = fs::read_to_string(data.join("current_logfiles")).ok()?;
        let of = |kind: &str| named.lines().find_map(|line| line.strip_prefix(kind));
        let file = data.join(LOGS.iter().find_map(|kind| of(kind))?);
        // What names it could name any file.
        let (meta, owner) = (fs::symlink_metadata(&file).ok()?, fs::metadata(data).ok()?.uid());
        if !meta.is_file() || meta.uid() != owner {
            return None;
        }
        // One from before the copy says nothing of this.
        let modified = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        (modified(&file)? >= modified(log)?).then_some(file)
    };
    match (end_of_log(log), own().and_then(|own| end_of_log(&own))) {
        (_, Some(own)) => own,
        (Some(words), None) => words,
        (None, None) => ": its own log says why".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_elsewhere_says_where_and_one_that_refuses_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        fs::write(data.join("postmaster.pid"), "42\n/d\n1\n5499\n/run/x\n\n 1 2\nready   \n").unwrap();
        fs::write(data.join("postgresql.conf"), "").unwrap();
        assert_eq!(state(data, READY_LINE).as_deref(), Some("ready"));
        let address = Address::parse("postgres://u@127.0.0.1:1/shop").unwrap();
        let says = |why, refusal| {
            let error = Error::new("connect", Kind::Program("no such library".into()));
            lets_nobody_in(data, &address, &Closed { error, why, refusal }, None).to_string()
        };
        let said = says(Why::Unreached, None);
        assert!(said.contains("it listens on port 5499, socket in /run/x\n"), "{said}");
        assert!(said.contains(&data.join("postgresql.conf").display().to_string()), "{said}");
        let said = says(Why::Refused, Some(Refusal::Other));
        assert!(
            said.contains("lets nobody in: connect: no such library") && said.contains("--resume"),
            "{said}"
        );
        // Its configuration is not to blame for what isn't in the state that came back.
        let said = says(Why::Refused, Some(Refusal::NoDatabase));
        assert!(said.contains("--before TIME") && !said.contains("postgresql.conf"), "{said}");
    }

    #[test]
    fn what_a_server_wrote_into_a_log_of_its_own_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let (data, log) = (dir.path(), dir.path().join("ours"));
        assert_eq!(last_words(data, &log), ": its own log says why");
        fs::write(&log, "redirecting").unwrap();
        assert_eq!(last_words(data, &log), ":\nredirecting");
        fs::write(data.join("current_logfiles"), "stderr log/a.log\n").unwrap();
        fs::create_dir(data.join("log")).unwrap();
        fs::write(data.join("log/a.log"), "FATAL: no").unwrap();
        assert_eq!(last_words(data, &log), ":\nFATAL: no");
        // In whatever form and place.
        let elsewhere = tempfile::tempdir().unwrap();
        for kind in ["csvlog", "jsonlog"] {
            let file = elsewhere.path().join(kind);
            fs::write(&file, format!("FATAL,{kind}")).unwrap();
            fs::write(data.join("current_logfiles"), format!("{kind} {}\n", file.display())).unwrap();
            assert_eq!(last_words(data, &log), format!(":\nFATAL,{kind}"));
        }
        std::os::unix::fs::symlink("/etc/passwd", elsewhere.path().join("link")).unwrap();
        let link = format!("stderr {}\n", elsewhere.path().join("link").display());
        fs::write(data.join("current_logfiles"), link).unwrap();
        assert_eq!(last_words(data, &log), ":\nredirecting");
    }
}

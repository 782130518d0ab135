//! A server on what was restored, before anybody else may see it: its log is replayed there, and it ends.
//!
//! It is reached through a socket in a folder that only its user may enter, writes no log of its own, and lets no event run. It runs as the owner of
//! the data, and ends with us.

use super::tools;
use crate::error::at;
use crate::mariadb::address::Address;
use crate::mariadb::client::Client;
use crate::mariadb::eyes::password;
use crate::ours::give;
use crate::program::{Running, end_of_log};
use crate::{Error, Kind, OurFolder, Program, Result};
use process::Words;
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long it may take until it answers, recovering what it finds.
const START_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long it may take to write what it has in memory.
const END_WITHIN: Duration = Duration::from_secs(6 * 3600);
/// Who works in it, and goes again.
const USER: &str = "releve_recovery";

/// What is started.
pub(super) struct Start<'a> {
    /// Whose programs.
    pub(super) client: &'a Client,
    pub(super) data: &'a Path,
    pub(super) lower_case_table_names: &'a str,
    /// Bytes of memory that it may take for pages.
    pub(super) memory: u64,
    pub(super) told: &'a dyn Fn(&str),
}

/// Starts a server and hands a client of it to `work`. It has ended well when this returns well.
pub(super) fn with<T>(start: &Start<'_>, work: impl FnOnce(&Client) -> Result<T>) -> Result<T> {
    let room = Room::new(start.data)?;
    let password = password().map_err(|error| Error::io("make a password", error))?;
    let (uid, gid) = room.owner;
    let init = format!(
        "CREATE OR REPLACE USER {USER}@localhost IDENTIFIED BY '{password}';\nGRANT ALL ON *.* TO {USER}@localhost WITH GRANT OPTION;\n"
    );
    room.write("init.sql", &init)?;
    let socket = room.path.join("s").display().to_string();
    let at_room = |name: &str| room.path.join(name).display().to_string();
    let mut command = Words::of(tools::server(start.client))
        .option("--defaults-file", start.data.join("backup-my.cnf"))
        .option("--datadir", start.data)
        .option("--socket", &socket)
        .option("--pid-file", at_room("pid"))
        .option("--log-error", at_room("log"))
        .option("--tmpdir", at_room("tmp"))
        .option("--init-file", at_room("init.sql"))
        .option("--lower-case-table-names", start.lower_case_table_names)
        .option("--innodb-buffer-pool-size", start.memory.to_string());
    command = command.words([
        "--skip-networking",
        "--skip-log-bin",
        "--skip-slave-start",
        "--event-scheduler=OFF",
        // What its log creates elsewhere (DATA DIRECTORY) comes into this folder: there, it would be the files of the server that runs.
        "--skip-symbolic-links",
        "--max-allowed-packet=1G",
        // A crash in here begins the recovery anew.
        "--innodb-flush-log-at-trx-commit=0",
    ]);
    if uid == 0 {
        command = command.word("--user=root");
    }
    let place = || at("start a server on", start.data);
    let program = Program::new(command)?.by(uid, gid).ending_with_us().within(Duration::MAX);
    let mut running = program.start(Stdio::null()).map_err(|why| Error::new(place(), Kind::Program(why)))?;
    let client = Client::new(Address::at_socket(USER, &password, &socket), start.client.folder())?;
    let begun = Instant::now();
    let mut tell_at = begun + TELL_EVERY;
    while client.ask_within("SELECT 1", Duration::from_secs(60)).is_err() {
        if let Some(why) = running.over() {
            return Err(Error::new(place(), Kind::Program(format!("{why}{}", room.last_words()))));
        }
        if begun.elapsed() > START_WITHIN {
            let why = format!("it does not answer{}", room.last_words());
            return Err(Error::new(place(), Kind::Program(why)));
        }
        if Instant::now() >= tell_at {
            (start.told)(&format!("it recovers since {} s", begun.elapsed().as_secs()));
            tell_at = Instant::now() + TELL_EVERY;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    let done = work(&client)?;
    end(&mut running).map_err(|why| {
        Error::new(at("end the server on", start.data), Kind::Program(format!("{why}{}", room.last_words())))
    })?;
    Ok(done)
}

/// Returns what takes the one who works in it away again.
pub(super) fn farewell() -> String {
    format!("DROP USER IF EXISTS {USER}@localhost;\n")
}

fn end(running: &mut Running) -> Result<(), String> {
    running.signal(Signal::TERM);
    running.end(END_WITHIN)
}

/// A folder beside the data for all that it needs, gone with its owner.
struct Room {
    folder: OurFolder,
    path: PathBuf,
    owner: (u32, u32),
}

impl Room {
    fn new(data: &Path) -> Result<Self> {
        let mut path = data.as_os_str().to_owned();
        path.push(".releve-recovery");
        let (path, owner) = (PathBuf::from(path), tools::owner(data)?);
        // What a killed run left.
        let _ = fs::remove_dir_all(&path);
        // Held from here on: whoever owns the folder above could put a link in its place.
        let room = Self { folder: OurFolder::make(&path)?, path, owner };
        let (way, wrong) = (room.folder.way(), |error| Error::io(at("make the folder", &room.path), error));
        let made = fs::DirBuilder::new().mode(0o700).create(way.join("tmp"));
        let made = made.and_then(|()| fs::set_permissions(&way, Permissions::from_mode(0o700)));
        // In this order: nobody else has a hand in it until it is given away itself.
        let given = made.and_then(|()| room.give(&way.join("tmp"))).and_then(|()| room.give(&way));
        given.map_err(wrong)?;
        Ok(room)
    }

    /// Writes a file that only its user may read.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let written = self.folder.create(name.as_ref()).and_then(|mut file| {
            io::Write::write_all(&mut file, text.as_bytes())?;
            give(&file, self.owner)
        });
        written.map_err(|error| Error::io(at("write", &self.path.join(name)), error))
    }

    /// Whoever isn't root runs the server himself.
    fn give(&self, path: &Path) -> io::Result<()> {
        let (uid, gid) = self.owner;
        if rustix::process::geteuid().is_root() { chown(path, Some(uid), Some(gid)) } else { Ok(()) }
    }

    /// Returns the last lines of the server's log, for the end of a sentence.
    fn last_words(&self) -> String {
        end_of_log(&self.path.join("log")).unwrap_or_default()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

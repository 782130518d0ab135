//! A PostgreSQL cluster: its files while it runs, and every instant in between by its WAL.
//!
//! The server is told before and after, through PostgreSQL's own interface for copies; what is read in between is made one state by the WAL
//! that is kept with it. A replica is as good a place to copy from.

mod amcheck;
mod aside;
mod bare;
mod copy;
mod dropped;
mod dumped;
mod excerpt;
mod extent;
mod flat;
mod folders;
mod history;
mod included;
mod layout;
mod led;
mod logical;
mod own;
mod page;
mod places;
mod programs;
mod readable;
mod receive;
mod refusals;
mod restore;
mod sentinel;
mod server;
mod serving;
mod session;
mod start;
mod still;
mod versions;
mod wal;
mod way;

pub use included::left_behind;
pub use logical::PgDump;
pub use receive::is_advice;

use crate::files::{open_tree, under};
use crate::standing::{Standing, look};
use crate::{
    Capture, Cut, Cutting, EndOf, Error, Excerpts, Foreseen, Inspection, Kept, Kind, Landing, Log, LogFile,
    LogKind, PutBack, Receiver, Replay, Result, Sentinel, Source, Still, Until, Wants, is_true,
};
use copy::Copy;
use included::Beside;
use server::Address;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vault::{Timestamp, Unread};

/// How long a server that was stopped may take to be gone: it removes its file some moments before it ends.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
/// What the folder of WAL is called beside a data directory.
const WAL_BESIDE: &str = ".releve-wal";

/// A PostgreSQL cluster on this machine.
///
/// **Captured** from its data directory and its tablespaces while it runs: the server begins and ends the copy and says which WAL makes it
/// whole; that WAL is part of the point. Where the cluster has checksums every page is checked on its way: a damaged one makes the point
/// incomplete. What a server makes anew is left out, as are temporary and unlogged relations. Configuration that lies elsewhere comes along.
///
/// **Put back** by difference into the same places (or below another folder, with its tablespaces), as a cluster that begins to recover when
/// it is started: to the end of the point, or with its WAL to the newest instant or any other. It goes on in a timeline of its own.
#[derive(Debug, Clone)]
pub struct Postgres {
    address: Address,
    data: PathBuf,
    programs: Option<PathBuf>,
}

impl Postgres {
    /// Returns the source of the cluster in this data directory, whose server is reached by this url.
    pub fn new(url: &str, data_directory: impl Into<PathBuf>) -> Result<Self> {
        let data: PathBuf = data_directory.into();
        let is_plain =
            data.is_absolute() && !data.components().any(|part| part == std::path::Component::ParentDir);
        if !is_plain || data.parent().is_none() {
            let why = format!("{} is not an absolute path without `..`", data.display());
            return Err(Error::new("read the path of a data directory", Kind::Invalid(why)));
        }
        Ok(Self { address: Address::parse(url)?, data: data.components().collect(), programs: None })
    }

    /// Names the folder of PostgreSQL's own programs, where they aren't found by themselves.
    #[must_use]
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    /// Makes sure that the server's data directory is the one of the plan. Returns what is captured beside it.
    fn check(&self, cluster: &server::Cluster) -> Result<Beside> {
        let place = || format!("copy {}", self.data.display());
        let real = |path: &Path| path.canonicalize().map_err(|error| Error::io(place(), error));
        let (named, served) = (real(&self.data)?, real(&cluster.data_directory)?);
        if named != served {
            let why = format!(
                "the server at this url keeps its data in {}: correct data_directory or the url",
                served.display()
            );
            return Err(Error::new(place(), Kind::Invalid(why)));
        }
        if named != self.data {
            let why = format!("it is reached through a link: write data_directory = \"{}\"", named.display());
            return Err(Error::new(place(), Kind::Invalid(why)));
        }
        Ok(included::beside(&self.data, &cluster.configuration, &cluster.settings))
    }
}

impl Source for Postgres {
    fn capture(&self, _scratch: &Path, now: Timestamp) -> Result<Capture> {
        let mut server = self.address.connect()?;
        let cluster = server.cluster()?;
        let mut paths = vec![self.data.clone()];
        let beside = self.check(&cluster)?;
        paths.extend(beside.paths.iter().cloned());
        paths.extend(cluster.tablespaces.iter().cloned());
        let mut made_with = versions::of(&mut server, &self.address, &self.data, self.programs.as_deref());
        included::note(&beside, &mut made_with);
        let counts_us = server.counts_us(receive::NAME)?;
        let begun = server.start("releve")?;
        let tree = open_tree(&paths)?;
        let copy = Copy::new(tree, &self.data, cluster, server, begun, now);
        let note = |(path, why): (PathBuf, String)| {
            let why = format!(
                "the server's configuration names it, and it isn't taken along: {why}. Without it the server will not start on another machine as it did: mend that, or name \
                 it in a system of files"
            );
            Unread { path, why }
        };
        let counts_us =
            counts_us.then(|| Unread { path: self.data.clone(), why: receive::COUNTS_US.to_owned() });
        let notes = beside.left.into_iter().map(note).chain(counts_us).collect();
        Ok(Capture::new(copy, paths).of(made_with).noting(notes))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::Final(to.unwrap_or(Path::new("/")).to_owned())
    }

    fn ready(&self, to: Option<&Path>) -> Result<()> {
        let data = under(to, &self.data);
        match start::ended(&data, ENDS_WITHIN) {
            Some(process) => {
                let who = format!("the server (process {process}), which recover.stop should have stopped");
                Err(Error::new(format!("replace {}", data.display()), Kind::InUse(who)))
            }
            None => Ok(()),
        }
    }

    fn foresee(&self, made_with: &BTreeMap<String, String>) -> Foreseen {
        let mut foreseen = versions::foresee(made_with, self.programs.as_deref());
        foreseen.warned.extend(included::foresee(made_with));
        foreseen
    }

    fn exact(&self, _restored: &Path, to: Option<&Path>) -> Result<Vec<PathBuf>> {
        let data = under(to, &self.data);
        let mut folders = vec![data.clone()];
        folders.extend(restore::tablespaces(&data)?.into_iter().map(|(_, place)| under(to, &place)));
        Ok(folders)
    }

    fn log(&self) -> Option<&dyn Log> {
        Some(self)
    }

    fn excerpts(&self) -> Option<&dyn Excerpts> {
        Some(self)
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        replay: Option<&Replay>,
        _told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        let root = to.unwrap_or(Path::new("/"));
        if restored != root {
            let why = format!("a cluster is restored straight into {}", root.display());
            return Err(Error::new(format!("put back from {}", restored.display()), Kind::Invalid(why)));
        }
        let log = self.landing_of_wal(to);
        restore::prepare(&under(to, &self.data), to, &log, replay, self.programs.as_deref())
    }

    fn stands_alone(&self, to: &Path) -> Result<()> {
        restore::refuse_strays(
            &under(Some(to), &self.data),
            &self.landing_of_wal(Some(to)),
            to,
            self.programs.as_deref(),
        )
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        look([under(to, &self.data).as_path()])
    }

    fn open(&self, is_started: bool, told: &dyn Fn(&str)) -> Result<Vec<String>> {
        let wal = self.landing_of_wal(None);
        let notes = start::open(&self.data, &wal, &self.address, self.programs.as_deref(), is_started, told)?;
        if restore::clear(&self.data, &wal)? {
            start::reload(&self.data, self.programs.as_deref(), told);
        }
        Ok(notes)
    }

    fn inspect(&self) -> Result<Inspection> {
        amcheck::inspect(&self.address, self.programs.as_deref())
    }

    fn holds_within(&self, query: &str, within: Duration) -> Result<(), String> {
        let value = self.address.connect_for_the_plan().and_then(|mut server| server.first(query, within));
        is_true(query, value.map_err(|error| format!("{query}: {error}"))?.as_deref())
    }
}

impl Postgres {
    /// Returns whether an agent receives the WAL of the server that runs here.
    fn is_received(&self) -> Result<bool> {
        let mut server = self.address.connect()?;
        let cluster = server.cluster()?;
        self.check(&cluster)?;
        Ok(server.received_by(receive::NAME)?.is_some())
    }

    /// Returns where WAL lies until the cluster has recovered: beside the data directory, since recovery may have to read it again.
    fn landing_of_wal(&self, to: Option<&Path>) -> PathBuf {
        let mut path = under(to, &self.data).into_os_string();
        path.push(WAL_BESIDE);
        path.into()
    }
}

impl Log for Postgres {
    fn landing(&self, _restored: &Path, to: Option<&Path>) -> PathBuf {
        self.landing_of_wal(to)
    }

    fn file(&self, name: &str) -> Option<LogFile> {
        wal::log_file(name)
    }

    fn ends(&self) -> Option<EndOf> {
        Some(|name, file| match wal::log_file(name) {
            Some(found) if found.kind != LogKind::Always => extent::end_of(file),
            _ => std::io::copy(file, &mut std::io::sink()),
        })
    }

    fn gap(&self, before: &str, whole: Option<u64>, next: &str) -> Option<String> {
        let expected = match whole {
            Some(bytes) => wal::successor(before, bytes).unwrap_or_else(|| format!("what follows {before}")),
            // Nothing follows on one that isn't whole.
            None => format!("the rest of {before}"),
        };
        (expected != next).then_some(expected)
    }

    fn history(&self, name: &str, text: &str, file_bytes: u64) -> Option<(u32, Vec<(u32, String)>)> {
        wal::read_history(name, text, file_bytes)
    }

    fn identity(&self, name: &str, head: &[u8]) -> Option<String> {
        let is_segment = wal::log_file(name).is_some_and(|file| file.kind != LogKind::Always);
        is_segment.then(|| wal::identity_in_segment(head)).flatten()
    }

    fn identity_now(&self) -> Result<Option<String>> {
        self.address.connect()?.identity()
    }

    fn identity_at(&self, to: Option<&Path>) -> Option<String> {
        let mut head = [0; 8];
        let mut control = crate::ours::open_file(&under(to, &self.data).join("global/pg_control")).ok()?;
        control.read_exact(&mut head).ok()?;
        wal::identity_in_control(&head)
    }

    fn still(&self, known: &[String], spool: &Path, is_brought: bool) -> Result<Option<Still>> {
        // What a recovery has put there and not led to its end was written by somebody else.
        let is_unfinished = ["backup_label", "recovery.signal", "standby.signal"]
            .iter()
            .any(|name| self.data.join(name).exists());
        if is_unfinished || self.landing_of_wal(None).exists() {
            return Ok(None);
        }
        let asked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = match start::running(&self.data).map(|_| self.is_received()) {
            Some(Ok(true)) => return Ok(None),
            Some(Ok(false)) => Some(Timestamp {
                seconds: i64::try_from(asked.as_secs()).unwrap_or_default(),
                nanos: asked.subsec_nanos(),
            }),
            // What lies there lies there, whether its server answers or not.
            Some(Err(_)) | None => None,
        };
        let Some(lying) = still::Lying::look(&self.data)? else { return Ok(None) };
        let goes_on = known.iter().find_map(|known| Some((known, lying.goes_on(known)?)));
        let Some((from, number)) = goes_on else { return Ok(None) };
        if is_brought {
            lying.copy(number, spool)?;
        }
        let place = lying.folder().display().to_string();
        Ok(Some(Still { from: from.clone(), place, is_replaced: true, until }))
    }

    fn receive(&self, spool: &Path, _held: Option<&str>) -> Result<Box<dyn Receiver>> {
        Ok(Box::new(receive::Stream::begin(&self.address, &self.data, self.programs.as_deref(), spool)?))
    }

    fn is_measured(&self) -> bool {
        true
    }

    fn write_sentinel(&self) -> Result<Sentinel> {
        self.address.connect()?.write_sentinel()
    }

    fn read_sentinel(&self) -> Result<Sentinel> {
        self.address.connect()?.read_sentinel()
    }

    fn check(&self, until: &Until) -> Result<()> {
        let wrong = match until {
            Until::On { place, .. } => return Log::check(self, place),
            Until::Position(lsn) if lsn.parse::<wal::Lsn>().is_err() => {
                format!("`{lsn}` is no position: write 0/16B3748")
            }
            Until::Transaction(number) if number.parse::<u32>().is_err() => {
                format!("`{number}` is no transaction: write its number")
            }
            Until::Name(name) if name.is_empty() => "a point without a name".into(),
            _ => return Ok(()),
        };
        Err(Error::new("roll forward", Kind::Invalid(wrong)))
    }

    fn numbers_histories(&self) -> bool {
        true
    }

    fn number_histories(&self, folder: &Path, newest: u32) -> Result<()> {
        bare::number(folder, newest)
    }

    fn history_of(&self, name: &str) -> Option<u32> {
        wal::timeline_of(name)
    }

    fn is_before(
        &self,
        whole_at: Option<&str>,
        position: &str,
        file_bytes: u64,
        place: &str,
    ) -> Option<bool> {
        wal::is_before(whole_at, position, file_bytes, place)
    }

    fn find(
        &self,
        until: &Until,
        made_with: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<Option<String>> {
        history::find(until, made_with, folder, self.programs.as_deref())
    }

    fn check_place(&self, until: &Until, files: &[(String, u64)], histories: &Path) -> Result<()> {
        places::check(until, files, histories, &self.data)
    }

    fn set_aside(&self, _restored: &Path, to: Option<&Path>, _spool: &Path) -> Result<Kept> {
        restore::set_aside(&under(to, &self.data), &self.landing_of_wal(to))
    }

    fn wants(&self, _restored: &Path, to: Option<&Path>) -> Result<Wants> {
        restore::wanted(&under(to, &self.data))
    }
}

impl Excerpts for Postgres {
    fn probe(&self) -> PathBuf {
        self.data.join("PG_VERSION")
    }

    fn check(&self, to: &Path) -> Result<()> {
        let data = under(Some(to), &self.data);
        let version = programs::version_of(&data)?;
        for name in ["postgres", "pg_dump", "pg_controldata"] {
            let path = programs::program(name, &version, self.programs.as_deref())?;
            if path.is_absolute() && !path.exists() {
                let why = format!(
                    "it is not there: install PostgreSQL {version}, or name its folder as `programs`"
                );
                return Err(Error::new(format!("find {}", path.display()), Kind::Invalid(why)));
            }
        }
        aside::owner(&data).map(drop)
    }

    fn write(&self, cutting: &Cutting<'_>, out: &mut dyn Write) -> Result<Cut> {
        let data = under(Some(cutting.to), &self.data);
        let (user, usual) = self.address.names();
        // Whose name the first user of a cluster bears isn't written anywhere that can be read before one is let in.
        let owner = aside::owner(&data)?.0;
        let owner = nix::unistd::User::from_uid(owner.into()).ok().flatten().map(|user| user.name);
        let users: Vec<&str> =
            user.as_deref().into_iter().chain(["postgres"]).chain(owner.as_deref()).collect();
        excerpt::write(&data, &users, &usual, self.programs.as_deref(), cutting, out)
    }
}

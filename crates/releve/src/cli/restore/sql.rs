//! `releve restore --as-sql`: one database, or some of its tables, out of a point of a whole cluster.

use super::Options as Restore;
use crate::cli::backup::stop_on_signal;
use crate::cli::recover::{aim, from_wanted, until_wanted};
use crate::session::Session;
use crate::show::{self, Screen, size};
use crate::{Exit, Outcome};
use engine::excerpt::{Room, excerpt};
use engine::recover::Hands;
use engine::room::room_at;
use engine::survey::{Survey, survey};
use engine::vaults::Opened;
use engine::{Error, Observer, Question, Reply};
use jiff::Timestamp;
use plan::{Available, Runbook, RunbookInput, SystemName, Wanted};
use serde_json::json;
use source::{Cut, Excerpt};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use vault::Progress;

/// What makes whoever was fed half of a dump fail, whatever he was in the middle of: the rows of a table end at `\.`.
const POISON: &str = "\n\\.\nDO $$BEGIN RAISE EXCEPTION 'releve: the dump ended early'; END$$;\n";

/// What `restore` takes besides for a part as SQL.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "A part of a PostgreSQL cluster")]
pub(super) struct Sql {
    /// Print one database or some tables as SQL, as pg_dump does, and touch nothing
    #[arg(
        long,
        conflicts_with_all = ["to", "path", "first", "delete", "owner_names", "no_setuid", "no_devices"]
    )]
    as_sql: bool,
    /// The table, `NAME` or `SCHEMA.NAME`, with its partitions; may be repeated
    #[arg(long, value_name = "TABLE", requires = "as_sql", allow_hyphen_values = true)]
    table: Vec<String>,
    /// The database; the one that the url in the plan names unless said
    #[arg(long, value_name = "NAME", requires = "as_sql", allow_hyphen_values = true)]
    database: Option<String>,
    /// Roll forward to a position, a named point or right before a transaction, as `releve recover` does
    #[arg(long, value_name = "WHAT", requires = "as_sql", conflicts_with = "before")]
    until: Option<String>,
    /// Write to this file instead of standard output; it is there only when it is whole
    #[arg(long, value_name = "FILE", requires = "as_sql")]
    output: Option<PathBuf>,
    /// Where the whole cluster is restored for it meanwhile [default: $TMPDIR, or /var/tmp]
    #[arg(long, value_name = "DIR", requires = "as_sql")]
    work: Option<PathBuf>,
}

impl Sql {
    pub(super) fn is_wanted(&self) -> bool {
        self.as_sql
    }
}

pub(super) fn run(session: &Session, system: &SystemName, restore: &Restore) -> Outcome {
    let options = &restore.sql;
    if let Some(why) = unfit(session, system, options) {
        show::error(&why);
        return Ok(Exit::Usage);
    }
    let is_quiet = session.json && options.output.is_some();
    let wanted = match &options.until {
        Some(until) if restore.point != "latest" => from_wanted(&restore.point, until)?,
        Some(until) => until_wanted(until)?,
        None => super::wanted(&restore.point, restore.before.as_deref())?,
    };
    let state = session.state_if_any();
    let seen = session.known(state.as_ref());
    let vaults = super::open(session, restore, state.as_ref())?;
    let (survey, vanished) = session.looked(state.as_ref(), &seen, &vaults, survey(&vaults));
    for (vault, why) in survey.troubles() {
        eprintln!("warning: vault {vault}: {why}");
    }
    let work = work(options);
    let mut book = book(session, system, &wanted, &survey, &vaults, (&work, restore.how.memory));
    book.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    if let (Some(unreached), Wanted::Before(time)) = (book.unreached.first(), &wanted) {
        let help = format!(
            "with --point {} in the place of --before it is read from {}",
            unreached.point,
            show::dates(&unreached.state())
        );
        return Err(Error::new(show::dates(&unreached.refused(*time))).help(help).into());
    }
    let Some(entry) = book.systems.first().filter(|_| book.blockers.is_empty()) else {
        return Err(super::none_left(Error::new(book.blockers.join("; ")), &vanished, system).into());
    };
    super::warn_of_newer(&vanished, system, &wanted, entry.choice.point.time);
    let (point, reasons) = (entry.choice.point.clone(), entry.choice.reasons.clone());
    let needs = Needs::of(entry, &survey);
    let screen = Screen::new(is_quiet, true);
    screen.line(&format!(
        "{system}: point {} of {}: {}; {} go to {} meanwhile",
        point.id.get(..8).unwrap_or(&point.id),
        show::time(point.time),
        reasons.join("; "),
        size(needs.point),
        work.display()
    ));
    if restore.dry_run {
        needs.check(&work)?;
        return Ok(Exit::Done);
    }
    // What a killed run has left there goes first: it may be what takes the room.
    let room = Room::make(&session.state_dir, &work, &|text| screen.line(text))?;
    needs.check(&work)?;
    book.to = Some(room.root().display().to_string());
    let over = Arc::new(Progress::default());
    stop_on_signal(&over);
    let hands = Hands {
        evidence: &plan::outlook::Evidence::default(),
        plan: &session.plan,
        vaults: &vaults,
        secrets: session.secrets(),
        folder: &session.state_dir,
        spools: &session.state_dir.join("log"),
        survey: &survey,
        observer: &Stoppable(&screen),
        verify: restore.how.verify,
        memory: restore.how.memory,
        journal: None,
        notifier: None,
        patient: false,
    };
    let part = Excerpt { database: options.database.clone(), tables: options.table.clone() };
    let begun = Instant::now();
    let mut out = Out::new(options.output.as_deref())?;
    let done = excerpt(&book, &hands, &room, &part, &mut out, &|| over.is_stopped());
    // Before the last words into a pipe, where somebody who doesn't read could keep us.
    drop(room);
    let bytes = out.bytes;
    let Cut { what, not_held } = match done {
        Ok(cut) => out.keep().map(|()| cut)?,
        Err(error) => {
            out.give_up();
            return Err(error.into());
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    if is_quiet {
        show::print_json(
            &json!({ "system": system, "point": point.id, "reasons": reasons, "what": what, "not_held": not_held, "bytes": bytes,
            "output": options.output, "seconds": seconds }),
        );
    } else {
        screen.line(&format!("{what}: {} of SQL, {seconds:.1} s", size(bytes)));
        not_held.iter().for_each(|lacking| screen.line(&format!("warning: {lacking}")));
    }
    Ok(if not_held.is_empty() { Exit::Done } else { Exit::Finding })
}

/// Says why it can't be asked for so, and what to do instead.
fn unfit(session: &Session, system: &SystemName, options: &Sql) -> Option<Error> {
    let source = session.plan.systems.get(system).and_then(|system| system.source.as_ref());
    match source {
        Some(plan::Source::Postgres(_)) => {}
        Some(plan::Source::Mariadb(mariadb)) if mariadb.copy == plan::Copied::Physical => {
            let help = format!(
                "releve restore {system} --to DIR makes a data directory: start mariadbd on it, beside the real one, and take the table out with mariadb-dump"
            );
            return Some(Error::new(format!("{system}: its points are the files of a server")).help(help));
        }
        Some(plan::Source::Mariadb(_)) => {
            let help = format!(
                "releve restore {system} --to DIR makes DIR/mariadb.sql: in it a database begins at `-- Current Database:`, a table at `-- Table structure for table`"
            );
            let why = format!("{system}: its points are SQL already, one file with all databases");
            return Some(Error::new(why).help(help));
        }
        Some(plan::Source::PgDump(_)) => {
            let help = format!("releve restore {system} --to DIR --path /postgresql/databases/NAME.sql");
            return Some(
                Error::new(format!("{system}: its points are SQL already, a file for each database"))
                    .help(help),
            );
        }
        other => {
            let kind = other.map_or("nothing", plan::Source::kind);
            return Some(
                Error::new(format!(
                    "{system}: its source is `{kind}`, and SQL comes out of a PostgreSQL cluster"
                ))
                .help(format!("releve restore {system} --to DIR, with --path for a part")),
            );
        }
    }
    if options.table.is_empty() && options.database.is_none() {
        return Some(
            Error::new("what of it?").help("--table NAME, or --database NAME for all of a database"),
        );
    }
    let would_scroll = options.output.is_none() && io::stdout().is_terminal();
    would_scroll
        .then(|| Error::new("the SQL would scroll away here").help("--output FILE, or `… | psql DATABASE`"))
}

fn book(
    session: &Session,
    system: &SystemName,
    wanted: &Wanted,
    survey: &Survey,
    vaults: &[Opened],
    (work, memory): (&Path, u64),
) -> Runbook {
    let witness = session.witness();
    let points = witness.judged(&session.plan, survey, system, Timestamp::now());
    let spools = session.state_dir.join("log");
    let aimed = aim(session, vaults, survey, memory, &spools).look(system, Some(wanted), &points, true);
    let available = Available {
        points,
        fitting: aimed.fitting,
        unplaced: aimed.unplaced,
        log: survey.log(system),
        former: survey.former_logs(system),
        went_back: witness.went_back(system),
        went_to: witness.went_to(system),
        went_from: witness.went_from(system),
        recoveries: witness.recoveries(system),
        ..Available::default()
    };
    let mut book = plan::runbook(&RunbookInput {
        plan: &session.plan,
        scenario: None,
        systems: vec![system.clone()],
        wanted: Some(wanted.clone()),
        or_earlier: false,
        to: Some(work.display().to_string()),
        machine: session.holder.hostname.clone(),
        stands_in: true,
        now: Timestamp::now(),
        available: BTreeMap::from([(system.clone(), available)]),
        vaults: survey.asked(vaults),
    });
    // What it says of a recovery is none of this.
    let of_recovery = ["restored beside", "not part of this recovery", " was promised"];
    book.warnings.retain(|warning| !of_recovery.iter().any(|part| warning.contains(part)));
    book
}

/// Returns where there is room for a cluster on its way. A file system in memory, as `/tmp` often is, would not do.
fn work(options: &Sql) -> PathBuf {
    let own = || std::env::var_os("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let work = options.work.clone().or_else(own).unwrap_or_else(|| "/var/tmp".into());
    std::path::absolute(&work).unwrap_or(work)
}

/// What it takes on disk, in bytes.
struct Needs {
    point: u64,
    log: u64,
}

impl Needs {
    fn of(entry: &plan::Restore, survey: &Survey) -> Self {
        let bytes = |replay: &plan::Replay| Some(survey.point(&replay.log)?.point.info.as_ref()?.bytes);
        let log = entry.replay.as_ref().and_then(bytes);
        Self { point: entry.choice.point.bytes, log: log.unwrap_or_default() }
    }

    fn check(&self, work: &Path) -> Result<(), Error> {
        let Some(free) = room_at(work).map(|room| room.free) else { return Ok(()) };
        let log = match self.log {
            0 => String::new(),
            log => format!(", its log up to {} more", size(log)),
        };
        let said = format!(
            "the whole cluster is restored for it, which takes {}{log}; {} are free in {}",
            size(self.point),
            size(free),
            work.display()
        );
        if free < self.point {
            return Err(Error::new(said).help("--work DIR names a folder with more room"));
        }
        // Of the log only what came after the point is needed: how much that is shows when it is there.
        if free < self.point.saturating_add(self.log) {
            eprintln!("warning: {said}");
        }
        Ok(())
    }
}

/// Shows what happens, and lets Ctrl-C end what takes long.
struct Stoppable<'a>(&'a Screen);

impl Observer for Stoppable<'_> {
    fn event(&self, system: Option<&SystemName>, text: &str) {
        self.0.event(system, text);
    }

    fn ask(&self, _question: &Question<'_>, _settled: &dyn Fn() -> bool) -> Option<Reply> {
        None
    }

    fn progress(&self, system: &SystemName, progress: &Arc<Progress>) {
        stop_on_signal(progress);
        self.0.progress(system, progress);
    }
}

/// Where the SQL goes.
struct Out {
    into: File,
    /// Where it is written to, and what it is called when it is whole; nowhere on standard output.
    names: Option<(PathBuf, PathBuf)>,
    bytes: u64,
}

impl Out {
    fn new(output: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = output else {
            // Not line by line, as the standard library would.
            let into = io::stdout().as_fd().try_clone_to_owned();
            let into = into.map_err(|error| Error::new(format!("write to standard output: {error}")))?;
            return Ok(Self { into: into.into(), names: None, bytes: 0 });
        };
        let mut part = path.as_os_str().to_owned();
        part.push(".releve-part");
        let part = PathBuf::from(part);
        // For nobody else to read: these are the company's data.
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let into = made.map_err(|error| Error::new(format!("write {}: {error}", part.display())))?;
        Ok(Self { into, names: Some((part, path.to_owned())), bytes: 0 })
    }

    /// Gives the file its name, durably.
    fn keep(self) -> Result<(), Error> {
        let Some((part, path)) = &self.names else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = self.into.sync_all().and_then(|()| std::fs::rename(part, path));
        let named = named.and_then(|()| File::open(folder)?.sync_all());
        named.map_err(|error| Error::new(format!("write {}: {error}", path.display())))
    }

    /// Leaves no half of a file, and lets nobody take half of a dump for a whole one.
    fn give_up(mut self) {
        match &self.names {
            Some((part, _)) => {
                let _ = std::fs::remove_file(part);
            }
            None if self.bytes > 0 => {
                let _ = self.into.write_all(POISON.as_bytes());
            }
            None => {}
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

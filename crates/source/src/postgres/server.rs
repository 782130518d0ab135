//! What is asked of a running server, in the words of its version.

use super::refusals::Refusal;
use super::session::{CONNECT_WITHIN, Failed, Session};
use super::wal::{Lsn, Segment};
use crate::{Error, Kind, Result};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// What the server gets to say that it has given up.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// The longest time that it can be given for a statement.
pub(super) const MILLIS_MAX: u128 = 2_147_483_647;

/// The first version that has everything that is used here.
const VERSION_MIN: i32 = 130_000;

/// What a session of ours is not ended by, whatever the server or its user was given; not every version has all. No commit of ours waits for a standby either.
const OURS: &str = "SELECT current_setting('server_version_num')::int4, (SELECT count(set_config(name, '0', false)) FROM pg_catalog.pg_settings \
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')), \
    set_config('synchronous_commit', 'local', false)";

/// What a session must have before its first question, and every version has.
const FROM_THE_START: &str =
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";
/// The same, from PostgreSQL 14 on: an older one refuses what it doesn't know. Some milliseconds may lie between a session's beginning and its first question.
pub(super) const FROM_THE_START_NEWER: &str = "-c idle_session_timeout=0";
/// Where names are looked for: whoever owns a database may set another path for it, on which functions of his come before the server's, and would run as us.
pub(super) const OUR_PATH: &str = "-c search_path=pg_catalog,pg_temp";
/// The path of the database, for what the plan asks in its own words, with the server's own names before all others.
pub(super) const SAFE_PATH: &str = "SELECT pg_catalog.set_config('search_path', \
    'pg_catalog, ' OPERATOR(pg_catalog.||) pg_catalog.current_setting('search_path'), false)";

/// Nobody is let in.
pub(super) struct Closed {
    pub(super) error: Error,
    pub(super) why: Why,
    /// What a server has said that is there.
    pub(super) refusal: Option<Refusal>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A server has said so, and it passes: it starts or ends, or is full.
    Passes,
    /// A server has said so: it is there, and doesn't want us.
    Refused,
    /// Nobody was there who could say anything.
    Unreached,
}

/// How a server is reached. Holds a password, which never leaves it but to the server and to PostgreSQL's own programs.
#[derive(Clone)]
pub(super) struct Address(Config);

/// A connection.
pub(super) struct Server {
    pub(super) client: Session,
    version: i32,
}

/// What a copy needs to know of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// The data directory, as the server names it.
    pub(super) data_directory: PathBuf,
    /// Files of its configuration that may lie elsewhere.
    pub(super) configuration: Vec<PathBuf>,
    /// The names of all settings that it has, in small letters.
    pub(super) settings: HashSet<String>,
    /// Where tablespaces lie.
    pub(super) tablespaces: Vec<PathBuf>,
    /// Bytes of a segment of WAL.
    pub(super) segment_bytes: u64,
    /// Pages carry checksums, and are of the usual size.
    pub(super) has_checksums: bool,
}

/// Where a copy ended, and what belongs into it.
#[derive(Debug, Clone)]
pub(super) struct Stopped {
    pub(super) at: Lsn,
    /// The server's time then, in microseconds since 1970: all that lies before `at` was committed by then.
    pub(super) time: i64,
    pub(super) label: String,
    pub(super) tablespaces: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database`. An error doesn't repeat it.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let config: Result<Config, _> = url.parse();
        let mut config = config.map_err(|_| {
            let why = "it has not the form postgres://user:password@host:port/database";
            Error::new("read the url of the PostgreSQL server", Kind::Invalid(why.into()))
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name("releve");
        let options = format!("{} {FROM_THE_START}", config.get_options().unwrap_or_default());
        config.options(options.trim());
        Ok(Self(config))
    }

    pub(super) fn connect(&self) -> Result<Server> {
        self.knock().map_err(|closed| closed.error)
    }

    /// Connects to ask what the plan asks in its own words.
    pub(super) fn connect_for_the_plan(&self) -> Result<Server> {
        self.enter(true).map_err(|closed| closed.error)
    }

    /// Connects, or says what it means that nobody is let in.
    pub(super) fn knock(&self) -> Result<Server, Closed> {
        self.enter(false)
    }

    fn enter(&self, is_plans: bool) -> Result<Server, Closed> {
        let place = || format!("connect to {self}");
        let wrong = |error: Failed| Closed {
            why: match error.code() {
                Some(code) if passes(code) => Why::Passes,
                Some(_) => Why::Refused,
                None => Why::Unreached,
            },
            refusal: error.code().map(|code| Refusal::of(code, error.routine())),
            error: sort(place(), &error),
        };
        let open = |more: &str| {
            let mut config = self.0.clone();
            let path = if is_plans { "" } else { OUR_PATH };
            let options = [config.get_options().unwrap_or_default(), more, path];
            let options: Vec<&str> = options.into_iter().filter(|option| !option.is_empty()).collect();
            let options = options.join(" ");
            config.options(options.as_str());
            Session::open(&config)
        };
        let opened = match open(FROM_THE_START_NEWER) {
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_OBJECT) => {
                open("")
            }
            opened => opened,
        };
        let mut client = opened.map_err(wrong)?;
        if is_plans {
            client.query(SAFE_PATH, &[]).map_err(wrong)?;
        }
        let version: i32 = client.query_one(OURS, &[]).map_err(wrong)?.get(0);
        if version < VERSION_MIN {
            let why = format!("it is PostgreSQL {}: 13 is the oldest that can be copied", version / 10_000);
            let error = Error::new(place(), Kind::Invalid(why));
            return Err(Closed { error, why: Why::Refused, refusal: None });
        }
        Ok(Server { client, version })
    }

    /// Returns the user, and the database that is meant where none is named.
    pub(super) fn names(&self) -> (Option<String>, String) {
        let user = self.0.get_user().map(str::to_owned);
        let database = self.0.get_dbname().map(str::to_owned).or_else(|| user.clone());
        (user, database.unwrap_or_else(|| "postgres".into()))
    }

    /// Returns the same server, and another of its databases.
    pub(super) fn in_database(&self, name: &str) -> Self {
        let mut config = self.0.clone();
        config.dbname(name);
        Self(config)
    }

    /// Returns the database that it names.
    pub(super) fn database(&self) -> Option<&str> {
        self.0.get_dbname()
    }

    /// Returns what PostgreSQL's own programs need to get there: variables of their environment, the password among them.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let config = &self.0;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => Some(host.clone()),
            Some(Host::Unix(path)) => Some(path.display().to_string()),
            None => None,
        };
        let password = config.get_password().map(|password| String::from_utf8_lossy(password).into_owned());
        let values = [
            ("PGHOST", host),
            ("PGPORT", config.get_ports().first().map(ToString::to_string)),
            ("PGUSER", config.get_user().map(str::to_owned)),
            ("PGDATABASE", config.get_dbname().map(str::to_owned)),
            ("PGPASSWORD", password),
            // The programs, too, would wait without end for a server that takes connections and doesn't answer.
            ("PGCONNECT_TIMEOUT", Some(CONNECT_WITHIN.as_secs().to_string())),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        match self.0.get_hosts().first() {
            Some(Host::Tcp(host)) => write!(f, "PostgreSQL at {host}:{port}"),
            Some(Host::Unix(path)) => write!(f, "PostgreSQL at {}, port {port}", path.display()),
            None => write!(f, "PostgreSQL, port {port}"),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Server {
    /// Returns the major version.
    pub(super) fn major(&self) -> i32 {
        self.version / 10_000
    }

    pub(super) fn cluster(&mut self) -> Result<Cluster> {
        let mut setting = |name: &str| -> Result<String> {
            let row = self.client.query_opt("SELECT setting FROM pg_settings WHERE name = $1", &[&name]);
            match row.map_err(|error| sort("ask the server for its settings", &error))? {
                Some(row) => Ok(row.get::<_, Option<String>>(0).unwrap_or_default()),
                None => Err(Error::new(
                    format!("ask the server for {name}"),
                    Kind::Refused("its user needs the role pg_read_all_settings".into()),
                )),
            }
        };
        let data_directory = setting("data_directory")?.into();
        let files = ["config_file", "hba_file", "ident_file"].map(&mut setting);
        let configuration = files.into_iter().collect::<Result<Vec<_>>>()?;
        let number = |text: String| text.parse::<u64>().unwrap_or_default();
        let segment_bytes = number(setting("wal_segment_size")?);
        let block_bytes = number(setting("block_size")?);
        let has_checksums =
            setting("data_checksums")? == "on" && block_bytes == super::page::PAGE_BYTES as u64;
        if !segment_bytes.is_power_of_two() {
            let why = format!("its WAL has segments of {segment_bytes} bytes");
            return Err(Error::new("look at the server", Kind::Invalid(why)));
        }
        let locations = "SELECT pg_tablespace_location(oid) FROM pg_tablespace";
        let rows = self.client.query(locations, &[]).map_err(|error| sort("ask for tablespaces", &error))?;
        let tablespaces: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let names = self.client.query("SELECT lower(name) FROM pg_settings", &[]);
        let names = names.map_err(|error| sort("ask the server for its settings", &error))?;
        Ok(Cluster {
            data_directory,
            settings: names.iter().map(|row| row.get(0)).collect(),
            configuration: configuration
                .into_iter()
                .filter(|file| !file.is_empty())
                .map(PathBuf::from)
                .collect(),
            // Those that a server keeps within its data directory have no absolute place.
            tablespaces: tablespaces
                .into_iter()
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .collect(),
            segment_bytes,
            has_checksums,
        })
    }

    /// Begins a copy, and keeps all WAL from now on for as long as this connection lives. Returns where it begins.
    pub(super) fn start(&mut self, label: &str) -> Result<Lsn> {
        let place = "begin a copy";
        // Copies of one server may be made from several machines and containers.
        let slot = format!("releve_copy_{}", process::Process::this().tag());
        let create = "SELECT pg_create_physical_replication_slot($1, true, true)::text";
        self.client.query_one(create, &[&slot]).map_err(|error| sort(place, &error))?;
        let start = match self.major() {
            15.. => "SELECT pg_backup_start($1, true)::text",
            _ => "SELECT pg_start_backup($1, true, false)::text",
        };
        let row = self.client.query_one(start, &[&label]).map_err(|error| sort(place, &error))?;
        position(place, row.get(0))
    }

    /// Ends it.
    pub(super) fn stop(&mut self) -> Result<Stopped> {
        let place = "end the copy";
        let stop = match self.major() {
            15.. => {
                "SELECT lsn::text, labelfile, spcmapfile, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                    FROM pg_backup_stop(false)"
            }
            _ => {
                "SELECT lsn::text, labelfile, spcmapfile, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                    FROM pg_stop_backup(false, false)"
            }
        };
        let row = self.client.query_one(stop, &[]).map_err(|error| sort(place, &error))?;
        let tablespaces: Option<String> = row.get(2);
        Ok(Stopped {
            at: position(place, row.get(0))?,
            time: row.get(3),
            label: row.get(1),
            tablespaces: tablespaces.unwrap_or_default(),
        })
    }

    pub(super) fn is_in_recovery(&mut self) -> Result<bool> {
        let row = self.client.query_one("SELECT pg_is_in_recovery()", &[]);
        Ok(row.map_err(|error| sort("ask the server", &error))?.get(0))
    }

    /// Returns whether a server that recovers has stopped in the middle until somebody lets it go on.
    pub(super) fn is_paused(&mut self) -> Result<bool> {
        let row = self.client.query_one("SELECT pg_is_wal_replay_paused()", &[]);
        Ok(row.map_err(|error| sort("ask the server", &error))?.get(0))
    }

    /// Returns how far a server that recovers has come.
    pub(super) fn replayed(&mut self) -> Result<Option<Lsn>> {
        let row = self.client.query_one("SELECT pg_last_wal_replay_lsn()::text", &[]);
        let at: Option<String> = row.map_err(|error| sort("ask the server", &error))?.get(0);
        Ok(at.and_then(|at| at.parse().ok()))
    }

    /// Returns how far the server's WAL is safe on its own disk; on a replica, how far it was received.
    pub(super) fn written(&mut self) -> Result<Lsn> {
        let query = "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
            ELSE pg_current_wal_flush_lsn() END::text";
        let row = self.client.query_one(query, &[]).map_err(|error| sort("ask the server", &error))?;
        position("ask the server", row.get(0))
    }

    /// Makes the slot that keeps WAL for us, unless it is there. One that has lost what it kept is made anew: there is a gap then.
    pub(super) fn make_slot(&mut self, name: &str) -> Result<()> {
        let place = "make a replication slot";
        let found = self
            .client
            .query_opt("SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1", &[&name]);
        let status: Option<Option<String>> =
            found.map_err(|error| sort(place, &error))?.map(|row| row.get(0));
        match status {
            Some(status) if status.as_deref() == Some("lost") => {
                let dropped = self.client.execute("SELECT pg_drop_replication_slot($1)", &[&name]);
                dropped.map_err(|error| sort("drop a replication slot that has lost its WAL", &error))?;
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let create = "SELECT pg_create_physical_replication_slot($1, true)::text";
        self.client.query_one(create, &[&name]).map(drop).map_err(|error| sort(place, &error))
    }

    /// Returns how long a segment of WAL is.
    pub(super) fn segment_bytes(&mut self) -> Result<u64> {
        let query = "SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size'";
        let row = self.client.query_one(query, &[]).map_err(|error| sort("ask the server", &error))?;
        let bytes: i64 = row.get(0);
        let why = || Kind::Refused(format!("it says that a segment of its WAL has {bytes} bytes"));
        u64::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| Error::new("ask the server", why()))
    }

    /// Returns whether whoever receives through the slot of this name, by the same name, is taken for a synchronous standby: the server names him, or everybody.
    pub(super) fn counts_us(&mut self, name: &str) -> Result<bool> {
        let query = "SELECT current_setting('synchronous_standby_names') ~* \
            ('[*]|(^|[^[:alnum:]_$])' || $1::text || '($|[^[:alnum:]_$])') \
            AND EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1::text)";
        let row = self.client.query_opt(query, &[&name]).map_err(|error| sort("ask the server", &error))?;
        Ok(row.is_some_and(|row| row.get::<_, Option<bool>>(0) == Some(true)))
    }

    /// Returns whether slots keep WAL without end, until the disk is full.
    pub(super) fn keeps_without_end(&mut self) -> Result<bool> {
        let query = "SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size'";
        let row = self.client.query_opt(query, &[]).map_err(|error| sort("ask the server", &error))?;
        Ok(row.is_some_and(|row| row.get::<_, Option<&str>>(0) == Some("-1")))
    }

    /// Returns the position of the first segment that a slot keeps.
    pub(super) fn kept_from(&mut self, name: &str) -> Result<Option<String>> {
        let query = "SELECT restart_lsn::text, (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_segment_size') \
            FROM pg_replication_slots WHERE slot_name = $1";
        let row = self
            .client
            .query_opt(query, &[&name])
            .map_err(|error| sort("ask for a replication slot", &error))?;
        let Some(row) = row else { return Ok(None) };
        let lsn: Option<Lsn> = row.get::<_, Option<String>>(0).and_then(|text| text.parse().ok());
        let bytes = row
            .get::<_, Option<i64>>(1)
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes > 0);
        let name = lsn.zip(bytes).map(|(lsn, bytes)| Segment::of(1, lsn, bytes).name(bytes));
        Ok(name.and_then(|name| name.get(8..).map(str::to_owned)))
    }

    /// Returns the cluster's own identifier.
    pub(super) fn identity(&mut self) -> Result<Option<String>> {
        let row = self.client.query_one("SELECT system_identifier FROM pg_control_system()", &[]);
        let number: i64 = row.map_err(|error| sort("ask the server who it is", &error))?.get(0);
        // It is a number without a sign, which SQL has none of.
        Ok(Some(u64::from_ne_bytes(number.to_ne_bytes()).to_string()))
    }

    /// Returns the timeline that the server writes; `None` from a replica, which writes none.
    pub(super) fn timeline(&mut self) -> Result<Option<u32>> {
        let query =
            "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END";
        let row = self.client.query_one(query, &[]).map_err(|error| sort("ask the server", &error))?;
        let name: Option<String> = row.get(0);
        Ok(name.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok()))
    }

    /// Returns up to where WAL was received through the slot `name` and made durable.
    pub(super) fn received_by(&mut self, name: &str) -> Result<Option<Lsn>> {
        let query = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1 AND active";
        let row = self.client.query_opt(query, &[&name]).map_err(|error| sort("ask the server", &error))?;
        let at: Option<String> = row.and_then(|row| row.get(0));
        Ok(at.and_then(|at| at.parse().ok()))
    }

    /// Returns the first value of an answer, as text. The server gives up after this time, and is not waited for where a function of its own lets it not.
    pub(super) fn first(&mut self, query: &str, within: Duration) -> Result<Option<String>> {
        use tokio_postgres::SimpleQueryMessage::Row;
        let wrong = |error: Failed| match error {
            Failed::Silent(after) => {
                let said = format!("no answer within {} s", after.as_secs());
                Error::new("ask the server", Kind::Server { said, is_down: false })
            }
            error => sort("ask the server", &error),
        };
        let limit = within.as_millis().clamp(1, MILLIS_MAX);
        self.client.batch_execute(&format!("SET statement_timeout = {limit}")).map_err(wrong)?;
        let answer = self.client.simple_query_within(query, within.saturating_add(GRACE)).map_err(wrong)?;
        let row = answer.iter().find_map(|message| match message {
            Row(row) => Some(row.try_get(0).ok().flatten().map(str::to_owned)),
            _ => None,
        });
        Ok(row.flatten())
    }
}

fn position(place: &str, text: Option<&str>) -> Result<Lsn> {
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::new(place, Kind::Program("the server named no position".into())))
}

/// Returns whether a server that says this lets people in later.
fn passes(code: &tokio_postgres::error::SqlState) -> bool {
    use tokio_postgres::error::SqlState;
    [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
    ]
    .contains(code)
}

/// Sorts what a server says into our kinds, with the way out for what people meet.
pub(super) fn sort(place: impl Into<String>, error: &Failed) -> Error {
    use tokio_postgres::error::SqlState;
    let said = error.text();
    let code = error.code();
    let is = |state: &SqlState| code == Some(state);
    let help = if is(&SqlState::INVALID_PASSWORD) || is(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
        "; check the user and the password in the url, and pg_hba.conf"
    } else if is(&SqlState::INSUFFICIENT_PRIVILEGE) {
        "; docs/postgres.md lists what its user must be allowed to do"
    } else if is(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
        "; wal_level must be replica or logical, and max_replication_slots and max_wal_senders have room"
    } else if is(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) {
        "; raise max_replication_slots"
    } else {
        ""
    };
    Error::new(
        place,
        // One that has gone says nothing.
        Kind::Server { said: format!("{said}{help}"), is_down: code.is_none() },
    )
}

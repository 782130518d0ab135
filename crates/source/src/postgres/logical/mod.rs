//! The databases of a PostgreSQL server as SQL, dumped while it runs: for a server elsewhere, whose files nobody gets at, and for another
//! version to go to.

mod address;
mod client;
mod dump;
mod exchange;
mod feed;
mod lacking;
mod load;
mod roles;
mod session;
mod statements;
mod wider;

use crate::files::under;
use crate::standing::{Standing, Stands, look as look_at};
use crate::{Capture, Error, Kind, Landing, PutBack, Replay, Result, Source, is_true};
use address::Address;
use client::Client;
pub(super) use client::quoted;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vault::Timestamp;

/// Where a point holds them.
const FOLDER: &str = "postgresql";
const DATABASES: &str = "databases";
/// What all databases share: roles, their rights and memberships.
const GLOBALS: &str = "globals.sql";
/// The database that is asked for what concerns all, and from which others are made and dropped.
const NEUTRAL: &str = "template1";
/// What the dump of a database begins with from which something was left out.
const IS_LACKING: &str = "-- releve: something was left out of this dump";
/// What the name of a database ends with while another takes its place.
const ASIDE: &str = ".releve-old";
/// How long a look at what stands there may take: it stands between a person in trouble and the question "overwrite this?".
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The databases of a PostgreSQL server, wherever it is.
///
/// **Captured** by `pg_dump`, each database in one snapshot, and the roles by `pg_dumpall` at the end; as a stream, with nothing on disk in between:
/// `postgresql/databases/NAME.sql` and `postgresql/globals.sql`. A `pg_dump` that is older than the server is refused before. The point is
/// incomplete, and says why, when one of them fails or lacks its last line, and when the user may not read a table, large objects, or the passwords of the roles.
///
/// **Put back** into the server that the url names, of the same version or a newer one. Each database of the dump replaces the one of its name, which is
/// set aside until all of it is in and was looked at, and comes back if it fails: then that one is named, and the others come back. Databases that the dump
/// doesn't hold stay. The role that loads keeps its own password.
///
/// The password is in no argument, no environment and no file on disk, and in no error.
#[derive(Debug, Clone)]
pub struct PgDump {
    address: Address,
    programs: Option<PathBuf>,
    exclude: Vec<String>,
    without_passwords: bool,
}

impl PgDump {
    /// Returns the source of the server at this address: `postgres://user:password@host:port/database?sslmode=verify-full`. Another machine must
    /// prove by its certificate who it is, unless `sslmode` says otherwise.
    pub fn new(url: &str) -> Result<Self> {
        let address = Address::parse(url)
            .map_err(|why| Error::new("read the url of the PostgreSQL server", Kind::Invalid(why)))?;
        Ok(Self { address, programs: None, exclude: Vec::new(), without_passwords: false })
    }

    /// Names the folder of PostgreSQL's own programs, where they aren't found by themselves.
    #[must_use]
    pub fn programs(self, folder: impl Into<PathBuf>) -> Self {
        Self { programs: Some(folder.into()), ..self }
    }

    /// Leaves databases out.
    #[must_use]
    pub fn exclude(self, databases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { exclude: databases.into_iter().map(Into::into).collect(), ..self }
    }

    /// Doesn't miss the passwords of the roles, where nobody may read them.
    #[must_use]
    pub fn without_passwords(self, without: bool) -> Self {
        Self { without_passwords: without, ..self }
    }

    fn client(&self) -> Result<Client> {
        Client::new(self.address.clone(), self.programs.clone())
    }
}

impl Source for PgDump {
    /// Asks the server, and dumps nothing yet: that begins when the backup opens a file.
    fn capture(&self, _scratch: &Path, now: Timestamp) -> Result<Capture> {
        let dumps = dump::Dumps::new(&self.client()?, &self.exclude, self.without_passwords, now)?;
        Ok(Capture::new(dumps, vec![Path::new("/").join(FOLDER)]))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::fed(to)
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        replay: Option<&Replay>,
        _told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        if replay.is_some() {
            let why = "dumps have no log: only the points can be restored";
            return Err(Error::new("replay a log", Kind::Invalid(why.to_owned())));
        }
        let dumps = load::Dumps::open(&restored.join(FOLDER))?;
        match to {
            Some(_) => Ok(PutBack { into: vec![restored.join(FOLDER)], ..PutBack::default() }),
            None => load::load(&self.client()?, &dumps),
        }
    }

    /// Returns the databases that are there. A server that doesn't answer is unknown.
    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        if to.is_some() {
            return look_at([under(to, &Path::new("/").join(FOLDER)).as_path()]);
        }
        let server = self.address.to_string();
        let question = "SELECT datname, CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END \
            FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
        let asked = self.client().and_then(|client| client.ask_within(NEUTRAL, question, LOOK_WITHIN));
        let Ok(rows) = asked else {
            return Ok(vec![Standing { path: server.into(), stands: Stands::Unknown }]);
        };
        let standing = rows.iter().filter_map(|row| {
            let (name, bytes) = (row.first()?, row.get(1)?.parse().ok()?);
            let stands = Stands::Something { files: 1, bytes, newest: None, all_counted: true };
            Some(Standing { path: format!("{server}, database {name}").into(), stands })
        });
        Ok(standing.collect())
    }

    fn ready(&self, to: Option<&Path>) -> Result<()> {
        match to {
            Some(_) => Ok(()),
            None => self.client()?.ask(NEUTRAL, "SELECT 1").map(drop),
        }
    }

    fn holds_within(&self, query: &str, within: Duration) -> Result<(), String> {
        let value = self.client().and_then(|client| client.ask_for_the_plan(query, within));
        is_true(query, value.map_err(|error| format!("{query}: {error}"))?.as_deref())
    }
}

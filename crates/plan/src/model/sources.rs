//! How each kind of system is captured and put back.

use super::Secret;
use serde::{Deserialize, Serialize};

/// How a kind of system is captured and put back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Files and folders.
    Files(FilesSource),
    /// An SQLite database.
    Sqlite(SqliteSource),
    /// A PostgreSQL cluster.
    Postgres(PostgresSource),
    /// The databases of a PostgreSQL server, dumped.
    #[serde(rename = "pg_dump")]
    PgDump(PgDumpSource),
    /// A MariaDB server.
    Mariadb(MariadbSource),
    /// What a command prints.
    Command(CommandSource),
}

impl Source {
    /// Returns the word for it in the plan.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Files(_) => "files",
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::PgDump(_) => "pg_dump",
            Self::Mariadb(_) => "mariadb",
            Self::Command(_) => "command",
        }
    }

    /// Returns how its log gets into the vaults, if it has one.
    #[must_use]
    pub const fn wal(&self) -> Option<Wal> {
        match self {
            Self::Postgres(PostgresSource { wal, .. }) => Some(*wal),
            Self::Mariadb(MariadbSource { log: BinaryLog::Stream, .. }) => Some(Wal::Stream),
            Self::Mariadb(MariadbSource { log: BinaryLog::None, .. }) => Some(Wal::None),
            _ => None,
        }
    }

    /// Returns whether a recovery ends the log that is kept: what is written afterwards goes on from no point of before. PostgreSQL's goes on in a
    /// history of its own, which leads back to them.
    #[must_use]
    pub const fn log_ends_with_recovery(&self) -> bool {
        matches!(self, Self::Mariadb(MariadbSource { log: BinaryLog::Stream, .. }))
    }

    /// Returns whether its data are looked through for damage after a recovery.
    #[must_use]
    pub const fn is_inspected(&self) -> bool {
        matches!(self, Self::Postgres(PostgresSource { amcheck: None | Some(true), .. }))
            || self.is_copy_of_mariadb()
    }

    /// Returns whether what is put back has to recover before it serves.
    #[must_use]
    pub const fn recovers(&self) -> bool {
        matches!(self, Self::Postgres(_)) || self.is_copy_of_mariadb()
    }

    /// Returns whether putting it back only writes files: no program of the machine and no server takes part.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self::Files(_) | Self::Sqlite(_) | Self::Postgres(_))
    }

    const fn is_copy_of_mariadb(&self) -> bool {
        matches!(self, Self::Mariadb(MariadbSource { copy: Copied::Physical, .. }))
    }
}

/// Files and folders.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct FilesSource {
    /// What is captured: absolute paths.
    pub paths: Vec<String>,
    /// What is left out: globs.
    pub exclude: Vec<String>,
    /// Don't enter other file systems.
    pub one_file_system: bool,
    /// A command before the capture; if it fails there is no point.
    pub before: Option<Vec<String>>,
    /// A command after the capture, whatever became of it.
    pub after: Option<Vec<String>>,
    /// Variables of these commands: `NAME=value`, or `NAME` for one of ours.
    pub env: Vec<String>,
}

/// An SQLite database.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct SqliteSource {
    /// The database file: an absolute path.
    pub path: String,
    /// Follow links on the way to it that belong to others than root and whom Relève runs as.
    pub follow_links: bool,
}

/// A PostgreSQL cluster.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct PostgresSource {
    /// Its data directory, an absolute path, which is copied while the server runs.
    pub data_directory: String,
    /// How the server is reached: `postgres://user:password@host:port/database`.
    pub url: Option<Secret>,
    /// The folder of PostgreSQL's own programs, where they aren't found by themselves.
    pub programs: Option<String>,
    /// How its WAL gets into the vaults; streamed unless said.
    pub wal: Wal,
    /// Whether `pg_amcheck` looks through it after a recovery, while it runs; unless said it does.
    pub amcheck: Option<bool>,
}

/// How the WAL of a PostgreSQL cluster gets into the vaults between two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Wal {
    /// The agent receives it from the server as it is written.
    #[default]
    Stream,
    /// The server hands each full segment to `releve wal push`.
    Archive,
    /// Not at all: only the copies can be restored, and nothing in between.
    None,
}

/// The databases of a PostgreSQL server, dumped.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct PgDumpSource {
    /// How the server is reached: `postgres://user:password@host:port/database`.
    pub url: Option<Secret>,
    /// Databases that are left out.
    pub exclude: Vec<String>,
    /// The passwords of the roles are missed where they can't be read.
    pub role_passwords: bool,
    /// The folder of PostgreSQL's own programs, where they aren't found by themselves.
    pub programs: Option<String>,
}

impl Default for PgDumpSource {
    fn default() -> Self {
        Self { url: None, exclude: Vec::new(), role_passwords: true, programs: None }
    }
}

/// A MariaDB server.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct MariadbSource {
    /// How the server is reached: `mysql://user:password@host:port`.
    pub url: Option<Secret>,
    /// The folder of MariaDB's own programs, where they aren't found by themselves.
    pub programs: Option<String>,
    /// How its binary log gets into the vaults; not at all unless said, since a server keeps none unless it is told to.
    pub log: BinaryLog,
    /// What a point is made of; statements unless said.
    pub copy: Copied,
    /// Its data directory, an absolute path, where its files are copied.
    pub data_directory: Option<String>,
}

/// What a point of a MariaDB server is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Copied {
    /// Statements that make everything anew, by `mariadb-dump`.
    #[default]
    Logical,
    /// The server's files, by `mariadb-backup`.
    Physical,
}

/// How the binary log of a MariaDB server gets into the vaults between two dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum BinaryLog {
    /// The agent receives it from the server as it is written.
    Stream,
    /// Not at all: only the dumps can be restored, and nothing in between.
    #[default]
    None,
}

/// What a command prints.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct CommandSource {
    /// The command whose output is the restore point.
    pub dump: Vec<String>,
    /// The command that reads it back.
    pub load: Vec<String>,
    /// Variables of these commands: `NAME=value`, or `NAME` for one of ours.
    pub env: Vec<String>,
    /// What the output is called in the point.
    pub name: Option<String>,
}

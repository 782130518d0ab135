//! From the plan's word for a source to the source itself.

use crate::vaults::{self, Secrets};
use crate::{Error, Result};
use plan::{BinaryLog, Copied, Plan, Source as Word, System, SystemName};
use process::Words;
use source::{Command, Files, Journal, Mariadb, MariadbCopy, PgDump, Postgres, Program, Source, Sqlite};

/// Returns the source of a system.
pub fn source_of(plan: &Plan, system: &System, secrets: &dyn Secrets) -> Result<Box<dyn Source>> {
    watched_source_of(plan, system, secrets, None)
}

/// Returns the source of a system, accompanied by the journal where it is one of files.
pub(crate) fn watched_source_of(
    plan: &Plan,
    system: &System,
    secrets: &dyn Secrets,
    journal: Option<(&Journal, &SystemName)>,
) -> Result<Box<dyn Source>> {
    let program = |command: &Vec<String>, env: &[String]| {
        Program::new(Words::written(command)).map(|program| program.variables(env))
    };
    Ok(match &system.source {
        None => return Err(Error::new("the system has no source")),
        Some(Word::Files(files)) => {
            let mut source = Files::new(&files.paths)
                .exclude(&files.exclude)?
                .without(vaults::local_folders(plan))
                .one_file_system(files.one_file_system);
            if let Some(before) = &files.before {
                source = source.before([program(before, &files.env)?]);
            }
            if let Some(after) = &files.after {
                source = source.after([program(after, &files.env)?]);
            }
            if let Some((journal, name)) = journal {
                source = source.journal(journal, &name.0);
            }
            Box::new(source)
        }
        Some(Word::Sqlite(sqlite)) => Box::new(Sqlite::new(&sqlite.path)?.follow_links(sqlite.follow_links)),
        Some(Word::Postgres(postgres)) => {
            let url = url(postgres.url.as_ref(), secrets)?;
            let mut source = Postgres::new(&url, &postgres.data_directory)?;
            if let Some(programs) = &postgres.programs {
                source = source.programs(programs);
            }
            Box::new(source)
        }
        Some(Word::PgDump(dump)) => {
            let mut source = PgDump::new(&url(dump.url.as_ref(), secrets)?)?
                .exclude(&dump.exclude)
                .without_passwords(!dump.role_passwords);
            if let Some(programs) = &dump.programs {
                source = source.programs(programs);
            }
            Box::new(source)
        }
        Some(Word::Mariadb(mariadb)) => {
            let mut source = Mariadb::new(&url(mariadb.url.as_ref(), secrets)?)?;
            if let Some(programs) = &mariadb.programs {
                source = source.programs(programs);
            }
            if mariadb.log == BinaryLog::Stream {
                source = source.keeping_log();
            }
            match (mariadb.copy, &mariadb.data_directory) {
                (Copied::Logical, _) => Box::new(source),
                (Copied::Physical, Some(data)) => Box::new(MariadbCopy::new(source, data)?),
                (Copied::Physical, None) => return Err(Error::new("the source has no data_directory")),
            }
        }
        Some(Word::Command(command)) => {
            let name = command.name.as_deref().unwrap_or("dump");
            let [dump, load] = [&command.dump, &command.load].map(|line| program(line, &command.env));
            Box::new(Command::new(name, dump?, load?)?)
        }
    })
}

/// Returns the address of a server, which may hold a password.
fn url(secret: Option<&plan::Secret>, secrets: &dyn Secrets) -> Result<String> {
    let secret = secret.ok_or_else(|| Error::new("the source has no url"))?;
    let named = |error: Error| Error { message: format!("url of the server: {error}"), ..error };
    String::from_utf8(secrets.get(secret).map_err(named)?)
        .map_err(|_| Error::new("url of the server: it is not a text"))
}

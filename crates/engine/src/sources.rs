//! From the plan's word for a source to the source itself.

use crate::{Result, vaults};
use plan::{Plan, Source as Word, System};
use source::{Command, Files, Program, Source, Sqlite};

/// Returns the source of a system.
pub fn source_of(plan: &Plan, system: &System) -> Result<Box<dyn Source>> {
    let program = |command: &Vec<String>| Program::new(command.clone());
    Ok(match &system.source {
        None => return Err(crate::Error::new("the system has no source")),
        Some(Word::Files(files)) => {
            let mut source = Files::new(&files.paths)
                .exclude(&files.exclude)?
                .without(vaults::local_folders(plan))
                .one_file_system(files.one_file_system);
            if let Some(before) = &files.before {
                source = source.before([program(before)?]);
            }
            if let Some(after) = &files.after {
                source = source.after([program(after)?]);
            }
            Box::new(source)
        }
        Some(Word::Sqlite(sqlite)) => Box::new(Sqlite::new(&sqlite.path)?),
        Some(Word::Command(command)) => {
            let name = command.name.as_deref().unwrap_or("dump");
            Box::new(Command::new(name, program(&command.dump)?, program(&command.load)?)?)
        }
    })
}

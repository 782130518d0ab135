//! `releve init`: looks at the machine and writes a plan to begin with.

mod clusters;
mod databases;
mod disks;
mod machine;
mod systems;
mod write;

use super::Global;
use crate::{Exit, Outcome, show};
use engine::{Error, Result};
use plan::{Diagnostic, SourceFile};
use serde_json::json;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What `init` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve init --dir .\n  releve init --dir /etc/releve   as root: then every verb finds the plan\n\n\
    It looks, and changes nothing but this folder: plan.toml, commented, with DECIDE where a person must; and local.key, a new random \
    password for the local vault. A key that exists is kept, always."
)]
pub(super) struct Options {
    /// Where plan.toml and local.key go; made if it isn't there
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Write a new plan over the one that stands there, which is kept as plan.toml.old
    #[arg(long)]
    force: bool,
}

pub(super) fn run(global: &Global, options: &Options) -> Outcome {
    let dir = ready(&options.dir)?;
    let (plan, key) = (dir.join("plan.toml"), dir.join("local.key"));
    // Looked at before the machine is: the answer is known at once. What comes in between is refused below.
    if !options.force && plan.symlink_metadata().is_ok() {
        return Err(exists(&plan).into());
    }
    let text_of = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| not_text(path));
    let facts = machine::look(Path::new("/"), &machine::Bounds::default());
    let place = write::Place {
        dir: text_of(&dir)?,
        key: text_of(&key)?,
        privileged: rustix::process::geteuid().is_root(),
    };
    let written = write::plan(&facts, &place);
    let warnings = held(&plan, &written.text)?;
    let key_created = make_key(&key)?;
    let replaced = put(&plan, &written.text, options.force)?;
    if global.json {
        show::print_json(&json!({
            "plan": plan, "replaced": replaced, "key": key, "key_created": key_created, "vault": written.vault,
            "systems": written.systems, "warnings": warnings.len(), "facts": facts,
        }));
        return Ok(Exit::Done);
    }
    for line in facts.told() {
        println!("{line}");
    }
    println!();
    println!("wrote {}: {}", plan.display(), written.systems.join(", "));
    if let Some(old) = &replaced {
        println!("the plan that stood there is now {}", old.display());
    }
    match key_created {
        true => println!("wrote {}: a new random password for the local vault", key.display()),
        false => println!("kept {}", key.display()),
    }
    println!("the local vault will be {}", written.vault);
    next_steps(&plan, &key, warnings.len());
    Ok(Exit::Done)
}

fn next_steps(plan: &Path, key: &Path, warnings: usize) {
    // A plan in one of the places where it is looked for needs no option.
    let named = if plan == Path::new("/etc/releve/plan.toml") {
        String::new()
    } else {
        format!(" --plan {}", quoted(plan))
    };
    println!();
    println!("Next:");
    println!("  1. Look for DECIDE in the plan: {warnings} warnings, and what no program can know.");
    println!("       releve{named} check");
    println!("  2. Make the first restore points:");
    println!("       releve{named} backup");
    println!(
        "  3. Store {} elsewhere too, on paper or in a password safe: without it the vault is lost.",
        key.display()
    );
    println!("     See that the copy opens the vault:");
    println!("       releve{named} key check");
    println!("  4. Add a vault on another site: one copy beside the original is not yet a way back.");
}

/// Makes the folder, if it isn't there, and returns where it really is.
fn ready(dir: &Path) -> Result<PathBuf> {
    let failed = |error: std::io::Error| Error::new(format!("make the folder {}: {error}", dir.display()));
    // A folder that holds a key is its owner's alone; one that exists keeps its permissions.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    dir.canonicalize().map_err(failed)
}

/// Checks the plan before it is written; returns its warnings.
fn held(path: &Path, text: &str) -> Result<Vec<Diagnostic>> {
    let file = SourceFile { name: path.display().to_string(), text: text.to_owned() };
    let parsed = plan::parse(&[file]);
    if !parsed.has_errors() {
        return Ok(parsed.diagnostics);
    }
    let why: Vec<_> =
        parsed.diagnostics.iter().map(|found| format!("line {}: {}", found.line(), found.message)).collect();
    Err(Error::new(format!(
        "the plan for this machine would not hold, so nothing was written: {}",
        why.join("; ")
    ))
    .help("this is a mistake of releve: please report it with these lines"))
}

/// Makes a random passphrase, unless there is one: returns whether it made it. An existing one may be a vault's only key.
fn make_key(path: &Path) -> Result<bool> {
    let failed = |error: std::io::Error| Error::new(format!("write the key {}: {error}", path.display()));
    let passphrase = vault::passphrase::generate().map_err(failed)?;
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return usable(path).map(|()| false),
        Err(error) => return Err(failed(error)),
    };
    let written = writeln!(file, "{}", *passphrase).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key must not be taken for one the next time.
        let _ = fs::remove_file(path);
        return Err(failed(error));
    }
    Ok(true)
}

fn usable(path: &Path) -> Result<()> {
    let text =
        fs::read(path).map_err(|error| Error::new(format!("read the key {}: {error}", path.display())))?;
    if text.iter().all(u8::is_ascii_whitespace) {
        let help = "put the right key there, or remove the file if no vault was ever made with it";
        return Err(Error::new(format!("the key {} is empty", path.display())).help(help));
    }
    Ok(())
}

/// Writes the plan whole or not at all; returns where the one before went.
fn put(path: &Path, text: &str, force: bool) -> Result<Option<PathBuf>> {
    let failed = |error: std::io::Error| Error::new(format!("write {}: {error}", path.display()));
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // No secret stands in a plan: whoever may see the folder may read it.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let mut replaced = None;
    if force && path.symlink_metadata().is_ok() {
        let old = path.with_extension("toml.old");
        fs::rename(path, &old).map_err(failed)?;
        replaced = Some(old);
    }
    file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => failed(error.error),
    })?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(replaced)
}

fn exists(path: &Path) -> Error {
    Error::new(format!("there is a plan already: {}", path.display()))
        .help("--force writes a new one and keeps the old as plan.toml.old; --dir names another folder")
}

fn not_text(path: &Path) -> Error {
    Error::new(format!("{} is not UTF-8, and a plan is", path.display())).help("--dir names another folder")
}

/// Returns a path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("local.key");
        assert!(make_key(&path).unwrap());
        let first = fs::read_to_string(&path).unwrap();
        let password = vault::Password::new(first.trim().as_bytes().to_vec());
        assert_eq!(vault::passphrase::accept(&password), Ok(()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!make_key(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn an_empty_key_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("local.key");
        fs::write(&path, "\n").unwrap();
        assert!(make_key(&path).unwrap_err().to_string().contains("is empty"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "\n");
    }

    #[test]
    fn a_plan_is_replaced_only_by_force_and_the_old_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.toml");
        assert_eq!(put(&path, "one", false).unwrap(), None);
        let refused = put(&path, "two", false).unwrap_err();
        assert!(refused.help.unwrap().contains("--force"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        let old = put(&path, "two", true).unwrap().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_to_string(old).unwrap(), "one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn this_very_machine_gives_a_plan_that_holds() {
        let facts = machine::look(Path::new("/"), &machine::Bounds::default());
        for privileged in [false, true] {
            let place =
                write::Place { dir: "/etc/releve".into(), key: "/etc/releve/local.key".into(), privileged };
            held(Path::new("plan.toml"), &write::plan(&facts, &place).text).unwrap();
        }
    }
}

//! Where secrets come from and go to: files for their owner alone, a pipe, a prompt that doesn't show them.

use super::usage;
use crate::Failure;
use crate::session::Session;
use engine::keys::{Tried, With};
use engine::{Error, Result};
use plan::VaultName;
use state::State;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::Arc;
use vault::keys::MasterKey;
use vault::{Password, Repository, passphrase};
use zeroize::Zeroizing;

/// No password and no master key is anywhere near this.
const LENGTH_MAX: usize = 64 << 10;

/// What opens a vault.
pub(super) enum Secret {
    /// What the plan has for it.
    Plan,
    /// A password that somebody gave, perhaps typed from paper.
    Typed(Password),
    /// An exported master key.
    Master(MasterKey),
}

/// A vault that was opened, and the password that did it.
pub(super) struct Unlocked {
    pub(super) repository: Arc<Repository>,
    /// None where it was the master key.
    pub(super) password: Option<Password>,
}

/// What came of a try.
pub(super) enum Attempt {
    Opened(Unlocked),
    Not(Error),
}

impl Secret {
    /// Opens the vault; its index is not loaded.
    pub(super) fn open(
        &self,
        session: &Session,
        state: Option<&State>,
        name: &VaultName,
    ) -> Result<Unlocked> {
        match self.attempt(session, state, name)? {
            Attempt::Opened(unlocked) => Ok(unlocked),
            Attempt::Not(error) => Err(error),
        }
    }

    /// Tries to open the vault. An error is that it could not be tried.
    pub(super) fn attempt(
        &self,
        session: &Session,
        state: Option<&State>,
        name: &VaultName,
    ) -> Result<Attempt> {
        let readings = match self {
            Self::Plan => vec![session.password_of(name)?],
            Self::Typed(typed) => passphrase::readings(typed),
            Self::Master(master) => {
                return Ok(match session.open_with(name, With::Master(master), state)? {
                    Tried::Opened(repository) => Attempt::Opened(Unlocked { repository, password: None }),
                    Tried::Not(error) => {
                        let says = |id: &str| format!("the paper says: the key of repository {id}");
                        Attempt::Not(Error { help: master.repository().map(says), ..error })
                    }
                });
            }
        };
        let mut why = Error::new("no password");
        for password in readings {
            match session.open_with(name, With::Password(&password), state)? {
                Tried::Opened(repository) => {
                    return Ok(Attempt::Opened(Unlocked { repository, password: Some(password) }));
                }
                Tried::Not(error) => why = error,
            }
        }
        if let Self::Typed(typed) = self {
            why.help = Some(match passphrase::is_slip(typed) {
                true => {
                    "it looks like a passphrase that `releve key generate` made, with a slip in it".into()
                }
                false => {
                    "it may be another vault's, or have been removed: `releve key list` shows the keys".into()
                }
            });
        }
        Ok(Attempt::Not(why))
    }
}

/// Reads a password. Line breaks at its end don't count.
pub(super) fn read(path: &Path) -> Result<Password> {
    let mut bytes = bytes(path)?;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Error::new(format!("{} is empty", said(path))));
    }
    Ok(Password::new(std::mem::take(&mut *bytes)))
}

/// Reads an exported master key, or one that was typed from paper.
pub(super) fn read_master(path: &Path) -> Result<MasterKey> {
    let bytes = bytes(path)?;
    let wrong = |why: String| Error::new(format!("read the master key in {}: {why}", said(path)));
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not a text".into()))?;
    MasterKey::from_paper(text).map_err(|bad| {
        wrong(bad.to_string())
            .help("compare it with the paper; the seven lines that begin with `key` are enough")
    })
}

/// Returns the new password, from a file or asked for twice. A weak one is refused.
pub(super) fn new_password(file: Option<&Path>) -> Result<Password, Failure> {
    let password = match file {
        Some(path) => read(path)?,
        None => {
            let first = ask("New password")?;
            if !first.is(&ask("The same again")?) {
                return Err(Error::new("the two are not the same")
                    .help("nothing was changed: try again")
                    .into());
            }
            first
        }
    };
    engine::keys::accept(&password)?;
    Ok(password)
}

/// Asks a person for a password, without showing it.
pub(super) fn ask(question: &str) -> Result<Password, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let help = "name a file that holds it, or - for standard input; `releve key --help` has examples";
        return Err(usage("nobody is there to type a password", help));
    }
    let _asking = crate::show::Asking::begin();
    eprint!("{question}: ");
    let read = console::Term::stderr().read_secure_line().map(Zeroizing::new);
    let text = read.map_err(|error| Error::new(format!("read a password from the terminal: {error}")))?;
    if text.is_empty() {
        return Err(Error::new("nothing was typed").into());
    }
    Ok(Password::new(text.as_bytes().to_vec()))
}

/// Returns an error if both are to be read from standard input.
pub(super) fn one_pipe(paths: [Option<&Path>; 2]) -> Result<(), Failure> {
    if paths == [Some(Path::new("-")); 2] {
        return Err(usage("two secrets can't both come from standard input", "put one of them into a file"));
    }
    Ok(())
}

/// Writes a secret into a new file for its owner alone; one that exists is never touched.
pub(super) fn write_new(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| Error::new(format!("write {}: {error}", path.display()));
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let what = format!("{} exists, and a secret is never written over", path.display());
            return Err(Error::new(what).help("name another file, or move that one away"));
        }
        opened => opened.map_err(failed)?,
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { file.write_all(b"\n") })
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    if let Err(error) = written {
        // Half a secret must not be taken for one.
        let _ = std::fs::remove_file(path);
        return Err(failed(error));
    }
    Ok(())
}

/// Puts another password into the file that the plan names, whole or not at all; owner and permissions stay.
pub(super) fn replace(path: &Path, password: &Password) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        // A link, perhaps to where secrets are mounted: what it points to is replaced.
        let path = std::fs::canonicalize(path)?;
        let old = std::fs::metadata(&path)?;
        let mut file = tempfile::NamedTempFile::new_in(folder_of(&path))?;
        file.write_all(password.bytes())?;
        file.write_all(b"\n")?;
        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        file.as_file().set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o777))?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(folder_of(&path))?.sync_all()
    };
    attempt().map_err(|error| Error::new(format!("write the new password into {}: {error}", path.display())))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |error: std::io::Error| Error::new(format!("read {}: {error}", said(path)));
    // Room from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH_MAX + 64));
    let limit = LENGTH_MAX as u64 + 1;
    match path == Path::new("-") {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => crate::session::origin::secret(path)?.take(limit).read_to_end(&mut bytes),
    }
    .map_err(failed)?;
    if bytes.len() > LENGTH_MAX {
        return Err(Error::new(format!("{} is too long for a secret", said(path))));
    }
    Ok(bytes)
}

fn said(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

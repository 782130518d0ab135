//! Other programs: finding them, running them, and what their failure means for ours.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Why a command of ours ends badly, and with which status.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to say; empty if the failed program has said it.
    pub(crate) message: String,
    pub(crate) status: u8,
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// Makes a failure of an error, and says what was being done.
    pub(crate) fn at<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self::new(format!("{what}: {error}"))
    }
}

/// Returns a cargo command in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(crate::root());
    command
}

/// Runs a command whose words go to the terminal; its failing status becomes ours.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure { message: format!("{}: {status}", words(command)), status: status_of(status) })
}

/// Runs a command silently and returns what it printed, if it went well.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("{}: {}\n{}", words(command), output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Finds a program; servers stand where the path of a plain user doesn't look.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are is what the variable is for")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/openssh"].map(PathBuf::from));
    // Debian keeps each version of PostgreSQL by itself.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().map(|folder| folder.join(program)).find(|path| is_program(path))
}

/// Returns a command as it would be typed.
pub(crate) fn words(command: &Command) -> String {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(format!("{} could not be started: {error}", words(command)))
}

/// Returns the status as a shell would: a signal is 128 and its number.
fn status_of(status: ExitStatus) -> u8 {
    let number = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(number).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_hands_on_its_status() {
        let status = |script: &str| run(Command::new("sh").args(["-c", script])).unwrap_err().status;
        assert_eq!(status("exit 7"), 7);
        assert_eq!(status("kill -9 $$"), 137);
        assert_eq!(run(&mut Command::new("/nowhere/at-all")).unwrap_err().status, 1);
    }

    #[test]
    fn a_program_is_found_and_a_folder_is_none() {
        assert!(find("sh").is_some());
        assert!(find("no-program-has-this-name").is_none());
        assert!(!is_program(Path::new("/usr")));
    }
}

//! How this process begins: what it makes is for nobody else unless it says so, and it leaves no picture of its memory.

use rustix::fs::{Mode, OFlags, fchmod, open};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::OnceLock;
use std::{fs, io};

/// What nobody else may do with what this process makes: anything.
const OURS_ALONE: Mode = Mode::RWXG.union(Mode::RWXO);
const SHELL: &str = "/bin/sh";
/// Goes on as the command, in the same process.
const WITH_UMASK: &str = r#"umask "$1"; shift; exec "$@""#;

static BEFORE: OnceLock<Mode> = OnceLock::new();

/// Lets what this process makes from now on be its user's alone (restored files have their own modes, and a command of the plan the umask that we were started with), and
/// has no core dump written, which would hold keys.
///
/// `PR_SET_DUMPABLE` is not used: it shuts `/proc/PID/fd` for our own children (measured: for ordinary users, and for root without `CAP_SYS_PTRACE`, as in containers and
/// in the agent's unit), through which the clients of databases read their passwords. What it would add, that a process of the same user can't look into ours, root's
/// processes don't need.
pub fn begin() {
    let before = umask(OURS_ALONE);
    let _ = BEFORE.set(before);
    let limit = getrlimit(Resource::Core);
    // The bound that a child may raise it to again stays.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum });
}

/// Lets what this process makes be as whoever started it would have it: it makes a company for several users.
pub fn as_whoever_started_us() {
    if let Some(before) = BEFORE.get() {
        let _ = umask(*before);
    }
}

/// Makes the folders of a path that are missing, open to others as whoever started us would have them: what is put into them may belong to others, who must get there.
pub fn make_folders(path: &Path) -> io::Result<()> {
    make_folders_within(path, 0o777)
}

/// As [`make_folders`], but open to others at most as this mode says.
pub fn make_folders_within(path: &Path, most: u32) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::DirBuilder::new().recursive(true).mode(most).create(path)?;
    let Some(before) = umask_before() else { return Ok(()) };
    let mode = Mode::from_raw_mode(most) - Mode::from_raw_mode(before);
    for folder in missing.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        // Somebody else's link that has taken its place meanwhile is not followed.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fchmod(open(folder, flags, Mode::empty())?, mode)?;
    }
    Ok(())
}

/// Returns the umask that this process was started with, if it has another one now.
#[must_use]
pub fn umask_before() -> Option<u32> {
    BEFORE.get().filter(|before| **before != OURS_ALONE).map(|before| before.bits())
}

/// Returns a command that runs another one with a umask, which the standard library can't set.
pub(super) fn with_umask(umask: u32, line: Vec<OsString>) -> Vec<OsString> {
    let umask = format!("{umask:04o}");
    let words = [SHELL, "-c", WITH_UMASK, "sh", &umask];
    words.into_iter().map(OsString::from).chain(line).collect()
}

//! What a program is given of our environment. Whoever starts us may have put secrets into it, for us: a vault's password is no business of a step that runs as `nobody`.

use super::search;
use std::ffi::{OsStr, OsString};

/// What every program may know: who and where, and in which language.
const ALL: [&str; 10] =
    ["HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR", "TERM", "LANG", "LC_ALL", "LC_CTYPE"];
/// Whose folders these are, and not those of the user that a program runs as.
const OURS: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];
/// Where `ssh` finds who signs for us: an agent, a ticket.
const SSH: [&str; 2] = ["SSH_AUTH_SOCK", "KRB5CCNAME"];
/// What programs that hold secrets find their stores, agents and person by. None of these is a secret.
const HOLDERS: [&str; 12] = [
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    // Where systemd puts what a unit's LoadCredential= names.
    "CREDENTIALS_DIRECTORY",
];

/// Which variables of ours a program sees; a `PATH` is always the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kept {
    /// Who and where we are, and the language.
    #[default]
    Little,
    /// Less: it runs as somebody else, whose home is elsewhere.
    Foreign,
    /// Nothing, and no `PATH` either: nothing is looked at to start it but the program itself, which is called by its whole path.
    Nothing,
    /// What `ssh` needs besides.
    Ssh,
    /// What a program that holds a secret needs besides.
    Holder,
}

impl Kept {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let more: &'static [&'static str] = match self {
            Self::Little | Self::Foreign | Self::Nothing => &[],
            Self::Ssh => &SSH,
            Self::Holder => &HOLDERS,
        };
        let is_kept = move |name: &&'static str| self != Self::Foreign || !OURS.contains(name);
        ALL.iter().copied().filter(is_kept).chain(more.iter().copied())
    }

    /// Returns the variables with their values.
    pub(super) fn variables(self) -> Vec<(OsString, OsString)> {
        if self == Self::Nothing {
            return Vec::new();
        }
        let set = self.names().filter_map(|name| Some((OsString::from(name), ours(name)?)));
        set.chain([(OsString::from("PATH"), search::path())]).collect()
    }
}

/// Returns a variable that we were started with. A language that is a path would lead to somebody's files.
#[expect(clippy::disallowed_methods, reason = "the one place that hands the environment on")]
fn ours(name: &str) -> Option<OsString> {
    let is_language = name.starts_with("LC_") || name == "LANG";
    let is_safe = |value: &OsStr| !is_language || !value.as_encoded_bytes().contains(&b'/');
    std::env::var_os(name).filter(|value| is_safe(value))
}

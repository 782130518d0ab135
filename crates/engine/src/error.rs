//! What can go wrong, with the way out where there is one.

use std::fmt;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error for a person: what failed, why, and what to do.
#[derive(Debug, Clone)]
pub struct Error {
    /// What failed and why.
    pub message: String,
    /// What to do, if that is known.
    pub help: Option<String>,
    /// Whether a later attempt may succeed without anyone changing anything.
    pub retryable: bool,
    /// Whether nothing was changed before it arose: what was to be replaced is as it was.
    pub untouched: bool,
}

impl Error {
    /// Returns an error that won't go away by itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, retryable: false, untouched: false }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts another way out in the place of one that names `command`: who has just run that would be sent in a circle.
    #[must_use]
    pub fn not_again(mut self, command: &str, instead: &str) -> Self {
        if self.help.as_ref().is_some_and(|help| help.contains(command)) {
            self.help = Some(instead.to_owned());
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<vault::Error> for Error {
    fn from(error: vault::Error) -> Self {
        use vault::Kind;
        let help = match &error.kind {
            Kind::WrongPassword { keys: 0 } => Some(
                "its key files are gone: an exported master key opens it still, `releve key add --master FILE`",
            ),
            Kind::KeysDamaged { .. } => Some(
                "its key files are damaged: an exported master key opens it still, `releve key add --master FILE`, and so does another of its passwords; `releve repair` then \
                 takes away what is no key",
            ),
            Kind::KeysLeft { .. } => Some(
                "a key begins with `{` and has some 450 bytes: move away from its folder `keys` what doesn't (in a folder: grep -LZ '^{' keys/* | xargs -0 mv -t ASIDE, \
                 which leaves the keys), and of the keys those that nobody of yours has made: `releve key list` shows when, where and by whom. A machine that has opened the \
                 vault before goes by the key that worked last, whatever else lies there; an exported master key opens it too, `releve key add --master FILE`",
            ),
            Kind::WrongPassword { .. } => {
                Some("check the vault's password in the plan: the key file may be another vault's")
            }
            Kind::WrongMasterKey => Some("`releve key check --master FILE` says which vault it opens"),
            Kind::KeyRefused(_) => Some("`releve key list` shows the keys"),
            Kind::NoRepository => Some(
                "`releve backup` creates a vault that was never there; if it was, something has removed it",
            ),
            Kind::Full => Some(
                "nothing that was written before is lost; `releve prune --now` gives back at once what no point needs, or let the disk grow",
            ),
            Kind::Archived(_) => Some(
                "`releve restore SYSTEM --to DIR --thaw` asks the archive for what the point needs; `releve verify --json` lists it (`archived`)",
            ),
            Kind::Refused(_) => Some("check the permissions of the folder, or the credentials of the store"),
            Kind::Unreachable(_) => Some("check the network and the server; the next run makes up for it"),
            Kind::Damaged(_) => Some(
                "`releve repair` heals it from the other vaults, which serve meanwhile; what it can't heal it names",
            ),
            Kind::Locked(_) => Some(
                "nothing to do if that program is at work: try again when it has ended; if it is dead, its lock counts no more half an hour after its last sign, once it was seen not to change for six minutes",
            ),
            Kind::LockLost => Some(
                "a prune, `restic unlock` or a person took it for dead: look at the clocks of the machines that use this vault, and whether this one slept; the next run stores again what is gone",
            ),
            Kind::BadAddress(_) => {
                Some("correct the vault's url in the plan; docs/plan.md shows how it is written")
            }
            _ => None,
        };
        let retryable = error.is_retryable();
        // Of one vault among several that can't be opened only the message is shown: without the way on, who has lost his state stands before a vault that is whole.
        let (message, help) = match (&error.kind, help) {
            (Kind::KeysLeft { .. }, Some(help)) => (format!("{error}: {help}"), None),
            (_, help) => (error.to_string(), help),
        };
        Self { retryable, help: help.map(str::to_owned), ..Self::new(message) }
    }
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        Self { retryable: error.is_retryable(), ..Self::new(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::Kind;

    #[test]
    fn no_way_out_leads_back_to_where_somebody_comes_from() {
        let of = |kind: Kind| Error::from(vault::Error::new("write", kind));
        let full = of(Kind::Full).not_again("prune --now", "let the disk grow");
        assert_eq!(full.help.as_deref(), Some("let the disk grow"));
        let other = of(Kind::Refused("no".into())).not_again("prune --now", "let the disk grow");
        assert!(other.help.is_some_and(|help| help.contains("permissions")));
    }

    #[test]
    fn keys_that_are_damaged_are_no_matter_for_a_repair_alone() {
        let error = Error::from(vault::Error::new("open", Kind::KeysDamaged { damaged: 1, keys: 1 }));
        assert!(error.help.is_some_and(|help| help.contains("releve key add --master FILE")));
    }

    #[test]
    fn of_junk_among_keys_the_message_itself_says_how_to_remove_it() {
        let kind = Kind::KeysLeft { tried: 0, junk: 1000, left: 4001 };
        let error = Error::from(vault::Error::new("open", kind));
        for said in ["1000 other files", "4001 more there", "grep -LZ '^{'", "releve key list"] {
            assert!(error.message.contains(said), "{said}: {}", error.message);
        }
    }
}

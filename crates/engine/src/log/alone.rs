//! Whoever carries a log into a vault does it alone: two at once would each take the place of the same log, and one of them lose what the other has added.
//!
//! They exclude each other by a lock in the spool, which needs no room on any disk and is free when its holder ends. That somebody carries is noted in the state
//! too, for others to see; where there is no room for that note the log is carried all the same, since that is what makes room.

use super::Carrier;
use crate::{Error, Result};
use jiff::Timestamp;
use plan::VaultName;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use state::{RunLease, State};
use std::fs::File;
use std::time::{Duration, Instant};

/// What a lock is called, before the name of its vault.
const LOCK: &str = ".carrying-";
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The right to carry a log into a vault, as long as this is held.
pub(super) struct Alone<'a> {
    _lease: Option<RunLease<'a>>,
    _locked: File,
}

impl Carrier<'_> {
    /// Takes the right to carry into a vault, and waits so long for whoever has it.
    pub(super) fn alone<'a>(
        &self,
        vault: &VaultName,
        state: &'a State,
        within: Duration,
    ) -> Result<Alone<'a>> {
        let until = Instant::now() + within;
        let name = format!("{}@{vault}", self.name.log());
        let path = self.spool.join(format!("{LOCK}{vault}"));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        // A full disk may not even have room for a name.
        let locked = file.or_else(|_| File::open(&self.spool));
        let locked = locked.map_err(|error| Error::new(format!("lock {}: {error}", path.display())))?;
        let taken = |who: String| Error::new(format!("its log is being carried by {who}"));
        loop {
            match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => {
                    std::thread::park_timeout(LOOK_EVERY);
                }
                Err(Errno::AGAIN) => {
                    let who = state.who_runs(&name, &self.run).ok().flatten();
                    return Err(taken(who.map_or_else(|| "another run".to_owned(), |who| who.to_string())));
                }
                Err(error) => return Err(Error::new(format!("lock {}: {error}", path.display()))),
            }
        }
        loop {
            match state.lease_run(&name, &self.run, Timestamp::now()) {
                Ok(Ok(lease)) => return Ok(Alone { _lease: Some(lease), _locked: locked }),
                // Nobody in this process carries, since the lock was free: it could not be given back, for want of room.
                Ok(Err(held)) if held.by == self.run => match state.give_back(&name, &self.run) {
                    Ok(()) => {}
                    Err(_) => return Ok(Alone { _lease: None, _locked: locked }),
                },
                // A program of before knows nothing of the lock.
                Ok(Err(_)) if Instant::now() < until => std::thread::park_timeout(LOOK_EVERY),
                Ok(Err(held)) => return Err(taken(held.to_string())),
                Err(error) if error.is_full() => {
                    tracing::warn!(system = %self.name, %vault, %error, "its log is carried without a note of it");
                    return Ok(Alone { _lease: None, _locked: locked });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use process::Process;
    use vault::Holder;

    #[test]
    fn two_exclude_each_other_whatever_the_state_says_and_what_could_not_be_given_back_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state")).unwrap();
        let source = source::Postgres::new("postgres://nobody@localhost/nothing", "/srv/nothing").unwrap();
        let log = source::Source::log(&source).unwrap();
        let spool = folder.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let carrier = || {
            let holder = Holder { hostname: "here".into(), username: "me".into() };
            Carrier::new("shop".into(), log, spool.clone(), holder, Process::this().clone())
        };
        let (one, other, near) = (carrier(), carrier(), VaultName::from("near"));
        // As a full disk leaves it.
        let name = format!("{}@{near}", one.name.log());
        std::mem::forget(state.lease_run(&name, Process::this(), Timestamp::now()).unwrap().unwrap());
        let held = one.alone(&near, &state, Duration::ZERO).unwrap();
        let said = other.alone(&near, &state, Duration::ZERO).err().unwrap().to_string();
        assert!(said.contains("is being carried by"), "{said}");
        assert!(other.alone(&VaultName::from("far"), &state, Duration::ZERO).is_ok());
        drop(held);
        assert!(other.alone(&near, &state, Duration::ZERO).is_ok());
        assert_eq!(state.who_runs(&name, Process::this()).unwrap(), None);
    }
}

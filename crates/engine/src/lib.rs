//! Acts: carries out what `plan` decided, with the hands of `source`, `vault` and `state`.
//!
//! Read in this order: [`vaults`] (opens them), [`protect`] (makes a restore point), [`survey`](mod@survey) (what points there
//! are), [`vanished`] (which are not there any more), [`strange`] (which are not what they say), [`signers`] (who made them), [`heads`] (what they say of this machine's records), [`proof`] (which of them are proven), [`judge`] (what each is worth), [`log`] (what happens between two of them), [`prune`] (which of them go), [`recover`] (carries out a runbook), [`excerpt`](mod@excerpt) (a part of a system as SQL), [`isolate`] (cuts this machine off), [`quarantine`] (holds back what it would do of itself), [`notify`] (tells people), [`incident`] (a crash that is being handled, and its timeline), [`check`](mod@check) (asks a system whether it works), [`net`] (how others are spoken with), [`mishap`] (what a panic becomes).
//!
//! Nothing is printed here: what happens is told to an [`Observer`].

pub mod alerts;
pub mod blast;
pub mod check;
mod command;
pub mod dropped;
mod error;
pub mod excerpt;
pub mod heads;
#[cfg(test)]
mod held_clock;
pub mod incident;
pub mod isolate;
pub mod judge;
pub mod keys;
pub mod log;
pub mod mishap;
pub mod net;
mod nft;
mod note;
pub mod notify;
pub mod outage;
mod pace;
pub mod place;
pub mod proof;
pub mod protect;
pub mod prune;
pub mod quarantine;
pub mod ready;
pub mod recover;
pub mod refused;
pub mod room;
mod seed;
pub mod service;
pub mod signers;
mod sources;
pub mod strange;
pub mod survey;
pub mod trust;
pub mod unfinished;
pub mod vanished;
pub mod vaults;
mod watch;

pub use error::{Error, Result};
pub use pace::Clock;
pub use sources::source_of;
pub use watch::Watch;

use plan::{PersonName, SystemName};

/// What a person is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// What to do or to decide.
    pub text: &'a str,
    /// What can be answered; that it is done, where empty.
    pub answers: &'a [String],
    /// Who answers must say who he is: one of these.
    pub names: &'a [PersonName],
}

/// Answers that something isn't done, and won't be for now: it goes on without.
pub const NOT_DONE: &str = "not done";

/// What a person has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// One of the answers; where there are none to choose from, empty for done and [`NOT_DONE`] for what isn't.
    pub answer: String,
    /// Who.
    pub by: Option<PersonName>,
}

/// Is told what happens, from several threads.
pub trait Observer: Sync {
    /// Something began or ended; `text` is for a person.
    fn event(&self, system: Option<&SystemName>, text: &str);
    /// A person is asked something. `None`: nobody is there, or nobody wants to say; at once, when it is `settled` elsewhere. That is to be asked a few times a
    /// second.
    fn ask(&self, question: &Question<'_>, settled: &dyn Fn() -> bool) -> Option<Reply>;
    /// Long work begins; the counters rise until it ends.
    fn progress(&self, system: &SystemName, progress: &std::sync::Arc<vault::Progress>);
    /// Returns whether a recovery is to be left where it is, so that another process goes on with it.
    fn leaves(&self) -> bool {
        false
    }
}

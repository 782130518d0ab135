//! Acts: carries out what `plan` decided, with the hands of `source`, `vault` and `state`.
//!
//! Read in this order: [`vaults`] (opens them), [`protect`] (makes a restore point), [`survey`](mod@survey) (what points there
//! are), [`log`] (what happens between two of them), [`prune`] (which of them go), [`recover`] (carries out a runbook), [`excerpt`](mod@excerpt) (a part of a system as SQL), [`isolate`] (cuts this machine off), [`quarantine`] (holds back what it would do of itself), [`blast`] (what a step would destroy), [`notify`] (tells people), [`check`](mod@check) (asks a system whether it works).
//!
//! Nothing is printed here: what happens is told to an [`Observer`].

pub mod blast;
pub mod check;
mod error;
pub mod excerpt;
pub mod isolate;
pub mod keys;
pub mod log;
mod nft;
mod note;
pub mod notify;
mod pace;
pub mod protect;
pub mod prune;
pub mod quarantine;
pub mod recover;
pub mod room;
mod seed;
mod sources;
pub mod survey;
pub mod vaults;
mod watch;

pub use error::{Error, Result};
pub use pace::Clock;
pub use sources::source_of;
pub use watch::Watch;

use plan::SystemName;

/// Is told what happens, from several threads.
pub trait Observer: Sync {
    /// Something began or ended; `text` is for a person.
    fn event(&self, system: Option<&SystemName>, text: &str);
    /// A person is asked to do something, and says whether it is done.
    fn ask(&self, text: &str) -> bool;
    /// Long work begins; the counters rise until it ends.
    fn progress(&self, system: &SystemName, progress: &std::sync::Arc<vault::Progress>);
}

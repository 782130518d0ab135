//! Tells people what happened and what to do now, by whichever way works, and hears whether they have it.
//!
//! Read in this order: [`News`] (what is to be told), [`Notifier::tell`] (one person, by the ways of the plan in their order),
//! [`Notifier::begin`] and [`Notifier::advance`] (a call: the owner, and whoever comes after them until one answers),
//! [`Notifier::post`] (one person who needn't answer), [`Notifier::queue`] (who is being told of what), [`Notifier::acknowledge`] (what came
//! back), [`Notifier::test`] (everybody, by every way).
//!
//! ```no_run
//! # use engine::notify::{News, Notifier, Standing, Words};
//! # fn step(notifier: &Notifier<'_>, down: &std::collections::BTreeSet<plan::SystemName>) -> engine::Result<()> {
//! let news = News {
//!     about: "Order database".into(),
//!     what: Words::new("The disk of shop-1 is dead.", "Le disque de shop-1 est mort."),
//!     todo: "Bring the spare to the workshop.".into(),
//!     by: None,
//! };
//! let people = notifier.people_of(&"orders".into())?;
//! // Under a name that the step has again after a restart: begun twice is begun once.
//! notifier.begin("incident-7/step-3", people, &news, None, down)?;
//! // Again and again; the agent does it too.
//! if let Standing::Answered { person, .. } = notifier.advance("incident-7/step-3")? {
//!     notifier.end("incident-7/step-3")?;
//! }
//! # Ok(()) }
//! ```
//!
//! Who is told after whom, by what and when is decided by [`plan::notify`]. What was tried is recorded in the state, without secrets. A state
//! that can't be written to keeps [`Notifier::tell`] from nothing but the acknowledgement; a call needs it.

mod acknowledge;
mod call;
mod carry;
mod heartbeat;
mod tell;
#[cfg(test)]
mod tests;
mod words;

pub use acknowledge::{Answer, Seal};
pub use call::{Queued, Standing, Turned};
pub(crate) use carry::refusal;
pub use tell::{Attempt, Heard, Tests};
pub use words::{News, Words};
pub(crate) use words::{clauses, line, without_addresses};

use crate::vaults::Secrets;
use crate::{Error, Result};
use acknowledge::Key;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plan::Plan;
use plan::notify::Notify;
use process::Process;
use state::State;

/// What telling people takes.
pub struct Notifier<'a> {
    /// Who can be told, and by what.
    pub plan: &'a Plan,
    /// Where secrets come from.
    pub secrets: &'static dyn Secrets,
    /// Where it is remembered.
    pub state: &'a State,
    /// This process: two don't carry on one call at the same time.
    pub holder: &'a Process,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// The zone of the times in messages.
    pub zone: TimeZone,
}

impl Notifier<'_> {
    fn notify(&self) -> Result<&Notify> {
        notify_of(self.plan)
    }
}

fn notify_of(plan: &Plan) -> Result<&Notify> {
    plan.notify.as_ref().ok_or_else(|| {
        Error::new("the plan doesn't say how people are told").help("write a [notify] table: docs/notify.md")
    })
}

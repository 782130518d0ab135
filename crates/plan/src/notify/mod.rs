//! Who is told what by which way, and who is told when they don't answer: the `[notify]` table and every decision that follows from it.
//!
//! Read in this order: [`Notify`] (what the plan says), [`ways`] (how one person can be reached now), [`verdict`] (whether that took the message), [`chain`] (who is told
//! after whom), [`next`] (who is told now).

mod answers;
mod chain;
mod failures;
mod keys;
mod ways;

pub use answers::{Service, Verdict, retry_after, verdict};
pub use chain::{Next, Told, chain, leads, next, pause};
pub(crate) use keys::NOTIFY;
pub use keys::{
    Answer, Heartbeat, Mailbox, Notify, Person, Relay, Sms, SmsFormat, Tls, Webhook, WebhookKind,
};
pub(crate) use ways::is_address;
pub use ways::{Carrier, Contact, Way, is_loopback, out_of_service, ways};

use crate::{PersonName, Plan};

/// The language of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// French.
    French,
}

/// Returns the language of messages to a person: their own, or the organisation's.
#[must_use]
pub fn language(plan: &Plan, person: &PersonName) -> Language {
    let own = plan.people.get(person).and_then(|person| person.language.as_deref());
    match own.or(plan.organisation.language.as_deref()) {
        Some("fr") => Language::French,
        _ => Language::English,
    }
}

//! What carries a message along one way. Each try is bounded in time, and says why it failed without any secret.

mod chat;
mod mail;
mod sms;

use super::words::Text;
use crate::vaults::Secrets;
use plan::Secret;
use plan::notify::{Carrier, Contact};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How much of a reason is kept, in characters.
const WHY_MAX: usize = 300;
/// What is shorter is no secret, and too common to be hidden.
const SECRET_MIN: usize = 6;

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// It was taken: from here on it is in other hands.
    Taken,
    /// It was not, and this is why.
    Failed(String),
    /// There was no answer in time. It may arrive all the same.
    Late,
}

/// A message that is ready to go, with all that it takes.
pub(super) struct Parcel {
    /// What carries it, for a person.
    pub(super) through: String,
    limit: Duration,
    /// What no reason may hold.
    hidden: Vec<String>,
    work: Box<dyn FnOnce() -> Came + Send>,
}

/// Gets secrets as texts, and remembers them.
struct Pocket<'a> {
    secrets: &'a dyn Secrets,
    hidden: Vec<String>,
}

impl Pocket<'_> {
    fn get(&mut self, secret: Option<&Secret>) -> Result<Option<String>, String> {
        let Some(secret) = secret else { return Ok(None) };
        let bytes = self.secrets.get(secret).map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|_| "a secret for it is no text".to_owned())?;
        // Of an address each part may be what lets one in.
        self.hidden.extend(text.split(['/', '?', '&', '=', ' ', ':', '@']).map(str::to_owned));
        self.hidden.push(text.clone());
        Ok(Some(text))
    }
}

impl Parcel {
    /// Makes a message ready; an error says through what it would have gone, and what is missing.
    pub(super) fn pack(
        contact: &Contact,
        carrier: &Carrier<'_>,
        text: &Text,
        secrets: &dyn Secrets,
        limit: Duration,
    ) -> Result<Self, (String, String)> {
        let mut pocket = Pocket { secrets, hidden: text.link.iter().cloned().collect() };
        // The token is its last part, with a link or without.
        pocket.hidden.extend(text.short.rsplit(['/', ' ']).next().map(str::to_owned));
        let (through, work) = match (contact, carrier) {
            (Contact::Mail(to), Carrier::Relay(_, relay)) => {
                (format!("{}:{}", relay.host, relay.port()), mail::ready(relay, to, text, &mut pocket, limit))
            }
            (Contact::Webhook(name), Carrier::Webhook(webhook)) => {
                (format!("webhook {name}"), chat::ready(webhook, text, &mut pocket, limit))
            }
            (Contact::Phone(number), Carrier::Sms(sms)) => {
                let through = if sms.command.is_some() { "SMS command" } else { "SMS gateway" };
                (through.to_owned(), sms::ready(sms, number, text, &mut pocket, limit))
            }
            (Contact::Page(url), Carrier::Page) => ("page".to_owned(), chat::page(url, text, limit)),
            _ => (String::new(), Err("this goes by another way".to_owned())),
        };
        let hidden = pocket.hidden;
        match work {
            Ok(work) => Ok(Self { through, limit, hidden, work }),
            Err(why) => Err((through, clean(&why, &hidden))),
        }
    }

    /// Carries it. What takes too long is left to itself.
    pub(super) fn carry(self) -> Came {
        let (sender, receiver) = channel();
        let work = self.work;
        std::thread::spawn(move || sender.send(work()));
        match receiver.recv_timeout(self.limit) {
            Ok(Came::Failed(why)) => Came::Failed(clean(&why, &self.hidden)),
            Ok(came) => came,
            Err(RecvTimeoutError::Timeout) => Came::Late,
            Err(RecvTimeoutError::Disconnected) => Came::Failed("it broke off".to_owned()),
        }
    }
}

/// Makes a reason fit to be kept and shown: one line, not too long, without what must not be known.
fn clean(why: &str, hidden: &[String]) -> String {
    let mut why = why.to_owned();
    let mut hidden: Vec<_> = hidden.iter().filter(|secret| secret.len() >= SECRET_MIN).collect();
    hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in hidden {
        why = why.replace(secret.as_str(), "…");
    }
    super::words::line(&why, WHY_MAX)
}

type Work = Box<dyn FnOnce() -> Came + Send>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_holds_no_secret_and_is_one_line() {
        let hidden = ["https://hooks.example/T0KEN-1".to_owned(), "T0KEN-1".to_owned(), "x".to_owned()];
        let why = clean("404 for https://hooks.example/T0KEN-1:\r\nno T0KEN-1 in box", &hidden);
        assert_eq!(why, "404 for …: no … in box");
    }
}

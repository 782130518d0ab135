//! What carries a message along one way. Each try is bounded in time, and says why it failed without any secret.

mod chat;
mod mail;
mod sms;

use super::words::Text;
use crate::vaults::Secrets;
use plan::Secret;
use plan::notify::{Carrier, Contact, Relay, Sms, Webhook};
use std::sync::mpsc::channel;
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
    /// It was taken, as far as can be seen, and nothing in its answer says whether: what it answers.
    Unsaid(String),
    /// It was not, and may be later: why, and how long the server wants to be left alone.
    NotYet(String, Option<Duration>),
    /// It never will be by this way, and this is why.
    Refused(String),
    /// There was no answer in time. It may arrive all the same.
    Late,
}

/// Gets secrets as texts, and remembers them.
struct Pocket {
    secrets: &'static dyn Secrets,
    hidden: Vec<String>,
}

impl Pocket {
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

/// What is to be done, with all that it takes: it goes to a thread of its own.
enum Errand {
    Mail(Relay, String),
    Chat(Webhook),
    Sms(Sms, String),
    Page(String),
}

/// Returns why no message can be sent to this address, if none can.
pub(crate) fn refusal(url: &str) -> Option<String> {
    chat::address(url).err()
}

/// Returns what carries a message along a way, for a person.
pub(super) fn through(contact: &Contact, carrier: &Carrier<'_>) -> String {
    match (contact, carrier) {
        (Contact::Webhook(name), Carrier::Webhook(_)) => format!("webhook {name}"),
        _ => carrier.to_string(),
    }
}

/// Carries a message along one way, by one carrier; returns what came of it. What takes too long is left to itself: a server, a program, or a
/// command that should have printed a secret.
pub(super) fn carry(
    contact: &Contact,
    carrier: &Carrier<'_>,
    text: &Text,
    secrets: &'static dyn Secrets,
    limit: Duration,
) -> Came {
    let errand = match (contact, carrier) {
        (Contact::Mail(to), Carrier::Relay(_, relay)) => Errand::Mail((*relay).clone(), to.clone()),
        (Contact::Webhook(_), Carrier::Webhook(webhook)) => Errand::Chat((*webhook).clone()),
        (Contact::Phone(number), Carrier::Sms(sms)) => Errand::Sms((*sms).clone(), number.clone()),
        (Contact::Page(url), Carrier::Page) => Errand::Page(url.clone()),
        _ => return Came::Refused("this goes by another way".to_owned()),
    };
    let text = text.clone();
    let came = bounded(limit, move || {
        // The token is the last part of it, with a link or without.
        let token = text.short.rsplit(['/', ' ']).next().map(str::to_owned);
        let mut pocket = Pocket { secrets, hidden: text.link.iter().cloned().chain(token).collect() };
        let came = match &errand {
            Errand::Mail(relay, to) => mail::send(relay, to, &text, &mut pocket, limit),
            Errand::Chat(webhook) => chat::send(webhook, &text, &mut pocket, limit),
            Errand::Sms(sms, number) => sms::send(sms, number, &text, &mut pocket, limit),
            Errand::Page(url) => chat::page(url, &text, limit),
        };
        // What isn't as it should be here, a secret that can't be read, may be mended while it is tried again.
        match came.unwrap_or_else(|why| Came::NotYet(why, None)) {
            Came::NotYet(why, after) => Came::NotYet(clean(&why, &pocket.hidden), after),
            Came::Refused(why) => Came::Refused(clean(&why, &pocket.hidden)),
            Came::Unsaid(what) => Came::Unsaid(clean(&what, &pocket.hidden)),
            came => came,
        }
    });
    came.unwrap_or(Came::Late)
}

/// Posts a plain text to an address that is a secret, or to what stands below it for failures.
pub(super) fn post_plain(
    url: &Secret,
    secrets: &'static dyn Secrets,
    fails: bool,
    text: String,
    limit: Duration,
) -> Result<(), String> {
    let mut pocket = Pocket { secrets, hidden: Vec::new() };
    let url = pocket.get(Some(url))?.unwrap_or_default();
    let mut url = chat::address(&url)?;
    if fails {
        url.path_segments_mut().map_err(|()| "its url is no page")?.pop_if_empty().push("fail");
    }
    let meaning = chat::Meaning { service: plan::notify::Service::Heartbeat, known: None };
    match chat::post(&url, chat::Posted::Plain(text), None, limit, &meaning) {
        Came::Taken | Came::Unsaid(_) => Ok(()),
        Came::NotYet(why, _) | Came::Refused(why) => Err(clean(&why, &pocket.hidden)),
        Came::Late => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// Does something in a thread of its own, and waits for it as long as this; `None` if it took longer, or broke off.
pub(super) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(limit).ok()
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

//! How a person can be reached while some systems are down.

use super::{Notify, Relay, Webhook};
use crate::{PersonName, Plan, SystemName, WebhookName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// One way to reach a person, as the plan writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// `mailto:`, with the address.
    Mail(String),
    /// `tel:`, with the number: digits, and a `+` before them or not.
    Phone(String),
    /// `webhook:`, with its name.
    Webhook(WebhookName),
    /// `https:`, with all of it.
    Page(String),
}

impl Contact {
    /// Reads a way; `None` if it is none. What it holds has no blanks and no line breaks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let plain =
            |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match scheme {
            "mailto" => is_address(rest).then(|| Self::Mail(rest.to_owned())),
            "tel" => {
                // Written for people, with blanks and hyphens; gateways want digits.
                let number: String =
                    rest.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
                let digits = number.strip_prefix('+').unwrap_or(&number);
                let fits = digits.len() >= 3 && digits.chars().all(|c| c.is_ascii_digit());
                fits.then_some(Self::Phone(number))
            }
            "webhook" => plain(rest).then(|| Self::Webhook(rest.into())),
            "https" => {
                (plain(rest) && rest.starts_with("//") && rest.len() > 2).then(|| Self::Page(text.to_owned()))
            }
            _ => None,
        }
    }
}

/// Returns whether a text is a plain address of a mailbox, with nothing in it that a mail's head could be made longer by.
pub(crate) fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\\,;:\"?&".contains(c);
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty() && !domain.is_empty() && !local.contains('@') && !text.contains(odd)
}

/// Returns whether a host is this machine itself, and nobody listens in between.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What carries a message to a person.
#[derive(Debug, Clone, Copy)]
pub enum Carrier<'p> {
    /// A mail server, and its place in the plan's list, from 0.
    Relay(usize, &'p Relay),
    /// A chat room.
    Webhook(&'p Webhook),
    /// What sends short messages.
    Sms(&'p super::Sms),
    /// Nothing between: the page is asked itself.
    Page,
}

/// As a person calls it; a chat room by its kind.
impl fmt::Display for Carrier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(_, relay) => write!(f, "{}:{}", relay.host, relay.port()),
            Self::Webhook(webhook) => f.write_str(&format!("{:?}", webhook.kind).to_lowercase()),
            Self::Sms(sms) if sms.command.is_some() => f.write_str("SMS command"),
            Self::Sms(_) => f.write_str("SMS gateway"),
            Self::Page => f.write_str("page"),
        }
    }
}

/// One way to a person, and what can carry a message along it.
#[derive(Debug, Clone)]
pub struct Way<'p> {
    /// As the plan writes it.
    pub text: &'p str,
    /// What it is; `None` for one that can't be read.
    pub contact: Option<Contact>,
    /// What is tried, in this order.
    pub carriers: Vec<Carrier<'p>>,
    /// What is not tried, each with the reason, for a person.
    pub skipped: Vec<String>,
}

/// Returns the systems that are out of service when these are down: they, and whatever needs them.
#[must_use]
pub fn out_of_service(plan: &Plan, down: &BTreeSet<SystemName>) -> BTreeSet<SystemName> {
    let mut users: BTreeMap<&SystemName, Vec<&SystemName>> = BTreeMap::new();
    for (name, system) in &plan.systems {
        for need in &system.needs {
            users.entry(need).or_default().push(name);
        }
    }
    let mut out = down.clone();
    let mut next: Vec<&SystemName> = down.iter().collect();
    while let Some(name) = next.pop() {
        for user in users.get(name).into_iter().flatten().copied() {
            if !out.contains(user) {
                out.insert(user.clone());
                next.push(user);
            }
        }
    }
    out
}

/// Returns the ways to a person, best first, while these systems are out of service.
#[must_use]
pub fn ways<'p>(plan: &'p Plan, person: &PersonName, out: &BTreeSet<SystemName>) -> Vec<Way<'p>> {
    let contacts = plan.people.get(person).map_or(&[][..], |person| &person.contact);
    let reader = Reader { notify: plan.notify.as_ref(), out };
    contacts.iter().map(|text| reader.way(text)).collect()
}

struct Reader<'p, 'o> {
    notify: Option<&'p Notify>,
    out: &'o BTreeSet<SystemName>,
}

impl<'p> Reader<'p, '_> {
    fn way(&self, text: &'p str) -> Way<'p> {
        let mut way = Way { text, contact: Contact::parse(text), carriers: Vec::new(), skipped: Vec::new() };
        match &way.contact {
            Some(Contact::Mail(address)) => {
                let (carriers, skipped) = self.relays(address);
                (way.carriers, way.skipped) = (carriers, skipped);
            }
            Some(Contact::Phone(_)) => match self.notify.and_then(|notify| notify.sms.as_ref()) {
                Some(sms) => match self.is_out(sms.system.as_ref()) {
                    Some(system) => {
                        way.skipped.push(format!("what sends short messages is {system}, which is down"));
                    }
                    None => way.carriers.push(Carrier::Sms(sms)),
                },
                None => way
                    .skipped
                    .push("the plan names nothing that sends short messages (notify.sms)".to_owned()),
            },
            Some(Contact::Webhook(name)) => match self.notify.and_then(|notify| notify.webhooks.get(name)) {
                Some(webhook) => match self.is_out(webhook.system.as_ref()) {
                    Some(system) => {
                        way.skipped.push(format!("the webhook {name} is {system}, which is down"));
                    }
                    None => way.carriers.push(Carrier::Webhook(webhook)),
                },
                None => way.skipped.push(format!("the plan names no webhook {name}")),
            },
            Some(Contact::Page(_)) => way.carriers.push(Carrier::Page),
            None => way.skipped.push("this is no way to reach someone".to_owned()),
        }
        way
    }

    fn relays(&self, address: &str) -> (Vec<Carrier<'p>>, Vec<String>) {
        let (mut carriers, mut skipped) = (Vec::new(), Vec::new());
        let Some(notify) = self.notify else {
            return (carriers, vec!["the plan has no [notify]".to_owned()]);
        };
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let holder = notify.mailboxes.iter().find(|mailbox| mailbox.domain.eq_ignore_ascii_case(domain));
        if let Some(system) = self.is_out(holder.map(|mailbox| &mailbox.system)) {
            return (carriers, vec![format!("the mailboxes of {domain} are {system}, which is down")]);
        }
        for (at, relay) in notify.relays.iter().enumerate() {
            match self.is_out(relay.system.as_ref()) {
                Some(system) => skipped.push(format!("the relay {} is {system}, which is down", relay.host)),
                None => carriers.push(Carrier::Relay(at, relay)),
            }
        }
        if notify.relays.is_empty() {
            skipped.push("the plan names no relay (notify.relays)".to_owned());
        }
        (carriers, skipped)
    }

    fn is_out<'s>(&self, system: Option<&'s SystemName>) -> Option<&'s SystemName> {
        system.filter(|system| self.out.contains(*system))
    }
}

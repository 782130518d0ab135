//! The `[notify]` table: what it may hold, and what the program has of it.

use crate::schema::{Key, SECRET, Shape, key, must};
use crate::{Period, Secret, SystemName, WebhookName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const NOTIFY: &[Key] = &[
    must(
        "key",
        Shape::Secret(SECRET),
        "What signs acknowledgements: 32 characters or more that nobody knows.",
    ),
    key(
        "within",
        Shape::Period,
        "How long an answer is waited for before the next one is told; 10 minutes unless said.",
    ),
    key("try_for", Shape::Period, "How long one way is tried; 30 seconds unless said."),
    key("expire_after", Shape::Period, "How long a message can be acknowledged; 1 day unless said."),
    key(
        "leads",
        Shape::Texts,
        "Who is told when neither owner nor deputy answers, in order; whose role is incident lead unless said.",
    ),
    key(
        "link",
        Shape::Text,
        "What acknowledgement links begin with, https://…; without it a message names the command alone.",
    ),
    key("listen", Shape::Text, "Where links are answered, address:port; 127.0.0.1:8385 unless said."),
    key("relays", Shape::List(RELAY), "Mail servers, best first: the next takes what one refuses."),
    key("mailboxes", Shape::List(MAILBOX), "Domains whose mailboxes are one of our own systems."),
    key("webhooks", Shape::Named(WEBHOOK), "Chat rooms that take messages."),
    key("sms", Shape::Table(SMS), "What sends short messages: a gateway or a command."),
    key(
        "again",
        Shape::Period,
        "How long after an alert that nobody has acknowledged it is told again; 1 day unless said.",
    ),
    key(
        "summary",
        Shape::Flag,
        "Whether who leads incidents gets a summary each Monday; they do unless said.",
    ),
    key(
        "heartbeat",
        Shape::Table(HEARTBEAT),
        "Who is told that the agent is alive, and notices when it isn't.",
    ),
];
const HEARTBEAT: &[Key] = &[
    must(
        "url",
        Shape::Secret(SECRET),
        "What is posted to while all is well; with /fail behind it while something isn't.",
    ),
    key("every", Shape::Period, "How often; 5 minutes unless said."),
];
const RELAY: &[Key] = &[
    must("host", Shape::Text, "Its name, which its certificate must be for."),
    key("port", Shape::Whole, "587 unless said, 465 with implicit TLS, 25 with none."),
    key(
        "tls",
        Shape::Word(&["starttls", "implicit", "none"]),
        "starttls unless said; none only on this machine itself.",
    ),
    key("user", Shape::Text, "Who logs in there."),
    key("password", Shape::Secret(SECRET), "With what."),
    must("from", Shape::Text, "The sender's address."),
    key("system", Shape::Text, "The system of this plan that it is: not tried while that is down."),
];
const MAILBOX: &[Key] = &[
    must("domain", Shape::Text, "What stands behind the @."),
    must(
        "system",
        Shape::Text,
        "The system of this plan that holds them: not written to while that is down.",
    ),
];
const WEBHOOK: &[Key] = &[
    must("kind", Shape::Word(&["mattermost", "slack", "teams", "ntfy"]), "What takes the messages."),
    must("url", Shape::Secret(SECRET), "Where to: whoever knows it can write there."),
    key("token", Shape::Secret(SECRET), "ntfy: the access token."),
    key(
        "answer",
        Shape::Table(ANSWER),
        "What a good answer is, where it isn't the one that the kind is known for.",
    ),
    key("system", Shape::Text, "The system of this plan that it is: not tried while that is down."),
];
const ANSWER: &[Key] = &[
    key(
        "contains",
        Shape::Text,
        "What stands in the answer of one that has the message; without it, it is tried again.",
    ),
    key(
        "refuses",
        Shape::Text,
        "What stands in the answer of one that will never take it: it is not tried again.",
    ),
];
const SMS: &[Key] = &[
    key(
        "command",
        Shape::Command,
        "A program; {to} is the number and {text} the text, which is on its standard input where no argument is {text}.",
    ),
    key(
        "url",
        Shape::Secret(SECRET),
        "A gateway. With {text} and {to} in it they are put there; else they are posted.",
    ),
    key("format", Shape::Word(&["json", "form"]), "How they are posted; json unless said."),
    key("to", Shape::Text, "What the gateway calls the number; to unless said."),
    key("text", Shape::Text, "What the gateway calls the text; text unless said."),
    key("authorization", Shape::Secret(SECRET), "The value of the header Authorization: Bearer …, Basic …"),
    key("answer", Shape::Table(ANSWER), "What a good answer of the gateway is."),
    key("system", Shape::Text, "The system of this plan that it is: not tried while that is down."),
];

/// Someone with a part in a recovery.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Person {
    /// As people say it.
    pub name: String,
    /// What they are in the company.
    pub role: Option<String>,
    /// Ways to reach them, best first: `mailto:`, `tel:`, `webhook:`, `https:`.
    pub contact: Vec<String>,
    /// The language of messages to them, `en` or `fr`; the organisation's unless said.
    pub language: Option<String>,
}

/// How people are told, and how they say that they have it.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Notify {
    /// What signs acknowledgements.
    pub key: Option<Secret>,
    /// How long an answer is waited for before the next one is told.
    pub within: Option<Period>,
    /// How long one way is tried.
    pub try_for: Option<Period>,
    /// How long a message can be acknowledged.
    pub expire_after: Option<Period>,
    /// Who is told when neither owner nor deputy answers, in order.
    pub leads: Vec<crate::PersonName>,
    /// What acknowledgement links begin with.
    pub link: Option<String>,
    /// Where links are answered.
    pub listen: Option<String>,
    /// Mail servers, best first.
    pub relays: Vec<Relay>,
    /// Domains whose mailboxes are one of our own systems.
    pub mailboxes: Vec<Mailbox>,
    /// Chat rooms.
    pub webhooks: BTreeMap<WebhookName, Webhook>,
    /// What sends short messages.
    pub sms: Option<Sms>,
    /// How long after an alert that nobody has acknowledged it is told again.
    pub again: Option<Period>,
    /// Whether those who lead get a weekly summary.
    pub summary: Option<bool>,
    /// Who notices when the agent is silent.
    pub heartbeat: Option<Heartbeat>,
}

/// Who is told that the agent is alive.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Heartbeat {
    /// Where to.
    pub url: Option<Secret>,
    /// How often.
    pub every: Option<Period>,
}

impl Heartbeat {
    /// Returns how often.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.every.map_or(Duration::from_secs(300), |every| every.0)
    }
}

impl Notify {
    /// Where links are answered unless the plan says otherwise.
    pub const LISTEN: &str = "127.0.0.1:8385";

    /// Returns how long an answer is waited for before the next one is told.
    #[must_use]
    pub fn within(&self) -> Duration {
        self.within.map_or(Duration::from_secs(600), |within| within.0)
    }

    /// Returns how long one way is tried.
    #[must_use]
    pub fn try_for(&self) -> Duration {
        self.try_for.map_or(Duration::from_secs(30), |limit| limit.0)
    }

    /// Returns how long a message can be acknowledged.
    #[must_use]
    pub fn expire_after(&self) -> Duration {
        self.expire_after.map_or(Duration::from_secs(86_400), |time| time.0)
    }

    /// Returns how long after an alert that nobody has acknowledged it is told again.
    #[must_use]
    pub fn again(&self) -> Duration {
        self.again.map_or(Duration::from_secs(86_400), |again| again.0)
    }

    /// Returns whether those who lead get a weekly summary.
    #[must_use]
    pub fn summary(&self) -> bool {
        self.summary.unwrap_or(true)
    }

    /// Returns where links are answered.
    #[must_use]
    pub fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or(Self::LISTEN)
    }
}

/// A mail server that takes messages.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Relay {
    /// Its name, which its certificate must be for.
    pub host: String,
    /// Its port.
    pub port: Option<u32>,
    /// How the line is encrypted.
    pub tls: Tls,
    /// Who logs in there.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// The sender's address.
    pub from: String,
    /// The system that it is.
    pub system: Option<SystemName>,
}

impl Relay {
    /// Returns its port: the usual one for its encryption unless said.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        };
        self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual)
    }
}

/// How the line to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From the server's offer on, which it must make.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all: on this machine itself.
    None,
}

/// A domain whose mailboxes are one of our own systems.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Mailbox {
    /// What stands behind the `@`.
    pub domain: String,
    /// The system.
    pub system: SystemName,
}

/// A chat room that takes messages.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Webhook {
    /// What takes them.
    pub kind: WebhookKind,
    /// Where to.
    pub url: Option<Secret>,
    /// The access token of ntfy.
    pub token: Option<Secret>,
    /// What a good answer is, where it isn't the one that the kind is known for.
    pub answer: Option<Answer>,
    /// The system that it is.
    pub system: Option<SystemName>,
}

/// What the answer of one that takes messages means, as the plan says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Answer {
    /// What stands in the answer of one that has the message.
    pub contains: Option<String>,
    /// What stands in the answer of one that will never take it.
    pub refuses: Option<String>,
}

/// What takes the messages of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is what it says")]
pub enum WebhookKind {
    #[default]
    Mattermost,
    Slack,
    Teams,
    Ntfy,
}

/// What sends short messages: exactly one of `command` and `url`.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Sms {
    /// A program.
    pub command: Option<Vec<String>>,
    /// A gateway.
    pub url: Option<Secret>,
    /// How number and text are posted.
    pub format: Option<SmsFormat>,
    /// What the gateway calls the number.
    pub to: Option<String>,
    /// What the gateway calls the text.
    pub text: Option<String>,
    /// The value of the header `Authorization`.
    pub authorization: Option<Secret>,
    /// What a good answer of the gateway is.
    pub answer: Option<Answer>,
    /// The system that it is.
    pub system: Option<SystemName>,
}

/// How number and text are posted to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is what it says")]
pub enum SmsFormat {
    #[default]
    Json,
    Form,
}

//! Chat rooms, each with what it understands; and pages that take a plain text.

use super::{Came, Pocket, Text};
use crate::net;
use jiff::Timestamp;
use plan::notify::{Answer, Service, Verdict, Webhook, WebhookKind, is_loopback, retry_after, verdict};
use serde_json::{Value, json};
use std::io::Read as _;
use std::time::Duration;
use url::Url;

/// How much of an answer is read, in bytes.
const ANSWER_MAX: u64 = 4096;

/// What is posted.
pub(super) enum Posted {
    Json(Value),
    Form(Vec<(String, String)>),
    Plain(String),
    /// Nothing: the address says it all.
    Nothing,
}

/// Whose answer it is, and what the plan says of it.
pub(super) struct Meaning {
    pub(super) service: Service,
    pub(super) known: Option<Answer>,
}

impl Default for Meaning {
    fn default() -> Self {
        Self { service: Service::Other, known: None }
    }
}

pub(super) fn send(
    webhook: &Webhook,
    text: &Text,
    pocket: &mut Pocket,
    limit: Duration,
) -> Result<Came, String> {
    let url = pocket.get(webhook.url.as_ref())?.ok_or("the plan names no url for it")?;
    let token = pocket.get(webhook.token.as_ref())?;
    let mut url = address(&url)?;
    let body = match webhook.kind {
        // A name in the text must not call everybody.
        WebhookKind::Mattermost => {
            let text = format!("**{}**\n{}", text.subject, text.body);
            json!({ "username": "Relève", "text": text.replace('@', "@\u{200b}").replace('<', "‹") })
        }
        WebhookKind::Slack => {
            let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            json!({ "text": format!("*{}*\n{}", escaped(&text.subject), escaped(&text.body)) })
        }
        WebhookKind::Teams => teams(text),
        WebhookKind::Ntfy => {
            let topic =
                url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
            if topic.is_empty() {
                return Err("its url names no topic: write https://ntfy.example/TOPIC".to_owned());
            }
            // As JSON it goes to the server's root; in headers only English letters would arrive.
            url.path_segments_mut().map_err(|()| "its url is no page")?.pop();
            let mut body =
                json!({ "topic": topic, "title": text.subject, "message": text.body, "priority": 5 });
            if let (Some(link), Some(body)) = (&text.link, body.as_object_mut()) {
                body.insert(
                    "actions".into(),
                    json!([{ "action": "view", "label": text.button, "url": link }]),
                );
            }
            body
        }
    };
    let authorization = token.map(|token| format!("Bearer {token}"));
    let meaning = Meaning { service: Service::Webhook(webhook.kind), known: webhook.answer.clone() };
    Ok(post(&url, Posted::Json(body), authorization.as_deref(), limit, &meaning))
}

fn teams(text: &Text) -> Value {
    let block = |line: &str| json!({ "type": "TextBlock", "text": line, "wrap": true });
    let mut blocks =
        vec![json!({ "type": "TextBlock", "text": text.subject, "weight": "bolder", "wrap": true })];
    blocks.extend(text.body.lines().filter(|line| !line.is_empty()).map(block));
    let actions: Vec<_> = text
        .link
        .iter()
        .map(|link| json!({ "type": "Action.OpenUrl", "title": text.button, "url": link }))
        .collect();
    let card = json!({ "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard",
        "version": "1.4", "body": blocks, "actions": actions });
    json!({ "type": "message",
        "attachments": [{ "contentType": "application/vnd.microsoft.card.adaptive", "content": card }] })
}

/// A page that takes a plain text.
pub(super) fn page(url: &str, text: &Text, limit: Duration) -> Result<Came, String> {
    let url = address(url)?;
    let words = format!("{}\n\n{}", text.subject, text.body);
    Ok(post(&url, Posted::Plain(words), None, limit, &Meaning::default()))
}

/// Reads an address that a message may be sent to: nobody reads it on its way.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url: Url =
        text.trim().parse().map_err(|error: url::ParseError| format!("its url is none: {error}"))?;
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_loopback(host) => Ok(url),
        _ => Err("its url is not https://, so others could read along".to_owned()),
    }
}

/// Posts something, once. What the answer means is [`verdict`]'s to say; it is not followed elsewhere.
pub(super) fn post(
    url: &Url,
    body: Posted,
    authorization: Option<&str>,
    limit: Duration,
    meaning: &Meaning,
) -> Came {
    let agent = net::client(limit);
    let posting = || with(agent.post(url.as_str()), authorization);
    let answer = match body {
        Posted::Json(value) => posting().header("Content-Type", "application/json").send(value.to_string()),
        Posted::Form(pairs) => posting().send_form(pairs),
        Posted::Plain(text) => posting().header("Content-Type", "text/plain; charset=utf-8").send(text),
        Posted::Nothing => with(agent.get(url.as_str()), authorization).call(),
    };
    judge(answer, meaning)
}

fn with<B>(request: ureq::RequestBuilder<B>, authorization: Option<&str>) -> ureq::RequestBuilder<B> {
    match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

fn judge(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, meaning: &Meaning) -> Came {
    let not_yet = |why: String| Came::NotYet(why, None);
    match answer {
        Ok(mut answer) => {
            let status = answer.status().as_u16();
            let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let after = header.and_then(|text| retry_after(text, Timestamp::now()));
            let mut bytes = Vec::new();
            let read = answer.body_mut().as_reader().take(ANSWER_MAX).read_to_end(&mut bytes);
            // One that breaks off before it has said whether it failed says nothing.
            if read.is_err() && answer.status().is_success() {
                return not_yet(format!("it answers {status}, and breaks off"));
            }
            let body = String::from_utf8_lossy(&bytes);
            match verdict(meaning.service, meaning.known.as_ref(), status, &body) {
                Verdict::Told => Came::Taken,
                Verdict::Unsaid(what) => Came::Unsaid(what),
                Verdict::NotYet(why) => Came::NotYet(why, after),
                Verdict::Refused(why) => Came::Refused(why),
            }
        }
        Err(error) if net::certificate(&error).is_some() => {
            Came::Refused(net::certificate(&error).unwrap_or_default())
        }
        Err(ureq::Error::Timeout(_)) => Came::Late,
        Err(ureq::Error::HostNotFound) => not_yet("no such host is known".to_owned()),
        // Others may name the address, which is a secret.
        Err(ureq::Error::Io(error)) => not_yet(error.to_string()),
        Err(ureq::Error::Rustls(error)) => not_yet(error.to_string()),
        Err(ureq::Error::ConnectionFailed) => not_yet("it can't be connected to".to_owned()),
        Err(_) => not_yet("it could not be asked".to_owned()),
    }
}

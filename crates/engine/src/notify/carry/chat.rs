//! Chat rooms, each with what it understands; and pages that take a plain text.

use super::{Came, Pocket, Text};
use plan::notify::{Webhook, WebhookKind, is_loopback};
use serde_json::{Value, json};
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig};
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
    Ok(post(&url, Posted::Json(body), authorization.as_deref(), limit))
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
    Ok(post(&url, Posted::Plain(format!("{}\n\n{}", text.subject, text.body)), None, limit))
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

/// Posts something, once. What answers with anything but 200 to 299 has not taken it; it is not followed elsewhere.
pub(super) fn post(url: &Url, body: Posted, authorization: Option<&str>, limit: Duration) -> Came {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let posting = || with(agent.post(url.as_str()), authorization);
    judge(match body {
        Posted::Json(value) => posting().header("Content-Type", "application/json").send(value.to_string()),
        Posted::Form(pairs) => posting().send_form(pairs),
        Posted::Plain(text) => posting().header("Content-Type", "text/plain; charset=utf-8").send(text),
        Posted::Nothing => with(agent.get(url.as_str()), authorization).call(),
    })
}

fn with<B>(request: ureq::RequestBuilder<B>, authorization: Option<&str>) -> ureq::RequestBuilder<B> {
    match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

fn judge(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Came {
    match answer {
        Ok(answer) if answer.status().is_success() => Came::Taken,
        Ok(mut answer) => {
            let said = answer.body_mut().with_config().limit(ANSWER_MAX).read_to_string().unwrap_or_default();
            Came::Failed(format!("it answers {}: {said}", answer.status().as_u16()))
        }
        Err(ureq::Error::Timeout(_)) => Came::Late,
        Err(ureq::Error::HostNotFound) => Came::Failed("no such host is known".to_owned()),
        // Others may name the address, which is a secret.
        Err(ureq::Error::Io(error)) => Came::Failed(error.to_string()),
        Err(ureq::Error::Rustls(error)) => Came::Failed(error.to_string()),
        Err(ureq::Error::ConnectionFailed) => Came::Failed("it can't be connected to".to_owned()),
        Err(_) => Came::Failed("it could not be asked".to_owned()),
    }
}

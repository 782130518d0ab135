//! What an answer means: told, not yet, or refused for good. A web server that has handed nothing on may answer 200 all the same, and says so in its text.

use super::{Answer, WebhookKind};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// How deep an answer is looked into for a failure.
const DEPTH_MAX: u32 = 6;

/// What came of handing a message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Told,
    /// It was not, and may be later: why.
    NotYet(String),
    /// It never will be by this way: why.
    Refused(String),
}

/// What answers, each in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A chat room of this kind.
    Webhook(WebhookKind),
    /// Who notices when the agent is silent.
    Heartbeat,
    /// A gateway for short messages, a page, whatever else.
    Other,
}

/// Returns what an answer means. What the plan says of it (`known`) goes before what is known of the service.
///
/// | service | has it | otherwise |
/// |---|---|---|
/// | Mattermost, Slack | `ok` | |
/// | Teams | 202, or 200 with `1` or nothing | words of failure in the text |
/// | ntfy | JSON with an `id` | |
/// | healthchecks.io and its like | as others, and not `(not found)` or `(rate limited)` | |
/// | others | 200 to 299 | `error`, `success: false`, `status: failed` and the like in JSON; a text that begins with `ERR`, `KO`, a negative number … |
#[must_use]
pub fn verdict(service: Service, known: Option<&Answer>, status: u16, body: &str) -> Verdict {
    let said = || match body.trim() {
        "" => format!("it answers {status}"),
        text => format!("it answers {status}: {text}"),
    };
    let refuses = known.and_then(|known| known.refuses.as_deref());
    if refuses.is_some_and(|text| body.contains(text)) {
        return Verdict::Refused(said());
    }
    match status {
        200..=299 => {}
        // Asked too early, too often, or while it is out of order.
        408 | 425 | 429 | 500..=599 => return Verdict::NotYet(said()),
        300..=399 => {
            let why = "it is elsewhere now, and is not followed there: write the new address";
            return Verdict::Refused(format!("it answers {status}: {why}"));
        }
        _ => return Verdict::Refused(said()),
    }
    if let Some(text) = known.and_then(|known| known.contains.as_deref()) {
        return match body.contains(text) {
            true => Verdict::Told,
            false => Verdict::NotYet(format!("{}, without {text:?}", said())),
        };
    }
    let text = body.trim();
    let has_it = match service {
        Service::Webhook(WebhookKind::Mattermost | WebhookKind::Slack) => text.eq_ignore_ascii_case("ok"),
        Service::Webhook(WebhookKind::Teams) => {
            let lower = text.to_lowercase();
            let fails = ["failed", "error", "throttl"].iter().any(|word| lower.contains(word));
            !fails && (status == 202 || matches!(text, "" | "1"))
        }
        Service::Webhook(WebhookKind::Ntfy) => {
            let answer: Option<Value> = serde_json::from_str(text).ok();
            answer.is_some_and(|answer| answer.get("id").is_some_and(Value::is_string))
        }
        Service::Heartbeat => {
            let is_passed_over = text.contains("(not found)") || text.contains("(rate limited)");
            !is_passed_over && !says_that_it_failed(text)
        }
        Service::Other => !says_that_it_failed(text),
    };
    match has_it {
        true => Verdict::Told,
        false => Verdict::NotYet(format!("{}, which doesn't say that it has it", said())),
    }
}

/// Returns how long a server wants to be left alone: so many seconds, or until a date (RFC 9110).
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// Returns whether an answer of no service that is known says that it failed.
fn says_that_it_failed(text: &str) -> bool {
    if let Ok(answer) = serde_json::from_str::<Value>(text) {
        // A number below zero is an error's everywhere.
        return answer.as_i64().is_some_and(|number| number < 0) || has_failure(&answer, DEPTH_MAX);
    }
    let words = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let first: String = words.chars().take_while(|c| c.is_alphanumeric()).collect();
    is_failure(&first) || text.to_lowercase().starts_with("not ")
}

/// Returns whether a name or a value in a JSON answer says that it failed.
fn has_failure(value: &Value, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        Value::Array(list) => list.iter().any(|value| has_failure(value, depth)),
        Value::Object(table) => table.iter().any(|(name, value)| {
            let name = name.to_lowercase();
            let of_itself = match name.as_str() {
                "success" | "ok" | "succeeded" => is_no(value),
                "status" | "state" | "result" | "outcome" => match value {
                    Value::String(word) => is_failure(word),
                    Value::Bool(well) => !well,
                    Value::Number(number) => {
                        number.as_i64().is_some_and(|number| number < 0 || (400..600).contains(&number))
                    }
                    _ => false,
                },
                "err" | "fault" | "exception" => is_something(value),
                name => name.starts_with("error") && is_something(value),
            };
            of_itself || has_failure(value, depth)
        }),
        _ => false,
    }
}

fn is_no(value: &Value) -> bool {
    match value {
        Value::Bool(well) => !well,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(word) => {
            matches!(word.to_lowercase().as_str(), "false" | "no" | "0") || is_failure(word)
        }
        _ => false,
    }
}

/// Returns whether an error is named, and not that there is none.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(fails) => *fails,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => {
            let none = ["", "0", "no", "none", "null", "false", "ok", "success", "no error"];
            !none.contains(&text.trim().to_lowercase().as_str())
        }
        Value::Array(list) => !list.is_empty(),
        Value::Object(table) => !table.is_empty(),
    }
}

/// Returns whether a word is one that gateways fail with.
fn is_failure(word: &str) -> bool {
    const FAILURES: [&str; 19] = [
        "err",
        "error",
        "erreur",
        "fail",
        "failed",
        "failure",
        "ko",
        "nok",
        "rejected",
        "refused",
        "denied",
        "invalid",
        "undelivered",
        "undeliverable",
        "expired",
        "blocked",
        "unauthorized",
        "forbidden",
        "throttled",
    ];
    FAILURES.contains(&word.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Service = Service::Webhook(WebhookKind::Slack);
    const TEAMS: Service = Service::Webhook(WebhookKind::Teams);
    const NTFY: Service = Service::Webhook(WebhookKind::Ntfy);

    fn told(service: Service, status: u16, body: &str) -> bool {
        verdict(service, None, status, body) == Verdict::Told
    }

    fn is_not_yet(service: Service, status: u16, body: &str) -> bool {
        matches!(verdict(service, None, status, body), Verdict::NotYet(_))
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(is_not_yet(Service::Other, status, ""), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 410, 413] {
            let verdict = verdict(Service::Other, None, status, "no");
            assert!(matches!(verdict, Verdict::Refused(_)), "{status}: {verdict:?}");
        }
    }

    #[test]
    fn each_service_says_in_its_own_words_that_it_has_it() {
        let limited =
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429";
        assert!(told(TEAMS, 200, "1") && told(TEAMS, 202, "") && is_not_yet(TEAMS, 200, limited));
        assert!(is_not_yet(TEAMS, 202, limited) && is_not_yet(TEAMS, 200, "<html>Sign in</html>"));
        assert!(told(SLACK, 200, "ok\n") && is_not_yet(SLACK, 200, "invalid_token"));
        assert!(told(NTFY, 200, r#"{"id":"x1","event":"message"}"#) && is_not_yet(NTFY, 200, "<html>"));
        assert!(told(Service::Heartbeat, 200, "OK") && is_not_yet(Service::Heartbeat, 200, "OK (not found)"));
        assert!(is_not_yet(NTFY, 200, r#"{"code":40301,"error":"forbidden"}"#));
    }

    #[test]
    fn a_gateway_that_says_that_it_failed_has_told_nobody() {
        for body in [
            "ERR: no credit",
            "-102",
            "KO",
            r#"{"status":"failed"}"#,
            r#"{"success":false,"message":"x"}"#,
            r#"{"messages":[{"to":"1","status":"rejected"}]}"#,
            r#"{"messages":[{"status":"9","error-text":"Partner quota exceeded"}]}"#,
            r#"{"error":{"code":21211}}"#,
            r#"{"status":402}"#,
        ] {
            assert!(is_not_yet(Service::Other, 200, body), "{body}");
        }
        for body in [
            "",
            "OK",
            "100",
            "accepted",
            r#"{"sid":"SM1","status":"queued","error_code":null,"error_message":null}"#,
            r#"{"error":"0","errors":[],"status":"success","success":true}"#,
            r#"{"text":"The backup has failed","messages":[{"status":"0"}]}"#,
        ] {
            assert!(told(Service::Other, 200, body), "{body}");
        }
    }

    #[test]
    fn what_the_plan_says_of_an_answer_goes_before_what_is_known() {
        let known = Answer { contains: Some("queued".into()), refuses: Some("unknown number".into()) };
        let of = |status, body| verdict(Service::Other, Some(&known), status, body);
        assert_eq!(of(200, "ERR 0 queued"), Verdict::Told);
        assert!(matches!(of(200, "OK"), Verdict::NotYet(_)));
        assert!(matches!(of(200, "queued? unknown number"), Verdict::Refused(_)));
        assert!(matches!(of(500, "unknown number"), Verdict::Refused(_)));
        // A good text with a bad status is none.
        assert!(matches!(of(503, "queued"), Verdict::NotYet(_)));
    }

    #[test]
    fn a_server_says_in_seconds_or_by_a_date_how_long_it_wants_to_be_left_alone() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 15 Jan 2027 08:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Wed, 13 Jan 2027 08:01:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}

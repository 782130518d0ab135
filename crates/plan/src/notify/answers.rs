//! What an answer means: told, not yet, or refused for good. A web server that has handed nothing on may answer 200 all the same, and says so in its text.

use super::failures::{Said, said};
use super::{Answer, WebhookKind};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// What came of handing a message over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Told,
    /// It was taken, as far as its status says, and nothing in its answer says whether: what it answers.
    Unsaid(String),
    /// It was not, and may be later: why.
    NotYet(String),
    /// It never will be by this way: why.
    Refused(String),
}

/// Statuses after which the same message is never taken by the same address, whoever answers: it is wrong itself, or who sends it may not.
const FINAL: [u16; 12] = [400, 401, 403, 405, 406, 411, 413, 414, 415, 417, 422, 431];
/// What Slack and Mattermost say in their own words of a room that is no more, with 404 and 410. From anybody else that may be a proxy whose server is being started.
const ROOM_IS_GONE: [&str; 7] = [
    "no_service",
    "no_team",
    "channel_not_found",
    "channel_is_archived",
    "user_not_found",
    "team_disabled",
    "invalid_token",
];

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
/// | status | it is |
/// |---|---|
/// | 200 to 299 | what the text says, see below |
/// | 400, 401, 403, 405, 406, 411, 413, 414, 415, 417, 422, 431 | refused for good |
/// | 404, 410 with a word of Slack's or Mattermost's own that the room is no more | refused for good |
/// | all others | not yet |
///
/// | service | has it | otherwise |
/// |---|---|---|
/// | Mattermost, Slack | `ok` | |
/// | Teams | 202, or 200 with `1` or nothing | words of failure in the text |
/// | ntfy | JSON with an `id` and no `error` | |
/// | healthchecks.io and its like | as others, and not `(not found)` or `(rate limited)` | |
/// | others | what says so in its words (module `failures`) | words of failure; where there are neither: unsaid |
#[must_use]
pub fn verdict(service: Service, known: Option<&Answer>, status: u16, body: &str) -> Verdict {
    let text = body.trim();
    let with_text = |what: String| if text.is_empty() { what } else { format!("{what}: {text}") };
    let answers = || with_text(format!("it answers {status}"));
    let refused = || with_text(format!("refused ({status})"));
    let refuses = known.and_then(|known| known.refuses.as_deref());
    if refuses.is_some_and(|text| body.contains(text)) {
        return Verdict::Refused(answers());
    }
    let is_room = matches!(service, Service::Webhook(WebhookKind::Mattermost | WebhookKind::Slack));
    match status {
        200..=299 => {}
        // Asked too early, too often, or while it is out of order.
        408 | 425 | 429 | 500..=599 => return Verdict::NotYet(answers()),
        300..=399 => {
            let why = "it is elsewhere now, or for the time, and is not followed there: if that stays so write the new address";
            return Verdict::NotYet(format!("refused ({status}): {why}"));
        }
        404 | 410 if is_room && ROOM_IS_GONE.contains(&text) => return Verdict::Refused(refused()),
        status if FINAL.contains(&status) => return Verdict::Refused(refused()),
        _ => return Verdict::NotYet(refused()),
    }
    if let Some(text) = known.and_then(|known| known.contains.as_deref()) {
        return match body.contains(text) {
            true => Verdict::Told,
            false => Verdict::NotYet(format!("{}, without {text:?}", answers())),
        };
    }
    let failed = || said(text) == Said::Failed;
    let has_it = match service {
        Service::Webhook(WebhookKind::Mattermost | WebhookKind::Slack) => text.eq_ignore_ascii_case("ok"),
        Service::Webhook(WebhookKind::Teams) => {
            let lower = text.to_lowercase();
            let fails = ["failed", "error", "throttl"].iter().any(|word| lower.contains(word));
            !fails && (status == 202 || matches!(text, "" | "1"))
        }
        Service::Webhook(WebhookKind::Ntfy) => {
            let answer: Option<Value> = serde_json::from_str(text).ok();
            answer.is_some_and(|answer| {
                answer.get("id").is_some_and(Value::is_string) && answer.get("error").is_none()
            })
        }
        Service::Heartbeat => {
            let is_passed_over = text.contains("(not found)") || text.contains("(rate limited)");
            !is_passed_over && !failed()
        }
        Service::Other => match said(text) {
            Said::Failed => false,
            Said::Nothing if !matches!(status, 201 | 202) => return Verdict::Unsaid(answers()),
            Said::Nothing | Said::Done => true,
        },
    };
    match has_it {
        true => Verdict::Told,
        false => Verdict::NotYet(format!("{}, which doesn't say that it has it", answers())),
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
        for status in
            [301, 302, 307, 402, 404, 407, 408, 409, 410, 418, 421, 423, 425, 429, 500, 502, 503, 504]
        {
            assert!(is_not_yet(Service::Other, status, ""), "{status}");
            assert!(is_not_yet(SLACK, status, "<html>nginx</html>"), "{status}");
        }
        for status in FINAL {
            let verdict = verdict(Service::Other, None, status, "no");
            assert!(matches!(verdict, Verdict::Refused(_)), "{status}: {verdict:?}");
        }
        // A proxy whose server is being started says the same status, in other words.
        for (status, body) in [(404, "no_service"), (410, "channel_is_archived\n")] {
            assert!(matches!(verdict(SLACK, None, status, body), Verdict::Refused(_)), "{body}");
            assert!(is_not_yet(Service::Other, status, body), "{body}");
        }
        let said = verdict(Service::Other, None, 404, "no such page");
        assert_eq!(said, Verdict::NotYet("refused (404): no such page".into()));
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
        assert!(is_not_yet(NTFY, 200, r#"{"id":"1","error":"limit"}"#));
    }

    #[test]
    fn an_answer_that_says_nothing_is_not_called_told() {
        let unsaid = |status, body| matches!(verdict(Service::Other, None, status, body), Verdict::Unsaid(_));
        assert!(
            unsaid(200, "") && unsaid(204, "") && unsaid(200, "4711") && unsaid(200, "<html>Sign in</html>")
        );
        // These two statuses say it themselves.
        assert!(told(Service::Other, 201, "") && told(Service::Other, 202, ""));
        assert!(is_not_yet(Service::Other, 202, "ERR: no credit"));
        // Where the kind of service is known, so is its good answer.
        assert!(told(Service::Heartbeat, 200, "") && is_not_yet(SLACK, 200, ""));
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

//! What the answer of a service that nobody knows says in its words: that it is done, that it failed, or neither. Gateways answer 200 to nearly all, in JSON, XML, pairs
//! of names and values, or a line of text.
//!
//! A failure that is overlooked tells nobody, and one that is seen where none is tells twice: so what may be our own message, given back, doesn't count.

use serde_json::{Map, Value};

/// How deep an answer is looked into.
const DEPTH_MAX: u32 = 6;
/// How many words of a text count; what is longer may be our own message.
const WORDS_MAX: usize = 14;
/// How many words a remark has at most.
const REMARK_MAX: usize = 6;
/// A text that begins so is a good answer, whatever it goes on to say.
const SURE: [&str; 8] =
    ["ok", "success", "successful", "successfully", "accepted", "queued", "scheduled", "enqueued"];
/// Words of a good answer.
const DONE: [&str; 15] = [
    "ok",
    "success",
    "successful",
    "successfully",
    "accepted",
    "queued",
    "queue",
    "enqueued",
    "scheduled",
    "sent",
    "delivered",
    "submitted",
    "pending",
    "sending",
    "buffered",
];
/// Words of a failure.
const FAILED: [&str; 41] = [
    "err",
    "error",
    "errors",
    "erreur",
    "echec",
    "échec",
    "fehler",
    "fehlgeschlagen",
    "fail",
    "failed",
    "fails",
    "failure",
    "ko",
    "nok",
    "rejected",
    "refused",
    "refusé",
    "denied",
    "invalid",
    "invalide",
    "ungültig",
    "undelivered",
    "undeliverable",
    "undeliv",
    "expired",
    "blocked",
    "unauthorized",
    "unauthorised",
    "unauthenticated",
    "forbidden",
    "throttled",
    "insufficient",
    "insuffisant",
    "unable",
    "cannot",
    "missing",
    "wrong",
    "incorrect",
    "suspended",
    "disabled",
    "exceeded",
];
/// Two words of a failure, one after the other.
const FAILED_TOGETHER: [(&str, &[&str]); 8] = [
    (
        "not",
        &[
            "sent",
            "authorized",
            "authorised",
            "allowed",
            "found",
            "accepted",
            "delivered",
            "valid",
            "enough",
            "permitted",
            "registered",
            "active",
        ],
    ),
    ("no", &["credit", "credits", "balance", "funds", "money", "route", "permission", "recipients"]),
    ("bad", &["request", "credentials", "password", "number", "gateway", "login"]),
    ("out", &["of"]),
    ("too", &["many"]),
    ("could", &["not"]),
    ("timed", &["out"]),
    ("low", &["balance", "credit"]),
];
/// Before or behind a word of failure they say that there is none.
const NONE: [&str; 8] = ["no", "none", "zero", "0", "without", "false", "null", "nil"];

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Done,
    Failed,
    /// Neither.
    Nothing,
}

/// Returns what an answer says.
pub(super) fn said(text: &str) -> Said {
    let text = text.trim();
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(table)) => Heard::of(|heard| heard.table(&table, DEPTH_MAX)),
        Ok(Value::Array(list)) => Heard::of(|heard| heard.list("", &list, DEPTH_MAX)),
        Ok(Value::String(text)) => plain(&text),
        Ok(Value::Bool(true)) => Said::Done,
        Ok(Value::Bool(false)) => Said::Failed,
        // A number below zero is an error's everywhere.
        Ok(Value::Number(number)) if number.as_i64().is_some_and(|number| number < 0) => Said::Failed,
        Ok(Value::Number(_) | Value::Null) => Said::Nothing,
        Err(_) if text.starts_with('<') => Heard::of(|heard| heard.markup(text)),
        Err(_) => plain(text),
    }
}

/// What was heard so far. One word of failure weighs more than all others.
#[derive(Default)]
struct Heard {
    failed: bool,
    done: bool,
}

impl Heard {
    fn of(hear: impl FnOnce(&mut Self)) -> Said {
        let mut heard = Self::default();
        hear(&mut heard);
        heard.said()
    }

    const fn said(&self) -> Said {
        match (self.failed, self.done) {
            (true, _) => Said::Failed,
            (false, true) => Said::Done,
            (false, false) => Said::Nothing,
        }
    }

    fn add(&mut self, said: Said) {
        self.failed |= said == Said::Failed;
        self.done |= said == Said::Done;
    }

    fn table(&mut self, table: &Map<String, Value>, depth: u32) {
        let Some(deeper) = depth.checked_sub(1) else { return };
        // What waits in a queue is neither sent nor delivered yet.
        let waits = table.iter().any(|(name, value)| waits(&bare(name), value));
        for (name, value) in table {
            let name = bare(name);
            if !(waits && matches!(name.as_str(), "sent" | "delivered")) {
                self.add(meaning(&name, value));
            }
            match value {
                Value::Object(table) => self.table(table, deeper),
                Value::Array(list) => self.list(&name, list, deeper),
                _ => {}
            }
        }
    }

    fn list(&mut self, name: &str, list: &[Value], depth: u32) {
        let Some(deeper) = depth.checked_sub(1) else { return };
        for value in list {
            match value {
                Value::Object(table) => self.table(table, deeper),
                Value::Array(list) => self.list(name, list, deeper),
                value => self.add(meaning(name, value)),
            }
        }
    }

    /// Hears XML, and a page for people.
    fn markup(&mut self, text: &str) {
        let start = text.get(..64).unwrap_or(text).to_lowercase();
        let is_page = start.contains("<html") || start.contains("<!doctype html");
        let (mut rest, mut open) = (text, "");
        while let Some((inner, after)) = rest.split_once('<') {
            let inner = inner.trim();
            if !inner.is_empty() {
                let value = Value::String(inner.to_owned());
                let known = if is_page { Said::Nothing } else { meaning(&bare(open), &value) };
                self.add(if known == Said::Nothing { remark(inner) } else { known });
            }
            let (tag, next) = after.split_once('>').unwrap_or((after, ""));
            rest = next;
            open = "";
            if tag.starts_with(['/', '?', '!']) {
                continue;
            }
            let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
            open = name.rsplit(':').next().unwrap_or(name);
            let mut parts = attributes.split(['"', '\'']);
            while let (Some(name), Some(value), false) = (parts.next(), parts.next(), is_page) {
                self.add(meaning(&bare(name), &Value::String(value.to_owned())));
            }
        }
    }
}

/// Returns what a name with a value says.
fn meaning(name: &str, value: &Value) -> Said {
    match name {
        "success" | "ok" | "succeeded" | "successful" | "issuccess" | "issuccessful" => yes_or_no(value),
        "accepted" | "sent" | "delivered" | "queued" | "submitted" => match value {
            // How many it delivers is known later.
            Value::Number(number) if name == "delivered" && number.as_i64() == Some(0) => Said::Nothing,
            value => yes_or_no(value),
        },
        "failed" | "failure" | "failures" | "rejected" | "undeliverable" | "undelivered" | "unsent"
        | "notsent" | "denied" => {
            if is_something(value) {
                Said::Failed
            } else {
                Said::Nothing
            }
        }
        "status" | "state" | "result" | "outcome" | "messagestatus" | "deliverystatus" | "groupname"
        | "statustext" | "statusinfo" | "type" | "level" => state(value),
        "code" | "statuscode" | "responsecode" | "resultcode" | "returncode" | "httpcode" | "httpstatus" => {
            state(value)
        }
        "message" | "msg" | "description" | "detail" | "details" | "reason" | "info" | "response"
        | "statusmessage" | "statusdescription" => value.as_str().map_or(Said::Nothing, remark),
        "id" | "ids" | "sid" | "uuid" | "messageid" | "messageids" | "messageuuid" | "msgid" | "smsid"
        | "apimessageid" | "batchid" => {
            if is_something(value) {
                Said::Done
            } else {
                Said::Nothing
            }
        }
        // One has it so, of all.
        "errorcode" if number_of(value) == Some(200) => Said::Done,
        name if matches!(name, "err" | "fault" | "faultstring" | "exception")
            || name.starts_with("error") =>
        {
            error(value)
        }
        name if name.starts_with("invalid") && is_something(value) => Said::Failed,
        _ => Said::Nothing,
    }
}

/// Returns whether a name with a value says that the message waits for its turn.
fn waits(name: &str, value: &Value) -> bool {
    match name {
        "queued" | "submitted" | "pending" | "scheduled" | "accepted" => yes_or_no(value) == Said::Done,
        "status" | "state" | "result" => {
            let word = value.as_str().unwrap_or_default().to_lowercase();
            matches!(
                word.as_str(),
                "queued" | "queue" | "accepted" | "pending" | "scheduled" | "submitted" | "enqueued"
            )
        }
        _ => false,
    }
}

fn yes_or_no(value: &Value) -> Said {
    match value {
        Value::Bool(true) => Said::Done,
        Value::Bool(false) => Said::Failed,
        Value::Number(number) if number.as_i64() == Some(0) => Said::Failed,
        Value::Number(_) => Said::Done,
        Value::String(word) => match word.trim().to_lowercase().as_str() {
            "false" | "no" | "0" => Said::Failed,
            "true" | "yes" | "1" => Said::Done,
            word => plain(word),
        },
        _ => Said::Nothing,
    }
}

/// Returns what a state or a code says: by a word, or by a number as web servers have them.
fn state(value: &Value) -> Said {
    match (value, number_of(value)) {
        (Value::Bool(well), _) => {
            if *well {
                Said::Done
            } else {
                Said::Failed
            }
        }
        (_, Some(number)) if number < 0 || (400..600).contains(&number) => Said::Failed,
        (_, Some(200..=299)) => Said::Done,
        (Value::String(text), None) => plain(text),
        _ => Said::Nothing,
    }
}

/// Returns what stands under the name of an error says.
fn error(value: &Value) -> Said {
    match value {
        value if is_something(value) => Said::Failed,
        // That there is none was worth a word.
        Value::Bool(_) | Value::Number(_) => Said::Done,
        Value::String(text) if !text.trim().is_empty() => Said::Done,
        _ => Said::Nothing,
    }
}

/// Returns what a few words say. More of them may be our own message.
fn remark(text: &str) -> Said {
    match words(text).len() <= REMARK_MAX {
        true => plain(text),
        false => Said::Nothing,
    }
}

/// Returns what a line of text says.
fn plain(text: &str) -> Said {
    if text.trim().parse::<i64>().is_ok_and(|number| number < 0) {
        return Said::Failed;
    }
    let words = words(text);
    let is_number = |word: &&String| word.chars().all(|c| c.is_ascii_digit());
    let mut first = words.iter().skip_while(is_number).map(String::as_str);
    let (first, second) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let is_taken_back = matches!(second, "false" | "no" | "none") || second == "0" && first != "ok";
    if SURE.contains(&first) && !is_taken_back {
        return Said::Done;
    }
    let mut heard = Heard::default();
    for pair in text.split(['&', ';', ',', '|', '\n']).take(WORDS_MAX) {
        if let Some((name, value)) = pair.split_once(['=', ':']) {
            heard.add(meaning(&bare(name), &Value::String(value.trim().to_owned())));
        }
    }
    let says_done = words.iter().take(REMARK_MAX).any(|word| DONE.contains(&word.as_str()));
    match heard.failed || first == "not" || fails(&words) {
        true => Said::Failed,
        false if heard.done || says_done => Said::Done,
        false => Said::Nothing,
    }
}

/// Returns whether one of these words, or two of them, speak of a failure.
fn fails(words: &[String]) -> bool {
    let at = |place: usize| words.get(place).map(String::as_str).unwrap_or_default();
    (0..words.len()).any(|place| {
        let (word, after) = (at(place), at(place.saturating_add(1)));
        let before = place.checked_sub(1).map(at).unwrap_or_default();
        let is_none = NONE.contains(&before) || NONE.contains(&after);
        let together =
            FAILED_TOGETHER.iter().any(|(first, second)| *first == word && second.contains(&after));
        together || FAILED.contains(&word) && !is_none
    })
}

/// Returns the first words of a text, in small letters.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(WORDS_MAX).map(str::to_owned).collect()
}

/// Returns a name without what each service writes otherwise: `Status_Code`, `status-code`, `statusCode`.
fn bare(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn number_of(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Returns whether something is named, and not that there is none.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As gateways answer that have the message: their documentation's examples, shortened.
    const GOOD: [&str; 28] = [
        // Twilio, Vonage, Plivo, MessageBird, Telnyx, Sinch, Infobip, Clickatell, BulkSMS, OVH, SMSAPI, seven, msg91, Textlocal.
        r#"{"sid":"SM1","status":"queued","error_code":null,"error_message":null}"#,
        r#"{"message-count":"1","messages":[{"to":"336","message-id":"0A","status":"0","network":"20801"}]}"#,
        r#"{"message":"message(s) queued","message_uuid":["db3ce55a"],"api_id":"db342550"}"#,
        r#"{"id":"e8","recipients":{"totalSentCount":1,"totalDeliveryFailedCount":0,"items":[{"status":"sent"}]}}"#,
        r#"{"data":{"id":"4","to":[{"phone_number":"+1","status":"queued"}],"errors":[]}}"#,
        r#"{"id":"01F","to":["336"],"canceled":false,"body":"The backup has failed"}"#,
        r#"{"messages":[{"messageId":"22","status":{"groupId":1,"groupName":"PENDING","id":26,"name":"PENDING_ACCEPTED"},"to":"336"}]}"#,
        r#"{"messages":[{"apiMessageId":"cb","accepted":true,"to":"336","error":null}],"error":null}"#,
        r#"[{"id":"65","type":"SENT","status":{"id":"ACCEPTED.null","type":"ACCEPTED"}}]"#,
        r#"{"totalCreditsRemoved":1,"invalidReceivers":[],"ids":[26929925],"validReceivers":["+336"]}"#,
        r#"{"count":1,"list":[{"id":"177","points":0.16,"number":"336","status":"QUEUE","error":null}]}"#,
        r#"{"success":"100","total_price":0.075,"messages":[{"id":"77","success":true,"error":null,"error_text":null}]}"#,
        r#"{"type":"success","message":"3763646c3058373530393938"}"#,
        r#"{"balance":1162,"cost":1,"num_messages":1,"messages":[{"id":"1","recipient":336}],"status":"success"}"#,
        r#"{"status":"queued","sent":0,"delivered":false}"#,
        r#"{"error":"0","errors":[],"status":"success","success":true}"#,
        r#"{"error_code":0}"#,
        r#"{"StatusCode":"1","StatusInfo":"OK"}"#,
        // Amazon SNS, ViaNett.
        "<PublishResponse><PublishResult><MessageId>94f20ce6</MessageId></PublishResult></PublishResponse>",
        "<?xml version=\"1.0\"?><ack refid=\"1\" errorcode=\"200\">OK</ack>",
        // SMSGlobal, SMSC, Clickatell by HTTP, Kannel, and others in a line.
        "OK: 0; Sent queued message ID: 04b4a8d4 SMSGlobalMsgID:6613115713715266",
        "OK - 1 SMS, ID - 1234",
        "ID: 205e85d0578314037a96175249fc6a2b",
        "0: Accepted for delivery",
        "OK",
        "Message sent. Errors: 0",
        "1 message queued, 0 failed",
        "status=success&errors=0",
    ];

    /// As they answer, with status 200, that have handed on nothing.
    const BAD: [&str; 34] = [
        r#"{"messages":[{"status":"9","error-text":"Partner quota exceeded"}]}"#,
        r#"{"messages":[{"to":"1","status":"rejected"}]}"#,
        r#"{"messages":[{"status":{"groupId":5,"groupName":"REJECTED","name":"REJECTED_NOT_ENOUGH_CREDITS"}}]}"#,
        r#"{"messages":[{"accepted":false,"to":"336","error":{"code":105}}]}"#,
        r#"{"totalCreditsRemoved":0,"invalidReceivers":["+33"],"ids":[],"validReceivers":[]}"#,
        r#"{"invalid_numbers":[{"number":"1"}],"error":13,"message":"No correct phone numbers"}"#,
        r#"{"success":"900","messages":[{"success":false,"error":"900"}]}"#,
        r#"{"type":"error","message":"Please provide a valid mobile number"}"#,
        r#"{"errors":[{"code":7,"message":"Insufficient credits"}],"status":"failure"}"#,
        r#"{"status":"ERROR","status_code":200,"status_text":"api_id"}"#,
        r#"{"StatusCode":"3","StatusInfo":"Authorization failed."}"#,
        r#"{"code":401,"message":"unauthorized"}"#,
        r#"{"StatusCode":401}"#,
        r#"{"success":true,"sent":0,"failed":1}"#,
        r#"{"delivered":false}"#,
        r#"{"success":false,"message":"x"}"#,
        r#"{"status":"failed"}"#,
        r#"{"error":{"code":21211}}"#,
        r#"{"status":402}"#,
        r#"{"message":"Insufficient credits"}"#,
        "false",
        "\"auth failed\"",
        "<response><status>error</status></response>",
        "<?xml version='1.0'?><sms status='failed' id='1'/>",
        "<ack>Invalid username or password</ack>",
        "ERR: no credit",
        "ERROR = 2 (authorise error)",
        "auth failed",
        "Insufficient credits",
        "-102",
        "KO",
        "23|invalid credentials (username was: x)|",
        "status=error&code=401",
        "Sent: 0, failed: 1",
    ];

    /// Neither: whoever gets such an answer is not called told.
    const UNCLEAR: [&str; 8] = [
        "",
        "100",
        "{}",
        r#"{"errors":[]}"#,
        r#"{"credits":12,"text":"The backup has failed"}"#,
        "<html><body>Sign in</body></html>",
        "Welcome",
        "null",
    ];

    #[test]
    fn of_the_answers_of_real_services_each_is_what_it_says() {
        for (answers, is) in
            [(&GOOD[..], Said::Done), (&BAD[..], Said::Failed), (&UNCLEAR[..], Said::Nothing)]
        {
            let wrong: Vec<_> = answers.iter().filter(|answer| said(answer) != is).collect();
            assert!(wrong.is_empty(), "not {is:?}: {wrong:#?}");
        }
    }

    #[test]
    fn what_is_too_deep_or_no_answer_at_all_ends() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(said(&deep), Said::Nothing);
        assert_eq!(said("<<<>>><a b='c"), Said::Nothing);
        assert_eq!(said(&"=".repeat(4096)), Said::Nothing);
    }
}

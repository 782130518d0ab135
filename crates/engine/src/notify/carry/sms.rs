//! Short messages, by a gateway or a command.

use super::chat::{Meaning, Posted, address, post};
use super::{Came, Pocket, Text};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use plan::notify::{Service, Sms, SmsFormat};
use process::Words;
use serde_json::json;
use source::Program;
use std::time::Duration;

const TO: &str = "{to}";
const TEXT: &str = "{text}";

pub(super) fn send(
    sms: &Sms,
    number: &str,
    text: &Text,
    pocket: &mut Pocket,
    limit: Duration,
) -> Result<Came, String> {
    match &sms.command {
        Some(command) => by_command(command, number, &text.short, limit),
        None => by_gateway(sms, number, &text.short, pocket, limit),
    }
}

fn by_command(command: &[String], number: &str, text: &str, limit: Duration) -> Result<Came, String> {
    let named = command.iter().any(|argument| argument.contains(TEXT));
    // The number first: a text that says {to} says just that.
    let filled = command.iter().map(|argument| {
        let parts: Vec<_> = argument.split(TEXT).map(|part| part.replace(TO, number)).collect();
        let filled = parts.join(text);
        // What others have named stands in the text: it is no option of the program because it comes first.
        match argument.starts_with('{') && filled.starts_with('-') {
            true => format!(" {filled}"),
            false => filled,
        }
    });
    let program =
        Program::new(Words::written(filled)).map_err(|error| error.to_string())?.within(limit).unhurried();
    let words = (!named).then(|| text.to_owned());
    program.tell(words.as_deref().map(str::as_bytes)).map(|()| Came::Taken)
}

fn by_gateway(
    sms: &Sms,
    number: &str,
    text: &str,
    pocket: &mut Pocket,
    limit: Duration,
) -> Result<Came, String> {
    let url = pocket.get(sms.url.as_ref())?.ok_or("the plan names neither gateway nor command")?;
    let authorization = pocket.get(sms.authorization.as_ref())?;
    let meaning = Meaning { service: Service::Other, known: sms.answer.clone() };
    if url.contains(TEXT) {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let filled = url.replace(TO, &encoded(number)).replace(TEXT, &encoded(text));
        return Ok(post(&address(&filled)?, Posted::Nothing, authorization.as_deref(), limit, &meaning));
    }
    let (to, called) = (sms.to.as_deref().unwrap_or("to"), sms.text.as_deref().unwrap_or("text"));
    let body = match sms.format.unwrap_or_default() {
        SmsFormat::Json => Posted::Json(json!({ to: number, called: text })),
        SmsFormat::Form => {
            Posted::Form(vec![(to.to_owned(), number.to_owned()), (called.to_owned(), text.to_owned())])
        }
    };
    Ok(post(&address(&url)?, body, authorization.as_deref(), limit, &meaning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_begins_like_an_option_is_a_text_for_the_command_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sent");
        let script = format!("printf '%s|' \"$@\" > {}", file.display());
        let command = ["sh", "-c", &script, "sh", "--to={to}", "{text}", "text: {text}"].map(str::to_owned);
        for text in ["--config=/tmp/x", "-n; 'x' %s", "it's \"all\" {to} $(id)"] {
            by_command(&command, "+33600000001", text, Duration::from_secs(60)).unwrap();
            let first = if text.starts_with('-') { format!(" {text}") } else { text.to_owned() };
            let sent = std::fs::read_to_string(&file).unwrap();
            assert_eq!(sent, format!("--to=+33600000001|{first}|text: {text}|"));
        }
    }
}

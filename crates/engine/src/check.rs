//! Asks a system whether it works, again and again until it does or the time is up.

use crate::command::{Order, run};
use crate::net;
use plan::Check;
use source::Source;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};
use url::Url;

/// A minute: services start slowly on a cold cache.
const WITHIN: Duration = Duration::from_secs(60);
/// What the last try gets at least.
const TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// How often a page may send us on, to a page of the same server.
const SENT_ON_MAX: usize = 5;

/// Why a system doesn't work.
struct No {
    why: String,
    /// It is the same, however often it is asked.
    is_final: bool,
}

impl From<String> for No {
    fn from(why: String) -> Self {
        Self { why, is_final: false }
    }
}

/// Returns after the first success; an error is the last answer.
pub fn until_well(
    check: &Check,
    source: Option<&dyn Source>,
    stopped: &dyn Fn() -> bool,
) -> Result<(), String> {
    let within = check.within.map_or(WITHIN, |within| within.0);
    let begun = Instant::now();
    loop {
        match once(check, source, within.saturating_sub(begun.elapsed()).max(TRY)) {
            Ok(()) => return Ok(()),
            Err(no) if no.is_final || begun.elapsed() >= within || stopped() => return Err(no.why),
            Err(_) => {}
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Asks once; a program that doesn't answer within this time has not.
fn once(check: &Check, source: Option<&dyn Source>, within: Duration) -> Result<(), No> {
    match check {
        Check { http: Some(url), .. } => http(url, check.expect.unwrap_or(200), check.contains.as_deref()),
        other => besides(other, source, within).map_err(No::from),
    }
}

fn besides(check: &Check, source: Option<&dyn Source>, within: Duration) -> Result<(), String> {
    match check {
        Check { tcp: Some(address), .. } => tcp(address),
        Check { command: Some(command), .. } => exits(command, check.expect.unwrap_or(0), within),
        Check { sql: Some(query), .. } => {
            source.ok_or("there is no system whose database could be asked")?.holds_within(query, within)
        }
        Check { file: Some(path), .. } => {
            if let Some(place) = source::silent_on_the_way(Path::new(path)) {
                return Err(format!("{path}: {}", source::silence(&place)));
            }
            match std::fs::metadata(path) {
                Ok(meta) if meta.is_dir() || meta.len() > 0 => Ok(()),
                Ok(_) => Err(format!("{path} is empty")),
                Err(error) => Err(format!("{path}: {error}")),
            }
        }
        _ => Err("the check asks nothing".into()),
    }
}

/// Reads the address of a page that a check asks for.
pub(crate) fn page(url: &str) -> Result<Url, String> {
    url.parse::<Url>().map_err(|error| format!("{url}: {error}"))
}

/// Nothing secret goes out with it, so a line that isn't encrypted will do.
fn http(url: &str, expect: i64, contains: Option<&str>) -> Result<(), No> {
    let client = net::client(Duration::from_secs(10));
    let mut at = page(url)?;
    let sent_on = 300..400;
    for _ in 0..=SENT_ON_MAX {
        let mut answer = client.get(at.as_str()).call().map_err(|error| match net::certificate(&error) {
            // It is the same at the next try.
            Some(why) => No { why: format!("{url}: {why}"), is_final: true },
            None => format!("{url}: {error}").into(),
        })?;
        let status = i64::from(answer.status().as_u16());
        let next = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let next = next.filter(|_| sent_on.contains(&status) && !sent_on.contains(&expect));
        if let Some(next) = next.and_then(|next| at.join(next).ok()) {
            if !net::is_same_place(&at, &next) {
                let way_out = "name that page in the check, or expect the status of this one";
                return Err(format!("{url} sends us to {next}, and is not followed: {way_out}").into());
            }
            at = next;
            continue;
        }
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_string();
        if status != expect {
            let said: String = body.unwrap_or_default().chars().take(200).collect();
            return Err(format!("{url} answers {status} and not {expect}: {said}").into());
        }
        return match contains {
            Some(text) if !body.map_err(|error| format!("{url}: {error}"))?.contains(text) => {
                Err(format!("{url} answers, without the text {text:?}").into())
            }
            _ => Ok(()),
        };
    }
    Err(format!("{url} sends us on and on").into())
}

fn tcp(address: &str) -> Result<(), String> {
    let mut last = format!("{address} is no address");
    for address in address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

fn exits(command: &[String], expect: i64, within: Duration) -> Result<(), String> {
    let program = command.first().ok_or("an empty command")?;
    let ended = run(&Order { command, within, ..Order::default() }, &|| false)
        .map_err(|why| format!("{program} {why}"))?;
    match ended.status.code().map(i64::from) {
        Some(code) if code == expect => Ok(()),
        _ => Err(format!("{program} ended with {}: {}{}", ended.status, ended.said(300), ended.hint())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Answers one request after the other with these heads, and returns where.
    fn server(heads: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for head in heads {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        at
    }

    fn why(answer: Result<(), No>) -> String {
        answer.unwrap_err().why
    }

    #[test]
    fn a_page_is_followed_on_its_own_server_and_to_no_other() {
        let login = || "302 Found\r\nLocation: /login".to_owned();
        let ok = || "200 OK".to_owned();
        assert!(http(&server(vec![login(), ok()]), 200, Some("ok")).is_ok());
        // One that is expected is not followed at all.
        assert!(http(&server(vec![login()]), 302, None).is_ok());
        let other = server(vec![ok()]);
        let away = server(vec![format!("301 Moved\r\nLocation: {other}/")]);
        let said = why(http(&away, 200, None));
        assert!(said.contains(&format!("sends us to {other}/, and is not followed")), "{said}");
        assert!(why(http(&server(vec![login(); 9]), 200, None)).contains("on and on"));
        assert!(why(http("http://", 200, None)).contains("http://"));
    }
}

//! Asks a system whether it works, again and again until it does or the time is up.

use crate::command::{Order, run};
use plan::Check;
use source::Source;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// A minute: services start slowly on a cold cache.
const WITHIN: Duration = Duration::from_secs(60);
/// What the last try gets at least.
const TRY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);

/// Returns after the first success; an error is the last answer.
pub fn until_well(
    check: &Check,
    source: Option<&dyn Source>,
    stopped: &dyn Fn() -> bool,
) -> Result<(), String> {
    let within = check.within.map_or(WITHIN, |within| within.0);
    let begun = Instant::now();
    loop {
        let answer = once(check, source, within.saturating_sub(begun.elapsed()).max(TRY));
        if answer.is_ok() || begun.elapsed() >= within || stopped() {
            return answer;
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Asks once; a program that doesn't answer within this time has not.
fn once(check: &Check, source: Option<&dyn Source>, within: Duration) -> Result<(), String> {
    match check {
        Check { http: Some(url), .. } => http(url, check.expect.unwrap_or(200), check.contains.as_deref()),
        Check { tcp: Some(address), .. } => tcp(address),
        Check { command: Some(command), .. } => exits(command, check.expect.unwrap_or(0), within),
        Check { sql: Some(query), .. } => {
            source.ok_or("there is no system whose database could be asked")?.holds(query)
        }
        Check { file: Some(path), .. } => match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() || meta.len() > 0 => Ok(()),
            Ok(_) => Err(format!("{path} is empty")),
            Err(error) => Err(format!("{path}: {error}")),
        },
        _ => Err("the check asks nothing".into()),
    }
}

fn http(url: &str, expect: i64, contains: Option<&str>) -> Result<(), String> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .max_redirects(if (300..400).contains(&expect) { 0 } else { 5 })
        .build();
    let mut answer =
        ureq::Agent::new_with_config(config).get(url).call().map_err(|error| format!("{url}: {error}"))?;
    let status = i64::from(answer.status().as_u16());
    let body = answer.body_mut().with_config().limit(1 << 20).read_to_string();
    if status != expect {
        let said: String = body.unwrap_or_default().chars().take(200).collect();
        return Err(format!("{url} answers {status} and not {expect}: {said}"));
    }
    match contains {
        Some(text) if !body.map_err(|error| format!("{url}: {error}"))?.contains(text) => {
            Err(format!("{url} answers, without the text {text:?}"))
        }
        _ => Ok(()),
    }
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

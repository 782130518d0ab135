//! What an HTTP server says beside its answer: when to come back, and that it is not the one to ask.

use crate::mutex::lock;
use http::{HeaderMap, StatusCode};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Until when a server wants to be left alone. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    /// Takes note of an answer.
    pub(super) fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        if !matches!(status.as_u16(), 429 | 503) {
            return;
        }
        let until = retry_after(headers).and_then(|after| Instant::now().checked_add(after));
        let mut known = lock(&self.0);
        *known = until.max(*known);
    }

    /// Returns for how long it wants to be left alone yet.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = (*lock(&self.0))?.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some(left)
    }
}

/// Returns what `Retry-After` says: seconds, or a date by the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
    let said = text("retry-after")?;
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
    let now = text("date").and_then(|now| date(&now)).unwrap_or_else(jiff::Timestamp::now);
    Some(date(&said)?.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

/// Returns what to do about a server that sends us to another one: a signature is good for one alone, so that nobody goes there unasked.
pub(super) fn elsewhere(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let place = text("location").and_then(|place| {
        let url = url::Url::parse(&place).ok()?;
        Some(format!(" to {}", url.origin().ascii_serialization()))
    });
    let way_out = match text("x-amz-bucket-region") {
        Some(region) => format!("the bucket lies in another region: write region={region} in the address"),
        None => "the bucket lies in another region, or behind another endpoint: write its own in the address, region=… and endpoint=…"
            .to_owned(),
    };
    Some(format!(
        "the server sends us{} (status {}); {way_out}",
        place.unwrap_or_else(|| " elsewhere".into()),
        status.as_u16()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn when_to_come_back_is_read_as_seconds_and_as_a_date_of_the_servers_clock() {
        assert_eq!(retry_after(&headers(&[("retry-after", "8")])), Some(Duration::from_secs(8)));
        let date = headers(&[
            ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        assert_eq!(retry_after(&date), Some(Duration::from_secs(20)));
        for junk in ["", "soon", "-5", "1e9", "Sun, 99 Nov 1994"] {
            assert_eq!(retry_after(&headers(&[("retry-after", junk)])), None, "{junk}");
        }
        let past = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
    }

    #[test]
    fn a_redirect_names_the_region_and_never_permissions() {
        let said =
            elsewhere(StatusCode::TEMPORARY_REDIRECT, &headers(&[("x-amz-bucket-region", "eu-west-3")]));
        assert!(said.unwrap().contains("region=eu-west-3"));
        let said =
            elsewhere(StatusCode::TEMPORARY_REDIRECT, &headers(&[("location", "https://b.s3.example/x")]));
        let said = said.unwrap();
        assert!(said.contains("https://b.s3.example") && said.contains("endpoint=…"), "{said}");
        assert_eq!(elsewhere(StatusCode::NOT_MODIFIED, &HeaderMap::new()), None);
        assert_eq!(elsewhere(StatusCode::FORBIDDEN, &HeaderMap::new()), None);
    }
}

//! Requests that opendal has no words for (Object Lock, versions), signed with the signer that it uses itself.

use super::super::address::S3Address;
use super::super::busy::{Busy, elsewhere};
use super::super::limits::Failure;
use super::super::tempo::Tempo;
use super::judge;
use crate::{FileKind, Kind};
use opendal::ErrorKind;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// What a signature leaves as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PLAIN_PATH: AsciiSet = PLAIN.remove(b'/');

/// A page of a listing has a thousand names at most, of a thousand letters each, and what else is said of them.
const PAGE_MAX: u64 = 16 << 20;

/// Sends signed requests to one bucket.
#[derive(Debug)]
pub(super) struct Signed {
    client: reqwest::Client,
    signer: Signer<Credential>,
    /// The bucket's URL, without a slash at its end.
    bucket_url: String,
    bucket: String,
    busy: Busy,
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// The object's key; empty for the bucket itself.
    pub(super) key: &'a str,
    /// Names and values of the query; a value may be empty.
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: &'a [(&'static str, &'a str)],
    /// How long the whole exchange may take.
    pub(super) within: Duration,
}

/// What a server answered, when it did what it was asked.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// How S3 says no.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Refusal {
    code: String,
    message: String,
}

impl Signed {
    pub(super) fn new(
        client: reqwest::Client,
        busy: Busy,
        address: &S3Address,
        (access, secret, token): &(String, String, Option<String>),
    ) -> Self {
        let (bucket, region) = (&address.bucket, &address.region);
        let server = address.endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let bucket_url = match address.virtual_hosts {
            true => server.replacen("//", &format!("//{bucket}."), 1),
            false => format!("{server}/{bucket}"),
        };
        let mut keys = StaticCredentialProvider::new(access, secret);
        if let Some(token) = token {
            keys = keys.with_session_token(token);
        }
        let signer = Signer::new(Context::new(), keys, RequestSigner::new("s3", region));
        Self { client, signer, bucket_url, bucket: bucket.clone(), busy }
    }

    /// Returns how a request to copy names a version of an object.
    pub(super) fn source(&self, key: &str, version: &str) -> String {
        let path = format!("/{}/{key}", self.bucket);
        format!(
            "{}?versionId={}",
            utf8_percent_encode(&path, &PLAIN_PATH),
            utf8_percent_encode(version, &PLAIN)
        )
    }

    /// Sends a request and waits for the whole answer. Anything but success is a failure, sorted into its kind.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, Failure> {
        match timeout(ask.within, self.exchange(ask, body.into())).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Passing(format!("no answer for {} s", ask.within.as_secs_f32()))),
        }
    }

    /// Asks for one page of a listing of the bucket: it may come slowly, and is never silent for longer than `stall`.
    pub(super) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        query: &[(&str, &str)],
        stall: Duration,
        tempo: &Tempo,
    ) -> Result<T, Failure> {
        let ask = Ask { method: Method::GET, key: "", query, headers: &[], within: stall };
        let mut answer = tempo.wait(stall, self.begin(&ask, Vec::<u8>::new().into())).await??;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(piece) = tempo.wait(stall, answer.chunk()).await?.map_err(|error| lost(&error))? {
            tempo.came(piece.len() as u64);
            add(&mut body, &piece, PAGE_MAX)?;
        }
        if status.is_success() { read(&body) } else { Err(refused(status, &body)) }
    }

    async fn exchange(&self, ask: &Ask<'_>, body: reqwest::Body) -> Result<Answer, Failure> {
        let mut answer = self.begin(ask, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| lost(&error))? {
            add(&mut body, &piece, FileKind::Pack.length_max())?;
        }
        if status.is_success() {
            Ok(Answer { status: status.as_u16(), headers, body })
        } else {
            Err(refused(status, &body))
        }
    }

    /// Sends a request and waits for the head of its answer.
    async fn begin(&self, ask: &Ask<'_>, body: reqwest::Body) -> Result<reqwest::Response, Failure> {
        let odd = |error: String| Failure::Final(Kind::Io(io::Error::other(error)));
        let query: Vec<String> = ask
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, &PLAIN)))
            .collect();
        let url = format!(
            "{}/{}{}{}",
            self.bucket_url,
            utf8_percent_encode(ask.key, &PLAIN_PATH),
            if query.is_empty() { "" } else { "?" },
            query.join("&")
        );
        let mut request = http::Request::builder().method(ask.method.clone()).uri(url);
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        let (mut parts, body) = request.body(body).map_err(|error| odd(error.to_string()))?.into_parts();
        self.signer.sign(&mut parts, None).await.map_err(|error| odd(error.to_string()))?;
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))
            .map_err(|error| odd(error.to_string()))?;
        let answer = self.client.execute(request).await.map_err(|error| lost(&error))?;
        self.busy.hear(answer.status(), answer.headers());
        match elsewhere(answer.status(), answer.headers()) {
            Some(what) => Err(Failure::Final(Kind::BadAddress(what))),
            None => Ok(answer),
        }
    }
}

/// Adds a piece of an answer, unless it grows longer than any.
fn add(body: &mut Vec<u8>, piece: &[u8], most: u64) -> Result<(), Failure> {
    if body.len() as u64 + piece.len() as u64 > most {
        let what = "the answer is longer than any that makes sense, and is not read";
        return Err(Failure::Final(Kind::Damaged(what.into())));
    }
    body.extend_from_slice(piece);
    Ok(())
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said: Refusal = std::str::from_utf8(body)
        .ok()
        .and_then(|body| quick_xml::de::from_str(body).ok())
        .unwrap_or_default();
    let text = match (said.code.as_str(), said.message.as_str()) {
        ("", _) => status.to_string(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    if matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) || said.code == "BadDigest" {
        return Failure::Passing(text);
    }
    let kind = match status.as_u16() {
        403 => ErrorKind::PermissionDenied,
        // Expired keys, asked for the head alone.
        400 if body.is_empty() => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        416 => ErrorKind::RangeNotSatisfied,
        _ => ErrorKind::Unexpected,
    };
    judge(kind, &said.code, text)
}

/// The way there or back was lost. A certificate that isn't trusted stays so.
fn lost(error: &reqwest::Error) -> Failure {
    if let Some(tls) = crate::store::certificate(error) {
        return Failure::Final(Kind::Refused(tls));
    }
    let mut deepest = error.source();
    while let Some(next) = deepest.and_then(|error| error.source()) {
        deepest = Some(next);
    }
    Failure::Passing(deepest.map_or_else(|| error.to_string(), ToString::to_string))
}

/// Reads the XML of a good answer.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(body).map_err(|error| Failure::Passing(error.to_string()))?;
    quick_xml::de::from_str(text)
        .map_err(|error| Failure::Passing(format!("an answer that is no XML: {error}")))
}

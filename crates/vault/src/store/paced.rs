//! The HTTP of an S3 store: uploads that are held to a rate are sent piece by piece, and what a server says beside its answers is heard.

use super::busy::{Busy, elsewhere};
use super::pace::SMALL;
use super::{FileKind, Pace};
use futures_util::stream;
use http::{Request, Response};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;

/// Sends long bodies at their pace; all else goes to `inner`.
pub(super) struct Paced {
    inner: ReqwestTransport,
    client: reqwest::Client,
    pace: Option<Pace>,
    busy: Busy,
}

impl Paced {
    pub(super) fn new(client: reqwest::Client, pace: Option<Pace>, busy: Busy) -> Self {
        Self { inner: ReqwestTransport::new(client.clone()), client, pace, busy }
    }

    async fn send(&self, request: Request<Buffer>, pace: Pace) -> reqwest::Result<Response<Buffer>> {
        let (parts, body) = request.into_parts();
        let body = pieces(body, pace);
        // The length is in the headers: the store has signed it.
        let answer = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body)
            .send()
            .await?;
        let mut response = Response::new(Buffer::new());
        *response.status_mut() = answer.status();
        *response.version_mut() = answer.version();
        *response.headers_mut() = answer.headers().clone();
        // What a store says of an upload is short.
        *response.body_mut() = Buffer::from(answer.bytes().await?);
        Ok(response)
    }
}

/// Returns a body to be sent, a long one at its pace. The request has to name its length.
pub(super) fn body(bytes: Buffer, pace: Option<&Pace>) -> reqwest::Body {
    match pace {
        Some(pace) if bytes.len() >= SMALL => pieces(bytes, pace.clone()),
        _ => bytes.to_bytes().into(),
    }
}

fn pieces(bytes: Buffer, pace: Pace) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::unfold(bytes, move |mut rest| {
        let pace = pace.clone();
        async move {
            let piece = rest.slice(..pace.piece().min(rest.len())).to_bytes();
            if piece.is_empty() {
                return None;
            }
            pace.turn(piece.len()).await;
            rest = rest.slice(piece.len()..);
            Some((Ok::<_, std::convert::Infallible>(piece), rest))
        }
    }))
}

impl Paced {
    async fn exchange(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let Some(pace) = self.pace.clone().filter(|_| request.body().len() >= SMALL) else {
            return self.inner.fetch(request).await;
        };
        let uri = request.uri().clone();
        let answer = self.send(request, pace).await.map_err(|error| {
            let passing = error.is_request() || error.is_body() || error.is_decode();
            Error::new(ErrorKind::Unexpected, "send http request")
                .with_operation("paced::send")
                .with_context("url", uri.to_string())
                .with_temporary(passing)
                .set_source(error.without_url())
        })?;
        let (mut parts, body) = answer.into_parts();
        parts.extensions.insert(uri);
        let length = body.len() as u64;
        Ok(Response::from_parts(parts, HttpBody::new(stream::iter([Ok(body)]), Some(length))))
    }
}

/// Returns how long the longest answer to a request for a file can be, by the file's path.
fn longest(path: &str) -> u64 {
    let mut parts = path.rsplit('/');
    let (name, folder) = (parts.next(), parts.next());
    let small = [FileKind::Key, FileKind::Lock, FileKind::Snapshot, FileKind::Index];
    match small.into_iter().find(|kind| folder == Some(kind.folder())) {
        _ if name == Some("config") => FileKind::Config.length_max(),
        Some(kind) => kind.length_max(),
        None => FileKind::Pack.length_max(),
    }
}

impl HttpTransport for Paced {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let is_head = request.method() == http::Method::HEAD;
        let most = (request.method() == http::Method::GET).then(|| longest(request.uri().path()));
        let answer = self.exchange(request).await?;
        let status = answer.status();
        self.busy.hear(status, answer.headers());
        if let Some(what) = elsewhere(status, answer.headers()) {
            return Err(Error::new(ErrorKind::ConfigInvalid, what));
        }
        // What announces that it is longer than any file of its kind isn't waited for.
        let length = answer.headers().get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if let Some((length, most)) = length.zip(most).filter(|(length, most)| length > most) {
            let what = format!("{length} bytes are announced, it is not read, none has more than {most}");
            return Err(Error::new(ErrorKind::RangeNotSatisfied, what));
        }
        // Keys that have expired are refused so, and where there is no body it isn't said in words.
        if is_head && status == http::StatusCode::BAD_REQUEST {
            return Err(Error::new(ErrorKind::PermissionDenied, ""));
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_answer_may_be_is_seen_by_what_is_asked_for() {
        let hash = "ab".repeat(32);
        for (path, kind) in [
            ("/bucket/config".to_owned(), FileKind::Config),
            ("/bucket/keys/config".to_owned(), FileKind::Config),
            (format!("/bucket/prefix/keys/{hash}"), FileKind::Key),
            (format!("/locks/{hash}"), FileKind::Lock),
            (format!("/bucket/snapshots/{hash}"), FileKind::Snapshot),
            (format!("/bucket/index/{hash}"), FileKind::Index),
            (format!("/bucket/keys/data/ab/{hash}"), FileKind::Pack),
        ] {
            assert_eq!(longest(&path), kind.length_max(), "{path}");
        }
    }
}

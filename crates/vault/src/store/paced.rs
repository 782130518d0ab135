//! The HTTP of an S3 store whose uploads are held to a rate: their bodies are sent piece by piece.

use super::Pace;
use super::pace::SMALL;
use futures_util::stream;
use http::{Request, Response};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;

/// Sends long bodies at their pace; all else goes to `inner`.
pub(super) struct Paced {
    inner: ReqwestTransport,
    client: reqwest::Client,
    pace: Pace,
}

impl Paced {
    pub(super) fn new(client: reqwest::Client, pace: Pace) -> Self {
        Self { inner: ReqwestTransport::new(client.clone()), client, pace }
    }

    async fn send(&self, request: Request<Buffer>) -> reqwest::Result<Response<Buffer>> {
        let (parts, body) = request.into_parts();
        let body = pieces(body, self.pace.clone());
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

impl HttpTransport for Paced {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        if request.body().len() < SMALL {
            return self.inner.fetch(request).await;
        }
        let uri = request.uri().clone();
        let answer = self.send(request).await.map_err(|error| {
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

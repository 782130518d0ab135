//! A web server that keeps what it is sent.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Sent {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header `Authorization`, if there was one.
    pub authorization: Option<String>,
    /// The header `Content-Type`; empty where there was none.
    pub kind: String,
    /// The body.
    pub body: String,
}

#[derive(Debug)]
struct Kept {
    sent: Mutex<Vec<Sent>>,
    /// What it answers with, in turn; the last one for ever.
    answers: Vec<(StatusCode, Option<String>)>,
}

/// A web server on a free port of this machine. It stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    kept: Arc<Kept>,
    runtime: Option<Runtime>,
}

impl Receiver {
    /// How many seconds one that answers 429 wants to be left alone.
    pub const LEFT_ALONE: u32 = 20;

    /// Starts a server that answers with this status: a good one as ntfy does what ntfy takes and as others do the rest, a bad one with what it was sent.
    #[must_use]
    pub fn start(status: u16) -> Self {
        Self::with(vec![(StatusCode::from_u16(status).unwrap(), None)])
    }

    /// Starts a server that gives these answers in turn, and the last one from then on.
    #[must_use]
    pub fn answering(answers: &[(u16, &str)]) -> Self {
        let answer =
            |(status, body): &(u16, &str)| (StatusCode::from_u16(*status).unwrap(), Some((*body).to_owned()));
        Self::with(answers.iter().map(answer).collect())
    }

    fn with(answers: Vec<(StatusCode, Option<String>)>) -> Self {
        let runtime = Runtime::new().unwrap();
        let kept = Arc::new(Kept { sent: Mutex::default(), answers });
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Router::new().fallback(keep).with_state(Arc::clone(&kept));
        runtime.spawn(async move { axum::serve(listener, pages).await });
        Self { port, kept, runtime: Some(runtime) }
    }

    /// Returns its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns all that it was sent, oldest first.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.kept.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn keep(
    State(kept): State<Arc<Kept>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let sent = Sent {
        method: method.to_string(),
        path: uri.to_string(),
        authorization: header("authorization"),
        kind: header("content-type").unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let echo = format!("{} {} {:?}", sent.path, sent.body, sent.authorization);
    let is_of_ntfy = sent.body.contains("\"topic\"");
    let mut all = kept.sent.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, said) = kept.answers.get(all.len()).or(kept.answers.last()).cloned().unwrap();
    all.push(sent);
    let usual = match (status.is_success(), is_of_ntfy) {
        (false, _) => echo,
        (true, true) => "{\"id\":\"sPs71M8A2T\",\"event\":\"message\"}".to_owned(),
        (true, false) => "ok".to_owned(),
    };
    let mut headers = HeaderMap::new();
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert("retry-after", Receiver::LEFT_ALONE.into());
    }
    (status, headers, said.unwrap_or(usual))
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

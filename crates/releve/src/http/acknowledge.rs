//! The links in messages: a page with a button, which acknowledges when it is pressed.
//!
//! Only the button does. Programs that scan mail open every link before anybody has read it, and that must not count.

use crate::session::Session;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use engine::notify::{Answer, Notifier};
use engine::{Error, Result};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plan::PersonName;
use plan::notify::{Language, language};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// How many are answered at once. The agent has other things to do with its open files.
const AT_ONCE: usize = 64;
/// How long one connection may last.
const WITHIN: Duration = Duration::from_secs(30);
/// How long nothing is accepted after an error that may pass, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers links until it is dropped.
pub(crate) struct Links {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Links {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Begins to answer links where the plan says. That another program listens there is an error.
pub(crate) fn listen(session: Session) -> Result<Links> {
    let at = session
        .plan
        .notify
        .as_ref()
        .map_or(plan::notify::Notify::LISTEN, |notify| notify.listen())
        .to_owned();
    let failed = |error: std::io::Error| {
        Error::new(format!("listen on {at} for acknowledgements: {error}"))
            .help("notify.listen names another address; `releve agent` and `releve notify serve` both listen")
    };
    let listener = TcpListener::bind(&at).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let pages = Router::new()
        .route("/ack/{token}", get(show).post(take))
        .fallback(nothing_here)
        .with_state(Arc::new(session));
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = serve(listener, pages) => {}
                _ = stopped => {}
            }
        });
        // What is being answered right now is not waited for.
        runtime.shutdown_background();
    });
    Ok(Links { stop: Some(stop), thread: Some(thread) })
}

async fn serve(listener: TcpListener, pages: Router) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(pages.clone());
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            let connection = server
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever hangs up or dawdles is not missed.
            let _ = tokio::time::timeout(WITHIN, connection).await;
            drop(place);
        });
    }
}

async fn show(
    State(session): State<Arc<Session>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    page(session, token, &headers, false).await
}

async fn take(
    State(session): State<Arc<Session>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    page(session, token, &headers, true).await
}

async fn nothing_here() -> Response {
    answer(StatusCode::NOT_FOUND, Language::English, "There is nothing here.", None)
}

/// Looks at a token, or takes it. The state is a file, which may make one wait.
async fn page(session: Arc<Session>, token: String, headers: &HeaderMap, take: bool) -> Response {
    let preferred =
        headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let guess = if preferred.starts_with("fr") { Language::French } else { Language::English };
    let done = tokio::task::spawn_blocking(move || {
        let state = session.state()?;
        let holder = session.run_holder();
        let notifier = session.notifier(&state, &holder);
        let came = if take { notifier.acknowledge(&token, "link") } else { notifier.look(&token) };
        came.map(|answer| (said(&notifier, &answer, guess), answer))
    });
    match done.await {
        Ok(Ok(((language, text), came))) => {
            let status = match came {
                Answer::Acknowledged { .. } | Answer::Open { .. } => StatusCode::OK,
                Answer::Already { .. } => StatusCode::CONFLICT,
                Answer::Expired { .. } => StatusCode::GONE,
                Answer::Unknown => StatusCode::NOT_FOUND,
                Answer::Forged => StatusCode::FORBIDDEN,
            };
            let button =
                matches!(came, Answer::Open { .. }).then(|| in_language(language, "I have it", "Bien reçu"));
            answer(status, language, &text, button)
        }
        // What went wrong is for those who run the agent, and not for whoever asks.
        Ok(Err(_)) | Err(_) => {
            let text = in_language(
                guess,
                "This can't be noted just now. Try again, or type releve ack where Relève runs.",
                "Ceci ne peut être noté pour l'instant. Réessayez, ou tapez releve ack là où tourne Relève.",
            );
            answer(StatusCode::SERVICE_UNAVAILABLE, guess, text, None)
        }
    }
}

fn in_language<'a>(language: Language, english: &'a str, french: &'a str) -> &'a str {
    match language {
        Language::English => english,
        Language::French => french,
    }
}

/// Returns what a person is told, and in which language: their own, where it is known who they are.
fn said(notifier: &Notifier<'_>, answer: &Answer, guess: Language) -> (Language, String) {
    let of = |person: &str| language(notifier.plan, &PersonName::from(person));
    let at = |time: &jiff::Timestamp| {
        time.to_zoned(notifier.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    };
    let name = |person: &str| {
        notifier.plan.people.get(person).map_or(person.to_owned(), |person| person.name.clone())
    };
    match answer {
        Answer::Open { person, about } => {
            let name = name(person);
            let text = in_language(
                of(person),
                "Say that you have this message:",
                "Confirmez que vous avez ce message :",
            );
            (of(person), format!("{name}. {text} {about}"))
        }
        Answer::Acknowledged { person, about } => {
            let text = in_language(
                of(person),
                "Noted. You have this message:",
                "C'est noté. Vous avez ce message :",
            );
            (of(person), format!("{text} {about}"))
        }
        Answer::Already { person, at: when, .. } => {
            let text =
                in_language(of(person), "This was acknowledged already, at", "Ceci a déjà été confirmé, le");
            (of(person), format!("{text} {}.", at(when)))
        }
        Answer::Expired { at: when } => {
            let text = in_language(
                guess,
                "Too late: this is not an acknowledgement any more. Its time was over at",
                "Trop tard : ceci n'est plus une confirmation. Le délai a pris fin le",
            );
            (guess, format!("{text} {}.", at(when)))
        }
        Answer::Unknown => {
            let text = in_language(
                guess,
                "No such message is known here. Nothing was acknowledged.",
                "Aucun message de ce genre n'est connu ici. Rien n'a été confirmé.",
            );
            (guess, text.to_owned())
        }
        Answer::Forged => {
            let text = in_language(
                guess,
                "This link is not one of ours, or was changed on its way. Nothing was acknowledged.",
                "Ce lien n'est pas des nôtres, ou il a été altéré. Rien n'a été confirmé.",
            );
            (guess, text.to_owned())
        }
    }
}

fn answer(status: StatusCode, language: Language, text: &str, button: Option<&str>) -> Response {
    let lang = in_language(language, "en", "fr");
    let text = escaped(text);
    let form = button.map_or_else(String::new, |button| {
        format!("<form method=\"post\"><button type=\"submit\">{}</button></form>", escaped(button))
    });
    let page = format!(
        "<!doctype html><html lang=\"{lang}\"><head><meta charset=\"utf-8\"><title>Relève</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <style>body{{font:1.2em sans-serif;max-width:30em;margin:3em auto;padding:0 1em}}button{{font:inherit;padding:.7em 2em}}</style>\
         </head><body><p>{text}</p>{form}</body></html>"
    );
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    let headers: HeaderMap = headers
        .map(|(name, value): (HeaderName, &'static str)| (name, HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    (status, headers, Html(page)).into_response()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_name_cannot_be_a_piece_of_the_page() {
        assert_eq!(escaped("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }
}

//! The links in messages: a page with a button, which acknowledges when it is pressed.
//!
//! Only the button does. Programs that scan mail open every link before anybody has read it, and that must not count.

use super::guests::{Guests, Seat};
use crate::session::Session;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use engine::notify::{Answer, Notifier, Seal};
use engine::{Error, Result};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use plan::PersonName;
use plan::notify::{Language, language};
use std::net::TcpListener;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How long one connection may last.
const WITHIN: Duration = Duration::from_secs(30);
/// How long one may take to say what he wants: a few hundred bytes.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How much he may say of it.
const ASKED_BYTES: usize = 16 << 10;
/// How long the key is kept, once it was read: it may come from a program, and whoever guesses must not make us start one for each guess.
const KEY_FOR: Duration = Duration::from_secs(10);
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
        .with_state(Arc::new(Door { session, seal: Mutex::default() }));
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
    let guests = Arc::new(Mutex::new(Guests::default()));
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(seat) = locked(&guests).admit(from.ip()) else { continue };
        let (pages, guests) = (pages.clone(), Arc::clone(&guests));
        tokio::spawn(async move {
            let number = seat.number;
            receive(stream, seat, pages).await;
            locked(&guests).leave(number);
        });
    }
}

/// Answers one, who is not missed where he hangs up or dawdles, or where somebody else needs his place while he has said nothing.
async fn receive(stream: TcpStream, seat: Seat, pages: Router) {
    let Seat { asked, gone, .. } = seat;
    let pages = TowerToHyperService::new(pages);
    let asks = Arc::clone(&asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        asks.store(true, Relaxed);
        pages.call(request)
    });
    let mut server = http1::Builder::new();
    let connection = server
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(ASK_WITHIN)
        .max_buf_size(ASKED_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let is_silent = async {
        tokio::time::sleep(ASK_WITHIN).await;
        if asked.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(WITHIN, connection) => {}
        () = is_silent => {}
        _ = gone => {}
    }
}

fn locked<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the pages rest on.
struct Door {
    session: Session,
    /// What tells our tokens from others, and when it was made.
    seal: Mutex<Option<(Instant, Arc<Seal>)>>,
}

impl Door {
    /// Returns whether a token was signed with the plan's key. Whoever has none gets no further: not to the state, and not to a program that prints the key.
    fn is_ours(&self, token: &str) -> Result<bool> {
        if !Seal::is_one(token) {
            return Ok(false);
        }
        let mut seal = locked(&self.seal);
        let known = seal.as_ref().filter(|(made, _)| made.elapsed() < KEY_FOR);
        let known = match known.map(|(_, known)| Arc::clone(known)) {
            Some(known) => known,
            None => {
                let new = Arc::new(Seal::of(&self.session.plan, self.session.secrets())?);
                *seal = Some((Instant::now(), Arc::clone(&new)));
                new
            }
        };
        Ok(known.fits(token))
    }
}

async fn show(State(door): State<Arc<Door>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    page(door, token, &headers, false).await
}

async fn take(State(door): State<Arc<Door>>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    page(door, token, &headers, true).await
}

async fn nothing_here() -> Response {
    answer(StatusCode::NOT_FOUND, Language::English, "There is nothing here.", None)
}

/// Looks at a token, or takes it. The state is a file, which may make one wait: it is opened for tokens of ours alone.
async fn page(door: Arc<Door>, token: String, headers: &HeaderMap, take: bool) -> Response {
    let preferred =
        headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let guess = if preferred.starts_with("fr") { Language::French } else { Language::English };
    let done = tokio::task::spawn_blocking(move || {
        if !door.is_ours(&token)? {
            return Ok((forged(guess), Answer::Forged));
        }
        let session = &door.session;
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
        Answer::Forged => forged(guess),
    }
}

/// Returns what one is told whose token is not ours.
fn forged(guess: Language) -> (Language, String) {
    let text = in_language(
        guess,
        "This link is not one of ours, or was changed on its way. Nothing was acknowledged.",
        "Ce lien n'est pas des nôtres, ou il a été altéré. Rien n'a été confirmé.",
    );
    (guess, text.to_owned())
}

fn answer(status: StatusCode, language: Language, text: &str, button: Option<&str>) -> Response {
    let lang = in_language(language, "en", "fr");
    let text = escaped(&plain::line(text));
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

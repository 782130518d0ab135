//! Carries on calls to people, and answers the links in messages. A thread of its own: a backup may take hours, and people can't wait that long.

use crate::http;
use crate::session::Session;
use crate::show::{self, Screen};
use engine::notify::Standing;
use engine::{Error, Result, mishap};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked whether somebody is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it is not tried again to listen, after it could not be done.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);

/// How long the end waits for a message that is on its way. One that takes longer is left: who comes after goes on with it.
const END_WITHIN: Duration = Duration::from_secs(2);

/// The thread that tells people. Dropped, it ends, and links are answered no more.
pub(super) struct People {
    stop: Arc<AtomicBool>,
    links: Arc<Mutex<Option<http::Links>>>,
    thread: Option<JoinHandle<()>>,
}

impl People {
    /// Begins, if the plan says how people are told.
    pub(super) fn keep(session: &Session, screen: &Arc<Screen>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let links = Arc::default();
        let thread = session.plan.notify.is_some().then(|| {
            let (session, screen, stop) = (session.clone(), Arc::clone(screen), Arc::clone(&stop));
            let links = Arc::clone(&links);
            std::thread::spawn(move || Keeper { session, screen, said: BTreeMap::new() }.keep(&stop, &links))
        });
        Self { stop, links, thread }
    }
}

impl Drop for People {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        drop(self.links.lock().unwrap_or_else(PoisonError::into_inner).take());
        end(self.thread.take());
    }
}

/// Waits for a thread that was told to end, as long as a message that is on its way may take.
pub(super) fn end(thread: Option<JoinHandle<()>>) {
    let Some(thread) = thread else { return };
    thread.thread().unpark();
    let until = Instant::now() + END_WITHIN;
    while !thread.is_finished() && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

struct Keeper {
    session: Session,
    screen: Arc<Screen>,
    /// What was said last of each call, and of listening: the same is told once.
    said: BTreeMap<String, String>,
}

impl Keeper {
    fn keep(mut self, stop: &AtomicBool, links: &Mutex<Option<http::Links>>) {
        let wants_links = self.session.plan.notify.as_ref().is_some_and(|notify| notify.link.is_some());
        let mut listens = false;
        let mut tried: Option<Instant> = None;
        while !stop.load(Relaxed) {
            if wants_links && !listens && tried.is_none_or(|tried| tried.elapsed() >= LISTEN_AGAIN) {
                tried = Some(Instant::now());
                match http::listen(self.session.clone()) {
                    Ok(listening) => {
                        *links.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening);
                        listens = true;
                        self.say("links", "acknowledgement links are answered".to_owned());
                    }
                    Err(error) => {
                        self.say("links", format!("acknowledgement links are not answered: {error}"));
                    }
                }
            }
            if let Err(error) = mishap::caught(|| self.advance()) {
                self.say("calls", format!("people can't be told: {error}"));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn advance(&mut self) -> Result<()> {
        let state = self.session.state()?;
        let holder = self.session.run_holder();
        let standings = self.session.notifier(&state, &holder).advance_all()?;
        for (name, standing) in standings {
            let text = match standing {
                Ok(standing) => said(&standing),
                Err(Error { message, .. }) => format!("not carried on: {message}"),
            };
            self.say(&format!("call {name}"), text);
        }
        Ok(())
    }

    fn say(&mut self, about: &str, text: String) {
        if self.said.get(about) != Some(&text) {
            self.screen.line(&format!("{about}: {text}"));
            self.said.insert(about.to_owned(), text);
        }
    }
}

/// Says how a call stands.
pub(in crate::cli) fn said(standing: &Standing) -> String {
    match standing {
        Standing::Answered { person, at } => format!("{person} has it, since {}", show::time(*at)),
        // Another process is just telling: the time to answer begins when it has arrived.
        Standing::Waiting { person, until } if *until <= Timestamp::now() => {
            format!("{person} is being told")
        }
        Standing::Waiting { person, until } => {
            format!("{person} was told, and has until {} to answer", show::time(*until))
        }
        Standing::Trying { person, why, .. } if why.is_empty() => format!("{person} is being told"),
        Standing::Trying { person, again, why } => {
            format!("{person} could NOT be told yet, it is tried again at {}: {why}", show::time(*again))
        }
        Standing::Told { person, at } => format!("{person} was told, at {}", show::time(*at)),
        Standing::Nobody => "NOBODY has answered in time".to_owned(),
        Standing::Unreached => "NOBODY could be reached: nobody knows of it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_until_now_to_answer() {
        let waiting = |until| said(&Standing::Waiting { person: "ann".into(), until });
        assert_eq!(waiting(Timestamp::now()), "ann is being told");
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        assert!(waiting(later).starts_with("ann was told, and has until"));
    }
}

//! What people say to a recovery that is under way, from wherever they are: pause, go on, end it, what became of a step, what they answer.

use super::Journal;
use crate::Reply;
use plan::{PersonName, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Something that is said to a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "lowercase")]
pub enum Word {
    /// Nothing new is begun until somebody says to go on.
    Pause {
        /// Why.
        because: String,
    },
    /// It goes on.
    GoOn,
    /// It ends: nothing new is begun, and commands that run are stopped.
    Abort {
        /// Why.
        because: String,
    },
    /// What became of a step.
    Verdict {
        /// Its place.
        step: usize,
        /// What.
        verdict: Verdict,
    },
    /// An answer to what a step asks.
    Answer {
        /// Its place.
        step: usize,
        /// Who answers.
        by: Option<PersonName>,
        /// What.
        answer: String,
    },
}

/// What was said so far.
pub(super) struct Talk<'a> {
    journal: Option<&'a dyn Journal>,
    answers: Mutex<BTreeMap<usize, Vec<Reply>>>,
    paused: Mutex<Option<String>>,
    aborted: Mutex<Option<String>>,
    left: AtomicBool,
}

/// What is to be done because of what was said.
pub(super) enum Heard {
    /// It is paused, or not any more; why.
    Paused(Option<String>),
    /// It ends.
    Aborted(String),
    /// A person says what became of a step. Once that is noted, the word is forgotten.
    Verdict { key: String, step: usize, verdict: Verdict },
}

impl<'a> Talk<'a> {
    pub(super) fn new(journal: Option<&'a dyn Journal>) -> Self {
        Self {
            journal,
            answers: Mutex::default(),
            paused: Mutex::default(),
            aborted: Mutex::default(),
            left: AtomicBool::new(false),
        }
    }

    /// Listens. What can't be read is heard the next time.
    pub(super) fn listen(&self) -> Vec<Heard> {
        let Some(journal) = self.journal else { return Vec::new() };
        let Ok(words) = journal.words() else { return Vec::new() };
        let (mut heard, mut answers) = (Vec::new(), BTreeMap::<usize, Vec<Reply>>::new());
        let (mut paused, mut pauses) = (None, Vec::new());
        for (key, word) in words {
            match word {
                Word::Pause { because } => {
                    pauses.push(key);
                    paused = Some(because);
                }
                Word::GoOn => {
                    paused = None;
                    for key in pauses.drain(..).chain([key]) {
                        journal.forget(&key);
                    }
                }
                Word::Abort { because } => {
                    journal.forget(&key);
                    *lock(&self.aborted) = Some(because.clone());
                    heard.push(Heard::Aborted(because));
                }
                Word::Verdict { step, verdict } => heard.push(Heard::Verdict { key, step, verdict }),
                Word::Answer { step, by, answer } => {
                    answers.entry(step).or_default().push(Reply { answer, by });
                }
            }
        }
        *lock(&self.answers) = answers;
        let mut was = lock(&self.paused);
        if *was != paused {
            heard.push(Heard::Paused(paused.clone()));
            *was = paused;
        }
        heard
    }

    /// Forgets that a verdict was said.
    pub(super) fn forget(&self, key: &str) {
        if let Some(journal) = self.journal {
            journal.forget(key);
        }
    }

    /// Returns what was answered to a step.
    pub(super) fn answers(&self, step: usize) -> Vec<Reply> {
        lock(&self.answers).get(&step).cloned().unwrap_or_default()
    }

    /// Notes an answer that was given here, so that it counts after a crash.
    pub(super) fn note_answer(&self, step: usize, reply: &Reply) {
        if let Some(journal) = self.journal {
            let _ = journal.say(&Word::Answer { step, by: reply.by.clone(), answer: reply.answer.clone() });
        }
        let mut answers = lock(&self.answers);
        let of_step = answers.entry(step).or_default();
        if !of_step.contains(reply) {
            of_step.push(reply.clone());
        }
    }

    /// Returns whether anybody elsewhere can be heard.
    pub(super) fn hears(&self) -> bool {
        self.journal.is_some_and(Journal::hears)
    }

    /// Returns whether nothing new is begun for now.
    pub(super) fn is_paused(&self) -> bool {
        lock(&self.paused).is_some()
    }

    /// Returns why nothing new is begun for now, if nothing is.
    pub(super) fn paused(&self) -> Option<String> {
        lock(&self.paused).clone()
    }

    /// Returns whether it is to end.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.aborted).is_some()
    }

    /// From here on nothing new is begun, and nobody is waited for: this process leaves. Returns whether that is new.
    pub(super) fn leave(&self) -> bool {
        !self.left.swap(true, Relaxed)
    }

    /// Returns whether this process leaves, and another goes on.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    /// Returns whether nothing new is begun for either reason.
    pub(super) fn is_ending(&self) -> bool {
        self.is_over() || self.is_left()
    }

    /// Returns why it was ended, if it was.
    pub(super) fn aborted(&self) -> Option<String> {
        lock(&self.aborted).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! What a line of a timeline says, in the organisation's language. What people have written stands as they wrote it, and so does what a step does.

use super::view::{Action, ActionState, Line, What};
use crate::NOT_DONE;
use crate::notify::line;
use plan::notify::Language;
use state::{Check, StepEntry};

/// How much of one text a line shows, in characters; the record has all of it.
const SHOWN_MAX: usize = 2_000;

/// Returns the words in a language.
pub(super) const fn say(language: Language, english: &'static str, french: &'static str) -> &'static str {
    match language {
        Language::English => english,
        Language::French => french,
    }
}

/// Makes one line of what somebody or something else has written.
pub(super) fn plain(text: &str) -> String {
    line(text, SHOWN_MAX)
}

/// Writes a length of time as people say it in both languages: `2 h 05 min`, `34.0 s`.
pub(super) fn length(seconds: f64, language: Language) -> String {
    if seconds < 60.0 {
        let text = format!("{seconds:.1} s");
        return if language == Language::French { text.replace('.', ",") } else { text };
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes, rest) =
        (whole / 86_400, whole % 86_400 / 3_600, whole % 3_600 / 60, whole % 60);
    let day = say(language, "d", "j");
    match (days, hours) {
        (0, 0) => format!("{minutes} min {rest:02} s"),
        (0, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} {day} {hours} h"),
    }
}

/// As [`length`], beside what was promised: where it is more than that and would read the same, with how much more.
pub(super) fn length_against(seconds: f64, promise: Option<u64>, language: Language) -> String {
    let said = length(seconds, language);
    match promise.map(|promise| promise as f64) {
        Some(promise) if seconds > promise && said == length(promise, language) => {
            format!("{said} (+ {})", length((seconds - promise).max(0.1), language))
        }
        _ => said,
    }
}

impl Line {
    /// Returns what happened, in one line, without time and person.
    #[must_use]
    pub fn text(&self, language: Language) -> String {
        let say = |english, french| say(language, english, french);
        let (colon, then) = (say(":", " :"), say("; ", " ; "));
        match &self.what {
            What::Opened { scenario, seen, signal } => {
                let mut text = say("opened", "ouvert").to_owned();
                if let Some(scenario) = scenario {
                    text.push_str(&format!(", {} {}", say("scenario", "scénario"), plain(scenario)));
                }
                for (what, said) in [(say("signal", "signal"), signal), (say("seen", "constaté"), seen)] {
                    if let Some(said) = said {
                        text.push_str(&format!("{then}{what}{colon} {}", plain(said)));
                    }
                }
                text
            }
            What::Signal { text } => format!("signal{colon} {}", plain(text)),
            What::Note { text } => plain(text),
            What::Decision { what, because } => {
                let (decided, since) = (say("decided", "décidé"), say("because", "parce que"));
                format!("{decided}{colon} {}{then}{since}{colon} {}", plain(what), plain(because))
            }
            What::Assigned { role, system, action, what, person } => {
                let person = person.as_deref().map_or(say("nobody", "personne"), |person| person);
                let what = match (role, action) {
                    (Some(role), _) => role_text(role, system.as_deref(), language),
                    (None, Some(action)) => {
                        format!("action {action} ({})", plain(what.as_deref().unwrap_or_default()))
                    }
                    (None, None) => String::new(),
                };
                format!("{what}{colon} {} {}", say("now", "désormais"), plain(person))
            }
            What::Added { action, what, who } => {
                let who = who.as_deref().map_or_else(String::new, |who| format!(" ({})", plain(who)));
                format!("{} {action}{colon} {}{who}", say("new action", "nouvelle action"), plain(what))
            }
            What::Done { action, what } => {
                format!("action {action} {}{colon} {}", say("done", "faite"), plain(what))
            }
            What::Step(step) => step_text(step, language),
            What::Message { person, about, tries, reached } => {
                let by = tries.iter().find(|tried| tried.outcome == "taken" || tried.outcome == "late");
                let by = by.map_or_else(String::new, |tried| {
                    format!(" {} {} ({})", say("by", "par"), plain(&tried.way), plain(&tried.through))
                });
                let outcome = match reached {
                    true => say("told", "prévenu"),
                    false
                        if tries.iter().any(|tried| matches!(tried.outcome.as_str(), "not_yet" | "late")) =>
                    {
                        say("NOT REACHED YET", "PAS ENCORE JOINT")
                    }
                    false => say("NOT REACHED", "NON JOINT"),
                };
                format!("{outcome}{colon} {}{by}{colon} {}", plain(person), plain(about))
            }
            What::Answer { person, about, by, seconds } => {
                let after = seconds.map_or_else(String::new, |seconds| {
                    format!(" {} {}", say("after", "après"), length(seconds, language))
                });
                let answered = say("has answered", "a répondu");
                format!("{} {answered}{after} ({by}){colon} {}", plain(person), plain(about))
            }
            What::Answered(said) => {
                let word = match said.answer.as_str() {
                    "" => say("has done", "a fait").to_owned(),
                    "approve" => say("has approved", "a approuvé").to_owned(),
                    "refuse" => say("has refused", "a refusé").to_owned(),
                    NOT_DONE => say("has NOT done", "n'a PAS fait").to_owned(),
                    answer => format!("{} \"{}\"", say("has answered", "a répondu"), plain(answer)),
                };
                format!("{word}{colon} {} ({} {})", plain(&said.what), say("step", "étape"), said.step)
            }
            What::Recovery { systems, .. } => {
                let all: Vec<_> = systems.iter().map(|check| back_text(check, language)).collect();
                format!("{}{colon} {}", say("recovery ended", "reprise terminée"), all.join(", "))
            }
            What::Closed { learned, cause, although } => {
                let mut text = say("closed", "clos").to_owned();
                if let Some(cause) = cause {
                    text.push_str(&format!("{then}{}{colon} {}", say("cause", "cause"), plain(cause)));
                }
                for lesson in learned {
                    text.push_str(&format!(
                        "{then}{}{colon} {}",
                        say("learned", "enseignement"),
                        plain(lesson)
                    ));
                }
                if let Some(although) = although {
                    text.push_str(&format!("{then}{} {}", say("although", "bien que"), plain(although)));
                }
                text
            }
        }
    }
}

fn back_text(check: &Check, language: Language) -> String {
    match check.rta_seconds {
        Some(seconds) => {
            let word = say(language, "back after", "rétabli après");
            format!("{} {word} {}", plain(&check.system), length(seconds, language))
        }
        None => format!("{} {}", plain(&check.system), say(language, "NOT BACK", "NON RÉTABLI")),
    }
}

/// Names a role.
pub(super) fn role_text(role: &str, system: Option<&str>, language: Language) -> String {
    let role = match role {
        "lead" => say(language, "incident lead", "responsable de l'incident"),
        "owner" => say(language, "owner", "responsable"),
        "deputy" => say(language, "deputy", "suppléant"),
        other => other,
    };
    match system {
        Some(system) => format!("{role} {} {system}", say(language, "of", "de")),
        None => role.to_owned(),
    }
}

fn step_text(step: &StepEntry, language: Language) -> String {
    let say = |english, french| say(language, english, french);
    let is = match step.is.as_str() {
        "begun" => say("begun", "commencée"),
        "done" => say("done", "faite"),
        "unconfirmed" => say("NOT CONFIRMED", "NON CONFIRMÉE"),
        "failed" => say("FAILED", "ÉCHOUÉE"),
        "skipped" => say("skipped", "passée"),
        "doubt" => say("NOBODY KNOWS", "INCERTAINE"),
        other => other,
    };
    let system = step.system.as_deref().map_or_else(String::new, |system| format!(" {}", plain(system)));
    let why = step.why.as_deref().map_or_else(String::new, |why| format!(" ({})", plain(why)));
    let after = step.seconds.map_or_else(String::new, |seconds| {
        format!(" {} {}", say("after", "après"), length(seconds, language))
    });
    let colon = say(":", " :");
    format!("{} {}{system} {is}{after}{colon} {}{why}", say("step", "étape"), step.number, plain(&step.what))
}

impl Action {
    /// Returns what is to be done, in one line.
    #[must_use]
    pub fn shown(&self) -> String {
        plain(&self.what)
    }
}

impl ActionState {
    /// Returns the word for it.
    #[must_use]
    pub const fn text(self, language: Language) -> &'static str {
        match self {
            Self::Now => say(language, "now", "maintenant"),
            Self::Later => say(language, "later", "plus tard"),
            Self::Done => say(language, "done", "fait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_the_same_in_both_languages_but_for_days_and_tenths() {
        let all = [0.0, 59.9, 61.0, 7_500.0, 200_000.0].map(|seconds| length(seconds, Language::French));
        assert_eq!(all, ["0,0 s", "59,9 s", "1 min 01 s", "2 h 05 min", "2 j 7 h"]);
        assert_eq!(length(200_000.0, Language::English), "2 d 7 h");
    }

    #[test]
    fn what_is_more_than_was_promised_reads_as_more() {
        for (seconds, promise, said) in [
            (86_580.0, Some(86_400), "1 d 0 h (+ 3 min 00 s)"),
            (60.02, Some(60), "1 min 00 s (+ 0.1 s)"),
            (86_400.0, Some(86_400), "1 d 0 h"),
            (90_000.0, Some(86_400), "1 d 1 h"),
            (86_580.0, None, "1 d 0 h"),
        ] {
            assert_eq!(length_against(seconds, promise, Language::English), said);
        }
    }
}

//! What a person reads: short, in their language; what happened, what to do now, by when, how to say that they have it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plan::notify::Language;
use serde::{Deserialize, Serialize};

/// How much of one sentence is sent, in characters: a mail may be longer, nobody reads it then.
const SENTENCE_MAX: usize = 500;
/// … and in a short message, where what is to be done may take more: it is what one needs at three in the morning.
const SHORT_MAX: usize = 120;
const SHORT_TODO_MAX: usize = 160;

/// A sentence in both languages; what stands in the plan is the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Words {
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}

impl Words {
    /// Returns a sentence in both languages.
    pub fn new(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self { en: en.into(), fr: fr.into() }
    }

    fn of(&self, language: Language) -> &str {
        match language {
            Language::English => &self.en,
            Language::French => &self.fr,
        }
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::new(text, text)
    }
}

/// What is to be told. It is remembered in the state: no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct News {
    /// What it is about, in a few words: the title of a system, mostly.
    pub about: Words,
    /// What happened.
    pub what: Words,
    /// What to do now.
    pub todo: Words,
    /// By when that is to be done.
    pub by: Option<Timestamp>,
}

/// What one message to one person is made of.
pub(super) struct Letter<'a> {
    pub(super) organisation: &'a str,
    pub(super) person: &'a str,
    pub(super) language: Language,
    pub(super) zone: &'a TimeZone,
    pub(super) news: &'a News,
    /// By when an answer is awaited, and who is told then.
    pub(super) answer_by: Option<Timestamp>,
    pub(super) then: Option<&'a str>,
    /// What acknowledges it, and the link that does; both or the first or none.
    pub(super) token: Option<&'a str>,
    pub(super) link: Option<&'a str>,
}

/// A message, as the ways need it.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// One line.
    pub(super) subject: String,
    /// Several lines, with how to acknowledge.
    pub(super) body: String,
    /// As a short message.
    pub(super) short: String,
    pub(super) link: Option<String>,
    /// What stands on a button for the link.
    pub(super) button: &'static str,
}

impl Letter<'_> {
    pub(super) fn write(&self) -> Text {
        let french = self.language == Language::French;
        let say = |english: &'static str, in_french: &'static str| if french { in_french } else { english };
        let part = |words: &Words, most| clauses(words.of(self.language), most);
        let (about, what, todo) = (
            part(&self.news.about, SHORT_MAX),
            part(&self.news.what, SENTENCE_MAX),
            part(&self.news.todo, SENTENCE_MAX),
        );
        let organisation = line(self.organisation, SHORT_MAX);
        let mut body = vec![format!("{},", line(self.person, SHORT_MAX)), String::new()];
        body.push(format!("{} {what}", say("What happened:", "Ce qui s'est passé :")));
        body.push(format!("{} {todo}", say("What to do now:", "À faire maintenant :")));
        if let Some(by) = self.news.by {
            body.push(format!("{} {}", say("By:", "Avant :"), self.time(by)));
        }
        if let Some(token) = self.token {
            body.push(String::new());
            let until = self
                .answer_by
                .map_or_else(String::new, |by| format!("{}{}", say(", by ", ", avant "), self.time(by)));
            let confirm = say("Say that you have it", "Confirmez que vous l'avez reçu");
            let colon = say(":", " :");
            match self.link {
                Some(link) => {
                    body.push(format!("{confirm}{until}{colon} {link}"));
                    body.push(format!(
                        "{} releve ack {token}",
                        say("Or where Relève runs:", "Ou là où tourne Relève :")
                    ));
                }
                None => body.push(format!(
                    "{confirm}{until}, {} releve ack {token}",
                    say("where Relève runs:", "là où tourne Relève :")
                )),
            }
            if let Some(then) = self.then {
                let then = line(then, SHORT_MAX);
                body.push(match french {
                    true => format!("Sans réponse de votre part, nous préviendrons {then}."),
                    false => format!("If you don't, {then} is told."),
                });
            }
        }
        let mut short = format!(
            "{organisation}: {} {}",
            part(&self.news.what, SHORT_MAX),
            part(&self.news.todo, SHORT_TODO_MAX)
        );
        if let Some(by) = self.news.by {
            short.push_str(&format!(" {} {}.", say("By", "Avant"), self.time(by)));
        }
        match (self.link, self.token) {
            (Some(link), _) => short.push_str(&format!(" OK: {link}")),
            (None, Some(token)) => short.push_str(&format!(" OK: releve ack {token}")),
            (None, None) => {}
        }
        Text {
            subject: format!("[{organisation}] {about}"),
            body: body.join("\n"),
            short,
            link: self.link.map(str::to_owned),
            button: say("I have it", "Bien reçu"),
        }
    }

    fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }
}

/// Makes one line of a text: nothing in it can begin another one, or hide what it says.
pub(crate) fn line(text: &str, most: usize) -> String {
    plain::head(&plain::words(text), most)
}

/// Makes one line of a text, as [`line`] does, and where that is too long leaves whole clauses away at its end: half a command or half an address is worse than none.
pub(crate) fn clauses(text: &str, most: usize) -> String {
    let whole = line(text, usize::MAX);
    if whole.chars().count() <= most {
        return whole;
    }
    let room = most.saturating_sub(2);
    let end = whole.char_indices().nth(room).map_or(whole.len(), |(at, _)| at);
    let head = whole.get(..end).unwrap_or_default();
    // A clause of its own: behind it stands a sign and a space.
    let clause = [". ", "; "].iter().filter_map(|sign| head.rfind(sign)).max();
    let words = || {
        let words = head.rfind(' ').and_then(|at| head.get(..at)).unwrap_or(head);
        // Nothing of a command or an address without all of it.
        words.find("releve").or_else(|| words.find("://")).and_then(|at| words.get(..at)).unwrap_or(words)
    };
    let kept = clause.and_then(|at| head.get(..=at)).unwrap_or_else(words);
    let kept = kept.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ';' | ',' | ':'));
    format!("{kept} …")
}

/// Takes the addresses out of what was seen: they are long, name keys and users, and who is told knows the vault by its name.
pub(crate) fn without_addresses(text: &str) -> String {
    let word = |word: &str| match word.find("://") {
        Some(_) => {
            let end = word.trim_end_matches([':', ',', ';', ')', '.']).len();
            format!("its address{}", word.get(end..).unwrap_or_default())
        }
        None => word.to_owned(),
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(news: &'a News, zone: &'a TimeZone, language: Language) -> Letter<'a> {
        Letter {
            organisation: "Atelier Dupont",
            person: "Claire Dupont",
            language,
            zone,
            news,
            answer_by: Timestamp::from_second(1_800_000_600).ok(),
            then: Some("Hugo Petit"),
            token: Some("TOKEN"),
            link: Some("https://ack.example/ack/TOKEN"),
        }
    }

    fn news() -> News {
        News {
            about: "Order database".into(),
            what: Words::new("The disk of shop-1 is dead.", "Le disque de shop-1 est mort."),
            todo: Words::new(
                "Bring the spare to the workshop.",
                "Apportez le disque de rechange à l'atelier.",
            ),
            by: Timestamp::from_second(1_800_003_600).ok(),
        }
    }

    #[test]
    fn it_says_what_happened_what_to_do_by_when_and_how_to_answer() {
        let (news, zone) = (news(), TimeZone::UTC);
        let text = letter(&news, &zone, Language::English).write();
        assert_eq!(text.subject, "[Atelier Dupont] Order database");
        assert_eq!(
            text.body,
            "Claire Dupont,\n\nWhat happened: The disk of shop-1 is dead.\nWhat to do now: Bring the spare to the workshop.\n\
             By: 2027-01-15 09:00 UTC\n\nSay that you have it, by 2027-01-15 08:10 UTC: https://ack.example/ack/TOKEN\n\
             Or where Relève runs: releve ack TOKEN\nIf you don't, Hugo Petit is told."
        );
    }

    #[test]
    fn it_is_in_the_persons_language() {
        let (news, zone) = (news(), TimeZone::UTC);
        let text = letter(&news, &zone, Language::French).write();
        assert!(text.body.contains("À faire maintenant : Apportez le disque de rechange"), "{}", text.body);
        assert!(
            text.short.contains("Le disque de shop-1 est mort.") && text.short.contains("Avant"),
            "{}",
            text.short
        );
        assert!(!text.body.contains("What"), "{}", text.body);
    }

    #[test]
    fn no_name_and_no_sentence_begins_a_line_of_its_own() {
        let evil = "x\r\nBcc: all@example\u{2028}y\u{202e}z\0\u{ad}\u{e0041}";
        let news = News { about: evil.into(), what: evil.into(), todo: evil.into(), by: None };
        let zone = TimeZone::UTC;
        let text = Letter {
            person: evil,
            organisation: evil,
            then: Some(evil),
            ..letter(&news, &zone, Language::English)
        }
        .write();
        assert_eq!(text.subject, "[x Bcc: all@example y z] x Bcc: all@example y z");
        assert!(text.body.lines().all(|line| !line.starts_with("Bcc")), "{}", text.body);
        assert!(!text.body.contains('\r') && !text.short.contains('\n'));
    }

    #[test]
    fn no_command_and_no_address_is_cut_off() {
        let todo = "Look at the machine now, then: releve status. An attack: releve incident open --scenario ransomware. It was you: releve points --trust 3f9c0a12";
        assert_eq!(clauses(todo, SHORT_TODO_MAX), todo);
        assert_eq!(
            clauses(todo, 120),
            "Look at the machine now, then: releve status. An attack: releve incident open --scenario ransomware. …"
        );
        assert_eq!(clauses(todo, 60), "Look at the machine now, then: releve status. …");
        assert_eq!(clauses("Type this now: releve incident open", 30), "Type this now …");
        assert_eq!(clauses(&"é".repeat(40), 10), format!("{} …", "é".repeat(8)));
        let seen = "open sftp://a@host:22/x?key=/root/key: connection refused (see https://x.example/)";
        assert_eq!(without_addresses(seen), "open its address: connection refused (see its address)");
    }

    #[test]
    fn a_short_message_stays_short() {
        let long = "word ".repeat(400);
        let news = News {
            about: long.as_str().into(),
            what: long.as_str().into(),
            todo: long.as_str().into(),
            by: None,
        };
        let zone = TimeZone::UTC;
        let text = letter(&news, &zone, Language::English).write();
        assert!(text.short.chars().count() < 400, "{}", text.short.len());
        assert!(text.short.ends_with("OK: https://ack.example/ack/TOKEN"));
    }
}

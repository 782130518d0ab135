//! The post-incident report, in Markdown: what happened, whether the promises were kept, who decided what and why, what was learned, what is left to do.

use super::grounds::Grounds;
use super::language;
use super::view::{Action, ActionState, Back, Incident, Told, What};
use super::words::{length, length_against, plain, role_text, say};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use plan::notify::Language;
use plan::{Plan, SystemName};
use state::Role;
use std::collections::BTreeMap;

/// Writes the report of an incident, closed or not, in the organisation's language; times are of this zone.
#[must_use]
pub fn report(incident: &Incident, plan: &Plan, grounds: &Grounds<'_>, zone: &TimeZone) -> String {
    let writer = Writer { incident, plan, zone, language: language(plan) };
    let parts = [
        writer.title(),
        writer.summary(),
        writer.head(),
        writer.systems(),
        writer.decisions(),
        writer.people(),
        writer.learned(),
        writer.left_open(),
        writer.timeline(),
        writer.grounds(grounds),
    ];
    parts.concat()
}

pub(super) struct Writer<'a> {
    pub(super) incident: &'a Incident,
    pub(super) plan: &'a Plan,
    zone: &'a TimeZone,
    language: Language,
}

impl Writer<'_> {
    pub(super) fn say(&self, english: &'static str, french: &'static str) -> &'static str {
        say(self.language, english, french)
    }

    pub(super) fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    pub(super) fn length(&self, seconds: f64) -> String {
        length(seconds, self.language)
    }

    /// As [`length`](Self::length), of what stands beside what was promised.
    pub(super) fn against(&self, seconds: f64, promise: Option<u64>) -> String {
        length_against(seconds, promise, self.language)
    }

    /// Names a person as people do.
    pub(super) fn person(&self, name: &str) -> String {
        escaped(self.plan.people.get(name).map_or(name, |person| &person.name))
    }

    fn title(&self) -> String {
        format!(
            "# {}{} {} {}\n\n",
            escaped(&self.plan.organisation.name),
            self.say(":", " :"),
            self.say("report on incident", "rapport de l'incident"),
            self.incident.id
        )
    }

    fn head(&self) -> String {
        let incident = self.incident;
        let colon = self.say(":", " :");
        let mut lines = vec![format!("## {}\n", self.say("What happened", "Ce qui s'est passé"))];
        let mut fact = |what: &str, value: String| lines.push(format!("- **{what}{colon}** {value}"));
        if let Some(scenario) = &incident.scenario {
            fact(self.say("Scenario", "Scénario"), escaped(scenario));
        }
        let cause = incident.closed.as_ref().and_then(|closed| closed.cause.as_deref());
        let unknown = self.say("not said", "non précisée");
        fact(self.say("Cause", "Cause"), cause.map_or_else(|| unknown.to_owned(), escaped));
        let titles: Vec<_> = incident
            .systems
            .iter()
            .map(|name| match self.plan.systems.get(name.as_str()) {
                Some(system) => {
                    format!("{} (`{name}`)", escaped(system.title(&SystemName::from(name.as_str()))))
                }
                None => format!("`{name}`"),
            })
            .collect();
        fact(self.say("Systems", "Systèmes"), titles.join(", "));
        if let Some(seen) = &incident.seen {
            fact(self.say("Seen", "Constaté"), escaped(seen));
        }
        let declared = match &incident.signal {
            Some(signal) => format!(
                "{}{colon} {} ({})",
                self.say("a signal", "un signal"),
                escaped(signal),
                self.person(&incident.declared_by)
            ),
            None => self.person(&incident.declared_by),
        };
        fact(self.say("Declared by", "Déclaré par"), declared);
        fact(self.say("Opened", "Ouvert"), self.time(incident.opened));
        match &incident.closed {
            Some(closed) => {
                let seconds = closed.time.duration_since(incident.opened).as_secs_f64();
                let lasted = match seconds >= 0.0 {
                    true => format!(", {} {}", self.say("after", "après"), self.length(seconds)),
                    false => String::new(),
                };
                let by = self.person(&closed.by);
                fact(self.say("Closed", "Clos"), format!("{}{lasted} ({by})", self.time(closed.time)));
                if let Some(although) = &closed.although {
                    fact(self.say("Closed although", "Clos bien que"), escaped(although));
                }
            }
            None => {
                fact(self.say("Closed", "Clos"), self.say("NO, it is open", "NON, il est ouvert").to_owned());
            }
        }
        format!("{}\n\n", lines.join("\n"))
    }

    fn systems(&self) -> String {
        let title = self.say("Promised and achieved", "Promis et tenu");
        let mut rows = vec![
            format!(
                "| {} | RTA | RTO | RPA | RPO | {} | |",
                self.say("system", "système"),
                self.say("down, as far as known", "arrêt, autant qu'on sache")
            ),
            "|---|---|---|---|---|---|---|".to_owned(),
        ];
        rows.extend(self.incident.systems.iter().map(|name| self.row(name)));
        let note = self.say(
            "RTA counts from the beginning of the recovery, the time down from that of the incident. RTO and RPO are what was promised.",
            "Le RTA compte depuis le début de la reprise, l'arrêt depuis celui de l'incident. RTO et RPO sont ce qui était promis.",
        );
        let crashes = self.crashes();
        format!("## {title}\n\n{}\n\n{note}\n\n{crashes}", rows.join("\n"))
    }

    /// Says up to when it was counted what is lost, and why up to then.
    fn crashes(&self) -> String {
        let line = |back: &Back| {
            let (at, basis) = (back.check.crashed?, back.check.crash_basis.as_deref()?);
            let why = match basis {
                "said" => self.say(
                    "the crash was then, as a person has said",
                    "l'incident date d'alors, selon une personne",
                ),
                "incident" => self.say("the incident was opened then", "l'incident a été ouvert alors"),
                "tried" => self.say(
                    "the first recovery that failed began then",
                    "la première reprise, qui a échoué, a commencé alors",
                ),
                "log" => self.say(
                    "the next sign of life in its log was due then, and did not come",
                    "le signe de vie suivant de son journal était attendu alors, et n'est pas venu",
                ),
                "sentinel" => self.say(
                    "the agent's last row in its data is of then",
                    "la dernière ligne de l'agent dans ses données date d'alors",
                ),
                _ => self.say(
                    "the recovery began then, and nothing says when it crashed",
                    "la reprise a commencé alors, et rien ne dit quand la panne a eu lieu",
                ),
            };
            let counted = self.say("what is lost is counted up to", "la perte est comptée jusqu'au");
            let colon = self.say(":", " :");
            Some(format!("- `{}`{colon} {counted} {}{colon} {why}\n", back.check.system, self.time(at)))
        };
        let lines: String = self.incident.recovered.iter().filter_map(line).collect();
        if lines.is_empty() { lines } else { format!("{lines}\n") }
    }

    fn row(&self, name: &str) -> String {
        let promised = self.plan.systems.get(name);
        let rto = |own: Option<u64>| own.or_else(|| promised.map(|system| system.rto.0.as_secs()));
        let rpo = |own: Option<u64>| own.or_else(|| promised.map(|system| system.rpo.0.as_secs()));
        let of = |seconds: Option<u64>| seconds.map_or_else(|| "?".to_owned(), |s| self.length(s as f64));
        let Some(Back { check, since_opened_seconds, .. }) =
            self.incident.recovered.iter().find(|back| back.check.system == name)
        else {
            let none = self.say("no recovery of it is recorded", "aucune reprise n'en est enregistrée");
            return format!("| `{name}` | ? | {} | ? | {} | ? | {none} |", of(rto(None)), of(rpo(None)));
        };
        let rta = check.rta_seconds.map_or_else(
            || self.say("NOT BACK", "NON RÉTABLI").to_owned(),
            |seconds| self.against(seconds, rto(check.rto_seconds)),
        );
        let lost = check.measured_loss_seconds.or(check.rpa_seconds).map(|seconds| seconds as f64);
        let measured = match check.measured_loss_seconds {
            Some(_) => self.say(" (measured)", " (mesuré)"),
            None => "",
        };
        let rpa = lost.map_or_else(
            || "?".to_owned(),
            |s| format!("{}{measured}", self.against(s, rpo(check.rpo_seconds))),
        );
        let kept = |seconds: Option<f64>, promise: Option<u64>| Some(seconds? <= promise? as f64);
        let mut said = Vec::new();
        match kept(check.rta_seconds, rto(check.rto_seconds)) {
            Some(true) => {}
            Some(false) => said.push(self.say("later than promised", "plus tard que promis")),
            None => said.push(self.say("RTO not known to be kept", "respect du RTO inconnu")),
        }
        match kept(lost, rpo(check.rpo_seconds)) {
            Some(true) => {}
            Some(false) => said.push(self.say("more lost than promised", "plus perdu que promis")),
            None => said.push(self.say("RPO not known to be kept", "respect du RPO inconnu")),
        }
        if !check.findings.is_empty() {
            said.push(self.say("with findings", "avec des constats"));
        }
        if said.is_empty() {
            said.push(self.say("as promised", "comme promis"));
        }
        let down = since_opened_seconds.map_or_else(|| "?".to_owned(), |seconds| self.length(seconds));
        format!(
            "| `{name}` | {rta} | {} | {rpa} | {} | {down} | {} |",
            of(rto(check.rto_seconds)),
            of(rpo(check.rpo_seconds)),
            said.join(", ")
        )
    }

    fn decisions(&self) -> String {
        let decided = self.incident.timeline.iter().filter_map(|line| match &line.what {
            What::Decision { what, because } => Some(format!(
                "- {}, {}{} {}. {}{} {}",
                self.time(line.at.unwrap_or(line.time)),
                self.person(&line.by),
                self.say(":", " :"),
                escaped(what),
                self.say("Because", "Parce que"),
                self.say(":", " :"),
                escaped(because)
            )),
            What::Answered(_) => Some(format!(
                "- {}, {}{} {}",
                self.time(line.at.unwrap_or(line.time)),
                self.person(&line.by),
                self.say(":", " :"),
                escaped(&line.text(self.language))
            )),
            _ => None,
        });
        self.list(self.say("Decisions", "Décisions"), decided.collect())
    }

    fn people(&self) -> String {
        let incident = self.incident;
        let mut lines: Vec<String> = Vec::new();
        for Role { role, system, person } in &incident.roles {
            let person = match person {
                Some(person) => self.person(person),
                None => self.say("NOBODY", "PERSONNE").to_owned(),
            };
            let role = escaped(&role_text(role, system.as_deref(), self.language));
            lines.push(format!("- {role}{} {person}", self.say(":", " :")));
        }
        for action in incident.actions.iter().filter(|action| action.state == ActionState::Done) {
            let by = action.done_by.as_deref().unwrap_or_default();
            let time = action.done.map_or_else(String::new, |time| self.time(time));
            lines.push(format!(
                "- {}{} {} ({}{} {time}, {})",
                self.who(action),
                self.say(":", " :"),
                escaped(&action.what),
                self.say("done", "fait"),
                self.late(action),
                self.person(by)
            ));
        }
        let mut told: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for one in &incident.told {
            told.entry(&one.person).or_default().push(one);
        }
        for (person, messages) in told {
            for message in messages {
                let answer = match (message.reached, message.answered, message.answer_seconds) {
                    (_, Some(_), Some(seconds)) => {
                        format!("{} {}", self.say("answered after", "a répondu après"), self.length(seconds))
                    }
                    (_, Some(at), None) => {
                        format!("{} {}", self.say("answered at", "a répondu à"), self.time(at))
                    }
                    (true, None, _) => match &message.answered_by {
                        Some(by) => format!(
                            "{} {}",
                            self.say("not needed any more: answered by", "plus nécessaire : réponse de"),
                            self.person(by)
                        ),
                        None => self.say("has not answered", "n'a pas répondu").to_owned(),
                    },
                    (false, None, _) => self.say("could not be reached", "n'a pas pu être joint").to_owned(),
                };
                lines.push(format!(
                    "- {}{} {} {}, {answer}",
                    self.person(person),
                    self.say(":", " :"),
                    self.say("told at", "prévenu à"),
                    self.time(message.time)
                ));
            }
        }
        self.list(self.say("Who did what", "Qui a fait quoi"), lines)
    }

    fn who(&self, action: &Action) -> String {
        match &action.who {
            Some(who) => self.person(who),
            None => self.say("nobody", "personne").to_owned(),
        }
    }

    fn late(&self, action: &Action) -> String {
        match (action.done, action.by) {
            (Some(done), Some(by)) if done > by => format!(", {}", self.say("LATE", "EN RETARD")),
            _ => String::new(),
        }
    }

    fn learned(&self) -> String {
        let learned = self.incident.closed.iter().flat_map(|closed| &closed.learned);
        let lessons = learned.map(|lesson| format!("- {}", escaped(lesson))).collect();
        self.list(self.say("What was learned", "Enseignements"), lessons)
    }

    fn left_open(&self) -> String {
        let open = self.incident.actions.iter().filter(|action| action.state != ActionState::Done);
        let lines = open.map(|action| {
            format!("- [ ] {} ({}, {})", escaped(&action.what), self.who(action), action.number)
        });
        self.list(self.say("Actions left open", "Actions restées ouvertes"), lines.collect())
    }

    fn timeline(&self) -> String {
        let title = self.say("Timeline", "Chronologie");
        let mut rows = vec![
            format!("| {} | {} | |", self.say("time", "heure"), self.say("who", "qui")),
            "|---|---|---|".to_owned(),
        ];
        for line in &self.incident.timeline {
            let mut time = self.time(line.at.unwrap_or(line.time));
            if line.at.is_some() {
                time.push_str(&format!(" ({} {})", self.say("noted", "noté à"), self.time(line.time)));
            }
            if line.clock_back {
                time.push_str(self.say(" (the clock was set back)", " (l'horloge a été reculée)"));
            }
            let text = escaped(&line.text(self.language));
            rows.push(format!("| {time} | {} | {text} |", self.person(&line.by)));
        }
        let note = self.say(
            "The order is that of the records, which are chained by their hashes: `releve state verify`.",
            "L'ordre est celui des enregistrements, chaînés par leurs empreintes : `releve state verify`.",
        );
        format!("## {title}\n\n{}\n\n{note}\n", rows.join("\n"))
    }

    fn list(&self, title: &str, mut lines: Vec<String>) -> String {
        if lines.is_empty() {
            lines.push(self.say("None.", "Aucun.").to_owned());
        }
        format!("## {title}\n\n{}\n\n", lines.join("\n"))
    }
}

/// Makes one line of a text in which nothing means anything to Markdown: no table ends by it, no link or picture begins.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in plain(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!' | '~' | '&') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

//! What a report stands on: the summary in five lines that many read alone, and the evidence that everything else can be held against: which point from which vault,
//! whether it was verified, which plan, and the end of the chain of records.

use super::report::{Writer, escaped};
use super::view::{ActionState, What};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What a report can be held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grounds<'a> {
    /// The [`fingerprint`] of the plan now.
    pub plan: Option<&'a str>,
    /// The newest record: its number, and its hash.
    pub head: Option<(u64, &'a str)>,
}

/// Returns the hash of a plan's files: SHA-256, in hexadecimal; of each its length first, so that no two plans have the same.
#[must_use]
pub fn fingerprint<'a>(files: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.len() as u64).to_be_bytes());
        hash.update(file);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Writer<'_> {
    /// Five lines: what, how long, what was lost, who decided, what is left.
    pub(super) fn summary(&self) -> String {
        let incident = self.incident;
        let colon = self.say(":", " :");
        let said = incident.seen.as_deref().or(incident.signal.as_deref());
        let what = format!(
            "**{}{colon}** {}{}",
            self.say("What", "Quoi"),
            escaped(&incident.systems.join(", ")),
            said.map_or_else(String::new, |said| format!("; {}", escaped(said)))
        );
        let time = self.kept(
            self.say(
                "Recovery time achieved (RTA) against promised (RTO)",
                "Temps de reprise atteint (RTA) et promis (RTO)",
            ),
            |name| {
                let check = self.check(name);
                let rto = check.and_then(|check| check.rto_seconds);
                let rto = rto.or_else(|| Some(self.plan.systems.get(name)?.rto.0.as_secs()));
                (check.and_then(|check| check.rta_seconds), rto)
            },
        );
        let loss = self.kept(
            self.say("Data lost (RPA) against promised (RPO)", "Données perdues (RPA) et promis (RPO)"),
            |name| {
                let check = self.check(name);
                let lost = check.and_then(|check| check.measured_loss_seconds.or(check.rpa_seconds));
                let rpo = check.and_then(|check| check.rpo_seconds);
                let rpo = rpo.or_else(|| Some(self.plan.systems.get(name)?.rpo.0.as_secs()));
                (lost.map(|lost| lost as f64), rpo)
            },
        );
        let deciders = incident
            .timeline
            .iter()
            .filter(|line| matches!(line.what, What::Decision { .. } | What::Answered(_)));
        let names: BTreeSet<String> = deciders.map(|line| self.person(&line.by)).collect();
        let lead = incident
            .lead()
            .map_or_else(|| self.say("NOBODY", "PERSONNE").to_owned(), |lead| self.person(lead));
        let decided = format!(
            "**{}{colon}** {} {lead}; {} {}",
            self.say("Who decided", "Qui a décidé"),
            self.say("led by", "mené par"),
            self.say("decisions and approvals by", "décisions et approbations de"),
            match names.is_empty() {
                true => self.say("nobody", "personne").to_owned(),
                false => names.into_iter().collect::<Vec<_>>().join(", "),
            }
        );
        let open = incident.actions.iter().filter(|action| action.state != ActionState::Done).count();
        let left = format!(
            "**{}{colon}** {}; {} {open}",
            self.say("Now", "Maintenant"),
            match &incident.closed {
                Some(closed) => format!("{} {}", self.say("closed", "clos"), self.time(closed.time)),
                None => self.say("still open", "encore ouvert").to_owned(),
            },
            self.say("actions left:", "actions restantes :")
        );
        format!("{}\n\n", [what, time, loss, decided, left].map(|line| format!("1. {line}")).join("\n"))
    }

    fn check(&self, name: &str) -> Option<&state::Check> {
        self.incident.recovered.iter().map(|back| &back.check).find(|check| check.system == name)
    }

    /// One line: of each system what was achieved, what was promised, and whether that was kept.
    fn kept(&self, title: &str, of: impl Fn(&str) -> (Option<f64>, Option<u64>)) -> String {
        let one = |name: &String| {
            let (achieved, promised) = of(name);
            let verdict = match (achieved, promised) {
                (Some(achieved), Some(promised)) if achieved <= promised as f64 => self.say("kept", "tenu"),
                (Some(_), Some(_)) => self.say("NOT KEPT", "NON TENU"),
                _ => self.say("not known", "inconnu"),
            };
            let achieved = achieved.map_or_else(|| "?".to_owned(), |s| self.against(s, promised));
            let promised = promised.map_or_else(|| "?".to_owned(), |promised| self.length(promised as f64));
            format!("{} {achieved} / {promised}, {verdict}", escaped(name))
        };
        let all: Vec<_> = self.incident.systems.iter().map(one).collect();
        format!("**{title}{}** {}", self.say(":", " :"), all.join("; "))
    }

    /// What all of it can be held against.
    pub(super) fn grounds(&self, grounds: &Grounds<'_>) -> String {
        let colon = self.say(":", " :");
        let mut lines = Vec::new();
        for back in &self.incident.recovered {
            let check = &back.check;
            let time = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), |time| self.time(time));
            let verified = match check.verified {
                Some(verified) => format!("{} {}", self.say("verified", "vérifié"), self.time(verified)),
                None => self.say("not verified before", "pas vérifié avant").to_owned(),
            };
            let vaults = match check.vaults.is_empty() {
                true => "?".to_owned(),
                false => escaped(&check.vaults.join(", ")),
            };
            lines.push(format!(
                "- `{}`{colon} {} `{}`, {} {}, {} {vaults}, {verified}",
                check.system,
                self.say("point", "point"),
                check.point,
                self.say("of", "du"),
                time(check.point_time),
                self.say("from the vaults", "des coffres"),
            ));
        }
        let followed: BTreeSet<&str> = self
            .incident
            .timeline
            .iter()
            .filter_map(|line| match &line.what {
                What::Recovery { plan, .. } => plan.as_deref(),
                _ => None,
            })
            .collect();
        for plan in &followed {
            lines.push(format!(
                "- {}{colon} `{plan}`",
                self.say("Plan that was followed (SHA-256)", "Plan suivi (SHA-256)")
            ));
        }
        if let Some(plan) = grounds.plan.filter(|plan| !followed.contains(plan)) {
            lines.push(format!(
                "- {}{colon} `{plan}`",
                self.say("Plan now (SHA-256)", "Plan actuel (SHA-256)")
            ));
        }
        if let Some((number, hash)) = grounds.head {
            lines.push(format!(
                "- {} {number}{colon} `{hash}`",
                self.say("Newest record of the chain, number", "Dernier enregistrement de la chaîne, numéro")
            ));
        }
        if lines.is_empty() {
            lines.push(self.say("None.", "Aucune.").to_owned());
        }
        let note = self.say(
            "Keep the hash of the newest record elsewhere: with it nobody can write the records anew unseen.",
            "Gardez ailleurs l'empreinte du dernier enregistrement : ainsi nul ne peut réécrire les enregistrements sans que cela se voie.",
        );
        format!("\n## {}\n\n{}\n\n{note}\n", self.say("Evidence", "Preuves"), lines.join("\n"))
    }
}

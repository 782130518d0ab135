//! What could be done before a deadline is missed: only what the plan and the runbook make possible.

use super::{Deadline, Of, Outlook, Seen, Why};
use crate::{HostName, PersonName, Source, StepKind, StepState, SystemName, VaultName};
use serde::Serialize;

/// Something that could be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Proposal {
    /// The recovery is paused: let it go on.
    GoOn,
    /// Somebody else than who was asked answers.
    Deputy {
        /// The step that asks.
        step: usize,
        /// Who.
        deputy: PersonName,
        /// What can be answered; that it is done, where empty.
        answers: Vec<String>,
    },
    /// Who was asked answers.
    Answer {
        /// The step that asks.
        step: usize,
        /// Who approves or answers; `None` where the plan names nobody.
        who: Option<PersonName>,
        /// What can be answered; that it is done, where empty.
        answers: Vec<String>,
    },
    /// A person says what became of a step.
    Say {
        /// The step.
        step: usize,
        /// It has failed, and isn't in doubt.
        failed: bool,
    },
    /// The system's data is read from another vault.
    OtherVault {
        /// The system.
        system: SystemName,
        /// The one that is slow.
        slow: VaultName,
        /// One that holds the point too.
        vault: VaultName,
        /// That one could be read when this was decided.
        readable: bool,
    },
    /// The system starts with a part of its files.
    SmallerPart {
        /// The system.
        system: SystemName,
    },
    /// Another machine stands in.
    OtherHost {
        /// The system.
        system: SystemName,
        /// Which.
        host: HostName,
    },
}

impl Outlook {
    /// Returns what could be done about a deadline, if the plan allows anything.
    #[must_use]
    pub fn proposal(&self, seen: &Seen<'_>, deadline: &Deadline) -> Option<Proposal> {
        if seen.paused {
            return Some(Proposal::GoOn);
        }
        let name = match &deadline.of {
            Of::Person { step, asked: true, .. } => return self.answer(seen, *step),
            // Whatever keeps it from being asked stands on its path.
            Of::Person { step, .. } => return self.people_on(seen, &self.path(*step)),
            Of::Rto { system } | Of::Mtpd { system } => system,
        };
        let system = self.systems.iter().find(|system| &system.system == name)?;
        let path = self.path(system.last?);
        let stuck = seen.book.steps.iter().zip(seen.states).position(|(step, state)| {
            step.system.as_ref() == Some(name) && matches!(state, StepState::Failed { .. })
        });
        if let Some(step) = stuck {
            return Some(Proposal::Say { step, failed: true });
        }
        self.people_on(seen, &path)
            .or_else(|| self.about_data(seen, &path))
            .or_else(|| other_host(seen, name))
    }

    /// Returns what people on a path could do.
    fn people_on(&self, seen: &Seen<'_>, path: &[usize]) -> Option<Proposal> {
        let of = |at: &usize| match seen.states.get(*at) {
            Some(StepState::Doubt) => Some(Proposal::Say { step: *at, failed: false }),
            _ => self.answer(seen, *at),
        };
        path.iter().find_map(of)
    }

    /// Returns who could answer a step that is waited for.
    fn answer(&self, seen: &Seen<'_>, step: usize) -> Option<Proposal> {
        let awaited = self.awaited.iter().find(|awaited| awaited.step == step)?;
        let answers = awaited.answers.clone();
        let deputy = awaited.who.as_ref().and_then(|who| {
            let own = seen.book.steps.get(step)?.system.iter();
            // A step of all systems: whoever stands in for its person in one of them.
            let all = own.chain(seen.book.systems.iter().map(|entry| &entry.system));
            let mut systems = all.filter_map(|name| seen.plan.systems.get(name));
            let system =
                systems.find(|system| system.owner.as_ref() == Some(who) && system.deputy.is_some())?;
            system.deputy.clone().filter(|deputy| deputy != who)
        });
        Some(match deputy {
            Some(deputy) => Proposal::Deputy { step, deputy, answers },
            None => Proposal::Answer { step, who: awaited.who.clone(), answers },
        })
    }

    /// Returns what could be done about data on a path that comes back too late.
    fn about_data(&self, seen: &Seen<'_>, path: &[usize]) -> Option<Proposal> {
        let at = path.iter().copied().find(|at| {
            let puts_back = seen.book.steps.get(*at).is_some_and(|step| step.kind.puts_back());
            let state = seen.states.get(*at).unwrap_or(&StepState::Waiting);
            puts_back && matches!(state, StepState::Waiting | StepState::Begun { .. })
        })?;
        let step = seen.book.steps.get(at)?;
        let name = step.system.as_ref()?;
        let entry = seen.book.systems.iter().find(|entry| &entry.system == name)?;
        let system = seen.plan.systems.get(name)?;
        let slow = self.slow.iter().find(|slow| slow.step == at).map(|slow| slow.why);
        let is_slow = matches!(slow, Some(Why::Stalled { .. } | Why::Rate { .. }));
        let others = || {
            let readable = entry.vaults.iter().skip(1).map(|vault| (vault, true));
            let rest = entry.choice.point.vaults.iter().filter(|vault| !entry.vaults.contains(vault));
            let rest = rest.filter(|vault| seen.plan.vaults.contains_key(*vault));
            readable.chain(rest.map(|vault| (vault, false)))
        };
        if let Some(((vault, readable), slow)) = others().next().zip(entry.vaults.first()).filter(|_| is_slow)
        {
            let (slow, vault) = (slow.clone(), vault.clone());
            return Some(Proposal::OtherVault { system: name.clone(), slow, vault, readable });
        }
        let in_parts = matches!(system.source, Some(Source::Files(_)))
            && matches!(step.kind, StepKind::Restore)
            && system.recover.first.is_empty()
            && system.recover.instead.is_empty();
        in_parts.then(|| Proposal::SmallerPart { system: name.clone() })
    }
}

/// Returns a machine of the plan that could stand in: another one, which reaches a vault that holds the point.
fn other_host(seen: &Seen<'_>, name: &SystemName) -> Option<Proposal> {
    let entry = seen.book.systems.iter().find(|entry| &entry.system == name)?;
    let is_away =
        |vault: &VaultName| seen.plan.vaults.get(vault).is_some_and(|vault| !vault.url.starts_with("file:"));
    if !entry.choice.point.vaults.iter().any(is_away) {
        return None;
    }
    let own = &seen.plan.systems.get(name)?.host;
    let mut hosts = seen
        .plan
        .hosts
        .keys()
        .filter(|host| *host != own && seen.plan.machine_name(host) != seen.book.machine);
    // One that nothing runs on has the room for it.
    let runs = |host: &HostName| seen.plan.systems.values().any(|system| &system.host == host);
    let idle = hosts.clone().find(|host| !runs(host));
    let host = idle.or_else(|| hosts.next())?;
    Some(Proposal::OtherHost { system: name.clone(), host: host.clone() })
}

impl std::fmt::Display for Proposal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let choice = |answers: &[String]| {
            // Words between bars would be commands of a shell.
            if answers.is_empty() {
                String::new()
            } else {
                format!(", ANSWER being {}", answers.join(" or "))
            }
        };
        let word = |answers: &[String]| if answers.is_empty() { "" } else { " ANSWER" };
        match self {
            Self::GoOn => f.write_str("it is paused: releve recover --go-on"),
            Self::Deputy { step, deputy, answers } => {
                write!(
                    f,
                    "{deputy} can answer as deputy: releve answer {step}{} --by {deputy}{}",
                    word(answers),
                    choice(answers)
                )
            }
            Self::Answer { step, who, answers } => {
                let whom = who.as_ref().map_or("somebody", |who| who.0.as_str());
                let by = if answers.iter().any(|answer| answer == "approve") { " --by PERSON" } else { "" };
                write!(f, "call {whom}; then: releve answer {step}{}{by}{}", word(answers), choice(answers))
            }
            Self::Say { step, failed: true } => {
                write!(
                    f,
                    "try again or go on without: releve recover --again {step}, or --skip {step} --because TEXT"
                )
            }
            Self::Say { step, failed: false } => {
                write!(
                    f,
                    "nobody knows whether step {step} is done: releve recover --done {step}, or --again {step}"
                )
            }
            Self::OtherVault { slow, vault, readable: true, .. } => {
                write!(
                    f,
                    "vault `{vault}` holds the point too: if `{slow}` hangs, cut it off, and all is read from `{vault}`"
                )
            }
            Self::OtherVault { vault, readable: false, .. } => write!(
                f,
                "vault `{vault}` holds the point too, and could not be read: make it reachable, end this and type the command again with --anew"
            ),
            Self::SmallerPart { system } => write!(
                f,
                "a smaller part first: name in systems.{system}.recover.first what it needs to start, end this and type the command again with --anew; what is back is not written again"
            ),
            Self::OtherHost { system, host } => {
                write!(f, "another host: on {host}, releve recover {system} --stand-in")
            }
        }
    }
}

//! What people are told of a trouble: what it is, since when, what it means, what to do.

use super::length;
use crate::notify::{News, Notifier, Words, clauses, without_addresses};
use crate::room::lacks_room;
use plan::alerts::{Kind, Open, Trouble};
use plan::{Plan, SystemName, VaultName};

/// How much of what was seen goes into a message, in characters.
const SEEN_MAX: usize = 200;

/// Letters of a point's id that stand for it.
const POINT: usize = 8;

/// What is said of one kind: `{}` stands for what it is about.
struct Said {
    what: (&'static str, &'static str),
    means: (&'static str, &'static str),
    todo: (&'static str, &'static str),
}

const fn said(kind: Kind) -> Said {
    match kind {
        Kind::Suspicious => Said {
            what: (
                "The newest restore point of {} looks like an attack or a loss",
                "Le dernier point de restauration de {} ressemble à une attaque ou à une perte",
            ),
            means: ("A recovery won't take it by itself.", "Une reprise ne le prendra pas d'elle-même."),
            todo: (
                "Look at the machine now, then: releve status. An attack: releve incident open --scenario ransomware. It was you: releve points --trust {point}",
                "Regardez la machine maintenant, puis : releve status. Une attaque : releve incident open --scenario ransomware. C'était vous : releve points --trust {point}",
            ),
        },
        Kind::Rpo => Said {
            what: ("{} is not protected as promised", "{} n'est plus protégé comme promis"),
            means: ("What changed since is in no vault.", "Ce qui a changé depuis n'est dans aucun coffre."),
            todo: (
                "releve backup {name}; it says what is in the way",
                "releve backup {name} ; il dit ce qui l'empêche",
            ),
        },
        Kind::Dropped => Said {
            what: ("Something of {} is no longer captured", "Une partie de {} n'est plus sauvegardée"),
            means: (
                "What was there lies in older restore points alone.",
                "Ce qui y était n'est que dans d'anciens points de restauration.",
            ),
            todo: (
                "It was not meant: correct the plan, then releve backup {name}. It was: releve points --trust {point}",
                "Ce n'était pas voulu : corrigez le plan, puis releve backup {name}. C'était voulu : releve points --trust {point}",
            ),
        },
        Kind::Backup => Said {
            what: ("The backup of {} fails", "La sauvegarde de {} échoue"),
            means: ("It has no new restore point.", "Il n'a pas de nouveau point de restauration."),
            todo: (
                "releve backup {name}; it says what is in the way",
                "releve backup {name} ; il dit ce qui l'empêche",
            ),
        },
        Kind::Incomplete => Said {
            what: (
                "The newest restore point of {} lacks something, or a vault lacks it",
                "Le dernier point de restauration de {} est incomplet, ou absent d'un coffre",
            ),
            means: (
                "What was not read would not come back; what a vault lacks comes from the others alone.",
                "Ce qui n'a pas été lu ne reviendrait pas ; ce qui manque dans un coffre ne revient que des autres.",
            ),
            todo: (
                "releve points {name} says what is missing; then releve backup {name}",
                "releve points {name} dit ce qui manque ; puis releve backup {name}",
            ),
        },
        Kind::Unreachable => Said {
            what: ("The vault {} can't be reached, or is gone", "Le coffre {} est injoignable, ou a disparu"),
            means: (
                "New points lie in the other vaults alone.",
                "Les nouveaux points ne sont que dans les autres coffres.",
            ),
            todo: (
                "See to its disk, network and password; then releve status",
                "Vérifiez son disque, le réseau et son mot de passe ; puis releve status",
            ),
        },
        Kind::Damaged => Said {
            what: ("The vault {} is damaged", "Le coffre {} est endommagé"),
            means: (
                "Some points may not come back from it.",
                "Certains points pourraient ne pas en revenir.",
            ),
            todo: (
                "releve repair {name} takes what is missing from the other vaults",
                "releve repair {name} reprend ce qui manque dans les autres coffres",
            ),
        },
        Kind::Vanished => Said {
            what: (
                "Points that were in the vault {} are gone",
                "Des points qui étaient dans le coffre {} ont disparu",
            ),
            means: (
                "A recovery would take an older state, and somebody may have removed them.",
                "Une reprise prendrait un état plus ancien, et quelqu'un les a peut-être effacés.",
            ),
            todo: (
                "Find out who did: releve points, then releve sync brings back what another vault has. It was on purpose: releve prune {name} --accept-missing",
                "Cherchez qui l'a fait : releve points, puis releve sync reprend ce qu'un autre coffre contient. C'était voulu : releve prune {name} --accept-missing",
            ),
        },
        Kind::Strange => Said {
            what: (
                "The vault {} holds something that nobody known has put there",
                "Le coffre {} contient quelque chose que personne de connu n'y a mis",
            ),
            means: (
                "Points that are not what they say, or a key. No recovery takes such points by itself.",
                "Des points qui ne sont pas ce qu'ils disent, ou une clé. Aucune reprise ne prend de tels points d'elle-même.",
            ),
            todo: (
                "Find out who did it: releve points. It was the company: releve points --accept",
                "Cherchez qui l'a fait : releve points. C'était l'entreprise : releve points --accept",
            ),
        },
        Kind::Verification => Said {
            what: ("The vault {} could not be verified", "Le coffre {} n'a pas pu être vérifié"),
            means: ("Nobody knows whether it is sound.", "Nul ne sait s'il est sain."),
            todo: ("releve verify {name}", "releve verify {name}"),
        },
        Kind::Prune => Said {
            what: ("The vault {} could not be pruned", "Le coffre {} n'a pas pu être élagué"),
            means: ("It fills up.", "Il se remplit."),
            todo: (
                "releve prune {name}; it says what is in the way",
                "releve prune {name} ; il dit ce qui l'empêche",
            ),
        },
        Kind::Immutable => Said {
            what: (
                "The vault {} is not as immutable as promised",
                "Le coffre {} n'est pas immuable comme promis",
            ),
            means: ("An intruder may delete what is in it.", "Un intrus pourrait effacer son contenu."),
            todo: ("releve immutable {name} says why", "releve immutable {name} dit pourquoi"),
        },
        Kind::Log => Said {
            what: (
                "The log of {} does not get into the vaults",
                "Le journal de {} n'arrive pas dans les coffres",
            ),
            means: ("A recovery goes back to the last point.", "Une reprise revient au dernier point."),
            todo: (
                "releve status says why; releve backup {name} closes a gap",
                "releve status dit pourquoi ; releve backup {name} ferme un trou",
            ),
        },
        Kind::Agent => Said {
            what: ("The agent on {} is not running", "L'agent sur {} ne tourne pas"),
            means: (
                "Nothing is backed up or verified by schedule.",
                "Rien n'est sauvegardé ni vérifié selon le planning.",
            ),
            todo: (
                "systemctl status releve-agent; it isn't wanted any more: releve alerts --dismiss agent",
                "systemctl status releve-agent ; s'il n'est plus voulu : releve alerts --dismiss agent",
            ),
        },
        Kind::Full => Said {
            what: ("The disk of {} is full", "Le disque de {} est plein"),
            means: (
                "Backups fail, and people may not be told of it.",
                "Les sauvegardes échouent, et nul n'en sera peut-être averti.",
            ),
            todo: ("Make room: df -h {name}", "Faites de la place : df -h {name}"),
        },
        Kind::Isolation => Said {
            what: ("{} is not cut off any more as it was", "{} n'est plus isolé comme il l'était"),
            means: (
                "Whoever was kept out may be in, and who was kept in may be out.",
                "Qui était tenu dehors est peut-être entré, et qui était tenu dedans sorti.",
            ),
            todo: (
                "Pull the cable, or: releve isolate. If it was you: releve release",
                "Débranchez le câble, ou : releve isolate. Si c'était vous : releve release",
            ),
        },
        Kind::Plan => Said {
            what: (
                "Somebody has changed the plan that the agent on {} goes by",
                "Quelqu'un a modifié le plan que suit l'agent sur {}",
            ),
            means: ("The agent goes on by the plan from before.", "L'agent continue selon le plan d'avant."),
            todo: (
                "Find out who it was. It is right: releve plan accept, which shows the difference first",
                "Cherchez qui c'était. Si c'est voulu : releve plan accept, qui montre d'abord la différence",
            ),
        },
        Kind::Records => Said {
            what: (
                "What {} remembers is not what its points say",
                "Ce dont {} se souvient n'est pas ce que disent ses points",
            ),
            means: (
                "It is new or has lost its state, or somebody has changed or removed it. Points are not touched by that.",
                "Elle est neuve ou a perdu son état, ou quelqu'un l'a modifié ou supprimé. Les points n'en sont pas touchés.",
            ),
            todo: (
                "releve state verify says more. It is new, or has lost its state: releve state rebuild. It has not: find out who it was",
                "releve state verify en dit plus. Elle est neuve, ou a perdu son état : releve state rebuild. Sinon : cherchez qui c'était",
            ),
        },
        Kind::Signing => Said {
            what: ("A new key signs the points of {}", "Une nouvelle clé signe les points de {}"),
            means: (
                "With the old one alone on paper, a machine that has lost everything takes none of the newer points.",
                "Avec l'ancienne seule sur papier, une machine qui a tout perdu ne prend aucun des points plus récents.",
            ),
            todo: (
                "Put it on paper beside the old one: releve state signers. Then: releve alerts --dismiss signing. Its state or its key was not lost: find out who it was",
                "Notez-la sur papier avec l'ancienne : releve state signers. Puis : releve alerts --dismiss signing. Ni l'état ni la clé n'étaient perdus : cherchez qui c'était",
            ),
        },
        Kind::Recovery => Said {
            what: (
                "A recovery of {} has failed or was left half-way",
                "Une reprise de {} a échoué ou est restée à mi-chemin",
            ),
            means: ("Its systems are not back.", "Ses systèmes ne sont pas rétablis."),
            todo: (
                "releve recover --show; releve recover --resume {names} goes on with it. At work without: releve recover --forget {names}",
                "releve recover --show ; releve recover --resume {names} la continue. Rétabli sans elle : releve recover --forget {names}",
            ),
        },
    }
}

/// Returns what a trouble is, in a few words, in English.
#[must_use]
pub fn title(plan: &Plan, trouble: &Trouble) -> String {
    said(trouble.kind).what.0.replace("{}", &subject(plan, trouble))
}

/// Returns what to do about a trouble, in English.
#[must_use]
pub fn todo(trouble: &Trouble) -> String {
    todos(trouble).0
}

/// Returns what to do about a trouble, in English and in French. Where a vault is full nothing helps before there is room in it.
fn todos(trouble: &Trouble) -> (String, String) {
    let todo = match (trouble.kind, &trouble.point) {
        // A system that the plan has no more has no newest point either.
        (Kind::Dropped, None) => (
            "It was not meant: put it back into the plan. It was: releve alerts --dismiss {name}",
            "Ce n'était pas voulu : remettez-le dans le plan. C'était voulu : releve alerts --dismiss {name}",
        ),
        (kind, _) => said(kind).todo,
    };
    let (english, french) = (filled(todo.0, trouble), filled(todo.1, trouble));
    match matches!(trouble.kind, Kind::Backup | Kind::Incomplete) && lacks_room(&trouble.seen) {
        true => (
            format!("First make room in the vault: releve prune --now. Then: {english}"),
            format!("Faites d'abord de la place dans le coffre : releve prune --now. Puis : {french}"),
        ),
        false => match &trouble.way_out {
            // Whoever failed knew better than what is said of all.
            Some(way) if way.contains("releve ") => (way.clone(), way.clone()),
            Some(way) => (format!("{way}. Then: {english}"), format!("{way}. Puis : {french}")),
            None => (english, french),
        },
    }
}

/// Fills in what a way out names.
fn filled(todo: &str, trouble: &Trouble) -> String {
    // Whoever looks at `releve status` finds it there, where it isn't known here.
    let point = trouble.point.as_deref().map_or("ID", |point| point.get(..POINT).unwrap_or(point));
    todo.replace("{point}", point)
        .replace("{names}", &trouble.about.replace(", ", " "))
        .replace("{name}", &trouble.about)
}

/// Names what it is about as people do.
fn subject(plan: &Plan, trouble: &Trouble) -> String {
    let name = SystemName::from(trouble.about.as_str());
    let is_system = matches!(
        trouble.kind,
        Kind::Suspicious | Kind::Rpo | Kind::Dropped | Kind::Backup | Kind::Incomplete | Kind::Log
    );
    match plan.systems.get(&name).filter(|_| is_system) {
        Some(system) => system.title(&name).to_owned(),
        None => trouble.about.clone(),
    }
}

/// Returns what people are told while it lasts.
pub(super) fn begun(trouble: &Trouble, notifier: &Notifier<'_>) -> News {
    let (said, subject) = (said(trouble.kind), subject(notifier.plan, trouble));
    let fill = |text: &str| text.replace("{}", &subject);
    let since = trouble.since.to_zoned(notifier.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string();
    let seen = clauses(&without_addresses(&trouble.seen), SEEN_MAX);
    let (english, french) = todos(trouble);
    News {
        about: Words::new(fill(said.what.0), fill(said.what.1)),
        what: Words::new(
            format!("{}, since {since}: {seen}. {}", fill(said.what.0), said.means.0),
            format!("{}, depuis {since} : {seen}. {}", fill(said.what.1), said.means.1),
        ),
        // What whoever failed said of it may name where.
        todo: Words::new(without_addresses(&english), without_addresses(&french)),
        by: None,
    }
}

/// Returns whether it is over only since the plan lacks what it is about by now.
fn is_of_no_plan(plan: &Plan, trouble: &Trouble) -> bool {
    let about = trouble.about.as_str();
    match trouble.kind {
        Kind::Suspicious | Kind::Rpo | Kind::Backup | Kind::Incomplete | Kind::Log => {
            !plan.systems.contains_key(&SystemName::from(about))
        }
        Kind::Unreachable
        | Kind::Damaged
        | Kind::Vanished
        | Kind::Strange
        | Kind::Verification
        | Kind::Prune
        | Kind::Immutable => !plan.vaults.contains_key(&VaultName::from(about)),
        Kind::Dropped
        | Kind::Agent
        | Kind::Full
        | Kind::Recovery
        | Kind::Isolation
        | Kind::Plan
        | Kind::Records
        | Kind::Signing => false,
    }
}

/// Returns what they are told once it is over.
pub(super) fn over(open: &Open, notifier: &Notifier<'_>) -> News {
    let trouble = &open.trouble;
    let (said, subject) = (said(trouble.kind), subject(notifier.plan, trouble));
    let fill = |text: &str| text.replace("{}", &subject);
    let lasted = length(trouble.since, (notifier.now)());
    if is_of_no_plan(notifier.plan, trouble) {
        return News {
            about: Words::new(
                format!("Nobody looks any more: {}", fill(said.what.0)),
                format!("Plus personne ne regarde : {}", fill(said.what.1)),
            ),
            what: Words::new(
                format!(
                    "The plan has no {} any more, so nobody looks whether this is still so: “{}”.",
                    trouble.about,
                    fill(said.what.0)
                ),
                format!(
                    "Le plan n'a plus de {}, donc plus personne ne regarde si c'est encore vrai : « {} ».",
                    trouble.about,
                    fill(said.what.1)
                ),
            ),
            todo: Words::new(
                "If that is not meant: put it back into the plan.",
                "Si ce n'est pas voulu : remettez-le dans le plan.",
            ),
            by: None,
        };
    }
    News {
        about: Words::new(format!("Over: {}", fill(said.what.0)), format!("Terminé : {}", fill(said.what.1))),
        what: Words::new(
            format!("It is over, after {lasted}, and no more so: “{}”.", fill(said.what.0)),
            format!("C'est terminé, après {lasted}, et n'est plus vrai : « {} ».", fill(said.what.1)),
        ),
        todo: Words::new("There is nothing to do.", "Il n'y a rien à faire."),
        by: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn trouble(kind: Kind, seen: String) -> Trouble {
        let (since, point, way_out) = (Timestamp::UNIX_EPOCH, None, None);
        Trouble { kind, about: "shop".into(), since, seen, point, way_out }
    }

    #[test]
    fn what_whoever_failed_knew_to_do_is_what_people_are_told() {
        let of = |kind: Kind, way: &str| {
            todo(&Trouble { way_out: Some(way.to_owned()), ..trouble(kind, "no".into()) })
        };
        assert_eq!(
            of(Kind::Prune, "set the clock, or: releve prune --trust-clock"),
            "set the clock, or: releve prune --trust-clock"
        );
        assert_eq!(of(Kind::Verification, "mount the disk"), "mount the disk. Then: releve verify shop");
        assert_eq!(of(Kind::Recovery, "-").split(". Then: ").last().unwrap().matches("{name").count(), 0);
    }

    #[test]
    fn where_a_vault_is_full_the_way_out_begins_with_making_room() {
        let of = |kind: Kind, seen: &str| {
            let seen = seen.to_owned();
            todo(&trouble(kind, seen))
        };
        let full = format!("not in far: write data/ab: {}", vault::Kind::Full);
        for kind in [Kind::Backup, Kind::Incomplete] {
            assert!(
                of(kind, &full).starts_with("First make room in the vault: releve prune --now. Then: rel")
            );
        }
        assert!(of(Kind::Backup, "pg_dump: No space left on device").starts_with("releve backup shop"));
        assert!(of(Kind::Rpo, &full).starts_with("releve backup shop"));
    }
}

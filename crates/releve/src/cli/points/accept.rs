//! `releve points --accept`: what is strange is shown, and a person asked, before all of it is taken for the company's own.

use super::Options;
use crate::session::Session;
use crate::show::{self, time};
use crate::{Exit, Failure};
use engine::Error;
use engine::strange::Strange;
use engine::vanished::Vanished;
use jiff::Timestamp;
use plan::{Unvouched, VaultName};
use serde::Serialize;
use state::{How, OddKey, State};

/// How many lines are shown before the question; a dry run shows all.
const SHOWN: usize = 20;
/// Letters of an id that stand for it.
const SHORT: usize = 8;

/// Something that would be taken for the company's own, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Taken {
    /// `point`, `signing key`, `key file`.
    what: &'static str,
    /// The point's id, the letters of the key that signs, the name of the key file.
    name: String,
    /// The system of a point, the machine of a key that signs.
    of: Option<String>,
    /// Where it is.
    vaults: Vec<VaultName>,
    /// When a point says that it was made; when a key file was seen.
    time: Option<Timestamp>,
    why: String,
}

/// Shows what is strange, asks, and takes it for the company's own; with `--dry-run` it only shows. `look` says anew what is strange. Returns what was accepted,
/// or would be, and what to exit with where nobody said yes.
pub(super) fn accept(
    session: &Session,
    options: &Options,
    vanished: &mut Vanished,
    look: &dyn Fn() -> Vanished,
) -> Result<(Vec<Taken>, Option<Exit>), Failure> {
    if let Some(open) = vanished.open.first() {
        // All of it would be the intruder's as well.
        return Err(Error::new(open.clone()).help("name the key: --accept takes all there is").into());
    }
    let mut all: Vec<Taken> = Vec::new();
    // With a key that is accepted it shows what else is strange about a point.
    for round in 0..2 {
        let listed = list(vanished);
        if listed.is_empty() {
            if round == 0 && !session.json {
                eprintln!("nothing is strange: there is nothing to accept");
            }
            break;
        }
        if !session.json {
            shown(&listed, if options.dry_run { usize::MAX } else { SHOWN });
        }
        if options.dry_run {
            return Ok((listed, None));
        }
        if let Some(exit) = refused(session, options, &listed, round > 0) {
            return Ok((all, Some(exit)));
        }
        let state = session.state()?;
        let mut said = points(&state, &vanished.strange)?;
        for (vault, odd) in &vanished.keys {
            state.know_key(&vault.0, &odd.key)?;
            said.push(format!("the key file {} of {vault} is known from now on", short(&odd.key)));
        }
        if !session.json {
            said.iter().for_each(|line| eprintln!("{line}"));
        }
        all.extend(listed);
        *vanished = look();
    }
    Ok((all, None))
}

/// Asks; a document is no place for a question. Returns what to exit with where nobody said yes.
fn refused(session: &Session, options: &Options, listed: &[Taken], is_more: bool) -> Option<Exit> {
    let way_out = "--yes for scripts; --dry-run only shows; nothing more was accepted";
    if session.json && !options.yes {
        show::error(&Error::new("nobody is asked with --json").help(way_out));
        return Some(Exit::Usage);
    }
    let count = listed.len();
    let question = match is_more {
        false => format!("Take all of this ({count}) for the company's own, from now on?"),
        true => format!("This ({count}) is strange still. Take it for the company's own as well?"),
    };
    show::refused_but(options.yes, &question, way_out)
}

/// Lists what is strange: keys first, since what they sign from now on counts as well.
fn list(vanished: &Vanished) -> Vec<Taken> {
    let mut all: Vec<Taken> = Vec::new();
    for point in &vanished.strange {
        let (Some(Unvouched::By(letters)), Some((host, _))) = (&point.unvouched, &point.signer) else {
            continue;
        };
        let (name, of) = (letters.clone(), Some(host.clone()));
        match all.iter_mut().find(|known| known.name == name && known.of == of) {
            Some(known) => {
                let new = point.vaults.iter().filter(|vault| !known.vaults.contains(vault));
                let new: Vec<_> = new.cloned().collect();
                known.vaults.extend(new);
            }
            None => {
                let why = "signs for this machine, and isn't known here".to_owned();
                all.push(Taken {
                    what: "signing key",
                    name,
                    of,
                    vaults: point.vaults.clone(),
                    time: None,
                    why,
                });
            }
        }
    }
    all.extend(vanished.keys.iter().map(key_file));
    all.extend(vanished.strange.iter().map(point));
    all
}

fn key_file((vault, odd): &(VaultName, OddKey)) -> Taken {
    let why = match odd.came_back {
        true => "was removed and is there again: it opens the vault",
        false => "nobody here has made it: it opens the vault",
    };
    let (name, time) = (short(&odd.key).to_owned(), Some(odd.since));
    Taken { what: "key file", name, of: None, vaults: vec![vault.clone()], time, why: why.to_owned() }
}

fn point(strange: &Strange) -> Taken {
    Taken {
        what: "point",
        name: short(&strange.id).to_owned(),
        of: Some(strange.system.0.clone()),
        vaults: strange.vaults.clone(),
        time: Some(strange.time),
        why: strange.why.clone(),
    }
}

fn short(name: &str) -> &str {
    name.get(..SHORT).unwrap_or(name)
}

fn shown(listed: &[Taken], most: usize) {
    let mut table = show::table(&["", "", "of", "in", "time", "why it is strange"]);
    for one in listed.iter().take(most) {
        let vaults: Vec<_> = one.vaults.iter().map(|vault| vault.0.as_str()).collect();
        let at = one.time.map(time).unwrap_or_default();
        let of = one.of.as_deref().unwrap_or("");
        table.add_row([one.what, &one.name, of, &vaults.join(", "), &at, &one.why]);
    }
    table.to_string().lines().for_each(|line| eprintln!("{line}"));
    if listed.len() > most {
        eprintln!("and {} more: releve points --accept --dry-run shows all", listed.len() - most);
    }
}

/// Takes strange points for the company's own, with the keys that signed them, and says which.
fn points(state: &State, strange: &[Strange]) -> Result<Vec<String>, Failure> {
    let (now, mut said) = (Timestamp::now(), Vec::new());
    for point in strange {
        if let (Some(Unvouched::By(shown)), Some((host, key))) = (&point.unvouched, &point.signer) {
            state.know_signer(host, key, How::Accepted, now)?;
            said.push(format!("the key {shown} signs for {host} from now on"));
        } else if point.unvouched.is_some() {
            state.accept(&point.identity, now)?;
        } else {
            state.trust(&point.identity, now)?;
        }
        said.push(format!(
            "point {} of {} is taken for the company's own from now on",
            point.id, point.system
        ));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strange(id: &str, unvouched: Option<Unvouched>, signer: Option<(&str, &str)>) -> Strange {
        Strange {
            vaults: vec!["near".into()],
            id: id.into(),
            identity: format!("{id} tree time"),
            system: "shop".into(),
            time: Timestamp::UNIX_EPOCH,
            signer: signer.map(|(host, key)| (host.to_owned(), key.to_owned())),
            unvouched,
            why: "nobody has signed it".into(),
        }
    }

    #[test]
    fn a_key_that_signs_is_listed_once_with_its_machine_and_before_the_points() {
        let by = |id| strange(id, Some(Unvouched::By("aaaa-bbbb".into())), Some(("shop-1", "aaaabbbb")));
        let mut other = by("3333");
        other.vaults = vec!["far".into()];
        let odd = OddKey { key: "0123456789abcdef".into(), came_back: true, since: Timestamp::UNIX_EPOCH };
        let vanished = Vanished {
            strange: vec![by("1111"), strange("2222", Some(Unvouched::Unsigned), None), other],
            keys: vec![("near".into(), odd)],
            ..Vanished::default()
        };
        let listed = list(&vanished);
        let shown: Vec<_> =
            listed.iter().map(|one| (one.what, one.name.as_str(), one.vaults.len())).collect();
        assert_eq!(
            shown,
            [
                ("signing key", "aaaa-bbbb", 2),
                ("key file", "01234567", 1),
                ("point", "1111", 1),
                ("point", "2222", 1),
                ("point", "3333", 1),
            ]
        );
        assert_eq!(listed[0].of.as_deref(), Some("shop-1"));
    }
}

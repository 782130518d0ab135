//! Which vaults could be asked. One that opens, and whose points can't be listed, could not be: what is in it is known to nobody, as if it had not opened.

use super::Survey;
use crate::Result;
use crate::vaults::Opened;
use jiff::Timestamp;
use plan::VaultName;
use state::State;

/// How a note begins of a vault that opens and whose points can't be listed: that it opens once more says nothing against it.
const OPENS: &str = "it opens, and its points can't be listed: ";

/// What came of listing the points of vaults that have opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listings {
    /// Those whose points were listed.
    pub listed: Vec<VaultName>,
    /// Those whose points could not be.
    pub unlisted: Vec<Unlisted>,
}

/// A vault that opens and whose points can't be listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unlisted {
    /// Which.
    pub vault: VaultName,
    /// Why.
    pub why: String,
    /// Whether that may pass by itself.
    pub may_pass: bool,
}

impl Listings {
    /// Adds what came of listing others.
    pub(crate) fn extend(&mut self, other: Self) {
        self.listed.extend(other.listed);
        self.unlisted.extend(other.unlisted);
    }

    /// Notes for the alerts which of the vaults could not be asked, of those that `counts`: that others could ends what was said of them.
    pub fn note(&self, state: &State, counts: impl Fn(&VaultName) -> bool, now: Timestamp) -> Result<()> {
        for vault in self.listed.iter().filter(|vault| counts(vault)) {
            state.note_sign(&sign(vault), None, now)?;
        }
        for one in self.unlisted.iter().filter(|one| counts(&one.vault)) {
            let why = format!("{OPENS}{}", one.why);
            state.note_sign(&sign(&one.vault), Some((&why, one.may_pass)), now)?;
        }
        Ok(())
    }
}

/// Notes for the alerts whether a vault could be opened, and if not, why and whether that may pass. One that opens may still not be asked: whoever saw that
/// it can't be listed is believed until somebody has listed it.
pub fn note_opened(
    state: &State,
    vault: &VaultName,
    trouble: Option<(&str, bool)>,
    now: Timestamp,
) -> Result<()> {
    if trouble.is_none() {
        let noted = state.signs("vault/")?;
        if noted.get(&vault.0).is_some_and(|sign| sign.why.starts_with(OPENS)) {
            return Ok(());
        }
    }
    Ok(state.note_sign(&sign(vault), trouble, now)?)
}

fn sign(vault: &VaultName) -> String {
    format!("vault/{vault}")
}

impl Survey {
    /// Returns each of these vaults, and why it could not be asked if it could not: whether it didn't open or couldn't be listed. Those that nobody has made yet
    /// come last: the others are where something may lie.
    #[must_use]
    pub fn asked(&self, vaults: &[Opened]) -> Vec<(VaultName, Result<(), String>)> {
        let unlisted = |name: &VaultName| self.listings.unlisted.iter().find(|one| one.vault == *name);
        let asked = |opened: &Opened| match (&opened.repository, unlisted(&opened.name)) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(_), Some(unlisted)) => Err(unlisted.why.clone()),
            (Ok(_), None) => Ok(()),
        };
        let (absent, others): (Vec<_>, Vec<_>) = vaults.iter().partition(|opened| opened.absent);
        others.into_iter().chain(absent).map(|opened| (opened.name.clone(), asked(opened))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_the_alert_of_a_vault_that_cannot_be_listed_is_a_listing_and_no_opening() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let (near, at) = (VaultName::from("near"), |second| Timestamp::from_second(second).unwrap());
        let why = || state.signs("vault/").unwrap().remove("near").map(|sign| (sign.since, sign.why));
        let unlisted = Unlisted { vault: near.clone(), why: "it has no end".into(), may_pass: false };
        let cannot = Listings { listed: vec![], unlisted: vec![unlisted] };
        let can = Listings { listed: vec![near.clone()], unlisted: vec![] };
        let all = |_: &VaultName| true;
        // What an opening has begun an opening ends.
        note_opened(&state, &near, Some(("no route", true)), at(1)).unwrap();
        note_opened(&state, &near, None, at(2)).unwrap();
        assert_eq!(why(), None);

        cannot.note(&state, |_| false, at(3)).unwrap();
        assert_eq!(why(), None, "another machine fills it");
        cannot.note(&state, all, at(3)).unwrap();
        note_opened(&state, &near, None, at(4)).unwrap();
        let (since, said) = why().unwrap();
        assert!(since == at(3) && said.ends_with("can't be listed: it has no end"), "{said}");
        // Out of reach altogether is the same trouble.
        note_opened(&state, &near, Some(("no route", true)), at(5)).unwrap();
        assert_eq!(why(), Some((at(3), "no route".into())));
        cannot.note(&state, all, at(6)).unwrap();
        can.note(&state, all, at(7)).unwrap();
        assert_eq!(why(), None);
    }
}

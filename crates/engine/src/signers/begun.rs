//! That a new key signs for this machine, although its points so far are signed with another: its state or its key was lost, or somebody has seen to that. The paper in the
//! safe has the old one, and with that alone a machine that has lost everything takes none of the newer points: so whoever makes the key says it, and it is an alert until
//! a person has seen it.

use super::fingerprint;
use crate::Result;
use crate::survey::Survey;
use jiff::Timestamp;
use state::State;
use std::collections::BTreeSet;

/// The sign of it, for the alerts.
pub const SIGN: &str = "signing/new";
/// So many keys are named.
const NAMED_MAX: usize = 3;

/// Returns what has signed for `machine` so far, by the points in these vaults and by what is known here, for a person; `None` where nothing but `own` has.
pub fn before(state: &State, machine: &str, survey: &Survey, own: Option<&str>) -> Result<Option<String>> {
    let known = state.signers()?.remove(machine).unwrap_or_default();
    let mut keys: BTreeSet<String> = known.into_keys().collect();
    let of_machine = survey.points.iter().filter(|point| point.point.snapshot.hostname == machine);
    keys.extend(of_machine.filter_map(|point| point.point.signer.clone()));
    keys.retain(|key| Some(key.as_str()) != own);
    let mut named: Vec<String> = keys.iter().take(NAMED_MAX).map(|key| fingerprint(key)).collect();
    if keys.len() > NAMED_MAX {
        named.push(format!("{} others", keys.len() - NAMED_MAX));
    }
    Ok((!named.is_empty()).then(|| named.join(" and with ")))
}

/// Notes that `key` signs from now on, where another has before, and returns what is to be said of it; `None` where that is noted already, or none has.
pub fn note_new(
    state: &State,
    machine: &str,
    survey: &Survey,
    key: &str,
    now: Timestamp,
) -> Result<Option<String>> {
    let Some(before) = before(state, machine, survey, Some(key))? else { return Ok(None) };
    let said =
        format!("a new key signs from now on: {}; points before are signed with {before}", fingerprint(key));
    // Several systems are captured at once by one process.
    if state.signs(SIGN)?.values().any(|sign| sign.why == said) {
        return Ok(None);
    }
    state.note_sign(SIGN, Some((said.as_str(), false)), now)?;
    Ok(Some(said))
}

/// Notes that a person has seen it, and returns whether there was something to see.
pub fn note_seen(state: &State, now: Timestamp) -> Result<bool> {
    let is_open = !state.signs(SIGN)?.is_empty();
    state.note_sign(SIGN, None, now)?;
    Ok(is_open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use state::How;

    #[test]
    fn a_first_key_is_no_news_and_one_in_the_place_of_another_is_until_a_person_has_seen_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let (now, nothing) = (Timestamp::UNIX_EPOCH, Survey::default());
        let (old, new) = ("aaaabbbbccccdddd00", "1111222233334444ff");
        state.know_signer("elsewhere", old, How::First, now).unwrap();
        assert_eq!(note_new(&state, "shop-1", &nothing, new, now).unwrap(), None);
        assert_eq!(before(&state, "shop-1", &nothing, None).unwrap(), None);
        state.know_signer("shop-1", old, How::First, now).unwrap();
        let said = note_new(&state, "shop-1", &nothing, new, now).unwrap().unwrap();
        assert!(
            said.contains("1111-2222-3333-4444; points before are signed with aaaa-bbbb-cccc-dddd"),
            "{said}"
        );
        assert_eq!(note_new(&state, "shop-1", &nothing, new, now).unwrap(), None, "said once");
        assert_eq!(state.signs(SIGN).unwrap().len(), 1);
        assert!(note_seen(&state, now).unwrap());
        assert!(!note_seen(&state, now).unwrap());
        for n in 0..9 {
            state.know_signer("shop-1", &format!("{n}000"), How::Accepted, now).unwrap();
        }
        let many = before(&state, "shop-1", &nothing, Some(old)).unwrap().unwrap();
        assert!(many.ends_with("2000 and with 6 others"), "{many}");
    }
}

//! Whose hand a log is of. It is judged as points are, by the keys that points have told of: nothing is learned from logs.
//!
//! Until a signed log of a system was seen, what nobody signed is as good as ever. What this machine knew of it by then stays so, and is noted by name; what comes
//! afterwards somebody else has put there, whatever time it claims.
//!
//! Where that was noted is lost with the state. So each point that its machine signs says, where it is so, that the log of its system is signed from there on
//! ([`promises`]): leaving the signature off a forged log is then no way in, also where it is the only log that is left.

use super::{Known, Reason, Standing, hand, hands, unknown};
use crate::Result;
use crate::prune::identity;
use crate::survey::{Survey, Surveyed};
use plan::{SystemName, Unvouched};
use state::{Seen, State};
use std::collections::{BTreeMap, BTreeSet};
use vault::PointInfo;

/// The keys that sign for each machine.
pub(crate) type Keys<'a> = BTreeMap<&'a str, BTreeSet<String>>;

/// What a log says of whose it is.
#[derive(Debug, Clone)]
pub(crate) struct LogHand<'a> {
    /// What tells it from any other.
    pub(crate) identity: String,
    /// The machine that it says it is of.
    pub(crate) host: &'a str,
    /// The key that has signed it, if one has.
    pub(crate) key: Option<&'a str>,
    /// The system is that machine's, by the plan or by its points: another's key is none for it.
    pub(crate) is_kin: bool,
}

impl Known {
    /// Takes these points for accepted by a person, too.
    #[must_use]
    pub(crate) fn accepting(mut self, trusted: Vec<String>) -> Self {
        self.accepted.extend(trusted);
        self
    }

    /// Returns the keys that sign for machines. Where there is no state, one that alone signs for a machine in these points is its.
    pub(crate) fn keys<'a>(&'a self, points: &'a [Surveyed]) -> Keys<'a> {
        let known = self.signers.iter();
        let mut keys: Keys<'a> =
            known.map(|(host, keys)| (host.as_str(), keys.keys().cloned().collect())).collect();
        if !self.has_learned {
            for (host, points) in unknown(points, &self.signers) {
                if let Standing::One { key, .. } = Standing::of(&hands(&points, &self.early)) {
                    keys.entry(host).or_default().insert(key);
                }
            }
        }
        keys
    }

    /// Returns whether a key of this machine is known.
    pub(crate) fn signs_for(&self, machine: &str) -> bool {
        self.signers.contains_key(machine)
    }

    /// Returns whether a signed log of this name was seen: from then on what nobody signed is from before, or nobody's.
    pub(crate) fn has_begun(&self, log: &str) -> bool {
        self.early.contains(&begun(log))
    }

    /// Returns of each of these logs, all there are of one name, why nobody vouches for it, where somebody should. `home` is the machine that the plan has the system on;
    /// `is_promised` says that a point of the system, signed with a key that is known, tells that its log is signed.
    pub(crate) fn unvouched_logs(
        &self,
        log: &str,
        home: Option<&str>,
        logs: &[LogHand<'_>],
        keys: &Keys<'_>,
        is_promised: bool,
    ) -> Vec<Option<Unvouched>> {
        let is_known = |log: &LogHand<'_>| {
            let of_host = log.key.zip(keys.get(log.host));
            log.is_kin && of_host.is_some_and(|(key, known)| known.contains(key))
        };
        let is_begun = is_promised || self.has_begun(log) || logs.iter().any(is_known);
        let signs = |host: &str| keys.contains_key(host);
        let judged = logs.iter().map(|log| {
            let is_anyones = !is_begun && !signs(log.host) && !home.is_some_and(signs);
            let reason = if self.accepted.contains(&log.identity) {
                Some(Reason::Accepted)
            } else if !is_begun {
                Some(Reason::NobodySigns)
            } else {
                self.early.contains(&log.identity).then_some(Reason::Early)
            };
            hand::unvouched(log.key.map(|key| (key, is_anyones || is_known(log))), reason)
        });
        judged.collect()
    }
}

/// Returns whether a point, by what its machine has signed, tells that the log of its system is signed, and the key is one that is known for that machine.
pub(crate) fn promises(info: Option<&PointInfo>, (host, key): (&str, Option<&str>), keys: &Keys<'_>) -> bool {
    let is_known = || key.zip(keys.get(host)).is_some_and(|(key, known)| known.contains(key));
    info.is_some_and(|info| info.log_signed) && is_known()
}

/// Notes that a log is signed from now on, and which unsigned ones of its name are from before.
pub(crate) fn begin_log(state: &State, log: &str, mut early: Vec<String>) -> Result<()> {
    early.push(begun(log));
    Ok(state.note_early(&early)?)
}

/// Notes of each log that a known key has signed by now that it has begun to be. `seen` is what this machine had seen before: of that, what is unsigned stays as good as
/// it was.
pub(crate) fn note_logs<'a>(
    state: &State,
    survey: &Survey,
    seen: impl Iterator<Item = &'a Seen>,
) -> Result<()> {
    let known = Known::read(state)?;
    let keys = known.keys(&[]);
    let is_log = |name: &&str| SystemName::of_log(name).is_some();
    let seen: Vec<&Seen> =
        seen.filter(|seen| seen.system.as_deref().is_some_and(|name| is_log(&name))).collect();
    let mut logs: BTreeMap<&str, Vec<&Surveyed>> = BTreeMap::new();
    for point in &survey.points {
        if let Some(name) = point.point.system.as_deref().filter(is_log) {
            logs.entry(name).or_default().push(point);
        }
    }
    for (name, there) in logs {
        if known.has_begun(name) || !there.iter().any(|log| known.is_signed(log)) {
            continue;
        }
        let signed = there.iter().filter(|log| log.point.signer.is_some());
        let signed: BTreeSet<String> = signed.map(|log| identity(log)).collect();
        // Its own points say that no unsigned one is from before: what was seen of such is somebody else's.
        let hosts = there.iter().filter(|log| known.is_signed(log)).map(|log| log.host());
        let hosts: BTreeSet<&str> = hosts.collect();
        let is_promised = SystemName::of_log(name).is_some_and(|system| {
            let mut points = survey.of(&system).filter(|point| hosts.contains(point.host()));
            points.any(|point| point.promises_log(&keys))
        });
        let is_early = |seen: &&&Seen| {
            !is_promised && seen.system.as_deref() == Some(name) && !signed.contains(&seen.point)
        };
        begin_log(state, name, seen.iter().filter(is_early).map(|seen| seen.point.clone()).collect())?;
    }
    Ok(())
}

impl Surveyed {
    /// Returns the machine that it says it is of.
    pub(crate) fn host(&self) -> &str {
        &self.point.snapshot.hostname
    }

    /// As [`promises`].
    pub(crate) fn promises_log(&self, keys: &Keys<'_>) -> bool {
        promises(self.point.info.as_ref(), (self.host(), self.point.signer.as_deref()), keys)
    }
}

/// Returns what stands for it that a log is signed. It is kept among what is from before, with which it is taken over where a state is made anew.
fn begun(log: &str) -> String {
    format!("{log} is signed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use state::How;

    const A: &str = "aaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbb";

    fn log<'a>(identity: &str, host: &'a str, key: Option<&'a str>) -> LogHand<'a> {
        LogHand { identity: identity.into(), host, key, is_kin: host == "here" }
    }

    #[test]
    fn a_log_is_good_by_its_machines_key_by_a_person_or_since_it_was_there_before_the_first_signed_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let bad = |logs: &[LogHand<'_>]| {
            let known = Known::read(&state).unwrap();
            let judged = known.unvouched_logs("shop/log", Some("here"), logs, &known.keys(&[]), false);
            judged.iter().map(Option::is_some).collect::<Vec<_>>()
        };
        let unsigned = log("one", "here", None);
        let foreign = log("two", "here", Some(B));
        assert_eq!(bad(&[unsigned.clone(), foreign.clone()]), [false, false], "nobody signs here");
        state.know_signer("here", A, How::Own, Timestamp::UNIX_EPOCH).unwrap();
        state.know_signer("there", B, How::First, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(bad(&[unsigned.clone(), foreign.clone()]), [false, true], "no log is signed yet");
        let signed = log("three", "here", Some(A));
        let elsewhere = log("four", "there", Some(B));
        let all = [unsigned.clone(), foreign, signed, elsewhere];
        assert_eq!(bad(&all), [true, true, false, true]);
        begin_log(&state, "shop/log", vec!["one".into()]).unwrap();
        assert_eq!(bad(&all), [false, true, false, true], "it was there before");
        // However it is alone now.
        assert_eq!(bad(&[log("five", "here", None)]), [true]);
        state.accept("five", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(bad(&[log("five", "here", None)]), [false]);
        assert!(!Known::read(&state).unwrap().has_begun("mail/log"));
    }

    #[test]
    fn an_unsigned_log_is_nobodys_also_alone_where_a_point_of_a_known_key_says_that_its_log_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.know_signer("here", A, How::First, Timestamp::UNIX_EPOCH).unwrap();
        let known = Known::read(&state).unwrap();
        let keys = known.keys(&[]);
        let says = PointInfo { log_signed: true, ..PointInfo::default() };
        let silent = PointInfo::default();
        // A point that an older program made, one of another's key or of no one, one of another machine: nobody's word.
        let points = [
            (Some(&says), "here", Some(A), true),
            (Some(&silent), "here", Some(A), false),
            (Some(&says), "here", Some(B), false),
            (Some(&says), "here", None, false),
            (Some(&says), "there", Some(A), false),
            (None, "here", Some(A), false),
        ];
        for (info, host, key, promised) in points {
            assert_eq!(promises(info, (host, key), &keys), promised, "{host} {key:?}");
        }
        let alone = [log("one", "here", None)];
        let bad = |is_promised| {
            known.unvouched_logs("shop/log", Some("here"), &alone, &keys, is_promised).remove(0).is_some()
        };
        assert!(bad(true) && !bad(false));
        // What this machine has noted as its own, or a person has accepted, stays good.
        state.note_early(&["one".into()]).unwrap();
        let known = Known::read(&state).unwrap();
        assert_eq!(known.unvouched_logs("shop/log", Some("here"), &alone, &keys, true), [None]);
    }
}

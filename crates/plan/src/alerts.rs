//! What people are told without asking: from what was seen to what is wrong ([`troubles`]), and from what is wrong to what is said of it now ([`moves`]).
//!
//! Both are pure: whoever looks brings the clock and what he has seen, and keeps what is open between two looks, so that each trouble is told once, again at a bounded
//! rate while nobody has it in hand, and once more when it is over.

mod judge;

pub use judge::{is_left, troubles};

use crate::{SystemName, VaultName};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The newest point looks like the work of an attacker, or like a loss.
    Suspicious,
    /// More would be lost than was promised.
    Rpo,
    /// Something that was captured is captured no more, since the plan was edited.
    Dropped,
    /// No point could be made.
    Backup,
    /// A point lacks something.
    Incomplete,
    /// A vault vanished, or can't be reached.
    Unreachable,
    /// A vault holds something that is damaged.
    Damaged,
    /// Points that were in a vault are not listed there any more.
    Vanished,
    /// Points in a vault aren't what they say: unsigned, of an unknown machine, or of a time that can't be.
    Strange,
    /// A vault could not be verified.
    Verification,
    /// A vault could not be pruned.
    Prune,
    /// A vault isn't as immutable as promised.
    Immutable,
    /// A log has a gap, or isn't received.
    Log,
    /// The agent isn't running.
    Agent,
    /// A disk is full.
    Full,
    /// A recovery has failed, or was left, and nobody carries it on.
    Recovery,
    /// A machine that was cut off isn't any more, or not as it was asked for, and nobody has released it.
    Isolation,
    /// Somebody has changed the plan whom the agent doesn't believe.
    Plan,
    /// What a machine remembers isn't what its points say, or is gone.
    Records,
    /// Another key signs a machine's points than has signed them so far, and no person has seen that.
    Signing,
}

impl Kind {
    /// Returns whether it comes and goes by itself: then it is over only once it has been away for a while.
    const fn comes_and_goes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Full | Self::Log | Self::Agent)
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What kind.
    pub kind: Kind,
    /// The system, the vault, the machine or the folder that it is about.
    pub about: String,
    /// Since when, as far as is known.
    pub since: Timestamp,
    /// What was seen, for a person.
    pub seen: String,
    /// The point that it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// What to do about it, as far as whoever failed knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

impl Trouble {
    /// Returns what the same trouble is called at the next look.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = format!("{:?}", self.kind).to_lowercase();
        format!("{kind}/{}", self.about)
    }
}

/// What was seen of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemSeen {
    /// The instant that it would come back to now: of its newest point that is whole and not suspicious, and of its log.
    pub reached: Option<Timestamp>,
    /// The newest run, if any is known.
    pub last: Option<RunSeen>,
    /// What is wrong with its log, and since when.
    pub log: Option<(Timestamp, String)>,
    /// How long making its last whole point took.
    pub takes: SignedDuration,
    /// The vaults that the plan names since its newest point was made and that haven't got it, and when that was.
    pub unspread: Option<(Timestamp, BTreeSet<VaultName>)>,
    /// It is down or on its way back, and people know: no points are made of it.
    pub down: bool,
}

/// What was seen of the newest run of a system, and of those before it that went the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSeen {
    /// When the first of these began.
    pub since: Timestamp,
    /// When the last of them began.
    pub latest: Timestamp,
    /// How many they are.
    pub times: u32,
    /// What came of them.
    pub came: Came,
    /// Why the newest point is suspicious, if it is, whatever became of runs that made none.
    pub suspicious: Option<String>,
    /// The newest point.
    pub point: Option<String>,
    /// What to do about the last of them, as far as it knew.
    pub way_out: Option<String>,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// A point that lacks nothing.
    Whole,
    /// A point that lacks something: what, and whether that is vaults alone.
    Lacking(String, BTreeSet<VaultName>),
    /// No point: why.
    Nothing(String),
}

/// What was seen of a vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultSeen {
    /// It can't be reached: since when, why, and whether that may pass by itself.
    pub unreachable: Option<(Timestamp, String, bool)>,
    /// The last verification, or the last repair, has left something damaged.
    pub damaged: Option<(Timestamp, String)>,
    /// Points that were in it are not listed any more, and nobody is known to have taken them out.
    pub vanished: Option<(Timestamp, String)>,
    /// Points are in it that aren't what they say.
    pub strange: Option<(Timestamp, String)>,
    /// The last verification could not be done.
    pub unverified: Option<(Timestamp, String)>,
    /// The last prune could not be done, or found something.
    pub unpruned: Option<(Timestamp, String)>,
    /// The last look at its immutability was not as promised.
    pub not_held: Option<(Timestamp, String)>,
    /// What to do about these, as far as whoever failed knew.
    pub ways_out: BTreeMap<Kind, String>,
}

/// What was seen of something that is captured no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedSeen {
    /// Since when.
    pub since: Timestamp,
    /// What, for a person.
    pub what: String,
    /// The newest point of its system, where the plan has that still.
    pub point: Option<String>,
}

/// What was seen of a recovery that has not brought back all that it was to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftSeen {
    /// When it began.
    pub since: Timestamp,
    /// Its systems, with a comma between each two.
    pub of: String,
    /// How it stands, for a person.
    pub what: String,
}

/// What was seen at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Now.
    pub now: Timestamp,
    /// Since when anybody looks: what was promised before that was not watched.
    pub watched: Timestamp,
    /// Since when whoever looks has been at work without a long sleep, as of a machine that is suspended at night: what was due meanwhile is given some minutes.
    pub awake: Timestamp,
    /// What this machine calls itself.
    pub machine: String,
    /// Whoever looks runs again soon, so that what passes by itself within minutes can pass.
    pub patient: bool,
    /// For each system that something is known of.
    pub systems: BTreeMap<SystemName, SystemSeen>,
    /// For each vault that something is known of.
    pub vaults: BTreeMap<VaultName, VaultSeen>,
    /// Folders whose disk is full, and how full.
    pub full: BTreeMap<String, String>,
    /// Folders whose disk could not be asked.
    pub unasked: BTreeSet<String>,
    /// Recoveries that have failed or were left, and that nobody carries on.
    pub left: Vec<LeftSeen>,
    /// For each system, also one that the plan has no more, what of it is captured no more.
    pub dropped: BTreeMap<SystemName, DroppedSeen>,
    /// Systems that somebody brings back just now.
    pub tried: BTreeSet<String>,
    /// When the agent was last seen, where it should be running and isn't.
    pub agent: Option<Timestamp>,
    /// Since when this machine should be cut off and what it is instead, where that isn't as it was asked for.
    pub isolation: Option<(Timestamp, String)>,
    /// Since when the agent goes by an older plan than what stands in the file, and why.
    pub plan: Option<(Timestamp, String)>,
    /// What was found when the records here were held against the points in the vaults, and since when.
    pub records: Option<(Timestamp, String)>,
    /// That a new key signs here, and since when, until a person has seen it.
    pub signing: Option<(Timestamp, String)>,
}

/// A trouble that people were told of, and that isn't over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// What is wrong, as it was seen last.
    pub trouble: Trouble,
    /// When it was told first.
    pub begun: Timestamp,
    /// When it was told last.
    pub told: Timestamp,
    /// How often it was told.
    pub times: u32,
    /// Somebody has said that he has it.
    pub in_hand: bool,
    /// Since when it is not seen any more.
    pub away: Option<Timestamp>,
}

/// What is to be done about one trouble now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// It is new: tell it.
    Begin(Trouble),
    /// Nobody has it in hand: tell it again.
    Again(Trouble),
    /// It is over: say so.
    End(Open),
    /// It is still open, and this is to be remembered of it.
    Keep(Open),
}

/// How long what comes and goes must be away to be over.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);

/// Returns what is to be done at `now`: of these troubles and of what is open, by its key. What [`is_left`] as it is, is not over. `again`: how long after it was told
/// last it is told again, while nobody has it in hand.
#[must_use]
pub fn moves(
    troubles: &[Trouble],
    open: &BTreeMap<String, Open>,
    is_left: &dyn Fn(&Trouble) -> bool,
    now: Timestamp,
    again: SignedDuration,
) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut seen = BTreeSet::new();
    for trouble in troubles {
        let key = trouble.key();
        match open.get(&key) {
            // Two of one name are one trouble.
            _ if !seen.insert(key.clone()) => {}
            None => moves.push(Move::Begin(trouble.clone())),
            // A clock that was set back doesn't keep anybody from being told.
            Some(known)
                if !known.in_hand && (now.duration_since(known.told) >= again || known.told > now) =>
            {
                moves.push(Move::Again(trouble.clone()));
            }
            Some(known) => {
                let since = known.trouble.since.min(trouble.since);
                let trouble = Trouble { since, ..trouble.clone() };
                // How full a disk is changes all the time, and what is written there makes it fuller.
                let is_news = trouble.kind != Kind::Full && known.trouble != trouble;
                if known.away.is_some() || is_news {
                    moves.push(Move::Keep(Open { trouble, away: None, ..known.clone() }));
                }
            }
        }
    }
    for known in open.iter().filter(|(key, _)| !seen.contains(*key)).map(|(_, known)| known) {
        match known.away {
            // Nobody could look at it, so nobody has found it mended.
            _ if is_left(&known.trouble) => {
                if known.away.is_some() {
                    moves.push(Move::Keep(Open { away: None, ..known.clone() }));
                }
            }
            _ if !known.trouble.kind.comes_and_goes() => moves.push(Move::End(known.clone())),
            Some(away) if now.duration_since(away).abs() >= SETTLED => moves.push(Move::End(known.clone())),
            Some(_) => {}
            None => moves.push(Move::Keep(Open { away: Some(now), ..known.clone() })),
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: SignedDuration = SignedDuration::from_hours(24);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn trouble(kind: Kind) -> Trouble {
        Trouble { kind, about: "shop".into(), since: at(0), seen: "seen".into(), point: None, way_out: None }
    }

    /// Carries out moves as an engine does.
    fn carry(open: &mut BTreeMap<String, Open>, troubles: &[Trouble], now: i64) -> Vec<&'static str> {
        let mut said = Vec::new();
        for next in moves(troubles, open, &|_| false, at(now), AGAIN) {
            match next {
                Move::Begin(trouble) => {
                    let now = at(now);
                    let one = Open { trouble, begun: now, told: now, times: 1, in_hand: false, away: None };
                    open.insert(one.trouble.key(), one);
                    said.push("begin");
                }
                Move::Again(trouble) => {
                    let one = open.get_mut(&trouble.key()).unwrap();
                    (one.told, one.times) = (at(now), one.times + 1);
                    said.push("again");
                }
                Move::End(one) => {
                    open.remove(&one.trouble.key());
                    said.push("end");
                }
                Move::Keep(one) => {
                    open.insert(one.trouble.key(), one);
                }
            }
        }
        said
    }

    #[test]
    fn a_trouble_is_told_once_and_again_when_it_is_over() {
        let mut open = BTreeMap::new();
        let one = [trouble(Kind::Rpo)];
        assert_eq!(carry(&mut open, &one, 0), ["begin"]);
        for now in 1..100 {
            assert!(carry(&mut open, &one, now).is_empty());
        }
        assert_eq!(carry(&mut open, &[], 100), ["end"]);
        assert!(carry(&mut open, &[], 101).is_empty());
    }

    #[test]
    fn it_is_told_again_once_a_day_until_somebody_has_it() {
        let mut open = BTreeMap::new();
        let one = [trouble(Kind::Backup)];
        let told: Vec<_> = (0..72).flat_map(|hour| carry(&mut open, &one, hour * 3600)).collect();
        assert_eq!(told, ["begin", "again", "again"]);
        open.values_mut().for_each(|open| open.in_hand = true);
        assert!((72..200).all(|hour| carry(&mut open, &one, hour * 3600).is_empty()));
        assert_eq!(carry(&mut open, &[], 200 * 3600), ["end"]);
    }

    #[test]
    fn what_comes_and_goes_is_one_trouble() {
        let mut open = BTreeMap::new();
        let one = [trouble(Kind::Unreachable)];
        let mut said = Vec::new();
        for minute in 0..60 {
            let seen: &[Trouble] = if minute % 3 == 0 { &one } else { &[] };
            said.extend(carry(&mut open, seen, minute * 60));
        }
        assert_eq!(said, ["begin"]);
        assert_eq!(carry(&mut open, &[], 3_800), ["end"]);
    }

    #[test]
    fn two_troubles_of_one_name_are_one() {
        let two = [trouble(Kind::Log), trouble(Kind::Log)];
        assert_eq!(moves(&two, &BTreeMap::new(), &|_| false, at(0), AGAIN).len(), 1);
    }

    #[test]
    fn what_nobody_could_look_at_is_not_over() {
        for kind in [Kind::Damaged, Kind::Unreachable] {
            let mut open = BTreeMap::new();
            assert_eq!(carry(&mut open, &[trouble(kind)], 0), ["begin"]);
            for now in [1, 1_000, 100_000] {
                assert!(moves(&[], &open, &|_| true, at(now), AGAIN).is_empty());
            }
            // From then on that somebody looks, it is away.
            carry(&mut open, &[], 100_001);
            assert_eq!(open.is_empty(), kind == Kind::Damaged);
            carry(&mut open, &[], 100_400);
            assert!(open.is_empty());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_silence_anything() {
        let mut open = BTreeMap::new();
        let one = [trouble(Kind::Backup)];
        assert_eq!(carry(&mut open, &one, 1_000_000), ["begin"]);
        assert_eq!(carry(&mut open, &one, 0), ["again"]);
        assert!(carry(&mut open, &one, 1).is_empty());
    }
}

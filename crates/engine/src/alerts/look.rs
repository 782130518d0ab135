//! What is seen now: by the records, by the signs that others have noted, and by this machine itself.

use super::Watchman;
use super::mended::Mended;
use super::unspread::unspread;
use crate::Result;
use crate::dropped::Known;
use crate::judge::suspicious;
use crate::log::is_to_come;
use crate::outage::outage;
use crate::proof::{Damage, several};
use crate::unfinished::unfinished;
use jiff::{SignedDuration, Timestamp};
use plan::alerts::{Came, DroppedSeen, Kind, LeftSeen, RunSeen, Seen, SystemSeen, VaultSeen};
use plan::dropped::Dropped;
use plan::{SystemName, VaultName};
use state::{Body, Made, Record, State};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How long the agent may be unseen: it says that it is there twice a minute.
const UNSEEN_FOR: SignedDuration = SignedDuration::from_mins(5);
/// A disk is full with less than one part in so many, and never with more than [`ROOM_MOST`] bytes.
const ROOM_PART: u64 = 50;
const ROOM_MOST: u64 = 2 << 30;

/// Returns how many bytes are free on the disk of a folder and how many it has, if it can be asked.
#[must_use]
pub fn free_room(folder: &Path) -> Option<(u64, u64)> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
}

/// Returns when the agent was last seen on this machine, if there was one and it isn't running any more.
pub fn absent_agent(state: &State, now: Timestamp) -> Result<Option<state::Beat>> {
    let beat = state.beat()?;
    Ok(beat.filter(|beat| beat.stopped || now.duration_since(beat.at) > UNSEEN_FOR))
}

impl Watchman<'_> {
    /// Looks at everything that can be known without asking the vaults.
    pub fn look(&self) -> Result<Seen> {
        let (plan, state, now) = (self.notifier.plan, self.notifier.state, (self.notifier.now)());
        let records = state.records()?;
        let trusted = state.trusted()?;
        let mended = Mended::read(plan, state, &records)?;
        let seen = |name: &SystemName| (name.clone(), system(&records, &trusted, &mended, name, now));
        let mut systems: BTreeMap<SystemName, SystemSeen> = plan.systems.keys().map(seen).collect();
        let reached = state.reached()?;
        let stands = state.stands()?;
        let logs = state.signs("log/")?;
        let mut without = unspread(plan, self.machine, state, &records)?;
        for (name, system) in &mut systems {
            // What a clock noted that was ahead promises nothing.
            for noted in [reached.get(&name.0), stands.get(&name.0)] {
                let noted = noted.filter(|noted| !is_to_come(**noted, now));
                system.reached = system.reached.max(noted.copied());
            }
            system.unspread = without.remove(name);
            system.down = outage(state, &records, name)?.is_some();
            system.log = logs.get(&name.0).map(|sign| (sign.since, sign.why.clone()));
        }
        let signs = state.signs("vault/")?;
        let vanished = state.signs(crate::vanished::SIGN)?;
        let strange = state.signs(crate::strange::SIGN)?;
        let vaults = plan.vaults.keys().map(|name| {
            let mut seen = vault(&records, name);
            let sign = signs.get(&name.0);
            seen.unreachable = sign.map(|sign| (sign.since, sign.why.clone(), sign.may_pass));
            seen.vanished = vanished.get(&name.0).map(|sign| (sign.since, sign.why.clone()));
            seen.strange = strange.get(&name.0).map(|sign| (sign.since, sign.why.clone()));
            (name.clone(), seen)
        });
        let vaults = vaults.collect();
        let (mut left, mut tried) = (Vec::new(), BTreeSet::new());
        for one in unfinished(state, self.notifier.holder)? {
            match one.is_tried() {
                true => tried.extend(one.systems),
                false => {
                    let (of, what) = (one.systems.join(", "), one.said());
                    left.push(LeftSeen { since: one.since, of, what });
                }
            }
        }
        let edited = state.signs(crate::trust::SIGN)?.into_values().next();
        let found = state.signs(crate::heads::SIGN)?.into_values().next();
        let signing = state.signs(crate::signers::SIGN)?.into_values().next();
        let known = Known::of(plan, state, &records)?;
        let mut dropped: BTreeMap<SystemName, DroppedSeen> = BTreeMap::new();
        for name in plan.systems.keys() {
            let all = known.of_system(name, None);
            if let Some(since) = all.iter().map(|one| one.since).min() {
                let what = all.iter().map(Dropped::said).collect::<Vec<_>>().join("; ");
                let point = all.first().map(|one| one.newest.clone());
                dropped.insert(name.clone(), DroppedSeen { since, what, point });
            }
        }
        for one in known.removed() {
            let seen = DroppedSeen { since: one.last, what: one.said(), point: None };
            dropped.insert(one.system, seen);
        }
        let agent = match self.is_agent {
            true => None,
            false => absent_agent(state, now)?.map(|beat| beat.at),
        };
        let (full, unasked) = self.full();
        Ok(Seen {
            now,
            watched: state.watched_since(now)?,
            // Who comes by now and then has slept in between anyway.
            awake: if self.is_agent {
                state.awake_since()?.unwrap_or(Timestamp::MIN)
            } else {
                Timestamp::MIN
            },
            machine: self.machine.to_owned(),
            patient: self.is_agent,
            systems,
            vaults,
            full,
            unasked,
            left,
            dropped,
            tried,
            agent,
            isolation: crate::isolate::broken(self.folder, now),
            plan: edited.map(|sign| (sign.since, sign.why)),
            records: found.map(|sign| (sign.since, sign.why)),
            signing: signing.map(|sign| (sign.since, sign.why)),
        })
    }

    /// Returns the folders of the state and of vaults here whose disk is full, and those whose disk can't be asked.
    fn full(&self) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let plan = self.notifier.plan;
        let vaults = plan
            .vaults
            .iter()
            .filter_map(|(name, vault)| Some((vault::store::local_folder(&vault.url)?, Some(name))));
        let folders = std::iter::once((self.folder.to_owned(), None)).chain(vaults);
        let (mut full, mut unasked) = (BTreeMap::new(), BTreeSet::new());
        for (folder, vault) in folders {
            let called = folder.display().to_string();
            let Some((free, all)) = free_room(&folder) else {
                unasked.insert(called);
                continue;
            };
            let is_full = free < (all / ROOM_PART).min(ROOM_MOST);
            let mut how = format!("{} of {} are left", plan::Size(free), plan::Size(all));
            if let Some(name) = vault {
                how.push_str(&format!(
                    "; it holds the vault {name}, where releve prune {name} --now makes room"
                ));
            }
            if is_full {
                full.insert(called, how);
            }
        }
        (full, unasked)
    }
}

/// Returns what the records say of a system.
fn system(
    records: &[Record],
    trusted: &[String],
    mended: &Mended,
    name: &SystemName,
    now: Timestamp,
) -> SystemSeen {
    let mut seen = SystemSeen::default();
    for record in records {
        let Body::Backup(made) = &record.body else { continue };
        if made.system != name.0 || made.refused {
            continue;
        }
        let came = came(made, mended);
        let (suspicious, point) = match (&came, &seen.last) {
            // A run that made no point leaves the newest one as it is.
            (Came::Nothing(_), Some(last)) => (last.suspicious.clone(), last.point.clone()),
            _ => (suspicious(made, trusted).cloned(), Some(made.point.clone())),
        };
        let point = point.filter(|point| !point.is_empty());
        if is_whole(made, &came) && suspicious.is_none() && !is_to_come(made.started, now) {
            seen.reached = seen.reached.max(Some(made.started));
            seen.takes = SignedDuration::try_from_secs_f64(made.seconds).unwrap_or_default();
        }
        let (since, times) = match &seen.last {
            Some(last)
                if std::mem::discriminant(&last.came) == std::mem::discriminant(&came)
                    && last.suspicious.is_some() == suspicious.is_some() =>
            {
                (last.since, last.times.saturating_add(1))
            }
            _ => (made.started, 1),
        };
        seen.last = Some(RunSeen {
            since,
            latest: made.started,
            times,
            came,
            suspicious,
            point,
            way_out: made.help.clone(),
        });
    }
    seen
}

/// Returns whether a point is whole in some vault: a crash costs no more than what came since, and which vaults lack it is told by itself.
fn is_whole(made: &Made, came: &Came) -> bool {
    match came {
        Came::Whole => true,
        Came::Nothing(_) => false,
        Came::Lacking(_, vaults) => {
            made.unread == 0 && !vaults.is_empty() && made.vaults.values().any(Option::is_none)
        }
    }
}

/// Returns what came of a run, by where its point is now.
fn came(made: &Made, mended: &Mended) -> Came {
    if let Some(why) = &made.failure {
        return Came::Nothing(why.clone());
    }
    let without: Vec<_> =
        made.vaults.iter().filter_map(|(vault, why)| Some((vault, why.as_ref()?))).collect();
    let missing: Vec<_> =
        without.iter().filter(|(vault, _)| !mended.has(vault.as_str(), &made.point)).copied().collect();
    // All was read, and those that lacked it have got it since.
    let is_mended = !without.is_empty() && made.unread == 0;
    if missing.is_empty() && (made.complete || is_mended) {
        return Came::Whole;
    }
    let mut lacks: Vec<String> =
        missing.iter().map(|(vault, why)| format!("not in {vault}: {why}")).collect();
    // What the source itself said of the first says what is in the way.
    let first = made.unread_first.as_ref().map_or_else(String::new, |first| format!(": {first}"));
    match made.unread {
        0 => {}
        1 => lacks.push(format!("one thing could not be read{first}")),
        many => lacks.push(format!("{many} things could not be read{first}")),
    }
    if lacks.is_empty() {
        lacks.push("it is not whole".to_owned());
    }
    let only_vaults = made.unread == 0;
    let vaults = missing.iter().filter(|_| only_vaults).map(|(vault, _)| VaultName::from(vault.as_str()));
    Came::Lacking(lacks.join("; "), vaults.collect())
}

/// Returns what the records say of a vault.
fn vault(records: &[Record], name: &VaultName) -> VaultSeen {
    let mut seen = VaultSeen::default();
    let mut damage = Damage::default();
    for record in records {
        match (damage.note(&record.body, &name.0), &record.body) {
            // A verification has said more of it than how many packs are gone.
            (Some(Some(_)), Body::Backup(_)) if seen.damaged.is_some() => {}
            (Some(damage), _) => since(&mut seen.damaged, record.time, damage),
            (None, _) => {}
        }
        match &record.body {
            Body::Verification(found) if found.vault == name.0 => {
                since(&mut seen.unverified, record.time, found.failure.clone());
                way_out(&mut seen, Kind::Verification, found.help.as_ref());
            }
            Body::Prune(pruned) if pruned.vault == name.0 => {
                since(&mut seen.unpruned, record.time, pruned.failure.clone());
                way_out(&mut seen, Kind::Prune, pruned.help.as_ref());
            }
            Body::Immutability(held) if held.vault == name.0 => {
                let trouble = several(&held.findings).or_else(|| held.not_proven.clone());
                since(&mut seen.not_held, record.time, trouble.or_else(|| held.failure.clone()));
                way_out(&mut seen, Kind::Immutable, held.help.as_ref());
            }
            _ => {}
        }
    }
    seen
}

/// Notes what is to be done about a trouble, as far as the last who failed knew.
fn way_out(seen: &mut VaultSeen, kind: Kind, help: Option<&String>) {
    match help {
        Some(help) => _ = seen.ways_out.insert(kind, help.clone()),
        None => _ = seen.ways_out.remove(&kind),
    }
}

/// Notes a trouble, since when it was there first, or that there is none any more.
fn since(known: &mut Option<(Timestamp, String)>, time: Timestamp, trouble: Option<String>) {
    let first = known.as_ref().map_or(time, |(first, _)| *first);
    *known = trouble.map(|trouble| (first, trouble));
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Plan;
    use state::Copied;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap()
    }

    #[test]
    fn a_crash_costs_what_came_since_the_newest_point_that_some_vault_has_whole() {
        let full = || Some("no space left".to_owned());
        // The vaults, what was not read, when it was made, and when the system would come back to.
        let table = [
            (vec![("a", None), ("b", None)], 0, 5, 5),
            (vec![("a", full()), ("b", None)], 0, 5, 5),
            (vec![("a", full()), ("b", full())], 0, 5, 1),
            (vec![("a", full()), ("b", None)], 3, 5, 1),
            (vec![("a", None), ("b", None)], 0, 900, 1),
        ];
        for (vaults, unread, hour, reached) in table {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(dir.path()).unwrap();
            let first = Made {
                system: "shop".into(),
                started: at(1),
                complete: true,
                vaults: [("b".to_owned(), None)].into(),
                ..Made::default()
            };
            state.append(Body::Backup(first), at(1)).unwrap();
            let made = Made {
                system: "shop".into(),
                started: at(hour),
                complete: unread == 0 && vaults.iter().all(|(_, why)| why.is_none()),
                unread,
                vaults: vaults.iter().map(|(name, why)| ((*name).to_owned(), why.clone())).collect(),
                ..Made::default()
            };
            state.append(Body::Backup(made), at(hour)).unwrap();
            let seen = system(&state.records().unwrap(), &[], &Mended::default(), &"shop".into(), at(6));
            assert_eq!(seen.reached, Some(at(reached)), "{vaults:?}, {unread}, {hour}");
        }
    }

    #[test]
    fn a_point_lacks_no_vault_that_has_got_it_since_by_a_copy_or_as_it_was_seen_there() {
        let plan = Plan {
            vaults: ["a", "b"].map(|name| (name.into(), plan::Vault::default())).into(),
            ..Plan::default()
        };
        let gone = || Some("vault was there before and is gone".to_owned());
        let copied = |point: &str, vault: &str| {
            Body::Sync(Copied { points: vec![(point.into(), vault.into())], ..Copied::default() })
        };
        let nothing = || Body::Sync(Copied::default());
        // What was not read, what was copied, what was seen in `b`, and whether the newest point is whole now.
        let table = [
            (0, nothing(), None, false),
            (0, copied("p1", "b"), None, true),
            (0, copied("p1", "a"), None, false),
            (0, copied("p0", "b"), None, false),
            (0, nothing(), Some("p1 tree 2027-01-15T08:00:00Z"), true),
            (0, nothing(), Some("p0 tree 2027-01-15T08:00:00Z"), false),
            // What was not read comes by no copy.
            (3, copied("p1", "b"), None, false),
        ];
        for (unread, copied, point, whole) in table {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(dir.path()).unwrap();
            let made = Made {
                system: "shop".into(),
                point: "p1".into(),
                started: at(1),
                unread,
                vaults: [("a".to_owned(), None), ("b".to_owned(), gone())].into(),
                ..Made::default()
            };
            state.append(Body::Backup(made), at(1)).unwrap();
            let told = format!("{unread} {copied:?} {point:?}");
            state.append(copied, at(2)).unwrap();
            if let Some(point) = point {
                state.saw_written("b", "snapshot", point, Some("shop"), at(2)).unwrap();
            }
            let records = state.records().unwrap();
            let mended = Mended::read(&plan, &state, &records).unwrap();
            let came = system(&records, &[], &mended, &"shop".into(), at(3)).last.unwrap().came;
            assert_eq!(came == Came::Whole, whole, "{told}: {came:?}");
        }
    }
}

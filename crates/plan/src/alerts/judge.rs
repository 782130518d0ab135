//! What is wrong, of what was seen. What may pass by itself within minutes is given them; what was promised and can't be kept is not.

use super::{Came, Kind, RunSeen, Seen, SystemSeen, Trouble, VaultSeen};
use crate::{Plan, System, SystemName, VaultName};
use jiff::{SignedDuration, Timestamp};

/// How long a vault may be out of reach: a night's maintenance is no alarm, a day without a second copy is one.
const UNREACHABLE_FOR: SignedDuration = SignedDuration::from_hours(1);
/// How long a run that failed is given: the agent tries again after a minute.
const RUN_FOR: SignedDuration = SignedDuration::from_mins(5);
/// How long a log may be in trouble: servers are restarted.
const LOG_FOR: SignedDuration = SignedDuration::from_mins(2);
/// How late a point may be, at least and at most, beyond what was promised: making it takes its time.
const LATE: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(2), SignedDuration::from_hours(1));
/// … and of a system elsewhere, whose own agent tells first.
const LATE_ELSEWHERE: SignedDuration = SignedDuration::from_mins(90);

/// Returns what is wrong: of each kind and subject one at most.
#[must_use]
pub fn troubles(plan: &Plan, seen: &Seen) -> Vec<Trouble> {
    let mut found = Vec::new();
    for (name, system) in &plan.systems {
        of_system(plan, name, system, seen, &mut found);
    }
    for (name, vault) in &seen.vaults {
        if plan.vaults.contains_key(name) {
            of_vault(&name.0, vault, seen, &mut found);
        }
    }
    for (folder, how) in &seen.full {
        found.push(trouble(Kind::Full, folder, seen.now, how));
    }
    for (name, dropped) in &seen.dropped {
        let point = dropped.point.clone();
        found.push(Trouble { point, ..trouble(Kind::Dropped, &name.0, dropped.since, &dropped.what) });
    }
    // At once: its systems are down, and nobody is at it.
    for left in seen.left.iter().filter(|left| parts(&left.of).any(|name| plan.systems.contains_key(&name))) {
        found.push(trouble(Kind::Recovery, &left.of, left.since, &left.what));
    }
    // At once too: whoever was kept out is in.
    if let Some((since, why)) = &seen.isolation {
        found.push(trouble(Kind::Isolation, &seen.machine, *since, why));
    }
    if let Some((since, why)) = &seen.plan {
        found.push(trouble(Kind::Plan, &seen.machine, *since, why));
    }
    if let Some((since, why)) = &seen.records {
        found.push(trouble(Kind::Records, &seen.machine, *since, why));
    }
    if let Some((since, why)) = &seen.signing {
        found.push(trouble(Kind::Signing, &seen.machine, *since, why));
    }
    if let Some(last) = seen.agent {
        found.push(trouble(Kind::Agent, &seen.machine, last, "nothing runs by schedule"));
    }
    found
}

/// Returns whether a trouble that is open stays so although [`troubles`] doesn't name it: nobody could look, or what was seen is still there and only not worth an alarm of
/// its own just now. What the plan has no more is over.
#[must_use]
pub fn is_left(plan: &Plan, seen: &Seen, trouble: &Trouble) -> bool {
    let about = trouble.about.as_str();
    let vault = || {
        let name = VaultName::from(about);
        seen.vaults.get(&name).filter(|_| plan.vaults.contains_key(&name))
    };
    let system = || {
        let name = SystemName::from(about);
        let system = plan.systems.get(&name)?;
        Some((seen.systems.get(&name)?, plan.runs_on(system, &seen.machine)))
    };
    let last = || system().filter(|(_, here)| *here).and_then(|(known, _)| known.last.as_ref());
    match trouble.kind {
        // Another alert is told in its place, a recovery is on its way, or the machine is just awake again: what was promised isn't kept by that.
        Kind::Rpo => system().is_some_and(|(known, here)| {
            let is_suspicious = known.last.as_ref().is_some_and(|last| last.suspicious.is_some());
            let since_begun = known.reached.is_some_and(|reached| reached > trouble.since);
            !since_begun && (known.down || (here && is_suspicious) || is_resting(seen, known, here))
        }),
        Kind::Backup => last().is_some_and(|last| matches!(last.came, Came::Nothing(_))),
        Kind::Incomplete => last().is_some_and(|last| last.came != Came::Whole),
        Kind::Log => system().is_some_and(|(known, here)| here && known.log.is_some()),
        Kind::Unreachable => vault().is_some_and(|vault| vault.unreachable.is_some()),
        // What is in it is as it was found last, until somebody can look at all of it again.
        Kind::Damaged | Kind::Prune => {
            vault().is_some_and(|vault| vault.unreachable.is_some() || vault.vanished.is_some())
        }
        Kind::Vanished | Kind::Strange | Kind::Verification | Kind::Immutable => {
            vault().is_some_and(|vault| vault.unreachable.is_some())
        }
        Kind::Full => seen.unasked.contains(about),
        // Trying again isn't being back; and another recovery of the same system may have failed since.
        Kind::Recovery => parts(about).filter(|name| plan.systems.contains_key(name)).any(|name| {
            seen.tried.contains(&name.0) || seen.left.iter().any(|left| parts(&left.of).any(|of| of == name))
        }),
        Kind::Suspicious
        | Kind::Dropped
        | Kind::Agent
        | Kind::Isolation
        | Kind::Plan
        | Kind::Records
        | Kind::Signing => false,
    }
}

/// Returns the systems that an alert about a recovery names.
fn parts(about: &str) -> impl Iterator<Item = SystemName> {
    about.split(", ").map(SystemName::from)
}

fn trouble(kind: Kind, about: &str, since: Timestamp, seen: &str) -> Trouble {
    Trouble { kind, about: about.to_owned(), since, seen: seen.to_owned(), point: None, way_out: None }
}

fn of_system(plan: &Plan, name: &SystemName, system: &System, seen: &Seen, found: &mut Vec<Trouble>) {
    let nothing = SystemSeen::default();
    let known = seen.systems.get(name).unwrap_or(&nothing);
    let here = plan.runs_on(system, &seen.machine);
    let rpo = SignedDuration::try_from(system.rpo.0).unwrap_or(SignedDuration::MAX);
    let late =
        if here { (rpo / 10).clamp(LATE.0, LATE.1).max(known.takes) } else { (rpo / 2).max(LATE_ELSEWHERE) };
    let limit = rpo.saturating_add(late);
    // What nobody has watched for as long as that is not known to be broken.
    let since = known.reached.map_or(seen.watched, |reached| reached.min(seen.now));
    let is_late = seen.now.duration_since(since) > limit && !is_resting(seen, known, here);
    // Points are made in time, and people are told why the newest ones don't count.
    let is_told_otherwise = here
        && known
            .last
            .as_ref()
            .is_some_and(|last| last.suspicious.is_some() && seen.now.duration_since(last.latest) <= limit);
    if is_late && !is_told_otherwise && !known.down && (here || known.reached.is_some()) {
        let text = match known.reached {
            Some(_) => format!("a crash now loses more than {}", system.rpo),
            None => "this machine's records name no restore point of it that is whole".to_owned(),
        };
        // From here no point of it can be made.
        let machine = plan.machine_name(&system.host);
        let way_out =
            (!here).then(|| format!("on {machine}: releve status says why; then releve backup {name} there"));
        found.push(Trouble { way_out, ..trouble(Kind::Rpo, &name.0, since, &text) });
    }
    if let Some((since, why)) = &known.log
        && here
        && lasts(seen, *since) >= LOG_FOR
    {
        found.push(trouble(Kind::Log, &name.0, *since, why));
    }
    let Some(last) = known.last.as_ref().filter(|_| here) else { return };
    if let Some(why) = &last.suspicious {
        let point = last.point.clone();
        found.push(Trouble { point, ..trouble(Kind::Suspicious, &name.0, last.since, why) });
    }
    match &last.came {
        // The next point goes there, so whoever waits for that says nothing before it is late.
        Came::Whole => {
            if let Some((made, vaults)) = &known.unspread
                && (!seen.patient || seen.now.duration_since(*made) > limit)
            {
                let is_away = |name: &&VaultName| {
                    seen.vaults.get(*name).is_some_and(|vault| vault.unreachable.is_some())
                };
                let there = vaults.iter().filter(|name| !is_away(name));
                let names: Vec<&str> = there.map(|name| name.0.as_str()).collect();
                if !names.is_empty() {
                    let what = format!("not in {}, which the plan names since it was made", names.join(", "));
                    let way_out = Some(format!("releve sync {name}, or releve backup {name}"));
                    found.push(Trouble { way_out, ..trouble(Kind::Incomplete, &name.0, *made, &what) });
                }
            }
        }
        Came::Nothing(why) if has_failed(last, seen) => {
            let way_out = last.way_out.clone();
            found.push(Trouble { way_out, ..trouble(Kind::Backup, &name.0, last.since, why) });
        }
        // A vault out of reach is a trouble of its own, and told as that.
        Came::Lacking(_, vaults)
            if !vaults.is_empty()
                && vaults
                    .iter()
                    .all(|vault| seen.vaults.get(vault).is_some_and(|vault| vault.unreachable.is_some())) => {
        }
        Came::Lacking(what, _) if has_failed(last, seen) => {
            let way_out = last.way_out.clone();
            found.push(Trouble { way_out, ..trouble(Kind::Incomplete, &name.0, last.since, what) });
        }
        Came::Nothing(_) | Came::Lacking(..) => {}
    }
}

/// Returns whether the machine is only just awake: the next point is made now, and one that was made elsewhere must be looked for first.
fn is_resting(seen: &Seen, known: &SystemSeen, here: bool) -> bool {
    let rests = if here { RUN_FOR.max(known.takes) } else { LATE_ELSEWHERE };
    lasts(seen, Timestamp::MIN) < rests
}

/// Returns for how long something has lasted while somebody was awake to see it: what a network did before a night's sleep says nothing of the morning.
fn lasts(seen: &Seen, since: Timestamp) -> SignedDuration {
    // A clock that was set back makes nobody wait.
    let awake = if seen.awake > seen.now { Timestamp::MIN } else { seen.awake };
    seen.now.duration_since(since.max(awake))
}

/// Returns whether a run that went wrong won't be made up for within minutes.
fn has_failed(run: &RunSeen, seen: &Seen) -> bool {
    !seen.patient || run.times > 1 || lasts(seen, run.since) >= RUN_FOR
}

fn of_vault(name: &str, vault: &VaultSeen, seen: &Seen, found: &mut Vec<Trouble>) {
    if let Some((since, why, may_pass)) = &vault.unreachable
        && (!may_pass || lasts(seen, *since) >= UNREACHABLE_FOR)
    {
        found.push(trouble(Kind::Unreachable, name, *since, why));
    }
    for (kind, what) in [
        (Kind::Damaged, &vault.damaged),
        (Kind::Vanished, &vault.vanished),
        (Kind::Strange, &vault.strange),
        // Where it can't be reached that is said already.
        (Kind::Verification, &vault.unverified.clone().filter(|_| vault.unreachable.is_none())),
        (Kind::Prune, &vault.unpruned.clone().filter(|_| vault.unreachable.is_none())),
        (Kind::Immutable, &vault.not_held),
    ] {
        if let Some((since, why)) = what {
            let way_out = vault.ways_out.get(&kind).cloned();
            found.push(Trouble { way_out, ..trouble(kind, name, *since, why) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::{DroppedSeen, LeftSeen};
    use crate::{Host, Period};
    use std::collections::{BTreeMap, BTreeSet};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    /// `shop` runs here and `mail` elsewhere; each promises an hour.
    fn plan() -> Plan {
        let system = |host: &str| System {
            host: host.into(),
            rpo: Period::seconds(3600),
            rto: Period::seconds(3600),
            ..System::default()
        };
        Plan {
            hosts: [("here".into(), Host::default()), ("there".into(), Host::default())].into(),
            systems: [("shop".into(), system("here")), ("mail".into(), system("there"))].into(),
            vaults: [("near".into(), crate::Vault::default())].into(),
            ..Plan::default()
        }
    }

    fn seen(now: i64) -> Seen {
        Seen {
            now: at(now),
            watched: at(0),
            awake: Timestamp::MIN,
            machine: "here".into(),
            patient: true,
            systems: BTreeMap::new(),
            vaults: BTreeMap::new(),
            full: BTreeMap::new(),
            unasked: BTreeSet::new(),
            left: Vec::new(),
            dropped: BTreeMap::new(),
            tried: BTreeSet::new(),
            agent: None,
            isolation: None,
            plan: None,
            records: None,
            signing: None,
        }
    }

    fn left_of(of: &str) -> LeftSeen {
        LeftSeen { since: at(9), of: of.to_owned(), what: "it has failed".to_owned() }
    }

    fn kinds(seen: &Seen) -> Vec<String> {
        troubles(&plan(), seen).iter().map(Trouble::key).collect()
    }

    fn with(now: i64, system: &str, known: SystemSeen) -> Seen {
        Seen { systems: [(system.into(), known)].into(), ..seen(now) }
    }

    fn run(since: i64, times: u32, came: Came) -> SystemSeen {
        let (since, latest) = (at(since), at(since));
        let last = Some(RunSeen { since, latest, times, came, suspicious: None, point: None, way_out: None });
        SystemSeen { reached: Some(latest), last, ..SystemSeen::default() }
    }

    #[test]
    fn an_edit_of_the_plan_by_somebody_else_is_told_at_once_and_over_once_it_was_accepted() {
        let edited = Seen { plan: Some((at(1), "everybody can write to it".into())), ..seen(1) };
        assert_eq!(kinds(&edited), ["plan/here"]);
        let removed = Seen { records: Some((at(1), "there are no records here".into())), ..seen(2) };
        assert_eq!(kinds(&removed), ["records/here"]);
        let signing = Seen { signing: Some((at(1), "a new key signs".into())), ..seen(2) };
        assert_eq!(kinds(&signing), ["signing/here"]);
        assert!(!is_left(&plan(), &seen(2), &troubles(&plan(), &edited)[0]));
    }

    #[test]
    fn a_promise_is_broken_when_its_time_is_over_and_not_while_the_next_point_is_made() {
        let reached = |minute| SystemSeen { reached: Some(at(minute)), ..SystemSeen::default() };
        assert!(kinds(&with(100, "shop", reached(40))).is_empty());
        assert!(kinds(&with(105, "shop", reached(40))).is_empty());
        assert_eq!(kinds(&with(107, "shop", reached(40))), ["rpo/shop"]);
        // Making a point takes its time, and the next one is on its way.
        let slow = |now| {
            let takes = SignedDuration::from_mins(20);
            kinds(&with(now, "shop", SystemSeen { takes, ..reached(40) }))
        };
        assert!(slow(119).is_empty());
        assert_eq!(slow(121), ["rpo/shop"]);
        // Who brings it back knows that no points are made of it.
        assert!(kinds(&with(500, "shop", SystemSeen { down: true, ..reached(40) })).is_empty());
        // Never a point, and watched for long enough.
        assert!(kinds(&seen(60)).is_empty());
        assert_eq!(kinds(&seen(67)), ["rpo/shop"]);
    }

    #[test]
    fn a_night_in_which_the_machine_slept_is_no_alarm_in_the_morning_and_minutes_later_it_is() {
        let night = |awake: i64, now: i64| {
            let known = SystemSeen {
                reached: Some(at(0)),
                log: Some((at(1), "no route".into())),
                ..SystemSeen::default()
            };
            let out =
                VaultSeen { unreachable: Some((at(1), "no route".into(), true)), ..VaultSeen::default() };
            let seen = Seen { vaults: [("near".into(), out)].into(), ..with(now, "shop", known) };
            kinds(&Seen { awake: at(awake), ..seen })
        };
        assert!(night(480, 481).is_empty());
        assert_eq!(night(480, 486), ["rpo/shop", "log/shop"]);
        assert_eq!(night(480, 541), ["rpo/shop", "log/shop", "unreachable/near"]);
        // A clock that was set back meanwhile.
        assert_eq!(night(5_000, 481), ["rpo/shop", "log/shop", "unreachable/near"]);
    }

    #[test]
    fn a_system_elsewhere_whose_points_have_stopped_is_told_from_here_and_later() {
        let reached = |minute| SystemSeen { reached: Some(at(minute)), ..SystemSeen::default() };
        let both = |now, minute| Seen {
            systems: [("shop".into(), reached(now)), ("mail".into(), reached(minute))].into(),
            ..seen(now)
        };
        assert!(kinds(&both(149, 0)).is_empty());
        assert_eq!(kinds(&both(151, 0)), ["rpo/mail"]);
        let told = troubles(&plan(), &both(151, 0));
        assert!(told[0].way_out.as_ref().unwrap().starts_with("on there: releve status"), "{told:?}");
        // Nothing is known of it here, so nothing is said.
        assert_eq!(kinds(&with(5000, "shop", reached(5000))), Vec::<String>::new());
    }

    #[test]
    fn a_run_that_failed_is_told_once_it_was_tried_again_or_nobody_will() {
        let failed = || Came::Nothing("no".into());
        assert!(kinds(&with(1, "shop", run(0, 1, failed()))).is_empty());
        assert_eq!(kinds(&with(2, "shop", run(0, 2, failed()))), ["backup/shop"]);
        assert_eq!(kinds(&with(6, "shop", run(0, 1, failed()))), ["backup/shop"]);
        let by_hand = Seen { patient: false, ..with(0, "shop", run(0, 1, failed())) };
        assert_eq!(kinds(&by_hand), ["backup/shop"]);
        let lacks = Came::Lacking("3 files were not read".into(), BTreeSet::new());
        assert_eq!(kinds(&with(6, "shop", run(0, 1, lacks))), ["incomplete/shop"]);
        assert!(kinds(&with(6, "shop", run(0, 1, Came::Whole))).is_empty());
    }

    #[test]
    fn a_vault_that_the_plan_names_since_is_shown_at_once_and_told_once_the_next_point_is_late() {
        let new = |minute| SystemSeen {
            unspread: Some((at(0), ["near".into()].into())),
            ..run(minute, 1, Came::Whole)
        };
        assert!(kinds(&with(9, "shop", new(9))).is_empty());
        let shown = Seen { patient: false, ..with(9, "shop", new(9)) };
        assert_eq!(kinds(&shown), ["incomplete/shop"]);
        assert!(kinds(&with(80, "shop", new(79))).contains(&"incomplete/shop".to_owned()));
        let away = VaultSeen { unreachable: Some((at(8), "no route".into(), true)), ..VaultSeen::default() };
        assert!(kinds(&Seen { vaults: [("near".into(), away)].into(), ..shown }).is_empty());
    }

    #[test]
    fn a_suspicious_point_is_told_at_once() {
        let mut known = run(0, 1, Came::Whole);
        known.last.as_mut().unwrap().suspicious = Some("1,008 files became noise".into());
        assert_eq!(kinds(&with(0, "shop", known.clone())), ["suspicious/shop"]);
        // One cause is one alarm, as long as points go on being made.
        known.reached = None;
        let last = known.last.as_mut().unwrap();
        last.latest = at(200);
        assert_eq!(kinds(&with(201, "shop", known.clone())), ["suspicious/shop"]);
        assert_eq!(kinds(&with(300, "shop", known)), ["rpo/shop", "suspicious/shop"]);
    }

    #[test]
    fn a_vault_out_of_reach_is_one_trouble_and_after_an_hour_unless_it_vanished() {
        let out = |may_pass| VaultSeen {
            unreachable: Some((at(0), "no route".into(), may_pass)),
            unverified: Some((at(0), "no route".into())),
            ..VaultSeen::default()
        };
        let near = || VaultName::from("near");
        let lacks = || run(0, 3, Came::Lacking("not in near".into(), [near()].into()));
        let one =
            |now, may_pass| Seen { vaults: [(near(), out(may_pass))].into(), ..with(now, "shop", lacks()) };
        assert!(kinds(&one(59, true)).is_empty());
        assert_eq!(kinds(&one(60, true)), ["unreachable/near"]);
        assert_eq!(kinds(&one(1, false)), ["unreachable/near"]);
    }

    #[test]
    fn an_alert_is_over_only_where_somebody_has_looked() {
        let near = |vault| Seen { vaults: [("near".into(), vault)].into(), ..seen(10) };
        let away =
            || VaultSeen { unreachable: Some((at(9), "no route".into(), true)), ..VaultSeen::default() };
        let empty = || VaultSeen { vanished: Some((at(9), "2 points".into())), ..VaultSeen::default() };
        let ran = |came| with(1, "shop", run(0, 1, came));
        let nothing = || Came::Nothing("no".into());
        let lacking = || Came::Lacking("not in near".into(), ["near".into()].into());
        let known = |known: SystemSeen| with(1, "shop", known);
        let mut full = seen(10);
        full.unasked.insert("/var".to_owned());
        let left = Seen { left: vec![left_of("shop")], ..seen(10) };
        let tried = || Seen { tried: ["shop".to_owned()].into(), ..seen(10) };
        let mut suspicious = run(0, 1, Came::Whole);
        (suspicious.reached, suspicious.down) = (None, false);
        suspicious.last.as_mut().unwrap().suspicious = Some("noise".into());
        let log = SystemSeen { log: Some((at(1), "a gap".into())), ..SystemSeen::default() };
        let down = SystemSeen { down: true, ..SystemSeen::default() };
        // The kind, what it is about, what was seen, and whether the alert stays open.
        let table = [
            (Kind::Damaged, "near", near(away()), true),
            (Kind::Damaged, "near", near(empty()), true),
            (Kind::Damaged, "near", near(VaultSeen::default()), false),
            (Kind::Vanished, "near", near(away()), true),
            (Kind::Verification, "near", near(away()), true),
            (Kind::Verification, "near", near(VaultSeen::default()), false),
            (Kind::Prune, "near", near(away()), true),
            (Kind::Prune, "near", near(empty()), true),
            (Kind::Immutable, "near", near(away()), true),
            (Kind::Unreachable, "near", near(away()), true),
            (Kind::Unreachable, "near", near(empty()), false),
            (Kind::Backup, "shop", ran(nothing()), true),
            (Kind::Backup, "shop", ran(lacking()), false),
            (Kind::Incomplete, "shop", ran(nothing()), true),
            (Kind::Incomplete, "shop", ran(lacking()), true),
            (Kind::Incomplete, "shop", ran(Came::Whole), false),
            (Kind::Rpo, "shop", known(down), true),
            (Kind::Rpo, "shop", known(suspicious), true),
            (Kind::Rpo, "shop", ran(Came::Whole), false),
            (Kind::Rpo, "shop", Seen { awake: at(0), ..known(SystemSeen::default()) }, true),
            (Kind::Log, "shop", known(log), true),
            (Kind::Log, "shop", known(SystemSeen::default()), false),
            (Kind::Full, "/var", full, true),
            (Kind::Full, "/var", seen(10), false),
            (Kind::Recovery, "shop", left.clone(), true),
            // One of the same system has failed since, or is on its way: it isn't back by that.
            (Kind::Recovery, "mail, shop", left, true),
            (Kind::Recovery, "shop", tried(), true),
            (Kind::Recovery, "gone", tried(), false),
            (Kind::Recovery, "shop", seen(10), false),
            (Kind::Agent, "here", seen(10), false),
            (Kind::Suspicious, "shop", ran(Came::Whole), false),
            // What the plan has no more is over.
            (Kind::Damaged, "gone", near(away()), false),
            (Kind::Backup, "gone", ran(nothing()), false),
        ];
        for (kind, about, seen, stays) in table {
            let open = trouble(kind, about, at(0), "seen before");
            assert_eq!(is_left(&plan(), &seen, &open), stays, "{kind:?} of {about}: {seen:?}");
        }
    }

    #[test]
    fn a_recovery_that_failed_is_told_at_once_unless_the_plan_has_none_of_its_systems() {
        let of = |of: &str| kinds(&Seen { left: vec![left_of(of)], ..seen(10) });
        assert_eq!(of("mail, shop"), ["recovery/mail, shop"]);
        assert_eq!(of("gone, shop"), ["recovery/gone, shop"]);
        assert!(of("gone").is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_vault_a_log_a_disk_or_a_recovery_is_told() {
        let vault = VaultSeen {
            damaged: Some((at(0), "a pack".into())),
            vanished: Some((at(0), "2 points".into())),
            strange: Some((at(0), "2 points".into())),
            unverified: Some((at(0), "x".into())),
            unpruned: Some((at(0), "x".into())),
            not_held: Some((at(0), "x".into())),
            unreachable: None,
            ways_out: [(Kind::Prune, "releve prune --trust-clock".to_owned())].into(),
        };
        let mut all = Seen { vaults: [("near".into(), vault)].into(), ..seen(10) };
        all.full = [("/var".into(), "1% is left".into())].into();
        all.left = vec![left_of("shop")];
        let dropped = || DroppedSeen { since: at(9), what: "/srv is no longer captured".into(), point: None };
        all.dropped = [("shop".into(), dropped()), ("gone".into(), dropped())].into();
        all.agent = Some(at(0));
        all.isolation = Some((at(0), "somebody took the rules away".into()));
        let log = SystemSeen { log: Some((at(0), "a gap".into())), ..SystemSeen::default() };
        all.systems = [("shop".into(), log)].into();
        let told = troubles(&plan(), &all);
        let of_prune = told.iter().find(|trouble| trouble.kind == Kind::Prune).unwrap();
        assert_eq!(of_prune.way_out.as_deref(), Some("releve prune --trust-clock"));
        let found = kinds(&all);
        for kind in [
            "log/shop",
            "damaged/near",
            "vanished/near",
            "strange/near",
            "verification/near",
            "prune/near",
            "immutable/near",
            "full//var",
            "recovery/shop",
            "dropped/shop",
            // One that the plan has no more is what it is about.
            "dropped/gone",
            "agent/here",
            "isolation/here",
        ] {
            assert!(found.iter().any(|found| found == kind), "{kind}: {found:?}");
        }
    }
}

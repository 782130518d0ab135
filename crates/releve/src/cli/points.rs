//! `releve points`.

mod accept;

use super::prune::called;
use crate::session::Session;
use crate::show::{self, size, time};
use crate::{Exit, Outcome};
use engine::prune::identity;
use engine::survey::{Survey, Surveyed, survey};
use engine::unfinished::unfinished;
use jiff::Timestamp;
use plan::judge::{Judgement, Rating};
use plan::{Facts, SystemName, VaultName};
use serde_json::json;
use state::How;
use std::collections::{BTreeSet, HashMap};

/// What `points` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releve points\n  releve points shop --json\n  releve points --trust 3f9c0a12   a point that looks suspicious is as it should be\n  \
    releve points --accept           what is strange is the company's own: shows all of it, and asks\n\n\
    Asks the vaults themselves; no state is needed. Exit status 1: a vault could not be asked, a point lacks something or is suspicious, or points that this machine has seen are gone."
)]
pub(super) struct Options {
    /// Only this system's
    system: Option<String>,
    /// This point is as it should be, whatever was told of it: every verb takes it for good from now on, and what else is counted goes on. May be repeated
    #[arg(long, value_name = "ID")]
    trust: Vec<String>,
    /// What this machine takes for strange now (unsigned, signed with an unknown key, of a machine or a time that can't be) is the company's own: all of it, from now on, with the keys that signed it. Shows it, and asks
    #[arg(long)]
    accept: bool,
    /// With --accept: don't ask
    #[arg(long, requires = "accept")]
    yes: bool,
    /// With --accept: show what would be accepted, and accept nothing
    #[arg(long, requires = "accept", conflicts_with = "yes")]
    dry_run: bool,
    /// This key signs for its machine: its letters, as they stand on paper. For a machine that has lost its state, where more than one key signs. May be repeated
    #[arg(long, value_name = "KEY")]
    signer: Vec<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let selected = options.system.clone().into_iter().collect::<Vec<_>>();
    let only = session.systems(&selected)?;
    let state = session.state_if_any();
    crate::walls::around(session, &[]);
    let known = session.known(state.as_ref());
    let vaults = session.ask_all(state.as_ref(), state.as_ref());
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let look = || {
        let vanished = session.vanished(state.as_ref(), &known, &vaults, &survey);
        if options.system.is_some() { vanished.among(&only) } else { vanished }
    };
    let mut vanished = look();
    // What can't be read of the state was said when it was opened.
    let of_state = state.as_ref().and_then(|state| unfinished(state, &session.run_holder()).ok());
    let mut unfinished = of_state.unwrap_or_default();
    unfinished.retain(|one| only.iter().any(|name| one.is_about(name)));
    let wanted = |surveyed: &&Surveyed| {
        options.system.is_none()
            || surveyed.point.system.as_ref().is_some_and(|name| only.iter().any(|only| &only.0 == name))
    };
    for prefix in &options.trust {
        let point = called(&survey, prefix)?;
        session.state()?.trust(&identity(point), Timestamp::now())?;
        eprintln!("point {} counts as good from now on, in every verb on this machine", point.point.id);
        goes_on(session, &survey, point).iter().for_each(|line| eprintln!("{line}"));
    }
    for shown in &options.signer {
        for (host, key) in engine::signers::called(&survey, shown)? {
            session.state()?.know_signer(&host, &key, How::Accepted, Timestamp::now())?;
            eprintln!("the key {} signs for {host} from now on", vault::fingerprint(&key));
        }
    }
    if !options.trust.is_empty() || !options.signer.is_empty() {
        vanished = look();
    }
    let (mut accepted, mut would_accept) = (None, None);
    if options.accept {
        let (taken, exit) = accept::accept(session, options, &mut vanished, &look)?;
        if let Some(exit) = exit {
            return Ok(exit);
        }
        *(if options.dry_run { &mut would_accept } else { &mut accepted }) = Some(taken);
    }
    let survey = session.vouched(state.as_ref(), survey);
    let mut points: Vec<_> = survey.points.iter().filter(wanted).collect();
    // The newest log of a vault holds all that the ones before it do; they only wait to be removed.
    let before = points.len();
    points.retain(|surveyed| {
        !is_log(surveyed) || survey.strange_log(surveyed).is_some() || survey.is_newest_log(surveyed)
    });
    let logs_replaced = before - points.len();
    let judged = judged(session, &survey);
    // Each point is looked up, not searched for: there may be tens of thousands.
    let mut of_id: HashMap<&str, Vec<&Facts>> = HashMap::new();
    for facts in &judged {
        of_id.entry(&facts.id).or_default().push(facts);
    }
    let worth = |surveyed: &Surveyed| {
        if is_log(surveyed) {
            let why = survey.strange_log(surveyed).map(str::to_owned);
            let rating = if why.is_some() { Rating::Unsigned } else { Rating::Good };
            return Judgement { rating, why, ..Judgement::default() };
        }
        let own = of_id.get(surveyed.point.id.as_str()).into_iter().flatten();
        own.copied()
            .find(|facts| facts.time == surveyed.point.time)
            .map_or(Judgement { rating: Rating::Foreign, ..Judgement::default() }, |facts| {
                facts.judgement.clone()
            })
    };
    let is_good = |surveyed: &Surveyed| {
        surveyed.point.system.is_none()
            || !matches!(
                worth(surveyed).rating,
                Rating::Suspicious | Rating::Foreign | Rating::Unsigned | Rating::Future
            )
    };
    // What could not be asked may have it.
    let unknown_in = |surveyed: &Surveyed| -> Vec<VaultName> {
        let lacking = survey.lacking(surveyed, &session.plan).into_iter();
        lacking.filter(|vault| survey.unknown(vault).is_some()).collect()
    };
    let missing = |surveyed: &Surveyed| -> Vec<VaultName> {
        let lacking = survey.lacking(surveyed, &session.plan).into_iter();
        lacking.filter(|vault| survey.unknown(vault).is_none()).collect()
    };
    let whole = |surveyed: &Surveyed| {
        surveyed.point.complete && missing(surveyed).is_empty() && unknown_in(surveyed).is_empty()
    };
    if session.json {
        let list: Vec<_> = points
            .iter()
            .map(|surveyed| {
                let point = &surveyed.point;
                let info = point.info.clone().unwrap_or_default();
                json!({ "id": point.id, "system": point.system, "time": point.time, "bytes": info.bytes, "files": info.regular(),
                    "links": info.links, "specials": info.specials,
                    "vaults": surveyed.vaults, "complete": whole(surveyed), "missing": missing(surveyed),
                    "unknown_in": unknown_in(surveyed), "unread": info.unread_count, "tree": point.tree, "rating": worth(surveyed).rating, "why": worth(surveyed).why, "signed_by": point.signer })
            })
            .collect();
        let unreachable: Vec<_> =
            survey.unreachable.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let damaged: Vec<_> =
            survey.damaged.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let unseen: Vec<_> = survey.unseen.iter().map(|(vault, _)| vault).collect();
        show::print_json(
            &json!({ "points": list, "logs_replaced": logs_replaced, "unreachable": unreachable, "unseen": unseen,
                "damaged": damaged, "vanished": vanished, "accepted": accepted, "would_accept": would_accept,
                "recoveries": unfinished.iter().map(super::unfinished::document).collect::<Vec<_>>() }),
        );
    } else {
        let mut table = show::table(&["point", "system", "time", "files", "bytes", "vaults", ""]);
        for surveyed in &points {
            let point = &surveyed.point;
            let info = point.info.clone().unwrap_or_default();
            let vaults: Vec<_> = surveyed.vaults.iter().map(|vault| vault.0.as_str()).collect();
            let mut lacks =
                missing(surveyed).iter().map(|vault| format!("not in {vault}")).collect::<Vec<_>>();
            let unknown = unknown_in(surveyed);
            lacks.extend(unknown.iter().map(|vault| format!("{vault} could not be asked")));
            if info.unread_count > 0 {
                lacks.push(format!("{} not read", info.unread_count));
            }
            let worth = worth(surveyed);
            match (worth.rating, worth.why) {
                (Rating::Suspicious, Some(why)) => lacks.insert(0, format!("SUSPICIOUS: {why}")),
                (Rating::Foreign | Rating::Unsigned | Rating::Future, Some(why)) => lacks.insert(0, why),
                _ => {}
            }
            let id = point.id.get(..8).unwrap_or(&point.id);
            let system = point.system.as_deref().unwrap_or("(not Relève's)");
            // What nobody counted is no count of nothing: restic's own snapshots tell nothing that is read here.
            let (files, bytes) = match &point.info {
                Some(info) => (info.regular().to_string(), size(info.bytes)),
                None => ("-".to_owned(), "-".to_owned()),
            };
            table.add_row([
                id,
                system,
                &time(point.time),
                &files,
                &bytes,
                &vaults.join(", "),
                &lacks.join("; "),
            ]);
        }
        match (points.is_empty(), survey.not_known()) {
            (true, Some(why)) => println!("not known: {why}"),
            _ => page!("{table}"),
        }
        if logs_replaced > 0 {
            eprintln!(
                "note: {logs_replaced} older logs, held whole by those shown, wait to be removed by a prune"
            );
        }
        unfinished.iter().flat_map(super::unfinished::lines).for_each(|line| eprintln!("{line}"));
        for hold in state.as_ref().and_then(|state| state.holds().ok()).into_iter().flatten() {
            eprintln!("note: {}", super::prune::held(&hold));
        }
        for (vault, _) in &survey.unseen {
            eprintln!("note: vault {vault} is pulled by another machine and can't be seen from here");
        }
        for (vault, why) in survey.troubles() {
            eprintln!("warning: vault {vault}: {why}");
        }
        show::vanished(&vanished);
    }
    let fine = survey.unreachable.is_empty()
        && survey.damaged.is_empty()
        && vanished.is_empty()
        && points.iter().all(|surveyed| whole(surveyed) && is_good(surveyed));
    let none_answers = survey.unreachable.len() + survey.unseen.len() == vaults.len();
    Ok(if none_answers {
        Exit::Failed
    } else if fine {
        Exit::Done
    } else {
        Exit::Finding
    })
}

/// Says what goes on being counted although a person has just taken a point for good: he may know of what was told, and not of that.
pub(super) fn goes_on(session: &Session, survey: &Survey, point: &Surveyed) -> Vec<String> {
    let Some(system) = point.point.system.as_deref().map(SystemName::from) else { return Vec::new() };
    let judged = session.witness().judged(&session.plan, survey, &system, Timestamp::now());
    plan::judge::goes_on(&judged, &point.point.id).iter().map(|what| format!("  {system}: {what}")).collect()
}

/// Returns whether a point is the log of a system: it is no state to come back to, and judged with the points that it goes on from.
fn is_log(surveyed: &Surveyed) -> bool {
    surveyed.point.system.as_deref().is_some_and(|name| SystemName::of_log(name).is_some())
}

/// Returns what each point of a system is worth, whether the plan has the system or not.
fn judged(session: &Session, survey: &Survey) -> Vec<Facts> {
    let (witness, now) = (session.witness(), Timestamp::now());
    let points = survey.points.iter().filter(|surveyed| !is_log(surveyed));
    let systems = points.filter_map(|surveyed| surveyed.point.system.as_deref());
    let systems: BTreeSet<SystemName> = systems.map(SystemName::from).collect();
    systems.iter().flat_map(|system| witness.judged(&session.plan, survey, system, now)).collect()
}

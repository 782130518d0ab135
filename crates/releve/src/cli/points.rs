//! `releve points`.

use crate::session::Session;
use crate::show::{self, size, time};
use crate::{Exit, Outcome};
use engine::survey::{Surveyed, survey};
use serde_json::json;

/// What `points` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releve points\n  releve points shop --json\n\n\
    Asks the vaults themselves; no state is needed. Exit status 1: a vault could not be asked, or a point lacks something.")]
pub(super) struct Options {
    /// Only this system's
    system: Option<String>,
}

pub(super) fn run(session: &Session, options: &Options) -> Outcome {
    let selected = options.system.clone().into_iter().collect::<Vec<_>>();
    let only = session.systems(&selected)?;
    let state = session.state_if_any();
    let vaults = session.ask_all(state.as_ref(), state.as_ref());
    let survey = survey(&vaults).from(&session.plan, &session.holder.hostname);
    let wanted = |surveyed: &&Surveyed| {
        options.system.is_none()
            || surveyed.point.system.as_ref().is_some_and(|name| only.iter().any(|only| &only.0 == name))
    };
    let points: Vec<_> = survey.points.iter().filter(wanted).collect();
    let missing = |surveyed: &Surveyed| survey.lacking(surveyed, &session.plan);
    let whole = |surveyed: &Surveyed| surveyed.point.complete && missing(surveyed).is_empty();
    if session.json {
        let list: Vec<_> = points
            .iter()
            .map(|surveyed| {
                let point = &surveyed.point;
                let info = point.info.clone().unwrap_or_default();
                json!({ "id": point.id, "system": point.system, "time": point.time, "bytes": info.bytes, "files": info.files,
                    "vaults": surveyed.vaults, "complete": whole(surveyed), "missing": missing(surveyed),
                    "unread": info.unread_count, "tree": point.tree })
            })
            .collect();
        let unreachable: Vec<_> =
            survey.unreachable.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let damaged: Vec<_> =
            survey.damaged.iter().map(|(vault, why)| json!({ "vault": vault, "why": why })).collect();
        let unseen: Vec<_> = survey.unseen.iter().map(|(vault, _)| vault).collect();
        show::print_json(
            &json!({ "points": list, "unreachable": unreachable, "unseen": unseen, "damaged": damaged }),
        );
    } else {
        let mut table = show::table(&["point", "system", "time", "files", "bytes", "vaults", ""]);
        for surveyed in &points {
            let point = &surveyed.point;
            let info = point.info.clone().unwrap_or_default();
            let vaults: Vec<_> = surveyed.vaults.iter().map(|vault| vault.0.as_str()).collect();
            let mut lacks =
                missing(surveyed).iter().map(|vault| format!("not in {vault}")).collect::<Vec<_>>();
            if info.unread_count > 0 {
                lacks.push(format!("{} not read", info.unread_count));
            }
            let id = point.id.get(..8).unwrap_or(&point.id);
            let system = point.system.as_deref().unwrap_or("(not Relève's)");
            table.add_row([
                id,
                system,
                &time(point.time),
                &info.files.to_string(),
                &size(info.bytes),
                &vaults.join(", "),
                &lacks.join("; "),
            ]);
        }
        println!("{table}");
        for (vault, _) in &survey.unseen {
            eprintln!("note: vault {vault} is pulled by another machine and can't be seen from here");
        }
        for (vault, why) in survey.unreachable.iter().chain(&survey.damaged) {
            eprintln!("warning: vault {vault}: {why}");
        }
    }
    let fine = survey.unreachable.is_empty()
        && survey.damaged.is_empty()
        && points.iter().all(|surveyed| whole(surveyed));
    let none_answers = survey.unreachable.len() + survey.unseen.len() == vaults.len();
    Ok(if none_answers {
        Exit::Failed
    } else if fine {
        Exit::Done
    } else {
        Exit::Finding
    })
}

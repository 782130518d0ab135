//! How a choice is told: which point was taken, which were not, and the ways on.

use super::{LeftOut, Wanted};
use crate::Facts;
use crate::judge::Rating;

/// Says which of the points that fit was taken. `worth` is what it is: complete, or not.
pub(super) fn of_these(wanted: &Wanted, worth: &str) -> String {
    match wanted {
        Wanted::Latest | Wanted::Until(_) | Wanted::Id(_) | Wanted::From { .. } | Wanted::BeforeNamed => {
            format!("the newest {worth} point")
        }
        Wanted::LastVerified => format!("the newest {worth} point that was verified"),
        Wanted::LastClean if worth == "good and complete" => of_these(wanted, "complete"),
        Wanted::LastClean => format!("the newest {worth} point that shows no sign of tampering"),
        Wanted::Before(time) => format!("the newest {worth} point from before {time}"),
    }
}

/// Says why newer ones were not taken, and how to take one all the same.
pub(crate) fn passed_over(newest: &LeftOut, count: usize) -> String {
    let LeftOut { id, time, why, rating } = newest;
    let others = match count {
        0 | 1 => String::new(),
        2 => ", and so was one more".to_owned(),
        more => format!(", and so were {} more", more - 1),
    };
    let trust = trust(*rating, id);
    format!(
        "a newer one, {id} of {time:.0}, was left out ({why}){others}; to take it all the same: --point {id}{trust}"
    )
}

/// Says why none of these is taken for clean: what an intruder did, or what each of them is left out for.
pub(super) fn not_clean(candidates: &[&Facts]) -> String {
    let Some(newest) = candidates.last() else { return String::new() };
    let LeftOut { id, time, why, rating } = LeftOut::of(newest);
    let others = if candidates.len() > 1 { " (nor is one before it good)" } else { "" };
    let trust = trust(rating, &id);
    format!(
        "the newest that could be, {id} of {time:.0}, was left out{others}: {why}; to take it all the same: --point {id}{trust}"
    )
}

/// Names the point by which the least had happened of what goes through all of them, and the ways on from there. They are in the order of their times.
pub(super) fn least_bad(points: &[&Facts]) -> String {
    let own =
        || points.iter().filter(|point| !matches!(point.judgement.rating, Rating::Foreign | Rating::Future));
    let Some(point) = own().find(|point| point.complete).or_else(|| own().next()) else {
        return String::new();
    };
    let (LeftOut { id, time, .. }, whole) =
        (LeftOut::of(point), if point.complete { "" } else { ", which is not whole" });
    format!(
        "; by the oldest that is left the least of it had happened{whole}: {id} of {time:.0}, {} files: --point {id} --to DIR shows it beside, --point {id} takes it. \
         Older ones may be in a vault that was not asked, or held in one with immutable_for after a prune: releve undelete VAULT",
        point.files
    )
}

fn trust(rating: Rating, id: &str) -> String {
    match rating {
        Rating::Suspicious | Rating::Foreign | Rating::Unsigned => {
            format!("; if it is as it should be: releve points --trust {id}")
        }
        _ => String::new(),
    }
}

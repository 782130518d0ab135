//! What a person accepts who trusts a point: what was told of it, and nothing else. Other sums go on through it.

use super::loss;
use crate::Facts;
use jiff::{SignedDuration, Timestamp};

/// So far back it is told what is counted: as the sums do.
const WINDOW: SignedDuration = crate::span::to_the_day(30);

/// What of it is explained, and everything of its kind before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// What looks like encryption or overwriting.
    pub(super) noise: bool,
    /// What is gone.
    pub(super) loss: bool,
}

/// Returns what a person has accepted with a point: nothing where he doesn't trust it, and all where nothing was told of it.
pub(super) fn accepted(point: &Facts) -> Accepted {
    let is_told = point.judged > 0 && point.recorded.is_some();
    let is_doubt = !point.doubts.is_empty();
    Accepted {
        noise: point.trusted && (!is_told || point.tampering),
        loss: point.trusted && (!is_told || !point.tampering && !is_doubt),
    }
}

/// Returns what goes on being counted although a person trusts the point of this id, as sentences: he may not have known of it. `points` are those of one system, judged.
#[must_use]
pub fn goes_on(points: &[Facts], id: &str) -> Vec<String> {
    let Some(at) = points.iter().position(|point| point.id == id) else { return Vec::new() };
    let since = points.get(at).and_then(|point| point.counts().checked_sub(WINDOW).ok());
    let since = since.unwrap_or(Timestamp::MIN);
    let until =
        || points.iter().take(at.saturating_add(1)).rev().take_while(move |point| point.counts() > since);
    let counted = |is_over: fn(&Facts) -> bool, count: fn(&Facts) -> u64, what: &str| {
        let open = until().take_while(|point| !is_over(point));
        let parts = open.filter(|point| point.is_base() && point.change.counted > 0 && count(point) > 0);
        let (sum, first) = parts
            .fold((0u64, None), |(sum, _), point| (sum.saturating_add(count(point)), Some(point.counts())));
        let files = super::files(sum);
        first
            .map(|first| format!("{files} {what} since {first:.0}: that isn't accepted by it, and counts on"))
    };
    let noise = counted(
        |point| accepted(point).noise,
        |point| point.change.files_scrambled,
        "became noise, as encryption makes them,",
    );
    let gone = counted(|point| accepted(point).loss, loss::gone, "are gone");
    noise.into_iter().chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Changed, judge};

    /// A day's point of 400 files, of which so many became noise and so many went. What was told of it looked like tampering, or not.
    fn day(day: i64, noise: u64, gone: u64, told: Option<(&str, bool)>) -> Facts {
        let change = Changed {
            counted: 1,
            files_unchanged: 400 - noise - gone,
            files_changed: noise,
            files_scrambled: noise,
            files_removed: gone,
            ..Changed::default()
        };
        Facts {
            id: format!("{day:012}"),
            time: Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap(),
            complete: true,
            files: 400 - gone,
            bytes: 400_000,
            judged: super::super::RULES,
            since: (day > 0).then(|| format!("{:012}", day - 1)),
            recorded: told.map(|(why, _)| why.to_owned()),
            tampering: told.is_some_and(|(_, tampering)| tampering),
            trusted: told.is_some(),
            change,
            ..Facts::default()
        }
    }

    #[test]
    fn a_trust_accepts_what_was_told_of_the_point_and_lists_what_goes_on() {
        let deleted = Some(("lost much of what was there for long", false));
        let noisy = Some(("has 40 files whose content became noise", true));
        // What was told, what goes on, and whether one more file of noise is told then.
        let cases = [
            (deleted, 100, 1, vec!["3 files became noise, as encryption makes them, since"], true),
            (noisy, 0, 40, vec![], false),
            (Some(("is doubtful", false)), 0, 0, vec!["2 files became noise"], false),
        ];
        for (told, gone, noise, goes, is_told) in cases {
            let mut points = vec![day(0, 0, 0, None), day(1, 1, 0, None), day(2, 1, 0, None)];
            points.push(day(3, noise, gone, told));
            if told.is_some_and(|(why, _)| why == "is doubtful") {
                points[3].doubts.push("is doubtful".into());
            }
            let mut judged = points.clone();
            let now = judged[3].time + SignedDuration::from_hours(72);
            judge(&mut judged, None, now);
            let found = goes_on(&judged, &judged[3].id);
            assert_eq!(found.len(), goes.len(), "{told:?}: {found:?}");
            assert!(found.iter().zip(goes).all(|(found, goes)| found.starts_with(goes)), "{found:?}");
            points.push(Facts { judged: 0, ..day(4, 2, 0, None) });
            judge(&mut points, None, now);
            assert_eq!(points[4].judgement.tampering, is_told, "{told:?}: {:?}", points[4].judgement);
            assert!(points.iter().take(4).all(
                |point| point.judgement.within.is_some() == (is_told && point.counts() >= points[1].time)
            ));
        }
    }
}

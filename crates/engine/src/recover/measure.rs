//! Measures in the data themselves what a recovery has lost, and holds what the log promised against it.

use jiff::{SignedDuration, Timestamp};
use plan::{Restore, Until};
use serde::{Deserialize, Serialize};
use source::Sentinel;

/// What the data say of the loss: the agent's last row in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// When it was written, by the server's own clock.
    pub at: Timestamp,
    /// Seconds from then to the instant that was asked for, or to the crash: at most that much is lost. `None` if it was
    /// written later than that, by a clock that was set back since.
    pub loss_seconds: Option<u64>,
    /// The instant that was asked for, if one was: what came after it is given up on purpose, and no measure of it.
    #[serde(default)]
    pub asked: Option<Timestamp>,
    /// The history in which it was written.
    pub history: u32,
    /// Which of that history it is.
    pub number: u64,
}

impl Measured {
    /// Returns how many seconds before the crash the last row was written: no more than that is lost. `None` where an instant was asked for, or a clock was set back.
    #[must_use]
    pub fn lost(&self) -> Option<u64> {
        self.loss_seconds.filter(|_| self.asked.is_none())
    }
}

/// Measures, and returns what contradicts the promise.
pub(super) fn measure(entry: &Restore, begun: Timestamp, sentinel: &Sentinel) -> (Measured, Vec<String>) {
    let at = SignedDuration::new(sentinel.at.seconds, i32::try_from(sentinel.at.nanos).unwrap_or(0));
    let at = Timestamp::from_duration(at).unwrap_or(begun);
    let asked = match entry.replay.as_ref().map(|replay| &replay.until) {
        Some(Until::Time(time)) => Some(*time),
        _ => None,
    };
    // A row from after the presumed crash shows that it lived still.
    let crash = entry.crash.clone().map_or(begun, |crash| crash.lived(at).at);
    let loss = asked.unwrap_or(crash).duration_since(at);
    let measured = Measured {
        at,
        loss_seconds: u64::try_from(loss.as_secs()).ok().filter(|_| !loss.is_negative()),
        asked,
        history: sentinel.history,
        number: sentinel.number,
    };
    let mut findings = Vec::new();
    let found = (sentinel.history, sentinel.number);
    // By their numbers and not by a clock.
    if let Some(promised) =
        entry.replay.as_ref().and_then(|replay| replay.sentinel).filter(|promised| found < *promised)
    {
        findings.push(format!(
            "the log promised the agent's row {} of timeline {}, and the data end at row {} of timeline {}, of {at}: what was committed in between is \
             missing",
            promised.1, promised.0, found.1, found.0
        ));
    }
    if let Some(asked) = asked.filter(|asked| at > *asked) {
        findings.push(format!(
            "the data hold the agent's row of {at}, which is after {asked}: they go on beyond what was asked for, or the clock was set back then"
        ));
    }
    (measured, findings)
}

/// Says what it means that the data hold no row, if one was promised.
pub(super) fn missed(entry: &Restore, why: &str) -> Option<String> {
    let promised = entry.replay.as_ref()?.sentinel?;
    Some(format!("the log promised the agent's row {} of timeline {}: {why}", promised.1, promised.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Choice, Facts, Period, Replay};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(until: Until, sentinel: Option<(u32, u64)>) -> Restore {
        let point = Facts {
            id: "ab".into(),
            time: second(0),
            complete: true,
            files: 1,
            bytes: 1,
            ..Facts::default()
        };
        Restore {
            system: "orders".into(),
            choice: Choice { point, reasons: vec![], loss: Period::seconds(0), left_out: vec![] },
            replay: Some(Replay { log: "cd".into(), until, sentinel, or_earlier: false }),
            lacks: None,
            vaults: vec![],
            standing: vec![],
            only: vec![],
            left: vec![],
            withheld: None,
            went_back: false,
            crash: None,
            clock_behind: false,
            rto: Period::seconds(60),
            rpo: Period::seconds(60),
        }
    }

    fn row(history: u32, number: u64, seconds: i64) -> Sentinel {
        Sentinel { history, number, at: vault::Timestamp { seconds, nanos: 0 } }
    }

    #[test]
    fn what_was_promised_and_is_not_there_is_a_finding_whatever_the_clocks_say() {
        let newest =
            |promised, row: Sentinel| measure(&entry(Until::Newest, Some(promised)), second(1_000), &row);
        let (measured, findings) = newest((1, 7), row(1, 7, 940));
        assert_eq!((measured.loss_seconds, measured.lost(), findings.len()), (Some(60), Some(60), 0));
        let (_, findings) = newest((1, 8), row(1, 7, 940));
        assert!(findings[0].contains("row 8 of timeline 1, and the data end at row 7"), "{findings:?}");
        // A clock that was set back hides nothing, and accuses nobody.
        let (measured, findings) = newest((1, 7), row(1, 8, 5_000));
        assert_eq!((measured.loss_seconds, findings.len()), (None, 0));
        assert_eq!(newest((1, 9), row(2, 1, 940)).1.len(), 0);
        assert_eq!(newest((2, 1), row(1, 9, 940)).1.len(), 1);
        assert!(missed(&entry(Until::Newest, Some((1, 2))), "none is there").unwrap().contains("row 2"));
    }

    #[test]
    fn an_instant_is_measured_against_itself_and_a_row_from_after_it_is_a_finding() {
        let at = |time, row: Sentinel| measure(&entry(Until::Time(second(time)), None), second(9_000), &row);
        let measured = at(500, row(1, 3, 470)).0;
        assert_eq!((measured.loss_seconds, measured.lost()), (Some(30), None), "the rest was given up");
        assert!(at(500, row(1, 3, 501)).1[0].contains("beyond what was asked for"));
    }
}

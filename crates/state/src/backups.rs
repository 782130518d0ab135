//! What the records tell of the backups of one system: one loop, for all who ask.

use crate::{Body, Made, Record};

/// Returns the runs of a system, oldest first, whatever came of them. What was refused, since something else went first, is none.
pub fn runs_of<'r>(records: &'r [Record], system: &str) -> impl DoubleEndedIterator<Item = &'r Made> {
    records.iter().filter_map(move |record| match &record.body {
        Body::Backup(made) if made.system == system && !made.refused => Some(made),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use jiff::Timestamp;

    #[test]
    fn the_runs_of_a_system_are_its_own_and_none_that_gave_way() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        for (system, point, refused) in
            [("shop", "a", false), ("mail", "b", false), ("shop", "", true), ("shop", "c", false)]
        {
            let made = Made { system: system.into(), point: point.into(), refused, ..Made::default() };
            state.append(Body::Backup(made), Timestamp::UNIX_EPOCH).unwrap();
        }
        let records = state.records().unwrap();
        let points: Vec<_> = runs_of(&records, "shop").rev().map(|made| made.point.as_str()).collect();
        assert_eq!(points, ["c", "a"]);
    }
}

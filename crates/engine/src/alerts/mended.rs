//! Which vaults have got a point since it was made without them: by a copy, or as somebody has seen it there. What a run noted of itself is what was missing then.

use crate::Result;
use plan::{Plan, VaultName};
use state::{Body, Made, Record, State};
use std::collections::{BTreeMap, BTreeSet};

/// The points that came to vaults later, by vault and id.
#[derive(Debug, Default)]
pub(super) struct Mended(BTreeMap<String, BTreeSet<String>>);

impl Mended {
    /// Reads it: what copies have noted, and of the vaults that the newest points were not in what was seen there.
    pub(super) fn read(plan: &Plan, state: &State, records: &[Record]) -> Result<Self> {
        let mut mended = Self::of(records);
        let mut newest: BTreeMap<&str, &Made> = BTreeMap::new();
        for record in records {
            if let Body::Backup(made) = &record.body
                && !made.refused
                && made.failure.is_none()
            {
                newest.insert(made.system.as_str(), made);
            }
        }
        let without = newest.values().flat_map(|made| &made.vaults).filter(|(_, why)| why.is_some());
        let without: BTreeSet<&String> = without.map(|(vault, _)| vault).collect();
        for vault in
            without.into_iter().filter(|name| plan.vaults.contains_key(&VaultName::from(name.as_str())))
        {
            let there = mended.0.entry(vault.clone()).or_default();
            for seen in state.seen(vault)?.into_values() {
                // Its id comes first of what it is known by.
                there.extend(seen.point.split(' ').next().map(str::to_owned));
            }
        }
        Ok(mended)
    }

    fn of(records: &[Record]) -> Self {
        let mut mended = Self::default();
        for record in records {
            let Body::Sync(copied) = &record.body else { continue };
            for (point, vault) in &copied.points {
                mended.0.entry(vault.clone()).or_default().insert(point.clone());
            }
        }
        mended
    }

    /// Returns whether a vault that a run could not write to has its point now.
    pub(super) fn has(&self, vault: &str, point: &str) -> bool {
        self.0.get(vault).is_some_and(|there| there.contains(point))
    }
}

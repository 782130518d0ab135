//! Which point each system's change journal refers to, and where it lies: the journal is believed only towards vaults that hold that
//! very point.

use plan::{SystemName, VaultName};
use source::{Capture, Journal};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use vault::{FileId, Snapshot};

/// What a process that makes points again and again keeps between them. Needs a kernel and rights that tell of every change.
#[derive(Debug)]
pub struct Watch {
    journal: Journal,
    points: Mutex<BTreeMap<SystemName, Last>>,
}

#[derive(Debug)]
struct Last {
    point: String,
    snapshots: BTreeMap<VaultName, FileId>,
}

impl Watch {
    /// Begins to watch. An error says why this machine, or this process, can't. `trusted` are processes of which somebody vouches that they
    /// write to nothing that is captured: they need not be looked into.
    pub fn new(trusted: &[u32]) -> Result<Self, String> {
        Ok(Self { journal: Journal::new(trusted)?, points: Mutex::default() })
    }

    /// Has the next run of every system look at everything: a vault may lack what a point says that it has.
    pub fn forget(&self) {
        self.journal.forget();
        self.points.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the snapshots of `parent` in these vaults, if it is the point that the capture refers to and all of them have it.
    pub(crate) fn parents<'a>(
        &self,
        system: &SystemName,
        capture: &Capture,
        parent: Option<&Snapshot>,
        vaults: impl Iterator<Item = &'a VaultName>,
    ) -> Vec<FileId> {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = points.get(system) else { return Vec::new() };
        let is_last = |point: Option<&str>| point == Some(last.point.as_str());
        if !is_last(capture.refers_to().as_deref()) || !is_last(parent.and_then(|parent| parent.tag("point")))
        {
            return Vec::new();
        }
        vaults.map(|vault| last.snapshots.get(vault).copied()).collect::<Option<_>>().unwrap_or_default()
    }

    /// A point was made, and everything read for it.
    pub(crate) fn keep(
        &self,
        system: &SystemName,
        capture: &Capture,
        point: &str,
        snapshots: BTreeMap<VaultName, FileId>,
    ) {
        capture.keep(point);
        let last = Last { point: point.to_owned(), snapshots };
        self.points.lock().unwrap_or_else(PoisonError::into_inner).insert(system.clone(), last);
    }
}

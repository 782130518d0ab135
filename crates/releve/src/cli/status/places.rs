//! What is known of the vaults' own promises: that nobody can delete what is in them, and that one fetches for itself.

use super::super::immutable::last_look;
use crate::session::Session;
use crate::show::time;
use engine::survey::Survey;
use jiff::Timestamp;
use plan::immutable::{Immutability, immutability};
use plan::{HostName, Period, VaultName};
use serde_json::json;
use state::Record;

/// One vault that promises something.
pub(super) struct Place {
    name: VaultName,
    immutable: Option<(Period, Immutability)>,
    pulled_by: Option<HostName>,
    /// It was looked into just now.
    is_seen: bool,
    /// When its newest point was captured.
    newest: Option<Timestamp>,
}

/// Returns the vaults that are to be immutable, or that a host pulls.
pub(super) fn places(session: &Session, survey: &Survey, records: &[Record], now: Timestamp) -> Vec<Place> {
    let vaults = session.plan.vaults.iter();
    vaults
        .filter(|(_, vault)| vault.immutable_for.is_some() || vault.pulled_by.is_some())
        .map(|(name, vault)| {
            let known = |period| {
                let look = last_look(records, name);
                (period, immutability(&vault.url, period, look.as_ref(), now))
            };
            let mut there = survey.points.iter().filter(|surveyed| surveyed.vaults.contains(name));
            Place {
                name: name.clone(),
                immutable: vault.immutable_for.map(known),
                pulled_by: vault.pulled_by.clone(),
                is_seen: !survey.is_unseen(name)
                    && survey.unreachable.iter().all(|(unreachable, _)| unreachable != name),
                newest: there.next_back().map(|surveyed| surveyed.point.time),
            }
        })
        .collect()
}

impl Place {
    /// Returns whether what is promised is proven, or guarded where no more can be. A pulled vault that can't be seen from here is its own host's to judge.
    pub(super) fn is_fine(&self) -> bool {
        let is_kept = |known: &Immutability| {
            matches!(known, Immutability::Proven { .. } | Immutability::Guarded { .. })
        };
        self.immutable.as_ref().is_none_or(|(_, known)| is_kept(known))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let (immutable_for, immutable) =
            self.immutable.as_ref().map(|(period, known)| (period, known)).unzip();
        json!({ "vault": self.name, "fine": self.is_fine(), "immutable_for": immutable_for, "immutable": immutable,
            "pulled_by": self.pulled_by, "seen": self.is_seen, "newest": self.newest })
    }

    pub(super) fn print(&self) {
        println!("{} vault {}", if self.is_fine() { "ok " } else { "!! " }, self.name);
        match &self.immutable {
            Some((period, Immutability::Proven { seen, until })) => println!(
                "    immutable for {period}, proven {}; nothing can be deleted before {}",
                time(*seen),
                time(*until)
            ),
            Some((period, Immutability::Guarded { seen })) => println!(
                "    guarded for {period} against mistakes and programs, seen {}; whoever is root there can delete everything",
                time(*seen)
            ),
            Some((period, Immutability::NotProven { why })) => {
                println!("    immutable_for {period}: NOT PROVEN: {why}");
            }
            None => {}
        }
        let Some(host) = &self.pulled_by else { return };
        match (self.is_seen, self.newest) {
            (true, Some(newest)) => println!("    pulled by {host}; its newest point is of {}", time(newest)),
            (true, None) => println!("    pulled by {host}; it holds NO POINT yet"),
            (false, _) => println!(
                "    pulled by {host}: NOT SEEN from here, and not counted as a copy; `releve status` on {host} knows"
            ),
        }
    }
}

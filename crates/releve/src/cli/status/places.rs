//! What is known of the vaults' own promises: that nobody can delete what is in them, and that one fetches for itself.

use super::super::immutable::last_look;
use crate::session::Session;
use crate::show::{size, time};
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
    /// Of a vault on this machine whose disk is full: the bytes that are free, and all of the disk's.
    full: Option<(u64, u64)>,
    /// It was looked into just now.
    is_seen: bool,
    /// When its newest point was captured.
    newest: Option<Timestamp>,
}

/// Less than a hundredth of a disk, or a gigabyte of a large one, is full: the next backup may not fit.
const FREE_MIN: u64 = 1 << 30;

/// Returns how much is free on the disk of a vault that is a folder here, and how large it is, if that is next to nothing.
fn full(url: &str) -> Option<(u64, u64)> {
    let folder = vault::store::local_folder(url)?;
    let room = rustix::fs::statvfs(&folder).ok()?;
    let (free, all) =
        (room.f_bavail.saturating_mul(room.f_frsize), room.f_blocks.saturating_mul(room.f_frsize));
    (all > 0 && free < (all / 100).min(FREE_MIN)).then_some((free, all))
}

/// Returns the vaults that are to be immutable, that a host pulls, or whose disk is full.
pub(super) fn places(session: &Session, survey: &Survey, records: &[Record], now: Timestamp) -> Vec<Place> {
    let vaults = session.plan.vaults.iter();
    vaults
        .map(|(name, vault)| (name, vault, full(&vault.url)))
        .filter(|(_, vault, full)| {
            vault.immutable_for.is_some() || vault.pulled_by.is_some() || full.is_some()
        })
        .map(|(name, vault, full)| {
            let known = |period| {
                let look = last_look(records, name);
                (period, immutability(&vault.url, period, look.as_ref(), now))
            };
            let mut there = survey.points.iter().filter(|surveyed| surveyed.vaults.contains(name));
            Place {
                name: name.clone(),
                immutable: vault.immutable_for.map(known),
                pulled_by: vault.pulled_by.clone(),
                full,
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
        self.full.is_none() && self.immutable.as_ref().is_none_or(|(_, known)| is_kept(known))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let (immutable_for, immutable) =
            self.immutable.as_ref().map(|(period, known)| (period, known)).unzip();
        json!({ "vault": self.name, "fine": self.is_fine(), "immutable_for": immutable_for, "immutable": immutable,
            "full": self.full.map(|(free, all)| json!({ "free": free, "bytes": all })), "pulled_by": self.pulled_by, "seen": self.is_seen, "newest": self.newest })
    }

    pub(super) fn print(&self) {
        println!("{} vault {}", if self.is_fine() { "ok " } else { "!! " }, self.name);
        if let Some((free, all)) = self.full {
            println!(
                "    THE DISK IS FULL: {} of {} are free; `releve prune {} --now` gives back at once what no point needs",
                size(free),
                size(all),
                self.name
            );
        }
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

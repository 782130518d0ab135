//! Whether what a recovery brings back has room where it goes.

use crate::{Size, SystemName};
use std::collections::{BTreeMap, BTreeSet};

/// A file system with what is free in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// A place in it, as a person would name it.
    pub at: String,
    /// Its number.
    pub device: u64,
    /// Bytes free.
    pub free: u64,
}

/// What one system brings to the file systems that it goes to.
pub(crate) struct Load<'a> {
    pub(crate) system: &'a SystemName,
    /// Which part of it: `its point`.
    pub(crate) what: &'static str,
    pub(crate) bytes: u64,
    pub(crate) rooms: &'a [Room],
    /// Something stands there that may be most of it already.
    pub(crate) stands: bool,
}

/// What has no room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// It may have: what stands there counts for some of it.
    pub(crate) warnings: Vec<String>,
    /// It hasn't.
    pub(crate) blockers: Vec<String>,
}

/// Weighs all that goes to the same file systems against what is free there.
pub(crate) fn judge(loads: &[Load<'_>]) -> Judged {
    let mut groups: BTreeMap<BTreeSet<u64>, Vec<&Load<'_>>> = BTreeMap::new();
    for load in loads.iter().filter(|load| !load.rooms.is_empty() && load.bytes > 0) {
        // How much of it goes to each of several nobody knows: together they must do.
        groups.entry(load.rooms.iter().map(|room| room.device).collect()).or_default().push(load);
    }
    let mut judged = Judged::default();
    for (devices, group) in groups {
        let sum = |loads: &mut dyn Iterator<Item = &&Load<'_>>| {
            loads.fold(0u64, |sum, load| sum.saturating_add(load.bytes))
        };
        let all = sum(&mut group.iter());
        let certain = sum(&mut group.iter().filter(|load| !load.stands));
        let rooms = || group.iter().flat_map(|load| load.rooms);
        let free_of = |device: &u64| rooms().find(|room| room.device == *device).map_or(0, |room| room.free);
        let free = devices.iter().map(free_of).fold(0u64, u64::saturating_add);
        let parts: Vec<String> = group
            .iter()
            .map(|load| format!("{} of `{}`, {}", load.what, load.system, Size(load.bytes)))
            .collect();
        let places: BTreeSet<&str> = rooms().map(|room| room.at.as_str()).collect();
        let places: Vec<&str> = places.into_iter().collect();
        let message = format!(
            "{} are to come to {} ({}), and {} are free there",
            Size(all),
            places.join(" and "),
            parts.join("; "),
            Size(free)
        );
        if certain > free {
            judged.blockers.push(format!("{message}: make room, or recover elsewhere with --to"));
        } else if all > free {
            judged.warnings.push(format!("{message}: what stands there already counts for some of it"));
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(device: u64, free: u64) -> Vec<Room> {
        vec![Room { at: format!("/disk{device}"), device, free }]
    }

    #[test]
    fn a_log_needs_room_even_where_the_data_stand_already_and_is_counted_with_what_shares_its_disk() {
        let (name, own, other) = (SystemName("orders".into()), room(1, 1_000), room(2, 100));
        let load = |what, bytes, rooms, stands| Load { system: &name, what, bytes, rooms, stands };
        let both = |point, log, stands| {
            judge(&[load("the point", point, &own, stands), load("the log", log, &own, false)])
        };
        assert_eq!(both(600, 400, false), Judged::default());
        let refused = both(600, 401, false);
        assert_eq!(
            refused.blockers,
            [
                "1.0 kB are to come to /disk1 (the point of `orders`, 600 B; the log of `orders`, 401 B), and 1.0 kB are free there: \
              make room, or recover elsewhere with --to"
            ]
        );
        let stands = both(600, 401, true);
        assert!(stands.blockers.is_empty() && stands.warnings.len() == 1, "{stands:?}");
        assert_eq!(both(600, 1_001, true).blockers.len(), 1);
        // On disks of their own each is weighed by itself.
        let apart = judge(&[load("the point", 900, &own, false), load("the log", 101, &other, false)]);
        assert!(apart.blockers[0].contains("come to /disk2 (the log"), "{apart:?}");
    }
}

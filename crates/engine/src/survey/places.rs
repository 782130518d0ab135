//! Where the points of a survey stand, by their systems and their ids: each of thousands of systems asks for its own, and none looks at all of them for that.

use super::Surveyed;
use std::collections::HashMap;

/// The places of points in a list.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Those of each system, oldest first; a log has a name of its own.
    of_system: HashMap<String, Vec<usize>>,
    /// By their ids: one can be used again by hand.
    of_id: HashMap<String, Vec<usize>>,
}

impl Places {
    pub(super) fn of(points: &[Surveyed]) -> Self {
        let mut places = Self::default();
        for (at, Surveyed { point, .. }) in points.iter().enumerate() {
            if let Some(system) = &point.system {
                places.of_system.entry(system.clone()).or_default().push(at);
            }
            places.of_id.entry(point.id.clone()).or_default().push(at);
        }
        places
    }

    /// Returns where the points of a system stand, or its logs, in the order of the list.
    pub(super) fn called(&self, name: &str) -> &[usize] {
        self.of_system.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns where the points of this id stand, in the order of the list.
    pub(super) fn of_id(&self, id: &str) -> &[usize] {
        self.of_id.get(id).map_or(&[], Vec::as_slice)
    }
}

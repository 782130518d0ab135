//! What one run carries besides the files, and what it notes of what it wrote and took away.

use super::*;

/// Returns whether a log that was made at `time`, and is held whole by a newer one, may go although something is held. A recovery that broke off may need
/// what was there when it began, and nothing that came later; what a person holds, or was held after an attack, is for him to release.
pub(super) fn may_go(holds: &[Hold], time: Timestamp) -> bool {
    holds.iter().all(|hold| hold.ends_by_itself() && time > hold.since)
}

/// What one run carries besides the files.
pub(super) struct Carrying<'a> {
    pub(super) until: Option<Timestamp>,
    pub(super) from: Option<&'a str>,
    pub(super) now: Timestamp,
    pub(super) state: &'a State,
}

impl Carrying<'_> {
    /// Notes what was written: whoever misses it later knows that it was there.
    pub(super) fn note(&self, vault: &VaultName, file: FileId, snapshot: &Snapshot) {
        let point = snapshot.tag("point").unwrap_or_default();
        let identity = format!("{point} {} {}", snapshot.tree, snapshot.time);
        let system = snapshot.tag("system");
        let _ = self.state.saw_written(&vault.0, &file.to_string(), &identity, system, self.now);
        if let Some(log) = system.filter(|_| snapshot.signature.is_none()) {
            let _ = hands::vouch_for(self.state, (log, &snapshot.hostname), &identity);
        }
    }

    /// Removes the log that another holds whole by now, made at `time`. One that stays, since it can't or mustn't go, goes when the vault is pruned.
    pub(super) fn remove(&self, name: &VaultName, vault: &Repository, file: FileId, time: Timestamp) -> bool {
        let file = file.to_string();
        // In this order: what is there and was forgotten is just seen anew.
        self.state.holds().is_ok_and(|holds| may_go(&holds, time))
            && self.state.unsee(&name.0, &file).is_ok()
            && vault.store().remove(FileKind::Snapshot, &file).is_ok()
    }
}

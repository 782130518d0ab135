//! Which of the logs in a vault are gone on from: those whose hand is known, as it is of points. And the key that signs what comes behind them.

use super::*;
use crate::signers::{Known, LogHand, Signer, begin_log, promises};
use std::collections::HashSet;

/// A log in a vault, and what it says of whose it is.
struct Found {
    file: FileId,
    identity: String,
    host: String,
    key: Option<String>,
}

impl Carrier<'_> {
    /// Has what is carried signed with the key that lies in this folder, if one does.
    #[must_use]
    pub fn signed_with(mut self, dir: &Path) -> Self {
        self.keys = Some(dir.to_owned());
        self
    }

    /// Returns what signs here now: the first backup makes the key, and the newest record is named each time. That a log can't be signed keeps none from being carried.
    pub(super) fn signer(&self, state: &State) -> Option<Signer> {
        Signer::read(self.keys.as_ref()?, state).unwrap_or_else(|error| {
            tracing::warn!(system = %self.name, %error, "its log is not signed");
            None
        })
    }

    /// Takes the logs out of these snapshots, all that a vault holds, that nobody vouches for who should: none of them is gone on from, or says anything. `names` are the
    /// vaults that the log goes to.
    pub(super) fn sort_out(
        &self,
        (names, state): (&[VaultName], &State),
        snapshots: &mut Vec<(FileId, Snapshot)>,
    ) -> Result<()> {
        let (log, machine) = (self.name.log(), self.holder.hostname.as_str());
        let mut found: Vec<Found> = Vec::new();
        for (file, snapshot) in snapshots.iter_mut() {
            if snapshot.tag("system") != Some(log.as_str()) {
                continue;
            }
            let key = snapshot.signed().map(|signed| {
                // What stands beside the signed text anybody may have written.
                snapshot.releve = signed.info;
                signed.by
            });
            let (identity, host) = (identity_in(*file, snapshot), snapshot.hostname.clone());
            found.push(Found { file: *file, identity, host, key });
        }
        if found.is_empty() && self.keys.is_none() {
            return Ok(());
        }
        let known = Known::read(state)?.accepting(state.trusted()?);
        let mut keys = known.keys(&[]);
        // Its own key counts also where the state that noted it is lost.
        if let Some(own) = self.keys.as_ref().and_then(|dir| Signer::public_in(dir).ok().flatten()) {
            keys.entry(machine).or_default().insert(own);
        }
        // The plan may have moved it here since: then its points tell where it was.
        let has_made = |host: &str| {
            let own = snapshots.iter().filter(|(_, snapshot)| {
                snapshot.hostname == host && snapshot.tag("system") == Some(self.name.0.as_str())
            });
            let signs = |key: &String| keys.get(host).is_some_and(|known| known.contains(key));
            own.filter_map(|(_, snapshot)| snapshot.signed()).any(|signed| signs(&signed.by))
        };
        let hands = found.iter().map(|Found { identity, host, key, .. }| {
            let (identity, key) = (identity.clone(), key.as_deref());
            let is_kin = host == machine || key.is_some() && has_made(host);
            LogHand { identity, host: host.as_str(), key, is_kin }
        });
        let hands: Vec<LogHand<'_>> = hands.collect();
        let mut is_promised = false;
        if !known.has_begun(&log) {
            let points = snapshots.iter().map(|(_, snapshot)| snapshot);
            let points: Vec<_> =
                points.filter(|snapshot| snapshot.tag("system") == Some(self.name.0.as_str())).collect();
            // Another machine's count only where this one has made none: the plan has just moved it here.
            let is_new = !points.iter().any(|snapshot| snapshot.hostname == machine);
            let ours = points.iter().filter(|snapshot| is_new || snapshot.hostname == machine);
            is_promised =
                ours.filter_map(|snapshot| Some((snapshot, snapshot.signed()?))).any(|(snapshot, signed)| {
                    let hand = (snapshot.hostname.as_str(), Some(signed.by.as_str()));
                    promises(signed.info.as_ref(), hand, &keys)
                });
        }
        let judged = known.unvouched_logs(&log, Some(machine), &hands, &keys, is_promised);
        let strange = found.iter().zip(judged).filter(|(_, unvouched)| unvouched.is_some());
        let strange: HashSet<FileId> = strange.map(|(found, _)| found.file).collect();
        if is_promised {
            // Also without a key: what this machine can't sign it has to note as its own from now on.
            begin_log(state, &log, Vec::new())?;
        } else if !known.has_begun(&log) && self.signer(state).is_some() {
            let is_early = |found: &&Found| found.key.is_none() && !strange.contains(&found.file);
            let mut early: Vec<String> =
                found.iter().filter(is_early).map(|found| found.identity.clone()).collect();
            // What this machine has carried into the others, one of which may not answer now.
            let signed = found.iter().filter(|found| found.key.is_some());
            let signed: HashSet<&str> = signed.map(|found| found.identity.as_str()).collect();
            for vault in names {
                let seen = state.seen(&vault.0)?.into_values();
                let own = seen.filter(|seen| seen.system.as_deref() == Some(log.as_str()));
                early.extend(own.map(|seen| seen.point).filter(|point| !signed.contains(point.as_str())));
            }
            begin_log(state, &log, early)?;
        }
        snapshots.retain(|(file, _)| !strange.contains(file));
        Ok(())
    }
}

/// Notes that a log which this machine has written is its own, where it could not sign it although it signed others before, or its first key was made meanwhile.
pub(super) fn vouch_for(state: &State, (log, machine): (&str, &str), identity: &str) -> Result<()> {
    let known = Known::read(state)?;
    match known.has_begun(log) || known.signs_for(machine) {
        true => Ok(state.note_early(&[identity.to_owned()])?),
        false => Ok(()),
    }
}

/// Returns what tells a log from any other, as it does for points.
fn identity_in(file: FileId, snapshot: &Snapshot) -> String {
    let id = snapshot.tag("point").map_or_else(|| file.to_string(), str::to_owned);
    format!("{id} {} {}", snapshot.tree, snapshot.time)
}

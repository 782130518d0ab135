//! Restore points across vaults: snapshots in several repositories that are copies of one and the same.

use crate::{BlobId, Change, Error, FileId, Head, PointInfo, Repository, Result, Snapshot};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// One restore point, wherever it is held.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its id: the same in every vault. For a snapshot that Relève did not write, the snapshot's own name.
    pub id: String,
    /// The system, `None` for a snapshot that Relève did not write.
    pub system: Option<String>,
    /// When its capture began.
    pub time: Timestamp,
    /// The root of its content.
    pub tree: BlobId,
    /// Whether everything was read.
    pub complete: bool,
    /// What is known of it; `None` for a snapshot that Relève did not write.
    pub info: Option<PointInfo>,
    /// Where it lies: the place of the vault in the list that was asked, and the snapshot there.
    pub copies: Vec<(usize, FileId)>,
    /// The public half of the key that has signed it, if its signature is right. Whose that is, and whether it is believed, is for others to say.
    pub signer: Option<String>,
    /// The newest record of the machine that made it, as it has signed it.
    pub head: Option<Head>,
    /// The snapshot itself, as the first of these vaults has it.
    pub snapshot: Snapshot,
}

/// What a look at several vaults found.
#[derive(Debug, Default)]
pub struct Found {
    /// All points, oldest first.
    pub points: Vec<Point>,
    /// Vaults that could not be listed: a point may lie there too.
    pub unreachable: Vec<(usize, Error)>,
    /// Snapshot files that could not be read.
    pub damaged: Vec<(usize, Error)>,
}

/// Looks at all vaults side by side. A vault that can't be listed is reported, never taken for an empty one.
pub fn points<R: AsRef<Repository> + Sync>(vaults: &[R]) -> Found {
    let look = |at: usize, vault: &R| {
        let (snapshots, damaged) = vault.as_ref().snapshots()?;
        let points = snapshots.into_iter().map(|(file, snapshot)| Point::of(at, file, snapshot));
        Ok::<_, Error>((points.collect::<Vec<_>>(), damaged))
    };
    let listings: Vec<Result<_>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            vaults.iter().enumerate().map(|(at, vault)| scope.spawn(move || look(at, vault))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut found = Found::default();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (vault, listing) in listings.into_iter().enumerate() {
        match listing {
            Err(error) => found.unreachable.push((vault, error)),
            Ok((points, damaged)) => {
                found.damaged.extend(damaged.into_iter().map(|error| (vault, error)));
                for new in points {
                    // A point is its id *and* all that is said of it: someone who forges one in a vault makes a second point, not a copy.
                    let signer = new.signer.as_deref().unwrap_or_default();
                    let key = format!("{} {} {} {} {signer}", new.id, new.tree, new.time, new.complete);
                    match known.get(&key).and_then(|&at| found.points.get_mut(at)) {
                        Some(point) => {
                            let copies = new.copies.into_iter().filter(|copy| !point.copies.contains(copy));
                            let copies: Vec<_> = copies.collect();
                            point.copies.extend(copies);
                        }
                        None => {
                            known.insert(key, found.points.len());
                            found.points.push(new);
                        }
                    }
                }
            }
        }
    }
    name_apart(&mut found.points);
    found.points.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.id.cmp(&b.id)));
    found
}

/// Leaves an id to one point alone, so that whoever was chosen by it is the one that is taken: to one that is signed before one that isn't, then to the one that more
/// vaults hold, then to the older. Another that says the same id is called by its snapshot's name.
fn name_apart(points: &mut [Point]) {
    let mut best: HashMap<String, usize> = HashMap::new();
    let rank = |point: &Point| {
        let vaults: HashSet<usize> = point.copies.iter().map(|(vault, _)| *vault).collect();
        (point.signer.is_some(), vaults.len(), Reverse(point.time))
    };
    for (at, point) in points.iter().enumerate() {
        let known = best.get(&point.id).and_then(|known| points.get(*known));
        if known.is_none_or(|known| rank(point) > rank(known)) {
            best.insert(point.id.clone(), at);
        }
    }
    for (at, point) in points.iter_mut().enumerate() {
        if let Some((_, file)) = point.copies.first().copied().filter(|_| best.get(&point.id) != Some(&at)) {
            point.id = file.to_string();
        }
    }
}

impl Point {
    pub(crate) fn of(vault: usize, file: FileId, mut snapshot: Snapshot) -> Self {
        let signed = snapshot.signed();
        let (signer, head) = match signed {
            Some(signed) => {
                // What stands beside the signed text anybody may have written.
                snapshot.releve = signed.info;
                (Some(signed.by), signed.head)
            }
            None => (None, None),
        };
        Self {
            id: snapshot.tag("point").map_or_else(|| file.to_string(), str::to_owned),
            system: snapshot.tag("system").map(str::to_owned),
            time: snapshot.time,
            tree: snapshot.tree,
            complete: snapshot.is_complete(),
            info: snapshot.releve.clone(),
            copies: vec![(vault, file)],
            signer,
            head,
            snapshot,
        }
    }

    /// Returns whether a person who writes `prefix` may mean this point: by its id or by a snapshot's name.
    #[must_use]
    pub fn is_called(&self, prefix: &str) -> bool {
        prefix.len() >= 4
            && (self.id.starts_with(prefix)
                || self.copies.iter().any(|(_, file)| file.to_string().starts_with(prefix)))
    }

    /// Returns what changed since the point before, if that is known.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        self.info.as_ref().map(|info| &info.change)
    }
}

/// Returns a new point id: twelve random hexadecimal digits, enough that two of a company's points never meet.
pub fn new_point_id() -> Result<String> {
    let mut bytes = [0u8; 6];
    crate::crypto::random(&mut bytes).map_err(|error| Error::io("choose a point's id", error))?;
    Ok(crate::id::hex(&bytes))
}

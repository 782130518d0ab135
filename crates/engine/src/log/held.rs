//! What a vault holds of a log.

use super::*;

impl Carrier<'_> {
    /// Returns what a vault holds of the log of one system.
    pub(super) fn held_of(
        &self,
        identity: Option<&str>,
        vault: &Repository,
        snapshots: &[(FileId, Snapshot)],
    ) -> Result<Held> {
        let of = |snapshot: &Snapshot, system: &str| snapshot.tag("system") == Some(system);
        let log = self.name.log();
        let (mut newest, mut has_asked) = (None, false);
        let logs = || snapshots.iter().rev().filter(|(_, snapshot)| of(snapshot, &log));
        let said = logs().filter_map(|(_, snapshot)| snapshot.releve.as_ref()?.log.as_ref());
        let passed: BTreeSet<&str> = said.flat_map(|log| log.passed.keys().map(String::as_str)).collect();
        // One that a clock wrote which was ahead claims to be newer than those that go on from it.
        let is_passed = |snapshot: &Snapshot| snapshot.tag("point").is_some_and(|id| passed.contains(id));
        for (file, snapshot) in logs().filter(|(_, snapshot)| !is_passed(snapshot)) {
            let own = snapshot.releve.as_ref().and_then(|info| info.log.as_ref()?.identity.clone());
            let own = match (own, identity) {
                // An older program wrote it: its files say whose it is.
                (None, Some(_)) if has_asked => None,
                (None, Some(asking)) => {
                    has_asked = true;
                    self.wrote(vault, snapshot, asking)?
                }
                (own, _) => own,
            };
            if own.as_deref() == identity {
                newest = Some((*file, snapshot.clone()));
                break;
            }
        }
        let info = newest.as_ref().and_then(|(_, snapshot)| snapshot.releve.as_ref()?.log.as_ref());
        let is_first = info.is_none_or(|info| info.since.is_none());
        let points: Vec<_> = snapshots
            .iter()
            .filter(|(_, snapshot)| of(snapshot, &self.name.0) && snapshot.is_complete())
            .filter_map(|(_, snapshot)| snapshot.releve.as_ref())
            .collect();
        let is_own = |point: &&&PointInfo| match &point.identity {
            Some(of) => identity.is_none_or(|own| own == of),
            None => is_first && (identity.is_none() || info.is_some()),
        };
        // One that doesn't say where it begins can't be rolled forward, and needs none of it.
        let positions = points.iter().filter(is_own).filter_map(|point| point.position.as_ref());
        let newest_point = positions.clone().next_back().cloned();
        let oldest = positions.min();
        let oldest = oldest.and_then(|oldest| oldest.split('@').next()).map(str::to_owned);
        let is_another = identity.is_some()
            && points.iter().any(|point| point.identity.is_some() || !is_first)
            && !points.iter().any(|point| is_own(&point));
        let is_others = |point: &&PointInfo| point.identity.as_deref().is_some_and(|of| identity != Some(of));
        let is_later = identity.is_some()
            && newest.is_none()
            && (points.iter().any(is_others) || snapshots.iter().any(|(_, snapshot)| of(snapshot, &log)));
        let (files, is_broken) = match &newest {
            Some((_, snapshot)) => whole_files(vault, snapshot)?,
            None => (BTreeMap::new(), false),
        };
        let looked = stands::Looked::default();
        Ok(Held { newest, files, oldest, newest_point, is_broken, is_another, is_later, looked })
    }

    /// Returns who wrote a log that doesn't say it, by its first and its last file that does: whoever is `asking` where none does, and nobody where these differ.
    pub(super) fn wrote(&self, vault: &Repository, log: &Snapshot, asking: &str) -> Result<Option<String>> {
        let files = match files_of(vault, &log.tree) {
            Ok(files) => files,
            Err(error) if error.says_damage() => return Ok(Some(asking.to_owned())),
            Err(error) => return Err(error.into()),
        };
        let mut positions: Vec<(String, &PathBuf, &Node)> = Vec::new();
        for (path, node) in &files {
            let kind = self.file_at(path).map(|file| file.kind);
            if let Some(LogKind::Whole(position) | LogKind::Partial(position)) = kind {
                positions.push((position, path, node));
            }
        }
        positions.sort_by(|a, b| a.0.cmp(&b.0));
        let mut first = None;
        for (_, path, node) in &positions {
            first = self.wrote_file(vault, path, node)?;
            if first.is_some() {
                break;
            }
        }
        let mut last = None;
        for (_, path, node) in positions.iter().rev() {
            last = self.wrote_file(vault, path, node)?;
            if last.is_some() {
                break;
            }
        }
        Ok(match first {
            None => Some(asking.to_owned()),
            first => first.filter(|first| last.as_ref() == Some(first)),
        })
    }

    /// Returns who wrote a file of the log in a vault, as it says itself.
    pub(super) fn wrote_file(&self, vault: &Repository, path: &Path, node: &Node) -> Result<Option<String>> {
        let NodeKind::File { content, .. } = &node.kind else { return Ok(None) };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(id) = content.first().filter(|id| vault.has(BlobKind::Data, id)) else { return Ok(None) };
        match vault.blob(BlobKind::Data, id) {
            Ok(head) => Ok(self.log.identity(name, head.get(..HEAD_BYTES).unwrap_or(&head))),
            Err(error) if error.says_damage() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the files that wait under the name of one that the vault holds, of the same system and with another content.
    pub(super) fn differing(
        &self,
        name: &VaultName,
        vault: &Repository,
        held: &Held,
        group: &Group,
    ) -> Result<BTreeSet<PathBuf>> {
        let mut differing = BTreeSet::new();
        let Some((_, snapshot)) = held.newest.as_ref().filter(|_| group.identity.is_some()) else {
            return Ok(differing);
        };
        for waiting in &group.files {
            let there = held.files.get(&waiting.file.path);
            // The beginning of one may grow, and its end be written anew.
            let Some(there) = there.filter(|_| !matches!(waiting.file.kind, LogKind::Partial(_))) else {
                continue;
            };
            let key = waiting.in_spool(name, group);
            let known = lock(&self.same).get(&key).copied();
            let same = match known {
                Some(same) => same,
                None => {
                    *there == waiting.bytes
                        && is_same(vault, &snapshot.tree, &waiting.file.path, &waiting.path)?
                }
            };
            lock(&self.same).insert(key, same);
            if !same {
                differing.insert(waiting.path.clone());
            }
        }
        Ok(differing)
    }
}

impl Held {
    /// Takes over what was looked at before, if the same log was the newest then: whatever others have written since, it is what it was.
    pub(super) fn with_looked_of(self, before: Option<Self>) -> Self {
        let file = |held: &Self| held.newest.as_ref().map(|(file, _)| *file);
        let before = before.filter(|before| file(before).is_some() && file(before) == file(&self));
        Self { looked: before.map(|before| before.looked).unwrap_or_default(), ..self }
    }
}

/// Returns the files of a log that are whole in a vault, with their lengths, and whether there are others.
pub(super) fn whole_files(vault: &Repository, log: &Snapshot) -> Result<(BTreeMap<PathBuf, u64>, bool)> {
    let listed = files_of(vault, &log.tree).or_else(|error| {
        if !error.says_damage() {
            return Err(error);
        }
        // Somebody may have moved it since the indexes were read.
        vault.load_index()?;
        files_of(vault, &log.tree)
    });
    let all = match listed {
        Ok(all) => all,
        Err(error) if error.says_damage() => return Ok((BTreeMap::new(), true)),
        Err(error) => return Err(error.into()),
    };
    let is_whole = |node: &Node| match &node.kind {
        NodeKind::File { content, .. } => content.iter().all(|id| vault.has(BlobKind::Data, id)),
        _ => true,
    };
    let count = all.len();
    let whole = all.into_iter().filter(|(_, node)| is_whole(node));
    let files: BTreeMap<PathBuf, u64> = whole.map(|(path, node)| (path, node.size())).collect();
    let is_broken = files.len() < count;
    Ok((files, is_broken))
}

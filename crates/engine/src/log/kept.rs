//! What is said of a log in a vault, and what leaves this machine once the vaults have it.

use super::*;
use jiff::SignedDuration;

/// Two clocks, or two looks at one, may be so far apart.
const APART: SignedDuration = SignedDuration::from_mins(1);

/// Returns whether a time is yet to come, so that whatever claims it was said by a clock that was ahead.
pub(crate) fn is_to_come(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > APART
}

/// Returns what is said of a log without what a clock has said that was ahead: until when it is whole.
pub(super) fn believed(log: &LogInfo, now: Timestamp) -> LogInfo {
    let mut log = log.clone();
    let runs = log.runs.iter_mut().map(|run| &mut run.until);
    let earlier = log.earlier.iter_mut().map(|stretch| &mut stretch.until);
    for until in runs.chain(earlier).chain([&mut log.until]) {
        *until = until.filter(|until| !is_to_come(*until, now));
    }
    log
}

/// Returns which logs that claim a later time than now the next one goes on from, where `newest` is the one before it.
pub(super) fn passed(newest: Option<&(FileId, Snapshot)>, now: Timestamp) -> BTreeMap<String, Timestamp> {
    let Some((_, snapshot)) = newest else { return BTreeMap::new() };
    let log = snapshot.releve.as_ref().and_then(|info| info.log.as_ref());
    let mut passed = log.map(|log| log.passed.clone()).unwrap_or_default();
    passed.extend(snapshot.tag("point").map(|id| (id.to_owned(), snapshot.time)));
    passed.retain(|_, time| *time > now);
    passed
}

/// Returns whether the newest point lies behind all that is missing in a log: what came before it concerns older points alone.
pub(super) fn is_closed(log: &LogInfo, newest_point: Option<&str>) -> bool {
    log.from != NOWHERE && newest_point.is_some_and(|position| position >= log.from.as_str())
}

impl Carrier<'_> {
    /// Returns how a log is written into a vault.
    pub(super) fn options(&self, now: Timestamp) -> Result<BackupOptions> {
        Ok(BackupOptions {
            point: vault::new_point_id()?,
            system: self.name.log(),
            source: "log".into(),
            time: now,
            paths: vec![format!("/{}", self.name.log())],
            excludes: Vec::new(),
            holder: self.holder.clone(),
            parent: None,
            threads: 0,
            doubts: Vec::new(),
        })
    }

    /// Returns from where on nothing is missing in these files, the first of which should be the one at `begins`.
    pub(super) fn info(&self, files: &BTreeMap<PathBuf, u64>, begins: Option<&str>) -> LogInfo {
        let mut positions: BTreeMap<String, (bool, u64)> = BTreeMap::new();
        for (path, bytes) in files {
            match self.file_at(path).map(|file| file.kind) {
                Some(LogKind::Whole(position)) => _ = positions.insert(position, (true, *bytes)),
                Some(LogKind::Partial(position)) => _ = positions.entry(position).or_insert((false, *bytes)),
                _ => {}
            }
        }
        let mut info = LogInfo { from: begins.unwrap_or(NOWHERE).to_owned(), ..LogInfo::default() };
        let mut before: Option<(String, Option<u64>)> = None;
        for (position, (is_whole, bytes)) in positions {
            let missing = match &before {
                Some((before, whole)) => self.log.gap(before, *whole, &position),
                // What came from before where it should begin is no gap.
                None => begins.filter(|begins| **begins < *position).map(str::to_owned),
            };
            if before.is_none() || missing.is_some() {
                if let Some((before, _)) = before.filter(|_| self.log.ends_at_gap()) {
                    let from = std::mem::take(&mut info.from);
                    info.earlier.push(Stretch { from, to: before, until: None });
                }
                info.from.clone_from(&position);
                info.missing = missing;
            }
            before = Some((position, is_whole.then_some(bytes)));
        }
        info
    }

    /// Returns what there is of each history in these files without a gap. Until when all is in it was known as long as it was the newest: `before` remembers that, and
    /// of the newest it is so `until` now.
    pub(super) fn runs(
        &self,
        files: &BTreeMap<PathBuf, u64>,
        before: Option<&LogInfo>,
        until: Option<Timestamp>,
        timelines: &[Timeline],
    ) -> Vec<Passage> {
        let mut placed: BTreeMap<(u32, String), (bool, u64)> = BTreeMap::new();
        for (path, bytes) in files {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(number) = self.log.history_of(name) else { continue };
            match self.file_at(path).map(|file| file.kind) {
                Some(LogKind::Whole(position)) => _ = placed.insert((number, position), (true, *bytes)),
                Some(LogKind::Partial(position)) => {
                    _ = placed.entry((number, position)).or_insert((false, *bytes));
                }
                _ => {}
            }
        }
        let mut runs: Vec<Passage> = Vec::new();
        let mut last: Option<Option<u64>> = None;
        for ((timeline, position), (is_whole, bytes)) in placed {
            let whole = last.replace(is_whole.then_some(bytes)).flatten();
            if let Some(run) = runs.last_mut().filter(|run| run.timeline == timeline) {
                run.missing = self.log.gap(&run.to, whole, &position);
                if run.missing.is_none() {
                    run.to = position;
                    continue;
                }
            }
            runs.push(Passage { timeline, from: position.clone(), to: position, ..Passage::default() });
        }
        let known = before.map(|before| before.runs.as_slice()).unwrap_or_default();
        for run in &mut runs {
            let is_it = |other: &&Passage| {
                other.timeline == run.timeline && other.from <= run.to && run.from <= other.to
            };
            run.until = known.iter().filter(is_it).filter_map(|other| other.until).max();
        }
        let is_newest = |run: &&mut Passage| timelines.iter().all(|timeline| timeline.number <= run.timeline);
        if let Some(newest) = runs.last_mut().filter(is_newest) {
            newest.until = newest.until.max(until);
        }
        runs
    }

    /// Returns the histories that are known: those of before, and those that files in the spool tell of.
    pub(super) fn timelines(
        &self,
        waiting: &[Waiting],
        before: Option<&LogInfo>,
        files: &BTreeMap<PathBuf, u64>,
    ) -> Vec<Timeline> {
        let mut timelines = before.map(|before| before.timelines.clone()).unwrap_or_default();
        let is_position =
            |path: &Path| self.file_at(path).is_some_and(|file| !matches!(file.kind, LogKind::Always));
        let Some((_, bytes)) = files.iter().find(|(path, _)| is_position(path)) else { return timelines };
        for waiting in waiting.iter().filter(|waiting| waiting.position().is_none()) {
            let name = waiting.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(text) = std::fs::read_to_string(&waiting.path) else { continue };
            let Some((number, path)) = self.log.history(name, &text, *bytes) else { continue };
            let begun = std::fs::metadata(&waiting.path).and_then(|meta| meta.modified()).ok();
            let begun = begun.and_then(|begun| Timestamp::try_from(begun).ok());
            match timelines.iter_mut().find(|known| known.number == number) {
                // It may have been heard of before it was known when it began.
                Some(known) => known.begun = known.begun.into_iter().chain(begun).min(),
                None => timelines.push(Timeline { number, begun, path }),
            }
        }
        timelines.sort_by_key(|timeline| timeline.number);
        timelines
    }

    /// Lets go of what every vault has. What was received last stays: from there it goes on.
    pub(super) fn let_go(&self, group: &Group, names: &[VaultName], carried: &mut Carried) {
        let waiting = group.files.as_slice();
        let newest = waiting.iter().filter(|file| !file.is_away).filter_map(Waiting::position).max();
        let is_last =
            |file: &Waiting| !file.is_away && file.position().is_none_or(|position| Some(position) == newest);
        let has = |name: &VaultName, seen: &Seen, file: &Waiting| {
            let Some(held) = seen.logs.get(&group.identity) else { return false };
            let oldest = held.oldest.as_deref();
            let passed = oldest.zip(file.position()).is_some_and(|(oldest, position)| position < oldest);
            // A name and a length don't say that it is this one.
            let is_it = || {
                group.identity.is_none()
                    || matches!(file.file.kind, LogKind::Partial(_)) && !file.is_away
                    || lock(&self.same).get(&file.in_spool(name, group)) == Some(&true)
            };
            // What was put away before all of it came.
            let is_begun = file.is_away && matches!(file.file.kind, LogKind::Partial(_));
            let is_whole_there = is_begun && held.files.contains_key(&file.file.path.with_extension(""));
            passed || is_whole_there || held.files.get(&file.file.path) == Some(&file.bytes) && is_it()
        };
        let known = lock(&self.seen);
        let seen = || names.iter().map(|name| (name, known.get(name)));
        // All that there is anywhere. What stands before a gap tells whoever receives where to go on, so it stays until the gap is closed.
        let there: BTreeSet<String> = seen()
            .filter_map(|(_, seen)| seen?.logs.get(&group.identity))
            .flat_map(|held| held.files.keys())
            .filter_map(|path| match self.file_at(path)?.kind {
                LogKind::Whole(position) | LogKind::Partial(position) => Some(position),
                LogKind::Always => None,
            })
            .chain(waiting.iter().filter_map(Waiting::position).map(str::to_owned))
            .collect();
        let is_edge = |file: &Waiting| {
            let Some(position) = file.position() else { return false };
            let oldest = |seen: &Seen| seen.logs.get(&group.identity)?.oldest.clone();
            if seen().all(|(_, seen)| seen.and_then(oldest).is_some_and(|oldest| position < oldest.as_str()))
            {
                return false;
            }
            let next = there.range::<str, _>((Bound::Excluded(position), Bound::Unbounded)).next();
            next.is_some_and(|next| self.log.gap(position, Some(file.bytes), next).is_some())
        };
        let remove = |file: &Waiting| {
            // Another cluster's may lie there by now.
            let is_gone = !self.is_anothers(file, group) && fs::remove_file(&file.path).is_ok();
            if is_gone {
                lock(&self.same).retain(|(_, _, path, _), _| *path != file.path);
            }
            is_gone
        };
        let mut stays: Vec<&Waiting> = Vec::new();
        for file in waiting {
            let is_partial = matches!(file.file.kind, LogKind::Partial(_)) && !file.is_away;
            let everywhere = seen().all(|(name, seen)| seen.is_some_and(|seen| has(name, seen, file)));
            if is_last(file) || is_partial || !everywhere || is_edge(file) || !remove(file) {
                stays.push(file);
            }
        }
        stays.sort_by(|a, b| a.position().cmp(&b.position()));
        let mut waits: u64 = stays.iter().map(|file| file.bytes).sum();
        // Where no more comes in, nothing reaches the vaults that do answer either.
        let longest = waiting.iter().map(|file| file.bytes).max().unwrap_or_default();
        let free = crate::room::room_at(&self.spool).map_or(u64::MAX, |room| room.free);
        let mut short = (longest * ROOM_FILES).saturating_sub(free);
        for file in stays {
            let somewhere = seen().any(|(name, seen)| seen.is_some_and(|seen| has(name, seen, file)));
            if (carried.waiting + waits > SPOOL_MAX || short > 0)
                && somewhere
                && !is_last(file)
                && remove(file)
            {
                waits -= file.bytes;
                short = short.saturating_sub(file.bytes);
            }
        }
        carried.waiting += waits;
        if let Some(of) = group.identity.as_ref().filter(|_| waits == 0) {
            // Only once it is empty.
            let _ = fs::remove_dir(self.spool.join(format!("{BEFORE}{of}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn what_a_clock_said_of_a_log_that_was_ahead_counts_for_nothing() {
        let run = |until| Passage { until: Some(at(until)), ..Passage::default() };
        let stretch = Stretch { from: "1".into(), to: "2".into(), until: Some(at(34)) };
        let log = LogInfo {
            until: Some(at(34)),
            sentinel: Some((1, 9)),
            runs: vec![run(9), run(34)],
            earlier: vec![stretch],
            ..LogInfo::default()
        };
        assert_eq!(believed(&log, at(35)), log);
        let known = believed(&log, at(10));
        let untils: Vec<_> = known.runs.iter().map(|run| run.until).collect();
        assert_eq!((known.until, known.earlier[0].until, known.sentinel), (None, None, Some((1, 9))));
        assert_eq!(untils, [Some(at(9)), None]);
    }
}

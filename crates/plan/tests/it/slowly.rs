//! What takes a while: slow encryptions and deletions over an axis of points, each made, judged and recorded as a backup does it, with prunes between them.

use jiff::Timestamp;
use plan::judge::{Changed, Judgement, RULES, Rating, base, judge, judge_new};
use plan::keep::retain;
use plan::{Facts, Keep, Period, Wanted, choose};
use std::collections::BTreeMap;

const KB: u64 = 1_000;

/// What became of the files of a system since the beginning, whose files hold 10 kB each.
#[derive(Clone, Copy, Default)]
struct Done {
    encrypted: u64,
    deleted: u64,
    came: u64,
}

/// A system of so many files, and its points.
struct Axis {
    files: u64,
    points: Vec<Facts>,
    done: BTreeMap<String, Done>,
}

/// Midnight of a day of December, and so many hours.
fn at(day: i64, hour: i64) -> Timestamp {
    Timestamp::from_second(1_764_547_200 + (day - 1) * 86_400 + hour * 3_600).unwrap()
}

impl Axis {
    fn new(files: u64) -> Self {
        Self { files, points: Vec::new(), done: BTreeMap::new() }
    }

    fn judged(&self, now: Timestamp) -> Vec<Facts> {
        let mut points = self.points.clone();
        judge(&mut points, Some("shop-1"), now);
        points
    }

    /// Makes a point, counted against the one that a backup would take.
    fn back_up(&mut self, now: Timestamp, done: Done) -> Judgement {
        let paths = vec!["/srv/shop".to_owned()];
        let history = self.judged(now);
        let before = base(&history, &paths);
        let was = before.map(|before| self.done[&before.id]).unwrap_or_default();
        let less = u64::saturating_sub;
        let encrypted = less(done.encrypted, was.encrypted);
        // What is back came anew.
        let (gone, back) = (less(done.deleted, was.deleted), less(was.deleted, done.deleted));
        let came = less(done.came, was.came) + back;
        let there = self.files + was.came - was.deleted;
        let files = self.files + done.came - done.deleted;
        let change = match before {
            None => Changed { files_new: files, counted: 1, ..Changed::default() },
            Some(_) => Changed {
                files_changed: encrypted,
                files_unchanged: there - encrypted - gone,
                files_removed: gone,
                files_new: came,
                files_scrambled: encrypted,
                bytes_scrambled: encrypted * 10 * KB,
                bytes_lost: gone * 10 * KB,
                bytes_came: came * 10 * KB,
                counted: 1,
                ..Changed::default()
            },
        };
        let new = Facts {
            id: format!("{:08}", self.points.len()),
            time: now,
            complete: true,
            files,
            bytes: files * 10 * KB,
            host: "shop-1".into(),
            since: before.map(|before| before.id.clone()),
            paths,
            change,
            first_seen: Some(now),
            ..Facts::default()
        };
        let judgement = judge_new(&history, &new, Some("shop-1"), now);
        let is_bad = judgement.rating == Rating::Suspicious;
        self.done.insert(new.id.clone(), done);
        self.points.push(Facts {
            judged: RULES,
            recorded: judgement.why.clone().filter(|_| is_bad),
            tampering: judgement.tampering,
            ..new
        });
        judgement
    }

    /// Lets points go as a prune does; what they counted is remembered.
    fn prune(&mut self, now: Timestamp, keep: &Keep) {
        let there: Vec<Facts> = self.judged(now).into_iter().filter(|point| !point.gone).collect();
        let verdicts = retain(&there, Some(keep), Period::seconds(8 * 3600));
        for verdict in verdicts.iter().filter(|verdict| verdict.kept.is_empty()) {
            self.forget(&verdict.id);
        }
    }

    fn forget(&mut self, id: &str) {
        self.points.iter_mut().filter(|point| point.id == id).for_each(|point| point.gone = true);
    }

    /// Returns when the point was begun that `last clean` takes.
    fn last_clean(&self, now: Timestamp) -> Result<Timestamp, String> {
        let there: Vec<Facts> = self.judged(now).into_iter().filter(|point| !point.gone).collect();
        choose(&there, &Wanted::LastClean, now).map(|choice| choice.point.time).map_err(|why| why.to_string())
    }
}

fn encrypted(encrypted: u64) -> Done {
    Done { encrypted, ..Done::default() }
}

fn deleted(deleted: u64, came: u64) -> Done {
    Done { deleted, came, ..Done::default() }
}

/// Two files of four hundred a day, three backups a day and a prune each night, for four weeks.
fn slow_encryption() -> Axis {
    let mut axis = Axis::new(400);
    let keep = Keep { daily: Some(14), ..Keep::default() };
    axis.back_up(at(1, 23), Done::default());
    let mut files = 0;
    for day in 2..30 {
        for hour in [7, 15, 23] {
            files += u64::from(hour != 23);
            let told = axis.back_up(at(day, hour), encrypted(files));
            assert_eq!(told.rating == Rating::Suspicious, files >= 5, "{day}, {hour}: {:?}", told.why);
            if files >= 5 {
                assert_eq!(told.began, Some(at(2, 7)), "{day}, {hour}");
                let why = told.why.unwrap();
                assert!(why.ends_with("; it began with point 00000001 of 2025-12-02T07:00:00Z"), "{why}");
            }
        }
        axis.prune(at(day, 23), &keep);
    }
    axis
}

#[test]
fn a_beginning_that_was_told_stays_known_when_it_is_pruned_and_weeks_have_passed() {
    let mut axis = slow_encryption();
    assert!(axis.points[1].gone, "where it began is in no vault any more");
    assert_eq!(axis.last_clean(at(30, 1)), Ok(at(1, 23)));
    // Nor does it help to let go of every point that tells it: what looks good between is none the better for that.
    let bad: Vec<String> =
        axis.points.iter().filter(|point| point.recorded.is_some()).map(|point| point.id.clone()).collect();
    bad.iter().for_each(|id| axis.forget(id));
    assert_eq!(axis.last_clean(at(30, 1)), Ok(at(1, 23)));
    // A machine that knows of what is there alone reads it in what the points say.
    let mut axis = slow_encryption();
    axis.points.retain(|point| !point.gone);
    assert_eq!(axis.last_clean(at(30, 1)), Ok(at(1, 23)));
    // A person who trusts the newest explains what came until then.
    axis.points.last_mut().unwrap().trusted = true;
    assert_eq!(axis.last_clean(at(30, 1)), Ok(at(29, 23)));
}

#[test]
fn a_slow_deletion_names_where_it_began_and_that_stays_so_until_the_files_are_back() {
    for keep in [14, 3] {
        let mut axis = Axis::new(100);
        for day in 1..=12 {
            let gone = 6 * u64::try_from(day - 1).unwrap();
            let told = axis.back_up(at(day, 10), deleted(gone, 0));
            assert_eq!(told.rating == Rating::Suspicious, day >= 8, "{day}: {:?}", told.why);
            if day >= 8 {
                assert_eq!((told.began, told.tampering), (Some(at(2, 10)), false), "{day}");
                let why = told.why.unwrap();
                let counts = format!(
                    "lost, with 6 points before it, much of what was there for long, as a slow deletion takes it: {gone} of 100 files ({gone}%)"
                );
                assert!(why.starts_with(&counts), "{day}: {why}");
            }
            axis.prune(at(day, 11), &Keep { last: Some(keep), ..Keep::default() });
        }
        // Other files end nothing, and take nothing clean away.
        assert_eq!(axis.back_up(at(13, 10), deleted(66, 90)).began, Some(at(2, 10)));
        match keep {
            3 => {
                let why = axis.last_clean(at(13, 11)).unwrap_err();
                assert!(why.contains("none of the") && why.contains("takes it"), "{why}");
            }
            _ => assert_eq!(axis.last_clean(at(13, 11)), Ok(at(1, 10))),
        }
        assert_eq!(axis.back_up(at(14, 10), deleted(0, 0)).rating, Rating::Good, "all are back");
        assert_eq!(axis.last_clean(at(14, 11)), Ok(at(14, 10)));
    }
}

#[test]
fn what_was_told_to_be_gone_is_missed_until_it_is_back_or_trusted_whatever_else_comes() {
    let mut axis = Axis::new(100);
    axis.back_up(at(1, 10), Done::default());
    let told = axis.back_up(at(2, 10), deleted(60, 0));
    assert_eq!((told.rating, told.began), (Rating::Suspicious, None));
    let still = axis.back_up(at(3, 10), deleted(60, 60));
    assert!(
        still.why.unwrap().starts_with("still lacks 60 of the 60 files that were gone in point 00000001")
    );
    assert_eq!(axis.back_up(at(4, 10), deleted(60, 200)).rating, Rating::Suspicious);
    assert_eq!(axis.last_clean(at(4, 11)), Ok(at(1, 10)));
    assert_eq!(axis.back_up(at(5, 10), deleted(10, 200)).rating, Rating::Good);
    assert_eq!(axis.last_clean(at(5, 11)), Ok(at(5, 10)));
}

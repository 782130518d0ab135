//! Which of what is mounted answers: the one place where it is decided, before anybody who isn't a capture looks at a path.
//!
//! The kernel's list says what lies where; each mount that may not answer is asked by a process of its own, all of them at once, and for a few
//! seconds only. Nothing else is touched on the way to a path than what lies on mounts that have answered.

use super::guard::{FRESH, LOOK, asking, leave_behind};
use super::mountinfo::{Mount, Mounts};
use crate::machine::lock;
use crate::way::LINKS_MAX;
use process::Wait;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long what is mounted from elsewhere may take to answer somebody who waits for a decision.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is believed that something doesn't answer, without another try.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Returns the place of the mount that a look at the absolute `path` would wait for, links followed, if it doesn't answer.
#[must_use]
pub fn silent_on_the_way(path: &Path) -> Option<PathBuf> {
    on_the_way(path, Mounts::now().ok()?.as_ref())
}

/// Returns the places below the absolute `path` on which something is mounted that doesn't answer, each by the way that the path goes, so that whoever goes it knows
/// them: no link below the path is followed. The error is what a look at the path itself would wait for, as [`silent_on_the_way`] has it.
pub fn around(path: &Path) -> Result<Vec<PathBuf>, PathBuf> {
    let mounts = Mounts::now().unwrap_or_default();
    if let Some(place) = on_the_way(path, &mounts) {
        return Err(place);
    }
    // The kernel's list says where things really lie.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let below = silent_among(&mounts, &|place| place.starts_with(&real));
    let inside = below.iter().filter_map(|place| place.strip_prefix(&real).ok());
    Ok(inside.map(|inside| path.components().chain(inside.components()).collect()).collect())
}

/// Returns the places below `target`, relative to it, on which something is mounted that doesn't answer, as far as one of these paths below it
/// lies at such a place, above or below. The target itself must be one that answers: see [`silent_on_the_way`].
#[must_use]
pub fn silent_in(target: &Path, paths: &[String]) -> Vec<PathBuf> {
    let real = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let paths: Vec<PathBuf> = paths.iter().map(|path| real.join(path.trim_start_matches('/'))).collect();
    let concerns = |place: &Path| paths.iter().any(|path| path.starts_with(place) || place.starts_with(path));
    let silent = silent_among(&Mounts::now().unwrap_or_default(), &concerns);
    silent.iter().filter_map(|place| place.strip_prefix(&real).ok()).map(Path::to_owned).collect()
}

/// Says that a mount doesn't answer, for a person.
#[must_use]
pub fn silence(place: &Path) -> String {
    format!("what is mounted at {} doesn't answer", place.display())
}

fn on_the_way(path: &Path, mounts: &Mounts) -> Option<PathBuf> {
    if !mounts.all().any(Mount::is_distant) {
        return None;
    }
    way(path, mounts, &|place| !silent(std::slice::from_ref(&place.to_owned())).is_empty())
}

/// Returns which of the mounts that one is concerned with don't answer.
fn silent_among(mounts: &Mounts, concerns: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let distant = mounts.all().filter(|mount| mount.is_distant() && concerns(&mount.place));
    silent(&distant.map(|mount| mount.place.clone()).collect::<Vec<_>>())
}

/// Goes along a path as the kernel would, and returns the first mount on it that may not answer and is `silent`.
fn way(path: &Path, mounts: &Mounts, silent: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let names = |path: &Path| -> VecDeque<OsString> {
        path.components().map(|name| name.as_os_str().to_owned()).collect()
    };
    let (mut here, mut rest, mut links) = (PathBuf::from("/"), names(path), 0);
    while let Some(name) = rest.pop_front() {
        match Path::new(&name).components().next() {
            Some(Component::Normal(name)) => here.push(name),
            Some(Component::ParentDir) => {
                here.pop();
                continue;
            }
            Some(Component::RootDir) => {
                here = PathBuf::from("/");
                continue;
            }
            _ => continue,
        }
        if mounts.at(&here).is_some_and(Mount::is_distant) && silent(&here) {
            return Some(here);
        }
        // What lies on a mount that has answered may be read.
        let Ok(target) = std::fs::read_link(&here) else { continue };
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        here.pop();
        let mut further = names(&target);
        further.append(&mut rest);
        rest = further;
    }
    None
}

/// Asks these mounts, all at once, and returns those that don't answer.
fn silent(places: &[PathBuf]) -> Vec<PathBuf> {
    static KNOWN: OnceLock<Mutex<BTreeMap<PathBuf, (Instant, bool)>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let remembered = |place: &PathBuf| {
        let (since, answers) = *lock(known).get(place)?;
        (since.elapsed() < if answers { FRESH } else { REMEMBERED }).then_some(answers)
    };
    let (mut silent, mut waiting) = (Vec::new(), Vec::new());
    for place in places {
        match remembered(place) {
            Some(true) => {}
            Some(false) => silent.push(place.clone()),
            // Without the program that asks nothing is known of any.
            None => waiting.extend(asking(place).map(|asking| (place.clone(), asking))),
        }
    }
    let (begun, wait) = (Instant::now(), Wait::begin());
    while !waiting.is_empty() && begun.elapsed() < PATIENCE && !wait.is_over() {
        waiting.retain_mut(|(place, asking)| {
            let waits = matches!(asking.try_wait(), Ok(None));
            if !waits {
                lock(known).insert(place.clone(), (Instant::now(), true));
            }
            waits
        });
        if !waiting.is_empty() {
            std::thread::park_timeout(LOOK);
        }
    }
    for (place, asking) in waiting {
        leave_behind(asking);
        // Who was told to end has not waited for long enough to know it.
        if begun.elapsed() >= PATIENCE {
            lock(known).insert(place.clone(), (Instant::now(), false));
        }
        silent.push(place);
    }
    silent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_gone_along_links_up_to_the_first_mount_that_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("a/dead")).unwrap();
        std::os::unix::fs::symlink("a/dead/x", base.join("link")).unwrap();
        std::os::unix::fs::symlink("loop", base.join("loop")).unwrap();
        let list = format!(
            "36 35 8:1 / / rw - ext4 /dev/sda1 rw\n37 36 0:9 / {}/a/dead rw - nfs4 nas:/x rw\n",
            base.display()
        );
        let mounts = Mounts::parse(list.as_bytes()).unwrap();
        let dead = Some(base.join("a/dead"));
        let way = |inner: &str| way(&base.join(inner), &mounts, &|_| true);
        assert_eq!(
            (way("a"), way("b/not/there"), way("loop/x"), way("a/dead/..")),
            (None, None, None, dead.clone())
        );
        assert_eq!((way("a/dead"), way("a/dead/b"), way("link/b")), (dead.clone(), dead.clone(), dead));
        assert_eq!(super::way(&base.join("a/dead"), &mounts, &|_| false), None, "it answers");
    }
}

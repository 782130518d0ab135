//! What stands beside files that come back and belongs to a newer state of them: SQLite would play a `-wal` or `-journal` of the crash into the database of the point.
//!
//! What SQLite would take is given another name, and told; what other programs would is named. Looked for before anything is written, so that it can be shown; done
//! once the data are back, so that nothing goes for a database that did not come.

use crate::{Error, Result};
use jiff::Timestamp;
use source::{HEAD_BYTES, is_of_sqlite, newer_beside};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{Part, RestoreOptions, RestoreReport, There, beside};
use vault::{BlobId, Progress, Repository};

/// How many are named of each kind; nobody reads more.
const NAMED_MAX: usize = 10;

/// What belongs to a newer state than a point's, below the target of a restore.
#[derive(Debug)]
pub struct Beside {
    options: RestoreOptions,
    /// Databases of SQLite, as far as their names tell, and what is beside each.
    of_sqlite: Vec<(PathBuf, PathBuf)>,
    /// What else there is, by its folder and format.
    of_others: BTreeMap<(PathBuf, &'static str), Vec<PathBuf>>,
}

/// What became of it.
#[derive(Debug, Default)]
pub struct Settled {
    /// What was given another name.
    pub told: Vec<String>,
    /// What still stands there.
    pub findings: Vec<String>,
}

impl Beside {
    /// Looks for it, before a restore with these options.
    pub fn look(
        vaults: &[Arc<Repository>],
        tree: BlobId,
        options: &RestoreOptions,
        progress: &Progress,
    ) -> Result<Self> {
        let (mut of_sqlite, mut of_others) = (Vec::new(), BTreeMap::<_, Vec<PathBuf>>::new());
        beside(vaults, tree, options, progress, &mut |there| {
            let name = there.folder.file_name().unwrap_or_default();
            let newer = newer_beside(name, there.held, there.extra);
            for of in newer.of_sqlite {
                let (database, path) = (there.folder.join(of.database), there.folder.join(of.name));
                if is_of_part(&options.part, &database) {
                    of_sqlite.push((database, path));
                }
            }
            // Who asks for single files has chosen, and what else the point has there isn't newer.
            for (format, name) in newer.of_others.into_iter().filter(|_| !there.is_part) {
                let path = there.folder.join(name);
                if is_of_part(&options.part, &path) {
                    of_others.entry((there.folder.to_owned(), format)).or_default().push(path);
                }
            }
        })?;
        Ok(Self { options: options.clone(), of_sqlite, of_others })
    }

    /// Says what will be set aside, and what will stay; but what is `going` anyway.
    #[must_use]
    pub fn foreseen(&self, going: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let Ok(Some(there)) = There::open(&self.options) else { return Vec::new() };
        // Of a database that is gone nothing is known before it is back.
        let is_meant = |(database, path): &&(PathBuf, PathBuf)| {
            let is_gone = matches!(there.head(database, HEAD_BYTES), Ok(None));
            !going(path) && (is_gone || is_taken(&there, database, path))
        };
        let meant: Vec<&PathBuf> = self.of_sqlite.iter().filter(is_meant).map(|(_, path)| path).collect();
        let mut lines: Vec<String> = meant
            .iter()
            .take(NAMED_MAX)
            .map(|path| {
                format!(
                    "{} is of a newer state of its database than the point, which SQLite would play into what comes back: it is set aside under another name",
                    self.place(path)
                )
            })
            .collect();
        lines.extend(more(meant.len()));
        lines.extend(self.others(&there, going));
        lines
    }

    /// Sets aside what SQLite would play into what came back, and says what else stands there. What did not come back whole keeps what is beside it.
    #[must_use]
    pub fn settle(&self, report: &RestoreReport, now: Timestamp) -> Settled {
        let mut settled = Settled::default();
        let there = match There::open(&self.options) {
            Ok(Some(there)) => there,
            Ok(None) => return settled,
            Err(error) => {
                settled.findings.push(format!("{}: {error}", self.options.target.display()));
                return settled;
            }
        };
        let mut aside = 0;
        for (database, path) in &self.of_sqlite {
            if !is_taken(&there, database, path) {
                continue;
            }
            let place = self.place(path);
            if lacks(report, database) {
                settled
                    .findings
                    .push(format!("{place} stays: {} did not come back whole", self.place(database)));
                continue;
            }
            let name = aside_name(path, now);
            match there.set_aside(path, &name) {
                Ok(false) => {}
                Ok(true) => {
                    aside += 1;
                    if aside <= NAMED_MAX {
                        settled.told.push(format!(
                            "{place} was of a newer state of its database: it is {} now",
                            Path::new(&name).display()
                        ));
                    }
                }
                Err(error) => settled.findings.push(format!(
                    "{place} could not be set aside: {error}: SQLite will play it into the database that came back: move it away before anything opens that"
                )),
            }
        }
        settled.told.extend(more(aside));
        settled.findings.extend(self.others(&there, &|_| false));
        settled
    }

    /// Names what other programs keep that is still there.
    fn others(&self, there: &There, going: &dyn Fn(&Path) -> bool) -> Vec<String> {
        let line = |((folder, format), paths): (&(PathBuf, &'static str), &Vec<PathBuf>)| {
            let paths = paths.iter().filter(|path| !going(path));
            let paths = paths.filter_map(|path| Some((there.modified(path)?, path)));
            let standing: Vec<(i64, &PathBuf)> = paths.collect();
            let (time, newest) = standing.iter().max()?;
            let time = Timestamp::from_second(*time).unwrap_or_default();
            Some(format!(
                "{}: beside what comes back of {format} there stand {} newer files that the point doesn't hold (the newest: {}, of {time}): they belong to the state of the crash, \
                 and its program may play them into the older one: move them away before it starts, or `releve restore` with --path and --delete removes them",
                self.place(folder),
                standing.len(),
                newest.file_name().map(shown_name).unwrap_or_default()
            ))
        };
        let mut lines: Vec<String> = self.of_others.iter().filter_map(line).collect();
        let count = lines.len();
        lines.truncate(NAMED_MAX);
        lines.extend(more(count));
        lines
    }

    fn place(&self, path: &Path) -> String {
        plain::Name::path(&self.options.target.join(path)).to_string()
    }
}

fn shown_name(name: &OsStr) -> String {
    plain::Name::path(Path::new(name)).to_string()
}

/// Says that there are more than are named.
fn more(count: usize) -> Option<String> {
    let more = count.checked_sub(NAMED_MAX).filter(|more| *more > 0)?;
    Some(format!("and {more} more of this kind"))
}

/// Returns whether SQLite takes what stands beside a database for its own.
fn is_taken(there: &There, database: &Path, path: &Path) -> bool {
    let head = |path: &Path| there.head(path, HEAD_BYTES).ok().flatten();
    head(database).zip(head(path)).is_some_and(|(database, beside)| is_of_sqlite(&database, &beside))
}

/// Returns whether a file may not have come back whole: of more than are named nothing is known.
fn lacks(report: &RestoreReport, path: &Path) -> bool {
    let named = |count: u64, named: usize| u64::try_from(named).is_ok_and(|named| named == count);
    let is_known = named(report.damaged_count, report.damaged.len())
        && named(report.skipped_count, report.skipped.len());
    let stem = path.as_os_str().as_encoded_bytes();
    let is_damaged = report.damaged.iter().any(|damaged| {
        damaged.path.as_os_str().as_encoded_bytes().starts_with(stem)
            && damaged.path.parent() == path.parent()
    });
    !is_known || is_damaged || report.skipped.iter().any(|skipped| path.starts_with(&skipped.path))
}

/// Returns a name that says why and when, and that no program takes for its own.
fn aside_name(path: &Path, now: Timestamp) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".releve-set-aside-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    name
}

/// Returns whether a path below the target is of the part that comes back.
fn is_of_part(part: &Part, path: &Path) -> bool {
    let path = Path::new("/").join(path);
    match part {
        Part::All => true,
        Part::First(is_first) => path.ancestors().any(|path| is_first(path)),
        Part::Rest(is_first) => !path.ancestors().any(|path| is_first(path)),
    }
}

/// Looks for it, or says why it isn't known what stands there: nothing is kept from coming back by that.
pub fn look_beside(
    vaults: &[Arc<Repository>],
    tree: BlobId,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<Beside, String> {
    let unknown =
        |error: Error| format!("what stands beside it of a newer state could not be looked for: {error}");
    Beside::look(vaults, tree, options, progress).map_err(unknown)
}

//! Files and folders, as they lie on this machine.

mod answering;
mod beside;
mod content;
mod doubt;
mod exclude;
mod grew;
mod guard;
mod journal;
mod listing;
mod mistakes;
mod mountinfo;
mod reach;
mod roots;
mod tree;

pub use answering::{around, silence, silent_in, silent_on_the_way};
pub use beside::{HEAD_BYTES, Newer, OfSqlite, Together, comes_first, is_of_sqlite, newer_beside, together};
pub use doubt::MountTables;
pub use journal::Journal;
pub(crate) use journal::Run;
pub use mistakes::mistaken;
pub use mountinfo::{Mount, Mounts};
pub(crate) use tree::Tree;

use crate::error::at;
use crate::program::Program;
use crate::standing::{Standing, look};
use crate::{Capture, Error, Kind, Landing, PutBack, Replay, Result, Source};
use exclude::Excludes;
use roots::Roots;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vault::{Timestamp, Unread};

/// Files and folders.
///
/// - Every path is captured whole, under its own absolute path; the directories above it come with their own owner and mode, but
///   hold nothing else. Paths that lie in one another are captured once.
/// - A path that doesn't exist makes the point incomplete. So does one that is a symbolic link, or goes through one, unless what it leads to is
///   captured as well: links are kept as links, and nothing is captured by following one.
/// - A path that is named is captured even where a pattern, or the border of a file system, would leave it out.
/// - Another user's own FUSE mount, which not even root may enter, is no part of it: left out and named. What is mounted from elsewhere and doesn't
///   answer is given up after a while, and makes the point incomplete.
/// - What the kernel makes up (`/proc`, `/sys`, cgroups…) is left out, unless a path names something in it.
///
/// # Patterns
///
/// As in a `.gitignore`: `*`, `?` and `[a-z]` match within a name, `**` across directories, `{a,b}` either, `\` takes the next character literally.
///
/// - `*.tmp` or `cache`: anything of that name, anywhere. `shop/cache`: that, anywhere. `**/cache` is the same as `cache`.
/// - `/srv/shop/cache`: only there.
/// - `cache/`, with a slash at the end: only directories.
///
/// A directory that matches is left out with all that is in it. `!pattern` isn't known.
#[derive(Debug, Clone, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    excludes: Excludes,
    one_file_system: bool,
    before: Vec<Program>,
    after: Vec<Program>,
    journal: Option<(Journal, String)>,
    tables: MountTables,
    patience: Option<Duration>,
}

impl Files {
    /// Returns the source of these paths, which must be absolute.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Returns itself if its paths make sense; all that don't are named in the error, as they would be by a capture.
    pub fn sound(self) -> Result<Self> {
        Roots::new(&self.paths)?;
        Ok(self)
    }

    /// Leaves out what matches these patterns. All patterns that make no sense are named in the error.
    pub fn exclude(mut self, patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        self.excludes.add(patterns)?;
        Ok(self)
    }

    /// Leaves out these folders and all that is in them: the vaults' own, say. Unlike a pattern this wins over a named path, and
    /// says so in the point.
    #[must_use]
    pub fn without(mut self, folders: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.excludes.add_folders(folders.into_iter().map(Into::into));
        self
    }

    /// Stays on the file system of each path: what is mounted below it is kept as an empty directory. A btrfs subvolume counts
    /// as a file system of its own; a folder mounted a second time (a bind mount) doesn't.
    #[must_use]
    pub fn one_file_system(mut self, stay: bool) -> Self {
        self.one_file_system = stay;
        self
    }

    /// Runs these programs, in order, before anything is read. One that fails fails the capture.
    #[must_use]
    pub fn before(mut self, hooks: impl IntoIterator<Item = Program>) -> Self {
        self.before = hooks.into_iter().collect();
        self
    }

    /// Runs these programs, in order, when the capture is over, however it ended, and even if a hook before it failed. One that fails makes the point
    /// incomplete.
    #[must_use]
    pub fn after(mut self, hooks: impl IntoIterator<Item = Program>) -> Self {
        self.after = hooks.into_iter().collect();
        self
    }

    /// Where it is written down what is to be mounted where; the machine's own tables unless said otherwise.
    #[must_use]
    pub fn mount_tables(mut self, tables: MountTables) -> Self {
        self.tables = tables;
        self
    }

    /// How long what is mounted from elsewhere may take for one answer before it is given up; a minute unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Lets the journal keep account, under this name, of what changes between two captures.
    #[must_use]
    pub fn journal(mut self, journal: &Journal, name: impl Into<String>) -> Self {
        self.journal = Some((journal.clone(), name.into()));
        self
    }

    /// Begins to accompany a capture, after the hooks and before anything is looked at.
    fn accompany(&self, roots: &Roots, excludes: &Excludes) -> Option<Arc<Run>> {
        let (journal, name) = self.journal.as_ref()?;
        let definition = format!("{:?} {} {}", roots.paths(), excludes.definition(), self.one_file_system);
        let run = journal.begin(name, definition, &roots.paths());
        run.inspect_err(|why| tracing::debug!(source = name, "no change journal: {why}")).ok().map(Arc::new)
    }
}

impl Source for Files {
    fn capture(&self, _scratch: &Path, _now: Timestamp) -> Result<Capture> {
        let roots = Roots::new(&self.paths)?;
        for hook in &self.before {
            if let Err(why) = hook.run() {
                let mut why = format!("{why} (the hook before the backup)");
                for unread in run_after(&self.after) {
                    why = format!("{why}; then {}: {}", unread.path.display(), unread.why);
                }
                return Err(Error::new(format!("run {}", hook.name()), Kind::Program(why)));
            }
        }
        let mut excludes = self.excludes.clone();
        excludes.resolve_folders();
        let run = self.accompany(&roots, &excludes);
        let opened = tree::Tree::open(roots, excludes, self.one_file_system, run.clone(), self.patience);
        let opened = opened.map(|tree| tree.with_tables(self.tables.clone()));
        let tree = match opened {
            Ok(tree) => tree,
            Err(error) => {
                run_after(&self.after);
                return Err(Error::io("open /", error));
            }
        };
        let paths = tree.root_paths();
        let after = self.after.clone();
        Ok(Capture::new(tree, paths).accompanied(run).closing(move || run_after(&after)))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::Final(to.unwrap_or(Path::new("/")).to_owned())
    }

    /// The vault has put the files where they belong; what is left is to make sure that they are there.
    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        _replay: Option<&Replay>,
        _told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        let final_root = to.unwrap_or(Path::new("/"));
        if restored != final_root {
            let why = format!("files are restored straight into {}", final_root.display());
            return Err(Error::new(at("put back from", restored), Kind::Invalid(why)));
        }
        let mut done = PutBack::default();
        for path in Roots::new(&self.paths)?.paths().iter().map(|path| under(to, path)) {
            if silent_on_the_way(&path).is_some() {
                done.missing.push(path);
                continue;
            }
            match std::fs::symlink_metadata(&path) {
                Ok(_) => done.into.push(path),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    done.missing.push(path);
                }
                Err(error) => return Err(Error::io(at("put back", &path), error)),
            }
        }
        if !done.into.is_empty() {
            return Ok(done);
        }
        let barred = done.missing.iter().find_map(|path| in_the_way(path, to));
        Err(Error::new(at("put back into", restored), barred.map_or(Kind::NotInPoint, Kind::InTheWay)))
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        let places: Vec<_> = Roots::new(&self.paths)?.paths().iter().map(|path| under(to, path)).collect();
        look(places.iter().map(PathBuf::as_path))
    }
}

/// Opens a view of these paths, of which nothing is left out.
pub(crate) fn open_tree(paths: &[PathBuf]) -> Result<Tree> {
    let roots = Roots::new(paths)?;
    Tree::open(roots, Excludes::default(), false, None, None).map_err(|error| Error::io("open /", error))
}

/// Patterns as [`Files::exclude`] takes them, for other purposes.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Excludes);

impl Patterns {
    /// Compiles patterns. All that make no sense are named in the error.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let mut compiled = Excludes::default();
        compiled.add(patterns)?;
        Ok(Self(compiled))
    }

    /// Returns whether one of them matches this absolute path, as a directory or as anything else.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = path.as_os_str().as_bytes();
        self.0.matches(path) || self.0.matches_dir(path)
    }
}

/// Returns what keeps something from standing at `path`, which lies below `to`: a link above it that leads nowhere, something that is no folder, or a mount
/// that doesn't answer.
#[must_use]
pub fn in_the_way(path: &Path, to: Option<&Path>) -> Option<String> {
    if let Some(place) = silent_on_the_way(path) {
        return Some(format!("nothing comes back there: {}", silence(&place)));
    }
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above.into_iter().rev() {
        let meta = std::fs::symlink_metadata(folder).ok()?;
        if meta.is_dir() {
            continue;
        }
        let Ok(target) = std::fs::read_link(folder) else {
            return Some(format!("nothing comes back below {}, which is no folder", folder.display()));
        };
        // Below a target a link leads where it would for whoever starts that system.
        let there = match (target.is_absolute(), folder.parent()) {
            (true, _) => under(to, &target),
            (false, Some(parent)) => parent.join(&target),
            (false, None) => target.clone(),
        };
        let why = match std::fs::metadata(&there) {
            Ok(meta) if meta.is_dir() => continue,
            Ok(_) => "which is no folder",
            Err(_) => "which isn't there",
        };
        return Some(format!(
            "nothing comes back below {}: it is a link to {}, {why}",
            folder.display(),
            target.display()
        ));
    }
    None
}

/// Returns where the absolute `path` comes back under `to`.
pub(crate) fn under(to: Option<&Path>, path: &Path) -> PathBuf {
    to.map_or_else(|| path.to_owned(), |to| to.join(crate::machine::inside(path)))
}

fn run_after(hooks: &[Program]) -> Vec<Unread> {
    let failed = |hook: &Program| {
        // It lets an application go on: nobody gains by its being cut short.
        let why = hook.clone().unhurried().run().err()?;
        Some(Unread { path: hook.name().into(), why: format!("{why} (the hook after the backup)") })
    };
    hooks.iter().filter_map(failed).collect()
}

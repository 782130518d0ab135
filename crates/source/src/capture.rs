//! An open view of a system, with what has to be undone when it is closed.

use crate::files::Run;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use vault::{Content, Input, Node, Since, Unread, Vessel};

/// An open, consistent view of a system: what a backup reads. Whatever had to be set up for it (a temporary copy, a child
/// process, a hook that must run afterwards) is undone by `finish`, or else when it is dropped.
pub struct Capture {
    input: Box<dyn Input>,
    paths: Vec<PathBuf>,
    closing: Mutex<Option<Closing>>,
    journal: Option<Arc<Run>>,
    made_with: BTreeMap<String, String>,
    notes: Vec<Unread>,
}

/// What must happen once when the view is closed, on every way out.
type Closing = Box<dyn FnOnce() -> Vec<Unread> + Send>;

impl Capture {
    pub(crate) fn new(input: impl Input + 'static, paths: Vec<PathBuf>) -> Self {
        Self {
            input: Box::new(input),
            paths,
            closing: Mutex::new(None),
            journal: None,
            made_with: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn closing(self, closing: impl FnOnce() -> Vec<Unread> + Send + 'static) -> Self {
        *self.closing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(closing));
        self
    }

    pub(crate) fn accompanied(mut self, journal: Option<Arc<Run>>) -> Self {
        self.journal = journal;
        self
    }

    /// Notes what the system was made with.
    pub(crate) fn of(mut self, made_with: BTreeMap<String, String>) -> Self {
        self.made_with = made_with;
        self
    }

    /// Notes what a person should know, and what makes the point no worse.
    pub(crate) fn noting(mut self, notes: Vec<Unread>) -> Self {
        self.notes = notes;
        self
    }

    /// Returns the point since whose capture the change journal knows what changed: what it says is right for a backup that takes
    /// over from that very point, and for no other.
    #[must_use]
    pub fn refers_to(&self) -> Option<String> {
        self.journal.as_ref().and_then(|journal| journal.refers_to())
    }

    /// Says that all was read and a point called `point` made of it, to which the next capture may refer.
    pub fn keep(&self, point: &str) {
        if let Some(journal) = &self.journal {
            journal.keep(point);
        }
    }

    /// Returns what the backup reads.
    #[must_use]
    pub fn input(&self) -> &dyn Input {
        self
    }

    /// Returns the roots of what is captured, absolute, for the description of the restore point.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    fn close(&self) -> Vec<Unread> {
        let closing = self.closing.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        closing.map(|closing| closing()).unwrap_or_default()
    }
}

impl Input for Capture {
    fn list(&self, dir: &Path, unread: &mut Vec<Unread>) -> std::io::Result<Vec<Node>> {
        self.input.list(dir, unread)
    }

    fn describe(&self, path: &Path, node: &mut Node) -> std::io::Result<()> {
        self.input.describe(path, node)
    }

    fn pour(&self, vessel: &mut dyn Vessel) -> std::io::Result<()> {
        self.input.pour(vessel)
    }

    fn open(&self, path: &Path, node: &Node) -> std::io::Result<Box<dyn Content>> {
        self.input.open(path, node)
    }

    fn since(&self, dir: &Path, node: &Node) -> Since {
        self.input.since(dir, node)
    }

    fn look(&self, path: &Path) -> std::io::Result<Node> {
        self.input.look(path)
    }

    fn is_late(&self, path: &Path) -> bool {
        self.input.is_late(path)
    }

    fn position(&self) -> Option<String> {
        self.input.position()
    }

    fn whole_at(&self) -> Option<String> {
        self.input.whole_at()
    }

    fn ended(&self) -> Option<vault::Timestamp> {
        self.input.ended()
    }

    fn identity(&self) -> Option<String> {
        self.input.identity()
    }

    fn made_with(&self) -> BTreeMap<String, String> {
        self.made_with.clone()
    }

    fn stop(&self) {
        self.input.stop();
    }

    fn waits(&self) -> Option<String> {
        self.input.waits()
    }

    fn mounted(&self, before: &[String]) -> Vec<String> {
        self.input.mounted(before)
    }

    fn doubts(&self, before: &[String]) -> Vec<String> {
        self.input.doubts(before)
    }

    fn left_out(&self) -> Vec<Unread> {
        self.input.left_out()
    }

    fn notes(&self) -> Vec<Unread> {
        let mut notes = self.input.notes();
        notes.extend(self.notes.iter().cloned());
        notes
    }

    fn finish(&self) -> Vec<Unread> {
        let mut unread = self.input.finish();
        unread.extend(self.close());
        unread
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        for unread in self.close() {
            // The backup has failed already, and with it the report that this would have gone into.
            tracing::warn!(path = %unread.path.display(), "{}", unread.why);
        }
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("paths", &self.paths).finish_non_exhaustive()
    }
}

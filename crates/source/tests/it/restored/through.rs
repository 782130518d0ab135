//! Links above what was captured are the machine's: walked through where they lead to a folder, and never replaced.

use super::Pair;
use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::restore::{RestoreOptions, RestoreReport, extras, replaced};
use vault::{Progress, Repository};

/// A target with a folder `real` that holds something, and a place above the data where a link may lie.
struct Above {
    pair: Pair,
    both: Vec<Arc<Repository>>,
    /// The folder above the data, below the target, and the one above that.
    srv: PathBuf,
}

impl Above {
    fn new() -> Self {
        let pair = Pair::of(|data| {
            fs::write(data.join("a"), "a").unwrap();
            fs::hard_link(data.join("a"), data.join("same")).unwrap();
            fs::create_dir(data.join("below")).unwrap();
            fs::write(data.join("below/b"), "b").unwrap();
        });
        let srv = pair.back().parent().unwrap().to_owned();
        fs::create_dir_all(srv.parent().unwrap()).unwrap();
        fs::create_dir_all(pair.path("out/real")).unwrap();
        fs::write(pair.path("out/real/precious"), "precious").unwrap();
        Self { both: pair.both(), pair, srv }
    }

    /// Restores where the folder above is a link that leads there.
    fn with(&self, leads: impl AsRef<Path>) -> RestoreReport {
        let _ = fs::remove_file(&self.srv);
        symlink(leads, &self.srv).unwrap();
        self.restore()
    }

    fn restore(&self) -> RestoreReport {
        self.pair.restore(&self.both, &self.pair.options())
    }

    fn replaced(&self, options: &RestoreOptions) -> Vec<String> {
        let found = replaced(&self.both, self.pair.tree, options, &Progress::default()).unwrap();
        found.into_iter().map(|trouble| format!("{}: {}", trouble.path.display(), trouble.why)).collect()
    }

    /// Fails unless the link still stands, and the data are behind it.
    fn is_behind_the_link(&self, report: &RestoreReport) {
        assert!(report.is_whole(), "{report:?}");
        assert!(self.srv.is_symlink(), "the link was replaced");
        assert_eq!(fs::read_to_string(self.pair.path("out/real/precious")).unwrap(), "precious");
        assert_eq!(fs::read_to_string(self.pair.path("out/real/data/same")).unwrap(), "a");
        assert_eq!(fs::read_to_string(self.pair.path("out/real/data/below/b")).unwrap(), "b");
        fs::remove_dir_all(self.pair.path("out/real/data")).unwrap();
    }

    /// Fails unless the link still stands, and nothing was written through it.
    fn is_refused(&self, report: &RestoreReport, why: &str) {
        assert_eq!(report.restored, 0, "{report:?}");
        assert!(report.skipped.iter().any(|trouble| trouble.why.contains(why)), "{report:?}");
        assert!(self.srv.is_symlink(), "the link was replaced");
        let told = self.replaced(&self.pair.options());
        assert!(told.len() == 1 && told[0].contains("stays") && told[0].contains(why), "{told:?}");
    }
}

#[test]
fn a_link_above_that_leads_to_a_folder_of_the_target_is_walked_through() {
    let above = Above::new();
    // As deep as the place of the link is below the target.
    let depth = above.srv.strip_prefix(above.pair.path("out")).unwrap().components().count() - 1;
    let up = "../".repeat(depth);
    above.is_behind_the_link(&above.with(format!("{up}real")));
    // An absolute one is meant within the system that is restored.
    above.is_behind_the_link(&above.with("/real"));
    symlink("real", above.pair.path("out/another")).unwrap();
    above.is_behind_the_link(&above.with("/another"));
    assert_eq!(above.replaced(&above.pair.options()), Vec::<String>::new());
}

#[test]
fn what_is_too_much_behind_a_link_above_is_found_there() {
    let above = Above::new();
    assert!(above.with("/real").is_whole());
    fs::write(above.pair.path("out/real/data/more"), "x").unwrap();
    let found = extras(&above.both, above.pair.tree, &above.pair.options(), &Progress::default()).unwrap();
    assert_eq!(found.paths.len(), 1, "{found:?}");
    assert_eq!(found.remove().0, 1);
    assert!(!above.pair.path("out/real/data/more").exists());
    assert!(above.pair.path("out/real/precious").exists());
    // Once more: nothing is written, and what has two names is still one.
    let again = above.restore();
    assert_eq!((again.restored, again.unchanged), (0, 3), "{again:?}");
}

#[test]
fn a_link_above_that_leads_out_nowhere_or_to_no_folder_is_refused_by_name() {
    let above = Above::new();
    fs::create_dir(above.pair.path("outside")).unwrap();
    let depth = above.srv.strip_prefix(above.pair.path("out")).unwrap().components().count() - 1;
    above.is_refused(&above.with(format!("{}../outside", "../".repeat(depth))), "out of the target");
    let elsewhere = tempfile::tempdir().unwrap();
    above.is_refused(&above.with(elsewhere.path()), "out of the target");
    above.is_refused(&above.with("missing"), "nowhere");
    above.is_refused(&above.with("/real/precious"), "no folder");
    above.is_refused(&above.with(above.srv.file_name().unwrap()), "circle");
    assert_eq!(fs::read_dir(above.pair.path("outside")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_link_that_somebody_else_has_made_is_not_walked_through() {
    let above = Above::new();
    symlink("/real", &above.srv).unwrap();
    lchown(&above.srv, Some(1234), Some(1234)).unwrap();
    above.is_refused(&above.restore(), "user 1234");
}

#[test]
fn a_file_above_stays_and_is_named() {
    let above = Above::new();
    fs::write(&above.srv, "somebody's").unwrap();
    let report = above.restore();
    assert_eq!(report.restored, 0, "{report:?}");
    assert!(
        report.skipped.iter().any(|trouble| trouble.why.contains("the file in its place stays")),
        "{report:?}"
    );
    assert_eq!(fs::read_to_string(&above.srv).unwrap(), "somebody's");
}

#[test]
fn a_link_within_what_was_captured_is_not_walked_through_for_a_part_of_it() {
    let above = Above::new();
    assert!(above.restore().is_whole());
    fs::remove_dir_all(above.pair.back().join("below")).unwrap();
    symlink(above.pair.path("out/real"), above.pair.back().join("below")).unwrap();
    let options = RestoreOptions { only: vec![above.pair.data().join("below/b")], ..above.pair.options() };
    let told = above.replaced(&options);
    assert!(told.len() == 1 && told[0].contains("stays"), "{told:?}");
    let report = above.pair.restore(&above.both, &options);
    assert!(report.restored == 0 && report.skipped_count > 0, "{report:?}");
    assert!(above.pair.back().join("below").is_symlink());
    // All of it was asked for: then it goes, and that was shown.
    let told = above.replaced(&above.pair.options());
    assert!(told.len() == 1 && told[0].contains("goes: the point has a folder here"), "{told:?}");
    assert!(above.restore().is_whole());
    assert!(!above.pair.back().join("below").is_symlink());
    assert_eq!(fs::read_dir(above.pair.path("out/real")).unwrap().count(), 1);
}

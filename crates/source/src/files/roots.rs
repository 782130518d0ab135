//! The paths that were named, as a tree: which of them a walk is inside of, and what it must find on its way.

use crate::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// The named paths.
#[derive(Debug, Default)]
pub(super) struct Roots {
    top: Branch,
}

/// A directory on the way to a named path, or a named path.
#[derive(Debug, Default)]
pub(super) struct Branch {
    /// It was named: all of it is wanted.
    pub(super) is_root: bool,
    /// The file system that a named path lies on, once that was looked up.
    pub(super) device: OnceLock<u64>,
    pub(super) children: BTreeMap<OsString, Branch>,
}

impl Roots {
    /// Returns the tree of these paths. All that make no sense are named in the error.
    pub(super) fn new(paths: &[PathBuf]) -> Result<Self> {
        let mut roots = Self::default();
        let mut wrong = Vec::new();
        for path in paths {
            if !path.is_absolute() {
                wrong.push(format!("{} is not absolute", path.display()));
            } else if path.components().any(|part| part == Component::ParentDir) {
                wrong.push(format!("{} contains `..`", path.display()));
            }
            let mut branch = &mut roots.top;
            for part in names(path) {
                branch = branch.children.entry(part.to_owned()).or_default();
            }
            branch.is_root = true;
        }
        if paths.is_empty() {
            wrong.push("no path at all".to_owned());
        }
        match wrong.is_empty() {
            true => Ok(roots),
            false => Err(Error::new("read the paths", Kind::Invalid(wrong.join("; ")))),
        }
    }

    pub(super) fn top(&self) -> &Branch {
        &self.top
    }

    /// Returns all named paths, absolute and in order.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.top.below(Path::new("/"))
    }

    /// Returns the named path that is nearest above the absolute `path`, or is it.
    pub(super) fn nearest(&self, path: &Path) -> Option<PathBuf> {
        let (mut branch, mut here) = (&self.top, PathBuf::from("/"));
        let mut nearest = branch.is_root.then(|| here.clone());
        for part in names(path) {
            let Some(child) = branch.children.get(part) else { break };
            here.push(part);
            branch = child;
            if branch.is_root {
                nearest = Some(here.clone());
            }
        }
        nearest
    }

    /// Returns whether the absolute `path` is a named path or lies in one.
    pub(super) fn cover(&self, path: &Path) -> bool {
        let mut branch = &self.top;
        for part in names(path) {
            match branch.children.get(part) {
                _ if branch.is_root => return true,
                Some(child) => branch = child,
                None => return false,
            }
        }
        branch.is_root
    }
}

impl Branch {
    /// Returns the named paths at and below this branch, which lies at `path`.
    pub(super) fn below(&self, path: &Path) -> Vec<PathBuf> {
        let own = self.is_root.then(|| path.to_owned());
        let deeper = self.children.iter().flat_map(|(name, child)| child.below(&path.join(name)));
        own.into_iter().chain(deeper).collect()
    }
}

/// Returns the names that lead from the root to `path`.
pub(super) fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_once_each_and_in_order() {
        let roots =
            Roots::new(&["/srv/shop".into(), "/etc/".into(), "/srv//./shop/".into(), "/srv".into()]).unwrap();
        let paths: Vec<PathBuf> = ["/etc", "/srv", "/srv/shop"].map(Into::into).into();
        assert_eq!(roots.paths(), paths);
        assert!(roots.cover(Path::new("/srv/x/y")));
        assert!(!roots.cover(Path::new("/srvx")));
        assert!(!roots.cover(Path::new("/")));
    }

    #[test]
    fn all_senseless_paths_are_named_at_once() {
        let error = Roots::new(&["srv".into(), "/a/../b".into()]).unwrap_err().to_string();
        assert!(error.contains("srv is not absolute") && error.contains("/a/../b contains"), "{error}");
        assert!(Roots::new(&[]).is_err());
    }
}

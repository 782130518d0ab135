//! Names that say nothing, so that everything ends up there.

use super::Finding;
use std::path::Path;

const DRAWERS: [&str; 9] =
    ["util", "utils", "utilities", "common", "commons", "helper", "helpers", "manager", "managers"];

/// Checks a file's own name and its folder's.
pub(super) fn check(path: &Path) -> Option<Finding> {
    if path.extension().is_none_or(|extension| extension != "rs") {
        return None;
    }
    let stem = path.file_stem().into_iter();
    let folders = path.parent().into_iter().flat_map(Path::iter);
    let drawer = stem.chain(folders).find(|name| name.to_str().is_some_and(is_drawer))?;
    Some(Finding::new(path, format!("`{}` says nothing: name it after what it does", drawer.display())))
}

/// Returns whether a module's name is a drawer for everything.
pub(super) fn is_drawer(name: &str) -> bool {
    DRAWERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawer_is_found_as_file_and_as_folder() {
        for bad in
            ["crates/plan/src/utils.rs", "crates/plan/src/common/mod.rs", "crates/x/tests/it/helpers.rs"]
        {
            assert!(check(Path::new(bad)).is_some(), "{bad}");
        }
        for good in ["crates/plan/src/order.rs", "docs/common.md", "crates/plan/src/common_cause.rs"] {
            assert!(check(Path::new(good)).is_none(), "{good}");
        }
    }
}

//! Lists of permissions: where a file has one, its mode doesn't say whose the rights of its group are.

use std::path::Path;

/// Returns whether more may be said of who writes to a file or a folder than its mode does. Only its length is asked for, whatever that is.
#[must_use]
pub fn has_acl(place: &Path) -> bool {
    rustix::fs::getxattr_query(place, "system.posix_acl_access").is_ok_and(|bytes| bytes > 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};
    use std::path::PathBuf;

    /// Makes a folder of our own.
    pub(crate) fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("releve-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    /// Lets so many users write to a folder.
    pub(crate) fn list(folder: &Path, users: u32) {
        // As the kernel has it: a version, and for each a tag, permissions and a number; first the owner, then users, the group, the mask, all others.
        let mut entries = vec![(1_u16, 7_u16, u32::MAX)];
        entries.extend((0..users).map(|number| (2, 7, 1000 + number)));
        entries.extend([(4, 5, u32::MAX), (0x10, 7, u32::MAX), (0x20, 5, u32::MAX)]);
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, may, who) in entries {
            list.extend(tag.to_le_bytes().into_iter().chain(may.to_le_bytes()).chain(who.to_le_bytes()));
        }
        setxattr(folder, "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    }

    #[test]
    fn a_list_of_permissions_is_seen_however_long_it_is() {
        let folder = folder("listed");
        assert!(!has_acl(&folder));
        for users in [1, 150] {
            list(&folder, users);
            assert!(has_acl(&folder), "{users}");
        }
        std::fs::remove_dir(&folder).unwrap();
    }
}

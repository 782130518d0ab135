//! Disks that were mounted where a system comes back when its point was made, and aren't now: what lay on them would land in the folder below, out of sight once they are mounted.
//! The other way round, what has been mounted since over a folder that the point has something in: that goes onto the disk that is mounted now.
//! And what is mounted there and doesn't answer: whoever looked at it would wait for ever.

use crate::survey::Surveyed;
use plan::Restore;
use source::Mounts;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use vault::{BlobId, NodeKind, Repository};

/// Returns a line for each place of a system that had a file system of its own when its point was made and has none now.
pub(super) fn unmounted(entry: &Restore, surveyed: &Surveyed) -> Vec<String> {
    let Some(info) = &surveyed.point.info else { return Vec::new() };
    let wanted = info.mounted.iter().filter(|place| is_wanted(place, &entry.only)).map(String::as_str);
    let wanted: Vec<&str> = wanted.collect();
    // Most have none, and the kernel's list is long.
    if wanted.is_empty() {
        return Vec::new();
    }
    let mounts = Mounts::read().unwrap_or_default();
    missing(&wanted, &surveyed.point.snapshot.paths, &mounts)
}

/// Returns a line for each place below the paths of a system that has a file system of its own now and had none when its point was made, if the point has
/// something there. A path of the plan itself is none: onto a new disk for it people restore.
pub(super) fn mounted_since(
    entry: &Restore,
    surveyed: &Surveyed,
    vaults: impl FnOnce() -> Vec<Arc<Repository>>,
) -> Vec<String> {
    let Some(info) = &surveyed.point.info else { return Vec::new() };
    let mounts = Mounts::read().unwrap_or_default();
    let left_out: Vec<&str> = info.left_out.iter().map(|left| left.path.as_str()).collect();
    let known: Vec<&str> = info.mounted.iter().map(String::as_str).chain(left_out).collect();
    let mut new = since(&surveyed.point.snapshot.paths, &known, &mounts);
    new.retain(|place| place.to_str().is_none_or(|place| is_wanted(place, &entry.only)));
    // Most have none, and to look into the point takes longer.
    if new.is_empty() {
        return Vec::new();
    }
    let vaults = vaults();
    new.retain(|place| holds(&vaults, surveyed.point.tree, place));
    let line = |place: &PathBuf| {
        format!(
            "{} has a file system of its own mounted, and had none when the point was made: what belongs there goes into that one, and the folder below stays as it is: unmount it first, unless that is meant",
            place.display()
        )
    };
    new.iter().map(line).collect()
}

/// Returns the places below these roots at which something is mounted that isn't known.
fn since(roots: &[String], known: &[&str], mounts: &Mounts) -> Vec<PathBuf> {
    let is_below = |place: &Path| {
        roots.iter().any(|root| place != Path::new(root) && place.starts_with(root))
            && !roots.iter().any(|root| place == Path::new(root))
    };
    let is_new =
        |place: &&PathBuf| is_below(place.as_path()) && !known.iter().any(|known| place.starts_with(known));
    mounts.all().map(|mount| &mount.place).filter(is_new).cloned().collect()
}

/// Returns whether a point has something in the folder at this place.
fn holds(vaults: &[Arc<Repository>], root: BlobId, place: &Path) -> bool {
    let look = |tree: &BlobId| vaults.iter().find_map(|vault| vault.tree(tree).ok());
    let mut tree = root;
    for part in place.components() {
        let Component::Normal(part) = part else { continue };
        let below = look(&tree).unwrap_or_default().into_iter().find_map(|node| match node.kind {
            NodeKind::Dir { subtree: Some(subtree) } if node.name == part.as_bytes() => Some(subtree),
            _ => None,
        });
        match below {
            Some(below) => tree = below,
            None => return false,
        }
    }
    look(&tree).is_some_and(|nodes| !nodes.is_empty())
}

/// What doesn't answer where a system comes back.
pub(super) struct Silent {
    /// A line for each mount of that kind.
    pub(super) lines: Vec<String>,
    /// All of the system lies on such.
    pub(super) is_all: bool,
}

/// Returns what doesn't answer where a system comes back below `target`. Nothing of it is touched to find out.
pub(super) fn silent(entry: &Restore, surveyed: &Surveyed, target: &Path) -> Silent {
    let aims = if entry.only.is_empty() { &surveyed.point.snapshot.paths } else { &entry.only };
    let (mut places, mut barred) = (BTreeSet::new(), 0);
    for aim in aims {
        let path = target.join(aim.strip_prefix('/').unwrap_or(aim));
        match source::around(&path) {
            Ok(below) => places.extend(below),
            Err(place) => {
                barred += 1;
                places.insert(place);
            }
        }
    }
    let line = |place: &PathBuf| {
        format!(
            "{}: nothing is looked at or put back there; everything else is: mend it or take it away first (umount -l {})",
            source::silence(place),
            place.display()
        )
    };
    Silent { lines: places.iter().map(line).collect(), is_all: barred > 0 && barred == aims.len() }
}

/// Returns whether anything at this place or below it is to come back; all of a point is where nothing is named.
fn is_wanted(place: &str, only: &[String]) -> bool {
    let place = Path::new(place);
    only.is_empty() || only.iter().any(|only| place.starts_with(only) || Path::new(only).starts_with(place))
}

/// Returns a line for each of these places that is not mounted by what the kernel lists. One of the `roots` may lie below what is mounted.
fn missing(places: &[&str], roots: &[String], mounts: &Mounts) -> Vec<String> {
    // Where the kernel's list can't be read nothing is known.
    let Some(first) = mounts.at(Path::new("/")) else { return Vec::new() };
    let line = |place: &&str| {
        let path = Path::new(*place);
        let on = mounts.under(path).unwrap_or(first);
        let is_root = roots.iter().any(|root| root == place);
        let is_there = on.place == path || is_root && on.device != first.device;
        (!is_there).then(|| {
            format!(
                "{place} had a file system of its own when the point was made, which isn't mounted now: what belongs there goes onto the disk of {}, and is out of sight once the other is mounted: mount it first",
                on.place.display()
            )
        })
    };
    places.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 8:2 / /srv rw,relatime shared:2 - ext4 /dev/sdb1 rw\n\
        31 30 0:40 / /srv/our\\040disk rw,relatime shared:3 - tmpfs none rw\n";

    #[test]
    fn a_disk_that_was_there_and_is_not_is_named_with_the_one_that_would_be_filled() {
        let roots = ["/srv/shop".to_owned(), "/data".to_owned()];
        let mounts = Mounts::parse(MOUNTS.as_bytes()).unwrap();
        assert!(missing(&["/srv/shop", "/srv/our disk", "/srv"], &roots, &mounts).is_empty());
        let lines = missing(&["/srv/shop/disk", "/data"], &roots, &mounts);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("/srv/shop/disk had") && lines[0].contains("the disk of /srv,"));
        assert!(lines[1].starts_with("/data had") && lines[1].contains("the disk of /,"));
        assert!(missing(&["/data"], &roots, &Mounts::default()).is_empty(), "nothing is known");
    }

    #[test]
    fn what_has_been_mounted_since_is_named_but_not_what_was_there_then_or_a_path_of_the_plan() {
        let mounts = Mounts::parse(MOUNTS.as_bytes()).unwrap();
        let (srv, root) = (["/srv".to_owned()], ["/".to_owned()]);
        assert_eq!(since(&srv, &[], &mounts), [PathBuf::from("/srv/our disk")]);
        assert!(since(&srv, &["/srv/our disk"], &mounts).is_empty());
        assert_eq!(
            since(&root, &["/srv"], &mounts),
            Vec::<PathBuf>::new(),
            "and what lies in what was mounted"
        );
        assert!(since(&["/srv/our disk".to_owned()], &[], &mounts).is_empty());
    }

    #[test]
    fn a_disk_of_which_nothing_comes_back_is_no_matter() {
        let only = ["/srv/shop/a".to_owned()];
        assert!(is_wanted("/srv/shop", &only) && is_wanted("/srv/shop/a/b", &only) && is_wanted("/x", &[]));
        assert!(!is_wanted("/srv/shop/b", &only));
    }
}

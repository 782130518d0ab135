//! Mounts and disks, and which of them can hold a copy that survives the first disk.

use rustix::fs::{major, minor};
use serde::Serialize;
use source::Mounts;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// How many layers (LVM on encryption on RAID on partitions) are looked through.
const LAYERS_MAX: usize = 8;

/// A file system that a person mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mount {
    /// Where.
    pub(super) at: String,
    /// Of which kind: `ext4`, `nfs4`.
    pub(super) kind: String,
    /// Whether nothing can be written there.
    pub(super) read_only: bool,
    /// The disks below it; empty where that isn't known, as for a network.
    pub(super) disks: BTreeSet<String>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Disk {
    /// As the kernel calls it: `sda`.
    pub(super) name: String,
    /// Its size.
    pub(super) bytes: u64,
    /// Whether it can be pulled out.
    pub(super) removable: bool,
}

/// Returns the disks below `root`.
pub(super) fn disks(root: &Path) -> Vec<Disk> {
    let Ok(entries) = root.join("sys/block").read_dir() else { return Vec::new() };
    let mut disks: Vec<Disk> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number =
                |file: &str| fs::read_to_string(entry.path().join(file)).ok()?.trim().parse::<u64>().ok();
            let made_up = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            // The size is in sectors of 512 bytes whatever the disk's own are.
            let bytes = number("size")?.saturating_mul(512);
            (!made_up && bytes > 0).then(|| Disk { removable: number("removable") == Some(1), bytes, name })
        })
        .collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    disks
}

/// Returns the mounts below `root` that hold people's data.
pub(super) fn mounts(root: &Path) -> Vec<Mount> {
    let list = fs::read(root.join("proc/self/mountinfo")).and_then(|text| Mounts::parse(&text));
    list.unwrap_or_default().all().filter_map(|mounted| mount(root, mounted)).collect()
}

/// Returns the mount that a local vault belongs on: on another disk than the root's, and on the largest.
pub(super) fn second<'a>(mounts: &'a [Mount], disks: &[Disk]) -> Option<&'a Mount> {
    let first = &mounts.iter().find(|mount| mount.at == "/")?.disks;
    let size = |mount: &Mount| -> u64 {
        disks.iter().filter(|disk| mount.disks.contains(&disk.name)).map(|disk| disk.bytes).sum()
    };
    mounts
        .iter()
        .filter(|mount| {
            !mount.read_only && !first.is_empty() && !mount.disks.is_empty() && mount.disks.is_disjoint(first)
        })
        .filter(|mount| is_spare(&mount.at))
        .max_by_key(|mount| size(mount))
}

/// Whether a mount can be given to a vault: what lies under these is the original, or the system's.
fn is_spare(at: &str) -> bool {
    const TAKEN: [&str; 14] = [
        "boot", "dev", "etc", "home", "opt", "proc", "root", "run", "snap", "srv", "sys", "tmp", "usr", "var",
    ];
    let plain = at.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let first = at.trim_start_matches('/').split('/').next().unwrap_or_default();
    // Desktops mount what is plugged in below /run/media.
    plain && !first.is_empty() && (!TAKEN.contains(&first) || at.starts_with("/run/media/"))
}

/// Returns a mount if it holds people's data.
fn mount(root: &Path, mounted: &source::Mount) -> Option<Mount> {
    let (kind, source) = (mounted.kind.as_str(), mounted.source.as_str());
    let network = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs"].contains(&kind);
    // A part of a file system mounted elsewhere (a bind mount) is no other place; btrfs mounts its subvolumes so.
    let whole = mounted.within == Path::new("/") || kind == "btrfs";
    let on_disk = source.starts_with("/dev/") && !["squashfs", "iso9660", "erofs"].contains(&kind);
    if !network && kind != "zfs" && !(on_disk && whole) {
        return None;
    }
    let device = format!("{}:{}", major(mounted.device), minor(mounted.device));
    let mut disks = BTreeSet::new();
    if let Some(name) = block_of(root, &device).or_else(|| source.rsplit('/').next().map(str::to_owned))
        && on_disk
    {
        below(root, &name, LAYERS_MAX, &mut disks);
    }
    Some(Mount {
        at: mounted.place.to_string_lossy().into_owned(),
        kind: kind.to_owned(),
        read_only: mounted.is_read_only,
        disks,
    })
}

/// Returns the disk or partition with a device number such as `8:1`.
fn block_of(root: &Path, device: &str) -> Option<String> {
    let has = |path: &Path| fs::read_to_string(path.join("dev")).is_ok_and(|text| text.trim() == device);
    for disk in root.join("sys/block").read_dir().ok()?.flatten() {
        if has(&disk.path()) {
            return disk.file_name().into_string().ok();
        }
        let parts = disk.path().read_dir().ok()?.flatten();
        if let Some(part) =
            parts.into_iter().find(|part| part.path().join("partition").exists() && has(&part.path()))
        {
            return part.file_name().into_string().ok();
        }
    }
    None
}

/// Collects the disks that a disk, partition or layer lies on.
fn below(root: &Path, name: &str, layers: usize, disks: &mut BTreeSet<String>) {
    let block = root.join("sys/block");
    if layers == 0 {
        return;
    }
    if block.join(name).exists() {
        let slaves = block.join(name).join("slaves").read_dir();
        let slaves: Vec<_> = slaves
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|slave| slave.file_name().into_string().ok())
            .collect();
        if slaves.is_empty() {
            disks.insert(name.to_owned());
        }
        for slave in slaves {
            below(root, &slave, layers - 1, disks);
        }
        return;
    }
    for disk in block.read_dir().into_iter().flatten().flatten() {
        if disk.path().join(name).join("partition").exists() {
            disks.extend(disk.file_name().into_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two disks, the second below LVM, a removable one, and what is no place for data.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/block/sda/size", "2000000\n");
        put("sys/block/sda/dev", "8:0\n");
        put("sys/block/sda/sda1/partition", "1\n");
        put("sys/block/sda/sda1/dev", "8:1\n");
        put("sys/block/sda/sda2/partition", "2\n");
        put("sys/block/sda/sda2/dev", "8:2\n");
        put("sys/block/sdb/size", "4000000\n");
        put("sys/block/sdb/dev", "8:16\n");
        put("sys/block/sdb/sdb1/partition", "1\n");
        put("sys/block/sdb/sdb1/dev", "8:17\n");
        put("sys/block/sdc/size", "1000\n");
        put("sys/block/sdc/dev", "8:32\n");
        put("sys/block/sdc/removable", "1\n");
        put("sys/block/loop0/size", "8\n");
        put("sys/block/dm-0/size", "4000000\n");
        put("sys/block/dm-0/dev", "253:0\n");
        put("sys/block/dm-0/slaves/sdb1", "");
        put(
            "proc/self/mountinfo",
            "22 27 0:21 / /proc rw - proc proc rw\n\
             27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
             28 27 8:2 / /spare rw - ext4 /dev/sda2 rw\n\
             29 27 253:0 / /mnt/second\\040disk rw - xfs /dev/mapper/vg-data rw\n\
             30 27 253:0 / /backup rw - xfs /dev/mapper/vg-data rw\n\
             31 27 8:32 / /media/stick ro - vfat /dev/sdc ro\n\
             32 27 0:50 / /mnt/nas rw - nfs4 nas:/export rw\n\
             33 27 8:1 /srv /somewhere rw - ext4 /dev/sda1 rw\n",
        );
        root
    }

    #[test]
    fn mounts_know_their_disks_through_partitions_and_layers() {
        let root = machine();
        let seen: Vec<_> = mounts(root.path())
            .into_iter()
            .map(|mount| (mount.at, mount.disks.into_iter().collect::<Vec<_>>().join("+"), mount.read_only))
            .collect();
        let expected = [
            ("/", "sda", false),
            ("/backup", "sdb", false),
            ("/media/stick", "sdc", true),
            ("/mnt/nas", "", false),
            ("/mnt/second disk", "sdb", false),
            ("/spare", "sda", false),
        ];
        assert_eq!(seen, expected.map(|(at, disks, read_only)| (at.to_owned(), disks.to_owned(), read_only)));
    }

    #[test]
    fn disks_are_those_that_can_break() {
        let found = disks(machine().path());
        let names: Vec<_> =
            found.iter().map(|disk| (disk.name.as_str(), disk.bytes, disk.removable)).collect();
        assert_eq!(
            names,
            [("sda", 1_024_000_000, false), ("sdb", 2_048_000_000, false), ("sdc", 512_000, true)]
        );
    }

    #[test]
    fn the_vault_goes_to_another_disk_that_is_nobodys_original() {
        let root = machine();
        let (mut mounts, disks) = (mounts(root.path()), disks(root.path()));
        assert_eq!(second(&mounts, &disks).map(|mount| mount.at.as_str()), Some("/backup"));
        mounts.retain(|mount| mount.at != "/backup");
        assert_eq!(
            second(&mounts, &disks),
            None,
            "not the same disk, not read-only, not the network, not a path with spaces"
        );
        assert!(!is_spare("/home/data"));
        assert!(is_spare("/run/media/hugo/disk"));
    }
}

//! What a step would destroy, and where: shown to a person before he says yes, so that he sees that it is the wrong machine, or that somebody works there.

mod processes;

pub use processes::Process;

use crate::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use plain::{Name, middle};
use plan::Size;
use serde::Serialize;
use sha2::{Digest, Sha256};
use source::{Mounts, Stands, stands_at};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// What stands in the way.
#[derive(Debug, Clone, Serialize)]
pub struct Blast {
    /// The machine.
    pub host: Fingerprint,
    /// What is at each of the paths.
    pub paths: Vec<Place>,
    /// Who has something open there, except for this program.
    pub processes: Vec<Process>,
    /// Processes that could not be looked into: without root those of other users.
    pub hidden: usize,
}

/// Which machine it is, so that nobody takes one for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    /// What it calls itself.
    pub name: String,
    /// Twelve digits that are this machine's: of `/etc/machine-id` and, where there is one, of its SSH host key. A clone that was given neither
    /// anew has the same.
    pub id: String,
    /// When its kernel started.
    pub started: Option<Timestamp>,
}

/// What is at one path.
#[derive(Debug, Clone, Serialize)]
pub struct Place {
    /// The path as it was named.
    pub path: PathBuf,
    /// It is there.
    pub is_there: bool,
    /// Entries that aren't folders.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// False if the look was given up after two seconds: then there is more.
    pub all_counted: bool,
    /// The type of its file system and where that is from: `ext4 on /dev/sda1`.
    pub file_system: Option<String>,
    /// Bytes that are free there for an ordinary user.
    pub free: Option<u64>,
}

/// Looks at this machine and these paths, for two seconds or 200,000 entries in all, and at what runs.
pub fn look<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<Blast> {
    let paths: Vec<&Path> = paths.into_iter().collect();
    let mounts = Mounts::read().unwrap_or_default();
    let standing = stands_at(paths.iter().copied())?;
    let place = |standing: source::Standing| {
        let room = crate::room::room_at(&standing.path);
        let there = room.as_ref().map(|room| PathBuf::from(&room.at));
        let mut place = Place {
            is_there: true,
            files: 0,
            bytes: 0,
            all_counted: true,
            file_system: there.and_then(|there| file_system(&mounts, &there)),
            free: room.map(|room| room.free),
            path: standing.path,
        };
        match standing.stands {
            Stands::Nothing => place.is_there = false,
            Stands::Unknown => place.all_counted = false,
            Stands::Something { files, bytes, all_counted, .. } => {
                (place.files, place.bytes, place.all_counted) = (files, bytes, all_counted);
            }
        }
        place
    };
    let places = standing.into_iter().map(place).collect();
    let (processes, hidden) = running(paths.iter().copied())?;
    Ok(Blast { host: fingerprint(), paths: places, processes, hidden })
}

/// Returns what runs and has something open at these paths, except for this program, and how many processes could not be looked into. Quick, whatever is there.
pub fn running<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(Vec<Process>, usize)> {
    processes::look(&paths.into_iter().collect::<Vec<_>>())
        .map_err(|error| Error::new(format!("look at what runs, in /proc: {error}")))
}

/// Returns which machine this is.
#[must_use]
pub fn fingerprint() -> Fingerprint {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // The id itself is nobody's business (machine-id(5)): hashed with a word of ours it is of no use elsewhere.
    let mut hash = Sha256::new();
    hash.update("releve host\0");
    hash.update(read("/etc/machine-id").trim());
    hash.update("\0");
    hash.update(read("/etc/ssh/ssh_host_ed25519_key.pub").trim());
    let digest = hash.finalize();
    let id = digest.iter().take(6).enumerate().fold(String::new(), |mut id, (at, byte)| {
        let space = if at > 0 && at % 2 == 0 { " " } else { "" };
        let _ = write!(id, "{space}{byte:02x}");
        id
    });
    // proc_stat(5): seconds since the epoch.
    let started =
        read("/proc/stat").lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    Fingerprint {
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        id,
        started: started.and_then(|second| Timestamp::from_second(second).ok()),
    }
}

/// Returns the type of the file system that a path is on, and where it is from.
fn file_system(mounts: &Mounts, path: &Path) -> Option<String> {
    let mount = mounts.under(&std::fs::canonicalize(path).ok()?)?;
    let (kind, from) = (&mount.kind, &mount.source);
    Some(if kind == from { kind.clone() } else { format!("{kind} on {from}") })
}

/// How wide a line may be.
const WIDTH: usize = 78;

impl fmt::Display for Blast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let up = self.host.started.map(|started| now.duration_since(started));
        let up = up.map_or_else(String::new, |up| format!(", up for {}", lasting(up)));
        line(f, &format!("machine {}, fingerprint {}{up}", middle(&self.host.name, 24), self.host.id))?;
        for place in &self.paths {
            place.fmt(f)?;
        }
        for process in &self.processes {
            line(f, &process.to_string())?;
        }
        if self.processes.is_empty() {
            line(f, "nothing that runs has anything open there")?;
        }
        match self.hidden {
            0 => Ok(()),
            hidden => line(
                f,
                &format!("{hidden} processes of other users could not be looked into: run it as root"),
            ),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.is_there, self.all_counted) {
            (false, _) => "nothing is there".to_owned(),
            (true, true) => format!("{} files, {}", self.files, Size(self.bytes)),
            (true, false) => format!("more than {} files and {}", self.files, Size(self.bytes)),
        };
        let path = Name::path(&self.path).to_string();
        let room = WIDTH.saturating_sub(what.chars().count() + 2);
        line(f, &format!("{}: {what}", middle(&path, room)))?;
        let free = self.free.map_or_else(String::new, |free| format!(", {} free", Size(free)));
        match &self.file_system {
            Some(file_system) => {
                let room = WIDTH.saturating_sub(free.chars().count() + 2);
                line(f, &format!("  {}{free}", middle(&Name::of(file_system).to_string(), room)))
            }
            None => Ok(()),
        }
    }
}

fn line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "{}", middle(&plain::line(text), WIDTH))
}

fn lasting(time: SignedDuration) -> String {
    match (time.as_hours() / 24, time.as_hours(), time.as_mins()) {
        (days @ 2.., ..) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes) => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_known_although_a_space_is_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("our disk")).unwrap();
        let list = format!(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 8:17 / {}/our\\040disk rw - xfs /dev/sdb1 rw\n",
            base.display()
        );
        let mounts = Mounts::parse(list.as_bytes()).unwrap();
        assert_eq!(file_system(&mounts, &base.join("our disk")).as_deref(), Some("xfs on /dev/sdb1"));
        assert_eq!(file_system(&mounts, &base).as_deref(), Some("ext4 on /dev/sda1"));
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_and_what_matters_of_a_path_stays() {
        let place = |path: String| Place {
            path: path.into(),
            is_there: true,
            files: 123_456,
            bytes: 9_876_543_210,
            all_counted: false,
            file_system: Some(format!("ext4 on /dev/mapper/{}", "volume-".repeat(20))),
            free: Some(1_234_567_890),
        };
        let process = Process {
            pid: 4_194_304,
            name: "a".repeat(40),
            user: "somebody-with-a-long-name".into(),
            open: 100_000,
            listening: (1..60).collect(),
        };
        let blast = Blast {
            host: Fingerprint {
                name: "host".repeat(30),
                id: "0123 4567 89ab".into(),
                started: Some(Timestamp::UNIX_EPOCH),
            },
            paths: vec![place(format!("/srv/{}/orders\n.db", "folder/".repeat(30))), place("/é".repeat(60))],
            processes: vec![process],
            hidden: 1_000_000,
        };
        let text = blast.to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(text.contains("orders\\n.db: more than 123456 files"), "{text}");
        assert!(text.lines().count() == 7, "{text}");
    }
}

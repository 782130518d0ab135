//! Which process holds something, and whether it still lives: for leases, locks and what killed runs leave behind; and whether this one is to end. How others are started
//! ([`child`]), and what they print without our secrets ([`masked`]).
//!
//! A number alone says little: it is given again, and in a container it is the same each time. So a process is written with the start of its machine, its PID
//! namespace and the tick at which it began, and is believed dead only where that is known.
//!
//! ```
//! use process::{Life, Process};
//! let us = Process::this();
//! let read: Process = us.to_string().parse().unwrap();
//! assert_eq!(read.life(us), Life::Lives);
//! ```

mod acl;
pub mod child;
mod ending;
mod group;
mod secret;

pub use acl::has_acl;
pub use child::{Kept, Start, Words};
pub use ending::{Wait, ending};
pub use group::is_own_group;
pub use secret::{masked, remember_secret};

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

/// The inode of the machine's first PID namespace (`PROC_PID_INIT_INO` of the kernel): whoever is in it sees every process.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;
/// How much of the start of a machine goes into a name of a file.
const BOOT_SHORT: usize = 8;
/// How far up the processes are looked through that have started this one.
const ANCESTORS_MAX: usize = 64;

/// A process of some machine. What isn't known of it is empty or `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Process {
    host: String,
    boot: String,
    pid: u32,
    /// In ticks since the machine has started: the 22nd field of `/proc/PID/stat`.
    started: Option<u64>,
    /// The inode of its PID namespace.
    namespace: Option<u64>,
}

/// Whether a process still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Lives,
    /// It has ended: that was seen.
    Gone,
    /// It can't be seen from here: another machine's, another container's.
    Unknown,
}

impl Process {
    /// Returns this process.
    #[must_use]
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Process> = OnceLock::new();
        THIS.get_or_init(|| {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            Self {
                host: rustix::system::uname().nodename().to_string_lossy().replace(['/', ' '], "_"),
                boot: boot.trim().to_owned(),
                pid: std::process::id(),
                started: fs::read_to_string("/proc/self/stat").ok().and_then(|stat| started(&stat)),
                namespace: namespace_of(Path::new("/proc/self")),
            }
        })
    }

    /// Returns the process of this number, as it is now; `None` where there is none that can be seen.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: started(&stat), ..Self::this().clone() })
    }

    /// Returns the name of its machine; empty where that isn't known.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns which start of its machine it belongs to; empty where that isn't known.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Returns its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns whether it belongs to the same start of the same machine: its clock that nobody sets is ours.
    #[must_use]
    pub fn shares_kernel(&self, us: &Self) -> bool {
        !self.boot.is_empty() && self.boot == us.boot
    }

    /// Returns whether this process was started by it, or by what it has started: what it holds is held for us too.
    #[must_use]
    pub fn has_started_us(&self) -> bool {
        let us = Self::this();
        if !self.shares_kernel(us) || self.namespace.is_none() || self.namespace != us.namespace {
            return false;
        }
        let mut pid = us.pid;
        for _ in 0..ANCESTORS_MAX {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if pid == self.pid {
                return pid != us.pid && self.started == started(&stat);
            }
            match fields(&stat).nth(1).and_then(|parent| parent.parse().ok()) {
                Some(parent) if parent > 1 => pid = parent,
                _ => return false,
            }
        }
        false
    }

    /// Returns whether it still lives, as seen by `us`, which is this process.
    #[must_use]
    pub fn life(&self, us: &Self) -> Life {
        if self == us {
            return Life::Lives;
        }
        if self.boot.is_empty() || us.boot.is_empty() {
            return Life::Unknown;
        }
        if self.boot != us.boot {
            // The same machine has started anew since.
            return if !self.host.is_empty() && self.host == us.host { Life::Gone } else { Life::Unknown };
        }
        match (self.started, self.namespace) {
            (Some(started), Some(namespace)) if Some(namespace) == us.namespace => seen(self.pid, started),
            (Some(started), Some(namespace)) => self.look_for(started, namespace, us),
            // As older versions wrote it: the number may be another's by now.
            _ if is_absent(self.pid) && self.host == us.host => Life::Gone,
            _ => Life::Unknown,
        }
    }

    /// Looks for it among all processes, of which it has another number here.
    fn look_for(&self, began: u64, namespace: u64, us: &Self) -> Life {
        let Ok(all) = fs::read_dir("/proc") else { return Life::Unknown };
        let mut may_be_hidden = false;
        for entry in all.flatten() {
            let path = entry.path();
            if entry.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
                continue;
            }
            let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
            let numbers = read("status");
            let inner =
                numbers.lines().find_map(|line| line.strip_prefix("NSpid:")?.split_whitespace().last());
            if inner.and_then(|inner| inner.parse().ok()) != Some(self.pid) {
                continue;
            }
            let its = namespace_of(&path);
            let stat = read("stat");
            if its.is_none_or(|its| its == namespace) && started(&stat) == Some(began) && !has_ended(&stat) {
                if its.is_some() {
                    return Life::Lives;
                }
                // Root without CAP_SYS_PTRACE, as in our unit, and whoever is behind walls (Landlock), doesn't see whose namespace is whose.
                may_be_hidden = true;
            }
        }
        // Others than root may not see all processes.
        let sees_all = us.namespace == Some(FIRST_NAMESPACE) && rustix::process::geteuid().is_root();
        if sees_all && !may_be_hidden { Life::Gone } else { Life::Unknown }
    }

    /// Returns it as a part of a file's name, without its machine: `PID_START_NAMESPACE_BOOT`.
    #[must_use]
    pub fn tag(&self) -> String {
        let short = self.boot_short();
        format!("{}_{:x}_{:x}_{short}", self.pid, self.started.unwrap_or(0), self.namespace.unwrap_or(0))
    }

    /// Reads a [`tag`](Self::tag), as `us` sees it: one of another start of a machine may be another machine's.
    #[must_use]
    pub fn from_tag(tag: &str, us: &Self) -> Option<Self> {
        let mut parts = tag.split('_');
        let pid = parts.next()?.parse().ok()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (started, namespace) = (number()?, number()?);
        let boot = parts.next()?;
        let is_ours = !boot.is_empty() && boot == us.boot_short();
        let known = |number: u64| (number > 0).then_some(number);
        parts.next().is_none().then(|| Self {
            host: if is_ours { us.host.clone() } else { String::new() },
            boot: if is_ours { us.boot.clone() } else { boot.to_owned() },
            pid,
            started: known(started),
            namespace: known(namespace),
        })
    }

    fn boot_short(&self) -> String {
        self.boot.chars().filter(char::is_ascii_hexdigit).take(BOOT_SHORT).collect()
    }
}

/// `HOST/BOOT/PID/START/NAMESPACE`.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.host, self.boot, self.pid)?;
        match (self.started, self.namespace) {
            (Some(started), Some(namespace)) => write!(f, "/{started}/{namespace}"),
            _ => Ok(()),
        }
    }
}

/// Also as older versions wrote it: `HOST/BOOT/PID`.
impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` names no process");
        let mut parts = text.split('/');
        let mut word = || parts.next().map(str::to_owned).ok_or_else(wrong);
        let (host, boot, pid) = (word()?, word()?, word()?);
        let more: Vec<u64> = parts.map(|part| part.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
        let (started, namespace) = match more.as_slice() {
            [] => (None, None),
            [started, namespace] => (Some(*started), Some(*namespace)),
            _ => return Err(wrong()),
        };
        Ok(Self { host, boot, pid: pid.parse().map_err(|_| wrong())?, started, namespace })
    }
}

/// Returns whether a process that we could see is the one that began then.
fn seen(pid: u32, began: u64) -> Life {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) if started(&stat) == Some(began) && !has_ended(&stat) => Life::Lives,
        Ok(_) => Life::Gone,
        Err(_) if is_absent(pid) => Life::Gone,
        // There, and hidden from us.
        Err(_) => Life::Unknown,
    }
}

/// Returns whether there is no process of this number.
fn is_absent(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

/// Returns the fields of `/proc/PID/stat` behind the program's name, which may hold anything.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace()
}

fn started(stat: &str) -> Option<u64> {
    fields(stat).nth(19)?.parse().ok()
}

/// Nobody has asked yet what became of it, and it does nothing any more.
fn has_ended(stat: &str) -> bool {
    matches!(fields(stat).next(), Some("Z" | "X"))
}

fn namespace_of(process: &Path) -> Option<u64> {
    Some(fs::metadata(process.join("ns/pid")).ok()?.ino())
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "what is looked at are processes of others")]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn sleeper() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(child.id()).unwrap();
        (child, process)
    }

    #[test]
    fn one_lives_until_it_has_ended_even_if_nobody_asked_what_became_of_it() {
        let us = Process::this();
        let (mut child, process) = sleeper();
        assert_eq!(process.life(us), Life::Lives);
        child.kill().unwrap();
        while process.life(us) == Life::Lives {
            std::thread::yield_now();
        }
        assert!(Path::new("/proc").join(child.id().to_string()).exists(), "nobody has asked yet");
        assert_eq!(process.life(us), Life::Gone);
        child.wait().unwrap();
        assert_eq!(process.life(us), Life::Gone);
    }

    #[test]
    fn a_number_that_is_given_again_is_another_process() {
        let us = Process::this();
        let earlier = Process { started: us.started.map(|started| started - 1), ..us.clone() };
        assert_eq!(earlier.life(us), Life::Gone);
        let before = Process { boot: "earlier".into(), ..us.clone() };
        assert_eq!(before.life(us), Life::Gone);
    }

    #[test]
    fn what_can_not_be_seen_from_here_is_not_believed_dead() {
        let us = Process::this();
        let elsewhere = Process { host: "other".into(), boot: "other".into(), ..us.clone() };
        assert_eq!(elsewhere.life(us), Life::Unknown);
        let nowhere = Process { boot: String::new(), ..us.clone() };
        assert_eq!(nowhere.life(us), Life::Unknown);
        // As older versions wrote it: somebody has that number.
        let old: Process = format!("{}/{}/1", us.host, us.boot).parse().unwrap();
        assert_eq!(old.life(us), Life::Unknown);
        let old: Process = format!("{}/{}/{}", us.host, us.boot, i32::MAX).parse().unwrap();
        assert_eq!(old.life(us), Life::Gone);
    }

    #[test]
    fn one_in_a_namespace_of_its_own_is_found_from_outside() {
        let spawned = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"])
            .arg("echo $$; cat /proc/$$/stat; stat -Lc %i /proc/$$/ns/pid; exec sleep 600")
            .stdout(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut line = || lines.next().and_then(Result::ok);
        let (Some(pid), Some(stat), Some(namespace)) = (line(), line(), line()) else {
            panic!("a namespace takes root (in a container: --cap-add SYS_ADMIN): run the tests as root");
        };
        let us = Process::this();
        let inner = Process {
            pid: pid.parse().unwrap(),
            started: started(&stat),
            namespace: namespace.parse().ok(),
            ..us.clone()
        };
        assert_eq!(inner.life(us), Life::Lives);
        // Root as our unit has it. What a thread gives up it gives up alone.
        let seen = std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut ours = rustix::thread::capabilities(None).unwrap();
                ours.effective.remove(rustix::thread::CapabilitySet::SYS_PTRACE);
                rustix::thread::set_capabilities(None, ours).unwrap();
                inner.life(us)
            });
            looks.join().unwrap()
        });
        assert_ne!(seen, Life::Gone, "what can't be seen is not believed dead");
        // Of another start with the same number nothing is believed while there is one.
        let earlier = Process { started: inner.started.map(|started| started - 1), ..inner.clone() };
        assert_ne!(earlier.life(us), Life::Lives);
        child.kill().unwrap();
        child.wait().unwrap();
        while inner.life(us) == Life::Lives {
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let us = Process::this();
        assert_eq!(us.to_string().parse().as_ref(), Ok(us));
        assert_eq!(Process::from_tag(&us.tag(), us).as_ref(), Some(us));
        let other = Process { boot: "ffffffff-0".into(), host: "other".into(), ..us.clone() };
        assert_eq!(Process::from_tag(&other.tag(), us).unwrap().life(us), Life::Unknown);
        for junk in ["", "host", "a/b/c", "a/b/1/2", "a/b/1/2/3/4"] {
            assert!(junk.parse::<Process>().is_err(), "{junk}");
        }
        for junk in ["", "1", "1_2_3", "1_2_3_4_5", "x_2_3_4", "123"] {
            assert!(Process::from_tag(junk, us).is_none(), "{junk}");
        }
    }
}

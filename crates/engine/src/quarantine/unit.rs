//! A unit of systemd that is held back: stopped, and kept from being started by anything.
//!
//! Masking does that, and survives a reboot. It can't be done to a unit whose file an administrator wrote to `/etc/systemd/system`, where the mask would have to
//! lie: such a unit gets a drop-in beside its file with a condition that is never met.

use crate::{Error, Result};
use process::Words;
use serde::{Deserialize, Serialize};
use source::Program;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a name may end with; without any of these it is a service.
const KINDS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
/// The drop-in of a unit that can't be masked.
const DROP_IN: &str = "releve-hold.conf";
/// A path that no machine has.
const CONDITION: &str = "# Held back by Relève, which takes this file away again.\n[Unit]\nAssertPathExists=/held-back-by-releve\n";
/// Asking takes systemd milliseconds, on a machine that just started some seconds.
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// How a unit is, in systemd's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Before {
    /// `loaded`, `not-found`, `masked`…
    load: String,
    /// `enabled`, `disabled`, `static`, `masked`…; empty where it has no file.
    file: String,
    /// It runs, or is about to.
    active: bool,
    /// Where its file is.
    fragment: Option<PathBuf>,
    /// What it runs in.
    group: String,
}

/// Returns the name of a unit in full.
pub(super) fn name(service: &str) -> String {
    match service.rsplit_once('.') {
        Some((_, kind)) if KINDS.contains(&kind) => service.to_owned(),
        _ => format!("{service}.service"),
    }
}

/// Returns how a unit is now.
pub(super) fn look(unit: &str) -> Result<Before> {
    let properties = "--property=LoadState,UnitFileState,ActiveState,FragmentPath,ControlGroup";
    let words = Words::from(["systemctl", "show", properties]).data([unit]);
    let printed = Program::new(words)?.within(ASK_WITHIN).output();
    let printed = printed.map_err(|why| {
        Error::new(format!("systemd can't be asked for {unit}: {why}"))
            .help("without systemd write a command and its release in the place of the service")
    })?;
    let text = String::from_utf8_lossy(&printed).into_owned();
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_default().to_owned()
    };
    let active = value("ActiveState");
    Ok(Before {
        load: value("LoadState"),
        file: value("UnitFileState"),
        active: matches!(active.as_str(), "active" | "activating" | "reloading" | "deactivating"),
        fragment: Some(value("FragmentPath")).filter(|path| !path.is_empty()).map(PathBuf::from),
        group: value("ControlGroup"),
    })
}

/// Stops a unit and keeps it off; done again, sees that it is so. Returns the programs that it had started and that run on.
pub(super) fn hold(unit: &str, before: &Before, within: Duration) -> Result<Option<String>> {
    // Before it is masked: a masked unit has forgotten how it is stopped. One that isn't there can't be, and needn't be: what counts is how it is then.
    let mut stopped = systemctl(&["stop"], &[unit], within);
    let masked = if before.file == "masked" { Ok(()) } else { systemctl(&["mask"], &[unit], within) };
    let refused = match masked {
        Ok(()) => None,
        // A file stands where the mask would lie.
        Err(why) => {
            match before.drop_in().filter(|_| before.fragment.as_ref().is_some_and(|file| file.is_file())) {
                Some(drop_in) => {
                    write(&drop_in)
                        .map_err(|error| Error::new(format!("write {}: {error}", drop_in.display())))?;
                    systemctl(&["daemon-reload"], &[], within).map_err(Error::new)?;
                    None
                }
                None => Some(why),
            }
        }
    };
    let mut now = look(unit)?;
    if now.active {
        // Somebody started it in between, or it let itself not be stopped by hand.
        stopped = systemctl(&["stop"], &[unit], within);
        now = look(unit)?;
    }
    if let Some(why) = refused.or_else(|| lapsed(unit, before, &now)) {
        return Err(Error::new(match stopped {
            Err(stop) if now.active => format!("{why}: {stop}"),
            _ => why,
        }));
    }
    Ok(left(&before.group))
}

/// Returns why a unit that should be held isn't.
pub(super) fn lapsed(unit: &str, before: &Before, now: &Before) -> Option<String> {
    let is_kept_off = now.load == "masked" || before.drop_in().is_some_and(|file| file.exists());
    match (now.active, is_kept_off) {
        (true, _) => Some(format!("{unit} runs")),
        (false, false) => Some(format!("{unit} can be started: its mask is gone")),
        (false, true) => None,
    }
}

/// Makes a unit what it was.
pub(super) fn release(unit: &str, before: &Before, within: Duration) -> Result<()> {
    if let Some(drop_in) = before.drop_in().filter(|file| file.exists()) {
        fs::remove_file(&drop_in)
            .map_err(|error| Error::new(format!("remove {}: {error}", drop_in.display())))?;
        // Others may have theirs in it.
        let _ = drop_in.parent().map(fs::remove_dir);
        systemctl(&["daemon-reload"], &[], within).map_err(Error::new)?;
    }
    if before.file != "masked" {
        systemctl(&["unmask"], &[unit], within).map_err(Error::new)?;
        if before.file == "masked-runtime" {
            systemctl(&["mask", "--runtime"], &[unit], within).map_err(Error::new)?;
        }
    }
    if before.active {
        systemctl(&["start"], &[unit], within).map_err(Error::new)?;
    }
    let now = look(unit)?;
    // One that wasn't there then may have come back with the data.
    let differs = before.load != "not-found" && now.file != before.file;
    match (differs, before.active && !now.active) {
        (true, _) => Err(Error::new(format!("it was {} and is {}", said(&before.file), said(&now.file)))),
        (_, true) => Err(Error::new("it was running, and does not stay up")),
        _ => Ok(()),
    }
}

fn said(state: &str) -> &str {
    if state.is_empty() { "without a file" } else { state }
}

impl Before {
    /// Returns the file that keeps a unit off that can't be masked.
    fn drop_in(&self) -> Option<PathBuf> {
        let mut folder = self.fragment.clone()?.into_os_string();
        folder.push(".d");
        Some(Path::new(&folder).join(DROP_IN))
    }
}

fn write(file: &Path) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut to = fs::File::create(file)?;
    to.write_all(CONDITION.as_bytes())?;
    to.sync_all()?;
    fs::File::open(folder)?.sync_all()
}

/// Returns what still runs of what a unit had started: cron's stop leaves its jobs alone.
fn left(group: &str) -> Option<String> {
    if group.is_empty() || group == "/" {
        return None;
    }
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];
    let listed =
        roots.iter().find_map(|root| fs::read_to_string(format!("{root}{group}/cgroup.procs")).ok())?;
    let named = listed.lines().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (process {pid})", name.trim())
    });
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| named.join(", "))
}

fn systemctl(verb: &'static [&'static str], units: &[&str], within: Duration) -> Result<(), String> {
    let command = Words::from(["systemctl", "--no-ask-password"]).words(verb.iter().copied());
    let command = if units.is_empty() { command } else { command.data(units) };
    Program::new(command).map_err(|error| error.to_string())?.within(within).tell(None)
}

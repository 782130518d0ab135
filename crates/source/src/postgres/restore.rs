//! Makes a cluster out of the files of a point: one that recovers when it is started.

use super::bare;
use super::copy::first_segment;
use super::flat::flatten;
use super::folders;
use super::history::{self, History, Way};
use super::led::{self, OURS};
use super::own;
use super::wal::WalFile;
use super::way::whole_at;
use crate::error::at;
use crate::files::under;
use crate::ours::{self, OurFolder};
use crate::{Error, Kept, Kind, Program, PutBack, Replay, Result, Until, Wants};
use process::Words;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Settings of the cluster that would stop its recovery, divert it, or run something at its end. A replica that is let in while it recovers waits for ever where the
/// log tells of higher limits than it was started with.
const FOR_THE_TIME: [(&str, &str); 6] = [
    ("hot_standby", "off"),
    ("recovery_min_apply_delay", "0"),
    ("recovery_end_command", ""),
    ("archive_cleanup_command", ""),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
];
/// Where WAL lies that stood in the cluster's place.
pub(super) const SET_ASIDE: &str = "set-aside";
/// All ways to say where a recovery ends, of which one at most may be set.
const TARGETS: [&str; 5] = ["", "_time", "_lsn", "_name", "_xid"];

/// Prepares the cluster in `data`, which was restored below `to`. Its log lies in `log`: without a replay its histories alone, if any.
pub(super) fn prepare(
    data: &Path,
    to: Option<&Path>,
    log: &Path,
    replay: Option<&Replay>,
    programs: Option<&Path>,
) -> Result<PutBack> {
    for name in ["PG_VERSION", "global/pg_control", "backup_label"] {
        if !data.join(name).is_file() {
            return Err(Error::new(at("put back", &data.join(name)), Kind::NotInPoint));
        }
    }
    let owner = fs::metadata(data).map_err(|error| Error::io(at("look at", data), error))?;
    let owner = (owner.uid(), owner.gid());
    if let Some(to) = to {
        move_tablespaces(data, to)?;
    }
    let mut settings =
        vec![format!("{OURS} what follows leads the recovery, and is taken out when it has ended")];
    let mut set = |name: &str, value: &str| settings.push(format!("{name} = '{}'", quoted(value)));
    let (mut timeline, mut target, mut reach) = ("latest".to_owned(), None, None);
    let mut findings = Vec::new();
    match replay {
        Some(replay) => {
            let ours = OurFolder::make(&replay.log)?;
            let lost = flatten(&ours.way(), owner, segment_bytes(data)?, Some(&data.join("pg_wal")))?;
            own::keep_longer(&ours, data, owner)?;
            set("restore_command", &copy_command(&replay.log));
            if to.is_none() {
                make_places(data, &replay.log, owner, programs)?;
            }
            let log = History::read(&replay.log, data, programs)?;
            let is_whole_way = matches!(replay.until, Until::Newest) && !log.is_cut();
            let whole = if is_whole_way { None } else { whole_at(data, programs)? };
            let cut;
            Way { timeline, target, reach, cut } = log.way_to(&replay.until, whole)?;
            // What passes the instant that was asked for has all from before it.
            if reach.is_none_or(|reach| !reach.is_passed) {
                let is_to_time = reach.is_some();
                findings
                    .extend(lost.into_iter().filter(|lost| is_to_time || lost.differs).map(|lost| lost.said));
                findings.extend(cut);
            }
            for name in log.left_out() {
                let file = replay.log.join(&name);
                let made = ours.create(name.as_ref()).and_then(|made| fill(made, b"", owner));
                made.map_err(|error| Error::io(at("write", &file), error))?;
            }
            // Where a transaction is named itself it is left out; where the commit before it is, that isn't.
            let is_named = target.as_ref().is_some_and(|(kind, _)| *kind == "_xid");
            set("recovery_target_inclusive", if is_named { "off" } else { "on" });
        }
        // All that the point needs is in it; but the number of its next timeline must be one that nobody has had.
        None => match bare::histories(log, data, owner)? {
            Some(own) => {
                timeline = own;
                set("restore_command", &history_command(log));
            }
            None => set("restore_command", "false"),
        },
    }
    // In this order: one that is emptied after another was set counts as a second one.
    let is_target = |kind: &&str| target.as_ref().is_some_and(|(wanted, _)| wanted == kind);
    TARGETS
        .iter()
        .filter(|kind| !is_target(kind))
        .for_each(|kind| set(&format!("recovery_target{kind}"), ""));
    if let Some((kind, value)) = &target {
        set(&format!("recovery_target{kind}"), value);
    }
    FOR_THE_TIME.iter().for_each(|(name, value)| set(name, value));
    set("recovery_target_timeline", &timeline);
    set("recovery_target_action", "promote");
    if to.is_some() {
        // Beside the real one, it must not write into what belongs to that.
        set("archive_mode", "off");
    }
    configure(data, owner, &settings)?;
    let signal = data.join("recovery.signal");
    write(&signal, b"", owner).map_err(|error| Error::io(at("write", &signal), error))?;
    Ok(PutBack { into: vec![data.to_owned()], reach, findings, ..PutBack::default() })
}

/// Makes the folders that the log will want for new tablespaces, where a new machine lacks them: as who runs the server where he may, else as root and for him.
fn make_places(data: &Path, log: &Path, owner: (u32, u32), programs: Option<&Path>) -> Result<()> {
    let beside: Vec<PathBuf> =
        tablespaces(data)?.into_iter().filter_map(|(_, place)| Some(place.parent()?.to_owned())).collect();
    let places = history::strays(&[log.to_owned(), data.join("pg_wal")], data, data, programs)?;
    for place in places.iter().filter(|place| place.symlink_metadata().is_err()) {
        let is_known = place.parent().is_some_and(|parent| beside.iter().any(|known| known == parent));
        let words = Words::from(["/usr/bin/mkdir", "-p", "-m", "0700"]).data([place]);
        let made = Program::new(words)?.by(owner.0, owner.1).run();
        let made = made.or_else(|why| {
            let known = (!is_known).then_some(data);
            folders::make(place, known, owner).map_err(|root| format!("{why}; as root: {root}"))
        });
        made.map_err(|why| {
            let why = format!(
                "its log makes a tablespace there, and the folder is missing: make it, and give it to the user {} ({why})",
                owner.0
            );
            Error::new(at("make the folder", place), Kind::Invalid(why))
        })?;
    }
    Ok(())
}

/// Makes sure that no server that is started on what was restored below `to` writes elsewhere: its log may tell it to make a tablespace where the live server
/// has its own. Such a cluster can't be started.
pub(super) fn refuse_strays(data: &Path, log: &Path, to: &Path, programs: Option<&Path>) -> Result<()> {
    let strays = history::strays(&[log.to_owned(), data.join("pg_wal")], to, data, programs)?;
    let Some(stray) = strays.first() else { return Ok(()) };
    let control = data.join("global/pg_control");
    fs::rename(&control, data.join("global/pg_control.releve-refused"))
        .map_err(|error| Error::io(at("keep a server from starting on", data), error))?;
    let why = format!(
        "its log makes a tablespace in {}, where a server that is started here would write into the live one's files: take a point that was made since, or go on to an instant before",
        stray.display()
    );
    Err(Error::new(at("leave a copy of a cluster in", data), Kind::Invalid(why)))
}

/// Keeps the WAL that stands in `data`: its end may be in no vault yet.
pub(super) fn set_aside(data: &Path, log: &Path) -> Result<Kept> {
    let folder = data.join("pg_wal");
    let entries = match fs::read_dir(&folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Kept::Unknown);
        }
        other => other.map_err(|error| Error::io(at("read", &folder), error))?,
    };
    let owner = fs::metadata(data).map_err(|error| Error::io(at("look at", data), error))?.uid();
    let ours = OurFolder::make(log)?;
    let aside = ours.way().join(SET_ASIDE);
    fs::create_dir_all(&aside)
        .map_err(|error| Error::io(at("make the folder", &log.join(SET_ASIDE)), error))?;
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // What an earlier recovery brought there of an older timeline is in the log, and may go on further there.
    let newest =
        names.iter().filter(|name| name.len() == 24).filter_map(|name| name.get(..8)).max().unwrap_or("-");
    for name in
        names.iter().filter(|name| name.ends_with(".history") || name.len() == 24 && name.starts_with(newest))
    {
        let (from, to) = (folder.join(name), aside.join(name));
        // A link, or somebody else's file, is none that the server has written, and would become its owner's.
        if !is_of(&from, owner) {
            continue;
        }
        let kept = match fs::rename(&from, &to) {
            // The WAL has a disk of its own.
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(&from, &to, owner),
            Ok(()) if !is_of(&to, owner) => Err(io::Error::other("it was exchanged for something else")),
            other => other,
        };
        kept.map_err(|error| Error::io(at("keep", &from), error))?;
    }
    // What was set aside before, by a recovery that was killed then, counts too.
    let kept = fs::read_dir(&aside).map_err(|error| Error::io(at("read", &aside), error))?;
    let kept = kept.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let newest =
        kept.filter(|name| name.len() == 24).filter_map(|name| Some(name.get(8..)?.to_owned())).max();
    Ok(newest.map_or(Kept::Unknown, Kept::Whole))
}

/// Returns whether a file is one that the server itself may have written. Whoever isn't root can reach no more than it can.
fn is_of(path: &Path, owner: u32) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && (!is_root || found.uid() == owner))
}

/// Copies a file of the server's.
fn copy(from: &Path, to: &Path, owner: u32) -> io::Result<()> {
    let mut file = ours::open_file(from)?;
    if rustix::process::geteuid().is_root() && file.metadata()?.uid() != owner {
        return Err(io::Error::other("it was exchanged for something else"));
    }
    let mut kept = File::options().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut file, &mut kept).map(drop)
}

/// Takes out what led the recovery: it has ended. Returns whether its server has been told something else than its configuration says now.
pub(super) fn clear(data: &Path, log: &Path) -> Result<bool> {
    let owner = fs::metadata(data).map_err(|error| Error::io(at("look at", data), error))?;
    let is_other = configure(data, (owner.uid(), owner.gid()), &[])?;
    match fs::remove_dir_all(log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(at("remove", log), error)),
        _ => Ok(is_other),
    }
}

/// Returns the tablespaces of a cluster: their links, and where these lead.
pub(super) fn tablespaces(data: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let folder = data.join("pg_tblspc");
    let wrong = |error| Error::io(at("read", &folder), error);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(wrong)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let link = entry.map_err(wrong)?.path();
        if let Ok(place) = fs::read_link(&link) {
            found.push((link, place));
        }
    }
    Ok(found)
}

/// Returns which files of WAL the cluster in `data` needs to go on from its point.
pub(super) fn wanted(data: &Path) -> Result<Wants> {
    let label = data.join("backup_label");
    let text =
        fs::read_to_string(&label).map_err(|_| Error::new(at("put back", &label), Kind::NotInPoint))?;
    let segment_bytes = segment_bytes(data)?;
    let first = first_segment(&text, segment_bytes)
        .ok_or_else(|| Error::new(at("read", &label), Kind::Damaged("it names no WAL".into())))?;
    Ok(Box::new(move |name| match WalFile::parse(name, segment_bytes) {
        Some(WalFile::History(_)) => true,
        // Whatever its timeline: an earlier one may lead to where we go.
        Some(WalFile::Whole(segment) | WalFile::Partial(segment)) => segment.number >= first.number,
        None => false,
    }))
}

/// Returns how long a segment of WAL is: as long as those that came with the point.
fn segment_bytes(data: &Path) -> Result<u64> {
    let folder = data.join("pg_wal");
    let entries = fs::read_dir(&folder).map_err(|error| Error::io(at("read", &folder), error))?;
    let segment = entries.flatten().find(|entry| entry.file_name().len() == 24);
    let bytes = segment.and_then(|segment| Some(segment.metadata().ok()?.len())).unwrap_or_default();
    match bytes.is_power_of_two() {
        true => Ok(bytes),
        false => Err(Error::new(at("read", &folder), Kind::NotInPoint)),
    }
}

/// Lets the links of the tablespaces, and what the server makes them from, lead below `to`.
fn move_tablespaces(data: &Path, to: &Path) -> Result<()> {
    for (link, place) in tablespaces(data)? {
        let moved = under(Some(to), &place);
        if place.starts_with(to) {
            continue;
        }
        let wrong = |error| Error::io(at("lead elsewhere", &link), error);
        fs::remove_file(&link).map_err(wrong)?;
        symlink(&moved, &link).map_err(wrong)?;
    }
    let map = data.join("tablespace_map");
    let text = match fs::read_to_string(&map) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| Error::io(at("read", &map), error))?,
    };
    let moved = |line: &str| match line.split_once(' ') {
        Some((number, place)) if !Path::new(place).starts_with(to) => {
            format!("{number} {}\n", under(Some(to), Path::new(place)).display())
        }
        _ => format!("{line}\n"),
    };
    let text: String = text.lines().map(moved).collect();
    fs::write(&map, text).map_err(|error| Error::io(at("write", &map), error))
}

/// Returns the command that hands one file of the log to the server, which has a shell between.
fn copy_command(log: &Path) -> String {
    let path = log.display().to_string().replace('\'', r"'\''").replace('%', "%%");
    format!("cp '{path}/%f' \"%p\"")
}

/// Returns the command that hands out the histories alone: what else lies there may be another recovery's.
fn history_command(log: &Path) -> String {
    format!("case '%f' in *.history) {} ;; *) exit 1 ;; esac", copy_command(log))
}

/// Quotes a value for a configuration file.
fn quoted(value: &str) -> String {
    value.replace('\\', r"\\").replace('\'', "''")
}

/// Puts these settings in the place of any that led another recovery into `postgresql.auto.conf`; returns whether it is another text now.
fn configure(data: &Path, owner: (u32, u32), settings: &[String]) -> Result<bool> {
    let file = data.join("postgresql.auto.conf");
    let wrong = |error| Error::io(at("write", &file), error);
    let text = match ours::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(wrong)?,
    };
    let led = led::with(&text, settings);
    if led == text {
        return Ok(false);
    }
    let new = data.join("postgresql.auto.conf.releve");
    write(&new, &led, owner).map_err(wrong)?;
    fs::rename(&new, &file).map_err(wrong)?;
    File::open(data).and_then(|dir| dir.sync_all()).map_err(wrong)?;
    Ok(true)
}

/// Writes a file that belongs to `owner`, durably.
fn write(path: &Path, bytes: &[u8], owner: (u32, u32)) -> io::Result<()> {
    fill(ours::create(path)?, bytes, owner)
}

/// Writes what a new file holds, durably, and gives it to `owner`.
fn fill(mut file: File, bytes: &[u8], owner: (u32, u32)) -> io::Result<()> {
    file.write_all(bytes)?;
    ours::give(&file, owner)?;
    file.sync_all()
}

/// Gives what we have made to its owner, and no place that a link leads to. Only root gives files away, and whoever isn't root runs the server himself.
pub(super) fn give(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    match lchown(path, Some(uid), Some(gid)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_a_recovery_stands_behind_the_clusters_own_and_goes_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postgresql.auto.conf");
        let own = "work_mem = '4MB'\nrecovery_target_time = 'x'\nrestore_command = 'y'\n";
        fs::write(&file, own).unwrap();
        let user = fs::metadata(dir.path()).unwrap();
        let user = (user.uid(), user.gid());
        let ours = ["# releve: here".to_owned(), "restore_command = 'z'".to_owned()];
        assert!(configure(dir.path(), user, &ours).unwrap());
        let led = format!("{own}# releve: here\nrestore_command = 'z'\n");
        assert_eq!(fs::read_to_string(&file).unwrap(), led);
        assert!(configure(dir.path(), user, &[]).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), own);
        assert!(!configure(dir.path(), user, &[]).unwrap());
    }

    #[test]
    fn links_that_the_server_s_user_has_planted_are_not_followed_when_its_wal_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (data, secret) = (dir.path().join("main"), dir.path().join("secret"));
        let log = dir.path().join("main.releve-wal");
        fs::create_dir_all(data.join("pg_wal")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("shadow"), "root").unwrap();
        let name = |number: u32| format!("0000000100000000{number:08X}");
        fs::write(data.join("pg_wal").join(name(1)), vec![0; 16]).unwrap();
        symlink(secret.join("shadow"), data.join("pg_wal").join(name(2))).unwrap();
        symlink(&secret, &log).unwrap();
        assert!(set_aside(&data, &log).is_err(), "the folder is a link");
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
        fs::remove_file(&log).unwrap();
        assert_eq!(set_aside(&data, &log).unwrap(), Kept::Whole(name(1)[8..].to_owned()));
        assert!(log.join(SET_ASIDE).join(name(2)).symlink_metadata().is_err());
        // Nor is one in the place of a file of ours.
        symlink(secret.join("shadow"), data.join("postgresql.auto.conf.releve")).unwrap();
        let own = fs::metadata(&data).unwrap();
        configure(&data, (own.uid(), own.gid()), &["x = 1".into()]).unwrap();
        assert_eq!(fs::read_to_string(secret.join("shadow")).unwrap(), "root");
        assert_eq!(fs::read_to_string(data.join("postgresql.auto.conf")).unwrap(), "x = 1\n");
    }

    #[test]
    fn no_path_breaks_out_of_the_command_or_the_setting() {
        assert_eq!(copy_command(Path::new("/a b/it's 5%")), r#"cp '/a b/it'\''s 5%%/%f' "%p""#);
        assert_eq!(quoted(r"it's \ so"), r"it''s \\ so");
    }
}

//! Walls around the verbs that read vaults: what they take in was written by whoever can write there, so they may write only where their job is, and start no
//! program but the machine's own. A mistake in what reads a hostile vault then changes nothing else, also as root.
//!
//! The kernel keeps them (Landlock, Linux 5.19): they hold for this thread and all that it begins from then on, and nothing takes them away again. Where it can't,
//! nothing is said and everything is as before. They don't stand where the plan has programs started that may do anything, as they are meant to: `ssh`, which
//! goes by its own configuration, and a `command` that holds a secret or sends messages.

use crate::session::Session;
use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use plan::{Plan, Secret};
use std::path::{Path, PathBuf};

/// What a terminal and a program that wants no answer need.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/tty", "/dev/pts"];
/// Where the machine's own programs are, with what they are loaded by.
const PROGRAMS: [&str; 10] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
];
/// SQLite's own choice for what it sorts, whatever `TMPDIR` says.
const SCRATCH: &str = "/var/tmp";

/// Puts walls around this verb: from now on it writes to the state, to vaults in folders, to folders for what is temporary and to `also`. At the beginning of a verb,
/// before it opens a vault or begins a thread.
pub(crate) fn around(session: &Session, also: &[&Path]) {
    if starts_anything(&session.plan) {
        return;
    }
    let vaults = session.plan.vaults.values().filter_map(|vault| vault::store::local_folder(&vault.url));
    let own = [session.state_dir.clone(), session.cache_dir.clone()];
    let all = own.into_iter().chain(vaults).chain(also.iter().map(|path| (*path).to_owned()));
    let Some(mut places) = all.map(|place| standing(&place)).collect::<Option<Vec<_>>>() else { return };
    places.extend(scratch());
    match raise(&places) {
        Ok(stands) => tracing::debug!(stands, "walls around {places:?}"),
        Err(error) => tracing::debug!("no walls: {error}"),
    }
}

/// Returns the folders for what is temporary: those that are there.
fn scratch() -> impl Iterator<Item = PathBuf> {
    let of_sqlite = std::env::var_os("SQLITE_TMPDIR").map(PathBuf::from);
    let all = [std::env::temp_dir(), SCRATCH.into()].into_iter().chain(of_sqlite);
    // An empty `TMPDIR` is no folder to write to.
    let all = all.filter(|folder| folder.is_absolute());
    all.filter(|folder| source::silent_on_the_way(folder).is_none() && folder.is_dir())
}

/// Returns whether the plan has a program started that may do anything.
fn starts_anything(plan: &Plan) -> bool {
    let is_command = |secret: &Option<Secret>| matches!(secret, Some(Secret::Command(_)));
    let of_vaults = plan.vaults.values().any(|vault| {
        let secrets = [&vault.password, &vault.access_key, &vault.secret_key, &vault.session_token];
        vault.url.starts_with("sftp:") || secrets.into_iter().any(is_command)
    });
    of_vaults
        || plan.notify.as_ref().is_some_and(|notify| {
            let sms = notify.sms.as_ref();
            let mut secrets = vec![&notify.key];
            secrets.extend(notify.relays.iter().map(|relay| &relay.password));
            secrets.extend(notify.webhooks.values().flat_map(|room| [&room.url, &room.token]));
            secrets.extend(sms.iter().flat_map(|sms| [&sms.url, &sms.authorization]));
            secrets.extend(notify.heartbeat.iter().map(|heartbeat| &heartbeat.url));
            sms.is_some_and(|sms| sms.command.is_some()) || secrets.into_iter().any(is_command)
        })
}

/// Returns the folder or file, or the nearest folder above it that is there already. `None` where that is everything, or where to look would be to wait without end.
fn standing(place: &Path) -> Option<PathBuf> {
    let place = std::path::absolute(place).ok()?;
    if source::silent_on_the_way(&place).is_some() {
        return None;
    }
    // What is mounted when it is looked into is mounted by this: later it would lie outside.
    let there = place.ancestors().find(|place| place.join(".").exists() || place.exists())?;
    let there = std::fs::canonicalize(there).ok()?;
    (there != Path::new("/")).then_some(there)
}

/// Raises the walls around this thread and what it begins. Returns whether they stand: not on an older kernel.
fn raise(places: &[PathBuf]) -> Result<bool, RulesetError> {
    // Linux before 5.19 can't let anything move between folders, which every vault needs: then rather none.
    let writes: BitFlags<AccessFs> = AccessFs::from_write(ABI::V3);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)?
        .handle_access(AccessFs::Execute)?
        .create()?
        .add_rules(path_beneath_rules(places, writes))?
        .add_rules(path_beneath_rules(DEVICES, writes))?
        .add_rules(path_beneath_rules(PROGRAMS, AccessFs::Execute))?;
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::VaultName;
    use std::fs;

    #[test]
    fn behind_walls_nothing_is_written_outside_and_everything_inside() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        fs::create_dir_all(inside.join("a")).unwrap();
        fs::create_dir_all(inside.join("b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("there"), "as it was").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let planted = inside.join("planted");
        fs::copy("/bin/true", &planted).unwrap();
        let places = [inside.clone()];
        let seen = std::thread::spawn(move || {
            assert!(raise(&places).unwrap(), "this kernel has no Landlock that can do it: Linux 5.19 has");
            fs::write(inside.join("a/new"), "new").unwrap();
            fs::rename(inside.join("a/new"), inside.join("b/moved")).unwrap();
            fs::hard_link(inside.join("b/moved"), inside.join("a/second")).unwrap();
            fs::remove_file(inside.join("b/moved")).unwrap();
            fs::write("/dev/null", "nothing").unwrap();
            assert_eq!(fs::read_to_string(outside.join("there")).unwrap(), "as it was", "read may be all");
            // Also by whoever is begun from here.
            let tried = std::thread::spawn(move || {
                [
                    fs::write(outside.join("new"), "new").is_err(),
                    fs::write(outside.join("there"), "another").is_err(),
                    fs::write(inside.join("link/new"), "new").is_err(),
                    fs::remove_file(outside.join("there")).is_err(),
                    fs::rename(outside.join("there"), inside.join("taken")).is_err(),
                    fs::rename(inside.join("a/second"), outside.join("second")).is_err(),
                    fs::hard_link(outside.join("there"), inside.join("there")).is_err(),
                    fs::create_dir(outside.join("folder")).is_err(),
                    std::os::unix::fs::symlink("x", outside.join("x")).is_err(),
                    run(&planted).is_err(),
                ]
            });
            assert!(run(Path::new("/bin/true")).is_ok(), "the machine's own");
            tried.join().unwrap()
        });
        let seen = seen.join().unwrap();
        assert!(seen.iter().all(|refused| *refused), "{seen:?}");
        assert_eq!(fs::read_to_string(folder.path().join("outside/there")).unwrap(), "as it was");
        // Whoever was there before is free as he was.
        fs::write(folder.path().join("outside/new"), "new").unwrap();
    }

    #[expect(clippy::disallowed_types, reason = "what is tried is whether anything can be started at all")]
    fn run(program: &Path) -> std::io::Result<std::process::ExitStatus> {
        std::process::Command::new(program).status()
    }

    #[test]
    fn what_is_not_there_yet_is_made_in_the_folder_above_and_everything_is_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&base, base.join("link")).unwrap();
        assert_eq!(standing(&base.join("a/b")), Some(base.clone()));
        assert_eq!(standing(&base.join("link")), Some(base.clone()));
        assert_eq!(standing(Path::new("/")), None);
        assert_eq!(standing(Path::new("/not-there-at-all/x")), None);
        fs::write(base.join("file"), "").unwrap();
        assert_eq!(standing(&base.join("file")), Some(base.join("file")));
    }

    #[test]
    fn there_are_none_where_the_plan_has_ssh_or_commands_started() {
        let mut plan = Plan::default();
        plan.vaults.insert(
            VaultName("near".into()),
            plan::Vault { url: "file:///srv/v".into(), ..Default::default() },
        );
        assert!(!starts_anything(&plan));
        let of = |change: &dyn Fn(&mut plan::Vault)| {
            let mut plan = plan.clone();
            plan.vaults.values_mut().for_each(change);
            starts_anything(&plan)
        };
        let command = || Some(Secret::Command(vec!["pass".into()]));
        assert!(of(&|vault| vault.url = "sftp://nas/v".into()));
        assert!(of(&|vault| vault.password = command()));
        assert!(of(&|vault| vault.session_token = command()));
        assert!(!of(&|vault| vault.password = Some(Secret::File("/etc/releve/near.key".into()))));
    }
}

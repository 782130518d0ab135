//! Which files of root's the configuration of a cluster may name, as whoever administers machines writes them: those that its server reads as its own user.
//!
//! They let nothing secret out. But who writes the configuration could name any file that everybody reads, and have an old one put back one day: so what is taken is what
//! a server of PostgreSQL reads and nobody else, by its content.

use super::included::{doubt, words};
use crate::ours::open_file;
use nix::unistd::{User, getgrouplist};
use process::has_acl;
use std::collections::HashSet;
use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// No file of settings is longer.
const LENGTH_MAX: u64 = 1 << 20;
/// What a line of `pg_hba.conf` begins with.
const RULES: [&str; 9] = [
    "local",
    "host",
    "hostssl",
    "hostnossl",
    "hostgssenc",
    "hostnogssenc",
    "include",
    "include_if_exists",
    "include_dir",
];

/// What a file is named as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Settings,
    Rules,
    Certificate,
    Folder,
}

/// Says why a file of root's isn't taken which somebody names who is neither root nor who runs this, if it isn't: he must be able to read it, nobody else than root and he
/// to put another into its place, and it must be what it is named as. The server has these `settings`.
pub(super) fn objection(
    path: &Path,
    namer: u32,
    named: Named,
    settings: &HashSet<String>,
) -> Option<&'static str> {
    let groups = groups_of(namer);
    let may_enter =
        |folder: &Path| fs::metadata(folder).is_ok_and(|meta| permits(&meta, namer, &groups, 0o1));
    let trusted = [0, rustix::process::geteuid().as_raw(), namer];
    let mut folders = path.ancestors().skip(1);
    if folders.any(|folder| !may_enter(folder) || has_acl(folder) || doubt(folder, &trusted).is_some()) {
        return Some("who does not get there, or others may put another into its place");
    }
    // Where a link leads is looked at for itself.
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        return None;
    }
    let Ok(file) = open_file(path) else { return Some("and it is no file") };
    let is_read = file
        .metadata()
        .is_ok_and(|meta| meta.uid() == 0 && permits(&meta, namer, &groups, 0o4) && !has_acl(path));
    if !is_read {
        return Some("who may not read it");
    }
    let mut text = Vec::new();
    if file.take(LENGTH_MAX).read_to_end(&mut text).is_err() || !is_such(named, &text, settings) {
        return Some("and it does not hold what it is named as");
    }
    None
}

/// Returns whether a file holds what it is named as, in each of its lines.
fn is_such(named: Named, text: &[u8], settings: &HashSet<String>) -> bool {
    let text = String::from_utf8_lossy(text);
    let lines = || text.lines().map(words).filter(|words| !words.is_empty());
    let first = |line: &[(String, bool)]| {
        line.first().filter(|(_, is_quoted)| !is_quoted).map(|(word, _)| word.to_ascii_lowercase())
    };
    let is_include = |word: &str| RULES.iter().any(|rule| rule.starts_with("include") && *rule == word);
    let is_setting = |line: Vec<(String, bool)>| {
        line.len() == 2 && first(&line).is_some_and(|word| settings.contains(&word) || is_include(&word))
    };
    let is_rule = |line: Vec<(String, bool)>| first(&line).is_some_and(|word| RULES.contains(&word.as_str()));
    match named {
        Named::Settings => lines().next().is_some() && lines().all(is_setting),
        Named::Rules => lines().next().is_some() && lines().all(is_rule),
        Named::Certificate => text.lines().any(|line| line.starts_with("-----BEGIN ")),
        Named::Folder => false,
    }
}

fn permits(meta: &Metadata, user: u32, groups: &[u32], bit: u32) -> bool {
    let shift = if meta.uid() == user {
        6
    } else if groups.contains(&meta.gid()) {
        3
    } else {
        0
    };
    (meta.mode() >> shift) & bit != 0
}

fn groups_of(user: u32) -> Vec<u32> {
    let Some(user) = User::from_uid(user.into()).ok().flatten() else { return Vec::new() };
    let name = CString::new(user.name).ok();
    let groups = name.and_then(|name| getgrouplist(&name, user.gid).ok());
    groups.into_iter().flatten().map(|group| group.as_raw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_a_server_reads_is_what_it_is_named_as() {
        let settings: HashSet<String> = ["work_mem", "datestyle"].map(str::to_owned).into();
        let table = [
            (Named::Settings, "# by Ansible\nwork_mem = '9MB'\nDateStyle 'ISO, MDY'\ninclude 'x'\n", true),
            (Named::Settings, "work_mem = 9MB\nroot:x:0:0:root:/root:/bin/sh\n", false),
            (Named::Settings, "net.ipv4.ip_forward = 1\n", false),
            (Named::Settings, "UMASK 022\n", false),
            (Named::Settings, "# nothing\n", false),
            (Named::Rules, "local all all peer\nhost all all samehost md5\n", true),
            (Named::Rules, "127.0.0.1 localhost\n", false),
            (Named::Certificate, "x\n-----BEGIN CERTIFICATE-----\n", true),
            (Named::Certificate, "root:x:0:0:root:/root:/bin/sh\n", false),
            (Named::Folder, "work_mem = 9MB\n", false),
        ];
        for (named, text, is_it) in table {
            assert_eq!(is_such(named, text.as_bytes(), &settings), is_it, "{named:?} {text}");
        }
    }

    #[test]
    fn of_root_s_files_those_are_taken_that_the_server_s_user_reads_and_root_alone_can_change() {
        const SERVER: u32 = 64_001;
        assert!(
            rustix::process::geteuid().is_root(),
            "files of other users take root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (folder, file) = (top.join("conf.d"), top.join("conf.d/10-ansible.conf"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "work_mem = '9MB'\n").unwrap();
        let settings: HashSet<String> = ["work_mem".to_owned()].into();
        let says = || objection(&file, SERVER, Named::Settings, &settings).unwrap_or_default();
        for (of_top, of_folder, of_file, why) in [
            (0o755, 0o755, 0o644, ""),
            (0o755, 0o755, 0o640, "who may not read it"),
            (0o755, 0o750, 0o644, "who does not get there"),
            (0o700, 0o755, 0o644, "who does not get there"),
            (0o755, 0o777, 0o644, "others may put another"),
        ] {
            mode(&top, of_top);
            mode(&folder, of_folder);
            mode(&file, of_file);
            let said = says();
            assert!(
                said.contains(why) && said.is_empty() == why.is_empty(),
                "{of_folder:o} {of_file:o}: {said}"
            );
        }
        mode(&folder, 0o755);
        fs::write(&file, "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        assert!(says().contains("does not hold what it is named as"));
    }
}

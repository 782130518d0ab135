//! Which files of a cluster's configuration lie elsewhere than in its data directory: without them its server doesn't start on another machine.
//!
//! Whoever may write the configuration, and that is any superuser of the database, could name any file of the machine, which root would then read, and put back one
//! day. So of what one file names only that is taken which whoever owns it could have put there, and whose place nobody else could change meanwhile. He himself may: a
//! capture and a restore follow none of his links, so that he can put nothing there that isn't his. Of root's files those are taken that he reads anyway, if they are what
//! only a server of PostgreSQL reads ([`readable`]).
//!
//! From PostgreSQL's own documentation, "Parameter Interaction via the Configuration File" (`include`, `include_if_exists`, `include_dir`) and "The
//! pg_hba.conf File" (`@` before the name of a file, and from PostgreSQL 16 on the same three words).

use super::readable::{self, Named};
use nix::unistd::{Group, User};
use process::{has_acl, is_own_group};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many links may lead from one to another, as the kernel counts.
const LINKS_MAX: usize = 40;
/// How many files may include one another.
const FILES_MAX: usize = 1000;
/// Settings that name a file without which a server doesn't start, or lets nobody in.
const FILES: [&str; 7] = [
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "ssl_crl_file",
    "ssl_crl_dir",
    "ssl_dh_params_file",
    "krb_server_keyfile",
];
/// What begins the names under which a point says what it does without ([`left_behind`]).
const LEFT: &str = "left ";
/// What begins those under which it says without what of that a server doesn't start at all.
const NEEDED: &str = "needs ";
/// With what somebody makes what a server only needs to find.
const MAKES_FILE: &str = "touch";
const MAKES_FOLDER: &str = "mkdir -p";
/// What Debian makes on each machine by itself.
const OF_THE_MACHINE: &str = "ssl-cert-snakeoil";

/// What a file is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Settings,
    /// `pg_hba.conf`, `pg_ident.conf`, and lists of names.
    Rules,
}

/// What a file refers to.
#[derive(Debug, PartialEq, Eq)]
enum Reference {
    File(String),
    IfThere(String),
    Folder(String),
    /// It is no configuration itself. Relative to the data directory.
    Named(String),
}

/// What belongs to a cluster and lies elsewhere.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) paths: Vec<PathBuf>,
    /// What its configuration names and isn't taken along, and why.
    pub(super) left: Vec<(PathBuf, String)>,
    /// Without what of that no server starts, and what would do in its place.
    needed: Vec<(PathBuf, &'static str)>,
    /// The settings that the server has.
    settings: HashSet<String>,
}

/// Notes in what a point was made with what it does without.
pub(super) fn note(beside: &Beside, made_with: &mut BTreeMap<String, String>) {
    let left = beside.left.iter().map(|(path, why)| (format!("{LEFT}{}", path.display()), why.clone()));
    made_with.extend(left);
    let needed = beside.needed.iter();
    made_with
        .extend(needed.map(|(path, makes)| (format!("{NEEDED}{}", path.display()), (*makes).to_owned())));
}

/// Returns what the configuration of a cluster named when the point was made, and is not in it; each with the reason. Without it its server doesn't start on another
/// machine, or not as it did.
#[must_use]
pub fn left_behind(made_with: &BTreeMap<String, String>) -> Vec<(PathBuf, String)> {
    let left = made_with.iter().filter_map(|(name, why)| Some((name.strip_prefix(LEFT)?, why)));
    left.map(|(path, why)| (PathBuf::from(path), why.clone())).collect()
}

/// Says which of that is missing on this machine too.
pub(super) fn foresee(made_with: &BTreeMap<String, String>) -> Vec<String> {
    let missing = left_behind(made_with).into_iter().filter(|(path, _)| fs::symlink_metadata(path).is_err());
    let said = |(path, why): (PathBuf, String)| {
        format!(
            "its server will not start here as it did without {}, which its configuration names, and which is in no point ({why}): bring it here first",
            path.display()
        )
    };
    let needed = made_with.iter().filter_map(|(name, makes)| Some((name.strip_prefix(NEEDED)?, makes)));
    let needed = needed.filter(|(path, _)| fs::metadata(path).is_err());
    let stops = needed.map(|(path, makes)| {
        format!(
            "its server WILL NOT START here: its configuration includes {path}, which is not here and in no point of it. Bring it here before, from where it is kept, or type \
             {makes} {path}, with which it starts without what stood there"
        )
    });
    stops.chain(missing.map(said)).collect()
}

/// Returns what belongs to the cluster in `data` and lies elsewhere: its configuration, of which these three files are named by its server, with what they include and
/// what links on the way lead to. The server has these settings.
pub(super) fn beside(data: &Path, configuration: &[PathBuf], settings: &HashSet<String>) -> Beside {
    let mut beside = Beside { settings: settings.clone(), ..Beside::default() };
    let mut folders = Vec::new();
    let mut files = Vec::new();
    for (file, kind) in configuration.iter().zip([Kind::Settings, Kind::Rules, Kind::Rules]) {
        if !file.starts_with(data) {
            // The folder of one cluster, as Debian has it; of a folder for everybody only the file.
            let folder = file.parent().filter(|folder| folder.components().count() > 3);
            beside.add(data, folder.unwrap_or(file));
        }
        files.push((file.clone(), kind, None, false));
    }
    files.push((data.join("postgresql.auto.conf"), Kind::Settings, None, false));
    let mut seen = HashSet::new();
    while let Some((file, kind, namer, is_needed)) = files.pop() {
        if seen.len() >= FILES_MAX || !seen.insert((file.clone(), kind)) {
            continue;
        }
        // Where a link leads is for whoever made the link to say.
        let own = owner(&file);
        let named = if kind == Kind::Settings { Named::Settings } else { Named::Rules };
        if !beside.take(data, &file, namer.or(own), named) {
            if is_needed {
                beside.needed.push((file, MAKES_FILE));
            }
            continue;
        }
        let Ok(text) = fs::read(&file) else { continue };
        let own = own.max(fs::metadata(&file).ok().map(|meta| meta.uid()));
        let folder = file.parent().unwrap_or(data);
        for reference in references(&String::from_utf8_lossy(&text), kind) {
            match reference {
                Reference::File(name) => files.push((folder.join(name), kind, own, true)),
                Reference::IfThere(name) => {
                    let file = folder.join(name);
                    if fs::symlink_metadata(&file).is_ok() {
                        files.push((file, kind, own, false));
                    }
                }
                Reference::Folder(name) => {
                    let folder = folder.join(name);
                    let found = settings_in(&folder);
                    if found.is_empty() {
                        beside.take(data, &folder, own, Named::Folder);
                    }
                    files.extend(found.into_iter().map(|file| (file, kind, own, false)));
                    folders.push(folder);
                }
                Reference::Named(name) => {
                    let file = data.join(&name);
                    if !name.is_empty() && !name.contains(OF_THE_MACHINE) {
                        beside.take(data, &file, own, Named::Certificate);
                    }
                }
            }
        }
    }
    // One of which nothing is taken isn't made where the point comes back.
    let is_made = |folder: &Path| {
        let comes = |known: &PathBuf| known.starts_with(folder) || folder.starts_with(known);
        folder.starts_with(data) || beside.paths.iter().any(comes)
    };
    let needed: Vec<_> = folders.into_iter().filter(|folder| !is_made(folder)).collect();
    beside.needed.extend(needed.into_iter().map(|folder| (folder, MAKES_FOLDER)));
    beside
}

impl Beside {
    /// Adds a file with all its places, if it may be taken along that somebody names, and returns whether it is.
    fn take(&mut self, data: &Path, file: &Path, namer: Option<u32>, named: Named) -> bool {
        let places = places(file);
        let is_in =
            |path: &Path| path.starts_with(data) || self.paths.iter().any(|known| path.starts_with(known));
        let (mut namer, mut stranger) = (namer, None);
        for place in &places {
            if !is_in(place)
                && let Some(why) = objection(place, namer)
                && let Some(why) = self.unless_read(place, namer, named, why)
            {
                stranger = Some((place.clone(), why));
                break;
            }
            // From a link on it is for its owner to say; what root names may be anybody's.
            let link = fs::symlink_metadata(place).ok().filter(|meta| meta.is_symlink());
            namer = link.map(|meta| meta.uid()).filter(|owner| !is_ours(*owner)).or(namer);
        }
        if let Some(stranger) = stranger {
            if !self.left.iter().any(|(place, _)| *place == stranger.0) {
                self.left.push(stranger);
            }
            return false;
        }
        places.iter().for_each(|place| self.add(data, place));
        true
    }

    /// Returns why a file isn't taken, unless it is one of root's that its namer reads anyway.
    fn unless_read(&self, place: &Path, namer: Option<u32>, named: Named, why: String) -> Option<String> {
        let Some(namer) = namer.filter(|namer| !is_ours(*namer) && owner(place) == Some(0)) else {
            return Some(why);
        };
        let more = readable::objection(place, namer, named, &self.settings)?;
        Some(format!("{why}, {more}"))
    }

    /// Adds what isn't captured already.
    fn add(&mut self, data: &Path, path: &Path) {
        let is_captured = path.starts_with(data) || self.paths.iter().any(|known| path.starts_with(known));
        if !is_captured && !path.components().any(|part| part == Component::ParentDir) {
            self.paths.push(path.to_owned());
        }
    }
}

fn owner(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|meta| meta.uid())
}

/// Returns whether a user is root, or who runs this.
fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Returns why a file isn't taken that somebody names: he could not have made it, or others than he, its owner, root and who runs this could put another into its place.
/// One that isn't there is missed where it is read.
fn objection(path: &Path, namer: Option<u32>) -> Option<String> {
    let meta = fs::symlink_metadata(path).ok()?;
    let own = meta.uid();
    let Some(namer) = namer else { return Some("nobody knows who names it".to_owned()) };
    if namer != own && !is_ours(namer) {
        return Some(format!("it belongs to {}, and what names it to {}", name_of(own), name_of(namer)));
    }
    // Where the kernel doesn't forbid it another's file gets a second name in his folder.
    if meta.is_file() && meta.nlink() > 1 && !is_ours(own) {
        return Some(format!("the file has {} names (hard links)", meta.nlink()));
    }
    let trusted = [0, rustix::process::geteuid().as_raw(), namer, own];
    path.ancestors().skip(1).find_map(|folder| doubt(folder, &trusted))
}

/// Returns why others than these users have a say in what is in a folder.
pub(super) fn doubt(folder: &Path, trusted: &[u32]) -> Option<String> {
    let shown = folder.display();
    let meta = match fs::metadata(folder) {
        Ok(meta) => meta,
        Err(error) => return Some(format!("the folder {shown} could not be looked at: {error}")),
    };
    let mode = meta.mode() & 0o7777;
    if !trusted.contains(&meta.uid()) {
        let owner = name_of(meta.uid());
        return Some(format!(
            "the folder {shown} belongs to {owner} (mode {mode:04o}), who can put another into its place"
        ));
    }
    // A folder with the sticky bit, as /tmp is: what is theirs in it stays in its place.
    if mode & 0o1000 != 0 {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some(format!(
            "anybody may write to the folder {shown} (mode {mode:04o}), and put another into its place"
        ));
    }
    let group = (mode & 0o020 != 0).then(|| Group::from_gid(meta.gid().into()).ok().flatten());
    // One without a name may be anybody's.
    let is_own = |group: &Option<Group>| group.is_some() && is_own_group(meta.gid(), trusted);
    if let Some(group) = group.filter(|group| has_acl(folder) || !is_own(group)) {
        let group = group.map_or_else(|| meta.gid().to_string(), |group| group.name);
        return Some(format!(
            "the group {group} may write to the folder {shown} (mode {mode:04o}), and put another into its place"
        ));
    }
    None
}

fn name_of(uid: u32) -> String {
    let user = User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| user.name)
}

/// Returns what a server reads in a folder of settings.
fn settings_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_read = |name: &[u8]| name.ends_with(b".conf") && !name.starts_with(b".");
    let mut files: Vec<PathBuf> =
        entries.filter(|entry| is_read(entry.file_name().as_bytes())).map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Returns all paths of a file: as it is named, where that is without links above it, and where links lead.
fn places(file: &Path) -> Vec<PathBuf> {
    let mut found = vec![file.to_owned()];
    let mut at = file.to_owned();
    for _ in 0..LINKS_MAX {
        let (Some(folder), Some(name)) = (at.parent(), at.file_name()) else { break };
        let Ok(folder) = folder.canonicalize() else { break };
        let real = folder.join(name);
        let target = fs::read_link(&real);
        found.push(real);
        match target {
            Ok(target) => at = folder.join(target),
            Err(_) => break,
        }
        found.push(at.clone());
    }
    found
}

/// Returns what a file refers to.
fn references(text: &str, kind: Kind) -> Vec<Reference> {
    let mut found = Vec::new();
    for line in text.lines() {
        let words = words(line);
        let Some((first, first_is_quoted)) = words.first() else { continue };
        let value = words.get(1).map(|(word, _)| word.clone());
        let first = first.to_ascii_lowercase();
        match (first.as_str(), value) {
            ("include", Some(value)) if !first_is_quoted => found.push(Reference::File(value)),
            ("include_if_exists", Some(value)) if !first_is_quoted => found.push(Reference::IfThere(value)),
            ("include_dir", Some(value)) if !first_is_quoted => found.push(Reference::Folder(value)),
            (name, Some(value)) if kind == Kind::Settings && FILES.contains(&name) => {
                found.push(Reference::Named(value));
            }
            _ if kind == Kind::Rules => {
                let lists = words.iter().filter(|(_, is_quoted)| !is_quoted);
                let names = lists.filter_map(|(word, _)| word.strip_prefix('@'));
                found.extend(names.map(|name| Reference::IfThere(name.to_owned())));
            }
            _ => {}
        }
    }
    found
}

/// Returns the words of a line, and which of them are in quotes. What stands between them is white space, a comma, or the sign of equality.
pub(super) fn words(line: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '#' => break,
            '\'' | '"' => {
                let mut word = String::new();
                while let Some(sign) = rest.next() {
                    match sign {
                        '\\' if first == '\'' => word.extend(rest.next()),
                        sign if sign == first && rest.next_if_eq(&first).is_none() => break,
                        sign => word.push(sign),
                    }
                }
                found.push((word, true));
            }
            sign if sign.is_whitespace() || matches!(sign, ',' | '=') => {}
            sign => {
                let mut word = String::from(sign);
                // `@"a file"`: the sign may stand before the quotes.
                let mut in_quotes = false;
                while let Some(sign) = rest
                    .next_if(|sign| in_quotes || !(sign.is_whitespace() || matches!(sign, ',' | '=' | '#')))
                {
                    match sign {
                        '"' => in_quotes = !in_quotes,
                        sign => word.push(sign),
                    }
                }
                found.push((word, false));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    #[test]
    fn what_a_file_refers_to_is_found_however_it_is_written() {
        let text = "include 'a b.conf'\n  INCLUDE_DIR = '/etc/it''s.d' # x\n#include 'no'\ninclude_if_exists c.conf\nssl_key_file='/k.pem'\nwork_mem = 'include'\n";
        let found = references(text, Kind::Settings);
        assert_eq!(
            found,
            [
                Reference::File("a b.conf".into()),
                Reference::Folder("/etc/it's.d".into()),
                Reference::IfThere("c.conf".into()),
                Reference::Named("/k.pem".into()),
            ]
        );
        let rules = "# @no\nlocal @dbs,shop @\"the users\" trust\nhost all \"@nobody\" samehost md5\ninclude_dir more\n";
        let found = references(rules, Kind::Rules);
        assert_eq!(
            found,
            [
                Reference::IfThere("dbs".into()),
                Reference::IfThere("the users".into()),
                Reference::Folder("more".into()),
            ]
        );
    }

    #[test]
    fn what_lies_elsewhere_comes_along_with_what_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for folder in ["data", "data/in", "else", "else/inc.d"] {
            fs::create_dir(top.join(folder)).unwrap();
        }
        let data = top.join("data");
        let conf = data.join("postgresql.conf");
        fs::write(
            &conf,
            "include '../else/more.conf'\ninclude 'in/own.conf'\ninclude_if_exists '/nowhere/x'\n",
        )
        .unwrap();
        fs::write(data.join("in/own.conf"), "include_dir '../../else/inc.d'\n").unwrap();
        fs::write(top.join("else/more.conf"), "work_mem = '5MB'\nssl_ca_file = '../else/ca.pem'\n").unwrap();
        fs::write(top.join("else/inc.d/a.conf"), "").unwrap();
        fs::write(top.join("else/inc.d/a.txt"), "").unwrap();
        fs::write(top.join("else/ca.pem"), "").unwrap();
        fs::write(top.join("else/hba"), "local all @users trust\n").unwrap();
        fs::write(data.join("users"), "").unwrap();
        symlink("hba", top.join("else/link")).unwrap();
        symlink("../else/link", data.join("pg_hba.conf")).unwrap();
        let files = [conf, data.join("pg_hba.conf"), data.join("pg_ident.conf")];
        let Beside { paths: mut found, left, .. } = beside(&data, &files, &HashSet::new());
        found.sort();
        assert!(left.is_empty(), "{left:?}");
        let expected = ["ca.pem", "hba", "inc.d/a.conf", "link", "more.conf"];
        assert_eq!(found, expected.map(|name| top.join("else").join(name)));
    }

    #[test]
    fn what_its_namer_could_not_have_put_there_is_left_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().canonicalize().unwrap().join("shadow");
        fs::write(&file, "secret").unwrap();
        let us = rustix::process::geteuid().as_raw();
        assert_eq!((objection(&file, Some(us)), objection(&file, Some(0))), (None, None));
        let said = objection(&file, Some(us + 1)).unwrap();
        assert!(said.contains("it belongs to") && said.contains(&name_of(us + 1)), "{said}");
        assert!(objection(&file, None).is_some());
        // Anybody could put another into its place.
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        let said = objection(&file, Some(us)).unwrap();
        assert!(said.contains("anybody may write to the folder") && said.contains("mode 0777"), "{said}");
        let mut beside = Beside::default();
        assert!(!beside.take(Path::new("/data"), &file, Some(us), Named::Settings));
        assert_eq!((&beside.paths, &beside.left), (&vec![], &vec![(file.clone(), said)]));
        // On another machine it is missed, and here it isn't.
        let mut made_with = BTreeMap::from([("major".to_owned(), "15".to_owned())]);
        note(&beside, &mut made_with);
        assert_eq!((left_behind(&made_with), foresee(&made_with)), (beside.left, vec![]));
        fs::remove_file(&file).unwrap();
        assert!(foresee(&made_with).concat().contains("will not start here as it did without"));
        // What is its owner's stays in its place in a folder such as /tmp.
        fs::write(&file, "").unwrap();
        mode(0o1777);
        assert_eq!(objection(&file, Some(us)), None);
    }

    #[test]
    fn a_file_of_the_server_s_in_a_folder_of_its_own_is_taken_and_one_of_another_user_s_isnt() {
        const SERVER: u32 = 64_001;
        assert!(
            rustix::process::geteuid().is_root(),
            "files of other users take root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        let (above, folder) = (top.join("pg"), top.join("pg/etc"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("inc.conf");
        fs::write(&file, "").unwrap();
        for path in [&above, &folder, &file] {
            chown(path, Some(SERVER), Some(SERVER)).unwrap();
        }
        assert_eq!((objection(&file, Some(SERVER)), objection(&file, Some(0))), (None, None));
        // Of another's folder above it that one is named, with whose it is.
        chown(&above, Some(SERVER + 1), None).unwrap();
        let said = objection(&file, Some(SERVER)).unwrap();
        assert!(said.contains(&format!("{} belongs to user {}", above.display(), SERVER + 1)), "{said}");
        chown(&above, Some(SERVER), None).unwrap();
        // A group that nobody knows to be its own.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o775)).unwrap();
        let said = objection(&file, Some(SERVER)).unwrap();
        assert!(said.contains(&format!("the group {SERVER} may write to the folder")), "{said}");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        // A link of its own leads to nothing that isn't its own, whoever names the link.
        let link = folder.join("link.conf");
        fs::write(top.join("roots"), "secret").unwrap();
        symlink(top.join("roots"), &link).unwrap();
        lchown(&link, Some(SERVER), None).unwrap();
        let mut beside = Beside::default();
        assert!(!beside.take(Path::new("/data"), &link, Some(0), Named::Settings));
        assert_eq!(beside.left[0].0, top.join("roots"), "{:?}", beside.left);
        // Nor does a second name of somebody else's file.
        fs::hard_link(&file, folder.join("again.conf")).unwrap();
        assert!(objection(&file, Some(SERVER)).unwrap().contains("2 names"));
    }

    #[test]
    fn root_s_settings_that_the_server_reads_are_taken_and_what_it_does_not_start_without_is_known() {
        const SERVER: u32 = 64_001;
        assert!(
            rustix::process::geteuid().is_root(),
            "files of other users take root: run the tests as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["data", "conf.d", "empty.d", "odd.d"] {
            fs::create_dir(top.join(folder)).unwrap();
        }
        let text = |name: &str, text: &str| fs::write(top.join(name), text).unwrap();
        text("conf.d/10-ansible.conf", "work_mem = '9MB'\n");
        text("odd.d/10.conf", "root:x:0:0:root:/root:/bin/sh\n");
        text("single.conf", "nothing of a server's\n");
        let data = top.join("data");
        let of = |name: &str| top.join(name).display().to_string();
        text(
            "data/postgresql.conf",
            &format!(
                "include_dir '{}'\ninclude_dir '{}'\ninclude_dir '{}'\ninclude '{}'\n",
                of("conf.d"),
                of("empty.d"),
                of("odd.d"),
                of("single.conf")
            ),
        );
        chown(data.join("postgresql.conf"), Some(SERVER), Some(SERVER)).unwrap();
        let settings: HashSet<String> = ["work_mem".to_owned()].into();
        let found = beside(&data, &[data.join("postgresql.conf")], &settings);
        assert_eq!(found.paths, [top.join("conf.d/10-ansible.conf")], "{:?}", found.left);
        let mut made_with = BTreeMap::new();
        note(&found, &mut made_with);
        assert_eq!(foresee(&made_with), Vec::<String>::new(), "all of it is here");
        for folder in ["conf.d", "empty.d", "odd.d"] {
            fs::remove_dir_all(top.join(folder)).unwrap();
        }
        fs::remove_file(top.join("single.conf")).unwrap();
        let said = foresee(&made_with);
        let stops =
            |typed: &str| said.iter().any(|line| line.contains("WILL NOT START") && line.contains(typed));
        let (empty, odd) = (format!("mkdir -p {}", of("empty.d")), format!("mkdir -p {}", of("odd.d")));
        assert!(stops(&empty) && stops(&odd) && stops(&format!("touch {}", of("single.conf"))), "{said:#?}");
        assert!(!said.concat().contains("conf.d"), "{said:#?}");
    }
}

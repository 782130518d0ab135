//! Which files of a cluster's configuration lie elsewhere than in its data directory: without them its server doesn't start on another machine.
//!
//! Whoever may write the configuration, and that is any superuser of the database, could name any file of the machine, which root would then read, and put back one
//! day. So of what one file names only that is taken which whoever owns it could have put there, and whose place nobody else could change meanwhile.
//!
//! From PostgreSQL's own documentation, "Parameter Interaction via the Configuration File" (`include`, `include_if_exists`, `include_dir`) and "The
//! pg_hba.conf File" (`@` before the name of a file, and from PostgreSQL 16 on the same three words).

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many links may lead from one to another, as the kernel counts.
const LINKS_MAX: usize = 40;
/// How many files may include one another.
const FILES_MAX: usize = 1000;
/// Settings that name a file without which a server doesn't start, or lets nobody in.
const NAMED: [&str; 7] = [
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_ca_file",
    "ssl_crl_file",
    "ssl_crl_dir",
    "ssl_dh_params_file",
    "krb_server_keyfile",
];
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
    /// What its configuration names and isn't taken along.
    pub(super) left: Vec<PathBuf>,
}

/// Returns what belongs to the cluster in `data` and lies elsewhere: its configuration, of which these three files are named by its server, with what they include and
/// what links on the way lead to.
pub(super) fn beside(data: &Path, configuration: &[PathBuf]) -> Beside {
    let mut beside = Beside::default();
    let mut files = Vec::new();
    for (file, kind) in configuration.iter().zip([Kind::Settings, Kind::Rules, Kind::Rules]) {
        if !file.starts_with(data) {
            // The folder of one cluster, as Debian has it; of a folder for everybody only the file.
            let folder = file.parent().filter(|folder| folder.components().count() > 3);
            beside.add(data, folder.unwrap_or(file));
        }
        files.push((file.clone(), kind, None));
    }
    files.push((data.join("postgresql.auto.conf"), Kind::Settings, None));
    let mut seen = HashSet::new();
    while let Some((file, kind, namer)) = files.pop() {
        if seen.len() >= FILES_MAX || !seen.insert((file.clone(), kind)) {
            continue;
        }
        // Where a link leads is for whoever made the link to say.
        let own = owner(&file);
        if !beside.take(data, &file, namer.or(own)) {
            continue;
        }
        let Ok(text) = fs::read(&file) else { continue };
        let own = own.max(fs::metadata(&file).ok().map(|meta| meta.uid()));
        let folder = file.parent().unwrap_or(data);
        for reference in references(&String::from_utf8_lossy(&text), kind) {
            match reference {
                Reference::File(name) => files.push((folder.join(name), kind, own)),
                Reference::IfThere(name) => {
                    let file = folder.join(name);
                    if fs::symlink_metadata(&file).is_ok() {
                        files.push((file, kind, own));
                    }
                }
                Reference::Folder(name) => {
                    let folder = folder.join(name);
                    let found = settings_in(&folder);
                    if found.is_empty() {
                        beside.take(data, &folder, own);
                    }
                    files.extend(found.into_iter().map(|file| (file, kind, own)));
                }
                Reference::Named(name) => {
                    let file = data.join(&name);
                    if !name.is_empty() && !name.contains(OF_THE_MACHINE) {
                        beside.take(data, &file, own);
                    }
                }
            }
        }
    }
    beside
}

impl Beside {
    /// Adds a file with all its places, if it may be taken along that somebody names, and returns whether it is.
    fn take(&mut self, data: &Path, file: &Path, namer: Option<u32>) -> bool {
        let places = places(file);
        let is_in =
            |path: &Path| path.starts_with(data) || self.paths.iter().any(|known| path.starts_with(known));
        let stranger = places.iter().find(|place| !is_in(place) && !is_his(place, namer));
        if let Some(stranger) = stranger {
            if !self.left.contains(stranger) {
                self.left.push(stranger.clone());
            }
            return false;
        }
        places.iter().for_each(|place| self.add(data, place));
        true
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

/// Returns whether whoever names a file could have made it, and nobody but root, or who runs this, could put another into its place. One that isn't there is missed
/// where it is read.
fn is_his(path: &Path, namer: Option<u32>) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |uid: u32| uid == 0 || uid == us;
    // A folder with the sticky bit, as /tmp is: what we own in it stays in its place.
    let is_fixed = |folder: &Path| {
        fs::metadata(folder)
            .is_ok_and(|meta| is_ours(meta.uid()) && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0))
    };
    let Some(own) = owner(path) else { return true };
    (namer == Some(own) || namer.is_some_and(is_ours)) && path.ancestors().skip(1).all(is_fixed)
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
            (name, Some(value)) if kind == Kind::Settings && NAMED.contains(&name) => {
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
fn words(line: &str) -> Vec<(String, bool)> {
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
    use std::os::unix::fs::symlink;

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
        let Beside { paths: mut found, left } = beside(&data, &files);
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
        assert!(is_his(&file, Some(us)) && is_his(&file, Some(0)));
        assert!(!is_his(&file, Some(us + 1)) && !is_his(&file, None), "somebody else names it");
        // Anybody could put another into its place.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(!is_his(&file, Some(us)));
        let mut beside = Beside::default();
        assert!(!beside.take(Path::new("/data"), &file, Some(us)));
        assert_eq!((beside.paths, beside.left), (vec![], vec![file]));
    }
}

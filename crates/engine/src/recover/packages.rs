//! What the machine's package database knows of programs that give rights: dpkg's list of modes that were set apart, and the sums of what its packages brought.
//!
//! dpkg keeps no modes but those of `dpkg-statoverride`; that a package brought the content alone says nothing: `chmod u+s /bin/bash` changes none of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use vault::Node;
use vault::restore::{Gives, Right};

/// What dpkg knows.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// Where its lists of sums are.
    info: PathBuf,
    modes: BTreeMap<String, Mode>,
}

#[derive(Debug, PartialEq, Eq)]
struct Mode {
    user: String,
    group: String,
    mode: u32,
}

impl Packages {
    /// Reads what was set apart in the database below this folder; nothing where there is none.
    pub(super) fn read(dpkg: &Path) -> Self {
        let text = fs::read_to_string(dpkg.join("statoverride")).unwrap_or_default();
        Self { info: dpkg.join("info"), modes: text.lines().filter_map(mode).collect() }
    }

    /// Returns whether it knows an entry with just these rights, and a package brought just this content, of which `sum` says the MD5 sum.
    pub(super) fn know(&self, right: &Right, sum: impl FnOnce() -> Option<String>) -> bool {
        let is_of_modes = right.gives.iter().all(|gives| matches!(gives, Gives::Setuid | Gives::Setgid));
        let Some(path) = right.path.to_str().filter(|_| is_of_modes) else { return false };
        let is_set = self.modes.get(path).is_some_and(|mode| mode.is_of(&right.node));
        is_set && self.brought(path).is_some_and(|brought| sum() == Some(brought))
    }

    /// Returns the sum of what a package brought at a path.
    fn brought(&self, path: &str) -> Option<String> {
        let path = path.trim_start_matches('/');
        let lists = fs::read_dir(&self.info).ok()?.flatten().map(|entry| entry.path());
        lists.filter(|list| list.extension().is_some_and(|ending| ending == "md5sums")).find_map(|list| {
            let text = fs::read_to_string(list).ok()?;
            let mut lines = text.lines().filter_map(|line| line.split_once("  "));
            lines.find(|(_, of)| *of == path).map(|(sum, _)| sum.to_owned())
        })
    }
}

impl Mode {
    fn is_of(&self, node: &Node) -> bool {
        let is = |named: &str, name: Option<&str>, number: u32| match named.strip_prefix('#') {
            Some(said) => said.parse::<u32>() == Ok(number),
            // The number is what comes back.
            None if named == "root" => number == 0,
            None => name == Some(named) && number != 0,
        };
        node.meta.mode & 0o7777 == self.mode
            && is(&self.user, node.meta.user.as_deref(), node.meta.uid)
            && is(&self.group, node.meta.group.as_deref(), node.meta.gid)
    }
}

/// Reads a line: user, group, mode and path.
fn mode(line: &str) -> Option<(String, Mode)> {
    let mut words = line.splitn(4, ' ');
    let (user, group) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    Some((words.next()?.to_owned(), Mode { user, group, mode }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::{Meta, NodeKind};

    fn right(path: &str, gives: Gives, mode: u32, group: (&str, u32)) -> Right {
        let meta = Meta {
            mode,
            gid: group.1,
            group: Some(group.0.into()),
            user: Some("root".into()),
            ..Meta::default()
        };
        let kind = NodeKind::File { size: 1, content: vec![], sparse: false };
        let node = Node { name: b"x".to_vec(), meta, kind };
        Right { path: path.into(), node, gives: vec![gives], stood: false }
    }

    #[test]
    fn a_mode_that_was_set_apart_is_known_with_the_content_that_a_package_brought_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let dpkg = folder.path();
        fs::create_dir(dpkg.join("info")).unwrap();
        let modes = "root dip 4754 /usr/sbin/pppd\nroot #7 2755 /usr/bin/with space\nbroken\nroot root 4755 /srv/own\n";
        fs::write(dpkg.join("statoverride"), modes).unwrap();
        let sums = "0a  usr/sbin/pppd\n0b  usr/bin/with space\n0c  bin/bash\n";
        fs::write(dpkg.join("info/ppp.md5sums"), sums).unwrap();
        fs::write(dpkg.join("info/ppp.list"), "/srv/own\n").unwrap();
        let packages = Packages::read(dpkg);
        let dip = ("dip", 30);
        let table = [
            ("/usr/sbin/pppd", Gives::Setuid, 0o4754, dip, "0a", true),
            ("/usr/sbin/pppd", Gives::Setuid, 0o4754, dip, "0f", false),
            ("/usr/sbin/pppd", Gives::Setuid, 0o4755, dip, "0a", false),
            ("/usr/sbin/pppd", Gives::Setuid, 0o4754, ("other", 31), "0a", false),
            // The name of a group, and root's number.
            ("/usr/sbin/pppd", Gives::Setuid, 0o4754, ("dip", 0), "0a", false),
            ("/usr/sbin/pppd", Gives::Capability, 0o4754, dip, "0a", false),
            ("/usr/bin/with space", Gives::Setgid, 0o2755, ("any", 7), "0b", true),
            // Of these a mode, or a content, is known, and not both.
            ("/bin/bash", Gives::Setuid, 0o4755, ("root", 0), "0c", false),
            ("/srv/own", Gives::Setuid, 0o4755, ("root", 0), "0d", false),
        ];
        for (path, gives, mode, group, sum, known) in table {
            let right = right(path, gives, mode, group);
            assert_eq!(
                packages.know(&right, || Some(sum.to_owned())),
                known,
                "{path} {mode:o} {group:?} {sum}"
            );
            assert!(
                !packages.know(&right, || None) && !Packages::default().know(&right, || Some(sum.into()))
            );
        }
    }
}

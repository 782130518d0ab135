//! Whose a group is: a mode that lets a group write says nothing of who that is.

use nix::unistd::{Group, User};
use std::fs;

/// Where a machine's own users and groups stand. A directory (LDAP, SSSD) may know more, and can't be listed everywhere.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// What is known of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    gid: u32,
    /// Its name; `None` where nobody has given it one.
    name: Option<String>,
    /// Those that it names.
    members: Vec<String>,
    /// It stands in the machine's own file: then that says all of it.
    is_local: bool,
}

/// A user of whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    uid: u32,
    /// His name and his own group; `None` where he has none, as in a container.
    known: Option<(String, u32)>,
}

/// Returns whether nobody but one of these users is in a group, neither named by it nor because it is his own: whatever its number. What can't be looked up isn't theirs.
#[must_use]
pub fn is_own_group(gid: u32, users: &[u32]) -> bool {
    // Some systems let users of their own have root's group whom nobody can be.
    if gid == 0 {
        return users.contains(&0);
    }
    let Ok(group) = Group::from_gid(gid.into()) else { return false };
    let local = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let groups = local(GROUPS);
    let known = Known {
        gid,
        is_local: entries(&groups).any(|(_, number, _)| number == gid),
        name: group.as_ref().map(|group| group.name.clone()),
        members: group.map(|group| group.mem).unwrap_or_default(),
    };
    let mut asked = Vec::new();
    for uid in users {
        let Ok(user) = User::from_uid((*uid).into()) else { return false };
        asked.push(Asked { uid: *uid, known: user.map(|user| (user.name, user.gid.as_raw())) });
    }
    is_theirs(&known, &asked, &local(USERS))
}

/// Decides it; `passwd` is what stands in the file of the machine's own users.
fn is_theirs(group: &Known, users: &[Asked], passwd: &str) -> bool {
    let is_one = |name: &str| users.iter().any(|user| user.name() == Some(name));
    if !group.members.iter().all(|member| is_one(member)) {
        return false;
    }
    // Whose own group it is it doesn't name.
    let mut others = entries(passwd).filter(|(_, _, own)| *own == Some(group.gid));
    if others.any(|(_, uid, _)| !users.iter().any(|user| user.uid == uid)) {
        return false;
    }
    let is_his = |user: &Asked| match &user.known {
        Some((name, own)) => *own == group.gid || group.members.contains(name),
        None => user.uid == group.gid,
    };
    // Where a directory may know of more users, the name says that it is made for one: each user's own bears his.
    let is_plain = |user: &Asked| match &group.name {
        Some(name) => group.is_local && is_local(user, passwd) || user.name() == Some(name.as_str()),
        None => true,
    };
    users.iter().any(|user| is_his(user) && is_plain(user))
}

impl Asked {
    fn name(&self) -> Option<&str> {
        self.known.as_ref().map(|(name, _)| name.as_str())
    }
}

fn is_local(user: &Asked, passwd: &str) -> bool {
    entries(passwd).any(|(name, uid, _)| uid == user.uid && user.name() == Some(name))
}

/// Returns name, number and, for users, the number of their own group, of each line of such a file.
fn entries(text: &str) -> impl Iterator<Item = (&str, u32, Option<u32>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((name, number, fields.next().and_then(|own| own.parse().ok())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          hugo:x:1000:1007::/home/hugo:/bin/sh\n\
                          claire:x:1001:1001::/home/claire:/bin/sh\n\
                          app:x:998:100::/srv:/bin/false\n";

    fn group(gid: u32, name: &str, members: &[&str]) -> Known {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        Known { gid, name: Some(name.to_owned()), members, is_local: true }
    }

    fn user(uid: u32, name: &str, own: u32) -> Asked {
        Asked { uid, known: Some((name.to_owned(), own)) }
    }

    #[test]
    fn a_group_is_ones_own_whatever_its_number_where_nobody_else_is_in_it() {
        let of_hugo = [user(0, "root", 0), user(1000, "hugo", 1007)];
        let table = [
            ("his own, of another number", group(1007, "hugo", &[]), true),
            ("his own, of another name", group(1007, "staff-7", &[]), true),
            ("it names him too", group(1007, "hugo", &["hugo"]), true),
            ("one that names him alone", group(50, "plans", &["hugo"]), true),
            ("one that names root and him", group(50, "plans", &["hugo", "root"]), true),
            ("it names another", group(1007, "hugo", &["claire"]), false),
            ("it names him and another", group(50, "plans", &["hugo", "claire"]), false),
            ("another's own, and it names him", group(1001, "claire", &["hugo"]), false),
            ("an application's own, and it names him", group(100, "users", &["hugo"]), false),
            ("nobody is in it", group(51, "empty", &[]), false),
            ("of his number, and it is not his", group(1000, "printers", &[]), false),
            ("of his number, and others are in it", group(1000, "hugo", &["claire"]), false),
        ];
        for (what, group, expected) in table {
            assert_eq!(is_theirs(&group, &of_hugo, PASSWD), expected, "{what}");
        }
        // Of a directory's users nobody sees here whose own group it is: its name says so.
        let remote = |group: Known| Known { is_local: false, ..group };
        let anna = [user(70_001, "anna", 70_009)];
        assert!(is_theirs(&remote(group(70_009, "anna", &[])), &anna, PASSWD));
        assert!(!is_theirs(&remote(group(70_009, "domain users", &[])), &anna, PASSWD));
        assert!(!is_theirs(&group(1007, "plans", &["anna"]), &[user(70_001, "anna", 70_009)], PASSWD));
        // In a container users and groups often are numbers alone.
        let nameless = |gid| Known { gid, name: None, members: Vec::new(), is_local: false };
        let number = [Asked { uid: 5000, known: None }];
        assert!(is_theirs(&nameless(5000), &number, "") && !is_theirs(&nameless(5001), &number, ""));
    }

    #[test]
    fn the_group_of_root_is_roots_as_this_machine_has_it() {
        assert!(is_own_group(0, &[0]));
        assert!(!is_own_group(0, &[u32::MAX - 7]));
    }
}

//! What lies in the folder of a state is a file of ours, and no link: whoever could put one there would have a file of ours made or overwritten wherever it leads, and
//! whoever may write to one says what was accepted.

use crate::{Error, Kind, Result};
use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid};
use std::fs::{Metadata, OpenOptions, symlink_metadata};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What is written there, by us and by SQLite, under names that everybody knows.
const WRITTEN: [&str; 6] =
    ["state.lock", "state.making", "state.db", "state.db-wal", "state.db-shm", "state.db-journal"];

/// Root, and the group of root alone.
const ROOT: u32 = 0;

/// Refuses a folder in which one of these names is a link, or a file that somebody else has or may write to.
pub(crate) fn refuse(dir: &Path) -> Result<()> {
    for path in WRITTEN.map(|name| dir.join(name)) {
        let Ok(found) = symlink_metadata(&path) else { continue };
        let why = match found.is_symlink() {
            true => Some(
                "it is a link, and no file of ours: find out who put it there, and put the file itself in its place"
                    .to_owned(),
            ),
            false => other_hands(&path, &found, (geteuid().as_raw(), getegid().as_raw())),
        };
        if let Some(why) = why {
            return Err(Error::new(format!("open {}", path.display()), Kind::Refused(why)));
        }
    }
    Ok(())
}

/// Returns who else than this user and root could have written what stands in a file, and the way out.
fn other_hands(path: &Path, found: &Metadata, (uid, gid): (u32, u32)) -> Option<String> {
    let path = path.display();
    let (who, way_out) = if found.uid() != uid && found.uid() != ROOT {
        let owner = if uid == ROOT { "root".to_owned() } else { uid.to_string() };
        (
            format!("it belongs to the user {}, who can change it", found.uid()),
            format!("chown {owner} {path}"),
        )
    } else if found.mode() & 0o002 != 0 {
        ("everybody can write to it".to_owned(), format!("chmod go-w {path}"))
    } else if found.mode() & 0o020 != 0 && found.gid() != ROOT && (uid == ROOT || found.gid() != gid) {
        (format!("the group {} can write to it", found.gid()), format!("chmod g-w {path}"))
    } else {
        return None;
    };
    Some(format!(
        "{who}: if it is right as it is: {way_out}; else move it away, and `releve state rebuild` makes it anew from the vaults"
    ))
}

/// Returns how a file is opened that is made where it isn't there, for its owner alone. A link isn't followed, also not one that was just put there.
pub(crate) fn own() -> OpenOptions {
    let mut options = OpenOptions::new();
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    options.create(true).append(true).mode(0o600).custom_flags(nofollow);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use jiff::Timestamp;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn no_link_in_the_folder_of_a_state_is_followed_and_nothing_is_made_where_it_leads() {
        for name in WRITTEN {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("state");
            fs::create_dir(&state).unwrap();
            let victim = dir.path().join("victim");
            symlink(&victim, state.join(name)).unwrap();
            let refused = State::open(&state).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("it is a link"), "{name}: {refused}");
            let now = Timestamp::UNIX_EPOCH;
            assert!(State::rebuild::<Error>(&state, now, |_| Ok(())).is_err(), "{name}");
            assert!(!victim.exists(), "{name}");
            fs::remove_file(state.join(name)).unwrap();
            State::open(&state).unwrap();
        }
    }

    #[test]
    fn a_file_of_a_state_that_somebody_else_has_or_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        State::open(dir.path()).unwrap();
        let file = dir.path().join("state.db");
        for (mode, is_refused) in [(0o600, false), (0o644, false), (0o666, true), (0o602, true)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let opened = State::open(dir.path());
            assert_eq!(opened.is_err(), is_refused, "{mode:o}");
            if let Err(refused) = opened {
                let said = refused.to_string();
                assert!(said.contains("state.db") && said.contains("chmod go-w"), "{said}");
            }
        }
        fs::set_permissions(&file, Permissions::from_mode(0o660)).unwrap();
        let found = fs::metadata(&file).unwrap();
        let (uid, gid) = (found.uid(), found.gid());
        let hands = |us: (u32, u32)| other_hands(&file, &found, us);
        assert_eq!(hands((uid, gid)).is_some(), uid == ROOT && gid != ROOT);
        if uid != ROOT {
            assert!(hands((ROOT, ROOT)).unwrap().contains("chown root"), "for root another's");
            assert!(hands((uid + 1, gid)).unwrap().contains("who can change it"));
        }
        if gid != ROOT {
            assert!(hands((uid, gid + 1)).unwrap().contains("chmod g-w"));
        }
    }
}

//! Where a log waits on this machine for its vaults: whoever receives it there leaves room for what carries it away, or neither would ever get on.

use crate::error::at;
use crate::{Error, Kind, Result};
use std::path::Path;

/// What a kind of source says of its log that waits.
pub(crate) struct Spool<'a> {
    pub(crate) path: &'a Path,
    /// How much room receiving leaves, in bytes, and in words.
    pub(crate) bytes: u64,
    pub(crate) room: String,
    /// What becomes meanwhile of what isn't received.
    pub(crate) meanwhile: &'a str,
    /// Tells of a name whether it is a file that waits.
    pub(crate) waits: &'a dyn Fn(&str) -> bool,
}

impl Spool<'_> {
    /// Makes sure that there is that much room: else more waits on the server, until some of what waits here is in the vaults. Where next to nothing waits here,
    /// nothing can go, and it is received as long as there is any room.
    pub(crate) fn has_room(&self, doing: &str) -> Result<()> {
        let Ok(stat) = rustix::fs::statvfs(self.path) else { return Ok(()) };
        if stat.f_bavail.saturating_mul(stat.f_frsize) >= self.bytes {
            return Ok(());
        }
        let wrong = |error| Error::io(at("read", self.path), error);
        let mut waiting = 0;
        for entry in std::fs::read_dir(self.path).map_err(wrong)? {
            waiting += u32::from(entry.map_err(wrong)?.file_name().to_str().is_some_and(self.waits));
        }
        if waiting <= 1 {
            return Ok(());
        }
        let why = format!(
            "the disk of {} has no room for {}, so nothing more is received before some of what waits there is in the \
                vaults; until then {}. If that lasts, make room there",
            self.path.display(),
            self.room,
            self.meanwhile
        );
        Err(Error::new(doing, Kind::Invalid(why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_nothing_is_received_as_long_as_something_waits_that_can_go() {
        let folder = tempfile::tempdir().unwrap();
        let room = |bytes| {
            let waits = |name: &str| name.starts_with("log");
            let (path, room) = (folder.path(), "4 more segments".to_owned());
            let spool = Spool { path, bytes, room, meanwhile: "the server keeps it", waits: &waits };
            spool.has_room("receive WAL").map_err(|error| error.to_string())
        };
        for name in ["log.1", "other.1", "other.2"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(room(u64::MAX), Ok(()));
        std::fs::write(folder.path().join("log.2"), "x").unwrap();
        assert_eq!(room(1), Ok(()));
        let said = room(u64::MAX).unwrap_err();
        assert!(
            said.contains("has no room for 4 more segments") && said.contains("make room there"),
            "{said}"
        );
    }
}

//! Walls around a program that works on a copy: it sees this machine's programs and the copy, and can write nowhere else.
//!
//! What a copied server does is led by what was copied: links, settings, and a log that may tell it to make a folder where the live server has its own. So it
//! gets a root of its own, in which other paths are not there, and no network. Made with util-linux, which Debian has on every machine; whoever isn't root
//! needs a kernel that lets users have namespaces.

use process::Words;
use std::path::{Path, PathBuf};

const UNSHARE: &str = "/usr/bin/unshare";
/// What every program needs, as far as a machine has it: read only.
const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix/store"];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Makes the root, from lines of three: how, from where, and where to. A remount has to name what a mount was restricted by, or an ordinary user may not do it.
const BUILD: &str = r#"
PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH
umask 022
root=$1; shift
mount -t tmpfs -o mode=0755,size=64m releve "$root"
mkdir -m 1777 "$root/tmp"
while [ "$1" != -- ]; do
    how=$1 from=$2 to=$root$3; shift 3
    if [ "$how" = link ]; then ln -s "$(readlink "$from")" "$to"; continue; fi
    if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}"; [ -e "$to" ] || : > "$to"; fi
    mount --bind "$from" "$to"
    if [ "$how" = read ]; then
        had=$(findmnt -nro VFS-OPTIONS -M "$to"); had=${had#r[ow]}
        mount -o "remount,bind,ro$had" "$to"
    fi
done
shift
exec "$@"
"#;

/// What a program sees. Later paths lie over earlier ones.
#[derive(Debug, Clone)]
pub(crate) struct Walls {
    root: PathBuf,
    shown: Vec<Shown>,
}

#[derive(Debug, Clone)]
struct Shown {
    how: &'static str,
    from: PathBuf,
    to: PathBuf,
}

impl Walls {
    /// Returns walls within which only the machine's programs are seen. The new root is mounted on `root`, an empty folder, for that program alone.
    pub(crate) fn at(root: &Path) -> Self {
        let mut walls = Self { root: root.to_owned(), shown: Vec::new() };
        for path in SYSTEM.map(Path::new) {
            match path.symlink_metadata() {
                Ok(meta) if meta.is_symlink() => walls.show("link", path, path),
                Ok(_) => walls.show("read", path, path),
                Err(_) => {}
            }
        }
        DEVICES.map(Path::new).into_iter().for_each(|device| walls.show("write", device, device));
        walls
    }

    /// It may read what is there.
    pub(crate) fn reads(mut self, path: &Path) -> Self {
        self.show("read", path, path);
        self
    }

    /// It may write there.
    pub(crate) fn writes(mut self, path: &Path) -> Self {
        self.show("write", path, path);
        self
    }

    /// What it writes to one place goes into another.
    pub(crate) fn leads(mut self, place: &Path, into: &Path) -> Self {
        self.show("write", into, place);
        self
    }

    fn show(&mut self, how: &'static str, from: &Path, to: &Path) {
        self.shown.push(Shown { how, from: from.to_owned(), to: to.to_owned() });
    }

    /// Returns what builds the walls and then runs within them the command that follows. It stays one process.
    pub(crate) fn command(&self) -> Words {
        let mut words = Words::of(UNSHARE);
        let is_root = rustix::process::geteuid().is_root();
        if !is_root {
            words = words.words(["--user", "--map-root-user"]);
        }
        words = words.words(["--mount", "--ipc", "--net", "--propagation=private", "--"]);
        words = words.words(["/bin/sh", "-euc", BUILD, "walls"]).data([&self.root]);
        for Shown { how, from, to } in &self.shown {
            words = words.word(how).data([from, to]);
        }
        words = words.words(["--", UNSHARE]);
        if !is_root {
            // Servers refuse to run as root, even as one that isn't.
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            words = words.word("--user").option("--map-user", uid.to_string());
            words = words.option("--map-group", gid.to_string());
        }
        words.option("--root", &self.root).words(["--wd=/", "--"])
    }
}

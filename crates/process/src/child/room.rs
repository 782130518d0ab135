//! Walls around one program: it writes only where it is told to, starts nothing, and has none of root's rights but to read and to reach sockets. For the clients of
//! databases, which need our user to be known by the server, and work with texts that others have written: what such a text makes them do is then nothing.
//!
//! The kernel keeps them (Landlock). They are raised around a thread, since only what a thread begins afterwards has them and nothing takes them away again; so each
//! program has a thread of its own that begins it, and stays for as long as the program is there: the program sees of other processes only what has the same
//! walls, and reads through `/proc/THREAD/fd` what we hold open for it. On a kernel without Landlock it runs as before, without the rights.

use super::Start;
use landlock::{
    ABI, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, gettid, set_capabilities, set_no_new_privs,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Sender, channel};

/// What a client may need of root's rights: certificates and sockets that are another's. Where it may write is not decided by them.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::DAC_OVERRIDE);
/// Where a program names what loads it.
const HEAD_BYTES: u64 = 4096;
/// Where that is found else.
const LOADERS: [&str; 6] = ["/lib", "/lib32", "/lib64", "/usr/lib", "/nix/store", "/gnu/store"];
/// What every program throws away goes there.
const NOWHERE: &str = "/dev/null";

/// What a program may do.
#[derive(Debug, Clone, Default)]
pub struct May {
    write: Vec<PathBuf>,
    run: Vec<PathBuf>,
}

impl May {
    /// It may write to what is there below this folder.
    pub fn write(&mut self, folder: &Path) -> &mut Self {
        self.write.push(folder.to_owned());
        self
    }

    /// It may be this program, or start it. Returns whether it is one that walls can be raised around: a script is somebody's word, and does as it was written.
    pub fn run(&mut self, program: &Path) -> bool {
        let Some(loaders) = loaders(program) else { return false };
        self.run.push(program.to_owned());
        self.run.extend(loaders);
        true
    }
}

/// A thread behind walls, which begins a program.
#[derive(Debug)]
pub struct Room {
    task: i32,
    stands: bool,
    begin: Sender<(Start, Sender<io::Result<Child>>)>,
}

impl Room {
    /// Raises the walls.
    pub fn new(may: May) -> io::Result<Self> {
        let (begin, asked) = channel::<(Start, Sender<io::Result<Child>>)>();
        let (tell, told) = channel();
        std::thread::Builder::new().name("walls".to_owned()).spawn(move || {
            // Before the walls: whoever has these rights could be let through them.
            give_up_rights();
            let stands = raise(&may).unwrap_or(false);
            if tell.send((gettid().as_raw_nonzero().get(), stands)).is_err() {
                return;
            }
            for (mut start, answer) in asked {
                let begun = start.spawn();
                // What it was given to read is its own from here on.
                drop(start);
                // Whoever asks waits for it.
                let _ = answer.send(begun);
            }
        })?;
        let (task, stands) = told.recv().map_err(io::Error::other)?;
        Ok(Self { task, stands, begin })
    }

    /// Returns the name under which the program finds what we hold open here.
    #[must_use]
    pub fn name_of(&self, held: &impl AsRawFd) -> String {
        format!("/proc/{}/fd/{}", self.task, held.as_raw_fd())
    }

    /// Returns whether the kernel keeps the walls.
    #[must_use]
    pub const fn stands(&self) -> bool {
        self.stands
    }

    /// Begins the program. The room must stay for as long as it runs.
    pub fn spawn(&self, start: Start) -> io::Result<Child> {
        let (answer, begun) = channel();
        self.begin.send((start, answer)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        begun.recv().map_err(io::Error::other)?
    }
}

/// Keeps this thread, and what it begins, from all rights of root's that no client needs. Where that is forbidden, they stay as they are.
fn give_up_rights() {
    // A program that is setuid, or has rights of its own, gives none.
    let _ = set_no_new_privs(true);
    if let Ok(had) = capabilities(None) {
        let few = CapabilitySets {
            effective: had.effective & KEPT,
            permitted: had.permitted & KEPT,
            inheritable: had.inheritable & KEPT,
        };
        let _ = set_capabilities(None, few);
    }
}

/// Raises walls around this thread and what it begins. Returns whether they stand.
fn raise(may: &May) -> Result<bool, RulesetError> {
    let writes: BitFlags<AccessFs> = AccessFs::from_write(ABI::V3);
    let ruleset = Ruleset::default()
        .handle_access(writes)?
        .handle_access(AccessFs::Execute)?
        .create()?
        .add_rules(path_beneath_rules(&may.write, writes))?
        .add_rules(path_beneath_rules([NOWHERE], writes))?
        .add_rules(path_beneath_rules(&may.run, AccessFs::Execute))?;
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// Returns what loads a program; `None` where it isn't one of the machine's format.
fn loaders(program: &Path) -> Option<Vec<PathBuf>> {
    let mut head = Vec::new();
    File::open(program).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let texts = head.split(|byte| *byte == 0).map(|text| Path::new(OsStr::from_bytes(text)));
    let is_loader = |path: &&Path| {
        path.is_absolute()
            && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ld"))
            && path.exists()
    };
    let mut found: Vec<PathBuf> = texts.filter(is_loader).map(Path::to_owned).collect();
    if found.is_empty() {
        found.extend(LOADERS.map(PathBuf::from));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::{Kept, Words, find};
    use std::fs;
    use std::process::Stdio;

    /// Runs a shell behind walls, which may start these programs, write to this folder and see what we hold open. Returns what it printed.
    fn shell(script: &str, starts: &[&str], writes: &Path, held: &File) -> String {
        let mut may = May::default();
        for program in ["sh"].iter().chain(starts) {
            assert!(may.run(&find(OsStr::new(program)).unwrap()));
        }
        may.write(writes);
        let room = Room::new(may).unwrap();
        assert!(room.stands(), "this kernel has no Landlock");
        let words = Words::of("sh").word("-c").told([script, "sh", room.name_of(held).as_str()]);
        let mut start = Start::new(words, Kept::Little).unwrap();
        start.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = room.spawn(start).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn behind_its_walls_a_program_writes_where_it_may_starts_nothing_else_and_reads_what_is_held_for_it() {
        let folder = std::env::temp_dir().join(format!("releve-room-{}", std::process::id()));
        let inside = folder.join("inside");
        fs::create_dir_all(&inside).unwrap();
        fs::write(folder.join("held"), "for it alone\n").unwrap();
        let held = File::open(folder.join("held")).unwrap();
        let at = |name: &str| folder.join(name).display().to_string();
        let script = format!(
            "read -r said < \"$1\" && echo \"$said\"
            echo x > {inside} && echo inside
            echo x > {outside} && echo outside
            echo x > /dev/null && echo nowhere
            id > /dev/null && echo started",
            inside = at("inside/new"),
            outside = at("outside"),
        );
        assert_eq!(shell(&script, &[], &inside, &held), "for it alone\ninside\nnowhere\n");
        assert!(!folder.join("outside").exists());
        // What it may start has the same walls, and no rights but to read.
        let rights = "grep -e CapEff -e CapPrm -e NoNewPrivs /proc/self/status";
        let seen = shell(rights, &["grep"], &inside, &held);
        let kept = |name: &str| {
            let line = seen.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(kept("NoNewPrivs:"), 1, "{seen}");
        assert_eq!((kept("CapEff:") | kept("CapPrm:")) & !KEPT.bits(), 0, "{seen}");
        // Whoever began it is free as he was.
        fs::write(folder.join("outside"), "x").unwrap();
        let mut free = Start::new(Words::of("id"), Kept::Little).unwrap();
        assert!(free.stdout(Stdio::null()).spawn().unwrap().wait().unwrap().success());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_script_is_no_program_that_walls_are_raised_around() {
        let script = std::env::temp_dir().join(format!("releve-script-{}", std::process::id()));
        fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(!May::default().run(&script) && !May::default().run(Path::new("/no/such/program")));
        fs::remove_file(script).unwrap();
        let mut may = May::default();
        assert!(may.run(Path::new("/bin/sh")) && may.run.len() >= 2, "{may:?}");
    }
}

//! A small file system of its own.

use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// A file system in memory with room for so many bytes, unmounted when dropped. Takes root.
///
/// It fills up like a disk, and made read-only it refuses root too, whom permissions don't stop.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one with room for `bytes`, rounded up to pages of 4 KiB.
    #[must_use]
    pub fn mount(bytes: u64) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "a test disk is mounted by root: run the tests as root"
        );
        let folder = tempfile::tempdir().unwrap();
        let options = CString::new(format!("size={bytes},mode=0755")).unwrap();
        rustix::mount::mount("testkit", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str())
            .expect("mount a tmpfs (in a container: --cap-add SYS_ADMIN)");
        Self { folder }
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes it read-only, or writable again.
    pub fn set_read_only(&self, read_only: bool) {
        let flags = if read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        rustix::mount::mount_remount(self.path(), flags, c"").unwrap();
    }
}

/// A disk in a file, with a file system of one's choice, unmounted when dropped. Takes root and a loop device.
#[derive(Debug)]
pub struct FormattedDisk {
    folder: TempDir,
}

impl FormattedDisk {
    /// Makes one of so many bytes, with the program that formats it and its arguments: `["mkfs.ext4", "-I", "128"]`.
    #[must_use]
    pub fn mount(bytes: u64, format: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("mounted"));
        std::fs::create_dir(&place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let run = |command: &mut std::process::Command| {
            let said = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
        };
        let (program, arguments) = format.split_first().unwrap();
        run(std::process::Command::new(program).args(arguments).arg(&image));
        run(std::process::Command::new("mount").args(["-o", "loop"]).args([&image, &place]));
        Self { folder }
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for FormattedDisk {
    fn drop(&mut self) {
        // Detached, as above; the loop device goes with it.
        let _ = rustix::mount::unmount(self.path(), UnmountFlags::DETACH);
    }
}

/// A file system of a program (FUSE) that never answers: whoever looks at it waits. Aborted when dropped.
#[derive(Debug)]
pub struct SilentMount {
    place: std::path::PathBuf,
    taker: Option<Taker>,
    // The kernel lets everybody go who waits as soon as this is closed.
    program: std::fs::File,
}

/// Takes what is asked, and answers nothing of it.
#[derive(Debug)]
struct Taker {
    is_over: Arc<AtomicBool>,
    was_asked: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SilentMount {
    /// Mounts one on a folder that exists, for this user (0: root) alone.
    #[must_use]
    pub fn over(place: &Path, user: u32) -> Self {
        use std::os::fd::AsRawFd;
        let program = std::fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id={user},group_id={user}", program.as_raw_fd());
        let options = CString::new(options).unwrap();
        rustix::mount::mount("silent", place, "fuse", MountFlags::empty(), options.as_c_str())
            .expect("mount a FUSE file system (in a container: --cap-add SYS_ADMIN --device /dev/fuse)");
        Self { place: place.to_owned(), taker: None, program }
    }

    /// Mounts one whose program lives and takes what it is asked: the kernel lets nobody go who waits for it, not even one who is killed.
    #[must_use]
    pub fn taking(place: &Path) -> Self {
        let mut mount = Self::over(place, 0);
        rustix::io::ioctl_fionbio(&mount.program, true).unwrap();
        let program = mount.program.try_clone().unwrap();
        let (is_over, was_asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (over, asked) = (Arc::clone(&is_over), Arc::clone(&was_asked));
        let thread = std::thread::spawn(move || take(program, &over, &asked));
        mount.taker = Some(Taker { is_over, was_asked, thread: Some(thread) });
        mount
    }

    /// Returns whether somebody waits for an answer.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.taker.as_ref().is_some_and(|taker| taker.was_asked.load(Relaxed))
    }
}

/// Greets the kernel (`FUSE_INIT`, without which it asks for nothing), and then takes all that comes.
fn take(mut program: std::fs::File, is_over: &AtomicBool, was_asked: &AtomicBool) {
    const INIT: u32 = 26;
    let mut request = vec![0; 1 << 20];
    while !is_over.load(Relaxed) {
        if program.read(&mut request).is_err() {
            crate::pause(std::time::Duration::from_millis(10));
            continue;
        }
        // fuse_in_header: its length, what is asked, and its number.
        if u32::from_ne_bytes(request[4..8].try_into().unwrap()) != INIT {
            was_asked.store(true, Relaxed);
            continue;
        }
        // fuse_out_header and fuse_init_out: version 7.31, and how much is written at a time.
        let mut answer = [0; 80];
        answer[..4].copy_from_slice(&80u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        for (at, value) in [(16, 7u32), (20, 31), (24, 4096), (36, 4096), (40, 1)] {
            answer[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        program.write_all(&answer).unwrap();
    }
}

impl Drop for SilentMount {
    fn drop(&mut self) {
        // It has the other hand on the program.
        if let Some(taker) = &mut self.taker {
            taker.is_over.store(true, Relaxed);
            let _ = taker.thread.take().map(JoinHandle::join);
        }
        let _ = rustix::mount::unmount(&self.place, UnmountFlags::DETACH);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Detached: a file that some process still holds open must not keep the mount alive.
        let _ = rustix::mount::unmount(self.folder.path(), UnmountFlags::DETACH);
    }
}

//! A system that only its own programs can read and write: what one prints is kept, and fed to another.

use crate::error::at;
use crate::files::under;
use crate::lone::{Lone, Stream};
use crate::program::{Program, Running};
use crate::standing::{Standing, Stands, look};
use crate::{Capture, Error, Kind, Landing, PutBack, Replay, Result, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use vault::{Content, Timestamp, Unread};

/// How long a program may go on after it has closed its output.
const GRACE: Duration = Duration::from_secs(60);

/// A system that a program dumps and another loads.
///
/// What `dump` prints becomes one file called `name` at the top of the restore point, with mode 0600, owned by root and dated `now`. It is streamed:
/// nothing lies on disk in between. Its length isn't known before it was read, so the listing says 0, and
/// [`vault::Content::unchanged`] then accepts whatever length was read.
///
/// The point is incomplete when `dump` exits with an error, is killed, takes too long, goes on after it has closed its output, or
/// prints nothing at all.
///
/// In place, `load` is fed the file. It must take all of it and exit with 0. Put back under a directory, the dump is just a file there.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    dump: Program,
    load: Program,
}

impl Command {
    /// Returns the source called `name`, which must be good as a file name.
    pub fn new(name: impl Into<String>, dump: Program, load: Program) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            let why = format!("{name:?} is not a file name");
            return Err(Error::new("read the name of a dump", Kind::Invalid(why)));
        }
        Ok(Self { name, dump, load })
    }

    fn path(&self) -> PathBuf {
        Path::new("/").join(&self.name)
    }
}

impl Source for Command {
    /// Starts nothing yet: `dump` runs when the backup opens the file.
    fn capture(&self, _scratch: &Path, now: Timestamp) -> Result<Capture> {
        let dump = Dump { program: self.dump.clone(), path: self.path(), was_opened: AtomicBool::new(false) };
        Ok(Capture::new(Lone::streamed(&self.name, now, dump), vec![self.path()]))
    }

    fn landing(&self, to: Option<&Path>) -> Landing {
        Landing::fed(to)
    }

    fn put_back(
        &self,
        restored: &Path,
        to: Option<&Path>,
        _replay: Option<&Replay>,
        _told: &dyn Fn(&str),
    ) -> Result<PutBack> {
        let dump = restored.join(&self.name);
        let opened = File::open(&dump).and_then(|file| Ok((file.metadata()?, file)));
        let (found, file) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::new(at("put back", &dump), Kind::NotInPoint),
            _ => Error::io(at("read", &dump), error),
        })?;
        if !found.is_file() {
            return Err(Error::new(at("put back", &dump), Kind::NotInPoint));
        }
        if to.is_some() {
            return Ok(PutBack { into: vec![dump], bytes: 0, ..PutBack::default() });
        }
        let loaded = self.load.feed(file);
        let bytes = loaded.map_err(|why| Error::new(format!("load {}", self.name), Kind::Program(why)))?;
        Ok(PutBack { into: vec![self.load.name().into()], bytes, ..PutBack::default() })
    }

    fn occupied(&self, to: Option<&Path>) -> Result<Vec<Standing>> {
        match to {
            Some(_) => look([under(to, &self.path()).as_path()]),
            None => Ok(vec![Standing { path: self.load.name().into(), stands: Stands::Unknown }]),
        }
    }
}

struct Dump {
    program: Program,
    path: PathBuf,
    was_opened: AtomicBool,
}

impl Stream for Dump {
    fn open(&self) -> io::Result<Box<dyn Content>> {
        self.was_opened.store(true, Relaxed);
        let running = self.program.start(Stdio::null()).map_err(io::Error::other)?;
        Ok(Box::new(Printed { running }))
    }

    fn waits(&self) -> Option<String> {
        self.program.is_waited_for()
    }

    /// How the program ended was told by its content, where it was read; here is left that it never was.
    fn finish(&self) -> Vec<Unread> {
        let why = format!("{} was not run", self.program.name());
        let unread = Unread { path: self.path.clone(), why };
        if self.was_opened.load(Relaxed) { Vec::new() } else { vec![unread] }
    }
}

/// What a program prints.
struct Printed {
    running: Running,
}

impl Read for Printed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.running.read(buffer).map_err(|error| io::Error::new(error.kind(), self.running.broken(&error)))
    }
}

impl Content for Printed {
    fn unchanged(&mut self, bytes_read: u64) -> io::Result<bool> {
        self.running.end(GRACE).map_err(io::Error::other)?;
        match bytes_read {
            0 => Err(io::Error::other(self.running.say("ended well but printed nothing"))),
            _ => Ok(true),
        }
    }
}

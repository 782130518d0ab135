//! One connection: what a store does, said in SFTP.
//!
//! Every wait for the server is bounded by `stall`, and many small requests are under way at once, so that a slow line
//! that moves is told from one that is dead.

use super::super::limits::{Failure, Limits};
use super::super::listing::Course;
use super::super::pace::SMALL;
use super::super::tempo::Tempo;
use super::super::{Listed, is_name, temporary};
use super::connect::Ssh;
use crate::budget::too_long;
use crate::{FileKind, Kind};
use futures_util::{Stream, StreamExt, stream};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{File, FileAttributes, OpenFlags, Packet, StatusCode};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::pin::pin;
use tokio::time::timeout;

/// What every server takes in one piece.
const PIECE: u32 = 32 << 10;

/// How many pieces are under way: 2 MiB, enough for 20 MB/s over 100 ms.
const PIECES_MAX: usize = 64;

/// What a name in a listing counts for, in bytes.
const ENTRY: u64 = 100;

/// How many folders are worked on at once.
const FOLDERS_MAX: usize = 16;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

/// A flag in what `statvfs` answers.
const READ_ONLY: u64 = 1;

/// A connection.
pub(super) struct Session {
    raw: RawSftpSession,
    ssh: Ssh,
    extensions: HashMap<String, String>,
    limits: Limits,
    tempo: Tempo,
}

impl Session {
    pub(super) fn new(
        raw: RawSftpSession,
        ssh: Ssh,
        extensions: HashMap<String, String>,
        limits: &Limits,
        tempo: &Tempo,
    ) -> Self {
        Self { raw, ssh, extensions, limits: limits.clone(), tempo: tempo.clone() }
    }

    /// Returns why the connection was lost: what ssh says about it, or else `what`.
    pub(super) async fn last_words(&mut self, what: String) -> String {
        self.ssh.last_words().await.unwrap_or(what)
    }

    /// Returns whether there is a file or folder at `path`.
    pub(super) async fn exists(&self, path: &str) -> Result<bool, Failure> {
        match self.asked(self.raw.stat(path)).await {
            Ok(_) => Ok(true),
            Err(Failure::Final(Kind::NotFound)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the size of the file.
    pub(super) async fn size(&self, path: &str) -> Result<u64, Failure> {
        let attributes = self.asked(self.raw.stat(path)).await?.attrs;
        attributes.size.ok_or_else(|| odd("the server doesn't tell sizes"))
    }

    /// Returns when the file was written, in seconds by the server's clock, if it tells.
    pub(super) async fn written(&self, path: &str) -> Result<Option<u32>, Failure> {
        Ok(self.asked(self.raw.stat(path)).await?.attrs.mtime)
    }

    /// Returns the range of the file, or all of it unless that is longer than any of its kind.
    pub(super) async fn read(
        &self,
        path: &str,
        range: Option<Range<u64>>,
        kind: FileKind,
    ) -> Result<Vec<u8>, Failure> {
        let handle = self.asked(self.raw.open(path, OpenFlags::READ, FileAttributes::empty())).await?.handle;
        let read = self.read_open(&handle, range, kind).await;
        // A session that is lost, or about to be dropped, needs no closing of its files.
        if !matches!(read, Err(Failure::Passing(_) | Failure::Slow(_))) {
            self.asked(self.raw.close(handle)).await?;
        }
        read
    }

    /// Writes `bytes` under `path` in `folder`, and removes what killed writers left there if `tidy` says so.
    pub(super) async fn write(
        &self,
        folder: &str,
        path: &str,
        bytes: &[u8],
        tidy: bool,
    ) -> Result<(), Failure> {
        let temporary = self.temporary(folder)?;
        let handle = match self.create(&temporary).await {
            Err(Failure::Final(kind)) => {
                return Err(Failure::Final(self.reason(kind, folder, bytes.len() as u64).await));
            }
            other => other?,
        };
        let written = self.write_open(&handle, bytes).await;
        let closed = match &written {
            Err(Failure::Passing(_)) => return written,
            _ => self.within(self.raw.close(handle)).await.map(drop),
        };
        if tidy {
            // What fails here is in nobody's way and tried again.
            let _ = self.tidy(folder, &temporary).await;
        }
        let done = match written.and(closed) {
            Ok(()) => self.rename(&temporary, path, bytes.len() as u64).await,
            failed => failed,
        };
        match done {
            Err(Failure::Final(kind)) => {
                let kind = self.reason(kind, folder, bytes.len() as u64).await;
                let _ = self.remove(&temporary).await;
                Err(Failure::Final(kind))
            }
            done => done,
        }
    }

    /// Writes a file into `folder` and removes it, to see whether that works.
    pub(super) async fn try_writing(&self, folder: &str) -> Result<(), Failure> {
        let temporary = self.temporary(folder)?;
        let handle = self.create(&temporary).await?;
        self.within(self.raw.close(handle)).await?;
        let _ = self.tidy(folder, &temporary).await;
        self.remove(&temporary).await
    }

    /// Removes the file.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.within(self.raw.remove(path)).await.map(drop)
    }

    /// Returns the files of a repository that lie in `folder`.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Listed>, Failure> {
        let mut found = Vec::new();
        for File { filename: name, attrs, .. } in self.entries(folder).await? {
            if !is_name(&name) || attrs.is_dir() {
                continue;
            }
            match attrs.size {
                Some(size) if attrs.is_regular() => found.push(Listed { name, size }),
                // A link, or a server that tells less: look at what is behind the name.
                _ => match self.size(&format!("{folder}/{name}")).await {
                    Ok(size) => found.push(Listed { name, size }),
                    Err(Failure::Final(Kind::NotFound)) => {}
                    Err(failure) => return Err(failure),
                },
            }
        }
        Ok(found)
    }

    /// Returns the files of a repository that lie in the folders `00` to `ff` of `folder`.
    pub(super) async fn list_below(&self, folder: &str) -> Result<Vec<Listed>, Failure> {
        let entries = self.entries(folder).await?;
        let names = entries.into_iter().map(|entry| entry.filename);
        let names = names
            .filter(|name| name.len() == 2 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        let listings = stream::iter(names).map(|name| async move {
            self.list(&format!("{folder}/{name}")).await.map_err(|failure| match failure {
                Failure::Final(Kind::NotFound) => {
                    Failure::Final(Kind::Damaged(format!("data/{name} went away while it was listed")))
                }
                other => other,
            })
        });
        let mut listings = pin!(listings.buffer_unordered(FOLDERS_MAX));
        let mut found = Vec::new();
        while let Some(listed) = listings.next().await {
            found.append(&mut listed?);
        }
        Ok(found)
    }

    /// Makes the folder; one that is there already is fine.
    pub(super) async fn make_folder(&self, path: &str) -> Result<(), Failure> {
        let attributes = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
        match self.within(self.raw.mkdir(path, attributes)).await {
            Ok(_) => Ok(()),
            // The protocol has no word for "exists already".
            Err(Failure::Final(kind)) => match self.within(self.raw.stat(path)).await {
                Ok(found) if found.attrs.is_dir() => Ok(()),
                _ => Err(Failure::Final(kind)),
            },
            Err(failure) => Err(failure),
        }
    }

    /// Makes the folder and those above it that are missing. Where it is there, those above may be none of our business: a server
    /// may not even let us look at them.
    pub(super) async fn make_folders(&self, path: &str) -> Result<(), Failure> {
        let ends = path.char_indices().filter(|(at, c)| *c == '/' && *at > 0).map(|(at, _)| at);
        let mut missing = Vec::new();
        for end in ends.chain([path.len()]).collect::<Vec<_>>().into_iter().rev() {
            let folder = path.get(..end).unwrap_or(path);
            match self.exists(folder).await {
                Ok(false) => missing.push(folder),
                // What is not shown may be there all the same: whether it is shows when the next one is made.
                Ok(true) | Err(Failure::Final(_)) => break,
                Err(failure) => return Err(failure),
            }
        }
        for folder in missing.into_iter().rev() {
            self.make_folder(folder).await?;
        }
        Ok(())
    }

    /// Makes the folders, in no particular order.
    pub(super) async fn make_all(&self, paths: Vec<String>) -> Result<(), Failure> {
        let made = stream::iter(paths).map(|path| async move { self.make_folder(&path).await });
        let mut made = pin!(made.buffer_unordered(FOLDERS_MAX));
        while let Some(one) = made.next().await {
            one?;
        }
        Ok(())
    }

    async fn read_open(
        &self,
        handle: &str,
        range: Option<Range<u64>>,
        kind: FileKind,
    ) -> Result<Vec<u8>, Failure> {
        let size = self.asked(self.raw.fstat(handle)).await?.attrs.size;
        let size = size.ok_or_else(|| odd("the server doesn't tell sizes"))?;
        if range.is_none() && size > kind.length_max() {
            return Err(Failure::Final(too_long(kind, size)));
        }
        let range = range.unwrap_or(0..size);
        let short = || Failure::Final(Kind::Damaged(format!("it ends before byte {}", range.end)));
        if range.end > size {
            return Err(short());
        }
        let length = range.end.checked_sub(range.start).ok_or_else(short)?;
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| short())?];
        {
            let pieces = bytes.chunks_mut(PIECE as usize).zip((range.start..).step_by(PIECE as usize));
            let reads = stream::iter(pieces).map(|(piece, at)| self.read_piece(handle, at, piece));
            let mut reads = pin!(reads.buffer_unordered(PIECES_MAX));
            while let Some(whole) = self.tempo.wait(self.limits.stall(), reads.next()).await? {
                if !whole? {
                    return Err(short());
                }
                self.tempo.came(PIECE.into());
            }
        }
        Ok(bytes)
    }

    // Returns whether the piece could be filled: a server may answer with less than it was asked for.
    async fn read_piece(&self, handle: &str, mut at: u64, mut piece: &mut [u8]) -> Result<bool, Failure> {
        while !piece.is_empty() {
            let wanted = u32::try_from(piece.len()).unwrap_or(PIECE);
            let data = match self.raw.read(handle, at, wanted).await {
                Ok(answer) => answer.data,
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => return Ok(false),
                Err(error) => return Err(failure(error)),
            };
            let Some((filled, rest)) = piece.split_at_mut_checked(data.len()) else {
                return Err(Failure::Passing("the server sends more than it was asked for".into()));
            };
            if filled.is_empty() {
                return Ok(false);
            }
            filled.copy_from_slice(&data);
            at += data.len() as u64;
            piece = rest;
        }
        Ok(true)
    }

    async fn write_open(&self, handle: &str, bytes: &[u8]) -> Result<(), Failure> {
        let pace = self.limits.pace.as_ref().filter(|_| bytes.len() >= SMALL);
        let length = pace.map_or(PIECE as usize, |pace| pace.piece().min(PIECE as usize));
        let pieces = bytes.chunks(length).zip((0u64..).step_by(length));
        // One turn at a time for each file: who booked many would keep the others waiting until they look dead.
        let pieces = stream::iter(pieces).then(move |(piece, at)| async move {
            if let Some(pace) = pace {
                pace.turn(piece.len()).await;
            }
            (piece, at)
        });
        let writes = pieces.map(|(piece, at)| self.raw.write(handle, at, piece.to_vec()));
        let mut writes = pin!(writes.buffer_unordered(PIECES_MAX));
        while let Some(written) = self.progress(&mut writes).await? {
            written.map_err(failure)?;
        }
        if self.extensions.contains_key(FSYNC) {
            self.within(self.raw.fsync(handle)).await?;
        }
        Ok(())
    }

    async fn create(&self, path: &str) -> Result<String, Failure> {
        let attributes = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        Ok(self.within(self.raw.open(path, flags, attributes)).await?.handle)
    }

    fn temporary(&self, folder: &str) -> Result<String, Failure> {
        let name = temporary::name().map_err(|error| Failure::Final(Kind::Io(error)))?;
        Ok(format!("{folder}/{name}"))
    }

    async fn rename(&self, from: &str, to: &str, size: u64) -> Result<(), Failure> {
        if self.extensions.contains_key(POSIX_RENAME) {
            return match self.within(self.raw.extended(POSIX_RENAME, strings(&[from, to]))).await? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(failure(SftpError::Status(status))),
                _ => Err(odd("the server answers a rename with something else")),
            };
        }
        // The plain rename never replaces anything.
        match self.within(self.raw.rename(from, to)).await {
            Ok(_) => Ok(()),
            Err(Failure::Final(kind)) => match self.size(to).await {
                Ok(there) if there == size => self.remove(from).await,
                Ok(_) => {
                    self.remove(to).await?;
                    self.within(self.raw.rename(from, to)).await.map(drop)
                }
                Err(_) => Err(Failure::Final(kind)),
            },
            Err(failure) => Err(failure),
        }
    }

    // The protocol has one word, "failure", for a full disk, a read-only one, and the rest: the disk itself tells.
    async fn reason(&self, kind: Kind, folder: &str, bytes: u64) -> Kind {
        if !matches!(kind, Kind::Io(_)) || !self.extensions.contains_key(STATVFS) {
            return kind;
        }
        match self.within(self.raw.statvfs(folder)).await {
            Ok(disk) if disk.flags & READ_ONLY != 0 => {
                Kind::Refused("the server's file system is read-only".into())
            }
            Ok(disk) if disk.blocks_avail.saturating_mul(disk.fragment_size) < bytes => Kind::Full,
            Ok(disk) if disk.inodes > 0 && disk.inodes_avail == 0 => Kind::Full,
            _ => kind,
        }
    }

    async fn tidy(&self, folder: &str, fresh: &str) -> Result<(), Failure> {
        let now = self.within(self.raw.stat(fresh)).await?.attrs.mtime;
        for entry in self.entries(folder).await? {
            let age = now.zip(entry.attrs.mtime).map_or(0, |(now, then)| i64::from(now) - i64::from(then));
            if temporary::is_temporary(entry.filename.as_bytes()) && age > temporary::STALE_SECONDS {
                self.remove(&format!("{folder}/{}", entry.filename)).await?;
            }
        }
        Ok(())
    }

    async fn entries(&self, folder: &str) -> Result<Vec<File>, Failure> {
        let handle = self.asked(self.raw.opendir(folder)).await?.handle;
        let (mut entries, mut course) = (Vec::new(), Course::default());
        loop {
            match self.tempo.wait(self.limits.stall(), self.raw.readdir(handle.as_str())).await? {
                Ok(page) => {
                    // A page of a name or two pays for these alone.
                    self.tempo.came(ENTRY * page.files.len() as u64);
                    entries.extend(page.files.into_iter().filter(|file| course.saw(&file.filename)));
                    course.page().map_err(Failure::Final)?;
                }
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(failure(error)),
            }
        }
        self.tempo.answered();
        self.asked(self.raw.close(handle)).await?;
        Ok(entries)
    }

    /// Waits for an answer that the server gives at its tempo: what is read. Writing has bounds of its own.
    async fn asked<T>(&self, request: impl Future<Output = SftpResult<T>>) -> Result<T, Failure> {
        let answer = self.tempo.wait(self.limits.stall(), request).await?;
        self.tempo.answered();
        answer.map_err(failure)
    }

    async fn within<T>(&self, request: impl Future<Output = SftpResult<T>>) -> Result<T, Failure> {
        match timeout(self.limits.stall(), request).await {
            Ok(answer) => answer.map_err(failure),
            Err(_) => Err(self.silence()),
        }
    }

    async fn progress<S: Stream + Unpin>(&self, stream: &mut S) -> Result<Option<S::Item>, Failure> {
        timeout(self.limits.stall(), stream.next()).await.map_err(|_| self.silence())
    }

    fn silence(&self) -> Failure {
        Failure::Passing(format!("no answer for {} s", self.limits.stall().as_secs_f32()))
    }
}

fn odd(what: &str) -> Failure {
    Failure::Final(Kind::Unsupported(what.to_owned()))
}

fn failure(error: SftpError) -> Failure {
    let SftpError::Status(status) = error else { return Failure::Passing(error.to_string()) };
    Failure::Final(match status.status_code {
        StatusCode::NoSuchFile => Kind::NotFound,
        StatusCode::PermissionDenied => Kind::Refused(status.error_message),
        StatusCode::NoConnection | StatusCode::ConnectionLost => {
            return Failure::Passing(status.error_message);
        }
        StatusCode::OpUnsupported => Kind::Unsupported(status.error_message),
        _ => Kind::Io(io::Error::other(format!("the server says: {}", status.error_message))),
    })
}

// Texts as the protocol packs them: length, then bytes.
fn strings(texts: &[&str]) -> Vec<u8> {
    let mut packed = Vec::new();
    for text in texts {
        packed.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        packed.extend(text.as_bytes());
    }
    packed
}

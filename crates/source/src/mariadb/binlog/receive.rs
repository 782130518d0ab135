//! Receives the binary log of a running server as it is written, through `mariadb-binlog`, which gets it as a replica does.
//!
//! It comes as the server's own files into a folder of this process, from where it goes into the spool in pieces. A file counts as finished once the
//! server was seen to go on to the next: so whatever is not known to follow is never taken for what follows.

use super::piece::{PARTIAL, PIECE_BYTES, Piece, Place, number};
use super::replay::newest;
use super::sound::{FLAG_AT, Walk, without_flag};
use super::{Position, check, created, end_and_resets};
use crate::error::at;
use crate::mariadb::client::Client;
use crate::program::Running;
use crate::spool::Spool;
use crate::{Error, Kind, Receiver, Result};
use process::{Life, Process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What we call ourselves among the server's replicas. Two of one number drive each other out: one server, one agent.
const SERVER_ID: u32 = 1_919_252_345;
const INCOMING: &str = "incoming-";
/// What the server says of a file that it can't read to its end: its machine lost power, or its disk is failing.
const UNREADABLE: [&str; 4] = [
    "binlog truncated in the middle of event",
    "bogus data in log event",
    "log event entry exceeded max_allowed_packet",
    "did not pass crc check",
];
/// How a log gets on behind what nobody can read.
const WAY_ON: &str = "what was committed behind that can't be had from its log: FLUSH BINARY LOGS (on that server), and then a new point (releve backup), get on behind it";
const ANEW: &str = "the server has begun its binary log anew";
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// For how many more pieces there must be room where they wait; shorter ones, where the server's files are shorter.
const ROOM_PIECES: u64 = 4;

/// A running `mariadb-binlog`.
pub(in crate::mariadb) struct Stream {
    client: Client,
    running: Running,
    incoming: Incoming,
    spool: PathBuf,
    /// From here on the spool gets it.
    known: Place,
    /// For each file its place in order.
    orders: BTreeMap<u64, u32>,
    /// How many pieces of each file are in the spool, whole.
    pieces: BTreeMap<u64, u32>,
    /// What the server said when it was made sure that this is its log.
    resets: String,
    /// Up to which file and byte all was there when it was asked last.
    reached: (Option<u64>, u64),
    /// How far each file that comes is what the server wrote.
    walks: BTreeMap<u64, Walk>,
    /// The file that it was begun with.
    started: u64,
    /// Files that the server itself can't read to their end.
    torn: BTreeSet<u64>,
    /// How much room it leaves on the disk of the spool, in bytes.
    room: u64,
}

/// The folder of this process in the spool, gone with its owner.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file that comes.
struct Coming {
    name: String,
    number: u64,
    created: u32,
    path: PathBuf,
    bytes: u64,
}

impl Stream {
    /// Begins where the spool ends, or else at `held`, the name of the newest piece that the vaults hold or a position. Where the server has that no
    /// more, or has begun its log anew, it begins with the oldest that there is.
    pub(in crate::mariadb) fn begin(client: Client, spool: &Path, held: Option<&str>) -> Result<Self> {
        check(&client)?;
        let listed = listed(&client)?;
        let mut known = candidates(spool)?;
        if known.is_empty() {
            known.extend(held.and_then(Known::read));
        }
        let (oldest, newest) = match (listed.first(), listed.last()) {
            (Some(oldest), Some(newest)) => (oldest, newest),
            _ => return Err(super::no_log(&client)),
        };
        let start = match follow(&client, &listed, &known)? {
            Some(start) => start,
            // Before the first point there is nothing to roll forward.
            None if known.is_empty() => (newest.clone(), first_piece(&client, newest, 0)?),
            None => {
                // What is no continuation comes behind all that there is.
                let last = known.iter().map(|known| known.place.order).max().unwrap_or(0);
                (oldest.clone(), first_piece(&client, oldest, last.saturating_add(1))?)
            }
        };
        let room = room(&client)?;
        let begun = Self::start(client, spool, start, room)?;
        // What a killed one has left there is gone by now.
        begun.has_room()?;
        Ok(begun)
    }

    /// Begins at the newest piece in the folder `held`, from where on the spool may have let go of some, or else where the spool ends; `None` where the
    /// server can't go on from there.
    pub(in crate::mariadb) fn resume(client: Client, spool: &Path, held: &Path) -> Result<Option<Self>> {
        let mut known: Vec<Known> = newest(held)?.iter().map(Known::of).collect();
        known.extend(candidates(spool)?);
        let start = follow(&client, &listed(&client)?, &known)?;
        // What is needed at once needs no room for more.
        start.map(|start| Self::start(client, spool, start, 0)).transpose()
    }

    /// Returns the first of these, names of pieces and positions, from which the server's log goes on.
    pub(in crate::mariadb) fn goes_on<'k>(
        client: &Client,
        known: &'k [String],
    ) -> Result<Option<&'k String>> {
        let listed = listed(client)?;
        for text in known {
            let piece = Known::read(text.split('@').next().unwrap_or(text));
            if let Some(piece) = piece
                && follow(client, &listed, &[piece])?.is_some()
            {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    fn start(client: Client, spool: &Path, (file, known): (String, Place), room: u64) -> Result<Self> {
        let incoming = Incoming::make(spool)?;
        let running = run(&client, &incoming, file)?;
        let orders = BTreeMap::from([(known.number, known.order)]);
        let (spool, pieces) = (spool.to_owned(), BTreeMap::new());
        let (resets, reached) = (String::new(), (None, 0));
        let (walks, torn, started) = (BTreeMap::new(), BTreeSet::new(), known.number);
        Ok(Self {
            client,
            running,
            incoming,
            spool,
            known,
            orders,
            pieces,
            resets,
            reached,
            walks,
            started,
            torn,
            room,
        })
    }

    /// Makes sure that what is received leaves room for what carries it away.
    fn has_room(&self) -> Result<()> {
        let spool = Spool {
            path: &self.spool,
            bytes: self.room,
            room: format!("{} MB more of binary log", self.room.div_ceil(1 << 20)),
            meanwhile: "it is on the server alone, which keeps it no longer than expire_logs_days (binlog_expire_logs_seconds) says",
            waits: &|name| Piece::parse(name).is_some(),
        };
        spool.has_room("receive the binary log")
    }

    /// Returns whether what comes is of the log that the server keeps now, the newest file of which is this; `None` where nothing of that has come. From
    /// one that was thrown away the server goes on to read, and only nothing more comes.
    fn is_of(&self, file: &str) -> Result<Option<bool>> {
        match self.coming()?.pop() {
            None => Ok(None),
            Some(newest) if Some(newest.number) < number(file) => Ok(None),
            Some(newest) => Ok(Some(newest.created == created(&self.client, &newest.name)?)),
        }
    }

    /// Returns the files that have begun to come, in order.
    fn coming(&self) -> Result<Vec<Coming>> {
        let wrong = |error| Error::io(at("read", &self.incoming.0), error);
        let mut coming = Vec::new();
        for entry in fs::read_dir(&self.incoming.0).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let Some(number) = number(&name) else { continue };
            let mut file = File::open(&path).map_err(wrong)?;
            let bytes = file.metadata().map_err(wrong)?.len();
            let mut head = [0; 8];
            if bytes < head.len() as u64 {
                continue;
            }
            file.read_exact(&mut head).map_err(wrong)?;
            let [_, _, _, _, a, b, c, d] = head;
            coming.push(Coming { name, number, created: u32::from_le_bytes([a, b, c, d]), path, bytes });
        }
        coming.sort_by_key(|file| file.number);
        Ok(coming)
    }

    /// Puts into the spool what has come; of the newest file no more than `end` says.
    fn publish(&mut self, end: Option<&Position>) -> Result<()> {
        let coming = self.coming()?;
        for file in &coming {
            let before = self.orders.range(..file.number).next_back().map_or(0, |(_, order)| *order);
            self.orders.entry(file.number).or_insert(before.max(file.created));
        }
        // From the newest on: a file is finished only in a spool that has what follows.
        for (nth, file) in coming.iter().rev().enumerate() {
            let is_newest = nth == 0;
            let place = at("keep the log in", &self.spool);
            let wrong = |error| Error::io(place.clone(), error);
            let walk = self.walks.entry(file.number).or_default();
            let walked = File::open(&file.path).and_then(|mut from| walk.on(&mut from, file.bytes));
            walked.map_err(wrong)?;
            let whole = walk.end;
            let bytes = match end {
                Some(end) if is_newest && end.file == file.name => end.offset.min(whole),
                _ => whole,
            };
            // One that is torn stays as it is: nobody is told that the next follows on it.
            let is_finished = !is_newest && whole == file.bytes && !self.torn.contains(&file.number);
            self.publish_file(file, bytes, is_finished, !is_newest).map_err(wrong)?;
        }
        Ok(())
    }

    fn publish_file(
        &mut self,
        file: &Coming,
        bytes: u64,
        is_finished: bool,
        is_over: bool,
    ) -> io::Result<()> {
        let mut from = File::open(&file.path)?;
        let order = self.orders.get(&file.number).copied().unwrap_or(file.created);
        let mut next = self.pieces.get(&file.number).copied().unwrap_or(0);
        loop {
            let begin = u64::from(next) * PIECE_BYTES;
            let length = bytes.saturating_sub(begin).min(PIECE_BYTES);
            let place = Place { order, number: file.number, piece: next };
            let is_whole = length == PIECE_BYTES || is_finished;
            if place >= self.known {
                let piece = Piece { file: file.name.clone(), created: file.created, place, is_whole };
                write_piece(&self.spool, &mut from, (begin, length), &piece)?;
            }
            if length < PIECE_BYTES {
                break;
            }
            next += 1;
            self.pieces.insert(file.number, next);
        }
        if is_over {
            fs::remove_file(&file.path)?;
        }
        Ok(())
    }

    /// Says what is wrong with the file that the server writes into, as far as that has come.
    fn damage(&self, wanted: &Position) -> Option<String> {
        let walk = number(&wanted.file).and_then(|number| self.walks.get(&number))?;
        let is_so = walk.is_wrong && walk.end < wanted.offset;
        is_so.then(|| {
            format!("what the server's file {} has behind {} is damaged: {WAY_ON}", wanted.file, walk.end)
        })
    }

    /// Goes on behind a file that the server can't read to its end, as it says, with the next that it has. Returns whether there is one.
    fn skip(&mut self, why: &str) -> Result<bool> {
        if !UNREADABLE.iter().any(|said| why.contains(said)) {
            return Ok(false);
        }
        let torn = self.coming()?.pop().map_or(self.started, |newest| newest.number.max(self.started));
        self.torn.insert(torn);
        let next = listed(&self.client)?.into_iter().find(|file| number(file).is_some_and(|it| it > torn));
        let Some(next) = next else { return Ok(false) };
        self.started = number(&next).unwrap_or(torn);
        self.running = run(&self.client, &self.incoming, next)?;
        Ok(true)
    }

    fn is_received(&mut self, until: Instant) -> Result<bool> {
        let (wanted, resets) = end_and_resets(&self.client)?;
        let place = (number(&wanted.file), wanted.offset);
        let is_known = resets == self.resets;
        let is_ours = if is_known { Some(true) } else { self.is_of(&wanted.file)? };
        if is_ours == Some(false) || place < self.reached {
            return Err(broken(&self.client, ANEW));
        }
        if is_ours.is_some() {
            self.resets = resets;
        }
        loop {
            let mut coming = self.coming()?;
            let (newest, is_several) = (coming.pop(), !coming.is_empty());
            let is_there = newest.is_some_and(|newest| (Some(newest.number), newest.bytes) >= place);
            if let Some(why) = self.running.over() {
                if self.skip(&why)? {
                    continue;
                }
                let way = if self.torn.is_empty() { String::new() } else { format!("; {WAY_ON}") };
                return Err(broken(&self.client, &format!("{why}{way}")));
            }
            if is_there {
                self.publish(Some(&wanted))?;
                if let Some(why) = self.damage(&wanted) {
                    return Err(broken(&self.client, &why));
                }
                self.reached = place;
                return Ok(true);
            }
            if Instant::now() > until {
                self.publish(None)?;
                return match is_ours {
                    Some(_) => Ok(false),
                    None => Err(broken(&self.client, "nothing of its newest file comes")),
                };
            }
            // Files that are finished wait for the vaults, and not for the last of them to come: a long log may be more than the disk takes.
            if is_several {
                self.publish(None)?;
            }
            self.has_room()?;
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Lets `mariadb-binlog` receive from this file on.
fn run(client: &Client, incoming: &Incoming, file: String) -> Result<Running> {
    let options = [
        "--read-from-remote-server".to_owned(),
        "--raw".to_owned(),
        "--stop-never".to_owned(),
        format!("--stop-never-slave-server-id={SERVER_ID}"),
        format!("--result-file={}/", incoming.0.display()),
        // The server has named it.
        "--".to_owned(),
        file,
    ];
    // If we die it must not stay: whoever comes after us wants its place.
    let program = client.program("mariadb-binlog", options)?.within(Duration::MAX);
    let program = program.writing(&incoming.0).ending_with_us();
    program.start(Stdio::null()).map_err(|why| broken(client, &why))
}

impl Receiver for Stream {
    fn position(&self) -> Option<String> {
        Some(Place { piece: 0, ..self.known }.position())
    }

    fn catch_up(&mut self, within: Duration) -> Result<bool> {
        self.has_room()?;
        match self.is_received(Instant::now() + within) {
            Err(error) => {
                // What came before the server went is worth as much; where there is no room, it would take the last of it.
                if self.has_room().is_ok() {
                    let _ = self.publish(None);
                }
                Err(error)
            }
            received => received,
        }
    }
}

impl Incoming {
    /// Makes it, and removes those of processes that have gone.
    fn make(spool: &Path) -> Result<Self> {
        let wrong = |error| Error::io(at("tidy", spool), error);
        let us = Process::this();
        for entry in fs::read_dir(spool).map_err(wrong)?.flatten() {
            let name = entry.file_name();
            let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(INCOMING)) else { continue };
            // This process has one at a time. As older versions called it: by its number alone.
            let has_gone = match Process::from_tag(owner, us) {
                Some(owner) => owner == *us || owner.life(us) == Life::Gone,
                None => owner
                    .parse::<u32>()
                    .is_ok_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()),
            };
            if has_gone {
                fs::remove_dir_all(entry.path()).map_err(wrong)?;
            }
        }
        let folder = spool.join(format!("{INCOMING}{}", us.tag()));
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(wrong)?;
        Ok(Self(folder))
    }
}

/// Writes a piece into a spool, whole or not at all, unless that has more of it.
pub(in crate::mariadb) fn write_piece(
    spool: &Path,
    from: &mut File,
    (begin, length): (u64, u64),
    piece: &Piece,
) -> io::Result<()> {
    let path = spool.join(piece.name());
    let there = fs::metadata(&path).map(|meta| meta.len()).ok();
    if there == Some(length) || !piece.is_whole && there.is_some_and(|there| there > length) {
        return Ok(());
    }
    let new = spool.join(format!(".{}.new", piece.name()));
    let mut to = File::create(&new)?;
    from.seek(SeekFrom::Start(begin))?;
    // As a server sends it, wherever it was read.
    let mut first = vec![0; usize::try_from(length.min(FLAG_AT + 1)).unwrap_or_default()];
    let copied = if begin == 0 {
        from.read_exact(&mut first).and_then(|()| {
            without_flag(&mut first, begin);
            to.write_all(&first)?;
            let rest = length - first.len() as u64;
            io::copy(&mut (&mut *from).take(rest), &mut to).map(|bytes| bytes + first.len() as u64)
        })
    } else {
        io::copy(&mut from.take(length), &mut to)
    };
    if !matches!(copied, Ok(bytes) if bytes == length) {
        // It would take the room of what can go on.
        let _ = fs::remove_file(&new);
        return Err(copied.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    }
    if piece.is_whole {
        to.sync_all()?;
    }
    fs::rename(&new, &path)?;
    if piece.is_whole {
        File::open(spool)?.sync_all()?;
        let _ = fs::remove_file(spool.join(format!("{}{PARTIAL}", piece.name())));
    }
    Ok(())
}

/// Returns how much room receiving leaves, in bytes.
fn room(client: &Client) -> Result<u64> {
    let rows = client.ask_within("SELECT @@GLOBAL.max_binlog_size", super::ASK_WITHIN)?;
    let file = rows.concat().first().and_then(|said| said.parse::<u64>().ok());
    Ok(file.map_or(PIECE_BYTES, |bytes| bytes.min(PIECE_BYTES)).saturating_mul(ROOM_PIECES))
}

/// Returns the server's files, oldest first.
fn listed(client: &Client) -> Result<Vec<String>> {
    let rows = client.ask_within("SHOW BINARY LOGS", super::ASK_WITHIN)?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()).collect())
}

fn first_piece(client: &Client, file: &str, least: u32) -> Result<Place> {
    let number = number(file).ok_or_else(|| super::invalid(client, &format!("{file} has no number")))?;
    Ok(Place { order: created(client, file)?.max(least), number, piece: 0 })
}

/// A piece that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mariadb) struct Known {
    pub(in crate::mariadb) created: u32,
    pub(in crate::mariadb) place: Place,
}

impl Known {
    fn of(piece: &Piece) -> Self {
        Self { created: piece.created, place: piece.place }
    }

    /// Reads the name of a piece, or a position.
    pub(in crate::mariadb) fn read(text: &str) -> Option<Self> {
        let piece = Piece::parse(text);
        let of_position = || Place::parse(text).map(|place| Self { created: place.order, place });
        piece.as_ref().map(Self::of).or_else(of_position)
    }
}

/// Returns where the server goes on from one of these pieces, by its name for the file.
fn follow(client: &Client, listed: &[String], known: &[Known]) -> Result<Option<(String, Place)>> {
    for Known { created: made, place } in known {
        let Some(file) = listed.iter().find(|file| number(file) == Some(place.number)) else { continue };
        if created(client, file)? == *made {
            return Ok(Some((file.clone(), *place)));
        }
    }
    Ok(None)
}

/// Returns the pieces from which the spool can go on, best first: of the newest history those files that aren't finished, the earliest first, and the newest.
fn candidates(spool: &Path) -> Result<Vec<Known>> {
    let wrong = |error| Error::io(at("read", spool), error);
    let mut files: BTreeMap<(u32, u64), Vec<(Piece, u64)>> = BTreeMap::new();
    for entry in fs::read_dir(spool).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let Some(piece) = entry.file_name().to_str().and_then(Piece::parse) else { continue };
        // One that was just let go of is in every vault.
        let Ok(meta) = entry.metadata() else { continue };
        files.entry((piece.place.order, piece.place.number)).or_default().push((piece, meta.len()));
    }
    // The first piece of a file that something may be added to: one that isn't whole, or that must follow on a full one.
    let open = |pieces: &[(Piece, u64)]| {
        let whole = |place| pieces.iter().any(|(piece, _)| piece.is_whole && piece.place == place);
        let partial = pieces.iter().filter(|(piece, _)| !piece.is_whole).map(|(piece, _)| Known::of(piece));
        let next = pieces.iter().filter(|(piece, bytes)| piece.is_whole && *bytes == PIECE_BYTES).map(
            |(piece, _)| {
                let place = Place { piece: piece.place.piece.saturating_add(1), ..piece.place };
                Known { created: piece.created, place }
            },
        );
        partial.chain(next).filter(|known| !whole(known.place)).min_by_key(|known| known.place)
    };
    let mut newest_first = files.iter().rev();
    let Some((_, newest)) = newest_first.next() else { return Ok(Vec::new()) };
    let last = newest.iter().map(|(piece, _)| Known::of(piece)).max_by_key(|known| known.place);
    let newest = open(newest).or(last);
    let mut candidates: Vec<Known> = newest.into_iter().collect();
    let mut number = newest.map_or(0, |newest| newest.place.number);
    for ((_, before), pieces) in newest_first {
        // Numbers that begin anew are another history's.
        if *before >= number {
            break;
        }
        number = *before;
        // Files that came after it may be whole all the same, since they are put there from the newest on, and may have been let go of since. The server
        // may have thrown it away: then the next is tried.
        candidates.extend(open(pieces));
    }
    candidates.sort_by_key(|known| known.place);
    Ok(candidates)
}

fn broken(client: &Client, why: &str) -> Error {
    match client.wrong(why) {
        Error { place, kind: kind @ Kind::Server { .. } } => {
            Error::new(format!("receive the log of {place}"), kind)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where a spool with these pieces goes on: number of the file, and piece.
    fn goes_on(names: &[&str]) -> Vec<(u64, u32)> {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), "x").unwrap());
        let found = candidates(folder.path()).unwrap();
        found.iter().map(|known| (known.place.number, known.place.piece)).collect()
    }

    #[test]
    fn it_goes_on_from_the_earliest_file_that_is_not_finished_and_follows_on_the_next() {
        assert_eq!(goes_on(&[]), []);
        let first = "b.000003.00000064.00000064.0002";
        let second = "b.000004.00000065.00000065";
        assert_eq!(goes_on(&[first, &format!("{second}.0001.partial"), &format!("{second}.0000")]), [(4, 1)]);
        // Killed between the two.
        let partial = |name: &str| format!("{name}.partial");
        assert_eq!(goes_on(&[&partial(first), &format!("{second}.0000.partial")]), [(3, 2), (4, 0)]);
        // Killed among several.
        let third = "b.000005.00000066.00000066";
        let among = [&partial(first), &format!("{second}.0000"), &format!("{third}.0000.partial")];
        assert_eq!(goes_on(&among.map(String::as_str)), [(3, 2), (5, 0)]);
        // And what was whole among them was let go of, since every vault has it.
        let let_go = [&partial(first), &format!("{third}.0000.partial")];
        assert_eq!(goes_on(&let_go.map(String::as_str)), [(3, 2), (5, 0)]);
        // Killed among the pieces of one: what follows on a full one hadn't come.
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join(first)).unwrap().set_len(PIECE_BYTES).unwrap();
        fs::write(folder.path().join(format!("{second}.0000.partial")), "x").unwrap();
        let found = candidates(folder.path()).unwrap();
        let found: Vec<_> = found.iter().map(|known| (known.place.number, known.place.piece)).collect();
        assert_eq!(found, [(3, 3), (4, 0)]);
        // Left from another history.
        assert_eq!(goes_on(&[&partial(first), "b.000001.00000065.00000065.0000.partial"]), [(1, 0)]);
    }
}

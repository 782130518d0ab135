//! Which files had structure before, and are noise now: in place, or gone while noise came under another name.
//!
//! What a file was is mostly known without reading: the index knows how well its blobs compressed, and a name promises a kind. Where
//! that doesn't say, a few beginnings are read back, within bounds, and speak for the others. Nothing that goes wrong here is an error.

use super::kinds::{self, Class};
use super::look::{ALL, Look};
use crate::{BlobId, BlobKind, Repository};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many beginnings are read back, so many bytes, and for so long.
const READS: usize = 64;
const READ_BYTES: u64 = 32 << 20;
const READ_FOR: Duration = Duration::from_secs(5);
/// What was stored in less than this share of its length had structure.
const COMPRESSED: f64 = 0.85;
/// Shorter content compresses too badly to tell.
const RATIO_MIN: u64 = 512;
/// So much more noise than before is a sign in a content whose beginning is what it was, in text and in anything else.
const MORE_IN_TEXT: f64 = 0.15;
const MORE: f64 = 0.35;
/// The beginning of a file may be unlike the rest of it: so many of its blobs are looked at where parts are held against parts.
const PARTS: usize = 3;
/// So many of the largest files are looked at before all others: what holds most of the bytes is not guessed.
const LARGEST: usize = 8;
/// The length of so large a file is hardly another's by chance.
const LARGE: u64 = 1 << 20;
/// Encryption makes a file longer by no more than this, and each by the same.
const LONGER: u64 = 4096;
/// So many files of like lengths are no chance, and so many times what chance makes of the pairs that are compared.
const LIKE: usize = 3;
const BEYOND_CHANCE: usize = 4;
/// Pairs of lengths that are compared.
const PAIRS: usize = 2_000_000;
/// At least so many files gone, and so large a share of what changed, with as much noise in their place.
const MASS: usize = 20;

/// A file whose content is another, and looks like noise.
pub(super) struct Suspect {
    pub(super) name: Vec<u8>,
    /// The first blobs of what it was.
    pub(super) before: Vec<BlobId>,
    pub(super) size_before: u64,
    pub(super) size: u64,
    /// Nothing of what it was is in it.
    pub(super) all_new: bool,
    /// Its length and its time of change are what they were.
    pub(super) veiled: bool,
    pub(super) look: Look,
}

/// A new file that looks like noise.
pub(super) struct News {
    pub(super) folder: u64,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    /// It begins as noise, or says that it is sealed.
    pub(super) is_head: bool,
    /// It is noise that is written as text, or is sealed as such.
    pub(super) is_text: bool,
    /// The share of it that is noise.
    pub(super) noise: f64,
}

/// A file that is gone.
pub(super) struct Gone {
    pub(super) folder: u64,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) key: u64,
    pub(super) content: Vec<BlobId>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) types: u64,
    /// Of those that are veiled, how many were noise of no kind before as well: containers of encrypted disks, whose programs keep the times.
    pub(super) containers: u64,
}

/// What is seen of one file.
#[derive(Clone, Copy)]
struct Seen {
    is_scrambled: bool,
    has_lost_its_kind: bool,
    /// It was noise before, and is now.
    was_noise: bool,
}

impl Seen {
    const fn new(is_scrambled: bool, has_lost_its_kind: bool) -> Self {
        Self { is_scrambled, has_lost_its_kind, was_noise: false }
    }
}

/// Looks for them. `touched` is how many files changed or went in all.
pub(super) fn find(
    suspects: Vec<Suspect>,
    news: Vec<News>,
    gone: Vec<Gone>,
    vaults: &[Arc<Repository>],
    touched: u64,
) -> Found {
    let mut past = Past { vaults, reads: READS, bytes: READ_BYTES, until: Instant::now() + READ_FOR };
    let mut found = Found::default();
    let suspects = spread(suspects, |suspect| suspect.size);
    let looked: Vec<_> =
        suspects.map(|suspect| (suspect.veiled, suspect.size, in_place(&suspect, &mut past))).collect();
    found.containers = containers(looked.iter().filter(|one| one.0).map(|(.., seen)| seen.as_ref()));
    found.add(looked.into_iter().map(|(_, size, seen)| (size, seen)).collect());
    let pairs = pair(news, gone, touched);
    let pairs = spread(pairs, |(_, new)| new.size);
    let looked: Vec<_> = pairs.map(|(gone, new)| (new.size, replaced(&gone, &new, &mut past))).collect();
    found.add(looked);
    found
}

/// Returns how many were noise before; what nobody could look into is as the others are.
fn containers<'a>(looked: impl Iterator<Item = Option<&'a (Seen, bool)>>) -> u64 {
    let (mut read, mut noise, mut unknown) = (0u64, 0u64, 0u64);
    for seen in looked {
        match seen {
            None => unknown += 1,
            Some((seen, was_read)) => {
                read += u64::from(*was_read);
                noise += u64::from(seen.was_noise);
            }
        }
    }
    noise + unknown * noise / read.max(1)
}

/// Yields all, but such that the largest come first, and behind them some from everywhere.
fn spread<T>(mut all: Vec<T>, size: impl Fn(&T) -> u64) -> impl Iterator<Item = T> {
    let mut largest = Vec::new();
    for _ in 0..LARGEST {
        let large = all.iter().map(&size).enumerate().filter(|(_, size)| *size >= LARGE);
        let Some((at, _)) = large.max_by_key(|(_, size)| *size) else { break };
        largest.push(all.remove(at));
    }
    let stride = (all.len() / READS).max(1);
    let mut lanes: Vec<Vec<T>> = std::iter::repeat_with(Vec::new).take(stride).collect();
    for (at, one) in all.into_iter().enumerate() {
        if let Some(lane) = lanes.get_mut(at % stride) {
            lane.push(one);
        }
    }
    largest.into_iter().chain(lanes.into_iter().flatten())
}

impl Found {
    /// Adds what was seen of each; what nobody could look into is as the others are, on average.
    fn add(&mut self, looked: Vec<(u64, Option<(Seen, bool)>)>) {
        let (mut read, mut scrambled, mut types) = (0u64, 0u64, 0u64);
        let mut unknown = (0u64, 0u64);
        for (size, seen) in looked {
            let Some((seen, was_read)) = seen else {
                unknown = (unknown.0 + 1, unknown.1 + size);
                continue;
            };
            let (is_scrambled, lost) = (u64::from(seen.is_scrambled), u64::from(seen.has_lost_its_kind));
            self.files += is_scrambled;
            self.bytes += is_scrambled * size;
            self.types += lost;
            if was_read {
                (read, scrambled, types) = (read + 1, scrambled + is_scrambled, types + lost);
            }
        }
        if read > 0 {
            let share = |of: u64, part: u64| (of as f64 * part as f64 / read as f64).round() as u64;
            self.files += share(unknown.0, scrambled);
            self.bytes += share(unknown.1, scrambled);
            self.types += share(unknown.0, types);
        }
    }
}

/// Says what became of a file in its place, and whether its beginning was read back for it. `None`: nobody knows.
fn in_place(suspect: &Suspect, past: &mut Past<'_>) -> Option<(Seen, bool)> {
    let promised = kinds::promised(&suspect.name);
    let noise = suspect.look.noise();
    let head = suspect.look.head?;
    if suspect.look.is_lettered() {
        let Some(was) = past.look(&suspect.before, 1) else {
            let has_lost_its_kind = promised.is_some();
            return has_lost_its_kind.then_some((Seen::new(true, has_lost_its_kind), false));
        };
        return Some((became_letters(&was), true));
    }
    if suspect.size_before >= LARGE && past.look(&suspect.before, 1).is_some_and(|was| was.is_blank()) {
        // What was to come has come: a download, an encrypted disk.
        return Some((Seen::new(false, false), false));
    }
    let is_head = head.is_noise || head.kind.is_some();
    if is_head && noise >= ALL && past.had_structure(&suspect.before, suspect.size_before) {
        return Some((Seen::new(true, promised.is_some()), false));
    }
    if !is_head && !head.is_text && !suspect.all_new {
        // Something was added to what nobody knows: a database may do that.
        return Some((Seen::new(false, false), false));
    }
    let Some(was) = past.look(&suspect.before, if is_head { 1 } else { PARTS }) else {
        let has_lost_its_kind = is_head && promised.is_some();
        return has_lost_its_kind.then_some((Seen::new(true, has_lost_its_kind), false));
    };
    let had_kind = was.kind();
    let has_lost_its_kind = had_kind.is_some_and(|had| head.kind != Some(had));
    let is_scrambled = match is_head {
        true => has_lost_its_kind || had_kind.is_none() && was.head.is_some_and(|was| was.is_structured),
        false => noise >= was.noise() + if head.is_text { MORE_IN_TEXT } else { MORE },
    };
    let was_noise = match had_kind {
        Some(kind) => kind.class == Class::Sealed && head.kind == had_kind,
        None => is_head && was.head.is_some_and(|was| was.is_noise),
    };
    Some((Seen { is_scrambled, has_lost_its_kind, was_noise: was_noise && !is_scrambled }, true))
}

/// Says what it means that a content is noise now that is written as text. Such text compresses a little: the index says nothing about it, and
/// what was such text before is no other for it, nor what was sealed.
fn became_letters(was: &Look) -> Seen {
    let was_kind = was.kind();
    let was_letters = match was_kind {
        Some(kind) => kind.class == Class::Sealed,
        None => was.head.is_some_and(|head| head.is_lettered),
    };
    let has_lost_its_kind = was_kind.is_some() && !was_letters;
    let is_structured = was.head.is_some_and(|head| head.is_structured);
    Seen::new(has_lost_its_kind || is_structured && !was_letters, has_lost_its_kind)
}

/// Says what was lost with a file in whose place noise came under another name.
fn replaced(gone: &Gone, new: &News, past: &mut Past<'_>) -> Option<(Seen, bool)> {
    let has_lost_its_kind = kinds::promised(&gone.name).is_some();
    if !new.is_head && new.noise < ALL {
        // A log with pictures in it goes, and the next one comes: parts are held against parts.
        let was = past.look(&gone.content, PARTS)?;
        let is_scrambled = new.noise >= was.noise() + MORE;
        return Some((Seen::new(is_scrambled, is_scrambled && has_lost_its_kind), true));
    }
    if has_lost_its_kind || !new.is_text && past.had_structure(&gone.content, gone.size) {
        return Some((Seen::new(true, has_lost_its_kind), false));
    }
    let was = past.look(&gone.content, 1)?;
    if new.is_text {
        return Some((became_letters(&was), true));
    }
    // An archive that was sealed goes, and another comes.
    let has_lost_its_kind = was.kind().is_some_and(|kind| kind.class != Class::Sealed);
    let is_scrambled = has_lost_its_kind || was.head.is_some_and(|head| head.is_structured);
    Some((Seen::new(is_scrambled, has_lost_its_kind), true))
}

/// Finds for what is gone the noise that came in its place, and returns both.
fn pair(news: Vec<News>, gone: Vec<Gone>, touched: u64) -> Vec<(Gone, News)> {
    if news.is_empty() || gone.is_empty() {
        return Vec::new();
    }
    let mut pairs = Vec::new();
    let mut by_name: BTreeMap<(u64, Vec<u8>), Gone> =
        gone.into_iter().map(|gone| ((gone.folder, gone.name.clone()), gone)).collect();
    let mut by_stem: HashMap<(u64, Vec<u8>), Vec<u8>> = HashMap::new();
    for (folder, name) in by_name.keys() {
        by_stem.insert((*folder, stem(name).to_vec()), name.clone());
    }
    let mut left = Vec::new();
    for new in news {
        let name = named_like(&new, &by_name, &by_stem);
        match name.and_then(|name| by_name.remove(&(new.folder, name))) {
            Some(gone) => pairs.push((gone, new)),
            None => left.push(new),
        }
    }
    let gone: Vec<Gone> = by_name.into_values().collect();
    by_length(left, gone, touched, &mut pairs);
    pairs
}

/// Returns the name of what is gone from the same folder that a new name goes back to: `a.doc` for `a.doc.locked`, `a.locked`, `!a.doc`.
fn named_like(
    new: &News,
    gone: &BTreeMap<(u64, Vec<u8>), Gone>,
    by_stem: &HashMap<(u64, Vec<u8>), Vec<u8>>,
) -> Option<Vec<u8>> {
    let there = |name: &[u8]| gone.contains_key(&(new.folder, name.to_vec())).then(|| name.to_vec());
    let dots =
        new.name.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_alphanumeric()).map(|(at, _)| at);
    let dots: Vec<usize> = dots.collect();
    let begins = dots.iter().rev().find_map(|at| there(new.name.get(..*at)?));
    let ends = || dots.iter().find_map(|at| there(new.name.get(at + 1..)?));
    let stemmed = || {
        let name = by_stem.get(&(new.folder, stem(&new.name).to_vec()))?;
        there(name)
    };
    let longer = || {
        let last = gone.range(..=(new.folder, new.name.clone())).next_back()?;
        let (folder, name) = last.0;
        (*folder == new.folder && !name.is_empty() && new.name.starts_with(name)).then(|| name.clone())
    };
    begins.or_else(ends).or_else(stemmed).or_else(longer)
}

/// Returns a name without its ending.
fn stem(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// Pairs what has no like name: by lengths, of large files one by one, of others where each is longer by the same, and where there is very much of
/// it by number alone.
fn by_length(mut news: Vec<News>, mut gone: Vec<Gone>, touched: u64, pairs: &mut Vec<(Gone, News)>) {
    gone.sort_by_key(|gone| gone.size);
    let mut small = Vec::new();
    for new in news {
        let at = gone.partition_point(|gone| gone.size.saturating_add(LONGER) < new.size);
        let is_as_long = |gone: &Gone| gone.size >= LARGE && gone.size <= new.size;
        match new.is_head && new.noise >= ALL && gone.get(at).is_some_and(is_as_long) {
            true => pairs.push((gone.remove(at), new)),
            false => small.push(new),
        }
    }
    news = small;
    if let Some(longer) = usual_difference(&news, &gone) {
        let mut left = Vec::new();
        for new in news {
            let size = |difference: u64| new.size.checked_sub(difference);
            let found = (longer..longer + 32).find_map(|difference| {
                let size = size(difference)?;
                gone.binary_search_by_key(&size, |gone| gone.size).ok()
            });
            match found {
                Some(at) => pairs.push((gone.remove(at), new)),
                None => left.push(new),
            }
        }
        news = left;
    }
    let is_mass = gone.len() >= MASS && gone.len() as u64 * 2 >= touched && news.len() * 2 >= gone.len();
    if is_mass {
        pairs.extend(gone.into_iter().zip(news));
    }
}

/// Returns by how much most new files are longer than some file that is gone, where that can't be chance.
fn usual_difference(news: &[News], gone: &[Gone]) -> Option<u64> {
    let mut votes: HashMap<u64, usize> = HashMap::new();
    let mut compared = 0;
    for new in news.iter().map(|new| new.size) {
        let from = gone.partition_point(|gone| gone.size.saturating_add(LONGER) < new);
        let fitting = gone.iter().skip(from).take_while(|gone| gone.size <= new);
        let mut last = None;
        for gone in fitting {
            compared += 1;
            let difference = (new - gone.size) / 16;
            if last != Some(difference) {
                *votes.entry(difference).or_default() += 1;
            }
            last = Some(difference);
        }
        if compared > PAIRS {
            break;
        }
    }
    // Padding makes it vary within a block: two neighbours count as one.
    let both = |at: &u64| votes.get(at).copied().unwrap_or(0) + votes.get(&(at + 1)).copied().unwrap_or(0);
    let best = votes.keys().max_by_key(|at| (both(at), std::cmp::Reverse(**at)))?;
    // Of differences up to 4096, one in 128 lies within the same two blocks of 16.
    let least = LIKE + BEYOND_CHANCE * compared / 128;
    (both(best) >= least && both(best) * 2 >= news.len()).then_some(best * 16)
}

/// What the vaults know of the point before.
struct Past<'a> {
    vaults: &'a [Arc<Repository>],
    reads: usize,
    bytes: u64,
    until: Instant,
}

impl Past<'_> {
    /// Returns whether the index says that a content compressed.
    fn had_structure(&self, content: &[BlobId], size: u64) -> bool {
        let length = |vault: &Arc<Repository>| {
            let (mut stored, mut plain) = (0, 0);
            for id in content {
                let (one, of) = vault.lengths(BlobKind::Data, id)?;
                (stored, plain) = (stored + one, plain + of);
            }
            Some((stored, plain))
        };
        let lengths = self.vaults.iter().find_map(length);
        size >= RATIO_MIN
            && lengths.is_some_and(|(stored, plain)| (stored as f64) < plain as f64 * COMPRESSED)
    }

    /// Reads the beginning of a content back and looks at it, and at others of its blobs, so many in all; `None` where that would take too long,
    /// or can't be done.
    fn look(&mut self, content: &[BlobId], parts: usize) -> Option<Look> {
        let (first, rest) = content.split_first()?;
        let mut look = self.look_at(first, true)?;
        let step = rest.len().div_ceil(parts.saturating_sub(1).max(1)).max(1);
        for id in rest.iter().rev().step_by(step).take(parts.saturating_sub(1)) {
            look.add(&self.look_at(id, false)?);
        }
        Some(look)
    }

    fn look_at(&mut self, id: &BlobId, is_first: bool) -> Option<Look> {
        if self.reads == 0 || Instant::now() >= self.until {
            return None;
        }
        let length = self.vaults.iter().find_map(|vault| vault.lengths(BlobKind::Data, id))?.1;
        self.bytes = self.bytes.checked_sub(length)?;
        self.reads -= 1;
        let bytes = self.vaults.iter().find_map(|vault| vault.blob(BlobKind::Data, id).ok())?;
        Some(Look::at(&bytes, is_first))
    }
}

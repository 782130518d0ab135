//! What tables without transactions say of themselves in the heads of their index files: a server that has found one damaged marks it there, and a MyISAM table
//! says how long its rows are. All of it comes with the copy, so nobody has to be asked, and no table is touched.
//!
//! Damage that no server has met yet, in the middle of a file that is as long as it should be, is not seen so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vault::Unread;

/// As much of a head as is read.
const HEAD_BYTES: usize = 76;
const MYISAM: [u8; 3] = [0xfe, 0xfe, 0x07];
const ARIA: [u8; 3] = [0xfe, 0xfe, 0x09];
/// `STATE_CRASHED` and `STATE_CRASHED_ON_REPAIR`, in the last byte of a number: MyISAM has it in one byte, Aria in two.
const CRASHED: u8 = 2 | 4;
const MYISAM_STATE_AT: usize = 26;
const ARIA_STATE_AT: usize = 27;
/// How long the file of a MyISAM table's rows is, in eight bytes.
const ROWS_AT: usize = 68;
/// How many tables are named.
const NAMED_MAX: usize = 20;

/// The heads of the index files that have come.
#[derive(Debug, Default)]
pub(super) struct Heads(BTreeMap<PathBuf, Vec<u8>>);

impl Heads {
    /// Takes the next bytes of a file, if they are of a head.
    pub(super) fn take(&mut self, path: &Path, bytes: &[u8]) {
        let is_index = path.extension().is_some_and(|extension| extension == "MYI" || extension == "MAI");
        // What a statement that is under way makes has no name yet.
        if !is_index || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("#sql")) {
            return;
        }
        let head = self.0.entry(path.to_owned()).or_default();
        let room = HEAD_BYTES.saturating_sub(head.len()).min(bytes.len());
        head.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    /// Returns the tables that are damaged, with what is wrong with them. `files` are all that have come, and how long they are; `data` is where they lie.
    pub(super) fn damaged(&self, files: &BTreeMap<PathBuf, u64>, data: &Path) -> Vec<Unread> {
        let found = self.0.iter().filter_map(|(path, head)| {
            let rows = files.get(&path.with_extension("MYD")).copied();
            fault(head, rows).map(|why| (path, why))
        });
        let found: Vec<_> = found.collect();
        let unread = |path: &Path, why: String| Unread { path: Path::new("/").join(data).join(path), why };
        let mut all: Vec<Unread> =
            found.iter().take(NAMED_MAX).map(|(path, why)| unread(path, told(path, why))).collect();
        if let Some(more @ 1..) = found.len().checked_sub(NAMED_MAX) {
            let why = format!("{more} more tables are damaged: mariadb-check --all-databases names them");
            all.push(unread(Path::new(""), why));
        }
        all
    }
}

/// Returns what a head says is wrong with its table, whose rows have so many bytes.
fn fault(head: &[u8], rows: Option<u64>) -> Option<String> {
    let is_marked = |at: usize| head.get(at).is_some_and(|state| state & CRASHED != 0);
    let marked = || Some("its server has marked it as crashed".to_owned());
    if head.starts_with(&ARIA) {
        return if is_marked(ARIA_STATE_AT) { marked() } else { None };
    }
    if !head.starts_with(&MYISAM) {
        return Some("the head of its index file is damaged".to_owned());
    }
    if is_marked(MYISAM_STATE_AT) {
        return marked();
    }
    let said = head.get(ROWS_AT..HEAD_BYTES)?.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let rows = rows.unwrap_or_default();
    (rows < said).then(|| format!("the file of its rows has {rows} bytes, and should have {said}"))
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Says what is wrong with a table, and what to type.
fn told(path: &Path, why: &str) -> String {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let database = part(path.parent().and_then(Path::file_name));
    let name = part(path.file_stem());
    // A partition is a part of its table.
    let name = name.split("#P#").next().unwrap_or_default().to_owned();
    // Signs in names are numbers in those of files.
    let way_out = match database.contains('@') || name.contains('@') {
        true => "REPAIR TABLE".to_owned(),
        false => format!("REPAIR TABLE {}.{}", quoted(&database), quoted(&name)),
    };
    format!(
        "table {database}.{name} is damaged, and so is its copy: {why}. An earlier point may have it whole; {way_out} (with USE_FRM behind it where its index is gone) keeps what can still be read, and may lose rows"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads as MariaDB 10.11 writes them, up to where a state stands, and the length of the rows.
    fn head(start: &str, rows: u64) -> Vec<u8> {
        let pairs: Vec<char> = start.chars().collect();
        let mut head: Vec<u8> = pairs
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect();
        head.resize(ROWS_AT, 0);
        head.extend(rows.to_be_bytes());
        head
    }

    const ISAM: &str = "fefe07010001015b00b0006400c400010000010008010000";
    const ARIA_HEAD: &str = "fefe09030c0001c000d7008700ef00010000010000010303";

    fn of(name: &str, head: &[u8], rows: Option<u64>) -> Vec<Unread> {
        let mut heads = Heads::default();
        // It may come in parts.
        for part in head.chunks(30).chain([&[7; 100][..]]) {
            heads.take(Path::new(name), part);
        }
        let files = rows.map(|rows| (Path::new(name).with_extension("MYD"), rows));
        heads.damaged(&files.into_iter().collect(), Path::new("var/lib/mysql"))
    }

    #[test]
    fn a_table_that_its_server_has_marked_or_whose_rows_are_cut_off_is_named_with_the_way_out() {
        let marked = of("wh/mi.MYI", &head(&format!("{ISAM}00003bff"), 424_000), Some(424_000));
        assert_eq!(marked[0].path, Path::new("/var/lib/mysql/wh/mi.MYI"));
        assert!(marked[0].why.contains("table wh.mi is damaged"), "{marked:?}");
        assert!(marked[0].why.contains("marked it as crashed"), "{marked:?}");
        assert!(marked[0].why.contains("REPAIR TABLE `wh`.`mi`"), "{marked:?}");
        let cut = of("wh/mi#P#p0.MYI", &head(&format!("{ISAM}000010ff"), 424_000), Some(100_000));
        assert!(cut[0].why.contains("has 100000 bytes, and should have 424000"), "{cut:?}");
        assert!(cut[0].why.contains("REPAIR TABLE `wh`.`mi`"), "{cut:?}");
        let gone = of("wh/mi.MYI", &head(&format!("{ISAM}000010ff"), 7), None);
        assert!(gone[0].why.contains("has 0 bytes"), "{gone:?}");
        let aria = of("w@0024/ar.MAI", &head(&format!("{ARIA_HEAD}000001bb"), u64::MAX), None);
        assert!(aria[0].why.contains("marked it as crashed") && aria[0].why.contains("; REPAIR TABLE (with"));
        let zeros = of("wh/mi.MYI", &[0; 76], Some(0));
        assert!(zeros[0].why.contains("the head of its index file is damaged"), "{zeros:?}");
    }

    #[test]
    fn a_sound_table_is_not_named_nor_one_that_is_open_or_being_made() {
        for state in ["000010ff", "000039ff", "000139ff"] {
            // What was written after its head was is no damage.
            for rows in [7, 70] {
                let found = of("wh/mi.MYI", &head(&format!("{ISAM}{state}"), 7), Some(rows));
                assert!(found.is_empty(), "{found:?}");
            }
        }
        for (name, head) in [
            ("mysql/db.MAI", head(&format!("{ARIA_HEAD}000001b9"), u64::MAX)),
            ("wh/#sql-1.MYI", vec![0; 76]),
            ("wh/a.ibd", vec![0; 76]),
        ] {
            let found = of(name, &head, None);
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_thousand_damaged_tables_are_not_a_thousand_lines() {
        let mut heads = Heads::default();
        for n in 0..1000 {
            heads.take(Path::new(&format!("wh/t{n}.MYI")), &[0; 76]);
        }
        let found = heads.damaged(&BTreeMap::new(), Path::new("d"));
        assert_eq!(found.len(), NAMED_MAX + 1);
        assert!(found.last().unwrap().why.starts_with("980 more tables are damaged"), "{found:?}");
    }
}

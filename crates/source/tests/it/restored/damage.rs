//! Damage to what lies in the vaults.

use super::{Pair, damaged, files, overwrite, stored};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use testkit::{Random, tree};
use vault::restore::RestoreReport;

/// What happens to a file of a vault.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Gone,
    Cut,
    /// One bit at this place, of 1,000.
    Flipped(usize),
    /// One bit in the last 40 bytes: in a pack, its header.
    FlippedAtTheEnd,
    Emptied,
    /// Another file's content.
    Exchanged,
}

impl Damage {
    fn strike(self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        let flipped = |at: usize| {
            let mut bytes = bytes.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x10;
            }
            bytes
        };
        match self {
            Self::Gone => fs::remove_file(path).unwrap(),
            Self::Cut => overwrite(path, &bytes[..bytes.len() / 2]),
            Self::Flipped(place) => overwrite(path, &flipped(bytes.len() * place / 1000)),
            Self::FlippedAtTheEnd => overwrite(path, &flipped(bytes.len().saturating_sub(20))),
            Self::Emptied => overwrite(path, b""),
            Self::Exchanged => overwrite(path, &Random::new(9).bytes(bytes.len())),
        }
    }
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Gone),
        Just(Damage::Cut),
        (0..1000usize).prop_map(Damage::Flipped),
        Just(Damage::FlippedAtTheEnd),
        Just(Damage::Emptied),
        Just(Damage::Exchanged),
    ]
}

/// What happens where: the kind of the file, which one of them, what.
fn any_strikes() -> impl Strategy<Value = Vec<(&'static str, prop::sample::Index, Damage)>> {
    let kind = prop_oneof![4 => Just("data"), 1 => Just("index"), 1 => Just("snapshots")];
    proptest::collection::vec((kind, any::<prop::sample::Index>(), any_damage()), 1..6)
}

fn strike(pair: &Pair, vault: &str, strikes: &[(&'static str, prop::sample::Index, Damage)]) {
    for (kind, which, damage) in strikes {
        let there = stored(pair, vault, kind);
        if !there.is_empty() {
            damage.strike(&there[which.index(there.len())]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_tree_comes_back_whole_from_one_whole_vault_whatever_is_wrong_with_the_other(
        seed in any::<u64>(), count in 1..60usize, near in any::<bool>(), strikes in any_strikes(),
    ) {
        let pair = Pair::of(|data| _ = tree::grow(data, seed, count));
        strike(&pair, if near { "near" } else { "far" }, &strikes);
        let report = pair.restore(&pair.both(), &pair.options());
        prop_assert!(report.is_whole(), "{report:?}");
        pair.is_back();
    }

    #[test]
    fn whatever_is_wrong_with_both_vaults_nothing_wrong_is_called_right(
        seed in any::<u64>(), count in 1..60usize, near in any_strikes(), far in any_strikes(),
    ) {
        let pair = Pair::of(|data| _ = tree::grow(data, seed, count));
        strike(&pair, "near", &near);
        strike(&pair, "far", &far);
        // Where the root itself is lost there is nothing to begin with, and that is an error.
        if let Ok(report) = vault::restore::restore(&pair.both(), pair.tree, &pair.options(), &vault::Progress::default()) {
            pair.is_honest(&report);
        }
    }
}

/// One vault alone, of which every file of a kind is struck. Returns the pair and what the restore said.
fn alone(kind: &str, damage: Damage, which: impl Fn(&Path) -> bool) -> (Pair, RestoreReport) {
    let pair = Pair::of(|data| _ = tree::grow(data, 5, 80));
    for path in stored(&pair, "near", kind).into_iter().filter(|path| which(path)) {
        damage.strike(&path);
    }
    let report = pair.restore(&[pair.open("near")], &pair.options());
    pair.is_honest(&report);
    (pair, report)
}

/// Packs of content are the large ones here, those of trees the small.
fn is_content(path: &Path) -> bool {
    fs::metadata(path).unwrap().len() > 400_000
}

#[test]
fn a_pack_that_is_gone_costs_what_was_in_it_and_no_more() {
    let (pair, report) = alone("data", Damage::Gone, is_content);
    assert!(report.damaged_count > 0 && report.restored > 0, "{report:?}");
    assert!(
        report.vault_faults.values().any(|fault| fault.contains("not found")),
        "{:?}",
        report.vault_faults
    );
    assert!(files(&pair.back()).iter().any(|path| path.ends_with("pipe")));
}

#[test]
fn of_a_pack_that_was_cut_the_part_that_is_there_comes_back() {
    let (_, report) = alone("data", Damage::Cut, is_content);
    let (_, without) = alone("data", Damage::Gone, is_content);
    assert!(report.damaged_count > 0 && report.damaged_count < without.damaged_count, "{report:?}");
    assert!(report.bytes > without.bytes);
}

#[test]
fn a_flipped_bit_costs_one_blob() {
    let (_, report) = alone("data", Damage::Flipped(500), is_content);
    let packs = report.vault_faults.len() as u64;
    assert!(report.damaged_count >= 1 && report.damaged_count <= 3 * packs, "{report:?}");
}

#[test]
fn a_pack_with_a_broken_header_costs_nothing_while_the_index_is_there() {
    let (pair, report) = alone("data", Damage::FlippedAtTheEnd, is_content);
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
}

#[test]
fn an_index_that_is_lost_costs_nothing_while_the_packs_name_what_is_in_them() {
    for damage in [Damage::Gone, Damage::Flipped(300)] {
        let pair = Pair::of(|data| _ = tree::grow(data, 6, 80));
        stored(&pair, "near", "index").iter().for_each(|path| damage.strike(path));
        let report = pair.restore(&[pair.open("near")], &pair.options());
        assert!(report.is_whole(), "{report:?}");
        pair.is_back();
    }
}

#[test]
fn a_folder_whose_tree_is_lost_is_named_and_its_neighbours_come_back() {
    let pair = Pair::of(|data| {
        for folder in ["lost", "kept"] {
            fs::create_dir(data.join(folder)).unwrap();
            for number in 0..2000 {
                let name = format!("{folder}-{number:04}-{}", "x".repeat(100));
                fs::write(data.join(folder).join(name), format!("{folder} {number}")).unwrap();
            }
        }
    });
    // All trees are in one pack, one after another; the first stored is that of a folder.
    for path in stored(&pair, "near", "data") {
        if !is_content(&path) {
            Damage::Flipped(10).strike(&path);
        }
    }
    let vaults = [pair.open("near")];
    let report = pair.restore(&vaults, &pair.options());
    pair.is_honest(&report);
    assert!(!report.is_whole(), "{report:?}");
    assert!(report.skipped.iter().any(|trouble| trouble.why.contains("in no vault")), "{:?}", report.skipped);
    assert!(report.restored >= 2000, "{report:?}");
}

#[test]
fn a_file_of_which_a_part_is_lost_has_all_else_in_place_and_comes_back_whole_later() {
    let noise = Random::new(3).bytes(20 << 20);
    let name = "n".repeat(255);
    let pair = Pair::of(|data| {
        fs::write(data.join("noise"), &noise).unwrap();
        fs::write(data.join(&name), &noise[..3 << 20]).unwrap();
    });
    let packs = stored(&pair, "near", "data");
    let large = packs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let sound = fs::read(large).unwrap();
    Damage::Flipped(500).strike(large);
    let report = pair.restore(&[pair.open("near")], &pair.options());
    let [one] = report.damaged.as_slice() else { panic!("{report:?}") };
    assert_eq!(report.damaged_count, 1);
    let lost: u64 = one.missing.iter().map(|range| range.end - range.start).sum();
    assert!(lost > 0 && lost < 9 << 20, "{one:?}");
    assert_eq!(report.restored, 1);
    assert!(damaged(&pair.back().join("noise")).exists() || report.damaged[0].path.as_os_str().len() > 255);
    // The vault is repaired: the whole file takes the place of the damaged one, and what was right is not written again.
    overwrite(large, &sound);
    let again = pair.restore(&[pair.open("near")], &pair.options());
    assert!(again.is_whole(), "{again:?}");
    assert_eq!((again.restored, again.unchanged), (1, 1));
    pair.is_back();
}

#[test]
fn a_damaged_file_with_the_longest_name_gets_a_name_of_its_own() {
    let names = ["a", "b"].map(|end| format!("{}{end}", "n".repeat(254)));
    let pair = Pair::of(|data| {
        for (seed, name) in names.iter().enumerate() {
            fs::write(data.join(name), Random::new(seed as u64).bytes(600_000)).unwrap();
        }
    });
    stored(&pair, "near", "data")
        .iter()
        .filter(|path| is_content(path))
        .for_each(|path| Damage::Gone.strike(path));
    let report = pair.restore(&[pair.open("near")], &pair.options());
    assert_eq!(report.damaged_count, 2, "{report:?}");
    assert!(report.damaged.iter().all(|damaged| pair.path("out").join(&damaged.path).exists()), "{report:?}");
    assert_ne!(report.damaged[0].path, report.damaged[1].path);
}

#[test]
fn the_names_of_a_damaged_file_are_damaged_all() {
    let pair = Pair::of(|data| {
        fs::write(data.join("a"), Random::new(1).bytes(600_000)).unwrap();
        fs::hard_link(data.join("a"), data.join("b")).unwrap();
    });
    stored(&pair, "near", "data")
        .iter()
        .filter(|path| is_content(path))
        .for_each(|path| Damage::Gone.strike(path));
    let report = pair.restore(&[pair.open("near")], &pair.options());
    assert_eq!((report.damaged_count, report.restored), (2, 0), "{report:?}");
    pair.is_honest(&report);
}

#[test]
fn what_has_holes_comes_back_with_holes() {
    use std::os::unix::fs::FileExt;
    let pair = Pair::of(|data| {
        let file = fs::File::create(data.join("sparse")).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"in the middle", 32 << 20).unwrap();
    });
    let report = pair.restore(&pair.both(), &pair.options());
    assert!(report.is_whole(), "{report:?}");
    pair.is_back();
    let blocks = fs::metadata(pair.back().join("sparse")).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}

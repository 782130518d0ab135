//! The contract of [`vault::Store`], clause by clause. Every store and every wrapper of one goes through it.

use std::thread;
use testkit::Random;
use vault::{FileId, FileKind, Kind, Store};

/// What a store is free to do as it likes.
pub(crate) struct Freedom {
    /// It has folders, so that their absence shows.
    pub(crate) folders: bool,
}

/// Holds a store to the contract. Nothing may be at its place yet.
pub(crate) fn keeps_the_contract(store: &dyn Store, freedom: &Freedom) {
    a_missing_repository_is_seen(store, freedom);
    creating_twice_is_harmless(store);
    what_is_written_is_read(store);
    ranges_are_exact(store);
    absence_is_observed(store);
    writing_again_is_harmless(store);
    large_and_empty_files_are_files(store);
    a_file_longer_than_any_of_its_kind_is_not_read(store);
    calls_come_from_several_threads(store);
    what_is_removed_is_gone(store);
    assert!(store.lanes() > 0);
}

fn a_missing_repository_is_seen(store: &dyn Store, freedom: &Freedom) {
    let id = name(b"absent");
    for kind in FileKind::LISTED {
        match store.list(kind) {
            Ok(listed) if !freedom.folders => assert!(listed.is_empty()),
            Err(error) if freedom.folders => assert!(matches!(error.kind, Kind::NoRepository), "{error}"),
            other => panic!("{kind:?}: {other:?}"),
        }
        match store.read(kind, &id).unwrap_err().kind {
            Kind::NotFound if !freedom.folders => {}
            Kind::NoRepository if freedom.folders => {}
            other => panic!("{kind:?}: {other}"),
        }
        if freedom.folders {
            let error = store.write(kind, &id, b"absent").unwrap_err();
            assert!(matches!(error.kind, Kind::NoRepository), "{error}");
        }
    }
}

fn creating_twice_is_harmless(store: &dyn Store) {
    store.create().unwrap();
    store.create().unwrap();
    for kind in FileKind::LISTED {
        assert_eq!(store.list(kind).unwrap(), []);
    }
}

fn what_is_written_is_read(store: &dyn Store) {
    let config = b"config, sealed".to_vec();
    store.write(FileKind::Config, "config", &config).unwrap();
    assert_eq!(store.read(FileKind::Config, "config").unwrap(), config);
    assert_eq!(store.size(FileKind::Config, "config").unwrap(), Some(config.len() as u64));
    let mut random = Random::new(1);
    for kind in FileKind::LISTED {
        let mut written: Vec<(String, u64)> = (1..20)
            .map(|number| {
                let content = random.bytes(number * 100);
                let id = name(&content);
                store.write(kind, &id, &content).unwrap();
                assert_eq!(store.read(kind, &id).unwrap(), content);
                assert_eq!(store.size(kind, &id).unwrap(), Some(content.len() as u64));
                (id, content.len() as u64)
            })
            .collect();
        written.sort();
        assert_eq!(listing(store, kind), written);
    }
    // A second creation keeps what is there.
    store.create().unwrap();
    assert_eq!(listing(store, FileKind::Key).len(), 19);
}

fn ranges_are_exact(store: &dyn Store) {
    let content = Random::new(2).bytes(100_000);
    let id = name(&content);
    store.write(FileKind::Pack, &id, &content).unwrap();
    for (start, end) in [(0, 100_000), (0, 1), (99_999, 100_000), (7, 70_007), (32_768, 65_536), (5, 5)] {
        let range = store.read_range(FileKind::Pack, &id, start as u64..end as u64).unwrap();
        assert!(range == content[start..end], "{start}..{end}");
    }
    for (start, end) in
        [(0, 100_001), (99_999, 100_001), (100_000, 100_001), (200_000, 200_001), (0, 1 << 45)]
    {
        let error = store.read_range(FileKind::Pack, &id, start..end).unwrap_err();
        assert!(matches!(error.kind, Kind::Damaged(_)), "{start}..{end}: {error}");
        assert!(!error.is_retryable());
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a damaged index may ask for it")]
    let error = store.read_range(FileKind::Pack, &id, 9..8).unwrap_err();
    assert!(matches!(error.kind, Kind::Damaged(_)), "{error}");
}

fn absence_is_observed(store: &dyn Store) {
    let id = name(b"never written");
    for kind in FileKind::LISTED {
        assert!(store.read(kind, &id).unwrap_err().is_not_found());
        assert!(store.read_range(kind, &id, 0..1).unwrap_err().is_not_found());
        assert_eq!(store.size(kind, &id).unwrap(), None);
        store.remove(kind, &id).unwrap();
    }
}

fn writing_again_is_harmless(store: &dyn Store) {
    let content = b"the same, twice";
    let id = name(content);
    for _ in 0..2 {
        store.write(FileKind::Snapshot, &id, content).unwrap();
    }
    assert_eq!(listing(store, FileKind::Snapshot).iter().filter(|(listed, _)| *listed == id).count(), 1);
    assert_eq!(store.read(FileKind::Snapshot, &id).unwrap(), content);
}

fn large_and_empty_files_are_files(store: &dyn Store) {
    let large = Random::new(3).bytes((17 << 20) + 1);
    let id = name(&large);
    store.write(FileKind::Pack, &id, &large).unwrap();
    assert!(store.read(FileKind::Pack, &id).unwrap() == large);
    let tail = large.len() - 1000;
    assert!(store.read_range(FileKind::Pack, &id, tail as u64..large.len() as u64).unwrap() == large[tail..]);
    let empty = name(b"");
    store.write(FileKind::Index, &empty, b"").unwrap();
    assert_eq!(store.read(FileKind::Index, &empty).unwrap(), b"");
    assert_eq!(store.size(FileKind::Index, &empty).unwrap(), Some(0));
    assert!(listing(store, FileKind::Index).contains(&(empty, 0)));
}

fn a_file_longer_than_any_of_its_kind_is_not_read(store: &dyn Store) {
    for kind in [FileKind::Key, FileKind::Lock] {
        let most = usize::try_from(kind.length_max()).unwrap();
        let (whole, longer) = (Random::new(5).bytes(most), Random::new(6).bytes(most + 1));
        for content in [&whole, &longer] {
            store.write(kind, &name(content), content).unwrap();
        }
        assert!(store.read(kind, &name(&whole)).unwrap() == whole);
        let error = store.read(kind, &name(&longer)).unwrap_err();
        assert!(matches!(error.kind, Kind::Damaged(_)), "{kind:?}: {error}");
        // A part of it is no danger.
        assert_eq!(store.read_range(kind, &name(&longer), 0..4).unwrap(), longer[..4]);
        [whole, longer].iter().for_each(|content| store.remove(kind, &name(content)).unwrap());
    }
}

fn calls_come_from_several_threads(store: &dyn Store) {
    let same = Random::new(4).bytes(50_000);
    let before = listing(store, FileKind::Pack).len();
    thread::scope(|scope| {
        for number in 0..8 {
            let same = &same;
            scope.spawn(move || {
                let own = Random::new(100 + number).bytes(40_000);
                for content in [&own, same] {
                    store.write(FileKind::Pack, &name(content), content).unwrap();
                    assert!(store.read(FileKind::Pack, &name(content)).unwrap() == *content);
                    store.list(FileKind::Pack).unwrap();
                }
            });
        }
    });
    assert_eq!(listing(store, FileKind::Pack).len(), before + 9);
}

fn what_is_removed_is_gone(store: &dyn Store) {
    let content = b"not for long";
    let id = name(content);
    for kind in FileKind::LISTED {
        store.write(kind, &id, content).unwrap();
        store.remove(kind, &id).unwrap();
        store.remove(kind, &id).unwrap();
        assert_eq!(store.size(kind, &id).unwrap(), None);
        assert!(listing(store, kind).iter().all(|(listed, _)| *listed != id));
    }
}

/// Returns the name that a repository gives to `content`.
pub(crate) fn name(content: &[u8]) -> String {
    FileId::of(content).to_string()
}

/// Returns the listing, sorted.
pub(crate) fn listing(store: &dyn Store, kind: FileKind) -> Vec<(String, u64)> {
    let mut listed: Vec<_> =
        store.list(kind).unwrap().into_iter().map(|file| (file.name, file.size)).collect();
    listed.sort();
    listed
}

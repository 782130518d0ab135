use super::*;

fn known(dirs: &[u64]) -> Kept {
    let mut memory = Memory::default();
    for inode in dirs {
        memory.dirs.insert(Key { device: 1, inode: *inode }, Key { device: 1, inode: 1 });
    }
    Kept {
        point: "p".into(),
        definition: String::new(),
        mounts: Vec::new(),
        memory,
        walked: Instant::now(),
        walked_at: SystemTime::now(),
    }
}

#[test]
fn after_a_lost_event_nothing_can_be_referred_to() {
    let mut account = Account { kept: Some(known(&[2])), ..Account::default() };
    account.take_in(&Told::Directory(Key { device: 1, inode: 2 }));
    assert_eq!(account.changed.len(), 1);
    account.take_in(&Told::Lost);
    assert!(account.kept.is_none() && account.lost.is_some() && account.changed.is_empty());
}

#[test]
fn more_changes_than_can_be_remembered_lose_everything() {
    let mut account = Account { under_way: true, ..Account::default() };
    for inode in 0..=CHANGED_MAX as u64 {
        account.take_in(&Told::Directory(Key { device: 1, inode }));
    }
    assert!(account.lost.is_some() && account.changed.is_empty());
}

#[test]
fn a_directory_that_nobody_knows_counts_only_during_a_capture() {
    let stranger = Told::Directory(Key { device: 1, inode: 9 });
    let mut account = Account { kept: Some(known(&[2])), ..Account::default() };
    account.take_in(&stranger);
    assert!(account.changed.is_empty());
    account.under_way = true;
    account.take_in(&stranger);
    assert_eq!(account.changed.len(), 1);
}

#[test]
fn a_capture_is_referred_to_for_a_day_and_not_if_the_clock_went_back() {
    let mut kept = known(&[]);
    assert!(!kept.is_old());
    kept.walked_at = SystemTime::now() - WALK_EVERY;
    assert!(kept.is_old());
    kept.walked_at = SystemTime::now() + WALK_EVERY;
    assert!(kept.is_old());
}

#[test]
fn a_change_is_on_the_way_from_every_place_that_a_directory_has() {
    let key = |inode| Key { device: 1, inode };
    let node = |inode| {
        let meta = vault::Meta { inode, device: 1, links: 1, ..vault::Meta::default() };
        Node { name: Vec::new(), meta, kind: vault::NodeKind::Dir { subtree: None } }
    };
    let mut memory = Memory::default();
    memory.listed(key(1), &[node(2), node(3)], true);
    memory.listed(key(2), &[node(4)], true);
    memory.listed(key(3), &[node(4), node(5)], true);
    let (own, above) = memory.spread([key(4), key(99)]);
    assert_eq!(own, HashSet::from([key(4)]));
    assert_eq!(above, HashSet::from([key(1), key(2), key(3)]));
    // Where nothing is watched, it is looked at every time.
    memory.listed(key(5), &[], false);
    assert_eq!(memory.spread([]).0, HashSet::from([key(5)]));
}

//! Whether files are being overwritten by something that isn't noise: zeros, one content in all of them, or any other with the times set back.
//!
//! A content that is another while length and time of change are what they were is no program's work. Some set the time back on purpose (containers of encrypted disks,
//! archives that are unpacked with fixed times), and those leave few such files, or many others beside them, or are known by what they leave (tally.rs in the vault).

/// So many files at once, and so large a share of those that were there.
const FILES: u64 = 5;
const SHARE: f64 = 0.01;
/// Of all files that changed it is at least this share, one in so many: an upgrade with fixed times has few files of equal length in it.
const OF_CHANGED: u64 = 2;
/// So many times as many as the system itself is used to.
const USUAL: u64 = 3;

/// What one backup counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ruined {
    /// Files that were there before.
    pub there: u64,
    /// Those of them whose content is another.
    pub changed: u64,
    /// Those whose length and time of change are not.
    pub veiled: u64,
    /// Those that are nothing but zeros now, or what many others are as well.
    pub ruined: u64,
}

/// Says what about a point is a sign, as a part of a sentence of which it is the subject. `before` are the points before it that show none, or that a person trusts.
#[must_use]
pub fn sign(point: &Ruined, before: &[Ruined]) -> Option<String> {
    if before.is_empty() {
        return None;
    }
    let least = FILES.max((point.there as f64 * SHARE).ceil() as u64);
    let is_sign = |of: fn(&Ruined) -> u64| {
        let usual = before.iter().map(of).max().unwrap_or(0);
        let count = of(point);
        count >= least
            && count > usual.saturating_mul(USUAL)
            && count.saturating_mul(OF_CHANGED) >= point.changed
    };
    let share = |count: u64| count as f64 * 100.0 / point.there.max(1) as f64;
    if is_sign(|one| one.veiled) {
        return Some(format!(
            "has {} files ({:.1}% of those there were) with another content, although their length and their time of change are what they were: somebody set the times back",
            point.veiled,
            share(point.veiled)
        ));
    }
    is_sign(|one| one.ruined).then(|| {
        format!(
            "has {} files ({:.1}% of those there were) that were overwritten with zeros, or all with the same (one stub in the place of many pages is that too)",
            point.ruined,
            share(point.ruined)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(there: u64, changed: u64, veiled: u64, ruined: u64) -> bool {
        sign(&Ruined { there, changed, veiled, ruined }, &[Ruined::default()]).is_some()
    }

    #[test]
    fn content_that_changed_behind_its_times_is_a_sign_where_it_is_in_many_files() {
        assert!(is_told(1000, 1000, 1000, 0) && is_told(1000, 15, 10, 0) && is_told(10, 5, 5, 0));
        assert!(!is_told(1000, 12, 9, 0), "few");
        assert!(!is_told(10, 4, 4, 0), "containers that set their time back");
        assert!(!is_told(1000, 800, 90, 0), "an upgrade with fixed times");
    }

    #[test]
    fn zeros_or_one_content_in_many_files_are_a_sign() {
        assert!(is_told(1000, 400, 0, 390) && !is_told(1000, 400, 0, 9));
        let zeros = Ruined { there: 1000, changed: 40, veiled: 0, ruined: 40 };
        assert!(sign(&zeros, &[]).is_none(), "there is nothing to hold it against");
        assert!(sign(&zeros, &[zeros]).is_none(), "usual for it");
    }
}

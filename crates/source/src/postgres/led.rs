//! What leads a recovery in `postgresql.auto.conf`: it stands behind all that is the cluster's own, so that it holds, and is taken out again to the byte when the
//! recovery has ended.

/// What begins ours.
pub(super) const OURS: &str = "# releve:";
/// What begins ours where the cluster's own text ends within a line.
const UNENDED: &str = "# releve: the line above had no end";

/// Returns what is the cluster's own in a text.
pub(super) fn own(text: &[u8]) -> &[u8] {
    let mut before: usize = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(OURS.as_bytes()) {
            let own = text.get(..before).unwrap_or_default();
            let whole = own.strip_suffix(b"\n").filter(|_| line.starts_with(UNENDED.as_bytes()));
            return whole.unwrap_or(own);
        }
        before = before.saturating_add(line.len());
    }
    text
}

/// Returns a text with these settings in the place of any that led another recovery. Of a setting that is named twice the last one holds, so that what the cluster
/// says of its own may stay.
pub(super) fn with(text: &[u8], settings: &[String]) -> Vec<u8> {
    let mut all = own(text).to_vec();
    if settings.is_empty() {
        return all;
    }
    if !all.is_empty() && !all.ends_with(b"\n") {
        all.extend(format!("\n{UNENDED}\n").into_bytes());
    }
    settings.iter().for_each(|setting| all.extend(format!("{setting}\n").into_bytes()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_clusters_own_is_there_to_the_byte_when_ours_is_taken_out() {
        let ours = |value: &str| vec![format!("{OURS} x"), format!("restore_command = '{value}'")];
        let texts: [&[u8]; 5] = [
            b"",
            b"work_mem = '4MB'\nrecovery_target_time = 'x'\nrestore_command = 'own'\n",
            b"a = 'no end'",
            b"a = 'of Windows'\r\n\n\n",
            b"a = 'Latin \xe9'\n# a releve: of theirs\n",
        ];
        for text in texts {
            let led = with(text, &ours("one"));
            assert!(led.starts_with(text) && led.ends_with(b"\nrestore_command = 'one'\n"), "{led:?}");
            let again = with(&led, &ours("another"));
            assert!(!again.windows(5).any(|part| part == b"'one'"), "{again:?}");
            assert_eq!(with(&again, &[]), text);
        }
    }
}

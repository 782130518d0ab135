//! What is said of many things in a vault, in each verb alike: the first few, and how many there are. Whoever may write there may put any number of them.

use plan::VaultName;

/// So many are named.
const NAMED: usize = 3;

/// What is said of files that can't be read, in each verb alike: the first few of each vault, and how many there are.
#[derive(Debug, Default)]
pub struct Few {
    /// Those that are named.
    pub named: Vec<(VaultName, String)>,
    /// What is said of the others of a vault.
    pub more: Vec<(VaultName, String)>,
}

impl Few {
    /// Returns both, one after the other.
    #[must_use]
    pub fn lines(self) -> Vec<(VaultName, String)> {
        let mut lines = self.named;
        lines.extend(self.more);
        lines
    }
}

/// Returns what is said of files that can't be read.
#[must_use]
pub fn few(unread: &[(VaultName, String)]) -> Few {
    let mut few = Few::default();
    let mut counts: Vec<(&VaultName, usize)> = Vec::new();
    for (vault, why) in unread {
        let count = match counts.iter_mut().find(|(known, _)| *known == vault) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                counts.push((vault, 1));
                1
            }
        };
        if count <= NAMED {
            few.named.push((vault.clone(), why.clone()));
        }
    }
    for (vault, count) in counts.into_iter().filter(|(_, count)| *count > NAMED) {
        let more = count - NAMED;
        let what = format!(
            "and {more} more of its files can't be read, {count} in all: `releve repair {vault}` removes what is junk"
        );
        few.more.push((vault.clone(), what));
    }
    few
}

/// Returns the first of what is said of the key files of a vault, and how many more there are.
pub(crate) fn first(said: impl Iterator<Item = String>, vault: &VaultName) -> Vec<String> {
    let mut said: Vec<String> = said.collect();
    let more = said.len().saturating_sub(NAMED);
    said.truncate(NAMED);
    said.extend((more > 0).then(|| format!("and {more} more: releve key list --vault {vault}")));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Survey;

    #[test]
    fn of_a_thousand_files_that_cannot_be_read_three_are_named_and_the_rest_is_counted() {
        let of = |vault: &str, count: usize| {
            (0..count).map(|n| (VaultName::from(vault), format!("file {n}"))).collect::<Vec<_>>()
        };
        let survey = Survey { damaged: [of("near", 1000), of("far", 2)].concat(), ..Survey::default() };
        let said: Vec<_> =
            survey.troubles().into_iter().map(|(vault, what)| format!("{vault}: {what}")).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        assert_eq!(said[2], "near: file 2");
        assert!(said[5].starts_with("near: and 997 more") && said[5].contains("1000 in all"), "{said:?}");
    }

    #[test]
    fn of_a_thousand_key_files_three_are_named_and_the_rest_is_counted() {
        let said = first((0..1000).map(|n| format!("key {n}")), &"near".into());
        assert_eq!((said.len(), said[3].as_str()), (4, "and 997 more: releve key list --vault near"));
        assert_eq!(first(["key".to_owned()].into_iter(), &"near".into()), ["key"]);
    }
}

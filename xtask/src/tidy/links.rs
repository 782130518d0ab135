//! Links between the documents, and from them to the code.

use super::{File, Finding};
use std::path::{Component, Path, PathBuf};

/// Checks that what a document points to in the repository is there.
pub(super) fn check(file: &File, exists: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            for target in targets(&without_code(line)) {
                if let Some(what) = wrong(&file.path, &target, exists) {
                    findings.push(Finding::on(&file.path, at + 1, what));
                }
            }
        }
    }
    findings
}

fn wrong(document: &Path, target: &str, exists: &dyn Fn(&Path) -> bool) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or_default();
    let elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with("tel:");
    if path.is_empty() || elsewhere {
        return None;
    }
    let Some(resolved) = resolve(document, path) else {
        return Some(format!("the link to `{target}` leads out of the repository"));
    };
    (!exists(&resolved)).then(|| format!("the link to `{target}` leads nowhere"))
}

/// Returns the path in the repository; `None` outside of it.
fn resolve(document: &Path, target: &str) -> Option<PathBuf> {
    let mut path = document.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// Returns where a line's links go: `](…)`, `[name]: …`, `src="…"`, `href="…"`.
fn targets(line: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')] {
        for rest in line.split(opening).skip(1) {
            if let Some((inside, _)) = rest.split_once(closing) {
                // A title may follow the target: [map](docs/map.md "the map").
                targets.extend(
                    inside.split_whitespace().next().map(|target| target.trim_matches(['<', '>']).to_owned()),
                );
            }
        }
    }
    if let Some((name, target)) = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]: "))
        && !name.contains(']')
    {
        targets.extend(target.split_whitespace().next().map(str::to_owned));
    }
    targets
}

/// Takes out what stands between backticks: it shows, and doesn't link.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let mut text = String::new();
    for (at, part) in parts.iter().enumerate() {
        let is_code = at % 2 == 1 && at + 1 < parts.len();
        text.push_str(if is_code { "_" } else { part });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let there = ["docs/map.md", "README.md", "docs/picture.svg"];
        let file = File { path: "docs/guide.md".into(), text: text.into() };
        check(&file, &|path| there.contains(&path.to_str().unwrap()))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn what_is_there_is_no_finding() {
        let good = "[a](map.md) [b](../README.md#start) ![c](./picture.svg \"title\") <img src=\"picture.svg\">\n\
            [x](https://example.org/y.md) [mail](mailto:a@b.example) [above](#above)\n[ref]: map.md\n";
        assert!(found(good).is_empty(), "{:?}", found(good));
    }

    #[test]
    fn what_is_gone_is_found_however_it_is_written() {
        for bad in [
            "[a](gone.md)",
            "[`a`](gone.md#x)",
            "![a](gone.png)",
            "<img src=\"gone.svg\">",
            "[ref]: gone.md",
            "[a](README.md)",
        ] {
            assert_eq!(found(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_link_out_of_the_repository_is_found() {
        assert!(found("[a](../../elsewhere.md)").concat().contains("out of the repository"));
        assert!(found("[a](/etc/passwd)").concat().contains("out of the repository"));
    }

    #[test]
    fn code_does_not_link() {
        assert!(found("```toml\n[a](gone.md)\n```\nand `[b](gone.md)` too\n").is_empty());
    }
}

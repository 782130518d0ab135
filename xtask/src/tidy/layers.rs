//! Which crate may import which: `docs/ARCHITECTURE.md`, as a test.

use super::{File, Finding};
use std::path::Path;

/// Crates from below upward, and which of the workspace's each may import.
const LAYERS: [(&str, &[&str]); 10] = [
    ("plain", &[]),
    ("plan", &["plain"]),
    ("process", &[]),
    ("vault", &["plain", "process"]),
    ("state", &["process"]),
    ("source", &["plain", "process", "vault"]),
    ("engine", &["plan", "plain", "process", "vault", "state", "source"]),
    ("releve", &["plan", "plain", "process", "vault", "state", "source", "engine"]),
    (TESTKIT, &["vault", "plan"]),
    ("xtask", &[]),
];

/// For tests only; the program may carry it where a feature asks for it, for its demo.
const TESTKIT: &str = "testkit";

/// Checks the manifests of all crates, and that each crate has a front door.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut crates = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        match Manifest::read(&file.text) {
            Ok(Some(manifest)) => crates.push((file.path.as_path(), manifest)),
            Ok(None) => {}
            Err(error) => findings.push(Finding::new(&file.path, error)),
        }
    }
    for (path, manifest) in &crates {
        if is_apart(path) {
            continue;
        }
        findings.extend(manifest.check().into_iter().map(|what| Finding::new(path, what)));
        let folder = path.parent().unwrap_or(Path::new(""));
        let doors = ["src/lib.rs", "src/main.rs"].map(|door| folder.join(door));
        if !files.iter().any(|file| doors.contains(&file.path)) {
            findings.push(Finding::new(path, "has neither src/lib.rs nor src/main.rs"));
        }
    }
    findings
}

/// Fuzz targets are a workspace of their own and enter by the front doors.
fn is_apart(path: &Path) -> bool {
    path.starts_with("fuzz")
}

struct Manifest {
    name: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    for_tests: bool,
    optional: bool,
}

impl Manifest {
    /// Reads a manifest; one without a package is the workspace's.
    fn read(text: &str) -> Result<Option<Self>, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
        let Some(name) = name else { return Ok(None) };
        let mut dependencies = Vec::new();
        collect(&table, &mut dependencies);
        let platforms = table.get("target").and_then(toml::Value::as_table);
        for platform in platforms.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table)
        {
            collect(platform, &mut dependencies);
        }
        Ok(Some(Self { name: name.to_owned(), dependencies }))
    }

    fn check(&self) -> Vec<String> {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == self.name) else {
            return vec![format!(
                "the crate `{}` has no place yet: say in xtask/src/tidy/layers.rs what it may import",
                self.name
            )];
        };
        let mut wrong = Vec::new();
        for dependency in &self.dependencies {
            let name = dependency.name.as_str();
            if !LAYERS.iter().any(|(ours, _)| *ours == name) {
                continue;
            }
            if name == TESTKIT {
                let for_demo = dependency.optional && self.name == "releve";
                if !dependency.for_tests && !for_demo {
                    wrong.push(format!("`{}` imports `{TESTKIT}`, which is for tests only", self.name));
                }
            } else if !allowed.contains(&name) && name != self.name {
                wrong.push(format!("`{}` imports `{name}`, which docs/ARCHITECTURE.md forbids", self.name));
            }
        }
        wrong
    }
}

fn collect(table: &toml::Table, dependencies: &mut Vec<Dependency>) {
    for (section, for_tests) in
        [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
    {
        let entries = table.get(section).and_then(toml::Value::as_table);
        dependencies.extend(entries.into_iter().flatten().map(|(key, value)| Dependency {
            name: value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned(),
            for_tests,
            optional: value.get("optional").and_then(toml::Value::as_bool) == Some(true),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependencies: &str) -> Vec<String> {
        let manifest =
            Manifest::read(&format!("[package]\nname = \"{name}\"\n{dependencies}\n")).unwrap().unwrap();
        manifest.check()
    }

    #[test]
    fn downward_is_allowed_and_upward_is_not() {
        assert!(found("engine", "[dependencies]\nplan.workspace = true\nserde = \"1\"").is_empty());
        assert!(found("source", "[dependencies]\nvault = { path = \"../vault\" }").is_empty());
        for (name, upward) in [
            ("plan", "vault"),
            ("vault", "plan"),
            ("state", "vault"),
            ("source", "plan"),
            ("vault", "releve"),
            ("plain", "plan"),
        ] {
            assert_eq!(
                found(name, &format!("[dependencies]\n{upward}.workspace = true")).len(),
                1,
                "{name} on {upward}"
            );
        }
    }

    #[test]
    fn no_section_and_no_other_name_hides_an_import() {
        for hidden in [
            "[build-dependencies]\nvault.workspace = true",
            "[dev-dependencies]\nvault.workspace = true",
            "[target.'cfg(unix)'.dependencies]\nvault.workspace = true",
            "[dependencies]\nv = { path = \"../vault\", package = \"vault\" }",
        ] {
            assert_eq!(found("plan", hidden).len(), 1, "{hidden}");
        }
    }

    #[test]
    fn the_test_tools_are_for_tests_and_for_the_demo() {
        assert!(found("vault", "[dev-dependencies]\ntestkit.workspace = true").is_empty());
        assert!(
            found("releve", "[dependencies]\ntestkit = { workspace = true, optional = true }").is_empty()
        );
        assert_eq!(found("releve", "[dependencies]\ntestkit.workspace = true").len(), 1);
        assert_eq!(
            found("engine", "[dependencies]\ntestkit = { workspace = true, optional = true }").len(),
            1
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert_eq!(found("drawer", "").len(), 1);
    }

    #[test]
    fn a_crate_without_a_front_door_is_found() {
        let manifest =
            || File { path: "crates/plan/Cargo.toml".into(), text: "[package]\nname = \"plan\"\n".into() };
        let door = File { path: "crates/plan/src/lib.rs".into(), text: "//! Plans.\n".into() };
        assert_eq!(check(&[manifest()]).len(), 1);
        assert!(check(&[manifest(), door]).is_empty());
    }
}

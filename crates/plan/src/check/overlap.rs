//! Systems on one machine of which one lies below the paths of another: both capture it, and only one may put it back.

use super::Checker;
use crate::model::*;
use globset::GlobMatcher;
use std::collections::BTreeMap;
use std::path::Path;

/// A path that a system names.
struct Named<'p> {
    host: &'p HostName,
    path: &'p Path,
    system: &'p SystemName,
    source: &'p Source,
}

impl Checker<'_, '_> {
    /// Names what two systems hold. Each path is held against those around it only: a plan may have ten thousand.
    pub(super) fn overlaps(&mut self) {
        let plan = self.plan;
        let mut all: Vec<Named<'_>> = Vec::new();
        for (system, found) in &plan.systems {
            let Some(source) = found.source.as_ref().filter(|source| source.is_on_disk()) else { continue };
            let paths: Vec<&str> = match source {
                Source::Files(files) => files.paths.iter().map(String::as_str).collect(),
                Source::Sqlite(sqlite) => vec![sqlite.path.as_str()],
                Source::Postgres(postgres) => vec![postgres.data_directory.as_str()],
                Source::Mariadb(mariadb) => mariadb.data_directory.iter().map(String::as_str).collect(),
                Source::PgDump(_) | Source::Command(_) => Vec::new(),
            };
            let paths = paths.into_iter().filter(|path| path.starts_with('/')).map(Path::new);
            all.extend(paths.map(|path| Named { host: &found.host, path, system, source }));
        }
        // What lies below a path follows it.
        all.sort_by_key(|named| (named.host, named.path));
        let mut around: Vec<&Named<'_>> = Vec::new();
        let mut excluded = BTreeMap::new();
        for named in &all {
            while around
                .last()
                .is_some_and(|wide| wide.host != named.host || !named.path.starts_with(wide.path))
            {
                around.pop();
            }
            let mut wider = around.iter().rev().filter(|wide| wide.system != named.system);
            if let Some(wide) = wider.find(|wide| !leaves_out(wide, named.path, &mut excluded)) {
                self.overlap(wide, named);
            }
            around.push(named);
        }
    }

    fn overlap(&mut self, wide: &Named<'_>, named: &Named<'_>) {
        let (outer, inner, path) = (wide.system, named.system, named.path.display());
        let is_files = |named: &Named<'_>| matches!(named.source, Source::Files(_));
        let owns = |owner: &SystemName, other: &SystemName| {
            format!("`{owner}` puts it back, and `{other}` leaves it out where both are recovered")
        };
        let who = match (is_files(wide), is_files(named)) {
            (true, true) if wide.path == named.path => "the one with the newer point puts it back".to_owned(),
            (true, _) => owns(inner, outer),
            (false, true) => owns(outer, inner),
            (false, false) => "each puts it back over the other".to_owned(),
        };
        let key = format!("systems.{inner}.source.{}.{}", named.source.kind(), named.source.paths_key());
        self.warn(
            "overlapping-paths",
            &key,
            format!("{path} is of `{inner}` and of `{outer}`, and both capture it: {who}"),
            match is_files(wide) {
                true => format!("write exclude = [\"{path}\"] for `{outer}`, if `{inner}` is enough"),
                false => "name it in one of them".to_owned(),
            },
        );
    }
}

/// Returns whether a system leaves out what lies at a path below its own. `excluded` is what each leaves out, as far as somebody has asked.
fn leaves_out<'p>(
    wide: &Named<'p>,
    path: &Path,
    excluded: &mut BTreeMap<&'p SystemName, Vec<GlobMatcher>>,
) -> bool {
    let Source::Files(files) = wide.source else { return false };
    let compiled = || files.exclude.iter().filter_map(|pattern| folders(pattern)).collect();
    let excluded = excluded.entry(wide.system).or_insert_with(compiled);
    let mut below = path.ancestors().take_while(|above| *above != wide.path);
    below.any(|above| excluded.iter().any(|glob| glob.is_match(above)))
}

/// Returns the folders that a pattern of `exclude` means.
fn folders(pattern: &str) -> Option<GlobMatcher> {
    let body = pattern.strip_suffix('/').unwrap_or(pattern);
    let body = match body.starts_with('/') {
        true => body.to_owned(),
        false => format!("**/{body}"),
    };
    let glob = globset::GlobBuilder::new(&body).literal_separator(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use crate::{SourceFile, parse};

    #[test]
    fn what_two_systems_hold_is_named_with_the_one_that_puts_it_back() {
        let text = |exclude: &str, more: &str| {
            format!(
                "[organisation]\nname = \"Atelier\"\n[sites.here]\n[hosts.a]\nsite = \"here\"\n[hosts.b]\nsite = \"here\"\n\
                 [vaults.near]\nurl = \"file:///vault\"\nsite = \"here\"\npassword = {{ file = \"/key\" }}\n\
                 [policy]\nvaults = [\"near\"]\nevery = \"1 hour\"\n\
                 [systems.f]\nhost = \"a\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.files = {{ paths = [\"/d\"], exclude = [{exclude}] }}\n\
                 [systems.g]\nrto = \"1 hour\"\nrpo = \"1 hour\"\n{more}\n"
            )
        };
        let said = |exclude: &str, more: &str| {
            let checked = parse(&[SourceFile { name: "plan.toml".into(), text: text(exclude, more) }]);
            assert!(checked.plan.is_some(), "{:?}", checked.diagnostics);
            let own = checked.diagnostics.iter().filter(|one| one.code == "overlapping-paths");
            own.map(|one| one.message.clone()).collect::<Vec<_>>().join("; ")
        };
        let files =
            |host: &str, path: &str| format!("host = \"{host}\"\nsource.files = {{ paths = [\"{path}\"] }}");
        let inner = said("", &files("a", "/d/sub"));
        assert!(inner.starts_with("/d/sub is of `g` and of `f`") && inner.contains("`g` puts it back"));
        assert!(said("", &files("a", "/d/")).contains("the newer point"));
        assert!(
            said("", "host = \"a\"\nsource.sqlite = { path = \"/d/a.db\" }").contains("`g` puts it back")
        );
        for (exclude, host, path) in [
            ("", "b", "/d/sub"),
            ("", "a", "/dd"),
            ("\"/d/sub\"", "a", "/d/sub/x"),
            ("\"sub/\"", "a", "/d/sub"),
        ] {
            assert_eq!(said(exclude, &files(host, path)), "", "{exclude} {host} {path}");
        }
        // What the nearest leaves out another one may have all the same.
        let third = "[systems.h]\nhost = \"a\"\nrto = \"1 hour\"\nrpo = \"1 hour\"\nsource.sqlite = { path = \"/d/sub/x.db\" }";
        let nearest = "host = \"a\"\nsource.files = { paths = [\"/d/sub\"], exclude = [\"*.db\"] }";
        let both = said("\"/d/sub/y\"", &format!("{nearest}\n{third}"));
        assert!(
            both.contains("/d/sub/x.db is of `h` and of `f`") && !both.contains("of `h` and of `g`"),
            "{both}"
        );
        // Of two databases neither knows of the other when it comes back.
        let outer = "host = \"a\"\nsource.postgres = { url = { file = \"/url\" }, data_directory = \"/pg\" }";
        let inner = third.replace("/d/sub", "/pg");
        let two = said("", &format!("{outer}\n{inner}"));
        assert!(
            two.contains("of `h` and of `g`, and both capture it: each puts it back over the other"),
            "{two}"
        );
    }
}

//! What a cluster was made with, and whether the machine on which it comes back has the same: another major version can't read its files, and with another C
//! library or ICU its text indexes are silently wrong.
//!
//! It is asked at the capture and kept with the point. Compared is what a machine shows without a server: nothing is started for it.

use super::programs::program;
use super::server::{Address, Server, sort};
use crate::{Foreseen, Program, Result};
use process::Words;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a point says. Missing is what isn't known, or what nothing in the cluster depends on.
type MadeWith = BTreeMap<String, String>;

/// The major version of the server.
pub(super) const MAJOR: &str = "major";
/// What kind of machine it ran on.
const MACHINE: &str = "machine";
/// Bytes of a page.
const PAGE: &str = "page_bytes";
/// Whether pages have checksums.
const CHECKSUMS: &str = "checksums";
/// The version of the C library, where texts were sorted by it.
const LIBC: &str = "libc";
/// The major version of ICU, where texts were sorted by it.
const ICU: &str = "icu";
/// Locales that a server must find, with commas between.
const LOCALES: &str = "locales";
/// Libraries that it loads, and those of functions, with commas between.
const LIBRARIES: &str = "libraries";
/// Who owns the files, and his number: `postgres:101`.
const OWNER: &str = "owner";

/// How many databases are asked.
const DATABASES_MAX: usize = 64;
/// A program of the machine's own answers at once.
const ASK_WITHIN: Duration = Duration::from_secs(10);

const SETTINGS: &str = "SELECT name::text, setting::text FROM pg_settings WHERE setting <> '' AND name IN ('block_size', 'data_checksums', 'lc_messages', \
    'lc_monetary', 'lc_numeric', 'lc_time', 'shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries')";
/// Up to PostgreSQL 14 the C library sorts in all databases.
const DATABASES: &str = "SELECT datname::text, datcollate::text, datctype::text, coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), \
    datallowconn AND has_database_privilege(oid, 'CONNECT') FROM pg_database d ORDER BY datname";
/// By whom something is sorted that names its collation, and which libraries functions are in that didn't come with the server.
const USED: &str = "SELECT DISTINCT 'sorted'::text, c.collprovider::text FROM pg_depend d JOIN pg_collation c ON d.refclassid = 'pg_collation'::regclass \
    AND d.refobjid = c.oid WHERE c.collversion IS NOT NULL \
    UNION SELECT DISTINCT 'library'::text, probin::text FROM pg_proc WHERE probin IS NOT NULL AND oid >= 16384";

/// Returns what the cluster in `data` was made with, as far as its server and this machine tell: what they don't is missing, and costs nobody the point.
pub(super) fn of(
    server: &mut Server,
    address: &Address,
    data: &Path,
    programs: Option<&Path>,
) -> BTreeMap<String, String> {
    let mut found = Found::default();
    if let Err(error) = found.ask(server, address) {
        tracing::debug!(%error, "it isn't known what the cluster was made with");
    }
    let mut made = found.made;
    let owner = std::fs::metadata(data).ok().map(|meta| meta.uid());
    if let Some((uid, name)) = owner.and_then(|uid| Some((uid, name_of(uid)?))) {
        made.insert(OWNER.to_owned(), format!("{name}:{uid}"));
    }
    made.insert(MACHINE.to_owned(), std::env::consts::ARCH.to_owned());
    // A server whose programs aren't here runs in something of its own: this machine's libraries say nothing of it.
    let major = server.major().to_string();
    let Ok(postgres) = program("postgres", &major, programs) else { return made };
    made.insert(MAJOR.to_owned(), major);
    let here = Here { libraries: libraries_of(&postgres), ..Here::default() };
    // What isn't here now either is not missed there.
    let libraries = found.libraries.into_iter().filter(|name| here.has(name) != Some(false));
    insert(&mut made, LIBRARIES, libraries);
    insert(&mut made, LOCALES, found.locales.into_iter());
    let libc = libc().filter(|_| found.sorted_by.contains("c"));
    let icu = icu(&postgres).filter(|_| found.sorted_by.contains("i"));
    made.extend(libc.map(|version| (LIBC.to_owned(), version)));
    made.extend(icu.map(|version| (ICU.to_owned(), version)));
    made
}

fn insert(made: &mut MadeWith, name: &str, values: impl Iterator<Item = String>) {
    let values: Vec<String> = values.collect();
    if !values.is_empty() {
        made.insert(name.to_owned(), values.join(","));
    }
}

/// What was heard of the server.
#[derive(Default)]
struct Found {
    made: MadeWith,
    libraries: BTreeSet<String>,
    locales: BTreeSet<String>,
    /// `c`, the C library; `i`, ICU.
    sorted_by: BTreeSet<String>,
}

impl Found {
    fn ask(&mut self, server: &mut Server, address: &Address) -> Result<()> {
        let wrong = |error: super::session::Failed| sort("ask what the cluster was made with", &error);
        for row in server.client.query(SETTINGS, &[]).map_err(wrong)? {
            let (Ok(name), Ok(value)) = (row.try_get::<_, String>(0), row.try_get::<_, String>(1)) else {
                continue;
            };
            match name.as_str() {
                "block_size" => _ = self.made.insert(PAGE.to_owned(), value),
                "data_checksums" => _ = self.made.insert(CHECKSUMS.to_owned(), value),
                name if name.ends_with("preload_libraries") => self.libraries.extend(names(&value)),
                _ => self.locale(value),
            }
        }
        let mut databases = Vec::new();
        for row in server.client.query(DATABASES, &[]).map_err(wrong)? {
            let text = |at: usize| row.try_get::<_, String>(at).ok();
            let (Some(collate), Some(ctype), Some(provider)) = (text(1), text(2), text(3)) else { continue };
            if provider != "c" || !is_plain(&collate) {
                self.sorted_by.insert(provider);
            }
            self.locale(collate);
            self.locale(ctype);
            if row.try_get(4).unwrap_or_default() {
                databases.extend(text(0));
            }
        }
        for database in databases.iter().take(DATABASES_MAX) {
            // One that lets nobody in after all keeps its secret.
            let rows =
                address.in_database(database).connect().ok().map(|mut server| server.client.query(USED, &[]));
            for row in rows.into_iter().flatten().flatten() {
                match (row.try_get::<_, String>(0).as_deref(), row.try_get::<_, String>(1)) {
                    (Ok("sorted"), Ok(provider)) => _ = self.sorted_by.insert(provider),
                    (Ok(_), Ok(library)) => self.libraries.extend(names(&library)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn locale(&mut self, name: String) {
        if !matches!(name.as_str(), "C" | "POSIX" | "") {
            self.locales.insert(name);
        }
    }
}

/// Returns the names in a list of libraries. One that is named by its path is for nobody to look for elsewhere.
fn names(list: &str) -> impl Iterator<Item = String> + '_ {
    let bare = |name: &str| {
        let name = name.trim().trim_matches('"');
        name.strip_prefix("$libdir/").unwrap_or(name).trim_end_matches(".so").to_owned()
    };
    list.split(',').map(bare).filter(|name| !name.is_empty() && !name.starts_with('/'))
}

/// Returns whether a locale of the C library sorts by the bytes alone, in every version.
fn is_plain(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    matches!(locale.as_str(), "c" | "posix") || locale.starts_with("c.")
}

/// What this machine has.
struct Here {
    /// The server's program for the major version of the point, or why there is none.
    postgres: Result<PathBuf, String>,
    machine: String,
    libc: Option<String>,
    icu: Option<String>,
    /// `None`: nobody knows.
    locales: Option<Vec<String>>,
    /// The number of the user who owned the files, by his name; `None`: there is no such user.
    owner: Option<u32>,
    /// Where the server's libraries lie.
    libraries: Option<PathBuf>,
}

impl Default for Here {
    fn default() -> Self {
        Self {
            postgres: Err(String::new()),
            machine: std::env::consts::ARCH.to_owned(),
            libc: None,
            icu: None,
            locales: None,
            owner: None,
            libraries: None,
        }
    }
}

impl Here {
    /// Returns whether a library is here; `None` where nobody knows where they lie.
    fn has(&self, library: &str) -> Option<bool> {
        Some(self.libraries.as_ref()?.join(format!("{library}.so")).exists())
    }
}

/// Returns the folder of a server's libraries.
fn libraries_of(postgres: &Path) -> Option<PathBuf> {
    let postgres = postgres.canonicalize().ok()?;
    let config = postgres.with_file_name("pg_config");
    let said = ask(Words::of(config).word("--pkglibdir")).map(PathBuf::from);
    // As Debian has it: `…/bin/postgres` and `…/lib`.
    said.or_else(|| Some(postgres.parent()?.parent()?.join("lib"))).filter(|folder| folder.is_dir())
}

/// Compares what a point says with what this machine has.
pub(super) fn foresee(made: &MadeWith, programs: Option<&Path>) -> Foreseen {
    let Some(major) = made.get(MAJOR) else { return compare(made, &Here::default()) };
    let postgres = program("postgres", major, programs);
    let here = Here {
        libc: libc(),
        icu: postgres.as_ref().ok().and_then(|postgres| icu(postgres)),
        locales: locales(),
        libraries: postgres.as_ref().ok().and_then(|postgres| libraries_of(postgres)),
        owner: made.get(OWNER).and_then(|owner| number_of(owner.rsplit_once(':')?.0)),
        postgres: postgres.map_err(|error| error.to_string()),
        ..Here::default()
    };
    compare(made, &here)
}

fn compare(made: &MadeWith, here: &Here) -> Foreseen {
    let mut foreseen = Foreseen::default();
    let said = |name: &str| made.get(name).map(String::as_str);
    if let Some(machine) = said(MACHINE).filter(|machine| *machine != here.machine) {
        foreseen.refused.push(format!(
            "its files were written on {machine}, and this machine is {}: PostgreSQL can't be trusted with them here. Recover it on a machine like that, or load a \
             dump (source.pg_dump)",
            here.machine
        ));
    }
    if let Some(bytes) = said(PAGE).filter(|bytes| *bytes != "8192") {
        foreseen.warned.push(format!(
            "its pages have {bytes} bytes: a server that wasn't built for that, as packages' are not, refuses its files"
        ));
    }
    // A server that ran in something of its own is nothing that this machine could be held against.
    let Some(major) = said(MAJOR) else { return foreseen };
    if let Err(why) = &here.postgres {
        foreseen.refused.push(format!(
            "it was captured from PostgreSQL {major}, whose files no other version reads: {why}. Dumps (source.pg_dump) go to a newer one"
        ));
        return foreseen;
    }
    if let (Some(then), Some(now)) = (said(LIBC), here.libc.as_deref())
        && then != now
    {
        foreseen.warned.push(resorted(&format!("the C library {then}"), now));
    }
    if let Some(then) = said(ICU) {
        match here.icu.as_deref() {
            Some(now) if now != then => foreseen.warned.push(resorted(&format!("ICU {then}"), now)),
            Some(_) => {}
            None => foreseen.warned.push(format!(
                "its texts were sorted by ICU {then}, and PostgreSQL was built without ICU here: its databases will let nobody in. Install another package of it"
            )),
        }
    }
    if let (Some(wanted), Some(there)) = (said(LOCALES), &here.locales) {
        for locale in wanted.split(',').filter(|wanted| !there.contains(&normal(wanted))) {
            foreseen.warned.push(format!(
                "it needs the locale {locale}, which this machine doesn't have, and may not start or let anybody in without: make it first ({})",
                makes(locale)
            ));
        }
    }
    for library in said(LIBRARIES).into_iter().flat_map(|list| list.split(',')) {
        if here.has(library) == Some(false) {
            let folder = here.libraries.clone().unwrap_or_default();
            foreseen.warned.push(format!(
                "it loads the library {library}, and {} has no {library}.so: install the extension that it belongs to, or what needs it fails",
                folder.display()
            ));
        }
    }
    if let Some((name, number)) = said(OWNER).and_then(|owner| owner.rsplit_once(':')) {
        match here.owner {
            None => foreseen.warned.push(format!(
                "its files belong to the user {name} ({number}), and there is no such user here: make him with that number first"
            )),
            Some(now) if now.to_string() != number => foreseen.warned.push(format!(
                "its files come back as those of user {number}, and {name} is {now} here: if its server is refused them, type: chown -R {name}: DATA_DIRECTORY (and its \
                 tablespaces), and go on with --resume"
            )),
            Some(_) => {}
        }
    }
    foreseen
}

fn resorted(then: &str, now: &str) -> String {
    format!(
        "its texts were sorted by {then}, and here it is {now}: until its text indexes are rebuilt they may not find what is there. What to type is said once it is back"
    )
}

/// Returns what makes a locale.
fn makes(locale: &str) -> String {
    let (name, codeset) = locale.split_once('.').unwrap_or((locale, "UTF-8"));
    let codeset = codeset.split('@').next().unwrap_or(codeset);
    format!("localedef -i {name} -f {codeset} {locale}")
}

/// Returns a locale's name as `locale -a` writes it, whatever the spelling: `fr_FR.UTF-8` is `fr_FR.utf8`.
fn normal(locale: &str) -> String {
    let (name, rest) = locale.split_once('.').unwrap_or((locale, ""));
    format!("{name}.{}", rest.to_ascii_lowercase().replace('-', ""))
}

fn ask(command: Words) -> Option<String> {
    let said = Program::new(command).ok()?.within(ASK_WITHIN).output().ok()?;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Returns the version of this machine's C library. Of another than GNU's nobody knows what it sorts by.
fn libc() -> Option<String> {
    ask(Words::of("getconf").word("GNU_LIBC_VERSION"))?.strip_prefix("glibc ").map(str::to_owned)
}

/// Returns the locales of this machine.
fn locales() -> Option<Vec<String>> {
    Some(ask(Words::of("locale").word("-a"))?.lines().map(normal).collect())
}

/// Returns the major version of ICU that a server was built with: the name of the library stands in it.
fn icu(postgres: &Path) -> Option<String> {
    const NAME: &[u8] = b"libicui18n.so.";
    let program = std::fs::read(postgres).ok()?;
    let at = program.windows(NAME.len()).position(|there| there == NAME)?;
    let rest = program.get(at + NAME.len()..)?;
    let digits: String =
        rest.iter().take(8).map(|byte| char::from(*byte)).take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

fn name_of(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

fn number_of(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pairs: &[(&str, &str)]) -> MadeWith {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A machine as the one that the point was made on.
    fn here() -> Here {
        Here {
            postgres: Ok("/usr/lib/postgresql/15/bin/postgres".into()),
            machine: "x86_64".into(),
            libc: Some("2.36".into()),
            icu: Some("72".into()),
            locales: Some(["C", "C.utf8", "fr_FR.utf8"].map(normal).into()),
            owner: Some(101),
            libraries: None,
        }
    }

    fn point() -> MadeWith {
        made(&[
            (MAJOR, "15"),
            (MACHINE, "x86_64"),
            (PAGE, "8192"),
            (LIBC, "2.36"),
            (ICU, "72"),
            (LOCALES, "C.UTF-8,fr_FR.UTF-8"),
            (LIBRARIES, "pg_cron"),
            (OWNER, "postgres:101"),
        ])
    }

    #[test]
    fn on_a_machine_like_the_one_before_nothing_is_said_and_of_an_old_point_nothing_is_known() {
        assert_eq!(compare(&point(), &here()), Foreseen::default());
        assert_eq!(foresee(&MadeWith::new(), None), Foreseen::default());
        // Where its server ran in something of its own, this machine's libraries are not its.
        let elsewhere = Here { postgres: Err("none".into()), libc: Some("2.41".into()), ..here() };
        assert_eq!(compare(&made(&[(MACHINE, "x86_64"), (LIBC, "2.36")]), &elsewhere), Foreseen::default());
    }

    #[test]
    fn what_can_not_come_back_here_is_refused_with_the_way_out() {
        let other =
            Here { postgres: Err("it takes PostgreSQL 15, and none is here: install it".into()), ..here() };
        let refused = compare(&point(), &other).refused.join("\n");
        assert!(
            refused.contains("captured from PostgreSQL 15") && refused.contains("install it"),
            "{refused}"
        );
        let other = Here { machine: "aarch64".into(), ..here() };
        let refused = compare(&point(), &other).refused.join("\n");
        assert!(refused.contains("x86_64") && refused.contains("aarch64"), "{refused}");
    }

    #[test]
    fn what_will_be_wrong_here_is_said_beforehand_each_with_what_to_do() {
        let lib = tempfile::tempdir().unwrap();
        let cases: [(Here, &[&str]); 8] = [
            (
                Here { libc: Some("2.41".into()), ..here() },
                &["the C library 2.36", "here it is 2.41", "rebuilt"],
            ),
            (Here { icu: Some("76".into()), ..here() }, &["ICU 72", "here it is 76"]),
            (Here { icu: None, ..here() }, &["ICU 72", "built without ICU"]),
            (
                Here { locales: Some(vec![normal("C.utf8")]), ..here() },
                &["fr_FR.UTF-8", "localedef -i fr_FR -f UTF-8 fr_FR.UTF-8"],
            ),
            (Here { libraries: Some(lib.path().into()), ..here() }, &["pg_cron.so", "install the extension"]),
            (Here { owner: None, ..here() }, &["postgres (101)", "no such user"]),
            (
                Here { owner: Some(112), ..here() },
                &["user 101", "postgres is 112 here", "chown -R postgres:"],
            ),
            (Here { libc: None, ..here() }, &[]),
        ];
        for (here, words) in cases {
            let foreseen = compare(&point(), &here);
            let said = foreseen.warned.join("\n");
            assert_eq!(foreseen.warned.len(), usize::from(!words.is_empty()), "{said}");
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
            assert!(foreseen.refused.is_empty());
        }
        std::fs::write(lib.path().join("pg_cron.so"), "").unwrap();
        let there = Here { libraries: Some(lib.path().into()), ..here() };
        assert_eq!(compare(&point(), &there), Foreseen::default());
    }

    #[test]
    fn names_are_one_however_they_are_written() {
        assert_eq!(normal("fr_FR.UTF-8"), normal("fr_FR.utf8"));
        assert_ne!(normal("fr_FR.UTF-8"), normal("fr_FR.iso88591"));
        assert_eq!(
            makes("de_DE.ISO-8859-15@euro"),
            "localedef -i de_DE -f ISO-8859-15 de_DE.ISO-8859-15@euro"
        );
        let found: Vec<String> = names("$libdir/pg_trgm, \"pg_stat_statements\",/opt/x.so,").collect();
        assert_eq!(found, ["pg_trgm", "pg_stat_statements"]);
        assert!(is_plain("C.UTF-8") && is_plain("POSIX") && !is_plain("fr_FR.UTF-8"));
    }
}

//! Gives a server what a dump and a log need, or says what to type: before anything on it is replaced.

use super::binlog::replay::{Output, Replay};
use super::client::Client;
use super::needs::Needs;
use super::session::Session;
use crate::{Error, Kind, Result};
use process::Words;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Where a system keeps its time zones.
const ZONES: &str = "/usr/share/zoneinfo";
/// What makes statements of them, also by its older name.
const TO_SQL: [&str; 2] = ["mariadb-tzinfo-to-sql", "mysql_tzinfo_to_sql"];
const WITHIN: Duration = Duration::from_secs(600);
/// Other names of engines that every server has, or calls otherwise.
const ALIASES: [(&str, &str); 4] =
    [("heap", "memory"), ("merge", "mrg_myisam"), ("innobase", "innodb"), ("maria", "aria")];
/// How users log in without any plugin.
const PLAIN: [&str; 3] = ["", "mysql_native_password", "mysql_old_password"];

/// A plugin that a server has, or could have.
#[derive(Debug, PartialEq, Eq)]
struct Plugin {
    name: String,
    is_active: bool,
    /// Where it comes from.
    library: Option<String>,
}

/// Provides what is needed, or refuses. `quietly` nothing of it is written into the server's log. Returns what will be wrong all the same.
pub(super) fn provide(
    client: &Client,
    needs: &Needs,
    quietly: bool,
    told: &dyn Fn(&str),
) -> Result<Vec<String>> {
    let (mut lacks, mut findings) = (Vec::new(), Vec::new());
    if let Some((one, other)) = &needs.twins
        && client.ask("SELECT @@GLOBAL.lower_case_table_names")?.concat() != ["0"]
    {
        lacks.push(format!(
            "{one} and {other} would be one on this server: start it with lower_case_table_names = 0, on a data directory that was made so"
        ));
    }
    if needs.has_passwords {
        lacks.extend(rules(client)?);
    }
    // Older servers don't know it, and take them.
    let refuses = || client.ask("SELECT @@GLOBAL.innodb_read_only_compressed").map(|rows| rows.concat());
    if needs.has_compressed && refuses().is_ok_and(|said| said == ["1"]) {
        lacks.push(
            "tables of the dump are compressed (ROW_FORMAT=COMPRESSED), and this server only reads such: start it with innodb_read_only_compressed = OFF".to_owned(),
        );
    }
    let mut installed = BTreeSet::new();
    for (kind, names, is_needed) in [
        ("STORAGE ENGINE", &needs.engines, true),
        ("AUTHENTICATION", &needs.logins, true),
        ("AUTHENTICATION", &needs.logins_later, false),
    ] {
        if names.iter().all(|name| PLAIN.contains(&name.as_str())) {
            continue;
        }
        let there = plugins(client, kind)?;
        for name in names.iter().filter(|name| !PLAIN.contains(&name.as_str())) {
            let known =
                ALIASES.iter().find(|(alias, _)| alias == name).map_or(name.as_str(), |&(_, known)| known);
            let what = if kind == "STORAGE ENGINE" { "storage engine" } else { "plugin for logging in" };
            let why = match choose(&there, known) {
                Choice::Active => continue,
                Choice::Library(library) if installed.contains(library) => continue,
                Choice::Library(library) => match install(client, library, quietly) {
                    Ok(()) => {
                        told(&format!(
                            "the {what} {name} was missing on the server, and was installed there"
                        ));
                        installed.insert(library.to_owned());
                        continue;
                    }
                    Err(error) => format!(
                        "the {what} {name} is missing on the server, and could not be installed: {error}: type INSTALL SONAME '{library}'"
                    ),
                },
                Choice::Nothing => format!(
                    "the {what} {name} is missing on the server, and its library too: install the package that has it (apt-cache search mariadb-plugin), and type INSTALL SONAME"
                ),
            };
            match is_needed {
                true => lacks.push(why),
                false => findings.push(format!("{why}; until then users who log in with it can't")),
            }
        }
    }
    let unknown = unknown(client, &needs.zones)?;
    if !unknown.is_empty() && lacks.is_empty() {
        told(&format!(
            "the server does not know the time zone {}: loading those of this machine",
            unknown.join(", ")
        ));
        let loaded = zones(client, quietly);
        let left = self::unknown(client, &needs.zones)?;
        if !left.is_empty() {
            let why = loaded.err().map_or_else(String::new, |error| format!(" ({error})"));
            lacks.push(format!(
                "the server does not know the time zone {}{why}: type mariadb-tzinfo-to-sql {ZONES} | mariadb mysql on its machine",
                left.join(", ")
            ));
        }
    }
    match lacks.is_empty() {
        true => Ok(findings),
        false => Err(Error::new(client.address.to_string(), Kind::Invalid(lacks.join("; ")))),
    }
}

/// Provides what a log needs on a server of our own, or refuses.
pub(super) fn for_log(client: &Client, replay: &Replay, told: &dyn Fn(&str)) -> Result<bool> {
    let mut needs = Needs::default();
    replay.needs(client, &mut needs)?;
    provide(client, &needs, true, told).map(|_| needs.files.has_own)
}

/// Says what on a server keeps a log from being replayed there, whatever stands in it.
pub(super) fn takes_log(client: &Client) -> Result<()> {
    let refused = |why: &str| Err(Error::new(client.address.to_string(), Kind::Invalid(why.to_owned())));
    if client.ask("SELECT @@GLOBAL.secure_timestamp")?.concat() == ["YES"] {
        return refused(
            "the server lets nobody set the time of a statement: start it without secure_timestamp for the time of the recovery",
        );
    }
    Ok(())
}

/// Returns what keeps passwords of a log out.
fn rules(client: &Client) -> Result<Vec<String>> {
    let there = plugins(client, "PASSWORD VALIDATION")?;
    let rules = there.into_iter().filter(|plugin| plugin.is_active).map(|plugin| {
        let library = plugin.library.unwrap_or_default();
        format!(
            "the plugin {} has rules for passwords, by which the log may not go into the server: type UNINSTALL SONAME '{library}', and afterwards INSTALL SONAME '{library}'",
            plugin.name
        )
    });
    Ok(rules.collect())
}

fn plugins(client: &Client, kind: &str) -> Result<Vec<Plugin>> {
    // Where two libraries have one of a name, the one that MariaDB itself uses comes first.
    let rows = client.ask(&format!(
        "SELECT LOWER(PLUGIN_NAME), PLUGIN_STATUS, PLUGIN_LIBRARY FROM information_schema.ALL_PLUGINS WHERE PLUGIN_TYPE = '{kind}'
            ORDER BY PLUGIN_LIBRARY = 'ha_federated.so', PLUGIN_LIBRARY"
    ))?;
    let plugins = rows.into_iter().filter_map(|row| {
        let [name, status, library] = <[String; 3]>::try_from(row).ok()?;
        let library = library.strip_suffix(".so").map(str::to_owned);
        Some(Plugin { name, is_active: status == "ACTIVE", library })
    });
    Ok(plugins.collect())
}

/// How a plugin can be had.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    Active,
    Library(&'a str),
    Nothing,
}

fn choose<'a>(there: &'a [Plugin], name: &str) -> Choice<'a> {
    let mut named = there.iter().filter(|plugin| plugin.name == name);
    if named.clone().any(|plugin| plugin.is_active) {
        return Choice::Active;
    }
    let is_plain =
        |library: &&str| library.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    named
        .find_map(|plugin| plugin.library.as_deref().filter(is_plain))
        .map_or(Choice::Nothing, Choice::Library)
}

fn install(client: &Client, library: &str, quietly: bool) -> Result<()> {
    let log = if quietly { "SET SESSION sql_log_bin = 0; " } else { "" };
    client.ask(&format!("SET SESSION tx_read_only = 0; {log}INSTALL SONAME '{library}'")).map(drop)
}

/// Returns those zones that the server doesn't know.
fn unknown(client: &Client, zones: &BTreeSet<String>) -> Result<Vec<String>> {
    if zones.is_empty() {
        return Ok(Vec::new());
    }
    let known = zones
        .iter()
        .map(|zone| format!("SELECT CONVERT_TZ('2020-06-01 12:00:00', '+00:00', '{zone}') IS NOT NULL"));
    let rows = client.ask(&known.collect::<Vec<_>>().join(";\n"))?;
    let known = rows.iter().map(|row| row.first().is_some_and(|said| said == "1"));
    Ok(zones.iter().zip(known).filter(|(_, is_known)| !is_known).map(|(zone, _)| zone.clone()).collect())
}

/// Loads the zones of this machine into the server.
fn zones(client: &Client, quietly: bool) -> Result<()> {
    if !Path::new(ZONES).exists() {
        let why = "this machine has none: apt-get install tzdata";
        return Err(Error::new(ZONES, Kind::Invalid(why.to_owned())));
    }
    let mut failed = None;
    for name in TO_SQL {
        let mut session = Session::open(client)?;
        if quietly {
            session.say("SET SESSION sql_log_bin = 0;\n")?;
        }
        session.say("USE mysql;\n")?;
        let program = crate::Program::new(Words::of(client.path(name)).word(ZONES))?.within(WITHIN);
        let wrong = |why: String| Error::new(format!("run {name}"), Kind::Program(why));
        match program.start(Stdio::null()) {
            Ok(running) => {
                let mut printed = Output(running);
                session.feed(&mut printed, &|_| ())?;
                // It complains of files that are no zones, and ends well.
                printed.0.end(WITHIN).map_err(wrong)?;
                return session.end().map(drop);
            }
            Err(why) => failed = Some(wrong(why)),
        }
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(name: &str, is_active: bool, library: Option<&str>) -> Plugin {
        Plugin { name: name.to_owned(), is_active, library: library.map(str::to_owned) }
    }

    #[test]
    fn a_plugin_that_works_is_left_alone_and_one_that_lies_there_is_taken_by_its_library() {
        let there = [
            plugin("federated", false, Some("ha_federatedx")),
            plugin("federated", false, Some("ha_federated")),
            plugin("pam", false, Some("auth_pam")),
            plugin("pam", true, Some("auth_pam_v1")),
            plugin("odd", false, Some("a'b")),
            plugin("disabled", false, None),
        ];
        assert_eq!(choose(&there, "federated"), Choice::Library("ha_federatedx"));
        assert_eq!(choose(&there, "pam"), Choice::Active);
        for name in ["odd", "disabled", "rocksdb"] {
            assert_eq!(choose(&there, name), Choice::Nothing, "{name}");
        }
    }
}

//! From facts to the text of a plan. Pure: the same facts give the same text, and whatever the facts, it can be read.

use super::disks;
use super::machine::Facts;
use super::systems::{Proposed, propose};
use std::fmt::Write;

/// Names in a plan are kept this short, so that tables of them stay readable.
const NAME_CHARS_MAX: usize = 40;

/// What isn't seen on the machine.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Where the plan will stand: absolute.
    pub(super) dir: String,
    /// Where the local vault's password stands: absolute.
    pub(super) key: String,
    /// Whether Relève runs as root here.
    pub(super) privileged: bool,
}

/// A plan.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) text: String,
    /// The address of the local vault.
    pub(super) vault: String,
    /// The systems that are not commented out.
    pub(super) systems: Vec<String>,
}

/// Returns the plan for a machine.
pub(super) fn plan(facts: &Facts, place: &Place) -> Written {
    let host = name(&facts.hostname, "server");
    let vault = vault(facts, place);
    let systems = propose(facts, place.privileged);
    let mut out = String::new();
    head(&mut out, facts, &host);
    vaults(&mut out, &vault, place);
    out.push_str(SYSTEMS);
    for system in &systems {
        out.push('\n');
        write_system(&mut out, system, &host);
    }
    out.push_str(POLICY);
    out.push_str(&SCENARIOS.replace("HOST", &host));
    let systems = systems.into_iter().filter(|system| !system.commented).map(|system| system.name).collect();
    Written { text: out, vault: vault.url, systems }
}

const SYSTEMS: &str = r#"
# ---- What the company needs back -------------------------------------------------------------------------------
#
# DECIDE for each: how badly it is needed (vital, important, normal), how soon it must be back (rto), how much work may be
# lost (rpo, never less than policy.every), and how it is known that it works (check). A vital system has an owner and a deputy.
"#;

const POLICY: &str = r#"
# ---- How it is kept --------------------------------------------------------------------------------------------

[policy]
vaults = ["local"]      # DECIDE: add "cloud": a single copy beside the original burns with it
every = "1 hour"
verify = { every = "1 week", read_data = "10%" }
# Every point is kept until you say what is enough, and who prunes (`releve prune --dry-run` shows what would go):
# keep = { hourly = 24, daily = 14, weekly = 8, monthly = 12 }
# prune = { every = "1 day" }
"#;

const SCENARIOS: &str = r#"
# ---- The bad days ----------------------------------------------------------------------------------------------
#
# releve recover --scenario NAME --dry-run    shows what would be done, and does nothing.
# Rehearse: releve recover --to an empty folder.
# releve scenarios    lists what ships besides (a supplier fails, nobody may enter, the power is gone, …), to be pasted here.

# A dead disk or power supply: rebuild on other hardware from the newest point.
[scenarios.hardware]
cause = "hardware failure"
restore_point = "latest"
before = [{ ask = "Get a machine that can stand in, with this plan and the vaults' keys", who = "admin", within = "4 hours" }]

# A bad setting, a deleted file: put back just that system, from before the change (--before TIME where the newest point has it too).
[scenarios.mistake]
cause = "human error"
restore_point = "latest"

# Ransomware: isolate first, then the last point from before the first sign of it, onto a machine that is clean.
[scenarios.ransomware]
cause = "cyberattack"
restore_point = "last clean"
isolate = ["HOST"]
before = [{ ask = "Unplug the infected machines from the network, and leave them as they are", who = "admin", within = "10 minutes" }]
after = [{ ask = "Change every password and key that the machine knew", who = "deputy", within = "1 day" }]

# An update that breaks things: back to the point before it. Make one just before each update: releve backup.
[scenarios.update]
cause = "software bug"
restore_point = "latest"
after = [{ ask = "Hold the update back until it is understood", who = "admin" }]

# Fire, flood, theft: only a copy on another site survives. DECIDE: until there is one, this can't be recovered from.
[scenarios.site]
cause = "site loss"
restore_point = "latest"
before = [{ ask = "Find a place and a machine that can stand in", who = "admin", within = "1 day" }]
"#;

fn head(out: &mut String, facts: &Facts, host: &str) {
    let hostname = if facts.hostname.trim().is_empty() { host } else { &facts.hostname };
    comment(
        out,
        &format!(
            "The plan of {hostname}: what is promised, where the copies are, what is done on the bad day."
        ),
    );
    out.push_str(
        "#\n# `releve init` wrote it from what it saw. It can be used as it stands; look for DECIDE for what no program can know.\n\
         # `releve check` says what is wrong with it, `releve schema` lets an editor complete it. Keep a copy away from this machine.\n",
    );
    if let Some(system) = &facts.system {
        comment(out, &format!("This machine runs {system}."));
    }
    for note in &facts.notes {
        comment(out, &format!("Note: {note}."));
    }
    for program in facts.left_out() {
        let what = "has no system below: one that dumps its data is yours to add (source.command)";
        comment(out, &format!("Note: {program} runs here and {what}."));
    }
    let _ = write!(
        out,
        "\n[organisation]\nname = {}     # DECIDE: the company's name\nlanguage = \"en\"\n\n\
         # DECIDE: who acts, and how they are reached when nothing works. Two people: one may be ill.\n\
         [people.admin]\nname = \"The administrator\"\nrole = \"system administrator\"\ncontact = [\"mailto:admin@example.com\", \"tel:+33600000001\"]\n\n\
         [people.deputy]\nname = \"The deputy\"\nrole = \"stands in for the administrator\"\ncontact = [\"mailto:deputy@example.com\", \"tel:+33600000002\"]\n\n\
         # A site is what burns, floods or loses power as one.\n[sites.here]\ntitle = \"Where this machine stands\"     # DECIDE\n\n\
         [sites.cloud]\ntitle = \"Somewhere else\"     # DECIDE\n\n[hosts.{host}]\nsite = \"here\"\n",
        text(hostname)
    );
    if hostname != host {
        let _ = writeln!(out, "name = {}", text(hostname));
    }
}

struct Vault {
    url: String,
    /// On another disk than the machine's own.
    apart: bool,
}

fn vault(facts: &Facts, place: &Place) -> Vault {
    match disks::second(&facts.mounts, &facts.disks) {
        Some(mount) if place.privileged => {
            Vault { url: address(&format!("{}/releve", mount.at.trim_end_matches('/'))), apart: true }
        }
        _ if place.privileged => Vault { url: "file:///srv/releve".into(), apart: false },
        _ => Vault { url: address(&format!("{}/vault", place.dir.trim_end_matches('/'))), apart: false },
    }
}

fn vaults(out: &mut String, vault: &Vault, place: &Place) {
    out.push_str("\n# ---- Where the copies are --------------------------------------------------------------------------------------\n\n");
    if vault.apart {
        out.push_str("# On another disk than the system's: it outlives that one, and neither the building nor an intruder.\n");
    } else {
        out.push_str("# DECIDE: on the same disk as the original this helps against mistakes and bad updates only. Better a second disk, a NAS.\n");
    }
    let _ = write!(
        out,
        "[vaults.local]\nurl = {}\nsite = \"here\"\n\
         # Store this file elsewhere too, on paper or in a password safe: without it the vault is lost.\npassword = {{ file = {} }}\n\n",
        text(&vault.url),
        text(&place.key)
    );
    let key = text(&format!("{}/cloud.key", place.dir.trim_end_matches('/')));
    comment(
        out,
        &format!(
            "DECIDE: the copy that survives fire and theft. Any S3 store, or sftp://user@host//folder on a machine elsewhere.\n\
             Take these lines in, put \"cloud\" into policy.vaults, and put a password of its own into the file below:\n\
             releve key generate --to cloud.key\n\
             [vaults.cloud]\n\
             url = \"s3://bucket/releve?endpoint=https://s3.example.com&region=fr-par\"\n\
             site = \"cloud\"\n\
             password = {{ file = {key} }}\n\
             access_key = {{ env = \"AWS_ACCESS_KEY_ID\" }}\n\
             secret_key = {{ env = \"AWS_SECRET_ACCESS_KEY\" }}"
        ),
    );
}

fn write_system(out: &mut String, system: &Proposed, host: &str) {
    for remark in &system.remarks {
        comment(out, remark);
    }
    let mut lines = format!(
        "[systems.{}]\ntitle = {}\nhost = \"{host}\"\ncriticality = \"{}\"\nrto = \"4 hours\"\nrpo = \"2 hours\"\nowner = \"admin\"\ndeputy = \"deputy\"\n",
        system.name,
        text(&system.title),
        system.criticality
    );
    if !system.needs.is_empty() {
        let _ = writeln!(lines, "needs = {}", array(&system.needs));
    }
    let _ = writeln!(lines, "source = {}", system.source);
    let actions = [("stop", &system.stop), ("start", &system.start)];
    let actions: Vec<_> = actions
        .iter()
        .filter_map(|(verb, unit)| Some((verb, unit.as_ref().filter(|unit| !unit.trim().is_empty())?)))
        .map(|(verb, unit)| format!("{verb} = {{ service = {} }}", text(unit)))
        .collect();
    if !actions.is_empty() {
        let _ = writeln!(lines, "recover = {{ {} }}", actions.join(", "));
    }
    if system.checks.is_empty() && !system.commented {
        lines.push_str("# DECIDE: check = [{ http = \"http://127.0.0.1/\" }], or tcp, command, file\n");
    } else if !system.checks.is_empty() {
        let _ = writeln!(lines, "check = [{}]", system.checks.join(", "));
    }
    if system.commented { comment(out, &lines) } else { out.push_str(&lines) }
}

/// Writes lines of comment. What would end the line, or may not stand in TOML, becomes a question mark.
fn comment(out: &mut String, text: &str) {
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let clean = line.replace(plain::acts, "?");
        let _ = writeln!(out, "# {clean}");
    }
}

/// Returns a TOML string.
pub(super) fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // TOML forbids the controls; the others would hide in the plan what it says.
            c if plain::acts(c) => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns a TOML array of strings.
pub(super) fn array(texts: &[impl AsRef<str>]) -> String {
    let texts: Vec<_> = texts.iter().map(|one| text(one.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns the pattern that matches just this path.
pub(super) fn glob(path: &str) -> String {
    path.chars().flat_map(|c| "\\*?[]{}!,".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Returns the nearest name that a plan allows: of ASCII, so that it needs no quotes.
pub(super) fn name(wanted: &str, otherwise: &str) -> String {
    let mut name = String::new();
    for c in wanted.chars().take(NAME_CHARS_MAX) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' => name.push(c.to_ascii_lowercase()),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_matches('-');
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

/// Returns the `file://` address of an absolute path.
fn address(path: &str) -> String {
    let mut out = String::from("file://");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;

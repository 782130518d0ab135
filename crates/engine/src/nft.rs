//! The packet filter of this machine, through Debian's `nft`. Only whole tables of our own are loaded and deleted, each in one
//! transaction of the kernel; other people's are never touched.

use crate::{Error, Result};
use process::Words;
use serde_json::Value;
use sha2::{Digest, Sha256};
use source::Program;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Where distributions put it. `PATH` isn't asked: root's often lacks sbin, and an intruder may have written it.
const PLACES: [&str; 5] =
    ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft", "/run/current-system/sw/bin/nft"];
/// The kernel answers within milliseconds; a ruleset of a hundred thousand elements within seconds.
const WITHIN: Duration = Duration::from_secs(60);
/// The number of the capability that filtering takes (`linux/capability.h`).
const CAP_NET_ADMIN: u32 = 12;

/// Returns an error unless this process may change the packet filter, and can. `verb` is what it wants to do: `isolating`.
pub(crate) fn ready(verb: &str) -> Result<()> {
    program()?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    if effective & (1 << CAP_NET_ADMIN) == 0 {
        let why = format!("{verb} takes root (CAP_NET_ADMIN): nothing was changed");
        return Err(Error::new(why).help("type it again with sudo in front of it"));
    }
    Ok(())
}

/// Puts this text, the inside of a table, in the place of the table of that name, if there is one.
pub(crate) fn load(table: &str, inside: &str) -> Result<()> {
    tell(&replacement(table, inside))
}

/// Returns what is loaded to put a table in the place of the one of its name: the kernel takes all of it or nothing.
pub(crate) fn replacement(table: &str, inside: &str) -> String {
    format!("{}table inet {table} {{\n{inside}}}\n", removal(table))
}

/// Deletes a table. One that isn't there is no error.
pub(crate) fn delete(table: &str) -> Result<()> {
    tell(&removal(table))
}

// A table that isn't there can't be deleted; one that is may be added again.
fn removal(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

fn tell(script: &str) -> Result<()> {
    let nft = Program::new(Words::of(program()?).words(["-f", "-"]))?.within(WITHIN);
    nft.tell(Some(script.as_bytes())).map_err(|why| {
        Error::new(format!("the packet filter was not changed: {why}")).help(
            "the kernel may lack nf_tables, or a container the right to use it; a pulled cable always works",
        )
    })
}

/// A table as the kernel has it.
pub(crate) struct Table(Vec<Value>);

/// Returns the table of this name, if it is there.
pub(crate) fn table(name: &str) -> Result<Option<Table>> {
    let tables = list(Words::of(program()?).words(["--json", "list", "tables", "inet"]))?;
    if !tables.iter().any(|object| object.pointer("/table/name").is_some_and(|found| found == name)) {
        return Ok(None);
    }
    let words = Words::of(program()?).words(["--json", "list", "table", "inet"]).bare(name);
    Ok(Some(Table(list(words.map_err(|why| Error::new(why.to_string()))?)?)))
}

fn list(words: Words) -> Result<Vec<Value>> {
    let failed = |why: String| Error::new(format!("the packet filter can't be read: {why}"));
    let nft = Program::new(words)?.within(WITHIN);
    let printed = nft.output().map_err(failed)?;
    let mut answer: Value = serde_json::from_slice(&printed).map_err(|error| failed(error.to_string()))?;
    match answer.get_mut("nftables").map(Value::take) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Err(failed(format!("nft says {answer}"))),
    }
}

impl Table {
    /// Returns whether a chain hooks in there and lets through only what its rules name.
    pub(crate) fn shuts(&self, hook: &str) -> bool {
        let is = |chain: &Value, key: &str, word: &str| chain.get(key).is_some_and(|found| found == word);
        self.each("chain").any(|chain| is(chain, "hook", hook) && is(chain, "policy", "drop"))
    }

    /// Returns how many packets the rules of a chain have counted.
    pub(crate) fn counted(&self, chain: &str) -> u64 {
        let rules = self.each("rule").filter(|rule| rule.get("chain").is_some_and(|of| of == chain));
        let statements = rules.filter_map(|rule| rule.get("expr")?.as_array()).flatten();
        statements.filter_map(|statement| statement.pointer("/counter/packets")?.as_u64()).sum()
    }

    /// Returns whether a set holds a number.
    pub(crate) fn names(&self, set: &str, number: u64) -> bool {
        let sets = self.each("set").filter(|found| found.get("name").is_some_and(|name| name == set));
        sets.filter_map(|set| set.get("elem")?.as_array()).flatten().any(|element| *element == number)
    }

    fn each<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter_map(move |object| object.get(kind))
    }

    /// Returns a text that stays the same as long as nobody changes the rules.
    pub(crate) fn fingerprint(&self) -> String {
        let mut rules =
            Value::Array(self.0.iter().filter(|object| object.get("metainfo").is_none()).cloned().collect());
        still(&mut rules);
        let digest = Sha256::digest(rules.to_string());
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Takes out what changes by itself: numbers that the kernel gives, and counters.
fn still(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["handle", "packets", "bytes"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(still);
        }
        Value::Array(items) => items.iter_mut().for_each(still),
        _ => {}
    }
}

fn program() -> Result<&'static str> {
    PLACES.into_iter().find(|place| Path::new(place).exists()).ok_or_else(|| {
        Error::new("nft isn't installed, which speaks to the packet filter")
            .help("apt install nftables; without a network: pull the cable, or ip link set dev … down")
    })
}

//! Finds out who is to get through: what names stand for, where the vaults are, who answers for names.

use super::script;
use crate::nft;
use plan::{Network, Peer, Place, Vault, VaultName};
use process::Words;
use serde::Serialize;
use source::{Mounts, Program};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::DirEntry;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long names are looked up, all of them together: on the day the resolver may be among the dead.
const NAMES_WITHIN: Duration = Duration::from_secs(10);
/// How long `ssh` may take to say where a name of its own leads.
const SSH_WITHIN: Duration = Duration::from_secs(10);
/// The port of SSH, where nothing names another.
const SSH: u16 = 22;
/// The port of those who answer for names.
const DNS: u16 = 53;

/// Where the kernel shows its network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Who is to get through, as a person says it.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Those who bring this machine back.
    pub management: Vec<Peer>,
    /// The vaults of the plan as well, so that it can be recovered while it is cut off.
    pub vaults: bool,
}

/// Who gets through, with addresses: what is loaded follows from this alone.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Prepared {
    /// Each of them.
    pub ways: Vec<Way>,
    /// What could not be kept reachable, and why.
    pub findings: Vec<String>,
    /// What isn't cut off, since it passes by this machine's network stack.
    pub passing_by: Vec<String>,
}

/// Somebody who gets through.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    /// As a person wrote it.
    pub name: String,
    /// What for.
    pub role: Role,
    /// At these addresses.
    #[serde(serialize_with = "as_texts")]
    pub networks: Vec<Network>,
    /// At this port alone. Of vaults and resolvers it is theirs, TCP and, for names, UDP; of management it is that of either side.
    pub port: Option<u16>,
}

/// What somebody gets through for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Brings this machine back: both may begin.
    Management,
    /// Holds copies: only this machine begins.
    Vault(VaultName),
    /// Answers for the names of vaults: only this machine begins.
    Resolver,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Management => write!(f, "management {}", self.name)?,
            Role::Vault(vault) => write!(f, "vault {vault} at {}", self.name)?,
            Role::Resolver => write!(f, "resolver {}, for the names of vaults", self.name)?,
        }
        let addresses: Vec<_> = self.networks.iter().map(Network::to_string).collect();
        let addresses = addresses.join(", ");
        match self.name.contains(&addresses) {
            true => Ok(()),
            false => write!(f, " ({addresses})"),
        }
    }
}

impl Prepared {
    /// Returns whether nobody gets through who could bring this machine back from elsewhere.
    #[must_use]
    pub fn has_no_management(&self) -> bool {
        self.ways.iter().all(|way| way.role != Role::Management)
    }

    /// Returns whether a connection from this address to `port` here goes on.
    #[must_use]
    pub fn lets_in(&self, from: IpAddr, port: u16) -> bool {
        from.is_loopback()
            || self.ways.iter().any(|way| {
                way.role == Role::Management
                    && way.port.is_none_or(|only| only == port)
                    && way.networks.iter().any(|network| network.contains(from))
            })
    }

    /// Returns what is loaded, as `nft` reads it.
    #[must_use]
    pub fn script(&self) -> String {
        nft::replacement(super::TABLE, &script::inside(self))
    }
}

/// Finds out who is to get through. Names are looked up, for ten seconds at most; nothing is changed.
#[must_use]
pub fn prepare(rules: &Rules, vaults: &BTreeMap<VaultName, Vault>) -> Prepared {
    let mut prepared = Prepared { passing_by: passing_by(), ..Prepared::default() };
    let mut wanted: Vec<(Role, String, Place, Option<u16>)> = Vec::new();
    for peer in &rules.management {
        wanted.push((Role::Management, peer.to_string(), peer.place.clone(), peer.port));
    }
    for (name, vault) in vaults.iter().filter(|_| rules.vaults) {
        match reached_at(vault) {
            Ok(Some((host, port))) => {
                let place =
                    host.parse::<IpAddr>().map_or(Place::Name(host.clone()), |at| Place::Network(at.into()));
                // What is on this machine gets through anyway.
                if !matches!(&place, Place::Network(at) if at.address.is_loopback()) {
                    wanted.push((
                        Role::Vault(name.clone()),
                        format!("{host} port {port}"),
                        place,
                        Some(port),
                    ));
                }
            }
            Ok(None) => {}
            Err(why) => prepared.findings.push(format!("vault {name}: {why}")),
        }
    }
    let by_name =
        wanted.iter().any(|(role, _, place, _)| matches!((role, place), (Role::Vault(_), Place::Name(_))));
    let names = wanted.iter().filter_map(|(.., place, _)| match place {
        Place::Name(name) => Some(name.clone()),
        Place::Network(_) => None,
    });
    let found = look_up(names.collect());
    for (role, name, place, port) in wanted {
        let networks = match &place {
            Place::Network(network) => vec![*network],
            Place::Name(name) => found.get(name).cloned().unwrap_or_default(),
        };
        if networks.is_empty() {
            prepared.findings.push(format!("{name}: nobody knows that name now: it can't be kept reachable"));
            continue;
        }
        prepared.ways.push(Way { name, role, networks, port });
    }
    if by_name {
        let resolvers = resolvers().into_iter().filter(|address| !address.is_loopback());
        prepared.ways.extend(resolvers.map(|address| Way {
            name: address.to_string(),
            role: Role::Resolver,
            networks: vec![address.into()],
            port: Some(DNS),
        }));
    }
    prepared
}

/// Looks names up side by side. What isn't known by the end of the time is left out.
fn look_up(names: Vec<String>) -> BTreeMap<String, Vec<Network>> {
    let (told, heard) = channel();
    let mut waiting = 0;
    for name in names {
        let told = told.clone();
        waiting += 1;
        // Not waited for: the C library takes as long as it likes.
        std::thread::spawn(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            let mut networks: Vec<Network> = found
                .map(|found| found.map(|at| at.ip().to_canonical().into()).collect())
                .unwrap_or_default();
            networks.sort_unstable();
            networks.dedup();
            let _ = told.send((name, networks));
        });
    }
    let until = Instant::now() + NAMES_WITHIN;
    let mut found = BTreeMap::new();
    while waiting > 0 {
        let Ok((name, networks)) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) else {
            break;
        };
        found.insert(name, networks);
        waiting -= 1;
    }
    found
}

/// Returns the host and port behind a vault; nothing if it is on this machine. The error says why it isn't known.
fn reached_at(vault: &Vault) -> Result<Option<(String, u16)>, String> {
    if let Some(folder) = vault::store::local_folder(&vault.url) {
        return mounted_from(&Mounts::read().unwrap_or_default(), &folder);
    }
    let Some(server) = vault::store::server(&vault.url) else {
        return Err("its address can't be read".to_owned());
    };
    if !server.by_ssh {
        return Ok(server.port.map(|port| (server.host, port)));
    }
    // What ssh makes of the name is in its own settings.
    let settings = Program::new(Words::from(["ssh", "-G"]).data([&server.host]))
        .map_err(|error| error.to_string())
        .and_then(|ssh| ssh.within(SSH_WITHIN).output())
        .map(|printed| String::from_utf8_lossy(&printed).into_owned())
        .unwrap_or_default();
    let setting = |name: &str| settings.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    if setting("proxyjump").or_else(|| setting("proxycommand")).is_some() {
        return Err(format!(
            "ssh goes to {} through another machine: name that one as management",
            server.host
        ));
    }
    let host = setting("hostname").unwrap_or(&server.host).to_owned();
    let port = server.port.or_else(|| setting("port")?.parse().ok()).unwrap_or(SSH);
    Ok(Some((host, port)))
}

/// Returns the server of the file system that a folder is on, if it is on another machine.
fn mounted_from(mounts: &Mounts, folder: &Path) -> Result<Option<(String, u16)>, String> {
    let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(mount) = mounts.under(&folder) else { return Ok(None) };
    let (kind, from) = (&mount.kind, &mount.source);
    let server = match kind.as_str() {
        "nfs" | "nfs4" => from.split_once(":/").map(|(host, _)| (host.trim_matches(['[', ']']), 2049)),
        "cifs" | "smb3" => from.trim_start_matches('/').split('/').next().map(|host| (host, 445)),
        "9p" | "ceph" | "fuse.sshfs" | "fuse.glusterfs" | "fuse.rclone" | "fuse.s3fs" | "lustre" => None,
        _ => return Ok(None),
    };
    server
        .map(|(host, port)| Some((host.to_owned(), port)))
        .ok_or_else(|| format!("its folder is on {kind}, from {from}: name that machine as management"))
}

/// Returns who answers for names: the machine's resolvers, and those behind a resolver of its own.
fn resolvers() -> Vec<IpAddr> {
    let servers = |path: &str| -> Vec<IpAddr> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        named.filter_map(|server| server.trim().split('%').next()?.parse().ok()).collect()
    };
    let mut found = servers("/etc/resolv.conf");
    if found.iter().any(IpAddr::is_loopback) {
        found.extend(servers("/run/systemd/resolve/resolv.conf"));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Returns what talks on this machine's cables without passing through its network stack.
fn passing_by() -> Vec<String> {
    let interfaces: Vec<_> = std::fs::read_dir(INTERFACES).into_iter().flatten().flatten().collect();
    let bridges = interfaces.iter().filter_map(|interface| {
        let ports: Vec<_> = std::fs::read_dir(interface.path().join("brif")).ok()?.flatten().collect();
        // A card has a device behind it; a guest's end has none.
        let is_card = |port: &&DirEntry| Path::new(INTERFACES).join(port.file_name()).join("device").exists();
        let cards = ports.iter().filter(is_card).count();
        (cards > 0 && ports.len() > cards).then(|| {
            format!("{} guests on the bridge {}", ports.len() - cards, interface.file_name().display())
        })
    });
    bridges.collect()
}

fn as_texts<S: serde::Serializer>(networks: &[Network], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(networks.iter().map(Network::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_on_another_machine_is_found_although_a_space_is_in_its_place() {
        let list = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 0:50 / /nowhere/our\\040vaults rw - nfs4 nas:/export rw\n\
            31 22 0:51 / /nowhere/far rw - fuse.sshfs nas: rw\n";
        let mounts = Mounts::parse(list.as_bytes()).unwrap();
        let from = |folder: &str| mounted_from(&mounts, Path::new(folder));
        assert_eq!(from("/nowhere/our vaults/near"), Ok(Some(("nas".to_owned(), 2049))));
        assert_eq!(from("/nowhere/near"), Ok(None));
        assert!(from("/nowhere/far").unwrap_err().contains("fuse.sshfs"));
    }
}

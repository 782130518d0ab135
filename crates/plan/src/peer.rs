//! Who may still be reached by a machine that is cut off.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Somebody on the network: `192.0.2.10`, `192.0.2.0/24`, `2001:db8::/32`, `vault.example`, each with a port if wanted
/// (`192.0.2.10:22`, `[2001:db8::10]:22`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub place: Place,
    /// Only this port, TCP and UDP, whichever side it is on; everything without.
    pub port: Option<u16>,
}

/// Where somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At one address, or at any of a network.
    Network(Network),
    /// Where this name leads.
    Name(String),
}

/// All addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits they have in common: 32 or 128 for one address.
    pub bits: u8,
}

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPeer {
    /// What is wrong with it.
    pub why: String,
    /// What to do instead.
    pub help: String,
}

impl fmt::Display for NoPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.help)
    }
}

impl std::error::Error for NoPeer {}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl Network {
    /// Returns whether an address is one of these. IPv4 in the clothes of IPv6 (`::ffff:192.0.2.1`) is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                own.to_bits().checked_shr(shift) == other.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }

    /// Returns the first address of the network that this one is in, with as many bits.
    fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self == Self::from(self.address) {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.port) {
            (Place::Network(network), None) => write!(f, "{network}"),
            (Place::Network(network), Some(port)) if network.address.is_ipv6() => {
                write!(f, "[{network}]:{port}")
            }
            (Place::Network(network), Some(port)) => write!(f, "{network}:{port}"),
            (Place::Name(name), None) => f.write_str(name),
            (Place::Name(name), Some(port)) => write!(f, "{name}:{port}"),
        }
    }
}

impl FromStr for Peer {
    type Err = NoPeer;

    fn from_str(text: &str) -> Result<Self, NoPeer> {
        let no = |why: String, help: &str| NoPeer { why, help: help.to_owned() };
        const FORMS: &str = "write 192.0.2.10, 192.0.2.0/24, 2001:db8::/32 or vault.example:443";
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            return Err(no(
                format!("`{text}` is a URL"),
                &format!("write the host and its port alone, {host}"),
            ));
        }
        let (place, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((place, "")) => (place, None),
                Some((place, port)) if port.starts_with(':') => (place, port.get(1..)),
                _ => return Err(no(format!("`{text}` is no address"), "write [2001:db8::10]:22")),
            },
            None => match text.rsplit_once(':') {
                // More than one colon: IPv6, which takes brackets before a port.
                Some((place, port)) if !place.contains(':') => (place, Some(port)),
                _ => (text, None),
            },
        };
        let port = match port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0)) {
            Some(None) => {
                return Err(no(
                    format!("`{text}` names no port"),
                    "write a port from 1 to 65535 behind the colon",
                ));
            }
            Some(port) => port,
            None => None,
        };
        let (address, bits) = match place.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (place, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            let digits = address.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ':');
            let is_name = !digits
                && !address.starts_with(['-', '.'])
                && address.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
            return match bits {
                None if is_name => Ok(Self { place: Place::Name(address.to_owned()), port }),
                _ => Err(no(format!("`{text}` is no address"), FORMS)),
            };
        };
        let whole = Network::from(address);
        let network = match bits.map(str::parse::<u8>) {
            None => whole,
            Some(Ok(bits)) if bits <= whole.bits => Network { bits, ..whole },
            Some(_) => {
                let help = format!("write 0 to {} behind the slash", whole.bits);
                return Err(no(format!("`{text}` is no network"), &help));
            }
        };
        if network.first() != address {
            let meant = Network { address: network.first(), ..network };
            let help = format!("write {meant} for the network, or {address} for the one machine");
            return Err(no(format!("`{text}` is one machine and a network at once"), &help));
        }
        if network.bits < if address.is_ipv4() { 8 } else { 16 } {
            let why = format!("`{text}` is so much of the world that nothing would be cut off");
            return Err(no(why, "name the machines that bring this one back"));
        }
        if address.is_loopback() || address.is_multicast() || address.is_unspecified() {
            let why = format!("`{text}` is nobody on the network");
            return Err(no(why, "name another machine; what runs on this one reaches itself anyway"));
        }
        Ok(Self { place: Place::Network(network), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        text.parse::<Peer>().unwrap_err().to_string()
    }

    #[test]
    fn addresses_networks_and_names_are_read_with_their_ports_and_written_as_they_were() {
        for text in [
            "192.0.2.10",
            "192.0.2.0/24",
            "192.0.2.10:22",
            "192.0.2.0/24:22",
            "2001:db8::/32",
            "2001:db8::10",
            "[2001:db8::10]:22",
            "[2001:db8::/32]:22",
            "vault.example",
            "vault.example:443",
            "nas",
        ] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), text);
        }
        let peer: Peer = "[2001:db8::/32]:22".parse().unwrap();
        let network = Network { address: "2001:db8::".parse().unwrap(), bits: 32 };
        assert_eq!(peer, Peer { place: Place::Network(network), port: Some(22) });
    }

    #[test]
    fn what_names_nobody_is_told_what_to_write() {
        assert!(why("192.0.2.10/24").contains("192.0.2.0/24 for the network, or 192.0.2.10"));
        assert!(why("2001:db8::1/32").contains("2001:db8::/32 for the network"));
        assert!(why("256.0.2.1").contains("is no address"));
        assert!(why("192.0.2.0/33").contains("0 to 32"));
        assert!(why("vault.example/24").contains("is no address"));
        assert!(why("https://vault.example:8443/x").contains("alone, vault.example:8443"));
        for text in ["192.0.2.1:0", "192.0.2.1:ssh", "vault.example:70000", "vault.example:"] {
            assert!(why(text).contains("1 to 65535"), "{text}");
        }
        for text in ["0.0.0.0/0", "::/0", "16.0.0.0/4"] {
            assert!(why(text).contains("nothing would be cut off"), "{text}");
        }
        for text in ["127.0.0.1", "::1", "224.0.0.1", "0.0.0.0"] {
            assert!(why(text).contains("nobody on the network"), "{text}");
        }
        for text in ["-oProxyCommand", "a b", "[::1", "", "2001:db8::1::2", "x;drop"] {
            assert!(why(text).contains("is no address"), "{text}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let peer = |text: &str| match text.parse::<Peer>().unwrap().place {
            Place::Network(network) => network,
            Place::Name(name) => panic!("{name}"),
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(peer("192.0.2.0/24").contains(address("192.0.2.255")));
        assert!(!peer("192.0.2.0/24").contains(address("192.0.3.0")));
        assert!(peer("192.0.2.10").contains(address("::ffff:192.0.2.10")));
        assert!(!peer("192.0.2.10").contains(address("192.0.2.11")));
        assert!(peer("2001:db8::/32").contains(address("2001:db8:ffff::1")));
        assert!(!peer("2001:db8::/32").contains(address("192.0.2.1")));
    }
}

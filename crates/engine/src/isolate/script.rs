//! The rules as `nft` reads them.

use super::found::{Prepared, Role, Way};
use plan::Network;
use std::fmt::Write as _;

/// Before every other table, and before the kernel follows connections.
const FIRST: &str = "-400";
/// Right after the kernel knows which connection a packet belongs to (-200), and before addresses are changed (-100).
const KNOWN: &str = "-190";
/// A TCP packet that opens no connection.
const STANDING: &str = "tcp flags & (fin | syn | rst | ack) != syn";

/// Returns the inside of our table.
pub(super) fn inside(prepared: &Prepared) -> String {
    let (mut input, mut output) = (String::new(), String::new());
    if !prepared.ways.is_empty() {
        help(prepared, &mut input, &mut output);
    }
    for way in &prepared.ways {
        for network in &way.networks {
            let (from, to) = rules(way, network);
            from.iter().for_each(|rule| line(&mut input, rule));
            to.iter().for_each(|rule| line(&mut output, rule));
        }
    }
    let chain = |name: &str, priority: &str, rules: &str| {
        format!(
            "  chain {name} {{\n    type filter hook {name} priority {priority}; policy drop;\n{rules}    counter comment \"stopped\"\n  }}\n"
        )
    };
    let input = format!("    iif \"lo\" accept\n{input}");
    let output = format!("    oif \"lo\" accept\n{output}");
    chain("input", FIRST, &input) + &chain("output", KNOWN, &output) + &chain("forward", FIRST, "")
}

fn line(rules: &mut String, rule: &str) {
    let _ = writeln!(rules, "    {rule}");
}

/// Adds what the ways need to work at all: the neighbours of IPv6, addresses that are leased, and word of packets that were too large. None of
/// it reaches anyone beyond the cable. (ARP isn't filtered here.)
fn help(prepared: &Prepared, input: &mut String, output: &mut String) {
    line(input, "icmp type destination-unreachable icmp code frag-needed accept");
    // A lease is asked for anew with a broadcast before it runs out.
    line(output, "ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept");
    line(input, "udp sport 67 udp dport 68 accept");
    let networks = || prepared.ways.iter().flat_map(|way| &way.networks);
    if !networks().any(|network| network.address.is_ipv6()) {
        return;
    }
    line(input, "icmpv6 type packet-too-big accept");
    line(
        input,
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept",
    );
    line(
        output,
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept",
    );
    // Switches that listen to these hand on the question who has an address only to those who asked for it.
    line(input, "icmpv6 type mld-listener-query ip6 hoplimit 1 accept");
    line(
        output,
        "icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1 accept",
    );
    line(output, "ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept");
    line(input, "ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept");
}

/// Returns what lets one network through, in and out.
fn rules(way: &Way, network: &Network) -> (Vec<String>, Vec<String>) {
    let family = if network.address.is_ipv4() { "ip" } else { "ip6" };
    let (from, to) = (format!("{family} saddr {network}"), format!("{family} daddr {network}"));
    let answers = |end: &str, port: u16, protocols: &[&str]| -> Vec<String> {
        let rule = |protocol: &&str| match *protocol {
            // Without the first packet there is no new connection: nothing has to be remembered, and those that stood before go on.
            "tcp" => format!("{end} tcp sport {port} {STANDING} accept"),
            other => format!("{end} {other} sport {port} ct direction reply accept"),
        };
        protocols.iter().map(rule).collect()
    };
    match (way.role.clone(), way.port) {
        (Role::Management, None) => (vec![format!("{from} accept")], vec![format!("{to} accept")]),
        (Role::Management, Some(port)) => {
            let both = format!("meta l4proto {{ tcp, udp }} th dport {port} accept");
            let opened = |end: &str| vec![format!("{end} {both}")];
            let protocols = ["tcp", "udp"];
            (
                [opened(&from), answers(&from, port, &protocols)].concat(),
                [opened(&to), answers(&to, port, &protocols)].concat(),
            )
        }
        (Role::Vault(_) | Role::Resolver, None) => (Vec::new(), Vec::new()),
        (Role::Vault(_), Some(port)) => {
            (answers(&from, port, &["tcp"]), vec![format!("{to} tcp dport {port} accept")])
        }
        (Role::Resolver, Some(port)) => (
            answers(&from, port, &["tcp", "udp"]),
            vec![format!("{to} meta l4proto {{ tcp, udp }} th dport {port} accept")],
        ),
    }
}

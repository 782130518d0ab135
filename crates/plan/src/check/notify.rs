//! How people are told: whether it can work, and whether it still does when the company's own systems are down.

use super::{Checker, PERSON, SYSTEM, Sort};
use crate::model::*;
use crate::notify::{Contact, Notify, Relay, Sms, Tls, is_address, is_loopback, out_of_service, ways};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const WEBHOOK: Sort = Sort { word: "webhook", table: "notify.webhooks" };

impl Checker<'_, '_> {
    pub(super) fn notify(&mut self) {
        let plan = self.plan;
        let Some(notify) = &plan.notify else {
            // A webhook is a name, and nothing says what it stands for.
            return self.webhooks(&Notify::default());
        };
        for (at, lead) in notify.leads.iter().enumerate() {
            self.refers(&format!("notify.leads.{at}"), PERSON, &lead.0, &plan.people);
        }
        self.links(notify);
        self.letters(notify);
        for (at, relay) in notify.relays.iter().enumerate() {
            self.relay(&format!("notify.relays.{at}"), relay);
        }
        for (at, mailbox) in notify.mailboxes.iter().enumerate() {
            self.refers(&format!("notify.mailboxes.{at}.system"), SYSTEM, &mailbox.system.0, &plan.systems);
        }
        for (name, webhook) in &notify.webhooks {
            let path = format!("notify.webhooks.{name}");
            self.depends(&path, webhook.system.as_ref());
            if webhook.token.is_some() && webhook.kind != crate::notify::WebhookKind::Ntfy {
                self.error(
                    "meaningless-key",
                    &format!("{path}.token"),
                    "`token` goes with kind = \"ntfy\"",
                    "take it out: with the others the url is all",
                );
            }
        }
        if let Some(sms) = &notify.sms {
            self.sms(sms);
        }
        self.webhooks(notify);
        self.reachable(notify);
    }

    fn webhooks(&mut self, notify: &Notify) {
        for (name, person) in &self.plan.people {
            for (at, contact) in person.contact.iter().enumerate() {
                if let Some(Contact::Webhook(webhook)) = Contact::parse(contact) {
                    let path = format!("people.{name}.contact.{at}");
                    self.refers(&path, WEBHOOK, &webhook.0, &notify.webhooks);
                }
            }
        }
    }

    /// Names the addresses that not every mail server takes. Of a domain's letters plain ones are made, of those before the `@` nobody can make any.
    fn letters(&mut self, notify: &Notify) {
        let plan = self.plan;
        let mut found: Vec<(String, &str)> = Vec::new();
        for (at, relay) in notify.relays.iter().enumerate() {
            found.push((format!("notify.relays.{at}.from"), &relay.from));
        }
        for (name, person) in &plan.people {
            let mails = person.contact.iter().enumerate();
            let mails = mails.filter_map(|(at, contact)| Some((at, contact.strip_prefix("mailto:")?)));
            found.extend(mails.map(|(at, address)| (format!("people.{name}.contact.{at}"), address)));
        }
        for (path, address) in found {
            let local = address.rsplit_once('@').map_or("", |(local, _)| local);
            if !local.is_ascii() && is_address(address) {
                let message = format!("only mail servers with SMTPUTF8 take `{address}`");
                let help = "give an address with plain letters before the @, or a second way; releve notify test shows what the relay takes";
                self.warn("needs-smtputf8", &path, message, help);
            }
        }
    }

    fn depends(&mut self, path: &str, system: Option<&SystemName>) {
        if let Some(system) = system {
            self.refers(&format!("{path}.system"), SYSTEM, &system.0, &self.plan.systems);
        }
    }

    fn links(&mut self, notify: &Notify) {
        if let Some(link) = &notify.link {
            let (scheme, rest) = link.split_once("://").unwrap_or_default();
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = match authority.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => host,
                _ => authority,
            };
            let sound = !host.is_empty()
                && !link.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@<>\"".contains(c))
                && (scheme == "https" || (scheme == "http" && is_loopback(host)));
            if !sound {
                let message =
                    format!("`{link}` can't begin a link: whoever reads one on its way can acknowledge");
                self.error(
                    "bad-url",
                    "notify.link",
                    message,
                    "write https://name.example, the address under which people reach notify.listen",
                );
            }
        }
        match notify.listen().parse::<SocketAddr>() {
            Ok(address) if address.ip().to_canonical().is_loopback() => {}
            Ok(address) => {
                let message = format!(
                    "links are answered at {address} without encryption: whoever reads one on its way can acknowledge"
                );
                let help = format!(
                    "write listen = \"{}\", and let a proxy with a certificate stand before it",
                    Notify::LISTEN
                );
                self.warn("listens-openly", "notify.listen", message, help);
            }
            Err(_) => {
                let message = format!("`{}` is no address to listen on", notify.listen());
                self.error(
                    "bad-address",
                    "notify.listen",
                    message,
                    format!("write address:port, {} say", Notify::LISTEN),
                );
            }
        }
    }

    fn relay(&mut self, path: &str, relay: &Relay) {
        self.depends(path, relay.system.as_ref());
        if relay.port.is_some_and(|port| !(1..=65535).contains(&port)) {
            self.error("bad-amount", &format!("{path}.port"), "no port has this number", "write 1 to 65535");
        }
        if relay.host.contains(|c: char| c.is_whitespace() || c.is_control() || "/:@".contains(c))
            && !is_loopback(&relay.host)
        {
            let message = format!("`{}` is no name of a machine", relay.host);
            self.error(
                "bad-address",
                &format!("{path}.host"),
                message,
                "write the name alone, smtp.example say, and port = 587",
            );
        }
        if !relay.from.is_empty() && !is_address(&relay.from) {
            let message = format!("`{}` is no address of a sender", relay.from);
            self.error(
                "bad-address",
                &format!("{path}.from"),
                message,
                "write releve@example, without mailto: and without a name",
            );
        }
        if relay.tls == Tls::None && !is_loopback(&relay.host) {
            let message = format!("the line to {} would not be encrypted", relay.host);
            self.error(
                "not-encrypted",
                &format!("{path}.tls"),
                message,
                "write tls = \"starttls\" or \"implicit\"; none is for a relay on this machine",
            );
        }
        if relay.user.is_some() != relay.password.is_some() && !self.notes.is_broken(path) {
            let message = "`user` and `password` belong together";
            self.error("half-keys", path, message, "write both, or neither");
        }
    }

    fn sms(&mut self, sms: &Sms) {
        self.depends("notify.sms", sms.system.as_ref());
        if self.notes.is_broken("notify.sms") {
            return;
        }
        if sms.command.is_some() == sms.url.is_some() {
            let help =
                "write url = { file = \"/etc/releve/sms.url\" }, or command = [\"send-sms\", \"{to}\"]";
            return self.error(
                "one-of",
                "notify.sms",
                "`notify.sms` must say one of `command` and `url`",
                help,
            );
        }
        if let Some(command) = &sms.command {
            if !command.iter().skip(1).any(|argument| argument.contains("{to}")) {
                let help = "write {to} where the number goes: [\"send-sms\", \"{to}\"]";
                self.error("meaningless-key", "notify.sms.command", "the command is not told to whom", help);
            }
            let of_gateways = [
                ("format", sms.format.is_some()),
                ("to", sms.to.is_some()),
                ("text", sms.text.is_some()),
                ("authorization", sms.authorization.is_some()),
                ("answer", sms.answer.is_some()),
            ];
            for (key, _) in of_gateways.iter().filter(|(_, there)| *there) {
                let message = format!("`{key}` is for a gateway: it goes with `url`");
                self.error("meaningless-key", &format!("notify.sms.{key}"), message, "take it out");
            }
        } else if sms.answer.as_ref().is_none_or(|answer| answer.contains.is_none()) {
            self.warn(
                "unknown-answer",
                "notify.sms",
                "nothing says what a good answer of this gateway is: many answer 200 and have sent nothing",
                "write what stands in it: answer = { contains = \"queued\" }; releve notify test shows what it answers",
            );
        }
    }

    /// Whoever can't be reached, ever or when one of the company's own systems is down.
    fn reachable(&mut self, notify: &Notify) {
        let plan = self.plan;
        let systems = notify.relays.iter().filter_map(|relay| relay.system.as_ref());
        let systems = systems
            .chain(notify.mailboxes.iter().map(|mailbox| &mailbox.system))
            .chain(notify.webhooks.values().filter_map(|webhook| webhook.system.as_ref()))
            .chain(notify.sms.iter().filter_map(|sms| sms.system.as_ref()));
        let systems: BTreeSet<_> = systems.filter(|name| plan.systems.contains_key(*name)).collect();
        // What is out of service with each is the same for everybody.
        let outages: Vec<_> = systems
            .into_iter()
            .map(|system| (system, out_of_service(plan, &BTreeSet::from([system.clone()]))))
            .collect();
        for name in plan.people.keys() {
            let path = format!("people.{name}");
            if self.notes.is_broken(&path) || self.notes.is_broken("notify") {
                continue;
            }
            let all = ways(plan, name, &BTreeSet::new());
            if all.iter().all(|way| way.carriers.is_empty()) {
                let why = match all.iter().flat_map(|way| &way.skipped).next() {
                    Some(why) => why.clone(),
                    None => "no `contact`".to_owned(),
                };
                let help = "write contact = [\"mailto:name@example\", \"tel:+33600000000\"], each with what carries it";
                self.warn("out-of-reach", &path, format!("`{name}` can't be told anything: {why}"), help);
                continue;
            }
            for (system, out) in &outages {
                if ways(plan, name, out).iter().all(|way| way.carriers.is_empty()) {
                    let message = format!("`{name}` can't be told anything while `{system}` is down");
                    self.warn(
                        "out-of-reach",
                        &path,
                        message,
                        "add a way of another kind: tel:, or mail by a relay and a mailbox elsewhere",
                    );
                    break;
                }
            }
        }
    }
}

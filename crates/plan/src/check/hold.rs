//! What is cut off and what is held back.

use super::{Checker, PERSON};
use crate::Peer;
use crate::model::*;

impl Checker<'_, '_> {
    pub(super) fn management(&mut self, name: &HostName, host: &Host) {
        for (at, text) in host.management.iter().enumerate() {
            if let Err(no) = text.parse::<Peer>() {
                self.error("bad-address", &format!("hosts.{name}.management.{at}"), no.why, no.help);
            }
        }
    }

    pub(super) fn holds(&mut self, path: &str, recover: &Recover) {
        let plan = self.plan;
        for (at, hold) in recover.hold.iter().enumerate() {
            self.hold(&format!("{path}.recover.hold.{at}"), hold);
        }
        let Some(person) = &recover.released_by else { return };
        let at = format!("{path}.recover.released_by");
        self.refers(&at, PERSON, &person.0, &plan.people);
        if recover.hold.is_empty() && !self.notes.is_broken(&format!("{path}.recover.hold")) {
            let help = "write hold = [{ service = \"cron\" }], or take the line out";
            self.error("meaningless-key", &at, "nothing is held that somebody could release", help);
        }
    }

    fn hold(&mut self, path: &str, hold: &Hold) {
        if self.notes.is_broken(path) {
            return;
        }
        let kinds = [hold.service.is_some(), hold.outgoing.is_some(), hold.command.is_some()];
        if kinds.iter().filter(|there| **there).count() != 1 {
            let help = "write [{ service = \"cron\" }, { outgoing = 25 }]";
            let message = "what is held is exactly one of `service`, `outgoing` and `command`";
            return self.error("one-of", path, message, help);
        }
        if hold.command.is_some() && hold.release.is_none() {
            let help = "add release = [\"…\"], the command that gives it back";
            self.error("missing-key", path, "nothing says how what this command holds is released", help);
        }
        if hold.release.is_some() && hold.command.is_none() {
            let message = "`release` undoes a command: it goes with `command`";
            self.error(
                "meaningless-key",
                path,
                message,
                "take it out: services and ports are released by themselves",
            );
        }
        if let Some(port) = hold.outgoing.filter(|port| !(1..=65_535).contains(port)) {
            let path = format!("{path}.outgoing");
            self.error(
                "bad-amount",
                &path,
                format!("there is no port {port}"),
                "write 1 to 65535; mail is 25",
            );
        }
        let is_unit = |name: &str| {
            !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
        };
        if let Some(service) = hold.service.as_deref().filter(|service| !is_unit(service)) {
            let path = format!("{path}.service");
            self.error(
                "bad-name",
                &path,
                format!("`{service}` can't be the name of a systemd unit"),
                "write cron, or backup.timer",
            );
        }
    }
}

//! What stays off after a restore until it has been seen to work.

use crate::Period;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that is held back. Exactly one of `service`, `outgoing` and `command`.
#[derive(Debug, Clone, Serialize, Deserialize, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Hold {
    /// A systemd unit, stopped and masked.
    pub service: Option<String>,
    /// A TCP port that nothing on this machine reaches elsewhere: 25 is mail. 1 to 65,535 in a plan that was checked.
    pub outgoing: Option<u32>,
    /// A program and its arguments, which holds something back.
    pub command: Option<Vec<String>>,
    /// The program that gives back what `command` holds.
    pub release: Option<Vec<String>>,
    /// How long each may take; two minutes unless said.
    pub within: Option<Period>,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { service: Some(service), .. } => write!(f, "service {service}"),
            Self { outgoing: Some(port), .. } => write!(f, "outgoing connections to port {port}"),
            Self { command: Some(command), .. } => f.write_str(&command.join(" ")),
            _ => f.write_str("nothing"),
        }
    }
}

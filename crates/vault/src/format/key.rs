//! A key file: the master key, wrapped with a password.

use crate::crypto::{Key, ScryptCost, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// What a file under `keys/` says. It is not encrypted; `data` is.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyFile {
    created: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(flatten)]
    cost: ScryptCost,
    salt: String,
    data: String,
}

impl KeyFile {
    /// Wraps `master` with `password`.
    pub(crate) fn wrap(
        master: &Key,
        password: &[u8],
        hostname: &str,
        now: jiff::Timestamp,
    ) -> std::io::Result<Self> {
        let mut salt = [0u8; 64];
        random(&mut salt)?;
        let cost = ScryptCost::DEFAULT;
        let user =
            Key::derive(password, &salt, cost).ok_or_else(|| std::io::Error::other("scrypt failed"))?;
        Ok(Self {
            created: now.to_string(),
            username: String::new(),
            hostname: hostname.to_owned(),
            kdf: "scrypt".to_owned(),
            cost,
            salt: BASE64.encode(salt),
            data: BASE64.encode(user.seal(&master.to_json())?),
        })
    }

    /// Returns the master key, `None` if the password isn't this key's (or the file is damaged).
    pub(crate) fn unwrap(&self, password: &[u8]) -> Option<Key> {
        if self.kdf != "scrypt" {
            return None;
        }
        let salt = BASE64.decode(&self.salt).ok()?;
        let mut data = BASE64.decode(&self.data).ok()?;
        let user = Key::derive(password, &salt, self.cost)?;
        Key::from_json(user.open(&mut data).ok()?)
    }
}

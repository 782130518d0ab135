//! A key file: the master key, wrapped with a password.

use crate::Password;
use crate::crypto::{Key, ScryptCost, random};
use crate::lock::Holder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a file under `keys/` says. It is not encrypted; `data` is.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyFile {
    /// When it was made, as its maker writes times.
    pub(crate) created: String,
    /// Who made it.
    #[serde(default)]
    pub(crate) username: String,
    /// On which machine.
    #[serde(default)]
    pub(crate) hostname: String,
    kdf: String,
    /// What a guess at its password costs.
    #[serde(flatten)]
    pub(crate) cost: ScryptCost,
    salt: String,
    data: String,
}

impl KeyFile {
    /// Wraps `master` with `password`; the easier that is to guess, the more a guess costs.
    pub(crate) fn wrap(
        master: &Key,
        password: &Password,
        maker: &Holder,
        now: jiff::Timestamp,
    ) -> std::io::Result<Self> {
        let mut salt = [0u8; 64];
        random(&mut salt)?;
        let cost = ScryptCost::for_password(password).of_this_build();
        let user = Key::derive(password.bytes(), &salt, cost)
            .ok_or_else(|| std::io::Error::other("scrypt failed"))?;
        Ok(Self {
            created: now.to_string(),
            username: maker.username.clone(),
            hostname: maker.hostname.clone(),
            kdf: "scrypt".to_owned(),
            cost,
            salt: BASE64.encode(salt),
            data: BASE64.encode(user.seal(&master.to_json())?),
        })
    }

    /// Returns the master key, `None` if the password isn't this key's (or the file is damaged).
    pub(crate) fn unwrap(&self, password: &Password) -> Option<Key> {
        if self.kdf != "scrypt" {
            return None;
        }
        let salt = BASE64.decode(&self.salt).ok()?;
        let mut data = Zeroizing::new(BASE64.decode(&self.data).ok()?);
        let user = Key::derive(password.bytes(), &salt, self.cost)?;
        Key::from_json(user.open(&mut data).ok()?)
    }
}

//! Opens a vault of the plan with a secret from elsewhere: from the safe, when the machine has lost its own.

use crate::vaults::Opening;
use crate::{Error, Result};
use plan::VaultName;
use std::sync::Arc;
use vault::keys::MasterKey;
use vault::passphrase::{self, CHARACTERS_MIN, Weak};
use vault::{Kind, Password, Repository, Store};

/// What opens a vault.
#[derive(Debug, Clone, Copy)]
pub enum With<'a> {
    /// A password.
    Password(&'a Password),
    /// The master key, whatever became of the passwords.
    Master(&'a MasterKey),
}

/// What came of a try. That it could not be tried, the vault being out of reach, is an error.
#[derive(Debug)]
pub enum Tried {
    /// It opens.
    Opened(Arc<Repository>),
    /// It doesn't: it is another's secret, or what it should open is damaged.
    Not(Error),
}

impl Tried {
    /// Returns the repository; that it doesn't open is an error then.
    pub fn opened(self) -> Result<Arc<Repository>> {
        match self {
            Self::Opened(repository) => Ok(repository),
            Self::Not(error) => Err(error),
        }
    }
}

impl Opening<'_> {
    /// Tries to open a vault without the password that the plan names. Nothing is created, and no index loaded.
    pub fn open_with(&self, name: &VaultName, with: With<'_>) -> Result<Tried> {
        let store = self.place_of(name)?;
        let opened = match with {
            With::Password(password) => Repository::open_known(store, password, self.last_keys(name)),
            With::Master(master) => Repository::open_with_master(store, master),
        };
        match opened {
            Ok(repository) => Ok(match self.as_seen(name, repository) {
                Ok(repository) => Tried::Opened(Arc::new(repository)),
                Err(error) => Tried::Not(error),
            }),
            Err(error) => match error.kind {
                Kind::WrongPassword { .. }
                | Kind::KeysDamaged { .. }
                | Kind::KeysLeft { .. }
                | Kind::WrongMasterKey
                | Kind::Damaged(_) => Ok(Tried::Not(error.into())),
                _ => Err(error.into()),
            },
        }
    }

    /// Returns where a vault's files lie: for one that can't be opened, too.
    pub fn place_of(&self, name: &VaultName) -> Result<Box<dyn Store>> {
        let vault = self.vault(name)?;
        let keys = self.credentials(vault).or_else(|error| match self.secrets.s3_keys() {
            // The machine's own files are what was lost.
            given if given.access_key.is_some() => Ok(given),
            _ => Err(error.help("or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")),
        })?;
        self.store(name, &keys)
    }
}

/// Returns an error that says what is wrong with a new password, and what to do.
pub fn accept(password: &Password) -> Result<()> {
    passphrase::accept(password).map_err(|weak| {
        let help = match weak {
            Weak::Slip => "look for the slip; small letters, and hyphens between the groups".to_owned(),
            _ => format!(
                "`releve key generate` makes one that can't be guessed and can be typed from paper; five words that nobody has written \
                 together are as good; {CHARACTERS_MIN} characters are the least"
            ),
        };
        Error::new(format!("the new password is refused: {weak}")).help(help)
    })
}

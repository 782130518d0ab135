//! Opens the vaults of a plan, side by side; one that can't be opened doesn't stop the others.

use crate::pace::{Clock, limits};
use crate::{Error, Result};
use plan::{Plan, Secret, VaultName};
use state::State;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vault::store::{self, Asking, Calls, Credentials, Renew};
use vault::{Cache, Kind, Password, Repository, Store, Wait};

/// How long each call on a vault in a folder may be silent while it is opened to be worked with: a mount whose server is gone hangs for ever, a disk that
/// has to start turning doesn't. Other vaults have bounds of their own.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// Where secrets come from: the binary's business.
pub trait Secrets: Sync {
    /// Returns the bytes of a secret.
    fn get(&self, secret: &Secret) -> Result<Vec<u8>>;
    /// Returns the S3 keys of the environment, for vaults that name none.
    fn s3_keys(&self) -> Credentials;
    /// Returns what asks for the S3 keys of a vault once more, where what the plan names may say something else by then.
    fn renew(&self, _vault: &plan::Vault) -> Option<Renew> {
        None
    }
}

/// What is to be done about a vault that isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Create it, unless it was there before.
    Create,
    /// It is an error.
    Refuse,
}

/// One vault of the plan.
#[derive(Debug)]
pub struct Opened {
    /// Its name.
    pub name: VaultName,
    /// The repository with its index loaded, or why there is none.
    pub repository: Result<Arc<Repository>>,
    /// It was created just now.
    pub created: bool,
    /// Index files that could not be read.
    pub damaged: Vec<String>,
    /// It did not answer: not now, which says nothing about the next time.
    pub silent: bool,
    /// It answers, and nothing is there, nor was before as far as is known: nobody has made it yet.
    pub absent: bool,
    asking: Asking,
}

impl Opened {
    /// From now on it is worked with, and has all the time that work takes; until then it was only asked.
    pub fn work(&self) {
        self.asking.end();
    }
}

/// How vaults are opened.
pub struct Opening<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where secrets come from.
    pub secrets: &'a dyn Secrets,
    /// The repository id that each vault had when it was last seen: a vault that was there and is gone is an error.
    pub seen: &'a (dyn Fn(&VaultName) -> Option<String> + Sync),
    /// What is to be done about one that isn't there.
    pub absent: Absent,
    /// This machine's name.
    pub machine: &'a str,
    /// Where this machine keeps what never changes in distant vaults; `None`: nowhere.
    pub cache: Option<&'a Path>,
    /// Now.
    pub now: jiff::Timestamp,
    /// The time of day, for what may be sent at this hour.
    pub clock: Clock,
    /// How long a vault may be silent when it is only asked; `None` for one that is worked with.
    pub asks: &'a (dyn Fn(&VaultName) -> Option<Duration> + Sync),
    /// How long what fails is tried again, where that isn't as long as usual.
    pub patience: Option<Duration>,
    /// How long locks of others are waited for.
    pub wait: Option<Wait>,
    /// The calls of this run on each vault, however often it is opened: patience is for all of them together.
    pub calls: Calling,
}

/// Returns the calls on a vault: for the same one the same.
pub type Calling = Arc<dyn Fn(&VaultName) -> Calls + Send + Sync>;

impl Opening<'_> {
    /// Opens these vaults and loads their indexes. The result is in the order of `names`.
    #[must_use]
    pub fn open(&self, names: &[VaultName]) -> Vec<Opened> {
        self.each(names, true)
    }

    /// Opens these vaults without their indexes, as [`open`](Self::open) does: enough to see which points there are.
    #[must_use]
    pub fn peek(&self, names: &[VaultName]) -> Vec<Opened> {
        self.each(names, false)
    }

    fn each(&self, names: &[VaultName], with_index: bool) -> Vec<Opened> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                names.iter().map(|name| scope.spawn(move || self.open_one(name, with_index))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn open_one(&self, name: &VaultName, with_index: bool) -> Opened {
        let mut opened = Opened {
            name: name.clone(),
            repository: Err(Error::new("")),
            created: false,
            damaged: Vec::new(),
            silent: false,
            absent: false,
            asking: self.asking(name),
        };
        let repository = self.repository(name, &opened.asking, &mut opened.created, &mut opened.absent);
        opened.repository = repository.and_then(|repository| {
            if let Some(wait) = &self.wait {
                repository.wait_for_locks(wait.clone());
            }
            if !with_index {
                return Ok(Arc::new(repository));
            }
            let report = repository.load_index()?;
            let lost = repository.lost_config().map(|why| match repository.may_have_config() {
                true => format!(
                    "its config is refused ({why}): so its store says, and whoever runs it has to look; all else can be read"
                ),
                false => format!(
                    "its config can't be read ({why}): all else can; `releve repair {name}` writes it anew"
                ),
            });
            // First what is one of its kind: of many the first few are shown.
            let damaged = report.damaged.iter().map(ToString::to_string);
            opened.damaged = lost.into_iter().chain(damaged).collect();
            // What is silent is silent for every file; the first of them tells enough.
            match report.damaged.into_iter().find(vault::Error::is_retryable) {
                Some(silent) => Err(silent.into()),
                None => Ok(Arc::new(repository)),
            }
        });
        opened.silent = opened.repository.as_ref().is_err_and(|error| error.retryable);
        if (self.asks)(name).is_none() {
            opened.asking.end();
        }
        opened
    }

    /// Returns how long a vault may be silent until it is worked with: opening it is only asking, whatever comes after.
    fn asking(&self, name: &VaultName) -> Asking {
        let is_folder =
            self.plan.vaults.get(name).is_some_and(|vault| store::local_folder(&vault.url).is_some());
        let within = (self.asks)(name).or_else(|| is_folder.then_some(OPEN_WITHIN));
        within.map_or_else(Asking::default, Asking::within)
    }

    /// Opens the place where a vault lies, and not what is in it. There is no other way to one: what is written there keeps to the
    /// plan's rate, and is held for as long as the plan says.
    pub(crate) fn store(&self, name: &VaultName, credentials: &Credentials) -> Result<Box<dyn Store>> {
        self.store_asked(name, credentials, &Asking::default())
    }

    fn store_asked(
        &self,
        name: &VaultName,
        credentials: &Credentials,
        asking: &Asking,
    ) -> Result<Box<dyn Store>> {
        let vault = self.vault(name)?;
        let period = vault.immutable_for.map(|period| jiff::SignedDuration::try_from(period.0)).transpose();
        let period =
            period.map_err(|error| Error::new(format!("immutable_for of vault `{name}`: {error}")))?;
        let mut limits = store::Limits { asking: asking.clone(), ..limits(vault, &self.clock) };
        limits.calls = (self.calls)(name);
        if let Some(patience) = self.patience {
            // A store that says when to come back is given no more either.
            (limits.patience, limits.busy) = (patience, patience.min(limits.busy));
        }
        Ok(store::open_held(&vault.url, credentials, &limits, period)?)
    }

    pub(crate) fn vault(&self, name: &VaultName) -> Result<&plan::Vault> {
        self.plan.vaults.get(name).ok_or_else(|| no_vault(name))
    }

    fn repository(
        &self,
        name: &VaultName,
        asking: &Asking,
        created: &mut bool,
        absent: &mut bool,
    ) -> Result<Repository> {
        let vault = self.vault(name)?;
        let password = self.password(name)?;
        let store = || self.store_asked(name, &self.credentials(vault)?, asking);
        match Repository::open_known(store()?, &password, self.last_keys(name)) {
            Ok(repository) => self.as_seen(name, repository),
            Err(error) if matches!(error.kind, Kind::NoRepository) => match ((self.seen)(name), self.absent) {
                (Some(_), _) => Err(Error::new(format!("vault `{name}` was there before and is gone or empty: {}", vault.url))
                    .help("find out why; if it is lost for good, say so with `releve state forget-vault NAME`, then `releve sync` fills a new one")),
                (None, Absent::Refuse) => {
                    *absent = true;
                    Err(error.into())
                }
                (None, Absent::Create) => {
                    crate::keys::accept(&password)
                        .map_err(|e| Error { message: format!("create vault `{name}`: {e}"), ..e })?;
                    let repository = Repository::create(store()?, &password, self.machine, self.now)?;
                    *created = true;
                    self.as_seen(name, repository)
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the keys that have opened vaults from here, that of this one first: whatever else lies among its keys, the one that opened it last time is tried before
    /// any other. Also by who doesn't hold the vault against what it was before, as a recovery doesn't, and where the state that would know is lost.
    pub(crate) fn last_keys(&self, name: &VaultName) -> Vec<vault::FileId> {
        self.cache.map(|cache| Cache::new(cache).keys((self.seen)(name).as_deref())).unwrap_or_default()
    }

    /// Returns the password that the plan has for a vault.
    pub fn password(&self, name: &VaultName) -> Result<Password> {
        let Some(secret) = &self.vault(name)?.password else {
            return Err(Error::new(format!("vault `{name}` has no password in the plan")));
        };
        let got = self.secrets.get(secret);
        let named = |e: Error| Error { message: format!("password of vault `{name}`: {e}"), ..e };
        got.map(Password::new).map_err(named)
    }

    /// Returns the repository, unless it is another than the one that was there before.
    pub(crate) fn as_seen(&self, name: &VaultName, mut repository: Repository) -> Result<Repository> {
        let seen = (self.seen)(name);
        seen.iter().for_each(|id| repository.known_as(id));
        if let Some(cache) = self.cache.filter(|_| !repository.store().is_local()) {
            repository.keep_in(&Cache::new(cache));
        }
        match seen {
            Some(id) if id != repository.id() => Err(Error::new(format!(
                "vault `{name}` is another repository than before ({} is there, {} was)",
                repository.id().get(..8).unwrap_or_default(),
                id.get(..8).unwrap_or_default()
            ))
            .help("if you replaced it yourself, say so: releve state forget-vault NAME")),
            _ => {
                if let Some((cache, key)) = self.cache.zip(repository.key_id()) {
                    Cache::new(cache).remember_key(repository.id(), key);
                }
                Ok(repository)
            }
        }
    }

    pub(crate) fn credentials(&self, vault: &plan::Vault) -> Result<Credentials> {
        Ok(Credentials { renew: self.secrets.renew(vault), ..keys_of(vault, self.secrets)? })
    }
}

/// Returns a secret as it counts: a line break at its end is an editor's.
#[must_use]
pub fn without_line_end(mut secret: Vec<u8>) -> Vec<u8> {
    while matches!(secret.last(), Some(b'\n' | b'\r')) {
        secret.pop();
    }
    secret
}

/// Returns the S3 keys that the plan has for a vault; none for any other store.
pub fn keys_of(vault: &plan::Vault, secrets: &(impl Secrets + ?Sized)) -> Result<Credentials> {
    if !vault.url.starts_with("s3://") {
        return Ok(Credentials::default());
    }
    let text = |secret: &Option<Secret>| -> Result<Option<String>> {
        let Some(secret) = secret else { return Ok(None) };
        let bytes = secrets.get(secret)?;
        String::from_utf8(bytes).map(Some).map_err(|_| Error::new("an S3 key is not a text"))
    };
    if vault.access_key.is_none() {
        return Ok(secrets.s3_keys());
    }
    Ok(Credentials {
        access_key: text(&vault.access_key)?,
        secret_key: text(&vault.secret_key)?,
        session_token: text(&vault.session_token)?,
        renew: None,
    })
}

/// Tells these vaults whose signatures are known here: where one holds more points than there is memory for, those of others go first.
pub fn introduce(vaults: &[Opened], state: Option<&State>) {
    let Some(signers) = state.and_then(|state| state.signers().ok()) else { return };
    let keys: HashSet<String> = signers.into_values().flat_map(BTreeMap::into_keys).collect();
    let open = vaults.iter().filter_map(|opened| opened.repository.as_ref().ok());
    open.for_each(|repository| repository.knows_signers(keys.clone()));
}

/// Returns one of the vaults, or why it could not be opened.
pub fn repository(vaults: &[Opened], name: &VaultName) -> Result<Arc<Repository>> {
    match vaults.iter().find(|opened| &opened.name == name) {
        Some(opened) => opened.repository.clone(),
        None => Err(no_vault(name)),
    }
}

/// Returns all vaults that are open but this one: any of them may have the one sound copy of a blob.
#[must_use]
pub fn others(vaults: &[Opened], name: &VaultName) -> Vec<Arc<Repository>> {
    let others = vaults.iter().filter(|opened| &opened.name != name);
    others.filter_map(|opened| opened.repository.as_ref().ok().cloned()).collect()
}

fn no_vault(name: &VaultName) -> Error {
    Error::new(format!("there is no vault `{name}`"))
}

/// Returns the folders of the vaults that are directories on this machine: no system may swallow its own vault.
#[must_use]
pub fn local_folders(plan: &Plan) -> Vec<PathBuf> {
    plan.vaults.values().filter_map(|vault| store::local_folder(&vault.url)).collect()
}

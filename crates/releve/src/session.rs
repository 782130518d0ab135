//! What every verb begins with: the plan, the state, the secrets, this machine.

mod environment;
mod looked;
pub(crate) mod origin;

use crate::cli::Global;
use crate::{Exit, Failure, show};
use engine::alerts::Watchman;
use engine::judge::Witness;
use engine::keys::{Tried, With};
use engine::notify::Notifier;
use engine::survey::Survey;
use engine::vanished::{Known, Vanished};
use engine::vaults::{self, Absent, Calling, Opened, Opening, Secrets};
use engine::{Error, Result};
use environment::Environment;
use jiff::Timestamp;
use origin::Found;
pub(crate) use origin::{plan_path, state_dir};
use plan::{Plan, Secret, SourceFile, SystemName, TimeOfDay, VaultName};
use process::Process;
use state::{Kind, State};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vault::store::{Calls, Credentials, Renew};
use vault::{Holder, Password, Repository, Store, Wait};

/// How long making a vault may take others.
const CREATE_WITHIN: Duration = Duration::from_secs(60);

/// How long a vault may be silent that is only asked, and one that was silent at the last look.
const ASK_WITHIN: Duration = Duration::from_secs(5);
const ASK_AGAIN_WITHIN: Duration = Duration::from_secs(2);

/// How long somebody else's lock is waited for: a prune of restic's, a check. Then the vault is told as locked, and the others go on.
const LOCK_WITHIN: Duration = Duration::from_secs(10 * 60);
const LOCK_EVERY: Duration = Duration::from_secs(3);

/// What a verb works with.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) plan: Plan,
    pub(crate) json: bool,
    pub(crate) holder: Holder,
    /// The plan's files, for what watches them.
    pub(crate) plan_path: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// The hash of the plan's files, by which a record says which plan it followed.
    pub(crate) fingerprint: String,
    /// The files themselves.
    pub(crate) files: Vec<SourceFile>,
    /// Why the plan is an older one than what stands in its files, if it is.
    pub(crate) edited: Option<String>,
    /// Where this machine keeps what never changes in distant vaults.
    pub(crate) cache_dir: PathBuf,
    /// How long locks of others are waited for.
    pub(crate) lock_within: Duration,
    /// The calls of this process on each vault.
    pub calls: Arc<Mutex<BTreeMap<VaultName, Calls>>>,
}

impl Session {
    /// Reads the plan; what is wrong with it is printed and ends the run with 65.
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let found = origin::believed(&plan_path(global)?, &state_dir(global)?)?;
        Self::of(global, found)
    }

    /// As [`new`](Self::new), for what goes by the plan that was accepted where somebody else has changed the file since.
    pub(crate) fn in_force(global: &Global) -> Result<Self, Failure> {
        let (found, edited) = origin::in_force(&plan_path(global)?, &state_dir(global)?)?;
        let session = Self { edited, ..Self::of(global, found)? };
        session.edited.iter().for_each(|why| eprintln!("warning: {why}"));
        Ok(session)
    }

    fn of(global: &Global, found: Found) -> Result<Self, Failure> {
        let fingerprint = found.fingerprint();
        let parsed = plan::parse(&found.files);
        let Some(plan) = parsed.plan else {
            show::diagnostics(&parsed.diagnostics, global.json);
            return Err(Failure::Said(Exit::Plan));
        };
        let (json, state_dir) = (global.json, state_dir(global)?);
        let cache_dir = state_dir.join("cache");
        Ok(Self {
            plan,
            json,
            holder: holder(),
            plan_path: found.path,
            state_dir,
            fingerprint,
            files: found.files,
            edited: None,
            cache_dir,
            lock_within: LOCK_WITHIN,
            calls: Arc::default(),
        })
    }

    /// Opens the state. What is damaged is an error that says what to do: a recovery goes on without.
    pub(crate) fn state(&self) -> Result<State> {
        open_state(&self.state_dir)
    }

    /// Returns what this machine knows of points beyond what they say: when it saw them, what is proven, what a person trusts. That the state can't be read is said:
    /// then nothing is.
    pub(crate) fn witness(&self) -> Witness {
        self.witness_of(self.state().and_then(|state| Witness::new(&self.plan, &state)))
    }

    /// As [`witness`](Self::witness), of a state that is open.
    pub(crate) fn witness_in(&self, state: &State) -> Witness {
        self.witness_of(Witness::new(&self.plan, state))
    }

    /// Returns what this machine has seen in the vaults so far, as far as it has a state: before they are asked. That it can't be read is said: then nothing is missed.
    pub(crate) fn known(&self, state: Option<&State>) -> Known {
        let known = state.map_or_else(|| Ok(Known::default()), |state| Known::read(&self.plan, state));
        known.unwrap_or_else(|error| {
            eprintln!("warning: points that vanished are not missed, since the state can't be read: {error}");
            Known::default()
        })
    }

    /// Returns what vanished from these vaults since this machine has seen it, and notes it for the alerts. `known` was read before they were asked for `survey`. Which
    /// keys count from now on is said.
    pub(crate) fn vanished(
        &self,
        state: Option<&State>,
        known: &Known,
        vaults: &[Opened],
        survey: &Survey,
    ) -> Vanished {
        let key = self.signing_key();
        let Some(state) = state else { return self.strange_without(key.as_deref(), survey) };
        self.note_listings(state, &survey.listings);
        let of = (&self.plan, state, self.holder.hostname.as_str(), key.as_deref());
        let vanished = engine::vanished::look(of, known, vaults, survey, Timestamp::now());
        let vanished = vanished.unwrap_or_else(|error| {
            eprintln!("warning: points that vanished are not missed, since the state can't be read: {error}");
            Vanished::default()
        });
        self.say_learned(&vanished.learned);
        vanished
    }

    /// Says which keys count from now on: whoever learns them first is the only one who does.
    pub(crate) fn say_learned(&self, learned: &[String]) {
        if !self.json {
            learned.iter().for_each(|learned| eprintln!("note: {learned}"));
        }
    }

    fn witness_of(&self, witness: Result<Witness>) -> Witness {
        witness.unwrap_or_else(|error| {
            eprintln!(
                "warning: no point counts as verified or trusted by a person, since the state can't be read: {error}"
            );
            self.witness_if(None)
        })
    }

    /// Opens these vaults to work with them, with what the state knows of them, and remembers what it saw. One among several that was
    /// silent a moment ago isn't waited for long again.
    pub(crate) fn open(&self, names: &[VaultName], absent: Absent, state: Option<&State>) -> Vec<Opened> {
        let silent = |name: &VaultName| state?.vault_silent_since(&name.0).ok().flatten();
        let asks = |name: &VaultName| silent(name).filter(|_| names.len() > 1).map(|_| ASK_WITHIN);
        let opened = self.open_asking(names, absent, state, state, &asks);
        opened.iter().for_each(Opened::work);
        opened
    }

    /// Opens every vault of the plan, nearest first, to ask it something: none is waited for longer than a few seconds. Whoever goes on to
    /// work with them says so ([`Opened::work`]). `state` notes who is silent; `seen` knows which repositories were there before.
    pub(crate) fn ask_all(&self, state: Option<&State>, seen: Option<&State>) -> Vec<Opened> {
        let silent = |name: &VaultName| state?.vault_silent_since(&name.0).ok().flatten();
        let asks = |name: &VaultName| Some(silent(name).map_or(ASK_WITHIN, |_| ASK_AGAIN_WITHIN));
        self.open_asking(&self.vaults_nearest_first(), Absent::Refuse, seen, state, &asks)
    }

    /// Opens a vault that is written to again and again, and never waited for longer than so long a silence.
    pub(crate) fn open_within(&self, name: &VaultName, within: Duration, state: &State) -> Option<Opened> {
        let (names, seen) = (std::slice::from_ref(name), Some(state));
        self.open_asking(names, Absent::Refuse, seen, seen, &|_| Some(within)).pop()
    }

    fn open_asking(
        &self,
        names: &[VaultName],
        absent: Absent,
        state: Option<&State>,
        notes: Option<&State>,
        asks: &(dyn Fn(&VaultName) -> Option<Duration> + Sync),
    ) -> Vec<Opened> {
        let mut known = std::collections::BTreeMap::new();
        let mut absent = absent;
        for (name, state) in names.iter().filter_map(|name| Some((name, state?))) {
            match state.vault_seen(&name.0) {
                Ok(seen) => known.insert(name.clone(), seen),
                Err(error) => {
                    eprintln!("warning: whether vault {name} was there before isn't known: {error}");
                    // One that was there and is gone must not be made anew.
                    absent = Absent::Refuse;
                    None
                }
            };
        }
        let seen = |name: &VaultName| known.get(name).cloned().flatten();
        // Two that make the same vault at once would each have a key of their own for it.
        let is_new = absent == Absent::Create && names.iter().any(|name| seen(name).is_none());
        let _alone = state.filter(|_| is_new).and_then(|state| self.alone(state));
        let mut opened = Opening { asks, ..self.opening(absent, &seen) }.open(names);
        vaults::introduce(&opened, state.or(notes));
        for vault in &mut opened {
            if let Some(notes) = notes.filter(|_| vault.silent || vault.repository.is_ok()) {
                // Only how long the next command waits is at stake.
                let since = notes.vault_silent_since(&vault.name.0).ok().flatten();
                let _ = notes.note_answer(&vault.name.0, !vault.silent, Timestamp::now());
                if let (Err(error), Some(since)) = (&mut vault.repository, since) {
                    error.message = format!("{}; silent since {}", error.message, show::time(since));
                }
            }
        }
        for vault in &opened {
            if let (Ok(repository), Some(state)) = (&vault.repository, state)
                && let Err(error) = state.remember_vault(&vault.name.0, repository.id())
            {
                eprintln!("warning: vault {} could not be noted in the state: {error}", vault.name);
            }
            if vault.created && !self.json {
                eprintln!(
                    "created vault {} at {}",
                    vault.name,
                    self.plan.vaults.get(&vault.name).map_or("", |v| v.url.as_str())
                );
            }
            if let Some(state) = state {
                self.note_reach(vault, &seen, state);
            }
            let unread: Vec<_> =
                vault.damaged.iter().map(|damaged| (vault.name.clone(), damaged.clone())).collect();
            for (name, what) in engine::survey::few(&unread).lines() {
                eprintln!("warning: vault {name}: {what}");
            }
        }
        opened
    }

    /// Opens every vault of the plan without its index, side by side, just to see what points there are, and notes whether it answers.
    pub(crate) fn peek(&self, state: &State) -> Vec<Opened> {
        let seen = |name: &VaultName| state.vault_seen(&name.0).ok().flatten();
        let asks = |_: &VaultName| Some(ASK_WITHIN);
        let opening = Opening { asks: &asks, ..self.opening(Absent::Refuse, &seen) };
        let opened = opening.peek(&self.vaults_nearest_first());
        vaults::introduce(&opened, Some(state));
        for vault in &opened {
            // Only how long the next command waits is at stake.
            let _ = state.note_answer(&vault.name.0, !vault.silent, Timestamp::now());
            self.note_reach(vault, &seen, state);
        }
        opened
    }

    /// Notes whether a vault could be opened, for the alerts. One that was never there, or that another machine fills, may be out of reach.
    fn note_reach(&self, vault: &Opened, seen: &dyn Fn(&VaultName) -> Option<String>, state: &State) {
        let trouble = vault.repository.as_ref().err();
        if trouble.is_some() && (seen(&vault.name).is_none() || self.check_writes(&vault.name).is_err()) {
            return;
        }
        let trouble = trouble.map(|error| (error.message.as_str(), error.retryable));
        // Whoever opens a vault has more to do than this.
        let _ = engine::survey::note_opened(state, &vault.name, trouble, Timestamp::now());
    }

    /// Returns what tells people by itself. `holder` is [`run_holder`](Self::run_holder).
    pub(crate) fn watchman<'a>(&'a self, notifier: &'a Notifier<'a>, is_agent: bool) -> Watchman<'a> {
        Watchman { notifier, machine: &self.holder.hostname, folder: &self.state_dir, is_agent }
    }

    /// Waits until no other run on this machine may be making a vault. Whoever waited in vain goes on: the other is stuck, not at work.
    fn alone<'a>(&self, state: &'a State) -> Option<state::RunLease<'a>> {
        let (name, holder) = ("new vaults", self.run_holder());
        let why = match state.lease_run_within(name, &holder, CREATE_WITHIN, Timestamp::now) {
            Ok(Ok(alone)) => return Some(alone),
            Ok(Err(held)) => format!("another run has been about to make one for a minute ({held})"),
            Err(error) => error.to_string(),
        };
        eprintln!("warning: nothing keeps another run from making the same vault now: {why}");
        None
    }

    /// Opens one vault that has to be there.
    pub(crate) fn open_one(&self, name: &VaultName, state: &State) -> Result<Arc<Repository>> {
        let opened = self.open(std::slice::from_ref(name), Absent::Refuse, Some(state));
        vaults::repository(&opened, name)
    }

    /// Returns the vaults that a copy from here may go to: those that this machine pulls, and where it pulls none, all that no
    /// other machine pulls. Whoever fetches writes nowhere else.
    pub(crate) fn targets(&self) -> Vec<VaultName> {
        let machine = &self.holder.hostname;
        let pulled: Vec<_> = self.plan.pulls(machine).cloned().collect();
        if !pulled.is_empty() {
            return pulled;
        }
        self.plan.vaults.keys().filter(|vault| self.plan.writes(vault, machine)).cloned().collect()
    }

    /// Refuses a vault that another machine writes, and says which.
    pub(crate) fn check_writes(&self, name: &VaultName) -> Result<()> {
        let host = self.plan.vaults.get(name).and_then(|vault| vault.pulled_by.as_ref());
        match host.filter(|_| !self.plan.writes(name, &self.holder.hostname)) {
            Some(host) => {
                Err(Error::new(format!("only {host} writes to vault `{name}`: it is pulled_by {host}"))
                    .help(format!("do it on {host}")))
            }
            None => Ok(()),
        }
    }

    /// Opens every vault of the plan, these as `absent` says and the others only to be read.
    pub(crate) fn open_for(
        &self,
        targets: &[VaultName],
        absent: Absent,
        state: Option<&State>,
    ) -> Vec<Opened> {
        let others: Vec<_> =
            self.plan.vaults.keys().filter(|vault| !targets.contains(vault)).cloned().collect();
        let mut opened = self.open(targets, absent, state);
        opened.extend(self.open(&others, Absent::Refuse, state));
        opened.sort_by_key(|opened| !self.is_near(&opened.name));
        opened
    }

    /// Opens the seed for a vault: a repository in a folder that is carried by hand.
    pub(crate) fn open_seed(
        &self,
        name: &VaultName,
        folder: &Path,
        absent: Absent,
    ) -> Result<Arc<Repository>> {
        self.opening(absent, &|_| None).open_seed(name, folder)
    }

    /// Tries to open a vault with a secret from elsewhere, and remembers what it saw. Its index is not loaded.
    pub(crate) fn open_with(&self, name: &VaultName, with: With<'_>, state: Option<&State>) -> Result<Tried> {
        let seen = |name: &VaultName| state.and_then(|state| state.vault_seen(&name.0).ok().flatten());
        let tried = self.opening(Absent::Refuse, &seen).open_with(name, with)?;
        if let (Tried::Opened(repository), Some(state)) = (&tried, state) {
            let _ = state.remember_vault(&name.0, repository.id());
        }
        Ok(tried)
    }

    /// Returns where a vault's files lie.
    pub(crate) fn place_of(&self, name: &VaultName) -> Result<Box<dyn Store>> {
        self.opening(Absent::Refuse, &|_| None).place_of(name)
    }

    /// Returns the password that the plan has for a vault.
    pub(crate) fn password_of(&self, name: &VaultName) -> Result<Password> {
        self.opening(Absent::Refuse, &|_| None).password(name)
    }

    /// Returns where the plan's secrets come from.
    #[expect(clippy::unused_self, reason = "what a verb works with comes from its session")]
    pub(crate) fn secrets(&self) -> &'static dyn Secrets {
        &Environment
    }

    /// Returns what tells people. `holder` is [`run_holder`](Self::run_holder).
    pub(crate) fn notifier<'a>(&'a self, state: &'a State, holder: &'a Process) -> Notifier<'a> {
        let zone = jiff::tz::TimeZone::system();
        Notifier { plan: &self.plan, secrets: self.secrets(), state, holder, now: Timestamp::now, zone }
    }

    fn opening<'a>(
        &'a self,
        absent: Absent,
        seen: &'a (dyn Fn(&VaultName) -> Option<String> + Sync),
    ) -> Opening<'a> {
        Opening {
            plan: &self.plan,
            secrets: self.secrets(),
            seen,
            absent,
            machine: &self.holder.hostname,
            cache: Some(&self.cache_dir),
            now: Timestamp::now(),
            clock: Arc::new(time_of_day),
            asks: &|_| None,
            patience: patience(),
            wait: Some(lock_wait(self.lock_within)),
            calls: self.calling(),
        }
    }

    /// Returns what knows the calls of this process on each vault: however often it is opened, patience is one, and a wait for it is said.
    fn calling(&self) -> Calling {
        let calls = Arc::clone(&self.calls);
        Arc::new(move |name: &VaultName| {
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            let told = |name: VaultName| move |what: &str| eprintln!("vault {name} {what}");
            let new = || Calls::new(told(name.clone()), crate::cli::is_stopped);
            calls.entry(name.clone()).or_insert_with(new).clone()
        })
    }

    /// Says which of these vaults may not be sent to as fast as it goes at this hour.
    pub(crate) fn say_limits<'a>(
        &self,
        screen: &show::Screen,
        names: impl IntoIterator<Item = &'a VaultName>,
    ) {
        for name in names {
            let bandwidth = self.plan.vaults.get(name).and_then(|vault| vault.bandwidth.as_ref());
            let Some(now) = bandwidth.and_then(|bandwidth| bandwidth.at(time_of_day())) else { continue };
            let until = now.until.map_or_else(String::new, |until| format!(" until {until}"));
            screen.line(&format!("uploads to {name} are limited to {}{until}", now.limit));
        }
    }

    /// Opens every vault of the plan, nearest first.
    pub(crate) fn open_all(&self, absent: Absent, state: Option<&State>) -> Vec<Opened> {
        self.open(&self.vaults_nearest_first(), absent, state)
    }

    fn vaults_nearest_first(&self) -> Vec<VaultName> {
        let mut names: Vec<VaultName> = self.plan.vaults.keys().cloned().collect();
        names.sort_by_key(|name| !self.is_near(name));
        names
    }

    fn is_near(&self, name: &VaultName) -> bool {
        self.plan.vaults.get(name).is_some_and(|vault| vault.url.starts_with("file://"))
    }

    /// Returns the paths that nothing may remove: the vaults on this machine, the plan, the state, the secrets.
    pub(crate) fn precious(&self) -> Vec<PathBuf> {
        let vaults = self.plan.vaults.values();
        let folders = vaults.clone().filter_map(|vault| vault::store::local_folder(&vault.url));
        let keys = vaults.filter_map(|vault| match &vault.password {
            Some(Secret::File(path)) => Some(PathBuf::from(path)),
            _ => None,
        });
        let own = [self.plan_path.clone(), self.state_dir.clone()];
        let all = folders.chain(keys).chain(own);
        all.map(|path| std::fs::canonicalize(&path).unwrap_or(path)).collect()
    }

    /// Returns the systems that were named, or all; an unknown one is an error that names the nearest.
    pub(crate) fn systems(&self, named: &[String]) -> Result<Vec<SystemName>, Failure> {
        if named.is_empty() {
            return Ok(self.plan.systems.keys().cloned().collect());
        }
        let mut systems = Vec::new();
        for name in named {
            let name = SystemName(name.clone());
            if !self.plan.systems.contains_key(&name) {
                return Err(show::unknown(
                    "system",
                    &name.0,
                    self.plan.systems.keys().map(|name| name.0.as_str()),
                ));
            }
            if !systems.contains(&name) {
                systems.push(name);
            }
        }
        Ok(systems)
    }

    /// Returns this process, as whoever holds something.
    #[expect(clippy::unused_self, reason = "what a verb works with comes from its session")]
    pub(crate) fn run_holder(&self) -> Process {
        Process::this().clone()
    }

    /// Opens the state where a verb does without it too, after saying so: what it knows is missed, and that is never silent.
    pub(crate) fn state_if_any(&self) -> Option<State> {
        match self.state() {
            Ok(state) => Some(state),
            Err(error) => {
                eprintln!(
                    "warning: the state can't be opened, what this machine remembers isn't known: {error}"
                );
                None
            }
        }
    }
}

/// Opens the state in a folder. What is damaged is an error that says what to do: a recovery goes on without.
pub(crate) fn open_state(dir: &Path) -> Result<State> {
    let opened = State::open(dir).map_err(|error| {
        let help = match &error.kind {
            Kind::Full(_) => "nothing that was written before is lost, and the same command goes on once there is room",
            // It is whole, and what wrote it reads it.
            Kind::Newer { .. } => "update this program; --state names another folder",
            Kind::Corrupt(_) => {
                "`releve state rebuild` sets a damaged state aside, takes over what can be read of it and reads the rest from the vaults; --state names another folder"
            }
            _ => "--state names another folder; `releve state rebuild` is for one that is damaged",
        };
        Error::new(error.to_string()).help(help)
    });
    // Where there was no folder before somebody else may have been faster to make one.
    opened.and_then(|state| if state.is_new() { origin::own_folder(dir).map(|()| state) } else { Ok(state) })
}

/// Reads an instant that has been, as a person types it here; what is none is wrong usage.
pub(crate) fn past(text: &str) -> Result<Timestamp, Failure> {
    plan::instant::past(text, Timestamp::now(), &jiff::tz::TimeZone::system()).map_err(|wrong| {
        show::error(&Error::new(wrong.message).help(wrong.help));
        Failure::Said(Exit::Usage)
    })
}

/// Returns how many seconds somebody who has no time lets us wait for others, instead of the minute and the minutes that we would.
fn patience() -> Option<Duration> {
    std::env::var("RELEVE_PATIENCE").ok()?.parse().ok().map(Duration::from_secs)
}

/// Waits for locks of others, and says so: once who it is, and then each minute.
fn lock_wait(within: Duration) -> Wait {
    let within = patience().map_or(within, |patience| patience.min(within));
    let every = LOCK_EVERY.min(within / 4);
    let said = Mutex::new((String::new(), 0));
    let tell = move |who: &str, waited: Duration| {
        let minutes = waited.as_secs() / 60;
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != (who.to_owned(), minutes) {
            *said = (who.to_owned(), minutes);
            let left = within.saturating_sub(waited).as_secs().div_ceil(60);
            eprintln!("waiting for a lock, {left} minutes at most: it is held by {who}");
        }
        !crate::cli::is_stopped()
    };
    Wait { within, every, tell: Arc::new(tell) }
}

/// Returns the time of day here.
fn time_of_day() -> TimeOfDay {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::system());
    TimeOfDay::minute(u16::try_from(now.hour()).unwrap_or(0) * 60 + u16::try_from(now.minute()).unwrap_or(0))
}

/// Returns the folder in which what happened is remembered: never one below wherever somebody happens to stand, unless he says so.
pub(crate) fn state_place(global: &Global) -> Result<PathBuf> {
    if let Some(dir) = &global.state {
        return Ok(dir.clone());
    }
    let uid = rustix::process::geteuid();
    let home = nix::unistd::User::from_uid(uid.as_raw().into()).ok().flatten().map(|user| user.dir);
    let [state, of_user] = ["XDG_STATE_HOME", "HOME"].map(std::env::var_os);
    default_state(uid.is_root(), state, of_user, home).ok_or_else(|| {
        Error::new("nobody knows where the state of this user lies: XDG_STATE_HOME and HOME name no folder, and the users of this machine have none for him")
            .help("--state DIR names one: always the same, and not in a place that is emptied")
    })
}

/// Returns where the state lies that nobody has named. What is no whole path would be another folder for each place that somebody stands in: it counts as unset.
fn default_state(
    is_root: bool,
    state: Option<OsString>,
    home: Option<OsString>,
    of_user: Option<PathBuf>,
) -> Option<PathBuf> {
    if is_root {
        return Some("/var/lib/releve".into());
    }
    let whole = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let state = state.map(PathBuf::from).and_then(whole);
    let home = || home.map(PathBuf::from).and_then(whole).or_else(|| of_user.and_then(whole));
    let state = state.or_else(|| Some(home()?.join(".local/state")));
    state.map(|state| state.join("releve"))
}

/// Returns this machine and user.
pub(crate) fn holder() -> Holder {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let uid = nix::unistd::Uid::from_raw(rustix::process::getuid().as_raw());
    let username =
        nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Holder { hostname, username }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_lies_in_the_users_home_and_never_where_somebody_stands() {
        let table = [
            (Some("/s"), Some("/h"), Some("/u"), Some("/s/releve")),
            (None, Some("/h"), Some("/u"), Some("/h/.local/state/releve")),
            (None, None, Some("/u"), Some("/u/.local/state/releve")),
            // What is empty, or begins nowhere, counts as unset.
            (Some(""), Some(""), Some("/u"), Some("/u/.local/state/releve")),
            (Some("s"), Some("."), Some("/u"), Some("/u/.local/state/releve")),
            (None, None, None, None),
            (Some("s"), Some("h"), Some(""), None),
        ];
        for (state, home, user, expected) in table {
            let found =
                default_state(false, state.map(Into::into), home.map(Into::into), user.map(Into::into));
            assert_eq!(found, expected.map(PathBuf::from), "{state:?} {home:?} {user:?}");
        }
        assert_eq!(default_state(true, None, None, None), Some("/var/lib/releve".into()));
    }
}

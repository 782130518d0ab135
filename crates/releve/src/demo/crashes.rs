//! The five crashes: what each destroys, what is typed to come back, and what the demo then looks at.

use super::company::{Company, Manifest};
use super::hands::{Agent, Hands};
use super::{Failed, io};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the company works between its last restore point and the crash: what that costs is counted in orders.
const WORK: Duration = Duration::from_millis(1500);

/// A way to crash.
pub(super) struct Crash {
    pub(super) cause: &'static str,
    pub(super) what: &'static str,
    usual: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Disk,
    Mistake,
    Ransomware,
    Update,
    Site,
}

/// The usual outages are those of the design's table of causes.
pub(super) const CRASHES: [Crash; 5] = [
    Crash {
        cause: "hardware failure",
        what: "the server's disk dies, and the local vault with it",
        usual: "1 to 3 days",
        kind: Kind::Disk,
    },
    Crash {
        cause: "human error",
        what: "somebody deletes the shop's configuration",
        usual: "some hours",
        kind: Kind::Mistake,
    },
    Crash {
        cause: "cyberattack",
        what: "every file is encrypted and the local vault wiped, and a backup runs before anyone notices",
        usual: "several days",
        kind: Kind::Ransomware,
    },
    Crash {
        cause: "software bug",
        what: "an update of the shop crashes at start, and has been backed up since",
        usual: "some hours",
        kind: Kind::Update,
    },
    Crash {
        cause: "site loss",
        what: "the whole site burns: server, local vault, state; back on another machine",
        usual: "weeks, if ever",
        kind: Kind::Site,
    },
];

/// What one crash and its recovery came to.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) cause: &'static str,
    pub(super) usual: &'static str,
    /// Seconds from when the crash was noticed until the shop answered again.
    pub(super) rta_seconds: f64,
    /// Seconds between the oldest restore point that was used and the crash.
    pub(super) rpa_seconds: f64,
    /// Orders taken before the crash.
    pub(super) orders: u64,
    /// Of these, not there afterwards.
    pub(super) orders_lost: u64,
    /// Files whose hash was compared.
    pub(super) files_checked: usize,
}

impl Crash {
    /// Works, crashes, recovers, looks.
    pub(super) fn happen(
        &self,
        company: &Company,
        hands: &Hands,
        manifest: &Manifest,
    ) -> Result<Row, Failed> {
        hands.run(&["backup"], &[0])?;
        if matches!(self.kind, Kind::Mistake | Kind::Update) {
            // So that both vaults hold every point again: the crash before has taken one.
            hands.run(&["sync"], &[0])?;
        }
        let agent = company.orders.has_log().then(|| hands.start_agent()).transpose()?;
        if agent.is_some() && matches!(self.kind, Kind::Disk | Kind::Site) {
            hands.wait_for_log()?;
        }
        std::thread::park_timeout(WORK);
        let before_update = Timestamp::now();
        if self.kind == Kind::Update {
            company.update_badly()?;
            hands.run(&["backup"], &[0])?;
        }
        let orders = company.orders()?;
        let time = Timestamp::now();
        self.destroy(company, hands, agent)?;
        let begun = Instant::now();
        if company.ask("/health").is_ok() {
            return Err(Failed(format!("after `{}` the shop still answers: that was no crash", self.cause)));
        }
        let before = before_update.to_string();
        let typed: &[&str] = match self.kind {
            Kind::Disk => &["recover", "--scenario", "hardware", "--yes"],
            Kind::Mistake => &["recover", "shop", "--scenario", "mistake", "--yes"],
            Kind::Ransomware => &["recover", "--scenario", "ransomware", "--yes"],
            Kind::Update => &["recover", "shop", "--scenario", "update", "--before", &before, "--yes"],
            Kind::Site => &["recover", "--scenario", "site", "--stand-in", "--yes"],
        };
        let told = hands.run(typed, &[0])?;
        company
            .ask("/health")
            .map_err(|why| Failed(format!("after `{}` the shop does not answer: {why}", self.cause)))?;
        let rta_seconds = begun.elapsed().as_secs_f64();
        let files_checked = self.look(company, manifest)?;
        let kept = company.orders_before(time)?;
        let row = Row {
            cause: self.cause,
            usual: self.usual,
            rta_seconds,
            rpa_seconds: rpa(&told, time)?,
            orders,
            orders_lost: orders.saturating_sub(kept),
            files_checked,
        };
        let rolled_back = !matches!(self.kind, Kind::Mistake | Kind::Update);
        if !rolled_back && row.orders_lost > 0 {
            return Err(Failed(format!(
                "{} orders are lost, and nothing had happened to them",
                row.orders_lost
            )));
        }
        self.tidy(hands)?;
        Ok(row)
    }

    fn destroy(&self, company: &Company, hands: &Hands, agent: Option<Agent>) -> Result<(), Failed> {
        match self.kind {
            Kind::Disk => {
                company.kill();
                drop(agent);
                fs::remove_dir_all(&company.disk).map_err(io("destroy the disk"))
            }
            Kind::Mistake => fs::remove_file(company.configuration()).map_err(io("delete the configuration")),
            Kind::Ransomware => {
                for file in company.every_file()? {
                    match encrypt(&file) {
                        // A server makes and removes files of its own meanwhile.
                        Err(_) if !file.exists() => {}
                        result => result?,
                    }
                }
                // The agent writes into it meanwhile.
                let wipe = || fs::remove_dir_all(&hands.local_vault);
                let is_raced = |error: &std::io::Error| error.kind() == std::io::ErrorKind::DirectoryNotEmpty;
                let mut wiped = wipe();
                for _ in 0..20 {
                    if wiped.as_ref().is_err_and(is_raced) {
                        wiped = wipe();
                    }
                }
                wiped.map_err(io("wipe the local vault"))?;
                // The schedule goes on: it stores the encrypted files, complains about the rest, and must not be believed.
                hands.run(&["backup"], &[1, 2])?;
                company.kill();
                Ok(())
            }
            Kind::Update => {
                company.kill_shop();
                if company.start().is_ok() {
                    return Err(Failed("the bad update works".into()));
                }
                Ok(())
            }
            Kind::Site => {
                company.kill();
                drop(agent);
                fs::remove_dir_all(&company.disk).map_err(io("burn the site"))?;
                hands.lose_the_machine()
            }
        }
    }

    /// Compares every file with what it was, and returns how many there were.
    fn look(&self, company: &Company, manifest: &Manifest) -> Result<usize, Failed> {
        let now = company.manifest()?;
        for (path, hash) in manifest {
            match now.get(path) {
                Some(other) if other == hash => {}
                Some(_) => {
                    return Err(Failed(format!(
                        "after `{}`: {} is not what it was",
                        self.cause,
                        path.display()
                    )));
                }
                None => {
                    return Err(Failed(format!(
                        "after `{}`: {} did not come back",
                        self.cause,
                        path.display()
                    )));
                }
            }
        }
        if let Some(path) = now.keys().find(|path| !manifest.contains_key(*path)) {
            return Err(Failed(format!("after `{}`: {} was not there before", self.cause, path.display())));
        }
        company.check_orders()?;
        Ok(manifest.len() + 1)
    }

    /// What an administrator does when the worst is over.
    fn tidy(&self, hands: &Hands) -> Result<(), Failed> {
        if self.kind == Kind::Ransomware {
            // The vault that the intruder wiped is remembered, and missed until a person says that it is lost.
            hands.run(&["state", "forget-vault", "local"], &[0])?;
        }
        Ok(())
    }
}

/// Overwrites a file with noise of its own length: the key that would turn it back is somewhere else.
fn encrypt(path: &Path) -> Result<(), Failed> {
    let doing = path.display().to_string();
    let length = fs::metadata(path).map_err(io(&doing))?.len();
    let mut noise = Vec::new();
    fs::File::open("/dev/urandom")
        .and_then(|random| random.take(length).read_to_end(&mut noise))
        .map_err(io(&doing))?;
    fs::write(path, noise).map_err(io(&doing))
}

/// Returns the seconds between the oldest point that was used and the crash.
fn rpa(told: &Value, crash: Timestamp) -> Result<f64, Failed> {
    let systems = told.pointer("/runbook/systems").and_then(Value::as_array);
    let times = systems
        .into_iter()
        .flatten()
        // What was rolled forward by its log is counted in orders.
        .filter(|system| system.pointer("/replay").is_none_or(Value::is_null))
        .filter_map(|system| system.pointer("/choice/point/time")?.as_str()?.parse().ok());
    let oldest: Option<Timestamp> = times.min();
    oldest
        .map(|oldest| crash.duration_since(oldest).as_secs_f64())
        .ok_or_else(|| Failed("the recovery did not say which points it used".into()))
}

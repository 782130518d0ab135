//! The administrator's hands: the plan in the safe, and this program as it is typed.

use super::cloud::Cloud;
use super::company::Company;
use super::{Failed, io};
use jiff::Timestamp;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the demo's plan promises.
pub(super) const RTO: &str = "10 minutes";
pub(super) const RPO: &str = "10 minutes";

/// What it promises where every change goes into the vaults as it happens.
const LOG_RPO: &str = "3 seconds";

const ACCESS_KEY: &str = "demo-access-key";

/// Runs `releve` for the company.
pub(super) struct Hands {
    plan: PathBuf,
    state: PathBuf,
    pub(super) local_vault: PathBuf,
}

impl Hands {
    /// Makes the keys.
    pub(super) fn new(company: &Company) -> Result<Self, Failed> {
        for key in ["local.key", "cloud.key", "cloud.secret"] {
            write_private(&company.safe.join(key), &random_word()?)?;
        }
        write_private(&company.safe.join("cloud.access"), ACCESS_KEY)?;
        Ok(Self {
            plan: company.safe.join("plan.toml"),
            state: company.disk.join("var/lib/releve"),
            local_vault: company.disk.join("var/backups/vault"),
        })
    }

    /// Starts the cloud and writes the plan.
    pub(super) fn start_cloud(&self, company: &Company) -> Result<Cloud, Failed> {
        let secret = fs::read_to_string(company.safe.join("cloud.secret")).map_err(io("read a key"))?;
        let cloud = Cloud::start(&company.cloud, ACCESS_KEY, &secret).map_err(io("start the cloud"))?;
        fs::write(&self.plan, self.plan_text(company, &cloud)?).map_err(io("write the plan"))?;
        Ok(cloud)
    }

    fn plan_text(&self, company: &Company, cloud: &Cloud) -> Result<String, Failed> {
        let text = |path: &Path| toml_text(&path.display().to_string());
        let list = |items: &[String]| {
            format!("[{}]", items.iter().map(|item| toml_text(item)).collect::<Vec<_>>().join(", "))
        };
        let key = |name: &str| text(&company.safe.join(name));
        let [(_, orders), (_, shop), (_, share)] = company.systems();
        let paths = |paths: &[PathBuf]| {
            list(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
        };
        let database = orders.first().map(|path| text(path)).unwrap_or_default();
        let (orders_rpo, orders) = match company.orders.has_log() {
            true => {
                write_private(&company.safe.join("orders.url"), &company.orders.address())?;
                let url = key("orders.url");
                (LOG_RPO, format!("postgres = {{ data_directory = {database}, url = {{ file = {url} }} }}"))
            }
            false => (RPO, format!("sqlite = {{ path = {database} }}")),
        };
        Ok(format!(
            r#"[organisation]
name = "Atelier Dupont"

[people.claire]
name = "Claire Dupont"

[people.hugo]
name = "Hugo Petit"

[sites.workshop]
[sites.cloud]

[hosts.server]
site = "workshop"
name = {host}

[vaults.local]
url = {local}
site = "workshop"
password = {{ file = {local_key} }}

[vaults.cloud]
url = {cloud}
site = "cloud"
password = {{ file = {cloud_key} }}
access_key = {{ file = {access} }}
secret_key = {{ file = {secret} }}

[systems.orders]
title = "Order database"
host = "server"
criticality = "vital"
rto = "{RTO}"
rpo = "{orders_rpo}"
owner = "hugo"
deputy = "claire"
source.{orders}
check = [{{ sql = "select count(*) > 0 from orders" }}]

[systems.shop]
title = "Web shop"
host = "server"
criticality = "vital"
rto = "{RTO}"
rpo = "{RPO}"
owner = "hugo"
deputy = "claire"
needs = ["orders"]
source.files = {{ paths = {shop} }}
recover.stop = {{ command = {stop} }}
recover.start = {{ command = {start} }}
check = [{{ http = "http://127.0.0.1:{port}/health", contains = "ok" }}]

[systems.share]
title = "File share"
host = "server"
criticality = "normal"
rto = "{RTO}"
rpo = "{RPO}"
owner = "hugo"
source.files = {{ paths = {share} }}
check = [{{ file = {shared} }}]

[policy]
vaults = ["local", "cloud"]
every = "5 minutes"

[scenarios.hardware]
cause = "hardware failure"
restore_point = "latest"

[scenarios.mistake]
cause = "human error"
restore_point = "latest"

[scenarios.ransomware]
cause = "cyberattack"
restore_point = "last clean"

[scenarios.update]
cause = "software bug"
restore_point = "latest"

[scenarios.site]
cause = "site loss"
restore_point = "latest"
"#,
            host = toml_text(&crate::session::holder().hostname),
            local = toml_text(&format!("file://{}", self.local_vault.display())),
            local_key = key("local.key"),
            cloud = toml_text(&cloud.address()),
            cloud_key = key("cloud.key"),
            access = key("cloud.access"),
            secret = key("cloud.secret"),
            shop = paths(&shop),
            shared = share.first().map(|path| text(path)).unwrap_or_default(),
            share = paths(&share),
            stop = list(&company.shop_command("stop")?),
            start = list(&company.shop_command("start")?),
            port = company.port,
        ))
    }

    fn releve(&self) -> Result<Command, Failed> {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        let mut command = Command::new(program);
        // It lies in a folder of the demo's own, wherever that was made.
        command
            .arg("--trust-plan")
            .arg("--plan")
            .arg(&self.plan)
            .arg("--state")
            .arg(&self.state)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs `releve` and returns its JSON; another exit status than these is a failure, with what it said.
    pub(super) fn run(&self, arguments: &[&str], fine: &[i32]) -> Result<Value, Failed> {
        let typed = format!("releve {}", arguments.join(" "));
        let output = self.releve()?.arg("--json").args(arguments).output().map_err(io(&typed))?;
        let said = || {
            let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let mut said = failures(&told);
            said.push(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            said.join("\n")
        };
        match output.status.code() {
            Some(code) if fine.contains(&code) => {}
            _ => return Err(Failed(format!("`{typed}` ended with {}:\n{}", output.status, said()))),
        }
        if output.stdout.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Failed(format!("`{typed}` printed no JSON: {error}:\n{}", said())))
    }

    /// Starts the agent of the server, which carries what happens in its database into the vaults.
    pub(super) fn start_agent(&self) -> Result<Agent, Failed> {
        let agent = self.releve()?.arg("agent").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        agent.map(Agent).map_err(io("start the agent"))
    }

    /// Waits until the agent has begun to carry what happens in the database.
    pub(super) fn wait_for_log(&self) -> Result<(), Failed> {
        let begun = Timestamp::now();
        for _ in 0..100 {
            let status = self.run(&["status"], &[0, 1])?;
            let logs = status.get("systems").and_then(Value::as_array).into_iter().flatten();
            let until = logs.filter_map(|system| system.pointer("/log/until")?.as_str()?.parse().ok()).max();
            if until.is_some_and(|until: Timestamp| until > begun) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Err(Failed("the agent carries no log".into()))
    }

    /// Moves the company to another machine: the plan's host now has a name that isn't this machine's.
    pub(super) fn lose_the_machine(&self) -> Result<(), Failed> {
        let host = toml_text(&crate::session::holder().hostname);
        let text = fs::read_to_string(&self.plan).map_err(io("read the plan"))?;
        fs::write(&self.plan, text.replace(&format!("name = {host}"), "name = \"the-burnt-server\""))
            .map_err(io("write the plan"))
    }
}

/// Returns what a document says has failed.
fn failures(document: &Value) -> Vec<String> {
    match document {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(why) if key == "failure" => vec![why.clone()],
                value => failures(value),
            })
            .collect(),
        Value::Array(list) => list.iter().flat_map(failures).collect(),
        _ => Vec::new(),
    }
}

/// A running agent; killed when dropped.
pub(super) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn toml_text(text: &str) -> String {
    // A JSON string is a TOML basic string: both escape alike what a path may hold.
    serde_json::to_string(text).unwrap_or_default()
}

fn random_word() -> Result<String, Failed> {
    let mut words = String::new();
    for _ in 0..3 {
        words.push_str(&vault::new_point_id().map_err(|error| Failed(error.to_string()))?);
    }
    Ok(words)
}

fn write_private(path: &Path, text: &str) -> Result<(), Failed> {
    let doing = path.display().to_string();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(io(&doing))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(io(&doing))
}

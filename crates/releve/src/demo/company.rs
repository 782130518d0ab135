//! The small company: where its things lie, what is in them, and how the demo looks at them from outside.

use super::orders::{Ledger, Orders};
use super::shop::{CONFIGURATION, RELEASE};
use super::{Failed, io};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use vault::BlobId;

/// Files of the share, where the reader brings none of his own.
const SHARE_FILES: usize = 2000;
const SHARE: &str = "srv/share";
/// What the shop's pages need: enough files that a mass change is seen for what it is.
const PAGES: usize = 40;

/// Where everything lies, below one temporary folder.
pub(super) struct Company {
    /// The server's disk: what a crash takes, local vault and Relève's state with it.
    pub(super) disk: PathBuf,
    /// The safe: plan and keys, which every company must keep apart from the server.
    pub(super) safe: PathBuf,
    /// The cloud's disks.
    pub(super) cloud: PathBuf,
    pid_file: PathBuf,
    pub(super) port: u16,
    pub(super) orders: Orders,
}

/// The hash of every file, by its path on the disk.
pub(super) type Manifest = BTreeMap<PathBuf, String>;

impl Company {
    /// Founds the company below `root`; its share is a copy of `data`, if that is given.
    pub(super) fn found(root: &Path, data: Option<&Path>) -> Result<Self, Failed> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(io("find a free port"))?;
        let port = listener.local_addr().map_err(io("find a free port"))?.port();
        let disk = root.join("server");
        let company = Self {
            orders: Orders::found(&disk, &root.join("run"))?,
            disk,
            safe: root.join("safe"),
            cloud: root.join("cloud"),
            pid_file: root.join("shop.pid"),
            port,
        };
        for folder in ["srv/shop/pages", "etc/shop"] {
            fs::create_dir_all(company.disk.join(folder)).map_err(io("make the company's folders"))?;
        }
        fs::create_dir_all(&company.safe).map_err(io("make the safe"))?;
        company.write(RELEASE, "version = \"1.4.2\"\n")?;
        company.write(CONFIGURATION, "title = \"Atelier Dupont\"\ncurrency = \"EUR\"\n")?;
        company.write("srv/shop/index.html", "<h1>Atelier Dupont</h1><p>Lampes de bureau</p>\n")?;
        for page in 0..PAGES {
            company.write(&format!("srv/shop/pages/{page:02}.html"), &prose(page as u64, 4000))?;
        }
        match data {
            Some(data) => copy_tree(data, &company.disk.join(SHARE))?,
            None => company.fill_share()?,
        }
        Ok(company)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Failed> {
        fs::write(self.disk.join(path), text).map_err(io(path))
    }

    fn fill_share(&self) -> Result<(), Failed> {
        for number in 0..SHARE_FILES {
            let folder = self.disk.join(SHARE).join(format!("{:02}", number % 40));
            fs::create_dir_all(&folder).map_err(io("fill the share"))?;
            // From a note to a small report; a few longer than one piece of the vault.
            let length = match number % 100 {
                0 => 3_000_000,
                rest => 500 + rest * 300,
            };
            fs::write(folder.join(format!("dossier-{number:04}.txt")), prose(number as u64, length))
                .map_err(io("fill the share"))?;
        }
        Ok(())
    }

    /// Returns the paths of the systems, by name.
    pub(super) fn systems(&self) -> [(&'static str, Vec<PathBuf>); 3] {
        let at = |path: &str| self.disk.join(path);
        [
            ("orders", vec![self.orders.path().to_owned()]),
            ("shop", vec![at("srv/shop"), at("etc/shop")]),
            ("share", vec![at(SHARE)]),
        ]
    }

    /// Returns the configuration file that somebody will delete.
    pub(super) fn configuration(&self) -> PathBuf {
        self.disk.join(CONFIGURATION)
    }

    /// Installs the update that crashes at start.
    pub(super) fn update_badly(&self) -> Result<(), Failed> {
        self.write(RELEASE, "version = \"2.0.0\"\n")?;
        self.write("srv/shop/index.html", "<h1>Atelier Dupont 2.0</h1>\n")
    }

    /// Returns the hash of every file but the database, which lives.
    pub(super) fn manifest(&self) -> Result<Manifest, Failed> {
        let mut manifest = Manifest::new();
        for (_, paths) in self.systems().into_iter().skip(1) {
            for path in files_below(&paths)? {
                let bytes = fs::read(&path).map_err(io(&path.display().to_string()))?;
                manifest.insert(path, BlobId::of(&bytes).to_string());
            }
        }
        Ok(manifest)
    }

    /// Returns all files of all systems, the database with its log among them.
    pub(super) fn every_file(&self) -> Result<Vec<PathBuf>, Failed> {
        files_below(&[self.disk.join("srv"), self.disk.join("etc")])
    }

    /// Starts the database and the shop, and waits until that answers.
    pub(super) fn start(&self) -> Result<(), Failed> {
        self.orders.start()?;
        let [program, arguments @ ..] = &self.shop_command("start")?[..] else { return Ok(()) };
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .status()
            .map_err(io("start the shop"))?;
        if !status.success() {
            return Err(Failed("the shop does not start".into()));
        }
        for _ in 0..200 {
            if self.ask("/health").is_ok() {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(25));
        }
        Err(Failed("the shop does not answer".into()))
    }

    /// Kills the shop and its database as a power cut does: nothing is asked, nothing is flushed.
    pub(super) fn kill(&self) {
        self.kill_shop();
        self.orders.kill();
    }

    /// Kills the shop alone.
    pub(super) fn kill_shop(&self) {
        super::shop::stop(&self.pid_file);
    }

    /// Returns the command that starts or stops the shop, as the plan names it.
    pub(super) fn shop_command(&self, verb: &str) -> Result<Vec<String>, Failed> {
        let program = std::env::current_exe().map_err(io("find this program"))?;
        let text = |path: &Path| path.display().to_string();
        let mut command =
            vec![text(&program), "demo-shop".into(), verb.into(), "--pid-file".into(), text(&self.pid_file)];
        if verb == "start" {
            let while_process = process::Process::this().to_string();
            command.extend([
                "--root".into(),
                text(&self.disk),
                "--port".into(),
                self.port.to_string(),
                "--while".into(),
                while_process,
                "--orders".into(),
                self.orders.address(),
            ]);
            if self.orders.has_log() {
                command.extend(["--cluster".into(), text(self.orders.path())]);
            }
        }
        Ok(command)
    }

    /// Asks the shop over HTTP; anything but 200 is an error.
    pub(super) fn ask(&self, page: &str) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}{page}", self.port);
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
        let mut answer =
            ureq::Agent::new_with_config(config).get(&url).call().map_err(|error| error.to_string())?;
        answer.body_mut().read_to_string().map_err(|error| error.to_string())
    }

    /// Returns how many orders the shop says it has.
    pub(super) fn orders(&self) -> Result<u64, Failed> {
        let text = self.ask("/orders").map_err(|error| Failed(format!("ask for the orders: {error}")))?;
        text.trim().parse().map_err(|_| Failed(format!("the shop says it has {text} orders")))
    }

    /// Returns how many orders there are that were placed before this instant.
    pub(super) fn orders_before(&self, time: Timestamp) -> Result<u64, Failed> {
        let count = Ledger::open(&self.orders.address()).and_then(|mut ledger| ledger.count_before(time));
        count.map(i64::unsigned_abs).map_err(|error| Failed(format!("count the orders: {error}")))
    }

    /// Asks the database itself whether it is whole, and no order is missing between the first and the last.
    pub(super) fn check_orders(&self) -> Result<(), Failed> {
        match Ledger::open(&self.orders.address()).and_then(|mut ledger| ledger.gaps()) {
            Ok(0) => Ok(()),
            Ok(gaps) => Err(Failed(format!("{gaps} orders are missing in the middle of the database"))),
            Err(why) => Err(Failed(format!("the order database is damaged: {why}"))),
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.kill();
    }
}

fn files_below(roots: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let mut files = Vec::new();
    let mut stack = roots.to_vec();
    while let Some(path) = stack.pop() {
        let place = path.display().to_string();
        let kind = fs::symlink_metadata(&path).map_err(io(&place))?.file_type();
        if kind.is_dir() {
            for entry in fs::read_dir(&path).map_err(io(&place))? {
                stack.push(entry.map_err(io(&place))?.path());
            }
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Copies the reader's folder: files, folders and links. What can't be read is an error: the demo proves nothing about it.
fn copy_tree(from: &Path, to: &Path) -> Result<(), Failed> {
    let mut stack = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = stack.pop() {
        let place = from.display().to_string();
        let kind = fs::symlink_metadata(&from).map_err(io(&place))?.file_type();
        if kind.is_dir() {
            fs::create_dir_all(&to).map_err(io(&place))?;
            for entry in fs::read_dir(&from).map_err(io(&place))? {
                let entry = entry.map_err(io(&place))?;
                stack.push((entry.path(), to.join(entry.file_name())));
            }
        } else if kind.is_symlink() {
            let target = fs::read_link(&from).map_err(io(&place))?;
            std::os::unix::fs::symlink(target, &to).map_err(io(&place))?;
        } else if kind.is_file() {
            fs::copy(&from, &to).map_err(io(&place))?;
        }
    }
    Ok(())
}

/// Returns text that reads like nothing and compresses like text, another for each seed.
fn prose(seed: u64, length: usize) -> String {
    const WORDS: [&str; 24] = [
        "lampe",
        "atelier",
        "facture",
        "client",
        "livraison",
        "abat-jour",
        "laiton",
        "devis",
        "stock",
        "commande",
        "chêne",
        "câble",
        "interrupteur",
        "garantie",
        "socle",
        "ampoule",
        "catalogue",
        "remise",
        "acompte",
        "transport",
        "retour",
        "pièce",
        "série",
        "modèle",
    ];
    let mut text = String::with_capacity(length + 16);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < length {
        // xorshift64: the demo is the same on every machine.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(WORDS.get(state as usize % WORDS.len()).copied().unwrap_or_default());
        text.push(if state.is_multiple_of(13) { '\n' } else { ' ' });
    }
    text
}

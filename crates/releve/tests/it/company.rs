//! A company of twelve systems with real servers and processes, and the five scenarios that ship, each run to its end after the crash that it is for.

use crate::world::{World, finish, hostname, same};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{MariadbServer, Postgres, Random, free_port, wait_until};

const LONG: Duration = Duration::from_secs(120);

/// Files in the file share: enough of them for a mass change to be a sign.
const SHARED: usize = 60;

/// Systems that are databases of SQLite, with how many rows each has.
const LITE: [(&str, i64); 3] = [("directory", 40), ("stock", 200), ("wiki", 80)];

/// Systems that are folders.
const FOLDERS: [&str; 5] = ["conf", "share", "mail", "invoices", "web"];

/// Systems that a command dumps and loads.
const DUMPED: [&str; 2] = ["ledger", "dns"];

/// The web server, which any of several processes may have started.
struct Web {
    port: u16,
    pid: PathBuf,
}

impl Web {
    /// Returns its process, if that is still the one that was started.
    fn process(&self) -> Option<rustix::process::Pid> {
        let pid: i32 = fs::read_to_string(&self.pid).ok()?.trim().parse().ok()?;
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        words.contains(&self.port.to_string()).then(|| rustix::process::Pid::from_raw(pid)).flatten()
    }

    fn kill(&self) {
        if let Some(process) = self.process() {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            wait_until(LONG, || self.process().is_none());
        }
    }

    /// Returns what it answers for a page.
    fn page(&self, path: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = write!(stream, "GET {path} HTTP/1.0\r\n\r\n");
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The company. What runs is ended before the folders go, also when a test panics.
struct Company {
    web: Web,
    orders: Postgres,
    crm: MariadbServer,
    world: World,
}

impl Company {
    fn found() -> Self {
        let world = World::new();
        let web = Web { port: free_port(), pid: world.path("web.pid") };
        let company = Self { web, orders: Postgres::start(""), crm: MariadbServer::start(), world };
        company.fill();
        company.write_plan();
        finish(Command::new("/bin/sh").arg(company.path("start-web"))).exits(0);
        assert!(wait_until(LONG, || company.web.page("/").contains("price list 1")));
        company
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    fn lite(&self, system: &str) -> PathBuf {
        self.path(system).join("data.db")
    }

    fn fill(&self) {
        for name in FOLDERS.iter().chain(&DUMPED).chain(LITE.iter().map(|(name, _)| name)) {
            fs::create_dir_all(self.path(name)).unwrap();
        }
        for (name, rows) in LITE {
            let database = Connection::open(self.lite(name)).unwrap();
            database.execute_batch("create table t (n integer primary key, s text)").unwrap();
            let rows: Vec<_> = (1..=rows).map(|n| format!("({n}, 'row {n}')")).collect();
            database.execute_batch(&format!("insert into t values {}", rows.join(","))).unwrap();
        }
        for folder in FOLDERS {
            for at in 0..SHARED {
                let text =
                    format!("{folder}, sheet {at}: nothing but words that are written again. ").repeat(40);
                fs::write(self.path(folder).join(format!("sheet-{at}.txt")), text).unwrap();
            }
        }
        fs::write(self.path("web/index.html"), "price list 1").unwrap();
        for name in DUMPED {
            fs::write(self.path(name).join("book"), format!("{name}: 1000 entries\n").repeat(50)).unwrap();
        }
        self.orders.tell("create table orders as select i n, 'order ' || i s from generate_series(1, 500) i");
        self.crm
            .run("create database crm; create table crm.customers (id int primary key, name varchar(40))");
        let customers: Vec<_> = (1..=100).map(|id| format!("({id}, 'customer {id}')")).collect();
        self.crm.run(&format!("insert into crm.customers values {}", customers.join(",")));
        // What everything must be again.
        for folder in FOLDERS.iter().chain(&DUMPED) {
            copy(&self.path(folder), &self.path("as-it-was").join(folder));
        }
    }

    /// Writes a shell script, and returns the command that runs it as a plan writes it.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        format!("{{ command = [\"/bin/sh\", {path:?}] }}")
    }

    fn write_plan(&self) {
        for (name, url) in [("orders.url", self.orders.url("postgres")), ("crm.url", self.crm.url())] {
            fs::write(self.path(name), url).unwrap();
        }
        let ended = "while [ -d /proc/$pid ] && ! grep -q ' Z ' /proc/$pid/stat; do sleep 0.1; done";
        let stop_web = self.script(
            "stop-web",
            &format!("pid=$(cat {:?}) || exit 0\nkill $pid || exit 0\n{ended}", self.web.pid),
        );
        let start_web = self.script(
            "start-web",
            &format!(
                "setsid python3 -m http.server {} --bind 127.0.0.1 --directory {:?} </dev/null >/dev/null 2>&1 &\necho $! >{:?}",
                self.web.port,
                self.path("web"),
                self.web.pid
            ),
        );
        let postmaster = self.orders.data().join("postmaster.pid");
        let stop_orders = self.script(
            "stop-orders",
            &format!("pid=$(head -n 1 {postmaster:?}) || exit 0\nkill -INT $pid || exit 0\n{ended}"),
        );
        let mut plan = format!(
            r#"
[organisation]
name = "Atelier"
[people.hugo]
name = "Hugo"
[people.claire]
name = "Claire"
role = "incident lead"
[sites.here]
[sites.there]
[hosts.server]
site = "here"
name = {:?}
[vaults.near]
url = {:?}
site = "here"
password = {{ file = {:?} }}
[vaults.far]
url = {:?}
site = "there"
password = {{ file = {:?} }}
[policy]
vaults = ["near", "far"]
every = "1 hour"
"#,
            hostname(),
            self.world.vault("near"),
            self.path("near.key"),
            self.world.vault("far"),
            self.path("far.key")
        );
        let mut system = |name: &str, criticality: &str, rto: &str, needs: &[&str], more: &str| {
            plan += &format!(
                "[systems.{name}]\nhost = \"server\"\ncriticality = {criticality:?}\nrto = {rto:?}\nrpo = \"1 hour\"\nowner = \"hugo\"\n\
                 deputy = \"claire\"\nneeds = {needs:?}\n{more}\n"
            );
        };
        let folder = |name: &str| {
            let path = self.path(name);
            format!(
                "source.files = {{ paths = [{path:?}] }}\ncheck = [{{ file = {:?} }}]",
                path.join("sheet-7.txt")
            )
        };
        let lite = |name: &str| {
            let rows = LITE.iter().find(|(lite, _)| *lite == name).unwrap().1;
            format!(
                "source.sqlite = {{ path = {:?} }}\ncheck = [{{ sql = \"select count(*) = {rows} from t\" }}]",
                self.lite(name)
            )
        };
        let dumped = |name: &str| {
            let (folder, book) = (self.path(name), self.path(name).join("book"));
            let load = format!("mkdir -p {} && cat > {}", folder.display(), book.display());
            format!(
                "source.command = {{ dump = [\"cat\", {book:?}], load = [\"sh\", \"-c\", {load:?}] }}\ncheck = [{{ command = [\"grep\", \"-q\", \"1000 entries\", {book:?}] }}]"
            )
        };
        system("dns", "vital", "5 minutes", &[], &dumped("dns"));
        system("conf", "vital", "5 minutes", &["dns"], &folder("conf"));
        system("directory", "vital", "5 minutes", &["conf"], &lite("directory"));
        let orders = format!(
            "source.postgres = {{ data_directory = {:?}, url = {{ file = {:?} }}, wal = \"none\" }}\nrecover.stop = {stop_orders}\n\
             check = [{{ sql = \"select count(*) = 500 from orders\" }}]",
            self.orders.data(),
            self.path("orders.url")
        );
        system("orders", "vital", "10 minutes", &["directory"], &orders);
        let crm = format!(
            "source.mariadb = {{ copy = \"physical\", data_directory = {:?}, url = {{ file = {:?} }} }}\n\
             recover.stop = {{ command = {:?} }}\nrecover.start = {{ command = {:?} }}\ncheck = [{{ sql = \"select count(*) = 100 from crm.customers\" }}]",
            self.crm.data(),
            self.path("crm.url"),
            self.crm.stop_command(),
            self.crm.start_command()
        );
        system("crm", "important", "10 minutes", &["directory"], &crm);
        system("stock", "important", "10 minutes", &["orders"], &lite("stock"));
        let web = format!(
            "source.files = {{ paths = [{:?}] }}\nrecover.stop = {stop_web}\nrecover.start = {start_web}\n\
             check = [{{ http = \"http://127.0.0.1:{}/\", contains = \"price list 1\" }}]",
            self.path("web"),
            self.web.port
        );
        system("web", "vital", "10 minutes", &["orders", "stock"], &web);
        system("invoices", "important", "10 minutes", &["orders"], &folder("invoices"));
        system("ledger", "important", "10 minutes", &["invoices"], &dumped("ledger"));
        system("mail", "important", "10 minutes", &["directory", "dns"], &folder("mail"));
        system("share", "normal", "15 minutes", &["directory"], &folder("share"));
        system("wiki", "normal", "15 minutes", &["share"], &lite("wiki"));
        fs::write(self.path("plan.toml"), plan).unwrap();
    }

    fn backup(&self, systems: &[&str]) {
        self.world.run(&[&["backup"], systems].concat()).exits(0);
    }

    /// A fire in the machine: nothing runs, and nothing is left of any system.
    fn burn(&mut self) {
        self.web.kill();
        self.orders.destroy();
        self.crm.kill();
        fs::remove_dir_all(self.crm.data()).unwrap();
        for name in FOLDERS.iter().chain(&DUMPED).chain(LITE.iter().map(|(name, _)| name)) {
            fs::remove_dir_all(self.path(name)).unwrap();
        }
    }

    /// Fails the test unless every system is what it was at the beginning, by what it says itself.
    fn is_as_it_was(&self) {
        for folder in FOLDERS {
            same(&self.path("as-it-was").join(folder), &self.path(folder));
        }
        for name in DUMPED {
            let read = |folder: PathBuf| fs::read_to_string(folder.join("book")).unwrap();
            assert_eq!(read(self.path("as-it-was").join(name)), read(self.path(name)));
        }
        for (name, rows) in LITE {
            let sum: i64 = Connection::open(self.lite(name))
                .unwrap()
                .query_row("select sum(n) from t where s = 'row ' || n", [], |row| row.get(0))
                .unwrap();
            assert_eq!(sum, rows * (rows + 1) / 2, "{name}");
        }
        assert_eq!(self.orders.ask("select sum(n) from orders where s = 'order ' || n"), "125250");
        assert_eq!(
            self.crm.ask("select sum(id) from crm.customers where name = concat('customer ', id)"),
            "5050"
        );
        assert!(self.web.page("/").contains("price list 1"), "{}", self.web.page("/"));
    }

    /// Carries a recovery out to its end, with people who do what they are asked and say so from elsewhere. Returns what `--json` printed.
    fn recovers(&self, arguments: &[&str], systems: usize) -> Value {
        let arguments = [&["recover"], arguments].concat();
        let book = self.world.run(&[arguments.as_slice(), &["--dry-run", "--json"]].concat()).exits(0).json();
        let steps = book["steps"].as_array().unwrap().iter().enumerate();
        let mut asked: Vec<usize> =
            steps.filter(|(_, step)| step["kind"].get("ask").is_some()).map(|(at, _)| at).collect();
        assert!(!asked.is_empty(), "nobody is asked anything: {book}");
        let (out, err) = (self.path("recover.out"), self.path("recover.err"));
        let mut command =
            self.world.command(&[arguments.as_slice(), &["--yes", "--wait", "--json"]].concat());
        let files = [&out, &err].map(|path| Stdio::from(fs::File::create(path).unwrap()));
        let [stdout, stderr] = files;
        let mut child = Ended(command.stdout(stdout).stderr(stderr).spawn().unwrap());
        let mut code = None;
        wait_until(LONG, || {
            asked.retain(|step| self.world.run(&["answer", &step.to_string()]).code != 0);
            code = child.0.try_wait().unwrap().and_then(|status| status.code());
            code.is_some()
        });
        let said = fs::read_to_string(&err).unwrap();
        assert_eq!(code, Some(0), "{said}\n{}", fs::read_to_string(&out).unwrap());
        let told: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
        assert_eq!(told["recovered"]["unconfirmed"], serde_json::json!([]), "{told}");
        in_time(&told, systems);
        told
    }
}

/// A process that ends with the test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails the test unless so many systems are back, checked, within the time that was promised for each.
fn in_time(told: &Value, systems: usize) {
    let all = told["recovered"]["systems"].as_array().unwrap();
    assert_eq!(all.len(), systems, "{told}");
    for system in all {
        let (rta, rto) = (system["rta_seconds"].as_f64().unwrap(), system["rto_seconds"].as_f64().unwrap());
        assert!(rta < rto, "{system}");
        assert!(system["checks_passed"].as_u64().unwrap() >= 1, "{system}");
        assert_eq!(system["failure"], Value::Null, "{system}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn a_company_of_twelve_systems_comes_back_from_each_of_the_five_causes() {
    let mut company = Company::found();
    company.backup(&[]);

    // A dead disk. Nobody confirms anything, and that is a finding; the systems are back all the same.
    company.burn();
    let told =
        company.world.run(&["recover", "--scenario", "hardware-failure", "--yes", "--json"]).exits(1).json();
    in_time(&told, 12);
    assert_eq!(told["recovered"]["unconfirmed"].as_array().unwrap().len(), 2, "{told}");
    company.is_as_it_was();

    // Ransomware: three folders are encrypted, and the agent copies them before anybody sees it.
    let mut random = Random::new(7);
    for folder in ["share", "mail", "invoices"] {
        for at in 0..SHARED {
            fs::write(company.path(folder).join(format!("sheet-{at}.txt")), random.bytes(3000)).unwrap();
        }
    }
    company.world.run(&["backup", "share", "mail", "invoices"]).exits(1);
    company.recovers(&["--scenario", "ransomware"], 12);
    company.is_as_it_was();
    company.backup(&["share", "mail", "invoices"]);

    // A mistake, which the newest points have too: what was touched comes back from before.
    let before = Timestamp::now().to_string();
    fs::remove_file(company.path("share/sheet-7.txt")).unwrap();
    let stock = Connection::open(company.lite("stock")).unwrap();
    stock.execute_batch("delete from t where n > 5").unwrap();
    drop(stock);
    company.orders.tell("delete from orders where n % 2 = 0");
    company.backup(&["share", "stock", "orders"]);
    let touched = ["share", "stock", "orders", "--scenario", "human-error"];
    company.world.run(&[&["recover", "--yes"], touched.as_slice()].concat()).exits(64).says("--before");
    company.recovers(&[touched.as_slice(), &["--before", &before]].concat(), 3);
    company.is_as_it_was();

    // A bad update, of the shop and of what it takes its customers from.
    let before = Timestamp::now().to_string();
    fs::write(company.path("web/index.html"), "Internal error").unwrap();
    company.crm.run("alter table crm.customers drop column name");
    company.backup(&["web", "crm"]);
    company.recovers(&["web", "crm", "--scenario", "bad-update", "--before", &before], 2);
    company.is_as_it_was();

    // The site is gone, with its vault and what this machine remembered: another machine stands in.
    company.backup(&[]);
    company.burn();
    fs::remove_dir_all(company.path("near")).unwrap();
    fs::remove_dir_all(company.path("state")).unwrap();
    let plan = fs::read_to_string(company.path("plan.toml")).unwrap();
    let burnt = plan.replace(&format!("name = {:?}", hostname()), "name = \"burnt\"");
    fs::write(company.path("plan.toml"), burnt).unwrap();
    let lost = ["--scenario", "site-loss"];
    company.world.run(&[&["recover", "--yes"], lost.as_slice()].concat()).exits(2).says("--stand-in");
    company.recovers(&[lost.as_slice(), &["--stand-in"]].concat(), 12);
    company.is_as_it_was();
}

#[test]
fn a_template_is_refused_until_the_plan_has_it_and_can_be_pasted() {
    let world = World::new();
    fs::write(world.data().join("a"), "a").unwrap();
    world.run(&["backup"]).exits(0);
    world.run(&["incident", "open", "--scenario", "ransomware", "--quiet"]).exits(0);
    world.run(&["incident", "show"]).says("Unplug server from the network");
    world.run(&["recover", "--scenario", "power-loss", "--yes"]).exits(64).says("scenarios show power-loss");
    let text = world.run(&["scenarios", "show", "power-loss"]).exits(0).out;
    let plan = fs::read_to_string(world.path("plan.toml")).unwrap();
    fs::write(world.path("plan.toml"), plan + &text).unwrap();
    world.run(&["check"]).exits(0);
    world.run(&["recover", "--scenario", "power-loss", "--yes"]).exits(1).says("Shut server down");
    let listed = world.run(&["scenarios", "--json"]).exits(0).json();
    let from = |name: &str| {
        let all = listed["scenarios"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["from"].clone()
    };
    assert_eq!(
        (from("power-loss"), from("ransomware"), from("insider")),
        ("plan".into(), "built_in".into(), "template".into())
    );
    world.run(&["scenarios", "show", "power-los"]).exits(64).says("did you mean `power-loss`");
}

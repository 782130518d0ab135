//! A week of a small company, by a clock that the test moves: real files, real vaults, a real mail server; and what can go wrong, at random by a seed.
//!
//! After each run of the agent two questions are asked. Was everything told that costs data or protection, to somebody of the plan? And was anything told
//! that isn't so? What is told afterwards must come back: each system is restored and compared with what it was before the trouble.

use crate::notify::{relays, world as world_of};
use crate::world::{Run, World, files, finish, hostname, same};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::{MailServer, Manner, Random, SmallDisk};

/// How often the agent runs, in seconds: the plan's `every`.
const STEP: i64 = 6 * 3600;
/// A week of it.
const STEPS: usize = 28;
/// So many runs after a trouble has ended it may still be told of.
const LINGERS: usize = 2;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Somebody encrypts so many percent of the shop's files.
    Attack(usize),
    /// The shop's disk isn't mounted: its folder is there and empty.
    Unmounted,
    /// A wrong command takes all files of the books, which are few.
    Deleted,
    /// The database of the dump has lost nearly all of its rows.
    Shrunk,
    /// The books' path in the plan is mistyped.
    Typo,
    /// The far vault is gone.
    DeadVault,
    /// The near vault's disk is full.
    FullDisk,
    /// The clock is more than a year ahead, for one run.
    ClockAhead,
    /// The machine is off for a day.
    Off,
}

/// What is nobody's trouble, and must not be told of.
#[derive(Debug, Clone, Copy)]
enum Work {
    Edits,
    Photos,
    Rotation,
    Touch,
    Owners,
    Upgrade,
    Moved,
    Archive,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::Attack(10),
    Trouble::Attack(50),
    Trouble::Attack(100),
    Trouble::Unmounted,
    Trouble::Deleted,
    Trouble::Shrunk,
    Trouble::Typo,
    Trouble::DeadVault,
    Trouble::FullDisk,
    Trouble::ClockAhead,
    Trouble::Off,
];
const WORKS: [Work; 8] = [
    Work::Edits,
    Work::Photos,
    Work::Rotation,
    Work::Touch,
    Work::Owners,
    Work::Upgrade,
    Work::Moved,
    Work::Archive,
];

impl Trouble {
    /// Returns what must be told, one of these: the kind of the alert and what it is about.
    fn must_tell(self) -> &'static [&'static str] {
        match self {
            Self::Attack(_) | Self::Unmounted => &["suspicious shop"],
            Self::Deleted => &["suspicious books"],
            Self::Shrunk => &["suspicious orders"],
            Self::Typo => &["backup books", "suspicious books", "incomplete books"],
            Self::DeadVault => &["unreachable far"],
            Self::FullDisk => &["full near", "unreachable near", "incomplete shop", "backup shop"],
            Self::ClockAhead | Self::Off => &[],
        }
    }

    /// Returns whether it may be told of as that.
    fn may_tell(self, alert: &str) -> bool {
        let (kind, about) = alert.split_once(' ').unwrap_or_default();
        match self {
            Self::Attack(_) | Self::Unmounted => about == "shop" && ["suspicious", "rpo"].contains(&kind),
            Self::Deleted => about == "books" && ["suspicious", "rpo"].contains(&kind),
            Self::Shrunk => about == "orders" && ["suspicious", "rpo"].contains(&kind),
            Self::Typo => about == "books",
            // Points lack a vault then, all of them.
            Self::DeadVault => about == "far" || ["incomplete", "rpo", "backup"].contains(&kind),
            // The alert of a full disk names the folder.
            Self::FullDisk => {
                about == "near" || kind == "full" || ["incomplete", "rpo", "backup"].contains(&kind)
            }
            Self::ClockAhead | Self::Off => ["rpo", "agent", "verification"].contains(&kind),
        }
    }

    /// Returns the system that has lost data.
    fn hits(self) -> Option<&'static str> {
        match self {
            Self::Attack(_) | Self::Unmounted => Some("shop"),
            Self::Deleted | Self::Typo => Some("books"),
            Self::Shrunk => Some("orders"),
            Self::DeadVault | Self::FullDisk | Self::ClockAhead | Self::Off => None,
        }
    }

    /// Returns for how many runs it lasts, at least and at most.
    fn lasts(self) -> (usize, usize) {
        match self {
            Self::ClockAhead => (1, 1),
            Self::Off => (4, 4),
            Self::Attack(_) | Self::Deleted | Self::Shrunk => (1, 2),
            Self::Unmounted | Self::Typo | Self::DeadVault | Self::FullDisk => (1, 4),
        }
    }
}

struct Week {
    world: World,
    mail: MailServer,
    near: SmallDisk,
    random: Random,
    /// Seconds that the clock of the company is ahead of the machine's.
    ahead: i64,
    /// Everything that happened, for whoever reads a failure.
    log: String,
    counter: usize,
}

impl Week {
    fn new(seed: u64) -> Self {
        let mail = MailServer::start(Manner::Takes);
        let near = SmallDisk::mount(256 << 20);
        let world = world_of(&relays(&[&mail]), "");
        let mut week =
            Self { world, mail, near, random: Random::new(seed), ahead: 0, log: String::new(), counter: 0 };
        week.plant();
        week.plan(&week.world.path("books"));
        week
    }

    fn plan(&self, books: &Path) {
        let (world, host) = (&self.world, hostname());
        let key = |name: &str| world.path(name).display().to_string();
        let system = |name: &str, source: &str| {
            format!(
                "[systems.{name}]\nhost = \"server\"\nrto = \"1 hour\"\nrpo = \"7 hours\"\nowner = \"hugo\"\ndeputy = \"claire\"\nsource.{source}\n"
            )
        };
        let db = key("orders.txt");
        let text = format!(
            "[organisation]\nname = \"Atelier\"\n[people.hugo]\nname = \"Hugo\"\ncontact = [\"mailto:hugo@atelier.example\"]\n[people.claire]\nname = \"Claire\"\nrole = \"incident lead\"\n\
            contact = [\"mailto:claire@atelier.example\"]\n[sites.here]\n[sites.there]\n[hosts.server]\nsite = \"here\"\nname = {host:?}\n\
            [vaults.near]\nurl = \"file://{}/vault\"\nsite = \"here\"\npassword = {{ file = {:?} }}\n[vaults.far]\nurl = {:?}\nsite = \"there\"\npassword = {{ file = {:?} }}\n\
            [notify]\nkey = {{ file = {:?} }}\n{}\n[policy]\nvaults = [\"near\", \"far\"]\nevery = \"6 hours\"\nverify = {{ every = \"3 days\" }}\n{}{}{}",
            self.near.path().display(),
            key("near.key"),
            world.vault("far"),
            key("far.key"),
            key("ack.key"),
            relays(&[&self.mail]),
            system("shop", &format!("files = {{ paths = [{:?}] }}", world.data())),
            system("books", &format!("files = {{ paths = [{books:?}] }}")),
            system(
                "orders",
                &format!("command = {{ dump = [\"cat\", {db:?}], load = [\"cp\", \"/dev/stdin\", {db:?}] }}")
            ),
        );
        fs::write(world.path("plan.toml"), text).unwrap();
    }

    /// Puts the company's first files there.
    fn plant(&mut self) {
        for number in 0..70 {
            let text = self.text(2000 + number * 37);
            let folder = self.world.data().join(format!("folder-{}", number % 7));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("page-{number}.html")), text).unwrap();
        }
        for number in 0..10 {
            self.photo(&format!("photo-{number}.jpg"));
        }
        fs::write(self.world.data().join("access.log"), self.text(30_000)).unwrap();
        fs::create_dir_all(self.world.path("books")).unwrap();
        for name in ["ledger.csv", "customers.csv", "wages.csv"] {
            let text = self.text(9000);
            fs::write(self.world.path("books").join(name), text).unwrap();
        }
        let text = self.text(200_000);
        fs::write(self.world.path("orders.txt"), text).unwrap();
    }

    fn text(&mut self, length: usize) -> String {
        const WORDS: [&str; 12] = [
            "order", "total", "customer", "delivery", "Lyon", "Paris", "invoice", "paid", "open", "2026",
            "EUR", "tax",
        ];
        let mut text = String::new();
        while text.len() < length {
            let number = self.random.below(100_000);
            let _ = write!(
                text,
                "{} {number}{}",
                WORDS[self.random.below(WORDS.len())],
                if number.is_multiple_of(9) { "\n" } else { " " }
            );
        }
        text
    }

    fn photo(&mut self, name: &str) {
        let mut bytes = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x01\x00\x48\x00\x48\x00\x00".to_vec();
        bytes.extend(self.random.bytes(20_000));
        bytes.extend(b"\xff\xd9");
        fs::create_dir_all(self.world.data().join("photos")).unwrap();
        fs::write(self.world.data().join("photos").join(name), bytes).unwrap();
    }

    /// Runs the program at the company's time.
    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = self.world.command(arguments);
        crate::procedure::with_a_clock(&self.world, &mut command, &format!("+{}", self.ahead));
        finish(&mut command)
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.log, "+{:>3} h: {text}", self.ahead / 3600);
    }

    fn work(&mut self, work: Work) {
        self.counter += 1;
        let n = self.counter;
        let data = self.world.data();
        let pages: Vec<PathBuf> =
            files(&data).into_iter().filter(|path| path.extension().is_some_and(|e| e == "html")).collect();
        match work {
            Work::Edits => {}
            Work::Photos => (0..25).for_each(|number| self.photo(&format!("import-{n}-{number}.jpg"))),
            Work::Rotation => {
                let log = data.join("access.log");
                fs::rename(&log, data.join(format!("access.log.{n}"))).unwrap();
                fs::write(&log, self.text(20_000)).unwrap();
            }
            Work::Touch => {
                let now = std::time::SystemTime::now();
                for path in files(&data) {
                    fs::File::options().append(true).open(path).unwrap().set_modified(now).unwrap();
                }
            }
            Work::Owners => {
                for path in files(&data) {
                    std::os::unix::fs::chown(path, Some(1000 + n as u32), None).unwrap();
                }
            }
            Work::Upgrade => {
                for path in &pages {
                    let text = self.text(2500);
                    fs::write(path, text).unwrap();
                }
            }
            Work::Moved => fs::rename(data.join("folder-0"), data.join("tmp"))
                .and_then(|()| fs::rename(data.join("tmp"), data.join("folder-0")))
                .unwrap(),
            Work::Archive => {
                let mut bytes = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
                bytes.extend(self.random.bytes(200_000));
                fs::write(data.join(format!("export-{n}.gz")), bytes).unwrap();
            }
        }
        // What people do all day.
        for _ in 0..3 {
            let path = pages[self.random.below(pages.len())].clone();
            let text = self.text(2000);
            fs::write(path, text).unwrap();
        }
        let mut line = fs::read_to_string(data.join("access.log")).unwrap();
        line += &self.text(500);
        fs::write(data.join("access.log"), line).unwrap();
        let orders = self.world.path("orders.txt");
        let more = fs::read_to_string(&orders).unwrap() + &self.text(3000);
        fs::write(orders, more).unwrap();
        let ledger = self.world.path("books").join("ledger.csv");
        let more = fs::read_to_string(&ledger).unwrap() + &self.text(100);
        fs::write(ledger, more).unwrap();
        self.say(&format!("work: {work:?}"));
    }

    /// Where a copy of what a system was at its last good point lies.
    fn kept(&self, system: &str) -> PathBuf {
        self.world.path(&format!("kept-{system}"))
    }

    /// Keeps what a system is now.
    fn keep(&self, system: &str) {
        let to = self.kept(system);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).unwrap();
        let from = self.place(system);
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap();
        assert!(copied.success());
    }

    fn place(&self, system: &str) -> PathBuf {
        match system {
            "shop" => self.world.data(),
            "books" => self.world.path("books"),
            _ => self.world.path("orders.txt"),
        }
    }

    fn begin(&mut self, trouble: Trouble) {
        self.say(&format!("begins: {trouble:?}"));
        let data = self.world.data();
        match trouble {
            Trouble::Attack(percent) => {
                let all = files(&data);
                let count = (all.len() * percent / 100).max(1);
                let renames = self.random.once_in(2);
                let mut left: Vec<PathBuf> = all;
                for _ in 0..count {
                    let path = left.swap_remove(self.random.below(left.len()));
                    let length = fs::read(&path).unwrap().len();
                    let noise = self.random.bytes(length);
                    fs::write(&path, noise).unwrap();
                    if renames {
                        let mut name = path.clone().into_os_string();
                        name.push(".locked");
                        fs::rename(&path, name).unwrap();
                    }
                }
            }
            Trouble::Unmounted => {
                fs::rename(&data, self.world.path("unmounted")).unwrap();
                fs::create_dir(&data).unwrap();
            }
            Trouble::Deleted => {
                files(&self.world.path("books")).iter().for_each(|path| fs::remove_file(path).unwrap());
            }
            Trouble::Shrunk => fs::write(self.world.path("orders.txt"), "order 1\n").unwrap(),
            Trouble::Typo => self.plan(&self.world.path("boks")),
            Trouble::DeadVault => fs::rename(self.world.path("far"), self.world.path("far-away")).unwrap(),
            Trouble::FullDisk => {
                let fill = fs::File::create(self.near.path().join("fill")).unwrap();
                let mut fill = std::io::BufWriter::new(fill);
                let block = vec![1u8; 1 << 16];
                while std::io::Write::write_all(&mut fill, &block).is_ok() {}
                let _ = fill.into_parts();
            }
            Trouble::ClockAhead => self.ahead += 400 * 86400,
            Trouble::Off => {}
        }
    }

    /// Somebody has heard of it, and mends it; what was lost comes back.
    fn end(&mut self, trouble: Trouble) {
        self.say(&format!("is mended: {trouble:?}"));
        match trouble {
            Trouble::Attack(_) | Trouble::Deleted | Trouble::Shrunk => {
                let system = trouble.hits().unwrap();
                let run = self.run(&["recover", system, "--yes"]);
                if let Trouble::Attack(_) = trouble {
                    // What was added by the attacker stays: a recovery removes nothing.
                    for path in files(&self.world.data()) {
                        if path.extension().is_some_and(|extension| extension == "locked") {
                            fs::remove_file(path).unwrap();
                        }
                    }
                }
                assert!([0, 1].contains(&run.code), "{}\n{}{}", self.log, run.out, run.err);
                self.is_back(system);
            }
            Trouble::Unmounted => {
                fs::remove_dir_all(self.world.data()).unwrap();
                fs::rename(self.world.path("unmounted"), self.world.data()).unwrap();
            }
            Trouble::Typo => self.plan(&self.world.path("books")),
            Trouble::DeadVault => fs::rename(self.world.path("far-away"), self.world.path("far")).unwrap(),
            Trouble::FullDisk => fs::remove_file(self.near.path().join("fill")).unwrap(),
            Trouble::ClockAhead => self.ahead -= 400 * 86400,
            Trouble::Off => {}
        }
    }

    /// Fails unless a system is what it was at its last good point.
    fn is_back(&mut self, system: &str) {
        let place = self.place(system);
        let kept = self.kept(system).join(place.file_name().unwrap());
        if place.is_dir() {
            let differences = testkit::tree::compare(&kept, &place);
            // Folders have other times, where something was removed from them by hand.
            let is_time =
                |path: &Path, what: &str| what.starts_with("modified ") && place.join(path).is_dir();
            let content: Vec<_> = differences.iter().filter(|one| !is_time(&one.path, &one.what)).collect();
            assert!(content.is_empty(), "{}{system} did not come back: {content:#?}", self.log);
        } else {
            assert!(
                fs::read(&kept).unwrap() == fs::read(&place).unwrap(),
                "{}{system} did not come back",
                self.log
            );
        }
    }

    /// Returns the alerts that are open and were told.
    fn told(&mut self) -> BTreeSet<String> {
        let run = self.run(&["alerts", "--json"]);
        let alerts: Value =
            serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}{}{}", self.log, run.out, run.err));
        let told = alerts["alerts"].as_array().unwrap().iter().filter(|alert| !alert["told"].is_null());
        told.map(|alert| {
            format!("{} {}", alert["kind"].as_str().unwrap(), alert["about"].as_str().unwrap_or_default())
        })
        .collect()
    }
}

fn week(seed: u64, only: Option<Trouble>) {
    let mut week = Week::new(seed);
    let mut active: Option<(Trouble, usize)> = None;
    let mut ended: Vec<(Trouble, usize)> = Vec::new();
    let mut unheard: Option<(Trouble, usize)> = None;
    let mut mails = 0;
    for step in 0..STEPS {
        week.ahead += STEP;
        if let Some((trouble, until)) = active
            && step >= until
        {
            week.end(trouble);
            ended.push((trouble, step));
            active = None;
        }
        // A quiet day first, and one at the end.
        let may_begin =
            (4..STEPS - 6).contains(&step) && ended.last().is_none_or(|(_, at)| step > at + LINGERS);
        if active.is_none() && may_begin && week.random.once_in(3) {
            let trouble = only.unwrap_or_else(|| TROUBLES[week.random.below(TROUBLES.len())]);
            let (least, most) = trouble.lasts();
            let runs = least + week.random.below(most - least + 1);
            week.begin(trouble);
            active = Some((trouble, step + runs));
            unheard = (!trouble.must_tell().is_empty()).then_some((trouble, step));
        } else if active.is_none() {
            let work = match week.random.once_in(2) {
                true => WORKS[week.random.below(WORKS.len())],
                false => Work::Edits,
            };
            week.work(work);
        }
        if matches!(active, Some((Trouble::Off, _))) {
            continue;
        }
        let run = week.run(&["agent", "--once"]);
        week.say(&format!("agent: {}\n{}{}", run.code, run.out, run.err));
        let told = week.told();
        week.say(&format!("open: {told:?}"));
        // Nothing that costs data or protection stays untold.
        if let Some((trouble, begun)) = unheard {
            if trouble.must_tell().iter().any(|alert| told.contains(*alert)) {
                unheard = None;
                let now = week.mail.messages().len();
                assert!(now > mails, "{}seed {seed}: {trouble:?} is an alert, and no mail came", week.log);
            } else {
                assert!(step <= begun, "{}seed {seed}: nobody was told of {trouble:?}", week.log);
            }
        }
        // And nothing is told that isn't so.
        for alert in &told {
            let is_so = active.iter().any(|(trouble, _)| trouble.may_tell(alert))
                || ended.iter().any(|(trouble, at)| step <= at + LINGERS && trouble.may_tell(alert));
            assert!(is_so, "{}seed {seed}: {alert} is told, and isn't so", week.log);
        }
        mails = week.mail.messages().len();
        for system in ["shop", "books", "orders"] {
            if active.is_none_or(|(trouble, _)| trouble.hits() != Some(system)) {
                week.keep(system);
            }
        }
    }
    for system in ["shop", "books", "orders"] {
        week.run(&["restore", system, "--to", "out"]).exits(0);
        let place = week.place(system);
        let restored = week.world.path("out").join(place.strip_prefix("/").unwrap());
        match system {
            "orders" => {}
            _ => same(&week.kept(system).join(place.file_name().unwrap()), &restored),
        }
    }
    assert!(!ended.is_empty(), "a week without trouble proves nothing: seed {seed}");
}

#[test]
fn a_week_in_which_everything_is_told_that_is_lost_and_nothing_that_is_not() {
    week(2, None);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how many weeks is handed over by the environment")]
#[ignore = "takes an hour: cargo nextest run -p releve --run-ignored only many_weeks"]
fn many_weeks_in_which_everything_is_told_that_is_lost_and_nothing_that_is_not() {
    let seeds = std::env::var("RELEVE_WEEKS").map_or(50, |text| text.parse().unwrap());
    for seed in 1..=seeds {
        week(seed, None);
    }
}

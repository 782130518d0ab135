//! An office and its files: what its people and its programs do with them on a day, and what happens once in a while.

use super::attacks::{BASE64, collect, letters};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use testkit::Random;

const WORDS: [&str; 16] = [
    "invoice", "order", "delivery", "customer", "late", "thirty", "days", "amount", "the", "of", "and", "to",
    "paid", "workshop", "oak", "table",
];

/// A folder of files.
pub(super) struct Office {
    root: PathBuf,
    /// Numbers files that come.
    next: u64,
}

impl Office {
    /// Fills a folder: 200 to 500 files, of which every office has more of another kind.
    pub(super) fn found(home: &Path, random: &mut Random) -> Self {
        let mut office = Self { root: home.join("srv"), next: 0 };
        let sizes = [(120, 40, 60), (60, 150, 40), (300, 10, 20), (80, 60, 160)];
        let (texts, pictures, documents) = sizes[random.below(sizes.len())];
        for _ in 0..texts {
            office.text(random);
        }
        for _ in 0..pictures {
            office.picture(random);
        }
        for _ in 0..documents {
            office.document(random);
        }
        for n in 0..12 {
            office.put(&format!("log/app.log.{n}"), &text(random, 30_000));
            office.put(&format!("keys/{n}.key"), &random.bytes(2048));
            office.put(&format!("mail/cur/{n}"), &text(random, 4000));
        }
        office.put("log/app.log", &text(random, 50_000));
        office.put("disks/shop.img", &disk(random));
        office.put("disks/vault.hc", &random.bytes(1 << 20));
        office.put("mail/box", &mail(random, 20_000));
        office.put("dump.sql", &text(random, 1_500_000));
        for n in 0..8 {
            let certificate = certificate(random);
            office.put(&format!("tls/{n}.pem"), &certificate);
        }
        office.sql("create table orders (id integer primary key, what text, pdf blob)");
        office.sql("with recursive n(i) as (select 1 union all select i + 1 from n where i < 800) insert into orders (what, pdf) select 'oak table ' || i, randomblob(300) from n");
        office
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What is done on any day: some files are written, some come, a few go.
    pub(super) fn work(&mut self, random: &mut Random) {
        let mut files = self.below("texts");
        // Nobody goes on with a file that doesn't open any more.
        files.retain(|path| fs::read(path).is_ok_and(|bytes| bytes.is_ascii() && bytes.contains(&b' ')));
        for _ in 0..5.min(files.len()) {
            fs::write(&files[random.below(files.len())], text(random, 3000)).unwrap();
        }
        self.text(random);
        self.document(random);
        self.picture(random);
        let mut log = fs::read(self.root.join("log/app.log")).unwrap_or_default();
        log.extend(text(random, 8000));
        self.put("log/app.log", &log);
        // Whoever uses the disk saves something.
        if let Ok(mut disk) = fs::read(self.root.join("disks/shop.img")) {
            let at = (disk.len() / 2 + random.below(100) * 4096).min(disk.len() - 16_000);
            disk[at..at + 16_000].copy_from_slice(&random.bytes(16_000));
            self.put("disks/shop.img", &disk);
        }
        let number = self.number();
        self.put(&format!("mail/cur/{number}"), &text(random, 4000));
        if let Some(old) = self.below("documents").first() {
            fs::remove_file(old).unwrap();
        }
        self.sql("insert into orders (what, pdf) values ('chair', randomblob(2000))");
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn text(&mut self, random: &mut Random) {
        let ending = ["txt", "csv", "py", "html"][random.below(4)];
        let name = format!("texts/{}/{}.{ending}", random.below(8), self.number());
        let length = 200 + random.below(40_000);
        self.put(&name, &text(random, length));
    }

    fn picture(&mut self, random: &mut Random) {
        let name = format!("pictures/{}/{}.jpg", random.below(5), self.number());
        let bytes = picture(random);
        self.put(&name, &bytes);
    }

    fn document(&mut self, random: &mut Random) {
        let number = self.number();
        let length = 3000 + random.below(40_000);
        let (ending, bytes) = match random.below(3) {
            0 => (
                "pdf",
                [b"%PDF-1.7\n".to_vec(), text(random, 500), random.bytes(length), b"\n%%EOF".to_vec()],
            ),
            1 => (
                "zip",
                [b"PK\x03\x04\x14\0".to_vec(), random.bytes(length), b"PK\x05\x06".to_vec(), Vec::new()],
            ),
            _ => (
                "docx",
                [
                    b"PK\x03\x04\x14\0\x06\0".to_vec(),
                    b"[Content_Types].xml".to_vec(),
                    random.bytes(length),
                    b"PK\x05\x06".to_vec(),
                ],
            ),
        };
        self.put(&format!("documents/{number}.{ending}"), &bytes.concat());
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Leaves little beside what a story is about.
    fn shrink(&self) {
        for name in ["texts", "pictures", "documents", "log", "tls", "disks"] {
            fs::remove_dir_all(self.root.join(name)).unwrap();
            fs::create_dir(self.root.join(name)).unwrap();
        }
        fs::remove_file(self.root.join("dump.sql")).unwrap();
    }

    /// Writes so many files, all with this time, or each with the one that it had.
    fn stamped(&self, folder: &str, time: Option<SystemTime>, contents: impl IntoIterator<Item = Vec<u8>>) {
        for (n, bytes) in contents.into_iter().enumerate() {
            let path = format!("{folder}/{n}");
            let place = self.root.join(&path);
            let had = fs::metadata(&place).ok().map(|found| found.modified().unwrap());
            self.put(&path, &bytes);
            if let Some(time) = time.or(had) {
                File::options().write(true).open(place).unwrap().set_modified(time).unwrap();
            }
        }
    }

    fn git(&self, words: &[&str]) {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]);
        must(git.arg("-C").arg(self.root.join("shop")).args(words));
    }

    /// A working copy of forty files, with all of them committed.
    fn clone_shop(&self, random: &mut Random) {
        for n in 0..40 {
            self.put(&format!("shop/{n}.txt"), &text(random, 1500));
        }
        self.git(&["init", "-q"]);
        self.git(&["add", "."]);
        self.git(&["commit", "-qm", "All"]);
    }

    /// Returns the files below a folder, in order.
    fn below(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.root.join(folder), &mut files);
        files.sort();
        files
    }

    /// Lets the database do something, as long as it is one.
    fn sql(&self, sql: &str) {
        let file = self.root.join("orders.db");
        let is_one = fs::read(&file).map(|bytes| bytes.starts_with(b"SQLite format 3"));
        if is_one.unwrap_or(sql.starts_with("create")) {
            must(Command::new("sqlite3").arg(file).arg(sql));
        }
    }
}

/// The time that a build or a deployment gives to all files.
fn made_up() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000)
}

fn text(random: &mut Random, length: usize) -> Vec<u8> {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        text.push_str(WORDS[random.below(WORDS.len())]);
        text.push(if random.once_in(9) { '\n' } else { ' ' });
        if random.once_in(6) {
            text.push_str(&random.below(100_000).to_string());
        }
    }
    text.truncate(length);
    text.into_bytes()
}

/// A disk as a file: pages of a file system, each with its number.
fn disk(random: &mut Random) -> Vec<u8> {
    let content = text(random, 3_200_000);
    let pages = (0..).zip(content.chunks(4000));
    let numbered =
        |(n, page): (u64, &[u8])| [n.to_le_bytes().as_slice(), [0u8; 88].as_slice(), page].concat();
    pages.map(numbered).collect::<Vec<_>>().concat()
}

/// A store of mail, with a picture in it that is so long.
fn mail(random: &mut Random, picture: usize) -> Vec<u8> {
    let head = b"From: a@b.example\nSubject: oak\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n";
    [text(random, 3000), head.to_vec(), letters(BASE64, picture, random)].concat()
}

fn certificate(random: &mut Random) -> Vec<u8> {
    let (begin, end) = (b"-----BEGIN CERTIFICATE-----\n".to_vec(), b"\n-----END CERTIFICATE-----\n".to_vec());
    [begin, letters(BASE64, 1500, random), end].concat()
}

fn picture(random: &mut Random) -> Vec<u8> {
    let length = 5_000 + random.below(60_000);
    [b"\xff\xd8\xff\xe0\0\x10JFIF\0".to_vec(), random.bytes(length)].concat()
}

fn must(command: &mut Command) {
    let out = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

macro_rules! stories {
    ($($story:ident $name:literal)*) => {
        /// What happens once in a while, and is nobody's attack.
        #[derive(Debug, Clone, Copy)]
        pub(super) enum Story { $($story,)* }
        const STORIES: &[Story] = &[$(Story::$story,)*];
        impl Story {
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$story => $name,)* }
            }
        }
    };
}

stories! {
    Squeezed "a large dump compressed in its place"
    Attached "a large attachment in the mail store"
    Renewed "certificates made anew"
    Sealed "an encrypted container made anew"
    Filled "a disk image fills with pictures"
    Dumped "a large dump written anew"
    Touched "all files touched"
    Owned "another mode on all files"
    Moved "a folder moved"
    Renamed "all files renamed"
    Restored "everything deleted and restored"
    Rotated "logs rotated"
    Packed "logs compressed"
    Imported "300 pictures imported"
    Recoded "all pictures coded anew"
    Converted "all pictures converted to another format"
    Vacuumed "a database vacuumed"
    Collected "git gc"
    Archived "encrypted archives added"
    Taped "a tar of everything, compressed"
    Mailed "the mail store grows"
    Keyed "all keys made anew"
    Upgraded "programs upgraded"
    Cleaned "half of the documents deleted"
    Edited "all texts replaced in"
    Replaced "all documents replaced"
    Cleared "a temporary folder filled, and cleared the day after"
    Copied "a folder copied, and removed the day after"
    Installed "a program installed, and another version in its place the day after"
    Repacked "git gc of a small repository with many loose objects"
    Switched "git checkout of a branch with few files"
    Shelved "two old years packed into an archive, and removed"
    Binned "the trash of the mail emptied"
    Built "a build that gives all files one time"
    Deployed "configuration deployed with one time for all"
    Mounted "encrypted containers used, with their times kept"
}

impl Story {
    pub(super) fn numbered(seed: u64) -> Self {
        STORIES[(seed / 2) as usize % STORIES.len()]
    }

    /// What was there from the beginning.
    pub(super) fn prepare(self, office: &mut Office, random: &mut Random) {
        match self {
            Self::Repacked => {
                office.shrink();
                office.clone_shop(random);
                for n in 0..25 {
                    office.put(&format!("shop/{n}.txt"), &text(random, 1600));
                    office.git(&["commit", "-qam", "More"]);
                }
            }
            Self::Switched => {
                office.shrink();
                office.clone_shop(random);
                office.git(&["checkout", "-qb", "small"]);
                office.git(&["rm", "-q", "[1-9]*.txt"]);
                office.git(&["commit", "-qm", "Little is left"]);
                office.git(&["checkout", "-q", "main"]);
            }
            Self::Shelved => {
                office.shrink();
                for n in 0..120 {
                    office.put(&format!("years/{}/{n}.txt", 2024 + n % 2), &text(random, 2000 + 100 * n));
                }
            }
            Self::Binned => {
                office.shrink();
                for n in 0..80 {
                    office.put(&format!("mail/.Trash/cur/{n}"), &text(random, 5000));
                }
            }
            Self::Built => {
                office.shrink();
                office.stamped("build", Some(made_up()), (0..40).map(|n| text(random, 1000 + n)));
            }
            Self::Deployed => {
                office.shrink();
                let contents = (0..30).map(|n| format!("v{n:03}\n").into_bytes());
                office.stamped("etc", Some(made_up()), contents);
            }
            Self::Mounted => {
                office.shrink();
                office.stamped("safes", None, (0..10).map(|_| random.bytes(50_000)));
            }
            _ => {}
        }
    }

    /// What goes before it, a day earlier.
    pub(super) fn begin(self, office: &mut Office, random: &mut Random) {
        let root = office.root.clone();
        match self {
            Self::Cleared => {
                for n in 0..400 {
                    office.put(&format!("tmp/{n}"), &text(random, 20_000));
                }
            }
            Self::Copied => {
                must(Command::new("cp").arg("-r").arg(root.join("documents")).arg(root.join("archive-2026")));
            }
            Self::Installed => {
                for n in 0..400 {
                    office.put(&format!("program-1/{n}"), &text(random, 20_000));
                }
            }
            _ => {}
        }
    }

    pub(super) fn happen(self, office: &mut Office, random: &mut Random) {
        let root = office.root.clone();
        match self {
            Self::Squeezed => {
                let bytes = [b"\x1f\x8b\x08\0".to_vec(), random.bytes(400_000)].concat();
                office.put("dump.sql", &bytes);
            }
            Self::Attached => {
                let mut mails = fs::read(root.join("mail/box")).unwrap();
                mails.extend(mail(random, 4_000_000));
                office.put("mail/box", &mails);
            }
            Self::Renewed => {
                for path in office.below("tls") {
                    fs::write(path, certificate(random)).unwrap();
                }
            }
            Self::Sealed => office.put("disks/vault.hc", &random.bytes(4 << 20)),
            Self::Filled => {
                let mut disk = fs::read(root.join("disks/shop.img")).unwrap();
                let quarter = disk.len() / 4;
                let pictures = random.bytes(quarter);
                disk[quarter * 3..quarter * 4].copy_from_slice(&pictures);
                office.put("disks/shop.img", &disk);
            }
            Self::Dumped => office.put("dump.sql", &text(random, 2_000_000)),
            Self::Touched => {
                must(Command::new("find").arg(&root).args(["-type", "f", "-exec", "touch", "{}", "+"]));
            }
            Self::Owned => {
                for path in office.below("") {
                    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
                }
            }
            Self::Moved => fs::rename(root.join("documents"), root.join("archive-2026")).unwrap(),
            Self::Renamed => {
                for path in office.below("") {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    fs::rename(&path, path.with_file_name(format!("old-{name}"))).unwrap();
                }
            }
            Self::Restored => {
                let aside = root.with_file_name("aside");
                must(Command::new("cp").arg("-r").arg(&root).arg(&aside));
                fs::remove_dir_all(&root).unwrap();
                fs::rename(aside, &root).unwrap();
            }
            Self::Rotated => {
                for n in (0..12).rev() {
                    let from = root.join(format!("log/app.log.{n}"));
                    fs::rename(from, root.join(format!("log/app.log.{}", n + 1))).unwrap();
                }
                fs::rename(root.join("log/app.log"), root.join("log/app.log.0")).unwrap();
                office.put("log/app.log", &text(random, 100));
            }
            Self::Packed => {
                let program = ["gzip", "xz", "bzip2", "zstd"][random.below(3)];
                let logs = office.below("log").into_iter().filter(|path| !path.ends_with("app.log"));
                must(Command::new(program).args(logs.collect::<Vec<_>>()));
            }
            Self::Imported => (0..300).for_each(|_| office.picture(random)),
            Self::Recoded => {
                for path in office.below("pictures") {
                    fs::write(path, picture(random)).unwrap();
                }
            }
            Self::Converted => {
                for path in office.below("pictures") {
                    let bytes = [b"RIFF\0\x10\0\0WEBPVP8 ".to_vec(), random.bytes(9000)].concat();
                    fs::write(path.with_extension("webp"), bytes).unwrap();
                    fs::remove_file(path).unwrap();
                }
            }
            Self::Vacuumed => {
                office.sql(
                    "delete from orders where id % 2 = 0; vacuum; update orders set pdf = randomblob(900)",
                );
            }
            Self::Collected => {
                let git = |words: &[&str]| {
                    let mut git = Command::new("git");
                    git.args([
                        "-c",
                        "user.name=a",
                        "-c",
                        "user.email=a@b.c",
                        "-c",
                        "init.defaultBranch=main",
                    ]);
                    must(git.arg("-C").arg(&root).args(words));
                };
                git(&["init", "-q"]);
                git(&["add", "texts"]);
                git(&["commit", "-qm", "All texts"]);
                office.work(random);
                git(&["add", "-A", "texts"]);
                git(&["commit", "-qm", "A day"]);
                git(&["gc", "-q"]);
            }
            Self::Archived => {
                for n in 0..10 {
                    let to = root.join(format!("backup-{n}.tar.enc"));
                    let file = office.below("texts").remove(n);
                    must(
                        Command::new("openssl")
                            .args(["enc", "-aes-256-cbc", "-pbkdf2", "-k", "secret", "-in"])
                            .arg(file)
                            .arg("-out")
                            .arg(to),
                    );
                }
            }
            Self::Taped => {
                must(
                    Command::new("tar")
                        .arg("-C")
                        .arg(&root)
                        .arg("-czf")
                        .arg(root.with_extension("tgz"))
                        .arg("."),
                );
                fs::rename(root.with_extension("tgz"), root.join("all.tgz")).unwrap();
            }
            Self::Mailed => {
                for _ in 0..400 {
                    let number = office.number();
                    office.put(&format!("mail/cur/{number}"), &text(random, 5000));
                }
            }
            Self::Keyed => {
                for path in office.below("keys") {
                    fs::write(path, random.bytes(2048)).unwrap();
                }
            }
            Self::Upgraded => {
                for n in 0..60 {
                    let bytes =
                        [b"\x7fELF\x02\x01\x01".to_vec(), text(random, 20_000), random.bytes(3000)].concat();
                    office.put(&format!("bin/{n}"), &bytes);
                    office.put(
                        &format!("share/{n}.gz"),
                        &[b"\x1f\x8b\x08\0".to_vec(), random.bytes(2000)].concat(),
                    );
                }
                for path in
                    office.below("texts").iter().filter(|path| path.extension().is_some_and(|e| e == "py"))
                {
                    fs::write(path, text(random, 9000)).unwrap();
                }
            }
            Self::Cleaned => {
                for path in office.below("documents").iter().step_by(2) {
                    fs::remove_file(path).unwrap();
                }
            }
            Self::Cleared => fs::remove_dir_all(root.join("tmp")).unwrap(),
            Self::Copied => fs::remove_dir_all(root.join("documents")).unwrap(),
            Self::Installed => {
                fs::remove_dir_all(root.join("program-1")).unwrap();
                for n in 0..350 {
                    office.put(&format!("program-2/{n}"), &text(random, 18_000));
                }
            }
            Self::Repacked => office.git(&["gc", "-q", "--prune=now"]),
            Self::Switched => office.git(&["checkout", "-q", "small"]),
            Self::Shelved => {
                let (how, name) = [("-czf", "gz"), ("-cJf", "xz"), ("-cjf", "bz2")][random.below(3)];
                let archive = root.join(format!("years.tar.{name}"));
                must(Command::new("tar").arg("-C").arg(&root).arg(how).arg(archive).arg("years"));
                fs::remove_dir_all(root.join("years")).unwrap();
            }
            Self::Binned => fs::remove_dir_all(root.join("mail/.Trash")).unwrap(),
            Self::Built => {
                office.stamped("build", Some(made_up()), (0..40).map(|n| text(random, 1000 + n)));
            }
            Self::Deployed => {
                let contents = (0..30).map(|n| format!("w{n:03}\n").into_bytes());
                office.stamped("etc", Some(made_up()), contents);
            }
            Self::Mounted => office.stamped("safes", None, (0..10).map(|_| random.bytes(50_000))),
            Self::Edited => {
                for path in office.below("texts") {
                    let bytes = fs::read_to_string(&path).unwrap().replace("oak", "ash wood");
                    fs::write(path, bytes).unwrap();
                }
            }
            Self::Replaced => {
                for path in office.below("documents") {
                    fs::remove_file(path).unwrap();
                    office.document(random);
                }
            }
        }
    }
}

//! A database in a folder of somebody who plants links in it, while root copies it and puts it back.

use crate::machine::{Folder, run};
use crate::walk::{now, walk};
use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use source::{Source, Sqlite};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// As whom the application runs.
const APP: u32 = 1234;
/// What nobody but root may read.
const SECRET: &str = "what only root may know";

/// A database of root's alone, and one of the application's in a folder of its own, below a folder of root's that is closed to others.
struct World {
    folder: Folder,
    secret: PathBuf,
    app: PathBuf,
    orders: PathBuf,
}

fn world(mode: &str) -> World {
    let folder = Folder::new();
    let (closed, app) = (folder.dir("root"), folder.dir("srv/app"));
    let (secret, orders) = (closed.join("secret.db"), app.join("orders.db"));
    for (path, text) in [(&secret, SECRET), (&orders, "an oak table")] {
        let db = Connection::open(path).unwrap();
        db.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        db.execute_batch(&format!("CREATE TABLE t (a); INSERT INTO t VALUES ('{text}')")).unwrap();
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for path in [&app, &orders] {
        chown(path, Some(APP), Some(APP)).unwrap();
    }
    World { folder, secret, app, orders }
}

impl World {
    /// Plants a link in the application's folder, as the application would.
    fn plant(&self, name: &str, target: &Path) -> PathBuf {
        let link = self.app.join(name);
        symlink(target, &link).unwrap();
        lchown(&link, Some(APP), Some(APP)).unwrap();
        link
    }

    fn capture(&self, source: &Sqlite, path: &Path) -> Result<Vec<u8>, String> {
        let scratch = self.folder.dir("scratch");
        let capture = source.capture(&scratch, now()).map_err(|error| error.to_string())?;
        let walked = walk(capture.input());
        Ok(walked.contents[path].clone())
    }

    fn of(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.capture(&Sqlite::new(path).unwrap(), path)
    }

    /// Puts a good database of the application's under this path into a staging folder.
    fn stage(&self, path: &Path) -> PathBuf {
        let staging = self.folder.dir("staging");
        let staged = staging.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(staged.parent().unwrap()).unwrap();
        let good = Connection::open(&staged).unwrap();
        good.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES ('back')").unwrap();
        chown(&staged, Some(APP), Some(APP)).unwrap();
        staging
    }

    fn is_untouched(&self) -> bool {
        let meta = fs::metadata(&self.secret).unwrap();
        let names = fs::read_dir(self.secret.parent().unwrap()).unwrap().count();
        (meta.uid(), meta.mode() & 0o7777, names) == (0, 0o600, 1) && holds(&fs::read(&self.secret).unwrap())
    }
}

fn holds(content: &[u8]) -> bool {
    content.windows(SECRET.len()).any(|piece| piece == SECRET.as_bytes())
}

#[test]
fn what_the_application_plants_is_refused_and_leads_root_nowhere() {
    let world = world("delete");
    let link = world.plant("link.db", &world.secret);
    let said = world.of(&link).unwrap_err();
    assert!(said.contains("a link that belongs to the user 1234") && said.contains("follow_links"), "{said}");
    // Where the plan follows it, it leads as far as its owner gets.
    let followed = Sqlite::new(&link).unwrap().follow_links(true);
    let said = world.capture(&followed, &link).unwrap_err();
    assert!(said.contains("opened as the user 1234"), "{said}");
    assert_eq!(followed.leads_to().unwrap(), Some(world.secret.clone()));
    // The same with a folder.
    let way = world.plant("way", world.secret.parent().unwrap());
    assert!(world.of(&way.join("secret.db")).unwrap_err().contains("belongs to the user 1234"));
    // A second name of root's, a pipe that nobody writes to, and root's own in a folder of the application's that it can't read.
    let hard = world.app.join("hard.db");
    fs::hard_link(&world.secret, &hard).unwrap();
    assert!(world.of(&hard).unwrap_err().contains("hard link"));
    fs::remove_file(&hard).unwrap();
    run("mkfifo", &[&world.app.join("orders.db-journal")]);
    assert!(world.of(&world.orders).unwrap_err().contains("orders.db-journal is no file"));
    fs::remove_file(world.app.join("orders.db-journal")).unwrap();
    let roots = world.app.join("roots.db");
    fs::copy(&world.secret, &roots).unwrap();
    assert!(world.of(&roots).unwrap_err().contains("opened as the user 1234"));
    assert!(world.is_untouched());

    // What comes back takes the link's place, and what has the name of the file on its way there too.
    world.plant("link.db.releve-new", &world.secret);
    world.plant("link.db-wal", &world.secret);
    let told = std::sync::Mutex::new(Vec::new());
    let source = Sqlite::new(&link).unwrap();
    assert_eq!(source.occupied(None).unwrap()[0].path, link);
    let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
    let done = source.put_back(&world.stage(&link), None, None, &tell).unwrap();
    assert_eq!(done.into, std::slice::from_ref(&link));
    assert!(told.lock().unwrap().iter().any(|line| line.contains("another user's link")));
    let back = fs::symlink_metadata(&link).unwrap();
    assert!(back.is_file() && back.uid() == APP && !world.app.join("link.db-wal").is_symlink());
    assert!(world.of(&link).is_ok() && world.is_untouched());
    // Not through a folder of another's choice.
    let below = way.join("new.db");
    let source = Sqlite::new(&below).unwrap();
    let said = source.put_back(&world.stage(&below), None, None, &|_| ()).unwrap_err().to_string();
    assert!(said.contains("belongs to the user 1234"), "{said}");
    assert!(world.is_untouched());
}

#[test]
fn a_database_is_opened_as_its_owner_below_folders_that_he_may_not_enter() {
    for mode in ["delete", "wal"] {
        let world = world(mode);
        fs::set_permissions(world.folder.join("srv"), fs::Permissions::from_mode(0o700)).unwrap();
        let here = std::env::current_dir().unwrap();
        let content = world.of(&world.orders).unwrap();
        assert!(!holds(&content) && !content.is_empty(), "{mode}");
        let left: Vec<_> =
            fs::read_dir(&world.app).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["orders.db"], "{mode}");
        // A log that is left by whoever has it open is his.
        let db = Connection::open(&world.orders).unwrap();
        db.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        world.of(&world.orders).unwrap();
        for entry in fs::read_dir(&world.app).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().uid(), APP, "{mode}");
        }
        assert!(Sqlite::new(&world.orders).unwrap().holds("SELECT count(*) = 2 FROM t").is_ok());
        // Only the thread that copied was shut in.
        assert_eq!((std::env::current_dir().unwrap(), Path::new("/proc/self").exists()), (here, true));
        assert!(rustix::process::geteuid().is_root());
    }
}

#[test]
fn links_that_change_places_with_the_database_meanwhile_lead_root_nowhere_either() {
    let world = world("wal");
    chown(world.folder.join("srv"), Some(APP), Some(APP)).unwrap();
    fs::rename(world.secret.clone(), world.secret.with_file_name("orders.db")).unwrap();
    let closed = world.secret.parent().unwrap().to_owned();
    let secret = World { secret: closed.join("orders.db"), ..world };
    let link = secret.plant("link", &secret.secret);
    let way = secret.folder.join("srv/way");
    symlink(&closed, &way).unwrap();
    lchown(&way, Some(APP), Some(APP)).unwrap();
    let stop = AtomicBool::new(false);
    let (mut captured, mut refused, mut leaked) = (0, 0, false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let swap = |a: &Path, b: &Path| {
                // Where the folder is another just now, it has no such names.
                let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
            };
            while !stop.load(Relaxed) {
                for _ in 0..20 {
                    swap(&link, &secret.orders);
                    swap(&way, &secret.app);
                    swap(&way, &secret.app);
                    swap(&link, &secret.orders);
                }
                // Time for a capture to begin well.
                std::thread::park_timeout(Duration::from_millis(3));
            }
        });
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            match secret.of(&secret.orders) {
                Ok(content) => {
                    captured += 1;
                    leaked |= holds(&content);
                }
                Err(_) => refused += 1,
            }
        }
        let staging = secret.stage(&secret.orders);
        let source = Sqlite::new(&secret.orders).unwrap();
        while Instant::now() < until + Duration::from_secs(1) {
            let _ = source.put_back(&staging, None, None, &|_| ());
        }
        stop.store(true, Relaxed);
    });
    assert!(!leaked, "root's own was captured");
    assert!(secret.is_untouched(), "{captured} captured, {refused} refused");
    assert!(captured > 0 && refused > 0, "{captured} captured, {refused} refused");
}

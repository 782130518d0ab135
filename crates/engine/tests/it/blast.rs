//! What a step would destroy, with a real process in the way.

use engine::blast::{fingerprint, look};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::{free_port, wait_until};

/// A process that holds two files open there and listens.
const HOLDS: &str = "import socket, sys, time
files = [open(sys.argv[1]), open(sys.argv[2]), open(sys.argv[1])]
server = socket.create_server(('127.0.0.1', int(sys.argv[3])))
print('ready', flush=True)
time.sleep(1000)";

struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_stands_there_and_who_works_there_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    std::fs::create_dir(&shop).unwrap();
    std::fs::write(shop.join("orders"), [7; 5000]).unwrap();
    std::fs::write(shop.join("invoices"), [7; 3000]).unwrap();
    std::os::unix::fs::symlink(&shop, folder.path().join("link")).unwrap();
    let port = free_port();
    let holder = Command::new("python3")
        .args(["-c", HOLDS])
        .args([shop.join("orders"), shop.join("invoices")])
        .arg(port.to_string())
        .stdout(Stdio::null())
        .spawn();
    let holder = Holder(holder.unwrap());
    assert!(wait_until(Duration::from_secs(60), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));

    let absent = folder.path().join("absent");
    let blast = look([shop.as_path(), &absent]).unwrap();
    let place = &blast.paths[0];
    assert_eq!((place.files, place.bytes, place.all_counted, place.is_there), (2, 8000, true, true));
    assert!(
        place.free.is_some() && place.file_system.as_ref().is_some_and(|name| !name.is_empty()),
        "{place:?}"
    );
    assert!(!blast.paths[1].is_there);
    let process = blast.processes.iter().find(|process| process.pid == holder.0.id()).unwrap();
    assert_eq!(
        (process.open, process.listening.iter().copied().collect::<Vec<_>>()),
        (2, vec![port]),
        "{process:?}"
    );
    assert!(process.name.starts_with("python"), "{process:?}");

    let text = blast.to_string();
    assert!(
        text.starts_with(&format!("machine {}", fingerprint().name.chars().take(3).collect::<String>())),
        "{text}"
    );
    assert!(text.contains("shop: 2 files, 8.0 kB") && text.contains("absent: nothing is there"), "{text}");
    assert!(text.contains(&format!("has 2 files open, port {port}")), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 78), "{text}");

    // By another name it is the same place; elsewhere nobody is.
    let linked = look([folder.path().join("link").join("orders").as_path()]).unwrap();
    assert_eq!(linked.processes.iter().find(|process| process.pid == holder.0.id()).unwrap().open, 1);
    let beside = look([absent.as_path()]).unwrap();
    assert!(beside.processes.is_empty() && beside.to_string().contains("nothing that runs"), "{beside}");
}

#[test]
fn a_deleted_file_that_is_still_written_to_and_a_folder_that_somebody_works_in_count() {
    let folder = tempfile::tempdir().unwrap();
    let (log, work) = (folder.path().join("log"), folder.path().join("work"));
    std::fs::create_dir(&work).unwrap();
    let out = std::fs::File::create(&log).unwrap();
    let holder = Holder(Command::new("sleep").arg("1000").current_dir(&work).stdout(out).spawn().unwrap());
    std::fs::remove_file(&log).unwrap();
    let blast = look([folder.path()]).unwrap();
    let process = blast.processes.iter().find(|process| process.pid == holder.0.id()).unwrap();
    assert_eq!(process.open, 2, "{process:?}");
}

#[test]
fn this_program_is_not_in_its_own_way_and_the_fingerprint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine");
    let _mine = (std::fs::File::create(&file).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    assert!(look([Path::new(&file)]).unwrap().processes.is_empty());
    let (once, twice) = (fingerprint(), fingerprint());
    assert_eq!(once, twice);
    assert!(once.id.len() == 14 && once.started.is_some(), "{once:?}");
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert!(machine.trim().is_empty() || !machine.starts_with(&once.id.replace(' ', "")));
}

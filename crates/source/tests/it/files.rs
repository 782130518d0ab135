//! Files and folders as they lie.

use crate::machine::{Folder, run};
use crate::walk::{Walked, now, read, walk};
use process::Words;
use source::{Capture, Files, Kind, Landing, Program, Source, Stands};
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use vault::{DeviceKind, Input, Node, NodeKind};

fn capture(files: &Files) -> Capture {
    files.capture(Path::new("/nowhere"), now()).unwrap()
}

fn walked(files: &Files) -> Walked {
    walk(capture(files).input())
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap()
}

/// Lists the folder of `path` and returns its entry.
fn entry(input: &dyn Input, path: &Path) -> Node {
    let mut unread = Vec::new();
    let nodes = input.list(inside(path.parent().unwrap()), &mut unread).unwrap();
    nodes.into_iter().find(|node| node.name == path.file_name().unwrap().as_bytes()).unwrap()
}

#[test]
fn a_path_comes_with_its_content_and_the_folders_above_it() {
    let folder = Folder::new();
    let shop = folder.dir("srv/shop");
    folder.write("srv/shop/a", "one");
    folder.write("srv/shop/b/c", "two");
    folder.write("srv/other", "not wanted");
    fs::set_permissions(folder.join("srv"), fs::Permissions::from_mode(0o751)).unwrap();

    let walked = walked(&Files::new([&shop]));
    assert_eq!(walked.unread, []);
    assert_eq!(walked.below(&folder.path), ["srv", "srv/shop", "srv/shop/a", "srv/shop/b", "srv/shop/b/c"]);
    assert_eq!(walked.contents[&shop.join("b/c")], b"two");
    let srv = &walked.nodes[&folder.join("srv")];
    assert_eq!(srv.meta.mode, 0o751);
    assert_eq!(srv.meta.inode, fs::metadata(folder.join("srv")).unwrap().ino());
}

#[test]
fn what_one_look_tells_is_what_stat_says() {
    let folder = Folder::new();
    let path = folder.write("a", "12345");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    run("touch", &[&"-d", &"1969-12-31T23:59:58.25Z", &path]);
    fs::hard_link(&path, folder.join("b")).unwrap();

    let walked = walked(&Files::new([&folder.path]));
    let (node, stat) = (&walked.nodes[&path], fs::metadata(&path).unwrap());
    assert_eq!(node.size(), 5);
    assert_eq!(node.meta.mode, 0o4750);
    assert_eq!((node.meta.mtime.seconds, node.meta.mtime.nanos), (-2, 250_000_000));
    assert_eq!((node.meta.uid, node.meta.gid), (stat.uid(), stat.gid()));
    assert_eq!((node.meta.inode, node.meta.device, node.meta.links), (stat.ino(), stat.dev(), 2));
    assert_eq!(walked.nodes[&folder.join("b")].meta.inode, stat.ino());
    let names = run("stat", &[&"-c", &"%U %G", &path]);
    let of = |name: &Option<String>| name.clone().unwrap_or_default();
    assert_eq!(names.trim(), format!("{} {}", of(&node.meta.user), of(&node.meta.group)));
}

#[test]
fn special_files_are_kept_as_what_they_are() {
    let folder = Folder::new();
    symlink(OsStr::from_bytes(b"no\xffwhere"), folder.join("link")).unwrap();
    symlink("x".repeat(4000), folder.join("long-link")).unwrap();
    run("mkfifo", &[&folder.join("pipe")]);
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
    run("mknod", &[&folder.join("null"), &"c", &"1", &"3"]);
    run("mknod", &[&folder.join("disk"), &"b", &"259", &"300000"]);

    let walked = walked(&Files::new([&folder.path]));
    assert_eq!(walked.unread, []);
    let kind = |name: &str| walked.nodes[&folder.join(name)].kind.clone();
    assert_eq!(kind("link"), NodeKind::Symlink { target: b"no\xffwhere".to_vec() });
    assert_eq!(kind("long-link"), NodeKind::Symlink { target: vec![b'x'; 4000] });
    assert_eq!((kind("pipe"), kind("socket")), (NodeKind::Fifo, NodeKind::Socket));
    let device = |name: &str| fs::metadata(folder.join(name)).unwrap().rdev();
    assert_eq!(kind("null"), NodeKind::Device { kind: DeviceKind::Character, number: device("null") });
    assert_eq!(kind("disk"), NodeKind::Device { kind: DeviceKind::Block, number: device("disk") });
}

#[test]
fn names_may_be_any_bytes() {
    let folder = Folder::new();
    let names: [&[u8]; 4] = [b"\xff\xfe", b"new\nline", b" ", "é".as_bytes()];
    for name in names {
        fs::create_dir(folder.join(OsStr::from_bytes(name))).unwrap();
        fs::write(folder.join(OsStr::from_bytes(name)).join(OsStr::from_bytes(name)), name).unwrap();
    }
    let walked = walked(&Files::new([&folder.path]));
    assert_eq!(walked.unread, []);
    for name in names {
        let name = OsStr::from_bytes(name);
        assert_eq!(walked.contents[&folder.join(name).join(name)], name.as_bytes());
    }
}

#[test]
fn attributes_and_acls_are_what_the_tools_show() {
    let folder = Folder::new();
    let path = folder.write("a", "x");
    let dir = folder.dir("d");
    run("setfattr", &[&"-n", &"user.comment", &"-v", &"hello", &path]);
    run("setfattr", &[&"-n", &"user.large", &"-v", &"y".repeat(3000), &path]);
    run("setfattr", &[&"-n", &"trusted.secret", &"-v", &"0x00ff", &path]);
    run("setfacl", &[&"-m", &"u:12345:rw,g:54321:r", &path]);
    run("setfacl", &[&"-d", &"-m", &"u:12345:rwx", &dir]);
    symlink("a", folder.join("link")).unwrap();
    run("setfattr", &[&"-h", &"-n", &"trusted.link", &"-v", &"l", &folder.join("link")]);

    let walked = walked(&Files::new([&folder.path]));
    assert_eq!(walked.unread, []);
    for path in [path, dir, folder.join("link")] {
        let shown = run("getfattr", &[&"-h", &"-d", &"-m", &"-", &"-e", &"hex", &"--absolute-names", &path]);
        let mut shown: Vec<&str> =
            shown.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        shown.sort_unstable();
        let ours = walked.nodes[&path].meta.xattrs.iter().map(|xattr| {
            let value: String = xattr.value.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}=0x{value}", String::from_utf8_lossy(&xattr.name))
        });
        assert_eq!(ours.collect::<Vec<_>>(), shown, "{}", path.display());
        assert!(!shown.is_empty());
    }
    // The ACL as another tool reads it, made again from the captured attribute.
    let again = folder.write("again", "");
    let node = &walked.nodes[&folder.join("a")];
    let acl = node.meta.xattrs.iter().find(|xattr| xattr.name == b"system.posix_acl_access").unwrap();
    let value: String = acl.value.iter().map(|byte| format!("{byte:02x}")).collect();
    run("setfattr", &[&"-n", &"system.posix_acl_access", &"-v", &format!("0x{value}"), &again]);
    let shown = |path: &PathBuf| run("getfacl", &[&"-ncp", path]);
    assert_eq!(shown(&again), shown(&folder.join("a")));
}

#[test]
fn holes_are_read_as_zeros() {
    let folder = Folder::new();
    let mut expected = vec![0; 3 << 20];
    let middle = folder.join("middle");
    let mut file = fs::File::create(&middle).unwrap();
    file.write_all(b"begin").unwrap();
    file.seek(SeekFrom::Start((3 << 20) - 3)).unwrap();
    file.write_all(b"end").unwrap();
    expected[..5].copy_from_slice(b"begin");
    expected[(3 << 20) - 3..].copy_from_slice(b"end");
    let tail = folder.join("tail");
    let mut file = fs::File::create(&tail).unwrap();
    file.write_all(b"begin").unwrap();
    file.set_len(1 << 20).unwrap();
    let hollow = folder.join("hollow");
    fs::File::create(&hollow).unwrap().set_len((1 << 20) + 1).unwrap();
    let full = folder.write("full", vec![0; 1 << 20]);
    fs::File::open(&full).unwrap().sync_all().unwrap();

    let walked = walked(&Files::new([&folder.path]));
    assert_eq!(walked.unread, []);
    let is_sparse = |path: &PathBuf| matches!(walked.nodes[path].kind, NodeKind::File { sparse: true, .. });
    assert!(is_sparse(&middle) && is_sparse(&tail) && is_sparse(&hollow));
    assert!(!is_sparse(&full));
    assert!(walked.contents[&middle] == expected);
    assert!(walked.contents[&tail] == fs::read(&tail).unwrap());
    assert!(walked.contents[&hollow] == vec![0; (1 << 20) + 1]);
}

#[test]
fn patterns_and_folders_leave_out_what_they_name() {
    let folder = Folder::new();
    for name in [
        "cache/x",
        "a/cache/y",
        "a/b.tmp",
        "a/keep",
        "log/1.log",
        "log/2.txt",
        "tmp",
        "d/tmp/z",
        "vault/data",
    ] {
        folder.write(name, "");
    }
    let log = format!("{}/log/*.log", folder.path.display());
    let files = Files::new([&folder.path]).exclude(["**/cache", "*.tmp", "tmp/", &log]).unwrap();
    let files = files.without([folder.join("vault")]);
    let expected = ["a", "a/keep", "d", "log", "log/2.txt", "tmp"];
    assert_eq!(walked(&files).below(&folder.path), expected);
}

#[test]
fn a_named_path_is_captured_though_a_pattern_matches_it() {
    let folder = Folder::new();
    folder.write("a/cache/keep/x", "");
    folder.write("a/cache/drop/x", "");
    let files = Files::new([folder.path.clone(), folder.join("a/cache/keep")]).exclude(["cache"]).unwrap();
    let walked = walked(&files);
    assert_eq!(walked.unread, []);
    assert_eq!(walked.below(&folder.path), ["a", "a/cache", "a/cache/keep", "a/cache/keep/x"]);
}

#[test]
fn a_vault_that_was_named_is_left_out_and_said_so() {
    let folder = Folder::new();
    folder.write("vault/data", "");
    folder.write("a", "");
    for named in ["vault", "vault/data"] {
        let files = Files::new([folder.join(named), folder.join("a")]).without([folder.join("vault")]);
        let walked = walked(&files);
        assert_eq!(walked.below(&folder.path), ["a"]);
        assert!(walked.why(&folder.join(named)).contains("a vault lies here"));
    }
}

#[test]
fn paths_in_one_another_are_captured_once() {
    let folder = Folder::new();
    folder.write("a/b/c", "");
    let files = Files::new([folder.join("a/b"), folder.join("a"), folder.join("a/b/")]);
    let capture = capture(&files);
    assert_eq!(capture.paths(), [folder.join("a"), folder.join("a/b")]);
    let nodes = capture.input().list(inside(&folder.join("a")), &mut Vec::new()).unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(walk(capture.input()).below(&folder.path), ["a", "a/b", "a/b/c"]);
}

#[test]
fn a_path_that_is_missing_makes_the_point_incomplete() {
    let folder = Folder::new();
    folder.write("a/x", "");
    folder.write("file", "");
    let missing = [folder.join("a/gone"), folder.join("nowhere/at/all"), folder.join("file/below")];
    let walked = walked(&Files::new(missing.iter().cloned().chain([folder.join("a")])));
    assert_eq!(walked.why(&missing[0]), "does not exist");
    assert_eq!(walked.why(&missing[1]), "does not exist");
    assert!(walked.why(&missing[2]).contains("is not a directory"));
    assert_eq!(walked.unread.len(), 3);
    assert_eq!(walked.below(&folder.path), ["a", "a/x", "file"]);
}

#[test]
fn a_path_through_a_link_is_incomplete_unless_its_target_is_captured() {
    let folder = Folder::new();
    folder.write("data/shop/x", "");
    symlink("data", folder.join("srv")).unwrap();
    symlink("nowhere", folder.join("dead")).unwrap();

    let named = folder.join("srv/shop");
    let alone = walked(&Files::new([named.clone(), folder.join("srv"), folder.join("dead")]));
    assert!(
        alone.why(&named).contains(&format!("name {} in the paths too", folder.join("data/shop").display()))
    );
    assert!(alone.why(&folder.join("srv")).starts_with("is a symbolic link to"));
    assert!(alone.why(&folder.join("dead")).contains("leads nowhere"));
    assert_eq!(alone.below(&folder.path), ["dead", "srv"]);

    let both = walked(&Files::new([named, folder.join("data")]));
    assert_eq!(both.unread, []);
    assert_eq!(both.below(&folder.path), ["data", "data/shop", "data/shop/x", "srv"]);
    assert_eq!(both.nodes[&folder.join("srv")].kind, NodeKind::Symlink { target: b"data".to_vec() });
}

#[test]
fn nothing_is_read_through_a_link_that_took_a_folders_place() {
    let folder = Folder::new();
    folder.write("a/b/x", "good");
    folder.write("evil/b/x", "evil");
    let capture = capture(&Files::new([folder.join("a")]));
    let node = entry(capture.input(), &folder.join("a/b/x"));
    fs::rename(folder.join("a"), folder.join("old")).unwrap();
    symlink("evil", folder.join("a")).unwrap();
    assert!(capture.input().open(inside(&folder.join("a/b/x")), &node).is_err());
    assert!(capture.input().list(inside(&folder.join("a/b")), &mut Vec::new()).is_err());
}

#[test]
fn a_file_that_changes_is_noticed() {
    let folder = Folder::new();
    let path = folder.write("a", vec![1; 100_000]);
    let capture = capture(&Files::new([&folder.path]));
    let input = capture.input();
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("is written, and grows", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[5] = 2;
            bytes.push(1);
            fs::OpenOptions::new().write(true).open(path).unwrap().write_all(&bytes).unwrap();
        }),
        ("shrinks", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap()),
        ("is written, and its time put back", |path| {
            let before = fs::metadata(path).unwrap();
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            (&file).write_all(b"y").unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }),
        ("is replaced", |path| {
            fs::write(path.with_extension("new"), vec![1; 100_000]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
    ];
    for (what, change) in changes {
        fs::write(&path, vec![1; 100_000]).unwrap();
        let node = entry(input, &path);
        assert_eq!(read(input, inside(&path), &node).unwrap().len(), 100_000);
        // Between the listing and the opening.
        change(&path);
        let before = read(input, inside(&path), &node);
        assert!(before.is_err() || what == "is written, and grows", "{what} before");
        // A second attempt begins with another look, and reads it whole.
        let mut node = node;
        input.describe(inside(&path), &mut node).unwrap();
        let bytes = read(input, inside(&path), &node).unwrap();
        assert_eq!(bytes.len() as u64, fs::metadata(&path).unwrap().len());
        // While it is open. A replaced file is still whole for those who have it open.
        let node = entry(input, &path);
        let mut content = input.open(inside(&path), &node).unwrap();
        let mut bytes = vec![0; 10];
        content.read_exact(&mut bytes).unwrap();
        change(&path);
        let rest = content.read_to_end(&mut bytes).unwrap() as u64;
        // What was written over it is what stood there: it is whole up to its length at the opening.
        assert!(!content.unchanged(10 + rest).unwrap() || what == "is written, and grows", "{what} during");
    }
}

#[test]
fn what_only_grew_is_whole_up_to_its_length_when_it_was_opened() {
    let folder = Folder::new();
    for (length, written) in
        [(100_000, None), (70 << 20, None), (70 << 20, Some(30)), (70 << 20, Some(69 << 20))]
    {
        let path = folder.write("a.log", (0..length).map(|n| (n / 100) as u8).collect::<Vec<_>>());
        let capture = capture(&Files::new([&folder.path]));
        let input = capture.input();
        let node = entry(input, &path);
        let mut content = input.open(inside(&path), &node).unwrap();
        let mut bytes = vec![0; 90_000];
        content.read_exact(&mut bytes).unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[9; 5000]).unwrap();
        let rest = content.read_to_end(&mut bytes).unwrap() as u64;
        assert_eq!(90_000 + rest, length, "no more than was there");
        if let Some(at) = written {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"x", at).unwrap();
        }
        assert_eq!(content.unchanged(length).unwrap(), written.is_none(), "{length} {written:?}");
    }
}

#[test]
fn what_vanished_is_not_found() {
    let folder = Folder::new();
    let path = folder.write("a", "x");
    let dir = folder.dir("d");
    let capture = capture(&Files::new([&folder.path]));
    let mut node = entry(capture.input(), &path);
    fs::remove_file(&path).unwrap();
    fs::remove_dir(&dir).unwrap();
    let kind = |error: std::io::Error| error.kind();
    let gone = std::io::ErrorKind::NotFound;
    assert_eq!(capture.input().open(inside(&path), &node).err().map(kind), Some(gone));
    assert_eq!(capture.input().describe(inside(&path), &mut node).err().map(kind), Some(gone));
    assert_eq!(capture.input().list(inside(&dir), &mut Vec::new()).err().map(kind), Some(gone));
}

#[test]
fn a_pipe_that_took_a_files_place_does_not_hold_us_up() {
    let folder = Folder::new();
    let path = folder.write("a", "x");
    let capture = capture(&Files::new([&folder.path]));
    let node = entry(capture.input(), &path);
    fs::remove_file(&path).unwrap();
    run("mkfifo", &[&path]);
    let error = capture.input().open(inside(&path), &node).err().unwrap();
    assert!(error.to_string().contains("no longer a regular file"), "{error}");
}

#[test]
fn reading_leaves_the_time_of_access() {
    let folder = Folder::new();
    let path = folder.write("a", "x");
    for path in [&path, &folder.path] {
        run("touch", &[&"-a", &"-d", &"2001-01-01T00:00:00Z", path]);
    }
    assert_eq!(walked(&Files::new([&folder.path])).unread, []);
    assert_eq!(fs::metadata(&path).unwrap().atime(), 978_307_200);
    assert_eq!(fs::metadata(&folder.path).unwrap().atime(), 978_307_200);
}

#[test]
fn hooks_run_around_the_capture_and_their_failures_show() {
    let folder = Folder::new();
    folder.write("a", "x");
    let sh = |script: &str| Program::new(Words::written(["sh", "-c", script])).unwrap();
    let touch = |name: &str| Program::new(Words::of("touch").data([folder.join(name)])).unwrap();

    let files = Files::new([&folder.path])
        .before([touch("before")])
        .after([touch("after"), sh("echo cold >&2; exit 4")]);
    let open = capture(&files);
    assert!(folder.join("before").exists() && !folder.join("after").exists());
    let walked = walk(open.input());
    assert!(folder.join("after").exists());
    assert_eq!(walked.why(Path::new("sh")), "sh exited with status 4: cold (the hook after the backup)");
    fs::remove_file(folder.join("after")).unwrap();
    drop(open);
    assert!(!folder.join("after").exists(), "the hook ran twice");

    // A backup that fails half-way.
    drop(capture(&files));
    assert!(folder.join("after").exists());

    // A hook that fails fails the capture, and the one after it still runs.
    fs::remove_file(folder.join("after")).unwrap();
    let files = Files::new([&folder.path]).before([sh("echo no; exit 3")]).after([touch("after")]);
    let error = files.capture(&folder.path, now()).unwrap_err();
    assert!(matches!(error.kind, Kind::Program(_)));
    assert!(error.to_string().contains("exited with status 3: no"), "{error}");
    assert!(folder.join("after").exists());
}

#[test]
fn a_hook_that_hangs_is_ended_with_all_it_started() {
    let folder = Folder::new();
    let script = format!("(sleep 2; touch {}) & sleep 60", folder.join("late").display());
    let hook = Program::new(Words::written(["sh", "-c", &script]))
        .unwrap()
        .within(std::time::Duration::from_millis(300));
    let error = Files::new([&folder.path]).before([hook]).capture(&folder.path, now()).unwrap_err();
    assert!(error.to_string().contains("did not end within 0.3 s"), "{error}");
    run("sleep", &[&"2.2"]);
    assert!(!folder.join("late").exists());
}

#[test]
fn files_land_in_place_and_are_looked_for() {
    let folder = Folder::new();
    let path = folder.write("srv/a", "12345");
    let source = Files::new([&path, &folder.join("never")]);
    assert_eq!(source.landing(None), Landing::Final("/".into()));
    let to = folder.join("to");
    assert_eq!(source.landing(Some(&to)), Landing::Final(to.clone()));

    let standing = source.occupied(None).unwrap();
    let standing: Vec<_> = standing.into_iter().filter(|standing| standing.path == path).collect();
    let Stands::Something { files, bytes, newest, all_counted } = standing[0].stands else {
        panic!("{standing:?}")
    };
    assert_eq!((files, bytes, all_counted), (1, 5, true));
    let link = folder.join("srv/link");
    std::os::unix::fs::symlink("a", &link).unwrap();
    let links = Files::new([&link]).occupied(None).unwrap();
    let links = links.into_iter().find(|standing| standing.path == link).unwrap().stands;
    assert!(matches!(links, Stands::Something { files: 0, .. }), "a link is no file: {links:?}");
    assert_eq!(newest.unwrap().seconds, fs::metadata(&path).unwrap().mtime());
    assert_eq!(source.occupied(Some(&to)).unwrap()[0].stands, Stands::Nothing);

    let error = source.put_back(&to, Some(&to), None, &|_| ()).unwrap_err();
    assert!(matches!(error.kind, Kind::NotInPoint), "{error}");
    let there = to.join(inside(&path));
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    // The point is not to blame for a link above that leads nowhere.
    let above = there.parent().unwrap();
    fs::remove_dir(above).unwrap();
    std::os::unix::fs::symlink("/not-mounted", above).unwrap();
    let error = source.put_back(&to, Some(&to), None, &|_| ()).unwrap_err();
    assert!(matches!(&error.kind, Kind::InTheWay(why) if why.contains("link to /not-mounted")), "{error}");
    fs::remove_file(above).unwrap();
    fs::create_dir(above).unwrap();
    fs::write(&there, "").unwrap();
    let done = source.put_back(&to, Some(&to), None, &|_| ()).unwrap();
    assert_eq!((done.into, done.missing), (vec![there], vec![to.join(inside(&folder.join("never")))]));
}

#[test]
fn senseless_paths_are_refused() {
    let error = Files::new(["srv/shop"]).capture(Path::new("/"), now()).unwrap_err();
    assert!(matches!(error.kind, Kind::Invalid(_)), "{error}");
}

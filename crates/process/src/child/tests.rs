use super::*;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

fn printed(words: Words, kept: Kept) -> String {
    let child = Start::new(words, kept).unwrap().stdout(Stdio::piped()).spawn().unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn what_others_have_named_is_never_an_option() {
    let hostile = ["--version", "-n", "--", "a'b", "a\nb", "%s", "a;b", "", "-e\\x41"];
    for name in hostile {
        let words = Words::of("printf").data(["[%s]", name]);
        assert_eq!(printed(words, Kept::Little), format!("[{name}]"), "{name:?}");
        let option = Words::of("printf").word("--").option("--name", name).into_line();
        assert_eq!(option.last().unwrap(), &OsString::from(format!("--name={name}")));
    }
    // One `--`, before the first of them.
    let line = Words::of("x").word("-a").data(["b"]).data(["--c"]).into_line();
    assert_eq!(line, ["x", "-a", "--", "b", "--c"]);
    // A program that knows no `--` isn't told of them at all.
    for name in ["--version", "-", "", "a\0b"] {
        let why = Words::of("x").bare(name).unwrap_err().to_string();
        assert!(why.contains("another name"), "{why}");
    }
    assert_eq!(Words::of("x").bare("b-c").unwrap().into_line(), ["x", "b-c"]);
    // A name that would be cut off at the program is no word of it.
    assert!(Start::new(Words::of("true").data(["a\0--b"]), Kept::Little).unwrap().spawn().is_err());
}

#[test]
fn a_program_is_found_where_the_machine_keeps_them_and_nowhere_else() {
    let found = find(OsStr::new("sh")).unwrap();
    assert!(found.is_absolute() && folders().iter().any(|folder| found.starts_with(folder)), "{found:?}");
    let planted = tempfile();
    let why = find(planted.file_name().unwrap()).unwrap_err().to_string();
    assert!(why.contains("/usr/bin") && why.contains("whole path"), "{why}");
    assert_eq!(find(planted.as_os_str()).unwrap(), planted);
    assert!(find(OsStr::new("/no/such/program")).is_err() && find(OsStr::new("")).is_err());
    std::fs::remove_file(planted).unwrap();
}

/// A program where nobody keeps programs.
fn tempfile() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("releve-planted-{}", std::process::id()));
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn it_sees_nothing_of_our_environment_but_what_is_kept_for_it() {
    // What cargo gives every test is as foreign to a program as a secret.
    let seen = printed(Words::of("env"), Kept::Little);
    assert!(!seen.contains("CARGO_"), "{seen}");
    let path = seen.lines().find_map(|line| line.strip_prefix("PATH=")).unwrap();
    assert!(path.split(':').all(|folder| folder.starts_with('/')) && path.contains("/usr/bin"), "{path}");
    let foreign = printed(Words::of("env"), Kept::Foreign);
    assert!(!foreign.lines().any(|line| line.starts_with("HOME=") || line.starts_with("USER=")), "{foreign}");
    assert_eq!(printed(Words::of("/usr/bin/env"), Kept::Nothing), "");
}

//! restic, as it will judge us.

use testkit::tree::{compare, grow};
use testkit::{Restic, S3Server};

#[test]
fn restic_runs_and_keeps_what_the_comparison_looks_at() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, back) = (folder.path().join("tree"), folder.path().join("back"));
    grow(&tree, 3, 30);
    let restic = Restic::new(folder.path().join("repository").display().to_string(), "secret");
    restic.must(&["init"]);
    restic.must(&["backup", tree.to_str().unwrap()]);
    restic.must(&["check", "--read-data"]);
    restic.must(&["restore", "latest", "--target", back.to_str().unwrap()]);
    let restored = back.join(tree.strip_prefix("/").unwrap());
    // Older versions of restic keep the target of a link as UTF-8 alone.
    let mut found = compare(&tree, &restored);
    found.retain(|difference| {
        !(difference.path.ends_with("odd/dangling") && difference.what.starts_with("target"))
    });
    assert_eq!(found, []);
    assert!(!restic.run(&["cat", "nonsense"]).success);
}

#[test]
fn restic_reaches_the_s3_server() {
    let server = S3Server::start();
    let restic = Restic::new(server.restic_address("repository"), "secret")
        .env("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY);
    restic.must(&["init"]);
    restic.must(&["check"]);
    assert!(server.folder().join("repository/config").exists());
}

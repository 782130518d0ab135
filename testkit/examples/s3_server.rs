//! An S3 server for a program that cannot link one: `cargo xtask bench restore`.
//!
//! It prints one line: port, endpoint with bucket, access key, secret key, and the folder where the bucket's objects lie. The folder
//! comes last because only it may hold blanks. The server is gone as soon as its standard input ends, so it never outlives who started it.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::io::{Read, Write};
use testkit::S3Server;

fn main() -> std::io::Result<()> {
    let server = S3Server::start();
    let port = server.port();
    println!(
        "{port} http://127.0.0.1:{port}/{} {} {} {}",
        S3Server::BUCKET,
        S3Server::ACCESS_KEY,
        S3Server::SECRET_KEY,
        server.folder().display()
    );
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

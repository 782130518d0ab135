//! Secrets as the plan names them: from a file, a variable of the environment, or a command.

use super::*;
use process::{Kept, Start, Words};
use std::io::Read;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// How long a program that holds a secret may take: a backup, and a recovery more so, waits for it.
const SECRET_WITHIN: Duration = Duration::from_secs(30);
/// How much it may print, in bytes: a key of any kind, and no stream without an end.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// How often it is looked whether it has ended, or whether somebody wants us to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Secrets from where the plan says they are.
pub(super) struct Environment;

impl Secrets for Environment {
    fn get(&self, secret: &Secret) -> Result<Vec<u8>> {
        let bytes = match secret {
            Secret::Env(name) => {
                use std::os::unix::ffi::OsStringExt;
                let value = std::env::var_os(name);
                value
                    .ok_or_else(|| Error::new(format!("the environment variable {name} is not set")))?
                    .into_vec()
            }
            Secret::File(path) => {
                let read = |file: std::fs::File| -> Result<Vec<u8>> {
                    let mut bytes = Vec::new();
                    file.take(SECRET_BYTES_MAX + 1)
                        .read_to_end(&mut bytes)
                        .map_err(|error| Error::new(format!("read {path}: {error}")))?;
                    match is_too_long(&bytes) {
                        true => Err(Error::new(format!("{path} holds {}", too_long()))),
                        false => Ok(bytes),
                    }
                };
                let escrow = "the key belongs in the escrow as well: without it the vault is lost";
                let helped = |error: Error| match error.help {
                    Some(_) => error,
                    None => error.help(escrow),
                };
                super::origin::secret(Path::new(path)).and_then(read).map_err(helped)?
            }
            Secret::Command(command) => printed(command)?,
        };
        let bytes = engine::vaults::without_line_end(bytes);
        // Whoever prints it from now on is shown without it.
        process::remember_secret(&bytes);
        if bytes.is_empty() { Err(Error::new("the secret is empty")) } else { Ok(bytes) }
    }

    fn s3_keys(&self) -> Credentials {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            get(name).iter().for_each(|value| process::remember_secret(value.as_bytes()));
        }
        Credentials {
            access_key: get("AWS_ACCESS_KEY_ID"),
            secret_key: get("AWS_SECRET_ACCESS_KEY"),
            session_token: get("AWS_SESSION_TOKEN"),
            renew: None,
        }
    }

    fn renew(&self, vault: &plan::Vault) -> Option<Renew> {
        let keys = [&vault.access_key, &vault.secret_key, &vault.session_token];
        let may_change = |key: &&&Option<Secret>| matches!(key, Some(Secret::Command(_) | Secret::File(_)));
        keys.iter().find(may_change)?;
        let vault = vault.clone();
        Some(Arc::new(move || vaults::keys_of(&vault, &Environment).map_err(|error| error.to_string())))
    }
}

fn is_too_long(bytes: &[u8]) -> bool {
    bytes.len() as u64 > SECRET_BYTES_MAX
}

fn too_long() -> String {
    format!("more than a secret may be long, {} KB", SECRET_BYTES_MAX >> 10)
}

/// Returns what a program prints, without waiting for it without end. It keeps our terminal, where it may ask.
fn printed(command: &[String]) -> Result<Vec<u8>> {
    let program = command.first().ok_or_else(|| Error::new("an empty command"))?;
    let wrong = |error: std::io::Error| Error::new(format!("run {program}: {error}"));
    let mut start = Start::new(Words::written(command), Kept::Holder).map_err(wrong)?;
    start.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = start.spawn().map_err(wrong)?;
    let (tell, told) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = out.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| bytes);
            // Nobody may wait for it any more.
            let _ = tell.send(read);
        });
    }
    let heard = child.stderr.take().map(complaints);
    let ended = within_bounds(&mut child, &told);
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    // Its last words come before ours.
    let _ = heard.map(|heard| heard.recv_timeout(LOOK_EVERY * 10));
    match ended {
        Ok((status, bytes)) if status.success() => Ok(bytes),
        Ok((status, _)) => Err(Error::new(format!("{program} ended with {status}"))),
        Err(why) => Err(Error::new(format!("{program} {why}"))),
    }
}

/// Waits for the end of a program and of what it prints. The error says which bound it broke.
fn within_bounds(
    child: &mut Child,
    told: &Receiver<std::io::Result<Vec<u8>>>,
) -> std::result::Result<(ExitStatus, Vec<u8>), String> {
    let (wait, begun, mut bytes) = (process::Wait::begin(), Instant::now(), None);
    loop {
        if bytes.is_none() {
            bytes = match told.recv_timeout(LOOK_EVERY) {
                Ok(read) => Some(read.map_err(|error| format!("can't be read: {error}"))?),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Vec::new()),
            };
        } else {
            std::thread::park_timeout(LOOK_EVERY);
        }
        if bytes.as_deref().is_some_and(is_too_long) {
            return Err(format!("prints {}", too_long()));
        }
        let status = bytes.as_ref().map(|_| child.try_wait()).transpose();
        if let Some(status) = status.map_err(|error| error.to_string())?.flatten() {
            return Ok((status, bytes.unwrap_or_default()));
        }
        if wait.is_over() {
            return Err("was ended, since somebody wants us to end".to_owned());
        }
        if begun.elapsed() > SECRET_WITHIN {
            let within = SECRET_WITHIN.as_secs();
            return Err(format!("said nothing for {within} s: a secret that takes longer belongs in a file"));
        }
    }
}

/// Shows what a program complains of, or asks, as it comes and through our own printing. What is returned tells when it has said all.
fn complaints(mut from: ChildStderr) -> Receiver<()> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (mut piece, mut left, mut heard) = ([0; 4096], SECRET_BYTES_MAX, Vec::new());
        // What comes after that is read all the same, or it would be stuck in it.
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let shown = u64::try_from(read).unwrap_or(u64::MAX).min(left);
            left -= shown;
            let new = piece.get(..usize::try_from(shown).unwrap_or(read)).unwrap_or_default();
            heard.extend_from_slice(new);
            // A letter may come in two pieces.
            let begun = heard.split_off(whole(&heard));
            complain(&heard);
            heard = begun;
        }
        complain(&heard);
        let _ = tell.send(());
    });
    told
}

fn complain(said: &[u8]) {
    let said = String::from_utf8_lossy(said);
    for line in process::masked(&said).split_inclusive('\n') {
        match line.strip_suffix('\n') {
            Some(line) => eprintln!("{line}"),
            None => eprint!("{line}"),
        }
    }
}

/// Returns how many bytes stand before a last letter that isn't whole yet.
fn whole(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
    match std::str::from_utf8(bytes.get(last..).unwrap_or_default()) {
        Err(error) if error.error_len().is_none() => last,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_comes_in_two_pieces_is_kept_until_it_is_whole() {
        let cases: [(&[u8], usize); 7] = [
            (b"", 0),
            (b"key?", 4),
            ("clé".as_bytes(), 4),
            (b"cl\xc3", 2),
            (b"\xf0\x9f\x94", 0),
            (b"a\xff", 2),
            (b"\x80\x80\x80\x80\x80", 5),
        ];
        for (bytes, expected) in cases {
            assert_eq!(whole(bytes), expected, "{bytes:?}");
        }
    }
}

//! Secrets as the plan names them: from a file, a variable of the environment, or a command.

use super::*;
use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Instant;

/// How long a program that holds a secret may take: it may ask a person, who looks for a card.
const SECRET_WITHIN: Duration = Duration::from_secs(5 * 60);
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
            Secret::File(path) => std::fs::read(path).map_err(|error| {
                Error::new(format!("read {path}: {error}"))
                    .help("the key belongs in the escrow as well: without it the vault is lost")
            })?,
            Secret::Command(command) => {
                let (program, arguments) =
                    command.split_first().ok_or_else(|| Error::new("an empty command"))?;
                printed(program, arguments)?
            }
        };
        let bytes = engine::vaults::without_line_end(bytes);
        if bytes.is_empty() { Err(Error::new("the secret is empty")) } else { Ok(bytes) }
    }

    fn s3_keys(&self) -> Credentials {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
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

/// Returns what a program prints, without waiting for it without end. It keeps our terminal, where it may ask.
fn printed(program: &str, arguments: &[String]) -> Result<Vec<u8>> {
    let wrong = |error: std::io::Error| Error::new(format!("run {program}: {error}"));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(wrong)?;
    let (tell, told) = channel();
    if let Some(mut out) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = out.read_to_end(&mut bytes).map(|_| bytes);
            // Nobody may wait for it any more.
            let _ = tell.send(read);
        });
    }
    let (wait, begun, mut bytes) = (process::Wait::begin(), Instant::now(), None);
    loop {
        if bytes.is_none() {
            bytes = match told.recv_timeout(LOOK_EVERY) {
                Ok(read) => Some(read.map_err(wrong)?),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Vec::new()),
            };
        } else {
            std::thread::park_timeout(LOOK_EVERY);
        }
        if let Some(status) = bytes.as_ref().map(|_| child.try_wait()).transpose().map_err(wrong)?.flatten() {
            return match status.success() {
                true => Ok(bytes.unwrap_or_default()),
                false => Err(Error::new(format!("{program} ended with {status}"))),
            };
        }
        let why = match begun.elapsed() {
            _ if wait.is_over() => "was ended, since somebody wants us to end".to_owned(),
            passed if passed > SECRET_WITHIN => format!("said nothing for {} s", SECRET_WITHIN.as_secs()),
            _ => continue,
        };
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::new(format!("{program} {why}")));
    }
}

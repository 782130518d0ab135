//! Secrets as the plan names them: from a file, a variable of the environment, or a command.

use super::*;

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
                let output = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .stderr(Stdio::inherit())
                    .output()
                    .map_err(|error| Error::new(format!("run {program}: {error}")))?;
                if !output.status.success() {
                    return Err(Error::new(format!("{program} ended with {}", output.status)));
                }
                output.stdout
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

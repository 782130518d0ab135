//! How a service is started and stopped on this machine: by systemd where it runs, else by its script in `/etc/init.d`.

use std::path::Path;

/// What runs services here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// systemd.
    Systemd,
    /// The service's own script, by `service NAME start`.
    Script,
    /// Nothing that is known.
    Nothing,
}

/// Returns what runs a service on the machine whose files are below `root`.
#[must_use]
pub fn runs(root: &Path, service: &str) -> Runs {
    // As sd_booted(3) asks.
    if root.join("run/systemd/system").is_dir() {
        return Runs::Systemd;
    }
    let name = script(service);
    let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with(['-', '.']);
    if is_plain && root.join("etc/init.d").join(name).is_file() { Runs::Script } else { Runs::Nothing }
}

/// Returns the command that does this to a service: `start`, `stop`, `restart`.
pub(crate) fn order(root: &Path, verb: &str, service: &str) -> Vec<String> {
    match runs(root, service) {
        Runs::Script => {
            let script = root.join("etc/init.d").join(script(service));
            // `service` gives it a clean environment, where there is one.
            match ["usr/sbin/service", "sbin/service"].iter().any(|path| root.join(path).is_file()) {
                true => vec!["service".into(), self::script(service).into(), verb.into()],
                false => vec![script.display().to_string(), verb.into()],
            }
        }
        // Where nothing is known it says what is missing.
        Runs::Systemd | Runs::Nothing => {
            vec!["systemctl".into(), verb.into(), "--".into(), service.into()]
        }
    }
}

/// Returns what the script of a unit is called.
fn script(service: &str) -> &str {
    service.strip_suffix(".service").unwrap_or(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_systemd_does_not_run_the_services_own_script_does_it() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        assert_eq!(runs(root, "nginx"), Runs::Nothing);
        std::fs::create_dir_all(root.join("etc/init.d")).unwrap();
        std::fs::write(root.join("etc/init.d/nginx"), "").unwrap();
        let script = root.join("etc/init.d/nginx").display().to_string();
        assert_eq!(order(root, "stop", "nginx.service"), [script.as_str(), "stop"]);
        std::fs::create_dir_all(root.join("usr/sbin")).unwrap();
        std::fs::write(root.join("usr/sbin/service"), "").unwrap();
        assert_eq!(order(root, "start", "nginx"), ["service", "nginx", "start"]);
        for odd in ["../nginx", "", ".", "other", "-x"] {
            assert_eq!(runs(root, odd), Runs::Nothing, "{odd}");
        }
        std::fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        assert_eq!(order(root, "start", "nginx"), ["systemctl", "start", "--", "nginx"]);
    }
}

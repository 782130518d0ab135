//! How this program speaks with others over the network, but for vaults, which have their own ways (`vault::store`): one policy in one place.
//!
//! - What encrypts is chosen at the beginning of the program, and not by whoever comes first.
//! - The machine's own authorities are believed, and a certificate that they don't vouch for stays refused: to try again changes nothing, so it is said at once,
//!   with the way out.
//! - Nobody is followed to another place than the plan names.
//! - Everything has a limit of time.

use std::error::Error;
use std::time::Duration;
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;

/// Chooses what encrypts, for the whole process: without, the first who asks for an encrypted line panics. Twice is once.
pub fn begin() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns what asks over HTTP: it follows nobody, and takes every status for an answer.
pub(crate) fn client(limit: Duration) -> ureq::Agent {
    begin();
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build();
    ureq::Agent::new_with_config(config)
}

/// Returns whether a page that sends us on stays where the plan has sent us: the same machine and port, or the same machine encrypted.
pub(crate) fn is_same_place(from: &Url, to: &Url) -> bool {
    let is_same = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    let is_better = from.scheme() == "http" && to.scheme() == "https";
    from.host() == to.host() && from.host().is_some() && (is_same || is_better)
}

/// Returns what is wrong with a server's certificate, if that is what failed, and the way out: also inside an error of what asks over HTTP.
pub(crate) fn certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let told = match error.downcast_ref::<ureq::Error>() {
            Some(ureq::Error::Rustls(tls)) => vault::store::certificate(tls),
            Some(ureq::Error::Io(inner)) => vault::store::certificate(inner),
            _ => vault::store::certificate(error),
        };
        if told.is_some() {
            return told;
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;
    use std::io;

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_told_from_a_line_that_broke() {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let inside = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        for error in [ureq::Error::Rustls(unknown()), ureq::Error::Io(inside(unknown()))] {
            let said = certificate(&error).unwrap();
            assert!(said.contains("certificate") && said.contains("add its CA"), "{said}");
        }
        assert!(certificate(&inside(unknown())).is_some() && certificate(&unknown()).is_some());
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(certificate(&broken), None);
        assert_eq!(certificate(&ureq::Error::Io(broken)), None);
        assert_eq!(certificate(&ureq::Error::HostNotFound), None);
    }

    #[test]
    fn only_the_machine_that_the_plan_names_is_asked() {
        for (from, to, is_same) in [
            ("http://shop:8080/", "http://shop:8080/login", true),
            ("http://shop/", "https://shop/", true),
            ("https://shop/", "https://shop:443/a", true),
            ("https://shop/", "http://shop/", false),
            ("http://shop:8080/", "http://shop/", false),
            ("http://shop/", "http://169.254.169.254/", false),
            ("http://shop/", "file:///etc/shadow", false),
        ] {
            assert_eq!(is_same_place(&from.parse().unwrap(), &to.parse().unwrap()), is_same, "{from} {to}");
        }
    }

    /// Who listens there hangs up: what is looked at is that encryption was chosen before anybody asked for it.
    #[test]
    fn an_encrypted_page_can_be_asked_for_by_whoever_comes_first() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("https://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || drop(listener.accept()));
        assert!(client(Duration::from_secs(5)).get(&at).call().is_err());
    }
}

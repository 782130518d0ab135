//! A certificate that nobody vouches for: to try again changes nothing, so it is told from a line that broke.

use std::error::Error;
use std::io;

/// Returns what is wrong with a server's certificate, if that is what failed, and the way out.
#[must_use]
pub fn certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) =
            found
        {
            let way_out = "if the server is yours, add its CA to the certificates that this machine trusts";
            return Some(format!("{tls}; {way_out}"));
        }
        next = error.source();
    }
    None
}

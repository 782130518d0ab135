//! Mail, through one relay.

use super::super::acknowledge::Id;
use super::{Came, Pocket, Text};
use crate::net;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Encryption, TlsParameters};
use lettre::{Address, SmtpTransport, Transport};
use plan::notify::{Relay, Tls};
use std::time::Duration;
use url::Host;

/// Asks those who are on holiday not to answer (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

pub(super) fn send(
    relay: &Relay,
    to: &str,
    text: &Text,
    pocket: &mut Pocket,
    limit: Duration,
) -> Result<Came, String> {
    let address = |text: &str| plain(text).parse::<Address>().map_err(|error| format!("{text}: {error}"));
    // Without one some servers take a mail for rubbish.
    let domain =
        relay.from.rsplit_once('@').map_or_else(|| "localhost".to_owned(), |(_, domain)| ascii(domain));
    let name = Id::new().map_err(|error| error.to_string())?;
    let message = Message::builder()
        .message_id(Some(format!("<{name}@{domain}>")))
        .from(Mailbox::new(Some("Relève".to_owned()), address(&relay.from)?))
        .to(Mailbox::new(None, address(to)?))
        .subject(text.subject.clone())
        .header(AutoSubmitted)
        // Without it strict readers show `=C3=A9` for é.
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(text.body.clone())
        .map_err(|error| error.to_string())?;
    let host = ascii(&relay.host);
    let parameters = || TlsParameters::new(host.clone()).map_err(|error| reason(&error));
    let encryption = match relay.tls {
        Tls::Starttls => Encryption::Required(parameters()?),
        Tls::Implicit => Encryption::Wrapper(parameters()?),
        // The plan is refused where this isn't the machine itself; here once more, since a password follows.
        Tls::None if plan::notify::is_loopback(&relay.host) => Encryption::None,
        Tls::None => return Err("the line would not be encrypted".to_owned()),
    };
    let mut builder =
        SmtpTransport::builder_dangerous(&host).port(relay.port()).tls(encryption).timeout(Some(limit));
    if let (Some(user), Some(password)) = (&relay.user, pocket.get(relay.password.as_ref())?) {
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    let transport = builder.build();
    Ok(match transport.send(&message) {
        Ok(_) => Came::Taken,
        Err(error) if net::certificate(&error).is_some() => {
            Came::Refused(net::certificate(&error).unwrap_or_default())
        }
        Err(error) if error.is_timeout() => Came::Late,
        // Its 5xx are final; `client` is what it can't do: encrypt, or letters that it has no way for.
        Err(error) if error.is_permanent() || error.is_client() => Came::Refused(reason(&error)),
        Err(error) => Came::NotYet(reason(&error), None),
    })
}

/// Returns an address with its domain in the letters that every mail server takes.
fn plain(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", ascii(domain)),
        None => address.to_owned(),
    }
}

/// Returns a name of a machine or a domain in plain letters (IDNA); what is none as it is.
fn ascii(name: &str) -> String {
    match Host::parse(name) {
        Ok(Host::Domain(plain)) if !name.is_ascii() => plain,
        _ => name.to_owned(),
    }
}

/// Returns an error with what is behind it: the outermost says little.
fn reason(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        inner = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_goes_in_plain_letters_and_what_stands_before_the_at_as_it_is() {
        assert_eq!(plain("hugo@bücher.example"), "hugo@xn--bcher-kva.example");
        assert_eq!(plain("rené@bücher.example"), "rené@xn--bcher-kva.example");
        assert_eq!(plain("Hugo@Atelier.example"), "Hugo@Atelier.example");
        assert_eq!((ascii("127.0.0.1").as_str(), ascii("::1").as_str()), ("127.0.0.1", "::1"));
    }
}

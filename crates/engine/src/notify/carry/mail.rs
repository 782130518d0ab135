//! Mail, through one relay.

use super::super::acknowledge::Id;
use super::{Came, Pocket, Text};
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Encryption, TlsParameters};
use lettre::{Address, SmtpTransport, Transport};
use plan::notify::{Relay, Tls};
use std::time::Duration;

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
    let address = |text: &str| text.parse::<Address>().map_err(|error| format!("{text}: {error}"));
    // Without one some servers take a mail for rubbish.
    let domain = relay.from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let name = Id::new().map_err(|error| error.to_string())?;
    let message = Message::builder()
        .message_id(Some(format!("<{name}@{domain}>")))
        .from(Mailbox::new(Some("Relève".to_owned()), address(&relay.from)?))
        .to(Mailbox::new(None, address(to)?))
        .subject(text.subject.clone())
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN)
        .body(text.body.clone())
        .map_err(|error| error.to_string())?;
    let parameters = || TlsParameters::new(relay.host.clone()).map_err(|error| reason(&error));
    let encryption = match relay.tls {
        Tls::Starttls => Encryption::Required(parameters()?),
        Tls::Implicit => Encryption::Wrapper(parameters()?),
        // The plan is refused where this isn't the machine itself; here once more, since a password follows.
        Tls::None if plan::notify::is_loopback(&relay.host) => Encryption::None,
        Tls::None => return Err("the line would not be encrypted".to_owned()),
    };
    let mut builder =
        SmtpTransport::builder_dangerous(&relay.host).port(relay.port()).tls(encryption).timeout(Some(limit));
    if let (Some(user), Some(password)) = (&relay.user, pocket.get(relay.password.as_ref())?) {
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    let transport = builder.build();
    Ok(match transport.send(&message) {
        Ok(_) => Came::Taken,
        Err(error) if error.is_timeout() => Came::Late,
        Err(error) => Came::Failed(reason(&error)),
    })
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

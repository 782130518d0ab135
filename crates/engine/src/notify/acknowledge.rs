//! What came back: signed, good once, for one message, until it expires.
//!
//! A token is the message's id (9 bytes), when it expires (5 bytes, seconds since 1970) and the first 16 bytes of an HMAC-SHA256 over both:
//! 48 letters and digits, which survive any mail program, and being typed. Whoever hasn't the key can make none, and can't make another message's of one that he has.

use super::carry::bounded;
use super::{Notifier, notify_of};
use crate::vaults::Secrets;
use crate::{Error, Result};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use plan::Plan;
use plan::notify::Notify;
use sha2::Sha256;
use state::{Acknowledged, Body};

/// How long the key must be, in bytes: as long as what it makes.
const KEY_BYTES_MIN: usize = 32;
const ID_BYTES: usize = 9;
const EXPIRES_BYTES: usize = 5;
const MAC_BYTES: usize = 16;
/// Keeps what is signed here from meaning anything elsewhere.
const PURPOSE: &[u8] = b"releve acknowledgement 1";
/// How often it is tried again when somebody else changed the message meanwhile.
const TRIES: u32 = 10;

/// What a token came to. Only the first is an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is noted: this person has this message.
    Acknowledged {
        /// Who: a name of the plan.
        person: String,
        /// What the message is about.
        about: String,
    },
    /// It can be acknowledged, and nobody has yet. Only looked at.
    Open {
        /// Who.
        person: String,
        /// What the message is about.
        about: String,
    },
    /// It was acknowledged before.
    Already {
        /// Who.
        person: String,
        /// What the message is about.
        about: String,
        /// When.
        at: Timestamp,
    },
    /// Its time is over.
    Expired {
        /// When it was.
        at: Timestamp,
    },
    /// It was signed here, and no such message is known: it was sent from another machine, or the state is new.
    Unknown,
    /// It was not signed with the key of this plan, or was changed on its way.
    Forged,
}

/// What signs tokens.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(secret: &[u8]) -> Result<Self> {
        let short = || {
            Error::new(format!(
                "the key of acknowledgements (notify.key) is shorter than {KEY_BYTES_MIN} characters"
            ))
            .help("make one: head -c 32 /dev/urandom | base64 > /etc/releve/ack.key")
        };
        if secret.len() < KEY_BYTES_MIN {
            return Err(short());
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| short())
    }

    fn mac(&self, signed: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(PURPOSE).chain_update(signed)
    }

    /// Returns the token for a message. What doesn't fit into five bytes expired long ago or never.
    pub(super) fn token(&self, id: &Id, expires: Timestamp) -> String {
        let seconds = u64::try_from(expires.as_second()).unwrap_or(0).to_be_bytes();
        let mut bytes = id.0.to_vec();
        bytes.extend_from_slice(seconds.get(8 - EXPIRES_BYTES..).unwrap_or_default());
        let mac = self.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(mac.get(..MAC_BYTES).unwrap_or_default());
        spell(&bytes)
    }

    /// Returns the message and the expiry of a token, if it was signed with this key.
    fn read(&self, token: &str) -> Option<(Id, Timestamp)> {
        let bytes = unspell(token)?;
        if bytes.len() != ID_BYTES + EXPIRES_BYTES + MAC_BYTES {
            return None;
        }
        let (signed, mac) = bytes.split_at_checked(ID_BYTES + EXPIRES_BYTES)?;
        // Takes as long for a mac that is nearly right as for one that isn't.
        self.mac(signed).verify_truncated_left(mac).ok()?;
        let (id, expires) = signed.split_at_checked(ID_BYTES)?;
        let seconds = expires.iter().fold(0_i64, |seconds, byte| seconds << 8 | i64::from(*byte));
        Some((Id(id.try_into().ok()?), Timestamp::from_second(seconds).ok()?))
    }
}

/// The signs of base32 (RFC 4648), small: no hyphen that looks like an option, none that a mail program takes for the end of a link.
const SIGNS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Writes bytes, a multiple of five, as text.
fn spell(bytes: &[u8]) -> String {
    let sign = |bits: u64| SIGNS.get((bits & 31) as usize).map_or('a', |sign| char::from(*sign));
    let group = |five: &[u8]| {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (0..8).rev().map(move |place| sign(bits >> (5 * place))).collect::<String>()
    };
    bytes.chunks(5).map(group).collect()
}

/// Reads what [`spell`] has written, in large letters too.
fn unspell(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for sign in group {
            let value = SIGNS.iter().position(|known| *known == sign.to_ascii_lowercase())?;
            bits = bits << 5 | u64::try_from(value).ok()?;
        }
        (group.len() == 8).then_some(())?;
        bytes.extend_from_slice(bits.to_be_bytes().get(3..)?);
    }
    Some(bytes)
}

/// Names a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id([u8; ID_BYTES]);

impl Id {
    pub(super) fn new() -> Result<Self> {
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(format!("the system gives no random numbers: {error}")))?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Tells tokens that were signed here from others, without the state: whoever guesses gets no further than this.
pub struct Seal(Key);

impl Seal {
    /// Reads the plan's key.
    pub fn of(plan: &Plan, secrets: &'static dyn Secrets) -> Result<Self> {
        key_of(notify_of(plan)?, secrets).map(Self)
    }

    /// Returns whether a text could be a token at all, whoever has signed it.
    #[must_use]
    pub fn is_one(token: &str) -> bool {
        unspell(bare(token)).is_some_and(|bytes| bytes.len() == ID_BYTES + EXPIRES_BYTES + MAC_BYTES)
    }

    /// Returns whether a token, or a link that ends with one, was signed with this key.
    #[must_use]
    pub fn fits(&self, token: &str) -> bool {
        self.0.read(bare(token)).is_some()
    }
}

/// Returns the token of what was typed or opened: itself, or what a link ends with.
fn bare(token: &str) -> &str {
    token.trim().rsplit('/').next().unwrap_or_default()
}

fn key_of(notify: &Notify, secrets: &'static dyn Secrets) -> Result<Key> {
    let secret = notify.key.clone().ok_or_else(|| Error::new("the plan names no notify.key"))?;
    // A command that should print it may hang, and nobody would be told anything.
    let got = bounded(notify.try_for(), move || secrets.get(&secret))
        .ok_or_else(|| Error::new(format!("not there within {} s", notify.try_for().as_secs())));
    let secret = got
        .and_then(|got| got)
        .map_err(|error| Error { message: format!("notify.key: {error}"), ..error })?;
    Key::new(&secret)
}

impl Notifier<'_> {
    pub(super) fn key(&self) -> Result<Key> {
        key_of(self.notify()?, self.secrets)
    }

    /// Looks at what a person sent back, and changes nothing.
    pub fn look(&self, token: &str) -> Result<Answer> {
        self.answer(token, None)
    }

    /// Takes what a person sent back: a token, or a link that ends with one. `by` is `link` or `command`.
    pub fn acknowledge(&self, token: &str, by: &str) -> Result<Answer> {
        self.answer(token, Some(by))
    }

    fn answer(&self, token: &str, by: Option<&str>) -> Result<Answer> {
        let Some((id, expires)) = self.key()?.read(bare(token)) else { return Ok(Answer::Forged) };
        let id = id.to_string();
        for _ in 0..TRIES {
            let now = (self.now)();
            let Some(found) = self.state.message(&id)? else {
                return Ok(if expires <= now { Answer::Expired { at: expires } } else { Answer::Unknown });
            };
            let mut message = found.value;
            let (person, about) = (message.person.clone(), message.about.clone());
            if let Some((at, _)) = message.acknowledged {
                return Ok(Answer::Already { person, about, at });
            }
            if expires <= now || message.expires <= now {
                return Ok(Answer::Expired { at: expires.min(message.expires) });
            }
            let Some(by) = by else { return Ok(Answer::Open { person, about }) };
            message.acknowledged = Some((now, by.to_owned()));
            if self.state.set_message(&id, &message, found.revision)? {
                let by = by.to_owned();
                let body = Acknowledged { message: id, person: person.clone(), about: about.clone(), by };
                self.state.append(Body::Acknowledgement(body), now)?;
                return Ok(Answer::Acknowledged { person, about });
            }
        }
        Err(Error { retryable: true, ..Error::new("others keep changing this message: try again") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_names_its_message_and_its_expiry() {
        let id = Id::new().unwrap();
        let token = key(1).token(&id, at(1_800_000_000));
        assert_eq!(token.len(), 48);
        assert_eq!(key(1).read(&token), Some((id, at(1_800_000_000))));
        assert_eq!(key(1).read(&token.to_uppercase()), Some((id, at(1_800_000_000))));
        assert!(token.bytes().all(|sign| sign.is_ascii_alphanumeric()), "{token}");
    }

    #[test]
    fn no_letter_of_a_token_can_be_changed_and_no_two_put_together() {
        let [one, other] = [1, 2].map(|byte| key(1).token(&Id([byte; ID_BYTES]), at(1_800_000_000)));
        for place in 0..one.len() {
            let mut changed = one.clone().into_bytes();
            changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(key(1).read(std::str::from_utf8(&changed).unwrap()), None, "{place}");
        }
        assert_eq!(key(1).read(&format!("{}{}", &one[..16], &other[16..])), None);
        assert_eq!(key(2).read(&one), None);
        assert_eq!(key(1).read(&one[..47]), None);
        assert_eq!(key(1).read(&format!("{one}aaaaaaaa")), None);
        assert_eq!(key(1).read(""), None);
    }

    #[test]
    fn what_is_no_token_of_ours_is_told_by_its_shape_and_its_signature_alone() {
        let seal = Seal(key(1));
        let [ours, theirs] = [1, 2].map(|byte| key(byte).token(&Id([7; ID_BYTES]), at(1_800_000_000)));
        for (token, is_one, fits) in [
            (ours.clone(), true, true),
            (format!(" https://ack.example/ack/{ours} "), true, true),
            (theirs, true, false),
            (format!("{ours}aaaaaaaa"), false, false),
            (ours.replace(|sign: char| sign.is_ascii_digit(), "1"), false, false),
            ("a".repeat(1 << 20), false, false),
            (String::new(), false, false),
        ] {
            assert_eq!((Seal::is_one(&token), seal.fits(&token)), (is_one, fits), "{token:.60}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Key::new(&[7; 31]).is_err());
    }
}

//! Who made a point: the machine that captured it signs what it says of itself, and whoever reads it in any vault can tell.
//!
//! The signature lies in the snapshot as one more field, which restic passes over. What was signed is kept as the very text that it was: what a program makes of a
//! point differs between versions, and numbers with fractions don't come back to the last digit. Where the signature is right, that text is what counts, and the
//! snapshot's own fields must say the same. Nothing in it is one vault's own, so a copy in another vault is signed as well.
//!
//! Whose key is to be believed nobody can tell from a vault: that is for those who keep records.

use crate::crypto::random;
use crate::id::hex;
use crate::{BlobId, Error, FileId, Kind, PointInfo, Result, Snapshot};
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What stands before a text that is signed: no signature of ours under anything else is one under a point.
const PURPOSE: &[u8] = b"releve: a restore point, 1\n";
/// A longer text names less of what could not be read: a snapshot holds all of it twice, and must not grow beyond what a reader takes.
const TEXT_MAX: usize = 4 << 20;
/// So many it names then, of each kind.
const NAMED: usize = 20;
/// Bytes of what a key is made of.
const SEED: usize = 32;
/// Letters of a key that stand for it where a person reads it: enough to compare with paper.
const SHORT: usize = 16;

/// A signature under a point, as it lies in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// The public half of the key, in hexadecimal.
    pub by: String,
    /// The signature itself, in hexadecimal.
    pub seal: String,
    /// What was signed.
    pub text: String,
}

/// The newest record of the machine when it made a point: its chain can be held against it from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: String,
}

/// What a right signature says.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// The public half of the key, in hexadecimal.
    pub by: String,
    /// The newest record of the machine then, if it said so.
    pub head: Option<Head>,
    /// What is known of the point.
    pub info: Option<PointInfo>,
}

/// The key that a machine signs its points with.
#[derive(Debug)]
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

/// What is signed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Text {
    time: Timestamp,
    tree: BlobId,
    #[serde(default)]
    parent: Option<FileId>,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    excludes: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    program_version: Option<String>,
    #[serde(default)]
    head: Option<Head>,
    #[serde(default)]
    releve: Option<PointInfo>,
}

impl SigningKey {
    /// Returns a new secret that a key is made of, in hexadecimal.
    pub fn new_seed() -> Result<Zeroizing<String>> {
        let mut seed = Zeroizing::new([0u8; SEED]);
        random(&mut *seed).map_err(|error| Error::io("make a key to sign with", error))?;
        Ok(Zeroizing::new(hex(&*seed)))
    }

    /// Returns the key that is made of this; an error if it is none.
    pub fn from_seed(seed: &str) -> Result<Self> {
        let damaged = || Error::new("read the key to sign with", Kind::Damaged("it is no key".into()));
        let seed = Zeroizing::new(unhex(seed.trim()).ok_or_else(damaged)?);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| damaged())?;
        Ok(Self { pair })
    }

    /// Returns its public half, in hexadecimal.
    #[must_use]
    pub fn public(&self) -> String {
        hex(self.pair.public_key().as_ref())
    }

    /// Signs a point that is about to be written.
    pub fn sign(&self, snapshot: &mut Snapshot, head: Option<Head>) {
        let mut said = Text { head, releve: snapshot.releve.clone(), ..Text::of(snapshot) };
        // What can't be written as a text is in no snapshot either, and then that fails.
        let Ok(mut text) = serde_json::to_string(&said) else { return };
        if let Some(info) = said.releve.as_mut().filter(|_| text.len() > TEXT_MAX) {
            [&mut info.unread, &mut info.details, &mut info.left_out, &mut info.notes]
                .into_iter()
                .for_each(|list| list.truncate(NAMED));
            let Ok(shorter) = serde_json::to_string(&said) else { return };
            text = shorter;
        }
        let seal = hex(self.pair.sign(&message(&text)).as_ref());
        snapshot.signature = Some(Signature { by: self.public(), seal, text });
    }
}

impl Snapshot {
    /// Returns what its signature says, if it has one, that is right, and of this very point. Whose key it is remains to be asked.
    #[must_use]
    pub fn signed(&self) -> Option<Signed> {
        let Signature { by, seal, text } = self.signature.as_ref()?;
        let (key, seal) = (unhex(by)?, unhex(seal)?);
        UnparsedPublicKey::new(&ED25519, key).verify(&message(text), &seal).ok()?;
        let mut said: Text = serde_json::from_str(text).ok()?;
        let (head, info) = (said.head.take(), said.releve.take());
        let is_same = said == Text::of(self);
        // One key has one name.
        let by = by.to_ascii_lowercase();
        // A snapshot that restic has rewritten names the one that it was.
        (is_same && self.original.is_none()).then_some(Signed { by, head, info })
    }
}

impl Text {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            time: snapshot.time,
            tree: snapshot.tree,
            parent: snapshot.parent,
            hostname: snapshot.hostname.clone(),
            username: snapshot.username.clone(),
            paths: snapshot.paths.clone(),
            excludes: snapshot.excludes.clone(),
            tags: snapshot.tags.clone(),
            program_version: snapshot.program_version.clone(),
            head: None,
            releve: None,
        }
    }
}

/// Returns a key as a person compares it with paper: its first letters, in groups.
#[must_use]
pub fn fingerprint(key: &str) -> String {
    let letters: Vec<char> = key.chars().filter(char::is_ascii_hexdigit).take(SHORT).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

fn message(text: &str) -> Vec<u8> {
    [PURPOSE, text.as_bytes()].concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|letter| u8::try_from(letter.to_digit(16)?).ok()).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let change = crate::Change { incompressible: 0.1 + 0.2, ..crate::Change::default() };
        Snapshot {
            time: Timestamp::from_second(1_800_000_000).unwrap(),
            parent: None,
            tree: BlobId::of(b"tree"),
            paths: vec!["/srv/shop".into()],
            hostname: "shop-1".into(),
            username: "root".into(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: vec!["releve".into(), "system:shop".into(), "point:0123456789ab".into()],
            original: None,
            program_version: Some("releve 0.1.0".into()),
            releve: Some(PointInfo { files: 7, change, ..PointInfo::default() }),
            signature: None,
        }
    }

    fn key(letter: char) -> SigningKey {
        SigningKey::from_seed(&letter.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_signed_point_says_who_made_it_and_what_it_held_however_often_it_is_copied() {
        let (mut point, key) = (snapshot(), key('1'));
        assert_eq!(point.signed(), None, "nobody has signed it");
        let head = Head { number: 9, hash: "ab".repeat(32) };
        key.sign(&mut point, Some(head.clone()));
        for _ in 0..3 {
            let json = serde_json::to_vec(&point).unwrap();
            point = serde_json::from_slice(&json).unwrap();
            let signed = point.signed().unwrap();
            assert_eq!((signed.by, signed.head), (key.public(), Some(head.clone())));
            assert_eq!(signed.info.unwrap().files, 7);
        }
    }

    #[test]
    fn whatever_is_changed_about_a_point_its_signature_is_none_any_more() {
        type Edit = fn(&mut Snapshot);
        let edits: [(&str, Edit); 11] = [
            ("tree", |point| point.tree = BlobId::of(b"another")),
            ("time", |point| point.time = Timestamp::from_second(1_900_000_000).unwrap()),
            ("host", |point| point.hostname = "shop-2".into()),
            ("user", |point| point.username = "mallory".into()),
            ("paths", |point| point.paths.push("/etc".into())),
            ("excludes", |point| point.excludes.push("*.db".into())),
            ("parent", |point| point.parent = Some(FileId::of(b"one"))),
            ("system", |point| point.tags[1] = "system:mail".into()),
            ("program", |point| point.program_version = None),
            ("rewritten", |point| point.original = Some(FileId::of(b"one"))),
            ("text", |point| {
                let signature = point.signature.as_mut().unwrap();
                signature.text = signature.text.replace("\"files\":7", "\"files\":8");
            }),
        ];
        for (what, edit) in edits {
            let mut point = snapshot();
            key('1').sign(&mut point, None);
            edit(&mut point);
            assert_eq!(point.signed(), None, "{what}");
        }
        // Another's key is another's name, and his seal is not this one's.
        let (mut point, mut other) = (snapshot(), snapshot());
        key('1').sign(&mut point, None);
        key('2').sign(&mut other, None);
        assert_ne!(point.signed().unwrap().by, other.signed().unwrap().by);
        point.signature.as_mut().unwrap().by = other.signature.unwrap().by;
        assert_eq!(point.signed(), None);
    }

    #[test]
    fn a_point_that_names_very_much_is_signed_with_less_of_it_and_all_the_counts() {
        let mut point = snapshot();
        let unread = crate::UnreadInfo { path: "x".repeat(8000), why: "refused".into() };
        let info = point.releve.as_mut().unwrap();
        (info.unread_count, info.unread) = (1000, vec![unread; 1000]);
        key('1').sign(&mut point, None);
        assert!(point.signature.as_ref().unwrap().text.len() < TEXT_MAX);
        let info = point.signed().unwrap().info.unwrap();
        assert_eq!((info.unread_count, info.unread.len()), (1000, NAMED));
    }

    #[test]
    fn what_stands_beside_the_signed_text_counts_for_nothing() {
        let mut point = snapshot();
        key('1').sign(&mut point, None);
        point.releve.as_mut().unwrap().files = 99;
        assert_eq!(point.signed().unwrap().info.unwrap().files, 7);
    }

    #[test]
    fn what_is_no_key_and_no_signature_is_refused_and_never_a_panic() {
        for text in ["", "zz", "0", "é", &"0".repeat(63), &"g".repeat(64)] {
            assert!(SigningKey::from_seed(text).is_err(), "{text}");
            let mut point = snapshot();
            point.signature = Some(Signature { by: text.into(), seal: text.into(), text: text.into() });
            assert_eq!(point.signed(), None, "{text}");
        }
        assert_ne!(SigningKey::new_seed().unwrap(), SigningKey::new_seed().unwrap());
        assert_eq!(fingerprint(&"0123456789abcdef".repeat(4)), "0123-4567-89ab-cdef");
    }
}

//! restic's cryptography: AES-256 in counter mode, authenticated by Poly1305-AES, under a master key that
//! key files wrap with scrypt. Format: restic `doc/design.rst`, "Keys, Encryption and MAC".
//!
//! A sealed message is `IV (16 bytes) ‖ ciphertext ‖ MAC (16 bytes)`; the MAC covers the ciphertext.

use crate::{Password, passphrase};
use aes::cipher::{Block, BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use poly1305::Poly1305;
use poly1305::universal_hash::UniversalHash;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How many bytes a sealed message is longer than what it holds.
pub(crate) const OVERHEAD: usize = IV + MAC;
const IV: usize = 16;
const MAC: usize = 16;

/// What is copied, encrypted and authenticated at once, so that it is still near the processor at the last step. A multiple of the
/// authenticator's block.
const SEALED_AT_ONCE: usize = 16 << 10;

type Stream = ctr::Ctr128BE<Aes256>;

/// The key that opens everything in one repository.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

/// Says that a message was not sealed with this key, or was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

impl Key {
    /// Returns a new random key.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut bytes = [0u8; 64];
        random(&mut bytes)?;
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        Ok(key)
    }

    /// Returns the key that scrypt derives from a password. `None` if the parameters make no sense.
    pub(crate) fn derive(password: &[u8], salt: &[u8], cost: ScryptCost) -> Option<Self> {
        if !cost.is_payable() {
            return None;
        }
        let log_n = u8::try_from(cost.n.trailing_zeros()).ok()?;
        let params = scrypt::Params::new(log_n, cost.r, cost.p, 64).ok()?;
        let mut bytes = [0u8; 64];
        scrypt::scrypt(password, salt, &params, &mut bytes).ok()?;
        let key = Self::from_bytes(&bytes);
        bytes.zeroize();
        Some(key)
    }

    /// Returns the key of these bytes: for encryption, and both parts for authentication.
    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        let (encrypt, mac) = bytes.split_at(32);
        let (k, r) = mac.split_at(16);
        key.encrypt.copy_from_slice(encrypt);
        key.mac_k.copy_from_slice(k);
        key.mac_r.copy_from_slice(r);
        key
    }

    /// Returns what [`from_bytes`](Self::from_bytes) takes.
    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0u8; 64]);
        let (encrypt, mac) = bytes.split_at_mut(32);
        let (k, r) = mac.split_at_mut(16);
        encrypt.copy_from_slice(&self.encrypt);
        k.copy_from_slice(&self.mac_k);
        r.copy_from_slice(&self.mac_r);
        bytes
    }

    /// Returns whether both are the same key; how long it takes says nothing about where they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.to_bytes().as_slice().ct_eq(other.to_bytes().as_slice()).into()
    }

    /// Appends the sealed form of `plain` to `out`.
    pub(crate) fn seal_into(&self, plain: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
        let mut iv = [0u8; IV];
        random(&mut iv)?;
        out.reserve(plain.len() + OVERHEAD);
        out.extend_from_slice(&iv);
        let mut stream = self.stream(&iv);
        let mut mac = self.mac(&iv);
        let mut pieces = plain.chunks_exact(SEALED_AT_ONCE);
        for piece in &mut pieces {
            mac.update_padded(append(&mut stream, piece, out));
        }
        let tag = mac.compute_unpadded(append(&mut stream, pieces.remainder(), out));
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Returns the sealed form of `plain`.
    pub(crate) fn seal(&self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        self.seal_into(plain, &mut out)?;
        Ok(out)
    }

    /// Opens a sealed message in place and returns the plain text, a part of `sealed`.
    pub(crate) fn open<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], NotAuthentic> {
        let (iv, rest) = sealed.split_first_chunk_mut::<IV>().ok_or(NotAuthentic)?;
        let (body, tag) = rest.split_last_chunk_mut::<MAC>().ok_or(NotAuthentic)?;
        if !bool::from(self.mac(iv).compute_unpadded(body).as_slice().ct_eq(&*tag)) {
            return Err(NotAuthentic);
        }
        self.stream(iv).apply_keystream(body);
        Ok(body)
    }

    fn stream(&self, iv: &[u8; IV]) -> Stream {
        Stream::new(&self.encrypt.into(), iv.into())
    }

    /// Poly1305-AES: the one-time key is `r ‖ AES-128(k, IV)`.
    fn mac(&self, iv: &[u8; IV]) -> Poly1305 {
        let mut nonce = Block::<Aes128>::clone_from_slice(iv);
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut nonce);
        let mut one_time = [0u8; 32];
        let (r, s) = one_time.split_at_mut(16);
        r.copy_from_slice(&self.mac_r);
        s.copy_from_slice(&nonce);
        let mac = Poly1305::new(&one_time.into());
        one_time.zeroize();
        mac
    }

    /// Returns the key as restic writes it inside a key file.
    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let wire = WireKey {
            mac: WireMac { k: BASE64.encode(self.mac_k), r: BASE64.encode(self.mac_r) },
            encrypt: BASE64.encode(self.encrypt),
        };
        // Room from the start: a buffer that grows leaves copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(512));
        let _ = serde_json::to_writer(&mut *json, &wire);
        json
    }

    /// Reads what [`to_json`](Self::to_json), or restic, wrote.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let wire: WireKey = serde_json::from_slice(json).ok()?;
        let part = |text: &str| Some(Zeroizing::new(BASE64.decode(text).ok()?));
        Some(Self {
            encrypt: part(&wire.encrypt)?.as_slice().try_into().ok()?,
            mac_k: part(&wire.mac.k)?.as_slice().try_into().ok()?,
            mac_r: part(&wire.mac.r)?.as_slice().try_into().ok()?,
        })
    }
}

/// Appends a piece, encrypted, and returns it.
fn append<'a>(stream: &mut Stream, piece: &[u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    let start = out.len();
    out.extend_from_slice(piece);
    let body = out.get_mut(start..).unwrap_or_default();
    stream.apply_keystream(body);
    body
}

/// The price of one guess at a password, as scrypt counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScryptCost {
    /// Memory and time, a power of two: 128·N·r bytes.
    #[serde(rename = "N")]
    pub(crate) n: u64,
    /// Block size.
    pub(crate) r: u32,
    /// How many times over.
    pub(crate) p: u32,
}

impl ScryptCost {
    /// 32 MiB and a fifth of a second: for what is beyond guessing at any price, since whoever opens the vault pays it each time.
    const BEYOND_GUESSING: Self = Self { n: 1 << 15, r: 8, p: 3 };
    /// What restic's own calibration, to half a second, arrives at on a usual machine.
    const USUAL: Self = Self { n: 1 << 15, r: 8, p: 5 };
    /// Four times the memory, which is what a guesser's graphics card has least of, and more than twice the time.
    const STRONG: Self = Self { n: 1 << 17, r: 8, p: 3 };

    /// Returns what a new key with this password is to cost: the more the easier it may be to guess.
    pub(crate) fn for_password(password: &Password) -> Self {
        match password.bytes().len() {
            _ if passphrase::is_generated(password) => Self::BEYOND_GUESSING,
            40.. => Self::BEYOND_GUESSING,
            24.. => Self::USUAL,
            _ => Self::STRONG,
        }
    }

    /// Returns what this build makes a key pay. One with debug assertions is for tests, which open thousands of vaults that hold nothing.
    pub(crate) fn of_this_build(self) -> Self {
        if cfg!(debug_assertions) { Self { n: self.n >> 5, ..self } } else { self }
    }

    /// Returns whether a try can be paid at all: a key file from a hostile vault takes neither memory (128·N·r bytes) nor time without bound. restic takes
    /// 32 MiB and half a second, rustic and our strongest 128 MiB; this is twice and five times as much.
    pub(crate) fn is_payable(self) -> bool {
        let memory = self.n.saturating_mul(u64::from(self.r)).saturating_mul(128);
        self.n.is_power_of_two() && self.n >= 2 && memory <= 1 << 28 && self.work() <= 1 << 24
    }

    /// Returns the work, to compare: tries begin where they are cheap.
    pub(crate) fn work(self) -> u64 {
        self.n.saturating_mul(u64::from(self.r)).saturating_mul(u64::from(self.p))
    }
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct WireKey {
    mac: WireMac,
    encrypt: String,
}
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct WireMac {
    k: String,
    r: String,
}

/// Fills `bytes` from the system's random source.
pub(crate) fn random(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(|error| std::io::Error::other(format!("no random numbers: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens_again(plain in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let key = Key::random().unwrap();
            let mut sealed = key.seal(&plain).unwrap();
            prop_assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(key.open(&mut sealed).unwrap(), &plain[..]);
        }

        #[test]
        fn one_flipped_bit_anywhere_is_noticed(plain in proptest::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let key = Key::random().unwrap();
            let mut sealed = key.seal(&plain).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(key.open(&mut sealed), Err(NotAuthentic));
        }
    }

    #[test]
    fn what_was_sealed_in_several_steps_opens_as_a_whole() {
        let key = Key::random().unwrap();
        for length in [SEALED_AT_ONCE - 1, SEALED_AT_ONCE, SEALED_AT_ONCE + 1, 3 * SEALED_AT_ONCE, 100_001] {
            let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            assert_eq!(key.open(&mut key.seal(&plain).unwrap()).unwrap(), &plain[..], "{length} bytes");
        }
    }

    #[test]
    fn a_message_shorter_than_its_seal_is_refused() {
        let key = Key::random().unwrap();
        for length in 0..OVERHEAD {
            assert_eq!(key.open(&mut vec![0; length]), Err(NotAuthentic));
        }
    }

    #[test]
    fn a_guess_costs_at_least_what_restic_asks_unless_nobody_can_guess() {
        let cost = |text: &str| ScryptCost::for_password(&Password::new(text.as_bytes().to_vec()));
        let (short, usual) = (cost("quick brown fox"), cost("correct horse battery staple"));
        assert_eq!(usual, ScryptCost::USUAL);
        assert!(short.n == 4 * usual.n && short.work() > 2 * usual.work());
        assert_eq!(cost(&passphrase::generate().unwrap()), ScryptCost::BEYOND_GUESSING);
        assert_eq!(cost(&"0123456789".repeat(4)), ScryptCost::BEYOND_GUESSING);
    }

    #[test]
    fn absurd_scrypt_parameters_are_refused() {
        for cost in [
            ScryptCost { n: 1 << 40, r: 8, p: 1 },
            ScryptCost { n: 3, r: 8, p: 1 },
            ScryptCost { n: 1024, r: 0, p: 1 },
            ScryptCost { n: u64::MAX, r: u32::MAX, p: u32::MAX },
            ScryptCost { n: 1 << 20, r: 8, p: 1 },
            ScryptCost { n: 1 << 15, r: 8, p: 65 },
        ] {
            assert!(Key::derive(b"x", b"salt", cost).is_none());
        }
    }
}

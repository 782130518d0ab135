//! The `config` file: the repository's id and what restic's chunker needs.

use serde::{Deserialize, Serialize};

/// What `config` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Format version: 1 (no compression) or 2.
    pub(crate) version: u32,
    /// The repository's own id: 64 hexadecimal digits, random.
    pub(crate) id: String,
    /// An irreducible polynomial of degree 53, in hexadecimal: restic cuts its files with it. We don't, but restic
    /// refuses a repository without one.
    pub(crate) chunker_polynomial: String,
}

impl Config {
    /// Returns a config with a new id and polynomial.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut id = [0u8; 32];
        crate::crypto::random(&mut id)?;
        Ok(Self {
            version: 2,
            id: crate::FileId::from_bytes(id).to_string(),
            chunker_polynomial: format!("{:x}", random_polynomial()?),
        })
    }
}

impl Config {
    /// Returns what stands in for a config that is lost. The id is always the same for one key, and says nothing about it; files are cut by another
    /// polynomial than before, which restic minds only in that it stores anew what it cuts anew.
    pub(crate) fn instead(key: &crate::crypto::Key, version: u32) -> std::io::Result<Self> {
        let mut text = zeroize::Zeroizing::new(b"the id of a vault without a config: ".to_vec());
        text.extend_from_slice(key.to_bytes().as_slice());
        let id = crate::FileId::of(&text).to_string();
        Ok(Self { version, id, chunker_polynomial: format!("{:x}", random_polynomial()?) })
    }
}

const DEGREE: u32 = 53;

fn random_polynomial() -> std::io::Result<u64> {
    // One odd polynomial in about 26 of this degree is irreducible: a thousand tries never fail in practice.
    for _ in 0..100_000 {
        let mut bytes = [0u8; 8];
        crate::crypto::random(&mut bytes)?;
        let candidate = u64::from_le_bytes(bytes) & ((1 << DEGREE) - 1) | 1 << DEGREE | 1;
        if is_irreducible(candidate) {
            return Ok(candidate);
        }
    }
    Err(std::io::Error::other("no irreducible polynomial found: the random source is broken"))
}

/// Ben-Or's test over GF(2): `f` of degree n is irreducible if gcd(f, x^(2^i) − x) = 1 for all i ≤ n/2.
fn is_irreducible(f: u64) -> bool {
    let mut power = 2u64; // x
    for _ in 0..DEGREE / 2 {
        power = multiply_modulo(power, power, f);
        if gcd(f, power ^ 2) != 1 {
            return false;
        }
    }
    true
}

fn multiply_modulo(mut a: u64, mut b: u64, modulus: u64) -> u64 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        b >>= 1;
        a <<= 1;
        if a >> DEGREE & 1 == 1 {
            a ^= modulus;
        }
    }
    product
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        while a != 0 && a.leading_zeros() <= b.leading_zeros() {
            a ^= b << (b.leading_zeros() - a.leading_zeros());
        }
        std::mem::swap(&mut a, &mut b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_that_restic_documents_are_irreducible_and_products_are_not() {
        assert!(is_irreducible(0x3DA3358B4DC173));
        assert!(is_irreducible(0x25b468838dcb75));
        // Even ones have the factor x; (x+1) divides every one with an even number of terms.
        assert!(!is_irreducible(0x3DA3358B4DC172));
        assert!(!is_irreducible(0x3DA3358B4DC173 ^ 2));
    }

    #[test]
    fn a_random_config_has_a_polynomial_of_the_right_degree() {
        let config = Config::random().unwrap();
        let polynomial = u64::from_str_radix(&config.chunker_polynomial, 16).unwrap();
        assert_eq!(polynomial.ilog2(), DEGREE);
        assert_eq!(config.id.len(), 64);
    }
}

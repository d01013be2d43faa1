//! Digest authentication: challenges written strictly, credentials read tolerantly, nonces without state; and a phone's side of it.
//!
//! ```text
//!  Nonces::issue ─▶ Challenge ─▶ 401 ─▶ phone ─▶ Credentials::parse ─▶ Credentials::prove(HA1) ─▶ Nonces::spend
//!                                                     (the password)          (not old, not used before)
//! ```
//! Algorithms MD5, SHA-256 and SHA-512-256, `qop=auth`; the password itself is never here, only H(A1).
//! Source: RFC 7616, RFC 8760, RFC 3261 §22.

mod challenge;
mod credentials;
mod nonce;

use std::fmt;

use hmac::digest::Digest;
use md5::Md5;
use sha2::{Sha256, Sha512_256};

pub(crate) use challenge::{Challenge, Offer};
pub use credentials::{Credentials, CredentialsError};
pub use nonce::{Nonces, Spent};

/// The hash of a challenge and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `SHA-512-256`: SHA-512/256 of FIPS 180-4.
    Sha512_256,
    /// `SHA-256`
    Sha256,
    /// `MD5`, which every phone has.
    Md5,
}

impl Algorithm {
    /// In the order in which they are offered: the first is preferred (RFC 8760 §2.4).
    pub(crate) const STRONGEST_FIRST: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// The word of the `algorithm` parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm of a word, in any case. `-sess` variants are never offered, so they are unknown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::STRONGEST_FIRST.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }

    /// Length of its hashes in hexadecimal.
    #[must_use]
    pub(crate) const fn hex_digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }

    /// `H(a:b:c)` in lower-case hexadecimal.
    fn hash(self, parts: &[&str]) -> String {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha512_256 => hash::<Sha512_256>(parts),
        }
    }
}

fn hash<D: Digest>(parts: &[&str]) -> String {
    let mut hasher = D::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            hasher.update(b":");
        }
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// `H(username:realm:password)`: replaces the password in a users file and in a responder's answer.
///
/// As secret as the password itself, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Ha1 {
    /// Reads one in hexadecimal of any case; `None` where it has not the length of the algorithm.
    #[must_use]
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        let is_hash = text.len() == algorithm.hex_digits() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| Self { algorithm, hex: text.to_ascii_lowercase().into() })
    }

    /// Makes one of a password.
    pub(crate) fn of_password(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> Self {
        Self { algorithm, hex: algorithm.hash(&[username, realm, password]).into() }
    }

    /// What it was made with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its hexadecimal digits, in lower case.
    #[must_use]
    pub(crate) fn as_hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, hidden)", self.algorithm.as_str())
    }
}

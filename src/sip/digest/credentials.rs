//! `Authorization`, tolerant, and whether it proves the password.

use std::fmt;

use subtle::ConstantTimeEq;

use super::{Algorithm, Ha1};
use crate::sip::scan;

/// What a phone answers a challenge with.
///
/// Shape: `Digest username="alice", realm="example.com", nonce="…", uri="sip:alice@example.com", response="…",
/// algorithm=MD5, cnonce="…", qop=auth, nc=00000001`. Source: RFC 7616 §3.4.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it says it is, escapes resolved.
    pub username: Box<str>,
    /// Whose password it is, escapes resolved.
    pub realm: Box<str>,
    /// The nonce of the challenge, as quoted.
    pub nonce: Box<str>,
    /// The Request-URI as the phone wrote it, as quoted.
    pub uri: Box<str>,
    /// The proof, in hexadecimal.
    pub response: Box<str>,
    /// What it was made with; MD5 where the phone does not say.
    pub algorithm: Algorithm,
    usage: Option<Use>,
}

/// The parameters that `qop=auth` brings.
#[derive(Clone, PartialEq, Eq)]
struct Use {
    /// How often the phone has used the nonce, this time included.
    count: u32,
    /// The same as the phone wrote it: eight hexadecimal digits, mostly.
    nc: Box<str>,
    /// The phone's own nonce.
    cnonce: Box<str>,
}

/// Why an Authorization line is none that could prove anything. The phone is challenged as if it had sent none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Another scheme, such as Basic.
    #[error("the scheme is not Digest")]
    Scheme,
    /// A parameter that has to be there is not.
    #[error("no {0}")]
    Missing(&'static str),
    /// A parameter that is unreadable or repeated.
    #[error("unreadable {0}")]
    Unreadable(&'static str),
    /// An algorithm or quality of protection that was not offered.
    #[error("{0} is none that was offered")]
    NotOffered(&'static str),
}

/// Longest username taken in, in bytes.
const MAX_USERNAME_BYTES: usize = 256;
/// The parameters that are read; any other is passed over.
const NAMES: [&str; 9] = ["username", "realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "cnonce"];

/// The parameters of a line, by their place in [`NAMES`]; values as received.
#[derive(Default)]
struct Fields<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, CredentialsError> {
        let mut fields = Self::default();
        for param in scan::split_outside(text, b',', false) {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            let known = NAMES.into_iter().zip(&mut fields.0).find(|(known, _)| known.eq_ignore_ascii_case(name.trim_ascii()));
            if let Some((known, field)) = known
                && field.replace(value.trim_ascii()).is_some()
            {
                return Err(CredentialsError::Unreadable(known));
            }
        }
        Ok(fields)
    }

    /// The text between the quotes, or the whole value when it has none.
    fn raw(&self, name: &'static str) -> Result<Option<&'a str>, CredentialsError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        if !value.starts_with('"') {
            return if value.contains(['"', '\\']) { Err(CredentialsError::Unreadable(name)) } else { Ok(Some(value)) };
        }
        let after = scan::quoted(value).map(|(_, after)| after);
        let inside = after.filter(|after| after.is_empty()).and_then(|_| value.get(1..value.len() - 1));
        inside.map(Some).ok_or(CredentialsError::Unreadable(name))
    }

    /// The same with its escapes resolved.
    fn text(&self, name: &'static str) -> Result<Box<str>, CredentialsError> {
        let raw = self.needed(name)?;
        let is_quoted = self.given(name).is_some_and(|value| value.starts_with('"'));
        let unescaped = if is_quoted { self.given(name).and_then(scan::quoted) } else { None };
        Ok(unescaped.map_or_else(|| raw.into(), |(text, _)| text.into()))
    }

    fn needed(&self, name: &'static str) -> Result<&'a str, CredentialsError> {
        self.raw(name)?.filter(|value| !value.is_empty()).ok_or(CredentialsError::Missing(name))
    }

    fn given(&self, name: &str) -> Option<&'a str> {
        NAMES.into_iter().zip(self.0).find(|(known, _)| *known == name).and_then(|(_, value)| value)
    }
}

impl Credentials {
    /// Reads one Authorization line: parameters in any order and case, with or without quotes, unknown ones passed over.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`].
    pub fn parse(line: &str) -> Result<Self, CredentialsError> {
        let (scheme, rest) = line.trim_ascii().split_once([' ', '\t']).ok_or(CredentialsError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return Err(CredentialsError::Scheme);
        }
        let fields = Fields::read(rest)?;
        let algorithm = match fields.raw("algorithm")? {
            None => Algorithm::Md5,
            Some(word) => Algorithm::parse(word).ok_or(CredentialsError::NotOffered("algorithm"))?,
        };
        let username = fields.text("username")?;
        if username.len() > MAX_USERNAME_BYTES || username.contains(char::is_control) {
            return Err(CredentialsError::Unreadable("username"));
        }
        Ok(Self {
            username,
            realm: fields.text("realm")?,
            nonce: fields.needed("nonce")?.into(),
            uri: fields.needed("uri")?.into(),
            response: fields.needed("response")?.into(),
            algorithm,
            usage: Use::read(&fields, algorithm)?,
        })
    }

    /// How often the phone has used the nonce, this time included; `None` from a phone of before `qop` (RFC 2069), with which a
    /// nonce serves once.
    #[must_use]
    pub fn count(&self) -> Option<u32> {
        self.usage.as_ref().map(|usage| usage.count)
    }

    /// Whether the sender knows the password behind `ha1`. The age of the nonce is not checked.
    ///
    /// Constant time: the position of the first wrong digit does not matter.
    #[must_use]
    pub fn prove(&self, method: &str, ha1: &Ha1) -> bool {
        if ha1.algorithm() != self.algorithm {
            return false;
        }
        let want = self.right_response(method, ha1);
        want.as_bytes().ct_eq(self.response.to_ascii_lowercase().as_bytes()).into()
    }

    /// What the response has to be. Source: RFC 7616 §3.4.1, RFC 2069 §2.1.2.
    pub(crate) fn right_response(&self, method: &str, ha1: &Ha1) -> String {
        let ha2 = self.algorithm.hash(&[method, &self.uri]);
        match &self.usage {
            Some(Use { nc, cnonce, .. }) => self.algorithm.hash(&[ha1.as_hex(), &self.nonce, nc, cnonce, "auth", &ha2]),
            None => self.algorithm.hash(&[ha1.as_hex(), &self.nonce, &ha2]),
        }
    }
}

impl Credentials {
    /// What a phone answers a challenge with, `count` uses into its nonce; without `usage`, as before `qop` (RFC 2069).
    pub(crate) fn answer(account: (&str, &str), nonce: &str, method: &str, uri: &str, ha1: &Ha1, usage: Option<(u32, &str)>) -> Self {
        let usage = usage.map(|(count, cnonce)| Use { count, nc: format!("{count:08x}").into(), cnonce: cnonce.into() });
        let (username, realm) = (account.0.into(), account.1.into());
        let (algorithm, nonce, uri) = (ha1.algorithm(), nonce.into(), uri.into());
        let unproven = Self { username, realm, nonce, uri, response: Box::default(), algorithm, usage };
        Self { response: unproven.right_response(method, ha1).into(), ..unproven }
    }
}

impl Use {
    /// A phone without `qop` is accepted with MD5 only: the other algorithms imply RFC 7616 (§3.4.1).
    fn read(fields: &Fields<'_>, algorithm: Algorithm) -> Result<Option<Self>, CredentialsError> {
        match fields.raw("qop")? {
            None | Some("") if algorithm == Algorithm::Md5 => return Ok(None),
            None | Some("") => return Err(CredentialsError::Missing("qop")),
            Some(qop) if !qop.eq_ignore_ascii_case("auth") => return Err(CredentialsError::NotOffered("qop")),
            Some(_) => {}
        }
        let nc = fields.needed("nc")?;
        let is_count = nc.len() <= 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
        let count = u32::from_str_radix(nc, 16).ok().filter(|_| is_count).ok_or(CredentialsError::Unreadable("nc"))?;
        Ok(Some(Self { count, nc: nc.into(), cnonce: fields.needed("cnonce")?.into() }))
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest username=")?;
        scan::write_quoted(f, &self.username)?;
        f.write_str(", realm=")?;
        scan::write_quoted(f, &self.realm)?;
        write!(f, ", nonce=\"{}\", uri=\"{}\", response=\"{}\"", self.nonce, self.uri, self.response)?;
        write!(f, ", algorithm={}", self.algorithm.as_str())?;
        match &self.usage {
            Some(Use { nc, cnonce, .. }) => write!(f, ", cnonce=\"{cnonce}\", qop=auth, nc={nc}"),
            None => Ok(()),
        }
    }
}

/// Shows neither who nor the proof.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("algorithm", &self.algorithm).field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests/credentials.rs"]
mod tests;

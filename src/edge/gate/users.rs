//! The users of `sip.auth.users`: an htdigest file, read into what a digest is checked against. Pure.

use ahash::AHashMap;
use smallvec::SmallVec;

use crate::sip::digest::{Algorithm, Ha1};

/// Every user of a users file.
///
/// Shape: a line a user and algorithm, `user:realm:HA1`, HA1 = H(user:realm:password) in hexadecimal; what `htdigest` writes
/// is MD5, `:SHA-256` or `:SHA-512-256` behind it names another. Blank lines and lines that begin with `#` are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    by_realm: AHashMap<Box<str>, ByUsername>,
    algorithms: Vec<Algorithm>,
}

/// The users of one realm, each with an HA1 for each of its algorithms.
type ByUsername = AHashMap<Box<str>, SmallVec<[Ha1; 1]>>;

/// A bad line of a users file. Never shows its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct UsersError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: UsersFault,
}

/// What is wrong with a line of a users file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsersFault {
    /// Not of the shape.
    #[error("expected user:realm:HA1, or user:realm:HA1:SHA-256")]
    Shape,
    /// Not a hash of its algorithm.
    #[error("expected an HA1 of {} hexadecimal digits for {}", .0.hex_digits(), .0.as_str())]
    Ha1(Algorithm),
    /// The same user, realm and algorithm as on a line before.
    #[error("expected each user once for each realm and algorithm")]
    Repeated,
}

impl Users {
    /// Reads a users file.
    ///
    /// # Errors
    ///
    /// [`UsersError`] for the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, UsersError> {
        let mut users = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if !text.is_empty() && !text.starts_with('#') {
                users.add(text).map_err(|fault| UsersError { line, fault })?;
            }
        }
        users.algorithms.sort_unstable();
        Ok(users)
    }

    /// `user:realm:HA1[:algorithm]`, from both ends, for a realm may be an IPv6 address.
    fn add(&mut self, text: &str) -> Result<(), UsersFault> {
        let (username, rest) = text.split_once(':').ok_or(UsersFault::Shape)?;
        let (before, last) = rest.rsplit_once(':').ok_or(UsersFault::Shape)?;
        let (realm, ha1, algorithm) = match Algorithm::parse(last.trim()) {
            Some(algorithm) => before.rsplit_once(':').map(|(realm, ha1)| (realm, ha1, algorithm)).ok_or(UsersFault::Shape)?,
            None => (before, last, Algorithm::Md5),
        };
        if username.is_empty() || realm.is_empty() {
            return Err(UsersFault::Shape);
        }
        let ha1 = Ha1::parse(algorithm, ha1.trim()).ok_or(UsersFault::Ha1(algorithm))?;
        let known = self.by_realm.entry(realm.into()).or_default().entry(username.into()).or_default();
        if known.iter().any(|known| known.algorithm() == algorithm) {
            return Err(UsersFault::Repeated);
        }
        known.push(ha1);
        if !self.algorithms.contains(&algorithm) {
            self.algorithms.push(algorithm);
        }
        Ok(())
    }

    /// The HA1 of a user.
    #[must_use]
    pub fn find(&self, realm: &str, username: &str, algorithm: Algorithm) -> Option<&Ha1> {
        self.by_realm.get(realm)?.get(username)?.iter().find(|ha1| ha1.algorithm() == algorithm)
    }

    /// The algorithms in use, the strongest first.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// How many users there are, each once a realm.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_realm.values().map(|users| users.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Users who have not an HA1 for every algorithm in use: a phone that answers with one that its user lacks is refused.
    #[must_use]
    pub fn incomplete(&self) -> usize {
        self.by_realm.values().flat_map(|users| users.values()).filter(|known| known.len() < self.algorithms.len()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d9153196ac59ec921871d229d1bd7f5c";
    const SHA_256: &str = "078247db99fb28662b4d648aa5ed52992ae746110db0f7981fde955c578bfff2";
    const SHA_512_256: &str = "9b4d961076926e877a81689c460ba553147a4ac93d5a76dbdddb929ccd8a66ca";

    #[test]
    fn reads_what_htdigest_writes_and_the_other_algorithms() {
        let text = format!(
            "# users\n\nalice:10.0.0.11:{MD5}\r\n  alice:10.0.0.11:{}:sha-256\nbob:[2001:db8::1]:{SHA_512_256}:SHA-512-256\ncarl:a:b:{MD5}:MD5\nalice:other:{MD5}",
            SHA_256.to_uppercase()
        );
        let users = Users::parse(&text).unwrap();
        let found = |realm, username, algorithm| users.find(realm, username, algorithm).map(Ha1::as_hex);
        for (realm, username, algorithm, want) in [
            ("10.0.0.11", "alice", Algorithm::Md5, Some(MD5)),
            ("10.0.0.11", "alice", Algorithm::Sha256, Some(SHA_256)),
            ("10.0.0.11", "alice", Algorithm::Sha512_256, None),
            ("10.0.0.11", "Alice", Algorithm::Md5, None),
            ("[2001:db8::1]", "bob", Algorithm::Sha512_256, Some(SHA_512_256)),
            ("a:b", "carl", Algorithm::Md5, Some(MD5)),
            ("other", "alice", Algorithm::Md5, Some(MD5)),
            ("none", "alice", Algorithm::Md5, None),
        ] {
            assert_eq!(found(realm, username, algorithm), want, "{username} {realm} {algorithm:?}");
        }
        assert_eq!(users.algorithms(), Algorithm::STRONGEST_FIRST);
        assert_eq!((users.len(), users.incomplete()), (4, 4));
        assert_eq!(
            users.find("10.0.0.11", "alice", Algorithm::Md5),
            Some(&Ha1::of_password(Algorithm::Md5, "alice", "10.0.0.11", "secret"))
        );
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        for (line, want) in [
            ("alice", UsersFault::Shape),
            ("alice:realm", UsersFault::Shape),
            (&format!(":realm:{MD5}"), UsersFault::Shape),
            (&format!("alice::{MD5}"), UsersFault::Shape),
            ("alice:MD5:MD5", UsersFault::Shape),
            ("alice:realm:secret", UsersFault::Ha1(Algorithm::Md5)),
            (&format!("alice:realm:{SHA_256}"), UsersFault::Ha1(Algorithm::Md5)),
            (&format!("alice:realm:{MD5}:SHA-256"), UsersFault::Ha1(Algorithm::Sha256)),
            (&format!("alice:realm:{MD5}x"), UsersFault::Ha1(Algorithm::Md5)),
            (&format!("bob:realm:{MD5}:MD5"), UsersFault::Repeated),
        ] {
            let error = Users::parse(&format!("bob:realm:{MD5}\n{line}\n")).unwrap_err();
            assert_eq!(error, UsersError { line: 2, fault: want }, "{line}");
            assert!(!error.to_string().contains("secret") && !error.to_string().contains(MD5));
        }
        assert_eq!(Users::parse("# nobody\n").map(|users| users.is_empty()), Ok(true));
    }
}

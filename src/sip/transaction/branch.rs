//! The branch of a request of ours.

/// The magic cookie that tells RFC 3261 branches. Source: RFC 3261 §8.1.1.7.
pub(super) const MAGIC_COOKIE: &str = "z9hG4bK";

/// The branch of a request of ours: the magic cookie, a nonce that cannot be guessed, and the key of the transaction.
///
/// Shape: `z9hG4bK` and 32 hexadecimal digits. It is used up by the transaction that it starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(super) key: u64,
    pub(super) nonce: u64,
    text: Box<str>,
}

impl Branch {
    pub(super) fn new(key: u64, nonce: u64) -> Self {
        Self { key, nonce, text: format!("{MAGIC_COOKIE}{nonce:016x}{key:016x}").into() }
    }

    /// The value of the `branch` parameter.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Key and nonce of a branch that was made here.
    pub(super) fn read(text: &str) -> Option<(u64, u64)> {
        let cookie = text.get(..MAGIC_COOKIE.len())?;
        let (nonce, key) = text.get(MAGIC_COOKIE.len()..)?.split_at_checked(16)?;
        let is_ours = cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && key.len() == 16 && !text.contains('+');
        is_ours.then(|| Some((u64::from_str_radix(key, 16).ok()?, u64::from_str_radix(nonce, 16).ok()?)))?
    }
}

/// The nonce of a branch that was made here, or by another that makes them alike.
pub(crate) fn nonce_of(branch: &str) -> Option<u64> {
    Branch::read(branch).map(|(_, nonce)| nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_gives_its_key_and_nonce_back() {
        for (key, nonce) in [(0, 0), (7, u64::MAX), (u64::MAX, 1)] {
            let branch = Branch::new(key, nonce);
            assert_eq!(Branch::read(branch.as_str()), Some((key, nonce)));
            assert_eq!(Branch::read(&branch.as_str().to_uppercase()), Some((key, nonce)));
        }
    }

    #[test]
    fn a_foreign_branch_has_none() {
        for text in [
            "",
            "z9hG4bK",
            "z9hG4bKnashds7",
            "z9hG4bK0123456789abcdef0123456789abcde",
            "z9hG4bK0123456789abcdef0123456789abcdef0",
            "z9hG4bK0123456789abcdef+123456789abcdef",
            "z9hG4bK0123456789abcdeg0123456789abcdef",
            "z9hG4bK0123456789abcdéé0123456789abcde",
            "0123456789abcdef0123456789abcdef0123456",
        ] {
            assert_eq!(Branch::read(text), None, "{text}");
        }
    }
}

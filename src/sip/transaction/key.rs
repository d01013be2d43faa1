//! Which server transaction a request belongs to.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use super::branch::MAGIC_COOKIE;
use crate::sip::request::Request;

/// The transaction that a request belongs to, and the request that it is a copy of.
///
/// A keyed hash, so that a peer cannot make two requests collide. Source: RFC 3261 §17.2.3, §8.2.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    pub(super) transaction: u128,
    /// The same for every copy of one request that took another path; `None` in a dialog, where there are no such copies.
    pub(super) merge: Option<u128>,
}

impl TransactionKey {
    /// A To tag for a response that is given without state: the same for every retransmission, and not to be guessed.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{:032x}", self.transaction)
    }
}

/// The keys of the hash.
#[derive(Debug)]
pub(super) struct KeyMaker {
    high: RandomState,
    low: RandomState,
}

impl KeyMaker {
    pub(super) fn new() -> Self {
        Self { high: RandomState::new(), low: RandomState::new() }
    }

    pub(super) fn key(&self, request: &Request) -> TransactionKey {
        let via = request.top_via();
        let mut hash = Hash128 { high: self.high.build_hasher(), low: self.low.build_hasher() };
        let method = request.method().as_str();
        match via.branch() {
            Some(branch) if is_rfc3261(branch) => {
                hash.text("3261");
                hash.text_lower(branch);
                hash.text(if request.method().is_ack() { "INVITE" } else { method });
            }
            // RFC 2543: no branch to trust, so all that a retransmission repeats.
            _ => {
                hash.text("2543");
                hash.text(request.uri());
                hash.text(request.to().tag().unwrap_or_default());
                hash.text(request.from().tag().unwrap_or_default());
                hash.text(request.call_id());
                hash.number(u64::from(request.cseq()));
                hash.text(method);
                hash.text(via.branch().unwrap_or_default());
            }
        }
        hash.text_lower(&via.host);
        hash.number(u64::from(via.port.unwrap_or_default()));
        TransactionKey { transaction: hash.finish(), merge: self.merge_key(request) }
    }

    fn merge_key(&self, request: &Request) -> Option<u128> {
        if request.to().tag().is_some() {
            return None;
        }
        let mut hash = Hash128 { high: self.high.build_hasher(), low: self.low.build_hasher() };
        hash.text("merge");
        hash.text(request.from().tag()?);
        hash.text(request.call_id());
        hash.number(u64::from(request.cseq()));
        hash.text(request.method().as_str());
        // A phone that repeats its CSeq when it answers a challenge sends no copy.
        hash.text(request.authorization().next().unwrap_or_default());
        Some(hash.finish())
    }
}

fn is_rfc3261(branch: &str) -> bool {
    branch.len() > MAGIC_COOKIE.len() && branch.get(..MAGIC_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
}

struct Hash128<H> {
    high: H,
    low: H,
}

impl<H: Hasher> Hash128<H> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.high.write(bytes);
        self.low.write(bytes);
    }

    fn number(&mut self, number: u64) {
        self.high.write_u64(number);
        self.low.write_u64(number);
    }

    /// The length first, so that two texts cannot share a border.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    /// In lower case: a branch and a host are compared without regard to it (RFC 3261 §7.3.1).
    fn text_lower(&mut self, text: &str) {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.text(&text.to_ascii_lowercase());
        } else {
            self.text(text);
        }
    }

    fn finish(&self) -> u128 {
        u128::from(self.high.finish()) << 64 | u128::from(self.low.finish())
    }
}

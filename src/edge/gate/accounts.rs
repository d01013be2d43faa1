//! The HA1s that digests are checked against: from the users file, or from recent answers of responders. Pure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;

use crate::edge::gate::users::Users;
use crate::sip::digest::{Algorithm, Ha1};

/// How long a responder's HA1 is used.
const KNOWN_FOR: Duration = Duration::from_mins(1);
/// How long "no such user" is used; and the age from which an HA1 is asked for again when a digest does not match.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// Answers remembered.
const MAX_ANSWERS: usize = 65_536;
/// Algorithms offered with a responder, or with an empty users file.
const OFFERED: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

/// Names an account: whose HA1, and by which algorithm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AccountName<'a> {
    /// Domain of the presentity: the responder that is asked.
    pub domain: &'a str,
    /// Realm that the phone was asked for.
    pub realm: &'a str,
    /// Username that it gave.
    pub username: &'a str,
    /// Algorithm that it chose.
    pub algorithm: Algorithm,
}

impl AccountName<'_> {
    /// As one text; no part can have a control character.
    fn key(&self) -> String {
        let Self { domain, realm, username, algorithm } = self;
        format!("{domain}\n{realm}\n{username}\n{}", algorithm.as_str())
    }
}

/// What is known of an account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Account<'a> {
    /// What stands for its password.
    Known {
        ha1: &'a Ha1,
        /// Whether it is so old that the password may have changed since.
        may_be_old: bool,
    },
    /// There is no such user.
    Unknown,
    /// A responder is to be asked.
    Unasked,
}

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    users: Option<Arc<Users>>,
    answers: Answers,
}

impl Accounts {
    /// From now on these users and no others; without, responders are asked.
    pub(crate) fn use_file(&mut self, users: Arc<Users>) {
        self.users = Some(users);
    }

    /// The algorithms that a challenge offers, the preferred one first.
    #[must_use]
    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        self.users.as_ref().map(|users| users.algorithms()).filter(|algorithms| !algorithms.is_empty()).unwrap_or(&OFFERED)
    }

    /// What is known of an account.
    #[must_use]
    pub(crate) fn find(&self, name: AccountName<'_>, now: Instant) -> Account<'_> {
        let Some(users) = &self.users else { return self.answers.find(&name.key(), now) };
        match users.find(name.realm, name.username, name.algorithm) {
            Some(ha1) => Account::Known { ha1, may_be_old: false },
            None => Account::Unknown,
        }
    }

    /// Remembers what a responder said; `None`: it knows no such user.
    pub(crate) fn learn(&mut self, name: AccountName<'_>, ha1: Option<Ha1>, now: Instant) {
        self.answers.insert(name.key(), Answer { ha1, given_at: now }, now);
    }
}

/// Answers of responders in two generations; the older one is dropped as a whole, when its time is over or the newer one is full.
#[derive(Debug, Default)]
struct Answers {
    recent: AHashMap<String, Answer>,
    older: AHashMap<String, Answer>,
    turns_at: Option<Instant>,
}

#[derive(Debug)]
struct Answer {
    ha1: Option<Ha1>,
    given_at: Instant,
}

impl Answers {
    fn find(&self, key: &str, now: Instant) -> Account<'_> {
        let Some(answer) = self.recent.get(key).or_else(|| self.older.get(key)) else { return Account::Unasked };
        let age = now.saturating_duration_since(answer.given_at);
        match &answer.ha1 {
            Some(ha1) if age < KNOWN_FOR => Account::Known { ha1, may_be_old: age >= UNKNOWN_FOR },
            None if age < UNKNOWN_FOR => Account::Unknown,
            Some(_) | None => Account::Unasked,
        }
    }

    fn insert(&mut self, key: String, answer: Answer, now: Instant) {
        let is_time = *self.turns_at.get_or_insert(now + KNOWN_FOR) <= now;
        if is_time || self.recent.len() >= MAX_ANSWERS / 2 {
            self.older = std::mem::take(&mut self.recent);
            self.turns_at = Some(now + KNOWN_FOR);
        }
        self.recent.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    const ALICE: AccountName<'_> = AccountName { domain: "d", realm: "r", username: "alice", algorithm: Algorithm::Md5 };

    fn ha1() -> Ha1 {
        Ha1::of_password(Algorithm::Md5, "alice", "r", "secret")
    }

    #[test]
    fn an_answer_is_used_for_its_time() {
        let start = clock::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut accounts = Accounts::default();
        assert_eq!(accounts.find(ALICE, start), Account::Unasked);
        accounts.learn(ALICE, Some(ha1()), start);
        for (after, may_be_old) in [(0, false), (4, false), (5, true), (59, true)] {
            assert_eq!(accounts.find(ALICE, at(after)), Account::Known { ha1: &ha1(), may_be_old }, "{after}");
        }
        assert_eq!(accounts.find(ALICE, at(60)), Account::Unasked);
        for other in [
            AccountName { domain: "x", ..ALICE },
            AccountName { realm: "x", ..ALICE },
            AccountName { username: "x", ..ALICE },
            AccountName { algorithm: Algorithm::Sha256, ..ALICE },
        ] {
            assert_eq!(accounts.find(other, start), Account::Unasked, "{other:?}");
        }
        accounts.learn(ALICE, None, at(60));
        assert_eq!((accounts.find(ALICE, at(64)), accounts.find(ALICE, at(65))), (Account::Unknown, Account::Unasked));
    }

    #[test]
    fn answers_are_bounded() {
        let start = clock::now();
        let mut answers = Answers::default();
        for number in 0..MAX_ANSWERS * 2 {
            answers.insert(number.to_string(), Answer { ha1: None, given_at: start }, start);
        }
        assert!(answers.recent.len() + answers.older.len() <= MAX_ANSWERS);
        assert_eq!(answers.find(&(MAX_ANSWERS * 2 - 1).to_string(), start), Account::Unknown);
    }

    #[test]
    fn a_users_file_is_all_there_is_and_says_what_is_offered() {
        let now = clock::now();
        let mut accounts = Accounts::default();
        assert_eq!(accounts.algorithms(), OFFERED);
        accounts.use_file(Arc::new(Users::default()));
        assert_eq!((accounts.algorithms(), accounts.find(ALICE, now)), (&OFFERED[..], Account::Unknown));
        accounts.use_file(Arc::new(Users::parse(&format!("alice:r:{}", ha1().as_hex())).unwrap()));
        assert_eq!(accounts.algorithms(), [Algorithm::Md5]);
        assert_eq!(accounts.find(ALICE, now), Account::Known { ha1: &ha1(), may_be_old: false });
        assert_eq!(accounts.find(AccountName { domain: "x", ..ALICE }, now), Account::Known { ha1: &ha1(), may_be_old: false });
    }
}

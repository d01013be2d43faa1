//! Who is let in: how much a source may send, who sent a SUBSCRIBE, and what that user may subscribe to. Pure.
//!
//! ```text
//!  packet ─▶ admit ─▶ (parsed) ─▶ SUBSCRIBE ─▶ identify ─┬─▶ Known ─▶ its transaction begins
//!             └▶ 503, dropped                            ├─▶ Ask: an HA1 of a responder ─▶ prove ─▶ Known, or 401
//!                                                        └─▶ Refused: 401, 403, nothing is kept
//! ```
//! Memory is spent on a nonce only once a password was proved with it, and on a source in a table of fixed size.

pub(crate) mod accounts;
pub mod policy;
pub mod rate_limit;
pub mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::bus::message::RefusedReason;
use crate::config::AuthMode;
use crate::edge::gate::accounts::{Account, AccountName, Accounts};
use crate::edge::gate::policy::{AuthPolicy, Identity};
use crate::edge::gate::rate_limit::{Admission, RateLimit, RateLimitConfig};
use crate::edge::gate::users::Users;
use crate::edge::metrics::{AuthOutcome, DropReason, EdgeMetrics};
use crate::edge::refusal::Refusal;
use crate::feature::Presentity;
use crate::sip::digest::{Challenge, Credentials, Ha1, Nonces, Spent};
use crate::sip::request::Request;

/// Authorization lines of a request that are looked at.
const MAX_AUTHORIZATIONS: usize = 8;
/// What a response begins with.
pub(crate) const RESPONSE_START: &[u8] = b"SIP/";

pub(crate) struct Gate {
    policy: AuthPolicy,
    metrics: Arc<EdgeMetrics>,
    rate_limit: RateLimit,
    nonces: Nonces,
    accounts: Accounts,
}

/// What is known of who sent a SUBSCRIBE.
#[derive(Debug)]
pub(crate) enum Sender {
    Known(Identity),
    /// The responder of the presentity's domain knows more.
    Ask(Presentity, Credentials),
    /// It has not shown who it is, or may not subscribe.
    Refused(Refusal),
}

impl Gate {
    /// A gate without users; a users file or responders bring them.
    pub(crate) fn new(policy: AuthPolicy, rate_limit: RateLimitConfig, metrics: Arc<EdgeMetrics>, now: Instant) -> Self {
        let mut key = [0; 64];
        rand::fill(&mut key);
        let (rate_limit, nonces) = (RateLimit::new(rate_limit, now), Nonces::new(key, now));
        Self { policy, metrics, rate_limit, nonces, accounts: Accounts::default() }
    }

    /// From now on these users and no others.
    pub(crate) fn use_file(&mut self, users: Arc<Users>) {
        self.accounts.use_file(users);
    }

    /// Whether a packet is looked at at all.
    pub(crate) fn admit(&mut self, source: IpAddr, bytes: &[u8], now: Instant) -> Admission {
        let admission = if !bytes.starts_with(RESPONSE_START) {
            self.rate_limit.admit_request(source, now)
        } else if self.rate_limit.admits_response(source, now) {
            Admission::Admitted
        } else {
            Admission::Dropped
        };
        if admission != Admission::Admitted {
            self.metrics.dropped(DropReason::RateLimited);
        }
        admission
    }

    /// A response belonged to nothing that we sent.
    pub(crate) fn stray_response(&mut self, source: IpAddr, now: Instant) {
        self.metrics.stray_response();
        self.rate_limit.stray_response(source, now);
    }

    /// Whether senders are challenged, so that the presentity is to be known for their realm.
    pub(crate) fn needs_realm(&self) -> bool {
        self.policy.mode == AuthMode::Digest
    }

    /// Who sent a SUBSCRIBE. `None` for the presentity only where no realm is needed.
    pub(crate) fn identify(&mut self, request: &Request, source: IpAddr, presentity: Option<&Presentity>, now: Instant) -> Sender {
        match (self.policy.mode, presentity) {
            (AuthMode::None, _) => Sender::Known(Identity::Anyone),
            (AuthMode::Digest | AuthMode::Trusted, _) if self.policy.trusts(source) => {
                self.metrics.authenticated(AuthOutcome::Trusted);
                Sender::Known(Identity::Trusted)
            }
            (AuthMode::Digest, Some(presentity)) => self.check_digest(request, presentity, now),
            (AuthMode::Digest | AuthMode::Trusted, _) => Sender::Refused(self.forbidden(policy::FOREIGN_SOURCE)),
        }
    }

    fn check_digest(&mut self, request: &Request, presentity: &Presentity, now: Instant) -> Sender {
        let realm = self.policy.realm(presentity).to_owned();
        let Some(credentials) = self.credentials(request, &realm) else {
            return Sender::Refused(self.challenge(&realm, AuthOutcome::Challenged, now));
        };
        if !policy::is_about(&credentials.uri, request) {
            self.metrics.authenticated(AuthOutcome::OtherUri);
            return Sender::Refused(Refusal::new(400).because("the digest is about another Request-URI"));
        }
        let (is_right, may_be_old) = match self.accounts.find(account_name(presentity, &credentials), now) {
            Account::Known { ha1, may_be_old } => (credentials.prove(request.method().as_str(), ha1), may_be_old),
            Account::Unknown => (false, false),
            Account::Unasked => (false, true),
        };
        if !is_right && may_be_old {
            return Sender::Ask(presentity.clone(), credentials);
        }
        self.judge(credentials, is_right, now).map_or_else(Sender::Refused, Sender::Known)
    }

    /// The credentials of a request that answer a challenge of this realm.
    fn credentials(&self, request: &Request, realm: &str) -> Option<Credentials> {
        let readable = request.authorization().take(MAX_AUTHORIZATIONS).filter_map(|line| Credentials::parse(line).ok());
        let mut offered = readable.filter(|credentials| self.accounts.algorithms().contains(&credentials.algorithm));
        offered.find(|credentials| *credentials.realm == *realm)
    }

    /// Who has given these credentials, now that a responder has said what stands for the password; `None`: it knows no such
    /// user. What it said is remembered.
    ///
    /// # Errors
    ///
    /// The refusal: 401 with a new challenge.
    pub(crate) fn prove(
        &mut self,
        credentials: Credentials,
        presentity: &Presentity,
        method: &str,
        ha1: Option<Ha1>,
        now: Instant,
    ) -> Result<Identity, Refusal> {
        let is_right = ha1.as_ref().is_some_and(|ha1| credentials.prove(method, ha1));
        self.accounts.learn(account_name(presentity, &credentials), ha1, now);
        self.judge(credentials, is_right, now)
    }

    fn judge(&mut self, credentials: Credentials, is_right: bool, now: Instant) -> Result<Identity, Refusal> {
        let outcome = if is_right {
            match self.nonces.spend(&credentials.nonce, credentials.count(), now) {
                Spent::Fresh => {
                    self.metrics.authenticated(AuthOutcome::Proved);
                    return Ok(Identity::User(credentials.username));
                }
                Spent::Stale => AuthOutcome::Stale,
                Spent::Replayed => AuthOutcome::Replayed,
            }
        } else {
            AuthOutcome::Wrong
        };
        Err(self.challenge(&credentials.realm, outcome, now))
    }

    /// 401 with a challenge for each algorithm in use.
    fn challenge(&mut self, realm: &str, outcome: AuthOutcome, now: Instant) -> Refusal {
        self.metrics.authenticated(outcome);
        let nonce = &*self.nonces.issue(now);
        // A phone whose password is right answers a stale challenge without asking anybody.
        let is_stale = matches!(outcome, AuthOutcome::Stale | AuthOutcome::Replayed);
        // Whoever has shown no wrong password is asked for one: that is no refusal to tell of.
        let reason = (outcome == AuthOutcome::Wrong).then_some(RefusedReason::Unauthorized);
        let refusal = Refusal { reason, ..Refusal::new(401) };
        self.accounts.algorithms().iter().fold(refusal, |refusal, algorithm| {
            refusal.with("WWW-Authenticate", Challenge { realm, nonce, algorithm: *algorithm, is_stale }.to_string())
        })
    }

    /// No responder could say what stands for a password.
    pub(crate) fn unavailable(&self) -> Refusal {
        self.metrics.authenticated(AuthOutcome::Unavailable);
        Refusal::unavailable()
    }

    /// Whether this user may subscribe to this presentity.
    ///
    /// # Errors
    ///
    /// The refusal: 403.
    pub(crate) fn check_presentity(&self, identity: &Identity, presentity: &Presentity) -> Result<(), Refusal> {
        if self.policy.may_subscribe(identity, presentity) { Ok(()) } else { Err(self.forbidden(policy::FOREIGN_PRESENTITY)) }
    }

    /// Whether this user may send a request in the dialog of this watcher.
    ///
    /// # Errors
    ///
    /// The refusal: 403.
    pub(crate) fn check_dialog(&self, identity: &Identity, watcher: &str, presentity: &Presentity) -> Result<(), Refusal> {
        if identity.may_use_dialog_of(watcher, presentity) { Ok(()) } else { Err(self.forbidden(policy::FOREIGN_DIALOG)) }
    }

    fn forbidden(&self, why: &'static str) -> Refusal {
        self.metrics.authenticated(AuthOutcome::Forbidden);
        Refusal::forbidden(why)
    }

    /// A nonce as a challenge has it.
    #[cfg(test)]
    pub(crate) fn issue(&mut self, now: Instant) -> String {
        self.nonces.issue(now)
    }
}

fn account_name<'a>(presentity: &'a Presentity, credentials: &'a Credentials) -> AccountName<'a> {
    let Credentials { realm, username, algorithm, .. } = credentials;
    AccountName { domain: presentity.host(), realm, username, algorithm: *algorithm }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::limit::CAPACITIES;
    use crate::runtime::clock;
    use crate::sip::digest::Algorithm;
    use crate::sip::message::parse;

    const PHONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn gate(mode: AuthMode, per_second: u32, now: Instant) -> Gate {
        let policy = AuthPolicy { mode, trusted: vec!["198.51.100.0/24".parse().unwrap()], ..AuthPolicy::open() };
        Gate::new(policy, RateLimitConfig { per_second, exempt: Vec::new() }, Arc::new(EdgeMetrics::new(&[], &CAPACITIES)), now)
    }

    fn request(authorization: &str) -> Request {
        let text = format!(
            "SUBSCRIBE sip:alice@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:alice@h>;tag=1\r\nTo: <sip:alice@h>\r\nCall-ID: 1\r\n{authorization}CSeq: 1 SUBSCRIBE\r\n\r\n"
        );
        Request::from_message(parse(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn who_has_shown_nothing_gets_what_the_mode_says() {
        let (now, alice) = (clock::now(), Presentity::parse("sip:alice@h").unwrap());
        let proxy = "198.51.100.7".parse().unwrap();
        for (mode, source, want) in [
            (AuthMode::None, PHONE, Ok(Identity::Anyone)),
            (AuthMode::Trusted, proxy, Ok(Identity::Trusted)),
            (AuthMode::Trusted, PHONE, Err(403)),
            (AuthMode::Digest, proxy, Ok(Identity::Trusted)),
            (AuthMode::Digest, PHONE, Err(401)),
        ] {
            let got = match gate(mode, 0, now).identify(&request(""), source, Some(&alice), now) {
                Sender::Known(identity) => Ok(identity),
                Sender::Refused(refusal) => Err(refusal.status),
                Sender::Ask(..) => panic!("nothing to ask about"),
            };
            assert_eq!(got, want, "{mode:?} {source}");
        }
    }

    #[test]
    fn a_password_is_asked_for_once_and_proved_with_each_count_once() {
        let (now, alice) = (clock::now(), Presentity::parse("sip:alice@h").unwrap());
        let mut gate = gate(AuthMode::Digest, 0, now);
        let (nonce, ha1) = (gate.issue(now), Ha1::of_password(Algorithm::Md5, "alice", "h", "secret"));
        let mut sent = |count| {
            let answer = Credentials::answer(("alice", "h"), &nonce, "SUBSCRIBE", "sip:alice@h", &ha1, Some((count, "c")));
            gate.identify(&request(&format!("Authorization: {answer}\r\n")), PHONE, Some(&alice), now)
        };
        let Sender::Ask(presentity, credentials) = sent(1) else { panic!("nothing is known of alice") };
        assert_eq!(gate.prove(credentials, &presentity, "SUBSCRIBE", Some(ha1.clone()), now), Ok(Identity::User("alice".into())));
        let mut sent = |count| {
            let answer = Credentials::answer(("alice", "h"), &nonce, "SUBSCRIBE", "sip:alice@h", &ha1, Some((count, "c")));
            gate.identify(&request(&format!("Authorization: {answer}\r\n")), PHONE, Some(&alice), now)
        };
        assert!(matches!(sent(2), Sender::Known(Identity::User(name)) if &*name == "alice"));
        assert!(matches!(sent(2), Sender::Refused(Refusal { status: 401, .. })), "replayed");
    }

    #[test]
    fn requests_and_stray_responses_are_limited_apart() {
        let now = clock::now();
        let mut gate = gate(AuthMode::None, 1, now);
        let admitted = (0..10).filter(|_| gate.admit(PHONE, b"SUBSCRIBE", now) == Admission::Admitted).count();
        assert_eq!(admitted, 5);
        assert_eq!(gate.admit(PHONE, b"SIP/2.0 200 OK", now), Admission::Admitted);
        (0..5).for_each(|_| gate.stray_response(PHONE, now));
        assert_eq!(gate.admit(PHONE, b"SIP/2.0 200 OK", now), Admission::Dropped);
    }
}

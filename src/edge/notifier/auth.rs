//! What is asked of a packet before anything that costs: whether its source sends too much, and who sent a SUBSCRIBE.
//!
//! ```text
//!  packet ─▶ rate limit ─▶ (parsed) ─▶ SUBSCRIBE ─▶ identify ─┬─▶ known ─▶ transaction begins ─▶ request
//!             └▶ 503, dropped                                 ├─▶ asked: HA1 of a responder ──▶ proved ─▶ request
//!                                                             └─▶ 401, 403: nothing is kept        └▶ 401: forgotten
//! ```
//! A refusal here goes back to where its request came from, keeps no transaction, and is not much longer than its request.

use super::{BusRequest, Notifier, Wait};
use crate::bus::message::{AuthRequest, AuthResponse, ErrorBody, Kind};
use crate::bus::trace::Cause;
use crate::config::AuthMode;
use crate::edge::gate::accounts::{Account, AccountName};
use crate::edge::gate::policy::{self, Identity};
use crate::edge::gate::rate_limit::Admission;
use crate::edge::limit::MAX_AUTH_WAITS;
use crate::edge::metrics::{AuthOutcome, DropReason};
use crate::edge::notifier::intake::{Arrival, reply_destination};
use crate::edge::refusal::Refusal;
use crate::edge::subscribe;
use crate::edge::subscription::SubscriptionId;
use crate::feature::Presentity;
use crate::runtime::clock::Now;
use crate::sip::digest::{Challenge, Credentials, Ha1, Spent};
use crate::sip::flow::Flow;
use crate::sip::message::{self, Start};
use crate::sip::request::Request;
use crate::sip::transaction::TransactionKey;

/// Authorization lines of a request that are looked at.
const MAX_AUTHORIZATIONS: usize = 8;
/// What a response begins with.
const RESPONSE_START: &[u8] = b"SIP/";
/// A responder's error code for a user whom it does not know.
const UNKNOWN_USER: u16 = 404;

/// A SUBSCRIBE whose digest waits for the HA1 that it is checked against.
#[derive(Debug)]
pub(super) struct Unproven {
    arrival: Arrival,
    presentity: Presentity,
    credentials: Credentials,
}

/// What is known of who sent a SUBSCRIBE.
enum Step {
    Known(Identity),
    /// A responder knows more.
    Ask(Presentity, Credentials),
    Refused(Refusal),
}

impl Notifier {
    /// Whether a packet is looked at at all; its sender is told otherwise once a second.
    pub(super) fn is_admitted(&mut self, flow: Flow, bytes: &[u8], now: Now) -> bool {
        let source = flow.peer.ip();
        let admission = if bytes.starts_with(RESPONSE_START) {
            if self.rate_limit.admits_response(source, now.at) { Admission::Admitted } else { Admission::Dropped }
        } else {
            self.rate_limit.admit_request(source, now.at)
        };
        if admission == Admission::Admitted {
            return true;
        }
        self.metrics.dropped(DropReason::RateLimited);
        if admission == Admission::Refused {
            self.refuse_unread(flow, bytes, now);
        }
        false
    }

    /// Answers 503 to a request that is not handled.
    fn refuse_unread(&mut self, flow: Flow, bytes: &[u8], now: Now) {
        let Ok(message) = message::parse(bytes) else { return };
        if !matches!(message.start(), Start::Request { method, .. } if !method.is_ack()) {
            return;
        }
        let Ok(request) = Request::from_message(message) else { return };
        let packet = self.written(&request, flow, &Refusal::unavailable());
        self.count(&request, flow, 503, now.at, now);
        self.reply(reply_destination(&request, flow), packet);
    }

    /// A SUBSCRIBE that is no retransmission: its transaction begins once it is known who sent it.
    pub(super) fn on_subscribe(&mut self, request: Request, key: TransactionKey, flow: Flow, now: Now) {
        let presentity = match self.presentity_of(&request) {
            Ok(presentity) => presentity,
            Err(refusal) => return self.refuse(&request, key, flow, &refusal, now.at, now),
        };
        match self.identify(&request, flow, presentity.as_ref(), now) {
            Step::Refused(refusal) => self.refuse(&request, key, flow, &refusal, now.at, now),
            Step::Known(identity) => {
                let _is_new = self.server.begin(key, now.at);
                self.proceed(Arrival { request, key, flow, at: now.at, cause: Cause::new() }, presentity, identity, now);
            }
            Step::Ask(presentity, credentials) => {
                let arrival = Arrival { request, key, flow, at: now.at, cause: Cause::new() };
                self.ask_responder(Unproven { arrival, presentity, credentials }, now);
            }
        }
    }

    /// On with a SUBSCRIBE of a known sender.
    fn proceed(&mut self, arrival: Arrival, presentity: Option<Presentity>, identity: Identity, now: Now) {
        match presentity {
            Some(presentity) if arrival.request.to().tag().is_none() => self.on_initial(arrival, presentity, identity, now),
            _ => self.on_in_dialog(arrival, identity, now),
        }
    }

    /// Whose features a SUBSCRIBE is about, as far as it matters here: in a dialog, only the realm of a digest hangs on it.
    fn presentity_of(&self, request: &Request) -> Result<Option<Presentity>, Refusal> {
        let Some(tag) = request.to().tag() else { return subscribe::presentity(request, &self.config).map(Some) };
        if self.config.auth.mode != AuthMode::Digest {
            return Ok(None);
        }
        let id = tag.parse::<SubscriptionId>().map_err(|_| Refusal::no_subscription())?;
        if let Some(subscription) = self.subscriptions.get(&id) {
            return Ok(Some(subscription.presentity.clone()));
        }
        let named = [&*request.to().uri, &*request.from().uri];
        named.into_iter().find_map(|uri| Presentity::parse(uri).ok()).map(Some).ok_or_else(Refusal::no_subscription)
    }

    fn identify(&mut self, request: &Request, flow: Flow, presentity: Option<&Presentity>, now: Now) -> Step {
        let policy = &self.config.auth;
        match (policy.mode, presentity) {
            (AuthMode::None, _) => Step::Known(Identity::Anyone),
            (AuthMode::Digest | AuthMode::Trusted, _) if policy.trusts(flow.peer.ip()) => {
                self.metrics.authenticated(AuthOutcome::Trusted);
                Step::Known(Identity::Trusted)
            }
            (AuthMode::Digest, Some(presentity)) => self.check_digest(request, presentity, now),
            (AuthMode::Digest | AuthMode::Trusted, _) => Step::Refused(self.forbidden(policy::FOREIGN_SOURCE)),
        }
    }

    fn check_digest(&mut self, request: &Request, presentity: &Presentity, now: Now) -> Step {
        let realm = self.config.auth.realm(presentity).to_owned();
        let Some(credentials) = self.credentials(request, &realm) else {
            return Step::Refused(self.challenge(&realm, AuthOutcome::Challenged, now));
        };
        if !policy::is_about(&credentials.uri, request) {
            self.metrics.authenticated(AuthOutcome::OtherUri);
            return Step::Refused(Refusal::new(400).because("the digest is about another Request-URI"));
        }
        let name = account_name(presentity, &credentials);
        let (is_right, may_be_old) = match self.accounts.find(name, now.at) {
            Account::Known { ha1, may_be_old } => (credentials.prove(request.method().as_str(), ha1), may_be_old),
            Account::Unknown => (false, false),
            Account::Unasked => (false, true),
        };
        if !is_right && may_be_old {
            return Step::Ask(presentity.clone(), credentials);
        }
        match self.judge(credentials, is_right, now) {
            Ok(identity) => Step::Known(identity),
            Err(refusal) => Step::Refused(refusal),
        }
    }

    /// The credentials of a request that answer a challenge of this realm.
    fn credentials(&self, request: &Request, realm: &str) -> Option<Credentials> {
        let readable = request.authorization().take(MAX_AUTHORIZATIONS).filter_map(|line| Credentials::parse(line).ok());
        let mut offered = readable.filter(|credentials| self.accounts.algorithms().contains(&credentials.algorithm));
        offered.find(|credentials| *credentials.realm == *realm)
    }

    /// Who has given a digest, once it is known whether that is right.
    fn judge(&mut self, credentials: Credentials, is_right: bool, now: Now) -> Result<Identity, Refusal> {
        let outcome = if is_right {
            match self.nonces.spend(&credentials.nonce, credentials.count(), now.at) {
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
    fn challenge(&mut self, realm: &str, outcome: AuthOutcome, now: Now) -> Refusal {
        self.metrics.authenticated(outcome);
        let nonce = &*self.nonces.issue(now.at);
        // A phone whose password is right answers a stale challenge without asking anybody.
        let is_stale = matches!(outcome, AuthOutcome::Stale | AuthOutcome::Replayed);
        self.accounts.algorithms().iter().fold(Refusal::new(401), |refusal, algorithm| {
            refusal.with("WWW-Authenticate", Challenge { realm, nonce, algorithm: *algorithm, is_stale }.to_string())
        })
    }

    pub(super) fn forbidden(&self, why: &'static str) -> Refusal {
        self.metrics.authenticated(AuthOutcome::Forbidden);
        Refusal::forbidden(why)
    }

    fn ask_responder(&mut self, unproven: Unproven, now: Now) {
        let Unproven { arrival, presentity, credentials } = &unproven;
        if self.refuses_new() || self.auth_waits >= MAX_AUTH_WAITS {
            self.metrics.authenticated(AuthOutcome::Unavailable);
            return self.refuse(&arrival.request, arrival.key, arrival.flow, &Refusal::unavailable(), now.at, now);
        }
        // From here on retransmissions wait for the same answer.
        let _is_new = self.server.begin(arrival.key, now.at);
        self.auth_waits += 1;
        let request = AuthRequest {
            kind: Kind::default(),
            username: credentials.username.to_string(),
            realm: credentials.realm.to_string(),
            algorithm: credentials.algorithm.as_str().to_owned(),
        };
        let (request, cause) = (BusRequest::Auth { presentity: presentity.clone(), request }, arrival.cause.clone());
        self.ask(request, Wait::Auth(Box::new(unproven)), cause, now);
    }

    /// A responder's answer: the HA1, or that it knows no such user.
    pub(super) fn on_account(&mut self, unproven: Unproven, answer: Result<AuthResponse, ErrorBody>, now: Now) {
        self.auth_waits = self.auth_waits.saturating_sub(1);
        let Unproven { arrival, presentity, credentials } = unproven;
        let known = match answer {
            Ok(response) => Ha1::parse(credentials.algorithm, &response.ha1).map(Some),
            Err(error) if error.code == UNKNOWN_USER => Some(None),
            Err(_) => None,
        };
        let Some(ha1) = known else {
            self.metrics.authenticated(AuthOutcome::Unavailable);
            return self.refuse(&arrival.request, arrival.key, arrival.flow, &Refusal::unavailable(), arrival.at, now);
        };
        let is_right = ha1.as_ref().is_some_and(|ha1| credentials.prove(arrival.request.method().as_str(), ha1));
        self.accounts.learn(account_name(&presentity, &credentials), ha1, now.at);
        match self.judge(credentials, is_right, now) {
            Ok(identity) => self.proceed(arrival, Some(presentity), identity, now),
            Err(refusal) => {
                self.server.forget(arrival.key);
                self.refuse(&arrival.request, arrival.key, arrival.flow, &refusal, arrival.at, now);
            }
        }
    }
}

fn account_name<'a>(presentity: &'a Presentity, credentials: &'a Credentials) -> AccountName<'a> {
    let Credentials { realm, username, algorithm, .. } = credentials;
    AccountName { domain: presentity.host(), realm, username, algorithm: *algorithm }
}

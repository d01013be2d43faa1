//! Every subject, stream, bucket, queue group and service name, in one place.

use crate::bus::kv;
pub use crate::bus::pattern::Pattern;
use crate::bus::token::text_of_token;
pub(crate) use crate::bus::token::{edge_token, presentity_key, presentity_of_key};
use crate::feature::Presentity;

/// `<domain>` where no presentity could be read.
const UNKNOWN_DOMAIN: &str = "unknown";

/// The names of everything on the bus under one `nats.prefix`.
///
/// With the prefix `x`: subjects `x.*`, streams `X_*`, buckets `x-*`, services `x-edge`, `x-worker`, `x-mi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    prefix: Box<str>,
}

/// No subject that commands come on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownSubject;

impl Subjects {
    /// The names under a prefix of lower-case letters, digits and `-`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// `dfks.set`
    #[must_use]
    pub fn set(&self) -> String {
        self.under("set")
    }
    /// `dfks.get`
    #[must_use]
    pub fn get(&self) -> String {
        self.under("get")
    }
    /// `dfks.set.*`: commands of tenants.
    #[must_use]
    pub(crate) fn set_of_any_domain(&self) -> String {
        self.under("set.*")
    }
    /// `dfks.get.*`: questions of tenants.
    #[must_use]
    pub(crate) fn get_of_any_domain(&self) -> String {
        self.under("get.*")
    }
    /// `dfks.set.<domain>`
    #[must_use]
    pub(crate) fn set_of(&self, presentity: &Presentity) -> String {
        format!("{}.set.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.get.<domain>`
    #[must_use]
    pub(crate) fn get_of(&self, presentity: &Presentity) -> String {
        format!("{}.get.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.route.set`
    #[must_use]
    pub(crate) fn route_set(&self) -> String {
        self.under("route.set")
    }
    /// `dfks.command.set`
    #[must_use]
    pub(crate) fn command_set(&self) -> String {
        self.under("command.set")
    }
    /// `dfks.command.set.<domain>`
    #[must_use]
    pub(crate) fn command_set_of(&self, presentity: &Presentity) -> String {
        format!("{}.command.set.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.command.set.*`
    #[must_use]
    pub(crate) fn commands_of_any_domain(&self) -> String {
        self.under("command.set.*")
    }
    /// The domain in `dfks.command.set.<domain>`; `Ok(None)` for `dfks.command.set`.
    ///
    /// # Errors
    ///
    /// It is another subject.
    pub(crate) fn domain_of_command<'a>(&self, subject: &'a str) -> Result<Option<&'a str>, UnknownSubject> {
        let rest = subject.strip_prefix(&*self.prefix).and_then(|rest| rest.strip_prefix(".command.set")).ok_or(UnknownSubject)?;
        match rest.strip_prefix('.') {
            None if rest.is_empty() => Ok(None),
            Some(domain) if !domain.is_empty() && !domain.contains('.') => Ok(Some(domain)),
            _ => Err(UnknownSubject),
        }
    }

    /// `dfks.command.>`
    #[must_use]
    pub(crate) fn all_commands(&self) -> String {
        self.under("command.>")
    }
    /// `dfks.edge.alive`
    #[must_use]
    pub(crate) fn edge_alive(&self) -> String {
        self.under("edge.alive")
    }
    /// `dfks.watchers`
    #[must_use]
    pub fn watchers(&self) -> String {
        self.under("watchers")
    }
    /// `dfks.resync`
    #[must_use]
    pub(crate) fn resync(&self) -> String {
        self.under("resync")
    }
    /// `dfks.end`
    #[must_use]
    pub(crate) fn end(&self) -> String {
        self.under("end")
    }
    /// `dfks.why`
    #[must_use]
    pub(crate) fn why(&self) -> String {
        self.under("why")
    }
    /// `dfks.status`
    #[must_use]
    pub(crate) fn status(&self) -> String {
        self.under("status")
    }
    /// `dfks.log`
    #[must_use]
    pub(crate) fn log(&self) -> String {
        self.under("log")
    }
    /// `dfks.sip`
    #[must_use]
    pub(crate) fn sip(&self) -> String {
        self.under("sip")
    }
    /// `dfks.edge.resync.<edge_id>`
    #[must_use]
    pub(crate) fn edge_resync(&self, edge_id: &str) -> String {
        format!("{}.edge.resync.{}", self.prefix, edge_token(edge_id))
    }
    /// `dfks.edge.end.<edge_id>`
    #[must_use]
    pub(crate) fn edge_end(&self, edge_id: &str) -> String {
        format!("{}.edge.end.{}", self.prefix, edge_token(edge_id))
    }
    /// `dfks.responder.get.<domain>.<Feature>`
    #[must_use]
    pub(crate) fn responder_get(&self, presentity: &Presentity, feature: &str) -> String {
        format!("{}.responder.get.{}.{feature}", self.prefix, presentity.domain_token())
    }
    /// `dfks.responder.set.<domain>.<Feature>`
    #[must_use]
    pub(crate) fn responder_set(&self, presentity: &Presentity, feature: &str) -> String {
        format!("{}.responder.set.{}.{feature}", self.prefix, presentity.domain_token())
    }
    /// `dfks.responder.auth.<domain>`
    #[must_use]
    pub(crate) fn responder_auth(&self, presentity: &Presentity) -> String {
        format!("{}.responder.auth.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.responder.anybody`: no responder's; who hears it looks on.
    #[must_use]
    pub(crate) fn responder_anybody(&self) -> String {
        self.under("responder.anybody")
    }
    /// `dfks.responder.<key>`: the subject of a key `<kind>.<domain>.<Feature>`.
    #[must_use]
    pub(crate) fn responder_of_key(&self, key: &str) -> String {
        format!("{}.responder.{key}", self.prefix)
    }
    /// The key `<kind>.<domain>.<Feature>` of `dfks.responder.<kind>.<domain>.<Feature>`, or what stands there in a pattern.
    #[must_use]
    pub(crate) fn responder_key<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&*self.prefix)?.strip_prefix(".responder.")
    }
    /// `dfks.responders`
    #[must_use]
    pub fn responders(&self) -> String {
        self.under("responders")
    }
    /// `dfks.responders.forget`
    #[must_use]
    pub fn responders_forget(&self) -> String {
        self.under("responders.forget")
    }
    /// Bucket `dfks-responders`.
    #[must_use]
    pub fn responder_bucket(&self) -> String {
        format!("{}-responders", self.prefix)
    }
    /// `dfks.notify.<edge_id>`; the edge id is encoded as one token, see `edge_token`.
    #[must_use]
    pub fn notify(&self, edge_id: &str) -> String {
        format!("{}.notify.{}", self.prefix, edge_token(edge_id))
    }
    /// `dfks.notify.*`: the jobs of every edge.
    #[must_use]
    pub(crate) fn notify_of_all(&self) -> String {
        self.under("notify.*")
    }
    /// `dfks.event.subscription.<domain>`
    #[must_use]
    pub(crate) fn event_subscription(&self, presentity: &Presentity) -> String {
        format!("{}.event.subscription.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.event.feature.<domain>.<Feature>`
    #[must_use]
    pub(crate) fn event_feature(&self, presentity: &Presentity, feature: &str) -> String {
        format!("{}.event.feature.{}.{feature}", self.prefix, presentity.domain_token())
    }
    /// `dfks.event.notify.<domain>`
    #[must_use]
    pub(crate) fn event_notify(&self, presentity: &Presentity) -> String {
        format!("{}.event.notify.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.event.raw.<domain>`
    #[must_use]
    pub(crate) fn event_raw(&self, presentity: &Presentity) -> String {
        format!("{}.event.raw.{}", self.prefix, presentity.domain_token())
    }
    /// `dfks.event.refused.<domain>`; `unknown` where no presentity could be read.
    #[must_use]
    pub(crate) fn event_refused(&self, domain_token: Option<&str>) -> String {
        format!("{}.event.refused.{}", self.prefix, domain_token.unwrap_or(UNKNOWN_DOMAIN))
    }
    /// `dfks.event.hand.<domain>`; `unknown` where it is about no presentity.
    #[must_use]
    pub(crate) fn event_hand(&self, domain_token: Option<&str>) -> String {
        format!("{}.event.hand.{}", self.prefix, domain_token.unwrap_or(UNKNOWN_DOMAIN))
    }
    /// `dfks.event.*.<domain>` and `dfks.event.*.<domain>.>`: all events of one domain, by its token.
    #[must_use]
    pub(crate) fn events_of(&self, domain: &str) -> [String; 2] {
        [format!("{}.event.*.{domain}", self.prefix), format!("{}.event.*.{domain}.>", self.prefix)]
    }
    /// `dfks.event.>`: what the event stream holds.
    #[must_use]
    pub(crate) fn all_events(&self) -> String {
        self.under("event.>")
    }
    /// `dfks.dead.<stage>`
    #[must_use]
    pub fn dead(&self, stage: &str) -> String {
        format!("{}.dead.{stage}", self.prefix)
    }
    /// `dfks.dead.>`
    #[must_use]
    pub(crate) fn all_dead(&self) -> String {
        self.under("dead.>")
    }
    /// `dfks.timer.…`: `>` for all, `due.>`; `at.<presentity>.<Feature>` and `due.<presentity>.<Feature>`, the presentity one token.
    pub(crate) fn timer(&self, of: &str) -> String {
        self.under(&format!("timer.{of}"))
    }
    /// The edge id in `dfks.notify.<edge_id>`.
    #[must_use]
    pub(crate) fn edge_of_notify(&self, subject: &str) -> Option<String> {
        let token = subject.strip_prefix(&*self.prefix)?.strip_prefix(".notify.")?;
        text_of_token(token)
    }
    /// `dfks.notify.*`
    #[must_use]
    pub(crate) fn all_notify(&self) -> String {
        self.under("notify.*")
    }

    /// Stream `DFKS_COMMANDS`, `DFKS_NOTIFY`, `DFKS_EVENTS` or `DFKS_DEAD`.
    #[must_use]
    pub fn stream(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix.to_ascii_uppercase())
    }
    /// Bucket `dfks-subscriptions`.
    #[must_use]
    pub(crate) fn subscription_bucket(&self) -> String {
        format!("{}-subscriptions", self.prefix)
    }
    /// Bucket `dfks-features`.
    #[must_use]
    pub(crate) fn feature_bucket(&self) -> String {
        format!("{}-features", self.prefix)
    }
    /// Bucket `dfks-edges`.
    #[must_use]
    pub fn edge_bucket(&self) -> String {
        format!("{}-edges", self.prefix)
    }
    /// `$KV.dfks-edges.<edge_id>`; the edge id is encoded as one token, see `edge_token`.
    #[must_use]
    pub fn edge_key(&self, edge_id: &str) -> String {
        kv::subject(&self.edge_bucket(), &edge_token(edge_id))
    }
    /// `$KV.dfks-subscriptions.<subscription>`
    #[must_use]
    pub fn subscription_key(&self, subscription: &str) -> String {
        kv::subject(&self.subscription_bucket(), subscription)
    }
    /// `$JS.API.DIRECT.GET.KV_dfks-subscriptions`: asked with `{"seq":7}` for the message of that sequence. Source: ADR-31.
    #[must_use]
    pub(crate) fn subscription_direct_get(&self) -> String {
        kv::direct_get(&self.subscription_bucket())
    }
    /// `$JS.API.DIRECT.GET.KV_dfks-subscriptions.$KV.dfks-subscriptions.<subscription>`: the last message under that key. Source: ADR-31.
    #[must_use]
    pub(crate) fn subscription_lookup(&self, subscription: &str) -> String {
        kv::direct_get_of(&self.subscription_bucket(), subscription)
    }
    /// The subscription in `$KV.dfks-subscriptions.<subscription>`.
    #[must_use]
    pub(crate) fn subscription_of_key<'a>(&self, subject: &'a str) -> Option<&'a str> {
        kv::key(&self.subscription_bucket(), subject)
    }
    /// `$KV.dfks-features.<presentity>`
    #[must_use]
    pub(crate) fn feature_key(&self, presentity: &Presentity) -> String {
        kv::subject(&self.feature_bucket(), &presentity_key(presentity))
    }
    /// `$KV.dfks-features.fence`: no presentity's. Workers write markers there, to have a quorum confirm what they read.
    #[must_use]
    pub(crate) fn feature_fence(&self) -> String {
        kv::subject(&self.feature_bucket(), "fence")
    }
    /// `$JS.API.DIRECT.GET.KV_dfks-features.$KV.dfks-features.<presentity>`: the last value under that key. Source: ADR-31.
    #[must_use]
    pub(crate) fn feature_direct_get(&self, presentity: &Presentity) -> String {
        kv::direct_get_of(&self.feature_bucket(), &presentity_key(presentity))
    }
    /// `$SRV.PING.dfks-worker`: every worker answers (ADR-32).
    #[must_use]
    pub(crate) fn worker_ping(&self) -> String {
        format!("$SRV.PING.{}", self.worker_service())
    }
    /// Queue group and service name of the workers, `dfks-worker`.
    #[must_use]
    pub(crate) fn worker_service(&self) -> String {
        format!("{}-worker", self.prefix)
    }
    /// Service name of the edges, `dfks-edge`. They have no queue group: each answers.
    #[must_use]
    pub(crate) fn edge_service(&self) -> String {
        format!("{}-edge", self.prefix)
    }
    /// Queue group and service name of the mi bridges, `dfks-mi`.
    #[must_use]
    pub(crate) fn mi_service(&self) -> String {
        format!("{}-mi", self.prefix)
    }

    /// Whether a subject is one of ours, or of NATS itself: streams, buckets and services listen there, nobody waits for an answer.
    #[must_use]
    pub(crate) fn is_no_inbox(&self, subject: &str) -> bool {
        subject.starts_with('$') || subject.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with('.'))
    }

    fn under(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }
}

#[cfg(test)]
#[path = "tests/subject.rs"]
mod tests;

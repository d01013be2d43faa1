//! Whether a SUBSCRIBE is taken in, and what it asks for. Pure: reads one request against the configuration.

use std::borrow::Cow;

use crate::config::PresentityFrom;
use crate::edge::config::EdgeConfig;
use crate::edge::profile::Quirks;
use crate::feature::body::{BodyError, FeatureChange};
use crate::feature::package::{self, Package};
use crate::feature::table::FeatureTable;
use crate::feature::{Presentity, PresentityError};
use crate::sip::flow::Flow;
use crate::sip::request::Request;
use crate::sip::uri;

/// What an admitted SUBSCRIBE asks for.
#[derive(Debug)]
pub struct Subscribe {
    /// The event package that it is about.
    pub package: &'static Package,
    /// What it came on.
    pub flow: Flow,
    /// Whether it had one Via.
    pub is_direct: bool,
    /// Whether its sender may have us send elsewhere than to itself.
    pub is_trusted: bool,
    /// URI of its user: of its From, or as it has shown to be.
    pub watcher: Box<str>,
    /// Its User-Agent; empty where it sends none.
    pub user_agent: Box<str>,
    /// What its phone wants otherwise.
    pub quirks: Quirks,
    /// Whether its Accept allows `multipart/mixed`; `None`: it has none, and excludes nothing.
    pub accepts_multipart: Option<bool>,
    /// URI of its Contact.
    pub contact: Option<Box<str>>,
    /// `id` of its Event.
    pub event_id: Option<Box<str>>,
    /// Lifetime granted, in seconds; 0 ends the subscription.
    pub granted_seconds: u32,
    /// The change in its body.
    pub change: Option<FeatureChange>,
}

/// A response that is no success, with the headers that it owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// SIP status code.
    pub status: u16,
    /// Headers that go with it.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Text of a Warning header, code 399.
    pub warning: Option<Cow<'static, str>>,
    /// What the phone is then told, when it has a subscription.
    pub confirm: Confirm,
}

/// What a phone with a subscription is told after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirm {
    /// Nothing.
    Nothing,
    /// The state of one feature.
    Feature(String),
    /// The state of all.
    Everything,
}

/// Seconds after which a refused phone should try again, where nothing says better.
const RETRY_AFTER_REFUSAL_SECONDS: u32 = 3600;
/// Seconds after which a request that came too early or too many is worth another try.
const RETRY_AFTER_OVERLOAD_SECONDS: u32 = 5;
/// What we take, for Allow.
pub const ALLOW: &str = "SUBSCRIBE, OPTIONS";

impl Refusal {
    /// A refusal without headers.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), warning: None, confirm: Confirm::Nothing }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a reason in words.
    #[must_use]
    pub fn because(mut self, warning: impl Into<Cow<'static, str>>) -> Self {
        self.warning = Some(warning.into());
        self
    }

    /// With a `Retry-After` that keeps a phone from asking again every minute.
    #[must_use]
    fn for_long(self) -> Self {
        self.with("Retry-After", RETRY_AFTER_REFUSAL_SECONDS.to_string())
    }

    /// 503: overloaded, draining, or the bus is away.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(503).with("Retry-After", RETRY_AFTER_OVERLOAD_SECONDS.to_string())
    }

    /// 500 for a `CSeq` that is not above the last one. Source: RFC 3261 §12.2.2.
    #[must_use]
    pub fn cseq_too_low() -> Self {
        Self::new(500).with("Retry-After", "1").because("CSeq is not above the last one of this dialog")
    }

    /// 403 for a source or user that may not do this.
    #[must_use]
    pub fn forbidden(why: &'static str) -> Self {
        Self::new(403).for_long().because(why)
    }

    /// 403 for a presentity that has as many watchers as it may.
    #[must_use]
    pub fn too_many_watchers() -> Self {
        Self::new(403).for_long().because("this presentity has as many subscriptions as it may")
    }

    /// 481: no such subscription here or in the bucket.
    #[must_use]
    pub fn no_subscription() -> Self {
        Self::new(481)
    }

    /// 405 for any method that we do not take.
    #[must_use]
    pub fn method() -> Self {
        Self::new(405).with("Allow", ALLOW)
    }
}

/// Reads whose features a SUBSCRIBE outside a dialog is about.
///
/// # Errors
///
/// 416 for a scheme that is neither `sip`, `sips` nor `tel`, 404 for a domain that is not served, 400 for an unreadable URI.
pub fn presentity(request: &Request, config: &EdgeConfig) -> Result<Presentity, Refusal> {
    let to = &*request.to().uri;
    let uri = match config.presentity_from {
        PresentityFrom::RequestUri if has_user(request.uri()) => request.uri(),
        _ => to,
    };
    // The Request-URI decides, whatever names the presentity. Source: RFC 3261 §8.2.2.1.
    if Presentity::parse(request.uri()) == Err(PresentityError::Scheme) {
        return Err(unknown_scheme());
    }
    let presentity = Presentity::parse(uri).map_err(|error| match error {
        PresentityError::Scheme => unknown_scheme(),
        PresentityError::User => Refusal::new(404).for_long().because("the presentity needs a user part"),
        other => Refusal::new(400).because(other.to_string()),
    })?;
    let is_served = config.domains.is_empty() || config.domains.iter().any(|domain| **domain == *presentity.domain());
    if is_served { Ok(presentity) } else { Err(Refusal::new(404).for_long().because("this domain is not served here")) }
}

fn unknown_scheme() -> Refusal {
    Refusal::new(416).because("the presentity is a sip:, sips: or tel: URI")
}

fn has_user(uri: &str) -> bool {
    uri.contains('@') || uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"))
}

/// Reads what a SUBSCRIBE asks for.
///
/// # Errors
///
/// The [`Refusal`] that it gets: 400, 406, 415, 420, 423, 489.
pub fn admit(request: &Request, flow: Flow, is_in_dialog: bool, config: &EdgeConfig, table: &FeatureTable) -> Result<Subscribe, Refusal> {
    supported(request)?;
    let (package, event_id) = event(request)?;
    let granted_seconds = granted(request, config)?;
    let accept = request.accept();
    let (main, sub) = package.media_type();
    // Some phones send none: that excludes nothing.
    let accepts = |main, sub| !accept.is_sent() || accept.allows(main, sub);
    let accepts_multipart = accept.is_sent().then(|| package.has_multipart && accept.allows("multipart", "mixed"));
    if !accepts(main, sub) && accepts_multipart != Some(true) {
        return Err(Refusal::new(406).with("Accept", package.content_type).because("Accept excludes every type that we send"));
    }
    let contact = contact(request, is_in_dialog)?;
    let change = change(request, package, table)?;
    Ok(Subscribe {
        package,
        flow,
        is_direct: request.via_count() == 1,
        is_trusted: false,
        watcher: request.from().uri.clone(),
        user_agent: request.user_agent().unwrap_or_default().into(),
        quirks: config.profiles.of(request.user_agent().unwrap_or_default()),
        accepts_multipart,
        contact,
        event_id,
        granted_seconds,
        change,
    })
}

/// No extension is supported that a request may insist on. Source: RFC 3261 §8.2.2.3.
///
/// # Errors
///
/// 420 with `Unsupported`, where the request has a `Require`.
pub fn supported(request: &Request) -> Result<(), Refusal> {
    let required: Vec<&str> = request.require().collect();
    if required.is_empty() { Ok(()) } else { Err(Refusal::new(420).with("Unsupported", required.join(", "))) }
}

/// The event package, matched without regard to case as the field does, and its `id`.
fn event(request: &Request) -> Result<(&'static Package, Option<Box<str>>), Refusal> {
    let event = request.event().and_then(|event| Some((package::find(event.package)?, event.id.map(Into::into))));
    event.ok_or_else(|| Refusal::new(489).with("Allow-Events", package::allow_events()).for_long())
}

/// Whether a SUBSCRIBE in a dialog names another package than its subscription: it is in none then. Source: RFC 6665 §4.4.1.
#[must_use]
pub fn is_of_other_package(request: &Request, package: &'static Package) -> bool {
    request.event().and_then(|event| package::find(event.package)).is_some_and(|named| named != package)
}

/// Lifetime granted: the requested one, cut to the configured maximum; absent means the default.
///
/// Source: RFC 6665 §4.2.1.1 (may shorten, never lengthen).
fn granted(request: &Request, config: &EdgeConfig) -> Result<u32, Refusal> {
    let bounds = &config.subscription;
    match request.expires().map_err(|_| Refusal::new(400).because("Expires is no number of seconds"))? {
        None => Ok(bounds.default_expires_seconds),
        Some(0) => Ok(0),
        Some(asked) if asked < bounds.min_expires_seconds => {
            Err(Refusal::new(423).with("Min-Expires", bounds.min_expires_seconds.to_string()))
        }
        Some(asked) => Ok(asked.min(bounds.max_expires_seconds)),
    }
}

fn contact(request: &Request, is_in_dialog: bool) -> Result<Option<Box<str>>, Refusal> {
    let bad = |why: &'static str| Refusal::new(400).because(why);
    match request.contact().map_err(|_| bad("Contact is unreadable"))? {
        Some(contact) if uri::parse(&contact.uri).is_ok() => Ok(Some(contact.uri_without_headers().into())),
        Some(_) => Err(bad("Contact is no SIP URI")),
        None if is_in_dialog => Ok(None),
        None => Err(bad("a SUBSCRIBE needs one Contact")),
    }
}

fn change(request: &Request, package: &'static Package, table: &FeatureTable) -> Result<Option<FeatureChange>, Refusal> {
    if request.body().is_empty() {
        return Ok(None);
    }
    if request.content_encoding().any(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(415).with("Accept-Encoding", "identity").with("Accept", package.content_type));
    }
    let (main, sub) = package.media_type();
    if !request.content_type().is_some_and(|media| media.is_ok_and(|media| media.is(main, sub))) {
        return Err(Refusal::new(415).with("Accept", package.content_type));
    }
    (package.codec.read_request)(table, request.body()).map(Some).map_err(|error| refused_body(&error))
}

fn refused_body(error: &BodyError) -> Refusal {
    let confirm = error.feature().map_or(Confirm::Everything, |feature| Confirm::Feature(feature.to_owned()));
    Refusal { confirm, ..Refusal::new(400).because(error.to_string()) }
}

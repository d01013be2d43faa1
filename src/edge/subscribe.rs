//! Whether a SUBSCRIBE is taken in, and what it asks for. Pure: reads one request against the configuration.

use crate::config::PresentityFrom;
use crate::edge::config::EdgeConfig;
use crate::edge::profile::Quirks;
use crate::edge::refusal::{Confirm, Refusal};
use crate::feature::body::{BodyError, FeatureChange};
use crate::feature::package::Package;
use crate::feature::table::FeatureTable;
use crate::feature::xml;
use crate::feature::{Presentity, PresentityError};
use crate::sip::flow::{Flow, Transport};
use crate::sip::name::Name;
use crate::sip::request::Request;
use crate::sip::uri::{self, TargetHost};

/// What an admitted SUBSCRIBE asks for.
#[derive(Debug)]
pub struct Subscribe {
    /// The event package that it is about.
    pub package: &'static Package,
    pub flow: Flow,
    /// Whether it had one Via, and came from where its sender listens.
    pub is_direct: bool,
    /// Whether its sender may direct our NOTIFYs to another address than its own.
    pub is_trusted: bool,
    /// URI of its user: the From, or the authenticated user.
    pub watcher: Box<str>,
    /// Its User-Agent; empty where it sends none.
    pub user_agent: Box<str>,
    /// Differences for its phone's model.
    pub quirks: Quirks,
    /// Whether its Accept allows `multipart/mixed`; `None`: it has none, and excludes nothing.
    pub accepts_multipart: Option<bool>,
    /// URI of its Contact.
    pub contact: Option<Box<str>>,
    /// Its Event as it was written; `None` where it is the name of the package alone.
    pub event: Option<Box<str>>,
    /// Lifetime granted, in seconds; 0 ends the subscription.
    pub granted_seconds: u32,
    /// The change in its body.
    pub change: Option<FeatureChange>,
    /// Its body, where that is for others to read.
    pub raw: Option<RawBody>,
}

/// A well-formed body whose root nobody registered, of at most 8 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBody {
    /// Local name of the root.
    pub root: Box<str>,
    pub text: Box<str>,
}

/// Reads whose features a SUBSCRIBE outside a dialog is about.
///
/// # Errors
///
/// 416 for a scheme that is neither `sip`, `sips` nor `tel`, 404 for a domain that is not served, 400 for an unreadable URI.
pub(crate) fn presentity(request: &Request, config: &EdgeConfig) -> Result<Presentity, Refusal> {
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

/// Whether a Request-URI names a presentity, not only a host.
pub(crate) fn has_user(uri: &str) -> bool {
    uri.contains('@') || uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"))
}

/// Reads what a SUBSCRIBE asks for.
///
/// # Errors
///
/// The [`Refusal`] that it gets: 400, 406, 415, 420, 423, 489.
pub(crate) fn admit(
    request: &Request,
    flow: Flow,
    is_in_dialog: bool,
    config: &EdgeConfig,
    table: &FeatureTable,
) -> Result<Subscribe, Refusal> {
    supported(request)?;
    let (package, event) = event(request, table)?;
    let granted_seconds = granted(request, config)?;
    let accept = request.accept();
    let (main, sub) = package.media_type();
    // Some phones send none: that excludes nothing.
    let accepts = |main, sub| !accept.is_sent() || accept.allows(main, sub);
    let accepts_multipart = if package.has_multipart { accept.is_sent().then(|| accept.allows("multipart", "mixed")) } else { Some(false) };
    if !accepts(main, sub) && accepts_multipart != Some(true) {
        return Err(Refusal::new(406).with("Accept", package.content_type).because("Accept excludes every type that we send"));
    }
    let contact = contact(request, is_in_dialog)?;
    let (change, raw) = match change(request, package, table, config.passthrough)? {
        Body::Nothing => (None, None),
        Body::Change(change) => (Some(change), None),
        Body::Raw(raw) => (None, Some(raw)),
    };
    Ok(Subscribe {
        package,
        flow,
        is_direct: request.via_count() == 1 && !listens_at_contact_only(request, flow, contact.as_deref()),
        is_trusted: false,
        watcher: request.from().uri.clone(),
        user_agent: request.user_agent().unwrap_or_default().into(),
        quirks: config.profiles.of(request.user_agent().unwrap_or_default()),
        accepts_multipart,
        contact,
        event,
        granted_seconds,
        change,
        raw,
    })
}

/// No extension is supported that a request may insist on. Source: RFC 3261 §8.2.2.3.
///
/// # Errors
///
/// 420 with `Unsupported`, where the request has a `Require`.
pub(crate) fn supported(request: &Request) -> Result<(), Refusal> {
    let required: Vec<&str> = request.require().collect();
    if required.is_empty() { Ok(()) } else { Err(Refusal::new(420).with("Unsupported", required.join(", "))) }
}

/// The event package, matched without regard to case as the field does, and the Event where it says more than that.
fn event(request: &Request, table: &FeatureTable) -> Result<(&'static Package, Option<Box<str>>), Refusal> {
    let package = request.event().and_then(|event| table.package(event.package));
    let written = request.message().header(Name::Event).unwrap_or_default();
    let event = package.map(|package| (package, (written != package.name).then(|| written.into())));
    event.ok_or_else(|| Refusal::new(489).with("Allow-Events", table.allow_events().to_owned()).for_long())
}

/// Whether a SUBSCRIBE in a dialog names another package or `id` than its subscription: it is in none then. No `id` where the
/// first SUBSCRIBE had one is taken for that one. Source: RFC 6665 §4.4.1, §8.2.1.
#[must_use]
pub(crate) fn is_of_other_event(request: &Request, table: &FeatureTable, package: &'static Package, id: Option<&str>) -> bool {
    let Some(event) = request.event() else { return false };
    table.package(event.package).is_some_and(|named| named != package) || event.id.is_some_and(|named| Some(named) != id)
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

/// Whether a phone sends from another port than it listens at: over UDP it asks for no `rport`, and its sent-by, its Contact and
/// where it sends from are one host. Behind a NAT they are not.
fn listens_at_contact_only(request: &Request, flow: Flow, contact: Option<&str>) -> bool {
    let via = request.top_via();
    let source = flow.peer.ip().to_canonical();
    // `ob`: on the flow that it sends on (RFC 5626 §4.3).
    let contact = contact.filter(|contact| !uri::is_outbound(contact));
    let contact = contact.and_then(|contact| uri::parse(contact).ok()).and_then(|contact| uri::target(&contact));
    flow.transport == Transport::Udp
        && !via.wants_rport()
        && via.host_ip().is_some_and(|host| host.to_canonical() == source)
        && contact.is_some_and(|to| to.host == TargetHost::Ip(source) && to.transport_after(Transport::Udp) == Transport::Udp)
}

/// What a SUBSCRIBE's body is.
enum Body {
    Nothing,
    Change(FeatureChange),
    Raw(RawBody),
}

fn change(request: &Request, package: &'static Package, table: &FeatureTable, passes_through: bool) -> Result<Body, Refusal> {
    if request.body().is_empty() {
        return Ok(Body::Nothing);
    }
    if request.content_encoding().any(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(415).with("Accept-Encoding", "identity").with("Accept", package.content_type));
    }
    let (main, sub) = package.media_type();
    if !request.content_type().is_some_and(|media| media.is_ok_and(|media| media.is(main, sub))) {
        return Err(Refusal::new(415).with("Accept", package.content_type));
    }
    match package.read_request(table, request.body()) {
        Ok(change) => Ok(Body::Change(change)),
        Err(error) => match error.unknown_root().filter(|_| passes_through) {
            Some(root) => Ok(Body::Raw(RawBody { root: root.into(), text: xml::decode(request.body()).into() })),
            None => Err(refused_body(&error)),
        },
    }
}

fn refused_body(error: &BodyError) -> Refusal {
    let confirm = error.feature().map_or(Confirm::Everything, |feature| Confirm::Feature(feature.to_owned()));
    Refusal { confirm, ..Refusal::new(400).because(error.to_string()) }
}

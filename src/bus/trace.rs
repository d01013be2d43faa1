//! The id of what led to a message, and the W3C trace context that goes with it: `traceparent` and `tracestate`.

use std::borrow::Cow;
use std::convert::identity;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};

use crate::runtime::clock;
use crate::telemetry::otlp::{self, Span, SpanKind};

/// The id of what led to a message: made where a SUBSCRIBE or a command enters the system, carried by all that follows.
///
/// Shape: opaque; what we make is 32 hexadecimal digits, and so is the trace id of its `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cause(pub CauseId);

/// The text of a [`Cause`], and what its caller said beside it. Equal where the text is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Box<str>")]
pub struct CauseId {
    text: Arc<str>,
    /// Not in JSON: what was read from a body alone begins anew.
    context: Option<Arc<Context>>,
}

/// What `traceparent` and `tracestate` say beside the trace id.
#[derive(Debug)]
struct Context {
    /// The span that what follows is done in: a caller's, or one of ours.
    span: u64,
    /// The span that this one is part of, where it is ours.
    parent: Option<u64>,
    flags: u8,
    state: Option<Box<str>>,
}

/// Name of the trace header. Source: W3C Trace Context §3.2.
pub const TRACEPARENT: &str = "traceparent";
/// Name of the header that goes with it. Source: W3C Trace Context §3.3.
pub(crate) const TRACESTATE: &str = "tracestate";

/// The span, and what follows from it, may be recorded. Source: W3C Trace Context §3.2.2.5.1.
const SAMPLED: u8 = 0x01;
/// The flags that there are: sampled and random-trace-id; others must not be passed on. Source: W3C Trace Context Level 2 §3.2.2.5.
const KNOWN_FLAGS: u8 = 0x03;
/// Longest `tracestate` that is passed on; a longer one may be dropped. Source: W3C Trace Context §3.3.1.5.
const MAX_STATE_BYTES: usize = 512;

/// Twelve hexadecimal digits.
const MAX_MILLIS: u64 = 0xffff_ffff_ffff;
/// 2025-01-01: no id that says when is older.
const FIRST_MILLIS: u64 = 1_735_689_600_000;

impl Cause {
    /// A new id, for what enters the system.
    ///
    /// Its first 12 digits are the time in milliseconds, so that its events are found; the rest is random, as W3C Trace Context Level 2
    /// §3.2.2.3 asks of the last 14.
    #[must_use]
    pub fn new() -> Self {
        let since_epoch = clock::utc_now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or_default() & MAX_MILLIS;
        Self(format!("{millis:012x}{:020x}", (rand::random::<u128>() >> 48) | 1).into())
    }

    /// When an id was made, where its first digits say: of one that somebody else made they are a time only by chance.
    pub(crate) fn made_at(id: &str) -> Option<SystemTime> {
        let millis = u64::from_str_radix(id.get(..12).filter(|_| is_id(id, 32))?, 16).ok()?;
        (millis >= FIRST_MILLIS).then(|| UNIX_EPOCH + Duration::from_millis(millis))
    }

    /// The id that a message with this `traceparent` header goes on with; a new one where it is unreadable.
    #[must_use]
    pub fn of_traceparent(header: Option<&str>) -> Self {
        Self::of_trace(header, None)
    }

    /// The same with the `tracestate` that goes with it.
    #[must_use]
    pub fn of_trace(traceparent: Option<&str>, tracestate: Option<&str>) -> Self {
        traceparent.and_then(|header| Self::read(header, tracestate)).map_or_else(Self::new, identity)
    }

    /// The id that what follows from a message goes on with, by its headers.
    #[must_use]
    pub(crate) fn of_headers(headers: Option<&HeaderMap>) -> Self {
        headers.and_then(Self::told).map_or_else(Self::new, identity)
    }

    /// The id that a message's headers name, if they do.
    pub(crate) fn told(headers: &HeaderMap) -> Option<Self> {
        let states: Vec<_> = headers.get_all(TRACESTATE).map(HeaderValue::as_str).collect();
        Self::read(headers.get(TRACEPARENT)?.as_str(), Some(&states.join(",")))
    }

    /// The cause that a message's body names, where this one is its headers': what they say beside the same id is kept.
    #[must_use]
    pub(crate) fn named_by(self, body: Self) -> Self {
        if body == self { self } else { body }
    }

    fn read(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, id) = (parts.next()?, parts.next().filter(|id| is_id(id, 32))?);
        let context = Context::read(version, parts.next(), parts.next(), tracestate);
        let context = context.filter(|context| u128::from_str_radix(id, 16).is_ok_and(|id| unrecorded(id) != context.span));
        Some(Self(CauseId { text: id.into(), context: context.map(Arc::new) }))
    }

    /// The header for one more message of this cause: its trace, and the span that it is sent in.
    ///
    /// Where no span of the trace is known here nobody has recorded one: the header says so, by its flags and by a span id that is the
    /// end of the trace id, so that whoever of us records spans begins the trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        match &self.0.context {
            None if is_id(&self.0, 32) => self.begun(),
            None => {
                let trace_id = self.trace_id();
                format!("00-{trace_id:032x}-{:016x}-00", unrecorded(trace_id))
            }
            Some(context) => format!("00-{:032x}-{:016x}-{:02x}", self.trace_id(), context.span, context.flags),
        }
    }

    /// The header where the text is the trace id and no span is known, as for nearly every message: the text, and its end once more.
    fn begun(&self) -> String {
        let (begin, end) = self.0.split_at(31);
        let last = end.bytes().next().map_or(1, |digit| char::from(digit).to_digit(16).unwrap_or_default() | 1);
        let mut header = String::with_capacity(55);
        for part in ["00-", &self.0, "-", begin.get(16..).unwrap_or_default()] {
            header.push_str(part);
        }
        header.push(char::from_digit(last, 16).unwrap_or('1'));
        header.push_str("-00");
        header
    }

    /// The trace id: the cause's text, or a number made of it, the same everywhere.
    fn trace_id(&self) -> u128 {
        if is_id(&self.0, 32) {
            return u128::from_str_radix(&self.0, 16).unwrap_or(1);
        }
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
        hasher.write(self.0.as_bytes());
        let id = u128::from(hasher.finish() | 1);
        id << 64 | id
    }

    /// The `tracestate` of whoever began the trace, for one more message of it.
    #[must_use]
    pub(crate) fn tracestate(&self) -> Option<&str> {
        self.0.context.as_ref()?.state.as_deref()
    }

    /// Whether spans of this trace are recorded: an exporter is there, and its caller, or the share that is ours, says so.
    pub(crate) fn is_recorded(&self) -> bool {
        otlp::is_on()
            && match &self.0.context {
                Some(context) => context.flags & SAMPLED != 0,
                None => otlp::is_sampled(self.trace_id()),
            }
    }

    /// The same cause in a new span of ours, part of the span that it is in now. Only where spans are recorded: see
    /// [`open`](Self::open).
    #[must_use]
    pub(crate) fn entered(&self) -> Self {
        let (parent, flags, state) = match &self.0.context {
            Some(context) => (Some(context.span), context.flags, context.state.clone()),
            None => (None, SAMPLED, None),
        };
        let context = Context { span: rand::random::<u64>() | 1, parent, flags, state };
        Self(CauseId { text: Arc::clone(&self.0.text), context: Some(Arc::new(context)) })
    }

    /// The span that it is in, for the exporter; `None`: none is known.
    pub(crate) fn span(&self, name: &'static str, kind: SpanKind, (began_at, ended_at): (SystemTime, SystemTime)) -> Option<Span> {
        let context = self.0.context.as_ref()?;
        Some(Span {
            trace_id: self.trace_id(),
            id: context.span,
            parent: context.parent,
            state: context.state.clone(),
            name,
            kind,
            began_at,
            ended_at,
            attributes: Vec::new(),
            error: None,
        })
    }
}

/// The span of a trace that no span is recorded of so far.
fn unrecorded(trace_id: u128) -> u64 {
    u64::try_from(trace_id & u128::from(u64::MAX)).unwrap_or_default() | 1
}

impl Context {
    fn read(version: &str, span: Option<&str>, flags: Option<&str>, state: Option<&str>) -> Option<Self> {
        let (span, flags) = (span.filter(|span| is_id(span, 16))?, flags.filter(|flags| flags.len() == 2 && flags.bytes().all(is_hex))?);
        if version.len() != 2 || !version.bytes().all(is_hex) || version == "ff" {
            return None;
        }
        let is_state = |state: &&str| (1..=MAX_STATE_BYTES).contains(&state.len()) && state.bytes().all(|b| matches!(b, b' '..=b'~'));
        let flags = u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS;
        let state = state.map(str::trim).filter(is_state).map(Into::into);
        Some(Self { span: u64::from_str_radix(span, 16).ok()?, parent: None, flags, state })
    }
}

impl Deref for CauseId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for CauseId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CauseId {}

impl Hash for CauseId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for CauseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl From<Box<str>> for CauseId {
    fn from(text: Box<str>) -> Self {
        Self { text: text.into(), context: None }
    }
}

impl From<String> for CauseId {
    fn from(text: String) -> Self {
        Self { text: text.into(), context: None }
    }
}

impl From<&str> for CauseId {
    fn from(text: &str) -> Self {
        Self { text: text.into(), context: None }
    }
}

impl JsonSchema for CauseId {
    fn schema_name() -> Cow<'static, str> {
        str::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        str::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The headers of a message that `cause` led to: `traceparent`, and `tracestate` where it came with one.
#[must_use]
pub fn headers(cause: &Cause) -> HeaderMap {
    static NAME: HeaderName = HeaderName::from_static(TRACEPARENT);
    let mut headers = HeaderMap::new();
    headers.insert(NAME.clone(), cause.traceparent());
    if let Some(state) = cause.tracestate().and_then(|state| state.parse::<HeaderValue>().ok()) {
        headers.insert(TRACESTATE, state);
    }
    headers
}

fn is_id(id: &str, length: usize) -> bool {
    id.len() == length && id.bytes().all(is_hex) && id.bytes().any(|b| b != b'0')
}

const fn is_hex(b: u8) -> bool {
    b.is_ascii_digit() || matches!(b, b'a'..=b'f')
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A new opaque id, for events and jobs: 32 hexadecimal digits.
#[must_use]
pub(crate) fn new_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_goes_on_as_the_trace_id() {
        let cause = Cause::new();
        assert_eq!(Cause::of_traceparent(Some(&cause.traceparent())), cause);
        assert_ne!(&*Cause::of_traceparent(Some("00-00000000000000000000000000000000-1-01")).0, "00000000000000000000000000000000");
        let foreign = Cause("ticket 4711".into()).traceparent();
        assert_eq!(foreign.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
    }

    #[test]
    fn flags_parent_and_state_are_the_callers() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        const SPAN: &str = "00f067aa0ba902b7";
        let at_limit = "a".repeat(MAX_STATE_BYTES);
        let parent = |tail: &str| format!("00-{ID}-{SPAN}-{tail}");
        for (traceparent, state, flags, kept_span, kept_state) in [
            (parent("00"), "v=1,w=2", "00", true, Some("v=1,w=2")),
            (parent("01"), "", "01", true, None),
            // flags that are not known yet are ours to drop
            (parent("ff"), "v=1", "03", true, Some("v=1")),
            (format!("cc-{ID}-{SPAN}-00-more"), "v=1", "00", true, Some("v=1")),
            (parent("00"), at_limit.as_str(), "00", true, Some(at_limit.as_str())),
            (parent("00"), &format!("{at_limit}a"), "00", true, None),
            (parent("00"), "v=\u{e9}", "00", true, None),
            // the id goes on where the rest cannot be read
            (parent("0"), "v=1", "00", false, None),
            (format!("ff-{ID}-{SPAN}-00"), "v=1", "00", false, None),
            (format!("00-{ID}-0000000000000000-00"), "v=1", "00", false, None),
        ] {
            let cause = Cause::of_trace(Some(&traceparent), Some(state));
            assert_eq!((&*cause.0, cause.tracestate()), (ID, kept_state), "{traceparent}");
            let ours = cause.traceparent();
            assert!(ours.starts_with(&format!("00-{ID}-")) && ours.ends_with(&format!("-{flags}")), "{ours}");
            assert_eq!(ours.contains(SPAN), kept_span, "where nothing is recorded the caller's span goes on: {ours}");
            let next = headers(&cause);
            assert_eq!(next.get(TRACESTATE).map(HeaderValue::as_str), kept_state);
            assert_eq!(Cause::of_headers(Some(&next)).tracestate(), kept_state);
            assert!(!cause.is_recorded(), "there is no exporter");
        }
        // a body names the same cause without them
        let told = Cause::of_trace(Some(&parent("01")), Some("v=1"));
        let (same, other) = (told.clone().named_by(Cause(ID.into())), told.named_by(Cause("x".into())));
        assert_eq!((same.tracestate(), other.tracestate(), &*other.0), (Some("v=1"), None, "x"));
        assert!(same.traceparent().ends_with("-01") && Cause(ID.into()).traceparent().ends_with("-00"));
    }

    #[test]
    fn a_span_of_ours_is_part_of_the_one_before() {
        let caller = Cause::of_trace(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), Some("v=1"));
        let first = caller.entered();
        let second = first.entered();
        let now = clock::utc_now();
        let of = |cause: &Cause| cause.span("x", SpanKind::Server, (now, now)).unwrap();
        let (outer, inner) = (of(&first), of(&second));
        assert_eq!((outer.parent, inner.parent), (Some(0x00f0_67aa_0ba9_02b7), Some(outer.id)));
        assert_eq!((inner.trace_id, inner.state.as_deref()), (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, Some("v=1")));
        assert_eq!(second.traceparent(), format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{:016x}-01", inner.id));
        assert!(second == caller && second.tracestate() == Some("v=1"), "the cause is the same");
        let begun = Cause::new();
        assert!(begun.span("x", SpanKind::Server, (now, now)).is_none() && begun.traceparent().ends_with("-00"));
        assert_eq!(of(&begun.entered()).parent, None);
        // another process of ours that records spans begins the trace
        let gone_on = Cause::of_traceparent(Some(&begun.traceparent()));
        assert!(gone_on == begun && of(&gone_on.entered()).parent.is_none());
    }
}

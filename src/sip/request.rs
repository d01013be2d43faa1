//! A request with what every handler needs of it, read once.

use super::header::{Accept, BadHeader, CSeq, Event, MediaType, NameAddr, Via, seconds};
use super::message::{Message, Start};
use super::method::Method;
use super::name::Name;
use super::scan;

/// Most hops that a request may have come over: Max-Forwards allows no more (RFC 3261 §8.1.1.6). Each Via is copied into a line of
/// its own, so that the answer to a line of commas would be far longer than it was.
pub(crate) const MAX_HOPS: usize = 70;
/// Most proxies that may want to stay on a dialog's way: each is a line of the 200, and of every NOTIFY.
pub(crate) const MAX_ROUTES: usize = 32;

/// A request whose mandatory header fields are all there and readable.
///
/// Those are Via, From, To, Call-ID and `CSeq` (RFC 3261 §8.1.1; Max-Forwards is not insisted on), and Record-Route where it is sent.
/// No field that has one value has two, which a proxy in front could read another way than we do.
#[derive(Debug, Clone)]
pub struct Request {
    message: Message,
    method: Method,
    top_via: Via,
    via_count: usize,
    from: NameAddr,
    to: NameAddr,
    cseq: u32,
}

/// A request without a mandatory header field, or with one that cannot be read: answered 400 by
/// [`super::response::to_message`], where the rest is enough for an answer.
#[derive(Debug, thiserror::Error)]
#[error("bad request: {reason}")]
pub struct BadRequest {
    /// Reason phrase.
    pub reason: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The request.
    pub message: Box<Message>,
}

/// The fields that a [`Request`] keeps beside its message.
struct Mandatory {
    method: Method,
    top_via: Via,
    via_count: usize,
    from: NameAddr,
    to: NameAddr,
    cseq: u32,
}

impl Request {
    /// Reads the mandatory fields.
    ///
    /// # Errors
    ///
    /// [`BadRequest`], which the sender is to be told. A response is one too, and never gets an answer.
    pub fn from_message(message: Message) -> Result<Self, BadRequest> {
        match Mandatory::read(&message) {
            Ok(Mandatory { method, top_via, via_count, from, to, cseq }) => {
                Ok(Self { message, method, top_via, via_count, from, to, cseq })
            }
            Err(reason) => Err(BadRequest { reason, status: 400, message: Box::new(message) }),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as it was written.
    #[must_use]
    pub fn uri(&self) -> &str {
        match self.message.start() {
            Start::Request { uri, .. } => uri,
            Start::Response { .. } => "",
        }
    }

    /// The Via of who sent this to us.
    #[must_use]
    pub(crate) fn top_via(&self) -> &Via {
        &self.top_via
    }

    /// How many hops came before us: 1 is straight from the phone.
    #[must_use]
    pub(crate) fn via_count(&self) -> usize {
        self.via_count
    }

    /// Who sends: the watcher, of a SUBSCRIBE.
    #[must_use]
    pub fn from(&self) -> &NameAddr {
        &self.from
    }

    /// To whom it was addressed first.
    #[must_use]
    pub fn to(&self) -> &NameAddr {
        &self.to
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.message.header(Name::CallId).unwrap_or_default()
    }

    /// The number of the `CSeq`, below 2^31. Its method is that of the request.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Max-Forwards, 0-255; `None` when it is not there.
    #[must_use]
    pub fn max_forwards(&self) -> Option<Result<u8, BadHeader>> {
        let value = self.message.header(Name::MaxForwards)?;
        Some(scan::digits(value).and_then(|hops| u8::try_from(hops).ok()).ok_or(BadHeader(Name::MaxForwards)))
    }

    /// The event package; `None` when it is missing or unreadable (both are 489, RFC 6665 §4.2.1.1).
    #[must_use]
    pub fn event(&self) -> Option<Event<'_>> {
        Event::parse(self.message.header(Name::Event)?)
    }

    /// Seconds asked for.
    ///
    /// # Errors
    ///
    /// [`BadHeader`] when it is no number.
    pub fn expires(&self) -> Result<Option<u32>, BadHeader> {
        self.message.header(Name::Expires).map(|value| seconds(Name::Expires, value)).transpose()
    }

    /// The first Contact.
    ///
    /// # Errors
    ///
    /// [`BadHeader`] when it is unreadable, `*` included.
    pub fn contact(&self) -> Result<Option<NameAddr>, BadHeader> {
        self.message.values(Name::Contact).next().map(|value| NameAddr::parse(value).ok_or(BadHeader(Name::Contact))).transpose()
    }

    /// The Record-Route values from top to bottom: the route set of our requests in this dialog (RFC 3261 §12.1.1), each
    /// `<sip:proxy;lr>` with its parameters.
    #[must_use]
    pub fn record_route(&self) -> Vec<Box<str>> {
        let routes = self.message.values(Name::RecordRoute).filter_map(NameAddr::parse);
        routes.map(|route| NameAddr { display: None, ..route }.to_string().into()).collect()
    }

    /// The body types that the sender takes.
    #[must_use]
    pub fn accept(&self) -> Accept<'_> {
        Accept::parse(self.message.header(Name::Accept).is_some(), self.message.values(Name::Accept))
    }

    /// The type of the body; `None` when it is not there.
    #[must_use]
    pub fn content_type(&self) -> Option<Result<MediaType<'_>, BadHeader>> {
        self.message.header(Name::ContentType).map(|value| MediaType::parse(value).ok_or(BadHeader(Name::ContentType)))
    }

    /// The codings of the body other than `identity`, which means none (RFC 3261 §20.12).
    pub fn content_encoding(&self) -> impl Iterator<Item = &str> {
        self.message.values(Name::ContentEncoding).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// The option tags that the sender insists on.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.message.values(Name::Require)
    }

    /// The User-Agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.message.header(Name::UserAgent).filter(|value| !value.is_empty())
    }

    /// Each Authorization line.
    pub fn authorization(&self) -> impl Iterator<Item = &str> {
        self.message.lines(Name::Authorization)
    }

    /// The body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.message.body()
    }

    /// The message, for every other header field.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl Mandatory {
    fn read(message: &Message) -> Result<Self, &'static str> {
        let Start::Request { method, .. } = message.start() else {
            return Err("Not A Request");
        };
        let mut vias = message.values(Name::Via);
        let top_via = vias.next().ok_or("Missing Via")?;
        let top_via = Via::parse(top_via).ok_or("Malformed Via")?;
        let via_count = 1 + vias.count();
        if via_count > MAX_HOPS {
            return Err("Too Many Via");
        }
        let from = only_line(message, Name::From).ok_or("Missing Or Repeated From")?;
        let from = NameAddr::parse(from).ok_or("Malformed From")?;
        let to = only_line(message, Name::To).ok_or("Missing Or Repeated To")?;
        let to = NameAddr::parse(to).ok_or("Malformed To")?;
        let call_id = only_line(message, Name::CallId).ok_or("Missing Or Repeated Call-ID")?;
        if call_id.is_empty() || call_id.contains(' ') {
            return Err("Malformed Call-ID");
        }
        let cseq = only_line(message, Name::CSeq).ok_or("Missing Or Repeated CSeq")?;
        let cseq = CSeq::parse(cseq).ok_or("Malformed CSeq")?;
        if cseq.method != method.as_str() {
            return Err("CSeq Of Another Method");
        }
        unambiguous(message, method)?;
        for (params, name, malformed) in
            [(&top_via.params, "branch", "Malformed Via"), (&from.params, "tag", "Malformed From"), (&to.params, "tag", "Malformed To")]
        {
            if params.repeats(name) {
                return Err(malformed);
            }
        }
        if message.values(Name::RecordRoute).any(|route| NameAddr::parse(route).is_none()) {
            return Err("Malformed Record-Route");
        }
        if message.values(Name::RecordRoute).count() > MAX_ROUTES {
            return Err("Too Many Record-Route");
        }
        Ok(Self { method: method.clone(), top_via, via_count, from, to, cseq: cseq.number })
    }
}

/// Fields of one value that need not be there, what is said when they have two, and when a quote in them never ends.
const SINGLE: [(Name, &str, &str); 4] = [
    (Name::Event, "Repeated Event", "Malformed Event"),
    (Name::Expires, "Repeated Expires", "Malformed Expires"),
    (Name::MaxForwards, "Repeated Max-Forwards", "Malformed Max-Forwards"),
    (Name::ContentType, "Repeated Content-Type", "Malformed Content-Type"),
];

/// Nothing in a request may be read in two ways.
fn unambiguous(message: &Message, method: &Method) -> Result<(), &'static str> {
    for (name, repeated, malformed) in SINGLE {
        if differs(message.lines(name)) {
            return Err(repeated);
        }
        if message.header(name).is_some_and(|value| !scan::is_closed(value)) {
            return Err(malformed);
        }
    }
    if method.is_subscribe() && differs(message.values(Name::Contact)) { Err("Repeated Contact") } else { Ok(()) }
}

/// Whether a field has two values that are not the same.
fn differs<'a>(mut values: impl Iterator<Item = &'a str>) -> bool {
    values.next().is_some_and(|first| values.any(|value| value != first))
}

/// The only line of a field that must not repeat.
fn only_line(message: &Message, name: Name) -> Option<&str> {
    let mut lines = message.lines(name);
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

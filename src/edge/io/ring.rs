//! The last SIP messages of each subscription, shown without what proves who somebody is. Pure.
//!
//! One queue holds all of them, the oldest first: what is over the bound of bytes goes from its front. A message belongs to the
//! subscription whose id is our tag in it. The first SUBSCRIBE has no tag of ours: it waits, by its Call-ID, for our 2xx, so that
//! nothing is kept of whoever gets none.
//!
//! A message is kept as it was on the wire, since thousands pass for each that is looked at; nobody gets one but through [`Ring::of`],
//! which takes out what is secret.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::SystemTime;

use ahash::{AHashMap, RandomState};

use crate::edge::io::secret;
use crate::edge::subscription::SubscriptionId;
use crate::sip::flow::Transport;

/// First messages that wait for our answer.
const MAX_WAITING: usize = 256;
/// And their bytes.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// What a message costs beside its own bytes: its entry, and its share of the index.
const ENTRY_BYTES: usize = size_of::<Option<Kept>>() + 96;

/// A message that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) at: SystemTime,
    pub(crate) is_ours: bool,
    pub(crate) transport: Transport,
    /// Our address.
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// SIP without the framing of a WebSocket or the encryption of TLS.
    pub(crate) packet: Box<[u8]>,
}

#[derive(Debug)]
struct Kept {
    of: SubscriptionId,
    passed: Passed,
}

#[derive(Debug)]
pub(crate) struct Ring {
    max_messages: usize,
    max_bytes: usize,
    /// `None`: it went before its turn, for a newer one of its subscription.
    kept: VecDeque<Option<Kept>>,
    /// Number of the message at the front.
    first: u64,
    of: AHashMap<SubscriptionId, VecDeque<u64>>,
    bytes: usize,
    waiting: VecDeque<(u64, Passed)>,
    waiting_bytes: usize,
    hasher: RandomState,
}

impl Ring {
    /// A ring of so many messages a subscription and bytes in all; `None` where nothing is kept.
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Option<Self> {
        (max_messages > 0 && max_bytes > 0).then(|| Self {
            max_messages,
            max_bytes,
            kept: VecDeque::new(),
            first: 0,
            of: AHashMap::new(),
            bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            hasher: RandomState::new(),
        })
    }

    /// A message passed; `passed` is made where it may be kept.
    pub(crate) fn pass(&mut self, is_ours: bool, packet: &[u8], passed: impl FnOnce(Box<[u8]>) -> Passed) {
        let Some(facts) = Facts::of(packet) else { return };
        let our_tag = if is_ours == facts.is_request { facts.from_tag } else { facts.to_tag };
        let id = our_tag.and_then(|tag| std::str::from_utf8(tag).ok()).and_then(|tag| tag.parse::<SubscriptionId>().ok());
        let call = self.hasher.hash_one(facts.call_id);
        match id {
            Some(id) if is_ours && facts.begins() => {
                if !facts.is_request {
                    self.take_waiting(call, id);
                }
                self.keep(id, passed(packet.into()));
            }
            Some(id) if self.of.contains_key(&id) => self.keep(id, passed(packet.into())),
            _ if !is_ours && facts.is_request && facts.method == Method::Subscribe => self.wait(call, passed(packet.into())),
            _ => {}
        }
    }

    /// What is kept of a subscription, the oldest first, without what proves who somebody is.
    pub(crate) fn of(&self, id: SubscriptionId) -> impl DoubleEndedIterator<Item = Passed> {
        self.of.get(&id).into_iter().flatten().filter_map(|number| {
            let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
            let passed = &self.kept.get(at)?.as_ref()?.passed;
            Some(Passed { packet: secret::without(passed.packet.clone()), ..*passed })
        })
    }

    fn keep(&mut self, of: SubscriptionId, passed: Passed) {
        let number = self.first.saturating_add(u64::try_from(self.kept.len()).unwrap_or(u64::MAX));
        let numbers = self.of.entry(of).or_default();
        let oldest = if numbers.len() >= self.max_messages { numbers.pop_front() } else { None };
        numbers.push_back(number);
        self.bytes += ENTRY_BYTES + passed.packet.len();
        self.kept.push_back(Some(Kept { of, passed }));
        let at = oldest.and_then(|oldest| usize::try_from(oldest.checked_sub(self.first)?).ok());
        if let Some(gone) = at.and_then(|at| self.kept.get_mut(at)).and_then(Option::take) {
            // its entry is there until its turn
            self.bytes -= gone.passed.packet.len();
        }
        while self.bytes > self.max_bytes || matches!(self.kept.front(), Some(None)) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.kept.pop_front() else { return };
        self.first = self.first.saturating_add(1);
        self.bytes -= ENTRY_BYTES + entry.as_ref().map_or(0, |kept| kept.passed.packet.len());
        let Some(Kept { of, .. }) = entry else { return };
        if let Some(numbers) = self.of.get_mut(&of) {
            numbers.pop_front();
            if numbers.is_empty() {
                self.of.remove(&of);
            }
        }
    }

    fn wait(&mut self, call: u64, passed: Passed) {
        self.waiting_bytes += passed.packet.len();
        self.waiting.push_back((call, passed));
        while self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES {
            let Some((_, gone)) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= gone.packet.len();
        }
    }

    /// What waited for this answer is of the subscription that it grants.
    fn take_waiting(&mut self, call: u64, id: SubscriptionId) {
        while let Some(at) = self.waiting.iter().position(|(of, _)| *of == call) {
            let Some((_, passed)) = self.waiting.remove(at) else { return };
            self.waiting_bytes -= passed.packet.len();
            self.keep(id, passed);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Subscribe,
    Notify,
    Other,
}

/// What the head of a message says of where it belongs.
struct Facts<'a> {
    is_request: bool,
    is_2xx: bool,
    method: Method,
    call_id: &'a [u8],
    from_tag: Option<&'a [u8]>,
    to_tag: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// `None` for what is no message of a dialog, such as a keep-alive.
    fn of(packet: &'a [u8]) -> Option<Self> {
        let packet = packet.trim_ascii_start();
        let start = packet.get(..memchr::memchr(b'\n', packet)?)?;
        let is_request = !start.starts_with(b"SIP/2.0 ");
        let mut facts =
            Self { is_request, is_2xx: start.starts_with(b"SIP/2.0 2"), method: Method::Other, call_id: b"", from_tag: None, to_tag: None };
        for line in secret::head_lines(packet) {
            let Some((name, value)) = secret::header(line) else { continue };
            match name.len() {
                1 | 2 | 4 | 7 => {}
                _ => continue,
            }
            if is_named(name, b"f", b"from") {
                facts.from_tag = tag(value);
            } else if is_named(name, b"t", b"to") {
                facts.to_tag = tag(value);
            } else if is_named(name, b"i", b"call-id") {
                facts.call_id = value.trim_ascii();
            } else if name.eq_ignore_ascii_case(b"cseq") {
                let method = value.trim_ascii().rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
                facts.method = match method {
                    b"SUBSCRIBE" => Method::Subscribe,
                    b"NOTIFY" => Method::Notify,
                    _ => Method::Other,
                };
            }
        }
        (!facts.call_id.is_empty()).then_some(facts)
    }

    /// Whether a message of ours shows that there is such a subscription.
    const fn begins(&self) -> bool {
        match self.method {
            Method::Notify => self.is_request,
            Method::Subscribe => self.is_2xx,
            Method::Other => false,
        }
    }
}

fn is_named(name: &[u8], short: &[u8], long: &[u8]) -> bool {
    name.eq_ignore_ascii_case(short) || name.eq_ignore_ascii_case(long)
}

/// The tag of a From or To: the parameter after the last `>`, so that none in a display name or URI is taken for it.
fn tag(value: &[u8]) -> Option<&[u8]> {
    let params = value.get(memchr::memrchr(b'>', value).map_or(0, |at| at + 1)..)?;
    let of = |param: &'_ [u8]| param.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"tag="));
    params.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).find(|param| of(param)).and_then(|param| param.get(4..))
}

#[cfg(test)]
#[path = "tests/ring.rs"]
mod tests;

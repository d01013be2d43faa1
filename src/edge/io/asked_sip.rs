//! Answers `dfks.sip`: the last SIP messages of a subscription, where they passed here. Whoever has none of it says nothing.

use std::task::{Context, Poll};

use async_nats::SubscribeError;

use crate::bus::client::Bus;
use crate::bus::message::{ErrorBody, Kind, SipDirection, SipMessage, SipRequest, SipResponse};
use crate::bus::service::{Endpoint, EndpointSpec, Request};
use crate::bus::subject::Pattern;
use crate::edge::io::mirror::Mirror;
use crate::edge::io::ring::Passed;
use crate::edge::io::watchers::{error, refuse};
use crate::edge::subscription::SubscriptionId;
use crate::runtime::clock;

/// Requests taken in at a time; one more is told to come again. Each is answered at once.
const MAX_REQUESTS: usize = 16;
/// Bytes of SIP in one answer: as JSON well below the 1 MiB that a server takes. The newest messages are in it.
const MAX_ANSWER_BYTES: usize = 256 << 10;

pub(super) struct AskedSip {
    edge_id: Box<str>,
    endpoint: Endpoint,
    mirror: Mirror,
}

impl AskedSip {
    /// Subscribes; without a queue group, for only one edge can answer.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(super) async fn open(bus: &Bus, edge_id: &str, mirror: Mirror) -> Result<Self, SubscribeError> {
        let spec = EndpointSpec::new::<SipRequest, SipResponse>("sip", Pattern::Sip, bus.subjects().sip(), MAX_REQUESTS);
        Ok(Self { edge_id: edge_id.into(), endpoint: Endpoint::open(bus, spec).await?, mirror })
    }

    /// For the service that it is of.
    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes requests in, and answers those whose messages are here. `true` when there was any.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let mut had_any = false;
        let too_many = |request: &Request| refuse(request, error(503, "too many requests at a time", None));
        while let Poll::Ready(Some(request)) = self.endpoint.poll_request(cx, too_many) {
            had_any = true;
            let answer = match self.answer(&request) {
                Ok(None) => continue,
                Ok(Some(answer)) => serde_json::to_vec(&answer).map_err(|unwritable| error(500, &unwritable.to_string(), None)),
                Err(refusal) => Err(refusal),
            };
            if let Err(error) = request.respond_now(answer.map(Into::into), request.cause()) {
                tracing::debug!(%error, "answer not sent");
            }
        }
        had_any
    }

    fn answer(&self, request: &Request) -> Result<Option<SipResponse>, ErrorBody> {
        let asked: SipRequest =
            serde_json::from_slice(request.payload()).map_err(|unreadable| error(400, &format!("no sip_request: {unreadable}"), None))?;
        let id: SubscriptionId = asked
            .subscription
            .parse()
            .map_err(|why: crate::edge::subscription::SubscriptionIdError| error(400, &why.to_string(), Some("subscription")))?;
        let (mut messages, mut left_off) = (Vec::new(), 0_u64);
        self.mirror.with_ring(|ring| {
            let mut room = MAX_ANSWER_BYTES;
            for passed in ring.of(id).rev() {
                match room.checked_sub(passed.packet.len()).filter(|_| left_off == 0) {
                    Some(left) => {
                        room = left;
                        messages.push(message(&passed));
                    }
                    None => left_off += 1,
                }
            }
        });
        messages.reverse();
        let has_any = !messages.is_empty() || left_off > 0;
        Ok(has_any.then(|| SipResponse {
            kind: Kind::default(),
            edge_id: self.edge_id.to_string(),
            subscription: asked.subscription,
            messages,
            left_off,
        }))
    }
}

/// As text, without a loss: what is no UTF-8 has one character a byte.
fn message(passed: &Passed) -> SipMessage {
    let text = std::str::from_utf8(&passed.packet);
    let is_latin1 = text.is_err();
    let text = text.map_or_else(|_| passed.packet.iter().copied().map(char::from).collect(), str::to_owned);
    SipMessage {
        at: clock::rfc3339(passed.at),
        direction: if passed.is_ours { SipDirection::Out } else { SipDirection::In },
        transport: passed.transport.as_str().to_owned(),
        local: passed.local.to_string(),
        remote: passed.peer.to_string(),
        text,
        is_latin1,
    }
}

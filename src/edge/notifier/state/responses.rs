//! Responses to requests: each is counted, kept for copies of its request, and goes back to where that came from.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::edge::config::EdgeConfig;
use crate::edge::limit::MAX_SERVER_TRANSACTIONS;
use crate::edge::metrics::EdgeMetrics;
use crate::edge::metrics::label::method_label;
use crate::edge::notifier::io::Output;
use crate::edge::refusal::Refusal;
use crate::edge::subscription::destination::Destination;
use crate::edge::subscription::lane::Arrival;
use crate::edge::subscription::write;
use crate::runtime::clock::Now;
use crate::sip::flow::Flow;
use crate::sip::header::Via;
use crate::sip::message::{self, Message, Start};
use crate::sip::name::Name;
use crate::sip::request::Request;
use crate::sip::response;
use crate::sip::transaction::{Begin, ServerTransactions, Timers, TransactionKey};

pub(crate) struct Responses {
    config: Arc<EdgeConfig>,
    metrics: Arc<EdgeMetrics>,
    server: ServerTransactions,
}

impl Responses {
    pub(crate) fn new(config: Arc<EdgeConfig>, metrics: Arc<EdgeMetrics>, now: Instant) -> Self {
        Self { config, metrics, server: ServerTransactions::new(MAX_SERVER_TRANSACTIONS, Timers::default(), now) }
    }

    pub(crate) fn key(&self, request: &Request) -> TransactionKey {
        self.server.key(request)
    }

    /// What a request is to its transaction, without beginning one.
    pub(crate) fn look(&self, key: TransactionKey) -> Begin<'_> {
        self.server.look(key)
    }

    /// From here on copies of the request wait for the same response.
    pub(crate) fn begin(&mut self, key: TransactionKey, now: Instant) {
        let _is_new = self.server.begin(key, now);
    }

    /// Keeps nothing of a request: a copy is handled anew.
    pub(crate) fn forget(&mut self, key: TransactionKey) {
        self.server.forget(key);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    /// A final response, kept for retransmissions where a transaction was begun.
    pub(crate) fn finish(&mut self, arrival: &Arrival, status: u16, packet: Bytes, now: Now) -> Output {
        let Arrival { request, key, flow, at, .. } = arrival;
        self.count(request, *flow, status, *at, now);
        self.server.complete(*key, &packet, flow.transport.is_reliable(), now.at);
        back(request, *flow, packet)
    }

    /// The response that says why a request is refused.
    pub(crate) fn refuse(&mut self, arrival: &Arrival, refusal: &Refusal, now: Now) -> Output {
        let packet = self.written(&arrival.request, arrival.flow, refusal);
        self.finish(arrival, refusal.status, packet, now)
    }

    /// 503 to a request that is not looked at any further; `None` where nothing can be answered.
    pub(crate) fn refuse_unread(&self, flow: Flow, bytes: &[u8], now: Now) -> Option<Output> {
        let message = message::parse(bytes).ok()?;
        if !matches!(message.start(), Start::Request { method, .. } if !method.is_ack()) {
            return None;
        }
        let request = Request::from_message(message).ok()?;
        let packet = self.written(&request, flow, &Refusal::unavailable());
        self.count(&request, flow, 503, now.at, now);
        Some(back(&request, flow, packet))
    }

    /// The response to what could be read only in part, if it has all that a response echoes.
    pub(crate) fn refuse_malformed(&self, message: &Message, reason: &str, status: u16, flow: Flow) -> Option<Output> {
        let Start::Request { method, .. } = message.start() else { return None };
        let mut writer = response::to_message(message, status, reason, flow.peer)?;
        writer.to_tag("malformed");
        let packet = writer.finish();
        self.metrics.request(method_label(method), flow.transport, status);
        let via = message.values(Name::Via).next().and_then(Via::parse);
        let to = via.map_or(Destination::Flow(flow), |via| via_destination(&via, flow));
        Some(Output::Send { to, packet, notify: None })
    }

    fn written(&self, request: &Request, flow: Flow, refusal: &Refusal) -> Bytes {
        let mut writer = response::response(request, refusal.status, flow.peer);
        writer.to_tag(&self.server.key(request).tag());
        for (name, value) in &refusal.headers {
            writer.header(name, value);
        }
        if let Some(warning) = &refusal.warning {
            writer.header("Warning", warning_value(self.advertised(flow), warning));
        }
        writer.finish()
    }

    fn count(&self, request: &Request, flow: Flow, status: u16, arrived_at: Instant, now: Now) {
        let method = method_label(request.method());
        self.metrics.request(method, flow.transport, status);
        self.metrics.request_took(method, now.at.saturating_duration_since(arrived_at));
    }

    /// Our Contact, as the phone on this flow reaches us.
    pub(crate) fn contact_of(&self, flow: Flow, is_sips: bool) -> String {
        format!("<{}>", write::contact(flow.transport, self.advertised(flow), is_sips))
    }

    fn advertised(&self, flow: Flow) -> &str {
        self.config.advertised(flow.listener)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.server.len()
    }
}

/// A response on its way back.
pub(crate) fn back(request: &Request, flow: Flow, packet: Bytes) -> Output {
    Output::Send { to: via_destination(request.top_via(), flow), packet, notify: None }
}

/// Where a response goes: to where the request came from, as its Via allows. Source: RFC 3261 §18.2.2, RFC 3581.
fn via_destination(via: &Via, flow: Flow) -> Destination {
    if flow.transport.is_reliable() {
        return Destination::Flow(flow);
    }
    Destination::Flow(Flow { peer: response::response_destination(via, flow.peer), ..flow })
}

/// `399 agent "text"`. Source: RFC 3261 §20.43.
fn warning_value(agent: &str, text: &str) -> String {
    let text: String =
        text.chars().filter(|c| !c.is_control()).flat_map(|c| (matches!(c, '"' | '\\')).then_some('\\').into_iter().chain([c])).collect();
    format!("399 {agent} \"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::trace::Cause;
    use crate::edge::limit::CAPACITIES;
    use crate::edge::notifier::tests::fixture::{config, subscribe};
    use crate::runtime::clock;
    use crate::sip::flow::Transport;

    fn arrival(responses: &Responses, now: Now) -> Arrival {
        let text = subscribe("a", 1, None, "", "").replace('\n', "\r\n");
        let request = Request::from_message(message::parse(text.as_bytes()).unwrap()).unwrap();
        let flow = Flow { transport: Transport::Udp, listener: 0, peer: "192.0.2.9:5099".parse().unwrap(), connection: None };
        Arrival { key: responses.key(&request), request, flow, at: now.at, cause: Cause::new() }
    }

    #[test]
    fn a_response_is_kept_only_where_a_transaction_was_begun() {
        let now = clock::moment();
        let metrics = Arc::new(EdgeMetrics::new(&[Transport::Udp], &CAPACITIES));
        let mut responses = Responses::new(Arc::new(config()), metrics, now.at);
        let arrival = arrival(&responses, now);
        let Output::Send { to, packet, notify: None } = responses.refuse(&arrival, &Refusal::unavailable(), now) else {
            panic!("a response")
        };
        assert_eq!(to, Destination::Flow(arrival.flow), "rport: where it came from");
        assert!(packet.starts_with(b"SIP/2.0 503 "));
        assert_eq!((responses.look(arrival.key), responses.len()), (Begin::New, 0));
        responses.begin(arrival.key, now.at);
        assert_eq!(responses.look(arrival.key), Begin::Retransmission(None));
        responses.refuse(&arrival, &Refusal::unavailable(), now);
        assert_eq!(responses.look(arrival.key), Begin::Retransmission(Some(&packet)), "the same bytes again");
        responses.forget(arrival.key);
        assert_eq!(responses.look(arrival.key), Begin::New);
    }

    #[test]
    fn a_warning_cannot_leave_its_quotes() {
        assert_eq!(warning_value("h:1", "a \"b\\\"\r\nc"), "399 h:1 \"a \\\"b\\\\\\\"c\"");
    }
}

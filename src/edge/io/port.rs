//! The edge's side of the bus: many requests in flight without a task or future for each.
//!
//! All replies come to one inbox; the last token of their subject is the [`Token`] of the request. The notifier's wheel
//! says when a reply is late.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use ahash::AHashMap;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::bus::answer;
use crate::bus::client::Bus;
use crate::bus::error::{PublishError, RequestError};
use crate::bus::kv;
use crate::bus::local::Asked;
use crate::bus::message::{GetRequest, RouteSetRequest};
use crate::bus::span::{Open, SpanKind, name};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};
use crate::bus::wire::Subscriber;
use crate::edge::event::Event;
use crate::edge::io::events::Events;
use crate::edge::limit::MAX_WAITS;
use crate::edge::notifier::{BusReply, BusRequest, ReplyMessage, Token, Unavailable};
use crate::runtime::{clock, room};

pub(crate) struct Port {
    bus: Bus,
    inbox: String,
    replies: Subscriber,
    /// Answers of the worker of this process.
    local: mpsc::Receiver<(Token, BusReply)>,
    to_local: mpsc::Sender<(Token, BusReply)>,
    asked: AHashMap<u64, Waiting>,
    /// Requests that wait for a worker to show itself. No more than the notifier waits for.
    held: FuturesUnordered<BoxFuture<'static, (Token, Outgoing, bool)>>,
    events: Events<Event>,
    /// Whether a request was sent since the events were looked at.
    has_sent: bool,
}

/// How long an answer may take before it counts as none: above every timeout of the notifier.
const ANSWER_KEPT_FOR: Duration = Duration::from_secs(10);

/// A request that has no answer yet.
struct Waiting {
    pattern: Pattern,
    asked_at: Instant,
    span: Option<Box<Open<'static>>>,
}

/// A request in the form it is published in.
struct Outgoing {
    pattern: Pattern,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Port {
    /// Subscribes to an inbox of its own.
    ///
    /// # Errors
    ///
    /// When the client refuses the subscription: it is closed.
    pub(crate) async fn open(bus: Bus) -> Result<Self, async_nats::SubscribeError> {
        let inbox = bus.client().new_inbox();
        let replies = bus.client().subscribe(format!("{inbox}.*")).await?;
        let (to_local, local) = mpsc::channel(MAX_WAITS);
        let (asked, held, events) = (AHashMap::new(), FuturesUnordered::new(), Events::default());
        Ok(Self { bus, inbox, replies, local, to_local, asked, held, events, has_sent: false })
    }

    /// Sends a request; its reply comes out of [`Port::poll_reply`], or [`Port::poll_local`] where a worker of this process has it.
    ///
    /// # Errors
    ///
    /// The request is not sent: the bus is away, or its queue is full.
    pub(crate) fn ask(&mut self, token: Token, request: BusRequest, cause: &Cause) -> Result<(), PublishError> {
        let span = cause.open(span_name(&request), SpanKind::Client);
        self.has_sent = true;
        let (pattern, request) = match request {
            BusRequest::Get(request) => match self.hand_get(token, request, span.cause()) {
                Ok(()) => (Pattern::Get, None),
                Err(request) => (Pattern::Get, Some(BusRequest::Get(request))),
            },
            BusRequest::RouteSet(request) => match self.hand_set(token, request, span.cause()) {
                Ok(()) => (Pattern::RouteSet, None),
                Err(request) => (Pattern::RouteSet, Some(BusRequest::RouteSet(request))),
            },
            other => (Pattern::SubscriptionBucket, Some(other)),
        };
        let Some(request) = request else {
            self.asked.insert(token.0, Waiting { pattern, asked_at: clock::now(), span: span.kept() });
            return Ok(());
        };
        let outgoing = self.outgoing(request, span.cause());
        let span = span.kept();
        if matches!(pattern, Pattern::Get | Pattern::RouteSet) && self.bus.presence().is_absent() {
            let bus = self.bus.clone();
            self.held.push(Box::pin(async move { (token, outgoing, bus.is_worker_there().await) }));
            self.asked.insert(token.0, Waiting { pattern, asked_at: clock::now(), span });
            return Ok(());
        }
        self.send(token, outgoing, span)
    }

    fn send(&mut self, token: Token, outgoing: Outgoing, span: Option<Box<Open<'static>>>) -> Result<(), PublishError> {
        let reply_to = format!("{}.{}", self.inbox, token.0);
        self.bus.try_publish(outgoing.pattern, outgoing.subject, Some(reply_to), outgoing.headers, outgoing.payload)?;
        self.asked.insert(token.0, Waiting { pattern: outgoing.pattern, asked_at: clock::now(), span });
        Ok(())
    }

    /// The next reply, if one is here. `None` in the option: the inbox is closed.
    pub(crate) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Token, BusReply)>> {
        loop {
            let Some(message) = ready!(self.replies.poll_next_unpin(cx)) else { return Poll::Ready(None) };
            let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
            if let Some(token) = token {
                if self.is_passed_over(token, &message) {
                    tracing::debug!("what came on the inbox is no answer");
                    continue;
                }
                let reply = read(message, self.bus.utc_now());
                self.answered(token, &reply);
                return Poll::Ready(Some((Token(token), reply)));
            }
        }
    }

    /// The next answer of the worker of this process, or that no worker is there.
    pub(crate) fn poll_local(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Token, BusReply)>> {
        while let Poll::Ready(Some((token, outgoing, is_there))) = self.held.poll_next_unpin(cx) {
            // given up meanwhile
            let Some(waiting) = self.asked.get_mut(&token.0) else { continue };
            let span = waiting.span.take();
            let why = match is_there {
                false => Unavailable::NoResponders,
                true if self.send(token, outgoing, span).is_ok() => continue,
                true => Unavailable::NotSent,
            };
            let reply = BusReply::Unavailable(why);
            self.answered(token.0, &reply);
            return Poll::Ready(Some((token, reply)));
        }
        let answer = ready!(self.local.poll_recv(cx));
        if let Some((token, reply)) = &answer {
            self.answered(token.0, reply);
        }
        Poll::Ready(answer)
    }

    fn hand_get(&self, token: Token, request: GetRequest, cause: &Cause) -> Result<(), GetRequest> {
        let answers = self.to_local.clone();
        // full, it is late: then nobody waits for this one any more
        let answer = move |got| drop(answers.try_send((token, BusReply::States(Box::new(got)))));
        self.bus.hand_get(Asked::new(Box::new(request), cause.clone(), answer)).map_err(|asked| *asked.request)
    }

    fn hand_set(&self, token: Token, request: Box<RouteSetRequest>, cause: &Cause) -> Result<(), Box<RouteSetRequest>> {
        let answers = self.to_local.clone();
        let answer = move |got| drop(answers.try_send((token, BusReply::Set(Box::new(got)))));
        self.bus.hand_set(Asked::new(request, cause.clone(), answer)).map_err(|asked| asked.request)
    }

    /// Counts the requests that were never answered as such.
    pub(crate) fn forget_unanswered(&mut self, now: Instant) {
        let bus = &self.bus;
        self.asked.retain(|_, Waiting { pattern, asked_at, span }| {
            let waited = now.saturating_duration_since(*asked_at);
            let is_waited_for = waited < ANSWER_KEPT_FOR;
            if !is_waited_for {
                let error = RequestError::Timeout(waited);
                bus.request_ended(*pattern, Some(&error), waited);
                if let Some(span) = span.take() {
                    span.end(Some(&error));
                }
            }
            is_waited_for
        });
        room::shrink(&mut self.asked);
    }

    /// Has an event published with what is sent next, or soon, best effort.
    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(event, clock::now());
    }

    /// Publishes the events whose time it is.
    pub(crate) fn publish_events(&mut self) {
        let has_company = std::mem::take(&mut self.has_sent);
        if self.events.leave_at().is_some() {
            self.events.leaving(has_company, clock::now()).for_each(|event| publish(&self.bus, event));
        }
    }

    /// Something was sent that events may leave with.
    pub(crate) fn sent_besides(&mut self) {
        self.has_sent = true;
    }

    /// When [`Port::publish_events`] has something to do at the latest.
    pub(crate) fn events_leave_at(&self) -> Option<Instant> {
        self.events.leave_at()
    }

    /// Whether something else than a service says this: a stream that keeps requests acknowledges each. Our own stores are
    /// answered so.
    fn is_passed_over(&self, token: u64, message: &Message) -> bool {
        let asks_a_service = self
            .asked
            .get(&token)
            .is_some_and(|waiting| matches!(waiting.pattern, Pattern::Get | Pattern::RouteSet | Pattern::ResponderAuth));
        asks_a_service && message.status.is_none() && !answer::is_answer(message)
    }

    fn answered(&mut self, token: u64, reply: &BusReply) {
        let Some(Waiting { pattern, asked_at, span }) = self.asked.remove(&token) else { return };
        let error = match reply {
            BusReply::Message(ReplyMessage { status: Some(503), .. }) | BusReply::Unavailable(Unavailable::NoResponders) => {
                Some(RequestError::NoResponders)
            }
            _ => None,
        };
        self.bus.request_ended(pattern, error.as_ref(), clock::now().saturating_duration_since(asked_at));
        if let Some(span) = span {
            span.end(error.as_ref());
        }
    }

    fn outgoing(&self, request: BusRequest, cause: &Cause) -> Outgoing {
        let subjects = self.bus.subjects();
        let headers = headers(cause);
        match request {
            BusRequest::Store { id, record, ttl, expected_revision } => {
                let headers = kv::put_headers(expected_revision, Some(ttl), cause);
                let subject = subjects.subscription_key(&id.to_string());
                Outgoing { pattern: Pattern::SubscriptionBucket, subject, headers, payload: json(&record) }
            }
            BusRequest::Remove { id, expected_revision, covers } => {
                let headers = kv::removal_headers(expected_revision, covers, cause);
                let subject = subjects.subscription_key(&id.to_string());
                Outgoing { pattern: Pattern::SubscriptionBucket, subject, headers, payload: Bytes::new() }
            }
            BusRequest::Lookup { id } => {
                let subject = subjects.subscription_lookup(&id.to_string());
                Outgoing { pattern: Pattern::SubscriptionBucket, subject, headers: HeaderMap::new(), payload: Bytes::new() }
            }
            BusRequest::Auth { presentity, request } => Outgoing {
                pattern: Pattern::ResponderAuth,
                subject: subjects.responder_auth(&presentity),
                headers,
                payload: json(&request),
            },
            BusRequest::Get(request) => Outgoing { pattern: Pattern::Get, subject: subjects.get(), headers, payload: json(&request) },
            BusRequest::RouteSet(request) => {
                Outgoing { pattern: Pattern::RouteSet, subject: subjects.route_set(), headers, payload: json(&request) }
            }
        }
    }

    /// Whether the bus is there.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.bus.is_connected()
    }

    /// The time of day at NATS.
    #[must_use]
    pub(crate) fn utc_now(&self) -> SystemTime {
        self.bus.utc_now()
    }

    /// Sends what is queued, before the process ends.
    pub(crate) async fn flush(&mut self) {
        if !self.bus.flush().await {
            tracing::warn!("events of the last moment may be lost");
        }
    }
}

fn publish(bus: &Bus, event: Event) {
    let subjects = bus.subjects();
    match event {
        Event::Subscription(presentity, event) => {
            bus.publish_event(Pattern::EventSubscription, subjects.event_subscription(&presentity), &event, &event.cause);
        }
        Event::Feature(presentity, event) => {
            bus.publish_event(Pattern::EventFeature, subjects.event_feature(&presentity, &event.feature), &event, &event.cause);
        }
        Event::Notify(presentity, event) => {
            bus.publish_event(Pattern::EventNotify, subjects.event_notify(&presentity), &event, &event.cause);
        }
        Event::Refused(event) => bus.publish_refused(&event),
        Event::Raw(presentity, event) => {
            bus.publish_event(Pattern::EventRaw, subjects.event_raw(&presentity), &event, &event.cause);
        }
    }
}

/// What a request's span is called.
const fn span_name(request: &BusRequest) -> &'static str {
    match request {
        BusRequest::Get(_) => Pattern::Get.as_str(),
        BusRequest::RouteSet(_) => Pattern::RouteSet.as_str(),
        BusRequest::Auth { .. } => Pattern::ResponderAuth.as_str(),
        BusRequest::Store { .. } | BusRequest::Remove { .. } | BusRequest::Lookup { .. } => name::STORE_SUBSCRIPTION,
    }
}

impl From<PublishError> for Unavailable {
    fn from(_: PublishError) -> Self {
        Self::NotSent
    }
}

fn json<T: serde::Serialize>(value: &T) -> Bytes {
    // most are records: room that it need not be moved for
    let mut text = Vec::with_capacity(1024);
    // Our own types have string keys only: they always have a JSON form.
    let _infallible = serde_json::to_writer(&mut text, value);
    text.into()
}

fn read(message: Message, now: SystemTime) -> BusReply {
    let headers = message.headers.unwrap_or_default();
    BusReply::Message(ReplyMessage {
        status: message.status.map(|status| status.as_u16()),
        sequence: kv::revision(&headers),
        is_deleted: kv::is_gone(&headers, now),
        removed_over: kv::removed_over(&headers),
        payload: message.payload,
    })
}

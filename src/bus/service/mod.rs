//! A NATS service (ADR-32): endpoints with a bound, replies within a time, and the answers to `$SRV.PING`, `INFO` and `STATS`.
//!
//! ```text
//! request ─▶ Endpoint ─▶ in hand, up to the limit ─▶ handler ─▶ Request::respond ─▶ reply, counted
//!               │
//!               └─ one more than the limit ─▶ 503 at once
//! shutdown ─▶ unsubscribed ─▶ what is in hand is finished ─▶ serve returns; also while NATS is away
//! ```
//!
//! Not the service API of the client: that one counts only errors that it writes itself, without a body; it has no bound,
//! and none of its endpoints goes without a queue group.

mod discovery;
mod reply;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, SubscribeError};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, select_all};
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::reply::reason_text;

use self::discovery::{EndpointView, Identity, Tally, Verb};
use crate::bus::client::Bus;
use crate::bus::error::PublishError;
use crate::bus::message::{ErrorBody, Named};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers, new_id};
use crate::bus::wire::Subscriber;
use crate::runtime::{clock, tasks};

/// What an endpoint is called, and where it listens.
#[derive(Debug)]
pub(crate) struct EndpointSpec {
    name: &'static str,
    subject: String,
    queue_group: Option<String>,
    pattern: Pattern,
    limit: usize,
    metadata: BTreeMap<&'static str, String>,
}

impl EndpointSpec {
    /// An endpoint that takes messages `Q` and answers with `A`, at most `limit` of them in hand.
    pub(crate) fn new<Q: Named, A: Named>(name: &'static str, pattern: Pattern, subject: String, limit: usize) -> Self {
        let metadata = BTreeMap::from([("request", Q::TYPE.to_owned()), ("response", A::TYPE.to_owned())]);
        Self { name, subject, queue_group: None, pattern, limit, metadata }
    }

    /// Each request goes to one instance of this group, instead of to all.
    pub(crate) fn in_group(self, queue_group: String) -> Self {
        Self { queue_group: Some(queue_group), ..self }
    }
}

/// Where the requests of one subject come in.
#[derive(Debug)]
pub(crate) struct Endpoint {
    requests: Subscriber,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bus: Bus,
    spec: EndpointSpec,
    in_hand: AtomicUsize,
    tally: Mutex<Tally>,
}

/// What becomes of requests.
pub(crate) trait Handler: Sync {
    /// Handles one request; its reply goes out through [`Request::respond`].
    fn handle(&self, request: Request) -> impl Future<Output = ()> + Send;

    /// One request more than the limit came. Counts it, and says what it is refused with.
    fn turn_away(&self) -> ErrorBody;

    /// A reply could not be sent.
    fn reply_not_sent(&self);
}

impl Endpoint {
    /// Subscribes.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]: the client is closed.
    pub(crate) async fn open(bus: &Bus, spec: EndpointSpec) -> Result<Self, SubscribeError> {
        let requests = match &spec.queue_group {
            Some(group) => bus.client().queue_subscribe(spec.subject.clone(), group.clone()).await?,
            None => bus.client().subscribe(spec.subject.clone()).await?,
        };
        let shared = Shared { bus: bus.clone(), spec, in_hand: AtomicUsize::new(0), tally: Mutex::default() };
        Ok(Self { requests, shared: Arc::new(shared) })
    }

    /// Its places, for requests that come another way than over NATS: together they are no more than the limit.
    pub(crate) fn places(&self) -> Places {
        Places { shared: Arc::clone(&self.shared) }
    }

    /// Handles requests until `shutdown`, then finishes what is in hand. Returns early if the subscription ends.
    ///
    /// After `shutdown` it waits no longer than `nats.timeout_ms` for the end of the subscription, which does not come while
    /// NATS is away.
    pub(crate) async fn serve(mut self, handler: &impl Handler, shutdown: &CancellationToken) {
        let timeout = self.shared.bus.timeout();
        let gives_up = async {
            shutdown.cancelled().await;
            tokio::time::sleep(timeout).await;
        };
        tokio::pin!(gives_up);
        let mut is_stopping = false;
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.unsubscribe();
                }
                () = &mut gives_up => break,
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                request = self.next(handler) => match request {
                    Some(request) => in_hand.push(handler.handle(request)),
                    None => break,
                },
            }
        }
        while in_hand.next().await.is_some() {}
    }

    /// The next request within the limit; `None` once the subscription has ended. One over the limit goes to `refuse`.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>, refuse: impl Fn(&Request)) -> Poll<Option<Request>> {
        loop {
            let Some(message) = ready!(self.requests.poll_next_unpin(cx)) else { return Poll::Ready(None) };
            let request = Request::new(message, &self.shared);
            if request.place <= self.shared.spec.limit {
                return Poll::Ready(Some(request));
            }
            refuse(&request);
        }
    }

    async fn next(&mut self, handler: &impl Handler) -> Option<Request> {
        let refuse = |request: &Request| {
            if request.respond_now(Err(handler.turn_away()), request.cause()).is_err() {
                handler.reply_not_sent();
            }
        };
        poll_fn(|cx| self.poll_request(cx, refuse)).await
    }

    /// Takes in nothing new; what the server has sent already still comes.
    fn unsubscribe(&mut self) {
        let is_sent = tokio::task::unconstrained(self.requests.drain()).now_or_never().is_some_and(|sent| sent.is_ok());
        if !is_sent {
            tracing::warn!(subject = self.shared.spec.pattern.as_str(), "subscription not ended: the queue to nats is full");
        }
    }
}

/// The places of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    shared: Arc<Shared>,
}

/// The place of a request that is in hand, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
}

impl Places {
    /// How many there are.
    pub(crate) fn limit(&self) -> usize {
        self.shared.spec.limit
    }

    /// A place, if there is one within the limit.
    pub(crate) fn take(&self) -> Option<Place> {
        let place = Place { shared: Arc::clone(&self.shared) };
        (self.shared.in_hand.fetch_add(1, Ordering::Relaxed) < self.shared.spec.limit).then_some(place)
    }
}

impl Place {
    /// Counts the request, as answered with this error or none.
    pub(crate) fn ended(&self, took: Duration, error: Option<&ErrorBody>) {
        self.shared.tally().request_ended(took, error);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request in hand, until it is dropped.
#[derive(Debug)]
pub(crate) struct Request {
    message: Message,
    cause: Cause,
    received_at: Instant,
    /// How many were in hand with this one.
    place: usize,
    shared: Arc<Shared>,
}

impl Request {
    fn new(mut message: Message, shared: &Arc<Shared>) -> Self {
        // Answering is permitted on whatever a request names: nobody is to have us write where only we may.
        if message.reply.as_ref().is_some_and(|reply| shared.bus.subjects().is_no_inbox(reply)) {
            message.reply = None;
            shared.bus.reply_refused(shared.spec.pattern);
        }
        Self {
            cause: Cause::of_headers(message.headers.as_ref()),
            message,
            received_at: clock::now(),
            place: shared.in_hand.fetch_add(1, Ordering::Relaxed) + 1,
            shared: Arc::clone(shared),
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.message.payload
    }

    /// The domain in its subject, where it came on one of a tenant: `dfks.get.<domain>`.
    pub(crate) fn domain(&self) -> Option<&str> {
        let before = self.shared.spec.subject.strip_suffix('*')?;
        self.message.subject.strip_prefix(before)
    }

    /// What it goes back to.
    pub(crate) fn cause(&self) -> &Cause {
        &self.cause
    }

    /// When it was taken in.
    pub(crate) fn received_at(&self) -> Instant {
        self.received_at
    }

    /// Whether anybody waits for a reply.
    pub(crate) fn wants_reply(&self) -> bool {
        self.message.reply.is_some()
    }

    /// Sends the reply, and counts the request. `false`: the queue to NATS was full for `nats.timeout_ms`, or is closed.
    pub(crate) async fn respond(&self, reply: Result<Bytes, ErrorBody>, cause: &Cause) -> bool {
        let (headers, payload) = self.written(reply, cause);
        let Some(reply_to) = self.message.reply.clone() else { return true };
        let bus = &self.shared.bus;
        let sent = bus.client().send(reply_to, None::<String>, headers, payload);
        matches!(tokio::time::timeout(bus.timeout(), sent).await, Ok(Ok(())))
    }

    /// As [`respond`](Self::respond), without ever waiting.
    ///
    /// # Errors
    ///
    /// [`PublishError`]
    pub(crate) fn respond_now(&self, reply: Result<Bytes, ErrorBody>, cause: &Cause) -> Result<(), PublishError> {
        let (headers, payload) = self.written(reply, cause);
        self.send(headers, payload)
    }

    /// Sends one message of a reply that has more.
    ///
    /// # Errors
    ///
    /// [`PublishError`]
    pub(crate) fn respond_in_part(&self, payload: Bytes, cause: &Cause) -> Result<(), PublishError> {
        self.send(headers(cause), payload)
    }

    fn send(&self, headers: HeaderMap, payload: Bytes) -> Result<(), PublishError> {
        let Some(reply_to) = &self.message.reply else { return Ok(()) };
        self.shared.bus.try_publish(self.shared.spec.pattern, reply_to.to_string(), None, headers, payload)
    }

    fn written(&self, reply: Result<Bytes, ErrorBody>, cause: &Cause) -> (HeaderMap, Bytes) {
        let took = clock::now().saturating_duration_since(self.received_at);
        self.shared.tally().request_ended(took, reply.as_ref().err());
        match reply {
            Ok(payload) => (headers(cause), payload),
            Err(error) => reply::error(error, cause),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.shared.in_hand.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> EndpointView<'_> {
        EndpointView {
            name: self.spec.name,
            subject: &self.spec.subject,
            queue_group: self.spec.queue_group.as_deref().unwrap_or_default(),
            metadata: &self.spec.metadata,
            tally: self.tally().clone(),
        }
    }
}

/// An instance of a service, shown to whoever asks until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Service {
    _discovery: AbortOnDropHandle<()>,
}

impl Service {
    /// Answers `$SRV.PING`, `INFO` and `STATS` for these endpoints until `shutdown`: to all, by name, and by name and id.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`]: the client is closed.
    pub(crate) async fn announce(
        bus: &Bus,
        name: String,
        description: &'static str,
        metadata: BTreeMap<&'static str, String>,
        endpoints: &[&Endpoint],
        shutdown: CancellationToken,
    ) -> Result<Self, SubscribeError> {
        let identity = Identity::new(name, new_id(), metadata);
        let mut questions = Vec::new();
        for verb in Verb::ALL {
            for subject in verb.subjects(&identity) {
                questions.push(bus.client().subscribe(subject).await?.map(move |question| (verb, question)));
            }
        }
        let endpoints: Vec<_> = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.shared)).collect();
        let bus = bus.clone();
        let discovery = async move {
            let started = clock::rfc3339(clock::utc_now());
            let mut questions = select_all(questions);
            while let Some(Some((verb, question))) = shutdown.run_until_cancelled(questions.next()).await {
                let Some(reply_to) = question.reply else { continue };
                let views: Vec<_> = endpoints.iter().map(|endpoint| endpoint.view()).collect();
                let answer = discovery::answer(verb, &identity, description, &started, &views);
                // late, nobody waits for it any more
                let _late = tokio::time::timeout(bus.timeout(), bus.client().publish(reply_to, answer.into())).await;
            }
        };
        Ok(Self { _discovery: tasks::spawn_owned(discovery) })
    }
}

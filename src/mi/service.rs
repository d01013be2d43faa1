//! The NATS service `dfks-mi` (ADR-32): commands from `dfks.set`, carried out at the same time. I/O.
//!
//! One task holds all commands in one set of futures, and no more than [`MAX_IN_HAND`] of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::header::HeaderValue;
use async_nats::service::endpoint::Endpoint;
use async_nats::service::{Request, Service, ServiceExt};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::bus::message::{ERROR_CODE_HEADER, ERROR_HEADER, ErrorBody, ErrorReply, Named, SetRequest, SetResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, TRACEPARENT};
use crate::bus::{Bus, headers};
use crate::feature::FeatureTable;
use crate::mi::bridge::{Bridge, Fanout};
use crate::mi::command;
use crate::mi::error::MiError;
use crate::mi::metrics::{DropReason, Way};
use crate::runtime::clock;

/// Most commands in hand. One more is answered 503 at once.
pub const MAX_IN_HAND: usize = 256;

/// Serves `dfks.set` until `shutdown`: then it takes in nothing new, finishes what is in hand and returns.
///
/// The streams and buckets must be there. `on_serving` is called once commands reach it.
///
/// # Errors
///
/// [`MiError`]: a service that cannot be registered, a subscription that ended.
pub async fn run<F: Fanout>(
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    on_serving: impl FnOnce(),
    shutdown: CancellationToken,
) -> Result<(), MiError> {
    let bus = bridge.bus().clone();
    let errors = Arc::new(AtomicU64::new(0));
    let service = register(&bus, Arc::clone(&errors)).await?;
    let metadata = HashMap::from([("request".to_owned(), SetRequest::TYPE.into()), ("response".to_owned(), SetResponse::TYPE.into())]);
    let requests = service.endpoint_builder().name("set").metadata(metadata).add(bus.subjects().set()).await.map_err(MiError::Service)?;
    // The subscription is in place when the server has answered; without a server it follows with the connection.
    let is_serving = matches!(tokio::time::timeout(bus.timeout(), bus.client().flush()).await, Ok(Ok(())));
    tracing::info!(queue_group = bus.subjects().mi_service(), is_serving, "mi bridge started");
    on_serving();

    let desk = Desk { bridge, table, errors };
    desk.serve(requests, service, &shutdown).await;
    if !shutdown.is_cancelled() {
        return Err(MiError::EndedEarly);
    }
    tracing::info!("mi bridge stopped");
    Ok(())
}

async fn register(bus: &Bus, errors: Arc<AtomicU64>) -> Result<Service, MiError> {
    let name = bus.subjects().mi_service();
    let service = bus
        .client()
        .service_builder()
        .description("carries out dfks commands: has a worker run the set route, and the phones notified")
        .queue_group(&name)
        // The service API counts only the errors that it replies itself, and those have no body.
        .stats_handler(move |_endpoint, _stats| serde_json::json!({ "error_replies": errors.load(Ordering::Relaxed) }));
    service.start(&name, env!("CARGO_PKG_VERSION")).await.map_err(MiError::Service)
}

/// Where commands are taken in and replies given out.
#[derive(Debug)]
struct Desk<F> {
    bridge: Arc<Bridge<F>>,
    table: Arc<FeatureTable>,
    errors: Arc<AtomicU64>,
}

impl<F: Fanout> Desk<F> {
    /// Handles commands until the subscription ends, then finishes what is in hand.
    async fn serve(&self, mut requests: Endpoint, service: Service, shutdown: &CancellationToken) {
        let mut service = Some(service);
        let mut in_hand = FuturesUnordered::new();
        // Without a connection the subscription does not end by itself.
        let patience = tokio::time::sleep(self.bridge.bus().timeout());
        tokio::pin!(patience);
        loop {
            tokio::select! {
                () = shutdown.cancelled(), if service.is_some() => {
                    patience.as_mut().reset(tokio::time::Instant::from_std(clock::now() + self.bridge.bus().timeout()));
                    if let Some(service) = service.take() && let Err(error) = service.stop().await {
                        tracing::warn!(%error, "mi service not deregistered");
                    }
                }
                () = &mut patience, if service.is_none() => break,
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                request = requests.next() => match request {
                    Some(request) if in_hand.len() < MAX_IN_HAND => in_hand.push(self.handle(request)),
                    Some(request) => self.turn_away(request.message),
                    None => break,
                },
            }
        }
        while in_hand.next().await.is_some() {}
    }

    async fn handle(&self, request: Request) {
        let metrics = self.bridge.metrics();
        let started_at = clock::now();
        let _in_flight = metrics.command_started(Way::Bus);
        let cause = cause_of(&request.message);
        let command = command::read(&self.table, &request.message.payload);
        let result = match &command {
            Ok(command) => self.bridge.carry_out(command, None, &cause).await,
            Err(error) => Err(error.clone().into()),
        };
        let failure = result.as_ref().err().cloned();
        metrics.command_ended(failure.as_ref().map(|failure| &failure.body), clock::now().saturating_duration_since(started_at));
        if request.message.reply.is_some() {
            let (payload, headers) = self.reply(result.map_err(|failure| failure.body), &cause);
            let sent = request.respond_with_headers(Ok(payload), headers);
            // A queue to NATS that stays full while the connection is away must not hold the command for ever.
            if !matches!(tokio::time::timeout(self.bridge.bus().timeout(), sent).await, Ok(Ok(()))) {
                metrics.dropped(DropReason::ReplyNotSent);
            }
        }
        // the reply does not wait for what the event needs to know
        if let (Ok(command), Some(failure)) = (&command, &failure) {
            self.bridge.tell_refused(command, failure, None, &cause).await;
        }
    }

    /// Answers 503 at once, without waiting for anything.
    fn turn_away(&self, message: Message) {
        self.bridge.metrics().command_turned_away(Way::Bus);
        let error = ErrorBody { code: 503, description: format!("{MAX_IN_HAND} commands are in hand already"), field: None };
        let (payload, headers) = self.reply(Err(error), &cause_of(&message));
        if let Some(subject) = message.reply
            && self.bridge.bus().try_publish(Pattern::Set, subject.into_string(), None, headers, payload).is_err()
        {
            self.bridge.metrics().dropped(DropReason::ReplyNotSent);
        }
    }

    fn reply(&self, result: Result<SetResponse, ErrorBody>, cause: &Cause) -> (Bytes, HeaderMap) {
        let written = result.and_then(|response| {
            serde_json::to_vec(&response).map_err(|error| ErrorBody { code: 500, description: error.to_string(), field: None })
        });
        match written {
            Ok(payload) => (payload.into(), headers(cause)),
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                error_reply(error, cause)
            }
        }
    }
}

/// The id that what follows from a message carries on.
fn cause_of(message: &Message) -> Cause {
    Cause::of_traceparent(message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT)).map(HeaderValue::as_str))
}

/// An error as the body and as the headers of ADR-32.
fn error_reply(error: ErrorBody, cause: &Cause) -> (Bytes, HeaderMap) {
    let mut headers = headers(cause);
    // A header ends at a line break, a body does not.
    let description: String = error.description.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Ok(description) = description.parse::<HeaderValue>() {
        headers.insert(ERROR_HEADER, description);
    }
    headers.insert(ERROR_CODE_HEADER, HeaderValue::from(u64::from(error.code)));
    (serde_json::to_vec(&ErrorReply { error }).unwrap_or_default().into(), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_in_the_body_and_in_the_headers() {
        let error = ErrorBody { code: 400, description: "unknown\r\nfeature".into(), field: Some("feature".into()) };
        let cause = Cause::new();
        let (body, headers) = error_reply(error, &cause);
        assert_eq!(body, "{\"error\":{\"code\":400,\"description\":\"unknown\\r\\nfeature\",\"field\":\"feature\"}}");
        assert_eq!(headers.get(ERROR_CODE_HEADER).map(HeaderValue::as_str), Some("400"));
        assert_eq!(headers.get(ERROR_HEADER).map(HeaderValue::as_str), Some("unknown  feature"));
        assert_eq!(Cause::of_traceparent(headers.get(TRACEPARENT).map(HeaderValue::as_str)), cause);
    }
}

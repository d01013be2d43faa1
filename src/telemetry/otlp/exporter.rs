//! Sends spans to a collector, in batches. I/O.
//!
//! A batch that the collector does not take is sent once more where it may help, then dropped and counted: spans are never waited for.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::encode;
use super::queue::{self, NOT_TAKEN, dropped};
use super::span::Span;
use crate::config::Endpoint;
use crate::runtime::tasks;

/// Most spans of one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long a collector may take to be connected to, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a batch is sent once more.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long what is left is sent when the process ends.
const LAST: Duration = Duration::from_secs(2);
/// Most that is read of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the collector answered {0}")]
    Status(StatusCode),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("no request: {0}")]
    Request(#[from] hyper::http::Error),
}

impl ExportError {
    /// Whether the same may be taken later. Source: OpenTelemetry Protocol 1.7, "Retryable Response Codes".
    fn is_worth_another(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Connect(_) | Self::Http(_) | Self::Timeout(_) => true,
            Self::Request(_) => false,
        }
    }
}

/// The end that sends: a task of its own.
pub(crate) struct Exporter {
    endpoint: Endpoint,
    resource: Vec<(&'static str, String)>,
    queue: mpsc::Receiver<Span>,
    /// What is sent next.
    batch: Vec<Span>,
    connection: Option<Connection>,
    is_failing: bool,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

/// From now on this process records spans of this share of the traces that begin here, and of all that others have sampled. `None`:
/// it does so already.
pub(crate) fn install(endpoint: Endpoint, sample: f64, resource: Vec<(&'static str, String)>) -> Option<Exporter> {
    let queue = queue::open(sample)?;
    Some(Exporter { endpoint, resource, queue, batch: Vec::new(), connection: None, is_failing: false })
}

impl Exporter {
    /// Sends what is recorded until `stop`, then what is left, for two seconds at the most.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tracing::info!(endpoint = %self.endpoint, "traces are exported");
        while stop.run_until_cancelled(self.gather()).await.is_some() && stop.run_until_cancelled(self.export()).await.is_some() {}
        self.queue.close();
        if tokio::time::timeout(LAST, self.export_rest()).await.is_err() {
            tracing::warn!("spans of the last moment are lost");
            dropped(self.batch.len() + self.queue.len(), NOT_TAKEN);
        }
    }

    /// Waits for a span, and a moment for others, up to a batch of them.
    async fn gather(&mut self) {
        if self.batch.is_empty() && self.queue.recv_many(&mut self.batch, BATCH).await == 0 {
            // nobody records any more
            std::future::pending::<()>().await;
        }
        let full = async { while self.batch.len() < BATCH && self.queue.recv_many(&mut self.batch, BATCH).await > 0 {} };
        let _enough = tokio::time::timeout(GATHER, full).await;
    }

    /// Sends the batch, once more where that may help. It is empty afterwards.
    async fn export(&mut self) {
        match self.post().await {
            Ok(()) => self.batch.clear(),
            Err(error) if error.is_worth_another() => {
                tokio::time::sleep(AGAIN_AFTER).await;
                self.export_once().await;
            }
            Err(error) => self.not_taken(&error),
        }
    }

    async fn export_once(&mut self) {
        match self.post().await {
            Ok(()) => self.batch.clear(),
            Err(error) => self.not_taken(&error),
        }
    }

    /// Sends what is left in the queue.
    async fn export_rest(&mut self) {
        while !self.batch.is_empty() || self.queue.recv_many(&mut self.batch, BATCH).await > 0 {
            self.export_once().await;
        }
    }

    fn not_taken(&mut self, error: &ExportError) {
        dropped(self.batch.len(), NOT_TAKEN);
        self.batch.clear();
        // said once, until it works again
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(endpoint = %self.endpoint, %error, "traces are not exported");
        }
    }

    /// Sends the batch.
    async fn post(&mut self) -> Result<(), ExportError> {
        let body = encode::request(&self.resource, &self.batch).to_string();
        let posted = tokio::time::timeout(PATIENCE, self.exchange(body)).await.unwrap_or(Err(ExportError::Timeout(PATIENCE)));
        if posted.is_err() {
            self.connection = None;
        } else if std::mem::take(&mut self.is_failing) {
            tracing::info!(endpoint = %self.endpoint, "traces are exported again");
        }
        posted
    }

    async fn exchange(&mut self, body: String) -> Result<(), ExportError> {
        let request = Request::post(&self.endpoint.path)
            .header(HOST, &self.endpoint.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let mut connection = match self.connection.take() {
            Some(kept) if !kept.sender.is_closed() => kept,
            _ => self.connect().await?,
        };
        connection.sender.ready().await?;
        let answer = connection.sender.send_request(request).await?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame?.data_ref().map_or(0, Bytes::len);
            if read > MAX_ANSWER_BYTES {
                break;
            }
        }
        if read <= MAX_ANSWER_BYTES {
            self.connection = Some(connection);
        }
        if status.is_success() { Ok(()) } else { Err(ExportError::Status(status)) }
    }

    async fn connect(&self) -> Result<Connection, ExportError> {
        let stream = TcpStream::connect(&*self.endpoint.authority).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let task = tasks::spawn_owned(async move {
            // the request that it carried says what went wrong
            let _told = connection.await;
        });
        Ok(Connection { sender, _task: task })
    }
}

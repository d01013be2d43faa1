//! `GET /metrics`, `/healthz` and `/readyz` on `http.listen`, beside what a stage above serves there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Readiness;
use super::accept::{BoundedListener, Peer};
use super::process::Process;

/// Open at one time. Prometheus and a load balancer need one each, a browser up to six.
const MAX_CONNECTIONS: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The listener of `http.listen`, bound and not serving yet.
pub(crate) struct Http {
    listener: TcpListener,
    router: Router,
}

#[derive(Clone)]
struct Served {
    metrics: PrometheusHandle,
    process: Process,
    readiness: Readiness,
}

impl Http {
    /// Binds. `beside` has the other routes.
    ///
    /// # Errors
    ///
    /// What the system says: the address is taken, or not ours.
    pub(crate) async fn bind(addr: SocketAddr, metrics: PrometheusHandle, readiness: Readiness, beside: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let router = Router::new()
            .route("/metrics", get(render))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(Served { metrics, process: Process::new(), readiness })
            .merge(beside);
        Ok(Self { listener, router })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop, and answers what was asked before that.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let listener = BoundedListener::new(self.listener, MAX_CONNECTIONS, IDLE_TIMEOUT);
        let service = self.router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            tracing::error!(%error, "http stopped");
        }
    }
}

async fn render(State(served): State<Served>) -> impl IntoResponse {
    served.process.read();
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], served.metrics.render())
}

/// The process answers: it lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// 200, or 503 with the reasons; JSON where `Accept` names it.
async fn readyz(State(served): State<Served>, headers: HeaderMap) -> Response {
    let report = served.readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let wants_json = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("application/json"));
    let fresh = [(CACHE_CONTROL, "no-store")];
    if wants_json { (status, fresh, Json(report)).into_response() } else { (status, fresh, report.to_string()).into_response() }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(addr: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_metrics_health_and_readiness_until_told_to_stop() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("dfks_edge_dropped_total", "reason" => "full").absolute(0));
        let readiness = Readiness::new();
        let edge = readiness.condition("edge", "starting");
        let http = Http::bind("127.0.0.1:0".parse().unwrap(), recorder.handle(), readiness, Router::new()).await.unwrap();
        let addr = http.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(http.serve(stop.clone()));

        let metrics = ask(addr, "GET /metrics HTTP/1.1").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(
            metrics.contains("text/plain; version=0.0.4") && metrics.contains("dfks_edge_dropped_total{reason=\"full\"} 0"),
            "{metrics}"
        );
        assert!(ask(addr, "GET /healthz HTTP/1.1").await.ends_with("ok\n"));
        let not_ready = ask(addr, "GET /readyz HTTP/1.1").await;
        assert!(not_ready.starts_with("HTTP/1.1 503") && not_ready.ends_with("edge: starting\n"), "{not_ready}");
        let as_json = ask(addr, "GET /readyz HTTP/1.1\r\nAccept: application/json").await;
        assert!(as_json.ends_with(r#"{"ready":false,"reasons":{"edge":"starting"}}"#), "{as_json}");
        edge.ready();
        assert!(ask(addr, "GET /readyz HTTP/1.1").await.starts_with("HTTP/1.1 200"));
        assert!(ask(addr, "GET /nothing HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        assert!(ask(addr, "POST /metrics HTTP/1.1").await.starts_with("HTTP/1.1 405"));

        stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), serving.join_next()).await.unwrap().unwrap().unwrap();
        assert!(TcpStream::connect(addr).await.is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_gives_its_place_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let bounded = BoundedListener::new(listener, 1, Duration::from_millis(200));
        let mut serving = tokio::task::JoinSet::new();
        serving.spawn(async move { axum::serve(bounded, Router::new().route("/healthz", get(healthz))).await });
        let mut idle = TcpStream::connect(addr).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(5), ask(addr, "GET /healthz HTTP/1.1")).await.unwrap();
        assert!(next.ends_with("ok\n"), "{next}");
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    }
}

//! The console: pages for operators at `http.listen`, and what they ask for. I/O.
//!
//! ```text
//! browser ─ GET / ─▶ asset            (built in: nothing is fetched from elsewhere)
//!         ─ POST /api/… ─▶ guard ─▶ desk ─▶ the bus: dfks.why, dfks.set, dfks.resync, dfks.end, dfks.status, dfks.log,
//!                                               DFKS_EVENTS, DFKS_DEAD, dfks.event.>
//! ```
//! Everything is asked of the bus when somebody looks; nothing is kept here. A presentity stands in bodies alone, never in a path or
//! query, which end in logs. What changes something needs the token of `http.token_file`.

mod asset;
mod desk;
mod errand;
mod guard;
mod letter;
mod metrics;
mod overview;
mod past;
mod tail;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::bus::Bus;
use crate::bus::message::{ErrorBody, ErrorReply};
use crate::console::desk::Desk;
use crate::console::errand::Errand;
use crate::runtime::Tasks;
use crate::telemetry::accept::Peer;
use crate::telemetry::token::Token;

/// What a browser may do with what comes from here: nothing from elsewhere, no script or style in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The pages and what they ask for.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    desk: Arc<Desk>,
}

impl Console {
    /// One that has no bus yet: it says so to whoever asks. `addr` is where it will be reached, `own` has this process's metrics.
    pub(crate) fn new(addr: SocketAddr, token: Token, own: PrometheusHandle, tasks: &Tasks) -> Self {
        let desk = Arc::new(Desk::new(addr.ip().to_canonical().is_loopback(), token, own, tasks.stopping().clone()));
        let tailing = Arc::clone(&desk);
        tasks.spawn("console tail", async move { tailing.tail().await });
        Self { desk }
    }

    /// From now on it can ask.
    pub(crate) fn attach(&self, bus: Bus) {
        self.desk.attach(bus);
    }

    /// Its routes.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/console/{name}", get(file))
            .route("/api/{*errand}", post(carry_out))
            .layer(map_response(sealed))
            .with_state(Arc::clone(&self.desk))
    }
}

async fn index(state: State<Arc<Desk>>, headers: HeaderMap) -> Response {
    file(state, Path("index.html".to_owned()), headers).await
}

async fn file(State(desk): State<Arc<Desk>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match guard::check_host(&headers, desk.is_local()) {
        Err(error) => (StatusCode::FORBIDDEN, format!("{error}\n")).into_response(),
        Ok(()) => asset::served(&name, &headers),
    }
}

async fn carry_out(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let Some(errand) = Errand::named(&name) else {
        return refused(ErrorBody::new(404, "the console has no such request"));
    };
    desk.carry_out(errand, peer, request).await.unwrap_or_else(refused)
}

fn refused(error: ErrorBody) -> Response {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(ErrorReply { error })).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// What goes with every answer.
async fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

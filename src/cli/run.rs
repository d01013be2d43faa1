//! `dfks run`: the composition root. Starts everything in order, and stops it in reverse.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;

use super::args::{Role, RunArgs};
use super::exit::{Failure, chain};
use super::{output, suggest};
use crate::bus::{Bus, Embedded, EmbeddedError};
use crate::cli::role::common::Common;
use crate::cli::role::{self, Roles, Shared};
use crate::config::{Config, LogFormat, NatsConfig};
use crate::console::Console;
use crate::runtime::{StopSignals, Tasks};
use crate::telemetry::http::Http;
use crate::telemetry::level::LogLevel;
use crate::telemetry::token::Token;
use crate::telemetry::{Readiness, exporter, log, otlp};

/// Runs the roles until a signal says stop.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let config = super::load(&args.config)?;
    let log = log::install(&config.log).map_err(|error| Failure::Config(error.to_string()))?;
    for warning in super::warnings(&config)? {
        tracing::warn!(warning, "the configuration may not be what was meant");
    }
    let metrics = exporter::install().map_err(|error| Failure::Refused(error.to_string()))?;
    let mut roles = if args.roles.is_empty() { vec![Role::Edge, Role::Worker, Role::Mi] } else { args.roles.clone() };
    roles.sort_unstable();
    roles.dedup();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(format!("no runtime: {error}")))?.block_on(serve(config, &roles, metrics, log))
}

/// What runs beside the roles.
struct Base {
    tasks: Tasks,
    embedded: Option<Embedded>,
    http: Option<SocketAddr>,
    console: Option<Console>,
}

async fn serve(mut config: Config, roles: &[Role], metrics: PrometheusHandle, log: LogLevel) -> Result<(), Failure> {
    let mut signals = StopSignals::new().map_err(|error| Failure::Refused(format!("signals: {error}")))?;
    let readiness = Readiness::new();
    let grace = Duration::from_secs(config.run.shutdown_grace_seconds);
    // until every role has its own condition
    let starting = readiness.condition("process", "starting");
    let seen = role::process::Seen { log, metrics: metrics.clone() };
    let base = base(&mut config, roles, &readiness, metrics).await?;
    let edges = if roles.contains(&Role::Edge) { config.sip.threads } else { 0 };
    let common = Common::start(&config.nats, roles, edges, &base.tasks).await?;
    let bus = common.bus.clone();
    if let Some(console) = &base.console {
        console.attach(bus.clone());
    }
    role::process::start(&config, roles, &common, seen, &base.tasks);
    let shared = Shared { config: Arc::new(config), readiness, common };
    let mut running = Roles::new(shared.clone(), base.tasks.clone());
    let started = start(&mut running, roles);
    starting.ready();
    let outcome = match started {
        Ok(()) => tokio::select! {
            outcome = watch(&mut running, &shared.config, roles, &base) => outcome,
            signal = signals.recv() => {
                tracing::info!(signal, grace_seconds = grace.as_secs(), "stopping");
                Ok(())
            }
        },
        Err(failure) => Err(failure),
    };
    let stopped = tokio::select! {
        stopped = stop(running, &base.tasks, &bus, grace) => stopped,
        // the operator does not want to wait
        signal = signals.recv() => Err(Failure::Refused(format!("second signal ({signal}): stopped without finishing"))),
    };
    if let Some(embedded) = base.embedded {
        embedded.stop().await;
    }
    match &stopped {
        Ok(()) => tracing::info!("stopped"),
        Err(failure) => tracing::warn!(reason = %failure, "not stopped cleanly"),
    }
    outcome.and(stopped)
}

/// Metrics, HTTP and the embedded NATS; `nats.url` is known afterwards.
async fn base(config: &mut Config, roles: &[Role], readiness: &Readiness, metrics: PrometheusHandle) -> Result<Base, Failure> {
    let tasks = Tasks::new();
    tasks.spawn("metrics upkeep", exporter::upkeep(metrics.clone(), tasks.stopping().clone()));
    otlp::describe();
    if let Some(exporter) = config.trace.endpoint().and_then(|endpoint| otlp::install(endpoint, config.trace.sample, resource(roles))) {
        tasks.spawn("traces", exporter.run(tasks.stopping().clone()));
    }
    let (mut http, mut console) = (None, None);
    if let Some(addr) = config.http_listener() {
        let token = Token::read(&config.http.token_file).map_err(|error| Failure::Config(format!("http.token_file: {error}")))?;
        let pages = console.insert(Console::new(addr, token, metrics.clone(), &tasks));
        let bound = Http::bind(addr, metrics, readiness.clone(), pages.router()).await;
        let bound = bound.map_err(|error| Failure::Refused(format!("http.listen = \"{addr}\": {error}")))?;
        http = bound.local_addr().ok();
        tasks.spawn("http", bound.serve(tasks.stopping().clone()));
    }
    let embedded = if config.nats.url.is_empty() { Some(embedded(&mut config.nats).await?) } else { None };
    Ok(Base { tasks, embedded, http, console })
}

/// What this process is, for whoever reads its spans. Source: OpenTelemetry semantic conventions, "Service".
fn resource(roles: &[Role]) -> Vec<(&'static str, String)> {
    let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    vec![
        ("service.name", format!("dfks-{}", names.join("+"))),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", format!("{host}:{}", std::process::id())),
    ]
}

/// Waits until the roles serve, announces it, then waits for a failure.
async fn watch(running: &mut Roles, config: &Config, roles: &[Role], base: &Base) -> Result<(), Failure> {
    tokio::select! {
        listening = running.started() => announce(config, roles, &listening?, base),
        failure = base.tasks.failed() => return Err(Failure::Refused(failure.to_string())),
    }
    tokio::select! {
        failure = running.failed() => Err(failure),
        failure = base.tasks.failed() => Err(Failure::Refused(failure.to_string())),
    }
}

/// The roles first, then what runs beside them, then their connection, all within `grace`.
async fn stop(running: Roles, tasks: &Tasks, bus: &Bus, grace: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + grace;
    let roles = running.stop(deadline).await;
    let others = tasks.stop(deadline.saturating_duration_since(Instant::now())).await;
    bus.drain().await;
    roles.and(others.map_err(|error| Failure::Refused(error.to_string())))
}

fn start(running: &mut Roles, roles: &[Role]) -> Result<(), Failure> {
    for role in roles {
        match role {
            Role::Edge => {
                let spawned = running.spawn_on_thread(Role::Edge, role::edge::run);
                spawned.map_err(|error| Failure::Refused(format!("no thread: {error}")))?;
            }
            Role::Worker => running.spawn(Role::Worker, role::worker::run),
            Role::Mi => running.spawn(Role::Mi, role::mi::run),
        }
    }
    Ok(())
}

/// Starts the embedded NATS server, and makes it the one to connect to.
async fn embedded(nats: &mut NatsConfig) -> Result<Embedded, Failure> {
    let embedded = Embedded::start(nats, &own_program()).await.map_err(|error| {
        use EmbeddedError::{Access, Address, DataDir, InUse, NamedServer, NoServer, Spawn, TooOld};
        match &error {
            Access(_) | Address(_) | DataDir { .. } | InUse(_) | NamedServer(_) | NoServer | Spawn { .. } | TooOld { .. } => {
                Failure::Config(chain(&error))
            }
            // its address is taken, as any other may be, or it could be run and did not live
            _ => Failure::Refused(chain(&error)),
        }
    })?;
    embedded.url().clone_into(&mut nats.url);
    Ok(embedded)
}

/// This program, also where its file was replaced or removed since it started.
fn own_program() -> PathBuf {
    const OF_THIS_PROCESS: &str = "/proc/self/exe";
    if Path::new(OF_THIS_PROCESS).exists() { OF_THIS_PROCESS.into() } else { std::env::current_exe().unwrap_or_else(|_| "dfks".into()) }
}

fn announce(config: &Config, roles: &[Role], listening: &[String], base: &Base) {
    let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    let nats = crate::config::hide_user(&config.nats.url);
    let http = base.http.map(|addr| format!("http://{addr}")).unwrap_or_default();
    let (mi, sip): (Vec<_>, Vec<_>) = listening.iter().map(String::as_str).partition(|listener| listener.starts_with("http"));
    let (mi, sip_list) = (mi.join(","), sip.join(","));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), roles = names.join(","), sip = sip_list, nats, http, mi, "running");
    if config.log.format == LogFormat::Text {
        let nats = match &base.embedded {
            Some(_) => format!("{nats} (embedded, data in {})", config.nats.data_dir.display()),
            None => nats,
        };
        let suggested = suggest::phone_command(config, &sip);
        output::complain(&banner(&names, &sip, &nats, &http, &mi, suggested.as_deref()));
    }
}

/// The start banner: addresses, and a command to try.
fn banner(roles: &[&str], listening: &[&str], nats: &str, http: &str, mi: &str, suggested: Option<&str>) -> String {
    let mut text = format!("\ndfks {} runs {}\n", env!("CARGO_PKG_VERSION"), roles.join(", "));
    let mut line = |name: &str, what: &str| {
        let _infallible = writeln!(text, "  {name:5} {what}");
    };
    if !listening.is_empty() {
        line("SIP", &listening.join(", "));
    }
    line("NATS", nats);
    if !http.is_empty() {
        line("HTTP", &format!("{http}/ (console), /metrics, /healthz, /readyz"));
    }
    if !mi.is_empty() {
        line("MI", mi);
    }
    if let Some(suggested) = suggested {
        line("try", suggested);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_it_is_and_what_to_try() {
        let listening = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"];
        let (nats, http, mi) = ("nats://127.0.0.1:4222 (embedded)", "http://127.0.0.1:9464", "http://127.0.0.1:8888/mi");
        let text = banner(&["edge", "worker", "mi"], &listening, nats, http, mi, Some("dfks phone"));
        let want = [
            concat!("dfks ", env!("CARGO_PKG_VERSION"), " runs edge, worker, mi"),
            "  SIP   udp:127.0.0.1:5060, tcp:127.0.0.1:5060",
            "  NATS  nats://127.0.0.1:4222 (embedded)",
            "  HTTP  http://127.0.0.1:9464/ (console), /metrics, /healthz, /readyz",
            "  MI    http://127.0.0.1:8888/mi",
            "  try   dfks phone",
        ];
        assert_eq!(text.trim().lines().collect::<Vec<_>>(), want);
        let text = banner(&["worker"], &[], "nats://10.0.0.5:4222", "", "", None);
        assert_eq!(text.trim().lines().skip(1).collect::<Vec<_>>(), ["  NATS  nats://10.0.0.5:4222"]);
    }
}

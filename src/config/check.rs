//! What a value may be, key by key. Pure but for looking whether named files are there.

use std::net::SocketAddr;
use std::path::Path;

use super::error::as_toml;
use super::{
    AuthConfig, AuthMode, Cidr, Config, ConfigError, Listener, NatsConfig, NatsMaxBytes, ProfileConfig, Responders, SipConfig,
    SipTlsConfig, TraceConfig,
};
use crate::feature::{FeatureTable, Presentity};
use crate::runtime::zone::Zone;
use crate::sip::Transport;
use crate::sip::transport::Tls;

/// Longest `nats.prefix`, so that names of streams and buckets stay short. In bytes.
const MAX_PREFIX_BYTES: usize = 32;
/// Longest `nats.domain`, in bytes.
const MAX_DOMAIN_BYTES: usize = 64;
/// Smallest and largest `nats.max_bytes`: one message of the largest that a server takes, and a petabyte.
const MIN_STREAM_BYTES: u64 = 1 << 20;
const MAX_STREAM_BYTES: u64 = 1 << 50;
/// Longest `sip.edge_id`, in bytes.
const MAX_EDGE_ID_BYTES: usize = 64;
/// Longest lifetime of a subscription, in seconds: a year.
const MAX_EXPIRES_SECONDS: u32 = 31_536_000;
/// Longest of the shortest lifetimes that may be asked for, in seconds.
const MAX_MIN_EXPIRES_SECONDS: u32 = 3600;
/// Longest `sip.auth.realm`, in bytes.
const MAX_REALM_BYTES: usize = 128;
/// Largest payload of a UDP datagram over IPv4, in bytes.
const MAX_UDP_BYTES: usize = 65_507;
/// Longest that a responder is remembered, in days.
const MAX_MEMORY_DAYS: u32 = 3650;
/// Most SIP messages kept of a subscription, and bytes of all: a GiB.
const MAX_RING_MESSAGES: usize = 1000;
const MAX_RING_BYTES: usize = 1 << 30;
/// Longest time for one step, in milliseconds.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// Checks every value and brings domains into their one spelling.
pub(crate) fn check(config: &mut Config) -> Result<(), ConfigError> {
    config.nats.check()?;
    sip(config)?;
    auth(&config.sip.auth)?;
    profiles(&config.profile)?;
    subscription(config)?;
    routes(config)?;
    optional_address("mi.http", &config.mi.http)?;
    optional_address("http.listen", &config.http.listen)?;
    named_file("mi.token_file", &config.mi.token_file)?;
    named_file("http.token_file", &config.http.token_file)?;
    range("http.sip_ring_messages", config.http.sip_ring_messages, 0, MAX_RING_MESSAGES)?;
    range("http.sip_ring_bytes", config.http.sip_ring_bytes, 0, MAX_RING_BYTES)?;
    range("run.shutdown_grace_seconds", config.run.shutdown_grace_seconds, 0, 3600)?;
    trace(&config.trace)?;
    log_level(&config.log.level)?;
    FeatureTable::with_config(&config.features.tables, &config.packages)?;
    secure(config)
}

impl NatsConfig {
    /// Checks `[nats]`, of a configuration file or of a command line.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        nats(self)
    }
}

fn trace(trace: &TraceConfig) -> Result<(), ConfigError> {
    let is_endpoint = trace.otlp.is_empty() || trace.endpoint().is_some();
    ensure(is_endpoint, "trace.otlp", &trace.otlp, "http://HOST:PORT of an OTLP collector, or \"\" for off")?;
    ensure((0.0..=1.0).contains(&trace.sample), "trace.sample", &trace.sample, "a share from 0.0 to 1.0")
}

fn nats(nats: &NatsConfig) -> Result<(), ConfigError> {
    for url in nats.url.split(',').map(str::trim).filter(|_| !nats.url.is_empty()) {
        let is_server =
            url.parse::<async_nats::ServerAddr>().is_ok_and(|url| !url.host().is_empty() && matches!(url.scheme(), "nats" | "tls"));
        ensure(
            is_server,
            "nats.url",
            &nats.url,
            "nats://HOST:PORT or tls://HOST:PORT, several with commas, or \"\" for an embedded server",
        )?;
    }
    ensure(!nats.data_dir.as_os_str().is_empty(), "nats.data_dir", &nats.data_dir, "a folder")?;
    ensure(
        nats.embedded_listen.parse::<SocketAddr>().is_ok(),
        "nats.embedded_listen",
        &nats.embedded_listen,
        "ADDRESS:PORT, port 0 for any free one",
    )?;
    range("nats.timeout_ms", nats.timeout_ms, 1, MAX_TIMEOUT_MS)?;
    range("nats.replicas", nats.replicas, 1, 5)?;
    let NatsMaxBytes { events, notify, commands, dead } = nats.max_bytes;
    for (key, bytes) in [
        ("nats.max_bytes.events", events),
        ("nats.max_bytes.notify", notify),
        ("nats.max_bytes.commands", commands),
        ("nats.max_bytes.dead", dead),
    ] {
        let is_size = bytes == 0 || (MIN_STREAM_BYTES..=MAX_STREAM_BYTES).contains(&bytes);
        let expected = format!("0 for as much as there is, or a whole number from {MIN_STREAM_BYTES} to {MAX_STREAM_BYTES}");
        ensure(is_size, key, &bytes, &expected)?;
    }
    let prefix = &nats.prefix;
    let is_prefix = prefix.len() <= MAX_PREFIX_BYTES
        && prefix.starts_with(|c: char| c.is_ascii_lowercase())
        && prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure(is_prefix, "nats.prefix", prefix, "1 to 32 lower-case letters, digits and '-', a letter first")?;
    let domain = &nats.domain;
    let is_domain = domain.len() <= MAX_DOMAIN_BYTES && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    ensure(is_domain, "nats.domain", domain, "the JetStream domain of the servers: up to 64 letters, digits, '-' and '_', or \"\"")?;
    for (key, file) in [
        ("nats.credentials_file", &nats.credentials_file),
        ("nats.password_file", &nats.password_file),
        ("nats.token_file", &nats.token_file),
        ("nats.nkey_file", &nats.nkey_file),
        ("nats.tls.ca", &nats.tls.ca),
        ("nats.tls.certificate", &nats.tls.certificate),
        ("nats.tls.key", &nats.tls.key),
    ] {
        named_file(key, file)?;
    }
    let has = |file: &Path| !file.as_os_str().is_empty();
    let kinds = [has(&nats.credentials_file), !nats.user.is_empty(), has(&nats.token_file), has(&nats.nkey_file)];
    if kinds.iter().filter(|given| **given).count() > 1 {
        let shown = if nats.user.is_empty() { as_toml(&nats.token_file) } else { as_toml(&nats.user) };
        let key = if nats.user.is_empty() { "nats.token_file" } else { "nats.user" };
        let expected = "one way to authenticate: credentials_file, or user with password_file, or token_file, or nkey_file".to_owned();
        return Err(ConfigError::Value { key: key.to_owned(), value: shown, expected });
    }
    ensure(
        nats.user.is_empty() || has(&nats.password_file),
        "nats.password_file",
        &nats.password_file,
        "the file with the password of nats.user",
    )?;
    ensure(
        !nats.user.is_empty() || !has(&nats.password_file),
        "nats.user",
        &nats.user,
        "the user whose password is in nats.password_file",
    )?;
    let has_both_or_none = has(&nats.tls.certificate) == has(&nats.tls.key);
    ensure(has_both_or_none, "nats.tls.key", &nats.tls.key, "a key exactly where nats.tls.certificate is given")
}

fn sip(config: &mut Config) -> Result<(), ConfigError> {
    let sip = &mut config.sip;
    ensure(!sip.listen.is_empty(), "sip.listen", &sip.listen, "at least one udp:ADDRESS:PORT, or the same with tcp, tls, ws or wss")?;
    let mut seen: Vec<Listener> = Vec::new();
    for (at, text) in sip.listen.iter().enumerate() {
        let key = format!("sip.listen[{at}]");
        let listener: Listener =
            text.parse().map_err(|expected: super::listener::ListenerError| ConfigError::value(&key, text, expected.to_string()))?;
        ensure(listener.addr.port() == 0 || !seen.contains(&listener), &key, text, "each listener once")?;
        seen.push(listener);
    }
    ensure(
        sip.advertise.is_empty() || is_advertise(&sip.advertise),
        "sip.advertise",
        &sip.advertise,
        "HOST or HOST:PORT, the address that phones can reach",
    )?;
    let is_edge_id =
        sip.edge_id.len() <= MAX_EDGE_ID_BYTES && sip.edge_id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    ensure(is_edge_id, "sip.edge_id", &sip.edge_id, "up to 64 letters, digits, '-', '_' and '.', or \"\" for the hostname")?;
    for (at, domain) in sip.domains.iter_mut().enumerate() {
        match canonical_host(domain) {
            Some(host) => *domain = host,
            None => return Err(ConfigError::value(format!("sip.domains[{at}]"), domain, "a domain name or an address, without port")),
        }
    }
    range("sip.udp_notify_limit_bytes", sip.udp_notify_limit_bytes, 0, MAX_UDP_BYTES)?;
    range("sip.threads", sip.threads, 1, 64)?;
    range("sip.max_subscriptions", sip.max_subscriptions, 1, 100_000_000)?;
    range("sip.max_subscriptions_per_presentity", sip.max_subscriptions_per_presentity, 1, 1_000_000)?;
    range("sip.rate_limit_per_source", sip.rate_limit_per_source, 0, 1_000_000)?;
    ensure(
        sip.trace_hep.is_empty() || is_advertise(&sip.trace_hep) && has_port(&sip.trace_hep),
        "sip.trace_hep",
        &sip.trace_hep,
        "HOST:PORT of a HEPv3 collector, or \"\" for off",
    )?;
    range("sip.takeover_seconds", sip.takeover_seconds, 1, 86_400)?;
    for (key, ranges) in [("sip.rate_limit_exempt", &sip.rate_limit_exempt), ("sip.auth.trusted", &sip.auth.trusted)] {
        for (at, text) in ranges.iter().enumerate() {
            ensure(text.parse::<Cidr>().is_ok(), &format!("{key}[{at}]"), text, "an address or a range like 10.0.0.0/8 or 2001:db8::/32")?;
        }
    }
    for (key, file) in [
        ("sip.tls.certificate", &sip.tls.certificate),
        ("sip.tls.key", &sip.tls.key),
        ("sip.tls.client_ca", &sip.tls.client_ca),
        ("sip.auth.users", &sip.auth.users),
    ] {
        named_file(key, file)?;
    }
    tls(sip, &seen)
}

/// The files of `sip.tls` are read here too: what `run` would refuse, `check` refuses.
fn tls(sip: &SipConfig, listeners: &[Listener]) -> Result<(), ConfigError> {
    let has = |file: &Path| !file.as_os_str().is_empty();
    let SipTlsConfig { certificate, key, client_ca } = &sip.tls;
    let wants_tls = listeners.iter().any(|listener| matches!(listener.transport, Transport::Tls | Transport::Wss));
    let expected = "a PEM file with our certificate, as sip.listen names tls or wss";
    ensure(has(certificate) || !wants_tls, "sip.tls.certificate", certificate, expected)?;
    ensure(has(certificate) == has(key), "sip.tls.key", key, "a key exactly where sip.tls.certificate is given")?;
    ensure(has(certificate) || !has(client_ca), "sip.tls.client_ca", client_ca, "\"\" where no sip.tls.certificate is given")?;
    let Some(Err(error)) = sip.tls.files().map(Tls::load) else { return Ok(()) };
    let (name, file) = match error.path() {
        Some(path) if path == client_ca => ("sip.tls.client_ca", client_ca),
        Some(path) if path == key => ("sip.tls.key", key),
        _ => ("sip.tls.certificate", certificate),
    };
    Err(ConfigError::value(name, file, format!("PEM that can be used: {error}")))
}

fn auth(auth: &AuthConfig) -> Result<(), ConfigError> {
    let is_realm =
        auth.realm.len() <= MAX_REALM_BYTES && auth.realm.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
    ensure(
        is_realm,
        "sip.auth.realm",
        &auth.realm,
        "up to 128 ASCII characters without '\"' and '\\', or \"\" for the presentity's domain",
    )?;
    let is_somebody_trusted = auth.mode != AuthMode::Trusted || !auth.trusted.is_empty();
    ensure(is_somebody_trusted, "sip.auth.trusted", &auth.trusted, "at least one address or range where sip.auth.mode = \"trusted\"")
}

fn profiles(profiles: &[ProfileConfig]) -> Result<(), ConfigError> {
    for (at, profile) in profiles.iter().enumerate() {
        let key = format!("profile[{at}].user_agent");
        ensure(!profile.user_agent.is_empty(), &key, &profile.user_agent, "a regular expression")?;
        profile.regex().map_err(|error| {
            let reason = error.to_string();
            // its last line says what is wrong, those before draw where
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ConfigError::value(key, &profile.user_agent, format!("a regular expression: {reason}"))
        })?;
    }
    Ok(())
}

/// The canonical spelling of a bare host, without port or parameters.
fn canonical_host(text: &str) -> Option<String> {
    let is_alone = !text.contains([';', '?', '@', '>'])
        && (text.starts_with('[') == text.ends_with(']'))
        && (text.starts_with('[') || !text.contains(':'));
    let presentity = is_alone.then(|| Presentity::parse(&format!("sip:x@{text}")).ok())??;
    Some(presentity.host().to_owned())
}

/// `HOST[:PORT]`, the host a name or an address, one of IPv6 in brackets.
fn is_advertise(text: &str) -> bool {
    let has_odd_bytes = text.bytes().any(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_')));
    !has_odd_bytes && !text.ends_with(':') && Presentity::parse(&format!("sip:x@{text}")).is_ok()
}

/// Whether a host is followed by a port that can be sent to.
fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn subscription(config: &Config) -> Result<(), ConfigError> {
    let lifetimes = &config.subscription;
    range("subscription.max_expires_seconds", lifetimes.max_expires_seconds, 1, MAX_EXPIRES_SECONDS)?;
    range("subscription.grace_seconds", lifetimes.grace_seconds, 0, MAX_EXPIRES_SECONDS)?;
    let max = lifetimes.max_expires_seconds;
    let min = lifetimes.min_expires_seconds;
    ensure(min <= max, "subscription.min_expires_seconds", &min, &format!("at most max_expires_seconds, which is {max}"))?;
    let is_between = (min.max(1)..=max).contains(&lifetimes.default_expires_seconds);
    // A request for an hour or more may not be refused as too short. Source: RFC 6665 §4.2.1.1.
    ensure(min <= MAX_MIN_EXPIRES_SECONDS, "subscription.min_expires_seconds", &min, "at most 3600")?;
    let expected = format!("between min_expires_seconds and max_expires_seconds, which are {min} and {max}");
    ensure(is_between, "subscription.default_expires_seconds", &lifetimes.default_expires_seconds, &expected)
}

fn routes(config: &Config) -> Result<(), ConfigError> {
    let routes = &config.routes;
    named_file("routes.script", &routes.script)?;
    if let Some(file) = routes.data.file() {
        named_file("routes.data", file)?;
    }
    let expected = "an IANA time zone, e.g. \"Europe/Berlin\"";
    ensure(Zone::find(&routes.time_zone).is_some(), "routes.time_zone", &routes.time_zone, expected)?;
    range("routes.responder_timeout_ms", routes.responder_timeout_ms, 1, MAX_TIMEOUT_MS)?;
    range("routes.responder_memory_days", routes.responder_memory_days, 1, MAX_MEMORY_DAYS)?;
    let table = FeatureTable::with_config(&config.features.tables, &config.packages)?;
    for (at, text) in routes.required.iter().enumerate() {
        let expected = "<domain>.<Feature> as in subjects, with \"*\" for either: \"example_com.DoNotDisturb\"";
        let is_pattern = text.split_once('.').is_some_and(|(domain, feature)| {
            let is_domain = !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            (domain == "*" || is_domain) && (feature == "*" || table.require(feature).is_ok())
        });
        ensure(is_pattern, &format!("routes.required[{at}]"), text, expected)?;
    }
    ensure(
        routes.required.is_empty() || routes.responders != Responders::Off,
        "routes.required",
        &routes.required,
        "none where routes.responders = \"off\": nobody would be asked to approve",
    )?;
    for (key, name) in [("routes.get_route", &routes.get_route), ("routes.set_route", &routes.set_route)] {
        let is_name =
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        ensure(is_name, key, name, "the name of a function: letters, digits and '_', no digit first")?;
    }
    Ok(())
}

fn log_level(level: &str) -> Result<(), ConfigError> {
    let is_level = |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word.to_ascii_lowercase().as_str());
    // the filter would take a misspelt level for the name of a module
    let is_directive =
        |part: &str| is_level(part) || part.rsplit_once('=').is_some_and(|(target, word)| !target.is_empty() && is_level(word));
    let is_filter = level.split(',').all(|part| is_directive(part.trim())) && tracing_subscriber::EnvFilter::builder().parse(level).is_ok();
    ensure(is_filter, "log.level", level, "error, warn, info, debug, trace or off, or a filter like info,dfks::sip=debug")
}

/// Secure by default: what anyone on the network could use is asked for in so many words.
fn secure(config: &Config) -> Result<(), ConfigError> {
    let insecure =
        |key: String, value: &str, reason: &str| Err(ConfigError::Insecure { key, value: as_toml(value), reason: reason.to_owned() });
    let is_open = config.sip.auth.mode == AuthMode::None && !config.sip.auth.allow_unauthenticated;
    if let Some(at) = config.sip_listeners().iter().position(|listener| is_open && !listener.addr.ip().to_canonical().is_loopback()) {
        let text = config.sip.listen.get(at).map_or("", String::as_str);
        let reason = "not a loopback address, and sip.auth.mode = \"none\" lets anyone in: expected a loopback address, another sip.auth.mode, or sip.auth.allow_unauthenticated = true";
        return insecure(format!("sip.listen[{at}]"), text, reason);
    }
    let nats = &config.nats;
    let is_open = nats.url.is_empty() && nats.user.is_empty() && nats.token_file.as_os_str().is_empty();
    if is_open && nats.embedded_listen.parse::<SocketAddr>().is_ok_and(|addr| !addr.ip().to_canonical().is_loopback()) {
        let reason = "not a loopback address, and the embedded server lets anyone in: expected a loopback address, nats.user with nats.password_file, nats.token_file, or a server of your own in nats.url";
        return insecure("nats.embedded_listen".to_owned(), &nats.embedded_listen, reason);
    }
    let is_remote = config.mi_listener().is_some_and(|addr| !addr.ip().to_canonical().is_loopback());
    if is_remote && config.mi.token_file.as_os_str().is_empty() {
        return insecure(
            "mi.http".to_owned(),
            &config.mi.http,
            "not a loopback address, and no mi.token_file: expected a loopback address or a token",
        );
    }
    Ok(())
}

fn optional_address(key: &str, text: &str) -> Result<(), ConfigError> {
    ensure(text.is_empty() || text.parse::<SocketAddr>().is_ok(), key, text, "ADDRESS:PORT, or \"\" for off")
}

fn named_file(key: &str, file: &Path) -> Result<(), ConfigError> {
    if file.as_os_str().is_empty() {
        return Ok(());
    }
    let refused = |reason: String| ConfigError::File { key: key.to_owned(), value: as_toml(file), reason };
    let metadata = std::fs::metadata(file).map_err(|error| refused(error.to_string()))?;
    if metadata.is_dir() {
        return Err(refused("it is a folder".to_owned()));
    }
    // a pipe is not opened here: that would wait for its writer
    if metadata.is_file() { std::fs::File::open(file).map(drop).map_err(|error| refused(error.to_string())) } else { Ok(()) }
}

fn range<N: Copy + PartialOrd + std::fmt::Display + serde::Serialize>(key: &str, value: N, min: N, max: N) -> Result<(), ConfigError> {
    ensure((&min..=&max).contains(&&value), key, &value, &format!("a whole number from {min} to {max}"))
}

fn ensure(holds: bool, key: &str, value: &(impl serde::Serialize + ?Sized), expected: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::value(key, value, expected)) }
}

#[cfg(test)]
#[path = "tests/tls.rs"]
mod tests;

//! Where spans go: `trace.otlp`, `http://host:port` of a collector. Pure.

use std::fmt;
use std::str::FromStr;

/// Path of traces below an endpoint. Source: OpenTelemetry Protocol 1.7, "OTLP/HTTP Request".
const PATH: &str = "/v1/traces";
/// Port where an endpoint names none. Source: the same, "OTLP/HTTP Default Port".
const PORT: u16 = 4318;

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, as it is resolved and as the header `Host` has it.
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// Why a text names no collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http://HOST:PORT of an OTLP collector, or \"\" for none")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let rest = text.strip_prefix("http://").ok_or(EndpointError)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'@' | b'"' | b'<' | b'>'));
        if !is_plain(authority) || !is_plain(path) {
            return Err(EndpointError);
        }
        let has_port = !authority.ends_with(']') && authority.rsplit_once(':').is_some();
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{PORT}") };
        let (host, port) = authority.rsplit_once(':').ok_or(EndpointError)?;
        let is_host = !host.is_empty() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
        if !is_host || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(EndpointError);
        }
        let base = format!("/{path}");
        let base = base.trim_end_matches('/').trim_end_matches(PATH).trim_end_matches('/');
        Ok(Self { authority, path: format!("{base}{PATH}") })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_its_base_or_in_full() {
        for (text, want) in [
            ("http://h:4318", Some("http://h:4318/v1/traces")),
            ("http://h", Some("http://h:4318/v1/traces")),
            ("http://[::1]", Some("http://[::1]:4318/v1/traces")),
            ("http://[::1]:9/", Some("http://[::1]:9/v1/traces")),
            ("http://h:1/otlp", Some("http://h:1/otlp/v1/traces")),
            ("http://h:1/v1/traces", Some("http://h:1/v1/traces")),
            ("http://h:1/otlp/v1/traces/", Some("http://h:1/otlp/v1/traces")),
            ("https://h:4318", None),
            ("h:4318", None),
            ("http://", None),
            ("http://:4318", None),
            ("http://h:0", None),
            ("http://h:x", None),
            ("http://::1", None),
            ("http://u@h:1", None),
            ("http://h:1/?q", None),
            ("http://h h:1", None),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).ok().as_deref(), want, "{text}");
        }
    }
}

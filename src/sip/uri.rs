//! SIP, SIPS and tel URIs: read into `rsip`'s value, written strictly.
//!
//! `rsip` itself rejects IPv6 and `tel:` and loses the `+` of a number, so only its types are used here.

use std::fmt::Write;
use std::net::IpAddr;

use rsip::param::{OtherParam, OtherParamValue};
use rsip::{Auth, Host, HostWithPort, Param, Port, Scheme, Uri};

use super::flow::Transport;
use super::message::MAX_URI_BYTES;
use super::scan;

/// Why a text is no URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Longer than `MAX_URI_BYTES`, as received or once escaped.
    #[error("a uri has at most {MAX_URI_BYTES} bytes")]
    TooLong,
    /// Neither `sip:`, `sips:` nor `tel:`; a Request-URI of another gets 416.
    #[error("the scheme is neither sip, sips nor tel")]
    Scheme,
    /// An empty user part, or a character that no URI may have.
    #[error("the user part is unreadable")]
    User,
    /// No host name, no address, or no port.
    #[error("the host or port is unreadable")]
    Host,
    /// A parameter without a name, or with a character that no URI may have.
    #[error("a parameter is unreadable")]
    Param,
}

/// Reads a URI.
///
/// Tolerated: any case, `#`, `*` and other printable characters unescaped in the user part, parameters with any printable value.
/// An IPv6 host is `Host::Domain("[…]")`; the number of a `tel:` URI stands in the host. `?headers` are dropped: they mean
/// nothing where we take a URI from (RFC 3261 §19.1.1, table 1).
///
/// # Errors
///
/// [`UriError`], which a Request-URI or Contact of a request gets as 400 (416 for the scheme).
pub fn parse(text: &str) -> Result<Uri, UriError> {
    // A byte is written as three at most, and an IPv6 address in brackets.
    const SURELY_FITS_BYTES: usize = MAX_URI_BYTES / 3 - 2;
    if text.len() > MAX_URI_BYTES {
        return Err(UriError::TooLong);
    }
    let uri = parse_short(text)?;
    let fits = text.len() <= SURELY_FITS_BYTES || to_string(&uri).len() <= MAX_URI_BYTES;
    if fits { Ok(uri) } else { Err(UriError::TooLong) }
}

fn parse_short(text: &str) -> Result<Uri, UriError> {
    let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
    let scheme = match scheme {
        word if word.eq_ignore_ascii_case("sip") => Scheme::Sip,
        word if word.eq_ignore_ascii_case("sips") => Scheme::Sips,
        word if word.eq_ignore_ascii_case("tel") => return parse_tel(rest),
        _ => return Err(UriError::Scheme),
    };
    let (auth, rest) = match rest.split_once('@') {
        Some((user, rest)) => (Some(parse_auth(user)?), rest),
        None => (None, rest),
    };
    let (rest, _headers) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, params) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).ok_or(UriError::Host)?;
    if host.contains(' ') {
        return Err(UriError::Host);
    }
    let (host, port) = scan::host_and_port(host).ok_or(UriError::Host)?;
    let host = host.parse::<IpAddr>().map_or_else(|_| Host::Domain(String::from(host).into()), Host::IpAddr);
    let host_with_port = HostWithPort { host, port: port.map(Port::from) };
    Ok(Uri { scheme: Some(scheme), auth, host_with_port, params: parse_params(params)?, headers: Vec::new() })
}

fn parse_tel(rest: &str) -> Result<Uri, UriError> {
    let (number, params) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).ok_or(UriError::User)?;
    let is_number = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'+' | b'*' | b'#' | b'-' | b'.' | b'(' | b')' | b'%');
    if number.is_empty() || !number.bytes().all(is_number) {
        return Err(UriError::User);
    }
    let host_with_port = HostWithPort { host: Host::Domain(number.to_owned().into()), port: None };
    Ok(Uri { scheme: Some(Scheme::Other("tel".into())), auth: None, host_with_port, params: parse_params(params)?, headers: Vec::new() })
}

fn parse_auth(text: &str) -> Result<Auth, UriError> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'@');
    if !text.bytes().all(is_fine) {
        return Err(UriError::User);
    }
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password.to_owned())),
        None => (text, None),
    };
    if user.is_empty() { Err(UriError::User) } else { Ok(Auth { user: user.to_owned(), password }) }
}

fn parse_params(text: &str) -> Result<Vec<Param>, UriError> {
    let is_fine = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'@' | b'?'));
    let mut params = Vec::new();
    for param in text.split(';').filter(|param| !param.is_empty()) {
        let (name, value) = match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        };
        if name.is_empty() || !is_fine(param) {
            return Err(UriError::Param);
        }
        params.push(match (name.to_ascii_lowercase().as_str(), value) {
            ("lr", None) => Param::Lr,
            ("transport", Some(value)) if Transport::parse(value).is_some() => {
                Param::Transport(rsip_transport(Transport::parse(value).unwrap_or(Transport::Udp)))
            }
            ("user", Some(value)) => Param::User(value.to_owned().into()),
            ("maddr", Some(value)) => Param::Maddr(value.to_owned().into()),
            ("ttl", Some(value)) => Param::Ttl(value.to_owned().into()),
            _ => Param::Other(OtherParam::new(name), value.map(OtherParamValue::new)),
        });
    }
    Ok(params)
}

const fn rsip_transport(transport: Transport) -> rsip::Transport {
    match transport {
        Transport::Udp => rsip::Transport::Udp,
        Transport::Tcp => rsip::Transport::Tcp,
        Transport::Tls => rsip::Transport::Tls,
        Transport::Ws => rsip::Transport::Ws,
        Transport::Wss => rsip::Transport::Wss,
    }
}

/// The URI as the grammar has it: what it does not allow in a user part or parameter is escaped (RFC 3261 §19.1.2, §25.1).
#[must_use]
pub fn to_string(uri: &Uri) -> String {
    let mut out = String::with_capacity(64);
    let is_tel = matches!(&uri.scheme, Some(Scheme::Other(scheme)) if scheme.eq_ignore_ascii_case("tel"));
    out.push_str(match &uri.scheme {
        Some(Scheme::Sips) => "sips:",
        Some(Scheme::Other(_)) if is_tel => "tel:",
        _ => "sip:",
    });
    if let Some(auth) = &uri.auth {
        push_escaped(&mut out, &auth.user, "&=+$,;?/");
        if let Some(password) = &auth.password {
            out.push(':');
            push_escaped(&mut out, password, "&=+$,");
        }
        out.push('@');
    }
    let _infallible = match &uri.host_with_port.host {
        Host::Domain(domain) => write!(out, "{domain}"),
        Host::IpAddr(IpAddr::V6(address)) => write!(out, "[{address}]"),
        Host::IpAddr(IpAddr::V4(address)) => write!(out, "{address}"),
    };
    if let Some(port) = &uri.host_with_port.port {
        let _infallible = write!(out, ":{port}");
    }
    for param in &uri.params {
        push_param(&mut out, param);
    }
    out
}

fn push_param(out: &mut String, param: &Param) {
    const PARAM_UNRESERVED: &str = "[]/:&+$";
    match param {
        Param::Transport(transport) => {
            out.push_str(";transport=");
            out.push_str(&transport.to_string().to_ascii_lowercase());
        }
        other => {
            let text = other.to_string();
            let text = text.strip_prefix(';').unwrap_or(&text);
            out.push(';');
            match text.split_once('=') {
                Some((name, value)) => {
                    push_escaped(out, name, PARAM_UNRESERVED);
                    out.push('=');
                    push_escaped(out, value, PARAM_UNRESERVED);
                }
                None => push_escaped(out, text, PARAM_UNRESERVED),
            }
        }
    }
}

/// `unreserved`, escapes and what else is allowed as it is; every other byte as `%XX`.
fn push_escaped(out: &mut String, text: &str, also: &str) {
    for byte in text.bytes() {
        let is_mark = matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b'%');
        if byte.is_ascii_alphanumeric() || is_mark || also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
}

/// Whether the scheme is `sips`.
#[must_use]
pub fn is_sips(text: &str) -> bool {
    text.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// The URI in `<sip:proxy;lr>`.
#[must_use]
pub fn of_name_addr(text: &str) -> &str {
    text.trim_start_matches(|c| c != '<').trim_start_matches('<').split('>').next().unwrap_or(text)
}

/// Whether a Contact asks for the flow that it came on: it has an `ob` parameter. Source: RFC 5626 §4.3.
#[must_use]
pub fn is_outbound(text: &str) -> bool {
    let is_ob = |param: &Param| matches!(param, Param::Other(name, _) if name.value().eq_ignore_ascii_case("ob"));
    parse(text).is_ok_and(|uri| uri.params.iter().any(is_ob))
}

/// Where a URI leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host: `maddr` does not count, a request that follows it could be sent anywhere.
    pub host: TargetHost,
    /// The port, where one is named.
    pub port: Option<u16>,
    /// The `transport` parameter, where it is one of ours.
    pub transport: Option<Transport>,
    /// Whether the scheme is `sips`.
    pub is_sips: bool,
    /// Whether there is an `lr` parameter (RFC 3261 §16.12).
    pub is_loose_routing: bool,
}

impl Target {
    /// The transport that leads there, for one whose requests come over `known`: the same where the URI names none.
    ///
    /// `sips` is TLS whatever else is said (RFC 3261 §26.2.2); `transport=ws` stands for both kinds of WebSocket (RFC 7118
    /// §5.2.2).
    #[must_use]
    pub(crate) fn transport_after(&self, known: Transport) -> Transport {
        match (self.transport.unwrap_or(known), self.is_sips || known == Transport::Wss) {
            (Transport::Ws | Transport::Wss, true) => Transport::Wss,
            (_, _) if self.is_sips => Transport::Tls,
            (transport, _) => transport,
        }
    }
}

/// The host of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// An address.
    Ip(IpAddr),
    /// A name, to be looked up; for a `tel:` URI there is none, and no [`Target`].
    Name(Box<str>),
}

/// Where a URI leads; `None` for a `tel:` URI, which leads nowhere by itself.
#[must_use]
pub fn target(uri: &Uri) -> Option<Target> {
    let is_sips = matches!(uri.scheme, Some(Scheme::Sips));
    if matches!(uri.scheme, Some(Scheme::Other(_))) {
        return None;
    }
    let host = match &uri.host_with_port.host {
        Host::IpAddr(address) => TargetHost::Ip(*address),
        Host::Domain(domain) => {
            let name = domain.value();
            let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|rest| rest.parse::<IpAddr>().ok());
            address.map_or_else(|| TargetHost::Name(name.into()), TargetHost::Ip)
        }
    };
    let transport = uri.params.iter().find_map(|param| match param {
        Param::Transport(transport) => Transport::parse(&transport.to_string()),
        _ => None,
    });
    let is_lr = |param: &Param| match param {
        Param::Lr => true,
        Param::Other(name, _) => name.value().eq_ignore_ascii_case("lr"),
        _ => false,
    };
    Some(Target {
        host,
        port: uri.host_with_port.port.as_ref().map(|port| *port.value()),
        transport,
        is_sips,
        is_loose_routing: uri.params.iter().any(is_lr),
    })
}

#[cfg(test)]
#[path = "tests/uri.rs"]
mod tests;

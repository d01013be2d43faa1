//! Who may ask for what: against pages of other origins, names that lead here by trickery, and whoever has no token. No I/O.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};

use crate::bus::message::ErrorBody;
use crate::console::errand::{Errand, Purpose};
use crate::telemetry::token::Token;

/// Who sends a request, as browsers say it. Source: W3C Fetch Metadata §2.3.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A name of somebody else that leads to this machine.
    #[error("not served under this host: expected localhost or a loopback address in Host, also behind a proxy")]
    Host,
    #[error("not for pages of another origin")]
    Origin,
    #[error("expected the content type application/json")]
    ContentType,
    #[error("a bearer token is needed")]
    Token,
    #[error("this console is read-only: actions need http.token_file in its configuration")]
    ReadOnly,
    #[error("http.listen is not a loopback address, and there is no http.token_file: the console shows nothing")]
    Closed,
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Token => 401,
            Refusal::ContentType => 415,
            _ => 403,
        };
        Self::new(code, refusal.to_string())
    }
}

/// Lets a request pass. What changes something needs the token; so does what is read where others than this machine can ask for it.
pub(super) fn check(errand: Errand, headers: &HeaderMap, token: &Token, is_local: bool) -> Result<(), Refusal> {
    check_host(headers, is_local)?;
    let is_action = errand.purpose() == Purpose::Action;
    if is_action || !(is_local || errand.is_harmless()) {
        match (token.is_required(), is_action) {
            (false, true) => return Err(Refusal::ReadOnly),
            (false, false) => return Err(Refusal::Closed),
            (true, _) if !token.admits(headers) => return Err(Refusal::Token),
            (true, _) => {}
        }
    }
    if is_of_another_site(headers) {
        return Err(Refusal::Origin);
    }
    // Not among the types that a form of any page may send. Source: Fetch §2.2.2, CORS-safelisted request-header.
    let is_json = text(headers, &CONTENT_TYPE)
        .is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")));
    if is_json { Ok(()) } else { Err(Refusal::ContentType) }
}

/// On loopback a page whose name leads to this machine (DNS rebinding) would be of the same origin, but says its name.
pub(super) fn check_host(headers: &HeaderMap, is_local: bool) -> Result<(), Refusal> {
    let is_ours = || text(headers, &HOST).is_some_and(|host| is_loopback(host_of(host)));
    if !is_local || is_ours() { Ok(()) } else { Err(Refusal::Host) }
}

/// By the word of the browser, which no page can change; of one that does not give it, by its `Origin`, which behind a proxy is another
/// name than ours.
fn is_of_another_site(headers: &HeaderMap) -> bool {
    if headers.contains_key(SEC_FETCH_SITE) {
        return !text(headers, &SEC_FETCH_SITE).is_some_and(|site| site == "same-origin" || site == "none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = text(headers, &HOST);
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_none() || authority != host
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Without the port.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn token() -> Token {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"s3cret").unwrap();
        Token::read(file.path()).unwrap()
    }

    #[test]
    fn a_name_that_leads_to_this_machine_by_trickery_is_not_ours() {
        for (host, want) in [
            (Some("localhost:9464"), true),
            (Some("LOCALHOST"), true),
            (Some("127.0.0.1:9464"), true),
            (Some("127.3.2.1"), true),
            (Some("[::1]:9464"), true),
            (Some("rebind.example:9464"), false),
            (Some("localhost.example"), false),
            (Some("192.0.2.7:9464"), false),
            (Some("[2001:db8::1]"), false),
            (Some(""), false),
            (None, false),
        ] {
            let sent: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
            assert_eq!(check_host(&headers(&sent), true).is_ok(), want, "{host:?}");
            assert!(check_host(&headers(&sent), false).is_ok(), "a proxy may call it as it likes");
        }
    }

    #[test]
    fn who_may_ask_for_what() {
        let json = ("content-type", "application/json");
        let local = ("host", "127.0.0.1:9464");
        let right = ("authorization", "Bearer s3cret");
        let none = Token::read(std::path::Path::new("")).unwrap();
        let some = token();
        for (name, errand, sent, token, is_local, want) in [
            ("a read here", Errand::Why, vec![local, json], &none, true, Ok(())),
            ("an action without a token file", Errand::Set, vec![local, json, right], &none, true, Err(Refusal::ReadOnly)),
            ("an action without the token", Errand::Set, vec![local, json], &some, true, Err(Refusal::Token)),
            ("that is said before anything else", Errand::Set, vec![local], &some, true, Err(Refusal::Token)),
            ("another token", Errand::End, vec![local, json, ("authorization", "Bearer s3cre")], &some, true, Err(Refusal::Token)),
            ("an action with it", Errand::Resync, vec![local, json, right], &some, true, Ok(())),
            ("a read here with a token file", Errand::Tail, vec![local, json], &some, true, Ok(())),
            ("a read from afar", Errand::Why, vec![("host", "edge.example"), json], &some, false, Err(Refusal::Token)),
            ("a read from afar with the token", Errand::Why, vec![("host", "edge.example"), json, right], &some, false, Ok(())),
            (
                "a read from afar where there is none",
                Errand::Past,
                vec![("host", "edge.example"), json],
                &none,
                false,
                Err(Refusal::Closed),
            ),
            ("what it is", Errand::About, vec![("host", "edge.example"), json], &none, false, Ok(())),
            ("a form of another page", Errand::Why, vec![local, ("content-type", "text/plain")], &none, true, Err(Refusal::ContentType)),
            ("no type", Errand::Why, vec![local], &none, true, Err(Refusal::ContentType)),
            ("a type with a charset", Errand::Why, vec![local, ("content-type", "application/json; charset=utf-8")], &none, true, Ok(())),
            (
                "its own page",
                Errand::Why,
                vec![local, json, ("origin", "http://127.0.0.1:9464"), ("sec-fetch-site", "same-origin")],
                &none,
                true,
                Ok(()),
            ),
            (
                "its own page behind a proxy",
                Errand::Why,
                vec![local, json, ("origin", "https://console.example"), ("sec-fetch-site", "same-origin")],
                &none,
                true,
                Ok(()),
            ),
            ("another origin", Errand::Why, vec![local, json, ("origin", "http://127.0.0.1:8080")], &none, true, Err(Refusal::Origin)),
            ("an origin that is not told", Errand::Why, vec![local, json, ("origin", "null")], &none, true, Err(Refusal::Origin)),
            ("another site", Errand::Set, vec![local, json, right, ("sec-fetch-site", "cross-site")], &some, true, Err(Refusal::Origin)),
            (
                "another port of this machine",
                Errand::Why,
                vec![local, json, ("sec-fetch-site", "same-site")],
                &none,
                true,
                Err(Refusal::Origin),
            ),
            ("another name", Errand::Why, vec![("host", "rebind.example"), json], &none, true, Err(Refusal::Host)),
        ] {
            assert_eq!(check(errand, &headers(&sent), token, is_local), want, "{name}");
        }
    }
}

//! Who may subscribe to whom. Pure.

use std::net::IpAddr;

use rsip::Host;

use crate::config::{AuthMode, Cidr};
use crate::feature::Presentity;
use crate::sip::request::Request;
use crate::sip::uri;

/// Realm where neither the configuration nor the presentity names one: that of a `tel:` presentity, as in its subjects.
const TEL_REALM: &str = "tel";

/// Watcher whose username makes no URI. Source: RFC 2606 §2.
const NOBODY: &str = "sip:invalid";

/// Why a user is refused: the presentity is another's.
pub const FOREIGN_PRESENTITY: &str = "this user may subscribe to its own features only";
/// Why a user is refused: the dialog is another's.
pub const FOREIGN_DIALOG: &str = "this dialog is another user's";
/// Why a source is refused.
pub const FOREIGN_SOURCE: &str = "this source is not one of the trusted";

/// `sip.auth`, parsed.
#[derive(Debug, Clone)]
pub struct AuthPolicy {
    /// How subscribers prove who they are.
    pub mode: AuthMode,
    /// Digest realm; empty: the presentity's domain.
    pub realm: Box<str>,
    /// Sources whose requests are not challenged.
    pub trusted: Vec<Cidr>,
    /// Whether a user may subscribe to others.
    pub allow_other_presentities: bool,
}

impl AuthPolicy {
    /// Anyone.
    #[must_use]
    pub fn open() -> Self {
        Self { mode: AuthMode::None, realm: Box::default(), trusted: Vec::new(), allow_other_presentities: false }
    }

    /// Whether a source vouches for what it sends.
    #[must_use]
    pub fn trusts(&self, source: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(source))
    }

    /// Whether a request of this sender may direct our NOTIFYs to a third address: only if it is authenticated, or its source is
    /// trusted. Otherwise the edge would be an amplifier.
    #[must_use]
    pub fn may_lead_elsewhere(&self, identity: &Identity, source: IpAddr) -> bool {
        *identity != Identity::Anyone || source.to_canonical().is_loopback() || self.trusts(source)
    }

    /// The realm in which the subscribers of a presentity have their passwords.
    #[must_use]
    pub fn realm<'a>(&'a self, presentity: &'a Presentity) -> &'a str {
        [&*self.realm, presentity.host()].into_iter().find(|realm| !realm.is_empty()).unwrap_or(TEL_REALM)
    }

    /// Whether a new subscription of this watcher to this presentity is taken in: a user's to its own presentity, unless
    /// the configuration lets it have others.
    #[must_use]
    pub fn may_subscribe(&self, identity: &Identity, presentity: &Presentity) -> bool {
        match identity {
            Identity::Anyone | Identity::Trusted => true,
            Identity::User(username) => self.allow_other_presentities || owns(username, presentity),
        }
    }
}

/// Who sent a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Not authenticated: `mode` is `none`.
    Anyone,
    /// A trusted source vouches for the From.
    Trusted,
    /// The user of this name, proved by its digest.
    User(Box<str>),
}

impl Identity {
    /// URI of the watcher: that of the user who has shown to be it, else what From says.
    #[must_use]
    pub fn watcher(&self, from: &str, presentity: &Presentity) -> Box<str> {
        match self {
            Self::Anyone | Self::Trusted => from.into(),
            Self::User(username) => own_presentity(username, presentity).map_or_else(|| NOBODY.into(), |own| own.as_str().into()),
        }
    }

    /// Whether a SUBSCRIBE in the dialog of `watcher` is taken from this one: a user's own dialog, or one about its own
    /// presentity. To have read a dialog's tags is not enough to change other people's features.
    #[must_use]
    pub fn may_use_dialog_of(&self, watcher: &str, presentity: &Presentity) -> bool {
        match self {
            Self::Anyone | Self::Trusted => true,
            Self::User(username) => {
                owns(username, presentity)
                    || own_presentity(username, presentity)
                        .is_some_and(|own| Presentity::parse(watcher).is_ok_and(|watcher| watcher == own))
            }
        }
    }
}

fn owns(username: &str, presentity: &Presentity) -> bool {
    let is_own = own_presentity(username, presentity).is_some_and(|own| own == *presentity);
    // `alice@work` can be a user part as a whole.
    is_own || Presentity::of_user(username, presentity.host()).is_ok_and(|own| own == *presentity)
}

/// The presentity of a user: `user@domain` as it says, a bare name in the domain of the presentity that it asks for.
fn own_presentity(username: &str, beside: &Presentity) -> Option<Presentity> {
    match username.rsplit_once('@') {
        Some((user, domain)) => Presentity::of_user(user, domain).ok(),
        None if beside.host().is_empty() => Presentity::parse(&format!("tel:{username}")).ok(),
        None => Presentity::of_user(username, beside.host()).ok(),
    }
}

/// Whether the `uri` of a digest is about this request: it names the user of its Request-URI or To, or no user and the same
/// host as one of them.
///
/// Hosts are not compared where a user is named, for a proxy or session border controller on the way may have rewritten the
/// host, port and parameters. Source: RFC 7616 §3.4.6, RFC 3261 §22.4.
#[must_use]
pub fn is_about(digest_uri: &str, request: &Request) -> bool {
    let of_request = [request.uri(), &*request.to().uri];
    match user(digest_uri) {
        Some(digest_user) => of_request.into_iter().filter_map(user).any(|user| user == digest_user),
        None => host(digest_uri).is_some_and(|digest_host| of_request.into_iter().filter_map(host).any(|host| host == digest_host)),
    }
}

fn user(uri: &str) -> Option<Box<str>> {
    Presentity::parse(uri).ok().map(|presentity| presentity.user().into())
}

fn host(uri: &str) -> Option<String> {
    let uri = uri::parse(uri).ok()?;
    Some(match &uri.host_with_port.host {
        Host::Domain(name) => name.value().to_ascii_lowercase(),
        Host::IpAddr(address) => address.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::parse;

    fn presentity(text: &str) -> Presentity {
        Presentity::parse(text).unwrap()
    }

    fn policy() -> AuthPolicy {
        AuthPolicy { mode: AuthMode::Digest, ..AuthPolicy::open() }
    }

    #[test]
    fn a_user_may_subscribe_to_itself() {
        for (username, of, want) in [
            ("alice", "sip:alice@10.0.0.11", true),
            ("alice@10.0.0.11", "sip:alice@10.0.0.11", true),
            ("alice@Example.COM", "sip:alice@example.com", true),
            ("alice@other.example", "sip:alice@example.com", false),
            ("Alice", "sip:alice@10.0.0.11", false),
            ("bob", "sip:alice@10.0.0.11", false),
            ("alice@work", "sip:alice%40work@h", true),
            ("a b", "sip:a%20b@h", true),
            ("+31201234567", "sip:+31201234567@h", true),
            ("+31201234567", "tel:+31201234567", true),
            ("31201234567", "tel:+31201234567", false),
            ("", "sip:alice@10.0.0.11", false),
        ] {
            let identity = Identity::User(username.into());
            assert_eq!(policy().may_subscribe(&identity, &presentity(of)), want, "{username} → {of}");
            assert!(AuthPolicy { allow_other_presentities: true, ..policy() }.may_subscribe(&identity, &presentity(of)));
        }
        for identity in [Identity::Anyone, Identity::Trusted] {
            assert!(policy().may_subscribe(&identity, &presentity("sip:alice@h")));
        }
    }

    #[test]
    fn the_watcher_is_who_has_shown_to_be_it() {
        let of = presentity("sip:boss@10.0.0.11");
        for (identity, want) in [
            (Identity::Anyone, "sips:from@h:5061"),
            (Identity::Trusted, "sips:from@h:5061"),
            (Identity::User("alice".into()), "sip:alice@10.0.0.11"),
            (Identity::User("alice@Example.com".into()), "sip:alice@example.com"),
            (Identity::User("alice@no host".into()), "sip:invalid"),
        ] {
            assert_eq!(&*identity.watcher("sips:from@h:5061", &of), want, "{identity:?}");
        }
    }

    #[test]
    fn a_dialog_belongs_to_its_watcher() {
        let boss = presentity("sip:boss@h");
        for (username, watcher, want) in [
            ("alice", "sip:alice@h", true),
            ("alice", "sips:alice@H:5061;x", true),
            ("boss", "sip:alice@h", true),
            ("mallory", "sip:alice@h", false),
            ("mallory@h", "sip:alice@h", false),
            ("alice@elsewhere", "sip:alice@h", false),
            ("mallory", "nonsense", false),
        ] {
            assert_eq!(Identity::User(username.into()).may_use_dialog_of(watcher, &boss), want, "{username} in {watcher}");
        }
        assert!(Identity::Trusted.may_use_dialog_of("sip:x@h", &boss) && Identity::Anyone.may_use_dialog_of("sip:x@h", &boss));
    }

    #[test]
    fn the_realm_is_the_configured_one_or_the_domain() {
        let domain = presentity("sip:alice@Example.com");
        assert_eq!(policy().realm(&domain), "example.com");
        assert_eq!(policy().realm(&presentity("tel:+1")), "tel");
        assert_eq!(AuthPolicy { realm: "Our Company".into(), ..policy() }.realm(&domain), "Our Company");
    }

    #[test]
    fn the_digest_uri_is_compared_as_proxies_leave_it() {
        for (digest, request_uri, to, want) in [
            ("sip:alice@h", "sip:alice@h", "sip:alice@h", true),
            ("sips:%61lice@other:5061;transport=tls", "sip:alice@h", "sip:alice@h", true),
            ("sip:bob@h", "sip:alice@h", "sip:alice@h", false),
            ("sip:H:5060", "sip:alice@h", "sip:alice@x", true),
            ("sip:192.0.2.1:5060", "sip:192.0.2.1", "sip:alice@h", true),
            ("sip:alice@h", "sip:192.0.2.1", "sip:alice@h", true),
            ("sip:[2001:db8::1]", "sip:alice@[2001:DB8::1]", "sip:alice@x", true),
            ("sip:elsewhere", "sip:alice@h", "sip:alice@x", false),
            ("tel:+1", "tel:+1", "sip:x@y", true),
            ("/index.html", "sip:alice@h", "sip:alice@h", false),
            ("", "sip:alice@h", "sip:alice@h", false),
        ] {
            let text = format!(
                "SUBSCRIBE {request_uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <{to}>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\n\r\n"
            );
            let request = Request::from_message(parse(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(is_about(digest, &request), want, "{digest} for {request_uri} and {to}");
        }
    }
}

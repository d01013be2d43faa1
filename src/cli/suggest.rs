//! The `dfks phone` that the configuration in use accepts: what the start banner suggests.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::{AuthMode, Cidr, Config, Listener, SipConfig};
use crate::sip::Transport;

/// In the order in which they are suggested: what needs the fewest words first.
const EASIEST_FIRST: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Ws, Transport::Tls, Transport::Wss];

/// A command for a shell of this machine; `None` where no simulated phone is let in.
pub(super) fn phone_command(config: &Config, listening: &[&str]) -> Option<String> {
    let sip = &config.sip;
    let listeners: Vec<Listener> = listening.iter().filter_map(|text| text.parse().ok()).collect();
    let usable = EASIEST_FIRST.into_iter().filter(|transport| !is_secure(*transport) || sip.tls.client_ca.as_os_str().is_empty());
    let listener = usable.flat_map(|transport| listeners.iter().filter(move |listener| listener.transport == transport)).next()?;
    let from = reached_at(listener.addr);
    if sip.auth.mode == AuthMode::Trusted && !is_trusted(sip, from.ip()) {
        return None;
    }
    let domain = sip.domains.iter().find(|domain| *domain != "tel").map_or("127.0.0.1", String::as_str);
    let (presentity, user) = match sip.auth.mode {
        AuthMode::Digest if !is_trusted(sip, from.ip()) => account(&sip.auth.users, &sip.auth.realm, domain),
        _ => (format!("sip:alice@{domain}"), None),
    };
    let mut command = format!("dfks phone {presentity} --server {from}");
    if listener.transport != Transport::Udp {
        let _infallible = write!(command, " --transport {}", listener.transport.as_str());
    }
    if is_secure(listener.transport) {
        let _infallible = write!(command, " --ca {}", sip.tls.certificate.display());
    }
    if let Some(user) = user {
        let _infallible = write!(command, " --user {user} --password-file FILE");
    }
    Some(command)
}

const fn is_secure(transport: Transport) -> bool {
    matches!(transport, Transport::Tls | Transport::Wss)
}

/// A listener on any address is reached on loopback.
fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// From an address of ours a phone here sends with that address.
fn is_trusted(sip: &SipConfig, from: IpAddr) -> bool {
    sip.auth.trusted.iter().filter_map(|cidr| cidr.parse::<Cidr>().ok()).any(|cidr| cidr.contains(from))
}

/// Somebody who may subscribe: the first user of the file, else one whom a responder may know.
fn account(users: &Path, realm: &str, domain: &str) -> (String, Option<String>) {
    let text = std::fs::read_to_string(users).unwrap_or_default();
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).and_then(|line| {
        let (user, rest) = line.split_once(':')?;
        Some((user.to_owned(), rest.split_once(':')?.0.to_owned()))
    });
    match first {
        // Its realm is its domain where the configuration names none.
        Some((user, of)) if realm.is_empty() => (format!("sip:{user}@{of}"), Some(user)),
        Some((user, _)) => (format!("sip:{user}@{domain}"), Some(user)),
        None => (format!("sip:alice@{domain}"), Some("alice".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(listening: &[&str], change: impl FnOnce(&mut Config)) -> Option<String> {
        let mut config = Config::default();
        change(&mut config);
        phone_command(&config, listening)
    }

    #[test]
    fn suggests_a_phone_that_is_let_in() {
        type Change = fn(&mut Config);
        let plain = "dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060";
        let cases: [(&[&str], Change, Option<&str>); 9] = [
            (&["tcp:127.0.0.1:5060", "udp:127.0.0.1:5060"], |_| {}, Some(plain)),
            (&["udp:0.0.0.0:5060"], |_| {}, Some(plain)),
            (&["tcp:[::]:5070"], |_| {}, Some("dfks phone sip:alice@127.0.0.1 --server [::1]:5070 --transport tcp")),
            (&["ws:127.0.0.1:80"], |_| {}, Some("dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:80 --transport ws")),
            (
                &["tls:127.0.0.1:5061"],
                |config| config.sip.tls.certificate = "edge.pem".into(),
                Some("dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5061 --transport tls --ca edge.pem"),
            ),
            (&["wss:127.0.0.1:443"], |config| config.sip.tls.client_ca = "ca.pem".into(), None),
            (
                &["udp:127.0.0.1:5060"],
                |config| config.sip.domains = vec!["tel".into(), "example.com".into()],
                Some("dfks phone sip:alice@example.com --server 127.0.0.1:5060"),
            ),
            (
                &["udp:127.0.0.1:5060"],
                |config| config.sip.auth.mode = AuthMode::Digest,
                Some("dfks phone sip:alice@127.0.0.1 --server 127.0.0.1:5060 --user alice --password-file FILE"),
            ),
            (&["udp:127.0.0.1:5060"], |config| config.sip.auth.mode = AuthMode::Trusted, None),
        ];
        for (listening, change, want) in cases {
            assert_eq!(command(listening, change).as_deref(), want, "{listening:?}");
        }
        let trusted =
            |config: &mut Config| (config.sip.auth.mode, config.sip.auth.trusted) = (AuthMode::Trusted, vec!["127.0.0.0/8".into()]);
        assert_eq!(command(&["udp:127.0.0.1:5060"], trusted).as_deref(), Some(plain));
    }

    #[test]
    fn suggests_the_first_user_of_the_file() {
        let dir = tempfile::TempDir::new().unwrap();
        let users = dir.path().join("users");
        std::fs::write(&users, "# all\n\nbob:example.com:00112233445566778899aabbccddeeff\n").unwrap();
        for (realm, want) in [("", "sip:bob@example.com"), ("staff", "sip:bob@127.0.0.1")] {
            let suggested = command(&["udp:127.0.0.1:5060"], |config| {
                (config.sip.auth.mode, config.sip.auth.users) = (AuthMode::Digest, users.clone());
                config.sip.auth.realm = realm.to_owned();
            });
            let want = format!("dfks phone {want} --server 127.0.0.1:5060 --user bob --password-file FILE");
            assert_eq!(suggested.as_deref(), Some(&*want));
        }
    }
}

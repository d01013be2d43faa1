//! An edge with a listener for each transport, and a phone on each.

use std::net::SocketAddr;

use tempfile::TempDir;

use crate::common::Nats;
use crate::harness::{Authority, Phone, Product, Relay, Setup};

/// Every transport: the listener's name, and the token of its Via.
pub(crate) const TRANSPORTS: [(&str, &str); 5] = [("udp", "UDP"), ("tcp", "TCP"), ("tls", "TLS"), ("ws", "WS"), ("wss", "WSS")];

/// See the module.
pub(crate) struct Site {
    pub(crate) product: Product,
    relays: Vec<(&'static str, Relay)>,
    _folder: TempDir,
}

impl Site {
    pub(crate) fn start(setup: Setup) -> Self {
        let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
        let (certificate, key) = authority.write(folder.path());
        let listen: Vec<_> = TRANSPORTS.iter().map(|(name, _)| format!("{name}:127.0.0.1:0")).collect();
        let product = setup
            .with("sip.listen", listen)
            .with("sip.tls.certificate", certificate.to_str().unwrap())
            .with("sip.tls.key", key.to_str().unwrap())
            .start();
        let secured = ["tls", "ws", "wss"];
        let relays = secured.map(|name| (name, Relay::start(name, product.at(name), &authority))).into();
        Self { product, relays, _folder: folder }
    }

    pub(crate) fn on(nats: &Nats) -> Self {
        Self::start(Setup::on(nats))
    }

    /// Where a phone that speaks plain TCP reaches the listener.
    pub(crate) fn address(&self, transport: &str) -> SocketAddr {
        let relay = self.relays.iter().find(|(name, _)| *name == transport);
        relay.map_or_else(|| self.product.at(transport), |(_, relay)| relay.address())
    }

    /// A phone that speaks this transport.
    pub(crate) fn phone(&self, (name, token): (&'static str, &'static str)) -> Phone {
        match name {
            "udp" => Phone::udp(self.product.udp()),
            _ => Phone::over(token, self.address(name)),
        }
    }
}

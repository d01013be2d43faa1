//! Binds the listeners of an edge, and finds out what phones are told to reach them at.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::edge::config::{Listener, Place};
use crate::edge::metrics::EdgeMetrics;
use crate::runtime::Tasks;
use crate::sip::flow::Transport;
use crate::sip::transport::{Inbound, StreamLimits, StreamTransport, Tls, UdpListener};

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("sip.listen: {transport}:{address}: {source}")]
pub struct BindError {
    transport: Transport,
    address: SocketAddr,
    source: io::Error,
}

/// The listeners that are bound.
pub(crate) struct Bound {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) udp: Vec<UdpListener>,
    pub(crate) streams: StreamTransport,
}

/// Binds the listeners of the configuration; all but the first of several threads at the addresses of the first, `at`.
///
/// # Errors
///
/// [`BindError`]
pub(crate) fn bind(
    config: &Config,
    (place, at): (Place, &[SocketAddr]),
    inbound: mpsc::Sender<Inbound>,
    tls: Option<Arc<Tls>>,
    metrics: &Arc<EdgeMetrics>,
    tasks: &Tasks,
) -> Result<Bound, BindError> {
    let counted = Arc::clone(metrics);
    let on_refused = Arc::new(move |transport, reason| counted.transports.refused(transport, reason));
    // There also without a listener: a Contact may name TCP.
    let streams = StreamTransport::new(StreamLimits::default(), inbound, tls, on_refused, tasks.clone());
    let mut bound = Bound { listeners: Vec::new(), udp: Vec::new(), streams };
    let is_shared = place.of > 1;
    for (number, listener) in config.sip_listeners().into_iter().enumerate() {
        let wanted = at.get(number).copied().unwrap_or(listener.addr);
        let failed = |source| BindError { transport: listener.transport, address: wanted, source };
        let index = u16::try_from(number).unwrap_or(u16::MAX);
        if is_shared && place.number == 0 {
            is_free(listener.transport, wanted).map_err(failed)?;
        }
        let address = if listener.transport == Transport::Udp {
            let socket = UdpListener::bind(wanted, index, is_shared).map_err(failed)?;
            let address = socket.local_addr();
            bound.udp.push(socket);
            address
        } else {
            bound.streams.listen(listener.transport, wanted, index, is_shared).map_err(failed)?
        };
        bound.listeners.push(Listener { transport: listener.transport, advertised: advertised(&config.sip.advertise, address), address });
    }
    Ok(bound)
}

/// An address that several threads share is bound by whoever of this user asks for it: whether it is another process's is found out
/// before.
fn is_free(transport: Transport, address: SocketAddr) -> io::Result<()> {
    match transport {
        Transport::Udp => UdpSocket::bind(address).map(drop),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => std::net::TcpListener::bind(address).map(drop),
    }
}

/// What phones are told to reach a listener at: `sip.advertise`, with the listener's port where it has none.
fn advertised(advertise: &str, address: SocketAddr) -> Box<str> {
    let has_port = advertise.parse::<SocketAddr>().is_ok()
        || advertise.rsplit_once(':').is_some_and(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    match advertise {
        "" => SocketAddr::new(reachable(address.ip()), address.port()).to_string().into(),
        _ if has_port => advertise.into(),
        host => format!("{host}:{}", address.port()).into(),
    }
}

/// The address that a wildcard listener is most likely reached at: that of the default route. No packet is sent.
fn reachable(address: IpAddr) -> IpAddr {
    if !address.is_unspecified() {
        return address;
    }
    let (from, towards) = if address.is_ipv4() { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let local = UdpSocket::bind(from).and_then(|socket| socket.connect(towards).and_then(|()| socket.local_addr()));
    let found = local.map_or(address, |local| local.ip());
    tracing::warn!(address = %found, "sip.advertise is empty and sip.listen is a wildcard: phones are told this address");
    found
}

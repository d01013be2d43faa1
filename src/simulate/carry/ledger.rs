//! What the ledger sees of what happens.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::simulate::ledger::{Invariant, Wrong};
use crate::simulate::world::State;
use crate::sip::{Request, parse};

/// The bucket of feature states.
const FEATURES: &str = "KV_dfks-features";

impl State {
    /// A datagram leaves.
    pub(in crate::simulate) fn ledger_sent(&mut self, from: SocketAddr, packet: &Bytes) {
        if !packet.starts_with(b"NOTIFY ") {
            return;
        }
        let Some(request) = parse(packet).ok().and_then(|message| Request::from_message(message).ok()) else {
            return self.ledger.broken(self.now, Invariant::NothingMadeUp, format!("{from} sends what is no request"));
        };
        let branch = request.top_via().branch().unwrap_or_default().to_owned();
        match self.ledger.sip.notify(self.now, from, &request, &branch) {
            None => {}
            Some(Wrong::Cseq(what)) => self.ledger.broken(self.now, Invariant::CseqGrows, what),
            Some(Wrong::Owner(what)) => self.ledger.broken(self.now, Invariant::OneOwner, what),
        }
    }

    /// Takes in what was stored since.
    pub(in crate::simulate) fn look_at_buckets(&mut self) {
        let looked_at = self.ledger.history.looked_at;
        if self.server.last_sequence(FEATURES) <= looked_at {
            return;
        }
        let now = self.now;
        let mut wrong = Vec::new();
        for stored in self.server.messages(FEATURES).filter(|stored| stored.sequence > looked_at) {
            wrong.extend(self.ledger.history.stored(now, stored.sequence, stored.payload));
        }
        self.ledger.history.looked_at = self.server.last_sequence(FEATURES);
        for what in wrong {
            self.ledger.broken(now, Invariant::VersionGrows, what);
        }
    }
}

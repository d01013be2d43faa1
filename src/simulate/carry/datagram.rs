//! Datagrams on their way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::simulate::event::Event;
use crate::simulate::world::State;

/// The longest that one is held up.
const LATE: Duration = Duration::from_secs(1);

impl State {
    /// Sends a datagram on its way.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, packet: Bytes) {
        self.ledger_sent(from, &packet);
        self.story.sent(self.now, from, to, &packet);
        let (loss, doubled) = (self.network.loss, self.network.doubled);
        if self.chance(loss) || self.is_cut(from, to) {
            self.story.lost();
            return;
        }
        if self.chance(doubled) {
            self.carry(from, to, packet.clone());
        }
        self.carry(from, to, packet);
    }

    fn carry(&mut self, from: SocketAddr, to: SocketAddr, packet: Bytes) {
        let (shortest, longest) = self.network.delay;
        let late = self.network.late;
        let delay = if self.chance(late) { self.between(longest, LATE) } else { self.between(shortest, longest) };
        self.after(delay, Event::Datagram { from, to, packet });
    }

    fn is_cut(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.network.cut.contains(&from.ip()) || self.network.cut.contains(&to.ip())
    }

    /// A datagram is there, unless its way was cut meanwhile or nobody listens.
    pub(in crate::simulate) fn arrived(&mut self, from: SocketAddr, to: SocketAddr, packet: Bytes) {
        if self.is_cut(from, to) {
            return;
        }
        if let Some(machine) = self.machines.values().find(|machine| machine.ip == to.ip()).cloned() {
            let _nobody_listens = machine.arrived(from, to, packet);
        } else if let Some(phone) = self.phones.iter().position(|phone| phone.address() == to) {
            self.phone_hears(phone, packet, from);
        }
    }
}

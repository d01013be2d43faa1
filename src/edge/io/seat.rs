//! The way between notifier threads that share addresses: a response may come to another one than its NOTIFY went out from.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::edge::config::Place;
use crate::edge::limit::STRAY_QUEUE;
use crate::sip::flow::Flow;

/// A message for another thread.
#[derive(Debug)]
pub(crate) struct Stray {
    pub(crate) flow: Flow,
    pub(crate) packet: Bytes,
}

/// One thread's end.
#[derive(Debug)]
pub(crate) struct Seat {
    place: Place,
    strays: mpsc::Receiver<Stray>,
    all: Arc<[mpsc::Sender<Stray>]>,
}

impl Seat {
    /// The seats of so many threads.
    pub(crate) fn of(threads: u8) -> Vec<Self> {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(STRAY_QUEUE)).unzip();
        let all: Arc<[_]> = senders.into();
        let places = (0..threads).map(|number| Place { number, of: threads });
        places.zip(receivers).map(|(place, strays)| Self { place, strays, all: Arc::clone(&all) }).collect()
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Hands a message to another thread; `false` when it has no room, or has ended.
    pub(crate) fn hand_over(&self, to: u8, stray: Stray) -> bool {
        self.all.get(usize::from(to)).is_some_and(|strays| strays.try_send(stray).is_ok())
    }

    /// The next message that came to another thread.
    pub(crate) fn poll_stray(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stray>> {
        self.strays.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::sip::flow::Transport;

    #[test]
    fn what_is_handed_over_comes_out_there_and_is_bounded() {
        let flow = Flow { transport: Transport::Udp, listener: 0, peer: "192.0.2.9:5062".parse().unwrap(), connection: None };
        let stray = || Stray { flow, packet: Bytes::from_static(b"SIP/2.0 200 OK") };
        let mut seats = Seat::of(3);
        assert_eq!(seats.iter().map(|seat| seat.place().number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(seats[0].hand_over(2, stray()) && !seats[0].hand_over(3, stray()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(seats[2].poll_stray(&mut cx), Poll::Ready(Some(_))) && seats[2].poll_stray(&mut cx).is_pending());
        assert!(seats[1].poll_stray(&mut cx).is_pending());
        let taken = (0..=STRAY_QUEUE).filter(|_| seats[0].hand_over(1, stray())).count();
        assert_eq!(taken, STRAY_QUEUE);
    }
}

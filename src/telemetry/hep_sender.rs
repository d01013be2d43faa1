//! Sends `HEPv3` packets to a collector. Whoever hands them over never waits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Packets that may wait to be sent; over it they are dropped.
const QUEUE_LENGTH: usize = 1024;
/// How often the collector's name is looked up.
const LOOKUP_EVERY: Duration = Duration::from_mins(1);
/// When it is tried again after it failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HepOutcome {
    /// The network took it.
    Sent,
    /// Too many wait already.
    QueueFull,
    /// The collector's address is unknown, or nothing listens there.
    Failed,
}

impl HepOutcome {
    pub(crate) const ALL: [Self; 3] = [Self::Sent, Self::QueueFull, Self::Failed];

    /// Word for the metric label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
        }
    }
}

/// Told of each packet what became of it.
pub(crate) type OnOutcome = Arc<dyn Fn(HepOutcome) + Send + Sync>;

/// The end that packets are handed to.
#[derive(Clone)]
pub(crate) struct HepSender {
    queue: mpsc::Sender<Vec<u8>>,
    on_outcome: OnOutcome,
}

/// The end that sends them: a task of its own.
pub(crate) struct HepTask {
    collector: Box<str>,
    queue: mpsc::Receiver<Vec<u8>>,
    on_outcome: OnOutcome,
}

/// Both ends. `collector` is `host:port`.
#[must_use]
pub(crate) fn hep_sender(collector: &str, on_outcome: OnOutcome) -> (HepSender, HepTask) {
    let (sender, queue) = mpsc::channel(QUEUE_LENGTH);
    (HepSender { queue: sender, on_outcome: Arc::clone(&on_outcome) }, HepTask { collector: collector.into(), queue, on_outcome })
}

impl HepSender {
    /// Queues a packet, or drops it and says so.
    pub(crate) fn send(&self, packet: Vec<u8>) {
        if self.queue.try_send(packet).is_err() {
            (self.on_outcome)(HepOutcome::QueueFull);
        }
    }
}

impl HepTask {
    /// Sends what is queued until told to stop, and then the rest.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut socket = None;
        let mut look_up_at = Instant::now();
        loop {
            let packet = tokio::select! {
                // The queue is still sent when the task stops.
                biased;
                packet = self.queue.recv() => packet,
                () = stop.cancelled() => None,
            };
            let Some(packet) = packet else { break };
            if look_up_at <= Instant::now() {
                let found = connect(&self.collector).await;
                look_up_at = Instant::now() + if found.is_some() { LOOKUP_EVERY } else { RETRY_AFTER };
                // While its name cannot be looked up, it is most likely where it was.
                socket = found.or(socket);
            }
            let is_sent = match &socket {
                // The error may be about an earlier packet; this one is lost all the same.
                Some(socket) => socket.send(&packet).await.is_ok(),
                None => false,
            };
            (self.on_outcome)(if is_sent { HepOutcome::Sent } else { HepOutcome::Failed });
        }
        stop.cancelled().await;
    }
}

async fn connect(collector: &str) -> Option<UdpSocket> {
    let addresses = match tokio::net::lookup_host(collector).await {
        Ok(addresses) => addresses,
        Err(error) => {
            tracing::warn!(%error, collector, "hep collector not found");
            return None;
        }
    };
    for address in addresses {
        let own: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        match UdpSocket::bind(SocketAddr::new(own, 0)).await {
            Ok(socket) if socket.connect(address).await.is_ok() => return Some(socket),
            _ => {}
        }
    }
    tracing::warn!(collector, "hep collector not reachable");
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::runtime::Tasks;

    fn noted() -> (Arc<Mutex<Vec<HepOutcome>>>, OnOutcome) {
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let noting = Arc::clone(&outcomes);
        (outcomes, Arc::new(move |outcome| noting.lock().unwrap().push(outcome)))
    }

    #[tokio::test]
    async fn packets_reach_the_collector_in_order() {
        let collector = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (outcomes, on_outcome) = noted();
        let (sender, task) = hep_sender(&format!("localhost:{}", collector.local_addr().unwrap().port()), on_outcome);
        let tasks = Tasks::new();
        tasks.spawn("hep", task.run(tasks.stopping().clone()));
        let mut buffer = [0; 8];
        for packet in [b"one", b"two"] {
            sender.send(packet.to_vec());
            let received = tokio::time::timeout(Duration::from_secs(10), collector.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..received], packet);
        }
        tasks.stop(Duration::from_secs(10)).await.unwrap();
        assert_eq!(*outcomes.lock().unwrap(), [HepOutcome::Sent; 2]);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_collector() {
        let (outcomes, on_outcome) = noted();
        let (sender, task) = hep_sender("127.0.0.1:9", on_outcome);
        for _ in 0..QUEUE_LENGTH + 3 {
            sender.send(vec![0]);
        }
        assert_eq!(*outcomes.lock().unwrap(), [HepOutcome::QueueFull; 3]);
        drop(task);
    }

    #[tokio::test]
    async fn a_collector_that_is_not_found_costs_only_its_packets() {
        let (outcomes, on_outcome) = noted();
        // Longer than a label may be: no server is asked for it.
        let (sender, task) = hep_sender(&format!("{}:9060", "x".repeat(64)), on_outcome);
        sender.send(vec![0]);
        let tasks = Tasks::new();
        tasks.spawn("hep", task.run(tasks.stopping().clone()));
        let all = async {
            while outcomes.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        assert_eq!(*outcomes.lock().unwrap(), [HepOutcome::Failed]);
        tasks.stop(Duration::from_secs(10)).await.unwrap();
    }
}

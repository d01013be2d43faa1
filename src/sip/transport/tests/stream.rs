use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::limits::RefuseReason;
use super::*;
use crate::runtime::clock;
use crate::sip::framing::FramingError;

const MESSAGE: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nContent-Length: 2\r\n\r\nab";
const SOON: Duration = Duration::from_secs(10);

struct Edge {
    transport: StreamTransport,
    inbound: mpsc::Receiver<Inbound>,
    tasks: Tasks,
    address: SocketAddr,
    refused: Arc<Mutex<Vec<(Transport, RefuseReason)>>>,
}

fn edge(limits: StreamLimits, inbound_capacity: usize) -> Edge {
    let tasks = Tasks::new();
    let (sender, inbound) = mpsc::channel(inbound_capacity);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&refused);
    let on_refused = Arc::new(move |transport, reason| noted.lock().unwrap().push((transport, reason)));
    let transport = StreamTransport::new(limits, sender, None, on_refused, tasks.clone());
    let address = transport.listen(Transport::Tcp, "127.0.0.1:0".parse().unwrap(), 4, false).unwrap();
    Edge { transport, inbound, tasks, address, refused }
}

impl Edge {
    async fn next(&mut self) -> Inbound {
        tokio::time::timeout(SOON, self.inbound.recv()).await.expect("something inbound").unwrap()
    }

    async fn opened(&mut self) -> Flow {
        match self.next().await {
            Inbound::Opened { flow } => flow,
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&mut self) -> CloseReason {
        match self.next().await {
            Inbound::Closed { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    async fn phone(&mut self) -> (TcpStream, Flow) {
        let phone = TcpStream::connect(self.address).await.unwrap();
        let flow = self.opened().await;
        assert_eq!((flow.peer, flow.listener), (phone.local_addr().unwrap(), 4));
        (phone, flow)
    }

    async fn stop(self) {
        self.transport.close();
        self.tasks.stop(SOON).await.unwrap();
    }
}

fn tcp(address: SocketAddr) -> Remote<'static> {
    Remote { transport: Transport::Tcp, address, name: None }
}

async fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(SOON, stream.read_exact(&mut bytes)).await.expect("bytes").unwrap();
    bytes
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ended = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("an end");
    bytes
}

#[tokio::test]
async fn messages_come_whole_and_answers_go_back() {
    let mut edge = edge(StreamLimits::default(), 16);
    let (mut phone, flow) = edge.phone().await;
    let two = [MESSAGE, MESSAGE].concat();
    for part in two.chunks(7) {
        phone.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE) });
    }
    let id = flow.connection.unwrap();
    for answer in ["one", "two"] {
        edge.transport.send(id, answer.into()).unwrap();
    }
    assert_eq!(read_exactly(&mut phone, 6).await, b"onetwo");
    assert_eq!((edge.transport.find(flow.peer, Transport::Tcp), edge.transport.flow(id)), (Some(flow), Some(flow)));
    drop(phone);
    assert_eq!(edge.closed().await, CloseReason::Peer);
    assert_eq!(edge.transport.send(id, Bytes::new()), Err(SendError::Closed));
    assert_eq!((edge.transport.find(flow.peer, Transport::Tcp), edge.transport.connections()), (None, 0));
    edge.stop().await;
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_nobody_hears_of_it() {
    let mut edge = edge(StreamLimits::default(), 16);
    let (mut phone, flow) = edge.phone().await;
    phone.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_exactly(&mut phone, 2).await, b"\r\n");
    phone.write_all(MESSAGE).await.unwrap();
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE) });
    edge.stop().await;
}

#[tokio::test]
async fn what_is_no_sip_closes_the_connection() {
    for (bytes, want) in [
        (b"OPTIONS sip:h SIP/2.0\r\nContent-Length: 99999\r\n\r\n".to_vec(), FramingError::BodyTooLong),
        (b"OPTIONS sip:h SIP/2.0\r\nContent-Length: x\r\n\r\n".to_vec(), FramingError::ContentLength),
        (vec![b'x'; 20_000], FramingError::HeadTooLong),
    ] {
        let mut edge = edge(StreamLimits::default(), 16);
        let (mut phone, _) = edge.phone().await;
        phone.write_all(&bytes).await.unwrap();
        assert_eq!(edge.closed().await, CloseReason::Framing(want));
        assert_eq!(read_to_end(&mut phone).await, b"");
        edge.stop().await;
    }
}

#[tokio::test]
async fn silence_and_unfinished_messages_end_a_connection() {
    let short = Duration::from_millis(80);
    for (name, limits, bytes, want) in [
        ("idle", StreamLimits { idle_timeout: short, ..StreamLimits::default() }, MESSAGE, CloseReason::Idle),
        ("half a message", StreamLimits { message_timeout: short, ..StreamLimits::default() }, &MESSAGE[..20], CloseReason::SlowMessage),
    ] {
        let mut edge = edge(limits, 16);
        let (mut phone, _) = edge.phone().await;
        let start: Instant = clock::now();
        phone.write_all(bytes).await.unwrap();
        if want == CloseReason::Idle {
            assert!(matches!(edge.next().await, Inbound::Message { .. }));
        }
        assert_eq!(edge.closed().await, want, "{name}");
        assert!(clock::now() - start >= short, "{name}");
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_trickle_does_not_keep_an_unfinished_message_alive() {
    let limits = StreamLimits { message_timeout: Duration::from_millis(200), ..StreamLimits::default() };
    let mut edge = edge(limits, 16);
    let (mut phone, _) = edge.phone().await;
    let trickle = async {
        // Ends when the connection is closed.
        while phone.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        reason = edge.closed() => assert_eq!(reason, CloseReason::SlowMessage),
        () = trickle => assert_eq!(edge.closed().await, CloseReason::SlowMessage),
    }
    edge.stop().await;
}

#[tokio::test]
async fn connections_over_either_limit_are_closed_at_once() {
    for (limits, want) in [
        (StreamLimits { max_connections: 1, ..StreamLimits::default() }, RefuseReason::TooManyConnections),
        (StreamLimits { max_connections_per_source: 1, ..StreamLimits::default() }, RefuseReason::TooManyFromSource),
    ] {
        let mut edge = edge(limits, 16);
        let (first, _) = edge.phone().await;
        let mut second = TcpStream::connect(edge.address).await.unwrap();
        assert_eq!(read_to_end(&mut second).await, b"");
        assert_eq!(*edge.refused.lock().unwrap(), [(Transport::Tcp, want)]);
        assert_eq!(edge.transport.connections(), 1);
        assert_eq!(edge.transport.connect(tcp(edge.address), 0, Bytes::new()), Err(SendError::TooManyConnections));
        drop(first);
        assert_eq!(edge.closed().await, CloseReason::Peer);
        edge.phone().await;
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up() {
    let limits = StreamLimits { queue_messages: 4, write_timeout: Duration::from_millis(100), ..StreamLimits::default() };
    let mut edge = edge(limits, 16);
    let (_phone, flow) = edge.phone().await;
    let id = flow.connection.unwrap();
    let packet = Bytes::from(vec![b'x'; 1 << 20]);
    let mut is_full = false;
    while !is_full {
        match edge.transport.send(id, packet.clone()) {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => {
                assert_eq!(error, SendError::Full);
                is_full = true;
            }
        }
    }
    assert_eq!(edge.closed().await, CloseReason::SlowPeer);
    edge.stop().await;
}

#[tokio::test]
async fn a_driver_that_lags_behind_stops_the_reading() {
    let mut edge = edge(StreamLimits::default(), 1);
    let (mut phone, flow) = edge.phone().await;
    let flood = async {
        // 8 MiB is more than the sockets' buffers and one queue hold.
        for _ in 0..(8 << 20) / MESSAGE.len() {
            phone.write_all(MESSAGE).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), flood).await.is_err(), "the flood is held up");
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE) });
    edge.stop().await;
}

#[tokio::test]
async fn a_connection_of_ours_carries_what_was_sent_before_it_stood() {
    let mut edge = edge(StreamLimits::default(), 16);
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flow = edge.transport.connect(tcp(proxy.local_addr().unwrap()), 2, Bytes::from_static(b"first ")).unwrap();
    edge.transport.send(flow.connection.unwrap(), Bytes::from_static(b"second")).unwrap();
    assert_eq!(edge.transport.find(flow.peer, Transport::Tcp), Some(flow));
    let (mut accepted, _) = proxy.accept().await.unwrap();
    assert_eq!(read_exactly(&mut accepted, 12).await, b"first second");
    assert_eq!(edge.opened().await, flow);
    accepted.write_all(MESSAGE).await.unwrap();
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE) });
    edge.stop().await;
}

#[tokio::test]
async fn a_connection_that_never_stands_is_reported() {
    let mut edge = edge(StreamLimits::default(), 16);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    edge.transport.connect(tcp(nobody), 0, Bytes::from_static(b"x")).unwrap();
    assert_eq!(edge.closed().await, CloseReason::ConnectFailed);
    assert_eq!(edge.transport.find(nobody, Transport::Tcp), None);
    edge.stop().await;
}

#[tokio::test]
async fn closing_writes_what_waits_and_takes_no_more() {
    let mut edge = edge(StreamLimits::default(), 16);
    let (mut phone, flow) = edge.phone().await;
    let id = flow.connection.unwrap();
    edge.transport.send(id, Bytes::from_static(b"last words")).unwrap();
    edge.transport.close();
    assert_eq!(edge.transport.send(id, Bytes::new()), Err(SendError::Closed));
    assert_eq!(read_to_end(&mut phone).await, b"last words");
    let Edge { transport, tasks, address, .. } = edge;
    drop(transport);
    tasks.stop(SOON).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(tasks.failure(), None);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let mut edge = edge(StreamLimits::default(), 16);
    let (_phone, flow) = edge.phone().await;
    for _ in 0..16 {
        edge.transport.send(flow.connection.unwrap(), Bytes::from(vec![b'x'; 1 << 20])).unwrap();
    }
    edge.transport.close();
    let start = clock::now();
    edge.tasks.stop(SOON).await.unwrap();
    assert!(clock::now() - start < Duration::from_secs(2));
}

//! WebSocket over real sockets, by the crate's client, and by hand where that one is too strict.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::sip::flow::Transport;
use crate::sip::transport::tests::secure::Edge;
use crate::sip::transport::*;

const MESSAGE: &str = "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/WS x.invalid\r\n\r\nab";
const SOON: Duration = Duration::from_secs(10);
const UPGRADE: &str = "GET /sip HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(stream: S, protocol: &str) -> Result<WebSocketStream<S>, Box<Error>> {
    let mut request = "ws://localhost/".into_client_request().unwrap();
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.parse().unwrap());
    let (socket, response) = client_async(request, stream).await?;
    assert!(response.headers()[SEC_WEBSOCKET_PROTOCOL].as_bytes().eq_ignore_ascii_case(b"sip"));
    Ok(socket)
}

async fn phone(edge: &mut Edge) -> (WebSocketStream<TcpStream>, Flow) {
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let phone = upgrade(stream, "chat, SIP").await.unwrap();
    (phone, edge.opened().await)
}

async fn received(phone: &mut (impl StreamExt<Item = Result<Message, Error>> + Unpin)) -> Message {
    tokio::time::timeout(SOON, phone.next()).await.expect("a message").unwrap().unwrap()
}

async fn close_code(phone: &mut WebSocketStream<TcpStream>) -> CloseCode {
    match received(phone).await {
        Message::Close(Some(frame)) => frame.code,
        other => panic!("{other:?}"),
    }
}

/// A socket on which the upgrade is done by hand.
async fn raw(edge: &mut Edge) -> TcpStream {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(format!("{UPGRADE}Sec-WebSocket-Protocol: sip\r\n\r\n").as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    edge.opened().await;
    stream
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(SOON, stream.read_u8()).await.expect("a byte").unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn one_message_a_frame_in_text_and_binary_both_ways() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    let (mut phone, flow) = phone(&mut edge).await;
    assert_eq!((flow.transport, flow.listener), (Transport::Ws, 1));
    for message in [Message::text(MESSAGE), Message::binary(MESSAGE.as_bytes())] {
        phone.send(message).await.unwrap();
        assert_eq!(edge.next().await, Inbound::Message { flow, packet: Bytes::from_static(MESSAGE.as_bytes()) });
    }
    let id = flow.connection.unwrap();
    edge.transport.send(id, MESSAGE.into()).unwrap();
    assert_eq!(received(&mut phone).await, Message::text(MESSAGE));
    edge.transport.send(id, Bytes::from_static(b"latin-1: \xe9")).unwrap();
    assert_eq!(received(&mut phone).await, Message::binary(&b"latin-1: \xe9"[..]));
    phone.close(None).await.unwrap();
    assert_eq!(edge.closed().await, CloseReason::Peer);
    edge.stop().await;
}

#[tokio::test]
async fn a_message_in_fragments_and_a_ping_between_them_come_whole() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    let (mut phone, flow) = phone(&mut edge).await;
    let (first, rest) = MESSAGE.split_at(10);
    phone.send(Message::Frame(Frame::message(first, OpCode::Data(Data::Text), false))).await.unwrap();
    phone.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    assert_eq!(received(&mut phone).await, Message::Pong(Bytes::from_static(b"?")));
    phone.send(Message::Frame(Frame::message(rest, OpCode::Data(Data::Continue), true))).await.unwrap();
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: MESSAGE.into() });
    edge.stop().await;
}

#[tokio::test]
async fn a_frame_split_over_many_segments_comes_whole() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    let mut phone = raw(&mut edge).await;
    let mut frame = vec![0x81, 0x80 | u8::try_from(MESSAGE.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(MESSAGE.bytes().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    for byte in frame {
        phone.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(matches!(edge.next().await, Inbound::Message { packet, .. } if packet == MESSAGE));
    edge.stop().await;
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_blanks_are_nothing() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    let (mut phone, flow) = phone(&mut edge).await;
    for blank in ["", "\r\n", "\r\n\r\n"] {
        phone.send(Message::text(blank)).await.unwrap();
    }
    assert_eq!(received(&mut phone).await, Message::text("\r\n"));
    phone.send(Message::text(MESSAGE)).await.unwrap();
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: MESSAGE.into() });
    edge.stop().await;
}

#[tokio::test]
async fn what_is_too_long_or_no_websocket_ends_the_connection() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    let longest = crate::sip::framing::MAX_HEAD_BYTES + crate::sip::framing::MAX_BODY_BYTES;
    let (mut at_limit, _) = phone(&mut edge).await;
    at_limit.send(Message::binary(vec![b'x'; longest])).await.unwrap();
    assert!(matches!(edge.next().await, Inbound::Message { packet, .. } if packet.len() == longest));
    at_limit.send(Message::binary(vec![b'x'; longest + 1])).await.unwrap();
    assert_eq!(edge.closed().await, CloseReason::MessageTooLong);
    assert_eq!(close_code(&mut at_limit).await, CloseCode::Size);

    let (mut in_parts, _) = phone(&mut edge).await;
    for part in [Data::Binary, Data::Continue, Data::Continue] {
        let _closed_meanwhile = in_parts.send(Message::Frame(Frame::message(vec![0; longest / 2], OpCode::Data(part), false))).await;
    }
    assert_eq!(edge.closed().await, CloseReason::MessageTooLong);

    for bytes in [&b"\x81\x05hello"[..], b"\x83\x80\x00\x00\x00\x00", b"\xf1\x80\x00\x00\x00\x00", b"\x81\x81\x00\x00\x00\x00\xff"] {
        let mut phone = raw(&mut edge).await;
        phone.write_all(bytes).await.unwrap();
        assert_eq!(edge.closed().await, CloseReason::WebSocket, "{bytes:?}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn silence_and_trickles_end_a_connection() {
    let short = Duration::from_millis(150);
    let mut edge = Edge::new(Transport::Ws, StreamLimits { idle_timeout: short, ..StreamLimits::default() });
    let (mut phone, _) = phone(&mut edge).await;
    assert_eq!(edge.closed().await, CloseReason::Idle);
    assert_eq!(close_code(&mut phone).await, CloseCode::Away);
    edge.stop().await;

    let mut edge = Edge::new(Transport::Ws, StreamLimits { message_timeout: short, ..StreamLimits::default() });
    let mut phone = raw(&mut edge).await;
    phone.write_all(b"\x82\xfe\x04\x00\x00\x00\x00\x00").await.unwrap();
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
async fn an_upgrade_without_the_subprotocol_is_answered_400() {
    let mut edge = Edge::new(Transport::Ws, StreamLimits::default());
    for offered in ["", "Sec-WebSocket-Protocol: chat, sipx\r\n"] {
        let mut phone = TcpStream::connect(edge.address).await.unwrap();
        phone.write_all(format!("{UPGRADE}{offered}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        phone.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nexpected Sec-WebSocket-Protocol: sip\n"), "{answer}");
        assert_eq!(edge.refused().await, RefuseReason::Subprotocol);
    }
    assert!(edge.inbound.try_recv().is_err());
    edge.stop().await;
}

#[tokio::test]
async fn what_is_no_upgrade_is_refused() {
    let limits = StreamLimits { handshake_timeout: Duration::from_millis(200), ..StreamLimits::default() };
    let mut edge = Edge::new(Transport::Ws, limits);
    for (bytes, want) in [
        ("OPTIONS sip:h SIP/2.0\r\n\r\n", RefuseReason::WebSocket),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", RefuseReason::WebSocket),
        ("GET / HTTP/1.1\r\nHost: ", RefuseReason::HandshakeTimeout),
    ] {
        let mut phone = TcpStream::connect(edge.address).await.unwrap();
        phone.write_all(bytes.as_bytes()).await.unwrap();
        assert_eq!(edge.refused().await, want, "{bytes}");
    }
    let mut endless = TcpStream::connect(edge.address).await.unwrap();
    let flood = async { while endless.write_all(&[b'x'; 4096]).await.is_ok() {} };
    tokio::time::timeout(SOON, flood).await.expect("an endless head is cut off");
    assert_eq!((edge.refused().await, edge.transport.connections()), (RefuseReason::WebSocket, 0));
    assert!(edge.inbound.try_recv().is_err());
    edge.stop().await;
}

#[tokio::test]
async fn a_secure_websocket_is_both() {
    let mut edge = Edge::new(Transport::Wss, StreamLimits::default());
    let mut phone = upgrade(edge.phone().await, "sip").await.unwrap();
    let flow = edge.opened().await;
    assert_eq!(flow.transport, Transport::Wss);
    phone.send(Message::text(MESSAGE)).await.unwrap();
    assert_eq!(edge.next().await, Inbound::Message { flow, packet: MESSAGE.into() });
    edge.transport.send(flow.connection.unwrap(), MESSAGE.into()).unwrap();
    assert_eq!(received(&mut phone).await, Message::text(MESSAGE));
    edge.transport.close();
    assert!(received(&mut phone).await.is_close());
    edge.stop().await;
}

//! The corpora on a stream: every valid message, cut anywhere and run together, comes out as it went in.

use super::*;
use crate::sip::framing::{Frame, Framer};

/// As it may stand on a stream: Content-Length says what its body is, and nothing stands before it.
fn on_a_stream(packet: &[u8]) -> Option<Vec<u8>> {
    let mut framer = Framer::new();
    framer.buffer().extend_from_slice(packet);
    let mut taken = None;
    while let Ok(Some(frame)) = framer.next_frame() {
        match frame {
            Frame::Message(message) if taken.is_none() => taken = Some(message.to_vec()),
            Frame::Message(_) => return None,
            Frame::Ping => {}
        }
    }
    taken.filter(|_| !framer.is_partial())
}

fn messages_of(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut framer = Framer::new();
    let mut messages = Vec::new();
    for part in stream.chunks(piece) {
        framer.buffer().extend_from_slice(part);
        while let Some(frame) = framer.next_frame().unwrap() {
            if let Frame::Message(message) = frame {
                messages.push(message.to_vec());
            }
        }
    }
    messages
}

#[test]
fn every_valid_message_is_cut_out_of_a_stream_whole_however_it_comes() {
    let messages: Vec<_> = odd_but_valid().iter().filter_map(|case| on_a_stream(&case.1)).collect();
    assert!(messages.len() >= 100, "{}", messages.len());
    let stream = messages.concat();
    for piece in [1, 2, 3, 7, 64, 1500, stream.len()] {
        assert_eq!(messages_of(&stream, piece), messages, "in pieces of {piece} bytes");
    }
    let pinged = messages.join(b"\r\n\r\n".as_slice());
    assert_eq!(messages_of(&pinged, 5), messages, "with keep-alives between them");
}

//! A byte stream in any pieces gives the same messages as in one.
#![no_main]

use dfks::sip::framing::{Frame, Framer, FramingError, MAX_BODY_BYTES, MAX_HEAD_BYTES};
use libfuzzer_sys::fuzz_target;

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut all = Vec::new();
    for piece in pieces {
        framer.buffer().extend_from_slice(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => {
                    if let Frame::Message(bytes) = &frame {
                        assert!(!bytes.is_empty() && bytes.len() <= MAX_HEAD_BYTES + MAX_BODY_BYTES);
                    }
                    all.push(frame);
                }
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
        }
    }
    (all, None)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, stream) = input;
    let whole = frames(std::iter::once(stream));
    let bytes = frames(stream.chunks(1));
    let pieces = frames(stream.chunks(usize::from(step).max(1)));
    assert_eq!(whole, bytes);
    assert_eq!(whole, pieces);
});

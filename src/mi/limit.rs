//! How much the mi bridge takes in at a time, and what it says over that.

use crate::bus::message::ErrorBody;

/// Most commands in hand that came over the bus, and as many over HTTP. One more is answered 503 at once.
pub const MAX_IN_HAND: usize = 256;
/// Most durable commands in hand. The others stay in their stream.
pub(crate) const MAX_DURABLE_IN_HAND: usize = 256;

/// Most requests in hand for each thing that is done by hand. One more is answered 503 at once.
pub(crate) const MAX_HANDS: usize = 64;

/// What a command over [`MAX_IN_HAND`] is refused with.
pub(crate) fn too_many() -> ErrorBody {
    ErrorBody::new(503, format!("{MAX_IN_HAND} commands are in hand already"))
}

/// What a request over [`MAX_HANDS`] is refused with.
pub(crate) fn too_many_hands() -> ErrorBody {
    ErrorBody::new(503, format!("{MAX_HANDS} such requests are in hand already"))
}

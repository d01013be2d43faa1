//! How much the mi bridge takes in at a time, and what it says over that.

use crate::bus::message::ErrorBody;

/// Most commands in hand that came over the bus, and as many over HTTP. One more is answered 503 at once.
pub const MAX_IN_HAND: usize = 256;
/// Most durable commands in hand. The others stay in their stream.
pub(crate) const MAX_DURABLE_IN_HAND: usize = 256;

/// What a command over [`MAX_IN_HAND`] is refused with.
pub(crate) fn too_many() -> ErrorBody {
    ErrorBody::new(503, format!("{MAX_IN_HAND} commands are in hand already"))
}

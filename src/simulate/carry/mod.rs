//! What happens in a world, kind by kind: each file handles the events of one kind.

mod datagram;
pub(crate) mod end;
mod fault;
mod ledger;
mod line;
mod phone;

//! Who is let in: how much a source may send, who sent it, and what that user may subscribe to. Pure.

pub mod accounts;
pub mod policy;
pub mod rate_limit;
pub mod users;

//! Whose subscription or request it is, in the log at `debug`. Metrics never name anybody.

use std::net::SocketAddr;

/// Who is meant, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Whose features.
    pub presentity: &'a str,
    /// URI of the phone's user.
    pub watcher: &'a str,
    /// Where the phone is.
    pub source: SocketAddr,
    /// Call-ID of the dialog.
    pub call_id: &'a str,
}

/// Whether any of it is written: what it costs to find out who is meant is spent only then.
pub(crate) fn is_told() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

//! What a test answers where something is looked up: a record in the bucket, or a name.

use bytes::Bytes;

use crate::edge::notifier::tests::fixture::Bench;
use crate::edge::notifier::*;
use crate::edge::subscription::record::Record;
use crate::sip::locate::{Location, NotLocated};

impl Bench {
    /// The next name to be located, which must be this one, leads there.
    pub(in crate::edge::notifier) fn locate(&mut self, name: &str, found: Result<Location, NotLocated>) {
        let host = self.located.pop_front().expect("a name");
        assert_eq!(host.name(), name);
        self.input(Input::Located { host, found });
    }

    /// The next bus request, which must be a lookup, answered with this record.
    pub(in crate::edge::notifier) fn found(&mut self, record: &Record, revision: u64) {
        let token = self.take_lookup();
        let payload = serde_json::to_vec(record).unwrap().into();
        self.raw(token, ReplyMessage { status: None, sequence: Some(revision), is_deleted: false, removed_over: None, payload });
    }

    /// The next bus request, which must be a lookup, answered with the marker of a removal.
    pub(in crate::edge::notifier) fn found_removed(&mut self, revision: u64) {
        let token = self.take_lookup();
        self.raw(
            token,
            ReplyMessage { status: None, sequence: Some(revision), is_deleted: true, removed_over: None, payload: Bytes::new() },
        );
    }

    pub(in crate::edge::notifier) fn take_lookup(&mut self) -> Token {
        let (token, request) = self.asked.pop_front().expect("a lookup");
        assert!(matches!(request, BusRequest::Lookup { .. }), "{request:?}");
        token
    }
}

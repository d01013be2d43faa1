//! Errors of the JetStream API, with the codes of nats-server's `server/errors.json`. Pure.

use std::borrow::Cow;

use serde_json::{Value, json};

/// What the API refuses with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: u16,
    pub(super) err_code: u16,
    pub(super) description: Cow<'static, str>,
}

const fn error(code: u16, err_code: u16, description: &'static str) -> ApiError {
    ApiError { code, err_code, description: Cow::Borrowed(description) }
}

pub(super) const BAD_REQUEST: ApiError = error(400, 10003, "bad request");
pub(super) const CONSUMER_NAME_IN_USE: ApiError = error(400, 10013, "consumer name already in use");
pub(super) const CONSUMER_NOT_FOUND: ApiError = error(404, 10014, "consumer not found");
pub(super) const INSUFFICIENT_RESOURCES: ApiError = error(503, 10023, "insufficient resources");
pub(super) const NO_MESSAGE: ApiError = error(404, 10037, "no message found");
pub(super) const INSUFFICIENT_STORAGE: ApiError = error(500, 10047, "insufficient storage resources available");
pub(super) const MESSAGE_TOO_LARGE: ApiError = error(400, 10054, "message size exceeds maximum allowed");
pub(super) const STREAM_MISMATCH: ApiError = error(400, 10056, "stream name in subject does not match request");
pub(super) const STREAM_NAME_IN_USE: ApiError = error(400, 10058, "stream name already in use with a different configuration");
pub(super) const STREAM_NOT_FOUND: ApiError = error(404, 10059, "stream not found");
pub(super) const STREAM_NOT_MATCH: ApiError = error(400, 10060, "expected stream does not match");
pub(super) const SUBJECT_OVERLAP: ApiError = error(400, 10065, "subjects overlap with an existing stream");
pub(super) const PULL_NEEDS_ACK: ApiError = error(400, 10084, "consumer in pull mode requires explicit ack policy on workqueue stream");
pub(super) const QUEUE_NEEDS_ACK: ApiError = error(400, 10098, "workqueue stream requires explicit ack");
pub(super) const QUEUE_UNFILTERED: ApiError = error(400, 10099, "multiple non-filtered consumers not allowed on workqueue stream");
pub(super) const QUEUE_NOT_UNIQUE: ApiError = error(400, 10100, "filtered consumer not unique on workqueue stream");
pub(super) const QUEUE_NOT_ALL: ApiError = error(400, 10101, "consumer must be deliver all on workqueue stream");
pub(super) const FILTER_MISMATCH: ApiError =
    error(400, 10131, "Consumer create request did not match filtered subject from create subject");
pub(super) const CONSUMER_EXISTS: ApiError = error(400, 10148, "consumer already exists");
pub(super) const CONSUMER_MISSING: ApiError = error(400, 10149, "consumer does not exist");
pub(super) const NO_SUCH_GROUP: ApiError = error(400, 10160, "Provided priority group does not exist for this consumer");
pub(super) const TTL_INVALID: ApiError = error(400, 10165, "invalid per-message TTL");
pub(super) const TTL_DISABLED: ApiError = error(400, 10166, "per-message TTL is disabled");
pub(super) const SCHEDULES_DISABLED: ApiError = error(400, 10188, "message schedules is disabled");
pub(super) const SCHEDULE_INVALID: ApiError = error(400, 10189, "message schedules pattern is invalid");
pub(super) const SCHEDULE_TARGET: ApiError = error(400, 10190, "message schedules target is invalid");

impl ApiError {
    fn of(code: u16, err_code: u16, description: String) -> Self {
        Self { code, err_code, description: Cow::Owned(description) }
    }

    pub(super) fn bad_json(error: &serde_json::Error) -> Self {
        Self::of(400, 10025, format!("invalid JSON: {error}"))
    }

    pub(super) fn wrong_last_sequence(sequence: u64) -> Self {
        Self::of(400, 10071, format!("wrong last sequence: {sequence}"))
    }

    pub(super) fn wrong_last_id(id: &str) -> Self {
        Self::of(400, 10070, format!("wrong last msg ID: {id}"))
    }

    pub(super) fn rollup(why: String) -> Self {
        Self::of(500, 10111, why)
    }

    pub(super) fn not_stored(why: &'static str) -> Self {
        error(503, 10077, why)
    }

    pub(super) fn not_deleted(why: &'static str) -> Self {
        error(500, 10057, why)
    }

    pub(super) fn bad_consumer(why: &'static str) -> Self {
        error(400, 10094, why)
    }

    pub(super) fn consumer_not_changed(why: &'static str) -> Self {
        error(500, 10012, why)
    }

    pub(super) fn stream_not_changed(why: &'static str) -> Self {
        error(500, 10052, why)
    }

    pub(super) const fn not_purged() -> Self {
        error(500, 10110, "stream purge failed")
    }

    pub(super) const fn no_group() -> Self {
        error(400, 10025, "invalid JSON: consumer group not specified")
    }

    pub(super) fn json(&self) -> Value {
        json!({ "code": self.code, "err_code": self.err_code, "description": self.description })
    }
}

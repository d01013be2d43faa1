//! Settings of streams and consumers, with what the server fills in. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulate::server::fault::ApiError;

/// When messages leave a stream by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Retention {
    #[default]
    Limits,
    WorkQueue,
    Interest,
}

/// What gives way at a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Discard {
    #[default]
    Old,
    New,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Storage {
    #[default]
    File,
    Memory,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_not(value: &bool) -> bool {
    !*value
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "as the API has it")]
pub(super) struct StreamConfig {
    pub(super) name: String,
    pub(super) subjects: Vec<String>,
    pub(super) retention: Retention,
    pub(super) max_consumers: i64,
    pub(super) max_msgs: i64,
    pub(super) max_bytes: i64,
    /// Nanoseconds, as all times here.
    pub(super) max_age: u64,
    pub(super) max_msgs_per_subject: i64,
    pub(super) max_msg_size: i64,
    pub(super) discard: Discard,
    pub(super) storage: Storage,
    pub(super) num_replicas: u64,
    pub(super) duplicate_window: u64,
    #[serde(skip_deserializing)]
    compression: &'static str,
    pub(super) allow_direct: bool,
    mirror_direct: bool,
    sealed: bool,
    pub(super) deny_delete: bool,
    pub(super) deny_purge: bool,
    pub(super) allow_rollup_hdrs: bool,
    #[serde(skip_deserializing)]
    consumer_limits: BTreeMap<String, u64>,
    pub(super) allow_msg_ttl: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) subject_delete_marker_ttl: u64,
    #[serde(skip_serializing_if = "is_not")]
    pub(super) allow_msg_schedules: bool,
    #[serde(deserialize_with = "own_metadata")]
    metadata: BTreeMap<String, String>,
}

/// Those of the server itself are not kept.
fn own_metadata<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut all = Option::<BTreeMap<String, String>>::deserialize(from)?.unwrap_or_default();
    all.retain(|name, _| !name.starts_with("_nats."));
    Ok(all)
}

const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

fn none_is_no_limit(limit: &mut i64) {
    if *limit == 0 {
        *limit = -1;
    }
}

impl StreamConfig {
    /// With what the server fills in.
    pub(super) fn checked(mut self) -> Self {
        for limit in
            [&mut self.max_consumers, &mut self.max_msgs, &mut self.max_bytes, &mut self.max_msgs_per_subject, &mut self.max_msg_size]
        {
            none_is_no_limit(limit);
        }
        self.num_replicas = self.num_replicas.max(1);
        self.compression = "none";
        if self.duplicate_window == 0 {
            let window = u64::try_from(DUPLICATE_WINDOW.as_nanos()).unwrap_or_default();
            self.duplicate_window = if self.max_age == 0 { window } else { window.min(self.max_age) };
        }
        if self.subject_delete_marker_ttl > 0 {
            self.allow_rollup_hdrs = true;
        }
        self.allow_rollup_hdrs |= self.allow_msg_schedules;
        if self.subjects.is_empty() {
            self.subjects.push(self.name.clone());
        }
        self
    }
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeliverPolicy {
    #[default]
    All,
    Last,
    New,
    ByStartSequence,
    ByStartTime,
    LastPerSubject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AckPolicy {
    #[default]
    None,
    All,
    Explicit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PriorityPolicy {
    #[default]
    None,
    Overflow,
    PinnedClient,
}

impl PriorityPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ConsumerConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) durable_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    pub(super) deliver_policy: DeliverPolicy,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) opt_start_seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opt_start_time: Option<String>,
    pub(super) ack_policy: AckPolicy,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) ack_wait: u64,
    pub(super) max_deliver: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) filter_subject: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) filter_subjects: Vec<String>,
    #[serde(skip_deserializing)]
    replay_policy: &'static str,
    #[serde(skip_serializing_if = "is_zero_signed")]
    pub(super) max_waiting: i64,
    #[serde(skip_serializing_if = "is_zero_signed")]
    pub(super) max_ack_pending: i64,
    #[serde(skip_serializing_if = "is_not")]
    pub(super) flow_control: bool,
    #[serde(skip_serializing_if = "is_not")]
    pub(super) headers_only: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) deliver_subject: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) idle_heartbeat: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) inactive_threshold: u64,
    pub(super) num_replicas: u64,
    #[serde(skip_serializing_if = "is_not")]
    pub(super) mem_storage: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) priority_groups: Vec<String>,
    #[serde(skip_serializing_if = "PriorityPolicy::is_none")]
    pub(super) priority_policy: PriorityPolicy,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) priority_timeout: u64,
    #[serde(deserialize_with = "own_metadata")]
    metadata: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero_signed(value: &i64) -> bool {
    *value == 0
}

const ACK_WAIT: u64 = 30_000_000_000;
const EPHEMERAL_LIVES: u64 = 5_000_000_000;
const PIN_LIVES: u64 = 120_000_000_000;

impl ConsumerConfig {
    pub(super) fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    pub(super) fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }

    /// What it takes; empty: everything.
    pub(super) fn filters(&self) -> Vec<String> {
        if self.filter_subject.is_empty() { self.filter_subjects.clone() } else { vec![self.filter_subject.clone()] }
    }

    /// With what the server fills in.
    ///
    /// # Errors
    ///
    /// [`ApiError`]: what does not go together.
    pub(super) fn checked(mut self, name: &str) -> Result<Self, ApiError> {
        if !name.is_empty() && (self.is_durable() || !self.name.is_empty()) {
            name.clone_into(&mut self.name);
        }
        self.replay_policy = "instant";
        if self.max_deliver == 0 {
            self.max_deliver = -1;
        }
        if self.ack_policy != AckPolicy::None {
            if self.ack_wait == 0 {
                self.ack_wait = ACK_WAIT;
            }
            if self.max_ack_pending == 0 {
                self.max_ack_pending = 1000;
            }
        }
        if !self.is_push() && self.max_waiting == 0 {
            self.max_waiting = 512;
        }
        if !self.is_durable() && self.inactive_threshold == 0 {
            self.inactive_threshold = EPHEMERAL_LIVES;
        }
        if self.priority_policy == PriorityPolicy::PinnedClient && self.priority_timeout == 0 {
            self.priority_timeout = PIN_LIVES;
        }
        let has_filter = !self.filter_subject.is_empty() || !self.filter_subjects.is_empty();
        let bad = |why| Err(ApiError::bad_consumer(why));
        match self.deliver_policy {
            DeliverPolicy::LastPerSubject if !has_filter => {
                bad("consumer delivery policy is deliver last per subject, but optional filter subject is not set")
            }
            DeliverPolicy::ByStartSequence if self.opt_start_seq == 0 => {
                bad("consumer delivery policy is deliver by start sequence, but optional start sequence is not set")
            }
            DeliverPolicy::ByStartTime if self.opt_start_time.is_none() => {
                bad("consumer delivery policy is deliver by start time, but optional start time is not set")
            }
            _ => Ok(self),
        }
    }
}

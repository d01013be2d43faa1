//! Calls about consumers.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulate::server::api::{Answer, read};
use crate::simulate::server::config::{AckPolicy, ConsumerConfig, DeliverPolicy, Retention};
use crate::simulate::server::consumer::{Consumer, Scene};
use crate::simulate::server::fault::{self, ApiError};
use crate::simulate::server::jetstream::JetStream;
use crate::simulate::server::plain::Plain;
use crate::simulate::server::stream::Stream;
use crate::simulate::server::subject;

/// Most names in an answer, most consumers.
const NAMES: usize = 1024;
const CONSUMERS: usize = 256;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Create {
    stream_name: String,
    config: ConsumerConfig,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    #[serde(alias = "")]
    Either,
    Create,
    Update,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    offset: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Unpin {
    group: String,
}

impl JetStream {
    pub(super) fn consumer_call(&mut self, plain: &Plain, rest: &str, body: &[u8]) -> Option<(&'static str, Answer)> {
        let (verb, rest) = rest.split_once('.')?;
        Some(match verb {
            "CREATE" => ("consumer_create", self.create_consumer(plain, rest, body)),
            "DURABLE" => ("consumer_create", self.create_consumer(plain, rest.strip_prefix("CREATE.")?, body)),
            "INFO" => ("consumer_info", self.consumer_info(plain, rest)),
            "DELETE" => ("consumer_delete", self.delete_consumer(plain, rest)),
            "NAMES" => ("consumer_names", self.consumer_names(rest, body)),
            "LIST" => ("consumer_list", self.consumer_list(plain, rest, body)),
            "UNPIN" => ("consumer_unpin", self.unpin(rest, body)),
            _ => return None,
        })
    }

    fn create_consumer(&mut self, plain: &Plain, rest: &str, body: &[u8]) -> Answer {
        let mut tokens = rest.splitn(3, '.');
        let (name, consumer, filter) = (tokens.next().unwrap_or_default(), tokens.next().unwrap_or_default(), tokens.next());
        let create: Create = read(body)?;
        if create.stream_name != name {
            return Err(fault::STREAM_MISMATCH);
        }
        if let Some(filter) = filter
            && (filter != create.config.filter_subject)
        {
            return Err(fault::FILTER_MISMATCH);
        }
        let mut config = create.config.checked(consumer)?;
        self.made += 1;
        let made = self.made;
        let (now, epoch) = (self.now, self.epoch);
        let Some(stream) = self.streams.get_mut(name) else { return Err(fault::STREAM_NOT_FOUND) };
        let scene = Scene { plain, now, epoch, out: &mut self.out };
        let own = [consumer, &config.durable_name, &config.name].into_iter().find(|name| !name.is_empty()).map(str::to_owned);
        let own = own.unwrap_or_else(|| format!("model{made:03}"));
        if config.is_durable() {
            own.clone_into(&mut config.name);
        }
        check_pull(stream, &config)?;
        match (create.action, stream.consumers.get(&own)) {
            (Action::Update, None) => return Err(fault::CONSUMER_MISSING),
            (Action::Create, Some(found)) if found.config != config => return Err(fault::CONSUMER_EXISTS),
            _ => {}
        }
        check(stream, &own, &config)?;
        if let Some(found) = stream.consumers.get_mut(&own) {
            if found.config != config {
                check_change(&found.config, &config)?;
                found.change(config, &stream.log, &scene);
            }
            return Ok(found.info_again(&stream.log, &scene));
        }
        let retention = stream.config.retention;
        let consumer = Consumer::new(name, own.clone(), config, retention, &stream.log, &scene);
        let info = consumer.info(&scene);
        stream.consumers.insert(own, consumer);
        Ok(info)
    }

    fn consumer_info(&mut self, plain: &Plain, rest: &str) -> Answer {
        let (name, consumer) = rest.split_once('.').unwrap_or((rest, ""));
        let (now, epoch) = (self.now, self.epoch);
        let stream = self.streams.get_mut(name).ok_or(fault::STREAM_NOT_FOUND)?;
        let consumer = stream.consumers.get_mut(consumer).ok_or(fault::CONSUMER_NOT_FOUND)?;
        consumer.count_again(&stream.log);
        Ok(consumer.info(&Scene { plain, now, epoch, out: &mut self.out }))
    }

    fn delete_consumer(&mut self, plain: &Plain, rest: &str) -> Answer {
        let (name, consumer) = rest.split_once('.').unwrap_or((rest, ""));
        let (now, epoch) = (self.now, self.epoch);
        let stream = self.streams.get_mut(name).ok_or(fault::STREAM_NOT_FOUND)?;
        let mut gone = stream.consumers.remove(consumer).ok_or(fault::CONSUMER_NOT_FOUND)?;
        gone.end_waiting("Consumer Deleted", &mut Scene { plain, now, epoch, out: &mut self.out });
        Ok(json!({ "success": true }))
    }

    fn consumer_names(&mut self, name: &str, body: &[u8]) -> Answer {
        let page: Page = read(body)?;
        let stream = self.stream(name)?;
        let shown: Vec<&String> = stream.consumers.keys().skip(page.offset).take(NAMES).collect();
        Ok(json!({ "total": stream.consumers.len(), "offset": page.offset, "limit": NAMES, "consumers": shown }))
    }

    fn consumer_list(&mut self, plain: &Plain, name: &str, body: &[u8]) -> Answer {
        let page: Page = read(body)?;
        let (now, epoch) = (self.now, self.epoch);
        let stream = self.streams.get(name).ok_or(fault::STREAM_NOT_FOUND)?;
        let scene = Scene { plain, now, epoch, out: &mut self.out };
        let shown: Vec<Value> = stream.consumers.values().skip(page.offset).take(CONSUMERS).map(|consumer| consumer.info(&scene)).collect();
        Ok(json!({ "total": stream.consumers.len(), "offset": page.offset, "limit": CONSUMERS, "consumers": shown }))
    }

    fn unpin(&mut self, rest: &str, body: &[u8]) -> Answer {
        let Unpin { group } = read(body)?;
        let (name, consumer) = rest.split_once('.').unwrap_or((rest, ""));
        if group.is_empty() {
            return Err(ApiError::no_group());
        }
        let stream = self.stream(name)?;
        let found = stream.consumers.get_mut(consumer).ok_or(fault::CONSUMER_NOT_FOUND)?;
        if !found.config.priority_groups.contains(&group) {
            return Err(fault::NO_SUCH_GROUP);
        }
        found.unpin();
        Ok(json!({}))
    }
}

/// Whether what is pulled out of a work queue is acknowledged.
fn check_pull(stream: &Stream, config: &ConsumerConfig) -> Result<(), ApiError> {
    let is_wrong = !config.is_push() && config.ack_policy != AckPolicy::Explicit;
    if is_wrong && stream.config.retention == Retention::WorkQueue { Err(fault::PULL_NEEDS_ACK) } else { Ok(()) }
}

/// What a work queue asks of its consumers.
fn check(stream: &Stream, name: &str, config: &ConsumerConfig) -> Result<(), ApiError> {
    if stream.config.retention != Retention::WorkQueue {
        return Ok(());
    }
    if config.ack_policy != AckPolicy::Explicit {
        return Err(fault::QUEUE_NEEDS_ACK);
    }
    if config.deliver_policy != DeliverPolicy::All {
        return Err(fault::QUEUE_NOT_ALL);
    }
    let filters = config.filters();
    for other in stream.consumers.values().filter(|other| other.name != name) {
        let others = other.config.filters();
        if filters.is_empty() || others.is_empty() {
            return Err(fault::QUEUE_UNFILTERED);
        }
        if filters.iter().any(|filter| others.iter().any(|other| subject::overlap(filter, other))) {
            return Err(fault::QUEUE_NOT_UNIQUE);
        }
    }
    Ok(())
}

/// What cannot be changed. Source: `checkNewConsumerConfig` of nats-server.
fn check_change(found: &ConsumerConfig, wanted: &ConsumerConfig) -> Result<(), ApiError> {
    let not = |why| Err(ApiError::consumer_not_changed(why));
    if found.deliver_policy != wanted.deliver_policy {
        return not("deliver policy can not be updated");
    }
    if found.mem_storage != wanted.mem_storage {
        return not("storage type can not be updated");
    }
    if found.opt_start_seq != wanted.opt_start_seq {
        return not("start sequence can not be updated");
    }
    if found.opt_start_time != wanted.opt_start_time {
        return not("start time can not be updated");
    }
    if found.ack_policy != wanted.ack_policy {
        return not("ack policy can not be updated");
    }
    if found.flow_control != wanted.flow_control {
        return not("flow control can not be updated");
    }
    if found.idle_heartbeat != wanted.idle_heartbeat {
        return not("heart beats can not be updated");
    }
    if found.is_push() != wanted.is_push() {
        return not(if found.is_push() {
            "can not update push consumer to pull based"
        } else {
            "can not update pull consumer to push based"
        });
    }
    if found.is_push() && found.deliver_subject != wanted.deliver_subject {
        return Err(fault::CONSUMER_NAME_IN_USE);
    }
    Ok(())
}

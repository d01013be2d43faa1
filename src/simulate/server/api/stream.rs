//! Calls about streams.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulate::server::api::{Answer, read};
use crate::simulate::server::config::{Discard, StreamConfig};
use crate::simulate::server::consumer::Scene;
use crate::simulate::server::fault::{self, ApiError};
use crate::simulate::server::jetstream::JetStream;
use crate::simulate::server::plain::Plain;
use crate::simulate::server::stream::Stream;
use crate::simulate::server::subject;

/// Most names in an answer, most streams, most subjects.
const NAMES: usize = 1024;
const STREAMS: usize = 256;
const SUBJECTS: usize = 100_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    offset: usize,
    subject: String,
    subjects_filter: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Purge {
    filter: String,
    seq: u64,
    keep: u64,
}

impl JetStream {
    pub(super) fn stream_call(&mut self, plain: &Plain, rest: &str, body: &[u8]) -> Option<(&'static str, Answer)> {
        let (verb, name) = rest.split_once('.').unwrap_or((rest, ""));
        Some(match verb {
            "CREATE" => ("stream_create", self.create_stream(name, body)),
            "UPDATE" => ("stream_update", self.update_stream(name, body)),
            "INFO" => ("stream_info", self.stream_info(name, body)),
            "NAMES" if name.is_empty() => ("stream_names", self.stream_names(body)),
            "LIST" if name.is_empty() => ("stream_list", self.stream_list(body)),
            "DELETE" => ("stream_delete", self.delete_stream(plain, name)),
            "PURGE" => ("stream_purge", self.purge_stream(name, body)),
            "MSG" => return self.message_call(name, body),
            _ => return None,
        })
    }

    fn create_stream(&mut self, name: &str, body: &[u8]) -> Answer {
        let config: StreamConfig = read(body)?;
        if config.name != name {
            return Err(fault::STREAM_MISMATCH);
        }
        let (config, wall) = (config.checked(), self.wall());
        check_schedules(&config)?;
        if let Some(found) = self.streams.get(name) {
            return if found.config == config { Ok(with(found.info(wall), "did_create", true)) } else { Err(fault::STREAM_NAME_IN_USE) };
        }
        self.check_subjects(&config)?;
        if self.is_full {
            return Err(fault::INSUFFICIENT_STORAGE);
        }
        let stream = Stream::new(config, wall);
        let info = stream.info(wall);
        self.streams.insert(name.to_owned(), stream);
        Ok(with(info, "did_create", true))
    }

    /// No two streams have a subject in common.
    fn check_subjects(&self, config: &StreamConfig) -> Result<(), ApiError> {
        let others = self.streams.values().filter(|stream| stream.config.name != config.name);
        let mut taken = others.flat_map(|stream| &stream.config.subjects);
        if taken.any(|taken| config.subjects.iter().any(|subject| subject::overlap(subject, taken))) {
            return Err(fault::SUBJECT_OVERLAP);
        }
        Ok(())
    }

    fn update_stream(&mut self, name: &str, body: &[u8]) -> Answer {
        let config: StreamConfig = read(body)?;
        if config.name != name {
            return Err(fault::STREAM_MISMATCH);
        }
        let (config, wall) = (config.checked(), self.wall());
        check_schedules(&config)?;
        let found = &self.stream(name)?.config;
        if found.storage != config.storage {
            return Err(ApiError::stream_not_changed("stream configuration update can not change storage type"));
        }
        if found.retention != config.retention {
            return Err(ApiError::stream_not_changed("stream configuration update can not change retention policy to/from workqueue"));
        }
        self.check_subjects(&config)?;
        let stream = self.stream(name)?;
        stream.config = config;
        stream.make_room();
        Ok(stream.info(wall))
    }

    fn stream_info(&mut self, name: &str, body: &[u8]) -> Answer {
        let (page, wall): (Page, u64) = (read(body)?, self.wall());
        let stream = self.stream(name)?;
        let mut info = with(stream.info(wall), "cluster", json!({ "leader": "model" }));
        let (mut total, mut limit) = (0, 0);
        if !page.subjects_filter.is_empty() {
            let fit: BTreeMap<&str, u64> = stream.log.subjects().filter(|(of, _)| subject::matches(&page.subjects_filter, of)).collect();
            (total, limit) = (fit.len(), if fit.is_empty() { 0 } else { SUBJECTS });
            let shown: BTreeMap<&str, u64> = fit.into_iter().skip(page.offset).take(SUBJECTS).collect();
            if let Some(state) = info.get_mut("state").and_then(Value::as_object_mut)
                && !shown.is_empty()
            {
                state.insert("subjects".to_owned(), json!(shown));
            }
        }
        for (field, value) in [("total", total), ("offset", page.offset), ("limit", limit)] {
            info = with(info, field, value);
        }
        Ok(info)
    }

    fn stream_names(&self, body: &[u8]) -> Answer {
        let page: Page = read(body)?;
        let fits = |stream: &&Stream| {
            page.subject.is_empty() || stream.config.subjects.iter().any(|subject| subject::overlap(subject, &page.subject))
        };
        let all: Vec<&str> = self.streams.values().filter(fits).map(|stream| stream.config.name.as_str()).collect();
        let shown: Vec<&str> = all.iter().skip(page.offset).take(NAMES).copied().collect();
        let shown = if shown.is_empty() { Value::Null } else { json!(shown) };
        Ok(json!({ "total": all.len(), "offset": page.offset, "limit": NAMES, "streams": shown }))
    }

    fn stream_list(&self, body: &[u8]) -> Answer {
        let page: Page = read(body)?;
        let all: Vec<Value> = self.streams.values().map(|stream| stream.info(self.wall())).collect();
        let total = all.len();
        let shown: Vec<Value> = all.into_iter().skip(page.offset).take(STREAMS).collect();
        Ok(json!({ "total": total, "offset": page.offset, "limit": STREAMS, "streams": shown }))
    }

    fn delete_stream(&mut self, plain: &Plain, name: &str) -> Answer {
        self.stream(name)?;
        let (now, epoch) = (self.now, self.epoch);
        if let Some(mut gone) = self.streams.remove(name) {
            let mut scene = Scene { plain, now, epoch, out: &mut self.out };
            for consumer in gone.consumers.values_mut() {
                consumer.end_waiting("Consumer Deleted", &mut scene);
            }
        }
        Ok(json!({ "success": true }))
    }

    fn purge_stream(&mut self, name: &str, body: &[u8]) -> Answer {
        let purge: Purge = read(body)?;
        let stream = self.stream(name)?;
        if stream.config.deny_purge {
            return Err(ApiError::not_purged());
        }
        if purge.seq > 0 && purge.keep > 0 {
            return Err(fault::BAD_REQUEST);
        }
        let filters: Vec<String> = Some(purge.filter).filter(|filter| !filter.is_empty()).into_iter().collect();
        let fit: Vec<u64> =
            stream.log.iter().filter(|(_, held)| subject::any_matches(&filters, &held.subject)).map(|(seq, _)| seq).collect();
        let keep = usize::try_from(purge.keep).unwrap_or(usize::MAX);
        let most = if purge.keep > 0 { fit.len().saturating_sub(keep) } else { fit.len() };
        let gone: Vec<u64> = fit.into_iter().take(most).filter(|seq| purge.seq == 0 || *seq < purge.seq).collect();
        for seq in &gone {
            stream.remove(*seq);
        }
        if filters.is_empty() {
            stream.log.purged(purge.seq);
            let first = stream.log.first_seq();
            for consumer in stream.consumers.values_mut() {
                consumer.purged(first);
            }
        }
        Ok(json!({ "success": true, "purged": gone.len() }))
    }
}

fn check_schedules(config: &StreamConfig) -> Result<(), ApiError> {
    if config.allow_msg_schedules && config.discard == Discard::New {
        return Err(ApiError::stream_not_changed("message scheduling cannot use discard new"));
    }
    Ok(())
}

/// An answer with one more field.
pub(super) fn with(mut answer: Value, field: &str, value: impl Into<Value>) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
    answer
}

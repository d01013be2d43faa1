//! Calls of the JetStream API: `$JS.API.<call>`. Pure. Sources: ADR-1, ADR-31, `server/jetstream_api.go` of nats-server.

mod consumer;
mod message;
mod stream;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::simulate::server::fault::ApiError;
use crate::simulate::server::jetstream::JetStream;
use crate::simulate::server::plain::Plain;
use crate::simulate::server::wire::{Out, Publication};

/// What is answered: fields, or an error with those that are said even so.
type Answer = Result<Value, ApiError>;

impl JetStream {
    /// Carries out a call and answers it; one that the API does not know is left unanswered.
    pub(super) fn call(&mut self, plain: &Plain, call: &str, publication: &Publication) {
        self.calls += 1;
        let body = &publication.payload;
        let Some((kind, answer)) = self.carry_out(plain, call, body) else { return };
        self.errors += u64::from(answer.is_err());
        if let Some(reply) = &publication.reply {
            self.out.push_back(Out::answer(reply, written(kind, answer)));
        }
        // what a consumer begins with comes after the answer
        self.serve_all(plain);
    }

    fn carry_out(&mut self, plain: &Plain, call: &str, body: &[u8]) -> Option<(&'static str, Answer)> {
        let (noun, rest) = call.split_once('.').unwrap_or((call, ""));
        match noun {
            "INFO" => Some(("account_info", Ok(self.account()))),
            "STREAM" => self.stream_call(plain, rest, body),
            "CONSUMER" => self.consumer_call(plain, rest, body),
            _ => None,
        }
    }

    fn account(&self) -> Value {
        let storage: u64 = self.streams.values().map(|stream| stream.log.bytes()).sum();
        let consumers: usize = self.streams.values().map(|stream| stream.consumers.len()).sum();
        json!({
            "memory": 0,
            "storage": storage,
            "reserved_memory": 0,
            "reserved_storage": 0,
            "streams": self.streams.len(),
            "consumers": consumers,
            "limits": {
                "max_memory": -1,
                "max_storage": -1,
                "max_streams": -1,
                "max_consumers": -1,
                "max_ack_pending": -1,
                "memory_max_stream_bytes": -1,
                "storage_max_stream_bytes": -1,
                "max_bytes_required": false,
            },
            "api": { "level": 5, "total": self.calls, "errors": self.errors },
        })
    }
}

/// The body of a call; none is the default.
fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad_json(&error))
}

fn written(kind: &str, answer: Answer) -> String {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), format!("io.nats.jetstream.api.v1.{kind}_response").into());
    match answer {
        Ok(Value::Object(more)) => fields.extend(more),
        Ok(_) => {}
        Err(error) => {
            fields.insert("error".to_owned(), error.json());
            let is_paged = matches!(kind, "stream_info" | "consumer_names" | "consumer_list");
            for field in ["total", "offset", "limit"].into_iter().filter(|_| is_paged) {
                fields.insert(field.to_owned(), 0.into());
            }
            if kind == "stream_purge" {
                fields.insert("purged".to_owned(), 0.into());
            }
            if matches!(kind, "consumer_names" | "consumer_list") {
                fields.insert("consumers".to_owned(), json!([]));
            }
        }
    }
    Value::Object(fields).to_string()
}

//! A stream of an operator's own that lacks a subject of a later version: the subject is added, every other setting stays.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::token::takes;

/// Has a stream take in a subject as well, if it does not yet. That it cannot be changed is logged, with what is to be done.
///
/// # Errors
///
/// [`RequestError`] of looking at the stream; never that the change is refused.
pub(super) async fn take_in(bus: &Bus, stream: &str, subject: &str) -> Result<(), RequestError> {
    #[derive(Deserialize)]
    struct Found {
        config: Map<String, Value>,
    }
    // as it is, with what later servers may have added
    let Found { config } = bus.api(&format!("STREAM.INFO.{stream}"), bus.timeout()).await?;
    let Some(config) = with_subject(config, subject) else { return Ok(()) };
    match bus.api_with::<_, IgnoredAny>(&format!("STREAM.UPDATE.{stream}"), &config, bus.timeout()).await {
        Ok(_) => tracing::info!(stream, subject, "stream takes in one more subject"),
        Err(error) => tracing::warn!(stream, subject, %error, "stream lacks a subject: add it with `nats stream edit --subjects`"),
    }
    Ok(())
}

/// The configuration with the subject; `None` where a subject of it covers it already.
fn with_subject(mut config: Map<String, Value>, subject: &str) -> Option<Map<String, Value>> {
    let subjects = config.entry("subjects").or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?;
    if subjects.iter().filter_map(Value::as_str).any(|filter| takes(filter, subject)) {
        return None;
    }
    subjects.push(subject.into());
    Some(config)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn knows_which_filter_is_wider() {
        for (filter, other, want) in [
            ("dfks.event.>", "dfks.event.>", true),
            ("dfks.>", "dfks.event.>", true),
            ("dfks.*.x", "dfks.event.x", true),
            ("dfks.notify.*", "dfks.notify.>", false),
            ("dfks.notify.a", "dfks.notify.*", false),
            ("dfks.notify", "dfks.notify.*", false),
            ("dfks.notify.*", "dfks.notify", false),
        ] {
            assert_eq!(takes(filter, other), want, "{filter} over {other}");
        }
    }

    #[test]
    fn adds_a_subject_and_nothing_else() {
        let with = |config: Value| with_subject(config.as_object().unwrap().clone(), "x.set.*").map(Value::Object);
        let want = json!({"subjects": ["x.set", "x.set.*"], "max_age": 7, "from_a_later_server": {"a": 1}});
        assert_eq!(with(json!({"subjects": ["x.set"], "max_age": 7, "from_a_later_server": {"a": 1}})), Some(want));
        assert_eq!(with(json!({"subjects": ["x.>"]})), None);
        assert_eq!(with(json!({"subjects": ["x.set", "x.set.*"]})), None);
    }
}

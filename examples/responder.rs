//! A responder in Rust with nothing but `async-nats` and `serde_json`: a voicemail system that owns `CallForwardingNoAnswer`.
//!
//! `cargo run --example responder`; `NATS_URL` names the server.
#![expect(clippy::print_stdout, reason = "it says that it is ready")]

use std::collections::HashMap;

use futures_util::StreamExt;
use serde_json::{Value, json};

type Boxes = HashMap<String, Value>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let bus = async_nats::connect(url).await?;
    // dfks.responder.get and dfks.responder.set, of each tenant; a queue group, so that several share the requests
    let subject = "dfks.responder.*.*.CallForwardingNoAnswer";
    let mut requests = bus.queue_subscribe(subject, "voicemail".to_owned()).await?;
    bus.flush().await?;
    println!("ready");
    let mut boxes = Boxes::new();
    while let Some(request) = requests.next().await {
        let Some(reply) = request.reply else { continue };
        let is_set = request.subject.starts_with("dfks.responder.set.");
        let answer = match serde_json::from_slice(&request.payload) {
            Ok(asked) => answer(&mut boxes, is_set, &asked),
            Err(error) => json!({"error": {"code": 400, "description": error.to_string()}}),
        };
        bus.publish(reply, answer.to_string().into()).await?;
    }
    Ok(())
}

/// Everyone has a voicemail box that answers after four rings, until they choose something else.
fn answer(boxes: &mut Boxes, is_set: bool, asked: &Value) -> Value {
    let Some(presentity) = asked.get("presentity").and_then(Value::as_str) else {
        return json!({"error": {"code": 400, "description": "no presentity"}});
    };
    let voicemail = || json!({"status": 1, "values": {"forwardTo": "sip:voicemail@127.0.0.1", "ringCount": "4"}});
    if !is_set {
        return boxes.get(presentity).cloned().unwrap_or_else(voicemail);
    }
    let (status, values) = (asked.get("status"), asked.get("values"));
    boxes.insert(presentity.to_owned(), json!({"status": status, "values": values}));
    json!({})
}

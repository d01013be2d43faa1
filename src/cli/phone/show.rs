//! What happens to the phone, as a line of text or of JSON.

use std::time::SystemTime;

use serde_json::json;
use time::OffsetDateTime;

use super::input::{Asked, Event};
use crate::cli::args::Press;
use crate::cli::exit::Failure;
use crate::cli::output::{print, print_json, printable};
use crate::runtime::clock;

pub(super) fn show(event: &Event, is_json: bool) -> Result<(), Failure> {
    let now = clock::utc_now();
    if is_json {
        return print_json(&event_json(event, &clock::rfc3339(now)));
    }
    let time = time_of_day(now);
    let text = match event {
        Event::Accepted { asked: Asked::Subscribe, expires_seconds } => format!("subscribed for {expires_seconds} s\n"),
        Event::Accepted { asked: Asked::Refresh, expires_seconds } => format!("refreshed for {expires_seconds} s\n"),
        Event::Accepted { asked: Asked::Press(feature), .. } => format!("pressed {feature}\n"),
        Event::Accepted { asked: Asked::Unsubscribe, .. } => "unsubscribed\n".to_owned(),
        Event::Refused { status, reason, .. } => format!("{status} {reason}\n"),
        Event::NoAnswer(_) => "no answer\n".to_owned(),
        Event::Notified(notification) => notification.to_text(),
    };
    print(&format!("{time}  {}", printable_lines(&text)))
}

/// Control characters but line ends are shown, not obeyed.
fn printable_lines(text: &str) -> String {
    text.split_inclusive('\n').map(|line| line.strip_suffix('\n').map_or_else(|| printable(line), |line| printable(line) + "\n")).collect()
}

/// Prints what became of a key press.
pub(super) fn show_confirmed(press: &Press, is_taken: bool, is_json: bool) -> Result<(), Failure> {
    let now = clock::utc_now();
    let status = if press.is_on { "on" } else { "off" };
    if is_json {
        let time = clock::rfc3339(now);
        return print_json(
            &json!({"event": "confirmed", "time": time, "feature": press.feature, "status": u8::from(press.is_on), "is_taken": is_taken}),
        );
    }
    let became = if is_taken { "confirmed" } else { "not taken, the NOTIFY shows what is" };
    print(&format!("{}  {}={status} {became}\n", time_of_day(now), printable(&press.feature)))
}

/// `03:53:24.620`, UTC.
pub(super) fn time_of_day(time: SystemTime) -> String {
    let (hour, minute, second, millisecond) = OffsetDateTime::from(time).time().as_hms_milli();
    format!("{hour:02}:{minute:02}:{second:02}.{millisecond:03}")
}

pub(super) fn event_json(event: &Event, time: &str) -> serde_json::Value {
    let asked = |asked: &Asked| match asked {
        Asked::Subscribe => json!("subscribe"),
        Asked::Refresh => json!("refresh"),
        Asked::Press(feature) => json!({ "press": feature }),
        Asked::Unsubscribe => json!("unsubscribe"),
    };
    match event {
        Event::Accepted { asked: what, expires_seconds } => {
            json!({"event": "accepted", "time": time, "asked": asked(what), "expires_seconds": expires_seconds})
        }
        Event::Refused { asked: what, status, reason } => {
            json!({"event": "refused", "time": time, "asked": asked(what), "status": status, "reason": reason})
        }
        Event::NoAnswer(what) => json!({"event": "no_answer", "time": time, "asked": asked(what)}),
        Event::Notified(notification) => {
            let mut value = serde_json::to_value(notification).unwrap_or_default();
            if let Some(object) = value.as_object_mut() {
                object.insert("event".to_owned(), json!("notify"));
                object.insert("time".to_owned(), json!(time));
            }
            value
        }
    }
}

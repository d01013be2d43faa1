//! The strict writer of NOTIFY.

use super::header::{Event, SubscriptionState};
use super::request_writer::{RequestHead, RequestWriter};

/// A NOTIFY. Source: RFC 6665 §4.1.3.
#[derive(Debug, Clone, Copy)]
pub struct Notify<'a> {
    /// The head; its method is NOTIFY.
    pub head: RequestHead<'a>,
    /// The event package, with the `id` of the SUBSCRIBE.
    pub event: Event<'a>,
    /// How the subscription stands.
    pub subscription_state: SubscriptionState<'a>,
    /// Further header lines: name and value.
    pub extra: &'a [(&'a str, &'a str)],
    /// Content type and body; `None` for an empty NOTIFY.
    pub body: Option<(&'a str, &'a [u8])>,
}

impl Notify<'_> {
    /// Appends the whole request to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut writer = RequestWriter::new(out, &RequestHead { method: "NOTIFY", ..self.head });
        writer.header("Event", self.event).header("Subscription-State", self.subscription_state);
        for (name, value) in self.extra {
            writer.header(name, value);
        }
        match self.body {
            Some((content_type, body)) => writer.body(content_type, body),
            None => writer.no_body(),
        }
    }
}

//! What happened in a run, as text: a line an event, in the order of time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::cli::phone::input::Event as Heard;
use crate::simulate::event::Event;
use crate::simulate::line::{ToClient, ToServer};
use crate::simulate::phone::Act;

/// Writes lines, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: Option<Vec<(Duration, String)>>,
}

impl Story {
    /// One that is told.
    pub(crate) const fn told() -> Self {
        Self { lines: Some(Vec::new()) }
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> &[(Duration, String)] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// A line.
    pub(crate) fn line(&mut self, at: Duration, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push((at, text()));
        }
    }

    pub(crate) fn event(&mut self, at: Duration, event: &Event) {
        match event {
            Event::ToServer { line, what: ToServer::Publish(publication), .. } => {
                self.line(at, || {
                    let reply = publication.reply.as_deref().unwrap_or("-");
                    format!("line {line} ─▶ nats  {} ({reply}) {}", publication.subject, beginning(&publication.payload))
                });
            }
            Event::ToServer { line, what, .. } => self.line(at, || format!("line {line} ─▶ nats  {what}")),
            Event::ToClient { line, what: ToClient::Message { message, .. }, .. } => {
                self.line(at, || {
                    let status = message.status.map(|status| format!("{status} ")).unwrap_or_default();
                    format!("nats ─▶ line {line}  {status}{} {}", message.subject, beginning(&message.payload))
                });
            }
            Event::ToClient { line, what, .. } => self.line(at, || format!("nats ─▶ line {line}  {what:?}")),
            Event::Datagram { .. } | Event::PhoneTimer(_) | Event::Phone(..) => {}
            Event::Start(name) => self.line(at, || format!("process {name} is started again")),
            Event::GivenUp { line, .. } => self.line(at, || format!("nats gives up line {line}, if it is still silent")),
            Event::Noticed { line, .. } => self.line(at, || format!("line {line} is lost, if it is still silent")),
            Event::Connect { line, attempt } => self.line(at, || format!("line {line} connects, attempt {attempt}")),
            Event::Fault(fault) => {
                self.line(at, || format!("══ {} {}", if fault.is_end { "over:" } else { "begins:" }, fault.incident));
            }
        }
    }

    pub(crate) fn sent(&mut self, at: Duration, from: SocketAddr, to: SocketAddr, packet: &Bytes) {
        self.line(at, || format!("{from} ─▶ {to}  {}", sip(packet)));
    }

    pub(crate) fn lost(&mut self, at: Duration, from: SocketAddr, to: SocketAddr, packet: &Bytes) {
        self.line(at, || format!("{from} ─✗ {to}  {}", sip(packet)));
    }

    pub(crate) fn phone(&mut self, at: Duration, phone: usize, act: &Act, is_done: bool) {
        self.line(at, || format!("phone {phone} {} {act:?}", if is_done { "does" } else { "puts off" }));
    }

    pub(crate) fn heard(&mut self, at: Duration, phone: usize, heard: &Heard) {
        self.line(at, || format!("phone {phone} hears {heard:?}"));
    }
}

/// The first line of a message, its `CSeq`, its lifetime and its body.
fn sip(packet: &Bytes) -> String {
    let text = String::from_utf8_lossy(packet);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let first = head.lines().next().unwrap_or_default();
    let body: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let body = body.split_once("?>").map_or(body.as_str(), |(_, rest)| rest);
    format!(
        "{first} | {} | {} {}| {}",
        header("CSeq:"),
        header("Subscription-State:"),
        header("Expires:"),
        body.chars().take(160).collect::<String>()
    )
}

/// The beginning of a payload.
fn beginning(payload: &Bytes) -> String {
    String::from_utf8_lossy(payload).chars().take(2000).collect()
}

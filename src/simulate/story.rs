//! What happened in a run, as text: a line an event, in the order of time.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::cli::phone::input::Event as Heard;
use crate::simulate::event::Event;
use crate::simulate::line::{ToClient, ToServer};
use crate::simulate::phone::Act;

/// Writes down what happens, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Story {
    steps: Option<Vec<Step>>,
    /// Who is at the client's end of each line.
    lines: BTreeMap<usize, &'static str>,
    hosts: BTreeMap<IpAddr, String>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    /// From whom, to whom; the same where it is nobody else's business.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
    pub(crate) is_lost: bool,
}

/// What both ends of every connection to NATS have in common.
const NATS: &str = "nats";

impl Story {
    /// One that is told.
    pub(crate) fn told() -> Self {
        Self { steps: Some(Vec::new()), ..Self::default() }
    }

    /// What happened so far.
    pub(crate) fn steps(&self) -> &[Step] {
        self.steps.as_deref().unwrap_or_default()
    }

    /// Who is at the client's end of a line.
    pub(crate) fn name_line(&mut self, line: usize, name: &'static str) {
        self.lines.insert(line, name);
    }

    /// Who has an address.
    pub(crate) fn name_host(&mut self, ip: IpAddr, name: String) {
        self.hosts.insert(ip, name);
    }

    fn of_line(&self, line: usize) -> String {
        self.lines.get(&line).map_or_else(|| format!("line {line}"), |name| (*name).to_owned())
    }

    fn of_host(&self, address: SocketAddr) -> String {
        self.hosts.get(&address.ip()).cloned().unwrap_or_else(|| address.to_string())
    }

    fn step(&mut self, at: Duration, make: impl FnOnce(&Self) -> (String, String, String)) {
        if self.steps.is_none() {
            return;
        }
        let (from, to, text) = make(self);
        self.steps.get_or_insert_default().push(Step { at, from, to, text, is_lost: false });
    }

    /// Something that is everybody's business.
    pub(crate) fn line(&mut self, at: Duration, text: impl FnOnce() -> String) {
        self.step(at, |_| (String::new(), String::new(), text()));
    }

    pub(crate) fn event(&mut self, at: Duration, event: &Event) {
        match event {
            Event::ToServer { line, what, .. } => self.step(at, |story| {
                let text = match what {
                    ToServer::Publish(publication) => {
                        let reply = publication.reply.as_deref().unwrap_or("-");
                        format!("{} ({reply}) {}", publication.subject, beginning(&publication.payload))
                    }
                    other => other.to_string(),
                };
                (story.of_line(*line), NATS.to_owned(), text)
            }),
            Event::ToClient { line, what, .. } => self.step(at, |story| {
                let text = match what {
                    ToClient::Message { message, .. } => {
                        let status = message.status.map(|status| format!("{status} ")).unwrap_or_default();
                        format!("{status}{} {}", message.subject, beginning(&message.payload))
                    }
                    other => format!("{other:?}"),
                };
                (NATS.to_owned(), story.of_line(*line), text)
            }),
            Event::Datagram { .. } | Event::PhoneTimer(_) | Event::Phone(..) => {}
            Event::Start(name) => self.line(at, || format!("process {name} is started again")),
            Event::GivenUp { line, .. } => self.own(at, *line, "is given up by nats, if it is still silent"),
            Event::Noticed { line, .. } => self.own(at, *line, "loses its connection, if it is still silent"),
            Event::Connect { line, .. } => self.own(at, *line, "connects"),
            Event::Fault(fault) => {
                self.line(at, || format!("══ {} {}", if fault.is_end { "over:" } else { "begins:" }, fault.incident));
            }
        }
    }

    fn own(&mut self, at: Duration, line: usize, text: &str) {
        self.step(at, |story| (story.of_line(line), story.of_line(line), text.to_owned()));
    }

    pub(crate) fn sent(&mut self, at: Duration, from: SocketAddr, to: SocketAddr, packet: &Bytes) {
        self.step(at, |story| (story.of_host(from), story.of_host(to), sip(packet)));
    }

    /// The last one did not arrive.
    pub(crate) fn lost(&mut self) {
        if let Some(last) = self.steps.as_mut().and_then(|steps| steps.last_mut()) {
            last.is_lost = true;
        }
    }

    pub(crate) fn phone(&mut self, at: Duration, phone: usize, act: &Act, is_done: bool) {
        let did = if is_done { "does" } else { "puts off" };
        self.step(at, |_| (phone_name(phone), phone_name(phone), format!("{did} {act:?}")));
    }

    pub(crate) fn heard(&mut self, at: Duration, phone: usize, heard: &Heard) {
        self.step(at, |_| (phone_name(phone), phone_name(phone), format!("hears {heard:?}")));
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3}  ", self.at.as_secs_f64())?;
        match (self.from == self.to, self.from.is_empty()) {
            (true, true) => f.write_str(&self.text),
            (true, false) => write!(f, "{} {}", self.from, self.text),
            _ => write!(f, "{} {} {}  {}", self.from, if self.is_lost { "─✗" } else { "─▶" }, self.to, self.text),
        }
    }
}

/// A phone by its number.
pub(crate) fn phone_name(phone: usize) -> String {
    format!("phone {phone}")
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

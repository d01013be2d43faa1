//! `dfks sip`: the last SIP messages of a subscription, for people, programs and capture files.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::connection::ClientArgs;
use super::exit::Failure;
use super::output::{complain, print, print_json, printable};
use super::paint::{Paint, Style};
use super::pcap::{self, Captured};
use super::reach::{Nats, Whom};
use crate::bus::RequestError;
use crate::bus::message::{Kind, SipDirection, SipMessage, SipRequest, SipResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::Cause;
use crate::runtime::clock;

/// An edge answers at once: after this, none has it.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Of `dfks sip`.
#[derive(Debug, Args)]
pub(crate) struct SipArgs {
    /// Which one: its id, as dfks watchers --json and dfks why show it
    pub(crate) subscription: String,
    /// Write them to a capture file, for tshark, sngrep and their like; - for stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
    /// How to reach NATS, and how to print.
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// Asks the edges, and prints what the one says that has them.
pub(crate) async fn sip(args: SipArgs) -> Result<(), Failure> {
    let SipArgs { subscription, pcap, client } = args;
    let nats = Nats::connect(&client).await?;
    let subject = nats.bus().subjects().sip();
    let request = SipRequest { kind: Kind::default(), subscription };
    let (cause, wait) = (Cause::new(), client.timeout().min(LONGEST_WAIT));
    let asked = nats.bus().request(Pattern::Sip, subject.clone(), &request, &cause, wait);
    let answer: Result<SipResponse, RequestError> = nats.permitted(&subject, Whom::Edge, asked).await?;
    let answer = answer.map_err(|error| match error {
        RequestError::Timeout(_) => Failure::Refused(format!(
            "no edge has messages of subscription {}: see 'dfks watchers --json' for those that live; http.sip_ring_messages = 0 keeps none",
            request.subscription
        )),
        error => nats.failure(&error, &subject, Whom::Edge),
    })?;
    if answer.left_off > 0 {
        complain(&format!("dfks: {} older messages found no room in the answer", answer.left_off));
    }
    if let Some(path) = pcap {
        let captured: Vec<_> = answer.messages.iter().filter_map(captured).collect();
        return write(&path, &pcap::file(&captured));
    }
    if client.json {
        return answer.messages.iter().try_for_each(print_json);
    }
    let paint = Paint::of_stdout();
    answer.messages.iter().try_for_each(|message| print(&text(message, paint)))
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<(), Failure> {
    let written =
        if path.as_os_str() == "-" { std::io::Write::write_all(&mut std::io::stdout().lock(), bytes) } else { std::fs::write(path, bytes) };
    written.map_err(|error| Failure::Refused(format!("{}: {error}", path.display())))
}

fn text(message: &SipMessage, paint: Paint) -> String {
    let (arrow, style) = match message.direction {
        SipDirection::In => ("<-", Style::Name),
        SipDirection::Out => ("->", Style::Good),
    };
    let line = format!("{} {} {arrow} {} {}", message.at, message.local, message.remote, message.transport);
    let mut text = format!("{}\n", paint.text(style, &printable(&line)));
    for line in message.text.trim_end().lines() {
        let _infallible = writeln!(text, "  {}", printable(line));
    }
    text.push('\n');
    text
}

/// `None` for one whose addresses or time nobody can read.
fn captured(message: &SipMessage) -> Option<Captured> {
    let (local, remote): (SocketAddr, SocketAddr) = (message.local.parse().ok()?, message.remote.parse().ok()?);
    let at: SystemTime = clock::parse_rfc3339(&message.at)?;
    let (source, destination) = match message.direction {
        SipDirection::In => (remote, local),
        SipDirection::Out => (local, remote),
    };
    let captured = Captured { at, source, destination, is_udp: message.transport == "udp", payload: message.bytes() };
    let is_wrapped = ["tls", "ws", "wss"].contains(&message.transport.as_str());
    Some(if is_wrapped { captured.unwrapped(local) } else { captured })
}

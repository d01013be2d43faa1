//! `dfks phone`: a simulated phone. For smoke tests, the first minute, and our own tests.
//!
//! [`subscriber`] is the phone's side of the protocol and `script` its plan, both pure; `Line` is the socket. On a terminal `panel`
//! holds what its lamps show and what its keys mean and `picture` draws them, both pure; `Terminal` is the screen.

pub mod input;
mod line;
mod live;
pub mod notification;
mod panel;
mod picture;
mod script;
pub mod subscriber;
mod terminal;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use time::OffsetDateTime;

use input::Output;
pub use input::{Asked, Event, Input, InputError, Settings};
use line::Line;
pub use notification::{Notification, ShownFeature};
use panel::Panel;
use script::{Leave, Order, Script};
use subscriber::Subscriber;

use super::args::{PhoneArgs, PhoneTransport, Press};
use super::exit::Failure;
use super::output::{print, print_json, printable};
use crate::feature::package::{self, AS_FEATURE_EVENT, Package};
use crate::feature::{FeatureTable, Presentity};
use crate::runtime::{StopSignals, clock};
use crate::sip::Transport;
use crate::sip::transaction::Timers;

/// Which keys a phone has.
#[derive(Debug)]
pub struct Keys {
    /// Those of this event package.
    pub package: &'static Package,
    /// Of the features in this table.
    pub table: FeatureTable,
}

impl Default for Keys {
    fn default() -> Self {
        Self { package: &AS_FEATURE_EVENT, table: FeatureTable::built_in() }
    }
}

/// A simulated phone with its socket.
#[derive(Debug)]
pub struct Phone {
    subscriber: Subscriber,
    line: Line,
    /// Something came from the server.
    is_reached: bool,
}

impl Phone {
    /// A phone that reaches `server`, and has sent nothing yet.
    ///
    /// # Errors
    ///
    /// What the system says: no route, nobody accepts the TCP connection.
    pub async fn open(
        server: SocketAddr,
        transport: Transport,
        keys: Keys,
        presentity: Presentity,
        watcher: &str,
        expires: u32,
    ) -> io::Result<Self> {
        let line = Line::open(server, transport).await?;
        let settings = Settings {
            presentity,
            package: keys.package,
            watcher: watcher.to_owned(),
            transport,
            local: line.local_addr()?,
            expires_seconds: expires,
            user_agent: concat!("dfks-phone/", env!("CARGO_PKG_VERSION")).to_owned(),
            seed: rand::random(),
            timers: Timers::default(),
        };
        Ok(Self { subscriber: Subscriber::new(settings, keys.table, clock::now()), line, is_reached: false })
    }

    /// Tells the phone to do something; [`next`](Self::next) carries it out.
    ///
    /// # Errors
    ///
    /// [`InputError`] when it does not fit.
    pub fn tell(&mut self, input: Input) -> Result<(), InputError> {
        self.subscriber.handle(input, clock::now())
    }

    /// Sends, receives and retransmits until something happens. Dropped before that, nothing is lost but an unsent message,
    /// which UDP may lose as well.
    ///
    /// # Errors
    ///
    /// What the system says; over TCP also the end of the connection.
    pub async fn next(&mut self) -> io::Result<Event> {
        loop {
            while let Some(output) = self.subscriber.poll_output() {
                match output {
                    Output::Send(packet) => self.line.send(&packet, None).await?,
                    Output::Answer(packet, to) => self.line.send(&packet, Some(to)).await?,
                    Output::Event(event) => return Ok(event),
                }
            }
            let due = self.subscriber.poll_timeout();
            let input = tokio::select! {
                received = self.line.receive() => match received {
                    Ok((bytes, source)) => {
                        self.is_reached = true;
                        Input::Packet { bytes, source }
                    }
                    // an ICMP error; of a server that was there before, it may be restarting: Timer F decides
                    Err(error) if self.is_reached && error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error),
                },
                () = sleep_until(due) => Input::Timeout,
            };
            // packets and timers fit every state
            let _fits = self.subscriber.handle(input, clock::now());
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Runs the command.
pub(super) async fn run(args: PhoneArgs) -> Result<(), Failure> {
    let presentity = Presentity::parse(&args.presentity).map_err(|error| Failure::Usage(format!("'{}': {error}", args.presentity)))?;
    let watcher = args.watcher.clone().unwrap_or_else(|| presentity.as_str().to_owned());
    let lamps_of = presentity.clone();
    let server = resolve(&args.server).await?;
    let transport = match args.transport {
        PhoneTransport::Udp => Transport::Udp,
        PhoneTransport::Tcp => Transport::Tcp,
    };
    let opened = Phone::open(server, transport, keys(&args)?, presentity, &watcher, args.expires).await;
    let mut phone = opened.map_err(|error| Failure::NobodyAnswered(format!("{server} over {}: {error}", transport.as_str())))?;
    let is_scripted = args.json || args.expires == 0 || args.stay.is_some() || !args.presses.is_empty();
    if !is_scripted && io::stdin().is_terminal() && io::stdout().is_terminal() {
        return live::run(phone, Panel::new(lamps_of, args.forward_to, args.server)).await;
    }
    let leave = match args.stay {
        _ if args.expires == 0 => Leave::Fetched,
        Some(seconds) => Leave::At(clock::now() + Duration::from_secs_f64(seconds)),
        None if args.presses.is_empty() => Leave::WhenTold,
        None => Leave::AfterPresses,
    };
    let mut script = Script::new(args.presses, leave, clock::now());
    let mut signals = StopSignals::new().map_err(|error| Failure::Refused(format!("signals: {error}")))?;
    let mut is_stopped = false;
    loop {
        while let Some(order) = script.poll_order() {
            match order {
                Order::Tell(input) => {
                    if let Err(error) = phone.tell(input) {
                        script.not_taken(error.to_string(), clock::now());
                    }
                }
                Order::Confirmed { press, is_taken } => show_confirmed(&press, is_taken, args.json)?,
                Order::Finish(outcome) => return outcome,
            }
        }
        let due = script.poll_timeout();
        tokio::select! {
            event = phone.next() => {
                let event = event.map_err(|error| Failure::NobodyAnswered(format!("{server}: {error}")))?;
                show(&event, args.json)?;
                script.event(&event, clock::now());
            }
            () = sleep_until(due) => script.timeout(clock::now()),
            _ = signals.recv() => {
                if is_stopped {
                    return Err(Failure::Refused("second signal: left without unsubscribing".to_owned()));
                }
                is_stopped = true;
                script.stop(clock::now());
            }
        }
    }
}

/// The keys that the arguments ask for: without `--config`, those that are built in.
fn keys(args: &PhoneArgs) -> Result<Keys, Failure> {
    let package = package::require(&args.package).map_err(|error| Failure::Usage(error.to_string()))?;
    let table = match &args.features.config {
        Some(_) => Arc::unwrap_or_clone(super::role::start::table(&super::load(&args.features)?)?),
        None => FeatureTable::built_in(),
    };
    Ok(Keys { package, table })
}

async fn resolve(server: &str) -> Result<SocketAddr, Failure> {
    let usage = |reason: &dyn std::fmt::Display| Failure::Usage(format!("--server '{server}': {reason}, expected HOST:PORT"));
    let mut found = tokio::net::lookup_host(server).await.map_err(|error| usage(&error))?;
    found.next().ok_or_else(|| usage(&"no address"))
}

fn show(event: &Event, is_json: bool) -> Result<(), Failure> {
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

fn show_confirmed(press: &Press, is_taken: bool, is_json: bool) -> Result<(), Failure> {
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
fn time_of_day(time: SystemTime) -> String {
    let (hour, minute, second, millisecond) = OffsetDateTime::from(time).time().as_hms_milli();
    format!("{hour:02}:{minute:02}:{second:02}.{millisecond:03}")
}

fn event_json(event: &Event, time: &str) -> serde_json::Value {
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

#[cfg(test)]
mod tests;

//! The subscriber of a simulated phone: one dialog, one request at a time. Pure.
//!
//! ```text
//!            Subscribe             2xx                 Refresh, Press
//!   Idle ───────────────▶ Asking ───────▶ Subscribed ────────────────▶ Asking ─┐
//!                           │                 ▲  └── Unsubscribe ──▶ Asking    │ 2xx, or a refusal that leaves the dialog
//!                           │ refused, 481,   └────────────────────────────────┘
//!                           │ no answer (Timer F)
//!                           ▼
//!                         Ended ◀── NOTIFY terminated
//! ```
//! A NOTIFY may come before the 200 (RFC 6665 §4.1.2.4) and is answered in every state.

use std::collections::VecDeque;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::input::{Asked, Event, Input, InputError, Output, Settings};
use super::notification::Notification;
use crate::feature::FeatureTable;
use crate::sip::header::NameAddr;
use crate::sip::request_writer::{Party, RequestHead, RequestWriter};
use crate::sip::response::response;
use crate::sip::transaction::{Branch, ClientEvent, ClientOutput, ClientTransactions};
use crate::sip::{Message, Name, Request, Response, Start, Transport, parse};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Subscribed,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    settings: Settings,
    table: FeatureTable,
    state: State,
    is_asking: bool,
    call_id: String,
    local_tag: String,
    remote_tag: Option<Box<str>>,
    remote_target: Option<Box<str>>,
    routes: Vec<Box<str>>,
    cseq: u32,
    remote_cseq: Option<u32>,
    /// Boxed: its timer wheel is large for a value that moves into futures.
    transactions: Box<ClientTransactions<Asked>>,
    nonce: u64,
    /// What was asked last, to be asked again with a password: the lifetime, and the body.
    asked: (u32, Bytes),
    output: VecDeque<Output>,
}

impl Subscriber {
    /// A phone that has not subscribed yet.
    #[must_use]
    pub(crate) fn new(settings: Settings, table: FeatureTable, now: Instant) -> Self {
        Self {
            call_id: format!("{:016x}@{}", settings.seed, settings.local.ip()),
            local_tag: format!("{:08x}", settings.seed & 0xffff_ffff),
            nonce: settings.seed,
            transactions: Box::new(ClientTransactions::new(64, settings.timers, now)),
            settings,
            table,
            state: State::Idle,
            is_asking: false,
            remote_tag: None,
            remote_target: None,
            routes: Vec::new(),
            cseq: 0,
            remote_cseq: None,
            asked: (0, Bytes::new()),
            output: VecDeque::new(),
        }
    }

    /// Takes one input; then [`poll_output`](Self::poll_output) is drained.
    ///
    /// # Errors
    ///
    /// [`InputError`] for what does not fit the state; nothing is sent then. What the network sends is never an error.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Result<(), InputError> {
        match input {
            Input::Subscribe if self.state == State::Subscribed => return Err(InputError::Subscribed),
            Input::Subscribe => self.ask(Asked::Subscribe, self.settings.expires_seconds, &[], now)?,
            Input::Refresh => self.ask(Asked::Refresh, self.settings.expires_seconds, &[], now)?,
            Input::Unsubscribe => self.ask(Asked::Unsubscribe, 0, &[], now)?,
            Input::Press { feature, status, values } => {
                let mut body = Vec::new();
                let Settings { package, presentity, .. } = &self.settings;
                package.write_request(&self.table, presentity.user(), (&feature, status), &values, &mut body)?;
                self.ask(Asked::Press(feature), self.settings.expires_seconds, &body, now)?;
            }
            Input::Packet { bytes, source } => self.take(&bytes, source, now),
            Input::Timeout => self.fire(now),
        }
        Ok(())
    }

    /// What is to be done, until `None`.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.transactions.poll_timeout()
    }

    /// The same phone with a user.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn with_login(mut self, login: super::login::Login) -> Self {
        self.settings.login = Some(login);
        self
    }

    /// Whether the dialog lives.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn is_subscribed(&self) -> bool {
        self.state == State::Subscribed
    }

    fn ask(&mut self, asked: Asked, expires_seconds: u32, body: &[u8], now: Instant) -> Result<(), InputError> {
        if asked != Asked::Subscribe && self.state != State::Subscribed {
            return Err(InputError::NotSubscribed);
        }
        if self.is_asking {
            return Err(InputError::Busy);
        }
        self.nonce = self.nonce.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let branch = self.transactions.next_branch(self.nonce).ok_or(InputError::Busy)?;
        if asked == Asked::Subscribe {
            (self.remote_tag, self.remote_target, self.remote_cseq) = (None, None, None);
            self.routes.clear();
        }
        self.cseq += 1;
        let packet = self.write(&branch, expires_seconds, body);
        self.asked = (expires_seconds, Bytes::copy_from_slice(body));
        self.is_asking = true;
        self.output.push_back(Output::Send(packet.clone()));
        self.transactions.start(branch, "SUBSCRIBE", packet, self.settings.transport.is_reliable(), asked, now);
        Ok(())
    }

    fn write(&mut self, branch: &Branch, expires_seconds: u32, body: &[u8]) -> Bytes {
        let cnonce = format!("{:016x}", self.nonce);
        let uri = self.remote_target.as_deref().unwrap_or(self.settings.presentity.as_str());
        let authorization = self.settings.login.as_mut().and_then(|login| login.header("SUBSCRIBE", uri, &cnonce));
        let presentity = self.settings.presentity.as_str();
        let transport = self.settings.transport;
        let user = self.settings.watcher.split_once(':').and_then(|(_, rest)| rest.split_once('@')).map_or("phone", |(user, _)| user);
        let contact = match transport {
            Transport::Udp => format!("sip:{user}@{}", self.settings.local),
            // The word for both kinds (RFC 7118 §5.2.2).
            Transport::Ws | Transport::Wss => format!("sip:{user}@{};transport=ws", self.settings.local),
            other => format!("sip:{user}@{};transport={}", self.settings.local, other.as_str()),
        };
        let mut out = Vec::with_capacity(1024);
        let mut writer = RequestWriter::new(
            &mut out,
            &RequestHead {
                method: "SUBSCRIBE",
                uri: self.remote_target.as_deref().unwrap_or(presentity),
                routes: &self.routes,
                transport,
                sent_by: &self.settings.local.to_string(),
                branch: branch.as_str(),
                from: Party { uri: &self.settings.watcher, tag: Some(&self.local_tag) },
                to: Party { uri: presentity, tag: self.remote_tag.as_deref() },
                call_id: &self.call_id,
                cseq: self.cseq,
                contact: &contact,
            },
        );
        writer
            .header("Event", self.settings.package.name)
            .header("Expires", expires_seconds)
            .header("Accept", self.settings.package.accept_of_phones())
            .header("User-Agent", &self.settings.user_agent);
        if let Some((name, value)) = authorization {
            writer.header(name, value);
        }
        if body.is_empty() {
            writer.no_body();
        } else {
            writer.body(self.settings.package.content_type, body);
        }
        out.into()
    }

    fn take(&mut self, bytes: &[u8], source: SocketAddr, now: Instant) {
        // what cannot be read is lost, as on a phone
        let Ok(message) = parse(bytes) else { return };
        if matches!(message.start(), Start::Response { .. }) {
            if let Some(response) = Response::from_message(message) {
                self.take_response(&response, now);
            }
        } else if let Ok(request) = Request::from_message(message) {
            self.take_request(&request, source);
        }
    }

    fn take_response(&mut self, response: &Response, now: Instant) {
        let event = self.transactions.handle_response(response.branch(), response.method(), response.status(), now);
        let Some(ClientEvent::Completed(asked)) = event else { return };
        self.is_asking = false;
        let message = response.message();
        let status = response.status();
        if self.settings.login.as_mut().is_some_and(|login| login.take(message, status)) {
            let (expires_seconds, body) = self.asked.clone();
            if self.ask(asked.clone(), expires_seconds, &body, now).is_ok() {
                return;
            }
        }
        if let Some(login) = &mut self.settings.login {
            login.settled();
        }
        if (200..300).contains(&status) {
            self.learn(message, &asked);
            let granted = message.header(Name::Expires).and_then(|value| value.trim().parse().ok());
            let expires_seconds = granted.unwrap_or(if asked == Asked::Unsubscribe { 0 } else { self.settings.expires_seconds });
            self.event(Event::Accepted { asked, expires_seconds });
            return;
        }
        if asked == Asked::Subscribe || ends_dialog(status) {
            self.state = State::Ended;
        }
        let mut reason = response.reason().to_owned();
        for name in [Name::Warning, Name::MinExpires] {
            if let Some(value) = message.header(name) {
                let _infallible = write!(reason, " ({}: {value})", name.as_str());
            }
        }
        self.event(Event::Refused { asked, status, reason });
    }

    /// The dialog's other side, from a 2xx (RFC 3261 §12.1.2).
    fn learn(&mut self, message: &Message, asked: &Asked) {
        if *asked == Asked::Subscribe && self.state != State::Ended {
            self.state = State::Subscribed;
            let mut routes: Vec<Box<str>> = message.values(Name::RecordRoute).map(Into::into).collect();
            routes.reverse();
            self.routes = routes;
        }
        if let Some(tag) = message.header(Name::To).and_then(NameAddr::parse).as_ref().and_then(NameAddr::tag) {
            self.remote_tag = Some(tag.into());
        }
        self.learn_target(message);
    }

    fn learn_target(&mut self, message: &Message) {
        if let Some(contact) = message.values(Name::Contact).next().and_then(NameAddr::parse) {
            self.remote_target = Some(contact.uri);
        }
    }

    fn take_request(&mut self, request: &Request, source: SocketAddr) {
        let status = self.judge(request);
        let mut answer = response(request, status, source);
        if status == 405 {
            answer.header("Allow", "NOTIFY");
        }
        self.output.push_back(Output::Answer(answer.finish(), source));
        let is_new = self.remote_cseq.is_none_or(|last| request.cseq() > last);
        if status != 200 || !is_new {
            return;
        }
        self.remote_cseq = Some(request.cseq());
        self.learn_target(request.message());
        let notification = Notification::read(&self.table, self.settings.package, request);
        if notification.is_terminated {
            self.state = State::Ended;
        }
        self.event(Event::Notified(notification));
    }

    /// The status by which a request is answered. A repeated NOTIFY gets its 200 again.
    fn judge(&mut self, request: &Request) -> u16 {
        let is_ours = request.call_id() == self.call_id && request.to().tag() == Some(&self.local_tag);
        let tag = request.from().tag();
        match () {
            () if !request.method().is_notify() => 405,
            () if !is_ours || self.cseq == 0 => 481,
            () if !request.event().is_some_and(|event| event.is(self.settings.package.name)) => 489,
            () if self.remote_tag.is_some() && self.remote_tag.as_deref() != tag => 481,
            () if self.remote_cseq.is_some_and(|last| request.cseq() < last) => 500,
            () => {
                if self.remote_tag.is_none() {
                    self.remote_tag = tag.map(Into::into);
                }
                200
            }
        }
    }

    fn fire(&mut self, now: Instant) {
        self.transactions.handle_timeout(now);
        while let Some(output) = self.transactions.poll_output() {
            match output {
                ClientOutput::Retransmit(_, packet) => self.output.push_back(Output::Send(packet)),
                ClientOutput::TimedOut(asked) => {
                    self.is_asking = false;
                    self.state = State::Ended;
                    self.output.push_back(Output::Event(Event::NoAnswer(asked)));
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.output.push_back(Output::Event(event));
    }
}

/// Whether a refusal of this status ends the subscription; every other one leaves it. Source: RFC 5057 §5.1.
pub(crate) const fn ends_dialog(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// When a subscription of this lifetime is refreshed: well before its end.
#[must_use]
pub(crate) fn refresh_after(expires_seconds: u32) -> Duration {
    Duration::from_secs(u64::from(expires_seconds.saturating_sub(expires_seconds.div_ceil(5).min(30)).max(1)))
}

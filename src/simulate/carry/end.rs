//! The client's end of a connection, for the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::bus::wire::Connection;
use crate::bus::{Bus, BusError, Link};
use crate::config::NatsConfig;
use crate::simulate::event::Event;
use crate::simulate::line::{Line, Subscription, ToServer};
use crate::simulate::server::Publication;
use crate::simulate::world::World;

/// As the client of the product: messages that may wait in one subscription.
const SUBSCRIPTION_CAPACITY: usize = 262_144;

/// One end of one line.
#[derive(Debug)]
pub(crate) struct End {
    line: usize,
    world: World,
    inboxes: AtomicU64,
}

impl End {
    /// A bus over a line that connects at once, and the number of the line.
    ///
    /// # Errors
    ///
    /// [`BusError`]
    pub(crate) async fn connect(world: &World, name: &'static str, config: &NatsConfig) -> (usize, Result<Bus, BusError>) {
        let link = Arc::new(Link::new(name, &[]));
        let (number, end) = Self::open(world, name, Arc::clone(&link));
        (number, Bus::in_model(config, end, link).await)
    }

    fn open(world: &World, name: &'static str, link: Arc<Link>) -> (usize, Arc<dyn Connection>) {
        let mut state = world.state();
        let number = state.lines.len();
        state.lines.push(Line::new(name, link));
        state.story.name_line(number, name);
        state.after(Duration::from_millis(1), Event::Connect { line: number, attempt: 0 });
        drop(state);
        world.hurry();
        (number, Arc::new(Self { line: number, world: world.clone(), inboxes: AtomicU64::new(0) }))
    }
}

impl Connection for End {
    fn new_inbox(&self) -> String {
        let number = self.inboxes.fetch_add(1, Ordering::Relaxed) + 1;
        format!("_INBOX.{}.{number}", self.line)
    }

    fn subscribe(&self, subject: String, queue: Option<String>) -> (u64, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let mut state = self.world.state();
        let Some(line) = state.lines.get_mut(self.line) else { return (0, messages) };
        let id = line.next_subscription;
        line.next_subscription += 1;
        if !line.is_closed {
            line.subscriptions.insert(id, Subscription { subject: subject.clone(), queue: queue.clone(), sender });
        }
        state.client_sends(self.line, ToServer::Subscribe { id, subject, queue });
        drop(state);
        self.world.hurry();
        (id, messages)
    }

    fn unsubscribe(&self, subscription: u64) {
        let mut state = self.world.state();
        let known = state.lines.get_mut(self.line).and_then(|line| line.subscriptions.remove(&subscription));
        if known.is_some() {
            state.client_sends(self.line, ToServer::Unsubscribe { id: subscription, is_drained: false });
        }
        drop(state);
        self.world.hurry();
    }

    fn drain(&self, subscription: u64) {
        let mut state = self.world.state();
        state.client_sends(self.line, ToServer::Unsubscribe { id: subscription, is_drained: true });
        drop(state);
        self.world.hurry();
    }

    fn publish(&self, subject: String, reply: Option<String>, headers: HeaderMap, payload: Bytes) {
        let publication = Box::new(Publication { subject, reply, headers, payload });
        self.world.state().client_sends(self.line, ToServer::Publish(publication));
        self.world.hurry();
    }

    fn is_connected(&self) -> bool {
        self.world.state().lines.get(self.line).is_some_and(|line| line.is_up)
    }

    fn close(&self) {
        let link = {
            let mut state = self.world.state();
            state.end_line(self.line);
            state.lines.get(self.line).map(|line| Arc::clone(&line.link))
        };
        if let Some(link) = link {
            link.handle(async_nats::Event::Closed);
        }
        self.world.hurry();
    }
}

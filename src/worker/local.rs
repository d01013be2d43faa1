//! Requests of the own process: taken in within the limit that those over NATS have, each kind in a task of its own. I/O.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::bus::local::{Asked, AskedGet, AskedSet, LocalWorker};
use crate::bus::service::{Place, Places};

/// A request that was handed over, with its place among those in hand.
pub(crate) struct Taken<T> {
    pub(crate) asked: T,
    pub(crate) place: Place,
}

/// The way in.
struct Door {
    gets: Entrance<AskedGet>,
    sets: Entrance<AskedSet>,
}

struct Entrance<T> {
    places: Places,
    queue: mpsc::Sender<Taken<T>>,
}

/// Takes in requests of this process from now on, if it may, until [`serve`] is told to stop.
pub(crate) fn open(bus: &Bus, [gets, sets]: [Places; 2]) -> (Requests<AskedGet>, Requests<AskedSet>) {
    let (reads, get_queue) = mpsc::channel(gets.limit());
    let (writes, set_queue) = mpsc::channel(sets.limit());
    let door = Door { gets: Entrance { places: gets, queue: reads }, sets: Entrance { places: sets, queue: writes } };
    bus.local().open(Box::new(door));
    (Requests { bus: bus.clone(), queue: get_queue }, Requests { bus: bus.clone(), queue: set_queue })
}

/// The requests of one kind that were handed over.
pub(crate) struct Requests<T> {
    bus: Bus,
    queue: mpsc::Receiver<Taken<T>>,
}

/// Handles requests until `shutdown`, then finishes what is in hand.
pub(crate) async fn serve<T, F: Future<Output = ()>>(requests: Requests<T>, shutdown: CancellationToken, handle: impl Fn(Taken<T>) -> F) {
    let Requests { bus, mut queue } = requests;
    let mut in_hand = FuturesUnordered::new();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            () = shutdown.cancelled(), if !is_stopping => {
                is_stopping = true;
                bus.local().close();
                queue.close();
            }
            Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
            taken = queue.recv() => match taken {
                Some(taken) => in_hand.push(handle(taken)),
                // where requests of this process may not come in memory, nobody holds the other end
                None if is_stopping => break,
                None => shutdown.cancelled().await,
            },
        }
    }
    while in_hand.next().await.is_some() {}
}

impl<Q, A> Entrance<Asked<Q, A>> {
    fn take(&self, asked: Asked<Q, A>) -> Result<(), Asked<Q, A>> {
        let Some(place) = self.places.take() else { return Err(asked) };
        self.queue.try_send(Taken { asked, place }).map_err(|refused| refused.into_inner().asked)
    }
}

impl LocalWorker for Door {
    fn get(&self, asked: AskedGet) -> Result<(), AskedGet> {
        self.gets.take(asked)
    }

    fn route_set(&self, asked: AskedSet) -> Result<(), AskedSet> {
        self.sets.take(asked)
    }
}

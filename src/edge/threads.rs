//! An edge of one notifier thread or several behind the same addresses, `sip.threads`.
//!
//! Each thread is an edge of its own to the bus: `<edge_id>`, `<edge_id>.2`, … It binds the same addresses (`SO_REUSEPORT`), and the
//! kernel gives each sender to one of them. A dialog that comes to another thread moves as between edges; a response that does is handed
//! over (`io::seat`). Nothing else is shared but the connection to the bus and the metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{join, join_all, try_join};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bus::Bus;
use crate::bus::watchers::SharedIndex;
use crate::config::Config;
use crate::edge::io::dns::Resolver;
use crate::edge::io::seat::Seat;
use crate::edge::limit::CAPACITIES;
use crate::edge::metrics::EdgeMetrics;
use crate::edge::run::{BoundThread, EdgeError, EdgeThread};
use crate::feature::table::FeatureTable;
use crate::sip::flow::Transport;

/// An edge whose sockets are bound; it serves with [`Edge::run`].
pub struct Edge {
    listening: Vec<String>,
    first: EdgeThread,
    others: Vec<Other>,
    stop: CancellationToken,
    /// The threads end with this.
    _guard: DropGuard,
}

/// What a thread beside the first starts with.
struct Beside {
    config: Arc<Config>,
    bus: Bus,
    index: SharedIndex,
    table: Arc<FeatureTable>,
    resolver: Resolver,
    seat: Seat,
    at: Vec<SocketAddr>,
    metrics: Arc<EdgeMetrics>,
    stop: CancellationToken,
}

/// A thread beside the first.
struct Other {
    bound: Option<oneshot::Receiver<()>>,
    serves: Option<oneshot::Receiver<()>>,
    ended: oneshot::Receiver<Result<(), EdgeError>>,
}

impl Edge {
    /// Binds the listeners and restores the subscriptions of this edge.
    ///
    /// # Errors
    ///
    /// [`EdgeError`]; nothing is bound then.
    pub async fn start(
        config: &Arc<Config>,
        bus: Bus,
        index: &SharedIndex,
        table: Arc<FeatureTable>,
        resolver: Resolver,
    ) -> Result<Self, EdgeError> {
        let threads = u8::try_from(config.sip.threads).unwrap_or(u8::MAX);
        let metrics = Arc::new(EdgeMetrics::new(&Transport::ALL, &CAPACITIES.times(threads.into())));
        metrics.queues.subscriptions_limit(config.sip.max_subscriptions);
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let mut seats = Seat::of(threads.max(1)).into_iter();
        let first = seats.next().ok_or(EdgeError::Thread(None))?;
        let first = BoundThread::bind(config, first, &[], &metrics)?;
        let listening = first.listeners().iter().map(|listener| format!("{}:{}", listener.transport.as_str(), listener.address)).collect();
        let at: Vec<_> = first.listeners().iter().map(|listener| listener.address).collect();
        let mut others = Vec::new();
        for seat in seats {
            let (config, metrics, table) = (Arc::clone(config), Arc::clone(&metrics), Arc::clone(&table));
            let resolver = resolver.clone();
            let beside = Beside {
                config,
                bus: bus.clone(),
                index: index.clone(),
                table,
                resolver,
                seat,
                at: at.clone(),
                metrics,
                stop: stop.clone(),
            };
            let mut other = Other::spawn(beside)?;
            // One after another: a sender comes to the same place after a restart.
            other.is_bound().await?;
            others.push(other);
        }
        // Together: the index of the process begins once each of them follows it.
        let others_serve = async {
            for other in &mut others {
                other.serves().await?;
            }
            Ok(())
        };
        let (first, ()) = Box::pin(try_join(first.start(bus, index, table, resolver), others_serve)).await?;
        Ok(Self { listening, first, others, stop, _guard: guard })
    }

    /// Where it listens: `udp:127.0.0.1:5060`, with the real port where 0 was asked for.
    #[must_use]
    pub fn listening(&self) -> Vec<String> {
        self.listening.clone()
    }

    /// Serves until `stop`, then finishes what is in hand. When one thread ends, all do.
    ///
    /// # Errors
    ///
    /// [`EdgeError`] of the first thread that cannot go on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EdgeError> {
        let Self { first, others, stop: inner, .. } = self;
        let ends = |served: Result<(), EdgeError>| {
            inner.cancel();
            served
        };
        let first = async { ends(Box::pin(first.run(inner.clone())).await) };
        let others = join_all(others.into_iter().map(|other| async { ends(other.ended.await.unwrap_or(Err(EdgeError::Thread(None)))) }));
        let mut all = Box::pin(join(first, others));
        let (first, others) = tokio::select! {
            ended = &mut all => ended,
            () = stop.cancelled() => {
                inner.cancel();
                all.await
            }
        };
        others.into_iter().fold(first, Result::and)
    }
}

impl Other {
    /// Starts a thread with a runtime of its own.
    fn spawn(beside: Beside) -> Result<Self, EdgeError> {
        let failed = |error| EdgeError::Thread(Some(error));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let ((to_bound, bound), (to_serves, serves), (to_ended, ended)) = (oneshot::channel(), oneshot::channel(), oneshot::channel());
        let thread = std::thread::Builder::new().name(format!("edge.{}", u32::from(beside.seat.place().number) + 1));
        let body = move || {
            let outcome = runtime.block_on(beside.serve(to_bound, to_serves));
            // Nobody waits for it when the edge has failed to start.
            let _gone = to_ended.send(outcome);
        };
        thread.spawn(body).map_err(failed)?;
        Ok(Self { bound: Some(bound), serves: Some(serves), ended })
    }

    async fn is_bound(&mut self) -> Result<(), EdgeError> {
        let bound = self.bound.take();
        self.reached(bound).await
    }

    async fn serves(&mut self) -> Result<(), EdgeError> {
        let serves = self.serves.take();
        self.reached(serves).await
    }

    /// Waits for a word of the thread; without one it has ended, and says why.
    async fn reached(&mut self, word: Option<oneshot::Receiver<()>>) -> Result<(), EdgeError> {
        if let Some(word) = word
            && word.await.is_ok()
        {
            return Ok(());
        }
        match (&mut self.ended).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(EdgeError::Thread(None)),
        }
    }
}

impl Beside {
    async fn serve(self, bound: oneshot::Sender<()>, serves: oneshot::Sender<()>) -> Result<(), EdgeError> {
        let Self { config, bus, index, table, resolver, seat, at, metrics, stop } = self;
        let thread = BoundThread::bind(&config, seat, &at, &metrics)?;
        // The first thread waits for each word, unless it has failed.
        let _gone = bound.send(());
        let Some(thread) = stop.run_until_cancelled(Box::pin(thread.start(bus, &index, table, resolver))).await else { return Ok(()) };
        let thread = thread?;
        let _gone = serves.send(());
        Box::pin(thread.run(stop)).await
    }
}

//! The simulated machine that a task runs on. Only in the simulation: elsewhere a task runs on the machine there is.
//!
//! Every task of a simulated process carries its host: it is polled with the host's clock and network, not at all while the host
//! is stopped, and dropped when the host is killed. A task that it starts has the same host.

use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;

use bytes::Bytes;

/// What a simulated process has of the machine below it.
pub(crate) trait Host: Debug + Send + Sync {
    /// The time of day there.
    fn utc_now(&self) -> SystemTime;
    /// Time since it has started.
    fn since_boot(&self) -> Duration;
    /// A UDP socket of it.
    ///
    /// # Errors
    ///
    /// The address is not of this host, or taken.
    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>>;
    /// Whether its process is stopped; `waker` is woken when it goes on.
    fn is_stopped(&self, waker: &Waker) -> bool;
    /// A task of its process, to be dropped when that is killed.
    fn started(&self, task: AbortHandle);
}

/// A simulated UDP socket.
pub(crate) trait Datagrams: Debug + Send + Sync {
    /// The address that it is bound to.
    fn local_addr(&self) -> SocketAddr;
    /// Whether there is something to receive; wakes the task when there is.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// The next datagram and its sender.
    fn receive(&self) -> Option<(SocketAddr, Bytes)>;
    /// Sends a datagram; it may be lost.
    fn send(&self, peer: SocketAddr, packet: Bytes);
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// The host of the task that is polled now.
pub(crate) fn current() -> Option<Arc<dyn Host>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Polls a future as a task of a host.
#[derive(Debug)]
pub(crate) struct On<F> {
    host: Option<Arc<dyn Host>>,
    future: Pin<Box<F>>,
}

/// A future of the host that is the current one now.
pub(crate) fn inherited<F: Future>(future: F) -> On<F> {
    On { host: current(), future: Box::pin(future) }
}

/// A future of this host.
pub(crate) fn on<F: Future>(host: Arc<dyn Host>, future: F) -> On<F> {
    On { host: Some(host), future: Box::pin(future) }
}

impl<F: Future> Future for On<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(host) = self.host.clone() else { return self.future.as_mut().poll(cx) };
        if host.is_stopped(cx.waker()) {
            return Poll::Pending;
        }
        let _outer = Entered::new(host);
        self.future.as_mut().poll(cx)
    }
}

/// The host before this one, put back on drop: also where a poll panics.
struct Entered(Option<Arc<dyn Host>>);

impl Entered {
    fn new(host: Arc<dyn Host>) -> Self {
        Self(CURRENT.replace(Some(host)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Elsewhere;

    impl Host for Elsewhere {
        fn utc_now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(7)
        }
        fn since_boot(&self) -> Duration {
            Duration::from_secs(7)
        }
        fn bind(&self, _address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
            Err(io::ErrorKind::AddrNotAvailable.into())
        }
        fn is_stopped(&self, _waker: &Waker) -> bool {
            false
        }
        fn started(&self, _task: AbortHandle) {}
    }

    #[tokio::test]
    async fn a_task_has_the_clock_of_its_host_and_so_has_what_it_starts() {
        let seen = on(Arc::new(Elsewhere), async {
            let (to, seen) = tokio::sync::oneshot::channel();
            let started = crate::runtime::tasks::spawn_owned(async move {
                let _sent = to.send(crate::runtime::clock::utc_now());
            });
            let seen = seen.await.unwrap();
            drop(started);
            (crate::runtime::clock::utc_now(), seen)
        });
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        assert_eq!(seen.await, (then, then));
        assert_ne!(crate::runtime::clock::utc_now(), then);
    }
}

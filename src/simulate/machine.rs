//! A simulated machine: its clock, its sockets, and the process that runs there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::runtime::host::{Datagrams, Host};
use crate::simulate::time::Time;

/// Datagrams that the kernel holds for a socket that nobody reads.
const SOCKET_QUEUE: usize = 4096;

/// The network that it is on.
pub(crate) trait Way: std::fmt::Debug + Send + Sync {
    /// Sends a datagram.
    fn send(&self, from: SocketAddr, to: SocketAddr, packet: Bytes);
}

/// One machine with one process.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) ip: IpAddr,
    time: Time,
    way: Arc<dyn Way>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Its clock is so far ahead, or behind.
    ahead: Duration,
    behind: Duration,
    is_stopped: bool,
    /// Whether its process runs.
    is_up: bool,
    /// Tasks that were to be polled while the process stood still.
    woken: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    sockets: BTreeMap<SocketAddr, Arc<Socket>>,
    booted_at: Duration,
}

/// A socket of a machine.
#[derive(Debug)]
pub(crate) struct Socket {
    address: SocketAddr,
    way: Arc<dyn Way>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<(SocketAddr, Bytes)>,
    reader: Option<Waker>,
    is_closed: bool,
}

impl Machine {
    pub(crate) fn new(ip: IpAddr, time: Time, way: Arc<dyn Way>) -> Arc<Self> {
        Arc::new(Self { ip, time, way, state: Mutex::default() })
    }

    /// Whether its process stands still.
    pub(crate) fn is_stopped_now(&self) -> bool {
        self.state().is_stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process runs from now on; `false`: it does already.
    pub(crate) fn start(&self) -> bool {
        !std::mem::replace(&mut self.state().is_up, true)
    }

    /// Its process has ended by itself.
    pub(crate) fn ended(&self) {
        self.state().is_up = false;
    }

    /// SIGSTOP: nothing of its process runs until [`go_on`](Self::go_on).
    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        let woken = {
            let mut state = self.state();
            state.is_stopped = false;
            std::mem::take(&mut state.woken)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// SIGKILL: its process is gone between two steps, with its sockets.
    pub(crate) fn kill(&self) {
        let (tasks, sockets) = {
            let mut state = self.state();
            state.is_up = false;
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.sockets))
        };
        for socket in sockets.values() {
            socket.close();
        }
        tasks.iter().for_each(AbortHandle::abort);
        // a stopped process is killed all the same
        self.go_on();
    }

    /// Sets its clock: so far ahead or behind of the true time.
    pub(crate) fn set_clock(&self, ahead: Duration, behind: Duration) {
        let mut state = self.state();
        (state.ahead, state.behind) = (ahead, behind);
    }

    /// A datagram has come to it; `false`: nobody listens there.
    pub(crate) fn arrived(&self, from: SocketAddr, to: SocketAddr, packet: Bytes) -> bool {
        let socket = self.state().sockets.get(&to).cloned();
        socket.is_some_and(|socket| socket.put(from, packet))
    }
}

impl Host for Machine {
    fn utc_now(&self) -> SystemTime {
        let state = self.state();
        self.time.utc_now() + state.ahead - state.behind
    }

    fn since_boot(&self) -> Duration {
        self.time.elapsed() + self.state().booted_at
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Arc<dyn Datagrams>> {
        if address.ip() != self.ip {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut state = self.state();
        if state.sockets.get(&address).is_some_and(|before| !before.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let socket = Arc::new(Socket { address, way: Arc::clone(&self.way), waiting: Mutex::default() });
        state.sockets.insert(address, Arc::clone(&socket));
        Ok(Arc::new(Opened(socket)))
    }

    fn is_stopped(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.is_stopped {
            state.woken.push(waker.clone());
        }
        state.is_stopped
    }

    fn started(&self, task: AbortHandle) {
        let mut state = self.state();
        if state.tasks.len() == state.tasks.capacity() {
            state.tasks.retain(|task| !task.is_finished());
        }
        state.tasks.push(task);
    }
}

impl Socket {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.waiting().is_closed
    }

    fn close(&self) {
        self.waiting().is_closed = true;
    }

    fn put(&self, from: SocketAddr, packet: Bytes) -> bool {
        let reader = {
            let mut waiting = self.waiting();
            if waiting.datagrams.len() < SOCKET_QUEUE {
                waiting.datagrams.push_back((from, packet));
            }
            waiting.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }
}

/// A socket as its process holds it: closed with it.
#[derive(Debug)]
struct Opened(Arc<Socket>);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Datagrams for Opened {
    fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.0.waiting();
        if waiting.datagrams.is_empty() {
            waiting.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn receive(&self) -> Option<(SocketAddr, Bytes)> {
        self.0.waiting().datagrams.pop_front()
    }

    fn send(&self, peer: SocketAddr, packet: Bytes) {
        if !self.0.is_closed() {
            self.0.way.send(self.0.address, peer, packet);
        }
    }
}

//! Host names looked up, on a thread of their own that starts with the first one.
//!
//! What is asked, and what the answers mean, is `sip::locate`. Servers, search list and options are those of `/etc/resolv.conf`; a name
//! of `/etc/hosts` is its addresses there, and DNS is not asked. Both files are read again when they change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::edge::limit::{LOOKUP_QUEUE, MAX_NAMES_ASKED};
use crate::runtime::{FileStamp, Tasks, clock};
use crate::sip::locate::{Answer, HostName, Location, NaptrRecord, NotLocated, Question, Records, Search, SrvRecord};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// How often it is looked whether they have changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For how long an address of `/etc/hosts` is relied on.
const HOSTS_TTL: Duration = Duration::from_secs(30);
/// How long one question may take, every server and try together.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a server may take for an answer, and how often it is asked: the second time is within the time of the question.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1400);
const SERVER_TRIES: usize = 2;
/// Answers kept for all threads, and for how long one that says that there is nothing may be kept at most.
const KEPT_ANSWERS: u64 = 4096;
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_mins(5);

type Located = Result<Location, NotLocated>;
type Found = (Arc<HostName>, Located);

/// Where host names of Routes and Contacts are looked up. Clones share its thread.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    door: OnceLock<Option<mpsc::Sender<Ask>>>,
}

/// Who is asked.
#[derive(Debug, Clone)]
enum Source {
    System,
    Servers(Vec<SocketAddr>),
}

/// A name to be located. Its answer is given when it is dropped at the latest.
struct Ask {
    host: Option<Arc<HostName>>,
    to: mpsc::Sender<Found>,
}

/// One notifier's names under way.
pub(crate) struct Lookups {
    resolver: Resolver,
    answers: (mpsc::Sender<Found>, mpsc::Receiver<Found>),
}

impl Resolver {
    /// By the configuration of this system.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// By these servers alone, over UDP and TCP, without `/etc/hosts`.
    #[must_use]
    pub fn at(servers: Vec<SocketAddr>) -> Self {
        Self::of(Source::Servers(servers))
    }

    fn of(source: Source) -> Self {
        Self { shared: Arc::new(Shared { source, door: OnceLock::new() }) }
    }

    /// Begins to locate a name. Without a thread or room on it there is no answer, which is one too.
    fn ask(&self, ask: Ask) {
        let door = self.shared.door.get_or_init(|| start(self.shared.source.clone()));
        if let Some(door) = door {
            // What comes back is dropped, and answered so.
            let _no_room = door.try_send(ask);
        }
    }
}

impl Ask {
    fn answer(mut self, found: Located) {
        self.give(found);
    }

    fn give(&mut self, found: Located) {
        if let Some(host) = self.host.take() {
            // The channel has room for every name that its notifier asks for; it is closed when the edge has ended.
            let _ended = self.to.try_send((host, found));
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.give(Err(NotLocated::NO_ANSWER));
    }
}

impl Lookups {
    /// None under way.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, answers: mpsc::channel(MAX_NAMES_ASKED) }
    }

    /// Begins to locate a name; the answer comes out of [`Lookups::poll`].
    pub(crate) fn ask(&self, host: Arc<HostName>) {
        self.resolver.ask(Ask { host: Some(host), to: self.answers.0.clone() });
    }

    /// The next name that is located, or is not.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Found>> {
        self.answers.1.poll_recv(cx)
    }
}

/// Starts the thread; it ends with the last resolver.
fn start(source: Source) -> Option<mpsc::Sender<Ask>> {
    let (door, asks) = mpsc::channel(LOOKUP_QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let started = runtime.and_then(|runtime| {
        let body = move || runtime.block_on(serve(source, asks));
        std::thread::Builder::new().name("dns".to_owned()).spawn(body)
    });
    started.inspect_err(|error| tracing::error!(%error, "no thread for host names, none is looked up")).ok().map(|_| door)
}

async fn serve(source: Source, mut asks: mpsc::Receiver<Ask>) {
    let tasks = Tasks::new();
    let mut current = View::of(&source);
    while let Some(ask) = asks.recv().await {
        current = current.renewed(&source);
        let view = Arc::clone(&current);
        tasks.spawn_brief("host name", async move {
            let found = match &ask.host {
                Some(host) => view.locate(host).await,
                None => Err(NotLocated::NO_ANSWER),
            };
            ask.answer(found);
        });
    }
}

/// Servers and hosts as they are now.
struct View {
    resolver: Option<TokioResolver>,
    hosts: Hosts,
    stamps: [Option<FileStamp>; 2],
    looked_at: Instant,
}

impl View {
    fn of(source: &Source) -> Arc<Self> {
        // Before the files are read: a change in between is then seen as one.
        let (stamps, looked_at) = (stamps(source), clock::now());
        let (config, options, hosts) = match source {
            Source::System => {
                let (config, options) = system_conf::read_system_conf().unwrap_or_else(|error| {
                    tracing::warn!(%error, "no name server in /etc/resolv.conf, one on this machine is asked");
                    (servers([SocketAddr::from((Ipv4Addr::LOCALHOST, 53))]), ResolverOpts::default())
                });
                (config, options, Hosts::from_system().unwrap_or_default())
            }
            Source::Servers(all) => (servers(all.iter().copied()), ResolverOpts::default(), Hosts::default()),
        };
        Arc::new(Self { resolver: resolver(config, options), hosts, stamps, looked_at })
    }

    fn renewed(self: Arc<Self>, source: &Source) -> Arc<Self> {
        let is_fresh = clock::now().saturating_duration_since(self.looked_at) < LOOK_EVERY;
        if is_fresh || stamps(source) == self.stamps { self } else { Self::of(source) }
    }

    async fn locate(&self, host: &HostName) -> Located {
        let is_static = self.in_hosts(host.name()).is_some();
        let mut search = Search::new(host.clone(), is_static);
        loop {
            let questions = search.questions();
            if questions.is_empty() {
                return search.end();
            }
            let asked = questions.into_iter().map(|question| async {
                let answer = self.answer(&question).await;
                (question, answer)
            });
            let answers = join_all(asked).await.into_iter().filter_map(|(question, answer)| Some((question, answer?)));
            search.take(answers.collect::<BTreeMap<_, _>>());
        }
    }

    /// `None`: there is none.
    async fn answer(&self, question: &Question) -> Option<Answer> {
        match question {
            Question::Naptr(name) => {
                let (all, ttl) = self.records(name, RecordType::NAPTR).await?;
                Some(Answer { records: Records::Naptr(all.iter().filter_map(naptr).collect()), ttl })
            }
            Question::Srv(name) => {
                let (all, ttl) = self.records(name, RecordType::SRV).await?;
                Some(Answer { records: Records::Srv(all.iter().filter_map(srv).collect()), ttl })
            }
            Question::Addresses(name) => {
                if let Some(addresses) = self.in_hosts(name) {
                    return Some(Answer { records: Records::Addresses(addresses), ttl: Some(HOSTS_TTL) });
                }
                let both = join(self.records(name, RecordType::A), self.records(name, RecordType::AAAA)).await;
                let (all, ttl) = match both {
                    (Some((four, a)), Some((six, b))) => ([four, six].concat(), a.into_iter().chain(b).min()),
                    // What one family has is enough; that it has nothing is not.
                    (Some((all, ttl)), None) | (None, Some((all, ttl))) if !all.is_empty() => (all, ttl),
                    _ => return None,
                };
                Some(Answer { records: Records::Addresses(all.iter().filter_map(RData::ip_addr).collect()), ttl })
            }
        }
    }

    /// The records of a name, none where there are none, and for how long that holds; `None`: no answer.
    async fn records(&self, name: &str, kind: RecordType) -> Option<(Vec<RData>, Option<Duration>)> {
        let Ok(asked) = Name::from_str_relaxed(name) else { return Some((Vec::new(), None)) };
        let found = timeout(QUESTION_TIMEOUT, self.resolver.as_ref()?.lookup(asked, kind)).await;
        match found {
            Ok(Ok(lookup)) => {
                let ttl = lookup.valid_until().saturating_duration_since(clock::now());
                let of_kind = lookup.answers().iter().filter(|record| record.record_type() == kind);
                Some((of_kind.map(|record| record.data.clone()).collect(), Some(ttl)))
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                let ttl = none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()).min(LONGEST_NEGATIVE_TTL));
                Some((Vec::new(), ttl))
            }
            // A server that does not know of such records.
            Ok(Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::NotImp)))) => Some((Vec::new(), None)),
            Ok(Err(error)) => {
                tracing::debug!(name, %kind, %error, "no answer from DNS");
                None
            }
            Err(_) => {
                tracing::debug!(name, %kind, "no answer from DNS in time");
                None
            }
        }
    }

    fn in_hosts(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = Name::from_str_relaxed(name).ok()?;
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [of(RecordType::A), of(RecordType::AAAA)].into_iter().flatten();
        let addresses: Vec<_> =
            found.flat_map(|lookup| lookup.answers().iter().filter_map(|at| at.data.ip_addr()).collect::<Vec<_>>()).collect();
        (!addresses.is_empty()).then_some(addresses)
    }
}

fn stamps(source: &Source) -> [Option<FileStamp>; 2] {
    match source {
        Source::System => [RESOLV_CONF, HOSTS].map(|path| FileStamp::of(Path::new(path))),
        Source::Servers(_) => [None, None],
    }
}

fn servers(all: impl IntoIterator<Item = SocketAddr>) -> ResolverConfig {
    let server = |address: SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        let at_port = |connection: &mut ConnectionConfig| connection.port = address.port();
        server.connections.iter_mut().for_each(at_port);
        server
    };
    ResolverConfig::from_parts(None, Vec::new(), all.into_iter().map(server).collect())
}

fn resolver(config: ResolverConfig, mut options: ResolverOpts) -> Option<TokioResolver> {
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = options.timeout.min(SERVER_TIMEOUT);
    options.attempts = options.attempts.clamp(1, SERVER_TRIES);
    options.cache_size = KEPT_ANSWERS;
    options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
    let built = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
    built.inspect_err(|error| tracing::error!(%error, "no resolver, no host name is looked up")).ok()
}

fn naptr(data: &RData) -> Option<NaptrRecord> {
    let RData::NAPTR(record) = data else { return None };
    Some(NaptrRecord {
        order: record.order,
        preference: record.preference,
        flags: String::from_utf8_lossy(&record.flags).into(),
        services: String::from_utf8_lossy(&record.services).into(),
        has_regexp: !record.regexp.is_empty(),
        replacement: text(&record.replacement),
    })
}

fn srv(data: &RData) -> Option<SrvRecord> {
    let RData::SRV(record) = data else { return None };
    let target = text(&record.target);
    Some(SrvRecord { priority: record.priority, weight: record.weight, port: record.port, target })
}

/// A name of a record, which is a whole one: the search list is not for it. Empty for the root.
fn text(name: &Name) -> Box<str> {
    let text = name.to_ascii().to_ascii_lowercase();
    if text == "." { Box::default() } else { text.into() }
}

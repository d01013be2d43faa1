//! The questions that locate a name, each step's after the answers to the one before. Pure.

use std::collections::BTreeMap;
use std::mem;
use std::net::IpAddr;
use std::time::Duration;

use super::{HostName, Location, NotLocated, Server, Service};
use crate::sip::flow::Transport;

/// Records of each kind that are followed; what more there are is not looked at.
const MAX_LEADS: usize = 6;
const MAX_SERVERS: usize = 16;
const MAX_ADDRESSES: usize = 8;
/// For how long what is known is relied on while a part of it got no answer.
const DOUBTFUL_TTL: Duration = Duration::from_secs(30);
/// No answer is relied on for longer.
const MAX_TTL: Duration = Duration::from_hours(24);
/// Nor asked for again sooner: a burst of requests to a name whose TTL is 0 is one question.
const MIN_TTL: Duration = Duration::from_secs(1);

/// What is asked of DNS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    Naptr(Box<str>),
    Srv(Box<str>),
    /// A and AAAA together.
    Addresses(Box<str>),
}

/// What DNS knows of a question; no records: there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub records: Records,
    /// `None` where it knows none, and does not say for how long.
    pub ttl: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Records {
    Naptr(Vec<NaptrRecord>),
    Srv(Vec<SrvRecord>),
    Addresses(Vec<IpAddr>),
}

/// Source: RFC 3403 §4.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NaptrRecord {
    pub order: u16,
    pub preference: u16,
    pub flags: Box<str>,
    /// `SIP+D2U`.
    pub services: Box<str>,
    pub has_regexp: bool,
    pub replacement: Box<str>,
}

/// Source: RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SrvRecord {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// Empty for `.`: the service is decidedly not there.
    pub target: Box<str>,
}

/// One name on its way to being located.
#[derive(Debug)]
pub(crate) struct Search {
    host: HostName,
    step: Step,
    ttl: Duration,
    is_doubtful: bool,
}

#[derive(Debug)]
enum Step {
    Naptr,
    Srv(Vec<Lead>),
    Addresses(Vec<Draft>),
    Done(Vec<Service>),
}

/// Where the servers of a transport are to be found.
#[derive(Debug)]
enum Lead {
    Srv(Transport, Box<str>),
    Host(Transport, Box<str>),
}

/// A server whose addresses are not known yet.
#[derive(Debug)]
struct Draft {
    transport: Transport,
    priority: u16,
    weight: u16,
    port: u16,
    target: Box<str>,
}

impl Search {
    /// Begins. A host that is known by its addresses alone, as one of `/etc/hosts` is, has neither NAPTR nor SRV records.
    #[must_use]
    pub(crate) fn new(host: HostName, has_addresses_only: bool) -> Self {
        let step = match host.port {
            None if !has_addresses_only && !host.choice.is_empty() => Step::Naptr,
            None if !has_addresses_only => Step::Srv(own_leads(&host)),
            _ => Step::Addresses(vec![own_draft(&host)]),
        };
        Self { host, step, ttl: MAX_TTL, is_doubtful: false }
    }

    /// What is to be asked now, all at once; nothing: [`Search::end`].
    #[must_use]
    pub(crate) fn questions(&self) -> Vec<Question> {
        match &self.step {
            Step::Naptr => vec![Question::Naptr(self.host.name.clone())],
            Step::Srv(leads) => {
                let srv = |lead: &Lead| match lead {
                    Lead::Srv(_, name) => Some(Question::Srv(name.clone())),
                    Lead::Host(..) => None,
                };
                leads.iter().filter_map(srv).collect()
            }
            Step::Addresses(drafts) => {
                let mut questions: Vec<_> = drafts.iter().map(|draft| Question::Addresses(draft.target.clone())).collect();
                questions.sort();
                questions.dedup();
                questions
            }
            Step::Done(_) => Vec::new(),
        }
    }

    /// Takes the answers to all that was asked in; one that is missing got none.
    pub(crate) fn take(&mut self, answers: BTreeMap<Question, Answer>) {
        self.is_doubtful |= self.questions().iter().any(|question| !answers.contains_key(question));
        let known = answers.values().filter_map(|answer| answer.ttl);
        self.ttl = known.fold(self.ttl, Duration::min);
        self.step = match mem::replace(&mut self.step, Step::Done(Vec::new())) {
            Step::Naptr => {
                let leads = answers.into_values().next().map(|answer| self.leads(answer.records)).unwrap_or_default();
                let leads = if leads.is_empty() { own_leads(&self.host) } else { leads };
                if leads.iter().any(|lead| matches!(lead, Lead::Srv(..))) { Step::Srv(leads) } else { self.drafts(leads, &answers_none()) }
            }
            Step::Srv(leads) => self.drafts(leads, &answers),
            Step::Addresses(drafts) => Step::Done(services(drafts, &answers)),
            done @ Step::Done(_) => done,
        };
    }

    /// What came of it.
    ///
    /// # Errors
    ///
    /// [`NotLocated`]
    pub(crate) fn end(self) -> Result<Location, NotLocated> {
        let ttl = self.ttl.max(MIN_TTL);
        match self.step {
            Step::Done(services) if !services.is_empty() => {
                Ok(Location { services, ttl: if self.is_doubtful { ttl.min(DOUBTFUL_TTL) } else { ttl } })
            }
            // What other parts said is no reason to wait with the next try.
            _ if self.is_doubtful => Err(NotLocated::NO_ANSWER),
            _ => Err(NotLocated { is_certain: true, ttl: (ttl < MAX_TTL).then_some(ttl) }),
        }
    }

    /// What the NAPTR records choose: of those that we can use, all of the lowest order. Source: RFC 3263 §4.1, RFC 3403 §4.1.
    fn leads(&self, records: Records) -> Vec<Lead> {
        let Records::Naptr(records) = records else { return Vec::new() };
        let usable = |record: NaptrRecord| {
            let transport = self.transport_of(&record.services).filter(|transport| self.host.choice.contains(transport))?;
            let name = record.replacement.clone();
            let lead = match () {
                () if record.has_regexp || name.is_empty() => None,
                () if record.flags.eq_ignore_ascii_case("s") => Some(Lead::Srv(transport, name)),
                () if record.flags.eq_ignore_ascii_case("a") => Some(Lead::Host(transport, name)),
                () => None,
            };
            Some((record.order, record.preference, lead?))
        };
        let mut leads: Vec<_> = records.into_iter().filter_map(usable).collect();
        leads.sort_by_key(|(order, preference, _)| (*order, *preference));
        let first = leads.first().map(|(order, ..)| *order);
        leads.into_iter().filter(|(order, ..)| Some(*order) == first).map(|(_, _, lead)| lead).take(MAX_LEADS).collect()
    }

    /// The transport of a NAPTR service, where a request to this host may use it: a `sips` URI is for `SIPS` alone.
    fn transport_of(&self, service: &str) -> Option<Transport> {
        let transport = match () {
            () if service.eq_ignore_ascii_case("SIPS+D2T") => Transport::Tls,
            () if service.eq_ignore_ascii_case("SIP+D2T") => Transport::Tcp,
            () if service.eq_ignore_ascii_case("SIP+D2U") => Transport::Udp,
            () => return None,
        };
        (transport == Transport::Tls || !self.host.is_sips).then_some(transport)
    }

    fn drafts(&self, leads: Vec<Lead>, answers: &BTreeMap<Question, Answer>) -> Step {
        let (mut drafts, mut is_denied) = (Vec::new(), false);
        for lead in leads {
            match lead {
                Lead::Host(transport, target) => {
                    drafts.push(Draft { transport, priority: 0, weight: 0, port: transport.default_port(), target });
                }
                Lead::Srv(transport, name) => {
                    let Some(Answer { records: Records::Srv(records), .. }) = answers.get(&Question::Srv(name)) else { continue };
                    is_denied |= records.iter().any(|record| record.target.is_empty());
                    let there = records.iter().filter(|record| !record.target.is_empty() && record.port > 0);
                    drafts.extend(there.map(|record| Draft {
                        transport,
                        priority: record.priority,
                        weight: record.weight,
                        port: record.port,
                        target: record.target.clone(),
                    }));
                }
            }
        }
        match () {
            () if !drafts.is_empty() => {
                // Stable: the services stay in their order.
                let mut places: Vec<_> = drafts.iter().map(|draft| draft.transport).collect();
                places.dedup();
                drafts.sort_by_key(|draft| (places.iter().position(|transport| *transport == draft.transport), draft.priority));
                drafts.truncate(MAX_SERVERS);
                Step::Addresses(drafts)
            }
            // Decidedly not there (RFC 2782, "Target").
            () if is_denied => Step::Done(Vec::new()),
            // No SRV records: the name itself (RFC 3263 §4.2).
            () => Step::Addresses(vec![own_draft(&self.host)]),
        }
    }
}

/// The SRV names of a host itself. Source: RFC 3263 §4.1, §4.2.
fn own_leads(host: &HostName) -> Vec<Lead> {
    let name = |transport: &Transport| match transport {
        Transport::Udp => Lead::Srv(*transport, format!("_sip._udp.{}", host.name).into()),
        Transport::Tcp => Lead::Srv(*transport, format!("_sip._tcp.{}", host.name).into()),
        _ => Lead::Srv(*transport, format!("_sips._tcp.{}", host.name).into()),
    };
    host.transports.iter().map(name).collect()
}

fn own_draft(host: &HostName) -> Draft {
    let transport = host.transport();
    let port = host.port.unwrap_or(transport.default_port());
    Draft { transport, priority: 0, weight: 0, port, target: host.name.clone() }
}

const fn answers_none() -> BTreeMap<Question, Answer> {
    BTreeMap::new()
}

fn services(drafts: Vec<Draft>, answers: &BTreeMap<Question, Answer>) -> Vec<Service> {
    let mut services: Vec<Service> = Vec::new();
    for Draft { transport, priority, weight, port, target } in drafts {
        let Some(Answer { records: Records::Addresses(all), .. }) = answers.get(&Question::Addresses(target)) else { continue };
        if all.is_empty() {
            continue;
        }
        let server = Server { priority, weight, port, addresses: all.iter().copied().take(MAX_ADDRESSES).collect() };
        match services.iter_mut().find(|service| service.transport == transport) {
            Some(service) => service.servers.push(server),
            None => services.push(Service { transport, servers: vec![server] }),
        }
    }
    services
}

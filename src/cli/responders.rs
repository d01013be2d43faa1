//! `dfks responders`: who answers for what and how it is with them, that one is gone for good, one question out of turn.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::json;

use super::connection::ClientArgs;
use super::exit::Failure;
use super::load::load;
use super::output::{complain, feature_line, print, print_json, printable};
use super::reach::{Nats, Whom};
use super::responders_args::{ForgetArgs, RespondersAction, RespondersArgs, TestArgs};
use super::role;
use crate::bus::message::{ForgetRequest, ForgetResponse, Kind, ResponderReport};
use crate::bus::poll::{self, PollLimits};
use crate::bus::subject::{Pattern, Subjects};
use crate::bus::token;
use crate::bus::who::{self, Instance};
use crate::feature::{FeatureTable, Presentity, Status, Values};
use crate::runtime::clock;
use crate::worker::change::Change;
use crate::worker::responder::answer::Answer;
use crate::worker::responder::trial::{self, Trial, Verdict};

/// The presentity that a test asks for where none is given.
const MADE_UP_USER: &str = "dfks-test";

/// `dfks responders [forget|test]`
pub(crate) async fn responders(args: RespondersArgs) -> Result<(), Failure> {
    match args.action {
        None => list(&args.client).await,
        Some(RespondersAction::Forget(args)) => forget(args).await,
        Some(RespondersAction::Test(args)) => test(args).await,
    }
}

/// One subject, as all workers together know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    subject: String,
    kind: String,
    domain: String,
    feature: String,
    /// Whether somebody listens; null: no worker has asked yet.
    listening: Option<bool>,
    /// NATS services that say so: `billing 1.4.0`.
    services: Vec<String>,
    /// Somebody listens, and nobody has ever answered.
    observer: bool,
    last_heard: Option<String>,
    latency_ms: Option<u64>,
    breaker: String,
    last_error: Option<String>,
    last_error_at: Option<String>,
}

async fn list(args: &ClientArgs) -> Result<(), Failure> {
    let nats = Nats::connect(args).await?;
    let subject = nats.bus().subjects().responders();
    let limits = PollLimits { timeout: args.timeout(), total: Duration::MAX, watchers: usize::MAX };
    let asked = nats.permitted(&subject, Whom::Worker, poll::responders(nats.bus(), limits)).await?;
    let workers = asked.map_err(|error| nats.failure(&error, &subject, Whom::Worker))?;
    if workers.is_empty() {
        return Err(nats.nobody(&subject, Whom::Worker));
    }
    // Who may not ask for services has no names.
    let services = tokio::select! {
        services = who::instances(nats.bus(), args.timeout().min(Duration::from_secs(1))) => services.unwrap_or_default(),
        _not_permitted = nats.bus().denied(None) => Vec::new(),
    };
    let lines = lines(nats.bus().subjects(), workers.into_values().flatten(), &services);
    if args.json {
        return lines.iter().try_for_each(print_json);
    }
    if lines.is_empty() {
        return print("no responder was heard, and nobody listens where a worker has asked\n");
    }
    let now = clock::utc_now();
    print(&lines.iter().map(|line| line.text(now)).collect::<String>())
}

/// One line for each subject: what is worst, and what is newest, of what the workers say.
fn lines(subjects: &Subjects, reports: impl Iterator<Item = ResponderReport>, services: &[Instance]) -> Vec<Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for report in reports {
        match lines.get_mut(&report.subject) {
            Some(line) => line.add(report),
            None => {
                lines.insert(report.subject.clone(), Line::of(report));
            }
        }
    }
    for instance in services {
        let name = format!("{} {}", instance.name, instance.version);
        let mut add = |line: &mut Line| {
            line.listening = Some(true);
            if !line.services.contains(&name) {
                line.services.push(name.trim_end().to_owned());
            }
        };
        lines.values_mut().filter(|line| instance.listens_on(&line.subject)).for_each(&mut add);
        // Where no worker has asked yet, its own word counts, wildcards and all.
        for filter in instance.subjects() {
            let is_asked = lines.values().any(|line| token::takes(filter, &line.subject));
            if let (false, Some(line)) = (is_asked, Line::of_service(subjects, filter)) {
                add(lines.entry(filter.to_owned()).or_insert(line));
            }
        }
    }
    lines.into_values().collect()
}

impl Line {
    fn of(report: ResponderReport) -> Self {
        let ResponderReport { subject, kind, domain, feature, listening, observer, .. } = report;
        let ResponderReport { last_heard, latency_ms, breaker, last_error, last_error_at, .. } = report;
        let services = Vec::new();
        Self { subject, kind, domain, feature, listening, services, observer, last_heard, latency_ms, breaker, last_error, last_error_at }
    }

    fn of_service(subjects: &Subjects, filter: &str) -> Option<Self> {
        let mut tokens = subjects.responder_key(filter)?.split('.').map(str::to_owned);
        let (kind, domain, feature) = (tokens.next()?, tokens.next()?, tokens.next()?);
        if kind == "auth" || tokens.next().is_some() {
            return None;
        }
        Some(Self::of(ResponderReport::unknown(filter, [kind, domain, feature])))
    }

    /// What another worker knows of it.
    fn add(&mut self, report: ResponderReport) {
        let severity = |breaker: &str| ["closed", "half_open", "open"].iter().position(|word| *word == breaker);
        self.listening = match (self.listening, report.listening) {
            (Some(one), Some(other)) => Some(one || other),
            (one, other) => one.or(other),
        };
        self.last_heard = self.last_heard.take().max(report.last_heard);
        // An observer is one as long as nobody has heard it.
        self.observer = (self.observer || report.observer) && self.last_heard.is_none();
        self.latency_ms = self.latency_ms.max(report.latency_ms);
        if severity(&report.breaker) > severity(&self.breaker) {
            self.breaker = report.breaker;
        }
        if report.last_error_at > self.last_error_at || self.last_error.is_none() {
            (self.last_error, self.last_error_at) = (report.last_error, report.last_error_at);
        }
    }

    fn text(&self, now: SystemTime) -> String {
        let who = match (self.listening, self.observer, &*self.services) {
            (_, true, []) => "somebody who only looks on".to_owned(),
            (_, _, [_, ..]) => self.services.join(", "),
            (Some(true), ..) => "somebody listens".to_owned(),
            (Some(false), ..) => "nobody listens".to_owned(),
            (None, ..) => "not asked yet".to_owned(),
        };
        let heard = match &self.last_heard {
            Some(at) => format!("heard {}", ago(at, now)),
            None => "never heard".to_owned(),
        };
        let latency = self.latency_ms.map(|ms| format!(", {ms} ms")).unwrap_or_default();
        let breaker = match &*self.breaker {
            "closed" => String::new(),
            "half_open" => ", breaker half open: it is tried again".to_owned(),
            breaker => format!(", breaker {breaker}: it is not asked for a while"),
        };
        let mut text = format!("{}\n  {who}, {heard}{latency}{breaker}\n", self.subject);
        if let Some(error) = &self.last_error {
            let at = self.last_error_at.as_deref().map(|at| format!(" {}", ago(at, now))).unwrap_or_default();
            let _infallible = writeln!(text, "  last bad reply{at}: {error}");
        }
        if self.listening == Some(false) && self.last_heard.is_some() {
            let _infallible = writeln!(text, "  if it is gone for good: dfks responders forget {}", self.subject);
        }
        text.lines().fold(String::new(), |mut shown, line| {
            let _infallible = writeln!(shown, "{}", printable(line));
            shown
        })
    }
}

/// `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`.
fn ago(at: &str, now: SystemTime) -> String {
    let Some(at) = clock::parse_rfc3339(at) else { return at.to_owned() };
    match now.duration_since(at).unwrap_or_default().as_secs() {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// `dfks responders forget SUBJECT`
async fn forget(args: ForgetArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let request = ForgetRequest { kind: Kind::default(), subject: args.subject };
    let asked = (Pattern::RespondersForget, nats.bus().subjects().responders_forget());
    let reply: ForgetResponse = nats.ask(Whom::Worker, asked, &request).await?;
    if args.client.json {
        print_json(&reply)?;
    }
    if reply.forgotten.is_empty() {
        return Err(Failure::Refused(format!("no responder was heard on {}: nothing is forgotten", printable(&request.subject))));
    }
    if args.client.json {
        return Ok(());
    }
    let line = |subject: &String| format!("{} is forgotten: it owns nothing until it answers again", printable(subject));
    print(&(reply.forgotten.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"))
}

/// `dfks responders test SUBJECT`
async fn test(args: TestArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    // Features that a configuration adds are known by their values there alone.
    let table = match &args.client.config.config {
        Some(_) => Arc::unwrap_or_clone(role::start::table(&load(&args.client.config)?)?),
        None => FeatureTable::built_in(),
    };
    let (is_set, domain, feature) = read_subject(nats.bus().subjects(), &args.subject)?;
    match args.set {
        None if is_set => {
            return Err(Failure::Usage(format!(
                "{} is asked to change something, and cannot know that it is a test: ask with --set on|off, best for a --presentity that \
                 nobody uses, or test {} in its place",
                args.subject,
                args.subject.replacen(".set.", ".get.", 1)
            )));
        }
        Some(_) if !is_set => {
            return Err(Failure::Usage(format!("--set goes with a subject {}.responder.set.…", prefix(nats.bus().subjects()))));
        }
        _ => {}
    }
    let spec = table.require(&feature).map_err(|error| Failure::Refused(error.to_string()))?;
    let presentity = presentity(args.presentity.as_deref(), &domain)?;
    let change = args.set.map(|is_on| (Status(is_on), args.values.into_iter().collect::<Values>()));
    if let Some((_, values)) = &change {
        spec.check_values(values).map_err(|error| Failure::Usage(error.to_string()))?;
        complain(&format!("dfks: {} is asked to change {feature} of {presentity}; nothing of it is stored here", args.subject));
    }
    let timeout = Duration::from_millis(args.within);
    let trial = Trial { presentity: &presentity, spec, change, timeout };
    let verdict = nats.permitted(&args.subject, Whom::Responder, trial::run(nats.bus(), &table, trial)).await?;
    let is_nobody = verdict.is_silent && nats.bus().is_looked_on().await;
    let reported = report(&verdict, &presentity, spec.name(), args.client.json);
    if is_nobody {
        Err(Failure::NobodyAnswered(format!("nobody listens on {} but who looks on at everything", args.subject)))
    } else {
        reported
    }
}

fn prefix(subjects: &Subjects) -> String {
    subjects.responders().split('.').next().unwrap_or_default().to_owned()
}

/// Whether it is of a set, the domain as it stands there, the feature.
fn read_subject(subjects: &Subjects, subject: &str) -> Result<(bool, String, String), Failure> {
    let expected = || {
        Failure::Usage(format!(
            "'{subject}': expected {0}.responder.get.<domain>.<Feature> or {0}.responder.set.<domain>.<Feature>",
            prefix(subjects)
        ))
    };
    let tokens: Vec<&str> = subjects.responder_key(subject).ok_or_else(expected)?.split('.').collect();
    match *tokens {
        [kind @ ("get" | "set"), domain, feature] if ![domain, feature].iter().any(|token| matches!(*token, "*" | ">" | "")) => {
            Ok((kind == "set", domain.to_owned(), feature.to_owned()))
        }
        _ => Err(expected()),
    }
}

/// The one that is given, which must be of this domain, or one that nobody has.
fn presentity(given: Option<&str>, domain: &str) -> Result<Presentity, Failure> {
    let made_up = || match domain {
        "tel" => "tel:+10000000000".to_owned(),
        domain => match domain.replace('-', ":").parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("sip:{MADE_UP_USER}@[{address}]"),
            Err(_) => format!("sip:{MADE_UP_USER}@{}", domain.replace('_', ".")),
        },
    };
    let text = given.map_or_else(made_up, str::to_owned);
    let hint = |text: &str| Failure::Usage(format!("--presentity '{text}': expected one of the domain that is {domain} in subjects"));
    let presentity = Presentity::parse(&text).map_err(|_| hint(&text))?;
    if *presentity.domain_token() == *domain { Ok(presentity) } else { Err(hint(&text)) }
}

/// Says whether the answer is usable. One that is not ends with exit code 1, nobody there with 69.
fn report(verdict: &Verdict, presentity: &Presentity, feature: &str, is_json: bool) -> Result<(), Failure> {
    let Verdict { subject, answer, trouble, came, took, is_silent: _ } = verdict;
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if is_json {
        let is_usable = matches!(answer, Answer::Change(_) | Answer::Denied(_));
        print_json(&json!({
            "subject": subject, "presentity": presentity.as_str(), "usable": is_usable, "outcome": answer.outcome().as_str(),
            "took_ms": took_ms, "came": came, "error": trouble,
        }))?;
    }
    let shown = |text: String| if is_json { Ok(()) } else { print(&text) };
    match answer {
        Answer::Change(change) => shown(format!("usable, after {took_ms} ms: {}\n", meaning(change, feature))),
        Answer::Denied(why) => shown(format!("usable, after {took_ms} ms: it denies it: {}\n", printable(why))),
        Answer::None => Err(Failure::NobodyAnswered(format!("nobody listens on {subject}"))),
        _ => {
            let trouble = trouble.as_deref().unwrap_or("no usable answer");
            Err(Failure::Refused(format!("not usable, after {took_ms} ms: {}", printable(trouble))))
        }
    }
}

/// What the answer says of the feature.
fn meaning(change: &Change, feature: &str) -> String {
    let mut parts = Vec::new();
    match change.status {
        Some(status) => parts.push(feature_line(feature, status, &change.values)),
        None if change.values.is_empty() => parts.push(format!("{feature} stays as it is")),
        None => {
            parts.push(change.values.iter().map(|(field, value)| format!("{field}={}", printable(value))).collect::<Vec<_>>().join(" "));
        }
    }
    parts.extend((change.assigned == Some(false)).then(|| "not assigned".to_owned()));
    parts.extend((change.notify == Some(false)).then(|| "no NOTIFY".to_owned()));
    parts.extend(change.also.iter().map(|also| format!("also {}", printable(&also.feature))));
    parts.join(", ")
}

#[cfg(test)]
#[path = "tests/responders.rs"]
mod tests;

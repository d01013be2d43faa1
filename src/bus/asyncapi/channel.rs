//! The subjects, with what varies in them and what goes over them.

use super::name::{channel_id, reference};
use super::shape::{Channel, Ordered, Parameter, Reference};
use crate::bus::subject::Pattern;

/// What goes over a subject, and what comes back.
struct Traffic {
    pattern: Pattern,
    title: &'static str,
    description: &'static str,
    messages: &'static [&'static str],
    replies: &'static [&'static str],
}

const TRAFFIC: [Traffic; 30] = [
    Traffic {
        pattern: Pattern::Set,
        title: "Set a feature",
        description: "Any service sets a feature of a presentity. One of the mi bridges has the set route run, has the phones notified, and answers.",
        messages: &["set_request"],
        replies: &["set_response", "error"],
    },
    Traffic {
        pattern: Pattern::Get,
        title: "Ask for features",
        description: "Any service, each edge and each mi bridge asks for the state of features. One of the workers answers.",
        messages: &["get_request"],
        replies: &["get_response", "error"],
    },
    Traffic {
        pattern: Pattern::SetDomain,
        title: "Set a feature of one domain",
        description: "As `dfks.set`, for a tenant's own services: a presentity of another domain is refused with 403. So permissions of NATS keep tenants apart.",
        messages: &["set_request"],
        replies: &["set_response", "error"],
    },
    Traffic {
        pattern: Pattern::GetDomain,
        title: "Ask for features of one domain",
        description: "As `dfks.get`, for a tenant's own services: a presentity of another domain is refused with 403.",
        messages: &["get_request"],
        replies: &["get_response", "error"],
    },
    Traffic {
        pattern: Pattern::RouteSet,
        title: "Run the set route",
        description: "An edge or a mi bridge has a worker run the set route.",
        messages: &["route_set_request"],
        replies: &["route_set_response", "error"],
    },
    Traffic {
        pattern: Pattern::CommandSet,
        title: "Set a feature, durably",
        description: "The durable way in, published with JetStream (stream `DFKS_COMMANDS`): once it is acknowledged it is carried out, also if no bridge is up, \
                      once for each `Nats-Msg-Id` and in order for each presentity. What cannot be carried out goes to `dfks.dead.command`.",
        messages: &["set_command"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::CommandSetDomain,
        title: "Set a feature of one domain, durably",
        description: "As `dfks.command.set`, for a tenant's own services. A command for a presentity of another domain goes to `dfks.dead.command`, with the reason `denied`.",
        messages: &["set_command"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::ResponderGet,
        title: "Ask the responder of a feature",
        description: "A worker asks the service that owns a feature for its state. Nobody there, or no answer in time: the last known state is served.",
        messages: &["responder_get_request"],
        replies: &["responder_state", "error"],
    },
    Traffic {
        pattern: Pattern::ResponderSet,
        title: "Have the responder of a feature change it",
        description: "A worker asks the service that owns a feature to change it, before anything is changed. An error 403 denies it, any other error, and no answer in \
                      time, is a failure; so is nobody there where a responder was heard before. Where none was ever heard the change is made without one.",
        messages: &["responder_set_request"],
        replies: &["responder_state", "error"],
    },
    Traffic {
        pattern: Pattern::ResponderAuth,
        title: "Ask for what stands for a password",
        description: "An edge with `sip.auth.mode = \"digest\"` and no users file asks for the HA1 of a user. An error 404: there is no such user.",
        messages: &["auth_request"],
        replies: &["auth_response", "error"],
    },
    Traffic {
        pattern: Pattern::Notify,
        title: "NOTIFY jobs of an edge",
        description: "Work queue (stream `DFKS_NOTIFY`): an edge is to tell its watchers of a presentity. Acknowledged when the phones answered.",
        messages: &["notify_job"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EdgeAlive,
        title: "Edges that live",
        description: "Each edge says several times within `sip.takeover_seconds` that it lives. The others take over from one that does not.",
        messages: &["edge_alive"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::Watchers,
        title: "Ask for live subscriptions",
        description: "Every edge answers, each in one message or more; `more` tells whether another one follows.",
        messages: &["watchers_request"],
        replies: &["watchers_response", "error"],
    },
    Traffic {
        pattern: Pattern::Resync,
        title: "Have phones told anew",
        description: "Whoever operates dfks has the phones of a presentity, or of a domain, told the full state again, one after another. \
                      One of the mi bridges answers, with how many will be; 404 where there is none.",
        messages: &["resync_request"],
        replies: &["resync_response", "error"],
    },
    Traffic {
        pattern: Pattern::End,
        title: "End a subscription",
        description: "Whoever operates dfks ends a subscription: its phone gets a NOTIFY that says why, and its record goes. One of the mi bridges answers; \
                      404 where there is none.",
        messages: &["end_request"],
        replies: &["end_response", "error"],
    },
    Traffic {
        pattern: Pattern::Why,
        title: "Ask why a lamp is as it is",
        description: "Whoever operates dfks asks what is told to the phones of a presentity, and where it stops. One of the mi bridges asks edges, workers \
                      and the stream of events, and answers within a second.",
        messages: &["why_request"],
        replies: &["why_response", "error"],
    },
    Traffic {
        pattern: Pattern::Sip,
        title: "Ask for the SIP of a subscription",
        description: "Whoever operates dfks asks for the last SIP messages of a subscription. The edge through which they passed answers; without one \
                      nobody does.",
        messages: &["sip_request"],
        replies: &["sip_response", "error"],
    },
    Traffic {
        pattern: Pattern::EdgeResync,
        title: "Have phones of an edge told anew",
        description: "A mi bridge asks each edge that may hold such phones.",
        messages: &["resync_request"],
        replies: &["resync_response", "error"],
    },
    Traffic {
        pattern: Pattern::EdgeEnd,
        title: "End a subscription of an edge",
        description: "A mi bridge asks the edge that holds it.",
        messages: &["end_request"],
        replies: &["end_response", "error"],
    },
    Traffic {
        pattern: Pattern::Responders,
        title: "Ask for responders",
        description: "Whoever operates dfks asks what the workers know of responders. Every worker answers, in one message or more.",
        messages: &["responders_request"],
        replies: &["responders_response", "error"],
    },
    Traffic {
        pattern: Pattern::Status,
        title: "Ask what runs",
        description: "Whoever operates dfks asks every process for its roles, version, configuration and edges. Each answers in one message.",
        messages: &["status_request"],
        replies: &["status_response", "error"],
    },
    Traffic {
        pattern: Pattern::Log,
        title: "Set the log level",
        description: "Whoever operates dfks has processes log at another level, all or those of a role. Every process answers in one message, with the \
                      level that it has then; `log_set` says whether it was meant.",
        messages: &["log_request"],
        replies: &["status_response", "error"],
    },
    Traffic {
        pattern: Pattern::RespondersForget,
        title: "Have responders forgotten",
        description: "Responders that are gone for good own nothing any more: the store decides, until one is heard. One of the workers answers, all know it.",
        messages: &["forget_request"],
        replies: &["forget_response", "error"],
    },
    Traffic {
        pattern: Pattern::EventSubscription,
        title: "Subscriptions that come and go",
        description: "In the stream `DFKS_EVENTS`, for 7 days.",
        messages: &["event_subscription"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EventFeature,
        title: "Changes of features",
        description: "In the stream `DFKS_EVENTS`, for 7 days. What was refused is told too.",
        messages: &["event_feature"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EventNotify,
        title: "Outcomes of NOTIFYs",
        description: "In the stream `DFKS_EVENTS`, for 7 days.",
        messages: &["event_notify"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EventRaw,
        title: "Bodies of phones that nobody registered",
        description: "In the stream `DFKS_EVENTS`, for 7 days. Only with `features.passthrough = true`.",
        messages: &["event_raw"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EventRefused,
        title: "Requests and commands that were refused",
        description: "In the stream `DFKS_EVENTS`, for 7 days. At most one a second for each source and reason; `count` says how many it stands for. \
                      `{domain}` is `unknown` where no presentity could be read.",
        messages: &["event_refused"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::EventHand,
        title: "What was done by hand",
        description: "In the stream `DFKS_EVENTS`, for 7 days: dead letters that were published again or taken away, log levels, and who did it. \
                      `{domain}` is `unknown` where it is about no presentity.",
        messages: &["event_hand"],
        replies: &[],
    },
    Traffic {
        pattern: Pattern::Dead,
        title: "What was given up on",
        description: "In the stream `DFKS_DEAD`: the payload as it came, the reason in its headers.",
        messages: &["dead_letter"],
        replies: &[],
    },
];

/// Every channel: the subjects, then the replies.
pub(super) fn all() -> Ordered<Channel> {
    let subjects = TRAFFIC.iter().filter_map(|traffic| Some((channel_id(traffic.pattern)?.to_owned(), subject(traffic))));
    let replies = TRAFFIC.iter().filter(|traffic| !traffic.replies.is_empty());
    let replies = replies.filter_map(|traffic| Some((reply_id(traffic.pattern)?, reply(traffic))));
    subjects.chain(replies).collect()
}

/// Names of the messages of a subject, and of the replies to them.
pub(super) fn messages(pattern: Pattern) -> (&'static [&'static str], &'static [&'static str]) {
    let traffic = TRAFFIC.iter().find(|traffic| traffic.pattern == pattern);
    traffic.map_or((&[], &[]), |traffic| (traffic.messages, traffic.replies))
}

/// `setReply`
pub(super) fn reply_id(pattern: Pattern) -> Option<String> {
    channel_id(pattern).map(|id| format!("{id}Reply"))
}

fn subject(traffic: &Traffic) -> Channel {
    let address = address(traffic.pattern);
    let parameters = PARAMETERS.iter().filter(|(name, _)| address.contains(&format!("{{{name}}}")));
    Channel {
        parameters: parameters.map(|(name, parameter)| (*name, parameter.clone())).collect(),
        address: Some(address),
        title: traffic.title.to_owned(),
        description: traffic.description.to_owned(),
        messages: named(traffic.messages),
    }
}

fn reply(traffic: &Traffic) -> Channel {
    Channel {
        address: None,
        title: format!("{}: the answer", traffic.title),
        description: format!("The inbox that the request on `{}` names as its reply subject.", traffic.pattern.as_str()),
        messages: named(traffic.replies),
        parameters: Ordered::from_iter::<[(&str, Parameter); 0]>([]),
    }
}

fn named(messages: &[&str]) -> Ordered<Reference> {
    messages.iter().map(|name| (*name, reference(&format!("components/messages/{name}")))).collect()
}

/// `dfks.responder.get.<domain>.<Feature>` is `{prefix}.responder.get.{domain}.{feature}` there.
fn address(pattern: Pattern) -> String {
    let subject = pattern.as_str().replacen("dfks", "{prefix}", 1);
    subject.replace('<', "{").replace('>', "}").replace("{Feature}", "{feature}")
}

const PARAMETERS: [(&str, Parameter); 5] = [
    ("prefix", Parameter { description: "`nats.prefix`: lower-case letters, digits and `-`.", default: Some("dfks"), examples: &["dfks"] }),
    (
        "domain",
        Parameter {
            description: "Host of the presentity as one token: lower case, `_` for `.`, `-` for `:`, no brackets; `tel` for a `tel:` presentity.",
            default: None,
            examples: &["example_com", "10_0_0_11", "2001-db8--1", "tel"],
        },
    ),
    (
        "feature",
        Parameter {
            description: "Name of the feature.",
            default: None,
            examples: &["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer", "AgentState"],
        },
    ),
    (
        "edge_id",
        Parameter {
            description: "`sip.edge_id` as one token: letters, digits, `-` and `_` stand for themselves, every other byte is `=` and two hexadecimal digits.",
            default: None,
            examples: &["edge-0", "edge-0=2Elab"],
        },
    ),
    ("stage", Parameter { description: "Which stage gave it up: `command` or `notify`.", default: None, examples: &["command", "notify"] }),
];

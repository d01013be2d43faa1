//! Who asks whom, from the side of dfks.

use serde_json::json;

use super::channel::{messages, reply_id};
use super::name::{channel_id, reference};
use super::shape::{Operation, Ordered, Reply, Tag};
use crate::bus::subject::Pattern;

/// What dfks does on a subject.
struct Deed {
    id: &'static str,
    action: &'static str,
    pattern: Pattern,
    title: &'static str,
    summary: &'static str,
    /// Which role does it.
    description: &'static str,
    tag: &'static str,
    queue: Option<&'static str>,
}

const RECEIVE: &str = "receive";
const SEND: &str = "send";
const WORKERS: Option<&str> = Some("dfks-worker");
const BRIDGES: Option<&str> = Some("dfks-mi");

#[rustfmt::skip]
const DEEDS: [Deed; 33] = [
    Deed { id: "takeCommand", action: RECEIVE, pattern: Pattern::Set, title: "Take a command", summary: "Set a feature and say what became of it.", description: "The mi bridges, as a queue group.", tag: "services", queue: BRIDGES },
    Deed { id: "takeDurableCommand", action: RECEIVE, pattern: Pattern::CommandSet, title: "Take a durable command", summary: "Carry out what the stream holds.", description: "One mi bridge at a time pulls them.", tag: "services", queue: None },
    Deed { id: "takeCommandOfDomain", action: RECEIVE, pattern: Pattern::SetDomain, title: "Take a tenant's command", summary: "Set a feature of that domain and say what became of it.", description: "The mi bridges, as a queue group.", tag: "services", queue: BRIDGES },
    Deed { id: "takeDurableCommandOfDomain", action: RECEIVE, pattern: Pattern::CommandSetDomain, title: "Take a tenant's durable command", summary: "Carry out what the stream holds.", description: "One mi bridge at a time pulls them.", tag: "services", queue: None },
    Deed { id: "tellFeaturesOfDomain", action: RECEIVE, pattern: Pattern::GetDomain, title: "Tell features to a tenant", summary: "Say the state of features of that domain.", description: "The workers, as a queue group.", tag: "services", queue: WORKERS },
    Deed { id: "tellFeatures", action: RECEIVE, pattern: Pattern::Get, title: "Tell features", summary: "Say the state of features.", description: "The workers, as a queue group.", tag: "services", queue: WORKERS },
    Deed { id: "tellWatchers", action: RECEIVE, pattern: Pattern::Watchers, title: "Tell watchers", summary: "List the live subscriptions.", description: "Every edge, each for itself.", tag: "services", queue: None },
    Deed { id: "tellPhonesAnew", action: RECEIVE, pattern: Pattern::Resync, title: "Tell phones anew", summary: "Have the full state told again.", description: "The mi bridges, as a queue group.", tag: "services", queue: BRIDGES },
    Deed { id: "endSubscription", action: RECEIVE, pattern: Pattern::End, title: "End a subscription", summary: "Have its phone told that it is over.", description: "The mi bridges, as a queue group.", tag: "services", queue: BRIDGES },
    Deed { id: "sayWhy", action: RECEIVE, pattern: Pattern::Why, title: "Say why", summary: "Say what is told to whom, and where it stops.", description: "The mi bridges, as a queue group.", tag: "services", queue: BRIDGES },
    Deed { id: "tellStatus", action: RECEIVE, pattern: Pattern::Status, title: "Tell what a process is", summary: "Say its roles, version, configuration and edges.", description: "Every process, each for itself.", tag: "services", queue: None },
    Deed { id: "setLogLevel", action: RECEIVE, pattern: Pattern::Log, title: "Set the log level", summary: "Log at another level, for a while.", description: "Every process, each for itself.", tag: "services", queue: None },
    Deed { id: "tellSip", action: RECEIVE, pattern: Pattern::Sip, title: "Tell the SIP of a subscription", summary: "Say what passed last.", description: "The edge through which it passed.", tag: "services", queue: None },
    Deed { id: "tellPhonesOfEdgeAnew", action: RECEIVE, pattern: Pattern::EdgeResync, title: "Tell phones of an edge anew", summary: "Tell the full state again.", description: "The edge of that name.", tag: "inside", queue: None },
    Deed { id: "endSubscriptionOfEdge", action: RECEIVE, pattern: Pattern::EdgeEnd, title: "End a subscription of an edge", summary: "Tell its phone that it is over.", description: "The edge of that name.", tag: "inside", queue: None },
    Deed { id: "tellResponders", action: RECEIVE, pattern: Pattern::Responders, title: "Tell responders", summary: "Say what is known of responders.", description: "Every worker, each for itself.", tag: "services", queue: None },
    Deed { id: "forgetResponders", action: RECEIVE, pattern: Pattern::RespondersForget, title: "Forget responders", summary: "Let those go that are gone for good.", description: "The workers, as a queue group.", tag: "services", queue: WORKERS },
    Deed { id: "askResponder", action: SEND, pattern: Pattern::ResponderGet, title: "Ask a responder", summary: "Ask for the state of a feature.", description: "The workers. Responders of one feature should share a queue group.", tag: "responders", queue: None },
    Deed { id: "changeAtResponder", action: SEND, pattern: Pattern::ResponderSet, title: "Have a responder change a feature", summary: "Ask for a change, which may be denied.", description: "The workers. Responders of one feature should share a queue group.", tag: "responders", queue: None },
    Deed { id: "askForPassword", action: SEND, pattern: Pattern::ResponderAuth, title: "Ask for a password", summary: "Ask for what stands for a user's password.", description: "The edges.", tag: "responders", queue: None },
    Deed { id: "sayThatASubscriptionChanged", action: SEND, pattern: Pattern::EventSubscription, title: "Say that a subscription changed", summary: "It came, was refreshed or ended.", description: "The edge that holds it.", tag: "events", queue: None },
    Deed { id: "sayThatAFeatureChanged", action: SEND, pattern: Pattern::EventFeature, title: "Say that a feature changed", summary: "A change was made, or refused.", description: "The edge for a key press, the mi bridge for a command.", tag: "events", queue: None },
    Deed { id: "sayWhatBecameOfANotify", action: SEND, pattern: Pattern::EventNotify, title: "Say what became of a NOTIFY", summary: "It was delivered, failed or expired.", description: "The edge that sent it.", tag: "events", queue: None },
    Deed { id: "passOnABody", action: SEND, pattern: Pattern::EventRaw, title: "Pass on a body", summary: "A phone sent XML that nobody registered, and `features.passthrough` is on.", description: "The edge that it came to.", tag: "events", queue: None },
    Deed { id: "sayWhatWasRefused", action: SEND, pattern: Pattern::EventRefused, title: "Say what was refused", summary: "A request of a phone or a command was refused.", description: "The edge or mi bridge that refused it.", tag: "events", queue: None },
    Deed { id: "sayWhatWasDoneByHand", action: SEND, pattern: Pattern::EventHand, title: "Say what was done by hand", summary: "A dead letter was published again or taken away, or a process has another log level.", description: "Whoever does it: a client command, a mi bridge, a process whose log it is.", tag: "events", queue: None },
    Deed { id: "giveUp", action: SEND, pattern: Pattern::Dead, title: "Give up", summary: "Keep what could not be carried out, with the reason.", description: "Whoever takes from a work queue.", tag: "events", queue: None },
    Deed { id: "haveRouteRun", action: SEND, pattern: Pattern::RouteSet, title: "Have the set route run", summary: "Ask a worker for a change.", description: "The edge for a key press, the mi bridge for a command.", tag: "inside", queue: None },
    Deed { id: "runRoute", action: RECEIVE, pattern: Pattern::RouteSet, title: "Run the set route", summary: "Make a change, or deny it.", description: "The workers, as a queue group.", tag: "inside", queue: WORKERS },
    Deed { id: "storeNotifyJob", action: SEND, pattern: Pattern::Notify, title: "Store a NOTIFY job", summary: "Have an edge tell its watchers.", description: "Whoever made the change, once for each edge that holds a watcher.", tag: "inside", queue: None },
    Deed { id: "takeNotifyJob", action: RECEIVE, pattern: Pattern::Notify, title: "Take a NOTIFY job", summary: "Tell the watchers.", description: "The edge of that id.", tag: "inside", queue: None },
    Deed { id: "sayThatAnEdgeLives", action: SEND, pattern: Pattern::EdgeAlive, title: "Say that an edge lives", summary: "Show that nothing is to be taken over.", description: "Each edge.", tag: "inside", queue: None },
    Deed { id: "hearThatAnEdgeLives", action: RECEIVE, pattern: Pattern::EdgeAlive, title: "Hear that an edge lives", summary: "Take over from one that is silent.", description: "Each edge.", tag: "inside", queue: None },
];

/// Every operation, in the order in which people look for them.
pub(super) fn all() -> Ordered<Operation> {
    DEEDS.iter().filter_map(|deed| Some((deed.id, operation(deed)?))).collect()
}

fn operation(deed: &Deed) -> Option<Operation> {
    let channel = channel_id(deed.pattern)?;
    let (sent, replies) = messages(deed.pattern);
    let on = |channel: &str, names: &[&str]| names.iter().map(|name| reference(&format!("channels/{channel}/messages/{name}"))).collect();
    let reply = reply_id(deed.pattern).filter(|_| !replies.is_empty());
    Some(Operation {
        action: deed.action,
        channel: reference(&format!("channels/{channel}")),
        title: deed.title,
        summary: deed.summary,
        description: deed.description,
        tags: vec![Tag { name: deed.tag, description: None }],
        messages: on(channel, sent),
        bindings: deed.queue.map(|queue| json!({ "nats": { "queue": queue, "bindingVersion": "0.1.0" } })),
        reply: reply.map(|channel| Reply { messages: on(&channel, replies), channel: reference(&format!("channels/{channel}")) }),
    })
}

//! What is done by hand: `dfks resync`, `dfks end`.

use super::exit::Failure;
use super::hand_args::{EndArgs, ResyncArgs};
use super::output::{print, print_json, printable};
use super::reach::{Nats, Whom};
use crate::bus::message::{EndRequest, EndResponse, Kind, ResyncRequest, ResyncResponse};
use crate::bus::subject::Pattern;

/// `dfks resync PRESENTITY | --domain DOMAIN`
pub(crate) async fn resync(args: ResyncArgs) -> Result<(), Failure> {
    let ResyncArgs { presentity, domain, subscription, actor, client } = args;
    let nats = Nats::connect(&client).await?;
    let request = ResyncRequest { presentity, domain, subscription, actor, ..ResyncRequest::default() };
    let asked = (Pattern::Resync, nats.bus().subjects().resync());
    let told: ResyncResponse = nats.ask(Whom::Bridge, asked, &request).await?;
    if client.json {
        return print_json(&told);
    }
    let phones = if told.phones == 1 { "1 phone is" } else { &format!("{} phones are", told.phones) };
    print(&format!("{phones} told the full state again\n"))
}

/// `dfks end SUBSCRIPTION`
pub(crate) async fn end(args: EndArgs) -> Result<(), Failure> {
    let EndArgs { subscription, reason, actor, client } = args;
    let nats = Nats::connect(&client).await?;
    let request = EndRequest { kind: Kind::default(), subscription, reason: reason.into(), actor };
    let asked = (Pattern::End, nats.bus().subjects().end());
    let ended: EndResponse = nats.ask(Whom::Bridge, asked, &request).await?;
    if client.json {
        return print_json(&ended);
    }
    print(&format!(
        "{} of {} is over: its phone is told {}\n",
        printable(&ended.subscription),
        printable(&ended.presentity),
        request.reason.as_str()
    ))
}

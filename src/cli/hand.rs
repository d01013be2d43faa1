//! What is done by hand: `dfks resync`, `dfks end`.

use super::exit::Failure;
use super::hand_args::{EndArgs, ResyncArgs};
use super::output::{print, print_json, printable};
use super::reach::{Nats, Whom};
use crate::bus::message::{EndRequest, EndResponse, Kind, ResyncRequest, ResyncResponse, check_actor};
use crate::bus::subject::Pattern;

/// Who does it: as it is said, else `cli` and the user of this system.
pub(super) fn actor_of(said: Option<String>) -> Result<String, Failure> {
    let user = || ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let actor = said.unwrap_or_else(|| format!("cli {}", user()).trim_end().to_owned());
    check_actor(&actor).map_err(|error| Failure::Usage(format!("--actor: {error}")))?;
    Ok(actor)
}

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

//! `dfks phone`: a simulated phone. For smoke tests, the first minute, and our own tests.
//!
//! [`subscriber`] is the phone's side of the protocol and `script` its plan, both pure; `line` is the socket, and [`Phone`] puts
//! them together. On a terminal `panel` holds what the lamps show and the keys mean, and `picture` draws it, both pure; `terminal`
//! is the screen, and `live` runs the phone on it.

mod device;
pub(crate) mod input;
mod line;
mod live;
mod login;
pub(crate) mod notification;
mod panel;
mod picture;
mod script;
mod show;
pub(crate) mod subscriber;
mod terminal;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use device::Way;
use device::sleep_until;
pub(crate) use device::{Keys, Phone};
use login::Login;
use panel::Panel;
use script::{Leave, Order, Script};
use show::{show, show_confirmed};

use super::args::{PhoneArgs, PhoneTransport, Press};
use super::exit::Failure;
use crate::feature::{FeatureTable, Presentity, Status};
use crate::runtime::{StopSignals, clock};
use crate::sip::Transport;
use crate::sip::transport::ClientTls;

/// Runs the command.
pub(super) async fn run(args: PhoneArgs) -> Result<(), Failure> {
    let presentity = Presentity::parse(&args.presentity).map_err(|error| Failure::Usage(format!("'{}': {error}", args.presentity)))?;
    let watcher = args.watcher.clone().unwrap_or_else(|| presentity.as_str().to_owned());
    let lamps_of = presentity.clone();
    let keys = keys(&args)?;
    check(&keys, &presentity, &args.presses)?;
    let login = login(&args)?;
    let server = resolve(&args.server).await?;
    let transport = match args.transport {
        PhoneTransport::Udp => Transport::Udp,
        PhoneTransport::Tcp => Transport::Tcp,
        PhoneTransport::Tls => Transport::Tls,
        PhoneTransport::Ws => Transport::Ws,
        PhoneTransport::Wss => Transport::Wss,
    };
    let tls = tls(&args, transport)?;
    let way = Way { server, transport, tls: tls.as_ref() };
    let opened = Phone::open(way, login, keys, presentity, &watcher, args.expires).await;
    let mut phone = opened.map_err(|error| Failure::NobodyAnswered(format!("{server} over {}: {error}", transport.as_str())))?;
    let is_scripted = args.json || args.expires == 0 || args.stay.is_some() || !args.presses.is_empty();
    if !is_scripted && io::stdin().is_terminal() && io::stdout().is_terminal() {
        return live::run(phone, Panel::new(lamps_of, args.forward_to, args.server)).await;
    }
    let leave = match args.stay {
        _ if args.expires == 0 => Leave::Fetched,
        Some(seconds) => Leave::At(clock::now() + Duration::from_secs_f64(seconds)),
        None if args.presses.is_empty() => Leave::WhenTold,
        None => Leave::AfterPresses,
    };
    let mut script = Script::new(args.presses, leave, clock::now());
    let mut signals = StopSignals::new().map_err(|error| Failure::Refused(format!("signals: {error}")))?;
    let mut is_stopped = false;
    loop {
        while let Some(order) = script.poll_order() {
            match order {
                Order::Tell(input) => {
                    if let Err(error) = phone.tell(input) {
                        script.not_taken(error.to_string(), clock::now());
                    }
                }
                Order::Confirmed { press, is_taken } => show_confirmed(&press, is_taken, args.json)?,
                Order::Finish(outcome) => return outcome,
            }
        }
        let due = script.poll_timeout();
        tokio::select! {
            event = phone.next() => {
                let event = event.map_err(|error| Failure::NobodyAnswered(format!("{server}: {error}")))?;
                show(&event, args.json)?;
                script.event(&event, clock::now());
            }
            () = sleep_until(due) => script.timeout(clock::now()),
            _ = signals.recv() => {
                if is_stopped {
                    return Err(Failure::Refused("second signal: left without unsubscribing".to_owned()));
                }
                is_stopped = true;
                script.stop(clock::now());
            }
        }
    }
}

/// The keys that the arguments ask for: without `--config`, those that are built in.
fn keys(args: &PhoneArgs) -> Result<Keys, Failure> {
    let table = match &args.features.config {
        Some(_) => Arc::unwrap_or_clone(super::role::start::table(&super::load(&args.features)?)?),
        None => FeatureTable::built_in(),
    };
    let package = table.require_package(&args.package).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Keys { package, table })
}

/// What no such phone could ask for is said before it subscribes.
fn check(keys: &Keys, presentity: &Presentity, presses: &[Press]) -> Result<(), Failure> {
    for Press { feature, is_on, values } in presses {
        let spec = keys.table.require(feature);
        let checked = spec
            .and_then(|spec| spec.check_values(values))
            .and_then(|()| keys.package.write_request(&keys.table, presentity.user(), (feature, Status(*is_on)), values, &mut Vec::new()));
        checked.map_err(|error| Failure::Refused(error.to_string()))?;
    }
    Ok(())
}

fn login(args: &PhoneArgs) -> Result<Option<Login>, Failure> {
    let (Some(user), Some(file)) = (&args.user, &args.password_file) else { return Ok(None) };
    let password = std::fs::read_to_string(file);
    let password = password.map_err(|error| Failure::Usage(format!("--password-file '{}': {error}", file.display())))?;
    Ok(Some(Login::new(user.clone(), password.trim_end_matches(['\r', '\n']).to_owned())))
}

fn tls(args: &PhoneArgs, transport: Transport) -> Result<Option<ClientTls>, Failure> {
    if !matches!(transport, Transport::Tls | Transport::Wss) {
        return Ok(None);
    }
    let host = args.server.rsplit_once(':').map_or(args.server.as_str(), |(host, _port)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ClientTls::towards(host, args.ca.as_deref()).map(Some).map_err(|error| Failure::Usage(error.to_string()))
}

async fn resolve(server: &str) -> Result<SocketAddr, Failure> {
    let usage = |reason: &dyn std::fmt::Display| Failure::Usage(format!("--server '{server}': {reason}, expected HOST:PORT"));
    let mut found = tokio::net::lookup_host(server).await.map_err(|error| usage(&error))?;
    found.next().ok_or_else(|| usage(&"no address"))
}

#[cfg(test)]
mod tests;

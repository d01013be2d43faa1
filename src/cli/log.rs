//! `dfks log`: the log level of the processes.

use std::fmt::Write;

use super::exit::Failure;
use super::fleet_args::LogArgs;
use super::hand::actor_of;
use super::output::{print, print_json, printable};
use super::reach::{Nats, Whom};
use crate::bus::message::{Kind, LogRequest, StatusResponse};
use crate::bus::poll::{self, PollLimits};

/// `dfks log [LEVEL]`
pub(crate) async fn log(args: LogArgs) -> Result<(), Failure> {
    let LogArgs { level, span, role, actor, client } = args;
    let actor = actor_of(actor)?;
    let nats = Nats::connect(&client).await?;
    let limits = PollLimits { timeout: client.timeout(), total: client.timeout() * 2, watchers: 0 };
    let is_set = level.is_some();
    let (subject, asked) = if let Some(level) = level {
        let (role, for_seconds) = (role.clone(), span.map(|span| span.as_secs()));
        let request = LogRequest { kind: Kind::default(), level, role, pid: None, for_seconds, actor: Some(actor) };
        let subject = nats.bus().subjects().log();
        (subject.clone(), nats.permitted(&subject, Whom::Process, poll::set_log(nats.bus(), &request, limits)).await?)
    } else {
        let subject = nats.bus().subjects().status();
        let asked = nats.permitted(&subject, Whom::Process, poll::processes(nats.bus(), limits)).await?;
        (subject, asked.map(|processes| (processes, None)))
    };
    let (mut processes, refused) = asked.map_err(|error| nats.failure(&error, &subject, Whom::Process))?;
    processes.retain(|process| if is_set { process.log_set } else { role.as_ref().is_none_or(|role| process.roles.contains(role)) });
    processes.sort_by(|one, other| (&one.roles, &one.host, one.pid).cmp(&(&other.roles, &other.host, other.pid)));
    if client.json {
        processes.iter().try_for_each(print_json)?;
    } else {
        let mut text = String::new();
        for process in &processes {
            let _infallible = writeln!(text, "{}", line(process, is_set));
        }
        print(&text)?;
    }
    match (refused, processes.is_empty(), role) {
        (Some(error), ..) => Err(Failure::Answered(error)),
        (None, true, Some(role)) => Err(Failure::NobodyAnswered(format!("no process with the role {role} answered on {subject}"))),
        (None, true, None) => Err(nats.nobody(&subject, Whom::Process)),
        (None, false, _) => Ok(()),
    }
}

/// `edge, worker on sip-1 (4711): debug until 2026-11-28T11:30:00.000Z`
fn line(process: &StatusResponse, is_set: bool) -> String {
    let StatusResponse { roles, host, pid, log_level, log_until, .. } = process;
    let now = if is_set { "logs at" } else { "at" };
    let until = log_until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    printable(&format!("{} on {host} ({pid}): {now} {log_level}{until}", roles.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_one_line() {
        let process: StatusResponse = serde_json::from_value(serde_json::json!({
            "process": "p", "host": "sip-1", "pid": 4711, "roles": ["edge", "worker"], "version": "0.1.0", "config": "c", "started_at": "T",
            "log_level": "debug\u{7}", "log_until": "U",
        }))
        .unwrap();
        assert_eq!(line(&process, true), "edge, worker on sip-1 (4711): logs at debug\u{fffd} until U");
    }
}

//! The method `log_level`, as OpenSIPS has it: without a parameter the level of each process, with one that of all, or of the process
//! with this number. I/O.

use serde_json::{Value, json};

use crate::bus::Bus;
use crate::bus::message::{Kind, LogRequest, StatusResponse};
use crate::bus::poll::{self, PollLimits};
use crate::mi::http::jsonrpc::{Params, RpcError};
use crate::telemetry::level::loudest;

/// The levels of OpenSIPS, and ours of the same meaning. Source: OpenSIPS, core parameter `log_level`.
const LEVELS: [(i64, &str); 7] = [(-3, "error"), (-2, "error"), (-1, "error"), (1, "warn"), (2, "info"), (3, "info"), (4, "debug")];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogCall {
    Show,
    /// The level, the number that it was given as, and of which process.
    Set {
        level: String,
        number: Option<i64>,
        pid: Option<u32>,
    },
}

/// [`level` [, `pid`]]: a number from -3 to 4, or a level by its name.
pub(super) fn read(params: Params) -> Result<LogCall, RpcError> {
    let mut bound = params.bind(&[], &["level", "pid"])?;
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    let pid = match bound.remove("pid") {
        None => None,
        Some(pid) => Some(number(&pid).and_then(|pid| u32::try_from(pid).ok()).ok_or_else(|| RpcError::bad_type("pid"))?),
    };
    match bound.remove("level") {
        None if pid.is_some() => Err(RpcError::invalid_params("Too few or too many parameters")),
        None => Ok(LogCall::Show),
        Some(given) => match (number(&given), given) {
            (Some(number), _) => {
                let found = LEVELS.into_iter().find(|(known, _)| *known == number);
                let (_, level) =
                    found.ok_or_else(|| RpcError::new(400, format!("invalid level {number}: expected -3 to -1, or 1 to 4")))?;
                Ok(LogCall::Set { level: level.to_owned(), number: Some(number), pid })
            }
            (None, Value::String(level)) => Ok(LogCall::Set { level, number: None, pid }),
            (None, _) => Err(RpcError::bad_type("level")),
        },
    }
}

/// Does it. Who asked is in the event.
pub(super) async fn answer(bus: &Bus, call: LogCall, actor: &str) -> Result<Value, RpcError> {
    let limits = PollLimits { timeout: bus.timeout(), total: bus.timeout() * 2, watchers: 0 };
    let away = |error: crate::bus::RequestError| RpcError::new(503, error.to_string());
    let LogCall::Set { level, number, pid } = call else {
        let processes = poll::processes(bus, limits).await.map_err(away)?;
        return Ok(json!({ "Processes": processes.iter().map(entry).collect::<Vec<_>>() }));
    };
    let request = LogRequest { kind: Kind::default(), level, role: None, pid, for_seconds: None, actor: Some(actor.to_owned()) };
    let (processes, refused) = poll::set_log(bus, &request, limits).await.map_err(away)?;
    if let Some(error) = refused {
        return Err(error.into());
    }
    let is_set = processes.iter().any(|process| process.log_set);
    let shown = number.map_or_else(|| json!(request.level), |number| json!(number));
    match pid {
        _ if processes.is_empty() => Err(RpcError::new(503, "no process answers")),
        Some(_) if !is_set => Err(RpcError::new(404, "Process not found")),
        Some(_) => Ok(json!({ "New log level": shown })),
        None => Ok(json!({ "New global log level": shown })),
    }
}

fn entry(process: &StatusResponse) -> Value {
    let level = match loudest(&process.log_level) {
        "off" => -3,
        "error" => -1,
        "warn" => 1,
        "info" => 3,
        _ => 4,
    };
    json!({
        "PID": process.pid, "Log level": level, "Type": process.roles.join(", "), "host": process.host, "level": process.log_level,
        "until": process.log_until,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_number_of_opensips_or_a_word() {
        let set = |level: &str, number, pid| Ok(LogCall::Set { level: level.to_owned(), number, pid });
        for (given, want) in [
            (json!([]), Ok(LogCall::Show)),
            (json!([4]), set("debug", Some(4), None)),
            (json!(["-1", "4711"]), set("error", Some(-1), Some(4711))),
            (json!({"level": "info,dfks::edge=debug"}), set("info,dfks::edge=debug", None, None)),
            (json!([0]), Err(400)),
            (json!([5]), Err(400)),
            (json!([true]), Err(-32602)),
            (json!([4, -7]), Err(-32602)),
            (json!({"pid": 1}), Err(-32602)),
        ] {
            let params = match given.clone() {
                Value::Array(list) => Params::Listed(list),
                Value::Object(named) => Params::Named(named),
                other => panic!("{other}"),
            };
            assert_eq!(read(params).map_err(|error| i64::from(error.code)), want, "{given}");
        }
    }

    #[test]
    fn a_process_has_the_fields_of_opensips() {
        let process: StatusResponse = serde_json::from_value(json!({
            "process": "p", "host": "sip-1", "pid": 4711, "roles": ["edge", "worker"], "version": "0.1.0", "config": "c", "started_at": "T",
            "log_level": "info,dfks::edge=debug",
        }))
        .unwrap();
        let shown = entry(&process);
        assert_eq!((&shown["PID"], &shown["Log level"], &shown["Type"]), (&json!(4711), &json!(4), &json!("edge, worker")));
    }
}

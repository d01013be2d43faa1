//! What the commands print. The texts are pure; printing never panics on a closed pipe.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::SystemTime;

use serde::Serialize;

use super::exit::Failure;
use super::span;
use crate::feature::{FeatureState, Source, Status, Values};
use crate::runtime::clock;

/// Widest name of a feature of the built-in table, to have columns.
const NAME_WIDTH: usize = 22;

/// Prints on stdout.
///
/// # Errors
///
/// [`Failure::NobodyReads`] for a pipe whose reader has gone, [`Failure::Refused`] where stdout takes no more for another reason.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::NobodyReads,
        _ => Failure::Refused(format!("stdout: {error}")),
    })
}

/// Prints one JSON object on a line of its own.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_string(value).map_err(|error| Failure::Refused(error.to_string()))?;
    line.push('\n');
    print(&line)
}

/// Prints to stderr; an error of that is ignored.
pub(crate) fn complain(text: &str) {
    let _nobody_left = writeln!(io::stderr().lock(), "{text}");
}

/// `CallForwardingNoAnswer  on   forwardTo=sip:bob@10.0.0.11 ringCount=4`, without a line end.
pub(crate) fn feature_line(feature: &str, status: Status, values: &Values) -> String {
    let status = if status.is_on() { "on" } else { "off" };
    let mut line = format!("{feature:NAME_WIDTH$}  {status:3}");
    for (at, (field, value)) in values.iter().enumerate() {
        let blanks = if at == 0 { "  " } else { " " };
        let _infallible = write!(line, "{blanks}{field}={}", printable(value));
    }
    line.trim_end().to_owned()
}

/// As [`feature_line`], with the version and where the state came from.
pub(crate) fn state_line(state: &FeatureState) -> String {
    if !state.assigned {
        return format!("{:NAME_WIDTH$}  not assigned", state.feature);
    }
    let source = match state.source {
        Source::Responder => "responder",
        Source::Script => "script",
        Source::Store => "store",
        Source::Default => "default",
    };
    let until = state.until.as_deref().map_or_else(String::new, |until| format!("  {}", until_text(until, clock::utc_now())));
    format!("{}{until}  (version {}, {source})", feature_line(&state.feature, state.status, &state.values), state.version)
}

/// `until 2026-11-28T17:00:00Z, in 2 h`; past that it is overdue.
fn until_text(until: &str, now: SystemTime) -> String {
    let when = match clock::parse_rfc3339(until).map(|at| at.duration_since(now)) {
        Some(Ok(ahead)) => format!(", in {}", span::shown(ahead)),
        Some(Err(past)) => format!(", overdue by {}", span::shown(past.duration())),
        None => String::new(),
    };
    format!("until {}{when}", printable(until))
}

/// A text from the network for a terminal: control characters are shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_one_line_in_columns() {
        let mut state = FeatureState::new("CallForwardingNoAnswer");
        assert_eq!(state_line(&state), "CallForwardingNoAnswer  off  (version 0, default)");
        state.status = Status::ON;
        state.version = 7;
        state.source = Source::Store;
        state.values = [("ringCount".to_owned(), "4".to_owned()), ("forwardTo".to_owned(), "sip:bob@h\u{1b}[2J".to_owned())].into();
        assert_eq!(state_line(&state), "CallForwardingNoAnswer  on   forwardTo=sip:bob@h\u{fffd}[2J ringCount=4  (version 7, store)");
        assert_eq!(feature_line("DoNotDisturb", Status::ON, &Values::new()), "DoNotDisturb            on");
        let at = |text: &str| clock::parse_rfc3339(text).unwrap();
        let until = "2026-11-28T17:00:00.000Z";
        assert_eq!(until_text(until, at("2026-11-28T14:50:00Z")), "until 2026-11-28T17:00:00.000Z, in 2 h");
        assert_eq!(until_text(until, at("2026-11-28T17:00:05Z")), "until 2026-11-28T17:00:00.000Z, overdue by 5 s");
        state.assigned = false;
        assert_eq!(state_line(&state), "CallForwardingNoAnswer  not assigned");
    }
}

//! `dfks trace`: one change's whole way, from who asked for it to each phone's answer.

use std::fmt::Write;

use super::exit::Failure;
use super::output::{print, print_json, printable};
use super::paint::{Paint, Style};
use super::reach::{Nats, Whom};
use super::trace_args::TraceArgs;
use crate::feature::Presentity;
use crate::mi::trace::{self, Outcome, Step, Trace};

/// Reads the events of it, prints the steps, and draws them where it is asked for.
pub(super) async fn run(args: TraceArgs) -> Result<(), Failure> {
    let last = args.last.as_deref().map(Presentity::parse).transpose();
    let last = last.map_err(|error| Failure::Usage(format!("--last '{}': {error}", args.last.clone().unwrap_or_default())))?;
    let nats = Nats::connect(&args.client).await?;
    let (bus, timeout) = (nats.bus(), args.client.timeout());
    let stream = format!("a consumer of the stream {}", bus.subjects().stream("EVENTS"));
    let read = async {
        match (&last, &args.cause) {
            (Some(presentity), _) => trace::last(bus, presentity, timeout).await,
            (None, cause) => trace::trace(bus, cause.as_deref().unwrap_or_default(), timeout).await.map(Some),
        }
    };
    let read = nats.permitted(&stream, Whom::Stream, read).await?.map_err(|error| nats.failure(&error, &stream, Whom::Stream))?;
    let trace = match (read, last) {
        (Some(trace), _) if !trace.steps.is_empty() => trace,
        (None, Some(presentity)) => {
            return Err(Failure::Refused(format!("no change of {} within 24 h, as far back as its events go", presentity.as_str())));
        }
        (trace, _) => return Err(not_found(trace.as_ref())),
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, trace::draw(&trace)).map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))?;
    }
    if args.client.json {
        return trace.steps.iter().try_for_each(print_json);
    }
    print(&text(&trace, Paint::of_stdout()))
}

fn not_found(trace: Option<&Trace>) -> Failure {
    let (cause, since) = trace.map_or(("", ""), |trace| (&*trace.cause, &*trace.since));
    let until = trace.and_then(|trace| trace.until.as_deref()).map(|until| format!(" to {until}")).unwrap_or_default();
    let since = if since.is_empty() { "of those that are kept".to_owned() } else { format!("from {since} on{until}") };
    Failure::Refused(format!("no event of cause '{cause}' {since}: 'dfks trace --last PRESENTITY' shows the last change of somebody"))
}

fn text(trace: &Trace, paint: Paint) -> String {
    let of = trace.presentity.as_deref().unwrap_or("somebody");
    let began = trace.steps.first().map_or("", |step| &*step.at);
    let mut text = format!(
        "{}  {}  {} in {} ms\n{}\n",
        paint.text(Style::Bold, &printable(of)),
        printable(began),
        paint.text(style(trace.outcome), trace.outcome.as_str()),
        trace.took_ms,
        paint.text(Style::Dim, &format!("cause {}", printable(&trace.cause))),
    );
    let width = trace.steps.iter().map(|step| way(step).chars().count()).max().unwrap_or_default().min(64);
    for step in &trace.steps {
        text.push_str(&line(step, width, paint));
    }
    if trace.is_under_way() {
        text.push_str("still under way: ask again in a moment\n");
    }
    if let Some(until) = &trace.until {
        let _infallible = writeln!(text, "events after {until} were not looked at: there are too many");
    }
    text
}

/// `+    3.10 ms  responder     worker → dfks.responder.set.h.DoNotDisturb   12.40 ms  ok`
fn line(step: &Step, width: usize, paint: Paint) -> String {
    let took = step.took_ms.map_or_else(|| " ".repeat(11), |took| format!("{took:>8.2} ms"));
    let status = step.status.map_or_else(String::new, |status| format!(" {status}"));
    let mut line = format!(
        "  {} {} {:width$} {took}  {}{status}",
        paint.text(Style::Dim, &format!("+{:>9.2} ms", step.after_ms)),
        paint.text(Style::Name, &format!("{:12}", step.kind.as_str())),
        way(step),
        paint.text(style(step.outcome), step.outcome.as_str()),
    );
    if let Some(detail) = &step.detail {
        let _infallible = write!(line, "  {}", printable(detail));
    } else if !step.features.is_empty() {
        let _infallible = write!(line, "  {}", printable(&step.features.join(", ")));
    }
    line.push('\n');
    line
}

fn way(step: &Step) -> String {
    let who = printable(&step.who);
    step.to.as_ref().map_or_else(|| who.clone(), |to| format!("{who} → {}", printable(to)))
}

const fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Ok | Outcome::Covered => Style::Good,
        Outcome::Waiting => Style::Name,
        Outcome::Refused | Outcome::Expired | Outcome::Failed => Style::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mi::trace::StepKind;

    fn step(outcome: Outcome) -> Step {
        Step {
            at: "2026-11-28T11:00:00.000Z".into(),
            after_ms: 3.1,
            kind: StepKind::Notify,
            who: "edge-0".into(),
            to: Some("sip:alice\u{1b}@h".into()),
            took_ms: Some(12.4),
            outcome,
            features: vec!["DoNotDisturb".into()],
            subscription: None,
            status: Some(486),
            detail: None,
        }
    }

    #[test]
    fn a_step_is_a_line_and_red_where_it_stopped() {
        let plain = line(&step(Outcome::Failed), 0, Paint::new(false));
        assert_eq!(plain, "  +     3.10 ms notify       edge-0 → sip:alice\u{fffd}@h    12.40 ms  failed 486  DoNotDisturb\n");
        assert!(line(&step(Outcome::Failed), 0, Paint::new(true)).contains("\u{1b}[31mfailed\u{1b}[0m"));
        assert!(line(&step(Outcome::Ok), 0, Paint::new(true)).contains("\u{1b}[32mok\u{1b}[0m"));
    }

    #[test]
    fn what_is_under_way_is_said() {
        let waiting = Trace {
            cause: "c".into(),
            presentity: Some("sip:alice@h".into()),
            since: String::new(),
            until: None,
            outcome: Outcome::Waiting,
            took_ms: 0.0,
            steps: vec![step(Outcome::Waiting)],
        };
        let text = text(&waiting, Paint::new(false));
        assert!(text.starts_with("sip:alice@h  2026-11-28T11:00:00.000Z  waiting in 0 ms\ncause c\n"), "{text}");
        assert!(text.ends_with("still under way: ask again in a moment\n"), "{text}");
    }
}

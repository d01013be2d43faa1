//! `dfks why`: what is told to whom and where it stops, in a sentence and with the next step.

use std::fmt::Write;

use super::args::GetArgs;
use super::exit::Failure;
use super::output::{print, print_json, printable, state_line};
use super::paint::{Paint, Style};
use super::reach::{Nats, Whom};
use crate::bus::message::{Explained, Finding, Kind, Told, Verdict, WhyRequest, WhyResponse, WhyWatcher};
use crate::bus::subject::Pattern;

/// Asks, prints what was found, and fails where something is not in step.
pub(crate) async fn why(args: GetArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let features = (!args.features.is_empty()).then_some(args.features);
    let request = WhyRequest { kind: Kind::default(), presentity: args.presentity, features };
    let answer: WhyResponse = nats.ask(Whom::Bridge, (Pattern::Why, nats.bus().subjects().why()), &request).await?;
    if args.client.json {
        print_json(&answer)?;
    } else {
        print(&text(&answer, Paint::of_stdout()))?;
    }
    if answer.in_step {
        return Ok(());
    }
    let verdicts = answer.findings.iter().map(|finding| finding.verdict).filter(|verdict| *verdict != Verdict::InStep);
    let mut words: Vec<_> = verdicts.map(Verdict::as_str).collect();
    words.dedup();
    Err(Failure::Refused(format!("not in step: {}", words.join(", "))))
}

fn text(answer: &WhyResponse, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.text(Style::Bold, &printable(&answer.presentity)));
    for Explained { state, owner } in &answer.features {
        let _infallible = write!(text, "  {}", state_line(state));
        if let Some(subject) = &owner.subject {
            let breaker = owner.breaker.as_deref().filter(|breaker| *breaker != "closed").map(|breaker| format!(", breaker {breaker}"));
            let _infallible =
                write!(text, "  {}", paint.text(Style::Dim, &printable(&format!("{subject}{}", breaker.unwrap_or_default()))));
        }
        text.push('\n');
    }
    for watcher in &answer.watchers {
        text.push_str(&phone(watcher, paint));
    }
    for finding in &answer.findings {
        text.push_str(&finding_lines(finding, paint));
    }
    text
}

fn phone(of: &WhyWatcher, paint: Paint) -> String {
    let WhyWatcher { edge_id, watcher, told, pending, ended } = of;
    let agent = if watcher.user_agent.is_empty() { String::new() } else { format!(" ({})", watcher.user_agent) };
    let state = match ended {
        None => format!("until {}", watcher.expires_at),
        Some(ended) => format!("ended {} ({})", ended.at, ended.reason.map_or("unknown", |reason| reason.as_str())),
    };
    let line = format!("{} over {} at {edge_id}, {state}{agent}", watcher.watcher, watcher.transport);
    let mut text = format!("  {} {}\n", paint.text(Style::Name, &printable(&watcher.subscription)), printable(&line));
    for told in told {
        let waits = if pending.contains(&told.feature) { ", more waits" } else { "" };
        let _infallible = writeln!(text, "    {}", printable(&format!("{}{waits}", told_line(told))));
    }
    text
}

fn told_line(told: &Told) -> String {
    let version = told.version.map_or_else(|| "no version confirmed".to_owned(), |version| format!("version {version} confirmed"));
    let status = told.status.map_or_else(String::new, |status| format!(" {status}"));
    let last = match (&told.at, told.outcome) {
        (Some(at), Some(outcome)) => {
            let cause = told.cause.as_ref().map_or_else(String::new, |cause| format!(", cause {cause}"));
            format!(", {}{status} at {at}{cause}", outcome.as_str())
        }
        _ => String::new(),
    };
    format!("{:22}  {version}{last}", told.feature)
}

/// `behind  DoNotDisturb is on, …` and below it the next step.
fn finding_lines(finding: &Finding, paint: Paint) -> String {
    let style = match finding.verdict {
        Verdict::InStep => Style::Good,
        Verdict::Pending => Style::Name,
        _ => Style::Bad,
    };
    let mut text = format!("{}  {}\n", paint.text(style, finding.verdict.as_str()), printable(&finding.text));
    if let Some(next) = &finding.next {
        let _infallible = writeln!(text, "  {} {}", paint.text(Style::Dim, "next:"), printable(next));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_sentence_and_the_next_step() {
        let finding = Finding {
            verdict: Verdict::Behind,
            feature: Some("DoNotDisturb".to_owned()),
            subscription: Some("ab".to_owned()),
            text: "its phone was told\u{1b}[2J less".to_owned(),
            next: Some("dfks resync sip:alice@h".to_owned()),
        };
        let want = "behind  its phone was told\u{fffd}[2J less\n  next: dfks resync sip:alice@h\n";
        assert_eq!(finding_lines(&finding, Paint::new(false)), want);
        let in_step = Finding { verdict: Verdict::InStep, next: None, ..finding };
        assert!(finding_lines(&in_step, Paint::new(true)).starts_with("\u{1b}[32min_step\u{1b}[0m  "));
    }

    #[test]
    fn what_a_phone_was_told_is_one_line() {
        let told = Told { feature: "DoNotDisturb".to_owned(), version: Some(7), at: None, outcome: None, status: None, cause: None };
        assert_eq!(told_line(&told), "DoNotDisturb            version 7 confirmed");
        let told = Told {
            version: None,
            at: Some("2026-11-23T02:48:40.123Z".to_owned()),
            outcome: Some(crate::bus::message::NotifyOutcome::Failed),
            status: Some(500),
            cause: Some(crate::bus::trace::Cause("c0".into())),
            ..told
        };
        assert_eq!(told_line(&told), "DoNotDisturb            no version confirmed, failed 500 at 2026-11-23T02:48:40.123Z, cause c0");
    }
}

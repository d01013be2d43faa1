//! `dfks dead`: what was given up on, listed, shown, published again, taken away.
//!
//! The command reads and writes the stream itself: NATS permissions say who may.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::json;

use super::args::ClientArgs;
use super::dead_args::{DeadAction, DeadArgs, DeadDeedArgs, DeadFilterArgs, DeadListArgs, DeadShowArgs};
use super::exit::Failure;
use super::hand::actor_of;
use super::output::{complain, print, print_json, printable};
use super::paint::{Paint, Style};
use super::reach::{Nats, Whom};
use crate::bus::dead::{DeadError, DeadFilter, DeadLetter, DeadList, MOST_LISTED};

/// What is done to a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Replay,
    Drop,
}

/// `dfks dead list|show|replay|drop`
pub(crate) async fn dead(args: DeadArgs) -> Result<(), Failure> {
    match args.action {
        DeadAction::List(args) => list(args).await,
        DeadAction::Show(args) => show(args).await,
        DeadAction::Replay(args) => deed(args, Deed::Replay).await,
        DeadAction::Drop(args) => deed(args, Deed::Drop).await,
    }
}

async fn list(args: DeadListArgs) -> Result<(), Failure> {
    let (filter, nats) = (filter(args.filter)?, Nats::connect(&args.client).await?);
    let DeadList { letters, has_more } = letters(&nats, &filter, args.limit.into()).await?;
    if args.client.json {
        return letters.iter().try_for_each(print_json);
    }
    let (mut text, paint) = (String::new(), Paint::of_stdout());
    for letter in &letters {
        let _infallible = writeln!(text, "{}", line(letter, paint));
    }
    print(&text)?;
    if has_more && letters.len() == usize::from(args.limit) {
        complain(&format!("dfks: there may be older ones: the newest {} are shown, see --limit", letters.len()));
    }
    Ok(())
}

async fn show(args: DeadShowArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let subject = nats.bus().subjects().stream("DEAD");
    let shown = nats.permitted(&subject, Whom::Dead, nats.bus().dead_letter(args.seq)).await?;
    let letter = shown.map_err(|error| failure(&nats, &error))?;
    if args.client.json {
        return print_json(&letter);
    }
    print(&page(&letter, Paint::of_stdout()))
}

async fn deed(args: DeadDeedArgs, deed: Deed) -> Result<(), Failure> {
    let DeadDeedArgs { seqs, all, filter: chosen, yes, actor, client } = args;
    let filter = filter(chosen)?;
    if !all && filter != DeadFilter::default() {
        return Err(Failure::Usage("--reason, --presentity and --domain go with --all".to_owned()));
    }
    let actor = actor_of(actor)?;
    let nats = Nats::connect(&client).await?;
    let seqs = if all {
        let DeadList { letters, .. } = letters(&nats, &filter, MOST_LISTED).await?;
        if !yes && !letters.is_empty() {
            confirm(&letters, deed)?;
        }
        letters.iter().map(|letter| letter.seq).collect()
    } else {
        seqs
    };
    each(&nats, &seqs, deed, &actor, &client, all).await
}

/// Does it to one after the other, the oldest first, so that commands of one presentity keep their order. One that fails does not keep
/// the others.
async fn each(nats: &Nats, seqs: &[u64], deed: Deed, actor: &str, client: &ClientArgs, is_all: bool) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    let mut seqs = seqs.to_vec();
    seqs.sort_unstable();
    seqs.dedup();
    let mut done = 0_usize;
    for seq in &seqs {
        let work = async {
            match deed {
                Deed::Replay => nats.bus().replay_dead(*seq, Some(actor)).await,
                Deed::Drop => nats.bus().drop_dead(*seq, Some(actor)).await,
            }
        };
        match nats.permitted(&nats.bus().subjects().stream("DEAD"), Whom::Dead, work).await? {
            Ok(letter) => {
                done += 1;
                report(&letter, deed, client.json)?;
            }
            // somebody else was faster
            Err(DeadError::Unknown(_)) if is_all => {}
            Err(error) => {
                if let Some(before) = failed.replace(failure(nats, &error)) {
                    complain(&format!("dfks: {}", printable(&before.to_string())));
                }
            }
        }
    }
    if is_all && !client.json {
        let what = if deed == Deed::Replay { "published again" } else { "taken away" };
        print(&format!("{done} {} {what}\n", if done == 1 { "dead letter" } else { "dead letters" }))?;
    }
    failed.map_or(Ok(()), Err)
}

fn report(letter: &DeadLetter, deed: Deed, is_json: bool) -> Result<(), Failure> {
    if is_json {
        let what = if deed == Deed::Replay { "replayed" } else { "dropped" };
        return print_json(&json!({ "seq": letter.seq, "what": what, "subject": letter.subject, "msg_id": letter.msg_id }));
    }
    let what = match deed {
        Deed::Replay => format!("published again on {}", letter.subject),
        Deed::Drop => "taken away".to_owned(),
    };
    print(&format!("{}\n", printable(&format!("{}: {what}", letter.seq))))
}

/// Asks on a terminal; elsewhere `--yes` has to be said.
fn confirm(letters: &[DeadLetter], deed: Deed) -> Result<(), Failure> {
    let what = if deed == Deed::Replay { "publish again" } else { "take away" };
    let count = match letters.len() {
        1 => "1 dead letter".to_owned(),
        count => format!("{count} dead letters"),
    };
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("--all would {what} {count}: say --yes")));
    }
    let _nobody_left = write!(io::stderr(), "{what} {count}? [y/N] ").and_then(|()| io::stderr().flush());
    let mut answer = String::new();
    let _nothing_said = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::Refused("nothing was done".to_owned()))
}

fn filter(args: DeadFilterArgs) -> Result<DeadFilter, Failure> {
    let DeadFilterArgs { reason, presentity, domain } = args;
    DeadFilter { reason, presentity, domain }.check().map_err(|error| Failure::Usage(format!("--presentity: {}", error.description)))
}

async fn letters(nats: &Nats, filter: &DeadFilter, limit: usize) -> Result<DeadList, Failure> {
    let subject = nats.bus().subjects().stream("DEAD");
    let read = nats.permitted(&subject, Whom::Dead, nats.bus().dead_letters(filter, limit)).await?;
    read.map_err(|error| nats.failure(&error, &subject, Whom::Dead))
}

fn failure(nats: &Nats, error: &DeadError) -> Failure {
    match error {
        DeadError::Bus { source, .. } => nats.failure(source, &nats.bus().subjects().stream("DEAD"), Whom::Dead),
        error => Failure::Answered(error.body()),
    }
}

/// `17  2026-11-28T11:20:00.000Z  denied  sip:alice@h DoNotDisturb on dfks.command.set: not on this tariff`
fn line(letter: &DeadLetter, paint: Paint) -> String {
    let time = paint.text(Style::Dim, &letter.time);
    let reason = paint.text(Style::Bad, &printable(&letter.reason));
    let whose = letter.presentity().map_or_else(|| "of nobody known".to_owned(), |of| of.as_str().to_owned());
    let features = letter.features().join(", ");
    let about = printable(format!("{whose} {features}").trim_end());
    let rest = printable(&format!("on {}: {}", letter.subject, letter.detail));
    format!("{:>6}  {time}  {reason}  {} {rest}", letter.seq, paint.text(Style::Bold, &about))
}

fn page(letter: &DeadLetter, paint: Paint) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{}  {}", paint.text(Style::Dim, &format!("{name:11}")), printable(value));
    };
    row("letter", &letter.seq.to_string());
    row("given up at", &letter.time);
    row("reason", &letter.reason);
    row("detail", &letter.detail);
    row("came on", &letter.subject);
    row("msg id", letter.msg_id.as_deref().unwrap_or("none"));
    row("deliveries", &letter.deliveries.map(|count| count.to_string()).unwrap_or_default());
    row("cause", &letter.cause.0);
    let payload = serde_json::to_string_pretty(&letter.payload).unwrap_or_default();
    let payload = letter.payload.as_str().map_or(payload, str::to_owned);
    for line in payload.lines() {
        let _infallible = writeln!(text, "  {}", printable(line));
    }
    let _infallible = writeln!(text, "{}", paint.text(Style::Dim, &format!("dfks dead replay {0} · dfks dead drop {0}", letter.seq)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            seq: 17,
            subject: "dfks.command.set".to_owned(),
            time: "2026-11-28T11:20:00.000Z".to_owned(),
            reason: "denied".to_owned(),
            detail: "not on this\u{1b} tariff".to_owned(),
            msg_id: Some("order-4711".to_owned()),
            stage: "command".to_owned(),
            deliveries: Some(1),
            cause: crate::bus::trace::Cause("c1".into()),
            payload: json!({"presentity": "sip:alice@h", "feature": "DoNotDisturb", "status": 1}),
        }
    }

    #[test]
    fn a_letter_is_one_line_or_a_page() {
        let plain = Paint::new(false);
        let want = "    17  2026-11-28T11:20:00.000Z  denied  sip:alice@h DoNotDisturb on dfks.command.set: not on this\u{fffd} tariff";
        assert_eq!(line(&letter(), plain), want);
        let job = DeadLetter { payload: json!({"presentity": "sip:a@h", "states": [{"feature": "A"}, {"feature": "B"}]}), ..letter() };
        assert!(line(&job, plain).contains("sip:a@h A, B on"), "{}", line(&job, plain));
        let noise = DeadLetter { payload: json!("\u{7}noise"), ..letter() };
        assert!(line(&noise, plain).contains("of nobody known on"));
        let page = page(&letter(), plain);
        assert!(page.contains("msg id       order-4711\n") && page.contains("  \"feature\": \"DoNotDisturb\""), "{page}");
        assert!(!super::page(&noise, plain).contains('\u{7}'));
    }

    #[test]
    fn a_letter_in_json_has_the_documented_fields() {
        let json = serde_json::to_value(letter()).unwrap();
        for field in ["seq", "subject", "time", "reason", "detail", "msg_id", "payload"] {
            assert!(json.get(field).is_some(), "{field}");
        }
    }
}

//! `dfks set`: one command, or those of a file; asked of a mi bridge, or stored for one.

use std::collections::HashSet;
use std::fmt::Write;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{SetArgs, Switch};
use super::exit::Failure;
use super::lines::Lines;
use super::output::{complain, print, print_json, printable, state_line};
use super::reach::{Nats, Whom};
use super::until;
use crate::bus::message::{CommandValues, Kind, SetRequest, SetResponse};
use crate::bus::subject::Pattern;
use crate::bus::trace::{Cause, new_id};
use crate::feature::{Presentity, Status, Values};
use crate::runtime::clock;

/// Commands of a file in flight at a time.
const MAX_IN_FLIGHT: usize = 32;

/// What became of a command.
enum Outcome {
    Set(Box<SetResponse>, Cause),
    /// It is stored, and will be carried out.
    Stored(Value),
}

/// Runs the command.
pub(super) async fn set(args: SetArgs) -> Result<(), Failure> {
    let nats = Nats::connect(&args.client).await?;
    let way = Way { nats: &nats, is_durable: args.durable };
    if let Some(file) = &args.file {
        return all(&way, Lines::open(file)?, &args).await;
    }
    let (Some(presentity), Some(feature), Some(status)) = (args.presentity, args.feature, args.status) else {
        return Err(Failure::Usage("a presentity, a feature and on or off, or --file".to_owned()));
    };
    let request = SetRequest {
        kind: Kind::default(),
        presentity,
        feature,
        status: Some(Status(status == Switch::On)),
        route_param: args.param,
        values: CommandValues::Fields(args.values.into_iter().collect::<Values>()),
        actor: args.actor,
        until: args.until.as_deref().map(until).transpose()?,
        for_seconds: args.lasts.map(|lasts| lasts.as_secs()),
    };
    let id = args.id.unwrap_or_else(new_id);
    let request = serde_json::to_value(request).map_err(|error| Failure::Refused(error.to_string()))?;
    match (way.send(&request, &id).await?, args.client.json) {
        (Outcome::Set(reply, cause), true) => print_json(&with_cause(&reply, &cause)),
        (Outcome::Stored(stored), _) => print_json(&stored),
        (Outcome::Set(reply, cause), false) => {
            let mut text = format!("{}\n  {}\n", printable(&reply.presentity), state_line(&reply.state));
            for along in &reply.also {
                let _infallible = writeln!(text, "  {}, along with it", state_line(along));
            }
            print(&format!("{text}  {}\n  cause {cause}\n", told(&reply)))
        }
    }
}

/// The reply, and what `dfks trace` is asked with.
fn with_cause(reply: &SetResponse, cause: &Cause) -> Value {
    let mut line = serde_json::to_value(reply).unwrap_or_default();
    if let Some(fields) = line.as_object_mut() {
        fields.insert("cause".to_owned(), json!(cause));
    }
    line
}

/// When a feature goes off, as it is typed here.
fn until(text: &str) -> Result<String, Failure> {
    let now = Timestamp::try_from(clock::utc_now()).map_err(|error| Failure::Refused(error.to_string()))?;
    until::until(text, &now.to_zoned(TimeZone::system())).map_err(Failure::Usage)
}

/// `2 phones are notified`
fn told(reply: &SetResponse) -> String {
    match (reply.notify, reply.watchers) {
        (false, _) => "no phone is notified: the route suppressed it".to_owned(),
        (true, 1) => "1 phone is notified".to_owned(),
        (true, watchers) => format!("{watchers} phones are notified"),
    }
}

/// How a command goes on its way.
struct Way<'n> {
    nats: &'n Nats,
    is_durable: bool,
}

impl Way<'_> {
    async fn send(&self, request: &Value, id: &str) -> Result<Outcome, Failure> {
        let subjects = self.nats.bus().subjects();
        let cause = Cause::new();
        let of = request.get("presentity").and_then(Value::as_str).and_then(|text| Presentity::parse(text).ok());
        if self.is_durable {
            let of_domain = of.map(|of| (Pattern::CommandSetDomain, subjects.command_set_of(&of)));
            let seq = self.nats.store_or_as_tenant((Pattern::CommandSet, subjects.command_set()), of_domain, id, request, &cause).await?;
            return Ok(Outcome::Stored(json!({ "stream": subjects.stream("COMMANDS"), "seq": seq, "msg_id": id, "cause": cause })));
        }
        let of_domain = of.map(|of| (Pattern::SetDomain, subjects.set_of(&of)));
        let asked = self.nats.ask_or_as_tenant(Whom::Bridge, (Pattern::Set, subjects.set()), of_domain, request, &cause);
        let reply: SetResponse = asked.await?;
        Ok(Outcome::Set(Box::new(reply), cause))
    }
}

/// Sends the commands of a file, many at a time, those of one presentity in their order; a line says what became of each.
async fn all(way: &Way<'_>, mut lines: Lines, args: &SetArgs) -> Result<(), Failure> {
    let id = args.id.clone().unwrap_or_else(new_id);
    let (mut in_flight, mut busy) = (FuturesUnordered::new(), HashSet::new());
    let mut report = Report { is_json: args.client.json, refused: 0, nobody: None };
    while report.nobody.is_none() {
        let Some((number, text)) = lines.next()? else { break };
        let request = match read(&text, args.actor.as_deref()) {
            Ok(request) => request,
            Err(why) => {
                report.refused(number, &Failure::Refused(why))?;
                continue;
            }
        };
        let presentity = request.get("presentity").and_then(Value::as_str).unwrap_or_default();
        let presentity = Presentity::parse(presentity).map_or_else(|_| presentity.to_owned(), |presentity| presentity.as_str().to_owned());
        while in_flight.len() >= MAX_IN_FLIGHT || busy.contains(&presentity) {
            let Some((number, presentity, outcome)) = in_flight.next().await else { break };
            busy.remove::<String>(&presentity);
            report.ended(number, outcome)?;
        }
        busy.insert(presentity.clone());
        let id = format!("{id}-{number}");
        in_flight.push(async move { (number, presentity, way.send(&request, &id).await) });
    }
    while let Some((number, _, outcome)) = in_flight.next().await {
        report.ended(number, outcome)?;
    }
    match (report.nobody, report.refused) {
        (Some((number, failure)), _) => Err(at_line(&failure, lines.name(), number)),
        (None, 0) => Ok(()),
        (None, 1) => Err(Failure::Refused("1 command was refused".to_owned())),
        (None, refused) => Err(Failure::Refused(format!("{refused} commands were refused"))),
    }
}

/// The same failure, and where to go on.
fn at_line(failure: &Failure, file: &str, number: u64) -> Failure {
    let text = format!("{failure}; {file} line {number} is the first that was not carried out");
    if matches!(failure, Failure::NobodyAnswered(_)) { Failure::NobodyAnswered(text) } else { Failure::Refused(text) }
}

/// A command of a file; `actor` is that of the command line, where the line names none.
fn read(text: &str, actor: Option<&str>) -> Result<Value, String> {
    let mut request: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let Some(fields) = request.as_object_mut() else { return Err("expected a JSON object, a command".to_owned()) };
    if let Some(actor) = actor.filter(|_| !fields.contains_key("actor")) {
        fields.insert("actor".to_owned(), actor.into());
    }
    Ok(request)
}

/// What became of the commands of a file.
struct Report {
    is_json: bool,
    refused: u64,
    /// The first line that nobody answered.
    nobody: Option<(u64, Failure)>,
}

impl Report {
    fn ended(&mut self, number: u64, outcome: Result<Outcome, Failure>) -> Result<(), Failure> {
        match outcome {
            Ok(Outcome::Set(reply, cause)) if self.is_json => {
                print_json(&json!({ "line": number, "response": with_cause(&reply, &cause) }))
            }
            Ok(Outcome::Stored(stored)) if self.is_json => print_json(&json!({ "line": number, "stored": stored })),
            Ok(Outcome::Set(reply, _)) => {
                print(&format!("{number}  {}  {}, {}\n", printable(&reply.presentity), state_line(&reply.state), told(&reply)))
            }
            Ok(Outcome::Stored(stored)) => print(&format!("{number}  {stored}\n")),
            Err(failure @ (Failure::Answered(_) | Failure::Usage(_))) => self.refused(number, &failure),
            Err(failure) => {
                if self.nobody.as_ref().is_none_or(|(first, _)| *first > number) {
                    self.nobody = Some((number, failure));
                }
                Ok(())
            }
        }
    }

    fn refused(&mut self, number: u64, failure: &Failure) -> Result<(), Failure> {
        self.refused += 1;
        if self.is_json {
            let mut line = failure.to_json();
            if let Some(line) = line.as_object_mut() {
                line.insert("line".to_owned(), number.into());
            }
            return print_json(&line);
        }
        complain(&format!("dfks: line {number}: {}", printable(&failure.to_string())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_lines_actor_is_that_of_lines_without_one() {
        for (text, want) in [
            (r#"{"presentity":"sip:a@h"}"#, Ok("desk")),
            (r#"{"presentity":"sip:a@h","actor":"crm"}"#, Ok("crm")),
            ("[]", Err("expected a JSON object")),
            ("{", Err("not JSON: ")),
        ] {
            let got = read(text, Some("desk"));
            match want {
                Ok(actor) => assert_eq!(got.unwrap()["actor"], actor),
                Err(why) => assert!(got.unwrap_err().starts_with(why), "{text}"),
            }
        }
    }

    #[test]
    fn the_first_line_that_nobody_answered_is_where_to_go_on() {
        let mut report = Report { is_json: false, refused: 0, nobody: None };
        for number in [9, 7, 8] {
            report.ended(number, Err(Failure::NobodyAnswered("away".to_owned()))).unwrap();
        }
        let (number, failure) = report.nobody.unwrap();
        let failure = at_line(&failure, "moves.ndjson", number);
        assert_eq!((failure.code(), number), (69, 7));
        assert_eq!(failure.to_string(), "away; moves.ndjson line 7 is the first that was not carried out");
    }
}

//! Which events `dfks events` shows. Pure.

use clap::ValueEnum;
use serde_json::Value;

use super::events_args::{EventKind, EventsArgs};
use super::exit::Failure;
use crate::feature::{Presentity, domain_token};

/// Which events are shown: those that every option given takes.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) presentity: Option<Presentity>,
    /// As a token of subjects.
    domain: Option<String>,
    pub(super) features: Vec<String>,
    kinds: Vec<EventKind>,
}

impl Filter {
    pub(super) fn new(args: &EventsArgs) -> Result<Self, Failure> {
        let parse = |text: &String| Presentity::parse(text).map_err(|error| Failure::Usage(format!("--presentity '{text}': {error}")));
        Ok(Self {
            presentity: args.presentity.as_ref().map(parse).transpose()?,
            domain: args.domain.as_deref().map(domain_token),
            features: args.features.clone(),
            kinds: args.kinds.clone(),
        })
    }

    /// The one domain whose events can be shown, if it is one: a tenant may hear no others.
    pub(super) fn domain(&self) -> Option<String> {
        self.domain.clone().or_else(|| self.presentity.as_ref().map(Presentity::domain_token))
    }

    pub(super) fn takes(&self, event: &Value) -> bool {
        let has = |name: &str| self.features.iter().any(|feature| feature.eq_ignore_ascii_case(name));
        let kind = kind_of(event);
        let is_of_feature = || match (event.get("feature"), event.get("features")) {
            (Some(feature), _) => feature.as_str().is_some_and(has),
            (_, Some(Value::Array(features))) => features.iter().filter_map(Value::as_str).any(has),
            _ => false,
        };
        let is_of = |presentity: &Presentity| event.get("presentity").and_then(Value::as_str) == Some(presentity.as_str());
        (self.kinds.is_empty() || kind.is_some_and(|kind| self.kinds.contains(&kind)))
            && self.presentity.as_ref().is_none_or(is_of)
            && (self.features.is_empty() || is_of_feature())
    }
}

/// The kind of an event, by its type.
pub(super) fn kind_of(event: &Value) -> Option<EventKind> {
    let name = event.get("type")?.as_str()?.rsplit('.').next()?;
    EventKind::from_str(name, false).ok()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::args::{Cli, Command};
    use super::*;

    fn feature_event() -> Value {
        json!({"type":"io.dfks.event.v1.feature","presentity":"sip:a@h","feature":"DoNotDisturb"})
    }

    #[test]
    fn shows_what_every_option_takes() {
        let notify = json!({"type":"io.dfks.event.v1.notify","presentity":"sip:a@h","features":["CallForwardingBusy"]});
        let subscription = json!({"type":"io.dfks.event.v1.subscription","presentity":"sip:b@h"});
        for (options, want) in [
            (&[][..], [true, true, true]),
            (&["--presentity", "sip:a@H:5060"], [true, true, false]),
            (&["--feature", "donotdisturb"], [true, false, false]),
            (&["--feature", "DoNotDisturb", "--feature", "CallForwardingBusy"], [true, true, false]),
            (&["--kind", "notify", "--kind", "subscription"], [false, true, true]),
            (&["--kind", "feature", "--presentity", "sip:b@h"], [false, false, false]),
        ] {
            let cli = Cli::try_parse_from([&["dfks", "events"], options].concat()).unwrap();
            let Command::Events(args) = cli.command else { panic!("events") };
            let filter = Filter::new(&args).unwrap();
            assert_eq!([feature_event(), notify.clone(), subscription.clone()].map(|event| filter.takes(&event)), want, "{options:?}");
        }
    }
}
